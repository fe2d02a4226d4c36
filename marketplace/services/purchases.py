"""Quotes and purchases. An order is filled whole, in one transaction, or nothing of it happens.

How two buyers at one shelf keep out of each other's way:

- The buyer's own row is locked first: one order of theirs after another.
- Leads are taken with FOR UPDATE SKIP LOCKED, the oldest first. Nobody ever waits for a lead, so nobody can wait in a
  circle.
- Skipping means that two orders for the last leads could each hold half and both go away empty. An order that came up
  short while others hold leads lets go of everything, stands in line (one at a time, an advisory lock) and tries again
  until the others have decided.
- What must never happen is refused by the tables as well: one sale per lead and bucket, one per buyer and lead.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from crm.keys import uuid7
from crm.models import Business
from marketplace import pricing, queries
from marketplace.allocation import Alternative, Criterion, alternatives
from marketplace.enums import Account, EntryKind, Terms
from marketplace.models import Buyer, PricingRule, Purchase, Quote, Sale
from marketplace.pricing import NoPrice, say_money
from marketplace.services import books

_LINE: Final = 0x5363617263  # "Scarc": those who came up short, one after the other
_IN_LINE: Final = 3.0  # seconds at most
_PAUSE: Final = 0.02  # seconds between two looks


class CannotBuy(Exception):
    """The order cannot be carried out. `reasons` are sentences, for people; nothing was changed."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = list(reasons)


class NotForSale(Exception):
    """Items that are unknown, sold, closed, theirs already, or named twice. The ids are as they were given."""

    def __init__(self, ids: Sequence[UUID]) -> None:
        super().__init__(f"Some inventory items not found or unavailable: {[str(pk) for pk in ids]}")
        self.ids = list(ids)


class Short(Exception):
    """One criterion cannot be filled. `index` is its place when there were several."""

    def __init__(
        self, criterion: Criterion, *, available: int, index: int | None, alternatives: list[Alternative]
    ) -> None:
        super().__init__(f"{criterion}: {available} available.")
        self.criterion, self.available, self.index, self.alternatives = criterion, available, index, alternatives


@dataclass(frozen=True)
class Bought:
    """A filled order; `sale_ids` in the order of what was asked for."""

    purchase: Purchase
    sale_ids: list[UUID]
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class _Picked:
    """A lead that is ours as long as the transaction lasts."""

    item_id: UUID
    lead_id: UUID
    classification: str
    age_bucket: str
    state: str
    county: str
    marks: tuple[UUID, ...]


@dataclass
class _Basket:
    """What an order has taken so far, and whom it holds: nobody comes twice, under whatever lead."""

    picked: list[_Picked] = field(default_factory=list)
    people: set[UUID] = field(default_factory=set)
    passed_over: list[UUID] = field(default_factory=list)  # items of people who are in the basket

    def take(self, found: Iterable[_Picked]) -> list[_Picked]:
        """Those of `found` that are new people; the others are passed over."""
        taken = []
        for item in found:
            if self.people.intersection(item.marks):
                self.passed_over.append(item.item_id)
                continue
            self.people.update(item.marks)
            taken.append(item)
        self.picked += taken
        return taken


# --- Quotes ----------------------------------------------------------------------------------------------------------


def quote_items(*, business: Business, item_ids: Sequence[UUID], now: datetime) -> Quote:
    """Today's prices for these very items, for 15 minutes. Raises NotForSale, NoPrice."""
    there = queries.listed(item_ids, business=business, now=now)
    times = Counter(item_ids)
    missing = [pk for pk in dict.fromkeys(item_ids) if pk not in there or times[pk] > 1]
    if missing:
        raise NotForSale(missing)
    lines = []
    for pk in item_ids:
        item = there[pk]
        if item.unit_price is None:
            raise NoPrice(item.classification, item.age_bucket)
        lines.append(
            {
                "inventory_id": str(item.inventory_id),
                "lead_id": str(item.lead_id),
                "classification": item.classification,
                "age_bucket": item.age_bucket,
                "state": item.state,
                "county": item.county,
                "unit_price": str(item.unit_price),
            }
        )
    return _quote(business, "items", lines, now=now)


