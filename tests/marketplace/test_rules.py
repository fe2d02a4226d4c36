"""The small rules: class, place, price, alternatives, marks."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from marketplace import pricing
from marketplace.allocation import Criterion, alternatives
from marketplace.classification import GOLD_COLUMNS, classifier
from marketplace.marks import canary, mark_of, mark_of_hash
from marketplace.places import ZONES, spell_state, zone_of
from marketplace.pricing import Gap, Period, gaps, price_at

FULL = dict.fromkeys(GOLD_COLUMNS, "No")


def classify(row, **asked):
    return classifier(list(row), **asked)(list(row.values()))


NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)


# --- Class -------------------------------------------------------------------------------------------------------------


def test_gold_has_something_in_each_of_the_six_columns():
    assert classify(FULL) == "Gold"
    for column in GOLD_COLUMNS:
        assert classify(FULL | {column: ""}) == "Silver"
        assert classify({name: value for name, value in FULL.items() if name != column}) == "Silver"


def test_an_installation_may_ask_for_other_columns():
    assert classify({"City": "Shreveport"}, gold_columns=["City"]) == "Gold"
    assert classify(FULL, gold_columns=["City"]) == "Silver"


@pytest.mark.parametrize("columns", [GOLD_COLUMNS, ("Source",), ("Co-Borrower ?", "Source")])
def test_every_column_that_is_asked_for_is_looked_at(columns):
    for column in GOLD_COLUMNS:
        wanted = "Silver" if column in columns else "Gold"
        assert classify({"State": "LA"} | FULL | {column: ""}, gold_columns=columns) == wanted


# --- Place -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "zone"),
    [
        ("LA", "America/Chicago"), (" la ", "America/Chicago"), ("HI", "Pacific/Honolulu"), ("DC", "America/New_York"),
        ("PR", "America/Puerto_Rico"), ("GU", "Pacific/Guam"), ("AZ", "America/Phoenix"), ("ID", "America/Boise"),
        ("IN", "America/Indiana/Indianapolis"), ("KY", "America/Kentucky/Louisville"), ("MI", "America/Detroit"),
        ("AK", "America/Anchorage"), ("Ontario", "UTC"), ("", "UTC"),
    ],
)  # fmt: skip
def test_a_state_has_its_clock(state, zone):
    assert zone_of(state) == ZoneInfo(zone)


def test_every_state_the_district_and_five_territories_are_there():
    assert len(ZONES) == 50 + 1 + 5
    assert (spell_state(" la"), spell_state(" Ontario ")) == ("LA", "Ontario")


# --- Price -------------------------------------------------------------------------------------------------------------


def day(number: int) -> datetime:
    return NOON + timedelta(days=number)


def test_the_price_that_holds_is_the_one_that_began_and_has_not_ended():
    periods = [Period(Decimal(8), day(0), day(5)), Period(Decimal(9), day(5), None)]
    tick = timedelta(microseconds=1)
    assert [price_at(periods, moment) for moment in (day(0) - tick, day(0), day(5) - tick, day(5), day(99))] == [
        None, Decimal(8), Decimal(8), Decimal(9), Decimal(9),
    ]  # fmt: skip


def test_a_stretch_without_a_price_is_a_gap():
    assert gaps([Period(Decimal(8), day(0), day(5)), Period(Decimal(9), day(7), day(9))]) == [
        Gap(day(5), day(7)),
        Gap(day(9), None),
    ]
    assert gaps([Period(Decimal(9), day(5), None), Period(Decimal(8), day(0), day(5))]) == []


def test_sums_are_exact_and_said_in_dollars():
    assert pricing.total([(3, Decimal("0.10")), (1, Decimal("7.50"))]) == Decimal("7.80")
    assert str(pricing.total([])) == "0.00"
    assert [pricing.say_money(Decimal(text)) for text in ("1234.5", "-8", "0")] == ["$1,234.50", "−$8.00", "$0.00"]


def test_a_quote_stands_until_its_last_moment():
    ends = pricing.expires_at(NOON)
    assert ends == NOON + timedelta(minutes=15)
    assert not pricing.has_expired(ends, now=ends)
    assert pricing.has_expired(ends, now=ends + timedelta(microseconds=1))


# --- Alternatives --------------------------------------------------------------------------------------------------------


def offered(wanted: Criterion, available: int, there: dict[Criterion, int]) -> list[tuple[str, int, str]]:
    found = alternatives(wanted, available=available, count=lambda other: there.get(other, 0), price=Decimal("8.00"))
    return [(other.description, other.available_count, other.suggestion_type) for other in found]


def test_alternatives_come_in_the_documented_order_and_words():
    wanted = Criterion("Gold", "MONTH_6_TO_8", 50, "LA")
    there = {wanted.anywhere(): 324, wanted.in_bucket("MONTH_9_TO_11"): 156, wanted.in_bucket("MONTH_3_TO_5"): 50}
    assert offered(wanted, 22, there) == [
        ("Purchase 22 available leads ($176.00)", 22, "partial"),
        ("Remove location filter (324 available without LA filter)", 324, "no_location_filter"),
        ("Try MONTH_9_TO_11 age bucket (156 available in LA)", 156, "different_age_bucket"),
        ("Try MONTH_3_TO_5 age bucket (50 available in LA)", 50, "different_age_bucket"),
    ]


def test_what_would_not_help_is_not_offered():
    wanted = Criterion("Gold", "MONTH_3_TO_5", 50, "LA", "Caddo")
    there = {wanted.anywhere(): 22, wanted.in_bucket("MONTH_6_TO_8"): 49}
    assert offered(wanted, 22, there) == [("Purchase 22 available leads ($176.00)", 22, "partial")]
    assert offered(wanted, 0, {}) == []
    nowhere = wanted.anywhere()
    assert offered(nowhere, 0, {nowhere.in_bucket("MONTH_6_TO_8"): 50}) == [
        ("Try MONTH_6_TO_8 age bucket (50 available)", 50, "different_age_bucket")
    ]


def test_a_criterion_is_written_as_documented():
    assert str(Criterion("Gold", "MONTH_6_TO_8", 50)) == "Gold MONTH_6_TO_8 qty=50"
    assert str(Criterion("Silver", "MONTH_24_PLUS", 1, "LA", "Caddo")) == (
        "Silver MONTH_24_PLUS state=LA county=Caddo qty=1"
    )


# --- Marks ---------------------------------------------------------------------------------------------------------------


def test_a_number_and_its_sha256_have_one_mark():
    sha256 = hashlib.sha256(b"+15045550100").hexdigest()
    assert mark_of_hash(sha256) == mark_of_hash(sha256.upper()) == mark_of("+15045550100")
    assert mark_of("+15045550101") != mark_of("+15045550100")


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "+15045550100", "a" * 65])
def test_what_is_no_sha256_is_refused(text):
    with pytest.raises(ValueError, match="This is not a SHA-256"):
        mark_of_hash(text)


def test_marks_depend_on_the_key_and_the_canary_tells(settings):
    before = mark_of("+15045550100"), canary()
    settings.PERSON_MARK_KEY = "another"
    assert mark_of("+15045550100") != before[0]
    assert canary() != before[1]
