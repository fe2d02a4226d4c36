"""The front page of the console: today in numbers, and whether the machines are well.

A fixed number of queries, however much there is: each is served by an index, and nothing is counted beyond `REACH`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils.timesince import timesince
from redis import Redis
from redis.exceptions import RedisError

from booking.enums import AppointmentStatus
from booking.models import Appointment
from crm.admin.base import list_url
from crm.admin.lists import REACH, capped, midnight, since
from crm.admin.talk import STUCK_AFTER
from crm.enums import BusinessStatus, Direction, MessageStatus, SecurityEventKind
from crm.models import AuditEvent, Business, Conversation, Heartbeat, LlmUsage, Message, SecurityEvent, Task
from leads.admin import filters as of_leads
from leads.models import Deal, DealOffer, Lead
from marketplace.enums import BuyerStatus, IngestStatus, ReturnStatus
from marketplace.models import Buyer, IngestRun, RecallNotice, Return
from marketplace.tasks import BOOKS
from telephony.models import CarrierSwitches

ALIVE: Final = timedelta(minutes=1)  # the worker signs every 15 seconds
DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Tile:
    """One number. `tone` is "warning" or "danger" when it asks for something."""

    label: str
    value: str
    url: str = ""
    sentence: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Line:
    """How often something happened, and where its rows are."""

    text: str
    count: int
    url: str


@dataclass(frozen=True)
class Machine:
    """A part of the installation. `state` is in words; `tone` colours the mark beside them."""

    name: str
    state: str
    tone: str
    url: str = ""


@dataclass(frozen=True)
class Today:
    since: datetime
    numbers: list[Tile]
    waiting: list[Tile]
    outbox: list[Tile]
    pipeline: list[Tile]
    marketplace: list[Tile]
    failures: list[Line]
    security: list[Line]
    machines: list[Machine]
    changes: list[AuditEvent]

    @property
    def rows(self) -> list[tuple[str, list[Tile]]]:
        """The tiles under their headings, as they stand on the page."""
        return [
            ("Today", self.numbers),
            ("Waiting for a person", self.waiting),
            ("Outbox", self.outbox),
            ("Pipeline of leads", self.pipeline),
            ("Lead marketplace", self.marketplace),
        ]


def look(*, now: datetime) -> Today:
    """The page as it is at `now`. Call it where every business may be seen."""
    began = midnight(now)
    failed, failures = _failures(now)
    return Today(
        since=began,
        numbers=_numbers(began),
        waiting=[
            _tile(
                "Waiting for an answer",
                Conversation.objects.waiting_for_reply(),
                list_url(Conversation, next="waiting"),
                tone="warning",
            ),
            _tile("Open tasks", Task.objects.open(), list_url(Task, state="open")),
        ],
        outbox=[
            _tile(
                "Waiting to be sent",
                Message.objects.filter(status=MessageStatus.QUEUED),
                list_url(Message, state="waiting"),
            ),
            _tile("Due now", Message.objects.due(now), list_url(Message, state="due")),
            _tile(
                "Stuck",
                Message.objects.stuck(claimed_before=now - STUCK_AFTER),
                list_url(Message, state="stuck"),
                tone="danger",
            ),
            Tile(
                "Failed or not known",
                _said(failed),
                list_url(Message, state="trouble"),
                sentence="Last 24 hours",
                tone="danger" if failed else "",
            ),
        ],
        pipeline=_pipeline(now),
        marketplace=_marketplace(now),
        failures=failures,
        security=_security(now),
        machines=[_worker(now), _postgres(), _redis(), _carrier(), _language_model(began), _books(now)],
        changes=list(AuditEvent.objects.select_related("business")[:8]),
    )


def _numbers(began: datetime) -> list[Tile]:
    texts = since(Message.objects.all(), "created_at", began)
    booked = since(
        Appointment.objects.exclude(status__in=[AppointmentStatus.HELD, AppointmentStatus.RELEASED]),
        "created_at",
        began,
    )
    return [
        _tile(
            "Active businesses",
            Business.objects.filter(status=BusinessStatus.ACTIVE),
            list_url(Business, status__exact="ACTIVE"),
        ),
        _tile(
            "Texts received",
            texts.filter(direction=Direction.INBOUND),
            list_url(Message, direction__exact="inbound", when="today"),
        ),
        _tile(
            "Texts sent",
            texts.filter(direction=Direction.OUTBOUND),
            list_url(Message, direction__exact="outbound", when="today"),
        ),
        _tile("Booked", booked, list_url(Appointment, state="booked", when="today")),
    ]


def _pipeline(now: datetime) -> list[Tile]:
    waiting, ownerless, lapsed, unscored = _counted(
        of_leads.waiting_too_long(Lead.objects.all(), now=now),
        of_leads.without_owner(Deal.objects.all()),
        of_leads.lapsed_today(DealOffer.objects.all(), now=now),
        of_leads.not_scored(Lead.objects.all(), now=now),
    )
    return [
        Tile(
            "Leads that wait too long",
            _said(waiting),
            list_url(Lead, waiting="late"),
            sentence="Beyond what their business allows",
            tone="warning" if waiting else "",
        ),
        Tile("Deals nobody has", _said(ownerless), list_url(Deal, taken="no"), tone="warning" if ownerless else ""),
        Tile("Offers not answered today", _said(lapsed), list_url(DealOffer, state="lapsed_today")),
        Tile(
            "Not scored in time",
            _said(unscored),
            list_url(Lead, score="overdue"),
            sentence="The scorer is not running" if unscored else "The scorer keeps up",
            tone="danger" if unscored else "",
        ),
    ]


def _marketplace(now: datetime) -> list[Tile]:
    return [
        _tile(
            "Returns to decide", Return.objects.filter(status=ReturnStatus.REQUESTED), list_url(Return), tone="warning"
        ),
        _tile(
            "Buyers to approve",
            Buyer.objects.filter(status=BuyerStatus.PENDING, email_verified_at__isnull=False),
            list_url(Buyer, status__exact="pending"),
            tone="warning",
        ),
        _tile(
            "Files being read",
            IngestRun.objects.filter(status__in=[IngestStatus.WAITING, IngestStatus.RUNNING]),
            list_url(IngestRun, state="unfinished"),
        ),
        _tile(
            "Recalls unheard for three days",
            RecallNotice.objects.filter(acknowledged_at__isnull=True, created_at__lt=now - 3 * DAY),
            list_url(RecallNotice, heard="late"),
            tone="warning",
        ),
    ]


def _tile(label: str, rows: QuerySet[Any], url: str, *, tone: str = "") -> Tile:
    count = capped(rows, REACH)
    return Tile(label, _said(count), url, tone=tone if count else "")


def _counted(*questions: QuerySet[Any]) -> list[int]:
    """How many rows each of them finds, up to REACH + 1, in one statement."""
    asked = [rows.order_by().values("pk")[: REACH + 1].query.sql_with_params() for rows in questions]
    counts = ", ".join(f"(SELECT count(*) FROM ({sql}) AS found)" for sql, _ in asked)  # noqa: S608 - composed by Django
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}", [value for _, values in asked for value in values])
        return list(cursor.fetchone())


def _said(count: int) -> str:
    return f"{count:,}" if count <= REACH else f"{REACH:,}+"


def _failures(now: datetime) -> tuple[int, list[Line]]:
    """How many texts went wrong in the last day, and the commonest reasons."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT error, count(*), sum(count(*)) OVER () FROM ("
            " SELECT error FROM crm_message WHERE status IN ('failed', 'unknown') AND created_at >= %s LIMIT %s"
            ") AS lately GROUP BY error ORDER BY 2 DESC, 1 LIMIT 5",
            [now - DAY, REACH + 1],
        )
        reasons = cursor.fetchall()
    url = list_url(Message, state="trouble")
    return (int(reasons[0][2]) if reasons else 0), [
        Line(error or "No reason was given.", count, url) for error, count, _ in reasons
    ]


