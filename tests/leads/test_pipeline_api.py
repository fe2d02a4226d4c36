"""The pipeline's API beside its documented exchanges: reading, editing, sales, refusals, and what it costs."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from crm.api_keys import issue_key
from crm.enums import BusinessStatus, KeyKind, Role
from crm.models import AuditEvent, Consent, Customer, IdempotencyKey, User
from crm.scoping import every_business, only
from crm.services import add_member
from leads import lifecycle
from leads.actors import person
from leads.enums import LeadSource
from leads.models import AssignmentRule, Deal, Lead, LeadActivity, Salesperson, StageChange
from leads.services import pipeline
from leads.services.duplicates import merge_leads
from tests.conftest import NOW
from tests.marketplace.programs import Program, refused

JANE = "+15551234567"
NOBODY_HERE = "Nobody who works on leads here has this e-mail address."
PATHS = [  # every address that names a lead or a deal, with a body it would take
    ("get", "/leads/{}", None),
    ("patch", "/leads/{}", {"notes": "Call back"}),
    ("patch", "/leads/{}/stage", {"new_stage": "contacted"}),
    ("post", "/leads/{}/analyze", b""),
    ("post", "/leads/{}/transfer", b""),
    ("get", "/leads/{}/activities", None),
    ("post", "/leads/{}/activities", {"text": "Hello"}),
    ("post", "/leads/{}/assign", {"email": None}),
    ("get", "/leads/{}/history", None),
    ("get", "/deals/{}", None),
    ("patch", "/deals/{}", {"value": 5}),
    ("patch", "/deals/{}/stage", {"new_stage": "kyc"}),
]


@pytest.fixture(autouse=True)
def _at_nine():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def program(cast) -> Program:
    return Program(cast.shop)


@pytest.fixture
def neighbour(cast) -> Program:
    return Program(cast.next_door)


def call(program: Program, method: str, path: str, body: Any = None, **fields: Any):
    return program.get(path) if method == "get" else program.post(path, body, method=method, **fields)


def done(program: Program, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    answer = call(program, method, path, body)
    assert answer.status_code == status, answer.content
    return answer.json()


def a_lead(program: Program, **fields: Any) -> int:
    body = {"source": "partner", "business_domain": "first"} | fields
    return int(done(program, "post", "/leads", body, status=201)["id"])


def a_deal(program: Program, **fields: Any) -> int:
    lead = a_lead(program, **fields)
    done(program, "post", f"/leads/{lead}/analyze", b"")
    for stage in ("contacted", "qualified"):
        done(program, "patch", f"/leads/{lead}/stage", {"new_stage": stage})
    return int(done(program, "post", f"/leads/{lead}/transfer", b"")["sale_id"])


def written() -> dict[str, Any]:
    """Everything a caller could change."""
    with every_business():
        models = (Lead, Deal, Customer, LeadActivity, StageChange, AuditEvent, IdempotencyKey)
        return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


def ids(program: Program, path: str, **query: Any) -> list[int]:
    answer = program.get(path, query)
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()]


def walk(program: Program, path: str, **query: Any) -> list[list[Any]]:
    """The ids of every page, by the addresses in the Link headers."""
    pages, address = [], path
    while address:
        answer = program.get(address, query if address is path else None)
        assert answer.status_code == 200, answer.content
        pages.append([row["id"] for row in answer.json()])
        link = answer.headers.get("Link", "")
        found = re.fullmatch(r'<http://testserver/api/v1(.*)>; rel="next"', link)
        assert found or not link
        address = found[1] if found else ""
    return pages


# --- Who may ---------------------------------------------------------------------------------------------------------------


def test_nobody_gets_in_without_a_key_of_the_business(cast, client, program):
    lead, before = a_lead(program), written()
    widget = issue_key(business=cast.shop, kind=KeyKind.WIDGET, now=NOW).secret
    for method, path, body in [*PATHS, ("get", "/leads", None), ("post", "/leads", {"source": "manual"})]:
        address = "/api/v1" + path.format(lead)
        kind = {"content_type": "application/json"} if body is not None else {}
        for headers, status in [({}, 401), ({"X-API-Key": "fd_api_1"}, 401), ({"X-Widget-Token": widget}, 403)]:
            refused(getattr(client, method)(address, body, headers=headers, **kind), status)
    assert {name: rows for name, rows in written().items() if name != "AuditEvent"} == {
        name: rows for name, rows in before.items() if name != "AuditEvent"
    }


def test_a_suspended_business_is_told_so_everywhere(cast, program):
    lead = a_lead(program)
    cast.shop.status = BusinessStatus.SUSPENDED
    cast.shop.save()
    before = written()
    for method, path, body in [*PATHS, ("get", "/leads", None), ("get", "/deals", None)]:
        problem = refused(call(program, method, path.format(lead), body), 403)
        assert problem["detail"] == "Business is suspended"
    assert written() == before


def test_the_neighbours_ids_look_like_ids_that_never_were(program, neighbour):
    deal = a_deal(program, name="Sally Secret", phone="+15550100177")
    lead = done(program, "get", f"/deals/{deal}")["lead_id"]
    before = written()
    for method, path, body in PATHS:
        pk, what = (deal, "Deal") if path.startswith("/deals") else (lead, "Lead")
        theirs = refused(call(neighbour, method, path.format(pk), body), 404)
        never = refused(call(neighbour, method, path.format(987_654_321), body), 404)
        assert theirs["detail"] == never["detail"] == f"{what} not found"
        assert theirs | {"instance": ""} == never | {"instance": ""}
    for path, what in (("/leads", "lead"), ("/deals", "deal")):
        assert ids(neighbour, path) == []
        for pk in (lead, deal, 987_654_321):
            problem = refused(neighbour.get(path, {"before": pk}), 422)
            assert problem["errors"] == {"before": [f"There is no {what} with this id."]}
    assert ids(neighbour, "/leads", q="Sally") == ids(neighbour, "/leads", assigned="alice@example.com") == []
    assert written() == before


def test_a_merged_lead_is_not_found_and_the_kept_one_is_named(cast, program):
    first, second, third = a_lead(program), a_lead(program), a_lead(program)
    with only(cast.shop):
        for kept, dropped in ((second, first), (third, second)):
            merge_leads(
                kept=pipeline.find_lead(business=cast.shop, number=kept),
                dropped=pipeline.find_lead(business=cast.shop, number=dropped), user=cast.alice, now=NOW,
            )  # fmt: skip
    before = written()
    for merged in (first, second):
        for method, path, body in PATHS:
            if path.startswith("/leads"):
                problem = refused(call(program, method, path.format(merged), body), 404)
                assert problem["detail"] == f"Lead not found: it was merged into lead {third}."
    assert ids(program, "/leads") == [third]
    assert written() == before


# --- Moves -----------------------------------------------------------------------------------------------------------------


def test_every_move_the_table_does_not_have_is_refused_in_its_own_words(cast, program):
    """All pairs of stages, of leads and of deals, with no name out of a program in any sentence."""
    deal = a_deal(program)
    leads = {"transferred": done(program, "get", f"/deals/{deal}")["lead_id"]}
    for stage, way in [
        ("new", ()),
        ("contacted", ("contacted",)),
        ("qualified", ("contacted", "qualified")),
        ("lost", ("lost",)),
    ]:
        leads[stage] = a_lead(program)
        for step in way:
            done(program, "patch", f"/leads/{leads[stage]}/stage", {"new_stage": step})
    sentences = []
    for old in lifecycle.LEAD:
        number = leads[old]
        for new in lifecycle.LEAD:
            if new in lifecycle.LEAD[old] and new != "transferred":
                continue
            before = written()
            said = refused(call(program, "patch", f"/leads/{number}/stage", {"new_stage": new}), 400)["detail"]
            if old == "transferred":
                assert said == "Cannot change stage of a transferred lead"
            elif (old, new) == ("qualified", "transferred"):
                assert said == (
                    "A lead is transferred only by a transfer to sales, which checks its score and opens the deal."
                )
            else:
                assert said == f"Invalid transition from {old} to {new}"
            assert written() == before
            sentences.append(said)
    for old, following in pairwise(["new", "kyc", "agreement", "paid", ""]):
        for new in lifecycle.DEAL:
            if new not in lifecycle.DEAL[old]:
                before = written()
                said = refused(call(program, "patch", f"/deals/{deal}/stage", {"new_stage": new}), 400)["detail"]
                expected = "This deal is closed: paid." if old == "paid" else f"Invalid transition from {old} to {new}"
                assert said == expected
                assert written() == before
                sentences.append(said)
        if following:
            done(program, "patch", f"/deals/{deal}/stage", {"new_stage": following})
    other = a_deal(program)
    done(program, "patch", f"/deals/{other}/stage", {"new_stage": "lost"})
    for new in lifecycle.DEAL:
        said = refused(call(program, "patch", f"/deals/{other}/stage", {"new_stage": new}), 400)["detail"]
        assert said == "This deal is closed: lost."
        sentences.append(said)
    assert len(sentences) == 20 + 14 + 5
    assert not [said for said in sentences if re.search(r"Stage\b|[A-Z]{3,}|\w\.\w", said)]


# --- Coming in ---------------------------------------------------------------------------------------------------------------


def test_a_lead_with_a_contact_is_a_customer_without_permission_to_be_texted(cast, program):
    lead = a_lead(
        program, name=" Jane Doe ", phone="(555) 123-4567", email="jane@example.com", asked_for="A new boiler",
        notes="Met at the fair", event_id="evt_1",
    )  # fmt: skip
    detail = done(program, "get", f"/leads/{lead}")
    assert detail == {
        "id": lead, "source": "partner", "stage": "new", "business_domain": "first", "activity_count": 0, "ai_score": None,
        "contact": {"name": "Jane Doe", "phone": JANE, "email": "jane@example.com"}, "asked_for": "A new boiler",
        "status": "new", "assigned_to": None, "created_at": "2026-11-18T15:00:00Z",
        "stage_since": "2026-11-18T15:00:00Z", "last_activity_at": None, "outcome": None, "notes": "Met at the fair",
        "event_id": "evt_1", "lost_because": None, "closed_at": None, "assessment": None, "sale": None,
    }  # fmt: skip
    again = a_lead(program, phone="555 123 4567", name="J. Doe")
    assert done(program, "get", f"/leads/{again}")["contact"]["name"] == "Jane Doe"  # nobody is overwritten
    with only(cast.shop):
        assert Customer.objects.count() == 1
        assert Consent.objects.count() == 0
    nobody = a_lead(program, name=None, phone="", email=None, asked_for=None, notes="", event_id=None)
    assert done(program, "get", f"/leads/{nobody}")["contact"] is None


def test_what_cannot_be_read_of_a_lead_is_named(program):
    before, problems = written(), []
    for field, value, sentence in [
        ("phone", "12", "'12' is not a phone number we can reach. Write it like (555) 123-4567 or +15551234567."),
        ("phone", 5551234567, "Not a valid string."),
        ("phone", "x" * 65, "Ensure this field has no more than 64 characters."),
        ("email", "jane", "Enter a valid email address."),
        ("email", True, "Enter a valid email address."),
        ("name", {"first": "Jane"}, "Not a valid string."),
        ("name", "a\x00b", "Null characters are not allowed."),
        ("notes", "x" * 10_001, "Ensure this field has no more than 10000 characters."),
        ("asked_for", "x" * 201, "Ensure this field has no more than 200 characters."),
        ("event_id", "x" * 256, "Ensure this field has no more than 255 characters."),
        ("source", ["partner"], "\"['partner']\" is not a valid choice."),
        ("business_domain", 1, '"1" is not a valid choice.'),
    ]:
        problem = refused(program.post("/leads", {"source": "partner", field: value}), 422)
        assert problem["errors"] == {field: [sentence]}
        problems.append(problem["detail"])
    for body, status, sentence in [
        ("[]", 422, "body: Invalid data. Expected a dictionary, but got list."),
        ("null", 422, "body: No data provided"),
        ("{", 400, "JSON parse error - "),
        ('{"a": NaN}', 400, "JSON parse error - "),
        ("[" * 100_000, 400, "JSON parse error - nested too deeply"),
    ]:
        problems.append(refused(program.post("/leads", body), status)["detail"])
        assert problems[-1].startswith(sentence)
    problems.append(refused(program.post("/leads", "source=partner", kind="text/plain"), 415)["detail"])
    assert written() == before
    assert not [said for said in problems if re.search(r"(Source|Stage|Domain)\.", said)]


def test_the_same_lead_twice_is_one_lead(program, neighbour):
    body = {"source": "partner", "event_id": "evt_1", "phone": JANE}
    first = done(program, "post", "/leads", body, status=201)
    assert done(program, "post", "/leads", body, status=201) == first
    problem = refused(program.post("/leads", body | {"source": "manual"}), 409)
    assert problem["detail"] == (
        "event_id: “evt_1” was used before with another body. Send a new event_id for a new lead."
    )
    assert done(neighbour, "post", "/leads", body, status=201)["id"] != first["id"]
    plain = {"source": "scanner"}
    kept = program.post("/leads", plain, key="k1")
    again = program.post("/leads", plain, key="k1")
    assert (again.status_code, again.json()) == (201, kept.json())
    assert again["Idempotency-Replayed"] == "true"
    refused(program.post("/leads", plain | {"source": "manual"}, key="k1"), 422)
    lead = kept.json()["id"]
    noted = [program.post(f"/leads/{lead}/activities", {"text": "Called"}, key="k2").json() for _ in range(2)]
    assert noted[0] == noted[1]
    advice = [program.post(f"/leads/{lead}/analyze", b"", key="k3").json() for _ in range(2)]
    assert advice[0] == advice[1]
    with every_business():
        assert (Lead.objects.count(), LeadActivity.objects.count()) == (3, 1)
        assert Lead.objects.get(number=lead).assessments.count() == 1


def test_a_transfer_sent_twice_is_one_deal_and_a_refusal_leaves_its_key_free(program):
    lead = a_lead(program)
    refused(program.post(f"/leads/{lead}/transfer", b"", key="t"), 400)
    done(program, "post", f"/leads/{lead}/analyze", b"")
    for stage in ("contacted", "qualified"):
        done(program, "patch", f"/leads/{lead}/stage", {"new_stage": stage})
    answers = [program.post(f"/leads/{lead}/transfer", b"", key="t") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert [answer.status_code for answer in answers] == [200, 200]
    with every_business():
        assert Deal.objects.count() == 1


# --- Reading -----------------------------------------------------------------------------------------------------------------


def test_pages_go_on_where_the_last_one_ended(cast, program):
    """Three leads of one moment lie across the border of two pages; what comes in meanwhile disturbs nobody."""
    leads = []
    for minutes in (0, 1, 1, 1, 2):
        with time_machine.travel(NOW + timedelta(minutes=minutes), tick=False):
            leads.append(a_lead(program, source="manual", asked_for="Tea & cake"))
    newest_first = leads[::-1]
    assert ids(program, "/leads") == newest_first
    assert walk(program, "/leads", limit=2, source="manual", q="tea & c", stage="") == [
        newest_first[:2], newest_first[2:4], newest_first[4:],
    ]  # fmt: skip
    with time_machine.travel(NOW + timedelta(minutes=5), tick=False):
        late = a_lead(program)
    assert ids(program, "/leads", before=newest_first[1]) == newest_first[2:]
    assert ids(program, "/leads", limit=1) == [late]
    for minutes in range(3):
        done(
            program,
            "post",
            f"/leads/{late}/activities",
            {"text": "x", "at": f"2026-11-18T14:0{minutes // 2}:00Z"},
            status=201,
        )
    noted = [row["id"] for row in done(program, "get", f"/leads/{late}/activities")]
    assert walk(program, f"/leads/{late}/activities", limit=1) == [[pk] for pk in noted]
    deals = [a_deal(program) for _ in range(3)][::-1]
    assert walk(program, "/deals", limit=2) == [deals[:2], deals[2:]]


def test_filters_find_what_they_name(cast, program):
    by = person(cast.alice)
    with only(cast.shop):
        text = pipeline.add_lead(business=cast.shop, source=LeadSource.TEXT, by=by, now=NOW).number
    plain = a_lead(program, source="scanner", business_domain=None)
    jane = a_lead(program, name="Jane Doe", phone=JANE, email="jane@example.com")
    boiler = a_lead(program, business_domain="second", asked_for="New boiler")
    done(program, "post", f"/leads/{jane}/assign", {"email": "BOB@example.com"})
    done(program, "patch", f"/leads/{boiler}/stage", {"new_stage": "contacted"})
    for lead in (jane, plain):
        done(program, "post", f"/leads/{lead}/analyze", b"")
    for query, found in [
        ({"stage": "contacted"}, [boiler]),
        ({"source": "text"}, [text]),
        ({"source": "purchase"}, []),
        ({"business_domain": "first"}, [jane]),
        ({"assigned": "bob@example.com"}, [jane]),
        ({"assigned": "nobody"}, [boiler, plain, text]),
        ({"assigned": "charlie@example.com"}, []),
        ({"min_score": "0.6"}, [jane]),
        ({"min_score": "0.1"}, [jane, plain]),
        ({"min_score": "0.61"}, []),
        ({"q": "jane d"}, [jane]),
        ({"q": "1234567"}, [jane]),
        ({"q": "BOILER"}, [boiler]),
        ({"q": "%"}, []),
        ({"stage": "new", "source": "scanner", "unknown": "x"}, [plain]),
        ({"stage": "", "q": " "}, [boiler, jane, plain, text]),
    ]:
        assert ids(program, "/leads", **query) == found, query
    deal = a_deal(program)
    assert ids(program, "/deals", stage="new", owner="nobody") == [deal]
    assert ids(program, "/deals", stage="kyc") == ids(program, "/deals", owner="bob@example.com") == []


def test_filters_that_cannot_be_are_refused(program):
    lead = a_lead(program)
    for path, query, sentence in [
        ("/leads", {"stage": "NEW"}, '"NEW" is not a valid choice.'),
        ("/leads", {"source": "fax"}, '"fax" is not a valid choice.'),
        ("/leads", {"business_domain": "none"}, '"none" is not a valid choice.'),
        ("/leads", {"assigned": "bob"}, "Send an e-mail address, or “nobody”."),
        ("/leads", {"min_score": "high"}, "A valid number is required."),
        ("/leads", {"min_score": "NaN"}, "A valid number is required."),
        ("/leads", {"min_score": "1.01"}, "Ensure this value is less than or equal to 1."),
        ("/leads", {"min_score": "-0.1"}, "Ensure this value is greater than or equal to 0."),
        ("/leads", {"q": "x" * 81}, "Ensure this field has no more than 80 characters."),
        ("/leads", {"limit": "0"}, "Ensure this value is greater than or equal to 1."),
        ("/leads", {"limit": "201"}, "Ensure this value is less than or equal to 200."),
        ("/leads", {"before": "x"}, "A valid integer is required."),
        ("/leads", {"before": str(10**30)}, "There is no lead with this id."),
        ("/leads", {"before": "0"}, "There is no lead with this id."),
        ("/deals", {"before": "-1"}, "There is no deal with this id."),
        ("/deals", {"stage": "qualified"}, '"qualified" is not a valid choice.'),
        ("/deals", {"owner": "me"}, "Send an e-mail address, or “nobody”."),
        (f"/leads/{lead}/activities", {"before": "7"}, "Must be a valid UUID."),
        (f"/leads/{lead}/activities", {"before": "0" * 32}, "This lead has no activity with this id."),
    ]:
        problem = refused(program.get(path, query), 422)
        assert problem["errors"] == {next(iter(query)): [sentence]}, query


def test_the_story_of_a_lead_can_be_read_from_its_answers(cast, program):
    with only(cast.shop):
        Salesperson.objects.create(business=cast.shop, user=cast.bob, created_at=NOW)
    lead = a_lead(program, name="Jane Doe")
    done(program, "post", f"/leads/{lead}/analyze", b"")
    with time_machine.travel(NOW + timedelta(seconds=90), tick=False):
        moved = done(program, "patch", f"/leads/{lead}/stage", {"new_stage": "contacted", "why": "They called"})
        assert set(moved) == {"id", "source", "stage", "business_domain", "activity_count", "ai_score"}
    with time_machine.travel(NOW + timedelta(hours=1), tick=False):
        done(program, "patch", f"/leads/{lead}/stage", {"new_stage": "qualified"})
        deal = done(program, "post", f"/leads/{lead}/transfer", b"")["sale_id"]
        done(program, "patch", f"/deals/{deal}/stage", {"new_stage": "lost", "why": "Too dear"})
    by = f"API key {program.prefix}"
    first = {
        "of": "lead",
        "from": "new",
        "to": "contacted",
        "by": by,
        "at": "2026-11-18T15:01:30Z",
        "why": "They called",
    }
    history = done(program, "get", f"/leads/{lead}/history")
    assert history[0] == first | {"seconds_in_stage": 90}
    assert [(row["of"], row["from"], row["to"], row["why"], row["seconds_in_stage"]) for row in history[1:]] == [
        ("lead", "contacted", "qualified", None, 3_510),
        ("lead", "qualified", "transferred", "Score 0.60", 0),
        ("deal", "new", "lost", "Too dear", 0),
    ]
    detail = done(program, "get", f"/leads/{lead}")
    assert (detail["outcome"], detail["closed_at"], detail["stage_since"]) == (
        "lost", "2026-11-18T16:00:00Z", "2026-11-18T16:00:00Z",
    )  # fmt: skip
    assert detail["sale"] == {"id": deal, "stage": "lost", "value": None, "owner": None}
    assert detail["assessment"] == {
        "score": 0.6, "recommendation": "transfer_to_sales", "baseline": 0.6, "reading": 0.0, "silence": 0.0,
        "reason": "Partner leads have higher conversion rates. | Clear business domain identified. | Low engagement.",
        "factors": [
            {"name": "source", "points": 0.3, "text": "Partner leads have higher conversion rates."},
            {"name": "domain", "points": 0.3, "text": "Clear business domain identified."},
            {"name": "activity", "points": 0.0, "text": "Low engagement."},
        ],
        "evidence": [], "summary": "", "model": None, "created_at": "2026-11-18T15:00:00Z",
    }  # fmt: skip


# --- Working on it ---------------------------------------------------------------------------------------------------------


def test_only_what_is_sent_changes(program):
    lead = a_lead(program, business_domain=None, notes="From the fair")
    before = done(program, "get", f"/leads/{lead}")
    assert done(program, "patch", f"/leads/{lead}", {}) == before
    detail = done(
        program, "patch", f"/leads/{lead}", {"business_domain": "third", "asked_for": "Tiles", "stage": "lost"}
    )
    assert detail == before | {"business_domain": "third", "asked_for": "Tiles"}
    jane = {"name": "Jane Doe", "phone": "(555) 123-4567", "email": "jane@example.com"}
    detail = done(program, "patch", f"/leads/{lead}", jane | {"notes": ""})
    assert (detail["contact"], detail["notes"]) == (jane | {"phone": JANE}, "")
    detail = done(program, "patch", f"/leads/{lead}", {"name": "Jane Dow", "business_domain": None})
    assert (detail["contact"]["name"], detail["contact"]["phone"], detail["business_domain"]) == (
        "Jane Dow",
        JANE,
        None,
    )
    other = a_lead(program, phone="+15551230000")
    unchanged = written()
    problem = refused(call(program, "patch", f"/leads/{other}", {"phone": JANE, "notes": "x"}), 409)
    assert problem["detail"] == "A customer with this phone number is already on file."
    for body, errors in [
        ({"phone": "12"}, {"phone"}),
        ({"phone": ""}, {"phone"}),
        ({"name": None}, {"name"}),
        ({"email": "jane@"}, {"email"}),
        ({"business_domain": "fourth", "notes": 5}, {"business_domain", "notes"}),
    ]:
        assert set(refused(call(program, "patch", f"/leads/{lead}", body), 422)["errors"]) == errors
    assert written() == unchanged


def test_what_was_done_counts(program):
    lead = a_lead(program)
    call_made = done(
        program, "post", f"/leads/{lead}/activities",
        {"kind": "call", "text": "Wants it in May", "at": "2026-11-18T08:30:00-06:00"}, status=201,
    )  # fmt: skip
    assert call_made == {
        "id": call_made["id"], "kind": "call", "text": "Wants it in May", "at": "2026-11-18T14:30:00Z",
        "by": f"API key {program.prefix}", "activity_count": 1,
    }  # fmt: skip
    soon = {"text": "Soon", "at": "2030-01-01T00:00"}
    early = done(program, "post", f"/leads/{lead}/activities", soon, status=201)
    assert (early["kind"], early["at"], early["activity_count"]) == ("note", "2026-11-18T15:00:00Z", 2)
    listed = done(program, "get", f"/leads/{lead}/activities")
    assert listed == [
        {name: value for name, value in row.items() if name != "activity_count"} for row in (early, call_made)
    ]
    detail = done(program, "get", f"/leads/{lead}")
    assert (detail["activity_count"], detail["last_activity_at"]) == (2, "2026-11-18T15:00:00Z")
    before = written()
    for body, errors in [
        ({}, {"text": ["Say what is to be noted."]}),
        ({"kind": "note", "text": " "}, {"text": ["Say what is to be noted."]}),
        ({"kind": "fax"}, {"kind": ['"fax" is not a valid choice.']}),
        ({"kind": "call", "at": "1999-12-31T23:59:59Z"}, {"at": ["Send a time after the year 2000."]}),
        ({"text": "x" * 10_001}, {"text": ["Ensure this field has no more than 10000 characters."]}),
    ]:
        assert refused(call(program, "post", f"/leads/{lead}/activities", body), 422)["errors"] == errors
    for at in ("yesterday", "0001-01-01T00:00:00+14:00", "2026-13-01T00:00:00Z", 5, True, "9999-12-31T23:59:59-14:00x"):
        problem = refused(call(program, "post", f"/leads/{lead}/activities", {"kind": "call", "at": at}), 422)
        assert set(problem["errors"]) == {"at"}
    assert written() == before


def test_a_lead_is_given_to_somebody_of_the_team_and_to_nobody_else(cast, program):
    vera = User.objects.create_user("vera@example.com", "correct horse battery", name="Vera Voss")
    add_member(business=cast.shop, user=vera, role=Role.VIEWER)
    lead = a_lead(program)
    assert (
        done(program, "post", f"/leads/{lead}/assign", {"email": "Bob@Example.com"})["assigned_to"] == "bob@example.com"
    )
    before = written()
    for email, sentence in [
        ("charlie@example.com", NOBODY_HERE),
        ("nobody@example.com", NOBODY_HERE),
        ("vera@example.com", NOBODY_HERE),
        ("bob", "Enter a valid email address."),
        (5, "Enter a valid email address."),
        ("", "This field may not be blank."),
    ]:
        problem = refused(call(program, "post", f"/leads/{lead}/assign", {"email": email}), 422)
        assert problem["errors"] == {"email": [sentence]}
    assert refused(call(program, "post", f"/leads/{lead}/assign", {}), 422)["errors"] == {
        "email": ["This field is required."]
    }
    assert written() == before
    assert done(program, "post", f"/leads/{lead}/assign", {"email": None})["assigned_to"] is None


def test_a_deal_is_read_valued_and_moved(cast, program):
    with only(cast.shop):
        Salesperson.objects.create(business=cast.shop, user=cast.bob, created_at=NOW)
    deal = a_deal(program, name="Jane Doe", phone=JANE)
    detail = done(program, "get", f"/deals/{deal}")
    assert detail == {
        "id": deal, "stage": "new", "value": None, "owner": None, "lead_id": detail["lead_id"], "expected_on": None,
        "created_at": "2026-11-18T15:00:00Z", "stage_since": "2026-11-18T15:00:00Z", "accepted_at": None,
        "closed_at": None, "lost_because": None, "contact": {"name": "Jane Doe", "phone": JANE, "email": ""},
        "business_domain": "first", "score": 0.6, "offer": {"to": "bob@example.com", "until": "2026-11-18T15:15:00Z"},
    }  # fmt: skip
    assert done(program, "get", "/deals") == [{name: detail[name] for name in list(detail)[:11]}]
    sent = {"value": "1200.5", "expected_on": "2026-12-24", "stage": "paid", "owner": "alice@example.com"}
    valued = done(program, "patch", f"/deals/{deal}", sent)
    assert valued == detail | {"value": "1200.50", "expected_on": "2026-12-24"}
    assert done(program, "patch", f"/deals/{deal}", {"value": None})["value"] is None
    before = written()
    for body, sentence in [
        ({"value": -1}, "Ensure this value is greater than or equal to 0."),
        ({"value": "1.005"}, "Ensure that there are no more than 2 decimal places."),
        ({"value": "12345678901"}, "Ensure that there are no more than 10 digits before the decimal point."),
        ({"value": "much"}, "A valid number is required."),
        ({"expected_on": "soon"}, "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."),
        ({"expected_on": 5}, "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."),
    ]:
        problem = refused(call(program, "patch", f"/deals/{deal}", body), 422)
        assert problem["errors"] == {next(iter(body)): [sentence]}
    for name in ("abc", "1.0"):
        problem = refused(program.get(f"/deals/{name}"), 422)
        assert problem["errors"] == {"deal_id": ["A valid integer is required."]}
    for number in ("0", "-1", "99999999999", str(10**30)):
        assert refused(program.get(f"/deals/{number}"), 404)["detail"] == "Deal not found"
    refused(call(program, "patch", f"/deals/{deal}/stage", {"new_stage": "qualified"}), 422)
    assert written() == before
    lost = done(program, "patch", f"/deals/{deal}/stage", {"new_stage": "lost", "why": "Too dear"})
    assert (lost["stage"], lost["lost_because"], lost["closed_at"], lost["offer"]) == (
        "lost", "Too dear", "2026-11-18T15:00:00Z", None,
    )  # fmt: skip


# --- What it costs -----------------------------------------------------------------------------------------------------------


def test_the_quick_ones_stay_quick(cast, program):
    """Statements, the key's own among them, without those that only frame a transaction."""
    lead = a_lead(program)
    with only(cast.shop):
        AssignmentRule.objects.create(business=cast.shop, source="partner", assignee=cast.bob, created_at=NOW)
    plain, jane = {"source": "manual"}, {"source": "manual", "phone": JANE, "notes": "Hello"}
    for count, ask in [
        (3, lambda: done(program, "post", "/leads", plain, status=201)),  # key, rules, lead
        (6, lambda: done(program, "post", "/leads", jane, status=201)),  # the customer looked for, made and noted, too
        (4, lambda: done(program, "post", f"/leads/{lead}/analyze", b"")),  # key, lead and lock, newest, new and lead
        # key, lead, its lock, the move, its row
        (5, lambda: done(program, "patch", f"/leads/{lead}/stage", {"new_stage": "contacted"})),
    ]:
        with CaptureQueriesContext(connection) as captured:
            ask()
        sql = [query["sql"] for query in captured.captured_queries if "SAVEPOINT" not in query["sql"]]
        assert len(sql) == count, "\n".join(sql)


def test_lists_ask_as_often_for_many_as_for_one(cast, program):
    def asked(path: str, **query: Any) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert program.get(path, query).status_code == 200
        return len(captured)

    a_deal(program, name="A", phone=JANE)
    lead = a_lead(program)
    done(program, "post", f"/leads/{lead}/activities", {"text": "x"}, status=201)
    paths = ("/leads", "/deals", f"/leads/{lead}/activities", f"/leads/{lead}/history", f"/leads/{lead}")
    few = [asked(path) for path in paths]
    for n in range(3):
        a_deal(program, name=f"N{n}", phone=f"+1555123000{n}")
        done(program, "post", f"/leads/{lead}/activities", {"text": "x"}, status=201)
    assert [asked(path) for path in paths] == few
    assert few[:4] == [2, 2, 3, 3]
    assert asked("/leads", before=lead, limit=1) == 3
