"""Intake by API: the seven routes a form, a chat or another system books through.

Every business outcome is 200 with a `status`; only a body we cannot use is 4xx, naming the field. Routes answer under
/api/v1 (canonical), /v1 and the root.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from booking import queries as calendar
from booking.enums import UPCOMING, AppointmentStatus
from booking.models import Appointment
from booking.when import read_when
from crm import messaging
from crm.api_auth import HasApiKey, OpenOrApiKey
from crm.api_errors import Conflict
from crm.api_fields import active, business_named, read_phone
from crm.enums import Author, MessageKind, TaskReason
from crm.idempotency import DifferentRequest, IdempotentPosts, claim
from crm.models import ApiKey, Business, Customer
from crm.phones import PhoneError, parse
from crm.scoping import every_business, only
from crm.services import find_customer, tell_customer
from leads.enums import LeadSource
from leads.intent import read_intent
from leads.models import Lead, Proposal
from leads.replies import Reply, read_reply
from leads.serializers import (
    CallbackIn,
    CallbackOut,
    ChatIn,
    ChatInboundOut,
    ChatReplyOut,
    JobOut,
    LeadIn,
    LeadOut,
    ProposeOut,
    job_answer,
    moment,
    proposal_answer,
)
from leads.services import intake as services
from leads.services.intake import Answer, Draft, Outcome

log = structlog.get_logger(__name__)

KEY_OR_NOT: Any = [{"ApiKey": []}, {}]  # for the schema: with a key, or without one for a business with open intake

_HANDOFFS = {
    "cancel": (TaskReason.WANTS_CANCEL, "Call {who}: they want to cancel. “{notes}”"),
    "reschedule": (TaskReason.WANTS_RESCHEDULE, "Call {who}: they want another time. “{notes}”"),
}


class LeadView(IdempotentPosts):
    """Book the next free slot."""

    permission_classes = [OpenOrApiKey]
    refusals = (404, 409)
    scope = "lead"

    @extend_schema(request=LeadIn, responses=LeadOut, auth=KEY_OR_NOT)
    def post(self, request: Request) -> Response:
        body = LeadIn(data=request.data)
        body.is_valid(raise_exception=True)
        fields = body.validated_data
        business = business_named(request, fields["tenant_id"])
        phone = read_phone(fields["phone"], business=business, field="phone")
        with transaction.atomic(), only(business):
            try:
                mine = claim(business=business, scope=self.scope, key=fields["event_id"], payload=fields)
            except DifferentRequest:
                raise Conflict(
                    f"event_id: “{fields['event_id'][:80]}” was used before with another body."
                    " Send a new event_id for a new request."
                ) from None
            if mine.is_repeat:
                return Response(mine.answer)
            draft = Draft(
                phone=phone, source=LeadSource.API, name=fields["name"], asked_for=fields["service"],
                address=fields.get("address") or "", notes=fields.get("notes") or "", event_id=fields["event_id"],
            )  # fmt: skip
            answer = self.act(business, draft)
            mine.keep(status=200, answer=answer)
        log.info(
            "lead_received",
            tenant_id=business.slug,
            event_id=draft.event_id,
            job_id=answer.get("job_id"),
            outcome=answer["status"],
        )
        return Response(answer)

    def act(self, business: Business, draft: Draft) -> dict[str, Any]:
        now = timezone.now()
        service = services.find_service(business=business, text=draft.asked_for)
        lead = services.capture_lead(business=business, draft=draft, service=service, now=now)
        intent = read_intent(draft.notes)
        if intent != "book":
            reason, title = _HANDOFFS[intent]
            services.hand_over(
                lead=lead, reason=reason, title=title.format(who=draft.name, notes=draft.notes[:120]), now=now
            )
            return {"status": "HANDOFF", "reason": intent}
        return self.book_or_offer(lead, draft)

    def book_or_offer(self, lead: Lead, draft: Draft) -> dict[str, Any]:
        now = timezone.now()
        answer = services.book_lead(lead=lead, address=draft.address, now=now)
        kind = MessageKind.APPOINTMENT if answer.appointment else MessageKind.CHAT
        tell_customer(customer=lead.person, body=answer.text, kind=kind, about=answer.about, now=now)
        if answer.appointment is None:
            return {"status": "NEEDS_DISPATCH"}
        return job_answer(
            answer.appointment,
            tenant_id=lead.business.slug,
            name=draft.name,
            phone=draft.phone.e164,
            event_id=draft.event_id,
        )


@extend_schema_view(post=extend_schema(request=LeadIn, responses=ProposeOut, auth=KEY_OR_NOT))
class ProposeView(LeadView):
    """Offer the next free slot by text. It is held for the business's hold time; nothing is booked yet."""

    scope = "lead/propose"

    def book_or_offer(self, lead: Lead, draft: Draft) -> dict[str, Any]:
        now = timezone.now()
        refusal = messaging.why_not(
            business=lead.business, phone=draft.phone.e164, body="An offer", author=Author.ASSISTANT, now=now
        )
        if refusal is not None:  # an offer they cannot receive would only block the slot
            services.hand_over(
                lead=lead, reason=TaskReason.ASKED_A_PERSON, now=now,
                title=f"Call {draft.name} about {draft.asked_for}: we cannot text them. {refusal}",
            )  # fmt: skip
            return {"status": "HANDOFF", "reason": "cannot_text"}
        answer = services.offer_slot(lead=lead, now=now, address=draft.address)
        kind = MessageKind.OFFER if answer.proposal else MessageKind.CHAT
        tell_customer(customer=lead.person, body=answer.text, kind=kind, about=answer.about, now=now)
        return proposal_answer(answer.proposal) if answer.proposal else {"status": "NEEDS_DISPATCH"}


