"""Today and Leads."""

import re
from datetime import timedelta

import pytest
import time_machine

from booking.models import Appointment, Service, WeeklyHours
from crm.enums import Author, MessageKind, MessageStatus, TaskReason
from crm.models import Business, Conversation, Heartbeat, Message, PhoneNumber
from crm.phones import parse
from crm.scoping import only
from crm.services import add_task, tell_customer
from leads.enums import LeadSource
from leads.models import Lead
from leads.services import intake as services
from tests.pages import FRIDAY, book, live, page, person, signed_in, words_of, write_in


@pytest.fixture(autouse=True)
def _at_nine(now):
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture
def life(cast, now):
    return live(cast.shop, user=cast.alice, now=now)


@pytest.fixture
def alice(cast):
    return signed_in(cast.alice)


def lead(business, *, phone, now, asked_for="AC Repair", name=""):
    draft = services.Draft(phone=parse(phone, region="US"), source=LeadSource.FORM, name=name, asked_for=asked_for)
    return services.capture_lead(business=business, draft=draft, service=None, now=now)


# --- Today -----------------------------------------------------------------------------------------------------------


def test_today_answers_what_is_next_who_waits_and_what_is_wrong(life, alice):
    text = words_of(alice.get(page("leads:today")))
    assert "Today Wed, Nov 18, 9:00 AM" in text
    assert "Next 10:00 AM Fri, Nov 20: AC Repair for Jane Doe" in text
    assert "Waiting for you 2 the longest for 42 minutes" in text
    assert "Problems 1 to look at" in text
    assert "Nothing more today." in text
    assert "Call Jane about her AC" in text
    assert "1 text in the last two days may not have arrived. Jane Doe Nov 18 This number cannot receive texts." in text


def test_the_next_job_has_a_number_to_call(life, alice):
    html = alice.get(page("leads:today")).content.decode()
    assert html.count('href="tel:+15550100001"') == 2  # the job's and the task's


def test_a_quiet_day_says_so_and_what_can_be_done(cast, alice):
    text = words_of(alice.get(page("leads:today")))
    assert "Next Free Nothing is booked" in text
    assert "Waiting for you 0 Everybody is answered" in text
    assert "Problems 0 All is well" in text
    assert "Nobody is waiting" in text
    assert "New appointment" in text


def test_an_emergency_of_today_stands_on_top(cast, now, alice):
    with only(cast.shop):
        jane = person(cast.shop, name="Jane Doe", phone="+15550100001")
        job = book(cast.shop, customer=jane, starts_at=now + timedelta(hours=2), now=now, user=cast.alice)
        Appointment.objects.filter(pk=job.pk).update(is_emergency=True)
    html = alice.get(page("leads:today")).content.decode()
    assert "Emergency: AC Repair 11:00 AM · Jane Doe · Alice 1 Open" in words_of(alice.get(page("leads:today")))
    assert html.index("Emergency: AC Repair") < html.index("Waiting for you")


def test_a_request_nobody_answered_has_a_running_clock_until_somebody_does(cast, now, alice):
    with only(cast.shop):
        asked = lead(cast.shop, phone="+15550100005", name="Paula Shaw", now=now - timedelta(minutes=12))
    assert (
        f'data-clock="{int((now - timedelta(minutes=12)).timestamp())}"'
        in alice.get(page("leads:today")).content.decode()
    )
    assert "Requests nobody has answered Paula Shaw" in words_of(alice.get(page("leads:today")))
    with only(cast.shop):
        tell_customer(customer=asked.customer, body="Hello Paula", kind=MessageKind.CHAT, now=now, author=Author.STAFF)
    assert "Paula Shaw" not in words_of(alice.get(page("leads:today")))


def test_a_text_that_did_not_go_out_is_no_answer_to_a_request(cast, now, alice):
    with only(cast.shop):
        asked = lead(cast.shop, phone="+15550100005", name="Paula Shaw", now=now - timedelta(minutes=12))
        told = tell_customer(
            customer=asked.customer, body="Hello Paula", kind=MessageKind.CHAT, now=now, author=Author.STAFF
        )
        Message.objects.filter(pk=told.pk).update(status=MessageStatus.FAILED)
    assert "Requests nobody has answered Paula Shaw" in words_of(alice.get(page("leads:today")))


