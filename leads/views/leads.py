"""The list of leads: filters that can be kept as views, and one act for many leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.timesince import timesince
from django.views.decorators.http import require_POST, require_safe

from crm import paging
from crm.access import PageRequest, business_page
from crm.services import Refused
from crm.views.inbox import address
from crm.wording import say_noun, say_when
from leads.actors import person
from leads.enums import IntakeStatus, LeadSource, Stage
from leads.forms import BulkForm, SaveViewForm
from leads.models import Lead, PipelineSettings, SavedView
from leads.queries import pipeline as queries
from leads.queries.pipeline import Filters
from leads.refusals import moving_lead
from leads.services import assessing, pipeline
from leads.services.assigning import settings_of
from leads.services.pipeline import LeadNotFound, who
from leads.views.board import choice, line_filter, person_filter

PAGE: Final = 30  # leads


@require_safe
@business_page("leads")
def leads(request: PageRequest) -> HttpResponse:
    return _list(request, Filters.read(request.GET))


@require_POST
@business_page("leads", write=True)
def save_view(request: PageRequest) -> HttpResponse:
    """Keep the filters of the page under a name."""
    filters = Filters.read(QueryDict(request.POST.get("filters", "")))
    form = SaveViewForm(request.POST)
    if form.is_valid() and not filters.query():
        form.add_error("name", "Nothing is filtered yet. Choose what the view shows first.")
    if form.is_valid():
        view = SavedView(
            business=request.business,
            user=request.user,
            filters=filters.query(),
            created_at=request.now,
            **form.cleaned_data,
        )
        try:
            with transaction.atomic():
                view.save()
        except IntegrityError:
            form.add_error("name", "You have a view of this name already. Choose another name, or delete that one.")
        else:
            messages.success(request, f"Saved: {view.name}.")
            return redirect(address(reverse("leads:leads", args=[request.business.slug]), **filters.query()))
    return _list(request, filters, save_form=form, status=422)


@require_POST
@business_page("leads", write=True)
def delete_view(request: PageRequest, pk: UUID) -> HttpResponse:
    """One's own views only; what others keep for everybody is theirs."""
    view: SavedView = get_object_or_404(
        SavedView.objects.for_business(request.business).filter(user=request.user), pk=pk
    )
    view.delete()
    messages.success(request, f"Deleted: {view.name}. The leads are all still there.")
    return redirect("leads:leads", request.business.slug)


@dataclass(frozen=True)
class Told:
    """What became of one lead of many."""

    number: int
    who: str
    sentence: str
    done: bool


@require_POST
@business_page("leads", write=True)
def bulk(request: PageRequest) -> HttpResponse:
    """Do one thing to every ticked lead, each for itself; whatever is refused is told lead by lead."""
    filters = Filters.read(QueryDict(request.POST.get("filters", "")))
    form = BulkForm(request.POST, team=list(queries.people(request.business)))
    numbers = [
        int(text) for text in request.POST.getlist("lead") if text.isascii() and text.isdigit() and len(text) < 19
    ]
    if form.is_valid() and not numbers:
        form.add_error(None, "Tick the leads first.")
    if len(numbers) > form.MOST:
        form.add_error(None, f"At most {form.MOST} leads at a time. Take some ticks away.")
    if not form.is_valid():
        return _list(request, filters, bulk_form=form, ticked=set(numbers), status=422)
    act, said = _act(request, form)
    told = [_do(request, number, act) for number in dict.fromkeys(numbers)]
    done = sum(line.done for line in told)
    back = address(reverse("leads:leads", args=[request.business.slug]), **filters.query())
    if done == len(told):
        messages.success(request, f"{done} {say_noun(done, 'lead', 'leads')} {said}.")
        return redirect(back)
    context = {"refused": [line for line in told if not line.done], "done": done, "said": said, "back_url": back}
    return render(request, "leads/lead_bulk.html", context)


# --- Inside ------------------------------------------------------------------------------------------------------------------


