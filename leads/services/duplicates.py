"""Two leads that are one: merged, and taken apart again when that was wrong."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from crm.enums import Verb
from crm.models import CustomerMerge, Task, User
from crm.services import Refused, merge_customers, take_turn, undo_merge
from leads.actors import person
from leads.enums import Stage
from leads.models import Lead, LeadActivity, LeadMerge, Proposal
from leads.services import assessing, pipeline

_FILLED: Final = (
    "business_domain", "service_id", "asked_for", "notes", "appointment_id", "assigned_to_id", "first_touch_at", "event_id",
)  # fmt: skip
_MOVED: Final = (LeadActivity, Proposal)


def merge_leads(*, kept: Lead, dropped: Lead, user: User, now: datetime) -> LeadMerge:
    """Everything of `dropped` moves to `kept`, and what was empty there is filled in; nothing is deleted. Two customers
    behind them become one as well. Undo with `undo_lead_merge`.

    Raises Refused with the reason.
    """
    business = kept.business
    if kept.pk == dropped.pk or kept.business_id != dropped.business_id:
        raise Refused("Choose two different leads.")
    with transaction.atomic():
        customers = _merge_people(kept, dropped, user=user, now=now)
        kept, dropped = _locked_pair(kept, dropped)
        if kept.merged_into_id or dropped.merged_into_id:
            raise Refused("One of the two has been merged already.")
        if kept.customer_id and dropped.customer_id and kept.customer_id != dropped.customer_id:
            raise Refused("Somebody has just changed the contact of one of the two. Look at them again.")
        if dropped.stage == Stage.TRANSFERRED:
            raise Refused("A lead that is with sales stays. Merge the other one into it.")
        moved: dict[str, list[str]] = {}
        for model in _MOVED:
            rows = model.objects.for_business(business).filter(lead=dropped)
            moved[model._meta.label] = [str(pk) for pk in rows.values_list("pk", flat=True)]
            rows.update(lead=kept)
        tasks = Task.objects.for_business(business).open().filter(about=f"lead:{dropped.pk}")
        moved[Task._meta.label] = [str(pk) for pk in tasks.values_list("pk", flat=True)]
        tasks.update(about=f"lead:{kept.pk}")
        filled = {
            name: getattr(dropped, name) for name in _FILLED if not getattr(kept, name) and getattr(dropped, name)
        }
        if kept.customer_id is None and dropped.customer_id is not None:
            filled["customer_id"] = dropped.customer_id
        if "event_id" in filled and kept.source == "purchase":
            del filled["event_id"]
        if "first_touch_at" in filled:  # the answer may be older than the lead that is kept
            filled["first_touch_at"] = max(filled["first_touch_at"], kept.created_at)
        for name, value in filled.items():
            setattr(kept, name, value)
        dropped.merged_into, dropped.rescore_at = kept, None
        dropped.save(update_fields=["merged_into", "rescore_at"])
        kept.rescore_at = pipeline.soon(kept, now=now)
        kept.save(update_fields=[*filled, "rescore_at"])
        assessing.recount(kept, now=now)
        merge = LeadMerge.objects.create(
            business=business, kept=kept, dropped=dropped, customers=customers, moved=moved, merged_by=user, merged_at=now,
            filled={name: str(value) for name, value in filled.items()},
        )  # fmt: skip
        pipeline.tell(
            kept, Verb.MERGED, f"Lead {dropped.number} merged into lead {kept.number}.", by=person(user), now=now
        )
    return merge


def undo_lead_merge(*, merge: LeadMerge, user: User, now: datetime) -> None:
    """Take a merge apart again: what moved goes back. What came in since stays with the kept lead, and so does a stage it
    has come to. Raises Refused."""
    with transaction.atomic():
        if not LeadMerge.objects.filter(pk=merge.pk, undone_at__isnull=True).update(undone_at=now):
            raise Refused("This merge was undone already.")
        _part_people(merge, user=user, now=now)
        kept, dropped = _locked_pair(merge.kept, merge.dropped)
        if kept.merged_into_id:
            raise Refused("The two have been merged with a third lead since. Undo that first.")
        for model in _MOVED:
            model.objects.filter(pk__in=merge.moved.get(model._meta.label, [])).update(lead=dropped)
        Task.objects.filter(pk__in=merge.moved.get(Task._meta.label, [])).update(about=f"lead:{dropped.pk}")
        taken_back = [name for name, value in merge.filled.items() if str(getattr(kept, name)) == value]
        if kept.stage == Stage.TRANSFERRED and "business_domain" in taken_back:
            taken_back.remove("business_domain")  # it went to sales with this line, and not without one
        for name in taken_back:
            setattr(kept, name, _nothing(kept, name))
        dropped.merged_into = None
        kept.save(update_fields=taken_back)
        dropped.save(update_fields=["merged_into"])
        for lead in (kept, dropped):
            lead.rescore_at = pipeline.soon(lead, now=now)
            lead.save(update_fields=["rescore_at"])
            assessing.recount(lead, now=now)
        pipeline.tell(kept, Verb.MERGED, f"Merge with lead {dropped.number} undone.", by=person(user), now=now)


def _merge_people(kept: Lead, dropped: Lead, *, user: User, now: datetime) -> CustomerMerge | None:
    """Before the leads are locked: people come first in the order of locks."""
    pair = Lead.objects.for_business(kept.business).filter(pk__in=[kept.pk, dropped.pk]).select_related("customer")
    people = {lead.pk: lead.customer for lead in pair}
    one, other = people[kept.pk], people[dropped.pk]
    if one is not None and other is not None and one != other:
        return merge_customers(kept=one, dropped=other, actor=user, now=now)
    if one or other:
        take_turn(one or other)
    return None


def _part_people(merge: LeadMerge, *, user: User, now: datetime) -> None:
    """Unless somebody has taken the customers apart already."""
    if merge.customers is not None and merge.customers.undone_at is None:
        undo_merge(merge=merge.customers, actor=user, now=now)
    elif merge.kept.customer is not None:
        take_turn(merge.kept.customer)


def _locked_pair(kept: Lead, dropped: Lead) -> tuple[Lead, Lead]:
    """Both as they are now, locked in one order, so that two merges cannot block each other."""
    found = Lead.objects.for_business(kept.business).select_for_update(of=("self",), no_key=True)
    by_id = {row.pk: row for row in found.filter(pk__in=[kept.pk, dropped.pk]).order_by("pk")}
    for row in by_id.values():
        row.business = kept.business
    return by_id[kept.pk], by_id[dropped.pk]


def _nothing(lead: Lead, name: str) -> Any:
    field = lead._meta.get_field(name.removesuffix("_id") if name != "event_id" else name)
    return None if getattr(field, "null", False) else ""
