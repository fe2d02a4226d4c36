"""What was offered, bought, sold and brought back. Orders and sales are read; returns wait for a decision."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm.admin.base import ReadOnlyAdmin, link, list_url, signed_in
from crm.admin.lists import OfBusiness, made_lately
from crm.services import Refused
from crm.wording import say_list
from marketplace.admin.money import as_numbered
from marketplace.admin.report import SalesReport
from marketplace.admin.words import say_kind
from marketplace.allocation import Criterion
from marketplace.enums import ReturnStatus
from marketplace.models import Purchase, Quote, Return, Sale
from marketplace.pricing import say_money
from marketplace.services import returns
from marketplace.wording import say_wanted

LINES: Final = 100  # of a quote on its page


@admin.register(Purchase)
class PurchaseAdmin(ReadOnlyAdmin):
    nothing_yet = "Nobody has bought leads yet."
    list_display = ("__str__", "business", "quantity", "replaced", "shown_total", "bought_by", "created_at")
    list_select_related = ("business",)
    list_filter = (OfBusiness, made_lately("created_at"))
    search_fields = ("number",)
    search_help_text = "The number, like P-1042, or an id."
    fields = (
        "business",
        "number",
        "created_at",
        "bought_by",
        "quantity",
        "replaced",
        "shown_total",
        "asked_for",
        "quote",
        "landed_at",
        "its_sales",
    )
    readonly_fields = ("shown_total", "asked_for", "its_sales")

    def find(self, rows: QuerySet[Purchase], words: str) -> QuerySet[Purchase]:
        number = as_numbered(words, "P-")
        return rows.filter(number=number) if number is not None else rows.none()

    @admin.display(description="total")
    def shown_total(self, purchase: Purchase) -> str:
        return say_money(purchase.total)

    @admin.display(description="asked for")
    def asked_for(self, purchase: Purchase) -> str:
        return say_list([say_wanted(Criterion(**wanted)) for wanted in purchase.criteria]) or "Leads chosen one by one"

    @admin.display(description="its leads")
    def its_sales(self, purchase: Purchase) -> SafeString:
        return format_html(
            '<a href="{}">Every lead of {}</a>', list_url(Sale, purchase__id__exact=purchase.pk), purchase
        )


@admin.register(Sale)
class SaleAdmin(SalesReport, ReadOnlyAdmin):
    nothing_yet = "No lead has been sold yet."
    list_display = ("sold_at", "kind", "shown_price", "purchase", "business", "lead")
    list_select_related = ("purchase", "business", "lead")
    list_filter = (OfBusiness, "classification", "age_bucket", made_lately("sold_at"))
    search_fields = ("purchase",)
    search_help_text = "The number of the order, like P-1042, or an id."
    change_list_template = "admin/marketplace/sales.html"
    fields = (
        "business",
        "its_purchase",
        "its_lead",
        "kind",
        "shown_price",
        "currency",
        "pricing_rule",
        "sold_at",
        "its_return",
    )
    readonly_fields = ("its_purchase", "its_lead", "kind", "shown_price", "its_return")

    def find(self, rows: QuerySet[Sale], words: str) -> QuerySet[Sale]:
        number = as_numbered(words, "P-")
        return rows.filter(purchase__in=Purchase.objects.filter(number=number)) if number is not None else rows.none()

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup == "purchase__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @admin.display(description="leads")
    def kind(self, sale: Sale) -> str:
        return say_kind(sale.classification, sale.age_bucket)

    @admin.display(description="price")
    def shown_price(self, sale: Sale) -> str:
        return say_money(sale.price)

    @admin.display(description="order")
    def its_purchase(self, sale: Sale) -> SafeString | str:
        return link(sale.purchase)

    @admin.display(description="lead")
    def its_lead(self, sale: Sale) -> SafeString | str:
        return link(sale.lead)

    @admin.display(description="returns")
    def its_return(self, sale: Sale) -> SafeString | str:
        back = Return.objects.filter(business=sale.business_id, sale=sale).first()
        instead = Return.objects.filter(business=sale.business_id, replacement=sale).first()
        if instead is not None:
            return format_html("It replaces a lead that was returned: {}", link(instead))
        return link(back) if back is not None else "It was not returned."


@admin.register(Quote)
class QuoteAdmin(ReadOnlyAdmin):
    nothing_yet = "Nobody has asked for a quote yet."
    list_display = ("created_at", "business", "kind", "total_items", "shown_subtotal", "state")
    list_select_related = ("business",)
    list_filter = (OfBusiness, "kind", made_lately("created_at"))
    fields = ("business", "kind", "total_items", "shown_subtotal", "state", "created_at", "expires_at", "its_lines")
    readonly_fields = ("shown_subtotal", "state", "its_lines")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Quote]:
        return super().get_queryset(request).prefetch_related("purchases")

    @admin.display(description="subtotal")
    def shown_subtotal(self, quote: Quote) -> str:
        return say_money(quote.subtotal)

    @admin.display(description="state")
    def state(self, quote: Quote) -> SafeString | str:
        for purchase in quote.purchases.all():
            return format_html("Bought: {}", link(purchase))
        return "Stands" if timezone.now() <= quote.expires_at else "Expired"

    @admin.display(description="lines")
    def its_lines(self, quote: Quote) -> str:
        lines = [
            {
                "kind": say_kind(line["classification"], line["age_bucket"]),
                "place": ", ".join(part for part in (line.get("county"), line.get("state")) if part) or "Anywhere",
                "quantity": line.get("quantity", 1),
                "price": Decimal(line["unit_price"]),
            }
            for line in quote.lines[:LINES]
        ]
        shown = {"lines": lines, "left_out": len(quote.lines) - len(lines)}
        return render_to_string("admin/marketplace/quote_lines.html", shown)


# --- Returns -----------------------------------------------------------------------------------------------------------


class DecisionForm(forms.Form):
    decision = forms.CharField(label="Why", max_length=300, help_text="In a sentence the buyer will read.")


class Decided(admin.SimpleListFilter):
    """What waits is shown first; a search looks everywhere."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("all", "All"), ("accepted", "Accepted"), ("declined", "Declined")]

    def choices(self, changelist: Any) -> Any:
        waiting, everything, *others = super().choices(changelist)
        yield everything  # first, so that the filter says when it is not chosen
        yield waiting | {"display": "Waiting for a decision"}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Return]) -> QuerySet[Return]:
        match self.value():
            case None if shows_waiting(request):
                return queryset.filter(status=ReturnStatus.REQUESTED)
            case "accepted":
                return queryset.filter(status__in=[ReturnStatus.REPLACED, ReturnStatus.CREDITED])
            case "declined":
                return queryset.filter(status=ReturnStatus.DECLINED)
        return queryset


