"""`make bench`: the table. Uses a data folder of its own (.data/bench) and ports of its own; takes about a minute."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from urllib.parse import unquote_plus, urlencode

PROJECT = Path(__file__).resolve().parent.parent
os.environ.setdefault("FRONTDESK_DATA", str(PROJECT / ".data" / "bench"))
os.environ["LOG_LEVEL"] = "ERROR"
os.environ["OPEN_RATE"] = "1000000/min"  # the doorman is not what is measured
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402 - the environment comes first

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from bench import floor, load  # noqa: E402
from bench.load import request  # noqa: E402
from bench.stage import apart, row, server  # noqa: E402
from booking import queries as calendar  # noqa: E402
from booking.models import Appointment, SchedulingRules, Service, StaffMember  # noqa: E402
from crm.models import Business, Customer, PhoneNumber  # noqa: E402
from crm.scoping import only  # noqa: E402
from telephony.signatures import SIMULATED_ACCOUNT, sign, simulated_token  # noqa: E402

CLIENTS = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="roughly how long each measurement runs")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    shops = [shop() for _ in range(CLIENTS)]
    print(f"\nOne web process, {CLIENTS} clients, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
    print(f"{'':42}{'per second':>11}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'of floor':>10}")
    stories: dict[str, Story] = {
        "offer": Story(
            "Text in, offer out; then a pass", lambda c, n: texts(shops[c], n, ["need ac repair asap", "3"]), 2
        ),
        "hello": Story("Text that names no service", lambda c, n: texts(shops[c], n, ["hello there"]), 1),
        "lead": Story("POST /lead, booked", lambda c, n: leads(shops[c], n), 1),
    }
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        recorded = {
            name: [record(story.requests(client, story.length)) for client in range(CLIENTS)]
            for name, story in stories.items()
        }
        pickle.dump(recorded, file)
        file.flush()
        os.environ["BENCH_STORIES"] = file.name
        with server("config.wsgi:application") as port, server("bench.floor_wsgi:application") as floor_port:
            for name, story in stories.items():
                measure(name, story, port, floor_port, options.seconds)
            repeated(port, options.seconds, leads(shops[0], 1))
    slots()


# --- requests over HTTP --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """What each client asks for: `requests(client, count)`, `length` requests being one telling."""

    title: str
    requests: Callable[[int, int], list[bytes]]
    length: int


def shop() -> Business:
    """A business of ten; every client writes to one of its own, as customers of different businesses do."""
    slug = f"bench_{secrets.token_hex(4)}"
    call_command(
        "add_business",
        slug,
        name="Bench Plumbing",
        zone="America/Chicago",
        open_intake=True,
        staff=10,
        owner_phone="+15552009999",
        stdout=StringIO(),
    )
    business = Business.objects.get(slug=slug)
    business.sms_daily_cap_cents = 10**8
    business.save()
    return business


def someone() -> str:
    return f"+1{200 + secrets.randbelow(700)}{secrets.randbelow(10**7):07d}"


def texts(business: Business, count: int, bodies: list[str]) -> list[bytes]:
    number = business.numbers.get().e164
    made = []
    for n in range(count):
        if n % len(bodies) == 0:
            person = someone()
        letter = {
            "MessageSid": "SM" + secrets.token_hex(16), "AccountSid": SIMULATED_ACCOUNT, "From": person, "To": number,
            "Body": bodies[n % len(bodies)], "NumMedia": "0", "NumSegments": "1", "SmsStatus": "received",
        }  # fmt: skip
        signature = sign("http://localhost/twilio/sms", letter, token=simulated_token())
        made.append(
            request(
                "/twilio/sms",
                urlencode(letter).encode(),
                content_type="application/x-www-form-urlencoded",
                headers={"X-Twilio-Signature": signature},
            )
        )
    return made


def leads(business: Business, count: int) -> list[bytes]:
    made = []
    for _ in range(count):
        body = {
            "event_id": secrets.token_hex(8), "tenant_id": business.slug, "name": "Jane Doe", "service": "AC Repair",
            "phone": someone(), "notes": "no cooling",
        }  # fmt: skip
        made.append(request("/lead", json.dumps(body).encode(), content_type="application/json"))
    return made


def measure(name: str, story: Story, port: int, floor_port: int, seconds: float) -> None:
    apart(load.run, port, [story.requests(c, 10) for c in range(CLIENTS)])  # warm
    probe = apart(load.run, port, [story.requests(c, 20) for c in range(CLIENTS)])
    each = max(int(probe.per_second * seconds / CLIENTS), 20) // 2 * 2
    real = apart(load.run, port, [story.requests(c, each) for c in range(CLIENTS)])
    bare = [[request(f"/floor/{name}/{c}", b"", content_type="text/plain")] * max(each, 100) for c in range(CLIENTS)]
    apart(load.run, floor_port, [one[:20] for one in bare])
    low = apart(load.run, floor_port, bare)
    for result in (real, low):
        assert set(result.statuses) <= {200}, f"{story.title}: not every answer was 200: {result.statuses}"
    row(story.title, real, low)
    row("  its floor: the same SQL, a bare view", low)


def repeated(port: int, seconds: float, same: list[bytes]) -> None:
    """The same event again and again: one job, and each time its stored answer."""
    real = apart(load.run, port, [same * max(int(seconds * 60), 100) for _ in range(CLIENTS)])
    row("POST /lead, the same event again", real)


def record(requests: list[bytes]) -> list[floor.Script]:
    """Run one telling of a story in this process and keep the SQL each request sends."""
    client = Client()
    scripts = []
    for data in requests:
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        statements: list[floor.Statement] = []
        with floor.recording(statements):
            response = client.generic(
                "POST", lines[0].split(" ")[1], body, content_type=headers["Content-Type"],
                headers={k: v for k, v in headers.items() if k.startswith("X-")} | {"Host": "localhost"},
            )  # fmt: skip
        assert response.status_code == 200, response.content
        tokens = re.findall(r"\+1\d{10}|SM[0-9a-f]{32}|\b[0-9a-f]{16}\b", body.decode() + unquote_plus(body.decode()))
        ours = set(PhoneNumber.objects.values_list("e164", flat=True)) | {"+15552009999"}
        scripts.append(floor.Script(statements, sorted(set(tokens) - ours)))
    return scripts


# --- slot search -----------------------------------------------------------------------------------------------------------


def slots() -> None:
    """A year of 20 staff with 8 jobs a day; the first ten days are full."""
    slug = f"bench_{secrets.token_hex(4)}"
    call_command("add_business", slug, name="Bench Calendar", zone="America/Chicago", staff=20, stdout=StringIO())
    business = Business.objects.get(slug=slug)
    with only(business):
        service = Service.objects.get(name="AC Repair")
        customer = Customer.objects.create(business=business, phone="+15550100001")
        staff = list(StaffMember.objects.values_list("pk", flat=True))
        now = datetime.now(UTC)
        first = now.replace(hour=14, minute=0, second=0, microsecond=0)
        Appointment.objects.bulk_create(
            (
                Appointment(
                    business=business, customer=customer, staff_id=who, service=service, service_name=service.name,
                    starts_at=start, ends_at=start + timedelta(hours=1), status="SCHEDULED", created_at=now,
                )
                for day in range(365)
                for hour in range(9 if day < 10 else 8)
                for who in staff
                for start in [first + timedelta(days=day, hours=hour)]
            ),
            batch_size=2000,
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE booking_appointment")
        rules = SchedulingRules.objects.get(business=business)
        times, counted = [], 0
        for _ in range(50):
            began = time.perf_counter()
            with CaptureQueriesContext(connection) as captured:
                found, _ = calendar.open_slots(
                    business=business, rules=rules, duration=timedelta(hours=1), now=now, limit=3
                )
            times.append(time.perf_counter() - began)
            counted = len(captured.captured_queries)
            assert found
        total = Appointment.objects.count()
    times.sort()
    print(
        f"\nSlot search among {total:,} jobs of 20 staff: p50 {times[25] * 1000:.1f} ms, p95 {times[47] * 1000:.1f} ms,"
        f" {counted} queries\n"
    )


if __name__ == "__main__":
    main()
