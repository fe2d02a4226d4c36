"""What intake takes and gives, as documented; unknown fields are ignored."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from booking.models import Appointment
from crm.api_fields import Text
from leads.models import Proposal


def one_of(*values: str) -> serializers.CharField:
    """A text of the answer, with its possible values in the schema."""

    @extend_schema_field({"type": "string", "enum": list(values)})
    class Word(serializers.CharField):
        pass

    return Word()


class LeadIn(serializers.Serializer[Any]):
    event_id = Text(max_length=255, help_text="Your id of this request. Sent again, it gets the same answer.")
    tenant_id = Text(max_length=64, help_text="The business: its short name or UUID.")
    name = Text(max_length=120)
    phone = Text(max_length=64)
    service = Text(max_length=80, help_text="A service of the business, by name or another word for it, in any case.")
    address = Text(max_length=200, required=False, allow_null=True, allow_blank=True)
    notes = Text(max_length=2_000, required=False, allow_null=True, allow_blank=True)


class CallbackIn(serializers.Serializer[Any]):
    message_id = Text(max_length=64)
    from_phone = Text(max_length=64)
    body = Text(max_length=1_600)


class ChatIn(serializers.Serializer[Any]):
    from_phone = Text(max_length=64)
    text = Text(max_length=1_600)


class SlotOut(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class LeadOut(serializers.Serializer[Any]):
    """Booked: everything. `{"status": "HANDOFF", "reason"}` and `{"status": "NEEDS_DISPATCH"}` otherwise."""

    status = one_of("BOOKED", "HANDOFF", "NEEDS_DISPATCH")
    reason = serializers.CharField(required=False)
    job_id = serializers.CharField(required=False)
    tenant_id = serializers.CharField(required=False)
    customer_name = serializers.CharField(required=False)
    phone = serializers.CharField(required=False)
    service = serializers.CharField(required=False)
    slot = SlotOut(required=False)
    source_event = serializers.CharField(required=False)


class ProposeOut(serializers.Serializer[Any]):
    status = one_of("PROPOSED", "HANDOFF", "NEEDS_DISPATCH")
    reason = serializers.CharField(required=False)
    proposal_id = serializers.CharField(required=False)
    message_id = serializers.CharField(required=False)


class CallbackOut(serializers.Serializer[Any]):
    status = one_of("BOOKED", "PROPOSED", "DECLINED", "HANDOFF", "NEEDS_DISPATCH", "IGNORED")
    reason = serializers.CharField(required=False)
    job_id = serializers.CharField(required=False)
    tenant_id = serializers.CharField(required=False)
    slot_start = serializers.DateTimeField(required=False)
    slot_end = serializers.DateTimeField(required=False)
    proposal_id = serializers.CharField(required=False)
    message_id = serializers.CharField(required=False)


class ChatInboundOut(serializers.Serializer[Any]):
    status = one_of("PROPOSED", "HANDOFF", "NEEDS_DISPATCH")
    tenant_id = serializers.CharField(allow_null=True)
    service = serializers.CharField(allow_null=True)
    proposal_id = serializers.CharField(allow_null=True)
    message = serializers.CharField(allow_null=True)


class ChatReplyOut(serializers.Serializer[Any]):
    status = one_of("BOOKED", "PROPOSED", "CLARIFY", "DECLINED", "NEEDS_DISPATCH", "HANDOFF")
    job_id = serializers.CharField(allow_null=True)
    proposal_id = serializers.CharField(allow_null=True)
    message = serializers.CharField(allow_null=True)


class JobOut(serializers.Serializer[Any]):
    job_id = serializers.CharField()
    tenant_id = serializers.CharField()
    customer_name = serializers.CharField()
    service = serializers.CharField()
    slot_start = serializers.DateTimeField()
    slot_end = serializers.DateTimeField()
    status = one_of("BOOKED", "CANCELLED", "COMPLETED", "NO_SHOW")


def moment(value: Any) -> str:
    """RFC 3339 in UTC, to the second."""
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


def job_answer(appointment: Appointment, *, tenant_id: str, name: str, phone: str, event_id: str) -> dict[str, Any]:
    return {
        "job_id": appointment.pk.hex,
        "tenant_id": tenant_id,
        "customer_name": name,
        "phone": phone,
        "service": appointment.service_name,
        "slot": {"start": moment(appointment.starts_at), "end": moment(appointment.ends_at)},
        "status": "BOOKED",
        "source_event": event_id,
    }


def proposal_answer(proposal: Proposal) -> dict[str, Any]:
    return {"status": "PROPOSED", "proposal_id": proposal.pk.hex, "message_id": proposal.message_id}
