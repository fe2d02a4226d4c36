"""Whom a buyer has already: told by numbers or by their hashes, kept as marks, sold to them never."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given
from hypothesis import strategies as st

from crm import phones
from crm.models import AuditEvent
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace import marks
from marketplace.enums import KnownFrom
from marketplace.models import KnownPhone, KnownUpload
from marketplace.services import known, purchases
from tests.conftest import NOW
from tests.crowd import all_at_once
from tests.marketplace.stock import a_buyer, an_item, start_prices

JOHN, JANE, JIM = "+15045550141", "+15045550142", "+15045550143"


@pytest.fixture
def market(cast):
    start_prices()
    a_buyer(cast.shop)
    a_buyer(cast.next_door)
    return cast


def hashed(phone: str) -> str:
    return hashlib.sha256(phone.encode()).hexdigest()


def upload(market, *lines: str, encoding: str = "utf-8") -> known.Uploaded:
    file = SimpleUploadedFile("ours.csv", "\r\n".join(lines).encode(encoding))
    return known.upload(business=market.shop, file=file, name="ours.csv", actor=market.alice, now=NOW)


def kept() -> set[tuple[str, UUID, str]]:
    with every_business():
        return set(KnownPhone.objects.values_list("business__slug", "mark", "source"))


def counts(done: known.Uploaded) -> tuple[int, int, int]:
    return done.upload.rows, done.upload.added, done.upload.refused


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_numbers_and_hashes_of_the_same_people_are_the_same_people(market):
    done = upload(market, JOHN, hashed(JOHN), hashed(JOHN).upper(), f"0x{hashed(JANE)}", "(504) 555-0142")
    assert (counts(done), done.problems) == ((5, 2, 0), [])
    assert kept() == {
        ("alice", marks.mark_of(JOHN), KnownFrom.UPLOADED),
        ("alice", marks.mark_of(JANE), KnownFrom.UPLOADED),
    }


def test_the_same_list_again_changes_nothing(market):
    upload(market, JOHN, JANE)
    before = kept()
    assert counts(upload(market, JOHN, JANE)) == (2, 0, 0)
    assert kept() == before
    with every_business():
        assert [(row.name, row.rows, row.added, row.uploaded_by) for row in KnownUpload.objects.order_by("added")] == [
            ("ours.csv", 2, 0, market.alice),
            ("ours.csv", 2, 2, market.alice),
        ]


@pytest.mark.parametrize("heading", ["phone", "SHA-256", "Phone number (E.164)", "Teléfono"])
def test_a_heading_is_no_row(market, heading):
    assert counts(upload(market, heading, JOHN)) == (1, 1, 0)


def test_a_list_from_a_spreadsheet_is_read_with_its_wrapping(market):
    done = upload(market, "Phone,,", f'"{JOHN}",', "", '"504-555-0142"', "  ", encoding="utf-8-sig")
    assert counts(done) == (2, 2, 0)


def test_a_first_row_that_is_a_number_gone_wrong_is_no_heading(market):
    done = upload(market, "1.50455E+10", JOHN)
    assert (counts(done), done.problems) == (
        (2, 1, 1),
        ["Row 1: neither a phone number nor a SHA-256 of one."],
    )


def test_refused_rows_are_counted_and_the_first_five_named(market):
    done = upload(market, "phone", *(["nobody"] * 7), JOHN, hashed(JANE)[:63])
    assert counts(done) == (9, 1, 8)
    assert done.problems == [f"Row {row}: neither a phone number nor a SHA-256 of one." for row in range(2, 7)]


def test_an_endless_line_and_bytes_that_are_no_text_are_refused_rows(market):
    file = io.BytesIO(
        b"1" * 5_000_000 + b"\n\xff\xfe\x00\n" + JOHN.encode() + b"\n" + b"1" * 299 + b"\n" + JANE.encode()
    )
    done = known.upload(business=market.shop, file=file, name="x", actor=None, now=NOW)
    assert counts(done) == (5, 2, 3)


@pytest.mark.parametrize("content", [b"", b"\r\n\r\n", b"phone\n"])
def test_an_empty_list_is_refused(market, content):
    with pytest.raises(
        Refused, match=r"^There is nothing in this file\. Put one number, or its SHA-256, on each line\.$"
    ):
        known.upload(business=market.shop, file=io.BytesIO(content), name="x", actor=None, now=NOW)
    with every_business():
        assert KnownUpload.objects.count() == 0


def test_a_list_that_is_too_long_is_refused_whole(market, monkeypatch):
    monkeypatch.setattr(known, "LARGEST", 2)
    with pytest.raises(Refused, match=r"^This list has more than 2 rows\. Split it and send the parts\.$"):
        upload(market, JOHN, JANE, JIM)
    assert kept() == set()


@given(st.from_regex(known._USUAL, fullmatch=True))
def test_the_quick_way_reads_numbers_like_the_long_one(text):
    try:
        expected = marks.mark_of(phones.parse(text, region="US").e164)
    except phones.PhoneError:
        pytest.fail(f"{text!r} is read the quick way and refused the long way")
    assert known._mark(text, "US") == expected


def test_a_number_is_read_as_it_is_written_in_the_buyers_country(cast):
    cast.shop.region = "GB"
    cast.shop.save()
    a_buyer(cast.shop)
    known.upload(business=cast.shop, file=io.BytesIO(b"020 7946 0018\n"), name="x", actor=None, now=NOW)
    assert {mark for _, mark, _ in kept()} == {marks.mark_of("+442079460018")}


def test_no_number_is_stored_or_logged(market, caplog):
    caplog.set_level("DEBUG")
    upload(market, JOHN, "50455501999")
    assert "5045550" not in caplog.text
    with every_business():
        row = KnownUpload.objects.get()
    assert "5045550" not in "".join(str(value) for value in vars(row).values())


def test_a_long_list_is_read_in_little_memory(market):
    """20,000 people are 5 MB as objects."""

    class Endless(io.RawIOBase):
        row = 0

        def readline(self, _size: int = -1) -> bytes:
            self.row += 1
            return f"{self.row:064x}\n".encode() if self.row <= 20_000 else b""

    tracemalloc.start()
    done = known.upload(business=market.shop, file=Endless(), name="x", actor=None, now=NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts(done) == (20_000, 20_000, 0)
    assert peak < 2_500_000  # bytes


# --- What it is for ---------------------------------------------------------------------------------------------------


def test_somebody_a_buyer_has_is_not_sold_to_them_but_to_others(market):
    upload(market, hashed(JOHN))
    item = an_item(phone=JOHN)
    with only(market.shop), pytest.raises(purchases.CannotBuy):
        purchases.buy_items(business=market.shop, item_ids=[item.pk], by="Alice", now=NOW)
    with only(market.next_door):
        done = purchases.buy_items(business=market.next_door, item_ids=[item.pk], by="Charlie", now=NOW)
    assert len(done.sale_ids) == 1


def test_clearing_forgets_who_was_uploaded_and_keeps_who_was_bought(market):
    with only(market.shop):
        purchases.buy_items(business=market.shop, item_ids=[an_item(phone=JIM).pk], by="Alice", now=NOW)
    upload(market, JOHN, JANE, JIM)
    known.upload(business=market.next_door, file=io.BytesIO(JOHN.encode()), name="x", actor=None, now=NOW)
    assert known.forget_uploads(business=market.shop, actor=market.alice, now=NOW) == 2
    assert kept() == {
        ("alice", marks.mark_of(JIM), KnownFrom.BOUGHT),
        ("charlie", marks.mark_of(JOHN), KnownFrom.UPLOADED),
    }
    assert AuditEvent.objects.get(action="uploaded people cleared").changes == {"people": [2, 0]}


@pytest.mark.django_db(transaction=True)
def test_the_same_people_uploaded_from_both_ends_at_once_are_each_kept_once(market):
    people = [f"+1504555{n:04d}" for n in range(2_000)]

    def send(lines: list[str]) -> int:
        file = io.BytesIO("\n".join(lines).encode())
        return known.upload(business=market.shop, file=file, name="x", actor=None, now=NOW).upload.added

    added = all_at_once([lambda: send(people), lambda: send(people[::-1])] * 2)
    assert (sum(added), len(kept())) == (2_000, 2_000)
