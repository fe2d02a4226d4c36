"""The outbox, emptied into a server that counts: each text leaves once, whatever happens on the way."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.db import connection
from kombu.exceptions import OperationalError

from crm import consent, messaging
from crm.enums import Author, BusinessStatus, ConsentSource, MessageStatus
from crm.models import Activity, Business, Consent, Conversation, Message, PhoneNumber, Task
from crm.scoping import every_business
from telephony import delivery, tasks
from telephony.delivery import BACKOFF, GIVE_UP_ASKING, MAX_ATTEMPTS, PATIENCE
from telephony.gateways import CarrierText
from telephony.gateways import twilio as twilio_gateway
from tests.crowd import all_at_once
from tests.servers.carrier import Carrier
from tests.servers.twilio_api import FINE, TwilioApi, Weather
from tests.telephony.outbox import PHONE, queue, rewrite, stored

LATER = PATIENCE + timedelta(seconds=1)
NIGHT = timedelta(hours=14)  # 9:00 in the morning and this: 11:00 at night in Chicago


@pytest.fixture(autouse=True)
def _every_business() -> Iterator[None]:
    with every_business():
        yield


def send_due(now: datetime) -> list[MessageStatus | None]:
    """What a worker does: claim what is due and deliver it."""
    return [delivery.deliver(message_id, now=now) for message_id in delivery.claim_due(now=now)]


def facts(message: Message) -> tuple[str, str, str]:
    row = stored(message)
    return row.status, row.error_code, row.error


# --- Once ------------------------------------------------------------------------------------------------------------


def test_a_due_text_is_sent_and_its_sid_kept(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)

    assert send_due(now) == [MessageStatus.SENT]

    row = stored(message)
    assert (row.status, row.provider_sid, row.sent_at, row.attempts, row.error) == (
        "sent",
        twilio.texts[0].sid,
        now,
        1,
        "",
    )
    assert send_due(now) == []
    assert len(twilio.texts) == 1


def test_a_text_is_not_sent_before_its_time(twilio: TwilioApi, cast, now):
    rewrite(queue(cast.shop, now=now), due_at=now + timedelta(minutes=5))

    assert send_due(now) == []
    assert send_due(now + timedelta(minutes=5)) == [MessageStatus.SENT]


@pytest.mark.django_db(transaction=True)
def test_ten_workers_send_each_text_once(twilio: TwilioApi, cast, now):
    messages = [queue(cast.shop, f"Text {number}", now=now, phone=f"+1555123{number:04}") for number in range(30)]

    def work() -> None:
        while claimed := delivery.claim_due(now=now, limit=1):
            delivery.deliver(claimed[0], now=now)

    all_at_once([work] * 10)

    assert sorted(text.body for text in twilio.texts) == sorted(message.body for message in messages)
    assert set(Message.objects.values_list("status", "attempts")) == {("sent", 1)}


@pytest.mark.django_db(transaction=True)
def test_ten_runs_of_the_task_at_once_send_each_text_once(twilio: TwilioApi, cast, clock, now):
    for number in range(12):
        queue(cast.shop, f"Text {number}", now=now)

    taken = all_at_once([lambda: tasks.deliver_due()["taken"]] * 10)

    assert (sum(taken), len(twilio.texts), len({text.body for text in twilio.texts})) == (12, 12, 12)
    assert tasks.deliver_due() == {"taken": 0}


def test_a_message_that_somebody_else_has_moved_is_not_sent(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    delivery.claim_due(now=now)
    rewrite(message, status=MessageStatus.DELIVERED)

    assert delivery.deliver(str(message.pk), now=now) is None
    assert twilio.requests == []


def test_an_alert_to_the_owner_leaves_from_the_shops_own_number(twilio: TwilioApi, cast, now):
    messaging.alert_owner(business=cast.shop, body="New job: AC Repair", now=now)

    send_due(now)

    assert [(text.to, text.from_number) for text in twilio.texts] == [("+15552009001", "+15552000001")]


def test_a_business_without_a_number_cannot_send(twilio: TwilioApi, cast, now):
    PhoneNumber.objects.filter(business=cast.shop).delete()
    alert = messaging.alert_owner(business=cast.shop, body="New job: AC Repair", now=now)

    send_due(now)

    assert facts(alert) == ("failed", "", "This business has no number to send from.")
    assert twilio.requests == []


def test_a_text_of_three_days_ago_would_only_confuse(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)

    send_due(now + timedelta(days=3, seconds=1))

    assert facts(message) == ("failed", "", "It waited too long to be sent.")
    assert twilio.requests == []


# --- The door once more ----------------------------------------------------------------------------------------------


def test_an_opt_out_after_queueing_stops_the_text(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    consent.revoke(
        business=cast.shop, phone=PHONE, source=ConsentSource.TEXT, words="stop", now=now + timedelta(seconds=1)
    )

    assert send_due(now + timedelta(seconds=2)) == [MessageStatus.REFUSED]

    assert facts(message) == ("refused", "", "Can't send: opted out on Nov 18 by text (“stop”).")
    assert twilio.requests == []
    assert Activity.objects.filter(verb="refused").count() == 1


def test_a_suspension_after_queueing_stops_the_text(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    Business.objects.filter(pk=cast.shop.pk).update(status=BusinessStatus.SUSPENDED)

    assert send_due(now) == [MessageStatus.REFUSED]
    assert facts(message) == ("refused", "", "Can't send: this business is suspended.")


def test_a_person_who_took_over_after_queueing_stops_the_assistant_and_not_themselves(twilio: TwilioApi, cast, now):
    assistant, staff = queue(cast.shop, "From us", now=now), queue(cast.shop, "From Bob", now=now, author=Author.STAFF)
    Conversation.objects.update(human=cast.bob, human_until=now + timedelta(hours=1))

    send_due(now)

    said = "Can't send: Bob is answering this conversation until 10:00 AM."
    assert (facts(assistant), facts(staff)[0]) == (("refused", "", said), "sent")


def test_night_has_fallen_meanwhile_so_the_text_waits_and_no_attempt_is_counted(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)

    assert send_due(now + NIGHT) == [MessageStatus.QUEUED]

    row = stored(message)
    assert (row.status, row.attempts, row.due_at) == ("queued", 0, now + timedelta(hours=23))  # 8:00 in Chicago
    assert row.delay_reason == "Will be sent tomorrow 8:00 AM your time: it is 11:00 PM in Chicago."
    assert twilio.requests == []
    assert send_due(row.due_at) == [MessageStatus.SENT]


def test_an_alert_to_the_owner_leaves_at_night_and_despite_their_own_stop(twilio: TwilioApi, cast, now):
    messaging.alert_owner(business=cast.shop, body="New job: AC Repair", now=now + NIGHT)
    consent.revoke(business=cast.shop, phone="+15552009001", source=ConsentSource.TEXT, words="stop", now=now)

    assert send_due(now + NIGHT) == [MessageStatus.SENT]


# --- What the carrier says -------------------------------------------------------------------------------------------


def test_a_refusal_for_good_is_told_to_a_person(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(refuse=21614)

    assert send_due(now) == [MessageStatus.FAILED]

    said = "This number cannot receive texts (it may be a landline)."
    assert facts(message) == ("failed", "21614", said)
    assert Activity.objects.get(verb="failed").text == f"Text not delivered: {said} “{message.body}”"
    assert Task.objects.get().title == f"Reach (555) 123-4567 another way: a text did not arrive. {said}"


def test_the_carriers_21610_is_written_back_to_the_ledger(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(refuse=21610)

    send_due(now)

    assert facts(message) == ("failed", "21610", "This number has opted out.")
    line = Consent.objects.order_by("-at", "-id")[0]
    assert (line.action, line.source, line.reference) == ("revoke", "carrier", f"message:{message.pk}")
    with pytest.raises(messaging.CannotSend, match=r"^Can't send: opted out on Nov 18 told by the carrier\.$"):
        queue(cast.shop, now=now)


def test_a_21610_for_the_owners_phone_does_not_touch_the_ledger(twilio: TwilioApi, cast, now):
    messaging.alert_owner(business=cast.shop, body="New job: AC Repair", now=now)
    twilio.creating = Weather(refuse=21610)

    assert send_due(now) == [MessageStatus.FAILED]
    assert (Consent.objects.count(), Task.objects.count()) == (0, 0)


def test_trouble_that_passes_is_tried_again_later_and_later_and_then_given_up(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(status=429)
    waits = []
    moment = now
    for _ in range(MAX_ATTEMPTS - 1):
        assert send_due(moment) == [MessageStatus.QUEUED]
        due_at = stored(message).due_at
        assert send_due(due_at - timedelta(microseconds=1)) == []
        waits.append(due_at - moment)
        moment = due_at

    assert waits == [BACKOFF * factor for factor in (1, 2, 4, 8, 16)]
    assert stored(message).delay_reason == "The carrier asks us to slow down. Trying again."
    assert send_due(moment) == [MessageStatus.FAILED]
    assert facts(message) == ("failed", "20429", "The carrier asks us to slow down. We tried 6 times.")
    assert len(twilio.requests) == MAX_ATTEMPTS
    assert Task.objects.get().reason == "not_delivered"


def test_a_text_that_got_through_at_the_second_try_keeps_no_trace_of_trouble(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(status=503)
    send_due(now)
    twilio.creating = FINE

    assert send_due(now + BACKOFF) == [MessageStatus.SENT]
    assert (facts(message), stored(message).attempts) == (("sent", "", ""), 2)


def test_a_claim_takes_no_more_than_it_says_whatever_way_the_planner_goes(cast, now):
    for n in range(3):
        queue(cast.shop, f"Text {n}", now=now)
    with connection.cursor() as cursor:
        for way in ("hashjoin", "mergejoin", "hashagg", "material", "indexscan", "bitmapscan", "sort"):
            cursor.execute(f"SET LOCAL enable_{way} = off")

    assert [len(delivery.claim_due(now=now, limit=1)) for _ in range(4)] == [1, 1, 1, 0]


def test_one_text_that_breaks_our_own_code_does_not_hold_up_the_others(
    twilio: TwilioApi, cast, now, clock, monkeypatch, caplog
):
    bad, good = queue(cast.shop, "Bad", now=now), queue(cast.shop, "Good", now=now + timedelta(microseconds=1))
    send = twilio_gateway.TwilioGateway.send

    def breaks(self: Any, message: Message, **kwargs: Any) -> Any:
        if message.pk == bad.pk:
            raise ZeroDivisionError
        return send(self, message, **kwargs)

    monkeypatch.setattr(twilio_gateway.TwilioGateway, "send", breaks)

    assert tasks.deliver_due() == {"taken": 2}
    assert (stored(bad).status, stored(good).status) == ("sending", "sent")
    assert "delivery_broke_down" in caplog.text


# --- Nobody knows: the sweep asks ------------------------------------------------------------------------------------


def test_taken_and_then_the_line_broke_the_sweep_finds_it_and_nothing_is_sent_twice(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(drop_taken=True)

    assert send_due(now) == [MessageStatus.SENDING]
    assert stored(message).provider_sid == ""

    assert delivery.sweep(now=now + LATER) == {"found": 1, "queued_again": 0, "waiting": 0, "unknown": 0}
    row = stored(message)
    assert (row.status, row.provider_sid, row.attempts) == ("sent", twilio.texts[0].sid, 1)
    assert (send_due(now + LATER), len(twilio.texts)) == ([], 1)


def test_never_taken_is_sent_again_once(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(drop_unread=True)
    send_due(now)
    twilio.creating = FINE

    assert delivery.sweep(now=now + LATER)["queued_again"] == 1
    assert send_due(now + LATER) == [MessageStatus.SENT]
    assert (stored(message).attempts, len(twilio.texts)) == (2, 1)


def test_a_worker_that_died_between_claim_and_sending_leaves_a_text_for_the_sweep(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    delivery.claim_due(now=now)  # and nothing more

    assert delivery.sweep(now=now + PATIENCE)["queued_again"] == 0
    assert delivery.sweep(now=now + LATER)["queued_again"] == 1
    send_due(now + LATER)
    assert (stored(message).status, len(twilio.texts)) == ("sent", 1)


def test_what_became_of_it_meanwhile_is_kept(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(drop_taken=True)
    send_due(now)
    twilio.texts[0].status, twilio.texts[0].error_code = "undelivered", 30003

    delivery.sweep(now=now + LATER)

    assert facts(message) == ("failed", "30003", "The phone was switched off or out of reach.")


def test_two_texts_with_the_same_words_to_one_person_are_told_apart_by_what_is_known(twilio: TwilioApi, cast, now):
    known, lost = queue(cast.shop, "On my way", now=now), queue(cast.shop, "On my way", now=now + timedelta(seconds=1))
    delivery.deliver(delivery.claim_due(now=now, limit=1)[0], now=now)
    twilio.creating = Weather(drop_taken=True)
    delivery.deliver(delivery.claim_due(now=now + timedelta(seconds=1), limit=1)[0], now=now + timedelta(seconds=1))

    assert delivery.sweep(now=now + LATER + timedelta(seconds=1))["found"] == 1
    assert [stored(known).provider_sid, stored(lost).provider_sid] == [text.sid for text in twilio.texts]


def test_of_two_lost_twins_of_which_one_arrived_one_is_sent_again(twilio: TwilioApi, cast, now):
    twins = [queue(cast.shop, "On my way", now=now), queue(cast.shop, "On my way", now=now)]
    twilio.creating = Weather(drop_taken=True)
    delivery.deliver(delivery.claim_due(now=now, limit=1)[0], now=now)
    twilio.creating = Weather(drop_unread=True)
    delivery.deliver(delivery.claim_due(now=now, limit=1)[0], now=now)
    twilio.creating = FINE

    assert delivery.sweep(now=now + LATER) == {"found": 1, "queued_again": 1, "waiting": 0, "unknown": 0}
    send_due(now + LATER)
    assert len(twilio.texts) == 2
    assert {stored(twin).provider_sid for twin in twins} == {text.sid for text in twilio.texts}


def test_a_text_the_carrier_took_twice_is_one_text_to_us(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(twice=True, drop_taken=True)
    send_due(now)

    assert delivery.sweep(now=now + LATER)["found"] == 1
    assert stored(message).provider_sid in {text.sid for text in twilio.texts}
    assert delivery.sweep(now=now + LATER) == {"found": 0, "queued_again": 0, "waiting": 0, "unknown": 0}


def test_a_first_attempt_that_shows_up_late_is_found_after_the_second_came_to_nothing(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(drop_taken=True)
    send_due(now)
    late = twilio.texts.pop()  # the carrier's list is not up to date yet
    delivery.sweep(now=now + LATER)
    twilio.creating = Weather(drop_unread=True)
    send_due(now + LATER)
    twilio.texts.append(late)

    assert delivery.sweep(now=now + 2 * LATER)["found"] == 1
    assert stored(message).provider_sid == late.sid


@pytest.mark.parametrize("away", [Weather(status=503), Weather(drop_unread=True), Weather(status=200, page="<html>")])
def test_with_the_carrier_away_the_text_waits_an_hour_and_then_a_person_is_told(twilio: TwilioApi, cast, now, away):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(drop_unread=True)
    send_due(now)
    twilio.listing = away

    assert delivery.sweep(now=now + GIVE_UP_ASKING - timedelta(seconds=1))["waiting"] == 1
    assert (stored(message).status, Task.objects.count()) == ("sending", 0)
    assert delivery.sweep(now=now + GIVE_UP_ASKING)["unknown"] == 1
    assert facts(message) == ("unknown", "", "The carrier could not tell whether it was sent. Call, or write again.")
    assert Task.objects.get().title.endswith("It is not known whether this text arrived.")
    assert delivery.sweep(now=now + GIVE_UP_ASKING)["unknown"] == 0


def test_after_six_attempts_that_nobody_knows_of_a_person_is_told(twilio: TwilioApi, cast, now):
    message = queue(cast.shop, now=now)
    twilio.creating = Weather(drop_unread=True)
    moment = now
    for _ in range(MAX_ATTEMPTS):
        send_due(moment)
        moment += LATER
        delivery.sweep(now=moment)

    assert (stored(message).status, stored(message).attempts, twilio.texts) == ("unknown", MAX_ATTEMPTS, [])


@pytest.mark.django_db(transaction=True)
def test_four_sweeps_at_once_settle_twins_without_a_mix_up(twilio: TwilioApi, cast, now):
    twins = [queue(cast.shop, "On my way", now=now) for _ in range(4)]
    twilio.creating = Weather(drop_taken=True)
    send_due(now)

    all_at_once([lambda: delivery.sweep(now=now + LATER)] * 4)
    delivery.sweep(now=now + LATER)

    assert {stored(twin).provider_sid for twin in twins} == {text.sid for text in twilio.texts}
    assert (len(twilio.texts), {stored(twin).status for twin in twins}) == (4, {"sent"})


def test_a_twin_that_was_given_the_same_sid_a_moment_ago_is_looked_at_again(
    twilio: TwilioApi, cast, now, monkeypatch, caplog
):
    twins = [queue(cast.shop, "On my way", now=now) for _ in range(2)]
    twilio.creating = Weather(drop_taken=True)
    send_due(now)
    record = delivery.record

    def overtaken(message: Message, taken: CarrierText, **more: Any) -> None:
        """Another sweep, between our question and our writing it down."""
        (other,) = (twin for twin in twins if twin.pk != message.pk)
        rewrite(other, provider_sid=taken.sid, status="sent")
        monkeypatch.setattr(delivery, "record", record)
        record(message, taken, **more)

    monkeypatch.setattr(delivery, "record", overtaken)

    assert delivery.sweep(now=now + LATER)["waiting"] == 1
    assert "sweep_broke_down" not in caplog.text
    delivery.sweep(now=now + LATER)
    assert {stored(twin).provider_sid for twin in twins} == {text.sid for text in twilio.texts}


def test_one_text_that_breaks_the_sweep_does_not_hold_up_the_others(twilio: TwilioApi, cast, now, monkeypatch):
    bad, good = queue(cast.shop, "Bad", now=now), queue(cast.shop, "Good", now=now)
    twilio.creating = Weather(drop_taken=True)
    send_due(now)
    find = twilio_gateway.TwilioGateway.find

    def breaks(self: Any, message: Message, **kwargs: Any) -> Any:
        if message.pk == bad.pk:
            raise ZeroDivisionError
        return find(self, message, **kwargs)

    monkeypatch.setattr(twilio_gateway.TwilioGateway, "find", breaks)

    assert delivery.sweep(now=now + LATER)["found"] == 1
    assert (stored(bad).status, stored(good).status) == ("sending", "sent")


def test_a_sweep_ends_in_time_however_slow_the_carrier_is(twilio: TwilioApi, cast, now, monkeypatch):
    for number in range(3):
        queue(cast.shop, f"Text {number}", now=now)
    delivery.claim_due(now=now)
    monkeypatch.setattr(delivery, "LONGEST_SWEEP", 0.05)
    twilio.listing = Weather(hang=0.1)

    assert sum(delivery.sweep(now=now + LATER).values()) == 1
    assert sum(delivery.sweep(now=now + LATER).values()) == 1


# --- Answers that left with the webhook ------------------------------------------------------------------------------


def test_an_answer_without_a_report_is_asked_about(twilio: TwilioApi, carrier: Carrier, cast, clock, now):
    (words,) = carrier.text("need ac repair")
    answer = Message.objects.get(direction="outbound")
    text = twilio.put(to=PHONE, body=words, from_number="+15552000001", status="delivered")

    assert delivery.sweep(now=now + 2 * LATER)["found"] == 1
    assert (stored(answer).status, stored(answer).provider_sid) == ("delivered", text.sid)


def test_an_answer_the_carrier_never_saw_is_sent_the_other_way(twilio: TwilioApi, carrier: Carrier, cast, clock, now):
    (words,) = carrier.text("need ac repair")  # and our answer was lost on the way back

    assert delivery.sweep(now=now + 2 * LATER)["queued_again"] == 1
    assert send_due(now + 2 * LATER) == [MessageStatus.SENT]
    answer = Message.objects.get(direction="outbound")
    assert ([text.body for text in twilio.texts], answer.sent_via, answer.attempts) == ([words], "api", 2)


# --- Waking up, and Redis away ---------------------------------------------------------------------------------------


@pytest.fixture(params=["nobody listens", "nobody answers"])
def redis_away(request, monkeypatch) -> Iterator[None]:
    """Where the cache and the broker should be is nobody, or somebody who never says a word."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        if request.param == "nobody answers":
            door.listen(100)
        url = f"redis://127.0.0.1:{door.getsockname()[1]}/0"
        gone = caches.create_connection("default")
        gone._servers = [url]
        monkeypatch.setattr(tasks, "cache", gone)
        monkeypatch.setattr(tasks, "_broker_back", 0.0)
        with broker_at(url):
            yield
    tasks._broker_back = 0.0


