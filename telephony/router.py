"""One inbound text, read in one order; the first step that knows an answer gives it.

1. opt-out · 2. opt-in and help · 3. the open question · 4. appointment words · 5. a person who is answering ·
6. (an outreach conversation, when there is one) · 7. the receptionist.

Every step runs in the transaction of the receipt, for one locked thread, and is kept on the receipt with its reason, so
that a support person can see why a text got the answer it got.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from booking import queries as calendar
from booking import services as booking
from booking.enums import AppointmentStatus
from booking.models import Appointment
from booking.services import CannotMove, SlotTaken
from booking.when import read_when
from booking.wording import say_slot
from crm import consent, messaging, optout
from crm.enums import ConsentSource, Direction, MessageKind, TaskReason, Verb
from crm.models import Business, Consent, Conversation, Customer, Message
from crm.phones import pretty
from crm.services import add_task
from crm.timeline import note
from leads.enums import ProposalStatus
from leads.models import Proposal
from leads.replies import Reply, read_reply
from leads.services import intake as leads
from leads.wording import APPOINTMENT
from telephony import receptionist
from telephony.enums import Step
from telephony.wording import say

# Our last text was about an appointment: a bare CANCEL within this time means that appointment too.
CANCEL_MEANS_APPOINTMENT: Final = timedelta(days=7)


@dataclass(frozen=True)
class Turn:
    """One text from one person, and what is known when it is read."""

    business: Business
    customer: Customer
    conversation: Conversation
    message: Message
    body: str
    opt_out_type: str
    ledger_line: Consent | None
    now: datetime

    @property
    def lang(self) -> str:
        return self.business.language

    @functools.cached_property
    def open_proposal(self) -> Proposal | None:
        """The offer that waits for an answer, as it was when the text came in."""
        proposal = leads.latest_proposal(business=self.business, customer=self.customer)
        return proposal if proposal is not None and proposal.status == ProposalStatus.OPEN else None


@dataclass(frozen=True)
class Decision:
    """Which step answered, why, and with what words (None: silence)."""

    step: Step
    reason: str
    text: str | None = None
    kind: MessageKind = MessageKind.CHAT
    about: str = ""
    still_waiting: bool = False  # answered, but a person has to come back to them


def route(turn: Turn) -> Decision:
    for step in STEPS:
        decision = step(turn)
        if decision is not None:
            return decision
    raise AssertionError("the receptionist answers everything")


# --- 1 and 2: the carrier's words --------------------------------------------------------------------------------------


def opt_out(turn: Turn) -> Decision | None:
    keyword = optout.read_keyword(turn.body, opt_out_type=turn.opt_out_type or None)
    words = turn.body.strip() if keyword == optout.Keyword.STOP else optout.asks_to_stop(turn.body)
    if keyword not in (optout.Keyword.STOP, None) or not words:
        return None
    consent.revoke(
        business=turn.business, phone=turn.conversation.their_address, source=ConsentSource.TEXT, words=words,
        now=turn.now, reference=f"message:{turn.message.pk}",
    )  # fmt: skip
    _note(turn, Verb.OPTED_OUT, f"Opted out of texts: “{words[:80]}”.")
    proposal = turn.open_proposal
    if proposal is not None:
        leads.decline(proposal=proposal, now=turn.now)
    if optout.is_bare_cancel(turn.body):
        _cancel_or_ask(turn)
    if optout.carrier_confirms(turn.body, turn.opt_out_type or None):
        return Decision(step=Step.OPT_OUT, reason=f"“{words[:80]}”; the carrier confirms it itself")
    if consent.is_opted_out(turn.ledger_line):  # one confirmation, however often they say it
        return Decision(step=Step.OPT_OUT, reason=f"“{words[:80]}”; had opted out before")
    text = say("opted_out", lang=turn.lang, business=turn.business.name)
    return Decision(step=Step.OPT_OUT, reason=f"“{words[:80]}”", text=text, kind=MessageKind.KEYWORD)


def opt_in_or_help(turn: Turn) -> Decision | None:
    keyword = optout.read_keyword(turn.body, opt_out_type=turn.opt_out_type or None)
    if keyword == optout.Keyword.START:
        consent.grant(
            business=turn.business, phone=turn.conversation.their_address, source=ConsentSource.TEXT,
            words=turn.body.strip(), now=turn.now, reference=f"message:{turn.message.pk}",
        )  # fmt: skip
        _note(turn, Verb.OPTED_IN, "Agreed to service texts again.")
        text = None if turn.opt_out_type else say("opted_in", lang=turn.lang, business=turn.business.name)
        return Decision(step=Step.OPT_IN, reason="asked for texts again", text=text, kind=MessageKind.KEYWORD)
    if keyword == optout.Keyword.HELP:
        text = (
            None if turn.opt_out_type else say("help", lang=turn.lang, business=turn.business.name, phone=_number(turn))
        )
        return Decision(step=Step.HELP, reason="asked for help", text=text, kind=MessageKind.KEYWORD)
    return None


def silent_after_opt_out(turn: Turn) -> Decision | None:
    """They opted out and write again: no text may go out, so a person calls."""
    if not consent.is_opted_out(turn.ledger_line):
        return None
    add_task(
        business=turn.business, customer=turn.customer, reason=TaskReason.AFTER_OPT_OUT, now=turn.now,
        title=f"Call {_who(turn)}: they wrote after opting out of texts.", about=f"conversation:{turn.conversation.pk}",
    )  # fmt: skip
    return Decision(step=Step.OPTED_OUT, reason="opted out earlier; only START brings texts back", still_waiting=True)


def a_reaction(turn: Turn) -> Decision | None:
    """'Liked "…"': the words are ours, quoted by their phone. The times and services in them ask for nothing."""
    if not optout.is_reaction(turn.body):
        return None
    if turn.open_proposal is None or turn.conversation.human_answers(turn.now):
        return Decision(step=Step.RECEPTIONIST, reason="a reaction to a text of ours")
    answer = leads.clarify(proposal=turn.open_proposal)
    return _decision(Step.OPEN_QUESTION, "a reaction to a text of ours, while an offer is open", answer)


# --- 3: the open question ----------------------------------------------------------------------------------------------


def open_question(turn: Turn) -> Decision | None:
    """An offered slot waits for an answer. Words that are no answer to it are left to the steps below."""
    proposal = turn.open_proposal
    if proposal is None:
        return None
    if read_reply(turn.body) == Reply.UNCLEAR:
        if _asks_to_cancel(turn.body):
            answer = leads.decline(proposal=proposal, now=turn.now)
            if calendar.next_appointment(customer=turn.customer, now=turn.now) is not None:
                return None  # they have a job as well, and that is what they want cancelled
            return _decision(Step.OPEN_QUESTION, "takes the request back", answer)
        if read_when(turn.body, now=turn.now, zone=turn.business.time_zone) is None:
            return None
        if receptionist.names_another_service(turn.body, proposal=proposal):
            return None
    answer = leads.answer_offer(proposal=proposal, text=turn.body, now=turn.now)
    return _decision(Step.OPEN_QUESTION, f"answer to offer {proposal.pk}: {answer.outcome.value}", answer)


# --- 4: appointment words ----------------------------------------------------------------------------------------------

_CONFIRM: Final = {"1", "yes", "y", "confirm", "ok", "okay", "si", "sí"}
_CANCEL: Final = {"3", "no", "n"}
_MOVE: Final = {"2", "reschedule", "re-schedule", "change time", "change appointment"}
_UNDO: Final = {"undo"}


def appointment_words(turn: Turn) -> Decision | None:
    word = " ".join(turn.body.strip(" \t\r\n.!,;:?\"'“”()").lower().split())
    if word in _UNDO:
        return _undo(turn)
    cancels = word in _CANCEL or _asks_to_cancel(turn.body)
    moves = word in _MOVE or _asks_to_move(turn.body)
    if not (cancels or moves or word in _CONFIRM):
        return None
    appointment = calendar.next_appointment(customer=turn.customer, now=turn.now)
    if appointment is None:
        if word in _CONFIRM | _CANCEL | {"2"}:
            return None  # “yes” to nothing we asked: the receptionist's business
        return Decision(
            step=Step.APPOINTMENT_WORDS, reason="no upcoming appointment",
            text=say("no_appointment", lang=turn.lang, business=turn.business.name, phone=_number(turn)),
        )  # fmt: skip
    appointment.business, appointment.customer = turn.business, turn.customer
    if moves:
        wanted = read_when(turn.body, now=turn.now, zone=turn.business.time_zone)
        answer = leads.start_reschedule(appointment=appointment, now=turn.now, wanted=wanted)
        return _decision(Step.APPOINTMENT_WORDS, "wants another time", answer)
    if cancels:
        booking.cancel(appointment=appointment, now=turn.now, words=turn.body.strip())
        messaging.alert_owner(
            business=turn.business, customer=turn.customer, now=turn.now, about=f"appointment:{appointment.pk}",
            body=f"Cancelled by text: {_shown(turn, appointment)}, {_who(turn)}, {_slot(appointment)}.",
        )  # fmt: skip
        return _about_appointment(turn, appointment, "cancelled", reason="cancels the next appointment")
    booking.confirm(appointment=appointment, now=turn.now)
    return _about_appointment(turn, appointment, "confirmed", reason="confirms the next appointment")


def _undo(turn: Turn) -> Decision | None:
    appointment = (
        Appointment.objects.for_business(turn.business)
        .filter(
            customer=turn.customer, status=AppointmentStatus.CANCELLED,
            cancelled_at__gt=turn.now - booking.UNDO_CANCEL_WITHIN,
        )
        .order_by("-cancelled_at")
        .first()
    )  # fmt: skip
    if appointment is None:
        return None
    appointment.business, appointment.customer = turn.business, turn.customer
    try:
        booking.undo_cancel(appointment=appointment, now=turn.now)
    except (SlotTaken, CannotMove):
        return Decision(
            step=Step.APPOINTMENT_WORDS, reason="undo, but the time has gone",
            text=say("undo_too_late", lang=turn.lang, business=turn.business.name),
        )  # fmt: skip
    messaging.alert_owner(
        business=turn.business, customer=turn.customer, now=turn.now, about=f"appointment:{appointment.pk}",
        body=f"Back again: {_shown(turn, appointment)}, {_who(turn)}, {_slot(appointment)}.",
    )  # fmt: skip
    return _about_appointment(turn, appointment, "undone", reason="takes a cancellation back")


# --- 5 and 7: a person, or the receptionist --------------------------------------------------------------------------------


def a_person_answers(turn: Turn) -> Decision | None:
    """Somebody of the team has taken over: keep the text, show it to them, say nothing."""
    if not turn.conversation.human_answers(turn.now):
        return None
    return Decision(step=Step.HUMAN, reason="a person has taken over", still_waiting=True)


def the_receptionist(turn: Turn) -> Decision:
    said = receptionist.answer(
        business=turn.business, customer=turn.customer, conversation=turn.conversation, message=turn.message,
        body=turn.body, now=turn.now, open_proposal=turn.open_proposal,
    )  # fmt: skip
    return Decision(
        step=Step.READING if said.needs_reading else Step.RECEPTIONIST,
        reason=said.reason,
        text=said.text,
        kind=said.kind,
        about=said.about,
        still_waiting=said.still_waiting,
    )


STEPS: Final[tuple[Callable[[Turn], Decision | None], ...]] = (
    opt_out,
    opt_in_or_help,
    silent_after_opt_out,
    a_reaction,
    open_question,
    appointment_words,
    a_person_answers,
    # An outreach conversation is answered by the outreach assistant, here, once staff can start one.
    the_receptionist,
)


# --- Inside ------------------------------------------------------------------------------------------------------------


def _decision(step: Step, reason: str, answer: leads.Answer) -> Decision:
    kinds = {leads.Outcome.PROPOSED: MessageKind.OFFER, leads.Outcome.BOOKED: MessageKind.APPOINTMENT}
    return Decision(
        step=step, reason=reason, text=answer.text, kind=kinds.get(answer.outcome, MessageKind.CHAT), about=answer.about,
        still_waiting=answer.outcome == leads.Outcome.NEEDS_DISPATCH,
    )  # fmt: skip


def _about_appointment(turn: Turn, appointment: Appointment, key: str, *, reason: str) -> Decision:
    text = say(
        key, lang=turn.lang, business=turn.business.name, service=_shown(turn, appointment),
        slot=_slot(appointment, turn.lang),
    )  # fmt: skip
    return Decision(
        step=Step.APPOINTMENT_WORDS, reason=reason, text=text, kind=MessageKind.APPOINTMENT,
        about=f"appointment:{appointment.pk}",
    )  # fmt: skip


def _cancel_or_ask(turn: Turn) -> None:
    """A bare CANCEL is an opt-out to the carriers. It also means the appointment when that is what we last wrote about."""
    last = (
        Message.objects.for_business(turn.business)
        .filter(
            conversation=turn.conversation,
            direction=Direction.OUTBOUND,
            created_at__gt=turn.now - CANCEL_MEANS_APPOINTMENT,
        )
        .order_by("-created_at", "-id")
        .first()
    )
    appointment = calendar.next_appointment(customer=turn.customer, now=turn.now)
    if appointment is not None and last is not None and last.about == f"appointment:{appointment.pk}":
        appointment.business, appointment.customer = turn.business, turn.customer
        booking.cancel(appointment=appointment, now=turn.now, words=turn.body.strip())
        body = f"Cancelled by text: {_shown(turn, appointment)}, {_who(turn)}, {_slot(appointment)}. They opted out of texts too."
    elif appointment is not None:
        add_task(
            business=turn.business, customer=turn.customer, reason=TaskReason.WANTS_CANCEL, now=turn.now,
            title=f"Call {_who(turn)}: they texted CANCEL and may want to cancel their appointment.",
            about=f"appointment:{appointment.pk}",
        )  # fmt: skip
        body = (
            f"{_who(turn)} texted CANCEL. That ends texts to them; they may also want to cancel {_slot(appointment)}."
        )
    else:
        return
    messaging.alert_owner(business=turn.business, customer=turn.customer, now=turn.now, body=body)


def _asks_to_cancel(body: str) -> bool:
    """“cancel my appointment”, in a sentence; never the bare word."""
    return receptionist.CANCEL_APPOINTMENT.search(body) is not None and not receptionist.NEGATED.search(body)


def _asks_to_move(body: str) -> bool:
    return receptionist.MOVE_APPOINTMENT.search(body) is not None and not receptionist.NEGATED.search(body)


def _note(turn: Turn, verb: Verb, text: str) -> None:
    note(
        business=turn.business, customer=turn.customer, verb=verb, text=text, now=turn.now,
        about=f"message:{turn.message.pk}",
    )  # fmt: skip


def _shown(turn: Turn, appointment: Appointment) -> str:
    return APPOINTMENT[turn.lang] if turn.business.private_health else appointment.service_name


def _slot(appointment: Appointment, lang: str = "en") -> str:
    return say_slot(appointment.starts_at, appointment.ends_at, zone=appointment.business.time_zone, lang=lang)


def _number(turn: Turn) -> str:
    return f" {turn.business.public_phone}" if turn.business.public_phone else ""


def _who(turn: Turn) -> str:
    return " ".join(part for part in (turn.customer.name, pretty(turn.conversation.their_address)) if part)
