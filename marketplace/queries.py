"""Every cross-model read of the marketplace.

What is for sale is asked of the shelf with the age worked out at that moment, so an item that aged out a second ago is
not there even if roll-over has not run. Counts come from the stock that triggers keep, less what has aged out since.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet

from crm.models import Business
from leads.enums import LeadSource
from leads.models import Lead
from marketplace import age_buckets
from marketplace.enums import Classification
from marketplace.models import Export, ExportDownload, PricingRule, Purchase, RecallNotice, Return, Sale

CLASSES: Final = tuple(Classification.values)
# Beyond this many people a buyer knows, looking up each of them for a count would keep the page waiting.
EXACT_UP_TO: Final = 20_000
_REMEMBERED_FROM: Final = 1_000

_FEW_STATES: Final = 10
_FAR: Final = 20_000  # items looked at in one statement

FOR_SALE: Final = "i.sold_at IS NULL AND i.closed_at IS NULL"

# Whom nobody may be sold: erased, opted out here, or opted out with any business a moment ago. And whom this buyer has.
# `l` is the lead, %(business)s the buyer. OFFSET 0 keeps each question a look into an index, row by row: made into a join,
# it would walk over everybody the buyer ever bought for each of fifty leads.
MAY_BE_SOLD: Final = """
 NOT EXISTS (SELECT FROM marketplace_goneperson g WHERE g.mark = ANY(ARRAY[l.phone_mark, l.other_mark]) OFFSET 0)
 AND NOT EXISTS (SELECT FROM crm_consent c WHERE c.action = 'revoke'
     AND c.phone = ANY(ARRAY[nullif(l.phone, ''), nullif(l.other_phone, '')]) OFFSET 0)
 AND l.erased_at IS NULL
"""
IS_NEW_TO_THEM: Final = """
 NOT EXISTS (SELECT FROM marketplace_sale s WHERE s.business_id = %(business)s AND s.lead_id = l.id OFFSET 0)
 AND NOT EXISTS (SELECT FROM marketplace_knownphone k
     WHERE k.business_id = %(business)s AND k.mark = ANY(ARRAY[l.phone_mark, l.other_mark]) OFFSET 0)
