"""The floor: a bare Django view that runs hand-written SQL, as many statements of each kind as the real request runs.

No middleware, no DRF, no signature, no rules: what is left is Django's request handling, psycopg, Postgres and one
commit. Transaction control (savepoints) is not counted in the floor's favour: it has one BEGIN and one COMMIT.
"""

from __future__ import annotations

import json
import uuid

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

SCHEMA = (
    "DROP TABLE IF EXISTS bench_scratch",
    "CREATE TABLE bench_scratch (id uuid PRIMARY KEY, business uuid, customer uuid, kind text, status text, body text,"
    " a text, b text, created_at timestamptz, due_at timestamptz)",
    "CREATE INDEX ON bench_scratch (business, created_at DESC, id DESC)",
    "CREATE INDEX ON bench_scratch (customer, created_at DESC)",
)


def view(request: HttpRequest, selects: int, inserts: int, updates: int) -> HttpResponse:
    business, customer = uuid.uuid4(), uuid.uuid4()
    last = uuid.uuid4()
    with transaction.atomic(), connection.cursor() as cursor:
        for _ in range(inserts):
            last = uuid.uuid4()
            cursor.execute(
                "INSERT INTO bench_scratch VALUES (%s, %s, %s, 'chat', 'queued', %s, '', '', now(), now())",
                [last, business, customer, "Hi Jane, Acme can do AC Repair Fri Nov 21, 7:00-8:00 AM. Reply 1 to book."],
            )
        for _ in range(updates):
            cursor.execute("UPDATE bench_scratch SET status = 'sent', a = %s WHERE id = %s", ["x", last])
        for _ in range(selects):
            cursor.execute("SELECT * FROM bench_scratch WHERE customer = %s ORDER BY created_at DESC LIMIT 1", [customer])
            cursor.fetchone()
    answer = json.dumps({"status": "BOOKED"})
    return HttpResponse(answer, content_type="application/json", headers={"Content-Length": str(len(answer))})


urlpatterns = [path("floor/<int:selects>/<int:inserts>/<int:updates>", view)]


def make_tables() -> None:
    with connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)


def drop_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_scratch")
