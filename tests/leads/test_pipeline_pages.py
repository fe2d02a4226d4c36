"""The board, the list and the page of a lead, as the people of a business see them."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from crm.enums import Author, Direction, MessageStatus, TaskReason, Verb
from crm.models import Customer, Message, Task
from crm.scoping import only
from crm.services import record_opt_out, remember_customer
from crm.timeline import note
from leads.actors import By, person
from leads.enums import ActivityKind, Domain, LeadSource
from leads.models import Assessment, Deal, DealOffer, Lead, LeadActivity, PipelineSettings, SavedView, StageChange
from leads.queries import pipeline as queries
from leads.services import duplicates, pipeline
from tests.pages import add_lead, page, qualified, signed_in, viewer_of, words_of, work_leads, write_in

JSON = {"Accept": "application/json"}
NOBODY_YET = By("Somebody")


@pytest.fixture(autouse=True)
def _at_nine(now):
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture
def alice(cast):
    return signed_in(cast.alice)


@pytest.fixture
def work(cast, now):
    return work_leads(cast.shop, user=cast.alice, now=now)


def leads(shop, many, *, now, **fields):
    with only(shop):
        made = [
            add_lead(shop, name=f"Person {n:02}", phone=f"+155501400{n:02}", at=now - timedelta(minutes=n))
            for n in range(many)
        ]
        if fields:
            Lead.objects.filter(pk__in=[lead.pk for lead in made]).update(**fields)
    return made


def fresh(lead):
    with only(lead.business):
        return Lead.objects.get(pk=lead.pk)


def people(response):
    return re.findall(r'class="row__title" href="[^"]*">([^<]+)</a>', response.content.decode())


def column(response, stage):
    """Who stands in a column of the board, from the top."""
    html = response.content.decode()
    part = re.search(rf'data-column="{stage}".*?</section>', html, re.DOTALL)[0]
    return re.findall(r'class="lead__who"[^>]*>([^<]+)</a>', part)


def asked(client, url):
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


# --- Board -------------------------------------------------------------------------------------------------------------------


def test_the_board_shows_each_stage_with_what_one_wants_to_know_of_a_lead(work, alice):
    response = alice.get(page("leads:board"))
    assert column(response, "new") == ["Olga Once", "Nina Novak"]  # neither is scored: the newer number first
    assert (column(response, "qualified"), column(response, "transferred")) == (["Hal Hotchkiss"], ["Tara Todd"])
    text = words_of(response)
    assert "Qualified 1 Hal Hotchkiss A new water heater Score 0.70 hot" in text
    assert "Partner First line 1 hour here" in text
    assert "Nina Novak A new water heater Not scored yet Waiting 4 minutes Web form" in text
    assert "Contacted 0 No leads here." in text


def test_the_hottest_come_first_and_the_rest_is_in_the_list(cast, alice, now):
    made = leads(cast.shop, 22, now=now)
    with only(cast.shop):
        Lead.objects.filter(pk=made[7].pk).update(score=Decimal("0.90"))
        Lead.objects.filter(pk=made[3].pk).update(score=Decimal("0.40"))
    response = alice.get(page("leads:board"))
    shown = column(response, "new")
    assert shown[:3] == ["Person 07", "Person 03", "Person 21"]
    assert len(shown) == 20
    assert (
        f'<a class="card__more board__more" href="{page("leads:leads", stage="new")}">All 22</a>'
        in response.content.decode()
    )
    assert len(people(alice.get(page("leads:leads", stage="new")))) == 22


def test_the_board_can_be_narrowed_to_ones_own_and_to_a_line(cast, alice, now):
    made = leads(cast.shop, 3, now=now)
    with only(cast.shop):
        Lead.objects.filter(pk=made[0].pk).update(assigned_to=cast.alice)
        Lead.objects.filter(pk=made[1].pk).update(assigned_to=cast.bob, business_domain=Domain.SECOND)
        PipelineSettings.objects.create(business=cast.shop, second_line="Heat pumps")
    assert column(alice.get(page("leads:board", person="mine")), "new") == ["Person 00"]
    assert column(alice.get(page("leads:board", person=cast.bob.pk)), "new") == ["Person 01"]
    assert column(alice.get(page("leads:board", person="nobody")), "new") == ["Person 02"]
    assert column(alice.get(page("leads:board", line="second")), "new") == ["Person 01"]
    assert "Heat pumps" in words_of(alice.get(page("leads:board")))
    none = words_of(alice.get(page("leads:board", line="third")))
    assert "No leads like these" in none
    assert "No leads yet" not in none


def test_counts_stop_at_ten_thousand(cast, now, monkeypatch):
    leads(cast.shop, 3, now=now)
    with only(cast.shop):
        counts = queries.stage_counts(cast.shop, filters=queries.Filters(), user=cast.alice)
        assert [(stage, count.words) for stage, count in counts.items()] == [
            ("new", "3"), ("contacted", "0"), ("qualified", "0"), ("transferred", "0"), ("lost", "0"),
        ]  # fmt: skip
        monkeypatch.setattr(queries, "MOST", 2)
        assert queries.stage_counts(cast.shop, filters=queries.Filters(), user=cast.alice)["new"].words == "2+"
        assert queries.count(Lead.objects.for_business(cast.shop)).words == "2+"
    assert queries.Count(10_001).words == "2+"


def test_pages_ask_as_often_for_thirty_leads_as_for_three(cast, alice, now):
    def ask():
        return [asked(alice, page(name)) for name in ("leads:board", "leads:leads")]

    leads(cast.shop, 3, now=now, assigned_to=cast.bob)
    alice.get(page("leads:board"))
    few = ask()
    leads(cast.shop, 30, now=now, assigned_to=cast.bob)
    assert ask() == few
    assert few[0] <= 12
    (one, *_) = leads(cast.shop, 1, now=now)
    before = asked(alice, page("leads:lead", one.number))
    with only(cast.shop):
        for n in range(30):
            pipeline.add_activity(lead=one, kind=ActivityKind.CALL, text=f"Call {n}", by=person(cast.bob), now=now)
    assert asked(alice, page("leads:lead", one.number)) == before


def test_an_empty_board_says_where_leads_come_from(cast, alice):
    assert "No leads yet What customers ask for by text" in words_of(alice.get(page("leads:board")))


# --- Moving ------------------------------------------------------------------------------------------------------------------


def test_a_card_moves_and_the_answer_brings_it_back_as_it_is_now(work, alice, cast):
    lead = work.fresh
    answer = alice.post(page("leads:move", lead.number), {"to": "contacted", "seen": "new"}, headers=JSON)
    said = answer.json()
    assert (answer.status_code, said["sentence"], said["stage"]) == (200, "Nina Novak is Contacted now.", "contacted")
    assert said["counts"] == {"new": "1", "contacted": "1", "qualified": "1", "transferred": "1", "lost": "0"}
    assert f'id="lead-{lead.number}"' in said["card"]
    assert 'data-stage="contacted"' in said["card"]
    with only(cast.shop):
        change = StageChange.objects.get(lead=lead)
    assert (change.old, change.new, change.by) == ("new", "contacted", cast.alice)


def test_a_move_the_table_does_not_have_is_refused_with_what_is_possible(work, alice, cast, now):
    answer = alice.post(page("leads:move", work.fresh.number), {"to": "qualified", "seen": "new"}, headers=JSON)
    assert (answer.status_code, answer.json()["sentence"]) == (
        409, "From New a lead goes to Contacted or Lost.",
    )  # fmt: skip
    with only(cast.shop):
        lost = pipeline.move(lead=work.merge.kept, to="lost", by=person(cast.bob), now=now)
    back = alice.post(page("leads:move", lost.number), {"to": "new"}, headers=JSON)
    assert (back.status_code, back.json()["sentence"]) == (409, "A lost lead stays lost.")
    by_hand = alice.post(page("leads:move", work.ready.number), {"to": "transferred"}, follow=True)
    assert "A lead is transferred only by a transfer to sales, which checks its score and opens the deal." in words_of(
        by_hand
    )
    assert "Cannot change stage of a transferred lead." in words_of(
        alice.post(page("leads:move", work.sold.number), {"to": "lost", "why": "Gone"}, follow=True)
    )
    assert [fresh(lead).stage for lead in (work.fresh, work.ready, work.sold)] == ["new", "qualified", "transferred"]


def test_whoever_moves_what_a_colleague_has_moved_is_told_so(work, alice, cast, now):
    with only(cast.shop):
        pipeline.move(lead=work.fresh, to="contacted", by=person(cast.bob), now=now)
    for url, form in ((page("leads:move", work.fresh.number), {"to": "contacted", "seen": "new"}),
                      (page("leads:transfer", work.fresh.number), {"seen": "qualified"})):  # fmt: skip
        answer = alice.post(url, form, headers=JSON)
        assert answer.status_code == 409
        assert answer.json()["sentence"] == "Bob Burns has moved this lead to Contacted meanwhile. It stays there."
        assert answer.json()["stage"] == "contacted"
    with only(cast.shop):
        assert StageChange.objects.filter(lead=work.fresh).count() == 1


def test_lost_asks_why_and_the_page_keeps_the_answer(work, alice):
    number = work.fresh.number
    refused = alice.post(page("leads:move", number), {"to": "lost", "why": " "})
    assert refused.status_code == 422
    assert "Say in a few words why it is lost: it teaches which leads are worth the work." in words_of(refused)
    said = alice.post(page("leads:move", number), {"to": "lost", "why": ""}, headers=JSON)
    assert (said.status_code, said.json()["stage"], fresh(work.fresh).stage) == (409, "new", "new")
    done = alice.post(page("leads:move", number), {"to": "lost", "why": "Chose somebody else"}, follow=True)
    assert "Nina Novak is Lost now." in words_of(done)
    assert "Lost : Chose somebody else" in words_of(done)
    assert (fresh(work.fresh).stage, fresh(work.fresh).lost_because) == ("lost", "Chose somebody else")


def test_without_a_script_a_card_moves_and_one_is_back_on_the_board(work, alice):
    form = {"to": "contacted", "seen": "new", "back": "board"}
    assert alice.post(page("leads:move", work.fresh.number), form).url == page("leads:board")
    assert fresh(work.fresh).stage == "contacted"


# --- To sales ----------------------------------------------------------------------------------------------------------------


def test_a_person_hands_a_ready_lead_to_sales(work, alice, cast):
    ready = words_of(alice.get(page("leads:lead", work.ready.number)))
    assert "Line of business: First line A score of 0.60 or more: 0.70 Qualified Hand over…" in ready
    done = alice.post(page("leads:transfer", work.ready.number), {"seen": "qualified"}, follow=True)
    with only(cast.shop):
        deal = Deal.objects.get(lead=work.ready)
        offer = DealOffer.objects.get(deal=deal)
    text = words_of(done)
    assert f"Hal Hotchkiss is with sales now, as deal {deal.number}. Alice Ames is asked to take it." in text
    assert f"Deal {deal.number} Open the deal Stage New Owner nobody yet" in text
    assert "Who was asked Alice Ames waiting for an answer until 9:15 AM" in text
    assert "Live call" not in text
    assert (offer.salesperson.user, fresh(work.ready).stage) == (cast.alice, "transferred")


def test_what_a_transfer_still_misses_is_a_checklist_and_a_sentence(cast, alice, now):
    with only(cast.shop):
        lead = add_lead(cast.shop, name="Nina Novak", phone="+15550130001", at=now, domain="")
    text = words_of(alice.get(page("leads:lead", lead.number)))
    assert "A line of business Choose it under Edit. A score of 0.60 or more: none yet Score it." in text
    assert "Qualified Move it there step by step." in text
    assert "Hand over…" not in text
    answer = alice.post(page("leads:transfer", lead.number), {"seen": "new"}, headers=JSON)
    assert answer.status_code == 409
    assert answer.json()["sentence"] == (
        "Not ready for sales yet: it needs a line of business, a score of 0.60 or more and the stage Qualified."
    )
    with only(cast.shop):
        assert Deal.objects.count() == 0
    assert fresh(lead).stage == "new"


# --- Page of a lead ------------------------------------------------------------------------------------------------------------


def test_a_lead_shows_its_score_and_what_it_rests_on(work, alice):
    text = words_of(alice.get(page("leads:lead", work.ready.number)))
    assert "0.70 hot Ready for sales: somebody of you decides whether to hand it over." in text
    assert (
        "Partner leads have higher conversion rates. +0.30 Clear business domain identified. +0.30 Low engagement. +0.00"
        in text
    )
    assert "What the conversation says +0.10 Score 0.70" in text
    assert "A family without hot water wants a new heater this week. we have had no hot water since Monday" in text
    assert "An urgent need, and it is theirs. Read by gpt-4.1-mini, up to the text of Nov 18, 8:10 AM ." in text
    assert "Before that (1)" in text
    assert "By the table of points alone: nobody has read the conversation yet." in text


def test_score_again_is_another_assessment(work, alice, cast):
    text = words_of(alice.post(page("leads:assess", work.fresh.number), follow=True))
    assert "Scored 0.50." in text
    with only(cast.shop):
        assert Assessment.objects.filter(lead=work.fresh).count() == 1
    assert "Scored 0.50, as before." in words_of(alice.post(page("leads:assess", work.fresh.number), follow=True))


def test_what_happened_is_one_story_and_goes_on(work, alice, cast, now):
    with only(cast.shop):
        write_in(cast.shop, phone="+15550130001", body="Is tomorrow possible?", now=now - timedelta(minutes=1))
        for n in range(31):
            at = now - timedelta(seconds=50 - n)
            pipeline.add_activity(
                lead=work.fresh, kind=ActivityKind.CALL, text=f"Call {n:02}", by=person(cast.bob), now=at
            )
    first = alice.get(page("leads:lead", work.fresh.number))
    said = re.findall(r"timeline__text\">([^<]+)<", first.content.decode())
    assert said == [f"Call: Call {n:02}" for n in range(30, 0, -1)]
    assert "Wed, Nov 18, 8:59 AM · Bob Burns" in words_of(first)
    older = re.search(r'href="(\?before=[^"#]+)', first.content.decode())[1]
    rest = alice.get(page("leads:lead", work.fresh.number) + older)
    assert re.findall(r"timeline__text\">([^<]+)<", rest.content.decode()) == ["Call: Call 00", "Is tomorrow possible?"]
    moved = words_of(alice.get(page("leads:lead", work.ready.number)))
    assert "Moved from Contacted to Qualified Wed, Nov 18, 8:00 AM · Alice Ames" in moved


def test_whoever_calls_reads_first_that_they_opted_out(work, alice, cast, now):
    recall = "Called back: they opted out. Do not call or text them."
    with only(cast.shop):
        customer = Customer.objects.get(pk=work.sold.customer_id)
        other = add_lead(cast.shop, name="Tara Todd", phone="+15550130003", at=now, asked_for="A tap")
        earlier, about = now - timedelta(minutes=1), f"lead:{work.sold.pk}"
        pipeline.add_activity(
            lead=work.sold,
            kind=ActivityKind.NOTE,
            text="Likes mornings",
            by=NOBODY_YET,
            now=earlier - timedelta(minutes=1),
        )
        assert queries.warning(fresh(work.sold)) == ""
        assert "No texts" not in words_of(alice.get(page("leads:deal", work.deal.number)))
        note(business=cast.shop, customer=customer, verb=Verb.NOTE, text=recall, about=about, now=earlier)
        record_opt_out(business=cast.shop, customer=customer, words="No texts", user=cast.bob, now=now)
    for url in (page("leads:lead", work.sold.number), page("leads:deal", work.deal.number)):
        text = words_of(alice.get(url))
        assert f"{recall} No texts They opted out" in text
        assert text.count("Nothing is sent to them.") == 1
        assert "Call (555) 013-0003" in text
    shown = alice.get(page("leads:lead", work.sold.number)).content.decode()
    story = re.findall(r"timeline__text\">([^<]+)<", shown)
    assert story[:2] == ["Opted out of texts, recorded by staff.", recall]
    assert [line for line in story if "Likes mornings" in line] == ["Note: Likes mornings"]
    assert recall not in words_of(alice.get(page("leads:lead", other.number)))


def test_a_note_about_a_lead_stays_with_it_through_a_merge(cast, alice, now):
    with only(cast.shop):
        kept, dropped = (add_lead(cast.shop, name="Olga Once", phone="+15550130004", at=now) for _ in range(2))
        pipeline.add_activity(lead=dropped, kind=ActivityKind.NOTE, text="Has a dog", by=NOBODY_YET, now=now)
        later = now + timedelta(minutes=1)
        note(
            business=cast.shop, customer=kept.customer, verb=Verb.NOTE, text="Do not call.", about=f"lead:{dropped.pk}",
            now=later,
        )  # fmt: skip
        duplicates.merge_leads(kept=kept, dropped=dropped, user=cast.alice, now=later)
        told = [line.text for line in queries.story(fresh(kept)).happened]
        assert (queries.warning(fresh(kept)), queries.warning(fresh(dropped))) == ("Do not call.", "Do not call.")
    assert sorted(told) == ["Do not call.", "Note: Has a dog"]


def test_a_text_that_was_not_sent_says_so(work, cast, now):
    with only(cast.shop):
        Message.objects.create(
            business=cast.shop, customer_id=work.fresh.customer_id, direction=Direction.OUTBOUND, author=Author.STAFF,
            body="Shall we come at noon?", to_number="+15550130001", status=MessageStatus.REFUSED, created_at=now,
            error="They opted out.",
        )  # fmt: skip
        line = queries.story(work.fresh).happened[0]
    assert line == queries.Happened(
        kind="refused", text="Shall we come at noon?", at=now, detail="Not sent: They opted out."
    )


def test_a_call_is_written_down_once(work, alice, cast):
    form = {"kind": "call", "text": "Wants it\r\nin May", "once": "018f0000-0000-7000-8000-000000000001"}
    for _ in range(2):
        alice.post(page("leads:activity", work.fresh.number), form)
    with only(cast.shop):
        assert LeadActivity.objects.get(lead=work.fresh).text == "Wants it\nin May"
    assert fresh(work.fresh).activity_count == 1
    other = alice.post(page("leads:activity", work.fresh.number), form | {"text": "Another"})
    assert (other.status_code, fresh(work.fresh).activity_count) == (409, 1)
    later = alice.post(page("leads:activity", work.fresh.number), form | {"at": "2026-11-19T09:00"})
    assert later.status_code == 422
    assert "This has not happened yet. For something to come, set the next step." in words_of(later)
    assert "in May</textarea>" in later.content.decode()


def test_the_next_step_is_planned_on_the_businesss_own_clock(work, alice, cast, now):
    url = page("leads:follow_up", work.fresh.number)
    text = words_of(alice.post(url, {"title": "Call Nina", "preset": "tomorrow", "due_at": ""}, follow=True))
    assert "On Today from Thu, Nov 19, 9:00 AM: Call Nina" in text
    with only(cast.shop):
        task = Task.objects.get(reason=TaskReason.FOLLOW_UP)
    assert task.due_at == now + timedelta(days=1)
    alice.post(url, {"title": "Call Nina", "due_at": "2026-11-20T14:30"})
    with only(cast.shop):
        planned = Task.objects.filter(reason=TaskReason.FOLLOW_UP).order_by("due_at")
        assert [task.due_at - now for task in planned] == [
            timedelta(days=1), timedelta(days=2, hours=5, minutes=30),
        ]  # fmt: skip
    for due, sentence in (
        ("2026-11-17T10:00", "This time is over. Choose one that is still to come."),
        ("", "Choose when, or one of the buttons below."),
        ("soon", "Write the time like 2026-05-03T14:30."),
    ):
        refused = alice.post(url, {"title": "Write to Nina", "due_at": due})
        assert (refused.status_code, sentence in words_of(refused)) == (422, True)
        assert 'value="Write to Nina"' in refused.content.decode()


def test_a_lead_is_given_to_somebody_of_the_team_only(work, alice, cast):
    url = page("leads:assign", work.fresh.number)
    assert "Bob Burns works on Nina Novak now." in words_of(alice.post(url, {"to": cast.bob.pk}, follow=True))
    for stranger in (cast.charlie.pk, viewer_of(cast.shop).pk, "zzz"):
        refused = alice.post(url, {"to": stranger})
        assert (refused.status_code, "Choose somebody of the team." in words_of(refused)) == (422, True)
    assert fresh(work.fresh).assigned_to == cast.bob
    assert "Nina Novak is nobody's now." in words_of(alice.post(url, {"to": ""}, follow=True))
    assert fresh(work.fresh).assigned_to is None


def test_what_is_on_file_is_corrected_and_a_strangers_number_is_refused(work, alice, cast):
    url = page("leads:edit", work.fresh.number)
    form = {"name": "Nina Nowak", "phone": "(555) 013-0001", "email": "nina@example.com", "asked_for": "A boiler",
            "business_domain": "second", "notes": "Gate code 12"}  # fmt: skip
    alice.post(url, form)
    lead = fresh(work.fresh)
    assert (lead.asked_for, lead.business_domain, lead.notes) == ("A boiler", "second", "Gate code 12")
    assert (lead.customer.name, lead.customer.email, lead.customer.phone) == (
        "Nina Nowak",
        "nina@example.com",
        "+15550130001",
    )
    taken = alice.post(url, form | {"phone": "+15550130002", "asked_for": "Two boilers"})
    assert taken.status_code == 422
    assert 'value="Two boilers"' in taken.content.decode()
    wrong = alice.post(url, form | {"phone": "12", "email": "nina"})
    assert (wrong.status_code, fresh(work.fresh).asked_for) == (422, "A boiler")
    assert len(re.findall("field__error", wrong.content.decode())) == 2


def test_what_is_on_file_is_not_taken_away_on_a_lead(work, alice, cast):
    url = page("leads:edit", work.fresh.number)
    refused = alice.post(url, {"name": "", "phone": " ", "email": "", "asked_for": "A boiler"})
    html = refused.content.decode()
    file = page("crm:customer", work.fresh.customer_id)
    assert refused.status_code == 422
    assert html.count(f'It is on file. To take it away, open the <a href="{file}">customer</a>.') == 2
    assert 'value="A boiler"' in html
    lead = fresh(work.fresh)
    assert (lead.asked_for, lead.customer.name, lead.customer.phone) == (
        "A new water heater", "Nina Novak", "+15550130001",
    )  # fmt: skip


def test_a_lead_without_a_contact_gets_one(cast, alice, now):
    with only(cast.shop):
        lead = pipeline.add_lead(business=cast.shop, source=LeadSource.SCANNER, by=NOBODY_YET, now=now)
    number = fresh(lead).number
    assert f"Lead {number}" in words_of(alice.get(page("leads:lead", number)))
    alice.post(page("leads:edit", number), {"name": "Sam Short", "phone": "+15550130009"})
    assert str(fresh(lead).customer) == "Sam Short"


def test_a_merged_lead_leads_to_the_one_that_was_kept(work, alice, cast):
    with only(cast.shop):
        dropped, kept = work.merge.dropped, work.merge.kept
    text = words_of(alice.get(page("leads:lead", dropped.number)))
    assert "Merged into another lead Everything goes on there. Open that one" in text
    for name, form in (("move", {"to": "contacted"}), ("assign", {"to": ""}), ("assess", {}),
                       ("follow_up", {"title": "Call", "preset": "tomorrow"})):  # fmt: skip
        said = words_of(alice.post(page(f"leads:{name}", dropped.number), form, follow=True))
        assert "This lead was merged into another one. Work on that one." in said, name
    assert "Olga Once" in column(alice.get(page("leads:board")), "new")
    assert people(alice.get(page("leads:leads", q="olga"))) == ["Olga Once"]
    assert kept.number != dropped.number


def test_other_open_leads_of_the_same_person_are_named(cast, alice, now):
    with only(cast.shop):
        one = add_lead(cast.shop, name="Olga Once", phone="+15550130004", at=now, asked_for="A tap")
        add_lead(cast.shop, name="Olga Once", phone="+15550130004", at=now, asked_for="A boiler")
    assert "Also open A boiler New, Nov 18" in words_of(alice.get(page("leads:lead", one.number)))


def test_a_lead_that_is_not_ones_own_is_as_one_that_never_was(cast, work):
    charlie = signed_in(cast.charlie)
    for number in (work.ready.number, 10**18, 10**30):
        assert charlie.get(page("leads:lead", number, slug="charlie")).status_code == 404
        assert charlie.post(page("leads:move", number, slug="charlie"), {"to": "lost", "why": "x"}).status_code == 404
    assert fresh(work.ready).stage == "qualified"


def test_a_viewer_sees_everything_and_no_button(cast, work):
    vera = signed_in(viewer_of(cast.shop))
    for url in (page("leads:board"), page("leads:leads"), page("leads:lead", work.ready.number)):
        html = vera.get(url).content.decode()
        assert re.findall(r'method="post" action="(/app/alice/[^"]*)"', html) == []
        assert 'draggable="true"' not in html
        assert "Hal Hotchkiss" in html
    refused = vera.post(page("leads:move", work.fresh.number), {"to": "contacted"}, headers=JSON)
    assert (refused.status_code, fresh(work.fresh).stage) == (403, "new")


# --- By hand -------------------------------------------------------------------------------------------------------------------


def test_a_lead_by_hand_is_made_once(cast, alice, now):
    form = {"name": "Ida Ink", "phone": "(518) 555-0142", "asked_for": "A sink", "business_domain": "first",
            "once": "018f0000-0000-7000-8000-000000000001"}  # fmt: skip
    answers = [alice.post(page("leads:new"), form) for _ in range(2)]
    with only(cast.shop):
        lead = Lead.objects.get()
    assert [answer.url for answer in answers] == [page("leads:lead", lead.number)] * 2
    assert (lead.source, lead.customer.phone, lead.business_domain, lead.stage) == (
        "manual",
        "+15185550142",
        "first",
        "new",
    )
    empty = alice.post(page("leads:new"), {"once": "018f0000-0000-7000-8000-000000000002"})
    assert (empty.status_code, "Say at least who it is or what they ask for." in words_of(empty)) == (422, True)


def test_a_known_number_names_its_owner_and_their_open_lead_before_there_is_another(work, alice, cast):
    form = {"phone": "+15550130001", "asked_for": "A sink", "once": "018f0000-0000-7000-8000-000000000001"}
    asks = alice.post(page("leads:new"), form)
    assert asks.status_code == 409
    assert (
        "This number is Nina Novak, and a request of theirs is open. A new water heater New, since Nov 18"
        in words_of(asks)
    )
    assert 'value="A sink"' in asks.content.decode()
    with only(cast.shop):
        assert Lead.objects.filter(customer=work.fresh.customer_id).count() == 1
    alice.post(page("leads:new"), form | {"anyway": "1"})
    with only(cast.shop):
        assert Lead.objects.filter(customer=work.fresh.customer_id).count() == 2
        remember_customer(business=cast.shop, phone="+15550130077", name="Kim Known")
    known = alice.post(
        page("leads:new"), {"phone": "+15550130077", "once": "018f0000-0000-7000-8000-000000000002"}, follow=True
    )
    assert "Kim Known is on the list. We knew the number." in words_of(known)


# --- List ----------------------------------------------------------------------------------------------------------------------


def test_the_list_answers_every_question(work, alice, cast, now):
    with only(cast.shop):
        Lead.objects.filter(pk=work.fresh.pk).update(assigned_to=cast.bob, business_domain="")
        Lead.objects.filter(pk=work.sold.pk).update(created_at=now - timedelta(days=3))
        done = qualified(cast.shop, name="Dora Done", phone="+15550130008", by=cast.alice, now=now - timedelta(days=9))
        Lead.objects.filter(pk=done.pk).update(outcome="won", closed_at=now)
    every = ["Nina Novak", "Hal Hotchkiss", "Olga Once", "Tara Todd", "Dora Done"]
    assert people(alice.get(page("leads:leads"))) == every
    for query, expected in {
        "stage=qualified": ["Hal Hotchkiss"],
        "stage=done": ["Dora Done"],
        "source=form": ["Nina Novak"],
        "line=none": ["Nina Novak"],
        f"person={cast.bob.pk}": ["Nina Novak"],
        "person=mine": [],
        "person=nobody&stage=new": ["Olga Once"],
        "score=0.6": ["Hal Hotchkiss", "Tara Todd", "Dora Done"],
        "score=0.8": [],
        "waiting=1": ["Nina Novak", "Olga Once"],
        "since=2026-11-18": ["Nina Novak", "Hal Hotchkiss", "Olga Once"],
        "q=hal": ["Hal Hotchkiss"],
        f"q=%23{work.ready.number}": ["Hal Hotchkiss"],
        "q=%23zzz": [],
        "stage=zzz&source=zzz&line=zzz&person=zzz&score=9&waiting=2&since=0001-01-01": every,
    }.items():
        response = alice.get(f"{page('leads:leads')}?{query}")
        assert people(response) == expected, query
        assert f">{len(expected)} {'lead' if len(expected) == 1 else 'leads'}<" in response.content.decode(), query


def test_filters_are_kept_as_a_view_for_oneself_or_for_everybody(work, alice, cast):
    form = {"name": "New ones", "filters": "stage=new&person=mine&zzz=1", "is_shared": "on"}
    saved = alice.post(page("leads:save_view"), form)
    assert saved.url == page("leads:leads", stage="new", person="mine")
    with only(cast.shop):
        assert SavedView.objects.get(name="New ones").filters == {"stage": "new", "person": "mine"}
    again = alice.post(page("leads:save_view"), form)
    assert again.status_code == 422
    assert "You have a view of this name already. Choose another name, or delete that one." in words_of(again)
    assert 'value="New ones"' in again.content.decode()
    for empty in ({"name": "", "filters": "stage=new"}, {"name": "All", "filters": ""}):
        assert alice.post(page("leads:save_view"), empty).status_code == 422
    bobs = words_of(signed_in(cast.bob).get(page("leads:leads")))
    assert ("New ones by Alice" in bobs, "Hot ones" in bobs) == (True, False)
    with only(cast.shop):
        view = SavedView.objects.get(name="New ones")
    assert signed_in(cast.bob).post(page("leads:delete_view", view.pk)).status_code == 404
    asks = alice.get(page("leads:leads", stage="new", person="mine", forget=view.pk))
    assert "Delete the view “New ones”? Only the view goes; the leads stay." in words_of(asks)
    alice.post(page("leads:delete_view", view.pk))
    with only(cast.shop):
        assert [kept.name for kept in SavedView.objects.all()] == ["Hot ones"]


def test_many_leads_are_moved_given_and_scored_at_once(cast, alice, now):
    made = leads(cast.shop, 3, now=now)
    numbers = [lead.number for lead in made]
    done = alice.post(
        page("leads:bulk"), {"lead": numbers, "act": "move:contacted", "filters": "stage=new"}, follow=True
    )
    assert done.redirect_chain == [(page("leads:leads", stage="new"), 302)]
    assert "3 leads moved to Contacted." in words_of(done)
    given = alice.post(page("leads:bulk"), {"lead": numbers[:1], "act": f"give:{cast.bob.pk}"}, follow=True)
    assert "1 lead given to Bob Burns." in words_of(given)
    assert "3 leads scored again." in words_of(
        alice.post(page("leads:bulk"), {"lead": numbers, "act": "score:"}, follow=True)
    )
    lost = {"lead": numbers[:2], "act": "move:lost", "why": "Out of area"}
    assert "2 leads moved to Lost." in words_of(alice.post(page("leads:bulk"), lost, follow=True))
    assert [(fresh(lead).stage, str(fresh(lead).score)) for lead in made] == [
        ("lost", "0.60"), ("lost", "0.60"), ("contacted", "0.60"),
    ]  # fmt: skip
    assert fresh(made[0]).assigned_to == cast.bob


def test_what_many_leads_refuse_is_told_lead_by_lead(work, alice, cast):
    numbers = [work.fresh.number, work.ready.number, work.sold.number, 10**12]
    text = words_of(alice.post(page("leads:bulk"), {"lead": numbers, "act": "move:contacted"}))
    assert "1 moved to Contacted" in text
    assert "3 stayed as they were" in text
    assert "Hal Hotchkiss From Qualified a lead goes to Transferred or Lost." in text
    assert "Tara Todd Cannot change stage of a transferred lead." in text
    assert "Lead 1000000000000 This lead is no longer here." in text
    assert [fresh(lead).stage for lead in (work.fresh, work.ready)] == ["contacted", "qualified"]
    for form, sentence in (
        ({"act": "move:contacted"}, "Tick the leads first."),
        ({"lead": numbers[:1], "act": ""}, "Choose what to do with them."),
        ({"lead": numbers[:1], "act": "move:lost"}, "Say in a few words why they are lost."),
        ({"lead": list(range(1, 202)), "act": "score:"}, "At most 200 leads at a time. Take some ticks away."),
    ):
        refused = alice.post(page("leads:bulk"), form)
        assert (refused.status_code, sentence in words_of(refused)) == (422, True), sentence
    html = alice.post(page("leads:bulk"), {"lead": numbers[:1], "act": ""}).content.decode()
    assert re.findall(r'name="lead" value="(\d+)" form="bulk" data-tick checked', html) == [str(work.fresh.number)]


def test_a_merge_is_what_the_pages_say(cast, now):
    with only(cast.shop):
        one = add_lead(cast.shop, name="Olga Once", phone="+15550130004", at=now)
        two = add_lead(cast.shop, name="Olga Once", phone="+15550130004", at=now)
        duplicates.merge_leads(kept=one, dropped=two, user=cast.alice, now=now)
        counts = queries.stage_counts(cast.shop, filters=queries.Filters(), user=cast.alice)
    assert counts["new"].number == 1
