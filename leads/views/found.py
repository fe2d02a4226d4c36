"""Leads and deals by the number that stands in an address. A neighbour's is answered as one that never was."""

from __future__ import annotations

from django.http import Http404

from crm.access import PageRequest
from leads.models import Deal, Lead
from leads.services import pipeline, sales


def lead_or_404(request: PageRequest, number: int) -> Lead:
    try:
        found = pipeline.find_lead(business=request.business, number=number)
    except pipeline.LeadNotFound as error:
        raise Http404 from error
    return _at_home(request, found)


def deal_or_404(request: PageRequest, number: int) -> Deal:
    try:
        found = sales.find_deal(business=request.business, number=number)
    except sales.DealNotFound as error:
        raise Http404 from error
    _at_home(request, found.lead)
    return found


def _at_home(request: PageRequest, lead: Lead) -> Lead:
    """Its customer knows the business without asking the database again."""
    if lead.customer is not None:
        lead.customer.business = request.business
    return lead
