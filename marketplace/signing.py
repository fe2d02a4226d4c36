"""How buyers know that a message comes from us: `Frontdesk-Signature: t=<Unix time>,v1=<HMAC-SHA256, hexadecimal>`.

What is signed is the time, a dot and the body, byte for byte, under a secret that we and the buyer share. A receiver
computes the same, compares in constant time, and turns away what is older than five minutes: somebody is repeating it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

HEADER: Final = "Frontdesk-Signature"


def new_secret() -> str:
    """256 random bits, recognisable when they turn up where they should not."""
    return "fd_hook_" + secrets.token_urlsafe(32)


def sign(body: bytes, *, secret: str, at: int) -> str:
    """The header's value. `at` is in seconds since 1970."""
    digest = hmac.digest(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hex()
    return f"t={at},v1={digest}"
