"""The real SDK against a server that speaks Twilio's protocol: what each answer means to us."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from crm.enums import MessageStatus
from crm.models import Message
from crm.security import seal
from telephony.gateways import OptedOut, Permanent, SendingFailed, Transient, Uncertain, gateway
from telephony.gateways import twilio as twilio_gateway
from telephony.models import TwilioAccount
from tests.servers.twilio_api import TwilioApi, Weather
from tests.telephony.outbox import PHONE, queue

OURS = "+15552000001"
AGO = timedelta(minutes=5)
CALLBACK = "https://desk.example.com/twilio/status?message=1"


@pytest.fixture
def message(cast, now: datetime) -> Message:
    return queue(cast.shop, now=now)


@pytest.fixture
def impatient(monkeypatch) -> None:
    """A gateway that waits 0.3 seconds instead of ten."""
    monkeypatch.setattr(twilio_gateway, "_TIMEOUT", 0.3)


def send(message: Message) -> SendingFailed:
    """What became of a text that was not taken."""
    with pytest.raises(SendingFailed) as refusal:
        gateway().send(message, status_callback="")
    return refusal.value


def test_a_text_is_handed_over_with_its_words_numbers_and_callback(twilio: TwilioApi, message, now):
    taken = gateway().send(message, status_callback=CALLBACK)

    (text,) = twilio.texts
    assert (text.to, text.from_number, text.body, text.status_callback) == (PHONE, OURS, message.body, CALLBACK)
    assert (taken.sid, taken.status, taken.error_code, taken.created_at) == (text.sid, MessageStatus.SENDING, "", now)


def test_without_a_public_address_no_callback_is_asked_for(twilio: TwilioApi, message):
    gateway().send(message, status_callback="")

    assert twilio.texts[0].status_callback == ""


@pytest.mark.parametrize(
    ("weather", "kind", "code", "sentence"),
    [
        (Weather(refuse=21610), OptedOut, "21610", "This number has opted out."),
        (Weather(refuse=21211), Permanent, "21211", "This is not a phone number that can be reached."),
        (Weather(refuse=21614), Permanent, "21614", "This number cannot receive texts (it may be a landline)."),
        (Weather(refuse=21408), Permanent, "21408", "Texts to this country are not switched on at the carrier."),
        (Weather(refuse=63999), Permanent, "63999", "The carrier reported error 63999."),
        (Weather(refuse=21611), Transient, "21611", "The carrier asks us to slow down."),
        (Weather(status=429), Transient, "20429", "The carrier asks us to slow down."),
        (Weather(status=503), Transient, "20503", "The carrier is not available."),
        (Weather(status=500), Uncertain, "20500", "The carrier had a fault of its own."),
        (Weather(status=502, page="<html>Bad Gateway</html>"), Uncertain, "502", "The carrier had a fault of its own."),
        (Weather(drop_unread=True), Uncertain, "", "The line broke before the carrier answered."),
        (Weather(drop_taken=True), Uncertain, "", "The line broke before the carrier answered."),
        (Weather(garbage=True), Uncertain, "", "The carrier's answer cannot be read."),
    ],
)
def test_each_answer_is_certain_no_try_later_or_nobody_knows(twilio: TwilioApi, message, weather, kind, code, sentence):
    twilio.creating = weather

    refusal = send(message)

    assert type(refusal) is kind
    assert (refusal.code, str(refusal)) == (code, sentence)


def test_a_problem_in_the_newer_wording_is_read_the_same(twilio: TwilioApi, message):
    page = '{"type": "https://www.twilio.com/docs/api/errors/21211", "title": "Invalid number", "status": 400, "code": 21211}'
    twilio.creating = Weather(status=400, page=page)

    refusal = send(message)

    assert (type(refusal), refusal.code) == (Permanent, "21211")


def test_an_answer_without_a_sid_leaves_it_open_whether_the_text_was_taken(twilio: TwilioApi, message):
    twilio.creating = Weather(status=201, page='{"status": "queued"}')

    assert (type(send(message)), twilio.texts) == (Uncertain, [])


def test_a_wrong_token_is_tried_again_because_somebody_may_repair_it(twilio: TwilioApi, settings, message):
    settings.TWILIO_AUTH_TOKEN = "not the token"

    refusal = send(message)

    assert (type(refusal), refusal.code, str(refusal)) == (
        Transient,
        "20003",
        "The carrier does not accept our account and token.",
    )
    assert twilio.texts == []


@pytest.mark.usefixtures("impatient")
def test_a_carrier_that_takes_the_text_and_then_says_nothing_is_uncertain(twilio: TwilioApi, message):
    twilio.creating = Weather(hang=5)

    assert type(send(message)) is Uncertain


def test_nobody_listening_means_certainly_not_taken(twilio: TwilioApi, settings, message):
    settings.TWILIO_API_URL = f"http://127.0.0.1:{free_port()}"

    refusal = send(message)

    assert (type(refusal), str(refusal)) == (Transient, "The carrier cannot be reached.")


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_is_never_made_means_certainly_not_taken(twilio: TwilioApi, settings, message):
    with crowded_port() as port:
        settings.TWILIO_API_URL = f"http://127.0.0.1:{port}"

        assert type(send(message)) is Transient


def test_a_business_with_an_account_of_its_own_sends_through_that(twilio: TwilioApi, message, cast):
    sub = "AC" + "b2" * 16
    twilio.tokens[sub] = "sub-token"
    TwilioAccount.objects.create(account_sid=sub, business=cast.shop, sealed_token=seal("sub-token"))

    gateway().send(message, status_callback="")

    assert twilio.senders == [sub]


def test_no_account_at_all_is_trouble_and_not_a_crash(twilio: TwilioApi, settings, message):
    settings.TWILIO_ACCOUNT_SID = settings.TWILIO_AUTH_TOKEN = ""

    assert str(send(message)) == "This business has no account at the carrier, and neither has the installation."
    assert twilio.requests == []


def test_a_token_that_cannot_be_unsealed_is_trouble_and_not_a_crash(twilio: TwilioApi, message, cast, now):
    TwilioAccount.objects.create(
        account_sid="AC" + "b2" * 16, business=cast.shop, sealed_token=b"sealed with another key"
    )

    assert str(send(message)) == "The token of this business's account at the carrier cannot be read."
    with pytest.raises(Transient):
        gateway().find(message, since=now - AGO)
    assert twilio.requests == []


# --- Asking what became of a text ------------------------------------------------------------------------------------


def test_the_same_words_to_the_same_person_are_found_oldest_first(twilio: TwilioApi, message, now):
    later = twilio.put(to=PHONE, body=message.body, from_number=OURS, at=now + timedelta(seconds=9))
    first = twilio.put(to=PHONE, body=message.body, from_number=OURS, at=now, status="delivered")
    twilio.put(to=PHONE, body="Other words.", from_number=OURS, at=now)
    twilio.put(to="+15557654321", body=message.body, from_number=OURS, at=now)

    found = gateway().find(message, since=now - AGO)

    assert [(text.sid, text.status) for text in found] == [
        (first.sid, MessageStatus.DELIVERED),
        (later.sid, MessageStatus.SENT),
    ]


def test_a_text_from_the_neighbours_number_is_not_ours(twilio: TwilioApi, message, now):
    twilio.put(to=PHONE, body=message.body, from_number="+15552000002", at=now)

    assert gateway().find(message, since=now - AGO) == []


def test_an_older_text_with_the_same_words_is_not_this_one(twilio: TwilioApi, message, now):
    twilio.put(to=PHONE, body=message.body, from_number=OURS, at=now - timedelta(days=1))

    assert gateway().find(message, since=now - AGO) == []


def test_a_text_is_found_on_a_later_page(twilio: TwilioApi, message, now):
    twilio.page_size = 3
    ours = twilio.put(to=PHONE, body=message.body, from_number=OURS, at=now)
    for number in range(7):
        twilio.put(to=PHONE, body=f"Reminder {number}", from_number=OURS, at=now)

    assert [text.sid for text in gateway().find(message, since=now - AGO)] == [ours.sid]
    assert len(twilio.requests) == 3


def test_what_a_trial_account_puts_in_front_does_not_hide_a_text(twilio: TwilioApi, message, now):
    ours = twilio.put(to=PHONE, body=f"Sent from your Twilio trial account - {message.body} ", from_number=OURS, at=now)

    assert [text.sid for text in gateway().find(message, since=now - AGO)] == [ours.sid]


@pytest.mark.parametrize(
    "weather",
    [
        Weather(status=503),
        Weather(status=429),
        Weather(status=502, page="<html>Bad Gateway</html>"),
        Weather(status=200, page="<html>Please log in</html>"),
        Weather(drop_unread=True),
    ],
)
def test_a_carrier_that_cannot_be_asked_is_asked_later(twilio: TwilioApi, message, now, weather):
    twilio.listing = weather

    with pytest.raises(Transient, match=r"^The carrier cannot be asked right now\.$"):
        gateway().find(message, since=now - AGO)


# --- Inside ----------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def crowded_port() -> Iterator[int]:
    """A port whose queue is full: whoever knocks is neither let in nor turned away."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(door.getsockname())
        yield int(door.getsockname()[1])
        for one in crowd:
            one.close()
