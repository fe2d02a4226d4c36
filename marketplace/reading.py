"""Files of leads, as the call centers send them: what each row says, and what is wrong with it.

One reader for the command and the upload page, and for what comes back corrected. No database and no clock in here.

A row that cannot be taken is a `BadRow` with a sentence and the reading goes on; only a file without the columns we need
is refused as a whole. Rows are counted as a spreadsheet counts them: the headings are row 1, a value with line breaks in
it does not make two rows, an empty line is a row with nothing to say.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import IO, Final, NamedTuple, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

from crm import phones
from marketplace import columns, places
from marketplace.classification import classifier
from marketplace.sanitising import TRIGGERS

LONGEST: Final = 1_000  # characters of a value
LONGEST_PLACE: Final = 100  # of a state or county, which stand in indexes
SKIPPED: Final = "skipped"  # a required value is missing
FAILED: Final = "failed"  # a value cannot be read

_SOURCE: Final = tuple(columns.SOURCE)
_STATE, _COUNTY, _DATE = (_SOURCE.index(heading) for heading in ("State", "County", "Call In Date"))
_PHONE, _OTHER_PHONE = (_SOURCE.index(heading) for heading in ("Borrower Phone", "Call In Phone Number"))
_REQUIRED: Final = tuple((heading, _SOURCE.index(heading)) for heading in columns.REQUIRED)
_key_of: Final = itemgetter(*(_SOURCE.index(heading) for heading in columns.NATURAL_KEY))
_LONGEST_AT: Final = {_STATE: LONGEST_PLACE, _COUNTY: LONGEST_PLACE}

_BLOCK: Final = 1 << 18  # bytes read at a time
_LONGEST_LINE: Final = 1_000_000  # bytes; a file without line ends must not fill the memory
_MOST_COLUMNS: Final = 1_000
_SHOWN: Final = 60  # characters of a value in a sentence
_BYTE_ORDER_MARK: Final = "\ufeff"
_BETWEEN: Final = "\x1f"  # values joined for a look at all of them at once
_QUOTED: Final = f"{_BETWEEN}'"
_DAWN: Final = 1900  # years before it are typing errors: 0025 for 2025

_WRITTEN_DATE: Final = re.compile(r"([0-9]{2})-([0-9]{2})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_HOW_DATES_LOOK: Final = "MM-DD-YYYY HH:MM:SS, like 01-31-2025 14:05:00"
# As nearly all numbers in these files are written; libphonenumber, which reads the others, takes fifty times as long.
_USUAL_PHONE: Final = re.compile(
    r"(?:\+?1[ .-]?)?(?:\(([2-9][0-9]{2})\)|([2-9][0-9]{2}))[ .-]?([0-9]{3})[ .-]?([0-9]{4})"
)
_LIKE_A_PHONE: Final = re.compile(r"[+0-9 ().-]{7,25}")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")  # NUL, and bytes that are not UTF-8

EMPTY: Final = "CSV file is empty or malformed"
_HOW_TO_SAVE: Final = "In Excel choose Save As and “CSV UTF-8 (Comma delimited)”, then send that file."
NOT_UTF8: Final = f"This file is not UTF-8 text. {_HOW_TO_SAVE}"
IS_A_WORKBOOK: Final = f"This is an Excel workbook, not a CSV file. {_HOW_TO_SAVE}"


class FileRefused(ValueError):
    """The file as a whole cannot be taken. The message says why, for people."""


class LeadRow(NamedTuple):
    """A row that can become a lead."""

    number: int  # of the row; the headings are row 1
    values: tuple[str, ...]  # under `columns.SOURCE`, in its order, trimmed; the state as we spell it
    state: str
    county: str
    called_in_at: datetime  # UTC
    classification: str
    phone: str  # E.164, or empty
    other_phone: str
    natural_key: UUID


class BadRow(NamedTuple):
    """A row that cannot, with a sentence why not."""

    number: int
    kind: str  # SKIPPED or FAILED
    problem: str
    row: dict[str, str]  # as it stands in the file, by heading; "(cell 26)" where there is none
    phones: tuple[str, ...]  # whose row it may be, in E.164


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file looks like from outside. `rows` is what its line ends say: exact for most files, near for the rest."""

    sha256: str
    size: int  # bytes
    rows: int  # without the headings


def survey(file: IO[bytes]) -> Survey:
    digest, size, ends, quoted, last = hashlib.sha256(), 0, 0, False, b""
    while block := file.read(1 << 20):
        digest.update(block)
        size += len(block)
        pieces = block.split(b'"')
        ends += sum(piece.count(b"\n") for piece in pieces[quoted::2])  # those inside quotation marks end no row
        quoted ^= len(pieces) % 2 == 0
        last = block[-1:]
    unended = bool(last) and last != b"\n"
    return Survey(sha256=digest.hexdigest(), size=size, rows=max(ends + unended - 1, 0))


