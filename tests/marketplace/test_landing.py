"""What was bought stands in Leads: once, with its price, and without a permission to text."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from crm import consent, messaging
from crm.enums import Author, ConsentSource
from crm.models import Activity, Business, Consent, Customer, Message
from crm.scoping import every_business, only
from crm.services import remember_customer
from leads.enums import LeadSource
from leads.models import Lead
from marketplace.enums import GoneBecause, ReturnReason
from marketplace.models import InventoryItem, Purchase, Return, Sale
from marketplace.services import landing, purchases, recalls
from tests.conftest import NOW
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer, a_lead, an_item, items, start_prices
from tests.pages import page, signed_in, words_of

JOHN, JANE = "+15045550141", "+15045550142"


@pytest.fixture
def market(cast):
    start_prices()
    a_buyer(cast.shop)
    a_buyer(cast.next_door)
    return cast


@pytest.fixture
def shop(market):
    """Alice's shop, seen from inside."""
    with only(market.shop):
        yield market.shop


def bought(business: Business, *chosen: InventoryItem) -> purchases.Bought:
    with only(business):
        return purchases.buy_items(business=business, item_ids=[item.pk for item in chosen], by="test", now=NOW)


def why_no_text(business: Business, phone: str) -> str | None:
    return messaging.why_not(business=business, phone=phone, body="Hello", author=Author.STAFF, now=NOW)


# --- One lead ---------------------------------------------------------------------------------------------------------


def test_a_bought_lead_stands_in_leads_with_all_that_is_known(shop):
    lead = a_lead(
        phone=JOHN, full_name="", first_name="Sally", last_name="Moore", address="12 Elm St", city="Shreveport", zip="71101",
        mortgage_amount="$100,000", lender="First Bank", borrower_tobacco_use="No", call_in_date="05-01-2026 09:00:00",
    )  # fmt: skip
    sale_id = bought(shop, an_item(lead)).sale_ids[0]
    assert landing.land_due(now=NOW) == 1
    landed = Lead.objects.get()
    assert (landed.source, landed.event_id, landed.cost, landed.status, landed.first_touch_at) == (
        LeadSource.PURCHASE,
        f"sale:{sale_id}",
        Decimal("8.00"),
        "new",
        None,
    )
    assert landed.asked_for == "Aged lead: Gold, 6 to 8 months"
    assert landed.notes.split("\n") == [
        f"Borrower Phone: {JOHN}",
        "County: Caddo",
        "Mortgage Amount: $100,000",
        "Lender: First Bank",
        "Call-In Date: 05-01-2026 09:00:00",
        "Tobacco Use: No",
    ]
    customer = landed.customer
    assert (customer.name, customer.phone, customer.address) == (
        "Sally Moore",
        JOHN,
        "12 Elm St, Shreveport, LA 71101",
    )
    assert [row.text for row in Activity.objects.all()] == [
        "Bought for $8.00 (Gold, 6 to 8 months). No permission to text."
    ]
    assert Purchase.objects.get().landed_at == NOW


def test_the_sending_door_stays_shut_until_they_agree_themselves(shop):
    bought(shop, an_item(phone=JOHN))
    landing.land_due(now=NOW)
    assert (Consent.objects.count(), Message.objects.count()) == (0, 0)
    assert why_no_text(shop, JOHN) == (
        "Can't send: they have not agreed to texts, and nothing is on record from this number."
    )
    consent.grant_if_silent(business=shop, phone=JOHN, source=ConsentSource.TEXT, words="hi", now=NOW)
    assert why_no_text(shop, JOHN) is None


