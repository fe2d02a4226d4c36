"""Customers in files: which columns there are, how a file is read and written, and what becomes of a row.

A row with the phone number of a customer on file updates that customer; an empty cell leaves what is on file. A row
without a number is the same customer when name, e-mail and address are the same, else a new one. Either every row of a
file is taken or none.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import tablib  # type: ignore[import-untyped] # it carries no types
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone
from import_export import resources
from import_export.formats import base_formats
from import_export.results import Result

from crm import phones
from crm.enums import Verb
from crm.models import Activity, Business, Customer
from crm.services import audit

COLUMNS: Final = ("name", "phone", "email", "address", "notes", "tags")
MAX_ROWS: Final = 10_000  # of one import: a minute at most
MAX_BYTES: Final = 10_000_000
MAX_EXPORT: Final = 50_000  # rows of one export; they pass through memory

# How other programs head the same columns.
_ALSO_CALLED: Final = {
    "full name": "name", "customer": "name", "customer name": "name", "contact": "name",
    "phone number": "phone", "telephone": "phone", "mobile": "phone", "cell": "phone", "cell phone": "phone",
    "e-mail": "email", "e-mail address": "email", "email address": "email",
    "street address": "address", "note": "notes", "comments": "notes", "tag": "tags", "labels": "tags",
}  # fmt: skip
_NUMBER: Final = "_row"  # beside the columns: the row's number as a person counts it
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL text holds neither NUL nor half a character

# A spreadsheet takes a cell that begins like this for a formula, and runs it.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n]")


class UnreadableFile(ValueError):
    """The file as a whole cannot be taken. The message says why, for people."""


# --- Formats ---------------------------------------------------------------------------------------------------------


def quote(cell: str) -> str:
    """Harmless in a spreadsheet: what looks like a formula gets an apostrophe. A phone number evaluates to itself."""
    return f"'{cell}" if _FORMULA.match(cell) and not phones.is_e164(cell) else cell


def unquote(cell: str) -> str:
    """The inverse of `quote`. Cells that were not quoted lose the spaces around them."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell.strip()


class Csv(base_formats.CSV):
    """Comma-separated, with a heading; a file with semicolons is understood too. Written with a byte order mark, by
    which spreadsheets know UTF-8."""

    delimiter = ","

    def create_dataset(self, in_stream: Any, **_kwargs: Any) -> tablib.Dataset:
        text = _text(in_stream)
        heading, _, _ = text.partition("\n")
        delimiter = ";" if self.delimiter not in heading and ";" in heading else self.delimiter
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error as error:
            raise UnreadableFile(f"This is not a file of rows and columns: {error}.") from error
        return _dataset(
            rows[0] if rows else [], ((n, [unquote(cell) for cell in row]) for n, row in enumerate(rows[1:], 2))
        )

    def export_data(self, dataset: tablib.Dataset, **_kwargs: Any) -> str:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self.delimiter)
        writer.writerow(dataset.headers)
        writer.writerows([quote(str(cell)) for cell in row] for row in dataset)
        return "\ufeff" + out.getvalue()


class Tsv(Csv):
    TABLIB_MODULE = "tablib.formats._tsv"
    CONTENT_TYPE = "text/tab-separated-values"
    delimiter = "\t"


class Json(base_formats.JSON):
    """A list of objects. For programs: nothing is quoted or trimmed."""

    def create_dataset(self, in_stream: Any, **_kwargs: Any) -> tablib.Dataset:
        try:
            items = json.loads(_text(in_stream))
        except ValueError as error:
            raise UnreadableFile(f"This is not JSON: {error}.") from error
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise UnreadableFile('Write a list of objects, like [{"name": "Ann", "phone": "(555) 123-4567"}].')
        heading = list(dict.fromkeys(str(key) for item in items for key in item))
        return _dataset(heading, ((n, [_cell(item.get(key)) for key in heading]) for n, item in enumerate(items, 1)))

    def export_data(self, dataset: tablib.Dataset, **_kwargs: Any) -> str:
        return json.dumps(dataset.dict, ensure_ascii=False, indent=2)


FORMATS: Final[tuple[type[base_formats.TablibFormat], ...]] = (Csv, Tsv, Json)


