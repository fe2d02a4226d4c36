"""The hours in which somebody of a business can be expected to answer, by the clock on its own wall.

At night that clock stands still: nobody is told that something waits, and nobody is passed over for not answering.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

OPENS: Final = time(7)
CLOSES: Final = time(21)


def is_awake(now: datetime, zone: tzinfo) -> bool:
    """From 7:00 up to, but not at, 21:00 in `zone`."""
    return OPENS <= now.astimezone(zone).time() < CLOSES


def next_awake(now: datetime, zone: tzinfo) -> datetime:
    """`now` itself by day, otherwise the 7:00 that comes next. UTC."""
    if is_awake(now, zone):
        return now.astimezone(UTC)
    local = now.astimezone(zone)
    return _moment(local.date() + timedelta(days=local.time() >= CLOSES), OPENS, zone)


def waited(time_given: timedelta, *, since: datetime, zone: tzinfo) -> datetime:
    """When somebody has had all of `time_given`; the night does not count. UTC."""
    begins = next_awake(since, zone)
    while True:
        closes = _moment(begins.astimezone(zone).date(), CLOSES, zone)
        if begins + time_given <= closes:
            return begins + time_given
        time_given -= closes - begins
        begins = next_awake(closes, zone)


def _moment(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