def quote_criteria(*, business: Business, criteria: Sequence[Criterion], now: datetime) -> Quote:
    """Today's prices for so many leads of these kinds, for 15 minutes. Raises NoPrice.

    It holds prices, not leads: who buys first gets them.
    """
    rules = queries.rules_in_force(now=now)
    lines = [asdict(wanted) | {"unit_price": str(_price(rules, wanted))} for wanted in criteria]
    return _quote(business, "criteria", lines, now=now)


def _quote(business: Business, kind: str, lines: list[dict[str, Any]], *, now: datetime) -> Quote:
    counted = [(int(line.get("quantity", 1)), Decimal(line["unit_price"])) for line in lines]
    quote = Quote(
        business=business, kind=kind, lines=lines, total_items=sum(quantity for quantity, _ in counted),
        subtotal=pricing.total(counted), created_at=now, expires_at=pricing.expires_at(now),
    )  # fmt: skip
    quote.save(force_insert=True)
    return quote


# --- Purchases -------------------------------------------------------------------------------------------------------


def buy_by_criteria(*, business: Business, criteria: Sequence[Criterion], by: str, now: datetime) -> Bought:
    """So many leads of these kinds, the oldest first. Raises CannotBuy, Short (then nothing was bought)."""
    with transaction.atomic():
        buyer = _admit(business)
        rules = queries.rules_in_force(now=now)
        return _buy_criteria(buyer, criteria, by=by, now=now, prices=_prices(rules), rules=rules)


def buy_items(*, business: Business, item_ids: Sequence[UUID], by: str, now: datetime) -> Bought:
    """These very leads; one that has gone meanwhile is replaced by another of its kind and place.

    Raises CannotBuy when an id is unknown or named twice, or when there is no replacement; then nothing was bought.
    """
    with transaction.atomic():
        buyer = _admit(business)
        rules = queries.rules_in_force(now=now)
        return _buy_items(buyer, item_ids, by=by, now=now, prices=_prices(rules), rules=rules)


def buy_quote(*, business: Business, quote_id: UUID, by: str, now: datetime) -> Bought:
    """What was quoted, at the prices of the quote. Raises CannotBuy for one that is unknown, expired or used; Short."""
    with transaction.atomic():
        buyer = _admit(business)  # also: the same quote twice at once is one after the other
        quote = Quote.objects.for_business(business).filter(pk=quote_id).first()
        if quote is None:
            raise CannotBuy("There is no such quote. Please request a new quote.")
        used = Purchase.objects.for_business(business).filter(quote=quote).first()
        if used is not None:
            raise CannotBuy(f"This quote was bought already: {used}.")
        if pricing.has_expired(quote.expires_at, now=now):
            raise CannotBuy("Quote has expired. Please request a new quote.")
        rules = queries.rules_in_force(now=now)
        prices = {(line["classification"], line["age_bucket"]): Decimal(line["unit_price"]) for line in quote.lines}
        if quote.kind == "items":
            wanted = [UUID(line["inventory_id"]) for line in quote.lines]
            return _buy_items(buyer, wanted, by=by, now=now, prices=prices, rules=rules, quote=quote)
        criteria = [
            Criterion(**{name: value for name, value in line.items() if name != "unit_price"}) for line in quote.lines
        ]
        return _buy_criteria(buyer, criteria, by=by, now=now, prices=prices, rules=rules, quote=quote)


_Prices = Mapping[tuple[str, str], Decimal]
_Rules = Mapping[tuple[str, str], PricingRule]


