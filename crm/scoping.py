"""Tenancy in three layers, each cheap.

1. Said aloud: services take `business=` first, reads start from `for_business()`.
2. The alarm: `django_scopes`. A tenant model read outside `scope(business=…)` raises ScopeError instead of leaking.
3. The wall: a TenantForeignKey is a composite foreign key `(business_id, x_id)` onto `UNIQUE (business_id, id)`, so
   Postgres itself refuses a row that mixes two businesses (see `wall()` and the migrations).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import migrations, models
from django_scopes import ScopedManager, scope, scopes_disabled
from django_scopes.manager import DisabledQuerySet

from crm.keys import uuid7

if TYPE_CHECKING:
    from crm.models import Business


# The library's alarm knows most ways to ask; these it lets pass, or answers with an AttributeError.
for _way in ("exists", "exclude", "for_business"):
    setattr(DisabledQuerySet, _way, DisabledQuerySet.error)


class TenantQuerySet(models.QuerySet):
    """What every tenant model can be asked."""

    def for_business(self, business: Business) -> TenantQuerySet:
        return self.filter(business=business)


def tenant_manager(queryset: type[models.QuerySet] = TenantQuerySet) -> Any:
    """The default manager of a tenant model: `queryset`'s methods, behind the alarm."""
    return ScopedManager(models.Manager.from_queryset(queryset), business="business")


class TenantModel(models.Model):
    """A row that belongs to one business."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    business = models.ForeignKey("crm.Business", on_delete=models.PROTECT, related_name="+")

    objects = tenant_manager()

    class Meta:
        abstract = True


class TenantForeignKey(models.ForeignKey):
    """A foreign key that stays inside the business. Its constraint is the composite one that `wall()` adds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("db_constraint", None)
        return name, path, list(args), kwargs


def own_key(name: str) -> models.UniqueConstraint:
    """What a TenantForeignKey points at; every tenant model that is pointed at carries one."""
    return models.UniqueConstraint(fields=["business", "id"], name=name)


def wall(child: str, column: str, parent: str) -> migrations.RunSQL:
    """The composite foreign key `child(business_id, column)` → `parent(business_id, id)`, for a migration."""
    name = f"{child}_{column}_wall"
    return migrations.RunSQL(
        f'ALTER TABLE "{child}" ADD CONSTRAINT "{name}" FOREIGN KEY (business_id, "{column}")'
        f' REFERENCES "{parent}" (business_id, id)',
        f'ALTER TABLE "{child}" DROP CONSTRAINT "{name}"',
    )


def every_business() -> Any:
    """Say it where a sweep, the staff console or a start-up command really means all businesses."""
    return scopes_disabled()


def only(business: Business) -> Any:
    """Enter one business: reads inside see its rows and no others."""
    return scope(business=business)
