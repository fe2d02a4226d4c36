"""Background leaves of the calendar."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.utils import timezone

from booking import reminders, services
from crm.scoping import every_business


@shared_task
def release_expired_holds(**_kwargs: Any) -> dict[str, int]:
    """Give back the time of offers nobody answered. Searches ignore such holds before this runs."""
    with every_business():
        return {"released": services.release_expired_holds(now=timezone.now())}


@shared_task
def remind_customers(**_kwargs: Any) -> dict[str, int]:
    """Text the customers of the jobs that come up."""
    with every_business():
        return {"reminded": reminders.send_due(now=timezone.now())}
