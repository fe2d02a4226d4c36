"""`manage.py backtest`: does learning from outcomes find a truth that is known, and nothing where there is nothing?"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from leads import learning

# What makes a lead buy in the made-up world, in log-odds per unit of each feature; everything else makes no difference.
TRUTH: Final = {
    "source:partner": 1.0,
    "source:scanner": -0.8,
    "line": 0.7,
    "activity": 0.5,
    "answer": -0.4,
    "weekend": -0.3,
}
INTERCEPT: Final = -1.0
COIN: Final = 0.35  # the share that is won when nothing makes a difference
UNSEEN: Final = 10_000  # fresh leads on which the chances are tried
# How far, on average over the tenths, a chance that is said may lie from the share that is seen.
MOST_OFF: Final = 0.05


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A lead of the made-up world, with the chance nobody knows in the real one."""

    facts: learning.LeadFacts
    chance: float
    won: bool

    @property
    def example(self) -> learning.Example:
        return learning.Example(features=learning.features(self.facts), won=self.won)


class Command(BaseCommand):
    help = "Learn from made-up leads whose truth is known, and report how much of it was found. Ends with 1 when it is off."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--leads", type=int, default=2_000, help="closed leads to learn from")
        parser.add_argument("--seed", type=int, default=1, help="another number makes another world")
        parser.add_argument("--noise", action="store_true", help="flip a coin for every lead: there is nothing to find")

    def handle(self, *_args: Any, **options: Any) -> None:
        seed, is_noise = options["seed"], options["noise"]
        leads = make_up(options["leads"], seed=seed, is_noise=is_noise)
        found = learning.train([lead.example for lead in leads], seed)
        if isinstance(found, learning.TooFew):
            raise CommandError(
                f"Not enough data: {found.won} won and {found.lost} lost. It takes {learning.NEEDED} leads, at least"
                f" {learning.NEEDED_OF_EACH} of each."
            )
        self._report(found, unseen=make_up(UNSEEN, seed=seed + 1_000_000, is_noise=is_noise), is_noise=is_noise)

    def _report(self, found: learning.Learned, *, unseen: Sequence[MadeUp], is_noise: bool) -> None:
        verdict = "Better than the average" if found.is_useful else "No better than the average"
        said = [learning.chance(found.parameters, lead.facts) for lead in unseen]
        base_rate = found.won / (found.won + found.lost)
        outcomes = [float(lead.won) for lead in unseen]
        off = calibration_error(said, outcomes)
        low, high = found.gain
        lines = [
            f"{found.won + found.lost:,} leads to learn from, {found.won:,} won ({base_rate:.1%})",
            f"Verdict: {verdict}",
            f"Gain over the average, on leads left out: {found.base_brier - found.brier:+.4f} ({low:+.4f} to {high:+.4f})",
            "",
            f"On {len(unseen):,} fresh leads, Brier score (0 is perfect)",
            f"  always saying the average   {brier([base_rate] * len(unseen), outcomes):.4f}",
            f"  what was learned            {brier(said, outcomes):.4f}",
            f"  the truth itself            {brier([lead.chance for lead in unseen], outcomes):.4f}",
            f"Calibration error: {off:.3f} (at most {MOST_OFF:.3f})",
            "",
            f"{'Chance':<12}{'said':>8}{'seen':>8}{'leads':>8}",
        ]
        for tenth in learning.reliability(said, outcomes):
            floor = min(9, int(tenth.said * 10)) * 10
            lines.append(f"{f'{floor} to {floor + 10}%':<12}{tenth.said:>8.1%}{tenth.seen:>8.1%}{tenth.count:>8,}")
        lines += ["", f"{'Log-odds per unit':<20}{'true':>8}{'found':>8}"]
        steepness = learning.steepness(found.parameters)
        for feature in found.parameters["features"]:
            true = 0.0 if is_noise else TRUTH.get(feature["name"], 0.0)
            lines.append(
                f"{feature['name']:<20}{true:>+8.2f}{feature['coefficient'] / feature['scale'] * steepness:>+8.2f}"
            )
        self.stdout.write("\n".join(lines))
        if is_noise and found.is_useful:
            raise CommandError("A coin decided, and it claims to know better than the average.")
        if not is_noise and not found.is_useful:
            raise CommandError("There was something to find, and it was not found. More leads may help.")
        if off > MOST_OFF:
            raise CommandError(f"The chances are off by {off:.3f}; at most {MOST_OFF:.3f} is good enough.")


def make_up(count: int, *, seed: int, is_noise: bool = False) -> list[MadeUp]:
    """Leads of a year, the same for the same seed."""
    roll = random.Random(seed)  # noqa: S311 - a world is made up, nothing is guarded
    start = datetime(2026, 1, 1, tzinfo=UTC)
    leads = []
    for _ in range(count):
        answered, replied, priced = roll.random() < 0.9, roll.random() < 0.6, roll.random() < 0.7
        facts = learning.LeadFacts(
            source=roll.choice(["form", "form", "text", "partner", "scanner", "purchase"]),
            came_at=start + timedelta(minutes=roll.randrange(365 * 24 * 60)),
            has_line=roll.random() < 0.6,
            has_contact=roll.random() < 0.9,
            activity_count=int(roll.expovariate(0.25)),
            first_answer=timedelta(minutes=roll.lognormvariate(2.5, 1.3)) if answered else None,
            reply=timedelta(minutes=roll.lognormvariate(2.5, 1.0)) if replied else None,
            price=Decimal(roll.choice([89, 149, 400, 1_200])) if priced else None,
        )
        chance = COIN if is_noise else true_chance(facts)
        leads.append(MadeUp(facts=facts, chance=chance, won=roll.random() < chance))
    return leads


def true_chance(facts: learning.LeadFacts) -> float:
    """Somebody who had no answer is as likely to buy as somebody who waited for the usual time."""
    values = learning.features(facts)
    usual = {"answer": 2.5}
    log_odds = INTERCEPT + sum(
        weight * (usual[name] if (value := values[name]) is None else value) for name, weight in TRUTH.items()
    )
    return 1 / (1 + math.exp(-log_odds))


def brier(said: Sequence[float], outcomes: Sequence[float]) -> float:
    """Mean squared error."""
    return sum((value - outcome) ** 2 for value, outcome in zip(said, outcomes, strict=True)) / len(said)


def calibration_error(said: Sequence[float], outcomes: Sequence[float]) -> float:
    """How far what was said lies from what was seen, over the tenths, each by the number of its leads."""
    tenths = learning.reliability(said, outcomes)
    return sum(abs(tenth.said - tenth.seen) * tenth.count for tenth in tenths) / len(said)
