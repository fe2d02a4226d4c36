"""Files of leads on their way into the catalogue, and what may go wrong while they are."""

from __future__ import annotations

import csv
import io
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum

from crm.enums import ConsentAction, ConsentSource
from crm.models import Consent
from marketplace import reading
from marketplace.enums import GoneBecause, IngestStatus
from marketplace.marks import mark_of
from marketplace.models import AgedLead, GonePerson, IngestProblem, IngestRun, InventoryItem, Stock
from marketplace.services import ingest, recalls
from tests.conftest import NOW, Cast
from tests.crowd import all_at_once, until_somebody_waits
from tests.marketplace.lead_files import GOLD_ROW, ROW, SILVER_ROW, a_row, csv_bytes, csv_text

pytestmark = pytest.mark.django_db
PHONE = "+13185550123"  # Borrower Phone of every row, unless told otherwise
OTHER = "+13185550142"  # Call In Phone Number
LATER = NOW + timedelta(seconds=61)
COUNTS = ("done_rows", "successful", "known", "blocked", "failed", "skipped", "gold", "silver")
Clock = Callable[[], datetime]


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def at(moment: datetime) -> Clock:
    return lambda: moment


def upload(data: bytes, *, name: str = "leads.csv", now: datetime = NOW, dry_run: bool = False) -> IngestRun:
    return ingest.begin(name=name, source=ContentFile(data, name=name), actor=None, now=now, dry_run=dry_run)


def load(data: bytes, *, now: datetime = NOW, dry_run: bool = False, stretch: int = ingest.STRETCH) -> IngestRun:
    """From the upload to the end."""
    run = ingest.take(run=upload(data, now=now, dry_run=dry_run), now=now)
    assert run
    return ingest.work_on(run=run, clock=at(now), stretch=stretch)


def counts(run: IngestRun) -> dict[str, int]:
    """Those that are not zero."""
    return {name: getattr(run, name) for name in COUNTS if getattr(run, name)}


def leads() -> list[str]:
    return list(AgedLead.objects.order_by("mortgage_id").values_list("mortgage_id", flat=True))


def written(called_in_at: datetime) -> str:
    """As a row of the state “UTC” has it."""
    return f"{called_in_at:%m-%d-%Y %H:%M:%S}"


# --- What comes in -----------------------------------------------------------------------------------------------------


def test_a_row_becomes_a_lead_on_the_shelf() -> None:
    run = load(csv_bytes([ROW]))
    assert run.status == IngestStatus.DONE
    assert counts(run) == {"done_rows": 1, "successful": 1, "gold": 1}
    assert (run.total_rows, run.finished_at) == (1, NOW)
    lead = AgedLead.objects.get()
    [row] = reading.LeadFile(io.BytesIO(csv_bytes([ROW]))).rows(now=NOW, gold_columns=["Source"])
    assert isinstance(row, reading.LeadRow)
    assert tuple(getattr(lead, column) for column in reading.columns.SOURCE.values()) == row.values
    assert (lead.phone, lead.other_phone) == (PHONE, OTHER)
    assert (lead.phone_mark, lead.other_mark) == (mark_of(PHONE), mark_of(OTHER))
    assert (lead.called_in_at, lead.natural_key, lead.classification) == (row.called_in_at, row.natural_key, "Gold")
    assert (lead.run_id, lead.created_at, lead.erased_at) == (run.pk, NOW, None)
    item = InventoryItem.objects.get()
    assert (item.lead_id, item.age_bucket, item.classification) == (lead.pk, "MONTH_12_TO_23", "Gold")
    assert (item.state, item.county, item.called_in_at, item.created_at) == ("LA", "Caddo", lead.called_in_at, NOW)
    assert (item.sold_at, item.closed_at, item.closed_because) == (None, None, "")


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (0, None), (89, None), (90, "MONTH_3_TO_5"), (179, "MONTH_3_TO_5"), (180, "MONTH_6_TO_8"), (269, "MONTH_6_TO_8"),
        (270, "MONTH_9_TO_11"), (359, "MONTH_9_TO_11"), (360, "MONTH_12_TO_23"), (719, "MONTH_12_TO_23"),
        (720, "MONTH_24_PLUS"), (1_000, "MONTH_24_PLUS"),
    ],
)  # fmt: skip
def test_a_lead_gets_its_item_for_the_bucket_it_is_in(days: int, bucket: str | None) -> None:
    rows = [
        a_row(1, state="UTC", call_in_date=written(NOW - timedelta(days=days))),
        a_row(2, state="UTC", call_in_date=written(NOW - timedelta(days=days, hours=23, minutes=59, seconds=59))),
    ]
    load(csv_bytes(rows))
    assert AgedLead.objects.count() == 2
    assert list(InventoryItem.objects.values_list("age_bucket", flat=True)) == ([bucket, bucket] if bucket else [])


