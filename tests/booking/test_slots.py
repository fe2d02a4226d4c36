"""Free slots. Alice's shop is in New York and open 8:00-17:00 on weekdays; the present is Friday Nov 20, 2026, 9:02."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from booking.slots import DayHours, Interval, Rules, Slot, Staff, first_free, free_slots, why_none
from booking.when import Wanted

NEW_YORK = "America/New_York"
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
WEEKDAYS = tuple(DayHours(day, time(8), time(17)) for day in range(5))
ROUND_THE_CLOCK = tuple(DayHours(day, time(0), time(0)) for day in range(7))
RULES = Rules(zone=NEW_YORK)


def at(text: str, zone: str = NEW_YORK, fold: int = 0) -> datetime:
    """A wall-clock time in a zone, as the UTC moment it is."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def span(start: str, end: str, zone: str = NEW_YORK) -> Interval:
    return Interval(at(start, zone), at(end, zone))


def local(slots: list[Slot], zone: str = NEW_YORK) -> list[str]:
    return [f"{slot.start.astimezone(ZoneInfo(zone)):%a %H:%M}" for slot in slots]


NOW = at("2026-11-20 09:02")
BOB = Staff(id=1, hours=WEEKDAYS)


# --- an ordinary day ------------------------------------------------------------------------------------------------


def test_slots_start_on_the_quarter_hour_from_now_on() -> None:
    found = free_slots([BOB], RULES, duration=HOUR, after=NOW, limit=3)
    assert found == [
        Slot(staff_id=1, start=at("2026-11-20 09:15"), end=at("2026-11-20 10:15")),
        Slot(staff_id=1, start=at("2026-11-20 09:30"), end=at("2026-11-20 10:30")),
        Slot(staff_id=1, start=at("2026-11-20 09:45"), end=at("2026-11-20 10:45")),
    ]


def test_the_moment_itself_is_free_when_it_is_on_the_grid_and_a_second_later_is_not() -> None:
    ten = at("2026-11-20 10:00")
    assert local(free_slots([BOB], RULES, duration=HOUR, after=ten, limit=1)) == ["Fri 10:00"]
    assert local(free_slots([BOB], RULES, duration=HOUR, after=ten + timedelta(microseconds=1), limit=1)) == [
        "Fri 10:15"
    ]


def test_the_whole_job_fits_before_closing() -> None:
    found = local(free_slots([BOB], RULES, duration=timedelta(hours=2), after=at("2026-11-20 14:40"), limit=4))
    assert found == ["Fri 14:45", "Fri 15:00", "Mon 08:00", "Mon 08:15"]


def test_a_job_longer_than_the_day_has_no_slot() -> None:
    assert free_slots([BOB], RULES, duration=timedelta(hours=9, minutes=1), after=NOW) == []
    assert local(free_slots([BOB], RULES, duration=timedelta(hours=9), after=NOW, limit=1)) == ["Mon 08:00"]


def test_closed_days_have_no_slots_and_nobody_has_none_either() -> None:
    assert free_slots([BOB], RULES, duration=HOUR, after=at("2026-11-21 00:00"), until=at("2026-11-23 00:00")) == []
    assert free_slots([], RULES, duration=HOUR, after=NOW) == []
    assert free_slots([Staff(id=1, hours=())], RULES, duration=HOUR, after=NOW) == []


def test_a_lunch_break_splits_the_day() -> None:
    halves = (DayHours(4, time(13), time(15)), DayHours(4, time(9), time(12)))
    found = free_slots([Staff(id=1, hours=halves)], RULES, duration=timedelta(hours=2), after=NOW, limit=7)
    assert local(found)[:5] == ["Fri 09:15", "Fri 09:30", "Fri 09:45", "Fri 10:00", "Fri 13:00"]


def test_hours_that_touch_or_overlap_are_one_stretch() -> None:
    pieces = (DayHours(4, time(10), time(11)), DayHours(4, time(9), time(10)), DayHours(4, time(10, 30), time(12)))
    bob = Staff(id=1, hours=pieces)
    assert local(free_slots([bob], RULES, duration=2 * HOUR, after=NOW, limit=4)) == [
        "Fri 09:15",
        "Fri 09:30",
        "Fri 09:45",
        "Fri 10:00",
    ]


@pytest.mark.parametrize(("grid", "found"), [(5, "09:05"), (10, "09:10"), (20, "09:20"), (30, "09:30"), (60, "10:00")])
def test_the_grid_is_the_business_own(grid: int, found: str) -> None:
    rules = replace(RULES, grid_minutes=grid)
    assert local(free_slots([BOB], rules, duration=HOUR, after=NOW, limit=1)) == [f"Fri {found}"]


def test_limit_and_until_end_the_list() -> None:
    assert free_slots([BOB], RULES, duration=HOUR, after=NOW, limit=0) == []
    assert free_slots([BOB], RULES, duration=HOUR, after=NOW, limit=-1) == []
    until = at("2026-11-20 09:45")
    assert local(free_slots([BOB], RULES, duration=HOUR, after=NOW, until=until)) == ["Fri 09:15", "Fri 09:30"]


