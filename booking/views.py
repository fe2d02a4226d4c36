"""The calendar: the week, one appointment and what can be done about it, a new one; and how the house is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from booking import calendar, services, texts
from booking.enums import UPCOMING, AppointmentStatus
from booking.forms import BookForm, CancelForm, SlotForm, WhatForm
from booking.models import Appointment, Service
from booking.services import CannotMove, SlotTaken
from booking.wording import say_length, say_slot_page
from crm import flash, messaging, phones, queries
from crm.access import PageRequest, business_page
from crm.enums import Author, MessageKind, MessageStatus
from crm.idempotency import DifferentRequest, claim
from crm.models import Customer, Membership, Message
from crm.services import tell_customer
from crm.views.customers import CHOICES, customer_row
from crm.views.inbox import searched
from crm.wording import say_noun

OWNER: Final = "owner"  # how it was booked
_ASKED: Final = (
    "customer",
    "service",
    "slot",
    "address",
    "notes",
    "emergency",
    "tell",
)  # what makes two bookings alike


@require_safe
@business_page("calendar")
def week(request: PageRequest) -> HttpResponse:
    day = calendar.read_day(request.GET.get("day", ""), business=request.business, now=request.now)
    shown = calendar.week(request.business, day=day, now=request.now)
    here = reverse("booking:calendar", args=[request.business.slug])
    context = {
        "week": shown,
        "noun": say_noun(shown.jobs, "job", "jobs"),
        "title": _week_title(shown.days[0].date, shown.days[-1].date),
        "day": day,
        "earlier": f"{here}?day={shown.days[0].date - calendar.WEEK}",
        "later": f"{here}?day={shown.days[0].date + calendar.WEEK}",
        "today": f"{here}#day-{calendar.read_day('', business=request.business, now=request.now)}",
    }
    return render(request, "booking/week.html", context)


@require_safe
@business_page("calendar")
def appointment(request: PageRequest, pk: UUID) -> HttpResponse:
    job = _appointment(request, pk)
    to_come, started = job.status in UPCOMING, job.starts_at <= request.now
    undoable = (
        job.status == AppointmentStatus.CANCELLED
        and job.cancelled_at is not None
        and request.now - job.cancelled_at <= services.UNDO_CANCEL_WITHIN
        and job.starts_at > request.now
    )
    context = {
        "job": job,
        "slot": _slot(job),
        "price": calendar.say_price(job),
        "phone": phones.pretty(job.customer.phone, region=request.business.region) if job.customer.phone else "",
        "can_confirm": to_come and job.status != AppointmentStatus.CONFIRMED and job.ends_at > request.now,
        "can_move": to_come,
        "can_finish": to_come and started,
        "undoable": undoable,
        "held": job.is_held(request.now),
        "story": queries.story_of(job.customer, f"appointment:{job.pk}"),
        "notice": _notice(request, job, "cancelled"),
    }
    return render(request, "booking/appointment.html", context)


@require_POST
@business_page("calendar", write=True)
def confirm(request: PageRequest, pk: UUID) -> HttpResponse:
    job = _appointment(request, pk)
    return _mark(
        request, job, services.confirm, said=f"{job.customer} will be there.", again="This was confirmed already."
    )


@require_POST
@business_page("calendar", write=True)
def complete(request: PageRequest, pk: UUID) -> HttpResponse:
    job = _appointment(request, pk)
    said = f"Done: {job.service_name} for {job.customer}."
    return _mark(request, job, services.complete, said=said, again="This was done already.")


@require_POST
@business_page("calendar", write=True)
def no_show(request: PageRequest, pk: UUID) -> HttpResponse:
    job = _appointment(request, pk)
    said = f"Written down: {job.customer} was not there."
    return _mark(request, job, services.mark_no_show, said=said, again="This was written down already.")


@require_http_methods(["GET", "POST"])
@business_page("calendar", write=True)
def cancel(request: PageRequest, pk: UUID) -> HttpResponse:
    """Asks once, naming the visit and the text that would be sent; then it can be undone for half an hour."""
    job = _appointment(request, pk)
    if request.method == "GET":
        if job.status not in UPCOMING:
            messages.error(request, "This visit cannot be cancelled any more.")
            return _back_to(job)
        return render(request, "booking/cancel.html", {"job": job, "notice": _notice(request, job, "cancelled")})
    form = CancelForm(request.POST)
    if not form.is_valid():
        raise BadRequest("This form is not one of ours.")
    try:
        with transaction.atomic():
            done = services.cancel(appointment=job, now=request.now, actor=request.user)
            told = _tell(request, job, "cancelled", wanted=form.cleaned_data["tell"]) if done else ""
    except CannotMove as reason:
        messages.error(request, str(reason))
        return _back_to(job)
    if not done:
        messages.info(request, "This was cancelled already.")
        return _back_to(job)
    undo = reverse("booking:undo_cancel", args=[request.business.slug, job.pk])
    sentence = f"{job.service_name} for {job.customer}, {_slot(job)}, is cancelled. {told}"
    flash.offer_undo(request, sentence=sentence.strip(), url=undo)
    return _back_to(job)


@require_POST
@business_page("calendar", write=True)
def undo_cancel(request: PageRequest, pk: UUID) -> HttpResponse:
    """Whoever heard that the visit was off hears that it is on again; a text that still waits is taken back instead."""
    job = _appointment(request, pk)
    cancelled_at = job.cancelled_at
    try:
        with transaction.atomic():
            services.undo_cancel(appointment=job, now=request.now, actor=request.user)
            withdrawn = _take_back_texts(request, job)
            heard = cancelled_at is not None and _heard_since(job, cancelled_at)
            told = _tell(request, job, "back", wanted=heard, withdrawn=withdrawn)
    except (CannotMove, SlotTaken) as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, f"{job.service_name} for {job.customer} is on again. {told}".strip())
    return _back_to(job)


@require_http_methods(["GET", "POST"])
@business_page("calendar", write=True)
def move(request: PageRequest, pk: UUID) -> HttpResponse:
    job = _appointment(request, pk)
    if job.status not in UPCOMING:
        messages.error(request, "This visit cannot be moved any more.")
        return _back_to(job)
    if request.method == "GET":
        return _move_page(request, job, SlotForm(business=request.business))
    form = SlotForm(request.POST, business=request.business)
    if not form.is_valid():
        return _move_page(request, job, form, status=422)
    starts_at, staff = form.cleaned_data["slot"]
    tell = form.cleaned_data["tell"]
    try:
        with transaction.atomic():
            mine = claim(
                business=request.business, scope="move", key=str(form.cleaned_data["once"]),
                payload=[str(job.pk), form.data["slot"], tell],
            )  # fmt: skip
            if not mine.is_repeat:
                services.reschedule(
                    appointment=job, starts_at=starts_at, staff=staff, now=request.now, actor=request.user
                )
                job.staff = staff
                told = _tell(request, job, "moved", wanted=tell)
                mine.keep(status=200, answer=None)
                messages.success(request, f"Moved to {_slot(job)} with {staff}. {told}".strip())
    except (SlotTaken, CannotMove) as reason:
        return _move_page(request, job, form, problem=str(reason), status=409)
    except DifferentRequest:
        form.new_token()
        return _move_page(
            request,
            job,
            form,
            problem="The form was sent before with another time. Send it again to move once more.",
            status=409,
        )
    return _back_to(job)


@require_http_methods(["GET", "POST"])
@business_page("calendar", write=True)
def new(request: PageRequest) -> HttpResponse:
    """A new appointment: first for whom, then what and when."""
    if request.method == "GET" and "customer" not in request.GET:
        return _choose_customer(request)
    if request.method == "GET":
        return _new_page(request, _customer(request, request.GET["customer"]), BookForm(business=request.business))
    form = BookForm(request.POST, business=request.business)
    customer = _customer(request, str(form["customer"].value()))
    if not form.is_valid():
        return _new_page(request, customer, form, status=422)
    said = form.cleaned_data
    starts_at, staff = said["slot"]
    try:
        with transaction.atomic():
            mine = claim(
                business=request.business, scope="book", key=str(said["once"]),
                payload={name: form.data.get(name, "") for name in _ASKED},
            )  # fmt: skip
            if not mine.is_repeat:
                wish = services.Request(
                    customer=customer, service=said["service"], address=said["address"], notes=said["notes"],
                    source=OWNER, is_emergency=said["emergency"],
                )  # fmt: skip
                job = services.book_at(
                    business=request.business,
                    request=wish,
                    staff=staff,
                    starts_at=starts_at,
                    now=request.now,
                    actor=request.user,
                )
                told = _tell(request, job, "booked", wanted=said["tell"])
                mine.keep(status=200, answer={"appointment": str(job.pk)})
                messages.success(
                    request, f"Booked: {job.service_name} for {customer}, {_slot(job)} with {staff}. {told}".strip()
                )
        pk = mine.answer["appointment"] if mine.is_repeat else job.pk
    except SlotTaken as reason:
        return _new_page(request, customer, form, problem=str(reason), status=409)
    except DifferentRequest:
        form.new_token()
        return _new_page(
            request,
            customer,
            form,
            problem="This form was sent before with other words. Send it again to book a second visit.",
            status=409,
        )
    return redirect("booking:appointment", request.business.slug, pk)


@require_safe
@business_page("settings")
def settings(request: PageRequest) -> HttpResponse:
    """How the business is set up, to read."""
    members = Membership.objects.filter(business=request.business).select_related("user").order_by("created_at", "pk")
    setup = calendar.setup_of(request.business, now=request.now)
    context = {
        "setup": setup,
        "services": [
            {
                "name": row.name,
                "length": say_length(timedelta(minutes=row.duration_minutes)),
                "price": calendar.say_price(row),
                "aliases": ", ".join(row.aliases),
            }
            for row in setup.services
        ],
        "numbers": [
            {
                "e164": number.e164,
                "shown": phones.pretty(number.e164, region=request.business.region),
                "label": number.label,
            }
            for number in request.business.numbers.all()
        ],
        "owner_phone": phones.pretty(request.business.owner_phone, region=request.business.region),
        "team": members,
    }
    return render(request, "booking/settings.html", context)


# --- Inside ----------------------------------------------------------------------------------------------------------


def _appointment(request: PageRequest, pk: UUID) -> Appointment:
    rows = Appointment.objects.for_business(request.business).select_related("customer", "staff", "service")
    job: Appointment = get_object_or_404(rows, pk=pk)
    job.business = job.customer.business = request.business
    return job


def _customer(request: PageRequest, text: str) -> Customer:
    try:
        pk = UUID(text)
    except ValueError as error:
        raise BadRequest("This address names no customer.") from error
    customer: Customer | None = Customer.objects.for_business(request.business).standing().filter(pk=pk).first()
    if customer is None:
        raise Http404
    customer.business = request.business
    return customer


def _mark(request: PageRequest, job: Appointment, act: Callable[..., bool], *, said: str, again: str) -> HttpResponse:
    """Do one of the acts that need no question: `said` when it was done now, `again` when it had been done before."""
    try:
        done = act(appointment=job, now=request.now, actor=request.user)
    except CannotMove as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, said if done else again)
    return _back_to(job)


def _back_to(job: Appointment) -> HttpResponse:
    return redirect("booking:appointment", job.business.slug, job.pk)


def _slot(job: Appointment) -> str:
    return say_slot_page(job.starts_at, job.ends_at, zone=job.business.time_zone)


def _week_title(first: date, last: date) -> str:
    if first.month == last.month:
        return f"{first:%B} {first.day}–{last.day}"
    return f"{first:%b} {first.day} – {last:%b} {last.day}"


@dataclass(frozen=True)
class Notice:
    """The text a customer would get, shown before it is sent: its words, and what would become of it."""

    who: str
    body: str
    will: str
    allowed: bool


def _first_name(customer: Customer) -> str:
    return customer.first_name or str(customer)


def _notice(request: PageRequest, job: Appointment, key: str) -> Notice:
    return _outlook(request, job.customer, texts.about(key, job))


def _outlook(request: PageRequest, customer: Customer, body: str) -> Notice:
    plan = queries.plan_notice(customer, body, now=request.now)
    return Notice(who=_first_name(customer), body=body, will=plan.sentence, allowed=plan.allowed)


def _tell(request: PageRequest, job: Appointment, key: str, *, wanted: bool, withdrawn: int = 0) -> str:
    """Text the customer about the visit as it stands now, if that is `wanted`; the sentence says what became of it.

    What still waits to be sent about it is taken back first: it is no longer true, and at night two texts would leave
    in either order. `withdrawn` counts what the caller has taken back already.
    """
    withdrawn += _take_back_texts(request, job)
    if not wanted:
        who = _first_name(job.customer)
        return f"A text to {who} about it had not gone out yet, and will not." if withdrawn else ""
    notice = _notice(request, job, key)
    sent = tell_customer(
        customer=job.customer, body=notice.body, kind=MessageKind.APPOINTMENT, now=request.now,
        about=f"appointment:{job.pk}", author=Author.STAFF,
    )  # fmt: skip
    if sent is None:
        # The day's budget is only looked at when a text is really sent, so the outlook may have been better than this.
        return (
            f"{notice.who} was not texted: the timeline says why."
            if notice.allowed
            else f"{notice.who} was not texted. {notice.will}"
        )
    return (
        f"{notice.who} was texted." if not sent.delay_reason else f"The text to {notice.who} waits: {sent.delay_reason}"
    )


def _take_back_texts(request: PageRequest, job: Appointment) -> int:
    return messaging.withdraw(
        customer=job.customer,
        about=f"appointment:{job.pk}",
        reason="Taken back before it left: the visit has changed since.",
        now=request.now,
    )


def _heard_since(job: Appointment, since: datetime) -> bool:
    """Whether a text about the visit has gone out since then, or is about to."""
    said = Message.objects.for_business(job.business).filter(customer=job.customer, about=f"appointment:{job.pk}")
    return said.filter(created_at__gte=since).exclude(status__in=[MessageStatus.REFUSED, MessageStatus.FAILED]).exists()


def _move_page(
    request: PageRequest, job: Appointment, form: SlotForm, *, problem: str = "", status: int = 200
) -> HttpResponse:
    day = _day_asked_for(request)
    times = calendar.free_times(request.business, duration=job.ends_at - job.starts_at, now=request.now, on=day)
    body = texts.say("moved", business=request.business, service=job.service_name, slot="(the new time)")
    context = {
        "job": job,
        "sentence": f"{job.service_name} for {job.customer}, now {_slot(job)}",
        "form": form,
        "times": times,
        "day": day,
        "problem": _with_free_times(problem, times),
        "notice": _outlook(request, job.customer, body),
        "untold": form.is_bound and not form["tell"].value(),
    }
    return render(request, "booking/move.html", context, status=status)


def _new_page(
    request: PageRequest, customer: Customer, form: BookForm, *, problem: str = "", status: int = 200
) -> HttpResponse:
    asked = request.POST if request.method == "POST" else request.GET
    services_on_offer = list(Service.objects.for_business(request.business).filter(is_active=True))
    chosen = next((row for row in services_on_offer if str(row.pk) == asked.get("service")), None)
    service = chosen or (services_on_offer[0] if services_on_offer else None)
    day = _day_asked_for(request)
    emergency = bool(asked.get("emergency"))
    what = WhatForm(business=request.business, initial={"service": service, "day": day, "emergency": emergency})
    times = calendar.FreeTimes(days=[])
    if service is not None:
        times = calendar.free_times(
            request.business,
            duration=timedelta(minutes=service.duration_minutes),
            now=request.now,
            on=day,
            is_emergency=emergency,
        )
    if not form.is_bound:
        form.initial["address"] = customer.address
    body = texts.say(
        "booked", business=request.business, service=service.name if service else "", slot="(the time you choose)"
    )
    context = {
        "customer": customer,
        "form": form,
        "what": what,
        "service": service,
        "emergency": emergency,
        "times": times,
        "day": day,
        "problem": _with_free_times(problem, times),
        "notice": _outlook(request, customer, body),
        "untold": form.is_bound and not form["tell"].value(),
    }
    return render(request, "booking/new.html", context, status=status)


def _choose_customer(request: PageRequest) -> HttpResponse:
    words = searched(request)
    found = queries.customers(request.business, words=words)
    here = reverse("booking:new", args=[request.business.slug])
    count, newest = found.count(), found.order_by("-created_at", "-id")[:CHOICES]
    context = {
        "rows": [customer_row(request, row, url=f"{here}?customer={row.pk}") for row in newest],
        "count": count,
        "noun": say_noun(count, "customer", "customers"),
        "search": words,
        "clear_url": here if words else "",
    }
    return render(request, "booking/choose_customer.html", context)


def _day_asked_for(request: PageRequest) -> date | None:
    asked = (request.POST if request.method == "POST" else request.GET).get("day", "")
    return calendar.read_day(asked, business=request.business, now=request.now) if asked else None


def _with_free_times(problem: str, times: calendar.FreeTimes) -> str:
    """“That time was just taken. Wed Nov 25 9:00 AM and Wed Nov 25 9:30 AM are free.”"""
    return f"{problem} {calendar.first_few(times)}".strip() if problem else ""
