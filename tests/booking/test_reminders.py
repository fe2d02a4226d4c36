"""Reminders: once, at the right time, and only where they help."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from booking import reminders, services
from booking.models import Appointment, SchedulingRules, Service, StaffMember
from crm import consent
from crm.enums import ConsentSource
from crm.models import Activity, Customer, Message
from crm.scoping import every_business, only

NOON_BEFORE = datetime(2026, 11, 18, 18, 0, tzinfo=UTC)  # a Wednesday, noon in Chicago
THURSDAY_NOON = datetime(2026, 11, 19, 18, 0, tzinfo=UTC)


def job(
    cast, *, starts_at: datetime = THURSDAY_NOON, booked_at: datetime | None = None, **fields: object
) -> Appointment:
    with only(cast.shop):
        customer, fresh = Customer.objects.get_or_create(
            business=cast.shop, phone="+15551234567", defaults={"name": "Jane Doe"}
        )
        if fresh:
            consent.grant(
                business=cast.shop,
                phone="+15551234567",
                source=ConsentSource.TEXT,
                words="hi",
                now=NOON_BEFORE - timedelta(days=9),
            )
        service = Service.objects.get(name="AC Repair")
        return Appointment.objects.create(
            business=cast.shop, customer=customer, staff=StaffMember.objects.first(), service=service, service_name="AC Repair",
            starts_at=starts_at, ends_at=starts_at + timedelta(hours=1), status=fields.pop("status", "SCHEDULED"),
            created_at=booked_at or NOON_BEFORE - timedelta(days=3), **fields,
        )  # fmt: skip


def send(now: datetime) -> int:
    with every_business():
        return reminders.send_due(now=now)


def texts() -> list[str]:
    with every_business():
        return list(Message.objects.filter(kind="reminder").values_list("body", flat=True))


def test_a_customer_is_reminded_once_a_day_ahead_and_not_before(cast):
    job(cast)

    assert send(NOON_BEFORE - timedelta(minutes=1)) == 0
    assert send(NOON_BEFORE) == 1
    assert send(NOON_BEFORE + timedelta(minutes=1)) == 0

    assert texts() == [
        "Reminder from Alice Plumbing: AC Repair, Thu Nov 19, 12:00-1:00 PM."
        " Reply 1 to confirm, 2 for another time, 3 if you can't make it."
    ]


@pytest.mark.parametrize("status", ["HELD", "CANCELLED", "COMPLETED", "NO_SHOW", "RELEASED", "PENDING_RESCHEDULE"])
def test_only_jobs_that_will_happen_are_reminded_of(cast, status):
    job(cast, status=status, **({"held_until": THURSDAY_NOON} if status == "HELD" else {}))
    assert send(NOON_BEFORE) == 0


def test_whoever_booked_an_hour_ago_is_not_reminded(cast):
    job(cast, booked_at=NOON_BEFORE + timedelta(hours=1))
    assert send(NOON_BEFORE + timedelta(hours=2)) == 0
    assert texts() == []


def test_a_business_may_choose_the_hours_or_none(cast):
    job(cast)
    with only(cast.shop):
        SchedulingRules.objects.update(reminder_hours=0)
        assert send(NOON_BEFORE) == 0
        SchedulingRules.objects.update(reminder_hours=2)
    assert send(NOON_BEFORE) == 0
    assert send(THURSDAY_NOON - timedelta(hours=2)) == 1


def test_a_suspended_business_reminds_nobody(cast):
    job(cast)
    cast.shop.status = "SUSPENDED"
    cast.shop.save()
    assert send(NOON_BEFORE) == 0


def test_a_reminder_that_falls_into_the_night_waits_for_the_morning(cast):
    job(cast, starts_at=datetime(2026, 11, 20, 5, 0, tzinfo=UTC))  # 11 pm on Thursday in Chicago
    assert send(datetime(2026, 11, 19, 5, 0, tzinfo=UTC)) == 1
    with every_business():
        message = Message.objects.get(kind="reminder")
    assert message.due_at == datetime(2026, 11, 19, 14, 0, tzinfo=UTC)  # 8 am


def test_a_reminder_that_would_come_after_the_job_began_is_not_sent_and_the_timeline_says_so(cast):
    job(cast, starts_at=datetime(2026, 11, 19, 13, 0, tzinfo=UTC))  # 7 am in Chicago
    with only(cast.shop):
        SchedulingRules.objects.update(reminder_hours=6)
    assert send(datetime(2026, 11, 19, 7, 0, tzinfo=UTC)) == 1
    assert texts() == []
    with every_business():
        assert Activity.objects.get().text.startswith("Not reminded: the text could only arrive after the job begins.")


def test_somebody_who_opted_out_is_not_texted_and_the_timeline_says_why(cast):
    job(cast)
    with only(cast.shop):
        consent.revoke(
            business=cast.shop,
            phone="+15551234567",
            source=ConsentSource.TEXT,
            words="stop",
            now=NOON_BEFORE - timedelta(days=1),
        )
    assert send(NOON_BEFORE) == 1
    assert texts() == []
    with every_business():
        assert Activity.objects.get().text.startswith("Can't send: opted out on Nov 17 by text")


def test_a_moved_job_is_reminded_of_anew(cast):
    appointment = job(cast)
    send(NOON_BEFORE)
    with only(cast.shop):
        services.reschedule(appointment=appointment, starts_at=THURSDAY_NOON + timedelta(days=5), now=NOON_BEFORE)
    assert send(NOON_BEFORE + timedelta(days=5)) == 1
    assert len(texts()) == 2


@pytest.mark.django_db(transaction=True)
def test_four_workers_remind_each_customer_once(cast):
    for hour in range(6):
        job(cast, starts_at=THURSDAY_NOON + timedelta(hours=hour) - timedelta(hours=3))

    def work(_: int) -> int:
        try:
            return send(NOON_BEFORE + timedelta(hours=2))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 6
    assert len(texts()) == 6
