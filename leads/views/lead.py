"""One lead: how far it is, what it is worth and why, what was done, and what comes next."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crm import phones
from crm import queries as ground
from crm.access import PageRequest, business_page
from crm.idempotency import DifferentRequest, claim
from crm.models import Customer
from crm.services import Refused, find_customer
from crm.views.inbox import address
from crm.wording import say_clock, say_day, say_list
from leads import lifecycle, scoring
from leads.actors import person
from leads.enums import ActivityKind, LeadSource, OfferStatus, Stage
from leads.forms import ActivityForm, AssignForm, EditForm, FollowUpForm, LostForm, MoveForm, NewLeadForm, TransferForm
from leads.models import Assessment, DealOffer, Lead, StageChange
from leads.queries import duplicates
from leads.queries import pipeline as queries
from leads.refusals import lead_stays, moving_lead
from leads.services import assessing, pipeline, sales
from leads.services.assigning import settings_of
from leads.services.pipeline import who
from leads.views.board import age, board_card, board_filters, moves
from leads.views.found import lead_or_404
from leads.views.learning import learned_for

_PATH: Final = (Stage.NEW, Stage.CONTACTED, Stage.QUALIFIED, Stage.TRANSFERRED)
_ADVICE: Final = {
    scoring.TRANSFER: "Ready for sales: somebody of you decides whether to hand it over.",
    scoring.NURTURE: "Not ready for sales yet: stay in touch and learn more.",
}
Act = Callable[[PageRequest, Lead], HttpResponse]


def on_a_lead(act: Act) -> Callable[..., HttpResponse]:
    """A change of one lead. When the lead was merged into another, now or in this moment, that is said and nothing is done."""

    @functools.wraps(act)
    def view(request: PageRequest, number: int) -> HttpResponse:
        found = lead_or_404(request, number)
        if found.merged_into_id is not None:
            return _moved(request, found, refused="This lead was merged into another one. Work on that one.")
        try:
            return act(request, found)
        except Refused as reason:
            return _moved(request, found, refused=str(reason))

    return view


@require_safe
@business_page("leads")
def lead(request: PageRequest, number: int) -> HttpResponse:
    return _page(request, lead_or_404(request, number))


@require_POST
@business_page("leads", write=True)
@on_a_lead
def move(request: PageRequest, found: Lead) -> HttpResponse:
    is_lost = request.POST.get("to") == Stage.LOST
    form = LostForm(request.POST) if is_lost else MoveForm(request.POST)
    if not form.is_valid():
        if isinstance(form, LostForm) and not _wants_json(request):
            return _page(request, found, lost_form=form, status=422)
        return _moved(
            request, found, refused=" ".join(str(error) for errors in form.errors.values() for error in errors)
        )
    to, why = form.cleaned_data["to"], form.cleaned_data["why"]
    with transaction.atomic():
        found = pipeline.locked_lead(business=request.business, number=found.number)
        _check_seen(found, form.cleaned_data["seen"])
        with moving_lead(found, to=to):
            found = pipeline.move(lead=found, to=to, by=person(request.user), now=request.now, why=why)
    return _moved(request, found, said=f"{who(found)} is {Stage(to).label} now.")


@require_POST
@business_page("leads", write=True)
@on_a_lead
def transfer(request: PageRequest, found: Lead) -> HttpResponse:
    """Hand a lead to sales. A person decides it; what is still missing is said all at once."""
    form = TransferForm(request.POST)
    if not form.is_valid():
        raise BadRequest("This form is not one of ours.")
    try:
        with transaction.atomic():
            found = pipeline.locked_lead(business=request.business, number=found.number)
            _check_seen(found, form.cleaned_data["seen"])
            deal = sales.transfer(lead=found, by=person(request.user), now=request.now)
            found = deal.lead
    except (sales.CannotTransfer, lifecycle.NotAllowed) as reason:
        checks = queries.transfer_checks(found, settings_of(request.business))
        missing = [check.name for check in checks if not check.done]
        if missing and found.stage in lifecycle.OPEN:
            why = f"Not ready for sales yet: it needs {say_list(missing)}."
        else:
            why = lead_stays(found, to=Stage.TRANSFERRED, reason=reason)
        return _moved(request, found, refused=why)
    offer = DealOffer.objects.for_business(request.business).filter(deal=deal, status=OfferStatus.OPEN).first()
    asked = f"{offer.salesperson} is asked to take it." if offer else "It waits under Deals for whoever takes it."
    return _moved(request, found, said=f"{who(found)} is with sales now, as deal {deal.number}. {asked}")


@require_POST
@business_page("leads", write=True)
@on_a_lead
def assess(request: PageRequest, found: Lead) -> HttpResponse:
    before = found.score
    made = assessing.assess(lead=found, now=request.now)
    was = "" if before is None else ", as before" if before == made.score else f", {before:.2f} before"
    messages.success(request, f"Scored {made.score:.2f}{was}.")
    return _back_to(found, "score")


@require_POST
@business_page("leads", write=True)
@on_a_lead
def activity(request: PageRequest, found: Lead) -> HttpResponse:
    """Write down a call, a note, an e-mail or a meeting. The same form twice is written down once."""
    form = ActivityForm(request.POST, now=request.now)
    if not form.is_valid():
        return _page(request, found, activity_form=form, status=422)
    said = form.cleaned_data
    try:
        with transaction.atomic():
            mine = claim(
                business=request.business, scope="lead activity", key=str(said["once"]),
                payload=[found.number, said["kind"], said["text"], str(said["at"])],
            )  # fmt: skip
            if not mine.is_repeat:
                pipeline.add_activity(
                    lead=found, kind=ActivityKind(said["kind"]), text=said["text"], at=said["at"], now=request.now,
                    by=person(request.user),
                )  # fmt: skip
                mine.keep(status=200, answer=None)
                messages.success(request, f"Written down: {ActivityKind(said['kind']).label.lower()}.")
    except DifferentRequest:
        form.new_token()
        form.add_error(None, "This form was sent before with other words. Save again to add another line.")
        return _page(request, found, activity_form=form, status=409)
    return _back_to(found, "story")


@require_POST
@business_page("leads", write=True)
@on_a_lead
def assign(request: PageRequest, found: Lead) -> HttpResponse:
    form = AssignForm(request.POST, team=list(queries.people(request.business)))
    if not form.is_valid():
        return _page(request, found, assign_form=form, status=422)
    pipeline.assign(lead=found, to=form.user, by=person(request.user), now=request.now)
    whose = f"{form.user.get_full_name()} works on {who(found)} now." if form.user else f"{who(found)} is nobody's now."
    messages.success(request, whose)
    return _back_to(found)


@require_POST
@business_page("leads", write=True)
@on_a_lead
def edit(request: PageRequest, found: Lead) -> HttpResponse:
    form = EditForm(request.POST, lead=found, business=request.business, ways=settings_of(request.business))
    if not form.is_valid():
        return _page(request, found, edit_form=form, status=422)
    try:
        pipeline.edit_lead(
            lead=found, changes=form.changes, contact=form.contact, by=person(request.user), now=request.now
        )
    except Refused as reason:
        form.add_error("phone", str(reason))
        return _page(request, found, edit_form=form, status=422)
    messages.success(request, "Saved.")
    return _back_to(found)


@require_POST
@business_page("leads", write=True)
@on_a_lead
def follow_up(request: PageRequest, found: Lead) -> HttpResponse:
    form = FollowUpForm(request.POST, now=request.now)
    if not form.is_valid():
        return _page(request, found, follow_up_form=form, status=422)
    due = form.cleaned_data["due_at"]
    pipeline.follow_up(lead=found, title=form.cleaned_data["title"], due_at=due, now=request.now)
    messages.success(request, f"On Today from {_say_moment(request, due)}: {form.cleaned_data['title']}")
    return _back_to(found)


@require_http_methods(["GET", "POST"])
@business_page("leads", write=True)
def new(request: PageRequest) -> HttpResponse:
    """A lead by hand. Whoever is known, and has an open lead, is shown before there is another one."""
    ways = settings_of(request.business)
    if request.method == "GET":
        return _new_page(request, NewLeadForm(business=request.business, ways=ways))
    form = NewLeadForm(request.POST, business=request.business, ways=ways)
    if not form.is_valid():
        return _new_page(request, form, status=422)
    said = form.cleaned_data
    known = find_customer(business=request.business, phone=said["phone"].e164) if said["phone"] else None
    theirs: list[Lead] = []
    try:
        with transaction.atomic():
            mine = claim(
                business=request.business, scope="lead by hand", key=str(said["once"]),
                payload={name: form.data.get(name, "") for name in form.fields if name != "once"},
            )  # fmt: skip
            if not mine.is_repeat:
                theirs = queries.open_leads_of(known) if known and "anyway" not in request.POST else []
            if theirs:
                transaction.set_rollback(True)  # nothing was done with this form yet: it may come again
            elif not mine.is_repeat:
                added = pipeline.add_lead(
                    business=request.business, source=LeadSource.MANUAL, by=person(request.user), now=request.now,
                    domain=said["business_domain"], contact=form.contact, asked_for=said["asked_for"], notes=said["notes"],
                )  # fmt: skip
                mine.keep(status=200, answer={"number": added.number})
                messages.success(request, f"{who(added)} is on the list." + (" We knew the number." if known else ""))
        if theirs:
            return _new_page(request, form, known=known, theirs=theirs, status=409)
        number = mine.answer["number"] if mine.is_repeat else added.number
    except DifferentRequest:
        form.new_token()
        form.add_error(None, "This form was sent before with other words. Save again to add a second lead.")
        return _new_page(request, form, status=409)
    return redirect("leads:lead", request.business.slug, number)


# --- Inside ------------------------------------------------------------------------------------------------------------------


def _check_seen(found: Lead, seen: str) -> None:
    """Whoever acts on a page that is out of date is told so, instead of being believed."""
    if seen in ("", found.stage):
        return
    change = (
        StageChange.objects.for_business(found.business)
        .filter(lead=found, is_deal=False)
        .order_by("-at", "-id")
        .first()
    )
    by = change.by_text if change else "Somebody"
    raise Refused(f"{by} has moved this lead to {found.get_stage_display()} meanwhile. It stays there.")


def _wants_json(request: PageRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def _moved(request: PageRequest, found: Lead, *, said: str = "", refused: str = "") -> HttpResponse:
    """The answer to a move: for the board's script the card as it is now, otherwise the page one came from."""
    if _wants_json(request):
        shown = queries.shown(found)
        filters = board_filters(QueryDict(request.POST.get("filters", "")))
        counts = queries.stage_counts(request.business, filters=filters, user=request.user)
        answer = {
            "sentence": said or refused,
            "stage": shown.stage,
            "card": render_to_string(
                "leads/lead_card.html",
                {"card": board_card(request, shown, settings_of(request.business))},
                request=request,
            ),
            "counts": {stage: count.words for stage, count in counts.items()},
        }
        return JsonResponse(answer, status=409 if refused else 200)
    if refused:
        messages.error(request, refused)
    else:
        messages.success(request, said)
    if request.POST.get("back") == "board":
        filters = board_filters(QueryDict(request.POST.get("filters", "")))
        return redirect(address(reverse("leads:board", args=[request.business.slug]), **filters.query()))
    return _back_to(found)


