"""Today: what is next, who is waiting for me, is anything wrong?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.timesince import timesince, timeuntil
from django.views.decorators.http import require_safe

from crm.access import PageRequest, business_page
from crm.models import Task
from crm.views.front import opens_at
from crm.views.inbox import conversation_row
from crm.wording import say_clock, say_day, say_money
from leads.models import DealOffer, Lead
from leads.queries import today as queries
from leads.queries.deals import seconds_left
from leads.services.assigning import settings_of
from leads.services.pipeline import who


@require_safe
@business_page("today")
def today(request: PageRequest) -> HttpResponse:
    shown = queries.today(request.business, user=request.user, now=request.now)
    limit = timedelta(minutes=settings_of(request.business).answer_minutes)
    waiting = request.counts.conversations + request.counts.tasks + shown.untouched + len(shown.offers)
    context = {
        "today": shown,
        "rows": [conversation_row(request, row) for row in shown.conversations],
        "offers": [_offer_row(request, offer) for offer in shown.offers],
        "leads": [_lead_row(request, lead, limit=limit) for lead in shown.leads],
        "waiting": waiting,
        "tasks": [{"task": task, "url": opens_at(request, task.about)} for task in shown.tasks],
        "later": [_later_row(request, task) for task in shown.later],
        "since": min(_since(shown), default=None),
        "wrong": sum(trouble.tone != "accent" for trouble in shown.troubles) + shown.lost_count,
        "sentence": f"{say_day(request.now, request.business.zone)}, {say_clock(request.now, request.business.zone)}",
    }
    return render(request, "leads/today.html", context)


def _since(shown: queries.Today) -> list[datetime]:
    """Since when each kind waits; every list begins with the one who has waited longest."""
    return [
        *[row.waiting_since for row in shown.conversations[:1] if row.waiting_since is not None],
        *[task.due_at for task in shown.tasks[:1]],
        *[offer.offered_at for offer in shown.offers[:1]],
        *[lead.created_at for lead in shown.leads[:1]],
    ]


def _lead_row(request: PageRequest, lead: Lead, *, limit: timedelta) -> dict[str, Any]:
    """A request nobody has answered, and how that stands against the business's own limit."""
    due = lead.created_at + limit
    is_late = due <= request.now
    told = f"{timesince(due, request.now)} beyond your limit" if is_late else f"{timeuntil(due, request.now)} left"
    return {
        "lead": lead,
        "who": who(lead),
        "url": reverse("leads:lead", args=[request.business.slug, lead.number]),
        "told": told,
        "is_late": is_late,
    }


def _offer_row(request: PageRequest, offer: DealOffer) -> dict[str, Any]:
    """A deal that is held out to the one who looks."""
    deal, lead = offer.deal, offer.deal.lead
    facts = [
        lead.service.name if lead.service else lead.asked_for,
        say_money(deal.value) if deal.value is not None else "",
        f"score {lead.score}" if lead.score is not None else "",
    ]
    return {
        "deal": deal,
        "who": who(lead),
        "url": reverse("leads:deal", args=[request.business.slug, deal.number]),
        "facts": " · ".join(fact for fact in facts if fact),
        "until": say_clock(offer.until, request.business.zone),
        "left": timeuntil(offer.until, request.now),
        "seconds": seconds_left(offer, now=request.now),
    }


def _later_row(request: PageRequest, task: Task) -> dict[str, Any]:
    zone = request.business.zone
    when = f"{say_day(task.due_at, zone)}, {say_clock(task.due_at, zone)}"
    return {"task": task, "url": opens_at(request, task.about), "when": when}
