"""The booking API as documented: seven routes, every exchange a client may rely on, on all three doors.

The bodies are those of the documentation's own curl examples.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from django.test import Client

from booking.models import Appointment, SchedulingRules, WeeklyHours
from crm import consent
from crm.api_keys import issue_key
from crm.enums import BusinessStatus, ConsentSource, KeyKind
from crm.models import Activity, Business, Customer, IdempotencyKey, Message, Task
from crm.scoping import every_business
from crm.services import remember_customer
from leads.models import Lead, Proposal
from tests.conftest import NOW, open_shop

DOORS = [f"{door}{{}}{slash}" for door in ("/api/v1", "/v1", "") for slash in ("", "/")]

JANE = "+15551234567"
LEAD = {
    "event_id": "evt_1",
    "tenant_id": "t_acme",
    "name": "Jane Doe",
    "phone": JANE,
    "service": "AC Repair",
    "notes": "no cooling",
}
PROPOSE = {
    "event_id": "evt_p1",
    "tenant_id": "t_acme",
    "name": "Jane Doe",
    "phone": JANE,
    "service": "AC Repair",
    "notes": "please propose",
}
CHAT = {"from_phone": JANE, "text": "need ac repair asap"}

# It is Wednesday, 9:00 in Chicago, and the shop wants an hour of notice: Wednesday 10:00 is the first slot there is.
TEN, ELEVEN, NOON, ONE = (f"2026-11-18T{hour}:00:00Z" for hour in (16, 17, 18, 19))
IGNORED = {"status": "IGNORED"}


@pytest.fixture(autouse=True)
def _at_nine():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def acme(db) -> Business:
    """The shop of the examples: one technician, open intake."""
    return open_shop("t_acme", name="Acme Air", number="+15552000003", owner_phone="+15552009003", staff=1)


@pytest.fixture
def key(acme) -> str:
    return issue_key(business=acme, kind=KeyKind.API, now=NOW).secret


def post(path: str, body: dict[str, object], **headers: str):
    return Client(headers=headers).post(path, body, content_type="application/json")


def said(path: str, body: dict[str, object], **headers: str) -> dict[str, object]:
    response = post(path, body, **headers)
    assert response.status_code == 200, response.content
    return response.json()


def knows(business: Business, phone: str = JANE, name: str = "") -> None:
    """The demo's mapping: this number is a known customer of the business."""
    with every_business():
        remember_customer(business=business, phone=phone, name=name)


def close_on_weekdays(business: Business) -> None:
    with every_business():
        WeeklyHours.objects.for_business(business).delete()


def written() -> dict[str, int]:
    """How many rows there are of everything intake writes."""
    models = (Customer, Lead, Proposal, Appointment, Task, Activity, Message, IdempotencyKey)
    with every_business():
        return {model.__name__: model.objects.count() for model in models}


def texts(audience: str = "customer") -> list[str]:
    with every_business():
        return list(
            Message.objects.filter(audience=audience).order_by("created_at", "id").values_list("body", flat=True)
        )


