"""Caps that cost money. Exact, in Postgres, one conditional statement: ten workers cannot overspend together."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Value
from django.db.models.functions import Greatest

from crm import rows
from crm.enums import Meter
from crm.models import Allowance, Business

_MICROS_PER_CENT = 10_000


def cap_micros(business: Business, meter: Meter) -> int:
    """The day's cap in millionths of a US dollar."""
    cents = business.sms_daily_cap_cents if meter == Meter.SMS else business.llm_daily_cap_cents
    return cents * _MICROS_PER_CENT


def spend(*, business: Business, meter: Meter, micros: int, now: datetime, capped: bool = True) -> bool:
    """Take `micros` from today's allowance (today on the business's own calendar). False: over the cap, nothing taken.

    `capped=False` books the cost without asking: an emergency alert to the owner is never the one that is dropped.
    """
    limit = cap_micros(business, meter) if capped else 2**62
    cursor = rows.execute(
        "INSERT INTO crm_allowance AS a (business_id, meter, day, spent_micros)"
        " SELECT %(business)s, %(meter)s, %(day)s, %(micros)s WHERE %(micros)s <= %(limit)s"
        " ON CONFLICT (business_id, meter, day) DO UPDATE SET spent_micros = a.spent_micros + excluded.spent_micros"
        " WHERE a.spent_micros + excluded.spent_micros <= %(limit)s",
        {
            "business": business.pk,
            "meter": meter.value,
            "day": now.astimezone(business.zone).date(),
            "micros": micros,
            "limit": limit,
        },
    )
    return cursor.rowcount == 1


def give_back(*, business: Business, meter: Meter, micros: int, now: datetime) -> None:
    """Return what was taken and not used."""
    Allowance.objects.filter(business=business, meter=meter, day=now.astimezone(business.zone).date()).update(
        spent_micros=Greatest(F("spent_micros") - micros, Value(0))
    )
