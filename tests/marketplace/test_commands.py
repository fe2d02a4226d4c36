"""`manage.py wallet` and `manage.py inventory`: what they do, what they say, and how they end."""

from __future__ import annotations

import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from crm.models import AuditEvent
from crm.scoping import every_business, only
from marketplace.allocation import Criterion
from marketplace.enums import Terms
from marketplace.models import Buyer, InventoryItem, JournalEntry, Sale, Stock
from marketplace.services import books, inventory, purchases
from tests.marketplace.stock import a_buyer, a_lead, an_item, items, start_prices


def run(*words: str) -> list[str]:
    """What the command said. Raises CommandError, with which a command ends with 1."""
    said = io.StringIO()
    call_command(*words, stdout=said, no_color=True)
    return said.getvalue().splitlines()


# --- wallet --------------------------------------------------------------------------------------------------------


def test_a_top_up_is_booked_by_short_name_or_id(cast):
    a_buyer(cast.shop)
    assert run("wallet", "top-up", "alice", "500", "--reference", "wire 7") == [
        "Booked $500.00 for Alice Plumbing. The balance is $500.00."
    ]
    assert run("wallet", "top-up", str(cast.shop.pk), "$1,000.50") == [
        "Booked $1,000.50 for Alice Plumbing. The balance is $1,500.50."
    ]
    with every_business():
        assert Buyer.objects.get().balance == Decimal("1500.50")
    event = AuditEvent.objects.earliest("pk")
    assert (event.actor, event.actor_text, event.business) == (None, "command line", cast.shop)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nobody", "5"], "No buyer is called “nobody”."),
        (["charlie", "5"], "No buyer is called “charlie”."),  # a business, but no buyer
        (["01a1f8be-6451-73c3-9a40-6e66251a7f22", "5"], "No buyer is called “01a1f8be-6451-73c3-9a40-6e66251a7f22”."),
        (["alice", "lots"], "“lots” is not an amount. Write it like 500 or 500.00."),
        (["alice", "NaN"], "“NaN” is not an amount. Write it like 500 or 500.00."),
        (["alice", "-5"], "The amount must be above zero."),
        (["alice", "0.001"], "Write an amount in dollars and cents, at most $1,000,000.00."),
        (["alice", "1e40"], "Write an amount in dollars and cents, at most $1,000,000.00."),
        (["alice", "5", "--reference", "wire 7"], "A top-up with the reference “wire 7” is booked already."),
    ],
)
def test_a_top_up_that_cannot_be_says_why_and_books_nothing(cast, now, words, sentence):
    a_buyer(cast.shop)
    with every_business():
        books.top_up(business=cast.shop, amount=Decimal(1), reference="wire 7", actor=None, now=now)
        with pytest.raises(CommandError) as refusal:
            run("wallet", "top-up", *words)
        assert str(refusal.value) == sentence
        assert (JournalEntry.objects.count(), Buyer.objects.get().balance) == (1, Decimal("1.00"))


def test_a_wallet_is_shown_with_what_was_booked_last(cast, now):
    a_buyer(cast.shop)
    with only(cast.shop):
        books.top_up(business=cast.shop, amount=Decimal(50), reference="wire 7", actor=None, now=now)
        books.set_terms(business=cast.shop, terms=Terms.PREPAID, credit_limit=Decimal(20), actor=None, now=now)
        books.adjust(business=cast.shop, amount=Decimal("-60.00"), text="Leads by mail", actor=None, now=now)
    assert run("wallet", "show", "alice") == [
        "Alice Plumbing (alice): Active, Prepaid wallet",
        "Balance               −$10.00",
        "Credit limit           $20.00",
        "Can be spent           $10.00",
        "2026-11-18 15:00 UTC        −$60.00        −$10.00  Leads by mail",
        "2026-11-18 15:00 UTC         $50.00         $50.00  Top-up wire 7",
    ]


