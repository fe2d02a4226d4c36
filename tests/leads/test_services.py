"""A request becomes an offer, an offer becomes a job: once, whatever the customer answers and however often."""

from __future__ import annotations

import random
import threading
import time as clock
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction

from booking import services as booking
from booking.enums import OCCUPYING, UPCOMING
from booking.models import Appointment, SchedulingRules, Service, StaffMember, WeeklyHours
from booking.services import CannotMove, SlotTaken
from crm import consent
from crm.enums import ConsentSource, MessageKind, TaskReason
from crm.models import Activity, Business, Consent, Customer, Message, Task
from crm.phones import parse
from crm.scoping import every_business, only
from crm.services import merge_customers, receive_text, remember_customer, reply_as_staff, take_turn, tell_customer
from leads.enums import IntakeStatus, LeadSource, ProposalStatus
from leads.models import Lead, Proposal
from leads.queries import today as queries
from leads.services import intake as services
from leads.services.intake import Answer, Draft, Outcome
from tests.conftest import NOW, open_shop
from tests.crowd import all_at_once, until_somebody_waits

JANE, JIM = "+15551230001", "+15551230002"
TEN = datetime(2026, 11, 18, 16, 0, tzinfo=UTC)  # in Chicago, the first slot after the hour of notice
HOUR = timedelta(hours=1)


@pytest.fixture
def shop(db):
    """Alice's shop with one plumber, seen from inside."""
    business = open_shop("alice", name="Alice Plumbing", number="+15552000001", owner_phone="+15552009001", staff=1)
    with only(business):
        yield business


def lead_of(
    business: Business, phone: str = JANE, *, name: str = "Jane Doe", service: str | None = "Plumbing", notes: str = ""
) -> Lead:
    draft = Draft(
        phone=parse(phone, region="US"), source=LeadSource.API, name=name, asked_for=service or "roof", notes=notes
    )
    found = services.find_service(business=business, text=draft.asked_for)
    return services.capture_lead(business=business, draft=draft, service=found, now=NOW)


def offer_to(business: Business, phone: str = JANE, *, now: datetime = NOW, name: str = "Jane Doe") -> Proposal:
    answer = services.offer_slot(lead=lead_of(business, phone, name=name), now=now)
    assert answer.proposal is not None
    return answer.proposal


def booked_job(business: Business, phone: str = JANE) -> tuple[Proposal, Appointment]:
    proposal = offer_to(business, phone)
    job = services.accept(proposal=proposal, now=NOW).appointment
    assert job is not None
    return proposal, job


def states() -> list[tuple[str, str]]:
    """Of all offers, oldest first, with what became of the slot behind each."""
    return list(Proposal.objects.order_by("id").values_list("status", "appointment__status"))


def alerts() -> list[str]:
    return list(Message.objects.filter(audience="owner").order_by("id").values_list("body", flat=True))


def leave_one_hour(business: Business) -> None:
    WeeklyHours.objects.filter(business=business).exclude(weekday=2).delete()
    WeeklyHours.objects.filter(business=business).update(opens=time(10), closes=time(11))
    SchedulingRules.objects.filter(business=business).update(horizon_days=5, min_notice_minutes=0)


# --- Capturing --------------------------------------------------------------------------------------------------------


def test_a_request_is_kept_with_its_customer_and_agrees_to_texts_about_it(shop):
    lead = lead_of(shop, notes="no cooling")
    line = Consent.objects.get()
    assert (lead.status, lead.customer.phone, lead.notes, lead.first_touch_at) == ("new", JANE, "no cooling", None)
    assert (line.phone, line.action, line.source, line.words, line.reference) == (
        JANE,
        "grant",
        "intake",
        "no cooling",
        f"lead:{lead.pk}",
    )
    assert Activity.objects.get().text == "Asked for “Plumbing” by api."


def test_a_request_never_overrides_an_opt_out(shop):
    consent.revoke(business=shop, phone=JANE, source=ConsentSource.TEXT, words="stop", now=NOW)
    lead_of(shop)
    assert [line.action for line in Consent.objects.all()] == ["revoke"]