class broker_at:  # noqa: N801 - reads as a phrase
    """Point Celery's publishers elsewhere for a while."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        app = tasks.deliver_due.app
        self.was = app.conf.broker_url
        self._turn(self.url)

    def __exit__(self, *error: object) -> None:
        self._turn(self.was)

    def _turn(self, url: str) -> None:
        app = tasks.deliver_due.app
        app.conf.broker_url = app.conf.broker_write_url = app.conf.broker_read_url = url
        app._pool = None
        app.amqp._producer_pool = None


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("redis_away")
def test_with_redis_away_a_text_is_queued_at_once_and_the_request_goes_on(cast, now):
    began = time.monotonic()

    messages = [queue(cast.shop, f"Text {number}", now=now) for number in range(5)]

    assert time.monotonic() - began < 2
    assert {stored(message).status for message in messages} == {"queued"}


@pytest.mark.usefixtures("redis_away")
def test_a_broker_that_is_away_is_found_out_quickly_and_once():
    began = time.monotonic()
    for _ in range(20):
        tasks.wake_delivery()
        tasks.wake_reader(event_id="0")

    assert time.monotonic() - began < 2
    assert tasks._broker_is_away() is True


def test_after_a_pause_the_broker_is_tried_again(monkeypatch):
    asked = []
    monkeypatch.setattr(tasks, "_broker_back", time.monotonic() - 1)
    monkeypatch.setattr(tasks.deliver_due, "apply_async", lambda **kwargs: asked.append(kwargs))

    tasks.wake_delivery()

    assert asked == [{"kwargs": {}}]


def test_one_wake_up_at_a_time_is_under_way(monkeypatch, twilio: TwilioApi, cast):
    asked = []
    monkeypatch.setattr(tasks.deliver_due, "apply_async", lambda **kwargs: asked.append(kwargs))
    for _ in range(3):
        tasks.wake_delivery()
    assert len(asked) == 1

    tasks.deliver_due()  # the worker has looked: a text queued from now on needs a new wake-up
    tasks.wake_delivery()

    assert len(asked) == 2


def test_a_failing_broker_is_no_failure_of_the_request(monkeypatch):
    def away(**kwargs: Any) -> None:
        raise OperationalError("Connection refused")

    monkeypatch.setattr(tasks, "_broker_back", 0.0)
    monkeypatch.setattr(tasks.deliver_due, "apply_async", away)

    tasks.wake_delivery()

    assert tasks._broker_is_away() is True


def test_a_full_outbox_is_shared_with_other_work(monkeypatch, twilio: TwilioApi, cast, now, clock):
    asked = []
    monkeypatch.setattr(tasks.deliver_due, "apply_async", lambda **kwargs: asked.append(kwargs))
    monkeypatch.setattr(tasks, "_LONGEST_RUN", 0.0)
    queue(cast.shop, "One", now=now)
    queue(cast.shop, "Two", now=now)
    monkeypatch.setattr(tasks, "_broker_back", 0.0)

    assert tasks.deliver_due() == {"taken": 1}
    assert (len(asked), len(twilio.texts)) == (1, 1)


@pytest.mark.parametrize("redis_away", ["nobody listens"], indirect=True)
@pytest.mark.usefixtures("redis_away")
def test_a_cache_that_is_away_forgives_everything():
    gone = tasks.cache

    assert gone.get("key", "default") == "default"
    assert gone.add("key", 1) is True  # everybody is first
    gone.set("key", 1)
    assert gone.delete("key") is False
    with pytest.raises(ValueError, match="key"):
        gone.incr("key")
    assert cache.get("key") is None


def test_the_sweeps_run_twice_harmlessly(twilio: TwilioApi, cast, clock, now):
    queue(cast.shop, now=now)
    delivery.claim_due(now=now - LATER)
    nothing = {"found": 0, "queued_again": 0, "waiting": 0, "unknown": 0}

    assert [tasks.sweep_outbox(), tasks.sweep_outbox()] == [nothing, nothing]
    assert [tasks.deliver_due(), tasks.deliver_due()] == [{"taken": 1}, {"taken": 0}]
    assert [tasks.sweep_unread(), tasks.sweep_unread()] == [{"read": 0}, {"read": 0}]
    assert len(twilio.texts) == 1
