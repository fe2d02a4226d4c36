"""The columns of the files: what comes in from the call centers, and what buyers take away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Heading in the source file → column of AgedLead, in the file's own order and spelling.
SOURCE: Final = {
    "Mortage ID": "mortgage_id",
    "Campaign ID": "campaign_id",
    "Type": "type",
    "Call In Date": "call_in_date",
    "Status": "status",
    "Full Name": "full_name",
    "First Name": "first_name",
    "Last Name": "last_name",
    "Co-Borrower Name": "co_borrower_name",
    "Address": "address",
    "City": "city",
    "County": "county",
    "State": "state",
    "Zip": "zip",
    "Mortgage Amount": "mortgage_amount",
    "Lender": "lender",
    "Sale Date": "sale_date",
    "Agent ID": "agent_id",
    "Call In Phone Number": "call_in_phone_number",
    "Borrower Age": "borrower_age",
    "Borrower Medical Issues": "borrower_medical_issues",
    "Borrower Tobacco Use": "borrower_tobacco_use",
    "Co-Borrower ?": "co_borrower",
    "Borrower Phone": "borrower_phone",
    "Source": "source",
}
REQUIRED: Final = ("State", "Call In Date")

# Two rows that agree in all of these are one lead, whatever else has been filled in since.
NATURAL_KEY: Final = (
    "Mortage ID",
    "Call In Date",
    "State",
    "Full Name",
    "First Name",
    "Last Name",
    "Zip",
    "Borrower Phone",
    "Call In Phone Number",
)

# Emptied when a person is erased. What stays (class, place, date, prices) tells nobody who it was.
PERSONAL: Final = (
    "mortgage_id", "full_name", "first_name", "last_name", "co_borrower_name", "address", "city", "zip",
    "mortgage_amount", "lender", "sale_date", "call_in_phone_number", "borrower_phone", "borrower_age",
    "borrower_medical_issues", "borrower_tobacco_use", "co_borrower", "phone", "other_phone",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a buyer's file. `path` is a field of the sale, or of its lead behind `lead.`."""

    heading: str
    path: str
    kind: str = "text"  # text, money, moment, phone


SOLD: Final = (
    Column("Sale ID", "id"),
    Column("Purchase Price", "price", "money"),
    Column("Currency", "currency"),
    Column("Purchased At (ISO)", "sold_at", "moment"),
    Column("Age Bucket (at purchase)", "age_bucket"),
    Column("Classification", "classification"),
    Column("Full Name", "lead.full_name"),
    Column("First Name", "lead.first_name"),
    Column("Last Name", "lead.last_name"),
    Column("Borrower Phone", "lead.borrower_phone", "phone"),
    Column("Call-In Phone Number", "lead.call_in_phone_number", "phone"),
    Column("Address", "lead.address"),
    Column("City", "lead.city"),
    Column("County", "lead.county"),
    Column("State", "lead.state"),
    Column("ZIP", "lead.zip"),
    Column("Mortgage ID", "lead.mortgage_id"),
    Column("Mortgage Amount", "lead.mortgage_amount"),
    Column("Lender", "lead.lender"),
    Column("Sale Date", "lead.sale_date"),
    Column("Call-In Date", "lead.call_in_date"),
    Column("Co-Borrower Name", "lead.co_borrower_name"),
    Column("Co-Borrower?", "lead.co_borrower"),
    Column("Borrower Age", "lead.borrower_age"),
    Column("Medical Issues", "lead.borrower_medical_issues"),
    Column("Tobacco Use", "lead.borrower_tobacco_use"),
    Column("Source", "lead.source"),
    Column("Campaign ID", "lead.campaign_id"),
    Column("Type", "lead.type"),
    Column("Status", "lead.status"),
    Column("Agent ID", "lead.agent_id"),
    Column("Lead ID", "lead.id"),
    Column("Lead Created At (UTC)", "lead.called_in_at", "moment"),
)
