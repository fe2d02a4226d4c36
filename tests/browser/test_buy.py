"""A buyer's errand in a real browser: look, narrow, fill the cart, buy, take the file, give one back."""

import csv
import io
import re
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from crm.scoping import every_business
from marketplace.models import Export, Purchase, Return, Sale
from tests.marketplace.stock import a_buyer, an_item, start_prices
from tests.marketplace.trade import trade
from tests.pages import page as address

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def shelf(cast, settings, tmp_path):
    """Eight Gold leads of 6 to 8 months in two states, and five Silver ones that are older."""
    settings.MEDIA_ROOT = tmp_path
    now = timezone.now()
    start_prices(now)
    a_buyer(cast.shop)
    for county in ("Caddo", "Caddo", "Caddo", "Acadia", "Acadia"):
        an_item(now=now, county=county, full_name="Jane Doe")
    for _ in range(3):
        an_item(now=now, state="TX", county="Travis", city="Austin")
    for _ in range(5):
        an_item(now=now, classification="Silver", days=400)


def test_a_buyer_looks_narrows_buys_downloads_and_gives_one_back(cast, shelf, sit_down):
    desk = sit_down(width=360)
    page = desk.page
    desk.sign_in()
    page.locator("summary", has_text="More").click()
    page.get_by_role("navigation", name="Main").filter(visible=True).get_by_role("link", name="Buy leads").click()
    said = page.locator("#said")
    expect(said).to_have_text("13 leads in stock for you · $4.00 to $8.00 each · all 13 cost $52.00 to $104.00")

    page.get_by_role("link", name="Gold, 6 to 8 months: 8 $8.00").click()
    expect(said).to_contain_text("8 leads in stock for you")
    expect(page.get_by_label("Gold", exact=True)).to_be_checked()
    page.locator("summary", has_text="State").click()
    page.get_by_label("Louisiana").check()
    expect(said).to_contain_text("5 leads in stock for you")
    page.locator("summary", has_text="County").click()
    page.get_by_label("Caddo").check()
    expect(said).to_have_text("3 leads in stock for you · $8.00 each · all 3 cost $24.00")
    page.get_by_label("How many").fill("2")
    expect(said).to_contain_text("2 of them cost $16.00")
    page.wait_for_url(re.compile(r"/buy/\?class=Gold&age=MONTH_6_TO_8&state=LA&county=Caddo&quantity=2$"))
    expect(page.get_by_label("Caddo")).to_be_checked()  # the list stood still while one was in it
    page.reload()
    expect(said).to_contain_text("2 of them cost $16.00")
    page.get_by_role("button", name="Add 2 Gold, 6 to 8 months, Caddo, Louisiana ($16.00)").click()
    expect(page.locator("#flash")).to_contain_text("2 Gold, 6 to 8 months, Caddo, Louisiana: in the cart.")

    desk.open(address("marketplace:browse"))
    page.get_by_role("link", name="Silver, 12 to 23 months: 5 $4.00").click()
    page.get_by_role("button", name="Add 5 Silver, 12 to 23 months ($20.00)").click()
    page.get_by_role("link", name="Cart 7").click()
    expect(page.get_by_text(re.compile(r"Prices are locked until .* \(1[45]:\d\d left\)"))).to_be_visible()
    page.get_by_label("How many: Silver, 12 to 23 months").fill("4")
    page.get_by_role("button", name="Change the number of Silver, 12 to 23 months").click()
    page.get_by_role("button", name="Buy 6 leads for $32.00").click()

    expect(page.locator("#flash")).to_contain_text("Bought 6 leads for $32.00.")
    with every_business():
        purchase = Purchase.objects.get()
        sold = {str(pk) for pk in Sale.objects.values_list("pk", flat=True)}
    expect(page.get_by_role("heading", level=1)).to_have_text(str(purchase))
    with page.expect_download() as taken:
        page.get_by_role("button", name="CSV for spreadsheets").click()
    assert taken.value.suggested_filename == f"{purchase}-leads.csv"
    content = Path(taken.value.path()).read_bytes()
    with every_business():
        file = Export.objects.get()
    assert content == Path(file.file.path).read_bytes()
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert {row["Sale ID"] for row in rows} == sold
    page.reload()
    expect(page.get_by_text(file.sha256)).to_be_visible()

    page.get_by_role("link", name="Return Jane Doe").first.click()
    page.get_by_label("Something else").check()
    page.get_by_label("Anything that helps us decide").fill("A florist answers.")
    page.get_by_role("button", name="Return it").click()
    expect(page.locator("#flash")).to_contain_text("Asked. Somebody looks at it")
    expect(page.get_by_text("What our records say")).to_be_visible()
    with every_business():
        assert Return.objects.get().note == "A florist answers."
    assert desk.complaints == []


