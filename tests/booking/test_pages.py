"""The calendar's pages: the week, one visit and what can be done about it, a new one, the settings."""

import re
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
import time_machine

from booking import texts
from booking.calendar import free_times, read_slot, say_price, slot_value
from booking.models import Appointment, BlackoutDate, SchedulingRules, Service, StaffMember, WeeklyHours
from booking.slots import Slot
from crm import consent, segments
from crm.enums import ConsentSource, MessageStatus
from crm.models import Activity, Business, Customer, Message
from crm.scoping import every_business, only
from tests.pages import FRIDAY, book, live, page, person, signed_in, titles, words_of

MONDAY = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)  # 9:00 AM in Chicago


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


def job_of(life):
    with every_business():
        return Appointment.objects.select_related("staff").get(pk=life.job.pk)


def slot(start, staff):
    return slot_value(Slot(staff_id=staff.pk, start=start, end=start))


def texts_about(job):
    with every_business():
        return list(
            Message.objects.filter(about=f"appointment:{job.pk}")
            .order_by("created_at", "id")
            .values_list("body", flat=True)
        )


def slots_offered(response):
    return re.findall(r'name="slot" value="([^"]+)"', response.content.decode())


# --- The week --------------------------------------------------------------------------------------------------------


def test_a_week_shows_who_what_when_and_how_it_stands_on_the_business_own_clock(life, alice):
    response = alice.get(page("booking:calendar"))
    text = words_of(response)
    assert "November 16–22 1 job" in text
    assert "10:00 AM 11:00 AM AC Repair Scheduled Jane Doe · 12 Oak St · Alice 1" in text
    assert "Wed, Nov 18 Today" in text


def test_an_offer_is_shown_with_the_time_it_is_held_until_and_counts_as_no_job(life, alice):
    text = words_of(alice.get(page("booking:calendar")))
    assert "AC Repair Held until 9:10 AM Paul Ray" in text
    assert "1 job" in text


def test_an_offer_that_ran_out_is_not_shown(life, alice, now):
    with time_machine.travel(now + timedelta(hours=1), tick=False):
        assert "Paul Ray" not in words_of(alice.get(page("booking:calendar")))


def test_weeks_are_turned_and_jumped_to(life, alice):
    html = alice.get(page("booking:calendar")).content.decode()
    assert re.search(r'rel="prev" href="([^"]+)"', html)[1] == "/app/alice/calendar/?day=2026-11-09"
    assert re.search(r'rel="next" href="([^"]+)"', html)[1] == "/app/alice/calendar/?day=2026-11-23"
    assert "November 23–29 0 jobs" in words_of(alice.get(page("booking:calendar", day="2026-11-25")))
    assert "Nov 30 – Dec 6" in words_of(alice.get(page("booking:calendar", day="2026-12-01")))


def test_a_day_that_is_no_day_shows_this_week(life, alice):
    for day in ("zzz", "2026-13-01", "0001-01-01", "9999-12-31"):
        assert "November 16–22" in words_of(alice.get(page("booking:calendar", day=day)))


def test_a_late_evening_belongs_to_the_day_of_the_business(cast, now, alice):
    with only(cast.shop):
        jane = person(cast.shop, name="Jane Doe", phone="+15550100001")
        late = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)  # Sunday 8:00 PM in Chicago, Monday in UTC
        book(cast.shop, customer=jane, starts_at=late, now=now, user=cast.alice)
    assert "Sun, Nov 22 8:00 PM 9:00 PM AC Repair" in words_of(alice.get(page("booking:calendar")))


def test_a_closed_day_says_why(cast, alice):
    with only(cast.shop):
        BlackoutDate.objects.create(business=cast.shop, date=date(2026, 11, 20), reason="Company picnic")
    assert "Fri, Nov 20 Company picnic" in words_of(alice.get(page("booking:calendar")))


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_week_asks_as_often_for_three_jobs_as_for_one(cast, now, alice, jobs, django_assert_num_queries):
    with only(cast.shop):
        for n in range(jobs):
            someone = person(cast.shop, name=f"Person {n}", phone=f"+1555010000{n}")
            book(cast.shop, customer=someone, starts_at=FRIDAY + timedelta(hours=n), now=now, user=cast.alice)
    alice.get(page("booking:calendar"))
    with django_assert_num_queries(8):
        alice.get(page("booking:calendar"))


