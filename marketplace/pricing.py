"""What leads cost: sums, the price that holds at a moment, and how long an offer stands. US dollars, two decimals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

CURRENCY: Final = "USD"
CENT: Final = Decimal("0.01")
LARGEST: Final = Decimal("99999.99")  # for one lead; more is a slip of the finger
QUOTE_STANDS: Final = timedelta(minutes=15)

# What a new installation starts with: Gold, Silver.
STARTING_PRICES: Final = {
    "MONTH_3_TO_5": (Decimal("10.00"), Decimal("7.50")),
    "MONTH_6_TO_8": (Decimal("8.00"), Decimal("6.00")),
    "MONTH_9_TO_11": (Decimal("6.00"), Decimal("4.50")),
    "MONTH_12_TO_23": (Decimal("5.00"), Decimal("4.00")),
    "MONTH_24_PLUS": (Decimal("4.00"), Decimal("3.00")),
}


class NoPrice(Exception):
    """Nobody has said what leads of this class and age cost."""

    def __init__(self, classification: str, bucket: str) -> None:
        super().__init__(f"No active pricing found for {classification} + {bucket}")
        self.classification, self.bucket = classification, bucket


@dataclass(frozen=True, slots=True)
class Period:
    """A price and how long it holds: from `since` on, up to but not including `until` (None: until somebody changes it)."""

    price: Decimal
    since: datetime
    until: datetime | None

    def holds_at(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without a price, in which nothing of its kind can be sold."""

    since: datetime
    until: datetime | None


def price_at(periods: Iterable[Period], moment: datetime) -> Decimal | None:
    return next((period.price for period in periods if period.holds_at(moment)), None)


def gaps(periods: Sequence[Period]) -> list[Gap]:
    """The stretches without a price after the first period begins. The periods do not overlap."""
    found = []
    ordered = sorted(periods, key=lambda period: period.since)
    for this, following in zip(ordered, [*ordered[1:], None], strict=False):  # none of nothing
        if this.until is not None and (following is None or this.until < following.since):
            found.append(Gap(this.until, following.since if following else None))
    return found


def total(lines: Iterable[tuple[int, Decimal]]) -> Decimal:
    """The sum of quantity times unit price, exact to the cent."""
    return sum((quantity * price for quantity, price in lines), Decimal("0.00")).quantize(CENT)


def expires_at(quoted_at: datetime) -> datetime:
    return quoted_at + QUOTE_STANDS


def has_expired(expires: datetime, *, now: datetime) -> bool:
    """At the last moment it still stands."""
    return now > expires


def say_money(amount: Decimal) -> str:
    """“$1,234.50”, “−$8.00”."""
    sign = "−" if amount < 0 else ""
    return f"{sign}${abs(amount):,.2f}"
