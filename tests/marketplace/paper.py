"""The marketplace kept on paper: the same rules in a few dozen lines of Python, with no database and no haste.

What the real one does is compared with it, step by step (see `test_properties`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from marketplace.allocation import Criterion

# From which day on; the last one has no end.
_FROM_DAY = {
    "MONTH_3_TO_5": 90, "MONTH_6_TO_8": 180, "MONTH_9_TO_11": 270, "MONTH_12_TO_23": 360, "MONTH_24_PLUS": 720,
}  # fmt: skip
EDGES = tuple(_FROM_DAY.values())
BUCKETS = tuple(_FROM_DAY)

Kind = tuple[str, str]  # class, bucket


@dataclass(eq=False)
class Lead:
    """Somebody who called in. `id` is the database's."""

    id: UUID
    row: int  # how many came before it
    classification: str
    called_in_at: datetime
    state: str
    county: str
    phones: frozenset[str]
    erased: bool = False

    def bucket(self, now: datetime) -> str:
        """Empty: too young."""
        days = (now - self.called_in_at).days
        return max((name for name in BUCKETS if days >= _FROM_DAY[name]), key=BUCKETS.index, default="")


@dataclass(eq=False)
class Item:
    """A lead on the shelf of one bucket. `state`: open, sold, or why it is closed. `id` is the database's."""

    lead: Lead
    bucket: str
    state: str = "open"
    id: UUID | None = None

    @property
    def kind(self) -> Kind:
        return self.lead.classification, self.bucket

    @property
    def place(self) -> tuple[str, str, str, str]:
        return *self.kind, self.lead.state, self.lead.county

    def matches(self, wanted: Criterion) -> bool:
        return (
            self.kind == (wanted.classification, wanted.age_bucket)
            and wanted.state in ("", self.lead.state)
            and wanted.county in ("", self.lead.county)
        )


@dataclass
class Sold:
    item: Item
    price: Decimal
    at: datetime
    is_replacement: bool = False


@dataclass
class Asked:
    """A return; `status` as in the database."""

    sale: Sold
    at: datetime
    status: str = "requested"


