"""The public API's manners: clear refusals that write nothing, a true schema, fair throttles, honest health."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import time_machine
import yaml
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.db import InterfaceError, OperationalError
from django.test import Client
from django.urls import get_resolver
from redis.exceptions import ConnectionError as RedisAway

from booking.models import Appointment
from config import health
from crm.api_auth import PerKeyThrottle
from crm.api_keys import issue_key
from crm.enums import KeyKind
from crm.models import Activity, Business, Customer, IdempotencyKey, Message, SecurityEvent, Task
from crm.scoping import every_business
from leads.models import Lead, Proposal
from tests.conftest import NOW, open_shop

JANE = "+15551234567"
LEAD = {
    "event_id": "evt_1",
    "tenant_id": "t_acme",
    "name": "Jane Doe",
    "phone": JANE,
    "service": "AC Repair",
    "notes": "no cooling",
}
CALLBACK = {"message_id": "msg_" + "0" * 32, "from_phone": JANE, "body": "yes"}
CHAT = {"from_phone": JANE, "text": "need ac repair asap"}
BODIES = {"/lead": LEAD, "/lead/propose": LEAD, "/sms/callback": CALLBACK, "/chat/inbound": CHAT, "/chat/reply": CHAT}
# The longest each field may be, in characters.
LENGTHS = {
    "event_id": 255,
    "tenant_id": 64,
    "name": 120,
    "phone": 64,
    "service": 80,
    "notes": 2_000,
    "message_id": 64,
    "from_phone": 64,
    "body": 1_600,
    "text": 1_600,
}
SCHEMA = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


@pytest.fixture(autouse=True)
def _at_nine():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def acme(db) -> Business:
    return open_shop("t_acme", name="Acme Air", number="+15552000003", staff=1)


@pytest.fixture
def written(acme):
    """Call it for the number of rows of everything intake writes."""

    def count() -> dict[str, int]:
        models = (Customer, Lead, Proposal, Appointment, Task, Activity, Message, IdempotencyKey)
        with every_business():
            return {model.__name__: model.objects.count() for model in models}

    return count


def required(path: str) -> list[str]:
    return [field for field in BODIES[path] if field != "notes"]


def post(path: str, body: object, **headers: str):
    return Client(headers=headers).post(path, body, content_type="application/json")


def refused(response, status: int) -> dict[str, object]:
    """The problem, checked to be one."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert (problem["type"], problem["status"], problem["instance"]) == (
        "about:blank",
        status,
        response.request["PATH_INFO"],
    )
    assert problem["detail"]
    assert "Traceback" not in str(problem)
    return problem


# --- Bodies that cannot be used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BODIES)
def test_a_missing_field_is_named(written, path):
    before = written()
    for field in required(path):
        problem = refused(post(path, {name: value for name, value in BODIES[path].items() if name != field}), 422)
        assert problem["errors"] == {field: ["This field is required."]}
        assert problem["detail"] == f"{field}: This field is required."
    problem = refused(post(path, b""), 422)
    assert problem["errors"] == {field: ["This field is required."] for field in required(path)}
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_an_empty_field_is_named(written, path):
    before = written()
    for field in required(path):
        for empty in ("", "   ", "\t\n"):
            problem = refused(post(path, BODIES[path] | {field: empty}), 422)
            assert problem["errors"] == {field: ["This field may not be blank."]}
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_what_is_not_text_is_refused(written, path):
    before = written()
    for field in BODIES[path]:
        for value in (5, 1.5, True, ["a"], {"a": "b"}):
            assert refused(post(path, BODIES[path] | {field: value}), 422)["errors"] == {field: ["Not a valid string."]}
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_too_long_a_text_is_refused_with_its_limit(written, path):
    before = written()
    for field in BODIES[path]:
        for length in (LENGTHS[field] + 1, 10_000):
            problem = refused(post(path, BODIES[path] | {field: "x" * length}), 422)
            assert problem["errors"] == {field: [f"Ensure this field has no more than {LENGTHS[field]} characters."]}
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_what_no_text_column_can_hold_is_refused(written, path):
    before = written()
    for character, sentence in [
        ("\x00", "Null characters are not allowed."),
        ("\ud800", "Surrogate characters are not allowed: U+D800."),
    ]:
        for field in BODIES[path]:
            body = json.dumps(BODIES[path] | {field: f"a{character}b"})
            assert refused(post(path, body), 422)["errors"] == {field: [sentence]}
    assert written() == before


