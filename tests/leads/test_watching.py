"""A lead that waits too long for its first answer: somebody is told, once, and not in the middle of the night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from crm.consent import grant_if_silent
from crm.enums import Audience, Author, BusinessStatus, ConsentSource, Direction, MessageStatus
from crm.models import Business, Message
from crm.phones import parse
from crm.scoping import every_business, only
from leads.actors import person
from leads.enums import ActivityKind, LeadSource
from leads.models import Lead, PipelineSettings
from leads.queries.today import untouched
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
    return {f"lead:{pk}" for pk in Lead.objects.filter(late_told_at__isnull=False).values_list("pk", flat=True)}


def test_the_owner_hears_of_it_once(shop, by, now):
    contact = Contact(name="Jane Doe", phone=parse("+15550100001", region="US"))
    lead = asks(shop, by, now, contact=contact, asked_for="A new boiler")
    assert watching.tell_late(now=now + FIVE - timedelta(seconds=1)) == 0
    assert watching.tell_late(now=now + timedelta(minutes=7)) == 1
    assert watching.tell_late(now=now + timedelta(hours=2)) == 0
    text = Message.objects.get()
    words = 'Answer Jane Doe (555) 010-0001: they have waited 7 minutes. "A new boiler"'
    assert (text.body, text.to_number, text.audience) == (words, "+15552009001", Audience.OWNER)
    assert (text.about, text.customer) == (f"lead:{lead.pk}", lead.customer)


def test_of_a_health_business_the_text_does_not_say_what_for(shop, by, now):
    Business.objects.filter(pk=shop.pk).update(private_health=True)
    asks(shop, by, now, asked_for="Botox")
    watching.tell_late(now=now + FIVE)
    assert Message.objects.get().body == "Answer Jane Doe: they have waited 5 minutes."


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
    asks(shop, by, now, contact=None)  # nobody could answer it
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


def test_of_several_there_is_one_text_that_says_how_many(shop, by, now, cast):
    leads = [asks(shop, by, now + timedelta(seconds=n), contact=Contact(name=f"Jane {n}")) for n in range(45)]
    with only(cast.next_door):
        asks(cast.next_door, person(cast.charlie), now)
    later = now + timedelta(minutes=12)
    assert watching.tell_late(now=later) == 46
    assert [text.body for text in Message.objects.all()] == ["45 leads wait for an answer, the first for 12 minutes."]
    assert (Message.objects.get().to_number, Message.objects.get().customer) == ("+15552009001", None)
    assert told() == {f"lead:{lead.pk}" for lead in leads}
    with only(cast.next_door):
        assert [text.body for text in Message.objects.all()] == ["Answer Jane Doe: they have waited 12 minutes."]
    pipeline.add_activity(lead=leads[0], kind=ActivityKind.CALL, text="", by=by, now=later)
    for n in range(2):
        asks(shop, by, later, contact=Contact(name=f"June {n}"))
    assert watching.tell_late(now=later + timedelta(hours=3)) == 2
    newest = Message.objects.order_by("created_at").last()  # who was told of before and still waits is counted
    assert newest.body == "46 leads wait for an answer, the first for 3 hours."


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(1, "1 minute"), (2, "2 minutes"), (90, "90 minutes"), (91, "2 hours"), (149, "2 hours"), (150, "3 hours")],
)
def test_a_long_wait_is_said_in_hours(shop, by, now, minutes, said):
    PipelineSettings.objects.create(business=shop, answer_minutes=1)
    asks(shop, by, now)
    assert watching.tell_late(now=now + timedelta(minutes=minutes, seconds=59)) == 1
    assert Message.objects.get().body == f"Answer Jane Doe: they have waited {said}."


def test_of_very_many_some_are_told_in_each_run_the_oldest_first(shop, by, now, monkeypatch):
    monkeypatch.setattr(watching, "_MOST", 20)
    leads = [asks(shop, by, now + timedelta(seconds=n), contact=Contact(name=f"Jane {n}")) for n in range(43)]
    later = now + timedelta(minutes=9)
    runs = []
    for _ in range(4):
        runs.append(watching.tell_late(now=later))
        assert told() == {f"lead:{lead.pk}" for lead in leads[: sum(runs)]}
    assert runs == [20, 20, 3, 0]
    assert {text.body for text in Message.objects.all()} == {"43 leads wait for an answer, the first for 9 minutes."}


def test_a_suspended_business_is_left_alone_until_it_is_back(shop, by, now):
    asks(shop, by, now)
    Business.objects.filter(pk=shop.pk).update(status=BusinessStatus.SUSPENDED)
    assert watching.tell_late(now=now + FIVE) == 0
    Business.objects.filter(pk=shop.pk).update(status=BusinessStatus.ACTIVE)
    assert watching.tell_late(now=now + FIVE) == 1


def test_without_a_phone_of_the_owners_it_still_stands_on_today(shop, by, now):
    Business.objects.filter(pk=shop.pk).update(owner_phone="")
    lead = asks(shop, by, now)
    assert watching.tell_late(now=now + FIVE) == 1
    assert [row.pk for row in untouched(shop)] == [lead.pk]
    assert not Message.objects.exists()
    assert Lead.objects.get().late_told_at == now + FIVE


def test_who_opted_in_or_not_does_not_matter_to_the_owner(shop, by, now):
    customer = a_customer(shop)
    grant_if_silent(business=shop, phone=customer.phone, source=ConsentSource.INTAKE, now=now, words="", reference="")
    lead = asks(shop, by, now)
    Lead.objects.filter(pk=lead.pk).update(customer=customer)
    assert watching.tell_late(now=now + FIVE) == 1
