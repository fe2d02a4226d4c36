"""Every change of intake: a request comes in, a slot is offered, the customer answers, the job is booked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from django.db import IntegrityError, transaction
from django.db.models import F

from booking import catalogue
from booking import queries as calendar
from booking import services as booking
from booking.enums import UPCOMING, AppointmentStatus
from booking.models import Appointment, Service
from booking.services import CannotMove, NoSlot, Request, SlotTaken
from booking.when import Wanted, read_when
from booking.wording import say_slot, say_when_long
from crm import consent, messaging, rows
from crm.enums import ConsentSource, TaskReason, Verb
from crm.models import Business, Customer, Task
from crm.phones import Phone, pretty
from crm.services import add_task, remember_customer, take_turn
from crm.timeline import note
from leads.enums import IntakeStatus, LeadSource, ProposalStatus
from leads.intent import asks_to_move
from leads.models import Lead, Proposal
from leads.replies import Reply, read_reply
from leads.services.assigning import assign_new
from leads.wording import APPOINTMENT, JUST_APPOINTMENT, say


class Outcome(StrEnum):
    """How a request stands after we did what we could. The values are the API's."""

    BOOKED = "BOOKED"
    PROPOSED = "PROPOSED"
    DECLINED = "DECLINED"
    CLARIFY = "CLARIFY"
    NEEDS_DISPATCH = "NEEDS_DISPATCH"
    HANDOFF = "HANDOFF"


@dataclass(frozen=True)
class Draft:
    """A request as it was sent, checked and cleaned."""

    phone: Phone
    source: LeadSource
    name: str = ""
    asked_for: str = ""
    address: str = ""
    notes: str = ""
    event_id: str = ""


@dataclass(frozen=True)
class Answer:
    """What came of it, and what the customer is told. `is_new` is False for a repeat: nothing was changed or sent."""

    outcome: Outcome
    text: str
    lead: Lead
    proposal: Proposal | None = None
    appointment: Appointment | None = None
    is_new: bool = True

    @property
    def about(self) -> str:
        if self.appointment is not None:
            return f"appointment:{self.appointment.pk}"
        return f"proposal:{self.proposal.pk}" if self.proposal else f"lead:{self.lead.pk}"


def capture_lead(
    *, business: Business, draft: Draft, service: Service | None, now: datetime, customer: Customer | None = None
) -> Lead:
    """Write down who wants what. Sending a request with a number agrees to texts about it, unless they opted out.

    `customer` is given when they are already known and have agreed to texts, as somebody who is texting with us.
    """
    with transaction.atomic(savepoint=False):
        known = customer is not None
        if customer is None:
            customer, _ = remember_customer(
                business=business, phone=draft.phone.e164, name=draft.name, raw=draft.phone.raw, address=draft.address
            )
        lead = Lead(
            business=business, customer=customer, source=draft.source, event_id=draft.event_id, service=service,
            asked_for=draft.asked_for[:200], notes=draft.notes[:10_000], created_at=now, rescore_at=now,
        )  # fmt: skip
        assign_new(lead)
        rows.insert(lead)
        if not known:
            consent.grant_if_silent(
                business=business, phone=draft.phone.e164, source=ConsentSource.INTAKE, now=now,
                words=draft.notes or draft.asked_for, reference=f"lead:{lead.pk}",
            )  # fmt: skip
        wish = f"“{draft.asked_for[:120]}”" if draft.asked_for else "something"
        note(
            business=business, customer=customer, verb=Verb.LEAD, now=now, about=f"lead:{lead.pk}",
            text=f"Asked for {wish} by {LeadSource(draft.source).label.lower()}.",
        )  # fmt: skip
    return lead


