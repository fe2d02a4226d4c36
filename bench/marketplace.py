"""`make bench-marketplace`: buying, browsing, ingesting and exporting on a shelf of five million leads.

Each number stands beside a floor measured in the same run. Uses the data folder of `make bench`; the first run fills the
shelf, which takes some minutes and about 6 GB of disk.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
os.environ.setdefault("FRONTDESK_DATA", str(PROJECT / ".data" / "bench"))
os.environ["LOG_LEVEL"] = "ERROR"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402 - the environment comes first

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, connections, transaction  # noqa: E402

from bench import shelf  # noqa: E402
from crm.keys import uuid7  # noqa: E402
from crm.models import Business  # noqa: E402
from crm.scoping import every_business, only  # noqa: E402
from marketplace import columns, queries  # noqa: E402
from marketplace.allocation import Criterion  # noqa: E402
from marketplace.enums import BuyerStatus, ExportProfile  # noqa: E402
from marketplace.models import Buyer, Sale  # noqa: E402
from marketplace.queries import Filter  # noqa: E402
from marketplace.services import exports, ingest, inventory, prices, purchases  # noqa: E402

SMALL, ORDER = 100_000, 50


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-marketplace", description=__doc__)
    parser.add_argument("--leads", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=120, help="purchases and pages measured of each kind")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the ingested file")
    parser.add_argument("--sales", type=int, default=100_000, help="sales in the exported file")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    now = datetime.now(UTC)
    with every_business():
        prices.start_prices(now=now, since=now - timedelta(days=1))
    buyers = [buyer(n, now) for n in range(4)]
    print(f"\n{os.cpu_count()} cores, {now:%Y-%m-%d %H:%M} UTC\n")
    shelf.empty()
    shelf.fill(SMALL, now=now)
    small = buying(buyers, options.rounds, now)
    started = time.perf_counter()
    shelf.empty()
    shelf.fill(options.leads, now=now)
    print(f"\n(the shelf was filled in {time.perf_counter() - started:.0f} s)\n")
    large = buying(buyers, options.rounds, now)
    print(f"{'':54}{large / small:>8.2f} of the time at {SMALL:,} leads\n")
    browsing(buyers[0], options.rounds, now)
    exporting(buyers[1], options.sales, now)
    ingesting(options.rows, now)


def buyer(number: int, now: datetime) -> Business:
    business, _ = Business.objects.get_or_create(
        slug=f"bench-buyer-{number}", defaults={"name": f"Bench Buyer {number}"}
    )
    Buyer.objects.get_or_create(
        business=business,
        defaults={
            "status": BuyerStatus.ACTIVE, "email": "bench@example.com", "email_verified_at": now, "created_at": now,
            "into_leads": False,
        },
    )  # fmt: skip
    return business


# --- Buying ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Times:
    """Seconds, in order."""

    all: list[float]

    def at(self, share: float) -> float:
        return sorted(self.all)[min(int(len(self.all) * share), len(self.all) - 1)] * 1000

    def row(self, name: str, floor: Times | None = None) -> None:
        ratio = f"{self.at(0.5) / floor.at(0.5):>8.2f} × the floor" if floor else ""
        print(f"{name:46}{self.at(0.5):>8.1f} ms p50{self.at(0.95):>8.1f} ms p95{ratio}", flush=True)


def buying(buyers: list[Business], rounds: int, now: datetime) -> float:
    """Fifty Gold leads by criteria, in turn by the service and by one hand-written statement. Returns the service's p50."""
    states = shelf.STATES.split()
    places: dict[str, Callable[[], tuple[str, str]]] = {
        "anywhere": lambda: ("", ""),
        "in a state": lambda: (random.choice(states), ""),
        "in a county": lambda: (random.choice(states), f"County {random.randrange(20)}"),
    }
    if shelf.size() <= SMALL:
        del places["in a county"]  # none has so many
    print(f"Buying {ORDER} leads, {shelf.size():,} on the shelf")
    middle = []
    for name, place in places.items():
        ours, floor = [], []
        for n in range(rounds // 3):
            for times, buy in ((ours, _service), (floor, _by_hand)):
                bucket = random.choice(["MONTH_12_TO_23", "MONTH_24_PLUS"])
                wanted = Criterion("Gold", bucket, ORDER, *place())
                business = buyers[n % 2 if buy is _service else 2 + n % 2]
                began = time.perf_counter()
                with only(business):
                    buy(business, wanted, now)
                times.append(time.perf_counter() - began)
        Times(ours[2:]).row(f"  {name}", Times(floor[2:]))
        Times(floor[2:]).row("    one statement with the same promises")
        middle.append(Times(ours[2:]).at(0.5))
    return sum(middle[:2]) / 2  # what both shelves were asked


def _service(business: Business, wanted: Criterion, now: datetime) -> None:
    bought = purchases.buy_by_criteria(business=business, criteria=[wanted], by="bench", now=now)
    assert len(bought.sale_ids) == wanted.quantity


def _by_hand(business: Business, wanted: Criterion, now: datetime) -> None:
    """What one would write without a service: the same checks, rows and triggers in a single statement."""
    in_window, values = queries.in_window(wanted.age_bucket, now=now)
    place = "".join(f" AND i.{name} = %({name})s" for name in ("state", "county") if getattr(wanted, name))
    sql = f"""
        WITH picked AS (
            SELECT i.id, i.lead_id, l.phone_mark, l.other_mark FROM marketplace_inventoryitem i
            JOIN marketplace_agedlead l ON l.id = i.lead_id
            WHERE {queries.FOR_SALE} AND i.classification = %(classification)s AND i.age_bucket = %(bucket)s
              AND {in_window}{place} AND {queries.MAY_BE_SOLD} AND {queries.IS_NEW_TO_THEM}
            ORDER BY i.called_in_at, i.id LIMIT %(quantity)s FOR UPDATE OF i SKIP LOCKED
        ), sold AS (
            UPDATE marketplace_inventoryitem SET sold_at = %(now)s FROM picked WHERE marketplace_inventoryitem.id = picked.id
        ), price AS (
            SELECT id, price FROM marketplace_pricingrule WHERE classification = %(classification)s
              AND age_bucket = %(bucket)s AND effective_from <= %(now)s AND (effective_to IS NULL OR effective_to > %(now)s)
        ), purchase AS (
            INSERT INTO marketplace_purchase (id, business_id, number, criteria, quantity, replaced, total, bought_by,
                created_at)
            SELECT %(purchase)s, %(business)s, nextval('marketplace_purchase_number'), '[]', %(quantity)s, 0,
                price * %(quantity)s, 'bench', %(now)s FROM price
        ), sales AS (
            INSERT INTO marketplace_sale (id, business_id, purchase_id, item_id, lead_id, classification, age_bucket, price,
                currency, pricing_rule_id, sold_at)
            SELECT gen_random_uuid(), %(business)s, %(purchase)s, picked.id, lead_id, %(classification)s, %(bucket)s, price,
                'USD', price.id, %(now)s FROM picked, price RETURNING id
        ), known AS (
            INSERT INTO marketplace_knownphone (id, business_id, mark, source, created_at)
            SELECT gen_random_uuid(), %(business)s, mark, 'bought', %(now)s FROM (
                SELECT phone_mark AS mark FROM picked UNION SELECT other_mark FROM picked) m WHERE mark IS NOT NULL
            ON CONFLICT DO NOTHING
        ), entry AS (
            INSERT INTO marketplace_journalentry (id, business_id, kind, text, about, reference, at)
            VALUES (%(entry)s, %(business)s, 'purchase', 'bench', %(about)s, '', %(now)s)
        ), lines AS (
            INSERT INTO marketplace_journalline (id, business_id, entry_id, account, amount)
            SELECT gen_random_uuid(), %(business)s, %(entry)s, account, sign * price * %(quantity)s
            FROM price, (VALUES ('buyer', -1), ('sales', 1)) AS l (account, sign)
        )
        SELECT id FROM sales
    """
    purchase = uuid7()
    values |= {
        "classification": wanted.classification, "bucket": wanted.age_bucket, "state": wanted.state,
        "county": wanted.county, "quantity": wanted.quantity, "business": business.pk, "purchase": purchase,
        "entry": uuid7(), "about": f"purchase:{purchase}", "now": now,
    }  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT status FROM marketplace_buyer WHERE business_id = %s FOR NO KEY UPDATE", [business.pk])
        cursor.execute(sql, values)
        assert len(cursor.fetchall()) == wanted.quantity


# --- Browsing ----------------------------------------------------------------------------------------------------------


def browsing(business: Business, rounds: int, now: datetime) -> None:
    print(f"Browsing, {shelf.size():,} on the shelf, by a buyer of {_sold(business):,}")
    filters = {
        "everything": Filter(),
        "Gold, 12 to 23 months": Filter(("Gold",), ("MONTH_12_TO_23",)),
        "three states": Filter(states=("LA", "TX", "FL")),
        "Silver in one county": Filter(("Silver",), states=("CA",), counties=("County 7",)),
    }
    for name, wanted in filters.items():
        first, behind = [], []
        after = ""
        for _ in range(rounds // 4):
            began = time.perf_counter()
            with only(business):
                found = queries.browse(business, wanted, now=now, limit=100)
            first.append(time.perf_counter() - began)
            began = time.perf_counter()
            with only(business):
                after = queries.browse(business, wanted, now=now, limit=100, after=after).after
            behind.append(time.perf_counter() - began)
        Times(first).row(f"  {name}: {found.total:,}")
        Times(behind).row("    further on")


def _sold(business: Business) -> int:
    with only(business):
        return Sale.objects.count()


# --- Exporting and ingesting ---------------------------------------------------------------------------------------------


def exporting(business: Business, count: int, now: datetime) -> None:
    print(f"\nExporting {count:,} sales")
    missing = count - _sold(business)
    with only(business):
        while missing > 0:
            for bucket in ("MONTH_12_TO_23", "MONTH_24_PLUS"):
                quantity = min(1_000, missing)
                if quantity > 0:
                    purchases.buy_by_criteria(
                        business=business, criteria=[Criterion("Silver", bucket, quantity)], by="bench", now=now
                    )
                    missing -= quantity
    inventory.tidy_stock()
    for profile in (ExportProfile.CSV, ExportProfile.XLSX):
        seconds, peak, size = _apart(_export, business, count, profile)
        print(
            f"  {profile.value:8}{count / seconds:>10,.0f} rows/s{peak:>8.0f} MB at most{size / 1e6:>8.1f} MB of file"
        )


def _export(business: Business, count: int, profile: ExportProfile) -> int:
    with only(business):
        sale_ids = list(Sale.objects.values_list("pk", flat=True)[:count])
        row = exports.ask_for(business=business, sale_ids=sale_ids, profile=profile, by="bench", now=datetime.now(UTC))
    exports.build(row.pk, now=datetime.now(UTC))
    with only(business):
        row.refresh_from_db()
    return int(row.size)


def ingesting(rows: int, now: datetime) -> None:
    print(f"\nIngesting {rows:,} rows")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leads.csv"
        _write_file(path, rows, now)
        seconds, peak, _ = _apart(_ingest, path)
        raw = _raw_copy(rows)
        print(f"  {rows / seconds:>10,.0f} rows/s{peak:>8.0f} MB at most")
        print(f"  {rows / raw:>10,.0f} rows/s by a bare COPY of the same leads into the same table")
        print(f"  {raw / seconds:>10.2f} of it\n")


def _ingest(path: Path) -> int:
    now = datetime.now(UTC)
    run = ingest.take(run=ingest.begin(name=path.name, source=path, actor=None, now=now), now=now)
    assert run is not None
    done = ingest.work_on(run=run, clock=lambda: datetime.now(UTC), source=path)
    assert done.failed == done.skipped == 0, done
    return int(done.successful)


def _raw_copy(rows: int) -> float:
    """Take the leads just ingested out of the table, and copy them back: their columns, indexes and triggers."""
    names = ", ".join(f'"{field.column}"' for field in Sale._meta.get_field("lead").related_model._meta.concrete_fields)
    with tempfile.NamedTemporaryFile() as file, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE bench_back ON COMMIT DROP AS SELECT * FROM marketplace_agedlead LIMIT 0")
        cursor.execute(
            f"INSERT INTO bench_back SELECT * FROM marketplace_agedlead ORDER BY created_at DESC LIMIT {int(rows)}"
        )
        cursor.execute("UPDATE bench_back SET id = gen_random_uuid(), natural_key = gen_random_uuid(), run_id = NULL")
        with cursor.copy(f"COPY (SELECT {names} FROM bench_back) TO STDOUT") as out:
            for block in out:
                file.write(block)
        file.seek(0)
        began = time.perf_counter()
        with cursor.copy(f"COPY marketplace_agedlead ({names}) FROM STDIN") as into:
            while block := file.read(1 << 18):
                into.write(block)
        seconds = time.perf_counter() - began
        transaction.set_rollback(True)
    return seconds


def _write_file(path: Path, rows: int, now: datetime) -> None:
    header = list(columns.SOURCE)
    dice = random.Random(now.timestamp())
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(header)
        for n in range(rows):
            called = now - timedelta(days=91 + dice.random() * 900)
            row = {
                "Mortage ID": f"B-{now:%s}-{n}", "Campaign ID": "C-7", "Type": "Refinance",
                "Call In Date": f"{called:%m-%d-%Y %H:%M:%S}", "Status": "Called", "Full Name": "John Moore",
                "First Name": "John", "Last Name": "Moore", "Address": f"{n} Main Street", "City": "Shreveport",
                "County": f"County {n % 20}", "State": dice.choice(["LA", "TX", "FL", "CA", "NY"]), "Zip": "71101",
                "Mortgage Amount": "$100,000", "Lender": "First Bank", "Sale Date": "01-15-2024", "Agent ID": "A-3",
                "Call In Phone Number": f"{dice.randrange(2_000_000_000, 9_999_999_999)}", "Borrower Age": "52",
                "Borrower Medical Issues": "No", "Borrower Tobacco Use": "No", "Co-Borrower ?": "Yes" if n % 2 else "",
                "Borrower Phone": f"({dice.randrange(200, 999)}) 555-{dice.randrange(10_000):04d}", "Source": "Radio",
            }  # fmt: skip
            out.writerow([row.get(column, "") for column in header])


def _apart(work: Callable[..., int], *arguments: Any) -> tuple[float, float, int]:
    """(seconds, megabytes at most, what `work` returned), in a process of its own that holds nothing else."""
    connections.close_all()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, arguments))


def _measured(work: Callable[..., int], arguments: tuple[Any, ...]) -> tuple[float, float, int]:
    began = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result


if __name__ == "__main__":
    sys.exit(main())