def _buy_criteria(
    buyer: Buyer, criteria: Sequence[Criterion], *, by: str, now: datetime, prices: _Prices, rules: _Rules,
    quote: Quote | None = None,
) -> Bought:  # fmt: skip
    for wanted in criteria:
        if (wanted.classification, wanted.age_bucket) not in prices:
            raise CannotBuy(str(NoPrice(wanted.classification, wanted.age_bucket)))
    _afford(buyer, pricing.total((w.quantity, prices[w.classification, w.age_bucket]) for w in criteria))

    def fill(basket: _Basket) -> tuple[int, int] | None:
        for index, wanted in enumerate(criteria):
            taken = _take(buyer.business, basket, wanted, now=now)
            if taken < wanted.quantity:
                return index, taken
        return None

    basket, shortage = _fill(fill, buyer.business, criteria, now=now)
    if shortage is not None:
        index, taken = shortage
        wanted = criteria[index]
        raise Short(
            wanted,
            available=taken,
            index=index if len(criteria) > 1 else None,
            alternatives=alternatives(
                wanted,
                available=taken,
                price=prices[wanted.classification, wanted.age_bucket],
                count=lambda other: count_available(business=buyer.business, criterion=other, now=now),
            ),
        )
    asked = [asdict(wanted) for wanted in criteria]
    return _close_order(buyer, basket.picked, by=by, now=now, prices=prices, rules=rules, quote=quote, criteria=asked)


def _buy_items(
    buyer: Buyer, item_ids: Sequence[UUID], *, by: str, now: datetime, prices: _Prices, rules: _Rules,
    quote: Quote | None = None,
) -> Bought:  # fmt: skip
    kinds = _kinds(item_ids)
    times = Counter(item_ids)
    strangers = sum(times[pk] if pk not in kinds else times[pk] - 1 for pk in times)
    if strangers:
        raise CannotBuy(f"{strangers} requested items are no longer available or don't exist")
    for classification, bucket, _, _ in kinds.values():
        if (classification, bucket) not in prices:
            raise CannotBuy(str(NoPrice(classification, bucket)))
    _afford(buyer, pricing.total((1, prices[kind[0], kind[1]]) for kind in kinds.values()))

    def fill(basket: _Basket) -> tuple[int, int] | None:
        taken = basket.take(_pick_items(buyer.business, list(item_ids), now=now))
        _mark_sold(taken, now=now)
        gone = Counter(kinds[pk] for pk in set(item_ids) - {item.item_id for item in taken})
        for (classification, bucket, state, county), count in sorted(gone.items()):
            wanted = Criterion(classification, bucket, count, state, county)
            if _take(buyer.business, basket, wanted, now=now) < count:
                return 0, len(basket.picked)
        return None

    criteria = [Criterion(c, b, n, s, y) for (c, b, s, y), n in sorted(Counter(kinds.values()).items())]
    basket, shortage = _fill(fill, buyer.business, criteria, now=now)
    if shortage is not None:
        requested, possible = len(item_ids), shortage[1]
        raise CannotBuy(
            f"Unable to fulfill complete order. Requested {requested} leads, but only {possible} available (shortage of"
            f" {requested - possible}).",
            f"Please try again with {possible} leads or wait for more inventory.",
        )
    place = {pk: index for index, pk in enumerate(item_ids)}
    ordered = sorted(basket.picked, key=lambda item: place.get(item.item_id, len(place)))
    replaced = sum(item.item_id not in place for item in ordered)
    return _close_order(buyer, ordered, by=by, now=now, prices=prices, rules=rules, quote=quote, replaced=replaced)


def _admit(business: Business) -> Buyer:
    """Take the buyer's turn. Raises CannotBuy for those who may not buy."""
    try:
        buyer = books.lock_buyer(business)
    except Buyer.DoesNotExist:
        raise CannotBuy("Client not found") from None
    if not buyer.may_buy:
        status = buyer.status if buyer.business.is_active else "suspended"
        verified = buyer.email_verified_at is not None
        raise CannotBuy(f"Client account cannot purchase (status: {status}, email_verified: {verified})")
    return buyer