# --- The examples, at every door --------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
def test_the_documented_examples_work_at_this_door(acme, key, door):
    jane = dict(LEAD)

    booked = said(door.format("/lead"), jane)
    job_id = booked["job_id"]
    assert re.fullmatch(r"[0-9a-f]{32}", job_id)
    assert booked == {
        "job_id": job_id,
        "tenant_id": "t_acme",
        "customer_name": "Jane Doe",
        "phone": JANE,
        "service": "AC Repair",
        "slot": {"start": TEN, "end": ELEVEN},
        "status": "BOOKED",
        "source_event": "evt_1",
    }
    assert said(door.format("/lead"), jane) == booked

    jobs = Client(headers={"X-API-Key": key}).get(door.format("/jobs"))
    assert jobs.status_code == 200
    assert jobs.json() == [
        {
            "job_id": job_id,
            "tenant_id": "t_acme",
            "customer_name": "Jane Doe",
            "service": "AC Repair",
            "slot_start": TEN,
            "slot_end": ELEVEN,
            "status": "BOOKED",
        }
    ]

    proposed = said(door.format("/lead/propose"), PROPOSE)
    assert set(proposed) == {"status", "proposal_id", "message_id"}
    assert proposed["status"] == "PROPOSED"
    assert re.fullmatch(r"[0-9a-f]{32}", proposed["proposal_id"])
    assert re.fullmatch(r"msg_[0-9a-f]{32}", proposed["message_id"])

    confirmed = said(
        door.format("/sms/callback"), {"message_id": proposed["message_id"], "from_phone": JANE, "body": "YES"}
    )
    assert confirmed == {
        "status": "BOOKED",
        "job_id": confirmed["job_id"],
        "tenant_id": "t_acme",
        "slot_start": ELEVEN,
        "slot_end": NOON,
    }

    asked = said(door.format("/chat/inbound"), CHAT)
    assert asked == {
        "status": "PROPOSED",
        "tenant_id": "t_acme",
        "service": "AC Repair",
        "proposal_id": asked["proposal_id"],
        "message": "Hi Jane, Acme Air can do AC Repair Wed Nov 18, 12:00-1:00 PM."
        " Reply 1 to book, 2 for another time, 3 to pass.",
    }
    other = said(door.format("/chat/reply"), {"from_phone": JANE, "text": "NO"})
    assert other == {
        "status": "PROPOSED",
        "job_id": None,
        "proposal_id": other["proposal_id"],
        "message": "Hi Jane, Acme Air can do AC Repair Wed Nov 18, 1:00-2:00 PM."
        " Reply 1 to book, 2 for another time, 3 to pass.",
    }
    assert other["proposal_id"] != asked["proposal_id"]
    taken = said(door.format("/chat/reply"), {"from_phone": JANE, "text": "YES"})
    assert taken == {
        "status": "BOOKED",
        "job_id": taken["job_id"],
        "proposal_id": other["proposal_id"],
        "message": "Confirmed! Your AC Repair with Acme Air is booked for November 18, 2026 at 1:00 PM. See you then!",
    }


@pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
def test_liveness_says_ok(path):
    response = Client().get(path)
    assert (response.status_code, response.json()) == (200, {"ok": True, "status": "ok"})


# --- POST /lead -------------------------------------------------------------------------------------------------------


def test_the_same_event_again_gets_the_same_job_and_sends_nothing(acme):
    first = said("/lead", LEAD)
    before = written()
    assert said("/lead", LEAD) == first
    assert written() == before
    assert texts() == [
        "Confirmed! Your AC Repair with Acme Air is booked for November 18, 2026 at 10:00 AM. See you then!"
    ]
    assert texts("owner") == ["New job: AC Repair, Jane Doe (555) 123-4567, Wed Nov 18, 10:00-11:00 AM."]


def test_the_same_event_with_another_body_is_a_conflict(acme):
    said("/lead", LEAD)
    before = written()
    response = post("/lead", LEAD | {"name": "Joan Doe"})
    assert response.status_code == 409
    assert response["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "event_id: “evt_1” was used before with another body. Send a new event_id for a new request.",
        "instance": "/lead",
    }
    assert written() == before


def test_the_same_event_of_another_business_is_another_request(acme):
    """Two businesses may use the same event id; neither learns of the other."""
    open_shop("t_two", name="Two Pipes", number="+15552000004", staff=1)
    said("/lead", LEAD)
    other = said(
        "/lead", LEAD | {"tenant_id": "t_two", "name": "Jim Roe", "phone": "+15551230000", "service": "Plumbing"}
    )
    assert (other["tenant_id"], other["customer_name"], other["service"]) == ("t_two", "Jim Roe", "Plumbing")
    assert other["slot"] == {"start": TEN, "end": ELEVEN}


@pytest.mark.parametrize(
    ("notes", "reason", "title"),
    [
        ("please CANCEL", "cancel", "Call Jane Doe: they want to cancel. “please CANCEL”"),
        ("Need to ReschEDULE", "reschedule", "Call Jane Doe: they want another time. “Need to ReschEDULE”"),
    ],
)
def test_notes_that_ask_to_cancel_or_move_go_to_a_person(acme, notes, reason, title):
    assert said("/lead", LEAD | {"notes": notes}) == {"status": "HANDOFF", "reason": reason}
    assert said("/lead/propose", PROPOSE | {"notes": notes}) == {"status": "HANDOFF", "reason": reason}
    with every_business():
        assert Appointment.objects.count() == 0
        assert list(Task.objects.values_list("title", flat=True)) == [title]
        assert list(Lead.objects.values_list("status", flat=True)) == ["handoff", "handoff"]


