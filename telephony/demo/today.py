"""The last hours of the demo, told through the real services: who waits, what is urgent, what went wrong.

Every moment is handed in, so a text of forty minutes ago is read, answered and kept as one of forty minutes ago. What
the services put in the outbox the demo carrier then gets at its own time: nothing of it is left for a worker to send.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from booking import services as booking
from booking.enums import AppointmentStatus
from booking.models import Appointment, Service
from booking.services import NoSlot
from crm import messaging
from crm.enums import Direction, MessageStatus, TaskReason
from crm.models import Business, Conversation, Message, User
from crm.phones import parse, pretty
from crm.services import open_thread, remember_customer, reply_as_staff
from leads.enums import IntakeStatus, LeadSource
from leads.models import Lead
from leads.services import intake
from telephony import delivery
from telephony.demo.businesses import DemoBusiness
from telephony.demo.diary import WEEKDAY_NAMES
from telephony.demo.history import EVENT_PREFIX
from telephony.demo.people import Person, walk_ins
from telephony.gateways import simulated
from telephony.letters import TextLetter
from telephony.models import SimulatedText
from telephony.services import receive_letter

_A_DAY: Final = 8  # walk-ins; the same ones come back every third day


@dataclass(frozen=True)
class Script:
    """What people say today at one business."""

    something_big: str
    not_on_the_list: str
    odd_question: str
    wants_a_person: str
    complaint: str
    staff_answer: str
    thanks: str
    asks: str
    form: str
    takes_back: str
    emergency: str = ""


SCRIPTS: Final = {
    "t_acme": Script(
        something_big="New ducts for a whole house",
        not_on_the_list="Pool heater repair",
        odd_question="Do you sell filters too? 20x25x4",
        wants_a_person="I only want to pick up two filters today, can somebody tell me if you have them?",
        complaint="Hi, the invoice from last week says two hours but he was here for one",
        staff_answer="Hi, Robin from Acme here. You are right, sorry! The corrected invoice goes out today.",
        thanks="Thank you Robin, I will look out for it",
        asks="ac repair please, the bedroom does not cool at all",
        form="The furnace smells of dust when it starts. Is that normal?",
        takes_back="Please cancel, my landlord sends somebody.",
    ),
    "bristol": Script(
        something_big="Pipes for a house we are building",
        not_on_the_list="Water softener",
        odd_question="Are you the ones with the blue vans?",
        wants_a_person="One of them parked across my driveway this morning, who do I talk to?",
        complaint="Hello, you were here on Tuesday and left the old heater in the garage",
        staff_answer="Hi, Kelly from Bristol Plumbing here. Sorry about that! Andre picks it up first thing tomorrow.",
        thanks="Perfect, the garage will be open",
        asks="kitchen drain is clogged again",
        form="Could you look at the shower upstairs? It only drips.",
        takes_back="Please cancel, we fixed it ourselves.",
        emergency="Pipe burst above the kitchen, water is coming through the ceiling",
    ),
    "nextgen": Script(
        something_big="A morning for a bridal party of six",
        not_on_the_list="Tattoo removal",
        odd_question="Do you have gift cards?",
        wants_a_person="It is for my mother's birthday tomorrow, can I get one today?",
        complaint="Hi, I was charged twice for my visit on Monday",
        staff_answer="Hi, Mia from NextGen here. I see it, sorry! The second charge is on its way back to your card.",
        thanks="Great, thanks for looking right away",
        asks="could I book a hydrafacial?",
        form="I would like a consultation about my skin, evenings are best.",
        takes_back="Please cancel, I am out of town.",
    ),
}


@dataclass(frozen=True)
class Day:
    """One business on one day."""

    demo: DemoBusiness
    business: Business
    helper: User
    now: datetime

    @property
    def script(self) -> Script:
        return SCRIPTS[self.demo.slug]

    def ago(self, *, minutes: int) -> datetime:
        return self.now - timedelta(minutes=minutes)

    def in_office_hours(self, *, minutes: int) -> datetime:
        """So long ago, or, in the night, so long before 7 in the evening: then a person of the team was still there."""
        local = self.now.astimezone(self.business.zone)
        evening = local.replace(hour=19, minute=0, second=0, microsecond=0)
        if local.hour < 10:
            local = evening - timedelta(days=1)
        elif local > evening:
            local = evening
        return (local - timedelta(minutes=minutes)).astimezone(UTC)

    def yesterday_at(self, moment: time) -> datetime:
        local = self.now.astimezone(self.business.zone)
        return datetime.combine(local.date() - timedelta(days=1), moment, tzinfo=self.business.zone)

    def event(self, what: str) -> str:
        """Dated in UTC, so that the newest lead says up to where the diary has been told."""
        return f"{EVENT_PREFIX}{self.now.astimezone(UTC):%Y-%m-%dT%H:%M}-{what}"


def tell(day: Day) -> None:
    """Everything that is open today. Call it inside the business's scope."""
    before = set(_in_the_outbox(day.business))
    people = walk_ins(day.demo)
    first = day.now.astimezone(day.business.zone).date().toordinal() * _A_DAY % len(people)
    today = people[first : first + _A_DAY]
    _a_text_that_failed(day, today[0])
    _nobody_does_that(day, today[1])
    _takes_it_back(day, today[2])
    _wants_a_person(day, today[3])
    _a_person_answers(day, today[4])
    if day.script.emergency:
        _emergency(day, today[5])
    _wants_another_time(day, but_not=today)
    _confirms(day, but_not=today)
    _new_lead(day, today[6])
    _open_offer(day, today[7])
    _hand_to_carrier(day.business, but_not=before)


