"""Scores as they are kept: the rules at once, the model's reading a little later, through the real client."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from kombu.exceptions import OperationalError

from crm import llm, messaging, phones
from crm.enums import Author, MessageStatus
from crm.models import Business, Customer, LlmUsage, Message
from crm.scoping import every_business, only
from crm.services import merge_customers, open_thread, receive_text, tell_customer
from leads import reading, tasks
from leads.actors import By, person
from leads.enums import ActivityKind, LeadSource
from leads.models import Assessment, Lead
from leads.queries import talk
from leads.services import assessing, duplicates, intake, pipeline, sales
from leads.services.pipeline import Contact
from tests.crowd import all_at_once
from tests.servers.openai_api import Mood, OpenAiApi, in_place_of_openai

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
DANA = "+15550100123"
KEEN = {
    "move": 0.15,
    "evidence": [{"quote": "I need it by Friday", "why": "names a day"}],
    "summary": "Needs a heater by Friday.",
}


@pytest.fixture
def shop(cast) -> Iterator[Business]:
    with only(cast.shop):
        yield cast.shop


@pytest.fixture
def by(cast) -> By:
    return person(cast.alice)


@pytest.fixture
def model(settings) -> Iterator[OpenAiApi]:
    with in_place_of_openai(settings) as server:
        server.mood = Mood(said=KEEN)
        yield server


def dana(name: str = "Dana Diaz") -> Contact:
    return Contact(name=name, phone=phones.parse(DANA, region="US"))


def a_lead(shop: Business, by: By, now: datetime, **fields: Any) -> Lead:
    """A partner's lead with a line of business, which stands at 0.60 by the rules."""
    with only(shop):
        return pipeline.add_lead(
            business=shop, by=by, now=now,
            **{"source": LeadSource.PARTNER, "domain": "first", "contact": dana(), "agreed": True} | fields,
        )  # fmt: skip


def writes(shop: Business, body: str, now: datetime, phone: str = DANA) -> Message:
    with only(shop), transaction.atomic():
        return receive_text(
            business=shop, phone=phone, our_number="+15552000001", body=body, provider_sid="", now=now
        ).message


def keen_lead(shop: Business, by: By, now: datetime, **fields: Any) -> Lead:
    """A lead whose customer wrote once; counted, and not looked at yet."""
    lead = a_lead(shop, by, now, **fields)
    writes(shop, "Hi! I need it by Friday", now)
    assessing.count_activity(now=now)
    return fresh(lead)


def fresh(lead: Lead) -> Lead:
    with every_business():
        return Lead.objects.select_related("business").get(pk=lead.pk)


def read(lead: Lead, now: datetime) -> Assessment | None:
    return assessing.read_and_assess(business=lead.business, lead_id=lead.pk, now=now)


def rows_of(lead: Lead) -> list[Assessment]:
    with every_business():
        return list(Assessment.objects.filter(lead=lead).order_by("created_at", "id"))


def asked(model: OpenAiApi) -> list[str]:
    """What the model was given, each time."""
    return [request["messages"][1]["content"] for request in model.asked]


def conversation(model: OpenAiApi) -> list[str]:
    """The lines of the newest conversation it was given."""
    return asked(model)[-1].removesuffix("\n>>>").partition("Conversation:\n")[2].splitlines()


# --- The rules, at once ----------------------------------------------------------------------------------------------


def test_the_rules_answer_at_once_and_are_written_down(shop, by, now):
    lead = a_lead(shop, by, now)
    made = assessing.assess(lead=lead, now=now)
    (row,) = rows_of(lead)
    assert (row.pk, row.score, row.baseline, row.reading, row.silence) == (
        made.pk,
        Decimal("0.60"),
        Decimal("0.60"),
        0,
        0,
    )
    assert (row.recommendation, row.model, row.prompt_version, row.evidence) == ("transfer_to_sales", "", "", [])
    assert row.factors == [
        {"name": "source", "points": "0.3", "text": "Partner leads have higher conversion rates."},
        {"name": "domain", "points": "0.3", "text": "Clear business domain identified."},
        {"name": "activity", "points": "0", "text": "Low engagement."},
    ]
    assert (fresh(lead).score, fresh(lead).rescore_at) == (Decimal("0.60"), now + 14 * DAY)


