"""Gone is gone: for every buyer, whenever we hear of it, and whatever else is going on at that moment."""

from __future__ import annotations

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from crm import consent
from crm.enums import ConsentSource
from crm.models import Activity, AuditEvent, Business, Consent, Heartbeat
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace import columns, marks
from marketplace.enums import GoneBecause, IngestStatus, KnownFrom
from marketplace.models import (
    AgedLead,
    Export,
    GonePerson,
    IngestProblem,
    IngestRun,
    InventoryItem,
    KnownPhone,
    Recall,
    RecallNotice,
    Sale,
    WebhookDelivery,
)
from marketplace.services import inventory, landing, purchases, recalls
from marketplace.services.recalls import Forgotten
from tests.conftest import NOW
from tests.crowd import all_at_once, until_somebody_waits
from tests.marketplace.stock import a_buyer, a_lead, an_item, start_prices

JOHN, JANE, JIM = "+15045550141", "+15045550142", "+15045550143"
OPTED_OUT, ERASED = GoneBecause.OPTED_OUT, GoneBecause.ERASED
LATER = NOW + timedelta(hours=1)


@pytest.fixture(autouse=True)
def _own_files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def market(cast):
    """Alice and Charlie both buy leads; Alice's system listens."""
    start_prices()
    a_buyer(cast.shop, webhook_url="https://alice.example.com/recalls")
    a_buyer(cast.next_door)
    return cast


def bought(business: Business, *items: InventoryItem) -> list[UUID]:
    with only(business):
        return purchases.buy_items(business=business, item_ids=[item.pk for item in items], by="test", now=NOW).sale_ids


def forget(phone: str = JOHN, because: GoneBecause = OPTED_OUT, now=NOW) -> Forgotten:
    return recalls.forget(phone=phone, because=because, told_by="test", now=now)


def revoke(business: Business, phone: str) -> Consent:
    return consent.revoke(business=business, phone=phone, source=ConsentSource.TEXT, words="stop", now=NOW)


def gone() -> list[tuple[UUID, str]]:
    """Without the canary."""
    return list(GonePerson.objects.exclude(told_by="canary").order_by("id").values_list("mark", "because"))


def notices() -> list[RecallNotice]:
    with every_business():
        return list(RecallNotice.objects.select_related("recall", "business").order_by("created_at", "id"))


# --- Off the shelf ----------------------------------------------------------------------------------------------------


def test_somebody_who_opted_out_leaves_the_shelf(db):
    item, other = an_item(phone=JOHN), an_item(phone=JANE)
    assert forget() == Forgotten(new=1, leads=1, closed=1, notices=0)
    item.refresh_from_db()
    other.refresh_from_db()
    assert (item.closed_at, item.closed_because, other.closed_at) == (NOW, "opted_out", None)
    assert gone() == [(marks.mark_of(JOHN), "opted_out")]
    assert inventory.miscounted() == []


def test_either_number_of_a_lead_is_the_person(db):
    item = an_item(phone=JOHN, other_phone=JANE, other_mark=marks.mark_of(JANE))
    assert forget(JANE).closed == 1
    item.refresh_from_db()
    assert item.closed_because == "opted_out"


def test_forgetting_again_changes_nothing(market):
    bought(market.shop, an_item(phone=JOHN))
    forget()
    assert forget(now=LATER) == Forgotten(new=0, leads=1, closed=0, notices=0)
    assert (len(gone()), Recall.objects.count(), len(notices())) == (1, 1, 1)
    with every_business():
        assert WebhookDelivery.objects.count() == 1


def test_a_person_nobody_has_a_lead_of_is_remembered_for_the_files_to_come(db):
    assert forget() == Forgotten(new=1)
    lead = a_lead(phone=JOHN)
    assert inventory.open_items(lead_ids=[str(lead.pk)], now=NOW) == 0
    assert InventoryItem.objects.count() == 0


# --- Telling buyers ---------------------------------------------------------------------------------------------------


