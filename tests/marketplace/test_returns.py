"""A lead comes back within its deadline and share; accepted, it is replaced by its like, or else credited. Never both."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from crm.keys import uuid7
from crm.models import AuditEvent, Customer
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace.allocation import Criterion
from marketplace.enums import GoneBecause, ReturnReason
from marketplace.models import Buyer, GonePerson, KnownPhone, Return, Sale
from marketplace.services import books, purchases, returns
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer, an_item, items, start_prices


@pytest.fixture
def shop(cast):
    start_prices()
    a_buyer(cast.shop)
    with only(cast.shop):
        yield cast.shop


def sold(shop, now, count=1, **fields):
    items(count, **fields)
    wanted = Criterion("Gold", "MONTH_6_TO_8", count)
    bought = purchases.buy_by_criteria(business=shop, criteria=[wanted], by="Alice", now=now)
    found = Sale.objects.select_related("lead").in_bulk(bought.sale_ids)
    return [found[pk] for pk in bought.sale_ids]


def ask(shop, sale, now, reason=ReturnReason.OTHER, note=""):
    return returns.ask(business=shop, sale_id=sale.pk, reason=reason, note=note, by="Alice", now=now)


def balance(shop):
    shop.buyer.refresh_from_db()
    return shop.buyer.balance


def test_what_our_records_do_not_prove_waits_for_staff(shop, now):
    sale = sold(shop, now)[0]
    row = ask(shop, sale, now, note=" Nobody there. ")
    assert (row.status, row.note, row.requested_by) == ("requested", "Nobody there.", "Alice")
    assert row.evidence == [{"text": "No opt-out of this person is on record.", "speaks_for": None}]
    assert balance(shop) == Decimal("-8.00")


def test_accepted_without_another_of_its_kind_the_price_is_credited(shop, cast, now):
    row = ask(shop, sold(shop, now)[0], now)
    row = returns.accept(row=row, actor=cast.alice, decision="Fair enough.", now=now)
    assert (row.status, row.replacement, row.decision, row.decided_by) == ("credited", None, "Fair enough.", cast.alice)
    assert balance(shop) == 0
    assert books.check_books() == []
    assert AuditEvent.objects.filter(action="return accepted", actor=cast.alice).count() == 1


def test_accepted_it_is_replaced_from_the_same_county_before_the_same_state(shop, cast, now):
    row = ask(shop, sold(shop, now)[0], now)
    far, near, other = an_item(county="Acadia", days=250), an_item(days=200), an_item(state="TX", days=260)
    row = returns.accept(row=row, actor=cast.alice, decision="", now=now)
    assert (row.status, row.replacement.item_id, row.replacement.price) == ("replaced", near.pk, Decimal("0.00"))
    assert balance(shop) == Decimal("-8.00")
    assert books.check_books() == []
    for item in (far, other):
        item.refresh_from_db()
        assert item.sold_at is None
    Buyer.objects.update(return_percent=100)
    second = ask(shop, sold(shop, now, days=265)[0], now)  # older than `far`, so it is the one that is bought
    assert returns.accept(row=second, actor=None, decision="", now=now).replacement.item_id == far.pk


@pytest.mark.parametrize("because", GoneBecause)
def test_somebody_who_opted_out_or_was_erased_is_taken_back_at_once(shop, now, because):
    sale = sold(shop, now)[0]
    GonePerson.objects.create(mark=sale.lead.phone_mark, because=because, at=now)
    row = ask(shop, sale, now, ReturnReason.OPTED_OUT)
    assert (row.status, row.decided_by, balance(shop)) == ("credited", None, 0)
    assert row.evidence == [{"text": "This person has opted out or was erased.", "speaks_for": True}]


def test_a_customer_they_had_before_is_taken_back_at_once_one_made_by_the_purchase_is_not(shop, now):
    first, second = sold(shop, now, count=2)
    before = Customer.objects.create(business=shop, phone=first.lead.phone)
    Customer.objects.filter(pk=before.pk).update(created_at=now - timedelta(days=1))
    landed = Customer.objects.create(business=shop, phone=second.lead.phone)
    Customer.objects.filter(pk=landed.pk).update(created_at=now + timedelta(minutes=1))
    assert ask(shop, first, now, ReturnReason.DUPLICATE).status == "credited"
    later = now + timedelta(hours=1)
    Buyer.objects.update(return_percent=100)
    waiting = ask(shop, second, later, ReturnReason.DUPLICATE)
    assert waiting.status == "requested"
    assert waiting.evidence == [
        {
            "text": "Neither the buyer's customers nor their lists had this number before the purchase.",
            "speaks_for": False,
        }
    ]


def test_a_list_uploaded_after_the_purchase_proves_nothing(shop, now):
    sale = sold(shop, now)[0]
    KnownPhone.objects.filter(mark=sale.lead.phone_mark).update(source="uploaded", created_at=now + timedelta(hours=1))
    assert ask(shop, sale, now + timedelta(hours=2), ReturnReason.DUPLICATE).status == "requested"


@pytest.mark.parametrize(
    ("written", "other", "status"),
    [
        ("call after six", "", "credited"), ("+15550000000", "", "credited"), ("(504) 555-0100", "", "requested"),
        ("none", "504 555 0100", "requested"),
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_dialled_is_taken_back_at_once(shop, now, written, other, status):
    sale = sold(shop, now, borrower_phone=written, call_in_phone_number=other)[0]
    assert ask(shop, sale, now, ReturnReason.INVALID_NUMBER).status == status


def test_the_deadline_is_said_and_kept(shop, now):
    sale = sold(shop, now)[0]
    with pytest.raises(Refused, match="It could be returned until Nov 28, 10 days after it was bought."):
        ask(shop, sale, now + timedelta(days=10, seconds=1))
    assert Return.objects.count() == 0
    assert ask(shop, sale, now + timedelta(days=10)).status == "requested"


def test_a_share_of_what_was_bought_can_be_returned_and_declined_ones_do_not_count(shop, cast, now):
    sales = sold(shop, now, count=7)
    allowed = returns.allowance(business=shop, now=now)
    assert (allowed.limit, allowed.left) == (2, 2)
    assert allowed.sentence == (
        "A lead can be returned within 10 days, up to 30% of the leads of 30 days: 2 more now (0 of 2 used)."
    )
    first, _ = ask(shop, sales[0], now), ask(shop, sales[1], now)
    with pytest.raises(Refused, match=r"You have returned 2 of at most 2 leads \(30% of 30 days\)."):
        ask(shop, sales[2], now)
    returns.decline(row=first, actor=cast.alice, decision="It works for us.", now=now)
    assert ask(shop, sales[2], now).status == "requested"


def test_whoever_bought_one_may_return_it_unless_nothing_can_be_returned(shop, now):
    assert returns.allowance(business=shop, now=now).limit == 0
    sold(shop, now)
    assert returns.allowance(business=shop, now=now).limit == 1
    Buyer.objects.update(return_percent=0)
    assert returns.allowance(business=shop, now=now).sentence == "Leads cannot be returned."


def test_a_lead_is_returned_once_and_a_replacement_is_final(shop, cast, now):
    sale = sold(shop, now)[0]
    row = ask(shop, sale, now)
    with pytest.raises(Refused, match="This lead has been returned already."):
        ask(shop, sale, now)
    an_item()
    Buyer.objects.update(return_percent=100)
    replacement = returns.accept(row=row, actor=None, decision="", now=now).replacement
    with pytest.raises(Refused, match="It replaced a lead that was returned; a replacement is final."):
        ask(shop, replacement, now)
    for decide in (returns.accept, returns.decline):
        with pytest.raises(Refused, match="This return is decided already: accepted, replaced."):
            decide(row=row, actor=cast.alice, decision="Again", now=now)
    assert Return.objects.count() == 1


def test_no_without_a_reason_is_no_answer(shop, cast, now):
    row = ask(shop, sold(shop, now)[0], now)
    with pytest.raises(Refused, match="Say why, in a sentence the buyer will read."):
        returns.decline(row=row, actor=cast.alice, decision=" ", now=now)
    row.refresh_from_db()
    assert row.status == "requested"


def test_a_neighbours_sale_is_no_sale(shop, cast, now):
    sale = sold(shop, now)[0]
    a_buyer(cast.next_door)
    with only(cast.next_door):
        for sale_id in (sale.pk, uuid7()):
            with pytest.raises(Refused, match="There is no such sale."):
                returns.ask(
                    business=cast.next_door, sale_id=sale_id, reason=ReturnReason.OTHER, note="", by="", now=now
                )


@pytest.mark.django_db(transaction=True)
def test_two_clicks_are_one_return_and_the_limit_holds_for_two_at_once(cast, now):
    start_prices()
    a_buyer(cast.shop)
    with only(cast.shop):
        sales = sold(cast.shop, now, count=4)

    def attempt(sale):
        with only(cast.shop):
            try:
                return ask(cast.shop, sale, now).status
            except Refused as refusal:
                return str(refusal)

    same = all_at_once([lambda: attempt(sales[0])] * 4)
    assert sorted(same) == ["This lead has been returned already."] * 3 + ["requested"]
    others = all_at_once([lambda sale=sale: attempt(sale) for sale in sales[1:]])
    assert set(others) == {"You have returned 1 of at most 1 leads (30% of 30 days)."}


@pytest.mark.django_db(transaction=True)
def test_two_decisions_at_once_are_one(cast, now):
    start_prices()
    a_buyer(cast.shop)
    with only(cast.shop):
        row = ask(cast.shop, sold(cast.shop, now)[0], now)

    def attempt(decide):
        with only(cast.shop):
            try:
                return decide(row=row, actor=None, decision="Yes", now=now).status
            except Refused:
                return "decided"

    results = all_at_once([lambda decide=decide: attempt(decide) for decide in [returns.accept, returns.decline] * 3])
    assert results.count("decided") == 5
    with every_business():
        assert books.check_books() == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM marketplace_journalentry WHERE kind = 'return'")
        assert cursor.fetchone()[0] == results.count("credited")
