"""A lead on its way: it comes in, is worked on, moves from stage to stage, and belongs to somebody.

Every change locks the lead's row first, so two of them about the same lead come one after the other. Where the customer is
locked too (a contact is filled in), theirs comes first, as everywhere (`crm.services.take_turn`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models.functions import Coalesce

from booking.models import Appointment, Service
from crm import consent, rows
from crm.enums import ConsentSource, TaskReason, Verb
from crm.models import Business, Customer, Task, User
from crm.phones import Phone
from crm.services import Refused, add_task, audit, remember_customer, take_turn, update_customer
from crm.timeline import note
from leads import lifecycle
from leads.actors import By
from leads.enums import ActivityKind, LeadSource, Outcome, Stage
from leads.models import Deal, Lead, LeadActivity, StageChange
from leads.services import assigning

LARGEST_NUMBER: Final = 2**63 - 1  # of a bigint; beyond it nothing can have that number
SETTLES: Final = timedelta(seconds=30)  # what happens to a lead within this time is scored in one go
# Tasks about a lead; what becomes of it overtakes them.
ASK_AGAIN: Final = (TaskReason.FOLLOW_UP, TaskReason.DEAL_WAITS)


class LeadNotFound(Exception):
    """No lead of this business has that number."""


@dataclass(frozen=True)
class Contact:
    """Who the lead is, as far as anybody said."""

    name: str = ""
    phone: Phone | None = None
    email: str = ""

    def __bool__(self) -> bool:
        return bool(self.name or self.phone or self.email)

    def may_be(self, customer: Customer) -> bool:
        """Whether the name says the same as the file. Another name with a known number may be a wrong number: what is on
        file about somebody is not mixed with it."""
        given, known = (" ".join(name.split()).casefold() for name in (self.name, customer.name))
        return not given or not known or given == known


def find_lead(*, business: Business, number: int) -> Lead:
    """By the number the API uses. Raises LeadNotFound, in the same words for a neighbour's lead and for none."""
    lead = rows.first(Lead, "business_id = %s AND number = %s", [business.pk, number]) if _can_be(number) else None
    if lead is None:
        raise LeadNotFound
    lead.business = business
    return lead


def locked_lead(*, business: Business, number: int) -> Lead:
    """The lead as it is now; it stays so until the caller commits. Raises LeadNotFound."""
    lead = None
    if _can_be(number):
        lead = rows.first(Lead, "business_id = %s AND number = %s", [business.pk, number], lock=True)
    if lead is None:
        raise LeadNotFound
    lead.business = business
    return lead


def lock(lead: Lead) -> Lead:
    """The same lead as it is now; it stays so until the caller commits."""
    fresh = rows.first(Lead, "business_id = %s AND id = %s", [lead.business_id, lead.pk], lock=True)
    assert fresh is not None
    fresh.business = lead.business
    return fresh


def add_lead(
    *, business: Business, source: LeadSource, by: By, now: datetime, domain: str = "", contact: Contact | None = None,
    service: Service | None = None, asked_for: str = "", notes: str = "", event_id: str = "", agreed: bool = False,
) -> Lead:  # fmt: skip
    """Somebody who may buy, written down by a person or a program. `agreed` says that they asked for texts themselves;
    without it the lead brings no permission.

    `event_id` is the sender's own id; repeats are the caller's to recognise.
    """
    # Without a contact it is one row, which needs no transaction around it.
    with transaction.atomic(savepoint=False) if contact else contextlib.nullcontext():
        customer = _remember(business, contact) if contact else None
        if contact and customer is not None and not contact.may_be(customer):
            came_as = ", ".join(part for part in (contact.name, contact.email) if part)
            notes = f"Came in as {came_as}, with the number of {customer}.\n{notes}".strip()
        lead = Lead(
            business=business, customer=customer, source=source, business_domain=domain, service=service,
            asked_for=asked_for[:200], notes=notes[:10_000], event_id=event_id[:255], created_at=now, rescore_at=now,
        )  # fmt: skip
        assigning.assign_new(lead)
        rows.insert(lead)
        if customer is not None:
            if agreed and contact and contact.phone:
                consent.grant_if_silent(
                    business=business, phone=contact.phone.e164, source=ConsentSource.INTAKE, now=now,
                    words=notes or asked_for, reference=f"lead:{lead.pk}",
                )  # fmt: skip
            how = LeadSource(source).label.lower()
            tell(lead, Verb.LEAD, f"New lead ({how}), put down by {by.text}.", by=by, now=now)
    return lead


def move(*, lead: Lead, to: str, by: By, now: datetime, why: str = "") -> Lead:
    """Into another stage, by hand. Raises lifecycle.NotAllowed with the reason."""
    with transaction.atomic():
        lead = lock(lead)
        if lead.merged_into_id is not None:
            raise lifecycle.NotAllowed(_MERGED)
        lifecycle.check_lead(lead.stage, to)
        change_stage(lead, to=to, by=by, now=now, why=why)
    return lead


