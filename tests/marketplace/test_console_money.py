"""The money side of the console: prices are set and taken back, buyers' accounts moved, returns decided, sales reported."""

from __future__ import annotations

import csv
import io
import random
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone

from crm.models import AuditEvent, User
from crm.scoping import every_business, only
from marketplace import reports
from marketplace.admin import charts
from marketplace.admin.buyers import BuyerForm
from marketplace.allocation import Criterion
from marketplace.enums import Account, BuyerStatus, ReturnReason, Terms
from marketplace.models import Buyer, Invoice, JournalEntry, JournalLine, PricingRule, Purchase, Quote, Return, Sale
from marketplace.pricing import Period
from marketplace.reports import By
from marketplace.services import books, invoices, prices, purchases, returns
from tests.conftest import NOW
from tests.console import choose, confirm, list_of, page_of, told
from tests.marketplace.stock import a_buyer, an_item, items, start_prices

DAY = timedelta(days=1)
KIND = "/admin/marketplace/pricingrule/of/Gold/MONTH_6_TO_8/"
REPORT = "/admin/marketplace/sale/report/"
GOLD_6 = {"classification": "Gold", "age_bucket": "MONTH_6_TO_8"}


@pytest.fixture(autouse=True)
def _no_scope():
    with every_business():
        yield


@pytest.fixture
def sue(db) -> User:
    return User.objects.create_superuser("sue@example.com", "correct horse battery", name="Sue Staff")


@pytest.fixture
def console(client, sue):
    client.force_login(sue)
    return client


@pytest.fixture
def viewer(db, client):
    """Staff who may look at everything here and change nothing."""
    user = User.objects.create_user("vi@example.com", "correct horse battery", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


@pytest.fixture
def today() -> datetime:
    """The console's own clock is the real one."""
    return timezone.now()


@pytest.fixture
def shop(cast, today):
    start_prices(today)
    a_buyer(cast.shop, return_percent=100)
    return cast.shop


def buy(business, count=1, *, now, kind=("Gold", "MONTH_6_TO_8")) -> Purchase:
    with only(business):
        return purchases.buy_by_criteria(
            business=business, criteria=[Criterion(*kind, count)], by="Alice", now=now
        ).purchase


def bring_back(sale, *, now, reason=ReturnReason.OTHER) -> Return:
    with only(sale.business):
        return returns.ask(business=sale.business, sale_id=sale.pk, reason=reason, note="Line is dead", by="", now=now)


def balance(business) -> Decimal:
    return Buyer.objects.get(business=business).balance


def text_of(response) -> str:
    """The words of a page, without its markup."""
    words = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", words).replace("&#x27;", "'").replace("&amp;", "&")


# --- Prices ------------------------------------------------------------------------------------------------------------


def change(console, **fields):
    """Fill in the form, and confirm the question."""
    asked = console.post(KIND, {"when": "now", "day": "", "time": "", "notes": ""} | fields)
    form = asked.context["form"]
    if form.errors:
        return asked, None
    data = {name: form[name].value() or "" for name in form.fields}
    return asked, lambda: console.post(KIND, data | {"seen": form.seen, "confirmed": "Set the price"}, follow=True)


def rules() -> list[tuple]:
    return list(
        PricingRule.objects.filter(**GOLD_6)
        .order_by("effective_from")
        .values_list("price", "effective_from", "effective_to")
    )


def test_the_board_shows_what_holds_what_is_planned_and_what_has_no_price(console, today):
    start_prices(today)
    prices.set_price(**GOLD_6, price=Decimal(9), now=today, effective_from=datetime(2127, 12, 1, tzinfo=UTC))
    PricingRule.objects.filter(classification="Silver", age_bucket="MONTH_3_TO_5").delete()
    PricingRule.objects.filter(classification="Silver", age_bucket="MONTH_24_PLUS").update(
        effective_to=datetime(2127, 3, 1, 12, tzinfo=UTC)
    )
    an_item(days=100, classification="Silver", now=today)
    page = console.get(list_of(PricingRule))
    cells = {kind.name: kind for row in page.context["board"] for kind in row.kinds}
    assert len(cells) == 10
    assert cells["Gold, 6 to 8 months"].plans == ["$9.00 from Dec 1, 2127, 00:00 UTC"]
    assert {name: kind.troubles for name, kind in cells.items() if kind.troubles} == {
        "Silver, 3 to 5 months": ["No price. 1 on the shelf cannot be bought."],
        "Silver, 24 months and older": ["No price from Mar 1, 2127, 12:00 UTC."],
    }
    words = text_of(page)
    assert "$8.00 $9.00 from Dec 1, 2127, 00:00 UTC" in words
    assert "Set a price for Silver, 3 to 5 months No price. 1 on the shelf cannot be bought." in words


def test_a_price_is_set_after_a_question_that_says_what_changes(console, sue, today):
    start_prices(today)
    asked, set_it = change(console, price="9.00", notes="More demand")
    words = text_of(asked)
    assert "$8.00 → $9.00 from now on" in words
    assert "Up 12.5%." in words
    assert "Quotes given in the last 15 minutes keep their prices." in words
    assert (len(rules()), AuditEvent.objects.count()) == (1, 0)

    assert told(set_it()) == ["Gold, 6 to 8 months: $9.00 now."]
    (_, _, ended), (price, since, until) = rules()
    assert (price, ended, until) == (Decimal("9.00"), since, None)
    rule = PricingRule.objects.get(price="9.00", **GOLD_6)
    assert (rule.notes, rule.created_by) == ("More demand", sue)
    assert AuditEvent.objects.get().action == "price set"

    again = set_it()  # a second click
    assert again.context["form"].errors == {"price": ["They cost $9.00 then already."]}
    assert len(rules()) == 2


def test_a_price_is_planned_on_the_clock_of_utc_and_ends_where_the_next_begins(console, today):
    start_prices(today)
    asked, set_it = change(console, price="9.00", when="at", day="2127-12-01")
    assert "$8.00 → $9.00 from Dec 1, 2127, 00:00 UTC" in text_of(asked)
    assert told(set_it()) == ["Gold, 6 to 8 months: $9.00 from Dec 1, 2127, 00:00 UTC."]
    asked, set_it = change(console, price="7.00", when="at", day="2127-11-01", time="06:30")
    assert "It holds until Dec 1, 2127, 00:00 UTC, when $9.00 begins as planned." in text_of(asked)
    assert "Down 12.5%." in text_of(asked)
    set_it()
    first, second = datetime(2127, 11, 1, 6, 30, tzinfo=UTC), datetime(2127, 12, 1, tzinfo=UTC)
    assert [row[1:] for row in rules()[1:]] == [(first, second), (second, None)]


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"price": ""}, {"price": ["This field is required."]}),
        ({"price": "-1"}, {"price": ["Ensure this value is greater than or equal to 0."]}),
        ({"price": "9.001"}, {"price": ["Ensure that there are no more than 2 decimal places."]}),
        ({"price": "100000"}, {"price": ["A lead costs at most $99,999.99."]}),
        ({"price": "8.00"}, {"price": ["They cost $8.00 then already."]}),
        ({"price": "9.00", "when": "at"}, {"day": ["Choose a day."]}),
    ],
)
def test_a_price_that_cannot_be_is_told_at_its_field(console, today, fields, errors):
    start_prices(today)
    page, set_it = change(console, **fields)
    assert (page.context["form"].errors, set_it) == (errors, None)
    assert len(rules()) == 1