def add_bought_lead(
    *, business: Business, phone: str | None, name: str, address: str, asked_for: str, notes: str, cost: Decimal,
    event_id: str, story: str, now: datetime,
) -> tuple[Lead, bool]:  # fmt: skip
    """Somebody whose details were bought: a request like any other, except that they never wrote to us. It carries no
    permission to text, and none is recorded; what the ledger says about the number stays as it is.

    `phone` is E.164, `cost` in US dollars, `story` the line on the timeline. True when it was new: an `event_id` is
    taken in once.
    """
    known = Lead.objects.for_business(business).filter(source=LeadSource.PURCHASE, event_id=event_id)
    try:
        with transaction.atomic():
            lead = known.first()
            if lead is not None:
                return lead, False
            if phone:
                customer, _ = remember_customer(business=business, phone=phone, name=name, address=address)
            else:
                customer = Customer(business=business, name=name[:120], address=address[:200])
                rows.insert(customer)
            lead = Lead(
                business=business, customer=customer, source=LeadSource.PURCHASE, event_id=event_id,
                asked_for=asked_for[:200], notes=notes[:10_000], cost=cost, created_at=now, rescore_at=now,
            )  # fmt: skip
            assign_new(lead)
            rows.insert(lead)
            note(business=business, customer=customer, verb=Verb.LEAD, text=story, now=now, about=f"lead:{lead.pk}")
    except IntegrityError:  # somebody else was taking in the same one, and has
        return known.get(), False
    return lead, True


def find_service(*, business: Business, text: str) -> Service | None:
    """The service an API client names: its name or an alias, in any case."""
    offered = calendar.active_services(business)
    entry = catalogue.exact(text, calendar.catalogue(offered))
    return next(service for service in offered if service.pk == entry.id) if entry else None


def recognise_services(offered: Iterable[Service], *, text: str) -> list[Service]:
    """Which of these services free text speaks of, best first; more than one means: ask."""
    by_id = {service.pk: service for service in offered}
    return [by_id[match.service.id] for match in catalogue.match(text, calendar.catalogue(by_id.values()))]


# --- Book at once ------------------------------------------------------------------------------------------------------


def book_lead(*, lead: Lead, address: str, now: datetime) -> Answer:
    """Take the next free slot and book it. With none free a person is asked to call."""
    if lead.service is None:
        return _needs_dispatch(lead, now=now)
    with transaction.atomic(savepoint=False):
        try:
            appointment = booking.book_next(business=lead.business, request=_request(lead, address=address), now=now)
        except NoSlot as reason:
            return _needs_dispatch(lead, now=now, reason=str(reason))
        return _booked(lead, appointment, now=now)


# --- Offer first -------------------------------------------------------------------------------------------------------


def offer_slot(
    *, lead: Lead, now: datetime, after: datetime | None = None, wanted: Wanted | None = None, address: str = "",
    key: str = "offer",
) -> Answer:  # fmt: skip
    """Hold the next free slot that fits what they want, and word the offer. Any earlier open offer to them is replaced.

    A wish that cannot be met is loosened step by step (near that time, then any time on those days, then any day), and
    the text says the slot, so nothing is assumed.
    """
    if lead.service is None:
        return _needs_dispatch(lead, now=now)
    with transaction.atomic(savepoint=False):
        take_turn(lead.person)
        _close_open_offer(lead.person, now=now)
        held = None
        reason = ""
        wish = wanted
        while held is None:
            try:
                held = booking.hold_slot(
                    business=lead.business, request=_request(lead, address=address), now=now, after=after, wanted=wish
                )
            except NoSlot as none_free:
                reason = reason or str(none_free)
                if wish is None:
                    return _needs_dispatch(lead, now=now, reason=reason, key="no_later_slot" if after else "no_slot")
                wish = wish.loosened()
        text = _offer_text(lead, held, key=key)
        proposal = Proposal(
            business=lead.business, lead=lead, customer=lead.person, appointment=held, text=text, created_at=now
        )
        rows.insert(proposal)
        _touch(lead, status=IntakeStatus.PROPOSED, now=now)
        slot = say_slot(held.starts_at, held.ends_at, zone=lead.business.time_zone)
        note(
            business=lead.business, customer=lead.person, verb=Verb.OFFERED, now=now, about=f"proposal:{proposal.pk}",
            text=f"Offered {held.service_name} {slot}.",
        )  # fmt: skip
    return Answer(outcome=Outcome.PROPOSED, text=text, lead=lead, proposal=proposal)


def answer_offer(*, proposal: Proposal, text: str, now: datetime) -> Answer:
    """The customer's words about an offered slot. Repeats change nothing and get the same answer."""
    reply = read_reply(text)
    # “reschedule to friday” names a day; a bare “2” or “no” does not.
    names_a_time = reply == Reply.UNCLEAR or (reply == Reply.OTHER_TIME and asks_to_move(text))
    wanted = read_when(text, now=now, zone=proposal.business.time_zone) if names_a_time else None
    if reply == Reply.YES:
        return accept(proposal=proposal, now=now)
    if reply == Reply.NO:
        return decline(proposal=proposal, now=now)
    if reply == Reply.OTHER_TIME or wanted is not None:
        return offer_another(proposal=proposal, wanted=wanted, now=now)
    return clarify(proposal=proposal)


