"""Lists that stay quick and honest when a table has a million rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Model, QuerySet, UUIDField
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from crm import phones
from crm.models import Business, Customer

REACH: Final = 10_000  # rows that are counted and paged to; beyond, a filter or a search is quicker than paging
_CLOCKS_DIFFER: Final = timedelta(hours=1)  # between two machines that write rows, at the very most


class AboutPaginator(Paginator):
    """Counts up to REACH rows and pages through those. A longer list is told by Postgres' own estimate, or as “more
    than”, because counting a million rows takes longer than reading fifty of them."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return min(self._counted, REACH)

    @cached_property
    def label(self) -> str:
        """The number as one would say it: “37”, “about 1,240,000”, “more than 10,000”."""
        if self._counted <= REACH:
            return f"{self._counted:,}"
        estimate = 0 if self.object_list.query.where else _estimated_rows(self.object_list.model)
        if estimate <= REACH:
            return f"more than {REACH:,}"
        magnitude = 10 ** max(0, len(str(estimate)) - 3)
        return f"about {round(estimate / magnitude) * magnitude:,}"

    @property
    def is_cut(self) -> bool:
        """Whether there is more than can be paged to."""
        return self._counted > REACH

    @cached_property
    def _counted(self) -> int:
        return capped(self.object_list, REACH)


def capped(rows: QuerySet[Any], cap: int) -> int:
    """How many rows, up to `cap` + 1, which means “more than cap”. Reads no more than that."""
    return rows.order_by()[: cap + 1].count()


def _estimated_rows(model: type[Model]) -> int:
    """What Postgres remembers from its last look at the table; -1 before the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [f'"{model._meta.db_table}"'])
        return int(cursor.fetchone()[0])


def first_key(moment: datetime) -> uuid.UUID:
    """The smallest UUIDv7 of a moment. Keys sort by age, so they serve “since” where no index on a time does."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def since(rows: QuerySet[Any], column: str, moment: datetime) -> QuerySet[Any]:
    """Rows made at or after `moment`, by `column`; found by the primary key where that tells the time too."""
    if isinstance(rows.model._meta.pk, UUIDField):
        rows = rows.filter(pk__gte=first_key(moment - _CLOCKS_DIFFER))
    return rows.filter(**{f"{column}__gte": moment})


def midnight(now: datetime) -> datetime:
    """When today began, on the server's clock."""
    return timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)


# --- Filters ---------------------------------------------------------------------------------------------------------


class OfBusiness(admin.ListFilter):
    """One business by its short name, typed: a list of all of them would be longer than the page."""

    title = "business"
    template = "admin/filter_business.html"
    parameter_name = "of"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.slug = str(params.pop(self.parameter_name, [""])[-1]).strip().lower()
        self.business: Business | None = None

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter_name]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.slug:
            return queryset
        self.business = Business.objects.filter(slug=self.slug).first()
        return queryset.filter(business=self.business) if self.business else queryset.none()

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {
            "slug": self.slug,
            "name": self.business.name if self.business else "",
            "clear": changelist.get_query_string(remove=[self.parameter_name]),
            "keep": [(name, value) for name, value in changelist.params.items() if name != self.parameter_name],
        }


def made_lately(column: str) -> type[admin.SimpleListFilter]:
    """A filter by when a row was made: today, the last day, the last week. Older rows are reached by a search."""

    class MadeLately(admin.SimpleListFilter):
        title = "when"
        parameter_name = "when"

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [("today", "Today"), ("day", "The last 24 hours"), ("week", "The last 7 days")]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            now = timezone.now()
            began = {"today": midnight(now), "day": now - timedelta(days=1), "week": now - timedelta(days=7)}.get(
                self.value() or ""
            )
            return since(queryset, column, began) if began else queryset

    return MadeLately


# --- Finding ---------------------------------------------------------------------------------------------------------


def as_key(words: str) -> uuid.UUID | None:
    """Somebody pasted an id."""
    try:
        return uuid.UUID(words)
    except ValueError:
        return None


def as_number(words: str) -> str | None:
    """Somebody typed a phone number, in full; as E.164."""
    try:
        return phones.parse(words, region="US").e164
    except phones.PhoneError:
        return None


def with_number(rows: QuerySet[Any], column: str, number: str) -> QuerySet[Any]:
    """Rows with this number in a column whose index begins with the business: naming every business lets it be used."""
    return rows.filter(business__in=Business.objects.values("pk"), **{column: number})


def of_customers(rows: QuerySet[Any], words: str, column: str = "customer") -> QuerySet[Any]:
    """Rows of the customers whom these words find, by name or number, and of those they were merged into."""
    found = Customer.objects.search(words).values_list("pk", "merged_into")[:500]
    keys = {key for pair in found for key in pair if key is not None}
    return rows.filter(**{f"{column}__in": keys}) if keys else rows.none()
