"""Every change of the calendar: hold, book, confirm, move, cancel, finish.

Two guards keep a staff member's time from being sold twice. Booking takes turns per business (the scheduling-rules row
is locked), so a crowd finds different slots instead of colliding; and Postgres refuses an overlap, whoever writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction

from booking import queries
from booking.enums import MOVES, UPCOMING, AppointmentStatus
from booking.models import Appointment, SchedulingRules, Service, StaffMember
from booking.slots import Slot
from booking.when import Wanted
from booking.wording import say_day_time
from crm import rows
from crm.enums import Verb
from crm.models import Business, Customer, User
from crm.timeline import note

UNDO_CANCEL_WITHIN = timedelta(minutes=30)
_TRIES = 5  # a slot can only be lost to someone who did not wait for their turn: staff in the console, another floor


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
    *, business: Business, request: Request, staff: StaffMember, starts_at: datetime, now: datetime, actor: User | None = None
) -> Appointment:
    """Book one certain time. Raises SlotTaken with a sentence, also for a time that has passed."""
    if starts_at <= now:
        raise SlotTaken("That time has passed. Choose one that is still to come.")
    release_expired_holds(business=business, now=now)
    slot = Slot(staff_id=staff.pk, start=starts_at, end=starts_at + timedelta(minutes=request.service.duration_minutes))
    appointment = _appointment(business=business, request=request, slot=slot, now=now, held_until=None)
    with transaction.atomic():
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
        _release_expired_holds(appointment.business, now=now)
        if not _move(appointment, to=AppointmentStatus.SCHEDULED, frm=(AppointmentStatus.RELEASED,), held_until=None):
            appointment.refresh_from_db()
            if appointment.status in UPCOMING:
                return False
            raise CannotMove(f"This appointment is {appointment.get_status_display().lower()}.")
    _note_booked(appointment, now=now)
    return True


def release_hold(*, appointment: Appointment) -> bool:
    """The offer was turned down or replaced: its time is free again."""
    with connection.cursor() as cursor:  # frees time, so no constraint can object and no savepoint is needed
        cursor.execute(
            "UPDATE booking_appointment SET status = 'RELEASED' WHERE business_id = %s AND id = %s AND status = 'HELD'",
            [appointment.business_id, appointment.pk],
        )
        released: bool = cursor.rowcount == 1
    if released:
        appointment.status = AppointmentStatus.RELEASED
    return released


def release_expired_holds(*, now: datetime, business: Business | None = None) -> int:
    """Give back the time of holds that have run out. Returns how many."""
    holds = Appointment.objects.expired_holds(now)
    if business is not None:
        holds = holds.for_business(business)
    return holds.update(status=AppointmentStatus.RELEASED)


def confirm(*, appointment: Appointment, now: datetime, actor: User | None = None) -> bool:
    """The customer says they will be there. False: they had said so before."""
    return _move_and_note(
        appointment, to=AppointmentStatus.CONFIRMED, verb=Verb.CONFIRMED, text="Confirmed {what}.", now=now, actor=actor
    )


def ask_to_reschedule(*, appointment: Appointment, now: datetime) -> bool:
    """They want another time. The old one stays theirs until a new one is agreed."""
    return _move_and_note(
        appointment, to=AppointmentStatus.PENDING_RESCHEDULE, verb=Verb.MOVED, text="Wants another time for {what}.", now=now
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
        release_expired_holds(business=appointment.business, now=now)
        if _move(appointment, to=AppointmentStatus.SCHEDULED, frm=(AppointmentStatus.CANCELLED,), cancelled_at=None):
            _note(appointment, verb=Verb.BOOKED, text="Booked again: {what}.", now=now, actor=actor)


def complete(*, appointment: Appointment, now: datetime, actor: User | None = None) -> bool:
    """The job is done."""
    _must_have_started(appointment, now)
    return _move_and_note(
        appointment, to=AppointmentStatus.COMPLETED, verb=Verb.COMPLETED, text="Done: {what}.", now=now, actor=actor
    )


def mark_no_show(*, appointment: Appointment, now: datetime, actor: User | None = None) -> bool:
    """Nobody was there."""
    _must_have_started(appointment, now)
    return _move_and_note(
        appointment, to=AppointmentStatus.NO_SHOW, verb=Verb.MISSED, text="Nobody was there: {what}.", now=now, actor=actor
    )


def reschedule(
    *, appointment: Appointment, starts_at: datetime, now: datetime, staff: StaffMember | None = None, actor: User | None = None
) -> bool:
    """Move a job, keeping its length. The old time is free in the same instant. False: it was there already.

    Raises SlotTaken for a time that is taken or has passed, CannotMove for a job that is over.
    """
    staff_id = staff.pk if staff else appointment.staff_id
    if appointment.starts_at == starts_at and appointment.staff_id == staff_id:
        return False
    if starts_at <= now:
        raise SlotTaken("That time has passed. Choose one that is still to come.")
    was = say_day_time(appointment.starts_at, zone=appointment.business.time_zone)
    with transaction.atomic():
        release_expired_holds(business=appointment.business, now=now)
        if not _move(
            appointment, to=AppointmentStatus.SCHEDULED, frm=UPCOMING, starts_at=starts_at, staff_id=staff_id,
            ends_at=starts_at + (appointment.ends_at - appointment.starts_at), sequence=appointment.sequence + 1,
        ):  # fmt: skip
            raise CannotMove(f"This appointment is {appointment.get_status_display().lower()}; it cannot be moved.")
        _note(appointment, verb=Verb.MOVED, text=f"Moved from {was}: {{what}}.", now=now, actor=actor)
    return True


def move_to_slot_of(*, appointment: Appointment, hold: Appointment, now: datetime) -> None:
    """The customer accepted another time: the job takes over the held slot, and the hold is gone. Raises SlotTaken."""
    with transaction.atomic():
        release_hold(appointment=hold)
        staff = StaffMember.objects.get(pk=hold.staff_id)
        reschedule(appointment=appointment, starts_at=hold.starts_at, staff=staff, now=now)


# --- The engine room -------------------------------------------------------------------------------------------------


def _take_next_slot(
    *, business: Business, request: Request, now: datetime, after: datetime | None, wanted: Wanted | None, hold: bool
) -> Appointment:
    reason = "The calendar is being filled by others right now. Try again in a moment."
    with transaction.atomic(savepoint=False):
        rules = _my_turn(business)
        _release_expired_holds(business, now=now)
        for _ in range(_TRIES):
            slot, why_none = queries.next_slot(
                business=business, rules=rules, service=request.service, now=now, after=after, wanted=wanted,
                is_emergency=request.is_emergency,
            )  # fmt: skip
            if slot is None:
                reason = why_none
                break
            held_until = now + timedelta(minutes=rules.hold_minutes) if hold else None
            appointment = _appointment(business=business, request=request, slot=slot, now=now, held_until=held_until)
            if rows.insert(appointment, unless_conflict=True):
                return appointment
    # Raised outside the block: callers catch it and go on with their transaction.
    raise NoSlot(reason)


def _my_turn(business: Business) -> SchedulingRules:
    """Book one after another: the next caller searches when we have committed."""
    rules = rows.first(SchedulingRules, "business_id = %s", [business.pk], lock=True)
    if rules is None:
        rows.insert(SchedulingRules(business=business), unless_conflict=True)
        rules = rows.first(SchedulingRules, "business_id = %s", [business.pk], lock=True)
        assert rules is not None
    return rules


def _book_what_is_held(appointment: Appointment) -> bool:
    """The usual yes. The hold takes the time already, so the constraint has nothing to say and no savepoint is needed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE booking_appointment SET status = 'SCHEDULED', held_until = NULL"
            " WHERE business_id = %s AND id = %s AND status = 'HELD'",
            [appointment.business_id, appointment.pk],
        )
        booked: bool = cursor.rowcount == 1
    if booked:
        appointment.status, appointment.held_until = AppointmentStatus.SCHEDULED, None
    return booked


def _release_expired_holds(business: Business, *, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE booking_appointment SET status = 'RELEASED' WHERE business_id = %s AND status = 'HELD' AND held_until <= %s",
            [business.pk, now],
        )


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


def _move(appointment: Appointment, *, to: AppointmentStatus, frm: tuple[AppointmentStatus, ...] | None = None, **fields: object) -> bool:
    """Claim by update: of two movers one gets True. Raises SlotTaken when the time is not free."""
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
    **fields: object,
) -> bool:  # fmt: skip
    with transaction.atomic():
        if _move(appointment, to=to, **fields):
            _note(appointment, verb=verb, text=text, now=now, actor=actor)
            return True
        appointment.refresh_from_db()
        if appointment.status == to:
            return False
        raise CannotMove(f"This appointment is {appointment.get_status_display().lower()}.")


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