def due_text(cast, now):
    with only(cast.shop):
        write_in(cast.shop, phone="+15550100001", body="Hello", now=now - timedelta(minutes=20))
        jane = person(cast.shop, name="Jane Doe", phone="+15550100001")
        tell_customer(
            customer=jane, body="Hi", kind=MessageKind.CHAT, now=now - timedelta(minutes=10), author=Author.STAFF
        )


def test_texts_that_nobody_sends_are_told_of(cast, now, alice):
    due_text(cast, now)
    assert (
        "Texts are not leaving One text should have gone out by now. The program that sends them was never seen."
        in words_of(alice.get(page("leads:today")))
    )
    Heartbeat.objects.create(name="worker", at=now - timedelta(minutes=3))
    assert "The program that sends them was last seen at 8:57 AM." in words_of(alice.get(page("leads:today")))
    Heartbeat.objects.update(at=now - timedelta(minutes=2))
    assert "Texts are not leaving" not in words_of(alice.get(page("leads:today")))


def test_a_silent_worker_with_nothing_to_send_is_no_trouble_of_the_owners(cast, now, alice):
    Heartbeat.objects.create(name="worker", at=now - timedelta(days=1))
    assert "All is well" in words_of(alice.get(page("leads:today")))


def test_what_is_missing_from_the_set_up_is_said(cast, alice):
    PhoneNumber.objects.filter(business=cast.shop).delete()
    Business.objects.filter(pk=cast.shop.pk).update(owner_phone="")
    with only(cast.shop):
        Service.objects.update(is_active=False)
        WeeklyHours.objects.all().delete()
    text = words_of(alice.get(page("leads:today")))
    assert "Problems 3 to look at" in text
    assert "No number yet Customers cannot text you through Frontdesk until this business has a number." in text
    assert "Nothing can be booked yet Your calendar still needs a service and opening hours." in text
    assert "Alerts go nowhere New jobs and urgent questions are texted to the owner's phone, and none is set." in text


def test_a_text_lost_long_ago_is_not_todays_trouble(cast, life, alice, now):
    with only(cast.shop):
        Message.objects.filter(pk=life.failed.pk).update(created_at=now - timedelta(days=3))
    assert "Problems 0 All is well" in words_of(alice.get(page("leads:today")))


def test_the_numbers_are_the_whole_and_the_lists_a_few(cast, now, alice):
    with only(cast.shop):
        for n in range(12):
            someone = person(cast.shop, name=f"Person {n:02}", phone=f"+155501100{n:02}")
            write_in(cast.shop, phone=f"+155501100{n:02}", body="Hello", now=now - timedelta(minutes=n + 1))
            add_task(
                business=cast.shop, customer=someone, reason=TaskReason.ASKED_A_PERSON, title=f"Call {n:02}", now=now
            )
    response = alice.get(page("leads:today"))
    text = words_of(response)
    assert "Waiting for you 24 the longest for 12 minutes" in text
    assert "All 12" in text
    assert "The 8 oldest of 12." in text
    assert len(re.findall(r"Person \d\d", text)) == 8
    assert text.index("Person 11") < text.index("Person 10")  # who has waited longest comes first


@pytest.mark.parametrize("many", [1, 3])
def test_today_asks_as_often_for_three_of_everything_as_for_one(cast, now, alice, many, django_assert_num_queries):
    with only(cast.shop):
        for n in range(many):
            someone = person(cast.shop, name=f"Person {n}", phone=f"+1555011000{n}")
            write_in(cast.shop, phone=f"+1555011000{n}", body="Hello", now=now - timedelta(minutes=20))
            Conversation.objects.update(waiting_since=now)
            told = tell_customer(customer=someone, body="Hi", kind=MessageKind.CHAT, now=now, author=Author.STAFF)
            Message.objects.filter(pk=told.pk).update(status=MessageStatus.FAILED)
            Conversation.objects.update(waiting_since=now)
            add_task(business=cast.shop, customer=someone, reason=TaskReason.ASKED_A_PERSON, title="Call", now=now)
            book(cast.shop, customer=someone, starts_at=FRIDAY + timedelta(hours=n), now=now, user=cast.alice)
            lead(cast.shop, phone=f"+1555012000{n}", now=now)
    alice.get(page("leads:today"))
    with django_assert_num_queries(25):
        alice.get(page("leads:today"))


