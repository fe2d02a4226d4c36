"""Many buyers at one shelf: nobody is sold a lead that somebody else has, and every order is whole or nothing."""

from __future__ import annotations

import random
import threading
import time
from decimal import Decimal

import pytest
from django.db import connection, transaction

from crm.scoping import every_business, only
from marketplace import queries
from marketplace.allocation import Criterion
from marketplace.enums import Terms
from marketplace.models import Buyer, GonePerson, InventoryItem, Purchase, Sale
from marketplace.queries import Filter
from marketplace.services import books, inventory, purchases
from marketplace.services.purchases import CannotBuy, Short
from tests.conftest import open_shop
from tests.crowd import all_at_once, until_somebody_waits
from tests.marketplace.stock import a_buyer, items, start_prices

pytestmark = pytest.mark.django_db(transaction=True)
WANTED = Criterion("Gold", "MONTH_6_TO_8", 10)


def buyers(count):
    shops = [open_shop(f"b{n}", name=f"Buyer {n}", number=f"+155524{n:05d}", staff=1) for n in range(count)]
    for shop in shops:
        a_buyer(shop)
    return shops


def order(shop, criteria, now):
    """How many were bought: all or none."""
    with only(shop):
        try:
            return len(purchases.buy_by_criteria(business=shop, criteria=criteria, by="", now=now).sale_ids)
        except Short:
            return 0


def order_items(shop, item_ids, now):
    with only(shop):
        try:
            return len(purchases.buy_items(business=shop, item_ids=item_ids, by="", now=now).sale_ids)
        except CannotBuy:
            return 0


def all_is_well():
    with every_business():
        sales = list(Sale.objects.values_list("item_id", "lead_id", "age_bucket"))
        assert len({item for item, _, _ in sales}) == len({(lead, bucket) for _, lead, bucket in sales}) == len(sales)
        assert InventoryItem.objects.filter(sold_at__isnull=False).count() == len(sales)
        for purchase in Purchase.objects.all():
            assert purchase.sales.count() == purchase.quantity
        assert books.check_books() == []
        assert inventory.miscounted() == []
        return len(sales)


def test_whoever_comes_up_short_gets_nothing_and_the_shelf_is_sold_to_the_last_lead(now):
    start_prices()
    shops = buyers(8)
    items(100, county="Acadia")
    items(100)
    shelf = list(InventoryItem.objects.values_list("pk", flat=True))

    def shopping(shop, seed):
        luck = random.Random(seed)
        bought = 0
        for _ in range(6):
            if luck.random() < 0.4:
                bought += order_items(shop, luck.sample(shelf, luck.randint(1, 20)), now)
            else:
                places = [("LA", "Caddo"), ("LA", ""), ("", ""), ("LA", "Acadia")]
                criteria = [
                    Criterion("Gold", "MONTH_6_TO_8", luck.randint(1, 20), *luck.choice(places))
                    for _ in range(luck.randint(1, 3))
                ]
                bought += order(shop, criteria, now)
        return bought

    bought = all_at_once([lambda shop=shop, seed=seed: shopping(shop, seed) for seed, shop in enumerate(shops)])
    assert sum(bought) == all_is_well()
    left = queries.available(Filter(), now=now)
    assert left == 200 - sum(bought)
    if left:  # whoever asks for the rest and no more gets it
        assert order(shops[0], [Criterion("Gold", "MONTH_6_TO_8", left)], now) == left
    assert all_is_well() == 200


def test_of_two_who_want_everything_one_gets_it(now):
    start_prices()
    shops = buyers(6)
    items(10)
    assert sorted(all_at_once([lambda shop=shop: order(shop, [WANTED], now) for shop in shops])) == [0] * 5 + [10]
    assert all_is_well() == 10


