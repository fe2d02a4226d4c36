"""Every cross-model read of the ground floor's pages. How many queries a page makes never depends on how full it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

from crm import consent, messaging
from crm.enums import Audience, Author, Channel, Direction, MessageKind, MessageStatus, Verb
from crm.models import (
    Activity,
    Business,
    Consent,
    Conversation,
    Customer,
    CustomerMerge,
    Heartbeat,
    Message,
    Task,
)
from crm.models.talk import ConversationQuerySet
from crm.phones import pretty
from crm.timeline import Entry, story

LONGEST_SEARCH: Final = 80  # characters; a name and a number fit
SILENT_AFTER: Final = timedelta(minutes=2)  # without a sign of life the sending worker counts as away


# --- The shell, and Today --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """What waits for a person."""

    conversations: int
    tasks: int


def counts(business: Business, *, now: datetime) -> Counts:
    return Counts(
        conversations=Conversation.objects.for_business(business).waiting_for_reply().count(),
        tasks=open_tasks(business, now=now).count(),
    )


def waiting_conversations(business: Business) -> ConversationQuerySet[Conversation]:
    """Who has waited longest comes first."""
    rows = Conversation.objects.for_business(business).waiting_for_reply()
    return rows.select_related("customer", "human").order_by("waiting_since", "id")


def open_tasks(business: Business, *, now: datetime) -> QuerySet[Task]:
    """What is to be done now; what somebody put off until later comes when it is due."""
    due = Task.objects.for_business(business).open().filter(due_at__lte=now)
    return due.select_related("customer").order_by("due_at", "id")


def later_tasks(business: Business, *, now: datetime) -> QuerySet[Task]:
    """What is put off, the next first."""
    later = Task.objects.for_business(business).open().filter(due_at__gt=now)
    return later.select_related("customer").order_by("due_at", "id")


def lost_texts(business: Business, *, since: datetime) -> QuerySet[Message]:
    """Texts that failed or that nobody knows about, newest first."""
    return (
        Message.objects.for_business(business)
        .filter(status__in=[MessageStatus.FAILED, MessageStatus.UNKNOWN], created_at__gte=since)
        .select_related("customer")
        .order_by("-created_at", "-id")
    )


@dataclass(frozen=True)
class StuckOutbox:
    """Texts are due and nothing sends them. `last_seen` is the worker's last sign of life, None if it never ran."""

    due: int
    last_seen: datetime | None


def stuck_outbox(business: Business, *, now: datetime) -> StuckOutbox | None:
    """None while all is well: nothing due, or a worker alive."""
    last_seen = Heartbeat.objects.filter(name="worker").values_list("at", flat=True).first()
    due = Message.objects.for_business(business).due(now).count()
    if not due or (last_seen is not None and now - last_seen <= SILENT_AFTER):
        return None
    return StuckOutbox(due=due, last_seen=last_seen)


# --- Inbox and thread ------------------------------------------------------------------------------------------------


def inbox(business: Business, *, words: str = "") -> ConversationQuerySet[Conversation]:
    """Conversations, or those with the customers `words` finds."""
    rows = Conversation.objects.for_business(business).select_related("customer", "human")
    if words:
        rows = rows.filter(customer__in=Customer.objects.for_business(business).search(words).values("pk"))
    return rows


def plan_reply(conversation: Conversation, body: str, *, now: datetime) -> messaging.Plan:
    """What would happen to a text from the reply box."""
    return messaging.plan_message(
        business=conversation.business, phone=conversation.their_address, body=body, author=Author.STAFF, now=now,
        conversation=conversation,
    )  # fmt: skip


def plan_notice(customer: Customer, body: str, *, now: datetime) -> messaging.Plan:
    """What would happen to a text that tells a customer of a change a person made."""
    thread = None
    if customer.phone:
        threads = Conversation.objects.for_business(customer.business)
        thread = threads.filter(channel=Channel.SMS, their_address=customer.phone).select_related("human").first()
    return messaging.plan_message(
        business=customer.business, phone=customer.phone, body=body, author=Author.STAFF, now=now, conversation=thread,
        kind=MessageKind.APPOINTMENT,
    )  # fmt: skip


# --- Customers -------------------------------------------------------------------------------------------------------


def customers(business: Business, *, words: str = "") -> QuerySet[Customer]:
    rows = Customer.objects.for_business(business).standing()
    return rows.search(words) if words else rows


@dataclass(frozen=True)
class ConsentState:
    """Whether a customer may be texted, in a sentence, and every line of the ledger about their number."""

    sentence: str
    tone: str  # success, danger or, when the ledger is silent, warning
    opted_out: bool
    ledger: list[Consent]


def consent_state(customer: Customer) -> ConsentState:
    """Two queries; none for a customer without a number."""
    if not customer.phone:
        return ConsentState(sentence="There is no number to text.", tone="warning", opted_out=False, ledger=[])
    business = customer.business
    line = consent.standing(business=business, phone=customer.phone)
    ledger = list(
        Consent.objects.for_business(business)
        .filter(phone=customer.phone)
        .select_related("recorded_by")
        .order_by("-at", "-id")[:50]
    )
    if line is None:
        return ConsentState(
            sentence="They have not agreed to texts yet. When they text you, they have.",
            tone="warning",
            opted_out=False,
            ledger=ledger,
        )
    if consent.is_opted_out(line):
        said = consent.opt_out_sentence(line, business=business)
        return ConsentState(
            sentence=f"They {said}. Nothing is sent to them.", tone="danger", opted_out=True, ledger=ledger
        )
    day = line.at.astimezone(business.zone)
    sentence = f"They agreed to texts on {day:%b} {day.day}, {day.year}, {line.get_source_display()}."
    return ConsentState(sentence=sentence, tone="success", opted_out=False, ledger=ledger)