def test_the_stock_is_counted_as_leads_come_in() -> None:
    load(csv_bytes([a_row(1), a_row(2), a_row(3, borrower_age=""), a_row(4, state="tx", county="")]))
    cells = Stock.objects.values_list("classification", "state", "county").annotate(Sum("available"))
    assert set(cells) == {("Gold", "LA", "Caddo", 2), ("Silver", "LA", "Caddo", 1), ("Gold", "TX", "", 1)}


@pytest.mark.parametrize("value", ["a\\b", "\\N", "a\tb", "a\nb", "a\r\nb", '"', "🏠 é", "=1+1", "-5", "'tis", "\\."])
def test_values_are_kept_as_they_are(value: str) -> None:
    load(csv_bytes([a_row(1, full_name=value, county=value, mortgage_id=value, source=value)]))
    lead, item = AgedLead.objects.get(), InventoryItem.objects.get()
    assert (lead.full_name, lead.county, lead.mortgage_id, lead.source) == (value,) * 4
    assert item.county == value


def test_the_reference_file_of_louisiana() -> None:
    gold = [GOLD_ROW | {"Mortage ID": f"G-{n}"} for n in range(1_872)]
    silver = [SILVER_ROW | {"Mortage ID": f"S-{n}"} for n in range(1_966)]
    run = load(csv_bytes([*silver, *gold]))
    assert counts(run) == {"done_rows": 3_838, "successful": 3_838, "gold": 1_872, "silver": 1_966}
    assert AgedLead.objects.filter(classification="Gold").count() == 1_872
    assert AgedLead.objects.filter(classification="Silver").count() == 1_966
    assert InventoryItem.objects.count() == 3_838
    assert ingest.percent_done(run) == 100


def test_the_columns_for_gold_are_the_installations(settings: Any) -> None:
    settings.GOLD_COLUMNS = ["City"]
    run = load(csv_bytes([a_row(1, source="", borrower_age=""), a_row(2, city="")]))
    assert counts(run) == {"done_rows": 2, "successful": 2, "gold": 1, "silver": 1}


def test_what_a_lead_was_when_it_came_in_never_changes() -> None:
    load(csv_bytes([ROW]))
    for change in ({"classification": "Silver"}, {"state": "TX"}, {"called_in_at": NOW}):
        with pytest.raises(IntegrityError, match="never change"), transaction.atomic():
            AgedLead.objects.update(**change)
    assert AgedLead.objects.get().classification == "Gold"


# --- The same leads again ----------------------------------------------------------------------------------------------


def test_the_same_file_again_changes_nothing() -> None:
    data = csv_bytes([a_row(1), a_row(2)])
    first = load(data)
    before = list(AgedLead.objects.order_by("pk").values())
    again = load(data, now=LATER)
    assert (ingest.earlier(again), ingest.earlier(first)) == (first, None)
    assert counts(again) == {"done_rows": 2, "known": 2}
    assert list(AgedLead.objects.order_by("pk").values()) == before
    assert InventoryItem.objects.count() == 2


def test_a_corrected_file_brings_what_is_new_and_leaves_the_rest_alone() -> None:
    load(csv_bytes([a_row(1, borrower_age=""), a_row(2)]))
    run = load(csv_bytes([a_row(1, borrower_age="50", city="Monroe"), a_row(3)]))
    assert counts(run) == {"done_rows": 2, "successful": 1, "known": 1, "gold": 1}
    lead = AgedLead.objects.get(mortgage_id="M-1")
    assert (lead.classification, lead.city, lead.borrower_age) == ("Silver", "Shreveport", "")
    assert ingest.earlier(run) is None


