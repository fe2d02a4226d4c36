"""The simulator's pages: two phones that show what they really got, for those who may see it, and the bad weather."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from crm.enums import Author, MessageKind, MessageStatus
from crm.messaging import CannotSend, alert_owner
from crm.models import Business, Message, SecurityEvent, User
from crm.scoping import every_business, only
from crm.services import find_customer, open_thread, reply_as_staff
from telephony import simulator, tasks
from telephony.gateways import simulated
from telephony.models import CarrierSwitches, InboundEvent, SimulatedText
from tests.conftest import open_shop

JANE = "+15551234567"
ACME_NUMBER, ACME_OWNER = "+15552010001", "+15552019001"


@pytest.fixture
def acme(db: None) -> Business:
    """The demo's Acme, without its history."""
    return open_shop(
        "t_acme", name="Acme HVAC", number=ACME_NUMBER, owner_phone=ACME_OWNER, owner_email="owner@acme.example"
    )


def write(
    client: Client, body: str = "", *, business: str = "t_acme", phone: str = JANE, hand: str = "customer", **fields
):
    return client.post(
        "/simulator/text", {"business": business, "phone": phone, "hand": hand, "body": body, **fields}, follow=True
    )


def screens(client: Client, *, business: str = "t_acme", phone: str = JANE) -> tuple[list[str], list[str]]:
    """What stands on the customer's and on the owner's phone: “<” got, “>” written."""
    context = client.get("/simulator/", {"business": business, "phone": phone}).context
    return tuple(
        [f"{'>' if line.mine else '<'} {line.body}" for line in context[hand].lines] for hand in ("customer", "owner")
    )


def set_weather(client: Client, **weather):
    calm = {"delay_seconds": "0", "lose_percent": "0", "duplicate_percent": "0"}
    return client.post("/simulator/weather", {"business": "t_acme", "phone": JANE, **calm, **weather}, follow=True)


# --- The story ------------------------------------------------------------------------------------------------------


def test_the_first_five_minutes(client, acme):
    page = client.get("/simulator/")
    assert page.status_code == 200
    for chip in ("need ac repair asap", "1", "2", "3", "tuesday after 3", "STOP", "START", "HELP"):
        assert f'<button class="sim-chip" type="submit" name="chip" value="{chip}">' in page.content.decode()

    write(client, chip="need ac repair asap")
    customer, owner = screens(client)
    assert customer[0] == "> need ac repair asap"
    assert customer[1].startswith("< Acme HVAC can do AC Repair ")
    assert (len(customer), owner) == (2, [])

    write(client, chip="1")
    tasks.deliver_due()  # what the worker does
    simulated.tick()
    customer, owner = screens(client)
    assert customer[3].startswith("< Confirmed! Your AC Repair with Acme HVAC is booked for ")
    assert len(owner) == 1
    assert owner[0].startswith("< New job: AC Repair, (555) 123-4567, ")

    write(client, chip="STOP")
    customer, _ = screens(client)
    assert customer[-1] == f"< {simulated._UNSUBSCRIBED}"
    dana = User.objects.create_user("dana@example.com", name="Dana")
    with only(acme):
        thread = open_thread(business=acme, customer=find_customer(business=acme, phone=JANE), now=timezone.now())
        with pytest.raises(CannotSend, match=r"^Can't send: opted out on .* by text \(“STOP”\)\.$"):
            reply_as_staff(conversation=thread, body="Hello?", user=dana, now=timezone.now())


def test_the_owners_phone_can_text_too(client, acme):
    write(client, "HELP", hand="owner")

    customer, owner = screens(client)
    assert customer == []
    assert owner[0] == "> HELP"
    assert owner[1].startswith("< Acme HVAC")


def test_a_phone_shows_what_arrived_and_not_what_we_mean_to_send(client, acme):
    with only(acme):
        alert_owner(business=acme, body="Look at this", now=timezone.now())
    assert screens(client)[1] == []

    tasks.deliver_due()
    assert screens(client)[1] == []

    simulated.tick()
    assert screens(client)[1] == ["< Look at this"]


def test_words_on_a_phone_are_only_words(client, acme):
    write(client, "<script>alert(1)</script>")

    page = client.get("/simulator/").content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page


