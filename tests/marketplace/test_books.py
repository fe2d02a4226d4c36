"""The books: every movement is an entry that adds up, a balance is the sum of its entries, and nothing is booked twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.models import AuditEvent
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace.allocation import Criterion
from marketplace.enums import Account, EntryKind, Terms
from marketplace.models import Buyer, JournalEntry, JournalLine
from marketplace.services import books, purchases
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer, items, start_prices
from tests.marketplace.undoing import undone


@pytest.fixture
def shop(cast):
    a_buyer(cast.shop)
    with only(cast.shop):
        yield cast.shop


def balance(shop) -> Decimal:
    return Buyer.objects.get(business=shop).balance


def lines_of(entry) -> dict[str, Decimal]:
    return dict(JournalLine.objects.filter(entry=entry).values_list("account", "amount"))


def nothing_was_booked(shop):
    assert (JournalEntry.objects.count(), AuditEvent.objects.count(), balance(shop)) == (0, 0, 0)


# --- By hand -----------------------------------------------------------------------------------------------------------


def test_a_top_up_moves_the_balance_by_its_line_and_is_audited(shop, cast, now):
    entry = books.top_up(business=shop, amount=Decimal("250.00"), reference=" wire 7 ", actor=cast.bob, now=now)
    assert (entry.kind, entry.text, entry.reference) == ("top_up", "Top-up wire 7", "wire 7")
    assert lines_of(entry) == {"buyer": Decimal("250.00"), "cash": Decimal("-250.00")}
    assert balance(shop) == Decimal("250.00")
    event = AuditEvent.objects.get()
    assert (event.actor, event.action, event.changes) == (cast.bob, "top-up booked", {"amount": ["", "250.00"]})


ABOVE_ZERO = "The amount must be above zero."
AN_AMOUNT = "Write an amount in dollars and cents, at most $1,000,000.00."


@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        ("0", ABOVE_ZERO),
        ("-5.00", ABOVE_ZERO),
        ("0.001", AN_AMOUNT),
        ("1000000.01", AN_AMOUNT),
        ("1E+40", AN_AMOUNT),
        ("Infinity", AN_AMOUNT),
    ],
)
def test_an_amount_that_is_none_is_refused(shop, now, amount, sentence):
    for verb in (books.top_up, books.record_payment):
        with pytest.raises(Refused) as refusal:
            verb(business=shop, amount=Decimal(amount), reference="7", actor=None, now=now)
        assert str(refusal.value) == sentence
    with pytest.raises(Refused):
        books.refund(business=shop, amount=Decimal(amount), reference="7", actor=None, now=now)
    nothing_was_booked(shop)


def test_the_same_reference_is_booked_once_but_another_kind_may_use_it(shop, now):
    books.top_up(business=shop, amount=Decimal(10), reference="7", actor=None, now=now)
    with pytest.raises(Refused, match="A top-up with the reference “7” is booked already."):
        books.top_up(business=shop, amount=Decimal(10), reference="7", actor=None, now=now)
    books.record_payment(business=shop, amount=Decimal(1), reference="7", actor=None, now=now)
    assert (JournalEntry.objects.count(), AuditEvent.objects.count(), balance(shop)) == (2, 2, Decimal("11.00"))


def test_no_more_is_paid_back_than_stands_on_the_account(shop, now):
    books.top_up(business=shop, amount=Decimal(10), reference="7", actor=None, now=now)
    with pytest.raises(Refused, match=r"^Alice Plumbing has \$10.00 on account; \$10.01 cannot be paid back.$"):
        books.refund(business=shop, amount=Decimal("10.01"), reference="8", actor=None, now=now)
    entry = books.refund(business=shop, amount=Decimal(10), reference="8", actor=None, now=now)
    assert lines_of(entry) == {"buyer": Decimal("-10.00"), "cash": Decimal("10.00")}
    assert balance(shop) == 0


def test_an_adjustment_needs_a_reason_and_respects_the_credit_limit(shop, now):
    with pytest.raises(Refused, match="Say why"):
        books.adjust(business=shop, amount=Decimal(5), text="  ", actor=None, now=now)
    nothing_was_booked(shop)
    books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal(5), actor=None, now=now)
    with pytest.raises(Refused, match="The balance of Alice Plumbing would fall below the credit limit."):
        books.adjust(business=shop, amount=Decimal("-5.01"), text="Wrong price", actor=None, now=now)
    assert (JournalEntry.objects.count(), balance(shop)) == (0, 0)
    books.adjust(business=shop, amount=Decimal("-5.00"), text="Wrong price", actor=None, now=now)
    assert balance(shop) == Decimal("-5.00")


def test_terms_wait_until_what_is_owed_fits(shop, now):
    books.adjust(business=shop, amount=Decimal("-30.00"), text="Leads by mail", actor=None, now=now)
    with pytest.raises(
        Refused, match=r"owes \$30.00. Record their payment first, or set a credit limit of at least that."
    ):
        books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal("29.99"), actor=None, now=now)
    for limit, sentence in (
        ("-1", "A credit limit cannot be below zero."),
        ("0.005", "Write a credit limit in dollars and cents"),
        ("1E+20", "Write a credit limit in dollars and cents"),
    ):
        with pytest.raises(Refused, match=sentence):
            books.set_terms(business=shop, terms=Terms.INVOICED, credit_limit=Decimal(limit), actor=None, now=now)
    assert Buyer.objects.get().terms == Terms.INVOICED
    books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal(30), actor=None, now=now)
    event = AuditEvent.objects.get(action="terms changed")
    assert event.changes == {"terms": ["invoiced", "prepaid"], "credit limit": ["0.00", "30"]}


def test_a_business_that_is_no_buyer_is_told_so_by_every_verb(cast, now):
    by = {"business": cast.next_door, "actor": None, "now": now}
    for verb in (
        lambda: books.top_up(amount=Decimal(1), reference="7", **by),
        lambda: books.record_payment(amount=Decimal(1), reference="7", **by),
        lambda: books.refund(amount=Decimal(1), reference="7", **by),
        lambda: books.adjust(amount=Decimal(1), text="Hello", **by),
        lambda: books.set_terms(terms=Terms.PREPAID, credit_limit=Decimal(1), **by),
    ):
        with pytest.raises(Refused, match="^Charlie Cooling does not buy leads yet.$"):
            verb()
    assert not AuditEvent.objects.exists()


# --- The promises of the tables ----------------------------------------------------------------------------------------


def test_an_entry_that_does_not_add_up_is_refused_when_it_is_committed(shop, now):
    with undone():
        books.post(business=shop, kind=EntryKind.ADJUSTMENT, text="Crooked", lines={Account.BUYER: Decimal(5)}, now=now)
        with pytest.raises(IntegrityError, match="The lines of a journal entry add up to zero."):
            connection.check_constraints()
    nothing_was_booked(shop)


def test_what_was_booked_is_neither_changed_nor_deleted(shop, now):
    entry = books.top_up(business=shop, amount=Decimal(10), reference="7", actor=None, now=now)
    rows = (JournalEntry.objects.filter(pk=entry.pk), JournalLine.objects.filter(entry=entry))
    for statement in (
        lambda: rows[0].update(text="Another"),
        lambda: rows[1].update(amount=1),
        lambda: rows[0]._raw_delete("default"),
        lambda: rows[1]._raw_delete("default"),
    ):
        with pytest.raises(IntegrityError, match="is append-only: add a row instead."), transaction.atomic():
            statement()
    assert balance(shop) == Decimal("10.00")


def test_a_balance_is_moved_by_entries_alone(shop, now):
    books.top_up(business=shop, amount=Decimal(10), reference="7", actor=None, now=now)
    with pytest.raises(IntegrityError, match="A balance moves by journal entries only."), transaction.atomic():
        Buyer.objects.filter(business=shop).update(balance=1_000)
    buyer = Buyer.objects.get()
    buyer.balance, buyer.contact_name = Decimal(1_000), "Alice"
    buyer.save()  # which does not write the balance
    assert Buyer.objects.values_list("balance", "contact_name").get() == (Decimal("10.00"), "Alice")


def test_the_check_finds_what_no_service_would_do(shop, cast, now):
    start_prices()
    items(1)
    bought = purchases.buy_by_criteria(
        business=shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="", now=now
    ).purchase
    assert books.check_books() == []
    connection.check_constraints()
    with undone():
        with connection.cursor() as cursor:
            for statement in (
                "ALTER TABLE marketplace_buyer DISABLE TRIGGER USER",
                "ALTER TABLE marketplace_journalline DISABLE TRIGGER USER",
                "UPDATE marketplace_buyer SET balance = 1",
                "UPDATE marketplace_journalline SET amount = 7 WHERE account = 'sales'",
            ):
                cursor.execute(statement)
        entry = JournalEntry.objects.get()
        assert books.check_books() == [
            "alice: the balance is $1.00, its entries add up to −$8.00.",
            f"Entry {entry.pk}: its lines add up to −$1.00 instead of nothing.",
            f"Purchase {bought}: its leads cost $8.00, it was booked for $7.00.",
        ]
    assert books.check_books() == []


# --- Whatever happens --------------------------------------------------------------------------------------------------

_CENTS = st.integers(1, 3_000).map(lambda cents: Decimal(cents) / 100)
_MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["top_up", "payment", "refund"]), _CENTS, st.sampled_from(["", "a", "b"])),
        st.tuples(st.just("adjustment"), _CENTS.flatmap(lambda cents: st.sampled_from([cents, -cents])), st.just("")),
        st.tuples(st.sampled_from([Terms.PREPAID, Terms.INVOICED]), _CENTS, st.just("")),
        st.tuples(st.just("buy"), st.just(Decimal("8.00")), st.just("")),
    ),
    max_size=12,
)


class Model:
    """What the books should say, told in ten lines."""

    def __init__(self) -> None:
        self.balance, self.limit, self.seen = Decimal(0), None, set()

    def does(self, what: str, amount: Decimal, reference: str) -> bool:
        """Whether it is booked."""
        if what in Terms.values:
            if what == Terms.PREPAID and self.balance < -amount:
                return False
            self.limit = amount if what == Terms.PREPAID else None
            return True
        change = -amount if what in ("refund", "buy") else amount
        overdrawn = self.limit is not None and self.balance + change < -self.limit
        if (what == "refund" and amount > self.balance) or overdrawn or (reference and (what, reference) in self.seen):
            return False
        self.seen.add((what, reference))
        self.balance += change
        return True


def _do(shop, what: str, amount: Decimal, reference: str, *, now) -> None:
    by = {"business": shop, "actor": None, "now": now}
    match what:
        case "top_up":
            books.top_up(amount=amount, reference=reference, **by)
        case "payment":
            books.record_payment(amount=amount, reference=reference, **by)
        case "refund":
            books.refund(amount=amount, reference=reference, **by)
        case "adjustment":
            books.adjust(amount=amount, text="So be it", **by)
        case "buy":
            criteria = [Criterion("Gold", "MONTH_6_TO_8", 1)]
            purchases.buy_by_criteria(business=shop, criteria=criteria, by="", now=now)
        case _:
            books.set_terms(terms=Terms(what), credit_limit=amount, **by)


def test_after_any_story_the_balance_is_the_sum_and_the_books_are_right(shop, now):
    start_prices()
    items(12)

    @settings(max_examples=30, deadline=None, database=None)
    @given(_MOVES)
    def holds(moves):
        model = Model()
        with undone():
            for minute, (what, amount, reference) in enumerate(moves):
                try:
                    _do(shop, what, amount, reference, now=now + timedelta(minutes=minute))
                    booked = True
                except (Refused, purchases.CannotBuy):
                    booked = False
                assert booked == model.does(what, amount, reference), (what, amount, reference)
                assert balance(shop) == model.balance
            connection.check_constraints()  # what would be checked when it is committed
            booked = JournalLine.objects.filter(account=Account.BUYER).aggregate(total=Sum("amount"))["total"]
            assert (booked or 0) == model.balance
            assert JournalLine.objects.aggregate(total=Sum("amount"))["total"] in (None, 0)
            assert books.check_books() == []

    holds()


@pytest.mark.django_db(transaction=True)
def test_one_reference_from_many_hands_at_once_books_once(cast, now):
    a_buyer(cast.shop)

    def top_up() -> str:
        with only(cast.shop):
            try:
                books.top_up(business=cast.shop, amount=Decimal(10), reference="wire 7", actor=None, now=now)
            except Refused as refusal:
                return str(refusal)
            return "booked"

    answers = sorted(all_at_once([top_up] * 6))
    assert answers == ["A top-up with the reference “wire 7” is booked already."] * 5 + ["booked"]
    with every_business():
        assert balance(cast.shop) == Decimal("10.00")
        assert (JournalEntry.objects.count(), AuditEvent.objects.filter(action="top-up booked").count()) == (1, 1)
        assert books.check_books() == []
