"""A buyer's account: how it stands, what was bought and paid, whom to take off one's lists, and whom one has already."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_date
from django.utils.timezone import make_aware
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crm import paging, phones
from crm.access import Page, PageRequest, business_page
from crm.services import Refused
from crm.wording import say_noun
from marketplace import accounts, documents, signing
from marketplace.enums import BuyerStatus, DeliveryStatus, GoneBecause, KnownFrom, Terms
from marketplace.forms_account import AskForm, KnownForm, SettingsForm, WebhookForm
from marketplace.models import Buyer, Invoice, InvoiceLine, KnownUpload, RecallNotice, WebhookDelivery
from marketplace.pricing import say_money
from marketplace.services import buyers, known, recalls, returns, webhooks
from marketplace.services import invoices as invoicing
from marketplace.views.front import site_of

STATEMENT: Final = 25  # lines of the statement on a page
PAGE: Final = 30  # invoices, recalls
LINES: Final = 100  # of an invoice on a page
RECENT: Final = 20  # uploads and deliveries that are shown
CLOSED: Final = (
    "This account is closed: you can read everything, and nothing can be changed. Write to us to open it again."
)


class BuyerRequest(PageRequest):
    """A request inside a business that has asked to buy, whatever became of it."""

    buyer: Buyer
    may_act: bool  # change something, in an account that is not closed
    may_manage: bool  # the same, for owners and admins


def buyer_page(*, write: bool = False, act: bool = False, manage: bool = False) -> Callable[[Page], Page]:
    """A page of the account; a business without one is led to where it can ask for it.

    `write`: viewers are refused. `act`: also everybody once the account is closed. `manage`: also all but owners and
    admins.
    """

    def decorate(view: Page) -> Page:
        @functools.wraps(view)
        def page(request: BuyerRequest, **kwargs: Any) -> HttpResponseBase:
            buyer = Buyer.objects.filter(business=request.business).first()
            if buyer is None and kwargs:  # about something of theirs, and they have nothing
                raise Http404
            if buyer is None:
                return redirect("marketplace:ask", request.business.slug)
            buyer.business = request.business
            is_closed, is_manager = buyer.status == BuyerStatus.CLOSED, request.membership.role in buyers.MANAGERS
            if is_closed and (act or manage):
                return _refused(request, CLOSED)
            if manage and not is_manager:
                return _refused(request, buyers.ONLY_MANAGERS.format(business=request.business))
            request.buyer = buyer
            request.may_act = request.may_write and not is_closed
            request.may_manage = request.may_act and is_manager
            return view(request, **kwargs)

        return business_page("buy", write=write or act or manage)(page)

    return decorate


def _refused(request: PageRequest, sentence: str) -> HttpResponse:
    return render(request, "crm/refused.html", {"sentence": sentence}, status=403)


# --- The account -------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@business_page("buy", write=True)
def ask(request: PageRequest) -> HttpResponse:
    """A business that is here already asks to buy leads."""
    if Buyer.objects.filter(business=request.business).exists():
        return redirect("marketplace:account", request.business.slug)
    if request.membership.role not in buyers.MANAGERS:
        return _refused(request, buyers.ONLY_MANAGERS.format(business=request.business))
    form = AskForm(request.POST or None, business=request.business, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            buyers.become_buyer(
                business=request.business,
                user=request.user,
                now=request.now,
                site=site_of(request),
                **form.cleaned_data,
            )
        except Refused as reason:  # the second click of two
            messages.info(request, str(reason))
        return redirect("marketplace:account", request.business.slug)
    return render(request, "marketplace/account/ask.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@buyer_page()
def overview(request: BuyerRequest) -> HttpResponse:
    business, buyer = request.business, request.buyer
    shown = accounts.statement(business, after=request.GET.get("after", ""), size=STATEMENT)
    context = {
        "buyer": buyer,
        "phone": phones.pretty(buyer.phone, region=business.region) if buyer.phone else "",
        "reason": buyers.why(buyer) if buyer.status in (BuyerStatus.SUSPENDED, BuyerStatus.CLOSED) else "",
        "tiles": _tiles(request),
        "allowance": returns.allowance(business=business, now=request.now),
        "lines": [{"line": line, "url": _url_of(request, line.entry.about)} for line in shown.lines],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "may_manage": request.may_manage,
    }
    return render(request, "marketplace/account/account.html", context)


def _tiles(request: BuyerRequest) -> list[dict[str, str]]:
    """What stands on the account, in numbers."""
    business, buyer = request.business, request.buyer
    tiles = [_balance_tile(buyer)]
    left = accounts.can_be_spent(buyer)
    if left is not None:
        limit = f"Balance and {say_money(buyer.credit_limit)} of credit." if buyer.credit_limit else "Your balance."
        tone = "" if left > 0 else "warning"
        tiles.append({"label": "Can be spent", "value": say_money(left), "sentence": limit, "tone": tone})
    owed = accounts.open_invoices(business, today=request.now.astimezone(business.zone).date())
    if owed.count or buyer.terms == Terms.INVOICED:
        late = f"{owed.overdue:,} past the due date." if owed.overdue else ""
        said = (
            f"{owed.count:,} {say_noun(owed.count, 'invoice', 'invoices')}. {late}" if owed.count else "Nothing open."
        )
        tiles.append(
            {
                "label": "Open invoices",
                "value": say_money(owed.total),
                "sentence": said.strip(),
                "icon": "file",
                "tone": "danger" if owed.overdue else "",
                "url": reverse("marketplace:invoices", args=[business.slug]),
            }  # fmt: skip
        )
    waiting = accounts.recalls_to_hear(business)
    if waiting:
        tiles.append(
            {
                "label": "Recalls to confirm",
                "value": f"{waiting:,}",
                "sentence": "People to take off your lists.",
                "icon": "ban",
                "tone": "danger",
                "url": reverse("marketplace:recalls", args=[business.slug]),
            }  # fmt: skip
        )
    return tiles


def _balance_tile(buyer: Buyer) -> dict[str, str]:
    if buyer.balance < 0:
        return {
            "label": "You owe",
            "value": say_money(-buyer.balance),
            "sentence": _when_to_pay(buyer),
            "icon": "dollar",
        }
    said = "Paid ahead." if buyer.balance else "Nothing owed, nothing paid ahead."
    return {"label": "Balance", "value": say_money(buyer.balance), "sentence": said, "icon": "dollar"}


def _when_to_pay(buyer: Buyer) -> str:
    if buyer.terms == Terms.PREPAID:
        return "Your next top-up settles it."
    days = invoicing.DUE_AFTER.days
    return f"We invoice at the beginning of each month, payable within {days} days."


def _url_of(request: BuyerRequest, about: str) -> str:
    """The page of what a line of the statement is about; empty: it has none."""
    kind, _, pk = about.partition(":")
    slug = request.business.slug
    if kind in ("purchase", "invoice"):
        return reverse(f"marketplace:{kind}", args=[slug, pk])
    return reverse("marketplace:returns", args=[slug]) if kind == "return" else ""


@require_http_methods(["GET", "POST"])
@buyer_page(manage=True)
def change(request: BuyerRequest) -> HttpResponse:
    form = SettingsForm(request.POST or None, buyer=request.buyer)
    if request.method == "POST" and form.is_valid():
        changed = buyers.change_settings(
            business=request.business, actor=request.user, now=request.now, site=site_of(request), **form.cleaned_data
        )
        messages.success(request, "Saved.")
        if changed.email != request.buyer.email:
            then = " You can buy again after that." if changed.approved_at else ""
            messages.warning(request, f"Open the link we sent to {changed.email}.{then}")
        return redirect("marketplace:account", request.business.slug)
    return render(request, "marketplace/account/settings.html", {"form": form}, status=422 if form.errors else 200)


@require_POST
@buyer_page(write=True)
def send_link(request: BuyerRequest) -> HttpResponse:
    """The link that confirms the address, once more."""
    try:
        buyers.send_verification(buyer=request.buyer, now=request.now, site=site_of(request))
        messages.success(request, f"A new link is on its way to {request.buyer.email}.")
    except Refused as reason:
        messages.info(request, str(reason))
    return redirect("marketplace:account", request.business.slug)


# --- Invoices ----------------------------------------------------------------------------------------------------------


@require_safe
@buyer_page()
def invoices(request: BuyerRequest) -> HttpResponse:
    business = request.business
    found = Invoice.objects.for_business(business).select_related("business")
    shown = paging.stretch(found, by="-issued_at", after=request.GET.get("after", ""), size=PAGE)
    count = found.count()
    owed = accounts.open_invoices(business, today=request.now.astimezone(business.zone).date())
    context = {
        "buyer": request.buyer,
        "rows": [_invoice_row(row, now=request.now) for row in shown.rows],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": count,
        "noun": say_noun(count, "invoice", "invoices"),
        "owed": owed,
        "to_come": -request.buyer.balance - owed.total,  # what is on no invoice yet
    }
    return render(request, "marketplace/account/invoices.html", context)


def _invoice_row(row: Invoice, *, now: datetime) -> dict[str, Any]:
    zone = row.business.zone
    if row.paid_at is not None:
        label, tone, icon = "Paid", "success", "check"
    elif row.due_on < now.astimezone(zone).date():
        label, tone, icon = "Past due", "danger", "circle-alert"
    else:
        label, tone, icon = "To be paid", "warning", "clock"
    last = row.until - timedelta(microseconds=1)
    return {
        "invoice": row, "label": label, "tone": tone, "icon": icon, "first_day": row.since.astimezone(zone).date(),
        "last_day": last.astimezone(zone).date(),
    }  # fmt: skip


@require_safe
@buyer_page()
def invoice(request: BuyerRequest, invoice: UUID) -> HttpResponse:
    row = _invoice(request, invoice)
    lines = InvoiceLine.objects.for_business(request.business).filter(invoice=row).select_related("entry")
    page = Paginator(lines, LINES).get_page(request.GET.get("page"))
    context = _invoice_row(row, now=request.now) | {
        "number": str(row),
        "page": page,
        "lines": [{"line": line, "url": _url_of(request, line.entry.about)} for line in page],
    }
    return render(request, "marketplace/account/invoice.html", context)


@require_safe
@buyer_page()
def invoice_pdf(request: BuyerRequest, invoice: UUID) -> HttpResponse:
    row = _invoice(request, invoice)
    pdf = documents.invoice_pdf(invoicing.paper(invoice=row, seller=invoicing.seller()))
    return _file(pdf, name=f"{row}.pdf", kind="application/pdf")


@require_safe
@buyer_page()
def invoice_csv(request: BuyerRequest, invoice: UUID) -> HttpResponse:
    row = _invoice(request, invoice)
    text = documents.invoice_csv(invoicing.paper(invoice=row, seller=invoicing.seller()))
    return _file(text.encode(), name=f"{row}.csv", kind="text/csv; charset=utf-8")


def _invoice(request: BuyerRequest, pk: UUID) -> Invoice:
    row: Invoice = get_object_or_404(Invoice.objects.for_business(request.business), pk=pk)
    row.business = request.business
    return row


def _file(content: bytes, *, name: str, kind: str) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


# --- Recalls -----------------------------------------------------------------------------------------------------------


@require_safe
@buyer_page()
def recalled(request: BuyerRequest) -> HttpResponse:
    """Who has to be taken off the buyer's lists: what is still to confirm first."""
    business, everything = request.business, request.GET.get("show") == "all"
    found = accounts.recalls(business, everything=everything)
    shown = paging.stretch(found, by="-created_at", after=request.GET.get("after", ""), size=PAGE)
    waiting = accounts.recalls_to_hear(business)
    here = reverse("marketplace:recalls", args=[business.slug])
    context = {
        "rows": [_recall_row(request, row) for row in shown.rows],
        "open_ids": [row.pk for row in shown.rows if row.acknowledged_at is None],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "waiting": waiting,
        "any": waiting or RecallNotice.objects.for_business(business).exists(),
        "everything": everything,
        "tabs": [
            {"label": "To confirm", "url": here, "count": waiting, "current": not everything},
            {"label": "All", "url": f"{here}?show=all", "current": everything},
        ],
    }
    return render(request, "marketplace/account/recalls.html", context)


