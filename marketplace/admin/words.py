"""How the console says moments and kinds of leads. Its clock is UTC, and it says so every time."""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from marketplace.enums import AgeBucket


def say_kind(classification: str, bucket: str) -> str:
    """“Gold, 6 to 8 months”."""
    return f"{classification}, {AgeBucket(bucket).label}"


def say_day(day: date, *, now: datetime) -> str:
    """“Dec 1”, with the year when it is another one than now's."""
    return f"{day:%b} {day.day}" + ("" if day.year == now.year else f", {day.year}")


def say_moment(moment: datetime, *, now: datetime) -> str:
    """“Dec 1, 00:00 UTC”, with the year when it is another one than now's. Takes moments in UTC."""
    return f"{say_day(moment.date(), now=now)}, {moment:%H:%M} UTC"


def say_share(part: int, whole: int) -> str:
    """“12.5%”, and “–” of nothing."""
    if not whole:
        return "–"
    share = (Decimal(100 * part) / whole).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return f"{share.normalize():f}%"
