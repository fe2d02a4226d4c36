"""How a business works its leads, as support sets it up with them: names and times, salespeople, rules, kept views."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm import phones
from crm.admin.base import ReadOnlyAdmin, SameBusinessForm, StaffAdmin
from crm.admin.lists import OfBusiness
from leads.models import AssignmentRule, PipelineSettings, Salesperson, SavedView
from leads.services.pipeline import works_here


class OfTheTeamForm(SameBusinessForm):
    """`person_field` is somebody who may work on leads there."""

    person_field = ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        business, somebody = self.business(), cleaned.get(self.person_field)
        if business is not None and somebody is not None and not works_here(business, somebody):
            self.add_error(
                self.person_field, f"{somebody} does not work for {business}. Add them under its members first."
            )
        return cleaned


class SalespersonForm(OfTheTeamForm):
    person_field = "user"
    phone = forms.CharField(
        required=False,
        max_length=phones.LONGEST,
        help_text="Offers are texted here. As usual: (555) 123-4567; empty: no text.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        business, raw = self.business(), (cleaned.get("phone") or "").strip()
        if raw and business is not None:
            try:
                cleaned["phone"] = phones.parse(raw, region=business.region).e164
            except phones.PhoneError as reason:
                self.add_error("phone", str(reason))
        return cleaned


class RuleForm(OfTheTeamForm):
    person_field = "assignee"


class MadeNow(StaffAdmin):
    """Rows that know when they were made."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_at = timezone.now()
        super().save_model(request, obj, form, change)


@admin.register(PipelineSettings)
class PipelineSettingsAdmin(StaffAdmin):
    list_display = ("business", "first_line", "second_line", "third_line", "answer_minutes", "accept_minutes")
    list_select_related = ("business",)
    list_filter = (OfBusiness,)
    autocomplete_fields = ("business",)
    fields = ("business", "first_line", "second_line", "third_line", "answer_minutes", "accept_minutes")

    def called(self, row: PipelineSettings) -> str:
        return f"pipeline settings of {row.business.slug}"


@admin.register(Salesperson)
class SalespersonAdmin(MadeNow):
    form = SalespersonForm
    list_display = ("user", "business", "takes_offers", "capacity", "phone", "last_offer_at")
    list_select_related = ("user", "business")
    list_filter = (OfBusiness, "takes_offers")
    search_fields = ("user",)
    search_help_text = "The beginning of a name or e-mail address."
    autocomplete_fields = ("business", "user")
    fields = ("business", "user", "takes_offers", "capacity", "phone", "last_offer_at", "created_at")
    readonly_fields = ("last_offer_at", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Salesperson]:
        return super().get_queryset(request).select_related("user", "business")

    def get_readonly_fields(self, request: HttpRequest, obj: Salesperson | None = None) -> tuple[str, ...]:
        fixed = super().get_readonly_fields(request, obj)
        return fixed if obj is None else (*fixed, "user")  # what was offered and sold stays with the person

    def find(self, rows: QuerySet[Salesperson], words: str) -> QuerySet[Salesperson]:
        return rows.filter(user__name__istartswith=words) | rows.filter(user__email__istartswith=words)


@admin.register(AssignmentRule)
class AssignmentRuleAdmin(MadeNow):
    form = RuleForm
    deletable = True
    list_display = ("__str__", "business", "source", "service", "domain", "assignee", "set_domain")
    list_select_related = ("business", "service", "assignee")
    list_filter = (OfBusiness,)
    autocomplete_fields = ("business", "service", "assignee")
    fields = ("business", "position", "source", "service", "domain", "assignee", "set_domain")


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    """What people keep for themselves: looked at to help them, and removed when they ask for it."""

    deletable = True
    list_display = ("name", "user", "is_shared", "business", "created_at")
    list_select_related = ("user", "business")
    list_filter = (OfBusiness, "is_shared")
    fields = ("business", "user", "name", "is_shared", "shows", "created_at")
    readonly_fields = ("shows",)

    @admin.display(description="filters")
    def shows(self, view: SavedView) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(view.filters, indent=1, ensure_ascii=False))
