"""Today, and the requests that came in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.timesince import timesince
from django.views.decorators.http import require_safe

from crm import paging
from crm.access import PageRequest, business_page
from crm.views.front import opens_at
from crm.views.inbox import address, conversation_row, searched
from crm.wording import say_clock, say_day, say_noun, say_when
from leads.enums import IntakeStatus
from leads.models import Lead
from leads.queries import today as queries

PAGE: Final = 30  # leads


@require_safe
@business_page("today")
def today(request: PageRequest) -> HttpResponse:
    """What is next, who is waiting for me, is anything wrong?"""
    shown = queries.today(request.business, now=request.now)
    waiting = request.counts.conversations + request.counts.tasks + shown.untouched
    context = {
        "today": shown,
        "rows": [conversation_row(request, row) for row in shown.conversations],
        "leads": [_lead_row(request, lead, waits=True) for lead in shown.leads],
        "waiting": waiting,
        "tasks": [{"task": task, "url": opens_at(request, task.about)} for task in shown.tasks],
        "since": min(_since(shown), default=None),
        "wrong": len(shown.troubles) + shown.lost_count,
        "sentence": f"{say_day(request.now, request.business.zone)}, {say_clock(request.now, request.business.zone)}",
    }
    return render(request, "leads/today.html", context)


@require_safe
@business_page("leads")
def leads(request: PageRequest) -> HttpResponse:
    words, status = searched(request), request.GET.get("status", "")
    if status not in IntakeStatus.values:
        status = ""
    found = queries.leads(request.business, status=status, words=words)
    seen = queries.with_permission(queries.with_clock(found))
    shown = paging.stretch(seen, by="-created_at", after=request.GET.get("after", ""), size=PAGE)
    count = found.count()
    here = reverse("leads:leads", args=[request.business.slug])
    context = {
        "rows": [_lead_row(request, lead, waits=lead.is_waiting) for lead in shown.rows],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": count,
        "noun": say_noun(count, "lead", "leads"),
        "search": words,
        "status": status,
        "keep": [{"name": "status", "value": status}] if status else [],
        "clear_url": address(here, status=status) if words else "",
        "tabs": [
            {"label": label, "url": address(here, q=words, status=key), "current": key == status}
            for key, label in [("", "All"), *IntakeStatus.choices]
        ],
    }
    return render(request, "leads/leads.html", context)


def _since(shown: queries.Today) -> list[datetime]:
    """Since when each kind waits; every list begins with the one who has waited longest."""
    return [
        *[row.waiting_since for row in shown.conversations[:1] if row.waiting_since is not None],
        *[task.due_at for task in shown.tasks[:1]],
        *[lead.created_at for lead in shown.leads[:1]],
    ]


def _answered(lead: Lead) -> str:
    if lead.first_touch_at is None:
        return ""
    if lead.first_touch_at - lead.created_at < timedelta(minutes=1):
        return "answered at once"
    return f"answered after {timesince(lead.created_at, lead.first_touch_at)}"


def _lead_row(request: PageRequest, lead: Lead, *, waits: bool) -> dict[str, Any]:
    customer = reverse("crm:customer", args=[request.business.slug, lead.customer_id])
    return {
        "lead": lead,
        "url": customer,
        "job_url": reverse("booking:appointment", args=[request.business.slug, lead.appointment_id])
        if lead.appointment_id
        else "",
        "since": lead.created_at if waits else None,
        "answered": _answered(lead),
        "time": say_when(lead.created_at, now=request.now, zone=request.business.zone),
    }