def test_a_lead_nobody_knows_anything_about_has_a_score_and_nothing_to_read(shop, by, now, model):
    lead = a_lead(shop, by, now, source=LeadSource.SCANNER, domain="", contact=None)
    assert assessing.assess(lead=lead, now=now).score == Decimal("0.10")
    assert (read(lead, now), model.asked) == (None, [])
    assert assessing.score_due(now=now + 30 * DAY) == []
    assert [str(row.score) for row in rows_of(lead)] == ["0.10", "0.00"]  # three steps of silence, and never below 0


def test_the_same_moment_twice_is_two_rows_in_their_order(shop, by, now):
    lead = a_lead(shop, by, now)
    first, second = assessing.assess(lead=lead, now=now), assessing.assess(lead=lead, now=now)
    assert [row.pk for row in rows_of(lead)] == [first.pk, second.pk]


# --- The reading, a little later -------------------------------------------------------------------------------------


def test_the_reading_arrives_as_another_row_with_what_it_leans_on(shop, by, now, model):
    lead = keen_lead(shop, by, now)
    before = assessing.assess(lead=lead, now=now + SECOND)
    made = read(lead, now + 3 * SECOND)
    assert [row.pk for row in rows_of(lead)] == [before.pk, made.pk]
    (_, row) = rows_of(lead)
    assert (row.score, row.baseline, row.reading, row.silence) == (
        Decimal("0.75"), Decimal("0.60"), Decimal("0.15"), 0,
    )  # fmt: skip
    assert row.evidence == [{"quote": "I need it by Friday", "why": "names a day"}]
    assert (row.summary, row.model, row.prompt_version) == (
        "Needs a heater by Friday.", "gpt-4o-mini", reading.PROMPT_VERSION,
    )  # fmt: skip
    assert (row.read_until, row.activity_count, row.created_at) == (now, 1, now + 3 * SECOND)
    assert (row.reason, row.recommendation) == (before.reason, "transfer_to_sales")
    assert fresh(lead).score == Decimal("0.75")
    assert [(u.purpose, u.outcome) for u in LlmUsage.objects.all()] == [("lead_score", "ok")]


def test_the_model_is_given_the_facts_and_the_words_and_told_what_they_are(shop, by, now, model):
    lead = a_lead(shop, by, now, notes="Met at the fair")
    writes(shop, "Hi! URGENT, no heat", now + MINUTE)
    tell_customer(customer=lead.customer, body="Is tomorrow fine?", kind="chat", now=now + 2 * MINUTE)
    writes(shop, "Yes,\nI need it by Friday", now + 5 * MINUTE)
    assessing.count_activity(now=now + 5 * MINUTE)
    pipeline.add_activity(lead=lead, kind=ActivityKind.CALL, text="Wants two", by=by, now=now + 6 * MINUTE)
    read(lead, now + 60 * MINUTE)
    assert model.asked[0]["messages"][0] == {"role": "system", "content": reading.INSTRUCTIONS}
    assert asked(model) == [
        "<<<\nFacts:\n- Source: Partner\n- Stage: Contacted\n- Came in 1 hour ago; 4 texts, calls and notes since\n"
        "- First answer after 2 minutes\n- The customer usually answers within 3 minutes\n- Urgent words: urgent, no heat\n\n"
        "Conversation:\nnote: Met at the fair\ncustomer: Hi! URGENT, no heat\nassistant: Is tomorrow fine?\n"
        "customer: Yes, I need it by Friday\nnote: call: Wants two\n>>>"
    ]


def test_a_reading_counts_on_while_nothing_is_said_and_is_dropped_when_something_is(shop, by, now, model):
    lead = keen_lead(shop, by, now)
    made = read(lead, now)
    again = assessing.assess(lead=lead, now=now + DAY)
    assert (again.score, again.reading, again.evidence) == (made.score, made.reading, made.evidence)
    assert (again.model, again.prompt_version, again.read_until) == (made.model, made.prompt_version, made.read_until)
    assert (read(lead, now + DAY), len(model.asked)) == (None, 1)  # nothing new to read

    pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text="Bought elsewhere", by=by, now=now + DAY)
    rules = assessing.assess(lead=lead, now=now + DAY)
    assert (rules.score, rules.reading, rules.evidence, rules.model) == (Decimal("0.60"), 0, [], "")
    model.mood = Mood(said={"move": -1, "evidence": [{"quote": "bought elsewhere", "why": "lost"}], "summary": "Gone."})
    assert read(lead, now + DAY + SECOND).score == Decimal("0.40")
    assert conversation(model)[-1] == "note: Bought elsewhere"


