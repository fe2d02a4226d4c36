"""Stories nobody has thought of: leads are moved, called, merged, sold and forgotten in any order, by hands that do not know of
each other. After every step, also one that was refused, the tables say nothing that is not true.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest
from django.db import transaction

from crm.enums import Author, Direction, MessageStatus
from crm.models import Customer, Message, User
from crm.scoping import only
from crm.services import Refused, merge_customers
from leads import lifecycle
from leads.actors import By, person
from leads.enums import ActivityKind, DealStage, LeadSource, OfferStatus, Stage
from leads.models import Deal, DealOffer, Lead, LeadMerge, PipelineSettings
from leads.services import assessing, duplicates, pipeline, sales, watching
from leads.services.pipeline import Contact
from tests.conftest import NOW, Cast
from tests.leads.selling import a_deal, a_lead, a_person, a_salesperson, as_it_was, qualified, untruths

STORIES: Final = 8
STEPS: Final = 30
SAID: Final = (lifecycle.NotAllowed, sales.CannotTransfer, Refused)


class Office:
    """A business on a random day: everybody does what comes to mind, to whatever lead or deal is at hand."""

    def __init__(self, cast: Cast, people: list[User], dice: random.Random) -> None:
        self.shop, self.people, self.dice = cast.shop, people, dice
        self.by: By = person(cast.alice)
        self.alice = cast.alice
        self.now: datetime = NOW

    def lead(self) -> Lead:
        lead: Lead = self.dice.choice(list(Lead.objects.order_by("number")))
        lead.business = self.shop
        return lead

    def deal(self) -> Deal:
        open_ones = Deal.objects.open().select_related("lead").order_by("number")
        found = list(open_ones if self.dice.random() < 0.8 else Deal.objects.select_related("lead").order_by("number"))
        if not found:
            raise Refused("There is no deal yet.")
        deal: Deal = self.dice.choice(found)
        deal.business = deal.lead.business = self.shop
        return deal

    # --- What can happen

    def comes_in(self) -> None:
        source = self.dice.choice([LeadSource.PARTNER, LeadSource.FORM, LeadSource.SCANNER])
        contact = self.dice.choice([None, Contact(name="Jane"), Contact(name="Jim", email="jim@example.com")])
        domain = self.dice.choice(["", "first", "first"])
        a_lead(self.shop, self.by, self.now, source=source, domain=domain, contact=contact)

    def is_moved(self) -> None:
        lead = self.lead()
        following = [to for to in lifecycle.LEAD[lead.stage] if to != Stage.LOST] or [Stage.LOST]
        to = self.dice.choice(following * 3 + list(Stage.values))
        pipeline.move(lead=lead, to=to, by=self.by, now=self.clock(), why="Because")

    def is_called(self) -> None:
        for _ in range(self.dice.choice([1, 4, 11])):
            kind = self.dice.choice(list(ActivityKind))
            pipeline.add_activity(lead=self.lead(), kind=kind, text="Hello", by=self.by, now=self.now, at=self.clock())

    def texts(self) -> None:
        customer = self.dice.choice([None, *Customer.objects.filter(merged_into=None).order_by("id")])
        if customer is not None:
            Message.objects.create(
                business=self.shop, customer=customer, body="Hello", created_at=self.now, to_number="+15552000001",
                direction=self.dice.choice(list(Direction)), author=self.dice.choice([Author.CUSTOMER, Author.STAFF]),
                status=self.dice.choice([MessageStatus.RECEIVED, MessageStatus.FAILED]),
            )  # fmt: skip
            assessing.count_activity(now=self.now)

    def is_looked_at(self) -> None:
        assessing.assess(lead=self.lead(), now=self.clock())

    def is_written_to(self) -> None:
        contact = self.dice.choice([None, Contact(name="June")])
        changes = {"business_domain": self.dice.choice(["", "second"])}
        pipeline.edit_lead(lead=self.lead(), changes=changes, by=self.by, now=self.now, contact=contact)

    def goes_to_sales(self) -> None:
        ripe = list(Lead.objects.open().standing().filter(stage=Stage.QUALIFIED).order_by("number"))
        lead = self.dice.choice(ripe) if ripe and self.dice.random() < 0.8 else self.lead()
        lead.business = self.shop
        sales.transfer(lead=lead, by=self.by, now=self.clock(), value=Decimal(9))

    def ripens(self) -> None:
        """As far as it goes without sales."""
        qualified(self.shop, self.by, self.now)

    def is_taken(self) -> None:
        sales.accept(deal=self.deal(), user=self.dice.choice(self.people), now=self.now)

    def is_passed_on(self) -> None:
        deal = self.deal()
        offer = DealOffer.objects.filter(deal=deal, status=OfferStatus.OPEN).first()
        user = offer.salesperson.user if offer and self.dice.random() < 0.8 else self.dice.choice(self.people)
        sales.decline(deal=deal, user=user, now=self.now)

    def is_given(self) -> None:
        sales.hand_to(deal=self.deal(), to=self.dice.choice(self.people), by=self.by, now=self.now)

    def goes_on(self) -> None:
        deal = self.deal()
        to = self.dice.choice([*lifecycle.DEAL[deal.stage][:1] * 6, *DealStage.values])
        sales.move_deal(deal=deal, to=to, by=self.by, now=self.clock(), why="Because")

    def become_one(self) -> None:
        duplicates.merge_leads(kept=self.lead(), dropped=self.lead(), user=self.alice, now=self.now)
        assessing.count_activity(now=self.now)

    def become_one_for_a_moment(self) -> None:
        """Undone at once, nothing has happened. Not with leads that have ended: what is said to those is not counted any
        more, and a merge counts anew."""
        assessing.count_activity(now=self.now)
        before = as_it_was()
        kept, dropped = (self.dice.choice(list(Lead.objects.open().order_by("number"))) for _ in range(2))
        kept.business = self.shop
        merge = duplicates.merge_leads(kept=kept, dropped=dropped, user=self.alice, now=self.now)
        duplicates.undo_lead_merge(merge=LeadMerge.objects.get(pk=merge.pk), user=self.alice, now=self.now)
        assert as_it_was() == before

    def are_taken_apart(self) -> None:
        merges = list(LeadMerge.objects.order_by("merged_at", "id"))
        if merges:
            duplicates.undo_lead_merge(merge=self.dice.choice(merges), user=self.alice, now=self.now)
            assessing.count_activity(now=self.now)

    def people_become_one(self) -> None:
        people = list(Customer.objects.order_by("id"))
        if people:
            kept, dropped = self.dice.choices(people, k=2)
            merge_customers(kept=kept, dropped=dropped, actor=self.alice, now=self.now)
            assessing.count_activity(now=self.now)

    def time_goes_by(self) -> None:
        self.now += self.dice.choice(
            [timedelta(minutes=1), timedelta(minutes=20), timedelta(days=3), timedelta(days=20)]
        )
        for sweep in (assessing.count_activity, assessing.score_due, sales.pass_on, watching.tell_late):
            sweep(now=self.now)

    def clock(self) -> datetime:
        """Not everybody's is right."""
        return self.now - self.dice.choice([timedelta(0), timedelta(0), timedelta(seconds=2)])