def test_a_moment_that_is_over_is_told_with_the_time_it_is(console, today):
    start_prices(today)
    page, _ = change(console, price="9.00", when="at", day="2020-01-01")
    (sentence,) = page.context["form"].errors["day"]
    assert re.fullmatch(r"That is over: it is \w+ \d+, \d\d:\d\d UTC\.", sentence)


def test_whoever_was_quicker_is_noticed_and_the_question_asked_again(console, today):
    start_prices(today)
    _, set_it = change(console, price="9.00")
    prices.set_price(**GOLD_6, price=Decimal("8.75"), now=timezone.now())
    again = set_it()
    assert told(again) == ["Somebody changed this price meanwhile. Look again."]
    assert "$8.75 → $9.00 from now on" in text_of(again)
    assert [row[0] for row in rules()] == [Decimal("8.00"), Decimal("8.75")]


def test_a_planned_price_is_taken_back_after_asking_once(console, today):
    start_prices(today)
    rule = prices.set_price(**GOLD_6, price=Decimal(9), now=today, effective_from=datetime(2127, 12, 1, tzinfo=UTC))
    assert "Take back" in text_of(console.get(KIND))
    asked = choose(console, "take_back", rule, back=KIND)
    assert "Gold, 6 to 8 months: $9.00 from Dec 1, 2127, 00:00 UTC" in text_of(asked)
    assert len(rules()) == 2
    in_force = PricingRule.objects.get(price="8.00", **GOLD_6)
    assert told(confirm(console, "take_back", rule, in_force)) == [
        "Gold MONTH_6_TO_8: $8.00: This price has begun or is gone already. Set a new one instead.",
        "1 taken back.",
    ]
    assert [row[0] for row in rules()] == [Decimal("8.00")]
    assert AuditEvent.objects.latest("pk").action == "planned price taken back"


def test_prices_are_looked_at_but_not_changed_without_the_permission(viewer, today):
    start_prices(today)
    page = viewer.get(KIND)
    assert (page.status_code, page.context["form"]) == (200, None)
    assert viewer.post(KIND, {"price": "9.00", "when": "now", "seen": "8.00", "confirmed": "1"}).status_code == 403
    planned = prices.set_price(**GOLD_6, price=Decimal(9), now=today, effective_from=today + DAY)
    confirm(viewer, "take_back", planned)
    assert len(rules()) == 2
    assert not AuditEvent.objects.filter(action="planned price taken back").exists()


def test_a_kind_that_does_not_exist_is_not_found(console):
    assert console.get(KIND.replace("Gold", "Bronze")).status_code == 404
    assert console.get(KIND.replace("MONTH_6_TO_8", "DAY_1")).status_code == 404


