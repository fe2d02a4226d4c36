"""Deals: the board, and one deal with all that a salesperson with ten seconds needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.timesince import timeuntil
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from booking.calendar import say_price
from crm import paging, phones
from crm import queries as ground
from crm.access import PageRequest, business_page
from crm.services import Refused
from crm.wording import say_clock, say_money, say_when
from leads import lifecycle, scoring
from leads.actors import person
from leads.enums import DealStage, OfferStatus, Stage
from leads.forms_sales import DealForm, GiveForm, MoveForm, PassForm
from leads.models import Deal, DealOffer, Lead, StageChange
from leads.queries import deals as queries
from leads.queries import pipeline, talk
from leads.refusals import moving_deal
from leads.services import sales
from leads.services.pipeline import who
from leads.views.found import deal_or_404

PAGE: Final = 30  # deals of one stage
LAST_LINES: Final = 8  # of the conversation
_ASKS_FIRST: Final = (DealStage.PAID, DealStage.LOST)  # both end the deal, and there is no way back
_SAID_BY: Final = {"assistant": "Assistant", "staff": "Your team", "note": "Note"}


@require_safe
@business_page("leads")
def deals(request: PageRequest) -> HttpResponse:
    """The board; with `stage` all deals of one column."""
    is_mine, stage = request.GET.get("mine") == "1", request.GET.get("stage", "")
    if stage in DealStage.values:
        return _column(request, stage, is_mine=is_mine)
    columns = queries.board(request.business, mine=request.user if is_mine else None)
    here = reverse("leads:deals", args=[request.business.slug])
    count = sum(column.count for column in columns)
    context = {
        "columns": [
            {
                "column": column,
                "value": say_money(column.value),
                "cards": [_card(request, deal, back="mine" if is_mine else "board") for deal in column.deals],
                "all_url": f"{here}?stage={column.stage}{'&mine=1' if is_mine else ''}",
                "more": column.count - len(column.deals),
            }
            for column in columns
        ],
        "count": count,
        "noun": "deal" if count == 1 else "deals",
        "is_mine": is_mine,
        "whose": [
            {"label": "Everybody's", "url": here, "current": not is_mine},
            {"label": "Mine", "url": f"{here}?mine=1", "current": is_mine},
        ],
    }
    return render(request, "leads/deals.html", context)


@require_safe
@business_page("leads")
def deal(request: PageRequest, number: int) -> HttpResponse:
    return _deal_page(request, deal_or_404(request, number))


@require_http_methods(["GET", "POST"])
@business_page("leads", write=True)
def move(request: PageRequest, number: int) -> HttpResponse:
    """To its next stage, or lost. Whatever ends the deal asks first, and asks why when it is lost."""
    found = deal_or_404(request, number)
    form = MoveForm(request.POST if request.method == "POST" else request.GET or None)
    if "to" not in form.data or form["to"].value() not in DealStage.values:
        raise BadRequest("This address names no stage.")
    to = form["to"].value()
    if request.method == "GET" or not form.is_valid():
        status = 200
        if request.method == "GET":
            form = MoveForm(initial={"to": to, "back": request.GET.get("back", "")})
        else:
            status = 422
        context = {"deal": found, "who": who(found.lead), "form": form, "to": DealStage(to), "value": _worth(found)}
        return render(request, "leads/deal_move.html", context, status=status)
    if found.stage == to:
        messages.info(request, f"{who(found.lead)} is there already: {DealStage(to).label.lower()}.")
        return _back(request, found, form.cleaned_data["back"])
    try:
        with moving_deal(found, to=to):
            sales.move_deal(deal=found, to=to, by=person(request.user), now=request.now, why=form.cleaned_data["why"])
    except Refused as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, _moved(found, DealStage(to)))
    return _back(request, found, form.cleaned_data["back"])


@require_POST
@business_page("leads", write=True)
def accept(request: PageRequest, number: int) -> HttpResponse:
    def take(found: Deal) -> str:
        sales.accept(deal=found, user=request.user, now=request.now)
        return f"{who(found.lead)} is yours. Call them while they still think of it."

    return _act(request, number, take, back="")


@require_POST
@business_page("leads", write=True)
def decline(request: PageRequest, number: int) -> HttpResponse:
    form = PassForm(request.POST)
    if not form.is_valid():
        return _deal_page(request, deal_or_404(request, number), passing=form, status=422)

    def leave(found: Deal) -> str:
        sales.decline(deal=found, user=request.user, now=request.now, why=form.cleaned_data["why"])
        is_asked = any(offer.status == OfferStatus.OPEN for offer in queries.asked(found))
        then = "The next of the team is asked." if is_asked else "Nobody else is free: it waits for whoever takes it."
        return f"You passed on {who(found.lead)}. {then}"

    return _act(request, number, leave, back=form.cleaned_data["back"])


@require_POST
@business_page("leads", write=True)
def give(request: PageRequest, number: int) -> HttpResponse:
    """To somebody of the team, whoever had it before."""
    form = GiveForm(request.POST, business=request.business)
    if not form.is_valid():
        return _deal_page(request, deal_or_404(request, number), giving=form, status=422)
    to = form.cleaned_data["to"]

    def hand(found: Deal) -> str:
        sales.hand_to(deal=found, to=to, by=person(request.user), now=request.now)
        return f"{to.get_full_name()} has {who(found.lead)} now."

    return _act(request, number, hand, back="")


@require_POST
@business_page("leads", write=True)
def edit(request: PageRequest, number: int) -> HttpResponse:
    found = deal_or_404(request, number)
    form = DealForm(request.POST)
    if not form.is_valid():
        return _deal_page(request, found, editing=form, status=422)
    sales.edit_deal(deal=found, changes=form.cleaned_data, by=person(request.user), now=request.now)
    messages.success(request, "Value and day are saved.")
    return redirect("leads:deal", request.business.slug, found.number)


# --- Inside ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hold:
    """An offer that waits for an answer, in words."""

    offer: DealOffer
    name: str
    is_mine: bool
    is_over: bool  # the time is, and nobody has passed the deal on yet
    until: str
    left: str
    seconds: int


def _hold(request: PageRequest, offer: DealOffer) -> Hold:
    return Hold(
        offer=offer,
        name=offer.salesperson.user.get_full_name(),
        is_mine=offer.salesperson.user_id == request.user.pk,
        is_over=offer.until <= request.now,
        until=say_clock(offer.until, request.business.zone),
        left=timeuntil(offer.until, request.now),
        seconds=queries.seconds_left(offer, now=request.now),
    )


def _column(request: PageRequest, stage: str, *, is_mine: bool) -> HttpResponse:
    rows = queries.deals(request.business, mine=request.user if is_mine else None).filter(stage=stage)
    people = queries.with_people(rows)
    shown = paging.stretch(people, by="-created_at", after=request.GET.get("after", ""), size=PAGE)
    count = rows.count()
    context = {
        "label": DealStage(stage).label,
        "cards": [_card(request, row, back="mine" if is_mine else "board") for row in shown.rows],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": count,
        "noun": "deal" if count == 1 else "deals",
        "board_url": reverse("leads:deals", args=[request.business.slug]) + ("?mine=1" if is_mine else ""),
    }
    return render(request, "leads/deals_stage.html", context)


def _card(request: PageRequest, found: Any, *, back: str) -> dict[str, Any]:
    """A deal as leads/deal_card.html shows it."""
    hold = _hold(request, found.held_out[0]) if found.held_out else None
    lead: Lead = found.lead
    return {
        "deal": found,
        "who": who(lead),
        "wants": lead.service.name if lead.service else lead.asked_for,
        "url": reverse("leads:deal", args=[request.business.slug, found.number]),
        "value": _worth(found),
        "expected": _expected(request, found),
        "is_overdue": _is_overdue(request, found),
        "hold": hold,
        "closed": say_when(found.closed_at, now=request.now, zone=request.business.zone) if found.closed_at else "",
        "next": _next(found),
        "back": back,
    }


def _deal_page(
    request: PageRequest, found: Deal, *, editing: DealForm | None = None, giving: GiveForm | None = None,
    passing: PassForm | None = None, status: int = 200,
) -> HttpResponse:  # fmt: skip
    lead, is_open = found.lead, found.closed_at is None
    offers = queries.asked(found)
    waiting = next((offer for offer in offers if offer.status == OfferStatus.OPEN), None)
    hold = _hold(request, waiting) if waiting is not None else None
    is_mine = hold is not None and hold.is_mine
    lines = talk.lines(lead)
    customer = lead.customer
    context = {
        "deal": found,
        "lead": lead,
        "customer": customer,
        "who": who(lead),
        "phone": phones.pretty(customer.phone, region=request.business.region) if customer and customer.phone else "",
        "consent": ground.consent_state(customer) if customer else None,
        "warning": pipeline.warning(lead),
        "wants": lead.service.name if lead.service else lead.asked_for,
        "price": say_price(lead.service) if lead.service else "",
        "score": _score(found),
        "lines": [
            {"who": _SAID_BY.get(line.who, who(lead)), "kind": line.who, "text": line.text, "at": line.at}
            for line in lines[-LAST_LINES:]
        ],
        "earlier": max(0, len(lines) - LAST_LINES),
        "hold": hold,
        "may_accept": is_open and found.owner_id is None and (hold is None or hold.is_mine or hold.is_over),
        "may_pass": is_mine,
        "offers": offers,
        "moves": [_told(row) for row in queries.moves(found)],
        "value": _worth(found),
        "expected": _expected(request, found),
        "is_overdue": _is_overdue(request, found),
        "is_open": is_open,
        "next": _next(found),
        "lost": DealStage.LOST,
        "editing": editing or DealForm(initial={"value": found.value, "expected_on": found.expected_on}),
        "giving": giving or GiveForm(business=request.business, initial={"to": found.owner_id}),
        "passing": passing or PassForm(),
        "is_passing": passing is not None,
    }
    return render(request, "leads/deal.html", context, status=status)


def _score(found: Deal) -> dict[str, Any]:
    """The assessment that justified the transfer, in words."""
    made = found.assessment
    parts = [{"points": f"+{factor['points']}", "text": factor["text"]} for factor in made.factors]
    if made.reading:
        parts.append({"points": f"{made.reading:+}", "text": made.summary or "What the conversation says."})
    if made.silence:
        parts.append({"points": f"{made.silence:+}", "text": "They had been silent."})
    return {
        "value": f"{made.score:.2f}",
        "is_over_gate": made.score >= scoring.GATE,
        "parts": parts,
        "evidence": made.evidence,
        "summary": made.summary,
        "at": made.created_at,
        "model": made.model,
    }


def _told(row: StageChange) -> dict[str, Any]:
    """A move in the words of the boards."""
    labels = DealStage if row.is_deal else Stage
    return {"row": row, "old": labels(row.old).label, "new": labels(row.new).label}


def _next(found: Deal) -> dict[str, Any] | None:
    """The stage that follows, and whether it asks first; none when the deal is closed."""
    following = [DealStage(to) for to in lifecycle.DEAL[found.stage] if to != DealStage.LOST]
    if not following:
        return None
    return {"to": following[0], "label": following[0].label, "asks": following[0] in _ASKS_FIRST}


def _worth(found: Deal) -> str:
    return say_money(found.value) if found.value is not None else ""


def _is_overdue(request: PageRequest, found: Deal) -> bool:
    today = request.now.astimezone(request.business.zone).date()
    return found.closed_at is None and found.expected_on is not None and found.expected_on < today


def _expected(request: PageRequest, found: Deal) -> str:
    """“by Nov 24”, “overdue since Nov 3”; with the year where it is another one."""
    day = found.expected_on
    if day is None or found.closed_at is not None:
        return ""
    year = "" if day.year == request.now.astimezone(request.business.zone).year else f", {day.year}"
    return f"{'Overdue since' if _is_overdue(request, found) else 'Expected by'} {day:%b} {day.day}{year}"


def _moved(found: Deal, to: DealStage) -> str:
    if to == DealStage.PAID:
        worth = _worth(found)
        return f"Paid: {who(found.lead)}{', ' + worth if worth else ''}. Well done."
    if to == DealStage.LOST:
        return f"Written down: {who(found.lead)} is lost."
    return f"{who(found.lead)}: {to.label.lower()}."


def _act(request: PageRequest, number: int, act: Callable[[Deal], str], *, back: str) -> HttpResponse:
    """Do something to a deal: the sentence it answers with when it was done, the reason when it was not."""
    found = deal_or_404(request, number)
    try:
        messages.success(request, act(found))
    except Refused as reason:
        messages.error(request, str(reason))
    return _back(request, found, back)


def _back(request: PageRequest, found: Deal, back: str) -> HttpResponse:
    slug = request.business.slug
    if back == "today":
        return redirect("leads:today", slug)
    if back in ("board", "mine"):
        return redirect(reverse("leads:deals", args=[slug]) + ("?mine=1" if back == "mine" else ""))
    return redirect("leads:deal", slug, found.number)
