"""Rows for the tests that open every table of the console."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from crm.models import Business
from marketplace.enums import GoneBecause, IngestStatus, ReturnReason
from marketplace.models import (
    AgedLead,
    Buyer,
    GonePerson,
    IngestRun,
    InventoryItem,
    Invoice,
    JournalEntry,
    JournalLine,
    PricingRule,
    Purchase,
    Quote,
    Recall,
    RecallNotice,
    Return,
    Sale,
    Stock,
    WebhookDelivery,
)
from marketplace.services import invoices, purchases, recalls, returns
from tests.marketplace.stock import a_buyer, a_lead, an_item, start_prices


def of_the_catalogue(business: Business, *, now: datetime) -> dict[type, Any]:
    """A file, a lead of it on the shelf, and one that was sold and called back."""
    run = IngestRun.objects.create(
        name="louisiana.csv", sha256="0" * 64, size=1_000, total_rows=2, done_rows=2, successful=2, gold=2,
        status=IngestStatus.DONE, created_at=now, finished_at=now,
    )  # fmt: skip
    if not PricingRule.objects.exists():
        start_prices(now)
    if not Buyer.objects.filter(business=business).exists():
        a_buyer(business, webhook_url="https://alice.example/hook")
    sold = an_item(a_lead(now=now, run=run), now=now)
    purchases.buy_items(business=business, item_ids=[sold.pk], by="Alice Ames", now=now)
    recalls.forget(phone=sold.lead.phone, because=GoneBecause.OPTED_OUT, told_by="a letter", now=now)
    item = an_item(a_lead(now=now, run=run), now=now)
    return {
        IngestRun: run,
        AgedLead: item.lead,
        InventoryItem: item,
        Stock: Stock.objects.latest("pk"),
        GonePerson: GonePerson.objects.get(mark=sold.lead.phone_mark),
        Recall: Recall.objects.get(lead=sold.lead),
        RecallNotice: RecallNotice.objects.get(recall__lead=sold.lead),
        WebhookDelivery: WebhookDelivery.objects.latest("pk"),
    }


def of_the_money(business: Business, *, now: datetime) -> dict[type, Any]:
    """An order out of a quote, invoiced, with a lead that is brought back. Needs the buyer and prices of the catalogue."""
    Buyer.objects.filter(business=business).update(return_percent=100)
    item = an_item(a_lead(now=now), now=now)
    quote = purchases.quote_items(business=business, item_ids=[item.pk], now=now)
    bought = purchases.buy_quote(business=business, quote_id=quote.pk, by="Alice Ames", now=now)
    entry = JournalEntry.objects.get(business=business, about=f"purchase:{bought.purchase.pk}")
    return {
        Buyer: Buyer.objects.get(business=business),
        PricingRule: PricingRule.objects.latest("pk"),
        Quote: Quote.objects.get(pk=quote.pk),
        Purchase: bought.purchase,
        Sale: Sale.objects.get(pk=bought.sale_ids[0]),
        Return: returns.ask(
            business=business, sale_id=bought.sale_ids[0], reason=ReturnReason.OTHER, note="", by="Alice Ames", now=now
        ),
        JournalEntry: entry,
        JournalLine: JournalLine.objects.filter(entry=entry).latest("pk"),
        Invoice: invoices.issue(business=business, until=timezone.now(), now=timezone.now()),
    }