class SmsCallbackView(IdempotentPosts):
    """Pass on what a customer answered to an offer, from a texting provider of your own."""

    permission_classes = [OpenOrApiKey]

    @extend_schema(request=CallbackIn, responses=CallbackOut, auth=KEY_OR_NOT)
    def post(self, request: Request) -> Response:
        body = CallbackIn(data=request.data)
        body.is_valid(raise_exception=True)
        fields = body.validated_data
        proposal = _proposal_with_handle(fields["message_id"])
        if (
            proposal is None
            or not _may_speak_for(request, proposal.business)
            or not _is_theirs(proposal, fields["from_phone"])
        ):
            return Response({"status": "IGNORED"})
        business = active(proposal.business)
        with transaction.atomic(), only(business):
            return Response(self.act(proposal, read_reply(fields["body"])))

    def act(self, proposal: Proposal, reply: Reply) -> dict[str, Any]:
        now = timezone.now()
        if reply == Reply.YES:
            answer = services.accept(proposal=proposal, now=now)
            if answer.is_new:
                kind = MessageKind.APPOINTMENT if answer.appointment else MessageKind.OFFER
                tell_customer(customer=answer.lead.person, body=answer.text, kind=kind, about=answer.about, now=now)
            return self.shown(answer)
        if reply == Reply.NO:
            answer = services.decline(proposal=proposal, now=now)
            if answer.is_new:
                tell_customer(
                    customer=answer.lead.person, body=answer.text, kind=MessageKind.CHAT, about=answer.about, now=now
                )
            return (
                {"status": "DECLINED"}
                if answer.outcome == Outcome.DECLINED
                else {"status": "HANDOFF", "reason": "cancel"}
            )
        if reply == Reply.OTHER_TIME:
            # The documented answer: a person takes it from here, and the offer stands until its hold runs out.
            services.hand_over(
                lead=proposal.lead, reason=TaskReason.WANTS_RESCHEDULE, now=now,
                title=f"Call {proposal.customer}: they want another time than the one we offered.",
            )  # fmt: skip
            return {"status": "HANDOFF", "reason": "reschedule"}
        return {"status": "IGNORED"}

    def shown(self, answer: Answer) -> dict[str, Any]:
        if answer.appointment is not None:
            return {
                "status": "BOOKED",
                "job_id": answer.appointment.pk.hex,
                "tenant_id": answer.lead.business.slug,
                "slot_start": moment(answer.appointment.starts_at),
                "slot_end": moment(answer.appointment.ends_at),
            }
        # The time went to somebody else meanwhile: never another one unasked, but an offer of the next.
        return proposal_answer(answer.proposal) if answer.proposal else {"status": "NEEDS_DISPATCH"}


