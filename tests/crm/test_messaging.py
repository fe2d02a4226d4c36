"""The sending door: in which order it asks, in which words it refuses, and what it writes down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from crm import consent, limits, messaging
from crm.enums import Author, BusinessStatus, ConsentSource, MessageKind, Meter
from crm.messaging import ANSWER_WINDOW, MAX_LENGTH, CannotSend, Plan, alert_owner, plan_message, queue_message
from crm.models import Activity, Allowance, Business, Conversation, Message
from crm.scoping import every_business
from crm.services import hand_back, open_thread, remember_customer, reply_as_staff, take_over, tell_customer
from tests.crowd import all_at_once

PHONE = "+15551234567"  # says nothing about where it is, so Chicago, where the shop is
PRICE = 8_300  # millionths of a dollar for one segment
NIGHT = timedelta(hours=14)  # from nine in the morning to eleven at night


@pytest.fixture(autouse=True)
def _every_business() -> Iterator[None]:
    with every_business():
        yield


@pytest.fixture
def thread(cast, now) -> Conversation:
    """A thread with somebody who agreed to texts when they sent their request."""
    consent.grant(business=cast.shop, phone=PHONE, source=ConsentSource.INTAKE, words="", now=now - timedelta(days=1))
    customer, _ = remember_customer(business=cast.shop, phone=PHONE, name="Dana")
    return open_thread(business=cast.shop, customer=customer, now=now - timedelta(days=1))


def plan(thread: Conversation, now: Any, body: str = "On my way.", **more: Any) -> Plan:
    return plan_message(
        **{
            "business": thread.business,
            "phone": PHONE,
            "body": body,
            "author": Author.ASSISTANT,
            "now": now,
            "conversation": thread,
        }
        | more
    )


def send(thread: Conversation, now: Any, body: str = "On my way.", **more: Any) -> Message:
    return queue_message(
        **{"business": thread.business, "customer": thread.customer, "body": body, "author": Author.ASSISTANT, "now": now}
        | {"conversation": thread} | more
    )  # fmt: skip


def spent(business: Business) -> int:
    return sum(Allowance.objects.filter(business=business, meter=Meter.SMS).values_list("spent_micros", flat=True))


# --- The order of the questions --------------------------------------------------------------------------------------


def test_the_first_reason_is_the_one_that_is_told(cast, thread, now):
    """Everything is wrong at once; each time the first thing is put right, the next one is named."""
    shop = cast.shop
    Business.objects.filter(pk=shop.pk).update(status=BusinessStatus.SUSPENDED, sms_daily_cap_cents=0)
    shop.refresh_from_db()
    thread.business = shop
    take_over(conversation=thread, user=cast.bob, now=now + NIGHT)
    now += NIGHT
    stranger = "+15557654321"
    consent.revoke(business=shop, phone=PHONE, source=ConsentSource.TEXT, words="stop", now=now)

    def reason(**more: Any) -> str:
        with pytest.raises(CannotSend) as refusal:
            send(thread, now, **more)
        return str(refusal.value)

    assert reason(body="") == "Can't send: this business is suspended."

    shop.status = BusinessStatus.ACTIVE
    thread.their_address = ""
    assert reason(body="") == "Can't send: there is no phone number on file."

    thread.their_address = stranger
    assert reason(body=" \n") == "Can't send: the message is empty."
    assert reason(body="x" * 1_601) == "Can't send: the message has 1,601 characters, at most 1,600 fit."
    assert reason() == "Can't send: they have not agreed to texts, and nothing is on record from this number."

    thread.their_address = PHONE
    assert reason() == "Can't send: opted out on Nov 18 by text (“stop”)."

    consent.grant(business=shop, phone=PHONE, source=ConsentSource.TEXT, words="START", now=now + timedelta(seconds=1))
    assert reason() == "Can't send: Bob is answering this conversation until 1:00 AM."

    hand_back(conversation=thread, user=cast.bob, now=now)
    assert reason() == "Can't send: today's budget of $0.00 for texts is used up."
    assert (Message.objects.count(), spent(shop)) == (0, 0)

    shop.sms_daily_cap_cents = 100
    message = send(thread, now)
    assert (message.status, message.delay_reason) == (
        "queued", "Will be sent tomorrow 8:00 AM your time: it is 11:00 PM in Chicago.",
    )  # fmt: skip


def test_a_refusal_changes_nothing(cast, thread, now):
    consent.revoke(business=cast.shop, phone=PHONE, source=ConsentSource.TEXT, words="stop", now=now)
    thread.waiting_since = now
    thread.save()

    with pytest.raises(CannotSend):
        send(thread, now)

    thread.refresh_from_db()
    assert (Message.objects.count(), spent(cast.shop), thread.waiting_since) == (0, 0, now)


def test_the_door_can_be_asked_without_sending(cast, thread, now):
    assert plan(thread, now) == Plan(due_at=now, sentence="Sends now.", count=plan(thread, now).count)
    assert messaging.why_not(business=cast.shop, phone=PHONE, body="Hi", author=Author.ASSISTANT, now=now) is None
    assert messaging.why_not(business=cast.shop, phone=None, body="Hi", author=Author.ASSISTANT, now=now) == (
        "Can't send: there is no phone number on file."
    )
    assert (Message.objects.count(), spent(cast.shop)) == (0, 0)


def test_an_agreement_with_alice_is_none_with_charlie(cast, thread, now):
    said = messaging.why_not(business=cast.next_door, phone=PHONE, body="Hi", author=Author.STAFF, now=now)

    assert said == "Can't send: they have not agreed to texts, and nothing is on record from this number."


# --- What is written down --------------------------------------------------------------------------------------------


def test_a_text_is_a_row_of_the_outbox_and_the_newest_word_of_its_thread(cast, thread, now):
    thread.waiting_since = now
    message = send(
        thread,
        now,
        body="It’s 5 o’clock – see you…",
        kind=MessageKind.APPOINTMENT,
        about="appointment:1",
        sent_by=cast.bob,
    )

    row = Message.objects.get(pk=message.pk)
    assert (row.body, row.segments, row.status, row.due_at, row.delay_reason) == (
        "It's 5 o'clock - see you...",
        1,
        "queued",
        now,
        "",
    )
    assert (row.to_number, row.from_number, row.attempts, row.claimed_at) == (PHONE, "+15552000001", 0, None)
    assert (row.kind, row.about, row.sent_by, row.sent_via) == ("appointment", "appointment:1", cast.bob, "api")
    thread.refresh_from_db()
    assert (thread.last_message_at, thread.last_words, thread.waiting_since) == (
        now,
        "It's 5 o'clock - see you...",
        None,
    )
    assert spent(cast.shop) == PRICE


def test_an_answer_that_leaves_with_the_webhook_is_born_claimed(cast, thread, now):
    message = send(thread, now, in_answer=True)

    assert (message.status, message.sent_via, message.claimed_at, message.attempts) == ("sending", "answer", now, 1)


def test_a_text_is_as_long_as_it_is_sent(cast, thread, now):
    """An ellipsis becomes three dots, so what is counted is what leaves."""
    assert plan(thread, now, body="…" * 533).allowed is True
    assert (
        plan(thread, now, body="…" * 534).sentence == "Can't send: the message has 1,602 characters, at most 1,600 fit."
    )
    assert plan(thread, now, body="x" * MAX_LENGTH).count.segments == 11


@pytest.mark.parametrize("body", ["", "  \n\t ", "\u200b", "\ufeff\u2060", "\x00\x07"])
def test_nothing_to_see_is_nothing_to_send(cast, thread, now, body):
    assert plan(thread, now, body=body).sentence == "Can't send: the message is empty."


def test_control_characters_never_leave(cast, thread, now):
    assert send(thread, now, body="Hi\x00 \x0bBob\x1f\r\nsee you\x9f \ufffe").body == "Hi Bob\nsee you "


# --- When ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phone", "hours", "due_after", "sentence"),
    [
        (PHONE, 11.99, 0, "Sends now."),  # 8:59 at night in Chicago
        (PHONE, 12, 11, "Will be sent tomorrow 8:00 AM your time: it is 9:00 PM in Chicago."),
        ("+12125550123", 11, 11, "Will be sent tomorrow 8:00 AM their time: it is 9:00 PM in New York."),
        (
            "+13055550123",
            10,
            12,
            "Will be sent tomorrow 8:00 AM their time: it is 8:00 PM in New York.",
        ),  # Florida ends at eight
        (
            "+15125550123",
            -0.5,
            0.5,
            "Will be sent 9:00 AM their time: it is 8:30 AM in Chicago.",
        ),  # Texas begins at nine
    ],
)
def test_the_hours_are_those_of_the_place_the_phone_is_in(cast, thread, now, phone, hours, due_after, sentence):
    consent.grant(business=cast.shop, phone=phone, source=ConsentSource.INTAKE, words="", now=now - timedelta(days=1))
    moment = now + timedelta(hours=hours)

    found = plan(thread, moment, phone=phone)

    assert (found.sentence, found.due_at) == (sentence, moment + timedelta(hours=due_after))


def test_somebody_who_wrote_a_moment_ago_is_answered_at_any_hour(cast, thread, now):
    night = now + NIGHT
    thread.last_inbound_at = night - ANSWER_WINDOW
    assert plan(thread, night).due_at == night

    thread.last_inbound_at = night - ANSWER_WINDOW - timedelta(seconds=1)
    assert plan(thread, night).due_at == now + timedelta(hours=23)


def test_a_text_that_waits_says_why(cast, thread, now):
    message = send(thread, now + NIGHT)

    assert (message.due_at, message.status) == (now + timedelta(hours=23), "queued")
    assert message.delay_reason == "Will be sent tomorrow 8:00 AM your time: it is 11:00 PM in Chicago."


# --- A person has taken over -----------------------------------------------------------------------------------------


def test_while_a_person_answers_the_assistant_is_silent_and_staff_and_system_are_not(cast, thread, now):
    take_over(conversation=thread, user=cast.bob, now=now)

    assert plan(thread, now).sentence == "Can't send: Bob is answering this conversation until 11:00 AM."
    assert plan(thread, now, author=Author.STAFF).allowed is True
    assert plan(thread, now, author=Author.SYSTEM).allowed is True
    assert plan(thread, now + timedelta(hours=2)).allowed is True


def test_whoever_writes_takes_the_conversation_over(cast, thread, now):
    reply_as_staff(conversation=thread, body="Bob here.", user=cast.bob, now=now)

    thread.refresh_from_db()
    thread.business = cast.shop
    assert (thread.human, thread.human_until) == (cast.bob, now + timedelta(hours=2))
    assert plan(thread, now).allowed is False


def test_a_reply_that_cannot_be_sent_takes_nothing_over(cast, thread, now):
    consent.revoke(business=cast.shop, phone=PHONE, source=ConsentSource.TEXT, words="stop", now=now)

    with pytest.raises(CannotSend, match="opted out on Nov 18"):
        reply_as_staff(conversation=thread, body="Bob here.", user=cast.bob, now=now)

    thread.refresh_from_db()
    assert (thread.human, Message.objects.count()) == (None, 0)


def test_what_the_assistant_could_not_say_stands_on_the_timeline(cast, thread, now):
    take_over(conversation=thread, user=cast.bob, now=now)

    assert tell_customer(customer=thread.customer, body="See you at 3.", kind=MessageKind.REMINDER, now=now) is None

    said = "Can't send: Bob is answering this conversation until 11:00 AM. “See you at 3.”"
    assert Activity.objects.get(verb="refused").text == said


# --- Words that are owed to everybody --------------------------------------------------------------------------------


def test_the_answer_to_stop_or_help_asks_neither_the_ledger_nor_the_person_nor_the_cap(cast, thread, now):
    consent.revoke(business=cast.shop, phone=PHONE, source=ConsentSource.TEXT, words="stop", now=now)
    take_over(conversation=thread, user=cast.bob, now=now)
    cast.shop.sms_daily_cap_cents = 0

    message = send(thread, now, body="You will get no more texts.", kind=MessageKind.KEYWORD)

    assert (message.status, spent(cast.shop)) == ("queued", PRICE)


def test_not_even_those_leave_a_suspended_business(cast, thread, now):
    cast.shop.status = BusinessStatus.SUSPENDED

    assert plan(thread, now, kind=MessageKind.KEYWORD).sentence == "Can't send: this business is suspended."


# --- The owner -------------------------------------------------------------------------------------------------------


def test_an_alert_to_the_owner_asks_nobody(cast, thread, now):
    cast.shop.sms_daily_cap_cents = 0
    consent.revoke(business=cast.shop, phone="+15552009001", source=ConsentSource.TEXT, words="stop", now=now)

    alert = alert_owner(business=cast.shop, body="New job: AC Repair – now…", now=now + NIGHT, about="appointment:1")

    assert alert is not None
    assert (alert.body, alert.to_number, alert.audience, alert.due_at) == (
        "New job: AC Repair - now...", "+15552009001", "owner", now + NIGHT,
    )  # fmt: skip
    assert spent(cast.shop) == PRICE


def test_an_owner_without_a_phone_is_told_nothing_by_text(cast, now):
    cast.shop.owner_phone = ""

    assert alert_owner(business=cast.shop, body="New job", now=now) is None
    assert Message.objects.count() == 0


def test_a_novel_to_the_owner_is_cut(cast, now):
    alert = alert_owner(business=cast.shop, body="…" * 1_600, now=now)

    assert alert is not None
    assert len(alert.body) == MAX_LENGTH


# --- The day's budget ------------------------------------------------------------------------------------------------


def test_every_segment_costs(cast, thread, now):
    send(thread, now, body="x" * 161)
    assert spent(cast.shop) == 2 * PRICE

    send(thread, now, body="ж" * 71)
    assert spent(cast.shop) == 4 * PRICE


def test_a_text_that_does_not_fit_the_budget_takes_none_of_it(cast, thread, now):
    cast.shop.sms_daily_cap_cents = 2  # two segments and a bit
    send(thread, now, body="x" * 161)

    with pytest.raises(CannotSend, match=r"^Can't send: today's budget of \$0\.02 for texts is used up\.$"):
        send(thread, now)

    assert (spent(cast.shop), Message.objects.count()) == (2 * PRICE, 1)


def test_a_text_that_was_taken_back_gives_its_money_back(cast, thread, now):
    with transaction.atomic():
        send(thread, now)
        transaction.set_rollback(True)

    assert (spent(cast.shop), Message.objects.count()) == (0, 0)


def test_the_day_is_the_businesss_own(cast, thread, now):
    cast.shop.sms_daily_cap_cents = 1
    evening = now.replace(hour=5, minute=59)  # one minute to midnight in Chicago
    limits.spend(business=cast.shop, meter=Meter.SMS, micros=PRICE, now=evening)

    assert limits.spend(business=cast.shop, meter=Meter.SMS, micros=PRICE, now=evening) is False
    assert limits.spend(business=cast.shop, meter=Meter.SMS, micros=PRICE, now=evening + timedelta(minutes=1)) is True


def test_charlies_texts_are_not_paid_from_alices_budget(cast, now):
    limits.spend(business=cast.next_door, meter=Meter.SMS, micros=PRICE, now=now)

    assert (spent(cast.shop), spent(cast.next_door)) == (0, PRICE)


def test_what_is_given_back_never_becomes_a_debt(cast, now):
    limits.spend(business=cast.shop, meter=Meter.SMS, micros=100, now=now)
    limits.give_back(business=cast.shop, meter=Meter.SMS, micros=500, now=now)

    assert spent(cast.shop) == 0


@pytest.mark.django_db(transaction=True)
def test_twenty_senders_together_spend_the_budget_to_the_last_segment_and_not_one_more(cast, now):
    cast.shop.sms_daily_cap_cents = 6  # seven segments and a bit
    cast.shop.save()
    with transaction.atomic():
        people = [remember_customer(business=cast.shop, phone=f"+1555123{n:04}")[0] for n in range(20)]
        for person in people:
            consent.grant(business=cast.shop, phone=person.phone, source=ConsentSource.INTAKE, words="", now=now)

    def one(person: Any) -> str:
        try:
            with every_business(), transaction.atomic():
                thread = open_thread(business=cast.shop, customer=person, now=now)
                return send(thread, now).status
        except CannotSend as reason:
            return str(reason)

    results = all_at_once([lambda person=person: one(person) for person in people])

    assert sorted(results) == ["Can't send: today's budget of $0.06 for texts is used up."] * 13 + ["queued"] * 7
    assert (spent(cast.shop), Message.objects.count()) == (7 * PRICE, 7)