def test_edited_notes_are_read_again_and_an_edited_line_of_business_is_only_counted(shop, by, now, model):
    lead = a_lead(shop, by, now, notes="Says: I need it by Friday")
    read(lead, now)
    pipeline.edit_lead(lead=lead, changes={"business_domain": ""}, by=by, now=now + DAY)
    assert assessing.score_due(now=now + DAY + MINUTE) == []
    assert [(row.score, row.reading) for row in rows_of(lead)][-1] == (Decimal("0.45"), Decimal("0.15"))

    pipeline.edit_lead(lead=lead, changes={"notes": "Was a mix-up"}, by=by, now=now + 2 * DAY)
    assert assessing.score_due(now=now + 2 * DAY + MINUTE) == [(shop, lead.pk)]
    assert read(lead, now + 2 * DAY + MINUTE).evidence == []  # nobody needs it by Friday any more
    assert conversation(model) == ["note: Was a mix-up"]
    assert (read(lead, now + 3 * DAY), len(model.asked)) == (None, 2)


def test_another_text_in_place_of_one_that_failed_is_read_although_the_count_is_the_same(shop, by, now, model):
    lead = keen_lead(shop, by, now)
    read(lead, now)
    Message.objects.filter(customer=lead.customer).update(status=MessageStatus.FAILED)
    writes(shop, "No thanks", now + MINUTE)
    assert [assessing.count_activity(now=now + MINUTE) for _ in range(2)] == [1, 0]
    assert (fresh(lead).activity_count, rows_of(lead)[-1].activity_count) == (1, 1)
    assert assessing.assess(lead=lead, now=now + MINUTE).model == ""
    assert read(fresh(lead), now + MINUTE).read_until == now + MINUTE


@pytest.mark.parametrize(
    ("trouble", "outcomes"),
    [
        (Mood(status=500), ["error"]),
        (Mood(slow=5), ["timeout"]),
        (Mood(said="I would say 0.9"), ["unparseable"]),
        (Mood(said={"move": "lots", "evidence": [], "summary": ""}), ["unparseable"]),
        (Mood(said='{"move": 0.1, "evidence": [{"quo', finish="length"), ["unparseable"]),
        (Mood(refusal="I cannot judge people."), ["unparseable"]),
        ("over budget", []),
        ("circuit open", []),
        ("no key", []),
    ],
    ids=["down", "slow", "words", "wrong type", "cut off", "refusal", "over budget", "circuit open", "no key"],
)
def test_without_the_model_the_rules_stand_and_nothing_is_lost(
    shop, by, now, model, monkeypatch, settings, trouble, outcomes
):
    lead = keen_lead(shop, by, now)
    assessing.assess(lead=lead, now=now)
    monkeypatch.setattr(assessing, "MODEL_TIMEOUT", 0.2)
    key, cap = settings.OPENAI_API_KEY, shop.llm_daily_cap_cents
    if isinstance(trouble, Mood):
        model.mood = trouble
    elif trouble == "over budget":
        Business.objects.filter(pk=shop.pk).update(llm_daily_cap_cents=0)
    elif trouble == "circuit open":
        cache.set(llm._OPEN, 1)
    else:
        settings.OPENAI_API_KEY = ""
    assert read(fresh(lead), now + SECOND) is None
    assert [(row.score, row.model) for row in rows_of(lead)] == [(Decimal("0.60"), "")]
    assert (fresh(lead).score, fresh(lead).activity_count) == (Decimal("0.60"), 1)
    assert [usage.outcome for usage in LlmUsage.objects.all()] == outcomes

    model.mood = Mood(said=KEEN)
    settings.OPENAI_API_KEY = key
    cache.clear()
    Business.objects.filter(pk=shop.pk).update(llm_daily_cap_cents=cap)
    assert read(fresh(lead), now + MINUTE).score == Decimal("0.75")