# --- One visit -------------------------------------------------------------------------------------------------------


def test_a_visit_tells_everything_one_needs_at_the_door(life, alice):
    response = alice.get(page("booking:appointment", life.job.pk))
    text = words_of(response)
    assert "When Fri Nov 20, 10:00–11:00 AM For Jane Doe Phone (555) 010-0001 Where 12 Oak St Who Alice 1" in text
    assert 'href="tel:+15550100001"' in response.content.decode()
    assert "Booked AC Repair for Fri 10 am." in text


def test_an_offered_slot_says_until_when_it_is_held_and_offers_no_changes(life, alice):
    response = alice.get(page("booking:appointment", life.offer.pk))
    assert "Held until 9:10 AM" in words_of(response)
    assert page("booking:cancel", life.offer.pk) not in response.content.decode()


def test_confirming_once_and_twice(cast, life, alice):
    assert "Jane Doe will be there." in words_of(alice.post(page("booking:confirm", life.job.pk), follow=True))
    assert "This was confirmed already." in words_of(alice.post(page("booking:confirm", life.job.pk), follow=True))
    assert job_of(life).status == "CONFIRMED"
    with every_business():
        assert Activity.objects.filter(verb="confirmed").get().actor == cast.alice


@pytest.mark.parametrize("door", ["booking:complete", "booking:no_show"])
def test_a_visit_that_is_still_to_come_is_neither_done_nor_missed(life, alice, door):
    response = alice.post(page(door, life.job.pk), follow=True)
    assert "This appointment is still to come." in words_of(response)
    assert job_of(life).status == "SCHEDULED"


@pytest.mark.parametrize(
    ("door", "status", "sentence"),
    [
        ("booking:complete", "COMPLETED", "Done: AC Repair for Jane Doe."),
        ("booking:no_show", "NO_SHOW", "Written down: Jane Doe was not there."),
    ],
)
def test_afterwards_a_visit_is_done_or_nobody_was_there(life, alice, door, status, sentence):
    with time_machine.travel(FRIDAY + timedelta(minutes=30), tick=False):
        assert sentence in words_of(alice.post(page(door, life.job.pk), follow=True))
        assert job_of(life).status == status
        assert "already." in words_of(alice.post(page(door, life.job.pk), follow=True))


# --- Cancelling ------------------------------------------------------------------------------------------------------

CANCELLED = (
    "Alice Plumbing had to call off your AC Repair, Fri Nov 20, 10:00-11:00 AM. Text us here to find another time."
)
BACK = "Your AC Repair with Alice Plumbing is on again: Fri Nov 20, 10:00-11:00 AM. See you then!"


def test_cancelling_asks_once_naming_the_visit_and_the_text(life, alice):
    for address in (page("booking:cancel", life.job.pk), page("booking:appointment", life.job.pk)):
        text = words_of(alice.get(address))
        assert "Cancel AC Repair for Jane Doe, Fri, Nov 20, 10:00 AM?" in text
        assert f"Text Jane {CANCELLED} Sends now." in text
    assert job_of(life).status == "SCHEDULED"


def test_a_cancelled_visit_is_told_to_the_customer_and_can_be_put_back(life, alice):
    response = alice.post(page("booking:cancel", life.job.pk), {"tell": "1"}, follow=True)
    assert "AC Repair for Jane Doe, Fri Nov 20, 10:00–11:00 AM, is cancelled. Jane was texted." in words_of(response)
    assert page("booking:undo_cancel", life.job.pk) in response.content.decode()
    assert job_of(life).status == "CANCELLED"
    assert texts_about(life.job) == [CANCELLED]

    with every_business():
        Message.objects.filter(body=CANCELLED).update(status=MessageStatus.SENT)
    undone = alice.post(page("booking:undo_cancel", life.job.pk), follow=True)
    assert "AC Repair for Jane Doe is on again. Jane was texted." in words_of(undone)
    assert job_of(life).status == "SCHEDULED"
    assert texts_about(life.job) == [CANCELLED, BACK]