def test_notice_and_horizon_count_from_now() -> None:
    noticed = replace(RULES, min_notice_minutes=120)
    assert local(free_slots([BOB], noticed, duration=HOUR, after=NOW, limit=1)) == ["Fri 11:15"]
    assert free_slots([BOB], replace(RULES, horizon_days=2), duration=HOUR, after=at("2026-11-20 17:00")) == []
    assert local(
        free_slots([BOB], replace(RULES, horizon_days=3), duration=HOUR, after=at("2026-11-20 17:00"), limit=1)
    ) == ["Mon 08:00"]
    assert free_slots([BOB], replace(noticed, horizon_days=0), duration=HOUR, after=at("2026-11-20 15:00")) == []


# --- what is taken --------------------------------------------------------------------------------------------------


def test_a_busy_day_offers_only_its_gaps() -> None:
    bob = replace(
        BOB, busy=(span("2026-11-20 11:00", "2026-11-20 16:00"), span("2026-11-20 08:00", "2026-11-20 10:00"))
    )
    assert local(free_slots([bob], RULES, duration=HOUR, after=NOW, limit=3)) == ["Fri 10:00", "Fri 16:00", "Mon 08:00"]


def test_driving_time_is_kept_between_jobs_but_not_at_time_off_or_opening() -> None:
    half_hours = replace(RULES, travel_buffer_minutes=30, grid_minutes=30)
    bob = replace(BOB, busy=(span("2026-11-23 11:00", "2026-11-23 12:00"),))
    away = replace(BOB, off=bob.busy)
    found = local(free_slots([bob], half_hours, duration=HOUR, after=at("2026-11-23 00:00"), limit=5))
    assert found == ["Mon 08:00", "Mon 08:30", "Mon 09:00", "Mon 09:30", "Mon 12:30"]
    found = local(free_slots([away], half_hours, duration=HOUR, after=at("2026-11-23 00:00"), limit=6))
    assert found == ["Mon 08:00", "Mon 08:30", "Mon 09:00", "Mon 09:30", "Mon 10:00", "Mon 12:00"]


def test_driving_time_reaches_over_midnight() -> None:
    bob = Staff(id=1, hours=ROUND_THE_CLOCK, busy=(span("2026-11-20 22:00", "2026-11-20 23:50"),))
    rules = replace(RULES, travel_buffer_minutes=30)
    assert local(free_slots([bob], rules, duration=HOUR, after=at("2026-11-20 21:00"), limit=1)) == ["Sat 00:30"]
    tomorrow = replace(bob, busy=(span("2026-11-21 00:10", "2026-11-21 01:00"),))
    assert local(free_slots([tomorrow], rules, duration=HOUR, after=at("2026-11-20 22:30"), limit=2)) == [
        "Fri 22:30",
        "Sat 01:30",
    ]


def test_jobs_and_driving_after_midnight_keep_the_evening_before_free_for_them() -> None:
    bob = Staff(id=1, hours=ROUND_THE_CLOCK, busy=(span("2026-11-21 01:00", "2026-11-21 06:00"),))
    rules = replace(RULES, travel_buffer_minutes=30)
    assert local(free_slots([bob], rules, duration=HOUR, after=at("2026-11-20 23:15"), limit=3)) == [
        "Fri 23:15",
        "Fri 23:30",
        "Sat 06:30",
    ]
    assert local(free_slots([bob], RULES, duration=3 * HOUR, after=at("2026-11-20 21:45"), limit=3)) == [
        "Fri 21:45",
        "Fri 22:00",
        "Sat 06:00",
    ]


def test_a_job_in_the_evening_does_not_hide_time_off_in_the_morning() -> None:
    evening, morning = span("2026-11-20 18:00", "2026-11-20 19:00"), span("2026-11-20 09:00", "2026-11-20 12:00")
    bob = replace(BOB, busy=(evening,), off=(morning,))
    assert local(free_slots([bob], RULES, duration=HOUR, after=NOW, limit=1)) == ["Fri 12:00"]


def test_overlapping_and_unsorted_and_empty_intervals_do_no_harm() -> None:
    busy = (
        span("2026-11-20 12:00", "2026-11-20 13:00"),
        span("2026-11-20 09:00", "2026-11-20 15:00"),
        span("2026-11-20 15:30", "2026-11-20 15:30"),
        span("2026-11-10 08:00", "2026-11-11 08:00"),
    )
    bob = replace(BOB, busy=busy)
    assert local(free_slots([bob], RULES, duration=2 * HOUR, after=NOW, limit=1)) == ["Fri 15:00"]


def test_seconds_in_a_calendar_round_towards_no_overlap() -> None:
    bob = replace(BOB, off=(Interval(at("2026-11-20 09:00"), at("2026-11-20 10:00") + timedelta(milliseconds=1)),))
    assert local(free_slots([bob], RULES, duration=HOUR, after=NOW, limit=1)) == ["Fri 10:15"]