def test_dont_cancel_is_no_cancellation(acme):
    assert said("/lead", LEAD | {"notes": "Please don't cancel, I do need it"})["status"] == "BOOKED"


@pytest.mark.parametrize("service", ["ac repair", "AC REPAIR", "A/C repair", "ac", "Air Conditioning"])
def test_a_service_is_known_in_any_case_and_by_other_words(acme, service):
    assert said("/lead", LEAD | {"service": service})["service"] == "AC Repair"


def test_hvac_is_not_ac_repair(acme):
    assert said("/lead", LEAD | {"service": "hvac"})["service"] == "HVAC"


@pytest.mark.parametrize("path", ["/lead", "/lead/propose"])
def test_a_service_the_business_does_not_have_needs_dispatch(acme, path):
    assert said(path, LEAD | {"service": "Roof Repair"}) == {"status": "NEEDS_DISPATCH"}
    with every_business():
        assert Appointment.objects.count() == 0
        assert list(Task.objects.values_list("title", flat=True)) == [
            "Call Jane Doe (555) 123-4567 about Roof Repair: this service is not on our list."
        ]


@pytest.mark.parametrize("path", ["/lead", "/lead/propose"])
def test_no_free_slot_needs_dispatch_and_a_person_is_asked_to_call(acme, path):
    close_on_weekdays(acme)
    assert said(path, LEAD) == {"status": "NEEDS_DISPATCH"}
    assert said(path, LEAD) == {"status": "NEEDS_DISPATCH"}  # a repeat: nothing more is written
    with every_business():
        assert Appointment.objects.count() == 0
        assert Lead.objects.get().status == "needs_dispatch"
        assert Task.objects.get().title == (
            "Call Jane Doe (555) 123-4567 about AC Repair: We are not open in the next 14 days."
        )
    assert texts() == ["Acme Air has no free time for AC Repair right now. We will call you to find one."]


def test_two_ways_to_write_a_number_are_one_customer(acme):
    said("/lead", LEAD | {"phone": "(555) 123-4567"})
    second = said("/lead", LEAD | {"event_id": "evt_2"})
    assert second["phone"] == JANE
    with every_business():
        assert list(Customer.objects.values_list("phone", "phone_raw", "name")) == [
            (JANE, "(555) 123-4567", "Jane Doe")
        ]


def test_a_business_is_named_by_its_short_name_or_its_id(acme):
    for n, name in enumerate([str(acme.pk), acme.pk.hex, str(acme.pk).upper()]):
        assert said("/lead", LEAD | {"event_id": f"evt_{n}", "tenant_id": name})["tenant_id"] == "t_acme"


def test_unknown_fields_are_ignored(acme):
    assert said("/lead", LEAD | {"utm_source": "ads", "nested": {"a": [1]}})["status"] == "BOOKED"


def test_optional_fields_may_be_null_or_absent(acme):
    body = {name: LEAD[name] for name in ("event_id", "tenant_id", "name", "phone", "service")}
    assert said("/lead", body | {"address": None, "notes": None})["status"] == "BOOKED"
    assert said("/lead", body | {"event_id": "evt_2"})["status"] == "BOOKED"


def test_an_address_is_kept_and_told_to_the_owner(acme):
    said("/lead", LEAD | {"address": "12 Elm St"})
    assert texts("owner") == ["New job: AC Repair, Jane Doe (555) 123-4567, Wed Nov 18, 10:00-11:00 AM. 12 Elm St"]


# --- Who may send what ------------------------------------------------------------------------------------------------

NOT_FOUND = "No business with this id takes requests here. Check the id, or send the business's key in X-API-Key."


