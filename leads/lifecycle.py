"""The stages of a lead and of a deal, and what may follow what. A table, and nothing else.

A lead moves forward one step at a time or is lost; nobody moves it to `transferred` by hand, only a transfer to sales does,
together with the deal. What is transferred or lost stays so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NEW: Final = "new"
CONTACTED: Final = "contacted"
QUALIFIED: Final = "qualified"
TRANSFERRED: Final = "transferred"
LOST: Final = "lost"

KYC: Final = "kyc"
AGREEMENT: Final = "agreement"
PAID: Final = "paid"

# Every stage, in the order of the board, with those that may follow it.
LEAD: Final[Mapping[str, tuple[str, ...]]] = {
    NEW: (CONTACTED, LOST),
    CONTACTED: (QUALIFIED, LOST),
    QUALIFIED: (TRANSFERRED, LOST),
    TRANSFERRED: (),
    LOST: (),
}
DEAL: Final[Mapping[str, tuple[str, ...]]] = {
    NEW: (KYC, LOST),
    KYC: (AGREEMENT, LOST),
    AGREEMENT: (PAID, LOST),
    PAID: (),
    LOST: (),
}


# Stages in which a lead is still worked on, and a deal too.
OPEN: Final = tuple(stage for stage, following in LEAD.items() if following)
OPEN_DEAL: Final = tuple(stage for stage, following in DEAL.items() if following)


class NotAllowed(Exception):
    """A move the table does not have. The text is a sentence for people."""


def check_lead(current: str, wanted: str) -> None:
    """Whether somebody may move a lead from one stage to another by hand. Raises NotAllowed."""
    if current == TRANSFERRED:
        raise NotAllowed("Cannot change stage of a transferred lead")
    if wanted not in LEAD[current]:
        raise NotAllowed(f"Invalid transition from {current} to {wanted}")
    if wanted == TRANSFERRED:
        raise NotAllowed(
            "A lead is transferred only by a transfer to sales, which checks its score and opens the deal."
        )


def check_transfer(current: str) -> None:
    """Whether a lead at this stage may go to sales. Raises NotAllowed."""
    if current == TRANSFERRED:
        raise NotAllowed("Cannot change stage of a transferred lead")
    if TRANSFERRED not in LEAD[current]:
        raise NotAllowed(f"Invalid transition from {current} to {TRANSFERRED}")


def check_deal(current: str, wanted: str) -> None:
    """Raises NotAllowed."""
    if not DEAL[current]:
        raise NotAllowed(f"This deal is closed: {current}.")
    if wanted not in DEAL[current]:
        raise NotAllowed(f"Invalid transition from {current} to {wanted}")
