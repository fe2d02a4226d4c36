"""What the simulator shows: what the two phones really got, and what went on behind them.

The phones read the demo carrier's book (`SimulatedText`) and nothing else, as real phones know nothing of our outbox.
Only the machine room looks into ours. Call the reads inside the business's scope.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q

from crm.enums import Direction, SecurityEventKind
from crm.models import Business, Customer, Membership, Message, PhoneNumber, SecurityEvent, User
from crm.phones import pretty
from telephony.demo.businesses import ACME, BRISTOL, JANE_PHONE, NEXTGEN
from telephony.demo.services import demo_businesses
from telephony.enums import EventKind
from telephony.gateways import simulated
from telephony.models import InboundEvent, SimulatedText

SHOWN: Final = 40  # texts on a phone
ROWS: Final = 8  # in each list of the machine room
LOOKS_BACK: Final = timedelta(days=2)  # of the machine room
_AIR: Final = ("queued", "sent")
_FIRST_WORDS: Final = {
    ACME.slug: "need ac repair asap",
    BRISTOL.slug: "kitchen drain is backed up",
    NEXTGEN.slug: "can I book a hydrafacial?",
}
_ANSWERS: Final = ("1", "2", "3", "tuesday after 3", "STOP", "START", "HELP")


@dataclass(frozen=True)
class Line:
    """One text on a phone. `mine`: written on it. `trouble` says why ours never got it."""

    sid: str
    body: str
    at: datetime
    mine: bool
    trouble: str = ""
    new_day: bool = False


@dataclass(frozen=True)
class Handset:
    """A phone as it is right now.

    `in_air` texts are on their way to it and the next lands at `lands_at`; `fresh` ones came within the last half
    minute; `lost` ones never came, within the last ten minutes.
    """

    number: str
    lines: list[Line]
    in_air: int
    lands_at: datetime | None
    lost: int
    fresh: int

    @property
    def pretty(self) -> str:
        return pretty(self.number)


@dataclass(frozen=True)
class Letter:
    """A letter to our webhook, and what the router made of it."""

    event: InboundEvent
    words: str
    report: str = ""


@dataclass(frozen=True)
class MachineRoom:
    letters: list[Letter]
    outbox: list[Message]
    reports: list[Letter]
    turned_away: list[SecurityEvent]


def open_to(user: Any) -> list[Business]:
    """Whom this visitor may play with: everybody the demo businesses, members their own too, platform staff all."""
    demo = demo_businesses()
    if not isinstance(user, User):
        return _in_order(demo)
    if user.is_staff:
        return _in_order(Business.objects.all())
    own = Membership.objects.filter(user=user).values("business")
    return _in_order({*demo, *Business.objects.filter(pk__in=own)})


def number_of(business: Business) -> str:
    """The number its customers text; empty when it has none."""
    return PhoneNumber.objects.filter(business=business).values_list("e164", flat=True).first() or ""


def chips(business: Business) -> list[str]:
    """What one tap can say."""
    return [_FIRST_WORDS.get(business.slug, "I need an appointment"), *_ANSWERS]


def familiar(business: Business) -> list[tuple[str, str]]:
    """Numbers to choose from, with names: Jane's, and those who wrote last."""
    number = number_of(business)
    wrote = SimulatedText.objects.filter(to_number=number).exclude(from_number=business.owner_phone)
    latest = list(
        dict.fromkeys([JANE_PHONE, *wrote.order_by("-created_at").values_list("from_number", flat=True)[:60]])
    )[:12]
    names = dict(Customer.objects.for_business(business).filter(phone__in=latest).values_list("phone", "name"))
    return [(phone, f"{names.get(phone) or 'No name yet'}, {pretty(phone)}") for phone in latest]


