"""The marketplace's API beyond its documented examples: who may ask, pages, repeats, files, and what follows a purchase."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.conf import settings as installed
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crm.enums import BusinessStatus, KeyKind
from crm.keys import uuid7
from crm.scoping import every_business, only
from marketplace import api, queries
from marketplace.enums import ExportStatus, GoneBecause, Terms
from marketplace.models import (
    Buyer,
    Export,
    ExportDownload,
    KnownPhone,
    KnownUpload,
    PricingRule,
    Purchase,
    RecallNotice,
    Return,
    Sale,
)
from marketplace.services import books, exports, purchases, recalls, returns
from tests.conftest import NOW
from tests.crowd import all_at_once
from tests.marketplace.programs import Program, content, refused, written
from tests.marketplace.stock import a_buyer, a_phone, an_item, items, start_prices

GOLD = {"classification": "Gold", "age_bucket": "MONTH_6_TO_8"}
NEVER = "018f0000-0000-7000-8000-000000000000"

LOOKS = ["/inventory", "/inventory/locations", f"/quotes/{NEVER}"]
READS = [
    "/purchases", f"/purchases/{NEVER}", "/purchases/download", f"/exports/{NEVER}", "/returns", f"/returns/{NEVER}",
    "/account", "/recalls", "/recalls.csv", "/webhook",
]  # fmt: skip
ORDERS = ["/purchases", "/purchases/by-criteria"]
WRITES = ["/quotes", "/exports", "/returns", "/recalls/acknowledge", "/known-phones"]


@pytest.fixture(autouse=True)
def _at_nine(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def shop(cast):
    start_prices()
    a_buyer(cast.shop)
    return cast.shop


@pytest.fixture
def program(shop):
    return Program(shop)


@pytest.fixture
def neighbour(cast):
    a_buyer(cast.next_door)
    return Program(cast.next_door)


def order(count: int = 1, **criterion) -> dict[str, object]:
    return {"criteria": [GOLD | {"quantity": count} | criterion]}


def buy(program, count: int = 1, **fields) -> dict[str, object]:
    """New leads, bought at once."""
    items(count, **fields)
    return program.said("/purchases/by-criteria", order(count))


def table(response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content(response).decode(), newline="")))


# --- Who may ask ----------------------------------------------------------------------------------------------------------


def test_every_door_wants_the_key_of_a_business(cast):
    widget, admin = Program(cast.shop, kind=KeyKind.WIDGET), Program(None, kind=KeyKind.ADMIN)
    asked = [("get", path) for path in LOOKS + READS] + [("post", path) for path in ORDERS + WRITES]
    for method, path in [*asked, ("put", "/webhook"), ("delete", "/webhook")]:
        stranger = getattr(Client(), method)(path, {}, content_type="application/json")
        assert refused(stranger, 401)["detail"] == "Authentication credentials were not provided."
        for program in (widget, admin):
            answer = program.get(path) if method == "get" else program.post(path, {}, method=method)
            assert refused(answer, 403)["detail"] == "Send this business's key in the X-API-Key header."


def test_an_owners_key_may_buy_as_well(shop):
    assert buy(Program(shop, kind=KeyKind.OWNER))["success"] is True


@pytest.mark.parametrize(
    ("standing", "fields", "looks", "reads"),
    [
        ("no buyer", None, api.NO_BUYER, api.NO_BUYER),
        ("pending", {"status": "pending"}, "", ""),
        ("suspended", {"status": "suspended"}, "", ""),
        ("closed", {"status": "closed"}, api.CLOSED, ""),
        ("suspended business", {}, "Business is suspended", "Business is suspended"),
    ],
)
def test_who_may_look_and_who_may_still_have_what_they_bought(cast, standing, fields, looks, reads):
    start_prices()
    if fields is not None:
        a_buyer(cast.shop, **fields)
    if standing == "suspended business":
        cast.shop.status = BusinessStatus.SUSPENDED
        cast.shop.save()
    program = Program(cast.shop)
    for path in LOOKS:
        answer = program.get(path)
        assert (refused(answer, 403)["detail"] if looks else answer.status_code in (200, 404)) == (looks or True)
    for path in READS:
        answer = program.get(path)
        assert (refused(answer, 403)["detail"] if reads else answer.status_code in (200, 400, 404)) == (reads or True)
    before = written()
    for path in WRITES:
        answer = program.post(path, {})
        wanted = looks if path == "/quotes" else reads
        assert (refused(answer, 403)["detail"] if wanted else answer.status_code) == (wanted or 422)
    assert written() == before


def test_another_client_id_is_refused_wherever_it_is_sent(cast, program):
    before = written()
    for path in LOOKS + READS:
        for client_id in (str(cast.next_door.pk), NEVER):
            assert refused(program.get(path, {"client_id": client_id}), 403)["detail"].startswith("client_id: this key")
        for client_id in ("charlie", "never"):
            assert refused(program.get(path, {"client_id": client_id}), 422)["errors"] == {
                "client_id": ["Send the UUID or the short name of this key's business, or leave client_id out."]
            }
        own, plain = program.get(path, {"client_id": " alice "}), program.get(path)
        assert own.status_code == plain.status_code != 422
    for path in WRITES:
        assert refused(program.post(path, {"client_id": NEVER}), 403)["detail"].startswith("client_id: this key")
    assert refused(program.post("/webhook", {"client_id": NEVER}, method="put"), 403)
    assert written() == before


# --- Looking --------------------------------------------------------------------------------------------------------------


def test_filters_take_several_values_and_say_what_they_understood(program):
    caddo = an_item(days=300)
    texan = an_item(state="TX", county="Travis, North", classification="Silver")
    acadia = an_item(county="Acadia", days=250)
    an_item(state="FL", county="Dade")

    def found(query):
        answer = program.get("/inventory", query).json()
        assert answer["total"] == answer["total_count"] == len(answer["items"])
        return [item["inventory_id"] for item in answer["items"]], answer["filters_applied"]

    assert found({"state": "la"}) == ([str(caddo.pk), str(acadia.pk)], {"state": "LA"})
    both = [str(caddo.pk), str(acadia.pk), str(texan.pk)]
    assert found({"state": " la ,TX,LA,,"}) == (both, {"state": ["LA", "TX"]})
    assert found({"state": ["tx", "la"]}) == (both, {"state": ["TX", "LA"]})
    assert found({"county": ["Travis, North", "Acadia"]}) == (
        [str(acadia.pk), str(texan.pk)],
        {"county": ["Travis, North", "Acadia"]},
    )
    assert found({"county": "Caddo,Acadia"}) == ([], {"county": "Caddo,Acadia"})
    buckets = {"age_bucket": "MONTH_6_TO_8,MONTH_9_TO_11", "classification": "Silver,Gold", "state": "LA"}
    applied = {"state": "LA", "classification": ["Silver", "Gold"], "age_bucket": ["MONTH_6_TO_8", "MONTH_9_TO_11"]}
    assert found(buckets) == ([str(caddo.pk), str(acadia.pk)], applied)
    assert found({"state": "", "county": " ", "classification": ",", "limit": "", "after": ""})[1] == {}


def test_filters_have_an_end(program):
    many = ",".join(f"S{n}" for n in range(61))
    assert refused(program.get("/inventory", {"state": many}), 422)["errors"] == {"state": ["Send at most 60 of them."]}
    assert refused(program.get("/inventory", {"county": "x" * 101}), 422)["errors"] == {
        "county": ["Ensure this field has no more than 100 characters."]
    }


def test_pages_follow_each_other_while_the_shelf_moves(program, neighbour):
    shelf = [an_item(days=200 + n) for n in range(7)][::-1]
    first = program.get("/inventory", {"limit": 3}).json()
    assert (first["total"], [item["inventory_id"] for item in first["items"]]) == (7, [str(i.pk) for i in shelf[:3]])
    neighbour.said("/purchases", {"inventory_item_ids": [str(shelf[0].pk), str(shelf[3].pk)]})
    second = program.get("/inventory", {"limit": 3, "after": first["next"]}).json()
    assert [item["inventory_id"] for item in second["items"]] == [str(item.pk) for item in shelf[4:]]
    assert (second["next"], second["total"]) == (None, 5)
    skipped = program.get("/inventory", {"limit": 3, "offset": 3}).json()["items"]
    assert [item["inventory_id"] for item in skipped] == [str(item.pk) for item in shelf[5:]]


def test_a_cursor_that_was_never_given_is_refused(program):
    plain = f"2026-11-18T15:00:00+00:00~{NEVER}"
    never_given = [plain] + [
        api.pack(cursor)
        for cursor in (
            "x", "2026-11-18", plain.replace("+00:00", ""), plain.replace("+00:00", "+06:00"),
            plain.replace("2026", "0000"), plain[:-1], f"{plain}0",
            plain.replace(NEVER, "{" + NEVER + "}"),
        )
    ]  # fmt: skip
    for cursor in [*never_given, "x", "eA", "=", "ä", "%00"]:
        assert refused(program.get("/inventory", {"after": cursor}), 422)["errors"] == {
            "after": ["Send the `next` of the page before, as it is."]
        }, cursor
    for path in ("/purchases", "/returns", "/recalls"):
        assert set(refused(program.get(path, {"after": "x"}), 422)["errors"]) == {"after"}


def test_a_kind_without_a_price_is_shown_and_cannot_be_bought(program):
    PricingRule.objects.filter(**GOLD).delete()
    item = an_item()
    an_item(days=300)
    listed = program.said("/inventory")["items"]
    assert [line["unit_price"] for line in listed] == ["6.00", None]
    sentence = "No active pricing found for Gold + MONTH_6_TO_8"
    before = written()
    assert program.said("/purchases/by-criteria", order())["errors"] == [sentence]
    assert program.said("/purchases", {"inventory_item_ids": [str(item.pk)]})["errors"] == [sentence]
    assert refused(program.post("/quotes", order()), 409)["detail"] == sentence
    assert refused(program.post("/quotes", {"inventory_item_ids": [str(item.pk)]}), 409)["detail"] == sentence
    assert written() == before


def test_whom_a_buyer_has_is_not_listed_and_a_long_list_makes_the_total_an_upper_bound(shop, program, monkeypatch):
    phone = a_phone()
    an_item(phone=phone)
    an_item()
    program.said("/known-phones", {"sha256": [hashlib.sha256(phone.encode()).hexdigest()]}, status=201)
    listed = program.said("/inventory")
    assert (len(listed["items"]), listed["total"], listed["total_is_exact"]) == (1, 1, True)
    monkeypatch.setattr(queries, "EXACT_UP_TO", 0)
    listed = program.said("/inventory")
    assert (len(listed["items"]), listed["total"], listed["total_is_exact"]) == (1, 2, False)


def test_locations_are_those_with_something_to_buy(program, neighbour):
    for state, county in [("LA", "Caddo"), ("LA", "Acadia"), ("TX", ""), ("FL", "Dade")]:
        item = an_item(state=state, county=county)
    neighbour.said("/purchases", {"inventory_item_ids": [str(item.pk)]})
    assert program.said("/inventory/locations") == {
        "states": ["LA", "TX"], "counties_by_state": {"LA": ["Acadia", "Caddo"], "TX": []},
    }  # fmt: skip


def test_looking_and_buying_take_few_statements_whatever_the_number_of_leads(program):
    items(40)
    program.said("/inventory")  # writes down when the key was used
    for limit in (1, 30):
        with CaptureQueriesContext(connection) as looking:
            program.get("/inventory", {"limit": limit})
        assert len(looking) == 8, [query["sql"][:90] for query in looking]
    counts = []
    for quantity in (1, 30):
        with CaptureQueriesContext(connection) as buying:
            assert program.said("/purchases/by-criteria", order(quantity), key=f"q{quantity}")["success"]
        counts.append(len(buying))
    assert counts == [19, 19], [query["sql"][:90] for query in buying]


# --- Repeats --------------------------------------------------------------------------------------------------------------


def test_the_same_order_twice_is_bought_once(program):
    items(4)
    first = program.post("/purchases/by-criteria", order(2), key="order-1")
    before = written()
    again = program.post("/purchases/by-criteria", order(2), key="order-1")
    assert (again.json(), again["Idempotency-Replayed"]) == (first.json(), "true")
    problem = refused(program.post("/purchases/by-criteria", order(1), key="order-1"), 422)
    assert problem["detail"].startswith("Idempotency-Key: this key was used before with another request.")
    assert written() == before
    assert written()["sold"] == 2


def test_every_other_post_honours_the_key_as_well(program):
    sale_id = buy(program)["sale_ids"][0]
    item = an_item()
    for path, body in [
        ("/quotes", {"inventory_item_ids": [str(item.pk)]}),
        ("/exports", {"sale_ids": [sale_id]}),
        ("/returns", {"sale_id": sale_id, "reason": "other"}),
        ("/known-phones", {"sha256": ["0" * 64]}),
        ("/recalls/acknowledge", {"notice_ids": [NEVER]}),
    ]:
        first = program.post(path, body, key=path)
        assert first.status_code in (200, 201, 202), first.content
        before = written()
        again = program.post(path, body, key=path)
        assert (again.status_code, again.json(), again["Idempotency-Replayed"]) == (
            first.status_code, first.json(), "true",
        )  # fmt: skip
        assert written() == before
    first = program.post("/known-phones", b"+15045550123\n", kind="text/csv", key="list")
    assert program.post("/known-phones", b"+15045550123\n", kind="text/csv", key="list").json() == first.json()
    assert refused(program.post("/known-phones", b"+15045550124\n", kind="text/csv", key="list"), 422)


def test_a_refusal_leaves_the_key_free(shop, program):
    """After new stock, or a top-up, the very same request goes through; after that it is repeated."""
    refused(program.post("/purchases/by-criteria", order(2), key="order-1"), 409)
    items(2)
    books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal(0), actor=None, now=NOW)
    poor = program.said("/purchases/by-criteria", order(2), key="order-1")
    assert poor["errors"] == ["This order costs $16.00 and $0.00 can be spent. Top up $16.00 or order less."]
    assert (written()["Purchase"], written()["IdempotencyKey"]) == (0, 0)
    with every_business():
        books.top_up(business=shop, amount=Decimal(16), reference="bank 1", actor=None, now=NOW)
    bought = program.said("/purchases/by-criteria", order(2), key="order-1")
    assert (bought["success"], bought["total_paid"]) == (True, "16.00")
    assert program.said("/purchases/by-criteria", order(2), key="order-1") == bought
    assert written()["sold"] == 2


@pytest.mark.django_db(transaction=True)
def test_one_order_sent_by_eight_at_once_is_bought_once(cast):
    start_prices()
    a_buyer(cast.shop)
    items(8)
    program = Program(cast.shop)
    answers = all_at_once([lambda: program.post("/purchases/by-criteria", order(2), key="order-1")] * 8)
    assert len({json.dumps(answer.json(), sort_keys=True) for answer in answers}) == 1
    assert sorted("Idempotency-Replayed" in answer for answer in answers) == [False] + [True] * 7
    assert (written()["sold"], written()["Purchase"], str(written()["money"])) == (2, 1, "-16.00")


# --- What was bought ------------------------------------------------------------------------------------------------------


def test_purchases_come_newest_first_in_pages(program, neighbour):
    made = []
    for minute in range(5):
        with time_machine.travel(NOW + timedelta(minutes=minute // 2), tick=False):  # two of a kind at one moment
            made.insert(0, buy(program, minute + 1))
    first = program.get("/purchases", {"limit": 2}).json()
    assert [line["purchase_id"] for line in first["items"]] == [bought["purchase_id"] for bought in made[:2]]
    assert (first["total"], first["items"][0]) == (
        5,
        {
            "purchase_id": made[0]["purchase_id"], "purchase_number": made[0]["purchase_number"], "quote_id": None,
            "quantity": 5, "replaced": 0, "total_paid": "40.00", "currency": "USD", "bought_by": program.prefix,
            "created_at": "2026-11-18T15:02:00Z",
        },
    )  # fmt: skip
    second = program.get("/purchases", {"limit": 2, "after": first["next"]}).json()
    third = program.get("/purchases", {"limit": 2, "after": second["next"]}).json()
    ids = [line["purchase_id"] for page in (second, third) for line in page["items"]]
    assert (ids, third["next"]) == ([bought["purchase_id"] for bought in made[2:]], None)
    skipped = program.get("/purchases", {"limit": 2, "offset": 3}).json()
    assert [line["purchase_id"] for line in skipped["items"]] == [bought["purchase_id"] for bought in made[3:]]
    assert neighbour.said("/purchases") == {"items": [], "total": 0, "next": None}
    assert refused(program.get("/purchases", {"limit": 1001}), 422)["errors"].keys() == {"limit"}


def test_a_purchase_shows_its_leads_in_pages_and_what_became_of_them(program):
    bought = buy(program, 3)
    program.said("/returns", {"sale_id": bought["sale_ids"][1], "reason": "other"}, status=201)
    path = f"/purchases/{bought['purchase_id']}"
    whole = program.said(path)
    with every_business():
        leads = {str(sale.pk): str(sale.lead_id) for sale in Sale.objects.all()}
    assert whole["items"] == [
        {
            "sale_id": sale_id, "lead_id": leads[sale_id], "classification": "Gold", "age_bucket": "MONTH_6_TO_8",
            "price": "8.00", "sold_at": "2026-11-18T15:00:00Z", "returned": returned,
        }
        for sale_id, returned in zip(bought["sale_ids"], (None, "requested", None), strict=True)
    ]  # fmt: skip
    assert (whole["total"], whole["total_paid"], whole["purchase_number"]) == (3, "24.00", bought["purchase_number"])
    page = program.get(path, {"limit": 2}).json()
    rest = program.get(path, {"limit": 2, "after": page["next"]}).json()
    assert [line["sale_id"] for line in page["items"] + rest["items"]] == bought["sale_ids"]


def test_what_is_somebody_elses_looks_like_what_never_was(program, neighbour):
    an_item()
    quote_id = program.said("/quotes", order())["quote_id"]
    bought = buy(program)
    sale_id = bought["sale_ids"][0]
    export_id = program.said("/exports", {"sale_ids": [sale_id]}, status=202)["export_id"]
    return_id = program.said("/returns", {"sale_id": sale_id, "reason": "other"}, status=201)["return_id"]
    before = written()
    for path, what, pk in [
        ("/quotes", "quote", quote_id),
        ("/purchases", "purchase", bought["purchase_id"]),
        ("/exports", "export", export_id),
        ("/returns", "return", return_id),
    ]:
        assert program.get(f"{path}/{pk}").status_code == 200
        for other in (pk, NEVER, "not-an-id", pk[:-1]):
            assert refused(neighbour.get(f"{path}/{other}"), 404)["detail"] == f"There is no such {what}."
    before["ExportDownload"] += 1
    for sale in (sale_id, NEVER):
        refusals = [
            neighbour.get("/purchases/download", {"sale_ids": sale}),
            neighbour.post("/exports", {"sale_ids": [sale]}),
            neighbour.post("/returns", {"sale_id": sale, "reason": "other"}),
        ]
        assert [refused(answer, 404)["detail"].replace(sale, "…") for answer in refusals] == [
            "There is no sale ….", "There is no sale ….", "There is no such sale.",
        ]  # fmt: skip
    for purchase in (bought["purchase_id"], NEVER):
        for answer in (
            neighbour.get("/purchases/download", {"purchase_id": purchase}),
            neighbour.post("/exports", {"purchase_id": purchase}),
        ):
            assert refused(answer, 404)["detail"] == "There is no such purchase."
    for quote in (quote_id, NEVER):
        answer = neighbour.said("/purchases", {"quote_id": quote})
        assert (answer["success"], answer["items_requested"]) == (False, 0)
        assert answer["errors"] == ["There is no such quote. Please request a new quote."]
    assert written() == before


# --- Files ----------------------------------------------------------------------------------------------------------------


def test_a_whole_purchase_is_a_file_in_each_profile_and_every_taking_is_on_record(shop, program):
    bought = buy(program, 2, last_name="=Moore")
    rows = {}
    for query, kind, name in [
        ({}, "text/csv; charset=utf-8", "purchased_leads.csv"),
        ({"profile": "machine"}, "text/csv; charset=utf-8", "purchased_leads.csv"),
        ({"format": "csv", "profile": "csv"}, "text/csv; charset=utf-8", "purchased_leads.csv"),
        ({"format": "xlsx"}, exports.CONTENT_TYPE["xlsx"], "purchased_leads.xlsx"),
        ({"profile": "xlsx"}, exports.CONTENT_TYPE["xlsx"], "purchased_leads.xlsx"),
    ]:
        response = program.get(
            "/purchases/download", {"purchase_id": bought["purchase_id"], **query}, Accept="text/csv, application/x"
        )
        assert (response["Content-Type"], response["Content-Disposition"]) == (kind, f"attachment; filename={name}")
        rows[str(query)] = content(response)
    assert b"=Moore" not in rows["{}"]
    assert b",=Moore," in rows["{'profile': 'machine'}"]
    assert rows["{'format': 'xlsx'}"] == rows["{'profile': 'xlsx'}"]
    assert rows["{'format': 'xlsx'}"][:2] == b"PK"
    listed = csv.DictReader(io.StringIO(rows["{}"].decode()))
    assert [row["Sale ID"] for row in listed] == bought["sale_ids"]
    with only(shop):
        assert Export.objects.count() == 3
        assert list(ExportDownload.objects.values_list("by", flat=True)) == [program.prefix] * 5
        assert len(set(ExportDownload.objects.values_list("source", flat=True))) == 1


def test_a_profile_nobody_knows_is_refused(program):
    sale_id = buy(program)["sale_ids"][0]
    before = written()
    for query in ({"profile": "pdf"}, {"format": "pdf"}):
        problem = refused(program.get("/purchases/download", {"sale_ids": sale_id} | query), 422)
        assert problem["errors"] == {name: ['"pdf" is not a valid choice.'] for name in query}
    assert set(refused(program.post("/exports", {"sale_ids": [sale_id], "profile": "pdf"}), 422)["errors"]) == {
        "profile"
    }
    assert written() == before


def test_a_file_is_asked_for_then_fetched_then_there(program):
    bought = buy(program, 2)
    body = {"sale_ids": bought["sale_ids"][::-1], "profile": "machine"}
    asked = program.said("/exports", body, status=202)
    assert asked == {
        "export_id": asked["export_id"], "status": "building", "profile": "machine", "rows": 2, "sha256": None,
        "size": None, "url": f"http://testserver/api/v1/exports/{asked['export_id']}",
        "created_at": "2026-11-18T15:00:00Z",
    }  # fmt: skip
    data = content(program.get(f"/exports/{asked['export_id']}"))
    assert [row["Sale ID"] for row in csv.DictReader(io.StringIO(data.decode()))] == body["sale_ids"]
    assert program.said("/exports", body, status=201) == asked | {
        "status": "ready", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data),
    }  # fmt: skip
    whole = program.said("/exports", {"purchase_id": bought["purchase_id"]}, status=202)
    assert (whole["rows"], whole["profile"], whole["export_id"] != asked["export_id"]) == (2, "csv", True)


def test_a_long_file_is_left_to_the_worker(program, monkeypatch):
    monkeypatch.setattr(exports, "AT_ONCE", 1)
    bought = buy(program, 2)
    query = {"purchase_id": bought["purchase_id"]}
    waiting = program.get("/purchases/download", query)
    assert (waiting.status_code, waiting["Retry-After"], waiting.json()["status"]) == (202, "10", "building")
    path = f"/exports/{waiting.json()['export_id']}"
    assert program.get(path).status_code == 202
    assert written()["ExportDownload"] == 0
    exports.take_waiting(now=NOW)
    assert content(program.get(path)) == content(program.get("/purchases/download", query))


def test_a_file_that_was_withdrawn_or_failed_says_so(program):
    sale_id = buy(program)["sale_ids"][0]
    path = f"/exports/{program.said('/exports', {'sale_ids': [sale_id]}, status=202)['export_id']}"
    with every_business():
        Export.objects.update(status=ExportStatus.FAILED)
        assert refused(program.get(path), 409)["detail"] == "This file could not be made. Ask for it again."
        Export.objects.update(status=ExportStatus.VOIDED)
    assert refused(program.get(path), 410)["detail"].startswith(
        "This file was withdrawn: somebody in it has been erased"
    )
    assert written()["ExportDownload"] == 0


def test_an_export_of_nothing_is_refused_by_field(program):
    before = written()
    for body, errors in [
        ({}, {"sale_ids": ["Send sale_ids or purchase_id."]}),
        ({"sale_ids": []}, {"sale_ids": ["Ensure this field has at least 1 elements."]}),
        ({"sale_ids": [NEVER, 7]}, {"sale_ids[1]": ["Must be a valid UUID."]}),
        ({"sale_ids": [NEVER], "purchase_id": NEVER}, {"purchase_id": ["Send sale_ids or purchase_id, not both."]}),
    ]:
        assert refused(program.post("/exports", body), 422)["errors"] == errors
    assert written() == before


# --- Returns and the account ------------------------------------------------------------------------------------------------


def test_a_lead_is_given_back_once(shop, program):
    sale_id = buy(program, 4)["sale_ids"][0]
    body = {"sale_id": sale_id, "reason": "wrong_person", "note": " Somebody else answers. "}
    made = program.said("/returns", body, status=201)
    assert made == {
        "return_id": made["return_id"], "sale_id": sale_id, "status": "requested", "reason": "wrong_person",
        "note": "Somebody else answers.", "decision": "", "replacement_sale_id": None, "credited": "0.00",
        "requested_at": "2026-11-18T15:00:00Z", "decided_at": None,
    }  # fmt: skip
    before = written()
    assert refused(program.post("/returns", body), 409)["detail"] == "This lead has been returned already."
    assert written() == before
    with only(shop):
        row = Return.objects.get()
        assert row.requested_by == program.prefix
        returns.accept(row=row, actor=None, decision="Sorry.", now=NOW + timedelta(minutes=1))
    decided = made | {
        "status": "credited", "decision": "Sorry.", "credited": "8.00", "decided_at": "2026-11-18T15:01:00Z",
    }  # fmt: skip
    assert program.said(f"/returns/{made['return_id']}") == decided
    assert program.said("/returns") == {"items": [decided], "total": 1, "next": None}


def test_what_our_records_prove_is_replaced_at_once(program):
    sale_id = buy(program, borrower_phone="12")["sale_ids"][0]
    an_item()
    made = program.said("/returns", {"sale_id": sale_id, "reason": "invalid_number"}, status=201)
    assert (made["status"], made["decision"], made["credited"]) == ("replaced", "Our own records say the same.", "0.00")
    purchase = program.said(f"/purchases/{program.said('/purchases')['items'][0]['purchase_id']}")
    assert [(line["sale_id"], line["price"], line["returned"]) for line in purchase["items"]] == [
        (sale_id, "8.00", "replaced"), (made["replacement_sale_id"], "0.00", None),
    ]  # fmt: skip


def test_a_return_of_the_wrong_shape_is_refused_by_field(program):
    sale_id = buy(program)["sale_ids"][0]
    before = written()
    for body, errors in [
        ({}, {"sale_id": ["This field is required."], "reason": ["This field is required."]}),
        ({"sale_id": 5, "reason": "rude"}, {"sale_id": ["Must be a valid UUID."], "reason": ['"rude" is not a valid choice.']}),
        (
            {"sale_id": sale_id, "reason": "other", "note": "x" * 2_001},
            {"note": ["Ensure this field has no more than 2000 characters."]},
        ),
    ]:  # fmt: skip
        assert refused(program.post("/returns", body), 422)["errors"] == errors
    assert written() == before


def test_the_account_says_what_can_be_spent_and_returned(shop, program):
    buy(program, 10)
    account = program.said("/account")
    assert account == {
        "client_id": str(shop.pk), "name": "Alice Plumbing", "status": "active", "email_verified": True, "may_buy": True,
        "terms": "invoiced", "currency": "USD", "balance": "-80.00", "credit_limit": "0.00", "spendable": None,
        "return_allowance": {
            "days": 10, "percent": 30, "bought": 10, "returned": 0, "limit": 3, "left": 3,
            "sentence": "A lead can be returned within 10 days, up to 30% of the leads of 30 days: 3 more now (0 of 3 used).",
        },
    }  # fmt: skip
    books.set_terms(business=shop, terms=Terms.PREPAID, credit_limit=Decimal(100), actor=None, now=NOW)
    assert program.said("/account") == account | {"terms": "prepaid", "credit_limit": "100.00", "spendable": "20.00"}


# --- Recalls, lists and the webhook ---------------------------------------------------------------------------------------


def recalled(program, *, at, because=GoneBecause.OPTED_OUT) -> str:
    """A lead bought, and called back at that moment; its sale."""
    phone = a_phone()
    sale_id = buy(program, phone=phone)["sale_ids"][0]
    recalls.forget(phone=phone, because=because, told_by="test", now=at)
    return sale_id


def test_recalls_come_oldest_first_since_a_moment_until_they_are_acknowledged(shop, program, neighbour):
    day = timedelta(days=1)
    first = recalled(program, at=NOW)
    second = recalled(program, at=NOW + day, because=GoneBecause.ERASED)
    whole = program.said("/recalls")
    with only(shop):
        notices = list(RecallNotice.objects.order_by("created_at").select_related("sale"))
    assert whole["items"] == [
        {
            "notice_id": str(notices[0].pk), "sale_id": first, "lead_id": str(notices[0].sale.lead_id),
            "reason": "opted_out", "recalled_at": "2026-11-18T15:00:00Z", "acknowledged_at": None,
            "what_to_do": "This person opted out. Do not call or text them, and take them off your lists.",
        },
        {
            "notice_id": str(notices[1].pk), "sale_id": second, "lead_id": str(notices[1].sale.lead_id),
            "reason": "erased", "recalled_at": "2026-11-19T15:00:00Z", "acknowledged_at": None,
            "what_to_do": "This person asked to be erased. Delete everything you have about them.",
        },
    ]  # fmt: skip
    assert (whole["total"], whole["next"]) == (2, None)
    page = program.get("/recalls", {"limit": 1}).json()
    assert program.get("/recalls", {"after": page["next"]}).json()["items"] == whole["items"][1:]
    since = {"since": "2026-11-19T15:00:00Z"}
    assert program.get("/recalls", since).json()["items"] == whole["items"][1:]
    lines = list(csv.reader(io.StringIO(content(program.get("/recalls.csv", since, Accept="text/csv")).decode())))
    assert [line[:4] for line in lines] == [
        ["Notice ID", "Sale ID", "Lead ID", "Reason"],
        [str(notices[1].pk), second, str(notices[1].sale.lead_id), "erased"],
    ]
    assert len(content(program.get("/recalls.csv")).splitlines()) == 3
    assert content(neighbour.get("/recalls.csv")).count(b"\n") == 1

    heard = {"notice_ids": [str(notices[0].pk), NEVER]}
    assert neighbour.said("/recalls/acknowledge", heard) == {"acknowledged": 0}
    assert written()["heard"] == 0
    assert program.said("/recalls/acknowledge", heard) == {"acknowledged": 1}
    assert program.said("/recalls/acknowledge", heard) == {"acknowledged": 0}
    assert [program.get("/recalls", {"acknowledged": which}).json()["total"] for which in ("true", "false")] == [1, 1]
    with only(shop):
        notice = RecallNotice.objects.get(pk=notices[0].pk)
    assert (notice.acknowledged_by, notice.acknowledged_at) == (program.prefix, NOW)


def test_recalls_are_asked_for_by_a_moment_there_was(program):
    for query, fields in [
        ({"since": "yesterday"}, {"since"}),
        ({"since": "2026-13-01T00:00:00Z"}, {"since"}),
        ({"acknowledged": "maybe"}, {"acknowledged"}),
    ]:
        assert set(refused(program.get("/recalls", query), 422)["errors"]) == fields
    for since in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-18T15:00:00"):
        assert program.get("/recalls", {"since": since}).status_code == 200
        assert program.get("/recalls.csv", {"since": since}).status_code == 200
    for body in ({}, {"notice_ids": []}, {"notice_ids": "x"}, {"notice_ids": [str(uuid7())] * 1_001}):
        assert set(refused(program.post("/recalls/acknowledge", body), 422)["errors"]) == {"notice_ids"}


def test_people_a_buyer_has_are_told_by_hash_or_by_number(shop, program):
    by_hash, by_number, other = a_phone(), a_phone(), a_phone()
    for phone in (by_hash, by_number, other):
        an_item(phone=phone)
    digest = hashlib.sha256(by_hash.encode()).hexdigest()
    told = program.said("/known-phones", {"sha256": [digest, digest.upper()], "name": "Old list"}, status=201)
    assert told == {"upload_id": told["upload_id"], "rows": 2, "added": 1, "refused": 0, "problems": []}
    lines = f"phone\r\n{by_number}\r\n{digest}\r\nnobody 12345\r\n".encode()
    told = program.post("/known-phones", lines, kind="text/csv")
    assert (told.status_code, told.json()) == (
        201,
        {
            "upload_id": told.json()["upload_id"], "rows": 3, "added": 1, "refused": 1,
            "problems": ["Row 4: neither a phone number nor a SHA-256 of one."],
        },
    )  # fmt: skip
    with only(shop):
        assert list(KnownUpload.objects.order_by("id").values_list("name", flat=True)) == ["Old list", "From the API"]
    assert program.said("/inventory")["total"] == 1


def test_a_list_that_cannot_be_read_changes_nothing(program):
    before = written()
    for body, errors in [
        ({}, {"sha256": ["This field is required."]}),
        ({"sha256": []}, {"sha256": ["Ensure this field has at least 1 elements."]}),
        ({"sha256": ["0" * 64, "+15045550123"]}, {"sha256[1]": ["Send 64 characters out of 0 to 9 and a to f."]}),
        ({"sha256": [f"{'0' * 64}\n{'1' * 64}"]}, {"sha256[0]": ["Send 64 characters out of 0 to 9 and a to f."]}),
    ]:
        assert refused(program.post("/known-phones", body), 422)["errors"] == errors
    for lines in (b"\n\n", b" "):
        problem = refused(program.post("/known-phones", lines, kind="text/csv"), 422)
        assert problem["detail"] == "There is nothing in this file. Put one number, or its SHA-256, on each line."
    long = b"+15045550123\n" * (installed.DATA_UPLOAD_MAX_MEMORY_SIZE // 13 + 1)
    assert refused(program.post("/known-phones", long, kind="text/csv"), 413)["detail"] == (
        "The body is too large. Send at most 1,000,000 bytes."
    )
    assert refused(program.post("/known-phones", b"<x/>", kind="application/xml"), 415)
    assert written() == before


def test_the_webhook_is_set_shown_and_taken_away(shop, program):
    assert program.said("/webhook") == {"url": None}
    url = "http://127.0.0.1:8099/recalls"
    first = program.post("/webhook", {"url": url}, method="put").json()
    second = program.post("/webhook", {"url": url, "client_id": "alice"}, method="put").json()
    assert (first["url"], first["secret"][:8], first["secret"] != second["secret"]) == (url, "fd_hook_", True)
    assert program.said("/webhook") == {"url": url}
    gone = program.post("/webhook", {}, method="delete")
    assert (gone.status_code, gone.content) == (204, b"")
    assert program.said("/webhook") == {"url": None}


def test_an_address_we_would_not_call_is_refused(program):
    before = written()
    for body, errors in [
        ({}, ["This field is required."]),
        ({"url": ""}, ["This field may not be blank."]),
        ({"url": 5}, ["Not a valid string."]),
        ({"url": "ftp://example.com"}, ["This is not an address. Write it like https://example.com/recalls."]),
        ({"url": "https://10.0.0.1/"}, ["This address leads into a private network, where we do not go."]),
        ({"url": "https://a:b@127.0.0.1/"}, ["Leave out the name and password: every message is signed."]),
    ]:
        assert refused(program.post("/webhook", body, method="put"), 422)["errors"] == {"url": errors}
    assert refused(program.post("/webhook", b"{", method="put"), 400)
    assert written() == before


def test_nothing_here_is_sold_or_shown_to_the_business_next_door(cast, program, neighbour):
    """What one buyer does leaves the other's account, lists and files as they were."""
    was = [neighbour.said(path) for path in ("/account", "/purchases", "/returns", "/recalls", "/webhook")]
    phone = a_phone()
    bought = buy(program, 2, phone="")
    program.said("/known-phones", {"sha256": [hashlib.sha256(phone.encode()).hexdigest()]}, status=201)
    program.said("/returns", {"sale_id": bought["sale_ids"][0], "reason": "other"}, status=201)
    program.post("/webhook", {"url": "http://127.0.0.1:8099/"}, method="put")
    table(program.get("/purchases/download", {"purchase_id": bought["purchase_id"]}))
    assert [neighbour.said(path) for path in ("/account", "/purchases", "/returns", "/recalls", "/webhook")] == was
    with only(cast.next_door):
        assert (Purchase.objects.count(), KnownPhone.objects.count(), Export.objects.count()) == (0, 0, 0)
    an_item(phone=phone)
    assert (program.said("/inventory")["total"], neighbour.said("/inventory")["total"]) == (0, 1)
    assert Buyer.objects.get(pk=cast.next_door.pk).balance == 0
    with pytest.raises(purchases.CannotBuy), only(cast.next_door):
        purchases.buy_quote(business=cast.next_door, quote_id=uuid7(), by="", now=NOW)
