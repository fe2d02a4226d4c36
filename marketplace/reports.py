"""What was sold, to whom and for how much, over a stretch of time. Read-only; every number can be found in the books.

Days are UTC days. Revenue is what the sales of the period cost, by the moment of the sale; credited is what was booked for
returns in the period, whenever the lead was sold; net is the difference, and the same as the accounts “Leads sold” and
“Leads returned” of the books moved in the period. How many leads came back is asked of the leads sold in the period,
whenever they came back. A replacement is a sale at no charge: it is told apart and is no sold lead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from django.db import connection

from crm.models import Business
from marketplace.pricing import CENT

DAYS_ON_A_PAGE: Final = 92  # a longer period is told by months
LONGEST: Final = 1_100  # days
_NOTHING: Final = Decimal("0.00")


class By(StrEnum):
    """What a report is broken down by."""

    TIME = "time"
    KIND = "kind"
    STATE = "state"
    BUYER = "buyer"
    SOURCE = "source"


@dataclass(frozen=True)
class Period:
    """From the first to the last day, both included, in UTC."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def until(self) -> datetime:
        """The first moment behind it."""
        return datetime.combine(self.last, time(), UTC) + timedelta(days=1)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def step(self) -> str:
        return "day" if self.days <= DAYS_ON_A_PAGE else "month"

    def steps(self) -> list[date]:
        """The first day of every stretch the report tells apart, also of those without a sale."""
        every = [self.first + timedelta(days=number) for number in range(self.days)]
        return every if self.step == "day" else sorted({day.replace(day=1) for day in every})


@dataclass
class Figures:
    sold: int = 0  # without replacements
    revenue: Decimal = _NOTHING
    credited: Decimal = _NOTHING
    replaced: int = 0  # leads given at no charge for others
    came_back: int = 0  # of the sold ones, those that were returned and accepted since

    @property
    def net(self) -> Decimal:
        return self.revenue - self.credited

    @property
    def average(self) -> Decimal | None:
        """Of one sold lead; None when none was."""
        return (self.revenue / self.sold).quantize(CENT, ROUND_HALF_UP) if self.sold else None


@dataclass(frozen=True)
class Line:
    """`key` is what the line stands for: a date, (class, bucket), a state, the id of a business, a source; `name` says it."""

    key: Any
    name: str
    figures: Figures


@dataclass(frozen=True)
class Report:
    period: Period
    total: Figures
    lines: dict[By, list[Line]] = field(default_factory=dict)


def this_month(now: datetime) -> Period:
    today = now.astimezone(UTC).date()
    return Period(today.replace(day=1), today)


def last_days(count: int, *, now: datetime) -> Period:
    """So many days, today included."""
    today = now.astimezone(UTC).date()
    return Period(today - timedelta(days=count - 1), today)


def sales(period: Period) -> Report:
    """Sold, credited and come back in the period, in two statements that read no more than its sales and entries."""
    found: dict[By, dict[Any, Figures]] = {by: {} for by in By}
    total = Figures()
    values = {"since": period.since, "until": period.until, "step": period.step}
    for by, key, (sold, revenue, replaced, came_back) in _grouped(_SOLD, values):
        figures = total if by is None else found[by].setdefault(key, Figures())
        figures.sold, figures.revenue, figures.replaced, figures.came_back = sold, revenue, replaced, came_back
    for by, key, (credited,) in _grouped(_CREDITED, values):
        figures = total if by is None else found[by].setdefault(key, Figures())
        figures.credited = credited
    names = dict(Business.objects.filter(pk__in=list(found[By.BUYER])).values_list("pk", "name"))
    for day in period.steps():
        found[By.TIME].setdefault(day, Figures())
    return Report(
        period=period,
        total=total,
        lines={by: _ordered(by, rows, names) for by, rows in found.items()},
    )