@pytest.mark.parametrize("path", ["/lead", "/lead/propose"])
@pytest.mark.parametrize(
    "tenant", ["t_nobody", "closed", "closed and suspended", "00000000-0000-7000-8000-000000000000"]
)
def test_an_unknown_business_and_a_closed_one_look_alike(acme, path, tenant):
    shut = open_shop("closed", name="Closed", number="+15552000005")
    Business.objects.filter(pk=shut.pk).update(
        open_intake=False, status=BusinessStatus.SUSPENDED if "suspended" in tenant else BusinessStatus.ACTIVE
    )
    before = written()
    response = post(path, LEAD | {"tenant_id": tenant.split()[0]})
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": NOT_FOUND,
        "instance": path,
        "errors": {"tenant_id": [NOT_FOUND]},
    }
    assert written() == before


def test_a_suspended_business_says_so(acme, key):
    said("/lead/propose", PROPOSE)
    with every_business():
        handle = Proposal.objects.get().message_id
    Business.objects.filter(pk=acme.pk).update(status=BusinessStatus.SUSPENDED)
    before = written()
    for path, body in [
        ("/lead", LEAD),
        ("/lead/propose", LEAD),
        ("/sms/callback", {"message_id": handle, "from_phone": JANE, "body": "YES"}),
        ("/chat/inbound", CHAT),
        ("/chat/reply", CHAT),
    ]:
        response = post(path, body)
        assert (path, response.status_code, response.json()["detail"]) == (path, 403, "Business is suspended")
    jobs = Client(headers={"X-API-Key": key}).get("/jobs")
    assert (jobs.status_code, jobs.json()["detail"]) == (403, "Business is suspended")
    assert written() == before


def test_jobs_are_for_key_holders(acme):
    response = Client().get("/jobs")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "X-API-Key"
    assert response["Content-Type"] == "application/problem+json"


def test_a_key_of_one_business_finds_no_other(acme, key):
    open_shop("t_two", name="Two Pipes", number="+15552000004")
    before = written()
    response = post("/lead", LEAD | {"tenant_id": "t_two"}, **{"X-API-Key": key})
    assert (response.status_code, response.json()["detail"]) == (404, NOT_FOUND)
    assert written() == before


def test_a_closed_business_takes_leads_with_its_key(acme, key):
    Business.objects.filter(pk=acme.pk).update(open_intake=False)
    assert post("/lead", LEAD).status_code == 404
    assert said("/lead", LEAD, **{"X-API-Key": key})["status"] == "BOOKED"
    proposed = said("/lead/propose", PROPOSE, **{"X-API-Key": key})
    answer = {"message_id": proposed["message_id"], "from_phone": JANE, "body": "YES"}
    assert said("/sms/callback", answer) == IGNORED
    assert said("/sms/callback", answer, **{"X-API-Key": key})["status"] == "BOOKED"
    nothing = {"status": "HANDOFF", "job_id": None, "proposal_id": None, "message": "No active proposal found."}
    assert said("/chat/reply", CHAT) == nothing
    assert said("/chat/reply", {"from_phone": JANE, "text": "YES"}, **{"X-API-Key": key})["status"] == "BOOKED"


# --- GET /jobs --------------------------------------------------------------------------------------------------------


def test_jobs_come_newest_first_in_pages_that_name_the_next(acme, key):
    made = [said("/lead", LEAD | {"event_id": f"evt_{n}"})["job_id"] for n in range(5)]
    said("/lead/propose", PROPOSE)  # a held slot is no job
    client = Client(headers={"X-API-Key": key})

    assert [job["job_id"] for job in client.get("/jobs").json()] == made[::-1]
    page = client.get("/jobs?limit=2")
    assert [job["job_id"] for job in page.json()] == [made[4], made[3]]
    assert page["Link"] == f'<http://testserver/jobs?limit=2&before={made[3]}>; rel="next"'
    page = client.get(page["Link"].partition(">")[0][1:])
    assert [job["job_id"] for job in page.json()] == [made[2], made[1]]
    page = client.get(page["Link"].partition(">")[0][1:])
    assert [job["job_id"] for job in page.json()] == [made[0]]
    assert "Link" not in page


def test_jobs_of_other_businesses_are_not_listed(acme, key):
    open_shop("t_two", name="Two Pipes", number="+15552000004")
    said("/lead", LEAD | {"tenant_id": "t_two"})
    assert Client(headers={"X-API-Key": key}).get("/jobs").json() == []


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("limit=0", {"limit": ["Ensure this value is greater than or equal to 1."]}),
        ("limit=201", {"limit": ["Ensure this value is less than or equal to 200."]}),
        ("limit=ten", {"limit": ["A valid integer is required."]}),
        ("before=x", {"before": ["Must be a valid UUID."]}),
    ],
)
def test_jobs_refuse_a_page_they_cannot_show(acme, key, query, errors):
    response = Client(headers={"X-API-Key": key}).get(f"/jobs?{query}")
    assert (response.status_code, response.json()["errors"]) == (422, errors)