def test_a_service_that_is_not_listed_is_asked_of_a_person(shop):
    answer = services.book_lead(lead=lead_of(shop, service=None), address="", now=NOW)
    assert (answer.outcome, answer.appointment) == (Outcome.NEEDS_DISPATCH, None)
    assert answer.text == "Alice Plumbing has no free time for roof right now. We will call you to find one."
    assert Task.objects.get().title == "Call Jane Doe (555) 123-0001 about roof: this service is not on our list."


def test_an_inactive_service_cannot_be_asked_for(shop):
    Service.objects.filter(name="Plumbing").update(is_active=False)
    assert services.find_service(business=shop, text="plumbing") is None


# --- Offering and answering -------------------------------------------------------------------------------------------


def test_an_offer_is_accepted_once(shop):
    proposal = offer_to(shop)
    first = services.accept(proposal=proposal, now=NOW)
    again = services.accept(proposal=proposal, now=NOW)
    assert (first.outcome, first.is_new, again.outcome, again.is_new) == (Outcome.BOOKED, True, Outcome.BOOKED, False)
    assert first.appointment == again.appointment == Appointment.objects.get()
    assert first.text == again.text
    assert states() == [("CONFIRMED", "SCHEDULED")]
    assert alerts() == ["New job: Plumbing, Jane Doe (555) 123-0001, Wed Nov 18, 10:00-11:00 AM."]
    assert Lead.objects.get().status == IntakeStatus.BOOKED


def test_a_second_request_replaces_the_first_offer_and_frees_its_slot(shop):
    first = offer_to(shop)
    second = offer_to(shop)
    assert (first.appointment.starts_at, second.appointment.starts_at) == (TEN, TEN)
    assert states() == [("REPLACED", "RELEASED"), ("PROPOSED", "HELD")]


def test_two_customers_are_offered_different_slots(shop):
    assert [offer_to(shop, JANE).appointment.starts_at, offer_to(shop, JIM, name="Jim Roe").appointment.starts_at] == [
        TEN,
        TEN + HOUR,
    ]


def test_another_time_frees_the_first_slot_and_holds_the_next(shop):
    proposal = offer_to(shop)
    answer = services.offer_another(proposal=proposal, now=NOW)
    assert (answer.outcome, answer.proposal.appointment.starts_at) == (Outcome.PROPOSED, TEN + HOUR)
    assert states() == [("REPLACED", "RELEASED"), ("PROPOSED", "HELD")]


def test_a_wish_that_cannot_be_met_is_loosened_and_the_text_names_the_slot(shop):
    booking.book_at(
        business=shop,
        request=booking.Request(customer=lead_of(shop, JIM).customer, service=Service.objects.get(name="Plumbing")),
        staff=StaffMember.objects.get(),
        starts_at=datetime(2026, 11, 20, 20, 0, tzinfo=UTC),
        now=NOW,
    )
    answer = services.answer_offer(proposal=offer_to(shop), text="friday at 2pm", now=NOW)
    assert answer.text.startswith("Hi Jane, Alice Plumbing can do Plumbing Fri Nov 20, 12:00-1:00 PM.")


@pytest.mark.parametrize("words", ["reschedule to friday at 3pm", "friday at 3pm", "no, friday at 3pm"])
def test_another_time_that_is_named_is_the_one_offered(shop, words):
    answer = services.answer_offer(proposal=offer_to(shop), text=words, now=NOW)
    assert answer.text.startswith("Hi Jane, Alice Plumbing can do Plumbing Fri Nov 20, 3:00-4:00 PM.")


def test_a_pass_closes_the_offer_and_says_that_nothing_is_booked(shop):
    proposal = offer_to(shop)
    answer = services.answer_offer(proposal=proposal, text="3", now=NOW)
    assert (answer.outcome, answer.text, answer.is_new) == (
        Outcome.DECLINED,
        "No problem, nothing is booked. Text us any time. Alice Plumbing",
        True,
    )
    assert services.decline(proposal=proposal, now=NOW).is_new is False
    assert states() == [("DECLINED", "RELEASED")]
    assert (Lead.objects.get().status, alerts()) == (IntakeStatus.DECLINED, [])