def _list(
    request: PageRequest, filters: Filters, *, save_form: SaveViewForm | None = None, bulk_form: BulkForm | None = None,
    ticked: set[int] | None = None, status: int = 200,
) -> HttpResponse:  # fmt: skip
    ways, team = settings_of(request.business), list(queries.people(request.business))
    found = queries.leads(request.business, filters=filters, user=request.user)
    shown = paging.stretch(found, by="-created_at", after=request.GET.get("after", ""), size=PAGE)
    counted = queries.count(found)
    here = reverse("leads:leads", args=[request.business.slug])
    views = [_view(request, view, filters) for view in queries.views(request.business, request.user)]
    context = {
        "rows": [_row(request, lead, ways, ticked or set()) for lead in shown.rows],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": counted.words,
        "noun": say_noun(counted.number, "lead", "leads"),
        "here": here,
        "search": filters.q,
        "first_filters": [_stages(filters), person_filter(filters, team)],
        "more_filters": [
            line_filter(filters, ways),
            choice(
                "score", "Score", "Any score", [(score, f"{score}0 or more") for score in queries.SCORES], filters.score
            ),
            choice("source", "Source", "Every source", list(LeadSource.choices), filters.source),
            choice("status", "How intake stands", "Any answer", list(IntakeStatus.choices), filters.status),
            choice("waiting", "Waiting", "Answered or not", [("1", "Nobody has answered")], filters.waiting),
        ],
        "since": filters.since,
        "more_set": len(replace(filters, q="", stage="", person="").query()),
        "clear_url": here if filters.query() else "",
        "kept": address("", **filters.query()).removeprefix("?"),
        "views": views,
        "forget": next((view for view in views if view["pk"] == request.GET.get("forget") and view["is_mine"]), None),
        "is_view": any(view["current"] for view in views),
        "save_form": save_form or SaveViewForm(),
        "bulk_form": bulk_form or BulkForm(team=team),
    }
    return render(request, "leads/leads.html", context, status=status)


def _stages(filters: Filters) -> dict[str, Any]:
    return choice("stage", "Stage", "Every stage", [*Stage.choices, (queries.DONE, "Job done")], filters.stage)


def _view(request: PageRequest, view: SavedView, filters: Filters) -> dict[str, Any]:
    kept, is_mine = Filters.read(view.filters), view.user_id == request.user.pk
    here = reverse("leads:leads", args=[request.business.slug])
    return {
        "pk": str(view.pk),
        "name": view.name,
        "url": address(here, **kept.query()),
        "current": kept == filters,
        "is_mine": is_mine,
        "by": "" if is_mine else view.user.get_short_name(),
        "forget_url": address(here, **kept.query(), forget=str(view.pk)),
        "delete_url": reverse("leads:delete_view", args=[request.business.slug, view.pk]),
    }


def _row(request: PageRequest, lead: Any, ways: PipelineSettings, ticked: set[int]) -> dict[str, Any]:
    slug = request.business.slug
    return {
        "lead": lead,
        "who": who(lead),
        "url": reverse("leads:lead", args=[slug, lead.number]),
        "job_url": reverse("booking:appointment", args=[slug, lead.appointment_id]) if lead.appointment_id else "",
        "heat": queries.heat(lead.score),
        "line": ways.domain_name(lead.business_domain),
        "since": lead.created_at if lead.is_waiting else None,
        "answered": answered(lead),
        "time": say_when(lead.created_at, now=request.now, zone=request.business.zone),
        "is_ticked": lead.number in ticked,
    }


def answered(lead: Lead) -> str:
    if lead.first_touch_at is None:
        return ""
    if lead.first_touch_at - lead.created_at < timedelta(minutes=1):
        return "answered at once"
    return f"answered after {timesince(lead.created_at, lead.first_touch_at)}"


def _act(request: PageRequest, form: BulkForm) -> tuple[Callable[[Lead], object], str]:
    """What to do to each lead, and how it is said afterwards."""
    kind, _, what = form.cleaned_data["act"].partition(":")
    by, now, why = person(request.user), request.now, form.cleaned_data["why"]
    if kind == "move":

        def move(lead: Lead) -> None:
            with moving_lead(lead, to=what):
                pipeline.move(lead=lead, to=what, by=by, now=now, why=why)

        return move, f"moved to {Stage(what).label}"
    if kind == "give":
        to = form.by_id.get(what)
        said = f"given to {to.get_full_name()}" if to else "given back: nobody's now"
        return lambda lead: pipeline.assign(lead=lead, to=to, by=by, now=now), said
    return lambda lead: assessing.assess(lead=lead, now=now), "scored again"


def _do(request: PageRequest, number: int, act: Callable[[Lead], object]) -> Told:
    try:
        lead = pipeline.find_lead(business=request.business, number=number)
    except LeadNotFound:
        return Told(number=number, who=f"Lead {number}", sentence="This lead is no longer here.", done=False)
    name = who(lead)
    try:
        act(lead)
    except Refused as reason:
        return Told(number=number, who=name, sentence=str(reason), done=False)
    return Told(number=number, who=name, sentence="", done=True)
