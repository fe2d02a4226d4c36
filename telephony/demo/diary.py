"""Who asked for what, and what became of it. Pure: the same days give the same diary on every machine.

Each request rolls its own dice, seeded by business, date and its number that day, so a diary that is carried on a day
later tells nothing differently about the days before. Slots are found by the house's own search, around what is taken
already, so nothing is booked twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from booking.setup import ServiceDraft
from booking.slots import DayHours, Interval, Rules, Slot, Staff, first_free
from booking.when import Wanted
from telephony.demo import words
from telephony.demo.businesses import ACME, BRISTOL, DemoBusiness
from telephony.demo.people import JANE, Person, regulars

WEEKDAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
REMINDED: Final = timedelta(hours=24)  # before a visit, as a business has it unless it says otherwise
_DAYS_AHEAD: Final = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8)  # open days
_NEW_FACES: Final = 0.6  # of those who ask, while there are people left who never did
_AGREED_WITHIN: Final = timedelta(minutes=25)  # of asking
_REST: Final = timedelta(days=4)  # nobody asks again sooner after a visit

# Which regular has an emergency when they first ask, and what they text.
EMERGENCIES: Final[Mapping[str, tuple[int, str, str]]] = {
    ACME.slug: (26, "HVAC", "No heat and we have a newborn, it is 52 degrees in here"),
    BRISTOL.slug: (18, "General Plumbing", "Pipe burst in the basement!! water everywhere, we need a plumber"),
}
# The regular who has had enough of texts after a visit. (Jane asks once, long ago: her thread is the visitor's.)
OPTS_OUT: Final = 30
OPT_OUT_WORDS: Final = "Please stop texting me"


class Way(StrEnum):
    """How somebody asks."""

    TEXT = "text"
    FORM = "form"
    CHAT = "chat"
    CALL = "call"  # a person of the team picked up the phone and booked it


class End(StrEnum):
    """What becomes of a visit once its time has come."""

    DONE = "done"
    NO_SHOW = "no_show"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Request:
    """One request and its story, as far as it will ever go; the reader of the diary stops at their own time.

    Moments are aware. `slot` is None when they passed on the offer, which is then `offered_first`.
    """

    number: int  # on its day
    person: Person
    service: ServiceDraft
    way: Way
    words: str
    asked_at: datetime
    slot: Slot | None
    offered_first: Slot | None = None
    asks_for: str = ""  # the words with which they turned the first offer down
    end: End = End.DONE
    ends_early_at: datetime | None = None  # when they cancelled
    cancel_words: str = ""
    reminded_at: datetime | None = None
    reminder_answered_at: datetime | None = None
    question: tuple[str, str] | None = None
    thanks: tuple[str, str] | None = None
    thanked_at: datetime | None = None
    is_emergency: bool = False
    opts_out: bool = False


@dataclass
class Calendar:
    """What is taken, by staff id, and when each customer was last seen, by phone. The diary fills it as it goes."""

    taken: dict[int, list[Interval]]
    off: Mapping[int, Sequence[Interval]]
    last_seen: dict[str, datetime]


def requests(demo: DemoBusiness, *, calendar: Calendar, since: datetime, until: datetime) -> Iterator[Request]:
    """What was asked after `since` and up to `until`, oldest first."""
    zone = ZoneInfo(demo.zone)
    day, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    while day <= last:
        for number, asked_at in enumerate(_moments(demo, day, zone)):
            if since < asked_at <= until:
                dice = random.Random(f"{demo.slug} {day} {number}")  # noqa: S311 - a story, not a secret
                request = _request(demo, number=number, asked_at=asked_at, calendar=calendar, dice=dice, zone=zone)
                if request is not None:
                    yield request
        day += timedelta(days=1)


def _moments(demo: DemoBusiness, day: date, zone: ZoneInfo) -> list[datetime]:
    dice = random.Random(f"{demo.slug} {day}")  # noqa: S311 - a story, not a secret
    count = max(1, demo.pace[day.weekday()] + dice.choice((-1, 0, 0, 1)))
    minutes = sorted(round(dice.triangular(7 * 60 + 20, 20 * 60 + 40, 11 * 60)) for _ in range(count))
    midnight = datetime.combine(day, time(0), tzinfo=zone)
    return [(midnight.replace(hour=m // 60, minute=m % 60)).astimezone(UTC) for m in minutes]


def _request(
    demo: DemoBusiness, *, number: int, asked_at: datetime, calendar: Calendar, dice: random.Random, zone: ZoneInfo
) -> Request | None:
    """None when nobody is there to ask, or nothing is free."""
    person = _who(demo, calendar=calendar, asked_at=asked_at, dice=dice)
    if person is None:
        return None
    index = regulars(demo).index(person)
    is_first = person.phone not in calendar.last_seen
    emergency = EMERGENCIES.get(demo.slug) if is_first else None
    is_emergency = emergency is not None and emergency[0] == index
    name, opening = dice.choice(
        [(name, opening) for name, openings in words.OPENINGS[demo.slug].items() for opening in openings]
    )
    if emergency is not None and is_emergency:
        _, name, opening = emergency
    service = next(one for one in demo.services if one.name == name)
    way = Way.TEXT if is_emergency else dice.choices(tuple(Way), weights=(62, 16, 8, 14))[0]
    soonest = _free(demo, service, calendar=calendar, asked_at=asked_at, wanted=None)
    days_ahead = 0 if is_emergency else dice.choice(_DAYS_AHEAD)
    earliest = _open_day(demo, asked_at.astimezone(zone).date(), ahead=days_ahead)
    wanted = Wanted(dates=(earliest, earliest + timedelta(days=3)), not_before=time(dice.randint(8, 16)))
    slot = (
        soonest
        if is_emergency
        else _free(demo, service, calendar=calendar, asked_at=asked_at, wanted=wanted) or soonest
    )
    if slot is None or soonest is None:
        return None
    request = Request(
        number=number, person=person, service=service, way=way, words=opening, asked_at=asked_at, slot=slot,
        is_emergency=is_emergency,
    )  # fmt: skip
    if way == Way.TEXT and not is_emergency and dice.random() < 0.07:
        return replace(request, slot=None, offered_first=soonest, asks_for=dice.choice(words.PASSED_BECAUSE))
    calendar.taken[slot.staff_id].append(Interval(slot.start, slot.end))
    calendar.last_seen[person.phone] = slot.end
    if slot.start != soonest.start and way == Way.TEXT:
        wish = _wish(slot, asked_at=asked_at, zone=zone)
        if dice.random() < 0.6:
            request = replace(request, words=f"{_closed(opening)} {wish[:1].upper()}{wish[1:]} would be best")
        else:
            request = replace(request, offered_first=soonest, asks_for=f"Do you have anything {wish}?")
    request = _what_became_of_it(demo, request, slot=slot, dice=dice, zone=zone)
    return replace(request, opts_out=index == OPTS_OUT and is_first and request.end == End.DONE)


def _who(demo: DemoBusiness, *, calendar: Calendar, asked_at: datetime, dice: random.Random) -> Person | None:
    everyone = regulars(demo)
    strangers = [person for person in everyone if person.phone not in calendar.last_seen]
    known = [
        person
        for index, person in enumerate(everyone)
        if index != OPTS_OUT
        and person != JANE
        and person.phone in calendar.last_seen
        and calendar.last_seen[person.phone] + _REST < asked_at
    ]
    wants_new = dice.random() < _NEW_FACES
    pick = dice.random()
    if strangers and (wants_new or not known):
        return strangers[0]
    return known[int(pick * len(known))] if known else None


def _free(
    demo: DemoBusiness, service: ServiceDraft, *, calendar: Calendar, asked_at: datetime, wanted: Wanted | None
) -> Slot | None:
    hours = tuple(DayHours(weekday=day, opens=opens, closes=closes) for day, opens, closes in demo.hours)
    team = [
        Staff(
            id=pk, hours=hours, busy=tuple(span for span in spans if span.end > asked_at),
            off=tuple(calendar.off.get(pk, ())),
        )
        for pk, spans in calendar.taken.items()
    ]  # fmt: skip
    rules = Rules(
        zone=demo.zone, grid_minutes=demo.grid_minutes, min_notice_minutes=60, travel_buffer_minutes=demo.travel_minutes
    )
    return first_free(team, rules, duration=timedelta(minutes=service.minutes), after=asked_at, wanted=wanted)


def _open_day(demo: DemoBusiness, day: date, *, ahead: int) -> date:
    """The day itself or the next open one, and then so many open days on, so that weekends do not fill Mondays."""
    weekdays = {weekday for weekday, _, _ in demo.hours}
    while day.weekday() not in weekdays or ahead > 0:
        ahead -= day.weekday() in weekdays
        day += timedelta(days=1)
    return day


def _wish(slot: Slot, *, asked_at: datetime, zone: ZoneInfo) -> str:
    """The day and half of day of a slot, as a customer would ask for it."""
    local, asked = slot.start.astimezone(zone), asked_at.astimezone(zone)
    half = "morning" if local.hour < 12 else "afternoon"
    days = (local.date() - asked.date()).days
    if days == 0:
        return f"this {half}"
    if days == 1:
        return f"tomorrow {half}"
    if days < 7:
        return f"{WEEKDAY_NAMES[local.weekday()]} {half}"
    return f"on {local:%B} {local.day} in the {half}"


def _by_day(moment: datetime, zone: ZoneInfo) -> datetime:
    """Nobody texts a plumber at 4 in the morning to cancel; at 8 they do."""
    local = moment.astimezone(zone)
    return (local.replace(hour=8) if local.hour < 8 else local).astimezone(UTC)


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _what_became_of_it(
    demo: DemoBusiness, request: Request, *, slot: Slot, dice: random.Random, zone: ZoneInfo
) -> Request:
    at_home = demo.visits_at_home
    fate = dice.random()
    if request.is_emergency:
        return replace(request, thanks=words.THANKS[2], thanked_at=slot.end + timedelta(minutes=75))
    reminded_at = slot.start - REMINDED
    is_reminded = request.asked_at + _AGREED_WITHIN < reminded_at
    if fate < 0.07 and slot.start - request.asked_at > timedelta(hours=20):
        ends_early_at = _by_day(request.asked_at + (slot.start - request.asked_at) * dice.uniform(0.3, 0.8), zone)
        return replace(
            request, end=End.CANCELLED, ends_early_at=ends_early_at,
            reminded_at=reminded_at if is_reminded and reminded_at < ends_early_at else None,
            cancel_words=dice.choice(words.CANCELLED_BECAUSE if at_home else words.SPA_CANCELLED_BECAUSE),
        )  # fmt: skip
    if is_reminded:
        request = replace(request, reminded_at=reminded_at)
        if dice.random() < 0.7:
            request = replace(request, reminder_answered_at=reminded_at + timedelta(minutes=dice.randint(2, 150)))
    if fate > 0.96:
        return replace(request, end=End.NO_SHOW)
    if dice.random() < 0.15 and request.asked_at.astimezone(zone).hour < 19:
        request = replace(request, question=dice.choice(words.QUESTIONS if at_home else words.SPA_QUESTIONS))
    if dice.random() < 0.14:
        request = replace(
            request, thanks=dice.choice(words.THANKS if at_home else words.SPA_THANKS),
            thanked_at=slot.end + timedelta(minutes=dice.randint(40, 150)),
        )  # fmt: skip
    return request
