"""Keys for programs: made, recognised, rotated, revoked.

A key reads `fd_<kind>_<8 characters>_<43 characters>`. The part before the last `_` is its prefix and is kept readable;
of the whole only the SHA-256 is kept. That is enough because the secret is 256 random bits, not a password.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from crm import rows
from crm.enums import KeyKind
from crm.models import ApiKey, Business, User
from crm.services import audit


@dataclass(frozen=True)
class NewKey:
    """`secret` is the whole key. It exists only here; show it once."""

    row: ApiKey
    secret: str


def issue_key(
    *, business: Business | None, kind: KeyKind, now: datetime, label: str = "", expires_at: datetime | None = None,
    actor: User | None = None, actor_text: str = "",
) -> NewKey:  # fmt: skip
    """A new key. Admin keys belong to no business, all others to one."""
    prefix = f"fd_{kind.value}_{secrets.token_hex(4)}"
    secret = f"{prefix}_{secrets.token_urlsafe(32).replace('_', '-')}"
    row = ApiKey(
        business=business, kind=kind, label=label, prefix=prefix, digest=_digest(secret), expires_at=expires_at
    )
    row.full_clean(exclude=["digest"])
    with transaction.atomic():
        row.save(force_insert=True)
        audit(
            business=business, actor=actor, actor_text=actor_text, action="key issued", target=f"{kind.label} key {prefix}",
            now=now,
        )  # fmt: skip
    return NewKey(row=row, secret=secret)


def recognise(secret: str, *, now: datetime) -> ApiKey | None:
    """The usable key with this text and its business, or None. One query; a second at most once a minute (last used)."""
    prefix, _, rest = secret.rpartition("_")
    if not rest or len(secret) > 120 or "\x00" in secret:
        return None
    row = rows.first_with(ApiKey, "business", "crm_apikey.prefix = %s", [prefix])
    if row is None or not hmac.compare_digest(row.digest, _digest(secret)) or not row.is_usable(now):
        return None
    if row.last_used_at is None or now - row.last_used_at > timedelta(minutes=1):
        ApiKey.objects.filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=now), pk=row.pk).update(
            last_used_at=now
        )
    return row


def rotate_key(*, key: ApiKey, now: datetime, actor: User | None = None) -> NewKey:
    """A new key in place of this one, which stops working at once. Raises ValueError for one that is revoked or expired."""
    if not key.is_usable(now) and key.revoked_at is None:
        raise ValueError("This key has expired; issue a new one.")
    with transaction.atomic():
        if not ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now):
            raise ValueError("This key is revoked already; issue a new one.")
        return issue_key(
            business=key.business,
            kind=KeyKind(key.kind),
            label=key.label,
            expires_at=key.expires_at,
            now=now,
            actor=actor,
        )


def revoke_key(*, key: ApiKey, now: datetime, actor: User | None = None) -> bool:
    """It stops working at once. False: it had been revoked before."""
    with transaction.atomic():
        if not ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now):
            return False
        audit(
            business=key.business,
            actor=actor,
            action="key revoked",
            target=f"{key.get_kind_display()} key {key.prefix}",
            now=now,
        )
        return True


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
