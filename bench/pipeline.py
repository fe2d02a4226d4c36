"""`make bench-pipeline`: leads by API, and the board of a business with a million leads. A data folder of its own
(.data/bench); takes some minutes, most of them to write the million."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import time
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
os.environ.setdefault("FRONTDESK_DATA", str(PROJECT / ".data" / "bench"))
os.environ["LOG_LEVEL"] = "ERROR"
os.environ["API_RATE"] = "1000000/min"  # the doorman is not what is measured
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402 - the environment comes first

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import timezone  # noqa: E402

from bench import load  # noqa: E402
from bench.load import request  # noqa: E402
from bench.stage import apart, row, server  # noqa: E402
from crm.api_keys import issue_key  # noqa: E402
from crm.enums import KeyKind, Role  # noqa: E402
from crm.models import Business, User  # noqa: E402
from crm.scoping import only  # noqa: E402
from crm.services import add_member  # noqa: E402
from leads.models import Lead  # noqa: E402

CLIENTS = 8
LEAD = json.dumps({"source": "partner", "business_domain": "first"}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-pipeline", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="roughly how long each measurement runs")
    parser.add_argument("--leads", type=int, default=1_000_000, help="how many stand on the board")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    business = shop()
    os.environ["BENCH_BUSINESS"] = str(business.pk)
    key = issue_key(business=business, kind=KeyKind.API, now=timezone.now(), label="Bench", actor_text="bench").secret
    print(f"\nOne web process, {CLIENTS} clients, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
    print(f"{'':42}{'per second':>11}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'of floor':>10}")
    os.environ["BENCH_URLS"] = "bench.pipeline_floor"
    with server("config.wsgi:application") as port, server("bench.floor_wsgi:application") as floor_port:
        compare("POST /leads/", [post("/leads/", key)] * 50, port, floor_port, options.seconds)
        with only(business):
            numbers = list(Lead.objects.for_business(business).values_list("number", flat=True)[: CLIENTS * 50])
        each = [post(f"/leads/{number}/analyze", key) for number in numbers]
        compare("POST /leads/{id}/analyze", each, port, floor_port, options.seconds)
    board(options.leads)


def post(path: str, key: str) -> bytes:
    return request(path, LEAD, content_type="application/json", headers={"X-API-Key": key})


def compare(title: str, requests: list[bytes], port: int, floor_port: int, seconds: float) -> None:
    """The same requests to the real thing and to its floor, each client with leads of its own."""
    shares = [requests[client::CLIENTS] for client in range(CLIENTS)]

    def many(count: int) -> list[list[bytes]]:
        return [(share * (count // len(share) + 1))[:count] for share in shares]

    results = []
    for one in (port, floor_port):
        probe = apart(load.run, one, many(60))
        results.append(apart(load.run, one, many(max(int(probe.per_second * seconds / CLIENTS), 60))))
        assert set(results[-1].statuses) <= {200, 201}, f"{title}: {results[-1].statuses}"
    real, low = results
    row(title, real, low)
    row("  its floor: a bare DRF view, the same rows", low)


def shop() -> Business:
    slug = f"bench_{secrets.token_hex(4)}"
    call_command("add_business", slug, name="Bench Heating", zone="America/Chicago", stdout=StringIO())
    return Business.objects.get(slug=slug)


def board(count: int) -> None:
    """One business, `count` leads, as a person with a browser asks for its pages: through every middleware."""
    business = shop()
    user = User.objects.create_user(f"{business.slug}@example.com", "correct horse battery", name="Bea Bench")
    add_member(business=business, user=user, role=Role.OWNER)
    print(f"\nWriting {count:,} leads of one business ...", flush=True)
    fill(business, count)
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    for name, query in (
        ("board", ""),
        ("board", "?mine=1"),
        ("leads", ""),
        ("leads", "?stage=contacted"),
        ("deals", ""),
    ):
        address = reverse(f"leads:{name}", args=[business.slug]) + query
        times, asked = [], 0
        for _ in range(30):
            began = time.perf_counter()
            with CaptureQueriesContext(connection) as captured:
                page = client.get(address)
            times.append(time.perf_counter() - began)
            assert page.status_code == 200, f"{address}: {page.status_code}"
            asked = len(captured.captured_queries)
        times.sort()
        print(f"{name + query:28} p50 {times[15] * 1000:6.0f} ms   p95 {times[28] * 1000:6.0f} ms   {asked} queries")


def fill(business: Business, count: int) -> None:
    """Leads of half a year, each with a customer; a tenth are with somebody, most were lost or won long ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO crm_customer (id, business_id, name, phone, phone_raw, email, address, notes, tags, created_at)"
            " SELECT gen_random_uuid(), %(b)s, 'Person ' || n, '+1999' || lpad(n::text, 7, '0'), '', '', '', '', '{}', now()"
            " FROM generate_series(1, %(n)s) n",
            {"b": business.pk, "n": count},
        )
        cursor.execute(
            "INSERT INTO leads_lead (id, business_id, customer_id, source, business_domain, stage, status, event_id, asked_for,"
            " notes, activity_count, lost_because, outcome, created_at, first_touch_at, score, closed_at)"
            " SELECT gen_random_uuid(), %(b)s, c.id, (ARRAY['partner','manual','scanner','form'])[1 + n %% 4],"
            " (ARRAY['first','second','third',''])[1 + n %% 4], s.stage, 'new', '', 'Heat pump', '', n %% 14, '',"
            " CASE s.stage WHEN 'lost' THEN 'lost' ELSE '' END, now() - n * interval '15 seconds',"
            " CASE WHEN s.stage <> 'new' THEN now() - n * interval '15 seconds' + interval '3 minutes' END, (n %% 101) / 100.0,"
            " CASE s.stage WHEN 'lost' THEN now() - n * interval '14 seconds' END"
            " FROM (SELECT id, row_number() OVER () AS n FROM crm_customer WHERE business_id = %(b)s) c,"
            " LATERAL (SELECT (ARRAY['new','contacted','qualified','lost','lost'])[1 + n %% 5] AS stage) s",
            {"b": business.pk},
        )
        cursor.execute("ANALYZE crm_customer")
        cursor.execute("ANALYZE leads_lead")


if __name__ == "__main__":
    main()
