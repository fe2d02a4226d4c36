"""The shelf: which lead is for sale in which bucket, as time goes by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from crm.services import Refused
from marketplace import age_buckets
from marketplace.models import RolledOver

# A lead that was being ingested while the last roll-over looked crossed in before `until`: look that far back again.
_OVERLAP = timedelta(days=1)
_BATCH = 10_000  # rows closed in one transaction


@dataclass(frozen=True)
class Rolled:
    created: int
    closed: int


def roll_over(*, now: datetime, whole: bool = False) -> Rolled:
    """Put every lead on the shelf of the bucket it is in, and close what has aged out unsold.

    Looks only at leads that crossed a boundary since the last time; `whole` looks at all of them. May run at any moment,
    twice, or be killed: a lead has one item per bucket, and nothing is closed that is being sold. Purchases do not wait
    for it: they look at the age themselves.
    """
    since = None if whole else _since()
    created = sum(_open(name, window, since=since, now=now) for name, window in age_buckets.windows(as_of=now))
    closed = sum(_close(name, window, now=now) for name, window in age_buckets.windows(as_of=now))
    RolledOver.objects.update_or_create(pk=1, defaults={"until": now})
    return Rolled(created=created, closed=closed)


def open_items(*, lead_ids: list[str], now: datetime) -> int:
    """The same for a few leads, in the caller's transaction."""
    return sum(
        _insert(name, window, "AND l.id = ANY(%(ids)s::uuid[])", {"ids": lead_ids}, now=now)
        for name, window in age_buckets.windows(as_of=now)
    )


def tidy_stock() -> int:
    """Add up the pluses and minuses of the stock. Returns how many rows went."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM marketplace_stock RETURNING classification, age_bucket, state, county, available)"
            ", kept AS (INSERT INTO marketplace_stock (classification, age_bucket, state, county, available)"
            " SELECT classification, age_bucket, state, county, sum(available) FROM gone GROUP BY 1, 2, 3, 4"
            " HAVING sum(available) <> 0 RETURNING 1)"
            " SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM kept)"
        )
        return int(cursor.fetchone()[0])


def miscounted() -> list[str]:
    """Where the stock says something else than the shelf, in sentences. Counts every item: for the nightly check."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT classification, age_bucket, state, county, sum(stock)::bigint, sum(shelf)::bigint FROM ("
            " SELECT classification, age_bucket, state, county, available AS stock, 0 AS shelf FROM marketplace_stock"
            " UNION ALL SELECT classification, age_bucket, state, county, 0, count(*) FROM marketplace_inventoryitem"
            " WHERE sold_at IS NULL AND closed_at IS NULL GROUP BY 1, 2, 3, 4) AS both_of_them"
            " GROUP BY 1, 2, 3, 4 HAVING sum(stock) <> sum(shelf)"
        )
        return [
            f"{classification} {bucket} in {county + ', ' if county else ''}{state}: the stock says {stock:,}, the shelf"
            f" holds {shelf:,}."
            for classification, bucket, state, county, stock, shelf in cursor.fetchall()
        ]


def reset(*, allowed: bool) -> int:
    """For development: forget every purchase, quote, return, file and entry, and put what was sold back on the shelf.

    `allowed` is settings.DEBUG, handed in. Raises Refused without it.
    """
    if not allowed:
        raise Refused("Inventory is reset only while DEBUG is on: it forgets every sale.")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE marketplace_return, marketplace_recallnotice, marketplace_webhookdelivery, marketplace_exportdownload,"
            " marketplace_export, marketplace_sale, marketplace_purchase, marketplace_quote, marketplace_invoiceline,"
            " marketplace_invoice, marketplace_journalline, marketplace_journalentry"
        )
        cursor.execute("DELETE FROM marketplace_knownphone WHERE source = 'bought'")
        # Only a reset may set a balance by hand; the trigger comes back with the end of the transaction.
        cursor.execute("ALTER TABLE marketplace_buyer DISABLE TRIGGER marketplace_guard_balance")
        cursor.execute("UPDATE marketplace_buyer SET balance = 0 WHERE balance <> 0")
        cursor.execute("ALTER TABLE marketplace_buyer ENABLE TRIGGER marketplace_guard_balance")
        cursor.execute("UPDATE marketplace_inventoryitem SET sold_at = NULL WHERE sold_at IS NOT NULL")
        return int(cursor.rowcount)


def _since() -> datetime | None:
    mark = RolledOver.objects.filter(pk=1).first()
    return mark.until - _OVERLAP if mark else None


def _open(name: str, window: age_buckets.Window, *, since: datetime | None, now: datetime) -> int:
    """Leads that are in the bucket and crossed into it after `since`."""
    if since is None:
        return _insert(name, window, "", {}, now=now)
    crossed = window.until - (now - since)
    return _insert(name, window, "AND l.called_in_at > %(crossed)s", {"crossed": crossed}, now=now)


def _insert(name: str, window: age_buckets.Window, where: str, values: dict[str, Any], *, now: datetime) -> int:
    older = "AND l.called_in_at > %(after)s" if window.after else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO marketplace_inventoryitem (id, lead_id, age_bucket, classification, state, county, called_in_at,"
            " created_at, closed_because)"
            " SELECT marketplace_uuid7(), l.id, %(name)s::varchar, l.classification, l.state, l.county, l.called_in_at, %(now)s, ''"
            f" FROM marketplace_agedlead l WHERE l.called_in_at <= %(until)s {older} AND l.erased_at IS NULL {where}"
            " AND NOT EXISTS (SELECT FROM marketplace_inventoryitem i WHERE i.lead_id = l.id AND i.age_bucket = %(name)s::varchar)"
            " AND NOT EXISTS (SELECT FROM marketplace_goneperson g WHERE g.mark = ANY(ARRAY[l.phone_mark, l.other_mark]))"
            # what staff withdrew stays off the shelf at every age, until they put it back
            " AND NOT EXISTS (SELECT FROM marketplace_inventoryitem w WHERE w.lead_id = l.id"
            " AND w.closed_because = 'withdrawn')"
            " ORDER BY l.called_in_at, l.id ON CONFLICT (lead_id, age_bucket) DO NOTHING",
            {"name": name, "now": now, "after": window.after, "until": window.until, **values},
        )
        return int(cursor.rowcount)


def _close(name: str, window: age_buckets.Window, *, now: datetime) -> int:
    """In batches, and around what somebody is buying at this moment: the next run finds it sold or closes it."""
    if window.after is None:
        return 0
    closed = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                # Chosen once: as a subquery of IN a planner without statistics would choose again for every row.
                "WITH old AS MATERIALIZED ("
                " SELECT id FROM marketplace_inventoryitem WHERE sold_at IS NULL AND closed_at IS NULL"
                " AND classification IN ('Gold', 'Silver') AND age_bucket = %(name)s AND called_in_at <= %(after)s"
                " LIMIT %(batch)s FOR UPDATE SKIP LOCKED)"
                " UPDATE marketplace_inventoryitem i SET closed_at = %(now)s, closed_because = 'aged_out'"
                " FROM old WHERE i.id = old.id",
                {"now": now, "name": name, "after": window.after, "batch": _BATCH},
            )
            closed += cursor.rowcount
            if cursor.rowcount < _BATCH:
                return closed
