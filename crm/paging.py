"""Long lists, a stretch at a time, by what stands last on the page instead of by counting.

A list that grows at its top would push rows from page 1 to page 2 between two clicks. Here the next stretch begins
right after the last row that was shown, whatever has come in since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import BadRequest, ValidationError
from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Stretch(Generic[Row]):
    """`after` continues behind the last of `rows`; empty: there is no more."""

    rows: list[Row]
    after: str


def stretch(rows: QuerySet[Row], *, by: str, after: str, size: int) -> Stretch[Row]:
    """Up to `size` rows ordered by one field and then the id, both ascending or (`-field`) descending, from `after` on.

    Raises BadRequest for an `after` that none of our pages wrote.
    """
    field, step = by.lstrip("-"), "lt" if by.startswith("-") else "gt"
    if after:
        value, pk = _read(rows, field, after)
        # The first condition says the same once more, in the way an index can use.
        rows = rows.filter(
            Q(**{f"{field}__{step}e": value}), Q(**{f"{field}__{step}": value}) | Q(**{f"pk__{step}": pk})
        )
    found = list(rows.order_by(by, "-pk" if step == "lt" else "pk")[: size + 1])
    return Stretch(rows=found[:size], after=cursor(found[size - 1], field) if len(found) > size else "")


def cursor(row: Model, field: str) -> str:
    """The place of one row in a list ordered by `field`, as it is written into an address."""
    value = getattr(row, field)
    return f"{value.isoformat() if isinstance(value, datetime) else value}~{row.pk}"


def _read(rows: QuerySet[Row], field: str, after: str) -> tuple[Any, Any]:
    value, _, pk = after.rpartition("~")
    meta: Any = rows.model._meta
    try:
        read: Any = meta.get_field(field).to_python(value)
        key = meta.pk.to_python(pk)
    except (ValidationError, ValueError, OverflowError) as error:
        raise BadRequest("This address holds a place in the list that does not exist.") from error
    if value == "" and not isinstance(read, str) or isinstance(read, datetime) and read.tzinfo is None:
        raise BadRequest("This address holds a place in the list that does not exist.")
    return read, key