def accept(*, proposal: Proposal, now: datetime) -> Answer:
    """They said yes: that slot is booked, once. If it has gone meanwhile the next one is offered, never booked unasked.

    A yes to an offer that a later one has overtaken counts too while its time is free; but what was agreed since stands.
    """
    with transaction.atomic(savepoint=False):
        proposal = _locked(proposal)
        lead, job, held = proposal.lead, proposal.lead.appointment, proposal.appointment
        if job is not None and _is_agreed(proposal, job):
            return Answer(
                outcome=Outcome.BOOKED, text=_confirmed_text(lead, job), lead=lead, proposal=proposal, appointment=job,
                is_new=False,
            )  # fmt: skip
        if proposal.status == ProposalStatus.CONFIRMED:  # and cancelled since: a yes of long ago books nothing
            return offer_slot(lead=lead, now=now)
        moves = job is not None and job.status in UPCOMING
        try:
            if job is not None and moves:
                booking.move_to_slot_of(appointment=job, hold=held, now=now)
            else:
                job = held
                booking.confirm_hold(appointment=held, now=now)
        except (SlotTaken, CannotMove):
            _close(proposal, status=ProposalStatus.REPLACED, now=now)
            return offer_slot(lead=lead, now=now, key="offer_late")
        if proposal.status != ProposalStatus.OPEN:
            _close_open_offer(lead.person, now=now, of=lead)
        _close(proposal, status=ProposalStatus.CONFIRMED, now=now)
        return _booked(lead, job, now=now, proposal=proposal, moved=moves)


def _is_agreed(proposal: Proposal, job: Appointment) -> bool:
    """Whether a yes to this offer says nothing new: it was accepted before, or another time was settled since."""
    if proposal.status == ProposalStatus.CONFIRMED:
        return job.status in UPCOMING or job.status == AppointmentStatus.COMPLETED
    settled = (AppointmentStatus.SCHEDULED, AppointmentStatus.CONFIRMED)
    return proposal.status != ProposalStatus.OPEN and job.status in settled


def offer_another(*, proposal: Proposal, now: datetime, wanted: Wanted | None = None) -> Answer:
    """Another time: the one that was held is free again, and the next later slot (or the one they named) is held."""
    with transaction.atomic(savepoint=False):
        proposal = _locked(proposal)
        offered, job = proposal.appointment, proposal.lead.appointment
        if proposal.status == ProposalStatus.CONFIRMED and job is not None and job.status in UPCOMING:
            booking.ask_to_reschedule(appointment=job, now=now)
            offered = job
        # “Another time” is not the same hour a little later.
        after = None if wanted is not None else offered.ends_at - timedelta(seconds=1)
        return offer_slot(lead=proposal.lead, now=now, after=after, wanted=wanted)


def decline(*, proposal: Proposal, now: datetime) -> Answer:
    """They pass: the slot is free again and nothing is booked."""
    with transaction.atomic(savepoint=False):
        proposal = _locked(proposal)
        lead, job = proposal.lead, proposal.lead.appointment
        text = say("declined", lang=lead.business.language, business=lead.business.name)
        if proposal.status != ProposalStatus.OPEN:
            if job is not None and job.status in UPCOMING:
                return _may_want_to_cancel(lead, job, proposal=proposal, now=now)
            return Answer(outcome=Outcome.DECLINED, text=text, lead=lead, proposal=proposal, is_new=False)
        _close(proposal, status=ProposalStatus.DECLINED, now=now)
        booking.release_hold(appointment=proposal.appointment)
        if job is not None and job.status in UPCOMING:
            # Only the other time was turned down; what was booked before still is.
            text = say(
                "kept", lang=lead.business.language, business=lead.business.name, service=_shown(lead, job.service_name),
                slot=_slot_text(job, lead.business.language),
            )  # fmt: skip
            _touch(lead, status=IntakeStatus.BOOKED, now=now)
        else:
            _touch(lead, status=IntakeStatus.DECLINED, now=now)
        note(
            business=lead.business, customer=lead.person, verb=Verb.DECLINED, now=now, about=f"proposal:{proposal.pk}",
            text=f"Passed on {proposal.appointment.service_name} {_slot_text(proposal.appointment)}.",
        )  # fmt: skip
    return Answer(outcome=Outcome.DECLINED, text=text, lead=lead, proposal=proposal)