def test_the_chart_begins_at_zero_and_leaves_gaps_open(now):
    periods = [
        Period(Decimal(8), now - 100 * DAY, now - 60 * DAY),
        Period(Decimal(4), now - 40 * DAY, now + 20 * DAY),
        Period(Decimal(2), now + 20 * DAY, None),
    ]
    drawn = charts.steps(periods, now=now)
    treads = [line for line in drawn.lines if line.y1 == line.y2]
    assert [(line.y1, line.is_planned) for line in treads] == [(36.0, False), (98.0, False), (129.0, True)]
    assert (charts.FLOOR, charts.CEILING) == (160, 36)  # half the price is half as high
    assert [(band.x, band.text) for band in drawn.bands] == [(treads[0].x2, "No price")]
    assert drawn.bands[0].x + drawn.bands[0].width == pytest.approx(treads[1].x1)
    assert treads[1].x1 < drawn.now.x < treads[1].x2 == treads[2].x1 < treads[2].x2 == 100.0
    assert {label.text for label in drawn.labels} == {"$8", "$4", "$2"}
    risers = [line for line in drawn.lines if line.x1 == line.x2]
    assert [(line.y1, line.y2) for line in risers] == [(98.0, 129.0)]  # none over the gap


def test_labels_never_lie_over_each_other_and_the_price_that_holds_is_always_said(now):
    periods = [Period(Decimal(8) + n % 2, now + (n - 40) * DAY, now + (n - 39) * DAY) for n in range(60)]
    drawn = charts.steps(periods, now=now)
    held = next(period for period in periods if period.holds_at(now))
    assert f"${held.price}" == drawn.labels[0].text
    for words in (drawn.labels, drawn.days):
        assert [(a, b) for a in words for b in words if a is not b and a.covers(b)] == []


def test_the_history_is_a_chart_and_the_same_numbers_in_a_table(console, today):
    start_prices(today)
    prices.set_price(**GOLD_6, price=Decimal(9), now=today, effective_from=datetime(2127, 12, 1, tzinfo=UTC))
    page = console.get(KIND).content.decode()
    assert '<svg class="chart"' in page
    assert "Dec 1, 2127, 00:00</td>" in page
    assert " style=" not in page
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []


@pytest.mark.parametrize("model", [PricingRule, Purchase, Sale, Quote, Return, JournalEntry, JournalLine, Invoice])
def test_history_is_neither_edited_nor_deleted_by_anybody(console, shop, today, model):
    items(2, now=today - DAY)
    with only(shop):
        quote = purchases.quote_criteria(
            business=shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], now=today - DAY
        )
        bought = purchases.buy_quote(business=shop, quote_id=quote.pk, by="", now=today - DAY)
    bring_back(Sale.objects.get(pk=bought.sale_ids[0]), now=today)
    invoices.issue(business=shop, until=today, now=today)
    row = model.objects.first()
    before = model.objects.filter(pk=row.pk).values().get()
    assert console.post(page_of(row), {"price": "1", "amount": "1", "total": "1", "text": "x"}).status_code == 403
    assert console.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert console.get(list_of(model) + "add/").status_code == 403
    assert model.objects.filter(pk=row.pk).values().get() == before


# --- Buyers and their money ----------------------------------------------------------------------------------------------


def money(console, business, what, *, confirmed=True, **fields):
    """Fill in a form of the buyer's, and confirm the question."""
    address = reverse("admin:marketplace_buyer_money", args=[business.pk, what])
    asked = console.post(address, fields)
    if not confirmed or asked.context["form"].errors:
        return asked
    data = fields | {"balance": str(asked.context["balance"]), "confirmed": "Yes"}
    return console.post(address, data, follow=True)


def test_who_waits_for_approval_stands_on_top_with_true_numbers_beside_the_others(console, shop, cast, today):
    items(8, now=today)
    a_buyer(cast.next_door, status=BuyerStatus.PENDING, approved_at=None)
    buy(shop, 4, now=today)
    for sale in Sale.objects.all()[:2]:
        bring_back(sale, now=today)
    returns.decline(row=Return.objects.first(), actor=None, decision="No", now=today)
    page = console.get(list_of(Buyer))
    assert [str(buyer) for buyer in page.context["cl"].result_list] == ["Charlie Cooling", "Alice Plumbing"]
    assert "Alice Plumbing Active Invoiced −$32.00 4 25% alice@example.com" in text_of(page)
    assert "Charlie Cooling Waiting for approval Invoiced $0.00 0 – charlie@example.com" in text_of(page)


@pytest.mark.parametrize("words", ["alic", "Alice P", "ALICE@example.com"])
def test_a_buyer_is_found_by_name_or_address(console, shop, cast, words):
    a_buyer(cast.next_door)
    assert [row.pk for row in console.get(list_of(Buyer), {"q": words}).context["cl"].result_list] == [shop.pk]


