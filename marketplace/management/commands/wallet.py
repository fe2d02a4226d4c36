"""`manage.py wallet top-up|show|check`: a buyer's money from the command line."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from crm.scoping import only
from crm.services import Refused
from marketplace import accounts
from marketplace.models import Buyer
from marketplace.pricing import say_money
from marketplace.services import books

LINES = 10  # of the statement


class Command(BaseCommand):
    help = "Book a top-up, show a buyer's money, or check the books of all."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        top_up = verbs.add_parser("top-up", help="book money a buyer has paid ahead")
        show = verbs.add_parser("show", help="terms, balance and what was booked last")
        verbs.add_parser("check", help="add up every entry and balance; ends with 1 when something is wrong")
        for verb in (top_up, show):
            verb.add_argument("buyer", help="short name or id of the business")
        top_up.add_argument("amount", help="US dollars, like 500 or 500.00")
        top_up.add_argument(
            "--reference",
            default="",
            help="the payment's own; the same one is booked once. Without it every call books",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        match options["verb"]:
            case "top-up":
                self._top_up(_find(options["buyer"]), _amount(options["amount"]), options["reference"])
            case "show":
                self._show(_find(options["buyer"]))
            case _:
                self._check()

    def _top_up(self, buyer: Buyer, amount: Decimal, reference: str) -> None:
        try:
            with only(buyer.business):
                books.top_up(
                    business=buyer.business, amount=amount, reference=reference, actor=None, actor_text="command line",
                    now=timezone.now(),
                )  # fmt: skip
        except Refused as reason:
            raise CommandError(str(reason)) from reason
        buyer.refresh_from_db(fields=["balance"])
        self.stdout.write(f"Booked {say_money(amount)} for {buyer}. The balance is {say_money(buyer.balance)}.")

    def _show(self, buyer: Buyer) -> None:
        self.stdout.write(f"{buyer} ({buyer.business.slug}): {buyer.get_status_display()}, {buyer.get_terms_display()}")
        self.stdout.write(f"Balance        {say_money(buyer.balance):>14}")
        left = accounts.can_be_spent(buyer)
        if left is not None:
            self.stdout.write(f"Credit limit   {say_money(buyer.credit_limit):>14}")
            self.stdout.write(f"Can be spent   {say_money(left):>14}")
        with only(buyer.business):
            for line in accounts.statement(buyer.business, after="", size=LINES).lines:
                amount, after = say_money(line.amount), say_money(line.after)
                self.stdout.write(f"{line.entry.at:%Y-%m-%d %H:%M} UTC {amount:>14} {after:>14}  {line.entry.text}")

    def _check(self) -> None:
        wrong = books.check_books()
        if wrong:
            raise CommandError("\n".join(["The books are wrong:", *wrong]))
        self.stdout.write("The books are right.")


def _find(words: str) -> Buyer:
    """Raises CommandError for nobody, and for a business that does not buy."""
    try:
        which = Q(pk=UUID(words))
    except ValueError:
        which = Q(business__slug=words.lower())
    buyer = Buyer.objects.select_related("business").filter(which).first()
    if buyer is None:
        raise CommandError(f"No buyer is called “{words}”.")
    return buyer


def _amount(words: str) -> Decimal:
    try:
        amount = Decimal(words.removeprefix("$").replace(",", ""))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise CommandError(f"“{words}” is not an amount. Write it like 500 or 500.00.")
    return amount
