"""Files of leads on their way into the catalogue.

A file is read in stretches. Each is one transaction: leads, inventory, problems and counters stand or fall together, so
whoever goes on after a crash goes on after the last stretch that was committed. While Postgres takes one stretch in, the
next is read: between two blocks of lines that are sent, a few rows. (With a thread for it, Postgres waited a quarter of
its time for Python's lock.)

A run belongs to whoever claimed it and wrote the moment into `alive_at`. Every stretch checks that this moment is still
there and writes the next one; a run that was not heard of for PATIENCE may be claimed by somebody else, and the one who
lost it stops at the end of its stretch with nothing written.
"""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from django.conf import settings
from django.core.files import File
from django.db import connection, transaction
from django.db.models import Q

from crm.keys import uuid7
from crm.models import User
from marketplace import age_buckets, columns, reading
from marketplace.enums import Classification, IngestStatus
from marketplace.marks import mark_of
from marketplace.models import IngestRun
from marketplace.reading import BadRow, FileRefused, LeadFile, LeadRow
from marketplace.services import recalls

log = structlog.get_logger(__name__)

STRETCH: Final = 5_000  # rows in one transaction
PATIENCE: Final = timedelta(seconds=60)  # a claim nobody has renewed for so long is nobody's
FILE_GONE: Final = "This file is not here any more. Send it again."
OTHER_KEY: Final = (
    "PERSON_MARK_KEY is not the key with which people who may not be sold were marked, so none of them would be recognised."
    " Set that key again, then load the file anew."
)
_LARGEST: Final = 8_000_000  # characters in one transaction, for files whose rows are a thousand times as long as usual
_BLOCK: Final = 100  # lines sent together
_AT_ONCE: Final = 100_000  # rows passed over between two signs of life
UNFINISHED: Final = (IngestStatus.WAITING, IngestStatus.RUNNING)
_COUNTED: Final = ("done_rows", "successful", "known", "blocked", "failed", "skipped", "gold", "silver")
_ADDED_TO_ERRORS: Final = ("Row", "Problem")  # headings of an error file, in front of the original ones

# One stretch at a time comes in, and nobody becomes "gone" while it does: a person who is erased at this moment is either
# in the table when we look, or their leads are when those who erase look. Reading the table waits for nobody.
_LOCK: Final = "LOCK TABLE marketplace_goneperson IN SHARE ROW EXCLUSIVE MODE"

_ON_FILE: Final = (
    "SELECT replace(natural_key::text, '-', '') FROM marketplace_agedlead WHERE natural_key = ANY(%s::uuid[])"
)
_GONE: Final = "SELECT replace(mark::text, '-', '') FROM marketplace_goneperson WHERE mark = ANY(%s::uuid[])"
_OPTED_OUT: Final = "SELECT phone FROM crm_consent WHERE action = 'revoke' AND phone = ANY(%s::text[])"

_LEAD: Final = ", ".join(
    f'"{column}"'
    for column in (
        "id", "natural_key", "classification", "called_in_at", "phone", "other_phone", "phone_mark", "other_mark",
        *columns.SOURCE.values(), "run_id", "created_at",
    )
)  # fmt: skip
_ITEM: Final = "id, lead_id, age_bucket, classification, state, county, called_in_at, created_at, closed_because"
_PROBLEM: Final = "run_id, row_number, kind, problem, row"
_IN_COPY: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})  # COPY's text format
_NULL: Final = "\\N"


class _LostError(Exception):
    """Somebody else works on this run now, or it was stopped."""


class _Ready(NamedTuple):
    """A lead whose lines for COPY are written; `item` is empty while it is too young to be sold.

    Keys and marks are UUIDs as 32 hexadecimal digits, which for millions of rows saves half the time of writing them.
    """

    natural_key: str
    people: dict[str, str]  # whose lead it is: number in E.164 → mark
    classification: str
    lead: str
    item: str


class _Bad(NamedTuple):
    row: BadRow
    people: dict[str, str]


# --- Begin, claim, stop ------------------------------------------------------------------------------------------------