class LeadFile:
    """One file, from its headings on. Raises FileRefused when these are not to be used."""

    def __init__(self, file: IO[bytes]) -> None:
        self._lines = _Lines(file)
        # Strict: `"Bob" Smith` is refused with a sentence, rather than read as something nobody wrote.
        self._reader = csv.reader(self._lines, strict=True)
        self._number = 0
        self.headings = self._read_headings()

    def pass_over(self, count: int) -> None:
        """So many rows were dealt with before."""
        for cells, _ in self._records() if count else ():
            count -= bool(cells)
            if not count:
                return

    def rows(self, *, now: datetime, gold_columns: Sequence[str]) -> Iterator[LeadRow | BadRow]:
        """What follows, once. A call in after `now` is a mistake."""
        read = _RowReader(self.headings, now=now, gold_columns=gold_columns)
        for cells, torn in self._records():
            if not cells:
                continue
            try:
                if torn:
                    _fail("a quotation mark in this row opens or closes in the wrong place. Mend it or take it out.")
                row: LeadRow | BadRow = read.lead(self._number, cells)
            except _UnfitError as unfit:
                row = read.bad(self._number, cells, unfit)
            yield row

    def _records(self) -> Iterator[tuple[list[str], bool]]:
        """Cells, and whether the quotation marks went wrong.

        One that is never closed would swallow the rows after it, so then the line it opens in is a row of its own, and
        the others are read again.
        """
        reader, lines = self._reader, self._lines
        while True:
            lines.taken.clear()
            self._number += 1
            torn = False
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                first, *others = lines.taken
                lines.put_back(others)
                cells, torn = _read_alone(first), True
            yield cells, torn

    def _read_headings(self) -> list[str]:
        cells, torn = next(self._records(), ([], False))
        if cells:
            cells[0] = cells[0].removeprefix(_BYTE_ORDER_MARK)
        headings = [cell.strip() for cell in cells]
        written = _BETWEEN.join(headings)
        if written.startswith("PK\x03\x04"):
            raise FileRefused(IS_A_WORKBOOK)
        if _UNSTORABLE.search(written):
            raise FileRefused(NOT_UTF8)
        if torn or not any(headings) or len(headings) > _MOST_COLUMNS:
            raise FileRefused(EMPTY)
        missing = [heading for heading in columns.REQUIRED if heading not in headings]
        if missing:
            raise FileRefused(f"CSV missing required columns: {', '.join(missing)}")
        twice = [heading for heading, times in Counter(headings).items() if heading and times > 1]
        if twice:
            named = ", ".join(_shown(heading) for heading in twice[:3])
            raise FileRefused(f"CSV has more than one column called {named}. Rename or remove the ones not meant.")
        return headings


def phone_of(text: str) -> str:
    """A number in E.164 as somebody in the United States writes it; empty when it is none."""
    usual = _USUAL_PHONE.fullmatch(text)
    if usual:
        in_brackets, area, exchange, line = usual.groups()
        return f"+1{area or in_brackets}{exchange}{line}"
    if not text:
        return ""
    try:
        return phones.parse(text, region="US").e164
    except phones.PhoneError:
        return ""


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """What a clock in `zone` showed, in UTC. Raises ValueError for anything but MM-DD-YYYY HH:MM:SS.

    On the nights the clocks change: a time that comes twice is taken for the first (daylight time), and one that is
    skipped as if the clock had not been put forward yet (02:30 is 03:30).
    """
    written = _WRITTEN_DATE.fullmatch(text)
    if written is None:
        raise ValueError(text)
    month, day, year, hour, minute, second = map(int, written.groups())
    if year < _DAWN:
        raise ValueError(text)
    return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)


def natural_key(values: Sequence[str]) -> UUID:
    """What tells one row from another: 128 bits of SHA-256. `values` are those of a LeadRow, so no NUL is in them."""
    return UUID(bytes=hashlib.sha256("\0".join(_key_of(values)).casefold().encode()).digest()[:16])


def as_it_stood(row: dict[str, str]) -> list[tuple[str, str]]:
    """The cells of a BadRow's `row`, in our order of columns, the ones we do not know after them.

    For rows that were kept as JSON, which forgets the order.
    """
    ours = [(heading, row[heading]) for heading in _SOURCE if heading in row]
    others = sorted((heading, cell) for heading, cell in row.items() if heading not in columns.SOURCE)
    return ours + others


def safe_for_spreadsheets(cell: str) -> str:
    """Trimmed, with an apostrophe before what a spreadsheet would take for a formula; reading takes that off again."""
    trimmed = cell.strip()
    return f"'{trimmed}" if trimmed.startswith(tuple(TRIGGERS)) else trimmed


class _UnfitError(Exception):
    def __init__(self, kind: str, problem: str) -> None:
        super().__init__(problem)
        self.kind, self.problem = kind, problem


