"""A buyer's shop: looking, the cart, buying, what was bought, giving back."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
import time_machine

from crm.enums import MessageStatus
from crm.models import Customer, Message
from crm.scoping import every_business, only
from crm.services import audit
from leads.models import Lead
from marketplace import cart, queries
from marketplace.allocation import Criterion
from marketplace.enums import ReturnReason, Terms
from marketplace.models import (
    Buyer,
    Export,
    ExportDownload,
    KnownPhone,
    PricingRule,
    Purchase,
    Quote,
    Recall,
    RecallNotice,
    Return,
    Sale,
)
from marketplace.services import books, exports, landing, prices, purchases, returns
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer, an_item, items, start_prices
from tests.pages import page, signed_in, viewer_of, words_of

GOLD_6 = {"classification": "Gold", "age_bucket": "MONTH_6_TO_8", "state": "LA", "county": "", "quantity": 2}
IN_LA = Criterion("Gold", "MONTH_6_TO_8", 2, "LA")
ONCE = "018f0000-0000-7000-8000-00000000000"


@pytest.fixture(autouse=True)
def _at_nine(now):
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture(autouse=True)
def _files_apart(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def shop(cast):
    start_prices()
    a_buyer(cast.shop)
    return cast.shop


@pytest.fixture
def alice(cast):
    return signed_in(cast.alice)


def add(client, times=0, **fields):
    return client.post(page("marketplace:add_line"), GOLD_6 | {"once": f"{ONCE}{times}"} | fields, follow=True)


def newest_quote():
    with every_business():
        return Quote.objects.order_by("-id").first()


def change(client, quote, **fields):
    return client.post(page("marketplace:change_line"), GOLD_6 | {"quote": quote.pk, "line": 0} | fields, follow=True)


def checkout(client, quote, **options):
    return client.post(page("marketplace:checkout"), {"quote": quote.pk}, **options)


def buy(business, now, *criteria):
    with only(business):
        return purchases.buy_by_criteria(
            business=business, criteria=list(criteria or [IN_LA]), by="Alice Ames", now=now
        ).purchase


def sales_of(purchase):
    with every_business():
        return list(Sale.objects.filter(purchase=purchase).select_related("lead").order_by("id"))


def nothing_was_bought():
    with every_business():
        return not Purchase.objects.exists() and not Sale.objects.exists()


def part(response, start, end):
    html = response.content.decode()
    return html[html.index(start) :].partition(end)[0]


def said(response):
    """The sentence that follows the filters."""
    return words_of_html(part(response, 'id="said"', "</p>").partition(">")[2])


def words_of_html(html):
    return " ".join(unescape(re.sub(r"<(svg)\b.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)).split())


def cells(response):
    """What stands in the table: kind → (count, price)."""
    found = re.findall(
        r'id="cell-([\w-]+)".*?kind__count">([^<]+)</span>\s*<span class="kind__price">([^<]+)',
        response.content.decode(),
        re.DOTALL,
    )
    return {kind: (count, price) for kind, count, price in found}


def names(response):
    return [
        words_of_html(cell)
        for cell in re.findall(r'<th role="rowheader" scope="row">(.*?)</th>', response.content.decode(), re.DOTALL)
    ]


# --- Looking ---------------------------------------------------------------------------------------------------------


def test_a_kind_is_told_with_its_number_its_price_and_what_so_many_cost(shop, alice):
    items(3)
    an_item(classification="Silver")
    an_item(days=280)
    query = {"class": "Gold", "age": "MONTH_6_TO_8", "state": "LA", "quantity": "2"}
    shown = alice.get(page("marketplace:browse", **query))
    assert said(shown) == "3 leads in stock for you · $8.00 each · 2 of them cost $16.00"
    assert "Add 2 Gold, 6 to 8 months, Louisiana ($16.00)" in words_of(shown)
    shown = alice.get(page("marketplace:browse", **query | {"quantity": "50"}))
    assert said(shown) == "3 leads in stock for you · $8.00 each · all 3 cost $24.00"
    assert "Add 3 Gold, 6 to 8 months, Louisiana ($24.00)" in words_of(shown)
    shown = alice.get(page("marketplace:browse", quantity=2))
    assert said(shown) == "5 leads in stock for you · $6.00 to $8.00 each · 2 of them cost $12.00 to $16.00"
    assert "Pick one class and one age to buy: one tap in the table." in words_of(shown)


def test_the_table_counts_every_class_and_age_with_its_days_and_price(shop, alice):
    items(2)
    an_item(classification="Silver", days=800)
    PricingRule.objects.filter(classification="Silver", age_bucket="MONTH_24_PLUS").delete()
    shown = alice.get(page("marketplace:browse"))
    assert cells(shown) == {
        "Gold-MONTH_3_TO_5": ("none", "$10.00"), "Silver-MONTH_3_TO_5": ("none", "$7.50"),
        "Gold-MONTH_6_TO_8": ("2", "$8.00"), "Silver-MONTH_6_TO_8": ("none", "$6.00"),
        "Gold-MONTH_9_TO_11": ("none", "$6.00"), "Silver-MONTH_9_TO_11": ("none", "$4.50"),
        "Gold-MONTH_12_TO_23": ("none", "$5.00"), "Silver-MONTH_12_TO_23": ("none", "$4.00"),
        "Gold-MONTH_24_PLUS": ("none", "$4.00"), "Silver-MONTH_24_PLUS": ("1", "no price yet"),
    }  # fmt: skip
    text = words_of(shown)
    for days in ("90 to 179 days", "180 to 269 days", "270 to 359 days", "360 to 719 days", "720 days and older"):
        assert days in text
    unpriced = alice.get(page("marketplace:browse", **{"class": "Silver", "age": "MONTH_24_PLUS"}))
    assert said(unpriced) == "1 lead in stock for you · without a price yet, so they cannot be bought"
    assert "Nobody has said what these cost, so they cannot be bought yet." in words_of(unpriced)


def test_a_tap_picks_a_kind_and_a_second_one_lets_go_of_it(shop, alice):
    an_item()
    shown = alice.get(page("marketplace:browse", state="LA"))
    link = unescape(re.search(r'id="cell-Gold-MONTH_6_TO_8" href="([^"]+)"', shown.content.decode())[1])
    assert link == "/app/alice/buy/?class=Gold&age=MONTH_6_TO_8&state=LA"
    picked = alice.get(link).content.decode()
    assert re.findall(r'id="cell-([\w-]+)"[^>]*aria-current="true"', picked) == ["Gold-MONTH_6_TO_8"]
    assert re.findall(r'id="(class-\w+|age-\w+)"[^>]* checked', picked) == ["class-Gold", "age-MONTH_6_TO_8"]
    assert 'id="cell-Gold-MONTH_6_TO_8" href="/app/alice/buy/?state=LA"' in picked


def test_before_the_purchase_a_lead_is_a_first_name_and_a_place(shop, alice):
    an_item(
        first_name="Jane", last_name="Secretname", full_name="Jane Secretname", phone="+15045550199", zip="70112",
        address="9 Hidden Lane", lender="Hidden Bank", city="Shreveport", days=215,
    )  # fmt: skip
    shown = alice.get(page("marketplace:browse"))
    assert "Jane Shreveport Caddo LA 7 months Gold $8.00" in words_of(shown)
    for secret in ("Secretname", "5550199", "555-0199", "Hidden", "70112"):
        assert secret not in shown.content.decode()


def test_people_a_buyer_has_are_not_counted_for_them(shop, cast, alice):
    first, _ = items(2)
    KnownPhone.objects.create(business=shop, mark=first.lead.phone_mark, source="uploaded", created_at=first.created_at)
    shown = alice.get(page("marketplace:browse"))
    assert said(shown).startswith("1 lead in stock for you")
    assert cells(shown)["Gold-MONTH_6_TO_8"] == ("1", "$8.00")
    a_buyer(cast.next_door)
    theirs = signed_in(cast.charlie).get(page("marketplace:browse", slug="charlie"))
    assert said(theirs).startswith("2 leads in stock for you")


def test_a_very_long_list_of_ones_own_makes_the_count_an_upper_bound(shop, alice, monkeypatch):
    first, _ = items(2)
    KnownPhone.objects.create(business=shop, mark=first.lead.phone_mark, source="uploaded", created_at=first.created_at)
    monkeypatch.setattr(queries, "EXACT_UP_TO", 0)
    assert said(alice.get(page("marketplace:browse"))).startswith("Up to 2 leads in stock for you")


def test_counties_are_those_of_the_chosen_states(shop, alice):
    an_item(county="Caddo")
    an_item(county="Acadia")
    an_item(state="TX", county="Travis", city="Austin")

    def offered(**query):
        shown = alice.get(page("marketplace:browse", **query))
        return re.findall(r'name="county" value="([^"]*)"( checked)?', shown.content.decode()), said(shown)

    assert offered()[0] == []
    assert offered(state="LA") == (
        [("Acadia", ""), ("Caddo", "")], "2 leads in stock for you · $8.00 each · all 2 cost $16.00",
    )  # fmt: skip
    found, sentence = offered(state="LA", county="Caddo")
    assert (found, sentence) == ([("Acadia", ""), ("Caddo", " checked")], "1 lead in stock for you · $8.00")
    # What was ticked before the state changed is let go of; what has been sold out since is not.
    found, sentence = offered(state="TX", county="Caddo")
    assert (found, sentence) == ([("Travis", "")], "1 lead in stock for you · $8.00")
    found, sentence = offered(state="LA", county="Bossier")
    assert (found[-1], sentence) == (("Bossier", " checked"), "Nothing in stock matches")


def test_several_places_are_added_one_after_the_other(shop, alice):
    an_item()
    an_item(state="TX", county="Travis")
    shown = alice.get(f"{page('marketplace:browse')}?class=Gold&age=MONTH_6_TO_8&state=LA&state=TX")
    assert said(shown).startswith("2 leads in stock for you")
    assert "Leads are bought place by place. Pick one state: Louisiana Texas" in words_of(shown)
    assert 'href="/app/alice/buy/?class=Gold&amp;age=MONTH_6_TO_8&amp;state=TX"' in shown.content.decode()


def test_when_nothing_matches_the_filters_to_let_go_of_come_with_their_counts(shop, alice):
    items(2)
    an_item(classification="Silver", state="TX", county="Travis")
    an_item(classification="Silver", state="TX", county="Hays", days=280)
    query = {"class": "Gold", "age": "MONTH_6_TO_8", "state": "TX", "county": "Travis"}
    shown = alice.get(page("marketplace:browse", **query))
    assert said(shown) == "Nothing in stock matches"
    ways = re.findall(r'<a class="button" href="([^"]+)">([^<]+)</a>', part(shown, 'id="leads"', "</section>"))
    assert [(unescape(url), label) for url, label in ways] == [
        ("/app/alice/buy/?class=Gold&age=MONTH_6_TO_8", "In any state: 2 leads"),
        ("/app/alice/buy/?age=MONTH_6_TO_8&state=TX&county=Travis", "Gold and Silver: 1 lead"),
        ("/app/alice/buy/", "Everything: 4 leads"),
    ]


def test_an_empty_shelf_says_when_to_look_again(shop, alice):
    assert "The shelf is empty Leads appear here 90 days after their call." in words_of(
        alice.get(page("marketplace:browse"))
    )


def test_a_long_list_goes_on_behind_the_last_row_and_keeps_its_filters(shop, alice):
    for n in range(27):
        an_item(days=200 + n, first_name=f"Number {n:02}")
    first = alice.get(page("marketplace:browse", **{"class": "Gold"}))
    assert names(first) == [f"Number {n:02}" for n in range(26, 1, -1)]
    more = unescape(re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1])
    assert more.startswith("?class=Gold&after=")
    second = alice.get(page("marketplace:browse") + more)
    assert names(second) == ["Number 01", "Number 00"]
    assert said(second).startswith("27 leads in stock")
    assert "Back to the first" in words_of(second)
    assert alice.get(page("marketplace:browse", after="zzz")).status_code == 400
    assert alice.get(page("marketplace:browse", after="2026-01-01T00:00:00~zzz")).status_code == 400


def test_a_changed_filter_gets_the_parts_that_changed_and_the_new_address(shop, alice):
    items(3)
    query = {"class": "Gold", "state": "LA", "shown": "", "quantity": "2"}
    shown = alice.get(page("marketplace:counts", **query), headers={"HX-Request": "true"})
    assert shown.headers["HX-Replace-Url"] == "/app/alice/buy/?class=Gold&state=LA&quantity=2"
    html = shown.content.decode()
    assert words_of(shown).startswith("3 leads in stock for you · $8.00 each · 2 of them cost $16.00")
    assert "<html" not in html
    moved = re.findall(r'id="([\w-]+)"[^>]*hx-swap-oob="true"', html)
    assert [name for name in moved if not name.startswith("cell-")] == ["chosen-states", "counties", "adding", "leads"]
    assert len(moved) == 14
    # Somebody may be in the middle of the counties: they are left alone while they are the right ones.
    again = alice.get(page("marketplace:counts", **query | {"shown": "LA"}), headers={"HX-Request": "true"})
    assert 'id="counties"' not in again.content.decode()
    assert 'id="chosen-counties"' in again.content.decode()
    assert 'name="shown"' not in again.content.decode()
    assert "shown=" not in again.content.decode()


def test_opened_as_a_page_the_parts_lead_to_the_whole(shop, alice):
    assert alice.get(page("marketplace:counts", state="LA")).url == "/app/alice/buy/?state=LA"


def test_the_page_works_without_a_script(shop, alice):
    html = alice.get(page("marketplace:browse")).content.decode()
    form = html[html.index('<form class="shop__filters') :].partition("</form>")[0]
    assert 'method="get"' in form
    assert '<button class="button" type="submit">Show</button>' in form
    assert 'form="no-form"' in form  # which states' counties these are is nothing for the address


# --- Who may -----------------------------------------------------------------------------------------------------------


def test_a_business_that_does_not_buy_yet_is_told_what_this_is_and_how_to_begin(cast, alice):
    start_prices()
    shown = alice.get(page("marketplace:browse"))
    text = words_of(shown)
    assert "Ask for access. We look at every new account ourselves." in text
    assert "what they cost before you order: $3.00 to $10.00 each." in text
    assert "6 to 8 months $8.00 $6.00" in text
    assert "A bought lead carries no permission to text." in text
    assert f'href="{page("marketplace:ask")}"' in shown.content.decode()
    for name in ("cart", "purchases", "returns"):
        assert alice.get(page(f"marketplace:{name}")).url == page("marketplace:browse")
    assert words_of(add(alice)).count("Ask for access first: it takes a minute.") == 1
    with every_business():
        assert not Quote.objects.exists()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "pending"}, "Your account waits for approval We look at every new account ourselves"),
        ({"status": "pending", "email_verified_at": None}, "Confirm your e-mail address We sent a link to alice@"),
        ({"status": "suspended"}, "Buying is suspended Invoice I-1007 is late. You can look around"),
        ({"status": "closed"}, "This account is closed Invoice I-1007 is late. What you bought stays here"),
    ],
)
def test_an_account_that_cannot_buy_may_look_and_is_told_why(cast, alice, now, fields, told):
    start_prices()
    a_buyer(cast.shop, **fields)
    audit(
        business=cast.shop, actor=None, action="buyer suspended", target="buyer:alice", now=now,
        reason="Invoice I-1007 is late.",
    )  # fmt: skip
    items(2)
    shown = alice.get(page("marketplace:browse", **{"class": "Gold", "age": "MONTH_6_TO_8"}))
    assert told in words_of(shown)
    assert said(shown).startswith("2 leads in stock for you")
    assert "Buying is off for now." in words_of(shown)
    assert "Add 2 Gold" not in words_of(shown)
    assert told.partition(" ")[0] in words_of(add(alice))
    with every_business():
        assert not Quote.objects.exists()


def test_an_account_suspended_with_a_full_cart_buys_nothing(shop, alice):
    items(2)
    add(alice)
    Buyer.objects.update(status="suspended")
    refused = checkout(alice, newest_quote())
    assert refused.status_code == 409
    assert "Nothing was bought. You can look around and take what you bought" in words_of(refused)
    assert "Buy 2 leads" not in words_of(refused)
    assert nothing_was_bought()


def test_a_viewer_looks_and_is_refused_to_buy(shop, cast, alice):
    items(2)
    add(alice)
    vera = signed_in(viewer_of(cast.shop))
    shown = vera.get(page("marketplace:browse", **{"class": "Gold", "age": "MONTH_6_TO_8"}))
    assert "You may look here, not buy." in words_of(shown)
    assert re.findall(r'method="post" action="(/app/alice/[^"]*)"', shown.content.decode()) == []
    refused = checkout(vera, newest_quote())
    assert refused.status_code == 403
    assert "You may read here, not change things." in words_of(refused)
    assert nothing_was_bought()


# --- The cart --------------------------------------------------------------------------------------------------------


def test_lines_gather_in_a_quote_with_locked_prices(shop, alice, now):
    items(2)
    an_item(state="TX", county="Travis", classification="Silver", days=400)
    shown = add(alice)
    assert shown.redirect_chain == [("/app/alice/buy/?class=Gold&age=MONTH_6_TO_8&state=LA&quantity=2", 302)]
    assert "2 Gold, 6 to 8 months, Louisiana: in the cart." in words_of(shown)
    assert "Cart: 2 leads, $16.00" in words_of(shown)
    add(alice, 1, classification="Silver", age_bucket="MONTH_12_TO_23", state="TX", county="Travis", quantity=1)
    quote = newest_quote()
    assert (quote.total_items, quote.subtotal, quote.expires_at) == (3, Decimal("20.00"), now + timedelta(minutes=15))
    shown = alice.get(page("marketplace:cart"))
    text = words_of(shown)
    assert "Gold, 6 to 8 months, Louisiana 180 to 269 days after the call · $8.00 each $16.00" in text
    assert "Silver, 12 to 23 months, Travis, Texas 360 to 719 days after the call · $4.00 each $4.00" in text
    assert "3 leads $20.00 Prices are locked until 9:15 AM" in text
    assert 'data-seconds-left="900"' in shown.content.decode()
    assert "By invoice You owe nothing now. You owe $20.00 with this order." in text
    assert "A lead can be returned within 10 days, up to 30% of the leads of 30 days" in text
    assert "No permission to text comes with these leads A bought lead carries no permission to text." in text
    assert "Buy 3 leads for $20.00" in text
    prices.set_price(classification="Gold", age_bucket="MONTH_6_TO_8", price=Decimal(9), now=now)
    assert "3 leads $20.00" in words_of(alice.get(page("marketplace:cart")))


def test_a_second_click_on_add_adds_nothing_more(shop, alice):
    items(4)
    add(alice)
    add(alice)
    assert newest_quote().total_items == 2
    add(alice, 1)
    quote = newest_quote()
    assert [(line["quantity"], line["unit_price"]) for line in quote.lines] == [(4, "8.00")]  # one kind, one line
    stale = add(alice, quantity=1)  # the same form with another number: a page from before
    assert "This page was out of date, so nothing was added." in words_of(stale)
    assert newest_quote() == quote


def test_what_lies_in_the_cart_already_counts_when_more_is_added(shop, alice):
    items(3)
    add(alice)
    assert "Gold, 6 to 8 months, Louisiana: only 3 of 4 are left in stock for you" in words_of(add(alice, 1))
    assert newest_quote().total_items == 2


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"quantity": 3}, "Gold, 6 to 8 months, Louisiana: only 2 of 3 are left in stock for you"),
        ({"state": "TX"}, "Gold, 6 to 8 months, Texas: none is left in stock for you"),
        ({"quantity": 0}, "Write how many leads you want: 1 to 1,000."),
        ({"quantity": "many"}, "Write how many leads you want: 1 to 1,000."),
        ({"classification": "Bronze"}, "Choose the leads again: this page was out of date."),
        ({"once": ""}, "Choose the leads again: this page was out of date."),
    ],
)
def test_what_cannot_be_added_is_refused_with_the_reason(shop, alice, fields, sentence):
    items(2)
    assert sentence in words_of(add(alice, **fields))
    with every_business():
        assert not Quote.objects.exists()


def test_a_kind_without_a_price_is_not_added(shop, alice):
    items(2)
    PricingRule.objects.filter(classification="Gold").delete()
    assert "Gold, 6 to 8 months: nobody has said what these cost" in words_of(add(alice))
    with every_business():
        assert not Quote.objects.exists()


def test_an_order_has_a_largest_size(shop, alice, monkeypatch):
    items(4)
    an_item(state="TX")
    monkeypatch.setattr(cart, "MOST", 3)
    monkeypatch.setattr(cart, "MOST_LINES", 1)
    add(alice)
    quote = newest_quote()
    assert "At most 3 leads of one kind fit into one order. Buy these first." in words_of(add(alice, 1))
    refused = add(alice, 2, state="TX", quantity=1)
    assert "At most 1 kinds of leads fit into one order. Buy these first." in words_of(refused)
    assert newest_quote() == quote


def test_a_line_changes_its_number_or_goes(shop, alice):
    items(3)
    an_item(state="TX")
    add(alice)
    add(alice, 1, state="TX", quantity=1)
    quote = newest_quote()
    assert "4 leads $32.00" in words_of(change(alice, quote, quantity=3))
    changed = newest_quote()
    assert [(line["state"], line["quantity"]) for line in changed.lines] == [("LA", 3), ("TX", 1)]
    change(alice, quote, quantity=3)  # the second click: made of what was on the screen
    assert newest_quote().lines == changed.lines
    assert "only 3 of 4 are left" in words_of(change(alice, changed, quantity=4))
    assert "1 to 1,000" in words_of(change(alice, changed, quantity=""))
    assert newest_quote().lines == changed.lines
    assert "1 lead $8.00" in words_of(change(alice, changed, remove="1"))
    emptied = change(alice, newest_quote(), remove="1")
    assert "Nothing in the cart Choose leads by class, age and place." in words_of(emptied)


def test_a_line_that_is_not_there_is_nobodys_fault_but_the_forms(shop, alice):
    items(2)
    add(alice)
    for fields in ({"line": 1}, {"quote": "zzz"}):
        assert alice.post(page("marketplace:change_line"), GOLD_6 | {"quote": newest_quote().pk} | fields).status_code in (
            302, 400,
        )  # fmt: skip
    assert newest_quote().total_items == 2


def test_when_the_prices_are_over_one_gets_new_ones_and_is_told_what_changed(shop, alice, now):
    items(2)
    add(alice)
    quote = newest_quote()
    with time_machine.travel(now + timedelta(minutes=16), tick=False):
        shown = alice.get(page("marketplace:cart"))
        html = shown.content.decode()
        assert "Prices may have changed They were locked for 15 minutes. Get new prices" in words_of(shown)
        assert re.findall(r"<div data-while-it-holds( hidden)?>", html) == [" hidden"]
        assert re.findall(r'<form method="post" action="[^"]*checkout/" data-while-it-holds( hidden)?>', html) == [
            " hidden"
        ]
        prices.set_price(
            classification="Gold", age_bucket="MONTH_6_TO_8", price=Decimal("9.50"), now=now + timedelta(minutes=15)
        )
        refused = checkout(alice, quote)
        assert refused.status_code == 409
        assert "Nothing was bought: the prices held for 15 minutes, and those are over." in words_of(refused)
        assert nothing_was_bought()
        renewed = alice.post(page("marketplace:renew"), {"quote": quote.pk}, follow=True)
        assert "Prices have changed: Gold, 6 to 8 months now $9.50 each instead of $8.00." in words_of(renewed)
        assert "2 leads $19.00 Prices are locked until 9:31 AM" in words_of(renewed)


# --- Buying ------------------------------------------------------------------------------------------------------------


def test_a_cart_is_bought_whole_and_once(shop, alice):
    items(2)
    add(alice)
    quote = newest_quote()
    bought = checkout(alice, quote, follow=True)
    with every_business():
        purchase = Purchase.objects.get()
        assert Sale.objects.count() == 2
    assert bought.redirect_chain == [(page("marketplace:purchase", purchase.pk), 302)]
    assert "Bought 2 leads for $16.00." in words_of(bought)
    assert (purchase.total, purchase.bought_by, purchase.quote_id) == (Decimal("16.00"), "Alice Ames", quote.pk)
    assert "Nothing in the cart" in words_of(alice.get(page("marketplace:cart")))
    again = checkout(alice, quote, follow=True)
    assert again.redirect_chain == [(page("marketplace:purchase", purchase.pk), 302)]
    assert f"{purchase} is bought: 2 leads for $16.00. Nothing was bought twice." in words_of(again)
    for act in (
        change(alice, quote, quantity=1),
        alice.post(page("marketplace:renew"), {"quote": quote.pk}, follow=True),
    ):
        assert act.redirect_chain == [(page("marketplace:purchase", purchase.pk), 302)]
    with every_business():
        assert (Purchase.objects.count(), Sale.objects.count(), Quote.objects.count()) == (1, 2, 1)
    assert Buyer.objects.get(business=shop).balance == Decimal("-16.00")


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment_buy_once(shop, cast, alice):
    items(4)
    add(alice)
    quote = newest_quote()
    clicks = [signed_in(cast.alice) for _ in range(3)]
    answers = all_at_once([lambda client=client: checkout(client, quote) for client in clicks])
    with every_business():
        purchase = Purchase.objects.get()
        assert Sale.objects.count() == 2
    assert {(answer.status_code, answer.url) for answer in answers} == {
        (302, page("marketplace:purchase", purchase.pk))
    }


def test_a_shortage_buys_nothing_and_offers_what_can_be_bought_with_its_cost(shop, cast, alice, now):
    items(3)
    items(5, days=280)
    an_item(state="TX")
    items(2, classification="Silver")
    add(alice, classification="Silver", quantity=1)
    add(alice, 1, quantity=3)
    a_buyer(cast.next_door)
    buy(cast.next_door, now)
    quote = newest_quote()
    with every_business():
        before = Purchase.objects.count()
    short = checkout(alice, quote)
    assert short.status_code == 409
    text = words_of(short)
    assert "Gold, 6 to 8 months, Louisiana: 1 of 3 are left, so nothing was bought. You can:" in text
    assert "Take the one that is left The order then costs $14.00." in text
    assert "Take 2 from anywhere, not only Louisiana The order then costs $22.00." in text
    assert "Take 3 that are 9 to 11 months old The order then costs $24.00." in text
    with every_business():
        assert Purchase.objects.count() == before
        assert Quote.objects.latest("id") == quote  # none of the offers is made before somebody takes it
    offers = re.findall(
        r'<form method="post" action="[^"]*change/">(.*?)</form>', part(short, "problem__ways", "</ul>"), re.S
    )
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', offers[2]))
    taken = alice.post(page("marketplace:change_line"), fields, follow=True)
    assert "4 leads $24.00 Prices are locked until" in words_of(taken)
    bought = checkout(alice, newest_quote(), follow=True)
    assert "Bought 4 leads for $24.00." in words_of(bought)
    with only(shop):
        kinds = Sale.objects.values_list("classification", "age_bucket")
        assert sorted(kinds) == [("Gold", "MONTH_9_TO_11")] * 3 + [("Silver", "MONTH_6_TO_8")]


def test_when_all_are_gone_and_nothing_is_like_them_the_page_says_so(shop, cast, alice, now):
    items(2)
    add(alice)
    a_buyer(cast.next_door)
    buy(cast.next_door, now)
    short = checkout(alice, newest_quote())
    assert "Gold, 6 to 8 months, Louisiana: none of 2 is left, so nothing was bought." in words_of(short)
    assert "You can:" not in words_of(short)


def test_a_wallet_shows_what_is_left_and_what_is_missing(shop, alice, now):
    items(3)
    books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal(1), actor=None, now=now)
    books.top_up(business=shop, amount=Decimal(17), reference="bank 1", actor=None, now=now)
    text = words_of(add(alice) and alice.get(page("marketplace:cart")))
    assert "From your wallet $18.00 can be spent, $1.00 of it credit. $2.00 can be spent after this order." in text
    short = change(alice, newest_quote(), quantity=3)
    assert "This order costs $24.00: top up $6.00 or order less." in words_of(short)
    assert "Buy 3 leads" not in words_of(short)
    forced = checkout(alice, newest_quote())
    assert forced.status_code == 409
    assert (
        "Nothing was bought. This order costs $24.00 and $18.00 can be spent. Top up $6.00 or order less."
        in words_of(forced)
    )
    assert nothing_was_bought()


def test_a_neighbours_cart_is_not_there_in_the_words_for_one_that_never_was(shop, cast, alice):
    items(2)
    add(alice)
    quote = newest_quote()
    a_buyer(cast.next_door)
    charlie = signed_in(cast.charlie)
    nobody = Quote(pk=f"{ONCE}9")
    for name, fields in (("checkout", {}), ("renew", {}), ("change_line", GOLD_6 | {"line": 0})):
        hers, nobodys = (
            charlie.post(page(f"marketplace:{name}", slug="charlie"), fields | {"quote": pk})
            for pk in (quote.pk, nobody.pk)
        )
        assert (hers.status_code, hers.content) == (nobodys.status_code, nobodys.content)
        assert hers.status_code == 404
    assert nothing_was_bought()


# --- What was bought -----------------------------------------------------------------------------------------------------


def test_purchases_are_listed_with_how_often_their_files_were_taken(shop, alice, now):
    items(5)
    first = buy(shop, now - timedelta(hours=2))
    second = buy(shop, now)
    shown = alice.get(page("marketplace:purchases"))
    assert "Purchases 2 purchases" in words_of(shown)
    assert names(shown) == [str(second), str(first)]
    assert f"{first} Nov 18, 2026, 7:00 AM Alice Ames 2 $16.00 0" in words_of(shown)
    for _ in range(2):
        alice.post(page("marketplace:download", first.pk), {"profile": "csv"})
    alice.post(page("marketplace:download", first.pk), {"profile": "xlsx"})
    assert f"{first} Nov 18, 2026, 7:00 AM Alice Ames 2 $16.00 3" in words_of(alice.get(page("marketplace:purchases")))


@pytest.mark.parametrize("words", ["{number}", "P-{number}", "p-{number}", "jane do", "(504) 555-0199", "5550199"])
def test_a_purchase_is_found_by_its_number_and_by_a_lead(shop, alice, now, words):
    items(2, days=220)
    other = buy(shop, now)
    an_item(full_name="Jane Doe", phone="+15045550199")
    wanted = buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
    assert other != wanted
    assert names(alice.get(page("marketplace:purchases", q=words.format(number=wanted.number)))) == [str(wanted)]
    assert "Nothing found" in words_of(alice.get(page("marketplace:purchases", q="zzz")))


def test_nothing_bought_yet_leads_to_the_shelf(shop, alice):
    assert "Nothing bought yet Every order stands here" in words_of(alice.get(page("marketplace:purchases")))


def test_a_purchase_shows_its_leads_whole(shop, alice, now):
    an_item(days=225, full_name="Jane Doe", phone="+15045550199")
    an_item(days=200, full_name="", first_name="", last_name="", phone="", borrower_phone="ask the son")
    purchase = buy(shop, now)
    shown = alice.get(page("marketplace:purchase", purchase.pk))
    text = words_of(shown)
    assert "Bought Wed, Nov 18, 2026, 9:00 AM by Alice Ames Leads 2 Total $16.00" in text
    assert "Asked for 2 Gold, 6 to 8 months, Louisiana" in text
    assert "Returns Until Sat, Nov 28." in text
    assert "Leads 2 leads No permission to text A bought lead carries no permission to text." in text
    assert "Jane Doe (504) 555-0199 Shreveport, LA Gold 7 months $8.00 Return" in text
    assert "No name on file ask the son Shreveport, LA Gold 6 months $8.00 Return" in text
    assert 'href="tel:+15045550199"' in shown.content.decode()


def test_a_lead_leads_to_its_customer_once_it_has_landed(shop, alice, now):
    an_item(full_name="Jane Doe")
    purchase = buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 1))
    assert "/customers/0" not in alice.get(page("marketplace:purchase", purchase.pk)).content.decode()
    assert landing.land_due(now=now) == 1
    with only(shop):
        jane = Customer.objects.get(name="Jane Doe")
        assert Lead.objects.get().customer == jane
    assert (
        f'<a href="{page("crm:customer", jane.pk)}">Jane Doe</a>'
        in alice.get(page("marketplace:purchase", purchase.pk)).content.decode()
    )


def test_people_who_were_called_back_are_marked_and_cannot_be_called_with_a_tap(shop, alice, now):
    items(2)
    purchase = buy(shop, now)
    first, second = sales_of(purchase)
    for sale, because in ((first, "opted_out"), (second, "erased")):
        recall = Recall.objects.create(lead=sale.lead, because=because, at=now)
        with only(shop):
            RecallNotice.objects.create(business=shop, recall=recall, sale=sale, created_at=now)
    type(second.lead).objects.filter(pk=second.lead_id).update(
        full_name="", first_name="", last_name="", phone="", borrower_phone="", erased_at=now
    )
    shown = alice.get(page("marketplace:purchase", purchase.pk))
    assert "John Moore Opted out" in words_of(shown)
    assert "Erased on request Erased on request no phone" in words_of(shown)
    assert 'href="tel:' not in shown.content.decode()


def test_a_long_purchase_goes_on_in_place_and_can_be_searched(shop, alice, now):
    for n in range(52):
        an_item(days=200 + n, full_name=f"Person {n:02}", phone=f"+150455501{n:02}")
    purchase = buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 52))
    address = page("marketplace:purchase", purchase.pk)
    first = alice.get(address)
    assert names(first) == [f"Person {n:02}" for n in range(51, 1, -1)]
    more = unescape(re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1])
    assert names(alice.get(address + more)) == ["Person 01", "Person 00"]
    assert names(alice.get(f"{address}?q=person+07")) == ["Person 07"]
    assert names(alice.get(f"{address}?q=555-0133")) == ["Person 33"]
    assert "Nobody found" in words_of(alice.get(f"{address}?q=zzz"))


# --- Files ---------------------------------------------------------------------------------------------------------------


def test_a_file_is_taken_at_once_and_is_the_same_the_next_time(shop, alice, now):
    an_item(full_name="Jane Doe", days=220)
    an_item(full_name="=1+1")
    purchase = buy(shop, now)
    address = page("marketplace:download", purchase.pk)
    first, second = (alice.post(address, {"profile": "csv"}) for _ in range(2))
    content = first.getvalue()
    assert first.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert first.headers["Content-Disposition"] == f'attachment; filename="{purchase}-leads.csv"'
    assert second.getvalue() == content
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["Full Name"] for row in rows] == ["Jane Doe", "1+1"]
    assert [row["Sale ID"] for row in rows] == [str(sale.pk) for sale in sales_of(purchase)]
    with only(shop):
        file = Export.objects.get()
        assert list(ExportDownload.objects.values_list("by", "export")) == [("Alice Ames", file.pk)] * 2
    checksum = hashlib.sha256(content).hexdigest()
    text = words_of(alice.get(page("marketplace:purchase", purchase.pk)))
    assert f"CSV for spreadsheets 2 leads, {len(content)} bytes SHA-256 {checksum}" in text.replace("\xa0", " ")
    assert "Taken 2 times: Alice Ames, Nov 18, 9:00 AM; Alice Ames, Nov 18, 9:00 AM" in text
    shown = alice.get(page("marketplace:export", file.pk))
    assert checksum in words_of(shown)
    assert "Cleaned 1 cell that a spreadsheet could have taken for a formula" in words_of(shown)
    assert alice.post(page("marketplace:take_file", file.pk)).getvalue() == content


def test_programs_and_excel_get_files_of_their_own(shop, alice, now):
    items(2)
    purchase = buy(shop, now)
    for profile, name, beginning in (
        ("machine", f"{purchase}-leads-for-programs.csv", b"Sale ID,"), ("xlsx", f"{purchase}-leads.xlsx", b"PK"),
    ):  # fmt: skip
        file = alice.post(page("marketplace:download", purchase.pk), {"profile": profile})
        assert file.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert file.getvalue().startswith(beginning)
    assert alice.post(page("marketplace:download", purchase.pk), {"profile": "pdf"}).status_code == 400
    with only(shop):
        assert Export.objects.count() == 2


def test_a_long_file_is_made_in_the_background_and_waited_for(shop, alice, now, monkeypatch):
    items(2)
    purchase = buy(shop, now)
    monkeypatch.setattr(exports, "AT_ONCE", 1)
    waiting = alice.post(page("marketplace:download", purchase.pk), {"profile": "csv"}, follow=True)
    with only(shop):
        file = Export.objects.get()
    address = page("marketplace:export", file.pk)
    assert waiting.redirect_chain == [(address, 302)]
    assert "Writing the file 0 of 2 You can leave this page" in words_of(waiting)
    assert f'hx-get="{address}" hx-trigger="every 2s"' in waiting.content.decode()
    asked = {"headers": {"HX-Request": "true"}}
    assert "<html" not in alice.get(address, **asked).content.decode()
    early = alice.post(page("marketplace:take_file", file.pk), follow=True)
    assert "This file is still being made. Try again in a minute." in words_of(early)
    exports.build(file.pk, now=now)
    ready = alice.get(address, **asked)
    assert "hx-trigger" not in ready.content.decode()
    assert "Leads 2 Size" in words_of(ready)
    assert "Download" in words_of(ready)


def test_a_file_with_somebody_who_was_erased_is_withdrawn_and_can_be_made_again(shop, alice, now):
    items(2)
    purchase = buy(shop, now)
    alice.post(page("marketplace:download", purchase.pk), {"profile": "csv"})
    with only(shop):
        file = Export.objects.get()
    exports.void_exports_with(sale_ids=[sales_of(purchase)[0].pk], now=now)
    shown = words_of(alice.get(page("marketplace:export", file.pk)))
    assert "This file was withdrawn Somebody in it has been erased since." in shown
    assert "Make it again" in shown
    refused = alice.post(page("marketplace:take_file", file.pk), follow=True)
    assert "This file was withdrawn: somebody in it has been erased since." in words_of(refused)
    assert alice.post(page("marketplace:download", purchase.pk), {"profile": "csv"}).status_code == 200


# --- Leads that go back ----------------------------------------------------------------------------------------------------


def ask(client, sale, reason="other", note="It rings and rings."):
    return client.post(page("marketplace:ask_return", sale.pk), {"reason": reason, "note": note}, follow=True)


def had_before(sale, now):
    """As if the buyer had uploaded a list with this person the day before."""
    with every_business():
        known = KnownPhone.objects.filter(mark=sale.lead.phone_mark)
        known.update(source="uploaded", created_at=now - timedelta(days=1))


def test_before_a_return_one_sees_until_when_and_how_many(shop, alice, now):
    items(4)
    sale, *_ = sales_of(buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 4)))
    text = words_of(alice.get(page("marketplace:return", sale.pk)))
    assert (
        "It can go back until Sat, Nov 28. A lead can be returned within 10 days, up to 30% of the leads of 30 days: 1"
        " more now (0 of 1 used)." in text
    )
    assert "Lead Gold, 6 to 8 months, Caddo, Louisiana Bought Wed, Nov 18, 2026, 9:00 AM for $8.00" in text
    for reason in ReturnReason.labels:
        assert reason in text


def test_a_return_needs_a_reason_and_something_else_needs_a_note(shop, alice, now):
    items(2)
    sale, _ = sales_of(buy(shop, now))
    for fields, sentence in (({}, "Choose what is wrong with it."), ({"reason": "other"}, "Say what it is.")):
        refused = alice.post(page("marketplace:ask_return", sale.pk), fields)
        assert refused.status_code == 422
        assert sentence in words_of(refused)
    with only(shop):
        assert not Return.objects.exists()


def test_a_return_that_nobody_can_prove_waits_for_a_person(shop, alice, now):
    items(2)
    sale, _ = sales_of(buy(shop, now))
    text = words_of(ask(alice, sale))
    assert "Asked. Somebody looks at it, and what they decide appears here." in text
    assert "Waiting for a decision" in text
    assert "Reason Something else Note It rings and rings. Asked Wed, Nov 18, 9:00 AM by Alice Ames" in text
    assert "What our records say No opt-out of this person is on record." in text
    again = ask(alice, sale)
    assert "This lead has been returned already." in words_of(again)
    shown = alice.get(page("marketplace:purchase", sale.purchase_id))
    assert "$8.00 Waiting for a decision Return of John Moore" in words_of(shown)
    with only(shop):
        row = Return.objects.get()
        returns.decline(row=row, actor=None, decision="It was answered on the third day.", now=now)
    declined = words_of(alice.get(page("marketplace:return", sale.pk)))
    assert "Declined It was answered on the third day." in declined


def test_what_our_records_prove_is_replaced_at_once(shop, alice, now):
    items(2)
    an_item(full_name="Nora New", days=190)
    sale, _ = sales_of(buy(shop, now))
    had_before(sale, now)
    shown = ask(alice, sale, "duplicate", "")
    text = words_of(shown)
    assert "Accepted at once: another lead has taken its place." in text
    assert "Accepted, replaced Nora New has taken its place, at no charge. Our own records say the same." in text
    order = page("marketplace:purchase", sale.purchase_id)
    assert f'<a href="{order}?q=Nora+New">Nora New</a>' in shown.content.decode()
    assert "Nora New Replacement" in words_of(alice.get(f"{order}?q=Nora+New"))
    with only(shop):
        replacement = Return.objects.get().replacement
    assert "It replaced a lead that was returned; a replacement is final." in words_of(
        alice.get(page("marketplace:return", replacement.pk))
    )


def test_without_another_of_its_kind_its_price_is_credited(shop, alice, now):
    items(2)
    sale, _ = sales_of(buy(shop, now))
    had_before(sale, now)
    text = words_of(ask(alice, sale, "duplicate", ""))
    assert "Accepted at once: its price is back on your account." in text
    assert "There was no other lead of its kind, so $8.00 went back to your account." in text
    assert Buyer.objects.get(business=shop).balance == Decimal("-8.00")


def test_after_the_last_day_a_lead_stays(shop, alice, now):
    items(2)
    purchase = buy(shop, now)
    sale, _ = sales_of(purchase)
    with time_machine.travel(now + timedelta(days=10, seconds=1), tick=False):
        text = words_of(alice.get(page("marketplace:return", sale.pk)))
        assert "This lead stays It could be returned until Nov 28, 10 days after it was bought." in text
        assert "It could be returned until Nov 28" in words_of(ask(alice, sale))
        shown = words_of(alice.get(page("marketplace:purchase", purchase.pk)))
        assert "Returns Not possible any more." in shown
        assert "$8.00 Return" not in shown
    with only(shop):
        assert not Return.objects.exists()


def test_returns_are_listed_by_how_they_stand(shop, alice, now):
    items(10)
    first, second, *_ = sales_of(buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", 10)))
    assert "Nothing was given back" in words_of(alice.get(page("marketplace:returns")))
    ask(alice, first, "wrong_person", "A florist answers.")
    ask(alice, second)
    with only(shop):
        returns.decline(row=Return.objects.get(sale=second), actor=None, decision="No.", now=now)
    shown = alice.get(page("marketplace:returns"))
    text = words_of(shown)
    assert "Returns 2 returns A lead can be returned within 10 days" in text
    assert "All 2 Waiting for a decision 1 Accepted, replaced 0 Accepted, credited 0 Declined 1" in text
    assert f"Somebody else answers · Shreveport, LA · {Purchase(number=first.purchase.number)} · $8.00" in text
    declined = words_of(alice.get(page("marketplace:returns", status="declined")))
    assert "Something else · Shreveport" in declined
    assert "Somebody else answers" not in declined
    assert "None stands like this" in words_of(alice.get(page("marketplace:returns", status="credited")))


def test_a_neighbours_lead_cannot_be_given_back(shop, cast, alice, now):
    items(2)
    sale, _ = sales_of(buy(shop, now))
    a_buyer(cast.next_door)
    charlie = signed_in(cast.charlie)
    for method in (charlie.get, charlie.post):
        for name in ("return", "ask_return"):
            hers, nobodys = (
                method(page(f"marketplace:{name}", pk, slug="charlie"), {"reason": "other", "note": "x"})
                for pk in (sale.pk, f"{ONCE}9")
            )
            assert (hers.status_code, hers.content) == (nobodys.status_code, nobodys.content)
            assert hers.status_code in (404, 405)
    with every_business():
        assert not Return.objects.exists()


def test_a_text_of_theirs_that_arrived_speaks_against_a_dead_number(shop, alice, now):
    items(2)
    sale, _ = sales_of(buy(shop, now))
    with only(shop):
        Message.objects.create(
            business=shop, direction="outbound", audience="customer", kind="chat", author="staff",
            body="Hi", to_number=sale.lead.phone, status=MessageStatus.DELIVERED, created_at=now, about="",
        )  # fmt: skip
    shown = ask(alice, sale, "invalid_number", "")
    assert "The buyer's texts to this number: 1 arrived, 0 failed." in words_of(shown)
    assert 'aria-label="Against the return"' in shown.content.decode()


# --- How much it costs us ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_the_shelf_asks_as_often_for_three_as_for_one(shop, alice, count, django_assert_num_queries):
    items(count)
    add(alice, quantity=1)
    alice.get(page("marketplace:browse"))
    query = {"class": "Gold", "age": "MONTH_6_TO_8", "state": "LA"}
    with django_assert_num_queries(16):
        alice.get(page("marketplace:browse", **query))
    with django_assert_num_queries(13):
        alice.get(page("marketplace:counts", **query), headers={"HX-Request": "true"})


@pytest.mark.parametrize("count", [1, 3])
def test_the_cart_asks_as_often_for_three_kinds_as_for_one(shop, alice, count, django_assert_num_queries):
    for number, state in enumerate(["LA", "TX", "MS"][:count]):
        an_item(state=state)
        add(alice, number, state=state, quantity=1)
    alice.get(page("marketplace:cart"))
    with django_assert_num_queries(11):
        alice.get(page("marketplace:cart"))


@pytest.mark.parametrize("count", [2, 5])
def test_a_purchase_asks_as_often_for_five_leads_as_for_two(shop, alice, now, count, django_assert_num_queries):
    items(count)
    purchase = buy(shop, now, Criterion("Gold", "MONTH_6_TO_8", count))
    landing.land_due(now=now)
    for sale in sales_of(purchase)[1:]:
        with only(shop):
            Return.objects.create(business=shop, sale=sale, reason="other", requested_at=now)
    for profile in ("csv", "machine", "xlsx")[: count - 2 or 1]:
        alice.post(page("marketplace:download", purchase.pk), {"profile": profile})
    with django_assert_num_queries(18):
        alice.get(page("marketplace:purchase", purchase.pk))
