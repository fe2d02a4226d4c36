"""Make the demo, carry it on, take it away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from graphlib import TopologicalSorter
from typing import Any, Final

from django.apps import apps
from django.db import connection, models, transaction
from django.db.models import Q

from booking import services as booking
from booking import setup
from booking.enums import OCCUPYING, UPCOMING
from booking.models import Appointment, Service, StaffMember, TimeOff
from booking.slots import Interval
from crm.models import Business, Conversation, Task, User
from crm.scoping import every_business, only
from crm.services import add_business, add_number, finish_task, mark_answered
from leads import demo as pipeline
from leads.enums import IntakeStatus
from leads.models import Lead, Proposal
from leads.services import intake
from marketplace import demo as marketplace
from marketplace.models import InventoryItem, Sale
from telephony.demo import access, diary, today
from telephony.demo.access import ShownKey
from telephony.demo.businesses import ACME, DEMO, DemoBusiness, is_demo
from telephony.demo.history import EVENT_PREFIX, History, Team
from telephony.demo.people import everybody
from telephony.models import SimulatedText

SIX_WEEKS: Final = timedelta(days=45)  # and a few days, so that the first week of the six is not an empty shop's
UNTIL_TODAY: Final = timedelta(minutes=55)  # the last hour is told by `today`
# Tables whose rows are written once; each has a trigger of its name that says so.
_EVIDENCE: Final = {
    "crm_consent",
    "leads_assessment",
    "leads_stagechange",
    "marketplace_invoiceline",
    "marketplace_journalentry",
    "marketplace_journalline",
    "marketplace_sale",
}
_LOCK: Final = 0x46726F6E74  # "Front": two terminals seed one after the other


@dataclass(frozen=True)
class Seeded:
    """What came of it. `left_alone` names businesses of others that have a name of ours."""

    passwords: dict[str, str]
    keys: Sequence[ShownKey]
    left_alone: Sequence[str]


def seed(*, now: datetime, aged_leads: int = marketplace.LEADS) -> Seeded:
    """Make what is missing and tell the days since the last time. Twice on one day, the second changes nothing.

    `aged_leads`: how many stand in the marketplace; 0: there is none.
    """
    keys: list[ShownKey] = []
    left_alone = []
    with transaction.atomic():
        _one_at_a_time()
        passwords = dict(access.open_accounts())
        for demo in DEMO:
            business = Business.objects.filter(slug=demo.slug).first() or _open(demo, now=now)
            if not is_demo(business):
                left_alone.append(demo.slug)
                continue
            with only(business):
                owner, helper = access.join(business, demo)
                keys += access.new_keys(business, now=now)
                _carry_on(demo, business, owner=owner, helper=helper, now=now)
                if demo is ACME:
                    pipeline.seed(business=business, owner=owner, helper=helper, now=now)
    if aged_leads:
        with transaction.atomic():
            _one_at_a_time()
            buyer = marketplace.seed(now=now, staff=User.objects.get(email=access.STAFF_EMAIL), leads=aged_leads)
            if buyer is None:
                left_alone += marketplace.taken()
            else:
                access.join_buyer(buyer)
                keys += access.new_keys(buyer, now=now)
    return Seeded(passwords=passwords, keys=keys, left_alone=left_alone)


def demo_businesses() -> list[Business]:
    """Those that are there."""
    return [row for row in Business.objects.filter(slug__in=[demo.slug for demo in DEMO]) if is_demo(row)]


# --- Making ---------------------------------------------------------------------------------------------------------


def _open(demo: DemoBusiness, *, now: datetime) -> Business:
    business = add_business(
        slug=demo.slug, name=demo.name, zone=demo.zone, trade=demo.trade, address=demo.address,
        public_phone=demo.public_phone, owner_name=demo.owner, owner_phone=demo.owner_phone,
        owner_email=demo.owner_email, open_intake=demo.open_intake, private_health=demo.private_health,
    )  # fmt: skip
    Business.objects.filter(pk=business.pk).update(created_at=now - SIX_WEEKS)
    add_number(business=business, raw=demo.number, label="Texts")
    with only(business):
        setup.set_rules(business, grid_minutes=demo.grid_minutes, travel_buffer_minutes=demo.travel_minutes)
        setup.add_services(business, demo.services)
        setup.add_staff(business, demo.staff)
        setup.set_hours(business, demo.hours)
        away = list(StaffMember.objects.filter(business=business).order_by("pk"))[-1]
        midnight = datetime.combine(
            now.astimezone(business.zone).date() + timedelta(days=6), time(0), tzinfo=business.zone
        )
        TimeOff.objects.create(
            business=business,
            staff=away,
            starts_at=midnight,
            ends_at=midnight + timedelta(days=2),
            reason="Family visit",
        )
    return business


def _carry_on(demo: DemoBusiness, business: Business, *, owner: User, helper: User, now: datetime) -> None:
    """Tell the diary from where it ends, finish what was open then, and open today."""
    since = now - SIX_WEEKS
    told_at = _told_at(business)
    if told_at is not None:
        if told_at.astimezone(business.zone).date() >= now.astimezone(business.zone).date():
            return
        _finish_what_was_open(business, demo=demo, helper=helper, now=now)
        since = max(since, told_at - UNTIL_TODAY)
    staff = {row.pk: row for row in StaffMember.objects.for_business(business).filter(is_active=True).order_by("pk")}
    services = {row.name: row for row in Service.objects.for_business(business)}
    team = Team(services=services, staff=staff, owner=owner, helper=helper)
    history = History(demo=demo, business=business, team=team, now=now)
    calendar = _calendar(business, staff_ids=list(staff), since=since)
    for request in diary.requests(demo, calendar=calendar, since=since, until=now - UNTIL_TODAY):
        history.tell(request)
    history.write()
    today.tell(today.Day(demo=demo, business=business, helper=helper, now=now))


def _calendar(business: Business, *, staff_ids: Sequence[int], since: datetime) -> diary.Calendar:
    taken: dict[int, list[Interval]] = {pk: [] for pk in staff_ids}
    last_seen: dict[str, datetime] = {}
    rows = Appointment.objects.for_business(business).order_by("starts_at", "id")
    for staff_id, phone, starts_at, ends_at, status in rows.values_list(
        "staff_id", "customer__phone", "starts_at", "ends_at", "status"
    ):
        if status in OCCUPYING and ends_at > since and staff_id in taken:
            taken[staff_id].append(Interval(starts_at, ends_at))
        if phone:
            last_seen[phone] = ends_at
    off: dict[int, list[Interval]] = {}
    for staff_id, starts_at, ends_at in TimeOff.objects.for_business(business).values_list(
        "staff_id", "starts_at", "ends_at"
    ):
        off.setdefault(staff_id, []).append(Interval(starts_at, ends_at))
    return diary.Calendar(taken=taken, off=off, last_seen=last_seen)


def _finish_what_was_open(business: Business, *, demo: DemoBusiness, helper: User, now: datetime) -> None:
    """What an evening in the office does: visits are done, tasks ticked off, those who waited have been called.

    Only for the demo's own people. Whom a visitor played is left as it is, except that their visits are over too.
    """
    local = now.astimezone(business.zone)
    midnight = datetime.combine(local.date(), time(0), tzinfo=business.zone).astimezone(UTC)
    for appointment in Appointment.objects.for_business(business).filter(status__in=UPCOMING, ends_at__lte=now):
        appointment.business = business
        booking.complete(appointment=appointment, now=appointment.ends_at, actor=helper)
    ours = [person.phone for person in everybody(demo)]
    for proposal in (
        Proposal.objects.for_business(business).unanswered().filter(created_at__lt=midnight, customer__phone__in=ours)
    ):
        intake.decline(proposal=proposal, now=midnight)
    for task in Task.objects.for_business(business).filter(created_at__lt=midnight, customer__phone__in=ours).open():
        finish_task(task=task, user=helper, now=min(task.created_at + timedelta(hours=2), now))
    for thread in Conversation.objects.for_business(business).filter(
        waiting_since__lt=midnight, their_address__in=ours
    ):
        mark_answered(conversation=thread, user=helper, now=midnight)
    untouched = (
        Lead.objects.for_business(business).untouched().filter(created_at__lt=midnight, customer__phone__in=ours)
    )
    untouched.update(status=IntakeStatus.HANDOFF, first_touch_at=midnight)


def _told_at(business: Business) -> datetime | None:
    """When the diary was told last: the date in the newest of its leads' event ids."""
    ids = Lead.objects.for_business(business).filter(event_id__startswith=EVENT_PREFIX).order_by("-event_id")
    newest = ids.values_list("event_id", flat=True).first()
    if newest is None:
        return None
    stamp = newest.removeprefix(EVENT_PREFIX)[: len("2026-11-20T09:00")]
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC)


