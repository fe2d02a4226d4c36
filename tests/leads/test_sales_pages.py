"""Deals, reports, set-up and duplicates, as people see them."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from booking.models import Service, StaffMember, WeeklyHours
from crm.enums import Role, TaskReason
from crm.models import AuditEvent, Business, Customer, Membership, PhoneNumber, User
from crm.phones import parse
from crm.scoping import every_business, only
from crm.services import add_member, add_task
from leads.actors import FRONTDESK, person
from leads.enums import ActivityKind, LeadSource, OfferStatus, Outcome, Stage
from leads.models import (
    Assessment,
    AssignmentRule,
    Deal,
    DealOffer,
    Lead,
    LeadMerge,
    PipelineSettings,
    Salesperson,
    StageChange,
)
from leads.queries import duplicates as twins
from leads.queries import reports
from leads.queries.today import untouched
from leads.services import assessing, pipeline, sales
from leads.services.pipeline import Contact
from tests.pages import page, signed_in, viewer_of, words_of


@pytest.fixture(autouse=True)
def _at_nine(now):
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture
def alice(cast):
    return signed_in(cast.alice)


@pytest.fixture
def bob(cast):
    return signed_in(cast.bob)


def a_lead(cast, now, *, name="Dana Diaz", number=1, shop=None, **fields):
    """A partner's lead of 0.6 points."""
    shop = shop or cast.shop
    contact = Contact(name=name, phone=parse(f"+155501400{number:02}", region="US"), email=fields.pop("email", ""))
    return pipeline.add_lead(
        business=shop, by=person(cast.alice), now=now, contact=contact,
        **{"source": LeadSource.PARTNER, "domain": "first"} | fields,
    )  # fmt: skip


def a_deal(cast, now, *, value=None, **fields):
    lead = a_lead(cast, now, **fields)
    assessing.assess(lead=lead, now=now)
    for stage in (Stage.CONTACTED, Stage.QUALIFIED):
        lead = pipeline.move(lead=lead, to=stage, by=person(cast.alice), now=now)
    return sales.transfer(lead=lead, by=person(cast.alice), now=now, value=value)


def a_seller(cast, user, now, **fields):
    return Salesperson.objects.create(business=cast.shop, user=user, created_at=now, **fields)


@pytest.fixture
def deal(cast, now):
    """Dana's, held out to Bob until 9:15 AM."""
    with only(cast.shop):
        a_seller(cast, cast.bob, now)
        return a_deal(cast, now, value=Decimal(1_200), asked_for="AC Repair")


def fresh(deal):
    with every_business():
        return Deal.objects.select_related("lead", "owner").get(pk=deal.pk)


# --- The board ---------------------------------------------------------------------------------------------------------


def test_the_board_has_a_column_per_stage_with_count_and_value(cast, alice, deal, now):
    with only(cast.shop):
        second = a_deal(cast, now, name="Eve Egan", number=2, value=Decimal("99.50"))
        sales.hand_to(deal=second, to=cast.alice, by=person(cast.alice), now=now)
        sales.edit_deal(deal=second, changes={"expected_on": date(2026, 11, 17)}, by=person(cast.alice), now=now)
        third = a_deal(cast, now, name="Fay Fox", number=3)
        sales.move_deal(deal=third, to="lost", by=person(cast.alice), now=now, why="Too expensive")
    text = words_of(alice.get(page("leads:deals")))
    assert "Deals 3 deals" in text
    assert "New 2 Worth $1,299.50" in text
    assert "Checking identity 0 Worth $0 None" in text
    assert "Eve Egan $99.50 Overdue since Nov 17 Alice Ames" in text
    assert "Dana Diaz $1,200 AC Repair Held out to Bob Burns until 9:15 AM" in text
    assert "Fay Fox Alice Ames Too expensive · 9:00 AM" in text
    mine = words_of(alice.get(page("leads:deals", mine=1)))
    assert "Eve Egan" in mine
    assert "Dana Diaz" not in mine
    assert "Dana Diaz" in words_of(signed_in(cast.bob).get(page("leads:deals", mine=1)))  # he is asked


def test_a_stage_has_a_page_of_all_its_deals(cast, alice, deal, now, monkeypatch):
    monkeypatch.setattr("leads.queries.deals.SHOWN", 1)
    monkeypatch.setattr("leads.views.deals.PAGE", 1)
    with only(cast.shop):
        a_deal(cast, now + timedelta(minutes=1), name="Eve Egan", number=2)
    board = alice.get(page("leads:deals"))
    assert "Dana Diaz" not in words_of(board)
    assert f'href="{page("leads:deals")}?stage=new">All 2<' in board.content.decode()
    first = alice.get(page("leads:deals", stage="new"))
    assert "New 2 deals" in words_of(first)
    assert "Eve Egan" in words_of(first)
    rest = re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1].replace("&amp;", "&")
    assert "Dana Diaz" in words_of(alice.get(page("leads:deals") + rest))


