"""The questions a support person asks of leads and deals. The front page asks the same and links here with the answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, QuerySet, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from crm.admin.lists import midnight, since
from leads import scoring
from leads.enums import Domain, OfferStatus, ProposalStatus
from leads.models import Deal, DealOffer, Lead, PipelineSettings, Proposal
from leads.queries.today import with_clock

SCORER_RESTS: Final = timedelta(minutes=10)  # it looks every few seconds; a lead that is due for longer says it is away
_PROMISING: Final = scoring.GATE - scoring.BOUND  # a reading may lift it over the gate
_USUAL: Final = PipelineSettings._meta.get_field("answer_minutes").default


def waiting(leads: QuerySet[Lead]) -> QuerySet[Any]:
    """Those whose person wrote to us and has had no answer."""
    return with_clock(leads).filter(is_waiting=True)


def waiting_too_long(leads: QuerySet[Lead], *, now: datetime) -> QuerySet[Any]:
    """Those that wait beyond what their own business allows."""
    minutes = Coalesce(F("business__pipeline_settings__answer_minutes"), _USUAL)
    allowed = ExpressionWrapper(minutes * Value(timedelta(minutes=1)), output_field=DurationField())
    latest = ExpressionWrapper(Value(now, output_field=DateTimeField()) - allowed, output_field=DateTimeField())
    return waiting(leads).filter(created_at__lte=latest)


def not_scored(leads: QuerySet[Lead], *, now: datetime) -> QuerySet[Lead]:
    """Due for a score for so long that nobody seems to be scoring."""
    return leads.filter(rescore_at__lt=now - SCORER_RESTS)


def without_owner(deals: QuerySet[Deal]) -> QuerySet[Deal]:
    return deals.filter(closed_at__isnull=True, owner__isnull=True)


def lapsed_today(offers: QuerySet[DealOffer], *, now: datetime) -> QuerySet[DealOffer]:
    """Nobody answered them in time. An offer stands for a day at most, so what lapsed today was made since yesterday."""
    began = midnight(now)
    lately = since(offers, "offered_at", began - timedelta(days=1))
    return lately.filter(status=OfferStatus.LAPSED, answered_at__gte=began)


class Waiting(admin.SimpleListFilter):
    title = "first answer"
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Waiting"), ("late", "Waiting too long"), ("no", "Answered")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lead]) -> QuerySet[Lead]:
        match self.value():
            case "yes":
                return waiting(queryset)
            case "late":
                return waiting_too_long(queryset, now=timezone.now())
            case "no":
                return queryset.filter(first_touch_at__isnull=False)
        return queryset


class Score(admin.SimpleListFilter):
    """In bands, by the gate of a transfer."""

    title = "score"
    parameter_name = "score"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("high", f"{scoring.GATE} and more: may go to sales"),
            ("middle", f"From {_PROMISING} to {scoring.GATE}"),
            ("low", f"Below {_PROMISING}"),
            ("none", "None yet"),
            ("overdue", "Overdue: is the scorer running?"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lead]) -> QuerySet[Lead]:
        match self.value():
            case "high":
                return queryset.filter(score__gte=scoring.GATE)
            case "middle":
                return queryset.filter(score__gte=_PROMISING, score__lt=scoring.GATE)
            case "low":
                return queryset.filter(score__lt=_PROMISING)
            case "none":
                return queryset.filter(score__isnull=True)
            case "overdue":
                return not_scored(queryset, now=timezone.now())
        return queryset


class Line(admin.SimpleListFilter):
    """Every business has its own names for the three; across businesses they are told by their place."""

    title = "line of business"
    parameter_name = "line"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [*Domain.choices, ("none", "None yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lead]) -> QuerySet[Lead]:
        if self.value() is None:
            return queryset
        return queryset.filter(business_domain="" if self.value() == "none" else self.value())


class Merged(admin.SimpleListFilter):
    title = "merged"
    parameter_name = "merged"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Standing by themselves"), ("yes", "Merged into another")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lead]) -> QuerySet[Lead]:
        if self.value() is None:
            return queryset
        return queryset.filter(merged_into__isnull=self.value() == "no")


class Owner(admin.SimpleListFilter):
    title = "owner"
    parameter_name = "taken"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Open, and nobody has it"), ("yes", "Somebody has it")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Deal]) -> QuerySet[Deal]:
        match self.value():
            case "no":
                return without_owner(queryset)
            case "yes":
                return queryset.filter(owner__isnull=False)
        return queryset


class OfferState(admin.SimpleListFilter):
    """Of deals that were held out to salespeople."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [*OfferStatus.choices, ("lapsed_today", "Not answered in time, today")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DealOffer]) -> QuerySet[DealOffer]:
        if self.value() == "lapsed_today":
            return lapsed_today(queryset, now=timezone.now())
        return queryset.filter(status=self.value()) if self.value() else queryset


class SlotState(admin.SimpleListFilter):
    """Of slots that were offered to customers."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return list(ProposalStatus.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Proposal]) -> QuerySet[Proposal]:
        return queryset.filter(status=self.value()) if self.value() else queryset


class WhoseMove(admin.SimpleListFilter):
    title = "of what"
    parameter_name = "what"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("lead", "A lead"), ("deal", "A deal")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(is_deal=self.value() == "deal") if self.value() else queryset
