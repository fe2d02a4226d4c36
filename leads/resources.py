"""Leads in files: which columns there are, how a file is read and written, and what becomes of a row.

Every row is somebody new, put down by whoever imports it: it begins at the first stage, grants no permission to text, and
texts nobody. A row whose reference is on file changes nothing, so the same file may come twice. Either every row of a
file is taken or none.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import tablib  # type: ignore[import-untyped] # it carries no types
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.db import connection
from django.utils import timezone
from import_export import resources
from import_export.fields import Field
from import_export.results import Result

from crm import phones
from crm.models import Business
from crm.resources import CountedResult, Csv, UnreadableFile, unquote
from crm.services import audit
from leads import actors
from leads.enums import LeadSource, Stage
from leads.models import Lead, PipelineSettings
from leads.queries.pipeline import line_of
from leads.services import pipeline
from leads.services.assigning import settings_of

COLUMNS: Final = ("reference", "source", "line", "name", "phone", "email", "asked_for", "notes", "stage")
EXPORTED: Final = (
    "number", "reference", "source", "stage", "line", "score", "name", "phone", "email", "asked_for", "notes",
    "assigned_to", "created_at",
)  # fmt: skip
# Whoever wrote to us, or was bought, comes in by that way and not in a file.
SOURCES: Final = (LeadSource.MANUAL, LeadSource.PARTNER, LeadSource.SCANNER, LeadSource.FORM)
MAX_ROWS: Final = 2_000  # of one import; each goes through the door of every lead, half a minute at most
MAX_BYTES: Final = 5_000_000

_LONGEST: Final = {"reference": 255, "name": 120, "email": 254, "asked_for": 200, "notes": 10_000}  # characters
_NUMBER: Final = "_row"  # where CountedResult finds the row's number as a person counts it
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL text holds neither NUL nor half a character


class LeadCsv(Csv):
    """As customers are written and read: a byte order mark, semicolons and tabs understood, formulas quoted."""

    def create_dataset(self, in_stream: Any, **_kwargs: Any) -> tablib.Dataset:
        if in_stream is None:
            raise UnreadableFile(
                "The file is no longer here: it was imported already, or an hour has passed. Upload it again."
            )
        try:
            text = in_stream if isinstance(in_stream, str) else in_stream.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnreadableFile("This file is not text in UTF-8. In a spreadsheet, save it as “CSV UTF-8”.") from error
        heading, _, _ = text.partition("\n")
        delimiter = next((mark for mark in ",;\t" if mark in heading), ",")
        try:
            return _dataset(list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)))
        except csv.Error as error:
            raise UnreadableFile(f"This is not a file of rows and columns: {error}.") from error


def _dataset(rows: Sequence[Sequence[str]]) -> tablib.Dataset:
    """Our columns of a file, with each row's number. Empty rows are left out; other columns are not read."""
    names = [cell.strip().lower().replace(" ", "_").replace("-", "") for cell in (rows[0] if rows else [])]
    if "source" not in names:
        raise UnreadableFile(
            f"The first row has to name the columns, and one of them is “source”. These are read: {', '.join(COLUMNS)}."
        )
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise UnreadableFile(f"Two columns are called “{twice[0]}”. Rename one of them.")
    places = {name: names.index(name) for name in COLUMNS if name in names}
    dataset = tablib.Dataset(headers=[*places, _NUMBER])
    for number, row in enumerate(rows[1:], 2):
        cells = [_UNSTORABLE.sub("", unquote(row[at])) if at < len(row) else "" for at in places.values()]
        if any(cells):
            dataset.append([*cells, number])
    if not dataset.height:
        raise UnreadableFile("There is no row below the heading.")
    if dataset.height > MAX_ROWS:
        raise UnreadableFile(
            f"This file has {dataset.height:,} rows. Up to {MAX_ROWS:,} fit in one import: split it into parts."
        )
    return dataset