def _afford(buyer: Buyer, cost: Decimal) -> None:
    if buyer.terms == Terms.PREPAID and buyer.balance - cost < -buyer.credit_limit:
        left = buyer.balance + buyer.credit_limit
        raise CannotBuy(
            f"This order costs {say_money(cost)} and {say_money(left)} can be spent. Top up"
            f" {say_money(cost - left)} or order less."
        )


def _prices(rules: _Rules) -> _Prices:
    return {kind: rule.price for kind, rule in rules.items()}


def _price(rules: _Rules, wanted: Criterion) -> Decimal:
    rule = rules.get((wanted.classification, wanted.age_bucket))
    if rule is None:
        raise NoPrice(wanted.classification, wanted.age_bucket)
    return rule.price


# --- Taking leads off the shelf ---------------------------------------------------------------------------------------


_FillBasket = Callable[[_Basket], tuple[int, int] | None]


def _fill(
    fill: _FillBasket, business: Business, criteria: Sequence[Criterion], *, now: datetime
) -> tuple[_Basket, tuple[int, int] | None]:
    """A full basket, or (index of the criterion, how many there were). What a short try had locked is free again."""
    until = time.monotonic() + _IN_LINE
    in_line, nobody_held_any = False, 0
    while True:
        basket, shortage = _try(fill)
        if shortage is None:
            return basket, None
        if not _others_hold_some(business, criteria[shortage[0] :], now=now):
            nobody_held_any += 1  # or they let go between our two looks: so once more
        elif in_line:
            nobody_held_any = 0
            time.sleep(_PAUSE)
        else:
            with connection.cursor() as cursor:  # released with the transaction
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LINE])
            in_line, nobody_held_any = True, 0
        if nobody_held_any == 2 or time.monotonic() > until:
            return basket, shortage


def _try(fill: _FillBasket) -> tuple[_Basket, tuple[int, int] | None]:
    basket = _Basket()
    with transaction.atomic():  # a savepoint: rolled back, every lock taken since is let go
        shortage = fill(basket)
        if shortage is not None:
            transaction.set_rollback(True)
    return basket, shortage


def _others_hold_some(business: Business, criteria: Sequence[Criterion], *, now: datetime) -> bool:
    """Whether more leads of these kinds stand on the shelf than can be locked at this moment."""
    reach = sum(wanted.quantity for wanted in criteria)
    for wanted in criteria:
        sql, values = _wanted(business, wanted, [], now=now)
        locked = transaction.savepoint()
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT (SELECT count(*) FROM (SELECT 1 {sql} LIMIT %(reach)s) AS standing),"
                f" (SELECT count(*) FROM (SELECT 1 {sql} LIMIT %(reach)s FOR KEY SHARE OF i SKIP LOCKED) AS free)",
                values | {"reach": reach},
            )
            standing, free = cursor.fetchone()
        transaction.savepoint_rollback(locked)  # looking must not hold what others want
        if standing > free:
            return True
    return False


def _take(business: Business, basket: _Basket, wanted: Criterion, *, now: datetime) -> int:
    """Put up to `wanted.quantity` leads into the basket and mark them sold. Returns how many."""
    taken = 0
    while taken < wanted.quantity:
        missing = wanted.quantity - taken
        found = _pick(business, wanted, missing, basket.passed_over, now=now)
        fresh = basket.take(found)
        _mark_sold(fresh, now=now)
        taken += len(fresh)
        if len(found) < missing:
            break
    return taken


_PICKED = "i.id, i.lead_id, i.classification, i.age_bucket, i.state, i.county, l.phone_mark, l.other_mark"


def _pick(
    business: Business, wanted: Criterion, count: int, passed_over: list[UUID], *, now: datetime
) -> list[_Picked]:
    sql, values = _wanted(business, wanted, passed_over, now=now)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_PICKED} {sql} ORDER BY i.called_in_at, i.id LIMIT %(count)s FOR UPDATE OF i SKIP LOCKED",
            values | {"count": count},
        )
        return [_picked(row) for row in cursor.fetchall()]


