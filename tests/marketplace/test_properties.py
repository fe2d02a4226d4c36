"""Anything that may happen in the marketplace, in any order: after every step the tables say what a sheet of paper says
(`paper`), everything that must always be true is true (`truths`), and what was refused has left no trace.

A story is made of steps, each with dice of its own, so that it can be told again without some of them: when one goes
wrong, the shortest that still does is shown.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction

from crm import consent
from crm.enums import ConsentSource
from crm.models import Business
from crm.scoping import every_business, only
from crm.services import Refused, add_business
from marketplace import queries
from marketplace.allocation import Criterion
from marketplace.enums import GoneBecause, ReturnReason, Terms
from marketplace.models import PricingRule, Return, Sale
from marketplace.services import books, ingest, inventory, known, prices, purchases, recalls, returns, withdrawals
from marketplace.services.purchases import Bought, CannotBuy, NotForSale, Short
from tests.conftest import NOW
from tests.marketplace.lead_files import a_row, csv_bytes
from tests.marketplace.paper import BUCKETS, EDGES, Asked, Customer, Item, Kind, Lead, Paper
from tests.marketplace.stock import a_buyer
from tests.marketplace.truths import everything, untruths

STORIES: Final = 10
STEPS: Final = 50

PEOPLE: Final = [f"+1318555{number:04d}" for number in range(1, 13)]
PLACES: Final = {"Caddo": "LA", "Acadia": "LA", "Travis": "TX", "Nowhere": "ZZ"}  # county: state
ZONES: Final = {"LA": ZoneInfo("America/Chicago"), "TX": ZoneInfo("America/Chicago"), "ZZ": UTC}
DATE: Final = "%m-%d-%Y %H:%M:%S"
AGES: Final = (*EDGES, *(edge - 1 for edge in EDGES), 0, 88, 100, 200, 200, 200, 300, 400, 800)  # days
FLAWS: Final = ("", "", "", "", "again", "filled in", "no date", "bad date", "no state")
AMOUNTS: Final = (Decimal("10.00"), Decimal("25.00"), Decimal("0.01"), Decimal(0), Decimal("0.001"))
SECOND: Final = timedelta(seconds=1)

# What may happen, and how often.
LIFE: Final = {
    "a_file_comes": 5,
    "time_passes": 3,
    "somebody_is_about_to_grow_older": 4,
    "the_shelf_rolls_over": 6,
    "the_stock_is_tidied": 1,
    "staff_withdraw_a_lead": 2,
    "staff_put_a_lead_back": 2,
    "a_price_is_set": 3,
    "a_planned_price_is_taken_back": 1,
    "a_buyer_looks": 3,
    "a_buyer_orders_by_criteria": 12,
    "a_buyer_orders_items": 8,
    "a_buyer_asks_what_criteria_cost": 2,
    "a_buyer_asks_what_items_cost": 3,
    "a_quote_is_bought": 5,
    "a_price_changes_under_a_quote": 5,
    "money_moves": 4,
    "terms_change": 2,
    "a_lead_is_given_back": 8,
    "staff_decide_on_a_return": 6,
    "a_buyer_uploads_whom_they_know": 2,
    "a_buyer_clears_their_list": 2,
    "somebody_says_stop": 2,
    "the_marketplace_hears_of_it": 2,
    "somebody_writes_to_the_marketplace": 1,
    "the_daily_look": 1,
}
Story = list[tuple[str, str]]  # what happens, and the seed of its dice


@dataclass
class Stage:
    """What stands before the first step."""

    buyers: dict[Business, tuple[int, int]]  # days and percent of their returns
    somebody: Business  # who buys nothing, and hears people say STOP
    folder: Path


@dataclass
class Quoted:
    id: UUID
    business: Business
    until: datetime
    prices: dict[Kind, Decimal]
    criteria: Sequence[Criterion] = ()
    items: Sequence[Item] = ()
    used: bool = False


class Market:
    """The real one, and the paper beside it. Every step takes a second; some take months."""

    def __init__(self, stage: Stage) -> None:
        self.now, self.paper, self.stage = NOW, Paper(), stage
        self.buyers = {business: Customer(*terms) for business, terms in stage.buyers.items()}
        self.written: list[dict[str, str]] = []  # rows of files that became leads
        self.quotes: list[Quoted] = []
        self.number = count()
        yesterday = NOW - timedelta(days=1)
        for bucket, gold in zip(BUCKETS, (10, 8, 6, 5, 4), strict=True):
            for classification, price in (("Gold", Decimal(gold)), ("Silver", Decimal(gold) / 2)):
                self.paper.prices[classification, bucket] = {yesterday: price}
                prices.set_price(classification=classification, age_bucket=bucket, price=price, now=yesterday)
        dice = random.Random(1)  # the same shelf for every story
        ages = (95, 150, 200, 200, 200, 260, 268, 300, 400, 750)
        self.load(
            [
                self.row(dice.choice(ages), dice.randrange(80_000), person, "", county, is_gold=dice.random() < 0.8)
                for person, county in zip([*PEOPLE * 2, *[""] * 4], cycle(PLACES), strict=False)
            ]
        )
        self.compare()

    def step(self, happens: str, seed: str) -> None:
        self.now += SECOND
        getattr(self, happens)(random.Random(seed))
        assert untruths() == []
        self.compare()

    def compare(self) -> None:
        """The tables with the paper; and note down which item got which id."""
        with connection.cursor() as cursor:

            def read(sql: str) -> set[Any]:
                cursor.execute(sql)
                return set(cursor.fetchall())

            shelf = read(
                "SELECT lead_id, age_bucket, CASE WHEN sold_at IS NOT NULL THEN 'sold' WHEN closed_at IS NOT NULL THEN"
                " closed_because ELSE 'open' END, id FROM marketplace_inventoryitem"
            )
            sales = read("SELECT business_id, item_id, price, sold_at FROM marketplace_sale")
            balances = read("SELECT business_id, balance FROM marketplace_buyer")
            recalled = read("SELECT lead_id, because FROM marketplace_recall")
            given_back = read(
                "SELECT r.business_id, s.item_id, r.status FROM marketplace_return r"
                " JOIN marketplace_sale s ON s.id = r.sale_id"
            )
        assert {row[:3] for row in shelf} == {(*key, item.state) for key, item in self.paper.shelf.items()}
        for lead, bucket, _, pk in shelf:
            self.paper.shelf[lead, bucket].id = pk
        buyers = {business.pk: buyer for business, buyer in self.buyers.items()}
        assert sales == {
            (pk, sold.item.id, sold.price, sold.at) for pk, buyer in buyers.items() for sold in buyer.sales.values()
        }
        assert balances == {(pk, buyer.balance) for pk, buyer in buyers.items()}
        assert recalled == self.paper.recalls
        assert given_back == {
            (pk, item, asked.status) for pk, buyer in buyers.items() for item, asked in buyer.returns.items()
        }

    def refused(self, error: type[Exception], call: Callable[[], object]) -> Any:
        """It is, and leaves no trace."""
        before = everything()
        with pytest.raises(error) as refusal:
            call()
        assert everything() == before
        return refusal.value

    def a_buyer(self, dice: random.Random) -> tuple[Business, Customer]:
        return dice.choice(list(self.buyers.items()))

    def items(self) -> list[Item]:
        """Every item there ever was, the same in every telling."""
        return sorted(self.paper.shelf.values(), key=lambda item: (item.lead.row, item.bucket))

    # --- leads come in, and grow older

    def row(self, days: int, seconds: int, person: str, other: str, county: str, *, is_gold: bool) -> dict[str, str]:
        """A row nobody sent before, of somebody who called so long ago."""
        state = PLACES[county]
        called = (self.now - timedelta(days=days, seconds=seconds)).astimezone(ZONES[state])
        return a_row(
            next(self.number), call_in_date=f"{called:{DATE}}", county=county, state=state, borrower_phone=person,
            call_in_phone_number=other, borrower_age="45" if is_gold else "",
        )  # fmt: skip

    def a_file_comes(self, dice: random.Random) -> None:
        people = [*PEOPLE, "", ""]
        sent = []
        for _ in range(dice.randint(1, 5)):
            row = self.row(
                dice.choice(AGES), dice.choice([0, -2, 20_000]), dice.choice(people), dice.choice(["", dice.choice(people)]),
                dice.choice(list(PLACES)), is_gold=dice.random() < 0.7,
            )  # fmt: skip
            flaw = dice.choice(FLAWS)
            if flaw in ("again", "filled in"):
                row = dice.choice([*self.written, *sent])
            if flaw == "filled in":
                row = row | {"Borrower Age": "44", "City": "Somewhere else"}
            blank = {
                "no date": {"Call In Date": " "},
                "bad date": {"Call In Date": "2026-01-31"},
                "no state": {"State": ""},
            }
            sent.append(row | blank.get(flaw, {}))
        self.load(sent)

    def load(self, sent: Sequence[dict[str, str]]) -> None:
        """Send this file, and say beforehand what becomes of each row."""
        expected: Counter[str] = Counter()
        new: dict[str, dict[str, str]] = {}
        there = {row["Mortage ID"] for row in self.written}
        for row in sent:
            if self._phones(row) & (self.paper.opted_out | self.paper.erased):
                expected["blocked"] += 1
            elif not row["Call In Date"].strip() or not row["State"]:
                expected["skipped"] += 1
            elif row["Call In Date"].startswith("20") or self._called_in_at(row) > self.now:
                expected["failed"] += 1
            elif row["Mortage ID"] in there or row["Mortage ID"] in new:
                expected["known"] += 1
            else:
                new[row["Mortage ID"]] = row
                expected.update(["successful", self._class(row).lower()])
        path = self.stage.folder / "leads.csv"
        path.write_bytes(csv_bytes(sent))
        run = ingest.take(run=ingest.begin(name="leads.csv", source=path, actor=None, now=self.now), now=self.now)
        assert run is not None
        run = ingest.work_on(run=run, clock=lambda: self.now, source=path, stretch=3)
        counted = ("successful", "known", "blocked", "failed", "skipped", "gold", "silver")
        assert +Counter({name: getattr(run, name) for name in counted}) == expected
        self._note_down(new)

    def _note_down(self, new: dict[str, dict[str, str]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT mortgage_id, id FROM marketplace_agedlead WHERE mortgage_id = ANY(%s)", [list(new)])
            ids = dict(cursor.fetchall())
        for key, row in new.items():
            lead = Lead(
                id=ids[key], row=len(self.written), classification=self._class(row), phones=self._phones(row),
                called_in_at=self._called_in_at(row), state=row["State"], county=row["County"],
            )  # fmt: skip
            self.written.append(row)
            self.paper.leads[lead.id] = lead
            self.paper.open(lead, now=self.now)

    @staticmethod
    def _called_in_at(row: dict[str, str]) -> datetime:
        return datetime.strptime(row["Call In Date"], DATE).replace(tzinfo=ZONES[row["State"]]).astimezone(UTC)

    @staticmethod
    def _phones(row: dict[str, str]) -> frozenset[str]:
        return frozenset({row["Borrower Phone"], row["Call In Phone Number"]} - {""})

    @staticmethod
    def _class(row: dict[str, str]) -> str:
        return "Gold" if row["Borrower Age"] and row["Borrower Phone"] else "Silver"

    def time_passes(self, dice: random.Random) -> None:
        self.now += timedelta(minutes=dice.choice([16, 60, 1_440, 11 * 1_440, 31 * 1_440, 95 * 1_440]))

    def somebody_is_about_to_grow_older(self, dice: random.Random) -> None:
        """The next step finds them on the last second of a bucket, or on the first of another."""
        edges = [
            lead.called_in_at + timedelta(days=edge) for lead in self.paper.leads.values() for edge in EDGES
        ]  # fmt: skip
        to_come = sorted(moment for moment in edges if moment > self.now + 2 * SECOND)[:10]
        if to_come:
            self.now = dice.choice(to_come) - dice.choice([1, 2]) * SECOND

    def the_shelf_rolls_over(self, dice: random.Random) -> None:
        rolled = inventory.roll_over(now=self.now, whole=dice.random() < 0.3)
        assert (rolled.created, rolled.closed) == self.paper.roll_over(now=self.now)

    def the_stock_is_tidied(self, _dice: random.Random) -> None:
        inventory.tidy_stock()

    def staff_withdraw_a_lead(self, dice: random.Random) -> None:
        lead = dice.choice(self.items()).lead
        on_the_shelf = [item for item in self.paper.items_of(lead) if item.state == "open"]

        def withdraw() -> None:
            withdrawals.withdraw(lead_id=lead.id, reason="A complaint", actor=None, now=self.now)

        if not on_the_shelf:
            self.refused(Refused, withdraw)
            return
        withdraw()
        for item in on_the_shelf:
            item.state = "withdrawn"

    def staff_put_a_lead_back(self, dice: random.Random) -> None:
        lead = dice.choice([item for item in self.items() if item.state == "withdrawn"] or self.items()).lead
        withdrawn = [item for item in self.paper.items_of(lead) if item.state == "withdrawn"]

        def put_back() -> bool:
            return withdrawals.put_back(lead_id=lead.id, reason="Settled", actor=None, now=self.now)

        if not withdrawn or lead.erased or lead.phones & (self.paper.opted_out | self.paper.erased):
            self.refused(Refused, put_back)
            return
        for item in withdrawn:
            item.state = "open" if item.bucket == lead.bucket(self.now) else "aged_out"
        opened = self.paper.open(lead, now=self.now)
        assert put_back() == (opened or any(item.state == "open" for item in withdrawn))

    # --- prices

    def a_price_is_set(self, dice: random.Random) -> None:
        since = self.now + timedelta(days=dice.choice([0, 0, 3, 40]))
        self.set_price(dice, dice.choice(list(self.paper.prices)), since=since)

    def set_price(self, dice: random.Random, kind: Kind, *, since: datetime) -> None:
        price = dice.choice(AMOUNTS)

        def set_it() -> object:
            return prices.set_price(
                classification=kind[0], age_bucket=kind[1], price=price, now=self.now, effective_from=since
            )

        if price != round(price, 2):
            self.refused(Refused, set_it)
            return
        set_it()
        self.paper.prices[kind][since] = price

    def a_planned_price_is_taken_back(self, dice: random.Random) -> None:
        planned = [(kind, since) for kind, found in self.paper.prices.items() for since in found if since > self.now]
        kind, since = dice.choice(planned or [(kind, max(found)) for kind, found in self.paper.prices.items()])
        rule = PricingRule.objects.get(classification=kind[0], age_bucket=kind[1], effective_from=since)
        if not planned:
            self.refused(Refused, lambda: prices.take_back(rule=rule, actor=None, now=self.now))
            return
        prices.take_back(rule=rule, actor=None, now=self.now)
        del self.paper.prices[kind][since]

    def prices_now(self) -> dict[Kind, Decimal]:
        return {kind: self.paper.price(kind, now=self.now) for kind in self.paper.prices}

    # --- looking and buying

    def criteria(self, dice: random.Random) -> list[Criterion]:
        """Mostly something there is."""
        found = []
        for _ in range(dice.choice([1, 1, 2])):
            item = dice.choice([item for item in self.items() if item.state == "open"] or self.items())
            place = dice.choice([(item.lead.state, item.lead.county), (item.lead.state, ""), ("", ""), ("", "")])
            bucket = item.bucket if dice.random() < 0.8 else dice.choice(BUCKETS)
            found.append(Criterion(item.lead.classification, bucket, dice.choice([1, 1, 2, 3]), *place))
        return found

    def choice(self, dice: random.Random) -> tuple[list[Item], list[UUID]]:
        """Some items, mostly on the shelf; and their ids, with one twice or one nobody knows."""
        there = [item for item in self.items() if item.state == "open"] if dice.random() < 0.8 else []
        chosen = dice.sample(there or self.items(), k=min(dice.choice([1, 1, 2, 3]), len(there or self.items())))
        ids = [item.id for item in chosen if item.id]
        return chosen, [*ids, *dice.choice([[], [], [], [], [], ids[:1], [UUID(int=0)]])]

    def a_buyer_looks(self, dice: random.Random) -> None:
        """Page by page they see what they could buy, the oldest first, at today's prices; and the count fits."""
        business, buyer = self.a_buyer(dice)
        wanted = queries.Filter(
            classifications=dice.choice([(), ("Gold",)]), buckets=dice.choice([(), ("MONTH_6_TO_8", "MONTH_9_TO_11")]),
            states=dice.choice([(), ("LA",), ("LA", "TX")]),
        )  # fmt: skip
        seen, limit, after = [], dice.randint(1, 6), ""
        with only(business):
            while True:
                page = queries.browse(business, wanted, now=self.now, limit=limit, after=after)
                seen += [(item.inventory_id, item.unit_price) for item in page.items]
                after = page.after
                if not after:
                    break

        def fits(item: Item) -> bool:
            asked = (
                (wanted.classifications, item.lead.classification),
                (wanted.buckets, item.bucket),
                (wanted.states, item.lead.state),
            )
            return all(not some or this in some for some, this in asked)

        standing = [item for item in self.paper.standing(buyer, now=self.now) if fits(item)]
        assert seen == [(item.id, self.paper.price(item.kind, now=self.now)) for item in standing]
        # Whoever said STOP since the marketplace last heard is not shown, but counted.
        unheard = [
            item
            for item in self.paper.shelf.values()
            if item.state == "open" and item.bucket == item.lead.bucket(self.now) and fits(item)
            and item.lead.phones & (self.paper.opted_out - self.paper.heard_of)
            and not item.lead.phones & (buyer.had | buyer.listed)
        ]  # fmt: skip
        assert (page.total, page.is_exact) == (len(standing) + len(unheard), True)

    def a_buyer_orders_by_criteria(self, dice: random.Random) -> None:
        business, _ = self.a_buyer(dice)
        wanted = self.criteria(dice)

        def buy() -> Bought:
            return purchases.buy_by_criteria(business=business, criteria=wanted, by="", now=self.now)

        self.order_criteria(business, wanted, self.prices_now(), buy)

    def a_buyer_orders_items(self, dice: random.Random) -> None:
        business, _ = self.a_buyer(dice)
        chosen, ids = self.choice(dice)

        def buy() -> Bought:
            return purchases.buy_items(business=business, item_ids=ids, by="", now=self.now)

        self.order_items(business, chosen, ids, self.prices_now(), buy)

    def a_buyer_asks_what_criteria_cost(self, dice: random.Random) -> None:
        business, _ = self.a_buyer(dice)
        wanted, locked = self.criteria(dice), self.prices_now()
        with only(business):
            quote = purchases.quote_criteria(business=business, criteria=wanted, now=self.now)
        assert quote.subtotal == sum(one.quantity * locked[one.classification, one.age_bucket] for one in wanted)
        self.quotes.append(Quoted(quote.pk, business, self.now + timedelta(minutes=15), locked, criteria=wanted))

    def a_buyer_asks_what_items_cost(self, dice: random.Random) -> None:
        business, buyer = self.a_buyer(dice)
        chosen, ids = self.choice(dice)
        theirs = {item.id for item in chosen if self.paper.is_for(item, buyer, now=self.now)}
        missing = [pk for pk in dict.fromkeys(ids) if pk not in theirs or ids.count(pk) > 1]
        locked = self.prices_now()
        with only(business):
            if missing:
                refusal = self.refused(
                    NotForSale, lambda: purchases.quote_items(business=business, item_ids=ids, now=self.now)
                )
                assert refusal.ids == missing
                return
            quote = purchases.quote_items(business=business, item_ids=ids, now=self.now)
        assert quote.subtotal == sum(locked[item.kind] for item in chosen)
        self.quotes.append(Quoted(quote.pk, business, self.now + timedelta(minutes=15), locked, items=chosen))

    def a_quote_is_bought(self, dice: random.Random) -> None:
        """Once, while it stands, by whom it was made for."""
        if self.quotes:
            fresh = [quote for quote in self.quotes if not quote.used and self.now <= quote.until]
            quote = dice.choice(fresh if fresh and dice.random() < 0.75 else self.quotes)
            self.buy_quote(quote, quote.business if dice.random() < 0.9 else self.a_buyer(dice)[0])

    def a_price_changes_under_a_quote(self, dice: random.Random) -> None:
        """The quote keeps its own, once."""
        self.a_buyer_asks_what_criteria_cost(dice)
        quote = self.quotes[-1]
        self.now += SECOND
        self.set_price(dice, (quote.criteria[0].classification, quote.criteria[0].age_bucket), since=self.now)
        for _ in range(2):
            self.now += SECOND
            self.buy_quote(quote, quote.business)

    def buy_quote(self, quote: Quoted, business: Business) -> None:
        def buy() -> Bought:
            return purchases.buy_quote(business=business, quote_id=quote.id, by="", now=self.now)

        if business != quote.business or quote.used or self.now > quote.until:
            with only(business):
                self.refused(CannotBuy, buy)
        elif quote.criteria:
            quote.used = self.order_criteria(business, quote.criteria, quote.prices, buy)
        else:
            ids = [item.id for item in quote.items if item.id]
            quote.used = self.order_items(business, quote.items, ids, quote.prices, buy)

    def order_criteria(
        self, business: Business, wanted: Sequence[Criterion], locked: dict[Kind, Decimal], call: Callable[[], Bought]
    ) -> bool:
        buyer = self.buyers[business]
        filled, short = self.paper.fill(buyer, wanted, now=self.now)
        cost = sum((one.quantity * locked[one.classification, one.age_bucket] for one in wanted), Decimal(0))
        with only(business):
            if not buyer.can_pay(cost):
                assert str(self.refused(CannotBuy, call)).startswith("This order costs ")
                return False
            if short is not None:
                index, available = short
                refusal = self.refused(Short, call)
                assert (refusal.index or 0, refusal.available, refusal.criterion) == (index, available, wanted[index])
                return False
            self._bought(call(), filled, buyer, locked)
        return True

    def order_items(
        self, business: Business, chosen: Sequence[Item], ids: list[UUID], locked: dict[Kind, Decimal],
        call: Callable[[], Bought],
    ) -> bool:  # fmt: skip
        buyer = self.buyers[business]
        filled = self.paper.fill_items(buyer, chosen, now=self.now)
        strangers = len(ids) - len(chosen)
        with only(business):
            if strangers:
                assert str(self.refused(CannotBuy, call)).startswith(f"{strangers} requested items")
                return False
            if not buyer.can_pay(sum((locked[item.kind] for item in chosen), Decimal(0))):
                assert str(self.refused(CannotBuy, call)).startswith("This order costs ")
                return False
            if not filled:
                assert str(self.refused(CannotBuy, call)).startswith("Unable to fulfill complete order.")
                return False
            bought = call()
            instead = [item for item in filled if item not in chosen]
            assert bought.replaced == len(instead)
            self._bought(bought, [*(item for item in chosen if item in filled), *instead], buyer, locked)
        return True

    def _bought(self, bought: Bought, filled: Sequence[Item], buyer: Customer, locked: dict[Kind, Decimal]) -> None:
        """`filled` in the order in which they are told."""
        self.paper.sell(buyer, filled, locked, now=self.now)
        items = Sale.objects.in_bulk(bought.sale_ids)
        assert [items[pk].item_id for pk in bought.sale_ids] == [item.id for item in filled]
        cost = sum(locked[item.kind] for item in filled)
        assert (bought.purchase.quantity, bought.purchase.total) == (len(filled), cost)

    # --- money

    def money_moves(self, dice: random.Random) -> None:
        business, buyer = self.a_buyer(dice)
        kind, amount = dice.choice(["top_up", "record_payment", "refund", "adjust", "correct"]), dice.choice(AMOUNTS)
        reference = f"{kind} {dice.choice([0, next(self.number)])}"
        gains = -amount if kind in ("refund", "correct") else amount

        def move() -> object:
            if kind in ("adjust", "correct"):
                return books.adjust(business=business, amount=gains, text=reference, actor=None, now=self.now)
            verb = getattr(books, kind)
            return verb(business=business, amount=amount, reference=reference, actor=None, now=self.now)

        is_amount = amount > 0 and amount == round(amount, 2)
        again = kind not in ("adjust", "correct") and reference in buyer.references
        too_much = (kind == "refund" and amount > buyer.balance) or (gains < 0 and not buyer.can_pay(amount))
        if again or too_much or not is_amount:
            self.refused(Refused, move)
            return
        move()
        buyer.balance += gains
        buyer.references.add(reference)

    def terms_change(self, dice: random.Random) -> None:
        business, buyer = self.a_buyer(dice)
        terms, limit = dice.choice(list(Terms)), Decimal(dice.choice([0, 30, -1]))

        def set_terms() -> object:
            return books.set_terms(business=business, terms=terms, credit_limit=limit, actor=None, now=self.now)

        if limit < 0 or (terms == Terms.PREPAID and buyer.balance < -limit):
            self.refused(Refused, set_terms)
            return
        set_terms()
        buyer.is_prepaid, buyer.credit_limit = terms == Terms.PREPAID, limit

    # --- returns

    def a_lead_is_given_back(self, dice: random.Random) -> None:
        business, buyer = self.a_buyer(dice)
        everybodys = [sold for one in self.buyers.values() for sold in one.sales.values()]
        sales = list(buyer.sales.values()) if dice.random() < 0.9 else everybodys
        if not sales:
            return
        sold = dice.choice([*sales, *sales[-2:]])
        sale_id = Sale.objects.get(item=sold.item.id).pk
        reason = dice.choice([ReturnReason.OTHER, ReturnReason.OPTED_OUT, ReturnReason.DUPLICATE])

        def ask() -> Return:
            return returns.ask(business=business, sale_id=sale_id, reason=reason, note="", by="", now=self.now)

        with only(business):
            if sold.item.id not in buyer.sales:
                self.refused(returns.SaleNotFound, ask)
                return
            if buyer.why_no_return(sold, now=self.now):
                self.refused(Refused, ask)
                return
            ask()
        asked = buyer.returns[sold.item.id] = Asked(sold, self.now)
        gone = sold.item.lead.erased or sold.item.lead.phones & (self.paper.heard_of | self.paper.erased)
        if gone and reason != ReturnReason.DUPLICATE:  # our own records say the same
            self.paper.give_back(buyer, asked, now=self.now)

    def staff_decide_on_a_return(self, dice: random.Random) -> None:
        asked = [(buyer, *each) for buyer in self.buyers.values() for each in buyer.returns.items()]
        if not asked:
            return
        waiting = [each for each in asked if each[2].status == "requested"]
        buyer, item, one = dice.choice(waiting if waiting and dice.random() < 0.8 else asked)
        row = Return.objects.select_related("business").get(sale__item=item)
        accepted = dice.random() < 0.7

        def decide() -> Return:
            verb = returns.accept if accepted else returns.decline
            return verb(row=row, actor=None, decision="Because.", now=self.now)

        if one.status != "requested":
            self.refused(Refused, decide)
            return
        decide()
        if accepted:
            self.paper.give_back(buyer, one, now=self.now)
        else:
            one.status = "declined"

    # --- people

    def a_buyer_uploads_whom_they_know(self, dice: random.Random) -> None:
        business, buyer = self.a_buyer(dice)
        listed = dice.sample(PEOPLE, k=dice.randint(0, 3))
        lines = [phone if dice.random() < 0.5 else hashlib.sha256(phone.encode()).hexdigest() for phone in listed]
        file = io.BytesIO("\n".join(["Phone", *lines, ""]).encode())

        def upload() -> known.Uploaded:
            return known.upload(business=business, file=file, name="ours.csv", actor=None, now=self.now)

        if not listed:
            self.refused(Refused, upload)
            return
        new = set(listed) - buyer.listed - buyer.had
        row = upload().upload
        assert (row.rows, row.added) == (len(listed), len(new))
        buyer.listed |= new

    def a_buyer_clears_their_list(self, dice: random.Random) -> None:
        business, buyer = self.a_buyer(dice)
        assert known.forget_uploads(business=business, actor=None, now=self.now) == len(buyer.listed)
        buyer.listed = set()

    def somebody_says_stop(self, dice: random.Random) -> None:
        business = dice.choice([self.stage.somebody, self.a_buyer(dice)[0]])
        phone = dice.choice(PEOPLE)
        with only(business):
            consent.revoke(business=business, phone=phone, source=ConsentSource.TEXT, words="stop", now=self.now)
        self.paper.opted_out.add(phone)

    def the_marketplace_hears_of_it(self, dice: random.Random) -> None:
        new = self.paper.opted_out - self.paper.heard_of
        assert recalls.hear_opt_outs(now=self.now, whole=dice.random() < 0.2) == len(new)
        self.paper.heard_of |= new
        self.paper.call_back(new, "opted_out")

    def somebody_writes_to_the_marketplace(self, dice: random.Random) -> None:
        phone, because = dice.choice(PEOPLE), dice.choice(list(GoneBecause))
        recalls.forget(phone=phone, because=because, told_by="A letter", now=self.now)
        self.paper.call_back({phone}, because)
        if because == GoneBecause.OPTED_OUT:
            self.paper.opted_out.add(phone)
            self.paper.heard_of.add(phone)
            return
        self.paper.erased.add(phone)
        for buyer in self.buyers.values():
            buyer.had.discard(phone)
            buyer.listed.discard(phone)

    def the_daily_look(self, dice: random.Random) -> None:
        """Once the marketplace has heard, it finds nothing that was missed."""
        self.the_marketplace_hears_of_it(dice)
        before = everything()
        recalls.look_again(now=self.now)
        changed = {name for name, digest in everything().items() if digest != before[name]}
        assert changed <= {"crm_heartbeat"}