"""


@dataclass(frozen=True)
class Filter:
    """What somebody looks for. An empty part means: any. Places are spelled as on the shelf."""

    classifications: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    counties: tuple[str, ...] = ()

    def cells(self) -> list[tuple[str, str]]:
        return [
            (classification, bucket)
            for bucket in self.buckets or age_buckets.NAMES
            for classification in self.classifications or CLASSES
        ]


@dataclass(frozen=True)
class Listed:
    """An item as a buyer may see it before buying: a first name and a city, never who it is."""

    inventory_id: UUID
    lead_id: UUID
    classification: str
    age_bucket: str
    state: str
    county: str
    first_name: str
    city: str
    created_at: datetime
    called_in_at: datetime
    unit_price: Decimal | None  # None: nobody has said what it costs, and it cannot be bought


@dataclass(frozen=True)
class Listing:
    """`total` counts everything the filter matches for this buyer; `is_exact` False: at most that many."""

    items: list[Listed]
    total: int
    is_exact: bool
    after: str  # the cursor of the next stretch; empty: there is no more


@dataclass(frozen=True)
class Cell:
    classification: str
    age_bucket: str
    state: str
    available: int


# --- Prices ----------------------------------------------------------------------------------------------------------


def rules_in_force(*, now: datetime) -> dict[tuple[str, str], PricingRule]:
    """The rule that holds at this moment, by class and bucket."""
    found = PricingRule.objects.filter(Q(effective_to__isnull=True) | Q(effective_to__gt=now), effective_from__lte=now)
    return {(rule.classification, rule.age_bucket): rule for rule in found}


# --- Counting --------------------------------------------------------------------------------------------------------


def available(wanted: Filter, *, now: datetime) -> int:
    """How many leads are for sale to anybody: exact. Two indexed statements, whatever the size of the shelf."""
    return sum(cell.available for cell in cells(wanted, now=now))


def cells(wanted: Filter, *, now: datetime) -> list[Cell]:
    """How many are for sale by class, bucket and state: exact. Cells without any are left out."""
    where, values = _places(wanted, alias="s")
    counted: dict[tuple[str, str, str], int] = {
        (classification, bucket, state): count
        for classification, bucket, state, count in _fetch(
            "SELECT s.classification, s.age_bucket, s.state, sum(s.available)::bigint FROM marketplace_stock s"
            f" WHERE s.classification = ANY(%(classes)s) AND s.age_bucket = ANY(%(buckets)s){where} GROUP BY 1, 2, 3",
            {"classes": list(wanted.classifications or CLASSES), "buckets": list(wanted.buckets or age_buckets.NAMES)}
            | values,
        )
    }
    for classification, bucket, state, count in _aged_out(wanted, now=now):
        counted[classification, bucket, state] = counted.get((classification, bucket, state), 0) - count
    return [Cell(*key, available=count) for key, count in sorted(counted.items()) if count > 0]


def available_to(business: Business, wanted: Filter, *, now: datetime) -> tuple[int, bool]:
    """How many of these this buyer could buy, without those they have. (count, whether it is exact): for somebody with
    a very long list of their own it is the upper bound."""
    kinds, is_exact = kinds_for(business, wanted, now=now)
    return sum(kinds.values()), is_exact


def kinds_for(business: Business, wanted: Filter, *, now: datetime) -> tuple[dict[tuple[str, str], int], bool]:
    """The same by class and bucket. Kinds without any are left out."""
    kinds: dict[tuple[str, str], int] = defaultdict(int)
    for cell in cells(wanted, now=now):
        kinds[cell.classification, cell.age_bucket] += cell.available
    known = _fetch(
        "SELECT count(*) FROM (SELECT FROM marketplace_knownphone WHERE business_id = %(business)s LIMIT %(most)s) k",
        {"business": business.pk, "most": EXACT_UP_TO + 1},
    )[0][0]
    if known > EXACT_UP_TO:
        return dict(kinds), False
    held = _held(business, wanted, known=known, now=now)
    return {kind: left for kind, count in kinds.items() if (left := count - held.get(kind, 0)) > 0}, True


def locations(*, now: datetime) -> dict[str, list[str]]:
    """The counties of every state with something for sale, both in alphabetical order."""
    found: dict[str, list[str]] = defaultdict(list)
    for state, county in _fetch(
        "SELECT s.state, s.county FROM marketplace_stock s GROUP BY 1, 2 HAVING sum(s.available) > 0 ORDER BY 1, 2", {}
    ):
        found[state] += [county] if county else []
    return dict(found)


def _aged_out(wanted: Filter, *, now: datetime) -> list[tuple[Any, ...]]:
    """What still stands on a shelf it has grown out of, because roll-over has not run since: few, and found by index."""
    where, values = _places(wanted, alias="i")
    parts = []
    for number, (classification, bucket) in enumerate(wanted.cells()):
        after = age_buckets.window(bucket, as_of=now).after
        if after is None:
            continue
        values |= {f"class{number}": classification, f"bucket{number}": bucket, f"after{number}": after}
        parts.append(
            "SELECT i.classification, i.age_bucket, i.state, count(*) FROM marketplace_inventoryitem i"
            f" WHERE {FOR_SALE} AND i.classification = %(class{number})s AND i.age_bucket = %(bucket{number})s"
            f" AND i.called_in_at <= %(after{number})s{where} GROUP BY 1, 2, 3"
        )
    return _fetch(" UNION ALL ".join(parts), values) if parts else []


def _held(business: Business, wanted: Filter, *, known: int, now: datetime) -> dict[tuple[str, str], int]:
    """How many of what is for sale this buyer has already, by class and bucket."""
    counted: dict[tuple[str, str], int] = defaultdict(int)
    for classification, bucket, state, county, count in _held_by_place(business, known=known, now=now):
        if (not wanted.states or state in wanted.states) and (not wanted.counties or county in wanted.counties):
            counted[classification, bucket] += count
    return counted


def _held_by_place(business: Business, *, known: int, now: datetime) -> list[tuple[Any, ...]]:
    """Asked from the buyer's side, which is the short one. Somebody who knows thousands looks at page after page: for them
    it is asked once a minute, unless they got to know more people or the shelf got new items."""
    if known < _REMEMBERED_FROM:
        return _ask_held(business, now=now)
    newest = _fetch("SELECT id FROM marketplace_inventoryitem ORDER BY id DESC LIMIT 1", {})
    key = f"marketplace:held:{business.pk}:{known}:{newest}"
    found: list[tuple[Any, ...]] | None = cache.get(key)
    if found is None:
        found = _ask_held(business, now=now)
        cache.set(key, found, timeout=60)
    return found


def _ask_held(business: Business, *, now: datetime) -> list[tuple[Any, ...]]:
    in_window, values = in_some_window(Filter(), now=now)
    return _fetch(
        "SELECT i.classification, i.age_bucket, i.state, i.county, count(*) FROM marketplace_inventoryitem i"
        " WHERE i.lead_id IN (SELECT s.lead_id FROM marketplace_sale s WHERE s.business_id = %(business)s"
        " UNION SELECT l.id FROM marketplace_knownphone k JOIN marketplace_agedlead l ON l.phone_mark = k.mark"
        "  WHERE k.business_id = %(business)s"
        " UNION SELECT l.id FROM marketplace_knownphone k JOIN marketplace_agedlead l ON l.other_mark = k.mark"
        f"  WHERE k.business_id = %(business)s) AND {FOR_SALE} AND ({in_window}) GROUP BY 1, 2, 3, 4",
        {"business": business.pk} | values,
    )


# --- Looking ---------------------------------------------------------------------------------------------------------


def browse(
    business: Business, wanted: Filter, *, now: datetime, limit: int, offset: int = 0, after: str = ""
) -> Listing:
    """A stretch of what this buyer could buy, and how much there is. Raises ValueError like `stretch`."""
    items, cursor = stretch(business, wanted, now=now, limit=limit, offset=offset, after=after)
    total, is_exact = available_to(business, wanted, now=now)
    return Listing(items=items, total=total, is_exact=is_exact, after=cursor)


def stretch(
    business: Business, wanted: Filter, *, now: datetime, limit: int, offset: int = 0, after: str = ""
) -> tuple[list[Listed], str]:
    """Some of what this buyer could buy, the oldest leads first (as they are sold), from `offset` or behind a cursor;
    and the cursor of what follows, empty at the end. Raises ValueError for a cursor that none of our answers gave.

    One index scan per class and bucket (and state, when some are named), merged: no sort of the whole shelf. Whom this
    buyer may have is asked only of those that stand in front, and on until there are enough.
    """
    rules = rules_in_force(now=now)
    needed, reach = offset + limit + 1, offset + limit + 1
    behind = _read_cursor(after) if after else None
    found: list[tuple[Any, ...]] = []
    while True:
        looked = _look(business, wanted, behind=behind, reach=reach, now=now)
        found += [row[:-1] for row in looked if row[-1]]
        if len(found) >= needed or len(looked) < reach:
            break
        behind = looked[-1][9], looked[-1][0]
        reach = min(reach * 4, _FAR)
    items = [_listed(row, rules) for row in found[offset : offset + limit]]
    more_follow = len(found) >= needed
    return items, f"{items[-1].called_in_at.isoformat()}~{items[-1].inventory_id}" if more_follow else ""


def _look(
    business: Business, wanted: Filter, *, behind: tuple[datetime, UUID] | None, reach: int, now: datetime
) -> list[tuple[Any, ...]]:
    """The next `reach` items on the shelf, the oldest first, each with whether this buyer may have it."""
    values: dict[str, Any] = {"business": business.pk, "reach": reach}
    after = ""
    if behind is not None:
        values["moment"], values["last"] = behind
        after = " AND (i.called_in_at, i.id) > (%(moment)s, %(last)s)"
    scans = []
    for number, (classification, bucket, state) in enumerate(_scans(wanted)):
        where, more = _cell(number, classification, bucket, state, wanted, now=now)
        values |= more
        scans.append(
            "(SELECT i.called_in_at, i.id FROM marketplace_inventoryitem i"
            f" WHERE {where}{after} ORDER BY i.called_in_at, i.id LIMIT %(reach)s)"
        )
    return _fetch(
        "SELECT i.id, i.lead_id, i.classification, i.age_bucket, i.state, i.county, l.first_name, l.city, i.created_at,"
        f" i.called_in_at, {MAY_BE_SOLD} AND {IS_NEW_TO_THEM}"
        f" FROM (SELECT id FROM ({' UNION ALL '.join(scans)}) AS scans ORDER BY called_in_at, id LIMIT %(reach)s) AS front"
        " JOIN marketplace_inventoryitem i ON i.id = front.id JOIN marketplace_agedlead l ON l.id = i.lead_id"
        " ORDER BY i.called_in_at, i.id",
        values,
    )


def listed(item_ids: Sequence[UUID], *, business: Business, now: datetime) -> dict[UUID, Listed]:
    """Those of these items that this buyer could buy at this moment."""
    in_window, values = in_some_window(Filter(), now=now)
    found = _fetch(
        "SELECT i.id, i.lead_id, i.classification, i.age_bucket, i.state, i.county, l.first_name, l.city, i.created_at,"
        " i.called_in_at FROM marketplace_inventoryitem i JOIN marketplace_agedlead l ON l.id = i.lead_id"
        f" WHERE i.id = ANY(%(ids)s) AND {FOR_SALE} AND ({in_window}) AND {MAY_BE_SOLD} AND {IS_NEW_TO_THEM}",
        {"ids": list(item_ids), "business": business.pk} | values,
    )
    rules = rules_in_force(now=now)
    return {row[0]: _listed(row, rules) for row in found}


def _listed(row: tuple[Any, ...], rules: dict[tuple[str, str], PricingRule]) -> Listed:
    rule = rules.get((row[2], row[3]))
    return Listed(*(*row, rule.price if rule else None))


def _scans(wanted: Filter) -> Iterable[tuple[str, str, str | None]]:
    """A scan for each state, in its order, as long as they are few; more are quicker found by walking over all states."""
    states = wanted.states if len(wanted.states) <= _FEW_STATES else ()
    for classification, bucket in wanted.cells():
        for state in states or (None,):
            yield classification, bucket, state


def _cell(
    number: int, classification: str, bucket: str, state: str | None, wanted: Filter, *, now: datetime
) -> tuple[str, dict[str, Any]]:
    """One class and bucket (and state) of the shelf, in its window, as SQL with its values."""
    window = age_buckets.window(bucket, as_of=now)
    values: dict[str, Any] = {
        f"class{number}": classification, f"bucket{number}": bucket, f"until{number}": window.until
    }  # fmt: skip
    sql = (
        f"{FOR_SALE} AND i.classification = %(class{number})s AND i.age_bucket = %(bucket{number})s"
        f" AND i.called_in_at <= %(until{number})s"
    )
    if window.after is not None:
        values[f"after{number}"] = window.after
        sql += f" AND i.called_in_at > %(after{number})s"
    here = replace(wanted, states=(state,)) if state is not None else wanted
    where, places = _places(here, alias="i", suffix=str(number))
    return sql + where, values | places


def in_window(bucket: str, *, now: datetime) -> tuple[str, dict[str, Any]]:
    """SQL and values: `i` is young enough and old enough for its bucket at this moment."""
    window = age_buckets.window(bucket, as_of=now)
    if window.after is None:
        return "i.called_in_at <= %(until)s", {"until": window.until}
    return "i.called_in_at <= %(until)s AND i.called_in_at > %(after)s", {"until": window.until, "after": window.after}


def in_some_window(wanted: Filter, *, now: datetime) -> tuple[str, dict[str, Any]]:
    """SQL and values: `i` is in the bucket it stands in, one of those that are wanted."""
    parts = []
    values: dict[str, Any] = {"classes_w": list(wanted.classifications or CLASSES)}
    for bucket in wanted.buckets or age_buckets.NAMES:
        window = age_buckets.window(bucket, as_of=now)
        values |= {f"bucket_{bucket}": bucket, f"until_{bucket}": window.until}
        part = f"i.age_bucket = %(bucket_{bucket})s AND i.called_in_at <= %(until_{bucket})s"
        if window.after is not None:
            values[f"after_{bucket}"] = window.after
            part += f" AND i.called_in_at > %(after_{bucket})s"
        parts.append(f"({part})")
    return f"i.classification = ANY(%(classes_w)s) AND ({' OR '.join(parts)})", values


def _places(wanted: Filter, *, alias: str, suffix: str = "") -> tuple[str, dict[str, Any]]:
    """One place is said with =, which lets the index keep its order; several with ANY."""
    sql, values = "", {}
    for column, places in (("state", wanted.states), ("county", wanted.counties)):
        if places:
            name = f"{column}{suffix}"
            one = len(places) == 1
            sql += f" AND {alias}.{column} = " + (f"%({name})s" if one else f"ANY(%({name})s)")
            values[name] = places[0] if one else list(places)
    return sql, values


def _read_cursor(after: str) -> tuple[datetime, UUID]:
    moment, _, last = after.partition("~")
    read = datetime.fromisoformat(moment)
    if read.tzinfo is None:
        raise ValueError("A cursor holds a moment with its zone.")
    return read, UUID(last)


def _fetch(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


# --- A buyer's orders ------------------------------------------------------------------------------------------------


def purchases(business: Business, *, words: str = "") -> QuerySet[Purchase]:
    """Orders: all, the one with a number (“P-1042”), or those with a lead of that name or phone."""
    rows = Purchase.objects.for_business(business)
    if not words:
        return rows
    number = re.fullmatch(r"(?:[Pp]-)?([0-9]{1,18})", words)
    with_them = Exists(Sale.objects.filter(_named(words), business=business, purchase=OuterRef("pk")))
    return rows.filter(with_them | Q(number=int(number[1])) if number else with_them)


def sales_of(purchase: Purchase, *, words: str = "") -> QuerySet[Sale]:
    """The leads of an order, each with what a page tells of it: its returns, what it replaces, its recalls."""
    ours = purchase.business
    rows = Sale.objects.for_business(ours).filter(purchase=purchase).select_related("lead")
    return rows.filter(_named(words) if words else Q()).prefetch_related(
        Prefetch("returns", Return.objects.for_business(ours)),
        Prefetch("replaces", Return.objects.for_business(ours)),
        Prefetch("recall_notices", RecallNotice.objects.for_business(ours).select_related("recall")),
    )


def customers_of(business: Business, sales: Iterable[Sale]) -> dict[UUID, UUID]:
    """The customers that sales have become in Leads, as far as they have landed."""
    by_event = {f"sale:{sale.pk}": sale.pk for sale in sales}
    landed = Lead.objects.for_business(business).filter(source=LeadSource.PURCHASE, event_id__in=list(by_event))
    return {by_event[event]: customer for event, customer in landed.values_list("event_id", "customer_id")}


def files(business: Business) -> QuerySet[Any]:
    """Files a buyer asked for, without the long list of what is in each; `leads` is how many, `first` one of them."""
    rows = Export.objects.for_business(business).defer("sale_ids")
    return rows.annotate(leads=F("sale_ids__len"), first=F("sale_ids__0"), taken=Count("downloads"))


def files_of(purchase: Purchase, *, most: int) -> QuerySet[Any]:
    """The files of an order, the newest first, each with the last `most` downloads. A lead that replaced another makes
    the order longer: the files from before and after begin with the same lead."""
    ours = purchase.business
    first = Sale.objects.for_business(ours).filter(purchase=purchase).order_by("sold_at", "id").values("pk")[:1]
    taken = ExportDownload.objects.for_business(ours).order_by("-at", "-id")[:most]
    return (
        files(ours).filter(sale_ids__0__in=first).prefetch_related(Prefetch("downloads", taken, to_attr="last_taken"))
    )


def downloads_of(business: Business, orders: Sequence[Purchase]) -> dict[UUID, int]:
    """How often files of these orders were taken. Orders nobody took a file of are left out."""
    sales = Sale.objects.for_business(business).filter(purchase__in=orders)
    firsts = dict(
        sales.order_by("purchase_id", "sold_at", "id").distinct("purchase_id").values_list("pk", "purchase_id")
    )
    taken = ExportDownload.objects.for_business(business).filter(export__sale_ids__0__in=list(firsts))
    counted = taken.order_by().values_list("export__sale_ids__0").annotate(count=Count("pk"))
    return {firsts[first]: count for first, count in counted}


def returns(business: Business, *, status: str = "") -> QuerySet[Return]:
    """Leads that were given back, with what they are."""
    rows = Return.objects.for_business(business).select_related("sale__lead", "sale__purchase")
    return rows.filter(status=status) if status else rows


def returns_by_status(business: Business) -> dict[str, int]:
    rows = Return.objects.for_business(business).order_by()
    return dict(rows.values_list("status").annotate(count=Count("pk")))


def _named(words: str) -> Q:
    """Sales of leads of that name or phone."""
    found = Q()
    for column in ("full_name", "first_name", "last_name"):
        found |= Q(**{f"lead__{column}__icontains": words})
    digits = re.sub(r"[^0-9]", "", words)
    if len(digits) >= 4:
        found |= Q(lead__phone__contains=digits) | Q(lead__other_phone__contains=digits)
    return found
