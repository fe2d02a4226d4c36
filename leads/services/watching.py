"""Leads that wait too long for their first answer: somebody is told, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Count, Min

from crm import messaging, rows
from crm.enums import BusinessStatus
from crm.models import Business
from crm.phones import pretty
from crm.scoping import every_business, only
from crm.wording import say_noun
from leads import hours
from leads.enums import UNSOLICITED
from leads.models import Lead
from leads.queries.today import untouched
from leads.services import pipeline
from leads.services.assigning import settings_of

_NOT_OLDER: Final = timedelta(days=3)  # of a lead nobody was told of; longer ago, an alarm helps nobody
_MOST: Final = 100  # of one business in one run


def tell_late(*, now: datetime) -> int:
    """Text the owner about leads without an answer beyond the business's own limit, once for all of them; returns how many
    there are to tell of. At night it waits until the morning. Today shows them anyway, with how long they wait."""
    told = 0
    with every_business():
        since = now - _NOT_OLDER
        waiting = Lead.objects.untouched().filter(late_told_at__isnull=True, created_at__gt=since).order_by()
        ids = set(waiting.exclude(source__in=UNSOLICITED).values_list("business", flat=True).distinct())
        businesses = list(Business.objects.filter(pk__in=ids, status=BusinessStatus.ACTIVE))
    for business in businesses:
        if hours.is_awake(now, business.zone):
            with only(business), transaction.atomic():
                told += _tell_of(business, now=now)
    return told


def _tell_of(business: Business, *, now: datetime) -> int:
    """One run at a time, or each would send a text."""
    claim = rows.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [f"late leads {business.pk}"])
    if claim.fetchone() != (True,):
        return 0
    limit = timedelta(minutes=settings_of(business).answer_minutes)
    late = untouched(business).filter(created_at__lte=now - limit, created_at__gt=now - _NOT_OLDER)
    # A lead somebody has in their hands is left to the next run: to wait for one while holding others may go in a circle.
    free = late.filter(late_told_at__isnull=True).select_for_update(of=("self",), skip_locked=True, no_key=True)
    leads = list(free[:_MOST])
    Lead.objects.for_business(business).filter(pk__in=[lead.pk for lead in leads]).update(late_told_at=now)
    if len(leads) == 1:
        lead = leads[0]
        lead.business = business
        messaging.alert_owner(
            business=business, body=_title(lead, now=now), now=now, customer=lead.customer, about=f"lead:{lead.pk}"
        )
    elif leads:
        all_of_them = late.order_by().aggregate(count=Count("pk"), first=Min("created_at"))
        wait = _said(now - all_of_them["first"])
        body = f"{all_of_them['count']} leads wait for an answer, the first for {wait}."
        messaging.alert_owner(business=business, body=body, now=now)
    return len(leads)


def _title(lead: Lead, *, now: datetime) -> str:
    """Who, at what number, for how long, and what for; a health business's texts never say that."""
    number = f" {pretty(lead.person.phone)}" if lead.person.phone and lead.person.name else ""
    wish = f" “{lead.asked_for[:60]}”" if lead.asked_for and not lead.business.private_health else ""
    return f"Answer {pipeline.who(lead)}{number}: they have waited {_said(now - lead.created_at)}.{wish}"


def _said(wait: timedelta) -> str:
    """“12 minutes”; above an hour and a half in hours, rounded."""
    minutes = int(wait.total_seconds() // 60)
    if minutes > 90:
        return f"{(minutes + 30) // 60} hours"
    return f"{minutes} {say_noun(minutes, 'minute', 'minutes')}"