# --- Telling stories ---------------------------------------------------------------------------------------------------


def tell(stage: Stage, story: Story) -> tuple[Story, Exception] | None:
    """From the same beginning, and everything is forgotten afterwards. The story as far as it went well, and one step
    more; and what went wrong."""
    told: Story = []
    with transaction.atomic(), every_business():
        market = Market(stage)
        try:
            for step in story:
                told.append(step)
                market.step(*step)
        except Exception as error:  # an AssertionError, or whatever a service raises that it should not
            return told, error
        finally:
            transaction.set_rollback(True)
    return None


def shortest(stage: Stage, story: Story) -> Story:
    """Without the steps it goes wrong without: halves first, then ever smaller pieces."""
    size = len(story) // 2
    while size:
        start = 0
        while start < len(story):
            without = story[:start] + story[start + size :]
            if tell(stage, without):
                story = without
            else:
                start += size
        size //= 2
    return story


@pytest.fixture
def stage(db: None, tmp_path: Path) -> Stage:
    buyers = {}
    for number, (days, percent) in enumerate(((10, 30), (10, 100), (40, 60))):
        business = add_business(slug=f"b{number}", name=f"Buyer {number}", zone="America/Chicago")
        a_buyer(business, return_days=days, return_percent=percent)
        buyers[business] = days, percent
    somebody = add_business(slug="somebody", name="Somebody Else", zone="America/New_York")
    return Stage(buyers=buyers, somebody=somebody, folder=tmp_path)


@pytest.mark.parametrize("number", range(STORIES))
def test_whatever_happens_the_marketplace_keeps_its_promises(stage: Stage, number: int) -> None:
    dice = random.Random(number)
    happens = dice.choices(list(LIFE), list(LIFE.values()), k=STEPS)
    story = [(one, f"{number}/{index}") for index, one in enumerate(happens)]
    wrong = tell(stage, story)
    if wrong:
        told = shortest(stage, wrong[0])
        _, error = tell(stage, told) or wrong
        raise AssertionError("It goes wrong after\n" + "\n".join(map(str, told))) from error
