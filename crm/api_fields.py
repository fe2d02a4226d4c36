"""Fields that every API of ours takes: which business, and a phone number."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from crm import rows
from crm.api_errors import UnknownField
from crm.models import ApiKey, Business
from crm.phones import Phone, PhoneError, parse

NOT_FOUND = "No business with this id takes requests here. Check the id, or send the business's key in X-API-Key."


class Text(serializers.CharField):
    """A string, trimmed, not empty unless it may be, with a length; NUL bytes are refused by DRF."""

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, trim_whitespace=True, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):  # DRF would turn 5 and true into text
            self.fail("invalid")
        return str(super().to_internal_value(data))


def business_named(request: Request, tenant_id: str) -> Business:
    """The business a request is for: by slug or UUID, if the caller may speak for it (its key, or open intake).

    404 in the same words for one that is not there and one that is not theirs; 403 when it is suspended.
    """
    key, uuid = request.auth, _uuid(tenant_id)
    if isinstance(key, ApiKey):
        business = key.business
        if business is None or (tenant_id != business.slug and uuid != business.pk):
            raise UnknownField("tenant_id", NOT_FOUND)
    else:
        business = rows.first(Business, "slug = %s", [tenant_id])
        if business is None and uuid is not None:
            business = rows.first(Business, "id = %s", [uuid])
        if business is None or not business.open_intake:
            raise UnknownField("tenant_id", NOT_FOUND)
    return active(business)


def active(business: Business) -> Business:
    if not business.is_active:
        raise PermissionDenied("Business is suspended")
    return business


def read_phone(raw: str, *, business: Business, field: str) -> Phone:
    """Raises a validation error naming the field."""
    try:
        return parse(raw, region=business.region)
    except PhoneError as error:
        raise serializers.ValidationError({field: [str(error).removeprefix("Phone number: ")]}) from error


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
