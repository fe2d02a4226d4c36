"""A lead that waits too long for its first answer: somebody is told, once, and not in the middle of the night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from crm.consent import grant_if_silent
from crm.enums import Audience, Author, BusinessStatus, ConsentSource, Direction, MessageStatus, TaskReason
from crm.models import Business, Message, Task
from crm.scoping import every_business, only
from leads.actors import person
from leads.enums import ActivityKind, LeadSource
from leads.models import Lead, PipelineSettings
from leads.services import duplicates, intake, pipeline, watching
from leads.services.pipeline import Contact
from tests.leads.selling import a_customer, a_lead

FIVE = timedelta(minutes=5)


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop


@pytest.fixture
def by(cast):
    return person(cast.alice)


def asks(shop, by, now, **fields):
    """Somebody fills in the form."""
    return a_lead(shop, by, now, **{"source": LeadSource.FORM, "contact": Contact(name="Jane Doe")} | fields)


def told():
    return set(Task.objects.filter(reason=TaskReason.LEAD_WAITS).values_list("about", flat=True))


def test_the_owner_hears_of_it_once(shop, by, now):
    lead = asks(shop, by, now)
    assert watching.tell_late(now=now + FIVE - timedelta(seconds=1)) == 0
    assert watching.tell_late(now=now + timedelta(minutes=7)) == 1
    assert watching.tell_late(now=now + timedelta(hours=2)) == 0
    words = "Answer Jane Doe: they have waited 7 minutes."
    assert [(task.title, task.about) for task in Task.objects.open()] == [(words, f"lead:{lead.pk}")]
    text = Message.objects.get()
    assert (text.body, text.to_number, text.audience) == (words, "+15552009001", Audience.OWNER)


def test_each_business_says_itself_how_long_is_too_long(shop, by, now, cast):
    PipelineSettings.objects.create(business=shop, answer_minutes=60)
    asks(shop, by, now)
    with only(cast.next_door):
        asks(cast.next_door, person(cast.charlie), now)
    assert watching.tell_late(now=now + FIVE) == 1
    assert watching.tell_late(now=now + timedelta(minutes=60)) == 1
    with every_business():
        assert list(Message.objects.order_by("created_at").values_list("to_number", flat=True)) == [
            "+15552009002", "+15552009001",
        ]  # fmt: skip


def test_nobody_is_told_of_what_needs_no_answer(shop, by, now, cast):
    answered, called, lost, contacted, kept, dropped = (
        asks(shop, by, now, contact=Contact(name=name)) for name in ("A", "B", "C", "D", "E", "F")
    )
    Message.objects.create(
        business=shop, customer=answered.customer, direction=Direction.OUTBOUND, author=Author.ASSISTANT, body="Hello",
        audience=Audience.CUSTOMER, to_number="+15551230001", status=MessageStatus.QUEUED, created_at=now,
    )  # fmt: skip
    pipeline.add_activity(lead=called, kind=ActivityKind.CALL, text="", by=by, now=now)
    pipeline.move(lead=lost, to="lost", by=by, now=now)
    pipeline.move(lead=contacted, to="contacted", by=by, now=now)
    duplicates.merge_leads(kept=kept, dropped=dropped, user=cast.alice, now=now)
    for source in (LeadSource.MANUAL, LeadSource.SCANNER):
        asks(shop, by, now, source=source)
    intake.add_bought_lead(
        business=shop, phone="+15551230009", name="June", address="", asked_for="", notes="", cost=Decimal(9),
        event_id="sale-1", story="Bought.", now=now,
    )  # fmt: skip
    asks(shop, by, now - timedelta(days=4))  # an alarm helps nobody any more
    assert watching.tell_late(now=now + FIVE) == 1
    assert told() == {f"lead:{kept.pk}"}


def test_a_note_is_no_answer(shop, by, now):
    lead = asks(shop, by, now)
    pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text="Sounds nice", by=by, now=now)
    assert watching.tell_late(now=now + FIVE) == 1


@pytest.mark.parametrize(
    ("zone", "asleep", "awake"),
    [  # the clocks go back on 1 November 2026 and forward on 14 March 2027
        ("America/Chicago", datetime(2026, 11, 1, 12, 59, tzinfo=UTC), datetime(2026, 11, 1, 13, 0, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 10, 31, 11, 59, tzinfo=UTC), datetime(2026, 10, 31, 12, 0, tzinfo=UTC)),
        ("America/Chicago", datetime(2027, 3, 14, 11, 59, tzinfo=UTC), datetime(2027, 3, 14, 12, 0, tzinfo=UTC)),
        ("America/Phoenix", datetime(2027, 3, 14, 13, 59, tzinfo=UTC), datetime(2027, 3, 14, 14, 0, tzinfo=UTC)),
        ("Pacific/Honolulu", datetime(2026, 11, 18, 7, 0, tzinfo=UTC), datetime(2026, 11, 18, 6, 59, tzinfo=UTC)),
    ],
)
def test_it_waits_until_somebody_is_awake_by_the_businesses_own_clock(shop, by, zone, asleep, awake):
    shop.time_zone = zone
    shop.save()
    asks(shop, by, min(asleep, awake) - timedelta(hours=3))
    assert (watching.tell_late(now=asleep), watching.tell_late(now=awake)) == (0, 1)


def test_of_very_many_some_are_told_in_each_run_the_oldest_first(shop, by, now):
    leads = [asks(shop, by, now + timedelta(seconds=n), contact=Contact(name=f"Jane {n}")) for n in range(43)]
    later = now + timedelta(minutes=9)
    runs = []
    for _ in range(4):
        runs.append(watching.tell_late(now=later))
        assert told() == {f"lead:{lead.pk}" for lead in leads[: sum(runs)]}
    assert runs == [20, 20, 3, 0]


def test_a_suspended_business_is_left_alone_until_it_is_back(shop, by, now):
    asks(shop, by, now)
    Business.objects.filter(pk=shop.pk).update(status=BusinessStatus.SUSPENDED)
    assert watching.tell_late(now=now + FIVE) == 0
    Business.objects.filter(pk=shop.pk).update(status=BusinessStatus.ACTIVE)
    assert watching.tell_late(now=now + FIVE) == 1


def test_without_a_phone_of_the_owners_it_still_stands_on_today(shop, by, now):
    Business.objects.filter(pk=shop.pk).update(owner_phone="")
    lead = asks(shop, by, now, contact=None)
    assert watching.tell_late(now=now + FIVE) == 1
    assert [task.title for task in Task.objects.open()] == [f"Answer Lead {lead.number}: they have waited 5 minutes."]
    assert not Message.objects.exists()
    assert Lead.objects.get().late_told_at == now + FIVE


def test_who_opted_in_or_not_does_not_matter_to_the_owner(shop, by, now):
    customer = a_customer(shop)
    grant_if_silent(business=shop, phone=customer.phone, source=ConsentSource.INTAKE, now=now, words="", reference="")
    lead = asks(shop, by, now)
    Lead.objects.filter(pk=lead.pk).update(customer=customer)
    assert watching.tell_late(now=now + FIVE) == 1