def _may_want_to_cancel(lead: Lead, job: Appointment, *, proposal: Proposal, now: datetime) -> Answer:
    """“No” when the offer was accepted long ago. A job is never cancelled on a guess: a person calls."""
    is_new = _ask_a_person(
        lead, reason=TaskReason.WANTS_CANCEL, now=now,
        title=f"Call {_who(lead.person)}: they may want to cancel {_slot_text(job)}.",
    )  # fmt: skip
    lang = lead.business.language
    text = say(
        "still_booked", lang=lang, business=lead.business.name, service=_shown(lead, job.service_name),
        slot=_slot_text(job, lang),
    )  # fmt: skip
    return Answer(outcome=Outcome.HANDOFF, text=text, lead=lead, proposal=proposal, appointment=job, is_new=is_new)


def clarify(*, proposal: Proposal) -> Answer:
    text = say("clarify", lang=proposal.business.language)
    return Answer(outcome=Outcome.CLARIFY, text=text, lead=proposal.lead, proposal=proposal, is_new=False)


def start_reschedule(*, appointment: Appointment, now: datetime, wanted: Wanted | None = None) -> Answer:
    """They want another time for a job they have. It stays theirs until they accept one of the slots offered now."""
    with transaction.atomic():
        booking.ask_to_reschedule(appointment=appointment, now=now)
        theirs = Lead.objects.for_business(appointment.business).filter(appointment=appointment)
        lead = theirs.order_by(F("merged_into").asc(nulls_first=True)).first()
        while lead is not None and lead.merged_into is not None:
            lead = lead.merged_into
        if lead is None:
            lead = Lead(
                business=appointment.business, customer=appointment.customer, source=LeadSource.TEXT,
                service=appointment.service, asked_for=appointment.service_name, appointment=appointment, created_at=now,
                rescore_at=now,
            )  # fmt: skip
            assign_new(lead)
            rows.insert(lead)
        return offer_slot(lead=lead, now=now, wanted=wanted, address=appointment.address)


def hand_over(*, lead: Lead, reason: TaskReason, title: str, now: datetime) -> None:
    """The assistant must not decide this: a person gets it on the list, and the owner a text, once."""
    with transaction.atomic():
        take_turn(lead.person)
        _touch(lead, status=IntakeStatus.HANDOFF, now=now)  # before the day's budget, which everybody waits for
        _ask_a_person(lead, reason=reason, title=title, now=now)


def latest_proposal(*, business: Business, customer: Customer) -> Proposal | None:
    """The last offer made to them, whatever came of it."""
    found = rows.first(
        Proposal, "business_id = %s AND customer_id = %s", [business.pk, customer.pk], order="created_at DESC, id DESC"
    )
    if found is not None:
        found.business, found.customer = business, customer
    return found


# --- Inside ------------------------------------------------------------------------------------------------------------


def _ask_a_person(lead: Lead, *, reason: TaskReason, title: str, now: datetime) -> bool:
    """False when it is on the list about this request already: then the owner knows."""
    about = f"lead:{lead.pk}"
    on_the_list = Task.objects.for_business(lead.business).open().filter(reason=reason, about=about).exists()
    add_task(business=lead.business, customer=lead.person, reason=reason, title=title, now=now, about=about)
    if not on_the_list:
        _tell_owner(lead, title, now=now)
    return not on_the_list


def _request(lead: Lead, *, address: str) -> Request:
    assert lead.service is not None
    return Request(
        customer=lead.person, service=lead.service, address=address or lead.person.address, notes=lead.notes,
        source=lead.source,
    )  # fmt: skip


def _booked(
    lead: Lead, appointment: Appointment, *, now: datetime, proposal: Proposal | None = None, moved: bool = False
) -> Answer:
    lead.appointment = appointment
    _touch(lead, status=IntakeStatus.BOOKED, now=now)
    what = f"{_shown(lead, appointment.service_name)}, {_who(lead.person)}"
    messaging.alert_owner(
        business=lead.business, now=now, customer=lead.person, about=f"appointment:{appointment.pk}",
        body=f"{'Moved' if moved else 'New job'}: {what}, {_slot_text(appointment)}."
        + (f" {appointment.address}" if appointment.address else ""),
    )  # fmt: skip
    return Answer(
        outcome=Outcome.BOOKED, text=_confirmed_text(lead, appointment), lead=lead, proposal=proposal,
        appointment=appointment,
    )  # fmt: skip


