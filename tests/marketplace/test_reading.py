"""What a row of a file says, and what is wrong with one that cannot be taken."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm import phones
from marketplace import reading
from marketplace.classification import GOLD_COLUMNS
from marketplace.columns import SOURCE
from marketplace.reading import BadRow, FileRefused, LeadFile, LeadRow
from tests.conftest import NOW
from tests.marketplace.lead_files import ROW, a_row, csv_bytes, csv_text

HEADINGS = tuple(SOURCE)
HOW = "Write it as MM-DD-YYYY HH:MM:SS, like 01-31-2025 14:05:00."


def read(data: bytes | str, *, after: int = 0) -> list[LeadRow | BadRow]:
    file = LeadFile(io.BytesIO(data.encode() if isinstance(data, str) else data))
    file.pass_over(after)
    return list(file.rows(now=NOW, gold_columns=GOLD_COLUMNS))


def read_one(**cells: str) -> LeadRow:
    [row] = read(csv_bytes([a_row(**cells)]))
    assert isinstance(row, LeadRow), row
    return row


def read_bad(**cells: str) -> BadRow:
    [row] = read(csv_bytes([a_row(**cells)]))
    assert isinstance(row, BadRow), row
    return row


def values(row: LeadRow | BadRow) -> dict[str, str]:
    assert isinstance(row, LeadRow), row
    return dict(zip(SOURCE, row.values, strict=True))


# --- A row that can become a lead --------------------------------------------------------------------------------------


def test_a_row_is_taken_as_it_stands() -> None:
    [row] = read(csv_bytes([ROW]))
    assert isinstance(row, LeadRow)
    assert values(row) == ROW
    assert (row.number, row.state, row.county, row.classification) == (2, "LA", "Caddo", "Gold")
    assert (row.phone, row.other_phone) == ("+13185550123", "+13185550142")
    assert row.called_in_at == datetime(2025, 1, 15, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "written", "utc"),
    [
        ("LA", "01-15-2025 10:00:00", datetime(2025, 1, 15, 16, 0, 0, tzinfo=UTC)),
        ("LA", "06-09-2025 15:55:13", datetime(2025, 6, 9, 20, 55, 13, tzinfo=UTC)),
        ("la", "06-09-2025 15:55:13", datetime(2025, 6, 9, 20, 55, 13, tzinfo=UTC)),
        ("DC", "01-15-2025 10:00:00", datetime(2025, 1, 15, 15, 0, 0, tzinfo=UTC)),
        ("HI", "01-15-2025 10:00:00", datetime(2025, 1, 15, 20, 0, 0, tzinfo=UTC)),
        ("HI", "07-15-2025 10:00:00", datetime(2025, 7, 15, 20, 0, 0, tzinfo=UTC)),
        ("AZ", "01-15-2025 10:00:00", datetime(2025, 1, 15, 17, 0, 0, tzinfo=UTC)),
        ("AZ", "07-15-2025 10:00:00", datetime(2025, 7, 15, 17, 0, 0, tzinfo=UTC)),
        ("Ontario", "07-15-2025 10:00:00", datetime(2025, 7, 15, 10, 0, 0, tzinfo=UTC)),
        ("LA", "03-09-2025 01:59:59", datetime(2025, 3, 9, 7, 59, 59, tzinfo=UTC)),
        (
            "LA",
            "03-09-2025 02:30:00",
            datetime(2025, 3, 9, 8, 30, 0, tzinfo=UTC),
        ),  # skipped that night: half past three
        ("LA", "03-09-2025 03:00:00", datetime(2025, 3, 9, 8, 0, 0, tzinfo=UTC)),
        ("LA", "11-02-2025 01:30:00", datetime(2025, 11, 2, 6, 30, 0, tzinfo=UTC)),  # came twice: the first
        ("LA", "11-02-2025 02:00:00", datetime(2025, 11, 2, 8, 0, 0, tzinfo=UTC)),
        ("LA", "02-29-2024 00:00:00", datetime(2024, 2, 29, 6, 0, 0, tzinfo=UTC)),
    ],
)
def test_the_call_in_date_is_what_the_clock_of_the_state_showed(state: str, written: str, utc: datetime) -> None:
    row = read_one(state=state, call_in_date=written)
    assert row.called_in_at == utc
    assert row.called_in_at.utcoffset() == timedelta(0)
    assert values(row)["Call In Date"] == written


def test_values_are_trimmed_and_a_postal_code_is_written_in_capitals() -> None:
    row = read_one(state=" la ", full_name="  Ann Lee\t", city="\u00a0Monroe ", lender="   ")
    assert (row.state, values(row)["State"]) == ("LA", "LA")
    assert (values(row)["Full Name"], values(row)["City"], values(row)["Lender"]) == ("Ann Lee", "Monroe", "")


def test_a_place_we_do_not_know_stays_as_it_was_typed() -> None:
    assert read_one(state=" New south  Wales ").state == "New south  Wales"


def test_columns_may_stand_in_any_order_between_others_and_with_spaces_around_their_headings() -> None:
    text = csv_text([ROW | {"Weather": "rain"}], headings=[*reversed(HEADINGS), "Weather"])
    first, rest = text.split("\r\n", 1)
    [row] = read(" , ".join(first.split(",")) + "\r\n" + rest)
    assert values(row) == ROW


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r"])
def test_a_byte_order_mark_and_any_line_ends_are_fine(ends: str) -> None:
    text = csv_text([a_row(1), a_row(2)]).replace("\r\n", ends)
    rows = read(b"\xef\xbb\xbf" + text.encode())
    assert [values(row)["Mortage ID"] for row in rows] == ["M-1", "M-2"]


def test_two_columns_are_enough() -> None:
    [row] = read("State,Call In Date\nLA,01-15-2025 10:00:00\n")
    assert {name: value for name, value in values(row).items() if value} == {
        "State": "LA", "Call In Date": "01-15-2025 10:00:00",
    }  # fmt: skip
    assert isinstance(row, LeadRow)
    assert (row.classification, row.phone, row.other_phone) == ("Silver", "", "")


def test_a_row_that_ends_early_has_blank_cells_and_is_silver() -> None:
    cells = csv_text([ROW]).splitlines()[1].rsplit(",", 3)[0]  # without Co-Borrower ?, Borrower Phone and Source
    [row] = read(f"{','.join(HEADINGS)}\n{cells}\n")
    assert values(row) == ROW | {"Co-Borrower ?": "", "Borrower Phone": "", "Source": ""}
    assert isinstance(row, LeadRow)
    assert row.classification == "Silver"


def test_an_installation_may_ask_for_other_columns_even_such_that_we_do_not_keep() -> None:
    data = csv_bytes([ROW | {"Email": "a@b.example"}, ROW], headings=[*HEADINGS, "Email"])
    rows = LeadFile(io.BytesIO(data)).rows(now=NOW, gold_columns=["Email"])
    assert [row.classification for row in rows if isinstance(row, LeadRow)] == ["Gold", "Silver"]


@pytest.mark.parametrize("heading", GOLD_COLUMNS)
def test_a_lead_with_one_of_the_six_left_blank_is_silver(heading: str) -> None:
    [row] = read(csv_bytes([ROW | {heading: "  "}]))
    assert isinstance(row, LeadRow)
    assert row.classification == "Silver"


# --- Telling rows apart ------------------------------------------------------------------------------------------------


def test_the_natural_key_ignores_case_and_spaces_and_what_was_filled_in_since() -> None:
    first = read_one(full_name="John Moore", borrower_age="")
    again = read_one(full_name=" JOHN MOORE ", borrower_age="45", city="Monroe", state="la")
    assert again.natural_key == first.natural_key


@pytest.mark.parametrize(
    "cells",
    [
        {"mortgage_id": "M-9"}, {"call_in_date": "01-15-2025 10:00:01"}, {"state": "TX"}, {"full_name": "Jon"},
        {"first_name": "Jon"}, {"last_name": "More"}, {"zip": "71102"}, {"borrower_phone": "3185550199"},
        {"call_in_phone_number": "3185550199"}, {"first_name": "JohnMoore", "last_name": ""},
    ],
)  # fmt: skip
def test_rows_that_differ_in_one_of_its_columns_are_two_leads(cells: dict[str, str]) -> None:
    assert read_one(**cells).natural_key != read_one().natural_key


# --- Numbers -----------------------------------------------------------------------------------------------------------


def said_by_the_library(text: str) -> str:
    try:
        return phones.parse(text, region="US").e164
    except phones.PhoneError:
        return ""


_digits = st.text("0123456789", min_size=3, max_size=4)
_numbers = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "1", "+1", "1 ", "1-", "+1 ", "+", "0", "+1."]),
        st.sampled_from(["318", "(318)", "800", "(211)", "118", "018", "(318", "318)", "999", "555"]),
        st.sampled_from(["", " ", "-", ".", "--", " - "]),
        _digits, st.sampled_from(["", " ", "-", "."]), _digits, st.sampled_from(["", " ext. 5", "x", " "]),
    ),
)  # fmt: skip


@given(_numbers)
def test_the_short_way_reads_numbers_as_the_library_does(text: str) -> None:
    assert reading.phone_of(text) == said_by_the_library(text)


@pytest.mark.parametrize(
    ("text", "e164"),
    [
        ("3185550123", "+13185550123"), ("13185550123", "+13185550123"), ("+1 (318) 555-0123", "+13185550123"),
        ("318.555.0123", "+13185550123"), ("+44 20 7946 0018", "+442079460018"), ("318 555 0123 ext. 4", "+13185550123"),
        ("", ""), ("unknown", ""), ("555-0123", ""), ("123", ""), ("3" * 70, ""),
    ],
)  # fmt: skip
def test_what_is_no_number_is_no_reason_to_refuse_the_row(text: str, e164: str) -> None:
    assert said_by_the_library(text) == e164
    row = read_one(borrower_phone=text, call_in_phone_number=text)
    assert (row.phone, row.other_phone) == (e164, e164)
    assert values(row)["Borrower Phone"] == text


# --- Cells that spreadsheets would work out ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("'=1+1", "=1+1"), ("'-5", "-5"), ("'+15551234567", "+15551234567"), ("'@x", "@x"), ("'\t=1", "=1"),
        ("'\r\nx", "x"), ("=1+1", "=1+1"), ("''=1", "''=1"), ("'tis", "'tis"), ("'", "'"), ("O'Hara", "O'Hara"),
    ],
)  # fmt: skip
def test_one_apostrophe_before_a_formula_was_put_there_for_spreadsheets(cell: str, value: str) -> None:
    assert values(read_one(full_name=cell))["Full Name"] == value
    assert values(read_one(mortgage_id=cell))["Mortage ID"] == value


@given(st.text(st.sampled_from("'=+-@\t\r\n aé\"\\,"), max_size=6))
def test_made_safe_for_a_spreadsheet_a_cell_reads_as_before(cell: str) -> None:
    safe = reading.safe_for_spreadsheets(cell)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert values(read_one(city=safe)) == values(read_one(city=cell))


# --- Rows that cannot be taken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"state": ""}, "Missing required field: State"),
        ({"state": " \t "}, "Missing required field: State"),
        ({"call_in_date": ""}, "Missing required field: Call In Date"),
        ({"state": "", "call_in_date": ""}, "Missing required field: State"),
    ],
)
def test_a_row_without_a_required_value_is_skipped(cells: dict[str, str], sentence: str) -> None:
    row = read_bad(**cells)
    assert (row.number, row.kind, row.problem) == (2, reading.SKIPPED, sentence)
    assert row.row == a_row(**cells)


@pytest.mark.parametrize(
    "written",
    [
        "2025-01-15 10:00:00", "1-15-2025 10:00:00", "01/15/2025 10:00:00", "01-15-2025", "01-15-2025 10:00",
        "01-15-25 10:00:00", "13-01-2025 10:00:00", "02-30-2025 10:00:00", "01-15-2025 24:00:00", "00-15-2025 10:00:00",
        "01-15-2025 10:00:00 AM", "01-15-2025T10:00:00", "01-15-2025  10:00:00", "01-15-0025 10:00:00", "soon",
        "\u0660\u0661-15-2025 10:00:00", "12-31-9999 23:59:59", "02-29-2025 10:00:00",
    ],
)  # fmt: skip
def test_a_date_written_otherwise_fails_the_row(written: str) -> None:
    row = read_bad(call_in_date=written, state="HI")
    assert (row.kind, row.problem) == (
        reading.FAILED, f"Failed to create Lead: Call In Date “{written}” is not a date. {HOW}",
    )  # fmt: skip


def test_only_the_beginning_of_a_long_value_is_repeated() -> None:
    row = read_bad(call_in_date="9" * 200)
    assert row.problem == f"Failed to create Lead: Call In Date “{'9' * 60}” is not a date. {HOW}"


def test_nobody_has_called_in_tomorrow() -> None:
    just_now = read_one(call_in_date="11-18-2026 09:00:00")
    assert just_now.called_in_at == NOW
    row = read_bad(call_in_date="11-18-2026 09:00:01")
    assert row.problem == (
        "Failed to create Lead: Call In Date “11-18-2026 09:00:01” is in the future. Write when they called, as"
        " MM-DD-YYYY HH:MM:SS, like 01-31-2025 14:05:00."
    )


def test_a_row_that_ends_before_the_required_cells_is_skipped() -> None:
    bad, good = read(
        f"{','.join(HEADINGS)}\nM-1,C12,Mortgage,01-15-2025 10:00:00,Open\n{csv_text([ROW]).splitlines()[1]}\n"
    )
    assert isinstance(bad, BadRow)
    assert (bad.number, bad.kind, bad.problem) == (2, reading.SKIPPED, "Missing required field: State")
    assert bad.row == dict.fromkeys(HEADINGS, "") | {
        "Mortage ID": "M-1", "Campaign ID": "C12", "Type": "Mortgage", "Call In Date": "01-15-2025 10:00:00", "Status": "Open",
    }  # fmt: skip
    assert values(good) == ROW


def test_a_row_with_more_cells_than_headings_fails() -> None:
    line = csv_text([ROW]).splitlines()[1]
    [row] = read(f"{','.join(HEADINGS)}\n{line},more,\n")
    assert isinstance(row, BadRow)
    assert row.problem == (
        "Failed to create Lead: this row has 27 cells under 25 headings. A value with a comma in it needs quotation marks"
        " around it."
    )
    assert row.row == ROW | {"(cell 26)": "more"}


@pytest.mark.parametrize(
    ("column", "longest"), [("city", 1_000), ("full_name", 1_000), ("state", 100), ("county", 100)]
)
def test_a_value_that_is_too_long_fails_the_row(column: str, longest: int) -> None:
    heading = next(heading for heading, name in SOURCE.items() if name == column)
    assert values(read_one(**{column: "x" * longest}))[heading] == "x" * longest
    row = read_bad(**{column: "x" * (longest + 1)})
    assert row.problem == (
        f"Failed to create Lead: {heading} “{'x' * 60}…” is {longest + 1:,} characters long. Shorten it to {longest:,} or fewer."
    )


def test_a_byte_that_is_not_utf8_fails_its_row_only() -> None:
    data = csv_bytes([a_row(1), a_row(2, city="Caf?"), a_row(3)]).replace(b"Caf?", b"Caf\xe9")
    first, second, third = read(data)
    assert isinstance(second, BadRow)
    assert second.problem == (
        "Failed to create Lead: City “Caf\ufffd” has a character that is not UTF-8 in it. Write it again and save as"
        " CSV UTF-8."
    )
    assert second.row == a_row(2, city="Caf\ufffd")
    assert [values(row)["Mortage ID"] for row in (first, third)] == ["M-1", "M-3"]


def test_a_zero_byte_fails_its_row_only() -> None:
    bad, good = read(csv_bytes([a_row(1, address="12\0 Main"), a_row(2)]))
    assert isinstance(bad, BadRow)
    assert bad.problem == (
        "Failed to create Lead: Address “12\ufffd Main” has a zero byte in it. Write it again and save as CSV UTF-8."
    )
    assert values(good)["Mortage ID"] == "M-2"


def test_a_quotation_mark_that_is_never_closed_swallows_no_other_row() -> None:
    data = csv_text([a_row(1), a_row(2, city="QUOTE"), a_row(3), a_row(4)]).replace("QUOTE", '"Monroe')
    rows = read(data)
    bad = rows[1]
    assert isinstance(bad, BadRow)
    assert (bad.number, bad.kind, bad.problem) == (
        3, reading.FAILED,
        "Failed to create Lead: a quotation mark in this row opens or closes in the wrong place. Mend it or take it out.",
    )  # fmt: skip
    assert bad.row["Mortage ID"] == "M-2"
    assert [(row.number, values(row)["Mortage ID"]) for row in rows if row is not bad] == [
        (2, "M-1"),
        (4, "M-3"),
        (5, "M-4"),
    ]


def test_not_even_when_nothing_else_in_the_file_is_quoted() -> None:
    lines = [f"{n},LA,01-15-2025 10:00:00" for n in range(2, 10_002)]
    lines[4_000] = '"4002,LA,01-15-2025 10:00:00'
    rows = read("Zip,State,Call In Date\n" + "\n".join(lines))
    assert [row.number for row in rows] == list(range(2, 10_002))
    assert [row.number for row in rows if isinstance(row, BadRow)] == [4_002]


def test_rows_are_counted_as_a_spreadsheet_counts_them() -> None:
    data = csv_text([a_row(1, address="Main St\nApt 4\r\nrear"), a_row(2, state="")])
    rows = read(data.replace("M-2", "\r\n\nM-2"))  # two empty lines
    assert [row.number for row in rows] == [2, 5]
    assert values(rows[0])["Address"] == "Main St\nApt 4\r\nrear"


def test_whose_row_it_may_be_is_seen_in_whatever_column_the_number_slipped() -> None:
    row = read_bad(state="", lender="318-555-0199", zip="71101", sale_date="05-01-2020")
    assert row.phones == ("+13185550199", "+13185550142", "+13185550123")


# --- Files that cannot be taken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", reading.EMPTY),
        (b"\n\n", reading.EMPTY),
        (b",,,\n", reading.EMPTY),
        (b"State,Call In Date" + b",x" * 999 + b"\n", reading.EMPTY),
        (b'"State,Call In Date\nLA', reading.EMPTY),
        (b"State;Call In Date\n", "CSV missing required columns: State, Call In Date"),
        (b"City,Call In Date\n", "CSV missing required columns: State"),
        (b"State,City\n", "CSV missing required columns: Call In Date"),
        (b"state,Call In Date\n", "CSV missing required columns: State"),
        (
            b"State,City,Call In Date, City \n",
            "CSV has more than one column called City. Rename or remove the ones not meant.",
        ),
        ("State,Call In Date\n".encode("utf-16"), reading.NOT_UTF8),
        ("State,Call In Date,Stra\u00dfe\n".encode("latin-1"), reading.NOT_UTF8),
        (b"PK\x03\x04\x14\x00\x06\x00\x08", reading.IS_A_WORKBOOK),
    ],
)
def test_a_file_without_the_headings_we_need_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(FileRefused) as refused:
        LeadFile(io.BytesIO(data))
    assert str(refused.value) == sentence


def test_blank_headings_at_the_end_are_nobodys_columns() -> None:
    [row] = read(f"{','.join(HEADINGS)},,\n{csv_text([ROW]).splitlines()[1]},,\n")
    assert values(row) == ROW


def test_a_file_of_headings_has_no_rows() -> None:
    assert read("State,Call In Date") == []


class Endless(io.BytesIO):
    """A file of one line that does not end."""

    def __init__(self, beginning: bytes = b"") -> None:
        super().__init__()
        self.beginning, self.taken = beginning, 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size > 0
        self.taken += size
        beginning, self.beginning = self.beginning, b""
        return (beginning + b"x" * size)[:size]


def test_a_file_without_line_ends_does_not_fill_the_memory() -> None:
    file = Endless()
    with pytest.raises(FileRefused, match=reading.EMPTY):
        LeadFile(file)
    assert file.taken < 3_000_000


def test_nor_does_a_row_without_an_end() -> None:
    file = Endless(b"State,Call In Date\nLA,")
    row = next(LeadFile(file).rows(now=NOW, gold_columns=GOLD_COLUMNS))
    assert isinstance(row, BadRow)
    assert file.taken < 3_000_000


# --- Going on, and looking from outside --------------------------------------------------------------------------------


def test_after_a_restart_the_reading_goes_on_with_the_next_row() -> None:
    data = csv_text([a_row(n, address="a\nb") for n in range(5)]).replace("M-1", "\nM-1").replace("M-3", '"M-3')
    whole = read(data)
    for done in range(6):
        assert read(data, after=done) == whole[done:]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"", 0), (b"a,b", 0), (b"a,b\n", 0), (b"a,b\n1,2", 1), (b"a,b\n1,2\n", 1), (b'a,b\n"1\n1",2\n3,4', 2),
        (b'a,b\r\n"1\r\n""\r\n1",2\r\n3,4\r\n', 2),
    ],
)  # fmt: skip
def test_a_survey_counts_rows_without_reading_them(data: bytes, rows: int) -> None:
    assert reading.survey(io.BytesIO(data)).rows == rows


def test_a_survey_counts_alike_wherever_its_blocks_end() -> None:
    data = csv_bytes([a_row(n, address='x" ' * 200 + "\n") for n in range(3_000)])
    assert len(data) > 2_000_000
    survey = reading.survey(io.BytesIO(data))
    assert (survey.rows, survey.size) == (3_000, len(data))


def test_kept_as_json_a_row_finds_its_order_again() -> None:
    row = {"Zebra": "z", "State": "LA", "(cell 27)": "more", "Mortage ID": "M", "Apple": "a"}
    assert reading.as_it_stood(row) == [
        ("Mortage ID", "M"), ("State", "LA"), ("(cell 27)", "more"), ("Apple", "a"), ("Zebra", "z"),
    ]  # fmt: skip


def test_the_csv_module_reads_what_we_read() -> None:
    """The strict reader and the line splitting change nothing for a well-formed file."""
    rows = [
        a_row(n, full_name=name)
        for n, name in enumerate(['"', "a\rb", "a,b", "🏠", "", "''", "\\", "a\x0bb", "a\u2028b"])
    ]
    data = csv_text(rows)
    expected = [
        {heading: cell.strip() for heading, cell in row.items()}
        for row in csv.DictReader(io.StringIO(data, newline=""))
    ]
    assert [values(row) for row in read(data)] == expected
