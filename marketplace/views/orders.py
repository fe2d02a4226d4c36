"""What was bought: the orders, their leads and files, and leads that go back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import FileResponse, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from crm import paging, phones
from crm.access import PageRequest, business_page
from crm.security import sender
from crm.services import Refused
from crm.views.inbox import address, searched
from crm.wording import say_day, say_noun
from marketplace import age_buckets, queries, tasks
from marketplace.allocation import Criterion
from marketplace.enums import ExportProfile, ExportStatus, GoneBecause, ReturnReason, ReturnStatus
from marketplace.forms import DownloadForm, ReturnForm
from marketplace.models import AgedLead, Purchase, Return, Sale
from marketplace.services import exports
from marketplace.services import returns as giving_back
from marketplace.services.returns import Allowance, SaleNotFound
from marketplace.views.shop import buyer_of, signature
from marketplace.wording import say_age, say_place, say_wanted
from marketplace.writers import NO_TEXTING_CONSENT, WHY_NO_TEXTING

PAGE: Final = 30  # orders, returns
LEADS: Final = 50  # of an order on a page
TAKEN: Final = 5  # downloads of a file that are named

_PROFILES: Final = (
    (ExportProfile.CSV, "Opens in any spreadsheet. Cells that a spreadsheet could take for a formula are cleaned."),
    (ExportProfile.MACHINE, "For your own software: every value as it came."),
    (ExportProfile.XLSX, "With prices as numbers and dates as dates."),
)
_TONES: Final = {
    ReturnStatus.REQUESTED: ("warning", "clock"),
    ReturnStatus.REPLACED: ("success", "refresh"),
    ReturnStatus.CREDITED: ("success", "check"),
    ReturnStatus.DECLINED: ("", "x"),
}


# --- Orders ----------------------------------------------------------------------------------------------------------


@require_safe
@business_page("buy")
def purchases(request: PageRequest) -> HttpResponse:
    if buyer_of(request) is None:
        return redirect("marketplace:browse", request.business.slug)
    words = searched(request)
    found = queries.purchases(request.business, words=words)
    shown = paging.stretch(found, by="-created_at", after=request.GET.get("after", ""), size=PAGE)
    taken = queries.downloads_of(request.business, shown.rows)
    count = found.count()
    context = {
        "rows": [
            {
                "purchase": row,
                "url": reverse("marketplace:purchase", args=[request.business.slug, row.pk]),
                "downloads": taken.get(row.pk, 0),
            }
            for row in shown.rows
        ],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": count,
        "noun": say_noun(count, "purchase", "purchases"),
        "search": words,
        "clear_url": reverse("marketplace:purchases", args=[request.business.slug]) if words else "",
    }
    return render(request, "marketplace/purchases.html", context)


@require_safe
@business_page("buy")
def purchase(request: PageRequest, purchase: UUID) -> HttpResponse:
    """One order: what was asked for, the leads, the files."""
    order = _purchase(request, purchase)
    words = searched(request)
    found = queries.sales_of(order, words=words)
    shown = paging.stretch(found, by="sold_at", after=request.GET.get("after", ""), size=LEADS)
    allowed = giving_back.allowance(business=request.business, now=request.now)
    customers = queries.customers_of(request.business, shown.rows)
    count = found.count()
    until = order.created_at + timedelta(days=allowed.days)
    context = {
        "purchase": order,
        "wanted": [say_wanted(Criterion(**asked)) for asked in order.criteria],
        "rows": [_sold(request, sale, customers=customers, allowed=allowed) for sale in shown.rows],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": count,
        "noun": say_noun(count, "lead", "leads"),
        "search": words,
        "clear_url": request.path if words else "",
        "allowed": allowed,
        "return_until": until if allowed.days and allowed.percent and request.now <= until else None,
        "profiles": [
            {"value": profile.value, "label": profile.label, "help": text, "is_first": place == 0}
            for place, (profile, text) in enumerate(_PROFILES)
        ],
        "files": list(queries.files_of(order, most=TAKEN)),
        "no_texting": NO_TEXTING_CONSENT,
        "why_no_texting": WHY_NO_TEXTING,
    }
    return render(request, "marketplace/purchase.html", context)


def _sold(request: PageRequest, sale: Sale, *, customers: dict[UUID, UUID], allowed: Allowance) -> dict[str, Any]:
    """A lead as whoever bought it sees it."""
    lead, customer = sale.lead, customers.get(sale.pk)
    given_back = next(iter(sale.returns.all()), None)
    called_back = sorted({GoneBecause(notice.recall.because).label for notice in sale.recall_notices.all()})
    return {
        "sale": sale,
        "name": _name(lead),
        "phone": lead.phone or lead.other_phone,
        "phone_shown": phones.pretty(lead.phone or lead.other_phone, region="US")
        if lead.phone or lead.other_phone
        else lead.borrower_phone or lead.call_in_phone_number,
        "place": ", ".join(part for part in (lead.city, lead.state) if part),
        "age": _age(lead, at=sale.sold_at),
        "customer_url": reverse("crm:customer", args=[request.business.slug, customer]) if customer else "",
        "called_back": called_back,
        "is_replacement": bool(sale.replaces.all()),
        "return_url": reverse("marketplace:return", args=[request.business.slug, sale.pk])
        if given_back or _can_go_back(sale, now=request.now, allowed=allowed)
        else "",
        "returned": _outcome(given_back) if given_back else None,
    }


def _can_go_back(sale: Sale, *, now: datetime, allowed: Allowance) -> bool:
    """As `returns.why_not` says, of rows that are at hand."""
    return bool(allowed.left) and now <= sale.sold_at + timedelta(days=allowed.days) and not sale.replaces.all()


def _name(lead: AgedLead) -> str:
    return _full_name(lead) or ("Erased on request" if lead.erased_at else "No name on file")


def _full_name(lead: AgedLead) -> str:
    return lead.full_name or f"{lead.first_name} {lead.last_name}".strip()


def _age(lead: AgedLead, *, at: datetime) -> str:
    return f"{age_buckets.age_in_months(age_buckets.age_in_days(lead.called_in_at, as_of=at))} months"


def _purchase(request: PageRequest, pk: UUID) -> Purchase:
    order: Purchase = get_object_or_404(Purchase.objects.for_business(request.business), pk=pk)
    order.business = request.business
    return order


# --- Files -----------------------------------------------------------------------------------------------------------


@require_POST
@business_page("buy", write=True)
def download(request: PageRequest, purchase: UUID) -> HttpResponse | FileResponse:
    """The file of an order: at once, or, when it is long, a page that waits for it."""
    order = _purchase(request, purchase)
    form = DownloadForm(request.POST)
    if not form.is_valid():
        raise BadRequest("This form names no kind of file.")
    try:
        file = exports.ready_or_build(
            business=request.business, profile=ExportProfile(form.cleaned_data["profile"]), purchase=order,
            by=signature(request), now=request.now,
        )  # fmt: skip
    except Refused as reason:
        messages.error(request, str(reason))
        return redirect("marketplace:purchase", request.business.slug, order.pk)
    if file.status != ExportStatus.READY:
        tasks.wake(tasks.make_exports)
        return redirect("marketplace:export", request.business.slug, file.pk)
    return _hand_out(request, file, order)


@require_safe
@business_page("buy")
def export(request: PageRequest, export: UUID) -> HttpResponse:
    """A file: how far it is, or that it is ready. For htmx the part that changes."""
    file = _file(request, export)
    context = {"file": file, "purchase": _order_of(request, file)}
    return render(request, "marketplace/file_state.html" if request.htmx else "marketplace/file.html", context)


@require_POST
@business_page("buy", write=True)
def take_file(request: PageRequest, export: UUID) -> HttpResponse | FileResponse:
    """The very bytes, once more."""
    file = _file(request, export)
    return _hand_out(request, file, _order_of(request, file))


def _hand_out(request: PageRequest, file: Any, order: Purchase) -> HttpResponse | FileResponse:
    profile = ExportProfile(file.profile)
    try:
        content = exports.opened(export=file, by=signature(request), request_sender=sender(request), now=request.now)
    except exports.NotReady as reason:
        messages.error(request, str(reason))
        return redirect("marketplace:export", request.business.slug, file.pk)
    name = f"{order}-leads{'-for-programs' if profile == ExportProfile.MACHINE else ''}{exports.SUFFIX[profile]}"
    return FileResponse(content, as_attachment=True, filename=name, content_type=exports.CONTENT_TYPE[profile])


def _file(request: PageRequest, pk: UUID) -> Any:
    file = get_object_or_404(queries.files(request.business), pk=pk)
    file.business = request.business
    return file


def _order_of(request: PageRequest, file: Any) -> Purchase:
    return Purchase.objects.for_business(request.business).get(sales=file.first)


# --- Leads that go back ----------------------------------------------------------------------------------------------


@require_safe
@business_page("buy")
def returns(request: PageRequest) -> HttpResponse:
    if buyer_of(request) is None:
        return redirect("marketplace:browse", request.business.slug)
    status = request.GET.get("status", "")
    if status not in ReturnStatus.values:
        status = ""
    counted = queries.returns_by_status(request.business)
    found = queries.returns(request.business, status=status)
    shown = paging.stretch(found, by="-requested_at", after=request.GET.get("after", ""), size=PAGE)
    count = counted.get(status, 0) if status else sum(counted.values())
    here = reverse("marketplace:returns", args=[request.business.slug])
    context = {
        "rows": [
            {
                "row": row,
                "name": _name(row.sale.lead),
                "place": ", ".join(part for part in (row.sale.lead.city, row.sale.lead.state) if part),
                "url": reverse("marketplace:return", args=[request.business.slug, row.sale_id]),
                "returned": _outcome(row),
            }
            for row in shown.rows
        ],
        "after": shown.after,
        "is_first": "after" not in request.GET,
        "count": count,
        "noun": say_noun(count, "return", "returns"),
        "status": status,
        "tabs": [{"label": "All", "url": here, "count": sum(counted.values()), "current": not status}]
        + [
            {"label": label, "url": address(here, status=key), "count": counted.get(key, 0), "current": key == status}
            for key, label in ReturnStatus.choices
        ],
        "allowed": _allowance(request),
    }
    return render(request, "marketplace/returns.html", context)


@require_safe
@business_page("buy")
def show_return(request: PageRequest, sale: UUID) -> HttpResponse:
    """What became of a return; or the form to ask for one, or why it is too late."""
    return _return_page(request, _sale(request, sale), ReturnForm())


@require_POST
@business_page("buy", write=True)
def ask_return(request: PageRequest, sale: UUID) -> HttpResponse:
    sold = _sale(request, sale)
    form = ReturnForm(request.POST)
    if not form.is_valid():
        return _return_page(request, sold, form, status=422)
    try:
        row = giving_back.ask(
            business=request.business, sale_id=sold.pk, reason=ReturnReason(form.cleaned_data["reason"]),
            note=form.cleaned_data["note"], by=signature(request), now=request.now,
        )  # fmt: skip
    except SaleNotFound as reason:
        raise BadRequest(str(reason)) from reason
    except Refused as reason:
        messages.error(request, str(reason))
    else:
        messages.success(request, _WHAT_NOW[ReturnStatus(row.status)])
        if row.status == ReturnStatus.REPLACED:
            tasks.wake(tasks.land_purchases)
    return redirect("marketplace:return", request.business.slug, sold.pk)


_WHAT_NOW: Final = {
    ReturnStatus.REQUESTED: "Asked. Somebody looks at it, and what they decide appears here.",
    ReturnStatus.REPLACED: "Accepted at once: another lead has taken its place.",
    ReturnStatus.CREDITED: "Accepted at once: its price is back on your account.",
}


def _return_page(request: PageRequest, sale: Sale, form: ReturnForm, *, status: int = 200) -> HttpResponse:
    row = sale.returns.select_related("replacement__lead").first()
    lead = sale.lead
    context: dict[str, Any] = {
        "sale": sale,
        "name": _name(lead),
        "place": say_place(lead.state, lead.county),
        "phone": phones.pretty(lead.phone or lead.other_phone, region="US") if lead.phone or lead.other_phone else "",
        "age": say_age(sale.age_bucket),
        "row": row,
    }
    if row is not None:
        context["returned"] = _outcome(row)
        if row.replacement is not None:
            instead = row.replacement.lead
            order = reverse("marketplace:purchase", args=[request.business.slug, row.replacement.purchase_id])
            context |= {"replaced_by": _name(instead), "replaced_by_url": address(order, q=_full_name(instead))}
    else:
        allowed = _allowance(request)
        last = sale.sold_at + timedelta(days=allowed.days)
        context |= {
            "form": form,
            "why_not": giving_back.why_not(sale=sale, now=request.now, allowed=allowed),
            "allowed": allowed,
            "until": say_day(last, request.business.zone),
        }
    return render(request, "marketplace/return.html", context, status=status)


def _allowance(request: PageRequest) -> Allowance:
    return giving_back.allowance(business=request.business, now=request.now)


def _outcome(row: Return) -> dict[str, str]:
    """As components/badge.html shows it."""
    status = ReturnStatus(row.status)
    tone, icon = _TONES[status]
    return {"label": status.label, "tone": tone, "icon": icon}


def _sale(request: PageRequest, pk: UUID) -> Sale:
    rows = Sale.objects.for_business(request.business).select_related("lead", "purchase")
    sale: Sale = get_object_or_404(rows, pk=pk)
    sale.business = request.business
    return sale
