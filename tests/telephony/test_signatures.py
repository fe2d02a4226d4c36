"""Who may knock: the stamp on a letter, in every way an address can be written, and what a refusal leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from crm.models import Message, SecurityEvent
from crm.scoping import every_business
from crm.security import seal
from telephony.models import InboundEvent, TwilioAccount
from tests.servers.carrier import FORM, Carrier, payload, sign, sms

SUB = "AC" + "b2" * 16
SUB_TOKEN = "c4" * 16

pytestmark = pytest.mark.usefixtures("cast", "clock")


def refused(response: Any) -> bool:
    """403 in plain words, and nothing was taken in."""
    with every_business():
        nothing_written = (InboundEvent.objects.count(), Message.objects.count()) == (0, 0)
    return (response.status_code, response.content, nothing_written) == (403, b"Signature not accepted.\n", True)


def taken(response: Any) -> bool:
    with every_business():
        return response.status_code == 200 and Message.objects.filter(direction="inbound").count() == 1


def events() -> list[tuple[str, int]]:
    return list(SecurityEvent.objects.order_by("kind").values_list("kind", "count"))


# --- Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/twilio/sms",
        "/twilio/sms/",
        "/v1/twilio/sms",
        "/v1/twilio/sms/",
        "/twilio/sms?business_id=alice",
        "/twilio/sms?business_id=alice&x=1%2B1&y=a+b&z=%C3%A9",
        "/twilio/sms?empty=&flag",
    ],
)
def test_a_stamp_made_for_this_very_address_is_good(carrier: Carrier, path):
    assert taken(carrier.post(path, sms("need ac repair")))


@pytest.mark.parametrize(
    ("path", "signed_as"),
    [
        ("/twilio/sms?business_id=alice", "http://testserver/twilio/sms"),
        ("/twilio/sms", "http://testserver/twilio/sms?business_id=alice"),
        ("/twilio/sms?business_id=alice", "http://testserver/twilio/sms?business_id=charlie"),
        ("/twilio/sms/", "http://testserver/twilio/sms"),
        ("/twilio/sms", "http://testserver/v1/twilio/sms"),
        ("/twilio/sms", "http://testserver/twilio/status"),
        ("/twilio/sms", "https://testserver/twilio/sms"),
        ("/twilio/sms", "http://elsewhere.example.com/twilio/sms"),
        ("/twilio/sms", "http://testserver:8443/twilio/sms"),
    ],
)
def test_a_stamp_made_for_another_address_is_not(carrier: Carrier, path, signed_as):
    assert refused(carrier.post(path, sms("need ac repair"), signed_as=signed_as))
    assert events() == [("webhook_signature_invalid", 1)]


@pytest.mark.parametrize("signed_as", ["http://testserver:8000/twilio/sms", "http://testserver/twilio/sms"])
def test_the_carrier_may_name_the_port_or_leave_it_out(carrier: Carrier, signed_as):
    assert taken(carrier.post("/twilio/sms", sms("need ac repair"), signed_as=signed_as, HTTP_HOST="testserver:8000"))


def test_the_public_address_counts_and_not_what_the_proxy_made_of_it(carrier: Carrier, settings):
    settings.PUBLIC_URL = "https://desk.example.com"

    assert taken(
        carrier.post("/twilio/sms?a=1", sms("need ac repair"), signed_as="https://desk.example.com/twilio/sms?a=1")
    )


def test_the_inner_address_does_not_count_once_a_public_one_is_set(carrier: Carrier, settings):
    settings.PUBLIC_URL = "https://desk.example.com"

    assert refused(carrier.post("/twilio/sms", sms("need ac repair")))


def test_a_public_address_may_have_a_port_and_a_path(carrier: Carrier, settings):
    settings.PUBLIC_URL = "https://desk.example.com:8443/front"

    signed_as = "https://desk.example.com:8443/front/twilio/sms"
    assert taken(carrier.post("/twilio/sms", sms("need ac repair"), signed_as=signed_as))


def behind_a_proxy(settings: Any) -> None:
    """What BEHIND_TLS_PROXY switches on."""
    settings.BEHIND_TLS_PROXY = True
    settings.SECURE_PROXY_SSL_HEADER, settings.USE_X_FORWARDED_HOST = ("HTTP_X_FORWARDED_PROTO", "https"), True
    settings.ALLOWED_HOSTS = ["testserver", "desk.example.com"]


FORWARDED = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "desk.example.com"}


def test_a_trusted_proxy_tells_the_address_that_was_called(carrier: Carrier, settings):
    behind_a_proxy(settings)

    assert taken(
        carrier.post("/twilio/sms", sms("hi ac"), signed_as="https://desk.example.com/twilio/sms", **FORWARDED)
    )


def test_a_proxy_nobody_trusts_tells_nothing(carrier: Carrier):
    assert refused(
        carrier.post("/twilio/sms", sms("hi ac"), signed_as="https://desk.example.com/twilio/sms", **FORWARDED)
    )


def test_behind_a_proxy_the_public_address_still_wins(carrier: Carrier, settings):
    behind_a_proxy(settings)
    settings.PUBLIC_URL = "https://text.example.com"

    assert taken(
        carrier.post("/twilio/sms", sms("hi ac"), signed_as="https://text.example.com/twilio/sms", **FORWARDED)
    )


# --- What is signed --------------------------------------------------------------------------------------------------


def test_a_field_sent_twice_is_signed_with_both_values(carrier: Carrier):
    assert taken(carrier.post("/twilio/sms", payload("sms_duplicate_fields.txt")))


@pytest.mark.parametrize(
    "change",
    [
        {"Body": "need ac repair "},
        {"Body": "Need ac repair"},
        {"From": "+15557654321"},
        {"To": "+15552000002"},
        {"MessageSid": "SM" + "0" * 32},
        {"OptOutType": "STOP"},
    ],
)
def test_a_letter_that_was_changed_on_the_way_is_refused(carrier: Carrier, change):
    fields = sms("need ac repair") | {"AccountSid": carrier.account_sid}
    stamp = sign("http://testserver/twilio/sms", fields, token=carrier.token)

    assert refused(carrier.post("/twilio/sms", fields | change, HTTP_X_TWILIO_SIGNATURE=stamp))
    assert events() == [("webhook_signature_invalid", 1)]


def test_a_letter_without_a_stamp_is_refused(carrier: Carrier):
    response = Client(enforce_csrf_checks=True).post("/twilio/sms", payload("sms.txt"), content_type=FORM)

    assert refused(response)
    assert events() == [("webhook_signature_missing", 1)]


@pytest.mark.parametrize("stamp", ["", "x", "=" * 28, "é" * 28, "A" * 10_000])
def test_a_nonsense_stamp_is_refused(carrier: Carrier, stamp):
    assert refused(carrier.post("/twilio/sms", payload("sms.txt"), HTTP_X_TWILIO_SIGNATURE=stamp))


def test_another_token_makes_another_stamp(carrier: Carrier):
    carrier.token = "not the token"

    assert refused(carrier.post("/twilio/sms", sms("need ac repair")))


@pytest.mark.parametrize(
    "account",
    [
        "AC" + "f" * 32,
        "",
        "AC",
        "ac" + "a1" * 16,
        "AC" + "a1" * 16 + "0",
        "AC" + "a1" * 15 + "a\x00",
        "AC" + "a1" * 500,
        "٣" * 34,
    ],
)
def test_an_account_nobody_knows_is_refused_even_with_our_token(carrier: Carrier, account):
    assert refused(carrier.post("/twilio/sms", [*sms("need ac repair").items(), ("AccountSid", account)]))
    assert events() == [("webhook_account_unknown", 1)]


def test_without_an_account_of_our_own_an_empty_account_and_token_open_nothing(carrier: Carrier, settings):
    settings.TWILIO_ACCOUNT_SID = settings.TWILIO_AUTH_TOKEN = ""
    carrier.token = ""

    assert refused(carrier.post("/twilio/sms", [*sms("need ac repair").items(), ("AccountSid", "")]))


def test_the_demo_carriers_stamp_is_worth_nothing_to_a_real_one(carrier: Carrier):
    from telephony.signatures import SIMULATED_ACCOUNT, simulated_token  # noqa: PLC0415 - only here

    carrier.account_sid, carrier.token = SIMULATED_ACCOUNT, simulated_token()

    assert refused(carrier.post("/twilio/sms", sms("need ac repair")))


# --- Sub-accounts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def alices_own(carrier: Carrier, cast) -> Carrier:
    """Alice's sub-account, whose token she might know."""
    TwilioAccount.objects.create(account_sid=SUB, business=cast.shop, sealed_token=seal(SUB_TOKEN))
    return Carrier(account_sid=SUB, token=SUB_TOKEN)


