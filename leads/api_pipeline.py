"""The pipeline by API: leads come in, are assessed, moved and transferred, and their deals go on.

The key says whose leads. What is unknown and what is somebody else's look alike; a lead that was merged is not found
either, and the sentence names the one that was kept. A move that is not allowed is 400 with its reason, a body or an id of
the wrong shape 422, naming the field.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from crm import paging, rows
from crm.api_auth import HasApiKey
from crm.api_errors import Conflict
from crm.api_fields import active, read_phone
from crm.idempotency import DifferentRequest, IdempotentPosts, claim
from crm.models import ApiKey, Business, Customer, User
from crm.scoping import only
from crm.services import Refused
from leads import lifecycle
from leads.actors import By, program
from leads.enums import ActivityKind, LeadSource, OfferStatus
from leads.models import Assessment, Deal, DealOffer, Lead, LeadActivity, StageChange
from leads.serializers_pipeline import (
    NOBODY,
    ActivityIn,
    ActivityOut,
    ActivityQuery,
    AdviceOut,
    AssignIn,
    DealDetailOut,
    DealEditIn,
    DealOut,
    DealQuery,
    DealStageIn,
    LeadDetailOut,
    LeadEditIn,
    LeadQuery,
    LeadStageIn,
    ListedLeadOut,
    NewActivityOut,
    PipelineLeadIn,
    PipelineLeadOut,
    StageChangeOut,
    TransferOut,
    activity_answer,
    advice_answer,
    change_answer,
    deal_answer,
    deal_detail_answer,
    detail_answer,
    lead_answer,
    listed_answer,
)
from leads.services import assessing, assigning, pipeline, sales
from leads.services.pipeline import Contact, LeadNotFound
from leads.services.sales import CannotTransfer, DealNotFound

Row = TypeVar("Row", bound=Model)

_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS: Final = 40  # beyond any number of ours, and far below what Python refuses to read

LEAD_ID = OpenApiParameter("lead_id", OpenApiTypes.INT64, OpenApiParameter.PATH)
DEAL_ID = OpenApiParameter("deal_id", OpenApiTypes.INT64, OpenApiParameter.PATH)


class NotPossible(APIException):
    """A move that the stages, the score or the state do not allow; the documented code."""

    status_code = 400
    default_code = "not_possible"


class PipelineView(IdempotentPosts):
    """Base: `business` is the key's, `by` is who did it as it is written down."""

    permission_classes = [HasApiKey]
    refusals: tuple[int, ...] = (404,)
    business: Business
    by: By

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        assert isinstance(request.auth, ApiKey)
        assert request.auth.business is not None
        self.business, self.by = active(request.auth.business), program(request.auth)

    def handle_exception(self, exc: Exception) -> Response:
        """What the services refuse, in the codes that are documented."""
        if isinstance(exc, LeadNotFound):
            exc = NotFound("Lead not found")
        elif isinstance(exc, DealNotFound):
            exc = NotFound("Deal not found")
        elif isinstance(exc, (lifecycle.NotAllowed, CannotTransfer)):
            exc = NotPossible(str(exc))
        elif isinstance(exc, Refused):
            exc = Conflict(str(exc))
        return super().handle_exception(exc)

    def body(self, of: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """Raises ValidationError."""
        return _reader(of).run_validation(self.request.data)

    def query(self, of: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """Raises ValidationError."""
        return _reader(of).run_validation(_said(self.request))

    def lead(self, number: int, *, lock: bool = False) -> Lead:
        """Raises LeadNotFound, and NotFound for one that was merged; needs to be inside the business."""
        find = pipeline.locked_lead if lock else pipeline.find_lead
        lead = found = find(business=self.business, number=number)
        while found.merged_into_id is not None:
            kept = rows.first(Lead, "business_id = %s AND id = %s", [self.business.pk, found.merged_into_id])
            assert kept is not None  # the database holds on to it
            found = kept
        if found is not lead:
            raise NotFound(f"Lead not found: it was merged into lead {found.number}.")
        return lead

    def detail(self, lead: Lead) -> Response:
        of_lead = [lead.business_id, lead.pk]
        newest = rows.first(Assessment, "business_id = %s AND lead_id = %s", of_lead, order="created_at DESC, id DESC")
        deals = Deal.objects.for_business(self.business).filter(lead=lead).select_related("owner")
        return Response(detail_answer(lead, assessment=newest, deal=deals.first()))

    def contact(self, fields: Mapping[str, Any]) -> Contact:
        """Raises ValidationError for a number nobody can have."""
        phone = read_phone(fields["phone"], business=self.business, field="phone") if fields.get("phone") else None
        return Contact(name=fields.get("name") or "", phone=phone, email=fields.get("email") or "")

    def page(
        self, found: QuerySet[Row], *, by: str, limit: int, behind: Row | None, answer: Callable[[Row], dict[str, Any]]
    ) -> Response:
        """So many rows behind one of them; the next page's address is in the Link header."""
        after = paging.cursor(behind, by.lstrip("-")) if behind is not None else ""
        page = paging.stretch(found, by=by, after=after, size=limit)
        items, headers = [answer(row) for row in page.rows], {}
        if page.after:
            query = urlencode(_said(self.request) | {"before": items[-1]["id"]})
            address = self.request.build_absolute_uri(f"{self.request.path}?{query}")
            headers["Link"] = f'<{address}>; rel="next"'
        return Response(items, headers=headers)


# --- Leads ---------------------------------------------------------------------------------------------------------------


class LeadsView(PipelineView):
    """Leads of every origin."""

    refusals = (409,)

    @extend_schema(request=PipelineLeadIn, responses={201: PipelineLeadOut})
    def post(self, request: Request) -> Response:
        """Put a lead down. It starts in `new`, without a score."""
        fields = self.body(PipelineLeadIn)
        contact = self.contact(fields)
        with only(self.business):
            if not fields.get("event_id"):
                return Response(self._added(fields, contact), status=201)
            with transaction.atomic():
                try:
                    mine = claim(business=self.business, scope="leads", key=fields["event_id"], payload=fields)
                except DifferentRequest:
                    raise Conflict(
                        f"event_id: “{fields['event_id'][:80]}” was used before with another body."
                        " Send a new event_id for a new lead."
                    ) from None
                if mine.is_repeat:
                    return Response(mine.answer, status=mine.status)
                answer = self._added(fields, contact)
                mine.keep(status=201, answer=answer)
                return Response(answer, status=201)

    def _added(self, fields: Mapping[str, Any], contact: Contact) -> dict[str, Any]:
        lead = pipeline.add_lead(
            business=self.business, source=LeadSource(fields["source"]), by=self.by, now=timezone.now(), contact=contact,
            domain=fields.get("business_domain") or "", asked_for=fields.get("asked_for") or "",
            notes=fields.get("notes") or "", event_id=fields.get("event_id") or "",
        )  # fmt: skip
        return lead_answer(lead)

    @extend_schema(responses=ListedLeadOut(many=True), parameters=[LeadQuery])
    def get(self, request: Request) -> Response:
        """The newest first, without those that were merged. The next page's address is in the Link header."""
        asked = self.query(LeadQuery)
        with only(self.business):
            found = _filtered(Lead.objects.for_business(self.business).standing(), asked, business=self.business)
            return self.page(
                found.select_related("customer", "assigned_to"), by="-created_at", limit=asked["limit"],
                behind=self._behind(asked.get("before")), answer=listed_answer,
            )  # fmt: skip

    def _behind(self, number: int | None) -> Lead | None:
        try:
            return None if number is None else pipeline.find_lead(business=self.business, number=number)
        except LeadNotFound:
            raise _nothing_before("There is no lead with this id.") from None


class LeadView(PipelineView):
    """A lead, with its newest assessment and its sale."""

    refusals = (404, 409)

    @extend_schema(responses=LeadDetailOut, parameters=[LEAD_ID])
    def get(self, request: Request, lead_id: str) -> Response:
        number = _number(lead_id, "lead_id")
        with only(self.business):
            return self.detail(self.lead(number))

    @extend_schema(request=LeadEditIn, responses=LeadDetailOut, parameters=[LEAD_ID])
    def patch(self, request: Request, lead_id: str) -> Response:
        """Change what is on file, or fill in who it is. Its score is looked at again within the minute."""
        number, fields = _number(lead_id, "lead_id"), self.body(LeadEditIn)
        contact = self.contact(fields)
        kept = ("business_domain", "asked_for", "notes")
        changes = {name: value or "" for name, value in fields.items() if name in kept}
        with only(self.business):
            lead = pipeline.edit_lead(
                lead=self.lead(number), changes=changes, by=self.by, now=timezone.now(), contact=contact
            )
            return self.detail(lead)


class StageView(PipelineView):
    refusals = (400, 404)

    @extend_schema(request=LeadStageIn, responses=PipelineLeadOut, parameters=[LEAD_ID])
    def patch(self, request: Request, lead_id: str) -> Response:
        """Move a lead one stage on, or to `lost`. Nothing leads back."""
        number, fields = _number(lead_id, "lead_id"), self.body(LeadStageIn)
        with only(self.business):
            lead = pipeline.move(
                lead=self.lead(number),
                to=fields["new_stage"],
                by=self.by,
                now=timezone.now(),
                why=fields.get("why", ""),
            )
        return Response(lead_answer(lead))


class AnalyzeView(PipelineView):
    @extend_schema(request=None, responses=AdviceOut, parameters=[LEAD_ID])
    def post(self, request: Request, lead_id: str) -> Response:
        """Look at a lead, in any stage, and keep the score. It advises; a transfer is asked for by somebody."""
        number = _number(lead_id, "lead_id")
        with only(self.business), transaction.atomic():
            made = assessing.assess_locked(self.lead(number, lock=True), now=timezone.now())
        return Response(advice_answer(made))


class TransferView(PipelineView):
    refusals = (400, 404)

    @extend_schema(request=None, responses=TransferOut, parameters=[LEAD_ID])
    def post(self, request: Request, lead_id: str) -> Response:
        """Hand a qualified lead with a business domain and a score of at least 0.6 to sales. It opens one deal, once."""
        number = _number(lead_id, "lead_id")
        with only(self.business):
            deal = sales.transfer(lead=self.lead(number), by=self.by, now=timezone.now())
        return Response(
            {
                "message": "Lead transferred to sales successfully",
                "sale_id": deal.number,
                "sale_stage": deal.stage,
            }
        )


class ActivitiesView(PipelineView):
    """Calls, notes and visits about a lead. Texts are counted by themselves."""

    refusals = (404, 409)

    @extend_schema(request=ActivityIn, responses={201: NewActivityOut}, parameters=[LEAD_ID])
    def post(self, request: Request, lead_id: str) -> Response:
        """Write down what was done. All but a note counts as the first answer."""
        number, fields, now = _number(lead_id, "lead_id"), self.body(ActivityIn), timezone.now()
        with only(self.business), transaction.atomic():
            lead = pipeline.add_activity(
                lead=self.lead(number), kind=ActivityKind(fields["kind"]), text=fields.get("text", ""), by=self.by, now=now,
                at=fields.get("at"),
            )  # fmt: skip
            # The lead stays locked until the end, so that its latest one is this one.
            made = lead.activities.filter(created_at=now).latest("id")
            return Response(activity_answer(made) | {"activity_count": lead.activity_count}, status=201)

    @extend_schema(responses=ActivityOut(many=True), parameters=[LEAD_ID, ActivityQuery])
    def get(self, request: Request, lead_id: str) -> Response:
        """The newest first. The next page's address is in the Link header."""
        number, asked = _number(lead_id, "lead_id"), self.query(ActivityQuery)
        with only(self.business):
            found = LeadActivity.objects.for_business(self.business).filter(lead=self.lead(number))
            behind = None
            if "before" in asked and (behind := found.filter(pk=asked["before"]).first()) is None:
                raise _nothing_before("This lead has no activity with this id.")
            return self.page(found, by="-at", limit=asked["limit"], behind=behind, answer=activity_answer)


class AssignView(PipelineView):
    refusals = (404, 409)

    @extend_schema(request=AssignIn, responses=LeadDetailOut, parameters=[LEAD_ID])
    def post(self, request: Request, lead_id: str) -> Response:
        """Give a lead to somebody of the team, or to nobody."""
        number, email = _number(lead_id, "lead_id"), self.body(AssignIn)["email"]
        with only(self.business):
            lead = self.lead(number)
            to = self._of_the_team(email) if email is not None else None
            return self.detail(pipeline.assign(lead=lead, to=to, by=self.by, now=timezone.now()))

    def _of_the_team(self, email: str) -> User:
        found = assigning.team(self.business).filter(user__email__iexact=email).select_related("user").first()
        if found is None:
            raise serializers.ValidationError({"email": ["Nobody who works on leads here has this e-mail address."]})
        return found.user


class HistoryView(PipelineView):
    @extend_schema(responses=StageChangeOut(many=True), parameters=[LEAD_ID])
    def get(self, request: Request, lead_id: str) -> Response:
        """Every stage the lead and its deal went through, the first move first."""
        number = _number(lead_id, "lead_id")
        with only(self.business):
            changes = StageChange.objects.for_business(self.business).filter(lead=self.lead(number))
            return Response([change_answer(row) for row in changes.order_by("at", "id")])


# --- Deals ---------------------------------------------------------------------------------------------------------------


class DealsView(PipelineView):
    """What was transferred to sales."""

    refusals = ()

    @extend_schema(responses=DealOut(many=True), parameters=[DealQuery])
    def get(self, request: Request) -> Response:
        """The newest first. The next page's address is in the Link header."""
        asked = self.query(DealQuery)
        with only(self.business):
            found = Deal.objects.for_business(self.business).select_related("lead", "owner")
            if stage := asked.get("stage"):
                found = found.filter(stage=stage)
            if owner := asked.get("owner"):
                found = found.filter(_whose("owner", owner))
            return self.page(
                found, by="-created_at", limit=asked["limit"], behind=self._behind(asked.get("before")),
                answer=deal_answer,
            )  # fmt: skip

    def _behind(self, number: int | None) -> Deal | None:
        try:
            return None if number is None else sales.find_deal(business=self.business, number=number)
        except DealNotFound:
            raise _nothing_before("There is no deal with this id.") from None


class DealBase(PipelineView):
    def shown(self, deal: Deal) -> Response:
        offers = DealOffer.objects.for_business(self.business).filter(deal=deal, status=OfferStatus.OPEN)
        return Response(deal_detail_answer(deal, offer=offers.select_related("salesperson__user").first()))


class DealView(DealBase):
    """A deal, with the score it was transferred with and who is asked to take it."""

    @extend_schema(responses=DealDetailOut, parameters=[DEAL_ID])
    def get(self, request: Request, deal_id: str) -> Response:
        number = _number(deal_id, "deal_id")
        with only(self.business):
            return self.shown(sales.find_deal(business=self.business, number=number))

    @extend_schema(request=DealEditIn, responses=DealDetailOut, parameters=[DEAL_ID])
    def patch(self, request: Request, deal_id: str) -> Response:
        """Say what it is worth and when it should be closed."""
        number, changes = _number(deal_id, "deal_id"), self.body(DealEditIn)
        with only(self.business):
            deal = sales.find_deal(business=self.business, number=number)
            return self.shown(sales.edit_deal(deal=deal, changes=changes, by=self.by, now=timezone.now()))


class DealStageView(DealBase):
    refusals = (400, 404)

    @extend_schema(request=DealStageIn, responses=DealDetailOut, parameters=[DEAL_ID])
    def patch(self, request: Request, deal_id: str) -> Response:
        """Move a deal one stage on, or to `lost`. Paid and lost end it, and the lead learns how."""
        number, fields = _number(deal_id, "deal_id"), self.body(DealStageIn)
        with only(self.business):
            deal = sales.find_deal(business=self.business, number=number)
            why = fields.get("why", "")
            return self.shown(
                sales.move_deal(deal=deal, to=fields["new_stage"], by=self.by, now=timezone.now(), why=why)
            )


# --- Inside ------------------------------------------------------------------------------------------------------------


@functools.cache
def _reader(of: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """One for all requests: to read changes nothing in it, and a new one copies every field, for a tenth of a millisecond."""
    return of(error_messages={"null": "No data provided"})


def _number(text: str, name: str) -> int:
    """Of an address. Raises ValidationError for what is no whole number; 0 is nothing's number."""
    if not _WHOLE_NUMBER.fullmatch(text):
        raise serializers.ValidationError({name: ["A valid integer is required."]})
    return int(text) if len(text) <= _MOST_DIGITS else 0


def _said(request: Request) -> dict[str, str]:
    """Its query, without values of nothing, as forms send them."""
    return {name: value for name, value in request.query_params.dict().items() if value.strip()}


def _filtered(found: QuerySet[Lead], asked: Mapping[str, Any], *, business: Business) -> QuerySet[Lead]:
    for name in ("stage", "source", "business_domain"):
        if name in asked:
            found = found.filter(**{name: asked[name]})
    if "assigned" in asked:
        found = found.filter(_whose("assigned_to", asked["assigned"]))
    if "min_score" in asked:
        found = found.filter(score__gte=asked["min_score"])
    if words := asked.get("q"):
        theirs = Customer.objects.for_business(business).search(words).values("pk")
        found = found.filter(Q(customer__in=theirs) | Q(asked_for__icontains=words))
    return found


def _whose(field: str, email: str) -> Q:
    return Q(**{f"{field}__isnull": True} if email == NOBODY else {f"{field}__email__iexact": email})


def _nothing_before(sentence: str) -> serializers.ValidationError:
    return serializers.ValidationError({"before": [sentence]})