@pytest.mark.parametrize("many", [1, 4])
def test_pages_ask_as_often_for_many_as_for_one(cast, alice, now, many):
    with only(cast.shop):
        a_seller(cast, cast.alice, now)
        a_seller(cast, cast.bob, now)
        for n in range(many):
            a_deal(cast, now, name=f"Person {n}", number=n)
            for minute in range(2):
                a_lead(cast, now + timedelta(minutes=minute), name=f"Twin {n}", number=50 + n)
            add_task(
                business=cast.shop, customer=None, reason=TaskReason.FOLLOW_UP, title=f"Call {n}", now=now,
                due_at=now + timedelta(days=1),
            )  # fmt: skip
            AssignmentRule.objects.create(business=cast.shop, position=n, created_at=now, assignee=cast.bob)
        number = Deal.objects.first().number
    addresses = [
        *(page(f"leads:{name}") for name in ("deals", "reports", "ways", "duplicates", "today")),
        page("leads:deals", stage="new"),
        page("leads:deal", number),
    ]
    asked = []
    for address in addresses:
        alice.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert alice.get(address).status_code == 200, address
        asked.append(len(queries))
    assert asked == [9, 11, 13, 9, 25, 9, 16]


# --- One deal ----------------------------------------------------------------------------------------------------------


def test_a_deal_tells_all_that_ten_seconds_need(cast, bob, deal, now):
    with only(cast.shop):
        pipeline.add_activity(
            lead=deal.lead, kind=ActivityKind.CALL, text="Wants it before May", by=person(cast.alice), now=now
        )
    response = bob.get(page("leads:deal", deal.number))
    text, html = words_of(response), response.content.decode()
    assert "This deal is held out to you Until 9:15 AM: 15 minutes left. Then the next of the team is asked." in text
    assert 'href="tel:+15550140001"' in html
    assert "Call (555) 014-0001" in text
    assert "They have not agreed to texts yet." in text
    assert "0.60 score at transfer" in text
    assert "+0.3 Partner leads have higher conversion rates." in text
    assert "call: Wants it before May" in text
    assert f'href="{page("crm:customer", deal.lead.customer_id)}#story"' in html
    assert "Bob Burns Nov 18, 9:00 AM Waiting for an answer" in text
    assert "Lead: Qualified → to Transferred Score 0.60 Alice Ames, Nov 18, 9:00 AM" in text
    assert "Live call" not in text


def test_the_score_of_the_transfer_stands_with_its_evidence(cast, alice, now):
    with only(cast.shop):
        lead = a_lead(cast, now)
        for stage in (Stage.CONTACTED, Stage.QUALIFIED):
            lead = pipeline.move(lead=lead, to=stage, by=person(cast.alice), now=now)
        Assessment.objects.create(
            business=cast.shop, lead=lead, score="0.65", baseline="0.60", reading="0.10", silence="-0.05", created_at=now,
            recommendation="transfer_to_sales", reason="", summary="Needs a <boiler> soon.", model="a model",
            factors=[{"name": "source", "points": "0.3", "text": "A partner sent them."}],
            evidence=[{"quote": "before the frost", "why": "names a date"}],
        )  # fmt: skip
        Lead.objects.filter(pk=lead.pk).update(score="0.65")
        deal = sales.transfer(lead=lead, by=person(cast.alice), now=now)
        assessing.assess(lead=deal.lead, now=now + timedelta(minutes=1))  # what came later does not count here
    text = words_of(alice.get(page("leads:deal", deal.number)))
    assert "0.65 score at transfer Needs a <boiler> soon." in text
    assert (
        "Why 0.65 +0.3 A partner sent them. +0.10 Needs a <boiler> soon. -0.05 They had been silent."
        " In their words before the frost names a date"
    ) in text
    assert "by the table of points and a reading of the conversation" in text
    assert "Nobody has this deal Everybody of sales was asked, or is busy." in text


def test_what_is_held_out_is_accepted_by_whom_it_is_held_out_to(cast, alice, bob, deal):
    refused = alice.post(page("leads:deal_accept", deal.number), follow=True)
    assert "This deal is held out to Bob Burns for the moment. Wait for their answer." in words_of(refused)
    assert fresh(deal).owner is None
    taken = bob.post(page("leads:deal_accept", deal.number), follow=True)
    assert "Dana Diaz is yours. Call them while they still think of it." in words_of(taken)
    assert fresh(deal).owner == cast.bob
    assert "Bob Burns has taken this deal." in words_of(alice.post(page("leads:deal_accept", deal.number), follow=True))
    late = bob.post(page("leads:deal_decline", deal.number), follow=True)
    assert "This deal is not held out to you any more." in words_of(late)


def test_who_passes_says_why_and_the_next_one_is_asked(cast, alice, bob, deal, now):
    with only(cast.shop):
        a_seller(cast, cast.alice, now)
    passed = bob.post(page("leads:deal_decline", deal.number), {"why": "My cousin", "back": "today"}, follow=True)
    assert passed.redirect_chain == [(page("leads:today"), 302)]
    assert "You passed on Dana Diaz. The next of the team is asked." in words_of(passed)
    text = words_of(alice.get(page("leads:deal", deal.number)))
    assert "This deal is held out to you" in text
    assert "Bob Burns Nov 18, 9:00 AM Declined: My cousin" in text
    too_long = alice.post(page("leads:deal_decline", deal.number), {"why": "x" * 301})
    assert too_long.status_code == 422
    with every_business():
        assert DealOffer.objects.filter(status=OfferStatus.OPEN).get().salesperson.user == cast.alice


def test_when_the_time_is_over_anybody_takes_it(cast, alice, deal, now):
    with time_machine.travel(now + timedelta(minutes=16), tick=False):
        assert "Bob Burns did not answer in time Whoever takes it first has it." in words_of(
            alice.get(page("leads:deal", deal.number))
        )
        alice.post(page("leads:deal_accept", deal.number))
    assert fresh(deal).owner == cast.alice


