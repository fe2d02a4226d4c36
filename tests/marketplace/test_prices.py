"""What leads cost from when on: one price at a time, no gap, and what was charged stays what it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.models import AuditEvent, User
from crm.scoping import every_business
from crm.services import Refused
from marketplace import pricing, queries
from marketplace.models import PricingRule
from marketplace.resources import MAX_ROWS, PriceCsv, PriceResource
from marketplace.services import prices
from tests.console import told
from tests.crowd import all_at_once
from tests.marketplace.stock import start_prices
from tests.marketplace.undoing import undone

GOLD_6 = {"classification": "Gold", "age_bucket": "MONTH_6_TO_8"}
HOUR = timedelta(hours=1)


def set_price(price, *, now, at=None, actor=None, **kind):
    return prices.set_price(**(GOLD_6 | kind), price=Decimal(price), now=now, effective_from=at, actor=actor)


def history(**kind) -> list[tuple]:
    """(price, from, to) by their beginning."""
    rules = PricingRule.objects.filter(**(GOLD_6 | kind)).order_by("effective_from")
    return list(rules.values_list("price", "effective_from", "effective_to"))


def price_at(moment) -> Decimal | None:
    return pricing.price_at([pricing.Period(*row) for row in history()], moment)


# --- Setting and taking back -----------------------------------------------------------------------------------------


def test_the_price_before_ends_where_the_new_one_begins(db, now):
    start_prices(now)
    set_price("9.00", now=now, at=now + HOUR)
    assert history() == [
        (Decimal("8.00"), now - timedelta(days=365), now + HOUR),
        (Decimal("9.00"), now + HOUR, None),
    ]
    assert queries.rules_in_force(now=now)["Gold", "MONTH_6_TO_8"].price == Decimal("8.00")
    assert queries.rules_in_force(now=now + HOUR)["Gold", "MONTH_6_TO_8"].price == Decimal("9.00")
    assert len(queries.rules_in_force(now=now)) == 10


def test_a_price_slipped_in_between_ends_where_the_planned_one_begins(db, now, cast):
    start_prices(now)
    set_price("9.00", now=now, at=now + 5 * HOUR)
    set_price("8.50", now=now, at=now + 2 * HOUR, actor=cast.alice)
    assert [row[1:] for row in history()[1:]] == [(now + 2 * HOUR, now + 5 * HOUR), (now + 5 * HOUR, None)]
    event = AuditEvent.objects.latest("pk")
    assert (event.actor, event.action, event.target) == (cast.alice, "price set", "Gold MONTH_6_TO_8")
    assert event.changes == {"price": ["8.00", "8.50"], "from": ["", (now + 2 * HOUR).isoformat()]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"price": "9.00", "at": -HOUR}, "A price can begin now or later; what was charged before stays as it was."),
        ({"price": "9.00", "classification": "Bronze"}, "There are no leads of the kind Bronze MONTH_6_TO_8."),
        ({"price": "9.00", "age_bucket": "DAY_1"}, "There are no leads of the kind Gold DAY_1."),
        ({"price": "-0.01"}, "Write a price in dollars and cents, from $0.00 to $99,999.99."),
        ({"price": "9.001"}, "Write a price in dollars and cents, from $0.00 to $99,999.99."),
        ({"price": "100000"}, "Write a price in dollars and cents, from $0.00 to $99,999.99."),
        ({"price": "1E+40"}, "Write a price in dollars and cents, from $0.00 to $99,999.99."),
    ],
)
def test_a_price_that_cannot_be_is_refused(db, now, change, sentence):
    start_prices(now)
    before = history()
    at = now + change["at"] if "at" in change else None
    kind = {name: value for name, value in change.items() if name not in ("price", "at")}
    with pytest.raises(Refused) as refusal:
        set_price(change["price"], now=now, at=at, **kind)
    assert str(refusal.value) == sentence
    assert (history(), AuditEvent.objects.count()) == (before, 0)


def test_two_prices_do_not_begin_at_one_moment(db, now):
    set_price("9.00", now=now, at=now + HOUR)
    with pytest.raises(Refused, match="Another price begins at that very moment."):
        set_price("9.50", now=now, at=now + HOUR)
    assert history() == [(Decimal("9.00"), now + HOUR, None)]


def test_a_planned_price_taken_back_was_never_there(db, now, cast):
    start_prices(now)
    before = history()
    rule = set_price("9.00", now=now, at=now + HOUR)
    set_price("10.00", now=now, at=now + 3 * HOUR)
    prices.take_back(rule=rule, actor=cast.alice, now=now)
    assert [row[1:] for row in history()] == [(before[0][1], now + 3 * HOUR), (now + 3 * HOUR, None)]
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.changes) == ("planned price taken back", {"price": ["9.00", ""]})
    with pytest.raises(Refused, match="This price has begun or is gone already. Set a new one instead."):
        prices.take_back(rule=rule, actor=None, now=now)


def test_a_price_that_has_begun_is_not_taken_back(db, now):
    rule = set_price("9.00", now=now)
    with pytest.raises(Refused, match="This price has begun or is gone already."):
        prices.take_back(rule=rule, actor=None, now=now)
    assert history() == [(Decimal("9.00"), now, None)]


def test_a_gap_of_the_past_stays_in_the_history_and_one_to_come_is_closed(db, now):
    old = PricingRule.objects.create(
        **GOLD_6, price=8, effective_from=now - 9 * HOUR, effective_to=now - 5 * HOUR, created_at=now
    )
    ends_soon = PricingRule.objects.create(
        classification="Silver", age_bucket="MONTH_6_TO_8", price=6, effective_from=now - 9 * HOUR,
        effective_to=now + HOUR, created_at=now,
    )  # fmt: skip
    set_price("9.00", now=now)
    set_price("7.00", now=now, at=now + 2 * HOUR, classification="Silver")
    old.refresh_from_db()
    ends_soon.refresh_from_db()
    assert (old.effective_to, ends_soon.effective_to) == (now - 5 * HOUR, now + 2 * HOUR)


def test_the_starting_prices_are_set_where_there_is_none(db, now):
    set_price("9.00", now=now)
    assert prices.start_prices(now=now) == 9
    assert prices.start_prices(now=now) == 0
    assert history() == [(Decimal("9.00"), now, None)]


def test_two_prices_at_once_are_refused_by_the_table(db, now):
    start_prices(now)
    for since, until in ((now, None), (now - timedelta(days=400), now - timedelta(days=364)), (now, now + HOUR)):
        with pytest.raises(IntegrityError, match="one_price_at_a_time"), transaction.atomic():
            PricingRule.objects.create(**GOLD_6, price=9, effective_from=since, effective_to=until, created_at=now)
    with pytest.raises(IntegrityError, match="price_ends_after_it_begins"), transaction.atomic():
        PricingRule.objects.create(
            **GOLD_6, price=9, effective_from=now - timedelta(days=900), effective_to=now - timedelta(days=900),
            created_at=now,
        )  # fmt: skip
    assert PricingRule.objects.count() == 10


# --- Whatever happens ------------------------------------------------------------------------------------------------

_HOURS = st.integers(-3, 40)
_STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "take back"]), _HOURS, st.integers(0, 2_000), st.integers(0, 4)),
    max_size=12,
)


def test_after_any_changes_there_is_one_price_at_a_time_and_no_gap(db, now):
    @settings(max_examples=25, deadline=None, database=None)
    @given(_STEPS)
    def holds(steps):
        clock = now
        planned: dict[datetime, Decimal] = {}  # what the history should be: from when on, how much
        seen: dict[datetime, Decimal | None] = {}  # what was charged, looked at when it was
        with undone():
            for what, hours, cents, passed in steps:
                clock += passed * HOUR
                seen[clock - HOUR / 2] = price_at(clock - HOUR / 2)
                at, price = clock + hours * HOUR, Decimal(cents) / 100
                if what == "set":
                    try:
                        set_price(price, now=clock, at=at)
                        assert at >= clock
                        assert at not in planned
                        planned[at] = price
                    except Refused:
                        assert at < clock or at in planned
                elif planned:
                    last = max(planned)
                    rule = PricingRule.objects.get(effective_from=last)
                    try:
                        prices.take_back(rule=rule, actor=None, now=clock)
                        assert last > clock
                        del planned[last]
                    except Refused:
                        assert last <= clock
                begins = sorted(planned)
                ends = [*begins[1:], None] if begins else []
                assert history() == [(planned[begin], begin, end) for begin, end in zip(begins, ends, strict=True)]
            assert {moment: price_at(moment) for moment in seen} == seen

    holds()


@pytest.mark.django_db(transaction=True)
def test_many_hands_at_once_leave_one_order_and_no_gap(now):
    start_prices(now)
    calls = [
        lambda number=number: set_price(number, now=now + number * HOUR / 60, at=now + (number % 4) * HOUR + number * HOUR / 60)
        for number in range(1, 9)
    ]  # fmt: skip
    all_at_once(calls)
    rows = history()
    assert sorted(row[0] for row in rows[1:]) == [Decimal(number) for number in range(1, 9)]
    for this, following in zip(rows, rows[1:], strict=False):
        assert this[2] == following[1]
    assert rows[-1][2] is None


@pytest.mark.django_db(transaction=True)
def test_the_same_change_from_many_hands_is_made_once(now):
    def change() -> str:
        try:
            set_price("9.00", now=now, at=now + HOUR)
        except Refused as refusal:
            return str(refusal)
        return "set"

    answers = all_at_once([change] * 5)
    assert answers.count("set") == 1
    assert {answer for answer in answers if answer != "set"} == {
        "Another price begins at that very moment. Choose a minute later, or take that one back."
    }
    assert history() == [(Decimal("9.00"), now + HOUR, None)]


# --- In files --------------------------------------------------------------------------------------------------------

IMPORT, PROCESS, EXPORT = (f"/admin/marketplace/pricingrule/{verb}/" for verb in ("import", "process_import", "export"))


@pytest.fixture
def sue(db) -> User:
    return User.objects.create_superuser("sue@example.com", "correct horse battery", name="Sue Staff")


@pytest.fixture
def console(client, sue):
    client.force_login(sue)
    with every_business():
        yield client


def upload(console, content: str | bytes, name: str = "prices.csv"):
    data = content.encode() if isinstance(content, str) else content
    return console.post(IMPORT, {"import_file": SimpleUploadedFile(name, data), "resource": "0", "format": "0"})


def confirm(console, preview):
    form = preview.context["confirm_form"]
    return console.post(PROCESS, {name: form[name].value() for name in form.fields}, follow=True)


FILE = """\
classification,age_bucket,price,effective_from,notes
Gold,MONTH_6_TO_8,8.50,,"Now, please"
gold,month_6_to_8,$9.00,2127-01-01,New century
Silver,MONTH_6_TO_8,6.00,,
Silver,MONTH_3_TO_5,7,2127-01-01 06:00+06:00,
"""


def test_a_preview_says_what_would_change_and_writes_nothing(console, now):
    start_prices(now - timedelta(days=1))
    preview = upload(console, FILE)
    assert [
        (row["number"], row["kind"], row["was"], row["price"], row["begins"], row["is_new"])
        for row in preview.context["shown"]
    ] == [
        (2, "Gold, 6 to 8 months", "$8.00", "$8.50", "from now on", True),
        (3, "Gold, 6 to 8 months", "$8.50", "$9.00", "from Jan 1, 2127, 00:00 UTC", True),
        (4, "Silver, 6 to 8 months", "$6.00", "$6.00", "as it is", False),
        (5, "Silver, 3 to 5 months", "$7.50", "$7.00", "from Jan 1, 2127, 00:00 UTC", True),
    ]
    page = preview.content.decode()
    assert "<strong>3</strong> to set, <strong>1</strong> as they are already. Nothing has been written yet." in page
    assert "<del>$8.00</del> → <ins>$8.50</ins>" in page
    assert (PricingRule.objects.count(), AuditEvent.objects.count()) == (10, 0)


def test_a_confirmed_file_goes_through_the_same_door_as_a_change_by_hand(console, sue, now):
    start_prices(now - timedelta(days=1))
    assert told(confirm(console, upload(console, FILE))) == ["Imported: 3 prices set, 1 as they were."]
    century = datetime(2127, 1, 1, tzinfo=UTC)
    first, second, third = history()
    assert (first[0], first[2], second[0], second[2]) == (Decimal("8.00"), second[1], Decimal("8.50"), century)
    assert third == (Decimal("9.00"), century, None)
    assert PricingRule.objects.get(price="8.50").notes == "Now, please"
    assert PricingRule.objects.get(price="9.00", effective_from=century).created_by == sue
    events = list(AuditEvent.objects.order_by("pk").values_list("action", "target"))
    assert sorted(events) == [
        ("price set", "Gold MONTH_6_TO_8"), ("price set", "Gold MONTH_6_TO_8"), ("price set", "Silver MONTH_3_TO_5"),
        ("prices imported", "prices"),
    ]  # fmt: skip
    assert AuditEvent.objects.get(action="prices imported").changes == {
        "file": ["", "prices.csv"], "new": ["", "3"], "skip": ["", "1"]
    }  # fmt: skip


def test_one_wrong_row_and_none_is_taken(console, now):
    start_prices(now - timedelta(days=1))
    rows = [
        "Gold,MONTH_6_TO_8,8.50,,",
        "Bronze,MONTH_6_TO_8,8.50,,",
        "Gold,MONTH_6,8.50,,",
        "Gold,MONTH_6_TO_8,dear,,",
        '"Gold","MONTH_6_TO_8","8,50",,',
        "",
        "Gold,MONTH_6_TO_8,8.555,,",
        "Gold,MONTH_6_TO_8,8.00,2020-01-01,",
        "Gold,MONTH_6_TO_8,8.00,next week,",
        "Gold,MONTH_6_TO_8,8.00,9999-12-31T23:00-12:00,",
        "Gold,MONTH_9_TO_11,9,2127-01-01,",
        "Gold,MONTH_9_TO_11,10,2127-01-01,",
    ]
    answer = upload(console, "classification,age_bucket,price,effective_from,notes\n" + "\n".join(rows))
    assert [(row["number"], row["sentences"]) for row in answer.context["wrong"]] == [
        (3, ["“Bronze” is not a class. Write one of Gold, Silver."]),
        (
            4,
            [
                "“MONTH_6” is not an age. Write one of MONTH_3_TO_5, MONTH_6_TO_8, MONTH_9_TO_11, MONTH_12_TO_23,"
                " MONTH_24_PLUS."
            ],
        ),
        (5, ["“dear” is not a price. Write it like 8.00."]),
        (6, ["“8,50” is not a price. Write it like 8.00."]),
        (8, ["Write a price in dollars and cents, from $0.00 to $99,999.99."]),
        (9, ["A price can begin now or later; what was charged before stays as it was."]),
        (10, ["“next week” is not a moment. Write it like 2026-12-01 00:00."]),
        (11, ["“9999-12-31T23:00-12:00” is not a moment. Write it like 2026-12-01 00:00."]),
        (13, ["Another price begins at that very moment. Choose a minute later, or take that one back."]),
    ]
    page = answer.content.decode()
    assert "Nothing has been imported" in page
    assert "9 of 11 rows cannot be taken." in page
    assert "confirm_form" not in answer.context
    assert (PricingRule.objects.count(), AuditEvent.objects.count()) == (10, 0)


def test_what_happened_since_the_preview_is_noticed_and_nothing_is_taken(console, now):
    start_prices(now - timedelta(days=1))
    century = datetime(2127, 1, 1, tzinfo=UTC)
    preview = upload(console, FILE)
    set_price("11.00", now=now, at=century)
    before = list(PricingRule.objects.order_by("pk").values_list("pk", "price", "effective_to"))
    assert told(confirm(console, preview)) == [
        "Nothing was imported: something has changed since the preview. Look at it again."
    ]
    assert list(PricingRule.objects.order_by("pk").values_list("pk", "price", "effective_to")) == before
    assert not AuditEvent.objects.filter(action="prices imported").exists()
    assert told(confirm(console, preview)) == [
        "The file is no longer here: it was imported already, or an hour has passed. Upload it again."
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "The first row has to name the columns. Missing: classification, age_bucket, price."),
        ("classification,price\nGold,8", "Missing: age_bucket."),
        ("classification,age_bucket,price,price\nGold,MONTH_6_TO_8,8,9", "Two columns are called “price”."),
        ("classification,age_bucket,price\n,,\n", "There is no row below the heading."),
        (b"classification,age_bucket,price\nGold,\xff,8", "This file is not text in UTF-8."),
        ("classification,age_bucket,price\n" + "Gold,MONTH_6_TO_8,8\n" * (MAX_ROWS + 1), "This file has 1,001 rows."),
    ],
    ids=["empty", "column missing", "column twice", "no rows", "not UTF-8", "too long"],
)
def test_a_file_that_is_none_is_refused_whole(console, content, sentence):
    answer = upload(console, content)
    errors = answer.context["form"].errors["import_file"]
    assert [sentence in error for error in errors] == [True] or "empty" in errors[0]
    assert not PricingRule.objects.exists()


def test_an_export_is_harmless_in_a_spreadsheet_and_comes_back_unchanged(console, sue, now):
    start_prices(now - timedelta(days=1))
    for number, note in enumerate(["=1+1", "+15551234567", "-5", "@x", '"a";=1', "plain, with comma"]):
        prices.set_price(**GOLD_6, price=Decimal(number), now=now - timedelta(hours=9 - number), notes=note, actor=sue)
    set_price("12.00", now=now, at=datetime(2127, 1, 1, tzinfo=UTC))
    answer = console.get(EXPORT)
    text = answer.content.decode("utf-8-sig")
    assert text.splitlines()[0] == "classification,age_bucket,price,effective_from,notes"
    assert len(text.splitlines()) == 1 + 17
    assert ",'=1+1" in text
    assert ",'@x" in text
    assert ",+15551234567" in text  # it is a number and means itself
    event = AuditEvent.objects.get(action="prices exported")
    assert (event.actor, event.changes["rows"]) == (sue, ["", "17"])
    before = list(PricingRule.objects.order_by("pk").values())
    preview = upload(console, answer.content)
    assert (preview.context["result"].totals["new"], preview.context["same"]) == (0, 17)
    assert list(PricingRule.objects.order_by("pk").values()) == before


def test_every_note_survives_the_way_out_and_back(db, now):
    @settings(max_examples=40, deadline=None, database=None)
    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
    def holds(note):
        rule = PricingRule(**GOLD_6, price=8, effective_from=now, notes=note.strip())
        dataset = PriceResource().export([rule])
        back = PriceCsv().create_dataset(PriceCsv().export_data(dataset).encode())
        assert back.dict[0]["notes"] == note.strip()

    holds()


def test_who_may_only_look_exports_and_does_not_import(client, db, now):
    start_prices(now)
    viewer = User.objects.create_user("vi@example.com", "correct horse battery", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_pricingrule"))
    client.force_login(viewer)
    with every_business():
        assert client.get(EXPORT).status_code == 200
        assert client.get(IMPORT).status_code == 403
        assert upload(client, FILE).status_code == 403
        assert client.post(PROCESS, {}).status_code == 403
    assert PricingRule.objects.count() == 10