def handset(*, phone: str, number: str, zone: Any, now: datetime) -> Handset:
    """The thread of one phone with one of our numbers, oldest first."""
    if not phone or not number:
        return Handset(number=phone, lines=[], in_air=0, lands_at=None, lost=0, fresh=0)
    theirs = Q(from_number=number, to_number=phone)
    rows = SimulatedText.objects.filter(Q(from_number=phone, to_number=number) | theirs & Q(status="delivered"))
    lines: list[Line] = []
    for row in reversed(rows.order_by("-arrives_at", "-created_at", "-sid")[:SHOWN]):
        mine = row.from_number == phone
        refused = mine and row.webhook_status is not None and row.webhook_status >= 300
        day = row.arrives_at.astimezone(zone).date()
        lines.append(
            Line(
                sid=row.sid, body=row.body, at=row.arrives_at, mine=mine,
                trouble=f"Our webhook answered {row.webhook_status}." if refused else "",
                new_day=not lines or lines[-1].at.astimezone(zone).date() != day,
            )
        )  # fmt: skip
    air = list(
        SimulatedText.objects.filter(theirs, status__in=_AIR)
        .order_by("arrives_at")
        .values_list("arrives_at", flat=True)[:100]
    )
    lost = SimulatedText.objects.filter(
        theirs, status="undelivered", created_at__gt=now - timedelta(minutes=10)
    ).count()
    fresh = sum(not line.mine and line.at > now - timedelta(seconds=30) for line in lines)
    return Handset(
        number=phone, lines=lines, in_air=len(air), lands_at=air[0] if air else None, lost=lost, fresh=fresh
    )  # fmt: skip


def machine_room(*, business: Business, phones: list[str], now: datetime) -> MachineRoom:
    """What we made of what these phones wrote, and how what we wrote to them fares: newest first."""
    number = number_of(business)
    lately = InboundEvent.objects.filter(received_at__gt=now - LOOKS_BACK).order_by("-received_at", "-id")
    letters = list(lately.filter(kind=EventKind.SMS, business=business, from_number__in=phones)[:ROWS])
    reports = list(lately.filter(kind=EventKind.STATUS, to_number__in=phones, from_number=number)[:ROWS])
    words = dict(SimulatedText.objects.filter(pk__in=[event.sid for event in letters]).values_list("sid", "body"))
    outbox = (
        Message.objects.for_business(business)
        .filter(direction=Direction.OUTBOUND, to_number__in=phones, created_at__gt=now - LOOKS_BACK)
        .order_by("-created_at", "-id")
    )
    knocks = (
        SecurityEventKind.SIGNATURE_MISSING,
        SecurityEventKind.SIGNATURE_INVALID,
        SecurityEventKind.ACCOUNT_UNKNOWN,
    )
    turned_away = SecurityEvent.objects.filter(kind__in=knocks, minute__gt=now - LOOKS_BACK).order_by("-minute", "-id")
    return MachineRoom(
        letters=[Letter(event=event, words=words.get(event.sid, "")) for event in letters],
        outbox=list(outbox[:ROWS]),
        reports=[
            Letter(event=event, words=event.sid.partition(":")[0], report=str(event.payload.get("MessageStatus", "")))
            for event in reports
        ],
        turned_away=list(turned_away[:3]),
    )  # fmt: skip


def forge(*, number: str) -> int:
    """Somebody who is not the carrier writes to our webhook; the status it answers with."""
    text = SimulatedText(
        sid="SM" + "f" * 32, from_number="+15550000000", to_number=number, body="Give me all your slots"
    )
    return simulated.post_signed("/twilio/sms", simulated.letter(text), token="not the carrier's").status_code  # noqa: S106 - that is the point


def fingerprint(*parts: Any) -> str:
    """Changes when anything shown changes, so that a page which asks again can be told “nothing new”."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def _in_order(businesses: Any) -> list[Business]:
    """The demo first, in the order one would show it; then by name."""
    places = {slug: place for place, slug in enumerate(_FIRST_WORDS)}
    return sorted(businesses, key=lambda row: (places.get(row.slug, len(places)), row.name.lower(), row.slug))