def test_every_buyer_of_the_person_is_told_about_their_own_sale(market):
    young, old = a_lead(phone=JOHN, days=200), a_lead(phone=JOHN, days=400)
    (alices,) = bought(market.shop, an_item(young))
    (charlies,) = bought(market.next_door, an_item(old))
    assert forget() == Forgotten(new=1, leads=2, closed=0, notices=2)
    told = notices()
    assert {(row.business, row.sale_id) for row in told} == {(market.shop, alices), (market.next_door, charlies)}
    mine = next(row for row in told if row.business == market.shop)
    with every_business():
        delivery = WebhookDelivery.objects.get()  # Charlie has named no address
    assert (delivery.business, delivery.event, delivery.about) == (
        market.shop,
        "recall.created",
        f"recall_notice:{mine.pk}",
    )
    assert delivery.payload == {
        "event": "recall.created",
        "id": str(mine.pk),
        "sale_id": str(alices),
        "lead_id": str(young.pk),
        "reason": "opted_out",
        "recalled_at": "2026-11-18T15:00:00+00:00",
        "what_to_do": "This person opted out. Do not call or text them, and take them off your lists.",
    }


def test_an_erasure_after_an_opt_out_is_told_as_well(market):
    bought(market.shop, an_item(phone=JOHN))
    forget(because=OPTED_OUT)
    assert forget(because=ERASED, now=LATER).notices == 1
    assert [row.recall.because for row in notices()] == ["opted_out", "erased"]


def test_the_story_of_a_lead_in_leads_says_that_it_was_called_back(market):
    bought(market.shop, an_item(phone=JOHN))
    landing.land_due(now=NOW)
    forget(now=LATER)
    with only(market.shop):
        assert [row.text for row in Activity.objects.filter(at=LATER)] == [
            "Called back: they opted out. Do not call or text them."
        ]


def test_a_buyer_sees_their_own_notices_and_says_that_they_heard(market):
    bought(market.shop, an_item(phone=JOHN))
    bought(market.next_door, an_item(phone=JANE))
    forget(JOHN)
    forget(JANE)
    mine, theirs = recalls.notices_since(market.shop, None).get(), recalls.notices_since(market.next_door, None).get()
    both = [mine.pk, theirs.pk, UUID(int=7)]
    assert recalls.acknowledge(business=market.shop, notice_ids=both, by="Alice", now=LATER) == 1
    assert recalls.acknowledge(business=market.shop, notice_ids=both, by="Bob", now=LATER) == 0
    assert [(row.acknowledged_at, row.acknowledged_by) for row in notices()] == [(LATER, "Alice"), (None, "")]


def test_what_is_new_is_a_file_that_begins_a_little_earlier_than_asked(market):
    sales = [bought(market.shop, an_item(phone=phone))[0] for phone in (JOHN, JANE)]
    forget(JOHN, now=NOW)
    forget(JANE, because=ERASED, now=LATER)
    first, second = recalls.notices_since(market.shop, None)
    recalls.acknowledge(business=market.shop, notice_ids=[first.pk], by="Alice", now=LATER)
    with every_business():
        leads = [str(Sale.objects.get(pk=pk).lead_id) for pk in sales]
    headings = "Notice ID,Sale ID,Lead ID,Reason,Recalled At (ISO),Acknowledged At (ISO)\r\n"
    lines = [
        f"{first.pk},{sales[0]},{leads[0]},opted_out,2026-11-18T15:00:00+00:00,2026-11-18T16:00:00+00:00\r\n",
        f"{second.pk},{sales[1]},{leads[1]},erased,2026-11-18T16:00:00+00:00,\r\n",
    ]
    assert list(recalls.delta_csv(market.shop, None)) == [headings, *lines]
    assert list(recalls.delta_csv(market.shop, NOW + timedelta(minutes=9))) == [headings, *lines]
    assert list(recalls.delta_csv(market.shop, NOW + timedelta(minutes=11))) == [headings, lines[1]]
    assert list(recalls.delta_csv(market.next_door, None)) == [headings]


