"""The books. Every movement of money is one entry whose lines add up to zero; nothing else moves a balance.

The database keeps these promises (see the migration `promises`): lines are never changed, an entry adds up at commit,
and a buyer's balance is moved by the line itself. Here they are put into words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog
from django.db import IntegrityError, connection, transaction

from crm.models import Business, User
from crm.services import Refused, audit
from marketplace.enums import Account, EntryKind, Terms
from marketplace.models import Buyer, JournalEntry, JournalLine
from marketplace.pricing import CENT, say_money

log = structlog.get_logger(__name__)

LARGEST = Decimal("1000000.00")  # of one movement by hand; more is a slip of the finger


def lock_buyer(business: Business) -> Buyer:
    """The first lock of everything that concerns a buyer's money: one thing after another. Raises Buyer.DoesNotExist."""
    buyer = Buyer.objects.select_for_update(no_key=True).get(business=business)
    buyer.business = business
    return buyer


def post(
    *, business: Business, kind: EntryKind, text: str, lines: Mapping[Account, Decimal], now: datetime, about: str = "",
    reference: str = "", actor: User | None = None,
) -> JournalEntry:  # fmt: skip
    """Book one entry in the caller's transaction. Lines of nothing are left out.

    Raises IntegrityError when the same thing or reference was booked before, when the lines do not add up, or when a
    prepaid buyer would fall below the credit limit.
    """
    entry = JournalEntry(
        business=business, kind=kind, text=text[:200], about=about, reference=reference, actor=actor, at=now
    )
    entry.save(force_insert=True)
    JournalLine.objects.bulk_create(
        JournalLine(business=business, entry=entry, account=account, amount=amount.quantize(CENT))
        for account, amount in lines.items()
        if amount
    )
    return entry


def top_up(
    *, business: Business, amount: Decimal, reference: str, actor: User | None, now: datetime, actor_text: str = ""
) -> JournalEntry:
    """The buyer paid ahead. `reference` is the payment's own (a bank reference): the same one is booked once."""
    return _by_hand(
        business=business, kind=EntryKind.TOP_UP, word="Top-up", amount=amount, reference=reference, actor=actor,
        now=now, lines={Account.BUYER: amount, Account.CASH: -amount}, actor_text=actor_text,
    )  # fmt: skip


def record_payment(
    *, business: Business, amount: Decimal, reference: str, actor: User | None, now: datetime
) -> JournalEntry:
    """The buyer paid what they owed."""
    return _by_hand(
        business=business, kind=EntryKind.PAYMENT, word="Payment", amount=amount, reference=reference, actor=actor,
        now=now, lines={Account.BUYER: amount, Account.CASH: -amount},
    )  # fmt: skip


def refund(*, business: Business, amount: Decimal, reference: str, actor: User | None, now: datetime) -> JournalEntry:
    """Money paid back to the buyer, out of what stands on their account. Raises Refused for more than that."""
    with transaction.atomic():
        buyer = _turn_of(business)
        if amount > buyer.balance:
            raise Refused(
                f"{business} has {say_money(buyer.balance)} on account; {say_money(amount)} cannot be paid back."
            )
        return _by_hand(
            business=business, kind=EntryKind.REFUND, word="Refund", amount=amount, reference=reference, actor=actor,
            now=now, lines={Account.BUYER: -amount, Account.CASH: amount},
        )  # fmt: skip


def adjust(*, business: Business, amount: Decimal, text: str, actor: User | None, now: datetime) -> JournalEntry:
    """Goodwill (above zero) or a correction (below), with its reason."""
    if not text.strip():
        raise Refused("Say why: an adjustment without a reason helps nobody later.")
    return _by_hand(
        business=business, kind=EntryKind.ADJUSTMENT, word=text.strip(), amount=amount, reference="", actor=actor,
        now=now, lines={Account.BUYER: amount, Account.ADJUSTMENTS: -amount},
    )  # fmt: skip