def _pick_items(business: Business, item_ids: list[UUID], *, now: datetime) -> list[_Picked]:
    in_window, values = queries.in_some_window(queries.Filter(), now=now)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_PICKED} FROM marketplace_inventoryitem i JOIN marketplace_agedlead l ON l.id = i.lead_id"
            f" WHERE i.id = ANY(%(ids)s) AND {queries.FOR_SALE} AND {in_window} AND {queries.MAY_BE_SOLD}"
            f" AND {queries.IS_NEW_TO_THEM} ORDER BY i.called_in_at, i.id FOR UPDATE OF i SKIP LOCKED",
            values | {"ids": item_ids, "business": business.pk},
        )
        return [_picked(row) for row in cursor.fetchall()]


def _wanted(
    business: Business, wanted: Criterion, passed_over: list[UUID], *, now: datetime
) -> tuple[str, dict[str, Any]]:
    """FROM and WHERE of what may be sold to this buyer under a criterion; items are `i`, leads `l`."""
    in_window, values = queries.in_window(wanted.age_bucket, now=now)
    sql = (
        "FROM marketplace_inventoryitem i JOIN marketplace_agedlead l ON l.id = i.lead_id"
        f" WHERE {queries.FOR_SALE} AND i.classification = %(classification)s AND i.age_bucket = %(age_bucket)s"
        f" AND {in_window} AND {queries.MAY_BE_SOLD} AND {queries.IS_NEW_TO_THEM}"
    )
    values |= asdict(wanted) | {"business": business.pk}
    if wanted.state:
        sql += " AND i.state = %(state)s"
    if wanted.county:
        sql += " AND i.county = %(county)s"
    if passed_over:
        sql += " AND i.id <> ALL(%(passed_over)s)"
        values["passed_over"] = passed_over
    return sql, values


def _picked(row: tuple[Any, ...]) -> _Picked:
    return _Picked(*(*row[:6], tuple(mark for mark in row[6:] if mark is not None)))


def _mark_sold(items: Sequence[_Picked], *, now: datetime) -> None:
    if items:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE marketplace_inventoryitem SET sold_at = %s WHERE id = ANY(%s)",
                [now, [item.item_id for item in items]],
            )


