"""How the pipeline does: few figures, each explained in a line, with the table behind them to take along."""

from __future__ import annotations

import csv
from datetime import date, timedelta
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from crm.access import PageRequest, business_page
from crm.wording import say_money
from leads.enums import LeadSource
from leads.forms_sales import PeriodForm
from leads.queries import reports as queries
from leads.queries.reports import Funnel, InStage, Report, Speed
from leads.services.assigning import settings_of

LENGTHS: Final = (30, 90, 365)  # days, today included
_STEPS: Final = (
    ("came_in", "Came in"),
    ("contacted", "Contacted"),
    ("qualified", "Qualified"),
    ("transferred", "With sales"),
    ("won", "Won"),
)
_TABLE: Final = (*_STEPS, ("lost", "Lost"))


@require_safe
@business_page("leads")
def reports(request: PageRequest) -> HttpResponse:
    form, over = _asked(request)
    source = form.cleaned_data.get("source", "")
    limit = settings_of(request.business).answer_minutes
    found = queries.report(
        request.business, over=over, source=source, answer_within=timedelta(minutes=limit), now=request.now
    )
    if request.GET.get("format") == "csv":
        return _csv(request, found, over)
    here = reverse("leads:reports", args=[request.business.slug])
    same = {"source": source} if source else {}
    days, today = (over.last - over.first).days + 1, _today(request)
    whole, speed = found.funnels[0], found.speeds[""]
    context = {
        "form": form,
        "over": over,
        "source": LeadSource(source).label if source else "",
        "lengths": [
            {
                "label": f"{length} days",
                "url": f"{here}?{urlencode({'days': str(length)} | same)}",
                "current": days == length and over.last == today,
            }
            for length in LENGTHS
        ],
        "csv_url": f"{here}?{urlencode({'first': f'{over.first}', 'last': f'{over.last}', 'format': 'csv'} | same)}",
        "funnel": _bars(whole),
        "top": max(whole.came_in, 1),
        "whole": whole,
        "table": [_row(row) for row in found.funnels],
        "columns": [label for _, label in _TABLE],
        "lead_stages": [_stage(row) for row in found.stages if not row.is_deal],
        "deal_stages": [_stage(row) for row in found.stages if row.is_deal],
        "wins": found.wins,
        "win_rate": say_share(found.wins.won, found.wins.won + found.wins.lost),
        "speed": speed,
        "speeds": [{"label": _source(key), **_fast(one)} for key, one in found.speeds.items() if key],
        "fast": _fast(speed),
        "limit": limit,
        "deals": found.deals,
        "open_value": say_money(found.deals.open_value),
        "won_value": say_money(found.deals.won_value),
        "days_to_close": _days(found.deals.days_to_close),
    }
    return render(request, "leads/reports.html", context)


def say_share(part: int, whole: int) -> str:
    """“25 %”; nothing of nothing has no share."""
    return f"{100 * part / whole:.0f} %" if whole else ""


def say_span(seconds: float) -> str:
    """“40 seconds”, “12 minutes”, “3.5 hours”, “2 days”: as exact as anybody needs."""
    for size, one, many in ((86_400, "day", "days"), (3_600, "hour", "hours"), (60, "minute", "minutes")):
        if seconds >= size:
            count = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{count} {one if count == '1' else many}"
    count = f"{seconds:.0f}"
    return f"{count} {'second' if count == '1' else 'seconds'}"


# --- Inside ------------------------------------------------------------------------------------------------------------


def _today(request: PageRequest) -> date:
    return request.now.astimezone(request.business.zone).date()


def _asked(request: PageRequest) -> tuple[PeriodForm, queries.Period]:
    """The form as it is shown, and the days it asks for; the last thirty when it asks for none, or for what cannot be."""
    today, asked = _today(request), request.GET
    length = next((days for days in LENGTHS if asked.get("days") == str(days)), LENGTHS[0])
    usual = {"first": today - timedelta(days=length - 1), "last": today}
    given = {name: asked[name] for name in ("first", "last") if name in asked}
    form = PeriodForm({"source": asked.get("source", ""), **(given or usual)})
    days = (form.cleaned_data["first"], form.cleaned_data["last"]) if form.is_valid() else (usual["first"], today)
    return form, queries.period(request.business, first=days[0], last=days[1])


def _bars(whole: Funnel) -> list[dict[str, Any]]:
    return [
        {"label": label, "value": count, "text": f"{count:,}" + (f" · {share}" if count and name != "came_in" else "")}
        for name, label in _STEPS
        for count in [getattr(whole, name)]
        for share in [say_share(count, whole.came_in)]
    ]


def _row(funnel: Funnel) -> dict[str, Any]:
    cells = [
        {
            "label": label,
            "count": count,
            "share": say_share(count, funnel.came_in) if count and name != "came_in" else "",
        }
        for name, label in _TABLE
        for count in [getattr(funnel, name)]
    ]
    return {"label": _source(funnel.source), "cells": cells}


def _source(source: str) -> str:
    return LeadSource(source).label if source else "All together"


def _stage(row: InStage) -> dict[str, Any]:
    return {
        "label": row.label,
        "left": row.left,
        "p50": say_span(row.p50) if row.p50 is not None else "",
        "p95": say_span(row.p95) if row.p95 is not None else "",
    }


def _fast(speed: Speed) -> dict[str, Any]:
    return {
        "answered": speed.answered,
        "p50": say_span(speed.p50) if speed.p50 is not None else "",
        "p95": say_span(speed.p95) if speed.p95 is not None else "",
        "share": say_share(speed.in_time, speed.due),
        "due": speed.due,
        "in_time": speed.in_time,
    }


def _days(days: float | None) -> str:
    return say_span(days * 86_400) if days is not None else ""


def _csv(request: PageRequest, found: Report, over: queries.Period) -> HttpResponse:
    """The table by source, with the figures of speed; times in seconds."""
    name = f"leads-{request.business.slug}-{over.first}-to-{over.last}.csv"
    response = HttpResponse(
        content_type="text/csv; charset=utf-8", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
    writer = csv.writer(response)
    writer.writerow(
        ["Source", *(label for _, label in _TABLE), "Answered", "Answered p50 s", "Answered p95 s", "In time", "Due"]
    )
    for row in found.funnels:
        speed = found.speeds[row.source]
        times = ["" if value is None else f"{value:.0f}" for value in (speed.p50, speed.p95)]
        counts = [getattr(row, key) for key, _ in _TABLE]
        writer.writerow([_source(row.source), *counts, speed.answered, *times, speed.in_time, speed.due])
    return response
