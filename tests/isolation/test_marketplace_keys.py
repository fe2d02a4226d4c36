"""The API of the marketplace, walked with the neighbour's key.

The routes are read from the URLconf: one with a new kind of id makes the walk fail until it knows one of Alice's.
"""

from __future__ import annotations

import re

import pytest
import time_machine
from django.http import HttpResponse

from config import api
from marketplace.enums import GoneBecause
from marketplace.services import recalls
from tests.conftest import NOW
from tests.marketplace.programs import Program, written
from tests.marketplace.stock import a_buyer, an_item, start_prices

GOLD = {"classification": "Gold", "age_bucket": "MONTH_6_TO_8", "quantity": 1}
SECRETS = ("Sally", "5045550177", "12 Hidden Lane", "alice")
NEVER = "018f0000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def _at_nine(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def hers(cast) -> dict[str, str]:
    """One of each kind of row of hers, by the name an address or a body gives it."""
    start_prices()
    a_buyer(cast.shop)
    alice = Program(cast.shop)
    an_item(full_name="Sally Secret", first_name="Sally", address="12 Hidden Lane", phone="+15045550177")
    quote = alice.said("/quotes", {"criteria": [GOLD]})
    bought = alice.said("/purchases", {"quote_id": quote["quote_id"]})
    (sale_id,) = bought["sale_ids"]
    export = alice.said("/exports", {"sale_ids": [sale_id]}, status=202)
    returned = alice.said("/returns", {"sale_id": sale_id, "reason": "other"}, status=201)
    recalls.forget(phone="+15045550177", because=GoneBecause.OPTED_OUT, told_by="test", now=NOW)
    (notice,) = alice.said("/recalls")["items"]
    assert alice.get("/purchases/download", {"sale_ids": sale_id}).status_code == 200
    return {
        "quote_id": quote["quote_id"], "purchase_id": bought["purchase_id"], "sale_id": sale_id,
        "export_id": export["export_id"], "return_id": returned["return_id"], "notice_id": notice["notice_id"],
    }  # fmt: skip


def said(response: HttpResponse, ids: dict[str, str]) -> tuple[int, str]:
    """What came back, without the ids that were sent and the address they were sent to."""
    body = response.getvalue().decode() if response.streaming else response.content.decode()
    for pk in (*ids.values(), NEVER):
        body = body.replace(pk, "…")
    return response.status_code, body


def test_his_key_reads_nothing_of_hers_by_any_address(cast, hers):
    a_buyer(cast.next_door)
    charlie, before, walked = Program(cast.next_door, door=""), written(), 0
    for route in api.urlpatterns:
        if not str(route.callback.__module__).startswith("marketplace"):
            continue
        address = "/" + str(route.pattern).strip("^$").removesuffix("/?").replace("\\", "")
        named = re.findall(r"\(\?P<(\w+)>[^)]*\)", address)
        assert set(named) <= set(hers), f"{address}: the walk does not know what to put for {named}"
        for name in named or [""]:
            path = address.replace(f"(?P<{name}>[^/]+)", hers[name]) if name else address
            never = address.replace(f"(?P<{name}>[^/]+)", NEVER) if name else address
            answer, nothing = said(charlie.get(path), hers), said(charlie.get(never), hers)
            assert answer == nothing, path
            assert answer[0] == 404 if name else answer[0] in (200, 400, 405), path
            assert not [secret for secret in SECRETS if secret in answer[1]], path
            walked += 1
    assert walked >= 18
    assert written() == before


def test_his_key_does_nothing_to_hers_by_any_body(cast, hers):
    a_buyer(cast.next_door)
    charlie, before = Program(cast.next_door), written()
    nobodys = dict.fromkeys(hers, NEVER)

    def tries(ids: dict[str, str]) -> list[HttpResponse]:
        return [
            charlie.post("/purchases", {"quote_id": ids["quote_id"]}),
            charlie.get("/purchases/download", {"sale_ids": ids["sale_id"]}),
            charlie.get("/purchases/download", {"purchase_id": ids["purchase_id"]}),
            charlie.post("/exports", {"sale_ids": [ids["sale_id"]]}),
            charlie.post("/exports", {"purchase_id": ids["purchase_id"]}),
            charlie.post("/returns", {"sale_id": ids["sale_id"], "reason": "other"}),
            charlie.post("/recalls/acknowledge", {"notice_ids": [ids["notice_id"]]}),
        ]

    assert [said(answer, hers) for answer in tries(hers)] == [said(answer, hers) for answer in tries(nobodys)]
    assert [answer.status_code for answer in tries(hers)] == [200, 404, 404, 404, 404, 404, 200]
    for client_id in (str(cast.shop.pk), "alice"):
        for path in ("/inventory", "/account", "/purchases", "/recalls.csv"):
            answer = charlie.get(path, {"client_id": client_id})
            assert answer.status_code == (403 if client_id != "alice" else 422), path
            assert b"Alice" not in answer.content
    assert written() == before
