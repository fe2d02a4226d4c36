"""Every change of the ground floor: customers, conversations, tasks, businesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, models, transaction

from crm import consent, limits, phones, rows
from crm.enums import (
    Audience,
    Author,
    Channel,
    ConsentSource,
    Direction,
    MessageKind,
    MessageStatus,
    Meter,
    Role,
    SentVia,
    TaskReason,
    Verb,
)
from crm.messaging import CannotSend, announce, queue_message, recheck, sms_cost_micros
from crm.models import (
    AuditEvent,
    Business,
    Conversation,
    Customer,
    CustomerMerge,
    Membership,
    Message,
    PhoneNumber,
    Task,
    User,
)
from crm.timeline import note

LEASE = timedelta(hours=2)  # how long a person keeps a conversation after taking over or writing


class Refused(Exception):
    """A change that cannot be made. The text says why, for people."""


# --- Customers -----------------------------------------------------------------------------------------------------


def take_turn(customer: Customer) -> None:
    """What concerns one person is done one thing after another: their row stays locked until the caller commits.

    The first lock of every change about somebody. Then comes the calendar of the business, then the rest (thread, day's
    budget): whoever keeps to this order can never block another in a circle.
    """
    rows.execute("SELECT 1 FROM crm_customer WHERE id = %s FOR NO KEY UPDATE", [customer.pk])


def find_customer(*, business: Business, phone: str, lock: bool = False) -> Customer | None:
    """By E.164 number; a customer that was merged leads to the one that was kept. `lock` takes their turn as well."""
    customer = rows.first(Customer, "business_id = %s AND phone = %s", [business.pk, phone], lock=lock)
    while customer is not None and customer.merged_into_id is not None:  # the kept one may have been merged too
        kept = [business.pk, customer.merged_into_id]
        customer = rows.first(Customer, "business_id = %s AND id = %s", kept, lock=lock)
    if customer is not None:
        customer.business = business
    return customer


def remember_customer(
    *, business: Business, phone: str, name: str = "", raw: str = "", address: str = ""
) -> tuple[Customer, bool]:
    """The customer with this number, made if new; True when it was. What we know already is never overwritten.

    It is their turn (see `take_turn`) until the caller commits.
    """
    customer = find_customer(business=business, phone=phone, lock=True)
    if customer is None:
        fresh = Customer(
            business=business, phone=phone, phone_raw=(raw or phone)[:64], name=name[:120], address=address[:200]
        )
        if rows.insert(fresh, unless_conflict=True):
            return fresh, True
        # Another request from the same person was quicker.
        customer = find_customer(business=business, phone=phone, lock=True)
        assert customer is not None
    missing = {"name": name[:120], "address": address[:200]}
    filled = [field for field, value in missing.items() if value and not getattr(customer, field)]
    if filled:
        for field in filled:
            setattr(customer, field, missing[field])
        rows.update(customer, *filled)
    return customer, False


def add_customer(*, business: Business, fields: dict[str, Any], actor: User | None, now: datetime) -> Customer:
    """Somebody a person writes down by hand, who may have no phone. `fields` are model fields, already validated.

    Raises Refused for a number that is on file.
    """
    customer = Customer(business=business, **fields)
    with transaction.atomic():
        try:
            with transaction.atomic():
                customer.save(force_insert=True)
        except IntegrityError as error:
            raise Refused("A customer with this phone number is already on file.") from error
        note(business=business, customer=customer, verb=Verb.NOTE, text="Added by hand.", now=now, actor=actor)
    return customer


def update_customer(*, customer: Customer, changes: dict[str, Any], actor: User | None, now: datetime) -> Customer:
    """Edit what is on file. `changes` are model fields, already validated by the form or serializer."""
    changed = [field for field, value in changes.items() if getattr(customer, field) != value]
    if not changed:
        return customer
    for field in changed:
        setattr(customer, field, changes[field])
    with transaction.atomic():
        try:
            with transaction.atomic():
                customer.save(update_fields=changed)
        except IntegrityError as error:
            raise Refused("A customer with this phone number is already on file.") from error
        labels = ", ".join(_label(field) for field in changed)
        note(
            business=customer.business,
            customer=customer,
            verb=Verb.EDITED,
            text=f"Edited: {labels}.",
            now=now,
            actor=actor,
        )
    return customer


def _label(field: str) -> str:
    column = Customer._meta.get_field(field)
    assert isinstance(column, models.Field)
    return str(column.verbose_name)


def merge_customers(*, kept: Customer, dropped: Customer, actor: User | None, now: datetime) -> CustomerMerge:
    """Two rows are one person: everything of `dropped` moves to `kept`, empty fields are filled, nothing is deleted.

    Whatever table points at customers moves too, so a floor above needs no word here. What may not be there twice (an
    open task for the same reason, an open offer) stays with the dropped one. Undo with `undo_merge`.
    """
    business = kept.business
    if kept.pk == dropped.pk or kept.business_id != dropped.business_id:
        raise Refused("Choose two different customers of the same business.")
    with transaction.atomic():
        kept, dropped = _locked_pair(kept, dropped)
        if kept.merged_into_id or dropped.merged_into_id:
            raise Refused("One of the two has been merged already.")
        shown = str(dropped)
        moved: dict[str, list[str]] = {}
        for label, relation in _pointing_at_customers().items():
            free = _free_to_move(relation, kept=kept, dropped=dropped).select_for_update(of=("self",), no_key=True)
            ids = [str(row.pk) for row in free.order_by("pk").only("pk")]
            if ids:
                relation.related_model._default_manager.filter(pk__in=ids).update(**{relation.field.name: kept})
                moved[label] = ids
        filled = {
            field: getattr(dropped, field)
            for field in ("name", "email", "address", "notes", "phone")
            if not getattr(kept, field) and getattr(dropped, field)
        }
        if "phone" in filled:  # a number is one customer's, so it is handed over
            filled["phone_raw"] = dropped.phone_raw
            dropped.phone, dropped.phone_raw = None, ""
        dropped.merged_into = kept
        dropped.save(update_fields=["merged_into", "phone", "phone_raw"])
        for field, value in filled.items():
            setattr(kept, field, value)
        kept.save(update_fields=list(filled))
        merge = CustomerMerge.objects.create(
            business=business, kept=kept, dropped=dropped, moved=moved, filled=filled, merged_by=actor, merged_at=now
        )
        note(
            business=business, customer=kept, verb=Verb.MERGED, text=f"Merged with {shown}.", now=now, actor=actor,
            about=f"merge:{merge.pk}",
        )  # fmt: skip
    return merge


def undo_merge(*, merge: CustomerMerge, actor: User | None, now: datetime) -> None:
    """Take a merge apart again: what moved goes back. What came in since stays with the kept customer."""
    with transaction.atomic():
        claimed = CustomerMerge.objects.filter(pk=merge.pk, undone_at__isnull=True).update(undone_at=now)
        if not claimed:
            raise Refused("This merge was undone already.")
        kept, dropped = _locked_pair(merge.kept, merge.dropped)
        if kept.merged_into_id:
            raise Refused("The two have been merged with a third customer since. Undo that first.")
        try:
            with transaction.atomic():
                _take_apart(merge, kept=kept, dropped=dropped)
        except IntegrityError as error:
            raise Refused("This merge cannot be undone any more: what came in since stands in the way.") from error
        note(
            business=kept.business, customer=kept, verb=Verb.MERGED, text=f"Merge with {dropped} undone.", now=now,
            actor=actor,
        )  # fmt: skip


def _take_apart(merge: CustomerMerge, *, kept: Customer, dropped: Customer) -> None:
    for label, relation in _pointing_at_customers().items():
        ids = merge.moved.get(label, [])
        relation.related_model._default_manager.filter(pk__in=ids).update(**{relation.field.name: dropped})
    taken_back = [field for field, value in merge.filled.items() if getattr(kept, field) == value]
    for field in taken_back:
        setattr(kept, field, None if field == "phone" else "")
    kept.save(update_fields=taken_back)
    dropped.merged_into = None
    dropped.phone = merge.filled.get("phone", dropped.phone)
    dropped.phone_raw = merge.filled.get("phone_raw", dropped.phone_raw)
    dropped.save(update_fields=["merged_into", "phone", "phone_raw"])


def _locked_pair(kept: Customer, dropped: Customer) -> tuple[Customer, Customer]:
    """Both as they stand now that it is their turn. Locked in one order, so two merges cannot block each other."""
    pair = Customer.objects.select_for_update(of=("self",), no_key=True).filter(pk__in=[kept.pk, dropped.pk])
    by_id = {row.pk: row for row in pair.order_by("pk")}
    return by_id[kept.pk], by_id[dropped.pk]


def _pointing_at_customers() -> dict[str, models.ForeignObjectRel]:
    """Every relation to Customer by table and column, except those of the merge itself.

    Our own come last, in the order of locks: the floors above hold a row of theirs when they close or renew a task.
    """
    others = [found for found in Customer._meta.related_objects if found.related_model not in (Customer, CustomerMerge)]
    return {
        f"{relation.related_model._meta.label}.{relation.field.name}": relation
        for relation in sorted(others, key=lambda found: found.related_model._meta.app_label == "crm")
    }


def _free_to_move(relation: models.ForeignObjectRel, *, kept: Customer, dropped: Customer) -> models.QuerySet[Any]:
    """Rows of `dropped` that no row of `kept` stands against, by the table's own unique constraints."""
    manager, column = relation.related_model._default_manager, relation.field.name
    found = manager.filter(**{column: dropped})
    for constraint in relation.related_model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and column in constraint.fields:
            rest = {name: models.OuterRef(name) for name in constraint.fields if name != column}
            when = constraint.condition or models.Q()
            found = found.exclude(when & models.Q(models.Exists(manager.filter(when, **{column: kept}, **rest))))
    return found


