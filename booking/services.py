"""Every change of the calendar: hold, book, confirm, move, cancel, finish.

Two guards keep a staff member's time from being sold twice: locks, held until the caller commits, and a constraint by
which Postgres refuses an overlap, whoever writes it.

The locks are always taken in one order, so nobody waits in a circle: first the person (`crm.services.take_turn`), then
the calendar of the business. Requests for the next free slot share the calendar and each hold one of the free staff, so
that a crowd spreads instead of queueing. Everything else that changes the calendar has it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from booking import queries
from booking.announcements import visit_done
from booking.enums import MOVES, UPCOMING, AppointmentStatus
from booking.models import Appointment, SchedulingRules, Service, StaffMember
from booking.slots import Slot
from booking.when import Wanted
from booking.wording import say_day_time
from crm import rows
from crm.enums import Verb
from crm.models import Business, Customer, User
from crm.services import take_turn
from crm.timeline import note

UNDO_CANCEL_WITHIN = timedelta(minutes=30)
_TRIES = 5  # alone in the calendar, a slot is only lost to a late yes or to somebody who goes round these services
# Why an appointment in this state cannot do what was asked, for people.
_STANDS = {
    AppointmentStatus.HELD: "This time is only held; nothing is booked yet.",
    AppointmentStatus.SCHEDULED: "This appointment is booked and still to come.",
    AppointmentStatus.CONFIRMED: "This appointment is confirmed and still to come.",
    AppointmentStatus.PENDING_RESCHEDULE: "This appointment waits for another time.",
    AppointmentStatus.CANCELLED: "This appointment is cancelled.",
    AppointmentStatus.COMPLETED: "This appointment is done.",
    AppointmentStatus.NO_SHOW: "This appointment was missed: nobody was there.",
    AppointmentStatus.RELEASED: "This time was only offered, and was not taken.",
}


class NoSlot(Exception):
    """Nothing free that fits. The text is the reason, for people."""


class SlotTaken(Exception):
    """That time has gone to somebody else, or has passed."""


class CannotMove(Exception):
    """The appointment is in no state for this. The text says why, for people."""


@dataclass(frozen=True)
class Request:
    """What is to be booked, for whom."""

    customer: Customer
    service: Service
    address: str = ""
    notes: str = ""
    source: str = ""
    is_emergency: bool = False


def hold_slot(
    *, business: Business, request: Request, now: datetime, after: datetime | None = None, wanted: Wanted | None = None
) -> Appointment:
    """Keep the next free slot for somebody who will be asked. It takes the time until `held_until`. Raises NoSlot."""
    return _take_next_slot(business=business, request=request, now=now, after=after, wanted=wanted, hold=True)


def book_next(
    *, business: Business, request: Request, now: datetime, after: datetime | None = None, wanted: Wanted | None = None
) -> Appointment:
    """Book the next free slot. Raises NoSlot."""
    appointment = _take_next_slot(business=business, request=request, now=now, after=after, wanted=wanted, hold=False)
    _note_booked(appointment, now=now)
    return appointment


def book_at(
    *,
    business: Business,
    request: Request,
    staff: StaffMember,
    starts_at: datetime,
    now: datetime,
    actor: User | None = None,
) -> Appointment:
    """Book one certain time. Raises SlotTaken with a sentence, also for a time that has passed."""
    if starts_at <= now:
        raise SlotTaken("That time has passed. Choose one that is still to come.")
    slot = Slot(staff_id=staff.pk, start=starts_at, end=starts_at + timedelta(minutes=request.service.duration_minutes))
    appointment = _appointment(business=business, request=request, slot=slot, now=now, held_until=None)
    with transaction.atomic():
        take_turn(request.customer)
        _have_calendar_alone(business)
        release_expired_holds(business=business, now=now)
        if not rows.insert(appointment, unless_conflict=True):
            raise SlotTaken("That time was just taken.")
        _note_booked(appointment, now=now, actor=actor)
    return appointment


def confirm_hold(*, appointment: Appointment, now: datetime) -> bool:
    """The customer said yes: the held slot becomes a job. True when this call booked it, False when it was booked before.
    Call it inside a transaction; a refusal leaves that as it was.

    A hold that ran out is booked all the same if nobody has taken the time. Raises SlotTaken otherwise, or when the
    time has passed.
    """
    if appointment.starts_at <= now:
        raise SlotTaken("That time has passed.")
    if not _book_what_is_held(appointment):
        _have_calendar_alone(appointment.business)
        release_expired_holds(business=appointment.business, now=now)
        if not _move(appointment, to=AppointmentStatus.SCHEDULED, frm=(AppointmentStatus.RELEASED,), held_until=None):
            appointment.refresh_from_db()
            if appointment.status in UPCOMING:
                return False
            raise CannotMove(_STANDS[AppointmentStatus(appointment.status)])
    _note_booked(appointment, now=now)
    return True


def release_hold(*, appointment: Appointment) -> bool:
    """The offer was turned down or replaced: its time is free again. Call it inside a transaction."""
    _have_calendar_alone(appointment.business)
    # frees time, so no constraint can object and no savepoint is needed
    cursor = rows.execute(
        "UPDATE booking_appointment SET status = 'RELEASED' WHERE business_id = %s AND id = %s AND status = 'HELD'",
        [appointment.business_id, appointment.pk],
    )
    released: bool = cursor.rowcount == 1
    if released:
        appointment.status = AppointmentStatus.RELEASED
    return released


def release_expired_holds(*, now: datetime, business: Business | None = None, staff_id: int | None = None) -> int:
    """Give back the time of holds that have run out: everywhere, of one business, or of one of its staff. Returns how
    many. One that is being answered at this moment is left to its customer, so the sweep waits for nobody."""
    cursor = rows.execute(
        "UPDATE booking_appointment SET status = 'RELEASED' WHERE id IN ("
        " SELECT id FROM booking_appointment WHERE status = 'HELD' AND held_until <= %s"
        " AND business_id = coalesce(%s, business_id) AND staff_id = coalesce(%s, staff_id)"
        " FOR NO KEY UPDATE SKIP LOCKED)",
        [now, business.pk if business else None, staff_id],
    )
    released: int = cursor.rowcount
    return released


def confirm(*, appointment: Appointment, now: datetime, actor: User | None = None) -> bool:
    """The customer says they will be there. False: they had said so before."""
    return _move_and_note(
        appointment, to=AppointmentStatus.CONFIRMED, verb=Verb.CONFIRMED, text="Confirmed {what}.", now=now, actor=actor
    )


def ask_to_reschedule(*, appointment: Appointment, now: datetime) -> bool:
    """They want another time. The old one stays theirs until a new one is agreed."""
    return _move_and_note(
        appointment,
        to=AppointmentStatus.PENDING_RESCHEDULE,
        verb=Verb.MOVED,
        text="Wants another time for {what}.",
        now=now,
    )


def cancel(*, appointment: Appointment, now: datetime, actor: User | None = None, words: str = "") -> bool:
    """Cancel. False: it was cancelled before. Raises CannotMove for a job that is done."""
    text = "Cancelled {what}" + (f" (“{words[:60]}”)." if words else ".")
    return _move_and_note(
        appointment, to=AppointmentStatus.CANCELLED, verb=Verb.CANCELLED, text=text, now=now, actor=actor,
        cancelled_at=now,
    )  # fmt: skip


def undo_cancel(*, appointment: Appointment, now: datetime, actor: User | None = None) -> None:
    """Take a cancellation back within 30 minutes, if the time is still free. Raises CannotMove or SlotTaken."""
    if appointment.status != AppointmentStatus.CANCELLED or appointment.cancelled_at is None:
        raise CannotMove("This appointment is not cancelled.")
    if now - appointment.cancelled_at > UNDO_CANCEL_WITHIN:
        raise CannotMove("A cancellation can be undone within 30 minutes.")
    if appointment.starts_at <= now:
        raise SlotTaken("That time has passed.")
    with transaction.atomic():
        _have_turn(appointment)
        release_expired_holds(business=appointment.business, now=now)
        if _move(appointment, to=AppointmentStatus.SCHEDULED, frm=(AppointmentStatus.CANCELLED,), cancelled_at=None):
            _note(appointment, verb=Verb.BOOKED, text="Booked again: {what}.", now=now, actor=actor)


def complete(*, appointment: Appointment, now: datetime, actor: User | None = None) -> bool:
    """The job is done."""
    _must_have_started(appointment, now)
    with transaction.atomic():
        is_news = _move_and_note(
            appointment, to=AppointmentStatus.COMPLETED, verb=Verb.COMPLETED, text="Done: {what}.", now=now, actor=actor
        )
        if is_news:
            visit_done.send(sender=Appointment, appointment=appointment, now=now)
    return is_news


def mark_no_show(*, appointment: Appointment, now: datetime, actor: User | None = None) -> bool:
    """Nobody was there."""
    _must_have_started(appointment, now)
    return _move_and_note(
        appointment,
        to=AppointmentStatus.NO_SHOW,
        verb=Verb.MISSED,
        text="Nobody was there: {what}.",
        now=now,
        actor=actor,
    )


def reschedule(
    *,
    appointment: Appointment,
    starts_at: datetime,
    now: datetime,
    staff: StaffMember | None = None,
    actor: User | None = None,
) -> bool:
    """Move a job, keeping its length. The old time is free in the same instant. False: it was there already.

    Raises SlotTaken for a time that is taken or has passed, CannotMove for a job that is over.
    """
    if starts_at <= now:
        raise SlotTaken("That time has passed. Choose one that is still to come.")
    with transaction.atomic():
        _have_turn(appointment)
        # Somebody else may have moved it since the caller read it.
        appointment.refresh_from_db(fields=["status", "starts_at", "ends_at", "staff_id", "sequence"])
        staff_id = staff.pk if staff else appointment.staff_id
        if appointment.status not in UPCOMING:
            raise CannotMove(_STANDS[AppointmentStatus(appointment.status)])
        if appointment.starts_at == starts_at and appointment.staff_id == staff_id:
            return False
        was = say_day_time(appointment.starts_at, zone=appointment.business.time_zone)
        release_expired_holds(business=appointment.business, now=now)
        _move(
            appointment, to=AppointmentStatus.SCHEDULED, frm=UPCOMING, starts_at=starts_at, staff_id=staff_id,
            ends_at=starts_at + (appointment.ends_at - appointment.starts_at), sequence=appointment.sequence + 1,
            # Reminded of anew, unless it is so soon that being told of the move is the reminder.
            reminded_at=None if starts_at - now > timedelta(hours=24) else now,
        )  # fmt: skip
        _note(appointment, verb=Verb.MOVED, text=f"Moved from {was}: {{what}}.", now=now, actor=actor)
    return True


def move_to_slot_of(*, appointment: Appointment, hold: Appointment, now: datetime) -> None:
    """The customer accepted another time: the job takes over the held slot, and the hold is gone. Raises SlotTaken."""
    with transaction.atomic():
        _have_turn(appointment)
        release_hold(appointment=hold)
        staff = StaffMember.objects.get(pk=hold.staff_id)
        reschedule(appointment=appointment, starts_at=hold.starts_at, staff=staff, now=now)


# --- The engine room -------------------------------------------------------------------------------------------------


def _take_next_slot(
    *, business: Business, request: Request, now: datetime, after: datetime | None, wanted: Wanted | None, hold: bool
) -> Appointment:
    with transaction.atomic(savepoint=False):
        wish = _Wish(
            business=business, request=request, rules=_rules(business), now=now, after=after, wanted=wanted, hold=hold
        )
        appointment, reason = None, ""
        if wish.rules.max_jobs_per_day is None:  # only one after another can keep count
            appointment, reason = _take_beside_others(wish)
        if appointment is None and not reason:
            appointment, reason = _take_alone(wish)
    if appointment is None:
        # Raised outside the block: callers catch it and go on with their transaction.
        raise NoSlot(reason)
    return appointment


@dataclass(frozen=True)
class _Wish:
    """A request for the next free slot, to be booked or (`hold`) held."""

    business: Business
    request: Request
    rules: SchedulingRules
    now: datetime
    after: datetime | None
    wanted: Wanted | None
    hold: bool

    def candidates(self) -> tuple[list[Slot], str]:
        return queries.next_slots(
            business=self.business, rules=self.rules, service=self.request.service, now=self.now, after=self.after,
            wanted=self.wanted, is_emergency=self.request.is_emergency,
        )  # fmt: skip

    def insert(self, slot: Slot) -> Appointment | None:
        """None when the time has gone."""
        held_until = self.now + timedelta(minutes=self.rules.hold_minutes) if self.hold else None
        appointment = _appointment(
            business=self.business, request=self.request, slot=slot, now=self.now, held_until=held_until
        )
        return appointment if rows.insert(appointment, unless_conflict=True) else None


def _take_beside_others(wish: _Wish) -> tuple[Appointment | None, str]:
    """The usual case: others may be booking too, and nobody waits. When everybody who is free is being booked, or the
    time has gone since we looked, all is let go and the answer is neither an appointment nor a reason."""
    savepoint = transaction.savepoint()  # going back to it also lets go of the locks
    _share_calendar(wish.business)
    candidates, reason = wish.candidates()
    slot = _of_whom_nobody_books(wish.business, candidates) if candidates else None
    if slot is not None and _has_time_to_travel(wish, slot):
        release_expired_holds(business=wish.business, staff_id=slot.staff_id, now=wish.now)
        appointment = wish.insert(slot)
        if appointment is not None:
            transaction.savepoint_commit(savepoint)
            return appointment, ""
    transaction.savepoint_rollback(savepoint)
    return None, reason


def _take_alone(wish: _Wish) -> tuple[Appointment | None, str]:
    _have_calendar_alone(wish.business)
    release_expired_holds(business=wish.business, now=wish.now)
    for _ in range(_TRIES):
        candidates, reason = wish.candidates()
        if not candidates:
            return None, reason
        appointment = wish.insert(candidates[0])
        if appointment is not None:
            return appointment, ""
    return None, "The calendar is being filled by others right now. Try again in a moment."


def _rules(business: Business) -> SchedulingRules:
    rules = rows.first(SchedulingRules, "business_id = %s", [business.pk])
    if rules is None:
        rows.insert(SchedulingRules(business=business), unless_conflict=True)
        rules = rows.first(SchedulingRules, "business_id = %s", [business.pk])
        assert rules is not None
    return rules


def _share_calendar(business: Business) -> None:
    """Until we commit, nobody has this calendar alone."""
    rows.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_calendar_key(business)])


def _have_calendar_alone(business: Business) -> None:
    """Until we commit, the others wait; a fair queue decides who comes next."""
    rows.execute("SELECT pg_advisory_xact_lock(%s)", [_calendar_key(business)])


def _calendar_key(business: Business) -> int:
    """The random bits of its id. Two businesses with the same ones would only wait for each other."""
    return business.pk.int & (2**63 - 1)


def _have_turn(appointment: Appointment) -> None:
    """The person, then the calendar: the order everybody keeps."""
    take_turn(appointment.customer)
    _have_calendar_alone(appointment.business)


def _of_whom_nobody_books(business: Business, candidates: list[Slot]) -> Slot | None:
    """Hold the best of the free staff whom nobody else is booking at this moment. None when all are being booked."""
    staff_ids = [slot.staff_id for slot in candidates]
    cursor = rows.execute(
        "SELECT id FROM booking_staffmember WHERE business_id = %s AND id = ANY(%s)"
        " ORDER BY array_position(%s, id) LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
        [business.pk, staff_ids, staff_ids],
    )
    held = cursor.fetchone()
    return next((slot for slot in candidates if held and slot.staff_id == held[0]), None)


def _has_time_to_travel(wish: _Wish, slot: Slot) -> bool:
    """A neighbouring job may have been booked between the search and our hold on the staff member."""
    if not wish.rules.travel_buffer_minutes:
        return True  # then the constraint alone decides
    buffer = timedelta(minutes=wish.rules.travel_buffer_minutes)
    near = Appointment.objects.for_business(wish.business).filter(staff_id=slot.staff_id).occupying(wish.now)
    return not near.filter(starts_at__lt=slot.end + buffer, ends_at__gt=slot.start - buffer).exists()


def _book_what_is_held(appointment: Appointment) -> bool:
    """The usual yes. The hold takes the time already, so the constraint has nothing to say and no savepoint is needed."""
    cursor = rows.execute(
        "UPDATE booking_appointment SET status = 'SCHEDULED', held_until = NULL"
        " WHERE business_id = %s AND id = %s AND status = 'HELD'",
        [appointment.business_id, appointment.pk],
    )
    booked: bool = cursor.rowcount == 1
    if booked:
        appointment.status, appointment.held_until = AppointmentStatus.SCHEDULED, None
    return booked


def _appointment(
    *, business: Business, request: Request, slot: Slot, now: datetime, held_until: datetime | None
) -> Appointment:
    service = request.service
    return Appointment(
        business=business, customer=request.customer, staff_id=slot.staff_id, service=service, service_name=service.name,
        starts_at=slot.start, ends_at=slot.end, address=request.address[:200], notes=request.notes, source=request.source,
        is_emergency=request.is_emergency, price_low=service.price_low, price_high=service.price_high, created_at=now,
        held_until=held_until, status=AppointmentStatus.HELD if held_until else AppointmentStatus.SCHEDULED,
    )  # fmt: skip


def _move(
    appointment: Appointment,
    *,
    to: AppointmentStatus,
    frm: tuple[AppointmentStatus, ...] | None = None,
    **fields: object,
) -> bool:
    """Claim by update: of two movers one gets True. Raises SlotTaken when the time is not free. Our turn is taken."""
    allowed = frm or MOVES[to]
    try:
        with transaction.atomic():
            moved = (
                Appointment.objects.for_business(appointment.business)
                .filter(pk=appointment.pk, status__in=allowed)
                .update(status=to, **fields)
            )
    except IntegrityError as error:
        if not _is_double_booking(error):
            raise
        raise SlotTaken("That time was just taken.") from error
    if moved:
        appointment.status = to
        for name, value in fields.items():
            setattr(appointment, name, value)
    return bool(moved)


def _move_and_note(
    appointment: Appointment, *, to: AppointmentStatus, verb: Verb, text: str, now: datetime, actor: User | None = None,
    **fields: Any,
) -> bool:  # fmt: skip
    with transaction.atomic():
        _have_turn(appointment)
        if _move(appointment, to=to, **fields):
            _note(appointment, verb=verb, text=text, now=now, actor=actor)
            return True
        appointment.refresh_from_db()
        if appointment.status == to:
            return False
        raise CannotMove(_STANDS[AppointmentStatus(appointment.status)])


def _must_have_started(appointment: Appointment, now: datetime) -> None:
    if appointment.starts_at > now:
        raise CannotMove("This appointment is still to come.")


def _is_double_booking(error: IntegrityError) -> bool:
    diagnostic = getattr(error.__cause__, "diag", None)
    return diagnostic is not None and diagnostic.constraint_name == "no_double_booking"


def _note_booked(appointment: Appointment, *, now: datetime, actor: User | None = None) -> None:
    _note(appointment, verb=Verb.BOOKED, text="Booked {what}.", now=now, actor=actor)


def _note(appointment: Appointment, *, verb: Verb, text: str, now: datetime, actor: User | None = None) -> None:
    zone = appointment.business.time_zone
    what = f"{appointment.service_name} for {say_day_time(appointment.starts_at, zone=zone)}"
    note(
        business=appointment.business, customer=appointment.customer, verb=verb, text=text.format(what=what), now=now,
        actor=actor, about=f"appointment:{appointment.pk}",
    )  # fmt: skip
