"""What the marketplace's API takes and gives. Money is text in US dollars, like "8.00"; unknown fields are ignored."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from crm.api_fields import Text
from crm.models import Business
from leads.serializers import moment, one_of
from marketplace import allocation, pricing
from marketplace.accounts import can_be_spent
from marketplace.allocation import Alternative, Criterion
from marketplace.enums import BuyerStatus, ExportProfile, ExportStatus, GoneBecause, ReturnReason, ReturnStatus, Terms
from marketplace.models import Buyer, Export, Purchase, Quote, RecallNotice, Return, Sale
from marketplace.queries import Listed
from marketplace.services import exports, recalls
from marketplace.services.returns import Allowance

MOST_CRITERIA = 50
MOST_NOTICES = 1_000
ANOTHER_CLIENT = "client_id: this key buys for another client. Leave client_id out, or send the key's own."


def check_client(business: Business, client_id: str) -> None:
    """The key decides who buys; a `client_id` may only agree with it. Raises PermissionDenied for another's UUID, and
    ValidationError for what is neither a UUID nor this business's short name."""
    if client_id == business.slug:
        return
    try:
        is_theirs = UUID(client_id) == business.pk
    except ValueError:
        raise serializers.ValidationError(
            "Send the UUID or the short name of this key's business, or leave client_id out."
        ) from None
    if not is_theirs:
        raise PermissionDenied(ANOTHER_CLIENT)


# --- In ----------------------------------------------------------------------------------------------------------------


class Id(serializers.UUIDField):
    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):  # DRF would take 5 for 00000000-0000-0000-0000-000000000005
            self.fail("invalid", value=data)
        found: UUID = super().to_internal_value(data)
        return found


class Count(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):  # DRF would take "10", true and 5.0
            self.fail("invalid")
        return int(super().to_internal_value(data))


class ClientId(Text):
    """Needs the key's business in its context."""

    def __init__(self) -> None:
        super().__init__(
            max_length=64,
            required=False,
            allow_null=True,
            help_text="Your own UUID or short name. The key says who buys, so this may be left out.",
        )

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        check_client(self.context["business"], text)
        return text


def ids(*, most: int, help_text: str = "", **kwargs: Any) -> serializers.ListField:
    return serializers.ListField(
        child=Id(), min_length=1, max_length=most, allow_null=True, help_text=help_text, **kwargs
    )


class ClientBody(serializers.Serializer[Any]):
    client_id = ClientId()


class CriterionIn(serializers.Serializer[Any]):
    """So many leads of one class and age; anywhere, in a state, or in a county of it."""

    classification = Text(max_length=100, help_text="Gold or Silver.")
    age_bucket = Text(max_length=100, help_text="Like MONTH_6_TO_8.")
    quantity = Count(min_value=1, max_value=allocation.MOST)
    state = Text(
        max_length=100, required=False, allow_null=True, allow_blank=True, help_text="A postal code, in any case."
    )
    county = Text(
        max_length=100,
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="As GET /inventory/locations spells it.",
    )


def several_criteria(**kwargs: Any) -> serializers.ListSerializer[Any]:
    return serializers.ListSerializer(child=CriterionIn(), allow_empty=False, max_length=MOST_CRITERIA, **kwargs)


def _exactly_one(fields: dict[str, Any], first: str, second: str) -> None:
    given = [name for name in (first, second) if fields.get(name) is not None]
    if len(given) == 2:
        raise serializers.ValidationError({second: [f"Send {first} or {second}, not both."]})
    if not given:
        raise serializers.ValidationError({first: [f"Send {first} or {second}."]})