def test_an_unclear_answer_is_asked_again_and_changes_nothing(shop):
    answer = services.answer_offer(proposal=offer_to(shop), text="who is this?", now=NOW)
    assert (answer.outcome, answer.is_new, states()) == (Outcome.CLARIFY, False, [("PROPOSED", "HELD")])


def test_no_other_time_leaves_a_task_and_the_first_slot_can_still_be_had(shop):
    leave_one_hour(shop)
    proposal = offer_to(shop)
    answer = services.offer_another(proposal=proposal, now=NOW)
    assert (answer.outcome, answer.text) == (
        Outcome.NEEDS_DISPATCH,
        "Alice Plumbing has no other free time for Plumbing right now. We will call you to find one.",
    )
    assert Task.objects.get().reason == TaskReason.NO_CAPACITY
    assert services.accept(proposal=proposal, now=NOW).appointment.starts_at == TEN


# --- Late answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swept", [False, True])
def test_a_late_yes_books_the_same_slot_while_it_is_free(shop, swept):
    proposal = offer_to(shop)
    later = NOW + timedelta(minutes=30)
    if swept:
        booking.release_expired_holds(now=later)
    answer = services.accept(proposal=proposal, now=later)
    assert (answer.outcome, answer.appointment.starts_at, answer.appointment.pk) == (
        Outcome.BOOKED,
        TEN,
        proposal.appointment_id,
    )


def test_a_late_yes_to_a_slot_that_has_gone_books_nothing_unasked(shop):
    proposal = offer_to(shop)
    later = NOW + timedelta(minutes=16)
    SchedulingRules.objects.update(min_notice_minutes=0)
    rival = services.book_lead(lead=lead_of(shop, JIM, name="Jim Roe"), address="", now=later).appointment
    answer = services.accept(proposal=proposal, now=later)
    assert answer.outcome == Outcome.PROPOSED
    assert answer.text.startswith(
        "That time was just taken. Alice Plumbing can do Plumbing Wed Nov 18, 10:30-11:30 AM."
    )
    assert [row.pk for row in Appointment.objects.filter(status__in=UPCOMING)] == [rival.pk]
    assert states() == [("REPLACED", "RELEASED"), ("PROPOSED", "HELD")]


def test_a_late_yes_with_nothing_left_goes_to_a_person(shop):
    leave_one_hour(shop)
    proposal = offer_to(shop)
    later = NOW + timedelta(minutes=16)
    assert services.book_lead(lead=lead_of(shop, JIM, name="Jim Roe"), address="", now=later).outcome == Outcome.BOOKED
    assert services.accept(proposal=proposal, now=later).outcome == Outcome.NEEDS_DISPATCH
    assert Appointment.objects.filter(status__in=OCCUPYING).count() == 1


def test_a_yes_to_the_first_of_two_offers_books_it_and_lets_the_second_go(shop):
    first = offer_to(shop)
    second = services.offer_another(proposal=first, now=NOW).proposal
    answer = services.accept(proposal=first, now=NOW)
    assert (answer.outcome, answer.appointment.starts_at) == (Outcome.BOOKED, TEN)
    assert states() == [("CONFIRMED", "SCHEDULED"), ("REPLACED", "RELEASED")]
    # And a yes to the second, which crossed it on the way, moves nothing.
    late = services.accept(proposal=second, now=NOW)
    assert (late.outcome, late.is_new, late.appointment.starts_at) == (Outcome.BOOKED, False, TEN)


def test_a_repeated_yes_never_claims_a_job_that_was_cancelled(shop):
    proposal, job = booked_job(shop)
    booking.cancel(appointment=job, now=NOW)
    answer = services.accept(proposal=proposal, now=NOW)
    assert (answer.outcome, answer.text) == (
        Outcome.PROPOSED,
        "Hi Jane, Alice Plumbing can do Plumbing Wed Nov 18, 10:00-11:00 AM."
        " Reply 1 to book, 2 for another time, 3 to pass.",
    )
    assert Appointment.objects.filter(status__in=UPCOMING).count() == 0