@dataclass(frozen=True)
class Happened:
    """One line of a customer's story, ready for the timeline component. `about` is what it opens, if anything."""

    kind: str
    text: str
    at: datetime
    detail: str = ""
    actor: str = ""
    about: str = ""


@dataclass(frozen=True)
class History:
    happened: list[Happened]
    before: str  # reads on; empty at the beginning of the story


# The filters of the timeline: what each shows of the activity log.
SHOWN: Final[Mapping[str, tuple[str, Sequence[Verb]]]] = {
    "visits": (
        "Visits",
        (
            Verb.OFFERED,
            Verb.DECLINED,
            Verb.BOOKED,
            Verb.CONFIRMED,
            Verb.MOVED,
            Verb.CANCELLED,
            Verb.COMPLETED,
            Verb.MISSED,
        ),
    ),
    "consent": ("Consent", (Verb.OPTED_OUT, Verb.OPTED_IN, Verb.REFUSED)),
    "office": (
        "Office",
        (
            Verb.LEAD,
            Verb.TASK,
            Verb.HANDED_OVER,
            Verb.HANDED_BACK,
            Verb.EDITED,
            Verb.MERGED,
            Verb.NOTE,
            Verb.FAILED,
        ),
    ),
}
# A text in the story: its icon, and who said it where the words do not tell.
_SAID: Final = {
    "text_customer": ("wrote", ""),
    "text_assistant": ("answered", "Assistant"),
    "text_staff": ("wrote", "Your team"),
    "text_system": ("wrote", "Frontdesk"),
}
_SAME_MOMENT: Final = 30  # one transaction tells several lines with one time; a page never ends between them


def history(customer: Customer, *, show: str = "", before: datetime | None = None, size: int = 30) -> History:
    """The story of a customer, newest first; `show` is "" for everything, "texts" or a key of SHOWN."""
    want = size + _SAME_MOMENT
    if show in SHOWN:
        lines = _done(customer, verbs=SHOWN[show][1], before=before, limit=want)
    elif show == "texts":
        lines = _texts(customer, before=before, limit=want)
    else:
        lines = [_entry(entry) for entry in story(customer, before=before, limit=want)]
    end = min(size, len(lines))
    while 0 < end < len(lines) and lines[end].at == lines[end - 1].at:
        end += 1
    return History(
        happened=lines[:end],
        before=lines[end - 1].at.isoformat() if end < len(lines) else "",
    )


def _done(customer: Customer, *, verbs: Iterable[Verb], before: datetime | None, limit: int) -> list[Happened]:
    rows = customer.activities.filter(verb__in=list(verbs)).select_related("actor")
    if before is not None:
        rows = rows.filter(at__lt=before)
    return [_told(row) for row in rows.order_by("-at", "-id")[:limit]]


def _texts(customer: Customer, *, before: datetime | None, limit: int) -> list[Happened]:
    rows = customer.messages.filter(audience=Audience.CUSTOMER)
    if before is not None:
        rows = rows.filter(created_at__lt=before)
    return [
        Happened(
            kind=_SAID[f"text_{row.author}"][0],
            text=row.body,
            at=row.created_at,
            actor=_SAID[f"text_{row.author}"][1],
            about=f"message:{row.pk}",
            detail="" if row.direction == Direction.INBOUND else row.error or row.get_status_display(),
        )
        for row in rows.order_by("-created_at", "-id")[:limit]
    ]


def _entry(entry: Entry) -> Happened:
    kind, actor = _SAID.get(entry.kind, (entry.kind, ""))
    return Happened(kind=kind, text=entry.text, at=entry.at, actor=actor, detail=entry.detail, about=entry.about)


def story_of(customer: Customer, about: str) -> list[Happened]:
    """What happened to one thing of a customer's, newest first."""
    rows = customer.activities.filter(about=about).select_related("actor")
    return [_told(row) for row in rows.order_by("-at", "-id")[:100]]


def _told(row: Activity) -> Happened:
    return Happened(
        kind=row.verb, text=row.text, at=row.at, about=row.about, actor=row.actor.get_short_name() if row.actor else ""
    )


def threads(customer: Customer) -> list[Conversation]:
    """Their conversations; after a merge there may be one per number."""
    return list(customer.conversations.select_related("customer", "human").order_by("-last_message_at", "-id"))


def merges(customer: Customer) -> list[CustomerMerge]:
    """Customers that were merged into this one and can be taken out again."""
    rows = CustomerMerge.objects.for_business(customer.business).filter(kept=customer, undone_at__isnull=True)
    return list(rows.select_related("dropped"))


def merge_preview(kept: Customer, dropped: Customer) -> list[dict[str, Any]]:
    """Side by side, and what would stand on file afterwards."""

    def row(label: str, one: str, other: str, *, after: str) -> dict[str, Any]:
        return {"label": label, "kept": one, "dropped": other, "after": after}

    shown = [
        row(label, getattr(kept, name), getattr(dropped, name), after=getattr(kept, name) or getattr(dropped, name))
        for label, name in [("Name", "name"), ("E-mail", "email"), ("Address", "address"), ("Notes", "notes")]
    ]
    region = kept.business.region
    one, other = (pretty(c.phone, region=region) if c.phone else "" for c in (kept, dropped))
    numbers = " and ".join(number for number in (one, other) if number)
    shown.insert(1, row("Phone", one, other, after=numbers))
    return shown
