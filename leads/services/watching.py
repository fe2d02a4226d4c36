"""Leads that wait too long for their first answer: somebody is told, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from crm import messaging
from crm.enums import BusinessStatus, TaskReason
from crm.models import Business
from crm.scoping import every_business, only
from crm.services import add_task
from leads.enums import UNSOLICITED, Stage
from leads.models import Lead
from leads.queries.today import untouched
from leads.services import pipeline
from leads.services.assigning import settings_of

_AWAKE: Final = range(7, 21)  # hours of the business's own clock in which somebody can answer a lead
_NOT_OLDER: Final = timedelta(days=3)  # of a lead nobody was told of; longer ago, an alarm helps nobody
_MOST: Final = 20  # of one business in one run


def tell_late(*, now: datetime) -> int:
    """Put every lead without an answer beyond the business's own limit on Today, and text the owner; returns how many.
    At night it waits until the morning."""
    told = 0
    with every_business():
        since = now - _NOT_OLDER
        waiting = Lead.objects.untouched().filter(late_told_at__isnull=True, created_at__gt=since).order_by()
        ids = set(waiting.exclude(source__in=UNSOLICITED).values_list("business", flat=True).distinct())
        businesses = list(Business.objects.filter(pk__in=ids, status=BusinessStatus.ACTIVE))
    for business in businesses:
        if now.astimezone(business.zone).hour in _AWAKE:
            with only(business):
                told += _tell_of(business, now=now)
    return told


def _tell_of(business: Business, *, now: datetime) -> int:
    limit = timedelta(minutes=settings_of(business).answer_minutes)
    new = untouched(business).filter(stage=Stage.NEW, merged_into__isnull=True, late_told_at__isnull=True)
    late = new.filter(created_at__lte=now - limit, created_at__gt=now - _NOT_OLDER)
    told = 0
    for lead in late[:_MOST]:
        with transaction.atomic():
            if not late.filter(pk=lead.pk).update(late_told_at=now):  # told, answered or moved in this moment
                continue
            minutes = int((now - lead.created_at).total_seconds() // 60)
            title = f"Answer {pipeline.who(lead)}: they have waited {minutes} minutes."
            add_task(
                business=business, customer=lead.customer, reason=TaskReason.LEAD_WAITS, title=title, now=now,
                about=f"lead:{lead.pk}",
            )  # fmt: skip
            messaging.alert_owner(
                business=business, body=title, now=now, customer=lead.customer, about=f"lead:{lead.pk}"
            )
            told += 1
    return told