# --- At the same moment -----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_purchase_that_is_under_way_is_waited_for_and_its_buyer_told(market):
    """The buyer holds the item when the person opts out; the sale is read after they let go of it."""
    item = an_item(phone=JOHN)
    bought_it, go_on = threading.Event(), threading.Event()

    def buy() -> UUID:
        with transaction.atomic():
            (sale,) = bought(market.shop, item)
            bought_it.set()
            assert go_on.wait(timeout=20)
        return sale

    with ThreadPoolExecutor(2) as pool:
        buying = pool.submit(_in_a_thread, buy)
        assert bought_it.wait(timeout=20)
        forgetting = pool.submit(_in_a_thread, forget)
        until_somebody_waits()
        go_on.set()
        sale = buying.result(timeout=20)
        assert forgetting.result(timeout=20) == Forgotten(new=1, leads=1, closed=0, notices=1)
    assert [row.sale_id for row in notices()] == [sale]
    item.refresh_from_db()
    assert (item.sold_at, item.closed_at) == (NOW, None)


@pytest.mark.django_db(transaction=True)
def test_a_purchase_that_comes_while_the_person_is_being_taken_off_gets_nothing(market):
    item = an_item(phone=JOHN)
    with transaction.atomic():
        forget()
        with ThreadPoolExecutor(1) as pool:
            buying = pool.submit(_in_a_thread, lambda: bought(market.shop, item))
            with pytest.raises(purchases.CannotBuy):
                buying.result(timeout=20)
    with every_business():
        assert Sale.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_many_buyers_and_an_opt_out_at_once_leave_nobody_untold(market):
    """Whichever of them is first: sold and told of, or closed."""
    people = [f"+150455502{n:02d}" for n in range(12)]
    items = [an_item(phone=phone) for phone in people]

    def buy(business: Business, item: InventoryItem) -> None:
        try:
            bought(business, item)
        except purchases.CannotBuy:
            return

    for stretch in range(0, 12, 3):
        calls = []
        for phone, item in list(zip(people, items, strict=True))[stretch : stretch + 3]:
            calls += [
                lambda item=item: buy(market.shop, item),
                lambda item=item: buy(market.next_door, item),
                lambda phone=phone: forget(phone),
            ]
        all_at_once(calls)
    with every_business():
        sold = set(Sale.objects.values_list("item", flat=True))
        told = set(RecallNotice.objects.values_list("sale__item", flat=True))
    closed = set(InventoryItem.objects.filter(closed_because="opted_out").values_list("pk", flat=True))
    assert (sold, sold | closed, sold & closed) == (told, {item.pk for item in items}, set())
    assert inventory.miscounted() == []


@pytest.mark.django_db(transaction=True)
def test_four_who_forget_the_same_person_at_once_tell_each_buyer_once(market):
    lead = a_lead(phone=JOHN, other_phone=JANE, other_mark=marks.mark_of(JANE))
    bought(market.shop, an_item(lead))
    all_at_once([lambda: forget(JOHN), lambda: forget(JANE)] * 2)
    assert (len(gone()), Recall.objects.count(), len(notices())) == (2, 1, 1)
    with every_business():
        assert WebhookDelivery.objects.count() == 1


def _in_a_thread(call):
    try:
        return call()
    finally:
        connection.close()


# --- Hearing of it ----------------------------------------------------------------------------------------------------


def test_a_stop_to_any_business_takes_the_person_off_the_shelf(market):
    bought(market.shop, an_item(phone=JOHN))
    unsold = an_item(phone=JANE)
    line = revoke(market.next_door, JOHN)
    revoke(market.next_door, JANE)
    assert recalls.hear_opt_outs(now=NOW) == 2
    unsold.refresh_from_db()
    assert (unsold.closed_because, [row.business for row in notices()]) == ("opted_out", [market.shop])
    assert GonePerson.objects.get(mark=marks.mark_of(JOHN)).told_by == f"consent:{line.pk}"


def test_hearing_again_finds_nothing_new_and_a_later_start_changes_nothing(market):
    revoke(market.shop, JOHN)
    assert recalls.hear_opt_outs(now=NOW) == 1
    consent.grant(business=market.shop, phone=JOHN, source=ConsentSource.TEXT, words="start", now=LATER)
    assert recalls.hear_opt_outs(now=LATER) == 0
    assert gone() == [(marks.mark_of(JOHN), "opted_out")]


