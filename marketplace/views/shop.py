"""Looking for leads, filling the cart, buying."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from crm.access import PageRequest, business_page
from crm.idempotency import DifferentRequest, claim
from crm.services import Refused
from crm.wording import say_noun
from marketplace import age_buckets, cart, choosing, pricing, queries, tasks
from marketplace.allocation import MOST, Alternative, Criterion
from marketplace.choosing import Choice, Places
from marketplace.enums import BuyerStatus
from marketplace.forms import AddForm, ChangeForm, QuoteForm
from marketplace.models import Buyer, PricingRule, Purchase, Quote
from marketplace.pricing import NoPrice, say_money
from marketplace.services import buyers, purchases, returns
from marketplace.services.purchases import CannotBuy, Short
from marketplace.wording import (
    Standing,
    say_age,
    say_change,
    say_kind,
    say_leads,
    say_paying,
    say_place,
    say_span,
    say_standing,
    say_state,
    say_stock,
    say_wanted,
)
from marketplace.writers import NO_TEXTING_CONSENT, WHY_NO_TEXTING

PAGE: Final = 25  # leads of the preview
_ENDED: Final = (BuyerStatus.SUSPENDED, BuyerStatus.CLOSED)

_Kinds = dict[tuple[str, str], int]
_Rules = dict[tuple[str, str], PricingRule]


# --- Browse ----------------------------------------------------------------------------------------------------------


@require_safe
@business_page("buy")
def browse(request: PageRequest) -> HttpResponse:
    """What is for sale, by class and age, place by place, and the cart's door. Without a buyer's account: what this is."""
    buyer = buyer_of(request)
    if buyer is None:
        return render(request, "marketplace/welcome.html", _welcome(request))
    return render(request, "marketplace/browse.html", _shelf(request, buyer))


@require_safe
@business_page("buy")
def counts(request: PageRequest) -> HttpResponse:
    """The parts of the page that change with the filters. The browser's address follows them, and Back leaves the page."""
    here = reverse("marketplace:browse", args=[request.business.slug])
    buyer = buyer_of(request)
    if buyer is None or not request.htmx:
        query = request.GET.urlencode()
        return redirect(f"{here}?{query}" if query else here)
    context = _shelf(request, buyer)
    # The list of counties is left alone while it is the right one: somebody may be in the middle of it.
    context["new_counties"] = request.GET.get("shown", "") != context["shown"]
    response = render(request, "marketplace/counts.html", context)
    response["HX-Replace-Url"] = context["choice"].address(here)
    return response


def _shelf(request: PageRequest, buyer: Buyer) -> dict[str, Any]:
    places = queries.locations(now=request.now)
    choice = choosing.read(request.GET, places)
    wanted = choice.wanted
    rules = queries.rules_in_force(now=request.now)
    everywhere = queries.Filter(states=wanted.states, counties=wanted.counties)
    kinds, is_exact = queries.kinds_for(request.business, everywhere, now=request.now)
    count = sum(kinds.get(cell, 0) for cell in wanted.cells())
    try:
        found, after = queries.stretch(
            request.business, wanted, now=request.now, limit=PAGE, after=request.GET.get("after", "")
        )
    except (ValueError, OverflowError) as error:
        raise BadRequest("This address holds a place in the list that does not exist.") from error
    prices = [rules[cell].price for cell in wanted.cells() if kinds.get(cell) and cell in rules]
    standing = _standing(buyer)
    return {
        "choice": choice,
        "stock": say_stock(count, is_exact=is_exact, prices=prices, quantity=choice.quantity),
        "count": count,
        "noun": say_noun(count, "lead", "leads"),
        "table": _table(request, choice, kinds, rules),
        "states": _states(places, wanted),
        "counties": _counties(places, wanted),
        "shown": " ".join(wanted.states),
        "adding": _adding(request, choice, count, rules, standing),
        "looser": [] if count else _looser(request, choice, kinds),
        "rows": [_row(request, item) for item in found],
        "after": after,
        "is_first": "after" not in request.GET,
        "standing": standing,
        "cart": cart.current(request),
        "most": MOST,
    }


@dataclass(frozen=True)
class Cell:
    """One class of one age: how many, for how much, and the address that picks it, or lets go of it."""

    key: str
    classification: str
    age_bucket: str
    count: int
    price: Decimal | None
    url: str
    is_wanted: bool  # by the filters as they are
    is_picked: bool  # it and no other


