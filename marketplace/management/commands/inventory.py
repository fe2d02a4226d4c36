"""`manage.py inventory rollover|status|reset`: the shelf from the command line."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count, Q
from django.utils import timezone

from crm.services import Refused
from crm.wording import say_noun
from marketplace import queries
from marketplace.enums import AgeBucket, Classification
from marketplace.models import InventoryItem, RolledOver
from marketplace.services import inventory
from marketplace.wording import say_leads


class Command(BaseCommand):
    help = "Put leads on the shelf of their age, count what is there, or start over (development only)."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        rollover = verbs.add_parser("rollover", help="open what came of age, close what aged out; may run at any time")
        rollover.add_argument("--whole", action="store_true", help="look at every lead, not only since the last time")
        status = verbs.add_parser("status", help="how many are for sale, sold and closed, by class and age")
        status.add_argument(
            "--verify", action="store_true", help="count the shelf against the stock; ends with 1 when they differ"
        )
        reset = verbs.add_parser("reset", help="forget every sale and put the leads back; only while DEBUG is on")
        reset.add_argument("--yes", action="store_true", help="yes, forget them")

    def handle(self, *_args: Any, **options: Any) -> None:
        match options["verb"]:
            case "rollover":
                rolled = inventory.roll_over(now=timezone.now(), whole=options["whole"])
                self.stdout.write(f"{say_leads(rolled.created)} put on the shelf, {rolled.closed:,} closed unsold.")
            case "status":
                self._status(verify=options["verify"])
            case _:
                self._reset(yes=options["yes"])

    def _status(self, *, verify: bool) -> None:
        now = timezone.now()
        for_sale: Counter[tuple[str, str]] = Counter()
        for cell in queries.cells(queries.Filter(), now=now):
            for_sale[cell.classification, cell.age_bucket] += cell.available
        counted = {
            (row["classification"], row["age_bucket"]): row
            for row in InventoryItem.objects.order_by()
            .values("classification", "age_bucket")
            .annotate(
                sold=Count("pk", filter=Q(sold_at__isnull=False)), closed=Count("pk", filter=Q(closed_at__isnull=False))
            )
        }
        self.stdout.write(f"{'':8}{'':22}{'for sale':>12}{'sold':>12}{'closed':>12}")
        totals = [0, 0, 0]
        for classification in Classification.values:
            for bucket in AgeBucket.values:
                row = counted.get((classification, bucket), {"sold": 0, "closed": 0})
                numbers = [for_sale[classification, bucket], row["sold"], row["closed"]]
                totals = [total + number for total, number in zip(totals, numbers, strict=True)]
                self._line(classification, str(AgeBucket(bucket).label), numbers)
        self._line("All", "", totals)
        rolled = RolledOver.objects.first()
        self.stdout.write(f"Rolled over until {rolled.until:%Y-%m-%d %H:%M} UTC." if rolled else "Never rolled over.")
        if verify:
            self._verify()

    def _line(self, classification: str, age: str, numbers: list[int]) -> None:
        self.stdout.write(f"{classification:8}{age:22}" + "".join(f"{number:>12,}" for number in numbers))

    def _verify(self) -> None:
        wrong = inventory.miscounted()
        if wrong:
            raise CommandError("\n".join(["The stock is miscounted:", *wrong]))
        self.stdout.write("The stock says what the shelf holds.")

    def _reset(self, *, yes: bool) -> None:
        if not yes:
            raise CommandError("This forgets every purchase, sale, return, invoice and entry. Say --yes to do it.")
        try:
            back = inventory.reset(allowed=settings.DEBUG)
        except Refused as reason:
            raise CommandError(str(reason)) from reason
        self.stdout.write(f"{say_leads(back)} {say_noun(back, 'is', 'are')} for sale again.")