@pytest.mark.parametrize(
    ("path", "field"),
    [("/lead", "phone"), ("/lead/propose", "phone"), ("/chat/inbound", "from_phone"), ("/chat/reply", "from_phone")],
)
def test_an_impossible_number_is_refused_with_how_to_write_it(written, path, field):
    before = written()
    for phone, sentence in [
        ("12", "'12' is not a phone number we can reach"),
        ("call me", "'call me' is not a phone number we can reach"),
        ("+999", "'+999' is not a phone number we can reach"),
        ("123-4567", "'123-4567' has no area code"),
    ]:
        problem = refused(post(path, BODIES[path] | {field: phone}), 422)
        assert problem["errors"] == {field: [f"{sentence}. Write it like (555) 123-4567 or +15551234567."]}
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_is_no_object_is_refused(written, path):
    before = written()
    for body, sentence in [
        ("[]", "Invalid data. Expected a dictionary, but got list."),
        ('"text"', "Invalid data. Expected a dictionary, but got str."),
        ("5", "Invalid data. Expected a dictionary, but got int."),
        ("null", "No data provided"),
    ]:
        assert refused(post(path, body), 422)["detail"] == f"body: {sentence}"
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_is_no_json_is_refused(written, path):
    before = written()
    too_deep = [b"[" * 100_000, b'{"a":' * 50_000]
    for body in (b"{", b"{'event_id': 1}", b"event_id=evt_1", b'{"a": NaN}', b"\xff\xfe{}", *too_deep):
        assert refused(post(path, body), 400)["detail"].startswith("JSON parse error - ")
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_another_kind_of_body_is_refused(written, path):
    before = written()
    for kind in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
    ):
        problem = refused(Client().post(path, json.dumps(BODIES[path]), content_type=kind), 415)
        assert problem["detail"] == f'Unsupported media type "{kind}" in request.'
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_an_over_large_body_is_refused_unread(written, path):
    before = written()
    body = json.dumps(BODIES[path] | {"padding": "x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
    assert refused(post(path, body), 413)["detail"] == "The body is too large. Send at most 1,000,000 bytes."
    assert written() == before


@pytest.mark.parametrize("path", BODIES)
def test_another_method_is_refused(acme, path):
    response = Client().get(path)
    assert refused(response, 405)["detail"] == 'Method "GET" not allowed.'
    assert response["Allow"] == "POST, OPTIONS"


def test_no_spelling_of_a_business_breaks_the_search(written):
    before = written()
    for tenant in ("0-" + "0" * 31, "{" + "0" * 32 + "}", "ZZZ", "T_ACME", "t_acme%00", "../t_acme", "' OR 1=1 --"):
        assert set(refused(post("/lead", LEAD | {"tenant_id": tenant}), 404)["errors"]) == {"tenant_id"}
    assert written() == before


def test_odd_but_honest_text_is_kept_as_it_is(acme):
    name = "Zoë “Zed” O'Neil-Łódź 李 \U0001f600"
    assert post("/lead", LEAD | {"name": f"  {name} "}).json()["customer_name"] == name
    with every_business():
        assert Customer.objects.get().name == name


def test_a_nul_in_an_address_is_refused(acme):
    assert Client().get("/jobs?before=%00").status_code == 400


# --- Throttles --------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(monkeypatch) -> None:
    monkeypatch.setattr(PerKeyThrottle, "THROTTLE_RATES", {"key": "6/min", "anonymous": "3/min"})


def test_open_intake_is_throttled_per_address_and_says_when_to_come_back(acme, strict):
    def lead(n: int, address: str = "192.0.2.1"):
        return Client(REMOTE_ADDR=address).post(
            "/lead", LEAD | {"event_id": f"evt_{n}"}, content_type="application/json"
        )

    assert [lead(n).status_code for n in range(3)] == [200, 200, 200]
    response = lead(3)
    assert refused(response, 429)["detail"] == "Too many requests. Try again in 61 seconds."
    assert response["Retry-After"] == "61"
    assert lead(4, "192.0.2.2").status_code == 200
    with every_business():
        assert Lead.objects.count() == 4
    with time_machine.travel(NOW.replace(minute=1), tick=False):
        assert lead(3).status_code == 200
    event = SecurityEvent.objects.get()
    assert (event.kind, event.path, event.count) == ("rate_limit_blocked", "/lead", 1)


def test_the_three_doors_share_one_throttle(acme, strict):
    answers = [
        post(f"{door}/lead", LEAD | {"event_id": f"evt_{n}"}).status_code
        for n, door in enumerate(["/api/v1", "/v1", "", ""])
    ]
    assert answers == [200, 200, 200, 429]


def test_a_key_has_a_rate_of_its_own(acme, strict):
    secret = issue_key(business=acme, kind=KeyKind.API, now=NOW).secret
    for n in range(3):
        post("/lead", LEAD | {"event_id": f"evt_{n}"})
    with_key = [post("/lead", LEAD | {"event_id": f"evt_k{n}"}, **{"X-API-Key": secret}).status_code for n in range(7)]
    assert with_key == [200] * 6 + [429]


def test_with_the_cache_away_nobody_is_turned_away(acme, strict, monkeypatch):
    def away(*_args: object, **_fields: object) -> None:
        raise RedisAway("Connection refused.")

    monkeypatch.setattr(cache._cache, "get_client", away)
    assert [post("/lead", LEAD | {"event_id": f"evt_{n}"}).status_code for n in range(5)] == [200] * 5


# --- Health -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
def test_liveness_asks_nobody(path, monkeypatch):
    """No database is unlocked for this test: a query would raise."""
    monkeypatch.setattr(health, "Redis", None)
    response = Client().get(path)
    assert (response.status_code, response.json()) == (200, {"ok": True, "status": "ok"})


@pytest.mark.parametrize("path", ["/readyz", "/readyz/"])
def test_readiness_asks_postgres_and_redis(db, path):
    response = Client().get(path)
    assert (response.status_code, response.json()) == (
        200,
        {"ok": True, "status": "ok", "database": True, "redis": True},
    )


@pytest.mark.parametrize(
    "error", [OperationalError("the connection is closed"), InterfaceError("connection already closed")], ids=str
)
def test_readiness_is_503_with_postgres_away(db, monkeypatch, error):
    class Away:
        def cursor(self) -> None:
            raise error

    monkeypatch.setattr(health, "connection", Away())
    response = Client().get("/readyz")
    assert (response.status_code, response.json()) == (
        503,
        {"ok": False, "status": "degraded", "database": False, "redis": True},
    )


def test_readiness_is_503_with_redis_away(db, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = Client().get("/readyz")
    assert (response.status_code, response.json()) == (
        503,
        {"ok": False, "status": "degraded", "database": True, "redis": False},
    )


# --- Schema and documentation -----------------------------------------------------------------------------------------


def test_the_committed_schema_is_valid_and_up_to_date(tmp_path):
    """Refresh it with `manage.py spectacular --file docs/openapi.yaml --validate`."""
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", "--file", str(made), "--validate", "--fail-on-warn")
    assert made.read_text() == SCHEMA.read_text()


def test_the_schema_names_every_api_route_once_at_its_canonical_address():
    paths = yaml.safe_load(SCHEMA.read_text())["paths"]
    assert all(path.startswith("/api/v1/") and not path.endswith("/") for path in paths)
    routes = {
        str(pattern.pattern).strip("^$").removesuffix("/?").replace("\\.", ".")
        for include in get_resolver().url_patterns
        if str(include.pattern) == "api/v1/"
        for pattern in include.url_patterns
    }
    assert {
        path.removeprefix("/api/v1/").replace("{", "(?P<").replace("}", ">") for path in paths if "{" not in path
    } == {route for route in routes if "(" not in route}


def test_the_schema_says_how_to_call_intake():
    schema = yaml.safe_load(SCHEMA.read_text())
    lead = schema["paths"]["/api/v1/lead"]["post"]
    assert lead["security"] == [{"ApiKey": []}, {}]
    assert schema["components"]["securitySchemes"]["ApiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert [p["name"] for p in lead["parameters"]] == ["Idempotency-Key"]
    assert set(lead["responses"]) == {"200", "400", "401", "403", "404", "409", "413", "415", "422", "429"}
    assert list(lead["responses"]["422"]["content"]) == ["application/problem+json"]
    answer = schema["components"]["schemas"]["LeadOut"]["properties"]["status"]
    assert answer == {"type": "string", "enum": ["BOOKED", "HANDOFF", "NEEDS_DISPATCH"]}


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_documentation_page_loads_nothing_from_elsewhere(client, path):
    page = client.get(path)
    assert page.status_code == 200
    text = page.content.decode()
    assert "Frontdesk API" in text
    assert "http://" not in text.replace("http://testserver", "")
    assert "https://" not in text
    assert (
        "script-src" not in page["Content-Security-Policy"] or "'unsafe-inline'" not in page["Content-Security-Policy"]
    )


def test_the_schema_is_served(client):
    response = client.get("/api/schema/")
    assert response.status_code == 200
    assert yaml.safe_load(response.content)["info"]["title"] == "Frontdesk API"
