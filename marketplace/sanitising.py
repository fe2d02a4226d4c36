"""What may stand in a cell of a CSV that a spreadsheet will open.

A spreadsheet takes a cell that begins with one of TRIGGERS for a formula and works it out, whoever wrote it. So a value is
trimmed and loses those characters at its beginning, again and again until it begins with something else. Two kinds of
value keep theirs, because nothing can be worked out from them:

- a phone number in E.164: a plus and 7 to 15 digits, not beginning with 0, and nothing else, in any column;
- a plain number below zero: in a money column any (-1250000), in a text column one with cents (-12.50) or of up to six
  digits (-5). A dash before seven digits or more is how people write a phone number, and goes: -5551234567 becomes
  5551234567. In a phone column it always goes.

Everything else is cleaned, a plus with a sum behind it (+1-1) above all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

TRIGGERS: Final = "=+-@\t\r\n"
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_NUMBER: Final = re.compile(r"-[0-9]+(?:\.[0-9]+)?")
_SMALL_NUMBER: Final = re.compile(r"-(?:[0-9]{1,6}|[0-9]+\.[0-9]+)")


@dataclass(frozen=True, slots=True)
class Cell:
    """What is written, and what was taken off its beginning (trimmed spaces are not counted)."""

    text: str
    stripped: str = ""


def clean(value: str, *, kind: str = "text") -> Cell:
    """`kind` is that of the column: text, money, phone or moment."""
    text = value.strip()
    if not text or text[0] not in TRIGGERS or _means_itself(text, kind):
        return Cell(text)
    rest = text
    while rest and rest[0] in TRIGGERS:
        rest = rest.lstrip(TRIGGERS).lstrip()  # “= =1” is a formula twice over
    return Cell(rest, stripped=text[: len(text) - len(rest)])


def _means_itself(text: str, kind: str) -> bool:
    if _PHONE.fullmatch(text):
        return True
    if kind == "phone":
        return False
    return (_NUMBER if kind == "money" else _SMALL_NUMBER).fullmatch(text) is not None
