"""What a business's own outcomes teach: learned at night from its closed leads, shown beside the rules.

A chance changes nothing: neither the score nor the gate nor a stage. It may be shown, and it may be wrong in plain sight.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.db.models import Count, F, Q
from django.db.models.functions import Coalesce, Least

from crm import rows
from crm.enums import BusinessStatus
from crm.models import Business
from crm.scoping import every_business, only
from leads import learning, lifecycle, scoring
from leads.enums import ModelVerdict, Outcome
from leads.models import Lead, OutcomeModel
from leads.reading import Line

log = structlog.get_logger(__name__)

AGAIN_AFTER: Final = 20  # newly closed leads
KEPT: Final = 20  # models of a business, the newest
MOST: Final = 5_000  # closed leads to learn from, the newest: customers change
LOOKED_AT: Final = 500  # open leads, on the page
_SEED: Final = 1  # the same leads teach the same


@dataclass(frozen=True, slots=True)
class Closed:
    """How many leads there are to learn from."""

    won: int
    lost: int

    @property
    def count(self) -> int:
        return self.won + self.lost


@dataclass(frozen=True, slots=True)
class Look:
    """What the chances say of one lead, beside what became of all (`average`), 0 to 1."""

    chance: float
    average: float
    closed: int  # leads that taught it
    reasons: tuple[learning.Reason, ...]
    lead: Lead | None = None


def learn(*, business: Business, now: datetime) -> OutcomeModel:
    """Learn from everything that is closed, and write down what came of it, also when that is nothing."""
    with only(business):
        newest = _decided(business).order_by("-closed_at", "-id")[:MOST]
        closed: dict[Any, str] = dict(newest.values_list("pk", "outcome"))
        facts = facts_of(business, list(closed))
        examples = [
            learning.Example(features=learning.features(facts[pk]), won=outcome == Outcome.WON)
            for pk, outcome in closed.items()
        ]
        found = learning.train(examples, _SEED)
        made = OutcomeModel(business=business, trained_at=now, won=found.won, lost=found.lost)
        if isinstance(found, learning.TooFew):
            made.verdict = ModelVerdict.TOO_FEW
        else:
            made.verdict = ModelVerdict.USEFUL if found.is_useful else ModelVerdict.NO_BETTER
            made.parameters, made.brier, made.base_brier = found.parameters, found.brier, found.base_brier
            made.curve = [asdict(tenth) for tenth in found.curve]
        made.save()
        kept = OutcomeModel.objects.for_business(business).values("pk")[:KEPT]
        OutcomeModel.objects.for_business(business).exclude(pk__in=list(kept.values_list("pk", flat=True))).delete()
    log.info("learned_from_outcomes", tenant_id=business.slug, verdict=str(made.verdict), won=made.won, lost=made.lost)
    return made


def learn_due(*, now: datetime) -> int:
    """Learn for every business where enough was closed since the last time; returns for how many. Run by the timetable."""
    learned = 0
    with every_business():
        due = list(Business.objects.raw(_DUE, {"active": BusinessStatus.ACTIVE, "enough": AGAIN_AFTER}))
    for business in due:
        try:
            learn(business=business, now=now)
            learned += 1
        except Exception:  # one business must not hold up the others; the next night tries again
            log.exception("learning_broke_down", tenant_id=business.slug)
    return learned


def closed_so_far(business: Business) -> Closed:
    """What there is to learn from at the moment."""
    return Closed(
        **_decided(business).aggregate(
            won=Count("pk", filter=Q(outcome=Outcome.WON)), lost=Count("pk", filter=Q(outcome=Outcome.LOST))
        )
    )


def newest_model(business: Business) -> OutcomeModel | None:
    model: OutcomeModel | None = OutcomeModel.objects.for_business(business).order_by("-trained_at", "-id").first()
    return model


def look_at(lead: Lead, *, now: datetime) -> Look | None:
    """What the newest model says of a lead, and why; None when it has nothing to say. One query."""
    if not _is_asked_about(lead, now=now):
        return None
    cursor = rows.execute(_FACTS_AND_MODEL, {"business": lead.business_id, "leads": [lead.pk]})
    found = cursor.fetchone()
    if found is None:
        return None
    *values, parameters, verdict, won, lost = found
    model = OutcomeModel(parameters=json.loads(parameters), verdict=verdict, won=won, lost=lost)
    return _look(model, _facts(lead.business, values)) if _speaks(model) else None


def against_the_rules(business: Business, model: OutcomeModel, *, now: datetime, most: int = 5) -> list[Look]:
    """Open leads that the rules would still nurture and that end well more often than the average, the best first.

    Looks at the newest `LOOKED_AT` of them. Two queries.
    """
    if not _speaks(model):
        return []
    found = Lead.objects.for_business(business).standing().open().filter(score__lt=scoring.GATE)
    found = found.filter(created_at__lte=now - learning.AGE).select_related("customer")
    leads = {lead.pk: lead for lead in found.order_by("-created_at", "-id")[:LOOKED_AT]}
    looks = [
        replace(_look(model, facts), lead=leads[pk]) for pk, facts in facts_of(business, list(leads)).items()
    ]  # fmt: skip
    better = [look for look in looks if look.chance > look.average]
    return sorted(better, key=lambda look: -look.chance)[:most]


def facts_of(business: Business, leads: Sequence[UUID]) -> dict[UUID, learning.LeadFacts]:
    """As they stood when they were `learning.AGE` old. One query, however many."""
    cursor = rows.execute(_FACTS, {"business": business.pk, "leads": list(leads)})
    return {values[0]: _facts(business, values) for values in cursor.fetchall()}


# --- Inside ------------------------------------------------------------------------------------------------------------


def _decided(business: Business) -> Any:
    """Closed leads that were still being worked on at the age at which leads are looked at."""
    closed = Lead.objects.for_business(business).standing().exclude(outcome="")
    left = Least("closed_at", Coalesce("deals__created_at", "closed_at"))
    return closed.annotate(left=left).filter(left__gt=F("created_at") + learning.AGE)


def _speaks(model: OutcomeModel) -> bool:
    return model.verdict == ModelVerdict.USEFUL and model.parameters.get("version") == learning.VERSION


def _is_asked_about(lead: Lead, *, now: datetime) -> bool:
    return lead.stage in lifecycle.OPEN and not lead.outcome and lead.created_at + learning.AGE <= now


def _look(model: OutcomeModel, facts: learning.LeadFacts) -> Look:
    return Look(
        chance=learning.chance(model.parameters, facts), average=model.parameters["base_rate"],
        closed=model.won + model.lost, reasons=tuple(learning.explain(model.parameters, facts)),
    )  # fmt: skip


def _facts(business: Business, values: Sequence[Any]) -> learning.LeadFacts:
    _, source, created_at, has_line, has_contact, price, said_by, said_at = values
    happened = [Line(who=who, text="", at=at) for who, at in zip(said_by or (), said_at or (), strict=True)]
    return learning.as_it_stood(
        happened, source=source, came_at=created_at.astimezone(business.zone), has_line=has_line,
        has_contact=has_contact, price=price,
    )  # fmt: skip


# Everything by its own date, up to the moment at which the lead was as old as leads are when they are looked at. A service
# that was filled in or changed later counts as it was before: the audit and the merges remember.
_FACTS: Final = f"""
    WITH looked_at AS MATERIALIZED (
        SELECT id, number, source, customer_id, service_id, created_at,
            created_at + interval '{learning.AGE // timedelta(seconds=1)} seconds' AS moment
        FROM leads_lead WHERE business_id = %(business)s AND id = ANY(%(leads)s)
    ), edited AS MATERIALIZED (
        SELECT target, at, changes -> 'service' ->> 0 AS before FROM crm_auditevent
        WHERE business_id = %(business)s AND at > (SELECT min(moment) FROM looked_at)
        AND action = 'lead edited' AND changes ? 'service'
    )
    SELECT l.id, l.source, l.created_at,
        coalesce((
            SELECT jsonb_path_exists(a.factors, '$[*] ? (@.name == "domain" && @.points != "0")') FROM leads_assessment a
            WHERE a.lead_id = l.id AND a.created_at <= l.moment ORDER BY a.created_at DESC, a.id DESC LIMIT 1
        ), FALSE),
        c.id IS NOT NULL AND NOT coalesce(merge.gave_contact, FALSE),
        CASE
            WHEN edit.target IS NOT NULL THEN (
                SELECT price_low FROM booking_service s WHERE s.business_id = %(business)s AND s.name = edit.before
            )
            WHEN merge.gave_service THEN NULL
            ELSE (SELECT price_low FROM booking_service s WHERE s.id = l.service_id)
        END,
        said.who, said.at
    FROM looked_at l
    LEFT JOIN crm_customer c ON c.id = l.customer_id AND c.created_at <= l.moment
    LEFT JOIN LATERAL (SELECT * FROM edited WHERE target = 'lead ' || l.number AND at > l.moment ORDER BY at LIMIT 1) edit
        ON TRUE
    LEFT JOIN LATERAL (
        SELECT bool_or(filled ? 'service_id') AS gave_service, bool_or(filled ? 'customer_id') AS gave_contact
        FROM leads_leadmerge WHERE kept_id = l.id AND merged_at > l.moment AND undone_at IS NULL
    ) merge ON TRUE
    LEFT JOIN LATERAL (
        SELECT array_agg(who ORDER BY happened.at) AS who, array_agg(happened.at ORDER BY happened.at) AS at FROM (
            SELECT author AS who, created_at AS at FROM crm_message
            WHERE customer_id = l.customer_id AND audience = 'customer' AND author <> 'system'
            AND status NOT IN ('failed', 'refused') AND created_at BETWEEN l.created_at - interval '5 seconds' AND l.moment
            UNION ALL
            SELECT CASE kind WHEN 'note' THEN 'note' ELSE 'staff' END, at FROM leads_leadactivity
            WHERE lead_id = l.id AND created_at <= l.moment
        ) happened
    ) said ON TRUE
"""  # noqa: S608 - the one value put in is a number of ours
_FACTS_AND_MODEL: Final = f"""
    SELECT facts.*, m.parameters, m.verdict, m.won, m.lost FROM ({_FACTS}) facts, (
        SELECT parameters, verdict, won, lost FROM leads_outcomemodel WHERE business_id = %(business)s
        ORDER BY trained_at DESC, id DESC LIMIT 1
    ) m
"""  # noqa: S608 - put together from words of ours
_DUE: Final = """
    SELECT b.* FROM crm_business b
    LEFT JOIN LATERAL (
        SELECT trained_at FROM leads_outcomemodel WHERE business_id = b.id ORDER BY trained_at DESC, id DESC LIMIT 1
    ) last ON TRUE
    WHERE b.status = %(active)s AND %(enough)s <= (
        SELECT count(*) FROM leads_lead WHERE business_id = b.id AND outcome <> ''
        AND closed_at > coalesce(last.trained_at, '-infinity')
    )
    ORDER BY b.id
"""