def _back_to(found: Lead, part: str = "") -> HttpResponse:
    here = reverse("leads:lead", args=[found.business.slug, found.number])
    return redirect(f"{here}#{part}" if part else here)


def _say_moment(request: PageRequest, at: datetime) -> str:
    return f"{say_day(at, request.business.zone)}, {say_clock(at, request.business.zone)}"


def _page(
    request: PageRequest, found: Lead, *, lost_form: LostForm | None = None, activity_form: ActivityForm | None = None,
    assign_form: AssignForm | None = None, edit_form: EditForm | None = None, follow_up_form: FollowUpForm | None = None,
    status: int = 200,
) -> HttpResponse:  # fmt: skip
    """The page of a lead; a form that was refused stands there with what was typed."""
    business, ways, team = request.business, settings_of(request.business), list(queries.people(request.business))
    found, looks = queries.shown(found), queries.assessments(found)
    customer = found.customer
    if customer is not None:
        customer.business = business
    in_charge = {"to": str(found.assigned_to_id) if found.assigned_to_id else ""}
    told = queries.story(found, before=_moment(request.GET.get("before", "")))
    context = {
        "lead": found,
        "who": who(found),
        "customer": customer,
        "phone": phones.pretty(customer.phone, region=business.region) if customer and customer.phone else "",
        "consent": ground.consent_state(customer) if customer else None,
        "warning": queries.warning(found),
        "line": ways.domain_name(found.business_domain),
        "heat": queries.heat(found.score),
        "age": age(found.stage_since or found.created_at, request.now),
        "steps": _steps(found),
        "moves": moves(found),
        "is_open": found.stage in lifecycle.OPEN and found.merged_into_id is None,
        "look": _look(looks[0]) if looks else None,
        "looks": [_look(look) for look in looks[1:]],
        "checks": queries.transfer_checks(found, ways),
        "deal": queries.deal_of(found),
        "tasks": [
            {"task": task, "when": _say_moment(request, task.due_at), "is_due": task.due_at <= request.now}
            for task in queries.tasks(found)
        ],
        "others": duplicates.others_of(found),
        "story": told.happened,
        "before": told.before,
        "is_first": "before" not in request.GET,
        "lost_form": lost_form or LostForm(),
        "activity_form": activity_form or ActivityForm(now=request.now),
        "assign_form": assign_form or AssignForm(team=team, initial=in_charge),
        "edit_form": edit_form or EditForm(lead=found, business=business, ways=ways),
        "follow_up_form": follow_up_form or FollowUpForm(now=request.now, initial={"title": f"Call {who(found)}"}),
        "learned": learned_for(found),
    }
    context["is_ready"] = all(check.done for check in context["checks"])  # type: ignore[attr-defined]
    return render(request, "leads/lead.html", context, status=status)


