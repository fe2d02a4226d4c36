"""Ages are whole days of 24 hours; boundaries are inclusive; the window of a bucket is the same arithmetic turned round."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace import age_buckets
from marketplace.age_buckets import age_in_days, age_in_months, bucket_of, neighbours, say_range, window, windows
from marketplace.enums import AgeBucket

NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (0, None), (89, None), (90, "MONTH_3_TO_5"), (179, "MONTH_3_TO_5"), (180, "MONTH_6_TO_8"), (269, "MONTH_6_TO_8"),
        (270, "MONTH_9_TO_11"), (359, "MONTH_9_TO_11"), (360, "MONTH_12_TO_23"), (719, "MONTH_12_TO_23"),
        (720, "MONTH_24_PLUS"), (1_000, "MONTH_24_PLUS"),
    ],
)  # fmt: skip
def test_a_lead_is_in_the_bucket_of_its_age(days, bucket):
    assert bucket_of(days) == bucket


@pytest.mark.parametrize(("days", "months"), [(0, 0), (29, 0), (30, 1), (59, 1), (60, 2), (89, 2), (90, 3)])
def test_a_month_is_thirty_days(days, months):
    assert age_in_months(days) == months


def test_an_age_below_zero_is_a_mistake():
    for read in (bucket_of, age_in_months):
        with pytest.raises(ValueError, match="An age cannot be -1 days."):
            read(-1)


def test_partial_days_are_not_rounded_up():
    assert age_in_days(NOON, as_of=NOON + timedelta(hours=23, minutes=59, seconds=59)) == 0
    assert age_in_days(NOON, as_of=NOON + timedelta(hours=24)) == 1


def test_only_moments_in_utc_are_compared():
    local = NOON.astimezone(timezone(timedelta(hours=-6)))
    for one, other in ((local, NOON), (NOON, local), (NOON.replace(tzinfo=None), NOON)):
        with pytest.raises(ValueError, match="must be a moment in UTC"):
            age_in_days(one, as_of=other)
    with pytest.raises(ValueError, match="is before the call in"):
        age_in_days(NOON, as_of=NOON - timedelta(seconds=1))


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2_000)))
def test_a_window_holds_exactly_the_leads_of_its_bucket(age):
    born = NOON - age
    holding = [name for name, around in windows(as_of=NOON) if born in around]
    bucket = bucket_of(age_in_days(born, as_of=NOON))
    assert holding == ([bucket] if bucket else [])


def test_boundaries_of_a_window_are_a_microsecond_wide():
    tick = timedelta(microseconds=1)
    around = window("MONTH_6_TO_8", as_of=NOON)
    assert around.after == NOON - timedelta(days=270)
    assert around.until == NOON - timedelta(days=180)
    assert (around.after in around, around.after + tick in around) == (False, True)
    assert (around.until in around, around.until + tick in around) == (True, False)
    assert window("MONTH_24_PLUS", as_of=NOON).after is None


def test_neighbours_are_the_next_older_then_the_next_younger():
    assert neighbours("MONTH_6_TO_8") == ["MONTH_9_TO_11", "MONTH_3_TO_5"]
    assert neighbours("MONTH_3_TO_5") == ["MONTH_6_TO_8"]
    assert neighbours("MONTH_24_PLUS") == ["MONTH_12_TO_23"]


def test_the_names_are_those_of_the_database():
    assert tuple(AgeBucket.values) == age_buckets.NAMES
    with pytest.raises(ValueError, match="There is no age bucket 'DAY_0'."):
        window("DAY_0", as_of=NOON)


def test_ranges_are_said_in_days():
    assert [say_range(name) for name in ("MONTH_3_TO_5", "MONTH_24_PLUS")] == ["90 to 179 days", "720 days and older"]
