"""Scores: what a lead is worth by the rules, at once, and what reading the conversation adds, a little later.

An assessment is a row. The lead shows the newest; a deal keeps the one that justified it.
"""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.dispatch import Signal

from crm import llm, rows
from crm.models import Business, Message
from crm.scoping import every_business, only
from leads import lifecycle, reading, scoring
from leads.actors import FRONTDESK
from leads.enums import Stage
from leads.models import Assessment, Lead
from leads.queries import talk
from leads.services import pipeline

log = structlog.get_logger(__name__)

MODEL_TIMEOUT: Final = 20.0  # seconds; nobody waits for it in front of a screen
BATCH: Final = 200  # leads in one run of the sweep
LOOK_BACK: Final = timedelta(minutes=10)  # how far the sweep looks for new texts; longer than any worker's pause
wants_reading = Signal()  # somebody asked for a look, and the conversation has not been read as it is


def assess(*, lead: Lead, now: datetime) -> Assessment:
    """Look at a lead in any stage and write down what it is worth.

    The rules answer at once. What the model read before counts on, as long as nothing was said since; otherwise the
    conversation is read again in the background, and that is another assessment.
    """
    with transaction.atomic(savepoint=False):
        lead = pipeline.lock(lead)
        before = _newest(lead)
        known = before if before is not None and before.model and before.activity_count == lead.activity_count else None
        made = _write(lead, _kept(known), read_by=known, now=now)
        if known is None and settings.OPENAI_API_KEY and _has_words(lead):
            transaction.on_commit(functools.partial(wants_reading.send_robust, sender=Lead, lead=lead), robust=True)
    return made


def read_and_assess(*, business: Business, lead_id: UUID, now: datetime) -> Assessment | None:
    """Have the model read the conversation. None: there is nothing new to read, or no model to read it.

    The model is asked with no transaction open. What it says about a conversation that has gone on meanwhile is still
    about that conversation: it is kept, and the next sweep reads the rest.
    """
    with only(business):
        lead = Lead.objects.for_business(business).select_related("customer", "service").filter(pk=lead_id).first()
        if lead is None or not llm.is_available(business=business, now=now):
            return None
        lead.business = business
        before = _newest(lead)
        if before is not None and before.model and before.activity_count == lead.activity_count:
            return None
        lines = talk.lines(lead)
        if not any(line.who != "assistant" for line in lines):
            return None
        counted, read_until = lead.activity_count, lines[-1].at
        answer = llm.ask(
            business=business, purpose="lead_score", instructions=reading.INSTRUCTIONS, shape=reading.ReadingOut, now=now,
            text=reading.material(talk.facts(lead, lines, now=now), lines, most=llm.MAX_INPUT), timeout=MODEL_TIMEOUT,
        )  # fmt: skip
        if answer is None:
            return None
        believed = reading.believed(answer, lines)
        with transaction.atomic():
            lead = pipeline.lock(lead)
            read_by = Assessment(
                model=settings.OPENAI_MODEL, prompt_version=reading.PROMPT_VERSION, read_until=read_until,
                activity_count=counted,
            )  # fmt: skip
            return _write(lead, believed, read_by=read_by, now=now)


def score_due(*, now: datetime, limit: int = BATCH) -> list[tuple[Business, UUID]]:
    """Score leads whose time has come: new ones, those where something was said, those that fell silent. Returns those
    whose conversation the model should read.

    Each is claimed by its row's lock; another worker takes others.
    """
    to_read = []
    with every_business():
        due = Lead.objects.filter(rescore_at__lte=now).order_by("rescore_at").values_list("pk", flat=True)
        waiting = list(due[:limit])
    for pk in waiting:
        with every_business(), transaction.atomic():
            found = Lead.objects.filter(pk=pk, rescore_at__lte=now).select_related("business")
            lead = found.select_for_update(of=("self",), skip_locked=True, no_key=True).first()
            if lead is None:
                continue
            before = _newest(lead)
            fresh = before is not None and before.model and before.activity_count == lead.activity_count
            _write(lead, _kept(before if fresh else None), read_by=before if fresh else None, now=now)
            if not fresh and _has_words(lead) and lead.stage in lifecycle.OPEN:
                to_read.append((lead.business, lead.pk))
    return to_read


