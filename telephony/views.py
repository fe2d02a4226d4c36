"""The simulator: two phones, a pretend carrier between them, and the machine room behind.

The demo businesses are open to everybody who can reach the page, so that it can be tried before anything is set up.
Members find their own businesses here too, platform staff all; nobody finds another's. With a real carrier connected
it is closed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.forms import Form, ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from crm.enums import MessageStatus
from crm.models import Business
from crm.phones import pretty
from crm.scoping import only
from crm.security import sender
from telephony import simulator
from telephony.demo.businesses import JANE_PHONE, is_demo
from telephony.forms import PhoneForm, TextForm, WeatherForm
from telephony.gateways import simulated
from telephony.models import CarrierSwitches
from telephony.simulator import Handset, MachineRoom

POSTS_A_MINUTE: Final = 60  # by one address
PATIENCE: Final = timedelta(seconds=20)  # a text that should have moved and has not for so long is stuck

View = Callable[..., HttpResponse]


def on_the_simulated_line(view: View) -> View:
    """Only while no real carrier is connected; what is typed here must never reach a real phone."""

    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if settings.CARRIER != "simulated":
            return render(request, "telephony/simulator_closed.html", status=404)
        if request.method == "POST" and _too_many(request):
            return render(request, "429.html", {"wait": "a minute"}, status=429)
        return view(request, *args, **kwargs)

    return never_cache(checked)


@require_GET
@on_the_simulated_line
def page(request: HttpRequest) -> HttpResponse:
    """`GET /simulator/?business=…&phone=…`"""
    choices = simulator.open_to(request.user)
    if not choices:
        return render(request, "telephony/simulator_empty.html", status=200)
    business = _chosen(choices, request.GET.get("business") or choices[0].slug)
    phone, problem = _phone(business, request.GET.get("phone", ""))
    with only(business), timezone.override(business.zone):
        context = _what_is_seen(business, phone) | {
            "choices": choices,
            "own": [row for row in choices if not is_demo(row)],
            "familiar": simulator.familiar(business),
            "chips": simulator.chips(business),
            "problem": problem,
            "typed": request.GET.get("phone", "") if problem else phone,
            "weather": WeatherForm(instance=simulated.switches(), auto_id="weather_%s"),
        }
        return render(request, "telephony/simulator.html", context)


@require_GET
@on_the_simulated_line
def live(request: HttpRequest) -> HttpResponse:
    """What changed since `seen`; 204 when nothing did."""
    business, phone = _addressed(request, request.GET)
    with only(business), timezone.override(business.zone):
        context = _what_is_seen(business, phone)
        if context["seen"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        if context["last"] != request.GET.get("last"):
            context["heard"] = _read_aloud(context["customer"], context["owner"])
        return render(request, "telephony/simulator_live.html", context)


@require_POST
@on_the_simulated_line
def send(request: HttpRequest) -> HttpResponse:
    """Somebody writes on one of the phones: through the signed webhook, like any text."""
    business, phone = _addressed(request, request.POST)
    number = simulator.number_of(business)
    form = TextForm(request.POST)
    if not form.is_valid():
        messages.error(request, _first_problem(form))
    elif not number:
        messages.error(request, f"{business} has no number to text.")
    else:
        writer = phone if form.cleaned_data["hand"] == "customer" else business.owner_phone
        if not writer or writer == number:
            messages.error(request, "This phone has no number of its own yet.")
        else:
            delivery = simulated.text_us(from_number=writer, to_number=number, body=form.cleaned_data["words"])
            simulated.tick()  # what has no delay arrives now, as on a good line
            if delivery.status != 200:
                messages.warning(request, f"Our webhook answered {delivery.status}. The machine room knows more.")
    return _back(request, business, phone)


@require_POST
@on_the_simulated_line
def weather(request: HttpRequest) -> HttpResponse:
    """Set the demo carrier's weather, or (`reset`) end it."""
    business, phone = _addressed(request, request.POST)
    if "reset" in request.POST:
        CarrierSwitches.objects.filter(pk=1).delete()
        messages.success(request, "The weather is fine again. What waits in the outbox goes out by itself.")
        return _back(request, business, phone)
    form = WeatherForm(request.POST, instance=simulated.switches())
    if form.is_valid():
        form.save()
        messages.success(request, "The weather has changed, for every phone of this installation.")
    else:
        messages.error(request, _first_problem(form))
    return _back(request, business, phone)


@require_POST
@on_the_simulated_line
def forge(request: HttpRequest) -> HttpResponse:
    """A letter to our webhook that the carrier did not sign."""
    business, phone = _addressed(request, request.POST)
    status = simulator.forge(number=simulator.number_of(business))
    messages.success(
        request, f"The forged letter was turned away with {status}: signature not accepted. Nobody read it."
    )
    return _back(request, business, phone)


