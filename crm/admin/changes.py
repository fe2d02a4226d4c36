"""What a form changed, from what to what, as the audit keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any, Final

from django import forms
from django.db.models import Model, QuerySet

Changes = dict[str, list[str]]

HIDDEN: Final = "(hidden)"
_LONGEST: Final = 200  # characters of a value; the audit tells what happened, it is not a backup


def of_form(form: forms.BaseForm, formsets: Iterable[Any] | None = ()) -> Changes:
    """`{"name": ["was", "is"]}` for everything that changed, with the inline rows by what they are called."""
    changes = _of_fields(form)
    for formset in formsets or ():
        kind = formset.model._meta.verbose_name
        for row in formset.new_objects:
            changes[f"{kind} {row}"] = ["", "added"]
        for row in formset.deleted_objects:
            changes[f"{kind} {row}"] = ["there", "removed"]
        changed = {row.pk for row, _ in formset.changed_objects}
        for row_form in formset.initial_forms:
            if row_form.instance.pk in changed:
                changes |= {
                    f"{kind} {row_form.instance}: {name}": values for name, values in _of_fields(row_form).items()
                }
    return changes


def _of_fields(form: forms.BaseForm) -> Changes:
    changes: Changes = {}
    for name in form.changed_data:
        field = form.fields.get(name)
        if field is None or isinstance(
            field.widget, forms.PasswordInput
        ):  # AdminPasswordChangeForm names no real field
            changes[name] = ["", HIDDEN]
            continue
        if isinstance(field.widget, forms.HiddenInput):
            continue
        was, now = _shown(_before(form, name, field)), _shown(form.cleaned_data.get(name))
        if was != now:
            changes[name] = [was, now]
    return changes


def _before(form: forms.BaseForm, name: str, field: forms.Field) -> Any:
    before = form.get_initial_for_field(field, name)
    if isinstance(field, forms.ModelChoiceField) and not isinstance(field, forms.ModelMultipleChoiceField) and before:
        return field.queryset.filter(pk=before).first() if field.queryset is not None else before
    return before


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Model):
        return str(value)[:_LONGEST]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list | tuple | set | QuerySet):
        return ", ".join(sorted(str(item) for item in value))[:_LONGEST]
    return str(value)[:_LONGEST]