def _steps(found: Lead) -> list[dict[str, Any]]:
    """The way to a sale, and where on it the lead stands; a lost one stands beside it."""
    here = _PATH.index(Stage(found.stage)) if found.stage in _PATH else -1
    return [
        {"label": stage.label, "is_done": place < here, "is_here": place == here} for place, stage in enumerate(_PATH)
    ]


def _look(look: Assessment) -> dict[str, Any]:
    """An assessment as leads/lead_look.html shows it."""
    return {
        "look": look,
        "heat": queries.heat(look.score),
        "advice": _ADVICE[look.recommendation],
        "factors": [{"points": f"{float(factor['points']):+.2f}", "text": factor["text"]} for factor in look.factors],
        "reading": f"{look.reading:+.2f}" if look.reading else "",
        "silence": f"{look.silence:+.2f}" if look.silence else "",
    }


def _new_page(
    request: PageRequest, form: NewLeadForm, *, known: Customer | None = None, theirs: list[Lead] | None = None,
    status: int = 200,
) -> HttpResponse:  # fmt: skip
    """`theirs` are the open leads of `known`, who has the number that was entered."""
    return render(request, "leads/lead_new.html", {"form": form, "known": known, "theirs": theirs}, status=status)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest("This address holds a moment that does not exist.") from error
    if moment.tzinfo is None:
        raise BadRequest("This address holds a moment without a time zone.")
    return moment
