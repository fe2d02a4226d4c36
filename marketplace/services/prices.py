"""What leads cost from when on. A price that was in force stays in the history."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction

from crm.models import User
from crm.services import Refused, audit
from marketplace import pricing
from marketplace.enums import AgeBucket, Classification
from marketplace.models import PricingRule

_LOCK = 0x5072696365  # "Price": two people change prices one after the other


def set_price(
    *, classification: str, age_bucket: str, price: Decimal, now: datetime, effective_from: datetime | None = None,
    notes: str = "", actor: User | None = None,
) -> PricingRule:  # fmt: skip
    """From `effective_from` (now, when not given) on, leads of this kind cost `price`, until the next rule begins.

    The rule before ends where this one begins, so there is never a gap and never two prices. Raises Refused for the
    past, an amount that is none, and a moment at which another change is planned already.
    """
    since = effective_from or now
    if since < now:
        raise Refused("A price can begin now or later; what was charged before stays as it was.")
    if classification not in Classification.values or age_bucket not in AgeBucket.values:
        raise Refused(f"There are no leads of the kind {classification} {age_bucket}.")
    if not 0 <= price <= pricing.LARGEST or price != price.quantize(pricing.CENT):
        raise Refused(f"Write a price in dollars and cents, from $0.00 to {pricing.say_money(pricing.LARGEST)}.")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        kind = PricingRule.objects.filter(classification=classification, age_bucket=age_bucket)
        if kind.filter(effective_from=since).exists():
            raise Refused("Another price begins at that very moment. Choose a minute later, or take that one back.")
        following = kind.filter(effective_from__gt=since).order_by("effective_from").first()
        before = kind.filter(effective_from__lt=since).order_by("-effective_from").first()
        # It ends here, also when it would have ended sooner: a gap to come is closed. One that is over stays what it was.
        if before is not None and (before.effective_to is None or before.effective_to > now):
            before.effective_to = since
            before.save(update_fields=["effective_to"])
        rule = PricingRule(
            classification=classification, age_bucket=age_bucket, price=price, effective_from=since,
            effective_to=following.effective_from if following else None, notes=notes.strip()[:300], created_by=actor,
            created_at=now,
        )  # fmt: skip
        rule.save(force_insert=True)
        audit(
            business=None, actor=actor, action="price set", target=f"{classification} {age_bucket}", now=now,
            changes={"price": [str(before.price) if before else "", str(price)], "from": ["", since.isoformat()]},
        )  # fmt: skip
    return rule


def take_back(*, rule: PricingRule, actor: User | None, now: datetime) -> None:
    """Forget a price that has not begun; the one before goes on instead. Raises Refused once it has begun."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        planned = PricingRule.objects.filter(pk=rule.pk, effective_from__gt=now).first()
        if planned is None:
            raise Refused("This price has begun or is gone already. Set a new one instead.")
        kind = PricingRule.objects.filter(classification=planned.classification, age_bucket=planned.age_bucket)
        before = kind.filter(effective_to=planned.effective_from).first()
        planned.delete()
        if before is not None:
            before.effective_to = planned.effective_to
            before.save(update_fields=["effective_to"])
        audit(
            business=None, actor=actor, action="planned price taken back", now=now,
            target=f"{planned.classification} {planned.age_bucket}", changes={"price": [str(planned.price), ""]},
        )  # fmt: skip


def start_prices(*, now: datetime, since: datetime | None = None) -> int:
    """The prices a new installation begins with, where there is none yet. Returns how many were set."""
    made = 0
    for bucket, prices in pricing.STARTING_PRICES.items():
        for classification, price in zip((Classification.GOLD, Classification.SILVER), prices, strict=True):
            if not PricingRule.objects.filter(classification=classification, age_bucket=bucket).exists():
                PricingRule.objects.create(
                    classification=classification, age_bucket=bucket, price=price, effective_from=since or now,
                    created_at=now, notes="Starting price",
                )  # fmt: skip
                made += 1
    return made
