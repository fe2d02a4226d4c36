"""The tenants, their people and their numbers."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.options import InlineModelAdmin
from django.db.models import Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from crm import phones
from crm.admin.base import ReasonForm, SameBusinessForm, StaffAdmin, list_url, signed_in
from crm.admin.lists import OfBusiness, as_number
from crm.enums import BusinessStatus
from crm.models import (
    ApiKey,
    AuditEvent,
    Business,
    Conversation,
    Customer,
    Membership,
    Message,
    PhoneNumber,
    Task,
    User,
)
from crm.services import set_status


class NumberForm(SameBusinessForm):
    """A number as a person writes it, in the business's country."""

    e164 = forms.CharField(
        label="Number", max_length=phones.LONGEST, help_text="As usual: (555) 200-0001, or +15552000001."
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        business = self.business()
        if business is not None and cleaned.get("e164"):
            try:
                cleaned["e164"] = phones.parse(cleaned["e164"], region=business.region).e164
            except phones.PhoneError as reason:
                self.add_error("e164", str(reason))
        return cleaned


class MemberForm(forms.ModelForm):
    """A person by e-mail address; whoever is here already stays the person they are."""

    email = forms.EmailField(label="E-mail", help_text="Of somebody who has an account.")

    class Meta:
        model = Membership
        fields = ("role",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["email"].initial = self.instance.user.email
            self.fields["email"].disabled = True

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"]).lower()
        if self.instance._state.adding:
            user = User.objects.filter(email=email).first()
            if user is None:
                raise forms.ValidationError(f"Nobody signs in with {email}. Add them under Users first.")
            if Membership.objects.filter(business=self.instance.business_id, user=user).exists():
                raise forms.ValidationError("This person already belongs to the business.")
            self.instance.user = user
        return email


class People(BaseInlineFormSet):
    def clean(self) -> None:
        """One row per person; each form only knows those that are stored."""
        super().clean()
        emails = [form.cleaned_data["email"] for form in self.forms if form.cleaned_data.get("email")]
        twice = sorted({email for email in emails if emails.count(email) > 1})
        if twice:
            raise forms.ValidationError(f"{twice[0]} is listed twice. One line per person.")


class MembershipInline(admin.TabularInline):
    model = Membership
    form = MemberForm
    formset = People
    fields = ("email", "role")
    extra = 0
    verbose_name_plural = "people"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "business").order_by("user__email")


class PhoneNumberInline(admin.TabularInline):
    model = PhoneNumber
    form = NumberForm
    fields = ("e164", "label")
    extra = 0
    verbose_name_plural = "numbers customers write to"


@admin.register(Business)
class BusinessAdmin(StaffAdmin):
    list_display = ("name", "slug", "status", "trade", "time_zone", "open_intake", "created_at")
    list_filter = ("status", "open_intake", "private_health")
    ordering = ("slug",)
    search_fields = ("slug",)
    search_help_text = "The beginning of the short name or the name, or an id."
    readonly_fields = ("status", "created_at", "its_rows")
    actions = ("suspend", "reactivate")
    inlines: ClassVar[list[type[InlineModelAdmin[Any, Any]]]] = [MembershipInline, PhoneNumberInline]
    fieldsets = (
        (None, {"fields": ("name", "slug", "trade", "status", "its_rows", "created_at")}),
        ("Where it is", {"fields": ("time_zone", "region", "language", "public_phone", "address")}),
        ("Its owner", {"fields": ("owner_name", "owner_phone", "owner_email")}),
        ("What it may", {"fields": ("open_intake", "private_health", "sms_daily_cap_cents", "llm_daily_cap_cents")}),
    )

    def find(self, rows: QuerySet[Business], words: str) -> QuerySet[Business]:
        return rows.filter(Q(slug__startswith=words.lower()) | Q(name__istartswith=words))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The short name is in addresses that others have kept."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if obj is None else (*fixed, "slug")

    def called(self, row: Business) -> str:
        return f"business {row.slug}"

    @admin.display(description="its rows")
    def its_rows(self, business: Business) -> SafeString | str:
        if business._state.adding:
            return "–"
        kinds = (Customer, Conversation, Message, Task, ApiKey, AuditEvent)
        return format_html_join(
            " · ",
            '<a href="{}">{}</a>',
            ((list_url(kind, of=business.slug), str(kind._meta.verbose_name_plural).capitalize()) for kind in kinds),
        )

    @admin.action(description="Suspend", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Business]) -> HttpResponse | None:
        return self._set_status(
            request,
            queryset,
            BusinessStatus.SUSPENDED,
            question="Suspend?",
            button="Suspend",
            explanation="It keeps its data, answers nobody and sends nothing. Opt-outs are still recorded.",
        )

    @admin.action(description="Reactivate", permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Business]) -> HttpResponse | None:
        return self._set_status(
            request,
            queryset,
            BusinessStatus.ACTIVE,
            question="Reactivate?",
            button="Reactivate",
            explanation="It answers customers again from now on. Texts that came in meanwhile wait for a person.",
        )

    def _set_status(
        self,
        request: HttpRequest,
        rows: QuerySet[Business],
        status: BusinessStatus,
        *,
        question: str,
        button: str,
        explanation: str,
    ) -> HttpResponse | None:
        form = ReasonForm(request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask(request, rows, question=question, button=button, explanation=explanation, form=form)
        businesses = list(rows)
        changed = set_status(
            businesses=businesses,
            status=status,
            actor=signed_in(request),
            reason=form.cleaned_data["reason"],
            now=timezone.now(),
        )
        same = len(businesses) - changed
        self.message_user(
            request, f"{changed} now {status.label.lower()}." + (f" {same} had been before." if same else "")
        )
        return None


@admin.register(PhoneNumber)
class PhoneNumberAdmin(StaffAdmin):
    """A number that is deleted belongs to nobody: texts to it are kept as receipts and answered by silence."""

    form = NumberForm
    deletable = True
    list_display = ("e164", "business", "label", "created_at")
    list_select_related = ("business",)
    list_filter = (OfBusiness,)
    ordering = ("e164",)
    search_fields = ("e164",)
    search_help_text = "The number, or its beginning as +1555…"
    autocomplete_fields = ("business",)
    fields = ("business", "e164", "label", "created_at")
    readonly_fields = ("created_at",)

    def find(self, rows: QuerySet[PhoneNumber], words: str) -> QuerySet[PhoneNumber]:
        return rows.filter(e164__startswith=as_number(words) or "+" + "".join(c for c in words if c.isdigit()))
