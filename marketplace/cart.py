"""The cart: a stored quote of criteria, which somebody's session remembers, one per business.

Prices of a quote are locked, so a cart is never changed: another line or another quantity makes a new quote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.http import HttpRequest

from crm.services import Refused
from marketplace import pricing
from marketplace.allocation import MOST, Criterion
from marketplace.models import Quote
from marketplace.services import purchases

MOST_LINES: Final = 20
_KEY: Final = "carts"  # in the session: slug → [id of the quote, leads in it]


@dataclass(frozen=True)
class Line:
    """So many leads of a kind, at the price that is locked for each."""

    wanted: Criterion
    price: Decimal

    @property
    def cost(self) -> Decimal:
        return pricing.total([(self.wanted.quantity, self.price)])


def lines_of(quote: Quote) -> list[Line]:
    return [
        Line(
            wanted=Criterion(**{name: value for name, value in line.items() if name != "unit_price"}),
            price=Decimal(line["unit_price"]),
        )
        for line in quote.lines
    ]


def criteria_of(quote: Quote) -> list[Criterion]:
    return [line.wanted for line in lines_of(quote)]


def seconds_left(quote: Quote, *, now: datetime) -> int:
    """Until its prices may change, rounded up."""
    return max(math.ceil((quote.expires_at - now).total_seconds()), 0)


def current(request: Any) -> Quote | None:
    """What they are filling. None: nothing, or it has been bought."""
    kept = _kept(request).get(request.business.slug)
    if kept is None:
        return None
    quotes = Quote.objects.for_business(request.business).filter(kind="criteria", purchases__isnull=True)
    quote: Quote | None = quotes.filter(pk=kept[0]).first()
    return quote


def leads_in(request: Any) -> int:
    """How many leads lie in it, as far as the session knows."""
    kept = _kept(request).get(request.business.slug)
    return kept[1] if kept else 0


def fill(request: Any, criteria: Sequence[Criterion]) -> Quote | None:
    """Make these the cart, at the prices of now; None: it is empty. Raises NoPrice; Refused when they are too many."""
    if not criteria:
        forget(request)
        return None
    lines = together(criteria)
    if len(lines) > MOST_LINES:
        raise Refused(f"At most {MOST_LINES} kinds of leads fit into one order. Buy these first.")
    if any(wanted.quantity > MOST for wanted in lines):
        raise Refused(f"At most {MOST:,} leads of one kind fit into one order. Buy these first.")
    quote = purchases.quote_criteria(business=request.business, criteria=lines, now=request.now)
    remember(request, quote)
    return quote


def remember(request: Any, quote: Quote) -> None:
    request.session[_KEY] = _kept(request) | {request.business.slug: [str(quote.pk), quote.total_items]}


def forget(request: Any) -> None:
    request.session[_KEY] = {slug: kept for slug, kept in _kept(request).items() if slug != request.business.slug}


def together(criteria: Sequence[Criterion]) -> list[Criterion]:
    """The same kind twice is one line with both quantities."""
    found: dict[Criterion, int] = {}
    for wanted in criteria:
        kind = replace(wanted, quantity=0)
        found[kind] = found.get(kind, 0) + wanted.quantity
    return [replace(kind, quantity=quantity) for kind, quantity in found.items()]


def _kept(request: HttpRequest) -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = request.session.get(_KEY, {})
    return kept