def test_a_sub_accounts_token_is_good_for_its_own_number(alices_own: Carrier):
    assert taken(alices_own.post("/twilio/sms", sms("need ac repair", to="+15552000001")))


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/twilio/sms", "+15552000002"),
        ("/twilio/sms?business_id=charlie", "+15552000001"),
        ("/twilio/sms?business_id=charlie", "+15552000002"),
    ],
)
def test_a_sub_accounts_token_is_no_good_for_the_neighbours_number(alices_own: Carrier, cast, path, to):
    response = alices_own.post(path, sms("need ac repair", to=to))

    assert (response.status_code, response.content) == (403, b"This number is not yours.\n")
    with every_business():
        assert (InboundEvent.objects.count(), Message.objects.count()) == (0, 0)
    (event,) = SecurityEvent.objects.all()
    assert (event.kind, event.detail, event.business) == (
        "webhook_account_unknown",
        "another business's number",
        cast.shop,
    )


def test_the_main_token_does_not_sign_for_a_sub_account(alices_own: Carrier, carrier: Carrier):
    alices_own.token = carrier.token

    assert refused(alices_own.post("/twilio/sms", sms("need ac repair")))


def test_the_main_account_may_bring_letters_for_a_business_with_an_account_of_its_own(
    alices_own: Carrier, carrier: Carrier
):
    assert taken(carrier.post("/twilio/sms", sms("need ac repair")))


