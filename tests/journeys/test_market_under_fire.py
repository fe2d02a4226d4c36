"""Twenty buyers race for a thousand leads over the API, by criteria, by ids and by quotes, while web processes are killed
with -9 and Postgres is restarted. No lead is sold twice, every order is whole or nothing, and the books balance to the cent.

Every caller repeats a request with its Idempotency-Key until it is answered, as a careful client does.
"""

from __future__ import annotations

import http.client
import json
import random
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.house import House, wait_until
from tests.marketplace.truths import TRUTHS

BUYERS, LEADS = 20, 1_000
SOLD = "SELECT count(*) FROM marketplace_sale"

STAGE = """
from django.db import connection
from django.utils import timezone
from crm.api_keys import issue_key
from crm.enums import KeyKind
from crm.services import add_business
from marketplace.models import Buyer
from marketplace.services import inventory, prices

now = timezone.now()
prices.start_prices(now=now)
for n in range({buyers}):
    business = add_business(slug=f"buyer{{n}}", name=f"Buyer {{n}}", zone="America/Chicago")
    Buyer.objects.create(
        business=business, status="active", email="b@example.com", email_verified_at=now, created_at=now, into_leads=False
    )
    print(issue_key(business=business, kind=KeyKind.API, now=now).secret)
with connection.cursor() as cursor:
    cursor.execute(
        '''INSERT INTO marketplace_agedlead (id, natural_key, classification, called_in_at, state, county, phone, other_phone,
            phone_mark, mortgage_id, campaign_id, type, status, full_name, first_name, last_name, co_borrower_name, address,
            city, zip, mortgage_amount, lender, sale_date, agent_id, call_in_phone_number, borrower_phone, borrower_age,
            borrower_medical_issues, borrower_tobacco_use, co_borrower, source, call_in_date, created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), CASE WHEN n %% 2 = 0 THEN 'Gold' ELSE 'Silver' END,
            now() - make_interval(days => 200, mins => n), CASE WHEN n %% 3 = 0 THEN 'TX' ELSE 'LA' END, 'County ' || n %% 5,
            '+1504' || 2000000 + n, '', gen_random_uuid(), '', '', '', '', 'John Moore', 'John', 'Moore', '', '', '', '', '',
            '', '', '', '', '', '', '', '', '', '', '', now()
        FROM generate_series(1, %s) AS n''',
        [{leads}],
    )
print(inventory.roll_over(now=now).created)
"""


class Market:
    """The callers, and what they were told."""

    def __init__(self, house: House, keys: list[str]) -> None:
        self.house, self.keys = house, keys
        self.told: dict[int, list[str]] = {n: [] for n in range(BUYERS)}
        self.refused = 0
        self._lock = threading.Lock()

    def call(self, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Until somebody answers. Each request has one Idempotency-Key, however often it is sent."""
        headers = {"X-API-Key": key, "Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(8)}
        for _ in range(300):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", random.choice(list(self.house.web)), timeout=20)
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            if answer.status < 500:
                return answer.status, json.loads(text)
            time.sleep(0.1)  # the database was away
        raise AssertionError("nobody answered")

    def shop(self, number: int) -> None:
        """Buy until the shelf gives nothing more, in orders of any size and all kinds."""
        luck, key, dry = random.Random(number), self.keys[number], 0
        while dry < 4:
            (order,) = luck.choices([self.by_criteria, self.by_ids, self.by_quote], [5, 3, 2])
            answer = order(key, luck)
            if answer.get("success"):
                dry = 0
                with self._lock:
                    self.told[number] += answer["sale_ids"]
            else:
                dry += 1
                with self._lock:
                    self.refused += 1

    def by_criteria(self, key: str, luck: random.Random) -> dict[str, Any]:
        return self._buy(key, "/api/v1/purchases/by-criteria", {"criteria": self._criteria(luck)})

    def by_quote(self, key: str, luck: random.Random) -> dict[str, Any]:
        status, quote = self.call(key, "POST", "/api/v1/quotes", {"criteria": self._criteria(luck)})
        assert status == 200, quote
        return self._buy(key, "/api/v1/purchases", {"quote_id": quote["quote_id"]})

    def by_ids(self, key: str, luck: random.Random) -> dict[str, Any]:
        kind, limit = luck.choice(["Gold", "Silver"]), luck.randint(1, 8)
        status, page = self.call(key, "GET", f"/api/v1/inventory?classification={kind}&limit={limit}")
        assert status == 200, page
        ids = [item["inventory_id"] for item in page["items"]]
        return self._buy(key, "/api/v1/purchases", {"inventory_item_ids": ids}) if ids else {}

    def _buy(self, key: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.call(key, "POST", path, body)
        assert status in (200, 409), answer
        return dict(answer)

    @staticmethod
    def _criteria(luck: random.Random) -> list[dict[str, Any]]:
        return [
            {"classification": luck.choice(["Gold", "Silver"]), "age_bucket": "MONTH_6_TO_8", "quantity": luck.randint(1, 8)}
            | ({"state": luck.choice(["LA", "TX"])} if luck.random() < 0.5 else {})
            for _ in range(luck.randint(1, 2))
        ]  # fmt: skip


@pytest.fixture
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    house = House(tmp_path_factory.mktemp("market"))
    try:
        house.manage("migrate", "--verbosity", "0")
        *keys, created = house.manage("shell", "-v", "0", "-c", STAGE.format(buyers=BUYERS, leads=LEADS)).split()
        assert (len(keys), int(created)) == (BUYERS, LEADS)
        ports = [house.start_web(), house.start_web()]
        assert wait_until(lambda: all(house.answering(port) for port in ports), seconds=30)
        yield Market(house, keys)
    finally:
        house.stop()


@pytest.mark.timeout(180)
def test_no_lead_is_sold_twice_and_every_order_is_whole(market: Market) -> None:
    house = market.house
    with ThreadPoolExecutor(BUYERS) as pool:
        shopping = [pool.submit(market.shop, n) for n in range(BUYERS)]
        for sold, trouble in (
            (150, house.kill_a_web_process), (400, house.restart_postgres), (700, house.kill_a_web_process),
        ):  # fmt: skip
            assert wait_until(lambda enough=sold: house.ask(SOLD)[0][0] >= enough, seconds=60)
            trouble()
        for done in shopping:
            done.result()

    untrue = [sentence for sentence, sql in TRUTHS.items() if house.ask(f"SELECT EXISTS ({sql})") != [(False,)]]  # noqa: S608
    assert untrue == []
    sold = house.ask("SELECT b.slug, s.id::text FROM marketplace_sale s JOIN crm_business b ON b.id = s.business_id")
    told = sorted((f"buyer{number}", sale) for number, sales in market.told.items() for sale in sales)
    assert sorted(sold) == told, "a buyer was told something else than what was written down"
    assert market.refused > 0  # the last leads were fought for
    left = house.ask("SELECT count(*) FROM marketplace_inventoryitem WHERE sold_at IS NULL AND closed_at IS NULL")
    assert left == [(LEADS - len(sold),)]
    assert house.ask("SELECT count(*) > 0 FROM marketplace_purchase WHERE quote_id IS NOT NULL") == [(True,)]
    house.manage("wallet", "check")
