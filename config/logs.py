"""Logs: one JSON object per line, on stderr, with the request's, business's and event's ids where known.

Phone numbers, addresses and secrets are masked before a line is written, in the event and in every field, so that no
caller has to remember it.
"""

from __future__ import annotations

import logging
import logging.config
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

_PHONE = re.compile(r"(?<![\w.-])\+?\d[\d\s().-]{7,17}\d(?![\w.-])")  # not inside a UUID
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_SECRET_VALUE = re.compile(r"\b(?:fd_[a-z]+_[\w-]+|sk-[\w-]{8,}|AC[0-9a-f]{32}:\S+)")
_SECRET_PATH = re.compile(r"(/buyers/verify/)[^/\s]+")  # holds an address, and confirms it
_SECRET_FIELD = re.compile(r"token|secret|password|authorization|api_key|signature|cookie", re.IGNORECASE)
# Ids, times and durations are digits too, and are what a log is for.
_PLAIN_FIELDS = {
    "ts",
    "level",
    "logger",
    "request_id",
    "task_id",
    "code",
    "count",
    "pid",
    "tenant_id",
    "event_id",
    "job_id",
}


def mask(text: str) -> str:
    """`text` with phone numbers (all but the last two digits), e-mail addresses and keys blanked."""
    text = _SECRET_VALUE.sub("[secret]", text)
    text = _SECRET_PATH.sub(r"\1[secret]", text)
    text = _EMAIL.sub("[e-mail]", text)
    return _PHONE.sub(lambda m: "[phone " + re.sub(r"\D", "", m.group())[-2:].rjust(4, "*") + "]", text)


def _masked(name: str, value: Any) -> Any:
    if _SECRET_FIELD.search(name):
        return "[secret]"
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(name, item) for item in value]
    return value


# Asked every other second by open pages and load balancers; their answers tell nobody anything.
_POLLED = ("/simulator/live", "/news/", "/healthz", "/readyz")


def quiet(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: one line for a request, when it is finished, and none for polls that went well."""
    if event.get("event") == "request_started":
        raise structlog.DropEvent
    if (
        event.get("event") == "request_finished"
        and event.get("code", 500) < 400
        and any(path in event["request"] for path in _POLLED)
    ):
        raise structlog.DropEvent
    return event


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor."""
    return {name: value if name in _PLAIN_FIELDS else _masked(name, value) for name, value in event.items()}


def configure(settings: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG hook: `settings` is LOGGING, of which only `level` is read."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        redact,
    ]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": [structlog.stdlib.ExtraAdder(), *shared],
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.EventRenamer("message"),
                        structlog.processors.JSONRenderer(ensure_ascii=False),
                    ],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": settings["level"]},
            "loggers": {
                # Said better by our own lines, or needless noise at INFO.
                "django.server": {"level": "WARNING"},
                "httpx": {"level": "WARNING"},
                "twilio.http_client": {"level": "WARNING"},  # logs bodies and numbers
                "openai": {"level": "WARNING"},
                "axes": {"level": "WARNING"},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            quiet,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
