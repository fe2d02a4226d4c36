"""Leads in the hands of sales: the deals, and whom each was held out to."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from crm.admin.base import ReadOnlyAdmin, link, signed_in
from crm.admin.lists import OfBusiness, made_lately, of_customers
from leads.actors import person
from leads.admin.filters import OfferState, Owner
from leads.admin.numbered import Numbered, ReasonedForm, SomebodyForm, as_numbered, lead_name
from leads.enums import DealStage
from leads.models import Deal, DealOffer, StageChange
from leads.refusals import moving_deal
from leads.services import sales

_BY_HAND: Final = [(stage.value, str(stage.label)) for stage in DealStage if stage != DealStage.NEW]


@admin.register(Deal)
class DealAdmin(Numbered, ReadOnlyAdmin):
    list_display = ("number", "who", "stage", "shown_value", "expected_on", "owner_name", "business", "created_at")
    list_filter = (OfBusiness, "stage", Owner, made_lately("created_at"))
    search_fields = ("number",)
    search_help_text = "The number, a customer's name or phone number, or an id."
    fields = (
        "business", "its_lead", "stage", "stage_since", "shown_value", "expected_on", "owner_name", "accepted_at", "reason",
        "created_at", "closed_at", "lost_because",
    )  # fmt: skip
    readonly_fields = ("its_lead", "shown_value", "owner_name", "reason")
    actions = ("move_on", "give")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deal]:
        return super().get_queryset(request).select_related("business", "lead__customer", "owner", "assessment")

    def find(self, rows: QuerySet[Deal], words: str) -> QuerySet[Deal]:
        number = as_numbered(words)
        people = of_customers(rows, words, "lead__customer")
        return people if number is None else rows.filter(number=number) | people

    # --- Shown ---

    def called(self, row: Deal) -> str:
        return f"deal {row.number}"

    def named(self, row: Deal) -> str:
        return f"{row}, {self.who(row)}"

    @admin.display(description="person")
    def who(self, deal: Deal) -> str:
        return str(deal.lead.customer) if deal.lead.customer_id else f"Lead {deal.lead.number}"

    @admin.display(description="lead")
    def its_lead(self, deal: Deal) -> SafeString | str:
        return link(deal.lead, lead_name(deal.lead))

    @admin.display(description="value")
    def shown_value(self, deal: Deal) -> str:
        return "–" if deal.value is None else f"${deal.value:,.2f}"

    @admin.display(description="owner")
    def owner_name(self, deal: Deal) -> str:
        return deal.owner.get_full_name() if deal.owner else "Nobody"

    @admin.display(description="transferred with")
    def reason(self, deal: Deal) -> SafeString | str:
        return link(deal.assessment, f"Score {deal.assessment.score}")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        deal = context["original"]
        context |= {
            "subtitle": self.named(deal),
            "offers": list(deal.offers.select_related("salesperson__user").order_by("-offered_at", "-id")),
            "moves": list(StageChange.objects.filter(lead=deal.lead_id, is_deal=True).order_by("-at", "-id")),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Acted upon ---

    @admin.action(description="Move to a stage", permissions=["act"])
    def move_on(self, request: HttpRequest, queryset: QuerySet[Deal]) -> HttpResponse | None:
        deals = self.of_page(queryset)
        form = ReasonedForm(_BY_HAND, request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask_about(
                request, deals, question="Move to another stage?", button="Move", form=form,
                explanation="Forward one step at a time, or lost. Paid and lost end a deal, and the lead learns how.",
            )  # fmt: skip
        to, why = form.cleaned_data["stage"], form.cleaned_data["why"]

        def act(deal: Deal) -> bool:
            with moving_deal(deal, to=to):
                moved = sales.move_deal(deal=deal, to=to, by=person(signed_in(request)), now=timezone.now(), why=why)
            self.trace(request, deal, action="deal moved", changes={"stage": [deal.stage, moved.stage]}, reason=why)
            return True

        self.one_by_one(request, deals, act, done=f"moved to {DealStage(to).label}")
        return None

    @admin.action(description="Give to somebody", permissions=["act"])
    def give(self, request: HttpRequest, queryset: QuerySet[Deal]) -> HttpResponse | None:
        deals = self.of_page(queryset)
        business = self.their_business(request, deals)
        if business is None:
            return None
        form = SomebodyForm(business, request.POST if self.confirmed(request) else None)
        if not form.is_valid():
            return self.ask_about(
                request, deals, question="Whose deal is it?", button="Give", form=form,
                explanation=f"One of the team of {business}. Whoever it is held out to is not asked any longer.",
            )  # fmt: skip
        to = form.chosen
        assert to is not None  # the form lets nobody else through

        def act(deal: Deal) -> bool:
            given = sales.hand_to(deal=deal, to=to, by=person(signed_in(request)), now=timezone.now())
            return deal.owner_id != given.owner_id

        self.one_by_one(request, deals, act, done=f"given to {to.get_full_name()}")
        return None


@admin.register(DealOffer)
class DealOfferAdmin(ReadOnlyAdmin):
    """Whom deals were held out to. An open offer is answered by its salesperson, or taken over by giving the deal away."""

    list_display = ("offered_at", "deal", "salesperson", "status", "until", "answered_at", "why", "business")
    list_select_related = ("deal", "salesperson__user", "business")
    list_filter = (OfBusiness, OfferState, made_lately("offered_at"))
    search_fields = ("deal",)
    search_help_text = "The number of a deal, or an id."
    fields = ("business", "deal", "salesperson", "status", "offered_at", "until", "answered_at", "why")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DealOffer]:
        return super().get_queryset(request).select_related("deal", "salesperson__user", "business")

    def find(self, rows: QuerySet[DealOffer], words: str) -> QuerySet[DealOffer]:
        number = as_numbered(words)
        return rows.none() if number is None else rows.filter(deal__in=Deal.objects.filter(number=number))