@pytest.mark.parametrize(
    ("agreed", "story"),
    [
        (True, "Bought for $8.00 (Gold, 6 to 8 months)."),
        (False, "Bought for $8.00 (Gold, 6 to 8 months). No permission to text."),
    ],
)
def test_buying_somebody_who_is_a_customer_changes_nothing_about_them(shop, agreed, story):
    """An opt-out of theirs is read by purchases before it is bought; one that comes later is as good."""
    remember_customer(business=shop, phone=JOHN, name="John from church", address="Home")
    bought(shop, an_item(phone=JOHN, full_name="JOHN MOORE"))
    if agreed:
        consent.grant(business=shop, phone=JOHN, source=ConsentSource.TEXT, words="hi", now=NOW)
    else:
        consent.revoke(business=shop, phone=JOHN, source=ConsentSource.TEXT, words="stop", now=NOW)
    before = list(Consent.objects.values())
    landing.land_due(now=NOW)
    customer = Lead.objects.get().customer
    assert (Customer.objects.count(), customer.name, customer.address) == (1, "John from church", "Home")
    assert list(Consent.objects.values()) == before
    assert (why_no_text(shop, JOHN) is None) is agreed
    assert Activity.objects.get().text == story


def test_a_lead_with_one_number_only_is_found_by_it_and_one_without_any_has_no_phone(shop):
    call_in = a_lead(phone="", other_phone=JANE, full_name="Jane")
    nameless = a_lead(phone="", full_name="", first_name="", last_name="")
    bought(shop, an_item(call_in), an_item(nameless))
    assert landing.land_due(now=NOW) == 2
    assert set(Customer.objects.values_list("name", "phone")) == {("Jane", JANE), ("", None)}


def test_a_lead_that_came_for_a_returned_one_says_so(shop):
    first = bought(shop, an_item())
    landing.land_due(now=NOW)
    sale = Sale.objects.get()
    free = an_item()
    other = bought(shop, free).sale_ids[0]
    Return.objects.create(
        business=shop, sale=sale, reason=ReturnReason.DUPLICATE, status="replaced", replacement_id=other, requested_at=NOW
    )  # fmt: skip
    landing.land_due(now=NOW)
    assert Lead.objects.count() == 2
    story = Activity.objects.get(about=f"lead:{Lead.objects.get(event_id=f'sale:{other}').pk}").text
    assert story == "Came in place of a returned lead (Gold, 6 to 8 months). No permission to text."
    assert first.sale_ids == [sale.pk]


# --- Whole orders -----------------------------------------------------------------------------------------------------


def test_a_big_order_lands_in_stretches_and_each_sale_once(shop, monkeypatch):
    monkeypatch.setattr(landing, "CHUNK", 3)
    done = bought(shop, *items(7))
    assert landing.land_due(now=NOW, limit=4) == 6  # whole stretches
    assert Purchase.objects.get().landed_at is None
    assert landing.land_due(now=NOW) == 1
    assert landing.land_due(now=NOW) == 0
    assert set(Lead.objects.values_list("event_id", flat=True)) == {f"sale:{pk}" for pk in done.sale_ids}
    assert (Lead.objects.count(), Customer.objects.count(), Purchase.objects.get().landed_at) == (7, 7, NOW)


@pytest.mark.parametrize("count", [3, 6])
def test_an_order_that_fills_its_last_stretch_is_done_too(shop, monkeypatch, count):
    monkeypatch.setattr(landing, "CHUNK", 3)
    bought(shop, *items(count))
    assert landing.land_due(now=NOW) == count
    assert Purchase.objects.get().landed_at == NOW


def test_a_sale_that_joins_an_order_later_lands_without_the_others_again(shop):
    bought(shop, *items(2))
    landing.land_due(now=NOW)
    late = bought(shop, an_item())
    Purchase.objects.update(landed_at=None)
    assert landing.land_due(now=NOW) == 1
    assert (Lead.objects.count(), Lead.objects.filter(event_id=f"sale:{late.sale_ids[0]}").count()) == (3, 1)


def test_whoever_was_called_back_since_does_not_land(shop):
    john, jane = an_item(phone=JOHN), an_item(phone=JANE)
    bought(shop, john, jane, an_item(phone="+15045550143", full_name="Jim"))
    recalls.forget(phone=JOHN, because=GoneBecause.OPTED_OUT, told_by="test", now=NOW)
    recalls.forget(phone=JANE, because=GoneBecause.ERASED, told_by="test", now=NOW)
    assert landing.land_due(now=NOW) == 1
    assert [lead.customer.name for lead in Lead.objects.select_related("customer")] == ["Jim"]
    assert (Customer.objects.count(), Purchase.objects.get().landed_at) == (1, NOW)


