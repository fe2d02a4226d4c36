"""The calendar changes: what is held, booked, moved and cancelled, alone and in a crowd."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, time, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from booking import queries, services
from booking.enums import OCCUPYING, AppointmentStatus
from booking.models import Appointment, SchedulingRules, Service, StaffMember, WeeklyHours
from booking.services import CannotMove, NoSlot, Request, SlotTaken
from crm.models import Activity, Business, Customer
from crm.scoping import every_business, only
from crm.services import remember_customer
from tests.conftest import NOW, open_shop
from tests.crowd import all_at_once

HOUR = timedelta(hours=1)
TEN = datetime(2026, 11, 18, 16, 0, tzinfo=UTC)  # ten o'clock in Chicago, the first slot after the hour of notice
HELD, SCHEDULED, CONFIRMED, PENDING, CANCELLED, COMPLETED, NO_SHOW, RELEASED = (
    AppointmentStatus.HELD,
    AppointmentStatus.SCHEDULED,
    AppointmentStatus.CONFIRMED,
    AppointmentStatus.PENDING_RESCHEDULE,
    AppointmentStatus.CANCELLED,
    AppointmentStatus.COMPLETED,
    AppointmentStatus.NO_SHOW,
    AppointmentStatus.RELEASED,
)


@pytest.fixture
def shop(db):
    """Alice's shop with one plumber, seen from inside."""
    business = open_shop("alice", name="Alice Plumbing", number="+15552000001", staff=1)
    with only(business):
        yield business


@pytest.fixture
def crowded_shop(transactional_db) -> Business:
    """The same, for threads: what is done is committed."""
    return open_shop("alice", name="Alice Plumbing", number="+15552000001", staff=1)


def request_of(business: Business, phone: str = "+15551230001", service: str = "Plumbing") -> Request:
    customer, _ = remember_customer(business=business, phone=phone, name=f"Customer {phone[-4:]}")
    return Request(customer=customer, service=Service.objects.get(business=business, name=service), source="owner")


def plumber(business: Business) -> StaffMember:
    return StaffMember.objects.filter(business=business).earliest("pk")


def appointment_in(status: AppointmentStatus, business: Business, *, starts_at: datetime = TEN) -> Appointment:
    request = request_of(business)
    return Appointment.objects.create(
        business=business,
        customer=request.customer,
        staff=plumber(business),
        service=request.service,
        service_name="Plumbing",
        starts_at=starts_at,
        ends_at=starts_at + HOUR,
        status=status,
        created_at=NOW,
        held_until=NOW + timedelta(minutes=15) if status == HELD else None,
        cancelled_at=NOW if status == CANCELLED else None,
    )


def leave_only(business: Business, *, hours: int) -> None:
    """Open on Wednesday from ten, for so many hours, and on no other day."""
    WeeklyHours.objects.filter(business=business).exclude(weekday=2).delete()
    WeeklyHours.objects.filter(business=business).update(opens=time(10), closes=time(10 + hours))
    SchedulingRules.objects.filter(business=business).update(horizon_days=5, min_notice_minutes=0)


def story(business: Business) -> list[str]:
    return list(Activity.objects.filter(business=business).order_by("id").values_list("text", flat=True))


def is_double_booked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM booking_appointment a JOIN booking_appointment b ON a.staff_id = b.staff_id"
            " AND a.id < b.id AND a.starts_at < b.ends_at AND b.starts_at < a.ends_at"
            " WHERE a.status = ANY(%s) AND b.status = ANY(%s)",
            [[status.value for status in OCCUPYING]] * 2,
        )
        return cursor.fetchone()[0] > 0


# --- What every state can do ------------------------------------------------------------------------------------------

HELD_SAYS = "This time is only held; nothing is booked yet."
CANCELLED_SAYS = "This appointment is cancelled."
DONE_SAYS = "This appointment is done."
MISSED_SAYS = "This appointment was missed: nobody was there."
RELEASED_SAYS = "This time was only offered, and was not taken."
NOT_CANCELLED = "This appointment is not cancelled."
TO_COME = "This appointment is still to come."
OVER = {CANCELLED: CANCELLED_SAYS, COMPLETED: DONE_SAYS, NO_SHOW: MISSED_SAYS}
NEVER_BOOKED = {HELD: HELD_SAYS, RELEASED: RELEASED_SAYS}

