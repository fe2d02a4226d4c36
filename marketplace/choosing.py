"""What somebody chose on the shelf: filters out of an address, and back into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlencode

from django.http import QueryDict

from marketplace import age_buckets
from marketplace.allocation import MOST, Criterion
from marketplace.queries import CLASSES, Filter

USUAL: Final = 50  # leads, when nobody says how many
_MOST_PLACES: Final = 60  # states or counties in one address; there are not more states
_LONGEST: Final = 100  # characters of a place

Places = Mapping[str, Sequence[str]]  # the counties of every state with something for sale


@dataclass(frozen=True)
class Choice:
    """Any number of classes, ages, states and counties; and how many leads it is to cost."""

    wanted: Filter = field(default_factory=Filter)
    quantity: int = USUAL

    @property
    def kind(self) -> Criterion | None:
        """What can be put into the cart: one class, one age, one place or anywhere. None: not narrow enough."""
        wanted = self.wanted
        if len(wanted.classifications) != 1 or len(wanted.buckets) != 1:
            return None
        if len(wanted.states) > 1 or len(wanted.counties) > 1:
            return None
        state, county = (next(iter(places), "") for places in (wanted.states, wanted.counties))
        return Criterion(wanted.classifications[0], wanted.buckets[0], self.quantity, state, county)

    def but(self, **changes: tuple[str, ...]) -> Choice:
        """The same with other classifications, buckets, states or counties. Counties go with their states."""
        if "states" in changes:
            changes = {"counties": ()} | changes
        return replace(self, wanted=replace(self.wanted, **changes))

    def address(self, path: str) -> str:
        """`path` with these filters. Without a page of the list: other filters, other list."""
        wanted = self.wanted
        given: list[tuple[str, Any]] = [("class", name) for name in wanted.classifications]
        given += [("age", name) for name in wanted.buckets]
        given += [("state", name) for name in wanted.states]
        given += [("county", name) for name in wanted.counties]
        given += [("quantity", self.quantity)] if self.quantity != USUAL else []
        return f"{path}?{urlencode(given)}" if given else path


def read(query: QueryDict, places: Places) -> Choice:
    """The filters of an address. What makes no sense is left out; a place where everything has been sold is kept, so that
    an old address does not suddenly mean everywhere."""
    states = _chosen(query.getlist("state"))
    elsewhere = {county for state, counties in places.items() if state not in states for county in counties}
    here = {county for state in states for county in places.get(state, ())}
    return Choice(
        wanted=Filter(
            classifications=tuple(name for name in CLASSES if name in query.getlist("class")),
            buckets=tuple(name for name in age_buckets.NAMES if name in query.getlist("age")),
            states=states,
            # A county of a state that is not chosen any more was ticked before.
            counties=tuple(c for c in _chosen(query.getlist("county")) if c in here or c not in elsewhere),
        ),
        quantity=_quantity(query.get("quantity", "")),
    )


def _chosen(places: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({place for place in places if place and len(place) <= _LONGEST})[:_MOST_PLACES])


def _quantity(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return USUAL
    return min(max(int(text), 1), MOST)
