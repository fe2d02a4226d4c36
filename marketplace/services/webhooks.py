"""Messages to buyers' own systems: signed, tried for about three days, and at least once.

A delivery is a row; sending is claimed by update, so two workers send it once and one that dies leaves it to the next.
Messages may come twice and out of order: receivers tell them apart by `Frontdesk-Delivery`, which a repeat keeps.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from crm import rows
from crm.models import Business, User
from crm.scoping import every_business
from crm.security import seal, unseal
from crm.services import Refused, audit
from marketplace import outgoing, signing
from marketplace.enums import DeliveryStatus
from marketplace.models import Buyer, WebhookDelivery

log = structlog.get_logger(__name__)

# The pauses after a failed try: 30 s, 1 min, 2 min, 4 min, 8 min, 16 min, 32 min, about 1, 2, 4 and 9 hours, then 12
# hours each. All sixteen tries take 65 hours and a little more: up to a tenth is added to every pause by chance, so that
# those who failed together do not come back together.
MAX_ATTEMPTS: Final = 16
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(hours=12)
# How long a claim stands. Far above one call, and above everything one run of `send_due` can take.
LEASE: Final = timedelta(minutes=5)
LONGEST_RUN: Final = 60.0  # seconds
_GONE: Final = 410  # the receiver says: never again


# --- What buyers set up ------------------------------------------------------------------------------------------------


def set_webhook(*, business: Business, url: str, actor: User | None, now: datetime) -> str:
    """Send this buyer's messages to `url` from now on. Returns the new secret, which is shown this once.

    Raises Refused with the reason for an address we would not call.
    """
    url = url.strip()
    try:
        outgoing.check(url, local=_may_call_this_machine())
    except (outgoing.BadAddress, outgoing.NotReached) as reason:
        raise Refused(str(reason)) from reason
    secret = signing.new_secret()
    _change(business, url=url, sealed=seal(secret), actor=actor, now=now)
    return secret


def remove_webhook(*, business: Business, actor: User | None, now: datetime) -> None:
    """Send nothing any more. What waits is given up when its turn comes."""
    _change(business, url="", sealed=b"", actor=actor, now=now)


def _change(business: Business, *, url: str, sealed: bytes, actor: User | None, now: datetime) -> None:
    with transaction.atomic():
        buyer = Buyer.objects.select_for_update(no_key=True).filter(pk=business.pk).first()
        if buyer is None:
            raise Refused("This business does not buy leads.")
        before, buyer.webhook_url, buyer.webhook_secret = buyer.webhook_url, url, sealed
        buyer.save(update_fields=["webhook_url", "webhook_secret"])
        audit(
            business=business, actor=actor, action="webhook changed", target=f"buyer {business.slug}", now=now,
            changes={"webhook_url": [before, url]},
        )  # fmt: skip


# --- The queue ---------------------------------------------------------------------------------------------------------


def queue(*, buyer: Buyer, event: str, about: str, payload: Mapping[str, Any], now: datetime) -> WebhookDelivery | None:
    """Let a buyer know, in the caller's transaction. None when they have named no address.

    `payload` is what they get, as JSON; `event` is put in front of it.
    """
    if not buyer.webhook_url:
        return None
    delivery = WebhookDelivery(
        business_id=buyer.pk, event=event, about=about, payload={"event": event, **payload}, next_at=now, created_at=now
    )
    rows.insert(delivery)
    return delivery


def replay(*, delivery: WebhookDelivery, now: datetime) -> None:
    """Send it again, or now instead of later, with all its tries before it. Raises Refused while it is being sent.

    The receiver sees the same delivery id.
    """
    settled = Q(status__in=[DeliveryStatus.DELIVERED, DeliveryStatus.FAILED])
    resting = Q(status=DeliveryStatus.WAITING, next_at__gt=now + LEASE)  # nobody's claim reaches that far
    with every_business():
        free = WebhookDelivery.objects.filter(settled | resting, pk=delivery.pk)
        changed = free.update(
            status=DeliveryStatus.WAITING, attempts=0, next_at=now, delivered_at=None, response_status=None, error=""
        )
    if not changed:
        raise Refused("It is about to be sent. Look again in a few minutes.")


# --- Sending -----------------------------------------------------------------------------------------------------------


def send_due(*, now: datetime, limit: int = 50) -> dict[str, int]:
    """Send what is due, one after another; how many went which way. No transaction is open while somebody answers."""
    outcome = {"delivered": 0, "again": 0, "failed": 0}
    started = time.monotonic()
    for _ in range(limit):
        claimed = _claim(now)
        if claimed is None:
            break
        outcome[_send(*claimed, now=now)] += 1
        if time.monotonic() - started > LONGEST_RUN:
            break
    return outcome


def _claim(now: datetime) -> tuple[UUID, int] | None:
    """Take one that is due, and the number of this try. Others see it again when the lease is over."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketplace_webhookdelivery SET attempts = attempts + 1, next_at = %s WHERE id = ("
            " SELECT id FROM marketplace_webhookdelivery WHERE status = 'waiting' AND next_at <= %s"
            " ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, attempts",
            [now + LEASE, now],
        )
        claimed: tuple[UUID, int] | None = cursor.fetchone()
        return claimed


