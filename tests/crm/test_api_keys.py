"""Keys for programs: shown once, kept as a hash, gone at once."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.test import Client

from crm.api_keys import issue_key, recognise, revoke_key, rotate_key
from crm.enums import KeyKind
from crm.models import ApiKey, AuditEvent, Business, SecurityEvent
from tests.conftest import NOW, open_shop

LEAD = {"event_id": "evt_1", "tenant_id": "t_acme", "name": "Jane Doe", "phone": "+15551234567", "service": "AC Repair"}


@pytest.fixture(autouse=True)
def _at_nine():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def acme(db) -> Business:
    return open_shop("t_acme", name="Acme Air", number="+15552000003")


def jobs(**headers: str) -> int:
    return Client(headers=headers).get("/jobs").status_code


def test_only_the_hash_of_a_key_is_kept(acme):
    new = issue_key(business=acme, kind=KeyKind.API, now=NOW, label="website")
    prefix, _, secret = new.secret.rpartition("_")
    assert prefix.startswith("fd_api_")
    assert len(secret) == 43
    kept = ApiKey.objects.values().get()
    assert (kept["prefix"], kept["digest"]) == (prefix, hashlib.sha256(new.secret.encode()).hexdigest())
    assert secret not in str(kept)
    assert secret not in str(list(AuditEvent.objects.values()))
    assert [(event.action, event.target, event.business) for event in AuditEvent.objects.all()] == [
        ("key issued", f"API key {prefix}", acme)
    ]


def test_a_key_opens_its_business(acme):
    new = issue_key(business=acme, kind=KeyKind.API, now=NOW)
    assert recognise(new.secret, now=NOW) == new.row
    assert jobs(**{"X-API-Key": new.secret}) == 200
    assert jobs(Authorization=f"Bearer {new.secret}") == 200


def test_the_readable_beginning_of_a_key_opens_nothing(acme):
    new = issue_key(business=acme, kind=KeyKind.API, now=NOW)
    for wrong in ("a" * 43, "", new.secret[-43:-1], new.secret[-43:] + "a"):
        assert recognise(f"{new.row.prefix}_{wrong}", now=NOW) is None
    assert jobs(**{"X-API-Key": f"{new.row.prefix}_{'a' * 43}"}) == 401


def test_a_revoked_key_stops_working_at_once(acme):
    new = issue_key(business=acme, kind=KeyKind.API, now=NOW)
    assert revoke_key(key=new.row, now=NOW) is True
    assert revoke_key(key=new.row, now=NOW) is False
    assert jobs(**{"X-API-Key": new.secret}) == 401
    assert AuditEvent.objects.filter(action="key revoked").count() == 1


def test_a_rotated_key_is_replaced_at_once(acme):
    old = issue_key(business=acme, kind=KeyKind.OWNER, now=NOW, label="office")
    new = rotate_key(key=old.row, now=NOW)
    assert (jobs(**{"X-API-Key": old.secret}), jobs(**{"X-API-Key": new.secret})) == (401, 200)
    assert (new.row.kind, new.row.label, new.row.business) == (KeyKind.OWNER, "office", acme)
    with pytest.raises(ValueError, match="This key is revoked already; issue a new one."):
        rotate_key(key=old.row, now=NOW)
    assert ApiKey.objects.count() == 2


def test_a_key_ends_when_it_says(acme):
    new = issue_key(business=acme, kind=KeyKind.API, now=NOW, expires_at=NOW + timedelta(minutes=1))
    assert recognise(new.secret, now=NOW + timedelta(seconds=59)) == new.row
    assert recognise(new.secret, now=NOW + timedelta(minutes=1)) is None


def test_an_expired_key_is_not_rotated_into_another_expired_one(acme):
    old = issue_key(business=acme, kind=KeyKind.API, now=NOW, expires_at=NOW + timedelta(minutes=1))
    with pytest.raises(ValueError, match="This key has expired; issue a new one."):
        rotate_key(key=old.row, now=NOW + timedelta(minutes=1))
    assert ApiKey.objects.count() == 1


def test_an_admin_key_belongs_to_no_business_and_every_other_to_one(acme):
    sentence = "A platform admin key belongs to no business; every other key belongs to one."
    with pytest.raises(ValidationError, match=sentence):
        issue_key(business=acme, kind=KeyKind.ADMIN, now=NOW)
    with pytest.raises(ValidationError, match=sentence):
        issue_key(business=None, kind=KeyKind.API, now=NOW)
    assert (ApiKey.objects.count(), AuditEvent.objects.count()) == (0, 0)


# header × kind of key → what GET /jobs answers
HEADERS = {
    "X-API-Key": {KeyKind.API: 200, KeyKind.OWNER: 200, KeyKind.WIDGET: 401, KeyKind.ADMIN: 401},
    "X-Owner-Token": {KeyKind.API: 401, KeyKind.OWNER: 200, KeyKind.WIDGET: 401, KeyKind.ADMIN: 401},
    "X-Widget-Token": {KeyKind.API: 401, KeyKind.OWNER: 401, KeyKind.WIDGET: 403, KeyKind.ADMIN: 401},
    "X-Admin-API-Key": {KeyKind.API: 401, KeyKind.OWNER: 401, KeyKind.WIDGET: 401, KeyKind.ADMIN: 403},
    "Authorization": {KeyKind.API: 200, KeyKind.OWNER: 200, KeyKind.WIDGET: 403, KeyKind.ADMIN: 403},
}


@pytest.mark.parametrize("header", HEADERS)
def test_each_kind_of_key_opens_only_its_own_doors(acme, header):
    for kind, status in HEADERS[header].items():
        secret = issue_key(business=None if kind == KeyKind.ADMIN else acme, kind=kind, now=NOW).secret
        value = f"Bearer {secret}" if header == "Authorization" else secret
        assert (kind, jobs(**{header: value})) == (kind, status)


@pytest.mark.parametrize("path", ["/lead", "/lead/propose", "/sms/callback", "/chat/inbound", "/chat/reply"])
@pytest.mark.parametrize(("kind", "header"), [(KeyKind.WIDGET, "X-Widget-Token"), (KeyKind.ADMIN, "X-Admin-API-Key")])
def test_intake_is_not_opened_by_a_widget_or_an_admin_key(acme, path, kind, header):
    """A widget's token stands in a public page: it may not book past a business's closed intake."""
    secret = issue_key(business=None if kind == KeyKind.ADMIN else acme, kind=kind, now=NOW).secret
    response = Client(headers={header: secret}).post(path, LEAD, content_type="application/json")
    assert (response.status_code, response.json()["detail"]) == (
        403,
        "This key does not open intake. Send the business's key in the X-API-Key header.",
    )


@pytest.mark.parametrize(
    "secret", ["nonsense", "fd_api_00000000_" + "a" * 43, "_", "fd_api_", "k" * 500, "fd_api_00000000_\x7f", "ключ"]
)
def test_a_wrong_key_is_refused_written_down_and_counted(acme, secret):
    if not secret.isascii():
        secret = secret.encode().decode("latin-1")  # as the server hands over a header of other letters
    response = Client(headers={"X-API-Key": secret}).get("/jobs")
    assert response.status_code == 401
    assert response.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "Invalid API key",
        "instance": "/jobs",
    }
    for _ in range(2):
        jobs(**{"X-API-Key": secret})
    event = SecurityEvent.objects.get()
    assert (event.kind, event.path, event.count, event.minute) == ("api_key_invalid", "/jobs", 3, NOW)
    assert "127.0.0.1" not in event.source


def test_wrong_keys_of_different_senders_and_minutes_are_told_apart(acme):
    for address in ("192.0.2.1", "192.0.2.2"):
        Client(REMOTE_ADDR=address, headers={"X-API-Key": "nonsense"}).get("/jobs")
    with time_machine.travel(NOW + timedelta(minutes=1), tick=False):
        Client(REMOTE_ADDR="192.0.2.1", headers={"X-API-Key": "nonsense"}).get("/jobs")
    assert list(SecurityEvent.objects.values_list("count", flat=True)) == [1, 1, 1]
    assert len(set(SecurityEvent.objects.values_list("source", flat=True))) == 2


def test_the_last_use_is_written_at_most_once_a_minute(acme, django_assert_num_queries):
    new = issue_key(business=acme, kind=KeyKind.API, now=NOW)
    for seconds, written in [(0, NOW), (30, NOW), (60, NOW), (61, NOW + timedelta(seconds=61))]:
        recognise(new.secret, now=NOW + timedelta(seconds=seconds))
        new.row.refresh_from_db()
        assert (seconds, new.row.last_used_at) == (seconds, written)
    with django_assert_num_queries(1):
        recognise(new.secret, now=NOW + timedelta(seconds=62))


def test_a_key_of_one_business_does_not_know_another(acme):
    open_shop("t_two", name="Two Pipes", number="+15552000004")
    key = issue_key(business=acme, kind=KeyKind.API, now=NOW).secret
    response = Client(headers={"X-API-Key": key}).post(
        "/lead", LEAD | {"tenant_id": "t_two"}, content_type="application/json"
    )
    unknown = Client(headers={"X-API-Key": key}).post(
        "/lead", LEAD | {"tenant_id": "t_nobody"}, content_type="application/json"
    )
    assert (response.status_code, response.json()) == (404, unknown.json())
