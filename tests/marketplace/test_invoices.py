"""A month's lines on one invoice, once; paid once; on paper for everybody."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.db.models import Sum

from crm.keys import uuid7
from crm.models import AuditEvent
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace import documents
from marketplace.documents import InvoicePaper, PaperLine, Party
from marketplace.enums import Account, EntryKind, Terms
from marketplace.models import Buyer, Invoice, InvoiceLine, JournalEntry, Purchase
from marketplace.services import books, invoices
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer

SELLER = Party("Frontdesk Leads", ("500 Market Street", "Shreveport, LA 71101"))
# 1 December, 0:30 in Chicago, where Alice's shop is. The month there ended half an hour ago.
DECEMBER = datetime(2026, 12, 1, 6, 30, tzinfo=UTC)
MIDNIGHT = DECEMBER - timedelta(minutes=30)


@pytest.fixture
def shop(cast):
    a_buyer(cast.shop)
    with only(cast.shop):
        yield cast.shop


def order(business, quantity, price, *, now):
    """A purchase in the books."""
    with only(business):
        total = quantity * Decimal(price)
        purchase = Purchase.objects.create(
            business=business, number=uuid7().int % 2**40, quantity=quantity, total=total, created_at=now
        )
        return books.post(
            business=business, kind=EntryKind.PURCHASE, text=f"{quantity} leads", about=f"purchase:{purchase.pk}",
            lines={Account.BUYER: -total, Account.SALES: total}, now=now,
        )  # fmt: skip


def give_back(business, price, *, now):
    with only(business):
        return books.post(
            business=business, kind=EntryKind.RETURN, text="Return of a lead", about=f"return:{uuid7()}", now=now,
            lines={Account.BUYER: Decimal(price), Account.RETURNS: -Decimal(price)},
        )  # fmt: skip


def issue(business, until=MIDNIGHT, now=DECEMBER):
    return invoices.issue(business=business, until=until, now=now)


def lines(invoice):
    return [(line.text, line.quantity, str(line.amount)) for line in invoice.lines.all()]


def balance(business):
    return Buyer.objects.get(business=business).balance


def owed(business):
    """What is open on invoices, and what is on none yet."""
    with only(business):
        unpaid = Invoice.objects.filter(paid_at=None).aggregate(sum=Sum("total"))["sum"] or 0
        waiting = sum(line.amount for line in invoices._lines(business, until=DECEMBER + timedelta(days=365)))
    return unpaid + waiting


# --- Issued ------------------------------------------------------------------------------------------------------------


def test_an_invoice_holds_what_was_booked_since_the_last_one(shop, now):
    order(shop, 10, "8.00", now=now)
    give_back(shop, "8.00", now=now + timedelta(days=1))
    books.adjust(
        business=shop, amount=Decimal("-5.00"), text="Express delivery", actor=None, now=now + timedelta(days=2)
    )
    order(shop, 3, "8.00", now=MIDNIGHT)  # in December
    invoice = issue(shop)
    assert lines(invoice) == [
        ("10 leads", 10, "80.00"),
        ("Return of a lead", 0, "-8.00"),
        ("Express delivery", 0, "5.00"),
    ]
    assert (invoice.total, invoice.since, invoice.until, invoice.issued_at) == (
        Decimal("77.00"),
        now,
        MIDNIGHT,
        DECEMBER,
    )
    assert (invoice.due_on, invoice.paid_at) == (date(2026, 12, 15), None)
    january = MIDNIGHT + timedelta(days=31)
    following = issue(shop, until=january, now=january)
    assert lines(following) == [("3 leads", 3, "24.00")]
    assert (following.since, following.number > invoice.number) == (MIDNIGHT, True)


def test_it_is_due_14_days_later_on_the_buyers_calendar(shop, now):
    order(shop, 1, "8.00", now=now)
    night = datetime(2026, 12, 2, 3, 0, tzinfo=UTC)  # still the 1st in Chicago
    assert issue(shop, now=night).due_on == date(2026, 12, 15)


def test_nothing_to_invoice_is_no_invoice(shop, now):
    assert issue(shop) is None
    order(shop, 1, "8.00", now=MIDNIGHT)
    assert issue(shop) is None
    assert Invoice.objects.count() == 0


def test_a_stretch_is_invoiced_once(shop, now):
    order(shop, 1, "8.00", now=now)
    assert issue(shop).total == Decimal("8.00")
    order(shop, 1, "5.00", now=now)  # booked late
    assert issue(shop) is None
    january = MIDNIGHT + timedelta(days=31)
    late = issue(shop, until=january, now=january)
    assert (late.total, late.since) == (Decimal("5.00"), now)


def test_what_has_not_ended_cannot_be_invoiced(shop, now):
    order(shop, 1, "8.00", now=now)
    with pytest.raises(ValueError, match="is still to come"):
        issue(shop, until=DECEMBER + timedelta(seconds=1))
    assert Invoice.objects.count() == 0


def test_a_prepaid_buyer_gets_none(cast, now):
    a_buyer(cast.shop, terms=Terms.PREPAID, credit_limit=100)
    order(cast.shop, 1, "8.00", now=now)
    assert issue(cast.shop) is None


def test_who_changes_from_prepaid_to_invoice_does_not_pay_twice(cast, now):
    a_buyer(cast.shop, terms=Terms.PREPAID)
    books.top_up(business=cast.shop, amount=Decimal("20.00"), reference="wire 1", actor=None, now=now)
    order(cast.shop, 2, "8.00", now=now)
    books.set_terms(business=cast.shop, terms=Terms.INVOICED, credit_limit=Decimal(0), actor=None, now=now)
    assert issue(cast.shop) is None  # $4.00 of theirs are left
    order(cast.shop, 1, "8.00", now=DECEMBER)
    january = DECEMBER + timedelta(days=31)
    with only(cast.shop):
        invoice = issue(cast.shop, until=january, now=january)
        assert lines(invoice) == [("Top-up wire 1", 0, "-20.00"), ("2 leads", 2, "16.00"), ("1 leads", 1, "8.00")]
    assert invoice.total == Decimal("4.00") == -balance(cast.shop)


def test_a_credit_waits_until_there_is_something_to_take_it_from(shop, now):
    give_back(shop, "8.00", now=now)
    assert issue(shop) is None
    order(shop, 2, "6.00", now=DECEMBER)
    january = MIDNIGHT + timedelta(days=31)
    invoice = issue(shop, until=january, now=january)
    assert (lines(invoice), invoice.total) == (
        [("Return of a lead", 0, "-8.00"), ("2 leads", 2, "12.00")], Decimal("4.00"),
    )  # fmt: skip


def test_open_invoices_and_what_comes_next_are_what_is_owed(shop, now):
    def agrees():
        return owed(shop) == -balance(shop)

    order(shop, 10, "8.00", now=now)
    give_back(shop, "8.00", now=now)
    assert agrees()
    first = issue(shop)
    assert agrees()
    books.record_payment(business=shop, amount=Decimal("30.00"), reference="wire 1", actor=None, now=DECEMBER)
    assert agrees()
    invoices.mark_paid(invoice=first, reference="wire 2", actor=None, now=DECEMBER)
    assert agrees()
    order(shop, 10, "8.00", now=DECEMBER)
    january = MIDNIGHT + timedelta(days=31)
    second = issue(shop, until=january, now=january)
    assert lines(second) == [("Payment wire 1", 0, "-30.00"), ("10 leads", 10, "80.00")]
    assert agrees()
    invoices.mark_paid(invoice=second, reference="wire 3", actor=None, now=january)
    assert (balance(shop), owed(shop)) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_two_workers_issue_one_invoice(cast, now):
    a_buyer(cast.shop)
    order(cast.shop, 10, "8.00", now=now)
    found = all_at_once([partial(issue, cast.shop)] * 4)
    assert sorted(invoice is not None for invoice in found) == [False, False, False, True]
    with every_business():
        assert (Invoice.objects.count(), InvoiceLine.objects.count()) == (1, 1)


def test_every_month_is_invoiced_when_it_has_ended_where_the_buyer_is(cast, now):
    cast.next_door.time_zone = "America/Los_Angeles"
    cast.next_door.save()
    for business in (cast.shop, cast.next_door):
        a_buyer(business)
        order(business, 1, "8.00", now=now)
    assert invoices.issue_due(now=MIDNIGHT - timedelta(seconds=1)) == []
    first = invoices.issue_due(now=MIDNIGHT)
    assert [(invoice.business, invoice.until) for invoice in first] == [(cast.shop, MIDNIGHT)]
    assert invoices.issue_due(now=MIDNIGHT + timedelta(hours=1)) == []
    there = MIDNIGHT + timedelta(hours=2)
    second = invoices.issue_due(now=there)
    assert [(invoice.business, invoice.until) for invoice in second] == [(cast.next_door, there)]
    assert invoices.issue_due(now=there + timedelta(hours=1)) == []


def test_trouble_with_one_buyer_does_not_keep_the_others_from_their_invoices(cast, now, monkeypatch):
    for business in (cast.shop, cast.next_door):
        a_buyer(business)
        order(business, 1, "8.00", now=now)
    read = invoices._lines

    def broken(business, *, until):
        if business == cast.shop:
            raise RuntimeError("Broken.")
        return read(business, until=until)

    monkeypatch.setattr(invoices, "_lines", broken)
    assert [invoice.business for invoice in invoices.issue_due(now=MIDNIGHT + timedelta(days=1))] == [cast.next_door]
    monkeypatch.undo()
    assert [invoice.business for invoice in invoices.issue_due(now=MIDNIGHT + timedelta(days=1))] == [cast.shop]


# --- Paid --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def invoice(shop, now):
    order(shop, 10, "8.00", now=now)
    return issue(shop)


def test_a_payment_is_booked_and_settles_the_invoice(shop, cast, invoice):
    entry = invoices.mark_paid(invoice=invoice, reference=" wire 77 ", actor=cast.alice, now=DECEMBER)
    assert (entry.kind, entry.text, entry.reference, entry.about, entry.actor) == (
        "payment", f"Payment of {invoice}, wire 77", "wire 77", f"invoice:{invoice.pk}", cast.alice,
    )  # fmt: skip
    assert sorted((line.account, str(line.amount)) for line in entry.lines.all()) == [
        ("buyer", "80.00"),
        ("cash", "-80.00"),
    ]
    assert (balance(shop), invoice.paid_at) == (0, DECEMBER)
    audit = AuditEvent.objects.get(action="invoice paid")
    assert (audit.target, audit.changes["reference"]) == (f"invoice:{invoice.pk}", ["", "wire 77"])


def test_paid_twice_is_refused_and_booked_once(shop, invoice):
    invoices.mark_paid(invoice=invoice, reference="wire 77", actor=None, now=DECEMBER)
    with pytest.raises(Refused) as refusal:
        invoices.mark_paid(invoice=invoice, reference="wire 78", actor=None, now=DECEMBER + timedelta(days=1))
    assert str(refusal.value) == f"{invoice} was marked as paid on Dec 1, 2026."
    assert (balance(shop), JournalEntry.objects.filter(kind="payment").count()) == (0, 1)
    invoice.refresh_from_db()
    assert invoice.paid_at == DECEMBER


def test_a_reference_that_is_in_the_books_is_refused(shop, invoice):
    books.record_payment(business=shop, amount=Decimal("5.00"), reference="wire 77", actor=None, now=DECEMBER)
    with pytest.raises(Refused) as refusal:
        invoices.mark_paid(invoice=invoice, reference="wire 77", actor=None, now=DECEMBER)
    assert str(refusal.value) == (
        "A payment with the reference “wire 77” is booked already. If one payment was for several invoices, add the"
        f" invoice: “wire 77 {invoice}”."
    )
    invoice.refresh_from_db()
    assert (invoice.paid_at, balance(shop)) == (None, Decimal("-75.00"))


@pytest.mark.parametrize("reference", ["", "  ", "x" * 81])
def test_a_payment_needs_its_reference(shop, invoice, reference):
    with pytest.raises(
        Refused, match=r"^Write the payment's reference, as the bank gives it, in at most 80 characters\.$"
    ):
        invoices.mark_paid(invoice=invoice, reference=reference, actor=None, now=DECEMBER)
    assert (invoice.paid_at, balance(shop)) == (None, Decimal("-80.00"))


@pytest.mark.django_db(transaction=True)
def test_marked_as_paid_by_two_at_once_it_is_booked_once(cast, now):
    a_buyer(cast.shop)
    order(cast.shop, 10, "8.00", now=now)
    invoice = issue(cast.shop)

    def pay(reference):
        try:
            invoices.mark_paid(invoice=invoice, reference=reference, actor=None, now=DECEMBER)
        except Refused as refusal:
            return str(refusal)
        return "paid"

    said = all_at_once([partial(pay, f"wire {n}") for n in range(3)])
    assert sorted(said) == [f"{invoice} was marked as paid on Dec 1, 2026."] * 2 + ["paid"]
    assert balance(cast.shop) == 0


# --- On paper ------------------------------------------------------------------------------------------------------------


def a_paper(count=2, buyer="Alice Plumbing", **fields):
    values = {
        "number": "I-1007", "seller": SELLER, "buyer": Party(buyer, ("alice@example.com",)),
        "issued_on": date(2026, 12, 1), "due_on": date(2026, 12, 15), "first_day": date(2026, 11, 1),
        "last_day": date(2026, 11, 30), "total": Decimal("12.50"), "terms": "Please pay.",
        "lines": tuple(PaperLine(date(2026, 11, 5), f"Line {n}", n, Decimal("12.50")) for n in range(1, count + 1)),
    }  # fmt: skip
    return InvoicePaper(**(values | fields))


def pages(pdf):
    return len(re.findall(rb"/Type /Page\b", pdf))


def drawn(paper):
    """Every string of the second run, as it is drawn."""
    said = []

    class Listening(documents._Press):
        def _say(self, x, y, text, **style):
            said.append(self._drawable(text))
            super()._say(x, y, text, **style)

    press = Listening(paper, documents._shapes(), pages=9)
    press.run()
    return said


def test_what_stands_on_the_paper(shop, cast, now):
    shop.address = "12 Oak St, Shreveport"
    shop.save(update_fields=["address"])
    order(shop, 10, "8.00", now=now)
    invoice = issue(shop)
    paper = invoices.paper(invoice=invoice, seller=SELLER)
    assert paper == InvoicePaper(
        number=str(invoice), seller=SELLER,
        buyer=Party("Alice Plumbing", ("12 Oak St, Shreveport", "alice@example.com")),
        issued_on=date(2026, 12, 1), due_on=date(2026, 12, 15), first_day=date(2026, 11, 18), last_day=date(2026, 11, 30),
        lines=(PaperLine(date(2026, 11, 18), "10 leads", 10, Decimal("80.00")),), total=Decimal("80.00"),
        terms=f"Please pay $80.00 by Dec 15, 2026 and name {invoice} with your payment. US dollars.",
    )  # fmt: skip
    before = documents.invoice_pdf(paper)
    invoices.mark_paid(invoice=invoice, reference="wire 77", actor=None, now=DECEMBER)
    assert documents.invoice_pdf(invoices.paper(invoice=Invoice.objects.get(), seller=SELLER)) == before


def test_a_pdf_names_everybody_and_everything(now):
    said = drawn(a_paper())
    for text in (
        "Frontdesk Leads", "500 Market Street", "Invoice", "I-1007", "Alice Plumbing", "alice@example.com", "Dec 1, 2026",
        "Nov 1, 2026 – Nov 30, 2026", "Dec 15, 2026", "Line 1", "Line 2", "Total due", "$12.50", "Please pay.",
        "Frontdesk Leads · I-1007 · Page 1 of 9",
    ):  # fmt: skip
        assert text in said
    assert documents.MARK_EXPLAINED not in said


def test_a_long_invoice_goes_on_with_its_headings_on_every_page():
    paper = a_paper(100)
    assert [pages(documents.invoice_pdf(a_paper(count))) for count in (1, 20, 100)] == [1, 1, 4]
    said = drawn(paper)
    assert [text for text in said if text.startswith("Line ")] == [f"Line {n}" for n in range(1, 101)]
    assert (said.count("Description"), said.count("Invoice I-1007")) == (4, 3)
    assert [text for text in said if "Page" in text] == [
        f"Frontdesk Leads · I-1007 · Page {n} of 9" for n in range(1, 5)
    ]


@pytest.mark.parametrize("count", range(18, 46))
def test_nothing_is_drawn_below_the_foot(count):
    lowest = []

    class Measuring(documents._Press):
        def _say(self, x, y, text, **style):
            lowest.append(y if "Page" not in text else documents._BOTTOM)
            super()._say(x, y, text, **style)

    Measuring(a_paper(count, buyer="株式会社"), documents._shapes()).run()
    assert min(lowest) >= documents._BOTTOM - documents._LEADING


def test_long_words_and_long_texts_are_broken_into_lines_that_fit():
    press = documents._Press(a_paper(), documents._shapes())
    text = "word " * 30 + "x" * 300
    broken = list(press._wrapped(text, width=200, size=9))
    assert "".join(broken).replace(" ", "") == text.replace(" ", "")
    assert all(documents.pdfmetrics.stringWidth(line, "Vera", 9) <= 200 for line in broken)


def test_the_same_invoice_gives_the_same_bytes():
    assert documents.invoice_pdf(a_paper(50)) == documents.invoice_pdf(a_paper(50))


def test_letters_the_typeface_has_are_drawn_however_they_are_written():
    said = drawn(a_paper(buyer="Jose\u0301 Pen\u0303a & Söhne, Şişli <b>"))
    assert "José Peña & Söhne, Şişli <b>" in said
    assert documents.MARK_EXPLAINED not in said


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Žluťoučký", "Žlu◊oučký"), ("株式会社", "◊◊◊◊"), ("Ann 👩‍🔧", "Ann ◊◊◊"), ("שלום\u202e", "◊◊◊◊◊")],
)
def test_a_letter_the_typeface_lacks_is_marked_and_explained_and_whole_in_the_csv(name, shown):
    paper = a_paper(buyer=name)
    said = drawn(paper)
    assert shown in said
    assert "◊ stands for a character that this page cannot show. The CSV of this invoice has it." in said
    assert pages(documents.invoice_pdf(paper)) == 1
    assert [row["Buyer"] for row in csv.DictReader(io.StringIO(documents.invoice_csv(paper)))] == [name] * 2


def test_the_typeface_travels_with_the_pdf():
    pdf = documents.invoice_pdf(a_paper())
    assert pdf.count(b"/FontFile2") == 2
    assert b"Helvetica" not in pdf


def test_the_csv_has_a_row_for_every_line_and_amounts_that_add_up():
    paper = a_paper(
        lines=(
            PaperLine(date(2026, 11, 5), 'P-1042: 1,000 "Gold"', 1000, Decimal("8000")),
            PaperLine(date(2026, 11, 6), "=1+1", 0, Decimal("-8.00")),
        ),
    )
    assert documents.invoice_csv(paper) == (
        "Invoice,Buyer,Issued On,Due On,Date,Description,Leads,Amount (USD)\r\n"
        'I-1007,Alice Plumbing,2026-12-01,2026-12-15,2026-11-05,"P-1042: 1,000 ""Gold""",1000,8000.00\r\n'
        "I-1007,Alice Plumbing,2026-12-01,2026-12-15,2026-11-06,1+1,,-8.00\r\n"
    )