@pytest.mark.parametrize("stretch", [1, 2, 5_000])
def test_rows_that_are_equal_are_one_lead(stretch: int) -> None:
    run = load(
        csv_bytes([a_row(1), a_row(1), a_row(2), a_row(1, full_name="JOHN MOORE ", agent_id="A9")]), stretch=stretch
    )
    assert counts(run) == {"done_rows": 4, "successful": 2, "known": 2, "gold": 2}
    assert leads() == ["M-1", "M-2"]


def test_a_dry_run_counts_and_loads_nothing() -> None:
    load(csv_bytes([a_row(1)]))
    data = csv_bytes(
        [a_row(1), a_row(2), a_row(2), a_row(3, borrower_age=""), a_row(4, state=""), a_row(5, call_in_date="x")]
    )
    run = load(data, dry_run=True)
    assert counts(run) == {
        "done_rows": 6,
        "successful": 2,
        "known": 2,
        "failed": 1,
        "skipped": 1,
        "gold": 1,
        "silver": 1,
    }
    assert list(run.problems.values_list("row_number", flat=True)) == [6, 7]
    assert leads() == ["M-1"]
    assert InventoryItem.objects.count() == 1
    assert ingest.earlier(upload(data)) is None


# --- Rows that are not taken -------------------------------------------------------------------------------------------


def test_what_is_wrong_is_written_down_and_the_rest_comes_in() -> None:
    rows = [a_row(1), a_row(2, state=""), a_row(3, call_in_date="2025-01-15", address='a\\"\tb\n🏠'), a_row(4)]
    run = load(csv_bytes(rows))
    assert counts(run) == {"done_rows": 4, "successful": 2, "failed": 1, "skipped": 1, "gold": 2}
    assert list(run.problems.values_list("row_number", "kind", "problem")) == [
        (3, "skipped", "Missing required field: State"),
        (
            4, "failed",
            "Failed to create Lead: Call In Date “2025-01-15” is not a date. Write it as MM-DD-YYYY HH:MM:SS, like"
            " 01-31-2025 14:05:00.",
        ),
    ]  # fmt: skip
    assert [problem.row for problem in run.problems.all()] == rows[1:3]
    assert leads() == ["M-1", "M-4"]


def test_the_error_file_is_put_right_and_sent_again_as_it_is() -> None:
    rows = [
        a_row(1), a_row(2, state="", full_name="=1+1", lender="-5"), a_row(3, call_in_date="2025-01-15", city='a "b",\nc'),
        a_row(4, state=""),
    ]  # fmt: skip
    first = load(csv_bytes([row | {"Weather": "rain"} for row in rows], headings=[*ROW, "Weather"]))
    text = "".join(ingest.error_file(first))
    assert text.startswith("\ufeffRow,Problem,Mortage ID,")
    wrong = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row["Row"] for row in wrong] == ["3", "4", "5"]
    assert wrong[0]["Problem"] == "Missing required field: State"
    assert (wrong[0]["Full Name"], wrong[0]["Lender"], wrong[0]["Weather"]) == ("'=1+1", "'-5", "rain")
    wrong[0]["State"], wrong[1]["Call In Date"] = "LA", "01-15-2025 10:00:00"
    second = load(csv_text(wrong, headings=list(wrong[0])).encode())
    assert counts(second) == {"done_rows": 3, "successful": 2, "skipped": 1, "gold": 2}
    assert list(AgedLead.objects.order_by("mortgage_id").values_list("mortgage_id", "full_name", "lender", "city")) == [
        ("M-1", "John Moore", "First Bank", "Shreveport"), ("M-2", "=1+1", "-5", "Shreveport"),
        ("M-3", "John Moore", "First Bank", 'a "b",\nc'),
    ]  # fmt: skip
    third = "".join(ingest.error_file(second))
    assert third.splitlines()[0] == text.splitlines()[0]
    assert [row["Mortage ID"] for row in csv.DictReader(io.StringIO(third.removeprefix("\ufeff")))] == ["M-4"]