def test_whoever_was_not_told_of_a_cancellation_is_not_told_of_its_end(life, alice):
    response = alice.post(page("booking:cancel", life.job.pk), {}, follow=True)
    assert "10:00–11:00 AM, is cancelled." in words_of(response)
    assert "texted" not in words_of(response)
    alice.post(page("booking:undo_cancel", life.job.pk))
    assert job_of(life).status == "SCHEDULED"
    assert texts_about(life.job) == []


def test_a_double_click_cancels_and_tells_once(life, alice):
    alice.post(page("booking:cancel", life.job.pk), {"tell": "1"})
    assert "This was cancelled already." in words_of(
        alice.post(page("booking:cancel", life.job.pk), {"tell": "1"}, follow=True)
    )
    assert texts_about(life.job) == [CANCELLED]


def test_somebody_who_opted_out_is_not_texted_and_the_page_says_so(cast, life, alice, now):
    with only(cast.shop):
        consent.revoke(business=cast.shop, phone="+15550100001", source=ConsentSource.TEXT, words="stop", now=now)
    shown = alice.get(page("booking:cancel", life.job.pk))
    assert "Jane will not be texted. Can't send: opted out on Nov 18 by text (“stop”)." in words_of(shown)
    assert 'name="tell"' not in shown.content.decode()
    response = alice.post(page("booking:cancel", life.job.pk), {"tell": "1"}, follow=True)
    assert "Jane was not texted. Can't send: opted out on Nov 18 by text (“stop”)." in words_of(response)
    assert job_of(life).status == "CANCELLED"
    assert texts_about(life.job) == []


def test_a_text_about_a_change_goes_out_although_a_person_has_the_conversation(life, alice):
    alice.post(page("crm:take_over", life.conversation.pk))
    alice.post(page("booking:cancel", life.job.pk), {"tell": "1"})
    assert texts_about(life.job) == [CANCELLED]


def test_at_night_the_page_says_when_the_text_will_go(cast, life, alice, now):
    with time_machine.travel(now.replace(day=19, hour=5), tick=False):  # 11 PM in Chicago
        response = alice.post(page("booking:cancel", life.job.pk), {"tell": "1"}, follow=True)
    assert "The text to Jane waits: Will be sent tomorrow 8:00 AM your time" in words_of(response)


def waiting_texts(job):
    with every_business():
        told = Message.objects.filter(about=f"appointment:{job.pk}").order_by("created_at", "id")
        return list(told.values_list("body", "status"))


def test_a_cancellation_put_back_at_night_takes_its_text_back_too(life, alice, now):
    with time_machine.travel(now.replace(day=19, hour=5), tick=False):  # 11 PM in Chicago
        alice.post(page("booking:cancel", life.job.pk), {"tell": "1"})
        assert waiting_texts(life.job) == [(CANCELLED, "queued")]
        response = alice.post(page("booking:undo_cancel", life.job.pk), follow=True)
    assert "is on again. A text to Jane about it had not gone out yet, and will not." in words_of(response)
    assert waiting_texts(life.job) == [(CANCELLED, "refused")]


def test_of_two_changes_at_night_only_the_last_is_told(life, alice, now):
    with time_machine.travel(now.replace(day=19, hour=5), tick=False):  # 11 PM in Chicago
        move(alice, life, MONDAY + timedelta(hours=2))
        move(alice, life, MONDAY)
    assert [status for _, status in waiting_texts(life.job)] == ["refused", "queued"]
    assert waiting_texts(life.job)[1][0] == MOVED


