"""How old a lead is, and in which bucket it is sold.

Ages are whole days of 24 hours since the call in, never rounded up; a month is 30 days, no calendar is asked. The moment
is always handed in. Boundaries are inclusive days: day 89 is not sold yet, day 90 is 3 to 5 months old.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_DAY: Final = timedelta(days=1)
_MONTH: Final = 30  # days


@dataclass(frozen=True, slots=True)
class DayRange:
    """The ages at which a lead is sold under one name. `last` is None for the oldest."""

    name: str
    first: int
    last: int | None


BUCKETS: Final = (
    DayRange("MONTH_3_TO_5", 90, 179),
    DayRange("MONTH_6_TO_8", 180, 269),
    DayRange("MONTH_9_TO_11", 270, 359),
    DayRange("MONTH_12_TO_23", 360, 719),
    DayRange("MONTH_24_PLUS", 720, None),
)
NAMES: Final = tuple(bucket.name for bucket in BUCKETS)


@dataclass(frozen=True, slots=True)
class Window:
    """The moments of the call in (UTC) that belong to a bucket: after `after` (None: ever since), until `until`."""

    after: datetime | None
    until: datetime

    def __contains__(self, moment: datetime) -> bool:
        return moment <= self.until and (self.after is None or moment > self.after)


def age_in_days(called_in_at: datetime, *, as_of: datetime) -> int:
    """Raises ValueError for a moment that is not in UTC, and for a lead from the future."""
    for name, moment in (("called_in_at", called_in_at), ("as_of", as_of)):
        if moment.utcoffset() != timedelta(0):
            raise ValueError(f"{name} must be a moment in UTC, not {moment.isoformat()}.")
    if as_of < called_in_at:
        raise ValueError(f"as_of ({as_of.isoformat()}) is before the call in ({called_in_at.isoformat()}).")
    return (as_of - called_in_at) // _DAY


def age_in_months(days: int) -> int:
    """Raises ValueError for an age below zero."""
    return _not_negative(days) // _MONTH


def bucket_of(days: int) -> str | None:
    """The name under which a lead of this age is sold; None: it is too young. Raises ValueError for an age below zero."""
    _not_negative(days)
    for bucket in BUCKETS:
        if days >= bucket.first and (bucket.last is None or days <= bucket.last):
            return bucket.name
    return None


def window(name: str, *, as_of: datetime) -> Window:
    """Which calls in make up a bucket at a moment: the same arithmetic, turned round so that an index can answer."""
    bucket = _named(name)
    return Window(
        after=None if bucket.last is None else as_of - (bucket.last + 1) * _DAY, until=as_of - bucket.first * _DAY
    )


def windows(*, as_of: datetime) -> Iterator[tuple[str, Window]]:
    """Every bucket with its window, the youngest first."""
    for name in NAMES:
        yield name, window(name, as_of=as_of)


def neighbours(name: str) -> list[str]:
    """The next older bucket, then the next younger."""
    at = NAMES.index(_named(name).name)
    return [*NAMES[at + 1 : at + 2], *NAMES[max(at - 1, 0) : at]]


def say_range(name: str) -> str:
    """“180 to 269 days”."""
    bucket = _named(name)
    return f"{bucket.first} days and older" if bucket.last is None else f"{bucket.first} to {bucket.last} days"


def _named(name: str) -> DayRange:
    for bucket in BUCKETS:
        if bucket.name == name:
            return bucket
    raise ValueError(f"There is no age bucket {name!r}.")


def _not_negative(days: int) -> int:
    if days < 0:
        raise ValueError(f"An age cannot be {days} days.")
    return days
