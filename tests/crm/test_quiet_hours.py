"""When a text may leave: known mornings and nights, and every US area code around every change of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import geocoder
from phonenumbers.timezone import time_zones_for_number

from crm import quiet_hours
from crm.quiet_hours import FEDERAL, NARROW, STATE_RULES, Hours, Rule, Window

PHOENIX, DALLAS, MIAMI, HONOLULU = "+16025550123", "+12145550123", "+13055550123", "+18085550123"
NOWHERE = "+15551234567"  # possible, in no known area
SHOP = "America/Chicago"

# Days around which clocks or rules change in the United States, a Sunday among them, and plain ones.
TURNING_DAYS = [
    date(2025, 3, 8), date(2025, 3, 9), date(2025, 8, 31), date(2025, 9, 1), date(2025, 11, 1), date(2025, 11, 2),
    date(2026, 3, 7), date(2026, 3, 8), date(2026, 7, 5), date(2026, 10, 31), date(2026, 11, 1), date(2027, 3, 14),
]  # fmt: skip


def us_numbers() -> dict[str, str]:
    """One number in every area code of the United States that the numbering data can place, with its state."""
    found = {}
    for code in range(200, 1_000):
        number = phonenumbers.parse(f"+1{code}5550123", None)
        if phonenumbers.region_code_for_number(number) == "US" and len(time_zones_for_number(number)) < 10:
            place = geocoder.description_for_number(number, "en")
            in_texas, in_florida = place.endswith(("TX", "Texas")), place.endswith(("FL", "Florida"))
            found[f"+1{code}5550123"] = "TX" if in_texas else "FL" if in_florida else ""
    return found


US_NUMBERS = us_numbers()


def allowed(moment: datetime, phone: str, state: str) -> bool:
    """The rules told a second time, zone by zone, from the library's own answer."""
    for name in time_zones_for_number(phonenumbers.parse(phone, None)):
        local = moment.astimezone(ZoneInfo(name))
        opens, closes = 8, 21
        if state == "FL" and local.date() >= date(2021, 7, 1):
            closes = 20
        if state == "TX" and local.date() >= date(2025, 9, 1):
            opens = 12 if local.weekday() == 6 else 9
        if not opens <= local.hour < closes:
            return False
    return True


def at(zone: str, *when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(zone))


def check_promise(now: datetime, phone: str, state: str) -> None:
    delay = quiet_hours.plan(now=now, phone=phone, business_zone=SHOP)
    assert delay.due_at >= now
    assert allowed(delay.due_at, phone, state)
    assert (delay.due_at == now) == delay.allowed_now == allowed(now, phone, state)
    again = quiet_hours.plan(now=delay.due_at, phone=phone, business_zone=SHOP)
    assert (again.allowed_now, again.due_at, again.sentence) == (True, delay.due_at, "sends now")


def test_the_numbering_data_places_every_state_we_check():
    assert len(US_NUMBERS) > 300
    assert list(US_NUMBERS.values()).count("TX") == 28
    assert list(US_NUMBERS.values()).count("FL") == 23


def test_every_us_area_code_around_every_change_of_the_clocks_is_only_texted_inside_its_hours():
    for phone, state in US_NUMBERS.items():
        for day in TURNING_DAYS:
            for minute in (0, 8 * 60 - 1, 13 * 60 + 59, 18 * 60 + 30):
                check_promise(datetime.combine(day, time(), tzinfo=UTC) + timedelta(minutes=minute), phone, state)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(US_NUMBERS)),
    st.one_of(
        st.builds(datetime.combine, st.sampled_from(TURNING_DAYS), st.times()),
        st.datetimes(datetime(2019, 1, 1), datetime(2035, 12, 31)),  # noqa: DTZ001 - the zone is added below
    ),
)
def test_at_any_moment_the_text_is_due_at_the_first_permitted_one(phone, moment):
    now = moment.replace(tzinfo=UTC)
    state = US_NUMBERS[phone]
    check_promise(now, phone, state)
    due_at = quiet_hours.plan(now=now, phone=phone, business_zone=SHOP).due_at
    between = now
    while between < due_at:
        assert not allowed(between, phone, state)
        between += timedelta(minutes=10)
    if due_at > now:
        assert not allowed(due_at - timedelta(microseconds=1), phone, state)


