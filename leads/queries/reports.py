"""How the pipeline does, counted by Postgres: four statements, however many leads there are.

A period is a stretch of whole days of the business's own calendar. The funnel and the speed are of the leads that *came in*
during it, wherever they stand now; time in stage, wins and deals are of what *happened* during it. Leads that were merged
into another are left out everywhere: they are counted once, as the one that was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from crm.models import Business
from leads import lifecycle
from leads.enums import UNSOLICITED, DealStage, Stage


@dataclass(frozen=True)
class Period:
    """From midnight before `first` to midnight after `last`, as clocks hang at the business."""

    first: date
    last: date
    start: datetime
    end: datetime


def period(business: Business, *, first: date, last: date) -> Period:
    midnight = time(tzinfo=business.zone)
    end = datetime.combine(last + timedelta(days=1), midnight)
    return Period(first=first, last=last, start=datetime.combine(first, midnight), end=end)


@dataclass(frozen=True)
class Funnel:
    """How many leads came in, and how many of them have got how far since. `won` is sold, by sales or by a job that was done;
    `lost` ended unsold."""

    source: str  # empty: all of them together
    came_in: int
    contacted: int
    qualified: int
    transferred: int
    won: int
    lost: int


@dataclass(frozen=True)
class Speed:
    """How fast leads got their first answer, in seconds (none: nobody was answered). `due` are those that were answered or
    whose time is over; `in_time` of them were answered within the limit. Leads that were bought or found wait for nobody."""

    answered: int
    p50: float | None
    p95: float | None
    due: int
    in_time: int


@dataclass(frozen=True)
class InStage:
    """How long what left a stage had been in it, in seconds."""

    is_deal: bool
    stage: str
    label: str
    left: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class Wins:
    """Leads that ended in the period."""

    won: int
    lost: int


@dataclass(frozen=True)
class Deals:
    """`open` is as of now; the rest happened in the period. Values are US dollars, `days_to_close` a median."""

    open: int
    open_value: Decimal
    open_without_value: int
    paid: int
    won_value: Decimal
    days_to_close: float | None


@dataclass(frozen=True)
class Report:
    funnels: list[Funnel]  # all together first, then every source that has any, the most first
    speeds: dict[str, Speed]  # by source; "" is all together
    stages: list[InStage]
    wins: Wins
    deals: Deals


def report(business: Business, *, over: Period, source: str, answer_within: timedelta, now: datetime) -> Report:
    """`source` is one of LeadSource, or empty for all. Four statements."""
    values = {
        "business": business.pk, "start": over.start, "end": over.end, "source": source, "now": now,
        "limit": answer_within, "unsolicited": list(UNSOLICITED),
    }  # fmt: skip
    came = _fetch(_CAME_IN, values)
    came.sort(key=lambda row: (row["is_part"], -row["came_in"], row["source"] or ""))
    names = ("came_in", "contacted", "qualified", "transferred", "won", "lost")
    ended = _fetch(_ENDED, values)[0]
    return Report(
        funnels=[Funnel(source=row["source"] or "", **{name: row[name] for name in names}) for row in came],
        speeds={
            row["source"] or "": Speed(
                answered=row["answered"], p50=row["p50"], p95=row["p95"], due=row["due"], in_time=row["in_time"]
            )
            for row in came
        },
        stages=_stages(_fetch(_IN_STAGE, values)),
        wins=Wins(won=ended["won"], lost=ended["lost"]),
        deals=Deals(**_fetch(_DEALS, values)[0]),
    )


# --- Inside ------------------------------------------------------------------------------------------------------------

# A lead has reached a stage when it stands there or has left it: stages never go back, and none is skipped.
_CAME_IN: Final = """
    WITH came AS (
        SELECT id, source, stage, outcome, source <> ALL(%(unsolicited)s) AS waited, first_touch_at - created_at AS took,
               created_at <= %(now)s - %(limit)s AS over
        FROM leads_lead
        WHERE business_id = %(business)s AND merged_into_id IS NULL AND created_at >= %(start)s AND created_at < %(end)s
          AND %(source)s IN ('', source)
    ), moved AS (
        SELECT lead_id, bool_or(new = 'contacted') AS contacted, bool_or(new = 'qualified') AS qualified
        FROM leads_stagechange
        WHERE business_id = %(business)s AND NOT is_deal AND lead_id IN (SELECT id FROM came)
        GROUP BY lead_id
    )
    SELECT source, grouping(source) = 0 AS is_part, count(*) AS came_in,
           count(*) FILTER (WHERE contacted OR stage IN ('contacted', 'qualified', 'transferred')) AS contacted,
           count(*) FILTER (WHERE qualified OR stage IN ('qualified', 'transferred')) AS qualified,
           count(*) FILTER (WHERE stage = 'transferred') AS transferred,
           count(*) FILTER (WHERE outcome = 'won') AS won,
           count(*) FILTER (WHERE outcome = 'lost') AS lost,
           count(took) FILTER (WHERE waited) AS answered,
           extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY took) FILTER (WHERE waited))::float AS p50,
           extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY took) FILTER (WHERE waited))::float AS p95,
           count(*) FILTER (WHERE waited AND (took IS NOT NULL OR over)) AS due,
           count(*) FILTER (WHERE waited AND took <= %(limit)s) AS in_time
    FROM came LEFT JOIN moved ON moved.lead_id = came.id
    GROUP BY GROUPING SETS ((), (source))
