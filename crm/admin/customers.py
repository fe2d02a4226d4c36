"""Customers: edited, merged, imported and exported; and what they allowed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from crm import consent, phones
from crm.admin.base import ReadOnlyAdmin, SameBusinessForm, StaffAdmin, link, list_url, signed_in
from crm.admin.files import CustomerFiles
from crm.admin.lists import OfBusiness, as_number, made_lately, of_customers, with_number
from crm.models import Activity, Consent, Conversation, Customer, CustomerMerge, Message, Task
from crm.services import Refused, add_customer, merge_customers, record_opt_out, undo_merge, update_customer
from crm.timeline import story

EDITABLE = ("name", "phone", "email", "address", "notes", "tags")


class CustomerForm(SameBusinessForm):
    phone = forms.CharField(
        required=False, max_length=phones.LONGEST, help_text="As usual: (555) 123-4567. May be empty."
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        business, raw = self.business(), (cleaned.get("phone") or "").strip()
        cleaned["phone"] = None
        if raw and business is not None:
            try:
                cleaned["phone"] = phones.parse(raw, region=business.region).e164
            except phones.PhoneError as reason:
                self.add_error("phone", str(reason))
        if "phone" in self.changed_data:
            self.instance.phone_raw = raw
        return cleaned


class WordsForm(forms.Form):
    words = forms.CharField(
        max_length=500, label="What they said", help_text="Kept in the ledger as proof, with your name and the time."
    )


class KeepForm(forms.Form):
    keep = forms.ChoiceField(widget=forms.RadioSelect, label="Which one stays?")

    def __init__(self, pair: list[Customer], *args: Any) -> None:
        super().__init__(*args)
        choices = [
            (str(customer.pk), f"{customer}, {customer.phone}" if customer.phone else str(customer))
            for customer in pair
        ]
        self.fields["keep"].choices = choices  # type: ignore[attr-defined]
        self.fields["keep"].initial = choices[0][0]


@admin.register(Customer)
class CustomerAdmin(CustomerFiles, StaffAdmin):
    form = CustomerForm
    list_display = ("__str__", "phone_number", "email", "business", "created_at", "is_merged")
    list_select_related = ("business",)
    list_filter = (OfBusiness, made_lately("created_at"))
    search_fields = ("name",)
    search_help_text = "Beginnings of a name or e-mail address, digits of the number, or an id."
    autocomplete_fields = ("business",)
    fields = ("business", *EDITABLE)
    actions = ("record_an_opt_out", "merge_two")
    list_only = frozenset({"merge_two"})

    def find(self, rows: QuerySet[Customer], words: str) -> QuerySet[Customer]:
        return rows.search(words)  # type: ignore[attr-defined]

    def get_fields(self, request: HttpRequest, obj: Customer | None = None) -> tuple[str, ...]:
        return (
            self.fields
            if obj is None
            else (*self.fields, "phone_raw", "created_at", "merged_into", "may_be_texted", "its_rows", "lately")
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Customer | None = None) -> tuple[str, ...]:
        fixed = super().get_readonly_fields(request, obj)
        return (
            tuple(fixed)
            if obj is None
            else (*fixed, "phone_raw", "created_at", "merged_into", "may_be_texted", "its_rows", "lately")
        )

    # --- Shown ---

    @admin.display(description="phone")
    def phone_number(self, customer: Customer) -> str:
        return phones.pretty(customer.phone, region=customer.business.region) if customer.phone else "–"

    @admin.display(description="merged")
    def is_merged(self, customer: Customer) -> str:
        return "Into another" if customer.merged_into_id is not None else ""

    @admin.display(description="may be texted")
    def may_be_texted(self, customer: Customer) -> str:
        if not customer.phone:
            return "No: there is no number on file."
        line = consent.standing(business=customer.business, phone=customer.phone)
        if line is None:
            return "No: nothing is on record from this number."
        if consent.is_opted_out(line):
            return f"No: {consent.opt_out_sentence(line, business=customer.business)}."
        return f"Yes: agreed {line.get_source_display()} on {line.at:%b} {line.at.day}, {line.at.year}."

    @admin.display(description="their rows")
    def its_rows(self, customer: Customer) -> SafeString:
        kinds = (Conversation, Message, Task, Activity)
        return format_html_join(
            " · ",
            '<a href="{}">{}</a>',
            (
                (list_url(kind, customer__id__exact=customer.pk), str(kind._meta.verbose_name_plural).capitalize())
                for kind in kinds
            ),
        )

    @admin.display(description="lately")
    def lately(self, customer: Customer) -> str:
        return render_to_string("admin/story.html", {"entries": story(customer, limit=20), "customer": customer})

    # --- Saved ---

    def save_model(self, request: HttpRequest, obj: Customer, form: Any, change: bool) -> None:
        now, actor = timezone.now(), signed_in(request)
        if not change:
            fields = {name: form.cleaned_data[name] for name in EDITABLE} | {"phone_raw": obj.phone_raw}
            obj.pk = add_customer(business=obj.business, fields=fields, actor=actor, now=now).pk
            return
        stored = Customer.objects.select_related("business").get(pk=obj.pk)
        changes = {name: form.cleaned_data[name] for name in form.changed_data if name in EDITABLE}
        update_customer(customer=stored, changes=changes, actor=actor, now=now)
        Customer.objects.filter(pk=obj.pk).exclude(phone_raw=obj.phone_raw).update(phone_raw=obj.phone_raw)

    # --- Acted upon ---

    @admin.action(description="Record an opt-out", permissions=["change"])
    def record_an_opt_out(self, request: HttpRequest, queryset: QuerySet[Customer]) -> HttpResponse | None:
        form = WordsForm(request.POST if self.confirmed(request) else None)
        customers = queryset.select_related("business")
        if not form.is_valid():
            return self.ask(
                request,
                customers,
                question="They want no texts?",
                button="Record it",
                form=form,
                explanation="Nothing is sent to their number from now on, until they text START themselves.",
            )
        recorded = 0
        for customer in customers:
            try:
                with transaction.atomic():
                    record_opt_out(
                        business=customer.business,
                        customer=customer,
                        words=form.cleaned_data["words"],
                        user=signed_in(request),
                        now=timezone.now(),
                    )
                    self.trace(request, customer, action="opt-out recorded", reason=form.cleaned_data["words"])
            except Refused as reason:
                self.message_user(request, f"{customer}: {reason}", "warning")
            else:
                recorded += 1
        if recorded:
            self.message_user(request, f"{recorded} opted out.")
        return None

    @admin.action(description="Merge two into one", permissions=["change"])
    def merge_two(self, request: HttpRequest, queryset: QuerySet[Customer]) -> HttpResponse | None:
        pair = list(queryset.select_related("business").order_by("created_at", "pk")[:3])
        if len(pair) != 2 or pair[0].business_id != pair[1].business_id:
            self.message_user(request, "Choose exactly two customers of the same business.", "warning")
            return None
        form = KeepForm(pair, request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask(
                request,
                pair,
                question="Are these two the same person?",
                button="Merge them",
                form=form,
                template="admin/merge.html",
                explanation="All of the other moves to the one that stays and fills its empty fields. You can undo it.",
                sides=[_side(customer) for customer in pair],
            )
        kept, dropped = pair if str(pair[0].pk) == form.cleaned_data["keep"] else pair[::-1]
        try:
            with transaction.atomic():
                merge = merge_customers(kept=kept, dropped=dropped, actor=signed_in(request), now=timezone.now())
                self.trace(
                    request,
                    kept,
                    action="customers merged",
                    changes={"merged": [self.called(dropped), self.called(kept)]},
                )
        except Refused as reason:
            self.message_user(request, str(reason), "warning")
        else:
            self.message_user(
                request, format_html("{} is now part of {}. {}", str(dropped), str(kept), link(merge, "Undo it here."))
            )
        return None


def _side(customer: Customer) -> dict[str, Any]:
    """One of the two, as the merge page shows it: what is on file, and how many rows hang on it."""
    fields = [(label_for_field(name, Customer), getattr(customer, name)) for name in EDITABLE if name != "tags"]
    hanging = []
    for relation in Customer._meta.related_objects:
        kind = relation.related_model
        if kind not in (Customer, CustomerMerge):
            count = kind._base_manager.filter(**{relation.field.name: customer}).count()
            hanging.append((count, kind._meta.verbose_name if count == 1 else kind._meta.verbose_name_plural))
    return {
        "customer": customer,
        "fields": [*fields, ("tags", ", ".join(customer.tags))],
        "has": ", ".join(f"{count:,} {words}" for count, words in hanging if count),
    }


@admin.register(CustomerMerge)
class CustomerMergeAdmin(ReadOnlyAdmin):
    """Which rows turned out to be one person; each merge can be taken apart again."""

    list_display = ("kept", "dropped", "business", "merged_by", "merged_at", "undone_at")
    list_select_related = ("kept", "dropped", "business", "merged_by")
    list_filter = (OfBusiness,)
    fields = ("business", "kept", "dropped", "filled", "what_moved", "merged_by", "merged_at", "undone_at")
    readonly_fields = ("what_moved",)
    search_fields = ("kept",)
    search_help_text = "Name or number of the customer that stayed."
    actions = ("undo",)

    def find(self, rows: QuerySet[CustomerMerge], words: str) -> QuerySet[CustomerMerge]:
        return of_customers(rows, words, "kept")

    @admin.display(description="what moved")
    def what_moved(self, merge: CustomerMerge) -> str:
        return (
            ", ".join(f"{len(ids)} × {label.split('.')[1].lower()}" for label, ids in merge.moved.items()) or "Nothing"
        )

    @admin.action(description="Undo this merge", permissions=["act"])
    def undo(self, request: HttpRequest, queryset: QuerySet[CustomerMerge]) -> HttpResponse | None:
        merges = list(queryset.select_related("kept", "dropped", "business"))
        if not self.confirmed(request):
            return self.ask(
                request,
                merges,
                question="Take it apart again?",
                button="Undo",
                explanation="What moved goes back. What came in since then stays with the one that was kept.",
            )
        for merge in merges:
            try:
                with transaction.atomic():
                    undo_merge(merge=merge, actor=signed_in(request), now=timezone.now())
                    self.trace(request, merge, action="merge undone")
            except Refused as reason:
                self.message_user(request, str(reason), "warning")
            else:
                self.message_user(request, f"{merge.dropped} and {merge.kept} are two customers again.")
        return None


@admin.register(Consent)
class ConsentAdmin(ReadOnlyAdmin):
    """The ledger. A line that was written stays; opt-outs told to a person are recorded on the customer's page."""

    list_display = ("phone", "action", "scope", "source", "words", "business", "recorded_by", "at")
    list_select_related = ("business", "recorded_by")
    list_filter = (OfBusiness, "action", made_lately("at"))
    fields = ("business", "phone", "channel", "scope", "action", "source", "words", "reference", "recorded_by", "at")
    search_fields = ("phone",)
    search_help_text = "The whole number, or an id."

    def find(self, rows: QuerySet[Consent], words: str) -> QuerySet[Consent]:
        number = as_number(words)
        return with_number(rows, "phone", number) if number else rows.none()