def test_a_row_with_too_many_cells_fails_until_somebody_has_looked_at_it() -> None:
    heading, line = csv_text([ROW]).splitlines()
    data = f"{heading}\n{line.replace('Caddo,LA', 'Parish, Caddo,LA')}\n"
    first = load(data.encode())
    again = load("".join(ingest.error_file(first)).encode())
    assert counts(first) == counts(again) == {"done_rows": 1, "failed": 1}
    assert not AgedLead.objects.exists()
    assert again.problems.get().problem.startswith("Failed to create Lead: this row has 28 cells under 27 headings.")


def test_without_problems_there_is_no_error_file() -> None:
    assert list(ingest.error_file(load(csv_bytes([ROW])))) == []


# --- People who may not be sold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("because", GoneBecause)
@pytest.mark.parametrize("phone", [PHONE, OTHER])
def test_somebody_who_is_gone_does_not_come_back_with_a_file(phone: str, because: GoneBecause) -> None:
    recalls.forget(phone=phone, because=because, told_by="test", now=NOW)
    run = load(csv_bytes([a_row(1), a_row(2, borrower_phone="3185550177", call_in_phone_number=""), a_row(3)]))
    assert counts(run) == {"done_rows": 3, "successful": 1, "blocked": 2, "gold": 1}
    assert leads() == ["M-2"]


def test_not_even_a_row_of_theirs_that_is_wrong_is_kept() -> None:
    recalls.forget(phone=PHONE, because=GoneBecause.ERASED, told_by="test", now=NOW)
    wrong = [a_row(1, call_in_date="x"), a_row(2, state=""), a_row(3, state="", lender=PHONE, borrower_phone="none")]
    run = load(csv_bytes([*wrong, a_row(4, state="", borrower_phone="3185550177")]))
    assert counts(run) == {"done_rows": 4, "blocked": 3, "skipped": 1}
    assert IngestProblem.objects.get().row["Mortage ID"] == "M-4"


@pytest.mark.parametrize("phone", [PHONE, OTHER])
def test_whoever_opted_out_with_any_business_is_not_loaded(cast: Cast, phone: str) -> None:
    for action in (ConsentAction.REVOKE, ConsentAction.GRANT):  # a START with one business later changes nothing
        Consent.objects.create(business=cast.shop, phone=phone, action=action, source=ConsentSource.TEXT, at=NOW)
    run = load(csv_bytes([a_row(1), a_row(2, state="")]))
    assert counts(run) == {"done_rows": 2, "blocked": 2}
    assert not AgedLead.objects.exists()
    assert not IngestProblem.objects.exists()


def test_a_file_is_refused_while_nobody_who_is_gone_can_be_recognised(settings: Any) -> None:
    recalls.forget(phone=PHONE, because=GoneBecause.ERASED, told_by="test", now=NOW)
    settings.PERSON_MARK_KEY = "another"
    run = load(csv_bytes([ROW]))
    assert (run.status, run.refusal, run.finished_at) == (IngestStatus.REFUSED, ingest.OTHER_KEY, NOW)
    assert not AgedLead.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_person_erased_at_this_moment_is_waited_for() -> None:
    run = ingest.take(run=upload(csv_bytes([ROW])), now=NOW)
    assert run
    erased = threading.Event()

    def erase() -> None:
        with transaction.atomic():
            recalls.forget(phone=PHONE, because=GoneBecause.ERASED, told_by="test", now=NOW)
            erased.set()
            until_somebody_waits()  # for the table of those who are gone

    def work() -> None:
        assert erased.wait(timeout=30)
        ingest.work_on(run=run, clock=at(NOW))

    all_at_once([erase, work])
    assert counts(IngestRun.objects.get()) == {"done_rows": 1, "blocked": 1}
    assert not AgedLead.objects.exists()


# --- The file as a whole -----------------------------------------------------------------------------------------------


def test_a_file_without_our_headings_is_refused_at_once_and_not_kept(tmp_path: Path) -> None:
    run = upload(b"Name,Phone\nAnn,1\n")
    run.refresh_from_db()
    assert (run.status, run.refusal) == (IngestStatus.REFUSED, "CSV missing required columns: State, Call In Date")
    assert (run.file.name, run.finished_at) == ("", NOW)
    assert not (tmp_path / "media").exists()
    assert ingest.take(run=run, now=NOW) is None
    assert ingest.take_waiting(now=NOW) is None


