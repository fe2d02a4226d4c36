"""How a time is said."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booking.wording import (
    LONG_MONTHS,
    MONTHS,
    WEEKDAYS,
    WEEKDAYS_ON_A_PAGE,
    say_clock,
    say_date,
    say_day_time,
    say_length,
    say_slot,
    say_slot_page,
    say_when_long,
)

NEW_YORK = "America/New_York"
GSM_7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)


def at(text: str, zone: str = NEW_YORK, fold: int = 0) -> datetime:
    """A wall-clock time in a zone, as the UTC moment it is."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2025-11-21 07:00", "2025-11-21 08:00", "Fri Nov 21, 7:00-8:00 AM"),
        ("2026-11-24 11:30", "2026-11-24 12:30", "Tue Nov 24, 11:30 AM-12:30 PM"),
        ("2026-11-24 12:00", "2026-11-24 13:00", "Tue Nov 24, 12:00-1:00 PM"),
        ("2026-11-24 13:15", "2026-11-24 15:45", "Tue Nov 24, 1:15-3:45 PM"),
        ("2026-12-01 00:00", "2026-12-01 00:30", "Tue Dec 1, 12:00-12:30 AM"),
        ("2026-11-24 23:00", "2026-11-25 00:00", "Tue Nov 24, 11:00 PM-12:00 AM"),
        ("2026-11-24 22:00", "2026-11-25 06:00", "Tue Nov 24, 10:00 PM-6:00 AM"),
        ("2026-11-24 09:00", "2026-11-25 10:00", "Tue Nov 24, 9:00 AM-Wed Nov 25, 10:00 AM"),
        ("2026-11-24 22:00", "2026-11-25 10:00", "Tue Nov 24, 10:00 PM-Wed Nov 25, 10:00 AM"),
        ("2026-12-31 23:30", "2027-01-01 00:30", "Thu Dec 31, 11:30 PM-12:30 AM"),
    ],
)
def test_a_text_says_a_slot_in_the_local_time_of_the_business(start: str, end: str, said: str) -> None:
    assert say_slot(at(start), at(end), zone=NEW_YORK) == said


def test_the_same_moment_is_said_in_the_zone_of_the_reader() -> None:
    start, end = datetime(2026, 11, 24, 20, tzinfo=UTC), datetime(2026, 11, 24, 21, tzinfo=UTC)
    assert say_slot(start, end, zone="America/Los_Angeles") == "Tue Nov 24, 12:00-1:00 PM"
    assert say_slot(start, end, zone="Asia/Kathmandu") == "Wed Nov 25, 1:45-2:45 AM"
    assert say_slot(start.astimezone(ZoneInfo("Asia/Tokyo")), end, zone="UTC") == "Tue Nov 24, 8:00-9:00 PM"


def test_a_page_says_it_with_an_en_dash() -> None:
    assert say_slot_page(at("2026-11-24 07:00"), at("2026-11-24 08:00"), zone=NEW_YORK) == "Tue Nov 24, 7:00–8:00 AM"
    assert (
        say_slot_page(at("2026-11-24 11:30"), at("2026-11-24 12:30"), zone=NEW_YORK) == "Tue Nov 24, 11:30 AM–12:30 PM"
    )


def test_spanish_has_its_own_words_and_a_24_hour_clock() -> None:
    start, end = at("2025-11-21 07:00"), at("2025-11-21 08:00")
    assert say_slot(start, end, zone=NEW_YORK, lang="es") == "vie 21 nov, 7:00-8:00"
    assert say_slot(start, end, zone=NEW_YORK, lang="es-MX") == "vie 21 nov, 7:00-8:00"
    assert (
        say_slot(at("2026-11-24 14:30"), at("2026-11-24 15:30"), zone=NEW_YORK, lang="es") == "mar 24 nov, 14:30-15:30"
    )
    assert say_when_long(at("2026-11-21 07:02"), NEW_YORK, "es") == "21 de noviembre de 2026 a las 7:02"
    assert say_when_long(at("2026-11-21 01:30"), NEW_YORK, "es") == "21 de noviembre de 2026 a la 1:30"
    assert say_day_time(at("2026-11-24 15:00"), NEW_YORK, "es") == "mar 15:00"
    assert say_date(date(2026, 11, 24), "es") == "mar 24 nov"


