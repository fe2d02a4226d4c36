"""Whom a buyer has already: lists of numbers or of their hashes, and the clearing of them.

A list is read line by line and becomes marks at once; no number of it is stored or logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from django.db import connection, transaction

from crm import phones
from crm.keys import uuid7
from crm.models import Business, User
from crm.scoping import only
from crm.services import Refused, audit
from marketplace.enums import KnownFrom
from marketplace.marks import mark_of, mark_of_hash
from marketplace.models import KnownPhone, KnownUpload

LARGEST: Final = 1_000_000  # rows of one list
SHOWN: Final = 5  # refused rows that are named
_LONGEST_LINE: Final = 300  # bytes
_BLOCK: Final = 5_000  # rows handed to Postgres at a time

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_WRAPPING: Final = " \t\r\n\"';,"  # around the one value of a row, as spreadsheets write it
_HASH: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
# The usual ways to write a North American number. All others take the long way, which is twenty times as long.
_USUAL: Final = re.compile(r"(\+?1)?[ .-]?\(?([2-9][0-9]{2})\)?[ .-]?([0-9]{3})[ .-]?([0-9]{4})")


class Readable(Protocol):
    """A file opened for reading bytes."""

    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a list: the mark of a person, or why there is none. `row` counts as a spreadsheet does, from 1."""

    row: int
    mark: UUID | None
    problem: str = ""


@dataclass(slots=True)
class Tally:
    """What a list held, counted while it is read."""

    rows: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)  # the first few, for people

    def read(self, entries: Iterator[Entry], *, largest: int | None = None) -> Iterator[UUID]:
        """The marks, one after another. Raises Refused for a list with more rows than `largest`."""
        for entry in entries:
            self.rows += 1
            if largest is not None and self.rows > largest:
                raise Refused(f"This list has more than {largest:,} rows. Split it and send the parts.")
            if entry.mark is not None:
                yield entry.mark
                continue
            self.refused += 1
            if len(self.problems) < SHOWN:
                self.problems.append(f"Row {entry.row}: {entry.problem}")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A list that was taken in, and the first of its refused rows, said for people."""

    upload: KnownUpload
    problems: list[str]


def upload(*, business: Business, file: Readable, name: str, actor: User | None, now: datetime) -> Uploaded:
    """Take in a list of people the buyer has: whole, or not at all. The same list again changes nothing.

    Raises Refused for a list without rows, and for one that is too long.
    """
    tally = Tally()
    with only(business), transaction.atomic():
        marks = tally.read(entries(file, region=business.region), largest=LARGEST)
        added = _remember(business, marks, now=now)
        if not tally.rows:
            raise Refused("There is nothing in this file. Put one number, or its SHA-256, on each line.")
        row = KnownUpload.objects.create(
            business=business, name=name[:255], rows=tally.rows, added=added, refused=tally.refused, uploaded_by=actor,
            created_at=now,
        )  # fmt: skip
    return Uploaded(upload=row, problems=tally.problems)


def forget_uploads(*, business: Business, actor: User | None, now: datetime) -> int:
    """Clear whom the buyer told us of; whom they bought here stays. Returns how many people."""
    with only(business), transaction.atomic():
        count, _ = KnownPhone.objects.for_business(business).filter(source=KnownFrom.UPLOADED).delete()
        audit(
            business=business, actor=actor, action="uploaded people cleared", target=f"buyer {business.slug}", now=now,
            changes={"people": [count, 0]},
        )  # fmt: skip
    return count


def entries(file: Readable, *, region: str) -> Iterator[Entry]:
    """The rows of a list, with a heading or without. `region`: the country whose way of writing numbers is meant."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        while len(line) >= _LONGEST_LINE and not line.endswith(b"\n"):  # the rest of an endless line
            line = b"!" + (file.readline(_LONGEST_LINE) or b"\n")
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        value = line.decode("utf-8", "replace").strip(_WRAPPING)
        if not value:
            continue
        try:
            yield Entry(number, _mark(value, region))
        except ValueError:
            if number > 1 or not _is_heading(value):
                yield Entry(number, None, "neither a phone number nor a SHA-256 of one.")


def _mark(value: str, region: str) -> UUID:
    """Raises ValueError."""
    hashed = _HASH.fullmatch(value)
    if hashed:
        return mark_of_hash(hashed[1])
    usual = _USUAL.fullmatch(value)
    if usual and (region == "US" or value.startswith("+")):
        return mark_of(f"+1{usual[2]}{usual[3]}{usual[4]}")
    return mark_of(phones.parse(value, region=region).e164)


def _is_heading(value: str) -> bool:
    """Words, not a number gone wrong."""
    return sum(char.isdigit() for char in value) < 5 and any(char.isalpha() for char in value)


def _remember(business: Business, marks: Iterator[UUID], *, now: datetime) -> int:
    """Write down the marks as they come, in the caller's transaction, however many; returns how many were new.

    In the order of the marks, so that two lists with the same people cannot block each other in a circle.
    """
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE known_list (id uuid, mark uuid) ON COMMIT DROP")
        with cursor.copy("COPY known_list FROM STDIN") as copy:
            block: list[str] = []
            for mark in marks:
                block.append(f"{uuid7()}\t{mark}\n")
                if len(block) == _BLOCK:
                    copy.write("".join(block))
                    block.clear()
            copy.write("".join(block))
        cursor.execute(
            "INSERT INTO marketplace_knownphone (id, business_id, mark, source, created_at)"
            " SELECT id, %s, mark, %s, %s FROM known_list ORDER BY mark ON CONFLICT (business_id, mark) DO NOTHING",
            [business.pk, KnownFrom.UPLOADED.value, now],
        )
        added = cursor.rowcount
        cursor.execute("DROP TABLE known_list")  # the caller's transaction may go on
    return added
