"""Offered slots, to be read. What is wrong with one is put right where its job or thread is."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet

from crm.admin.base import ReadOnlyAdmin
from crm.admin.lists import OfBusiness, made_lately, of_customers
from leads.admin.filters import SlotState
from leads.models import Proposal


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "customer", "appointment", "status", "answered_at", "business")
    list_select_related = ("business", "customer", "appointment")
    list_filter = (OfBusiness, SlotState, made_lately("created_at"))
    search_fields = ("customer",)
    search_help_text = "A customer's name or number, or an id."
    fields = ("business", "lead", "customer", "appointment", "status", "text", "created_at", "answered_at")

    def find(self, rows: QuerySet[Proposal], words: str) -> QuerySet[Proposal]:
        return of_customers(rows, words)