# --- What a refusal leaves behind ------------------------------------------------------------------------------------


def test_the_same_knock_within_a_minute_counts_up_on_one_row(carrier: Carrier, clock, now):
    carrier.token = "not the token"
    for _ in range(3):
        carrier.post("/twilio/sms", sms("hello"))
    clock.shift(60)
    carrier.post("/twilio/sms", sms("hello"))
    carrier.post("/twilio/status", {"MessageSid": "SM1", "MessageStatus": "sent"})

    counted = sorted(SecurityEvent.objects.values_list("path", "minute__minute", "count"))
    assert counted == [("/twilio/sms", 0, 3), ("/twilio/sms", 1, 1), ("/twilio/status", 1, 1)]


def test_a_refusal_says_which_address_was_checked_and_never_the_token(carrier: Carrier, settings, caplog):
    settings.PUBLIC_URL = "https://desk.example.com"
    caplog.set_level("DEBUG")

    response = carrier.post("/twilio/sms", sms("need ac repair"))

    (event,) = SecurityEvent.objects.all()
    assert event.detail == "checked against https://desk.example.com/twilio/sms"
    everything = response.content.decode() + str(response.headers) + caplog.text + event.detail + event.source
    assert carrier.token not in everything
    assert "webhook_refused" in caplog.text


@pytest.mark.parametrize("path", ["/twilio/sms", "/twilio/status"])
@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
def test_only_post_is_a_letter(carrier: Carrier, path, method):
    response = getattr(Client(), method)(path)

    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert SecurityEvent.objects.count() == 0
