"""Many hands on one lead and one deal: whoever comes second finds what the first has done, and nobody waits in a circle."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, transaction

from booking.models import Service
from crm.enums import TaskReason
from crm.models import CustomerMerge, Message, Task
from crm.phones import parse
from crm.scoping import every_business, only
from crm.services import Refused, merge_customers, take_turn
from leads import lifecycle
from leads.actors import person
from leads.enums import ActivityKind, LeadSource, OfferStatus, ProposalStatus
from leads.models import Deal, DealOffer, Lead, LeadMerge, Proposal, StageChange
from leads.services import assessing, duplicates, intake, pipeline, sales, watching
from tests.crowd import all_at_once, until_somebody_waits
from tests.leads.selling import a_customer, a_deal, a_lead, a_person, a_salesperson, qualified, untruths

pytestmark = pytest.mark.django_db(transaction=True)
TAKEN = "Cannot change stage of a transferred lead"
SAID = (lifecycle.NotAllowed, sales.CannotTransfer, Refused)


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop


@pytest.fixture
def by(cast):
    return person(cast.alice)


def told(shop, call):
    """What came of it: the sentence of a refusal, or "done"."""

    def run():
        with only(shop):
            try:
                call()
            except SAID as refusal:
                return str(refusal)
            return "done"

    return run


def at_once(shop, *calls):
    return all_at_once([told(shop, call) for call in calls])


def all_is_well():
    with every_business():
        assert untruths() == []


def test_of_fifty_transfers_one_happens(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now)
    lead = qualified(shop, by, now)
    said = at_once(shop, *[partial(sales.transfer, lead=lead, by=by, now=now)] * 50)
    assert Counter(said) == {"done": 1, TAKEN: 49}
    assert (Deal.objects.count(), DealOffer.objects.count()) == (1, 1)
    assert StageChange.objects.filter(new="transferred").count() == 1
    all_is_well()


def test_of_moves_at_one_moment_each_step_happens_once(shop, by, now, cast):
    lead = a_lead(shop, by, now)
    assessing.assess(lead=lead, now=now)
    for _ in range(2):  # to the next stage and to the one after, four times each, by clocks that do not agree
        following = lifecycle.LEAD[Lead.objects.get().stage][0]
        later = lifecycle.LEAD[following][0]
        moves = [
            partial(pipeline.move, lead=lead, to=to, by=by, now=now + timedelta(seconds=second))
            for second in (3, 1, 2, 0)
            for to in (following, later)
        ]
        said = at_once(shop, *moves)
        assert 1 <= said.count("done") <= 2
        assert set(said) - {"done"} <= {
            f"Invalid transition from {old} to {new}" for old in lifecycle.LEAD for new in lifecycle.LEAD
        } | {"A lead is transferred only by a transfer to sales, which checks its score and opens the deal."}
        all_is_well()
        if Lead.objects.get().stage == "qualified":
            break
    for number in range(6):  # to sales and lost: one of the two
        other = qualified(shop, by, now, asked_for=str(number))
        said = at_once(
            shop, partial(sales.transfer, lead=other, by=by, now=now),
            partial(pipeline.move, lead=other, to="lost", by=by, now=now, why="Too far"),
        )  # fmt: skip
        assert sorted(said) in (["Invalid transition from lost to transferred", "done"], [TAKEN, "done"])
    all_is_well()


def test_whoever_has_their_hands_full_is_not_asked(shop, by, now):
    people = [a_salesperson(shop, a_person(shop, f"Seller {n}"), now, capacity=5) for n in range(3)]
    leads = [qualified(shop, by, now) for _ in range(30)]
    assert set(at_once(shop, *(partial(sales.transfer, lead=lead, by=by, now=now) for lead in leads))) == {"done"}
    held = Counter(DealOffer.objects.filter(status=OfferStatus.OPEN).values_list("salesperson", flat=True))
    assert held == {one.pk: 5 for one in people}
    waiting = Deal.objects.exclude(offers__status=OfferStatus.OPEN)
    assert {f"deal:{deal.pk}" for deal in waiting} == set(Task.objects.values_list("about", flat=True))
    assert (Deal.objects.count(), waiting.count()) == (30, 15)
    all_is_well()


def test_a_deal_everybody_reaches_for_has_one_owner(shop, by, now, cast):
    carol = a_person(shop, "Carol Cho")
    for user in (cast.bob, carol):
        a_salesperson(shop, user, now, capacity=500)
    late = now + timedelta(minutes=16)
    for _ in range(6):
        deal = a_deal(shop, by, now)
        first = DealOffer.objects.get(deal=deal).salesperson.user
        other = carol if first == cast.bob else cast.bob
        said = at_once(
            shop, partial(sales.accept, deal=deal, user=first, now=late),
            partial(sales.decline, deal=deal, user=first, now=late),
            partial(sales.accept, deal=deal, user=other, now=late),
            partial(sales.accept, deal=deal, user=cast.alice, now=late),
            partial(sales.hand_to, deal=deal, to=cast.alice, by=by, now=late),
            partial(sales.pass_on, now=late), partial(sales.pass_on, now=late),
        )  # fmt: skip
        deal = Deal.objects.get(pk=deal.pk)
        assert deal.owner == cast.alice  # who gives it decides, whoever had it; nobody can take it after that
        assert said[4:] == ["done"] * 3
        assert said.count("done") <= 3 + 3
        all_is_well()


def test_of_two_who_take_a_deal_one_has_it(shop, by, now, cast):
    deals = [a_deal(shop, by, now) for _ in range(5)]  # nobody sells here yet: anybody may
    for deal in deals:
        said = at_once(shop, *(partial(sales.accept, deal=deal, user=user, now=now) for user in (cast.alice, cast.bob)))
        owner = Deal.objects.get(pk=deal.pk).owner
        assert sorted(said) == sorted(["done", f"{owner.get_full_name()} has taken this deal."])
    all_is_well()


def test_two_workers_do_everything_once(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now), a_salesperson(shop, cast.alice, now)
    later = now + timedelta(minutes=20)
    for _ in range(4):
        a_deal(shop, by, now)
        asked = a_lead(shop, by, now, source=LeadSource.FORM, contact=pipeline.Contact(name="Jane"))
        called = a_lead(shop, by, now)
        pipeline.add_activity(lead=called, kind=ActivityKind.CALL, text="", by=by, now=later)
        assert asked.first_touch_at is None
    passed = all_at_once([partial(sales.pass_on, now=later)] * 3)
    assert (sum(passed), DealOffer.objects.filter(status=OfferStatus.LAPSED).count()) == (4, 4)
    assert DealOffer.objects.filter(status=OfferStatus.OPEN).count() == 4
    late = all_at_once([partial(watching.tell_late, now=later)] * 3)
    assert sum(late) == 4
    texts = Message.objects.filter(to_number=shop.owner_phone)
    assert [text.body for text in texts] == ["4 leads wait for an answer, the first for 20 minutes."]
    counted = all_at_once([partial(assessing.count_activity, now=later)] * 3)
    assert (sum(counted), StageChange.objects.filter(by_text="Frontdesk").count()) == (4, 4)
    due = Lead.objects.filter(rescore_at__lte=later + timedelta(minutes=1)).count()
    all_at_once([partial(assessing.score_due, now=later + timedelta(minutes=1))] * 3)
    assert Lead.objects.filter(rescore_at__lte=later + timedelta(minutes=1)).count() == 0
    all_is_well()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM leads_assessment WHERE created_at >= %s", [later + timedelta(minutes=1)])
        assert cursor.fetchone() == (due,)


def test_calls_that_are_written_down_together_are_all_counted(shop, by, now):
    lead = a_lead(shop, by, now)
    calls = [
        partial(pipeline.add_activity, lead=lead, kind=ActivityKind.CALL, text="", by=by, now=now + timedelta(n))
        for n in range(12)
    ]
    looks = [partial(assessing.assess, lead=lead, now=now + timedelta(seconds=n)) for n in range(4)]
    assert set(at_once(shop, *calls, *looks, partial(assessing.count_activity, now=now))) == {"done"}
    lead = Lead.objects.get()
    assert (lead.activity_count, lead.last_activity_at) == (12, now + timedelta(11))
    all_is_well()


def test_a_text_that_needs_a_person_and_a_transfer_do_not_block_each_other(shop, by, now, cast):
    """Both take from the day's budget for an alert, and both write to the lead: the lead comes first."""
    a_salesperson(shop, cast.bob, now, capacity=500, phone="+15552009003")
    for number in range(8):
        lead = qualified(shop, by, now, contact=pipeline.Contact(name=f"Jane {number}"))
        said = at_once(
            shop, partial(sales.transfer, lead=lead, by=by, now=now),
            partial(intake.hand_over, lead=Lead.objects.get(pk=lead.pk), reason=TaskReason.ASKED_A_PERSON, title="Call", now=now),
        )  # fmt: skip
        assert said == ["done", "done"]
    assert Message.objects.count() == 16
    all_is_well()


