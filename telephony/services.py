"""Every change of the switchboard: a letter is received once, read, and answered."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db import connection, transaction
from twilio.twiml.messaging_response import MessagingResponse

from booking.when import read_when
from crm import consent, optout
from crm.enums import Author, ConsentSource, MessageKind, MessageStatus, Verb
from crm.keys import uuid7
from crm.messaging import CannotSend, queue_message
from crm.models import Business, Conversation, Message, PhoneNumber
from crm.scoping import every_business, only
from crm.services import receive_text
from crm.timeline import note
from telephony import delivery, reading, receptionist
from telephony.announcements import text_unread
from telephony.enums import EventKind, Step
from telephony.gateways.codes import read_status
from telephony.letters import StatusLetter, TextLetter
from telephony.models import InboundEvent
from telephony.router import Decision, Turn, opt_out, route

log = structlog.get_logger(__name__)

NO_ANSWER: Final = '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
READ_BY_RULES_AFTER: Final = timedelta(seconds=60)  # a text the model has not read by then waits no longer


def business_called(letter: TextLetter) -> Business | None:
    """Whose number was texted; `business_id` in the (signed) address decides where one number serves several."""
    if letter.business_slug:
        return Business.objects.filter(slug=letter.business_slug).first()
    number = PhoneNumber.objects.select_related("business").filter(e164=letter.to_number).first()
    return number.business if number else None


def receive_letter(letter: TextLetter, *, business: Business | None, now: datetime) -> str:
    """Take in one text and return the TwiML answer. The receipt and everything the text leads to are one transaction;
    the same letter again, at the same time or later, gets the same answer and changes nothing."""
    with transaction.atomic():
        receipt_id = _claim(EventKind.SMS, letter.sid, letter, business=business, now=now)
        if receipt_id is None:
            return InboundEvent.objects.values_list("answer", flat=True).get(kind=EventKind.SMS, sid=letter.sid)
        if business is None:
            _close(receipt_id, step=Step.NO_BUSINESS, reason=f"no business has the number {letter.to_number}", answer=NO_ANSWER)
            return NO_ANSWER
        with only(business):
            return _take_turn(letter, business=business, receipt_id=receipt_id, now=now)


def _take_turn(letter: TextLetter, *, business: Business, receipt_id: str, now: datetime) -> str:
    received = receive_text(
        business=business, phone=letter.from_number, our_number=letter.to_number, body=letter.shown_body,
        provider_sid=letter.sid, now=now, raw_phone=letter.from_number,
    )  # fmt: skip
    received.customer.business = received.conversation.business = business
    line = consent.standing(business=business, phone=letter.from_number)
    if line is None and optout.read_keyword(letter.body, opt_out_type=letter.opt_out_type or None) is None:
        # Whoever texts a business expects to be texted back about it.
        line = consent.grant(
            business=business, phone=letter.from_number, source=ConsentSource.TEXT, words=letter.body, now=now,
            reference=f"message:{received.message.pk}",
        )  # fmt: skip
    turn = Turn(
        business=business, customer=received.customer, conversation=received.conversation, message=received.message,
        body=letter.body, opt_out_type=letter.opt_out_type, ledger_line=line, now=now,
    )  # fmt: skip
    decision = route(turn) if business.is_active else _only_keep(turn)
    message, decision = _word(turn, decision)
    answer = _twiml(message)
    if decision.step == Step.READING:
        transaction.on_commit(functools.partial(text_unread.send_robust, sender=InboundEvent, event_id=receipt_id), robust=True)
    _close(receipt_id, step=decision.step, reason=decision.reason, answer=answer, message=received.message)
    log.info("text_answered", tenant_id=business.slug, event_id=letter.sid, step=decision.step.value, answered=message is not None)
    return answer


def _only_keep(turn: Turn) -> Decision:
    """A suspended business answers nobody; an opt-out counts all the same."""
    opted_out = opt_out(turn)
    return Decision(step=Step.SUSPENDED, reason="business suspended" + ("; opted out" if opted_out else ""), still_waiting=True)


def _word(turn: Turn, decision: Decision) -> tuple[Message | None, Decision]:
    """The answer as a row of the outbox that leaves with the webhook's answer; through the sending door like any other."""
    if decision.text is None:
        return None, decision
    try:
        message = queue_message(
            business=turn.business, customer=turn.customer, conversation=turn.conversation, body=decision.text,
            author=Author.ASSISTANT, kind=decision.kind, about=decision.about, now=turn.now, in_answer=True,
            ledger_line=turn.ledger_line,
        )  # fmt: skip
    except CannotSend as reason:
        note(business=turn.business, customer=turn.customer, verb=Verb.REFUSED, text=f"{reason} “{decision.text}”", now=turn.now)
        return None, replace(decision, reason=f"{decision.reason}; {reason}")
    if decision.still_waiting:
        turn.conversation.waiting_since = turn.now
        turn.conversation.save(update_fields=["waiting_since"])
    return message, decision


def _twiml(message: Message | None) -> str:
    if message is None:
        return NO_ANSWER
    response = MessagingResponse()
    callback = delivery.status_callback(message)
    response.message(message.body, **({"status_callback": callback} if callback else {}))
    return str(response)


# --- Read later --------------------------------------------------------------------------------------------------------


