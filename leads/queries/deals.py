"""What the deals board and a deal's page show. How many queries a page makes never depends on how full it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, F, Prefetch, QuerySet, Sum, Window
from django.db.models.functions import RowNumber

from crm.models import Business, User
from leads import lifecycle
from leads.enums import DealStage, OfferStatus
from leads.models import Deal, DealOffer, StageChange

SHOWN: Final = 20  # cards of a column; the number above it is the whole, and the column's own page has the rest


@dataclass(frozen=True)
class Column:
    """One stage of the board. `count` and `value` (US dollars) are of all its deals, `deals` the newest of them."""

    stage: str
    label: str
    count: int
    value: Decimal
    deals: list[Any] = field(default_factory=list)


def deals(business: Business, *, mine: User | None = None) -> QuerySet[Deal]:
    """Deals with all that a card shows of them; `mine` asks for those somebody has or is asked to take."""
    rows = Deal.objects.for_business(business)
    if mine is not None:
        asked = DealOffer.objects.for_business(business).filter(salesperson__user=mine, status=OfferStatus.OPEN)
        rows = rows.filter(owner=mine) | rows.filter(pk__in=asked.values("deal"))
    return rows


def with_people(rows: QuerySet[Deal]) -> QuerySet[Any]:
    """Each deal with its lead, owner, and as `held_out` the list of at most one offer that waits for an answer."""
    waiting = DealOffer.objects.filter(status=OfferStatus.OPEN).select_related("salesperson__user")
    return rows.select_related("lead__customer", "lead__service", "owner").prefetch_related(
        Prefetch("offers", queryset=waiting, to_attr="held_out")
    )


def board(business: Business, *, mine: User | None = None) -> list[Column]:
    """Every stage in the order of the table, its newest deals first. Three queries."""
    rows = deals(business, mine=mine)
    sums = rows.order_by().values_list("stage").annotate(Count("pk"), Sum("value"))
    whole = {stage: (count, value or Decimal(0)) for stage, count, value in sums}
    newest_first = [F("created_at").desc(), F("pk").desc()]
    place = Window(RowNumber(), partition_by=F("stage"), order_by=newest_first)
    shown = with_people(rows).annotate(place=place).filter(place__lte=SHOWN).order_by("-created_at", "-id")
    by_stage: dict[str, list[Any]] = {stage: [] for stage in lifecycle.DEAL}
    for deal in shown:
        by_stage[deal.stage].append(deal)
    return [
        Column(stage=stage, label=DealStage(stage).label, count=count, value=value, deals=by_stage[stage])
        for stage in lifecycle.DEAL
        for count, value in [whole.get(stage, (0, Decimal(0)))]
    ]


def offers_to(business: Business, user: User, *, now: datetime) -> list[DealOffer]:
    """Deals that are held out to somebody right now, those that end first before the others."""
    rows = DealOffer.objects.for_business(business).filter(
        salesperson__user=user, status=OfferStatus.OPEN, until__gt=now
    )
    return list(rows.select_related("deal__lead__customer", "deal__lead__service").order_by("until", "id"))


def seconds_left(offer: DealOffer, *, now: datetime) -> int:
    """Until somebody else is asked; 0 when that time has come."""
    return max(0, int((offer.until - now).total_seconds()))


def asked(deal: Deal) -> list[DealOffer]:
    """Who was asked to take a deal and what they said, the first one first."""
    rows = DealOffer.objects.for_business(deal.business).filter(deal=deal).select_related("salesperson__user")
    return list(rows.order_by("offered_at", "id"))


def moves(deal: Deal) -> list[StageChange]:
    """Every move of the lead and of its deal, newest first."""
    return list(StageChange.objects.for_business(deal.business).filter(lead=deal.lead_id).order_by("-at", "-id")[:50])