def begin(
    *, name: str, source: Path | File[bytes], actor: User | None, now: datetime, dry_run: bool = False
) -> IngestRun:
    """A file came in. Nothing of it is loaded yet; a file without the headings we need is REFUSED already.

    An upload is kept and waits for a worker (`take_waiting`). A path is not copied, and whoever has it reads it
    (`take`, `work_on`); when the same file was being read from a path and not finished, that run goes on.
    """
    with source.open("rb") as file:
        size = file.size if isinstance(file, File) else 0
        if size > settings.INGEST_MAX_BYTES:
            sentence = (
                f"This file is larger than {settings.INGEST_MAX_BYTES / 1e9:,.1f} GB. Split it, or load it with the command"
                " ingest_leads."
            )
            return IngestRun.objects.create(
                name=name[:255], size=size, dry_run=dry_run, status=IngestStatus.REFUSED, refusal=sentence,
                started_by=actor, created_at=now, finished_at=now,
            )  # fmt: skip
        seen = reading.survey(file)
        if isinstance(source, Path):
            unfinished = IngestRun.objects.filter(
                sha256=seen.sha256, dry_run=dry_run, status__in=UNFINISHED, file=""
            ).first()
            if unfinished:
                return unfinished
        run = IngestRun(
            name=name[:255], sha256=seen.sha256, size=seen.size, total_rows=seen.rows, dry_run=dry_run,
            started_by=actor, created_at=now,
        )  # fmt: skip
        file.seek(0)
        try:
            LeadFile(file)
        except FileRefused as refusal:
            run.status, run.refusal, run.finished_at = IngestStatus.REFUSED, str(refusal)[:300], now
        if isinstance(file, File) and run.status == IngestStatus.WAITING:
            file.seek(0)
            run.file.save(f"{run.pk}.csv", file, save=False)
        run.save()
    return run


def take(*, run: IngestRun, now: datetime) -> IngestRun | None:
    """Claim this run, for `work_on`. None: somebody else works on it, or it has ended."""
    return _claim(IngestRun.objects.filter(pk=run.pk), now=now)


def take_waiting(*, now: datetime) -> IngestRun | None:
    """Claim the upload that has waited longest, or whose reader died."""
    return _claim(IngestRun.objects.exclude(file=""), now=now)


def stop(*, run: IngestRun, now: datetime) -> bool:
    """What was loaded stays; the rest does not come. False: it had ended already."""
    changes: dict[str, Any] = {"status": IngestStatus.STOPPED, "finished_at": now}
    return IngestRun.objects.filter(pk=run.pk, status__in=UNFINISHED).update(**changes) == 1


def _claim(runs: Any, *, now: datetime) -> IngestRun | None:
    nobodys = Q(alive_at__isnull=True) | Q(alive_at__lt=now - PATIENCE)
    with transaction.atomic():
        free = runs.filter(nobodys, status__in=UNFINISHED).select_for_update(skip_locked=True, no_key=True)
        run: IngestRun | None = free.order_by("created_at", "pk").first()
        if run:
            run.status, run.alive_at = IngestStatus.RUNNING, now
            run.save(update_fields=["status", "alive_at"])
    return run


# --- What is known about a run -----------------------------------------------------------------------------------------


def earlier(run: IngestRun) -> IngestRun | None:
    """When the very same file was loaded to its end before: that run. Then everything in it will be “already on file”."""
    done = IngestRun.objects.filter(sha256=run.sha256, status=IngestStatus.DONE, dry_run=False)
    return done.filter(finished_at__lte=run.created_at).exclude(pk=run.pk).order_by("-finished_at").first()