def read_later(event_id: str, *, now: datetime) -> bool:
    """A text that was left to the language model: read it, then answer through the outbox. False: somebody had already.

    The model is asked with no transaction open. When it has nothing to say, is late, or the text has waited too long,
    the rules answer.
    """
    event = InboundEvent.objects.select_related("business").filter(pk=event_id, step=Step.READING).first()
    if event is None or event.business is None:
        return False
    business = event.business
    with only(business):
        message = Message.objects.for_business(business).get(pk=event.message)
        read = None
        if now - event.received_at < READ_BY_RULES_AFTER:
            read = reading.read(business=business, body=message.body, now=now)
        with transaction.atomic():
            conversation = Conversation.objects.for_business(business).select_for_update(of=("self",), no_key=True).select_related("customer").get(pk=message.conversation_id)
            # Two workers may have asked the model; one of them answers.
            if not InboundEvent.objects.filter(pk=event.pk, step=Step.READING).update(step=Step.RECEPTIONIST):
                return False
            conversation.business = conversation.customer.business = business
            said = _act_on(read, business=business, conversation=conversation, message=message, now=now)
            _close(str(event.pk), step=Step.RECEPTIONIST, reason=f"read by {'the language model' if read else 'rules'}; {said.reason}", answer=event.answer)
            if said.text is None:
                return True
            try:
                queue_message(
                    business=business, customer=conversation.customer, conversation=conversation, body=said.text,
                    author=Author.ASSISTANT, kind=said.kind, about=said.about, now=now,
                )  # fmt: skip
            except CannotSend as reason:
                note(business=business, customer=conversation.customer, verb=Verb.REFUSED, text=f"{reason} “{said.text}”", now=now)
                return True
            if said.still_waiting:
                conversation.waiting_since = now
                conversation.save(update_fields=["waiting_since"])
    return True


def _act_on(
    read: reading.Reading | None, *, business: Business, conversation: Conversation, message: Message, now: datetime
) -> receptionist.Said:
    """What the model read, checked against our own rows; whatever it did not get falls back to the rules."""
    customer = conversation.customer
    if read is not None and read.wants_no_texts:  # in doubt, believe it
        consent.revoke(
            business=business, phone=conversation.their_address, source=ConsentSource.TEXT, words=message.body, now=now,
            reference=f"message:{message.pk}",
        )  # fmt: skip
        note(business=business, customer=customer, verb=Verb.OPTED_OUT, text=f"Opted out of texts: “{message.body[:80]}”.", now=now, about=f"message:{message.pk}")
        return receptionist.Said(reason="asked for no more texts", text=receptionist.opt_out_text(business), kind=MessageKind.KEYWORD)
    if read is not None:
        service = reading.recognised_service(read, business=business)
        if service is not None:
            # Their own words only: a time the model made up is not theirs.
            words = read.when if read.when and read.when in message.body else message.body
            wanted = read_when(words, now=now, zone=business.time_zone)
            return receptionist.offer(business=business, customer=customer, service=service, words=message.body, now=now, wanted=wanted)
        if read.needs_person:
            return receptionist.call_a_person(business=business, customer=customer, conversation=conversation, body=message.body, now=now)
    return receptionist.answer(
        business=business, customer=customer, conversation=conversation, message=message, body=message.body, now=now,
        open_proposal=None, may_read=False,
    )  # fmt: skip


def unread_events(*, now: datetime, older_than: timedelta = timedelta(seconds=20), limit: int = 50) -> list[str]:
    """Texts left to the model whose wake-up was lost."""
    rows = InboundEvent.objects.filter(step=Step.READING, received_at__lt=now - older_than).order_by("received_at")
    return [str(pk) for pk in rows.values_list("pk", flat=True)[:limit]]


# --- Delivery reports ----------------------------------------------------------------------------------------------------


def receive_status(letter: StatusLetter, *, now: datetime) -> bool:
    """A delivery report, once. False: a repeat, or about a text that is not ours."""
    status = read_status(letter.status)
    with transaction.atomic(), every_business():
        receipt_id = _claim(EventKind.STATUS, f"{letter.sid}:{letter.status}"[:80], letter, business=None, now=now)
        if receipt_id is None:
            return False
        message = Message.objects.select_related("business", "customer").filter(**letter.whose).first()
        if message is None or status is None or (message.provider_sid and message.provider_sid != letter.sid):
            _close(receipt_id, step=Step.REPORT, reason="about a text we do not know" if message is None else f"“{letter.status}” is not understood", answer="")
            return False
        Message.objects.filter(pk=message.pk, provider_sid="").update(provider_sid=letter.sid)
        moved = status != MessageStatus.SENDING and delivery.move_forward(message, to=status, code=letter.error_code, now=now)
        _close(receipt_id, step=Step.REPORT, reason=f"now {status.label.lower()}" if moved else "it was that far already", answer="")
        return moved


def _claim(kind: EventKind, sid: str, letter: TextLetter | StatusLetter, *, business: Business | None, now: datetime) -> str | None:
    """The receipt's id, or None for a letter that has been received. A letter arriving twice at once waits here until
    the first is done."""
    event_id = uuid7()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO telephony_inboundevent (id, kind, sid, business_id, from_number, to_number, payload, step, reason,"
            " answer, received_at) VALUES (%s, %s, %s, %s, %s, %s, %s, '', '', '', %s) ON CONFLICT (kind, sid) DO NOTHING",
            [event_id, kind.value, sid, business.pk if business else None, letter.from_number[:64], letter.to_number[:64], letter.payload, now],
        )
        return str(event_id) if cursor.rowcount == 1 else None


def _close(event_id: str, *, step: Step, reason: str, answer: str, message: Message | None = None) -> None:
    changes: dict[str, object] = {"step": step, "reason": reason[:200], "answer": answer}
    if message is not None:
        changes["message"] = message.pk
    InboundEvent.objects.filter(pk=event_id).update(**changes)
