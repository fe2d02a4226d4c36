"""A business with one row of everything, for tests that look at every table: a new model is furnished by itself."""

from __future__ import annotations

import itertools
from datetime import date, time, timedelta
from typing import Any

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import models

from booking.models import Appointment, TimeOff
from crm.keys import uuid7
from crm.models import Business, Customer, User
from crm.scoping import TenantForeignKey, every_business
from leads.models import Deal, Lead, Salesperson
from marketplace.enums import Account
from marketplace.models import AgedLead, InventoryItem, JournalLine, Return
from tests.conftest import NOW

OUR_APPS = ("crm", "booking", "leads", "marketplace", "outreach", "telephony")

_ONCE = (AgedLead, InventoryItem)  # sold once, so every row that speaks of one has its own

_numbers = itertools.count(1)


def our_models() -> list[type[models.Model]]:
    return [model for label in OUR_APPS for model in apps.get_app_config(label).get_models()]


def belongs_to_a_business(model: type[models.Model]) -> bool:
    return any(field.name == "business" and field.related_model is Business for field in model._meta.concrete_fields)


def tenant_keys() -> list[TenantForeignKey]:
    """Every foreign key that has to stay inside its business."""
    return [
        field for model in our_models() for field in model._meta.concrete_fields if isinstance(field, TenantForeignKey)
    ]


class Furnished:
    """Rows of one business, made when they are asked for. What other rows need is made with them."""

    def __init__(self, business: Business) -> None:
        self.business = business
        self._rows: dict[type[models.Model], models.Model] = {}

    def row(self, model: type[models.Model]) -> Any:
        if model not in self._rows:
            self._rows[model] = self.another(model)
        return self._rows[model]

    def another(self, model: type[models.Model], **given: Any) -> Any:
        """A new row; its foreign keys lead to `row()` of their model unless they are given."""
        with every_business():
            if model is Deal:  # one per lead
                given = {"lead": self.another(Lead)} | given
            values = {
                field.name: self._value(field)
                for field in model._meta.concrete_fields
                if field.name not in given and not _makes_its_own(field)
            }
            row = model._default_manager.create(**values | _together(model) | given)
            if model is JournalLine and not given:  # the lines of an entry add up to nothing
                self.another(model, business=self.business, entry=row.entry, account=Account.SALES, amount=-row.amount)
            return row

    def _value(self, field: Any) -> Any:
        n = next(_numbers)
        if field.related_model is Business:
            return self.business
        if field.is_relation:
            if field.related_model is field.model or (field.null and not isinstance(field, TenantForeignKey)):
                return None
            if field.related_model in _ONCE and not isinstance(field, TenantForeignKey):
                return self.another(field.related_model)
            return self.row(field.related_model)
        if field.choices:
            return field.choices[0][0]
        if isinstance(field, models.CharField | models.TextField):
            return f"{field.name[:8]}{n}"[: field.max_length]
        if isinstance(field, models.UUIDField):
            return uuid7()
        if field.unique and isinstance(field, models.IntegerField):
            return n
        for kind, value in _VALUES.items():
            if isinstance(field, kind):
                return value
        raise TypeError(f"Say in tests/furnish.py what a {type(field).__name__} holds.")


# The more special first: a DateTimeField is a DateField too.
_VALUES: dict[type[models.Field], Any] = {
    models.DateTimeField: NOW,
    models.DateField: date(2026, 11, 18),
    models.TimeField: time(8),
    models.IntegerField: 60,
    models.DecimalField: 1,
    models.BinaryField: b"x",
    models.JSONField: {},
    ArrayField: [],
    models.FileField: "",
}


def _makes_its_own(field: Any) -> bool:
    return (
        isinstance(field, models.AutoField)
        or field.has_default()
        or field.has_db_default()
        or getattr(field, "auto_now_add", False)
        or (field.null and not field.is_relation)
    )


def _together(model: type[models.Model]) -> dict[str, Any]:
    """Values that only make sense together."""
    if model is Appointment:
        starts_at = NOW + timedelta(days=next(_numbers))
        return {"status": "SCHEDULED", "starts_at": starts_at, "ends_at": starts_at + timedelta(hours=1)}
    if model is TimeOff:
        return {"starts_at": NOW, "ends_at": NOW + timedelta(hours=1)}
    if model is JournalLine:
        return {"account": Account.CASH}
    if model is Return:
        return {"status": "replaced"}
    if model is Salesperson:
        return {"user": User.objects.create_user(f"sales{next(_numbers)}@example.com")}
    if model is Customer:
        return {"phone": f"+1555300{next(_numbers):04d}"}
    return {}
