"""Files of bought leads that buyers take away.

A file is made once and never changes: who asks for the same sales in the same order again gets the same bytes. Whoever
makes one keeps saying so in `alive_at`; the moment that stands there is their claim. A claim gone silent, because its
holder was killed, may be taken over. One that was taken away, because somebody in the file was erased meanwhile, makes
nothing any more, and the file is begun again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from django.core.files import File
from django.core.files.storage import Storage
from django.db import transaction
from django.db.models import Q

from crm import rows
from crm.models import Business
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace import writers
from marketplace.columns import SOLD, Column
from marketplace.enums import ExportProfile, ExportStatus
from marketplace.models import Export, ExportDownload, Purchase, Sale
from marketplace.sanitising import Cell

if TYPE_CHECKING:
    BinaryFile = File[bytes]
else:
    BinaryFile = File  # generic for type checkers alone

log = structlog.get_logger(__name__)

MOST: Final = 100_000  # leads in one file
AT_ONCE: Final = 5_000  # leads that are written while somebody waits; more is left to the worker
SUFFIX: Final = {ExportProfile.CSV: ".csv", ExportProfile.MACHINE: ".csv", ExportProfile.XLSX: ".xlsx"}
CONTENT_TYPE: Final = {
    ExportProfile.CSV: "text/csv; charset=utf-8",
    ExportProfile.MACHINE: "text/csv; charset=utf-8",
    ExportProfile.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

_SILENT: Final = timedelta(seconds=60)  # after this long without a sign of life somebody else may take over
_CHUNK: Final = 1_000  # leads read by one statement
_PATIENCE: Final = 5.0  # seconds for somebody else who makes the very file
_PAUSE: Final = 0.05  # seconds between two looks
_LOCK: Final = 0x4578706F7274  # "Export": asking (shared) and erasing (alone) keep out of each other's way
_UNDER_WAY: Final = (ExportStatus.BUILDING, ExportStatus.READY)
_STATE: Final = ("status", "file", "sha256", "size", "done_rows", "stripped", "alive_at", "voided_at")
_FIELDS: Final = tuple(column.path.replace(".", "__") for column in SOLD)
_WHY_NOT: Final = {
    ExportStatus.BUILDING: "This file is still being made. Try again in a minute.",
    ExportStatus.FAILED: "This file could not be made. Ask for it again.",
    ExportStatus.VOIDED: "This file was withdrawn: somebody in it has been erased since. Ask for it again; the new one"
    " leaves their details out.",
}
assert SOLD[0].path == "id", "rows are found again by their first value"


class SaleNotFound(Refused):
    """A sale that is not there, or somebody else's: the same words for both. The first that was asked for."""

    def __init__(self, sale_id: UUID) -> None:
        super().__init__(f"There is no sale {sale_id}.")
        self.sale_id = sale_id


class NotReady(Refused):
    """There is no file to hand out; `status` tells whether there will be."""

    def __init__(self, status: ExportStatus) -> None:
        super().__init__(_WHY_NOT[status])
        self.status = status


class _Lost(Exception):
    """Somebody else makes this file now."""


# --- Asking --------------------------------------------------------------------------------------------------------------


def all_sale_ids(*, business: Business, purchase_id: UUID | None = None) -> list[UUID]:
    """What this buyer bought (in one purchase), in the order of buying; no more than one above what fits in a file."""
    with only(business):
        sales = Sale.objects.for_business(business)
        if purchase_id is not None:
            sales = sales.filter(purchase_id=purchase_id)
        return list(sales.order_by("sold_at", "id").values_list("pk", flat=True)[: MOST + 1])