def test_a_buyers_page_tells_their_money_and_offers_what_is_possible(console, shop, today):
    items(3, now=today)
    bought = buy(shop, 2, now=today)
    bring_back(Sale.objects.first(), now=today)
    books.top_up(business=shop, amount=Decimal(100), reference="wire 7", actor=None, now=today)
    page = console.get(page_of(shop.buyer))
    assert [label for _, label in page.context["staff_actions"]] == ["Suspend", "Close", "Issue an invoice now"]
    words = text_of(page)
    for sentence in (
        "Balance $84.00 Paid ahead", "Open invoices $0.00 None", "Leads bought 2 Last 30 days",
        "Returned 50% 1 of at most 2", f"{bought}: 2 leads −$16.00", "Top-up wire 7 $100.00 $84.00",
    ):  # fmt: skip
        assert sentence in words
    Buyer.objects.update(status=BuyerStatus.PENDING, terms=Terms.PREPAID)
    page = console.get(page_of(shop.buyer))
    assert [label for _, label in page.context["staff_actions"]] == ["Approve", "Close"]
    assert "Can be spent $84.00" in text_of(page)


def test_a_balance_is_never_edited_and_return_limits_are_with_a_trace(console, sue, shop):
    answer = console.post(
        page_of(shop.buyer),
        {"return_days": "14", "return_percent": "20", "balance": "999", "status": "closed", "credit_limit": "5"},
    )
    assert answer.status_code == 302
    assert Buyer.objects.values_list("return_days", "return_percent", "balance", "status", "credit_limit").get() == (
        14, 20, 0, "active", 0,
    )  # fmt: skip
    event = AuditEvent.objects.get()
    assert (event.actor, event.business, event.target, event.action) == (sue, shop, "buyer:alice", "buyer changed")
    assert event.changes == {"return_days": ["10", "14"], "return_percent": ["100", "20"]}
    refused = console.post(page_of(shop.buyer), {"return_days": "14", "return_percent": "101"})
    assert refused.context["adminform"].form.errors == {
        "return_percent": ["Ensure this value is less than or equal to 100."]
    }


def test_saving_limits_does_not_undo_what_somebody_decides_at_that_moment(console, shop, monkeypatch):
    def meanwhile(form):
        Buyer.objects.update(status=BuyerStatus.SUSPENDED)
        return form.cleaned_data

    monkeypatch.setattr(BuyerForm, "clean", meanwhile)
    console.post(page_of(shop.buyer), {"return_days": "14", "return_percent": "20"})
    assert Buyer.objects.values_list("return_days", "status").get() == (14, "suspended")


def test_a_top_up_names_buyer_amount_and_new_balance_and_is_booked_once(console, sue, shop):
    asked = money(console, shop, "top-up", confirmed=False, amount="250", reference="wire 7")
    words = text_of(asked)
    assert "Top-up of $250.00 for Alice Plumbing." in words
    assert "Balance of Alice Plumbing: $0.00 → $250.00" in words
    assert "Reference: wire 7" in words
    assert not JournalEntry.objects.exists()

    done = money(console, shop, "top-up", amount="250", reference="wire 7")
    assert told(done) == ["Top-up of $250.00 for Alice Plumbing. The balance is $250.00."]
    assert done.redirect_chain == [(page_of(shop.buyer), 302)]
    again = money(console, shop, "top-up", amount="250", reference="wire 7")
    assert again.context["form"].non_field_errors() == ["A top-up with the reference “wire 7” is booked already."]
    assert (balance(shop), JournalEntry.objects.get().actor) == (Decimal("250.00"), sue)
    assert [event.action for event in AuditEvent.objects.all()] == ["top-up booked"]


@pytest.mark.parametrize("what", ["top-up", "payment", "refund"])
def test_money_from_the_bank_needs_its_reference(console, shop, what):
    page = money(console, shop, what, amount="5", reference="")
    assert page.context["form"].errors == {"reference": ["This field is required."]}
    assert not JournalEntry.objects.exists()


def test_a_refund_is_of_what_stands_on_the_account(console, shop):
    page = money(console, shop, "refund", amount="5", reference="wire 9")
    assert page.context["form"].non_field_errors() == [
        "Alice Plumbing has $0.00 on account; $5.00 cannot be paid back."
    ]
    money(console, shop, "top-up", amount="20", reference="wire 7")
    assert told(money(console, shop, "refund", amount="5", reference="wire 9")) == [
        "Refund of $5.00 for Alice Plumbing. The balance is $15.00."
    ]


def test_a_second_click_on_an_adjustment_finds_another_balance_and_asks_again(console, shop):
    address = reverse("admin:marketplace_buyer_money", args=[shop.pk, "adjustment"])
    fields = {"amount": "-12.50", "text": "Wrong price in P-1001"}
    asked = console.post(address, fields)
    assert "$0.00 → −$12.50" in text_of(asked)
    data = fields | {"balance": str(asked.context["balance"]), "confirmed": "Yes"}
    assert told(console.post(address, data, follow=True)) == [
        "Adjustment of −$12.50 for Alice Plumbing. The balance is −$12.50."
    ]
    again = console.post(address, data)
    assert told(again) == ["The balance has moved meanwhile. Look again."]
    assert "−$12.50 → −$25.00" in text_of(again)
    assert balance(shop) == Decimal("-12.50")
    assert JournalEntry.objects.get().text == "Wrong price in P-1001"


