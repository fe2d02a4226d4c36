"""Free slots: staff hours minus jobs, holds and time off, under the rules of the house.

Pure arithmetic. Nothing here knows a clock or a database: hours, jobs and the moment to search from are arguments, so
the night the clocks change is just another argument.

What counts as open
    A real moment is open when the wall clock in the business's zone shows a time inside the hours of that weekday. When
    an hour happens twice both are open; an hour that is skipped offers nothing. Hours that close at or before they
    open run into the next day (22:00-06:00; 00:00 is midnight at the end, 00:00-00:00 the whole day). A blackout date
    is dark from midnight to midnight, and a night shift that would begin on it does not begin.

Which day a job belongs to
    The local date it starts on, for the day cap, the wished dates and the fewest-busy tie.

Aware datetimes go in and UTC comes out. In between, moments are seconds since 1970: the search touches thousands of
intervals, and integers compare and add many times faster than datetimes, with no zone to get wrong.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from math import inf
from operator import attrgetter
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from booking.when import Wanted
from booking.wording import say_clock, say_date, say_length, say_slot

DAY: Final = 24 * 60 * 60  # seconds on a wall clock between two midnights
EPOCH: Final = date(1970, 1, 1).toordinal()
NO_JOBS: Final[Mapping[date, int]] = MappingProxyType({})

_BY_START: Final = attrgetter("start")

Span = tuple[float, float]  # seconds since 1970, [from, to)


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of real time, [start, end). Raises ValueError for a naive datetime or an end before the start."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("An interval needs aware datetimes.")
        if self.end < self.start:
            raise ValueError("An interval ends before it starts.")


@dataclass(frozen=True, slots=True)
class DayHours:
    """Open from `opens` to `closes` on one weekday (Monday is 0), in local wall time.

    `closes` at or before `opens` runs into the next day; 00:00 is midnight at the end of the day.
    """

    weekday: int
    opens: time
    closes: time

    @property
    def runs_overnight(self) -> bool:
        return self.closes <= self.opens


@dataclass(frozen=True, slots=True)
class Rules:
    """How a business wants its calendar filled."""

    zone: str
    """An IANA name; every wall-clock time here is told in it."""
    grid_minutes: int = 15
    """Jobs start on these minutes of the local day, counted from midnight."""
    min_notice_minutes: int = 0
    horizon_days: int = 14
    """How many days ahead of today may be booked; 0 is today only."""
    travel_buffer_minutes: int = 0
    """Kept free between two jobs of one person, not next to time off or opening hours."""
    max_jobs_per_day: int | None = None
    """For the whole business; emergencies count and are counted."""
    reserve_mornings_for_emergencies: bool = False
    mornings_end: time = time(12, 0)
    blackout: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class Staff:
    """Somebody who does jobs. The intervals may come in any order and may overlap."""

    id: int
    hours: tuple[DayHours, ...]
    busy: tuple[Interval, ...] = ()
    """Appointments and live holds: the travel buffer is kept around them."""
    off: tuple[Interval, ...] = ()
    """Time off and what the person's own calendar says: no buffer."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A job could be done by this person from `start` to `end` (UTC)."""

    staff_id: int
    start: datetime
    end: datetime


def free_slots(
    staff: Sequence[Staff],
    rules: Rules,
    *,
    duration: timedelta,
    after: datetime,
    until: datetime | None = None,
    limit: int = 10,
    emergency: bool = False,
    wanted: Wanted | None = None,
    jobs_per_day: Mapping[date, int] = NO_JOBS,
) -> list[Slot]:
    """The first free slots, by start, at most one per start time.

    Among several people free at the same start it is the one with the fewest busy minutes that local day, then the
    lowest id. `after` is the present moment: the notice and the horizon count from it. Slots start before `until`.
    `jobs_per_day` is the number of jobs the business already has on each local date, for the day cap. An emergency may
    use reserved mornings; every other rule holds for it too.

    No capacity is an empty list. Raises ValueError for naive datetimes or a duration that is not positive.
    """
    question = _Question(tuple(staff), rules, duration, after, until, emergency, wanted, jobs_per_day)
    return list(islice(_walk(question), max(limit, 0)))