class ChatInboundView(IdempotentPosts):
    """A customer's first words, relayed: the business is found by who writes, then by its short name in the text."""

    permission_classes = [OpenOrApiKey]

    @extend_schema(request=ChatIn, responses=ChatInboundOut, auth=KEY_OR_NOT)
    def post(self, request: Request) -> Response:
        body = ChatIn(data=request.data)
        body.is_valid(raise_exception=True)
        raw, text = body.validated_data["from_phone"], body.validated_data["text"]
        business = _business_of_chat(request, _phone_of_chat(request, raw), text)
        answer: dict[str, Any] = {
            "status": "HANDOFF",
            "tenant_id": None,
            "service": None,
            "proposal_id": None,
            "message": None,
        }
        if business is None:
            return Response(answer | {"message": "Could not determine tenant or service."})
        active(business)
        phone = read_phone(raw, business=business, field="from_phone")
        with transaction.atomic(), only(business):
            answer["tenant_id"] = business.slug
            found = services.recognise_services(calendar.active_services(business), text=_without_slug(text, business))
            if len(found) != 1:
                message = "Could not determine tenant or service."
                if found:
                    message = f"Which one do you need: {' or '.join(service.name for service in found[:3])}?"
                return Response(answer | {"message": message})
            now = timezone.now()
            draft = Draft(phone=phone, source=LeadSource.CHAT, asked_for=text)
            lead = services.capture_lead(business=business, draft=draft, service=found[0], now=now)
            made = services.offer_slot(lead=lead, now=now, wanted=read_when(text, now=now, zone=business.time_zone))
            answer["service"] = found[0].name
            if made.proposal is None:
                return Response(answer | {"status": "NEEDS_DISPATCH"})
            return Response(answer | {"status": "PROPOSED", "proposal_id": made.proposal.pk.hex, "message": made.text})


class ChatReplyView(IdempotentPosts):
    """A customer's answer, relayed, to the latest offer made to their number."""

    permission_classes = [OpenOrApiKey]

    @extend_schema(request=ChatIn, responses=ChatReplyOut, auth=KEY_OR_NOT)
    def post(self, request: Request) -> Response:
        body = ChatIn(data=request.data)
        body.is_valid(raise_exception=True)
        raw, text = body.validated_data["from_phone"], body.validated_data["text"]
        proposal = _latest_proposal_to(request, _phone_of_chat(request, raw))
        answer: dict[str, Any] = {"status": "HANDOFF", "job_id": None, "proposal_id": None, "message": None}
        if proposal is None:
            return Response(answer | {"message": "No active proposal found."})
        business = active(proposal.business)
        with transaction.atomic(), only(business):
            made = services.answer_offer(proposal=proposal, text=text, now=timezone.now())
        shown = made.proposal or proposal
        return Response(
            {
                "status": made.outcome.value,
                "job_id": made.appointment.pk.hex if made.appointment else None,
                "proposal_id": shown.pk.hex,
                "message": None if made.outcome == Outcome.NEEDS_DISPATCH else made.text,
            }
        )


