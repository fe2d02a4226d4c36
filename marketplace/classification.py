"""Gold or Silver: whether a lead's file is complete.

Decided once, when the lead comes in, and never changed (the database refuses it). It says how much is known about a
lead, and so its price; never whether it may be sold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

GOLD: Final = "Gold"
SILVER: Final = "Silver"

# A lead with something written in each of these is Gold; “No” is something. An installation may ask for others.
GOLD_COLUMNS: Final = (
    "Source",
    "Borrower Age",
    "Borrower Medical Issues",
    "Borrower Tobacco Use",
    "Co-Borrower ?",
    "Borrower Phone",
)


def classifier(header: Sequence[str], *, gold_columns: Sequence[str] = GOLD_COLUMNS) -> Callable[[Sequence[str]], str]:
    """Judges rows, as lists of trimmed values under `header`. A column that is not there counts as blank."""
    if any(column not in header for column in gold_columns):
        return lambda values: SILVER
    places = [header.index(column) for column in gold_columns]
    if len(places) == 1:
        return lambda values: GOLD if values[places[0]] else SILVER
    read = itemgetter(*places)
    return lambda values: GOLD if all(read(values)) else SILVER
