"""The table of points, what silence takes, and how far anything else may move a score."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leads import scoring
from leads.enums import LeadSource
from leads.scoring import BOUND, GATE, by_rules, moved, next_loss, recommend, silence

TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)

# The documented grid: the score for 0 or 3, for 4 or 10, and for 11 activities.
GRID = {
    ("scanner", False): ("0.10", "0.30", "0.50"),
    ("scanner", True): ("0.40", "0.60", "0.80"),
    ("partner", False): ("0.30", "0.50", "0.70"),
    ("partner", True): ("0.60", "0.80", "1.00"),
    ("manual", False): ("0.20", "0.40", "0.60"),
    ("manual", True): ("0.50", "0.70", "0.90"),
}
COUNTS = (0, 3, 4, 10, 11)
CELLS = [
    (source, has_domain, count, scores[(count > 3) + (count > 10)])
    for (source, has_domain), scores in GRID.items()
    for count in COUNTS
]
REASON_OF_SOURCE = {
    "partner": "Partner leads have higher conversion rates.",
    "manual": "Manually added leads show active interest.",
    "scanner": "Scanner leads require more warming up.",
    "api": "They asked through a program of ours or a partner's.",
    "text": "They wrote to us themselves.",
    "chat": "They wrote to us themselves.",
    "form": "They filled in a form themselves.",
    "purchase": "Bought leads require more warming up.",
}
REASON_OF_DOMAIN = {True: "Clear business domain identified.", False: "Missing business domain lowers probability."}
REASON_OF_COUNT = {
    0: "Low engagement.",
    3: "Low engagement.",
    4: "Moderate engagement.",
    10: "Moderate engagement.",
    11: "High engagement rate (>10 messages).",
}


# --- The table -------------------------------------------------------------------------------------------------------


def test_the_grid_has_its_thirty_cells():
    assert len(CELLS) == 30
    assert sum(1 for *_, score in CELLS if score == "0.60") == 5  # these stand on the gate


@pytest.mark.parametrize(("source", "has_domain", "count", "score"), CELLS)
def test_every_documented_cell(source: str, has_domain: bool, count: int, score: str):
    found = by_rules(source=source, has_domain=has_domain, activity_count=count)
    # As text, so that 0.6 is exactly 0.60 and never 0.6000000000000001.
    assert str(found.value) == score
    assert found.recommendation == ("transfer_to_sales" if score >= "0.60" else "nurture_lead")
    assert found.reason == " | ".join((REASON_OF_SOURCE[source], REASON_OF_DOMAIN[has_domain], REASON_OF_COUNT[count]))


@pytest.mark.parametrize(
    ("source", "points"), [("api", "0.2"), ("text", "0.2"), ("chat", "0.2"), ("form", "0.2"), ("purchase", "0.1")]
)
def test_the_other_ways_in_count_like_the_one_they_are_most_like(source: str, points: str):
    bare, full = (by_rules(source=source, has_domain=known, activity_count=11 * known) for known in (False, True))
    assert (bare.value, full.value) == (Decimal(points), Decimal(points) + Decimal("0.7"))
    assert bare.reason.startswith(REASON_OF_SOURCE[source] + " | ")


def test_every_source_a_lead_can_have_has_points_and_no_other():
    assert {source: scoring._SOURCES[source][1] for source in LeadSource.values} == REASON_OF_SOURCE
    with pytest.raises(KeyError, match="pigeon"):
        by_rules(source="pigeon", has_domain=True, activity_count=11)


@given(source=st.sampled_from(LeadSource.values), known=st.booleans(), count=st.integers(0, 2**31 - 1))
def test_the_factors_add_up_to_the_score(source: str, known: bool, count: int):
    found = by_rules(source=source, has_domain=known, activity_count=count)
    assert [factor.name for factor in found.factors] == ["source", "domain", "activity"]
    assert found.value == sum(factor.points for factor in found.factors)
    assert 0 <= found.value <= 1


def test_the_gate_is_at_six_tenths_exactly():
    assert (GATE, recommend(Decimal("0.59")), recommend(GATE)) == (Decimal("0.6"), "nurture_lead", "transfer_to_sales")


# --- Silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quiet_for", "lost"),
    [
        (timedelta(0), "0"),
        (-DAY, "0"),  # a clock that is a little ahead of ours
        (14 * DAY - TICK, "0"),
        (14 * DAY, "-0.05"),
        (21 * DAY - TICK, "-0.05"),
        (21 * DAY, "-0.10"),
        (28 * DAY, "-0.15"),
        (35 * DAY - TICK, "-0.15"),
        (35 * DAY, "-0.20"),
        (42 * DAY, "-0.20"),
        (timedelta.max, "-0.20"),
    ],
)
def test_silence_takes_its_steps_on_the_day_and_stops_at_the_bound(quiet_for: timedelta, lost: str):
    assert silence(quiet_for) == Decimal(lost)


@pytest.mark.parametrize(
    ("quiet_for", "left"),
    [
        (timedelta(0), 14 * DAY),
        (14 * DAY - TICK, TICK),
        (14 * DAY, 7 * DAY),
        (20 * DAY, DAY),
        (35 * DAY - TICK, TICK),
        (35 * DAY, None),
        (timedelta.max, None),
    ],
)
def test_the_next_loss_is_known_until_there_is_none(quiet_for: timedelta, left: timedelta | None):
    assert next_loss(quiet_for) == left


QUIET = st.timedeltas(min_value=-10 * DAY, max_value=100 * DAY)


@given(one=QUIET, other=QUIET)
def test_longer_silence_never_costs_less(one: timedelta, other: timedelta):
    shorter, longer = sorted((one, other))
    assert -BOUND <= silence(longer) <= silence(shorter) <= 0


@given(quiet_for=QUIET)
@example(quiet_for=14 * DAY)
@example(quiet_for=35 * DAY)
def test_the_next_loss_is_the_very_moment_the_loss_changes(quiet_for: timedelta):
    left = next_loss(quiet_for)
    if left is None:
        assert silence(quiet_for) == -BOUND
        return
    assert left > timedelta(0)
    assert silence(quiet_for + left - TICK) == silence(quiet_for)
    assert silence(quiet_for + left) == silence(quiet_for) - Decimal("0.05")


# --- What moves it ---------------------------------------------------------------------------------------------------

HUNDREDTHS = st.integers(0, 100).map(lambda cents: Decimal(cents) / 100)


@given(baseline=HUNDREDTHS, by=st.decimals(allow_nan=False, allow_infinity=True))
@example(baseline=Decimal("0.60"), by=Decimal("1e999999"))
@example(baseline=Decimal("0.60"), by=Decimal("-Infinity"))
@example(baseline=Decimal("0.30"), by=Decimal("0.1999999999"))
def test_nothing_moves_a_score_further_than_the_bound_or_out_of_0_to_1(baseline: Decimal, by: Decimal):
    value = moved(baseline, by)
    assert max(Decimal(0), baseline - BOUND) <= value <= min(Decimal(1), baseline + BOUND)
    assert value == value.quantize(Decimal("0.01"))


@pytest.mark.parametrize(
    ("baseline", "by", "value"),
    [
        ("0.60", "0", "0.60"),
        ("0.60", "0.07", "0.67"),
        ("0.60", "0.2", "0.80"),
        ("0.60", "0.21", "0.80"),
        ("0.60", "-0.01", "0.59"),
        ("0.10", "-0.2", "0.00"),
        ("0.90", "0.2", "1.00"),
        ("0.50", "0.005", "0.51"),
    ],
)
def test_a_score_moves_in_exact_hundredths(baseline: str, by: str, value: str):
    assert str(moved(Decimal(baseline), Decimal(by))) == value


def test_a_good_reading_and_a_long_silence_share_one_bound():
    for baseline, read in product((Decimal("0.10"), Decimal("0.60"), Decimal("1.00")), (BOUND, -BOUND)):
        together = moved(baseline, read + silence(100 * DAY))
        assert together == (baseline if read > 0 else max(Decimal(0), baseline - BOUND))