def test_somebody_who_only_agreed_stays_for_sale(market):
    item = an_item(phone=JOHN)
    consent.grant(business=market.shop, phone=JOHN, source=ConsentSource.TEXT, words="hello", now=NOW)
    assert recalls.hear_opt_outs(now=NOW) == 0
    item.refresh_from_db()
    assert (item.closed_at, gone()) == (None, [])


def test_the_ledger_is_read_on_from_where_it_was_with_a_look_back(market):
    """A line may be committed after another that is younger; one that took longer than ten minutes waits for the day."""
    old = UUID(int=revoke(market.shop, JOHN).pk.int - (11 * 60_000 << 80))
    late = UUID(int=revoke(market.shop, JOHN).pk.int - (9 * 60_000 << 80))
    assert recalls.hear_opt_outs(now=NOW) == 1
    for pk, phone in ((old, JANE), (late, JIM)):
        Consent.objects.bulk_create(
            [Consent(pk=pk, business=market.shop, phone=phone, action="revoke", source="text", at=NOW)]
        )
    assert recalls.hear_opt_outs(now=NOW) == 1
    assert {mark for mark, _ in gone()} == {marks.mark_of(JOHN), marks.mark_of(JIM)}
    recalls.look_again(now=NOW)
    assert {mark for mark, _ in gone()} == {marks.mark_of(phone) for phone in (JOHN, JANE, JIM)}


def test_hearing_with_nothing_new_costs_a_handful_of_queries(market, django_assert_max_num_queries):
    for n in range(30):
        last = revoke(market.shop, f"+150455503{n:02d}")
    assert recalls.hear_opt_outs(now=NOW) == 30
    with django_assert_max_num_queries(8):
        assert recalls.hear_opt_outs(now=LATER) == 0
    beat = Heartbeat.objects.get(name="marketplace.opt_outs")
    assert (beat.at, beat.detail) == (LATER, str(last.pk))


def test_a_backlog_is_heard_in_stretches(market, monkeypatch):
    monkeypatch.setattr(recalls, "_PAGE", 4)
    for n in range(11):
        revoke(market.shop, f"+150455503{n:02d}")
    assert [recalls.hear_opt_outs(now=NOW, limit=4) for _ in range(4)] == [4, 4, 3, 0]


def test_a_ledger_without_opt_outs_is_heard_in_peace(db):
    assert recalls.hear_opt_outs(now=NOW) == 0
    assert recalls.hear_opt_outs(now=LATER) == 0


# --- Erasing ----------------------------------------------------------------------------------------------------------


def written_all_over(**fields: object) -> AgedLead:
    said = dict.fromkeys(columns.SOURCE.values(), "Sally Secret") | {"state": "LA", "county": "Caddo"}
    both = {"phone": JOHN, "other_phone": JANE, "other_mark": marks.mark_of(JANE)}
    return a_lead(**(said | both | fields))


def test_an_erased_lead_keeps_what_tells_nobody_who_it_was(db):
    lead = written_all_over()
    key = lead.natural_key
    an_item(lead)
    assert forget(because=ERASED) == Forgotten(new=1, leads=1, closed=1)
    lead.refresh_from_db()
    assert {getattr(lead, column) for column in columns.PERSONAL} == {""}
    assert (lead.phone_mark, lead.other_mark, lead.erased_at) == (None, None, NOW)
    assert (lead.natural_key, lead.classification, lead.state, lead.county) == (key, "Gold", "LA", "Caddo")
    assert gone() == [(marks.mark_of(JOHN), "erased")]


def test_an_erased_lead_never_comes_back_to_the_shelf(db):
    lead = written_all_over(days=200)
    an_item(lead)
    forget(because=ERASED)
    inventory.roll_over(now=NOW + timedelta(days=90))
    assert list(InventoryItem.objects.values_list("closed_because", flat=True)) == ["erased"]


def test_erasing_withdraws_the_files_that_hold_the_person(market):
    sale_ids = bought(market.shop, an_item(phone=JOHN))
    others = bought(market.shop, an_item(phone=JANE))
    with only(market.shop):
        files = [exports_of(market.shop, ids) for ids in (sale_ids, others)]
    forget(because=ERASED)
    with every_business():
        assert [Export.objects.get(pk=pk).status for pk in files] == ["voided", "ready"]


