"""What there is to sell: every lead with everything that happened to it, and every item of the shelf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm import phones
from crm.admin.base import ReadOnlyAdmin, ReasonForm, link, signed_in
from crm.admin.lists import as_key, as_number, made_lately
from marketplace import age_buckets, lead_log, marks, queries
from marketplace.admin import people
from marketplace.admin.filters import FOR_SALE, SOLD, TOO_YOUNG, AgeNow, Bucket, Class, ForSaleIn, Standing, State
from marketplace.columns import PERSONAL, SOURCE
from marketplace.enums import AgeBucket, ClosedBecause, GoneBecause
from marketplace.models import AgedLead, InventoryItem, Sale
from marketplace.pricing import say_money
from marketplace.services import withdrawals


def say_place(row: AgedLead | InventoryItem) -> str:
    return f"{row.county}, {row.state}" if row.county else row.state


def say_age(row: AgedLead | InventoryItem, *, now: datetime) -> str:
    """“208 days”."""
    if row.called_in_at > now:
        return "not yet called in"
    days = age_buckets.age_in_days(row.called_in_at, as_of=now)
    return "1 day" if days == 1 else f"{days:,} days"


def say_bucket(lead: AgedLead, *, now: datetime) -> str:
    """Where its age belongs now, whether it stands there or not."""
    days = age_buckets.age_in_days(lead.called_in_at, as_of=now) if lead.called_in_at <= now else 0
    name = age_buckets.bucket_of(days)
    return AgeBucket(name).label if name else "Too young to sell"


def standing(item: InventoryItem, *, now: datetime) -> tuple[str, str]:
    """What became of an item: a key, and the words for it."""
    if item.sold_at is not None:
        return SOLD, "Sold"
    if item.closed_at is not None:
        return item.closed_because, ClosedBecause(item.closed_because).label
    if item.called_in_at not in age_buckets.window(item.age_bucket, as_of=now):
        return ClosedBecause.AGED_OUT, "Has grown out of this age; the next roll-over closes it"
    return FOR_SALE, "For sale"


def _chip(item: InventoryItem, *, now: datetime) -> SafeString:
    return format_html('<span class="state state--{}">{}</span>', *standing(item, now=now))


class _Withdrawing(ReadOnlyAdmin):
    """The two things staff do to a lead on the shelf, on its own page and on those of its items."""

    column = "status"

    def lead_id(self, row: Any) -> UUID:
        return row.pk

    @admin.action(description="Withdraw from sale", permissions=["act"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        form = ReasonForm(request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask(
                request,
                queryset,
                question="Withdraw from sale?",
                button="Withdraw",
                form=form,
                explanation="Nobody can buy it any more, at no age, until it is put back. Who bought it before keeps it.",
            )
        actor, reason = signed_in(request), form.cleaned_data["reason"]

        def act(row: Any) -> bool:
            withdrawals.withdraw(lead_id=self.lead_id(row), reason=reason, actor=actor, now=timezone.now())
            return True

        self.for_each(request, queryset, act, done="withdrawn from sale", column=self.column)
        return None

    @admin.action(description="Put back on the shelf", permissions=["act"])
    def put_back(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        form = ReasonForm(request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask(
                request,
                queryset,
                question="Put it back on the shelf?",
                button="Put back",
                form=form,
                explanation="It can be bought again, at the age it has now.",
            )
        actor, reason = signed_in(request), form.cleaned_data["reason"]

        def act(row: Any) -> bool:
            there = withdrawals.put_back(lead_id=self.lead_id(row), reason=reason, actor=actor, now=timezone.now())
            if not there:
                self.message_user(
                    request, f"{row}: it was sold at its present age; it is for sale again at the next one."
                )
            return True

        self.for_each(request, queryset, act, done="put back", column=self.column)
        return None


# --- Leads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A column of the file as it came. `is_gone`: it was emptied when the person was erased."""

    heading: str
    value: str
    is_gone: bool