# --- POST /lead/propose and /sms/callback -----------------------------------------------------------------------------


def test_a_proposal_is_texted_and_holds_its_slot(acme):
    said("/lead/propose", PROPOSE)
    assert texts() == [
        "Hi Jane, Acme Air can do AC Repair Wed Nov 18, 10:00-11:00 AM. Reply 1 to book, 2 for another time, 3 to pass."
    ]
    other = said("/lead", LEAD | {"event_id": "evt_2", "phone": "+15551230000", "name": "Jim Roe"})
    assert other["slot"]["start"] == ELEVEN


def test_the_same_proposal_again_is_the_same_proposal(acme):
    first = said("/lead/propose", PROPOSE)
    before = written()
    assert said("/lead/propose", PROPOSE) == first
    assert written() == before


def test_somebody_who_opted_out_is_not_offered_a_slot_they_could_not_hear_of(acme):
    with every_business():
        consent.revoke(business=acme, phone=JANE, source=ConsentSource.TEXT, words="stop", now=NOW - timedelta(days=3))
    assert said("/lead/propose", PROPOSE) == {"status": "HANDOFF", "reason": "cannot_text"}
    with every_business():
        assert (Appointment.objects.count(), Proposal.objects.count()) == (0, 0)
        assert Task.objects.get().title == (
            "Call Jane Doe about AC Repair: we cannot text them. Can't send: opted out on Nov 15 by text (“stop”)."
        )
    assert texts() == []


@pytest.mark.parametrize("word", ["yes", " YES ", "y", "ok", "Confirm", "1", "sure"])
def test_a_yes_books_the_offered_slot_once(acme, word):
    proposed = said("/lead/propose", PROPOSE)
    answer = {"message_id": proposed["message_id"], "from_phone": "(555) 123-4567", "body": word}
    booked = said("/sms/callback", answer)
    assert (booked["status"], booked["slot_start"], booked["slot_end"]) == ("BOOKED", TEN, ELEVEN)
    before = written()
    assert said("/sms/callback", answer) == booked
    assert said("/sms/callback", answer | {"body": "y"}) == booked
    assert written() == before
    with every_business():
        job = Appointment.objects.get()
    assert (job.pk.hex, job.status, job.held_until) == (booked["job_id"], "SCHEDULED", None)
    assert texts()[1:] == [
        "Confirmed! Your AC Repair with Acme Air is booked for November 18, 2026 at 10:00 AM. See you then!"
    ]


@pytest.mark.parametrize("word", ["No", "n", "2", "RE-SCHEDULE", "can we resched?"])
def test_a_no_is_handed_to_a_person_and_a_later_yes_still_books(acme, word):
    proposed = said("/lead/propose", PROPOSE)
    answer = {"message_id": proposed["message_id"], "from_phone": JANE, "body": word}
    assert said("/sms/callback", answer) == {"status": "HANDOFF", "reason": "reschedule"}
    before = written()
    assert said("/sms/callback", answer) == {"status": "HANDOFF", "reason": "reschedule"}
    assert written() == before  # the owner is told once
    assert texts("owner") == ["Call Jane Doe: they want another time than the one we offered."]
    assert said("/sms/callback", answer | {"body": "yes"})["slot_start"] == TEN


def test_a_pass_closes_the_offer(acme):
    proposed = said("/lead/propose", PROPOSE)
    answer = {"message_id": proposed["message_id"], "from_phone": JANE, "body": "3"}
    assert said("/sms/callback", answer) == {"status": "DECLINED"}
    with every_business():
        assert (Proposal.objects.get().status, Appointment.objects.get().status) == ("DECLINED", "RELEASED")
    assert texts("owner") == []