def test_a_repeated_yes_names_the_time_the_job_has_now(shop):
    proposal, job = booked_job(shop)
    booking.reschedule(appointment=job, starts_at=TEN + 5 * HOUR, now=NOW)
    assert services.accept(proposal=proposal, now=NOW).text == (
        "Confirmed! Your Plumbing with Alice Plumbing is booked for November 18, 2026 at 3:00 PM. See you then!"
    )


def test_another_time_after_the_job_was_cancelled_is_a_new_offer(shop):
    proposal, job = booked_job(shop)
    booking.cancel(appointment=job, now=NOW)
    assert services.offer_another(proposal=proposal, now=NOW).outcome == Outcome.PROPOSED
    assert states() == [("CONFIRMED", "CANCELLED"), ("PROPOSED", "HELD")]


def test_a_no_to_an_offer_that_was_accepted_never_says_that_nothing_is_booked(shop):
    proposal, job = booked_job(shop)
    first, again = (services.answer_offer(proposal=proposal, text="3", now=NOW) for _ in range(2))
    assert (first.outcome, first.is_new, again.is_new) == (Outcome.HANDOFF, True, False)
    assert (
        first.text
        == "You are still booked: Plumbing, Wed Nov 18, 10:00-11:00 AM. Alice Plumbing will call you about it."
    )
    job.refresh_from_db()
    assert job.status == "SCHEDULED"
    assert alerts()[1:] == ["Call Jane Doe (555) 123-0001: they may want to cancel Wed Nov 18, 10:00-11:00 AM."]


# --- Moving a job -----------------------------------------------------------------------------------------------------


def test_a_job_stays_theirs_until_they_accept_another_time(shop):
    _, job = booked_job(shop)
    offered = services.start_reschedule(appointment=job, now=NOW)
    assert (offered.outcome, offered.proposal.appointment.starts_at) == (Outcome.PROPOSED, TEN + HOUR)
    job.refresh_from_db()
    assert (job.status, job.starts_at) == ("PENDING_RESCHEDULE", TEN)

    accepted = services.accept(proposal=offered.proposal, now=NOW)

    job.refresh_from_db()
    assert (accepted.appointment.pk, job.status, job.starts_at, job.sequence) == (job.pk, "SCHEDULED", TEN + HOUR, 1)
    assert list(Appointment.objects.filter(status__in=OCCUPYING)) == [job]
    assert alerts()[1:] == ["Moved: Plumbing, Jane Doe (555) 123-0001, Wed Nov 18, 11:00 AM-12:00 PM."]


def test_passing_on_the_other_time_keeps_the_job(shop):
    _, job = booked_job(shop)
    offered = services.start_reschedule(appointment=job, now=NOW)
    answer = services.decline(proposal=offered.proposal, now=NOW)
    assert answer.text == (
        "We leave it as it is: Plumbing, Wed Nov 18, 10:00-11:00 AM."
        " Reply 1 to keep it, 2 for another time, 3 to cancel it. Alice Plumbing"
    )
    job.refresh_from_db()
    assert (job.status, Lead.objects.get().status) == ("PENDING_RESCHEDULE", IntakeStatus.BOOKED)


def test_a_job_booked_by_the_owner_can_be_moved_by_its_customer(shop):
    customer, _ = remember_customer(business=shop, phone=JANE, name="Jane Doe")
    job = booking.book_at(
        business=shop,
        request=booking.Request(customer=customer, service=Service.objects.get(name="Plumbing")),
        staff=StaffMember.objects.get(),
        starts_at=TEN,
        now=NOW,
    )
    offered = services.start_reschedule(appointment=job, now=NOW)
    assert services.accept(proposal=offered.proposal, now=NOW).appointment.pk == job.pk
    assert Lead.objects.get().appointment_id == job.pk


# --- Handing over -----------------------------------------------------------------------------------------------------


