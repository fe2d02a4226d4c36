"""Background leaves of the ground floor."""

from __future__ import annotations

import socket
from typing import Any

from celery import shared_task
from django.utils import timezone

from crm import idempotency
from crm.models import Heartbeat


@shared_task
def heartbeat(**_kwargs: Any) -> None:
    """Beat sent it and a worker ran it: the whole chain is alive."""
    Heartbeat.objects.update_or_create(name="worker", defaults={"at": timezone.now(), "detail": socket.gethostname()})


@shared_task
def forget_old_answers(**_kwargs: Any) -> dict[str, int]:
    return {"deleted": idempotency.forget_old_answers(now=timezone.now())}