def test_every_page_of_the_shop_fits_a_phone_and_a_desk(cast, shelf, sit_down):
    open_trade = trade(cast.shop, now=timezone.now())
    desk = sit_down(scheme="dark")
    desk.sign_in()
    for path in (
        address("marketplace:browse"),
        address("marketplace:browse", **{"class": "Gold", "age": "MONTH_6_TO_8", "state": "LA"}),
        address("marketplace:browse", state="NC"),
        address("marketplace:cart"),
        address("marketplace:purchases"),
        address("marketplace:purchase", open_trade.purchase.pk),
        address("marketplace:export", open_trade.export.pk),
        address("marketplace:returns"),
        address("marketplace:return", open_trade.sale.pk),
    ):
        desk.open(path)
        for width in (360, 1280):
            desk.page.set_viewport_size({"width": width, "height": 800})
            assert not desk.scrolls_sideways, (path, width)
    assert desk.complaints == []


def test_a_tap_with_the_keyboard_stays_where_it_was(cast, shelf, sit_down):
    desk = sit_down()
    page = desk.page
    desk.sign_in()
    desk.open(address("marketplace:browse"))
    kind = page.get_by_role("link", name=re.compile("^Gold, 6 to 8 months"))
    kind.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("8 leads in stock for you")
    expect(kind).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("13 leads in stock for you")
    expect(kind).to_be_focused()


def test_the_clock_of_the_cart_runs_out_before_ones_eyes(cast, shelf, sit_down):
    desk = sit_down(width=360)
    page = desk.page
    page.clock.install()
    desk.sign_in()
    desk.open(address("marketplace:browse", **{"class": "Gold", "age": "MONTH_6_TO_8", "quantity": 2}))
    page.get_by_role("button", name=re.compile("^Add 2 Gold")).click()
    desk.open(address("marketplace:cart"))
    spoken = page.locator("[data-clock-said]")
    expect(page.get_by_role("button", name="Buy 2 leads for $16.00")).to_be_visible()
    page.clock.fast_forward("05:00")
    expect(spoken).to_be_empty()  # it speaks rarely
    page.clock.fast_forward("05:01")
    expect(spoken).to_have_text("Five minutes left at these prices.")
    page.clock.fast_forward("05:00")
    expect(spoken).to_have_text("Prices may have changed. Get new prices before you buy.")
    expect(page.get_by_role("button", name="Buy 2 leads for $16.00")).to_be_hidden()
    page.get_by_role("button", name="Get new prices").click()
    expect(page.get_by_role("button", name="Buy 2 leads for $16.00")).to_be_visible()
    assert desk.complaints == []


def test_without_a_script_leads_are_found_and_bought(cast, shelf, sit_down):
    desk = sit_down(width=360, script=False)
    page = desk.page
    desk.sign_in()
    desk.open(address("marketplace:browse"))
    page.get_by_label("Gold", exact=True).check()
    page.locator("summary", has_text="State").click()
    page.get_by_label("Texas").check()
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#said")).to_contain_text("3 leads in stock for you")
    page.get_by_role("link", name="Gold, 6 to 8 months: 3 $8.00").click()
    page.get_by_role("button", name="Add 3 Gold, 6 to 8 months, Texas ($24.00)").click()
    page.get_by_role("link", name="Cart 3").click()
    page.get_by_role("button", name="Buy 3 leads for $24.00").click()
    expect(page.locator("#flash")).to_contain_text("Bought 3 leads for $24.00.")
    with every_business():
        assert Sale.objects.filter(lead__state="TX").count() == 3