# --- Leads -----------------------------------------------------------------------------------------------------------


def people(response):
    return re.findall(r'class="row__title" href="[^"]*">([^<]+)</a>', response.content.decode())


def test_leads_are_newest_first_with_what_was_asked_and_how_it_stands(cast, life, alice, now):
    with only(cast.shop):
        lead(cast.shop, phone="+15550100005", name="Paula Shaw", asked_for="Is a drip normal?", now=now)
    response = alice.get(page("leads:leads"))
    assert people(response) == ["Paula Shaw", "Paul Ray"]
    text = words_of(response)
    assert "2 leads" in text
    assert "Paul Ray 8:55 AM AC Repair New Not scored yet Slot offered by Web form answered at once" in text
    assert "Is a drip normal? New Not scored yet by Web form" in text


def test_leads_can_be_told_by_how_they_stand(cast, life, alice, now):
    with only(cast.shop):
        lead(cast.shop, phone="+15550100005", name="Paula Shaw", now=now)
    assert people(alice.get(page("leads:leads", status="new"))) == ["Paula Shaw"]
    assert people(alice.get(page("leads:leads", status="proposed"))) == ["Paul Ray"]
    assert "No lead like that" in words_of(alice.get(page("leads:leads", status="booked")))
    assert len(people(alice.get(page("leads:leads", status="nonsense")))) == 2


def test_a_request_is_found_by_its_customer(cast, life, alice, now):
    with only(cast.shop):
        lead(cast.shop, phone="+15550100005", name="Paula Shaw", now=now)
    assert people(alice.get(page("leads:leads", q="shaw"))) == ["Paula Shaw"]
    assert people(alice.get(page("leads:leads", q="0002", status="proposed"))) == ["Paul Ray"]
    assert people(alice.get(page("leads:leads", q=f"#{life.lead.number}"))) == ["Paul Ray"]
    assert "No lead like that" in words_of(alice.get(page("leads:leads", q="zzz")))


def test_a_lead_leads_to_its_page_and_its_job(cast, life, alice, now):
    with only(cast.shop):
        Lead.objects.filter(pk=life.lead.pk).update(appointment=life.job)
    html = alice.get(page("leads:leads")).content.decode()
    assert f'href="{page("leads:lead", life.lead.number)}"' in html
    assert f'href="{page("booking:appointment", life.job.pk)}"' in html


def test_without_leads_the_page_says_where_they_come_from(cast, alice):
    assert "What customers ask for by text, web form or through the API appears here" in words_of(
        alice.get(page("leads:leads"))
    )


@pytest.mark.parametrize("many", [1, 3])
def test_leads_ask_as_often_for_three_as_for_one(cast, now, alice, many, django_assert_num_queries):
    with only(cast.shop):
        for n in range(many):
            lead(cast.shop, phone=f"+1555012000{n}", now=now)
    alice.get(page("leads:leads"))
    with django_assert_num_queries(11):
        alice.get(page("leads:leads"))


def test_the_next_leads_begin_behind_the_last_one_shown(cast, now, alice):
    with only(cast.shop):
        for n in range(31):
            lead(cast.shop, phone=f"+155501200{n:02}", name=f"Person {n:02}", now=now - timedelta(minutes=n))
    first = alice.get(page("leads:leads"))
    assert people(first) == [f"Person {n:02}" for n in range(30)]
    rest = re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1].replace("&amp;", "&")
    assert people(alice.get(page("leads:leads") + rest)) == ["Person 30"]
