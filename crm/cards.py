"""How a thing looks on a page of another floor.

A message or a line of the timeline says what it is about as `kind:id`. Each floor tells here, once, how its kinds are
looked up; the pages of the ground floor ask, and have never heard of appointments or offers. The customer's page is put
together the same way, from a panel per floor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from crm.models import Business, Conversation, Customer, CustomerMerge, Message, Task


@dataclass(frozen=True)
class Card:
    """`url` opens the thing. `template` shows it inside a thread and sees the card as `card`; empty: it has no look of
    its own there. Two abouts with one `key` are the same thing, and it is shown once."""

    url: str
    template: str = ""
    key: str = ""
    thing: Any = None


@dataclass(frozen=True)
class Panel:
    """A part of the customer's page; its template sees `panel`."""

    template: str
    data: dict[str, Any] = field(default_factory=dict)


Finder = Callable[[Business, Sequence[UUID]], dict[UUID, Card]]
_finders: dict[str, Finder] = {}
_panels: list[Callable[[Customer, datetime], Panel]] = []


def finds(kind: str) -> Callable[[Finder], Finder]:
    """Register how `kind:id` is looked up: many ids at once, in a constant number of queries."""

    def register(finder: Finder) -> Finder:
        _finders[kind] = finder
        return finder

    return register


def customer_panel(panel: Callable[[Customer, datetime], Panel]) -> Callable[[Customer, datetime], Panel]:
    """Register a panel of the customer's page. They stand in the order of the floors."""
    _panels.append(panel)
    return panel


def look_up(business: Business, abouts: Iterable[str]) -> dict[str, Card]:
    """The cards of these abouts, as far as they exist. One look-up per kind."""
    wanted: dict[str, set[UUID]] = defaultdict(set)
    for about in abouts:
        kind, _, pk = about.partition(":")
        if kind in _finders:
            wanted[kind].add(UUID(pk))
    return {
        f"{kind}:{pk}": card
        for kind, pks in wanted.items()
        for pk, card in _finders[kind](business, sorted(pks)).items()
    }  # fmt: skip


def opens(about: str) -> bool:
    """Whether a thing of this kind has a place that can be opened."""
    return about.partition(":")[0] in _finders


def panels(customer: Customer, now: datetime) -> list[Panel]:
    return [panel(customer, now) for panel in _panels]


# --- The ground floor's own ------------------------------------------------------------------------------------------


@finds("conversation")
def _conversations(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    found = Conversation.objects.for_business(business).filter(pk__in=pks).values_list("pk", flat=True)
    return {pk: Card(url=reverse("crm:thread", args=[business.slug, pk])) for pk in found}


@finds("message")
def _messages(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    found = Message.objects.for_business(business).filter(pk__in=pks, conversation__isnull=False)
    return {
        pk: Card(url=f"{reverse('crm:thread', args=[business.slug, thread])}?at={pk}#message-{pk}")
        for pk, thread in found.values_list("pk", "conversation")
    }


@finds("task")
def _tasks(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    """An open task stands on Today; of one that is done, the customer's page tells."""
    found = Task.objects.for_business(business).filter(pk__in=pks)
    return {
        task.pk: Card(
            url=reverse("crm:customer", args=[business.slug, task.customer_id])
            if task.done_at and task.customer_id
            else f"{reverse('leads:today', args=[business.slug])}#task-{task.pk}"
        )
        for task in found
    }


@finds("merge")
def _merges(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    found = CustomerMerge.objects.for_business(business).filter(pk__in=pks)
    return {
        pk: Card(url=reverse("crm:customer", args=[business.slug, kept]))
        for pk, kept in found.values_list("pk", "kept")
    }