def test_an_empty_text_is_not_sent(client, acme):
    page = write(client, "   ")

    assert [str(message) for message in page.context["messages"]] == ["Write something first."]
    assert SimulatedText.objects.count() == 0


def test_any_number_can_be_typed_as_people_type_it(client, acme):
    assert client.get("/simulator/", {"phone": "(555) 010-0199"}).context["phone"] == "+15550100199"


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("12", "Phone number: '12' is not a phone number we can reach. Write it like (555) 123-4567 or +15551234567."),
        (ACME_NUMBER, "This is the number of Acme HVAC. Choose another for its customer."),
        ("5" * 70, "Ensure this value has at most 64 characters (it has 70)."),
    ],
)
def test_a_number_that_cannot_be_one_is_refused_in_a_sentence(client, acme, typed, sentence):
    page = client.get("/simulator/", {"phone": typed})

    assert page.context["problem"] == sentence
    assert page.context["phone"] == JANE
    assert sentence.replace("'", "&#x27;") in page.content.decode()


# --- Who may see it -------------------------------------------------------------------------------------------------


def test_a_visitor_finds_the_demo_and_nobodys_business(client, acme, cast):
    page = client.get("/simulator/")

    assert [row.slug for row in page.context["choices"]] == ["t_acme"]
    assert "The demo businesses are open to everybody who finds this page" in page.content.decode()
    for address in ("/simulator/?business=alice", "/simulator/live?business=alice", "/simulator/?business=nobody"):
        assert client.get(address).status_code == 404


@pytest.mark.parametrize("address", ["/simulator/text", "/simulator/weather", "/simulator/forgery"])
def test_a_visitor_can_do_nothing_at_somebodys_business(client, acme, cast, address):
    fields = {"business": "alice", "phone": JANE, "hand": "customer", "body": "need ac repair", "fail": "on"}

    assert client.post(address, fields).status_code == 404

    assert SimulatedText.objects.count() == InboundEvent.objects.count() == SecurityEvent.objects.count() == 0
    assert CarrierSwitches.objects.count() == 0


def test_a_business_that_only_has_the_demos_name_is_no_demo(client, db):
    open_shop("t_acme", name="Acme of Ohio", number=ACME_NUMBER, owner_email="jo@example.com")

    assert "No phone to play with" in client.get("/simulator/").content.decode()
    assert write(client, "hello").status_code == 404


def test_members_find_their_own_business_and_not_the_neighbours(client, acme, cast):
    client.force_login(cast.alice)

    page = client.get("/simulator/?business=alice")
    assert [row.slug for row in page.context["choices"]] == ["t_acme", "alice"]
    assert "You see your own businesses because you are signed in" in page.content.decode()
    assert client.get("/simulator/?business=charlie").status_code == 404
    write(client, "ac repair please", business="alice")
    assert screens(client, business="alice")[0][1].startswith("< Alice Plumbing can do AC Repair ")


def test_platform_staff_find_every_business(client, acme, cast):
    client.force_login(User.objects.create_superuser("root@example.com", "correct horse battery"))

    assert [row.slug for row in client.get("/simulator/").context["choices"]] == ["t_acme", "alice", "charlie"]


def test_the_threads_of_two_businesses_with_one_phone_do_not_mix(client, acme, cast):
    client.force_login(cast.alice)
    write(client, "ac repair please", business="alice")
    write(client, "HELP")

    assert [line[:6] for line in screens(client)[0]] == ["> HELP", "< Acme"]
    assert screens(client, business="alice")[0][0] == "> ac repair please"
    room = client.get("/simulator/", {"business": "t_acme", "phone": JANE}).context["room"]
    assert {letter.event.business for letter in room.letters} == {acme}
    assert {row.business for row in room.outbox} == {acme}


def test_without_a_demo_and_a_login_the_page_says_what_to_do(client, cast):
    page = client.get("/simulator/")

    assert page.status_code == 200
    assert "The demo businesses are not here." in page.content.decode()


@pytest.mark.parametrize("address", ["/simulator", "/simulator/", "/simulator/live?business=t_acme"])
def test_with_a_real_carrier_the_simulator_is_closed(client, acme, settings, address):
    settings.CARRIER = "twilio"

    page = client.get(address)

    assert page.status_code == 404
    assert "This installation texts through a real carrier" in page.content.decode()


