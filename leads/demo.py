"""The pipeline of the demo: six weeks of people who think about a new heating system, told by the very services that do it
in earnest, each step at its own moment. Deterministic and relative to today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Final

from crm.models import Business, User
from crm.phones import parse
from leads.actors import By, person
from leads.enums import ActivityKind, DealStage, LeadSource, Stage
from leads.models import AssignmentRule, Deal, Lead, PipelineSettings, Salesperson
from leads.services import assessing, pipeline, sales
from leads.services.pipeline import Contact

REFERENCE: Final = "pipeline-demo-"  # begins the event id of each
_LINES: Final = ("Repairs", "New systems", "Care plans")
_PARTNER: Final = By("API key Partner portal")


@dataclass(frozen=True)
class Story:
    """One lead. `steps` are (hours after it came in, or below zero before now; what happened); `ending` picks its number
    out of 838 555 01xx."""

    days_ago: int
    at: time
    source: LeadSource
    name: str
    ending: int
    asked_for: str
    domain: str = "second"
    notes: str = ""
    steps: tuple[tuple[float, str], ...] = field(default=())


_P, _S, _M, _F = LeadSource.PARTNER, LeadSource.SCANNER, LeadSource.MANUAL, LeadSource.FORM
_TALKED: Final = (
    (0.1, "call Told them what a visit costs"), (0.2, "contacted"), (26, "call Measured the rooms on a plan with them"),
    (27, "note Oil boiler of 1998, two floors, gas is in the street"), (50, "email Sent the offer"),
)  # fmt: skip
_QUALIFIED: Final = (
    *_TALKED,
    (74, "call They read the offer, their bank agrees"),
    (74.2, "score"),
    (74.5, "qualified"),
)

STORIES: Final = (
    Story(39, time(9, 12), _P, "Delia Frost", 1, "Heat pump for a two-family house", steps=(
        *_QUALIFIED, (75, "transfer 18400"), (75.2, "take"), (120, "kyc"), (200, "agreement"), (420, "paid"))),
    Story(37, time(10, 30), _M, "Ray Duquette", 2, "Replace the oil boiler", steps=(
        *_QUALIFIED, (80, "transfer 11900"), (80.1, "take"), (140, "kyc"), (260, "lost Went with their brother-in-law"))),
    Story(33, time(10, 5), _S, "", 0, "", domain=""),
    Story(32, time(8, 45), _P, "Marguerite Sloan", 4, "Mini splits for three bedrooms", steps=(
        *_QUALIFIED, (76, "transfer 9600"), (76.3, "take"), (160, "kyc"), (300, "agreement"), (500, "paid"))),
    Story(30, time(11, 20), _M, "Ted Albrecht", 5, "Care plan for a bakery", domain="third", steps=(
        *_TALKED[:3], (60, "lost No budget before spring"))),
    Story(26, time(8, 50), _P, "Inez Calloway", 6, "Furnace is 24 years old", steps=(
        *_QUALIFIED, (78, "transfer 7800"), (78.1, "take"), (150, "kyc"), (330, "agreement"))),
    Story(22, time(13, 15), _F, "Bruce Tanner", 7, "What does a heat pump cost me?", notes="House of 1962, 1,900 sq ft", steps=(
        *_TALKED, (140, "call Wants to wait for the tax refund"))),
    Story(19, time(9, 40), _S, "Oakdale Dental", 8, "Rooftop unit", domain="second", steps=(
        *_TALKED[:2], (120, "lost Their landlord decides"))),
    Story(15, time(9, 15), _P, "Lorna Whitfield", 9, "Geothermal?", steps=(
        *_QUALIFIED, (79, "transfer 31500"), (79.2, "take"), (180, "kyc"))),
    Story(12, time(10, 10), _M, "Cyrus Beane", 10, "New ducts and furnace", steps=_QUALIFIED),
    Story(10, time(9, 25), _P, "Alma Restrepo", 11, "Heat pump, before the winter", steps=(
        *_QUALIFIED, (75.5, "call Asked twice when we can start"), (76, "score"))),
    Story(8, time(9, 0), _S, "", 0, "", domain="first"),
    Story(7, time(12, 35), _P, "Hollis Grant", 13, "Two mini splits", steps=_TALKED),
    Story(6, time(14, 0), _M, "Vera Lindqvist", 14, "Care plan, six apartments", domain="third", steps=_TALKED[:3]),
    Story(5, time(11, 45), _P, "Priya Raman", 15, "Boiler makes noises, maybe a new one", steps=(
        *_QUALIFIED, (-0.03, "transfer 12600"))),
    Story(4, time(9, 30), _F, "Priya Raman", 15, "Asked for the price of a boiler again", domain="", steps=(
        (2, "email Sent the offer once more"),)),
    Story(3, time(10, 20), _P, "Gordon Pell", 17, "Replace AC and furnace together", steps=_TALKED[:3]),
    Story(2, time(15, 50), _M, "St. Anne parish hall", 18, "Heating for the hall", steps=_TALKED[:1]),
    Story(1, time(16, 10), _S, "Corner Deli", 19, "Walk-in cooler and AC", domain="first"),
    Story(1, time(9, 5), _P, "Noor Haddad", 20, "Heat pump, house is being built", notes="Move in planned for April", steps=(
        (0.1, "call Left a message"),)),
)  # fmt: skip


def seed(*, business: Business, owner: User, helper: User, now: datetime) -> bool:
    """False when it has been told before. Call it inside the business's scope."""
    if Lead.objects.for_business(business).filter(event_id__startswith=REFERENCE).exists():
        return False
    PipelineSettings.objects.update_or_create(
        business=business, defaults=dict(zip(("first_line", "second_line", "third_line"), _LINES, strict=True))
    )
    for user in (helper, owner):
        Salesperson.objects.get_or_create(
            business=business, user=user, defaults={"created_at": now - timedelta(days=42), "capacity": 8}
        )
    AssignmentRule.objects.create(business=business, position=1, source=_P, assignee=helper, created_at=now)
    told: dict[int, Lead] = {}
    for moment, number, act in sorted(
        _events(business, owner=owner, helper=helper, now=now), key=lambda event: event[:2]
    ):
        told[number] = act(told.get(number), moment)
    return True


