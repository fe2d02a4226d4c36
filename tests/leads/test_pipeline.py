"""A lead on its way to a sale, and the deal after it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from crm.enums import Role
from crm.models import User
from crm.scoping import only
from crm.services import add_member
from leads import lifecycle
from leads.actors import person
from leads.enums import ActivityKind, DealStage, LeadSource, OfferStatus, Outcome, Stage
from leads.models import Deal, DealOffer, Lead, Salesperson, StageChange
from leads.services import assessing, pipeline, sales


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop


@pytest.fixture
def by(cast):
    return person(cast.alice)


def a_lead(shop, by, now, **fields):
    return pipeline.add_lead(
        business=shop, by=by, now=now, **{"source": LeadSource.PARTNER, "domain": "first"} | fields
    )


def qualified(shop, by, now, **fields):
    lead = a_lead(shop, by, now, **fields)
    assessing.assess(lead=lead, now=now)
    for stage in (Stage.CONTACTED, Stage.QUALIFIED):
        lead = pipeline.move(lead=lead, to=stage, by=by, now=now)
    return lead


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
    carol = User.objects.create_user("carol@example.com", "correct horse battery", name="Carol Cho")
    add_member(business=shop, user=carol, role=Role.STAFF)
    for user in (cast.bob, carol):
        Salesperson.objects.create(business=shop, user=user, created_at=now, capacity=1)
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
    assert (lead.stage, lead.activity_count) == ("contacted", 1)
    assert [pk for _, pk in assessing.score_due(now=now + timedelta(minutes=1))] == [lead.pk]
