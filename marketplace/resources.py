"""Prices in files: which columns there are, how a file is read and written, and what becomes of a row.

A row is a price from a moment on. Without a moment it begins when the file is confirmed. A row that says what is set
already changes nothing, so an export can be edited and brought back. Either every row of a file is taken or none.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import tablib  # type: ignore[import-untyped] # it carries no types
from django.core.exceptions import ValidationError
from import_export import resources
from import_export.fields import Field
from import_export.results import Result

from crm.resources import CountedResult, Csv, UnreadableFile, unquote
from crm.services import Refused, audit
from marketplace.enums import AgeBucket, Classification
from marketplace.models import PricingRule
from marketplace.services import prices

COLUMNS: Final = ("classification", "age_bucket", "price", "effective_from", "notes")
_NEEDED: Final = COLUMNS[:3]
MAX_ROWS: Final = 1_000  # ten kinds of leads; a hundred changes of each are a plan for years
MAX_BYTES: Final = 1_000_000
_PRICE: Final = re.compile(r"\$?([0-9]{1,12}|[0-9]{1,3}(,[0-9]{3}){1,3})(\.[0-9]{1,6})?", re.ASCII)
_NUMBER: Final = "_row"  # where CountedResult finds the row's number as a person counts it


class PriceCsv(Csv):
    """As customers are written and read: a byte order mark, semicolons understood, formulas quoted."""

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
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in heading else ","))
        except csv.Error as error:
            raise UnreadableFile(f"This is not a file of rows and columns: {error}.") from error
        return _dataset(rows)


def _dataset(rows: Sequence[Sequence[str]]) -> tablib.Dataset:
    """Our columns of a file, with each row's number. Empty rows are left out; other columns are not read."""
    names = [cell.strip().lower().replace(" ", "_") for cell in (rows[0] if rows else [])]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise UnreadableFile(
            f"The first row has to name the columns. Missing: {', '.join(missing)}. These are read: {', '.join(COLUMNS)}."
        )
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise UnreadableFile(f"Two columns are called “{twice[0]}”. Rename one of them.")
    places = {name: names.index(name) for name in COLUMNS if name in names}
    dataset = tablib.Dataset(headers=[*places, _NUMBER])
    for number, row in enumerate(rows[1:], 2):
        cells = [unquote(row[place]).replace("\x00", "") if place < len(row) else "" for place in places.values()]
        if any(cells):
            dataset.append([*cells, number])
    if not dataset.height:
        raise UnreadableFile("There is no row below the heading.")
    if dataset.height > MAX_ROWS:
        raise UnreadableFile(f"This file has {dataset.height:,} rows. Up to {MAX_ROWS:,} fit in one import.")
    return dataset


class PriceResource(resources.ModelResource):
    """Prices through the same door as a change by hand, one after the other, in one transaction."""

    effective_from = Field("effective_from", "effective_from")

    class Meta:
        model = PricingRule
        fields = COLUMNS
        use_transactions = True
        skip_diff = True

    def __init__(self, *, now: datetime | None = None, **kwargs: Any) -> None:
        """`now`: when the file is looked at or confirmed. An export needs none."""
        super().__init__(**kwargs)
        self.now = now
        self._rule: PricingRule | None = None  # of the row at hand: the one it made, or the one that says so already
        self._before: PricingRule | None = None  # what held at its moment until then
        self._asked: dict[str, Any] = {}

    @classmethod
    def get_result_class(cls) -> type[Result]:
        return CountedResult

    # --- Read ---

    def get_instance(self, instance_loader: Any, row: dict[str, Any]) -> PricingRule | None:
        return None

    def before_import_row(self, row: dict[str, Any], **kwargs: Any) -> None:
        self._rule = self._before = None
        self._asked = {}

    def import_instance(self, instance: PricingRule, row: dict[str, Any], **kwargs: Any) -> None:
        """What the row says; what it makes is made by the service."""
        since = _moment(row.get("effective_from", ""))
        self._asked = {
            "classification": _choice(row["classification"], Classification.values, "a class"),
            "age_bucket": _choice(row["age_bucket"], AgeBucket.values, "an age"),
            "price": _price(row["price"]),
            "effective_from": since,
            "notes": row.get("notes", ""),
        }
        kind = PricingRule.objects.filter(
            classification=self._asked["classification"], age_bucket=self._asked["age_bucket"]
        )
        held = kind.filter(effective_from__lte=since or self._now).order_by("-effective_from").first()
        if held is not None and (held.effective_to is None or held.effective_to > (since or self._now)):
            self._before = held
            starts_then = since is None or held.effective_from == since
            if starts_then and held.price == self._asked["price"]:
                self._rule = held

    @property
    def _now(self) -> datetime:
        if self.now is None:
            raise UnreadableFile("Prices are imported at a moment.")
        return self.now

    def skip_row(self, instance: Any, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        return not import_validation_errors and self._rule is not None

    def validate_instance(
        self, instance: PricingRule, import_validation_errors: Any = None, validate_unique: bool = True
    ) -> None:
        """The service knows the rules; here is only what could not be read."""
        if import_validation_errors:
            raise ValidationError(import_validation_errors)

    # --- Written ---

    def save_instance(self, instance: PricingRule, is_create: bool, row: Any, **kwargs: Any) -> None:
        try:
            self._rule = prices.set_price(**self._asked, now=self._now, actor=kwargs.get("user"))
        except Refused as reason:
            raise ValidationError(str(reason)) from reason

    def after_import_row(self, row: dict[str, Any], row_result: Any, **kwargs: Any) -> None:
        """For the preview: what held and what will."""
        row_result.number = row[_NUMBER]
        row_result.rule, row_result.before = self._rule, self._before

    def after_import(self, dataset: tablib.Dataset, result: Result, **kwargs: Any) -> None:
        """Leave the trace, in the transaction of the change. Each price has left its own."""
        if kwargs.get("dry_run") or result.has_errors() or result.has_validation_errors():
            return
        counts = {kind: ["", str(result.totals[kind])] for kind in ("new", "skip")}
        audit(
            business=None, actor=kwargs.get("user"), action="prices imported", target="prices", now=self._now,
            changes={"file": ["", str(kwargs.get("file_name") or "")]} | counts,
        )  # fmt: skip

    # --- Exported ---

    def dehydrate_effective_from(self, rule: PricingRule) -> str:
        return rule.effective_from.astimezone(UTC).isoformat()


def _choice(cell: str, values: Sequence[str], what: str) -> str:
    found = next((value for value in values if value.lower() == cell.strip().lower()), None)
    if found is None:
        raise ValidationError(f"“{cell}” is not {what}. Write one of {', '.join(values)}.")
    return found


def _price(cell: str) -> Decimal:
    """“8”, “8.5”, “$8.00”. What is no amount of money is told by the service."""
    if not _PRICE.fullmatch(cell):  # 8,50 too: it could be read as eight hundred and fifty
        raise ValidationError(f"“{cell}” is not a price. Write it like 8.00.")
    return Decimal(cell.removeprefix("$").replace(",", ""))


def _moment(cell: str) -> datetime | None:
    """An ISO date, with or without a time; UTC, unless it names another offset."""
    if not cell:
        return None
    try:
        moment = datetime.fromisoformat(cell)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValidationError(f"“{cell}” is not a moment. Write it like 2026-12-01 00:00.") from None