def test_merges_moves_and_transfers_of_the_same_leads_do_not_block_each_other(shop, by, now, cast):
    """A customer's merge moves their tasks and leads, a lead's merge its own, a transfer closes tasks: in one order."""
    a_salesperson(shop, cast.bob, now, capacity=500, phone="+15552009003")
    for _ in range(8):
        one, other = a_customer(shop), a_customer(shop, phone=False)
        kept, dropped = (qualified(shop, by, now) for _ in range(2))
        third = a_lead(shop, by, now)
        Lead.objects.filter(pk=kept.pk).update(customer=one)
        Lead.objects.filter(pk__in=[dropped.pk, third.pk]).update(customer=other)
        kept, dropped, third = (Lead.objects.get(pk=lead.pk) for lead in (kept, dropped, third))
        kept.business = dropped.business = third.business = shop
        pipeline.follow_up(lead=dropped, title="Call again", due_at=now, now=now)
        said = at_once(
            shop, partial(duplicates.merge_leads, kept=kept, dropped=dropped, user=cast.alice, now=now),
            partial(duplicates.merge_leads, kept=dropped, dropped=kept, user=cast.alice, now=now),
            partial(duplicates.merge_leads, kept=third, dropped=dropped, user=cast.alice, now=now),
            partial(merge_customers, kept=one, dropped=other, actor=cast.alice, now=now),
            partial(sales.transfer, lead=kept, by=by, now=now), partial(sales.transfer, lead=dropped, by=by, now=now),
            partial(pipeline.move, lead=dropped, to="lost", by=by, now=now),
            partial(pipeline.move, lead=third, to="contacted", by=by, now=now),
            partial(watching.tell_late, now=now + timedelta(minutes=9)),
        )  # fmt: skip
        assert said.count("done") >= 3
        assert CustomerMerge.objects.filter(kept__in=[one, other], undone_at=None).count() == 1
        all_is_well()
    merges = list(LeadMerge.objects.all())
    undone = at_once(
        shop, *(partial(duplicates.undo_lead_merge, merge=one, user=cast.alice, now=now) for one in merges * 2)
    )
    assert undone.count("done") == LeadMerge.objects.exclude(undone_at=None).count() >= len(merges) / 3
    all_is_well()


