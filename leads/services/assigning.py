"""Whose a new lead is, and who gets the next deal."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from crm import rows
from crm.enums import Role
from crm.models import Business, Membership
from leads.models import AssignmentRule, Deal, Lead, PipelineSettings, Salesperson


def settings_of(business: Business) -> PipelineSettings:
    """How this business works; the defaults, unsaved, as long as nobody changed anything."""
    return PipelineSettings.objects.filter(business=business).first() or PipelineSettings(business=business)


def team(business: Business) -> QuerySet[Membership]:
    """Whoever can work on leads here: everybody of the business but those who may only look, or whose account is off."""
    return Membership.objects.filter(business=business, user__is_active=True).exclude(role=Role.VIEWER)


def assign_new(lead: Lead) -> None:
    """Give a lead that is not saved yet to somebody, by the first rule that fits. No rule: it is everybody's.

    A rule that names somebody who has left gives it to the salespeople in turn, as one that names nobody.
    """
    for rule in rows.fetch(AssignmentRule, "business_id = %s ORDER BY position, id", [lead.business.pk]):
        if _fits(rule, lead):
            if rule.set_domain and not lead.business_domain:
                lead.business_domain = rule.set_domain
            named = rule.assignee_id
            is_here = named is not None and _is_on_team(lead.business, named)
            lead.assigned_to_id = named if is_here else _least_busy(lead.business)
            return


def in_turn(business: Business) -> QuerySet[Salesperson]:
    """Who may be offered a deal: takes offers, still works here, and has a hand free. Whoever waited longest is first.

    `in_hand` counts the open deals somebody owns and those that are held out to them.
    """
    owned = Deal.objects.filter(business=OuterRef("business"), owner=OuterRef("user"), closed_at__isnull=True)
    count = owned.order_by().values("owner").annotate(n=Count("pk")).values("n")
    people = _selling(business)
    held_out = Count("offers", filter=Q(offers__status="open"))
    people = people.annotate(in_hand=Coalesce(Subquery(count), 0) + held_out)
    return people.filter(in_hand__lt=F("capacity")).order_by(
        F("last_offer_at").asc(nulls_first=True), "created_at", "id"
    )


def _fits(rule: AssignmentRule, lead: Lead) -> bool:
    return (
        rule.source in ("", lead.source)
        and rule.service_id in (None, lead.service_id)
        and rule.domain in ("", lead.business_domain)
    )


def _is_on_team(business: Business, user_id: UUID) -> bool:
    """As `team`, for one person, on the way of every new lead."""
    found = rows.execute(
        "SELECT 1 FROM crm_membership m JOIN crm_user u ON u.id = m.user_id"
        " WHERE m.business_id = %s AND m.user_id = %s AND m.role <> %s AND u.is_active",
        [business.pk, user_id, Role.VIEWER.value],
    )
    return found.fetchone() is not None


def _selling(business: Business) -> QuerySet[Salesperson]:
    """Salespeople who take offers and still work here."""
    here = team(business).values("user")
    people: QuerySet[Salesperson] = Salesperson.objects.for_business(business).filter(takes_offers=True, user__in=here)
    return people


def _least_busy(business: Business) -> UUID | None:
    """Among salespeople, whoever works on the fewest open leads."""
    busy = Lead.objects.filter(business=business, assigned_to=OuterRef("user")).open().standing().order_by()
    count = busy.values("assigned_to").annotate(n=Count("pk")).values("n")
    first = _selling(business).annotate(busy=Coalesce(Subquery(count), 0)).order_by("busy", "created_at", "id").first()
    return first.user_id if first else None
