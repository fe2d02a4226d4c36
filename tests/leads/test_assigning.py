"""Whose a new lead is: the first rule that fits decides, by whatever way the lead came in."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from booking import services as booking
from booking.models import Service
from crm.enums import Role
from crm.models import AuditEvent, Membership
from crm.phones import parse
from crm.scoping import only
from crm.services import Refused
from leads.actors import person
from leads.enums import LeadSource
from leads.models import AssignmentRule, Lead
from leads.services import duplicates, intake, pipeline
from tests.leads.selling import a_customer, a_lead, a_person, a_salesperson


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop


@pytest.fixture
def by(cast):
    return person(cast.alice)


def rule(shop, now, position=1, **fields):
    return AssignmentRule.objects.create(business=shop, position=position, created_at=now, **fields)


def test_without_a_rule_a_lead_is_everybodys(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now)
    assert a_lead(shop, by, now).assigned_to is None


def test_the_first_rule_that_fits_decides(shop, by, now, cast):
    heater, leak = Service.objects.filter(business=shop).order_by("id")[:2]
    dora = a_person(shop, "Dora Dell")
    rule(shop, now, 4, assignee=dora)
    rule(shop, now, 1, source=LeadSource.FORM, service=heater, domain="second", assignee=cast.alice)
    rule(shop, now, 2, service=leak, assignee=cast.bob)
    rule(shop, now, 3, source=LeadSource.FORM, domain="second", assignee=cast.bob)
    with only(cast.next_door):
        rule(cast.next_door, now, 0, assignee=cast.charlie)
    for fields, whose in (
        ({"source": LeadSource.FORM, "service": heater, "domain": "second"}, cast.alice),
        ({"source": LeadSource.FORM, "service": heater, "domain": "first"}, dora),
        ({"source": LeadSource.FORM, "service": None, "domain": "second"}, cast.bob),
        ({"source": LeadSource.CHAT, "service": heater, "domain": "second"}, dora),
        ({"source": LeadSource.CHAT, "service": leak, "domain": ""}, cast.bob),
        ({"source": LeadSource.CHAT, "service": None, "domain": ""}, dora),
    ):
        lead = a_lead(shop, by, now, **fields)
        assert Lead.objects.get(pk=lead.pk).assigned_to == whose, fields


def test_two_rules_at_one_place_are_tried_in_the_order_they_were_made(shop, by, now, cast):
    rule(shop, now, assignee=cast.bob)
    rule(shop, now, assignee=cast.alice)
    assert a_lead(shop, by, now).assigned_to_id == cast.bob.pk


def test_a_rule_names_the_line_of_a_lead_that_came_without_one(shop, by, now):
    rule(shop, now, source=LeadSource.SCANNER, set_domain="third")
    found = [a_lead(shop, by, now, source=LeadSource.SCANNER, domain=domain) for domain in ("", "first")]
    assert [(lead.business_domain, lead.assigned_to) for lead in found] == [("third", None), ("first", None)]


def test_salespeople_take_turns_by_how_much_they_have_open(shop, by, now):
    rule(shop, now)
    ann, ben = (a_person(shop, name) for name in ("Ann Oak", "Ben Elm"))
    for user in (ann, ben):
        a_salesperson(shop, user, now)
    leads = [a_lead(shop, by, now) for _ in range(3)]
    assert [lead.assigned_to_id for lead in leads] == [ann.pk, ben.pk, ann.pk]
    pipeline.move(lead=leads[0], to="lost", by=by, now=now)
    duplicates.merge_leads(kept=leads[1], dropped=leads[2], user=ann, now=now)
    assert a_lead(shop, by, now).assigned_to_id == ann.pk  # with one lost and one merged she has none left


def test_whoever_has_left_is_given_nothing(shop, by, now, cast):
    ann, ben, looks = (a_person(shop, name) for name in ("Ann Oak", "Ben Elm", "Looks Lark"))
    for user in (ann, ben, looks):
        a_salesperson(shop, user, now)
    rule(shop, now, assignee=cast.bob)
    assert a_lead(shop, by, now).assigned_to_id == cast.bob.pk
    Membership.objects.filter(user__in=[cast.bob, ann]).delete()
    Membership.objects.filter(user=looks).update(role=Role.VIEWER)
    assert [a_lead(shop, by, now).assigned_to_id for _ in range(2)] == [ben.pk] * 2
    ben.is_active = False
    ben.save()
    assert a_lead(shop, by, now).assigned_to_id is None


def test_by_whatever_way_a_lead_comes_the_rules_are_asked(shop, now, cast):
    rule(shop, now, assignee=cast.bob, set_domain="second")
    for number, source in enumerate((LeadSource.TEXT, LeadSource.FORM, LeadSource.API, LeadSource.CHAT)):
        phone = parse(f"+1555124000{number}", region="US")
        draft = intake.Draft(phone=phone, source=source, name="Jane", asked_for="A leak")
        intake.capture_lead(business=shop, draft=draft, service=None, now=now)
    for _ in range(2):
        intake.add_bought_lead(
            business=shop, phone="+15551230009", name="June", address="", asked_for="", notes="", cost=Decimal(9),
            event_id="sale-1", story="Bought.", now=now,
        )  # fmt: skip
    service = Service.objects.filter(business=shop).first()
    request = booking.Request(customer=a_customer(shop), service=service, address="1 Main St", notes="", source="api")
    job = booking.book_next(business=shop, request=request, now=now)
    intake.start_reschedule(appointment=job, now=now)  # a job that was booked past Leads gets one now
    found = Lead.objects.values_list("source", "assigned_to", "business_domain").order_by("number")
    sources = ["text", "form", "api", "chat", "purchase", "text"]
    assert list(found) == [(source, cast.bob.pk, "second") for source in sources]


def test_a_lead_is_given_from_hand_to_hand(shop, by, now, cast):
    lead = a_lead(shop, by, now)
    for to in (cast.bob, cast.alice, cast.alice, None):
        lead = pipeline.assign(lead=lead, to=to, by=by, now=now + timedelta(minutes=1))
    bob, alice = str(cast.bob), str(cast.alice)
    given = AuditEvent.objects.filter(action="lead assigned").order_by("id").values_list("changes", flat=True)
    assert [changes["assigned_to"] for changes in given] == [["nobody", bob], [bob, alice], [alice, "nobody"]]
    looks = a_person(shop, "Looks Lark", role=Role.VIEWER)
    for stranger in (cast.charlie, looks):
        with pytest.raises(Refused) as refusal:
            pipeline.assign(lead=lead, to=stranger, by=by, now=now)
        assert str(refusal.value) == (
            f"{stranger.get_full_name()} cannot work on leads here. Choose somebody of the team."
        )
    assert Lead.objects.get().assigned_to is None
