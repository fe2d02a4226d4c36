"""Leads in the staff console: how far each has come and why, with what support may do about it."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from crm import phones
from crm.admin.base import SameBusinessForm, link, list_url, signed_in
from crm.admin.lists import OfBusiness, made_lately, of_customers
from crm.models import Customer
from leads.actors import person
from leads.admin.files import LeadFiles
from leads.admin.filters import Line, Merged, Score, Waiting
from leads.admin.numbered import Numbered, ReasonedForm, SomebodyForm, as_numbered, lead_name
from leads.enums import Stage
from leads.models import Assessment, Deal, Lead, LeadActivity, StageChange
from leads.queries.pipeline import line_of, ways_of
from leads.queries.today import with_clock
from leads.refusals import moving_lead
from leads.services import assessing, pipeline, sales

EDITABLE: Final = ("business_domain", "asked_for", "notes")
CONTACT: Final = ("name", "phone", "email")
HOW_FAR: Final = (
    "stage", "stage_since", "assigned", "score", "rescore_at", "activity_count", "last_activity_at", "first_touch_at",
    "outcome", "lost_because", "closed_at", "merged",
)  # fmt: skip
ORIGIN: Final = ("source", "event_id", "cost", "created_at", "service", "status", "appointment")
NEWEST: Final = 20  # of each kind on a lead's page; the lists have the rest
# Where a person may move a lead by hand, in the order of the board.
_BY_HAND: Final = [(stage.value, str(stage.label)) for stage in Stage if stage not in (Stage.NEW, Stage.TRANSFERRED)]


class LeadForm(SameBusinessForm):
    """What is on file about a lead, and who it is. The service writes both."""

    name = forms.CharField(required=False, max_length=120)
    phone = forms.CharField(
        required=False, max_length=phones.LONGEST, help_text="As usual: (555) 123-4567. May be empty."
    )
    email = forms.EmailField(required=False, label="E-mail")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = {name: getattr(self.instance.customer, name, None) or "" for name in CONTACT}
        self.initial.update(self.known)
        if "business_domain" in self.fields:
            lines = ways_of(self.instance.business).domain_choices
            self.fields["business_domain"].choices = [("", "None yet"), *lines]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        for name in CONTACT:
            if self.known[name] and name in cleaned and not cleaned[name]:
                self.add_error(name, "It is on file. To take it away, open the customer.")
        self.contact = pipeline.Contact(
            name=self._new("name"), phone=self._new_phone() if self._new("phone") else None, email=self._new("email")
        )
        return cleaned

    def _new(self, name: str) -> str:
        value = str(self.cleaned_data.get(name) or "").strip()
        return value if value != self.known[name] else ""

    def _new_phone(self) -> phones.Phone | None:
        try:
            phone = phones.parse(self.cleaned_data["phone"], region=self.instance.business.region)
        except phones.PhoneError as reason:
            self.add_error("phone", str(reason))
            return None
        if phone.e164 == self.known["phone"]:
            return None
        known = Customer.objects.filter(business=self.instance.business, phone=phone.e164).first()
        if known is not None and self.instance.customer_id is not None:  # one without a customer is given this one
            self.add_error("phone", f"This number is {known}'s. Merge the two customers instead.")
            return None
        return phone


@admin.register(Lead)
class LeadAdmin(LeadFiles, Numbered):
    form = LeadForm
    service_leaves_trace = frozenset({"changed"})
    list_display = ("number", "who", "stage", "score", "source", "line", "assigned", "waits", "business")
    list_filter = (OfBusiness, "stage", Waiting, Score, "source", Line, Merged, made_lately("created_at"))
    search_fields = ("number",)
    search_help_text = "The number, a customer's name or phone number, or an id."
    actions = ("move_on", "assign", "score_again", "transfer")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lead]:
        rows: Any = super().get_queryset(request)
        return with_clock(rows.select_related("business__pipeline_settings", "customer", "assigned_to"))

    def find(self, rows: QuerySet[Lead], words: str) -> QuerySet[Lead]:
        number = as_numbered(words)
        people = of_customers(rows, words)
        return people if number is None else rows.filter(number=number) | people

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # they come in by the doors of the house, or in a file

    def has_change_permission(self, request: HttpRequest, obj: Lead | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.merged_into_id is None)

    def get_fieldsets(self, request: HttpRequest, obj: Lead | None = None) -> Any:
        contact = CONTACT if self.has_change_permission(request, obj) else ()
        return [
            (None, {"fields": ("business", "the_customer")}),
            ("What is on file", {"fields": (*EDITABLE, *contact)}),
            ("How far it has come", {"fields": HOW_FAR}),
            ("How it came in", {"fields": ORIGIN}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Lead | None = None) -> tuple[str, ...]:
        return ("business", "the_customer", *HOW_FAR, *ORIGIN)

    # --- Shown ---

    def called(self, row: Lead) -> str:
        return f"lead {row.number}"

    def named(self, row: Lead) -> str:
        return lead_name(row)

    @admin.display(description="person")
    def who(self, lead: Lead) -> str:
        return str(lead.customer) if lead.customer_id else "Nobody known"

    @admin.display(description="customer")
    def the_customer(self, lead: Lead) -> SafeString | str:
        return link(lead.customer)

    @admin.display(description="line")
    def line(self, lead: Lead) -> str:
        return line_of(lead)

    @admin.display(description="assigned to")
    def assigned(self, lead: Lead) -> str:
        return lead.assigned_to.get_full_name() if lead.assigned_to else "Nobody"

    @admin.display(description="waits")
    def waits(self, lead: Any) -> SafeString | str:
        """For its first answer; in red beyond what its business allows."""
        if not lead.is_waiting:
            return "–"
        now = timezone.now()
        late = (now - lead.created_at).total_seconds() > 60 * ways_of(lead.business).answer_minutes
        return format_html(
            '<span class="state state--{}">{}</span>',
            "failed" if late else "queued",
            timesince(lead.created_at, now, depth=1),
        )

    @admin.display(description="merged into")
    def merged(self, lead: Lead) -> SafeString | str:
        return link(lead.merged_into, lead_name(lead.merged_into)) if lead.merged_into else "–"

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        lead = context["original"]
        context |= {"subtitle": self.named(lead), **story_of(lead)}
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Saved ---

    def save_model(self, request: HttpRequest, obj: Lead, form: Any, change: bool) -> None:
        stored = Lead.objects.select_related("business", "customer").get(pk=obj.pk)
        changes = {name: form.cleaned_data[name] for name in form.changed_data if name in EDITABLE}
        given = {name: getattr(form.contact, name) for name in CONTACT if getattr(form.contact, name)}
        pipeline.edit_lead(
            lead=stored, changes=changes, contact=form.contact, by=person(signed_in(request)), now=timezone.now()
        )
        if given:
            said = {name: [form.known[name], getattr(value, "e164", value)] for name, value in given.items()}
            self.trace(request, obj, action="contact of a lead changed", changes=said)

    # --- Acted upon ---

    @admin.action(description="Move to a stage", permissions=["change"])
    def move_on(self, request: HttpRequest, queryset: QuerySet[Lead]) -> HttpResponse | None:
        leads = self.of_page(queryset)
        form = ReasonedForm(_BY_HAND, request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask_about(
                request, leads, question="Move to another stage?", button="Move", form=form,
                explanation="Forward one step at a time, or lost. Nothing goes back, and only a transfer leads to sales.",
            )  # fmt: skip
        to, why = form.cleaned_data["stage"], form.cleaned_data["why"]

        def act(lead: Lead) -> bool:
            with moving_lead(lead, to=to):
                moved = pipeline.move(lead=lead, to=to, by=person(signed_in(request)), now=timezone.now(), why=why)
            self.trace(request, lead, action="lead moved", changes={"stage": [lead.stage, moved.stage]}, reason=why)
            return True

        self.one_by_one(request, leads, act, done=f"moved to {Stage(to).label}")
        return None

    @admin.action(description="Assign to somebody", permissions=["change"])
    def assign(self, request: HttpRequest, queryset: QuerySet[Lead]) -> HttpResponse | None:
        leads = self.of_page(queryset)
        business = self.their_business(request, leads)
        if business is None:
            return None
        form = SomebodyForm(business, request.POST if self.confirmed(request) else None, or_nobody=True)
        if not form.is_valid():
            return self.ask_about(
                request, leads, question="Whose lead is it?", button="Assign", form=form,
                explanation=f"One of the team of {business}. They find it under their own leads at once.",
            )  # fmt: skip
        to = form.chosen

        def act(lead: Lead) -> bool:
            if lead.assigned_to == to:
                return False
            pipeline.assign(lead=lead, to=to, by=person(signed_in(request)), now=timezone.now())
            return True

        self.one_by_one(request, leads, act, done=f"given to {to.get_full_name()}" if to else "now everybody's")
        return None

    @admin.action(description="Score again", permissions=["change"])
    def score_again(self, request: HttpRequest, queryset: QuerySet[Lead]) -> HttpResponse | None:
        leads = self.of_page(queryset)
        if not self.confirmed(request):
            return self.ask_about(
                request, leads, question="Score again?", button="Score",
                explanation="The rules answer at once. A conversation that went on is read again in the background.",
            )  # fmt: skip

        def act(lead: Lead) -> bool:
            made = assessing.assess(lead=lead, now=timezone.now())
            was = "" if lead.score is None else str(lead.score)
            self.trace(request, lead, action="lead scored", changes={"score": [was, str(made.score)]})
            return True

        self.one_by_one(request, leads, act, done="scored")
        return None

    @admin.action(description="Transfer to sales", permissions=["change"])
    def transfer(self, request: HttpRequest, queryset: QuerySet[Lead]) -> HttpResponse | None:
        leads = self.of_page(queryset)
        if not self.confirmed(request):
            return self.ask_about(
                request, leads, question="Transfer to sales?", button="Transfer",
                explanation="A deal is opened and held out to the salesperson whose turn it is. It cannot be taken back.",
            )  # fmt: skip

        def act(lead: Lead) -> bool:
            with moving_lead(lead, to=Stage.TRANSFERRED):
                deal = sales.transfer(lead=lead, by=person(signed_in(request)), now=timezone.now())
            self.trace(
                request, lead, action="lead transferred",
                changes={"stage": [lead.stage, Stage.TRANSFERRED], "deal": ["", str(deal.number)]},
            )  # fmt: skip
            return True

        self.one_by_one(request, leads, act, done="transferred to sales")
        return None


def story_of(lead: Lead) -> dict[str, Any]:
    """What happened to a lead, newest first, in five queries however much it is."""
    deal = Deal.objects.filter(lead=lead).select_related("owner").first()
    return {
        "assessments": list(Assessment.objects.filter(lead=lead).order_by("-created_at", "-id")[:NEWEST]),
        "moves": list(StageChange.objects.filter(lead=lead).order_by("-at", "-id")[:NEWEST]),
        "activities": list(LeadActivity.objects.filter(lead=lead).order_by("-at", "-id")[:NEWEST]),
        "deal": deal,
        "offers": list(deal.offers.select_related("salesperson__user").order_by("-offered_at", "-id")) if deal else [],
        "lists": {
            "assessments": list_url(Assessment, lead__id__exact=lead.pk),
            "moves": list_url(StageChange, lead__id__exact=lead.pk),
            "activities": list_url(LeadActivity, lead__id__exact=lead.pk),
        },
        "newest": NEWEST,
    }
