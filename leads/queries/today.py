"""Every cross-model read of Today, and which leads wait. How many queries a page makes never depends on how full it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet, Subquery

from booking import calendar
from booking.models import Appointment, Service, StaffMember
from crm import queries as ground
from crm.enums import Audience, Channel, Direction, MessageStatus
from crm.models import Business, Consent, Conversation, Message, Task, User
from crm.wording import say_clock, say_list
from leads.enums import UNSOLICITED, Stage
from leads.models import DealOffer, Lead
from leads.queries import deals

SHOWN: Final = 8  # of each kind on Today; the number beside it is always the whole
NEXT: Final = 5  # jobs on Today; the calendar has the rest
LATELY: Final = timedelta(days=2)  # how long a lost text stays on Today
# The clock of such a lead; one without a contact cannot be answered.
_RUNS: Final = Q(stage=Stage.NEW, outcome="", customer__isnull=False) & ~Q(source__in=UNSOLICITED)


def untouched(business: Business) -> QuerySet[Lead]:
    """Requests nobody has answered: no step of ours, and no text to that customer since. The oldest first.

    Without those that were bought or found: nobody wrote, so nobody waits for an answer. Whom somebody has moved on by
    hand was spoken to.
    """
    rows = Lead.objects.for_business(business).untouched().standing().filter(_RUNS, ~Exists(_answers()))
    return rows.select_related("customer").order_by("created_at", "id")


def with_clock(rows: QuerySet[Lead]) -> QuerySet[Any]:
    """Each lead with `is_waiting`: its clock still runs."""
    runs = Q(first_touch_at__isnull=True, merged_into__isnull=True) & _RUNS & ~Exists(_answers())
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

    tone: str  # danger: it costs customers now; warning: it will; accent: nothing is wrong, there is just more to have
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
    later: list[Task]  # put off, the next first
    later_count: int
    offers: list[DealOffer]  # deals held out to the one who looks
    leads: list[Lead]
    untouched: int
    lost: list[Message]
    lost_count: int
    troubles: list[Trouble]


def today(business: Business, *, user: User, now: datetime) -> Today:
    coming = Appointment.objects.for_business(business).upcoming(now).select_related("customer", "staff")
    midnight = _end_of_day(business, now)
    lost = ground.lost_texts(business, since=now - LATELY)
    open_leads, later = untouched(business), ground.later_tasks(business, now=now)
    return Today(
        emergencies=list(coming.filter(is_emergency=True, starts_at__lt=midnight)[:SHOWN]),
        next=list(coming[:NEXT]),
        jobs_today=coming.filter(starts_at__lt=midnight).count(),
        conversations=list(ground.waiting_conversations(business)[:SHOWN]),
        tasks=list(ground.open_tasks(business, now=now)[:SHOWN]),
        later=list(later[:SHOWN]),
        later_count=later.count(),
        offers=deals.offers_to(business, user, now=now),
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
    has_number, gaps = business.numbers.exists(), calendar.missing(business)
    if not has_number and _only_works_leads(business):
        return [*found, _INVITATION]
    if not has_number:
        text = "Customers cannot text you through Frontdesk until this business has a number."
        found.append(_gap("No number yet", text))
    if gaps:
        found.append(_gap("Nothing can be booked yet", f"Your calendar still needs {say_list(gaps)}."))
    if not business.owner_phone:
        text = "New jobs and urgent questions are texted to the owner's phone, and none is set."
        found.append(_gap("Alerts go nowhere", text))
    return found


# For a business that only works leads: it does not text or book, so nothing is wrong with that.
_INVITATION: Final = Trouble(
    tone="accent",
    title="Texts and bookings are yours when you want them",
    text="Leads, deals and reports work as they are. With a number, a service and somebody who does the jobs, customers"
    " could also text you and book by themselves.",
    url_name="booking:settings",
    action="See the settings",
)


def _only_works_leads(business: Business) -> bool:
    """Nobody has ever set up anything that could be booked."""
    return not any(model.objects.for_business(business).exists() for model in (Service, StaffMember))


def _gap(title: str, text: str) -> Trouble:
    return Trouble(tone="warning", title=title, text=text, url_name="booking:settings", action="See the settings")


def _end_of_day(business: Business, now: datetime) -> datetime:
    local = now.astimezone(business.zone)
    return (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
