"""Leads on their way and people who sell, for tests; and what must be true of both at any moment, asked of the tables in
words of our own: none of the services that keep it true has a say here.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any, Final

from django.db import connection

from crm.enums import Role
from crm.models import Business, Customer, User
from crm.services import add_member
from leads.actors import By
from leads.enums import LeadSource, Stage
from leads.models import Deal, Lead, Salesperson
from leads.services import assessing, pipeline, sales

_NUMBERS: Final = count(1)


def a_lead(shop: Business, by: By, now: datetime, **fields: Any) -> Lead:
    """A partner's, in the first line of business: 0.60 at first sight."""
    wanted: dict[str, Any] = {"source": LeadSource.PARTNER, "domain": "first"} | fields
    return pipeline.add_lead(business=shop, by=by, now=now, **wanted)


def qualified(shop: Business, by: By, now: datetime, **fields: Any) -> Lead:
    lead = a_lead(shop, by, now, **fields)
    assessing.assess(lead=lead, now=now)
    for stage in (Stage.CONTACTED, Stage.QUALIFIED):
        lead = pipeline.move(lead=lead, to=stage, by=by, now=now)
    return lead


def a_deal(shop: Business, by: By, now: datetime, **fields: Any) -> Deal:
    return sales.transfer(lead=qualified(shop, by, now, **fields), by=by, now=now, value=Decimal(900))


def a_person(shop: Business, name: str, *, role: Role = Role.STAFF) -> User:
    user: User = User.objects.create_user(f"{name.lower().replace(' ', '.')}.{next(_NUMBERS)}@example.com", name=name)
    add_member(business=shop, user=user, role=role)
    return user


def a_salesperson(shop: Business, user: User, now: datetime, **fields: Any) -> Salesperson:
    found: Salesperson = Salesperson.objects.create(business=shop, user=user, created_at=now, **fields)
    return found


def a_customer(shop: Business, name: str = "", *, phone: bool = True) -> Customer:
    number = next(_NUMBERS)
    address = f"+1555123{number:04d}" if phone else None
    found: Customer = Customer.objects.create(business=shop, name=name or f"Jane {number}", phone=address)
    return found


# --- What must be true -------------------------------------------------------------------------------------------------

_MOVES: Final = "('new','contacted'), ('contacted','qualified'), ('qualified','transferred'), ('new','lost'),"
_MOVES_OF_A_LEAD: Final = _MOVES + " ('contacted','lost'), ('qualified','lost')"
_MOVES_OF_A_DEAL: Final = """('new','kyc'), ('kyc','agreement'), ('agreement','paid'),
    ('new','lost'), ('kyc','lost'), ('agreement','lost')"""
_PATH: Final = """
    SELECT 1 FROM (SELECT c.*, {begun} AS begun,
            lag(c.new) OVER w AS stage_before, lag(c.at) OVER w AS at_before, lead(c.id) OVER w IS NULL AS is_last,
            t.stage, t.stage_since AS standing_since
        FROM leads_stagechange c JOIN {table} t ON {join} WHERE c.is_deal = {is_deal}
        WINDOW w AS (PARTITION BY c.lead_id ORDER BY c.at, c.id)) AS c
    WHERE (c.old, c.new) NOT IN ({moves}) OR c.old <> coalesce(c.stage_before, 'new') OR c.at < c.since
        OR c.since <> coalesce(c.at_before, c.begun)
        OR (c.is_last AND (c.new, c.at) IS DISTINCT FROM (c.stage, c.standing_since))"""
_MOVED: Final = "EXISTS (SELECT FROM leads_stagechange c WHERE c.lead_id = l.id AND c.is_deal = {is_deal})"

