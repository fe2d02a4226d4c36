"""`ingest_leads` and `export_leads` at the command line."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from marketplace.enums import IngestStatus
from marketplace.management.commands import ingest_leads
from marketplace.models import AgedLead, IngestRun, InventoryItem
from marketplace.services import ingest
from tests.marketplace.lead_files import ROW, a_row, csv_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def a_file(rows: list[dict[str, str]], name: str = "leads.csv") -> Path:
    path = Path(name)
    path.write_bytes(csv_bytes(rows))
    return path


def run(*arguments: Any, **options: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(*arguments, stdout=out, stderr=err, **options)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


# --- ingest_leads ------------------------------------------------------------------------------------------------------


def test_a_good_file_ends_with_0_and_a_summary() -> None:
    code, out, err = run("ingest_leads", a_file([a_row(1), a_row(2, source=""), a_row(1)]))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "total_rows: 3", "successful: 2", "failed: 0", "skipped: 0", "already on file: 1", "blocked: 0", "gold_count: 1",
        "silver_count: 1",
    ]  # fmt: skip
    assert Path("ingestion_errors.json").read_text() == "[\n]\n"
    assert AgedLead.objects.count() == InventoryItem.objects.count() == 2
    assert IngestRun.objects.get().file.name == ""


def test_the_same_file_again_ends_with_0_and_says_when_it_was_loaded() -> None:
    file = a_file([a_row(1)])
    run("ingest_leads", file)
    code, out, err = run("ingest_leads", file)
    assert (code, err) == (0, f"This file was loaded on {timezone.now():%Y-%m-%d}; only what is missing comes in.\n")
    assert "successful: 0" in out.splitlines()
    assert "already on file: 1" in out.splitlines()
    assert AgedLead.objects.count() == 1


def test_rows_not_taken_end_with_1_and_stand_in_the_logs() -> None:
    rows = [a_row(1), *(a_row(n, state="") for n in range(2, 8)), a_row(8, call_in_date="soon", city="Zoë")]
    code, out, _ = run("ingest_leads", a_file(rows), "--error-log", "log.json", "--fixable", "fix.csv")
    assert code == 1
    assert out.splitlines()[1:4] == ["successful: 1", "failed: 1", "skipped: 6"]
    assert out.splitlines()[8:] == [f"Row {n}: Missing required field: State" for n in range(3, 8)]
    log = json.loads(Path("log.json").read_text(encoding="utf-8"))
    assert [entry["row_num"] for entry in log] == [3, 4, 5, 6, 7, 8, 9]
    assert log[-1] == {
        "row_num": 9,
        "error": "Failed to create Lead: Call In Date “soon” is not a date. Write it as MM-DD-YYYY HH:MM:SS, like"
        " 01-31-2025 14:05:00.",
        "csv_row": rows[-1],
    }
    with Path("fix.csv").open(encoding="utf-8-sig", newline="") as fix:
        wrong = list(csv.DictReader(fix))
    assert [row.pop("Row") for row in wrong] == ["3", "4", "5", "6", "7", "8", "9"]
    assert [row for row in wrong if row.pop("Problem")] == rows[1:]


def test_a_dry_run_loads_nothing_and_says_so() -> None:
    code, out, _ = run("ingest_leads", a_file([a_row(1)]), "--dry-run")
    assert (code, out.splitlines()[:3]) == (0, ["Dry run: nothing was loaded.", "total_rows: 1", "successful: 1"])
    assert not AgedLead.objects.exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "CSV file is empty or malformed"),
        (b"Name\nAnn\n", "CSV missing required columns: State, Call In Date"),
    ],
)
def test_a_refused_file_is_an_error(data: bytes, sentence: str) -> None:
    Path("leads.csv").write_bytes(data)
    with pytest.raises(CommandError) as error:
        run("ingest_leads", "leads.csv")
    assert (str(error.value), error.value.returncode) == (sentence, 1)
    assert IngestRun.objects.get().status == IngestStatus.REFUSED


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.csv"], "There is no file nowhere.csv."),
        (["leads.csv", "--batch-size", "0"], "--batch-size is 1 to 50,000."),
        (["leads.csv", "--batch-size", "50001"], "--batch-size is 1 to 50,000."),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(arguments: list[str], sentence: str) -> None:
    a_file([a_row(1)])
    with pytest.raises(CommandError) as error:
        run("ingest_leads", *arguments)
    assert str(error.value) == sentence
    assert not IngestRun.objects.exists()


def test_interrupted_it_ends_with_130_and_the_same_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    file = a_file([a_row(n) for n in range(5)])
    take_in, calls = ingest._take_in, iter(range(2))

    def interrupted(*args: Any, **kwargs: Any) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        take_in(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_take_in", interrupted)
        code, out, err = run("ingest_leads", file, batch_size=1)
    assert (code, out) == (130, "")
    assert err == "Interrupted. What was loaded stays; the same command goes on from there.\n"
    assert AgedLead.objects.count() == IngestRun.objects.get().done_rows == 2
    code, out, _ = run("ingest_leads", file)
    assert (code, out.splitlines()[:2]) == (0, ["total_rows: 5", "successful: 5"])
    assert AgedLead.objects.count() == 5
    assert IngestRun.objects.get().status == IngestStatus.DONE


def claimed_by_somebody(file: Path) -> None:
    ingest.begin(name="leads.csv", source=file, actor=None, now=timezone.now())
    IngestRun.objects.update(status=IngestStatus.RUNNING, alive_at=timezone.now() - timedelta(seconds=50))


def test_a_reader_that_seems_dead_is_waited_for_until_that_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    file = a_file([a_row(1)])
    claimed_by_somebody(file)
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        monkeypatch.setattr(ingest, "PATIENCE", timedelta(seconds=50))  # that time has gone by

    monkeypatch.setattr(ingest_leads.time, "sleep", sleep)
    code, out, err = run("ingest_leads", file)
    assert (code, out.splitlines()[:2]) == (0, ["total_rows: 1", "successful: 1"])
    assert err == "Another process was reading this file. Waiting 10 seconds to see whether it is dead.\n"
    assert len(waits) == 1
    assert 9 < waits[0] <= 10.1


def test_a_file_that_another_process_is_reading_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    file = a_file([a_row(1)])
    claimed_by_somebody(file)
    monkeypatch.setattr(ingest_leads.time, "sleep", lambda _seconds: IngestRun.objects.update(alive_at=timezone.now()))
    with pytest.raises(CommandError, match=r"^Another process is reading this file at this moment\.$"):
        run("ingest_leads", file)
    assert not AgedLead.objects.exists()


# --- export_leads ------------------------------------------------------------------------------------------------------


def test_exported_and_loaded_elsewhere_the_leads_are_the_same() -> None:
    odd = [
        'say "hi"',
        "two\nlines\r\nthree",
        "🏠 Zoë",
        "=1+1",
        "-5",
        "+15551234567",
        "@x",
        "''=1",
        "a,b",
        "\\N",
        "O'Hara",
    ]
    rows = [a_row(n, full_name=value, city=value, county=value) for n, value in enumerate(odd)]
    run("ingest_leads", a_file([*rows, a_row(90, state="tx"), a_row(91, borrower_age="", state="Ontario")]))
    own = {"id", "run_id", "created_at"}
    before = [
        {k: v for k, v in lead.items() if k not in own} for lead in AgedLead.objects.order_by("natural_key").values()
    ]
    assert len(before) == 13
    code, out, _ = run("export_leads", "-o", "out.csv")
    assert (code, out) == (0, "13 leads written to out.csv.\n")
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert written[:11] == rows
    assert list(written[0]) == list(ROW)
    InventoryItem.objects.all().delete()
    AgedLead.objects.all().delete()
    code, out, _ = run("ingest_leads", "out.csv")
    assert (code, out.splitlines()[:2]) == (0, ["total_rows: 13", "successful: 13"])
    after = [
        {k: v for k, v in lead.items() if k not in own} for lead in AgedLead.objects.order_by("natural_key").values()
    ]
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-c", "Gold"], ["M-1", "M-2"]),
        (["-c", "Silver"], ["M-3"]),
        (["-s", "tx"], ["M-2", "M-3"]),
        (["-c", "Gold", "-s", " TX "], ["M-2"]),
    ],
)
def test_only_what_was_asked_for_is_exported(arguments: list[str], expected: list[str]) -> None:
    run("ingest_leads", a_file([a_row(1), a_row(2, state="TX"), a_row(3, state="TX", source=""), a_row(4)]))
    AgedLead.objects.filter(mortgage_id="M-4").update(erased_at=timezone.now())
    assert run("export_leads", "-o", "out.csv", *arguments)[0] == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["Mortage ID"] for row in csv.DictReader(file)] == expected


def test_nothing_to_export_is_an_error_and_leaves_an_older_file_alone() -> None:
    Path("out.csv").write_text("older")
    with pytest.raises(CommandError) as error:
        run("export_leads", "-o", "out.csv", "-s", "LA")
    assert (str(error.value), error.value.returncode) == ("No lead matches, so no file was written.", 1)
    assert Path("out.csv").read_text() == "older"
    assert [path.name for path in Path.cwd().iterdir()] == ["out.csv"]
