"""A buyer's day, for the tests that open every page: a cart, an order with a file and a recall, an invoice, a message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from crm.models import Business
from crm.scoping import only
from marketplace.allocation import Criterion
from marketplace.enums import ExportProfile
from marketplace.models import (
    Buyer,
    Export,
    Invoice,
    PricingRule,
    Purchase,
    Quote,
    Recall,
    RecallNotice,
    Sale,
    WebhookDelivery,
)
from marketplace.services import exports, purchases
from tests.marketplace.stock import a_buyer, items, start_prices

QUOTE: Final = UUID("018f0000-0000-7000-8000-00000000000a")  # of the cart, so that a form can name it


@dataclass(frozen=True)
class Trade:
    quote: Quote  # of one lead more; not bought
    purchase: Purchase  # of two leads
    sale: Sale
    export: Export  # asked for, not made yet
    invoice: Invoice
    notice: RecallNotice
    delivery: WebhookDelivery


def trade(business: Business, *, now: datetime, **lead: Any) -> Trade:
    """Let a business buy. `lead` are fields of the leads."""
    if not PricingRule.objects.exists():
        start_prices(now)
    if not Buyer.objects.filter(business=business).exists():
        a_buyer(business, webhook_url="https://hooks.example.com/leads")
    items(4, now=now, **lead)
    wanted = Criterion("Gold", "MONTH_6_TO_8", 2)
    with only(business):
        bought = purchases.buy_by_criteria(business=business, criteria=[wanted], by="Alice Ames", now=now)
        quote = Quote.objects.create(
            pk=QUOTE, business=business, kind="criteria", total_items=1, subtotal=Decimal("8.00"), created_at=now,
            expires_at=now + timedelta(minutes=15),
            lines=[
                {"classification": "Gold", "age_bucket": "MONTH_6_TO_8", "quantity": 1, "state": "", "county": "",
                 "unit_price": "8.00"}
            ],
        )  # fmt: skip
        sale = Sale.objects.select_related("lead").get(pk=bought.sale_ids[0])
        recall = Recall.objects.create(lead=sale.lead, because="opted_out", at=now)
        return Trade(
            quote=quote,
            purchase=bought.purchase,
            sale=Sale.objects.get(pk=bought.sale_ids[1]),
            export=exports.ask_for(
                business=business, profile=ExportProfile.CSV, purchase=bought.purchase, by="Alice Ames", now=now
            ),
            invoice=Invoice.objects.create(
                business=business,
                number=1007,
                since=now - timedelta(days=30),
                until=now,
                total=Decimal("16.00"),
                issued_at=now,
                due_on=date(2026, 12, 2),
            ),  # fmt: skip
            notice=RecallNotice.objects.create(business=business, recall=recall, sale=sale, created_at=now),
            delivery=WebhookDelivery.objects.create(
                business=business,
                event="recall.created",
                about=f"notice:{recall.pk}",
                payload={"because": "opted_out"},
                next_at=now + timedelta(hours=1),
                created_at=now,
            ),  # fmt: skip
        )