def test_a_buyer_who_does_not_want_them_in_leads_gets_none(market):
    a_buyer_of = market.next_door.buyer
    a_buyer_of.into_leads = False
    a_buyer_of.save(update_fields=["into_leads"])
    bought(market.next_door, an_item())
    assert landing.land_due(now=NOW) == 0
    with every_business():
        assert (Lead.objects.count(), Purchase.objects.get().landed_at) == (0, NOW)


def test_each_buyer_finds_their_own(market):
    mine, theirs = bought(market.shop, an_item()), bought(market.next_door, an_item())
    assert landing.land_due(now=NOW) == 2
    with every_business():
        assert set(Lead.objects.values_list("business__slug", "event_id")) == {
            ("alice", f"sale:{mine.sale_ids[0]}"),
            ("charlie", f"sale:{theirs.sale_ids[0]}"),
        }


def test_an_order_that_cannot_be_done_does_not_hold_up_the_next(market, monkeypatch, caplog):
    bought(market.shop, an_item())
    bought(market.next_door, an_item())
    real = landing.add_bought_lead

    def broken(*, business: Business, **fields: object) -> object:
        if business == market.shop:
            raise ValueError("nonsense")
        return real(business=business, **fields)

    monkeypatch.setattr(landing, "add_bought_lead", broken)
    assert landing.land_due(now=NOW) == 1
    assert "landing_broke_down" in caplog.text
    with every_business():
        assert set(Purchase.objects.values_list("business__slug", "landed_at")) == {("alice", None), ("charlie", NOW)}


@pytest.mark.django_db(transaction=True)
def test_four_workers_land_every_sale_once(market, monkeypatch):
    monkeypatch.setattr(landing, "CHUNK", 5)
    expected: set[UUID] = set()
    for _ in range(3):
        expected.update(bought(market.shop, *items(8)).sale_ids)
    all_at_once([lambda: landing.land_due(now=NOW)] * 4)
    landing.land_due(now=NOW)
    with every_business():
        landed = list(Lead.objects.values_list("event_id", flat=True))
        assert (len(landed), set(landed)) == (24, {f"sale:{pk}" for pk in expected})
        assert (Customer.objects.count(), Purchase.objects.filter(landed_at=None).count()) == (24, 0)


@pytest.mark.django_db(transaction=True)
def test_landing_and_calling_back_at_once_never_leave_a_lead_without_its_story(market):
    """Either it is not in Leads, or whoever opens it there reads that it was called back."""
    people = [f"+150455503{n:02d}" for n in range(8)]
    bought(market.shop, *[an_item(phone=phone) for phone in people])
    all_at_once(
        [
            lambda: landing.land_due(now=NOW),
            *[
                lambda phone=phone: recalls.forget(phone=phone, because=GoneBecause.OPTED_OUT, told_by="test", now=NOW)
                for phone in people
            ],
        ]
    )
    with every_business():
        landed = {f"lead:{pk}" for pk in Lead.objects.values_list("pk", flat=True)}
        told = set(Activity.objects.filter(text__startswith="Called back").values_list("about", flat=True))
    assert landed == told


# --- What people see --------------------------------------------------------------------------------------------------


def test_leads_shows_what_was_paid_and_that_there_is_no_permission(market):
    bought(market.shop, an_item(phone=JOHN, full_name="John Moore"), an_item(phone=JANE, full_name="Jane Doe"))
    landing.land_due(now=NOW)
    with only(market.shop):
        consent.grant(business=market.shop, phone=JANE, source=ConsentSource.TEXT, words="hi", now=NOW)
        john = Customer.objects.get(phone=JOHN)
    alice = signed_in(market.alice)
    html = alice.get(page("leads:leads")).content.decode()
    assert (html.count("Bought for $8.00"), html.count("No permission to text"), html.count("data-clock")) == (2, 1, 0)
    assert "Everybody is answered" in words_of(alice.get(page("leads:today")))
    panel = words_of(alice.get(page("crm:customer", john.pk)))
    assert "Aged lead: Gold, 6 to 8 months New Bought for $8.00 No permission to text Nov 18, 9:00 AM" in panel