def test_the_owner_is_told_once_about_each_request(shop):
    lead, other = lead_of(shop), lead_of(shop)
    for one in (lead, lead, other):
        services.hand_over(lead=one, reason=TaskReason.WANTS_CANCEL, title=f"Call about {one.asked_for}.", now=NOW)
    assert (Task.objects.count(), len(alerts())) == (1, 2)


# --- A step that fails ------------------------------------------------------------------------------------------------


def test_a_failure_between_two_steps_leaves_neither(shop, monkeypatch):
    proposal = offer_to(shop)
    lead = lead_of(shop, JIM, name="Jim Roe")

    def fail(*_args: object, **_fields: object) -> None:
        raise RuntimeError("the lights went out")

    def everything() -> list[object]:
        return [
            list(model.objects.order_by("pk").values())
            for model in (Lead, Proposal, Appointment, Activity, Task, Message)
        ]

    before = everything()
    monkeypatch.setattr(services, "_touch", fail)
    for step in (
        lambda: services.book_lead(lead=lead, address="", now=NOW),
        lambda: services.offer_slot(lead=lead, now=NOW),
        lambda: services.accept(proposal=proposal, now=NOW),
        lambda: services.offer_another(proposal=proposal, now=NOW),
        lambda: services.decline(proposal=proposal, now=NOW),
        lambda: services.hand_over(lead=lead, reason=TaskReason.WANTS_CANCEL, title="Call Jim.", now=NOW),
    ):
        with pytest.raises(RuntimeError, match="the lights went out"), transaction.atomic():
            step()
    assert everything() == before


# --- At the same moment -----------------------------------------------------------------------------------------------


def test_sixteen_yeses_at_once_are_one_job_and_one_alert(transactional_db):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001", owner_phone="+15552009001", staff=1)
    with every_business():
        proposal = offer_to(shop)

    def accept() -> Answer:
        with only(shop):
            return services.accept(proposal=proposal, now=NOW)

    answers = all_at_once([accept] * 16)

    assert {(answer.outcome, answer.appointment.pk) for answer in answers} == {
        (Outcome.BOOKED, proposal.appointment_id)
    }
    assert sorted(answer.is_new for answer in answers) == [False] * 15 + [True]
    with every_business():
        assert (Appointment.objects.count(), len(alerts())) == (1, 1)


def test_sixteen_requests_of_one_person_at_once_leave_one_open_offer(transactional_db):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001", staff=2)

    def ask() -> Answer:
        with only(shop), transaction.atomic():
            return services.offer_slot(lead=lead_of(shop), now=NOW)

    answers = all_at_once([ask] * 16)

    assert {answer.outcome for answer in answers} == {Outcome.PROPOSED}
    with every_business():
        assert Customer.objects.count() == 1
        assert sorted(states()) == [("PROPOSED", "HELD")] + [("REPLACED", "RELEASED")] * 15


