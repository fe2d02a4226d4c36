"""The console as a whole: signing in, the front page, the order of things, suggestions while one types."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from crm.models import User
from crm.services import audit

# Apps and tables as they are looked for, instead of by the alphabet; what is not named comes after.
_ORDER: Final = {
    "crm": (
        "Business",
        "User",
        "PhoneNumber",
        "ApiKey",
        "Customer",
        "Conversation",
        "Message",
        "Task",
        "Consent",
        "Activity",
        "CustomerMerge",
        "AuditEvent",
        "SecurityEvent",
        "LlmUsage",
        "IdempotencyKey",
        "Heartbeat",
    ),
    "booking": ("Appointment", "Service", "StaffMember", "WeeklyHours", "TimeOff", "BlackoutDate", "SchedulingRules"),
    "leads": (
        "Lead",
        "Deal",
        "DealOffer",
        "Assessment",
        "StageChange",
        "LeadActivity",
        "LeadMerge",
        "Proposal",
        "PipelineSettings",
        "Salesperson",
        "AssignmentRule",
        "SavedView",
        "OutcomeModel",
    ),
    "marketplace": (
        "Stock",
        "IngestRun",
        "AgedLead",
        "InventoryItem",
        "PricingRule",
        "Buyer",
        "Purchase",
        "Sale",
        "Return",
        "Quote",
        "Invoice",
        "JournalEntry",
        "JournalLine",
        "GonePerson",
        "Recall",
        "RecallNotice",
        "WebhookDelivery",
    ),
    "telephony": ("InboundEvent", "TwilioAccount", "SimulatedText", "CarrierSwitches"),
}

_NAMES: Final = {"auth": "Rights", "axes": "Sign-ins"}


class SignInForm(AdminAuthenticationForm):
    def clean_username(self) -> str:
        """Small letters, so that Alice@ and ALICE@ share one count of failed tries."""
        return str(self.cleaned_data["username"]).strip().lower()


class Suggestions(AutocompleteJsonView):
    """What fits while one types. `of` narrows it to one business; without it each row says whose it is."""

    def get_queryset(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset()
        if not self._has_business(rows.model):
            return rows
        try:
            return rows.filter(business_id=uuid.UUID(self.request.GET.get("of", "")))
        except ValueError:
            return rows.select_related("business")

    def serialize_result(self, obj: Model, to_field_name: str) -> dict[str, str]:
        result: dict[str, str] = super().serialize_result(obj, to_field_name)
        if self._has_business(type(obj)) and not self.request.GET.get("of"):
            result["text"] = f"{obj} · {obj.business}"  # type: ignore[attr-defined]
        return result

    @staticmethod
    def _has_business(model: type[Model]) -> bool:
        return any(field.name == "business" for field in model._meta.fields)


class StaffSite(admin.AdminSite):
    site_header = "Frontdesk staff"
    site_title = "Frontdesk staff"
    index_title = "Today"
    empty_value_display = "–"
    login_form = SignInForm

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from config.staff import today  # noqa: PLC0415 - it knows the tables, and they are registered with this class

        return super().index(request, {**(extra_context or {}), "today": today.look(now=timezone.now())})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = _NAMES.get(app["app_label"], app["name"])
            _sort(app["models"], by="object_name", names=_ORDER.get(app["app_label"], ()))
        _sort(apps, by="app_label", names=tuple(_ORDER))
        return apps

    def autocomplete_view(self, request: HttpRequest) -> Any:
        return Suggestions.as_view(admin_site=self)(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response = super().password_change(request, extra_context)
        if request.method == "POST" and response.status_code == 302 and isinstance(request.user, User):
            audit(
                business=None,
                actor=request.user,
                action="own password changed",
                target=f"user {request.user}",
                now=timezone.now(),
            )
        return response


def _sort(entries: list[Any], *, by: str, names: tuple[str, ...]) -> None:
    entries.sort(key=lambda entry: names.index(entry[by]) if entry[by] in names else len(names))
