"""People told apart without keeping their numbers.

A mark is 128 bits of an HMAC over the SHA-256 of the E.164 number, under a key of this installation. A buyer can
therefore say whom they know by SHA-256 alone, an erased person stays recognisable when a file brings them again, and
whoever steals the table cannot try out all the numbers there are.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final
from uuid import UUID

from django.conf import settings

CANARY: Final = "which key made these marks?"
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def mark_of(phone: str) -> UUID:
    """Of a number in E.164."""
    return _mark(hashlib.sha256(phone.encode()).digest())


def mark_of_hash(text: str) -> UUID:
    """Of the SHA-256 of a number in E.164 (64 hexadecimal digits), as buyers upload it. Raises ValueError for others."""
    if not _SHA256.fullmatch(text):
        raise ValueError("This is not a SHA-256: 64 characters out of 0 to 9 and a to f.")
    return _mark(bytes.fromhex(text))


def canary() -> UUID:
    """A mark of nobody. Kept beside the others, it tells whether they were made with the key we have now."""
    return _mark(CANARY.encode())


def _mark(digest: bytes) -> UUID:
    return UUID(bytes=hmac.digest(_key(), digest, "sha256")[:16])


def _key() -> bytes:
    return b"frontdesk marks:" + settings.PERSON_MARK_KEY.encode()