def _table(request: PageRequest, choice: Choice, kinds: _Kinds, rules: _Rules) -> list[dict[str, Any]]:
    here = reverse("marketplace:browse", args=[request.business.slug])
    wanted = set(choice.wanted.cells())
    narrowed = bool(choice.wanted.classifications or choice.wanted.buckets)

    def cell(classification: str, bucket: str) -> Cell:
        rule = rules.get((classification, bucket))
        is_picked = wanted == {(classification, bucket)}
        pick = choice.but(classifications=(classification,), buckets=(bucket,))
        let_go = choice.but(classifications=(), buckets=())
        return Cell(
            key=f"{classification}-{bucket}",
            classification=classification,
            age_bucket=bucket,
            count=kinds.get((classification, bucket), 0),
            price=rule.price if rule else None,
            url=(let_go if is_picked else pick).address(here),
            is_wanted=narrowed and (classification, bucket) in wanted,
            is_picked=is_picked,
        )

    return [
        {
            "bucket": bucket,
            "label": say_age(bucket),
            "days": age_buckets.say_range(bucket),
            "checked": bucket in choice.wanted.buckets,
            "cells": [cell(classification, bucket) for classification in queries.CLASSES],
        }
        for bucket in age_buckets.NAMES
    ]


def _states(places: Places, wanted: queries.Filter) -> list[dict[str, Any]]:
    """Every state with something for sale, and those that are chosen."""
    names = sorted({*places, *wanted.states}, key=say_state)
    return [{"value": state, "label": say_state(state), "checked": state in wanted.states} for state in names]


def _counties(places: Places, wanted: queries.Filter) -> list[dict[str, Any]]:
    """The counties of the chosen states, state by state; those where everything has been sold since come last."""
    known = {county for state in wanted.states for county in places.get(state, ())}
    groups = [(say_state(state), places.get(state, ())) for state in wanted.states]
    groups.append(("Sold out", [county for county in wanted.counties if county not in known]))
    return [
        {
            "label": label,
            "options": [{"value": county, "checked": county in wanted.counties} for county in counties],
        }
        for label, counties in groups
        if counties
    ]


@dataclass(frozen=True)
class Adding:
    """The button that puts what is chosen into the cart, or (`why_not`) the sentence that says what is missing."""

    why_not: str = ""
    wanted: Criterion | None = None
    label: str = ""
    cost: Decimal = Decimal(0)
    once: uuid.UUID | None = None
    narrower: Sequence[dict[str, str]] = ()  # {label, url}: places to choose one of


def _adding(request: PageRequest, choice: Choice, count: int, rules: _Rules, standing: Standing | None) -> Adding:
    here = reverse("marketplace:browse", args=[request.business.slug])
    wanted = choice.kind
    if standing is not None or not request.may_write:
        return Adding(why_not="Buying is off for now." if standing is not None else "You may look here, not buy.")
    if not count:
        return Adding(why_not="There is nothing to add here.")
    if len(choice.wanted.classifications) != 1 or len(choice.wanted.buckets) != 1:
        return Adding(why_not="Pick one class and one age to buy: one tap in the table.")
    if wanted is None:
        one_state = len(choice.wanted.states) == 1
        places = choice.wanted.counties if one_state else choice.wanted.states
        return Adding(
            why_not=f"Leads are bought place by place. Pick one {'county' if one_state else 'state'}:",
            narrower=[
                {"label": place, "url": choice.but(counties=(place,)).address(here)}
                if one_state
                else {"label": say_state(place), "url": choice.but(states=(place,)).address(here)}
                for place in places
            ],
        )
    rule = rules.get((wanted.classification, wanted.age_bucket))
    if rule is None:
        return Adding(why_not="Nobody has said what these cost, so they cannot be bought yet.")
    wanted = replace(wanted, quantity=min(wanted.quantity, count))
    return Adding(
        wanted=wanted,
        label=f"Add {say_wanted(wanted)}",
        cost=pricing.total([(wanted.quantity, rule.price)]),
        once=uuid.uuid4(),
    )


