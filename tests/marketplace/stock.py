"""Leads on the shelf and buyers at the door, for the tests of the marketplace."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

from crm.keys import uuid7
from crm.models import Business
from marketplace import age_buckets, pricing
from marketplace.enums import BuyerStatus
from marketplace.marks import mark_of
from marketplace.models import AgedLead, Buyer, InventoryItem, PricingRule
from tests.conftest import NOW

_numbers = itertools.count()


def a_phone() -> str:
    """Another one every time, and none that a test writes down itself: those have 555."""
    return f"+1504666{next(_numbers) % 10_000:04d}"


def a_lead(*, days: int = 200, phone: str | None = None, now: datetime = NOW, **fields: Any) -> AgedLead:
    """A lead that called in `days` days and a minute ago; Gold, in Caddo, Louisiana, unless told otherwise."""
    phone = a_phone() if phone is None else phone
    values: dict[str, Any] = {
        "natural_key": uuid7(), "classification": "Gold", "state": "LA", "county": "Caddo", "city": "Shreveport",
        "called_in_at": now - timedelta(days=days, minutes=1), "created_at": now, "phone": phone,
        "borrower_phone": phone, "phone_mark": mark_of(phone) if phone else None, "full_name": "John Moore",
        "first_name": "John", "last_name": "Moore",
    }  # fmt: skip
    return AgedLead.objects.create(**(values | fields))


def an_item(lead: AgedLead | None = None, *, now: datetime = NOW, **fields: Any) -> InventoryItem:
    """A lead for sale in the bucket it is in. `fields` go to the lead, when none is given."""
    lead = lead or a_lead(now=now, **fields)
    days = age_buckets.age_in_days(lead.called_in_at, as_of=now)
    return InventoryItem.objects.create(
        lead=lead, age_bucket=age_buckets.bucket_of(days), classification=lead.classification, state=lead.state,
        county=lead.county, called_in_at=lead.called_in_at, created_at=now,
    )  # fmt: skip


def items(count: int, **fields: Any) -> list[InventoryItem]:
    return [an_item(**fields) for _ in range(count)]


def a_buyer(business: Business, **fields: Any) -> Buyer:
    """One who may buy, on invoice."""
    values: dict[str, Any] = {
        "status": BuyerStatus.ACTIVE, "email": f"{business.slug}@example.com", "email_verified_at": NOW,
        "created_at": NOW, "approved_at": NOW,
    }  # fmt: skip
    return Buyer.objects.create(business=business, **(values | fields))


def start_prices(now: datetime = NOW) -> None:
    """The prices a new installation begins with, for a year."""
    PricingRule.objects.bulk_create(
        PricingRule(
            classification=classification, age_bucket=bucket, price=price, created_at=now,
            effective_from=now - timedelta(days=365),
        )
        for bucket, prices in pricing.STARTING_PRICES.items()
        for classification, price in zip(("Gold", "Silver"), prices, strict=True)
    )  # fmt: skip
