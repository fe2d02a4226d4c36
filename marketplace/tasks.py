"""Background leaves of the marketplace. The rows are the queue: each task looks for what is due, and may run twice.

Whoever hands something over wakes the task at once, best effort; with Redis away the next poll finds it.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Final

import structlog
from celery import Task, shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError

from crm.models import Heartbeat
from crm.scoping import every_business
from marketplace.services import books, buyers, exports, ingest, inventory, invoices, landing, recalls, webhooks

log = structlog.get_logger(__name__)

_LONGEST_RUN: Final = timedelta(seconds=60)  # half the soft time limit
BOOKS: Final = "marketplace.books"  # the nightly check, by its name in Heartbeat


class MailServerAway(Exception):
    """To be tried again."""


@shared_task
def ingest_files(**_kwargs: Any) -> int:
    """Read uploaded files on, for a minute; the next poll goes on where this one stopped."""
    until = timezone.now() + _LONGEST_RUN
    taken = 0
    while timezone.now() < until and (run := ingest.take_waiting(now=timezone.now())):
        taken += 1
        ingest.work_on(run=run, clock=timezone.now, until=until)
    return taken


@shared_task
def roll_over(**_kwargs: Any) -> dict[str, int]:
    """Put leads into the bucket they have grown into."""
    rolled = inventory.roll_over(now=timezone.now())
    return {"created": rolled.created, "closed": rolled.closed}


@shared_task
def tidy_stock(**_kwargs: Any) -> int:
    return inventory.tidy_stock()


@shared_task
def hear_opt_outs(**_kwargs: Any) -> int:
    """Take those who opted out anywhere off the shelf, and tell their buyers."""
    return recalls.hear_opt_outs(now=timezone.now())


@shared_task
def send_webhooks(**_kwargs: Any) -> dict[str, int]:
    return webhooks.send_due(now=timezone.now())


@shared_task
def make_exports(**_kwargs: Any) -> int:
    """Make the long files that buyers wait for."""
    until = time.monotonic() + _LONGEST_RUN.total_seconds()
    made = 0
    while time.monotonic() < until and exports.take_waiting(now=timezone.now()):
        made += 1
    return made


@shared_task
def land_purchases(**_kwargs: Any) -> int:
    """Put bought leads where their buyers work on them."""
    return landing.land_due(now=timezone.now())


@shared_task
def issue_invoices(**_kwargs: Any) -> int:
    """For every month that has ended on a buyer's calendar."""
    with every_business():
        return len(invoices.issue_due(now=timezone.now()))


@shared_task
def check_everything(**_kwargs: Any) -> int:
    """The daily look at what must always be true: the books, the stock, and nobody on the shelf who is gone."""
    now = timezone.now()
    recalls.look_again(now=now)
    recalls.forget_files(now=now)
    with every_business():
        wrong = [*books.check_books(), *inventory.miscounted()]
    for sentence in wrong:
        log.error("marketplace_check_failed", sentence=sentence)
    Heartbeat.objects.update_or_create(name=BOOKS, defaults={"at": now, "detail": " ".join(wrong)[:200]})
    return len(wrong)


@shared_task(autoretry_for=(MailServerAway,), max_retries=5, retry_backoff=30)
def send_mail(**letter: Any) -> None:
    """One mail to a buyer; when the mail server is away, again a little later."""
    if not buyers.deliver_mail(now=timezone.now(), **letter):
        raise MailServerAway


def wake(task: Task, **kwargs: Any) -> bool:
    """Ask for it to be run now. False: the broker is away."""
    try:
        task.apply_async(kwargs=kwargs)
    except (OperationalError, OSError):
        log.warning("broker_away", task=task.name)
        return False
    return True


def mail_waits(**letter: Any) -> None:
    """Somebody's mail is written: a worker sends it, or without the broker we do."""
    letter = {name: value for name, value in letter.items() if name not in ("signal", "sender")}
    if not wake(send_mail, **letter):
        buyers.deliver_mail(now=timezone.now(), **letter)