def test_a_text_with_the_old_time_does_not_go_out_when_the_move_is_not_told(life, alice, now):
    with time_machine.travel(now.replace(day=19, hour=5), tick=False):  # 11 PM in Chicago
        move(alice, life, MONDAY)
        response = move(alice, life, MONDAY + timedelta(hours=2), tell="")
    assert "A text to Jane about it had not gone out yet, and will not." in words_of(response)
    assert waiting_texts(life.job) == [(MOVED, "refused")]


def test_after_half_an_hour_a_cancellation_stands(life, alice, now):
    alice.post(page("booking:cancel", life.job.pk), {})
    with time_machine.travel(now + timedelta(minutes=31), tick=False):
        assert "Put it back" not in words_of(alice.get(page("booking:appointment", life.job.pk)))
        response = alice.post(page("booking:undo_cancel", life.job.pk), follow=True)
    assert "A cancellation can be undone within 30 minutes." in words_of(response)
    assert job_of(life).status == "CANCELLED"


def test_a_cancellation_is_not_undone_onto_somebody_else(cast, life, alice, now):
    alice.post(page("booking:cancel", life.job.pk), {})
    with only(cast.shop):
        paul = person(cast.shop, name="Paul Ray", phone="+15550100002")
        book(cast.shop, customer=paul, starts_at=FRIDAY, now=now, user=cast.alice)
    response = alice.post(page("booking:undo_cancel", life.job.pk), follow=True)
    assert "That time was just taken." in words_of(response)
    assert job_of(life).status == "CANCELLED"


def test_a_visit_that_is_over_cannot_be_cancelled(life, alice):
    address = page("booking:cancel", life.job.pk)
    with time_machine.travel(FRIDAY + timedelta(hours=2), tick=False):
        alice.post(page("booking:complete", life.job.pk))
        assert "This visit cannot be cancelled any more." in words_of(alice.get(address, follow=True))
        assert "This appointment is done." in words_of(alice.post(address, {"tell": "1"}, follow=True))
    assert job_of(life).status == "COMPLETED"
    assert texts_about(life.job) == []


# --- Moving ----------------------------------------------------------------------------------------------------------

MOVED = "Alice Plumbing moved your AC Repair to Mon Nov 23, 9:00-10:00 AM. Text us here if that does not suit you."


def staff(n=0):
    with every_business():
        return StaffMember.objects.filter(business__slug="alice").order_by("pk")[n]


def move(client, life, start, *, who=None, tell="1", once=None):
    form = {"slot": slot(start, who or staff()), "tell": tell, "once": once or uuid.uuid4()}
    return client.post(page("booking:move", life.job.pk), form, follow=True)


def test_only_free_times_are_offered_for_a_move(cast, life, alice, now):
    offered = [
        read_slot(value) for value in slots_offered(alice.get(page("booking:move", life.job.pk, day="2026-11-20")))
    ]
    starts = {start for start, _ in offered}
    assert FRIDAY.replace(hour=14) in starts  # 8:00 AM
    assert {who for start, who in offered if start == FRIDAY} == {staff(1).pk}  # Alice 1 has the job itself
    assert max(starts) == FRIDAY.replace(hour=22)  # 4:00 PM: an hour's job ends when they close


def test_a_day_without_a_free_time_says_why_and_shows_the_next_ones(life, alice):
    response = alice.get(page("booking:move", life.job.pk, day="2026-11-22"))
    assert "We are not open on Sun Nov 22." in words_of(response)
    assert "Mon Nov 23 8:00 AM" in words_of(response)


def test_a_visit_is_moved_and_the_customer_told(cast, life, alice):
    response = move(alice, life, MONDAY, who=staff(1))
    assert "Moved to Mon Nov 23, 9:00–10:00 AM with Alice 2. Jane was texted." in words_of(response)
    job = job_of(life)
    assert (job.starts_at, job.ends_at, job.staff.name, job.status) == (
        MONDAY,
        MONDAY + timedelta(hours=1),
        "Alice 2",
        "SCHEDULED",
    )
    assert texts_about(life.job) == [MOVED]
    with every_business():
        assert Activity.objects.filter(verb="moved").get().actor == cast.alice


