"""Leads that are probably one: side by side, merged, and taken apart again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crm import flash, phones
from crm.access import PageRequest, business_page
from crm.services import Refused
from crm.wording import say_when
from leads.forms_sales import MergeLeadsForm
from leads.models import Lead, LeadMerge, PipelineSettings
from leads.queries import duplicates as queries
from leads.services import duplicates as services
from leads.services.assigning import settings_of
from leads.services.pipeline import who
from leads.views.found import lead_or_404


@require_safe
@business_page("leads")
def duplicates(request: PageRequest) -> HttpResponse:
    found = queries.groups(request.business, after=request.GET.get("after", ""))
    context = {
        "groups": [_shown(request, group) for group in found.shown],
        "count": found.count,
        "looked_at": "" if found.is_all else f"{queries.LOOKED_AT:,}",
        "noun": "person twice or more" if found.count == 1 else "people twice or more",
        "after": found.after,
        "is_first": "after" not in request.GET,
        "merges": queries.recent_merges(request.business),
    }
    return render(request, "leads/duplicates.html", context)


@require_http_methods(["GET", "POST"])
@business_page("leads", write=True)
def merge(request: PageRequest) -> HttpResponse:
    """Both side by side, and what stands on file afterwards; then one of them goes into the other."""
    form = MergeLeadsForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        raise BadRequest("This address names no two leads.")
    one, other = (lead_or_404(request, form.cleaned_data[name]) for name in ("one", "other"))
    kept, dropped = (one, other) if form.cleaned_data["keep"] == "one" else (other, one)
    if request.method == "GET":
        return _side_by_side(request, one, other, kept=kept, dropped=dropped)
    try:
        done = services.merge_leads(kept=kept, dropped=dropped, user=request.user, now=request.now)
    except Refused as reason:
        messages.error(request, str(reason))
        return redirect("leads:duplicates", request.business.slug)
    undo = reverse("leads:merge_undo", args=[request.business.slug, done.pk])
    sentence = f"Lead {dropped.number} is now part of lead {kept.number}, {who(done.kept)}."
    flash.offer_undo(request, sentence=sentence, url=undo)
    return redirect("leads:duplicates", request.business.slug)


@require_POST
@business_page("leads", write=True)
def merge_undo(request: PageRequest, pk: UUID) -> HttpResponse:
    rows = LeadMerge.objects.for_business(request.business).select_related("kept", "dropped")
    done: LeadMerge = get_object_or_404(rows, pk=pk)
    try:
        services.undo_lead_merge(merge=done, user=request.user, now=request.now)
    except Refused as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, f"Lead {done.dropped.number} stands alone again.")
    return redirect("leads:duplicates", request.business.slug)


# --- Inside ------------------------------------------------------------------------------------------------------------


def _shown(request: PageRequest, group: queries.Group) -> dict[str, Any]:
    """A group as the page shows it; every other one can be compared with the first."""
    here = reverse("leads:merge", args=[request.business.slug])
    leads = [
        {
            "lead": lead,
            "who": who(lead),
            "wants": lead.service.name if lead.service else lead.asked_for,
            "came": say_when(lead.created_at, now=request.now, zone=request.business.zone),
            "merge_url": f"{here}?one={group.first.number}&other={lead.number}" if lead.pk != group.first.pk else "",
        }
        for lead in [group.first, *group.others]
    ]
    return {
        "who": who(group.first),
        "why": f"The same e-mail address: {group.same_email}" if group.same_email else "The same customer",
        "count": group.count,
        "hidden": group.count - len(leads),
        "leads": leads,
    }


def _side_by_side(request: PageRequest, one: Lead, other: Lead, *, kept: Lead, dropped: Lead) -> HttpResponse:
    context = {
        "one": one,
        "other": other,
        "kept": kept,
        "dropped": dropped,
        "keep": "one" if kept is one else "other",
        "turned": "other" if kept is one else "one",
        "rows": _compared(request, kept, dropped),
        "people_too": bool(kept.customer_id and dropped.customer_id and kept.customer_id != dropped.customer_id),
    }
    return render(request, "leads/merge.html", context)


def _compared(request: PageRequest, kept: Lead, dropped: Lead) -> list[dict[str, str]]:
    """What each of the two has. Afterwards the kept one has its own, and the other's where it had nothing."""
    settings = settings_of(request.business)
    both = [_facts(request, lead, settings) for lead in (kept, dropped)]
    stays = {"Stage", "Came in", "Source"}  # never taken over
    rows = [
        {"label": label, "kept": mine, "dropped": theirs, "after": mine if label in stays else mine or theirs}
        for (label, mine), theirs in zip(both[0].items(), both[1].values(), strict=True)
    ]
    counts = {"kept": str(kept.activity_count), "dropped": str(dropped.activity_count)}
    return [*rows, {"label": "Texts, calls and notes", **counts, "after": "those of both"}]


def _facts(request: PageRequest, lead: Lead, settings: PipelineSettings) -> dict[str, str]:
    person = lead.customer
    return {
        "Name": person.name if person else "",
        "Phone": phones.pretty(person.phone, region=request.business.region) if person and person.phone else "",
        "E-mail": person.email if person else "",
        "Came in": say_when(lead.created_at, now=request.now, zone=request.business.zone),
        "Source": lead.get_source_display(),
        "Stage": lead.get_stage_display(),
        "Line": settings.domain_name(lead.business_domain),
        "Wants": lead.service.name if lead.service else lead.asked_for,
        "Notes": lead.notes,
        "Whose": lead.assigned_to.get_full_name() if lead.assigned_to else "",
    }