# --- Conversations -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceivedText:
    customer: Customer
    conversation: Conversation
    message: Message
    is_new_customer: bool


def receive_text(
    *, business: Business, phone: str, our_number: str, body: str, provider_sid: str, now: datetime, raw_phone: str = ""
) -> ReceivedText:
    """Keep a text somebody sent us: customer, thread and message. It is their turn until the caller commits, so the
    texts of one person are answered one after another."""
    customer, is_new = remember_customer(business=business, phone=phone, raw=raw_phone)
    conversation = _locked_thread(business=business, customer=customer, phone=phone, our_number=our_number, now=now)
    message = Message(
        business=business, conversation=conversation, customer=customer, direction=Direction.INBOUND,
        author=Author.CUSTOMER, body=body[:1_600], to_number=our_number, from_number=phone, status=MessageStatus.RECEIVED,
        provider_sid=provider_sid, created_at=now,
    )  # fmt: skip
    rows.insert(message)
    conversation.last_message_at = conversation.last_inbound_at = now
    conversation.last_words = body[:120]
    conversation.our_number = our_number or conversation.our_number
    conversation.waiting_since = conversation.waiting_since or now
    rows.update(conversation, "last_message_at", "last_inbound_at", "last_words", "our_number", "waiting_since")
    return ReceivedText(customer=customer, conversation=conversation, message=message, is_new_customer=is_new)


