"""The switchboard in the staff console: what came in and why it was answered so, accounts, and the demo carrier."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from crm.admin.base import ReadOnlyAdmin, SameBusinessForm, StaffAdmin, link
from crm.admin.lists import OfBusiness, made_lately
from crm.models import Message
from crm.security import seal
from telephony.enums import EventKind
from telephony.models import CarrierSwitches, InboundEvent, SimulatedText, TwilioAccount

# A delivery report's receipt is kept as sid:status, so naming them all finds every receipt of a text by the index.
_REPORTED = ("accepted", "queued", "sending", "sent", "delivered", "read", "undelivered", "failed", "canceled")


@admin.register(InboundEvent)
class InboundEventAdmin(ReadOnlyAdmin):
    """Receipts: one per text and per delivery report, with the step of the router that answered, and its reason."""

    list_display = ("received_at", "kind", "from_number", "business", "step", "reason")
    list_select_related = ("business",)
    list_filter = (made_lately("received_at"), OfBusiness, "kind", "step")
    ordering = ("-received_at", "-pk")
    fields = (
        "kind",
        "sid",
        "business",
        "from_number",
        "to_number",
        "step",
        "reason",
        "its_message",
        "twiml",
        "payload",
        "received_at",
    )
    readonly_fields = ("its_message", "twiml")
    search_fields = ("sid",)
    search_help_text = "The carrier's id (SM…), or an id of ours."

    def find(self, rows: QuerySet[InboundEvent], words: str) -> QuerySet[InboundEvent]:
        return rows.filter(kind__in=EventKind.values, sid__in=[words, *(f"{words}:{status}" for status in _REPORTED)])

    @admin.display(description="message")
    def its_message(self, event: InboundEvent) -> SafeString | str:
        return link(Message(pk=event.message), "Open it") if event.message else "–"

    @admin.display(description="our answer")
    def twiml(self, event: InboundEvent) -> SafeString | str:
        return format_html("<pre>{}</pre>", event.answer) if event.answer else "–"


class AccountForm(SameBusinessForm):
    """The token goes in and never comes out: what is on file cannot be shown, only replaced."""

    token = forms.CharField(
        label="Auth token",
        required=False,
        max_length=100,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "token" in self.fields:
            on_file = not self.instance._state.adding
            self.fields["token"].required = not on_file
            self.fields["token"].help_text = (
                "One is on file. Write a new one to replace it."
                if on_file
                else "Kept encrypted. It is never shown again."
            )


@admin.register(TwilioAccount)
class TwilioAccountAdmin(StaffAdmin):
    form = AccountForm
    deletable = True
    list_display = ("account_sid", "business", "created_at")
    list_select_related = ("business",)
    list_filter = (OfBusiness,)
    search_fields = ("account_sid",)
    autocomplete_fields = ("business",)
    fields = ("account_sid", "business", "token", "created_at")
    readonly_fields = ("created_at",)

    def find(self, rows: QuerySet[TwilioAccount], words: str) -> QuerySet[TwilioAccount]:
        return rows.filter(account_sid__startswith=words)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if obj is None else ("account_sid", *fixed)

    def save_model(self, request: HttpRequest, obj: TwilioAccount, form: Any, change: bool) -> None:
        if form.cleaned_data.get("token"):
            obj.sealed_token = seal(form.cleaned_data["token"])
        super().save_model(request, obj, form, change)

    def called(self, row: TwilioAccount) -> str:
        return f"twilio account {row.account_sid}"


@admin.register(SimulatedText)
class SimulatedTextAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "from_number", "to_number", "body", "status", "webhook_status")
    ordering = ("-created_at", "-pk")  # its keys are the carrier's, which do not sort by age
    fields = (
        "sid",
        "from_number",
        "to_number",
        "body",
        "status",
        "error_code",
        "status_callback",
        "webhook_status",
        "created_at",
        "arrives_at",
    )
    search_fields = ("sid",)
    search_help_text = "An id of the demo carrier (SM…), or a whole number."

    def find(self, rows: QuerySet[SimulatedText], words: str) -> QuerySet[SimulatedText]:
        if words.startswith("+"):
            return rows.filter(to_number=words) | rows.filter(from_number=words)
        return rows.filter(sid=words)


@admin.register(CarrierSwitches)
class CarrierSwitchesAdmin(StaffAdmin):
    """One set of switches, so its list is its page."""

    fields = ("fail", "delay_seconds", "lose_percent", "duplicate_percent", "reorder")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        row, _ = CarrierSwitches.objects.get_or_create(pk=1)
        return HttpResponseRedirect(self.url_of(row))

    def called(self, row: CarrierSwitches) -> str:
        return "demo carrier"
