"""Setting up a business so that it can be booked: services, staff, hours. Used by the command line and the demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from typing import Final

from booking.models import SchedulingRules, Service, StaffMember, WeeklyHours
from crm.models import Business

WEEKDAYS: Final = range(5)


@dataclass(frozen=True)
class ServiceDraft:
    """`minutes` is the usual length; prices are in US dollars."""

    name: str
    minutes: int
    price_low: Decimal | None = None
    price_high: Decimal | None = None
    aliases: tuple[str, ...] = ()
    note: str = ""


# What a new trade business starts with until it says better.
STARTER_SERVICES: Final = (
    ServiceDraft("AC Repair", 60, aliases=("ac", "a/c", "air conditioning", "air conditioner", "ac not cooling")),
    ServiceDraft("Plumbing", 60, aliases=("plumber", "leak", "clogged drain")),
    ServiceDraft("Electrical", 60, aliases=("electrician", "outlet", "breaker")),
    ServiceDraft("HVAC", 60, aliases=("furnace", "heating")),
    ServiceDraft("Installation", 120, aliases=("install",)),
)


def add_services(business: Business, drafts: Sequence[ServiceDraft]) -> None:
    """Add what is not there yet, by name; what an owner has changed since stays as it is."""
    there = {name.lower() for name in Service.objects.for_business(business).values_list("name", flat=True)}
    Service.objects.bulk_create(
        Service(
            business=business, name=draft.name, duration_minutes=draft.minutes, price_low=draft.price_low,
            price_high=draft.price_high, aliases=list(draft.aliases), note=draft.note,
        )
        for draft in drafts
        if draft.name.lower() not in there
    )  # fmt: skip


def add_staff(business: Business, names: Sequence[str]) -> None:
    there = set(StaffMember.objects.for_business(business).values_list("name", flat=True))
    StaffMember.objects.bulk_create(StaffMember(business=business, name=name) for name in names if name not in there)


def set_hours(business: Business, hours: Sequence[tuple[int, time, time]]) -> None:
    """Open hours of everybody without hours of their own, as (weekday with Monday 0, opens, closes); only if none are set."""
    if WeeklyHours.objects.for_business(business).exists():
        return
    WeeklyHours.objects.bulk_create(
        WeeklyHours(business=business, weekday=day, opens=opens, closes=closes) for day, opens, closes in hours
    )


def set_rules(business: Business, **rules: object) -> SchedulingRules:
    """The scheduling rules, made with these values if there are none yet."""
    row, _ = SchedulingRules.objects.get_or_create(business=business, defaults=rules)
    return row