def open_thread(*, business: Business, customer: Customer, now: datetime) -> Conversation:
    """The text thread with a customer, made if there is none; locked until the caller commits."""
    if not customer.phone:
        raise Refused("There is no phone number on file for this customer.")
    return _locked_thread(business=business, customer=customer, phone=customer.phone, our_number="", now=now)


def _locked_thread(
    *, business: Business, customer: Customer, phone: str, our_number: str, now: datetime
) -> Conversation:
    where, who = "business_id = %s AND channel = %s AND their_address = %s", [business.pk, Channel.SMS.value, phone]
    conversation = rows.first(Conversation, where, who, lock=True)
    if conversation is None:
        if not our_number:
            number = rows.first(PhoneNumber, "business_id = %s", [business.pk], order="created_at, id")
            our_number = number.e164 if number else ""
        conversation = Conversation(
            business=business, customer=customer, channel=Channel.SMS, their_address=phone, our_number=our_number,
            created_at=now, last_message_at=now,
        )  # fmt: skip
        if not rows.insert(conversation, unless_conflict=True):  # a second first text at the same instant
            conversation = rows.first(Conversation, where, who, lock=True)
            assert conversation is not None
    conversation.business, conversation.customer = business, customer
    return conversation


def take_over(*, conversation: Conversation, user: User, now: datetime) -> None:
    """A person answers from here on; the assistant is silent until the lease ends or they hand back."""
    with transaction.atomic():
        conversation.human, conversation.human_until = user, now + LEASE
        conversation.save(update_fields=["human", "human_until"])
        note(
            business=conversation.business, customer=conversation.customer, verb=Verb.HANDED_OVER, now=now, actor=user,
            text=f"{user.get_short_name()} took over the conversation.", about=f"conversation:{conversation.pk}",
        )  # fmt: skip


def hand_back(*, conversation: Conversation, user: User, now: datetime) -> None:
    """The assistant answers again."""
    with transaction.atomic():
        conversation.human_until = None
        conversation.save(update_fields=["human_until"])
        note(
            business=conversation.business, customer=conversation.customer, verb=Verb.HANDED_BACK, now=now, actor=user,
            text=f"{user.get_short_name()} handed the conversation back to the assistant.",
            about=f"conversation:{conversation.pk}",
        )  # fmt: skip