def _text(in_stream: bytes | str | None) -> str:
    if in_stream is None:
        raise UnreadableFile(
            "The file is no longer here: it was imported already, or an hour has passed. Upload it again."
        )
    try:
        return in_stream if isinstance(in_stream, str) else in_stream.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile("This file is not text in UTF-8. In a spreadsheet, save it as “CSV UTF-8”.") from error


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _dataset(heading: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> tablib.Dataset:
    """Our columns of a file, with each row's number. Empty rows are left out; other columns are not read."""
    names = [_ALSO_CALLED.get(word, word) for word in (cell.strip().lower().replace("_", " ") for cell in heading)]
    columns = [name for name in COLUMNS if name in names]
    if not {"name", "phone", "email"} & set(columns):
        raise UnreadableFile(f"The first row has to name the columns. These are read: {', '.join(COLUMNS)}.")
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise UnreadableFile(f"Two columns are read as “{twice[0]}”. Rename one of them.")
    dataset = tablib.Dataset(headers=[*columns, _NUMBER])
    places = [names.index(name) for name in columns]
    for number, row in rows:
        if any(row):
            cells = [_UNSTORABLE.sub("", row[place]) if place < len(row) else "" for place in places]
            dataset.append([*cells, number])
    if not dataset.height:
        raise UnreadableFile("There is no row below the heading.")
    if dataset.height > MAX_ROWS:
        raise UnreadableFile(
            f"This file has {dataset.height:,} rows. Up to {MAX_ROWS:,} fit in one import: split it into parts."
        )
    return dataset


# --- Rows ------------------------------------------------------------------------------------------------------------


class CountedResult(Result):
    """Names rows by the number a person sees beside them."""

    def append_invalid_row(self, number: int, row: Any, validation_error: Any) -> None:
        super().append_invalid_row(row[_NUMBER], row, validation_error)

    def append_error_row(self, number: int, row: Any, errors: Any) -> None:
        super().append_error_row(row[_NUMBER], row, errors)


class CustomerResource(resources.ModelResource):
    """Customers of one business. Written in bulk: the whole file is one transaction and a dozen statements."""

    class Meta:
        model = Customer
        fields = COLUMNS
        use_bulk = True
        use_transactions = True
        skip_diff = True  # copies every row and colours every letter; `changes` below is what people read

    def __init__(self, business: Business | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.business = business
        self._on_file: dict[object, Customer] = {}  # by number, or by how a row without one looks
        self._instance = Customer()  # of the row at hand
        self._before: dict[str, Any] | None = None  # what was on file for it; None: a new customer
        self._notes: list[Activity] = []

    @property
    def _owner(self) -> Business:
        """Whose customers are imported; an export may be of nobody in particular."""
        if self.business is None:
            raise UnreadableFile("Choose the business whose customers these are.")
        return self.business

    @classmethod
    def get_result_class(cls) -> type[Result]:
        return CountedResult

    # --- Read ---

    def before_import(self, dataset: tablib.Dataset, **kwargs: Any) -> None:
        """The customers the file may mean, in two queries."""
        rows = dataset.dict
        ours = Customer.objects.for_business(self._owner)
        numbers = {number for row in rows if (number := self._number(row.get("phone", ""))[0])}
        for customer in ours.filter(phone__in=numbers).select_related("merged_into"):
            number, kept = customer.phone, customer
            while kept.merged_into is not None:
                kept = kept.merged_into
            self._on_file[number] = kept
        names = {row.get("name", "") for row in rows if not row.get("phone")}
        for customer in ours.filter(phone__isnull=True, merged_into__isnull=True, name__in=names):
            self._on_file[_look(customer.name, customer.email, customer.address)] = customer

    def before_import_row(self, row: dict[str, Any], **kwargs: Any) -> None:
        row["_raw"] = row.get("phone", "")
        row["phone"], row["_trouble"] = self._number(row["_raw"])

    def get_instance(self, instance_loader: Any, row: dict[str, Any]) -> Customer | None:
        return self._on_file.get(_key(row))

    def init_instance(self, row: dict[str, Any] | None = None) -> Customer:
        row = row or {}
        customer = Customer(business=self._owner, phone=row["phone"], phone_raw=row["_raw"])
        if row["phone"] or row.get("name") or row.get("email"):
            self._on_file[_key(row)] = customer  # the same person again further down is an update
        return customer

    def after_init_instance(self, instance: Customer, new: bool, row: dict[str, Any], **kwargs: Any) -> None:
        self._instance = instance
        self._before = None if new else {name: getattr(instance, name) for name in COLUMNS}

    def import_instance(self, instance: Customer, row: dict[str, Any], **kwargs: Any) -> None:
        """What the row says; the number is how the customer was found, so it stays."""
        for name in COLUMNS:
            if name != "phone" and row.get(name):
                setattr(instance, name, _tags(row[name]) if name == "tags" else row[name])
        if row["_trouble"]:
            raise ValidationError({"phone": row["_trouble"]})
        if not (instance.name or instance.phone or instance.email):
            raise ValidationError("Write at least a name, a phone number or an e-mail address.")

    def skip_row(self, instance: Customer, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        return not import_validation_errors and self._before is not None and not self._changed(instance)

    def validate_instance(
        self, instance: Customer, import_validation_errors: Any = None, validate_unique: bool = True
    ) -> None:
        """The columns' own rules. Uniqueness was settled by finding the customer, without a query per row."""
        errors = dict(import_validation_errors or {})
        elsewhere = {field.name for field in instance._meta.fields if field.name not in COLUMNS}
        try:
            instance.clean_fields(exclude=elsewhere | set(errors))
        except ValidationError as error:
            errors = error.update_error_dict(errors)
        if errors:
            raise ValidationError(errors)

    def after_import_row(self, row: dict[str, Any], row_result: Any, **kwargs: Any) -> None:
        """For the preview: each cell as it was and as it will be."""
        row_result.number = row[_NUMBER]
        before = self._before or {}
        row_result.cells = [(_shown(before.get(name)), _shown(getattr(self._instance, name))) for name in COLUMNS]

    def _number(self, raw: str) -> tuple[str | None, str]:
        """(E.164 or None, what is wrong with it)."""
        if not raw:
            return None, ""
        try:
            return phones.parse(raw, region=self._owner.region).e164, ""
        except phones.PhoneError as trouble:
            return None, str(trouble)

    def _changed(self, instance: Customer) -> list[str]:
        return [name for name in COLUMNS if (self._before or {}).get(name) != getattr(instance, name)]

    # --- Written ---

    def save_instance(self, instance: Customer, is_create: bool, row: Any, **kwargs: Any) -> None:
        if is_create or not instance._state.adding:  # a customer who waits to be written takes the last word along
            super().save_instance(instance, is_create, row, **kwargs)

    def bulk_update(
        self,
        using_transactions: bool,
        dry_run: bool,
        raise_errors: bool,
        batch_size: int | None = None,
        result: Any = None,
    ) -> None:
        """One INSERT … ON CONFLICT per batch: Django's own bulk_update takes ten times as long to compose."""
        rows = list({customer.pk: customer for customer in self.update_instances}.values())
        self.update_instances.clear()
        try:
            Customer.objects.bulk_create(
                rows,
                batch_size,
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=[c for c in COLUMNS if c != "phone"],
            )
        except IntegrityError as error:
            self.handle_import_error(result, error, raise_errors)

    def after_save_instance(self, instance: Customer, row: dict[str, Any], **kwargs: Any) -> None:
        file_name = kwargs.get("file_name") or "a file"
        if self._before is None:
            verb, text = Verb.NOTE, f"Added from {file_name}."
        else:
            verb, text = Verb.EDITED, f"Edited from {file_name}: {', '.join(self._changed(instance))}."
        self._notes.append(
            Activity(
                business=self._owner,
                customer=instance,
                verb=verb,
                text=text[:300],
                at=timezone.now(),
                actor=kwargs.get("user"),
            )
        )

    def after_import(self, dataset: tablib.Dataset, result: Result, **kwargs: Any) -> None:
        """Leave the trace, in the transaction of the change."""
        if kwargs.get("dry_run"):
            return
        Activity.objects.bulk_create(self._notes, batch_size=1_000)
        changes = {"file": ["", str(kwargs.get("file_name") or "")]}
        changes |= {kind: ["", str(result.totals[kind])] for kind in ("new", "update", "skip")}
        audit(
            business=self._owner,
            actor=kwargs.get("user"),
            action="customers imported",
            target=f"customers of {self._owner.slug}",
            changes=changes,
            now=timezone.now(),
        )

    def handle_import_error(self, result: Result, error: Exception, raise_errors: bool = False) -> None:
        if isinstance(error, IntegrityError):
            error = ValueError("Meanwhile somebody added a customer with one of these phone numbers. Upload it again.")
        super().handle_import_error(result, error, raise_errors)

    # --- Exported ---

    def dehydrate_phone(self, customer: Customer) -> str:
        return customer.phone or ""

    def dehydrate_tags(self, customer: Customer) -> str:
        return ", ".join(customer.tags)


def _key(row: dict[str, Any]) -> object:
    """By what a row is recognised: its number, or how it looks."""
    return row["phone"] or _look(row.get("name", ""), row.get("email", ""), row.get("address", ""))


def _look(name: str, email: str, address: str) -> tuple[str, str, str]:
    return name, email.lower(), address


def _tags(cell: str) -> list[str]:
    return [tag for tag in (part.strip() for part in cell.split(",")) if tag]


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "")
