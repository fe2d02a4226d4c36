"""A salesperson's errand in a real browser: a deal appears on Today, is accepted, and comes to be paid."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from crm.phones import parse
from crm.scoping import every_business, only
from leads.actors import person
from leads.enums import ActivityKind, LeadSource
from leads.models import AssignmentRule, Deal, Salesperson
from leads.services import assessing, pipeline, sales
from leads.services.pipeline import Contact
from tests.pages import page as address

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def deal(cast):
    """Dana's, held out to Alice; beside her a lead that came twice."""
    now = timezone.now()
    by = person(cast.bob)
    with only(cast.shop):
        Salesperson.objects.create(business=cast.shop, user=cast.alice, created_at=now)
        AssignmentRule.objects.create(business=cast.shop, assignee=cast.bob, source=LeadSource.FORM, created_at=now)
        lead = a_lead(cast, "Dana Diaz", "+15550140001", now=now - timedelta(days=3))
        pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="Wants it before May", by=by, now=now)
        assessing.assess(lead=lead, now=now)
        for stage in ("contacted", "qualified"):
            lead = pipeline.move(lead=lead, to=stage, by=by, now=now)
        for hours in (1, 2):
            twin = a_lead(cast, "Gil Gray", "+15550140002", now=now - timedelta(hours=hours))
        pipeline.follow_up(lead=twin, title="Call Gil back", due_at=now + timedelta(days=2), now=now)
        return sales.transfer(lead=lead, by=by, now=now, value=Decimal(1_200))


def a_lead(cast, name, phone, *, now):
    return pipeline.add_lead(
        business=cast.shop, source=LeadSource.PARTNER, domain="first", by=person(cast.bob), now=now,
        contact=Contact(name=name, phone=parse(phone, region="US")), asked_for="A new boiler",
    )  # fmt: skip


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_an_offer_is_accepted_and_the_deal_comes_to_be_paid(cast, deal, sit_down, width, scheme):
    desk = sit_down(width=width, scheme=scheme)
    page = desk.page
    desk.sign_in()
    row = page.locator(f"#deal-{deal.number}")
    expect(row).to_contain_text("Dana Diaz")
    expect(row).to_contain_text(re.compile(r"1[34]\smin"))
    assert not desk.scrolls_sideways
    row.get_by_role("button", name="Accept Dana Diaz").click()
    expect(page.locator("#flash")).to_contain_text("Dana Diaz is yours.")
    expect(page.get_by_role("link", name="Call (555) 014-0001")).to_be_visible()

    page.get_by_label("Value in US dollars").fill("$1,350")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#flash")).to_contain_text("Value and day are saved.")
    page.get_by_role("button", name="Checking identity").click()
    expect(page.locator("#flash")).to_contain_text("Dana Diaz: checking identity.")

    page.get_by_role("link", name="Deals", exact=True).first.click()
    expect(page.get_by_role("heading", name="Checking identity 1")).to_be_visible()
    assert not desk.scrolls_sideways
    page.get_by_role("button", name="Move Dana Diaz to Agreement").click()
    expect(page.get_by_role("heading", name="Agreement 1")).to_be_visible()
    page.get_by_role("link", name="Dana Diaz", exact=True).click()
    page.get_by_role("link", name="Paid").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Has Dana Diaz paid $1,350?")
    dialog.get_by_role("button", name="It is paid").click()
    expect(page.locator("#flash")).to_contain_text("Paid: Dana Diaz, $1,350. Well done.")
    with every_business():
        done = Deal.objects.get(pk=deal.pk)
        assert (done.stage, done.owner_id, done.value) == ("paid", cast.alice.pk, 1_350)

    for path in (
        address("leads:today"),
        address("leads:deals"),
        address("leads:deals", stage="paid"),
        address("leads:deal", deal.number),
        address("leads:reports"),
        address("leads:ways"),
        address("leads:duplicates"),
    ):
        desk.open(path)
        expect(page.locator("h1")).to_be_visible()
        assert not desk.scrolls_sideways, path
    page.get_by_role("link", name=re.compile("^Compare lead")).click()
    expect(page.get_by_role("button", name=re.compile("^Merge lead"))).to_be_visible()
    assert not desk.scrolls_sideways
    page.get_by_role("button", name=re.compile("^Merge lead")).click()
    page.locator("#flash").get_by_role("button", name="Undo").click()
    expect(page.locator("#flash")).to_contain_text("stands alone again.")
    assert desk.complaints == []


def test_without_a_script_a_deal_is_passed_on_and_lost_with_a_reason(cast, deal, sit_down):
    desk = sit_down(width=360, script=False)
    page = desk.page
    desk.sign_in()
    page.locator(f"#deal-{deal.number}").get_by_role("link", name="Dana Diaz").click()
    expect(page.get_by_text("This deal is held out to you")).to_be_visible()
    page.locator("summary", has_text="Pass").click()
    page.get_by_label("Why do you pass?").fill("My cousin")
    page.get_by_role("button", name="Pass it on").click()
    expect(page.get_by_text("Nobody has this deal")).to_be_visible()
    page.get_by_role("link", name="Lost").click()
    page.get_by_label("Why was it lost?").fill("Too expensive")
    page.get_by_role("button", name="It is lost").click()
    expect(page.locator("#flash")).to_contain_text("Written down: Dana Diaz is lost.")
    with every_business():
        assert (Deal.objects.get().stage, Deal.objects.get().lost_because) == ("lost", "Too expensive")