def exports_of(business: Business, sale_ids: list[UUID]) -> UUID:
    export = Export.objects.create(
        business=business, profile="csv", sale_ids=sale_ids, fingerprint=str(sale_ids[0]), status="ready", created_at=NOW,
        file=ContentFile(b"x", name="a.csv"),
    )  # fmt: skip
    return export.pk


def test_no_list_of_a_buyer_remembers_somebody_erased(market):
    bought(market.shop, an_item(phone=JOHN))
    with every_business():
        KnownPhone.objects.create(
            business=market.next_door, mark=marks.mark_of(JOHN), source=KnownFrom.UPLOADED, created_at=NOW
        )
        kept = KnownPhone.objects.create(
            business=market.next_door, mark=marks.mark_of(JANE), source=KnownFrom.UPLOADED, created_at=NOW
        )
        forget(because=ERASED)
        assert list(KnownPhone.objects.all()) == [kept]


def test_refused_rows_that_hold_the_number_go_in_whatever_column_it_stands(db):
    run = IngestRun.objects.create(name="a.csv", sha256="0" * 64, size=1, created_at=NOW)
    rows = [
        {"Borrower Phone": "(504) 555-0141"},
        {"Borrower Phone": "504.555.0142"},
        {"Full Name": "Sally, call 1-504-555-0141 after 5"},
        {"Zip": "70141", "Call In Date": "01-15-2025 10:01:41"},
    ]
    IngestProblem.objects.bulk_create(
        IngestProblem(run=run, row_number=number, kind="failed", problem="?", row=row)
        for number, row in enumerate(rows, start=2)
    )
    forget(because=OPTED_OUT)
    assert IngestProblem.objects.count() == 4
    forget(because=ERASED)
    assert list(IngestProblem.objects.values_list("row_number", flat=True)) == [3, 5]


def test_staff_erase_somebody_and_the_audit_does_not_know_the_number(market):
    bought(market.shop, an_item(phone=JOHN))
    done = recalls.erase_person(phone_text=" (504) 555-0141 ", actor=market.alice, now=NOW)
    assert done == Forgotten(new=1, leads=1, closed=0, notices=1)
    event = AuditEvent.objects.get(action="person erased")
    assert (event.actor, event.target) == (market.alice, "the number ending in 0141")
    assert event.changes == {"leads": 1, "taken off the shelf": 0, "buyers' sales recalled": 1}


def test_what_is_no_number_is_refused_and_nobody_erased(cast):
    with pytest.raises(Refused, match=r"^Phone number: '12' is not a phone number we can reach\."):
        recalls.erase_person(phone_text="12", actor=cast.alice, now=NOW)
    assert (GonePerson.objects.count(), AuditEvent.objects.filter(action="person erased").count()) == (0, 0)


# --- Lists ------------------------------------------------------------------------------------------------------------


def test_a_list_of_numbers_and_hashes_is_taken_in(market, monkeypatch):
    monkeypatch.setattr(recalls, "_PAGE", 2)
    bought(market.shop, an_item(phone=JOHN))
    jane = an_item(phone=JANE)
    hashed = hashlib.sha256(JANE.encode()).hexdigest().upper()
    file = io.BytesIO(f'phone\r\n(504) 555-0141\r\n"{hashed}"\r\n\r\nnobody\r\n{JIM}\r\n504 555 0141\r\n'.encode())
    listed = recalls.forget_list(file=file, because=ERASED, told_by="DROP, November", actor=market.alice, now=NOW)
    assert (listed.rows, listed.new, listed.known, listed.refused) == (5, 3, 1, 1)
    assert listed.problems == ["Row 5: neither a phone number nor a SHA-256 of one."]
    assert (listed.done.leads, listed.done.closed, listed.done.notices) == (2, 1, 1)
    jane.refresh_from_db()
    assert (jane.closed_because, jane.lead.erased_at) == ("erased", NOW)
    event = AuditEvent.objects.get(action="list of people forgotten")
    assert (event.actor, event.target, event.reason) == (market.alice, "5 rows: erased on request", "DROP, November")
    assert recalls.forget_list(
        file=io.BytesIO(file.getvalue()), because=ERASED, told_by="DROP, November", actor=None, now=NOW
    ).known == 4  # fmt: skip