@admin.register(AgedLead)
class AgedLeadAdmin(_Withdrawing):
    nothing_yet = "There are no leads yet. They come in with files."
    list_display = ("name", "classification", "place", "age", "called_in_at", "came_with", "created_at")
    list_select_related = ("run",)
    list_filter = (Class, AgeNow, ForSaleIn, made_lately("created_at"))
    fields = ("classification", "place", "called_in_at", "age_now", "came_with", "created_at", "erased_at")
    readonly_fields = ("place", "age_now", "came_with")
    search_fields = ("phone",)
    search_help_text = "The whole phone number, or the id of a lead."
    actions = ("withdraw", "put_back", "opt_out", "erase")

    def find(self, rows: QuerySet[AgedLead], words: str) -> QuerySet[AgedLead]:
        number = as_number(words)
        if number is None:
            return rows.none()
        mark = marks.mark_of(number)
        return rows.filter(Q(phone_mark=mark) | Q(other_mark=mark))

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgedLead]:
        return super().get_queryset(request).select_related("run__started_by")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """An age is a stretch of the index on the call, so a filter by it comes in that order."""
        by_age = request.GET.get("bucket", "") in (*age_buckets.NAMES, TOO_YOUNG)
        return ("called_in_at", "pk") if by_age else ("-pk",)

    def has_forget_permission(self, request: HttpRequest) -> bool:
        """For `@admin.action(permissions=["forget"])`: it adds somebody to the people never sold."""
        return signed_in(request).has_perm("marketplace.add_goneperson")

    # --- Shown ---

    @admin.display(description="name")
    def name(self, lead: AgedLead) -> str:
        if lead.erased_at is not None:
            return "Erased"
        return lead.full_name or f"{lead.first_name} {lead.last_name}".strip() or "No name"

    @admin.display(description="place")
    def place(self, lead: AgedLead) -> str:
        return say_place(lead)

    @admin.display(description="age")
    def age(self, lead: AgedLead) -> str:
        return say_age(lead, now=timezone.now())

    @admin.display(description="age now")
    def age_now(self, lead: AgedLead) -> str:
        now = timezone.now()
        months = age_buckets.age_in_months(max((now - lead.called_in_at).days, 0))
        return f"{say_age(lead, now=now)}, {months:,} months of 30 days: {say_bucket(lead, now=now)}"

    @admin.display(description="came with")
    def came_with(self, lead: AgedLead) -> SafeString | str:
        return link(lead.run)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        lead = context["original"]
        log = lead_log.read(lead)
        now = timezone.now()
        sales = {sale.item_id: sale for sale in log.sales}
        context |= {
            "log": [(step, self._url(step.about), self._url(step.business)) for step in log.steps],
            "items": [(item, *standing(item, now=now), sales.get(item.pk), self._url(item)) for item in log.items],
            "columns": _as_it_came(lead),
        }
        response = super().render_change_form(request, context, *args, **kwargs)
        context["staff_actions"] = [
            (name, label)
            for name, label in context["staff_actions"]
            if self._makes_sense(name, lead, log.items, now=now)
        ]
        return response

    @staticmethod
    def _makes_sense(action: str, lead: AgedLead, items: list[InventoryItem], *, now: datetime) -> bool:
        """Buttons for what can be done with this lead; the list, where many are chosen, tells the others why not."""
        if action in ("opt_out", "erase"):
            return bool(lead.phone or lead.other_phone)
        wanted = ClosedBecause.WITHDRAWN if action == "put_back" else FOR_SALE
        return any(standing(item, now=now)[0] == wanted for item in items)

    def _url(self, row: Model | None) -> str:
        """Empty for a row that has no page in the console."""
        if row is None or not self.admin_site.is_registered(type(row)):
            return ""
        return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])

    # --- Acted upon ---

    @admin.action(description="The person opted out", permissions=["forget"])
    def opt_out(self, request: HttpRequest, queryset: QuerySet[AgedLead]) -> HttpResponse | None:
        return self._forget(
            request, queryset, GoneBecause.OPTED_OUT, "They want no calls and no texts?", "Never sell them"
        )

    @admin.action(description="Erase the person", permissions=["forget"])
    def erase(self, request: HttpRequest, queryset: QuerySet[AgedLead]) -> HttpResponse | None:
        return self._forget(request, queryset, GoneBecause.ERASED, "Erase this person for good?", "Erase")

    def _forget(
        self, request: HttpRequest, rows: QuerySet[AgedLead], because: GoneBecause, question: str, button: str
    ) -> HttpResponse | None:
        leads = list(rows)
        numbers = sorted({number for lead in leads for number in (lead.phone, lead.other_phone) if number})
        for lead in leads:
            if not lead.phone and not lead.other_phone:
                why = "was erased before" if lead.erased_at else "has no phone number by which to know the person again"
                self.message_user(request, f"{lead}: it {why}.", "warning")
        if not numbers:
            return None
        if not self.confirmed(request):
            return self.ask(
                request,
                [lead for lead in leads if lead.phone or lead.other_phone],
                question=question,
                button=button,
                explanation=f"{people.WHAT_IT_MEANS[because]} This cannot be undone.",
                template="admin/marketplace/agedlead/forget.html",
                numbers=[phones.pretty(number) for number in numbers],
                reach=people.reach(numbers),
            )
        said = people.forget(numbers, because=because, actor=signed_in(request), now=timezone.now())
        self.message_user(request, said, "success")
        return None