def test_a_deal_is_given_to_somebody_of_the_team_only(cast, alice, deal):
    viewer_of(cast.shop)
    for stranger in (cast.charlie, User.objects.get(email="vera@example.com")):
        refused = alice.post(page("leads:deal_give", deal.number), {"to": stranger.pk})
        assert refused.status_code == 422
        assert "Choose somebody of the team." in words_of(refused)
    assert fresh(deal).owner is None
    given = alice.post(page("leads:deal_give", deal.number), {"to": cast.bob.pk}, follow=True)
    assert "Bob Burns has Dana Diaz now." in words_of(given)
    assert fresh(deal).owner == cast.bob


def test_value_and_day_are_saved_as_people_write_them(alice, deal):
    saved = alice.post(
        page("leads:deal_edit", deal.number), {"value": "$12,345.60", "expected_on": "2026-12-01"}, follow=True
    )
    assert "Value and day are saved." in words_of(saved)
    assert (fresh(deal).value, fresh(deal).expected_on) == (Decimal("12345.60"), date(2026, 12, 1))
    for wrong, sentence in [
        ({"value": "a lot"}, "Write the value as a number, like 1,200."),
        ({"value": "-1"}, "A value is not negative."),
        ({"expected_on": "soon"}, "Write the day as a date."),
    ]:
        response = alice.post(page("leads:deal_edit", deal.number), wrong)
        assert response.status_code == 422
        assert sentence in words_of(response)
    assert fresh(deal).value == Decimal("12345.60")


def test_a_deal_moves_a_stage_at_a_time_and_asks_before_it_ends(alice, deal):
    move = page("leads:deal_move", deal.number)
    jump = alice.post(move, {"to": "paid"}, follow=True)
    assert "From New a deal goes to Checking identity or Lost." in words_of(jump)
    moved = alice.post(move, {"to": "kyc", "back": "board"}, follow=True)
    assert moved.redirect_chain == [(page("leads:deals"), 302)]
    assert "Dana Diaz: checking identity." in words_of(moved)
    again = alice.post(move, {"to": "kyc"}, follow=True)
    assert "Dana Diaz is there already: checking identity." in words_of(again)
    alice.post(move, {"to": "agreement"})
    question = words_of(alice.get(page("leads:deal_move", deal.number, to="paid", back="mine")))
    assert "Has Dana Diaz paid $1,200? The deal is closed as won for good." in question
    paid = alice.post(move, {"to": "paid", "back": "mine"}, follow=True)
    assert paid.redirect_chain == [(page("leads:deals") + "?mine=1", 302)]
    assert "Paid: Dana Diaz, $1,200. Well done." in words_of(paid)
    assert (fresh(deal).stage, fresh(deal).lead.outcome) == ("paid", Outcome.WON)
    assert "How it goes on" not in words_of(alice.get(page("leads:deal", deal.number)))


def test_a_lost_deal_needs_a_reason(alice, deal):
    move = page("leads:deal_move", deal.number)
    assert "Give Dana Diaz up as lost?" in words_of(alice.get(move + "?to=lost"))
    unsaid = alice.post(move, {"to": "lost", "why": " "})
    assert unsaid.status_code == 422
    assert "Write in a few words why it was lost: the reports learn from it." in words_of(unsaid)
    assert fresh(deal).stage == "new"
    alice.post(move, {"to": "lost", "why": "Chose somebody else"})
    assert (fresh(deal).stage, fresh(deal).lost_because) == ("lost", "Chose somebody else")
    assert "Lost Chose somebody else" in words_of(alice.get(page("leads:deal", deal.number)))
    assert alice.get(move).status_code == 400
    assert alice.get(move + "?to=nowhere").status_code == 400


# --- Doors -------------------------------------------------------------------------------------------------------------

READING = ("leads:deals", "leads:reports", "leads:ways", "leads:duplicates")


def test_a_viewer_reads_all_and_changes_nothing(cast, deal, now):
    vera = signed_in(viewer_of(cast.shop))
    with only(cast.shop):
        other = a_lead(cast, now + timedelta(minutes=1))
        rule = AssignmentRule.objects.create(business=cast.shop, created_at=now)
    for address in (*(page(name) for name in READING), page("leads:deal", deal.number)):
        response = vera.get(address)
        assert response.status_code == 200, address
        assert f'method="post" action="{page("leads:today")}' not in response.content.decode(), address
    for address, form in [
        (page("leads:deal_move", deal.number), {"to": "kyc"}),
        (page("leads:deal_accept", deal.number), {}),
        (page("leads:deal_decline", deal.number), {}),
        (page("leads:deal_give", deal.number), {"to": cast.bob.pk}),
        (page("leads:deal_edit", deal.number), {"value": "1"}),
        (page("leads:ways_times"), {"answer_minutes": 1, "accept_minutes": 1}),
        (page("leads:ways_salesperson"), {"user": cast.alice.pk, "capacity": 1}),
        (page("leads:ways_rule"), {}),
        (page("leads:ways_rule_move", rule.pk), {"way": "up"}),
        (page("leads:ways_rule_delete", rule.pk), {}),
        (page("leads:merge"), {"one": other.number, "other": deal.lead.number}),
    ]:
        response = vera.post(address, form)
        assert response.status_code == 403, address
        assert "You may read here, not change things." in words_of(response)
    with only(cast.shop):
        assert (Deal.objects.get().stage, Deal.objects.get().owner, Deal.objects.get().value) == ("new", None, 1_200)
        assert not PipelineSettings.objects.exists()
        assert (AssignmentRule.objects.count(), Salesperson.objects.count(), LeadMerge.objects.count()) == (1, 1, 0)


