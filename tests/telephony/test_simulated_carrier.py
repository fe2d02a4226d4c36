"""The demo carrier behaves like a carrier: signed, with a mind of its own about STOP, and with bad weather on switches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from booking.models import Appointment
from crm.enums import MessageStatus
from crm.models import Business, Message, SecurityEvent
from crm.scoping import every_business
from telephony import delivery
from telephony.gateways import OptedOut, Transient, gateway, simulated
from telephony.models import CarrierSwitches, InboundEvent, SimulatedText
from tests.servers.carrier import Carrier, sms
from tests.telephony.outbox import PHONE, queue, rewrite, stored

SHOP = "+15552000001"

pytestmark = pytest.mark.usefixtures("clock", "demo")


@pytest.fixture(autouse=True)
def _every_business() -> Iterator[None]:
    with every_business():
        yield


@pytest.fixture
def demo(settings) -> Iterator[None]:
    settings.CARRIER = "simulated"
    settings.PUBLIC_URL = ""
    gateway.cache_clear()
    yield
    gateway.cache_clear()


def weather(**switches: object) -> None:
    CarrierSwitches.objects.update_or_create(pk=1, defaults=switches)


def text_us(body: str) -> simulated.Delivery:
    return simulated.text_us(from_number=PHONE, to_number=SHOP, body=body)


def received() -> list[str]:
    """What the customer's phone got from us, oldest first."""
    return list(
        SimulatedText.objects.filter(to_number=PHONE).order_by("created_at", "sid").values_list("body", flat=True)
    )


def send_due() -> list[MessageStatus | None]:
    return [delivery.deliver(message_id, now=timezone.now()) for message_id in delivery.claim_due(now=timezone.now())]


def test_a_text_goes_through_the_signed_door_and_the_answer_to_the_phone(cast):
    said = text_us("need ac repair")

    assert (said.status, len(said.replies)) == (200, 1)
    assert received() == list(said.replies)
    assert InboundEvent.objects.get().sid == said.text.sid


@pytest.mark.parametrize("public", ["", "http://testserver", "https://testserver", "https://localhost:8443"])
def test_it_finds_its_way_whatever_the_public_address_is(cast, settings, public):
    settings.PUBLIC_URL = public

    assert text_us("need ac repair").status == 200
    assert SecurityEvent.objects.count() == 0


def test_nobody_else_can_play_the_demo_carrier(cast, settings):
    stranger = Carrier(account_sid=simulated.SIMULATED_ACCOUNT, token="guess")

    assert stranger.post("/twilio/sms", sms("need ac repair")).status_code == 403
    assert Message.objects.count() == 0


def test_a_text_of_ours_arrives_and_is_reported(cast, now):
    message = queue(cast.shop, now=now)
    assert send_due() == [MessageStatus.SENT]

    assert simulated.tick() == 1

    assert (stored(message).status, received()) == ("delivered", [message.body])
    assert simulated.tick() == 0


def test_our_answer_arrives_and_is_reported_too(cast):
    text_us("need ac repair")

    simulated.tick()

    answer = Message.objects.get(direction="outbound")
    assert (answer.status, answer.provider_sid) == ("delivered", SimulatedText.objects.get(to_number=PHONE).sid)


def test_a_slow_carrier_delivers_later(cast, now, clock):
    weather(delay_seconds=30)
    message = queue(cast.shop, now=now)
    send_due()
    assert simulated.tick() == 0

    clock.shift(31)

    assert (simulated.tick(), stored(message).status) == (1, "delivered")


def test_a_lost_text_is_reported_as_lost(cast, now):
    weather(lose_percent=100)
    message = queue(cast.shop, now=now)
    send_due()

    simulated.tick()

    assert (stored(message).status, stored(message).error_code) == ("failed", "30008")


def test_reports_in_the_wrong_order_end_well(cast, now):
    weather(reorder=True)
    message = queue(cast.shop, now=now)
    send_due()

    simulated.tick()

    assert stored(message).status == "delivered"
    assert set(InboundEvent.objects.values_list("sid", flat=True)) == {
        f"{stored(message).provider_sid}:{word}" for word in ("sent", "delivered")
    }


def test_a_letter_delivered_three_times_is_one_letter(cast):
    weather(duplicate_percent=100)

    text_us("need ac repair")
    said = text_us("1")

    assert said.replies[0].startswith("Confirmed!")
    assert Message.objects.filter(direction="inbound").count() == 2
    assert Appointment.objects.get().status == "SCHEDULED"
    assert len(received()) == 2


def test_a_carrier_that_is_down_is_tried_again(cast, now, clock):
    weather(fail=True)
    message = queue(cast.shop, now=now)
    assert send_due() == [MessageStatus.QUEUED]
    with pytest.raises(Transient):
        gateway().find(message, since=now)

    weather(fail=False)
    clock.shift(delivery.BACKOFF + timedelta(seconds=1))

    assert (send_due(), received()) == ([MessageStatus.SENT], [message.body])


def test_a_text_the_carrier_has_is_found_again(cast, now):
    message = queue(cast.shop, now=now)
    taken = gateway().send(message, status_callback="")

    assert [text.sid for text in gateway().find(message, since=now - timedelta(minutes=1))] == [taken.sid]
    assert gateway().find(message, since=now + timedelta(minutes=1)) == []


def test_the_carrier_keeps_its_own_list_of_those_who_said_stop(cast, now):
    text_us("STOP")
    assert [text[:40] for text in received()] == ["You have successfully been unsubscribed."]
    message = queued_behind_the_ledgers_back(cast.next_door, now)

    with pytest.raises(OptedOut) as refusal:
        gateway().send(message, status_callback="")

    assert (refusal.value.code, str(refusal.value)) == ("21610", "This number has opted out.")


def test_start_takes_them_off_that_list(cast, now, clock):
    text_us("STOP")
    clock.shift(1)
    assert text_us("START").replies[0].startswith("You will get texts about your appointments")
    message = queue(cast.shop, now=timezone.now())

    assert send_due() == [MessageStatus.SENT]
    assert stored(message).provider_sid != ""


def queued_behind_the_ledgers_back(business: Business, now: datetime) -> Message:
    """A text from the same number, for which our ledger knows of no opt-out."""
    return rewrite(queue(business, now=now), from_number=SHOP)
