"""What the pipeline's API takes and gives. Scores are numbers, money is text in US dollars; unknown fields are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.validators import validate_email
from rest_framework import serializers

from crm.api_fields import Text
from crm.models import Customer, User
from leads import lifecycle, scoring
from leads.enums import ActivityKind, DealStage, Domain, LeadSource, Outcome, Stage
from leads.models import Assessment, Deal, DealOffer, Lead, LeadActivity, StageChange
from leads.serializers import moment, one_of

NOBODY: Final = "nobody"
DOCUMENTED: Final = (LeadSource.SCANNER, LeadSource.PARTNER, LeadSource.MANUAL)  # others have doors of their own
_FIRST_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)  # long before there was a lead


# --- In ----------------------------------------------------------------------------------------------------------------


class Email(serializers.EmailField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=254, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):  # DRF would turn 5 and true into text
            self.fail("invalid")
        return str(super().to_internal_value(data))


class PipelineLeadIn(serializers.Serializer[Any]):
    source = serializers.ChoiceField(choices=[source.value for source in DOCUMENTED])  # type: ignore[assignment]
    business_domain = serializers.ChoiceField(choices=Domain.values, required=False, allow_null=True)
    name = Text(max_length=120, required=False, allow_null=True, allow_blank=True)
    phone = Text(
        max_length=64, required=False, allow_null=True, allow_blank=True,
        help_text="It says who they are. It brings no permission to text them.",
    )  # fmt: skip
    email = Email(required=False, allow_null=True, allow_blank=True)
    asked_for = Text(
        max_length=200, required=False, allow_null=True, allow_blank=True, help_text="What they want, in their words."
    )
    notes = Text(max_length=10_000, required=False, allow_null=True, allow_blank=True)
    event_id = Text(
        max_length=255, required=False, allow_null=True, allow_blank=True,
        help_text="Your id of this request. Sent again, it gets the same answer.",
    )  # fmt: skip


class LeadEditIn(serializers.Serializer[Any]):
    """Only what is sent changes."""

    business_domain = serializers.ChoiceField(choices=Domain.values, required=False, allow_null=True)
    asked_for = Text(max_length=200, required=False, allow_blank=True)
    notes = Text(max_length=10_000, required=False, allow_blank=True)
    name = Text(max_length=120, required=False)
    phone = Text(max_length=64, required=False)
    email = Email(required=False)


class LeadStageIn(serializers.Serializer[Any]):
    new_stage = serializers.ChoiceField(
        choices=Stage.values,
        help_text=f"One step on, or `{lifecycle.LOST}`. `{lifecycle.TRANSFERRED}` is reached by a transfer only.",
    )
    why = Text(max_length=300, required=False, allow_blank=True, help_text="Kept in the history.")


class DealStageIn(serializers.Serializer[Any]):
    new_stage = serializers.ChoiceField(
        choices=DealStage.values, help_text=f"One step on, or `{lifecycle.LOST}`. Paid and lost are the end."
    )
    why = Text(max_length=300, required=False, allow_blank=True, help_text="Kept in the history.")


class DealEditIn(serializers.Serializer[Any]):
    """Only what is sent changes; null empties a field."""

    value = serializers.DecimalField(
        max_digits=12, decimal_places=2, min_value=Decimal(0), required=False, allow_null=True, help_text="US dollars."
    )
    expected_on = serializers.DateField(required=False, allow_null=True, help_text="When it should be closed.")


class ActivityIn(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=ActivityKind.values, default=ActivityKind.NOTE.value)
    text = Text(max_length=10_000, required=False, allow_blank=True, help_text="A note needs one.")
    at = serializers.DateTimeField(
        required=False, default_timezone=UTC,
        help_text="When it happened, like 2026-11-18T15:00:00Z; UTC unless it says otherwise. Now unless told, and never"
        " later.",
    )  # fmt: skip

    def validate_at(self, value: datetime) -> datetime:
        if value < _FIRST_MOMENT:
            raise serializers.ValidationError("Send a time after the year 2000.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["kind"] == ActivityKind.NOTE and not attrs.get("text"):
            raise serializers.ValidationError({"text": ["Say what is to be noted."]})
        return attrs


class AssignIn(serializers.Serializer[Any]):
    email = Email(allow_null=True, help_text="Of somebody of the team; null: nobody's lead.")


# --- Queries -------------------------------------------------------------------------------------------------------------


class PageQuery(serializers.Serializer[Any]):
    limit = serializers.IntegerField(min_value=1, max_value=200, default=50, help_text="1 to 200; 50 unless told.")


class PersonField(serializers.CharField):
    """An e-mail address, or “nobody”."""

    default_error_messages = {"person": f"Send an e-mail address, or “{NOBODY}”."}

    def to_internal_value(self, data: Any) -> str:
        text = str(super().to_internal_value(data))
        if text != NOBODY:
            try:
                validate_email(text)
            except DjangoValidationError:
                self.fail("person")
        return text


class LeadQuery(PageQuery):
    before = serializers.IntegerField(required=False, help_text="A lead's id: only leads that came in before it.")
    stage = serializers.ChoiceField(choices=Stage.values, required=False)
    source = serializers.ChoiceField(choices=LeadSource.values, required=False)  # type: ignore[assignment]
    business_domain = serializers.ChoiceField(choices=Domain.values, required=False)
    assigned = PersonField(required=False, max_length=254, help_text=f"Whose leads: an e-mail, or `{NOBODY}`.")
    min_score = serializers.DecimalField(
        max_digits=3, decimal_places=2, min_value=Decimal(0), max_value=Decimal(1), required=False, help_text="0 to 1."
    )
    q = serializers.CharField(
        max_length=80, required=False, help_text="Words of the name, e-mail or request, or digits of the number."
    )


class DealQuery(PageQuery):
    before = serializers.IntegerField(required=False, help_text="A deal's id: only deals that were opened before it.")
    stage = serializers.ChoiceField(choices=DealStage.values, required=False)
    owner = PersonField(required=False, max_length=254, help_text=f"Whose deals: an e-mail, or `{NOBODY}`.")


class ActivityQuery(PageQuery):
    before = serializers.UUIDField(required=False, help_text="An activity's id: only what happened before it.")


# --- Out ----------------------------------------------------------------------------------------------------------------


class PipelineLeadOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    source = one_of(*LeadSource.values)  # type: ignore[assignment]
    stage = one_of(*Stage.values)
    business_domain = serializers.ChoiceField(choices=Domain.values, allow_null=True)
    activity_count = serializers.IntegerField()
    ai_score = serializers.FloatField(allow_null=True)


class ContactOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    phone = serializers.CharField(allow_null=True)
    email = serializers.CharField()


class ListedLeadOut(PipelineLeadOut):
    contact = ContactOut(allow_null=True)
    asked_for = serializers.CharField()
    status = serializers.CharField(help_text="How far booking is: new, proposed, booked and so on.")
    assigned_to = serializers.EmailField(allow_null=True)
    created_at = serializers.DateTimeField()
    stage_since = serializers.DateTimeField()
    last_activity_at = serializers.DateTimeField(allow_null=True)
    outcome = serializers.ChoiceField(choices=Outcome.values, allow_null=True)


class FactorOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    points = serializers.FloatField()
    text = serializers.CharField()


class EvidenceOut(serializers.Serializer[Any]):
    quote = serializers.CharField()
    why = serializers.CharField()


class AdviceOut(serializers.Serializer[Any]):
    score = serializers.FloatField(help_text="0 to 1.")
    recommendation = one_of(scoring.TRANSFER, scoring.NURTURE)
    reason = serializers.CharField()


class AssessmentOut(AdviceOut):
    """score = baseline (the points of the factors) + reading (of the conversation) + silence."""

    baseline = serializers.FloatField()
    reading = serializers.FloatField()
    silence = serializers.FloatField()
    factors = FactorOut(many=True)
    evidence = EvidenceOut(many=True)
    summary = serializers.CharField()
    model = serializers.CharField(allow_null=True, help_text="Which model read the conversation; null: rules only.")
    created_at = serializers.DateTimeField()


class LeadSaleOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    stage = one_of(*DealStage.values)
    value = serializers.CharField(allow_null=True)
    owner = serializers.EmailField(allow_null=True)


class LeadDetailOut(ListedLeadOut):
    notes = serializers.CharField()
    event_id = serializers.CharField(allow_null=True)
    lost_because = serializers.CharField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    assessment = AssessmentOut(allow_null=True)
    sale = LeadSaleOut(allow_null=True)


class TransferOut(serializers.Serializer[Any]):
    message = serializers.CharField()
    sale_id = serializers.IntegerField()
    sale_stage = one_of(*DealStage.values)


class ActivityOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    kind = one_of(*ActivityKind.values)
    text = serializers.CharField()
    at = serializers.DateTimeField()
    by = serializers.CharField()


class NewActivityOut(ActivityOut):
    activity_count = serializers.IntegerField(help_text="Of the lead, with this one.")


class StageChangeOut(serializers.Serializer[Any]):
    of = one_of("lead", "deal")
    to = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()
    why = serializers.CharField(allow_null=True)
    seconds_in_stage = serializers.IntegerField(help_text="How long it had been in the stage it left.")

    def get_fields(self) -> dict[str, Any]:
        """With `from`, a word that Python keeps for itself."""
        return super().get_fields() | {"from": serializers.CharField()}


class OfferOut(serializers.Serializer[Any]):
    to = serializers.EmailField()
    until = serializers.DateTimeField()


class DealOut(LeadSaleOut):
    lead_id = serializers.IntegerField()
    expected_on = serializers.DateField(allow_null=True)
    created_at = serializers.DateTimeField()
    stage_since = serializers.DateTimeField()
    accepted_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    lost_because = serializers.CharField(allow_null=True)


class DealDetailOut(DealOut):
    contact = ContactOut(allow_null=True)
    business_domain = serializers.ChoiceField(choices=Domain.values, allow_null=True)
    score = serializers.FloatField(help_text="The score it was transferred with.")
    offer = OfferOut(allow_null=True, help_text="To whom it is held out at the moment.")


def lead_answer(lead: Lead) -> dict[str, Any]:
    """The documented fields, and no others."""
    return {
        "id": lead.number,
        "source": lead.source,
        "stage": lead.stage,
        "business_domain": lead.business_domain or None,
        "activity_count": lead.activity_count,
        "ai_score": None if lead.score is None else float(lead.score),
    }


def advice_answer(made: Assessment) -> dict[str, Any]:
    return {"score": float(made.score), "recommendation": made.recommendation, "reason": made.reason}


def listed_answer(lead: Lead) -> dict[str, Any]:
    return lead_answer(lead) | {
        "contact": _contact(lead.customer),
        "asked_for": lead.asked_for,
        "status": lead.status,
        "assigned_to": _email(lead.assigned_to),
        "created_at": moment(lead.created_at),
        "stage_since": moment(lead.stage_since or lead.created_at),
        "last_activity_at": _moment(lead.last_activity_at),
        "outcome": lead.outcome or None,
    }


def detail_answer(lead: Lead, *, assessment: Assessment | None, deal: Deal | None) -> dict[str, Any]:
    return listed_answer(lead) | {
        "notes": lead.notes,
        "event_id": lead.event_id or None,
        "lost_because": lead.lost_because or None,
        "closed_at": _moment(lead.closed_at),
        "assessment": _assessment(assessment) if assessment else None,
        "sale": _sale(deal) if deal else None,
    }


def activity_answer(row: LeadActivity) -> dict[str, Any]:
    return {"id": str(row.pk), "kind": row.kind, "text": row.text, "at": moment(row.at), "by": row.by_text}


def change_answer(row: StageChange) -> dict[str, Any]:
    return {
        "of": "deal" if row.is_deal else "lead",
        "from": row.old,
        "to": row.new,
        "by": row.by_text,
        "at": moment(row.at),
        "why": row.why or None,
        "seconds_in_stage": int((row.at - row.since).total_seconds()),
    }


def deal_answer(deal: Deal) -> dict[str, Any]:
    return _sale(deal) | {
        "lead_id": deal.lead.number,
        "expected_on": deal.expected_on and deal.expected_on.isoformat(),
        "created_at": moment(deal.created_at),
        "stage_since": moment(deal.stage_since),
        "accepted_at": _moment(deal.accepted_at),
        "closed_at": _moment(deal.closed_at),
        "lost_because": deal.lost_because or None,
    }


def deal_detail_answer(deal: Deal, *, offer: DealOffer | None) -> dict[str, Any]:
    return deal_answer(deal) | {
        "contact": _contact(deal.lead.customer),
        "business_domain": deal.lead.business_domain or None,
        "score": float(deal.assessment.score),
        "offer": {"to": offer.salesperson.user.email, "until": moment(offer.until)} if offer else None,
    }


# --- Inside ------------------------------------------------------------------------------------------------------------


def _contact(customer: Customer | None) -> Mapping[str, Any] | None:
    if customer is None:
        return None
    return {"name": customer.name, "phone": customer.phone or None, "email": customer.email}


def _assessment(made: Assessment) -> dict[str, Any]:
    return advice_answer(made) | {
        "baseline": float(made.baseline),
        "reading": float(made.reading),
        "silence": float(made.silence),
        "factors": [factor | {"points": float(factor["points"])} for factor in made.factors],
        "evidence": made.evidence,
        "summary": made.summary,
        "model": made.model or None,
        "created_at": moment(made.created_at),
    }


def _sale(deal: Deal) -> dict[str, Any]:
    value = None if deal.value is None else f"{deal.value:.2f}"
    return {"id": deal.number, "stage": deal.stage, "value": value, "owner": _email(deal.owner)}


def _email(user: User | None) -> str | None:
    return user.email if user else None


def _moment(value: datetime | None) -> str | None:
    return moment(value) if value else None