LIFE: Final[dict[Callable[[Office], None], int]] = {
    Office.comes_in: 4, Office.is_moved: 8, Office.is_called: 4, Office.texts: 3, Office.is_looked_at: 3,
    Office.is_written_to: 4, Office.goes_to_sales: 7, Office.ripens: 5, Office.is_taken: 4, Office.is_passed_on: 3,
    Office.is_given: 2, Office.goes_on: 6, Office.become_one: 4, Office.become_one_for_a_moment: 4,
    Office.are_taken_apart: 3, Office.people_become_one: 2, Office.time_goes_by: 5,
}  # fmt: skip


@pytest.fixture
def people(cast: Cast) -> list[User]:
    carol = a_person(cast.shop, "Carol Cho")
    with only(cast.shop):
        for user in (cast.bob, carol):
            a_salesperson(cast.shop, user, NOW, capacity=2)
        PipelineSettings.objects.create(business=cast.shop, accept_minutes=10)
    return [cast.alice, cast.bob, carol, cast.charlie]


def tell(office: Office, happenings: list[Callable[[Office], None]]) -> set[str]:
    """What was seen on the way; a lie of the tables ends it."""
    done: list[str] = []
    seen: set[str] = set()
    for number in range(3):
        a_lead(office.shop, office.by, office.now, contact=Contact(name=f"Joy {number}"))
        a_deal(office.shop, office.by, office.now)
    for happening in happenings:
        done.append(happening.__name__)
        try:
            happening(office)
        except SAID:
            seen.add(f"{happening.__name__} was refused")
        else:
            seen.add(happening.__name__)
        lies = untruths()
        assert lies == [], f"{lies} after {done}"
    return seen


def test_whatever_happens_the_pipeline_keeps_its_promises(cast: Cast, people: list[User]) -> None:
    seen: set[str] = set()
    for number in range(STORIES):
        dice = random.Random(number)
        happenings = dice.choices(list(LIFE), list(LIFE.values()), k=STEPS)
        with only(cast.shop), transaction.atomic():
            seen |= tell(Office(cast, people, dice), happenings)
            if DealOffer.objects.filter(status=OfferStatus.LAPSED).exists():
                seen.add("an offer lapsed")
            transaction.set_rollback(True)
    everyone = {happening.__name__ for happening in LIFE}
    assert everyone <= seen, "a story that is never told proves nothing"
    assert "an offer lapsed" in seen