def _recall_row(request: BuyerRequest, row: RecallNotice) -> dict[str, Any]:
    lead, because = row.sale.lead, GoneBecause(row.recall.because)
    name = lead.full_name or f"{lead.first_name} {lead.last_name}".strip()
    numbers = [phones.pretty(phone, region="US") for phone in (lead.phone, lead.other_phone) if phone]
    return {
        "notice": row,
        "name": name or ("Erased" if lead.erased_at else "No name on file"),
        "numbers": list(dict.fromkeys(numbers)),
        "label": because.label,
        "what_to_do": recalls.WHAT_TO_DO[because],
        "purchase": row.sale.purchase,
        "url": reverse("marketplace:purchase", args=[request.business.slug, row.sale.purchase_id]),
    }


@require_POST
@buyer_page(write=True)
def heard(request: BuyerRequest) -> HttpResponse:
    """The buyer has taken them off their lists. Also when the account is closed: the people are still on them."""
    count = recalls.acknowledge(
        business=request.business, notice_ids=_ids(request), by=str(request.user), now=request.now
    )
    if count:
        messages.success(request, f"Noted: {count:,} {say_noun(count, 'recall', 'recalls')} confirmed.")
    else:
        messages.info(request, "This was confirmed already.")
    return redirect("marketplace:recalls", request.business.slug)