def test_time_off_of_weeks_that_began_long_ago_still_counts() -> None:
    bob = replace(BOB, off=(span("2026-11-01 00:00", "2026-11-24 12:00"), span("2026-11-20 10:00", "2026-11-20 11:00")))
    assert local(free_slots([bob], RULES, duration=HOUR, after=NOW, limit=1)) == ["Tue 12:00"]


def test_no_capacity_is_an_empty_list_never_an_overlap() -> None:
    full = replace(
        BOB, busy=tuple(Interval(NOW + day * 24 * HOUR, NOW + (day + 1) * 24 * HOUR) for day in range(-1, 16))
    )
    assert free_slots([full], RULES, duration=HOUR, after=NOW) == []
    assert first_free([full], RULES, duration=HOUR, after=NOW) is None
    assert free_slots([full], RULES, duration=HOUR, after=NOW, emergency=True) == []


# --- rules of the house ---------------------------------------------------------------------------------------------


def test_blackout_dates_are_skipped() -> None:
    rules = replace(RULES, blackout=frozenset({date(2026, 11, 20), date(2026, 11, 23)}))
    assert local(free_slots([BOB], rules, duration=HOUR, after=NOW, limit=1)) == ["Tue 08:00"]


def test_a_full_day_is_skipped_whoever_is_free() -> None:
    rules = replace(RULES, max_jobs_per_day=2)
    jobs = {date(2026, 11, 20): 2, date(2026, 11, 23): 3, date(2026, 11, 24): 1}
    assert local(free_slots([BOB], rules, duration=HOUR, after=NOW, limit=1, jobs_per_day=jobs)) == ["Tue 08:00"]
    assert local(free_slots([BOB], rules, duration=HOUR, after=NOW, limit=1)) == ["Fri 09:15"]
    assert local(free_slots([BOB], RULES, duration=HOUR, after=NOW, limit=1, jobs_per_day=jobs)) == ["Fri 09:15"]


def test_reserved_mornings_are_for_emergencies_only() -> None:
    rules = replace(RULES, reserve_mornings_for_emergencies=True)
    assert local(free_slots([BOB], rules, duration=HOUR, after=NOW, limit=1)) == ["Fri 12:00"]
    assert local(free_slots([BOB], rules, duration=HOUR, after=NOW, limit=1, emergency=True)) == ["Fri 09:15"]
    early = replace(rules, mornings_end=time(10, 20))
    assert local(free_slots([BOB], early, duration=HOUR, after=NOW, limit=1)) == ["Fri 10:30"]


def test_a_night_shift_runs_into_the_next_day() -> None:
    bob = Staff(id=1, hours=(DayHours(4, time(22), time(2)),))
    found = free_slots([bob], RULES, duration=timedelta(hours=2), after=NOW, limit=12)
    assert local(found) == [
        "Fri 22:00",
        "Fri 22:15",
        "Fri 22:30",
        "Fri 22:45",
        "Fri 23:00",
        "Fri 23:15",
        "Fri 23:30",
        "Fri 23:45",
        "Sat 00:00",
        "Fri 22:00",
        "Fri 22:15",
        "Fri 22:30",
    ]


def test_a_job_does_not_run_over_a_closed_hour_after_midnight() -> None:
    bob = Staff(id=1, hours=(DayHours(4, time(20), time(0)), DayHours(5, time(1), time(9))))
    found = free_slots([bob], replace(RULES, grid_minutes=60), duration=timedelta(hours=3), after=NOW, limit=3)
    assert local(found) == ["Fri 20:00", "Fri 21:00", "Sat 01:00"]


def test_a_blackout_day_is_dark_and_its_night_shift_does_not_begin() -> None:
    every_night = tuple(DayHours(day, time(22), time(2)) for day in range(7))
    bob = Staff(id=1, hours=every_night)
    rules = replace(RULES, blackout=frozenset({date(2026, 11, 21)}))
    found = free_slots([bob], rules, duration=HOUR, after=at("2026-11-20 22:31"), limit=3)
    assert local(found) == ["Fri 22:45", "Fri 23:00", "Sun 22:00"]


def test_round_the_clock_a_job_may_cross_midnight_more_than_once() -> None:
    bob = Staff(id=1, hours=ROUND_THE_CLOCK)
    assert local(free_slots([bob], RULES, duration=timedelta(hours=50), after=at("2026-11-20 23:50"), limit=1)) == [
        "Sat 00:00"
    ]
    closed_sunday = tuple(hours for hours in ROUND_THE_CLOCK if hours.weekday != 6)
    assert local(
        free_slots(
            [replace(bob, hours=closed_sunday)], RULES, duration=30 * HOUR, after=at("2026-11-20 17:50"), limit=2
        )
    ) == ["Fri 18:00", "Mon 00:00"]


# --- who does it ----------------------------------------------------------------------------------------------------


