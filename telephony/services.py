"""Every change of the switchboard: a letter is received once, read, and answered."""

from __future__ import annotations

import functools
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db import transaction
from twilio.twiml.messaging_response import MessagingResponse

from booking.when import read_when
from crm import consent, optout, phones, rows
from crm.enums import Author, ConsentSource, Direction, MessageKind, Verb
from crm.keys import uuid7
from crm.messaging import CannotSend, queue_message
from crm.models import Business, Conversation, Message
from crm.scoping import every_business, only
from crm.services import receive_text, take_turn
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
    """Whose number was texted. Where one number serves several, `business_id` (slug or UUID) in the signed address decides."""
    if letter.business_id:
        return Business.objects.filter(slug=letter.business_id).first() or _business_with_uuid(letter.business_id)
    return rows.first(Business, "id = (SELECT business_id FROM crm_phonenumber WHERE e164 = %s)", [letter.to_number])


def receive_letter(letter: TextLetter, *, business: Business | None, now: datetime) -> str:
    """Take in one text and return the TwiML answer. The receipt and everything the text leads to are one transaction;
    the same letter again, at the same time or later, gets the same answer and changes nothing."""
    with transaction.atomic():
        receipt_id = _claim(EventKind.SMS, letter.sid, letter, business=business, now=now)
        if receipt_id is None:
            return InboundEvent.objects.values_list("answer", flat=True).get(kind=EventKind.SMS, sid=letter.sid)
        if business is None:
            called = letter.business_id or f"the number {letter.to_number}"
            _close(receipt_id, step=Step.NO_BUSINESS, reason=f"no business has {called}", answer=NO_ANSWER)
            return NO_ANSWER
        if not phones.is_e164(letter.from_number) and not phones.is_short_code(letter.from_number):
            reason = f"“{letter.from_number}” is no phone number"
            _close(receipt_id, step=Step.NO_BUSINESS, reason=reason, answer=NO_ANSWER)
            return NO_ANSWER
        with only(business):
            return _take_turn(letter, business=business, receipt_id=receipt_id, now=now)


def _business_with_uuid(text: str) -> Business | None:
    try:
        return Business.objects.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        return None


def _take_turn(letter: TextLetter, *, business: Business, receipt_id: str, now: datetime) -> str:
    received = receive_text(
        business=business, phone=letter.from_number, our_number=letter.to_number, body=letter.shown_body,
        provider_sid=letter.sid, now=now, raw_phone=letter.from_number,
    )  # fmt: skip
    received.customer.business = received.conversation.business = business
    line = consent.standing(business=business, phone=letter.from_number)
    if line is None and not _speaks_of_consent(letter):
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
        transaction.on_commit(
            functools.partial(text_unread.send_robust, sender=InboundEvent, event_id=receipt_id), robust=True
        )
    _close(receipt_id, step=decision.step, reason=decision.reason, answer=answer, message=received.message)
    log.info(
        "text_answered",
        tenant_id=business.slug,
        event_id=letter.sid,
        step=decision.step.value,
        answered=message is not None,
    )
    return answer


def _speaks_of_consent(letter: TextLetter) -> bool:
    """STOP, START, HELP, “lose my number”: such words are no agreement to texts by merely being sent."""
    keyword = optout.read_keyword(letter.body, opt_out_type=letter.opt_out_type or None)
    return keyword is not None or optout.asks_to_stop(letter.body) is not None


def _only_keep(turn: Turn) -> Decision:
    """A suspended business answers nobody; an opt-out counts all the same."""
    if opt_out(turn) is not None:
        return Decision(step=Step.SUSPENDED, reason="business suspended; opted out")
    return Decision(step=Step.SUSPENDED, reason="business suspended", still_waiting=True)


