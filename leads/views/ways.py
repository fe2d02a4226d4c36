"""How a business works its leads: the names of its lines, its limits, who sells, and who gets what."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crm import phones
from crm.access import PageRequest, business_page
from crm.services import Refused
from leads.actors import person
from leads.enums import LeadSource
from leads.forms_ways import NewSalespersonForm, RuleForm, SalespersonForm, TimesForm
from leads.models import AssignmentRule, PipelineSettings, Salesperson
from leads.queries.pipeline import people
from leads.services import setup
from leads.services.assigning import in_turn, settings_of


@require_safe
@business_page("leads")
def ways(request: PageRequest) -> HttpResponse:
    return _page(request)


@require_POST
@business_page("leads", write=True)
def times(request: PageRequest) -> HttpResponse:
    form = TimesForm(request.POST, instance=PipelineSettings(business=request.business))
    if not form.is_valid():
        return _page(request, times_form=form, status=422)
    setup.change_settings(
        business=request.business, changes=form.cleaned_data, by=person(request.user), now=request.now
    )
    messages.success(request, "Names and times are saved.")
    return _back(request, "times")


@require_POST
@business_page("leads", write=True)
def salesperson(request: PageRequest) -> HttpResponse:
    """Add somebody, or change how they work: the form says who."""
    known = Salesperson.objects.for_business(request.business)
    is_known = request.POST.get("is_known") == "1"
    kind = SalespersonForm if is_known else NewSalespersonForm
    form = kind(request.POST, business=request.business)
    if form.is_valid():
        said = form.cleaned_data
        is_new = not known.filter(user=said["user"]).exists()
        try:
            setup.set_salesperson(
                business=request.business, user=said["user"], capacity=said["capacity"], by=person(request.user),
                takes_offers=said["takes_offers"], phone=said["phone"], now=request.now,
            )  # fmt: skip
        except Refused as reason:
            form.add_error(None, str(reason))
        else:
            name = said["user"].get_full_name()
            messages.success(request, f"{name} gets offers from now on." if is_new else f"{name} is saved.")
            return _back(request, "salespeople")
    if is_known:
        return _page(request, seller_form=form, status=422)
    return _page(request, new_form=form, status=422)


@require_POST
@business_page("leads", write=True)
def rule(request: PageRequest) -> HttpResponse:
    """One more rule, behind the others."""
    form = RuleForm(request.POST, business=request.business, settings=settings_of(request.business))
    if form.is_valid():
        try:
            setup.add_rule(business=request.business, by=person(request.user), now=request.now, **form.cleaned_data)
        except Refused as reason:
            form.add_error(None, str(reason))
        else:
            messages.success(request, "The rule is added, behind the others.")
            return _back(request, "rules")
    return _page(request, rule_form=form, status=422)


@require_POST
@business_page("leads", write=True)
def move_rule(request: PageRequest, pk: UUID) -> HttpResponse:
    found, up = _rule(request, pk), request.POST.get("way") == "up"
    try:
        moved = setup.move_rule(rule=found, up=up, by=person(request.user), now=request.now)
    except Refused as reason:
        messages.error(request, str(reason))
    else:
        if not moved:
            messages.info(request, f"It is the {'first' if up else 'last'} rule already.")
    return _back(request, "rules")


@require_http_methods(["GET", "POST"])
@business_page("leads", write=True)
def delete_rule(request: PageRequest, pk: UUID) -> HttpResponse:
    """Asks once, in the words of the rule."""
    found = _rule(request, pk)
    if request.method == "GET":
        context = {"sentence": say_rule(found, settings_of(request.business))}
        return render(request, "leads/rule_delete.html", context)
    try:
        setup.delete_rule(rule=found, by=person(request.user), now=request.now)
    except Refused as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, "The rule is deleted. Leads that came in by it stay where they are.")
    return _back(request, "rules")


def say_rule(found: AssignmentRule, settings: PipelineSettings) -> str:
    """“Web form about AC Repair: Bob Burns, put into Repairs.” in the business's own words."""
    parts = []
    if found.source:
        parts.append(f"by {LeadSource(found.source).label}")
    if found.service is not None:
        parts.append(f"about {found.service.name}")
    if found.domain:
        parts.append(f"in {settings.domain_name(found.domain)}")
    which = f"Leads {', '.join(parts)}" if parts else "All leads"
    to = found.assignee.get_full_name() if found.assignee else "salespeople in turn"
    line = f", put into {settings.domain_name(found.set_domain)}" if found.set_domain else ""
    return f"{which} go to {to}{line}."


# --- Inside ------------------------------------------------------------------------------------------------------------


def _rule(request: PageRequest, pk: UUID) -> AssignmentRule:
    rows = AssignmentRule.objects.for_business(request.business).select_related("service", "assignee")
    found: AssignmentRule = get_object_or_404(rows, pk=pk)
    found.business = request.business
    return found


def _back(request: PageRequest, place: str) -> HttpResponse:
    return redirect(reverse("leads:ways", args=[request.business.slug]) + f"#{place}")


def _page(
    request: PageRequest, *, times_form: TimesForm | None = None, seller_form: SalespersonForm | None = None,
    new_form: SalespersonForm | None = None, rule_form: RuleForm | None = None, status: int = 200,
) -> HttpResponse:  # fmt: skip
    """The whole page; a form that came back with a mistake stands in its own place."""
    business = request.business
    settings = settings_of(business)
    new_form = new_form or NewSalespersonForm(business=business, auto_id="new_%s")
    sellers = list(Salesperson.objects.for_business(business).select_related("user"))
    team = set(people(business).values_list("pk", flat=True))
    rules = AssignmentRule.objects.for_business(business).select_related("service", "assignee")
    ready = set(in_turn(business).values_list("pk", flat=True))
    context = {
        "settings": settings,
        "times_form": times_form or TimesForm(instance=settings),
        "sellers": [
            _seller(request, row, seller_form, is_ready=row.pk in ready, is_here=row.user_id in team) for row in sellers
        ],
        "new_form": new_form,
        "can_add": bool(team - {row.user_id for row in sellers}),
        "rules": [{"rule": row, "sentence": say_rule(row, settings)} for row in rules],
        "rule_form": rule_form or RuleForm(business=business, settings=settings, auto_id="rule_%s"),
    }
    return render(request, "leads/ways.html", context, status=status)


def _seller(
    request: PageRequest, row: Salesperson, sent: SalespersonForm | None, *, is_ready: bool, is_here: bool
) -> dict[str, Any]:
    is_sent = sent is not None and str(sent["user"].value()) == str(row.user_id)
    shown = phones.pretty(row.phone, region=request.business.region) if row.phone else ""
    initial = {"user": row.user_id, "capacity": row.capacity, "phone": shown, "takes_offers": row.takes_offers}
    form = sent if is_sent else SalespersonForm(business=request.business, initial=initial, auto_id=f"s{row.pk}_%s")
    says = "Gets offers" if is_ready else "Has enough open deals" if row.takes_offers else "Takes no offers"
    if not row.user.is_active:
        says = "Cannot sign in any more"
    elif not is_here:
        says = "Does not work on leads here any more"
    return {"seller": row, "form": form, "phone": shown, "says": says, "is_ready": is_ready, "is_open": is_sent}
