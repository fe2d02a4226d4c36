"""Scores: what a lead is worth by the rules, at once, and what reading the conversation adds, a little later.

An assessment is a row. The lead shows the newest; a deal keeps the one that justified it.
"""

from __future__ import annotations

import functools
import itertools
import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Q
from django.dispatch import Signal

from crm import llm, rows
from crm.models import Business, CustomerMerge, Heartbeat, Message
from crm.scoping import every_business, only
from leads import lifecycle, reading, scoring
from leads.actors import FRONTDESK
from leads.enums import Stage
from leads.models import Assessment, Lead
from leads.queries import talk
from leads.services import pipeline

log = structlog.get_logger(__name__)

MODEL_TIMEOUT: Final = 20.0  # seconds; nobody waits for it in front of a screen
_CLAIMED_FOR: Final = 25  # seconds; a little longer than a reading takes, and less than a lead settles
BATCH: Final = 200  # leads in one run of the sweep
COUNTED: Final = "leads.counted"  # up to when texts have been counted, by its name in Heartbeat
wants_reading = Signal()  # somebody asked for a look, and the conversation has not been read as it is


def assess(*, lead: Lead, now: datetime) -> Assessment:
    """Look at a lead in any stage and write down what it is worth.

    The rules answer at once. What the model read before counts on, as long as nothing was said since; otherwise the
    conversation is read again in the background, and that is another assessment.
    """
    with transaction.atomic(savepoint=False):
        return assess_locked(pipeline.lock(lead), now=now)


def assess_locked(lead: Lead, *, now: datetime) -> Assessment:
    """The same, of a lead that the caller has locked."""
    before = _newest(lead)
    known = before if _is_read(lead, before) else None
    made = _write(lead, _kept(known), read_by=known, before=before, now=now)
    if known is None and settings.OPENAI_API_KEY and _has_words(lead):
        transaction.on_commit(functools.partial(wants_reading.send_robust, sender=Lead, lead=lead), robust=True)
    return made


def read_and_assess(*, business: Business, lead_id: UUID, now: datetime) -> Assessment | None:
    """Have the model read the conversation. None: there is nothing new to read, no model to read it, or another worker is
    reading it.

    The model is asked with no transaction open. What it says about a conversation that has gone on meanwhile is still
    about that conversation: it is kept, and the next sweep reads the rest.
    """
    claim = f"lead_being_read_{lead_id}"
    if not cache.add(claim, 1, timeout=_CLAIMED_FOR):
        return None
    try:
        with only(business):
            return _read(business, lead_id, now=now)
    finally:
        cache.delete(claim)


def score_due(*, now: datetime) -> list[tuple[Business, UUID]]:
    """Score leads whose time has come: new ones, those where something was said, those that fell silent; batch after batch,
    for some seconds. Returns those whose conversation the model should read.

    Each is claimed by its row's lock; another worker takes others.
    """
    to_read, until = [], time.monotonic() + _LONGEST_RUN
    more = True
    while more and time.monotonic() < until:
        with every_business():
            due = Lead.objects.standing().filter(rescore_at__lte=now).order_by("rescore_at")
            waiting = list(due.values_list("pk", flat=True)[:BATCH])
        scored = 0
        for pk in waiting:
            try:
                lead, is_worth_reading = _score_if_due(pk, now=now)
            except Exception:  # one lead must not hold up the others, nor stand first in line for ever
                log.exception("scoring_broke_down", lead_id=str(pk))
                with every_business():
                    Lead.objects.filter(pk=pk).update(rescore_at=now + _AFTER_TROUBLE)
                continue
            scored += lead is not None
            if lead is not None and is_worth_reading:
                to_read.append((lead.business, lead.pk))
        more = len(waiting) == BATCH and scored > 0  # none: other workers have them all
    return to_read


def count_activity(*, now: datetime) -> int:
    """Bring the leads of everybody who wrote, was written to, or was merged lately up to date; returns how many changed.

    Counted anew instead of added to, so it may run twice or be late: the count is what is there. A lead that got its
    first answer moves from New to Contacted by itself.
    """
    changed = 0
    last = Heartbeat.objects.filter(name=COUNTED).values_list("at", flat=True).first()
    since = (min(last, now) if last else now - timedelta(days=1)) - _SLOWEST
    with every_business():
        customers = list(
            Message.objects.filter(created_at__gt=since, customer__isnull=False, audience="customer")
            .order_by()
            .values_list("customer", flat=True)
            .distinct()
        )
        lately = Q(merged_at__gt=since) | Q(undone_at__gt=since)  # their texts moved
        customers += itertools.chain(*CustomerMerge.objects.filter(lately).values_list("kept", "dropped"))
        leads = Lead.objects.open().standing().values_list("pk", flat=True)
        answered = leads.filter(stage=Stage.NEW, first_touch_at__isnull=False).order_by("first_touch_at")[:BATCH]
        pks = {*leads.filter(customer__in=customers), *answered}
    with connection.cursor() as cursor:
        cursor.execute(_NEWS, {"leads": list(pks), "before": talk.SAME_MOMENT.total_seconds()})
        pks = {row[0] for row in cursor.fetchall()}
    for pk in sorted(pks):
        try:
            changed += _bring_up_to_date(pk, now=now)
        except Exception:  # one lead must not hold up the others
            log.exception("counting_broke_down", lead_id=str(pk))
    Heartbeat.objects.update_or_create(name=COUNTED, defaults={"at": now})
    return changed