# --- One each -------------------------------------------------------------------------------------------------------


def _a_text_that_failed(day: Day, person: Person) -> None:
    """Yesterday's request for something special; the number they typed does not exist."""
    asked_at = day.yesterday_at(time(16, 5))
    wish = day.script.something_big
    lead = _form(day, person, asked_for=wish, notes="Please call me.", at=asked_at, key="big")
    intake.hand_over(
        lead=lead,
        reason=TaskReason.ASKED_A_PERSON,
        now=asked_at,
        title=f"Call {_who(person)} about their request: “{wish}”",
    )
    thread = open_thread(business=day.business, customer=lead.person, now=asked_at)
    written_at = asked_at + timedelta(minutes=35)
    message = reply_as_staff(
        conversation=thread, user=day.helper, now=written_at,
        body=f"Hi {person.first_name}, thanks for your request. When is a good time to call you today?",
    )  # fmt: skip
    text = _at_the_carrier(message, at=written_at, status="undelivered", error_code="30005")
    Message.objects.filter(pk=message.pk).update(
        provider_sid=text.sid, from_number=text.from_number, claimed_at=written_at, attempts=1, sent_at=written_at
    )
    delivery.move_forward(message, to=MessageStatus.FAILED, code="30005", now=written_at + timedelta(seconds=4))


def _nobody_does_that(day: Day, person: Person) -> None:
    at = day.in_office_hours(minutes=190)
    lead = _form(day, person, asked_for=day.script.not_on_the_list, notes="", at=at, key="unlisted")
    intake.book_lead(lead=lead, address=person.address, now=at)


def _takes_it_back(day: Day, person: Person) -> None:
    at = day.in_office_hours(minutes=130)
    lead = _form(day, person, asked_for=day.demo.services[0].name, notes=day.script.takes_back, at=at, key="cancel")
    intake.hand_over(
        lead=lead, reason=TaskReason.WANTS_CANCEL, now=at,
        title=f"Call {_who(person)}: they want to cancel. “{day.script.takes_back}”",
    )  # fmt: skip


def _wants_a_person(day: Day, person: Person) -> None:
    """Not understood twice: the owner gets a text, the customer waits."""
    _text_us(day, person, day.script.odd_question, at=day.in_office_hours(minutes=51))
    _text_us(day, person, day.script.wants_a_person, at=day.in_office_hours(minutes=47))


def _a_person_answers(day: Day, person: Person) -> None:
    remember_customer(business=day.business, phone=person.phone, name=person.name, address=person.address)
    _text_us(day, person, day.script.complaint, at=day.in_office_hours(minutes=33))
    thread = Conversation.objects.for_business(day.business).get(their_address=person.phone)
    reply_as_staff(
        conversation=thread, body=day.script.staff_answer, user=day.helper, now=day.in_office_hours(minutes=24)
    )
    _text_us(day, person, day.script.thanks, at=day.in_office_hours(minutes=18))


def _emergency(day: Day, person: Person) -> None:
    """Taken on the phone: the first person who is free goes there."""
    at = day.ago(minutes=25)
    service = Service.objects.for_business(day.business).get(name="General Plumbing")
    draft = intake.Draft(
        phone=parse(person.phone, region="US"), source=LeadSource.MANUAL, name=person.name,
        asked_for=day.script.emergency, address=person.address, event_id=day.event("emergency"),
    )  # fmt: skip
    lead = intake.capture_lead(business=day.business, draft=draft, service=service, now=at)
    messaging.alert_owner(
        business=day.business, body=f"EMERGENCY, {_who(person)}, {person.address}: {day.script.emergency}", now=at,
        customer=lead.person, about=f"lead:{lead.pk}",
    )  # fmt: skip
    request = booking.Request(
        customer=lead.person, service=service, address=person.address, notes=day.script.emergency, source="owner",
        is_emergency=True,
    )  # fmt: skip
    try:
        lead.appointment = booking.book_next(business=day.business, request=request, now=at)
    except NoSlot as reason:  # visitors have booked the whole fortnight
        intake.hand_over(lead=lead, reason=TaskReason.NO_CAPACITY, title=f"Call {_who(person)}: {reason}", now=at)
        return
    lead.status, lead.first_touch_at = IntakeStatus.BOOKED, at
    lead.save(update_fields=["status", "first_touch_at", "appointment"])


