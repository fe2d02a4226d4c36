"""Errors of the API as application/problem+json (RFC 9457): what is wrong, in which field, what to do.

The fields of the older contracts are carried along: `detail` stays a string, validation adds `errors` by field.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

PROBLEM_JSON = "application/problem+json"


class Conflict(exceptions.APIException):
    """The state of things does not allow it: a taken slot, a repeated key for another request."""

    status_code = 409
    default_code = "conflict"


class Gone(exceptions.APIException):
    """It was here, and will not come back."""

    status_code = 410
    default_code = "gone"


class TooLarge(exceptions.APIException):
    """More than anybody here would read."""

    status_code = 413
    default_code = "too_large"


class UnknownField(exceptions.NotFound):
    """A field names something that is not there, or not theirs: the same words for both."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.errors = {field: [detail]}


class Unprocessable(exceptions.APIException):
    """Understood, and cannot be carried out. `errors` names the fields."""

    status_code = 422
    default_code = "unprocessable"

    def __init__(self, detail: str, *, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(detail)
        self.errors = errors or {}


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None lets an unexpected error go on to the 500 page, which tells nothing.

    An error may bring `errors` by field, and `members` that stand in the place of the problem's own.
    """
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(*error.args)
    elif isinstance(error, DjangoValidationError):
        error = Unprocessable("Some fields need attention.", errors=error.message_dict)
    elif isinstance(error, RequestDataTooBig):
        error = TooLarge(f"The body is too large. Send at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes.")
    if not isinstance(error, exceptions.APIException):
        return None
    status, detail = error.status_code, str(error.detail)
    errors: dict[str, list[str]] = getattr(error, "errors", {})
    headers = {}
    if isinstance(error, exceptions.ValidationError):
        status = 422  # the documented code for a body of the wrong shape; 400 is kept for what is not JSON at all
        errors = _by_field(error.detail)
        detail = " ".join(f"{name}: {text}" for name, texts in errors.items() for text in texts)
    if header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait) + 1)
        detail = f"Too many requests. Try again in {int(wait) + 1} seconds."
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": context["request"].path,
    }
    if errors:
        body["errors"] = errors
    body |= getattr(error, "members", {})
    return Response(body, status=status, headers=headers, content_type=PROBLEM_JSON)


def _by_field(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """DRF's nested error detail, flat: {"name": ["…"], "lines[0].qty": ["…"]}."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, item in detail.items():
            if name == "non_field_errors":
                label = prefix or "body"
            elif isinstance(name, int):  # a place in a list
                label = f"{prefix}[{name}]"
            else:
                label = f"{prefix}.{name}" if prefix else str(name)
            found.update(_by_field(item, label))
        return found
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        found = {}
        for index, item in enumerate(detail):
            found.update(_by_field(item, f"{prefix}[{index}]"))
        return found
    return {prefix or "body": [str(item) for item in (detail if isinstance(detail, list) else [detail])]}
