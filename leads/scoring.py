"""What a lead is worth at first sight: a table of points that everybody can check, in exact hundredths.

It is the baseline of every lead and the gate of a transfer. Whoever reads the conversation, a model or a rule, may move a
score by at most `BOUND`, whatever is written there; silence counts towards the same bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

GATE: Final = Decimal("0.6")
BOUND: Final = Decimal("0.2")
TRANSFER: Final = "transfer_to_sales"
NURTURE: Final = "nurture_lead"

_CENT: Final = Decimal("0.01")
_PATIENCE: Final = timedelta(days=14)
_WEEK: Final = timedelta(days=7)
_STEP: Final = Decimal("0.05")

# Points and sentence by where a lead comes from. The first three are the documented ones; the others stand beside the one
# they are most like: somebody who wrote themselves shows interest, an address that was bought has to be warmed up.
_SOURCES: Final = {
    "partner": (Decimal("0.3"), "Partner leads have higher conversion rates."),
    "manual": (Decimal("0.2"), "Manually added leads show active interest."),
    "scanner": (Decimal("0.1"), "Scanner leads require more warming up."),
    "api": (Decimal("0.2"), "They asked through a program of ours or a partner's."),
    "text": (Decimal("0.2"), "They wrote to us themselves."),
    "chat": (Decimal("0.2"), "They wrote to us themselves."),
    "form": (Decimal("0.2"), "They filled in a form themselves."),
    "purchase": (Decimal("0.1"), "Bought leads require more warming up."),
}


@dataclass(frozen=True, slots=True)
class Factor:
    """One row of the table: how many points, and why."""

    name: str
    points: Decimal
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is from 0 to 1 in hundredths. `reason` joins the sentences as the API gives them."""

    value: Decimal
    factors: tuple[Factor, ...]

    @property
    def recommendation(self) -> str:
        return recommend(self.value)

    @property
    def reason(self) -> str:
        return " | ".join(factor.text for factor in self.factors)


def by_rules(*, source: str, has_domain: bool, activity_count: int) -> Score:
    """The documented table. Raises KeyError for a source nobody has given points to."""
    points, sentence = _SOURCES[source]
    factors = (Factor("source", points, sentence), _domain(has_domain), _activity(activity_count))
    return Score(_bounded(sum((factor.points for factor in factors), Decimal(0))), factors)


def silence(quiet_for: timedelta) -> Decimal:
    """What a lead loses that nobody has spoken to: 0.05 after two weeks, and once more with every week after."""
    steps = max(0, 1 + (quiet_for - _PATIENCE) // _WEEK) if quiet_for >= _PATIENCE else 0
    return max(-BOUND, _STEP * -steps)


def next_loss(quiet_for: timedelta) -> timedelta | None:
    """How long until silence takes something again; None when it has taken all it can."""
    if quiet_for < _PATIENCE:
        return _PATIENCE - quiet_for
    if silence(quiet_for) <= -BOUND:
        return None
    return _WEEK - (quiet_for - _PATIENCE) % _WEEK


def recommend(value: Decimal) -> str:
    return TRANSFER if value >= GATE else NURTURE


def moved(baseline: Decimal, by: Decimal) -> Decimal:
    """A score moved by what somebody read between the lines: at most `BOUND` from the baseline, never out of 0 to 1."""
    return _bounded(baseline + max(-BOUND, min(BOUND, by)))


def _domain(is_known: bool) -> Factor:
    if is_known:
        return Factor("domain", Decimal("0.3"), "Clear business domain identified.")
    return Factor("domain", Decimal(0), "Missing business domain lowers probability.")


def _activity(count: int) -> Factor:
    if count > 10:
        return Factor("activity", Decimal("0.4"), "High engagement rate (>10 messages).")
    if count > 3:
        return Factor("activity", Decimal("0.2"), "Moderate engagement.")
    return Factor("activity", Decimal(0), "Low engagement.")


def _bounded(value: Decimal) -> Decimal:
    return max(Decimal(0), min(Decimal(1), value)).quantize(_CENT, ROUND_HALF_UP)
