"""Leads that are probably one: of the same customer, or of people with the same e-mail address.

A phone number is one customer's, so the same number is the same customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Case, CharField, Count, F, Q, QuerySet, Value, When, Window
from django.db.models.functions import Cast, Concat, Lower, RowNumber

from crm import paging
from crm.models import Business
from leads import lifecycle
from leads.models import Lead, LeadMerge

PAGE: Final = 10  # groups
SHOWN: Final = 6  # leads of one group; when some are merged, the rest move up
RECENT: Final = 10  # merges that can be undone


@dataclass(frozen=True)
class Group:
    """Open leads that are probably one. `first` is the one to keep, if nobody knows better; `others` newest first."""

    first: Lead
    others: list[Lead]
    count: int
    same_email: str  # empty: they are all one customer's


@dataclass(frozen=True)
class Groups:
    shown: list[Group]
    count: int
    after: str


def others_of(lead: Lead) -> list[Lead]:
    """Other leads somebody still works on that are probably this one, newest first. One query; none without a contact."""
    if lead.customer is None:
        return []
    same = Q(customer=lead.customer_id)
    if lead.customer.email:
        same |= Q(customer__email__iexact=lead.customer.email)
    found = Lead.objects.for_business(lead.business).filter(same).open().standing().exclude(pk=lead.pk)
    return list(found.select_related("customer").order_by("-created_at", "-id"))


def groups(business: Business, *, after: str = "") -> Groups:
    """Those with the newest lead first. Three queries. Raises BadRequest for an `after` none of our pages wrote."""
    placed = _placed(business)
    newest = Lead.objects.for_business(business).filter(pk__in=placed.filter(place=1, size__gt=1).values("pk"))
    page = paging.stretch(newest.annotate(who=_who()), by="-created_at", after=after, size=PAGE)
    keys = [row.who for row in page.rows]
    by_key: dict[str, list[Any]] = {key: [] for key in keys}
    of_these = placed.filter(who__in=keys) if keys else placed.none()
    for lead in of_these.filter(place__lte=SHOWN).select_related("customer", "service", "assigned_to"):
        by_key[lead.who].append(lead)
    return Groups(
        shown=[_group(sorted(leads, key=lambda row: row.place)) for leads in by_key.values()],
        count=newest.count(),
        after=page.after,
    )


def recent_merges(business: Business) -> list[LeadMerge]:
    """The newest that can be undone."""
    rows = LeadMerge.objects.for_business(business).filter(undone_at__isnull=True)
    return list(rows.select_related("kept__customer", "dropped__customer", "merged_by")[:RECENT])


def better_to_keep(one: Lead, other: Lead) -> Lead:
    """The one that has come further, has more to it, or was there first."""
    return max((one, other), key=_weight)


# --- Inside ------------------------------------------------------------------------------------------------------------

_STAGES: Final = tuple(lifecycle.LEAD)


def _who() -> Case:
    """The same for all leads that are probably one. People of one customer have one address, so one key is enough."""
    return Case(
        When(customer__email="", then=Cast("customer", CharField())),
        default=Concat(Value("e-mail:"), Lower("customer__email")),
        output_field=CharField(),
    )


def _placed(business: Business) -> QuerySet[Any]:
    """Every open lead with somebody behind it: `who`, its `place` among theirs (1 is the newest) and how many there are."""
    rows = Lead.objects.for_business(business).open().standing().filter(customer__isnull=False)
    return rows.annotate(
        who=_who(),
        place=Window(RowNumber(), partition_by=_who(), order_by=[F("created_at").desc(), F("pk").desc()]),
        size=Window(Count("pk"), partition_by=_who()),
    )


def _group(leads: list[Any]) -> Group:
    first = max(leads, key=_weight)
    people = {lead.customer_id for lead in leads}
    return Group(
        first=first,
        others=[lead for lead in leads if lead.pk != first.pk],
        count=leads[0].size,
        same_email=leads[0].customer.email if len(people) > 1 else "",
    )


def _weight(lead: Lead) -> tuple[int, int, float]:
    return _STAGES.index(lead.stage), lead.activity_count, -lead.created_at.timestamp()