# --- Inside ---------------------------------------------------------------------------------------------------------


def _too_many(request: HttpRequest) -> bool:
    """By the minute and the address. With Redis away nobody is counted."""
    key = f"simulator:{sender(request)}:{timezone.now():%H%M}"
    cache.add(key, 0, timeout=120)
    try:
        return cache.incr(key) > POSTS_A_MINUTE
    except ValueError:
        return False


def _chosen(choices: list[Business], slug: str) -> Business:
    """One of those the visitor may see; another's business and one that never was look the same."""
    for business in choices:
        if business.slug == slug:
            return business
    raise Http404


def _addressed(request: HttpRequest, fields: Any) -> tuple[Business, str]:
    """Business and customer's phone of a request. A number that cannot be one is Jane's."""
    business = _chosen(simulator.open_to(request.user), fields.get("business", ""))
    return business, _phone(business, fields.get("phone", ""))[0]


def _phone(business: Business, typed: str) -> tuple[str, str]:
    """The number, and what is wrong with what was typed (then it is Jane's)."""
    if not typed:
        return JANE_PHONE, ""
    form = PhoneForm({"phone": typed}, business=business, our_number=simulator.number_of(business))
    if form.is_valid():
        return form.cleaned_data["phone"], ""
    return JANE_PHONE, _first_problem(form)


def _what_is_seen(business: Business, phone: str) -> dict[str, Any]:
    now = timezone.now()
    number = simulator.number_of(business)
    customer = simulator.handset(phone=phone, number=number, zone=business.zone, now=now)
    owner = simulator.handset(phone=business.owner_phone, number=number, zone=business.zone, now=now)
    room = simulator.machine_room(
        business=business, phones=[one for one in (phone, business.owner_phone) if one], now=now
    )
    switches = simulated.switches()
    seen = simulator.fingerprint(
        [(line.sid, line.trouble) for line in (*customer.lines, *owner.lines)],
        [(one.in_air, one.lands_at, one.lost, one.fresh) for one in (customer, owner)],
        [(row.event.pk, row.event.step, row.event.reason) for row in (*room.letters, *room.reports)],
        [(row.pk, row.status, row.attempts, row.provider_sid, row.error, row.delay_reason) for row in room.outbox],
        [(row.pk, row.count) for row in room.turned_away],
        [switches.delay_seconds, switches.lose_percent, switches.duplicate_percent, switches.reorder, switches.fail],
        f"{now.astimezone(business.zone):%H:%M}",
        stuck := _nobody_moves_them(room, [customer, owner], now=now, down=switches.fail),
    )
    last = simulator.fingerprint([[line.sid for line in one.lines if not line.mine][-1:] for one in (customer, owner)])
    query = urlencode({"business": business.slug, "phone": phone})
    return {
        "business": business,
        "phone": phone,
        "number": number,
        "number_pretty": pretty(number),
        "customer": customer,
        "owner": owner,
        "room": room,
        "switches": switches,
        "now": now,
        "stuck": stuck,
        "seen": seen,
        "last": last,
        "here": f"{reverse('telephony:simulator')}?{query}",
        "live_url": f"{reverse('telephony:simulator-live')}?{query}&seen={seen}&last={last}",
    }


def _nobody_moves_them(room: MachineRoom, handsets: list[Handset], *, now: datetime, down: bool) -> bool:
    """Something should have moved long ago: the schedule or the worker is not running."""
    overdue = now - PATIENCE
    if any(one.lands_at is not None and one.lands_at < overdue for one in handsets):
        return True
    waiting = [row.due_at for row in room.outbox if row.status == MessageStatus.QUEUED and row.due_at is not None]
    return not down and any(due_at < overdue for due_at in waiting)


def _read_aloud(customer: Handset, owner: Handset) -> str:
    """The newest text on either phone, for those who listen to the page."""
    newest = [
        (line.at, f"On the {whose} phone: {line.body}")
        for whose, handset in (("customer's", customer), ("owner's", owner))
        for line in [one for one in handset.lines if not one.mine][-1:]
    ]
    return max(newest)[1] if newest else ""


def _back(request: HttpRequest, business: Business, phone: str) -> HttpResponse:
    """To the page; or, for htmx, what is on the phones now."""
    if not getattr(request, "htmx", False):
        return redirect(f"{reverse('telephony:simulator')}?{urlencode({'business': business.slug, 'phone': phone})}")
    with only(business), timezone.override(business.zone):
        return render(request, "telephony/simulator_live.html", _what_is_seen(business, phone) | {"told": True})


def _first_problem(form: Form | ModelForm) -> str:
    return str(next(iter(form.errors.values()))[0])
