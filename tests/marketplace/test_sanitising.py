"""What a spreadsheet may find in a cell."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace import writers
from marketplace.columns import SOLD, Column
from marketplace.sanitising import TRIGGERS, Cell, clean

COLUMNS = (Column("Full Name", "lead.full_name"), Column("Borrower Phone", "lead.borrower_phone", "phone"))
# One of each way to be mistaken for something else.
TRICKY = [
    "=1+1",
    "+15551234567",
    "-5",
    "@x",
    "\t=1",
    '"a";=1',
    'She said "no", twice',
    "12 Oak St\nApt 4",
    "12 Oak St\r\nApt 4\rBack door",
    "Žofie 株式会社 👩‍🔧",
    " spaces kept ",
    "https://example.com/",
    "007",
    "_x0041_ is not A",
    "<r><t>x</t></r>",
    "<r></t></is></c><c><f>1+1</f></c></r>",
    "\x01\x0b\ufffe",
]
DECEMBER = datetime(2026, 12, 1, 6, 0, tzinfo=UTC)


# --- The rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text", "stripped"),
    [
        ("=1+1", "1+1", "="),
        ("@SUM(A1:A10)", "SUM(A1:A10)", "@"),
        ("-5551234567", "5551234567", "-"),  # a phone number, whatever the column is called
        ("=-+@cmd", "cmd", "=-+@"),
        ("= =1", "1", "= ="),
        ("=\t\r\n-1", "1", "=\t\r\n-"),
        ("+1-1", "1-1", "+"),
        ("+0123456789", "0123456789", "+"),  # no E.164 number begins with 0
        ("+1234567890123456", "1234567890123456", "+"),  # nor has one 16 digits
        ("+٣٣٣٣٣٣٣٣", "٣٣٣٣٣٣٣٣", "+"),
        ("-", "", "-"),
        ("==", "", "=="),
        ("-1e5", "1e5", "-"),
    ],
)
def test_what_looks_like_a_formula_loses_its_beginning(value, text, stripped):
    assert clean(value) == Cell(text, stripped)


@pytest.mark.parametrize(
    "value", ["+15551234567", "+1234567", "-5", "-12.50", "-123456", "-1234567.5", "$100,000", "a=b"]
)
def test_phone_numbers_and_plain_numbers_stay_as_they_are(value):
    assert clean(value) == Cell(value)


def test_a_dash_before_seven_digits_is_a_phone_number_and_a_number_where_there_is_money():
    assert clean("-1250000") == Cell("1250000", "-")
    assert clean("-1250000", kind="money") == Cell("-1250000")
    assert clean("-5", kind="phone") == Cell("5", "-")
    assert clean("+15551234567", kind="phone") == Cell("+15551234567")


@pytest.mark.parametrize("value", ["  Jane ", "\tJane\r\n", "\xa0Jane"])
def test_trimming_is_not_counted_as_cleaning(value):
    assert clean(value) == Cell("Jane")


def test_a_tab_in_front_of_a_formula_goes_with_the_trimming():
    assert clean("\t=1") == Cell("1", "=")


@given(
    st.text(alphabet=st.sampled_from("=+-@\t\r\n .,1234567890aé'\"\x0b\u2003"), max_size=20),
    st.sampled_from(["text", "phone"]),
)
def test_no_cell_begins_like_a_formula_unless_it_is_a_phone_or_a_number(value, kind):
    text = clean(value, kind=kind).text
    assert not text.startswith(tuple(TRIGGERS)) or re.fullmatch(r"\+[1-9]\d{6,14}|-\d{1,6}|-\d+\.\d+", text)
    assert text == text.strip()
    assert clean(text, kind=kind) == Cell(text)


# --- The files -------------------------------------------------------------------------------------------------------


def as_csv(rows, columns=COLUMNS):
    file, told = io.BytesIO(), []
    writers.write_csv(rows, file, columns=columns, cleaned=lambda *what: told.append(what))
    return file.getvalue(), told


def as_machine_csv(rows, columns=COLUMNS):
    file = io.BytesIO()
    writers.write_machine_csv(rows, file, columns=columns)
    return file.getvalue()


def as_xlsx(rows, columns=COLUMNS, about="Two leads."):
    file = io.BytesIO()
    writers.write_xlsx(rows, file, columns=columns, made_at=DECEMBER, about=about)
    return file.getvalue()


def parsed(content):
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def sheet(content, number=1):
    """The cells of a sheet by their place: text as str, numbers as Decimal. Fails on a formula."""
    name = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        root = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))  # noqa: S314 - our own file
    assert root.findall(f".//{name}f") == []
    found = {}
    for cell in root.iter(f"{name}c"):
        if cell.get("t") == "inlineStr":
            text = "".join(part.text or "" for part in cell.iter(f"{name}t"))
            found[cell.get("r")] = re.sub(r"_x([0-9A-F]{4})_", lambda hit: chr(int(hit.group(1), 16)), text)
        else:
            found[cell.get("r")] = Decimal(cell.find(f"{name}v").text)
    return found


def test_a_csv_for_spreadsheets_is_cleaned_and_tells_of_every_cell_that_lost_something():
    content, told = as_csv([["=1+1", "+15551234567"], ["\t=1", "-5551234567"], ['"a";=1', None]])
    assert content == (b'Full Name,Borrower Phone\r\n1+1,+15551234567\r\n1,5551234567\r\n"""a"";=1",\r\n')
    assert told == [
        (COLUMNS[0], "=1+1", Cell("1+1", "=")),
        (COLUMNS[0], "\t=1", Cell("1", "=")),
        (COLUMNS[1], "-5551234567", Cell("5551234567", "-")),
    ]