def _needs_dispatch(lead: Lead, *, now: datetime, reason: str = "", key: str = "no_slot") -> Answer:
    """No capacity is an honest answer: a person is asked to call, with the reason."""
    title = f"Call {_who(lead.person)} about {lead.asked_for or 'their request'}: " + (
        reason or "this service is not on our list."
    )
    with transaction.atomic(savepoint=False):
        add_task(
            business=lead.business, customer=lead.person, reason=TaskReason.NO_CAPACITY, title=title, now=now,
            about=f"lead:{lead.pk}",
        )  # fmt: skip
        _touch(lead, status=IntakeStatus.NEEDS_DISPATCH, now=now)
        _tell_owner(lead, title, now=now)
    service = _shown(lead, lead.service.name if lead.service else lead.asked_for or "that")
    text = say(key, lang=lead.business.language, business=lead.business.name, service=service)
    return Answer(outcome=Outcome.NEEDS_DISPATCH, text=text, lead=lead)


def _tell_owner(lead: Lead, title: str, *, now: datetime) -> None:
    """The task's words by text; for a health business without what was asked for, which is on the Leads page."""
    if lead.business.private_health:
        title = f"Please call {_who(lead.person)}. Their request is under Leads."
    messaging.alert_owner(business=lead.business, body=title, now=now, customer=lead.person, about=f"lead:{lead.pk}")


def _close_open_offer(customer: Customer, *, now: datetime, of: Lead | None = None) -> None:
    """Another offer takes its place (only if it is one `of` that request). There is at most one, says the constraint."""
    open_one = rows.first(Proposal, "customer_id = %s AND status = %s", [customer.pk, ProposalStatus.OPEN.value])
    if open_one is not None and of in (None, open_one.lead):
        open_one.business = customer.business
        _close(open_one, status=ProposalStatus.REPLACED, now=now)
        booking.release_hold(appointment=open_one.appointment)


def _close(proposal: Proposal, *, status: ProposalStatus, now: datetime) -> None:
    proposal.status, proposal.answered_at = status, now
    rows.update(proposal, "status", "answered_at")


def _locked(proposal: Proposal) -> Proposal:
    """The proposal as it stands now that it is our turn, with everything around it. Two queries."""
    business, customer = proposal.business, proposal.customer
    take_turn(customer)
    proposal = (
        Proposal.objects.for_business(business)
        .select_related("appointment", "lead__service", "lead__appointment")
        .get(pk=proposal.pk)
    )
    for row in (proposal, proposal.appointment, proposal.lead, proposal.lead.appointment):
        if row is not None:
            row.business, row.customer = business, customer
    return proposal


def _touch(lead: Lead, *, status: IntakeStatus, now: datetime) -> None:
    lead.status = status
    lead.first_touch_at = lead.first_touch_at or now
    rows.update(lead, "status", "first_touch_at", "appointment")


def _shown(lead: Lead, service: str) -> str:
    """What a text may say: a health business's texts never name the treatment."""
    return APPOINTMENT[lead.business.language] if lead.business.private_health else service


def _who(customer: Customer) -> str:
    number = pretty(customer.phone) if customer.phone else ""
    return " ".join(part for part in (customer.name, number) if part) or "somebody"


def _slot_text(appointment: Appointment, lang: str = "en") -> str:
    return say_slot(appointment.starts_at, appointment.ends_at, zone=appointment.business.time_zone, lang=lang)


def _offer_text(lead: Lead, held: Appointment, *, key: str) -> str:
    lang = lead.business.language
    return say(
        key, lang=lang, name=lead.person.first_name, business=lead.business.name,
        service=_shown(lead, held.service_name), slot=_slot_text(held, lang),
    )  # fmt: skip


def _confirmed_text(lead: Lead, appointment: Appointment) -> str:
    lang = lead.business.language
    shown = JUST_APPOINTMENT[lang] if lead.business.private_health else appointment.service_name
    return say(
        "confirmed", lang=lang, business=lead.business.name, service=shown,
        when=say_when_long(appointment.starts_at, lead.business.time_zone, lang),
    )  # fmt: skip