def test_terms_are_set_after_asking_and_refused_while_too_much_is_owed(console, sue, shop):
    asked = money(console, shop, "terms", confirmed=False, terms="prepaid", credit_limit="50")
    assert "Alice Plumbing: Prepaid wallet, credit limit $50.00." in text_of(asked)
    assert "Until now: Invoiced, credit limit $0.00" in text_of(asked)
    money(console, shop, "adjustment", amount="-60", text="Leads by mail")
    refused = money(console, shop, "terms", terms="prepaid", credit_limit="50")
    assert refused.context["form"].non_field_errors() == [
        "Alice Plumbing owes $60.00. Record their payment first, or set a credit limit of at least that."
    ]
    assert told(money(console, shop, "terms", terms="prepaid", credit_limit="60")) == [
        "Alice Plumbing: Prepaid wallet, credit limit $60.00. The balance is −$60.00."
    ]
    assert Buyer.objects.values_list("terms", "credit_limit").get() == ("prepaid", Decimal("60.00"))
    assert AuditEvent.objects.filter(action="terms changed", actor=sue).count() == 1


def test_money_is_booked_only_with_the_permission_and_for_a_buyer(viewer, shop, cast):
    for what in ("top-up", "payment", "refund", "adjustment", "terms"):
        address = reverse("admin:marketplace_buyer_money", args=[shop.pk, what])
        assert viewer.get(address).status_code == 403
        assert viewer.post(address, {"amount": "5", "reference": "7", "confirmed": "Yes"}).status_code == 403
    assert not JournalEntry.objects.exists()
    page = viewer.get(page_of(shop.buyer))
    assert (page.status_code, page.context.get("movements"), page.context["staff_actions"]) == (200, None, [])


def test_a_movement_or_buyer_that_does_not_exist_is_not_found(console, shop, cast):
    assert console.get(reverse("admin:marketplace_buyer_money", args=[shop.pk, "gift"])).status_code == 404
    assert console.get(reverse("admin:marketplace_buyer_money", args=[cast.next_door.pk, "top-up"])).status_code == 404


def test_a_buyer_is_approved_suspended_reopened_and_closed_each_with_a_trace(console, sue, shop):
    Buyer.objects.update(status=BuyerStatus.PENDING, approved_at=None)
    steps = [
        ("approve", "", ["1 approved."], "active", "buyer approved"),
        ("suspend", "Cards declined twice", ["1 suspended."], "suspended", "buyer suspended"),
        ("reopen", "", ["1 open again."], "active", "buyer reopened"),
        ("close_account", "Went out of business", ["1 closed."], "closed", "buyer closed"),
    ]
    for action, reason, said, status, traced in steps:
        asked = choose(console, action, shop.buyer)
        assert f"Alice Plumbing: {Buyer.objects.get().get_status_display().lower()}, $0.00" in text_of(asked)
        assert told(confirm(console, action, shop.buyer, reason=reason)) == said
        assert Buyer.objects.get().status == status
        event = AuditEvent.objects.latest("pk")
        assert (event.action, event.actor, event.reason) == (traced, sue, reason)
    assert told(confirm(console, "suspend", shop.buyer, reason="Late")) == [
        "Alice Plumbing: The account of Alice Plumbing is closed; it can be reopened."
    ]
    assert "Reason: Went out of business" in text_of(console.get(page_of(shop.buyer)))


def test_a_suspension_needs_a_reason_the_buyer_can_read(console, shop):
    asked = confirm(console, "suspend", shop.buyer, reason="")
    assert asked.context["form"].errors == {"reason": ["This field is required."]}
    assert Buyer.objects.get().status == "active"


def test_an_invoice_is_issued_read_and_paid_once(console, sue, shop, today):
    items(2, now=today - DAY)
    bought = buy(shop, 2, now=today - DAY)
    said = told(confirm(console, "issue_invoice", shop.buyer))
    invoice = Invoice.objects.get()
    assert said == [f"Alice Plumbing: {invoice} for $16.00."]
    assert told(confirm(console, "issue_invoice", shop.buyer)) == ["Alice Plumbing: there is nothing to invoice."]
    event = AuditEvent.objects.get(action="invoice issued")
    assert (event.actor, event.changes) == (sue, {"invoice": ["", f"{invoice}, 16.00"]})
    assert f"{bought}: 2 leads 2 $16.00" in text_of(console.get(page_of(invoice)))

    for kind, content_type, begins in (("pdf", "application/pdf", b"%PDF-"), ("csv", "text/csv; charset=utf-8", b"")):
        file = console.get(reverse("admin:marketplace_invoice_file", args=[invoice.pk, kind]))
        assert (file.status_code, file.headers["Content-Type"]) == (200, content_type)
        assert file.headers["Content-Disposition"] == f'attachment; filename="{invoice}.{kind}"'
        assert file.content.startswith(begins)
    assert console.get(reverse("admin:marketplace_invoice_file", args=[invoice.pk, "doc"])).status_code == 404

    assert "of Alice Plumbing: $16.00" in text_of(choose(console, "mark_as_paid", invoice))
    assert told(confirm(console, "mark_as_paid", invoice, reference="check 1180")) == ["1 paid."]
    assert balance(shop) == 0
    (refusal,) = told(confirm(console, "mark_as_paid", invoice, reference="check 1181"))
    assert refusal.startswith(f"{invoice}: {invoice} was marked as paid on ")
    assert JournalEntry.objects.filter(kind="payment").get().reference == "check 1180"
    assert [row.pk for row in console.get(list_of(Invoice), {"state": "paid"}).context["cl"].result_list] == [
        invoice.pk
    ]


