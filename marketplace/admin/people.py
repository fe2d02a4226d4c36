"""People who are never sold again, and how the buyers who have them heard of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from crm import phones
from crm.admin.base import ReadOnlyAdmin, link, list_url, signed_in
from crm.admin.lists import OfBusiness, as_key, as_number, made_lately
from crm.enums import ConsentAction
from crm.models import Consent, User
from crm.services import audit
from crm.wording import say_noun
from marketplace import marks
from marketplace.enums import DeliveryStatus, GoneBecause
from marketplace.models import (
    AgedLead,
    GonePerson,
    InventoryItem,
    Recall,
    RecallNotice,
    Sale,
    WebhookDelivery,
)
from marketplace.services import known, recalls, webhooks

SHOWN: Final = 20  # leads of one person
LATE: Final = timedelta(days=3)  # after it was told, a recall should have been heard
LARGEST_LIST: Final = 20_000_000  # bytes; about 300,000 hashes, a minute of work
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
WHAT_IT_MEANS: Final = {
    GoneBecause.OPTED_OUT: "They are never sold again. Buyers who have them are told not to call or text.",
    GoneBecause.ERASED: "They are never sold again, and everything that says who they are is emptied here. Buyers who have"
    " them are told to delete it, and files that hold them are withdrawn.",
}


# --- Forgetting somebody ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """What would be called back if these people went now."""

    leads: int
    for_sale: int
    sales: int
    buyers: int

    @property
    def sentence(self) -> str:
        if not self.leads:
            return "No lead of ours has this number. It is remembered for files to come."
        said = (
            f"{self.leads:,} {say_noun(self.leads, 'lead has', 'leads have')} this number, {self.for_sale:,} for sale."
        )
        if not self.sales:
            return f"{said} Nobody has bought them."
        return (
            f"{said} {self.sales:,} {say_noun(self.sales, 'sale', 'sales')} to {self.buyers:,}"
            f" {say_noun(self.buyers, 'buyer', 'buyers')} will be recalled."
        )


def reach(numbers: Iterable[str]) -> Reach:
    """`numbers` in E.164."""
    theirs = [marks.mark_of(number) for number in numbers]
    leads = list(
        AgedLead.objects.filter(Q(phone_mark__in=theirs) | Q(other_mark__in=theirs)).values_list("pk", flat=True)
    )
    sold = Sale.objects.filter(lead__in=leads).values_list("business", flat=True)
    open_items = InventoryItem.objects.filter(lead__in=leads, sold_at__isnull=True, closed_at__isnull=True)
    return Reach(leads=len(leads), for_sale=open_items.count(), sales=len(sold), buyers=len(set(sold)))


def forget(numbers: Iterable[str], *, because: GoneBecause, actor: User, now: datetime) -> str:
    """All of them or none; what happened, in a sentence."""
    done = recalls.Forgotten()
    with transaction.atomic():
        for number in numbers:
            if because == GoneBecause.ERASED:
                done += recalls.erase_person(phone_text=number, actor=actor, now=now)
                continue
            gone = recalls.forget(phone=number, because=because, told_by=str(actor), now=now)
            audit(
                business=None, actor=actor, action="person opted out", target=f"the number ending in {number[-4:]}",
                now=now, changes={"leads": gone.leads, "taken off the shelf": gone.closed, "told": gone.notices},
            )  # fmt: skip
            done += gone
    return say_done(done)


def say_done(done: recalls.Forgotten) -> str:
    if not done.leads:
        return "Remembered. No lead of ours has this number."
    return (
        f"{done.leads:,} {say_noun(done.leads, 'lead', 'leads')} called back: {done.closed:,} taken off the shelf,"
        f" {done.notices:,} {say_noun(done.notices, 'sale', 'sales')} recalled."
    )


# --- Forms -----------------------------------------------------------------------------------------------------------


class PersonForm(forms.Form):
    phone = forms.CharField(
        label="Phone number",
        max_length=phones.LONGEST,
        help_text="As usual: (555) 123-4567.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "tel"}),
    )
    because = forms.ChoiceField(
        label="What did they ask for?",
        choices=[
            (GoneBecause.OPTED_OUT, "Not to be contacted (opt-out)"),
            (GoneBecause.ERASED, "To be erased"),
        ],
        widget=forms.RadioSelect,
        initial=GoneBecause.OPTED_OUT,
    )

    def clean_phone(self) -> str:
        return _read_number(self.cleaned_data["phone"])


class ListForm(forms.Form):
    file = forms.FileField(label="File", widget=forms.FileInput(attrs={"accept": ".csv,.txt"}))
    because = PersonForm.base_fields["because"]
    told_by = forms.CharField(
        label="Where it comes from",
        max_length=100,
        help_text="Like “DROP list of November 2026”. It stays in the audit.",
    )
    sure = forms.BooleanField(label="Forget everybody on this list. I know that it cannot be undone.")

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_LIST:
            raise forms.ValidationError(
                f"This list is larger than {LARGEST_LIST // 1_000_000} MB. Split it and upload the parts."
            )
        return file


class LookUpForm(forms.Form):
    who = forms.CharField(
        label="Phone number or its SHA-256",
        max_length=80,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean_who(self) -> str:
        """E.164, or a SHA-256."""
        who = self.cleaned_data["who"]
        return who.lower() if _SHA256.fullmatch(who) else _read_number(who)


def _read_number(written: str) -> str:
    try:
        return phones.parse(written, region="US").e164
    except phones.PhoneError as reason:
        raise forms.ValidationError(str(reason)) from reason


# --- People never sold -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What is known about somebody, without saying who it is."""

    gone: Sequence[GonePerson]
    opted_out: Consent | None  # with a business, a moment ago
    leads: Sequence[AgedLead]  # the newest ones

    @property
    def is_blocked(self) -> bool:
        return bool(self.gone) or self.opted_out is not None