def test_spanish_accents_are_for_the_page_only_because_they_double_the_price_of_a_text() -> None:
    start, end = at("2026-11-21 07:00"), at("2026-11-21 08:00")
    assert say_slot(start, end, zone=NEW_YORK, lang="es") == "sab 21 nov, 7:00-8:00"
    assert say_slot_page(start, end, zone=NEW_YORK, lang="es") == "sáb 21 nov, 7:00–8:00"


def test_another_language_is_said_in_english() -> None:
    assert (
        say_slot(at("2026-11-24 07:00"), at("2026-11-24 08:00"), zone=NEW_YORK, lang="fr") == "Tue Nov 24, 7:00-8:00 AM"
    )


def test_the_doubled_hour_is_told_apart_by_the_letters_of_the_zone() -> None:
    first, second = at("2026-11-01 01:30"), at("2026-11-01 01:30", fold=1)
    assert second - first == timedelta(hours=1)
    assert say_slot(first, second, zone=NEW_YORK) == "Sun Nov 1, 1:30 AM EDT-1:30 AM EST"
    assert say_slot(second, second + timedelta(hours=1), zone=NEW_YORK) == "Sun Nov 1, 1:30 AM EST-2:30 AM EST"
    start = at("2026-04-05 01:45", "Australia/Lord_Howe")
    assert say_slot(start, start + timedelta(hours=1), zone="Australia/Lord_Howe") == (
        "Sun Apr 5, 1:45 AM UTC+11-2:15 AM UTC+1030"
    )


def test_a_job_over_the_skipped_hour_ends_by_the_new_clock() -> None:
    start = at("2027-03-14 01:00")
    assert say_slot(start, start + timedelta(hours=2), zone=NEW_YORK) == "Sun Mar 14, 1:00-4:00 AM"


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("2026-11-24 15:00", "Tue 3 pm"),
        ("2026-11-24 15:30", "Tue 3:30 pm"),
        ("2026-11-24 12:00", "Tue 12 pm"),
        ("2026-11-25 00:05", "Wed 12:05 am"),
    ],
)
def test_the_owner_hears_it_short(start: str, said: str) -> None:
    assert say_day_time(at(start), NEW_YORK) == said


def test_a_confirmation_says_it_in_full() -> None:
    assert say_when_long(at("2026-11-21 07:02"), NEW_YORK) == "November 21, 2026 at 7:02 AM"
    assert say_when_long(at("2027-01-01 12:00"), NEW_YORK) == "January 1, 2027 at 12:00 PM"


def test_dates_clocks_and_lengths() -> None:
    assert say_date(date(2026, 11, 4)) == "Wed Nov 4"
    assert [say_clock(time(h, m)) for h, m in ((0, 0), (9, 5), (12, 0), (15, 30))] == [
        "12 AM",
        "9:05 AM",
        "12 PM",
        "3:30 PM",
    ]
    assert [say_length(timedelta(minutes=m)) for m in (0, 1, 45, 60, 61, 120, 150)] == [
        "0 minutes",
        "1 minute",
        "45 minutes",
        "1 hour",
        "1 hour 1 minute",
        "2 hours",
        "2 hours 30 minutes",
    ]


def test_every_language_has_every_weekday_and_month() -> None:
    assert {len(names) for table in (WEEKDAYS, WEEKDAYS_ON_A_PAGE) for names in table.values()} == {7}
    assert {len(names) for table in (MONTHS, LONG_MONTHS) for names in table.values()} == {12}


@given(
    st.integers(0, 4 * 365 * 24 * 60).map(
        lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    st.integers(15, 3000),
    st.sampled_from([NEW_YORK, "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo"]),
    st.sampled_from(["en", "es"]),
)
def test_what_goes_into_a_text_is_always_gsm_7(start: datetime, minutes: int, zone: str, lang: str) -> None:
    end = start + timedelta(minutes=minutes)
    for said in (
        say_slot(start, end, zone=zone, lang=lang),
        say_day_time(start, zone, lang),
        say_when_long(start, zone, lang),
        say_date(start.date(), lang),
    ):
        assert set(said) <= GSM_7