def test_the_neighbours_deal_is_a_deal_that_never_was(cast, deal):
    charlie = signed_in(cast.charlie)
    for number in (deal.number, 999_999, 10**30):
        for name in ("leads:deal", "leads:deal_move", "leads:deal_accept", "leads:deal_give", "leads:deal_edit"):
            address = page(name, number, slug="charlie")
            assert {charlie.post(address, {"to": "kyc"}).status_code, charlie.get(address).status_code} <= {404, 405}
    assert "Dana Diaz" not in words_of(charlie.get(page("leads:deals", slug="charlie")))
    mine = {"one": deal.lead.number, "other": deal.lead.number}
    assert charlie.post(page("leads:merge", slug="charlie"), mine).status_code == 404


# --- Reports -----------------------------------------------------------------------------------------------------------


def seen(cast, *, first, last, source="", now, minutes=5):
    return reports.report(
        cast.shop, over=reports.period(cast.shop, first=first, last=last), source=source,
        answer_within=timedelta(minutes=minutes), now=now,
    )  # fmt: skip


@pytest.fixture
def history(cast, now):
    """Five partner leads and one form lead of Nov 10; one of them two minutes before midnight of Nov 9 in Chicago."""
    day = datetime(2026, 11, 10, 15, 0, tzinfo=UTC)
    with only(cast.shop):
        for n, took in enumerate((60, 120, 180, 240, 3_600)):  # seconds to the first answer
            lead = a_lead(cast, day, name=f"P{n}", number=n)
            Lead.objects.filter(pk=lead.pk).update(first_touch_at=day + timedelta(seconds=took))
        rows = list(Lead.objects.order_by("number"))
        alice = person(cast.alice)
        for hours, lead in zip((1, 2, 3, 6), rows, strict=False):  # four are contacted
            pipeline.move(lead=lead, to="contacted", by=alice, now=day + timedelta(hours=hours))
        for lead in rows[:2]:  # two are qualified and go to sales
            assessing.assess(lead=lead, now=day)
            pipeline.move(lead=lead, to="qualified", by=alice, now=day + timedelta(hours=12))
        first, second = (
            sales.transfer(lead=lead, by=alice, now=day + timedelta(days=1), value=value)
            for lead, value in zip(rows[:2], (Decimal(500), None), strict=True)
        )
        for days, stage in enumerate(("kyc", "agreement", "paid"), start=2):
            sales.move_deal(deal=first, to=stage, by=alice, now=day + timedelta(days=days))
        pipeline.move(lead=rows[2], to="lost", by=alice, now=day + timedelta(days=3), why="No")
        night = datetime(2026, 11, 10, 5, 58, tzinfo=UTC)  # 11:58 PM of Nov 9 in Chicago
        a_lead(cast, night, name="Night", number=20, source=LeadSource.FORM)
        bought = a_lead(cast, day, name="Bought", number=21, source=LeadSource.MANUAL)
        a_lead(cast, day, name="Twin", number=22)
        dropped = Lead.objects.get(customer__name="Twin")
        Lead.objects.filter(pk=dropped.pk).update(merged_into=bought)  # counted once, as the one that was kept
    with only(cast.next_door):
        theirs = a_lead(cast, day, shop=cast.next_door)  # counted next door
        pipeline.move(lead=theirs, to="lost", by=alice, now=day + timedelta(hours=1))
    return second


def test_the_funnel_counts_who_came_in_and_how_far_they_got(cast, history, now):
    whole, partner, manual = seen(cast, first=date(2026, 11, 10), last=date(2026, 11, 18), now=now).funnels
    assert whole == reports.Funnel(
        source="", came_in=6, contacted=4, qualified=2, transferred=2, won=1, lost=1
    )  # fmt: skip
    assert partner == reports.Funnel(
        source="partner", came_in=5, contacted=4, qualified=2, transferred=2, won=1, lost=1
    )  # fmt: skip
    assert (manual.source, manual.came_in, manual.contacted) == ("manual", 1, 0)


def test_a_day_begins_at_the_business_own_midnight(cast, history, now):
    ninth = seen(cast, first=date(2026, 11, 9), last=date(2026, 11, 9), now=now)
    assert [(row.source, row.came_in) for row in ninth.funnels] == [("", 1), ("form", 1)]
    tenth = seen(cast, first=date(2026, 11, 10), last=date(2026, 11, 10), now=now)
    assert tenth.funnels[0].came_in == 6
    Business.objects.filter(pk=cast.shop.pk).update(time_zone="Asia/Tokyo")
    cast.shop.refresh_from_db()
    tenth = seen(cast, first=date(2026, 11, 10), last=date(2026, 11, 10), now=now)
    assert [row.came_in for row in tenth.funnels if row.source == "form"] == [1]
    # the day the clocks went back in Chicago had 25 hours
    Business.objects.filter(pk=cast.shop.pk).update(time_zone="America/Chicago")
    cast.shop.refresh_from_db()
    over = reports.period(cast.shop, first=date(2026, 11, 1), last=date(2026, 11, 1))
    assert over.end.astimezone(UTC) - over.start.astimezone(UTC) == timedelta(hours=25)


