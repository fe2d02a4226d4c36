"""The receptionist's answer to a text that no rule before it understood.

By rules: a service is recognised in the customer's words (this text, or those just before it) and the next free slot is
offered. With a language model the rest is read in the background and answered a moment later; without one, or when it is
late or unsure, the rules ask, and the second time they call a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from booking import queries as calendar
from booking.models import Service
from booking.when import Wanted, read_when
from crm import llm, messaging, rows
from crm.enums import Author, Direction, MessageKind, TaskReason
from crm.models import Business, Conversation, Customer, Message, Task
from crm.phones import Phone, is_short_code, pretty
from crm.services import add_task
from leads.enums import LeadSource
from leads.models import Proposal
from leads.services import intake as leads
from telephony.wording import say

REMEMBERS: Final = timedelta(minutes=30)  # what was said before belongs to the same talk
MAX_ANSWERS: Final = 12  # within REMEMBERS, before we suspect another machine
CANCEL_APPOINTMENT: Final = re.compile(
    r"\b(?:cancel|cancelar)\b.{0,30}\b(?:appointment|appt|booking|visit|job|cita)\b|\b(?:appointment|appt|cita)\b.{0,20}\bcancel",
    re.IGNORECASE,
)
MOVE_APPOINTMENT: Final = re.compile(
    r"\bre-?\s?schedul|\b(?:change|move)\b.{0,20}\b(?:time|appointment|appt|booking)\b|\bcambiar\b.{0,20}\b(?:hora|cita)\b",
    re.IGNORECASE,
)
# The end of a talk, in any mix: “ok thank you!”, “great, see you then 👍”.
_PLEASANTRY: Final = re.compile(
    r"\W*(?:(?:(?:no )?thanks?|(?:no )?thank you|thx|ty|tysm|so much|very much|a lot|ok|okay|k|great|perfect|awesome|cool|nice"
    r"|got it|sounds good|will do|see (?:you|u|ya)(?: (?:then|soon|there))?|bye|you too|no problem|np"
    r"|(?:muchas |no )?gracias|perfecto|vale|listo|muy bien|hasta (?:luego|entonces|pronto))\b\W*)+|[^\w?]+",
    re.IGNORECASE,
)
NEGATED: Final = re.compile(r"\b(?:don'?t|do not|no)\s+(?:\w+\s+){0,2}(?:cancel|reschedul|move|change)", re.IGNORECASE)


@dataclass(frozen=True)
class Said:
    """The receptionist's answer; None as text is silence. `needs_reading`: the model reads it, and answers later."""

    reason: str
    text: str | None
    kind: MessageKind = MessageKind.CHAT
    about: str = ""
    still_waiting: bool = False
    needs_reading: bool = False


def answer(
    *, business: Business, customer: Customer, conversation: Conversation, message: Message, body: str, now: datetime,
    open_proposal: Proposal | None, may_read: bool = True,
) -> Said:  # fmt: skip
    """Answer by rules, or (`may_read`) leave the reading to the model."""
    if is_short_code(conversation.their_address):
        return Said(reason="sent by a short code, which reads no answers", text=None)
    before = _said_before(conversation, message=message, now=now)
    if before.our_answers >= MAX_ANSWERS:
        return call_a_person(
            business=business, customer=customer, conversation=conversation, body=body, now=now, silent=True
        )
    wanted = read_when(body, now=now, zone=business.time_zone)
    offered = calendar.active_services(business)
    found = leads.recognise_services(offered, text=body)
    if not found and wanted is not None and open_proposal is None:
        # “tuesday after 3” completes what they asked for a moment ago.
        found = leads.recognise_services(offered, text=" ".join(before.their_words))
    if len(found) == 1:
        return offer(business=business, conversation=conversation, service=found[0], words=body, now=now, wanted=wanted)
    if len(found) > 1 and business.private_health:
        text = say("more", lang=business.language, business=business.name)
        return Said(reason="more than one service fits", text=text)
    if len(found) > 1:
        options = say("or", lang=business.language).join(service.name for service in found[:3])
        text = say("which", lang=business.language, business=business.name, options=options)
        return Said(reason="more than one service fits", text=text)
    if open_proposal is not None:
        text = leads.clarify(proposal=open_proposal).text
        return Said(reason="no answer to the open offer", text=text, about=f"proposal:{open_proposal.pk}")
    if _PLEASANTRY.fullmatch(body):
        return Said(reason="thanks, which ask for nothing", text=None)
    if may_read and llm.is_available(business=business, now=now):
        return Said(reason="left to the language model", text=None, still_waiting=True, needs_reading=True)
    if before.we_asked:
        return call_a_person(business=business, customer=customer, conversation=conversation, body=body, now=now)
    return _ask(business, offered)


