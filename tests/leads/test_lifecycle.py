"""The stages of a lead and of a deal: every pair of them, with the sentence people get."""

from __future__ import annotations

from itertools import product

import pytest

from leads import lifecycle
from leads.enums import DealStage, Stage
from leads.lifecycle import NotAllowed, check_deal, check_lead, check_transfer

LEAD_STAGES = ("new", "contacted", "qualified", "transferred", "lost")
DEAL_STAGES = ("new", "kyc", "agreement", "paid", "lost")

# The documented steps. Whatever is not here is refused.
BY_HAND = {
    ("new", "contacted"),
    ("new", "lost"),
    ("contacted", "qualified"),
    ("contacted", "lost"),
    ("qualified", "lost"),
}
OF_A_DEAL = {
    ("new", "kyc"),
    ("new", "lost"),
    ("kyc", "agreement"),
    ("kyc", "lost"),
    ("agreement", "paid"),
    ("agreement", "lost"),
}
TRANSFERRED_STAYS = "Cannot change stage of a transferred lead"
NOT_BY_HAND = "A lead is transferred only by a transfer to sales, which checks its score and opens the deal."


def refusal_of_a_lead(current: str, wanted: str) -> str:
    if current == "transferred":
        return TRANSFERRED_STAYS
    if (current, wanted) == ("qualified", "transferred"):
        return NOT_BY_HAND
    return f"Invalid transition from {current} to {wanted}"


def refusal_of_a_deal(current: str, wanted: str) -> str:
    if current in ("paid", "lost"):
        return f"This deal is closed: {current}."
    return f"Invalid transition from {current} to {wanted}"


def test_the_stages_are_the_documented_ones_in_their_order():
    assert (tuple(Stage), tuple(lifecycle.LEAD)) == (LEAD_STAGES, LEAD_STAGES)
    assert (tuple(DealStage), tuple(lifecycle.DEAL)) == (DEAL_STAGES, DEAL_STAGES)
    assert lifecycle.OPEN == ("new", "contacted", "qualified")
    assert lifecycle.OPEN_DEAL == ("new", "kyc", "agreement")


@pytest.mark.parametrize(("current", "wanted"), list(product(LEAD_STAGES, repeat=2)))
def test_a_lead_moves_by_the_documented_steps_and_by_no_others(current: str, wanted: str):
    if (current, wanted) in BY_HAND:
        check_lead(current, wanted)
        return
    with pytest.raises(NotAllowed) as refused:
        check_lead(current, wanted)
    assert str(refused.value) == refusal_of_a_lead(current, wanted)


@pytest.mark.parametrize(("current", "wanted"), list(product(DEAL_STAGES, repeat=2)))
def test_a_deal_moves_by_the_documented_steps_and_by_no_others(current: str, wanted: str):
    if (current, wanted) in OF_A_DEAL:
        check_deal(current, wanted)
        return
    with pytest.raises(NotAllowed) as refused:
        check_deal(current, wanted)
    assert str(refused.value) == refusal_of_a_deal(current, wanted)


@pytest.mark.parametrize("current", LEAD_STAGES)
def test_nobody_transfers_a_lead_by_hand_from_any_stage(current: str):
    with pytest.raises(NotAllowed):
        check_lead(current, "transferred")


@pytest.mark.parametrize(
    ("current", "sentence"),
    [
        ("new", "Invalid transition from new to transferred"),
        ("contacted", "Invalid transition from contacted to transferred"),
        ("qualified", None),
        ("transferred", TRANSFERRED_STAYS),
        ("lost", "Invalid transition from lost to transferred"),
    ],
)
def test_sales_take_a_qualified_lead_and_no_other(current: str, sentence: str | None):
    if sentence is None:
        check_transfer(current)
        return
    with pytest.raises(NotAllowed) as refused:
        check_transfer(current)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("unheard_of", ["", "NEW", "won", "Contacted", "new "])
def test_a_stage_nobody_has_heard_of_is_refused_like_any_other(unheard_of: str):
    with pytest.raises(NotAllowed) as of_a_lead:
        check_lead("new", unheard_of)
    with pytest.raises(NotAllowed) as of_a_deal:
        check_deal("new", unheard_of)
    assert {str(of_a_lead.value), str(of_a_deal.value)} == {f"Invalid transition from new to {unheard_of}"}
