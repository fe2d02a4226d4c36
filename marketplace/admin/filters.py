"""Filters of the catalogue. Each is a range or a prefix of an index, so that a list of five million rows opens at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from django.contrib import admin
from django.db.models import Case, DateTimeField, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.utils import timezone

from crm.admin.base import list_url
from marketplace import age_buckets, places
from marketplace.enums import AgeBucket, Classification, ClosedBecause
from marketplace.models import InventoryItem, Recall

FOR_SALE: Final = "for_sale"
SOLD: Final = "sold"
TOO_YOUNG: Final = "young"
LONG_AGO: Final = datetime(1900, 1, 1, tzinfo=UTC)  # no file has an older call


def for_sale_url(*, classification: str, bucket: str, state: str) -> str:
    """The items of one cell of the shelf."""
    return list_url(InventoryItem, status=FOR_SALE, **{"class": classification, "bucket": bucket, "state": state})


def for_sale(*, now: datetime, classification: str = "", bucket: str = "", of: str = "") -> Q:
    """Open items that have not grown out of their bucket; of a lead there is one at most. `of` is the way to the items,
    like `items__`.

    Naming every class and age lets the index of the shelf be used; one comparison for all ages keeps Postgres from
    collecting the whole shelf before it shows fifty rows of it.
    """
    classes = (classification,) if classification in Classification.values else tuple(Classification.values)
    buckets = (bucket,) if bucket in age_buckets.NAMES else age_buckets.NAMES
    after = {name: age_buckets.window(name, as_of=now).after for name in buckets}
    oldest: Any = (
        after[bucket] or LONG_AGO
        if bucket in after
        else Case(
            *(When(**{f"{of}age_bucket": name}, then=Value(moment)) for name, moment in after.items() if moment),
            default=Value(LONG_AGO),
            output_field=DateTimeField(),
        )
    )
    return Q(
        **{
            f"{of}classification__in": classes,
            f"{of}age_bucket__in": buckets,
            f"{of}called_in_at__gt": oldest,
            f"{of}sold_at__isnull": True,
            f"{of}closed_at__isnull": True,
        }
    )


class Class(admin.SimpleListFilter):
    title = "class"
    parameter_name = "class"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return list(Classification.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(classification=self.value()) if self.value() else queryset


class Bucket(admin.SimpleListFilter):
    """Of items: the bucket they stand in."""

    title = "age"
    parameter_name = "bucket"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return list(AgeBucket.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(age_bucket=self.value()) if self.value() else queryset


class AgeNow(Bucket):
    """Of leads: the bucket their age is in at this moment, by the index on the call."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(TOO_YOUNG, "Too young to sell"), *super().lookups(request, model_admin)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        if self.value() == TOO_YOUNG:
            youngest = age_buckets.window(age_buckets.NAMES[0], as_of=now)
            return queryset.filter(called_in_at__gt=youngest.until)
        if self.value() not in age_buckets.NAMES:
            return queryset
        window = age_buckets.window(str(self.value()), as_of=now)
        old_enough = queryset.filter(called_in_at__lte=window.until)
        return old_enough if window.after is None else old_enough.filter(called_in_at__gt=window.after)


class _State(admin.SimpleListFilter):
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        """The postal codes, and whatever else a file called a state and a link leads to."""
        asked = request.GET.get(self.parameter_name, "")
        return [(state, state) for state in sorted({*places.ZONES, *([asked] if asked else [])})]


class State(_State):
    title = "state"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state=self.value()) if self.value() else queryset


class ForSaleIn(_State):
    """Leads have no index on their state; the shelf has."""

    title = "for sale in"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(for_sale(now=timezone.now(), of="items__"), items__state=self.value())


class Standing(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(FOR_SALE, "For sale"), (SOLD, "Sold"), *ClosedBecause.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case None:
                return queryset
            case "for_sale":
                asked = request.GET
                return queryset.filter(
                    for_sale(now=timezone.now(), classification=asked.get("class", ""), bucket=asked.get("bucket", ""))
                )
            case "sold":
                return queryset.filter(sale__isnull=False)
            case ClosedBecause.OPTED_OUT | ClosedBecause.ERASED as because:  # whose leads were recalled
                called_back = Recall.objects.filter(because=because).values("lead")
                return queryset.filter(closed_because=because, closed_at__isnull=False, lead__in=called_back)
            case because:
                return queryset.filter(closed_because=because, closed_at__isnull=False)