# A sentence, and the rows that give it the lie.
TRUTHS: Final = {
    "a lead is with sales if there is a deal of it, and there is one": """
        SELECT 1 FROM leads_lead l LEFT JOIN leads_deal d ON d.lead_id = l.id GROUP BY l.id, l.stage
        HAVING (l.stage = 'transferred')::int <> count(d.id)""",
    "a deal rests on an assessment of its own lead that was good enough": """
        SELECT 1 FROM leads_deal d JOIN leads_assessment a ON a.id = d.assessment_id
        WHERE a.lead_id <> d.lead_id OR a.score < 0.6""",
    "a lead shows the score of its newest assessment": """
        SELECT 1 FROM leads_lead l LEFT JOIN LATERAL (SELECT score FROM leads_assessment a WHERE a.lead_id = l.id
            ORDER BY a.created_at DESC, a.id DESC LIMIT 1) AS newest ON true
        WHERE l.score IS DISTINCT FROM newest.score""",
    "the stages of a lead are a way through the table": _PATH.format(
        begun="t.created_at", table="leads_lead", join="t.id = c.lead_id", is_deal="false", moves=_MOVES_OF_A_LEAD
    ),
    "the stages of a deal are a way through the table": _PATH.format(
        begun="t.created_at", table="leads_deal", join="t.lead_id = c.lead_id", is_deal="true", moves=_MOVES_OF_A_DEAL
    ),
    "whatever is not new any more has moved": f"""
        SELECT 1 FROM leads_lead l LEFT JOIN leads_deal d ON d.lead_id = l.id
        WHERE (l.stage <> 'new') <> {_MOVED.format(is_deal="false")}
            OR coalesce(d.stage <> 'new', false) <> {_MOVED.format(is_deal="true")}""",  # noqa: S608 - words of our own
    "a lead has ended when it was lost or its deal has, and says how": """
        SELECT 1 FROM leads_lead l LEFT JOIN leads_deal d ON d.lead_id = l.id
        WHERE (l.outcome = '') <> (l.closed_at IS NULL)
            OR l.outcome <> CASE WHEN l.stage = 'lost' OR d.stage = 'lost' THEN 'lost' WHEN d.stage = 'paid' THEN 'won'
                WHEN l.stage = 'transferred' THEN '' ELSE l.outcome END
            OR (d.id IS NOT NULL AND d.closed_at IS DISTINCT FROM l.closed_at)""",
    "a deal is held out to one person at most, and to nobody once it is taken or over": """
        SELECT 1 FROM leads_dealoffer o JOIN leads_deal d ON d.id = o.deal_id WHERE o.status = 'open'
        GROUP BY d.id HAVING count(*) > 1 OR bool_or(d.owner_id IS NOT NULL OR d.closed_at IS NOT NULL)""",
    "an offer is answered or open; one that was accepted has an owner": """
        SELECT 1 FROM leads_dealoffer o JOIN leads_deal d ON d.id = o.deal_id
        WHERE (o.status = 'open') <> (o.answered_at IS NULL) OR (o.status = 'accepted' AND d.owner_id IS NULL)""",
    "nobody is asked twice about one deal": """
        SELECT 1 FROM leads_dealoffer GROUP BY deal_id, salesperson_id HAVING count(*) > 1""",
    "a deal somebody owns was accepted": """
        SELECT 1 FROM leads_deal WHERE (owner_id IS NULL) <> (accepted_at IS NULL)""",
    "a merged lead has a merge that stands, and nothing is left at it": """
        SELECT 1 FROM leads_lead l LEFT JOIN leads_leadmerge m ON m.dropped_id = l.id AND m.undone_at IS NULL
        WHERE l.merged_into_id IS DISTINCT FROM m.kept_id OR (m.id IS NOT NULL AND (l.stage = 'transferred'
            OR EXISTS (SELECT FROM leads_leadactivity a WHERE a.lead_id = l.id)
            OR EXISTS (SELECT FROM leads_proposal p WHERE p.lead_id = l.id)
            OR EXISTS (SELECT FROM crm_task t WHERE t.about = 'lead:' || l.id AND t.done_at IS NULL)))""",
    "the activities of a lead in work are what is there": """
        SELECT 1 FROM leads_lead l WHERE l.merged_into_id IS NULL AND l.outcome = '' AND l.stage <> 'transferred'
            AND l.activity_count <> (SELECT count(*) FROM leads_leadactivity a WHERE a.lead_id = l.id)
            + (SELECT count(*) FROM crm_message m WHERE m.customer_id = l.customer_id AND m.audience = 'customer'
                AND m.author <> 'system' AND m.status NOT IN ('failed', 'refused')
                AND m.created_at >= l.created_at - interval '5 seconds')""",
    "nobody was answered before they came": "SELECT 1 FROM leads_lead WHERE first_touch_at < created_at",
}  # fmt: skip


def untruths() -> list[str]:
    """Every sentence that is not true just now."""
    sql = " UNION ALL ".join(f"(SELECT %s AS said WHERE EXISTS ({lie}))" for lie in TRUTHS.values())
    with connection.cursor() as cursor:
        cursor.execute(sql, list(TRUTHS))
        return [said for (said,) in cursor.fetchall()]


_TABLES: Final = (
    "leads_lead", "leads_leadactivity", "leads_proposal", "leads_stagechange", "leads_assessment", "leads_deal",
    "leads_dealoffer", "leads_leadmerge", "leads_salesperson", "crm_customer", "crm_customermerge", "crm_task",
    "crm_activity", "crm_message", "crm_allowance", "crm_auditevent",
)  # fmt: skip
_DIGEST: Final = (
    "(SELECT '{0}', count(*) || ' ' || coalesce(md5(string_agg(t::text, '~' ORDER BY t::text)), '') FROM {0} t)"
)


def everything() -> dict[str, str]:
    """A digest of each table that something here writes to."""
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(_DIGEST.format(table) for table in _TABLES))
        return dict(cursor.fetchall())


_PLACES: Final = {
    "leads_lead": "rescore_at", "leads_leadactivity": "", "leads_proposal": "", "crm_customer": "", "crm_task": "",
    "crm_message": "", "crm_conversation": "", "leads_deal": "", "leads_dealoffer": "", "leads_stagechange": "",
}  # fmt: skip
_ROWS: Final = "(SELECT '{0}', (to_jsonb(t) - '{1}')::text FROM {0} t)"


def as_it_was() -> set[tuple[str, str]]:
    """Every row a merge may touch, without the moment at which a lead is looked at again."""
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(_ROWS.format(table, without) for table, without in _PLACES.items()))
        return set(cursor.fetchall())
