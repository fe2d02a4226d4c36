"""Two leads that are one become one, nothing is lost by it, and it can be taken apart again exactly as it was."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from crm.enums import Author, Direction, MessageStatus
from crm.models import Customer, Message, Task
from crm.scoping import every_business, only
from crm.services import Refused, merge_customers, undo_merge
from leads import lifecycle
from leads.actors import person
from leads.enums import ActivityKind, LeadSource, ProposalStatus
from leads.models import Lead, LeadActivity, LeadMerge, Proposal
from leads.services import assessing, duplicates, intake, pipeline, sales
from leads.services.pipeline import Contact
from tests.leads.selling import a_customer, a_lead, as_it_was, everything, qualified, untruths

MERGED = "This lead was merged into another one. Work on that one."


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop
        assert untruths() == []


@pytest.fixture
def by(cast):
    return person(cast.alice)


@pytest.fixture
def merge(cast, now):
    def merge(kept, dropped):
        return duplicates.merge_leads(kept=kept, dropped=dropped, user=cast.alice, now=now)

    return merge


@pytest.fixture
def undo(cast, now):
    def undo(merge):
        merge = LeadMerge.objects.get(pk=merge.pk)
        duplicates.undo_lead_merge(merge=merge, user=cast.alice, now=now + timedelta(hours=1))

    return undo


def lead_of(shop, by, now, customer, **fields):
    lead = a_lead(shop, by, now, **fields)
    Lead.objects.filter(pk=lead.pk).update(customer=customer)
    return pipeline.find_lead(business=shop, number=lead.number)


def writes(customer, now, body="Hello", *, ours=False):
    return Message.objects.create(
        business=customer.business, customer=customer, body=body, created_at=now, status=MessageStatus.RECEIVED,
        direction=Direction.OUTBOUND if ours else Direction.INBOUND, author=Author.STAFF if ours else Author.CUSTOMER,
        to_number="+15552000001",
    )  # fmt: skip


def refused(call, sentence, kind=Refused):
    before = everything()
    with pytest.raises(kind) as refusal:
        call()
    assert str(refusal.value) == sentence
    assert everything() == before


@pytest.mark.parametrize("people", ["nobody", "one of the kept", "one of the dropped", "the same", "two", "two phones"])
def test_a_merge_that_is_undone_leaves_everything_as_it_was(shop, by, now, cast, merge, undo, people):
    jane, jim = a_customer(shop, "Jane"), a_customer(shop, "Jim", phone=people == "two phones")
    ours = {"nobody": None, "one of the dropped": None}.get(people, jane)
    theirs = {"nobody": None, "one of the kept": None, "the same": jane}.get(people, jim)
    kept = lead_of(shop, by, now, ours, domain="", notes="")
    dropped = lead_of(
        shop, by, now - timedelta(days=2), theirs, event_id="form-1", notes="Wants it soon", asked_for="Heater"
    )
    dropped = pipeline.assign(lead=dropped, to=cast.bob, by=by, now=now)
    for lead, kinds in ((kept, (ActivityKind.NOTE,)), (dropped, (ActivityKind.CALL, ActivityKind.NOTE))):
        for kind in kinds:
            pipeline.add_activity(lead=lead, kind=kind, text="Spoke", by=by, now=now - timedelta(days=1))
        pipeline.follow_up(lead=lead, title=f"Call {lead.number}", due_at=now, now=now)
    for customer in (jane, jim):
        writes(customer, now + timedelta(seconds=1))
    assessing.count_activity(now=now + timedelta(minutes=1))
    for lead in (kept, dropped):
        assessing.assess(lead=lead, now=now)
    before = as_it_was()
    merged = merge(kept, dropped)
    kept, dropped = Lead.objects.get(pk=kept.pk), Lead.objects.get(pk=dropped.pk)
    assert (kept.notes, kept.asked_for, kept.event_id, kept.business_domain) == (
        "Wants it soon", "Heater", "form-1", "first",
    )  # fmt: skip
    assert (kept.assigned_to, kept.customer, kept.first_touch_at) == (
        cast.bob,
        ours or theirs,
        now,
    )  # not before it came
    assert (dropped.merged_into, dropped.rescore_at) == (kept, None)
    assert LeadActivity.objects.filter(lead=kept).count() == 3
    assert set(Task.objects.open().values_list("about", flat=True)) == {f"lead:{kept.pk}"}
    assert Customer.objects.filter(merged_into=None).count() == (1 if people.startswith("two") else 2)
    assert as_it_was() != before
    undo(merged)
    assert as_it_was() == before


def test_what_came_in_since_stays_with_the_lead_that_was_kept(shop, by, now, merge, undo):
    kept, dropped = a_lead(shop, by, now), a_lead(shop, by, now)
    merged = merge(kept, dropped)
    pipeline.add_activity(lead=kept, kind=ActivityKind.CALL, text="Since", by=by, now=now)
    undo(merged)
    assert list(Lead.objects.order_by("number").values_list("activity_count", flat=True)) == [1, 0]
    refused(lambda: undo(merged), "This merge was undone already.")


def test_the_answer_one_of_them_got_counts_for_both(shop, by, now, merge):
    kept, dropped = a_lead(shop, by, now), a_lead(shop, by, now)
    pipeline.add_activity(lead=dropped, kind=ActivityKind.CALL, text="", by=by, now=now)
    merge(kept, dropped)
    assert Lead.objects.get(pk=kept.pk).stage == "new"
    assert assessing.count_activity(now=now) == 1
    assert list(Lead.objects.order_by("number").values_list("stage", flat=True)) == ["contacted", "new"]


def test_three_that_are_one_are_taken_apart_from_the_outside_in(shop, by, now, merge, undo):
    one, two, three = (lead_of(shop, by, now, a_customer(shop)) for _ in range(3))
    for lead in (one, two, three):
        pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text=f"Of {lead.number}", by=by, now=now)
    whole = as_it_was()
    inner = merge(two, one)
    halfway = as_it_was()
    outer = merge(three, two)
    assert Lead.objects.get(pk=three.pk).activity_count == 3
    for pair in ((one, three), (three, one), (three, two)):
        refused(lambda pair=pair: merge(*pair), "One of the two has been merged already.")
    refused(lambda: undo(inner), "The two have been merged with a third customer since. Undo that first.")
    undo(outer)
    assert as_it_was() == halfway
    undo(inner)
    assert as_it_was() == whole


def test_three_without_names_too(shop, by, now, merge, undo):
    one, two, three = (a_lead(shop, by, now) for _ in range(3))
    inner, _ = merge(two, one), merge(three, two)
    refused(lambda: undo(inner), "The two have been merged with a third lead since. Undo that first.")


def test_customers_who_were_taken_apart_by_hand_do_not_stand_in_the_way(shop, by, now, merge, undo, cast):
    one, two = (lead_of(shop, by, now, a_customer(shop)) for _ in range(2))
    before = as_it_was()
    merged = merge(one, two)
    undo_merge(merge=merged.customers, actor=cast.alice, now=now)
    undo(merged)
    assert as_it_was() == before


def test_customers_who_were_merged_before_are_no_news(shop, by, now, merge, cast):
    one, two = (lead_of(shop, by, now, a_customer(shop)) for _ in range(2))
    merge_customers(kept=one.customer, dropped=two.customer, actor=cast.alice, now=now)
    assert merge(one, two).customers is None  # also for whoever has not looked since


def test_whoever_two_customers_become_has_what_both_have_said(shop, by, now, merge, undo):
    """Also in their other leads, and long after it was said."""
    jane, jim = a_customer(shop, "Jane"), a_customer(shop, "Jim")
    hers, his, other = (lead_of(shop, by, now, who) for who in (jane, jim, jane))
    writes(jim, now + timedelta(seconds=1))
    assessing.count_activity(now=now + timedelta(minutes=1))
    later = now + timedelta(hours=1)
    merged = duplicates.merge_leads(kept=hers, dropped=his, user=by.user, now=later)
    assert assessing.count_activity(now=later) == 1
    assert Lead.objects.get(pk=other.pk).activity_count == 1
    undo(merged)
    assert assessing.count_activity(now=later) == 1
    assert list(Lead.objects.order_by("number").values_list("activity_count", flat=True)) == [0, 1, 0]


def test_a_lead_that_is_with_sales_is_kept(shop, by, now, merge, undo):
    sold, again = qualified(shop, by, now), a_lead(shop, by, now)
    sales.transfer(lead=sold, by=by, now=now)
    refused(lambda: merge(again, sold), "A lead that is with sales stays. Merge the other one into it.")
    before = as_it_was()
    undo(merge(sold, again))
    assert as_it_was() == before


def test_leads_of_two_businesses_are_never_one(shop, by, now, merge, cast):
    with only(cast.next_door):
        strange = a_lead(cast.next_door, person(cast.charlie), now)
    ours = a_lead(shop, by, now)
    for pair in ((ours, strange), (strange, ours), (ours, ours)):
        refused(lambda pair=pair: merge(*pair), "Choose two different leads.")


def test_an_offer_that_is_open_goes_with_its_lead(shop, by, now, merge, undo):
    jane, jim = a_customer(shop, "Jane"), a_customer(shop, "Jim")
    service = intake.find_service(business=shop, text="Plumbing")
    for who in (jane, jim):
        lead = lead_of(shop, by, now, who, service=service)
        lead.person.business = shop
        intake.offer_slot(lead=lead, now=now)
    kept, dropped = Lead.objects.order_by("number")
    kept.business = shop
    before = as_it_was()
    merged = merge(kept, dropped)
    offers = Proposal.objects.filter(status=ProposalStatus.OPEN).order_by("id")
    assert [(offer.lead, offer.customer) for offer in offers] == [(kept, jane), (kept, jim)]  # one open offer each
    undo(merged)
    assert as_it_was() == before


def test_a_sale_is_not_taken_over_by_another_sale(shop, now, merge, undo):
    bought = [
        intake.add_bought_lead(
            business=shop, phone=None, name="June", address="", asked_for="", notes="", cost=Decimal(9), now=now,
            event_id=event_id, story="Bought.",
        )[0]
        for event_id in ("", "sale-2")
    ]  # fmt: skip
    before = as_it_was()
    merged = merge(*bought)
    assert list(Lead.objects.order_by("number").values_list("event_id", flat=True)) == ["", "sale-2"]
    again, is_new = intake.add_bought_lead(
        business=shop, phone=None, name="June", address="", asked_for="", notes="", cost=Decimal(9), now=now,
        event_id="sale-2", story="Bought.",
    )  # fmt: skip
    assert (again, is_new) == (bought[1], False)
    undo(merged)
    assert as_it_was() == before


def test_a_merged_lead_is_left_alone(shop, by, now, cast, merge):
    kept, dropped = (qualified(shop, by, now, contact=Contact(name=name)) for name in ("Jane", "Jim"))
    merge(kept, dropped)
    before = Lead.objects.get(pk=dropped.pk)
    for to in ("lost", "contacted", "transferred"):
        refused(
            lambda to=to: pipeline.move(lead=dropped, to=to, by=by, now=now), MERGED, lifecycle.NotAllowed
        )  # fmt: skip
    for call in (
        lambda: pipeline.add_activity(lead=dropped, kind=ActivityKind.CALL, text="", by=by, now=now),
        lambda: pipeline.edit_lead(lead=dropped, changes={"notes": "New"}, by=by, now=now),
        lambda: pipeline.edit_lead(lead=dropped, changes={}, contact=Contact(name="Jo"), by=by, now=now),
        lambda: pipeline.assign(lead=dropped, to=cast.bob, by=by, now=now),
    ):
        refused(call, MERGED)
    refused(
        lambda: sales.transfer(lead=dropped, by=by, now=now),
        "This lead was merged into another one. Transfer that one.", sales.CannotTransfer,
    )  # fmt: skip
    writes(Customer.objects.get(name="Jane"), now + timedelta(seconds=1), ours=True)
    assert assessing.count_activity(now=now + timedelta(seconds=2)) == 1
    Lead.objects.filter(pk=dropped.pk).update(rescore_at=now)
    assert [pk for _, pk in assessing.score_due(now=now + timedelta(days=1))] == [kept.pk]
    assessing.assess(lead=dropped, now=now)  # somebody may look; it does not come back by itself
    after = Lead.objects.get(pk=dropped.pk)
    assert (after.activity_count, after.stage, after.rescore_at) == (before.activity_count, "qualified", None)


def test_nothing_of_it_is_seen_next_door(shop, by, now, cast, merge):
    merge(a_lead(shop, by, now), a_lead(shop, by, now, source=LeadSource.SCANNER))
    with only(cast.next_door):
        assert (Lead.objects.count(), LeadMerge.objects.count()) == (0, 0)
    with every_business():
        assert LeadMerge.objects.count() == 1
