"""Reading the answer to an offered slot. Pure rules; a number, a word, or something else."""

from __future__ import annotations

import re
from enum import StrEnum

from leads.intent import asks_to_move


class Reply(StrEnum):
    YES = "yes"
    OTHER_TIME = "other_time"
    NO = "no"
    UNCLEAR = "unclear"


_YES = {
    "1", "yes", "y", "ok", "okay", "confirm", "confirmed", "sure", "book", "book it", "yep", "yeah", "yes please",
    "sounds good", "that works", "works for me", "perfect", "si", "sí", "claro", "de acuerdo", "vale",
}  # fmt: skip
_OTHER_TIME = {
    "2",
    "no",
    "n",
    "nope",
    "later",
    "another time",
    "other time",
    "different time",
    "another",
    "otra hora",
    "mas tarde",
    "más tarde",
}
_NO = {
    "3",
    "can't make it",
    "cant make it",
    "pass",
    "no thanks",
    "no thank you",
    "never mind",
    "nevermind",
    "no gracias",
    "dejalo",
}


def read_reply(text: str) -> Reply:
    """Whole words only, so “know” and “now” are not “no”. Anything not certain is UNCLEAR: ask, never assume."""
    plain = re.sub(r"[\s.!,;:?…\"“”()*#]+", " ", text.replace("’", "'")).strip().lower()
    if plain in _YES:
        return Reply.YES
    if plain in _OTHER_TIME or asks_to_move(plain):
        return Reply.OTHER_TIME
    if plain in _NO:
        return Reply.NO
    return Reply.UNCLEAR