def _security(now: datetime) -> list[Line]:
    """Knocks that were turned away in the last day, by kind."""
    kinds = (
        SecurityEvent.objects.filter(minute__gte=now - DAY)
        .order_by()
        .values("kind")
        .annotate(times=Sum("count"), last=Max("minute"))
    )
    return [
        Line(
            SecurityEventKind(row["kind"]).label,
            row["times"],
            list_url(SecurityEvent, when="day", kind__exact=row["kind"]),
        )
        for row in sorted(kinds, key=lambda row: row["last"], reverse=True)
    ]


# --- Machines --------------------------------------------------------------------------------------------------------


def _worker(now: datetime) -> Machine:
    beat = Heartbeat.objects.filter(name="worker").first()
    if beat is None:
        return Machine("Worker", "Never seen. Start it with the worker and beat lines of the Procfile.", "danger")
    url = list_url(Heartbeat)
    if now - beat.at <= ALIVE:
        return Machine("Worker", f"Alive on {beat.detail}" if beat.detail else "Alive", "success", url)
    return Machine(
        "Worker", f"Last seen {timesince(beat.at, now, depth=1)} ago. Texts wait until it is back.", "danger", url
    )


def _postgres() -> Machine:
    version = connection.pg_version  # type: ignore[attr-defined]
    return Machine("PostgreSQL", f"{version // 10_000}.{version % 10_000}, {_where('DATABASE_URL')}", "success")


def _redis() -> Machine:
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as redis:
            redis.ping()
    except RedisError:
        return Machine("Redis", "Away. Texts still leave, found by the next look instead of at once.", "danger")
    return Machine("Redis", f"Answers, {_where('REDIS_URL')}", "success")


def _books(now: datetime) -> Machine:
    """The nightly check: money, stock, and nobody on the shelf who is gone."""
    checked = Heartbeat.objects.filter(name=BOOKS).first()
    if checked is None:
        return Machine("Books", "Not added up yet; the worker does it every night.", "warning")
    if checked.detail:
        return Machine("Books", checked.detail, "danger")
    return Machine("Books", f"Balanced, checked {timesince(checked.at, now, depth=1)} ago", "success")


def _where(variable: str) -> str:
    return "a server of its own" if variable in os.environ else "embedded"


def _carrier() -> Machine:
    if settings.CARRIER == "twilio":
        return Machine("Carrier", "Twilio", "success")
    return Machine(
        "Carrier", "The demo carrier: nothing leaves this installation.", "warning", list_url(CarrierSwitches)
    )


def _language_model(began: datetime) -> Machine:
    used = since(LlmUsage.objects.all(), "at", began).aggregate(
        calls=Count("pk"),
        micros=Sum("cost_micros"),
        unpriced=Count("pk", filter=Q(cost_micros__isnull=True, outcome="ok")),
    )
    spent = f"{used['calls']:,} calls today, ${(used['micros'] or 0) / 1_000_000:.2f}" + (
        f" and {used['unpriced']:,} of unknown price" if used["unpriced"] else ""
    )
    model = settings.OPENAI_MODEL if settings.OPENAI_API_KEY else "Off, no key is set; the rules answer"
    return Machine(
        "Language model",
        f"{model}. {spent}.",
        "success" if settings.OPENAI_API_KEY else "warning",
        list_url(LlmUsage, when="today"),
    )
