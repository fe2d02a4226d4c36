"""Rows into files: CSV for spreadsheets, CSV for programs, Excel. One row at a time, however long the file.

Both CSVs are RFC 4180 in UTF-8: commas, CRLF, quotes where they are needed, nothing where there is no value, moments as
2026-11-18T15:00:00+00:00, money as 8.00.

Neither begins with a byte order mark: programs that read the download by its headings would take the mark for a part of
the first one. Excel opened by a double-click then misreads accents, and where it expects semicolons it takes those inside
a value for the ends of cells. Whoever works in Excel takes the Excel file.

The same rows give the same bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import IO, Any, Final
from uuid import UUID

import xlsxwriter  # type: ignore[import-untyped]
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]

from marketplace.columns import SOLD, Column
from marketplace.sanitising import Cell, clean

Value = str | Decimal | datetime | UUID | None
Row = Sequence[Value]
Cleaned = Callable[[Column, str, Cell], None]  # told of every cell that lost something: column, as it was, as it is

# Said with every file of leads. Plain ASCII, so that it fits into an HTTP header as well.
NO_TEXTING_CONSENT: Final = (
    "A bought lead carries no permission to text. Text these people only after they have agreed to it with you."
)
WHY_NO_TEXTING: Final = (
    "They called in to somebody else, 3 months ago or longer. Whatever they agreed to then, they did not agree to texts"
    " from you; carriers do not accept consent that was bought or shared.",
    "Numbers change hands. Whoever has this number today may never have called anybody.",
    "Before you call, check the number against the Do Not Call registry and your own list, and look at the clock where"
    " they live: 8 am to 9 pm.",
    "When one of them asks not to be contacted, stop, and tell us. We tell you when they ask us (see Recalls).",
)

_LONGEST_CELL: Final = 32_767  # UTF-16 units; Excel's limit, beyond which it calls a file broken
_CUT: Final = " [cut: longer than Excel allows; whole in the CSV files]"
_WIDTHS: Final = {"money": 14, "moment": 20, "phone": 20}  # in characters
_ID_WIDTH: Final = 38


# --- CSV ---------------------------------------------------------------------------------------------------------------


def write_csv(rows: Iterable[Row], to: IO[bytes], *, cleaned: Cleaned, columns: Sequence[Column] = SOLD) -> None:
    """For spreadsheets: cells are cleaned (see `sanitising`), and `cleaned` is told of each that lost something."""

    def cell(column: Column, value: Value) -> str:
        if not isinstance(value, str):
            return _say(value)
        clean_cell = clean(value, kind=column.kind)
        if clean_cell.stripped:
            cleaned(column, value, clean_cell)
        return clean_cell.text

    _write_csv(([cell(column, value) for column, value in zip(columns, row, strict=True)] for row in rows), to, columns)


def write_machine_csv(rows: Iterable[Row], to: IO[bytes], *, columns: Sequence[Column] = SOLD) -> None:
    """For programs: every value as it is. Opened in a spreadsheet, what looks like a formula would be worked out."""
    _write_csv(([_say(value) for value in row] for row in rows), to, columns)


def _write_csv(rows: Iterable[list[str]], to: IO[bytes], columns: Sequence[Column]) -> None:
    text = io.TextIOWrapper(to, encoding="utf-8", newline="")  # the csv module writes its own ends of lines
    csv.writer(text, lineterminator="\r\n").writerows(chain([[column.heading for column in columns]], rows))
    text.detach()  # flushes, and leaves `to` open for its owner


def _say(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)


# --- Excel -------------------------------------------------------------------------------------------------------------


class _PlainSheet(Worksheet):  # type: ignore[misc,unused-ignore]  # the library ships no types
    """Text is text. The library takes a string between <r> and </r> for XML of its own making and writes it as it is,
    which would let a value bring its own cells, and formulas in them."""

    def _xml_rich_inline_string(self, string: str, attributes: list[tuple[str, Any]]) -> None:
        self._xml_inline_string(string, True, attributes)


def write_xlsx(
    rows: Iterable[Row], to: IO[bytes], *, made_at: datetime, about: str, columns: Sequence[Column] = SOLD
) -> None:
    """For Excel: text cells that are never formulas or links, prices as numbers, moments as dates in UTC.

    A second sheet says what the file is (`about`) and what its leads do not bring with them. Rows wait in a temporary
    file until the end, so memory does not grow with them.
    """
    book = xlsxwriter.Workbook(
        to,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    book.set_properties({"title": "Leads", "created": _naive(made_at)})
    _write_leads(book, rows, columns)
    _write_notes(book, about)
    book.close()


def _write_leads(book: Any, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    sheet = book.add_worksheet("Leads", worksheet_class=_PlainSheet)
    bold, money = book.add_format({"bold": True}), book.add_format({"num_format": "$#,##0.00"})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    for place, column in enumerate(columns):
        sheet.set_column(place, place, _width(column))
        sheet.write_string(0, place, column.heading, bold)
    sheet.freeze_panes(1, 0)
    last = 0
    for last, row in enumerate(rows, start=1):
        for place, value in enumerate(row):
            if isinstance(value, Decimal):
                sheet.write_number(last, place, value, money)
            elif isinstance(value, datetime):
                sheet.write_datetime(last, place, _naive(value), moment)
            elif value is not None and value != "":
                sheet.write_string(last, place, _fit(str(value)))
    sheet.autofilter(0, 0, last, len(columns) - 1)


def _write_notes(book: Any, about: str) -> None:
    sheet = book.add_worksheet("Read me", worksheet_class=_PlainSheet)
    heading = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    text = book.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, 0, 100)
    for place, sentence in enumerate((NO_TEXTING_CONSENT, *WHY_NO_TEXTING, about)):
        sheet.write_string(place, 0, sentence, text if place else heading)


def _width(column: Column) -> int:
    if column.path.rpartition(".")[2] == "id":
        return _ID_WIDTH
    return max(_WIDTHS.get(column.kind, 0), len(column.heading) + 4)


def _fit(text: str) -> str:
    if len(text) * 2 <= _LONGEST_CELL or len(text.encode("utf-16-le")) <= _LONGEST_CELL * 2:
        return text
    room = (_LONGEST_CELL - len(_CUT)) * 2  # bytes
    return text.encode("utf-16-le")[:room].decode("utf-16-le", "ignore") + _CUT


def _naive(moment: datetime) -> datetime:
    """In UTC: Excel knows no zones."""
    return moment.astimezone(UTC).replace(tzinfo=None)