private = method_decorator(sensitive_post_parameters("phone", "who"))  # nor into a report of an error


@admin.register(GonePerson)
class GonePersonAdmin(ReadOnlyAdmin):
    """Kept by marks alone, so there is no number to show; a number that is typed finds its rows."""

    nothing_yet = "Nobody is blocked yet: no opt-outs, no erasures."
    list_display = ("at", "because", "told_by")
    list_display_links = ("at",)
    list_filter = ("because",)
    ordering = ("-at", "-pk")
    fields = ("because", "told_by", "at")
    search_fields = ("mark",)
    search_help_text = "The whole number, or the SHA-256 of it."

    def get_queryset(self, request: HttpRequest) -> QuerySet[GonePerson]:
        return super().get_queryset(request).exclude(mark=marks.canary())  # nobody

    def find(self, rows: QuerySet[GonePerson], words: str) -> QuerySet[GonePerson]:
        if _SHA256.fullmatch(words):
            return rows.filter(mark=marks.mark_of_hash(words))
        number = as_number(words)
        return rows.filter(mark=marks.mark_of(number)) if number else rows.none()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add")

    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site
        return [
            path("upload/", site.admin_view(self.upload_view), name="marketplace_goneperson_upload"),
            path("look-up/", site.admin_view(self.look_up_view), name="marketplace_goneperson_look_up"),
            *super().get_urls(),
        ]

    @private
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Asks who, says what would happen, and does it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = PersonForm(request.POST or None)
        if not form.is_valid() or "again" in request.POST:
            return self._page(request, "add.html", title="Never sell somebody again", form=form)
        number, because = form.cleaned_data["phone"], GoneBecause(form.cleaned_data["because"])
        if "confirmed" not in request.POST:
            return self._page(
                request,
                "confirm.html",
                title=f"{phones.pretty(number)}: {because.label.lower()}?",
                form=form,
                number=number,
                because=because,
                meaning=WHAT_IT_MEANS[because],
                reach=reach([number]),
            )
        said = forget([number], because=because, actor=signed_in(request), now=timezone.now())
        self.message_user(request, said, "success")
        return HttpResponseRedirect(list_url(GonePerson))

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ListForm(request.POST or None, request.FILES or None)
        listed: recalls.ListForgotten | None = None
        if form.is_valid():
            listed = recalls.forget_list(
                file=form.cleaned_data["file"],
                because=GoneBecause(form.cleaned_data["because"]),
                told_by=form.cleaned_data["told_by"],
                actor=signed_in(request),
                now=timezone.now(),
            )
            form = ListForm()
        return self._page(
            request,
            "upload.html",
            title="A list of people never to be sold",
            form=form,
            listed=listed,
            said=say_done(listed.done) if listed and listed.done.leads else "",
            more=listed.refused - known.SHOWN if listed else 0,
        )

    @private
    def look_up_view(self, request: HttpRequest) -> HttpResponse:
        """By POST, so that no number ends up in an address or a log."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = LookUpForm(request.POST or None)
        found = look_up(form.cleaned_data["who"]) if form.is_valid() else None
        return self._page(
            request,
            "look_up.html",
            title="Is this number blocked?",
            form=form,
            found=found,
            may_see_leads=signed_in(request).has_perm("marketplace.view_agedlead"),
        )

    def _page(self, request: HttpRequest, name: str, **context: Any) -> TemplateResponse:
        common = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, f"admin/marketplace/goneperson/{name}", {**common, **context})


def look_up(who: str) -> Found:
    """`who` is E.164, or the SHA-256 of it: then nobody can tell whether the person opted out with a business lately."""
    is_hash = _SHA256.fullmatch(who) is not None
    mark = marks.mark_of_hash(who) if is_hash else marks.mark_of(who)
    opted_out = None if is_hash else Consent.objects.filter(phone=who, action=ConsentAction.REVOKE).first()
    return Found(
        gone=list(GonePerson.objects.filter(mark=mark).order_by("at")),
        opted_out=opted_out,
        leads=list(AgedLead.objects.filter(Q(phone_mark=mark) | Q(other_mark=mark)).order_by("-pk")[:SHOWN]),
    )


# --- Recalls ---------------------------------------------------------------------------------------------------------


@admin.register(Recall)
class RecallAdmin(ReadOnlyAdmin):
    """Leads that were called back, once per reason."""

    nothing_yet = "No lead has been called back yet."
    list_display = ("at", "because", "the_lead", "told", "unheard")
    list_display_links = ("at",)
    list_select_related = ("lead",)
    list_filter = (made_lately("at"), "because")
    fields = ("the_lead", "because", "at", "told", "unheard")
    readonly_fields = ("the_lead", "told", "unheard")
    search_fields = ("lead",)
    search_help_text = "The id of a recall or of a lead."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        key = as_key(search_term.strip())
        if key is None:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(Q(pk=key) | Q(lead=key)), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recall]:
        return super().get_queryset(request).prefetch_related("notices")

    @admin.display(description="lead")
    def the_lead(self, recall: Recall) -> SafeString | str:
        return link(recall.lead)

    @admin.display(description="buyers told")
    def told(self, recall: Recall) -> SafeString | str:
        count = len(recall.notices.all())
        return (
            format_html('<a href="{}">{}</a>', list_url(RecallNotice, q=recall.pk), count) if count else "Nobody had it"
        )

    @admin.display(description="not heard yet")
    def unheard(self, recall: Recall) -> int | str:
        return sum(notice.acknowledged_at is None for notice in recall.notices.all()) or "–"


class Heard(admin.SimpleListFilter):
    title = "heard"
    parameter_name = "heard"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [("no", "Not confirmed yet"), ("late", "Not confirmed for three days"), ("yes", "Confirmed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RecallNotice]) -> QuerySet[RecallNotice]:
        match self.value():
            case "no":
                return queryset.filter(acknowledged_at__isnull=True)
            case "late":
                return queryset.filter(acknowledged_at__isnull=True, created_at__lt=timezone.now() - LATE)
            case "yes":
                return queryset.filter(acknowledged_at__isnull=False)
        return queryset


@admin.register(RecallNotice)
class RecallNoticeAdmin(ReadOnlyAdmin):
    """What each buyer was told about each lead they have, and whether they said that they heard."""

    nothing_yet = "No buyer had to be told of a recall yet."
    list_display = ("created_at", "business", "why", "the_lead", "acknowledged_at", "acknowledged_by")
    list_display_links = ("created_at",)
    list_select_related = ("business", "recall", "recall__lead")
    list_filter = (Heard, OfBusiness, made_lately("created_at"))
    fields = (
        "business",
        "why",
        "the_lead",
        "the_sale",
        "created_at",
        "acknowledged_at",
        "acknowledged_by",
        "messages_sent",
    )
    readonly_fields = ("why", "the_lead", "the_sale", "messages_sent")
    search_fields = ("recall",)
    search_help_text = "The id of a notice, a recall or a sale."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        key = as_key(search_term.strip())
        if key is None:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(Q(pk=key) | Q(recall=key) | Q(business__in=_buyers_of(key), sale=key)), False

    @admin.display(description="because")
    def why(self, notice: RecallNotice) -> str:
        return str(notice.recall.get_because_display())

    @admin.display(description="lead")
    def the_lead(self, notice: RecallNotice) -> SafeString | str:
        return link(notice.recall.lead)

    @admin.display(description="sale")
    def the_sale(self, notice: RecallNotice) -> SafeString:
        sale = Sale.objects.select_related("purchase").get(pk=notice.sale_id)
        return format_html("{} in {}, {}", str(sale), link(sale.purchase), sale.pk)

    @admin.display(description="messages to their system")
    def messages_sent(self, notice: RecallNotice) -> SafeString | str:
        deliveries = WebhookDelivery.objects.filter(business=notice.business_id, about=f"recall_notice:{notice.pk}")
        delivery = deliveries.first()
        return link(delivery) if delivery else "None: they had named no address."


def _buyers_of(sale_id: Any) -> QuerySet[Any]:
    return Sale.objects.filter(pk=sale_id).values("business")


# --- Messages to buyers' systems -------------------------------------------------------------------------------------


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    nothing_yet = "No message was sent yet. Buyers name an address for them on their own pages."
    list_display = ("created_at", "business", "event", "standing", "attempts", "next_try", "delivered_at")
    list_display_links = ("created_at",)
    list_select_related = ("business",)
    list_filter = ("status", OfBusiness, made_lately("created_at"))
    fields = (
        "business", "event", "about", "standing", "attempts", "next_try", "response_status", "error", "payload", "created_at",
        "delivered_at",
    )  # fmt: skip
    readonly_fields = ("standing", "next_try")
    search_fields = ("id",)
    search_help_text = "The id of a message, as its receiver sees it in Frontdesk-Delivery."
    actions = ("send_again",)

    @admin.display(description="status")
    def standing(self, delivery: WebhookDelivery) -> SafeString:
        return format_html(
            '<span class="state state--{}">{}</span> {}', delivery.status, delivery.get_status_display(), delivery.error
        )

    @admin.display(description="next try")
    def next_try(self, delivery: WebhookDelivery) -> Any:
        return delivery.next_at if delivery.status == DeliveryStatus.WAITING else "–"

    @admin.action(description="Send again", permissions=["act"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        def act(delivery: WebhookDelivery) -> bool:
            webhooks.replay(delivery=delivery, now=timezone.now())
            return True

        self.for_each(
            request, queryset.select_related("business"), act, done="on the way again", action="message sent again"
        )