def set_terms(*, business: Business, terms: Terms, credit_limit: Decimal, actor: User | None, now: datetime) -> Buyer:
    """Invoice or prepaid wallet, and how far below zero the wallet may go. Raises Refused when the balance is lower."""
    with transaction.atomic():
        buyer = _turn_of(business)
        if credit_limit < 0:
            raise Refused("A credit limit cannot be below zero.")
        if not _is_amount(credit_limit):
            raise Refused(f"Write a credit limit in dollars and cents, at most {say_money(LARGEST)}.")
        if terms == Terms.PREPAID and buyer.balance < -credit_limit:
            raise Refused(
                f"{business} owes {say_money(-buyer.balance)}. Record their payment first, or set a credit limit of at"
                " least that."
            )
        changes = {
            "terms": [buyer.terms, terms.value],
            "credit limit": [str(buyer.credit_limit), str(credit_limit)],
        }
        buyer.terms, buyer.credit_limit = terms, credit_limit
        buyer.save(update_fields=["terms", "credit_limit"])
        audit(
            business=business, actor=actor, action="terms changed", target=f"buyer:{business.slug}", changes=changes,
            now=now,
        )  # fmt: skip
    return buyer


def check_books() -> list[str]:
    """What is wrong with the books, in sentences; empty: nothing. Also says it to the log, as an error."""
    found = [
        f"{slug}: the balance is {say_money(balance)}, its entries add up to {say_money(total)}."
        for slug, balance, total in _rows(
            "SELECT b.slug, y.balance, coalesce(sum(l.amount), 0) FROM marketplace_buyer y"
            " JOIN crm_business b ON b.id = y.business_id"
            " LEFT JOIN marketplace_journalline l ON l.business_id = y.business_id AND l.account = 'buyer'"
            " GROUP BY b.slug, y.balance HAVING y.balance <> coalesce(sum(l.amount), 0)"
        )
    ]
    found += [
        f"Entry {entry}: its lines add up to {say_money(total)} instead of nothing."
        for entry, total in _rows(
            "SELECT entry_id, sum(amount) FROM marketplace_journalline GROUP BY entry_id HAVING sum(amount) <> 0"
        )
    ]
    found += [
        f"Purchase P-{number}: its leads cost {say_money(leads)}, it was booked for {say_money(booked)}."
        for number, leads, booked in _rows(
            "SELECT p.number, coalesce(s.total, 0), coalesce(e.total, 0) FROM marketplace_purchase p"
            " LEFT JOIN (SELECT purchase_id, sum(price) total FROM marketplace_sale GROUP BY 1) s ON s.purchase_id = p.id"
            " LEFT JOIN (SELECT e.about, sum(l.amount) total FROM marketplace_journalentry e"
            "   JOIN marketplace_journalline l ON l.entry_id = e.id AND l.account = 'sales'"
            "   WHERE e.kind = 'purchase' GROUP BY 1) e ON e.about = 'purchase:' || p.id"
            " WHERE coalesce(s.total, 0) <> coalesce(e.total, 0) OR p.total <> coalesce(e.total, 0)"
        )
    ]
    for sentence in found:
        log.error("books_do_not_balance", sentence=sentence)
    return found


def _by_hand(
    *, business: Business, kind: EntryKind, word: str, amount: Decimal, reference: str, actor: User | None, now: datetime,
    lines: Mapping[Account, Decimal], actor_text: str = "",
) -> JournalEntry:  # fmt: skip
    """A movement that a person enters: checked, booked once per reference, audited."""
    if kind != EntryKind.ADJUSTMENT and amount <= 0:
        raise Refused("The amount must be above zero.")
    if amount == 0 or not _is_amount(amount):
        raise Refused(f"Write an amount in dollars and cents, at most {say_money(LARGEST)}.")
    reference = reference.strip()[:80]
    text = f"{word} {reference}".strip()
    try:
        with transaction.atomic():
            _turn_of(business)
            entry = post(
                business=business, kind=kind, text=text, lines=lines, reference=reference, actor=actor, now=now
            )
            audit(
                business=business, actor=actor, actor_text=actor_text, action=f"{kind.label.lower()} booked",
                target=f"entry:{entry.pk}", changes={"amount": ["", str(amount)]}, now=now,
            )  # fmt: skip
    except IntegrityError as error:
        if "booked_once_per_reference" in str(error):
            raise Refused(f"A {kind.label.lower()} with the reference “{reference}” is booked already.") from None
        if "prepaid_stays_within_credit" in str(error):
            raise Refused(f"The balance of {business} would fall below the credit limit.") from None
        raise
    return entry


def _turn_of(business: Business) -> Buyer:
    """`lock_buyer`, for what a person does by hand. Raises Refused for a business that is no buyer."""
    try:
        return lock_buyer(business)
    except Buyer.DoesNotExist:
        raise Refused(f"{business} does not buy leads yet.") from None


def _is_amount(amount: Decimal) -> bool:
    """Whole cents, and not larger than a person would mean."""
    return abs(amount) <= LARGEST and amount == amount.quantize(CENT)


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
