"""What happened, what is to do, what was turned away, who changed what, and what it cost."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from crm import idempotency
from crm.admin.base import ReadOnlyAdmin, signed_in
from crm.admin.lists import OfBusiness, made_lately, of_customers
from crm.models import Activity, AuditEvent, Heartbeat, IdempotencyKey, LlmUsage, SecurityEvent, Task, User
from crm.services import finish_task, reopen_task


@admin.register(Activity)
class ActivityAdmin(ReadOnlyAdmin):
    list_display = ("at", "verb", "text", "customer", "business", "actor")
    list_select_related = ("customer", "business", "actor")
    list_filter = (OfBusiness, made_lately("at"))
    fields = ("business", "customer", "verb", "text", "about", "actor", "at")
    search_fields = ("customer",)
    search_help_text = "A customer's name or number, or an id."

    def find(self, rows: QuerySet[Activity], words: str) -> QuerySet[Activity]:
        return of_customers(rows, words)


class Open(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("done", "Done")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if self.value() is None:
            return queryset
        return queryset.filter(done_at__isnull=self.value() == "open")


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("title", "reason", "customer", "business", "due_at", "done_at", "done_by")
    list_select_related = ("customer", "business", "done_by")
    list_filter = (OfBusiness, Open, "reason")
    fields = ("business", "customer", "reason", "title", "about", "created_at", "due_at", "done_at", "done_by")
    search_fields = ("customer",)
    search_help_text = "A customer's name or number, or an id."
    actions = ("finish", "reopen")

    def find(self, rows: QuerySet[Task], words: str) -> QuerySet[Task]:
        return of_customers(rows, words)

    @admin.action(description="Mark as done", permissions=["act"])
    def finish(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        user = signed_in(request)
        self.for_each(
            request,
            queryset.select_related("business", "customer"),
            lambda task: finish_task(task=task, user=user, now=timezone.now()),
            done="done",
            action="task done",
            column="done_at",
        )

    @admin.action(description="Open again", permissions=["act"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        user = signed_in(request)

        def act(task: Task) -> bool:
            if task.done_at is None:
                return False
            reopen_task(task=task, user=user, now=timezone.now())
            return True

        self.for_each(
            request,
            queryset.select_related("business", "customer"),
            act,
            done="open again",
            action="task opened again",
            column="done_at",
        )


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    """Requests that were carried out. The stored answer is not shown: some answers hold a secret that is shown once."""

    list_display = ("created_at", "scope", "key", "business", "status")
    list_select_related = ("business",)
    list_filter = (OfBusiness,)
    fields = ("business", "scope", "key", "fingerprint", "status", "created_at")
    search_fields = ("key",)
    search_help_text = "The whole key, as the caller sent it."

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyKey]:
        return super().get_queryset(request).filter(created_at__gte=timezone.now() - idempotency.KEEP)

    def find(self, rows: QuerySet[IdempotencyKey], words: str) -> QuerySet[IdempotencyKey]:
        return rows.filter(key=words)


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    list_display = ("minute", "kind", "path", "count", "source", "business")
    list_select_related = ("business",)
    list_filter = (made_lately("minute"), "kind", OfBusiness)
    ordering = ("-minute", "-pk")
    fields = ("minute", "kind", "path", "count", "source", "business", "detail")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_text", "action", "target", "business", "reason")
    list_select_related = ("business",)
    list_filter = (made_lately("at"), OfBusiness)
    ordering = ("-at", "-pk")
    fields = ("at", "actor_text", "actor", "action", "target", "business", "what_changed", "reason")
    readonly_fields = ("what_changed",)
    search_fields = ("actor",)
    search_help_text = "The e-mail address of whoever did it, or an id."

    def find(self, rows: QuerySet[AuditEvent], words: str) -> QuerySet[AuditEvent]:
        return rows.filter(actor__in=User.objects.filter(email=words.lower()))

    @admin.display(description="what changed")
    def what_changed(self, event: AuditEvent) -> SafeString | str:
        if not event.changes:
            return "–"
        return format_html_join(
            "", "<div><b>{}</b>: {}</div>", ((name, _from_to(values)) for name, values in event.changes.items())
        )


@admin.register(LlmUsage)
class LlmUsageAdmin(ReadOnlyAdmin):
    list_display = ("at", "business", "purpose", "model", "outcome", "latency_ms", "cost")
    list_select_related = ("business",)
    list_filter = (OfBusiness, made_lately("at"))
    fields = (
        "business",
        "purpose",
        "model",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "latency_ms",
        "outcome",
        "at",
    )
    readonly_fields = ("cost",)

    @admin.display(description="cost")
    def cost(self, call: LlmUsage) -> str:
        return "not known" if call.cost_micros is None else f"${call.cost_micros / 1_000_000:.4f}"


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "at", "detail")
    ordering = ("name",)
    fields = ("name", "at", "detail")


def _from_to(values: Any) -> str:
    """The console writes pairs; other writers of the audit may keep what they like."""
    if isinstance(values, list) and len(values) == 2:
        before, after = values
        return f"{before} → {after}" if before not in ("", None) else str(after)
    return str(values)
