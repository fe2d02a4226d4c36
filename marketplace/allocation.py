"""What a buyer asks for, in words and numbers. Pure; the shelf is asked in `services.purchases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from marketplace import age_buckets

MOST: Final = 1_000  # leads in one criterion, and items in one order


@dataclass(frozen=True, slots=True)
class Criterion:
    """So many leads of one class and age, anywhere or in a state (as on the shelf) or county."""

    classification: str
    age_bucket: str
    quantity: int
    state: str = ""
    county: str = ""

    def __str__(self) -> str:
        """“Gold MONTH_6_TO_8 state=LA county=Caddo qty=50”."""
        places = "".join(
            f" {name}={place}" for name, place in (("state", self.state), ("county", self.county)) if place
        )
        return f"{self.classification} {self.age_bucket}{places} qty={self.quantity}"

    def anywhere(self) -> Criterion:
        return replace(self, state="", county="")

    def in_bucket(self, bucket: str) -> Criterion:
        return replace(self, age_bucket=bucket)


@dataclass(frozen=True, slots=True)
class Alternative:
    """What could be bought instead. `instead` is the criterion that buys it."""

    description: str
    available_count: int
    suggestion_type: str  # partial, no_location_filter, different_age_bucket
    instead: Criterion


def alternatives(
    wanted: Criterion, *, available: int, count: Callable[[Criterion], int], price: Decimal | None
) -> list[Alternative]:
    """In this order: fewer of the same, the same from anywhere, the same of the next older and next younger age.

    `count` tells how many there are of something; `price` is what one of the wanted kind costs.
    """
    found = []
    if available > 0:
        cost = f" (${available * price:.2f})" if price is not None else ""
        found.append(
            Alternative(
                f"Purchase {available} available leads{cost}", available, "partial", replace(wanted, quantity=available)
            )
        )
    place = ", ".join(part for part in (wanted.state, wanted.county) if part)
    if place:
        anywhere = count(wanted.anywhere())
        if anywhere > available:
            words = f"Remove location filter ({anywhere} available without {place} filter)"
            found.append(Alternative(words, anywhere, "no_location_filter", wanted.anywhere()))
    for bucket in age_buckets.neighbours(wanted.age_bucket):
        other = wanted.in_bucket(bucket)
        there = count(other)
        if there >= wanted.quantity:
            where = f" in {wanted.state}" if wanted.state else ""
            words = f"Try {bucket} age bucket ({there} available{where})"
            found.append(Alternative(words, there, "different_age_bucket", other))
    return found