def _looser(request: PageRequest, choice: Choice, kinds: _Kinds) -> list[dict[str, Any]]:
    """Which filters to let go of when nothing matches, each with how many leads there are then."""
    here = reverse("marketplace:browse", args=[request.business.slug])
    wanted = choice.wanted
    tries: list[tuple[str, Choice]] = []
    if wanted.counties:
        tries.append(("In any county", choice.but(counties=())))
    if wanted.states or wanted.counties:
        tries.append(("In any state", choice.but(states=())))
    if wanted.buckets:
        tries.append(("Of any age", choice.but(buckets=())))
    if wanted.classifications:
        tries.append(("Gold and Silver", choice.but(classifications=())))
    if len(tries) > 1:
        tries.append(("Everything", Choice(quantity=choice.quantity)))
    asked: dict[tuple[tuple[str, ...], ...], _Kinds] = {(wanted.states, wanted.counties): kinds}
    found = []
    for label, other in tries:
        place = (other.wanted.states, other.wanted.counties)
        if place not in asked:
            there = queries.Filter(states=place[0], counties=place[1])
            asked[place] = queries.kinds_for(request.business, there, now=request.now)[0]
        count = sum(asked[place].get(cell, 0) for cell in other.wanted.cells())
        if count:
            found.append({"label": label, "leads": say_leads(count), "url": other.address(here)})
    return found


def _row(request: PageRequest, item: queries.Listed) -> dict[str, Any]:
    """A lead as it may be seen before it is bought."""
    months = age_buckets.age_in_months(age_buckets.age_in_days(item.called_in_at, as_of=request.now))
    return {
        "name": item.first_name,
        "city": item.city,
        "county": item.county,
        "state": item.state,
        "age": f"{months} months",
        "classification": item.classification,
        "price": item.unit_price,
    }


def _welcome(request: PageRequest) -> dict[str, Any]:
    rules = queries.rules_in_force(now=request.now)
    return {
        "prices": [
            {
                "label": say_age(bucket),
                "prices": [
                    rule.price if (rule := rules.get((classification, bucket))) else None
                    for classification in queries.CLASSES
                ],
            }
            for bucket in age_buckets.NAMES
        ],
        "span": say_span(rule.price for rule in rules.values()) if rules else "",
        "no_texting": NO_TEXTING_CONSENT,
    }


# --- The cart --------------------------------------------------------------------------------------------------------


@require_safe
@business_page("buy")
def show_cart(request: PageRequest) -> HttpResponse:
    buyer = buyer_of(request)
    if buyer is None:
        return redirect("marketplace:browse", request.business.slug)
    quote = cart.current(request)
    if quote is None and cart.leads_in(request):
        cart.forget(request)  # bought meanwhile, by another way
    return _cart_page(request, buyer, quote)


@require_POST
@business_page("buy", write=True)
def add_line(request: PageRequest) -> HttpResponse:
    """So many leads of one kind into the cart: once, however often the button is hit."""
    form = AddForm(request.POST)
    back = reverse("marketplace:browse", args=[request.business.slug])
    if not form.is_valid():
        messages.error(request, form.sentence)
        return redirect(back)
    wanted = form.criterion()
    back = _choice_of(wanted).address(back)  # to what they were looking at
    try:
        _admit(request)
        with transaction.atomic():
            once = str(form.cleaned_data["once"])
            mine = claim(business=request.business, scope="cart", key=once, payload=asdict(wanted))
            if mine.is_repeat:
                return redirect(back)
            before = cart.current(request)
            criteria = cart.together([*(cart.criteria_of(before) if before else []), wanted])
            _in_stock(request, next(line for line in criteria if replace(line, quantity=wanted.quantity) == wanted))
            quote = cart.fill(request, criteria)
            mine.keep(status=200, answer=None)
    except (Refused, NoPrice) as reason:
        messages.error(request, _say(reason))
    except DifferentRequest:
        messages.error(request, "This page was out of date, so nothing was added. Add it again from here.")
    else:
        messages.success(request, f"{say_wanted(wanted)}: in the cart.")
        _tell_changes(request, before, quote)
    return redirect(back)


@require_POST
@business_page("buy", write=True)
def change_line(request: PageRequest) -> HttpResponse:
    """Another quantity or another kind in one line, or no such line. Made of the quote that was on the screen, so that a
    second click changes nothing more."""
    form = ChangeForm(request.POST)
    if not form.is_valid():
        if "quote" not in form.cleaned_data:
            raise BadRequest("This form names no cart.")
        messages.error(request, form.sentence)
        return redirect("marketplace:cart", request.business.slug)
    quote = _quote(request, form.cleaned_data["quote"])
    criteria, place = cart.criteria_of(quote), form.cleaned_data["line"]
    if place >= len(criteria):
        raise BadRequest("This form names a line that the cart does not have.")
    if form.cleaned_data["remove"]:
        del criteria[place]
    else:
        criteria[place] = form.criterion()
    return _requote(request, quote, criteria, asked=None if form.cleaned_data["remove"] else form.criterion())


