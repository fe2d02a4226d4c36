"""The sending door. Every text, by whomever, goes through here.

In this order: the number, consent, a person who has taken over, quiet hours where the recipient is, the day's budget.
Then the message is a row in the outbox, in the caller's transaction, with `due_at`. The door can explain each "no" and
each delay in a sentence, before anything is sent (`plan_message`) and after (`Message.delay_reason`, `Message.error`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from crm import consent, limits, quiet_hours, rows, segments
from crm.announcements import message_queued
from crm.enums import Audience, Author, Direction, MessageKind, MessageStatus, Meter, SentVia
from crm.models import Business, Consent, Conversation, Customer, Message, User
from crm.segments import SegmentCount

# Somebody who wrote to us a moment ago expects an answer at any hour.
ANSWER_WINDOW = timedelta(minutes=15)
MAX_LENGTH = 1_600  # characters; the carrier refuses more
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


class CannotSend(Exception):
    """The door said no. The text is the reason, for people."""


@dataclass(frozen=True)
class Plan:
    """What would happen to a text. `due_at` (UTC) is None when it would not be sent at all."""

    due_at: datetime | None
    sentence: str
    count: SegmentCount

    @property
    def allowed(self) -> bool:
        return self.due_at is not None


_LOOK_IT_UP = object()


def plan_message(
    *, business: Business, phone: str | None, body: str, author: Author, now: datetime,
    conversation: Conversation | None = None, kind: MessageKind = MessageKind.CHAT, ledger_line: object = _LOOK_IT_UP,
) -> Plan:  # fmt: skip
    """What would happen to this text now, with the reason. Changes nothing; the budget is only taken by sending.

    `ledger_line` is the consent that holds for the number when the caller has just read it (None: the ledger is silent).
    """
    body = _plain(body)
    count = segments.count(body)

    def refuse(reason: str) -> Plan:
        return Plan(due_at=None, sentence=f"Can't send: {reason}.", count=count)

    if not business.is_active:
        return refuse("this business is suspended")
    if not phone:
        return refuse("there is no phone number on file")
    if not body.strip():
        return refuse("the message is empty")
    if len(body) > MAX_LENGTH:
        return refuse(f"the message has {len(body):,} characters, at most {MAX_LENGTH:,} fit")
    if kind != MessageKind.KEYWORD:  # the one answer to STOP or HELP is owed to everybody
        line = consent.standing(business=business, phone=phone) if ledger_line is _LOOK_IT_UP else ledger_line
        if not isinstance(line, Consent):
            return refuse("they have not agreed to texts, and nothing is on record from this number")
        if consent.is_opted_out(line):
            return refuse(consent.opt_out_sentence(line, business=business))
        if author == Author.ASSISTANT and conversation is not None and conversation.human_answers(now):
            return refuse(_human_sentence(conversation, business))
    if (
        conversation is not None
        and conversation.last_inbound_at
        and now - conversation.last_inbound_at <= ANSWER_WINDOW
    ):
        return Plan(due_at=now, sentence="Sends now.", count=count)
    delay = quiet_hours.plan(now=now, phone=phone, business_zone=business.time_zone)
    return Plan(due_at=delay.due_at, sentence=_sentence(delay.sentence), count=count)


def why_not(
    *, business: Business, phone: str | None, body: str, author: Author, now: datetime,
    conversation: Conversation | None = None,
) -> str | None:  # fmt: skip
    """The reason this text would not go out at all, or None when it would (now or later)."""
    plan = plan_message(business=business, phone=phone, body=body, author=author, now=now, conversation=conversation)
    return None if plan.allowed else plan.sentence


def _human_sentence(conversation: Conversation, business: Business) -> str:
    until = conversation.human_until
    assert until is not None
    who = conversation.human.get_short_name() if conversation.human else "A person"
    return f"{who} is answering this conversation until {until.astimezone(business.zone):%-I:%M %p}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def queue_message(
    *, business: Business, customer: Customer, body: str, author: Author, now: datetime, conversation: Conversation,
    kind: MessageKind = MessageKind.CHAT, about: str = "", sent_by: User | None = None, ledger_line: object = _LOOK_IT_UP,
    in_answer: bool = False,
) -> Message:  # fmt: skip
    """Put a text to a customer in the outbox, in the caller's transaction. Raises CannotSend with the reason.

    `in_answer`: the caller carries it out of the house itself, as the answer to the carrier's webhook. The row is then
    born claimed (SENDING), and the sweep asks the carrier about it if no delivery report ever comes.
    """
    plan = plan_message(
        business=business, phone=conversation.their_address, body=body, author=author, now=now,
        conversation=conversation, kind=kind, ledger_line=ledger_line,
    )  # fmt: skip
    if plan.due_at is None:
        raise CannotSend(plan.sentence)
    _take_budget(business=business, count=plan.count, now=now, capped=kind != MessageKind.KEYWORD)
    message = Message(
        business=business,
        conversation=conversation,
        customer=customer,
        direction=Direction.OUTBOUND,
        author=author,
        kind=kind,
        about=about,
        body=_plain(body),
        to_number=conversation.their_address,
        from_number=conversation.our_number,
        segments=plan.count.segments,
        created_at=now,
        due_at=plan.due_at,
        delay_reason="" if plan.due_at <= now else plan.sentence[:200],
        sent_by=sent_by,
        status=MessageStatus.SENDING if in_answer else MessageStatus.QUEUED,
        sent_via=SentVia.ANSWER if in_answer else SentVia.API,
        claimed_at=now if in_answer else None,
        attempts=1 if in_answer else 0,
    )
    rows.insert(message)
    conversation.last_message_at = now
    conversation.last_words = message.body[:120]
    conversation.waiting_since = None
    rows.update(conversation, "last_message_at", "last_words", "waiting_since")
    if not in_answer:
        announce(due_at=plan.due_at, now=now)
    return message


def alert_owner(
    *, business: Business, body: str, now: datetime, customer: Customer | None = None, about: str = "", to: str = ""
) -> Message | None:
    """Text the owner, or at the E.164 number `to` somebody who works there. Their customers' opt-outs, quiet hours and the
    day's cap do not hold it back.

    None when no number is set: the timeline and Today still tell the story.
    """
    if not (to or business.owner_phone):
        return None
    text = _plain(body)[:MAX_LENGTH]
    count = segments.count(text)
    _take_budget(business=business, count=count, now=now, capped=False)
    message = Message(
        business=business, customer=customer, audience=Audience.OWNER, direction=Direction.OUTBOUND, author=Author.SYSTEM,
        kind=MessageKind.ALERT, about=about, body=text, to_number=to or business.owner_phone, segments=count.segments,
        status=MessageStatus.QUEUED, created_at=now, due_at=now,
    )  # fmt: skip
    rows.insert(message)
    announce(due_at=now, now=now)
    return message


def withdraw(*, customer: Customer, about: str, reason: str, now: datetime) -> int:
    """Take back what waits in the outbox for a customer about something that has changed since; returns how many texts.

    Claimed by update, as the delivery worker does: a text is either taken back or on its way, never both. One that has
    left is not touched.
    """
    waiting = Message.objects.for_business(customer.business).filter(
        customer=customer, about=about, audience=Audience.CUSTOMER, status=MessageStatus.QUEUED
    )
    taken = [
        segments_of
        for pk, segments_of in waiting.values_list("pk", "segments")
        if waiting.filter(pk=pk).update(status=MessageStatus.REFUSED, error=reason[:300])
    ]
    if taken:
        micros = sms_cost_micros(sum(taken))
        limits.give_back(business=customer.business, meter=Meter.SMS, micros=micros, now=now)
    return len(taken)


def recheck(message: Message, *, now: datetime) -> Plan:
    """The door once more, when the text is about to leave: the world may have changed since it was queued."""
    if message.audience == Audience.OWNER:
        return Plan(due_at=now, sentence="Sends now.", count=segments.count(message.body))
    return plan_message(
        business=message.business, phone=message.to_number, body=message.body, author=Author(message.author), now=now,
        conversation=message.conversation, kind=MessageKind(message.kind),
    )  # fmt: skip


def _plain(body: str) -> str:
    """As it will be sent: look-alikes as GSM-7, and no control characters, which XML (our TwiML) cannot hold."""
    return _CONTROL.sub("", segments.normalise(body))


def _take_budget(*, business: Business, count: SegmentCount, now: datetime, capped: bool) -> None:
    cost = sms_cost_micros(count.segments)
    if not limits.spend(business=business, meter=Meter.SMS, micros=cost, now=now, capped=capped):
        dollars = limits.cap_micros(business, Meter.SMS) / 1_000_000
        raise CannotSend(f"Can't send: today's budget of ${dollars:.2f} for texts is used up.")


def sms_cost_micros(count: int) -> int:
    """What `count` segments cost, in millionths of a US dollar, by the installation's price list."""
    return count * int(settings.SMS_PRICE_MICROS)


def announce(*, due_at: datetime, now: datetime) -> None:
    """Wake the delivery worker after commit, if the text may leave at once. A later one is found by the poll."""
    if due_at <= now:
        transaction.on_commit(functools.partial(message_queued.send_robust, sender=Message), robust=True)
