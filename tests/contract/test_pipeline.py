"""The pipeline API as documented: every exchange a client may rely on, on all three doors, with and without the slash."""

from __future__ import annotations

from decimal import Decimal

import pytest
import time_machine

from crm.scoping import every_business, only
from leads import scoring
from leads.models import Deal, Lead, StageChange
from tests.conftest import NOW
from tests.marketplace.programs import Program, refused

DOORS = [f"{door}{{}}{slash}" for door in ("/api/v1", "/v1", "") for slash in ("", "/")]
NO_SCORE = "Lead AI score must be evaluated and >= 0.6."
NO_DOMAIN = "Lead must have a business domain to be transferred."
TRANSFERRED = "Cannot change stage of a transferred lead"
BY_TRANSFER_ONLY = "A lead is transferred only by a transfer to sales, which checks its score and opens the deal."


@pytest.fixture(autouse=True)
def _at_nine():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def program(cast) -> Program:
    return Program(cast.shop, door="")


def a_lead(program, **fields) -> int:
    return program.said("/leads/", {"source": "partner", "business_domain": "first"} | fields, status=201)["id"]


def moved(program, lead: int, *stages: str) -> None:
    for stage in stages:
        answer = program.post(f"/leads/{lead}/stage", {"new_stage": stage}, method="patch")
        assert (answer.status_code, answer.json()["stage"]) == (200, stage)


def why_not(program, lead: int, stage: str = "") -> str:
    """The sentence that refuses a move, or a transfer when no stage is named; nothing changed."""
    with every_business():
        before = (list(Lead.objects.order_by("pk").values()), Deal.objects.count(), StageChange.objects.count())
    if stage:
        answer = program.post(f"/leads/{lead}/stage", {"new_stage": stage}, method="patch")
    else:
        answer = program.post(f"/leads/{lead}/transfer", b"")
    problem = refused(answer, 400)
    assert problem["title"] == "Bad Request"
    with every_business():
        assert (list(Lead.objects.order_by("pk").values()), Deal.objects.count(), StageChange.objects.count()) == before
    return str(problem["detail"])


@pytest.mark.parametrize("door", DOORS)
def test_the_documented_way_of_a_lead_at_this_door(program, door):
    lead = program.said(door.format("/leads"), {"source": "partner", "business_domain": "first"}, status=201)
    new = {
        "id": lead["id"], "source": "partner", "stage": "new", "business_domain": "first", "activity_count": 0,
        "ai_score": None,
    }  # fmt: skip
    assert lead == new
    transfer, stage = (door.format(f"/leads/{lead['id']}/{what}") for what in ("transfer", "stage"))
    assert refused(program.post(transfer, b""), 400) == {
        "type": "about:blank", "title": "Bad Request", "status": 400, "detail": NO_SCORE, "instance": transfer,
    }  # fmt: skip
    advice = {
        "score": 0.6,
        "recommendation": "transfer_to_sales",
        "reason": "Partner leads have higher conversion rates. | Clear business domain identified. | Low engagement.",
    }
    answer = program.post(door.format(f"/leads/{lead['id']}/analyze"), b"")
    assert (answer.status_code, answer.json()) == (200, advice)
    assert b'"score":0.6,' in answer.content
    problem = refused(program.post(transfer, b""), 400)
    assert problem["detail"] == "Invalid transition from new to transferred"
    for step in ("contacted", "qualified"):
        answer = program.post(stage, {"new_stage": step}, method="patch")
        assert (answer.status_code, answer.json()) == (200, new | {"stage": step, "ai_score": 0.6})
    answer = program.post(transfer, b"")
    assert (answer.status_code, answer.json()) == (
        200,
        {"message": "Lead transferred to sales successfully", "sale_id": the_deal().number, "sale_stage": "new"},
    )
    assert refused(program.post(transfer, b""), 400)["detail"] == TRANSFERRED
    assert refused(program.post(stage, {"new_stage": "lost"}, method="patch"), 400)["detail"] == TRANSFERRED
    assert program.post(door.format(f"/leads/{lead['id']}/analyze"), b"").json() == advice
    assert program.said(door.format(f"/leads/{lead['id']}"))["sale"]["id"] == the_deal().number
    assert [row["id"] for row in program.said(door.format("/leads"))] == [lead["id"]]


def the_deal() -> Deal:
    """The one there is."""
    with every_business():
        return Deal.objects.get()


def test_what_is_sent_of_what_we_count_ourselves_has_no_effect(program):
    sent = {"source": "manual", "activity_count": 50, "stage": "qualified", "ai_score": 1, "id": 10**9, "anything": []}
    lead = program.said("/leads/", sent, status=201)
    assert lead == {
        "id": lead["id"], "source": "manual", "stage": "new", "business_domain": None, "activity_count": 0,
        "ai_score": None,
    }  # fmt: skip
    assert lead["id"] != 10**9
    assert (
        program.said("/leads/", {"source": "scanner", "business_domain": None}, status=201)["business_domain"] is None
    )


def test_a_lead_without_a_line_of_business_is_not_transferred(program):
    lead = a_lead(program, source="manual", business_domain=None)
    assert program.post(f"/leads/{lead}/analyze", b"").json() == {
        "score": 0.2,
        "recommendation": "nurture_lead",
        "reason": "Manually added leads show active interest. | Missing business domain lowers probability."
        " | Low engagement.",
    }
    assert why_not(program, lead) == NO_DOMAIN
    moved(program, lead, "lost")
    assert why_not(program, lead, "contacted") == "Invalid transition from lost to contacted"
    assert program.post(f"/leads/{lead}/analyze", b"").status_code == 200