class _Hunt:
    """Eight people who ask, answer, move and cancel at random while staff do the same, for some seconds."""

    PHONES = [f"+155512300{n:02d}" for n in range(10, 22)]

    def __init__(self, business: Business, *, seconds: float) -> None:
        self.business, self.until = business, clock.monotonic() + seconds
        self.trouble: list[BaseException] = []
        self.done: dict[str, int] = {}
        self._lock = threading.Lock()

    def run(self, seed: int) -> None:
        dice = random.Random(seed)
        steps = [
            self.ask,
            self.answer,
            self.answer,
            self.move,
            self.cancel,
            self.book_by_staff,
            self.text,
            self.sweep,
            self.staff_writes,
        ]
        try:
            while clock.monotonic() < self.until and not self.trouble:
                step = dice.choice(steps)
                with only(self.business):
                    step(dice)
                with self._lock:
                    self.done[step.__name__] = self.done.get(step.__name__, 0) + 1
        except BaseException as error:  # noqa: BLE001 - reported by the test
            self.trouble.append(error)
        finally:
            connection.close()

    def now(self, dice: random.Random) -> datetime:
        return NOW + timedelta(minutes=dice.choice([0, 0, 5, 20, 40]))  # later ones find holds that have run out

    def ask(self, dice: random.Random) -> None:
        now = self.now(dice)
        with transaction.atomic():
            lead = lead_of(self.business, dice.choice(self.PHONES))
            answer = (
                services.book_lead(lead=lead, address="", now=now)
                if dice.random() < 0.3
                else services.offer_slot(lead=lead, now=now)
            )
            tell_customer(customer=lead.customer, body=answer.text, kind=MessageKind.OFFER, now=now)

    def answer(self, dice: random.Random) -> None:
        proposals = list(Proposal.objects.select_related("business", "customer__business").order_by("-id")[:12])
        if proposals:
            now, words = self.now(dice), dice.choice(["1", "1", "2", "3", "friday at 2pm", "what?"])
            with transaction.atomic():
                answer = services.answer_offer(proposal=dice.choice(proposals), text=words, now=now)
                if answer.is_new:
                    tell_customer(customer=answer.lead.customer, body=answer.text, kind=MessageKind.CHAT, now=now)

    def move(self, dice: random.Random) -> None:
        self._with_a_job(dice, lambda job, now: services.start_reschedule(appointment=job, now=now))

    def cancel(self, dice: random.Random) -> None:
        def act(job: Appointment, now: datetime) -> None:
            booking.cancel(appointment=job, now=now)
            tell_customer(customer=job.customer, body="Cancelled.", kind=MessageKind.APPOINTMENT, now=now)
            if dice.random() < 0.3:
                booking.undo_cancel(appointment=job, now=now)

        self._with_a_job(dice, act)

    def book_by_staff(self, dice: random.Random) -> None:
        starts_at = TEN + dice.randrange(12) * timedelta(minutes=30)
        if dice.random() < 0.5:
            self._with_a_job(dice, lambda job, now: booking.reschedule(appointment=job, starts_at=starts_at, now=now))
            return
        with transaction.atomic():
            request = booking.Request(
                customer=lead_of(self.business, dice.choice(self.PHONES)).customer,
                service=Service.objects.get(name="Plumbing"),
            )
            try:
                booking.book_at(
                    business=self.business,
                    request=request,
                    staff=dice.choice(list(StaffMember.objects.all())),
                    starts_at=starts_at,
                    now=NOW,
                )
            except SlotTaken:
                return

    def text(self, dice: random.Random) -> None:
        """As the webhook does: thread, customer, calendar and the answer in one transaction."""
        now, phone = self.now(dice), dice.choice(self.PHONES)
        with transaction.atomic():
            got = receive_text(
                business=self.business,
                phone=phone,
                our_number="+15552000001",
                body="hi",
                now=now,
                provider_sid=f"SM{dice.getrandbits(120):032x}",
            )
            proposal = services.latest_proposal(business=self.business, customer=got.customer)
            words = dice.choice(["1", "2", "3"])
            answer = (
                services.answer_offer(proposal=proposal, text=words, now=now)
                if proposal
                else services.offer_slot(lead=lead_of(self.business, phone), now=now)
            )
            tell_customer(customer=got.customer, body=answer.text, kind=MessageKind.CHAT, now=now)

    def sweep(self, dice: random.Random) -> None:
        with every_business():
            booking.release_expired_holds(now=self.now(dice))

    def staff_writes(self, dice: random.Random) -> None:
        customer = Customer.objects.filter(conversations__isnull=False).order_by("?").first()
        if customer is not None:
            reply_as_staff(conversation=customer.conversations.get(), body="On our way.", user=self.alice, now=NOW)

    def _with_a_job(self, dice: random.Random, act) -> None:
        jobs = list(
            Appointment.objects.filter(status__in=UPCOMING).select_related("business", "customer__business")[:20]
        )
        if jobs:
            try:
                with transaction.atomic():
                    act(dice.choice(jobs), self.now(dice))
            except (SlotTaken, CannotMove):
                return  # an honest refusal is an answer