class LeadResource(resources.ModelResource):
    """Leads of one business, each through `pipeline.add_lead`. A preview checks every row and writes nothing at all."""

    reference = Field("event_id", "reference")
    line = Field(column_name="line")
    name = Field(column_name="name")
    phone = Field(column_name="phone")
    email = Field(column_name="email")

    class Meta:
        model = Lead
        fields = EXPORTED
        export_order = EXPORTED
        use_transactions = True
        skip_diff = True

    def __init__(self, business: Business | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.business = business
        self._known: set[str] = set()  # references on file, or further up in this one
        self._lines: dict[str, str] = {}  # what people call a line, in small letters, to its key
        self._names: list[str] = []  # of the lines, for sentences
        self._is_known = False  # of the row at hand
        self._asked: dict[str, Any] = {}  # what add_lead is asked for the row at hand
        self._shown: list[str] = []  # its cells for the preview

    @property
    def _owner(self) -> Business:
        """Whose leads are imported; an export may be of nobody in particular."""
        if self.business is None:
            raise UnreadableFile("Choose the business whose leads these are.")
        return self.business

    @classmethod
    def get_result_class(cls) -> type[Result]:
        return CountedResult

    # --- Read ---

    def before_import(self, dataset: tablib.Dataset, **kwargs: Any) -> None:
        """The references that are on file, and the names of the lines, in two queries. Two imports into one business come
        one after the other: the second sees what the first brought."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"lead file {self._owner.pk}"])
        wanted = {row["reference"] for row in dataset.dict if row.get("reference")}
        ours = Lead.objects.for_business(self._owner).filter(event_id__in=wanted)
        self._known = set(ours.values_list("event_id", flat=True))
        ways = settings_of(self._owner)
        self._lines = _line_names(ways)
        self._names = [name for _, name in ways.domain_choices]

    def get_instance(self, instance_loader: Any, row: dict[str, Any]) -> Lead | None:
        return None

    def import_instance(self, instance: Lead, row: dict[str, Any], **kwargs: Any) -> None:
        """What the row says; the lead itself is made by the service."""
        wrong: list[str] = []
        _ask(wrong, _not_too_long, row)
        source = _ask(wrong, _source, row["source"])
        line = _ask(wrong, self._line, row.get("line", ""))
        phone = _ask(wrong, self._phone, row.get("phone", ""))
        _ask(wrong, _email, row.get("email", ""))
        _ask(wrong, _stage, row.get("stage", ""))
        if wrong:
            raise ValidationError(wrong)
        self._is_known = row.get("reference", "") in self._known
        self._asked = {
            "source": source,
            "domain": line,
            "contact": pipeline.Contact(name=row.get("name", ""), phone=phone, email=row.get("email", "")),
            "asked_for": row.get("asked_for", ""),
            "notes": row.get("notes", ""),
            "event_id": row.get("reference", ""),
        }
        shown = row | {
            "source": LeadSource(source).label,
            "phone": phone.e164 if phone else "",
            "stage": Stage.NEW.label,
        }
        self._shown = [str(shown.get(name, "")) for name in COLUMNS]

    def skip_row(self, instance: Any, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        return not import_validation_errors and self._is_known

    def validate_instance(
        self, instance: Lead, import_validation_errors: Any = None, validate_unique: bool = True
    ) -> None:
        if import_validation_errors:
            raise ValidationError(import_validation_errors)

    def after_import_row(self, row: dict[str, Any], row_result: Any, **kwargs: Any) -> None:
        """For the preview: the cells as they will be. A reference that was read once is known from here on."""
        row_result.number = row[_NUMBER]
        row_result.cells = self._shown
        if row.get("reference"):
            self._known.add(row["reference"])

    def _line(self, cell: str) -> str:
        found = self._lines.get(cell.lower(), "") if cell else ""
        if cell and not found:
            raise ValidationError(f"“{cell}” is no line of business here. Write one of {', '.join(self._names)}.")
        return found

    def _phone(self, cell: str) -> phones.Phone | None:
        return phones.parse(cell, region=self._owner.region) if cell else None

    # --- Written ---

    def save_instance(self, instance: Lead, is_create: bool, row: Any, **kwargs: Any) -> None:
        if kwargs.get("dry_run"):  # a number once taken is not given back, so a preview takes none
            return
        now = timezone.now()
        lead = pipeline.add_lead(business=self._owner, by=actors.person(kwargs["user"]), now=now, **self._asked)
        # Whoever imports knows that these wait. Without this the owner would be texted about every one of them.
        Lead.objects.for_business(self._owner).filter(pk=lead.pk).update(late_told_at=now)

    def after_import(self, dataset: tablib.Dataset, result: Result, **kwargs: Any) -> None:
        """Leave the trace, in the transaction of the change."""
        if kwargs.get("dry_run") or result.has_errors() or result.has_validation_errors():
            return
        counts = {kind: ["", str(result.totals[kind])] for kind in ("new", "skip")}
        audit(
            business=self._owner, actor=kwargs.get("user"), action="leads imported", now=timezone.now(),
            target=f"leads of {self._owner.slug}", changes={"file": ["", str(kwargs.get("file_name") or "")]} | counts,
        )  # fmt: skip

    # --- Exported ---

    def dehydrate_line(self, lead: Lead) -> str:
        return line_of(lead)

    def dehydrate_name(self, lead: Lead) -> str:
        return lead.customer.name if lead.customer else ""

    def dehydrate_phone(self, lead: Lead) -> str:
        return (lead.customer.phone or "") if lead.customer else ""

    def dehydrate_email(self, lead: Lead) -> str:
        return lead.customer.email if lead.customer else ""

    def dehydrate_assigned_to(self, lead: Lead) -> str:
        return lead.assigned_to.email if lead.assigned_to else ""

    def dehydrate_created_at(self, lead: Lead) -> str:
        return lead.created_at.isoformat(timespec="seconds")


def _line_names(ways: PipelineSettings) -> dict[str, str]:
    """A line is known by the business's own name for it and by the name it has everywhere. The own name comes first."""
    return {key: key for key, _ in ways.domain_choices} | {name.lower(): key for key, name in ways.domain_choices}


# --- Cells -----------------------------------------------------------------------------------------------------------


def _ask(wrong: list[str], read: Callable[[Any], Any], cell: Any) -> Any:
    """What a cell says; or what is wrong with it, added to the list."""
    try:
        return read(cell)
    except phones.PhoneError as error:
        wrong.append(str(error))
    except ValidationError as error:
        wrong += error.messages
    return None


def _not_too_long(row: dict[str, Any]) -> None:
    said = [
        f"“{name}” may have up to {most:,} characters; this has {len(row[name]):,}."
        for name, most in _LONGEST.items()
        if len(row.get(name, "")) > most
    ]
    if said:
        raise ValidationError(said)


def _source(cell: str) -> LeadSource:
    found = next((source for source in SOURCES if cell.lower() in (source.value, source.label.lower())), None)
    if found is None:
        raise ValidationError(f"“{cell}” is not a source of leads in a file. Write one of {', '.join(SOURCES)}.")
    return found


def _email(cell: str) -> None:
    if cell:
        EmailValidator(f"“{cell}” is not an e-mail address.")(cell)


def _stage(cell: str) -> None:
    if cell.lower() not in ("", Stage.NEW):
        raise ValidationError(f"A lead comes in as new, not as “{cell}”. Move it once it is here.")