def test_nobody_is_transferred_around_the_checks(program):
    lead = a_lead(program, source="scanner", business_domain="third")
    moved(program, lead, "contacted", "qualified")
    assert why_not(program, lead, "transferred") == BY_TRANSFER_ONLY
    assert why_not(program, lead) == NO_SCORE  # never analysed
    assert program.post(f"/leads/{lead}/analyze", b"").json()["score"] == 0.4
    assert why_not(program, lead) == NO_SCORE  # and too low


def test_the_checks_of_a_transfer_come_in_the_documented_order(cast, program):
    """First the line of business, then the score, then the stage; each is the first that is wrong."""
    lead = a_lead(program, business_domain=None)
    assert why_not(program, lead) == NO_DOMAIN
    with only(cast.shop):
        Lead.objects.filter(number=lead).update(business_domain="first")
    assert why_not(program, lead) == NO_SCORE
    program.post(f"/leads/{lead}/analyze", b"")
    assert why_not(program, lead) == "Invalid transition from new to transferred"
    moved(program, lead, "lost")
    assert why_not(program, lead) == "Invalid transition from lost to transferred"


def test_all_thirty_scores_and_what_they_recommend(cast, program):
    """Six kinds of leads by five counts; what stands at 0.6 exactly is recommended for transfer."""
    grid = {
        ("scanner", None): (0.1, 0.3, 0.5), ("scanner", "second"): (0.4, 0.6, 0.8),
        ("partner", None): (0.3, 0.5, 0.7), ("partner", "second"): (0.6, 0.8, 1.0),
        ("manual", None): (0.2, 0.4, 0.6), ("manual", "second"): (0.5, 0.7, 0.9),
    }  # fmt: skip
    engagement = ("Low engagement.", "Moderate engagement.", "High engagement rate (>10 messages).")
    for (source, domain), scores in grid.items():
        lead = a_lead(program, source=source, business_domain=domain)
        for count, step in ((0, 0), (3, 0), (4, 1), (10, 1), (11, 2)):
            with only(cast.shop):
                Lead.objects.filter(number=lead).update(activity_count=count)
            advice = program.post(f"/leads/{lead}/analyze", b"").json()
            assert advice["score"] == scores[step], (source, domain, count)
            assert advice["recommendation"] == ("transfer_to_sales" if scores[step] >= 0.6 else "nurture_lead")
            assert advice["reason"].split(" | ")[2] == engagement[step]
            with only(cast.shop):
                assert Lead.objects.get(number=lead).score == Decimal(str(scores[step])).quantize(Decimal("0.01"))
    assert Decimal("0.6") == scoring.GATE


def test_an_id_of_nobody_is_not_found_and_what_is_no_id_is_refused(program):
    for address, method, body in [
        ("/leads/{}", "get", None),
        ("/leads/{}/stage", "patch", {"new_stage": "contacted"}),
        ("/leads/{}/analyze", "post", b""),
        ("/leads/{}/transfer", "post", b""),
    ]:
        for lead in ("999999", "0", "-1", "99999999999", str(10**30)):
            path = address.format(lead)
            answer = program.get(path) if body is None else program.post(path, body, method=method)
            assert refused(answer, 404)["detail"] == "Lead not found"
        for lead in ("abc", "1.0", "1e3", "0x1", "١", "1 "):
            path = address.format(lead)
            answer = program.get(path) if body is None else program.post(path, body, method=method)
            assert refused(answer, 422)["errors"] == {"lead_id": ["A valid integer is required."]}


def test_an_id_of_more_digits_than_anybody_reads_is_not_found(program):
    assert refused(program.get("/leads/" + "9" * 5_000), 404)["detail"] == "Lead not found"


def test_a_source_line_or_stage_that_is_not_documented_is_refused(program):
    for body, errors in [
        ({}, {"source": ["This field is required."]}),
        ({"source": None}, {"source": ["This field may not be null."]}),
        ({"source": "PARTNER"}, {"source": ['"PARTNER" is not a valid choice.']}),
        ({"source": "purchase"}, {"source": ['"purchase" is not a valid choice.']}),
        ({"source": "text"}, {"source": ['"text" is not a valid choice.']}),
        ({"source": "partner", "business_domain": "fourth"}, {"business_domain": ['"fourth" is not a valid choice.']}),
        ({"source": "partner", "business_domain": ""}, {"business_domain": ['"" is not a valid choice.']}),
    ]:
        assert refused(program.post("/leads/", body), 422)["errors"] == errors
    with every_business():
        assert Lead.objects.count() == 0
    lead = a_lead(program)
    for body, sentence in [
        ({}, "This field is required."),
        ({"new_stage": None}, "This field may not be null."),
        ({"new_stage": "CONTACTED"}, '"CONTACTED" is not a valid choice.'),
        ({"new_stage": 1}, '"1" is not a valid choice.'),
    ]:
        problem = refused(program.post(f"/leads/{lead}/stage", body, method="patch"), 422)
        assert problem["errors"] == {"new_stage": [sentence]}


def test_other_methods_are_refused(program):
    lead = a_lead(program)
    for path, method, allowed in [
        ("/leads/", "put", "GET, POST, HEAD, OPTIONS"),
        (f"/leads/{lead}", "delete", "GET, PATCH, HEAD, OPTIONS"),
        (f"/leads/{lead}/stage", "post", "PATCH, OPTIONS"),
        (f"/leads/{lead}/analyze", "put", "POST, OPTIONS"),
    ]:
        answer = program.post(path, {}, method=method)
        assert refused(answer, 405)["detail"] == f'Method "{method.upper()}" not allowed.'
        assert answer["Allow"] == allowed