class QuoteIn(ClientBody):
    inventory_item_ids = ids(most=allocation.MOST, required=False)
    criteria = several_criteria(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        _exactly_one(attrs, "inventory_item_ids", "criteria")
        return attrs


class PurchaseIn(ClientBody):
    inventory_item_ids = ids(most=allocation.MOST, required=False, help_text="In the order the sales shall come in.")
    quote_id = Id(required=False, allow_null=True, help_text="Buys what was quoted, at the prices of the quote.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        _exactly_one(attrs, "inventory_item_ids", "quote_id")
        return attrs


class CriteriaPurchaseIn(ClientBody):
    criteria = several_criteria()


class ExportIn(ClientBody):
    sale_ids = ids(most=exports.MOST, required=False, help_text="The rows of the file, in this order.")
    purchase_id = Id(required=False, allow_null=True, help_text="Every lead of one purchase.")
    profile = serializers.ChoiceField(
        choices=ExportProfile.choices,
        default=ExportProfile.CSV,
        help_text="csv is safe to open in a spreadsheet; machine has every value as it came; xlsx is for Excel.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        _exactly_one(attrs, "sale_ids", "purchase_id")
        return attrs


class ReturnIn(ClientBody):
    sale_id = Id()
    reason = serializers.ChoiceField(choices=ReturnReason.choices)
    note = Text(max_length=2_000, required=False, allow_null=True, allow_blank=True)


class AcknowledgeIn(ClientBody):
    notice_ids = serializers.ListField(child=Id(), min_length=1, max_length=MOST_NOTICES)


class KnownPhonesIn(ClientBody):
    sha256 = serializers.ListField(
        child=serializers.RegexField(
            r"\A[0-9a-fA-F]{64}\Z", error_messages={"invalid": "Send 64 characters out of 0 to 9 and a to f."}
        ),
        min_length=1,
        help_text="Each the SHA-256 of a number written like +15551234567.",
    )
    name = Text(max_length=255, required=False, allow_null=True, help_text="What you call this list.")


class WebhookIn(ClientBody):
    url = Text(max_length=500, help_text="An https:// address. Recalls are posted to it, signed.")


# --- Out: for the schema ------------------------------------------------------------------------------------------------


def money(**kwargs: Any) -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=14, decimal_places=2, **kwargs)


def place() -> serializers.CharField:
    return serializers.CharField(allow_null=True)


class PageOut(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="Of all pages.")
    next = serializers.CharField(
        allow_null=True, help_text="Send it as `after` for the next page; null on the last one."
    )


class ListedOut(serializers.Serializer[Any]):
    inventory_id = serializers.UUIDField()
    lead_id = serializers.UUIDField()
    age_bucket = serializers.CharField()
    state = serializers.CharField()
    county = place()
    classification = serializers.CharField()
    unit_price = money(allow_null=True, help_text="null: it has no price, and cannot be bought until it has one.")
    first_name = serializers.CharField()
    city = serializers.CharField()
    created_at = serializers.DateTimeField()


class InventoryOut(PageOut):
    items = ListedOut(many=True)
    total_count = serializers.IntegerField(help_text="The same as total.")
    total_is_exact = serializers.BooleanField(
        help_text="false: at most total; the people on your own list are too many to count them out."
    )
    filters_applied = serializers.DictField(
        help_text="Only those that were sent: one value as text, several as a list."
    )
    currency = serializers.CharField()


class LocationsOut(serializers.Serializer[Any]):
    states = serializers.ListField(child=serializers.CharField())
    counties_by_state = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))


class QuoteLineOut(serializers.Serializer[Any]):
    """Of items: inventory_id and lead_id. Of criteria: quantity."""

    inventory_id = serializers.UUIDField(required=False)
    lead_id = serializers.UUIDField(required=False)
    quantity = serializers.IntegerField(required=False)
    classification = serializers.CharField()
    age_bucket = serializers.CharField()
    state = place()
    county = place()
    unit_price = money()


class QuoteOut(serializers.Serializer[Any]):
    quote_id = serializers.UUIDField()
    items = QuoteLineOut(many=True)
    subtotal = money()
    currency = serializers.CharField()
    total_items = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class BoughtOut(serializers.Serializer[Any]):
    """`success` false: nothing was bought, and `errors` says why."""

    success = serializers.BooleanField()
    sale_ids = serializers.ListField(child=serializers.UUIDField())
    total_paid = money()
    items_requested = serializers.IntegerField()
    items_purchased = serializers.IntegerField()
    items_replaced = serializers.IntegerField()
    message = serializers.CharField()
    purchase_id = serializers.UUIDField(allow_null=True)
    purchase_number = serializers.CharField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """With `errors`, a name that a serializer keeps for itself."""
        return super().get_fields() | {"errors": serializers.ListField(child=serializers.CharField())}


class CriterionOut(serializers.Serializer[Any]):
    classification = serializers.CharField()
    age_bucket = serializers.CharField()
    quantity = serializers.IntegerField()
    state = place()
    county = place()


class AlternativeOut(serializers.Serializer[Any]):
    description = serializers.CharField()
    available_count = serializers.IntegerField()
    suggestion_type = one_of("partial", "no_location_filter", "different_age_bucket")
    criteria = CriterionOut(help_text="What to send to buy it.")


class ShortageOut(serializers.Serializer[Any]):
    error = one_of("insufficient_inventory")
    requested = serializers.IntegerField(help_text="The quantity of the criterion that cannot be filled.")
    available = serializers.IntegerField()
    criteria = serializers.CharField(help_text="That criterion, in words.")
    item_index = serializers.IntegerField(allow_null=True, help_text="Its place, from 0, when several were sent.")
    is_multi_item = serializers.BooleanField()
    alternatives = AlternativeOut(many=True)