def test_a_double_click_moves_and_tells_once(life, alice):
    once = uuid.uuid4()
    move(alice, life, MONDAY, once=once)
    move(alice, life, MONDAY, once=once)
    assert texts_about(life.job) == [MOVED]


def test_a_visit_is_moved_without_a_word_when_one_wants_that(life, alice):
    response = move(alice, life, MONDAY, tell="")
    assert "Moved to Mon Nov 23, 9:00–10:00 AM with Alice 1." in words_of(response)
    assert texts_about(life.job) == []


def test_a_time_that_was_just_taken_stays_taken_and_the_next_ones_are_named(cast, life, alice, now):
    with only(cast.shop):
        paul = person(cast.shop, name="Paul Ray", phone="+15550100002")
        book(cast.shop, customer=paul, starts_at=MONDAY, now=now, user=cast.alice)
    response = move(alice, life, MONDAY)
    assert response.status_code == 409
    assert "That time was just taken. Wed Nov 18 9:00 AM and Wed Nov 18 9:30 AM are free." in words_of(response)
    assert job_of(life).starts_at == FRIDAY
    assert texts_about(life.job) == []


def test_the_wish_not_to_text_survives_a_time_that_was_taken(cast, life, alice, now):
    with only(cast.shop):
        paul = person(cast.shop, name="Paul Ray", phone="+15550100002")
        book(cast.shop, customer=paul, starts_at=MONDAY, now=now, user=cast.alice)
    box = re.search(r'<input type="checkbox" name="tell"[^>]*>', move(alice, life, MONDAY, tell="").content.decode())[0]
    assert "checked" not in box


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "Choose a time first."),
        ("yesterday", "Choose one of the times offered."),
        ("20261399T000000Z-1", "Choose one of the times offered."),
        ("20261123T150000Z-999999999999999999", "Nobody here can take that time any more. Choose another one."),
        ("20261123T150000Z-0", "Nobody here can take that time any more. Choose another one."),
    ],
)
def test_a_time_nobody_offered_moves_nothing(life, alice, value, sentence):
    response = alice.post(page("booking:move", life.job.pk), {"slot": value, "once": uuid.uuid4()})
    assert response.status_code == 422
    assert sentence in words_of(response)
    assert job_of(life).starts_at == FRIDAY


def test_the_neighbours_people_cannot_be_given_the_job(cast, life, alice):
    with every_business():
        theirs = StaffMember.objects.filter(business=cast.next_door).first()
    response = move(alice, life, MONDAY, who=theirs)
    assert response.status_code == 422
    assert "Nobody here can take that time any more." in words_of(response)
    assert job_of(life).starts_at == FRIDAY


def test_a_time_that_has_passed_moves_nothing(life, alice, now):
    response = move(alice, life, now - timedelta(hours=1))
    assert response.status_code == 409
    assert "That time has passed. Choose one that is still to come." in words_of(response)
    assert job_of(life).starts_at == FRIDAY


def test_a_visit_that_is_off_cannot_be_moved(life, alice):
    alice.post(page("booking:cancel", life.job.pk), {})
    response = move(alice, life, MONDAY)
    assert "This visit cannot be moved any more." in words_of(response)
    assert job_of(life).status == "CANCELLED"


# --- A new one -------------------------------------------------------------------------------------------------------

BOOKED = "You are booked with Alice Plumbing: AC Repair, Mon Nov 23, 9:00-10:00 AM. Text us here if anything changes."


def service(name="AC Repair"):
    with every_business():
        return Service.objects.get(business__slug="alice", name=name)