def test_one_payment_of_several_invoices_is_booked_under_each_number(console, shop, today):
    items(2, now=today - 3 * DAY)
    for ago in (2, 1):
        buy(shop, now=today - ago * DAY)
        invoices.issue(business=shop, until=today - ago * DAY + timedelta(hours=1), now=today)
    first, second = Invoice.objects.order_by("number")
    assert told(confirm(console, "mark_as_paid", first, second, reference="check 9")) == ["2 paid."]
    assert sorted(JournalEntry.objects.filter(kind="payment").values_list("reference", flat=True)) == [
        f"check 9 {first}", f"check 9 {second}",
    ]  # fmt: skip
    assert balance(shop) == 0


# --- Orders and returns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["P-{number}", "p-{number}", "{number}"])
def test_an_order_and_its_leads_are_found_by_its_number(console, shop, today, words):
    items(3, now=today)
    bought, _ = buy(shop, 2, now=today), buy(shop, now=today)
    asked = words.format(number=bought.number)
    assert [row.pk for row in console.get(list_of(Purchase), {"q": asked}).context["cl"].result_list] == [bought.pk]
    found = console.get(list_of(Sale), {"q": asked}).context["cl"].result_list
    assert {sale.purchase_id for sale in found} == {bought.pk}
    assert len(found) == 2
    of_it = console.get(list_of(Sale), {"purchase__id__exact": str(bought.pk)}).context["cl"].result_list
    assert len(of_it) == 2


def test_what_waits_for_a_decision_comes_first_and_a_search_looks_everywhere(console, shop, today):
    items(6, now=today)
    bought = buy(shop, 3, now=today)
    older, newer, decided = (
        bring_back(sale, now=today + timedelta(minutes=minute))
        for minute, sale in enumerate(Sale.objects.order_by("pk"))
    )
    returns.decline(row=decided, actor=None, decision="No", now=today)

    def listed(**query):
        return [row.pk for row in console.get(list_of(Return), query).context["cl"].result_list]

    assert listed() == [older.pk, newer.pk]
    assert listed(state="declined") == [decided.pk]
    assert listed(state="all") == listed(q=str(bought)) == [decided.pk, newer.pk, older.pk]


def test_a_return_shows_what_our_records_say_for_and_against_it(console, shop, today):
    an_item(now=today, borrower_phone="(504) 555-0100", call_in_phone_number="12")
    buy(shop, now=today)
    row = bring_back(Sale.objects.get(), now=today, reason=ReturnReason.INVALID_NUMBER)
    Return.objects.filter(pk=row.pk).update(
        evidence=[
            {"text": "The line is dead.", "speaks_for": True},
            {"text": "Three texts arrived.", "speaks_for": False},
            {"text": "A landline.", "speaks_for": None},
        ]
    )
    words = text_of(console.get(page_of(row)))
    assert "For it The line is dead. Against it Three texts arrived. Neither A landline." in words
    assert "1 for it, 1 against it" in text_of(console.get(list_of(Return), {"state": "all"}))


def test_an_accepted_return_is_replaced_or_credited_and_each_is_told(console, sue, shop, today):
    items(2, now=today)
    buy(shop, 2, now=today)
    an_item(now=today)  # one replacement for two returns
    first, second = (bring_back(sale, now=today) for sale in Sale.objects.order_by("pk"))
    asked = choose(console, "accept", first, second)
    assert text_of(asked).count("Something else: “Line is dead”") == 2
    assert Return.objects.filter(status="requested").count() == 2

    said = told(confirm(console, "accept", first, second, decision="We could not reach them either."))
    assert said == ["1 accepted, credited; 1 accepted, replaced."]
    assert sorted(Return.objects.values_list("status", flat=True)) == ["credited", "replaced"]
    assert balance(shop) == Decimal("-8.00")
    first.refresh_from_db()
    assert (first.decided_by, first.decision) == (sue, "We could not reach them either.")
    assert AuditEvent.objects.filter(action="return accepted", actor=sue).count() == 2
    page = console.get(page_of(first))
    assert page.context["staff_actions"] == []


def test_a_return_decided_meanwhile_is_told_by_name_and_holds_nobody_up(console, shop, today):
    items(2, now=today)
    bought = buy(shop, 2, now=today)
    first, second = (bring_back(sale, now=today) for sale in Sale.objects.order_by("pk"))
    returns.decline(row=first, actor=None, decision="No", now=today)
    said = told(confirm(console, "decline", first, second, decision="The number works."))
    assert said == [
        f"Gold, 6 to 8 months, $8.00, {bought} of Alice Plumbing: This return is decided already: declined.",
        "1 declined.",
    ]
    second.refresh_from_db()
    assert (second.status, second.decision) == ("declined", "The number works.")


def test_a_return_is_decided_with_a_reason_and_the_permission(viewer, console, sue, shop, today):
    items(1, now=today)
    buy(shop, now=today)
    row = bring_back(Sale.objects.get(), now=today)
    console.force_login(sue)
    assert confirm(console, "accept", row, decision=" ").context["form"].errors == {
        "decision": ["This field is required."]
    }
    viewer.force_login(User.objects.get(email="vi@example.com"))
    assert viewer.get(page_of(row)).context["staff_actions"] == []
    confirm(viewer, "accept", row, decision="Why not")
    row.refresh_from_db()
    assert row.status == "requested"


