"""Is this letter really from the carrier? Twilio's signature, checked with its own validator.

The address that was signed is the one Twilio called: PUBLIC_URL when it is set (a TLS proxy in front changes scheme and
host), else what the request says. The query string is part of it.
https://www.twilio.com/docs/usage/security#validating-requests
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from twilio.request_validator import RequestValidator

from crm.models import Business
from crm.security import unseal
from telephony.models import TwilioAccount

SIMULATED_ACCOUNT = "AC" + "0" * 32
_ACCOUNT_SID: Final = re.compile(r"AC[0-9a-f]{32}")


@dataclass(frozen=True)
class Account:
    """Whose token signs. `business` is set for a sub-account, whose letters are for that business only."""

    sid: str
    token: str
    business: Business | None = None


def account(account_sid: str) -> Account | None:
    """The account a letter claims to come from, or None when we have no token for it."""
    if not _ACCOUNT_SID.fullmatch(account_sid):  # also: no letter without an account fits a token that was never set
        return None
    if settings.CARRIER == "simulated":
        return Account(sid=SIMULATED_ACCOUNT, token=simulated_token()) if account_sid == SIMULATED_ACCOUNT else None
    if account_sid == settings.TWILIO_ACCOUNT_SID:
        return Account(sid=account_sid, token=settings.TWILIO_AUTH_TOKEN)
    row = TwilioAccount.objects.select_related("business").filter(pk=account_sid).first()
    return Account(sid=account_sid, token=unseal(row.sealed_token), business=row.business) if row else None


def is_genuine(request: HttpRequest, *, token: str) -> bool:
    signature = request.headers.get("X-Twilio-Signature", "")
    return bool(_validator(token).validate(signed_address(request), request.POST, signature))


def sign(address: str, parameters: dict[str, str], *, token: str) -> str:
    """What the carrier would put in X-Twilio-Signature; the demo carrier signs with it."""
    return str(_validator(token).compute_signature(address, parameters))


def signed_address(request: HttpRequest) -> str:
    if settings.PUBLIC_URL:
        return settings.PUBLIC_URL + request.get_full_path()
    return request.build_absolute_uri()


def simulated_token() -> str:
    """The demo carrier's token: this installation's own, so nobody else can play the carrier."""
    return hmac.new(settings.SECRET_KEY.encode(), b"simulated carrier", hashlib.sha256).hexdigest()[:32]


@functools.lru_cache(maxsize=256)
def _validator(token: str) -> RequestValidator:
    return RequestValidator(token)
