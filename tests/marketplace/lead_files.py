"""Files as the call centers send them, for the tests that read them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from marketplace.columns import SOURCE

ROW = {
    "Mortage ID": "M-1001", "Campaign ID": "C12", "Type": "Mortgage", "Call In Date": "01-15-2025 10:00:00",
    "Status": "Open", "Full Name": "John Moore", "First Name": "John", "Last Name": "Moore", "Co-Borrower Name": "",
    "Address": "12 Main St, Apt 4", "City": "Shreveport", "County": "Caddo", "State": "LA", "Zip": "71101",
    "Mortgage Amount": "$100,000", "Lender": "First Bank", "Sale Date": "05/01/2020", "Agent ID": "A7",
    "Call In Phone Number": "3185550142", "Borrower Age": "45", "Borrower Medical Issues": "No",
    "Borrower Tobacco Use": "No", "Co-Borrower ?": "No", "Borrower Phone": "(318) 555-0123", "Source": "Web",
}  # fmt: skip
GOLD_ROW = ROW
SILVER_ROW = ROW | {"Borrower Age": ""}


def a_row(number: int = 0, /, **cells: str) -> dict[str, str]:
    """A row of its own for each number. `cells` are named like the columns of a lead: state="TX"."""
    named = {column: heading for heading, column in SOURCE.items()}
    return ROW | {"Mortage ID": f"M-{number}"} | {named[column]: value for column, value in cells.items()}


def csv_text(rows: Sequence[Mapping[str, str]], *, headings: Sequence[str] = tuple(SOURCE)) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, headings, extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csv_bytes(rows: Sequence[Mapping[str, str]], *, headings: Sequence[str] = tuple(SOURCE)) -> bytes:
    return csv_text(rows, headings=headings).encode()