def test_letters_no_database_takes_do_not_lose_a_reading(shop, by, now, model):
    lead = keen_lead(shop, by, now)
    why = {"quote": "I need it by\x00 Friday", "why": "a\x00b"}
    model.mood = Mood(said={"move": 0.1, "evidence": [why], "summary": "Keen\x00."})
    made = read(lead, now)
    assert (made.evidence, made.summary) == ([{"quote": "I need it by Friday", "why": "ab"}], "Keen.")


def test_where_only_we_spoke_there_is_nothing_to_read(shop, by, now, model):
    lead = a_lead(shop, by, now)
    tell_customer(customer=lead.customer, body="Hello, this is Alice", kind="chat", now=now, author=Author.STAFF)
    assessing.count_activity(now=now)
    assert (fresh(lead).activity_count, read(fresh(lead), now), model.asked) == (1, None, [])


def test_a_look_asks_for_a_reading_when_it_is_committed_and_only_if_there_is_something_new(
    shop, by, now, model, django_capture_on_commit_callbacks, monkeypatch
):
    wanted: list[dict[str, str]] = []
    monkeypatch.setattr(tasks.read_lead, "apply_async", lambda kwargs: wanted.append(kwargs))
    empty, keen = a_lead(shop, by, now, contact=None), keen_lead(shop, by, now)
    with django_capture_on_commit_callbacks(execute=True):
        for lead in (empty, keen):
            assessing.assess(lead=lead, now=now)
        assert wanted == []
    assert wanted == [{"business_id": str(shop.pk), "lead_id": str(keen.pk)}]
    read(keen, now)
    with django_capture_on_commit_callbacks(execute=True):
        assessing.assess(lead=keen, now=now)
    assert len(wanted) == 1


def test_with_the_broker_away_the_score_stays_the_rules(shop, by, now, monkeypatch):
    def away(**_kwargs: Any) -> None:
        raise OperationalError("nobody there")

    monkeypatch.setattr(tasks.read_lead, "apply_async", away)
    lead = keen_lead(shop, by, now)
    tasks.ask_to_read(shop, lead.pk)
    assert rows_of(lead) == []


def test_the_task_reads_one_conversation(shop, by, now, model, time_machine):
    time_machine.move_to(now, tick=False)
    lead = keen_lead(shop, by, now)
    ids = {"business_id": str(shop.pk), "lead_id": str(lead.pk)}
    assert (tasks.read_lead(**ids), tasks.read_lead(**ids)) == (True, False)
    assert [row.score for row in rows_of(lead)] == [Decimal("0.75")]


# --- What is said, and whose it is -----------------------------------------------------------------------------------


def test_a_neighbours_texts_are_never_in_it_also_when_they_know_the_same_person(shop, cast, by, now, model):
    lead = keen_lead(shop, by, now)
    theirs = a_lead(cast.next_door, by, now, notes="Charlie offers 10% less")
    writes(cast.next_door, "Do NOT tell Alice about this", now)
    assert assessing.count_activity(now=now) == 1
    assert read(lead, now) is not None
    assert conversation(model) == ["customer: Hi! I need it by Friday"]
    assert (fresh(theirs).activity_count, fresh(lead).activity_count) == (1, 1)
    assert assessing.read_and_assess(business=shop, lead_id=theirs.pk, now=now) is None
    assert len(model.asked) == 1


def test_what_was_said_to_the_owner_or_never_said_or_before_is_not_in_it(shop, by, now, model):
    writes(shop, "Thanks for last year", now - DAY)
    lead = a_lead(shop, by, now)
    writes(shop, "I need it by Friday", now)
    for author in (Author.SYSTEM, Author.STAFF):
        alert = messaging.alert_owner(business=shop, body="They look rich", now=now, customer=lead.customer)
        Message.objects.filter(pk=alert.pk).update(author=author)
    for status in (MessageStatus.FAILED, MessageStatus.REFUSED):
        said = tell_customer(customer=lead.customer, body=f"This one {status}", kind="chat", now=now)
        Message.objects.filter(pk=said.pk).update(status=status)
    thread = open_thread(business=shop, customer=lead.customer, now=now)
    Message.objects.create(
        business=shop, conversation=thread, customer=lead.customer, direction="outbound", author=Author.SYSTEM,
        body="You are opted out.", to_number=DANA, status=MessageStatus.SENT, created_at=now,
    )  # fmt: skip
    assessing.count_activity(now=now)
    read(fresh(lead), now)
    assert (fresh(lead).activity_count, conversation(model)) == (1, ["customer: I need it by Friday"])


