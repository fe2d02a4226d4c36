"""The books, to be read and checked; and invoices, to be read and marked as paid."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from crm.admin.base import ReadOnlyAdmin, link, signed_in
from crm.admin.lists import OfBusiness, made_lately
from marketplace import documents
from marketplace.enums import Account
from marketplace.models import Buyer, Invoice, InvoiceLine, JournalEntry, JournalLine
from marketplace.pricing import say_money
from marketplace.services import books, invoices

CHECK: Final = "marketplace_check_books"
FILE: Final = "marketplace_invoice_file"
SHOWN: Final = 200  # lines of an invoice on its page; its CSV has them all

_WITH_REFERENCE: Final = ("top_up", "payment", "refund")
_HAS_A_PAGE: Final = ("purchase", "return", "invoice")  # what an entry can be about


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnlyAdmin):
    """What was booked, with its lines. Nothing here is ever changed; a mistake is put right by another entry."""

    nothing_yet = "Nothing has been booked yet."
    list_display = ("at", "kind", "text", "buyer_gets", "business", "actor")
    list_display_links = ("text",)
    list_select_related = ("business", "actor")
    list_filter = (OfBusiness, "kind", made_lately("at"))
    search_fields = ("reference",)
    search_help_text = "The whole reference of a payment, or an id."
    change_list_template = "admin/marketplace/journal.html"
    fields = ("business", "kind", "text", "its_lines", "its_row", "reference", "actor", "at")
    readonly_fields = ("its_lines", "its_row")

    def get_urls(self) -> list[Any]:
        check = self.admin_site.admin_view(require_POST(self.check_view))
        return [path("check/", check, name=CHECK), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[JournalEntry]:
        of_the_buyer = JournalLine.objects.filter(account=Account.BUYER)
        return super().get_queryset(request).prefetch_related(Prefetch("lines", of_the_buyer, to_attr="of_the_buyer"))

    def find(self, rows: QuerySet[JournalEntry], words: str) -> QuerySet[JournalEntry]:
        # named in full, the index on business, kind and reference is used
        return rows.filter(business__in=Buyer.objects.values("pk"), kind__in=_WITH_REFERENCE, reference=words)

    @admin.display(description="moves the balance by")
    def buyer_gets(self, entry: Any) -> str:
        return _signed(entry.of_the_buyer[0].amount) if entry.of_the_buyer else "–"

    @admin.display(description="lines")
    def its_lines(self, entry: JournalEntry) -> str:
        lines = list(JournalLine.objects.filter(business=entry.business_id, entry=entry))
        total = sum((line.amount for line in lines), Decimal("0.00"))
        return render_to_string("admin/marketplace/entry_lines.html", {"lines": lines, "total": total})

    @admin.display(description="about")
    def its_row(self, entry: JournalEntry) -> SafeString | str:
        kind, _, key = entry.about.partition(":")
        if kind not in _HAS_A_PAGE:
            return entry.about or "–"
        return format_html('<a href="{}">The {}</a>', reverse(f"admin:marketplace_{kind}_change", args=[key]), kind)

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """Adds everything up once more and says what it found."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        wrong = books.check_books()
        totals = Buyer.objects.aggregate(balance=Sum("balance"))
        context = {
            **self.admin_site.each_context(request),
            "title": "The books are right" if not wrong else "The books are wrong",
            "wrong": wrong,
            "buyers": Buyer.objects.count(),
            "balance": say_money(totals["balance"] or Decimal(0)),
            "now": timezone.now(),
            "opts": self.opts,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/marketplace/books.html", context)


@admin.register(JournalLine)
class JournalLineAdmin(ReadOnlyAdmin):
    nothing_yet = "Nothing has been booked yet."
    list_display = ("entry", "account", "gains", "business")
    list_select_related = ("entry", "business")
    list_filter = (OfBusiness, "account")
    fields = ("business", "its_entry", "account", "gains")
    readonly_fields = ("its_entry", "gains")

    @admin.display(description="entry")
    def its_entry(self, line: JournalLine) -> SafeString | str:
        return link(line.entry)

    @admin.display(description="amount")
    def gains(self, line: JournalLine) -> str:
        return _signed(line.amount)


class PaymentForm(forms.Form):
    reference = forms.CharField(
        max_length=70,
        help_text="As the bank gives it. It is booked once. One payment for several invoices: each is booked with its"
        " number behind the reference.",
    )


class Paid(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "To be paid"), ("late", "Past due"), ("paid", "Paid")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> QuerySet[Invoice]:
        match self.value():
            case "open":
                return queryset.filter(paid_at__isnull=True)
            case "late":
                return queryset.filter(paid_at__isnull=True, due_on__lt=timezone.now().date())
            case "paid":
                return queryset.filter(paid_at__isnull=False)
        return queryset


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    nothing_yet = "No invoice has been issued yet. They are issued when a month has ended, or on a buyer's page."
    list_display = ("__str__", "business", "issued_at", "due_on", "shown_total", "state", "its_files")
    list_select_related = ("business",)
    list_filter = (OfBusiness, Paid)
    search_fields = ("number",)
    search_help_text = "The number, like I-1007, or an id."
    fields = (
        "business",
        "state",
        "since",
        "until",
        "shown_total",
        "issued_at",
        "due_on",
        "paid_at",
        "its_files",
        "its_lines",
    )
    readonly_fields = ("state", "shown_total", "its_files", "its_lines")
    actions = ("mark_as_paid",)

    def get_urls(self) -> list[Any]:
        file = self.admin_site.admin_view(require_safe(self.file_view))
        return [path("<uuid:pk>/file/<str:kind>/", file, name=FILE), *super().get_urls()]

    def find(self, rows: QuerySet[Invoice], words: str) -> QuerySet[Invoice]:
        number = as_numbered(words, "I-")
        return rows.filter(number=number) if number is not None else rows.none()

    @admin.display(description="total")
    def shown_total(self, invoice: Invoice) -> str:
        return say_money(invoice.total)

    @admin.display(description="state")
    def state(self, invoice: Invoice) -> str:
        if invoice.paid_at is not None:
            return "Paid"
        today = timezone.now().astimezone(invoice.business.zone).date()
        return "Past due" if invoice.due_on < today else "To be paid"

    @admin.display(description="files")
    def its_files(self, invoice: Invoice) -> SafeString:
        return format_html(
            '<a href="{}">PDF</a> <a href="{}">CSV</a>',
            *(reverse(f"admin:{FILE}", args=[invoice.pk, kind]) for kind in ("pdf", "csv")),
        )

    @admin.display(description="lines")
    def its_lines(self, invoice: Invoice) -> str:
        rows = InvoiceLine.objects.filter(business=invoice.business_id, invoice=invoice)
        lines = list(rows[: SHOWN + 1])
        shown = {"lines": lines[:SHOWN], "has_more": len(lines) > SHOWN, "total": invoice.total}
        return render_to_string("admin/marketplace/invoice_lines.html", shown)

    def file_view(self, request: HttpRequest, pk: Any, kind: str) -> HttpResponse:
        """The very file the buyer sees."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        invoice = Invoice.objects.select_related("business").filter(pk=pk).first()
        if invoice is None or kind not in ("pdf", "csv"):
            raise Http404
        paper = invoices.paper(invoice=invoice, seller=invoices.seller())
        content, content_type = (
            (documents.invoice_pdf(paper), "application/pdf")
            if kind == "pdf"
            else (documents.invoice_csv(paper).encode(), "text/csv; charset=utf-8")
        )
        headers = {"Content-Disposition": f'attachment; filename="{invoice}.{kind}"'}
        return HttpResponse(content, content_type=content_type, headers=headers)

    @admin.action(description="Mark as paid", permissions=["act"])
    def mark_as_paid(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> HttpResponse | None:
        chosen = queryset.select_related("business").order_by("number")
        form = PaymentForm(request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask(
                request,
                chosen,
                question="Mark as paid?",
                button="Book the payment",
                explanation="The money has come, in full. It is booked as a payment of today.",
                form=form,
                template="admin/marketplace/ask.html",
                what=[f"{invoice} of {invoice.business}: {say_money(invoice.total)}" for invoice in chosen],
            )
        reference, several = form.cleaned_data["reference"], len(chosen) > 1

        def act(invoice: Invoice) -> bool:
            invoices.mark_paid(
                invoice=invoice,
                reference=f"{reference} {invoice}" if several else reference,
                actor=signed_in(request),
                now=timezone.now(),
            )
            return True

        self.for_each(request, chosen, act, done="paid", column="paid_at")
        return None


def as_numbered(words: str, prefix: str) -> int | None:
    """Somebody typed the number of an order or an invoice: “P-1042”, “p-1042”, “1042”."""
    digits = words.upper().removeprefix(prefix)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else None


def _signed(amount: Decimal) -> str:
    return f"+{say_money(amount)}" if amount > 0 else say_money(amount)
