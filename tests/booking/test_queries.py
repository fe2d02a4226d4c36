"""Reading the calendar: the right slots, and a number of statements that does not grow with it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from booking import queries
from booking.models import Appointment, BlackoutDate, SchedulingRules, Service, StaffMember, TimeOff, WeeklyHours
from booking.when import Wanted
from crm.api_keys import issue_key
from crm.enums import KeyKind
from crm.models import Business
from crm.scoping import every_business, only
from crm.services import remember_customer
from tests.conftest import NOW, open_shop

HOUR = timedelta(hours=1)
TEN = datetime(2026, 11, 18, 16, 0, tzinfo=UTC)  # in Chicago, the first slot after the hour of notice
LEAD = {
    "event_id": "evt_1",
    "tenant_id": "t_acme",
    "name": "Jane Doe",
    "phone": "+15551234567",
    "service": "AC Repair",
    "notes": "no cooling",
}


@pytest.fixture
def shop(db):
    business = open_shop("alice", name="Alice Plumbing", number="+15552000001", staff=1)
    with only(business):
        yield business


def starts(business: Business, **question: object) -> list[datetime]:
    rules = SchedulingRules.objects.get(business=business)
    found, _ = queries.open_slots(
        business=business, rules=rules, **{"duration": HOUR, "now": NOW, "limit": 3} | question
    )
    return [slot.start for slot in found]


def reason(business: Business, **question: object) -> str:
    rules = SchedulingRules.objects.get(business=business)
    found, why = queries.open_slots(business=business, rules=rules, **{"duration": HOUR, "now": NOW} | question)
    assert found == []
    return why


def job(business: Business, starts_at: datetime, *, staff: StaffMember | None = None, **fields: object) -> Appointment:
    customer, _ = remember_customer(business=business, phone="+15551230001", name="Jane Doe")
    return Appointment.objects.create(
        business=business,
        customer=customer,
        staff=staff or StaffMember.objects.earliest("pk"),
        service_name="Plumbing",
        starts_at=starts_at,
        ends_at=starts_at + HOUR,
        created_at=NOW,
        **{"status": "SCHEDULED"} | fields,
    )


# --- Which slots are open ---------------------------------------------------------------------------------------------


def test_slots_begin_after_the_notice_and_jobs_are_left_out(shop):
    job(shop, TEN + HOUR)
    assert starts(shop, limit=4) == [
        TEN,
        TEN + 2 * HOUR,
        TEN + 2 * HOUR + timedelta(minutes=15),
        TEN + 2 * HOUR + timedelta(minutes=30),
    ]


@pytest.mark.parametrize("status", ["CANCELLED", "COMPLETED", "NO_SHOW", "RELEASED"])
def test_a_job_that_is_over_or_off_takes_no_time(shop, status):
    job(shop, TEN, status=status)
    assert starts(shop)[0] == TEN


def test_a_staff_members_own_hours_time_off_and_closed_days_count(shop):
    person = StaffMember.objects.get()
    WeeklyHours.objects.create(business=shop, staff=person, weekday=3, opens=time(13), closes=time(15))
    assert starts(shop)[0] == datetime(2026, 11, 19, 19, 0, tzinfo=UTC)  # Thursday at one, their only hours
    WeeklyHours.objects.filter(staff=person).delete()
    TimeOff.objects.create(business=shop, staff=person, starts_at=NOW, ends_at=NOW + timedelta(hours=4))
    assert starts(shop)[0] == NOW + timedelta(hours=4)
    BlackoutDate.objects.create(business=shop, date=date(2026, 11, 18))
    assert starts(shop)[0] == datetime(2026, 11, 19, 14, 0, tzinfo=UTC)


def test_who_does_not_work_any_more_is_not_booked(shop):
    StaffMember.objects.update(is_active=False)
    assert reason(shop) == "Nobody is set up to take this job yet."


def test_another_business_takes_no_time_of_ours(shop):
    next_door = open_shop("charlie", name="Charlie Cooling", number="+15552000002")
    with every_business():
        job(next_door, TEN, staff=StaffMember.objects.filter(business=next_door).first())
        TimeOff.objects.create(
            business=next_door,
            staff=StaffMember.objects.filter(business=next_door).first(),
            starts_at=NOW,
            ends_at=NOW + 99 * HOUR,
        )
        BlackoutDate.objects.create(business=next_door, date=date(2026, 11, 18))
    assert starts(shop)[0] == TEN


def test_a_wish_and_a_moment_to_search_after_are_honoured(shop):
    assert starts(shop, after=TEN) == [TEN + timedelta(minutes=15 * n) for n in (1, 2, 3)]
    thursday = Wanted(dates=(date(2026, 11, 19), date(2026, 11, 19)), not_before=time(15), words="thursday after 3")
    assert starts(shop, wanted=thursday)[0] == datetime(2026, 11, 19, 21, 0, tzinfo=UTC)


def test_the_search_goes_on_behind_two_full_days(shop):
    for day in (18, 19, 20):
        for hour in range(9):
            job(shop, datetime(2026, 11, day, 14 + hour, 0, tzinfo=UTC))
    assert starts(shop)[0] == datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
    assert (
        reason(shop, wanted=Wanted(dates=(date(2026, 11, 20), date(2026, 11, 20)), words="friday"))
        == "Everyone is booked on Fri Nov 20."
    )


def test_the_next_slot_names_everybody_who_could_take_it(shop):
    busy = StaffMember.objects.get()
    idle = StaffMember.objects.create(business=shop, name="Bob")
    job(shop, TEN + 2 * HOUR, staff=busy)
    rules, service = SchedulingRules.objects.get(), Service.objects.get(name="Plumbing")
    found, _ = queries.next_slots(business=shop, rules=rules, service=service, now=NOW)
    assert [(slot.staff_id, slot.start) for slot in found] == [(idle.pk, TEN), (busy.pk, TEN)]  # the less busy first


def test_the_next_appointment_is_the_earliest_still_to_come(shop):
    later, sooner = job(shop, TEN + 24 * HOUR), job(shop, TEN, status="CONFIRMED")
    job(shop, NOW - 2 * HOUR)
    job(shop, TEN + 2 * HOUR, status="CANCELLED")
    customer = sooner.customer
    assert queries.next_appointment(customer=customer, now=NOW) == sooner
    assert (
        queries.next_appointment(customer=customer, now=TEN + 30 * timedelta(minutes=1)) == sooner
    )  # going on right now
    assert queries.next_appointment(customer=customer, now=TEN + HOUR) == later
    assert queries.next_appointment(customer=customer, now=TEN + 25 * HOUR) is None


# --- How many statements ----------------------------------------------------------------------------------------------


@pytest.fixture
def acme(db):
    with time_machine.travel(NOW, tick=False):
        yield open_shop("t_acme", name="Acme Air", number="+15552000003", owner_phone="+15552009003", staff=8)


def fill(business: Business, *, jobs: int) -> None:
    """The first `jobs` hours there are, one after another over the staff."""
    with every_business():
        customer, _ = remember_customer(business=business, phone="+15551230001", name="Jane Doe")
        days = [NOW + timedelta(days=n) for n in range(14) if (NOW + timedelta(days=n)).weekday() < 5]
        hours = [day.replace(hour=14 + n) for day in days for n in range(9)]
        staff = list(StaffMember.objects.filter(business=business))
        slots = [(person, start) for start in hours for person in staff][:jobs]
        Appointment.objects.bulk_create(
            Appointment(
                business=business,
                customer=customer,
                staff=person,
                service_name="AC Repair",
                starts_at=start,
                ends_at=start + HOUR,
                status="SCHEDULED",
                created_at=NOW,
            )
            for person, start in slots
        )


def statements(method: str, path: str, body: dict[str, str] | None = None, **headers: str) -> tuple[int, object]:
    client = Client(headers=headers)
    with CaptureQueriesContext(connection) as captured:
        response = client.get(path) if method == "GET" else client.post(path, body, content_type="application/json")
    assert response.status_code == 200, response.content
    return len(captured), response.json()


@pytest.mark.parametrize("jobs", [1, 500])
def test_booking_takes_as_many_statements_in_a_full_calendar_as_in_an_empty_one(acme, jobs):
    fill(acme, jobs=jobs)
    more = len(queries.LOOKS) if jobs == 500 else 0  # the next days are full, so the rest is read too: never more often
    counted = {}
    counted["new"], _ = statements("POST", "/lead", LEAD)
    counted["known"], _ = statements("POST", "/lead", LEAD | {"event_id": "evt_2"})
    counted["repeat"], _ = statements("POST", "/lead", LEAD | {"event_id": "evt_2"})
    counted["propose"], offer = statements("POST", "/lead/propose", LEAD | {"event_id": "evt_3"})
    counted["accept"], booked = statements(
        "POST", "/sms/callback", {"message_id": offer["message_id"], "from_phone": "+15551234567", "body": "1"}
    )
    assert booked["status"] == "BOOKED"
    assert counted == {
        "new": 34 + more,
        "known": 30 + more,
        "repeat": 5,
        "propose": 32 + more,
        "accept": 18,
    }


@pytest.mark.parametrize("jobs", [1, 500])
def test_the_list_of_jobs_takes_two_statements(acme, jobs):
    fill(acme, jobs=jobs)
    key = issue_key(business=acme, kind=KeyKind.API, now=NOW).secret
    statements("GET", "/jobs", **{"X-API-Key": key})  # writes down that the key was used
    count, listed = statements("GET", "/jobs", **{"X-API-Key": key})
    assert (count, len(listed)) == (2, min(jobs, 50))


@pytest.mark.parametrize("jobs", [1, 500])
def test_the_search_takes_two_statements_and_one_for_each_further_look(acme, django_assert_num_queries, jobs):
    fill(acme, jobs=jobs)
    rules = SchedulingRules.objects.get(business=acme)
    with only(acme), django_assert_num_queries(2 + len(queries.LOOKS) if jobs == 500 else 2):
        found, _ = queries.open_slots(business=acme, rules=rules, duration=HOUR, now=NOW, limit=1)
    assert len(found) == 1
