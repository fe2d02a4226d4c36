"""Buyers and their money. A balance is moved by an entry in the books and by nothing else; every form here asks once,
naming the buyer, the amount and what the balance will be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Case, Count, Q, QuerySet, Sum, When
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm.admin.base import StaffAdmin, list_url, signed_in
from crm.admin.lists import OfBusiness, as_key
from crm.models import AuditEvent, Business
from crm.services import Refused
from crm.wording import say_noun
from marketplace import accounts
from marketplace.admin.words import say_share
from marketplace.enums import BuyerStatus, ReturnStatus, Terms
from marketplace.models import Buyer, Invoice, JournalEntry, Purchase, Return
from marketplace.pricing import CENT, say_money
from marketplace.services import books, buyers, invoices, returns
from marketplace.views.front import site_of

BOOK: Final = "marketplace_buyer_money"  # the name of the page that books a movement
LINES: Final = 10  # of each list on the page of a buyer


# --- Money by hand -----------------------------------------------------------------------------------------------------


class AmountForm(forms.Form):
    amount = forms.DecimalField(
        min_value=CENT, max_value=books.LARGEST, decimal_places=2, max_digits=12, help_text="US dollars."
    )
    reference = forms.CharField(
        max_length=80,
        help_text="As the bank gives it. The same reference is booked once, so a second click does nothing.",
    )

    def change(self, buyer: Buyer) -> Decimal:
        """What the balance gains."""
        return Decimal(self.cleaned_data["amount"])

    def said(self) -> str:
        return f"Reference: {self.cleaned_data['reference']}"

    def book(self, *, what: str, business: Business, **by: Any) -> None:
        verb = {"top-up": books.top_up, "payment": books.record_payment, "refund": books.refund}[what]
        verb(business=business, **self.cleaned_data, **by)


class RefundForm(AmountForm):
    def change(self, buyer: Buyer) -> Decimal:
        return -super().change(buyer)


class AdjustmentForm(forms.Form):
    amount = forms.DecimalField(
        min_value=-books.LARGEST,
        max_value=books.LARGEST,
        decimal_places=2,
        max_digits=12,
        help_text="US dollars. Above zero for goodwill, below zero for a correction against the buyer.",
    )
    text = forms.CharField(label="Reason", max_length=200, help_text="The buyer reads it on their statement.")

    def clean_amount(self) -> Decimal:
        amount: Decimal = self.cleaned_data["amount"]
        if not amount:
            raise forms.ValidationError("Nothing would move.")
        return amount

    def change(self, buyer: Buyer) -> Decimal:
        return Decimal(self.cleaned_data["amount"])

    def said(self) -> str:
        return f"Reason: {self.cleaned_data['text']}"

    def book(self, *, what: str, business: Business, **by: Any) -> None:
        books.adjust(business=business, **self.cleaned_data, **by)


class TermsForm(forms.Form):
    terms = forms.ChoiceField(choices=Terms.choices, widget=forms.RadioSelect)
    credit_limit = forms.DecimalField(
        min_value=0,
        max_value=books.LARGEST,
        decimal_places=2,
        max_digits=12,
        help_text="US dollars a prepaid buyer may go below zero. It says nothing about invoiced buyers.",
    )

    def change(self, buyer: Buyer) -> Decimal:
        return Decimal(0)

    def said(self) -> str:
        label = str(Terms(self.cleaned_data["terms"]).label)
        limit = say_money(self.cleaned_data["credit_limit"])
        return f"{label}, credit limit {limit}"

    def book(self, *, what: str, business: Business, **by: Any) -> None:
        data = self.cleaned_data
        books.set_terms(business=business, terms=Terms(data["terms"]), credit_limit=data["credit_limit"], **by)


@dataclass(frozen=True)
class Movement:
    """Something that can be booked. `button` says it once more before it is."""

    label: str
    form: type[AmountForm | AdjustmentForm | TermsForm]
    button: str
    explanation: str
    has_reference: bool = True  # which keeps it from being booked twice


MOVEMENTS: Final = {
    "top-up": Movement("Top-up", AmountForm, "Book the top-up", "Money the buyer has paid ahead."),
    "payment": Movement(
        "Payment",
        AmountForm,
        "Book the payment",
        "Money for what they owe, without naming an invoice. A payment of one invoice is marked on the invoice.",
    ),
    "refund": Movement(
        "Refund", RefundForm, "Book the refund", "Money we have paid back, out of what stands on their account."
    ),
    "adjustment": Movement(
        "Adjustment", AdjustmentForm, "Book the adjustment", "Goodwill or a correction.", has_reference=False
    ),
    "terms": Movement(
        "Terms",
        TermsForm,
        "Set these terms",
        "How they pay, and how far a wallet may go below zero.",
        has_reference=False,
    ),
}


class ForTheBuyerForm(forms.Form):
    reason = forms.CharField(max_length=300, help_text="The buyer reads it, in our mail and on their account.")


class MayBeEmptyForm(forms.Form):
    reason = forms.CharField(max_length=300, required=False, help_text="It stays in the audit.")


# --- The list ----------------------------------------------------------------------------------------------------------


class BuyerForm(forms.ModelForm):
    class Meta:
        model = Buyer
        fields = ("return_days", "return_percent")


@admin.register(Buyer)
class BuyerAdmin(StaffAdmin):
    """Whoever may buy leads. Only how much they may return is edited here as a field; all else is done by its verb."""

    form = BuyerForm
    nothing_yet = "Nobody has asked to buy leads yet."
    list_display = ("__str__", "standing", "terms", "shown_balance", "bought", "returned", "email", "approved_at")
    list_select_related = ("business",)
    list_filter = (OfBusiness, "status", "terms")
    ordering = (Case(When(status=BuyerStatus.PENDING, then=0), default=1), "business__name")  # who waits stands on top
    search_fields = ("business",)
    search_help_text = "The beginning of the name or short name, or the whole e-mail address."
    fields = ("return_days", "return_percent")
    actions = ("approve", "suspend", "reopen", "close_account", "issue_invoice")

    _POSSIBLE: ClassVar = {
        BuyerStatus.PENDING: ("approve", "close_account"),
        BuyerStatus.ACTIVE: ("suspend", "close_account"),
        BuyerStatus.SUSPENDED: ("reopen", "close_account"),
        BuyerStatus.CLOSED: ("reopen",),
    }

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # they sign up themselves

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(self.money_view)
        return [path("<uuid:pk>/book/<str:what>/", page, name=BOOK), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Buyer]:
        return super().get_queryset(request).select_related("business")

    def find(self, rows: QuerySet[Buyer], words: str) -> QuerySet[Buyer]:
        key = as_key(words)
        if key is not None:
            return rows.filter(pk=key)
        named = Q(business__slug__startswith=words.lower()) | Q(business__name__istartswith=words)
        return rows.filter(named | Q(email__iexact=words))

    def save_model(self, request: HttpRequest, obj: Buyer, form: Any, change: bool) -> None:
        obj.save(update_fields=form.changed_data)  # and not a status that somebody changes at this moment

    def called(self, row: Buyer) -> str:
        return f"buyer:{row.business.slug}"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the numbers of every buyer on the page, in two statements for all of them."""
        found = super().get_changelist_instance(request)
        shown: Sequence[Any] = list(found.result_list)
        since = timezone.now() - returns.RATE_OVER
        keys = [buyer.pk for buyer in shown]
        bought = dict(
            Purchase.objects.filter(business__in=keys, created_at__gt=since)
            .order_by()
            .values_list("business")
            .annotate(leads=Coalesce(Sum("quantity"), 0))
        )
        returned = dict(
            Return.objects.filter(business__in=keys, requested_at__gt=since)
            .exclude(status=ReturnStatus.DECLINED)
            .order_by()
            .values_list("business")
            .annotate(leads=Count("pk"))
        )
        for buyer in shown:
            buyer.leads_bought, buyer.leads_returned = bought.get(buyer.pk, 0), returned.get(buyer.pk, 0)
        found.result_list = shown
        return found

    @admin.display(description="status")
    def standing(self, buyer: Buyer) -> SafeString:
        return format_html('<span class="state state--{}">{}</span>', buyer.status, buyer.get_status_display())

    @admin.display(description="balance")
    def shown_balance(self, buyer: Buyer) -> str:
        return say_money(buyer.balance)

    @admin.display(description="bought, 30 days")
    def bought(self, buyer: Any) -> str:
        return f"{buyer.leads_bought:,}"

    @admin.display(description="returned")
    def returned(self, buyer: Any) -> str:
        return say_share(buyer.leads_returned, buyer.leads_bought)

    # --- One buyer ---

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        buyer: Buyer | None = context.get("original")
        response = super().render_change_form(request, context, *args, **kwargs)
        if buyer is not None:  # the page is rendered later, out of this same context
            possible = self._POSSIBLE[BuyerStatus(buyer.status)]
            if buyer.terms == Terms.INVOICED:
                possible = (*possible, "issue_invoice")
            context["staff_actions"] = [one for one in context.get("staff_actions", []) if one[0] in possible]
            context["about"] = self._about(buyer, now=timezone.now())
            if self.has_change_permission(request, buyer):
                context["movements"] = [
                    (reverse(f"admin:{BOOK}", args=[buyer.pk, what]), movement.label)
                    for what, movement in MOVEMENTS.items()
                ]
        return response

    def _about(self, buyer: Buyer, *, now: datetime) -> dict[str, Any]:
        business = buyer.business
        today = now.astimezone(business.zone).date()
        allowed = returns.allowance(business=business, now=now)
        owed = accounts.open_invoices(business, today=today)
        lately = {
            "statement": accounts.statement(business, after="", size=LINES).lines,
            "invoices": Invoice.objects.for_business(business)[:LINES],
            "purchases": Purchase.objects.for_business(business)[:LINES],
            "returns": Return.objects.for_business(business).select_related("sale")[:LINES],
        }
        kinds = (JournalEntry, Invoice, Purchase, Return, AuditEvent)
        return lately | {
            "tiles": [*_money_tiles(buyer, owed), *_lead_tiles(business, allowed)],
            "allowance": allowed.sentence,
            "why": buyers.why(buyer) if buyer.status in (BuyerStatus.SUSPENDED, BuyerStatus.CLOSED) else "",
            "lists": {kind._meta.model_name: list_url(kind, of=business.slug) for kind in kinds},
            "today": today,
            "business_url": reverse("admin:crm_business_change", args=[business.pk]),
        }

    # --- Standing ---

    @admin.action(description="Approve", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Buyer]) -> HttpResponse | None:
        return self._decide(
            request,
            queryset,
            lambda buyer, reason: buyers.approve(business=buyer.business, **_by(request), site=site_of(request)),
            question="Approve?",
            button="Approve",
            explanation="They can buy from now on, on the terms of their account. A mail tells them.",
            done="approved",
        )

    @admin.action(description="Suspend", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Buyer]) -> HttpResponse | None:
        return self._decide(
            request,
            queryset,
            lambda buyer, reason: buyers.suspend(
                business=buyer.business, reason=reason, **_by(request), site=site_of(request)
            ),
            form=ForTheBuyerForm,
            question="Suspend?",
            button="Suspend",
            explanation="They cannot buy until the account is reopened. What they bought stays theirs. A mail tells them.",
            done="suspended",
        )

    @admin.action(description="Reopen", permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Buyer]) -> HttpResponse | None:
        return self._decide(
            request,
            queryset,
            lambda buyer, reason: buyers.reopen(
                business=buyer.business, reason=reason, **_by(request), site=site_of(request)
            ),
            form=MayBeEmptyForm,
            question="Reopen?",
            button="Reopen",
            explanation="As it was before: whoever had been approved can buy again. A mail tells them.",
            done="open again",
        )

    @admin.action(description="Close", permissions=["change"])
    def close_account(self, request: HttpRequest, queryset: QuerySet[Buyer]) -> HttpResponse | None:
        return self._decide(
            request,
            queryset,
            lambda buyer, reason: buyers.close(
                business=buyer.business, reason=reason, **_by(request), site=site_of(request)
            ),
            form=ForTheBuyerForm,
            question="Close?",
            button="Close",
            explanation="The account ends; its books, invoices and recalls stay to read. A mail tells them. "
            "What stands on the account is not paid out by this.",
            done="closed",
        )

    def _decide(
        self,
        request: HttpRequest,
        rows: QuerySet[Buyer],
        verb: Callable[[Buyer, str], Any],
        *,
        question: str,
        button: str,
        explanation: str,
        done: str,
        form: type[forms.Form] | None = None,
    ) -> HttpResponse | None:
        asked = form(request.POST if self.confirmed(request) else None) if form else None
        if not self.confirmed(request) or (asked is not None and not asked.is_valid()):
            return self.ask(
                request,
                rows,
                question=question,
                button=button,
                explanation=explanation,
                form=asked,
                template="admin/marketplace/ask.html",
                what=[f"{buyer}: {buyer.get_status_display().lower()}, {say_money(buyer.balance)}" for buyer in rows],
            )
        reason = asked.cleaned_data["reason"] if asked is not None else ""

        def act(buyer: Buyer) -> bool:
            verb(buyer, reason)
            return True

        self.for_each(request, rows, act, done=done)
        return None

    @admin.action(description="Issue an invoice now", permissions=["change"])
    def issue_invoice(self, request: HttpRequest, queryset: QuerySet[Buyer]) -> HttpResponse | None:
        if not self.confirmed(request):
            return self.ask(
                request,
                queryset,
                question="Issue an invoice now?",
                button="Issue",
                explanation="It holds everything that is on no invoice yet. The next one at the end of the month follows "
                "on it.",
                template="admin/marketplace/ask.html",
                what=[f"{buyer}: {say_money(buyer.balance)}" for buyer in queryset],
            )
        for buyer in queryset:
            now = timezone.now()
            with transaction.atomic():
                invoice = invoices.issue(business=buyer.business, until=now, now=now)
                if invoice is not None:
                    self.trace(
                        request,
                        buyer,
                        action="invoice issued",
                        changes={"invoice": ["", f"{invoice}, {invoice.total}"]},
                    )
            if invoice is None:
                self.message_user(request, f"{buyer}: there is nothing to invoice.", "warning")
            else:
                self.message_user(request, f"{buyer}: {invoice} for {say_money(invoice.total)}.", "success")
        return None

    # --- Money ---

    def money_view(self, request: HttpRequest, pk: Any, what: str) -> HttpResponse:
        """A form, then a question that names the buyer, the amount and the new balance, then it is booked."""
        movement = MOVEMENTS.get(what)
        buyer = self.get_queryset(request).filter(pk=pk).first()
        if movement is None or buyer is None:
            raise Http404
        if not self.has_change_permission(request, buyer):
            raise PermissionDenied
        initial = {"terms": buyer.terms, "credit_limit": buyer.credit_limit}
        form = movement.form(request.POST if request.method == "POST" else None, initial=initial)
        is_asked = form.is_bound and form.is_valid()
        if is_asked and self.confirmed(request):
            answer = self._book(request, buyer, what, movement, form)
            if answer is not None:
                return answer
        after = buyer.balance + form.change(buyer) if is_asked and form.is_valid() else None
        context = {
            **self.admin_site.each_context(request),
            "title": f"{movement.label}: {buyer}",
            "buyer": buyer,
            "buyer_url": self.url_of(buyer),
            "movement": movement,
            "moves_money": what != "terms",
            "form": form,
            "sentence": _sentence(what, buyer, form) if after is not None else "",
            "before": say_money(buyer.balance),
            "after": say_money(after) if after is not None else "",
            "balance": buyer.balance,
            "opts": self.opts,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/marketplace/buyer_money.html", context)

    def _book(
        self, request: HttpRequest, buyer: Buyer, what: str, movement: Movement, form: Any
    ) -> HttpResponse | None:
        """None: it was not booked, and the page says why."""
        before = buyer.balance
        try:
            with transaction.atomic():
                if not movement.has_reference:
                    # What was confirmed is what happens: a second click finds another balance than the page had shown.
                    before = books.lock_buyer(buyer.business).balance
                    if str(before) != request.POST.get("balance"):
                        buyer.balance = before
                        self.message_user(request, "The balance has moved meanwhile. Look again.", "warning")
                        return None
                form.book(what=what, business=buyer.business, **_by(request))
        except Refused as reason:
            form.add_error(None, str(reason))
            return None
        buyer.refresh_from_db(fields=["balance"])
        self.message_user(
            request, f"{_sentence(what, buyer, form)} The balance is {say_money(buyer.balance)}.", "success"
        )
        return HttpResponseRedirect(self.url_of(buyer))


def _by(request: HttpRequest) -> dict[str, Any]:
    return {"actor": signed_in(request), "now": timezone.now()}


def _sentence(what: str, buyer: Buyer, form: Any) -> str:
    if what == "terms":
        return f"{buyer}: {form.said()}."
    return f"{MOVEMENTS[what].label} of {say_money(form.cleaned_data['amount'])} for {buyer}."


def _money_tiles(buyer: Buyer, owed: accounts.Open) -> list[dict[str, str]]:
    left = accounts.can_be_spent(buyer)
    balance = {
        "label": "Balance",
        "value": say_money(buyer.balance),
        "sentence": "They owe us" if buyer.balance < 0 else "Paid ahead" if buyer.balance else "Even",
    }
    if left is not None:
        limit = f"Wallet, may go {say_money(buyer.credit_limit)} below zero" if buyer.credit_limit else "Wallet"
        return [balance, {"label": "Can be spent", "value": say_money(left), "sentence": limit}]
    late = f"{owed.overdue:,} past due" if owed.overdue else "None past due"
    return [
        balance,
        {
            "label": "Open invoices",
            "value": say_money(owed.total),
            "sentence": f"{owed.count:,} {say_noun(owed.count, 'invoice', 'invoices')}. {late}"
            if owed.count
            else "None",
            "tone": "danger" if owed.overdue else "",
        },
    ]


def _lead_tiles(business: Business, allowed: returns.Allowance) -> list[dict[str, str]]:
    return [
        {"label": "Leads bought", "value": f"{allowed.bought:,}", "sentence": "Last 30 days"},
        {
            "label": "Returned",
            "value": say_share(allowed.returned, allowed.bought),
            "sentence": f"{allowed.returned:,} of at most {allowed.limit:,}",
            "url": list_url(Return, of=business.slug, state="all"),
        },
    ]