@pytest.mark.parametrize(
    "change",
    [
        {"from_phone": "+15551230000"},
        {"from_phone": "not a phone"},
        {"body": "maybe"},
        {"body": "I know"},
        {"message_id": "msg_unknown"},
        {"message_id": "msg_" + "0" * 32},
        {"message_id": "msg_" + "Z" * 32},
    ],
    ids=str,
)
def test_a_callback_we_cannot_place_is_ignored_and_changes_nothing(acme, change):
    proposed = said("/lead/propose", PROPOSE)
    before = written()
    assert (
        said("/sms/callback", {"message_id": proposed["message_id"], "from_phone": JANE, "body": "yes"} | change)
        == IGNORED
    )
    assert written() == before
    with every_business():
        assert Appointment.objects.get().status == "HELD"


def test_another_business_key_cannot_answer(acme):
    two = open_shop("t_two", name="Two Pipes", number="+15552000004")
    foreign = issue_key(business=two, kind=KeyKind.API, now=NOW).secret
    proposed = said("/lead/propose", PROPOSE)
    answer = {"message_id": proposed["message_id"], "from_phone": JANE, "body": "yes"}
    assert said("/sms/callback", answer, **{"X-API-Key": foreign}) == IGNORED
    with every_business():
        assert Appointment.objects.get().status == "HELD"


def test_a_late_yes_books_the_same_slot_while_it_is_free(acme):
    proposed = said("/lead/propose", PROPOSE)
    with time_machine.travel(NOW + timedelta(minutes=40), tick=False):
        booked = said("/sms/callback", {"message_id": proposed["message_id"], "from_phone": JANE, "body": "yes"})
    assert (booked["status"], booked["slot_start"]) == ("BOOKED", TEN)


def test_a_late_yes_to_a_slot_that_has_gone_is_offered_the_next_and_told_so(acme):
    proposed = said("/lead/propose", PROPOSE)
    with time_machine.travel(NOW + timedelta(minutes=16), tick=False):
        rival = LEAD | {"phone": "+15551230000", "name": "Jim Roe"}
        SchedulingRules.objects.filter(business=acme).update(min_notice_minutes=0)
        with every_business():
            held = Appointment.objects.get()
        # 9:16 and the hold has run out: Jim is given 9:30 to 10:30, which takes Jane's ten o'clock away.
        assert said("/lead", rival)["slot"]["start"] == "2026-11-18T15:30:00Z"
        answer = said("/sms/callback", {"message_id": proposed["message_id"], "from_phone": JANE, "body": "yes"})
    assert answer["status"] == "PROPOSED"
    assert answer["proposal_id"] != proposed["proposal_id"]
    assert texts()[-1] == (
        "That time was just taken. Acme Air can do AC Repair Wed Nov 18, 10:30-11:30 AM."
        " Reply 1 to book, 2 for another time, 3 to pass."
    )
    with every_business():
        held.refresh_from_db()
        assert held.status == "RELEASED"


# --- Chat -------------------------------------------------------------------------------------------------------------


def test_words_without_a_service_go_to_a_person(acme):
    knows(acme)
    assert said("/chat/inbound", {"from_phone": JANE, "text": "hello there"}) == {
        "status": "HANDOFF",
        "tenant_id": "t_acme",
        "service": None,
        "proposal_id": None,
        "message": "Could not determine tenant or service.",
    }


def test_a_stranger_is_not_placed_anywhere(acme):
    before = written()
    assert said("/chat/inbound", CHAT) == {
        "status": "HANDOFF",
        "tenant_id": None,
        "service": None,
        "proposal_id": None,
        "message": "Could not determine tenant or service.",
    }
    assert written() == before


def test_a_stranger_names_the_business_in_the_text(acme):
    answer = said("/chat/inbound", {"from_phone": JANE, "text": "T_ACME: plumbing leak asap"})
    assert (answer["status"], answer["tenant_id"], answer["service"]) == ("PROPOSED", "t_acme", "Plumbing")
    assert answer["message"] == (
        "Acme Air can do Plumbing Wed Nov 18, 10:00-11:00 AM. Reply 1 to book, 2 for another time, 3 to pass."
    )


def test_a_closed_business_is_not_found_by_its_name_in_a_text(acme):
    Business.objects.filter(pk=acme.pk).update(open_intake=False)
    answer = said("/chat/inbound", {"from_phone": JANE, "text": "t_acme plumbing leak asap"})
    assert (answer["status"], answer["tenant_id"]) == ("HANDOFF", None)


