"""What a log line may show."""

from __future__ import annotations

import pytest
import structlog

from config.logs import mask, quiet, redact


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call +15551234567 now", "call [phone **67] now"),
        ("(555) 123-4567", "([phone **67]"),
        ("555-123-4567, please", "[phone **67], please"),
        ("write to jane.doe+x@example.com", "write to [e-mail]"),
        ("key fd_api_758c4584_Pjp-hTQb8LVHBg1Wdfg5", "key [secret]"),
        ("GET /buyers/verify/eyJhIjoi.x-Y_z/", "GET /buyers/verify/[secret]/"),
        ("message 01a1f870-897b-7452-a495-97ad2f80d2f1", "message 01a1f870-897b-7452-a495-97ad2f80d2f1"),
        ("2026-11-20T09:07:34 took 12.5 ms", "2026-11-20T09:07:34 took 12.5 ms"),
        ("job 42 of 500", "job 42 of 500"),
    ],
)
def test_people_and_secrets_are_masked_and_ids_are_not(text, masked):
    assert mask(text) == masked


def test_a_secret_is_masked_by_the_name_of_its_field_however_deep():
    event = {
        "event": "hello",
        "auth_token": "abc",
        "headers": {"X-Twilio-Signature": "s", "Host": "x"},
        "tenant_id": "t_acme",
    }
    assert redact(None, "info", event) == {
        "event": "hello",
        "auth_token": "[secret]",
        "headers": {"X-Twilio-Signature": "[secret]", "Host": "x"},
        "tenant_id": "t_acme",
    }


def test_polls_that_went_well_leave_no_line_and_others_do():
    with pytest.raises(structlog.DropEvent):
        quiet(None, "info", {"event": "request_finished", "code": 200, "request": "GET /simulator/live"})
    failed = {"event": "request_finished", "code": 500, "request": "GET /simulator/live"}
    assert quiet(None, "info", failed) == failed
