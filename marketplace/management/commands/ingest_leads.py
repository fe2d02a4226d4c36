"""`manage.py ingest_leads FILE`: load a file of leads. Stopped or killed, the same command goes on where it was."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from marketplace.enums import IngestStatus
from marketplace.models import IngestRun
from marketplace.services import ingest

SHOWN: Final = 5  # problems on the screen
LARGEST_BATCH: Final = 50_000
INTERRUPTED: Final = 130
_NEWS_EVERY: Final = 1.0  # seconds


class Command(BaseCommand):
    help = (
        "Load a CSV file of leads. Rows that are on file already are left alone, so a file may be loaded again. Ends with"
        " 0 when every row was taken or already known, 1 when rows were failed or skipped, 130 when interrupted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="CSV in UTF-8, with the columns State and Call In Date at least")
        parser.add_argument("--batch-size", type=int, default=ingest.STRETCH, help="rows committed together")
        parser.add_argument(
            "--dry-run", action="store_true",
            help="read and count, load nothing; a row that stands twice in the file counts as new twice",
        )  # fmt: skip
        parser.add_argument(
            "--error-log", type=Path, default=Path("ingestion_errors.json"), help="every problem, as JSON"
        )
        parser.add_argument("--fixable", type=Path, help="the rows not taken, as a CSV to put right and load again")

    def handle(self, *_args: Any, **options: Any) -> None:
        file: Path = options["file"]
        if not 1 <= options["batch_size"] <= LARGEST_BATCH:
            raise CommandError(f"--batch-size is 1 to {LARGEST_BATCH:,}.")
        if not file.is_file():
            raise CommandError(f"There is no file {file}.")
        dry_run = options["dry_run"]
        try:
            run = ingest.begin(name=file.name, source=file, actor=None, now=timezone.now(), dry_run=dry_run)
            if run.status != IngestStatus.REFUSED:
                before = ingest.earlier(run)
                if before and before.finished_at:
                    self.stderr.write(
                        f"This file was loaded on {before.finished_at:%Y-%m-%d}; only what is missing comes in."
                    )
                run = self._work(run, file, stretch=options["batch_size"])
        except KeyboardInterrupt:
            self.stderr.write("Interrupted. What was loaded stays; the same command goes on from there.")
            sys.exit(INTERRUPTED)
        if run.status == IngestStatus.REFUSED:
            raise CommandError(run.refusal)
        if run.status != IngestStatus.DONE:
            raise CommandError(
                "Somebody stopped this file, or another process took it over. The counts are on its page."
            )
        self._summarise(run)
        _write_log(run, options["error_log"])
        if options["fixable"] and (run.failed or run.skipped):
            with options["fixable"].open("w", encoding="utf-8", newline="") as fixable:
                fixable.writelines(ingest.error_file(run))
        if run.failed or run.skipped:
            sys.exit(1)

    def _work(self, run: IngestRun, file: Path, *, stretch: int) -> IngestRun:
        next_news = time.monotonic() + _NEWS_EVERY

        def tell(run: IngestRun) -> None:
            nonlocal next_news
            if time.monotonic() >= next_news:
                next_news = time.monotonic() + _NEWS_EVERY
                self.stderr.write(f"{run.done_rows:,} rows, {ingest.percent_done(run)} %")

        claimed = self._claim(run)
        return ingest.work_on(run=claimed, clock=timezone.now, source=file, stretch=stretch, progress=tell)

    def _claim(self, run: IngestRun) -> IngestRun:
        """One that was killed a moment ago looks as if it were still at work, until it has been silent long enough."""
        seen = run.alive_at
        while not (claimed := ingest.take(run=run, now=timezone.now())):
            run.refresh_from_db()
            if run.alive_at != seen or run.status not in ingest.UNFINISHED:
                raise CommandError("Another process is reading this file at this moment.")
            wait = (run.alive_at + ingest.PATIENCE - timezone.now()).total_seconds() if run.alive_at else 0
            self.stderr.write(
                f"Another process was reading this file. Waiting {wait:.0f} seconds to see whether it is dead."
            )
            time.sleep(max(wait, 0) + 0.1)
        return claimed

    def _summarise(self, run: IngestRun) -> None:
        if run.dry_run:
            self.stdout.write("Dry run: nothing was loaded.")
        for name, count in (
            ("total_rows", run.done_rows), ("successful", run.successful), ("failed", run.failed), ("skipped", run.skipped),
            ("already on file", run.known), ("blocked", run.blocked), ("gold_count", run.gold), ("silver_count", run.silver),
        ):  # fmt: skip
            self.stdout.write(f"{name}: {count}")
        for problem in run.problems.order_by("row_number")[:SHOWN]:
            self.stdout.write(f"Row {problem.row_number}: {problem.problem}")


def _write_log(run: IngestRun, path: Path) -> None:
    """A list of {row_num, error, csv_row}; empty when all went well, so that no older one is mistaken for it."""
    with path.open("w", encoding="utf-8") as log:
        log.write("[")
        for n, problem in enumerate(run.problems.order_by("row_number").iterator(chunk_size=1_000)):
            entry = {"row_num": problem.row_number, "error": problem.problem, "csv_row": problem.row}
            log.write(("," if n else "") + "\n" + json.dumps(entry, ensure_ascii=False))
        log.write("\n]\n")