def test_with_a_real_carrier_nothing_can_be_posted(client, acme, settings):
    settings.CARRIER = "twilio"

    assert write(client, "need ac repair").status_code == 404
    assert set_weather(client, fail="on").status_code == 404
    assert SimulatedText.objects.count() == CarrierSwitches.objects.count() == 0


def test_forms_carry_a_token_against_forged_posts(acme):
    stranger = Client(enforce_csrf_checks=True)

    assert write(stranger, "need ac repair").status_code == 403
    assert SimulatedText.objects.count() == 0


def test_sixty_posts_a_minute_are_enough_for_anybody(client, acme, now):
    with time_machine.travel(now, tick=False):
        statuses = [
            client.post("/simulator/text", {"business": "t_acme", "hand": "customer"}).status_code for _ in range(61)
        ]
        still_open = client.get("/simulator/").status_code

    assert statuses == [302] * 60 + [429]
    assert still_open == 200


# --- Swift, with a script -------------------------------------------------------------------------------------------


def test_asking_again_is_answered_only_when_something_is_new(client, acme):
    page = client.get("/simulator/")
    again = page.context["live_url"]
    assert client.get(again).status_code == 204

    write(client, "need ac repair asap")

    answer = client.get(again)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert 'hx-swap-oob="innerHTML:#customer-screen"' in html
    assert "Acme HVAC can do AC Repair" in html
    assert "On the customer&#x27;s phone: Acme HVAC can do AC Repair" in html
    assert client.get(answer.context["live_url"]).status_code == 204


def test_a_text_sent_by_script_is_answered_with_the_screens(client, acme):
    answer = client.post(
        "/simulator/text", {"business": "t_acme", "phone": JANE, "hand": "customer", "body": "HELP"},
        headers={"HX-Request": "true"},
    )  # fmt: skip

    assert answer.status_code == 200
    assert 'id="pulse"' in answer.content.decode()
    assert "&gt; HELP" not in answer.content.decode()
    assert answer.context["customer"].lines[0].body == "HELP"


# --- The weather ----------------------------------------------------------------------------------------------------


def test_the_weather_can_be_changed_and_made_fine_again(client, acme):
    page = set_weather(client, delay_seconds="15", lose_percent="50", duplicate_percent="100", reorder="on", fail="on")

    assert [str(message) for message in page.context["messages"]] == [
        "The weather has changed, for every phone of this installation."
    ]
    now = simulated.switches()
    assert (now.delay_seconds, now.lose_percent, now.duplicate_percent, now.reorder, now.fail) == (
        15,
        50,
        100,
        True,
        True,
    )

    page = set_weather(client, reset="1")
    assert [str(message) for message in page.context["messages"]] == [
        "The weather is fine again. What waits in the outbox goes out by itself."
    ]
    now = simulated.switches()
    assert (now.delay_seconds, now.lose_percent, now.duplicate_percent, now.reorder, now.fail) == (
        0,
        0,
        0,
        False,
        False,
    )


def test_weather_there_is_not_is_refused(client, acme):
    page = set_weather(client, delay_seconds="9999")

    assert [str(message) for message in page.context["messages"]] == [
        "Select a valid choice. 9999 is not one of the available choices."
    ]
    assert CarrierSwitches.objects.count() == 0


def test_a_late_text_is_in_the_air_until_it_lands(client, acme):
    set_weather(client, delay_seconds="15")

    page = write(client, "HELP")
    assert screens(client)[0] == ["> HELP"]
    assert (page.context["customer"].in_air, "1 text in the air, due " in page.content.decode()) == (1, True)

    SimulatedText.objects.filter(status="queued").update(arrives_at=timezone.now())
    simulated.tick()
    page = client.get("/simulator/")
    assert screens(client)[0][1].startswith("< Acme HVAC")
    assert page.context["customer"].in_air == 0


def test_a_lost_text_never_comes_and_the_owner_gets_a_task(client, acme):
    set_weather(client, lose_percent="100")

    page = write(client, "HELP")

    assert screens(client)[0] == ["> HELP"]
    assert "1 text lost on the way in the last ten minutes." in page.content.decode()
    assert page.context["room"].outbox[0].status == MessageStatus.FAILED