def test_a_random_crowd_never_blocks_itself_nor_books_a_time_twice(transactional_db, django_user_model):
    shop = open_shop(
        "alice",
        name="Alice Plumbing",
        number="+15552000001",
        owner_phone="+15552009001",
        staff=2,
        sms_daily_cap_cents=1_000_000,
    )
    hunt = _Hunt(shop, seconds=6)
    hunt.alice = django_user_model.objects.create(email="alice@example.com", name="Alice Ames")
    people = [threading.Thread(target=hunt.run, args=(seed,)) for seed in range(8)]
    for one in people:
        one.start()
    for one in people:
        one.join(timeout=60)

    assert [f"{type(error).__name__}: {error}" for error in hunt.trouble] == []
    assert set(hunt.done) == {"ask", "answer", "move", "cancel", "book_by_staff", "text", "sweep", "staff_writes"}
    assert sum(hunt.done.values()) > 200
    with every_business(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM booking_appointment a JOIN booking_appointment b ON a.staff_id = b.staff_id"
            " AND a.id < b.id AND a.starts_at < b.ends_at AND b.starts_at < a.ends_at"
            " WHERE a.status = ANY(%s) AND b.status = ANY(%s)",
            [[status.value for status in OCCUPYING]] * 2,
        )
        assert cursor.fetchone() == (0,)
        cursor.execute(
            "SELECT count(*) FROM leads_proposal WHERE status = 'PROPOSED' GROUP BY customer_id HAVING count(*) > 1"
        )
        assert cursor.fetchone() is None
        # Every held slot belongs to an open offer, and what was accepted is a job.
        cursor.execute(
            "SELECT count(*) FROM booking_appointment a WHERE a.status = 'HELD' AND NOT EXISTS ("
            " SELECT 1 FROM leads_proposal p WHERE p.appointment_id = a.id AND p.status = 'PROPOSED')"
        )
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    "change",
    [
        "accept",
        "decline",
        "hand_over",
        "tell_customer",
        "reply_as_staff",
        "receive_text",
        "cancel",
        "reschedule",
        "book_at",
    ],
)
def test_whoever_waits_for_a_persons_turn_holds_nothing_else(transactional_db, django_user_model, change):
    """The order of locks that keeps everybody out of a circle: the person, then the calendar, thread and budget."""
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001", owner_phone="+15552009001")
    alice = django_user_model.objects.create(email="alice@example.com", name="Alice Ames")
    with every_business():
        proposal = offer_to(shop, JIM, name="Jim Roe")
        lead, customer = proposal.lead, proposal.customer
        job = services.book_lead(lead=lead_of(shop, JIM), address="", now=NOW).appointment
        tell_customer(customer=customer, body="Hello.", kind=MessageKind.CHAT, now=NOW)
        thread = customer.conversations.get()
        request = booking.Request(customer=customer, service=Service.objects.get(name="Plumbing"))
        staff = StaffMember.objects.earliest("pk")
    changes = {
        "accept": lambda: services.accept(proposal=proposal, now=NOW),
        "decline": lambda: services.decline(proposal=proposal, now=NOW),
        "hand_over": lambda: services.hand_over(lead=lead, reason=TaskReason.WANTS_CANCEL, title="Call.", now=NOW),
        "tell_customer": lambda: tell_customer(customer=customer, body="Hi.", kind=MessageKind.CHAT, now=NOW),
        "reply_as_staff": lambda: reply_as_staff(conversation=thread, body="Hi.", user=alice, now=NOW),
        "receive_text": lambda: receive_text(
            business=shop, phone=JIM, our_number="+15552000001", body="hi", provider_sid="SM1", now=NOW
        ),
        "cancel": lambda: booking.cancel(appointment=job, now=NOW),
        "reschedule": lambda: booking.reschedule(appointment=job, starts_at=TEN + 24 * HOUR, now=NOW),
        "book_at": lambda: booking.book_at(
            business=shop, request=request, staff=staff, starts_at=TEN + 24 * HOUR, now=NOW
        ),
    }

    def run() -> None:
        with only(shop), transaction.atomic():
            changes[change]()
        connection.close()

    with every_business():
        before = Activity.objects.count() + Message.objects.count()
        with transaction.atomic():
            take_turn(customer)
            waiting = threading.Thread(target=run)
            waiting.start()
            until_somebody_waits()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM crm_conversation WHERE id = %s FOR UPDATE NOWAIT", [thread.pk])
                cursor.execute("SELECT 1 FROM booking_appointment WHERE id = %s FOR UPDATE NOWAIT", [job.pk])
                cursor.execute("SELECT 1 FROM crm_allowance FOR UPDATE NOWAIT")
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [shop.pk.int & (2**63 - 1)])
                assert cursor.fetchone() == (True,)
        waiting.join(timeout=10)
        assert waiting.is_alive() is False
        assert Activity.objects.count() + Message.objects.count() > before


