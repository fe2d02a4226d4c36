"""Invoices of buyers on invoice: a month's lines out of the books, and their payment.

Every movement of a buyer's balance stands on one invoice, except the payments of invoices themselves. So what is open on
invoices, and what will be on the next one, always add up to what the buyer owes:

    balance = - (unpaid invoices) - (not yet invoiced)

Money paid ahead or without naming an invoice is a credit on the next one; a credit larger than the rest waits until it is
used up, and no invoice is issued meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef

from crm import rows
from crm.models import Business, User
from crm.scoping import only
from crm.services import Refused, audit
from marketplace.documents import InvoicePaper, PaperLine, Party
from marketplace.enums import Account, EntryKind, Terms
from marketplace.models import Buyer, Invoice, InvoiceLine, JournalEntry, JournalLine
from marketplace.pricing import say_money
from marketplace.services import books

log = structlog.get_logger(__name__)

DUE_AFTER: Final = timedelta(days=14)
_INVOICE: Final = "invoice:"  # what the payment of an invoice is about
_PURCHASE: Final = "purchase:"


def issue(*, business: Business, until: datetime, now: datetime) -> Invoice | None:
    """Everything before `until` that is on no invoice yet. None when that comes to nothing, or to a credit, and when
    `until` is covered already. Raises ValueError for a stretch that has not ended, Buyer.DoesNotExist.

    A prepaid buyer gets no invoice: every order was paid before it was filled, and the statement shows it. However many
    call at once, one issues: the buyer's row is locked first.
    """
    if until > now:
        raise ValueError(f"{until.isoformat()} is still to come.")
    with transaction.atomic(), only(business):
        if books.lock_buyer(business).terms != Terms.INVOICED:
            return None
        before = Invoice.objects.for_business(business).order_by("-until").values_list("until", flat=True).first()
        if before is not None and before >= until:
            return None
        lines = _lines(business, until=until)
        total = sum((line.amount for line in lines), Decimal("0.00"))
        if total <= 0:
            return None
        invoice = Invoice.objects.create(
            business=business, number=_next_number(), since=min(before or lines[0].at, lines[0].at), until=until,
            total=total, issued_at=now, due_on=now.astimezone(business.zone).date() + DUE_AFTER,
        )  # fmt: skip
        for line in lines:
            line.invoice = invoice
        InvoiceLine.objects.bulk_create(lines, batch_size=1_000)
    log.info("invoice_issued", tenant_id=business.slug, invoice=str(invoice), lines=len(lines))
    return invoice


def issue_due(*, now: datetime) -> list[Invoice]:
    """The invoices of the month that ended last on each buyer's calendar. May run as often as one likes; a month has one
    invoice, and what was booked late comes on the next.

    One buyer's trouble is logged and does not keep the others from their invoices.
    """
    issued = []
    for buyer in Buyer.objects.filter(terms=Terms.INVOICED).select_related("business").order_by("pk"):
        today = now.astimezone(buyer.business.zone)
        month = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
        try:
            invoice = issue(business=buyer.business, until=month, now=now)
        except Exception:
            log.exception("invoice_failed", tenant_id=buyer.business.slug)
            continue
        if invoice is not None:
            issued.append(invoice)
    return issued


def mark_paid(*, invoice: Invoice, reference: str, actor: User | None, now: datetime) -> JournalEntry:
    """The money for this invoice has come, in full. `reference` is the bank's. Raises Refused when it is paid already,
    or when the reference is in the books: nothing is booked twice."""
    reference = reference.strip()
    if not reference or len(reference) > 80:
        raise Refused("Write the payment's reference, as the bank gives it, in at most 80 characters.")
    try:
        with transaction.atomic(), only(invoice.business):
            business = books.lock_buyer(invoice.business).business
            fresh = Invoice.objects.for_business(business).select_for_update().get(pk=invoice.pk)
            if fresh.paid_at is not None:
                raise Refused(f"{fresh} was marked as paid on {_say_day(fresh.paid_at, business)}.")
            entry = books.post(
                business=business, kind=EntryKind.PAYMENT, text=f"Payment of {fresh}, {reference}", reference=reference,
                about=f"{_INVOICE}{fresh.pk}", lines={Account.BUYER: fresh.total, Account.CASH: -fresh.total},
                actor=actor, now=now,
            )  # fmt: skip
            fresh.paid_at = now
            fresh.save(update_fields=["paid_at"])
            audit(
                business=business, actor=actor, action="invoice paid", target=f"{_INVOICE}{fresh.pk}",
                changes={"amount": ["", str(fresh.total)], "reference": ["", reference]}, now=now,
            )  # fmt: skip
    except IntegrityError as error:
        if "booked_once_per_reference" in str(error):
            raise Refused(
                f"A payment with the reference “{reference}” is booked already. If one payment was for several invoices,"
                f" add the invoice: “{reference} {invoice}”."
            ) from None
        raise
    invoice.paid_at = now
    return entry


def seller() -> Party:
    """Us, as the settings say."""
    return Party(settings.SELLER_NAME, settings.SELLER_LINES)


def paper(*, invoice: Invoice, seller: Party) -> InvoicePaper:
    """What stands on the invoice, for `documents`. It is the same before and after it is paid."""
    business = invoice.business
    zone = business.zone
    with only(business):
        buyer = Buyer.objects.get(business=business)
        lines = tuple(
            PaperLine(on=line.at.astimezone(zone).date(), text=line.text, quantity=line.quantity, amount=line.amount)
            for line in InvoiceLine.objects.for_business(business).filter(invoice=invoice)
        )
    return InvoicePaper(
        number=str(invoice),
        seller=seller,
        buyer=Party(business.name, tuple(text for text in (buyer.contact_name, business.address, buyer.email) if text)),
        issued_on=invoice.issued_at.astimezone(zone).date(),
        due_on=invoice.due_on,
        first_day=invoice.since.astimezone(zone).date(),
        last_day=(invoice.until - timedelta(microseconds=1)).astimezone(zone).date(),
        lines=lines,
        total=invoice.total,
        terms=f"Please pay {say_money(invoice.total)} by {invoice.due_on:%b} {invoice.due_on.day}, {invoice.due_on.year}"
        f" and name {invoice} with your payment. US dollars.",
    )


def _lines(business: Business, *, until: datetime) -> list[InvoiceLine]:
    """Of what moved the balance and is on no invoice, the oldest first; without an invoice yet."""
    moved = (
        JournalLine.objects.for_business(business)
        .filter(account=Account.BUYER, entry__at__lt=until)
        .exclude(entry__kind=EntryKind.PAYMENT, entry__about__startswith=_INVOICE)
        .exclude(Exists(InvoiceLine.objects.for_business(business).filter(entry=OuterRef("entry"))))
        .select_related("entry")
        .order_by("entry__at", "pk")
    )
    entries = [(line.entry, line.amount) for line in moved]
    quantities = _quantities(business, [entry for entry, _ in entries])
    return [
        InvoiceLine(
            business=business, entry=entry, text=entry.text, at=entry.at, quantity=quantities.get(entry.about, 0),
            amount=-amount,
        )
        for entry, amount in entries
    ]  # fmt: skip


def _quantities(business: Business, entries: Sequence[JournalEntry]) -> dict[str, int]:
    """How many leads were bought, by what the entry is about."""
    bought = [
        UUID(entry.about.removeprefix(_PURCHASE)) for entry in entries
        if entry.kind == EntryKind.PURCHASE and entry.about.startswith(_PURCHASE)
    ]  # fmt: skip
    # one array, not a parameter for each: a statement can have 65,535
    found = rows.execute(
        "SELECT id, quantity FROM marketplace_purchase WHERE business_id = %s AND id = ANY(%s)", [business.pk, bought]
    )
    return {f"{_PURCHASE}{pk}": quantity for pk, quantity in found.fetchall()}


def _next_number() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('marketplace_invoice_number')")
        return int(cursor.fetchone()[0])


def _say_day(moment: datetime, business: Business) -> str:
    day = moment.astimezone(business.zone)
    return f"{day:%b} {day.day}, {day.year}"