class ShortageProblemOut(serializers.Serializer[Any]):
    """A problem whose detail is an object."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = ShortageOut()
    instance = serializers.CharField()


class PurchaseOut(serializers.Serializer[Any]):
    purchase_id = serializers.UUIDField()
    purchase_number = serializers.CharField()
    quote_id = serializers.UUIDField(allow_null=True)
    quantity = serializers.IntegerField()
    replaced = serializers.IntegerField()
    total_paid = money()
    currency = serializers.CharField()
    bought_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class PurchasesOut(PageOut):
    items = PurchaseOut(many=True)


class SaleOut(serializers.Serializer[Any]):
    sale_id = serializers.UUIDField()
    lead_id = serializers.UUIDField()
    classification = serializers.CharField()
    age_bucket = serializers.CharField()
    price = money()
    sold_at = serializers.DateTimeField()
    returned = serializers.CharField(allow_null=True, help_text=f"null, or {', '.join(ReturnStatus.values)}.")


class PurchaseDetailOut(PurchaseOut, PageOut):
    """The purchase, and a page of its leads."""

    items = SaleOut(many=True)


class ExportOut(serializers.Serializer[Any]):
    export_id = serializers.UUIDField()
    status = one_of(*ExportStatus.values)
    profile = one_of(*ExportProfile.values)
    rows = serializers.IntegerField()
    sha256 = serializers.CharField(allow_null=True, help_text="Of the file, once it is made.")
    size = serializers.IntegerField(allow_null=True, help_text="Bytes.")
    url = serializers.URLField(help_text="Where the file is, or will be.")
    created_at = serializers.DateTimeField()


class ReturnOut(serializers.Serializer[Any]):
    return_id = serializers.UUIDField()
    sale_id = serializers.UUIDField()
    status = one_of(*ReturnStatus.values)
    reason = one_of(*ReturnReason.values)
    note = serializers.CharField()
    decision = serializers.CharField()
    replacement_sale_id = serializers.UUIDField(allow_null=True)
    credited = money(help_text="What came back to the balance.")
    requested_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)


class ReturnsOut(PageOut):
    items = ReturnOut(many=True)


class AllowanceOut(serializers.Serializer[Any]):
    days = serializers.IntegerField()
    percent = serializers.IntegerField()
    bought = serializers.IntegerField()
    returned = serializers.IntegerField()
    limit = serializers.IntegerField()
    left = serializers.IntegerField()
    sentence = serializers.CharField()


class AccountOut(serializers.Serializer[Any]):
    client_id = serializers.UUIDField()
    name = serializers.CharField()
    status = one_of(*BuyerStatus.values)
    email_verified = serializers.BooleanField()
    may_buy = serializers.BooleanField()
    terms = one_of(*Terms.values)
    currency = serializers.CharField()
    balance = money(help_text="Above zero: paid ahead. Below: owed to us.")
    credit_limit = money(help_text="How far below zero a prepaid balance may go.")
    spendable = money(allow_null=True, help_text="null for buyers on invoice.")
    return_allowance = AllowanceOut()


class NoticeOut(serializers.Serializer[Any]):
    notice_id = serializers.UUIDField()
    sale_id = serializers.UUIDField()
    lead_id = serializers.UUIDField()
    reason = one_of(*GoneBecause.values)
    what_to_do = serializers.CharField()
    recalled_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)


class NoticesOut(PageOut):
    items = NoticeOut(many=True)


class AcknowledgedOut(serializers.Serializer[Any]):
    acknowledged = serializers.IntegerField(help_text="How many of these were open until now.")


class UploadedOut(serializers.Serializer[Any]):
    upload_id = serializers.UUIDField()
    rows = serializers.IntegerField()
    added = serializers.IntegerField(help_text="People we had not known you have.")
    refused = serializers.IntegerField()
    problems = serializers.ListField(child=serializers.CharField(), help_text="The first refused rows.")


class WebhookOut(serializers.Serializer[Any]):
    url = serializers.URLField(allow_null=True)


class NewWebhookOut(serializers.Serializer[Any]):
    url = serializers.URLField()
    secret = serializers.CharField(help_text="Signs what we send. Shown this once.")


# --- Out: the answers ---------------------------------------------------------------------------------------------------


def say(amount: Decimal) -> str:
    """“8.00”."""
    return str(amount.quantize(pricing.CENT))


def listed_answer(item: Listed) -> dict[str, Any]:
    return {
        "inventory_id": str(item.inventory_id),
        "lead_id": str(item.lead_id),
        "age_bucket": item.age_bucket,
        "state": item.state,
        "county": item.county or None,
        "classification": item.classification,
        "unit_price": None if item.unit_price is None else say(item.unit_price),
        "first_name": item.first_name,
        "city": item.city,
        "created_at": moment(item.created_at),
    }


def quote_answer(quote: Quote) -> dict[str, Any]:
    return {
        "quote_id": str(quote.pk),
        "items": [line | {"state": line["state"] or None, "county": line["county"] or None} for line in quote.lines],
        "subtotal": say(quote.subtotal),
        "currency": pricing.CURRENCY,
        "total_items": quote.total_items,
        "created_at": moment(quote.created_at),
        "expires_at": moment(quote.expires_at),
    }


def criterion_answer(criterion: Criterion) -> dict[str, Any]:
    return {
        "classification": criterion.classification,
        "age_bucket": criterion.age_bucket,
        "quantity": criterion.quantity,
        "state": criterion.state or None,
        "county": criterion.county or None,
    }


def alternative_answer(other: Alternative) -> dict[str, Any]:
    return {
        "description": other.description,
        "available_count": other.available_count,
        "suggestion_type": other.suggestion_type,
        "criteria": criterion_answer(other.instead),
    }


def purchase_answer(purchase: Purchase) -> dict[str, Any]:
    return {
        "purchase_id": str(purchase.pk),
        "purchase_number": str(purchase),
        "quote_id": str(purchase.quote_id) if purchase.quote_id else None,
        "quantity": purchase.quantity,
        "replaced": purchase.replaced,
        "total_paid": say(purchase.total),
        "currency": pricing.CURRENCY,
        "bought_by": purchase.bought_by,
        "created_at": moment(purchase.created_at),
    }


def sale_answer(sale: Sale) -> dict[str, Any]:
    """Needs `returns`."""
    return {
        "sale_id": str(sale.pk),
        "lead_id": str(sale.lead_id),
        "classification": sale.classification,
        "age_bucket": sale.age_bucket,
        "price": say(sale.price),
        "sold_at": moment(sale.sold_at),
        "returned": next((row.status for row in sale.returns.all()), None),
    }


def export_answer(export: Export, *, url: str) -> dict[str, Any]:
    is_made = export.status == ExportStatus.READY
    return {
        "export_id": str(export.pk),
        "status": export.status,
        "profile": export.profile,
        "rows": len(export.sale_ids),
        "sha256": export.sha256 if is_made else None,
        "size": export.size if is_made else None,
        "url": url,
        "created_at": moment(export.created_at),
    }


def return_answer(row: Return) -> dict[str, Any]:
    """Needs `sale`."""
    return {
        "return_id": str(row.pk),
        "sale_id": str(row.sale_id),
        "status": row.status,
        "reason": row.reason,
        "note": row.note,
        "decision": row.decision,
        "replacement_sale_id": str(row.replacement_id) if row.replacement_id else None,
        "credited": say(row.sale.price if row.status == ReturnStatus.CREDITED else Decimal(0)),
        "requested_at": moment(row.requested_at),
        "decided_at": moment(row.decided_at) if row.decided_at else None,
    }


def account_answer(buyer: Buyer, *, allowed: Allowance) -> dict[str, Any]:
    spendable = can_be_spent(buyer)
    return {
        "client_id": str(buyer.pk),
        "name": buyer.business.name,
        "status": buyer.status,
        "email_verified": buyer.email_verified_at is not None,
        "may_buy": buyer.may_buy,
        "terms": buyer.terms,
        "currency": pricing.CURRENCY,
        "balance": say(buyer.balance),
        "credit_limit": say(buyer.credit_limit),
        "spendable": None if spendable is None else say(spendable),
        "return_allowance": {
            "days": allowed.days,
            "percent": allowed.percent,
            "bought": allowed.bought,
            "returned": allowed.returned,
            "limit": allowed.limit,
            "left": allowed.left,
            "sentence": allowed.sentence,
        },
    }


def notice_answer(notice: RecallNotice) -> dict[str, Any]:
    """Needs `recall`."""
    because = GoneBecause(notice.recall.because)
    return {
        "notice_id": str(notice.pk),
        "sale_id": str(notice.sale_id),
        "lead_id": str(notice.recall.lead_id),
        "reason": because.value,
        "what_to_do": recalls.WHAT_TO_DO[because],
        "recalled_at": moment(notice.created_at),
        "acknowledged_at": moment(notice.acknowledged_at) if notice.acknowledged_at else None,
    }
