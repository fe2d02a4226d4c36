"""A lead on its way to a sale, and the deal after it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from booking import services as booking
from booking.models import Service
from crm import consent
from crm.enums import Author, Direction, MessageStatus, TaskReason, Verb
from crm.models import Activity, AuditEvent, Customer, Message, Task
from crm.phones import parse
from crm.scoping import only
from crm.services import Refused
from leads import lifecycle
from leads.actors import FRONTDESK, person
from leads.enums import ActivityKind, DealStage, LeadSource, OfferStatus, Outcome, Stage
from leads.models import Deal, DealOffer, Lead, LeadActivity, StageChange
from leads.services import assessing, duplicates, pipeline, sales
from leads.services.pipeline import Contact
from tests.conftest import open_shop
from tests.crowd import all_at_once
from tests.leads.selling import a_customer, a_lead, a_person, a_salesperson, everything, qualified, untruths

MINUTE = timedelta(minutes=1)


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop
        assert untruths() == []


@pytest.fixture
def by(cast):
    return person(cast.alice)


def refused(call, sentence, kind=Refused):
    before = everything()
    with pytest.raises(kind) as refusal:
        call()
    assert str(refusal.value) == sentence
    assert everything() == before


def test_the_documented_way_of_a_lead(shop, by, now):
    lead = a_lead(shop, by, now)
    assert (lead.stage, lead.score, lead.activity_count) == ("new", None, 0)
    with pytest.raises(sales.CannotTransfer, match="^Lead AI score must be evaluated and >= 0.6.$"):
        sales.transfer(lead=lead, by=by, now=now)
    made = assessing.assess(lead=lead, now=now)
    assert (made.score, made.recommendation) == (Decimal("0.60"), "transfer_to_sales")
    assert made.reason == (
        "Partner leads have higher conversion rates. | Clear business domain identified. | Low engagement."
    )
    with pytest.raises(lifecycle.NotAllowed, match="^Invalid transition from new to transferred$"):
        sales.transfer(lead=lead, by=by, now=now)
    for stage in ("contacted", "qualified"):
        lead = pipeline.move(lead=lead, to=stage, by=by, now=now)
    deal = sales.transfer(lead=lead, by=by, now=now)
    assert (deal.stage, deal.assessment_id) == ("new", made.pk)
    for again in (
        lambda: sales.transfer(lead=lead, by=by, now=now),
        lambda: pipeline.move(lead=lead, to="lost", by=by, now=now),
    ):
        with pytest.raises(lifecycle.NotAllowed, match="^Cannot change stage of a transferred lead$"):
            again()
    later = assessing.assess(lead=lead, now=now + timedelta(days=1))
    assert Deal.objects.get(pk=deal.pk).assessment_id == made.pk != later.pk


def test_a_deal_goes_round_until_somebody_takes_it(shop, by, now, cast):
    carol = a_person(shop, "Carol Cho")
    for user in (cast.bob, carol):
        a_salesperson(shop, user, now, capacity=1)
    deal = sales.transfer(lead=qualified(shop, by, now), by=by, now=now)
    first = DealOffer.objects.get(status=OfferStatus.OPEN)
    assert first.salesperson.user == cast.bob
    assert sales.pass_on(now=now + timedelta(minutes=14)) == 0
    assert sales.pass_on(now=now + timedelta(minutes=15)) == 1
    second = DealOffer.objects.get(status=OfferStatus.OPEN)
    assert second.salesperson.user == carol
    deal = sales.accept(deal=deal, user=carol, now=now + timedelta(minutes=16))
    assert deal.owner == carol
    third = sales.transfer(lead=qualified(shop, by, now), by=by, now=now)
    assert DealOffer.objects.get(deal=third, status=OfferStatus.OPEN).salesperson.user == cast.bob
    for stage in ("kyc", "agreement", "paid"):
        deal = sales.move_deal(deal=deal, to=stage, by=person(carol), now=now + timedelta(days=1))
    lead = Lead.objects.get(pk=deal.lead_id)
    assert (lead.outcome, lead.closed_at) == (Outcome.WON, now + timedelta(days=1))
    assert [row.new for row in StageChange.objects.filter(lead=lead).order_by("id")] == [
        "contacted", "qualified", "transferred", "kyc", "agreement", "paid",
    ]  # fmt: skip
    with pytest.raises(lifecycle.NotAllowed, match="closed"):
        sales.move_deal(deal=deal, to=DealStage.LOST, by=by, now=now)


def test_a_call_raises_the_count_and_answers_the_lead(shop, by, now):
    lead = a_lead(shop, by, now)
    lead = pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="Wants it in May", by=by, now=now)
    assert (lead.activity_count, lead.first_touch_at) == (1, now)
    assert assessing.count_activity(now=now + timedelta(seconds=20)) == 1
    lead = Lead.objects.get(pk=lead.pk)
    assert (lead.stage, lead.activity_count, lead.stage_since) == (
        "contacted",
        1,
        now,
    )  # since the answer, whenever it is seen
    assert [pk for _, pk in assessing.score_due(now=now + timedelta(minutes=1))] == [lead.pk]


# --- Moves ---------------------------------------------------------------------------------------------------------------


def test_by_hand_a_lead_goes_one_step_at_a_time_or_is_lost(shop, by, now):
    leads = {stage: a_lead(shop, by, now) for stage in Stage.values}
    for stage, steps in (("contacted", 1), ("qualified", 2), ("transferred", 2)):
        for to in ("contacted", "qualified")[:steps]:
            pipeline.move(lead=leads[stage], to=to, by=by, now=now)
    assessing.assess(lead=leads["transferred"], now=now)
    sales.transfer(lead=leads["transferred"], by=by, now=now)
    pipeline.move(lead=leads["lost"], to="lost", by=by, now=now)
    for stage, lead in leads.items():
        for to in Stage.values:
            if to in lifecycle.LEAD[stage] and to != "transferred":
                continue
            sentence = f"Invalid transition from {stage} to {to}"
            if stage == "transferred":
                sentence = "Cannot change stage of a transferred lead"
            elif (stage, to) == ("qualified", "transferred"):
                sentence = (
                    "A lead is transferred only by a transfer to sales, which checks its score and opens the deal."
                )
            refused(lambda: pipeline.move(lead=lead, to=to, by=by, now=now), sentence, lifecycle.NotAllowed)  # noqa: B023


def test_a_lost_lead_says_why(shop, by, now, cast):
    lead = a_lead(shop, by, now, contact=Contact(name="Jane"))
    lead = pipeline.move(lead=lead, to="lost", by=by, now=now + MINUTE, why="Too far away")
    assert (lead.outcome, lead.closed_at, lead.lost_because) == (Outcome.LOST, now + MINUTE, "Too far away")
    change = StageChange.objects.get()
    assert (change.by, change.by_text, change.why, change.since, change.at) == (
        cast.alice, "Alice Ames", "Too far away", now, now + MINUTE,
    )  # fmt: skip
    assert "Lead moved from New to Lost: Too far away." in Activity.objects.values_list("text", flat=True)


def test_a_clock_that_is_slow_does_not_turn_the_story_round(shop, by, now):
    lead = pipeline.move(lead=a_lead(shop, by, now), to="contacted", by=by, now=now + MINUTE)
    lead = pipeline.move(lead=lead, to="qualified", by=by, now=now)
    assert lead.stage_since == now + MINUTE
    first = assessing.assess(lead=lead, now=now + MINUTE)
    pipeline.edit_lead(lead=lead, changes={"business_domain": ""}, by=by, now=now)
    second = assessing.assess(lead=lead, now=now)
    assert (second.created_at > first.created_at, Lead.objects.get().score) == (True, second.score)


def test_a_job_that_is_done_wins_its_lead_until_there_is_more_to_sell(shop, by, now):
    service = Service.objects.filter(business=shop).first()
    request = booking.Request(customer=a_customer(shop), service=service, address="1 Main St", notes="", source="api")
    job = booking.book_next(business=shop, request=request, now=now)
    lead, other = a_lead(shop, by, now), a_lead(shop, by, now)
    Lead.objects.filter(pk=lead.pk).update(appointment=job)
    done = job.ends_at
    booking.complete(appointment=job, now=done)
    lead, other = Lead.objects.get(pk=lead.pk), Lead.objects.get(pk=other.pk)
    assert (lead.outcome, lead.closed_at, lead.stage, lead.rescore_at) == (Outcome.WON, done, "new", None)
    assert (other.outcome, other.closed_at) == ("", None)
    lead.business = shop
    lead = pipeline.move(lead=lead, to="contacted", by=by, now=done + MINUTE)
    assert (lead.outcome, lead.closed_at) == ("", None)


# --- What is on file ------------------------------------------------------------------------------------------------------


def test_a_lead_brings_permission_only_if_they_asked_themselves(shop, by, now):
    for number, agreed in ((1, False), (2, True)):
        phone = parse(f"+1555123000{number}", region="US")
        a_lead(shop, by, now, contact=Contact(name="Jane", phone=phone, email="jane@example.com"), agreed=agreed)
        assert (consent.standing(business=shop, phone=phone.e164) is not None) is agreed
    assert {(who.name, who.email) for who in Customer.objects.all()} == {("Jane", "jane@example.com")}


def test_a_contact_is_filled_in_once_and_edited_after(shop, by, now):
    jane, jim = (parse(f"+1555123000{n}", region="US") for n in (1, 2))
    lead = stale = a_lead(shop, by, now)
    lead = pipeline.edit_lead(lead=lead, changes={}, contact=Contact(name="Jane", phone=jane), by=by, now=now)
    refused(
        lambda: pipeline.edit_lead(lead=stale, changes={}, contact=Contact(name="Jim", phone=jim), by=by, now=now),
        "Somebody else has just filled in the contact. Look at it again.",
    )
    lead = pipeline.edit_lead(lead=lead, changes={}, contact=Contact(email="jane@example.com"), by=by, now=now)
    customer = Customer.objects.get()
    assert (customer.name, customer.phone, customer.email) == ("Jane", jane.e164, "jane@example.com")
    other = a_lead(shop, by, now, contact=Contact(name="Jim", phone=jim))
    refused(
        lambda: pipeline.edit_lead(lead=other, changes={}, contact=Contact(phone=jane), by=by, now=now),
        "A customer with this phone number is already on file.",
    )


def test_an_edit_is_in_the_audit_and_scored_again(shop, by, now):
    lead = a_lead(shop, by, now, domain="")
    assessing.assess(lead=lead, now=now)
    lead = pipeline.edit_lead(lead=lead, changes={"business_domain": "second", "notes": ""}, by=by, now=now)
    again = everything()
    pipeline.edit_lead(lead=lead, changes={"business_domain": "second"}, by=by, now=now)
    assert everything() == again
    event = AuditEvent.objects.get(action="lead edited")
    assert (event.target, event.changes) == (f"lead {lead.number}", {"business_domain": ["", "second"]})
    assessing.score_due(now=now + MINUTE)
    assert Lead.objects.get().score == Decimal("0.60")


def test_a_neighbours_lead_is_as_one_that_never_was(shop, by, now, cast):
    lead = a_lead(shop, by, now)
    assert pipeline.find_lead(business=shop, number=lead.number) == lead
    with only(cast.next_door):
        for find in (pipeline.find_lead, pipeline.locked_lead):
            for number in (lead.number, lead.number + 1, 0, -1, 2**63):
                with pytest.raises(pipeline.LeadNotFound):
                    find(business=cast.next_door, number=number)


# --- What was done and said -----------------------------------------------------------------------------------------------


def test_a_note_answers_nobody_and_nothing_was_done_tomorrow(shop, by, now):
    lead = a_lead(shop, by, now)
    lead = pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text="Nice", by=by, now=now + MINUTE)
    assert (lead.first_touch_at, lead.activity_count) == (None, 1)
    early, late = now - timedelta(days=1), now + timedelta(days=1)
    lead = pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="", by=by, now=now + MINUTE, at=early)
    assert (lead.first_touch_at, lead.last_activity_at) == (now, now + MINUTE)
    pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="", by=by, now=now + MINUTE, at=late)
    assert max(LeadActivity.objects.values_list("at", flat=True)) == now + MINUTE


def test_texts_count_from_the_moment_a_lead_came_in(shop, by, now):
    lead = a_lead(shop, by, now, contact=Contact(name="Jane"))

    def text(at, status=MessageStatus.RECEIVED, author=Author.CUSTOMER, direction=Direction.INBOUND):
        Message.objects.create(
            business=shop, customer=lead.customer, body="Hello", created_at=at, status=status, author=author,
            direction=direction, to_number="+15552000001",
        )  # fmt: skip

    text(now - MINUTE)
    text(now + MINUTE, status=MessageStatus.REFUSED, author=Author.ASSISTANT, direction=Direction.OUTBOUND)
    text(now + MINUTE, author=Author.SYSTEM, direction=Direction.OUTBOUND)
    assert assessing.count_activity(now=now + MINUTE) == 0
    text(now + MINUTE)
    assert (assessing.count_activity(now=now + MINUTE), assessing.count_activity(now=now + MINUTE)) == (1, 0)
    text(now + 2 * MINUTE, status=MessageStatus.SENT, author=Author.ASSISTANT, direction=Direction.OUTBOUND)
    assert assessing.count_activity(now=now + 3 * MINUTE) == 1
    found = Lead.objects.get()
    assert (found.activity_count, found.first_touch_at, found.stage) == (2, now + 2 * MINUTE, "contacted")
    pipeline.move(lead=found, to="lost", by=by, now=now + 3 * MINUTE)
    text(now + 4 * MINUTE)
    assert assessing.count_activity(now=now + 4 * MINUTE) == 0


@pytest.mark.parametrize("contact", [None, Contact(name="Jane")])
def test_somebody_wants_to_be_reminded_of_as_much_as_they_like(shop, by, now, contact):
    lead, other = (a_lead(shop, by, now, contact=contact) for _ in range(2))
    Lead.objects.update(customer=lead.customer)  # both are hers
    other = pipeline.find_lead(business=shop, number=other.number)
    plan = [
        (lead, "Call on Friday", 2),
        (lead, "Write on Monday", 5),
        (lead, "Write on Monday", 12),
        (other, "Call on Friday", 2),
    ]
    for _twice in range(2):
        for whose, title, days in plan:
            task = pipeline.follow_up(lead=whose, title=title, due_at=now + timedelta(days), now=now)
            assert (task.title, task.reason, task.due_at, task.about, task.customer) == (
                title, TaskReason.FOLLOW_UP, now + timedelta(days), f"lead:{whose.pk}", lead.customer,
            )  # fmt: skip
    assert Task.objects.open().count() == len(plan)


def test_a_button_pressed_twice_plans_one_thing(transactional_db, now):
    from_alice = open_shop("alice", name="Alice Plumbing", number="+15552000001")
    with only(from_alice):
        lead = a_lead(from_alice, FRONTDESK, now, contact=Contact(name="Jane"))

    def plan():
        with only(from_alice):
            return pipeline.follow_up(lead=lead, title="Call Jane", due_at=now, now=now).pk

    assert len(set(all_at_once([plan] * 8))) == 1


def test_nothing_is_planned_for_a_lead_that_was_merged(shop, by, now, cast):
    kept, dropped = a_lead(shop, by, now), a_lead(shop, by, now)
    duplicates.merge_leads(kept=kept, dropped=dropped, user=cast.alice, now=now)
    refused(
        lambda: pipeline.follow_up(lead=dropped, title="Call", due_at=now, now=now),
        "This lead was merged into another one. Work on that one.",
    )


def test_a_lead_that_has_ended_leaves_nothing_to_be_done(shop, by, now):
    service = Service.objects.filter(business=shop).first()
    request = booking.Request(customer=a_customer(shop), service=service, address="1 Main St", notes="", source="api")
    job = booking.book_next(business=shop, request=request, now=now)
    lost, won, stays = (a_lead(shop, by, now, contact=Contact(name=name)) for name in ("Lou", "Wynn", "Stan"))
    Lead.objects.filter(pk=won.pk).update(appointment=job)
    for lead in (lost, won, stays):
        for title in ("Call", "Write"):
            pipeline.follow_up(lead=lead, title=title, due_at=now, now=now)
    pipeline.move(lead=lost, to="lost", by=by, now=now + timedelta(minutes=10))
    booking.complete(appointment=job, now=job.ends_at)
    assert sorted((task.customer.name, task.reason) for task in Task.objects.open()) == [
        ("Stan", "follow_up"), ("Stan", "follow_up"),
    ]  # fmt: skip
    assert set(Task.objects.exclude(done_at=None).values_list("customer__name", "done_at", "done_by")) == {
        ("Lou", now + timedelta(minutes=10), None), ("Wynn", job.ends_at, None),
    }  # fmt: skip


def test_whose_lead_it_is_is_said_on_the_timeline(shop, by, now, cast):
    lead = a_lead(shop, by, now, contact=Contact(name="Jane"))
    for to in (cast.bob, None, None):
        lead = pipeline.assign(lead=lead, to=to, by=by, now=now)
    said = Activity.objects.filter(verb=Verb.HANDED_OVER).order_by("id").values_list("text", flat=True)
    assert list(said) == ["Given to Bob Burns, by Alice Ames.", "Taken off everybody, by Alice Ames."]


def test_a_lead_goes_to_sales_when_everything_is_in_order_and_says_what_is_not(shop, by, now):
    lead = qualified(shop, by, now, domain="", source=LeadSource.MANUAL)
    for change, sentence in (
        ({"business_domain": "first"}, "Lead must have a business domain to be transferred."),
        ({"source": LeadSource.PARTNER}, "Lead AI score must be evaluated and >= 0.6."),
    ):
        refused(lambda: sales.transfer(lead=lead, by=by, now=now), sentence, sales.CannotTransfer)
        pipeline.edit_lead(lead=lead, changes=change, by=by, now=now)
        assessing.assess(lead=lead, now=now)
    deal = sales.transfer(lead=lead, by=by, now=now, value=Decimal(500))
    assert (Lead.objects.get().stage, deal.value, deal.stage) == ("transferred", Decimal(500), DealStage.NEW)


def test_a_known_number_under_another_name_leaves_the_file_alone(shop, by, now):
    jane = Customer.objects.create(business=shop, name="Jane Doe", phone="+15550100001")
    phone = parse("+15550100001", region="US")
    twin = a_lead(shop, by, now, contact=pipeline.Contact(name="Evil Twin", phone=phone, email="twin@example.com"))
    jane.refresh_from_db()
    assert (twin.customer_id, jane.name, jane.email) == (jane.pk, "Jane Doe", "")
    assert twin.notes == "Came in as Evil Twin, twin@example.com, with the number of Jane Doe."
    a_lead(shop, by, now, contact=pipeline.Contact(name="jane  doe", phone=phone, email="jane@example.com"))
    jane.refresh_from_db()
    assert jane.email == "jane@example.com"
