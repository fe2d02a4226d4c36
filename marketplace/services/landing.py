"""What was bought appears in the buyer's Leads: with its price, and without a permission to text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from django.db import transaction

from crm import consent
from crm.models import Business, Customer
from crm.scoping import every_business, only
from leads.enums import LeadSource
from leads.models import Lead
from leads.services.intake import add_bought_lead
from marketplace.columns import SOLD
from marketplace.models import AgedLead, Buyer, Purchase, Recall, Return, Sale
from marketplace.pricing import say_money

log = structlog.get_logger(__name__)

CHUNK: Final = 100  # sales in one transaction
LONGEST_RUN: Final = 60.0  # seconds
# What stands elsewhere on a lead in Leads, or tells nobody anything there.
_SHOWN: Final = {
    "lead.full_name", "lead.first_name", "lead.last_name", "lead.address", "lead.city", "lead.state", "lead.zip",
    "lead.id", "lead.called_in_at",
}  # fmt: skip


def land_due(*, now: datetime, limit: int = 2_000) -> int:
    """Put up to about `limit` bought leads where their buyers work on them, the oldest orders first; returns how many.

    An order that was done half-way is gone on with: each sale lands once. One that cannot be done does not hold up the
    others. Buyers who do not want their purchases in Leads are done at once.
    """
    with every_business():
        not_yet = Purchase.objects.filter(landed_at__isnull=True)
        not_yet.filter(business__in=Buyer.objects.filter(into_leads=False).values("pk")).update(landed_at=now)
        waiting = list(not_yet.select_related("business").order_by("created_at")[:limit])
    landed, started = 0, time.monotonic()
    for purchase in waiting:
        try:
            for count in _chunks(purchase, now=now):
                landed += count
                if landed >= limit or time.monotonic() - started > LONGEST_RUN:
                    return landed
        except Exception:  # one order must not hold up the others; the next run tries it again
            log.exception("landing_broke_down", purchase_id=str(purchase.pk), tenant_id=purchase.business.slug)
    return landed


def _chunks(purchase: Purchase, *, now: datetime) -> Iterator[int]:
    """Land an order stretch by stretch, each in a transaction of its own; how many landed in each."""
    after: UUID | None = UUID(int=0)
    while after is not None:
        with only(purchase.business), transaction.atomic():
            count, after = _land_some(purchase, after=after, now=now)
        yield count


def _land_some(purchase: Purchase, *, after: UUID, now: datetime) -> tuple[int, UUID | None]:
    """How many sales landed, and the last that was looked at: None when the order is done, or another worker is at it."""
    business = purchase.business
    ours = Purchase.objects.for_business(business).filter(pk=purchase.pk, landed_at__isnull=True)
    if not list(ours.select_for_update(skip_locked=True, no_key=True).values_list("pk")):
        return 0, None
    sales = list(Sale.objects.for_business(business).filter(purchase=purchase, pk__gt=after).order_by("pk")[:CHUNK])
    if len(sales) < CHUNK:
        ours.update(landed_at=now)
    to_do = _not_landed(business, sales)
    leads = _leads_of(to_do)
    _take_turns(business, leads.values())
    instead_of = set(
        Return.objects.for_business(business).filter(replacement__in=to_do).values_list("replacement", flat=True)
    )
    for sale in to_do:
        if sale.lead_id in leads:
            _land(business, sale, leads[sale.lead_id], is_replacement=sale.pk in instead_of, now=now)
    return len(leads), sales[-1].pk if len(sales) == CHUNK else None


def _not_landed(business: Business, sales: Sequence[Sale]) -> list[Sale]:
    by_event = {_event(sale): sale for sale in sales}
    there = Lead.objects.for_business(business).filter(source=LeadSource.PURCHASE, event_id__in=list(by_event))
    for event_id in there.values_list("event_id", flat=True):
        del by_event[event_id]
    return list(by_event.values())


def _leads_of(sales: Sequence[Sale]) -> dict[UUID, AgedLead]:
    """Those whose people may be contacted. Locked first and asked afterwards: whoever is called back at this moment is
    either left out here, or finds their story in Leads when the calling back goes on (see `recalls`)."""
    found = AgedLead.objects.select_for_update(no_key=True).filter(pk__in=[sale.lead_id for sale in sales])
    leads = {lead.pk: lead for lead in found.order_by("pk")}
    for called_back in set(Recall.objects.filter(lead__in=list(leads)).values_list("lead", flat=True)):
        del leads[called_back]
    return leads


def _take_turns(business: Business, leads: Iterable[AgedLead]) -> None:
    """Lock the customers these people already are, in the order in which merging locks them."""
    phones = [phone for lead in leads if (phone := _phone(lead))]
    customers = Customer.objects.for_business(business).filter(phone__in=phones)
    list(customers.select_for_update(no_key=True).order_by("pk").values_list("pk"))


def _land(business: Business, sale: Sale, lead: AgedLead, *, is_replacement: bool, now: datetime) -> None:
    kind = f"{sale.classification}, {sale.get_age_bucket_display()}"
    how = "Came in place of a returned lead" if is_replacement else f"Bought for {say_money(sale.price)}"
    add_bought_lead(
        business=business, phone=_phone(lead), name=_name(lead), address=_address(lead), notes=_notes(lead),
        asked_for=f"Aged lead: {kind}", cost=sale.price, event_id=_event(sale), now=now,
        story=f"{how} ({kind}).{_permission(business, lead)}",
    )  # fmt: skip


def _event(sale: Sale) -> str:
    return f"sale:{sale.pk}"


def _phone(lead: AgedLead) -> str | None:
    return lead.phone or lead.other_phone or None


def _permission(business: Business, lead: AgedLead) -> str:
    """A purchase brings none. Somebody who was a customer before may have given theirs."""
    phone = _phone(lead)
    line = consent.standing(business=business, phone=phone) if phone else None
    return "" if line is not None and not consent.is_opted_out(line) else " No permission to text."


def _name(lead: AgedLead) -> str:
    return lead.full_name or " ".join(part for part in (lead.first_name, lead.last_name) if part)


def _address(lead: AgedLead) -> str:
    place = " ".join(part for part in (lead.state, lead.zip) if part)
    return ", ".join(part for part in (lead.address, lead.city, place) if part)


def _notes(lead: AgedLead) -> str:
    """What else the file said, a line each, under the headings of the download."""
    facts = [column for column in SOLD if column.path.startswith("lead.") and column.path not in _SHOWN]
    values = ((column.heading, getattr(lead, column.path.removeprefix("lead."))) for column in facts)
    return "\n".join(f"{heading}: {value}" for heading, value in values if value)