def test_a_list_clears_refused_rows_as_well(db):
    run = IngestRun.objects.create(name="a.csv", sha256="0" * 64, size=1, created_at=NOW)
    IngestProblem.objects.create(run=run, row_number=2, kind="failed", problem="?", row={"Borrower Phone": JOHN})
    hashed = hashlib.sha256(JOHN.encode()).hexdigest()
    recalls.forget_list(file=io.BytesIO(hashed.encode()), because=ERASED, told_by="DROP", actor=None, now=NOW)
    assert IngestProblem.objects.count() == 0


# --- The canary -------------------------------------------------------------------------------------------------------


def test_a_changed_key_is_noticed(db, settings, caplog):
    assert recalls.marks_are_ours()
    forget()
    assert recalls.marks_are_ours()
    assert GonePerson.objects.filter(told_by="canary", because=ERASED).count() == 1
    settings.PERSON_MARK_KEY = "another key"
    assert not recalls.marks_are_ours()
    forget(JANE)
    assert not recalls.marks_are_ours()  # nobody papers over it
    assert "person_mark_key_changed" in caplog.text


# --- The daily look ---------------------------------------------------------------------------------------------------


def test_the_daily_look_closes_what_slipped_through(db):
    """Ingest and roll-over may open an item at the very moment in which somebody goes."""
    erased = a_lead(phone=JANE)
    forget(JOHN)
    forget(JANE, because=ERASED)
    slipped = [an_item(phone=JOHN), an_item(erased), an_item(phone=JANE)]
    free = an_item(phone=JIM)
    done = recalls.look_again(now=LATER)
    assert (done.leads, done.closed) == (3, 3)
    for item in [*slipped, free]:
        item.refresh_from_db()
    assert [item.closed_because for item in [*slipped, free]] == ["opted_out", "erased", "erased", ""]
    assert slipped[2].lead.erased_at == LATER
    assert recalls.look_again(now=LATER) == Forgotten()


def test_source_files_go_a_month_after_they_were_read(db):
    def run(name: str, *, days: int, status: IngestStatus) -> IngestRun:
        ended = NOW - timedelta(days=days)
        return IngestRun.objects.create(
            name=name, sha256="0" * 64, size=1, created_at=ended, finished_at=ended, status=status,
            file=ContentFile(b"John Moore", name=name),
        )  # fmt: skip

    old = run("old.csv", days=31, status=IngestStatus.DONE)
    kept = [
        run("fresh.csv", days=29, status=IngestStatus.DONE),
        run("still.csv", days=31, status=IngestStatus.RUNNING),
    ]
    path = old.file.path
    storage = old.file.storage
    assert recalls.forget_files(now=NOW) == 1
    old.refresh_from_db()
    assert (old.file.name, storage.exists(path)) == ("", False)
    assert [storage.exists(one.file.path) for one in kept] == [True, True]
    assert recalls.forget_files(now=NOW) == 0


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_the_command_asks_first_and_says_what_it_did(market, monkeypatch, capsys):
    bought(market.shop, an_item(phone=JOHN))
    an_item(phone=JOHN, days=400)
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    with pytest.raises(CommandError, match=r"^Nothing was changed\.$"):
        call_command("forget_person", "504 555 0141", "--because", "erased")
    assert asked == ["(504) 555-0141 has 2 leads. Erased on request: this cannot be undone. Go on? [y/N] "]
    assert GonePerson.objects.count() == 0
    call_command("forget_person", "504 555 0141", "--because", "erased", "--yes")
    assert capsys.readouterr().out == "2 leads called back, 1 taken off the shelf, 1 sale told of.\n"


def test_the_command_refuses_what_is_no_number(db):
    with pytest.raises(CommandError, match=r"^Phone number: 'nobody' is not a phone number we can reach\."):
        call_command("forget_person", "nobody", "--because", "opted_out", "--yes")