ACTIONS = {
    "confirm": lambda row, _: services.confirm(appointment=row, now=NOW),
    "ask_to_reschedule": lambda row, _: services.ask_to_reschedule(appointment=row, now=NOW),
    "reschedule": lambda row, _: services.reschedule(appointment=row, starts_at=TEN + 3 * HOUR, now=NOW),
    "cancel": lambda row, _: services.cancel(appointment=row, now=NOW),
    "undo_cancel": lambda row, _: services.undo_cancel(appointment=row, now=NOW),
    "complete": lambda row, after: services.complete(appointment=row, now=after),
    "mark_no_show": lambda row, after: services.mark_no_show(appointment=row, now=after),
    "confirm_hold": lambda row, _: services.confirm_hold(appointment=row, now=NOW),
    "release_hold": lambda row, _: services.release_hold(appointment=row),
}
# action → state before → state after (the action says True), False (it had been done), or the refusal
TABLE: dict[str, dict[AppointmentStatus, AppointmentStatus | bool | str]] = {
    "confirm": {SCHEDULED: CONFIRMED, CONFIRMED: False, PENDING: CONFIRMED, **OVER, **NEVER_BOOKED},
    "ask_to_reschedule": {SCHEDULED: PENDING, CONFIRMED: PENDING, PENDING: False, **OVER, **NEVER_BOOKED},
    "reschedule": {SCHEDULED: SCHEDULED, CONFIRMED: SCHEDULED, PENDING: SCHEDULED, **OVER, **NEVER_BOOKED},
    "cancel": {
        SCHEDULED: CANCELLED,
        CONFIRMED: CANCELLED,
        PENDING: CANCELLED,
        **OVER,
        **NEVER_BOOKED,
        CANCELLED: False,
    },
    "undo_cancel": dict.fromkeys(AppointmentStatus, NOT_CANCELLED) | {CANCELLED: SCHEDULED},
    "complete": {
        SCHEDULED: COMPLETED,
        CONFIRMED: COMPLETED,
        PENDING: COMPLETED,
        **OVER,
        **NEVER_BOOKED,
        COMPLETED: False,
    },
    "mark_no_show": {SCHEDULED: NO_SHOW, CONFIRMED: NO_SHOW, PENDING: NO_SHOW, **OVER, **NEVER_BOOKED, NO_SHOW: False},
    "confirm_hold": {HELD: SCHEDULED, RELEASED: SCHEDULED, SCHEDULED: False, CONFIRMED: False, PENDING: False, **OVER},
    "release_hold": dict.fromkeys(AppointmentStatus, False) | {HELD: RELEASED},
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_state_allows_or_refuses_with_its_sentence(shop, action):
    assert set(TABLE[action]) == set(AppointmentStatus)
    for before, expected in TABLE[action].items():
        row = appointment_in(before, shop)
        told = len(story(shop))
        try:
            outcome: object = ACTIONS[action](row, TEN + HOUR)
        except CannotMove as refusal:
            outcome = str(refusal)
        kept = Appointment.objects.get(pk=row.pk)
        if isinstance(expected, AppointmentStatus):
            assert (before, outcome, kept.status) == (before, None if action == "undo_cancel" else True, expected)
        else:
            assert (before, outcome, kept.status) == (before, expected, before)
            assert len(story(shop)) == told
        kept.delete()


def test_a_job_is_over_only_after_it_began(shop):
    row = appointment_in(SCHEDULED, shop)
    for finish in (services.complete, services.mark_no_show):
        with pytest.raises(CannotMove, match="This appointment is still to come."):
            finish(appointment=row, now=NOW)
    row.refresh_from_db()
    assert (row.status, story(shop)) == ("SCHEDULED", [])


def test_each_change_leaves_a_line_in_the_owners_words(shop):
    row = services.book_at(business=shop, request=request_of(shop), staff=plumber(shop), starts_at=TEN, now=NOW)
    services.confirm(appointment=row, now=NOW)
    services.ask_to_reschedule(appointment=row, now=NOW)
    services.reschedule(appointment=row, starts_at=TEN + 5 * HOUR, now=NOW)
    services.cancel(appointment=row, now=NOW, words="can't make it")
    services.undo_cancel(appointment=row, now=NOW)
    services.complete(appointment=row, now=TEN + 6 * HOUR)
    assert story(shop) == [
        "Booked Plumbing for Wed 10 am.",
        "Confirmed Plumbing for Wed 10 am.",
        "Wants another time for Plumbing for Wed 10 am.",
        "Moved from Wed 10 am: Plumbing for Wed 3 pm.",
        "Cancelled Plumbing for Wed 3 pm (“can't make it”).",
        "Booked again: Plumbing for Wed 3 pm.",
        "Done: Plumbing for Wed 3 pm.",
    ]


def test_a_cancellation_is_undone_within_half_an_hour_and_not_later(shop):
    row = appointment_in(SCHEDULED, shop, starts_at=TEN + 4 * HOUR)
    services.cancel(appointment=row, now=NOW)
    with pytest.raises(CannotMove, match="A cancellation can be undone within 30 minutes."):
        services.undo_cancel(appointment=row, now=NOW + timedelta(minutes=30, seconds=1))
    row.refresh_from_db()
    assert row.status == "CANCELLED"
    services.undo_cancel(appointment=row, now=NOW + timedelta(minutes=30))
    row.refresh_from_db()
    assert (row.status, row.cancelled_at) == ("SCHEDULED", None)


def test_a_cancellation_cannot_be_undone_when_the_time_has_gone(shop):
    row = appointment_in(SCHEDULED, shop)
    services.cancel(appointment=row, now=NOW)
    other = services.book_at(
        business=shop, request=request_of(shop, "+15551230002"), staff=plumber(shop), starts_at=TEN, now=NOW
    )
    with pytest.raises(SlotTaken, match="That time was just taken."):
        services.undo_cancel(appointment=row, now=NOW)
    row.refresh_from_db()
    assert (row.status, other.status) == ("CANCELLED", "SCHEDULED")
    with pytest.raises(SlotTaken, match="That time has passed."):
        services.undo_cancel(appointment=appointment_in(CANCELLED, shop, starts_at=NOW), now=NOW)


# --- Moving -----------------------------------------------------------------------------------------------------------


def test_moving_a_job_frees_its_old_time_in_the_same_instant(shop):
    leave_only(shop, hours=2)
    row = services.book_next(business=shop, request=request_of(shop), now=NOW)
    services.book_next(business=shop, request=request_of(shop, "+15551230002"), now=NOW)
    with pytest.raises(NoSlot):
        services.book_next(business=shop, request=request_of(shop, "+15551230003"), now=NOW)

    assert services.reschedule(appointment=row, starts_at=TEN + 6 * HOUR, now=NOW) is True

    assert (row.starts_at, row.ends_at, row.sequence) == (TEN + 6 * HOUR, TEN + 7 * HOUR, 1)
    third = services.book_next(business=shop, request=request_of(shop, "+15551230003"), now=NOW)
    assert third.starts_at == TEN


def test_a_job_may_move_by_less_than_its_length(shop):
    row = appointment_in(SCHEDULED, shop)
    assert services.reschedule(appointment=row, starts_at=TEN + timedelta(minutes=15), now=NOW) is True


def test_moving_to_where_it_is_changes_nothing(shop):
    row = appointment_in(CONFIRMED, shop)
    assert services.reschedule(appointment=row, starts_at=TEN, now=NOW) is False
    row.refresh_from_db()
    assert (row.status, row.sequence, story(shop)) == ("CONFIRMED", 0, [])


def test_a_job_cannot_move_onto_another_or_into_the_past(shop):
    row = appointment_in(SCHEDULED, shop)
    appointment_in(SCHEDULED, shop, starts_at=TEN + 2 * HOUR)
    with pytest.raises(SlotTaken, match="That time was just taken."):
        services.reschedule(appointment=row, starts_at=TEN + timedelta(minutes=90), now=NOW)
    with pytest.raises(SlotTaken, match="That time has passed. Choose one that is still to come."):
        services.reschedule(appointment=row, starts_at=NOW, now=NOW)
    row.refresh_from_db()
    assert (row.starts_at, row.sequence, story(shop)) == (TEN, 0, [])


def test_two_who_move_the_same_job_each_build_on_the_other(shop):
    """The second one read the row before the first moved it; its count of changes must not repeat."""
    row = appointment_in(SCHEDULED, shop)
    read_before = Appointment.objects.get(pk=row.pk)
    services.reschedule(appointment=row, starts_at=TEN + 2 * HOUR, now=NOW)
    services.reschedule(appointment=read_before, starts_at=TEN + 4 * HOUR, now=NOW)
    assert (read_before.sequence, read_before.ends_at) == (2, TEN + 5 * HOUR)
    assert story(shop)[-1] == "Moved from Wed 12 pm: Plumbing for Wed 2 pm."


# --- Overlaps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", OCCUPYING)
def test_postgres_refuses_an_overlap_whoever_writes_it(shop, status):
    appointment_in(SCHEDULED, shop)
    with pytest.raises(IntegrityError, match="no_double_booking"), transaction.atomic():
        appointment_in(status, shop, starts_at=TEN + timedelta(minutes=59))
    assert Appointment.objects.count() == 1


def test_jobs_may_adjoin_and_two_plumbers_may_work_at_once(shop):
    appointment_in(SCHEDULED, shop)
    appointment_in(SCHEDULED, shop, starts_at=TEN + HOUR)
    appointment_in(SCHEDULED, shop, starts_at=TEN - HOUR)
    appointment_in(CANCELLED, shop)
    other = StaffMember.objects.create(business=shop, name="Bob")
    row = services.book_at(business=shop, request=request_of(shop), staff=other, starts_at=TEN, now=NOW)
    assert (row.status, Appointment.objects.count()) == ("SCHEDULED", 5)


def test_a_time_that_is_taken_or_has_passed_is_refused_with_a_sentence(shop):
    appointment_in(SCHEDULED, shop)
    request = request_of(shop, "+15551230002")
    with pytest.raises(SlotTaken, match="That time was just taken."):
        services.book_at(business=shop, request=request, staff=plumber(shop), starts_at=TEN, now=NOW)
    with pytest.raises(SlotTaken, match="That time has passed. Choose one that is still to come."):
        services.book_at(business=shop, request=request, staff=plumber(shop), starts_at=NOW, now=NOW)
    assert (Appointment.objects.count(), story(shop)) == (1, [])


# --- Holds ------------------------------------------------------------------------------------------------------------


def test_a_hold_takes_its_time_until_it_runs_out(shop):
    leave_only(shop, hours=1)
    held = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    assert (held.starts_at, held.status, held.held_until) == (TEN, "HELD", NOW + timedelta(minutes=15))
    other = request_of(shop, "+15551230002")
    with pytest.raises(NoSlot, match="Everyone is booked in the next 5 days."):
        services.book_next(business=shop, request=other, now=NOW + timedelta(minutes=14, seconds=59))
    assert Appointment.objects.count() == 1

    job = services.book_next(business=shop, request=other, now=NOW + timedelta(minutes=15))

    held.refresh_from_db()
    assert (job.starts_at, held.status) == (TEN, "RELEASED")


def test_a_search_ignores_holds_that_ran_out_before_the_sweep_has_been(shop):
    leave_only(shop, hours=1)
    held = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    later = NOW + timedelta(minutes=16)
    rules = SchedulingRules.objects.get(business=shop)
    found, _ = queries.open_slots(business=shop, rules=rules, duration=HOUR, now=NOW + timedelta(minutes=14))
    assert found == []
    found, _ = queries.open_slots(business=shop, rules=rules, duration=HOUR, now=later)
    assert [slot.start for slot in found] == [TEN]
    held.refresh_from_db()
    assert held.status == "HELD"

    assert services.release_expired_holds(now=later) == 1
    assert services.release_expired_holds(now=later) == 0
    held.refresh_from_db()
    assert held.status == "RELEASED"


def test_the_sweep_takes_every_business_and_only_what_ran_out(shop):
    next_door = open_shop("charlie", name="Charlie Cooling", number="+15552000002", staff=1)
    ours = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    with only(next_door):
        theirs = services.hold_slot(business=next_door, request=request_of(next_door), now=NOW)
    fresh = services.hold_slot(business=shop, request=request_of(shop, "+15551230002"), now=NOW + timedelta(minutes=1))
    assert services.release_expired_holds(now=NOW + timedelta(minutes=15), business=next_door) == 1
    assert services.release_expired_holds(now=NOW + timedelta(minutes=15)) == 1
    with every_business():
        states = [Appointment.objects.get(pk=row.pk).status for row in (ours, theirs, fresh)]
    assert states == ["RELEASED", "RELEASED", "HELD"]


def test_two_people_who_are_asked_at_once_are_offered_different_times(shop):
    first = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    second = services.hold_slot(business=shop, request=request_of(shop, "+15551230002"), now=NOW)
    assert (first.starts_at, second.starts_at) == (TEN, TEN + HOUR)


def test_a_yes_after_the_hold_ran_out_books_if_the_time_is_still_free(shop):
    held = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    services.release_expired_holds(now=NOW + timedelta(minutes=20))
    held.refresh_from_db()
    assert services.confirm_hold(appointment=held, now=NOW + timedelta(minutes=20)) is True
    assert services.confirm_hold(appointment=held, now=NOW + timedelta(minutes=20)) is False
    assert Appointment.objects.get().status == "SCHEDULED"


def test_a_yes_to_a_time_that_has_gone_books_nothing(shop):
    held = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    later = NOW + timedelta(minutes=20)
    services.book_at(
        business=shop, request=request_of(shop, "+15551230002"), staff=plumber(shop), starts_at=TEN, now=later
    )
    with pytest.raises(SlotTaken, match="That time was just taken."):
        services.confirm_hold(appointment=held, now=later)
    with pytest.raises(SlotTaken, match="That time has passed."):
        services.confirm_hold(appointment=held, now=TEN)
    assert sorted(Appointment.objects.values_list("status", flat=True)) == ["RELEASED", "SCHEDULED"]


def test_a_job_takes_over_the_held_time_and_the_hold_is_gone(shop):
    job = appointment_in(PENDING, shop)
    held = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    services.move_to_slot_of(appointment=job, hold=held, now=NOW)
    held.refresh_from_db()
    assert (job.starts_at, job.status, held.status) == (TEN + HOUR, "SCHEDULED", "RELEASED")


# --- The calendar's edges ---------------------------------------------------------------------------------------------


def test_a_business_without_rules_of_its_own_is_booked_by_the_usual_ones(shop):
    SchedulingRules.objects.filter(business=shop).delete()
    assert services.book_next(business=shop, request=request_of(shop), now=NOW).starts_at == TEN
    assert SchedulingRules.objects.get(business=shop).hold_minutes == 15


def test_the_daily_cap_counts_holds_and_jobs(shop):
    SchedulingRules.objects.filter(business=shop).update(max_jobs_per_day=2)
    services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    services.book_next(business=shop, request=request_of(shop, "+15551230002"), now=NOW)
    third = services.book_next(business=shop, request=request_of(shop, "+15551230003"), now=NOW)
    assert third.starts_at == datetime(2026, 11, 19, 14, 0, tzinfo=UTC)  # Thursday at eight


def test_the_drive_between_two_jobs_is_kept_free(shop):
    SchedulingRules.objects.filter(business=shop).update(travel_buffer_minutes=30)
    services.book_next(business=shop, request=request_of(shop), now=NOW)
    second = services.book_next(business=shop, request=request_of(shop, "+15551230002"), now=NOW)
    assert second.starts_at == TEN + timedelta(minutes=90)


def test_the_night_the_clocks_go_back_has_its_hour_twice(shop):
    """Sunday, November 1, 2026: 1:00 to 2:00 happens twice in Chicago, and each can be booked."""
    WeeklyHours.objects.filter(business=shop).delete()
    WeeklyHours.objects.create(business=shop, weekday=6, opens=time(1), closes=time(3))
    evening = datetime(2026, 10, 31, 23, 0, tzinfo=UTC)
    starts = [
        services.book_next(business=shop, request=request_of(shop, f"+1555123000{n}"), now=evening).starts_at
        for n in range(3)
    ]
    assert starts == [datetime(2026, 11, 1, hour, 0, tzinfo=UTC) for hour in (6, 7, 8)]


def test_the_night_the_clocks_go_forward_offers_no_hour_that_is_not_there(shop):
    """Sunday, March 14, 2027: after 1:59 it is 3:00."""
    WeeklyHours.objects.filter(business=shop).delete()
    WeeklyHours.objects.create(business=shop, weekday=6, opens=time(1), closes=time(4))
    evening = datetime(2027, 3, 13, 23, 0, tzinfo=UTC)
    starts = [
        services.book_next(business=shop, request=request_of(shop, f"+1555123000{n}"), now=evening).starts_at
        for n in range(2)
    ]
    assert starts == [datetime(2027, 3, 14, hour, 0, tzinfo=UTC) for hour in (7, 8)]


def test_a_job_moved_over_the_change_of_clocks_keeps_its_length(shop):
    row = appointment_in(SCHEDULED, shop)
    services.reschedule(appointment=row, starts_at=datetime(2027, 3, 14, 7, 30, tzinfo=UTC), now=NOW)
    assert row.ends_at - row.starts_at == HOUR


def test_a_failure_between_two_steps_leaves_neither(shop, monkeypatch):
    def fail(**_fields: object) -> None:
        raise RuntimeError("the lights went out")

    row = appointment_in(SCHEDULED, shop, starts_at=TEN + 4 * HOUR)
    held = services.hold_slot(business=shop, request=request_of(shop), now=NOW)
    monkeypatch.setattr(services, "note", fail)
    before = list(Appointment.objects.order_by("pk").values())
    request = request_of(shop, "+15551230002")
    for step in (
        lambda: services.book_next(business=shop, request=request, now=NOW),
        lambda: services.book_at(
            business=shop, request=request, staff=plumber(shop), starts_at=TEN + 2 * HOUR, now=NOW
        ),
        lambda: services.confirm_hold(appointment=held, now=NOW),
        lambda: services.cancel(appointment=row, now=NOW),
        lambda: services.reschedule(appointment=row, starts_at=TEN + 5 * HOUR, now=NOW),
        lambda: services.move_to_slot_of(appointment=row, hold=held, now=NOW),
    ):
        with pytest.raises(RuntimeError, match="the lights went out"), transaction.atomic():
            step()
    assert list(Appointment.objects.order_by("pk").values()) == before


# --- Crowds -----------------------------------------------------------------------------------------------------------


def test_fifty_people_who_want_the_same_time_get_one_job_and_forty_nine_refusals(crowded_shop):
    with every_business():
        staff = plumber(crowded_shop)
        requests = [request_of(crowded_shop, f"+155512340{n:02d}") for n in range(50)]

    def book(request: Request) -> str:
        with only(crowded_shop):
            try:
                services.book_at(business=crowded_shop, request=request, staff=staff, starts_at=TEN, now=NOW)
            except SlotTaken as refusal:
                return str(refusal)
        return "booked"

    outcomes = all_at_once([lambda request=request: book(request) for request in requests])

    assert sorted(outcomes) == ["That time was just taken."] * 49 + ["booked"]
    with every_business():
        assert (Appointment.objects.count(), Activity.objects.count(), Customer.objects.count()) == (1, 1, 50)


@pytest.mark.parametrize("staff", [1, 3])
def test_a_crowd_spreads_over_the_free_times_and_nobody_is_sent_away(transactional_db, staff):
    business = open_shop("alice", name="Alice Plumbing", number="+15552000001", staff=staff)
    with every_business():
        requests = [request_of(business, f"+155512340{n:02d}") for n in range(40)]

    def book(request: Request) -> tuple[int, datetime]:
        with only(business), transaction.atomic():
            row = services.book_next(business=business, request=request, now=NOW)
            return row.staff_id, row.starts_at

    taken = all_at_once([lambda request=request: book(request) for request in requests])

    wednesday = [TEN + n * HOUR for n in range(7)]
    later = [datetime(2026, 11, day, 14 + n, 0, tzinfo=UTC) for day in (19, 20, 23, 24) for n in range(9)]
    one_after_another = [start for start in wednesday + later for _ in range(staff)]
    assert sorted(start for _, start in taken) == one_after_another[:40]
    assert len(set(taken)) == 40
    assert is_double_booked() is False


def test_the_daily_cap_holds_in_a_crowd(transactional_db):
    business = open_shop("alice", name="Alice Plumbing", number="+15552000001", staff=4)
    SchedulingRules.objects.filter(business=business).update(max_jobs_per_day=3)
    with every_business():
        requests = [request_of(business, f"+155512340{n:02d}") for n in range(12)]

    def book(request: Request) -> datetime:
        with only(business), transaction.atomic():
            return services.book_next(business=business, request=request, now=NOW).starts_at

    taken = all_at_once([lambda request=request: book(request) for request in requests])

    assert sorted(start.day for start in taken) == [18] * 3 + [19] * 3 + [20] * 3 + [23] * 3


@pytest.mark.parametrize(("buffer", "meanwhile", "given"), [(0, TEN, TEN + HOUR), (30, TEN + HOUR, TEN + 2.5 * HOUR)])
def test_what_was_booked_while_we_looked_is_not_given_again(crowded_shop, monkeypatch, buffer, meanwhile, given):
    """The search has found ten o'clock; before we hold the plumber, somebody books it, or the hour right behind it."""
    SchedulingRules.objects.filter(business=crowded_shop).update(travel_buffer_minutes=buffer)
    search = queries.next_slots

    def book_meanwhile() -> None:
        with only(crowded_shop):
            appointment_in(SCHEDULED, crowded_shop, starts_at=meanwhile)
        connection.close()

    def a_slow_look(**question: object):
        found = search(**question)
        monkeypatch.setattr(queries, "next_slots", search)
        somebody = threading.Thread(target=book_meanwhile)
        somebody.start()
        somebody.join(timeout=10)
        return found

    with only(crowded_shop):
        request = request_of(crowded_shop, "+15551230002")
        monkeypatch.setattr(queries, "next_slots", a_slow_look)
        row = services.book_next(business=crowded_shop, request=request, now=NOW)
        assert (row.starts_at, Appointment.objects.count()) == (given, 2)


def test_the_sweep_waits_for_nobody(crowded_shop):
    """A hold that is being answered at this moment is left to its customer."""
    with every_business():
        answered = services.hold_slot(business=crowded_shop, request=request_of(crowded_shop), now=NOW)
        forgotten = services.hold_slot(business=crowded_shop, request=request_of(crowded_shop, "+15551230002"), now=NOW)
        swept = []

        def sweep() -> None:
            with every_business():
                swept.append(services.release_expired_holds(now=NOW + HOUR))
            connection.close()

        with transaction.atomic():
            assert services.confirm_hold(appointment=answered, now=NOW + timedelta(minutes=20)) is True
            sweeping = threading.Thread(target=sweep)
            sweeping.start()
            sweeping.join(timeout=10)
            assert swept == [1]
        answered.refresh_from_db()
        forgotten.refresh_from_db()
        assert (answered.status, forgotten.status) == ("SCHEDULED", "RELEASED")


def test_two_who_move_different_jobs_to_the_same_time_do_not_block_each_other(crowded_shop):
    """Two updates onto one time wait for each other in Postgres, and one of them would die of it after a second."""
    with every_business():
        jobs = [appointment_in(SCHEDULED, crowded_shop, starts_at=TEN + n * HOUR) for n in range(6)]

    def move(job: Appointment) -> str:
        with only(crowded_shop):
            try:
                services.reschedule(appointment=job, starts_at=TEN + 24 * HOUR, now=NOW)
            except SlotTaken as refusal:
                return str(refusal)
        return "moved"

    outcomes = all_at_once([lambda job=job: move(job) for job in jobs])

    assert sorted(outcomes) == ["That time was just taken."] * 5 + ["moved"]
    assert is_double_booked() is False