def test_the_check_ends_with_one_when_the_books_are_wrong(cast):
    a_buyer(cast.shop)
    assert run("wallet", "check") == ["The books are right."]
    connection.check_constraints()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE marketplace_buyer DISABLE TRIGGER USER")
        cursor.execute("UPDATE marketplace_buyer SET balance = 5")
    with pytest.raises(CommandError) as wrong:
        run("wallet", "check")
    assert wrong.value.returncode == 1
    assert str(wrong.value) == ("The books are wrong:\nalice: the balance is $5.00, its entries add up to $0.00.")


def test_a_verb_is_needed(db):
    for command in ("wallet", "inventory"):
        with pytest.raises(CommandError, match="the following arguments are required: verb"):
            run(command)


# --- inventory -----------------------------------------------------------------------------------------------------


def test_a_roll_over_says_what_it_did(db):
    now = timezone.now()
    a_lead(days=100, now=now)
    an_item(days=269, now=now - timedelta(days=1))  # its shelf was another yesterday
    assert run("inventory", "rollover", "--whole") == ["2 leads put on the shelf, 1 closed unsold."]
    assert run("inventory", "rollover") == ["0 leads put on the shelf, 0 closed unsold."]


def test_the_status_counts_by_class_and_age(cast):
    now = timezone.now()
    start_prices(now)
    a_buyer(cast.shop)
    items(3, now=now)
    an_item(days=100, classification="Silver", now=now)
    an_item(days=269, now=now)
    with only(cast.shop):
        purchases.buy_by_criteria(business=cast.shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="", now=now)
    InventoryItem.objects.filter(classification="Silver").update(closed_at=now, closed_because="withdrawn")
    said = run("inventory", "status", "--verify")
    assert [line.split() for line in said if line.startswith(("Gold    6", "Silver  3", "All"))] == [
        ["Gold", "6", "to", "8", "months", "3", "1", "0"],
        ["Silver", "3", "to", "5", "months", "0", "0", "1"],
        ["All", "3", "1", "1"],
    ]
    assert said[0].split() == ["for", "sale", "sold", "closed"]
    assert said[-2:] == ["Never rolled over.", "The stock says what the shelf holds."]
    inventory.roll_over(now=now)
    assert run("inventory", "status")[-1] == f"Rolled over until {now:%Y-%m-%d %H:%M} UTC."


def test_a_miscount_is_told_and_ends_with_one(db):
    an_item(now=timezone.now())
    Stock.objects.create(classification="Gold", age_bucket="MONTH_6_TO_8", state="LA", county="Caddo", available=1)
    with pytest.raises(CommandError) as wrong:
        run("inventory", "status", "--verify")
    assert wrong.value.returncode == 1
    assert str(wrong.value) == (
        "The stock is miscounted:\nGold MONTH_6_TO_8 in Caddo, LA: the stock says 2, the shelf holds 1."
    )


def test_a_reset_asks_for_a_yes_and_for_debug(cast, now, settings):
    start_prices()
    a_buyer(cast.shop)
    an_item()
    with only(cast.shop):
        purchases.buy_by_criteria(business=cast.shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="", now=now)
    for words, sentence in (
        ((), "This forgets every purchase, sale, return, invoice and entry. Say --yes to do it."),
        (("--yes",), "Inventory is reset only while DEBUG is on: it forgets every sale."),
    ):
        with pytest.raises(CommandError) as refusal:
            run("inventory", "reset", *words)
        assert str(refusal.value) == sentence
    with every_business():
        assert Sale.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_reset_while_debug_is_on_puts_the_leads_back(cast, now, settings):
    start_prices()
    a_buyer(cast.shop)
    an_item()
    with only(cast.shop):
        purchases.buy_by_criteria(business=cast.shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="", now=now)
    settings.DEBUG = True
    assert run("inventory", "reset", "--yes") == ["1 lead is for sale again."]
    with every_business():
        assert (Sale.objects.count(), InventoryItem.objects.get().sold_at) == (0, None)
