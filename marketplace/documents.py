"""Invoices on paper: a PDF on US Letter, and the same lines as CSV. What is on them is handed in; the same gives the same
bytes.

The PDF carries its typeface: Bitstream Vera, which comes with the PDF library and has the letters of English, the
languages of western Europe and Turkish. A character it has no shape for is never left out: MARK stands in its place, a
line says so, and the CSV has every name in full.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any, Final

from reportlab.lib.colors import HexColor  # type: ignore[import-untyped]
from reportlab.lib.pagesizes import letter  # type: ignore[import-untyped]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from marketplace.pricing import say_money
from marketplace.sanitising import clean

MARK: Final = "◊"
MARK_EXPLAINED: Final = f"{MARK} stands for a character that this page cannot show. The CSV of this invoice has it."


@dataclass(frozen=True, slots=True)
class Party:
    """Who sells, who buys; `lines` are what stands below the name: an address, an e-mail."""

    name: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PaperLine:
    """`quantity` is of leads; 0 for what is not counted in leads. `amount` is below zero for a credit."""

    on: date
    text: str
    quantity: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class InvoicePaper:
    """All dates are of the buyer's calendar, `first_day` and `last_day` both included. Amounts are US dollars."""

    number: str
    seller: Party
    buyer: Party
    issued_on: date
    due_on: date
    first_day: date
    last_day: date
    lines: tuple[PaperLine, ...]
    total: Decimal
    terms: str


# --- CSV ---------------------------------------------------------------------------------------------------------------

_HEADINGS: Final = ("Invoice", "Buyer", "Issued On", "Due On", "Date", "Description", "Leads", "Amount (USD)")


def invoice_csv(paper: InvoicePaper) -> str:
    """One row for every line, RFC 4180, cleaned for spreadsheets. No row for the total: the amounts add up to it."""
    text = io.StringIO(newline="")
    write = csv.writer(text, lineterminator="\r\n").writerow
    write(_HEADINGS)
    for line in paper.lines:
        write(
            [
                paper.number, clean(paper.buyer.name).text, paper.issued_on.isoformat(), paper.due_on.isoformat(),
                line.on.isoformat(), clean(line.text).text, line.quantity or "", f"{line.amount:.2f}",
            ]
        )  # fmt: skip
    return text.getvalue()


# --- PDF ---------------------------------------------------------------------------------------------------------------
# Distances are points (72 to the inch), from the lower left corner as PDF counts.

_WIDTH, _HEIGHT = letter
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, _WIDTH - 54, _HEIGHT - 54, 72
_DATE, _TEXT, _LEADS = _LEFT + 8, _LEFT + 92, _RIGHT - 100  # the columns; amounts end at _RIGHT - 8
_TEXT_WIDTH = _LEADS - 50 - _TEXT
_BLOCK_WIDTH = 310  # names and addresses, on the left
_LEADING = 13
_PLAIN, _BOLD = "Vera", "VeraBd"
_INK, _MUTED, _ACCENT = HexColor("#142020"), HexColor("#4d5b5b"), HexColor("#0a666d")
_TINT, _LINE = HexColor("#ebefef"), HexColor("#d7dede")


def invoice_pdf(paper: InvoicePaper) -> bytes:
    """As many pages as it takes, each with the headings of the table and its number."""
    shapes = _shapes()
    pages = _Press(paper, shapes).run()
    press = _Press(paper, shapes, pages=pages)
    press.run()
    return press.out.getvalue()


@cache
def _shapes() -> frozenset[str]:
    """Loads the typeface. The characters it has, regular and bold."""
    for name in (_PLAIN, _BOLD):
        pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
    plain, bold = (pdfmetrics.getFont(name).face.charToGlyph for name in (_PLAIN, _BOLD))
    return frozenset(chr(code) for code in plain.keys() & bold.keys())