def test_an_order_that_is_short_only_because_others_hold_some_waits_for_them(now):
    start_prices()
    shop = buyers(1)[0]
    held = [item.pk for item in items(10)][:5]
    letting_go = threading.Event()

    def somebody_changes_their_mind():
        try:
            with transaction.atomic():
                list(InventoryItem.objects.select_for_update().filter(pk__in=held))
                letting_go.set()
                time.sleep(0.3)
                transaction.set_rollback(True)
        finally:
            connection.close()

    other = threading.Thread(target=somebody_changes_their_mind)
    other.start()
    letting_go.wait(timeout=5)
    assert order(shop, [WANTED], now) == 10
    other.join()
    assert all_is_well() == 10


def test_a_recall_and_a_purchase_of_one_lead_do_not_miss_each_other(now):
    """Whichever is first: the lead is closed unsold, or the sale is there for the recall to see."""
    start_prices()
    shop = buyers(1)[0]
    item = items(1)[0]

    def close_it():
        with transaction.atomic():
            GonePerson.objects.create(mark=item.lead.phone_mark, because="opted_out", at=now)
            InventoryItem.objects.filter(pk=item.pk, sold_at__isnull=True).update(
                closed_at=now, closed_because="opted_out"
            )
            with every_business():
                return Sale.objects.filter(lead=item.lead).count()

    wanted = [Criterion("Gold", "MONTH_6_TO_8", 1)]
    seen, bought = all_at_once([close_it, lambda: order(shop, wanted, now)])
    assert seen == bought
    assert all_is_well() == bought


def test_one_buyers_orders_come_one_after_another_so_the_wallet_holds(now):
    start_prices()
    shop = buyers(1)[0]
    items(20)
    books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal(0), actor=None, now=now)
    books.top_up(business=shop, amount=Decimal(40), reference="1", actor=None, now=now)

    def attempt():
        with only(shop):
            try:
                wanted = [Criterion("Gold", "MONTH_6_TO_8", 2)]
                return len(purchases.buy_by_criteria(business=shop, criteria=wanted, by="", now=now).sale_ids)
            except CannotBuy:
                return 0

    assert sorted(all_at_once([attempt] * 5)) == [0, 0, 0, 2, 2]
    assert Buyer.objects.get().balance == Decimal(8)
    assert all_is_well() == 4


def test_the_same_quote_twice_at_once_is_one_purchase(now):
    start_prices()
    shop = buyers(1)[0]
    items(10)
    with only(shop):
        quote = purchases.quote_criteria(business=shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 2)], now=now)

    def attempt():
        with only(shop):
            try:
                return str(purchases.buy_quote(business=shop, quote_id=quote.pk, by="", now=now).purchase)
            except CannotBuy as refusal:
                return str(refusal)

    results = set(all_at_once([attempt] * 4))
    with only(shop):
        number = str(Purchase.objects.get())
    assert results == {number, f"This quote was bought already: {number}."}
    assert all_is_well() == 2


def test_roll_over_goes_around_what_is_being_bought(now):
    start_prices()
    item = items(1, days=270)[0]
    InventoryItem.objects.filter(pk=item.pk).update(age_bucket="MONTH_6_TO_8")
    bought, done = threading.Event(), threading.Event()

    def buy():
        try:
            with transaction.atomic():
                InventoryItem.objects.select_for_update().get(pk=item.pk)
                bought.set()
                done.wait(timeout=5)
        finally:
            connection.close()

    other = threading.Thread(target=buy)
    other.start()
    bought.wait(timeout=5)
    assert inventory.roll_over(now=now).closed == 0
    done.set()
    other.join()
    assert inventory.roll_over(now=now).closed == 1


def test_a_second_order_of_a_buyer_waits_for_the_first(now):
    """Without the lock on the buyer's row both would look at the same balance."""
    start_prices()
    shop = buyers(1)[0]
    items(2)
    first_is_in = threading.Event()

    def slowly():
        try:
            with transaction.atomic():
                books.lock_buyer(shop)
                first_is_in.set()
                until_somebody_waits()
        finally:
            connection.close()

    other = threading.Thread(target=slowly)
    other.start()
    first_is_in.wait(timeout=5)
    assert order(shop, [Criterion("Gold", "MONTH_6_TO_8", 2)], now) == 2
    other.join()
