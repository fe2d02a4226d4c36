"""The letterbox for texts: each letter is taken in once, whatever it holds and however often it comes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from booking.models import Appointment
from crm.enums import BusinessStatus
from crm.models import Business, Consent, Conversation, Customer, Message, Task
from crm.scoping import every_business
from crm.services import merge_customers, remember_customer
from leads.models import Lead, Proposal
from telephony import services
from telephony.models import InboundEvent
from tests.crowd import all_at_once
from tests.servers.carrier import Carrier, callbacks, payload, replies, sign, sms

SILENCE = '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture(autouse=True)
def _every_business() -> Any:
    with every_business():
        yield


def receipt(sid: str = "") -> InboundEvent:
    return InboundEvent.objects.get(sid=sid) if sid else InboundEvent.objects.get()


def counts() -> dict[str, int]:
    return {
        model.__name__: model.objects.count()
        for model in (InboundEvent, Message, Conversation, Customer, Consent, Lead, Proposal, Appointment, Task)
    }


# --- Letters as they were captured -----------------------------------------------------------------------------------


def test_a_text_is_kept_answered_and_receipted(carrier: Carrier, cast, settings):
    settings.PUBLIC_URL = "http://testserver"

    response = carrier.post("/twilio/sms", payload("sms.txt"))

    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    inbound, outbound = Message.objects.order_by("created_at", "id")
    assert (inbound.body, inbound.from_number, inbound.to_number) == (
        "need ac repair asap",
        "+15551234567",
        "+15552000001",
    )
    assert (inbound.business, inbound.status, inbound.provider_sid) == (cast.shop, "received", "SM" + "0" * 30 + "a1")
    assert replies(response) == [outbound.body]
    assert callbacks(response) == [f"http://testserver/twilio/status?message={outbound.pk}"]
    assert (outbound.status, outbound.sent_via, outbound.attempts, outbound.about) == (
        "sending", "answer", 1, f"proposal:{Proposal.objects.get().pk}",
    )  # fmt: skip
    event = receipt()
    assert (event.kind, event.business, event.message, event.step) == ("sms", cast.shop, inbound.pk, "receptionist")
    assert (event.reason, event.answer) == ("recognised AC Repair: PROPOSED", response.content.decode())


def test_the_receipt_keeps_the_circumstances_and_not_the_words(carrier: Carrier, cast):
    carrier.post("/twilio/sms", payload("sms.txt"))

    kept = receipt().payload
    assert kept["MessagingServiceSid"] == "MG" + "c3" * 16
    assert (set(kept) & {"Body", "From", "To", "FromCity"}, "ac repair" in str(kept)) == (set(), False)


def test_without_a_public_address_no_report_is_asked_for(carrier: Carrier, cast, settings):
    settings.PUBLIC_URL = ""

    assert callbacks(carrier.post("/twilio/sms", payload("sms.txt"))) == [""]


def test_the_carriers_word_for_stop_is_believed_and_confirmed_by_the_carrier(carrier: Carrier, cast):
    response = carrier.post("/twilio/sms", payload("sms_stop_advanced_opt_out.txt"))

    assert response.content.decode() == SILENCE
    assert receipt().step == "opt_out"
    assert Consent.objects.get().action == "revoke"


def test_emoji_and_curly_quotes_arrive_whole(carrier: Carrier, cast):
    carrier.post("/twilio/sms", payload("sms_emoji_and_curly_quotes.txt"))

    assert Message.objects.get(direction="inbound").body == "Hi 👋 it’s “hot” – need A/C repair…"
    assert receipt().reason == "recognised AC Repair: PROPOSED"


def test_a_picture_is_mentioned_in_the_thread_and_the_words_are_read(carrier: Carrier, cast):
    carrier.post("/twilio/sms", payload("sms_picture.txt"))

    assert Message.objects.get(direction="inbound").body == "my ac looks like this [1 picture]"
    assert receipt().reason == "recognised AC Repair: PROPOSED"


def test_a_picture_without_words_is_still_a_message(carrier: Carrier, cast):
    carrier.post("/twilio/sms", sms("", NumMedia="2"))

    assert Message.objects.get(direction="inbound").body == "[2 pictures]"


@pytest.mark.parametrize("media", ["x", "", "-1", "²"])
def test_a_nonsense_count_of_pictures_is_none(carrier: Carrier, cast, media):
    assert carrier.post("/twilio/sms", sms("need ac repair", NumMedia=media)).status_code == 200
    assert Message.objects.get(direction="inbound").body == "need ac repair"


def test_nul_bytes_are_left_out_everywhere(carrier: Carrier, cast):
    response = carrier.post("/twilio/sms", payload("sms_nul_bytes.txt"))

    assert response.status_code == 200
    assert Message.objects.get(direction="inbound").body == "need ac repair"
    assert receipt().payload["ToCountry"] == "US"


@pytest.mark.parametrize("field", ["MessageSid", "From", "To", "OptOutType", "SmsStatus"])
def test_a_nul_byte_in_any_field_breaks_nothing(carrier: Carrier, cast, field):
    fields = sms("need ac repair", OptOutType="")
    response = carrier.post("/twilio/sms", fields | {field: fields[field] + "\x00"})

    assert response.status_code == 200
    assert len(replies(response)) == 1


def test_ten_thousand_characters_are_read_quickly_and_kept_in_part(carrier: Carrier, cast):
    words = ("need ac repair. please do not be late and stop by tomorrow, 3 or 4 pm. " * 200)[:10_000]

    response = carrier.post("/twilio/sms", sms(words))

    assert response.status_code == 200
    assert Message.objects.get(direction="inbound").body == words[:1_600]
    assert receipt().reason == "recognised AC Repair: PROPOSED"


def test_the_answer_is_xml_whatever_name_the_customer_has(carrier: Carrier, cast):
    remember_customer(business=cast.shop, phone="+15551234567", name="<Bob>\x0b&\x1f\ufffe Ö")

    response = carrier.post("/twilio/sms", payload("sms.txt"))

    (answer,) = replies(response)
    assert answer.startswith("Hi <Bob>&, Alice Plumbing can do AC Repair ")


# --- Letters that are not for us, or not whole -----------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["MessageSid", "From", "Body"])
def test_a_letter_without_one_of_its_fields_is_sent_back_by_name(carrier: Carrier, cast, missing):
    before = counts()
    fields = {name: value for name, value in sms("hello").items() if name != missing}

    response = carrier.post("/twilio/sms", fields)

    assert (response.status_code, response.content.decode()) == (422, f"{missing}: this field is missing.\n")
    assert counts() == before


def test_the_captured_letter_without_a_body_is_sent_back(carrier: Carrier, cast):
    assert carrier.post("/twilio/sms", payload("sms_without_body.txt")).status_code == 422


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "", "application/x-www-form-urlencoded; charset=utf-16"]
)
def test_a_body_that_is_no_form_is_turned_away(carrier: Carrier, cast, content_type):
    before = counts()
    fields = sms("hello") | {"AccountSid": carrier.account_sid}
    stamp = sign("http://testserver/twilio/sms", {}, token=carrier.token)
    body = json.dumps(fields) if "json" in content_type else urlencode(fields)

    response = Client(raise_request_exception=False).post(
        "/twilio/sms", body, content_type=content_type, HTTP_X_TWILIO_SIGNATURE=stamp
    )

    assert response.status_code in (400, 403)
    assert counts() == before


def test_a_letter_beyond_all_measure_is_turned_away(carrier: Carrier, cast):
    before = counts()

    assert carrier.post("/twilio/sms", sms("x" * 1_000_001)).status_code == 400
    assert counts() == before


def test_a_letter_to_a_number_nobody_has_is_receipted_and_not_answered(carrier: Carrier, cast):
    before = counts()

    response = carrier.post("/twilio/sms", payload("sms_to_nobody.txt"))

    assert (response.status_code, response.content.decode()) == (200, SILENCE)
    assert (receipt().step, receipt().reason, receipt().business) == (
        "no_business",
        "no business has the number +15559999999",
        None,
    )
    assert counts() == before | {"InboundEvent": 1}


def test_a_letter_without_to_is_nobodys(carrier: Carrier, cast):
    response = carrier.post("/twilio/sms", {name: value for name, value in sms("hi").items() if name != "To"})

    assert (response.content.decode(), receipt().step) == (SILENCE, "no_business")


@pytest.mark.parametrize(
    "sender", ["whatsapp:+15551234567", "whatsapp:+15551239999", "messenger:1234567890", "", "+", "client:alice"]
)
def test_a_sender_that_is_no_phone_number_becomes_nobodys_customer(carrier: Carrier, cast, sender):
    """Cut to the length of a number, two people would become one."""
    before = counts()

    response = carrier.post("/twilio/sms", sms("need ac repair", sender=sender))

    assert (response.status_code, response.content.decode()) == (200, SILENCE)
    assert (receipt().step, receipt().reason) == ("no_business", f"“{sender}” is no phone number")
    assert counts() == before | {"InboundEvent": 1}


def test_a_short_code_is_kept_and_not_answered(carrier: Carrier, cast):
    response = carrier.post("/twilio/sms", sms("Your code is 482913", sender="88202"))

    assert response.content.decode() == SILENCE
    assert receipt().reason == "sent by a short code, which reads no answers"
    assert Conversation.objects.get().waiting_since is None


# --- Whose letter ----------------------------------------------------------------------------------------------------


def test_the_number_decides_whose_letter_it_is(carrier: Carrier, cast):
    carrier.text("need ac repair", to="+15552000002")

    assert set(Message.objects.values_list("business", flat=True)) == {cast.next_door.pk}


def test_the_signed_address_decides_where_several_share_a_number(carrier: Carrier, cast):
    carrier.text("need ac repair", path="/twilio/sms?business_id=charlie", to="+15552000001")

    assert set(Message.objects.values_list("business", flat=True)) == {cast.next_door.pk}


@pytest.mark.parametrize("written", [str, lambda pk: pk.hex, lambda pk: str(pk).upper()])
def test_the_address_may_name_the_business_by_its_uuid(carrier: Carrier, cast, written):
    carrier.text("need ac repair", path=f"/twilio/sms?business_id={written(cast.next_door.pk)}")

    assert set(Message.objects.values_list("business", flat=True)) == {cast.next_door.pk}


@pytest.mark.parametrize("named", ["nobody", "00000000-0000-7000-8000-000000000000", "'; --"])
def test_a_business_nobody_has_heard_of_gets_nobodys_answer(carrier: Carrier, cast, named):
    response = carrier.post("/twilio/sms?" + urlencode({"business_id": named}), sms("need ac repair"))

    assert (response.status_code, response.content.decode()) == (200, SILENCE)
    assert (receipt().step, receipt().reason) == ("no_business", f"no business has {named}")


def test_a_suspended_business_keeps_the_text_and_says_nothing(carrier: Carrier, cast):
    Business.objects.filter(pk=cast.shop.pk).update(status=BusinessStatus.SUSPENDED)

    response = carrier.post("/twilio/sms", payload("sms.txt"))

    assert (response.status_code, response.content.decode()) == (403, SILENCE)
    assert (receipt().step, receipt().reason) == ("suspended", "business suspended")
    assert [message.direction for message in Message.objects.all()] == ["inbound"]
    assert Conversation.objects.get().waiting_since is not None
    assert Lead.objects.count() == 0


def test_an_opt_out_counts_at_a_suspended_business_too(carrier: Carrier, cast):
    Business.objects.filter(pk=cast.shop.pk).update(status=BusinessStatus.SUSPENDED)

    response = carrier.post("/twilio/sms", sms("please stop texting me"))

    assert (response.status_code, response.content.decode()) == (403, SILENCE)
    assert receipt().reason == "business suspended; opted out"
    assert Consent.objects.get().action == "revoke"
    assert Conversation.objects.get().waiting_since is None


def test_somebody_who_was_merged_into_a_customer_without_a_number_is_answered_at_theirs(carrier: Carrier, cast, now):
    old, _ = remember_customer(business=cast.shop, phone="+15551234567", name="Dana")
    kept = Customer.objects.create(business=cast.shop, name="Dana Doe")
    merge_customers(kept=kept, dropped=old, actor=cast.alice, now=now)

    (answer,) = carrier.text("need ac repair")

    assert answer.startswith("Hi Dana, Alice Plumbing can do AC Repair ")
    assert Proposal.objects.get().customer == kept
    assert Conversation.objects.get().their_address == "+15551234567"


def test_consent_goes_to_the_number_that_wrote_and_not_to_another_of_the_same_person(carrier: Carrier, cast, now):
    old, _ = remember_customer(business=cast.shop, phone="+15551234567")
    kept, _ = remember_customer(business=cast.shop, phone="+15557654321", name="Dana Doe")
    merge_customers(kept=kept, dropped=old, actor=cast.alice, now=now)

    carrier.text("need ac repair")

    assert list(Consent.objects.values_list("phone", flat=True)) == ["+15551234567"]


# --- The same letter again -------------------------------------------------------------------------------------------


def test_a_letter_that_comes_again_later_gets_the_same_answer_and_changes_nothing(carrier: Carrier, cast, clock):
    first = carrier.post("/twilio/sms", payload("sms.txt"))
    after = counts()
    clock.shift(3_600)

    again = [carrier.post("/twilio/sms", payload("sms.txt")) for _ in range(2)]

    assert [(r.status_code, r.content) for r in again] == [(200, first.content)] * 2
    assert counts() == after


def test_a_yes_that_comes_twice_books_once_and_is_confirmed_in_the_same_words(carrier: Carrier, cast):
    carrier.post("/twilio/sms", payload("sms.txt"))
    yes = sms("1")

    first, second = (carrier.post("/twilio/sms", yes) for _ in range(2))

    assert first.content == second.content
    assert replies(first)[0].startswith("Confirmed! Your AC Repair with Alice Plumbing is booked for ")
    assert Appointment.objects.filter(status="SCHEDULED").count() == 1
    assert Message.objects.filter(audience="owner").count() == 1


def test_the_same_words_in_a_new_letter_are_a_new_letter(carrier: Carrier, cast):
    carrier.text("need ac repair")
    carrier.text("need ac repair")

    assert Message.objects.filter(direction="inbound").count() == 2
    assert Proposal.objects.filter(status="PROPOSED").count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_letter_sixteen_times_at_once_is_one_letter(carrier: Carrier, cast):
    before = counts()

    responses = all_at_once([lambda: carrier.post("/twilio/sms", payload("sms.txt"))] * 16)

    assert {(response.status_code, response.content) for response in responses} == {(200, responses[0].content)}
    assert len(replies(responses[0])) == 1
    assert counts() == {name: before[name] for name in before} | {
        "InboundEvent": 1, "Message": 2, "Conversation": 1, "Customer": 1, "Consent": 1, "Lead": 1, "Proposal": 1,
        "Appointment": 1,
    }  # fmt: skip
    assert Appointment.objects.get().status == "HELD"


@pytest.mark.django_db(transaction=True)
def test_eight_first_texts_of_one_person_at_once_make_one_customer_one_thread_and_one_open_offer(
    carrier: Carrier, cast
):
    responses = all_at_once([lambda: carrier.post("/twilio/sms", sms("need ac repair"))] * 8)

    assert [response.status_code for response in responses] == [200] * 8
    assert (Customer.objects.count(), Conversation.objects.count()) == (1, 1)
    assert Proposal.objects.filter(status="PROPOSED").count() == 1
    assert Appointment.objects.filter(status="HELD").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_text_and_a_request_by_api_from_the_same_person_do_not_lock_each_other_out(carrier: Carrier, cast):
    """Both take the person, the thread, the calendar and the budget: in the same order, or one of them is killed."""
    carrier.text("need ac repair")  # the thread is there, so that it can be locked

    def by_api(number: int) -> int:
        lead = {
            "event_id": f"e{number}", "tenant_id": "alice", "name": "Dana", "phone": "+15551234567", "service": "AC Repair",
            "address": "1 Main St",
        }  # fmt: skip
        path = ("/lead", "/lead/propose")[number % 2]
        return Client(raise_request_exception=False).post(path, lead, content_type="application/json").status_code

    def by_text() -> int:
        return carrier.post("/twilio/sms", sms("need ac repair")).status_code

    calls = [call for number in range(8) for call in (by_text, lambda number=number: by_api(number))]

    assert all_at_once(calls) == [200] * 16


@pytest.mark.django_db(transaction=True)
def test_a_letter_that_failed_halfway_left_nothing_and_is_taken_when_it_comes_again(
    carrier: Carrier, cast, monkeypatch
):
    before = counts()
    monkeypatch.setattr(services, "_twiml", lambda message: 1 / 0)
    assert carrier.post("/twilio/sms", payload("sms.txt")).status_code == 500
    assert counts() == before
    monkeypatch.undo()

    response = carrier.post("/twilio/sms", payload("sms.txt"))

    assert (response.status_code, len(replies(response))) == (200, 1)


def test_a_letter_costs_a_fixed_number_of_queries(carrier: Carrier, cast, django_assert_max_num_queries):
    carrier.text("need ac repair")
    with django_assert_max_num_queries(45):
        carrier.text("2")
