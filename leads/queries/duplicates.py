"""Leads that are probably one: of the same customer, or of people with the same e-mail address.

A phone number is one customer's, so the same number is the same customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import BadRequest

from crm import rows
from crm.models import Business, Customer
from leads import lifecycle
from leads.enums import Stage
from leads.models import Lead, LeadMerge

PAGE: Final = 10  # groups
SHOWN: Final = 6  # leads of one group; when some are merged, the rest move up
RECENT: Final = 10  # merges that can be undone
LOOKED_AT: Final = 20_000  # of the newest open leads; older ones are found on the page of a lead
PEOPLE: Final = 20  # with one e-mail address
OTHERS: Final = 20  # leads of theirs


@dataclass(frozen=True)
class Group:
    """Open leads that are probably one. `first` is the one to keep, if nobody knows better; `others` newest first."""

    first: Lead
    others: list[Lead]
    count: int
    same_email: str  # empty: they are all one customer's


@dataclass(frozen=True)
class Groups:
    """`is_all`: every open lead was looked at, not only the newest."""

    shown: list[Group]
    count: int
    after: str
    is_all: bool


def others_of(lead: Lead) -> list[Lead]:
    """Other leads that are probably this one and not ended, with sales or before, the newest first. Two queries at most; none
    without a contact."""
    if lead.customer is None:
        return []
    people = {lead.customer.pk}
    if lead.customer.email:
        # Not empty: so says the index too, and is used only where the question says it as well.
        same = Customer.objects.for_business(lead.business).filter(email__iexact=lead.customer.email).exclude(email="")
        people.update(same.order_by().values_list("pk", flat=True)[:PEOPLE])
    theirs = Lead.objects.for_business(lead.business).filter(customer__in=people, outcome="")
    found = theirs.exclude(stage=Stage.LOST).standing().exclude(pk=lead.pk)
    return list(found.select_related("customer").order_by("-created_at", "-id")[:OTHERS])


# A group's newest lead has place 1, and gives the group its place on the page. Who they are: the customer or, where there is
# one, the e-mail address. People of one customer have one address, so one key is enough.
_GROUPS: Final = """
    WITH newest AS (
        SELECT l.id, l.created_at,
            CASE WHEN c.email = '' THEN c.id::text ELSE 'e-mail:' || lower(c.email) END AS who
        FROM leads_lead l JOIN crm_customer c ON c.id = l.customer_id
        WHERE l.business_id = %(business)s AND l.stage = ANY(%(open)s) AND l.outcome = '' AND l.merged_into_id IS NULL
        ORDER BY l.created_at DESC, l.id DESC LIMIT %(looked_at)s
    ), placed AS (
        SELECT id, created_at, who, count(*) OVER (PARTITION BY who) AS size,
            row_number() OVER (PARTITION BY who ORDER BY created_at DESC, id DESC) AS place
        FROM newest
    ), first AS (
        SELECT * FROM placed WHERE place = 1 AND size > 1
    ), page AS (
        SELECT * FROM first
        WHERE %(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s::timestamptz, %(id)s::uuid)
        ORDER BY created_at DESC, id DESC LIMIT %(page)s
    )
    SELECT groups, leads, page.created_at, page.id, page.size,
        ARRAY(SELECT id FROM placed WHERE placed.who = page.who AND place <= %(shown)s ORDER BY place)
    FROM (SELECT (SELECT count(*) FROM first) AS groups, (SELECT count(*) FROM newest) AS leads) AS all_of_them
    LEFT JOIN page ON TRUE
    ORDER BY page.created_at DESC, page.id DESC
"""


def groups(business: Business, *, after: str = "") -> Groups:
    """Those with the newest lead first, among the newest `LOOKED_AT` open leads. Two queries. Raises BadRequest for an
    `after` none of our pages wrote."""
    at, pk = _place(after)
    asked = {
        "business": business.pk, "open": list(lifecycle.OPEN), "looked_at": LOOKED_AT, "at": at, "id": pk,
        "page": PAGE + 1, "shown": SHOWN,
    }  # fmt: skip
    found = rows.execute(_GROUPS, asked).fetchall()
    count, looked_at, *_ = found[0]  # there is one row even when nothing is found
    shown = [row[2:] for row in found[:PAGE] if row[3] is not None]
    wanted = [pk for *_, ids in shown for pk in ids]
    theirs = Lead.objects.for_business(business).filter(pk__in=wanted)
    leads = {lead.pk: lead for lead in theirs.select_related("customer", "service", "assigned_to")}
    return Groups(
        shown=[_group([leads[pk] for pk in ids], count=size) for _, _, size, ids in shown],
        count=count,
        after=f"{shown[-1][0].isoformat()}~{shown[-1][1]}" if len(found) > PAGE else "",
        is_all=looked_at < LOOKED_AT,
    )


def recent_merges(business: Business) -> list[LeadMerge]:
    """The newest that can be undone."""
    done = LeadMerge.objects.for_business(business).filter(undone_at__isnull=True)
    return list(done.select_related("kept__customer", "dropped__customer", "merged_by")[:RECENT])


# --- Inside ------------------------------------------------------------------------------------------------------------

_STAGES: Final = tuple(lifecycle.LEAD)


def _place(after: str) -> tuple[datetime | None, UUID | None]:
    if not after:
        return None, None
    at, _, pk = after.rpartition("~")
    try:
        place = datetime.fromisoformat(at), UUID(pk)
    except ValueError as error:
        raise BadRequest("This address holds a place in the list that does not exist.") from error
    if place[0].tzinfo is None:
        raise BadRequest("This address holds a place in the list that does not exist.")
    return place


def _group(leads: list[Any], *, count: int) -> Group:
    first = max(leads, key=_weight)
    people = {lead.customer_id for lead in leads}
    return Group(
        first=first,
        others=[lead for lead in leads if lead.pk != first.pk],
        count=count,
        same_email=leads[0].customer.email if len(people) > 1 else "",
    )


def _weight(lead: Lead) -> tuple[int, int, float]:
    return _STAGES.index(lead.stage), lead.activity_count, -lead.created_at.timestamp()
