"""How much there is for a buyer: exact, whoever they know already, and soon after every change."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crm.scoping import only
from marketplace import queries
from marketplace.allocation import Criterion
from marketplace.models import KnownPhone
from marketplace.queries import Filter
from marketplace.services import inventory, purchases
from tests.marketplace.stock import a_buyer, a_lead, an_item, items, start_prices


@pytest.fixture
def shop(cast):
    start_prices()
    a_buyer(cast.shop)
    with only(cast.shop):
        yield cast.shop


def known(shop, item, now):
    KnownPhone.objects.create(business=shop, mark=item.lead.phone_mark, source="uploaded", created_at=now)


def test_counts_are_those_of_the_place_without_whom_the_buyer_has(shop, now):
    here, there, texan = an_item(), an_item(county="Acadia"), an_item(state="TX", county="Travis")
    assert queries.available_to(shop, Filter(), now=now) == (3, True)
    known(shop, there, now)
    assert queries.available_to(shop, Filter(), now=now) == (2, True)
    assert queries.available_to(shop, Filter(states=("LA",)), now=now) == (1, True)
    assert queries.available_to(shop, Filter(counties=("Acadia",)), now=now) == (0, True)
    assert queries.available(Filter(), now=now) == 3
    assert [item.inventory_id for item in queries.browse(shop, Filter(), now=now, limit=9).items] == [here.pk, texan.pk]


def test_whoever_knows_thousands_gets_the_same_counts_asked_less_often(
    shop, now, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr(queries, "_REMEMBERED_FROM", 0)
    first, second, third = items(3)
    known(shop, first, now)
    assert queries.available_to(shop, Filter(), now=now) == (2, True)
    with django_assert_num_queries(4):  # stock, what has aged out, how many they know, the newest item
        assert queries.available_to(shop, Filter(states=("LA",)), now=now) == (2, True)
    known(shop, second, now)
    assert queries.available_to(shop, Filter(), now=now) == (1, True)
    an_item(a_lead(phone=third.lead.phone))
    known(shop, third, now)
    assert queries.available_to(shop, Filter(), now=now) == (0, True)


def test_for_a_very_long_list_the_count_says_that_it_is_an_upper_bound(shop, now, monkeypatch):
    monkeypatch.setattr(queries, "EXACT_UP_TO", 1)
    for item in items(3)[:2]:
        known(shop, item, now)
    assert queries.available_to(shop, Filter(), now=now) == (3, False)
    listing = queries.browse(shop, Filter(), now=now, limit=9)
    assert (len(listing.items), listing.total, listing.is_exact) == (1, 3, False)


def test_what_has_aged_out_is_not_counted_before_roll_over_has_run(shop, now):
    items(2, days=269)
    later = now + timedelta(days=1)
    assert queries.available(Filter(), now=now) == 2
    assert queries.available(Filter(), now=later) == 0
    assert queries.browse(shop, Filter(), now=later, limit=9).items == []
    inventory.roll_over(now=later, whole=True)
    assert [(cell.age_bucket, cell.available) for cell in queries.cells(Filter(), now=later)] == [("MONTH_9_TO_11", 2)]


def test_a_page_goes_on_past_those_the_buyer_has(shop, now):
    """Whoever they have stands in front: the oldest."""
    shelf = [an_item(days=days) for days in range(260, 230, -1)]
    for item in shelf[:20]:
        known(shop, item, now)
    listing = queries.browse(shop, Filter(), now=now, limit=4)
    assert [item.inventory_id for item in listing.items] == [item.pk for item in shelf[20:24]]
    more = queries.browse(shop, Filter(), now=now, limit=4, after=listing.after)
    assert [item.inventory_id for item in more.items] == [item.pk for item in shelf[24:28]]
    last = queries.browse(shop, Filter(), now=now, limit=4, offset=8)
    assert ([item.inventory_id for item in last.items], last.after) == ([item.pk for item in shelf[28:]], "")


def test_many_states_are_found_like_few(shop, now):
    codes = [f"S{number:02}" for number in range(15)]
    shelf = [an_item(state=code, county="") for code in codes]
    found = queries.browse(shop, Filter(states=tuple(codes[:12])), now=now, limit=50)
    assert {item.inventory_id for item in found.items} == {item.pk for item in shelf[:12]}
    assert found.total == 12


def test_what_was_bought_is_neither_counted_nor_listed(shop, now):
    items(3)
    purchases.buy_by_criteria(business=shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 2)], by="", now=now)
    assert queries.available_to(shop, Filter(), now=now) == (1, True)
    inventory.tidy_stock()
    assert queries.available_to(shop, Filter(), now=now) == (1, True)
    assert inventory.miscounted() == []


def test_a_cursor_that_is_none_is_told(shop, now):
    for cursor in ("x", "2026-01-01T00:00:00~", "2026-01-01T00:00:00~01a1f8b8-81bb-768a-b566-331d481688e2"):
        with pytest.raises(ValueError, match=r".+"):
            queries.browse(shop, Filter(), now=now, limit=1, after=cursor)
