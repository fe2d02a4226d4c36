"""The calendar as its pages show it: a week, free times, one customer's visits, and how the house is set up."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet

from booking import queries
from booking.enums import UPCOMING, AppointmentStatus
from booking.models import Appointment, BlackoutDate, SchedulingRules, Service, StaffMember, WeeklyHours
from booking.slots import Slot
from booking.when import Wanted
from booking.wording import say_date
from crm.models import Business, Customer
from crm.wording import say_clock

WEEK: Final = timedelta(days=7)
REACH: Final = timedelta(days=5 * 365)  # how far the calendar can be turned, either way
_DAYS_OFFERED: Final = 3
_ROUND_MINUTES: Final = (0, 30)
_MANY: Final = 300  # slots; more than three days of anybody's
_SLOT: Final = re.compile(r"(\d{8}T\d{6})Z-(\d{1,18})")


# --- A week ----------------------------------------------------------------------------------------------------------


@dataclass
class Day:
    """One day of a week, with what stands in it, earliest first."""

    date: date
    is_today: bool
    closed: str = ""  # why nobody works, when the whole day is closed
    appointments: list[Appointment] = field(default_factory=list)


@dataclass(frozen=True)
class Week:
    """Monday to Sunday of the business's calendar. `jobs` counts what was or is to be done, no offers and nothing
    cancelled."""

    days: list[Day]
    jobs: int


def week(business: Business, *, day: date, now: datetime) -> Week:
    """The week `day` lies in. Two queries."""
    monday = day - timedelta(days=day.weekday())
    today = now.astimezone(business.zone).date()
    days = {on: Day(date=on, is_today=on == today) for on in (monday + timedelta(days=n) for n in range(7))}
    for closed in BlackoutDate.objects.for_business(business).filter(date__gte=monday, date__lt=monday + WEEK):
        days[closed.date].closed = closed.reason or "Closed"
    jobs = 0
    for appointment in _standing(business, now).filter(
        starts_at__gte=_midnight(business, monday), starts_at__lt=_midnight(business, monday + WEEK)
    ):
        days[appointment.starts_at.astimezone(business.zone).date()].appointments.append(appointment)
        jobs += appointment.status not in (AppointmentStatus.HELD, AppointmentStatus.CANCELLED)
    return Week(days=list(days.values()), jobs=jobs)


def _standing(business: Business, now: datetime) -> QuerySet[Appointment]:
    """Everything but offers that came to nothing: released ones, and holds that have run out."""
    ran_out = Q(status=AppointmentStatus.HELD, held_until__lte=now)
    rows: QuerySet[Appointment] = Appointment.objects.for_business(business).exclude(ran_out)
    return (
        rows.exclude(status=AppointmentStatus.RELEASED).select_related("customer", "staff").order_by("starts_at", "id")
    )


def _midnight(business: Business, day: date) -> datetime:
    return datetime.combine(day, time(0), tzinfo=business.zone).astimezone(UTC)


def read_day(text: str, *, business: Business, now: datetime) -> date:
    """The day somebody asks for, as YYYY-MM-DD; today for anything else, or for a day nobody plans for."""
    today = now.astimezone(business.zone).date()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return today
    return day if abs(day - today) <= REACH else today


# --- Free times ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FreeTimes:
    """`days` as components/slot_picker.html takes them. With none, `reason` says why; `reason` also stands above other
    days when the day that was asked for has nothing."""

    days: list[dict[str, Any]]
    reason: str = ""


def free_times(
    business: Business, *, duration: timedelta, now: datetime, on: date | None = None, is_emergency: bool = False
) -> FreeTimes:
    """Times a person can choose from: all of the day they ask for, else the round ones of the next three days."""
    rules = SchedulingRules.objects.filter(business=business).first() or SchedulingRules(business=business)
    rules.min_notice_minutes = 0  # the notice is for strangers; whoever stands in the office knows what they can do

    def ask(**more: Any) -> tuple[list[Slot], str]:
        return queries.open_slots(
            business=business, rules=rules, duration=duration, now=now, is_emergency=is_emergency, limit=_MANY, **more
        )

    if on is None:
        found, reason = ask()
        return FreeTimes(days=_offered(business, found), reason="" if found else reason)
    found, reason = ask(wanted=Wanted(dates=(on, on)))
    if found:
        return FreeTimes(days=_days(business, found))
    later, _ = ask(after=_midnight(business, on))
    return FreeTimes(days=_offered(business, later), reason=reason)


def _offered(business: Business, found: Sequence[Slot]) -> list[dict[str, Any]]:
    by_day: dict[date, list[Slot]] = defaultdict(list)
    for slot in found:
        by_day[slot.start.astimezone(business.zone).date()].append(slot)
    picked = []
    for slots in list(by_day.values())[:_DAYS_OFFERED]:
        picked += [slot for slot in slots if slot.start.astimezone(business.zone).minute in _ROUND_MINUTES] or slots
    return _days(business, picked)


def _days(business: Business, found: Sequence[Slot]) -> list[dict[str, Any]]:
    days: dict[date, dict[str, Any]] = {}
    for slot in found:
        on = slot.start.astimezone(business.zone).date()
        day = days.setdefault(on, {"label": say_date(on), "slots": []})
        day["slots"].append({"value": slot_value(slot), "label": say_clock(slot.start, business.zone)})
    return list(days.values())


def first_few(times: FreeTimes) -> str:
    """“Wed Nov 25 9:00 AM and Wed Nov 25 9:30 AM are free.”, or nothing."""
    said = [f"{day['label']} {slot['label']}" for day in times.days for slot in day["slots"]][:2]
    if not said:
        return ""
    return f"{' and '.join(said)} {'are' if len(said) > 1 else 'is'} free."


def slot_value(slot: Slot) -> str:
    """A slot as it travels in a form."""
    return f"{slot.start.astimezone(UTC):%Y%m%dT%H%M%S}Z-{slot.staff_id}"


def read_slot(text: str) -> tuple[datetime, int]:
    """Start (UTC) and staff id. Raises ValueError for what no form of ours offers."""
    match = _SLOT.fullmatch(text)
    if match is None:
        raise ValueError("this is not one of the times offered")
    return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC), int(match[2])


# --- A customer's visits ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visits:
    upcoming: list[Appointment]
    past: list[Appointment]
    past_count: int


def visits(customer: Customer, *, now: datetime) -> Visits:
    """What is to come and what was, newest first; of the past the last ten. Three queries."""
    rows = _standing(customer.business, now).filter(customer=customer)
    to_come = Q(status__in=[*UPCOMING, AppointmentStatus.HELD], ends_at__gt=now)
    past = rows.exclude(to_come).order_by("-starts_at", "-id")
    return Visits(upcoming=list(rows.filter(to_come)), past=list(past[:10]), past_count=past.count())


def say_price(priced: Service | Appointment) -> str:
    """“$120–180”, “$95”, “from $95”, “up to $180”; empty where no price is set. Cents only where there are any."""
    low, high = (
        None if price is None else f"{price:,.2f}".removesuffix(".00")
        for price in (priced.price_low, priced.price_high)
    )
    if low is not None and high is not None:
        return f"${low}" if low == high else f"${low}–{high}"
    if low is not None:
        return f"from ${low}"
    return f"up to ${high}" if high is not None else ""


# --- How the house is set up -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenHours:
    """Hours of one weekday; without spans the day is closed."""

    weekday: str
    spans: list[WeeklyHours]


@dataclass(frozen=True)
class Setup:
    services: list[Service]
    staff: list[tuple[StaffMember, list[OpenHours]]]  # hours of their own; empty: those of everybody
    hours: list[OpenHours]
    closed: list[BlackoutDate]
    rules: SchedulingRules


def setup_of(business: Business, *, now: datetime) -> Setup:
    """How the calendar is filled. Five queries."""
    by_staff: dict[int | None, list[WeeklyHours]] = defaultdict(list)
    for row in WeeklyHours.objects.for_business(business).order_by("weekday", "opens"):
        by_staff[row.staff_id].append(row)
    today = now.astimezone(business.zone).date()
    return Setup(
        services=list(Service.objects.for_business(business).filter(is_active=True)),
        staff=[
            (member, _open_hours(by_staff[member.pk]) if by_staff.get(member.pk) else [])
            for member in StaffMember.objects.for_business(business).filter(is_active=True)
        ],
        hours=_open_hours(by_staff.get(None, [])),
        closed=list(BlackoutDate.objects.for_business(business).filter(date__gte=today)[:20]),
        rules=SchedulingRules.objects.filter(business=business).first() or SchedulingRules(business=business),
    )


def _open_hours(rows: Sequence[WeeklyHours]) -> list[OpenHours]:
    names: Sequence[tuple[int, str]] = WeeklyHours._meta.get_field("weekday").choices  # type: ignore[assignment]
    return [OpenHours(weekday=name, spans=[row for row in rows if row.weekday == day]) for day, name in names]


def missing(business: Business) -> list[str]:
    """What keeps the business from being booked at all: no services, no staff, no hours."""
    wanted = {
        "a service": Service.objects.for_business(business).filter(is_active=True),
        "somebody who does the jobs": StaffMember.objects.for_business(business).filter(is_active=True),
        "opening hours": WeeklyHours.objects.for_business(business),
    }
    return [what for what, rows in wanted.items() if not rows.exists()]