# --- Taking away ----------------------------------------------------------------------------------------------------


def remove() -> list[str]:
    """Delete the demo businesses with everything that is theirs; answer with their names. Accounts and passwords stay.

    Which tables hold something of a business is read from the models, so a room that is built later is cleaned too.
    """
    with transaction.atomic(), every_business():
        _one_at_a_time()
        businesses = demo_businesses()
        if not businesses:
            return []
        with connection.cursor() as cursor:  # what is to be checked is checked while everything is there
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        numbers = [number for business in businesses for number in business.numbers.values_list("e164", flat=True)]
        SimulatedText.objects.filter(Q(from_number__in=numbers) | Q(to_number__in=numbers)).delete()
        bought = list(Sale.objects.filter(business__in=businesses).values_list("item_id", flat=True))
        for model, path in _owned():
            rows = model._base_manager.filter(**{f"{path}__in": businesses})
            if model._meta.db_table in _EVIDENCE:
                _delete_evidence(rows)
            else:
                rows._raw_delete(rows.db)  # children go before parents, so there is nothing left to cascade to
        Business.objects.filter(pk__in=[row.pk for row in businesses]).delete()
        InventoryItem.objects.filter(pk__in=bought).update(sold_at=None)  # for sale again
        return [row.name for row in businesses]