def test_one_slot_per_start_by_the_least_busy_then_the_lowest_id() -> None:
    busy_bob = replace(BOB, id=1, busy=(span("2026-11-20 14:00", "2026-11-20 16:00"),))
    busy_dora = replace(BOB, id=2, busy=(span("2026-11-20 15:00", "2026-11-20 16:00"),))
    eve, finn = replace(BOB, id=9), replace(BOB, id=7)

    def who(*staff: Staff) -> int:
        (slot,) = free_slots(staff, RULES, duration=HOUR, after=NOW, limit=1)
        return slot.staff_id

    assert who(busy_bob, busy_dora) == 2
    assert who(busy_bob, busy_dora, eve, finn) == 7
    found = free_slots([busy_bob, busy_dora, eve, finn], RULES, duration=HOUR, after=NOW, limit=50)
    starts = [slot.start for slot in found]
    assert starts == sorted(set(starts))


def test_only_that_days_jobs_count_as_busy_and_time_off_does_not() -> None:
    yesterday = replace(BOB, id=2, busy=(span("2026-11-19 08:00", "2026-11-19 17:00"),))
    away_later = replace(BOB, id=3, off=(span("2026-11-20 14:00", "2026-11-20 17:00"),))
    one_job = replace(BOB, id=1, busy=(span("2026-11-20 16:00", "2026-11-20 16:30"),))
    assert free_slots([one_job, away_later], RULES, duration=HOUR, after=NOW, limit=1)[0].staff_id == 3
    assert free_slots([one_job, yesterday], RULES, duration=HOUR, after=NOW, limit=1)[0].staff_id == 2


def test_an_overlap_in_the_calendar_is_busy_once() -> None:
    doubled = replace(BOB, id=1, busy=(span("2026-11-20 14:00", "2026-11-20 15:00"),) * 3)
    longer = replace(BOB, id=2, busy=(span("2026-11-20 14:00", "2026-11-20 15:15"),))
    assert free_slots([doubled, longer], RULES, duration=HOUR, after=NOW, limit=1)[0].staff_id == 1


# --- a wish ---------------------------------------------------------------------------------------------------------


def test_a_wish_narrows_the_days_and_the_start_times() -> None:
    tuesday = (date(2026, 11, 24), date(2026, 11, 24))

    def found(wanted: Wanted) -> list[str]:
        return local(free_slots([BOB], RULES, duration=HOUR, after=NOW, limit=2, wanted=wanted))

    assert found(Wanted(words="asap")) == ["Fri 09:15", "Fri 09:30"]
    assert found(Wanted(dates=tuesday)) == ["Tue 08:00", "Tue 08:15"]
    assert found(Wanted(dates=tuesday, not_before=time(15, 50))) == ["Tue 16:00"]
    assert found(Wanted(not_after=time(9, 30))) == ["Fri 09:15", "Mon 08:00"]
    assert found(Wanted(not_before=time(14), not_after=time(14, 30))) == ["Fri 14:00", "Fri 14:15"]
    assert found(Wanted(dates=tuesday, exact=time(15, 30))) == ["Tue 15:30"]
    assert found(Wanted(exact=time(8))) == ["Mon 08:00", "Tue 08:00"]
    assert found(Wanted(exact=time(8, 5))) == []
    assert found(Wanted(exact=time(8), not_after=time(8))) == []
    assert found(Wanted(exact=time(8), not_before=time(9))) == []
    assert found(Wanted(dates=(date(2026, 11, 1), date(2026, 11, 19)))) == []
    assert found(Wanted(dates=(date(2026, 12, 5), date(2026, 12, 31)))) == []


def test_a_wish_for_a_reserved_morning_is_not_granted() -> None:
    rules = replace(RULES, reserve_mornings_for_emergencies=True)
    wish = Wanted(exact=time(9, 30))
    assert free_slots([BOB], rules, duration=HOUR, after=NOW, wanted=wish) == []
    assert local(free_slots([BOB], rules, duration=HOUR, after=NOW, wanted=wish, emergency=True, limit=1)) == [
        "Fri 09:30"
    ]


# --- the nights the clocks change -----------------------------------------------------------------------------------


def test_nine_stays_nine_across_both_changes() -> None:
    every_day = tuple(DayHours(day, time(9), time(10)) for day in range(7))
    bob = Staff(id=1, hours=every_day)
    for sunday in (date(2027, 3, 14), date(2026, 11, 1)):
        found = free_slots([bob], RULES, duration=HOUR, after=at(f"{sunday - timedelta(days=1)} 00:00"), limit=3)
        assert local(found) == ["Sat 09:00", "Sun 09:00", "Mon 09:00"]


def test_the_skipped_hour_is_never_offered_and_a_job_over_it_keeps_its_length() -> None:
    bob = Staff(id=1, hours=ROUND_THE_CLOCK)
    found = free_slots([bob], RULES, duration=timedelta(hours=2), after=at("2027-03-14 01:30"), limit=3)
    assert local(found) == ["Sun 01:30", "Sun 01:45", "Sun 03:00"]
    assert [slot.end for slot in found] == [at("2027-03-14 04:30"), at("2027-03-14 04:45"), at("2027-03-14 05:00")]


def test_hours_that_lie_in_the_skipped_hour_do_not_exist_that_day() -> None:
    bob = Staff(id=1, hours=tuple(DayHours(day, time(2), time(3)) for day in range(7)))
    assert local(free_slots([bob], RULES, duration=HOUR, after=at("2027-03-13 00:00"), limit=2)) == [
        "Sat 02:00",
        "Mon 02:00",
    ]