def _ids(request: BuyerRequest) -> Iterator[UUID]:
    for text in request.POST.getlist("notice")[:PAGE]:
        try:
            yield UUID(text)
        except ValueError:
            raise Http404 from None


@require_safe
@buyer_page()
def recalls_csv(request: BuyerRequest) -> StreamingHttpResponse:
    """Those since a day on the buyer's calendar; without one, all of them."""
    asked = request.GET.get("since", "")
    try:
        day = parse_date(asked)
    except ValueError:
        day = None
    since = make_aware(datetime.combine(day, time()), request.business.zone) if day else None  # noqa: DTZ001 - made aware
    name = f"recalls{f'-since-{day}' if day else ''}.csv"
    return StreamingHttpResponse(
        recalls.delta_csv(request.business, since),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


# --- People they have --------------------------------------------------------------------------------------------------


@require_safe
@buyer_page()
def known_people(request: BuyerRequest) -> HttpResponse:
    return _known_page(request, KnownForm())


@require_POST
@buyer_page(act=True)
def upload_known(request: BuyerRequest) -> HttpResponse:
    """The same list twice changes nothing, so a second click does no harm."""
    form = KnownForm(request.POST, request.FILES)
    if not form.is_valid():
        return _known_page(request, form, status=422)
    file, name = form.list_and_name()
    try:
        taken = known.upload(business=request.business, file=file, name=name, actor=request.user, now=request.now)
    except Refused as reason:
        form.add_error(None, str(reason))
        return _known_page(request, form, status=422)
    messages.success(request, _say_upload(taken.upload))
    if taken.upload.refused:
        more = " …" if taken.upload.refused > len(taken.problems) else ""
        messages.warning(request, f"{taken.upload.refused:,} not taken in. {' '.join(taken.problems)}{more}")
    return redirect("marketplace:known", request.business.slug)


@require_http_methods(["GET", "POST"])
@buyer_page(manage=True)
def clear_known(request: BuyerRequest) -> HttpResponse:
    """Asks once, naming how many."""
    people = accounts.people_known(request.business)[KnownFrom.UPLOADED]
    if request.method == "GET":
        context = {"uploaded": people, "noun": say_noun(people, "person", "people")}
        return render(request, "marketplace/account/clear_known.html", context)
    count = known.forget_uploads(business=request.business, actor=request.user, now=request.now)
    messages.success(request, f"{count:,} {say_noun(count, 'person', 'people')} cleared. You may be sold them again.")
    return redirect("marketplace:known", request.business.slug)


def _known_page(request: BuyerRequest, form: KnownForm, *, status: int = 200) -> HttpResponse:
    people = accounts.people_known(request.business)
    uploads = KnownUpload.objects.for_business(request.business).select_related("uploaded_by")
    context = {
        "form": form,
        "uploaded": people[KnownFrom.UPLOADED],
        "noun": say_noun(people[KnownFrom.UPLOADED], "person", "people"),
        "bought": people[KnownFrom.BOUGHT],
        "uploads": uploads[:RECENT],
        "largest": known.LARGEST,
        "may_act": request.may_act,
        "may_manage": request.may_manage,
    }
    return render(request, "marketplace/account/known.html", context, status=status)


def _say_upload(taken: KnownUpload) -> str:
    """“Took in 1,204 new people; 80 you had already.”"""
    had = taken.rows - taken.refused - taken.added
    again = f"; {had:,} you had already" if had else ""
    return f"Took in {taken.added:,} new {say_noun(taken.added, 'person', 'people')}{again}."


# --- Webhook -----------------------------------------------------------------------------------------------------------


@require_safe
@buyer_page()
def webhook(request: BuyerRequest) -> HttpResponse:
    return _webhook_page(request, WebhookForm(initial={"url": request.buyer.webhook_url}))


@require_POST
@buyer_page(manage=True)
def set_webhook(request: BuyerRequest) -> HttpResponse:
    """Answers with the new secret itself: it is kept nowhere that could be read again."""
    form = WebhookForm(request.POST)
    if not form.is_valid():
        return _webhook_page(request, form, status=422)
    url = form.cleaned_data["url"]
    try:
        secret = webhooks.set_webhook(business=request.business, url=url, actor=request.user, now=request.now)
    except Refused as reason:
        form.add_error("url", str(reason))
        return _webhook_page(request, form, status=422)
    response = render(request, "marketplace/account/webhook_secret.html", {"secret": secret, "url": url})
    response["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "POST"])
@buyer_page(manage=True)
def remove_webhook(request: BuyerRequest) -> HttpResponse:
    """Asks once, naming the address."""
    if request.method == "GET":
        return render(request, "marketplace/account/remove_webhook.html", {"host": _host(request.buyer)})
    webhooks.remove_webhook(business=request.business, actor=request.user, now=request.now)
    messages.success(request, "Removed. Recalls still appear on the page Recalls.")
    return redirect("marketplace:webhook", request.business.slug)


@require_POST
@buyer_page(act=True)
def try_webhook(request: BuyerRequest) -> HttpResponse:
    """A message about nothing, signed like every other."""
    pk = uuid4()
    payload = {"id": str(pk), "sent_at": request.now.isoformat(), "what_to_do": "Nothing: this is a test."}
    queued = webhooks.queue(
        buyer=request.buyer, event="webhook.test", about=f"test:{pk}", payload=payload, now=request.now
    )
    if queued is None:
        messages.error(request, "Set an address first.")
    else:
        messages.success(request, "A test is on its way. What came of it appears below.")
    return redirect("marketplace:webhook", request.business.slug)


@require_POST
@buyer_page(act=True)
def send_again(request: BuyerRequest, delivery: UUID) -> HttpResponse:
    row = get_object_or_404(WebhookDelivery.objects.for_business(request.business), pk=delivery)
    try:
        webhooks.replay(delivery=row, now=request.now)
        messages.success(request, "It is sent again, with the same delivery number.")
    except Refused as reason:
        messages.info(request, str(reason))
    return redirect("marketplace:webhook", request.business.slug)


def _webhook_page(request: BuyerRequest, form: WebhookForm, *, status: int = 200) -> HttpResponse:
    recent = list(WebhookDelivery.objects.for_business(request.business)[:RECENT])
    context = {
        "form": form,
        "buyer": request.buyer,
        "rows": [_delivery_row(row, now=request.now) for row in recent],
        "moving": any(row.status == DeliveryStatus.WAITING and row.next_at <= request.now for row in recent),
        "host": _host(request.buyer),
        "header": signing.HEADER,
        "may_act": request.may_act,
        "may_manage": request.may_manage,
    }
    return render(request, "marketplace/account/webhook.html", context, status=status)


def _host(buyer: Buyer) -> str:
    return urlsplit(buyer.webhook_url).hostname or ""


def _delivery_row(row: WebhookDelivery, *, now: datetime) -> dict[str, Any]:
    tone, icon = {
        DeliveryStatus.WAITING: ("warning", "clock"),
        DeliveryStatus.DELIVERED: ("success", "double-check"),
        DeliveryStatus.FAILED: ("danger", "circle-alert"),
    }[DeliveryStatus(row.status)]
    return {
        "delivery": row,
        "tone": tone,
        "icon": icon,
        "payload": json.dumps(row.payload, indent=2, ensure_ascii=False),
        "can_repeat": row.status != DeliveryStatus.WAITING or row.next_at > now + webhooks.LEASE,
        "next_at": row.next_at if row.status == DeliveryStatus.WAITING and row.attempts else None,
    }
