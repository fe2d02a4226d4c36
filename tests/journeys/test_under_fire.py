"""The main job while things break: two web processes, two workers, letters delivered three times in random order, a
process of each kind killed with -9, Redis wiped and Postgres restarted. At the end there is one job, one answer and one
alert for everybody, and the owner's phone rang once each.

Runs the real commands of the Procfile in a data folder of its own, with the demo carrier.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import http.client
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from tests.house import House, wait_until

OUR_NUMBER, OWNER = "+15552000001", "+15552009001"
ACCOUNT = "AC" + "0" * 32
CUSTOMERS = [f"+1555301{n:04d}" for n in range(12)]


class Carrier:
    """Delivers a letter until somebody takes it, as a carrier with retries does, and keeps every answer."""

    def __init__(self, house: House) -> None:
        self.house = house
        token = hmac.new(b"under-fire", b"simulated carrier", hashlib.sha256).hexdigest()[:32]
        self.validator = RequestValidator(token)
        self.answers: dict[str, set[bytes]] = {}
        self._lock = threading.Lock()

    def deliver(self, letter: dict[str, str]) -> None:
        body = urlencode(letter)
        for _ in range(300):
            port = random.choice(list(self.house.web))
            signature = self.validator.compute_signature(f"http://127.0.0.1:{port}/twilio/sms", letter)
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
                connection.request(
                    "POST", "/twilio/sms", body,
                    {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature},
                )  # fmt: skip
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            if answer.status == 200:
                with self._lock:
                    self.answers.setdefault(letter["MessageSid"], set()).add(text)
                return
            assert answer.status >= 500, (answer.status, text)  # broken for a moment, never refused
            time.sleep(0.1)
        raise AssertionError("nobody took the letter")

    def everybody_texts(self, body: str, *, meanwhile: list[Callable[[], None]]) -> None:
        """One text from each customer, each delivered three times, all shuffled; things break on the way."""
        letters = [
            {
                "MessageSid": "SM" + secrets.token_hex(16), "AccountSid": ACCOUNT, "From": customer, "To": OUR_NUMBER,
                "Body": body, "NumMedia": "0",
            }
            for customer in CUSTOMERS
        ]  # fmt: skip
        deliveries: list[Callable[[], None]] = [functools.partial(self.deliver, letter) for letter in letters * 3]
        random.shuffle(deliveries)
        for place, trouble in enumerate(meanwhile, start=1):
            deliveries.insert(place * len(deliveries) // (len(meanwhile) + 1), trouble)
        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(delivery) for delivery in deliveries]:
                done.result()


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("fire"))
    try:
        house.manage("migrate", "--verbosity", "0")
        house.manage(
            "add_business", "alice", "--name", "Alice Plumbing", "--zone", "America/Chicago", "--staff", "4",
            "--number", OUR_NUMBER, "--owner-phone", OWNER,
        )  # fmt: skip
        ports = [house.start_web(), house.start_web()]
        house.start_worker()
        house.start_worker()
        house.start_beat()
        assert wait_until(lambda: all(house.answering(port) for port in ports), seconds=30)
        yield house
    finally:
        house.stop()


@pytest.mark.timeout(180)
def test_one_job_one_answer_one_alert_whatever_breaks(house: House) -> None:
    carrier = Carrier(house)

    carrier.everybody_texts("need ac repair asap", meanwhile=[house.kill_a_web_process, house.wipe_redis])
    carrier.everybody_texts("1", meanwhile=[house.kill_a_worker, house.restart_postgres, house.kill_a_web_process])

    assert len(carrier.answers) == 2 * len(CUSTOMERS)
    assert {len(answers) for answers in carrier.answers.values()} == {1}, "a repeat got another answer"
    jobs = house.ask(
        "SELECT c.phone, count(*) FROM booking_appointment a JOIN crm_customer c ON c.id = a.customer_id"
        " WHERE a.status = 'SCHEDULED' GROUP BY 1 ORDER BY 1"
    )
    assert jobs == [(customer, 1) for customer in CUSTOMERS]
    texts = house.ask(
        "SELECT direction, audience, count(*), count(DISTINCT conversation_id) FROM crm_message"
        " WHERE audience = 'customer' GROUP BY 1, 2 ORDER BY 1"
    )
    assert texts == [("inbound", "customer", 24, 12), ("outbound", "customer", 24, 12)]

    # The alerts leave by themselves, each once, though a worker died and Redis forgot everything.
    rang = "SELECT count(*), count(DISTINCT body) FROM telephony_simulatedtext WHERE to_number = '+15552009001'"
    assert wait_until(lambda: house.ask(rang)[0][0] >= len(CUSTOMERS), seconds=90), house.ask(rang)
    time.sleep(3)
    assert house.ask(rang) == [(len(CUSTOMERS), len(CUSTOMERS))]
    assert house.ask("SELECT count(*) FROM crm_message WHERE audience = 'owner'") == [(len(CUSTOMERS),)]
