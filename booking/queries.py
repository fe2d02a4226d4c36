"""Every cross-model read of the calendar. The number of queries never depends on how full it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from booking import slots
from booking.catalogue import ServiceEntry
from booking.enums import OCCUPYING
from booking.models import Appointment, SchedulingRules, Service
from booking.slots import DayHours, Interval, Rules, Slot, Staff
from booking.when import Wanted
from crm import rows
from crm.models import Business, Customer

# How far ahead each look of the search goes: the next days first, the rest only when they are full.
LOOKS = (timedelta(days=2), timedelta(days=6))
_LONGEST_JOB = timedelta(days=1)  # a job that overlaps a moment began at most this long before it


def active_services(business: Business) -> list[Service]:
    """The services a customer can ask for, by name. One query."""
    return rows.fetch(Service, "business_id = %s AND is_active ORDER BY name, id", [business.pk])


def catalogue(services: Iterable[Service]) -> list[ServiceEntry]:
    """The same, as the matching of words wants them."""
    return [ServiceEntry(id=row.pk, name=row.name, aliases=tuple(row.aliases)) for row in services]


def next_appointment(*, customer: Customer, now: datetime) -> Appointment | None:
    """The earliest job still to come, or None."""
    found = Appointment.objects.for_business(customer.business).filter(customer=customer).upcoming(now).first()
    if found is not None:
        found.business, found.customer = customer.business, customer
    return found


def next_slots(
    *, business: Business, rules: SchedulingRules, service: Service, now: datetime, after: datetime | None = None,
    wanted: Wanted | None = None, is_emergency: bool = False,
) -> tuple[list[Slot], str]:  # fmt: skip
    """The earliest free start later than `after` that leaves the notice the business wants, with everybody who could
    take it, the best choice first; or the reason there is none."""
    return _search(
        business=business, rules=rules, duration=timedelta(minutes=service.duration_minutes), now=now, after=after,
        wanted=wanted, is_emergency=is_emergency, limit=None,
    )  # fmt: skip


def open_slots(
    *, business: Business, rules: SchedulingRules, duration: timedelta, now: datetime, after: datetime | None = None,
    wanted: Wanted | None = None, is_emergency: bool = False, limit: int = 10,
) -> tuple[list[Slot], str]:  # fmt: skip
    """Up to `limit` free slots, earliest first and one for each start, and an honest reason when there is none."""
    return _search(
        business=business, rules=rules, duration=duration, now=now, after=after, wanted=wanted, is_emergency=is_emergency,
        limit=limit,
    )  # fmt: skip


def _search(
    *, business: Business, rules: SchedulingRules, duration: timedelta, now: datetime, after: datetime | None,
    wanted: Wanted | None, is_emergency: bool, limit: int | None,
) -> tuple[list[Slot], str]:  # fmt: skip
    """`limit` None: everybody who could take the first start."""
    earliest = now + timedelta(minutes=rules.min_notice_minutes)
    if after is not None:
        earliest = max(earliest, after + timedelta(seconds=1))
    horizon = now + timedelta(days=rules.horizon_days)
    house = _house(business=business, rules=rules, now=now, earliest=earliest, horizon=horizon)
    found: list[Slot] = []
    begin = earliest
    for until in sorted({*(earliest + look for look in LOOKS if earliest + look < horizon), horizon}):
        if begin >= until:
            break
        staff = house.with_jobs(after=begin, until=until, now=now)
        question: dict[str, Any] = {
            "duration": duration, "after": begin, "until": until, "emergency": is_emergency, "wanted": wanted,
            "jobs_per_day": house.jobs_per_day(after=begin, until=until, now=now),
        }  # fmt: skip
        if limit is None:
            found = slots.first_free_of_all(staff, house.rules, **question)
        else:
            found += slots.free_slots(staff, house.rules, limit=limit - len(found), **question)
        if len(found) >= (limit or 1):
            return found, ""
        begin = until
    if found:
        return found, ""
    # Asked from the present moment and with the notice among the rules, so that the notice can be the reason.
    told = replace(house.rules, min_notice_minutes=rules.min_notice_minutes)
    reason = slots.why_none(
        house.with_jobs(after=now, until=horizon, now=now), told, duration=duration, after=max(now, after or now),
        emergency=is_emergency, wanted=wanted, jobs_per_day=house.jobs_per_day(after=now, until=horizon, now=now),
    )  # fmt: skip
    return [], reason


@dataclass(frozen=True)
class _House:
    """What does not change while a slot is looked for."""

    business: Business
    rules: Rules
    hours: dict[int, tuple[DayHours, ...]]  # by staff id
    off: dict[int, tuple[Interval, ...]]

    def with_jobs(self, *, after: datetime, until: datetime, now: datetime) -> list[Staff]:
        busy = _busy(self.business, after=after, until=until, now=now)
        return [
            Staff(id=staff_id, hours=hours, busy=busy.get(staff_id, ()), off=self.off.get(staff_id, ()))
            for staff_id, hours in self.hours.items()
        ]

    def jobs_per_day(self, *, after: datetime, until: datetime, now: datetime) -> dict[date, int]:
        """Jobs by local date, if the business caps them at all."""
        if self.rules.max_jobs_per_day is None:
            return {}
        counted: dict[date, int] = defaultdict(int)
        taken = Appointment.objects.for_business(self.business).occupying(now)
        for start in taken.filter(starts_at__gt=after - _LONGEST_JOB, starts_at__lt=until + _LONGEST_JOB).values_list(
            "starts_at", flat=True
        ):
            counted[start.astimezone(self.business.zone).date()] += 1
        return counted


_HOUSE = """
SELECT 'staff', id, NULL::smallint, NULL::time, NULL::time, NULL::timestamptz, NULL::timestamptz, NULL::date
    FROM booking_staffmember WHERE business_id = %(business)s AND is_active
