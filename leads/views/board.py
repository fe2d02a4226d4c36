"""The board: every stage a column, the hottest leads first."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.timesince import timesince
from django.views.decorators.http import require_safe

from crm.access import PageRequest, business_page
from crm.models import User
from crm.views.inbox import address
from leads import lifecycle
from leads.enums import Stage
from leads.models import Lead, PipelineSettings
from leads.queries import pipeline as queries
from leads.queries.pipeline import Filters
from leads.services.assigning import settings_of
from leads.services.pipeline import who

_ASKED: Final = ("line", "person")  # what the board can be narrowed by


@require_safe
@business_page("leads")
def board(request: PageRequest) -> HttpResponse:
    filters = board_filters(request.GET)
    ways, team = settings_of(request.business), list(queries.people(request.business))
    columns = queries.board(request.business, filters=filters, user=request.user)
    here, listed = (reverse(name, args=[request.business.slug]) for name in ("leads:board", "leads:leads"))
    context = {
        "columns": [
            {
                "stage": column.stage,
                "count": column.count.words,
                "url": address(listed, **filters.query() | {"stage": column.stage}),
                "cards": [board_card(request, lead, ways) for lead in column.leads],
                "goes_on": column.count.number > len(column.leads),
            }
            for column in columns
        ],
        "filters": [person_filter(filters, team), line_filter(filters, ways)],
        "clear_url": here if filters.query() else "",
        "is_empty": not any(column.count.number for column in columns),
    }
    return render(request, "leads/board.html", context)


def board_filters(given: Any) -> Filters:
    asked = Filters.read(given)
    return Filters(**{name: getattr(asked, name) for name in _ASKED})


def board_card(request: PageRequest, lead: Any, ways: PipelineSettings) -> dict[str, Any]:
    """A lead as leads/lead_card.html shows it. `lead` knows `is_waiting`."""
    return {
        "lead": lead,
        "who": who(lead),
        "url": reverse("leads:lead", args=[request.business.slug, lead.number]),
        "heat": queries.heat(lead.score),
        "age": age(lead.stage_since or lead.created_at, request.now),
        "owner": "you" if lead.assigned_to == request.user else _name(lead.assigned_to),
        "line": ways.domain_name(lead.business_domain),
        "since": lead.created_at if lead.is_waiting else None,
        "moves": moves(lead),
    }


def moves(lead: Lead) -> list[dict[str, Any]]:
    """Where a lead may go from here: `asks` names those that ask something first."""
    asks = {Stage.LOST: "lost", Stage.TRANSFERRED: "transfer"}
    return [
        {"stage": stage, "label": Stage(stage).label, "asks": asks.get(Stage(stage), "")}
        for stage in lifecycle.LEAD[lead.stage]
    ]


def age(since: datetime, now: datetime) -> str:
    """“3 days”: how long something has been so, in its largest unit."""
    return timesince(since, now, depth=1)


def person_filter(filters: Filters, team: list[User]) -> dict[str, Any]:
    people = [
        (queries.MINE, "Mine"),
        (queries.NOBODY, "Nobody's"),
        *((str(user.pk), user.get_full_name()) for user in team),
    ]
    return choice("person", "Whose", "Everybody's", people, filters.person)


def line_filter(filters: Filters, ways: PipelineSettings) -> dict[str, Any]:
    return choice(
        "line", "Line of business", "Every line", [*ways.domain_choices, (queries.NO_LINE, "No line yet")], filters.line
    )


def choice(name: str, label: str, everything: str, options: list[tuple[str, str]], chosen: str) -> dict[str, Any]:
    """A filter as components/filter_bar.html shows it."""
    return {
        "name": name,
        "label": label,
        "options": [
            {"value": key, "label": said, "selected": key == chosen} for key, said in [("", everything), *options]
        ],
    }


def _name(user: User | None) -> str:
    return user.get_short_name() if user else ""
