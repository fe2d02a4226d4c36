"""Every cross-model read of Leads and Today. How many queries a page makes never depends on how full it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet, Subquery

from booking import calendar
from booking.models import Appointment
from crm import queries as ground
from crm.enums import Audience, Channel, Direction, MessageStatus
from crm.models import Business, Consent, Conversation, Customer, Message, Task
from crm.wording import say_clock, say_list
from leads.enums import LeadSource
from leads.models import Lead

SHOWN: Final = 8  # of each kind on Today; the number beside it is always the whole
NEXT: Final = 5  # jobs on Today; the calendar has the rest
LATELY: Final = timedelta(days=2)  # how long a lost text stays on Today
_SOMEBODY_WROTE: Final = ~Q(source=LeadSource.PURCHASE)


def leads(business: Business, *, status: str = "", words: str = "") -> QuerySet[Lead]:
    """Requests that stand a certain way, or of the customers `words` finds."""
    rows = Lead.objects.for_business(business).select_related("customer", "service", "appointment")
    if words:
        rows = rows.filter(customer__in=Customer.objects.for_business(business).search(words).values("pk"))
    return rows.filter(status=status) if status else rows


def untouched(business: Business) -> QuerySet[Lead]:
    """Requests nobody has answered: no step of ours, and no text to that customer since. The oldest first.

    Without those that were bought: nobody wrote, so nobody waits for an answer.
    """
    rows = Lead.objects.for_business(business).untouched().filter(_SOMEBODY_WROTE, ~Exists(_answers()))
    return rows.select_related("customer").order_by("created_at", "id")


def with_clock(rows: QuerySet[Lead]) -> QuerySet[Any]:
    """Each lead with `is_waiting`: its clock still runs."""
    runs = Q(first_touch_at__isnull=True) & _SOMEBODY_WROTE & ~Exists(_answers())
    return rows.annotate(is_waiting=ExpressionWrapper(runs, output_field=BooleanField()))


def with_permission(rows: QuerySet[Lead]) -> QuerySet[Any]:
    """Each lead with `ledger`: what the newest line of the ledger about its customer's number says; None: it is silent."""
    lines = Consent.objects.filter(
        business=OuterRef("business"), phone=OuterRef("customer__phone"), channel=Channel.SMS
    ).order_by("-at", "-id")
    return rows.annotate(ledger=Subquery(lines.values("action")[:1]))


def _answers() -> QuerySet[Message]:
    """Texts to the lead's customer since it came in, that went out or will."""
    nothing = [MessageStatus.FAILED, MessageStatus.REFUSED]
    return Message.objects.filter(
        customer=OuterRef("customer"),
        audience=Audience.CUSTOMER,
        direction=Direction.OUTBOUND,
        created_at__gte=OuterRef("created_at"),
    ).exclude(status__in=nothing)


@dataclass(frozen=True)
class Trouble:
    """Something is wrong, in the words of a notice. `room` names where it is seen or mended, if anywhere."""

    tone: str  # danger: it costs customers now; warning: it will
    title: str
    text: str
    url_name: str = ""
    action: str = ""


@dataclass(frozen=True)
class Today:
    """What is next, who waits, what is wrong. Lists are cut to a few; the numbers beside them are true."""

    emergencies: list[Appointment]
    next: list[Appointment]
    jobs_today: int  # still to be done today
    conversations: list[Conversation]
    tasks: list[Task]
    leads: list[Lead]
    untouched: int
    lost: list[Message]
    lost_count: int
    troubles: list[Trouble]


def today(business: Business, *, now: datetime) -> Today:
    coming = Appointment.objects.for_business(business).upcoming(now).select_related("customer", "staff")
    midnight = _end_of_day(business, now)
    lost = ground.lost_texts(business, since=now - LATELY)
    open_leads = untouched(business)
    return Today(
        emergencies=list(coming.filter(is_emergency=True, starts_at__lt=midnight)[:SHOWN]),
        next=list(coming[:NEXT]),
        jobs_today=coming.filter(starts_at__lt=midnight).count(),
        conversations=list(ground.waiting_conversations(business)[:SHOWN]),
        tasks=list(ground.open_tasks(business, now=now)[:SHOWN]),
        leads=list(open_leads[:SHOWN]),
        untouched=open_leads.count(),
        lost=list(lost[:SHOWN]),
        lost_count=lost.count(),
        troubles=troubles(business, now=now),
    )


def troubles(business: Business, *, now: datetime) -> list[Trouble]:
    """What keeps texts, alerts or bookings from working. The gravest first; empty: all is well."""
    found = []
    stuck = ground.stuck_outbox(business, now=now)
    if stuck is not None:
        seen = f"was last seen at {say_clock(stuck.last_seen, business.zone)}" if stuck.last_seen else "was never seen"
        due = "One text" if stuck.due == 1 else f"{stuck.due:,} texts"
        text = f"{due} should have gone out by now. The program that sends them {seen}. When it runs again, what waits"
        text += " goes out by itself; tell whoever looks after Frontdesk."
        found.append(Trouble(tone="danger", title="Texts are not leaving", text=text))
    if not business.numbers.exists():
        text = "Customers cannot text you through Frontdesk until this business has a number."
        found.append(_gap("No number yet", text))
    gaps = calendar.missing(business)
    if gaps:
        found.append(_gap("Nothing can be booked yet", f"Your calendar still needs {say_list(gaps)}."))
    if not business.owner_phone:
        text = "New jobs and urgent questions are texted to the owner's phone, and none is set."
        found.append(_gap("Alerts go nowhere", text))
    return found


def _gap(title: str, text: str) -> Trouble:
    return Trouble(tone="warning", title=title, text=text, url_name="booking:settings", action="See the settings")


def _end_of_day(business: Business, now: datetime) -> datetime:
    local = now.astimezone(business.zone)
    return (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