def test_an_upload_that_is_too_large_is_refused(settings: Any) -> None:
    settings.INGEST_MAX_BYTES = 100
    run = upload(csv_bytes([ROW]))
    assert (run.status, run.file.name) == (IngestStatus.REFUSED, "")
    assert run.refusal == "This file is larger than 0.0 GB. Split it, or load it with the command ingest_leads."


def test_an_upload_is_kept_and_waits_for_a_worker(cast: Cast) -> None:
    data = csv_bytes([a_row(1), a_row(2)])
    with TemporaryUploadedFile("Leads May.csv", "text/csv", len(data), None) as file:
        file.write(data)
        run = ingest.begin(name="Leads May.csv", source=file, actor=cast.alice, now=NOW)
    assert (run.status, run.name, run.size, run.total_rows) == (IngestStatus.WAITING, "Leads May.csv", len(data), 2)
    assert (run.started_by, run.done_rows, ingest.percent_done(run)) == (cast.alice, 0, 0)
    assert run.file.name == f"ingest/{run.pk}.csv"
    with run.file.open("rb") as stored:
        assert stored.read() == data
    taken = ingest.take_waiting(now=NOW)
    assert taken == run
    assert counts(ingest.work_on(run=taken, clock=at(NOW))) == {"done_rows": 2, "successful": 2, "gold": 2}


def test_the_upload_that_has_waited_longest_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "path.csv"
    path.write_bytes(csv_bytes([a_row(9)]))
    ingest.begin(name="path", source=path, actor=None, now=NOW - timedelta(days=1))  # whoever has the path reads it
    second, first = upload(csv_bytes([a_row(1)]), now=LATER), upload(csv_bytes([a_row(2)]))
    assert [ingest.take_waiting(now=LATER) for _ in range(3)] == [first, second, None]


def test_a_file_that_is_not_there_any_more_says_so() -> None:
    run = ingest.take(run=upload(csv_bytes([ROW])), now=NOW)
    assert run
    Path(run.file.path).unlink()
    run = ingest.work_on(run=run, clock=at(NOW))
    assert (run.status, run.refusal) == (IngestStatus.REFUSED, ingest.FILE_GONE)


# --- Going on after a crash --------------------------------------------------------------------------------------------

MIXED = [
    a_row(1), a_row(2, state=""), a_row(3), a_row(3), a_row(4, call_in_date="x"), a_row(5, borrower_age=""), a_row(6),
]  # fmt: skip
WHOLE = {"done_rows": 7, "successful": 4, "known": 1, "failed": 1, "skipped": 1, "gold": 3, "silver": 1}


class Crash(Exception):
    pass


def finish(run: IngestRun, *, now: datetime = LATER, **more: Any) -> IngestRun:
    taken = ingest.take(run=run, now=now)
    assert taken
    return ingest.work_on(run=taken, clock=at(now), stretch=2, **more)


def check_that_all_of_mixed_is_there(run: IngestRun) -> None:
    assert (run.status, counts(run)) == (IngestStatus.DONE, WHOLE)
    assert leads() == ["M-1", "M-3", "M-5", "M-6"]
    assert InventoryItem.objects.count() == 4
    assert Stock.objects.aggregate(Sum("available")) == {"available__sum": 4}
    assert list(run.problems.values_list("row_number", flat=True)) == [3, 6]


