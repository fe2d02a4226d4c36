"""Which step answers a text, and that the receipt says so: one table, read from left to right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.utils import timezone

from booking.models import Appointment
from crm.enums import BusinessStatus
from crm.models import Business, Conversation, Message, Task
from crm.scoping import every_business
from crm.services import take_over
from leads.models import Proposal
from telephony import receptionist
from telephony.models import InboundEvent
from tests.conftest import Cast
from tests.servers.carrier import Carrier, sms

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture(autouse=True)
def _every_business() -> Iterator[None]:
    with every_business():
        yield


# --- Scenes ----------------------------------------------------------------------------------------------------------


def nothing(carrier: Carrier, cast: Cast) -> None:
    """A first text."""


def offer(carrier: Carrier, cast: Cast) -> None:
    carrier.text("need ac repair")


def job(carrier: Carrier, cast: Cast) -> None:
    offer(carrier, cast)
    carrier.text("1")


def job_and_offer(carrier: Carrier, cast: Cast) -> None:
    job(carrier, cast)
    carrier.text("my furnace too")


def cancelled(carrier: Carrier, cast: Cast) -> None:
    job(carrier, cast)
    carrier.text("3")


def opted_out(carrier: Carrier, cast: Cast) -> None:
    carrier.text("stop")


def bob_answers(carrier: Carrier, cast: Cast) -> None:
    carrier.text("hello")
    take_over(conversation=Conversation.objects.get(), user=cast.bob, now=timezone.now())


def bob_answers_a_customer_with_a_job(carrier: Carrier, cast: Cast) -> None:
    job(carrier, cast)
    take_over(conversation=Conversation.objects.get(), user=cast.bob, now=timezone.now())


def bob_answers_someone_opted_out(carrier: Carrier, cast: Cast) -> None:
    opted_out(carrier, cast)
    take_over(conversation=Conversation.objects.get(), user=cast.bob, now=timezone.now())


def suspended(carrier: Carrier, cast: Cast) -> None:
    Business.objects.filter(pk=cast.shop.pk).update(status=BusinessStatus.SUSPENDED)


TABLE: list[tuple[Callable[[Carrier, Cast], None], str, str, str, bool]] = [
    # scene, text, step, beginning of the reason, whether we answer
    (nothing, "STOP", "opt_out", "“STOP”; the carrier confirms it itself", False),
    (nothing, "Stop texting me", "opt_out", "“Stop texting”", True),
    (offer, "cancel", "opt_out", "“cancel”; the carrier confirms it itself", False),
    (offer, "wrong number", "opt_out", "“wrong number”", True),
    (job, "END", "opt_out", "“END”; the carrier confirms it itself", False),
    (bob_answers, "stop", "opt_out", "“stop”; the carrier confirms it itself", False),
    (opted_out, "no more texts!", "opt_out", "“no more texts”; had opted out before", False),
    (nothing, "START", "opt_in", "asked for texts again", True),
    (opted_out, "unstop", "opt_in", "asked for texts again", True),
    (offer, "HELP", "help", "asked for help", True),
    (opted_out, "info", "help", "asked for help", True),
    (bob_answers, "help", "help", "asked for help", True),
    (opted_out, "need ac repair", "opted_out", "opted out earlier; only START brings texts back", False),
    (opted_out, "1", "opted_out", "opted out earlier", False),
    (bob_answers_someone_opted_out, "hello?", "opted_out", "opted out earlier", False),
    (offer, "1", "open_question", "answer to offer ", True),
    (offer, "2", "open_question", "answer to offer ", True),
    (offer, "no", "open_question", "answer to offer ", True),
    (offer, "3", "open_question", "answer to offer ", True),
    (offer, "thursday at 10", "open_question", "answer to offer ", True),
    (offer, "please cancel my appointment", "open_question", "takes the request back", True),
    (offer, "Liked “need ac repair”", "open_question", "a reaction to a text of ours, while an offer is open", True),
    (offer, "my furnace on thursday?", "receptionist", "recognised HVAC: PROPOSED", True),
    (offer, "now what", "open_question", "answer to offer ", True),
    (offer, "I don't know", "receptionist", "no answer to the open offer", True),
    (job_and_offer, "1", "open_question", "answer to offer ", True),
    (job_and_offer, "cancel my appointment", "appointment_words", "cancels the next appointment", True),
    (job, "Y", "appointment_words", "confirms the next appointment", True),
    (job, "n", "appointment_words", "cancels the next appointment", True),
    (job, "2", "appointment_words", "wants another time", True),
    (job, "can we move the appointment to friday", "appointment_words", "wants another time", True),
    (job, "please don't cancel my appointment", "receptionist", "no service recognised", True),
    (cancelled, "UNDO", "appointment_words", "takes a cancellation back", True),
    (nothing, "undo", "receptionist", "no service recognised", True),
    (nothing, "reschedule", "appointment_words", "no upcoming appointment", True),
    (nothing, "yes", "receptionist", "no service recognised", True),
    (bob_answers_a_customer_with_a_job, "1", "appointment_words", "confirms the next appointment", True),
    (bob_answers, "need ac repair", "human", "a person has taken over", False),
    (nothing, "need ac repair", "receptionist", "recognised AC Repair: PROPOSED", True),
    (nothing, "ac or furnace", "receptionist", "more than one service fits", True),
    (nothing, "what is the meaning of life", "receptionist", "no service recognised", True),
    (nothing, "", "receptionist", "no service recognised", True),
    (job, "thank you!", "receptionist", "thanks, which ask for nothing", False),
    (
        job,
        "Loved “Confirmed! Your AC Repair with Alice Plumbing is booked”",
        "receptionist",
        "a reaction to a text of ours",
        False,
    ),
    (suspended, "need ac repair", "suspended", "business suspended", False),
    (suspended, "stop", "suspended", "business suspended; opted out", False),
]


@pytest.mark.parametrize(
    ("scene", "text", "step", "reason", "answered"), TABLE, ids=lambda value: getattr(value, "__name__", None)
)
def test_the_step_that_answers_is_kept_with_its_reason(carrier: Carrier, cast, scene, text, step, reason, answered):
    scene(carrier, cast)
    before = Message.objects.filter(direction="outbound", audience="customer").count()

    carrier.post("/twilio/sms", sms(text))

    receipt = InboundEvent.objects.order_by("-received_at", "-id")[0]
    assert (receipt.step, receipt.reason[: len(reason)], receipt.business) == (step, reason, cast.shop)
    assert Message.objects.get(pk=receipt.message).body == text
    assert Message.objects.filter(direction="outbound", audience="customer").count() - before == answered
    assert ("<Message" in receipt.answer) is answered


# --- What a step must not do -----------------------------------------------------------------------------------------


def test_a_stop_frees_the_slot_that_was_held_for_them(carrier: Carrier, cast):
    offer(carrier, cast)

    carrier.text("stop")

    assert Appointment.objects.get().status == "RELEASED"
    assert Proposal.objects.get().status == "DECLINED"


def test_another_customers_offer_is_not_answered_by_a_one_of_ours(carrier: Carrier, cast):
    carrier.text("need ac repair", sender="+15557654321")

    carrier.text("1")

    assert Proposal.objects.get().status == "PROPOSED"


def test_an_offer_of_the_shop_next_door_is_not_answered_by_a_one_to_us(carrier: Carrier, cast):
    carrier.text("need ac repair", to="+15552000002")

    carrier.text("1", to="+15552000001")

    assert Proposal.objects.get().status == "PROPOSED"


def test_an_opt_out_at_one_shop_is_none_next_door(carrier: Carrier, cast):
    carrier.text("stop", to="+15552000001")

    assert len(carrier.text("need ac repair", to="+15552000002")) == 1


def test_two_machines_talking_to_each_other_fall_silent_and_a_person_is_told(carrier: Carrier, cast, clock):
    answered = 0
    for _ in range(receptionist.MAX_ANSWERS + 5):
        clock.shift(10)
        answered += len(carrier.text("Your message about AC Repair was received"))

    assert answered == receptionist.MAX_ANSWERS
    assert (
        InboundEvent.objects.order_by("-received_at")[0].reason == "many answers in a short time: maybe another machine"
    )
    assert Task.objects.get().reason == "asked_a_person"


def test_an_auto_reply_is_asked_once_told_once_and_then_left_to_a_person(carrier: Carrier, cast, clock):
    answers = []
    for _ in range(5):
        clock.shift(10)
        answers.append(len(carrier.text("I am out of the office until further notice")))

    assert answers == [1, 1, 0, 0, 0]
    assert Message.objects.filter(audience="owner").count() == 1
    assert InboundEvent.objects.order_by("-received_at")[0].reason == "a person was asked a moment ago"
    assert Conversation.objects.get().waiting_since is not None


def test_an_answer_the_door_refuses_is_told_on_the_receipt_and_the_timeline(carrier: Carrier, cast):
    Business.objects.filter(pk=cast.shop.pk).update(sms_daily_cap_cents=0)

    assert carrier.text("need ac repair") == []

    receipt = InboundEvent.objects.get()
    said = "Can't send: today's budget of $0.00 for texts is used up."
    assert receipt.reason == f"recognised AC Repair: PROPOSED; {said}"
    assert Conversation.objects.get().waiting_since is not None
