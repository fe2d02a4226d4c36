"""What happened to one lead, from the call to the last buyer who heard of its recall. Reads only, of every business."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db.models import Model, Q

from crm.models import AuditEvent, Business
from marketplace.enums import ClosedBecause, ExportStatus, ReturnStatus
from marketplace.models import (
    AgedLead,
    Export,
    ExportDownload,
    IngestRun,
    InventoryItem,
    PricingRule,
    RecallNotice,
    Return,
    Sale,
)
from marketplace.pricing import say_money
from marketplace.services import withdrawals

_OFF_THE_SHELF: Final = {
    ClosedBecause.AGED_OUT: "Grew out of “{bucket}” unsold",
    ClosedBecause.OPTED_OUT: "Taken off the shelf: the person opted out",
    ClosedBecause.ERASED: "Taken off the shelf: the person was erased",
}
_STAFF: Final = {withdrawals.WITHDRAWN: "Withdrawn from sale", withdrawals.PUT_BACK: "Put back on the shelf"}


@dataclass(frozen=True, slots=True)
class Step:
    """`kind` chooses the mark beside it: shelf, money, back, file or recall; empty: none. With a `business` the text is
    read on by its name: “Sold for $8.00 to” Alice Plumbing. `about` is the row where more of it stands."""

    at: datetime
    text: str
    kind: str = ""
    detail: str = ""
    business: Business | None = None
    about: Model | None = None


@dataclass(frozen=True)
class LeadLog:
    """`steps` in the order in which they happened, `items` the youngest age first, `sales` the oldest first."""

    steps: list[Step] = field(default_factory=list)
    items: list[InventoryItem] = field(default_factory=list)
    sales: list[Sale] = field(default_factory=list)


def read(lead: AgedLead) -> LeadLog:
    """A fixed number of statements, each by an index. Call it where every business may be seen.

    Files are looked for among those of the buyers who have the lead. Quotes hold prices and no leads, so only one that
    became a purchase is told.
    """
    items = list(InventoryItem.objects.filter(lead=lead).order_by("created_at", "pk"))
    sales = list(
        Sale.objects.filter(lead=lead)
        .select_related("business", "purchase", "purchase__quote", "pricing_rule")
        .order_by("sold_at", "pk")
    )
    steps = [
        *_beginning(lead),
        *_shelf(items),
        *_staff(lead),
        *_sold(sales),
        *_returned(sales),
        *_taken_away(sales),
        *_recalled(lead),
    ]
    if lead.erased_at is not None:
        steps.append(Step(lead.erased_at, "Emptied of everything that said who it was", "recall"))
    # Steps of one moment stay in the order above, which is the order in which they come about.
    return LeadLog(steps=sorted(steps, key=lambda step: step.at), items=items, sales=sales)


def _beginning(lead: AgedLead) -> Iterator[Step]:
    yield Step(lead.called_in_at, f"Called in from {f'{lead.county}, ' if lead.county else ''}{lead.state}")
    run: IngestRun | None = lead.run
    if run is None:
        yield Step(lead.created_at, "Came in without a file", "shelf")
    else:
        by = f"Loaded by {run.started_by}." if run.started_by else "Loaded by a command."
        yield Step(lead.created_at, f"Came in with {run.name}", "shelf", by, about=run)


def _shelf(items: list[InventoryItem]) -> Iterator[Step]:
    for item in items:
        bucket = item.get_age_bucket_display()
        yield Step(item.created_at, f"Put on the shelf, “{bucket}”", "shelf", about=item)
        words = _OFF_THE_SHELF.get(ClosedBecause(item.closed_because)) if item.closed_because else None
        if words and item.closed_at is not None:  # what staff withdrew is told by the audit, with the reason
            yield Step(item.closed_at, words.format(bucket=bucket), "shelf", about=item)


def _staff(lead: AgedLead) -> Iterator[Step]:
    found = AuditEvent.objects.filter(
        business__isnull=True, at__gte=lead.created_at, target=withdrawals.target(lead.pk), action__in=_STAFF
    )
    for event in found:
        yield Step(event.at, _STAFF[event.action], "shelf", f"{event.actor_text}: {event.reason}", about=event)


def _sold(sales: list[Sale]) -> Iterator[Step]:
    for sale in sales:
        buyer, quote = sale.business, sale.purchase.quote
        if quote is not None:
            yield Step(quote.created_at, "Quoted to", "money", "The price stood for 15 minutes.", buyer, quote)
        yield Step(
            sale.sold_at,
            f"Sold for {say_money(sale.price)} ({sale.purchase}) to",
            "money",
            f"{sale.get_age_bucket_display()}. {_why_this_price(sale)}",
            buyer,
            sale.purchase,
        )


def _why_this_price(sale: Sale) -> str:
    rule: PricingRule | None = sale.pricing_rule
    if rule is not None:
        since = rule.effective_from
        return f"The price by the rule of {since:%b} {since.day}, {since.year}."
    if sale.purchase.quote is not None and sale.price:
        return "The price of the quote; another one was in force when it was bought."
    return "No charge: it came in place of a lead that was returned."


def _returned(sales: list[Sale]) -> Iterator[Step]:
    ids = [sale.pk for sale in sales]
    found = Return.objects.filter(Q(sale__in=ids) | Q(replacement__in=ids)).select_related(
        "business", "decided_by", "sale__lead", "replacement__lead"
    )
    for row in found:
        buyer = row.business
        if row.sale_id not in ids:  # this lead is the one that came in its place
            assert row.decided_at is not None
            yield Step(row.decided_at, "Given in place of a returned lead to", "back", "", buyer, row.sale.lead)
            continue
        yield Step(row.requested_at, f"Returned ({row.get_reason_display()}) by", "back", row.note, buyer, row)
        if row.decided_at is None:
            continue
        by = f"{row.decided_by}: {row.decision}" if row.decided_by else row.decision
        match row.status:
            case ReturnStatus.REPLACED:
                about = row.replacement.lead if row.replacement else row
                yield Step(row.decided_at, "Return accepted, replaced by another lead", "back", by, about=about)
            case ReturnStatus.CREDITED:
                said = f"Return accepted, {say_money(row.sale.price)} credited"
                yield Step(row.decided_at, said, "back", by, about=row)
            case ReturnStatus.DECLINED:
                yield Step(row.decided_at, "Return declined", "back", by, about=row)


def _taken_away(sales: list[Sale]) -> Iterator[Step]:
    ids = [sale.pk for sale in sales]
    holding = Export.objects.filter(business__in={sale.business_id for sale in sales}, sale_ids__overlap=ids)
    exports = list(holding.select_related("business").order_by("created_at", "pk")) if ids else []
    for export in exports:
        kind = export.get_profile_display()
        yield Step(
            export.created_at, "Put into a file of", "file",
            f"{kind}, {len(export.sale_ids):,} in all, for {export.asked_by or 'somebody'}.", export.business, export,
        )  # fmt: skip
        if export.status == ExportStatus.VOIDED and export.voided_at is not None:
            yield Step(export.voided_at, "The file was withdrawn from", "file", "", export.business, export)
    for download in ExportDownload.objects.filter(export__in=exports).select_related("business"):
        yield Step(download.at, f"Downloaded by {download.by} of", "file", "", download.business)


def _recalled(lead: AgedLead) -> Iterator[Step]:
    for recall in lead.recalls.all():
        yield Step(recall.at, f"Called back: {recall.get_because_display().lower()}", "recall", about=recall)
    notices = RecallNotice.objects.filter(recall__lead=lead).select_related("business").order_by("created_at", "pk")
    for notice in notices:
        buyer = notice.business
        yield Step(notice.created_at, "The recall was told to", "recall", "", buyer, notice)
        if notice.acknowledged_at is not None:
            by = f"By {notice.acknowledged_by}." if notice.acknowledged_by else ""
            yield Step(notice.acknowledged_at, "The recall was confirmed by", "recall", by, buyer, notice)