def first_free(
    staff: Sequence[Staff],
    rules: Rules,
    *,
    duration: timedelta,
    after: datetime,
    until: datetime | None = None,
    emergency: bool = False,
    wanted: Wanted | None = None,
    jobs_per_day: Mapping[date, int] = NO_JOBS,
) -> Slot | None:
    """The earliest free slot under the same rules as `free_slots`, or None."""
    question = _Question(tuple(staff), rules, duration, after, until, emergency, wanted, jobs_per_day)
    return next(_walk(question), None)


def first_free_of_all(
    staff: Sequence[Staff],
    rules: Rules,
    *,
    duration: timedelta,
    after: datetime,
    until: datetime | None = None,
    emergency: bool = False,
    wanted: Wanted | None = None,
    jobs_per_day: Mapping[date, int] = NO_JOBS,
) -> list[Slot]:
    """Everybody who could take the earliest free start, under the rules of `free_slots` and the best choice first."""
    question = _Question(tuple(staff), rules, duration, after, until, emergency, wanted, jobs_per_day)
    found: list[Slot] = []
    for slot in _walk(question, everybody=True):
        if found and slot.start != found[0].start:
            break
        found.append(slot)
    return found


def why_none(
    staff: Sequence[Staff],
    rules: Rules,
    *,
    duration: timedelta,
    after: datetime,
    until: datetime | None = None,
    emergency: bool = False,
    wanted: Wanted | None = None,
    jobs_per_day: Mapping[date, int] = NO_JOBS,
) -> str:
    """Say in a sentence why `free_slots` finds nothing; empty when it would find something.

    The obstacles are taken away one after another, the softest first, until a slot appears: the last one taken away is
    the reason. So "everyone is booked" is never said of a day on which nobody works.
    """
    question = _Question(tuple(staff), rules, duration, after, until, emergency, wanted, jobs_per_day)
    if next(_walk(question), None):
        return ""
    if not staff:
        return "Nobody is set up to take this job yet."

    today = _local_date(after, rules)
    first_day, last_day = today, today + timedelta(days=rules.horizon_days)
    if wanted and wanted.dates:
        if wanted.dates[1] < today:
            return f"{_say_days(*wanted.dates)} has already passed."
        if wanted.dates[0] > last_day:
            return f"{_say_days(*wanted.dates)} is too far ahead: we book until {say_date(last_day)}."
        first_day, last_day = max(first_day, wanted.dates[0]), min(last_day, wanted.dates[1])
        where = f"from {_say_days(first_day, last_day)}" if first_day < last_day else f"on {say_date(first_day)}"
    else:
        where = f"in the next {rules.horizon_days} days" if rules.horizon_days else "today"

    for easier, reason in _obstacles(question, where=where, first_day=first_day, one_day=first_day == last_day):
        if slot := next(_walk(easier), None):
            return reason.format(opening=say_slot(slot.start, slot.end, zone=rules.zone))
    return f"We are not open {where}."


# --- the search -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of the search, as it was asked."""

    staff: tuple[Staff, ...]
    rules: Rules
    duration: timedelta
    after: datetime
    until: datetime | None
    emergency: bool
    wanted: Wanted | None
    jobs_per_day: Mapping[date, int]

    def __post_init__(self) -> None:
        if self.after.tzinfo is None or (self.until is not None and self.until.tzinfo is None):
            raise ValueError("The search needs aware datetimes.")
        if self.duration <= timedelta():
            raise ValueError("A job needs a duration.")

    @property
    def soonest(self) -> datetime:
        return self.after + timedelta(minutes=self.rules.min_notice_minutes)

    @property
    def days(self) -> Iterator[date]:
        """The local dates a job may start on, in order."""
        first = _local_date(self.soonest, self.rules)
        last = _local_date(self.after, self.rules) + timedelta(days=self.rules.horizon_days)
        if self.wanted and self.wanted.dates:
            first, last = max(first, self.wanted.dates[0]), min(last, self.wanted.dates[1])
        cap = self.rules.max_jobs_per_day
        for ahead in range((last - first).days + 1):
            day = first + timedelta(days=ahead)
            if cap is None or self.jobs_per_day.get(day, 0) < cap:
                yield day

    @property
    def wall_window(self) -> tuple[int, int]:
        """The seconds of the day between which a job may start, [from, to)."""
        earliest, too_late = 0, DAY
        if self.rules.reserve_mornings_for_emergencies and not self.emergency:
            earliest = _second_of_day(self.rules.mornings_end)
        if self.wanted and self.wanted.not_before is not None:
            earliest = max(earliest, _second_of_day(self.wanted.not_before))
        if self.wanted and self.wanted.not_after is not None:
            too_late = _second_of_day(self.wanted.not_after)
        if self.wanted and self.wanted.exact is not None:
            exactly = _second_of_day(self.wanted.exact)
            earliest, too_late = max(earliest, exactly), min(too_late, exactly + 1)
        return earliest, too_late