def _wants_another_time(day: Day, *, but_not: Sequence[Person]) -> None:
    """Somebody with a visit in the next days asks to move it; the old time stays theirs until they accept a new one."""
    for person in _expected(day, after=timedelta(hours=20), but_not=but_not):
        wish = WEEKDAY_NAMES[(day.now.astimezone(day.business.zone).weekday() + 3) % 5]
        _text_us(
            day, person, f"Something came up, can I change my appointment to {wish} afternoon?", at=day.ago(minutes=12)
        )


def _confirms(day: Day, *, but_not: Sequence[Person]) -> None:
    """Somebody else says unasked that they will be there."""
    for person in _expected(day, after=timedelta(hours=2), but_not=but_not):
        _text_us(day, person, "Confirm", at=day.ago(minutes=6))


def _expected(day: Day, *, after: timedelta, but_not: Sequence[Person]) -> list[Person]:
    """The next customer who has one visit to come, not sooner than `after`; nobody when there is none."""
    visits = (
        Appointment.objects.for_business(day.business)
        .filter(status=AppointmentStatus.SCHEDULED, starts_at__gt=day.now + after, is_emergency=False)
        .exclude(customer__phone__in=[person.phone for person in but_not])
        .select_related("customer")
        .order_by("starts_at", "id")[:1]
    )
    return [
        Person(name=row.customer.name, phone=row.customer.phone, address=row.customer.address, email="")
        for row in visits
    ]


def _new_lead(day: Day, person: Person) -> None:
    _form(day, person, asked_for=day.script.form, notes=day.script.form, at=day.ago(minutes=9), key="new")


def _open_offer(day: Day, person: Person) -> None:
    _text_us(day, person, day.script.asks, at=day.ago(minutes=4))


# --- By which ways --------------------------------------------------------------------------------------------------


def _form(day: Day, person: Person, *, asked_for: str, notes: str, at: datetime, key: str) -> Lead:
    draft = intake.Draft(
        phone=parse(person.phone, region="US"), source=LeadSource.FORM, name=person.name, asked_for=asked_for,
        notes=notes, address=person.address, event_id=day.event(key),
    )  # fmt: skip
    service = intake.find_service(business=day.business, text=asked_for)
    return intake.capture_lead(business=day.business, draft=draft, service=service, now=at)


def _text_us(day: Day, person: Person, body: str, *, at: datetime) -> None:
    """Their text at the carrier, and through the letterbox's own reader."""
    text = simulated.written(from_number=person.phone, to_number=day.demo.number, body=body, at=at)
    text.webhook_status = 200
    text.save(update_fields=["webhook_status"])
    receive_letter(TextLetter.from_form(simulated.letter(text), {}), business=day.business, now=at)


def _in_the_outbox(business: Business) -> list[Message]:
    rows = Message.objects.for_business(business).filter(direction=Direction.OUTBOUND, delivered_at__isnull=True)
    return list(rows.filter(status__in=(MessageStatus.QUEUED, MessageStatus.SENDING)))


def _hand_to_carrier(business: Business, *, but_not: set[Message]) -> None:
    """What the services queued has arrived by now, at its own time. What waits for the morning goes on waiting."""
    for message in _in_the_outbox(business):
        at = message.created_at
        if message in but_not or (message.due_at is not None and message.due_at > at):
            continue
        text = _at_the_carrier(message, at=at, status="delivered")
        Message.objects.filter(pk=message.pk).update(
            provider_sid=text.sid, from_number=text.from_number, claimed_at=at, attempts=1
        )
        delivery.move_forward(message, to=MessageStatus.SENT, code="", now=at + timedelta(seconds=1))
        delivery.move_forward(message, to=MessageStatus.DELIVERED, code="", now=at + timedelta(seconds=3))


def _at_the_carrier(message: Message, *, at: datetime, status: str, error_code: str = "") -> SimulatedText:
    number = message.from_number or message.business.numbers.values_list("e164", flat=True)[0]
    return simulated.carried(
        from_number=number, to_number=message.to_number, body=message.body, at=at, status=status, error_code=error_code
    )


def _who(person: Person) -> str:
    return f"{person.name} {pretty(person.phone)}"
