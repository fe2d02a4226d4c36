"""An order is filled whole or not at all, the oldest first, at the price that holds; nobody is sold twice to one buyer."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from crm import consent
from crm.enums import ConsentSource
from crm.keys import uuid7
from crm.scoping import every_business, only
from marketplace.allocation import Criterion
from marketplace.enums import Terms
from marketplace.models import InventoryItem, JournalEntry, KnownPhone, Purchase, Quote, Sale
from marketplace.services import books, prices, purchases
from marketplace.services.purchases import CannotBuy, NotForSale, Short
from tests.marketplace.stock import a_buyer, a_lead, a_phone, an_item, items, start_prices

GOLD_6 = Criterion("Gold", "MONTH_6_TO_8", 2)


@pytest.fixture
def shop(cast):
    start_prices()
    a_buyer(cast.shop)
    with only(cast.shop):
        yield cast.shop


def buy(shop, now, *criteria):
    return purchases.buy_by_criteria(business=shop, criteria=list(criteria), by="Alice", now=now)


def buy_items(shop, now, *found):
    return purchases.buy_items(business=shop, item_ids=[item.pk for item in found], by="Alice", now=now)


def nothing_happened(shop):
    assert (Sale.objects.count(), Purchase.objects.count(), JournalEntry.objects.count()) == (0, 0, 0)
    assert not InventoryItem.objects.filter(sold_at__isnull=False).exists()
    shop.buyer.refresh_from_db()
    assert shop.buyer.balance == 0


def test_the_oldest_leads_are_sold_first_and_booked_to_the_cent(shop, now):
    young, old, older = an_item(days=190), an_item(days=200), an_item(days=210)
    bought = buy(shop, now, GOLD_6)
    assert [sale.item_id for sale in Sale.objects.order_by("id")] == [older.pk, old.pk]
    assert [str(pk) for pk in bought.sale_ids] == [str(sale.pk) for sale in Sale.objects.order_by("id")]
    assert (bought.purchase.total, bought.purchase.quantity, bought.replaced) == (Decimal("16.00"), 2, 0)
    young.refresh_from_db()
    assert young.sold_at is None
    shop.buyer.refresh_from_db()
    assert shop.buyer.balance == Decimal("-16.00")
    assert books.check_books() == []


def test_short_of_one_sells_none_and_says_what_there_is(shop, now):
    items(2)
    items(5, days=280)
    an_item(state="TX", county="Travis")
    with pytest.raises(Short) as short:
        buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 3, "LA", "Caddo"))
    assert (short.value.available, short.value.index, str(short.value.criterion)) == (
        2, None, "Gold MONTH_6_TO_8 state=LA county=Caddo qty=3",
    )  # fmt: skip
    assert [(other.description, other.available_count) for other in short.value.alternatives] == [
        ("Purchase 2 available leads ($16.00)", 2),
        ("Remove location filter (3 available without LA, Caddo filter)", 3),
        ("Try MONTH_9_TO_11 age bucket (5 available in LA)", 5),
    ]
    nothing_happened(shop)


def test_overlapping_criteria_are_counted_together(shop, now):
    items(3)
    with pytest.raises(Short) as short:
        buy(shop, now, GOLD_6, Criterion("Gold", "MONTH_6_TO_8", 2, "LA"))
    assert (short.value.available, short.value.index) == (1, 1)
    nothing_happened(shop)
    an_item()
    assert len(buy(shop, now, GOLD_6, Criterion("Gold", "MONTH_6_TO_8", 2, "LA")).sale_ids) == 4


def test_a_lead_that_aged_out_is_not_sold_even_if_roll_over_has_not_run(shop, now):
    item = an_item(days=269)
    assert len(buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1)).sale_ids) == 1
    other = an_item(days=269)
    later = now + timedelta(days=1)
    with pytest.raises(Short):
        buy(shop, later, Criterion("Gold", "MONTH_6_TO_8", 1))
    other.refresh_from_db()
    assert (item.age_bucket, other.sold_at) == ("MONTH_6_TO_8", None)


def test_nobody_is_sold_twice_to_one_buyer_under_whatever_lead(shop, cast, now):
    phone = a_phone()
    first, again = an_item(phone=phone, days=210), an_item(phone=phone, days=205)
    other = an_item(days=200)
    bought = buy(shop, now, GOLD_6)
    assert [sale.item_id for sale in Sale.objects.filter(pk__in=bought.sale_ids).order_by("id")] == [first.pk, other.pk]
    with pytest.raises(Short) as short:
        buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
    assert short.value.available == 0
    a_buyer(cast.next_door)
    with only(cast.next_door):  # somebody else may
        assert len(buy(cast.next_door, now, Criterion("Gold", "MONTH_6_TO_8", 1)).sale_ids) == 1
    again.refresh_from_db()
    assert again.sold_at == now


def test_a_lead_bought_in_one_bucket_is_not_sold_to_them_in_the_next(shop, cast, now):
    lead = a_lead(days=269)
    an_item(lead)
    buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
    later = now + timedelta(days=2)
    an_item(lead, now=later)
    with pytest.raises(Short):
        buy(shop, later, Criterion("Gold", "MONTH_9_TO_11", 1))
    a_buyer(cast.next_door)
    with only(cast.next_door):
        assert len(buy(cast.next_door, later, Criterion("Gold", "MONTH_9_TO_11", 1)).sale_ids) == 1


def test_people_on_an_uploaded_list_are_left_out(shop, now):
    known, stranger = an_item(days=210), an_item()
    KnownPhone.objects.create(business=shop, mark=known.lead.phone_mark, source="uploaded", created_at=now)
    bought = buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
    assert Sale.objects.get(pk=bought.sale_ids[0]).item_id == stranger.pk


def test_somebody_who_opted_out_a_second_ago_with_any_business_is_not_sold(shop, cast, now):
    item = an_item()
    consent.revoke(business=cast.next_door, phone=item.lead.phone, source=ConsentSource.TEXT, words="stop", now=now)
    with pytest.raises(Short) as short:
        buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
    assert short.value.available == 0


def test_items_by_id_come_in_the_order_they_were_asked_for(shop, now):
    first, second = an_item(days=200), an_item(days=210)
    bought = buy_items(shop, now, first, second)
    sales = Sale.objects.in_bulk(bought.sale_ids)
    assert [sales[pk].item_id for pk in bought.sale_ids] == [first.pk, second.pk]
    assert bought.replaced == 0


def test_what_has_gone_meanwhile_is_replaced_by_its_like(shop, cast, now):
    gone, elsewhere, like = an_item(), an_item(county="Acadia"), an_item()
    a_buyer(cast.next_door)
    with only(cast.next_door):
        buy_items(cast.next_door, now, gone)
    bought = buy_items(shop, now, gone)
    assert (bought.replaced, Sale.objects.get(pk=bought.sale_ids[0]).item_id) == (1, like.pk)
    elsewhere.refresh_from_db()
    assert elsewhere.sold_at is None
    with pytest.raises(CannotBuy) as refusal:
        buy_items(shop, now, gone, elsewhere)
    assert refusal.value.reasons == [
        "Unable to fulfill complete order. Requested 2 leads, but only 1 available (shortage of 1).",
        "Please try again with 1 leads or wait for more inventory.",
    ]
    elsewhere.refresh_from_db()
    assert elsewhere.sold_at is None


def test_an_order_of_nothing_is_no_order(shop, now):
    for order in (
        lambda: buy(shop, now),
        lambda: buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 0)),
        lambda: buy_items(shop, now),
    ):
        with pytest.raises(CannotBuy, match="^Choose at least one lead.$"):
            order()
    nothing_happened(shop)


def test_unknown_and_repeated_ids_are_refused_with_their_number(shop, now):
    item = an_item()
    with pytest.raises(CannotBuy, match="2 requested items are no longer available or don't exist"):
        purchases.buy_items(business=shop, item_ids=[item.pk, item.pk, uuid7()], by="", now=now)
    nothing_happened(shop)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"status": "suspended"}, "Client account cannot purchase (status: suspended, email_verified: True)"),
        ({"status": "closed"}, "Client account cannot purchase (status: closed, email_verified: True)"),
        ({"email_verified_at": None}, "Client account cannot purchase (status: active, email_verified: False)"),
    ],
)
def test_only_active_buyers_with_a_verified_address_buy(cast, now, fields, sentence):
    start_prices()
    a_buyer(cast.shop, **fields)
    an_item()
    with only(cast.shop):
        with pytest.raises(CannotBuy) as refusal:
            buy(cast.shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
        assert refusal.value.reasons == [sentence]
        nothing_happened(cast.shop)


def test_a_business_that_is_no_buyer_is_not_a_client(cast, now):
    with only(cast.shop), pytest.raises(CannotBuy, match="^Client not found$"):
        buy(cast.shop, now, GOLD_6)


def test_a_wallet_is_not_overdrawn_beyond_its_credit(shop, now):
    items(3)
    books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal(1), actor=None, now=now)
    books.top_up(business=shop, amount=Decimal(15), reference="bank 1", actor=None, now=now)
    with pytest.raises(CannotBuy) as refusal:
        buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 3))
    assert refusal.value.reasons == ["This order costs $24.00 and $16.00 can be spent. Top up $8.00 or order less."]
    assert Sale.objects.count() == 0
    buy(shop, now, GOLD_6)
    shop.buyer.refresh_from_db()
    assert shop.buyer.balance == Decimal("-1.00")


def test_a_quote_keeps_its_prices_for_fifteen_minutes_and_is_bought_once(shop, now):
    first, second = an_item(days=210), an_item()
    quote = purchases.quote_items(business=shop, item_ids=[first.pk], now=now)
    assert (quote.subtotal, quote.total_items, quote.expires_at) == (Decimal("8.00"), 1, now + timedelta(minutes=15))
    prices.set_price(
        classification="Gold", age_bucket="MONTH_6_TO_8", price=Decimal(99), now=now + timedelta(minutes=1)
    )
    last = now + timedelta(minutes=15)
    bought = purchases.buy_quote(business=shop, quote_id=quote.pk, by="", now=last)
    assert (bought.purchase.total, Sale.objects.get().price) == (Decimal("8.00"), Decimal("8.00"))
    with pytest.raises(CannotBuy, match=f"This quote was bought already: {bought.purchase}."):
        purchases.buy_quote(business=shop, quote_id=quote.pk, by="", now=last)
    quote = purchases.quote_criteria(business=shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], now=last)
    assert quote.subtotal == Decimal("99.00")
    with pytest.raises(CannotBuy, match="Quote has expired. Please request a new quote."):
        purchases.buy_quote(business=shop, quote_id=quote.pk, by="", now=last + timedelta(minutes=15, seconds=1))
    second.refresh_from_db()
    assert second.sold_at is None


def test_a_neighbours_quote_is_no_quote(shop, cast, now):
    quote = purchases.quote_items(business=shop, item_ids=[an_item().pk], now=now)
    a_buyer(cast.next_door)
    with only(cast.next_door):
        for quote_id in (quote.pk, uuid7()):
            with pytest.raises(CannotBuy, match="There is no such quote. Please request a new quote."):
                purchases.buy_quote(business=cast.next_door, quote_id=quote_id, by="", now=now)


def test_items_that_cannot_be_quoted_are_named(shop, now):
    item, sold, stranger = an_item(), an_item(), uuid7()
    buy_items(shop, now, sold)
    with pytest.raises(NotForSale) as refusal:
        purchases.quote_items(business=shop, item_ids=[item.pk, sold.pk, stranger, item.pk], now=now)
    assert refusal.value.ids == [item.pk, sold.pk, stranger]
    assert Quote.objects.count() == 0


def test_a_kind_without_a_price_is_not_sold(cast, now):
    a_buyer(cast.shop)
    an_item()
    with only(cast.shop), pytest.raises(CannotBuy, match=r"No active pricing found for Gold \+ MONTH_6_TO_8"):
        buy(cast.shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))


def test_the_tables_refuse_what_the_services_would_never_do(shop, cast, now):
    an_item()
    buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
    sale = Sale.objects.get()
    with every_business():
        for statement in (
            lambda: Sale.objects.filter(pk=sale.pk).update(price=1),
            lambda: Sale.objects.filter(pk=sale.pk).delete(),
            lambda: Sale.objects.create(
                business=cast.next_door, purchase_id=sale.purchase_id, item_id=sale.item_id, lead_id=sale.lead_id,
                classification="Gold", age_bucket=sale.age_bucket, price=1, sold_at=now,
            ),
            lambda: type(shop.buyer).objects.filter(pk=shop.pk).update(balance=100),
            lambda: type(sale.lead).objects.filter(pk=sale.lead_id).update(classification="Silver"),
        ):  # fmt: skip
            with pytest.raises(IntegrityError), transaction.atomic():
                statement()