def _as_it_came(lead: AgedLead) -> list[Cell]:
    """The file's columns, in its order and spelling."""
    return [
        Cell(heading, getattr(lead, name), is_gone=lead.erased_at is not None and name in PERSONAL)
        for heading, name in SOURCE.items()
    ]


# --- The shelf, item by item -----------------------------------------------------------------------------------------


@admin.register(InventoryItem)
class InventoryItemAdmin(_Withdrawing):
    """A lead in one bucket. Rows that a filter narrows to one class and age for sale come as they are sold: oldest first."""

    nothing_yet = "Nothing has stood on the shelf yet."
    column = "closed_because"
    list_display = ("place", "classification", "age_bucket", "age", "status", "the_lead")
    list_select_related = ("lead",)
    list_filter = (Standing, Class, Bucket, State)
    fields = (
        "the_lead", "classification", "age_bucket", "place", "called_in_at", "age", "status", "price", "created_at", "sold_at",
        "closed_at",
    )  # fmt: skip
    readonly_fields = ("the_lead", "place", "age", "status", "price")
    search_fields = ("lead",)
    search_help_text = "The id of an item or of a lead."
    actions = ("withdraw", "put_back")

    def lead_id(self, row: InventoryItem) -> UUID:
        return row.lead_id

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        key = as_key(search_term.strip())
        if key is None:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(Q(pk=key) | Q(lead=key)), False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Only what is for sale or sold has a quick way to a state, so a state alone means what is for sale there."""
        if request.method == "GET" and request.GET.get("state") and not request.GET.get("status"):
            return HttpResponseRedirect(f"?{request.GET.urlencode()}&status={FOR_SALE}")
        return super().changelist_view(request, extra_context)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        asked = request.GET
        match asked.get("status"):
            case "for_sale" if asked.get("class") and asked.get("bucket"):
                return ("called_in_at", "pk")
            case "sold":
                return ("-sale__sold_at", "-pk")
        return ("-pk",)

    @admin.display(description="place")
    def place(self, item: InventoryItem) -> str:
        return say_place(item)

    @admin.display(description="age")
    def age(self, item: InventoryItem) -> str:
        return say_age(item, now=timezone.now())

    @admin.display(description="status")
    def status(self, item: InventoryItem) -> SafeString:
        return _chip(item, now=timezone.now())

    @admin.display(description="lead")
    def the_lead(self, item: InventoryItem) -> SafeString | str:
        return link(item.lead, "Its lead")

    @admin.display(description="price")
    def price(self, item: InventoryItem) -> SafeString | str:
        """What it was sold for, or what it costs now."""
        if item.sold_at is not None:
            sale = Sale.objects.select_related("business", "purchase").filter(item=item).first()
            if sale is None:
                return "–"
            return format_html("Sold to {} for {} ({})", sale.business, say_money(sale.price), link(sale.purchase))
        if item.closed_at is not None:
            return "–"
        rule = queries.rules_in_force(now=timezone.now()).get((item.classification, item.age_bucket))
        return say_money(rule.price) if rule else "Nobody has said what it costs, so nobody can buy it."
