"""What the notes of a request ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leads.intent import read_intent


@pytest.mark.parametrize(
    ("notes", "intent"),
    [
        ("", "book"),
        ("no cooling", "book"),
        ("please propose", "book"),
        ("please CANCEL", "cancel"),
        ("cancelled my last one, cancel this too", "cancel"),
        ("I want to cancel my appointment", "cancel"),
        ("Can you cancel?", "cancel"),
        ("cancel and reschedule", "cancel"),
        ("reschedule, or cancel if you can't", "cancel"),
        ("Need to ReschEDULE", "reschedule"),
        ("resched please", "reschedule"),
        ("RE-SCHEDULE", "reschedule"),
        ("re schedule for monday", "reschedule"),
        ("can we change the time", "reschedule"),
        ("please change my appointment", "reschedule"),
        ("change my filter", "book"),
        ("the scheduled visit", "book"),
        ("precancellation form attached", "book"),
    ],
)
def test_the_first_wish_that_is_said_counts(notes, intent):
    assert read_intent(notes) == intent


@pytest.mark.parametrize(
    "notes",
    [
        "don't cancel",
        "Please don’t cancel!",
        "DO NOT CANCEL",
        "dont cancel me",
        "never cancel on me again",
        "I did not cancel",
        "I didn't ever cancel",
        "no need to cancel",
        "don't want to reschedule",
        "please do not reschedule",
    ],
)
def test_a_no_before_it_takes_it_back(notes):
    assert read_intent(notes) == "book"


def test_a_no_about_something_else_takes_nothing_back():
    assert read_intent("don't call before nine, and cancel the Tuesday visit") == "cancel"
    assert read_intent("I do not cancel lightly, but cancel it") == "cancel"


@given(st.text(max_size=2_000))
def test_any_text_has_one_of_three_intents(notes):
    assert read_intent(notes) in ("book", "cancel", "reschedule")
