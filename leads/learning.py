"""What the won and the lost leads of a business say about the next one: a chance, with proof that it is worth something.

A logistic regression over a dozen facts, calibrated, and tried on leads it has not seen. What it found is kept as plain
numbers, and a chance is worked out from those by hand: serving needs no library and loads nothing as code.

What a lead looks like is frozen at one age, `AGE` after it came in, for the closed as for the open. Two things follow:

* A lead that was decided earlier teaches nothing, and a lead that is younger gets no chance. Otherwise “nothing has
  happened yet” would be read as a bad sign, only because leads that end at once have had no time for anything.
* Only what can be dated counts. The line of business is taken from the assessments, written once, and not from the lead:
  nothing goes to sales without a line, so today's value tells how it ended. An e-mail address or a phone number has no
  date, and whoever buys is asked for both: left out, but whether there was a contact at all counts. An appointment is
  left out too: who has one has nearly bought, and everybody sees that without arithmetic.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from leads.reading import Line, reply_time

AGE: Final = timedelta(days=1)  # how old a lead is when it is looked at
NEEDED: Final = 200  # closed leads
NEEDED_OF_EACH: Final = 20  # won, and lost
VERSION: Final = 1  # of the features; a chance is worked out only from numbers found with the same

_SOURCES: Final = {
    "api": "came through a program",
    "text": "wrote a text",
    "chat": "came through the chat",
    "form": "filled in the web form",
    "manual": "was added by hand",
    "purchase": "was bought",
    "partner": "came from a partner",
    "scanner": "came from a scanner",
}
_MOST: Final = 50  # texts, calls and notes; more than that on a first day says nothing more
_RARE: Final = 5  # what fewer leads have, or lack, teaches nothing
_MINUTE: Final = timedelta(minutes=1)

FOLDS: Final = 5
PENALTY: Final = 0.1  # scikit-learn's C: as strong a pull to “makes no difference” as some ten leads per fact
MANY: Final = 1_000  # leads, from which on the calibration may have a shape of its own
LEAST: Final = 0.01  # neither “never” nor “certainly” is ever said
_RESAMPLES: Final = 1_000
# “Better than the average” is said when the gain lies above zero in this share of the resamples. How often that is claimed
# of coin flips is counted by the tests and by `manage.py backtest --noise`; it must stay below `MOST_FALSE_CLAIMS`.
SURE: Final = 0.975
MOST_FALSE_CLAIMS: Final = 0.05
_ROUNDING: Final = 1e-6  # less than this is no gain


@dataclass(frozen=True, slots=True)
class LeadFacts:
    """A lead as it stood when it was `AGE` old. None: not known, or it had not happened."""

    source: str
    came_at: datetime  # in the business's zone
    has_line: bool = False
    has_contact: bool = False
    activity_count: int = 0
    first_answer: timedelta | None = None
    reply: timedelta | None = None  # how long they usually take to answer us
    price: Decimal | None = None  # US dollars, from; of the service they ask for


@dataclass(frozen=True, slots=True)
class Example:
    """A closed lead: what was known, by the names of `features`, and how it ended."""

    features: Mapping[str, float | None]
    won: bool


@dataclass(frozen=True, slots=True)
class Tenth:
    """Leads whose chance was said to be in one tenth: what was said, what was seen (both 0 to 1), and how many."""

    said: float
    seen: float
    count: int


@dataclass(frozen=True, slots=True)
class TooFew:
    """Not enough to learn from."""

    won: int
    lost: int


@dataclass(frozen=True, slots=True)
class Learned:
    """Brier scores are mean squared errors on leads unseen. `gain` is how far the chances beat the average, with the
    bounds that say how sure that is."""

    won: int
    lost: int
    brier: float
    base_brier: float
    gain: tuple[float, float]
    curve: tuple[Tenth, ...]
    parameters: dict[str, Any]

    @property
    def is_useful(self) -> bool:
        return self.gain[0] > _ROUNDING


@dataclass(frozen=True, slots=True)
class Reason:
    """`weight` is in log-odds, against the average lead; above zero speaks for it."""

    text: str
    weight: float

    def __str__(self) -> str:
        return f"{self.text}: {'more' if self.weight > 0 else 'less'} likely"


def as_it_stood(
    happened: Sequence[Line],
    *,
    source: str,
    came_at: datetime,
    has_line: bool,
    has_contact: bool,
    price: Decimal | None,
) -> LeadFacts:
    """`happened`: texts, calls and notes until the lead was `AGE` old, oldest first."""
    answered = min((line.at for line in happened if line.who in ("assistant", "staff")), default=None)
    return LeadFacts(
        source=source, came_at=came_at, has_line=has_line, has_contact=has_contact, activity_count=len(happened),
        first_answer=max(timedelta(0), answered - came_at) if answered is not None else None,
        reply=reply_time(happened), price=price,
    )  # fmt: skip


def features(facts: LeadFacts) -> dict[str, float | None]:
    """The numbers a model sees. Times and prices are logarithms: the first minutes count for more than the later ones."""
    return {
        **{f"source:{source}": float(facts.source == source) for source in _SOURCES},
        "line": float(facts.has_line),
        "contact": float(facts.has_contact),
        "activity": math.log1p(min(facts.activity_count, _MOST)),
        "answered": float(facts.first_answer is not None),
        "answer": None if facts.first_answer is None else math.log1p(facts.first_answer / _MINUTE),
        "replied": float(facts.reply is not None),
        "reply": None if facts.reply is None else math.log1p(facts.reply / _MINUTE),
        "priced": float(facts.price is not None),
        "price": None if facts.price is None else math.log1p(float(facts.price)),
        "evening": float(not 8 <= facts.came_at.hour < 18),
        "weekend": float(facts.came_at.weekday() >= 5),
    }


# What a number says, when it speaks for a lead and the higher the better; for the page that shows what was learned.
NAMES: Final = {
    **{f"source:{source}": words[0].upper() + words[1:] for source, words in _SOURCES.items()},
    "line": "Line of business known",
    "contact": "Name or number known",
    "activity": "Many texts, calls and notes",
    "answered": "Answered on the first day",
    "answer": "A slow first answer",
    "replied": "Answers us on the first day",
    "reply": "Takes long to answer us",
    "priced": "Asks for a service with a price",
    "price": "Asks for a dear service",
    "evening": "Came in before 8 or after 6",
    "weekend": "Came in on a weekend",
}


# --- Serving -----------------------------------------------------------------------------------------------------------


def chance(parameters: Mapping[str, Any], facts: LeadFacts) -> float:
    """That this lead will be won, 0 to 1, by what `train` found."""
    return _chance(parameters, features(facts))


def explain(parameters: Mapping[str, Any], facts: LeadFacts, *, most: int = 3) -> list[Reason]:
    """What sets this lead apart from the average one, the strongest first."""
    found = features(facts)
    weights: dict[str, float] = {}
    for feature in parameters["features"]:
        topic = _TOPICS.get(feature["name"], feature["name"].partition(":")[0])
        weights[topic] = weights.get(topic, 0.0) + _part(feature, found) * steepness(parameters)
    heard = [Reason(_said(topic, facts), weight) for topic, weight in weights.items() if abs(weight) >= _HEARD]
    return sorted(heard, key=lambda reason: -abs(reason.weight))[:most]


def steepness(parameters: Mapping[str, Any]) -> float:
    """How much of the raw log-odds the calibration lets stand."""
    calibration = parameters["calibration"]
    return float(calibration["slope"]) if calibration["kind"] == "sigmoid" else 1.0


_HEARD: Final = 0.1  # log-odds; less makes a chance of 50% no more than 52%
_TOPICS: Final = {"answered": "answer", "replied": "reply", "priced": "price"}


def _chance(parameters: Mapping[str, Any], found: Mapping[str, float | None]) -> float:
    log_odds = parameters["intercept"] + sum(_part(feature, found) for feature in parameters["features"])
    return _calibrated(parameters["calibration"], log_odds)


def _calibrated(calibration: Mapping[str, Any], log_odds: float) -> float:
    """What log-odds have meant on leads unseen."""
    if calibration["kind"] == "sigmoid":
        value = _sigmoid(calibration["slope"] * log_odds + calibration["offset"])
    else:
        value = _between(calibration["at"], calibration["is"], log_odds)
    return min(1 - LEAST, max(LEAST, value))


def _part(feature: Mapping[str, Any], found: Mapping[str, float | None]) -> float:
    value = found[feature["name"]]
    return 0.0 if value is None else feature["coefficient"] * (value - feature["mean"]) / feature["scale"]


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def _between(points: Sequence[float], values: Sequence[float], x: float) -> float:
    """On the line through the points; flat before the first and after the last."""
    right = bisect_right(points, x)
    if right == 0 or right == len(points):
        return values[0] if right == 0 else values[-1]
    share = (x - points[right - 1]) / (points[right] - points[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])


def _said(topic: str, facts: LeadFacts) -> str:
    match topic:
        case "source":
            return _SOURCES[facts.source]
        case "line":
            return "their line of business was known" if facts.has_line else "their line of business was not known"
        case "contact":
            return "left a name or number" if facts.has_contact else "left no name or number"
        case "activity":
            count = facts.activity_count
            things = "text, call or note" if count == 1 else "texts, calls or notes"
            return f"{count or 'no'} {things} on the first day"
        case "answer":
            return (
                "no answer on the first day" if facts.first_answer is None else f"answered {_time(facts.first_answer)}"
            )
        case "reply":
            return "has not answered us" if facts.reply is None else f"answers us {_time(facts.reply)}"
        case "price":
            return "no price known" if facts.price is None else f"asks for a service from ${facts.price:,.0f}"
        case "evening":
            return "came in by day" if 8 <= facts.came_at.hour < 18 else "came in before 8 or after 6"
        case _:
            return "came in on a weekend" if facts.came_at.weekday() >= 5 else "came in on a weekday"


def _time(wait: timedelta) -> str:
    minutes = math.ceil(wait / _MINUTE)
    if minutes <= 90:
        return f"within {max(1, minutes)} minute{'' if minutes <= 1 else 's'}"
    return f"within {math.ceil(minutes / 60)} hours"


# --- Training ----------------------------------------------------------------------------------------------------------


def train(examples: Sequence[Example], seed: int) -> Learned | TooFew:
    """Learn from closed leads, and find out honestly what that is worth.

    Every number that is reported comes from leads the model and its calibration had not seen. Takes well under a second
    for a thousand leads, once the library is loaded.
    """
    won = sum(example.won for example in examples)
    lost = len(examples) - won
    if len(examples) < NEEDED or min(won, lost) < NEEDED_OF_EACH:
        return TooFew(won=won, lost=lost)
    import numpy as np  # noqa: PLC0415 - takes a second to load with scikit-learn, and only the nightly run needs it
    import sklearn  # noqa: PLC0415
    from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415

    outcomes = np.array([float(example.won) for example in examples])
    said, average = np.empty(len(outcomes)), np.empty(len(outcomes))
    with sklearn.config_context(
        skip_parameter_validation=True
    ):  # thirty small fits; the checks take half of their time
        for seen, unseen in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(outcomes, outcomes):
            fitted = _fit([examples[place] for place in seen], seed)
            said[unseen] = [_chance(fitted, examples[place].features) for place in unseen]
            average[unseen] = outcomes[seen].mean()
        parameters = _fit(examples, seed)
    gains = (average - outcomes) ** 2 - (said - outcomes) ** 2
    rolls = np.random.default_rng(seed)
    means = [gains[rolls.integers(len(gains), size=len(gains))].mean() for _ in range(_RESAMPLES)]
    low, high = (float(bound) for bound in np.quantile(means, [1 - SURE, SURE]))
    return Learned(
        won=won, lost=lost, brier=float(((said - outcomes) ** 2).mean()),
        base_brier=float(((average - outcomes) ** 2).mean()), gain=(low, high),
        curve=reliability(said.tolist(), outcomes.tolist()),
        parameters={"version": VERSION, "base_rate": won / len(examples), "gain": [low, high], **parameters},
    )  # fmt: skip


def reliability(said: Sequence[float], outcomes: Sequence[float]) -> tuple[Tenth, ...]:
    """What was said beside what was seen, for every tenth of the scale in which something was said."""
    tenths: dict[int, list[tuple[float, float]]] = {}
    for value, outcome in zip(said, outcomes, strict=True):
        tenths.setdefault(min(9, int(value * 10)), []).append((value, outcome))
    return tuple(
        Tenth(
            said=sum(value for value, _ in pairs) / len(pairs),
            seen=sum(outcome for _, outcome in pairs) / len(pairs),
            count=len(pairs),
        )
        for _, pairs in sorted(tenths.items())
    )


def likely_range(tenth: Tenth) -> tuple[float, float]:
    """Where the share that was seen may truly lie, given how few were counted (Wilson's interval, 95 of 100)."""
    z, n, seen = 1.96, tenth.count, tenth.seen
    middle = (seen + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(seen * (1 - seen) / n + z * z / (4 * n * n))
    return middle - reach, middle + reach


def _fit(examples: Sequence[Example], seed: int) -> dict[str, Any]:
    """Coefficients from all these leads; the calibration from log-odds of leads that a model had not seen."""
    import numpy as np  # noqa: PLC0415 - see `train`
    from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415

    names = _telling(examples)
    outcomes = np.array([float(example.won) for example in examples])
    if not names:
        return _average(float(outcomes.mean()))
    facts = np.array([[_number(example.features[name]) for name in names] for example in examples])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    log_odds = np.empty(len(outcomes))
    for seen, unseen in folds.split(outcomes, outcomes):
        means, scales, regression = _regression(facts[seen], outcomes[seen])
        log_odds[unseen] = regression.decision_function(np.nan_to_num((facts[unseen] - means) / scales))
    means, scales, regression = _regression(facts, outcomes)
    found = zip(names, means.tolist(), scales.tolist(), regression.coef_[0].tolist(), strict=True)
    return {
        "intercept": float(regression.intercept_[0]),
        "features": [
            {"name": name, "mean": mean, "scale": scale, "coefficient": coefficient}
            for name, mean, scale, coefficient in found
        ],
        "calibration": _calibration(log_odds, outcomes, folds),
    }


def _regression(facts: Any, outcomes: Any) -> tuple[Any, Any, Any]:
    """Means, scales, and the regression of what is standardised with them. What is not known counts as the mean."""
    import numpy as np  # noqa: PLC0415 - see `train`
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    is_known = ~np.isnan(facts)
    means = np.nan_to_num(facts).sum(axis=0) / np.maximum(1, is_known.sum(axis=0))
    scales = np.where(is_known, facts - means, 0.0).std(axis=0)
    scales[scales == 0] = 1.0
    regression = LogisticRegression(C=PENALTY, solver="newton-cholesky", tol=1e-10)
    return means, scales, regression.fit(np.nan_to_num((facts - means) / scales), outcomes)


def _calibration(log_odds: Any, outcomes: Any, folds: Any) -> dict[str, Any]:
    """A sigmoid; with many leads a curve of its own shape, if that fits better on those left out."""
    if len(outcomes) < MANY:
        return _sigmoid_through(log_odds, outcomes)
    errors = {_sigmoid_through: 0.0, _steps_through: 0.0}
    for seen, unseen in folds.split(log_odds, outcomes):
        for shape in errors:
            fitted = shape(log_odds[seen], outcomes[seen])
            errors[shape] += sum(
                (_calibrated(fitted, value) - outcome) ** 2
                for value, outcome in zip(log_odds[unseen].tolist(), outcomes[unseen].tolist(), strict=True)
            )
    best = min(errors, key=lambda shape: errors[shape])  # the sigmoid, when they are equal
    return best(log_odds, outcomes)


def _sigmoid_through(log_odds: Any, outcomes: Any) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - see `train`

    fitted = LogisticRegression(C=math.inf, solver="newton-cholesky").fit(log_odds.reshape(-1, 1), outcomes)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:  # on unseen leads the log-odds meant nothing
        return _average(float(outcomes.mean()))["calibration"]
    return {"kind": "sigmoid", "slope": slope, "offset": offset}


def _steps_through(log_odds: Any, outcomes: Any) -> dict[str, Any]:
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - see `train`

    fitted = IsotonicRegression(out_of_bounds="clip").fit(log_odds, outcomes)
    return {"kind": "isotonic", "at": fitted.X_thresholds_.tolist(), "is": fitted.y_thresholds_.tolist()}


def _average(rate: float) -> dict[str, Any]:
    """Nothing to go by: the average, whatever the lead."""
    return {
        "intercept": 0.0,
        "features": [],
        "calibration": {"kind": "sigmoid", "slope": 0.0, "offset": math.log(rate / (1 - rate))},
    }


def _telling(examples: Sequence[Example]) -> list[str]:
    """The features that differ between leads; what nearly all have, or nearly none, says nothing."""
    telling = []
    for name in examples[0].features:
        counts = Counter(value for example in examples if (value := example.features[name]) is not None)
        if counts.total() - max(counts.values(), default=0) >= _RARE:
            telling.append(name)
    return telling


def _number(value: float | None) -> float:
    return math.nan if value is None else value