@pytest.mark.parametrize("stretches", [1, 2, 3, 4])
def test_after_a_crash_between_two_stretches_the_next_one_follows(stretches: int) -> None:
    run = ingest.take(run=upload(csv_bytes(MIXED)), now=NOW)
    assert run
    left = iter(range(1, stretches))

    def crash(_run: IngestRun) -> None:
        if next(left, None) is None:
            raise Crash

    with pytest.raises(Crash):
        ingest.work_on(run=run, clock=at(NOW), stretch=2, progress=crash)
    run = IngestRun.objects.get()
    assert (run.status, run.done_rows) == (IngestStatus.RUNNING, min(2 * stretches, 7))
    assert ingest.take(run=run, now=NOW + timedelta(seconds=60)) is None  # it may be alive
    check_that_all_of_mixed_is_there(finish(run))


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_after_a_crash_inside_a_stretch_nothing_of_it_is_there(crash_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement of it that copies or counts is a place to crash at."""
    run = ingest.take(run=upload(csv_bytes(MIXED)), now=NOW)
    assert run
    copy, calls = ingest._copy, iter(range(crash_at))

    def crash(*args: Any) -> None:
        if next(calls, None) is None:
            raise Crash
        copy(*args)

    monkeypatch.setattr(ingest, "_copy", crash)
    with pytest.raises(Crash):
        ingest.work_on(run=run, clock=at(NOW), stretch=2)
    monkeypatch.undo()
    run = IngestRun.objects.get()
    committed = crash_at // 3
    assert run.done_rows == 2 * committed
    assert AgedLead.objects.count() == InventoryItem.objects.count() == run.successful == [0, 1, 2, 3][committed]
    assert run.problems.count() == run.failed + run.skipped
    check_that_all_of_mixed_is_there(finish(run))


@pytest.mark.django_db(transaction=True)
def test_killed_without_a_word_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    rows = [{"State": "LA", "Call In Date": "01-15-2025 10:00:00", "Mortage ID": f"{n}"} for n in range(12_000)]
    path.write_bytes(csv_bytes(rows, headings=["Mortage ID", "State", "Call In Date"]))
    run = ingest.begin(name="leads", source=path, actor=None, now=NOW)
    connection.close()  # the child must not share ours

    def work() -> None:
        taken = ingest.take(run=run, now=NOW)
        assert taken
        ingest.work_on(run=taken, clock=at(NOW), source=path, stretch=100)

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    while IngestRun.objects.get().done_rows < 1_000:
        assert worker.is_alive()
        time.sleep(0.002)
    assert worker.pid
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    seen = IngestRun.objects.get()
    assert seen.status == IngestStatus.RUNNING
    assert 1_000 <= seen.done_rows < 12_000
    while not (taken := ingest.take(run=seen, now=LATER)):  # its connection is still being cleared away
        time.sleep(0.01)
    assert AgedLead.objects.count() == InventoryItem.objects.count() == taken.done_rows
    done = ingest.work_on(run=taken, clock=at(LATER), source=path)
    assert counts(done) == {"done_rows": 12_000, "successful": 12_000, "silver": 12_000}
    assert AgedLead.objects.count() == InventoryItem.objects.count() == 12_000
    assert Stock.objects.aggregate(Sum("available")) == {"available__sum": 12_000}


def test_a_worker_with_little_time_leaves_the_rest_to_the_next() -> None:
    upload(csv_bytes(MIXED))
    done = []
    while run := ingest.take_waiting(now=NOW):  # no minute is waited for
        run = ingest.work_on(run=run, clock=at(NOW), stretch=2, until=NOW)
        done.append((run.status, run.done_rows))
    assert done == [("running", 2), ("running", 4), ("running", 6), ("running", 7), ("done", 7)]
    check_that_all_of_mixed_is_there(IngestRun.objects.get())


def test_rows_that_are_very_long_come_in_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ingest.take(
        run=upload(csv_bytes([a_row(1), a_row(2), a_row(3, state="", city="x" * 900), a_row(4)])), now=NOW
    )
    assert run
    monkeypatch.setattr(ingest, "_LARGEST", 700)
    done: list[int] = []
    ingest.work_on(run=run, clock=at(NOW), progress=lambda seen: done.append(seen.done_rows))
    assert done == [2, 3, 4]


def test_the_same_path_again_goes_on_with_what_was_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_bytes(csv_bytes(MIXED))
    run = ingest.begin(name="leads", source=path, actor=None, now=NOW)
    taken = ingest.take(run=run, now=NOW)
    assert taken
    ingest.work_on(run=taken, clock=at(NOW), source=path, stretch=2, until=NOW)
    again = ingest.begin(name="copy of leads", source=path, actor=None, now=LATER)
    assert (again, again.done_rows) == (run, 2)
    assert ingest.begin(name="leads", source=path, actor=None, now=LATER, dry_run=True) != run
    check_that_all_of_mixed_is_there(finish(again, source=path))
    assert ingest.begin(name="leads", source=path, actor=None, now=LATER) != run


# --- Several workers ---------------------------------------------------------------------------------------------------


def test_a_worker_that_lost_its_claim_writes_nothing_more() -> None:
    run = ingest.take(run=upload(csv_bytes(MIXED)), now=NOW)
    assert run

    def another_takes_over(seen: IngestRun) -> None:
        assert ingest.take(run=seen, now=LATER)

    lost = ingest.work_on(run=run, clock=at(NOW), stretch=2, progress=another_takes_over)
    assert (lost.status, lost.alive_at, lost.done_rows) == (IngestStatus.RUNNING, LATER, 2)
    assert leads() == ["M-1"]


def test_a_stopped_file_keeps_what_came_in_and_brings_no_more() -> None:
    run = ingest.take(run=upload(csv_bytes(MIXED)), now=NOW)
    assert run
    heard = []
    stopped = ingest.work_on(
        run=run, clock=at(NOW), stretch=2, progress=lambda seen: heard.append(ingest.stop(run=seen, now=NOW))
    )
    assert heard == [True]
    assert (stopped.status, stopped.finished_at, stopped.done_rows) == (IngestStatus.STOPPED, NOW, 2)
    assert leads() == ["M-1"]
    assert ingest.take(run=stopped, now=LATER) is None
    assert not ingest.stop(run=stopped, now=LATER)


@pytest.fixture
def half_done(monkeypatch: pytest.MonkeyPatch) -> IngestRun:
    """Four rows of MIXED are in, and somebody goes on; rows are passed over one by one."""
    monkeypatch.setattr(ingest, "_AT_ONCE", 1)
    run = ingest.take(run=upload(csv_bytes(MIXED)), now=NOW)
    assert run
    ingest.work_on(run=run, clock=at(NOW), stretch=4, until=NOW)
    run = ingest.take(run=run, now=NOW)
    assert run
    assert run.done_rows == 4
    return run


def test_passing_over_what_was_done_gives_signs_of_life(half_done: IngestRun) -> None:
    ticks = itertools.count(1)
    seen = []

    def clock() -> datetime:
        seen.append(IngestRun.objects.get().alive_at)
        return NOW + timedelta(seconds=next(ticks))

    check_that_all_of_mixed_is_there(ingest.work_on(run=half_done, clock=clock))
    assert seen[:5] == [NOW + timedelta(seconds=n) for n in range(5)]


def test_and_notices_that_the_file_was_stopped(half_done: IngestRun) -> None:
    ingest.stop(run=half_done, now=NOW)
    stopped = ingest.work_on(run=half_done, clock=at(NOW))
    assert (stopped.status, stopped.done_rows) == (IngestStatus.STOPPED, 4)


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_work_on_one_file_and_two_files_with_the_same_leads_come_in_side_by_side() -> None:
    """In opposite order, so that they would wait for each other in a circle if they did not come in by turns."""
    rows = [a_row(n) for n in range(200)]
    upload(csv_bytes(rows))
    upload(csv_bytes(rows[::-1]))

    def work() -> IngestRun | None:
        run = ingest.take_waiting(now=NOW)
        return ingest.work_on(run=run, clock=at(NOW), stretch=20) if run else None

    one, other = filter(None, all_at_once([work] * 4))
    assert one != other
    assert one.status == other.status == IngestStatus.DONE
    assert one.done_rows == other.done_rows == 200
    assert one.successful + other.successful == one.known + other.known == 200
    assert AgedLead.objects.count() == InventoryItem.objects.count() == 200


def test_nobody_is_counted_who_only_tells_which_key_we_have() -> None:
    recalls.forget(phone="+15045550100", because=GoneBecause.ERASED, told_by="test", now=NOW)
    assert GonePerson.objects.count() == 2  # with the canary
    assert counts(load(csv_bytes([ROW]))) == {"done_rows": 1, "successful": 1, "gold": 1}
