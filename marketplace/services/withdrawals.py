"""Leads that staff take off the shelf by hand, and put back."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from crm.enums import ConsentAction
from crm.models import Consent, User
from crm.scoping import every_business
from crm.services import Refused, audit
from marketplace import age_buckets
from marketplace.enums import ClosedBecause
from marketplace.models import AgedLead, GonePerson, InventoryItem
from marketplace.services import inventory

WITHDRAWN: Final = "lead withdrawn"  # as the audit calls it
PUT_BACK: Final = "lead put back"


def withdraw(*, lead_id: UUID, reason: str, actor: User | None, now: datetime) -> None:
    """Nobody can buy this lead any more, at no age, until it is put back. Who bought it before keeps it.

    Whoever is buying it at this very moment is waited for, and has it then. Raises Refused without a reason, and for a
    lead that is not for sale.
    """
    _need(reason)
    with transaction.atomic():
        on_the_shelf = InventoryItem.objects.filter(lead=lead_id, sold_at__isnull=True, closed_at__isnull=True)
        locked = list(on_the_shelf.select_for_update(no_key=True).order_by("pk"))
        if not locked:
            raise Refused("It is not for sale, so there is nothing to withdraw.")
        InventoryItem.objects.filter(pk__in=[item.pk for item in locked]).update(
            closed_at=now, closed_because=ClosedBecause.WITHDRAWN
        )
        _trace(lead_id, WITHDRAWN, before="for sale", after="withdrawn", reason=reason, actor=actor, now=now)


def put_back(*, lead_id: UUID, reason: str, actor: User | None, now: datetime) -> bool:
    """It can be bought again at the age it has now. False: it was sold at that age before, or is too young; it comes back
    at the next one.

    Raises Refused without a reason, for a lead that was not withdrawn, and for somebody who may not be sold any more. (One
    who opts out during this very moment is found by the daily look, and purchases ask for it themselves.)
    """
    _need(reason)
    with transaction.atomic():
        withdrawn = InventoryItem.objects.filter(lead=lead_id, closed_because=ClosedBecause.WITHDRAWN)
        locked = list(withdrawn.select_for_update(no_key=True).order_by("pk"))
        if not locked:
            raise Refused("It was not withdrawn.")
        lead = AgedLead.objects.get(pk=lead_id)
        if _is_gone(lead):
            raise Refused("This person has opted out or was erased since then, so it stays off the shelf.")
        fresh = [item.pk for item in locked if lead.called_in_at in age_buckets.window(item.age_bucket, as_of=now)]
        withdrawn.filter(pk__in=fresh).update(closed_at=None, closed_because="")
        withdrawn.update(closed_because=ClosedBecause.AGED_OUT)
        opened = inventory.open_items(lead_ids=[str(lead_id)], now=now)
        _trace(lead_id, PUT_BACK, before="withdrawn", after="for sale", reason=reason, actor=actor, now=now)
    return bool(fresh or opened)


def target(lead_id: UUID) -> str:
    """What the audit calls a lead."""
    return f"lead:{lead_id}"


def _need(reason: str) -> None:
    if not reason.strip():
        raise Refused("Say why, in a sentence for whoever asks later.")


def _is_gone(lead: AgedLead) -> bool:
    if lead.erased_at is not None:
        return True
    marks = [mark for mark in (lead.phone_mark, lead.other_mark) if mark]
    phones = [phone for phone in (lead.phone, lead.other_phone) if phone]
    with every_business():
        opted_out = Consent.objects.filter(action=ConsentAction.REVOKE, phone__in=phones)
        return GonePerson.objects.filter(mark__in=marks).exists() or opted_out.exists()


def _trace(
    lead_id: UUID, action: str, *, before: str, after: str, reason: str, actor: User | None, now: datetime
) -> None:
    audit(
        business=None, actor=actor, action=action, target=target(lead_id), now=now, changes={"shelf": [before, after]},
        reason=reason.strip(),
    )  # fmt: skip