def test_a_csv_for_programs_gives_back_what_went_in():
    rows = [[value, value] for value in TRICKY]
    assert parsed(as_machine_csv(rows)) == [["Full Name", "Borrower Phone"], *rows]


def test_an_excel_file_gives_back_what_went_in():
    cells = sheet(as_xlsx([[value, value] for value in TRICKY]))
    assert [cells[f"A{row}"] for row in range(2, len(TRICKY) + 2)] == [
        cells[f"B{row}"] for row in range(2, len(TRICKY) + 2)
    ]
    assert [cells[f"A{row}"] for row in range(2, len(TRICKY) + 2)] == TRICKY


def test_values_that_are_not_text_are_written_the_same_way_in_both_csvs():
    chicago = timezone(timedelta(hours=-6))
    row = [Decimal("8.00"), datetime(2026, 12, 1, 0, 0, tzinfo=chicago), None, Decimal("-12.50")]
    columns = (
        Column("Price", "price", "money"), Column("At", "sold_at", "moment"), Column("City", "c"), Column("Back", "b", "money")
    )  # fmt: skip
    expected = b"Price,At,City,Back\r\n8.00,2026-12-01T06:00:00+00:00,,-12.50\r\n"
    assert as_csv([row], columns) == (expected, [])
    assert as_machine_csv([row], columns) == expected


def test_neither_csv_begins_with_a_byte_order_mark():
    assert (
        as_csv([["José", ""]])[0] == as_machine_csv([["José", ""]]) == "Full Name,Borrower Phone\r\nJosé,\r\n".encode()
    )


def test_an_excel_file_has_prices_as_numbers_and_moments_as_dates():
    columns = (Column("Price", "price", "money"), Column("At", "sold_at", "moment"), Column("ZIP", "lead.zip"))
    content = as_xlsx([[Decimal("8.10"), DECEMBER, "00501"]], columns)
    assert sheet(content) == {
        "A1": "Price", "B1": "At", "C1": "ZIP", "A2": Decimal("8.1"), "B2": Decimal("46357.25"), "C2": "00501"
    }  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        styles, first = book.read("xl/styles.xml").decode(), book.read("xl/worksheets/sheet1.xml").decode()
    assert 'formatCode="yyyy-mm-dd hh:mm:ss"' in styles
    assert 'formatCode="$#,##0.00"' in styles
    assert '<pane ySplit="1"' in first  # the headings stay in sight


def test_an_excel_file_says_that_its_leads_may_not_be_texted():
    assert list(sheet(as_xlsx([], about="No leads."), 2).values()) == [
        writers.NO_TEXTING_CONSENT, *writers.WHY_NO_TEXTING, "No leads."
    ]  # fmt: skip
    assert writers.NO_TEXTING_CONSENT.isascii()  # it goes into a header, too


def test_text_too_long_for_excel_is_cut_and_says_so():
    fits, longer = "é" * 32_767, "🎉" * 16_384
    cells = sheet(as_xlsx([[fits, longer]]))
    assert cells["A2"] == fits
    assert cells["B2"] == "🎉" * 16_355 + " [cut: longer than Excel allows; whole in the CSV files]"


def test_the_same_rows_give_the_same_bytes():
    rows = [[value, None] for value in TRICKY]
    assert as_xlsx(rows) == as_xlsx(rows)
    assert as_machine_csv(rows) == as_machine_csv(rows)


def test_a_buyers_file_has_33_columns():
    assert len(SOLD) == 33
    assert parsed(as_machine_csv([], SOLD)) == [[column.heading for column in SOLD]]