@settings(deadline=None)
@given(
    st.sampled_from([NOWHERE, "+18005550123", "+442079460018", "+5215512345678", "+79161234567", "AMZN", "88202", ""]),
    st.sampled_from(
        ["America/Chicago", "Pacific/Kiritimati", "Antarctica/Troll", "UTC", "", "Mars/Olympus", "America", "../etc"]
    ),
    st.datetimes(datetime(2019, 1, 1), datetime(2035, 12, 31)),  # noqa: DTZ001 - the zone is added below
)
def test_an_unusual_number_or_zone_still_gets_an_answer_that_holds(phone, zone, moment):
    now = moment.replace(tzinfo=UTC)
    delay = quiet_hours.plan(now=now, phone=phone, business_zone=zone)
    assert now <= delay.due_at <= now + timedelta(days=2)
    assert (delay.due_at == now) == delay.allowed_now
    assert quiet_hours.plan(now=delay.due_at, phone=phone, business_zone=zone).allowed_now
    assert delay.local_now == now


@pytest.mark.parametrize(
    ("phone", "now", "due_at", "sentence"),
    [
        (
            PHOENIX, at("America/Phoenix", 2025, 11, 20, 6, 12), at("America/Phoenix", 2025, 11, 20, 8),
            "will be sent 8:00 AM their time: it is 6:12 AM in Phoenix",
        ),
        (
            PHOENIX, at("America/Phoenix", 2025, 11, 20, 22, 5), at("America/Phoenix", 2025, 11, 21, 8),
            "will be sent tomorrow 8:00 AM their time: it is 10:05 PM in Phoenix",
        ),
        (
            PHOENIX, at("America/Phoenix", 2025, 11, 20, 21, 0), at("America/Phoenix", 2025, 11, 21, 8),
            "will be sent tomorrow 8:00 AM their time: it is 9:00 PM in Phoenix",
        ),
        (
            DALLAS, at("America/Chicago", 2025, 11, 22, 21, 30), at("America/Chicago", 2025, 11, 23, 12),
            "will be sent tomorrow 12:00 PM their time: it is 9:30 PM in Chicago",
        ),
        (
            MIAMI, at("America/New_York", 2025, 11, 20, 20, 0), at("America/New_York", 2025, 11, 21, 8),
            "will be sent tomorrow 8:00 AM their time: it is 8:00 PM in New York",
        ),
        (
            "+17015550123", at("America/Denver", 2025, 11, 20, 5, 0), at("America/Denver", 2025, 11, 20, 8),
            "will be sent 8:00 AM their time: it is 5:00 AM in Denver",  # North Dakota, where the east is an hour ahead
        ),
        (
            NOWHERE, at(SHOP, 2025, 11, 20, 7, 15), at(SHOP, 2025, 11, 20, 8),
            "will be sent 8:00 AM your time: it is 7:15 AM in Chicago",
        ),
    ],
)  # fmt: skip
def test_a_text_in_the_quiet_hours_waits_and_says_until_when(phone, now, due_at, sentence):
    delay = quiet_hours.plan(now=now, phone=phone, business_zone=SHOP)
    assert (delay.due_at, delay.allowed_now, delay.sentence) == (due_at, False, sentence)
    assert delay.due_at.tzinfo is UTC
    assert delay.local_now == now


@pytest.mark.parametrize(
    ("phone", "now"),
    [
        (PHOENIX, at("America/Phoenix", 2025, 11, 20, 8, 0)),
        (PHOENIX, at("America/Phoenix", 2025, 11, 20, 20, 59, 59)),
        (HONOLULU, at("Pacific/Honolulu", 2025, 7, 1, 8, 0)),
        (MIAMI, at("America/New_York", 2025, 11, 20, 19, 59)),
        (DALLAS, at("America/Chicago", 2025, 11, 23, 12, 0)),
        (DALLAS, at("America/Chicago", 2025, 8, 31, 8, 0)),  # the Sunday before the Texas rule began
    ],
)
def test_a_text_inside_the_hours_leaves_at_once(phone, now):
    delay = quiet_hours.plan(now=now, phone=phone, business_zone=SHOP)
    assert (delay.allowed_now, delay.due_at, delay.sentence) == (True, now, "sends now")