def _word(turn: Turn, decision: Decision) -> tuple[Message | None, Decision]:
    """The answer as a row of the outbox that leaves with the webhook's answer; through the sending door like any other."""
    if decision.text is None:
        if not decision.still_waiting:  # nobody has to come back to them
            turn.conversation.waiting_since = None
            rows.update(turn.conversation, "waiting_since")
        return None, decision
    # While a person has the conversation the assistant is silent, but what the customer just settled by answering our
    # own question (booked, moved, cancelled) is still confirmed to them.
    author = Author.SYSTEM if turn.conversation.human_answers(turn.now) else Author.ASSISTANT
    try:
        message = queue_message(
            business=turn.business, customer=turn.customer, conversation=turn.conversation, body=decision.text,
            author=author, kind=decision.kind, about=decision.about, now=turn.now, in_answer=True,
            ledger_line=turn.ledger_line,
        )  # fmt: skip
    except CannotSend as reason:
        note(
            business=turn.business,
            customer=turn.customer,
            verb=Verb.REFUSED,
            text=f"{reason} “{decision.text}”",
            now=turn.now,
        )
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
        if business.is_active and now - event.received_at < READ_BY_RULES_AFTER:
            read = reading.read(business=business, body=message.body, now=now)
        with transaction.atomic():
            thread = (
                Conversation.objects.for_business(business)
                .select_related("customer")
                .filter(pk=message.conversation_id)
            )
            take_turn(thread.get().customer)  # before the thread: the order everybody keeps
            conversation = thread.select_for_update(of=("self",), no_key=True).get()
            # Two workers may have asked the model; one of them answers.
            if not InboundEvent.objects.filter(pk=event.pk, step=Step.READING).update(step=Step.RECEPTIONIST):
                return False
            conversation.business = conversation.customer.business = business
            said = _act_on(read, business=business, conversation=conversation, message=message, now=now)
            _close(
                str(event.pk),
                step=Step.RECEPTIONIST,
                reason=f"read by {'the language model' if read else 'rules'}; {said.reason}",
                answer=event.answer,
            )
            if said.text is None:
                return True  # the thread stays on the waiting list until somebody answers
            try:
                queue_message(
                    business=business, customer=conversation.customer, conversation=conversation, body=said.text,
                    author=Author.ASSISTANT, kind=said.kind, about=said.about, now=now,
                )  # fmt: skip
            except CannotSend as reason:
                note(
                    business=business,
                    customer=conversation.customer,
                    verb=Verb.REFUSED,
                    text=f"{reason} “{said.text}”",
                    now=now,
                )
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
    opted_out = consent.is_opted_out(consent.standing(business=business, phone=conversation.their_address))
    if read is not None and read.wants_no_texts and not opted_out:  # in doubt, believe it
        consent.revoke(
            business=business, phone=conversation.their_address, source=ConsentSource.TEXT, words=message.body, now=now,
            reference=f"message:{message.pk}",
        )  # fmt: skip
        note(
            business=business,
            customer=customer,
            verb=Verb.OPTED_OUT,
            text=f"Opted out of texts: “{message.body[:80]}”.",
            now=now,
            about=f"message:{message.pk}",
        )
        return receptionist.Said(
            reason="asked for no more texts", text=receptionist.opt_out_text(business), kind=MessageKind.KEYWORD
        )
    if (settled := _settled_meanwhile(conversation, message=message, opted_out=opted_out, now=now)) is not None:
        return receptionist.Said(reason=settled, text=None, still_waiting=True)
    if read is not None:
        service = reading.recognised_service(read, business=business)
        if service is not None:
            # Their own words only: a time the model made up is not theirs.
            words = read.when if read.when and read.when in message.body else message.body
            wanted = read_when(words, now=now, zone=business.time_zone)
            return receptionist.offer(
                business=business, conversation=conversation, service=service, words=message.body, now=now,
                wanted=wanted,
            )  # fmt: skip
        if read.needs_person:
            return receptionist.call_a_person(
                business=business, customer=customer, conversation=conversation, body=message.body, now=now
            )
    return receptionist.answer(
        business=business, customer=customer, conversation=conversation, message=message, body=message.body, now=now,
        open_proposal=None, may_read=False,
    )  # fmt: skip


