"""Background leaves of the pipeline. The rows are the queue: each task looks for what is due, and may run twice."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone
from kombu.exceptions import OperationalError

from crm.models import Business
from crm.scoping import every_business
from leads.models import Lead
from leads.services import assessing, learning, sales, watching

log = structlog.get_logger(__name__)


@shared_task
def count_activity(**_kwargs: Any) -> int:
    """Bring leads up to date with what was said lately."""
    return assessing.count_activity(now=timezone.now())


@shared_task
def score_due(**_kwargs: Any) -> int:
    """Score what is due, and have conversations read that went on."""
    to_read = assessing.score_due(now=timezone.now())
    for business, lead_id in to_read:
        ask_to_read(business, lead_id)
    return len(to_read)


@shared_task
def read_lead(business_id: str, lead_id: str, **_kwargs: Any) -> bool:
    """Have the model read one conversation; nothing is lost when it does not answer, the next activity asks again."""
    with every_business():
        business = Business.objects.get(pk=business_id)
    return assessing.read_and_assess(business=business, lead_id=UUID(lead_id), now=timezone.now()) is not None


@shared_task
def pass_on_offers(**_kwargs: Any) -> int:
    """Deals nobody accepted in time go to the next salesperson."""
    return sales.pass_on(now=timezone.now())


@shared_task
def tell_late(**_kwargs: Any) -> int:
    """Leads that wait too long for their first answer."""
    return watching.tell_late(now=timezone.now())


@shared_task
def learn_from_outcomes(**_kwargs: Any) -> int:
    """What the leads closed lately teach, for every business with enough of them."""
    return learning.learn_due(now=timezone.now())


def ask_to_read(business: Business, lead_id: UUID) -> None:
    """If there is a model. Best effort: with the broker away the score stays the rules' until the next activity."""
    if not settings.OPENAI_API_KEY:
        return
    try:
        read_lead.apply_async(kwargs={"business_id": str(business.pk), "lead_id": str(lead_id)})
    except (OperationalError, OSError):
        log.warning("broker_away", task=read_lead.name)


def read_soon(lead: Lead, **_kwargs: Any) -> None:
    """Somebody asked for a look at a lead whose conversation went on."""
    ask_to_read(lead.business, lead.pk)