def ask_for(
    *, business: Business, profile: ExportProfile, by: str, now: datetime, sale_ids: Sequence[UUID] = (),
    purchase: Purchase | None = None,
) -> Export:  # fmt: skip
    """The file of these sales, or of a whole purchase, in this order: the one there is, or else one to be made.

    A sale named twice has one row. Raises SaleNotFound; Refused for none and for more than MOST.
    """
    if purchase is not None:
        sale_ids = all_sale_ids(business=business, purchase_id=purchase.pk)
    wanted = list(dict.fromkeys(sale_ids))
    if not wanted:
        raise Refused("Choose at least one lead for the file.")
    if len(wanted) > MOST:
        raise Refused(f"One file holds at most {MOST:,} leads. Take them in several files.")
    _check_owner(business, wanted)
    fingerprint = hashlib.sha256("\n".join([ExportProfile(profile).value, *map(str, wanted)]).encode()).hexdigest()
    with transaction.atomic(), only(business):
        # Nobody is erased between here and the commit, or their erasure would not find this file.
        rows.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_LOCK])
        standing = Export.objects.for_business(business).filter(fingerprint=fingerprint, status__in=_UNDER_WAY)
        while (export := standing.first()) is None:
            asked = Export(
                business=business, profile=profile, sale_ids=wanted, fingerprint=fingerprint, asked_by=by[:120],
                created_at=now,
            )  # fmt: skip
            Export.objects.bulk_create([asked], ignore_conflicts=True)  # a twin may have come first
    export.business = business
    return export


def ready_or_build(
    *, business: Business, profile: ExportProfile, by: str, now: datetime, sale_ids: Sequence[UUID] = (),
    purchase: Purchase | None = None,
) -> Export:  # fmt: skip
    """Like `ask_for`, and up to AT_ONCE leads are written before it returns. A longer file is left to the worker, and so
    is one that somebody else is slow to finish: look at the status."""
    export = ask_for(business=business, profile=profile, by=by, now=now, sale_ids=sale_ids, purchase=purchase)
    if len(export.sale_ids) > AT_ONCE:
        return export
    until = time.monotonic() + _PATIENCE
    while export.status == ExportStatus.BUILDING and time.monotonic() < until:
        if _build(export.pk, now=now) is None:  # somebody else is at it, or was until just now
            time.sleep(_PAUSE)
        export.refresh_from_db(fields=_STATE)
    return export


def _check_owner(business: Business, wanted: list[UUID]) -> None:
    stranger = rows.execute(
        "SELECT asked.id FROM unnest(%s::uuid[]) WITH ORDINALITY AS asked(id, place)"
        " LEFT JOIN marketplace_sale s ON s.business_id = %s AND s.id = asked.id"
        " WHERE s.id IS NULL ORDER BY asked.place LIMIT 1",
        [wanted, business.pk],
    ).fetchone()
    if stranger is not None:
        raise SaleNotFound(stranger[0])


# --- Making --------------------------------------------------------------------------------------------------------------


def build(export_id: UUID, *, now: datetime) -> Export:
    """Make the file, unless it is made or somebody is at it. However many try, one makes it. Raises Export.DoesNotExist.

    Anything that goes wrong leaves the export failed, and goes on to the caller.
    """
    made = _build(export_id, now=now)
    if made is not None:
        return made
    with every_business():
        return Export.objects.select_related("business").get(pk=export_id)


def take_waiting(*, now: datetime) -> Export | None:
    """Make the file that has waited longest, or whose maker fell silent. None: nothing waits."""
    with every_business():
        for voided in Export.objects.filter(status=ExportStatus.VOIDED).exclude(file="").defer("sale_ids"):
            _delete_file(voided)  # its erasure was killed before it came to that
        waiting = Export.objects.filter(_is_free(now), status=ExportStatus.BUILDING).order_by("created_at", "pk")
        ids = list(waiting.values_list("pk", flat=True)[:20])
    for export_id in ids:
        made = _build(export_id, now=now)
        if made is not None:
            return made
    return None


