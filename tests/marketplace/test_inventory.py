"""The shelf as time goes by: every lead stands where its age belongs, once, and whatever aged out unsold is closed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.scoping import every_business, only
from crm.services import Refused
from marketplace import age_buckets, queries
from marketplace.allocation import Criterion
from marketplace.enums import GoneBecause, KnownFrom
from marketplace.marks import mark_of
from marketplace.models import (
    AgedLead,
    Buyer,
    GonePerson,
    InventoryItem,
    JournalEntry,
    KnownPhone,
    Purchase,
    RolledOver,
    Sale,
    Stock,
)
from marketplace.services import books, inventory, purchases
from marketplace.services.inventory import Rolled
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer, a_lead, an_item, items, start_prices
from tests.marketplace.undoing import undone

DAY = timedelta(days=1)


def shelf() -> list[tuple]:
    return list(
        InventoryItem.objects.order_by("lead", "age_bucket").values_list(
            "pk", "lead", "age_bucket", "sold_at", "closed_at", "closed_because"
        )
    )


def buckets_of(lead) -> dict[str, str]:
    """The items of a lead: bucket, and why it is closed, "sold", or "" while it is for sale."""
    return {
        item.age_bucket: "sold" if item.sold_at else item.closed_because if item.closed_at else ""
        for item in InventoryItem.objects.filter(lead=lead)
    }


# --- Roll-over ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (89, None), (90, "MONTH_3_TO_5"), (179, "MONTH_3_TO_5"), (180, "MONTH_6_TO_8"), (269, "MONTH_6_TO_8"),
        (270, "MONTH_9_TO_11"), (359, "MONTH_9_TO_11"), (360, "MONTH_12_TO_23"), (719, "MONTH_12_TO_23"),
        (720, "MONTH_24_PLUS"), (4_000, "MONTH_24_PLUS"),
    ],
)  # fmt: skip
def test_a_lead_stands_where_its_age_belongs_to_the_microsecond(db, now, days, bucket):
    exactly = a_lead(called_in_at=now - days * DAY)
    a_moment_short = a_lead(called_in_at=now - days * DAY + timedelta(microseconds=1))
    younger = age_buckets.bucket_of(days - 1)
    assert inventory.roll_over(now=now) == Rolled(created=(bucket is not None) + (younger is not None), closed=0)
    assert list(buckets_of(exactly)) == [bucket] * (bucket is not None)
    assert list(buckets_of(a_moment_short)) == [younger] * (younger is not None)


def test_a_lead_moves_on_and_the_old_item_is_closed_unsold(db, now):
    lead = a_lead(days=269)
    assert inventory.roll_over(now=now) == Rolled(created=1, closed=0)
    item = InventoryItem.objects.get()
    assert inventory.roll_over(now=now + DAY) == Rolled(created=1, closed=1)
    item.refresh_from_db()
    assert (item.closed_at, item.closed_because) == (now + DAY, "aged_out")
    assert buckets_of(lead) == {"MONTH_6_TO_8": "aged_out", "MONTH_9_TO_11": ""}
    assert inventory.roll_over(now=now + DAY) == Rolled(created=0, closed=0)


def test_what_was_sold_stays_sold_and_the_next_age_is_for_sale_again(db, now):
    lead = a_lead(days=269)
    an_item(lead)
    InventoryItem.objects.update(sold_at=now)
    inventory.roll_over(now=now + DAY)
    assert buckets_of(lead) == {"MONTH_6_TO_8": "sold", "MONTH_9_TO_11": ""}


def test_nobody_who_is_gone_comes_back_on_the_shelf(db, now):
    erased = a_lead(days=100, erased_at=now)
    opted_out = a_lead(days=100)
    by_the_other_number = a_lead(days=100, other_phone="+15055550001", other_mark=mark_of("+15055550001"))
    for mark in (opted_out.phone_mark, by_the_other_number.other_mark):
        GonePerson.objects.create(mark=mark, because=GoneBecause.OPTED_OUT, at=now)
    stays = a_lead(days=100)
    assert inventory.roll_over(now=now).created == 1
    assert [lead for lead in (erased, opted_out, by_the_other_number, stays) if buckets_of(lead)] == [stays]


def test_the_next_run_looks_only_at_who_crossed_a_boundary_and_the_whole_one_at_all(db, now):
    inventory.roll_over(now=now)
    late = a_lead(days=100)  # came in after the last run, having crossed ten days before
    assert inventory.roll_over(now=now + DAY).created == 0
    # which is why whoever adds a lead opens its item
    assert inventory.open_items(lead_ids=[str(late.pk)], now=now + DAY) == 1
    other = a_lead(days=100)
    assert inventory.roll_over(now=now + 2 * DAY, whole=True).created == 1
    assert buckets_of(other) == {"MONTH_3_TO_5": ""}
    assert RolledOver.objects.get().until == now + 2 * DAY


def test_whoever_is_added_while_a_run_looks_is_found_by_the_next(db, now):
    inventory.roll_over(now=now)
    just_missed = a_lead(called_in_at=now - 90 * DAY - timedelta(hours=20))
    assert inventory.roll_over(now=now + timedelta(hours=1)).created == 1
    assert buckets_of(just_missed) == {"MONTH_3_TO_5": ""}


# How long ago somebody called in, in days and microseconds: at a boundary or a microsecond beside it, or anywhere.
_MOMENTS = st.one_of(
    st.tuples(st.sampled_from([90, 180, 270, 360, 720]), st.integers(-1, 1)),
    st.tuples(st.integers(0, 1_000), st.integers(0, 86_399_999_999)),
)
# Days since the last run, whole or not, how many items are sold afterwards.
_RUNS = st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.integers(0, 5)), min_size=1, max_size=4)


def test_roll_over_is_the_arithmetic_of_ages_whatever_the_days(db, now):
    @settings(max_examples=20, deadline=None, database=None)
    @given(st.lists(_MOMENTS, min_size=1, max_size=8), _RUNS)
    def holds(ages, runs):
        with undone():
            leads = [
                a_lead(called_in_at=now - days * DAY - timedelta(microseconds=micros), phone="")
                for days, micros in ages
            ]
            wanted: dict[object, dict[str, str]] = {lead.pk: {} for lead in leads}
            clock = now
            for days, whole, sold in runs:
                clock += days * DAY
                inventory.roll_over(now=clock, whole=whole)
                for lead in leads:
                    if lead.called_in_at > clock:  # a microsecond from now
                        continue
                    bucket = age_buckets.bucket_of(age_buckets.age_in_days(lead.called_in_at, as_of=clock))
                    ours = wanted[lead.pk]
                    for older, state in ours.items():
                        if older != bucket and state == "":
                            ours[older] = "aged_out"
                    if bucket:
                        ours.setdefault(bucket, "")
                assert {lead.pk: buckets_of(lead) for lead in leads} == wanted
                before = shelf()
                assert inventory.roll_over(now=clock, whole=not whole) == Rolled(created=0, closed=0)
                assert shelf() == before
                for item in InventoryItem.objects.filter(sold_at=None, closed_at=None).order_by("pk")[:sold]:
                    InventoryItem.objects.filter(pk=item.pk).update(sold_at=clock)
                    wanted[item.lead_id][item.age_bucket] = "sold"
                assert inventory.miscounted() == []
                inventory.tidy_stock()
                assert inventory.miscounted() == []

    holds()


class Killed(Exception):
    """As by kill -9: between two statements."""


def killed_before(statement: int):
    """Runs with this many statements left to live."""
    left = [statement]

    def wrapper(execute, sql, params, many, context):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return execute(sql, params, many, context)

    return connection.execute_wrapper(wrapper)


def test_a_run_killed_anywhere_is_made_good_by_the_next(db, now):
    for days in (85, 95, 175, 185, 265, 275, 355, 365, 715, 725):
        a_lead(days=days, phone="")
    inventory.roll_over(now=now)
    later = now + 10 * DAY

    def states() -> list[tuple]:
        return [row[1:] for row in shelf()]

    with undone():
        inventory.roll_over(now=later)
        wanted = states()
    statements = 0
    while True:
        with undone():
            try:
                with killed_before(statements):
                    inventory.roll_over(now=later)
            except Killed:
                inventory.roll_over(now=later)
                assert states() == wanted, statements
                assert inventory.miscounted() == []
            else:
                break
        statements += 1
    assert statements > 10  # it was killed at every one of them


@pytest.mark.django_db(transaction=True)
def test_runs_at_the_same_time_put_every_lead_there_once(now):
    leads = [a_lead(days=days, phone="") for days in (95, 179, 185, 400, 800)]
    inventory.roll_over(now=now)
    later = now + 10 * DAY
    all_at_once([lambda: inventory.roll_over(now=later)] * 4)
    assert [len(buckets_of(lead)) for lead in leads] == [1, 2, 1, 1, 1]
    assert buckets_of(leads[1]) == {"MONTH_3_TO_5": "aged_out", "MONTH_6_TO_8": ""}
    assert inventory.miscounted() == []
    assert inventory.roll_over(now=later, whole=True) == Rolled(created=0, closed=0)


# --- The stock -----------------------------------------------------------------------------------------------------


def test_every_way_onto_and_off_the_shelf_is_counted(db, now):
    first, second = an_item(), an_item(days=100, state="TX", county="Travis")
    InventoryItem.objects.filter(pk=first.pk).update(sold_at=now)
    InventoryItem.objects.filter(pk=second.pk).update(closed_at=now, closed_because="withdrawn")
    assert (Stock.objects.count(), inventory.miscounted()) == (4, [])
    InventoryItem.objects.filter(pk=second.pk).update(closed_at=None, closed_because="")
    InventoryItem.objects.filter(pk=first.pk)._raw_delete("default")
    assert inventory.miscounted() == []
    assert inventory.tidy_stock() == 4
    assert list(Stock.objects.values_list("classification", "age_bucket", "state", "county", "available")) == [
        ("Gold", "MONTH_3_TO_5", "TX", "Travis", 1)
    ]


def test_a_miscount_is_told_in_words(db, now):
    an_item()
    Stock.objects.create(classification="Gold", age_bucket="MONTH_6_TO_8", state="LA", county="Caddo", available=2_000)
    Stock.objects.create(classification="Silver", age_bucket="MONTH_3_TO_5", state="TX", county="", available=1)
    assert sorted(inventory.miscounted()) == [
        "Gold MONTH_6_TO_8 in Caddo, LA: the stock says 2,001, the shelf holds 1.",
        "Silver MONTH_3_TO_5 in TX: the stock says 1, the shelf holds 0.",
    ]


def test_what_is_for_sale_is_counted_right_even_if_no_run_has_come_by(db, now):
    items(3)
    an_item(days=269)
    anything = queries.Filter()
    assert queries.available(anything, now=now) == 4
    assert queries.available(anything, now=now + DAY) == 3  # one of them is too old for its shelf
    inventory.roll_over(now=now + DAY)
    assert queries.available(anything, now=now + DAY) == 4  # and stands on the next


# --- Starting over -------------------------------------------------------------------------------------------------


def bought_one(cast, now) -> AgedLead:
    start_prices()
    a_buyer(cast.shop)
    item = an_item()
    with only(cast.shop):
        purchases.buy_by_criteria(business=cast.shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="", now=now)
        books.top_up(business=cast.shop, amount=Decimal(10), reference="7", actor=None, now=now)
    return item.lead


@pytest.mark.django_db(transaction=True)
def test_a_reset_puts_everything_back_and_leaves_books_that_are_right(cast, now):
    lead = bought_one(cast, now)
    with every_business():
        KnownPhone.objects.create(
            business=cast.shop, mark=mark_of("+15055550002"), source=KnownFrom.UPLOADED, created_at=now
        )
        assert inventory.reset(allowed=True) == 1
        assert buckets_of(lead) == {"MONTH_6_TO_8": ""}
        assert (Sale.objects.count(), Purchase.objects.count(), JournalEntry.objects.count()) == (0, 0, 0)
        assert [known.source for known in KnownPhone.objects.all()] == ["uploaded"]
        assert Buyer.objects.get().balance == 0
    assert books.check_books() == []
    assert inventory.miscounted() == []
    with only(cast.shop):
        again = purchases.buy_by_criteria(
            business=cast.shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="", now=now
        )
        assert again.purchase.quantity == 1


def test_a_reset_is_for_development(cast, now):
    lead = bought_one(cast, now)
    with pytest.raises(Refused, match="Inventory is reset only while DEBUG is on: it forgets every sale."):
        inventory.reset(allowed=False)
    assert buckets_of(lead) == {"MONTH_6_TO_8": "sold"}
