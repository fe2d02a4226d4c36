"""Leads that come back: within the deadline, up to a share of what was bought, with what our own records say about them.

Accepted, a lead is replaced by another of its class, age and place in the same transaction, or else its price is
credited. The sale stays in the books, and its lead is never sold to this buyer again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.timezone import localtime

from crm.enums import MessageStatus
from crm.models import Business, Customer, Message, User
from crm.phones import PhoneError, parse
from crm.services import Refused, audit
from marketplace.allocation import Criterion
from marketplace.enums import Account, EntryKind, KnownFrom, ReturnReason, ReturnStatus
from marketplace.models import Buyer, GonePerson, KnownPhone, Return, Sale
from marketplace.services import books, purchases

RATE_OVER: Final = timedelta(days=30)
NOT_FOUND: Final = "There is no such sale."


class SaleNotFound(Refused):
    """Not there, or somebody else's: the same words for both."""

    def __init__(self) -> None:
        super().__init__(NOT_FOUND)


@dataclass(frozen=True)
class Allowance:
    """What a buyer may return now; shown before they buy, so that a refusal is no surprise."""

    days: int  # after the purchase
    percent: int  # of the leads bought in the last 30 days
    bought: int
    returned: int  # asked for in the last 30 days, declined ones not counted

    @property
    def limit(self) -> int:
        """A share of what was bought; whoever bought anything may return one."""
        return max(self.bought * self.percent // 100, 1 if self.bought and self.percent else 0)

    @property
    def left(self) -> int:
        return max(self.limit - self.returned, 0)

    @property
    def sentence(self) -> str:
        if self.days == 0 or self.percent == 0:
            return "Leads cannot be returned."
        return (
            f"A lead can be returned within {self.days} days, up to {self.percent}% of the leads of 30 days: "
            f"{self.left:,} more now ({self.returned:,} of {self.limit:,} used)."
        )


@dataclass(frozen=True)
class Evidence:
    """What a record of ours says about a return. `speaks_for` None: neither for nor against."""

    text: str
    speaks_for: bool | None = None


def allowance(*, business: Business, now: datetime) -> Allowance:
    """Raises Buyer.DoesNotExist."""
    buyer = Buyer.objects.get(business=business)
    return Allowance(
        days=buyer.return_days,
        percent=buyer.return_percent,
        bought=Sale.objects.for_business(business).filter(sold_at__gt=now - RATE_OVER).count(),
        returned=Return.objects.for_business(business)
        .filter(requested_at__gt=now - RATE_OVER)
        .exclude(status=ReturnStatus.DECLINED)
        .count(),
    )


def why_not(*, sale: Sale, now: datetime, allowed: Allowance) -> str:
    """Why this lead cannot be returned any more; empty: it can."""
    last = sale.sold_at + timedelta(days=allowed.days)
    if now > last:
        day = localtime(last, sale.business.zone)
        return f"It could be returned until {day:%b} {day.day}, {allowed.days} days after it was bought."
    if sale.returns.exists():
        return "This lead has been returned already."
    if sale.replaces.exists():
        return "It replaced a lead that was returned; a replacement is final."
    if not allowed.left:
        return f"You have returned {allowed.returned:,} of at most {allowed.limit:,} leads ({allowed.percent}% of 30 days)."
    return ""


def ask(*, business: Business, sale_id: UUID, reason: ReturnReason, note: str, by: str, now: datetime) -> Return:
    """The buyer gives a lead back. What our own records prove is accepted at once; the rest waits for staff.

    Raises SaleNotFound, Refused with the sentence.
    """
    with transaction.atomic():
        buyer = books.lock_buyer(business)  # so that two returns at once cannot pass the limit together
        sale = Sale.objects.for_business(business).select_related("lead", "purchase").filter(pk=sale_id).first()
        if sale is None:
            raise SaleNotFound
        sale.business = business
        refusal = why_not(sale=sale, now=now, allowed=allowance(business=business, now=now))
        if refusal:
            raise Refused(refusal)
        found = evidence(sale=sale, reason=reason)
        row = Return(
            business=business, sale=sale, reason=reason, note=note.strip()[:2_000], requested_by=by[:120],
            requested_at=now, evidence=[{"text": piece.text, "speaks_for": piece.speaks_for} for piece in found],
        )  # fmt: skip
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as error:
            raise Refused("This lead has been returned already.") from error
        if any(piece.speaks_for for piece in found):
            _accept(row, buyer=buyer, actor=None, decision="Our own records say the same.", now=now)
    return row


def accept(*, row: Return, actor: User | None, decision: str, now: datetime) -> Return:
    """Staff say yes: a replacement, or else the price back. Raises Refused when it is decided already."""
    with transaction.atomic():
        buyer = books.lock_buyer(row.business)
        row = _waiting(row)
        _accept(row, buyer=buyer, actor=actor, decision=decision, now=now)
        audit(
            business=row.business, actor=actor, action="return accepted", target=f"return:{row.pk}", now=now,
            changes={"status": [ReturnStatus.REQUESTED, row.status]}, reason=decision,
        )  # fmt: skip
    return row


def decline(*, row: Return, actor: User | None, decision: str, now: datetime) -> Return:
    """Staff say no, with the reason the buyer will read. Raises Refused without one, or when it is decided already."""
    if not decision.strip():
        raise Refused("Say why, in a sentence the buyer will read.")
    with transaction.atomic():
        books.lock_buyer(row.business)
        row = _waiting(row)
        _decide(row, status=ReturnStatus.DECLINED, actor=actor, decision=decision, now=now)
        audit(
            business=row.business, actor=actor, action="return declined", target=f"return:{row.pk}", now=now,
            changes={"status": [ReturnStatus.REQUESTED, row.status]}, reason=decision,
        )  # fmt: skip
    return row


def evidence(*, sale: Sale, reason: ReturnReason) -> list[Evidence]:
    """What we know ourselves, for or against the reason the buyer gives."""
    looks: dict[str, Sequence[Any]] = {
        ReturnReason.DUPLICATE: (_had_before,),
        ReturnReason.INVALID_NUMBER: (_number_works, _texts_arrived),
        ReturnReason.OPTED_OUT: (_opted_out,),
    }
    return [piece for look in looks.get(reason, (_texts_arrived, _opted_out)) for piece in look(sale)]


def _had_before(sale: Sale) -> list[Evidence]:
    """In the buyer's own customers, or on a list they uploaded, before they bought."""
    business, phones = sale.business, _phones(sale)
    customers = Customer.objects.for_business(business).filter(phone__in=phones, created_at__lt=sale.sold_at)
    # A purchase itself makes customers, but not before it.
    if customers.exists():
        return [Evidence("The buyer's customers had this number before the purchase.", True)]
    listed = KnownPhone.objects.for_business(business).filter(
        mark__in=_marks(sale), source=KnownFrom.UPLOADED, created_at__lt=sale.sold_at
    )
    if listed.exists():
        return [Evidence("A list that the buyer uploaded before the purchase has this person.", True)]
    return [Evidence("Neither the buyer's customers nor their lists had this number before the purchase.", False)]


def _number_works(sale: Sale) -> list[Evidence]:
    pieces = []
    for label, written in (("Borrower", sale.lead.borrower_phone), ("Call-in", sale.lead.call_in_phone_number)):
        if not written:
            continue
        try:
            phone = parse(written, region="US")
        except PhoneError:
            pieces.append(Evidence(f"{label} phone: not a phone number as it stands in the file.", True))
            continue
        state = f"a {phone.line_type} number" if phone.is_valid else "in no numbering plan"
        pieces.append(Evidence(f"{label} phone: {state}.", None if phone.is_valid else True))
    works = [piece for piece in pieces if not piece.speaks_for]
    if works and len(works) < len(pieces):  # one of the two numbers can be dialled
        return [Evidence(piece.text, None) for piece in pieces]
    return pieces or [Evidence("The lead came without a number, and its price says so.", False)]


def _texts_arrived(sale: Sale) -> list[Evidence]:
    """How the buyer's own texts to this person went, when they were sent from here."""
    sent = Message.objects.for_business(sale.business).filter(to_number__in=_phones(sale), created_at__gte=sale.sold_at)
    arrived = sent.filter(status=MessageStatus.DELIVERED).count()
    failed = sent.filter(status=MessageStatus.FAILED).count()
    if not arrived and not failed:
        return []
    return [
        Evidence(f"The buyer's texts to this number: {arrived} arrived, {failed} failed.", False if arrived else None)
    ]


def _opted_out(sale: Sale) -> list[Evidence]:
    # An erased lead has no marks any more; its recall tells.
    is_gone = GonePerson.objects.filter(mark__in=_marks(sale)).exists() or sale.lead.recalls.exists()
    if is_gone:
        return [Evidence("This person has opted out or was erased.", True)]
    return [Evidence("No opt-out of this person is on record.", None)]


def _accept(row: Return, *, buyer: Buyer, actor: User | None, decision: str, now: datetime) -> None:
    sale = row.sale
    wanted = Criterion(sale.classification, sale.age_bucket, 1, sale.lead.state, sale.lead.county)
    replacement = purchases.replace_sale(sale=sale, buyer=buyer, wanted=wanted, now=now)
    if replacement is not None:
        row.replacement = replacement
        _decide(row, status=ReturnStatus.REPLACED, actor=actor, decision=decision, now=now)
        return
    _decide(row, status=ReturnStatus.CREDITED, actor=actor, decision=decision, now=now)
    books.post(
        business=row.business, kind=EntryKind.RETURN, text=f"Return of a lead of {sale.purchase}", now=now,
        about=f"return:{row.pk}", actor=actor, lines={Account.BUYER: sale.price, Account.RETURNS: -sale.price},
    )  # fmt: skip


def _waiting(row: Return) -> Return:
    fresh = Return.objects.select_for_update(of=("self",)).select_related("sale__lead", "sale__purchase").get(pk=row.pk)
    if fresh.status != ReturnStatus.REQUESTED:
        raise Refused(f"This return is decided already: {fresh.get_status_display().lower()}.")
    fresh.business = fresh.sale.business = row.business
    return fresh


def _decide(row: Return, *, status: ReturnStatus, actor: User | None, decision: str, now: datetime) -> None:
    row.status, row.decided_at, row.decided_by, row.decision = status, now, actor, decision.strip()[:300]
    row.save(update_fields=["status", "decided_at", "decided_by", "decision", "replacement"])


def _phones(sale: Sale) -> list[str]:
    return [phone for phone in (sale.lead.phone, sale.lead.other_phone) if phone]


def _marks(sale: Sale) -> list[UUID]:
    return [mark for mark in (sale.lead.phone_mark, sale.lead.other_mark) if mark]
