"""A conversation as its page shows it: lines with days, names and cards; what is new since; and who answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import BadRequest
from django.db.models import Q, QuerySet
from django.http import QueryDict

from crm import cards, paging
from crm.cards import Card
from crm.enums import Audience, Author, MessageStatus
from crm.models import Business, Conversation, Message, User
from crm.wording import say_clock

PAGE: Final = 50  # messages
_MAY_CHANGE: Final = (MessageStatus.QUEUED, MessageStatus.SENDING, MessageStatus.SENT, MessageStatus.UNKNOWN)
_OVERLAP: Final = timedelta(seconds=10)  # two transactions may commit in another order than their clocks say


@dataclass(frozen=True)
class Line:
    """One message with what stands around it. `day` is set where a new day of the business begins; `card` is what the
    message is about, where no later message of the page is about the same."""

    message: Message
    sender: str
    grouped: bool
    day: datetime | None
    card: Card | None


@dataclass(frozen=True)
class Known:
    """What a browser already shows at the end of a thread, as it travels in the address of its next question.

    `since` is the newest message; `statuses` how those stood that may still change, and those so new that another may
    yet appear before them; `cards` the cards on the page, by key.
    """

    since: datetime | None
    statuses: dict[UUID, str]
    cards: frozenset[str] = frozenset()

    @classmethod
    def of(cls, lines: Sequence[Line], cards: frozenset[str] = frozenset()) -> Known:
        if not lines:
            return cls(since=None, statuses={}, cards=cards)
        messages = [line.message for line in lines]
        since = max(message.created_at for message in messages)
        return cls(
            since=since,
            statuses={m.pk: m.status for m in messages if m.status in _MAY_CHANGE or since - m.created_at <= _OVERLAP},
            cards=cards | {line.card.key for line in lines if line.card},
        )

    @classmethod
    def read(cls, query: QueryDict) -> Known:
        """Raises BadRequest for what none of our pages wrote."""
        try:
            pairs = [text.partition(".") for text in query.getlist("m")[:500]]
            said = str(query.get("since", ""))
            since = datetime.fromisoformat(said) if said else None
            if since is not None and since.tzinfo is None:
                raise ValueError("a time without a zone is nobody's")
            return cls(
                since=since,
                statuses={UUID(pk): status for pk, _, status in pairs},
                cards=frozenset(str(UUID(key)) for key in query.getlist("card")[:500]),
            )
        except (ValueError, OverflowError) as error:
            raise BadRequest("This address holds a place in the thread that does not exist.") from error

    @property
    def query(self) -> str:
        return urlencode(
            [("since", self.since.isoformat() if self.since else "")]
            + [("m", f"{pk}.{status}") for pk, status in self.statuses.items()]
            + [("card", key) for key in sorted(self.cards)]
        )

    @property
    def replaceable(self) -> str:
        """The elements of the page that an answer may bring anew, for hx-select-oob."""
        return ",".join([*(f"#message-{pk}" for pk in self.statuses), *(f"#card-{key}" for key in sorted(self.cards))])


@dataclass(frozen=True)
class ThreadPage:
    """Messages oldest first. `before` reads on into the past; `is_newest`: the page ends at the present."""

    lines: list[Line]
    before: str
    is_newest: bool
    known: Known


@dataclass(frozen=True)
class News:
    """What has come since: new lines, and lines whose delivery has moved on."""

    new: list[Line]
    changed: list[Line]
    known: Known

    def __bool__(self) -> bool:
        return bool(self.new or self.changed)


def page(conversation: Conversation, *, before: str = "") -> ThreadPage:
    """One stretch of a thread, the newest unless `before` says otherwise. Raises BadRequest for a made-up `before`."""
    found = paging.stretch(_said_in(conversation), by="-created_at", after=before, size=PAGE)
    lines = _lines(conversation, found.rows[::-1])
    return ThreadPage(lines=lines, before=found.after, is_newest=not before, known=Known.of(lines))


def place_of(message: Message, *, conversation: Conversation, context: int = 10) -> str:
    """The `before` of a page that shows this message with a few newer ones; empty: the newest page does."""
    here = paging.cursor(message, "created_at")
    newer = paging.stretch(_said_in(conversation), by="created_at", after=here, size=context).rows
    return paging.cursor(newer[-1], "created_at") if len(newer) == context else ""


def news(conversation: Conversation, *, known: Known) -> News:
    fresh = Q() if known.since is None else Q(created_at__gt=known.since - _OVERLAP)
    messages = list(_said_in(conversation).filter(fresh | Q(pk__in=known.statuses)).order_by("created_at", "id"))
    lines = {line.message.pk: line for line in _lines(conversation, messages)}
    new = [message for message in messages if message.pk not in known.statuses]
    last_shown = next((message for message in reversed(messages) if message.pk in known.statuses), None)
    return News(
        new=_lines(conversation, new, after=last_shown),
        changed=[lines[m.pk] for m in messages if known.statuses.get(m.pk, m.status) != m.status],
        known=Known.of(list(lines.values()), known.cards) if messages else known,
    )


def _said_in(conversation: Conversation) -> QuerySet[Message]:
    rows: QuerySet[Message] = conversation.messages.filter(audience=Audience.CUSTOMER).select_related("sent_by")
    return rows


def _lines(conversation: Conversation, messages: Sequence[Message], *, after: Message | None = None) -> list[Line]:
    """`after` is the message that stands before the first of these, if any."""
    zone = conversation.business.zone
    carried = _cards(conversation.business, messages)
    lines: list[Line] = []
    for message in messages:
        sender = _sender(conversation, message)
        new_day = (
            after is None or after.created_at.astimezone(zone).date() != message.created_at.astimezone(zone).date()
        )
        follows = after is not None and not new_day and not (lines and lines[-1].card)
        lines.append(
            Line(
                message=message,
                sender=sender,
                grouped=follows and after is not None and _sender(conversation, after) == sender,
                day=message.created_at if new_day else None,
                card=carried.get(message.pk),
            )
        )
        after = message
    return lines


def _cards(business: Business, messages: Sequence[Message]) -> dict[UUID, Card]:
    """By message, the card it carries: of several messages about one thing the last does."""
    found = cards.look_up(business, {message.about for message in messages if message.about})
    last: dict[str, tuple[UUID, Card]] = {}
    for message in messages:
        card = found.get(message.about)
        if card is not None and card.template:
            last[card.key] = (message.pk, card)
    return dict(last.values())


def _sender(conversation: Conversation, message: Message) -> str:
    if message.author == Author.CUSTOMER:
        return str(conversation.customer)
    if message.author == Author.STAFF:
        return message.sent_by.get_short_name() if message.sent_by else conversation.business.name
    return Author(message.author).label


@dataclass(frozen=True)
class Hand:
    """Who answers a conversation, in the words of the bar above the reply box, and what its button does."""

    staff: bool
    words: str
    sentence: str
    hands_back: bool


def hand(conversation: Conversation, *, user: User, now: datetime, can_be_texted: bool) -> Hand:
    if conversation.human_until is None or not conversation.human_answers(now):
        if not can_be_texted:
            return Hand(staff=False, words="The assistant is silent", sentence="No text can go out.", hands_back=False)
        return Hand(staff=False, words="The assistant is answering", sentence="", hands_back=False)
    until = say_clock(conversation.human_until, conversation.business.zone)
    if conversation.human == user:
        sentence = "The assistant is silent until then, or until you hand back."
        return Hand(staff=True, words=f"You are answering until {until}", sentence=sentence, hands_back=True)
    who = conversation.human.get_short_name() if conversation.human else "Somebody"
    return Hand(
        staff=True, words=f"{who} is answering until {until}", sentence="The assistant is silent.", hands_back=False
    )