def change_stage(lead: Lead, *, to: str, by: By, now: datetime, why: str = "") -> None:
    """Write a move down that was found allowed. The lead is locked by the caller.

    Of two at the same moment the one that had to wait may have looked at the clock first: it still comes second.
    """
    old, since = lead.stage, lead.stage_since or lead.created_at
    now = max(now, since)
    lead.stage, lead.stage_since = to, now
    fields = ["stage", "stage_since"]
    if to == Stage.LOST:
        lead.lost_because, lead.outcome, lead.closed_at = why[:300], Outcome.LOST, now
        fields += ["lost_because", "outcome", "closed_at"]
    elif lead.outcome:  # a job was done, and now there is more to sell
        lead.outcome, lead.closed_at = "", None
        fields += ["outcome", "closed_at"]
    rows.update(lead, *fields)
    rows.insert(
        StageChange(
            business=lead.business,
            lead=lead,
            old=old,
            new=to,
            since=since,
            at=now,
            by=by.user,
            by_text=by.text,
            why=why[:300],
        )
    )
    if to == Stage.LOST:
        close_tasks(lead, ASK_AGAIN, now=now)
    reason = f": {why}" if why else ""
    tell(lead, Verb.STAGE, f"Lead moved from {Stage(old).label} to {Stage(to).label}{reason}.", by=by, now=now)


def win_with_visit(*, appointment: Appointment, now: datetime, **_signal: Any) -> None:
    """The job a lead asked for is done: it is won, without sales having had a hand in it. One that was merged stands for the
    lead it was merged into."""
    leads = Lead.objects.for_business(appointment.business)
    theirs = leads.filter(appointment=appointment).values_list(Coalesce("merged_into", "pk"), flat=True)
    won = leads.filter(pk__in=list(theirs)).open().standing().select_for_update(of=("self",), no_key=True)
    for lead in won.order_by("pk"):
        lead.business = appointment.business
        lead.outcome, lead.closed_at, lead.rescore_at = Outcome.WON, now, None
        rows.update(lead, "outcome", "closed_at", "rescore_at")
        close_tasks(lead, ASK_AGAIN, now=now)


def add_activity(
    *, lead: Lead, kind: ActivityKind, text: str, by: By, now: datetime, at: datetime | None = None
) -> Lead:
    """Something a person did about the lead. Whatever is more than a note counts as the first answer, if there was none.

    Raises Refused for a lead that was merged.
    """
    happened = min(at or now, now)
    with transaction.atomic():
        lead = _lock_standing(lead)
        rows.insert(
            LeadActivity(
                business=lead.business, lead=lead, kind=kind, text=text[:10_000], at=happened, created_at=now, by=by.user,
                by_text=by.text,
            )
        )  # fmt: skip
        lead.activity_count += 1
        lead.last_activity_at = max(happened, lead.last_activity_at or happened)
        lead.rescore_at = soon(lead, now=now)
        if kind != ActivityKind.NOTE and lead.first_touch_at is None:
            lead.first_touch_at = max(happened, lead.created_at)
        rows.update(lead, "activity_count", "last_activity_at", "rescore_at", "first_touch_at")
        verb = Verb.CALLED if kind == ActivityKind.CALL else Verb.NOTE
        said = f": {text}" if text else "."
        tell(lead, verb, f"{ActivityKind(kind).label} by {by.text}{said}", by=by, now=now)
    return lead


def soon(lead: Lead, *, now: datetime) -> datetime:
    """When a lead that something happened to is scored again: with what happens in the next moments, in one go. What is due
    already is not put off, or somebody who writes on and on would never be scored."""
    wanted = now + SETTLES
    return min(wanted, lead.rescore_at) if lead.rescore_at is not None else wanted


def edit_lead(*, lead: Lead, changes: Mapping[str, Any], by: By, now: datetime, contact: Contact | None = None) -> Lead:
    """Edit what is on file. `changes` are model fields, already validated; a contact is filled in or added.

    Raises Refused for a number that is another customer's, and for a lead that was merged.
    """
    with transaction.atomic():
        if contact:
            lead = _with_contact(lead, contact, by=by, now=now)
        lead = _lock_standing(lead)
        changed = {name: value for name, value in changes.items() if getattr(lead, name) != value}
        if not changed:
            return lead
        shown = {name: [_plain(getattr(lead, name)), _plain(value)] for name, value in changed.items()}
        for name, value in changed.items():
            setattr(lead, name, value)
        lead.rescore_at = soon(lead, now=now)
        touched = ["rescore_at"]
        if "notes" in changed:  # something was learnt about them, and is to be read like a note of today
            lead.last_activity_at = now
            touched.append("last_activity_at")
        lead.save(update_fields=[*changed, *touched])
        audit(
            business=lead.business, actor=by.user, actor_text=by.text, action="lead edited", target=f"lead {lead.number}",
            changes=shown, now=now,
        )  # fmt: skip
    return lead