def test_our_answer_of_the_same_moment_stands_behind_the_question(shop, by, now):
    lead = a_lead(shop, by, now)
    for question, answer in (("Can you come?", "Yes: 1, 2 or 3?"), ("2", "Booked.")):
        writes(shop, question, now)
        tell_customer(customer=lead.customer, body=answer, kind="chat", now=now)
    for text in ("one", "two"):
        pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text=text, by=by, now=now)
    assert [line.text for line in talk.lines(fresh(lead))] == [
        "Can you come?",
        "Yes: 1, 2 or 3?",
        "2",
        "Booked.",
        "one",
        "two",
    ]


@pytest.mark.parametrize("source", LeadSource.values)
def test_words_that_came_with_a_lead_are_the_customers_only_when_they_sent_them(shop, by, now, source):
    lead = a_lead(shop, by, now, source=LeadSource(source), contact=None, asked_for="Heater", notes="needs it soon")
    (line,) = talk.lines(lead)
    own = source in ("api", "text", "chat", "form")
    assert (line.who, line.text) == ("customer" if own else "note", "Heater\nneeds it soon")


def test_a_megabyte_is_cut_at_the_door_and_read_within_the_limit(shop, by, now, model):
    novel = "I need it by Friday. " * 50_000
    lead = a_lead(shop, by, now, notes=novel)
    pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text=novel, by=by, now=now)
    text = writes(shop, novel, now)
    bought, _ = intake.add_bought_lead(
        business=shop, phone=None, name="", address="", asked_for=novel, notes=novel, cost=Decimal(1), event_id="s1",
        story="Bought.", now=now,
    )  # fmt: skip
    draft = intake.Draft(
        phone=phones.parse("+15550100125", region="US"), source=LeadSource.FORM, asked_for=novel, notes=novel
    )
    sent = intake.capture_lead(business=shop, draft=draft, service=None, now=now)
    assert (len(sent.notes), len(sent.asked_for)) == (10_000, 200)
    assert (len(lead.notes), len(lead.activities.get().text), len(text.body)) == (10_000, 10_000, 1_600)
    assert (len(bought.notes), len(bought.asked_for)) == (10_000, 200)
    assert read(fresh(lead), now) is not None
    assert len(asked(model)[0]) <= llm.MAX_INPUT + len("<<<\n\n>>>")
    assert [len(line) for line in conversation(model)] == [
        len("note: ") + 2_000,
        len("customer: ") + 1_600,
        len("note: ") + 2_000,
    ]
    assert [line.partition(": ")[0] for line in conversation(model)] == ["note", "customer", "note"]
    assert assessing.score_due(now=now + MINUTE) != []


def test_a_merged_customer_brings_their_words_along(shop, by, now, model, cast):
    lead = keen_lead(shop, by, now)
    other = Customer.objects.create(business=shop, name="D. Diaz", phone="+15550100124")
    merge_customers(kept=other, dropped=lead.customer, actor=cast.alice, now=now)
    writes(shop, "It is me, from my old phone", now + MINUTE)
    assessing.count_activity(now=now + MINUTE)
    read(fresh(lead), now + MINUTE)
    assert (fresh(lead).customer_id, fresh(lead).activity_count) == (other.pk, 2)
    assert conversation(model) == ["customer: Hi! I need it by Friday", "customer: It is me, from my old phone"]


def test_a_lead_that_was_merged_away_is_left_alone(shop, by, now, cast):
    kept, dropped = (a_lead(shop, by, now, contact=Contact(name=name)) for name in ("Dana", "D. Diaz"))
    pipeline.add_activity(lead=dropped, kind=ActivityKind.CALL, text="Wants two", by=by, now=now)
    duplicates.merge_leads(kept=kept, dropped=fresh(dropped), user=cast.alice, now=now)
    assert assessing.score_due(now=now + DAY) == [(shop, kept.pk)]
    assert (rows_of(dropped), [row.activity_count for row in rows_of(kept)]) == ([], [1])


# --- After the transfer ----------------------------------------------------------------------------------------------


