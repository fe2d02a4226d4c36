"""May we text this person now, and if not, when?

The law follows the phone: the hours count where the person is, guessed from the number. Federal rules leave 8:00 AM to
9:00 PM; some states leave less. Where a number may be in several time zones, a text goes out only when it is allowed in
all of them. Who answers a person's own message within minutes need not ask here; that is for the sending door to know.

An engineering reading of the rules, kept as dated rows; not legal advice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm import phones


@dataclass(frozen=True, slots=True)
class Hours:
    """Local wall-clock hours in which texts may be sent: from `opens`, up to but not at `closes`."""

    opens: time
    closes: time


@dataclass(frozen=True, slots=True)
class Rule:
    """The hours of one place, Monday to Saturday and on Sunday, in force from a local date on."""

    effective_from: date
    weekdays: Hours
    sunday: Hours
    source: str

    def hours(self, on: date) -> Hours:
        return self.sunday if on.isoweekday() == 7 else self.weekdays


FEDERAL = Rule(
    effective_from=date(1992, 12, 20),
    weekdays=Hours(time(8), time(21)),
    sunday=Hours(time(8), time(21)),
    source="47 CFR 64.1200(c)(1): not before 8 a.m. or after 9 p.m., local time at the called party's location",
)

# Only states that leave less than the federal hours; for one state, the newest row in force counts.
STATE_RULES: dict[str, tuple[Rule, ...]] = {
    "FL": (
        Rule(
            effective_from=date(2021, 7, 1),
            weekdays=Hours(time(8), time(20)),
            sunday=Hours(time(8), time(20)),
            source="Florida Statutes 501.616(6), as amended by SB 1120 (2021): 8 a.m. to 8 p.m.",
        ),
    ),
    "TX": (
        Rule(
            effective_from=date(2025, 9, 1),
            weekdays=Hours(time(9), time(21)),
            sunday=Hours(time(12), time(21)),
            source="Texas SB 140 (texts are solicitations): Monday to Saturday 9 a.m. to 9 p.m., Sunday from noon",
        ),
    ),
}

_AREA_CODES = {
    "FL": "239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904 941 954",
    "TX": "210 214 254 281 325 346 361 409 430 432 469 512 621 682 713 726 737 806 817 830 832 903 915 936 940 945 956"
    " 972 979",
}
_STATE_OF = {code: state for state, codes in _AREA_CODES.items() for code in codes.split()}

# For somebody who may be anywhere: 2:00 PM Eastern is 8:00 AM in Hawaii while New York is on summer time (and 9:00 AM
# when it is not), noon has passed in Texas, and 8:00 PM Eastern is the end of Florida's day and, in winter, 9:00 PM in
# Puerto Rico. So it is allowed in all fifty states, by every row above, on every day of the year.
NARROW = Rule(
    effective_from=FEDERAL.effective_from,
    weekdays=Hours(time(14), time(20)),
    sunday=Hours(time(14), time(20)),
    source="inside the permitted hours of every state, for a phone whose place is unknown",
)
_NARROW_ZONE = ZoneInfo("America/New_York")

_SEARCH = timedelta(days=8)  # past the next Sunday, whatever today is


@dataclass(frozen=True, slots=True)
class Window:
    """When texts may go to one number around one local date. Aware UTC; at `closes_at` it is already too late.

    `zones` are the candidate zones that were all respected, empty when nothing is known and the narrow hours count.
    """

    opens_at: datetime
    closes_at: datetime
    zones: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Delay:
    """The answer. `due_at` is aware UTC and equals the asked moment when it is allowed.

    `zone` is the zone `local_now` and `sentence` speak of: of several, the one furthest behind; None when unknown.
    """

    due_at: datetime
    allowed_now: bool
    zone: str | None
    local_now: datetime
    sentence: str


def plan(*, now: datetime, phone: str, business_zone: str) -> Delay:
    """When a text to `phone` (E.164) may leave, asked at `now` (aware).

    The zone is the number's; for a number that does not say (toll-free, 555), the business's; failing that, the narrow
    hours. The text must be *sent* inside, so whoever sends it asks again just before. Raises ValueError for a naive
    `now`.
    """
    if now.tzinfo is None:
        raise ValueError("now must be aware: a wall clock without a zone is nobody's.")
    now = now.astimezone(UTC)
    place, due_at = _opening(phone, business_zone, now)
    zone = place.furthest_behind(due_at)
    allowed = due_at == now
    return Delay(
        due_at=due_at,
        allowed_now=allowed,
        zone=zone.key if place.is_known else None,
        local_now=now.astimezone(zone),
        sentence="sends now" if allowed else place.sentence(now, due_at, zone),
    )


def window_for(e164: str, *, business_zone: str, on: date) -> Window:
    """The hours in which texts may go to this number on the local date `on`; the next possible ones if it has none."""
    midnight = _place(e164, business_zone).midnight(on)
    place, opens_at = _opening(e164, business_zone, midnight)
    return Window(
        opens_at=opens_at,
        closes_at=min(place.hours_around(opens_at, zone)[1] for zone in place.zones),
        zones=tuple(zone.key for zone in place.zones) if place.is_known else (),
        source=place.rule(on).source,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a phone may be: the candidate zones, the rows that apply, and whose clock the sentence names."""

    zones: tuple[ZoneInfo, ...]
    rules: tuple[Rule, ...]
    whose: str = "their time"

    @property
    def is_known(self) -> bool:
        return self.rules[0] is not NARROW

    def rule(self, on: date) -> Rule:
        in_force = [rule for rule in self.rules if rule.effective_from <= on]
        return max(in_force, key=lambda rule: rule.effective_from, default=self.rules[0])

    def next_opening(self, moment: datetime) -> datetime | None:
        """The first moment from here on that is allowed in every zone; None when there is none in sight."""
        limit = moment + _SEARCH
        while moment < limit:
            later = max(moment, *(self.hours_around(moment, zone)[0] for zone in self.zones))
            if later == moment:
                return moment
            moment = later
        return None

    def hours_around(self, moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The permitted hours `moment` lies in, else the next ones, in UTC."""
        on = moment.astimezone(zone).date()
        while True:
            hours = self.rule(on).hours(on)
            # A wall-clock time can happen twice, or not at all, when clocks change: take the stricter of its readings.
            opens, closes = max(_instants(on, hours.opens, zone)), min(_instants(on, hours.closes, zone))
            if moment < closes:
                return opens, closes
            on += timedelta(days=1)

    def midnight(self, on: date) -> datetime:
        return max(_instants(on, time(0), zone)[0] for zone in self.zones)

    def furthest_behind(self, moment: datetime) -> ZoneInfo:
        return min(self.zones, key=lambda zone: (moment.astimezone(zone).replace(tzinfo=None), zone.key))

    def sentence(self, now: datetime, due_at: datetime, zone: ZoneInfo) -> str:
        local_now, local_due = now.astimezone(zone), due_at.astimezone(zone)
        days = (local_due.date() - local_now.date()).days
        day = {0: "", 1: "tomorrow "}.get(days, f"{local_due:%A} ")
        when = f"will be sent {day}{_clock(local_due)}"
        if not self.is_known:
            return f"{when} Eastern: it is {_clock(local_now)} in New York, and nothing says where they are"
        return f"{when} {self.whose}: it is {_clock(local_now)} in {_city(zone)}"


_NOWHERE = _Place(zones=(_NARROW_ZONE,), rules=(NARROW,))


def _opening(e164: str, business_zone: str, moment: datetime) -> tuple[_Place, datetime]:
    """Where the phone may be and the first permitted moment there, from `moment` (UTC) on."""
    place = _place(e164, business_zone)
    opening = place.next_opening(moment)
    if opening is None:  # zones so far apart that it is always night in one of them: as good as unknown
        place, opening = _NOWHERE, max(moment, _NOWHERE.hours_around(moment, _NARROW_ZONE)[0])
    return place, opening


@lru_cache(maxsize=16_384)
def _place(e164: str, business_zone: str) -> _Place:
    state = _STATE_OF.get(e164[2:5], "") if phones.is_e164(e164) and e164.startswith("+1") else ""
    rules = (FEDERAL, *STATE_RULES.get(state, ()))
    theirs = _loaded(phones.zones(e164))
    if theirs:
        return _Place(zones=theirs, rules=rules)
    ours = _loaded([business_zone])
    return _Place(zones=ours, rules=rules, whose="your time") if ours else _NOWHERE


def _loaded(names: Iterable[str]) -> tuple[ZoneInfo, ...]:
    """The zones this machine knows, by name; an unknown or empty name is left out."""
    found = (_zone(name) for name in sorted(names))
    return tuple(zone for zone in found if zone is not None)


@lru_cache(maxsize=1_024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown; not a zone name at all; the name of a folder
        return None


def _instants(on: date, at: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Both readings of a wall-clock time, in UTC; the same moment twice except around a change of the clocks."""
    wall = datetime.combine(on, at, tzinfo=zone)
    return wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)


def _clock(local: datetime) -> str:
    return f"{local.hour % 12 or 12}:{local:%M %p}"


def _city(zone: ZoneInfo) -> str:
    """Phoenix for America/Phoenix; "Center, North Dakota" for America/North_Dakota/Center."""
    _, _, place = zone.key.partition("/")
    return ", ".join(reversed((place or zone.key).split("/"))).replace("_", " ")