def _kinds(item_ids: Sequence[UUID]) -> dict[UUID, tuple[str, str, str, str]]:
    """Class, bucket, state and county of the items that exist, whatever became of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, classification, age_bucket, state, county FROM marketplace_inventoryitem WHERE id = ANY(%s)",
            [list(item_ids)],
        )
        return {row[0]: row[1:] for row in cursor.fetchall()}


def replace_sale(*, sale: Sale, buyer: Buyer, wanted: Criterion, now: datetime) -> Sale | None:
    """Another lead in place of a returned one, at no charge: in the caller's transaction, the buyer locked.

    From the same county if there is one, else the same state; None when there is none.
    """
    basket = _Basket()
    for place in (wanted, replace(wanted, county="")):
        if _take(buyer.business, basket, place, now=now):
            break
    else:
        return None
    # The order was paid with the lead it replaces; the books would count the price twice.
    prices = {(sale.classification, sale.age_bucket): Decimal("0.00")}
    ids = write_sales(purchase=sale.purchase, picked=basket.picked, prices=prices, rules={}, now=now)
    # It has something new to put into Leads.
    Purchase.objects.for_business(buyer.business).filter(pk=sale.purchase_id).update(landed_at=None)
    return Sale.objects.for_business(buyer.business).get(pk=ids[0])


def count_available(*, business: Business, criterion: Criterion, now: datetime) -> int:
    """How many leads this buyer could buy under a criterion, whatever quantity it names."""
    wanted = queries.Filter(
        classifications=(criterion.classification,),
        buckets=(criterion.age_bucket,),
        states=(criterion.state,) if criterion.state else (),
        counties=(criterion.county,) if criterion.county else (),
    )
    return queries.available_to(business, wanted, now=now)[0]


# --- Closing the order -------------------------------------------------------------------------------------------------


def _close_order(
    buyer: Buyer, picked: Sequence[_Picked], *, by: str, now: datetime, prices: _Prices, rules: _Rules,
    quote: Quote | None, criteria: list[dict[str, Any]] | None = None, replaced: int = 0,
) -> Bought:  # fmt: skip
    """Write down the order, its sales and its entry; the leads are in the basket and marked sold."""
    if not picked:
        raise CannotBuy("Choose at least one lead.")
    total = pricing.total((1, prices[item.classification, item.age_bucket]) for item in picked)
    purchase = Purchase(
        business=buyer.business, number=_next_number(), quote=quote, criteria=criteria or [], quantity=len(picked),
        replaced=replaced, total=total, bought_by=by[:120], created_at=now,
    )  # fmt: skip
    purchase.save(force_insert=True)
    sale_ids = write_sales(purchase=purchase, picked=picked, prices=prices, rules=rules, now=now)
    leads = "1 lead" if len(picked) == 1 else f"{len(picked):,} leads"
    books.post(
        business=buyer.business, kind=EntryKind.PURCHASE, text=f"{purchase}: {leads}", about=f"purchase:{purchase.pk}",
        lines={Account.BUYER: -total, Account.SALES: total}, now=now,
    )  # fmt: skip
    return Bought(purchase=purchase, sale_ids=sale_ids, replaced=replaced)


def write_sales(
    *, purchase: Purchase, picked: Sequence[_Picked], prices: _Prices, rules: _Rules, now: datetime
) -> list[UUID]:
    """The sales of leads that are marked sold, and that the buyer knows these people from now on."""
    sale_ids = [uuid7() for _ in picked]
    kinds = [(item.classification, item.age_bucket) for item in picked]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO marketplace_sale (id, business_id, purchase_id, item_id, lead_id, classification, age_bucket,"
            " price, currency, pricing_rule_id, sold_at)"
            " SELECT s.id, %(business)s, %(purchase)s, s.item, s.lead, s.classification, s.bucket, s.price, %(currency)s,"
            " s.rule, %(now)s FROM unnest(%(ids)s::uuid[], %(items)s::uuid[], %(leads)s::uuid[], %(classes)s::text[],"
            " %(buckets)s::text[], %(prices)s::numeric[], %(rules)s::uuid[])"
            " AS s (id, item, lead, classification, bucket, price, rule)",
            {
                "business": purchase.business_id,
                "purchase": purchase.pk,
                "currency": pricing.CURRENCY,
                "now": now,
                "ids": sale_ids,
                "items": [item.item_id for item in picked],
                "leads": [item.lead_id for item in picked],
                "classes": [classification for classification, _ in kinds],
                "buckets": [bucket for _, bucket in kinds],
                "prices": [prices[kind] for kind in kinds],
                "rules": [_rule(rules, kind, prices[kind]) for kind in kinds],
            },
        )
        cursor.execute(
            "INSERT INTO marketplace_knownphone (id, business_id, mark, source, created_at)"
            " SELECT marketplace_uuid7(), %(business)s, mark, 'bought', %(now)s FROM unnest(%(marks)s::uuid[]) AS mark"
            # On a list they uploaded a moment ago: bought from now on, so that clearing their lists leaves it.
            " ON CONFLICT (business_id, mark) DO UPDATE SET source = 'bought' WHERE marketplace_knownphone.source <> 'bought'",
            {
                "business": purchase.business_id,
                "now": now,
                "marks": sorted({mark for item in picked for mark in item.marks}),
            },
        )
    return sale_ids


def _rule(rules: _Rules, kind: tuple[str, str], price: Decimal) -> UUID | None:
    """The rule a price comes from; None when a quote had locked an older one."""
    rule = rules.get(kind)
    return rule.pk if rule is not None and rule.price == price else None


def _next_number() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('marketplace_purchase_number')")
        return int(cursor.fetchone()[0])