def order(client, customer, *, start=MONDAY, once=None, **more):
    form = {
        "customer": customer.pk,
        "service": service().pk,
        "slot": slot(start, staff()),
        "address": "5 Elm St",
        "notes": "Ring twice",
        "tell": "1",
        "once": once or uuid.uuid4(),
    }
    return client.post(page("booking:new"), form | more, follow=True)


def test_first_one_chooses_for_whom(life, alice):
    response = alice.get(page("booking:new", q="jane"))
    assert titles(response) == ["Jane Doe"]
    assert f"/app/alice/calendar/new/?customer={life.jane.pk}" in response.content.decode()
    assert page("crm:add_customer") + "?then=book" in response.content.decode()


def test_somebody_new_is_added_on_the_way(cast, alice):
    response = alice.post(
        page("crm:add_customer", then="book"), {"name": "Ana", "phone": "5551234567", "once": uuid.uuid4()}
    )
    with every_business():
        ana = Customer.objects.get()
    assert response.url == page("booking:new", customer=ana.pk)
    assert alice.get(response.url).status_code == 200


def test_then_one_sees_the_services_and_the_next_free_times(life, alice):
    response = alice.get(page("booking:new", customer=life.jane.pk))
    text = words_of(response)
    assert "AC Repair · 1 hour" in text
    assert "Installation · 2 hours" in text
    assert re.findall(r"(Wed|Thu|Fri|Mon) Nov \d+", text)[:3] == ["Wed", "Thu", "Fri"]
    starts = [read_slot(value)[0].minute for value in slots_offered(response)]
    assert set(starts) == {0, 30}  # the quarters are there when one asks for a day


def test_a_day_one_asks_for_has_all_its_times(life, alice):
    response = alice.get(
        page("booking:new", customer=life.jane.pk, day="2026-11-23", service=service("Installation").pk)
    )
    starts = [read_slot(value)[0] for value in slots_offered(response)]
    assert (starts[0], starts[1], starts[-1]) == (
        MONDAY.replace(hour=14), MONDAY.replace(hour=14, minute=15), MONDAY.replace(hour=21),
    )  # fmt: skip


def test_the_notice_for_strangers_does_not_bind_the_owner(cast, life, now):
    with only(cast.shop):
        SchedulingRules.objects.filter(business=cast.shop).update(min_notice_minutes=600)
        found = free_times(cast.shop, duration=timedelta(hours=1), now=now, on=date(2026, 11, 18))
    assert found.days[0]["slots"][0]["label"] == "9:00 AM"


def test_a_visit_is_booked_and_the_customer_told(cast, life, alice, now):
    response = order(alice, life.jane)
    assert "Booked: AC Repair for Jane Doe, Mon Nov 23, 9:00–10:00 AM with Alice 1. Jane was texted." in words_of(
        response
    )
    with every_business():
        job = Appointment.objects.get(starts_at=MONDAY)
    assert response.redirect_chain == [(page("booking:appointment", job.pk), 302)]
    assert (job.customer, job.staff, job.status, job.address, job.notes, job.source, job.is_emergency) == (
        life.jane, staff(), "SCHEDULED", "5 Elm St", "Ring twice", "owner", False,
    )  # fmt: skip
    assert texts_about(job) == [BOOKED]


def test_a_double_click_books_once(life, alice):
    once = uuid.uuid4()
    first, second = (order(alice, life.jane, once=once) for _ in range(2))
    assert first.redirect_chain == second.redirect_chain
    with every_business():
        assert Appointment.objects.filter(starts_at=MONDAY).count() == 1


def test_two_who_choose_the_same_time_get_it_once(life, alice):
    order(alice, life.jane)
    response = order(alice, life.marcus)
    assert response.status_code == 409
    assert "That time was just taken. Wed Nov 18 9:00 AM and Wed Nov 18 9:30 AM are free." in words_of(response)
    assert "5 Elm St" in response.content.decode()  # nothing has to be typed again
    with every_business():
        assert Appointment.objects.filter(starts_at=MONDAY).get().customer == life.jane