def reply_as_staff(*, conversation: Conversation, body: str, user: User, now: datetime) -> Message:
    """A person writes. That takes the conversation over: whoever writes is the one the customer talks to.

    Raises CannotSend with the reason; nothing is changed then.
    """
    with transaction.atomic():
        take_turn(conversation.customer)
        conversation = Conversation.objects.select_for_update(of=("self",), no_key=True).get(pk=conversation.pk)
        message = queue_message(
            business=conversation.business, customer=conversation.customer, conversation=conversation, body=body,
            author=Author.STAFF, kind=MessageKind.CHAT, now=now, sent_by=user,
        )  # fmt: skip
        conversation.human, conversation.human_until = user, now + LEASE
        conversation.save(update_fields=["human", "human_until"])
    return message


def tell_customer(
    *,
    customer: Customer,
    body: str,
    kind: MessageKind,
    now: datetime,
    about: str = "",
    author: Author = Author.ASSISTANT,
) -> Message | None:
    """Text a customer something they should know. If the door says no, the reason stands on the timeline instead."""
    with transaction.atomic(savepoint=False):
        try:
            take_turn(customer)
            conversation = open_thread(business=customer.business, customer=customer, now=now)
            return queue_message(
                business=customer.business, customer=customer, conversation=conversation, body=body, author=author,
                kind=kind, about=about, now=now,
            )  # fmt: skip
        except (CannotSend, Refused) as reason:
            note(
                business=customer.business, customer=customer, verb=Verb.REFUSED, text=f"{reason} “{body[:120]}”", now=now,
                about=about,
            )  # fmt: skip
            return None


def mark_answered(*, conversation: Conversation, user: User, now: datetime) -> None:
    """Nothing to answer here: take it off the waiting list."""
    with transaction.atomic():
        conversation.waiting_since = None
        conversation.save(update_fields=["waiting_since"])
        note(
            business=conversation.business, customer=conversation.customer, verb=Verb.NOTE, now=now, actor=user,
            text=f"{user.get_short_name()} marked the conversation as answered.", about=f"conversation:{conversation.pk}",
        )  # fmt: skip


def requeue_message(*, message: Message, actor: User, now: datetime) -> None:
    """Send a text again that failed, or of which nobody knows whether it arrived. Raises Refused with the reason.

    It is the same row and goes through the door anew: consent, quiet hours, the day's budget. What became of the first
    try stays in the audit. Two people who ask at once send one text.
    """
    capped = message.audience == Audience.CUSTOMER  # an alert to the owner is not held back by the day's cap
    with transaction.atomic():
        if message.customer is not None:
            take_turn(message.customer)
        plan = recheck(message, now=now)
        if plan.due_at is None:
            raise Refused(plan.sentence)
        tried = Message.objects.filter(pk=message.pk, status__in=[MessageStatus.FAILED, MessageStatus.UNKNOWN])
        before = tried.values("status", "error", "error_code", "provider_sid", "sent_at").first()
        claimed = tried.update(
            status=MessageStatus.QUEUED, due_at=plan.due_at, attempts=0, claimed_at=None, sent_at=None, provider_sid="",
            error="", error_code="", sent_via=SentVia.API,
            delay_reason="" if plan.due_at <= now else plan.sentence[:200],
        )  # fmt: skip
        if before is None or not claimed:
            raise Refused("Only a text that failed, or that is not known to have arrived, can be sent again.")
        cost = sms_cost_micros(plan.count.segments)
        if not limits.spend(business=message.business, meter=Meter.SMS, micros=cost, now=now, capped=capped):
            raise Refused("Can't send: today's budget for texts is used up.")
        note(
            business=message.business, customer=message.customer, verb=Verb.NOTE, now=now, actor=actor,
            about=f"message:{message.pk}",
            text=f"{actor.get_short_name()} had a text sent again: “{message.body[:120]}”",
        )  # fmt: skip
        audit(
            business=message.business, actor=actor, action="text sent again", target=f"message {message.pk}", now=now,
            changes={name: [str(was or ""), "queued" if name == "status" else ""] for name, was in before.items()},
        )  # fmt: skip
        announce(due_at=plan.due_at, now=now)


# --- Consent, by people ----------------------------------------------------------------------------------------------


def record_opt_out(*, business: Business, customer: Customer, words: str, user: User, now: datetime) -> None:
    """They told a person, on the phone or at the door, that they want no texts."""
    if not customer.phone:
        raise Refused("There is no phone number on file for this customer.")
    with transaction.atomic():
        consent.revoke(
            business=business, phone=customer.phone, source=ConsentSource.STAFF, words=words, now=now, recorded_by=user
        )
        note(
            business=business,
            customer=customer,
            verb=Verb.OPTED_OUT,
            text="Opted out of texts, recorded by staff.",
            now=now,
            actor=user,
        )