def test_speed_is_the_middle_and_the_slow_end_of_those_who_wrote(cast, history, now):
    speeds = seen(cast, first=date(2026, 11, 9), last=date(2026, 11, 18), now=now).speeds
    # 60, 120, 180, 240, 3600: the middle is 180, and 95 % lies 0.8 of the way from 240 to 3600
    assert speeds["partner"] == reports.Speed(answered=5, p50=180.0, p95=2_928.0, due=5, in_time=4)
    assert speeds["form"] == reports.Speed(answered=0, p50=None, p95=None, due=1, in_time=0)
    assert speeds["manual"] == reports.Speed(answered=0, p50=None, p95=None, due=0, in_time=0)
    assert (speeds[""].due, speeds[""].in_time) == (6, 4)
    early = seen(cast, first=date(2026, 11, 9), last=date(2026, 11, 18), now=now, minutes=100_000).speeds
    assert early["form"].due == 0  # there is time left


def test_time_in_stage_wins_and_deals_are_of_what_happened_in_these_days(cast, history, now):
    found = seen(cast, first=date(2026, 11, 10), last=date(2026, 11, 18), now=now)
    stages = {(row.is_deal, row.stage): row for row in found.stages}
    hour = 3_600.0
    new = stages[False, "new"]
    assert (new.left, new.p50, new.p95) == (4, 2.5 * hour, pytest.approx(5.55 * hour))  # 1, 2, 3 and 6 hours
    assert (stages[False, "contacted"].left, stages[False, "qualified"].left) == (3, 2)
    assert (stages[True, "kyc"].left, stages[True, "kyc"].p50) == (1, 24 * hour)
    assert found.wins == reports.Wins(won=1, lost=1)
    assert found.deals == reports.Deals(
        open=1, open_value=Decimal(0), open_without_value=1, paid=1, won_value=Decimal("500.00"), days_to_close=3.0
    )
    before = seen(cast, first=date(2026, 11, 1), last=date(2026, 11, 13), now=now)
    assert (before.wins, before.deals.paid, before.deals.open) == (reports.Wins(won=0, lost=1), 0, 1)
    form = seen(cast, first=date(2026, 11, 9), last=date(2026, 11, 18), source="form", now=now)
    assert (form.funnels[0].came_in, form.wins.won, form.deals.open) == (1, 0, 0)


def test_the_page_tells_the_figures_and_explains_them(alice, history):
    text = words_of(alice.get(page("leads:reports", first="2026-11-10", last="2026-11-18")))
    assert "Nov 10, 2026 to Nov 18, 2026, as your clocks say" in text
    assert "Win rate 50 % 1 won and 1 lost of those that ended in these days" in text
    assert "In time 80 % 4 of 5 within your limit" in text
    assert "Won $500 1 paid in these days" in text
    assert "1 open deal has no value and counts for nothing here." in text
    assert "To close 3 days half of the paid deals were faster" in text
    assert "Came in 6 Contacted 4 · 67 % Qualified 2 · 33 % With sales 2 · 33 % Won 1 · 17 %" in text
    assert "All together 3 minutes 48.8 minutes 4 of 5 (80 %)" in text
    assert "New 4 2.5 hours 5.5 hours" in text
    assert "Your limit is 5 minutes" in text
    thirty = alice.get(page("leads:reports", days=30, source="form"))
    assert "How far they came: Web form" in words_of(thirty)
    assert "Oct 20, 2026 to Nov 18, 2026" in words_of(thirty)


def test_where_there_is_nothing_the_page_says_so_instead_of_nought_percent(alice):
    text = words_of(alice.get(page("leads:reports")))
    assert "0 %" not in text
    assert "No leads came in during these days" in text
    assert "No lead was won or lost in these days, so there is no rate yet" in text
    assert "Nobody waited for an answer in these days, so there is no speed to tell." in text
    assert text.count("Nothing left it in these days") == 6


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        ({"first": "2026-11-18", "last": "2026-11-10"}, "These days end before they begin. Swap them."),
        ({"first": "2020-01-01", "last": "2026-11-10"}, "Choose three years at most."),
        ({"first": "yesterday", "last": "2026-11-10"}, "That could not be read"),
        ({"source": "nowhere"}, "That could not be read"),
        ({"first": "9999-12-31", "last": "9999-12-31"}, "That could not be read"),
    ],
)
def test_days_that_cannot_be_are_answered_with_the_last_thirty(alice, days, sentence):
    response = alice.get(page("leads:reports", **days))
    assert response.status_code == 200
    assert sentence in words_of(response)
    assert "Oct 20, 2026 to Nov 18, 2026" in words_of(response)


def test_the_table_is_taken_along_as_csv(alice, history):
    response = alice.get(page("leads:reports", first="2026-11-09", last="2026-11-18", format="csv"))
    assert response.headers["Content-Disposition"] == 'attachment; filename="leads-alice-2026-11-09-to-2026-11-18.csv"'
    rows = list(csv.DictReader(io.StringIO(response.content.decode(), newline="")))
    assert [row["Source"] for row in rows] == ["All together", "Partner", "Web form", "Added by hand"]
    assert [rows[1][name] for name in ("Came in", "Contacted", "Won", "Answered p50 s", "In time")] == [
        "5", "4", "1", "180", "4",
    ]  # fmt: skip


# --- Set-up ------------------------------------------------------------------------------------------------------------