@dataclass(frozen=True, slots=True)
class _Limits:
    """The question in seconds: what stays the same for every person and day of one search."""

    duration: int
    soonest: float
    before: float
    grid: int
    buffer: int
    wall_from: int
    wall_to: int


def _walk(question: _Question, *, everybody: bool = False) -> Iterator[Slot]:
    """Free slots one by one, working out a day only when the days before it did not hold enough; one for each start, or
    one for each person at each start."""
    rules = question.rules
    wall_from, wall_to = question.wall_window
    limits = _Limits(
        duration=-(-question.duration // timedelta(seconds=1)),
        soonest=question.soonest.timestamp(),
        before=question.until.timestamp() if question.until else inf,
        grid=rules.grid_minutes * 60,
        buffer=rules.travel_buffer_minutes * 60,
        wall_from=wall_from,
        wall_to=wall_to,
    )
    hours = _OpenHours(rules)
    people = [_Person(person, hours) for person in question.staff]
    for date_ in question.days:
        day = _local_day(date_, rules.zone)
        if day.start >= limits.before:
            return
        taken = None
        for start, _load, staff_id in heapq.merge(*[person.starts(day, limits) for person in people]):
            if everybody or start != taken:
                taken = start
                begins = datetime.fromtimestamp(start, UTC)
                yield Slot(staff_id=staff_id, start=begins, end=begins + question.duration)


class _Person:
    """One staff member during one search."""

    __slots__ = ("_busy", "_hours", "_off", "_staff")

    def __init__(self, staff: Staff, hours: "_OpenHours") -> None:
        self._staff = staff
        self._hours = hours
        self._busy = _Calendar(staff.busy)
        self._off = _Calendar(staff.off)

    def starts(self, day: "_LocalDay", limits: _Limits) -> Iterator[tuple[int, float, int]]:
        """Every start this person could take on a local day, in order, as (start, seconds busy that day, id)."""
        open_spans = self._hours.on(self._staff.hours, day, limits.duration)
        if not open_spans:
            return
        reach = day.end + limits.duration + limits.buffer
        busy = self._busy.between(day.start - limits.buffer, reach)
        blocked = [(start - limits.buffer, end + limits.buffer) for start, end in busy]
        blocked += self._off.between(day.start, reach)
        blocked.sort()

        load: float | None = None
        for opening, closing in _gaps(open_spans, blocked):
            last_start = closing - limits.duration
            if last_start < opening or last_start < limits.soonest:
                continue
            for piece in day.pieces:
                midnight = day.wall_midnight - piece.offset
                earliest = max(opening, piece.start, limits.soonest, midnight + limits.wall_from)
                too_late = min(piece.end, midnight + limits.wall_to, limits.before)
                start = midnight - int((midnight - earliest) // limits.grid) * limits.grid  # rounded up to the grid
                while start <= last_start and start < too_late:
                    if load is None:
                        load = _covered(busy, day)
                    yield start, load, self._staff.id
                    start += limits.grid


class _OpenHours:
    """Open spans by hours and day, worked out once for the many people who share their hours."""

    __slots__ = ("_known", "_rules")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[tuple[int, date], list[Span]] = {}

    def on(self, hours: tuple[DayHours, ...], day: "_LocalDay", duration: int) -> list[Span]:
        """Open spans of a local day, the last one followed past midnight as far as a job could reach."""
        key = (id(hours), day.date)  # the staff of the question keep their hours alive, so the id is theirs alone
        if key not in self._known:
            self._known[key] = self._spans(hours, day, duration)
        return self._known[key]

    def _spans(self, hours: tuple[DayHours, ...], day: "_LocalDay", duration: int) -> list[Span]:
        spans = _open_spans(hours, day, self._rules.blackout)
        last = day
        while spans and spans[-1][1] == last.end and last.end - day.end < duration:
            last = _local_day(last.date + timedelta(days=1), self._rules.zone)
            more = _open_spans(hours, last, self._rules.blackout)
            if not more or more[0][0] != spans[-1][1]:
                break
            spans[-1] = (spans[-1][0], more[0][1])
        return spans


class _Calendar:
    """Taken time, turned into seconds only as far as the search has come.

    Asked for later and later stretches: most searches end on the first day and never look at the other intervals.
    """

    __slots__ = ("_intervals", "_near", "_read")

    def __init__(self, intervals: tuple[Interval, ...]) -> None:
        self._intervals = sorted(intervals, key=_BY_START)
        self._read = 0
        self._near: list[Span] = []

    def between(self, start: float, end: float) -> list[Span]:
        """The intervals that touch [start, end), by start. A later call must not ask for an earlier stretch."""
        unread = self._read
        self._read = bisect_left(self._intervals, datetime.fromtimestamp(end, UTC), lo=unread, key=_BY_START)
        for interval in self._intervals[unread : self._read]:
            self._near.append((interval.start.timestamp(), interval.end.timestamp()))
        self._near = [span for span in self._near if span[1] > start and span[0] < span[1]]
        return self._near


def _gaps(open_spans: list[Span], blocked: list[Span]) -> Iterator[Span]:
    """What is left of the open spans; both lists by start, the blocked spans may overlap."""
    for opening, closing in open_spans:
        free_from = opening
        for start, end in blocked:
            if start >= closing:
                break
            if start > free_from:
                yield free_from, start
            free_from = max(free_from, end)
        if free_from < closing:
            yield free_from, closing


def _covered(busy: list[Span], day: "_LocalDay") -> float:
    """Seconds of the day that are taken, an overlap counted once."""
    seconds, counted_to = 0.0, float(day.start)
    for start, end in busy:
        start, end = max(start, counted_to), min(end, day.end)
        if end > start:
            seconds += end - start
            counted_to = end
    return seconds


# --- a local day in real time ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """Real seconds [start, end) during which the zone keeps one offset from UTC, in seconds."""

    start: int
    end: int
    offset: int


@dataclass(frozen=True, slots=True)
class _LocalDay:
    """A date in a zone: one piece, or two when the clocks change on it."""

    date: date
    wall_midnight: int
    """The day's 00:00 in seconds, as if its wall clock were UTC's; minus an offset it is real time."""
    pieces: tuple[_Piece, ...]
    start: int
    end: int


@lru_cache(maxsize=4096)
def _local_day(day: date, zone: str) -> _LocalDay:
    wall_midnight = (day.toordinal() - EPOCH) * DAY
    # No zone is further than a day from UTC, so the local day lies well inside these three.
    around = _pieces(ZoneInfo(zone), wall_midnight - DAY, wall_midnight + 2 * DAY)
    pieces = []
    for piece in around:
        start = max(piece.start, wall_midnight - piece.offset)
        end = min(piece.end, wall_midnight + DAY - piece.offset)
        if start < end:
            pieces.append(_Piece(start, end, piece.offset))
    # A date that a zone skipped altogether (Samoa did once) is an empty day at the moment of the change.
    start, end = (pieces[0].start, pieces[-1].end) if pieces else (around[-1].start, around[-1].start)
    return _LocalDay(day, wall_midnight, tuple(pieces), start, end)


def _pieces(zone: ZoneInfo, start: int, end: int) -> list[_Piece]:
    """Split [start, end), at most a few days, where the zone's offset changes: no zone changes twice within days."""
    before, after = _offset(zone, start), _offset(zone, end)
    if before == after:
        return [_Piece(start, end, before)]
    low, high = start, end
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return [_Piece(start, high, before), _Piece(high, end, after)]


def _offset(zone: ZoneInfo, moment: int) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _open_spans(hours: tuple[DayHours, ...], day: _LocalDay, blackout: frozenset[date]) -> list[Span]:
    """The real spans of a local day during which the wall clock is inside the hours; sorted, touching ones joined."""
    if day.date in blackout:
        return []
    today = day.date.weekday()
    yesterday = (today - 1) % 7
    windows = []
    for line in hours:
        if line.weekday == today:
            windows.append((_second_of_day(line.opens), DAY if line.runs_overnight else _second_of_day(line.closes)))
        elif line.weekday == yesterday and line.runs_overnight and day.date - timedelta(days=1) not in blackout:
            windows.append((0, _second_of_day(line.closes)))
    spans: list[Span] = []
    for piece in day.pieces:
        midnight = day.wall_midnight - piece.offset
        for opens, closes in windows:
            start, end = max(piece.start, midnight + opens), min(piece.end, midnight + closes)
            if start < end:
                spans.append((start, end))
    return _joined(spans) if len(spans) > 1 else spans


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _second_of_day(moment: time) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def _local_date(moment: datetime, rules: Rules) -> date:
    return moment.astimezone(ZoneInfo(rules.zone)).date()


# --- why there is none ----------------------------------------------------------------------------------------------


def _obstacles(question: _Question, *, where: str, first_day: date, one_day: bool) -> Iterator[tuple[_Question, str]]:
    """Easier and easier questions, each with what to say if it is the first to have an answer."""
    rules = question.rules
    if question.until is not None:
        limit = question.until.astimezone(ZoneInfo(rules.zone))
        question = replace(question, until=None)
        before = f"{say_date(limit.date())}, {say_clock(limit.time())}"
        yield question, f"Nothing is free before {before}. The first opening is {{opening}}."
    if question.wanted and question.wanted.has_time:
        asked = _say_times(question.wanted)
        question = replace(question, wanted=replace(question.wanted, not_before=None, not_after=None, exact=None))
        yield question, f"Nothing is free {asked} {where}. The first other opening is {{opening}}."
    if rules.reserve_mornings_for_emergencies and not question.emergency:
        question = replace(question, emergency=True)
        yield question, f"The only free time {where} is before {say_clock(rules.mornings_end)}, kept for emergencies."
    if rules.max_jobs_per_day is not None:
        jobs = "1 job" if rules.max_jobs_per_day == 1 else f"{rules.max_jobs_per_day} jobs"
        question = replace(question, jobs_per_day=NO_JOBS, rules=replace(question.rules, max_jobs_per_day=None))
        yield question, f"We take {jobs} a day at most, and that is reached {where}."
    if rules.travel_buffer_minutes:
        drive = say_length(timedelta(minutes=rules.travel_buffer_minutes))
        question = replace(question, rules=replace(question.rules, travel_buffer_minutes=0))
        yield question, f"There is no gap {where} that leaves {drive} for driving between jobs."

    question = replace(question, staff=tuple(replace(person, busy=()) for person in question.staff))
    yield question, f"Everyone is booked {where}."
    question = replace(question, staff=tuple(replace(person, off=()) for person in question.staff))
    yield question, f"Everyone is off or booked {where}."

    if rules.min_notice_minutes:
        notice = say_length(timedelta(minutes=rules.min_notice_minutes))
        question = replace(question, rules=replace(question.rules, min_notice_minutes=0))
        yield question, f"We need {notice} of notice, which is too late {where}."
    opening = datetime.fromtimestamp(_local_day(first_day, rules.zone).start, UTC)
    if opening < question.after:
        question = replace(question, after=opening)
        yield question, f"Too little open time is left {where} for a visit of {say_length(question.duration)}."
    if rules.blackout:
        question = replace(question, rules=replace(question.rules, blackout=frozenset()))
        reason = "We are closed {}: it is a day off." if one_day else "Every open day {} is a day off."
        yield question, reason.format(where)
    visit = say_length(question.duration)
    question = replace(question, duration=timedelta(minutes=rules.grid_minutes))
    yield question, f"We are not open long enough {where} for a visit of {visit}."


def _say_days(first: date, last: date) -> str:
    return say_date(first) if first == last else f"{say_date(first)} to {say_date(last)}"


def _say_times(wanted: Wanted) -> str:
    if wanted.exact is not None:
        return f"at {say_clock(wanted.exact)}"
    if wanted.not_before is None:
        return f"before {say_clock(wanted.not_after or time())}"
    if wanted.not_after is None:
        return f"after {say_clock(wanted.not_before)}"
    return f"between {say_clock(wanted.not_before)} and {say_clock(wanted.not_after)}"