@dataclass
class _Claim:
    """The right to make a file. It is kept alive while time goes by, counted from the moment that was handed in."""

    export: Export
    name: str  # of the file, in its storage
    now: datetime
    held: datetime
    started: float  # on the monotonic clock
    stripped: int = 0

    def renew(self, **changes: Any) -> None:
        """Write `changes`, as long as the claim is ours. Raises _Lost."""
        moment = self.now + timedelta(seconds=time.monotonic() - self.started)
        ours = Export.objects.filter(pk=self.export.pk, status=ExportStatus.BUILDING, alive_at=self.held)
        if not ours.update(**{"alive_at": moment} | changes):
            raise _Lost
        self.held = moment

    def cleaned(self, column: Column, value: str, cell: Cell) -> None:
        self.stripped += 1
        log.warning(
            "csv_cell_cleaned", type="csv_injection_prevention", field=column.heading, stripped=cell.stripped,
            original=value[:100], sanitised=cell.text[:100], export_id=str(self.export.pk),
        )  # fmt: skip


def _build(export_id: UUID, *, now: datetime) -> Export | None:
    """None when there is nothing to do: made, given up, withdrawn, or in other hands."""
    with every_business():
        claim = _claim(export_id, now=now)
    if claim is None:
        return None
    export = claim.export
    with only(export.business):
        try:
            _make(claim)
        except _Lost:
            log.info("export_taken_away", export_id=str(export.pk))
        except Exception:
            log.exception("export_failed", export_id=str(export.pk))
            ours = Export.objects.filter(pk=export.pk, status=ExportStatus.BUILDING, alive_at=claim.held)
            ours.update(status=ExportStatus.FAILED, file="")
            raise
        export.refresh_from_db(fields=_STATE)
    return export


def _claim(export_id: UUID, *, now: datetime) -> _Claim | None:
    with transaction.atomic():
        found = Export.objects.select_for_update(of=("self",)).select_related("business")
        export = found.filter(_is_free(now), status=ExportStatus.BUILDING).filter(pk=export_id).first()
        if export is None:
            return None
        left_behind = export.file.name
        # A name of its own for every attempt, on record before there is such a file: what a kill leaves is found again.
        name = f"exports/{export.pk}-{secrets.token_hex(4)}{SUFFIX[ExportProfile(export.profile)]}"
        export.file = name
        export.alive_at, export.done_rows, export.stripped = now, 0, 0
        export.save(update_fields=["file", "alive_at", "done_rows", "stripped"])
    if left_behind:
        export.file.storage.delete(left_behind)
        _part(export.file.storage, left_behind).unlink(missing_ok=True)
    return _Claim(export=export, name=name, now=now, held=now, started=time.monotonic())


