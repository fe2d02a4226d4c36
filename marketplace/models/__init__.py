"""The tables of the marketplace, one module per part of the business."""

from marketplace.models.buyers import Buyer, KnownPhone, KnownUpload
from marketplace.models.catalogue import AgedLead, IngestProblem, IngestRun, InventoryItem, RolledOver, Stock
from marketplace.models.exports import Export, ExportDownload
from marketplace.models.money import Invoice, InvoiceLine, JournalEntry, JournalLine
from marketplace.models.orders import Purchase, Quote, Return, Sale
from marketplace.models.people import GonePerson, Recall, RecallNotice, WebhookDelivery
from marketplace.models.prices import PricingRule

__all__ = [
    "AgedLead",
    "Buyer",
    "Export",
    "ExportDownload",
    "GonePerson",
    "IngestProblem",
    "IngestRun",
    "InventoryItem",
    "Invoice",
    "InvoiceLine",
    "JournalEntry",
    "JournalLine",
    "KnownPhone",
    "KnownUpload",
    "PricingRule",
    "Purchase",
    "Quote",
    "Recall",
    "RecallNotice",
    "Return",
    "RolledOver",
    "Sale",
    "Stock",
    "WebhookDelivery",
]