_Act = Callable[[Lead | None, datetime], Lead]


def _events(business: Business, *, owner: User, helper: User, now: datetime) -> Iterator[tuple[datetime, int, _Act]]:
    """What happened, with its moment; what would lie ahead of us has not happened."""
    today = now.astimezone(business.zone).date()
    for number, story in enumerate(STORIES):
        came = datetime.combine(today - timedelta(days=story.days_ago), story.at, tzinfo=business.zone)
        yield came, number, _coming(business, story, number, helper=helper)
        for hours, words in story.steps:
            moment = (came if hours >= 0 else now) + timedelta(hours=hours)
            if moment <= now:
                yield moment, number, _step(words, owner=owner, helper=helper)


def _coming(business: Business, story: Story, number: int, *, helper: User) -> _Act:
    def come(_: Lead | None, now: datetime) -> Lead:
        phone = parse(f"+18385550{100 + story.ending}", region=business.region) if story.ending else None
        lead = pipeline.add_lead(
            business=business, source=story.source, domain=story.domain, asked_for=story.asked_for, notes=story.notes,
            contact=Contact(name=story.name, phone=phone), by=person(helper) if story.source == _M else _PARTNER, now=now,
            event_id=f"{REFERENCE}{number:02}", agreed=story.source == _F,
        )  # fmt: skip
        assessing.assess(lead=lead, now=now)
        return lead

    return come


def _step(words: str, *, owner: User, helper: User) -> _Act:
    what, _, rest = words.partition(" ")
    by = person(helper)

    def act(lead: Lead | None, now: datetime) -> Lead:
        assert lead is not None
        if what in ActivityKind.values:
            return pipeline.add_activity(lead=lead, kind=ActivityKind(what), text=rest, by=by, now=now)
        if what == "score":
            assessing.assess(lead=lead, now=now)
            return lead
        if what == "transfer":
            sales.transfer(lead=lead, by=by, now=now, value=Decimal(rest))
            return lead
        deal = Deal.objects.for_business(lead.business).filter(lead=lead).first()
        if deal is None:
            return pipeline.move(lead=lead, to=Stage(what), by=by, now=now, why=rest)
        deal.business = lead.business
        if what == "take":
            offer = deal.offers.select_related("salesperson__user").get(status="open")
            sales.accept(deal=deal, user=offer.salesperson.user, now=now)
        else:
            sales.move_deal(deal=deal, to=DealStage(what), by=person(owner), now=now, why=rest)
        return lead

    return act
