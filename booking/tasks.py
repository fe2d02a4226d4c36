"""Background leaves of the calendar."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.utils import timezone

from booking import services
from crm.scoping import every_business


@shared_task(queue="inbound", ignore_result=True)
def release_expired_holds(**_kwargs: Any) -> dict[str, int]:
    """Give back the time of offers nobody answered. Searches ignore such holds before this runs."""
    with every_business():
        return {"released": services.release_expired_holds(now=timezone.now())}