def test_a_merge_of_customers_takes_their_leads_before_their_tasks(shop, by, now, cast):
    """As a transfer does, which closes what was to be done about its lead."""
    lead = qualified(shop, by, now, contact=pipeline.Contact(name="Jane"))
    pipeline.follow_up(lead=lead, title="Call again", due_at=now, now=now)
    locked = threading.Event()

    def transfer():
        with only(shop), transaction.atomic():
            pipeline.lock(lead)
            locked.set()
            until_somebody_waits()
            sales.transfer(lead=lead, by=by, now=now)

    def merge():
        locked.wait(timeout=5)
        with only(shop):
            merge_customers(kept=a_customer(shop), dropped=lead.person, actor=cast.alice, now=now)

    all_at_once([transfer, merge])
    assert [task.done_at for task in Task.objects.filter(reason=TaskReason.FOLLOW_UP)] == [now]
    all_is_well()


def test_a_merge_of_leads_waits_for_what_their_customer_is_doing(shop, by, now, cast):
    """An answer to an offered slot takes the offer before the lead, and a merge the lead before the offer."""
    service = Service.objects.filter(business=shop).first()
    jane = pipeline.Contact(name="Jane", phone=parse("+15551230001", region="US"))
    kept, dropped = (a_lead(shop, by, now, contact=jane, service=service) for _ in range(2))
    offer = intake.offer_slot(lead=dropped, now=now).proposal
    their_turn = threading.Event()

    def decline():
        with only(shop), transaction.atomic():
            take_turn(dropped.person)
            their_turn.set()
            until_somebody_waits()
            intake.decline(proposal=offer, now=now)

    def merge():
        their_turn.wait(timeout=5)
        with only(shop):
            duplicates.merge_leads(kept=kept, dropped=dropped, user=cast.alice, now=now)

    all_at_once([decline, merge])
    assert [(row.lead, row.status) for row in Proposal.objects.all()] == [(kept, ProposalStatus.DECLINED)]
    all_is_well()