@require_POST
@business_page("buy", write=True)
def renew(request: PageRequest) -> HttpResponse:
    """The same leads at the prices of now."""
    quote = _quote(request, _quote_id(request))
    return _requote(request, quote, cart.criteria_of(quote))


@require_POST
@business_page("buy", write=True)
def checkout(request: PageRequest) -> HttpResponse:
    """Buy the quote that was on the screen, whole. A second click finds it bought and shows the purchase."""
    quote = _quote(request, _quote_id(request))
    buyer = buyer_of(request)
    if buyer is None:
        return redirect("marketplace:browse", request.business.slug)
    try:
        bought = purchases.buy_quote(
            business=request.business, quote_id=quote.pk, by=signature(request), now=request.now
        )
    except Short as short:
        return _cart_page(request, buyer, quote, problem=_shortage(request, quote, short), status=409)
    except CannotBuy as refusal:
        return _already_bought(request, quote) or _refused(request, quote, refusal)
    cart.forget(request)
    tasks.wake(tasks.land_purchases)
    purchase = bought.purchase
    messages.success(request, f"Bought {say_leads(purchase.quantity)} for {say_money(purchase.total)}.")
    return redirect("marketplace:purchase", request.business.slug, purchase.pk)


# --- Inside ----------------------------------------------------------------------------------------------------------


def buyer_of(request: PageRequest) -> Buyer | None:
    """None: this business has not asked for access yet."""
    buyer = Buyer.objects.filter(business=request.business).first()
    if buyer is not None:
        buyer.business = request.business
    return buyer


def signature(request: PageRequest) -> str:
    """Who did it, as it is written down."""
    return request.user.get_full_name() or request.user.email


def _standing(buyer: Buyer) -> Standing | None:
    """Why they cannot buy, with the reason staff gave. None: they can."""
    return say_standing(buyer, reason=buyers.why(buyer) if buyer.status in _ENDED else "")


def _admit(request: PageRequest) -> None:
    """Raises Refused for those who may not buy."""
    buyer = buyer_of(request)
    if buyer is None:
        raise Refused("Ask for access first: it takes a minute.")
    standing = _standing(buyer)
    if standing is not None:
        raise Refused(f"{standing.title}. {standing.text}")


def _in_stock(request: PageRequest, wanted: Criterion) -> None:
    """Raises Refused when there are not so many. A cart holds no leads, so this is for information; the purchase decides."""
    count = purchases.count_available(business=request.business, criterion=wanted, now=request.now)
    if count < wanted.quantity:
        kind, left = say_kind(wanted), f"only {count:,} of {wanted.quantity:,} are" if count else "none is"
        raise Refused(f"{kind}: {left} left in stock for you, so the cart is as it was.")


def _choice_of(wanted: Criterion) -> Choice:
    return Choice(
        wanted=queries.Filter(
            classifications=(wanted.classification,),
            buckets=(wanted.age_bucket,),
            states=(wanted.state,) if wanted.state else (),
            counties=(wanted.county,) if wanted.county else (),
        ),
        quantity=wanted.quantity,
    )


def _quote_id(request: PageRequest) -> uuid.UUID:
    form = QuoteForm(request.POST)
    if not form.is_valid():
        raise BadRequest("This form names no cart.")
    found: uuid.UUID = form.cleaned_data["quote"]
    return found


def _quote(request: PageRequest, pk: uuid.UUID) -> Quote:
    quote: Quote = get_object_or_404(Quote.objects.for_business(request.business), pk=pk, kind="criteria")
    return quote


def _requote(
    request: PageRequest, quote: Quote, criteria: Sequence[Criterion], *, asked: Criterion | None = None
) -> HttpResponse:
    """A new cart in place of a quote. `asked` is what somebody wants more or else of."""
    there = _already_bought(request, quote)
    if there is not None:
        return there
    try:
        if asked is not None:
            _in_stock(request, asked)
        fresh = cart.fill(request, criteria)
    except (Refused, NoPrice) as reason:
        messages.error(request, _say(reason))
    else:
        _tell_changes(request, quote, fresh)
    return redirect("marketplace:cart", request.business.slug)


def _tell_changes(request: PageRequest, before: Quote | None, after: Quote | None) -> None:
    if before is None or after is None:
        return
    told = say_change(*([(line.wanted, line.price) for line in cart.lines_of(quote)] for quote in (before, after)))
    if told:
        messages.warning(request, told)


