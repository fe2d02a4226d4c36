"""What closed leads teach about open ones, and what keeps it honest."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache

import pytest
import time_machine
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from booking.models import Service
from crm.enums import Author, MessageKind, MessageStatus
from crm.models import Message
from crm.phones import parse
from crm.scoping import every_business, only
from crm.services import tell_customer
from leads import learning
from leads.actors import person
from leads.enums import ActivityKind, LeadSource, ModelVerdict, Outcome, Stage
from leads.management.commands import backtest
from leads.models import Lead, OutcomeModel
from leads.services import assessing, duplicates, pipeline, sales
from leads.services import learning as service
from leads.views.learning import learned_for
from tests.pages import signed_in, write_in

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
PLAIN = learning.LeadFacts(source="form", came_at=datetime(2026, 11, 18, 12, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _at_nine(now):
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture
def shop(cast):
    with only(cast.shop):
        yield cast.shop


@pytest.fixture
def by(cast):
    return person(cast.alice)


@cache
def learned(count=400, seed=1):
    return learning.train([lead.example for lead in backtest.make_up(count, seed=seed)], seed)


def examples(won, lost):
    return [
        learning.Example(features=learning.features(replace(PLAIN, activity_count=place % 7)), won=place < won)
        for place in range(won + lost)
    ]


def closed_leads(business, *, won, lost, now, took=10 * DAY):
    """Leads of the last year; those from partners are won."""
    leads = []
    for place in range(won + lost):
        is_won = place < won
        leads.append(
            Lead(
                business=business, source=LeadSource.PARTNER if is_won else LeadSource.SCANNER,
                created_at=now - took - timedelta(hours=place), closed_at=now - timedelta(hours=place),
                outcome=Outcome.WON if is_won else Outcome.LOST, stage=Stage.CONTACTED if is_won else Stage.LOST,
            )
        )  # fmt: skip
    Lead.objects.bulk_create(leads)


def a_model(business, now, *, verdict=ModelVerdict.USEFUL, **fields):
    found = learned()
    return OutcomeModel.objects.create(
        business=business, trained_at=now, won=found.won, lost=found.lost, verdict=verdict, brier=found.brier,
        base_brier=found.base_brier, parameters=found.parameters,
        curve=[{"said": tenth.said, "seen": tenth.seen, "count": tenth.count} for tenth in found.curve], **fields,
    )  # fmt: skip


# --- The arithmetic ------------------------------------------------------------------------------------------------------


def test_a_chance_worked_out_by_hand_is_the_librarys():
    import numpy as np  # noqa: PLC0415 - slow to load, and every worker collects this file
    from sklearn.impute import SimpleImputer  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    leads = backtest.make_up(400, seed=1)
    found = learned()
    names = [feature["name"] for feature in found.parameters["features"]]
    rows = [learning.features(lead.facts) for lead in leads]
    facts = np.array([[math.nan if row[name] is None else row[name] for name in names] for row in rows])
    outcomes = np.array([lead.won for lead in leads])
    model = make_pipeline(
        SimpleImputer(), StandardScaler(), LogisticRegression(C=learning.PENALTY, solver="newton-cholesky", tol=1e-10)
    )
    folds = StratifiedKFold(learning.FOLDS, shuffle=True, random_state=1)
    unseen = cross_val_predict(model, facts, outcomes, cv=folds, method="decision_function").reshape(-1, 1)
    sigmoid = LogisticRegression(C=math.inf, solver="newton-cholesky").fit(unseen, outcomes)
    log_odds = model.fit(facts, outcomes).decision_function(facts).reshape(-1, 1)
    theirs = sigmoid.predict_proba(log_odds)[:, 1].clip(learning.LEAST, 1 - learning.LEAST)
    ours = [learning.chance(found.parameters, lead.facts) for lead in leads]
    assert found.parameters["calibration"]["kind"] == "sigmoid"
    assert ours == pytest.approx(theirs.tolist(), abs=1e-9)


def test_many_leads_may_have_a_curve_of_their_own_shape():
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - see above

    few_or_many = [
        learning.Example(
            features=learning.features(replace(PLAIN, activity_count=count)), won=(place * 7) % 10 < (8 if count > 5 else 1)
        )
        for place, count in enumerate(list(range(12)) * 100)
    ]  # fmt: skip
    parameters = learning.train(few_or_many, 1).parameters
    assert parameters["calibration"]["kind"] == "isotonic"
    points, values = parameters["calibration"]["at"], parameters["calibration"]["is"]
    steps = IsotonicRegression(out_of_bounds="clip").fit(points, values)
    bare = {"intercept": 0.0, "features": [{"name": "activity", "mean": 0.0, "scale": 1.0, "coefficient": 1.0}]}
    for count in range(60):
        facts = replace(PLAIN, activity_count=count)
        shifted = bare | {"intercept": -2.0, "calibration": parameters["calibration"]}
        theirs = steps.predict([math.log1p(min(count, 50)) - 2.0])[0].clip(learning.LEAST, 1 - learning.LEAST)
        assert learning.chance(shifted, facts) == pytest.approx(theirs, abs=1e-9)
    assert learning.chance(parameters, replace(PLAIN, activity_count=2)) == pytest.approx(0.1, abs=0.05)
    assert learning.chance(parameters, replace(PLAIN, activity_count=9)) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("won", "lost"), [(100, 99), (19, 181), (181, 19), (0, 0)])
def test_too_few_teach_nothing(won, lost):
    assert learning.train(examples(won, lost), 1) == learning.TooFew(won=won, lost=lost)


def test_leads_that_are_all_alike_get_the_average():
    alike = [learning.Example(features=learning.features(PLAIN), won=place % 4 == 0) for place in range(200)]
    found = learning.train(alike, 1)
    assert (found.is_useful, found.parameters["features"]) == (False, [])
    assert learning.chance(found.parameters, replace(PLAIN, source="partner")) == pytest.approx(0.25)


def test_the_strongest_reasons_are_said_in_words():
    facts = replace(PLAIN, source="partner", has_line=True, activity_count=1, first_answer=timedelta(minutes=240))
    reasons = [str(reason) for reason in learning.explain(learned().parameters, facts, most=9)]
    assert "came from a partner: more likely" in reasons
    assert "their line of business was known: more likely" in reasons
    assert "answered within 4 hours: less likely" in reasons
    assert "1 text, call or note on the first day: less likely" in reasons
    assert reasons[:3] == [str(reason) for reason in learning.explain(learned().parameters, facts)]


def test_every_feature_has_words():
    assert learning.NAMES.keys() == learning.features(PLAIN).keys()
    assert {f"source:{source}" for source in LeadSource.values} <= learning.NAMES.keys()


def test_the_likely_range_is_wilsons():
    low, high = learning.likely_range(learning.Tenth(said=0.3, seen=0.3, count=10))
    assert (round(low, 4), round(high, 4)) == (0.1078, 0.6032)


def test_serving_loads_no_library():
    words = "import sys, leads.learning; sys.exit('sklearn' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


# --- Nothing of the end in it --------------------------------------------------------------------------------------------


def test_what_comes_after_the_first_day_changes_nothing(shop, by, now):
    Service.objects.for_business(shop).update(price_low=Decimal(149))
    came = now - 5 * DAY
    lead = pipeline.add_lead(business=shop, source=LeadSource.PARTNER, by=by, now=came)
    assessing.assess(lead=lead, now=came + HOUR)
    lead = pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="", by=by, now=came + 2 * HOUR)
    before = service.facts_of(shop, [lead.pk])[lead.pk]
    assert before == learning.LeadFacts(
        source="partner", came_at=came.astimezone(shop.zone), has_line=False, has_contact=False, activity_count=1,
        first_answer=2 * HOUR,
    )  # fmt: skip

    late = came + 2 * DAY
    lead = pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text="Signed!", by=by, now=late)
    backdated = {"at": came + HOUR, "by": by, "now": late}
    lead = pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="", **backdated)
    changes = {"business_domain": "first", "service": Service.objects.first()}
    contact = pipeline.Contact(name="Jane Doe")
    lead = pipeline.edit_lead(lead=lead, changes=changes, contact=contact, by=by, now=late)
    assessing.assess(lead=lead, now=late)
    assert service.facts_of(shop, [lead.pk])[lead.pk] == before

    for closed_at in (late + HOUR, late + 2 * DAY):
        Lead.objects.filter(pk=lead.pk).update(stage=Stage.LOST, outcome=Outcome.LOST, closed_at=closed_at)
        assert service.facts_of(shop, [lead.pk])[lead.pk] == before


def test_what_was_known_on_the_first_day_counts(shop, by, now):
    priced, other = Service.objects.for_business(shop)[:2]
    Service.objects.filter(pk=priced.pk).update(price_low=Decimal(149))
    lead = pipeline.add_lead(
        business=shop, source=LeadSource.FORM, by=by, now=now - 3 * DAY, domain="second", service=priced
    )
    assessing.assess(lead=lead, now=now - 3 * DAY)
    pipeline.edit_lead(lead=lead, changes={"service": other}, by=by, now=now)
    facts = service.facts_of(shop, [lead.pk])[lead.pk]
    assert (facts.has_line, facts.has_contact, facts.price) == (True, False, Decimal(149))


def test_texts_of_the_first_day_count_and_later_ones_do_not(shop, by, now):
    came, minute, phone = now - 5 * DAY, timedelta(minutes=1), "+15550100007"
    with time_machine.travel(came, tick=False):
        write_in(shop, phone=phone, body="Do you fix boilers?", now=came)
        contact = pipeline.Contact(phone=parse(phone, region="US"))
        lead = pipeline.add_lead(business=shop, source=LeadSource.TEXT, by=by, now=came, contact=contact)
    words = {"body": "We do.", "kind": MessageKind.CHAT, "author": Author.STAFF}
    for at in (10 * minute, 2 * DAY):
        tell_customer(customer=lead.customer, now=came + at, **words)
        write_in(shop, phone=phone, body="Come tomorrow.", now=came + at + 4 * minute)
    with time_machine.travel(came, tick=False):
        lost = tell_customer(customer=lead.customer, now=came + minute, **words)
    Message.objects.filter(pk=lost.pk).update(status=MessageStatus.FAILED)
    facts = service.facts_of(shop, [lead.pk])[lead.pk]
    assert facts.has_contact
    assert (facts.activity_count, facts.first_answer, facts.reply) == (3, 10 * minute, 4 * minute)


def test_what_a_later_merge_filled_in_was_not_known(shop, cast, by, now):
    Service.objects.for_business(shop).update(price_low=Decimal(149))
    came = now - 5 * DAY
    bare = pipeline.add_lead(business=shop, source=LeadSource.SCANNER, by=by, now=came)
    with time_machine.travel(came, tick=False):
        full = pipeline.add_lead(
            business=shop, source=LeadSource.FORM, by=by, now=came, contact=pipeline.Contact(name="Jane Doe"),
            service=Service.objects.first(),
        )  # fmt: skip
    before = service.facts_of(shop, [bare.pk])[bare.pk]
    duplicates.merge_leads(kept=bare, dropped=full, user=cast.alice, now=now)
    bare.refresh_from_db()
    assert (bare.customer, bare.service) == (full.customer, full.service)
    assert service.facts_of(shop, [bare.pk])[bare.pk] == before
    assert (before.has_contact, before.price) == (False, None)


def test_leads_that_were_decided_on_their_first_day_are_no_lesson(shop, by, now):
    closed_leads(shop, won=3, lost=4, now=now)
    closed_leads(shop, won=5, lost=5, now=now, took=DAY)
    assert service.closed_so_far(shop) == service.Closed(won=3, lost=4)
    lead = pipeline.add_lead(business=shop, source=LeadSource.PARTNER, by=by, now=now - 9 * DAY, domain="first")
    assessing.assess(lead=lead, now=now - 9 * DAY)
    for stage in (Stage.CONTACTED, Stage.QUALIFIED):
        lead = pipeline.move(lead=lead, to=stage, by=by, now=now - 9 * DAY)
    deal = sales.transfer(lead=lead, by=by, now=now - 9 * DAY + HOUR)
    sales.move_deal(deal=deal, to="lost", by=by, now=now)
    assert service.closed_so_far(shop) == service.Closed(won=3, lost=4)


# --- Learning ------------------------------------------------------------------------------------------------------------


def test_another_business_teaches_nothing(cast, now):
    with every_business():
        closed_leads(cast.next_door, won=150, lost=150, now=now)
        theirs = Lead.objects.filter(business=cast.next_door).first()
    made = service.learn(business=cast.shop, now=now)
    assert (made.verdict, made.won, made.lost, made.parameters) == (ModelVerdict.TOO_FEW, 0, 0, {})
    assert service.facts_of(cast.shop, [theirs.pk]) == {}
    with only(cast.shop):
        assert OutcomeModel.objects.count() == 1


def test_a_business_learns_when_enough_was_closed_since(cast, now):
    with every_business():
        closed_leads(cast.shop, won=100, lost=110, now=now)
        closed_leads(cast.next_door, won=9, lost=10, now=now)
    assert service.learn_due(now=now) == 1
    with only(cast.shop):
        made = service.newest_model(cast.shop)
    assert (made.verdict, made.won, made.lost) == (ModelVerdict.USEFUL, 100, 110)
    assert made.brier < 0.05 < 0.24 < made.base_brier
    assert sum(tenth["count"] for tenth in made.curve) == 210
    later = now + 30 * DAY
    with every_business():
        closed_leads(cast.shop, won=10, lost=9, now=later)
    assert service.learn_due(now=later) == 0
    with every_business():
        closed_leads(cast.shop, won=1, lost=0, now=later)
    assert service.learn_due(now=later) == 1


def test_the_newest_twenty_lessons_are_kept(cast, now):
    for day in range(service.KEPT + 2):
        service.learn(business=cast.shop, now=now + day * DAY)
    service.learn(business=cast.next_door, now=now)
    with only(cast.shop):
        days = list(OutcomeModel.objects.values_list("trained_at", flat=True))
    assert days == [now + day * DAY for day in range(service.KEPT + 1, 1, -1)]
    with only(cast.next_door):
        assert OutcomeModel.objects.count() == 1


def test_a_chance_changes_nothing_of_the_lead(shop, by, now):
    lead = pipeline.add_lead(business=shop, source=LeadSource.PARTNER, by=by, now=now - 2 * DAY)
    assessing.assess(lead=lead, now=now)
    before = Lead.objects.filter(pk=lead.pk).values().get()
    a_model(shop, now)
    chance = service.look_at(lead, now=now).chance
    assert chance == learning.chance(learned().parameters, service.facts_of(shop, [lead.pk])[lead.pk])
    assert Lead.objects.filter(pk=lead.pk).values().get() == before


# --- The pages -----------------------------------------------------------------------------------------------------------


def test_beside_the_score_stands_a_chance_for_one_query(shop, by, now):
    lead = pipeline.add_lead(business=shop, source=LeadSource.PARTNER, by=by, now=now - 2 * DAY)
    assert learned_for(lead) is None
    a_model(shop, now)
    with CaptureQueriesContext(connection) as asked:
        shown = learned_for(lead)
    assert len(asked) == 1
    assert shown["percent"] == round(service.look_at(lead, now=now).chance * 100)
    assert shown["average"] == round(learned().parameters["base_rate"] * 100)
    html = render_to_string("leads/learned_chance.html", {"learned": shown})
    assert f"{shown['percent']}% chance" in html
    assert "came from a partner: more likely" in html

    young = pipeline.add_lead(business=shop, source=LeadSource.PARTNER, by=by, now=now - DAY + HOUR)
    assert learned_for(young) is None
    assert learned_for(pipeline.move(lead=lead, to=Stage.LOST, by=by, now=now)) is None


@pytest.mark.parametrize(
    "fields", [{"verdict": ModelVerdict.NO_BETTER}, {"verdict": ModelVerdict.TOO_FEW}, {"parameters": {"version": 0}}]
)
def test_a_model_that_is_not_worth_it_says_nothing(shop, by, now, fields):
    lead = pipeline.add_lead(business=shop, source=LeadSource.PARTNER, by=by, now=now - 2 * DAY)
    model = a_model(shop, now)
    OutcomeModel.objects.filter(pk=model.pk).update(**fields)
    model.refresh_from_db()
    assert learned_for(lead) is None
    assert service.against_the_rules(shop, model, now=now) == []


def test_the_page_says_how_far_it_is(shop, cast, now):
    client, address = signed_in(cast.alice), reverse("leads:learning", args=["alice"])
    closed_leads(shop, won=12, lost=31, now=now)
    assert "Not enough data: 43 of 200 closed leads" in client.get(address).content.decode()
    closed_leads(shop, won=0, lost=170, now=now)
    service.learn(business=shop, now=now)
    assert "Not enough data: 12 of 20 won leads" in client.get(address).content.decode()
    closed_leads(shop, won=9, lost=0, now=now)
    assert "Enough data: it is tried tonight" in client.get(address).content.decode()
    assert signed_in(cast.charlie).get(address).status_code == 404


def test_the_page_shows_what_was_learned_and_how_good_it_is(shop, cast, by, now):
    client, address = signed_in(cast.alice), reverse("leads:learning", args=["alice"])
    a_model(shop, now)
    hot = [pipeline.add_lead(business=shop, source=LeadSource.PARTNER, by=by, now=now - 2 * DAY) for _ in range(3)]
    cold = pipeline.add_lead(business=shop, source=LeadSource.SCANNER, by=by, now=now - 2 * DAY)
    for lead in hot:
        for minute in range(3):
            at = lead.created_at + timedelta(minutes=minute)
            pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="", by=by, now=at)
    for lead in [*hot[:1], cold]:
        assessing.assess(lead=lead, now=now)
    client.get(address)  # the session learns where she is
    with CaptureQueriesContext(connection) as few:
        shown = client.get(address).content.decode()
    assert "Better than the average" in shown
    assert "Came from a partner" in shown
    assert "For, " in shown
    assert "Against, " in shown
    assert shown.count('class="reliability__dot"') == len(learned().curve)
    assert f"Lead {hot[0].number}" in shown
    assert f"Lead {cold.number}" not in shown
    for lead in hot[1:]:
        assessing.assess(lead=lead, now=now)
    with CaptureQueriesContext(connection) as many:
        assert f"Lead {hot[2].number}" in client.get(address).content.decode()
    assert len(many) == len(few)


def test_the_page_says_when_it_is_no_better(shop, cast, now):
    a_model(shop, now, verdict=ModelVerdict.NO_BETTER)
    shown = signed_in(cast.alice).get(reverse("leads:learning", args=["alice"])).content.decode()
    assert "No better than the average" in shown
    assert "reliability" not in shown
