"""Where the lines of a chart lie. Across it is measured in percent and up in pixels, so a chart fills whatever width there
is and its words keep their size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from marketplace.pricing import Period, gaps

FLOOR: Final = 160  # pixels from the top: where zero lies
CEILING: Final = 36  # above the highest value there is room for its label
_LINE: Final = 15  # pixels: the height of words
_ROOM_FOR_A_PRICE: Final = 15.0  # percent of the width of a phone
_ROOM_FOR_A_DAY: Final = 25.0


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    is_planned: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """Words that end (`anchor`) or begin at a point, so that they stay inside the chart."""

    x: float
    y: float
    text: str
    anchor: str
    room: float  # percent it takes across

    @classmethod
    def at(cls, x: float, y: float, text: str, *, room: float) -> Label:
        return cls(x, y, text, "end" if x + room > 100 else "start", room)

    def covers(self, other: Label) -> bool:
        return (
            abs(self.y - other.y) < _LINE and self.left < other.left + other.room and other.left < self.left + self.room
        )

    @property
    def left(self) -> float:
        return self.x - self.room if self.anchor == "end" else self.x


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch from top to bottom."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Steps:
    lines: list[Line]
    labels: list[Label]
    days: list[Label]
    bands: list[Band]  # without a price
    now: Label


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    width: float
    y: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Bars:
    bars: list[Bar]
    top: Label | None  # the highest bar says what it stands for
    days: list[Label]


def steps(periods: Sequence[Period], *, now: datetime) -> Steps:
    """What something cost and will cost, as a staircase from zero. Needs at least one period."""
    ordered = sorted(periods, key=lambda period: period.since)
    begin = min(ordered[0].since, now)
    last = max(now, ordered[-1].until or ordered[-1].since)
    end = last + (last - begin) * 0.21  # so that the last step has a tread with room for its label
    span = (end - begin).total_seconds() or 1.0
    top = max((period.price for period in ordered), default=Decimal(0)) or Decimal(1)

    def across(moment: datetime | None) -> float:
        return 100.0 if moment is None else round((moment - begin).total_seconds() / span * 100, 2)

    def height(price: Decimal) -> float:
        return round(FLOOR - float(price / top) * (FLOOR - CEILING), 1)

    lines: list[Line] = []
    for before, this in zip([None, *ordered[:-1]], ordered, strict=True):
        x, y, is_planned = across(this.since), height(this.price), this.since > now
        if before is not None and before.until == this.since:
            lines.append(Line(x, height(before.price), x, y, is_planned))
        lines.append(Line(x, y, across(this.until), y, is_planned))
    holds = next((period for period in ordered if period.holds_at(now)), None)
    # What holds now and what is to come is said before what was.
    by_weight = sorted(ordered, key=lambda period: (period is not holds, period.since <= now, abs(period.since - now)))

    def places(period: Period) -> list[Label]:
        """Above its line or below; what holds makes room above for what is planned."""
        line, below_first = height(period.price), period is holds and ordered[-1].since > now
        found = [
            Label.at(across(period.since), line + shift, f"${period.price:,}", room=_ROOM_FOR_A_PRICE)
            for shift in ((17, -7) if below_first else (-7, 17))
        ]
        return [label for label in found if label.y < FLOOR]

    return Steps(
        lines=lines,
        labels=_that_fit(places(period) for period in by_weight),
        days=_that_fit(
            [
                Label.at(
                    across(period.since), FLOOR + 18, f"{period.since:%b} {period.since.day}, {period.since.year}",
                    room=_ROOM_FOR_A_DAY,
                )
            ]
            for period in by_weight
        ),
        bands=[
            Band(across(gap.since), round(across(gap.until) - across(gap.since), 2), "No price") for gap in gaps(ordered)
        ],
        now=Label.at(across(now), 10, "Now", room=8),
    )  # fmt: skip


def bars(values: Sequence[tuple[str, Decimal, str]]) -> Bars:
    """(day, value, what it says) side by side, from zero. Values below zero are drawn as nothing: the table has them."""
    if not values:
        return Bars([], None, [])
    top = max(value for _, value, _ in values)
    room = 100 / len(values)
    drawn = []
    for place, (_, value, text) in enumerate(values):
        up = round(float(value / top) * (FLOOR - CEILING), 1) if top > 0 and value > 0 else 0.0
        drawn.append(Bar(round(place * room + room * 0.1, 3), round(room * 0.8, 3), round(FLOOR - up, 1), up, text))
    highest = max(range(len(values)), key=lambda place: values[place][1])
    named = [len(values) - 1, 0, len(values) // 2]
    return Bars(
        bars=drawn,
        top=Label.at(drawn[highest].x, drawn[highest].y - 7, f"${top:,}", room=_ROOM_FOR_A_PRICE) if top > 0 else None,
        days=_that_fit(
            [Label.at(drawn[place].x, FLOOR + 18, values[place][0], room=_ROOM_FOR_A_PRICE)] for place in named
        ),
    )


def _that_fit(wanted: Iterable[Sequence[Label]]) -> list[Label]:
    """Of each choice of places the first that covers nothing said before; none, if there is no such place."""
    kept: list[Label] = []
    for places in wanted:
        free = next((label for label in places if not any(label.covers(other) for other in kept)), None)
        kept += [free] if free else []
    return kept
