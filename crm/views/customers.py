"""Customers: who they are, what they allowed, what happened; and two rows that turn out to be one person."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crm import cards, flash, paging, phones, queries, services
from crm.access import PageRequest, business_page
from crm.enums import Channel
from crm.forms import CustomerForm, MergeForm, OptOutForm
from crm.idempotency import DifferentRequest, claim
from crm.models import Conversation, Customer, CustomerMerge
from crm.services import Refused
from crm.views.front import opens_at
from crm.views.inbox import conversation_row, searched
from crm.wording import initials, say_noun, say_when

PAGE: Final = 40
CHOICES: Final = 20  # customers offered to choose from; a search narrows it down
_SORTS: Final = {"": ("-created_at", "Newest first"), "name": ("name", "By name")}


@require_safe
@business_page("customers")
def customers(request: PageRequest) -> HttpResponse:
    words, sort = searched(request), request.GET.get("sort", "")
    if sort not in _SORTS:
        sort = ""
    found = queries.customers(request.business, words=words)
    shown = paging.stretch(found, by=_SORTS[sort][0], after=request.GET.get("after", ""), size=PAGE)
    count = found.count()
    context = {
        "rows": [customer_row(request, row) for row in shown.rows],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": count,
        "noun": say_noun(count, "customer", "customers"),
        "search": words,
        "clear_url": reverse("crm:customers", args=[request.business.slug]) if words or sort else "",
        "filters": [
            {
                "name": "sort",
                "label": "Order",
                "options": [
                    {"value": key, "label": label, "selected": key == sort} for key, (_, label) in _SORTS.items()
                ],
            }
        ],
    }
    return render(request, "crm/customers.html", context)


@require_safe
@business_page("customers")
def customer(request: PageRequest, pk: UUID) -> HttpResponse:
    person = _customer(request, pk)
    if person.merged_into_id is not None:
        return redirect("crm:customer", request.business.slug, person.merged_into_id)
    show = request.GET.get("show", "")
    history = queries.history(person, show=show, before=_moment(request.GET.get("before", "")))
    here = reverse("crm:customer", args=[request.business.slug, person.pk])
    kinds = [("", "Everything"), ("texts", "Texts"), *((key, label) for key, (label, _) in queries.SHOWN.items())]
    threads = queries.threads(person)
    context = {
        "customer": person,
        "phone": phones.pretty(person.phone, region=request.business.region) if person.phone else "",
        "consent": queries.consent_state(person),
        "threads": [conversation_row(request, row) | {"title": _how(request, row)} for row in threads],
        "text_thread": next((t for t in threads if t.channel == Channel.SMS and t.their_address == person.phone), None),
        "merges": queries.merges(person),
        "panels": cards.panels(person, request.now),
        "story": [{"line": line, "url": opens_at(request, line.about)} for line in history.happened],
        "before": history.before,
        "is_first": "before" not in request.GET,
        "show": show,
        "tabs": [
            {"label": label, "url": f"{here}?show={key}#story" if key else f"{here}#story", "current": key == show}
            for key, label in kinds
        ],
    }
    return render(request, "crm/customer.html", context)


@require_http_methods(["GET", "POST"])
@business_page("customers", write=True)
def add(request: PageRequest) -> HttpResponse:
    """A new customer. With `then=book` the way leads on to their first appointment."""
    then = "book" if request.GET.get("then") == "book" else ""
    if request.method == "GET":
        return _form_page(
            request, CustomerForm(business=request.business, initial={"name": searched(request)}), then=then
        )
    form = CustomerForm(request.POST, business=request.business)
    if not form.is_valid():
        return _form_page(request, form, then=then, status=422)
    fields = form.fields_of_customer()
    try:
        with transaction.atomic():
            mine = claim(
                business=request.business, scope="customer", key=str(form.cleaned_data["once"]), payload=fields
            )
            if not mine.is_repeat:
                added = services.add_customer(
                    business=request.business, fields=fields, actor=request.user, now=request.now
                )
                mine.keep(status=200, answer={"customer": str(added.pk)})
                messages.success(request, f"{added} is on file.")
        pk = mine.answer["customer"] if mine.is_repeat else added.pk
    except Refused as reason:
        form.add_error("phone", str(reason))
        known = services.find_customer(business=request.business, phone=fields["phone"])
        return _form_page(request, form, then=then, known=known, status=422)
    except DifferentRequest:
        form.new_token()
        form.add_error(None, "This form was sent before with other words. Save again to add a second customer.")
        return _form_page(request, form, then=then, status=409)
    if then == "book":
        return redirect(f"{reverse('booking:new', args=[request.business.slug])}?customer={pk}")
    return redirect("crm:customer", request.business.slug, pk)


@require_http_methods(["GET", "POST"])
@business_page("customers", write=True)
def edit(request: PageRequest, pk: UUID) -> HttpResponse:
    person = _standing(request, pk)
    if request.method == "GET":
        return _form_page(request, CustomerForm(business=request.business, customer=person), person=person)
    form = CustomerForm(request.POST, business=request.business)
    if not form.is_valid():
        return _form_page(request, form, person=person, status=422)
    changes = form.fields_of_customer()
    if changes["phone"] == person.phone:
        del changes["phone_raw"]  # the same number written another way is no change
    try:
        services.update_customer(customer=person, changes=changes, actor=request.user, now=request.now)
    except Refused as reason:
        form.add_error("phone", str(reason))
        known = services.find_customer(business=request.business, phone=changes["phone"])
        return _form_page(request, form, person=person, known=known, status=422)
    messages.success(request, f"{person} is saved.")
    return redirect("crm:customer", request.business.slug, person.pk)


@require_POST
@business_page("customers", write=True)
def text(request: PageRequest, pk: UUID) -> HttpResponse:
    """To the thread with this customer, opened if there is none yet."""
    person = _standing(request, pk)
    try:
        with transaction.atomic():
            conversation = services.open_thread(business=request.business, customer=person, now=request.now)
    except Refused as reason:
        messages.error(request, str(reason))
        return redirect("crm:customer", request.business.slug, person.pk)
    return redirect("crm:thread", request.business.slug, conversation.pk)


@require_http_methods(["GET", "POST"])
@business_page("customers", write=True)
def opt_out(request: PageRequest, pk: UUID) -> HttpResponse:
    """They told a person that they want no texts. Only they can take that back, so the page asks for their words."""
    person = _standing(request, pk)
    form = OptOutForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.record_opt_out(
                business=request.business,
                customer=person,
                words=form.cleaned_data["words"],
                user=request.user,
                now=request.now,
            )
        except Refused as reason:
            form.add_error(None, str(reason))
        else:
            messages.success(request, f"Written down. {person} gets no more texts.")
            return redirect("crm:customer", request.business.slug, person.pk)
    status = 422 if request.method == "POST" else 200
    return render(request, "crm/opt_out.html", {"customer": person, "form": form}, status=status)


@require_http_methods(["GET", "POST"])
@business_page("customers", write=True)
def merge(request: PageRequest, pk: UUID) -> HttpResponse:
    """First choose who else this is, then see both side by side, then merge."""
    person = _standing(request, pk)
    form = MergeForm({"keep": "this", **(request.POST if request.method == "POST" else request.GET).dict()})
    if "other" not in form.data:
        return _choose_other(request, person)
    if not form.is_valid():
        raise BadRequest("This address names no customer to merge with.")
    other = _standing(request, form.cleaned_data["other"])
    keeps_this = form.cleaned_data["keep"] == "this"
    kept, dropped = (person, other) if keeps_this else (other, person)
    if request.method == "POST":
        try:
            done = services.merge_customers(kept=kept, dropped=dropped, actor=request.user, now=request.now)
        except Refused as reason:
            messages.error(request, str(reason))
            return redirect("crm:customer", request.business.slug, person.pk)
        undo = reverse("crm:undo_merge", args=[request.business.slug, done.pk])
        flash.offer_undo(request, sentence=f"{dropped} is now part of {kept}.", url=undo)
        return redirect("crm:customer", request.business.slug, kept.pk)
    context = {
        "customer": person, "other": other, "kept": kept, "dropped": dropped, "keep": form.cleaned_data["keep"],
        "turned": "other" if keeps_this else "this", "rows": queries.merge_preview(kept, dropped),
    }  # fmt: skip
    return render(request, "crm/merge.html", context)


@require_POST
@business_page("customers", write=True)
def undo_merge(request: PageRequest, pk: UUID) -> HttpResponse:
    rows = CustomerMerge.objects.for_business(request.business).select_related("dropped")
    done: CustomerMerge = get_object_or_404(rows, pk=pk)
    try:
        services.undo_merge(merge=done, actor=request.user, now=request.now)
    except Refused as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, f"{done.dropped} stands alone again.")
    return redirect("crm:customer", request.business.slug, done.kept_id)


# --- Inside ----------------------------------------------------------------------------------------------------------


def customer_row(request: PageRequest, person: Customer, *, url: str = "") -> dict[str, Any]:
    """A customer as components/list_row.html shows them."""
    number = phones.pretty(person.phone, region=request.business.region) if person.phone else ""
    return {
        "url": url or reverse("crm:customer", args=[request.business.slug, person.pk]),
        "title": person.name or number or str(person),
        "initials": initials(person.name),
        "icon": "" if initials(person.name) else "user",
        "sentence": " · ".join(
            part for part in (number if person.name else "", person.address, ", ".join(person.tags)) if part
        ),
        "time": say_when(person.created_at, now=request.now, zone=request.business.zone),
    }


def _customer(request: PageRequest, pk: UUID) -> Customer:
    person: Customer = get_object_or_404(Customer.objects.for_business(request.business), pk=pk)
    person.business = request.business
    return person


def _standing(request: PageRequest, pk: UUID) -> Customer:
    """For changes: a customer that was merged away has none of its own any more."""
    person: Customer = get_object_or_404(Customer.objects.for_business(request.business).standing(), pk=pk)
    person.business = request.business
    return person


def _choose_other(request: PageRequest, person: Customer) -> HttpResponse:
    words = searched(request)
    found = queries.customers(request.business, words=words).exclude(pk=person.pk)
    here = reverse("crm:merge", args=[request.business.slug, person.pk])
    count, newest = found.count(), found.order_by("-created_at", "-id")[:CHOICES]
    context = {
        "customer": person,
        "rows": [customer_row(request, row, url=f"{here}?other={row.pk}") for row in newest],
        "count": count,
        "noun": say_noun(count, "other", "others"),
        "search": words,
        "clear_url": here if words else "",
    }
    return render(request, "crm/merge_choose.html", context)


def _form_page(
    request: PageRequest, form: CustomerForm, *, person: Customer | None = None, known: Customer | None = None,
    then: str = "", status: int = 200,
) -> HttpResponse:  # fmt: skip
    """`known` is who has the number that was entered."""
    context = {"form": form, "customer": person, "known": known, "then": then}
    return render(request, "crm/customer_form.html", context, status=status)


def _how(request: PageRequest, conversation: Conversation) -> str:
    """“Text · (518) 555-0191”: among one person's threads, the way is what tells them apart."""
    number = phones.pretty(conversation.their_address, region=request.business.region)
    return f"{conversation.get_channel_display()} · {number}"


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
