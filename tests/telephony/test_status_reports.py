"""Delivery reports: late, twice, out of order, about nobody's text; a message only ever moves forward."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import parse_qsl

import pytest

from crm.models import Activity, Consent, Message, SecurityEvent, Task
from crm.scoping import every_business
from crm.security import seal
from telephony import delivery
from telephony.models import InboundEvent, TwilioAccount
from tests.crowd import all_at_once
from tests.servers.carrier import Carrier, payload, sms, status
from tests.servers.twilio_api import TwilioApi, Weather
from tests.telephony.outbox import queue, rewrite, stored

SID = "SM" + "5" * 32
OTHER = "SM" + "6" * 32

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture(autouse=True)
def _every_business() -> Iterator[None]:
    with every_business():
        yield


@pytest.fixture
def sent(cast, now) -> Message:
    """A text the carrier has taken."""
    return rewrite(queue(cast.shop, now=now), status="sent", provider_sid=SID, sent_at=now, claimed_at=now, attempts=1)


def report(carrier: Carrier, word: str, *, sid: str = SID, about: Message | None = None, **more: str) -> str:
    """Post one report; the reason on its receipt."""
    path = "/twilio/status" + (f"?message={about.pk}" if about else "")
    response = carrier.post(path, status(sid, word, **more))
    assert (response.status_code, response.content) == (204, b"")
    return InboundEvent.objects.get(kind="status", sid=f"{sid}:{word}").reason


def state(message: Message) -> tuple[str, str, str]:
    row = stored(message)
    return row.status, row.error_code, row.error


# --- Forward ---------------------------------------------------------------------------------------------------------


def test_delivered_is_delivered(carrier: Carrier, sent, now):
    assert report(carrier, "delivered") == "now delivered"

    row = stored(sent)
    assert (row.status, row.sent_at) == ("delivered", now)
    assert row.delivered_at is not None
    receipt = InboundEvent.objects.get()
    assert (receipt.business, receipt.message, receipt.step) == (sent.business, sent.pk, "report")


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("accepted", "sent"),
        ("scheduled", "sent"),
        ("queued", "sent"),
        ("sending", "sent"),
        ("sent", "sent"),
        ("partially_delivered", "sent"),
        ("delivered", "delivered"),
        ("read", "delivered"),
        ("DELIVERED", "delivered"),
        ("undelivered", "failed"),
        ("failed", "failed"),
        ("canceled", "failed"),
    ],
)
def test_the_carriers_words_are_read_as_ours(carrier: Carrier, cast, now, word, becomes):
    message = rewrite(queue(cast.shop, now=now), status="sending", claimed_at=now)

    report(carrier, word, about=message)

    assert (stored(message).status, stored(message).provider_sid) == (becomes, SID)


def test_the_second_report_is_no_news(carrier: Carrier, sent):
    report(carrier, "delivered")
    first = stored(sent).delivered_at

    assert report(carrier, "delivered") == "now delivered"  # the receipt of the first
    assert (stored(sent).delivered_at, InboundEvent.objects.count()) == (first, 1)


def test_reports_that_overtake_each_other_change_nothing_back(carrier: Carrier, sent):
    assert report(carrier, "delivered") == "now delivered"
    assert report(carrier, "sent") == "it was that far already"
    assert report(carrier, "sending") == "it was that far already"
    assert report(carrier, "undelivered", ErrorCode="30008") == "it was that far already"

    assert state(sent) == ("delivered", "", "")
    assert Task.objects.count() == 0


def test_after_a_failure_nothing_is_better(carrier: Carrier, sent):
    report(carrier, "undelivered", ErrorCode="30003")

    assert report(carrier, "delivered") == "it was that far already"
    assert state(sent) == ("failed", "30003", "The phone was switched off or out of reach.")


@pytest.mark.django_db(transaction=True)
def test_one_report_eight_times_at_once_is_one_report(carrier: Carrier, sent):
    all_at_once([lambda: carrier.post("/twilio/status", status(SID, "failed", ErrorCode="30005"))] * 8)

    assert (InboundEvent.objects.count(), Task.objects.count()) == (1, 1)
    assert Activity.objects.filter(verb="failed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_whole_story_told_at_once_ends_well_in_any_order(carrier: Carrier, sent):
    words = ("queued", "sending", "sent", "delivered") * 2

    all_at_once([lambda word=word: carrier.post("/twilio/status", status(SID, word)) for word in words])

    assert (stored(sent).status, InboundEvent.objects.count()) == ("delivered", 4)


# --- Trouble ---------------------------------------------------------------------------------------------------------


def test_a_failure_is_told_to_a_person_in_a_sentence(carrier: Carrier, sent):
    carrier.post("/twilio/status", with_sid(payload("status_undelivered_30003.txt")))

    said = "The phone was switched off or out of reach."
    assert state(sent) == ("failed", "30003", said)
    assert Task.objects.get().title == f"Reach (555) 123-4567 another way: a text did not arrive. {said}"
    assert Consent.objects.get().action == "grant"


def test_a_failure_without_a_code_says_so(carrier: Carrier, sent):
    report(carrier, "failed")

    assert state(sent) == ("failed", "", "The carrier gave no reason.")


def test_21610_in_a_report_is_an_opt_out(carrier: Carrier, cast, sent, now):
    carrier.post("/twilio/status", with_sid(payload("status_failed_21610.txt")))

    line = Consent.objects.order_by("-at", "-id")[0]
    assert (line.action, line.source, line.phone) == ("revoke", "carrier", "+15551234567")
    assert Activity.objects.get(verb="opted_out").text == "Opted out of texts, the carrier says."


def test_21610_about_somebody_who_has_opted_out_anyway_adds_no_line(carrier: Carrier, cast, sent):
    carrier.text("stop")

    report(carrier, "failed", ErrorCode="21610")

    assert list(Consent.objects.order_by("at", "id").values_list("action", flat=True)) == ["grant", "revoke"]


def test_a_report_after_we_gave_up_puts_it_right(carrier: Carrier, sent):
    rewrite(sent, status="unknown", error="The carrier could not tell whether it was sent. Call, or write again.")

    report(carrier, "delivered")

    assert state(sent) == ("delivered", "", "")


# --- Whose text ------------------------------------------------------------------------------------------------------


def test_our_own_id_in_the_address_helps_a_text_whose_sid_we_do_not_know(carrier: Carrier, cast, now):
    message = rewrite(queue(cast.shop, now=now), status="sending", claimed_at=now)

    assert report(carrier, "delivered", about=message) == "now delivered"
    assert stored(message).provider_sid == SID


def test_an_answer_that_left_with_the_webhook_is_moved_by_our_id(carrier: Carrier, cast, settings):
    settings.PUBLIC_URL = "http://testserver"
    carrier.text("need ac repair")
    answer = Message.objects.get(direction="outbound")
    assert (answer.status, answer.provider_sid) == ("sending", "")

    report(carrier, "sent", about=answer)
    report(carrier, "delivered", about=answer)

    assert (stored(answer).status, stored(answer).provider_sid) == ("delivered", SID)
    assert delivery.sweep(now=answer.created_at + 2 * delivery.PATIENCE)["found"] == 0


def test_a_report_quicker_than_the_carriers_answer_is_kept(twilio: TwilioApi, carrier: Carrier, cast, now):
    """The report arrives while our request still hangs; the answer then has nothing to add."""
    message = queue(cast.shop, now=now)
    delivery.claim_due(now=now)
    report(carrier, "delivered", about=message)

    assert delivery.deliver(str(message.pk), now=now) is None
    assert (stored(message).status, twilio.texts) == ("delivered", [])


def test_an_id_in_the_address_does_not_move_a_text_with_another_sid(carrier: Carrier, sent):
    assert report(carrier, "failed", sid=OTHER, about=sent, ErrorCode="30005") == "about a text we do not know"
    assert state(sent) == ("sent", "", "")


def test_the_sid_wins_over_the_id_in_the_address(carrier: Carrier, cast, sent, now):
    """Two texts with the same words were mixed up by a sweep; the sid says which one arrived."""
    twin = rewrite(queue(cast.shop, now=now), status="sending", claimed_at=now)

    assert report(carrier, "delivered", about=twin) == "now delivered"
    assert (stored(sent).status, stored(twin).status, stored(twin).provider_sid) == ("delivered", "sending", "")


def test_a_text_nobody_knows_is_receipted_and_nothing_moves(carrier: Carrier, sent):
    assert report(carrier, "delivered", sid=OTHER) == "about a text we do not know"
    assert report(carrier, "failed", sid=OTHER, about=Message(pk=uuid.uuid4())) == "about a text we do not know"
    assert state(sent) == ("sent", "", "")


def test_a_word_nobody_knows_is_receipted_and_nothing_moves(carrier: Carrier, sent):
    assert report(carrier, "pondering") == "“pondering” is not understood"
    assert state(sent) == ("sent", "", "")


def test_a_text_we_received_has_no_delivery(carrier: Carrier, cast):
    letter = sms("need ac repair")
    carrier.post("/twilio/sms", letter)
    inbound = Message.objects.get(direction="inbound")

    assert report(carrier, "failed", sid=letter["MessageSid"]) == "about a text we do not know"
    assert report(carrier, "failed", sid=OTHER, about=inbound) == "about a text we do not know"
    assert stored(inbound).status == "received"


# --- Sub-accounts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def charlies_own(carrier: Carrier, cast) -> Carrier:
    sub = "AC" + "b2" * 16
    TwilioAccount.objects.create(account_sid=sub, business=cast.next_door, sealed_token=seal("c4" * 16))
    return Carrier(account_sid=sub, token="c4" * 16)


def test_charlies_account_cannot_speak_about_alices_texts(charlies_own: Carrier, cast, sent, now):
    unsent = rewrite(queue(cast.shop, now=now), status="sending", claimed_at=now)

    assert report(charlies_own, "failed", ErrorCode="30005") == "about a text we do not know"
    assert report(charlies_own, "failed", sid=OTHER, about=unsent, ErrorCode="21610") == "about a text we do not know"

    assert (state(sent), state(unsent), stored(unsent).provider_sid) == (("sent", "", ""), ("sending", "", ""), "")
    assert (Task.objects.count(), Consent.objects.filter(action="revoke").count()) == (0, 0)


def test_charlies_account_speaks_about_charlies_texts(charlies_own: Carrier, cast, now):
    message = rewrite(queue(cast.next_door, now=now), status="sending", claimed_at=now)

    assert report(charlies_own, "delivered", about=message) == "now delivered"


# --- The letterbox ---------------------------------------------------------------------------------------------------


def test_a_captured_report_is_taken(carrier: Carrier, sent):
    assert carrier.post("/v1/twilio/status/", with_sid(payload("status_delivered.txt"))).status_code == 204
    assert stored(sent).status == "delivered"


@pytest.mark.parametrize("missing", ["MessageSid", "MessageStatus"])
def test_a_report_without_one_of_its_fields_is_sent_back_by_name(carrier: Carrier, sent, missing):
    fields = {name: value for name, value in status(SID, "delivered").items() if name != missing}

    response = carrier.post("/twilio/status", fields)

    assert (response.status_code, response.content.decode()) == (422, f"{missing}: this field is missing.\n")
    assert (stored(sent).status, InboundEvent.objects.count()) == ("sent", 0)


@pytest.mark.parametrize("written", ["1", "none", "00000000-0000-0000-0000-00000000000g"])
def test_an_id_that_is_none_of_ours_is_sent_back(carrier: Carrier, sent, written):
    response = carrier.post(f"/twilio/status?message={written}", status(SID, "delivered"))

    assert (response.status_code, response.content.decode()) == (422, "message: not an id of ours.\n")
    assert (stored(sent).status, InboundEvent.objects.count()) == ("sent", 0)


def test_a_nul_byte_breaks_nothing(carrier: Carrier, sent):
    response = carrier.post(
        "/twilio/status", status(SID, "delivered", To="+1555\x00", ErrorCode="\x00") | {"ToCountry": "\x00"}
    )

    assert (response.status_code, stored(sent).status) == (204, "delivered")


def test_without_a_good_stamp_nothing_moves(carrier: Carrier, sent):
    carrier.token = "not the token"

    response = carrier.post("/twilio/status", status(SID, "delivered"))

    assert (response.status_code, stored(sent).status, InboundEvent.objects.count()) == (403, "sent", 0)
    assert SecurityEvent.objects.get().path == "/twilio/status"


def test_our_own_gateway_and_our_own_letterbox_agree_on_the_address(
    twilio: TwilioApi, carrier: Carrier, cast, settings, now
):
    settings.PUBLIC_URL = "http://testserver"
    twilio.creating = Weather(drop_taken=True)
    message = queue(cast.shop, now=now)
    delivery.deliver(delivery.claim_due(now=now)[0], now=now)
    (text,) = twilio.texts

    response = carrier.post(text.status_callback.removeprefix("http://testserver"), status(text.sid, "delivered"))

    assert (response.status_code, stored(message).status, stored(message).provider_sid) == (204, "delivered", text.sid)


def with_sid(body: str) -> list[tuple[str, str]]:
    """A captured report, about our text."""
    return [
        (name, SID if name.endswith("Sid") and value.startswith("SM") else value) for name, value in parse_qsl(body)
    ]