def _ordered(by: By, rows: dict[Any, Figures], names: dict[UUID, str]) -> list[Line]:
    """Time as it passes, all else by its revenue."""
    lines = [Line(key, _say(by, key, names), figures) for key, figures in rows.items()]
    if by == By.TIME:
        return sorted(lines, key=lambda line: line.key)
    return sorted(lines, key=lambda line: (-line.figures.revenue, -line.figures.sold, line.name))


def _say(by: By, key: Any, names: dict[UUID, str]) -> str:
    match by:
        case By.TIME:
            return str(key)
        case By.KIND:
            return " ".join(key)
        case By.BUYER:
            return names.get(key, str(key))
        case By.SOURCE:
            return key or "No source"
    return str(key)


# One pass over the rows for all the ways they are broken down. GROUPING is 0 for the columns a row is grouped by.
_SOLD: Final = """
WITH sold AS (
 SELECT date_trunc(%(step)s, s.sold_at AT TIME ZONE 'UTC')::date AS step, s.classification, s.age_bucket, l.state,
  s.business_id, btrim(l.source) AS source, s.price, given.id IS NOT NULL AS is_replacement, back.id IS NOT NULL AS came_back
 FROM marketplace_sale s JOIN marketplace_agedlead l ON l.id = s.lead_id
 LEFT JOIN marketplace_return given ON given.business_id = s.business_id AND given.replacement_id = s.id
 LEFT JOIN marketplace_return back ON back.business_id = s.business_id AND back.sale_id = s.id
  AND back.status IN ('replaced', 'credited')
 WHERE s.sold_at >= %(since)s AND s.sold_at < %(until)s
)
SELECT GROUPING(step), GROUPING(classification), GROUPING(state), GROUPING(business_id), GROUPING(source),
 step, classification, age_bucket, state, business_id, source,
 count(*) FILTER (WHERE NOT is_replacement), coalesce(sum(price), 0.00), count(*) FILTER (WHERE is_replacement),
 count(*) FILTER (WHERE came_back)
FROM sold GROUP BY GROUPING SETS ((), (step), (classification, age_bucket), (state), (business_id), (source))
"""

# Out of the books. Naming every buyer lets the index on their entries be used.
_CREDITED: Final = """
WITH credited AS (
 SELECT date_trunc(%(step)s, e.at AT TIME ZONE 'UTC')::date AS step, s.classification, s.age_bucket, l.state, e.business_id,
  btrim(l.source) AS source, -j.amount AS amount
 FROM marketplace_buyer b
 JOIN marketplace_journalentry e ON e.business_id = b.business_id AND e.at >= %(since)s AND e.at < %(until)s
  AND e.kind = 'return'
 JOIN marketplace_journalline j ON j.business_id = e.business_id AND j.entry_id = e.id AND j.account = 'returns'
 JOIN marketplace_return r ON r.id = CASE WHEN e.about LIKE 'return:%%' THEN substr(e.about, 8)::uuid END
 JOIN marketplace_sale s ON s.id = r.sale_id
 JOIN marketplace_agedlead l ON l.id = s.lead_id
)
SELECT GROUPING(step), GROUPING(classification), GROUPING(state), GROUPING(business_id), GROUPING(source),
 step, classification, age_bucket, state, business_id, source, coalesce(sum(amount), 0.00)
FROM credited GROUP BY GROUPING SETS ((), (step), (classification, age_bucket), (state), (business_id), (source))
"""


def _grouped(sql: str, values: dict[str, Any]) -> Iterable[tuple[By | None, Any, tuple[Any, ...]]]:
    """(what a row is grouped by, None for the whole; its key; the figures)."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    for row in rows:
        marks, (step, classification, bucket, state, business, source), figures = row[:5], row[5:11], row[11:]
        keys = (step, (classification, bucket), state, business, source)
        by = next((way for way, mark in zip(By, marks, strict=True) if mark == 0), None)
        yield by, (keys[list(By).index(by)] if by else None), figures
