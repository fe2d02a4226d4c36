"""How offers and requests look on the pages of the ground floor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.urls import reverse

from booking import cards as booking_cards
from crm.cards import Card, Panel, customer_panel, finds
from crm.models import Business, Customer
from leads.models import Deal, Lead, Proposal
from leads.queries import today as queries

SHOWN: Final = 10  # requests on the customer's page


@finds("proposal")
def find_proposals(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    """An offer is its held slot."""
    rows = (
        Proposal.objects.for_business(business)
        .filter(pk__in=pks)
        .select_related("appointment__staff", "appointment__business")
    )
    return {row.pk: booking_cards.card(row.appointment) for row in rows}


@finds("lead")
def find_leads(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    found = Lead.objects.for_business(business).filter(pk__in=pks)
    return {
        pk: Card(url=reverse("leads:lead", args=[business.slug, number]))
        for pk, number in found.values_list("pk", "number")
    }


@finds("deal")
def find_deals(business: Business, pks: Sequence[UUID]) -> dict[UUID, Card]:
    found = Deal.objects.for_business(business).filter(pk__in=pks)
    return {
        pk: Card(url=reverse("leads:deal", args=[business.slug, number]))
        for pk, number in found.values_list("pk", "number")
    }


@customer_panel
def requests(customer: Customer, now: datetime) -> Panel:
    """What they asked for and how far it has come, newest first."""
    rows = Lead.objects.for_business(customer.business).standing().filter(customer=customer)
    shown = queries.with_permission(rows).prefetch_related("deals")[:SHOWN]
    return Panel(template="leads/customer_requests.html", data={"leads": list(shown)})