def _ask(business: Business, offered: list[Service]) -> Said:
    """Not understood: ask once what they need. The second time a person takes it from here."""
    names = [service.name for service in offered[:2]]
    examples = ""
    if names and not business.private_health:
        examples = say("examples", lang=business.language, names=say("or", lang=business.language).join(names))
    text = say("ask", lang=business.language, business=business.name, examples=examples)
    return Said(reason="no service recognised", text=text)


def offer(
    *, business: Business, conversation: Conversation, service: Service, words: str, now: datetime,
    wanted: Wanted | None = None,
) -> Said:  # fmt: skip
    """A lead is captured and its next free slot offered."""
    customer = conversation.customer
    # The number they write from: after a merge the customer may be filed under another one, or under none.
    number = conversation.their_address
    phone = Phone(e164=number, raw=number, is_valid=True, region=business.region, line_type="")
    draft = leads.Draft(phone=phone, source=LeadSource.TEXT, name=customer.name, asked_for=words)
    lead = leads.capture_lead(business=business, draft=draft, service=service, now=now, customer=customer)
    made = leads.offer_slot(lead=lead, now=now, wanted=wanted)
    kind = MessageKind.OFFER if made.outcome == leads.Outcome.PROPOSED else MessageKind.CHAT
    return Said(
        reason=f"recognised {service.name}: {made.outcome.value}", text=made.text, kind=kind, about=made.about,
        still_waiting=made.outcome == leads.Outcome.NEEDS_DISPATCH,
    )  # fmt: skip


def names_another_service(body: str, *, proposal: Proposal) -> bool:
    """“and my furnace on Tuesday?” is a new request, not an answer to the AC offer."""
    found = leads.recognise_services(calendar.active_services(proposal.business), text=body)
    return bool(found) and all(service.pk != proposal.lead.service_id for service in found)


def call_a_person(
    *,
    business: Business,
    customer: Customer,
    conversation: Conversation,
    body: str,
    now: datetime,
    silent: bool = False,
) -> Said:
    """Not ours to decide: a task and a text for the owner, and a word to the customer (unless `silent`)."""
    who = " ".join(part for part in (customer.name, pretty(conversation.their_address)) if part)
    asked = Task.objects.for_business(business).filter(customer=customer, reason=TaskReason.ASKED_A_PERSON).open()
    told_before = asked.filter(due_at__gt=now - REMEMBERS).exists()
    add_task(
        business=business, customer=customer, reason=TaskReason.ASKED_A_PERSON, now=now,
        title=f"Answer {who}: “{body[:100]}”", about=f"conversation:{conversation.pk}",
    )  # fmt: skip
    if silent:
        return Said(reason="many answers in a short time: maybe another machine", text=None, still_waiting=True)
    if told_before:  # once is enough, for the owner's phone and for theirs: the thread waits in the Inbox
        return Said(reason="a person was asked a moment ago", text=None, still_waiting=True)
    said = ". Their text is in the Inbox." if business.private_health else f": {body[:200]}"
    messaging.alert_owner(
        business=business, customer=customer, now=now, body=f"Please answer {who}{said}",
        about=f"conversation:{conversation.pk}",
    )  # fmt: skip
    phone = say("call", lang=business.language, phone=business.public_phone) if business.public_phone else ""
    text = say("team", lang=business.language, business=business.name, phone=phone)
    return Said(reason="a person was asked", text=text, still_waiting=True)


@dataclass(frozen=True)
class _Before:
    their_words: list[str]
    our_answers: int
    we_asked: bool


def _said_before(conversation: Conversation, *, message: Message, now: datetime) -> _Before:
    """The last half hour of this thread. One query."""
    cursor = rows.execute(
        "SELECT direction, author, kind, body FROM crm_message WHERE conversation_id = %s AND created_at > %s AND id <> %s"
        " ORDER BY created_at DESC, id DESC LIMIT 40",
        [conversation.pk, now - REMEMBERS, message.pk],
    )
    said = cursor.fetchall()
    ours = [
        kind for direction, author, kind, _ in said if direction == Direction.OUTBOUND and author == Author.ASSISTANT
    ]
    return _Before(
        their_words=[body for direction, _, _, body in said if direction == Direction.INBOUND][2::-1],
        our_answers=len(ours),
        we_asked=MessageKind.CHAT in ours,
    )


def opt_out_text(business: Business) -> str:
    """The one confirmation somebody gets who asked for no more texts in their own words."""
    return say("opted_out", lang=business.language, business=business.name)