# --- The books -----------------------------------------------------------------------------------------------------------


def test_an_entry_shows_its_lines_and_that_they_add_up(console, shop, today):
    items(1, now=today)
    bought = buy(shop, now=today)
    entry = JournalEntry.objects.get()
    page = console.get(page_of(entry))
    assert "Buyer's balance −$8.00 Leads sold $8.00 Together $0.00" in text_of(page)
    assert page_of(bought) in page.content.decode()
    assert "−$8.00" in text_of(console.get(list_of(JournalEntry)))


def test_a_payment_is_found_by_its_reference(console, shop, now):
    entry = books.top_up(business=shop, amount=Decimal(5), reference="wire 7", actor=None, now=now)
    books.top_up(business=shop, amount=Decimal(5), reference="wire 77", actor=None, now=now)
    assert [row.pk for row in console.get(list_of(JournalEntry), {"q": "wire 7"}).context["cl"].result_list] == [
        entry.pk
    ]


def test_the_books_are_checked_and_the_answer_is_in_words(console, viewer, sue, shop, now):
    books.top_up(business=shop, amount=Decimal(5), reference="wire 7", actor=None, now=now)
    check = reverse("admin:marketplace_check_books")
    console.force_login(sue)
    assert console.get(check).status_code == 405
    assert "The books are right Every entry adds up to zero" in text_of(console.post(check))
    assert "1 buyer, $5.00 on all accounts together" in text_of(console.post(check))
    connection.check_constraints()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE marketplace_buyer DISABLE TRIGGER USER")
        cursor.execute("UPDATE marketplace_buyer SET balance = 6")
    words = text_of(console.post(check))
    assert "The books are wrong 1 thing does not add up." in words
    assert "alice: the balance is $6.00, its entries add up to $5.00." in words


# --- Sales and revenue -----------------------------------------------------------------------------------------------------


def a_story(cast) -> None:
    """Two buyers, forty days, random orders and returns; some are replaced, some credited, some declined."""
    dice = random.Random(7)
    start_prices(NOW - 60 * DAY)
    for business in (cast.shop, cast.next_door):
        a_buyer(business, return_percent=100, return_days=60)
    for source in ("Mailer 14", "Radio", " Radio ", ""):
        items(8, source=source, days=230)  # so that they are on the same shelf on all these days
        items(2, source=source, days=160, classification="Silver", state="TX", county="Harris")  # soon none is left
    for day in (-41, -40, -31, -30, -29, -10, -1, 0):
        for business in (cast.shop, cast.next_door):
            kind = dice.choice([("Gold", "MONTH_6_TO_8"), ("Silver", "MONTH_3_TO_5")])
            at = NOW + day * DAY
            try:
                bought = buy(business, dice.choice([1, 2, 3]), now=at, kind=kind)
            except purchases.Short:
                continue
            for sale in Sale.objects.filter(purchase=bought):
                if dice.random() < 0.5:
                    bring_back(sale, now=min(at + DAY, NOW))
    for row in Return.objects.filter(status="requested").order_by("pk"):  # by now little is left to replace them
        verb = dice.choice([returns.accept, returns.accept, returns.decline])
        decided_at = min(row.requested_at + dice.randrange(1, 30) * DAY, NOW)
        with only(row.business):
            verb(row=row, actor=None, decision="So be it", now=decided_at)


def booked(account: Account, period: reports.Period, **filters) -> Decimal:
    lines = JournalLine.objects.filter(
        account=account, entry__at__gte=period.since, entry__at__lt=period.until, **filters
    )
    return lines.aggregate(total=Sum("amount"))["total"] or Decimal(0)


PERIODS = [
    reports.this_month(NOW),
    reports.last_days(30, now=NOW),
    reports.last_days(1, now=NOW),
    reports.Period(date(2026, 10, 9), date(2026, 10, 9)),
    reports.Period(date(2026, 1, 1), date(2026, 12, 31)),
    reports.Period(date(2025, 1, 1), date(2025, 1, 31)),
]


def test_every_report_says_what_the_books_say(cast):
    a_story(cast)
    statuses = set(Return.objects.values_list("status", flat=True))
    assert statuses >= {"declined", "credited", "replaced"}
    for period in PERIODS:
        report = reports.sales(period)
        total = report.total
        assert total.revenue == booked(Account.SALES, period)
        assert total.credited == -booked(Account.RETURNS, period)
        assert total.net == booked(Account.SALES, period) + booked(Account.RETURNS, period)
        in_it = Sale.objects.filter(sold_at__gte=period.since, sold_at__lt=period.until)
        assert total.sold + total.replaced == in_it.count()
        assert total.replaced == in_it.filter(replaces__isnull=False).count()
        assert total.came_back == in_it.filter(returns__status__in=["replaced", "credited"]).count()
        for by in By:
            lines = [line.figures for line in report.lines[by]]
            for name in ("sold", "revenue", "credited", "replaced", "came_back", "net"):
                assert sum(getattr(line, name) for line in lines) == getattr(total, name), (by, name)
        for line in report.lines[By.BUYER]:
            assert line.figures.net == booked(Account.SALES, period, business=line.key) + booked(
                Account.RETURNS, period, business=line.key
            )
        for line in report.lines[By.TIME]:
            if period.step == "day":
                day = reports.Period(line.key, line.key)
                assert line.figures.revenue == booked(Account.SALES, day)
                assert line.figures.credited == -booked(Account.RETURNS, day)
    everything = reports.sales(PERIODS[4])
    assert everything.total.sold > 10
    assert {line.name for line in everything.lines[By.SOURCE]} <= {"Mailer 14", "Radio", "No source"}
    assert len(everything.lines[By.TIME]) == 12


