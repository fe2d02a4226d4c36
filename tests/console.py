"""Hands at the staff console: where things are, how an action is run, what the page says."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.urls import reverse


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def add_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def choose(client: Any, action: str, *rows: Model, **data: str) -> Any:
    """Run an action on chosen rows of a list."""
    return _post(client, rows, {"action": action, "index": "0", **data})


def confirm(client: Any, action: str, *rows: Model, **data: str) -> Any:
    """The same, from the page that asked first."""
    return _post(client, rows, {"action": action, "confirmed": "Yes", **data})


def _post(client: Any, rows: tuple[Model, ...], data: dict[str, str]) -> Any:
    return client.post(list_of(type(rows[0])), {"_selected_action": [str(row.pk) for row in rows], **data}, follow=True)


def told(response: Any) -> list[str]:
    """What the page says above everything else."""
    return [str(message) for message in response.context["messages"]]


def errors_of(response: Any) -> list[str]:
    """What the form on the page says is wrong."""
    return [sentence for sentences in response.context["adminform"].form.errors.values() for sentence in sentences]