def audits(cast):
    with every_business():
        return list(AuditEvent.objects.filter(business=cast.shop).order_by("id").values_list("action", flat=True))


def test_names_and_times_are_the_business_own(cast, alice):
    wanted = {
        "first_line": "Repairs", "second_line": "", "third_line": "Pools", "answer_minutes": 10, "accept_minutes": 20,
    }  # fmt: skip
    saved = alice.post(page("leads:ways_times"), wanted, follow=True)
    assert "Names and times are saved." in words_of(saved)
    settings = PipelineSettings.objects.get(business=cast.shop)
    assert settings.domain_choices == [("first", "Repairs"), ("second", "Second line"), ("third", "Pools")]
    assert (settings.answer_minutes, settings.accept_minutes) == (10, 20)
    alice.post(page("leads:ways_times"), wanted)
    assert audits(cast) == ["pipeline settings changed"]  # the same once more is no change
    refused = alice.post(page("leads:ways_times"), wanted | {"answer_minutes": 0})
    assert refused.status_code == 422
    assert "greater than or equal to 1" in words_of(refused)
    assert PipelineSettings.objects.get(business=cast.shop).answer_minutes == 10


def test_salespeople_are_members_with_a_number_that_can_be_dialled(cast, alice, now):
    address = page("leads:ways_salesperson")
    form = {"user": cast.bob.pk, "capacity": 3, "phone": "555 200 7777", "takes_offers": "on"}
    added = alice.post(address, form, follow=True)
    assert "Bob Burns gets offers from now on." in words_of(added)
    assert "Bob Burns up to 3 open deals · (555) 200-7777 Gets offers" in words_of(added)
    wrong = alice.post(address, form | {"phone": "12", "is_known": 1})
    assert wrong.status_code == 422
    assert "Phone number" in words_of(wrong)
    with only(cast.shop):
        Customer.objects.create(business=cast.shop, name="Jane Doe", phone="+15552008888")
    customers = alice.post(address, form | {"phone": "555 200 8888", "is_known": 1})
    assert customers.status_code == 422
    assert "(555) 200-8888 is the number of Jane Doe, a customer." in words_of(customers)
    changed = alice.post(address, {"user": cast.bob.pk, "capacity": 4, "phone": "", "is_known": 1}, follow=True)
    assert "Bob Burns up to 4 open deals · no texts Takes no offers" in words_of(changed)
    for stranger in (cast.charlie, viewer_of(cast.shop)):
        refused = alice.post(address, form | {"user": stranger.pk})
        assert refused.status_code == 422
        assert "Choose somebody of the team." in words_of(refused)
    with only(cast.shop):
        row = Salesperson.objects.get()
        assert (row.user, row.capacity, row.phone, row.takes_offers) == (cast.bob, 4, "", False)
    assert audits(cast) == ["salesperson added", "salesperson changed"]


def test_a_salesperson_who_may_only_look_now_is_told_apart_from_a_busy_one(cast, alice, now):
    with only(cast.shop):
        a_seller(cast, cast.bob, now)
    assert "up to 10 open deals · no texts Gets offers" in words_of(alice.get(page("leads:ways")))
    Membership.objects.filter(business=cast.shop, user=cast.bob).update(role=Role.VIEWER)
    assert "Does not work on leads here any more" in words_of(alice.get(page("leads:ways")))
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    assert "Cannot sign in any more" in words_of(alice.get(page("leads:ways")))


def test_rules_are_read_from_top_to_bottom_and_moved_there(cast, alice, now):
    with only(cast.shop):
        repair = Service.objects.get(name="AC Repair")
    alice.post(page("leads:ways_rule"), {"source": "form", "service": repair.pk, "assignee": cast.bob.pk})
    alice.post(page("leads:ways_rule"), {"domain": "first", "set_domain": "second"})
    text = words_of(alice.get(page("leads:ways")))
    assert "1 Leads by Web form, about AC Repair go to Bob Burns." in text
    assert "2 Leads in First line go to salespeople in turn, put into Second line." in text
    with only(cast.shop):
        first, second = AssignmentRule.objects.order_by("position")
    alice.post(page("leads:ways_rule_move", second.pk), {"way": "up"})
    with only(cast.shop):
        assert list(AssignmentRule.objects.order_by("position").values_list("pk", "position")) == [
            (second.pk, 1), (first.pk, 2),
        ]  # fmt: skip
    ended = alice.post(page("leads:ways_rule_move", second.pk), {"way": "up"}, follow=True)
    assert "It is the first rule already." in words_of(ended)
    question = alice.get(page("leads:ways_rule_delete", first.pk))
    assert "Leads by Web form, about AC Repair go to Bob Burns." in words_of(question)
    gone = alice.post(page("leads:ways_rule_delete", first.pk), follow=True)
    assert "The rule is deleted. Leads that came in by it stay where they are." in words_of(gone)
    assert alice.post(page("leads:ways_rule_delete", first.pk)).status_code == 404
    with only(cast.shop):
        assert AssignmentRule.objects.get() == second
    assert audits(cast) == [
        "assignment rule added", "assignment rule added", "assignment rule moved", "assignment rule deleted",
    ]  # fmt: skip
    refused = alice.post(page("leads:ways_rule"), {"assignee": cast.charlie.pk})
    assert refused.status_code == 422
    assert "Choose somebody of the team." in words_of(refused)


# --- Duplicates --------------------------------------------------------------------------------------------------------


