"""Requests and offered slots, to be read. What is wrong with one is put right where its job or thread is."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from crm.admin.base import ReadOnlyAdmin
from crm.admin.lists import OfBusiness, made_lately, of_customers
from leads.enums import ProposalStatus
from leads.models import Lead, Proposal


class Untouched(admin.SimpleListFilter):
    title = "answered"
    parameter_name = "answered"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Nobody has answered yet"), ("yes", "Answered")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lead]) -> QuerySet[Lead]:
        if self.value() is None:
            return queryset
        return queryset.filter(first_touch_at__isnull=self.value() == "no")


@admin.register(Lead)
class LeadAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "customer", "asked_for", "service", "status", "source", "business", "first_touch_at")
    list_select_related = ("business", "customer", "service")
    list_filter = (OfBusiness, "status", Untouched, "source", made_lately("created_at"))
    search_fields = ("customer",)
    search_help_text = "A customer's name or number, or an id."
    fields = (
        "business",
        "customer",
        "source",
        "event_id",
        "status",
        "service",
        "asked_for",
        "notes",
        "appointment",
        "created_at",
        "first_touch_at",
    )

    def find(self, rows: QuerySet[Lead], words: str) -> QuerySet[Lead]:
        return of_customers(rows, words)


class OfferState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(ProposalStatus.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Proposal]) -> QuerySet[Proposal]:
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "customer", "appointment", "status", "answered_at", "business")
    list_select_related = ("business", "customer", "appointment")
    list_filter = (OfBusiness, OfferState, made_lately("created_at"))
    search_fields = ("customer",)
    search_help_text = "A customer's name or number, or an id."
    fields = ("business", "lead", "customer", "appointment", "status", "text", "created_at", "answered_at")

    def find(self, rows: QuerySet[Proposal], words: str) -> QuerySet[Proposal]:
        return of_customers(rows, words)
