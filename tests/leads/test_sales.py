"""A deal is held out to one salesperson after another until somebody takes it; then it is won or lost, and its lead learns how."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from crm import segments
from crm.enums import Audience, BusinessStatus, MessageStatus, Role, TaskReason
from crm.messaging import sms_cost_micros
from crm.models import Activity, Allowance, AuditEvent, Business, Membership, Message, Task
from crm.scoping import every_business, only
from crm.services import Refused
from leads import lifecycle
from leads.actors import person
from leads.enums import OfferStatus, Outcome
from leads.models import Deal, DealOffer, Lead, PipelineSettings, Salesperson
from leads.services import pipeline, sales
from leads.services.pipeline import Contact
from tests.leads.selling import a_deal, a_person, a_salesperson, everything, qualified, untruths

QUARTER = timedelta(minutes=15)


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop
        assert untruths() == []


@pytest.fixture
def by(cast):
    return person(cast.alice)


def asked(deal):
    """Who holds the offer now; None: nobody."""
    offer = DealOffer.objects.filter(deal=deal, status=OfferStatus.OPEN).first()
    return offer.salesperson.user if offer else None


def waits(deal):
    return Task.objects.open().filter(reason=TaskReason.DEAL_WAITS, about=f"deal:{deal.pk}").exists()


def refused(call, sentence):
    before = everything()
    with pytest.raises(Refused) as refusal:
        call()
    assert str(refusal.value) == sentence
    assert everything() == before


# --- Who is asked --------------------------------------------------------------------------------------------------------


def test_whoever_waited_longest_is_asked_next(shop, by, now):
    people = [a_person(shop, name) for name in ("Ann Oak", "Ben Elm", "Cy Fir")]
    for user in people:
        a_salesperson(shop, user, now)
    deals = [a_deal(shop, by, now + timedelta(minutes=n)) for n in range(5)]
    assert [asked(deal) for deal in deals] == [*people, *people[:2]]


def test_only_who_can_take_a_deal_is_asked(shop, by, now, cast):
    busy, away, left, off, looks = (
        a_salesperson(shop, a_person(shop, name), now, capacity=1)
        for name in ("Busy Bee", "Away Ant", "Left Lion", "Off Owl", "Looks Lark")
    )
    sales.hand_to(deal=a_deal(shop, by, now), to=busy.user, by=by, now=now)
    Salesperson.objects.filter(pk=away.pk).update(takes_offers=False)
    Membership.objects.filter(user=left.user).delete()
    off.user.is_active = False
    off.user.save()
    Membership.objects.filter(user=looks.user).update(role=Role.VIEWER)
    deal = a_deal(shop, by, now)
    assert (asked(deal), waits(deal)) == (None, True)
    a_salesperson(shop, cast.bob, now)
    assert asked(a_deal(shop, by, now)) == cast.bob


def test_an_offer_held_out_fills_a_hand_and_an_answer_frees_it(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now, capacity=1)
    first, second = a_deal(shop, by, now), a_deal(shop, by, now)
    assert [asked(first), asked(second)] == [cast.bob, None]
    sales.decline(deal=first, user=cast.bob, now=now)
    third = a_deal(shop, by, now)
    assert asked(third) == cast.bob
    third = sales.accept(deal=third, user=cast.bob, now=now)
    assert asked(a_deal(shop, by, now)) is None
    sales.move_deal(deal=third, to="lost", by=by, now=now, why="No money")
    assert asked(a_deal(shop, by, now)) == cast.bob


def test_with_nobody_selling_somebody_is_told_and_anybody_may_take_it(shop, by, now, cast):
    deal = a_deal(shop, by, now, contact=Contact(name="Jane Doe"))
    assert [(task.title, task.customer.name) for task in Task.objects.open()] == [
        ("Nobody of sales has taken Jane Doe. Take the deal, or give it to somebody.", "Jane Doe")
    ]
    assert sales.accept(deal=deal, user=cast.bob, now=now).owner == cast.bob
    assert not waits(deal)
    assert "Bob Burns took the deal." in Activity.objects.values_list("text", flat=True)


def test_everybody_passes(shop, by, now, cast):
    for user in (cast.bob, cast.alice):
        a_salesperson(shop, user, now)
    deal = a_deal(shop, by, now)
    refused(
        lambda: sales.decline(deal=deal, user=cast.alice, now=now), "This deal is not held out to you any more."
    )  # not yet, either
    sales.decline(deal=deal, user=cast.bob, now=now, why="On the roof")
    assert (asked(deal), waits(deal)) == (cast.alice, False)
    sales.decline(deal=deal, user=cast.alice, now=now)
    assert (asked(deal), waits(deal)) == (None, True)
    assert [(o.status, o.why) for o in DealOffer.objects.order_by("id")] == [
        ("declined", "On the roof"),
        ("declined", ""),
    ]
    refused(lambda: sales.decline(deal=deal, user=cast.bob, now=now), "This deal is not held out to you any more.")
    assert sales.accept(deal=deal, user=cast.bob, now=now).owner == cast.bob  # on second thoughts


def test_the_time_to_answer_is_the_businesses_own_and_then_anybody_may_take_it(shop, by, now, cast):
    PipelineSettings.objects.create(business=shop, accept_minutes=3)
    a_salesperson(shop, cast.bob, now)
    deal = a_deal(shop, by, now)
    refused(
        lambda: sales.accept(deal=deal, user=cast.alice, now=now + timedelta(minutes=2)),
        "This deal is held out to Bob Burns for the moment. Wait for their answer.",
    )
    late = now + timedelta(minutes=3)
    assert (sales.pass_on(now=late), sales.pass_on(now=late)) == (1, 0)
    assert (asked(deal), waits(deal)) == (None, True)
    assert sales.accept(deal=deal, user=cast.alice, now=late).owner == cast.alice
    other = a_deal(shop, by, now)
    other = sales.accept(deal=other, user=cast.alice, now=late)  # before anybody has cleared the offer away
    assert DealOffer.objects.get(deal=other).status == OfferStatus.LAPSED


def test_a_late_yes_counts_while_nobody_else_has_the_deal(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now)
    deal = a_deal(shop, by, now)
    assert sales.accept(deal=deal, user=cast.bob, now=now + timedelta(hours=2)).owner == cast.bob
    again = everything()
    assert sales.accept(deal=deal, user=cast.bob, now=now + timedelta(hours=3)).accepted_at == now + timedelta(hours=2)
    assert everything() == again
    refused(lambda: sales.accept(deal=deal, user=cast.alice, now=now), "Bob Burns has taken this deal.")


def test_only_the_team_takes_deals_or_is_given_them(shop, by, now, cast):
    deal, looks = a_deal(shop, by, now), a_person(shop, "Looks Lark", role=Role.VIEWER)
    for stranger in (cast.charlie, looks):
        refused(
            lambda who=stranger: sales.accept(deal=deal, user=who, now=now),
            "Only somebody of the team can take a deal.",
        )
        refused(
            lambda who=stranger: sales.hand_to(deal=deal, to=who, by=by, now=now),
            f"{stranger.get_full_name()} cannot take deals here. Choose somebody of the team.",
        )


def test_a_deal_is_given_away_and_the_audit_says_from_whom(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now)
    deal = a_deal(shop, by, now)
    for to in (cast.alice, cast.bob, cast.bob):
        deal = sales.hand_to(deal=deal, to=to, by=by, now=now)
    assert DealOffer.objects.get().status == OfferStatus.WITHDRAWN
    given = AuditEvent.objects.filter(action="deal given").order_by("id").values_list("changes", "actor_text")
    assert [(changes["owner"], who) for changes, who in given] == [
        (["nobody", str(cast.alice)], "Alice Ames"), ([str(cast.alice), str(cast.bob)], "Alice Ames"),
    ]  # fmt: skip


# --- The text to whoever is asked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [timedelta(0), timedelta(hours=15)])  # 9:00 in the morning and midnight
def test_whoever_is_asked_gets_one_text_by_day(shop, by, now, cast, settings, waits):
    settings.PUBLIC_URL = "https://desk.example.com"
    a_salesperson(shop, cast.bob, now, phone="+15552009003")
    due = now + timedelta(hours=22) if waits else now
    now += waits
    deal = a_deal(shop, by, now, contact=Contact(name="Jane Doe"))
    text = Message.objects.get()
    assert (text.to_number, text.audience, text.status, text.due_at, text.about) == (
        "+15552009003", Audience.OWNER, MessageStatus.QUEUED, due, f"deal:{deal.pk}",
    )  # fmt: skip
    if waits:
        assert text.body.startswith("New deal for you: Jane Doe, score 0.60. Accept by Thu 7:15 AM: https://desk.")
        assert "Offered to Bob Burns, until Thu 7:15 AM." in Activity.objects.values_list("text", flat=True)
        return
    assert "Offered to Bob Burns, 15 minutes to accept." in Activity.objects.values_list("text", flat=True)
    assert text.body == (
        "New deal for you: Jane Doe, score 0.60. Accept within 15 min: "
        f"https://desk.example.com/app/alice/deals/{deal.number}/"
    )
    count = segments.count(text.body)
    assert (count.encoding, count.segments, text.segments) == ("GSM-7", count.segments, count.segments)
    assert count.segments <= 2
    sales.decline(deal=deal, user=cast.bob, now=now)
    assert (Message.objects.count(), Message.objects.get().status) == (1, MessageStatus.QUEUED)


def test_without_a_phone_nobody_is_texted_and_the_next_one_is(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now)
    a_salesperson(shop, cast.alice, now, phone="+15552009004")
    a_deal(shop, by, now)
    assert not Message.objects.exists()
    assert sales.pass_on(now=now + QUARTER) == 1
    text = Message.objects.get()
    assert text.to_number == "+15552009004"
    assert text.body.endswith(", score 0.60. Accept within 15 min.")  # whoever has no public address has no link


# --- Night, and a business that is suspended ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "offered", "until"),
    [  # the clocks of Chicago go back on 1 November 2026 and forward on 14 March 2027; those of Phoenix never do
        ("America/Chicago", datetime(2026, 11, 19, 2, 44, tzinfo=UTC), datetime(2026, 11, 19, 2, 59, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 11, 19, 2, 45, tzinfo=UTC), datetime(2026, 11, 19, 3, 0, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 11, 19, 2, 50, tzinfo=UTC), datetime(2026, 11, 19, 13, 5, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 11, 19, 3, 0, tzinfo=UTC), datetime(2026, 11, 19, 13, 15, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 11, 19, 12, 59, tzinfo=UTC), datetime(2026, 11, 19, 13, 15, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 11, 19, 13, 0, tzinfo=UTC), datetime(2026, 11, 19, 13, 15, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 11, 1, 2, 10, tzinfo=UTC), datetime(2026, 11, 1, 13, 15, tzinfo=UTC)),
        ("America/Chicago", datetime(2026, 11, 1, 7, 30, tzinfo=UTC), datetime(2026, 11, 1, 13, 15, tzinfo=UTC)),
        ("America/Chicago", datetime(2027, 3, 14, 3, 10, tzinfo=UTC), datetime(2027, 3, 14, 12, 15, tzinfo=UTC)),
        ("America/Phoenix", datetime(2027, 3, 14, 4, 10, tzinfo=UTC), datetime(2027, 3, 14, 14, 15, tzinfo=UTC)),
    ],
)
def test_the_time_to_answer_stands_still_at_night(shop, by, cast, zone, offered, until):
    shop.time_zone = zone
    shop.save()
    for user in (cast.bob, cast.alice):
        a_salesperson(shop, user, offered)
    deal = a_deal(shop, by, offered)
    assert DealOffer.objects.get().until == until
    minutes = (offered + timedelta(minutes=n) for n in range(0, 11 * 60, 5))
    assert sum(sales.pass_on(now=at) for at in minutes if at < until) == 0
    assert asked(deal) == cast.bob
    end = until if until.astimezone(shop.zone).hour < 21 else until + timedelta(hours=10)
    assert (sales.pass_on(now=end), asked(deal)) == (1, cast.alice)


def test_a_deal_whose_time_was_over_by_day_is_not_passed_on_by_night(shop, by, now, cast):
    """As when nobody was there to do it, because the timetable stood still."""
    for user in (cast.bob, cast.alice):
        a_salesperson(shop, user, now)
    deal = a_deal(shop, by, now)
    nine_at_night, seven = now + timedelta(hours=12), now + timedelta(hours=22)
    assert [sales.pass_on(now=at) for at in (nine_at_night, seven - timedelta(seconds=1), seven)] == [0, 0, 1]
    assert asked(deal) == cast.alice


def test_more_time_than_a_day_has_goes_on_the_next_day(shop, by, now, cast):
    PipelineSettings.objects.create(business=shop, accept_minutes=1_440)
    a_salesperson(shop, cast.bob, now)
    a_deal(shop, by, now)  # 9:00 in the morning: twelve hours of today, twelve of tomorrow
    assert DealOffer.objects.get().until == now + timedelta(hours=34)


def test_an_answer_by_night_takes_the_text_of_the_morning_back(shop, by, now, cast):
    for user, phone in ((cast.bob, "+15552009003"), (cast.alice, "+15552009004")):
        a_salesperson(shop, user, now, phone=phone)
    night, morning = now + timedelta(hours=15), now + timedelta(hours=22)
    deal = a_deal(shop, by, night)
    sales.decline(deal=deal, user=cast.bob, now=night + QUARTER)
    texts = Message.objects.order_by("to_number").values_list("to_number", "status", "due_at")
    assert list(texts) == [("+15552009003", "refused", morning), ("+15552009004", "queued", morning)]
    one_text = Message.objects.get(status=MessageStatus.QUEUED)
    assert Allowance.objects.get().spent_micros == sms_cost_micros(one_text.segments)
    sales.accept(deal=deal, user=cast.alice, now=night + 2 * QUARTER)
    assert set(Message.objects.values_list("status", "error")) == {("refused", "Answered before it was sent.")}
    assert Allowance.objects.get().spent_micros == 0


def test_a_suspended_businesss_deals_stay_where_they_are_until_it_is_back(shop, by, now, cast):
    for user in (cast.bob, cast.alice):
        a_salesperson(shop, user, now, phone="+15552009003")
    deal = a_deal(shop, by, now)
    Business.objects.filter(pk=shop.pk).update(status=BusinessStatus.SUSPENDED)
    before = everything()
    assert sales.pass_on(now=now + QUARTER) == 0
    assert everything() == before
    Business.objects.filter(pk=shop.pk).update(status=BusinessStatus.ACTIVE)
    assert (sales.pass_on(now=now + 2 * QUARTER), asked(deal)) == (1, cast.alice)


# --- What was to be done, and what becomes of it --------------------------------------------------------------------------


def test_a_transfer_settles_what_was_to_be_done_about_the_lead(shop, by, now, cast):
    a_salesperson(shop, cast.bob, now)
    lead, other = (qualified(shop, by, now, contact=Contact(name=name)) for name in ("Jane", "Jim"))
    for one in (lead, other):
        pipeline.follow_up(lead=one, title=f"Call {one.person.name}", due_at=now, now=now)
    sales.transfer(lead=lead, by=by, now=now)
    assert [task.title for task in Task.objects.open()] == ["Call Jim"]


@pytest.mark.parametrize(("last", "outcome"), [("paid", Outcome.WON), ("lost", Outcome.LOST)])
def test_how_a_deal_ends_is_how_its_lead_ends(shop, by, now, cast, last, outcome):
    a_salesperson(shop, cast.bob, now)
    deal = a_deal(shop, by, now)
    for day, stage in enumerate(("kyc", "agreement", last), start=1):
        assert Lead.objects.get().outcome == ""
        deal = sales.move_deal(deal=deal, to=stage, by=by, now=now + timedelta(day), why="Because")
    ended, lead = now + timedelta(3), Lead.objects.get()
    assert (lead.stage, lead.outcome, lead.closed_at, deal.closed_at) == ("transferred", outcome, ended, ended)
    assert deal.lost_because == ("Because" if last == "lost" else "")
    assert DealOffer.objects.get().status == OfferStatus.LAPSED
    for sentence, call in (
        (
            f"This deal is closed: {deal.get_stage_display().lower()}.",
            lambda: sales.accept(deal=deal, user=cast.bob, now=now),
        ),
        (
            f"This deal is closed: {deal.get_stage_display().lower()}.",
            lambda: sales.hand_to(deal=deal, to=cast.bob, by=by, now=now),
        ),
        ("This deal is not held out to you any more.", lambda: sales.decline(deal=deal, user=cast.bob, now=now)),
    ):
        refused(call, sentence)
    with pytest.raises(lifecycle.NotAllowed, match=f"^This deal is closed: {last}.$"):
        sales.move_deal(deal=deal, to="kyc", by=by, now=now)


def test_a_deal_goes_one_step_at_a_time(shop, by, now):
    deal = a_deal(shop, by, now)
    for to in ("new", "agreement", "paid"):
        with pytest.raises(lifecycle.NotAllowed, match=f"^Invalid transition from new to {to}$"):
            sales.move_deal(deal=deal, to=to, by=by, now=now)
    moved = sales.move_deal(deal=deal, to="kyc", by=by, now=now - timedelta(minutes=1))
    assert moved.stage_since == now  # by a clock that is a little slow; it still comes after the transfer


def test_value_and_day_are_edited_and_the_audit_says_what_they_were(shop, by, now):
    deal = a_deal(shop, by, now)
    day = date(2027, 1, 15)
    deal = sales.edit_deal(deal=deal, changes={"value": Decimal("1200.50"), "expected_on": day}, by=by, now=now)
    assert sales.edit_deal(deal=deal, changes={"value": Decimal("1200.50")}, by=by, now=now).expected_on == day
    sales.edit_deal(deal=deal, changes={"expected_on": None}, by=by, now=now)
    edits = AuditEvent.objects.filter(action="deal edited").order_by("id")
    assert [edit.changes for edit in edits] == [
        {"value": ["900.00", "1200.50"], "expected_on": [None, "2027-01-15"]},
        {"expected_on": ["2027-01-15", None]},
    ]
    assert {edit.target for edit in edits} == {f"deal {deal.number}"}


def test_a_neighbours_deal_is_as_one_that_never_was(shop, by, now, cast):
    deal = a_deal(shop, by, now)
    assert sales.find_deal(business=shop, number=deal.number).pk == deal.pk
    with only(cast.next_door):
        for number in (deal.number, deal.number + 1, 0, -1, 2**63):
            with pytest.raises(sales.DealNotFound):
                sales.find_deal(business=cast.next_door, number=number)
    with every_business():
        assert Deal.objects.count() == 1
