"""Background leaves of the switchboard. Each takes ids, makes one call, and may run twice.

Nothing is promised by a task that was sent: the rows are the queue, these are wake-ups. With Redis away or wiped the
next poll finds what is due.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import shared_task
from django.core.cache import cache
from django.utils import timezone
from kombu.exceptions import OperationalError

from telephony import delivery, services
from telephony.gateways import simulated

log = structlog.get_logger(__name__)

_AWAKE = "delivery_awake"


def wake_delivery(**_kwargs: Any) -> None:
    """Somebody queued a text: start a worker now instead of at the next poll.

    At most one wake-up is under way: the worker clears the mark before it looks, so a text committed after that look
    sets it again.
    """
    if not cache.add(_AWAKE, 1, timeout=5):
        return
    _send(deliver_due)


@shared_task(queue="outbound", ignore_result=True)
def deliver_due(**_kwargs: Any) -> dict[str, int]:
    """Send what is due, in small claims so that a dying worker leaves little to ask about."""
    cache.delete(_AWAKE)
    sent = 0
    while claimed := delivery.claim_due(now=timezone.now(), limit=5):
        for message_id in claimed:
            delivery.deliver(message_id, now=timezone.now())
            sent += 1
        if sent >= 100:  # let others have the worker; the rest is a fresh task
            _send(deliver_due)
            break
    return {"sent": sent}


@shared_task(queue="outbound", ignore_result=True)
def sweep_outbox(**_kwargs: Any) -> dict[str, int]:
    """Find out about texts that were claimed and never heard of again."""
    return delivery.sweep(now=timezone.now())


@shared_task(queue="inbound", ignore_result=True)
def read_text(*, event_id: str, **_kwargs: Any) -> bool:
    """Let the language model read one text, and answer it."""
    return services.read_later(event_id, now=timezone.now())


@shared_task(queue="inbound", ignore_result=True)
def sweep_unread(**_kwargs: Any) -> dict[str, int]:
    """Texts left to the model whose wake-up was lost."""
    events = services.unread_events(now=timezone.now())
    for event_id in events:
        services.read_later(event_id, now=timezone.now())
    return {"read": len(events)}


@shared_task(queue="bulk", ignore_result=True)
def move_simulated_texts(**_kwargs: Any) -> int:
    """The demo carrier's clock."""
    return simulated.tick()


def wake_reader(*, event_id: str, **_kwargs: Any) -> None:
    """Ask for a text to be read now; the sweep does it later if this is lost."""
    _send(read_text, event_id=event_id)


def _send(task: Any, **kwargs: Any) -> None:
    try:
        task.apply_async(kwargs=kwargs)
    except (OperationalError, OSError):
        log.warning("broker_away", task=task.name)