def test_open_leads_of_one_person_stand_together(cast, alice, now):
    with only(cast.shop):
        first = a_lead(cast, now, asked_for="AC Repair")
        second = a_lead(cast, now + timedelta(hours=1))
        mail = a_lead(cast, now, name="Gil Gray", number=5, email="Gil@example.com")
        also = a_lead(cast, now - timedelta(days=1), name="G. Gray", number=6, email="gil@EXAMPLE.com")
        alone = a_lead(cast, now, name="Hal Hart", number=7)
        lost = a_lead(cast, now, name="Hal Hart", number=7)
        pipeline.move(lead=lost, to="lost", by=FRONTDESK, now=now)
        assert [row.number for row in twins.others_of(Lead.objects.get(pk=first.pk))] == [second.number]
        assert [row.number for row in twins.others_of(Lead.objects.get(pk=mail.pk))] == [also.number]
        assert twins.others_of(Lead.objects.get(pk=alone.pk)) == []
        assert twins.others_of(Lead(business=cast.shop)) == []
        looked_up = Lead.objects.select_related("customer", "business").get(pk=mail.pk)
        with CaptureQueriesContext(connection) as asked:
            twins.others_of(looked_up)
        assert len(asked) == 2
    response = alice.get(page("leads:duplicates"))
    text = words_of(response)
    assert "Duplicates 2 people twice or more" in text
    assert text.index("Dana Diaz The same customer") < text.index("The same e-mail address: ")  # the newest first
    assert "Hal Hart" not in text
    assert f"{page('leads:merge')}?one={first.number}&amp;other={second.number}" in response.content.decode()


def test_two_leads_are_compared_merged_and_taken_apart(cast, alice, now):
    with only(cast.shop):
        kept = a_lead(cast, now, name="Gil Gray", number=5, email="gil@example.com", domain="")
        dropped = a_lead(cast, now, name="G. Gray", number=6, email="gil@example.com", notes="Gate code 4")
        pipeline.add_activity(lead=dropped, kind=ActivityKind.CALL, text="Hi", by=person(cast.alice), now=now)
    pair = {"one": kept.number, "other": dropped.number}
    shown = words_of(alice.get(page("leads:merge", **pair)))
    assert f"Lead {kept.number} (stays) Lead {dropped.number} Afterwards" in shown
    assert "Notes – Gate code 4 Gate code 4" in shown
    assert "Line – First line First line" in shown
    assert "They belong to two customers. Those become one as well" in shown
    turned = words_of(alice.get(page("leads:merge", **pair, keep="other")))
    assert f"Merge lead {kept.number} into lead {dropped.number}" in turned
    merged = alice.post(page("leads:merge"), pair, follow=True)
    assert f"Lead {dropped.number} is now part of lead {kept.number}, Gil Gray. Undo" in words_of(merged)
    with only(cast.shop):
        row = Lead.objects.get(pk=kept.pk)
        assert (row.business_domain, row.notes, row.activity_count) == ("first", "Gate code 4", 1)
        assert Customer.objects.standing().filter(email="gil@example.com").count() == 1
        merge = LeadMerge.objects.get()
    text = words_of(alice.get(page("leads:duplicates")))
    assert "Nobody stands here twice" in text
    assert f"Merged lately Lead {dropped.number} into lead {kept.number} , Gil Gray" in text
    again = alice.post(page("leads:merge"), pair, follow=True)
    assert "One of the two has been merged already." in words_of(again)
    undone = alice.post(page("leads:merge_undo", merge.pk), follow=True)
    assert f"Lead {dropped.number} stands alone again." in words_of(undone)
    with only(cast.shop):
        row = Lead.objects.get(pk=kept.pk)
        assert (row.business_domain, row.notes, row.activity_count) == ("", "", 0)
        assert Lead.objects.get(pk=dropped.pk).merged_into is None
        assert Customer.objects.standing().filter(email="gil@example.com").count() == 2
    twice = alice.post(page("leads:merge_undo", merge.pk), follow=True)
    assert "This merge was undone already." in words_of(twice)


def test_a_merge_that_cannot_be_is_refused_in_words(cast, alice, deal, now):
    with only(cast.shop):
        twin = a_lead(cast, now + timedelta(minutes=1))
    refused = alice.post(page("leads:merge"), {"one": twin.number, "other": deal.lead.number}, follow=True)
    assert "A lead that is with sales stays. Merge the other one into it." in words_of(refused)
    same = alice.post(page("leads:merge"), {"one": twin.number, "other": twin.number}, follow=True)
    assert "Choose two different leads." in words_of(same)
    assert alice.get(page("leads:merge", one="x", other="1")).status_code == 400
    assert alice.get(page("leads:merge", one=twin.number, other=999_999)).status_code == 404
    with only(cast.shop):
        assert not LeadMerge.objects.exists()


def test_groups_go_on_behind_the_last_one_shown(cast, alice, now, monkeypatch):
    monkeypatch.setattr("leads.queries.duplicates.PAGE", 1)
    monkeypatch.setattr("leads.queries.duplicates.SHOWN", 2)
    with only(cast.shop):
        for n, name in enumerate(("Ida Ives", "Jon Jay")):
            for minute in range(3):
                a_lead(cast, now - timedelta(days=n, minutes=minute), name=name, number=30 + n)
    first = alice.get(page("leads:duplicates"))
    assert "2 people twice or more" in words_of(first)
    assert "Ida Ives" in words_of(first)
    assert "And 1 more: they come up when these are merged." in words_of(first)
    rest = re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1].replace("&amp;", "&")
    text = words_of(alice.get(page("leads:duplicates") + rest))
    assert "Jon Jay" in text
    assert "Ida Ives" not in text
    assert "2 people twice or more" in text
    for nonsense in ("zzz", "2026-11-18~zzz", f"2026-11-18~{cast.shop.pk}"):
        assert alice.get(page("leads:duplicates", after=nonsense)).status_code == 400


