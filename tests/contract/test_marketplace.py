"""The marketplace API as documented: every exchange a client may rely on, on all three doors.

The example is the documentation's own: Louisiana leads of 6 to 8 months, Gold at 8.00.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from datetime import timedelta

import pytest
import time_machine

from crm.enums import BusinessStatus
from crm.keys import uuid7
from crm.scoping import every_business, only
from marketplace.models import InventoryItem, Sale
from marketplace.services import purchases
from tests.conftest import NOW
from tests.marketplace.programs import Program, content, refused, written
from tests.marketplace.stock import a_buyer, an_item, items, start_prices

DOORS = [f"{door}{{}}{slash}" for door in ("/api/v1", "/v1", "") for slash in ("", "/")]
GOLD = {"classification": "Gold", "age_bucket": "MONTH_6_TO_8"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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


def ids(found) -> list[str]:
    return [str(item.pk) for item in found]


def somebody_else_buys(cast, *found) -> None:
    a_buyer(cast.next_door)
    with only(cast.next_door):
        purchases.buy_items(business=cast.next_door, item_ids=[item.pk for item in found], by="", now=NOW)


# --- The examples, at every door --------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
def test_the_documented_examples_work_at_this_door(shop, door):
    oldest, item, elsewhere = an_item(days=210), an_item(), an_item(county="")
    program = Program(shop, door="")

    listed = program.get(door.format("/inventory"), {"state": "LA", **GOLD, "county": "Caddo", "limit": 1}).json()
    assert listed == {
        "items": [
            {
                "inventory_id": str(oldest.pk),
                "lead_id": str(oldest.lead_id),
                "age_bucket": "MONTH_6_TO_8",
                "state": "LA",
                "county": "Caddo",
                "classification": "Gold",
                "unit_price": "8.00",
                "first_name": "John",
                "city": "Shreveport",
                "created_at": "2026-11-18T15:00:00Z",
            }
        ],
        "total": 2,
        "total_count": 2,
        "total_is_exact": True,
        "filters_applied": {
            "state": "LA", "classification": "Gold", "age_bucket": "MONTH_6_TO_8", "county": "Caddo",
        },
        "next": listed["next"],
        "currency": "USD",
    }  # fmt: skip
    assert program.said(door.format("/inventory"))["items"][2]["county"] is None

    assert program.said(door.format("/inventory/locations")) == {
        "states": ["LA"],
        "counties_by_state": {"LA": ["Caddo"]},
    }

    quote = program.said(door.format("/quotes"), {"inventory_item_ids": [str(item.pk)]})
    assert UUID.fullmatch(quote["quote_id"])
    assert quote == {
        "quote_id": quote["quote_id"],
        "items": [
            {
                "inventory_id": str(item.pk),
                "lead_id": str(item.lead_id),
                "classification": "Gold",
                "age_bucket": "MONTH_6_TO_8",
                "state": "LA",
                "county": "Caddo",
                "unit_price": "8.00",
            }
        ],
        "subtotal": "8.00",
        "currency": "USD",
        "total_items": 1,
        "created_at": "2026-11-18T15:00:00Z",
        "expires_at": "2026-11-18T15:15:00Z",
    }
    assert program.said(door.format(f"/quotes/{quote['quote_id']}")) == quote

    bought = program.said(door.format("/purchases"), {"client_id": str(shop.pk), "inventory_item_ids": [str(item.pk)]})
    assert bought == {
        "success": True,
        "sale_ids": bought["sale_ids"],
        "total_paid": "8.00",
        "items_requested": 1,
        "items_purchased": 1,
        "items_replaced": 0,
        "errors": [],
        "message": "Purchase completed successfully.",
        "purchase_id": bought["purchase_id"],
        "purchase_number": bought["purchase_number"],
    }
    assert re.fullmatch(r"P-[0-9]+", bought["purchase_number"])

    again = program.said(
        door.format("/purchases/by-criteria"),
        {"client_id": str(shop.pk), "criteria": [GOLD | {"quantity": 2, "state": "la"}]},
    )
    assert again == bought | {
        name: again[name] for name in ("sale_ids", "purchase_id", "purchase_number")
    } | {"total_paid": "16.00", "items_requested": 2, "items_purchased": 2}  # fmt: skip
    with every_business():
        sold = [str(Sale.objects.get(pk=pk).item_id) for pk in bought["sale_ids"] + again["sale_ids"]]
    assert sold == ids([item, oldest, elsewhere])

    file = program.get(
        door.format("/purchases/download"),
        {"client_id": str(shop.pk), "sale_ids": f" {again['sale_ids'][0]}, ,{bought['sale_ids'][0]},"},
    )
    assert file["Content-Type"] == "text/csv; charset=utf-8"
    assert file["Content-Disposition"] == "attachment; filename=purchased_leads.csv"
    rows = list(csv.DictReader(io.StringIO(content(file).decode())))
    assert [row["Sale ID"] for row in rows] == [again["sale_ids"][0], bought["sale_ids"][0]]
    assert (len(rows[0]), rows[0]["Purchase Price"], rows[0]["Full Name"]) == (33, "8.00", "John Moore")


def test_a_shortage_says_what_there_is_instead(shop):
    items(22)
    items(50, days=280)
    program, before = Program(shop, door=""), written()
    body = {"client_id": str(shop.pk), "criteria": [GOLD | {"quantity": 50, "state": "LA"}]}
    problems = {path: program.post(path, body) for path in (door.format("/purchases/by-criteria") for door in DOORS)}
    assert {path: refused(response, 409) for path, response in problems.items()} == {
        path: {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": {
                "error": "insufficient_inventory",
                "requested": 50,
                "available": 22,
                "criteria": "Gold MONTH_6_TO_8 state=LA qty=50",
                "item_index": None,
                "is_multi_item": False,
                "alternatives": [
                    {
                        "description": "Purchase 22 available leads ($176.00)",
                        "available_count": 22,
                        "suggestion_type": "partial",
                        "criteria": GOLD | {"quantity": 22, "state": "LA", "county": None},
                    },
                    {
                        "description": "Try MONTH_9_TO_11 age bucket (50 available in LA)",
                        "available_count": 50,
                        "suggestion_type": "different_age_bucket",
                        "criteria": GOLD
                        | {"age_bucket": "MONTH_9_TO_11", "quantity": 50, "state": "LA", "county": None},
                    },
                ],
            },
            "instance": path,
        }
        for path in problems
    }
    assert written() == before


# --- Shortages ----------------------------------------------------------------------------------------------------------


def test_the_criterion_that_cannot_be_filled_is_named_by_its_place(program):
    items(3)
    before = written()
    criteria = [GOLD | {"quantity": 2}, GOLD | {"quantity": 2, "county": "Caddo", "state": "LA"}]
    detail = refused(program.post("/purchases/by-criteria", {"criteria": criteria}), 409)["detail"]
    assert (detail["item_index"], detail["is_multi_item"], detail["requested"], detail["available"]) == (1, True, 2, 1)
    assert detail["criteria"] == "Gold MONTH_6_TO_8 state=LA county=Caddo qty=2"
    assert written() == before


def test_what_is_offered_instead_can_be_bought_as_it_stands(program):
    items(2)
    items(1, state="TX", county="Travis")
    short = program.post(
        "/purchases/by-criteria", {"criteria": [GOLD | {"quantity": 3, "state": "LA", "county": "Caddo"}]}
    )
    partial, anywhere = refused(short, 409)["detail"]["alternatives"]
    assert anywhere["description"] == "Remove location filter (3 available without LA, Caddo filter)"
    assert program.said("/purchases/by-criteria", {"criteria": [anywhere["criteria"]]})["items_purchased"] == 3
    assert partial["criteria"] == GOLD | {"quantity": 2, "state": "LA", "county": "Caddo"}


# --- What became of an order ----------------------------------------------------------------------------------------------


def failed(program, body, path="/purchases") -> dict[str, object]:
    """The answer to an order that was not filled; nothing changed."""
    before = written()
    answer = program.said(path, body)
    assert written() == before
    assert answer == answer | {
        "success": False, "sale_ids": [], "total_paid": "0.00", "items_purchased": 0, "items_replaced": 0,
        "purchase_id": None, "purchase_number": None,
        "message": f"Purchase failed. {' '.join(answer['errors'])}",
    }  # fmt: skip
    assert len(answer) == 10
    return answer


def test_leads_that_were_sold_meanwhile_are_replaced_by_their_like(cast, program):
    gone, kept, like = an_item(), an_item(), an_item()
    somebody_else_buys(cast, gone)
    answer = program.said("/purchases", {"inventory_item_ids": ids([gone, kept])})
    assert (answer["success"], answer["items_replaced"], answer["total_paid"]) == (True, 1, "16.00")
    assert answer["message"] == "Purchase completed successfully. 1 leads were automatically replaced."
    with every_business():
        assert {Sale.objects.get(pk=pk).item_id for pk in answer["sale_ids"]} == {kept.pk, like.pk}


def test_an_order_that_cannot_be_filled_whole_is_not_filled_at_all(cast, program):
    gone, kept = an_item(), an_item()
    somebody_else_buys(cast, gone)
    answer = failed(program, {"inventory_item_ids": ids([gone, kept])})
    assert (answer["items_requested"], answer["errors"]) == (
        2,
        [
            "Unable to fulfill complete order. Requested 2 leads, but only 1 available (shortage of 1).",
            "Please try again with 1 leads or wait for more inventory.",
        ],
    )


def test_items_nobody_knows_and_items_named_twice_are_counted(program):
    item = str(an_item().pk)
    answer = failed(program, {"inventory_item_ids": [item, item, str(uuid7())]})
    assert answer["errors"] == ["2 requested items are no longer available or don't exist"]
    assert answer["message"] == "Purchase failed. 2 requested items are no longer available or don't exist"


@pytest.mark.parametrize(
    ("fields", "business", "sentence"),
    [
        ({"status": "suspended"}, BusinessStatus.ACTIVE, "(status: suspended, email_verified: True)"),
        ({"status": "closed"}, BusinessStatus.ACTIVE, "(status: closed, email_verified: True)"),
        (
            {"status": "pending", "email_verified_at": None},
            BusinessStatus.ACTIVE,
            "(status: pending, email_verified: False)",
        ),
        ({}, BusinessStatus.SUSPENDED, "(status: suspended, email_verified: True)"),
    ],
    ids=["suspended buyer", "closed buyer", "new buyer", "suspended business"],
)
def test_whoever_may_not_buy_is_told_why(cast, fields, business, sentence):
    start_prices()
    a_buyer(cast.shop, **fields)
    cast.shop.status = business
    cast.shop.save()
    item, program = an_item(), Program(cast.shop)
    for path, body in [
        ("/purchases", {"inventory_item_ids": [str(item.pk)]}),
        ("/purchases", {"quote_id": str(uuid7())}),
        ("/purchases/by-criteria", {"criteria": [GOLD | {"quantity": 1}]}),
    ]:
        assert failed(program, body, path)["errors"] == [f"Client account cannot purchase {sentence}"]


def test_a_business_that_does_not_buy_is_not_a_client(cast):
    start_prices()
    item, program = an_item(), Program(cast.shop)
    for path, body in [
        ("/purchases", {"inventory_item_ids": [str(item.pk)]}),
        ("/purchases/by-criteria", {"criteria": [GOLD | {"quantity": 1}]}),
    ]:
        answer = failed(program, body, path)
        assert (answer["errors"], answer["message"]) == (["Client not found"], "Purchase failed. Client not found")


def test_a_quote_is_bought_at_its_prices_within_fifteen_minutes_and_once(program):
    an_item(days=210), an_item()
    quote = program.said("/quotes", {"criteria": [GOLD | {"quantity": 2, "state": "LA"}]})
    assert quote["items"] == [GOLD | {"state": "LA", "county": None, "quantity": 2, "unit_price": "8.00"}]
    assert (quote["subtotal"], quote["total_items"]) == ("16.00", 2)
    order = {"quote_id": quote["quote_id"]}
    with time_machine.travel(NOW + timedelta(minutes=15, seconds=1), tick=False):
        late = failed(program, order)
    assert (late["errors"], late["items_requested"]) == (["Quote has expired. Please request a new quote."], 2)
    with time_machine.travel(NOW + timedelta(minutes=15), tick=False):
        bought = program.said("/purchases", order)
        assert (bought["success"], bought["total_paid"], bought["items_purchased"]) == (True, "16.00", 2)
        again = failed(program, order)
    assert again["errors"] == [f"This quote was bought already: {bought['purchase_number']}."]


def test_a_quote_of_criteria_that_comes_up_short_is_answered_like_any_shortage(cast, program):
    item = an_item()
    quote = program.said("/quotes", {"criteria": [GOLD | {"quantity": 1}]})
    somebody_else_buys(cast, item)
    before = written()
    detail = refused(program.post("/purchases", {"quote_id": quote["quote_id"]}), 409)["detail"]
    assert (detail["error"], detail["requested"], detail["available"], detail["alternatives"]) == (
        "insufficient_inventory", 1, 0, [],
    )  # fmt: skip
    assert written() == before


def test_items_that_cannot_be_quoted_are_named(cast, program):
    item, sold, never = an_item(), an_item(), uuid7()
    somebody_else_buys(cast, sold)
    before = written()
    wanted = [str(pk) for pk in (item.pk, sold.pk, never, item.pk)]
    problem = refused(program.post("/quotes", {"inventory_item_ids": wanted}), 404)
    assert (
        problem["detail"]
        == f"Some inventory items not found or unavailable: {[str(item.pk), str(sold.pk), str(never)]}"
    )
    assert written() == before


# --- Bodies and queries that cannot be used -------------------------------------------------------------------------------


def test_a_class_or_age_we_do_not_sell_cannot_be_looked_for(program):
    for query, detail in [
        ({"classification": "gold"}, "Invalid classification. Must be 'Gold' or 'Silver', got 'gold'"),
        ({"classification": "Gold,Bronze"}, "Invalid classification. Must be 'Gold' or 'Silver', got 'Bronze'"),
        ({"age_bucket": "MONTH_1_TO_2"}, "Invalid age_bucket. Got 'MONTH_1_TO_2'"),
        ({"age_bucket": ["MONTH_6_TO_8", "x" * 200]}, f"Invalid age_bucket. Got '{'x' * 80}'"),
    ]:
        assert refused(program.get("/inventory", query), 400)["detail"] == detail


def test_a_page_that_cannot_be_shown_is_refused(program):
    for query, errors in [
        ({"limit": 0}, {"limit": ["Ensure this value is greater than or equal to 1."]}),
        ({"limit": 1001}, {"limit": ["Ensure this value is less than or equal to 1000."]}),
        ({"limit": "ten"}, {"limit": ["A valid integer is required."]}),
        ({"offset": -1}, {"offset": ["Ensure this value is greater than or equal to 0."]}),
        (
            {"offset": 10_001},
            {"offset": ["At most 10,000 rows can be skipped. Send the `next` of the page before as `after`."]},
        ),
    ]:
        assert refused(program.get("/inventory", query), 422)["errors"] == errors


def test_a_quantity_is_a_whole_number_from_1_to_1000(program):
    an_item()
    before = written()
    for quantity, sentence in [
        (0, "Ensure this value is greater than or equal to 1."),
        (-1, "Ensure this value is greater than or equal to 1."),
        (1001, "Ensure this value is less than or equal to 1000."),
        ("10", "A valid integer is required."),
        (True, "A valid integer is required."),
        (1.5, "A valid integer is required."),
        (2.0, "A valid integer is required."),
        (None, "This field may not be null."),
        ([1], "A valid integer is required."),
        (10**400, "Ensure this value is less than or equal to 1000."),
    ]:
        for path in ("/purchases/by-criteria", "/quotes"):
            problem = refused(program.post(path, {"criteria": [GOLD | {"quantity": quantity}]}), 422)
            assert problem["errors"] == {"criteria[0].quantity": [sentence]}
            assert problem["detail"] == f"criteria[0].quantity: {sentence}"
    assert written() == before


ONE = GOLD | {"quantity": 1}


WRONG_SHAPES = [
    ("/purchases/by-criteria", {}, {"criteria": ["This field is required."]}),
    ("/purchases/by-criteria", {"criteria": []}, {"criteria": ["This list may not be empty."]}),
    ("/purchases/by-criteria", {"criteria": None}, {"criteria": ["This field may not be null."]}),
    ("/purchases/by-criteria", {"criteria": ONE}, {"criteria": ['Expected a list of items but got type "dict".']}),
    (
        "/purchases/by-criteria",
        {"criteria": [ONE] * 51},
        {"criteria": ["Ensure this field has no more than 50 elements."]},
    ),
    (
        "/purchases/by-criteria",
        {"criteria": [ONE, 5]},
        {"criteria[1]": ["Invalid data. Expected a dictionary, but got int."]},
    ),
    (
        "/purchases/by-criteria",
        {"criteria": [ONE, {}]},
        {f"criteria[1].{name}": ["This field is required."] for name in ("classification", "age_bucket", "quantity")},
    ),
    (
        "/purchases/by-criteria",
        {"criteria": [ONE | {"classification": 5, "state": ["LA"], "county": "x" * 101}]},
        {
            "criteria[0].classification": ["Not a valid string."],
            "criteria[0].state": ["Not a valid string."],
            "criteria[0].county": ["Ensure this field has no more than 100 characters."],
        },
    ),
    (
        "/purchases/by-criteria",
        {"criteria": [ONE | {"county": "a\x00b"}]},
        {"criteria[0].county": ["Null characters are not allowed."]},
    ),
    ("/purchases", {}, {"inventory_item_ids": ["Send inventory_item_ids or quote_id."]}),
    ("/purchases", {"inventory_item_ids": []}, {"inventory_item_ids": ["Ensure this field has at least 1 elements."]}),
    (
        "/purchases",
        {"inventory_item_ids": [str(uuid7())] * 1001},
        {"inventory_item_ids": ["Ensure this field has no more than 1000 elements."]},
    ),
    (
        "/purchases",
        {"inventory_item_ids": [str(uuid7()), "x", 5]},
        {"inventory_item_ids[1]": ["Must be a valid UUID."], "inventory_item_ids[2]": ["Must be a valid UUID."]},
    ),
    (
        "/purchases",
        {"inventory_item_ids": "x"},
        {"inventory_item_ids": ['Expected a list of items but got type "str".']},
    ),
    ("/purchases", {"quote_id": "x"}, {"quote_id": ["Must be a valid UUID."]}),
    (
        "/purchases",
        {"quote_id": str(uuid7()), "inventory_item_ids": [str(uuid7())]},
        {"quote_id": ["Send inventory_item_ids or quote_id, not both."]},
    ),
    ("/quotes", {}, {"inventory_item_ids": ["Send inventory_item_ids or criteria."]}),
    ("/quotes", {"inventory_item_ids": []}, {"inventory_item_ids": ["Ensure this field has at least 1 elements."]}),
    (
        "/quotes",
        {"criteria": [ONE], "inventory_item_ids": [str(uuid7())]},
        {"criteria": ["Send inventory_item_ids or criteria, not both."]},
    ),
]


def test_a_body_of_the_wrong_shape_is_refused_by_field(program):
    an_item()
    before = written()
    for path, body, errors in WRONG_SHAPES:
        assert refused(program.post(path, body), 422)["errors"] == errors
    assert written() == before


def test_a_class_or_age_we_do_not_sell_cannot_be_bought(program):
    an_item()
    before = written()
    for change, detail in [
        ({"classification": "Platinum"}, "'Platinum'. Choose from Gold, Silver."),
        ({"classification": "gold"}, "'gold'. Choose from Gold, Silver."),
        (
            {"age_bucket": "DAY_0"},
            "'DAY_0'. Choose from MONTH_3_TO_5, MONTH_6_TO_8, MONTH_9_TO_11, MONTH_12_TO_23, MONTH_24_PLUS.",
        ),
    ]:
        for path in ("/purchases/by-criteria", "/quotes"):
            problem = refused(program.post(path, {"criteria": [ONE, ONE | change]}), 400)
            assert problem["detail"] == f"Invalid classification or age_bucket: {detail}"
    assert written() == before


@pytest.mark.parametrize("path", ["/purchases", "/purchases/by-criteria", "/quotes"])
def test_the_client_can_only_be_the_one_whose_key_it_is(cast, program, path):
    body = {"criteria": [ONE]} if path != "/purchases" else {"inventory_item_ids": [str(an_item().pk)]}
    an_item()
    before = written()
    for other in (str(cast.next_door.pk), str(uuid7())):
        problem = refused(program.post(path, body | {"client_id": other}), 403)
        assert problem["detail"] == (
            "client_id: this key buys for another client. Leave client_id out, or send the key's own."
        )
    for wrong in ("charlie", "nobody", "5"):
        problem = refused(program.post(path, body | {"client_id": wrong}), 422)
        assert problem["errors"] == {
            "client_id": ["Send the UUID or the short name of this key's business, or leave client_id out."]
        }
    assert refused(program.post(path, body | {"client_id": 5}), 422)["errors"] == {"client_id": ["Not a valid string."]}
    assert written() == before
    assert program.said(path, body | {"client_id": "alice"})


# --- The file -------------------------------------------------------------------------------------------------------------


def bought(program, count: int = 1, **fields) -> list[str]:
    items(count, **fields)
    return program.said("/purchases/by-criteria", {"criteria": [GOLD | {"quantity": count}]})["sale_ids"]


def test_the_same_question_gets_the_same_bytes_with_their_digest(program):
    sales = ",".join(bought(program, 3))
    first, again = (program.get("/purchases/download", {"sale_ids": sales}) for _ in range(2))
    data = content(first)
    assert content(again) == data
    digest = hashlib.sha256(data)
    for response in (first, again):
        assert response["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert response["ETag"] == f'"{digest.hexdigest()}"'
        assert response["Content-Length"] == str(len(data))
        assert response["Cache-Control"] == "private, no-store"
        assert response["Frontdesk-Notice"] == (
            "A bought lead carries no permission to text. Text these people only after they have agreed to it with you."
        )
    assert (written()["Export"], written()["ExportDownload"]) == (1, 2)


def test_what_a_spreadsheet_would_work_out_is_taken_out_and_numbers_stay(program):
    odd = {
        "full_name": "=1+1", "lender": " @SUM(A1:A10)", "address": "-5551234567", "city": "\t=cmd", "zip": "-12.50",
        "borrower_phone": "+15045550199",
    }  # fmt: skip
    sales = bought(program, **odd)
    row = next(csv.DictReader(io.StringIO(content(program.get("/purchases/download", {"sale_ids": sales})).decode())))
    names = ("Full Name", "Lender", "City", "Borrower Phone")
    assert [row[name] for name in names] == ["1+1", "SUM(A1:A10)", "cmd", "+15045550199"]
    query = {"sale_ids": sales, "profile": "machine"}
    row = next(csv.DictReader(io.StringIO(content(program.get("/purchases/download", query)).decode(), newline="")))
    assert [row[name] for name in names] == ["=1+1", " @SUM(A1:A10)", "\t=cmd", "+15045550199"]


def test_a_file_of_nothing_that_can_be_named_is_refused(program):
    before = written()
    for query, detail in [
        ({}, "sale_ids: name at least one sale, or a purchase_id."),
        ({"sale_ids": " , ,"}, "sale_ids: name at least one sale, or a purchase_id."),
        ({"sale_ids": "x"}, "sale_ids: 'x' is not a UUID."),
        ({"purchase_id": "x"}, "purchase_id: 'x' is not a UUID."),
        ({"purchase_id": str(uuid7()), "sale_ids": str(uuid7())}, "Send sale_ids or purchase_id, not both."),
        (
            {"sale_ids": ",".join(str(uuid7()) for _ in range(1001))},
            "sale_ids: an address has room for 1,000. Send more of them to POST /exports.",
        ),
    ]:
        assert refused(program.get("/purchases/download", query), 400)["detail"] == detail
    assert written() == before


def test_a_file_takes_only_ones_own_sales_and_never_tells_whose_the_others_are(cast, program):
    (mine,) = bought(program)
    an_item()
    a_buyer(cast.next_door)
    (theirs,) = bought(Program(cast.next_door))
    before = written()
    for other in (theirs, str(uuid7())):
        problem = refused(program.get("/purchases/download", {"sale_ids": f"{mine},{other}"}), 404)
        assert problem["detail"] == f"There is no sale {other}."
    query = {"sale_ids": mine, "client_id": str(cast.next_door.pk)}
    assert refused(program.get("/purchases/download", query), 403)["detail"] == (
        "client_id: this key buys for another client. Leave client_id out, or send the key's own."
    )
    query = {"sale_ids": mine, "client_id": "charlie"}
    assert set(refused(program.get("/purchases/download", query), 422)["errors"]) == {"client_id"}
    assert written() == before


def test_an_item_that_aged_out_is_not_listed_even_before_roll_over(program):
    item = an_item(days=269)
    assert program.said("/inventory")["total"] == 1
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        assert program.said("/inventory")["items"] == []
        assert program.said("/inventory")["total"] == 0
    with every_business():
        assert InventoryItem.objects.get().pk == item.pk