def recount(lead: Lead, *, now: datetime) -> bool:
    """Count what happened to a lead; False when nothing is new. The lead is locked by the caller."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"lead": lead.pk, "before": talk.SAME_MOMENT.total_seconds()})
        count, newest, answered = cursor.fetchone()
    changes: dict[str, Any] = {}
    is_newer = newest is not None and (lead.last_activity_at is None or newest > lead.last_activity_at)
    if count != lead.activity_count or is_newer:  # the count alone stands still when one text failed and another came
        changes = {"activity_count": count, "last_activity_at": newest, "rescore_at": pipeline.soon(lead, now=now)}
    if answered is not None and lead.first_touch_at is None:
        changes["first_touch_at"] = max(answered, lead.created_at)
    for name, value in changes.items():
        setattr(lead, name, value)
    if changes:
        rows.update(lead, *changes)
    return bool(changes)


# --- Inside ------------------------------------------------------------------------------------------------------------

_LONGEST_RUN: Final = 4.0  # seconds; the next run is a second later
_SHARE: Final = 0.5  # of the day's budget for the model; the rest is for those who wait for an answer
_TICK: Final = timedelta(microseconds=1)
_AFTER_TROUBLE: Final = timedelta(minutes=10)
_SLOWEST: Final = timedelta(minutes=1)  # a text is seen this much later than it was written, at most
# What happened to each lead `l`. Texts that were refused or failed were never said.
_HAPPENED: Final = """
    FROM leads_lead l, LATERAL (
        SELECT count(*) AS count, max(at) AS newest, min(at) FILTER (WHERE ours) AS answered FROM (
            SELECT created_at AS at, direction = 'outbound' AS ours FROM crm_message
            WHERE customer_id = l.customer_id AND audience = 'customer'
            AND created_at >= l.created_at - make_interval(secs => %(before)s)
            AND author <> 'system' AND status NOT IN ('failed', 'refused')
            UNION ALL
            SELECT at, kind <> 'note' FROM leads_leadactivity WHERE lead_id = l.id
        ) AS each_of_them
    ) AS happened
"""
_COUNT: Final = f"SELECT happened.* {_HAPPENED} WHERE l.id = %(lead)s"
_NEWS: Final = f"""
    SELECT l.id {_HAPPENED} WHERE l.id = ANY(%(leads)s) AND (
        count <> l.activity_count OR newest > coalesce(l.last_activity_at, '-infinity')
        OR l.first_touch_at IS NULL AND answered IS NOT NULL OR l.stage = 'new' AND l.first_touch_at IS NOT NULL
    )