# --- Merged customers -------------------------------------------------------------------------------------------------


def test_two_customers_with_open_offers_can_be_merged(shop):
    """One open offer per customer, says the database: the second one stays behind and runs out."""
    ours, theirs = offer_to(shop, JANE), offer_to(shop, JIM, name="Jane D.")
    merge_customers(kept=ours.customer, dropped=theirs.customer, actor=None, now=NOW)
    ours.refresh_from_db()
    theirs.refresh_from_db()
    assert (ours.status, theirs.status) == (ProposalStatus.OPEN, ProposalStatus.OPEN)
    assert (ours.customer_id == theirs.customer_id, Lead.objects.filter(customer=ours.customer).count()) == (False, 2)


# --- Bought -----------------------------------------------------------------------------------------------------------


def buy(business: Business, *, phone: str | None = JANE, event_id: str = "sale:1", name: str = "Jane Doe") -> Lead:
    lead, _ = services.add_bought_lead(
        business=business, phone=phone, name=name, address="12 Elm St", asked_for="Aged lead", notes="County: Caddo",
        cost=Decimal("8.00"), event_id=event_id, story="Bought for $8.00.", now=NOW,
    )  # fmt: skip
    return lead


def test_a_bought_lead_is_kept_with_its_price_and_agrees_to_nothing(shop):
    lead = buy(shop)
    assert (lead.source, lead.status, lead.cost, lead.asked_for, lead.notes) == (
        LeadSource.PURCHASE,
        IntakeStatus.NEW,
        Decimal("8.00"),
        "Aged lead",
        "County: Caddo",
    )
    assert (lead.customer.phone, lead.customer.name, lead.customer.address) == (JANE, "Jane Doe", "12 Elm St")
    assert (Consent.objects.count(), Message.objects.count()) == (0, 0)
    assert [(row.verb, row.text, row.about) for row in Activity.objects.all()] == [
        ("lead", "Bought for $8.00.", f"lead:{lead.pk}")
    ]


def test_a_lead_that_was_bought_once_comes_in_once(shop):
    first, again = buy(shop, phone=None), buy(shop, phone=None)
    assert first == again
    assert (Lead.objects.count(), Customer.objects.count(), Activity.objects.count()) == (1, 1, 1)


def test_two_bought_leads_with_one_number_are_one_customer_and_nothing_is_overwritten(shop):
    remember_customer(business=shop, phone=JANE, name="Jane from next door")
    assert buy(shop).customer == buy(shop, event_id="sale:2", name="J. DOE").customer
    assert [(row.name, row.address) for row in Customer.objects.all()] == [("Jane from next door", "12 Elm St")]


@pytest.mark.django_db(transaction=True)
def test_the_same_bought_lead_from_eight_sides_comes_in_once(shop):
    def take_in() -> Lead:
        with only(shop):
            return buy(shop, phone=None)

    leads = all_at_once([take_in] * 8)
    assert len({lead.pk for lead in leads}) == 1
    assert (Lead.objects.count(), Customer.objects.count(), Activity.objects.count()) == (1, 1, 1)


def test_nobody_waits_for_an_answer_to_a_bought_lead(shop):
    buy(shop)
    asked = lead_of(shop, JIM, name="Jim Roe")
    assert list(queries.untouched(shop)) == [asked]
    assert {lead.customer.name: lead.is_waiting for lead in queries.with_clock(Lead.objects.for_business(shop))} == {
        "Jane Doe": False,
        "Jim Roe": True,
    }
