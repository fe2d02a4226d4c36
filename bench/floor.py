"""The floor: a bare Django view that sends the very SQL statements the real request sends, and nothing else.

They are recorded from real requests and replayed with fresh ids, numbers and times, in one transaction: the same rows,
indexes, constraints and commit. No middleware, no DRF, no signature, no rules, no model objects. What is left is Django's
request handling, psycopg and Postgres. Savepoints and the statements that lock nothing are replayed as they came.
"""

from __future__ import annotations

import itertools
import os
import pickle
import re
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

Statement = tuple[str, list[Any]]


@dataclass
class Script:
    """What one request sends, in order. A story is a few of them, told again and again by each client."""

    statements: list[Statement]
    tokens: list[str]  # what was unique to the recorded request: phone, event, sid


@contextmanager
def recording(into: list[Statement]) -> Iterator[None]:
    """Keep every statement that is executed inside."""

    def keep(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            into.append((sql, list(params.values()) if isinstance(params, dict) else list(params or ())))
            if isinstance(params, dict):
                # Named parameters become positions, in the order the SQL names them.
                names = re.findall(r"%\((\w+)\)s", sql)
                into[-1] = (re.sub(r"%\(\w+\)s", "%s", sql), [params[name] for name in names])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(keep):
        yield


@dataclass
class _Client:
    """Where one client is in its story, and the fresh ids of this telling."""

    chapter: int = 0
    ids: dict[uuid.UUID, uuid.UUID] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)


_INSERTS_ID = re.compile(r'INSERT INTO "?\w+"? \("?id"?,')
_stories: dict[str, list[list[Script]]] = {}  # by name, then by client: each writes to a business of its own
_clients: dict[str, _Client] = {}
_hours = itertools.count(1)


def view(_request: HttpRequest, story: str, client: str) -> HttpResponse:
    if not _stories:
        with open(os.environ["BENCH_STORIES"], "rb") as file:
            _stories.update(pickle.load(file))  # noqa: S301 - written by this very run
    scripts = _stories[story][int(client)]
    state = _clients.setdefault(f"{story}/{client}", _Client())
    script = scripts[state.chapter % len(scripts)]
    if state.chapter % len(scripts) == 0:
        state.ids.clear()
        state.words = {token: _like(token) for token in script.tokens}
    else:
        state.words |= {token: _like(token) for token in script.tokens if token not in state.words}
    state.chapter += 1
    shift = timedelta(hours=next(_hours))
    returned: Any = None
    with transaction.atomic(), connection.cursor() as cursor:
        for sql, parameters in script.statements:
            inserts = sql.startswith("INSERT")
            later = shift if inserts and "booking_appointment" in sql else None
            with_id = _INSERTS_ID.match(sql) is not None
            values = [
                _fresh(value, state, new=with_id and place == 0, later=later) for place, value in enumerate(parameters)
            ]
            if sql.startswith("UPDATE crm_idempotencykey"):
                values[-1] = returned
            cursor.execute(sql, values)
            if cursor.description is not None:
                rows = cursor.fetchall()
                if inserts and rows:
                    returned = rows[0][0]
    answer = '{"status": "BOOKED"}'
    return HttpResponse(answer, content_type="application/json", headers={"Content-Length": str(len(answer))})


def _fresh(value: Any, state: _Client, *, new: bool, later: timedelta | None) -> Any:
    """The recorded value, as this telling has it."""
    if isinstance(value, uuid.UUID):
        if new:
            state.ids[value] = uuid.uuid4()
        return state.ids.get(value, value)
    if isinstance(value, str):
        return state.words.get(value, value)
    if later is not None and isinstance(value, datetime):
        return value + later
    return value


def _like(token: str) -> str:
    """Another word of the same shape."""
    if token.startswith("+"):
        return f"+1{200 + secrets.randbelow(700)}{secrets.randbelow(10**7):07d}"
    return secrets.token_hex(len(token))[: len(token)]


urlpatterns = [path("floor/<str:story>/<str:client>", view)]
