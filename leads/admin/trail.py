"""What was found and done about leads, to be read: scores and why, moves, work, merges, and what outcomes taught."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm.admin.base import ReadOnlyAdmin, link, signed_in
from crm.admin.lists import OfBusiness, made_lately
from crm.services import Refused
from leads.admin.filters import WhoseMove
from leads.admin.numbered import as_numbered, lead_name
from leads.models import Assessment, Lead, LeadActivity, LeadMerge, OutcomeModel, StageChange
from leads.services.duplicates import undo_lead_merge


class OfLead(ReadOnlyAdmin):
    """Rows of a lead; found by its number."""

    list_select_related = ("lead__customer", "business")
    search_fields = ("lead",)
    search_help_text = "The number of a lead, or an id."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("lead__customer", "business")

    def find(self, rows: QuerySet[Any], words: str) -> QuerySet[Any]:
        number = as_numbered(words)
        return rows.none() if number is None else rows.filter(lead__in=Lead.objects.filter(number=number))

    @admin.display(description="lead")
    def the_lead(self, row: Any) -> str:
        return lead_name(row.lead)

    @admin.display(description="lead")
    def its_lead(self, row: Any) -> SafeString | str:
        return link(row.lead, lead_name(row.lead))


@admin.register(Assessment)
class AssessmentAdmin(OfLead):
    list_display = (
        "created_at",
        "the_lead",
        "score",
        "baseline",
        "reading",
        "silence",
        "recommendation",
        "model",
        "business",
    )
    list_filter = (OfBusiness, "recommendation", made_lately("created_at"))
    fields = (
        "business", "its_lead", "created_at", "score", "recommendation", "why", "activity_count", "read_until", "model",
        "prompt_version",
    )  # fmt: skip
    readonly_fields = ("its_lead", "why")

    @admin.display(description="why")
    def why(self, made: Assessment) -> str:
        return render_to_string("admin/leads/assessment.html", {"made": made})


@admin.register(StageChange)
class StageChangeAdmin(OfLead):
    list_display = ("at", "the_lead", "is_deal", "old", "new", "by_text", "why", "business")
    list_filter = (OfBusiness, WhoseMove, made_lately("at"))
    fields = ("business", "its_lead", "is_deal", "old", "new", "since", "at", "by", "by_text", "why")
    readonly_fields = ("its_lead",)


@admin.register(LeadActivity)
class LeadActivityAdmin(OfLead):
    list_display = ("at", "the_lead", "kind", "text", "by_text", "business")
    list_filter = (OfBusiness, "kind", made_lately("created_at"))
    fields = ("business", "its_lead", "kind", "text", "at", "created_at", "by", "by_text")
    readonly_fields = ("its_lead",)


@admin.register(LeadMerge)
class LeadMergeAdmin(ReadOnlyAdmin):
    """Which leads turned out to be one; each merge can be taken apart again."""

    list_display = ("stays", "went", "business", "merged_by", "merged_at", "undone_at")
    list_filter = (OfBusiness, made_lately("merged_at"))
    fields = ("business", "stays", "went", "what_moved", "what_was_filled", "merged_by", "merged_at", "undone_at")
    readonly_fields = ("stays", "went", "what_moved", "what_was_filled")
    list_display_links = ("merged_at",)
    search_fields = ("kept",)
    search_help_text = "The number of either lead, or an id."
    actions = ("undo",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LeadMerge]:
        rows = super().get_queryset(request)
        return rows.select_related("kept__customer", "dropped__customer", "kept__business", "business", "merged_by")

    def find(self, rows: QuerySet[LeadMerge], words: str) -> QuerySet[LeadMerge]:
        number = as_numbered(words)
        if number is None:
            return rows.none()
        leads = Lead.objects.filter(number=number)
        return rows.filter(kept__in=leads) | rows.filter(dropped__in=leads)

    @admin.display(description="kept")
    def stays(self, merge: LeadMerge) -> SafeString | str:
        return link(merge.kept, lead_name(merge.kept))

    @admin.display(description="merged into it")
    def went(self, merge: LeadMerge) -> SafeString | str:
        return link(merge.dropped, lead_name(merge.dropped))

    @admin.display(description="what moved")
    def what_moved(self, merge: LeadMerge) -> str:
        counted = [f"{len(ids)} × {label.split('.')[1].lower()}" for label, ids in merge.moved.items() if ids]
        return ", ".join(counted) or "Nothing"

    @admin.display(description="what was filled in")
    def what_was_filled(self, merge: LeadMerge) -> str:
        return ", ".join(name.removesuffix("_id").replace("_", " ") for name in merge.filled) or "Nothing"

    @admin.action(description="Undo this merge", permissions=["act"])
    def undo(self, request: HttpRequest, queryset: QuerySet[LeadMerge]) -> HttpResponse | None:
        merges = list(queryset)
        pairs = [f"{lead_name(merge.dropped)}, merged into {lead_name(merge.kept)}" for merge in merges]
        if not self.confirmed(request):
            return self.ask(
                request, merges, question="Take it apart again?", button="Undo", template="admin/leads/ask.html", what=pairs,
                explanation="What moved goes back. What came in since then stays with the lead that was kept.",
            )  # fmt: skip
        for merge, pair in zip(merges, pairs, strict=True):
            try:
                with transaction.atomic():
                    undo_lead_merge(merge=merge, user=signed_in(request), now=timezone.now())
                    self.trace(request, merge, action="lead merge undone")
            except Refused as reason:
                self.message_user(request, f"{pair}: {reason}", "warning")
            else:
                self.message_user(
                    request, f"{lead_name(merge.dropped)} and {lead_name(merge.kept)} are two leads again.", "success"
                )
        return None


@admin.register(OutcomeModel)
class OutcomeModelAdmin(ReadOnlyAdmin):
    """What the won and lost leads of a business taught; the newest is the one its pages show."""

    list_display = ("trained_at", "business", "verdict", "won", "lost", "brier", "base_brier")
    list_select_related = ("business",)
    list_filter = (OfBusiness, "verdict", made_lately("trained_at"))
    fields = ("business", "trained_at", "verdict", "won", "lost", "brier", "base_brier", "learned", "said_and_seen")
    readonly_fields = ("learned", "said_and_seen")

    @admin.display(description="learned")
    def learned(self, model: OutcomeModel) -> SafeString:
        return _as_written(model.parameters)

    @admin.display(description="said and seen")
    def said_and_seen(self, model: OutcomeModel) -> SafeString:
        return _as_written(model.curve)


def _as_written(data: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(data, indent=1, ensure_ascii=False))
