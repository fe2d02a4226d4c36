"""The outbox is emptied here: claim, look at the door once more, hand over, write down.

A message is claimed by update, so ten workers send one text. Between "the carrier took it" and "we wrote that down" a
worker can die; the sweep then asks the carrier for the text instead of sending it again.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Case, F, Value, When
from django.urls import reverse

from crm import consent, messaging
from crm.enums import PROGRESS, Audience, ConsentSource, MessageStatus, SentVia, TaskReason, Verb
from crm.models import Message
from crm.scoping import every_business
from crm.services import add_task
from crm.timeline import note
from telephony.gateways import CarrierText, OptedOut, Permanent, SendingFailed, Transient, gateway
from telephony.gateways.codes import explain

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 6
BACKOFF: Final = timedelta(seconds=20)  # doubled with each attempt
PATIENCE: Final = timedelta(seconds=settings.OUTBOX_PATIENCE_SECONDS)  # a claim older than this is nobody's
GIVE_UP_ASKING: Final = timedelta(hours=1)
LONGEST_SWEEP: Final = 60.0  # seconds; a carrier that answers slowly must not hold a worker until it is killed
TOO_OLD: Final = timedelta(days=3)  # a text this late would only confuse
_CLOCK_SKEW: Final = timedelta(seconds=30)  # between the carrier's clock and ours


def claim_due(*, now: datetime, limit: int = 20) -> list[str]:
    """Claim texts that are due; only the caller may send them now. Committed at once."""
    with connection.cursor() as cursor:
        cursor.execute(
            # Chosen once: as a subquery of IN some plans choose again for every row, and claim more than `limit`.
            "WITH due AS MATERIALIZED (SELECT id FROM crm_message WHERE status = 'queued' AND due_at <= %s"
            " ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)"
            " UPDATE crm_message m SET status = 'sending', claimed_at = %s, attempts = attempts + 1"
            " FROM due WHERE m.id = due.id RETURNING m.id",
            [now, limit, now],
        )
        return [str(row[0]) for row in cursor.fetchall()]


def deliver(message_id: str, *, now: datetime) -> MessageStatus | None:
    """Send one claimed text. Returns how it stands; None when it was not ours to send any more."""
    with every_business():
        message = (
            Message.objects.select_related("business", "conversation__human", "customer__business")
            .filter(pk=message_id, status=MessageStatus.SENDING)
            .first()
        )
        if message is None:
            return None
        assert message.due_at is not None
        if now - message.created_at > TOO_OLD and now - message.due_at > TOO_OLD:
            return _fail(message, sentence="It waited too long to be sent.", code="", now=now)
        plan = messaging.recheck(message, now=now)
        if plan.due_at is None:
            return _refuse(message, sentence=plan.sentence, now=now)
        if plan.due_at > now:
            return _wait(message, until=plan.due_at, reason=plan.sentence)
        if not message.from_number:
            message.from_number = _our_number(message)
            if not message.from_number:
                return _fail(message, sentence="This business has no number to send from.", code="", now=now)
            Message.objects.filter(pk=message.pk).update(from_number=message.from_number)
        # No transaction is open here: the carrier may take its time.
        try:
            taken = gateway().send(message, status_callback=status_callback(message))
        except OptedOut as refusal:
            return _opted_out(message, refusal, now=now)
        except Permanent as refusal:
            return _fail(message, sentence=str(refusal), code=refusal.code, now=now)
        except Transient as trouble:
            return _try_later(message, trouble, now=now)
        except SendingFailed as doubt:  # Uncertain: the sweep will ask
            log.warning("sending_uncertain", message_id=message_id, tenant_id=message.business.slug, reason=str(doubt))
            return MessageStatus.SENDING
        record(message, taken, now=now)
        return MessageStatus.SENT


def record(message: Message, taken: CarrierText, *, now: datetime) -> None:
    """The carrier has it: keep its sid, and how far it is."""
    with transaction.atomic():
        Message.objects.filter(pk=message.pk, provider_sid="").update(provider_sid=taken.sid)
        move_forward(message, to=taken.status, code=taken.error_code, now=now)


def move_forward(message: Message, *, to: MessageStatus, code: str, now: datetime) -> bool:
    """Reports come late, twice and out of order; a text only ever moves forward. False: it was that far already.

    On its way at the carrier (SENDING) means that the carrier has it, which is all that SENT says.
    """
    to = MessageStatus.SENT if to == MessageStatus.SENDING else to
    behind = [status for status, rank in PROGRESS.items() if rank < PROGRESS[to]]
    changes: dict[str, object] = {"status": to}
    if to in (MessageStatus.SENT, MessageStatus.DELIVERED):
        changes["sent_at"] = Case(When(sent_at=None, then=Value(now)), default=F("sent_at"))
        changes["error"] = ""  # “not known whether it arrived” is answered now
    if to == MessageStatus.DELIVERED:
        changes["delivered_at"] = now
    if to == MessageStatus.FAILED:
        changes |= {"error_code": code[:16], "error": explain(code)}
    with transaction.atomic():
        if not Message.objects.filter(pk=message.pk, status__in=behind).update(**changes):
            return False
        if to == MessageStatus.FAILED:
            _tell_of_failure(message, sentence=explain(code), now=now)
        if code == "21610":
            _write_back_opt_out(message, now=now)
    return True


def sweep(*, now: datetime, limit: int = 50) -> dict[str, int]:
    """What became of claimed texts nobody has heard of since: ask the carrier, and only if it never had it, send again."""
    outcome = {"found": 0, "queued_again": 0, "waiting": 0, "unknown": 0}
    until = time.monotonic() + LONGEST_SWEEP
    with every_business():
        stuck = Message.objects.stuck(claimed_before=now - PATIENCE).select_related("business", "customer__business")
        for message in stuck.order_by("claimed_at")[:limit]:
            if time.monotonic() > until:
                break
            try:
                outcome[_resolve(message, now=now)] += 1
            except Exception:  # one text must not hold up the others
                log.exception("sweep_broke_down", message_id=str(message.pk))
    return outcome


def status_callback(message: Message) -> str:
    """Where the carrier reports on this text. Empty without a public address: then the sweep asks."""
    base = settings.PUBLIC_URL or ("http://localhost" if settings.CARRIER == "simulated" else "")
    return f"{base}{reverse('telephony:status')}?message={message.pk}" if base else ""


def _resolve(message: Message, *, now: datetime) -> str:
    assert message.claimed_at is not None
    # An earlier attempt that seemed to have come to nothing may show up at the carrier after all.
    first_try = message.claimed_at if message.attempts == 1 else message.created_at
    try:
        found = gateway().find(message, since=first_try - _CLOCK_SKEW)
    except Transient:
        if now - message.claimed_at < GIVE_UP_ASKING:
            return "waiting"
        return _give_up(message, now=now)
    known = set(
        Message.objects.filter(provider_sid__in=[text.sid for text in found])
        .exclude(pk=message.pk)
        .values_list("provider_sid", flat=True)
    )
    ours = [text for text in found if text.sid not in known]
    if ours:
        try:
            record(message, ours[0], now=now)
        except IntegrityError:  # another sweep has just given this one to a text with the same words; look again later
            return "waiting"
        return "found"
    if message.attempts >= MAX_ATTEMPTS:
        return _give_up(message, now=now)
    # Only if nobody else has moved it meanwhile: a slow report, another sweep.
    Message.objects.filter(pk=message.pk, status=MessageStatus.SENDING, claimed_at=message.claimed_at).update(
        status=MessageStatus.QUEUED, sent_via=SentVia.API, due_at=now
    )
    return "queued_again"


def _give_up(message: Message, *, now: datetime) -> str:
    with transaction.atomic():
        if Message.objects.filter(pk=message.pk, status=MessageStatus.SENDING).update(
            status=MessageStatus.UNKNOWN, error="The carrier could not tell whether it was sent. Call, or write again."
        ):
            _tell_of_failure(message, sentence="It is not known whether this text arrived.", now=now)
    return "unknown"


def _our_number(message: Message) -> str:
    return message.business.numbers.values_list("e164", flat=True).first() or ""


def _wait(message: Message, *, until: datetime, reason: str) -> MessageStatus:
    Message.objects.filter(pk=message.pk, status=MessageStatus.SENDING).update(
        status=MessageStatus.QUEUED, due_at=until, delay_reason=reason[:200], attempts=F("attempts") - 1
    )
    return MessageStatus.QUEUED


def _try_later(message: Message, trouble: Transient, *, now: datetime) -> MessageStatus:
    if message.attempts >= MAX_ATTEMPTS:
        return _fail(message, sentence=f"{trouble} We tried {message.attempts} times.", code=trouble.code, now=now)
    pause = BACKOFF * 2 ** (message.attempts - 1)
    Message.objects.filter(pk=message.pk, status=MessageStatus.SENDING).update(
        status=MessageStatus.QUEUED, due_at=now + pause, delay_reason=f"{trouble} Trying again."[:200]
    )
    return MessageStatus.QUEUED


def _refuse(message: Message, *, sentence: str, now: datetime) -> MessageStatus:
    with transaction.atomic():
        if Message.objects.filter(pk=message.pk, status=MessageStatus.SENDING).update(
            status=MessageStatus.REFUSED, error=sentence[:300]
        ):
            note(
                business=message.business, customer=message.customer, verb=Verb.REFUSED, now=now,
                text=f"{sentence} “{message.body[:120]}”", about=f"message:{message.pk}",
            )  # fmt: skip
    return MessageStatus.REFUSED


def _fail(message: Message, *, sentence: str, code: str, now: datetime) -> MessageStatus:
    with transaction.atomic():
        if Message.objects.filter(pk=message.pk, status=MessageStatus.SENDING).update(
            status=MessageStatus.FAILED, error_code=code[:16], error=sentence[:300]
        ):
            _tell_of_failure(message, sentence=sentence, now=now)
    return MessageStatus.FAILED


def _opted_out(message: Message, refusal: OptedOut, *, now: datetime) -> MessageStatus:
    with transaction.atomic():
        _write_back_opt_out(message, now=now)
        return _fail(message, sentence=str(refusal), code=refusal.code, now=now)


def _write_back_opt_out(message: Message, *, now: datetime) -> None:
    """The carrier knew and we did not: from now on the ledger knows too."""
    line = consent.standing(business=message.business, phone=message.to_number)
    if consent.is_opted_out(line) or message.audience == Audience.OWNER:
        return
    consent.revoke(
        business=message.business, phone=message.to_number, source=ConsentSource.CARRIER, words="", now=now,
        reference=f"message:{message.pk}",
    )  # fmt: skip
    note(
        business=message.business, customer=message.customer, verb=Verb.OPTED_OUT, now=now,
        text="Opted out of texts, the carrier says.", about=f"message:{message.pk}",
    )  # fmt: skip


def _tell_of_failure(message: Message, *, sentence: str, now: datetime) -> None:
    note(
        business=message.business, customer=message.customer, verb=Verb.FAILED, now=now, about=f"message:{message.pk}",
        text=f"Text not delivered: {sentence} “{message.body[:120]}”",
    )  # fmt: skip
    if message.audience == Audience.CUSTOMER and message.customer is not None:
        add_task(
            business=message.business, customer=message.customer, reason=TaskReason.NOT_DELIVERED, now=now,
            title=f"Reach {message.customer} another way: a text did not arrive. {sentence}", about=f"message:{message.pk}",
        )  # fmt: skip
