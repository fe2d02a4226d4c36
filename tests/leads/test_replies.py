"""Reading the answer to an offered slot: whole words, and in doubt we ask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leads.replies import Reply, read_reply
from leads.wording import say


@pytest.mark.parametrize(
    "text",
    [
        "1",
        " yes ",
        "YES",
        "Y",
        "ok",
        "OK!",
        "Okay.",
        "confirm",
        "Confirmed",
        "sure",
        "book",
        "Book it",
        "si",
        "sí",
        "Sí!",
        "1.",
        "#1",
        "(1)",
        "yes please",
        "Yes, please!",
        "sounds good",
        "That works",
        "“yes”",
    ],
)
def test_a_yes(text):
    assert read_reply(text) == Reply.YES


@pytest.mark.parametrize(
    "text",
    [
        "2",
        "no",
        "NO",
        "No.",
        "n",
        "later",
        "another time",
        "Another time?",
        "resched please",
        "RE-SCHEDULE",
        "reschedule",
        "can we reschedule to friday",
        "change the time please",
        "otra hora",
        "más tarde",
    ],
)
def test_another_time(text):
    assert read_reply(text) == Reply.OTHER_TIME


@pytest.mark.parametrize(
    "text", ["3", "can't make it", "can’t make it", "pass", "No thanks", "no, thank you", "never mind", "no gracias"]
)
def test_a_no(text):
    assert read_reply(text) == Reply.NO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "?",
        "what?",
        "I know",
        "now",
        "not sure",
        "yes but later",
        "1 or 2?",
        "12",
        "11",
        "3pm",
        "maybe",
        "yesterday",
        "okra",
        "no idea",
        "who is this",
        "bookkeeping",
        "surely you joke",
        "please don't reschedule",
        "👍",
    ],
)
def test_anything_not_certain_is_asked_again(text):
    assert read_reply(text) == Reply.UNCLEAR


def test_the_numbers_we_offer_are_the_numbers_we_read():
    for lang in ("en", "es"):
        offer = say("offer", lang=lang, business="B", service="S", slot="T")
        assert all(f" {n} " in offer for n in "123")
    assert [read_reply(n) for n in "123"] == [Reply.YES, Reply.OTHER_TIME, Reply.NO]


@given(st.text(max_size=500))
def test_any_text_can_be_read_and_case_and_space_do_not_matter(text):
    assert read_reply(text) == read_reply(f"  {text}\n")
    assert read_reply(text.upper().lower()) == read_reply(text.lower())