"""

_NO_READING: Final = reading.Reading(move=Decimal(0), evidence=(), summary="")


def _bring_up_to_date(pk: UUID, *, now: datetime) -> bool:
    with every_business(), transaction.atomic():
        found = Lead.objects.open().standing().filter(pk=pk).select_related("business")
        lead = found.select_for_update(of=("self",), no_key=True).first()
        if lead is None:  # closed or merged in this moment
            return False
        counted = recount(lead, now=now)
        if lead.stage == Stage.NEW and lead.first_touch_at is not None:
            # At the moment of the answer: we may have looked later, and reports count how long a lead was new.
            answered_at = min(lead.first_touch_at, now)
            pipeline.change_stage(
                lead, to=Stage.CONTACTED, by=FRONTDESK, now=answered_at, why="The first answer went out"
            )
            counted = True
        return counted


def _score_if_due(pk: UUID, *, now: datetime) -> tuple[Lead | None, bool]:
    """Score one lead, unless somebody else is at it; and whether its conversation should be read. What fell silent long ago
    is not: the day's budget is the receptionist's as well."""
    with every_business(), transaction.atomic():
        found = Lead.objects.standing().filter(pk=pk, rescore_at__lte=now).select_related("business")
        lead: Lead | None = found.select_for_update(of=("self",), skip_locked=True, no_key=True).first()
        if lead is None:
            return None, False
        before = _newest(lead)
        known = before if _is_read(lead, before) else None
        made = _write(lead, _kept(known), read_by=known, before=before, now=now)
        is_alive = lead.stage in lifecycle.OPEN and not lead.outcome and not made.silence and lead.business.is_active
        return lead, known is None and _has_words(lead) and is_alive


def _has_words(lead: Lead) -> bool:
    return bool(lead.activity_count or lead.notes)


def _read(business: Business, lead_id: UUID, *, now: datetime) -> Assessment | None:
    lead = Lead.objects.for_business(business).select_related("customer", "service").filter(pk=lead_id).first()
    if lead is None or not business.is_active or not llm.is_available(business=business, now=now, share=_SHARE):
        return None
    lead.business = business
    before = _newest(lead)
    if _is_read(lead, before):
        return None
    lines = talk.lines(lead)
    if not any(line.who in reading.SOURCES for line in lines):  # nothing that could be shown for a move
        return None
    counted, read_until = lead.activity_count, max(lines[-1].at, lead.last_activity_at or lines[-1].at)
    answer = llm.ask(
        business=business, purpose="lead_score", instructions=reading.INSTRUCTIONS, shape=reading.ReadingOut, now=now,
        text=reading.material(talk.facts(lead, lines, now=now), lines, most=llm.MAX_INPUT), timeout=MODEL_TIMEOUT,
    )  # fmt: skip
    if answer is None:
        return None
    found = reading.believed(answer, lines)
    read_by = Assessment(
        model=settings.OPENAI_MODEL, prompt_version=reading.PROMPT_VERSION, read_until=read_until, activity_count=counted
    )  # fmt: skip
    with transaction.atomic():
        lead = pipeline.lock(lead)
        newest = _newest(lead)
        if newest != before and newest is not None and newest.read_until and newest.read_until >= read_until:
            return None  # somebody who was quicker has read as far, or further
        made = _write(lead, found, read_by=read_by, before=newest, now=now)
        if not _is_read(lead, made) and lead.merged_into_id is None:  # it went on while the model read
            lead.rescore_at = pipeline.soon(lead, now=now)
            rows.update(lead, "rescore_at")
    return made


def _is_read(lead: Lead, before: Assessment | None) -> bool:
    """Whether the newest assessment knows the conversation as it stands. The words a lead brought along may have been
    edited, so the time counts as well."""
    if before is None or not before.model or before.read_until is None:
        return False
    is_older = lead.last_activity_at is not None and before.read_until < lead.last_activity_at
    return before.activity_count == lead.activity_count and not is_older


def _newest(lead: Lead) -> Assessment | None:
    return rows.first(
        Assessment, "business_id = %s AND lead_id = %s", [lead.business_id, lead.pk], order="created_at DESC, id DESC"
    )


def _kept(before: Assessment | None) -> reading.Reading:
    if before is None:
        return _NO_READING
    evidence = tuple(reading.Evidence(**item) for item in before.evidence)
    return reading.Reading(move=before.reading, evidence=evidence, summary=before.summary)


def _write(
    lead: Lead, found: reading.Reading, *, read_by: Assessment | None, before: Assessment | None, now: datetime
) -> Assessment:
    """One more assessment of a locked lead, which shows it from now on.

    It is the newest also when the clock was read before somebody else wrote `before`, the newest until now.
    """
    written_at = now if before is None or now > before.created_at else before.created_at + _TICK
    baseline = scoring.by_rules(
        source=lead.source, has_domain=bool(lead.business_domain), activity_count=lead.activity_count
    )
    is_open = lead.stage in lifecycle.OPEN and not lead.outcome
    quiet_for = now - (lead.last_activity_at or lead.created_at)
    lost = scoring.silence(quiet_for) if is_open else Decimal(0)
    value = scoring.moved(baseline.value, found.move + lost)
    made = Assessment(
        business=lead.business, lead=lead, score=value, baseline=baseline.value, reading=found.move, silence=lost,
        recommendation=scoring.recommend(value), reason=baseline.reason,
        factors=[{"name": f.name, "points": str(f.points), "text": f.text} for f in baseline.factors],
        evidence=[{"quote": item.quote, "why": item.why} for item in found.evidence], summary=found.summary,
        model=read_by.model if read_by else "", prompt_version=read_by.prompt_version if read_by else "",
        read_until=read_by.read_until if read_by else None,
        activity_count=read_by.activity_count if read_by else lead.activity_count, created_at=written_at,
    )  # fmt: skip
    next_loss = scoring.next_loss(quiet_for) if is_open and lead.merged_into_id is None else None
    lead.score, lead.rescore_at = value, now + next_loss if next_loss is not None else None
    rows.insert_and_update(made, lead, "score", "rescore_at")
    return made
