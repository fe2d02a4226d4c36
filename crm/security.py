"""Knocks that were turned away, and secrets kept at rest."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db.models import F
from django.http import HttpRequest

from crm.enums import SecurityEventKind
from crm.models import Business, SecurityEvent


def report(
    *, kind: SecurityEventKind, request: HttpRequest, now: datetime, business: Business | None = None, detail: str = ""
) -> None:
    """Write it down. The same knock within a minute counts up on one row."""
    event = SecurityEvent(
        kind=kind, business=business, path=request.path[:200], source=sender(request), detail=detail[:300],
        minute=now.replace(second=0, microsecond=0), count=0,
    )  # fmt: skip
    SecurityEvent.objects.bulk_create([event], ignore_conflicts=True)
    SecurityEvent.objects.filter(kind=kind, path=event.path, source=event.source, minute=event.minute).update(
        count=F("count") + 1
    )


def sender(request: HttpRequest) -> str:
    """Who knocked, as a keyed hash: enough to tell one sender from another, not to find them."""
    address = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_TLS_PROXY:  # only then is the header the proxy's own
        address = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() or address
    return hmac.new(settings.SECRET_KEY.encode(), address.encode(), hashlib.sha256).hexdigest()[:16]


def login_name(request: HttpRequest | None, credentials: dict[str, str] | None = None) -> str:
    """The account somebody tries to sign in to, spelled one way: Alice@ and aLICE@ share their five tries."""
    given = credentials or (request.POST if request is not None else {})
    return str(given.get("username") or "").strip().lower()


def seal(secret: str) -> bytes:
    """Encrypt a provider's secret with this installation's key."""
    return _box().encrypt(secret.encode())


def unseal(sealed: bytes | memoryview) -> str:
    """Raises ValueError when SECRET_KEY is not the one it was sealed with."""
    try:
        return _box().decrypt(bytes(sealed)).decode()
    except InvalidToken as error:
        raise ValueError("A stored secret cannot be read: SECRET_KEY is not the one it was stored with.") from error


def _box() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"frontdesk:" + settings.SECRET_KEY.encode()).digest()))