def _delete_evidence(rows: models.QuerySet[Any]) -> None:
    """Ledgers and sales refuse deletion, except here: these people never were."""
    table = rows.model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks still to come cannot be altered
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
        rows._raw_delete(rows.db)
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def _owned() -> list[tuple[type[models.Model], str]]:
    """Every model whose rows belong to a business, with the path of relations to it; children before their parents."""
    paths: dict[type[models.Model], str] = {Business: ""}
    everything = apps.get_models(include_auto_created=True)
    found = True
    while found:
        found = False
        for model in everything:
            if model in paths:
                continue
            parents = [field for field in _parents(model) if field.related_model in paths]
            # The shortest way up: a business of its own before that of a parent's.
            parents.sort(
                key=lambda field: paths[field.related_model].count("__") if field.related_model is not Business else -1
            )
            if parents:
                above = paths[parents[0].related_model]
                paths[model] = f"{parents[0].name}__{above}" if above else parents[0].name
                found = True
    del paths[Business]
    order = TopologicalSorter(
        {
            model: {
                f.related_model for f in _parents(model) if f.related_model in paths and f.related_model is not model
            }
            for model in paths
        }
    )
    return [(model, paths[model]) for model in reversed(list(order.static_order()))]


def _parents(model: type[models.Model]) -> list[Any]:
    """Relations that cannot outlive what they point at."""
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and field.remote_field.on_delete is not models.SET_NULL
    ]


def _one_at_a_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