@dataclass
class Customer:
    """A buyer, what they have and whom they know."""

    return_days: int
    return_percent: int
    balance: Decimal = Decimal(0)
    is_prepaid: bool = False
    credit_limit: Decimal = Decimal(0)
    sales: dict[UUID, Sold] = field(default_factory=dict)  # by item
    returns: dict[UUID, Asked] = field(default_factory=dict)  # by item
    had: set[str] = field(default_factory=set)  # people bought here
    listed: set[str] = field(default_factory=set)  # people on uploaded lists
    references: set[str] = field(default_factory=set)  # of payments

    def can_pay(self, cost: Decimal) -> bool:
        return not self.is_prepaid or self.balance - cost >= -self.credit_limit

    def why_no_return(self, sale: Sold, *, now: datetime) -> str:
        """Empty: they may."""
        month = now - timedelta(days=30)
        bought = sum(one.at > month for one in self.sales.values())
        returned = sum(one.at > month and one.status != "declined" for one in self.returns.values())
        most = max(bought * self.return_percent // 100, 1) if bought and self.return_percent else 0
        if now > sale.at + timedelta(days=self.return_days):
            return "late"
        if sale.item.id in self.returns:
            return "again"
        if sale.is_replacement:
            return "final"
        return "too many" if returned >= most else ""


@dataclass
class Paper:
    """Everything that is true, as far as buyers are concerned."""

    leads: dict[UUID, Lead] = field(default_factory=dict)
    shelf: dict[tuple[UUID, str], Item] = field(default_factory=dict)
    prices: dict[Kind, dict[datetime, Decimal]] = field(default_factory=dict)
    opted_out: set[str] = field(default_factory=set)  # anywhere
    heard_of: set[str] = field(default_factory=set)  # of those, whom the marketplace has heard of
    erased: set[str] = field(default_factory=set)
    recalls: set[tuple[UUID, str]] = field(default_factory=set)

    # --- the shelf

    def open(self, lead: Lead, *, now: datetime) -> bool:
        """Put it on the shelf of its bucket, unless it may not stand there or has been there."""
        bucket = lead.bucket(now)
        gone = lead.erased or lead.phones & (self.heard_of | self.erased)
        held_back = any(item.state == "withdrawn" for item in self.items_of(lead))
        if not bucket or gone or held_back or (lead.id, bucket) in self.shelf:
            return False
        self.shelf[lead.id, bucket] = Item(lead, bucket)
        return True

    def items_of(self, lead: Lead) -> list[Item]:
        return [item for (lead_id, _), item in self.shelf.items() if lead_id == lead.id]

    def roll_over(self, *, now: datetime) -> tuple[int, int]:
        created = sum(self.open(lead, now=now) for lead in self.leads.values())
        old = [item for item in self.shelf.values() if item.state == "open" and item.bucket != item.lead.bucket(now)]
        for item in old:
            item.state = "aged_out"
        return created, len(old)

    def price(self, kind: Kind, *, now: datetime) -> Decimal:
        return max((since, price) for since, price in self.prices[kind].items() if since <= now)[1]

    # --- people

    def may_be_sold(self, item: Item, *, now: datetime) -> bool:
        lead = item.lead
        gone = lead.erased or lead.phones & (self.opted_out | self.erased)
        return item.state == "open" and item.bucket == lead.bucket(now) and not gone

    def is_for(self, item: Item, buyer: Customer, *, now: datetime) -> bool:
        """May be sold to this buyer."""
        lead = item.lead
        theirs = lead.phones & (buyer.had | buyer.listed) or any(
            sale.item.lead is lead for sale in buyer.sales.values()
        )
        return self.may_be_sold(item, now=now) and not theirs

    def call_back(self, phones: set[str], because: str) -> None:
        for lead in self.leads.values():
            if lead.phones & phones and not lead.erased:
                self.recalls.add((lead.id, because))
                lead.erased = because == "erased"
                for item in self.items_of(lead):
                    if item.state == "open":
                        item.state = because

    # --- orders

    def standing(self, buyer: Customer, *, now: datetime) -> list[Item]:
        """What they could buy, in the order of selling."""
        found = [item for item in self.shelf.values() if self.is_for(item, buyer, now=now)]
        return sorted(found, key=lambda item: (item.lead.called_in_at, item.id))

    def pick(self, standing: Iterable[Item], wanted: Criterion, basket: list[Item], people: set[str]) -> int:
        """Into the basket, nobody twice; how many."""
        found = 0
        for item in standing:
            if (
                found < wanted.quantity
                and item.matches(wanted)
                and item not in basket
                and not item.lead.phones & people
            ):
                basket.append(item)
                people |= item.lead.phones
                found += 1
        return found

    def fill(
        self, buyer: Customer, criteria: Sequence[Criterion], *, now: datetime
    ) -> tuple[list[Item], tuple[int, int] | None]:
        """What they get; or the first criterion that cannot be filled, and how far it could."""
        standing, basket, people = self.standing(buyer, now=now), list[Item](), set[str]()
        for index, wanted in enumerate(criteria):
            found = self.pick(standing, wanted, basket, people)
            if found < wanted.quantity:
                return [], (index, found)
        return basket, None

    def fill_items(self, buyer: Customer, chosen: Sequence[Item], *, now: datetime) -> list[Item]:
        """These, or others of the same kind and place; empty when there are too few."""
        standing, basket, people = self.standing(buyer, now=now), list[Item](), set[str]()
        for item in standing:
            if item in chosen and not item.lead.phones & people:
                basket.append(item)
                people |= item.lead.phones
        instead = Counter(item.place for item in chosen if item not in basket)
        for (classification, bucket, state, county), count in sorted(instead.items()):
            if self.pick(standing, Criterion(classification, bucket, count, state, county), basket, people) < count:
                return []
        return basket

    def sell(self, buyer: Customer, items: Sequence[Item], prices: dict[Kind, Decimal], *, now: datetime) -> None:
        for item in items:
            self._hand_over(buyer, Sold(item, prices[item.kind], now))
        buyer.balance -= sum(prices[item.kind] for item in items)

    def give_back(self, buyer: Customer, asked: Asked, *, now: datetime) -> None:
        """Accepted: another of its kind, from the same county or else the state, or the price."""
        item = asked.sale.item
        for county in (item.lead.county, ""):
            basket, _ = self.fill(buyer, [Criterion(*item.kind, 1, item.lead.state, county)], now=now)
            if basket:
                self._hand_over(buyer, Sold(basket[0], Decimal(0), now, is_replacement=True))
                asked.status = "replaced"
                return
        asked.status = "credited"
        buyer.balance += asked.sale.price

    @staticmethod
    def _hand_over(buyer: Customer, sale: Sold) -> None:
        sale.item.state = "sold"
        assert sale.item.id is not None
        buyer.sales[sale.item.id] = sale
        buyer.had |= sale.item.lead.phones
