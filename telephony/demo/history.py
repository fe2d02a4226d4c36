"""The diary written down: rows with past times, gathered story by story and stored in bulk.

The services write what happens now; a past told through them would take minutes and carry today's date. What is written
here has the same words and the same shape, and nothing of it waits to be sent.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from django.db.models import Model

from booking import reminders
from booking.enums import AppointmentStatus
from booking.models import Appointment, Service, StaffMember
from booking.slots import Slot
from booking.wording import say_day_time, say_slot, say_when_long
from crm import limits, segments
from crm.enums import (
    Audience,
    Author,
    ConsentAction,
    ConsentSource,
    Direction,
    MessageKind,
    MessageStatus,
    Meter,
    SentVia,
    Verb,
)
from crm.messaging import sms_cost_micros
from crm.models import Activity, Business, Consent, Conversation, Customer, Message, User
from crm.phones import pretty
from leads import wording as intake
from leads.actors import FRONTDESK
from leads.enums import IntakeStatus, LeadSource, Outcome, ProposalStatus, Stage
from leads.models import Lead, Proposal, StageChange
from telephony import wording as desk
from telephony.demo import words
from telephony.demo.businesses import DemoBusiness
from telephony.demo.diary import OPT_OUT_WORDS, End, Request, Way
from telephony.demo.people import Person
from telephony.models import SimulatedText

EVENT_PREFIX: Final = "demo-"  # of every lead told here; the newest says how far the diary has been told
_IN_AIR: Final = timedelta(seconds=3)  # from our outbox to their phone
_SOURCES: Final = {
    Way.TEXT: LeadSource.TEXT,
    Way.FORM: LeadSource.FORM,
    Way.CHAT: LeadSource.CHAT,
    Way.CALL: LeadSource.MANUAL,
}
_CONSENTS: Final = {
    Way.TEXT: ConsentSource.TEXT,
    Way.FORM: ConsentSource.INTAKE,
    Way.CHAT: ConsentSource.INTAKE,
    Way.CALL: ConsentSource.STAFF,
}


@dataclass(frozen=True)
class Team:
    """Who does the work, as rows."""

    services: dict[str, Service]  # by name
    staff: dict[int, StaffMember]
    owner: User
    helper: User


class History:
    """One business's past up to `now`. Call `tell` for each request, oldest first, then `write` once."""

    def __init__(self, *, demo: DemoBusiness, business: Business, team: Team, now: datetime) -> None:
        self.demo, self.business, self.team, self.now = demo, business, team, now
        self._customers = {row.phone: row for row in Customer.objects.for_business(business)}
        self._threads = {row.their_address: row for row in Conversation.objects.for_business(business)}
        self._known = set(self._threads)
        self._new: dict[type[Model], list[Any]] = defaultdict(list)
        self._spent: dict[date, int] = defaultdict(int)

    # --- The stories ------------------------------------------------------------------------------------------------

    def tell(self, request: Request) -> None:
        is_new = request.person.phone not in self._customers
        customer, thread = self._meet(request.person, way=request.way, said=request.words, at=request.asked_at)
        service = self.team.services[request.service.name]
        answered_at = request.asked_at + timedelta(seconds=2)
        lead = Lead(
            business=self.business, customer=customer, source=_SOURCES[request.way], service=service,
            event_id=f"{EVENT_PREFIX}{request.asked_at:%Y-%m-%dT%H:%M}-{request.number}", asked_for=request.words,
            status=IntakeStatus.NEW, created_at=request.asked_at,
            first_touch_at=answered_at, stage=Stage.CONTACTED, stage_since=answered_at, rescore_at=self.now,
        )  # fmt: skip
        self._keep(lead)
        self._keep(
            StageChange(
                business=self.business, lead=lead, old=Stage.NEW, new=Stage.CONTACTED, since=lead.created_at,
                at=answered_at, by_text=FRONTDESK.text, why="The first answer went out",
            )
        )  # fmt: skip
        how = LeadSource(lead.source).label.lower()
        self._note(customer, Verb.LEAD, f"Asked for “{request.words[:120]}” by {how}.", at=request.asked_at, about=lead)
        if request.way == Way.TEXT:
            self._hear(thread, request.words, at=request.asked_at)
        if request.is_emergency:
            self._alert(customer, f"EMERGENCY, {_who(customer)}: {request.words}", at=request.asked_at, about=lead)

        name = "" if is_new and request.way == Way.TEXT else customer.first_name  # we learn it when they tell us
        thinks = timedelta(minutes=1 + (request.asked_at.minute + 5 * request.number) % 9)
        at = request.asked_at + timedelta(seconds=2)
        if request.offered_first is not None:
            first = self._offer(lead, service, request.offered_first, name=name, at=at, thread=thread)
            at += thinks
            self._hear(thread, request.asks_for, at=at)
            if request.slot is None:
                self._pass(lead, thread, first, at=at)
            else:
                _close(first, ProposalStatus.REPLACED, AppointmentStatus.RELEASED, at=at)
                at += timedelta(seconds=2)
        if request.slot is None:
            return
        if request.way in (Way.TEXT, Way.CHAT):
            aloud = thread if request.way == Way.TEXT else None  # a chat is answered where it was asked
            proposal = self._offer(lead, service, request.slot, name=name, at=at, thread=aloud)
            at += thinks
            if aloud is not None:
                self._hear(thread, "1" if request.number % 4 else "1 please, thank you", at=at)
            appointment = proposal.appointment
            _close(proposal, ProposalStatus.CONFIRMED, AppointmentStatus.SCHEDULED, at=at)
        else:
            at += thinks if request.way == Way.CALL else timedelta()
            appointment = self._appointment(lead, service, request.slot, at=at)
            appointment.status = AppointmentStatus.SCHEDULED
        appointment.is_emergency = request.is_emergency
        self._book(request, lead, thread, appointment, at=at)
        self._live_through(request, thread, appointment, booked_at=at)
        if appointment.status == AppointmentStatus.COMPLETED:
            lead.outcome, lead.closed_at, lead.rescore_at = Outcome.WON, appointment.ends_at, None

    def _book(
        self, request: Request, lead: Lead, thread: Conversation, appointment: Appointment, *, at: datetime
    ) -> None:
        lead.status, lead.appointment = IntakeStatus.BOOKED, appointment
        actor = self.team.helper if request.way == Way.CALL else None
        self._note(
            lead.person, Verb.BOOKED, f"Booked {self._what(appointment)}.", at=at, about=appointment, actor=actor
        )
        place = f" {appointment.address}" if appointment.address else ""
        self._alert(
            lead.person, at=at, about=appointment,
            body=f"New job: {self._shown(appointment)}, {_who(lead.person)}, {self._slot(appointment)}.{place}",
        )  # fmt: skip
        if request.way != Way.CHAT:
            text = intake.say(
                "confirmed", lang="en", business=self.demo.name,
                service=intake.JUST_APPOINTMENT["en"] if self.demo.private_health else appointment.service_name,
                when=say_when_long(appointment.starts_at, self.demo.zone),
            )  # fmt: skip
            via = SentVia.ANSWER if request.way == Way.TEXT else SentVia.API
            self._say(thread, text, at=at, kind=MessageKind.APPOINTMENT, about=appointment, via=via)

    def _live_through(
        self, request: Request, thread: Conversation, appointment: Appointment, *, booked_at: datetime
    ) -> None:
        """What happened between the booking and now."""
        customer = appointment.customer
        asks_at = booked_at + timedelta(minutes=6)
        if request.question is not None and request.way == Way.TEXT:
            self._talk(thread, request.question, at=asks_at)
        if request.reminded_at is not None and request.reminded_at <= self.now:
            appointment.reminded_at = request.reminded_at  # or the worker would do it again
            self._say(
                thread, reminders.text(appointment), at=request.reminded_at, kind=MessageKind.REMINDER,
                about=appointment, via=SentVia.API,
            )  # fmt: skip
            answered_at = request.reminder_answered_at
            if answered_at is not None and answered_at <= self.now:
                self._hear(thread, "1", at=answered_at)
                appointment.status = AppointmentStatus.CONFIRMED
                self._note(
                    customer, Verb.CONFIRMED, f"Confirmed {self._what(appointment)}.", at=answered_at, about=appointment
                )
                thanks = desk.say(
                    "confirmed", lang="en", business=self.demo.name, service=self._shown(appointment),
                    slot=self._slot(appointment),
                )  # fmt: skip
                self._say(thread, thanks, at=answered_at, kind=MessageKind.APPOINTMENT, about=appointment)
        if request.ends_early_at is not None:
            ends_at = max(request.ends_early_at, asks_at + timedelta(minutes=20))
            if ends_at <= self.now:
                self._cancel(request, thread, appointment, at=ends_at)
                return
        if appointment.ends_at > self.now:
            return
        if request.end == End.NO_SHOW:
            appointment.status = AppointmentStatus.NO_SHOW
            verb, text = Verb.MISSED, f"Nobody was there: {self._what(appointment)}."
        else:
            appointment.status = AppointmentStatus.COMPLETED
            verb, text = Verb.COMPLETED, f"Done: {self._what(appointment)}."
        self._note(customer, verb, text, at=appointment.ends_at, about=appointment, actor=self.team.helper)
        if request.thanks is not None and request.thanked_at is not None and not request.opts_out:
            self._talk(thread, request.thanks, at=request.thanked_at)
        if request.opts_out:
            self._opt_out(thread, at=self._next_morning(appointment.ends_at))

    def _pass(self, lead: Lead, thread: Conversation, proposal: Proposal, *, at: datetime) -> None:
        lead.status = IntakeStatus.DECLINED
        _close(proposal, ProposalStatus.DECLINED, AppointmentStatus.RELEASED, at=at)
        held = proposal.appointment
        self._note(
            lead.person, Verb.DECLINED, f"Passed on {held.service_name} {self._slot(held)}.", at=at, about=proposal
        )
        self._say(thread, intake.say("declined", lang="en", business=self.demo.name), at=at)

    def _cancel(self, request: Request, thread: Conversation, appointment: Appointment, *, at: datetime) -> None:
        customer = appointment.customer
        self._hear(thread, request.cancel_words, at=at)
        appointment.status, appointment.cancelled_at = AppointmentStatus.CANCELLED, at
        text = f"Cancelled {self._what(appointment)} (“{request.cancel_words[:60]}”)."
        self._note(customer, Verb.CANCELLED, text, at=at, about=appointment)
        self._alert(
            customer, f"Cancelled by text: {self._shown(appointment)}, {_who(customer)}, {self._slot(appointment)}.",
            at=at, about=appointment,
        )  # fmt: skip
        answer = desk.say(
            "cancelled",
            lang="en",
            business=self.demo.name,
            service=self._shown(appointment),
            slot=self._slot(appointment),
        )
        self._say(thread, answer, at=at, kind=MessageKind.APPOINTMENT, about=appointment)

    def _opt_out(self, thread: Conversation, *, at: datetime) -> None:
        if at > self.now:
            return
        message = self._hear(thread, OPT_OUT_WORDS, at=at)
        self._keep(
            Consent(
                business=self.business, phone=thread.their_address, action=ConsentAction.REVOKE,
                source=ConsentSource.TEXT, words=OPT_OUT_WORDS, reference=f"message:{message.pk}", at=at,
            )
        )  # fmt: skip
        self._note(thread.customer, Verb.OPTED_OUT, f"Opted out of texts: “{OPT_OUT_WORDS}”.", at=at, about=message)
        self._say(thread, desk.say("opted_out", lang="en", business=self.demo.name), at=at, kind=MessageKind.KEYWORD)

    def _talk(self, thread: Conversation, turns: tuple[str, str], *, at: datetime) -> None:
        """They write, and a person of the team writes back a little later."""
        answered_at = at + timedelta(minutes=4 + len(turns[0]) % 9)
        if answered_at > self.now:
            return
        self._hear(thread, turns[0], at=at)
        self._say(thread, turns[1], at=answered_at, author=Author.STAFF, via=SentVia.API, by=self.team.helper)

    # --- The rows ---------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Store what was told, parents first."""
        known = [row for address, row in self._threads.items() if address in self._known]
        fresh = [row for address, row in self._threads.items() if address not in self._known]
        customers = self._new.pop(Customer, [])
        made_at = [(row, row.created_at) for row in customers]
        Customer.objects.bulk_create(customers)
        for row, moment in made_at:  # the column stamps itself when a row is made
            row.created_at = moment
        Customer.objects.bulk_update(customers, ["created_at"])
        Conversation.objects.bulk_create(fresh)
        Conversation.objects.bulk_update(known, ["last_message_at", "last_inbound_at", "last_words"])
        for model in (Appointment, Lead, StageChange, Proposal, Message, Consent, Activity):
            model.objects.bulk_create(self._new.pop(model, []), batch_size=1_000)
        SimulatedText.objects.bulk_create(self._new.pop(SimulatedText, []), batch_size=1_000)
        for day, micros in self._spent.items():
            noon = datetime.combine(day, time(12), tzinfo=self.business.zone)
            limits.spend(business=self.business, meter=Meter.SMS, micros=micros, now=noon, capped=False)

    def _keep(self, row: Model) -> None:
        self._new[type(row)].append(row)

    def _meet(self, person: Person, *, way: Way, said: str, at: datetime) -> tuple[Customer, Conversation]:
        customer = self._customers.get(person.phone)
        if customer is None:
            number = len(self._customers)
            customer = Customer(
                business=self.business, name=person.name, phone=person.phone, phone_raw=pretty(person.phone),
                email=person.email, address=person.address, created_at=at,
                notes=words.NOTES[number // 9 % 4] if number % 9 == 4 and self.demo.visits_at_home else "",
                tags=[words.TAGS[number // 6 % len(words.TAGS)]] if number % 6 == 2 else [],
            )  # fmt: skip
            self._customers[person.phone] = customer
            self._keep(customer)
            self._keep(
                Consent(
                    business=self.business, phone=person.phone, action=ConsentAction.GRANT, source=_CONSENTS[way],
                    words="Said so on the phone." if way == Way.CALL else said, at=at,
                    recorded_by=self.team.helper if way == Way.CALL else None,
                )
            )  # fmt: skip
        thread = self._threads.get(person.phone)
        if thread is None:
            thread = Conversation(
                business=self.business, customer=customer, their_address=person.phone, our_number=self.demo.number,
                created_at=at, last_message_at=at,
            )  # fmt: skip
            self._threads[person.phone] = thread
        return customer, thread

    def _appointment(self, lead: Lead, service: Service, slot: Slot, *, at: datetime) -> Appointment:
        appointment = Appointment(
            business=self.business, customer=lead.person, staff=self.team.staff[slot.staff_id], service=service,
            service_name=service.name, starts_at=slot.start, ends_at=slot.end, status=AppointmentStatus.RELEASED,
            address=lead.person.address if self.demo.visits_at_home else "", price_low=service.price_low,
            price_high=service.price_high, created_at=at,
            source="owner" if lead.source == LeadSource.MANUAL else lead.source,
        )  # fmt: skip
        self._keep(appointment)
        return appointment

    def _offer(
        self, lead: Lead, service: Service, slot: Slot, *, name: str, at: datetime, thread: Conversation | None
    ) -> Proposal:
        """Hold a slot and say so, in the thread if there is one."""
        appointment = self._appointment(lead, service, slot, at=at)
        text = intake.say(
            "offer", lang="en", name=name, business=self.demo.name, service=self._shown(appointment),
            slot=self._slot(appointment),
        )  # fmt: skip
        proposal = Proposal(
            business=self.business, lead=lead, customer=lead.person, appointment=appointment, text=text, created_at=at
        )
        self._keep(proposal)
        lead.status = IntakeStatus.PROPOSED
        told = f"Offered {appointment.service_name} {self._slot(appointment)}."
        self._note(lead.person, Verb.OFFERED, told, at=at, about=proposal)
        if thread is not None:
            self._say(thread, text, at=at, kind=MessageKind.OFFER, about=proposal)
        return proposal

    def _hear(self, thread: Conversation, body: str, *, at: datetime) -> Message:
        message = self._text(thread.their_address, self.demo.number, body, at=at, status="received")
        message.conversation, message.customer = thread, thread.customer
        message.direction, message.author, message.status = Direction.INBOUND, Author.CUSTOMER, MessageStatus.RECEIVED
        self._newest(thread, body, at=at)
        thread.last_inbound_at = max(at, thread.last_inbound_at or at)
        return message

    def _say(
        self, thread: Conversation, body: str, *, at: datetime, kind: MessageKind = MessageKind.CHAT,
        about: Model | None = None, author: Author = Author.ASSISTANT, via: SentVia = SentVia.ANSWER,
        by: User | None = None,
    ) -> None:  # fmt: skip
        message = self._text(self.demo.number, thread.their_address, body, at=at, status="delivered")
        message.conversation, message.customer, message.author, message.kind = thread, thread.customer, author, kind
        message.about, message.sent_via, message.sent_by = _about(about), via, by
        self._newest(thread, body, at=at)

    def _alert(self, customer: Customer, body: str, *, at: datetime, about: Model) -> None:
        message = self._text(self.demo.number, self.demo.owner_phone, body, at=at, status="delivered")
        message.audience, message.customer, message.author = Audience.OWNER, customer, Author.SYSTEM
        message.kind, message.about = MessageKind.ALERT, _about(about)

    def _text(self, sender: str, receiver: str, body: str, *, at: datetime, status: str) -> Message:
        """A text as we have it and as the demo carrier has it."""
        body = segments.normalise(body)
        count = len(self._new[Message])
        sid = "SM" + uuid.uuid5(uuid.NAMESPACE_URL, f"{sender} {receiver} {at.isoformat()} {count}").hex
        message = Message(
            business=self.business, direction=Direction.OUTBOUND, body=body, from_number=sender, to_number=receiver,
            provider_sid=sid, created_at=at, segments=segments.count(body).segments, status=MessageStatus.DELIVERED,
        )  # fmt: skip
        if status == "delivered":
            message.due_at = message.claimed_at = at
            message.attempts = 1
            message.sent_at, message.delivered_at = at + timedelta(seconds=1), at + _IN_AIR
            self._spent[at.astimezone(self.business.zone).date()] += sms_cost_micros(message.segments)
        self._keep(message)
        self._keep(
            SimulatedText(
                sid=sid, from_number=sender, to_number=receiver, body=body, status=status, created_at=at,
                arrives_at=at + _IN_AIR if status == "delivered" else at,
                webhook_status=200 if status == "received" else None,
            )
        )  # fmt: skip
        return message

    def _newest(self, thread: Conversation, body: str, *, at: datetime) -> None:
        if at >= thread.last_message_at:
            thread.last_message_at, thread.last_words = at, body[:120]

    def _note(
        self, customer: Customer, verb: Verb, text: str, *, at: datetime, about: Model, actor: User | None = None
    ) -> None:
        self._keep(
            Activity(
                business=self.business, customer=customer, verb=verb, text=text[:300], at=at, about=_about(about),
                actor=actor,
            )
        )  # fmt: skip

    # --- How it is said ---------------------------------------------------------------------------------------------

    def _shown(self, appointment: Appointment) -> str:
        return intake.APPOINTMENT["en"] if self.demo.private_health else appointment.service_name

    def _slot(self, appointment: Appointment) -> str:
        return say_slot(appointment.starts_at, appointment.ends_at, zone=self.demo.zone)

    def _what(self, appointment: Appointment) -> str:
        return f"{appointment.service_name} for {say_day_time(appointment.starts_at, zone=self.demo.zone)}"

    def _next_morning(self, moment: datetime) -> datetime:
        local = moment.astimezone(self.business.zone)
        return datetime.combine(local.date() + timedelta(days=1), time(11, 5), tzinfo=self.business.zone)


def _close(proposal: Proposal, status: ProposalStatus, slot: AppointmentStatus, *, at: datetime) -> None:
    proposal.status, proposal.answered_at = status, at
    proposal.appointment.status = slot


def _who(customer: Customer) -> str:
    return f"{customer.name} {pretty(customer.phone or '')}"


def _about(row: Model | None) -> str:
    return f"{row._meta.model_name}:{row.pk}" if row is not None else ""