def test_only_the_newest_open_leads_are_compared_and_the_page_says_so(cast, alice, now, monkeypatch):
    with only(cast.shop):
        for n, name in enumerate(("Ida Ives", "Jon Jay")):
            for minute in range(2):
                a_lead(cast, now - timedelta(days=n, minutes=minute), name=name, number=30 + n)
    assert "Among the newest" not in words_of(alice.get(page("leads:duplicates")))
    monkeypatch.setattr("leads.queries.duplicates.LOOKED_AT", 3)
    text = words_of(alice.get(page("leads:duplicates")))
    assert "1 person twice or more" in text
    assert "Among the newest 3 open leads." in text
    assert ("Ida Ives" in text, "Jon Jay" in text) == (True, False)


# --- Today -------------------------------------------------------------------------------------------------------------


def test_today_holds_out_a_deal_to_whom_it_is_offered(cast, alice, bob, deal):
    text = words_of(bob.get(page("leads:today")))
    assert (
        "Deals held out to you Dana Diaz AC Repair · $1,200 · score 0.60 Until 9:15 AM: 15 minutes left Accept" in text
    )
    assert "Waiting for you 1 the longest for 0 minutes" in text
    assert "Deals held out to you" not in words_of(alice.get(page("leads:today")))
    bob.post(page("leads:deal_accept", deal.number))
    assert "Deals held out to you" not in words_of(bob.get(page("leads:today")))


def test_what_is_put_off_is_folded_away_until_it_is_due(cast, alice, now):
    with only(cast.shop):
        lead = a_lead(cast, now)
        pipeline.follow_up(lead=lead, title="Call Dana back", due_at=now + timedelta(days=2), now=now)
    text = words_of(alice.get(page("leads:today")))
    assert "Later 1 Call Dana back Follow up Fri, Nov 20, 9:00 AM Dana Diaz Done already" in text
    assert "To do" not in text
    with time_machine.travel(now + timedelta(days=2), tick=False):
        text = words_of(alice.get(page("leads:today")))
        assert "To do Call Dana back" in text
        assert "Later" not in text


def test_a_lead_nobody_answered_shows_how_it_stands_against_the_limit(cast, alice, now):
    with only(cast.shop):
        late = a_lead(cast, now - timedelta(minutes=12))
        a_lead(cast, now - timedelta(minutes=2), name="Eve Egan", number=2)
        moved = a_lead(cast, now - timedelta(minutes=30), name="Fay Fox", number=3)
        pipeline.move(lead=moved, to="lost", by=FRONTDESK, now=now)
        scanned = a_lead(cast, now - timedelta(minutes=30), name="Gil Gray", number=4, source=LeadSource.SCANNER)
        assert list(untouched(cast.shop).values_list("customer__name", flat=True)) == ["Dana Diaz", "Eve Egan"]
    response = alice.get(page("leads:today"))
    text = words_of(response)
    assert "by Partner 7 minutes beyond your limit" in text
    assert "by Partner 3 minutes left" in text
    assert f'href="{page("leads:lead", late.number)}"' in response.content.decode()
    assert f'href="{page("leads:lead", scanned.number)}"' not in response.content.decode()


def test_who_only_works_leads_is_invited_and_not_blamed(cast, alice):
    PhoneNumber.objects.filter(business=cast.shop).delete()
    Business.objects.filter(pk=cast.shop.pk).update(owner_phone="")
    with only(cast.shop):
        for model in (WeeklyHours, StaffMember, Service):
            model.objects.all().delete()
    text = words_of(alice.get(page("leads:today")))
    assert "Problems 0 All is well" in text
    assert "Texts and bookings are yours when you want them" in text
    assert "No number yet" not in text
    assert "No. Texts arrive" not in text


def test_a_line_of_the_story_opens_the_lead_and_the_deal(cast, alice, deal):
    for about, address in [
        (("lead", deal.lead_id), page("leads:lead", deal.lead.number)),
        (("deal", deal.pk), page("leads:deal", deal.number)),
    ]:
        assert alice.get(page("crm:open", *about)).url == address
    text = words_of(alice.get(page("crm:customer", deal.lead.customer_id)))
    assert "AC Repair Transferred score 0.60" in text
    assert "Open the deal" in text
    assert signed_in(cast.charlie).get(page("crm:open", "deal", deal.pk, slug="charlie")).status_code == 404


def test_a_closed_account_is_nobody_to_give_anything_to(cast, alice, now):
    carol = User.objects.create_user("carol@example.com", "correct horse battery", name="Carol Cho")
    add_member(business=cast.shop, user=carol, role=Role.STAFF)
    with only(cast.shop):
        a_seller(cast, carol, now)
    User.objects.filter(pk=carol.pk).update(is_active=False)
    assert "Carol Cho up to 10 open deals · no texts Cannot sign in any more" in words_of(alice.get(page("leads:ways")))
    with only(cast.shop):
        assert StageChange.objects.count() == 0