# --- Tasks -----------------------------------------------------------------------------------------------------------


def add_task(
    *, business: Business, customer: Customer | None, reason: TaskReason, title: str, now: datetime, about: str = "",
    due_at: datetime | None = None,
) -> Task:  # fmt: skip
    """Ask a person to do something, now or from `due_at` on. While the same thing is open for the same customer (without
    one: about the same thing) it is renewed, not doubled.

    Of follow-ups, which people plan themselves, only one in the same words and for the same time is the same thing.
    """
    due_at = due_at or now
    if customer is not None or about:
        renewed = Task.objects.for_business(business).filter(customer=customer, reason=reason, done_at__isnull=True)
        if reason == TaskReason.FOLLOW_UP:
            renewed = renewed.filter(about=about, title=title[:200], due_at=due_at)
        elif customer is None:
            renewed = renewed.filter(about=about)
        if renewed.update(title=title[:200], about=about, due_at=due_at):
            return renewed.first()
    try:
        with transaction.atomic():
            task = Task.objects.create(
                business=business,
                customer=customer,
                reason=reason,
                title=title[:200],
                about=about,
                created_at=now,
                due_at=due_at,
            )
    except IntegrityError:  # the same moment, the same reason
        return Task.objects.for_business(business).get(customer=customer, reason=reason, done_at__isnull=True)
    note(business=business, customer=customer, verb=Verb.TASK, text=title, now=now, about=f"task:{task.pk}")
    return task


def finish_task(*, task: Task, user: User, now: datetime) -> bool:
    """Done. False: somebody else had done it already."""
    with transaction.atomic():
        if not Task.objects.filter(pk=task.pk, done_at__isnull=True).update(done_at=now, done_by=user):
            return False
        note(
            business=task.business,
            customer=task.customer,
            verb=Verb.TASK,
            text=f"Done: {task.title}",
            now=now,
            actor=user,
        )
        return True


def reopen_task(*, task: Task, user: User, now: datetime) -> None:
    """Undo `finish_task`."""
    with transaction.atomic():
        try:
            with transaction.atomic():
                Task.objects.filter(pk=task.pk).update(done_at=None, done_by=None)
        except IntegrityError as error:
            raise Refused("The same thing is on the list again already.") from error
        note(
            business=task.business,
            customer=task.customer,
            verb=Verb.TASK,
            text=f"Open again: {task.title}",
            now=now,
            actor=user,
        )


# --- Businesses --------------------------------------------------------------------------------------------------------


def add_business(
    *, slug: str, name: str, zone: str, region: str = "US", open_intake: bool = False, **fields: Any
) -> Business:
    """A new tenant. Raises ValidationError naming the field."""
    business = Business(slug=slug, name=name, time_zone=zone, region=region, open_intake=open_intake, **fields)
    business.full_clean()
    business.save(force_insert=True)
    return business


def add_number(*, business: Business, raw: str, label: str = "") -> PhoneNumber:
    """A number of ours for this business; calls and texts to it are theirs."""
    number = PhoneNumber(business=business, e164=phones.parse(raw, region=business.region).e164, label=label)
    number.full_clean()
    number.save(force_insert=True)
    return number


def add_member(*, business: Business, user: User, role: Role) -> Membership:
    membership, _ = Membership.objects.update_or_create(business=business, user=user, defaults={"role": role})
    return membership


def set_status(*, businesses: Sequence[Business], status: str, actor: User, reason: str, now: datetime) -> int:
    """Suspend or reactivate. Returns how many changed; each leaves a line in the audit."""
    changed = 0
    for business in businesses:
        with transaction.atomic():
            before = business.status
            if not Business.objects.filter(pk=business.pk).exclude(status=status).update(status=status):
                continue
            changed += 1
            audit(
                business=business, actor=actor, action="status changed", target=f"business {business.slug}",
                changes={"status": [before, status]}, reason=reason, now=now,
            )  # fmt: skip
    return changed


def audit(
    *, business: Business | None, actor: User | None, action: str, target: str, now: datetime,
    changes: dict[str, Any] | None = None, reason: str = "", actor_text: str = "",
) -> AuditEvent:  # fmt: skip
    """Who did what to what, and why."""
    return AuditEvent.objects.create(
        business=business, actor=actor, actor_text=(actor_text or str(actor or "system"))[:120], action=action[:60],
        target=target[:120], changes=changes or {}, reason=reason[:300], at=now,
    )  # fmt: skip
