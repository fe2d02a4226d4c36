"""Background leaves of the switchboard. Each takes ids, makes one call, and may run twice.

Nothing is promised by a task that was sent: the rows are the queue, these are wake-ups. With Redis away or wiped the
next poll finds what is due.
"""

from __future__ import annotations

import time
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
# Seconds; half the soft time limit, so that nobody is stopped between the carrier's yes and our writing it down.
_LONGEST_RUN = 60.0
_PAUSE = 5.0  # seconds without wake-ups after Redis was away; the poll finds the rows
_broker_back = 0.0  # monotonic; each process learns for itself


def wake_delivery(**_kwargs: Any) -> None:
    """Somebody queued a text: start a worker now instead of at the next poll.

    At most one wake-up is under way: the worker clears the mark before it looks, so a text committed after that look
    sets it again.
    """
    if _broker_is_away() or not cache.add(_AWAKE, 1, timeout=5):
        return
    _send(deliver_due)


@shared_task
def deliver_due(**_kwargs: Any) -> dict[str, int]:
    """Send what is due. Claimed one by one: no claim grows old while the carrier takes its time over the one before,
    and a dying worker leaves one text to ask about."""
    cache.delete(_AWAKE)
    until = time.monotonic() + _LONGEST_RUN
    taken = 0
    while claimed := delivery.claim_due(now=timezone.now(), limit=1):
        taken += 1
        try:
            delivery.deliver(claimed[0], now=timezone.now())
        except Exception:  # one text must not hold up the others; the sweep asks about it
            log.exception("delivery_broke_down", message_id=claimed[0])
        if taken >= 100 or time.monotonic() > until:  # let others have the worker; the rest is a fresh task
            _send(deliver_due)
            break
    return {"taken": taken}


@shared_task
def sweep_outbox(**_kwargs: Any) -> dict[str, int]:
    """Find out about texts that were claimed and never heard of again."""
    return delivery.sweep(now=timezone.now())


@shared_task
def read_text(*, event_id: str, **_kwargs: Any) -> bool:
    """Let the language model read one text, and answer it."""
    return services.read_later(event_id, now=timezone.now())


@shared_task
def sweep_unread(**_kwargs: Any) -> dict[str, int]:
    """Texts left to the model whose wake-up was lost."""
    until = time.monotonic() + _LONGEST_RUN
    read = 0
    for event_id in services.unread_events(now=timezone.now()):
        if time.monotonic() > until:
            break
        try:
            read += services.read_later(event_id, now=timezone.now())
        except Exception:  # one text must not hold up the others
            log.exception("reading_broke_down", event_id=event_id)
    return {"read": read}


@shared_task
def move_simulated_texts(**_kwargs: Any) -> int:
    """The demo carrier's clock."""
    return simulated.tick()


def wake_reader(*, event_id: str, **_kwargs: Any) -> None:
    """Ask for a text to be read now; the sweep does it later if this is lost."""
    _send(read_text, event_id=event_id)


def _send(task: Any, **kwargs: Any) -> None:
    """Best effort, and quick: somebody's request is waiting. After one failure nobody tries for a few seconds."""
    global _broker_back
    if _broker_is_away():
        return
    try:
        task.apply_async(kwargs=kwargs)
    except (OperationalError, OSError):
        _broker_back = time.monotonic() + _PAUSE
        log.warning("broker_away", task=task.name)


def _broker_is_away() -> bool:
    return time.monotonic() < _broker_back