def percent_done(run: IngestRun) -> int:
    """For a progress bar. `total_rows` is an estimate until the end, so 99 is the most until then."""
    if run.status == IngestStatus.DONE:
        return 100
    return min(99, 100 * run.done_rows // run.total_rows) if run.total_rows else 0


def error_file(run: IngestRun) -> Iterator[str]:
    """The rows that were not taken, as lines of CSV: what is wrong, then the original cells.

    Put right in a spreadsheet, it is sent again as it is. Cells a spreadsheet would take for a formula begin with an
    apostrophe, which reading takes off again; a row with too many cells still has them, so that it fails until somebody
    has looked at it.
    """
    problems = run.problems.order_by("row_number")
    first = problems.first()
    if first is None:
        return
    headings = [heading for heading, _ in reading.as_it_stood(first.row)]
    headings = [heading for heading in headings if not heading.startswith("(cell ") and heading not in _ADDED_TO_ERRORS]
    yield "\ufeff" + _csv_line([*_ADDED_TO_ERRORS, *headings])  # Excel reads UTF-8 only with the mark
    for problem in problems.iterator(chunk_size=1_000):
        cells = [problem.row.get(heading, "") for heading in headings]
        beyond = [cell for heading, cell in reading.as_it_stood(problem.row) if heading.startswith("(cell ")]
        safe = map(reading.safe_for_spreadsheets, [*cells, *beyond])
        yield _csv_line([problem.row_number, problem.problem, *safe])


def _csv_line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


# --- The work ----------------------------------------------------------------------------------------------------------


def work_on(
    *,
    run: IngestRun,
    clock: Callable[[], datetime],
    source: Path | None = None,
    until: datetime | None = None,
    stretch: int = STRETCH,
    progress: Callable[[IngestRun], None] | None = None,
) -> IngestRun:
    """Read a claimed run (see `take`) on to its end, or until `until`, after which anybody may take it and go on.

    `source` is where a run without a stored file is read from. Returns the run as it stands then.
    """
    try:
        with source.open("rb") if source else run.file.open("rb") as file:
            if not recalls.marks_are_ours():
                raise FileRefused(OTHER_KEY)
            _read_on(run, LeadFile(file), clock=clock, until=until, stretch=stretch, progress=progress)
    except (FileRefused, FileNotFoundError) as error:
        sentence = FILE_GONE if isinstance(error, FileNotFoundError) else str(error)
        _ours(run).update(status=IngestStatus.REFUSED, refusal=sentence[:300], finished_at=clock())
    except _LostError:
        log.info("ingest_lost", run=str(run.pk))
    except KeyboardInterrupt:
        _ours(run).update(alive_at=None)
        raise
    run.refresh_from_db()
    return run


def _read_on(
    run: IngestRun,
    file: LeadFile,
    *,
    clock: Callable[[], datetime],
    until: datetime | None,
    stretch: int,
    progress: Callable[[IngestRun], None] | None,
) -> None:
    _pass_over(file, run, clock=clock)
    rows = file.rows(now=clock(), gold_columns=settings.GOLD_COLUMNS)
    ahead = _Ahead(rows, run=run, clock=clock, count=stretch)
    while entries := ahead.take():
        _take_in(run, entries, ahead=ahead, now=clock())
        if progress:
            progress(run)
        if until and clock() >= until:
            _ours(run).update(alive_at=None)
            return
    ended = _ours(run).update(status=IngestStatus.DONE, total_rows=run.done_rows, finished_at=clock())
    if ended:
        log.info("ingest_done", run=str(run.pk), **{name: getattr(run, name) for name in _COUNTED})


def _pass_over(file: LeadFile, run: IngestRun, *, clock: Callable[[], datetime]) -> None:
    """What was dealt with before. In a long file it takes seconds, so that there are signs of life in between."""
    left = run.done_rows
    while left:
        file.pass_over(min(left, _AT_ONCE))
        left -= min(left, _AT_ONCE)
        now = clock()
        if not _ours(run).update(alive_at=now):
            raise _LostError
        run.alive_at = now


class _Ahead:
    """The next stretch, of `count` rows, read a few at a time."""

    def __init__(
        self, rows: Iterator[LeadRow | BadRow], *, run: IngestRun, clock: Callable[[], datetime], count: int
    ) -> None:
        self._rows, self._run, self._clock, self._count = rows, run, clock, count
        self._begin()

    def _begin(self) -> None:
        self._entries: list[_Ready | _Bad] = []
        self._room = _LARGEST
        now = self._clock()
        self._shelf = _Shelf(now)
        self._ends = f"{self._run.pk}\t{now.isoformat()}\n"

    def take(self) -> list[_Ready | _Bad]:
        """The stretch, whole, while another begins. Empty at the end of the file."""
        self.read(self._count)
        entries = self._entries
        self._begin()
        return entries

    def read(self, rows: int) -> None:
        """So many rows, unless the stretch is full before."""
        for row in islice(self._rows, min(rows, self._count - len(self._entries)) if self._room > 0 else 0):
            entry: _Ready | _Bad
            if isinstance(row, BadRow):
                entry = _Bad(row, {phone: mark_of(phone).hex for phone in row.phones})
                self._room -= sum(map(len, row.row.values()))
            else:
                entry = _ready(row, shelf=self._shelf, ends=self._ends)
                self._room -= len(entry.lead)
            self._entries.append(entry)
            if self._room <= 0:
                return


def _ready(row: LeadRow, *, shelf: _Shelf, ends: str) -> _Ready:
    people = {phone: mark_of(phone).hex for phone in {row.phone, row.other_phone} if phone}
    natural_key, lead_id, called_in_at = row.natural_key.hex, uuid7().hex, row.called_in_at.isoformat()
    values, state, county = "\t".join(row.values), row.state, row.county
    if "\\" in values or "\n" in values or "\r" in values or values.count("\t") != len(row.values) - 1:
        values = "\t".join([value.translate(_IN_COPY) for value in row.values])
        state, county = state.translate(_IN_COPY), county.translate(_IN_COPY)
    lead = (
        f"{lead_id}\t{natural_key}\t{row.classification}\t{called_in_at}\t{row.phone}\t{row.other_phone}"
        f"\t{people.get(row.phone, _NULL)}\t{people.get(row.other_phone, _NULL)}\t{values}\t{ends}"
    )
    item = ""
    bucket = shelf.bucket_of(row.called_in_at)
    if bucket:
        item = (
            f"{uuid7().hex}\t{lead_id}\t{bucket}\t{row.classification}\t{state}\t{county}\t{called_in_at}"
            f"\t{shelf.now}\t\n"
        )
    return _Ready(natural_key, people, row.classification, lead, item)


class _Shelf:
    """In which bucket a lead is at one moment."""

    def __init__(self, now: datetime) -> None:
        self.now = now.isoformat()
        oldest_first = [*age_buckets.windows(as_of=now)][::-1]
        self._names = [name for name, _ in oldest_first]
        self._until = [window.until for _, window in oldest_first]

    def bucket_of(self, called_in_at: datetime) -> str | None:
        """None: it is too young to be sold."""
        place = bisect_left(self._until, called_in_at)
        return self._names[place] if place < len(self._names) else None


def _take_in(run: IngestRun, entries: list[_Ready | _Bad], *, ahead: _Ahead, now: datetime) -> None:
    """One stretch, in one transaction. Raises _LostError when the run is not ours any more."""
    ready = [entry for entry in entries if isinstance(entry, _Ready)]
    bad = [entry for entry in entries if isinstance(entry, _Bad)]
    with transaction.atomic(), connection.cursor() as cursor:
        if not run.dry_run:
            cursor.execute(_LOCK)
        if not _ours(run).select_for_update(no_key=True).values_list("pk"):
            raise _LostError
        gone = _gone(cursor, {phone: mark for entry in entries for phone, mark in entry.people.items()})
        on_file = _found(cursor, _ON_FILE, (entry.natural_key for entry in ready))
        counts: Counter[str] = Counter(done_rows=len(entries))
        new, problems = [], []
        for entry in ready:
            if not gone.isdisjoint(entry.people):
                counts["blocked"] += 1
            elif entry.natural_key in on_file:
                counts["known"] += 1
            else:
                on_file.add(entry.natural_key)
                new.append(entry)
        for row, people in bad:
            if not gone.isdisjoint(people):  # nothing of theirs is kept, not even a row that was wrong
                counts["blocked"] += 1
            else:
                counts[row.kind] += 1
                problems.append(row)
        counts["successful"] = len(new)
        counts["gold"] = sum(entry.classification == Classification.GOLD for entry in new)
        counts["silver"] = len(new) - counts["gold"]
        if not run.dry_run:
            _copy(cursor, f"marketplace_agedlead ({_LEAD})", [entry.lead for entry in new], ahead)
            _copy(cursor, f"marketplace_inventoryitem ({_ITEM})", [entry.item for entry in new], ahead)
        _copy(cursor, f"marketplace_ingestproblem ({_PROBLEM})", [_problem_line(run, row) for row in problems], ahead)
        totals = {name: getattr(run, name) + counts[name] for name in _COUNTED}
        IngestRun.objects.filter(pk=run.pk).update(**totals, alive_at=now)
    run.alive_at = now  # only now: until the commit the claim is the old one
    for name, total in totals.items():
        setattr(run, name, total)


def _ours(run: IngestRun) -> Any:
    """The run, if we still have it."""
    return IngestRun.objects.filter(pk=run.pk, status=IngestStatus.RUNNING, alive_at=run.alive_at)


def _gone(cursor: Any, people: dict[str, str]) -> set[str]:
    """The numbers of those who may not be sold: erased, opted out here, or with any business a moment ago."""
    marks = _found(cursor, _GONE, people.values())
    return _found(cursor, _OPTED_OUT, people) | {phone for phone, mark in people.items() if mark in marks}


def _found(cursor: Any, sql: str, wanted: Iterable[str]) -> set[str]:
    """Which of them are there: hexadecimal digits or E.164, so nothing in them means anything to Postgres."""
    cursor.execute(sql, ["{" + ",".join(wanted) + "}"])
    return {row[0] for row in cursor.fetchall()}


def _copy(cursor: Any, into: str, lines: list[str], ahead: _Ahead) -> None:
    if not any(lines):
        return
    with cursor.copy(f"COPY {into} FROM STDIN") as copy:
        for start in range(0, len(lines), _BLOCK):
            copy.write("".join(lines[start : start + _BLOCK]))
            ahead.read(_BLOCK // 2)  # leads and items: two lines for each row


def _problem_line(run: IngestRun, row: BadRow) -> str:
    cells = (row.kind, row.problem[:300], json.dumps(row.row, ensure_ascii=False))
    return "\t".join([str(run.pk), str(row.number), *(cell.translate(_IN_COPY) for cell in cells)]) + "\n"
