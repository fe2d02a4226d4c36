"""How people, times, amounts and lists are said on the owner's pages. Times are aware; days are those of `zone`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal


def initials(name: str) -> str:
    """“JD” for Jane Doe, “J” for Jane, nothing for nobody or for a name that begins with no letter."""
    words = [word for word in name.split() if word[0].isalpha()]
    picked = [words[0], words[-1]] if len(words) > 1 else words
    return "".join(word[0] for word in picked).upper()


def say_clock(at: datetime, zone: tzinfo) -> str:
    """“3:40 PM”."""
    local = at.astimezone(zone)
    return f"{local.hour % 12 or 12}:{local:%M %p}"


def say_day(at: datetime, zone: tzinfo) -> str:
    """“Fri, Nov 20”."""
    local = at.astimezone(zone)
    return f"{local:%a, %b} {local.day}"


def say_when(at: datetime, *, now: datetime, zone: tzinfo) -> str:
    """Short, for lists: “9:12 AM” today, “Yesterday”, “Mon” within the week, “Nov 3”, “Nov 3, 2025” in another year."""
    local, today = at.astimezone(zone), now.astimezone(zone)
    days = (today.date() - local.date()).days
    if days == 0:
        return say_clock(at, zone)
    if days == 1:
        return "Yesterday"
    if 1 < days < 7:
        return f"{local:%a}"
    return f"{local:%b} {local.day}" + ("" if local.year == today.year else f", {local.year}")


def say_money(value: Decimal) -> str:
    """US dollars: “$1,200”; cents only where there are any."""
    return f"${value:,.2f}".removesuffix(".00")


def say_noun(count: int, one: str, many: str) -> str:
    """What stands after a number: “job” after 1, “jobs” after any other."""
    return one if count == 1 else many


def say_list(words: Sequence[str]) -> str:
    """“hours”, “hours and staff”, “services, hours and staff”."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