def count_activity(*, now: datetime) -> int:
    """Bring the leads of everybody who wrote, or was written to, lately up to date; returns how many changed.

    Counted anew instead of added to, so it may run twice or be late: the count is what is there. A lead that got its
    first answer moves from New to Contacted by itself.
    """
    changed = 0
    with every_business():
        customers = list(
            Message.objects.filter(created_at__gt=now - LOOK_BACK, customer__isnull=False, audience="customer")
            .order_by()
            .values_list("customer", flat=True)
            .distinct()
        )
        leads = Lead.objects.open().standing().values_list("pk", flat=True)
        pks = {*leads.filter(customer__in=customers), *leads.filter(stage=Stage.NEW, first_touch_at__isnull=False)}
    for pk in sorted(pks):
        with every_business(), transaction.atomic():
            lead = Lead.objects.select_for_update(of=("self",), no_key=True).select_related("business").get(pk=pk)
            changed += recount(lead, now=now)
    return changed


def recount(lead: Lead, *, now: datetime) -> bool:
    """Count what happened to a lead; False when nothing is new. The lead is locked by the caller."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"lead": lead.pk, "customer": lead.customer_id, "since": lead.created_at - _SAME_MOMENT})
        count, newest, answered = cursor.fetchone()
    changes: dict[str, Any] = {}
    if count != lead.activity_count:
        changes = {"activity_count": count, "last_activity_at": newest, "rescore_at": pipeline.soon(lead, now=now)}
    if answered is not None and lead.first_touch_at is None:
        changes["first_touch_at"] = answered
    for name, value in changes.items():
        setattr(lead, name, value)
    if changes:
        rows.update(lead, *changes)
    if lead.stage == Stage.NEW and lead.first_touch_at is not None:
        pipeline.change_stage(lead, to=Stage.CONTACTED, by=FRONTDESK, now=now, why="The first answer went out")
        return True
    return bool(changes)


# --- Inside ------------------------------------------------------------------------------------------------------------

_SAME_MOMENT: Final = timedelta(seconds=5)  # the text that made the lead was kept a moment before it
# Texts that were refused or failed were never said.
_COUNT: Final = """
    SELECT count(*), max(at), min(at) FILTER (WHERE ours) FROM (
        SELECT created_at AS at, direction = 'outbound' AS ours FROM crm_message
        WHERE customer_id = %(customer)s AND audience = 'customer' AND created_at >= %(since)s AND author <> 'system'
        AND status NOT IN ('failed', 'refused')
        UNION ALL
        SELECT at, kind <> 'note' FROM leads_leadactivity WHERE lead_id = %(lead)s
    ) AS happened
"""

_NO_READING: Final = reading.Reading(move=Decimal(0), evidence=(), summary="")


def _has_words(lead: Lead) -> bool:
    return bool(lead.activity_count or lead.notes)


def _newest(lead: Lead) -> Assessment | None:
    return rows.first(
        Assessment, "business_id = %s AND lead_id = %s", [lead.business_id, lead.pk], order="created_at DESC, id DESC"
    )


def _kept(before: Assessment | None) -> reading.Reading:
    if before is None:
        return _NO_READING
    evidence = tuple(reading.Evidence(**item) for item in before.evidence)
    return reading.Reading(move=before.reading, evidence=evidence, summary=before.summary)


def _write(lead: Lead, found: reading.Reading, *, read_by: Assessment | None, now: datetime) -> Assessment:
    """One more assessment of a locked lead, which shows it from now on."""
    baseline = scoring.by_rules(
        source=lead.source, has_domain=bool(lead.business_domain), activity_count=lead.activity_count
    )
    is_open = lead.stage in lifecycle.OPEN
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
        activity_count=read_by.activity_count if read_by else lead.activity_count, created_at=now,
    )  # fmt: skip
    rows.insert(made)
    next_loss = scoring.next_loss(quiet_for) if is_open else None
    lead.score, lead.rescore_at = value, now + next_loss if next_loss is not None else None
    rows.update(lead, "score", "rescore_at")
    return made
