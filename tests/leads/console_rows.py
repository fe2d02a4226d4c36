"""Rows of the pipeline for the tests that open every table of the console."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from crm.models import Business, Customer, User
from leads.actors import By, person
from leads.enums import ActivityKind, DealStage, LeadSource, ModelVerdict, OfferStatus, Stage
from leads.models import (
    Assessment,
    AssignmentRule,
    Deal,
    DealOffer,
    Lead,
    LeadActivity,
    LeadMerge,
    OutcomeModel,
    PipelineSettings,
    Salesperson,
    SavedView,
    StageChange,
)
from leads.services import assessing, duplicates, pipeline, sales


def a_lead(business: Business, user: User, *, now: datetime, **fields: Any) -> Lead:
    """With a line, from a partner: 0.60 when it is scored, just enough for sales."""
    return pipeline.add_lead(
        business=business, by=person(user), now=now, **{"source": LeadSource.PARTNER, "domain": "first"} | fields
    )


def qualified(business: Business, user: User, *, now: datetime, **fields: Any) -> Lead:
    """Scored, and one step before sales."""
    lead = a_lead(business, user, now=now, **fields)
    assessing.assess(lead=lead, now=now)
    for stage in (Stage.CONTACTED, Stage.QUALIFIED):
        lead = pipeline.move(lead=lead, to=stage, by=person(user), now=now)
    return lead


def of_the_pipeline(business: Business, user: User, *, customer: Customer, now: datetime) -> dict[type, Any]:
    """A lead that went to sales, with a call, a merge and a deal that was held out to `user`."""
    Salesperson.objects.create(business=business, user=user, created_at=now)
    lead = qualified(business, user, now=now)
    Lead.objects.filter(pk=lead.pk).update(customer=customer)
    lead.refresh_from_db()
    lead = pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="In May", by=person(user), now=now)
    merge = duplicates.merge_leads(kept=lead, dropped=a_lead(business, user, now=now), user=user, now=now)
    deal = sales.transfer(lead=lead, by=person(user), now=now)
    DealOffer.objects.filter(deal=deal).update(status=OfferStatus.LAPSED, answered_at=now)
    sales.move_deal(deal=deal, to=DealStage.KYC, by=By("API key Test"), now=now)  # so it stays nobody's
    return {
        Assessment: Assessment.objects.filter(lead=lead).latest("pk"),
        AssignmentRule: AssignmentRule.objects.create(business=business, source=LeadSource.SCANNER, created_at=now),
        Deal: deal,
        DealOffer: DealOffer.objects.filter(deal=deal).latest("pk"),
        Lead: lead,
        LeadActivity: LeadActivity.objects.get(lead=lead),
        LeadMerge: LeadMerge.objects.get(pk=merge.pk),
        OutcomeModel: OutcomeModel.objects.create(
            business=business, trained_at=now, verdict=ModelVerdict.TOO_FEW, won=3, lost=4
        ),
        PipelineSettings: PipelineSettings.objects.get_or_create(business=business)[0],
        Salesperson: Salesperson.objects.get(business=business, user=user),
        SavedView: SavedView.objects.create(
            business=business, user=user, name="Hot", created_at=now + timedelta(hours=1)
        ),
        StageChange: StageChange.objects.filter(lead=lead).latest("pk"),
    }