def test_a_look_after_the_transfer_is_history_and_the_deal_keeps_its_reason(shop, by, now, model):
    lead = keen_lead(shop, by, now)
    because = read(lead, now)
    for stage in ("contacted", "qualified"):
        pipeline.move(lead=lead, to=stage, by=by, now=now)
    deal = sales.transfer(lead=lead, by=by, now=now)
    pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text="Hates us now", by=by, now=now + DAY)
    model.mood = Mood(said={"move": -1, "evidence": [{"quote": "Hates us now", "why": "angry"}], "summary": ""})
    later = read(lead, now + 90 * DAY)
    assert (later.score, later.silence) == (Decimal("0.40"), 0)  # sales have it: silence takes nothing
    deal.refresh_from_db()
    assert (deal.assessment_id, deal.assessment.score) == (because.pk, Decimal("0.75"))
    assert [row.pk for row in rows_of(lead)] == [because.pk, later.pk]
    assert (fresh(lead).stage, fresh(lead).score, fresh(lead).rescore_at) == ("transferred", Decimal("0.40"), None)


# --- The sweep -------------------------------------------------------------------------------------------------------


def test_what_happens_within_a_moment_is_scored_in_one_go(shop, by, now):
    lead = a_lead(shop, by, now)
    assessing.score_due(now=now)
    for second in (0, 10, 29):
        pipeline.add_activity(lead=lead, kind=ActivityKind.NOTE, text="x", by=by, now=now + DAY + second * SECOND)
    writes(shop, "And me", now + DAY + 29 * SECOND)
    assert assessing.count_activity(now=now + DAY + 29 * SECOND) == 1
    assert assessing.score_due(now=now + DAY + 29 * SECOND) == []
    assert assessing.score_due(now=now + DAY + 30 * SECOND) == [(shop, lead.pk)]
    assert [(row.activity_count, row.score) for row in rows_of(lead)] == [(0, Decimal("0.60")), (4, Decimal("0.80"))]


def test_the_sweep_run_twice_changes_nothing(shop, by, now):
    lead = keen_lead(shop, by, now)
    assert assessing.count_activity(now=now) == 0
    assert assessing.score_due(now=now) == [(shop, lead.pk)]
    before = fresh(lead)
    assert (assessing.count_activity(now=now), assessing.score_due(now=now)) == (0, [])
    after = fresh(lead)
    assert len(rows_of(lead)) == 1
    assert all(getattr(before, f.attname) == getattr(after, f.attname) for f in Lead._meta.concrete_fields)


def test_silence_takes_its_steps_by_itself_and_then_the_lead_rests(shop, by, now, model):
    lead = keen_lead(shop, by, now)
    read(lead, now)
    seen, at = [], now
    while (due := fresh(lead).rescore_at) is not None:
        assert assessing.score_due(now=due - SECOND) == []
        assert assessing.score_due(now=due) == []  # nothing to read: nothing was said
        at = due
        seen.append(((at - now).days, str(fresh(lead).score)))
    assert seen == [(14, "0.70"), (21, "0.65"), (28, "0.60"), (35, "0.55")]
    assert assessing.score_due(now=now + 365 * DAY) == []
    last = rows_of(lead)[-1]
    assert (last.baseline, last.reading, last.silence, len(model.asked)) == (
        Decimal("0.60"), Decimal("0.15"), Decimal("-0.20"), 1,
    )  # fmt: skip

    writes(shop, "Sorry, I was away. I need it by Friday", at + DAY)
    assessing.count_activity(now=at + DAY)
    assert assessing.score_due(now=at + DAY + MINUTE) == [(shop, lead.pk)]
    assert (fresh(lead).score, rows_of(lead)[-1].silence) == (Decimal("0.60"), 0)


def test_batch_after_batch_until_the_time_is_over(shop, by, now, monkeypatch):
    leads = [a_lead(shop, by, now + n * SECOND, contact=None) for n in range(5)]
    monkeypatch.setattr(assessing, "BATCH", 2)
    monkeypatch.setattr(assessing, "_LONGEST_RUN", -1.0)
    assessing.score_due(now=now + MINUTE)
    assert [len(rows_of(lead)) for lead in leads] == [0, 0, 0, 0, 0]
    monkeypatch.undo()
    monkeypatch.setattr(assessing, "BATCH", 2)
    assessing.score_due(now=now + MINUTE)
    assert [len(rows_of(lead)) for lead in leads] == [1, 1, 1, 1, 1]