def test_the_texas_rule_counts_from_its_first_day():
    sunday_morning = at("America/Chicago", 2025, 9, 7, 9, 30)
    delay = quiet_hours.plan(now=sunday_morning, phone=DALLAS, business_zone=SHOP)
    assert delay.due_at == at("America/Chicago", 2025, 9, 7, 12)
    monday = quiet_hours.window_for(DALLAS, business_zone=SHOP, on=date(2025, 9, 1))
    assert monday.opens_at == at("America/Chicago", 2025, 9, 1, 9)
    assert monday.source == STATE_RULES["TX"][0].source
    day_before = quiet_hours.window_for(DALLAS, business_zone=SHOP, on=date(2025, 8, 31))
    assert day_before.opens_at == at("America/Chicago", 2025, 8, 31, 8)
    assert day_before.source == FEDERAL.source


def test_the_new_houston_area_code_is_in_texas():
    window = quiet_hours.window_for("+16215550123", business_zone="America/New_York", on=date(2025, 11, 23))
    assert window == Window(
        opens_at=at("America/Chicago", 2025, 11, 23, 12).astimezone(UTC),
        closes_at=at("America/Chicago", 2025, 11, 23, 21).astimezone(UTC),
        zones=("America/Chicago",),
        source=STATE_RULES["TX"][0].source,
    )


def test_several_possible_zones_leave_only_the_hours_they_share():
    window = quiet_hours.window_for("+19075550123", business_zone=SHOP, on=date(2025, 11, 20))
    assert window.zones == ("America/Adak", "America/Anchorage")
    assert window.opens_at == at("America/Adak", 2025, 11, 20, 8)
    assert window.closes_at == at("America/Anchorage", 2025, 11, 20, 21)


def test_the_clock_is_named_by_the_zone_furthest_behind():
    delay = quiet_hours.plan(now=at("America/Adak", 2025, 11, 20, 7, 30), phone="+19075550123", business_zone=SHOP)
    assert (delay.zone, delay.sentence) == ("America/Adak", "will be sent 8:00 AM their time: it is 7:30 AM in Adak")


def test_without_any_zone_the_narrow_hours_count():
    morning = at("America/New_York", 2025, 11, 20, 9, 0)
    for zone in ("", "Mars/Olympus", "America", "../etc/passwd"):
        delay = quiet_hours.plan(now=morning, phone=NOWHERE, business_zone=zone)
        assert delay.due_at == at("America/New_York", 2025, 11, 20, 14)
        assert delay.zone is None
        assert delay.sentence == (
            "will be sent 2:00 PM Eastern: it is 9:00 AM in New York, and nothing says where they are"
        )
    window = quiet_hours.window_for(NOWHERE, business_zone="", on=date(2025, 11, 20))
    assert (window.zones, window.source) == ((), NARROW.source)
    assert window.closes_at == at("America/New_York", 2025, 11, 20, 20)


def test_the_narrow_hours_are_permitted_in_every_state_on_every_day():
    places = {("America/Puerto_Rico", ""), ("America/St_Thomas", "")}
    for phone, state in US_NUMBERS.items():
        places |= {(name, state) for name in time_zones_for_number(phonenumbers.parse(phone, None))}
    for days in range(2 * 365):
        day = date(2025, 9, 1) + timedelta(days=days)
        hours = NARROW.hours(day)
        first = datetime.combine(day, hours.opens, tzinfo=ZoneInfo("America/New_York"))
        last = datetime.combine(day, hours.closes, tzinfo=ZoneInfo("America/New_York")) - timedelta(microseconds=1)
        for name, state in places:
            for moment in (first, last):
                local = moment.astimezone(UTC).astimezone(ZoneInfo(name))
                rule = STATE_RULES[state][0] if state else FEDERAL
                assert rule.hours(local.date()).opens <= local.time() < rule.hours(local.date()).closes, (name, local)