def test_the_doubled_hour_is_two_real_hours() -> None:
    bob = Staff(id=1, hours=(DayHours(6, time(1), time(2)),))
    found = free_slots([bob], replace(RULES, grid_minutes=30), duration=HOUR, after=at("2026-11-01 00:00"), limit=3)
    assert found == [
        Slot(1, at("2026-11-01 01:00"), at("2026-11-01 01:00", fold=1)),
        Slot(1, at("2026-11-01 01:30"), at("2026-11-01 01:30", fold=1)),
        Slot(1, at("2026-11-01 01:00", fold=1), at("2026-11-01 02:00")),
    ]


def test_a_shop_that_closes_inside_the_doubled_hour_closes_twice() -> None:
    bob = Staff(id=1, hours=(DayHours(6, time(0), time(1, 30)),))
    found = free_slots([bob], RULES, duration=timedelta(minutes=30), after=at("2026-11-01 00:45"), limit=4)
    assert [slot.start for slot in found] == [
        at("2026-11-01 00:45"),
        at("2026-11-01 01:00"),
        at("2026-11-01 01:00", fold=1),
        at("2026-11-08 00:00"),
    ]


def test_the_grid_is_the_wall_clocks_also_where_it_is_off_by_forty_five_minutes() -> None:
    kathmandu = "Asia/Kathmandu"
    bob = Staff(id=1, hours=tuple(DayHours(day, time(8), time(17)) for day in range(7)))
    found = free_slots([bob], Rules(zone=kathmandu, grid_minutes=60), duration=HOUR, after=NOW, limit=2)
    assert local(found, kathmandu) == ["Sat 08:00", "Sat 09:00"]
    assert [f"{slot.start:%H:%M}" for slot in found] == ["02:15", "03:15"]


def test_a_date_a_zone_skipped_is_an_empty_day() -> None:
    apia = "Pacific/Apia"
    bob = Staff(id=1, hours=ROUND_THE_CLOCK)
    found = free_slots(
        [bob], Rules(zone=apia, grid_minutes=720), duration=HOUR, after=at("2011-12-29 12:00", apia), limit=2
    )
    assert [f"{slot.start.astimezone(ZoneInfo(apia)):%Y-%m-%d %H:%M}" for slot in found] == [
        "2011-12-29 12:00",
        "2011-12-31 00:00",
    ]


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_naive_time_is_refused() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match=r"^The search needs aware datetimes\.$"):
        free_slots([BOB], RULES, duration=HOUR, after=naive)
    with pytest.raises(ValueError, match=r"^The search needs aware datetimes\.$"):
        first_free([BOB], RULES, duration=HOUR, after=NOW, until=naive)
    with pytest.raises(ValueError, match=r"^An interval needs aware datetimes\.$"):
        Interval(NOW, naive)
    with pytest.raises(ValueError, match=r"^An interval ends before it starts\.$"):
        Interval(NOW, NOW - MINUTE)


def test_a_job_without_duration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^A job needs a duration\.$"):
        why_none([BOB], RULES, duration=timedelta(), after=NOW)


# --- why there is none ----------------------------------------------------------------------------------------------

TUESDAY = Wanted(dates=(date(2026, 11, 24), date(2026, 11, 24)))
FULL_TUESDAY = (span("2026-11-24 08:00", "2026-11-24 17:00"),)