def _settled_meanwhile(conversation: Conversation, *, message: Message, opted_out: bool, now: datetime) -> str | None:
    """Why nothing may be said, let alone a slot be held, now that the model is done: the world went on meanwhile."""
    if not conversation.business.is_active:
        return "business suspended"
    if opted_out:
        return "opted out meanwhile"
    if conversation.human_answers(now):
        return "a person has taken over"
    since = conversation.messages.filter(direction=Direction.OUTBOUND, created_at__gt=message.created_at)
    if since.exclude(kind=MessageKind.KEYWORD).exists():
        return "answered meanwhile"
    return None


def unread_events(*, now: datetime, older_than: timedelta = timedelta(seconds=20), limit: int = 50) -> list[str]:
    """Texts left to the model whose wake-up was lost."""
    rows = InboundEvent.objects.filter(step=Step.READING, received_at__lt=now - older_than).order_by("received_at")
    return [str(pk) for pk in rows.values_list("pk", flat=True)[:limit]]


# --- Delivery reports ----------------------------------------------------------------------------------------------------


def receive_status(letter: StatusLetter, *, now: datetime, business: Business | None = None) -> bool:
    """A delivery report, once. False: a repeat, or about a text that is not ours.

    `business`: whose sub-account sent it, and whose texts it may speak of; None: everybody's.
    """
    status = read_status(letter.status)
    with transaction.atomic(), every_business():
        receipt_id = _claim(EventKind.STATUS, f"{letter.sid}:{letter.status}"[:80], letter, business=business, now=now)
        if receipt_id is None:
            return False
        message = _reported_on(letter, business=business)
        if message is None or status is None:
            reason = "about a text we do not know" if message is None else f"“{letter.status}” is not understood"
            _close(receipt_id, step=Step.REPORT, reason=reason, answer="", message=message)
            return False
        Message.objects.filter(pk=message.pk, provider_sid="").update(provider_sid=letter.sid)
        moved = delivery.move_forward(message, to=status, code=letter.error_code, now=now)
        reason = f"now {status.label.lower()}" if moved else "it was that far already"
        _close(receipt_id, step=Step.REPORT, reason=reason, answer="", message=message)
        return moved


def _reported_on(letter: StatusLetter, *, business: Business | None) -> Message | None:
    """The carrier's sid says which text is meant. Our own id in the address helps only a text whose sid we do not know
    yet: the report was quicker than the answer to our request, or that answer was lost."""
    sent = Message.objects.select_related("business", "customer").filter(direction=Direction.OUTBOUND)
    if business is not None:
        sent = sent.for_business(business)
    message = sent.filter(provider_sid=letter.sid).first()
    if message is None and letter.message_id:
        message = sent.filter(pk=letter.message_id, provider_sid="").first()
    return message


def _claim(
    kind: EventKind, sid: str, letter: TextLetter | StatusLetter, *, business: Business | None, now: datetime
) -> str | None:
    """The receipt's id, or None for a letter that has been received. A letter arriving twice at once waits here until
    the first is done."""
    event_id = uuid7()
    cursor = rows.execute(
        "INSERT INTO telephony_inboundevent (id, kind, sid, business_id, from_number, to_number, payload, step, reason,"
        " answer, received_at) VALUES (%s, %s, %s, %s, %s, %s, %s, '', '', '', %s) ON CONFLICT (kind, sid) DO NOTHING",
        [
            event_id,
            kind.value,
            sid,
            business.pk if business else None,
            letter.from_number[:64],
            letter.to_number[:64],
            letter.payload,
            now,
        ],
    )
    return str(event_id) if cursor.rowcount == 1 else None


def _close(event_id: str, *, step: Step, reason: str, answer: str, message: Message | None = None) -> None:
    rows.execute(
        "UPDATE telephony_inboundevent SET step = %s, reason = %s, answer = %s, message = coalesce(%s, message),"
        " business_id = coalesce(business_id, %s) WHERE id = %s",
        [
            step.value,
            reason[:200],
            answer,
            message.pk if message else None,
            message.business_id if message else None,
            event_id,
        ],
    )
