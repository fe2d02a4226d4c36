"""What the notes of a request ask for: a booking, or to cancel or move one that exists. Pure rules."""

from __future__ import annotations

import re
from typing import Literal

Intent = Literal["book", "cancel", "reschedule"]

_NOT = re.compile(r"\b(?:do\s?n[o'’]?t|dont|not|never|no\s+need\s+to|didn['’]?t)\s+(?:\w+\s+){0,2}$", re.IGNORECASE)
_CANCEL = re.compile(r"\bcancel", re.IGNORECASE)
_RESCHEDULE = re.compile(r"\bre-?\s?sched|\bchange\s+(?:the|my)\s+(?:time|appointment)", re.IGNORECASE)


def read_intent(notes: str) -> Intent:
    """“please CANCEL” → cancel, “Need to ReschEDULE” → reschedule, all else → book. “Don't cancel” is no cancel."""
    if _said(_CANCEL, notes):
        return "cancel"
    return "reschedule" if asks_to_move(notes) else "book"


def asks_to_move(text: str) -> bool:
    """“can we reschedule?”, “change the time”; not “please don't reschedule”."""
    return _said(_RESCHEDULE, text)


def _said(word: re.Pattern[str], notes: str) -> bool:
    return any(not _NOT.search(notes[: match.start()]) for match in word.finditer(notes))