@pytest.mark.parametrize(
    ("staff", "rules", "wanted", "why"),
    [
        ([], RULES, None, "Nobody is set up to take this job yet."),
        ([BOB], RULES, TUESDAY, ""),
        ([replace(BOB, hours=())], RULES, None, "We are not open in the next 14 days."),
        ([BOB], RULES, Wanted(dates=(date(2026, 11, 22), date(2026, 11, 22))), "We are not open on Sun Nov 22."),
        (
            [BOB],
            RULES,
            Wanted(dates=(date(2026, 11, 21), date(2026, 11, 22))),
            "We are not open from Sat Nov 21 to Sun Nov 22.",
        ),
        ([replace(BOB, busy=FULL_TUESDAY)], RULES, TUESDAY, "Everyone is booked on Tue Nov 24."),
        ([replace(BOB, off=FULL_TUESDAY)], RULES, TUESDAY, "Everyone is off or booked on Tue Nov 24."),
        (
            [replace(BOB, busy=FULL_TUESDAY)],
            RULES,
            Wanted(dates=TUESDAY.dates, not_before=time(15)),
            "Everyone is booked on Tue Nov 24.",
        ),
        (
            [BOB],
            replace(RULES, blackout=frozenset({date(2026, 11, 24)})),
            TUESDAY,
            "We are closed on Tue Nov 24: it is a day off.",
        ),
        (
            [BOB],
            replace(RULES, blackout=frozenset(date(2026, 11, 20) + timedelta(days=n) for n in range(15))),
            None,
            "Every open day in the next 14 days is a day off.",
        ),
        (
            [BOB],
            RULES,
            Wanted(dates=(date(2026, 11, 19), date(2026, 11, 19))),
            "Thu Nov 19 has already passed.",
        ),
        (
            [BOB],
            RULES,
            Wanted(dates=(date(2026, 12, 15), date(2026, 12, 16))),
            "Tue Dec 15 to Wed Dec 16 is too far ahead: we book until Fri Dec 4.",
        ),
        (
            [BOB],
            RULES,
            Wanted(dates=TUESDAY.dates, not_before=time(18)),
            "Nothing is free after 6 PM on Tue Nov 24. The first other opening is Tue Nov 24, 8:00-9:00 AM.",
        ),
        (
            [BOB],
            RULES,
            Wanted(dates=TUESDAY.dates, not_after=time(7, 30)),
            "Nothing is free before 7:30 AM on Tue Nov 24. The first other opening is Tue Nov 24, 8:00-9:00 AM.",
        ),
        (
            [BOB],
            RULES,
            Wanted(not_before=time(18), not_after=time(20)),
            "Nothing is free between 6 PM and 8 PM in the next 14 days."
            " The first other opening is Fri Nov 20, 9:15-10:15 AM.",
        ),
        (
            [BOB],
            RULES,
            Wanted(dates=TUESDAY.dates, exact=time(16, 30)),
            "Nothing is free at 4:30 PM on Tue Nov 24. The first other opening is Tue Nov 24, 8:00-9:00 AM.",
        ),
        (
            [replace(BOB, busy=(span("2026-11-24 12:00", "2026-11-24 17:00"),))],
            replace(RULES, reserve_mornings_for_emergencies=True),
            TUESDAY,
            "The only free time on Tue Nov 24 is before 12 PM, kept for emergencies.",
        ),
        (
            [replace(BOB, busy=(span("2026-11-24 09:00", "2026-11-24 16:00"),))],
            replace(RULES, travel_buffer_minutes=15),
            TUESDAY,
            "There is no gap on Tue Nov 24 that leaves 15 minutes for driving between jobs.",
        ),
        (
            [BOB],
            replace(RULES, min_notice_minutes=8 * 60),
            Wanted(dates=(date(2026, 11, 20), date(2026, 11, 20))),
            "We need 8 hours of notice, which is too late on Fri Nov 20.",
        ),
    ],
)
def test_an_empty_list_is_explained_in_a_sentence(
    staff: list[Staff], rules: Rules, wanted: Wanted | None, why: str
) -> None:
    assert why_none(staff, rules, duration=HOUR, after=NOW, wanted=wanted) == why
    assert (free_slots(staff, rules, duration=HOUR, after=NOW, wanted=wanted) != []) == (why == "")


def test_a_day_that_reached_its_cap_says_so() -> None:
    for cap, said in ((1, "We take 1 job a day at most"), (6, "We take 6 jobs a day at most")):
        why = why_none(
            [BOB],
            replace(RULES, max_jobs_per_day=cap),
            duration=HOUR,
            after=NOW,
            wanted=TUESDAY,
            jobs_per_day={date(2026, 11, 24): cap},
        )
        assert why == f"{said}, and that is reached on Tue Nov 24."


def test_a_visit_that_is_too_long_or_too_late_or_beyond_the_given_end_says_so() -> None:
    assert why_none([BOB], RULES, duration=10 * HOUR, after=NOW) == (
        "We are not open long enough in the next 14 days for a visit of 10 hours."
    )
    today = replace(RULES, horizon_days=0)
    assert why_none([BOB], today, duration=HOUR, after=at("2026-11-20 16:30")) == (
        "Too little open time is left today for a visit of 1 hour."
    )
    assert why_none([BOB], RULES, duration=HOUR, after=at("2026-11-20 18:00"), until=at("2026-11-23 08:00")) == (
        "Nothing is free before Mon Nov 23, 8 AM. The first opening is Mon Nov 23, 8:00-9:00 AM."
    )


# --- against the slow and obvious way -------------------------------------------------------------------------------

# zones and nights on which the clock does something: an hour, half an hour, two hours, over midnight, or nothing
NIGHTS = (
    (NEW_YORK, date(2027, 3, 14)),
    (NEW_YORK, date(2027, 11, 7)),
    ("Australia/Lord_Howe", date(2027, 4, 4)),
    ("Australia/Lord_Howe", date(2027, 10, 3)),
    ("Antarctica/Troll", date(2027, 3, 28)),
    ("Antarctica/Troll", date(2027, 10, 31)),
    ("Africa/Cairo", date(2027, 4, 30)),
    ("Africa/Cairo", date(2027, 10, 29)),
    ("America/Havana", date(2027, 3, 14)),
    ("America/Havana", date(2027, 11, 7)),
    ("America/Santiago", date(2027, 4, 4)),
    ("America/Santiago", date(2027, 9, 5)),
    ("America/Nuuk", date(2027, 3, 28)),
    ("America/Nuuk", date(2027, 10, 31)),
    ("Pacific/Chatham", date(2027, 4, 4)),
    ("Asia/Kathmandu", date(2027, 1, 15)),
)
QUARTERS = st.integers(0, 95).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))