def test_a_day_is_a_day_of_utc_and_both_ends_are_in_it(cast):
    shop = a_buyer(cast.shop).business
    start_prices(NOW - 60 * DAY)
    items(4, days=230)
    for at in ("2026-11-01T23:59:59.999999", "2026-11-02T00:00", "2026-11-02T23:59:59.999999", "2026-11-03T00:00"):
        buy(shop, now=datetime.fromisoformat(at).replace(tzinfo=UTC))
    report = reports.sales(reports.Period(date(2026, 11, 2), date(2026, 11, 2)))
    assert (report.total.sold, report.total.revenue, report.total.average) == (2, Decimal("16.00"), Decimal("8.00"))


def test_a_day_without_a_sale_is_in_the_report_and_a_long_period_is_told_by_months(db):
    week = reports.sales(reports.Period(date(2026, 11, 1), date(2026, 11, 7)))
    assert [(line.name, line.figures.sold) for line in week.lines[By.TIME]][::6] == [
        ("2026-11-01", 0),
        ("2026-11-07", 0),
    ]
    assert week.total.average is None
    half = reports.sales(reports.Period(date(2026, 5, 31), date(2026, 11, 7)))
    assert [line.key.month for line in half.lines[By.TIME]] == [5, 6, 7, 8, 9, 10, 11]


def test_the_page_and_its_file_show_the_same_numbers(console, sue, shop, today):
    items(4, now=today, source="=HYPERLINK(0)")
    buy(shop, 3, now=today)
    row = bring_back(Sale.objects.first(), now=today)
    items_left = Sale.objects.count()
    returns.accept(row=row, actor=None, decision="Yes", now=today)  # the fourth lead replaces it
    assert Sale.objects.count() == items_left + 1
    page = console.get(REPORT, {"period": "30"})
    words = text_of(page)
    for sentence in (
        "Leads sold 3 and 1 replacement given", "Revenue $24.00", "Returns credited $0.00", "Net $24.00",
        "Average price $8.00", "Came back 33.3% 1 of the leads sold in this period",
        "Gold, 6 to 8 months 3 $24.00 $0.00 $24.00 $8.00 33.3%", "Louisiana 3 $24.00", "Alice Plumbing 3 $24.00",
    ):  # fmt: skip
        assert sentence in words, sentence
    assert " style=" not in page.content.decode()

    file = console.get(f"{REPORT}csv/", {"period": "30"})
    rows = list(csv.DictReader(io.StringIO(file.content.decode("utf-8-sig"))))
    assert rows[0] == {
        "by": "total", "name": f"{(today - 29 * DAY).date()} to {today.date()}", "leads_sold": "3", "revenue": "24.00",
        "credited": "0.00", "net": "24.00", "average_price": "8.00", "replacements_given": "1", "came_back": "1",
    }  # fmt: skip
    assert [row["name"] for row in rows if row["by"] == "source"] == ["'=HYPERLINK(0)"]
    assert len([row for row in rows if row["by"] == "day"]) == 30
    assert AuditEvent.objects.get(action="sales report exported").actor == sue


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"period": "days", "first": "2026-11-02", "last": "2026-11-01"}, "The last day is before the first."),
        ({"period": "days"}, "Choose the first and the last day."),
        ({"period": "days", "first": "2020-01-01", "last": "2026-01-01"}, "A report is of three years at most."),
        ({"period": "days", "first": "soon", "last": "2026-01-01"}, "Enter a valid date."),
        ({"period": "ever"}, "Select a valid choice."),
    ],
)
def test_a_period_that_is_none_is_told_and_this_month_shown(console, query, sentence):
    page = console.get(REPORT, query)
    assert sentence in str(page.context["form"].errors)
    first = timezone.now().date().replace(day=1)
    assert f"{first:%b} 1, {first.year} to" in page.context["days"]


def test_last_month_ends_where_this_one_begins(console):
    page = console.get(REPORT, {"period": "last"})
    this = timezone.now().date().replace(day=1)
    end = this - DAY
    assert page.context["days"] == f"{end:%b} 1, {end.year} to {end:%b} {end.day}, {end.year}"


def test_the_report_is_for_those_who_may_see_sales(client, db):
    user = User.objects.create_user("no@example.com", "correct horse battery", is_staff=True)
    client.force_login(user)
    assert client.get(REPORT).status_code == 403
    assert client.get(f"{REPORT}csv/").status_code == 403
    client.logout()
    assert client.get(REPORT).status_code == 302