def _already_bought(request: PageRequest, quote: Quote) -> HttpResponse | None:
    """To the purchase that this quote has become, if it has."""
    purchase = Purchase.objects.for_business(request.business).filter(quote=quote).first()
    if purchase is None:
        return None
    if cart.current(request) is None:
        cart.forget(request)
    messages.info(
        request,
        f"{purchase} is bought: {say_leads(purchase.quantity)} for {say_money(purchase.total)}. Nothing was bought twice.",
    )
    return redirect("marketplace:purchase", request.business.slug, purchase.pk)


def _say(reason: Refused | NoPrice) -> str:
    if isinstance(reason, NoPrice):
        kind = f"{reason.classification}, {say_age(reason.bucket)}"
        return f"{kind}: nobody has said what these cost, so they cannot be bought now. The cart is as it was."
    return str(reason)


@dataclass(frozen=True)
class Problem:
    """Why nothing was bought, and what can be bought instead: forms that make another cart."""

    sentence: str
    place: int = -1  # the line it is about
    instead: Sequence[dict[str, Any]] = ()


def _refused(request: PageRequest, quote: Quote, refusal: CannotBuy) -> HttpResponse:
    buyer = buyer_of(request)
    assert buyer is not None, "refused for want of an account before"
    standing = _standing(buyer)
    if standing is not None:
        sentence = f"Nothing was bought. {standing.text}"
    elif pricing.has_expired(quote.expires_at, now=request.now):
        sentence = "Nothing was bought: the prices held for 15 minutes, and those are over. Get new prices first."
    else:
        sentence = f"Nothing was bought. {refusal}"
    return _cart_page(request, buyer, quote, problem=Problem(sentence), status=409)


def _shortage(request: PageRequest, quote: Quote, short: Short) -> Problem:
    criteria, place = cart.criteria_of(quote), short.index or 0
    wanted = short.criterion
    rules = queries.rules_in_force(now=request.now)

    def offer(other: Alternative) -> dict[str, Any] | None:
        """None when it has no price, or is no more than what is there already."""
        instead = replace(other.instead, quantity=min(wanted.quantity, other.available_count))
        after = [*criteria[:place], instead, *criteria[place + 1 :]]
        priced = [(rules.get((line.classification, line.age_bucket)), line.quantity) for line in after]
        if any(rule is None for rule, _ in priced):
            return None
        cost = pricing.total((quantity, rule.price) for rule, quantity in priced if rule is not None)
        return {
            "label": _say_instead(other, instead, wanted),
            "cost": f"The order then costs {say_money(cost)}.",
            "fields": asdict(instead) | {"line": place},
        }

    left = f"{short.available:,} of {wanted.quantity:,} are" if short.available else f"none of {wanted.quantity:,} is"
    return Problem(
        sentence=f"{say_kind(wanted)}: {left} left, so nothing was bought.",
        place=place,
        instead=[shown for other in short.alternatives if (shown := offer(other)) is not None],
    )


def _say_instead(other: Alternative, instead: Criterion, wanted: Criterion) -> str:
    if other.suggestion_type == "partial":
        return f"Take the {instead.quantity:,} that are left" if instead.quantity > 1 else "Take the one that is left"
    if other.suggestion_type == "no_location_filter":
        return f"Take {instead.quantity:,} from anywhere, not only {say_place(wanted.state, wanted.county)}"
    return f"Take {instead.quantity:,} that are {say_age(instead.age_bucket)} old"


def _cart_page(
    request: PageRequest, buyer: Buyer, quote: Quote | None, *, problem: Problem | None = None, status: int = 200
) -> HttpResponse:
    context: dict[str, Any] = {"quote": quote, "problem": problem, "standing": _standing(buyer)}
    if quote is not None:
        lines = cart.lines_of(quote)
        here = reverse("marketplace:browse", args=[request.business.slug])
        context |= {
            "lines": [
                {
                    "kind": say_kind(line.wanted),
                    "days": age_buckets.say_range(line.wanted.age_bucket),
                    "wanted": line.wanted,
                    "price": line.price,
                    "cost": line.cost,
                    "url": _choice_of(line.wanted).address(here),
                }
                for line in lines
            ],
            "leads": say_leads(quote.total_items),
            "seconds": cart.seconds_left(quote, now=request.now),
            "expired": pricing.has_expired(quote.expires_at, now=request.now),
            "paying": say_paying(buyer, cost=quote.subtotal),
            "allowance": returns.allowance(business=request.business, now=request.now).sentence,
            "no_texting": NO_TEXTING_CONSENT,
            "why_no_texting": WHY_NO_TEXTING,
            "most": MOST,
        }
    return render(request, "marketplace/cart.html", context, status=status)