def is_open(moment: datetime, hours: tuple[DayHours, ...], blackout: frozenset[date]) -> bool:
    """By looking at the wall clock."""
    day, clock = moment.date(), moment.time()
    yesterday = day - timedelta(days=1)
    if day in blackout:
        return False
    for line in hours:
        overnight = line.closes <= line.opens
        if line.weekday == day.weekday() and clock >= line.opens and (overnight or clock < line.closes):
            return True
        if overnight and line.weekday == yesterday.weekday() and yesterday not in blackout and clock < line.closes:
            return True
    return False


def oracle(
    staff: list[Staff],
    rules: Rules,
    *,
    duration: timedelta,
    after: datetime,
    until: datetime,
    emergency: bool,
    wanted: Wanted | None,
    jobs_per_day: Mapping[date, int],
) -> Iterator[tuple[datetime, int]]:
    """Minute by minute: every start and the one who would do it."""
    zone = ZoneInfo(rules.zone)
    reach = int((until + duration + timedelta(minutes=rules.travel_buffer_minutes) - after) / MINUTE) + 2
    before = rules.travel_buffer_minutes
    minutes = [(after + n * MINUTE).replace(second=0, microsecond=0) for n in range(-before, reach)]
    walls = [minute.astimezone(zone) for minute in minutes]
    length = int(duration / MINUTE)

    can_work: dict[int, list[bool]] = {}
    has_job: dict[int, list[bool]] = {}
    for person in staff:
        can_work[person.id] = [
            is_open(wall, person.hours, rules.blackout) and not any(i.start <= minute < i.end for i in person.off)
            for minute, wall in zip(minutes, walls, strict=True)
        ]
        has_job[person.id] = [any(i.start <= minute < i.end for i in person.busy) for minute in minutes]

    def load(person: Staff, day: date) -> float:
        taken = {job.start + n * MINUTE for job in person.busy for n in range((job.end - job.start) // MINUTE)}
        return sum(moment.astimezone(zone).date() == day for moment in taken)

    last_day = after.astimezone(zone).date() + timedelta(days=rules.horizon_days)
    for n, (minute, wall) in enumerate(zip(minutes, walls, strict=True)):
        if not after + timedelta(minutes=rules.min_notice_minutes) <= minute < until or wall.date() > last_day:
            continue
        if (wall.hour * 60 + wall.minute) % rules.grid_minutes:
            continue
        if rules.reserve_mornings_for_emergencies and not emergency and wall.time() < rules.mornings_end:
            continue
        if rules.max_jobs_per_day is not None and jobs_per_day.get(wall.date(), 0) >= rules.max_jobs_per_day:
            continue
        if wanted and wanted.dates and not wanted.dates[0] <= wall.date() <= wanted.dates[1]:
            continue
        if wanted and wanted.not_before is not None and wall.time() < wanted.not_before:
            continue
        if wanted and wanted.not_after is not None and wall.time() >= wanted.not_after:
            continue
        if wanted and wanted.exact is not None and wall.time() != wanted.exact:
            continue
        able = [
            person
            for person in staff
            if all(can_work[person.id][n : n + length])
            and not any(has_job[person.id][max(n - before, 0) : n + length + before])
        ]
        if able:
            yield minute, min(able, key=lambda person: (load(person, wall.date()), person.id)).id


@st.composite
def cases(draw: st.DrawFn) -> dict[str, object]:
    zone, night = draw(st.sampled_from(NIGHTS))
    midnight = datetime.combine(night, time(), ZoneInfo(zone)).astimezone(UTC)
    after = midnight + draw(st.integers(-36, 12)) * HOUR + draw(st.integers(0, 59)) * MINUTE

    def intervals(most: int) -> tuple[Interval, ...]:
        steps = st.tuples(st.integers(-60, 160), st.integers(0, 16), st.sampled_from([15, 15, 15, 7]))
        found = draw(st.lists(steps, max_size=most))
        return tuple(
            Interval(midnight + start * step * MINUTE, midnight + (start + n) * step * MINUTE)
            for start, n, step in found
        )

    near = st.integers(night.weekday() - 2, night.weekday() + 2).map(lambda day: day % 7)
    all_day = st.builds(DayHours, near, st.just(time(0)), st.just(time(0)))
    some_hours = st.lists(st.one_of(st.builds(DayHours, near, QUARTERS, QUARTERS), all_day), min_size=3, max_size=6)
    hours = st.one_of(some_hours.map(tuple), st.just(ROUND_THE_CLOCK))
    staff = [
        Staff(id=n, hours=draw(hours), busy=intervals(5), off=intervals(2))
        for n in range(1, draw(st.integers(1, 3)) + 1)
    ]
    days = st.integers(-1, 2).map(lambda n: night + timedelta(days=n))
    rules = Rules(
        zone=zone,
        grid_minutes=draw(st.sampled_from([5, 15, 20, 30, 45, 60])),
        min_notice_minutes=draw(st.sampled_from([0, 0, 45, 200])),
        horizon_days=draw(st.integers(0, 3)),
        travel_buffer_minutes=draw(st.sampled_from([0, 0, 10, 45])),
        max_jobs_per_day=draw(st.sampled_from([None, None, 1])),
        reserve_mornings_for_emergencies=draw(st.sampled_from([False, False, True])),
        mornings_end=draw(QUARTERS),
        blackout=draw(st.frozensets(days, max_size=1)),
    )
    wishes = st.builds(
        Wanted,
        dates=st.one_of(st.none(), days.map(lambda day: (day, day + timedelta(days=1)))),
        not_before=st.one_of(st.none(), QUARTERS),
        not_after=st.one_of(st.none(), QUARTERS),
    )
    return {
        "staff": staff,
        "rules": rules,
        "duration": draw(st.sampled_from([15, 60, 60, 95, 240, 1500])) * MINUTE,
        "after": after,
        "until": after + draw(st.integers(6, 60)) * HOUR,
        "emergency": draw(st.booleans()),
        "wanted": draw(st.one_of(st.none(), st.none(), wishes, st.builds(Wanted, exact=QUARTERS))),
        "jobs_per_day": draw(st.dictionaries(days, st.integers(0, 1), max_size=2)),
    }


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_the_search_finds_exactly_what_looking_at_every_minute_finds(case: dict[str, object]) -> None:
    slots = free_slots(limit=10_000, **case)  # type: ignore[arg-type]
    assert [(slot.start, slot.staff_id) for slot in slots] == list(oracle(**case))  # type: ignore[arg-type]
    assert {slot.end - slot.start for slot in slots} <= {case["duration"]}
    assert first_free(**case) == (slots[0] if slots else None)  # type: ignore[arg-type]
    assert (why_none(**case) == "") == bool(slots)  # type: ignore[arg-type]


# --- every zone there is --------------------------------------------------------------------------------------------

SINCE = datetime(2026, 11, 20, tzinfo=UTC)


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The next four moments at which a zone's clocks change, to the minute."""
    tz = ZoneInfo(zone)
    found: list[datetime] = []
    day = SINCE
    while day.year < 2030 and len(found) < 4:
        low, high = day, day + timedelta(days=1)
        before = low.astimezone(tz).utcoffset()
        if before != high.astimezone(tz).utcoffset():
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                low, high = (middle, high) if middle.astimezone(tz).utcoffset() == before else (low, middle)
            found.append(high)
        day += timedelta(days=1)
    return tuple(found)


def test_there_are_zones_to_try_and_their_changes_are_found() -> None:
    assert len(available_timezones()) > 400
    assert changes(NEW_YORK) == tuple(
        datetime(*when, tzinfo=UTC) for when in ((2027, 3, 14, 7), (2027, 11, 7, 6), (2028, 3, 12, 7), (2028, 11, 5, 6))
    )
    assert changes("Asia/Tokyo") == ()


def test_around_every_change_of_every_zone_slots_are_real_and_free_and_on_the_grid_and_all_there() -> None:
    for zone in sorted(available_timezones()):
        tz = ZoneInfo(zone)
        for change in changes(zone) or (SINCE,):
            taken = Interval(change + 45 * MINUTE, change + 75 * MINUTE)
            bob = Staff(id=1, hours=ROUND_THE_CLOCK, busy=(taken,))
            first, until = change - 3 * HOUR, change + 3 * HOUR
            found = free_slots([bob], Rules(zone=zone), duration=HOUR, after=first, until=until, limit=100)
            every_five_minutes = (first + n * 5 * MINUTE for n in range(72))
            assert [slot.start for slot in found] == [
                start
                for start in every_five_minutes
                if start.astimezone(tz).minute % 15 == 0 and (start + HOUR <= taken.start or start >= taken.end)
            ], (zone, change)
            assert {slot.end - slot.start for slot in found} == {HOUR}


def test_nine_stays_nine_on_both_sides_of_every_change_of_every_zone() -> None:
    nine_to_five = tuple(DayHours(day, time(9), time(17)) for day in range(7))
    bob = Staff(id=1, hours=nine_to_five)
    for zone in sorted(available_timezones()):
        tz = ZoneInfo(zone)
        for change in changes(zone) or (SINCE,):
            day = change.astimezone(tz).date() - timedelta(days=1)
            after = datetime.combine(day, time(), tz).astimezone(UTC)
            found = free_slots([bob], Rules(zone=zone, grid_minutes=60), duration=HOUR, after=after, limit=24)
            walls = [slot.start.astimezone(tz) for slot in found]
            assert [(wall.date(), wall.time()) for wall in walls] == [
                (day + timedelta(days=n), time(hour)) for n in range(3) for hour in range(9, 17)
            ], (zone, change)


def test_no_zone_turns_its_calendar_back_so_local_days_follow_one_another() -> None:
    for zone in available_timezones():
        tz = ZoneInfo(zone)
        for change in changes(zone):
            assert (change - MINUTE).astimezone(tz).date() <= change.astimezone(tz).date(), zone