def assign(*, lead: Lead, to: User | None, by: By, now: datetime) -> Lead:
    """Whose lead it is. Raises Refused for somebody who does not work here, and for a lead that was merged."""
    if to is not None and not works_here(lead.business, to):
        raise Refused(f"{to.get_full_name()} cannot work on leads here. Choose somebody of the team.")
    with transaction.atomic():
        lead = _lock_standing(lead)
        if lead.assigned_to_id == (to.pk if to else None):
            return lead
        before = str(lead.assigned_to or "nobody")
        lead.assigned_to = to
        rows.update(lead, "assigned_to")
        whose = f"Given to {to.get_full_name()}" if to else "Taken off everybody"
        tell(lead, Verb.HANDED_OVER, f"{whose}, by {by.text}.", by=by, now=now)
        audit(
            business=lead.business, actor=by.user, actor_text=by.text, action="lead assigned", now=now,
            target=f"lead {lead.number}", changes={"assigned_to": [before, str(to or "nobody")]},
        )  # fmt: skip
    return lead


def works_here(business: Business, user: User) -> bool:
    return assigning.team(business).filter(user=user).exists()


def follow_up(*, lead: Lead, title: str, due_at: datetime, now: datetime) -> Task:
    """To be done about this lead at a time of somebody's choice; it stands on Today from then on. There may be several; the
    same words for the same time, as of a button pressed twice, are one.

    Raises Refused for a lead that was merged.
    """
    with transaction.atomic():
        lead = _lock_standing(lead)
        return add_task(
            business=lead.business, customer=lead.customer, reason=TaskReason.FOLLOW_UP, title=title, now=now,
            about=f"lead:{lead.pk}", due_at=due_at,
        )  # fmt: skip


def close_tasks(lead: Lead, reasons: Collection[TaskReason], *, now: datetime) -> None:
    """Take off the list what was to be done about a lead or its deal and has been overtaken: done, but by nobody.

    Comes after the change of the lead's own row, as tasks do in the order of locks.
    """
    abouts = [f"lead:{lead.pk}"]
    if TaskReason.DEAL_WAITS in reasons:
        deals = Deal.objects.for_business(lead.business).filter(lead=lead.pk)
        abouts += [f"deal:{pk}" for pk in deals.values_list("pk", flat=True)]
    Task.objects.for_business(lead.business).open().filter(about__in=abouts, reason__in=reasons).update(done_at=now)


def tell(lead: Lead, verb: Verb, text: str, *, by: By, now: datetime) -> None:
    """On the customer's timeline, when there is a customer. The lead's own page reads its own rows."""
    if lead.customer_id is not None:
        note(
            business=lead.business, customer=lead.customer, verb=verb, text=text, now=now, about=f"lead:{lead.pk}",
            actor=by.user,
        )  # fmt: skip


def who(lead: Lead) -> str:
    """The person, for sentences and lists."""
    return str(lead.customer) if lead.customer_id else f"Lead {lead.number}"


# --- Inside ------------------------------------------------------------------------------------------------------------

_MERGED: Final = "This lead was merged into another one. Work on that one."


def _lock_standing(lead: Lead) -> Lead:
    lead = lock(lead)
    if lead.merged_into_id is not None:
        raise Refused(_MERGED)
    return lead


def _can_be(number: int) -> bool:
    return 0 < number <= LARGEST_NUMBER


def _remember(business: Business, contact: Contact) -> Customer:
    if contact.phone is not None:
        customer, _ = remember_customer(
            business=business, phone=contact.phone.e164, name=contact.name, raw=contact.phone.raw
        )
        if contact.email and not customer.email and contact.may_be(customer):
            customer.email = contact.email
            rows.update(customer, "email")
        return customer
    customer = Customer(business=business, name=contact.name[:120], email=contact.email)
    rows.insert(customer)
    return customer


def _with_contact(lead: Lead, contact: Contact, *, by: By, now: datetime) -> Lead:
    """Fill the contact in where there is none, or change what is on file."""
    if lead.customer_id is None:
        customer = _remember(lead.business, contact)
        lead = lock(lead)
        if lead.customer_id is not None:
            raise Refused("Somebody else has just filled in the contact. Look at it again.")
        lead.customer = customer
        rows.update(lead, "customer")
        tell(lead, Verb.LEAD, f"Contact of lead {lead.number} filled in by {by.text}.", by=by, now=now)
        return lead
    take_turn(lead.person)
    known = Customer.objects.for_business(lead.business).get(pk=lead.customer_id)
    changes: dict[str, Any] = {"name": contact.name, "email": contact.email}
    if contact.phone is not None:
        changes |= {"phone": contact.phone.e164, "phone_raw": contact.phone.raw[:64]}
    known.business = lead.business
    given = {name: value for name, value in changes.items() if value}
    update_customer(customer=known, changes=given, actor=by.user, now=now)
    return lead


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