"""
_ENDED: Final = """
    SELECT count(*) FILTER (WHERE outcome = 'won') AS won, count(*) FILTER (WHERE outcome = 'lost') AS lost
    FROM leads_lead
    WHERE business_id = %(business)s AND merged_into_id IS NULL AND outcome <> '' AND closed_at >= %(start)s
      AND closed_at < %(end)s AND %(source)s IN ('', source)
"""
_IN_STAGE: Final = """
    SELECT is_deal, old AS stage, count(*) AS "left",
           extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY at - since))::float AS p50,
           extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY at - since))::float AS p95
    FROM leads_stagechange AS change
    JOIN leads_lead AS lead ON lead.business_id = change.business_id AND lead.id = change.lead_id
    WHERE change.business_id = %(business)s AND change.at >= %(start)s AND change.at < %(end)s
      AND lead.merged_into_id IS NULL AND %(source)s IN ('', lead.source)
    GROUP BY is_deal, old
"""
_DEALS: Final = """
    SELECT count(*) FILTER (WHERE deal.closed_at IS NULL) AS open,
           coalesce(sum(value) FILTER (WHERE deal.closed_at IS NULL), 0) AS open_value,
           count(*) FILTER (WHERE deal.closed_at IS NULL AND value IS NULL) AS open_without_value,
           count(*) FILTER (WHERE paid) AS paid,
           coalesce(sum(value) FILTER (WHERE paid), 0) AS won_value,
           (extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY deal.closed_at - deal.created_at)
               FILTER (WHERE paid)) / 86400)::float AS days_to_close
    FROM (
        SELECT *, stage = 'paid' AND closed_at >= %(start)s AND closed_at < %(end)s AS paid
        FROM leads_deal WHERE business_id = %(business)s
    ) AS deal
    JOIN leads_lead AS lead ON lead.business_id = deal.business_id AND lead.id = deal.lead_id
    WHERE %(source)s IN ('', lead.source)
"""


def _fetch(sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _stages(found: list[dict[str, Any]]) -> list[InStage]:
    """Every stage something can leave, in the order of the boards; nothing left those the database did not name."""
    known = {(row.pop("is_deal"), row.pop("stage")): row for row in found}
    nothing = {"left": 0, "p50": None, "p95": None}
    return [
        InStage(is_deal=is_deal, stage=stage, label=str(labels(stage).label), **known.get((is_deal, stage), nothing))
        for is_deal, stages, labels in ((False, lifecycle.OPEN, Stage), (True, lifecycle.OPEN_DEAL, DealStage))
        for stage in stages
    ]
