"""An owner's morning in a real browser, on a phone and at a desk."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from booking.models import Appointment
from crm.enums import MessageStatus
from crm.models import Message
from crm.scoping import every_business, only
from tests.pages import page as address
from tests.pages import person, write_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_every_page_fits_the_screen_and_keeps_the_security_policy(cast, life, sit_down, width, scheme):
    desk = sit_down(width=width, scheme=scheme)
    desk.sign_in()
    for path in (
        address("leads:today"),
        address("leads:leads"),
        address("crm:inbox"),
        address("crm:thread", life.conversation.pk),
        address("crm:customers"),
        address("crm:customer", life.jane.pk),
        address("crm:edit_customer", life.jane.pk),
        address("crm:opt_out", life.jane.pk),
        address("crm:merge", life.jane.pk),
        address("crm:merge", life.jane.pk, other=life.marcus.pk),
        address("booking:calendar"),
        address("booking:appointment", life.job.pk),
        address("booking:move", life.job.pk),
        address("booking:cancel", life.job.pk),
        address("booking:new"),
        address("booking:new", customer=life.jane.pk),
        address("booking:settings"),
    ):
        desk.open(path)
        expect(desk.page.locator("h1, h2").first).to_be_visible()
        assert not desk.scrolls_sideways, path
    assert desk.complaints == []


def test_a_thread_is_answered_taken_over_and_handed_back(cast, life, sit_down):
    desk = sit_down(width=360, scheme="light")
    page = desk.page
    desk.sign_in()
    expect(page.get_by_role("heading", name="Today", level=1)).to_be_visible()
    page.get_by_role("link", name=re.compile("Jane Doe.*Hi, our AC stopped", re.DOTALL)).click()

    expect(page.get_by_text("The assistant is answering")).to_be_visible()
    page.get_by_role("button", name="Take over").click()
    expect(page.get_by_text(re.compile("You are answering until"))).to_be_visible()

    box = page.get_by_label("Text Jane Doe")
    box.press_sequentially("On my way 👍")
    counter = page.locator("#segment-counter")
    expect(counter).to_contain_text("Sends now.")
    expect(counter).to_contain_text("11 characters · 1 segment")
    expect(counter).to_contain_text("shortens a segment from 160 characters to 70")
    box.fill("On my way. " + "I bring the part you need. " * 6)
    expect(counter).to_contain_text("2 segments")
    box.press("Control+Enter")

    mine = page.locator(".bubble--staff", has_text="I bring the part")
    expect(mine).to_be_visible()
    expect(mine.get_by_label("Waiting")).to_be_visible()

    with every_business():
        sent = Message.objects.filter(body__startswith="On my way. I bring")
        assert sent.count() == 1
        sent.update(status=MessageStatus.DELIVERED, delivered_at=timezone.now())
    with only(cast.shop):
        write_in(cast.shop, phone="+15550100001", body="Great, see you!", now=timezone.now())
    expect(page.get_by_text("Great, see you!")).to_be_visible()
    expect(mine.get_by_label("Delivered")).to_be_visible()

    page.get_by_role("button", name="Hand back").click()
    expect(page.get_by_text("The assistant is answering")).to_be_visible()
    assert desk.complaints == []


def test_a_visit_is_booked_moved_cancelled_and_put_back(cast, life, sit_down):
    desk = sit_down(width=1280, scheme="dark")
    page = desk.page
    desk.sign_in()
    page.get_by_role("navigation", name="Main").filter(visible=True).get_by_role("link", name="Calendar").click()
    page.get_by_role("link", name="New appointment").click()
    page.get_by_label("Search name, phone or e-mail").press_sequentially("jane")
    expect(page.get_by_text("1 customer", exact=True)).to_be_visible()
    page.get_by_role("link", name="Jane Doe").click()

    page.get_by_label("Address").fill("5 Elm St")
    page.get_by_label("Service").select_option(label="Installation · 2 hours")
    page.wait_for_url(re.compile("service="))  # the times have followed, and what was typed is still there
    expect(page.get_by_label("Address")).to_have_value("5 Elm St")
    page.locator(".slot", has_text="AM").first.click()
    page.get_by_role("button", name="Book it").click()
    expect(page.locator("#flash")).to_contain_text("Booked: Installation for Jane Doe")
    expect(page.locator("#flash")).to_contain_text("Jane was texted.")

    page.get_by_role("link", name="Move").click()
    page.locator(".slot", has_text="PM").last.click()
    page.get_by_label("Text Jane").uncheck()
    page.get_by_role("button", name="Move it").click()
    expect(page.locator("#flash")).to_contain_text("Moved to ")

    page.get_by_role("link", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Cancel Installation for Jane Doe")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Cancel", exact=True).click()
    dialog.get_by_role("button", name="Cancel the visit").click()
    expect(page.locator("#flash")).to_contain_text("is cancelled. Jane was texted.")

    with every_business():  # no worker runs here; the text about the booking was taken back when the visit moved
        told = Message.objects.filter(about__startswith="appointment:", status=MessageStatus.QUEUED)
        assert told.get().body.startswith("Alice Plumbing had to call off your Installation, ")
        told.update(status=MessageStatus.SENT)
    page.locator("#flash").get_by_role("button", name="Undo").click()
    expect(page.locator("#flash")).to_contain_text("Installation for Jane Doe is on again. Jane was texted.")
    with every_business():
        job = Appointment.objects.get(service_name="Installation")
        assert job.status == "SCHEDULED"
        assert told.get().body.startswith("Your Installation with Alice Plumbing is on again: ")
    assert desk.complaints == []


def test_long_lists_and_threads_go_on_in_place(cast, sit_down):
    now = timezone.now()
    with only(cast.shop):
        for n in range(32):
            phone = f"+155501100{n:02}"
            person(cast.shop, name=f"Person {n:02}", phone=phone)
            write_in(cast.shop, phone=phone, body="Hello", now=now - timedelta(minutes=40 - n))
        for n in range(60):
            sent = now - timedelta(seconds=60 - n)
            write_in(cast.shop, phone="+15550110031", body=f"Text {n:02}", now=sent, sid=f"SM{n}")
    desk = sit_down(width=360)
    page = desk.page
    desk.sign_in()
    desk.open(address("crm:inbox"))
    expect(page.locator("#results .row")).to_have_count(30)
    page.get_by_role("link", name="Show more").click()
    expect(page.locator("#results .row")).to_have_count(32)
    expect(page.get_by_role("link", name="Show more")).to_have_count(0)

    page.get_by_role("link", name=re.compile("Person 31")).click()
    expect(page.get_by_role("log").get_by_text("Text 59")).to_be_in_viewport()
    expect(page.locator(".bubble")).to_have_count(50)
    page.get_by_role("link", name="Load earlier messages").click()
    expect(page.locator(".bubble")).to_have_count(61)
    assert desk.complaints == []


def test_without_a_script_a_thread_is_read_and_answered(cast, life, sit_down):
    desk = sit_down(width=360, script=False)
    page = desk.page
    desk.sign_in()
    page.get_by_role("link", name=re.compile("Jane Doe.*Hi, our AC stopped", re.DOTALL)).click()
    page.get_by_label("Text Jane Doe").fill("On my way.\nTen minutes.")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".bubble--staff", has_text="On my way.")).to_be_visible()
    expect(page.get_by_text(re.compile("You are answering until"))).to_be_visible()
    with every_business():
        assert Message.objects.get(body="On my way.\nTen minutes.").segments == 1


def test_without_a_script_a_visit_is_cancelled_on_a_page_that_asks(cast, life, sit_down):
    desk = sit_down(width=360, script=False)
    page = desk.page
    desk.sign_in()
    desk.open(address("booking:appointment", life.job.pk))
    page.get_by_role("link", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("Cancel AC Repair for Jane Doe"))).to_be_visible()
    page.get_by_role("button", name="Cancel the visit").click()
    expect(page.locator("#flash")).to_contain_text("is cancelled. Jane was texted.")
    with every_business():
        assert Appointment.objects.get(pk=life.job.pk).status == "CANCELLED"


def test_without_a_script_the_colours_are_remembered(cast, sit_down):
    desk = sit_down(script=False)
    desk.sign_in()
    desk.page.get_by_role("button", name="Dark colours").first.click()
    expect(desk.page.locator("html")).to_have_attribute("data-theme", "dark")
    desk.open(reverse("crm:inbox", args=["alice"]))
    expect(desk.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_keyboard_reaches_the_content_first_and_opens_a_row(cast, life, sit_down):
    desk = sit_down()
    page = desk.page
    desk.sign_in()
    desk.open(address("crm:inbox"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('row')"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Jane Doe|Paul Ray"))
