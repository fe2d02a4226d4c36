"""What a buyer's account pages read: the statement, what is owed, and what waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum

from crm import paging
from crm.models import Business
from marketplace.enums import Account, KnownFrom, Terms
from marketplace.models import Buyer, Invoice, JournalEntry, JournalLine, KnownPhone, RecallNotice

NOTHING: Final = Decimal("0.00")


@dataclass(frozen=True)
class StatementLine:
    entry: JournalEntry
    amount: Decimal  # above zero: in the buyer's favour
    after: Decimal  # the balance with it


@dataclass(frozen=True)
class Statement:
    """A stretch of it, the newest first. `after` continues behind it; empty: there is no more."""

    lines: list[StatementLine]
    after: str


@dataclass(frozen=True)
class Open:
    """Invoices that wait for their money."""

    count: int
    total: Decimal
    overdue: int


def statement(business: Business, *, after: str, size: int) -> Statement:
    """Raises BadRequest for an `after` that none of our pages wrote."""
    entries = (
        JournalEntry.objects.for_business(business)
        .filter(lines__account=Account.BUYER)
        .annotate(
            amount=F("lines__amount"),
            # with the entries, in one statement: neither is older than the other
            balance=Subquery(Buyer.objects.filter(pk=OuterRef("business")).values("balance")),
        )
    )
    shown: paging.Stretch[Any] = paging.stretch(entries, by="-at", after=after, size=size)
    if not shown.rows:
        return Statement(lines=[], after="")
    balance = shown.rows[0].balance - (_booked_since(business, shown.rows[0]) if after else NOTHING)
    lines = []
    for entry in shown.rows:
        lines.append(StatementLine(entry=entry, amount=entry.amount, after=balance))
        balance -= entry.amount
    return Statement(lines=lines, after=shown.after)


def _booked_since(business: Business, entry: JournalEntry) -> Decimal:
    newer = Q(entry__at__gt=entry.at) | Q(entry__at=entry.at, entry__gt=entry.pk)
    booked = JournalLine.objects.for_business(business).filter(newer, account=Account.BUYER, entry__at__gte=entry.at)
    total: Decimal | None = booked.aggregate(total=Sum("amount"))["total"]
    return total or NOTHING


def open_invoices(business: Business, *, today: date) -> Open:
    """`today` on the buyer's calendar."""
    found = Invoice.objects.for_business(business).filter(paid_at__isnull=True)
    counted = found.aggregate(count=Count("pk"), total=Sum("total"), overdue=Count("pk", filter=Q(due_on__lt=today)))
    return Open(count=counted["count"], total=counted["total"] or NOTHING, overdue=counted["overdue"])


def can_be_spent(buyer: Buyer) -> Decimal | None:
    """By a prepaid buyer, before an order is refused. None: they order first and pay later."""
    return buyer.balance + buyer.credit_limit if buyer.terms == Terms.PREPAID else None


def recalls_to_hear(business: Business) -> int:
    return int(RecallNotice.objects.for_business(business).filter(acknowledged_at__isnull=True).count())


def recalls(business: Business, *, everything: bool) -> QuerySet[RecallNotice]:
    """With the lead and the order of each; those nobody has answered, or everything."""
    found: QuerySet[RecallNotice] = RecallNotice.objects.for_business(business)
    if not everything:
        found = found.filter(acknowledged_at__isnull=True)
    return found.select_related("recall", "sale__lead", "sale__purchase")


def people_known(business: Business) -> dict[str, int]:
    """How many people a buyer has, by how they came to have them (see KnownFrom)."""
    counted = KnownPhone.objects.for_business(business).order_by().values_list("source").annotate(people=Count("pk"))
    return dict.fromkeys(KnownFrom.values, 0) | dict(counted)