def test_an_emergency_is_booked_as_one(cast, life, alice):
    order(alice, life.jane, emergency="1")
    with every_business():
        assert Appointment.objects.get(starts_at=MONDAY).is_emergency is True


def test_somebody_who_never_agreed_to_texts_is_booked_and_not_texted(cast, life, alice):
    shown = alice.get(page("booking:new", customer=life.marcus.pk))
    assert "Marcus will not be texted. Can't send: there is no phone number on file." in words_of(shown)
    response = order(alice, life.marcus)
    assert "with Alice 1. Marcus was not texted. Can't send: there is no phone number on file." in words_of(response)


def test_a_booking_for_nobody_or_for_the_neighbours_customer_is_not_made(cast, life, alice):
    with only(cast.next_door):
        theirs = person(cast.next_door, name="Eve", phone="+15550100003")
    assert order(alice, theirs).status_code == 404
    assert alice.post(page("booking:new"), {"customer": "zzz"}).status_code == 400
    with every_business():
        assert not Appointment.objects.filter(starts_at=MONDAY).exists()


def test_without_a_service_the_page_says_what_is_missing(cast, life, alice):
    with only(cast.shop):
        Service.objects.update(is_active=False)
    assert "No services yet" in words_of(alice.get(page("booking:new", customer=life.jane.pk)))


# --- Settings, and words ---------------------------------------------------------------------------------------------


def test_the_settings_can_be_read(cast, alice, now):
    with only(cast.shop):
        Service.objects.filter(name="AC Repair").update(price_low=Decimal("120"), price_high=Decimal("180.50"))
        bob = StaffMember.objects.get(name="Alice 2")
        WeeklyHours.objects.create(business=cast.shop, staff=bob, weekday=5, opens=time(9), closes=time(12))
        BlackoutDate.objects.create(business=cast.shop, date=date(2026, 12, 25), reason="Christmas")
    text = words_of(alice.get(page("booking:settings")))
    assert "Time zone America/Chicago" in text
    assert "Alerts go to (555) 200-9001 Number (555) 200-0001" in text
    assert "Monday 8:00 AM–5:00 PM" in text
    assert "Sunday closed" in text
    assert "Closed on Fri, Dec 25 (Christmas)." in text
    assert "Alice 2 Hours of their own" in text
    assert "Alice Ames Owner Bob Burns Staff" in text
    assert "AC Repair 1 hour $120–180.50 ac, a/c, air conditioning" in text


@pytest.mark.parametrize("people", [1, 3])
def test_the_settings_ask_as_often_for_three_people_as_for_one(cast, alice, people, django_assert_num_queries):
    with only(cast.shop):
        StaffMember.objects.filter(name="Alice 2").delete()
        for n in range(people - 1):
            StaffMember.objects.create(business=cast.shop, name=f"Another {n}")
    alice.get(page("booking:settings"))
    with django_assert_num_queries(13):
        alice.get(page("booking:settings"))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(120, 180, "$120–180"), (95, 95, "$95"), (95, None, "from $95"), (None, 1240, "up to $1,240"), (None, None, "")],
)
def test_how_a_price_is_said(low, high, said):
    assert say_price(Service(price_low=low, price_high=high)) == said


@pytest.mark.parametrize("lang", ["en", "es"])
@pytest.mark.parametrize("key", ["booked", "moved", "cancelled", "back"])
def test_every_text_about_a_change_is_one_plain_segment(key, lang):
    business = Business(name="Springfield Plumbing", language=lang, time_zone="America/Chicago")
    text = texts.say(key, business=business, service="Drain cleaning", slot="Wed Nov 25, 10:30 AM-12:00 PM")
    assert (segments.count(text).encoding, segments.count(text).segments) == ("GSM-7", 1)


def test_a_health_business_never_names_the_treatment():
    spa = Business(name="Glow", language="en", private_health=True)
    assert texts.say("moved", business=spa, service="Botox", slot="Mon") == (
        "Glow moved your appointment to Mon. Text us here if that does not suit you."
    )