UNION ALL SELECT 'hours', staff_id, weekday, opens, closes, NULL, NULL, NULL
    FROM booking_weeklyhours WHERE business_id = %(business)s
UNION ALL SELECT 'off', staff_id, NULL, NULL, NULL, starts_at, ends_at, NULL
    FROM booking_timeoff WHERE business_id = %(business)s AND ends_at > %(from)s AND starts_at < %(until)s
UNION ALL SELECT 'closed', NULL, NULL, NULL, NULL, NULL, NULL, date
    FROM booking_blackoutdate WHERE business_id = %(business)s AND date >= %(today)s
"""


def _house(
    *, business: Business, rules: SchedulingRules, now: datetime, earliest: datetime, horizon: datetime
) -> _House:
    """One query, for staff, hours, time off and closed days."""
    own: dict[int | None, list[DayHours]] = defaultdict(list)
    off: dict[int, list[Interval]] = defaultdict(list)
    staff_ids: list[int] = []
    blackout: set[date] = set()
    cursor = rows.execute(
        _HOUSE, {"business": business.pk, "from": earliest, "until": horizon, "today": (now - _LONGEST_JOB).date()}
    )
    for kind, staff_id, weekday, opens, closes, start, end, day in cursor.fetchall():
        if kind == "staff":
            staff_ids.append(staff_id)
        elif kind == "hours":
            own[staff_id].append(DayHours(weekday=weekday, opens=opens, closes=closes))
        elif kind == "off":
            off[staff_id].append(Interval(start, end))
        else:
            blackout.add(day)
    everyone = tuple(own.get(None, ()))
    return _House(
        business=business,
        rules=Rules(
            zone=business.time_zone,
            grid_minutes=rules.grid_minutes,
            horizon_days=rules.horizon_days,
            travel_buffer_minutes=rules.travel_buffer_minutes,
            max_jobs_per_day=rules.max_jobs_per_day,
            reserve_mornings_for_emergencies=rules.reserve_mornings_for_emergencies,
            blackout=frozenset(blackout),
        ),
        hours={pk: tuple(own[pk]) if pk in own else everyone for pk in staff_ids},
        off={pk: tuple(spans) for pk, spans in off.items()},
    )


def _busy(business: Business, *, after: datetime, until: datetime, now: datetime) -> dict[int, tuple[Interval, ...]]:
    """Taken time by staff member. Postgres joins neighbouring jobs, so a full day of eight arrives as one interval."""
    cursor = rows.execute(
        "SELECT staff_id, extract(epoch FROM lower(span))::bigint, extract(epoch FROM upper(span))::bigint FROM ("
        " SELECT staff_id, unnest(range_agg(tstzrange(starts_at, ends_at))) AS span FROM booking_appointment"
        " WHERE business_id = %s AND starts_at > %s AND starts_at < %s AND ends_at > %s"
        " AND status = ANY(%s) AND NOT (status = 'HELD' AND held_until <= %s) GROUP BY staff_id) AS joined",
        [
            business.pk,
            after - _LONGEST_JOB,
            until + _LONGEST_JOB,
            after - _LONGEST_JOB,
            [s.value for s in OCCUPYING],
            now,
        ],
    )
    return _intervals(cursor.fetchall())


def _intervals(rows: Iterable[tuple[int, int, int]]) -> dict[int, tuple[Interval, ...]]:
    found: dict[int, list[Interval]] = defaultdict(list)
    for staff_id, start, end in rows:
        found[staff_id].append(Interval(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)))
    return {staff_id: tuple(spans) for staff_id, spans in found.items()}