def test_chat_with_no_free_slot_needs_dispatch(acme):
    knows(acme)
    close_on_weekdays(acme)
    assert said("/chat/inbound", CHAT) == {
        "status": "NEEDS_DISPATCH",
        "tenant_id": "t_acme",
        "service": "AC Repair",
        "proposal_id": None,
        "message": None,
    }


def test_a_time_named_in_the_first_words_is_offered(acme):
    knows(acme)
    answer = said("/chat/inbound", {"from_phone": JANE, "text": "ac repair tomorrow at 2pm please"})
    assert "Thu Nov 19, 2:00-3:00 PM" in answer["message"]


def test_another_time_is_the_next_later_slot_each_time(acme):
    knows(acme)
    ids = [said("/chat/inbound", CHAT)["proposal_id"]]
    for text, hours in [
        ("NO", "11:00 AM-12:00 PM"),
        ("resched please", "12:00-1:00 PM"),
        ("another time", "1:00-2:00 PM"),
    ]:
        answer = said("/chat/reply", {"from_phone": JANE, "text": text})
        assert (answer["status"], answer["job_id"]) == ("PROPOSED", None)
        assert f"Wed Nov 18, {hours}. Reply 1" in answer["message"]
        ids.append(answer["proposal_id"])
    assert len(set(ids)) == 4
    booked = said("/chat/reply", {"from_phone": JANE, "text": "sure"})
    assert (booked["status"], booked["proposal_id"]) == ("BOOKED", ids[-1])
    for again in ("YES", "y"):
        assert said("/chat/reply", {"from_phone": JANE, "text": again}) == booked
    with every_business():
        assert list(Appointment.objects.order_by("starts_at").values_list("status", flat=True)) == [
            "RELEASED",
            "RELEASED",
            "RELEASED",
            "SCHEDULED",
        ]


def test_no_later_slot_needs_dispatch_and_the_last_offer_can_still_be_taken(acme):
    knows(acme)
    with every_business():  # today, until eleven, and never again
        WeeklyHours.objects.for_business(acme).exclude(weekday=2).delete()
        WeeklyHours.objects.for_business(acme).update(closes="11:00")
        SchedulingRules.objects.filter(business=acme).update(horizon_days=5)
    asked = said("/chat/inbound", CHAT)
    assert said("/chat/reply", {"from_phone": JANE, "text": "another time"}) == {
        "status": "NEEDS_DISPATCH",
        "job_id": None,
        "proposal_id": asked["proposal_id"],
        "message": None,
    }
    booked = said("/chat/reply", {"from_phone": JANE, "text": "ok then, yes"})
    assert booked["status"] == "CLARIFY"
    booked = said("/chat/reply", {"from_phone": JANE, "text": "yes"})
    assert (booked["status"], booked["proposal_id"]) == ("BOOKED", asked["proposal_id"])
    with every_business():
        assert Appointment.objects.get().starts_at.strftime("%H:%M") == "16:00"


def test_an_unclear_answer_is_asked_again_with_numbers(acme):
    knows(acme)
    asked = said("/chat/inbound", CHAT)
    before = written()
    assert said("/chat/reply", {"from_phone": JANE, "text": "what?"}) == {
        "status": "CLARIFY",
        "job_id": None,
        "proposal_id": asked["proposal_id"],
        "message": "Please reply 1 to book, 2 for another time or 3 to pass, or tell us a day and time that suits you.",
    }
    assert written() == before


def test_an_answer_that_names_a_time_is_offered_that_time(acme):
    knows(acme)
    said("/chat/inbound", CHAT)
    answer = said("/chat/reply", {"from_phone": JANE, "text": "friday after 3"})
    assert (answer["status"], "Fri Nov 20, 3:00-4:00 PM" in answer["message"]) == ("PROPOSED", True)


def test_a_reply_to_nothing_goes_to_a_person(acme):
    knows(acme)
    assert said("/chat/reply", {"from_phone": JANE, "text": "YES"}) == {
        "status": "HANDOFF",
        "job_id": None,
        "proposal_id": None,
        "message": "No active proposal found.",
    }