def _send(pk: UUID, attempt: int, *, now: datetime) -> str:
    with every_business():
        delivery = WebhookDelivery.objects.select_related("business").get(pk=pk)
    buyer = Buyer.objects.get(pk=delivery.business_id)
    if not buyer.webhook_url:
        return _give_up(delivery, attempt, "There is no address to send it to any more.", None)
    try:
        answer = _post(delivery, buyer, now=now)
    except (outgoing.BadAddress, outgoing.NotReached, ValueError) as trouble:
        return _try_again(delivery, attempt, str(trouble), None, now=now)
    if 200 <= answer.status < 300:
        return _delivered(delivery, answer.status, now=now)
    said = " ".join("".join(char if char.isprintable() else " " for char in answer.text).split())[:100]
    refusal = f"It answered {answer.status}{f': {said}' if said else ''}."
    if answer.status == _GONE:
        return _give_up(delivery, attempt, refusal, answer.status)
    return _try_again(delivery, attempt, refusal, answer.status, now=now)


def _post(delivery: WebhookDelivery, buyer: Buyer, *, now: datetime) -> outgoing.Answer:
    """Raises ValueError when the stored secret cannot be read."""
    body = json.dumps(delivery.payload, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Frontdesk-Webhooks/1",
        "Frontdesk-Delivery": str(delivery.pk),
        "Frontdesk-Event": delivery.event,
        signing.HEADER: signing.sign(body, secret=unseal(buyer.webhook_secret), at=int(now.timestamp())),
    }
    return outgoing.post(buyer.webhook_url, body, headers=headers, local=_may_call_this_machine())


def _delivered(delivery: WebhookDelivery, status: int, *, now: datetime) -> str:
    """True whoever sent it: a late answer to somebody whose claim is over counts as well."""
    with every_business():
        WebhookDelivery.objects.filter(pk=delivery.pk).update(
            status=DeliveryStatus.DELIVERED, delivered_at=now, response_status=status, error=""
        )
    return "delivered"


def _try_again(delivery: WebhookDelivery, attempt: int, trouble: str, status: int | None, *, now: datetime) -> str:
    if attempt >= MAX_ATTEMPTS:
        return _give_up(delivery, attempt, trouble, status)
    _ours(delivery, attempt, next_at=now + pause_after(attempt), error=trouble[:200], response_status=status)
    return "again"


def _give_up(delivery: WebhookDelivery, attempt: int, trouble: str, status: int | None) -> str:
    log.warning("webhook_given_up", tenant_id=delivery.business.slug, delivery_id=str(delivery.pk), attempts=attempt)
    _ours(delivery, attempt, status=DeliveryStatus.FAILED, error=trouble[:200], response_status=status)
    return "failed"


def _ours(delivery: WebhookDelivery, attempt: int, **changes: object) -> None:
    """Write down how a try ended, unless somebody has tried since."""
    with every_business():
        waiting = WebhookDelivery.objects.filter(pk=delivery.pk, status=DeliveryStatus.WAITING, attempts=attempt)
        waiting.update(**changes)


def pause_after(attempt: int) -> timedelta:
    """How long to wait after this failed try, counted from 1; see the table above."""
    pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
    return pause + pause * (secrets.randbelow(1_000) / 10_000)


def _may_call_this_machine() -> bool:
    return bool(settings.DEBUG or settings.TESTING)