class _RowReader:
    """Makes rows of cells, for one order of headings."""

    def __init__(self, headings: Sequence[str], *, now: datetime, gold_columns: Sequence[str]) -> None:
        self._headings, self._width, self._now = headings, len(headings), now
        # A column the file has not is read from one cell more, which is always blank.
        self._pick = itemgetter(*(headings.index(name) if name in headings else self._width for name in _SOURCE))
        self._classify = classifier(headings, gold_columns=gold_columns)

    def lead(self, number: int, cells: list[str]) -> LeadRow:
        """Raises _UnfitError."""
        short = self._width - len(cells)
        if short < 0:
            _fail(
                f"this row has {len(cells)} cells under {self._width} headings."
                " A value with a comma in it needs quotation marks around it."
            )
        trimmed = [cell.strip() for cell in cells]
        trimmed.extend([""] * (short + 1))
        values: tuple[str, ...] = self._pick(trimmed)
        for heading, place in _REQUIRED:
            if not values[place]:
                raise _UnfitError(SKIPPED, f"Missing required field: {heading}")
        if _needs_a_closer_look(values):
            values = _looked_at_closely(values)
        state = places.spell_state(values[_STATE])
        if state != values[_STATE]:
            values = (*values[:_STATE], state, *values[_STATE + 1 :])
        phone, other_phone = values[_PHONE], values[_OTHER_PHONE]
        return LeadRow(
            number=number,
            values=values,
            state=state,
            county=values[_COUNTY],
            called_in_at=self._called_in_at(values[_DATE], state),
            classification=self._classify(trimmed),
            phone=phone_of(phone),
            other_phone=phone_of(other_phone),
            natural_key=natural_key(values),
        )

    def bad(self, number: int, cells: list[str], unfit: _UnfitError) -> BadRow:
        clean = [_UNSTORABLE.sub("\ufffd", cell) for cell in cells]
        row = {heading: "" for heading in self._headings if heading}
        for place, cell in enumerate(clean):
            heading = self._headings[place] if place < self._width else ""
            if heading or cell:
                row[heading or f"(cell {place + 1})"] = cell
        like_phones = (cell for cell in map(str.strip, clean) if _LIKE_A_PHONE.fullmatch(cell))
        numbers = dict.fromkeys(phone_of(cell) for cell in like_phones)
        return BadRow(number, unfit.kind, unfit.problem, row, tuple(number for number in numbers if number))

    def _called_in_at(self, text: str, state: str) -> datetime:
        try:
            moment = moment_of(text, places.zone_of(state))
        except (ValueError, OverflowError):
            _fail(f"Call In Date “{_shown(text)}” is not a date. Write it as {_HOW_DATES_LOOK}.")
        if moment > self._now:
            _fail(f"Call In Date “{_shown(text)}” is in the future. Write when they called, as {_HOW_DATES_LOOK}.")
        return moment


def _needs_a_closer_look(values: Sequence[str]) -> bool:
    """Quick, and rather once too often."""
    joined = _BETWEEN.join(values)
    return (
        len(joined) > LONGEST
        or len(values[_STATE]) > LONGEST_PLACE
        or len(values[_COUNTY]) > LONGEST_PLACE
        or "\0" in joined
        or _QUOTED in joined
        or joined[0] == "'"
        or not joined.isascii()
    )


def _looked_at_closely(values: Sequence[str]) -> tuple[str, ...]:
    """Raises _UnfitError."""
    seen = []
    for place, value in enumerate(values):
        if value[:1] == "'" and value[1:2] and value[1] in TRIGGERS:  # see `safe_for_spreadsheets`
            value = value[1:].strip()
        unstorable = _UNSTORABLE.search(value)
        if unstorable:
            what = "a zero byte" if unstorable[0] == "\0" else "a character that is not UTF-8"
            _fail(f"{_SOURCE[place]} “{_shown(value)}” has {what} in it. Write it again and save as CSV UTF-8.")
        longest = _LONGEST_AT.get(place, LONGEST)
        if len(value) > longest:
            _fail(
                f"{_SOURCE[place]} “{_shown(value)}…” is {len(value):,} characters long. Shorten it to {longest:,} or fewer."
            )
        seen.append(value)
    return tuple(seen)


def _fail(sentence: str) -> NoReturn:
    raise _UnfitError(FAILED, f"Failed to create Lead: {sentence}")


def _shown(value: str) -> str:
    return _UNSTORABLE.sub("\ufffd", value[:_SHOWN])


def _read_alone(line: str) -> list[str]:
    """A line whose quotation marks are wrong, as well as it can be read."""
    try:
        return next(csv.reader([line]))
    except csv.Error:  # a cell of more than 131,072 characters
        return [line]


class _Lines:
    """The lines of a file with their ends, of which the last few can be put back. Bytes that are not UTF-8 become
    characters that cannot be stored, so that only their row fails."""

    def __init__(self, file: IO[bytes]) -> None:
        self._fresh = _split(file)
        self._back: list[str] = []
        self.taken: list[str] = []

    def put_back(self, lines: Sequence[str]) -> None:
        self._back.extend(reversed(lines))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.pop() if self._back else next(self._fresh).decode("utf-8", "surrogateescape")
        self.taken.append(line)
        return line


def _split(file: IO[bytes]) -> Iterator[bytes]:
    carried = b""
    while block := file.read(_BLOCK):
        lines = (carried + block).splitlines(keepends=True)
        carried = lines.pop()  # it may go on in the next block, be it by the \n of a \r\n
        yield from lines
        if len(carried) > _LONGEST_LINE:
            yield carried
            carried = b""
    if carried:
        yield carried