@dataclass
class _Press:
    """Prints an invoice from top to bottom; `y` is where the next thing goes. How many pages there are is known after
    the first run, and printed in the second."""

    paper: InvoicePaper
    shapes: frozenset[str]
    pages: int = 0
    out: io.BytesIO = field(default_factory=io.BytesIO)
    y: float = _TOP
    marked: bool = False

    def __post_init__(self) -> None:
        self.canvas: Any = Canvas(self.out, pagesize=letter, initialFontName=_PLAIN, invariant=True)

    def run(self) -> int:
        paper, canvas = self.paper, self.canvas
        canvas.setTitle(f"Invoice {paper.number} for {paper.buyer.name}")
        canvas.setAuthor(paper.seller.name)
        self._letterhead()
        self._table_head()
        for line in paper.lines:
            self._line(line)
        self._closing()
        self._foot()
        pages: int = canvas.getPageNumber()
        canvas.save()
        return pages

    def _letterhead(self) -> None:
        paper = self.paper
        self._say(_RIGHT, self.y - 18, "Invoice", size=22, right=True)
        self._say(_RIGHT, self.y - 36, paper.number, bold=True, size=11, ink=_MUTED, right=True)
        lowest = self.y - 46
        self.y -= 14
        self._block(paper.seller.name, size=15, leading=18, bold=True, ink=_ACCENT)
        for text in paper.seller.lines:
            self._block(text, size=8.5, leading=12, ink=_MUTED)
        self.y = min(self.y, lowest) - 4
        self._rule()
        self.y -= 22
        meta = (
            ("Issued", _say_date(paper.issued_on)),
            ("For", f"{_say_date(paper.first_day)} – {_say_date(paper.last_day)}"),
            ("Due", _say_date(paper.due_on)),
            ("Amount", say_money(paper.total)),
        )
        below = self.y
        for label, text in meta:
            self._say(_RIGHT - 172, below, label, size=8.5, ink=_MUTED)
            self._say(_RIGHT, below, text, size=9, bold=label in ("Due", "Amount"), right=True)
            below -= 15
        self._block("Bill to", size=8.5, leading=15, ink=_MUTED)
        self._block(paper.buyer.name, size=11, leading=14, bold=True)
        for text in paper.buyer.lines:
            self._block(text, size=9, leading=12)
        self.y = min(self.y, below) - 14

    def _table_head(self) -> None:
        self.canvas.setFillColor(_TINT)
        self.canvas.rect(_LEFT, self.y - 7, _RIGHT - _LEFT, 20, stroke=0, fill=1)
        self._say(_DATE, self.y, "Date", bold=True, size=8.5)
        self._say(_TEXT, self.y, "Description", bold=True, size=8.5)
        self._say(_LEADS, self.y, "Leads", bold=True, size=8.5, right=True)
        self._say(_RIGHT - 8, self.y, "Amount", bold=True, size=8.5, right=True)
        self.y -= 23

    def _line(self, line: PaperLine) -> None:
        texts = list(self._wrapped(line.text, width=_TEXT_WIDTH, size=9)) or [""]
        if self.y - _LEADING * (len(texts) - 1) < _BOTTOM:
            self._next_page()
            self._table_head()
        self._say(_DATE, self.y, _say_date(line.on), size=9, ink=_MUTED)
        self._say(_LEADS, self.y, f"{line.quantity:,}" if line.quantity else "", size=9, right=True)
        self._say(_RIGHT - 8, self.y, say_money(line.amount), size=9, right=True)
        for text in texts:
            self._say(_TEXT, self.y, text, size=9)
            self.y -= _LEADING
        self.y += 6
        self._rule()
        self.y -= 13

    def _closing(self) -> None:
        terms = list(self._wrapped(self.paper.terms, width=_RIGHT - _LEFT, size=9))
        if self.y - 36 - _LEADING * len(terms) < _BOTTOM:
            self._next_page()
        self.y -= 8
        self._say(_LEADS, self.y, "Total due", bold=True, size=11, right=True)
        self._say(_RIGHT - 8, self.y, say_money(self.paper.total), bold=True, size=11, ink=_ACCENT, right=True)
        self.y -= 36
        for text in terms:
            self._say(_LEFT, self.y, text, size=9)
            self.y -= _LEADING
        if self.marked:
            self._say(_LEFT, self.y - 4, MARK_EXPLAINED, size=8, ink=_MUTED)

    def _next_page(self) -> None:
        self._foot()
        self.canvas.showPage()
        self.y = _TOP
        name = list(self._wrapped(self.paper.buyer.name, width=_BLOCK_WIDTH, size=8.5))
        self._say(_LEFT, self.y, f"{name[0]} …" if len(name) > 1 else "".join(name), size=8.5, ink=_MUTED)
        self._say(_RIGHT, self.y, f"Invoice {self.paper.number}", size=8.5, ink=_MUTED, right=True)
        self.y -= 28

    def _foot(self) -> None:
        page = f"{self.paper.seller.name} · {self.paper.number} · Page {self.canvas.getPageNumber()} of {self.pages}"
        self._say(_RIGHT, 36, page, size=8, ink=_MUTED, right=True)

    def _rule(self) -> None:
        self.canvas.setStrokeColor(_LINE)
        self.canvas.setLineWidth(0.5)
        self.canvas.line(_LEFT, self.y, _RIGHT, self.y)

    def _block(self, text: str, *, size: float, leading: float, bold: bool = False, ink: Any = _INK) -> None:
        for line in self._wrapped(text, width=_BLOCK_WIDTH, size=size, bold=bold):
            self._say(_LEFT, self.y, line, size=size, bold=bold, ink=ink)
            self.y -= leading

    def _say(
        self, x: float, y: float, text: str, *, size: float, bold: bool = False, ink: Any = _INK, right: bool = False
    ) -> None:
        self.canvas.setFont(_BOLD if bold else _PLAIN, size)
        self.canvas.setFillColor(ink)
        (self.canvas.drawRightString if right else self.canvas.drawString)(x, y, self._drawable(text))

    def _wrapped(self, text: str, *, width: float, size: float, bold: bool = False) -> Iterator[str]:
        """Lines no wider than `width`, broken between words, and inside a word that is longer than a line."""
        font = _BOLD if bold else _PLAIN
        line = ""
        for word in self._drawable(text).split():
            longer = f"{line} {word}" if line else word
            if pdfmetrics.stringWidth(longer, font, size) <= width:
                line = longer
                continue
            if line:
                yield line
            line = word
            while pdfmetrics.stringWidth(line, font, size) > width:
                fits = len(line) - 1
                while pdfmetrics.stringWidth(line[:fits], font, size) > width:
                    fits -= 1
                yield line[:fits]
                line = line[fits:]
        if line:
            yield line

    def _drawable(self, text: str) -> str:
        """With MARK for what the typeface cannot draw; breaks and tabs become spaces."""
        letters = unicodedata.normalize("NFC", " ".join(text.split()))
        drawable = "".join(letter if letter in self.shapes else MARK for letter in letters)
        self.marked = self.marked or drawable != letters
        return drawable


def _say_date(day: date) -> str:
    return f"{day:%b} {day.day}, {day.year}"