def _make(claim: _Claim) -> None:
    export, storage = claim.export, claim.export.file.storage
    part = _part(storage, claim.name)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("x+b") as file:
            _write(claim, file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
        claim.renew()  # whoever took over has deleted this part
        with _Finished(part) as content:
            kept = storage.save(claim.name, content)
        try:
            claim.renew(
                status=ExportStatus.READY, file=kept, sha256=sha256, size=size, done_rows=len(export.sale_ids),
                stripped=claim.stripped, alive_at=None,
            )  # fmt: skip
        except Exception:
            storage.delete(kept)
            raise
    finally:
        part.unlink(missing_ok=True)
    log.info(
        "export_made", export_id=str(export.pk), profile=export.profile, leads=len(export.sale_ids), size=size,
        asked_by=export.asked_by,
    )  # fmt: skip


def _write(claim: _Claim, to: IO[bytes]) -> None:
    export = claim.export
    if export.profile == ExportProfile.CSV:
        writers.write_csv(_rows(claim), to, cleaned=claim.cleaned)
    elif export.profile == ExportProfile.MACHINE:
        writers.write_machine_csv(_rows(claim), to)
    else:
        about = (
            f"{len(export.sale_ids):,} leads of {export.business.name}, asked for on {export.created_at:%Y-%m-%d %H:%M}"
            " UTC. Excel profile: every value as it came, text cells are never formulas, dates and times are UTC, prices"
            f" are US dollars. File {export.pk}."
        )
        writers.write_xlsx(_rows(claim), to, made_at=export.created_at, about=about)


def _rows(claim: _Claim) -> Iterator[writers.Row]:
    """In the order that was asked for; one statement and one sign of life for every _CHUNK of them."""
    ids = claim.export.sale_ids
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        sales = Sale.objects.for_business(claim.export.business).filter(pk__in=chunk)
        found = {row[0]: row for row in sales.values_list(*_FIELDS)}
        yield from (found[sale_id] for sale_id in chunk)
        claim.renew(done_rows=start + len(chunk), stripped=claim.stripped)


def _is_free(now: datetime) -> Q:
    return Q(alive_at__isnull=True) | Q(alive_at__lt=now - _SILENT)


def _part(storage: Storage, name: str) -> Path:
    """Where a file is written before it gets its name: beside it, so that the last step is a rename; for a storage that
    is not a folder, in the temporary one."""
    try:
        return Path(f"{storage.path(name)}.part")
    except NotImplementedError:
        return Path(tempfile.gettempdir(), f"{Path(name).name}.part")


class _Finished(BinaryFile):
    """A file that a storage of files takes by renaming it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb"), name=path.name)
        self._path = path

    def temporary_file_path(self) -> str:
        return str(self._path)


# --- Handing out ---------------------------------------------------------------------------------------------------------


def opened(*, export: Export, by: str, request_sender: str, now: datetime) -> BinaryFile:
    """The file, open for reading, and who took it on record: `by` is a person or the beginning of a key, `request_sender`
    the hash of `crm.security.sender`. Raises NotReady."""
    file: BinaryFile | None = None
    with transaction.atomic(), only(export.business):
        fresh = Export.objects.select_for_update(of=("self",)).defer("sale_ids").get(pk=export.pk)
        if fresh.status == ExportStatus.READY:
            try:
                file = fresh.file.open("rb")
            except FileNotFoundError:
                log.exception("export_file_missing", export_id=str(export.pk))
                fresh.status, fresh.file = ExportStatus.FAILED, ""
                fresh.save(update_fields=["status", "file"])
            else:
                ExportDownload.objects.create(
                    business_id=export.business_id, export=fresh, by=by[:120], source=request_sender[:64], at=now
                )
    if file is None:
        raise NotReady(ExportStatus(fresh.status))
    log.info("export_downloaded", export_id=str(export.pk), by=by)
    return file


# --- Taking back ---------------------------------------------------------------------------------------------------------


def void_exports_with(*, sale_ids: Sequence[UUID], now: datetime) -> int:
    """Withdraw every file that holds one of these sales, because its person is erased; in the transaction that erases
    them, before or after their columns are emptied. Returns how many.

    The files go when that transaction commits. A file that is being made is begun again, with the columns empty. Nobody
    can ask for a file until the transaction ends.
    """
    with transaction.atomic(), every_business():
        rows.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        holders = Sale.objects.filter(pk__in=sale_ids).values("business")
        holding = Export.objects.filter(business__in=holders, sale_ids__overlap=list(sale_ids))
        holding.filter(status=ExportStatus.BUILDING).update(alive_at=None, done_rows=0)
        found = holding.filter(status=ExportStatus.READY).select_for_update(of=("self",)).defer("sale_ids")
        ready = list(found.order_by("pk"))
        for export in ready:
            export.status, export.voided_at = ExportStatus.VOIDED, now
            export.save(update_fields=["status", "voided_at"])
            transaction.on_commit(partial(_delete_file, export), robust=True)
    return len(ready)


def _delete_file(export: Export) -> None:
    if export.file.name:
        export.file.storage.delete(export.file.name)
    with every_business():
        Export.objects.filter(pk=export.pk).update(file="")
