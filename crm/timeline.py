"""The story of a customer, in the owner's words."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from crm import rows
from crm.enums import Verb
from crm.models import Activity, Business, Customer, Message, User


def note(
    *, business: Business, customer: Customer | None, verb: Verb, text: str, now: datetime, about: str = "",
    actor: User | None = None,
) -> Activity:  # fmt: skip
    """Leave a trace, in the transaction of the change it tells of."""
    activity = Activity(
        business=business, customer=customer, verb=verb, text=text[:300], at=now, about=about, actor=actor
    )
    rows.insert(activity)
    return activity


@dataclass(frozen=True)
class Entry:
    """One line of the timeline. `kind` picks the icon; `about` (kind:id) is what it opens."""

    at: datetime
    kind: str
    text: str
    about: str
    detail: str = ""


def story(customer: Customer, *, before: datetime | None = None, limit: int = 50) -> list[Entry]:
    """What happened and what was said, newest first: `limit` lines older than `before`. Two queries."""
    activities = customer.activities.all()
    messages = customer.messages.filter(audience="customer")
    if before is not None:
        activities, messages = activities.filter(at__lt=before), messages.filter(created_at__lt=before)
    happened: Iterator[Entry] = (
        Entry(at=row.at, kind=row.verb, text=row.text, about=row.about)
        for row in activities.order_by("-at", "-id")[:limit]
    )
    said: Iterator[Entry] = (
        Entry(
            at=row.created_at,
            kind=f"text_{row.author}",
            text=row.body,
            about=f"message:{row.pk}",
            detail=_how_it_went(row),
        )
        for row in messages.order_by("-created_at", "-id")[:limit]
    )
    merged = heapq.merge(happened, said, key=attrgetter("at"), reverse=True)
    return [entry for entry, _ in zip(merged, range(limit), strict=False)]


def _how_it_went(message: Message) -> str:
    if message.direction == "inbound":
        return ""
    return message.error or message.get_status_display()