class JobsView(APIView):
    """The business's jobs, newest first. The next page's address is in the Link header."""

    permission_classes = [HasApiKey]

    @extend_schema(
        responses=JobOut(many=True),
        parameters=[
            OpenApiParameter("limit", int, description="1 to 200; 50 unless told."),
            OpenApiParameter("before", str, description="A job_id: only jobs created before it."),
        ],
    )
    def get(self, request: Request) -> Response:
        key = request.auth
        assert isinstance(key, ApiKey)
        assert key.business is not None
        business = active(key.business)
        limit, before = _page(request)
        with only(business):
            rows = (
                Appointment.objects.for_business(business)
                .exclude(status__in=[AppointmentStatus.HELD, AppointmentStatus.RELEASED])
                .select_related("customer")
                .order_by("-id")
            )
            if before is not None:
                rows = rows.filter(pk__lt=before)
            page = list(rows[: limit + 1])
        jobs = [
            {
                "job_id": row.pk.hex,
                "tenant_id": business.slug,
                "customer_name": row.customer.name,
                "service": row.service_name,
                "slot_start": moment(row.starts_at),
                "slot_end": moment(row.ends_at),
                "status": "BOOKED" if row.status in UPCOMING else row.status,
            }
            for row in page[:limit]
        ]
        headers = {}
        if len(page) > limit:
            address = request.build_absolute_uri(f"{request.path}?limit={limit}&before={jobs[-1]['job_id']}")
            headers["Link"] = f'<{address}>; rel="next"'
        return Response(jobs, headers=headers)


# --- Inside ------------------------------------------------------------------------------------------------------------


def _page(request: Request) -> tuple[int, str | None]:
    class Query(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
        before = serializers.UUIDField(required=False)

    query = Query(data=request.query_params)
    query.is_valid(raise_exception=True)
    before = query.validated_data.get("before")
    return query.validated_data["limit"], str(before) if before else None


def _proposal_with_handle(handle: str) -> Proposal | None:
    digits = handle.removeprefix("msg_")
    if len(digits) != 32 or not all(c in "0123456789abcdef" for c in digits):
        return None
    with every_business():
        return (
            Proposal.objects.select_related("business", "customer__business", "lead__business", "appointment")
            .filter(pk=digits)
            .first()
        )


def _may_speak_for(request: Request, business: Business) -> bool:
    if isinstance(request.auth, ApiKey):
        return request.auth.business_id == business.pk
    return business.open_intake


def _is_theirs(proposal: Proposal, raw: str) -> bool:
    try:
        phone = parse(raw, region=proposal.business.region).e164
    except PhoneError:
        return False
    with only(proposal.business):
        return find_customer(business=proposal.business, phone=phone) == proposal.customer


def _phone_of_chat(request: Request, raw: str) -> str:
    """E.164, as written in the country of the key's business; without a key as written in full, or as in the US."""
    business = request.auth.business if isinstance(request.auth, ApiKey) else None
    try:
        return parse(raw, region=business.region if business else "US").e164
    except PhoneError as error:
        raise serializers.ValidationError({"from_phone": [str(error).removeprefix("Phone number: ")]}) from error


def _business_of_chat(request: Request, phone: str, text: str) -> Business | None:
    """The key's business; else the one open-intake business that knows this number; else the one the text names."""
    if isinstance(request.auth, ApiKey):
        return request.auth.business
    with every_business():
        knowing = Business.objects.filter(
            open_intake=True, pk__in=Customer.objects.filter(phone=phone).values("business_id")
        )[:2]
        found = list(knowing)
    if len(found) == 1:
        return found[0]
    named = [word.strip(".,!?;:") for word in text.lower().split() if word.startswith("t_")]
    return Business.objects.filter(slug=named[0], open_intake=True).first() if named else None


def _without_slug(text: str, business: Business) -> str:
    return " ".join(word for word in text.split() if word.lower().strip(".,!?;:") != business.slug)


def _latest_proposal_to(request: Request, phone: str) -> Proposal | None:
    with every_business():
        theirs = Q(customer__phone=phone) | Q(customer__merged__phone=phone)  # or the number of one merged into them
        rows = Proposal.objects.filter(theirs).select_related(
            "business", "customer__business", "lead__business", "appointment"
        )
        if isinstance(request.auth, ApiKey):
            rows = rows.filter(business=request.auth.business)
        else:
            rows = rows.filter(business__open_intake=True)
        return rows.order_by("-created_at", "-id").first()
