"""Leads on their way to a sale, in a real browser: by mouse, by keyboard, and without a script."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from crm.scoping import only
from leads.actors import person
from leads.models import Deal, Lead
from leads.services import pipeline
from tests.pages import page as address
from tests.pages import work_leads

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def work(transactional_db, cast):
    return work_leads(cast.shop, user=cast.alice, now=timezone.now())


def stage(lead):
    with only(lead.business):
        return Lead.objects.get(pk=lead.pk).stage


def card(page, lead, column):
    return page.locator(f"[data-column={column}] #lead-{lead.number}")


def test_cards_are_dragged_with_a_refusal_a_success_and_a_hand_over(cast, work, sit_down):
    desk = sit_down(width=1280, scheme="light")
    page = desk.page
    desk.sign_in()
    desk.open(address("leads:board"))
    said = page.locator("#flash")
    assert not desk.scrolls_sideways

    card(page, work.fresh, "new").drag_to(page.locator("[data-column=qualified]"))
    expect(said).to_contain_text("From New a lead goes to Contacted or Lost.")
    expect(card(page, work.fresh, "new")).to_be_visible()
    expect(page.locator("[data-column=qualified] [data-count]")).to_have_text("1")

    card(page, work.fresh, "new").drag_to(page.locator("[data-column=contacted]"))
    expect(said).to_contain_text("Nina Novak is Contacted now.")
    expect(card(page, work.fresh, "contacted")).to_be_visible()
    expect(page.locator("[data-column=contacted] [data-count]")).to_have_text("1")

    # A transfer is a person's decision: it asks, and says what is missing.
    asks = page.get_by_role("dialog", name="Hand Nina Novak to sales?")
    card(page, work.fresh, "contacted").drag_to(page.locator("[data-column=transferred]"))
    asks.get_by_role("button", name="Not yet").click()
    expect(card(page, work.fresh, "contacted")).to_be_visible()
    card(page, work.fresh, "contacted").drag_to(page.locator("[data-column=transferred]"))
    asks.get_by_role("button", name="Hand over").click()
    expect(said).to_contain_text("it needs a score of 0.60 or more and the stage Qualified.")
    expect(card(page, work.fresh, "contacted")).to_be_visible()

    card(page, work.ready, "qualified").drag_to(page.locator("[data-column=transferred]"))
    page.get_by_role("dialog", name="Hand Hal Hotchkiss to sales?").get_by_role("button", name="Hand over").click()
    expect(said).to_contain_text("Hal Hotchkiss is with sales now")
    expect(card(page, work.ready, "transferred")).to_be_visible()
    assert (stage(work.fresh), stage(work.ready)) == ("contacted", "transferred")

    # A colleague was quicker: the card goes where it stands.
    with only(cast.shop):
        pipeline.move(lead=work.fresh, to="qualified", by=person(cast.bob), now=timezone.now())
    card(page, work.fresh, "contacted").drag_to(page.locator("[data-column=new]"))
    expect(said).to_contain_text("Bob Burns has moved this lead to Qualified meanwhile. It stays there.")
    expect(card(page, work.fresh, "qualified")).to_be_visible()

    # The list does many at once.
    desk.open(address("leads:leads"))
    page.get_by_label("Stage", exact=True).select_option("new")
    expect(page.locator("#page-count")).to_have_text("1 lead")
    page.get_by_label("All shown").check()
    expect(page.get_by_text("1 ticked")).to_be_visible()
    page.get_by_label("With the ticked leads").select_option("move:lost")
    page.get_by_label("Why they are lost").fill("Out of our area")
    page.get_by_role("button", name="Do it").click()
    expect(said).to_contain_text("1 lead moved to Lost.")
    assert [words for words in desk.complaints if "409" not in words] == []  # the browser notes every refusal


def test_by_keyboard_a_card_moves_and_a_lead_is_read_scored_and_handed_over(cast, work, sit_down):
    desk = sit_down(width=360, scheme="dark")
    page = desk.page
    desk.sign_in()
    desk.open(address("leads:board"))
    assert not desk.scrolls_sideways
    said = page.locator("#flash")

    card(page, work.fresh, "new").get_by_role("link", name="Nina Novak").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Contacted", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(said).to_contain_text("Nina Novak is Contacted now.")
    expect(card(page, work.fresh, "contacted").get_by_role("link", name="Nina Novak")).to_be_focused()

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    card(page, work.fresh, "contacted").get_by_role("link", name="Lost").press("Enter")
    why = page.get_by_role("dialog", name="Why is Nina Novak lost?")
    why.get_by_label("In a few words").press_sequentially("Chose somebody else")
    page.keyboard.press("Escape")
    expect(why).to_be_hidden()
    assert stage(work.fresh) == "contacted"
    card(page, work.fresh, "contacted").locator("summary").press("Enter")
    card(page, work.fresh, "contacted").get_by_role("link", name="Lost").press("Enter")
    page.keyboard.press("Enter")  # nothing typed: the field asks for it
    expect(why).to_be_visible()
    why.get_by_label("In a few words").press_sequentially("Chose somebody else")
    page.keyboard.press("Enter")
    expect(said).to_contain_text("Nina Novak is Lost now.")
    expect(card(page, work.fresh, "lost")).to_be_visible()
    assert stage(work.fresh) == "lost"

    # A lead is read, scored, written about and handed to somebody who takes it.
    for path in (address("leads:leads", score="0.6"), address("leads:new")):
        desk.open(path)
        assert not desk.scrolls_sideways, path
    desk.open(address("leads:lead", work.ready.number))
    assert not desk.scrolls_sideways
    score = page.get_by_role("region", name="Score")
    expect(score).to_contain_text("we have had no hot water since Monday")
    expect(score).to_contain_text("Read by gpt-4.1-mini")
    page.get_by_role("button", name="Score again").click()
    expect(said).to_contain_text("Scored 0.70, as before.")
    page.get_by_text("Log a call, note, e-mail or meeting").click()
    page.get_by_label("How it went").fill("Wants it this week.")
    page.get_by_role("button", name="Write it down").click()
    expect(page.locator("#timeline")).to_contain_text("Call: Wants it this week.")
    page.get_by_text("Hand over…").click()
    page.get_by_role("button", name="Hand Hal Hotchkiss over").click()
    expect(said).to_contain_text("Alice Ames is asked to take it.")
    page.get_by_role("link", name="Open the deal").click()
    page.get_by_role("button", name=re.compile("Accept|Take")).first.click()
    expect(said).not_to_be_empty()
    with only(cast.shop):
        assert Deal.objects.get(lead=work.ready).owner == cast.alice
    assert desk.complaints == []


def test_without_a_script_a_card_moves_by_its_menu(cast, work, sit_down):
    desk = sit_down(width=360, script=False)
    page = desk.page
    desk.sign_in()
    desk.open(address("leads:board"))
    card(page, work.fresh, "new").locator("summary").click()
    card(page, work.fresh, "new").get_by_role("button", name="Contacted").click()
    expect(page.locator("#flash")).to_contain_text("Nina Novak is Contacted now.")
    expect(card(page, work.fresh, "contacted")).to_be_visible()
