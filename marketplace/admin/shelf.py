"""The shelf at a glance: how much is for sale of which class and age in which state, and what it costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from psycopg.errors import QueryCanceled

from crm.admin.base import ReadOnlyAdmin, list_url, signed_in
from crm.services import audit
from crm.wording import say_noun
from marketplace import age_buckets, queries, tasks
from marketplace.admin.filters import for_sale_url
from marketplace.enums import AgeBucket, Classification
from marketplace.models import RolledOver, Stock
from marketplace.pricing import say_money
from marketplace.services import inventory

SHADES: Final = 5
PATIENCE: Final = 5_000  # milliseconds of one statement while somebody waits for the page
LATE: Final = timedelta(hours=3)  # roll-over is an hourly task
SHOWN: Final = 10  # differences that are named


@dataclass(frozen=True)
class Spot:
    """A number of the table. `shade` is 0 for none, up to SHADES for the most there is."""

    count: int
    shade: int = 0
    url: str = ""
    label: str = ""


@dataclass(frozen=True)
class Row:
    state: str
    spots: list[Spot]
    total: int


@dataclass(frozen=True)
class Column:
    """`price` is empty when nobody has said what such leads cost; then none of them can be bought."""

    label: str
    name: str
    price: str
    total: int


@dataclass(frozen=True)
class Sheet:
    classification: str
    columns: list[Column]
    rows: list[Row]
    total: int

    @property
    def unpriced(self) -> list[str]:
        """Ages that stand on the shelf without a price."""
        return [column.name for column in self.columns if column.total and not column.price]


def sheets(*, now: datetime, links: bool) -> list[Sheet]:
    """One per class that is on the shelf, all shaded on one scale."""
    cells = queries.cells(queries.Filter(), now=now)
    prices = {kind: rule.price for kind, rule in queries.rules_in_force(now=now).items()}
    most = max((cell.available for cell in cells), default=0)
    counts: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        counts[cell.classification][cell.state][cell.age_bucket] = cell.available
    return [
        _sheet(classification, counts[classification], prices, most=most, links=links)
        for classification in Classification.values
        if classification in counts
    ]


def _sheet(
    classification: str,
    counts: Mapping[str, Mapping[str, int]],
    prices: Mapping[tuple[str, str], Decimal],
    *,
    most: int,
    links: bool,
) -> Sheet:
    rows = [
        Row(
            state,
            [_spot(classification, bucket, state, there.get(bucket, 0), most, links) for bucket in age_buckets.NAMES],
            sum(there.values()),
        )
        for state, there in sorted(counts.items())
    ]
    columns = []
    for place, bucket in enumerate(age_buckets.BUCKETS):
        price = prices.get((classification, bucket.name))
        columns.append(
            Column(
                label=_short(bucket),
                name=AgeBucket(bucket.name).label,
                price=say_money(price).removesuffix(".00") if price is not None else "",
                total=sum(row.spots[place].count for row in rows),
            )
        )
    return Sheet(classification, columns, rows, sum(row.total for row in rows))


def _spot(classification: str, bucket: str, state: str, count: int, most: int, links: bool) -> Spot:
    if not count:
        return Spot(0)
    # By the root, or one big state would leave all the others white.
    shade = max(1, math.ceil(SHADES * math.sqrt(count / most)))
    url = for_sale_url(classification=classification, bucket=bucket, state=state) if links else ""
    return Spot(count, shade, url, f"{count:,} {classification}, {AgeBucket(bucket).label}, {state}")


def _short(bucket: age_buckets.DayRange) -> str:
    """In months: “6–8”, “24+”."""
    first = age_buckets.age_in_months(bucket.first)
    return f"{first}+" if bucket.last is None else f"{first}–{age_buckets.age_in_months(bucket.last)}"


@admin.register(Stock)
class ShelfAdmin(ReadOnlyAdmin):
    """The rows of the stock are pluses and minuses that nobody reads; their sum is this page."""

    fields = ("classification", "age_bucket", "state", "county", "available")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("roll-over/", view(self.roll_over_view), name="marketplace_stock_roll_over"),
            path("count/", view(self.count_view), name="marketplace_stock_count"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        now, user = timezone.now(), signed_in(request)
        found = sheets(now=now, links=user.has_perm("marketplace.view_inventoryitem"))
        mark = RolledOver.objects.filter(pk=1).first()
        context = {
            **self.admin_site.each_context(request),
            "title": "The shelf",
            "opts": self.opts,
            "media": self.media,
            "now": now,
            "sheets": found,
            "total": sum(sheet.total for sheet in found),
            "rolled_over": mark.until if mark else None,
            "is_late": mark is None or now - mark.until > LATE,
            "may_act": self.may(request, "change"),
            "may_load": user.has_perm("marketplace.add_ingestrun"),
            "shades": range(1, SHADES + 1),
        }
        return TemplateResponse(request, "admin/marketplace/stock/shelf.html", context)

    def roll_over_view(self, request: HttpRequest) -> HttpResponse:
        refused = self._refuse(request)
        if refused:
            return refused
        now, actor = timezone.now(), signed_in(request)
        audited = {"business": None, "actor": actor, "target": "the shelf", "now": now}
        try:
            with transaction.atomic():
                _hurry(PATIENCE)
                rolled = inventory.roll_over(now=now)
                changes = {"put on the shelf": rolled.created, "closed": rolled.closed}
                audit(action="rolled over", changes=changes, **audited)  # type: ignore[arg-type]
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            audit(action="roll-over asked for", **audited)  # type: ignore[arg-type]
            tasks.wake(tasks.roll_over)
            self.message_user(
                request,
                "This takes longer than a page may wait. It goes on in the background; look again in a few minutes.",
            )
        else:
            opened = f"{rolled.created:,} {say_noun(rolled.created, 'item', 'items')} put on the shelf"
            self.message_user(request, f"Rolled over: {opened}, {rolled.closed:,} grown out of their age.", "success")
        return HttpResponseRedirect(list_url(Stock))

    def count_view(self, request: HttpRequest) -> HttpResponse:
        refused = self._refuse(request)
        if refused:
            return refused
        try:
            with transaction.atomic():
                _hurry(4 * PATIENCE)
                wrong = inventory.miscounted()
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            self.message_user(
                request, "Counting every item takes longer than a page may wait. It is done every night.", "warning"
            )
            return HttpResponseRedirect(list_url(Stock))
        if not wrong:
            self.message_user(request, "Counted item by item: the stock and the shelf agree.", "success")
        for sentence in wrong[:SHOWN]:
            self.message_user(request, sentence, "error")
        if len(wrong) > SHOWN:
            self.message_user(request, f"And {len(wrong) - SHOWN:,} more like these.", "error")
        return HttpResponseRedirect(list_url(Stock))

    def _refuse(self, request: HttpRequest) -> HttpResponse | None:
        """What comes by a link instead of the button."""
        if not self.may(request, "change"):
            raise PermissionDenied
        return None if request.method == "POST" else HttpResponseNotAllowed(["POST"])


def _hurry(milliseconds: int) -> None:
    """Until the end of the transaction no statement may take longer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])