def test_one_lead_that_breaks_our_own_code_does_not_hold_up_the_others(shop, by, now, monkeypatch, caplog):
    bad, good = (a_lead(shop, by, now + n * SECOND, contact=None) for n in range(2))
    write = assessing._write

    def breaks(lead, *args, **kwargs):
        if lead.pk == bad.pk:
            raise ZeroDivisionError
        return write(lead, *args, **kwargs)

    monkeypatch.setattr(assessing, "_write", breaks)
    assessing.score_due(now=now + MINUTE)
    assert [len(rows_of(lead)) for lead in (bad, good)] == [0, 1]
    bad.refresh_from_db()
    assert bad.rescore_at == now + MINUTE + timedelta(minutes=10)
    assert "scoring_broke_down" in caplog.text


# --- Several at once -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_workers_score_each_lead_once_and_read_each_conversation_once(cast, by, now, model):
    shop = cast.shop
    with only(shop):
        leads = [a_lead(shop, by, now, contact=None, notes="I need it by Friday") for _ in range(8)]
    with only(shop), transaction.atomic():
        pipeline.lock(leads[0])  # somebody works on it: nobody waits for them, the next sweep looks again
        found = all_at_once([lambda: assessing.score_due(now=now)] * 3)
    assert sorted(pk for one in found for _, pk in one) == sorted(lead.pk for lead in leads[1:])
    assert assessing.score_due(now=now) == [(shop, leads[0].pk)]
    assert [len(rows_of(lead)) for lead in leads] == [1] * 8

    all_at_once([lambda: read(leads[0], now + SECOND)] * 3)
    assert ([row.model for row in rows_of(leads[0])], len(model.asked)) == (["", "gpt-4o-mini"], 1)


@pytest.mark.django_db(transaction=True)
def test_a_text_that_arrives_while_the_model_reads_is_read_by_the_next_look(cast, by, now, model):
    """And no transaction is open meanwhile, so nobody waits for the model."""
    lead = keen_lead(cast.shop, by, now)
    in_transaction: list[int] = []

    def meanwhile(_request: dict[str, Any]) -> Mood:
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state LIKE 'idle in transaction%%'"
                )
                in_transaction.append(cursor.fetchone()[0])
            writes(cast.shop, "Actually, next year is fine", now + SECOND)
            assessing.count_activity(now=now + SECOND)
        finally:
            connection.close()
        return Mood(said=KEEN)

    model.thinks = meanwhile
    made = read(lead, now)
    model.thinks = None
    assert in_transaction == [0]
    assert (made.activity_count, made.read_until, made.reading) == (1, now, Decimal("0.15"))
    assert (fresh(lead).activity_count, fresh(lead).rescore_at) == (2, now + 30 * SECOND)

    assert assessing.score_due(now=now + 31 * SECOND) == [(cast.shop, lead.pk)]
    assert [row.reading for row in rows_of(lead)] == [Decimal("0.15"), 0]  # that was about another conversation
    read(lead, now + 32 * SECOND)
    assert conversation(model) == ["customer: Hi! I need it by Friday", "customer: Actually, next year is fine"]


@pytest.mark.django_db(transaction=True)
def test_a_slow_reader_does_not_undo_what_a_quicker_one_read(cast, by, now, model):
    lead = keen_lead(cast.shop, by, now)
    later: list[Assessment | None] = []

    def overtaken(_request: dict[str, Any]) -> Mood:
        try:
            model.thinks = None
            model.mood = Mood(said=KEEN | {"move": -0.1})
            cache.clear()  # the claim has run out
            writes(cast.shop, "Hm. Too dear", now + SECOND)
            assessing.count_activity(now=now + SECOND)
            later.append(read(fresh(lead), now + SECOND))
        finally:
            connection.close()
        return Mood(said=KEEN)

    model.thinks = overtaken
    assert read(lead, now) is None
    assert [row.pk for row in rows_of(lead)] == [later[0].pk]
    assert (later[0].activity_count, fresh(lead).score) == (2, Decimal("0.50"))