def shows_waiting(request: HttpRequest) -> bool:
    """Only what waits. Not for an action: what was decided meanwhile is told by name instead of passed over."""
    return request.method == "GET" and not request.GET.get("q") and not request.GET.get("state")


@admin.register(Return)
class ReturnAdmin(ReadOnlyAdmin):
    nothing_yet = "No return waits for a decision."
    list_display = ("requested_at", "business", "lead_kind", "reason", "speaks", "standing", "decided_by")
    list_filter = (Decided, OfBusiness, "reason", made_lately("requested_at"))
    search_fields = ("purchase",)
    search_help_text = "The number of the order, like P-1042, or an id."
    fields = (
        "business",
        "lead_kind",
        "reason",
        "note",
        "records",
        "standing",
        "allowed",
        "its_sale",
        "its_lead",
        "requested_by",
        "requested_at",
    )
    readonly_fields = ("lead_kind", "its_sale", "its_lead", "records", "standing", "its_replacement", "allowed")
    actions = ("accept", "decline")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Return]:
        rows = super().get_queryset(request)
        return rows.select_related("business", "sale__purchase", "sale__lead", "replacement", "decided_by")

    def get_fields(self, request: HttpRequest, obj: Return | None = None) -> Any:
        if obj is None or obj.status == ReturnStatus.REQUESTED:
            return self.fields
        return (*self.fields, "decision", "decided_by", "decided_at", "its_replacement")

    def get_ordering(self, request: HttpRequest) -> Any:
        """Who has waited longest comes first, by the index of what waits; else the newest."""
        return ("requested_at", "pk") if shows_waiting(request) else ("-pk",)

    def find(self, rows: QuerySet[Return], words: str) -> QuerySet[Return]:
        number = as_numbered(words, "P-")
        if number is None:
            return rows.none()
        return rows.filter(sale__in=Sale.objects.filter(purchase__in=Purchase.objects.filter(number=number)))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().render_change_form(request, context, *args, **kwargs)
        row: Return | None = context.get("original")
        if row is not None and row.status != ReturnStatus.REQUESTED:
            context["staff_actions"] = []  # it is decided
        return response

    # --- Shown ---

    @admin.display(description="lead")
    def lead_kind(self, row: Return) -> str:
        kind = say_kind(row.sale.classification, row.sale.age_bucket)
        return f"{kind}, {say_money(row.sale.price)}, {row.sale.purchase}"

    @admin.display(description="our records")
    def speaks(self, row: Return) -> str:
        counted = Counter(piece.get("speaks_for") for piece in row.evidence)
        said = [f"{counted[side]} {word}" for side, word in ((True, "for it"), (False, "against it")) if counted[side]]
        return ", ".join(said) or "Silent"

    @admin.display(description="state")
    def standing(self, row: Return) -> SafeString:
        return format_html('<span class="state state--{}">{}</span>', row.status, row.get_status_display())

    @admin.display(description="sale")
    def its_sale(self, row: Return) -> SafeString | str:
        return link(row.sale)

    @admin.display(description="the lead itself")
    def its_lead(self, row: Return) -> SafeString | str:
        return link(row.sale.lead)

    @admin.display(description="what our records say")
    def records(self, row: Return) -> str:
        return render_to_string("admin/marketplace/evidence.html", {"evidence": row.evidence})

    @admin.display(description="replaced by")
    def its_replacement(self, row: Return) -> SafeString | str:
        return link(row.replacement)

    @admin.display(description="what they may return")
    def allowed(self, row: Return) -> str:
        return returns.allowance(business=row.business, now=timezone.now()).sentence

    # --- Decided ---

    @admin.action(description="Accept", permissions=["act"])
    def accept(self, request: HttpRequest, queryset: QuerySet[Return]) -> HttpResponse | None:
        return self._decide(
            request,
            queryset,
            returns.accept,
            question="Accept?",
            button="Accept",
            explanation="Each lead is replaced by another of its class, age and place at no charge. If there is none, its"
            " price is credited.",
        )

    @admin.action(description="Decline", permissions=["act"])
    def decline(self, request: HttpRequest, queryset: QuerySet[Return]) -> HttpResponse | None:
        return self._decide(
            request,
            queryset,
            returns.decline,
            question="Decline?",
            button="Decline",
            explanation="The buyer keeps the lead and its price, and cannot ask for it again.",
        )

    def _decide(
        self,
        request: HttpRequest,
        queryset: QuerySet[Return],
        verb: Any,
        *,
        question: str,
        button: str,
        explanation: str,
    ) -> HttpResponse | None:
        chosen = queryset.order_by("requested_at", "pk")
        form = DecisionForm(request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask(
                request,
                chosen,
                question=question,
                button=button,
                explanation=explanation,
                form=form,
                template="admin/marketplace/ask_returns.html",
                returns=[(self._name(row), row.get_reason_display(), row.note, row.evidence) for row in chosen],
            )
        done: Counter[str] = Counter()
        for row in chosen:
            try:
                decided = verb(
                    row=row, actor=signed_in(request), decision=form.cleaned_data["decision"], now=timezone.now()
                )
            except Refused as refusal:
                self.message_user(request, f"{self._name(row)}: {refusal}", "warning")
                continue
            done[decided.status] += 1
        if done:
            said = [f"{count} {ReturnStatus(status).label.lower()}" for status, count in sorted(done.items())]
            self.message_user(request, f"{'; '.join(said).capitalize()}.", "success")
        return None

    def _name(self, row: Return) -> str:
        return f"{self.lead_kind(row)} of {row.business}"