def test_zones_that_share_no_hour_are_treated_as_unknown(monkeypatch):
    quiet_hours._place.cache_clear()
    monkeypatch.setattr(
        "crm.phones.zones", lambda e164: frozenset({"Europe/London", "Asia/Tokyo", "America/Los_Angeles"})
    )
    delay = quiet_hours.plan(now=at("UTC", 2025, 11, 20, 9), phone=PHOENIX, business_zone=SHOP)
    window = quiet_hours.window_for(PHOENIX, business_zone=SHOP, on=date(2025, 11, 20))
    quiet_hours._place.cache_clear()
    assert (delay.zone, delay.due_at) == (None, at("America/New_York", 2025, 11, 20, 14))
    assert (window.zones, window.opens_at) == ((), at("America/New_York", 2025, 11, 20, 14))


@pytest.fixture
def open_at_night(monkeypatch):
    """Hours that open and close while clocks change, which no real rule does yet."""
    hours = Hours(time(1, 30), time(2, 30))
    monkeypatch.setattr(quiet_hours, "FEDERAL", Rule(date(2000, 1, 1), hours, hours, "a rule for night owls"))
    quiet_hours._place.cache_clear()
    yield
    quiet_hours._place.cache_clear()


@pytest.mark.usefixtures("open_at_night")
def test_an_hour_that_comes_twice_opens_at_its_second_coming():
    window = quiet_hours.window_for(NOWHERE, business_zone="America/New_York", on=date(2026, 11, 1))
    assert (window.opens_at, window.closes_at) == (at("UTC", 2026, 11, 1, 6, 30), at("UTC", 2026, 11, 1, 7, 30))


@pytest.mark.usefixtures("open_at_night")
def test_an_hour_that_never_comes_closes_at_its_earlier_reading():
    # 2:30 AM does not exist on this day. Read either way it is 3:30 or 1:30, and the stricter leaves nothing open.
    window = quiet_hours.window_for(NOWHERE, business_zone="America/New_York", on=date(2026, 3, 8))
    assert window.opens_at == at("America/New_York", 2026, 3, 9, 1, 30)


def test_a_day_left_out_of_the_calendar_is_waited_over():
    # Samoa went from Thursday to Saturday in December 2011.
    delay = quiet_hours.plan(now=at("Pacific/Apia", 2011, 12, 29, 22), phone=NOWHERE, business_zone="Pacific/Apia")
    assert delay.due_at == at("Pacific/Apia", 2011, 12, 31, 8)
    assert delay.sentence == "will be sent Saturday 8:00 AM your time: it is 10:00 PM in Apia"


def test_a_zone_inside_a_state_is_named_so_a_reader_can_find_it():
    now = at("America/Indiana/Knox", 2025, 11, 20, 6)
    delay = quiet_hours.plan(now=now, phone=NOWHERE, business_zone="America/Indiana/Knox")
    assert delay.sentence == "will be sent 8:00 AM your time: it is 6:00 AM in Knox, Indiana"


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="now must be aware"):
        quiet_hours.plan(now=datetime(2025, 11, 20, 9), phone=PHOENIX, business_zone=SHOP)  # noqa: DTZ001 - the point


def test_state_rows_are_never_wider_than_the_federal_hours():
    for rows in STATE_RULES.values():
        for row in rows:
            for hours in (row.weekdays, row.sunday):
                assert FEDERAL.weekdays.opens <= hours.opens < hours.closes <= FEDERAL.weekdays.closes


def test_every_area_code_the_data_puts_into_a_stricter_state_follows_its_rule():
    for phone, state in US_NUMBERS.items():
        window = quiet_hours.window_for(phone, business_zone=SHOP, on=date(2026, 7, 6))
        assert window.source == (STATE_RULES[state][0].source if state else FEDERAL.source), phone
