"""How the marketplace is asked: filters, pages and criteria, read from queries and bodies."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from crm import paging
from marketplace import age_buckets
from marketplace.allocation import Criterion
from marketplace.enums import Classification, ExportProfile
from marketplace.places import spell_state
from marketplace.queries import CLASSES, Filter

Row = TypeVar("Row", bound=Model)

DEEPEST = 10_000  # rows to skip; behind them a cursor finds its place without counting
MOST_PLACES = 60  # states or counties in one filter; there are 51 states, and each costs a look at the shelf
_LONGEST = 100  # characters of a place
_SHOWN = 80  # characters of what was sent, said back
_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)  # long before there was a marketplace


# --- Pages --------------------------------------------------------------------------------------------------------------


def pack(cursor: str) -> str | None:
    """A cursor of ours (a moment, “~” and an id) as it can stand in an address; None for the end of a list."""
    return base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=") or None


def unpack(text: str) -> str:
    """Raises ValueError for what `pack` never gave."""
    cursor = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    moment, _, pk = cursor.partition("~")
    if datetime.fromisoformat(moment).utcoffset() != timedelta(0) or str(UUID(pk)) != pk:
        raise ValueError("This is no cursor of ours.")
    return cursor


class CursorField(serializers.CharField):
    default_error_messages = {"cursor": "Send the `next` of the page before, as it is."}

    def to_internal_value(self, data: Any) -> str:
        try:
            return unpack(super().to_internal_value(data))
        except ValueError:
            self.fail("cursor")


class PageQuery(serializers.Serializer[Any]):
    limit = serializers.IntegerField(
        min_value=1, max_value=1_000, default=100, help_text="1 to 1,000; 100 unless told."
    )
    offset = serializers.IntegerField(
        min_value=0,
        max_value=DEEPEST,
        default=0,
        help_text=f"Rows to skip, at most {DEEPEST:,}; `after` goes on from there.",
        error_messages={
            "max_value": f"At most {DEEPEST:,} rows can be skipped. Send the `next` of the page before as `after`."
        },
    )
    after = CursorField(required=False, help_text="The `next` of the page before.")


@dataclass(frozen=True)
class Page:
    limit: int
    offset: int
    after: str = ""


def read_page(query: QueryDict) -> Page:
    """Raises ValidationError."""
    page = PageQuery(data=query)
    page.is_valid(raise_exception=True)
    return Page(**page.validated_data)


def page_answer(
    rows: QuerySet[Row], page: Page, *, by: str, answer: Callable[[Row], Mapping[str, Any]]
) -> dict[str, Any]:
    """A page of the rows, ordered by one field and then the id, descending if it begins with a minus."""
    found = paging.stretch(rows, by=by, after=page.after, size=page.offset + page.limit)
    return {
        "items": [answer(row) for row in found.rows[page.offset :]],
        "total": rows.count(),
        "next": pack(found.after),
    }


# --- What is looked for --------------------------------------------------------------------------------------------------


def read_filter(query: QueryDict) -> tuple[Filter, dict[str, str | list[str]]]:
    """The filter, and what it says, for the answer. Raises ParseError and ValidationError.

    Several values of one kind are several parameters, or one with commas; only counties, whose names may have commas,
    are always several parameters. Values of nothing are left out, as forms send them.
    """
    classifications, buckets = _words(query, "classification"), _words(query, "age_bucket")
    for wrong in classifications:
        if wrong not in CLASSES:
            raise ParseError(f"Invalid classification. Must be 'Gold' or 'Silver', got '{wrong[:_SHOWN]}'")
    for wrong in buckets:
        if wrong not in age_buckets.NAMES:
            raise ParseError(f"Invalid age_bucket. Got '{wrong[:_SHOWN]}'")
    found = Filter(
        classifications=tuple(classifications),
        buckets=tuple(buckets),
        states=tuple(_places("state", map(spell_state, _words(query, "state")))),
        counties=tuple(_places("county", query.getlist("county"))),
    )
    said = {
        "state": found.states,
        "classification": found.classifications,
        "age_bucket": found.buckets,
        "county": found.counties,
    }
    return found, {name: values[0] if len(values) == 1 else list(values) for name, values in said.items() if values}


def _words(query: QueryDict, name: str) -> list[str]:
    return _each_once(word for value in query.getlist(name) for word in value.split(","))


def _places(name: str, values: Iterable[str]) -> list[str]:
    places = _each_once(values)
    if len(places) > MOST_PLACES:
        raise serializers.ValidationError({name: [f"Send at most {MOST_PLACES} of them."]})
    if any(len(place) > _LONGEST for place in places):
        raise serializers.ValidationError({name: [f"Ensure this field has no more than {_LONGEST} characters."]})
    return places


def _each_once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for value in values if (word := value.strip())))


def read_criteria(lines: Sequence[Mapping[str, Any]]) -> list[Criterion]:
    """Of a validated `CriterionIn`. Raises ParseError for a class or age that we do not sell."""
    for line in lines:
        for name, known in (("classification", Classification.values), ("age_bucket", age_buckets.NAMES)):
            if line[name] not in known:
                raise ParseError(
                    f"Invalid classification or age_bucket: '{line[name][:_SHOWN]}'. Choose from {', '.join(known)}."
                )
    return [
        Criterion(
            classification=line["classification"],
            age_bucket=line["age_bucket"],
            quantity=line["quantity"],
            state=spell_state(line.get("state") or ""),
            county=line.get("county") or "",
        )
        for line in lines
    ]


class SinceQuery(serializers.Serializer[Any]):
    since = serializers.DateTimeField(
        required=False,
        help_text="Notices from this moment on, like 2026-11-18T15:00:00Z; UTC unless it says otherwise.",
    )


class NoticeQuery(SinceQuery):
    acknowledged = serializers.ChoiceField(choices=["true", "false"], required=False, help_text="Both, unless told.")


@dataclass(frozen=True)
class Notices:
    since: datetime | None  # None: from the beginning
    acknowledged: bool | None  # None: both


def read_notices(query: QueryDict) -> Notices:
    """Raises ValidationError."""
    asked = NoticeQuery(data=query)
    asked.is_valid(raise_exception=True)
    since, acknowledged = (asked.validated_data.get(name) for name in ("since", "acknowledged"))
    return Notices(
        since=since and max(since, _FIRST_MOMENT), acknowledged=None if acknowledged is None else acknowledged == "true"
    )


# --- Which file ----------------------------------------------------------------------------------------------------------


def read_sale_ids(query: QueryDict, *, most: int) -> list[UUID]:
    """In the order they were asked for. Raises ParseError for none, for too many, and for what is no UUID."""
    words = _words(query, "sale_ids")
    if not words:
        raise ParseError("sale_ids: name at least one sale, or a purchase_id.")
    if len(words) > most:
        raise ParseError(f"sale_ids: an address has room for {most:,}. Send more of them to POST /exports.")
    return [read_id(word, "sale_ids") for word in words]


def read_id(text: str, name: str) -> UUID:
    """Raises ParseError."""
    try:
        return UUID(text)
    except ValueError:
        raise ParseError(f"{name}: '{text[:_SHOWN]}' is not a UUID.") from None


class FileQuery(serializers.Serializer[Any]):
    """`format=xlsx` says the same as `profile=xlsx`."""

    profile = serializers.ChoiceField(
        choices=ExportProfile.choices,
        default=ExportProfile.CSV,
        help_text="csv is safe to open in a spreadsheet; machine has every value as it came; xlsx is for Excel.",
    )
    format = serializers.ChoiceField(
        choices=["csv", "xlsx"], default="csv", help_text="xlsx: the same as profile=xlsx."
    )


def read_profile(query: QueryDict) -> ExportProfile:
    """Raises ValidationError."""
    asked = FileQuery(data=query)
    asked.is_valid(raise_exception=True)
    return ExportProfile(
        ExportProfile.XLSX if asked.validated_data["format"] == "xlsx" else asked.validated_data["profile"]
    )
