"""The same request twice is one request: by the sender's event id, and by the Idempotency-Key header."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client

from booking.models import Appointment, WeeklyHours
from crm.api_keys import issue_key
from crm.enums import KeyKind
from crm.idempotency import DifferentRequest, claim, forget_old_answers
from crm.models import Activity, Business, Customer, IdempotencyKey, Message, Task
from crm.scoping import every_business
from leads.models import Lead, Proposal
from leads.services import intake as services
from tests.conftest import NOW, open_shop
from tests.crowd import all_at_once, until_somebody_waits

JANE = "+15551234567"
LEAD = {
    "event_id": "evt_1",
    "tenant_id": "t_acme",
    "name": "Jane Doe",
    "phone": JANE,
    "service": "AC Repair",
    "notes": "no cooling",
}
EVERYTHING = (Customer, Lead, Proposal, Appointment, Task, Activity, Message, IdempotencyKey)


@pytest.fixture(autouse=True)
def _at_nine():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def acme(db) -> Business:
    return open_shop("t_acme", name="Acme Air", number="+15552000003", owner_phone="+15552009003", staff=1)


@pytest.fixture
def busy_acme(transactional_db) -> Business:
    """The same, for threads."""
    return open_shop("t_acme", name="Acme Air", number="+15552000003", owner_phone="+15552009003", staff=1)


def post(path: str, body: object, client: Client | None = None, **headers: str):
    return (client or Client()).post(path, body, content_type="application/json", headers=headers)


def written() -> dict[str, int]:
    with every_business():
        return {model.__name__: model.objects.count() for model in EVERYTHING}


# --- A claim ----------------------------------------------------------------------------------------------------------


def test_the_first_claim_is_ours_and_the_next_gets_the_kept_answer(acme):
    first = claim(business=acme, scope="lead", key="evt_1", payload={"a": 1, "b": 2})
    assert first.is_repeat is False
    first.keep(status=200, answer={"status": "BOOKED"})
    again = claim(business=acme, scope="lead", key="evt_1", payload={"b": 2, "a": 1})
    assert (again.is_repeat, again.status, again.answer) == (True, 200, {"status": "BOOKED"})


def test_a_claim_is_one_business_one_scope_and_one_key(acme):
    two = open_shop("t_two", name="Two Pipes", number="+15552000004")
    for business, scope, key in [
        (acme, "lead", "evt_1"),
        (two, "lead", "evt_1"),
        (None, "lead", "evt_1"),
        (acme, "lead/propose", "evt_1"),
        (acme, "lead", "evt_2"),
    ]:
        assert claim(business=business, scope=scope, key=key, payload={}).is_repeat is False
    with pytest.raises(DifferentRequest):
        claim(business=None, scope="lead", key="evt_1", payload={"a": 1})


def test_old_answers_are_forgotten_after_thirty_days(acme):
    claim(business=acme, scope="lead", key="evt_1", payload={}).keep(status=200, answer={})
    IdempotencyKey.objects.update(created_at=NOW)
    assert forget_old_answers(now=NOW + timedelta(days=30)) == 0
    assert forget_old_answers(now=NOW + timedelta(days=30, seconds=1)) == 1
    assert IdempotencyKey.objects.count() == 0


def test_a_request_that_failed_leaves_its_key_free(acme, monkeypatch):
    whole = services._touch
    monkeypatch.setattr(services, "_touch", lambda *_args, **_fields: 1 / 0)
    before = written()
    refused = post("/lead", LEAD, Client(raise_request_exception=False))
    assert refused.status_code == 500
    assert b"ZeroDivisionError" not in refused.content
    assert b"Traceback" not in refused.content
    assert written() == before
    monkeypatch.setattr(services, "_touch", whole)
    assert post("/lead", LEAD).json()["status"] == "BOOKED"


# --- At the same moment -----------------------------------------------------------------------------------------------


def test_sixteen_posts_of_one_event_are_one_job_one_text_and_one_alert(busy_acme):
    answers = all_at_once([lambda: post("/lead", LEAD)] * 16)
    assert [answer.status_code for answer in answers] == [200] * 16
    assert answers[0].json()["status"] == "BOOKED"
    assert {json.dumps(answer.json(), sort_keys=True) for answer in answers} == {
        json.dumps(answers[0].json(), sort_keys=True)
    }
    with every_business():
        assert sorted(Message.objects.values_list("audience", flat=True)) == ["customer", "owner"]
        counted = [model.objects.count() for model in (Appointment, Lead, Customer, IdempotencyKey)]
    assert counted == [1, 1, 1, 1]


def test_sixteen_proposals_of_one_event_are_one_offer(busy_acme):
    answers = all_at_once([lambda: post("/lead/propose", LEAD)] * 16)
    assert len({answer.json()["proposal_id"] for answer in answers}) == 1
    with every_business():
        assert (Proposal.objects.count(), Appointment.objects.count(), Message.objects.count()) == (1, 1, 1)


def test_two_bodies_under_one_event_at_once_are_one_job_and_one_conflict(busy_acme):
    answers = all_at_once([lambda name=name: post("/lead", LEAD | {"name": name}) for name in ("Jane Doe", "Joan Doe")])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    with every_business():
        assert Appointment.objects.count() == 1


def test_fifty_leads_for_the_last_slot_are_one_job_and_forty_nine_tasks(busy_acme):
    with every_business():
        WeeklyHours.objects.exclude(weekday=2).delete()
        WeeklyHours.objects.update(opens="10:00", closes="11:00")
        busy_acme.scheduling_rules.horizon_days = 5
        busy_acme.scheduling_rules.save()
    people = [LEAD | {"event_id": f"evt_{n}", "phone": f"+155512340{n:02d}", "name": f"Person {n}"} for n in range(50)]

    answers = all_at_once([lambda person=person: post("/lead", person) for person in people])

    assert {answer.status_code for answer in answers} == {200}
    said = sorted(answer.json()["status"] for answer in answers)
    assert said == ["BOOKED"] + ["NEEDS_DISPATCH"] * 49
    with every_business():
        assert Appointment.objects.count() == 1
        assert sorted(Lead.objects.values_list("status", flat=True)) == ["booked"] + ["needs_dispatch"] * 49
        assert Task.objects.filter(reason="no_capacity").count() == 49
        assert Message.objects.filter(audience="owner").count() == 50
        assert Message.objects.filter(audience="customer").count() == 50
        assert {IdempotencyKey.objects.count(), Customer.objects.count(), Lead.objects.count()} == {50}


# --- The header -------------------------------------------------------------------------------------------------------


def test_the_header_replays_the_first_answer(acme):
    first = post("/lead", LEAD, **{"Idempotency-Key": '"abc"'})
    before = written()
    again = post(
        "/lead", LEAD, **{"Idempotency-Key": "abc"}
    )  # quotes are the draft's way of writing, not part of the key
    assert (again.status_code, again.json(), again["Idempotency-Replayed"]) == (200, first.json(), "true")
    assert "Idempotency-Replayed" not in first
    assert written() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/lead/propose", LEAD),
        ("/chat/inbound", {"from_phone": JANE, "text": "t_acme ac repair"}),
    ],
)
def test_every_post_honours_the_header(acme, path, body):
    first = post(path, body, **{"Idempotency-Key": "abc"})
    assert first.json()["status"] == "PROPOSED"
    before = written()
    again = post(path, body, **{"Idempotency-Key": "abc"})
    assert (again.json(), again["Idempotency-Replayed"]) == (first.json(), "true")
    assert written() == before


def test_answers_by_chat_and_callback_honour_the_header(acme):
    handle = post("/lead/propose", LEAD).json()["message_id"]
    callback = {"message_id": handle, "from_phone": JANE, "body": "1"}
    first = post("/sms/callback", callback, **{"Idempotency-Key": "abc"})
    assert first.json()["status"] == "BOOKED"
    assert post("/sms/callback", callback, **{"Idempotency-Key": "abc"}).json() == first.json()
    other = post("/chat/reply", {"from_phone": JANE, "text": "2"}, **{"Idempotency-Key": "def"})
    before = written()
    again = post("/chat/reply", {"from_phone": JANE, "text": "2"}, **{"Idempotency-Key": "def"})
    assert (other.json()["status"], again.json()) == ("PROPOSED", other.json())
    assert written() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [("/lead", LEAD | {"event_id": "evt_2"}), ("/lead/propose", LEAD)],
    ids=["another body", "another route"],
)
def test_a_key_of_another_request_is_refused(acme, path, body):
    post("/lead", LEAD, **{"Idempotency-Key": "abc"})
    before = written()
    response = post(path, body, **{"Idempotency-Key": "abc"})
    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["detail"] == (
        "Idempotency-Key: this key was used before with another request. Use a new key for a new request."
    )
    assert written() == before


def test_two_requests_with_one_key_at_once_are_one_request(busy_acme):
    body = {"from_phone": JANE, "text": "t_acme ac repair"}
    answers = all_at_once([lambda: post("/chat/inbound", body, **{"Idempotency-Key": "abc"})] * 8)
    assert len({answer.json()["proposal_id"] for answer in answers}) == 1
    assert sorted("Idempotency-Replayed" in answer for answer in answers) == [False] + [True] * 7
    with every_business():
        assert (Proposal.objects.count(), Lead.objects.count()) == (1, 1)


def test_two_callers_may_use_the_same_key(acme):
    """Two web forms that both count from 1 must not meet; nor may two businesses."""
    key = issue_key(business=acme, kind=KeyKind.API, now=NOW).secret
    callers = [
        Client(REMOTE_ADDR="192.0.2.1"),
        Client(REMOTE_ADDR="192.0.2.2"),
        Client(REMOTE_ADDR="192.0.2.1", headers={"X-API-Key": key}),
    ]
    for n, caller in enumerate(callers):
        answer = post("/lead", LEAD | {"event_id": f"evt_{n}"}, caller, **{"Idempotency-Key": "1"})
        assert (answer.status_code, answer.json()["source_event"]) == (200, f"evt_{n}")


def test_a_refusal_keeps_no_key(acme):
    refused = post("/lead", LEAD | {"phone": "12"}, **{"Idempotency-Key": "abc"})
    assert (refused.status_code, IdempotencyKey.objects.count()) == (422, 0)
    assert post("/lead", LEAD, **{"Idempotency-Key": "abc"}).json()["status"] == "BOOKED"


def test_a_key_too_long_is_refused_and_an_empty_one_is_none(acme):
    refused = post("/lead", LEAD, **{"Idempotency-Key": "k" * 256})
    assert (refused.status_code, refused.json()["detail"]) == (422, "Idempotency-Key: use at most 255 characters.")
    assert written()["Lead"] == 0
    assert post("/lead", LEAD, **{"Idempotency-Key": '""'}).json()["status"] == "BOOKED"
    assert list(IdempotencyKey.objects.values_list("scope", flat=True)) == ["lead"]


def test_when_the_first_fails_before_it_commits_the_waiting_twin_is_the_first(busy_acme):
    answers = []

    def twin() -> None:
        answers.append(post("/lead", LEAD).json())
        connection.close()

    waiting = threading.Thread(target=twin)

    def fail_with_a_twin_waiting() -> None:
        with transaction.atomic():
            mine = claim(business=busy_acme, scope="lead", key="evt_1", payload={})
            mine.keep(status=200, answer={"status": "never"})
            waiting.start()
            until_somebody_waits()
            raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="the lights went out"):
        fail_with_a_twin_waiting()
    waiting.join(timeout=10)
    assert [answer["status"] for answer in answers] == ["BOOKED"]