def test_a_letter_that_comes_three_times_is_one_letter(client, acme):
    set_weather(client, duplicate_percent="100")

    page = write(client, "need ac repair asap")

    assert len(page.context["room"].letters) == 1
    assert len(screens(client)[0]) == 2


def test_reports_in_the_wrong_order_change_nothing(client, acme):
    set_weather(client, reorder="on")

    room = write(client, "HELP").context["room"]

    assert [report.report for report in room.reports] == ["sent", "delivered"]
    assert [report.event.reason for report in room.reports] == ["it was that far already", "now delivered"]
    assert room.outbox[0].status == MessageStatus.DELIVERED


def test_while_the_carrier_is_down_texts_wait_and_go_out_later(client, acme):
    set_weather(client, fail="on")
    write(client, "need ac repair asap")
    write(client, "1")
    tasks.deliver_due()

    page = client.get("/simulator/")
    alert = next(row for row in page.context["room"].outbox if row.kind == MessageKind.ALERT)
    assert (alert.status, alert.attempts, alert.delay_reason) == (
        MessageStatus.QUEUED, 1, "The demo carrier is switched off. Trying again.",
    )  # fmt: skip
    assert "The carrier is down" in page.content.decode()
    assert screens(client)[1] == []

    set_weather(client, reset="1")
    with every_business():
        Message.objects.filter(pk=alert.pk).update(due_at=timezone.now())
    tasks.deliver_due()
    simulated.tick()
    assert screens(client)[1][0].startswith("< New job: AC Repair, ")


# --- The machine room -----------------------------------------------------------------------------------------------


def test_the_machine_room_tells_which_step_answered_and_why(client, acme):
    page = write(client, "need ac repair asap")
    room = page.context["room"]

    assert [(letter.words, letter.event.get_step_display(), letter.event.reason) for letter in room.letters] == [
        ("need ac repair asap", "Receptionist", "recognised AC Repair: PROPOSED")
    ]
    assert [(row.status, row.author, row.attempts) for row in room.outbox] == [
        (MessageStatus.DELIVERED, Author.ASSISTANT, 1)
    ]
    assert [report.report for report in room.reports] == ["delivered", "sent"]
    assert "&lt;Response&gt;&lt;Message" in page.content.decode()


def test_a_forged_letter_is_turned_away_before_anybodys_eyes(client, acme):
    page = client.post("/simulator/forgery", {"business": "t_acme", "phone": JANE}, follow=True)

    assert [str(message) for message in page.context["messages"]] == [
        "The forged letter was turned away with 403: signature not accepted. Nobody read it."
    ]
    assert [event.kind for event in page.context["room"].turned_away] == ["webhook_signature_invalid"]
    assert InboundEvent.objects.count() == SimulatedText.objects.count() == 0


def test_the_page_says_when_nobody_moves_the_texts(client, acme):
    write(client, "need ac repair asap")
    write(client, "1")
    assert client.get("/simulator/").context["stuck"] is False

    with every_business():
        Message.objects.filter(kind=MessageKind.ALERT).update(due_at=timezone.now() - timedelta(seconds=30))

    page = client.get("/simulator/")
    assert page.context["stuck"] is True
    assert "The background worker does not run" in page.content.decode()


def test_a_business_without_an_owners_phone_says_so(client, db):
    open_shop("t_acme", name="Acme HVAC", number=ACME_NUMBER, owner_email="owner@acme.example")

    page = client.get("/simulator/")
    assert "No owner's phone yet" in page.content.decode()
    answer = write(client, "hello", hand="owner")
    assert [str(message) for message in answer.context["messages"]] == ["This phone has no number of its own yet."]
    assert SimulatedText.objects.count() == 0


def test_the_phones_are_read_with_a_fixed_number_of_queries(client, acme, django_assert_max_num_queries):
    for words in ("need ac repair asap", "2", "2", "1"):
        write(client, words)

    with django_assert_max_num_queries(16):
        client.get("/simulator/live", {"business": "t_acme", "phone": JANE})


def test_familiar_numbers_begin_with_jane(client, acme):
    write(client, "HELP", phone="+15550100123")

    with only(acme):
        assert simulator.familiar(acme) == [
            (JANE, "No name yet, (555) 123-4567"),
            ("+15550100123", "No name yet, (555) 010-0123"),
        ]
