"""The consent ledger: who may be texted, since when, on whose word. Append-only; the newest line holds."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from crm import rows
from crm.enums import Channel, ConsentAction, ConsentScope, ConsentSource
from crm.models import Business, Consent, User

log = structlog.get_logger(__name__)


def standing(*, business: Business, phone: str, channel: Channel = Channel.SMS) -> Consent | None:
    """The line that holds for this number, or None when the ledger says nothing."""
    return rows.first(
        Consent, "business_id = %s AND phone = %s AND channel = %s", [business.pk, phone, channel.value],
        order="at DESC, id DESC",
    )  # fmt: skip


def is_opted_out(line: Consent | None) -> bool:
    return line is not None and line.action == ConsentAction.REVOKE


def grant(
    *, business: Business, phone: str, source: ConsentSource, words: str, now: datetime, reference: str = "",
    recorded_by: User | None = None, scope: ConsentScope = ConsentScope.SERVICE,
) -> Consent:  # fmt: skip
    """They agreed to texts. Overrides an earlier opt-out only because a newer line does: callers decide who may say so."""
    line = Consent(
        business=business, phone=phone, action=ConsentAction.GRANT, source=source, words=words[:500], scope=scope,
        reference=reference[:64], recorded_by=recorded_by, at=now,
    )  # fmt: skip
    rows.insert(line)
    return line


def grant_if_silent(
    *, business: Business, phone: str, source: ConsentSource, words: str, now: datetime, reference: str = ""
) -> Consent:
    """A person who writes to us, or sends a request with this number, agrees to service texts about it. It never
    overrides an opt-out: only START or a person's own new word does."""
    line = standing(business=business, phone=phone)
    if line is not None:
        return line
    return grant(business=business, phone=phone, source=source, words=words, now=now, reference=reference)


def revoke(
    *, business: Business, phone: str, source: ConsentSource, words: str, now: datetime, reference: str = "",
    recorded_by: User | None = None,
) -> Consent:  # fmt: skip
    """They opted out, by whatever words. Repeats are recorded too: each is proof of its own.

    Always the newest line, even when the one before was written by a machine whose clock was ahead.
    """
    log.info("opted_out", tenant_id=business.slug, source=source)
    before = standing(business=business, phone=phone)
    at = now if before is None else max(now, before.at + timedelta(microseconds=1))
    line = Consent(
        business=business, phone=phone, action=ConsentAction.REVOKE, source=source, words=words[:500],
        reference=reference[:64], recorded_by=recorded_by, at=at,
    )  # fmt: skip
    rows.insert(line)
    return line


def opt_out_sentence(line: Consent, *, business: Business) -> str:
    """“opted out on May 3 by text (“stop”)”, on the business's calendar."""
    day = line.at.astimezone(business.zone)
    quoted = f" (“{line.words[:40]}”)" if line.words else ""
    return f"opted out on {day:%b} {day.day} {line.get_source_display()}{quoted}"
