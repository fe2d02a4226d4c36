"""How a business works its leads: names and times, who sells, and who gets what. Every change stands in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from booking.models import Service
from crm.models import Business, User
from crm.phones import pretty
from crm.services import Refused, audit, find_customer
from leads.actors import By
from leads.models import AssignmentRule, PipelineSettings, Salesperson
from leads.services import assigning, pipeline

MOST_RULES: Final = 50  # more nobody can read from top to bottom


def change_settings(*, business: Business, changes: Mapping[str, Any], by: By, now: datetime) -> PipelineSettings:
    """Names of the lines and the two limits (minutes), already validated. Nothing is written for no change."""
    with transaction.atomic():
        settings = assigning.settings_of(business)
        changed = {name: value for name, value in changes.items() if getattr(settings, name) != value}
        if not changed:
            return settings
        shown = {name: [getattr(settings, name), value] for name, value in changed.items()}
        for name, value in changed.items():
            setattr(settings, name, value)
        PipelineSettings.objects.update_or_create(business=business, defaults=changed)
        _write_down(business, "pipeline settings changed", "pipeline", shown, by=by, now=now)
    return settings


# --- Who sells ---------------------------------------------------------------------------------------------------------


def set_salesperson(
    *, business: Business, user: User, capacity: int, takes_offers: bool, phone: str, by: By, now: datetime
) -> Salesperson:
    """Make somebody of the team a salesperson, or change how they work. `phone` is E.164 or empty.

    Raises Refused for somebody who may not work on leads here, and for a customer's number: offers name other customers.
    """
    owner = find_customer(business=business, phone=phone) if phone else None
    if owner is not None:
        raise Refused(f"{pretty(phone)} is the number of {owner}, a customer. Give the salesperson's own.")
    wanted = {"capacity": capacity, "takes_offers": takes_offers, "phone": phone}
    with transaction.atomic():
        seller = Salesperson.objects.for_business(business).select_related("user").filter(user=user).first()
        if takes_offers and not pipeline.works_here(business, user):
            raise Refused(f"{user.get_full_name()} cannot work on leads here. Choose somebody of the team.")
        if seller is None:
            seller = Salesperson.objects.create(business=business, user=user, created_at=now, **wanted)
            shown = {name: ["", value] for name, value in wanted.items()}
            _write_down(business, "salesperson added", str(user), shown, by=by, now=now)
            return seller
        changed = {name: value for name, value in wanted.items() if getattr(seller, name) != value}
        if changed:
            shown = {name: [getattr(seller, name), value] for name, value in changed.items()}
            for name, value in changed.items():
                setattr(seller, name, value)
            seller.save(update_fields=list(changed))
            _write_down(business, "salesperson changed", str(user), shown, by=by, now=now)
    return seller


# --- Who gets what -----------------------------------------------------------------------------------------------------


def add_rule(
    *, business: Business, source: str, service: Service | None, domain: str, assignee: User | None, set_domain: str,
    by: By, now: datetime,
) -> AssignmentRule:  # fmt: skip
    """One more rule, behind the others. Empty conditions fit everything; no assignee: salespeople in turn. Raises Refused."""
    if assignee is not None and not pipeline.works_here(business, assignee):
        raise Refused(f"{assignee.get_full_name()} cannot work on leads here. Choose somebody of the team.")
    with transaction.atomic():
        rules = _locked_rules(business)
        if len(rules) >= MOST_RULES:
            raise Refused(f"There are {MOST_RULES} rules already. Delete one first.")
        rule = AssignmentRule.objects.create(
            business=business, position=len(rules) + 1, source=source, service=service, domain=domain,
            assignee=assignee, set_domain=set_domain, created_at=now,
        )  # fmt: skip
        _number([*rules, rule])
        _write_down(business, "assignment rule added", str(rule), _shown(rule), by=by, now=now)
    return rule


def move_rule(*, rule: AssignmentRule, up: bool, by: By, now: datetime) -> bool:
    """One place up or down; False when it stands at that end already. The rules are numbered 1, 2, 3 afterwards."""
    business = rule.business
    with transaction.atomic():
        rules = _locked_rules(business)
        place = next((n for n, row in enumerate(rules) if row.pk == rule.pk), None)
        if place is None:
            raise Refused("This rule is not there any more.")
        other = place - 1 if up else place + 1
        if not 0 <= other < len(rules):
            return False
        rules[place], rules[other] = rules[other], rules[place]
        _number(rules)
        _write_down(
            business, "assignment rule moved", str(rule), {"position": [place + 1, other + 1]}, by=by, now=now
        )  # fmt: skip
    return True


def delete_rule(*, rule: AssignmentRule, by: By, now: datetime) -> None:
    """Leads that came in by it stay with whoever has them."""
    business = rule.business
    with transaction.atomic():
        rules = _locked_rules(business)
        if rule.pk not in {row.pk for row in rules}:
            raise Refused("This rule is not there any more.")
        shown, name = _shown(rule), str(rule)
        AssignmentRule.objects.for_business(business).filter(pk=rule.pk).delete()
        _number([row for row in rules if row.pk != rule.pk])
        _write_down(
            business, "assignment rule deleted", name, {key: [value, ""] for key, (_, value) in shown.items()}, by=by, now=now
        )  # fmt: skip


# --- Inside ------------------------------------------------------------------------------------------------------------


def _locked_rules(business: Business) -> list[AssignmentRule]:
    """In their order; two people who change it at once do so one after the other, as new rules lock the business too."""
    Business.objects.select_for_update(no_key=True).get(pk=business.pk)
    return list(AssignmentRule.objects.for_business(business).order_by("position", "id"))


def _number(rules: list[AssignmentRule]) -> None:
    changed = [rule for place, rule in enumerate(rules, start=1) if rule.position != place]
    for place, rule in enumerate(rules, start=1):
        rule.position = place
    AssignmentRule.objects.bulk_update(changed, ["position"])


def _shown(rule: AssignmentRule) -> dict[str, list[Any]]:
    facts = {
        "source": rule.source,
        "service": str(rule.service) if rule.service else "",
        "line": rule.domain,
        "to": str(rule.assignee) if rule.assignee else "salespeople in turn",
        "put into line": rule.set_domain,
    }
    return {name: ["", value] for name, value in facts.items() if value}


def _write_down(
    business: Business, action: str, target: str, changes: dict[str, Any], *, by: By, now: datetime
) -> None:
    audit(
        business=business, actor=by.user, actor_text=by.text, action=action, target=target, changes=changes, now=now
    )  # fmt: skip
