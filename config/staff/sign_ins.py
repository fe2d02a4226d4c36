"""Who is locked out after too many wrong passwords, and who signed in: the tables of django-axes, in our lists."""

from __future__ import annotations

import ipaddress
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from crm.admin.base import ReadOnlyAdmin

for model in (AccessAttempt, AccessFailureLog, AccessLog):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ReadOnlyAdmin):
    """Wrong passwords by account and network address. What was posted is not shown."""

    list_display = ("username", "ip_address", "failures_since_start", "is_locked", "attempt_time")
    fields = ("username", "ip_address", "user_agent", "path_info", "failures_since_start", "is_locked", "attempt_time")
    readonly_fields = ("is_locked",)
    search_fields = ("username",)
    search_help_text = "The whole e-mail address or network address."
    actions = ("let_them_try",)

    def find(self, rows: QuerySet[AccessAttempt], words: str) -> QuerySet[AccessAttempt]:
        return _signed_in_as(rows, words)

    @admin.display(description="locked out", boolean=True)
    def is_locked(self, attempt: AccessAttempt) -> bool:
        return attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT

    @admin.action(description="Let them try again", permissions=["act"])
    def let_them_try(self, request: HttpRequest, queryset: QuerySet[AccessAttempt]) -> None:
        with transaction.atomic():
            for attempt in queryset:
                self.trace(request, attempt, action="sign-in unlocked")
            count, _ = queryset.order_by().delete()
        self.message_user(request, f"{count} may try again.")

    def called(self, row: Any) -> str:
        return f"sign-in of {row.username} from {row.ip_address}"


@admin.register(AccessLog)
class AccessLogAdmin(ReadOnlyAdmin):
    list_display = ("attempt_time", "username", "ip_address", "path_info", "logout_time")
    fields = ("username", "ip_address", "user_agent", "path_info", "attempt_time", "logout_time")
    search_fields = ("username",)
    search_help_text = "The whole e-mail address or network address."

    def find(self, rows: QuerySet[AccessLog], words: str) -> QuerySet[AccessLog]:
        return _signed_in_as(rows, words)


def _signed_in_as(rows: QuerySet[Any], words: str) -> QuerySet[Any]:
    """By network address if it is one, else by the name that was typed."""
    try:
        return rows.filter(ip_address=str(ipaddress.ip_address(words)))
    except ValueError:
        return rows.filter(username=words.lower())
