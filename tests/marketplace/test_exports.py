"""Files of bought leads: made once, the same for ever, taken on record, withdrawn when somebody is erased."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from structlog.testing import capture_logs

from crm.keys import uuid7
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace import columns, writers
from marketplace.enums import ExportProfile
from marketplace.models import AgedLead, Export, ExportDownload, Purchase, Sale
from marketplace.services import exports
from tests.crowd import all_at_once, until_somebody_waits
from tests.marketplace.stock import a_buyer, an_item

CSV, MACHINE, XLSX = ExportProfile.CSV, ExportProfile.MACHINE, ExportProfile.XLSX
LATER = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def shelf(settings, tmp_path):
    """Where the files are kept."""
    settings.MEDIA_ROOT = tmp_path
    return tmp_path / "exports"


@pytest.fixture
def shop(cast):
    a_buyer(cast.shop)
    with only(cast.shop):
        yield cast.shop


def buy(business, *names, now, **fields):
    """One purchase of leads with these full names; its sales, in that order."""
    with only(business):
        purchase = Purchase.objects.create(
            business=business, number=uuid7().int % 2**40, quantity=len(names), total=8 * len(names), created_at=now
        )
        return [
            Sale.objects.create(
                business=business, purchase=purchase, item=item, lead=item.lead, classification="Gold",
                age_bucket="MONTH_6_TO_8", price="8.00", sold_at=now,
            )
            for item in [an_item(full_name=name, **fields) for name in names]
        ]  # fmt: skip


def ask(business, sales, now, profile=CSV, how=exports.ready_or_build):
    return how(business=business, sale_ids=[sale.pk for sale in sales], profile=profile, by="Alice", now=now)


def content(export, now):
    with exports.opened(export=export, by="Alice", request_sender="5e4d", now=now) as file:
        return file.read()


def table(export, now):
    return list(csv.DictReader(io.StringIO(content(export, now).decode(), newline="")))


def names(export, now):
    return [row["Full Name"] for row in table(export, now)]


def files(shelf):
    return sorted(shelf.iterdir()) if shelf.exists() else []


# --- What is in it -----------------------------------------------------------------------------------------------------


def test_a_file_has_a_row_for_every_sale_in_the_order_asked_for(shop, now, monkeypatch):
    monkeypatch.setattr(exports, "_CHUNK", 2)
    one, two, three = buy(shop, "One", "Two", "Three", now=now)
    export = ask(shop, [three, one, two, one], now)
    assert (export.status, export.done_rows, export.sale_ids) == ("ready", 3, [three.pk, one.pk, two.pk])
    assert names(export, now) == ["Three", "One", "Two"]


def test_the_33_columns_hold_the_sale_and_the_lead(shop, now):
    (sale,) = buy(
        shop, "Jane Doe", now=now, borrower_phone="+13185550100", address='12 "Oak" St', mortgage_amount="$100,000",
        borrower_age="-5", call_in_phone_number="-5551234567", zip="00501",
    )  # fmt: skip
    (row,) = table(ask(shop, [sale], now), now)
    assert list(row) == [column.heading for column in columns.SOLD]
    filled = {heading: value for heading, value in row.items() if value}
    assert filled == {
        "Sale ID": str(sale.pk), "Purchase Price": "8.00", "Currency": "USD",
        "Purchased At (ISO)": "2026-11-18T15:00:00+00:00", "Age Bucket (at purchase)": "MONTH_6_TO_8",
        "Classification": "Gold", "Full Name": "Jane Doe", "First Name": "John", "Last Name": "Moore",
        "Borrower Phone": "+13185550100", "Call-In Phone Number": "5551234567", "Address": '12 "Oak" St',
        "City": "Shreveport", "County": "Caddo", "State": "LA", "ZIP": "00501", "Mortgage Amount": "$100,000",
        "Borrower Age": "-5", "Lead ID": str(sale.lead_id), "Lead Created At (UTC)": "2026-05-02T14:59:00+00:00",
    }  # fmt: skip


def test_a_cell_that_was_cleaned_is_counted_and_logged(shop, now):
    sales = buy(shop, "=1+1", "Jane", now=now)
    with capture_logs() as log:
        export = ask(shop, sales, now)
    assert export.stripped == 1
    assert names(export, now) == ["1+1", "Jane"]
    assert [line for line in log if line["log_level"] == "warning"] == [
        {
            "event": "csv_cell_cleaned", "log_level": "warning", "type": "csv_injection_prevention", "field": "Full Name",
            "stripped": "=", "original": "=1+1", "sanitised": "1+1", "export_id": str(export.pk),
        }
    ]  # fmt: skip


def test_programs_get_every_value_as_it_is(shop, now):
    export = ask(shop, buy(shop, "=1+1", "-5551234567", " x ", now=now), now, MACHINE)
    assert (export.stripped, names(export, now)) == (0, ["=1+1", "-5551234567", " x "])


def test_an_excel_file_is_one(shop, now):
    export = ask(shop, buy(shop, "=1+1", now=now), now, XLSX)
    assert content(export, now)[:2] == b"PK"
    assert (export.file.name[-5:], exports.CONTENT_TYPE[XLSX][-5:]) == (".xlsx", "sheet")


def test_a_whole_purchase_can_be_taken(shop, now):
    first, second = buy(shop, "One", "Two", now=now)
    buy(shop, "Another purchase", now=now)
    export = exports.ready_or_build(business=shop, purchase=first.purchase, profile=CSV, by="Alice", now=now)
    assert export.sale_ids == [first.pk, second.pk]


def test_all_that_was_bought_comes_in_the_order_of_buying(shop, cast, now):
    late = buy(shop, "Late", now=now + LATER)
    early = buy(shop, "Early", "Early too", now=now)
    buy(cast.next_door, "Not theirs", now=now)
    bought = [sale.pk for sale in [*early, *late]]
    assert exports.all_sale_ids(business=shop) == bought
    assert exports.all_sale_ids(business=shop, purchase_id=late[0].purchase_id) == bought[2:]


def test_reading_costs_the_same_however_many_rows_a_chunk_has(shop, now):
    def statements(count):
        export = ask(shop, buy(shop, *["Jane"] * count, now=now), now, how=exports.ask_for)
        with CaptureQueriesContext(connection) as log:
            exports.build(export.pk, now=now)
        return len(log)

    assert statements(2) == statements(40)


# --- Who may have it -----------------------------------------------------------------------------------------------------


def test_an_unknown_sale_and_somebody_elses_are_refused_alike(shop, cast, now, shelf):
    mine, theirs, nobodys = buy(shop, "Mine", now=now)[0], buy(cast.next_door, "Theirs", now=now)[0], uuid7()
    for asked, named in [([mine.pk, nobodys, theirs.pk], nobodys), ([theirs.pk, mine.pk, nobodys], theirs.pk)]:
        with pytest.raises(exports.SaleNotFound) as refusal:
            exports.ready_or_build(business=shop, sale_ids=asked, profile=CSV, by="Alice", now=now)
        assert (str(refusal.value), refusal.value.sale_id) == (f"There is no sale {named}.", named)
    assert (Export.objects.count(), files(shelf)) == (0, [])


def test_a_file_of_nothing_and_one_of_too_much_are_refused(shop, cast, now, monkeypatch):
    theirs = buy(cast.next_door, "Theirs", now=now)[0]
    for nothing in ({}, {"sale_ids": []}, {"purchase": theirs.purchase}):
        with pytest.raises(Refused, match=r"^Choose at least one lead for the file\.$"):
            exports.ask_for(business=shop, profile=CSV, by="Alice", now=now, **nothing)
    monkeypatch.setattr(exports, "MOST", 1)
    with pytest.raises(Refused, match=r"^One file holds at most 1 leads\. Take them in several files\.$"):
        ask(shop, buy(shop, "One", "Two", now=now), now)
    assert Export.objects.count() == 0


def test_every_time_a_file_is_taken_is_on_record(shop, now):
    export = ask(shop, buy(shop, "Jane", now=now), now)
    with capture_logs() as log:
        content(export, now)
    exports.opened(export=export, by="fd_live_ab12", request_sender="77", now=now + LATER).close()
    taken = ExportDownload.objects.order_by("at").values_list("export", "by", "source", "at")
    assert list(taken) == [(export.pk, "Alice", "5e4d", now), (export.pk, "fd_live_ab12", "77", now + LATER)]
    assert [line["event"] for line in log] == ["export_downloaded"]


# --- Made once -----------------------------------------------------------------------------------------------------------


def test_asked_for_again_the_very_same_file_comes_back(shop, now):
    sales = buy(shop, "One", "Two", now=now)
    first = ask(shop, sales, now)
    AgedLead.objects.update(full_name="Another")
    again = ask(shop, sales, now + LATER)
    assert again.pk == first.pk
    before = content(first, now)
    assert content(again, now) == before
    assert (first.sha256, first.size) == (hashlib.sha256(before).hexdigest(), len(before))


def test_another_order_or_profile_is_another_file(shop, now):
    one, two = buy(shop, "One", "Two", now=now)
    made = {ask(shop, sales, now, profile).pk for sales in ([one, two], [two, one]) for profile in ExportProfile}
    assert len(made) == 6


def test_a_long_file_is_left_to_the_worker(shop, now, monkeypatch):
    monkeypatch.setattr(exports, "AT_ONCE", 1)
    sales = buy(shop, "One", "Two", now=now)
    export = ask(shop, sales, now)
    assert export.status == "building"
    with pytest.raises(exports.NotReady) as refusal:
        content(export, now)
    assert (str(refusal.value), refusal.value.status) == (
        "This file is still being made. Try again in a minute.", "building",
    )  # fmt: skip
    made = exports.take_waiting(now=now)
    assert (made.pk, made.status, names(made, now)) == (export.pk, "ready", ["One", "Two"])
    assert exports.take_waiting(now=now) is None
    assert ask(shop, sales, now).status == "ready"


def test_the_worker_takes_what_has_waited_longest(shop, cast, now):
    second = ask(shop, buy(shop, "Later", now=now), now + LATER, how=exports.ask_for)
    first = ask(cast.next_door, buy(cast.next_door, "Sooner", now=now), now, how=exports.ask_for)
    assert [exports.take_waiting(now=now).pk for _ in range(2)] == [first.pk, second.pk]


def test_what_goes_wrong_is_said_and_can_be_asked_for_again(shop, now, monkeypatch, shelf):
    sales = buy(shop, "Jane", now=now)

    def full_disk(*_, **__):
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(writers, "write_csv", full_disk)
        with pytest.raises(OSError, match="No space left"):
            ask(shop, sales, now)
    export = Export.objects.get()
    assert (export.status, export.file.name, files(shelf)) == ("failed", "", [])
    with pytest.raises(exports.NotReady, match=r"^This file could not be made\. Ask for it again\.$"):
        content(export, now)
    assert names(ask(shop, sales, now), now) == ["Jane"]


def test_a_file_that_is_gone_from_the_disk_is_made_again_when_asked_for(shop, now, shelf):
    sales = buy(shop, "Jane", now=now)
    export = ask(shop, sales, now)
    for file in files(shelf):
        file.unlink()
    with pytest.raises(exports.NotReady, match=r"^This file could not be made\. Ask for it again\.$"):
        content(export, now)
    assert ExportDownload.objects.count() == 0
    assert names(ask(shop, sales, now), now) == ["Jane"]


# --- Two at once, and none ---------------------------------------------------------------------------------------------


def slow_writing(monkeypatch, meanwhile):
    """Calls `meanwhile` the first time that half a file is written."""
    write, calls = writers.write_csv, []

    def half(rows, to, **rest):
        rows = list(rows)
        write(rows[:1], to, **rest)
        to.flush()
        if not calls:
            calls.append(1)
            meanwhile()
        to.seek(0)
        write(rows, to, **rest)

    monkeypatch.setattr(writers, "write_csv", half)


@pytest.mark.django_db(transaction=True)
def test_asked_for_by_many_at_once_it_is_one_file_made_once(cast, now, monkeypatch, shelf):
    a_buyer(cast.shop)
    sales = buy(cast.shop, "One", "Two", now=now)
    made, write = [], writers.write_csv
    monkeypatch.setattr(writers, "write_csv", lambda *args, **rest: (made.append(1), write(*args, **rest)))
    found = all_at_once([partial(ask, cast.shop, sales, now)] * 6)
    assert [export.status for export in found] == ["ready"] * 6
    assert len({export.pk for export in found}) == len(made) == len(files(shelf)) == 1


def test_half_a_file_never_has_the_name_of_a_whole_one(shop, now, monkeypatch, shelf):
    seen = []
    slow_writing(monkeypatch, lambda: seen.extend(file.suffix for file in files(shelf)))
    export = ask(shop, buy(shop, "One", "Two", now=now), now)
    assert seen == [".part"]
    assert files(shelf) == [Path(export.file.path)]


def test_a_maker_who_lives_is_left_alone_and_one_who_fell_silent_is_replaced(shop, now, monkeypatch, shelf):
    export = ask(shop, buy(shop, "One", "Two", now=now), now, how=exports.ask_for)
    others = []

    def meanwhile():
        others.append(exports.build(export.pk, now=now + timedelta(seconds=59)).status)
        others.append(exports.build(export.pk, now=now + timedelta(seconds=90)).status)

    slow_writing(monkeypatch, meanwhile)
    monkeypatch.setattr(exports, "time", SimpleNamespace(monotonic=lambda: 0.0))
    late = exports.build(export.pk, now=now)  # goes on writing when its file is made already
    assert others == ["building", "ready"]
    assert (late.status, names(late, now)) == ("ready", ["One", "Two"])
    assert files(shelf) == [Path(late.file.path)]


def test_whoever_makes_a_file_keeps_saying_so(shop, now, monkeypatch):
    clock = itertools.count(step=40.0)
    export = ask(shop, buy(shop, "One", "Two", "Three", now=now), now, how=exports.ask_for)
    seen = []
    slow_writing(monkeypatch, lambda: seen.append(Export.objects.values_list("alive_at", "done_rows").get()))
    monkeypatch.setattr(exports, "_CHUNK", 1)
    monkeypatch.setattr(exports, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    exports.build(export.pk, now=now)
    assert seen == [(now + timedelta(seconds=120), 3)]


KILLED = """
import os, signal, sys
import django
django.setup()
from datetime import datetime
from django.conf import settings
from django.db import connections
from marketplace import writers
from marketplace.services import exports

settings.MEDIA_ROOT = sys.argv[1]
connections["default"].settings_dict["NAME"] = sys.argv[2]

def die_half_way(rows, to, **rest):
    to.write(b"half a fi")
    to.flush()
    os.kill(os.getpid(), signal.SIGKILL)

writers.write_csv = die_half_way
exports.build(sys.argv[3], now=datetime.fromisoformat(sys.argv[4]))
"""


@pytest.mark.django_db(transaction=True)
def test_killed_half_way_the_file_is_made_whole_by_the_next_and_nothing_is_left_behind(cast, now, settings, shelf):
    a_buyer(cast.shop)
    export = ask(cast.shop, buy(cast.shop, "One", "Two", now=now), now, how=exports.ask_for)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, shelf.parent, connection.settings_dict["NAME"], str(export.pk), now.isoformat()],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "FRONTDESK_DATA": str(settings.DATA_DIR)},
        cwd=settings.BASE_DIR, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert [file.suffix for file in files(shelf)] == [".part"]
    assert exports.take_waiting(now=now + timedelta(seconds=60)) is None
    made = exports.take_waiting(now=now + timedelta(seconds=61))
    assert (made.pk, made.status) == (export.pk, "ready")
    assert names(made, now) == ["One", "Two"]
    assert files(shelf) == [Path(made.file.path)]


# --- Somebody is erased --------------------------------------------------------------------------------------------------


def erase(sale, now):
    """As a recall does it."""
    with transaction.atomic(), every_business():
        AgedLead.objects.filter(pk=sale.lead_id).update(erased_at=now, **dict.fromkeys(columns.PERSONAL, ""))
        return exports.void_exports_with(sale_ids=[sale.pk], now=now)


def test_an_erased_person_leaves_every_file(shop, now, shelf, django_capture_on_commit_callbacks):
    gone, stays = buy(shop, "Gone", "Stays", now=now)
    both, other = ask(shop, [gone, stays], now), ask(shop, [stays], now)
    with django_capture_on_commit_callbacks(execute=True):
        assert erase(gone, now + LATER) == 1
        assert len(files(shelf)) == 2  # until it is certain
    assert files(shelf) == [Path(other.file.path)]
    both.refresh_from_db()
    assert (both.status, both.voided_at, both.file.name) == ("voided", now + LATER, "")
    with pytest.raises(exports.NotReady) as refusal:
        content(both, now)
    assert str(refusal.value) == (
        "This file was withdrawn: somebody in it has been erased since. Ask for it again; the new one leaves their details"
        " out."
    )
    assert names(other, now) == ["Stays"]


def test_the_next_file_has_the_sale_of_an_erased_person_and_nothing_else_of_them(shop, now):
    gone, stays = buy(shop, "Gone", "Stays", now=now)
    old = ask(shop, [gone, stays], now)
    erase(gone, now)
    new = ask(shop, [gone, stays], now)
    assert new.pk != old.pk
    erased, untouched = table(new, now)
    assert {heading for heading, value in erased.items() if value} == {
        "Sale ID", "Purchase Price", "Currency", "Purchased At (ISO)", "Age Bucket (at purchase)", "Classification",
        "County", "State", "Lead ID", "Lead Created At (UTC)",
    }  # fmt: skip
    assert untouched["Full Name"] == "Stays"


def test_an_erasure_that_does_not_happen_leaves_the_file(shop, now, django_capture_on_commit_callbacks):
    export = ask(shop, buy(shop, "Jane", now=now), now)

    def erase_and_fail():
        with transaction.atomic():
            exports.void_exports_with(sale_ids=export.sale_ids, now=now)
            raise RuntimeError("Something went wrong later.")

    with django_capture_on_commit_callbacks(execute=True) as promised, pytest.raises(RuntimeError, match="later"):
        erase_and_fail()
    assert promised == []
    assert names(export, now) == ["Jane"]


def test_what_a_killed_erasure_left_is_deleted_by_the_worker(shop, now, shelf):
    sales = buy(shop, "Jane", now=now)
    ask(shop, sales, now)
    erase(sales[0], now)  # and nobody comes to what was to be done afterwards
    assert len(files(shelf)) == 1
    assert exports.take_waiting(now=now) is None
    assert files(shelf) == []


def test_somebody_erased_while_a_file_is_written_is_not_in_it(shop, now, monkeypatch, shelf):
    sales = buy(shop, "Gone", "Stays", now=now)
    slow_writing(monkeypatch, lambda: erase(sales[0], now))
    export = ask(shop, sales, now)
    assert (export.status, names(export, now)) == ("ready", ["", "Stays"])
    assert files(shelf) == [Path(export.file.path)]


def test_somebody_erased_when_the_file_is_just_whole_is_not_in_it(shop, now, monkeypatch, shelf):
    sales, save = buy(shop, "Gone", "Stays", now=now), FileSystemStorage.save

    def save_and_erase(*args):
        name = save(*args)
        if not AgedLead.objects.filter(erased_at__isnull=False):
            erase(sales[0], now)
        return name

    monkeypatch.setattr(FileSystemStorage, "save", save_and_erase)
    export = ask(shop, sales, now)
    assert (export.status, names(export, now)) == ("ready", ["", "Stays"])
    assert files(shelf) == [Path(export.file.path)]


@pytest.mark.django_db(transaction=True)
def test_a_file_that_is_asked_for_during_an_erasure_waits_for_it(cast, now):
    a_buyer(cast.shop)
    sales = buy(cast.shop, "Gone", now=now)

    begun = threading.Event()

    def erase_slowly():
        with transaction.atomic(), every_business():
            exports.void_exports_with(sale_ids=[sales[0].pk], now=now)
            begun.set()
            until_somebody_waits()
            AgedLead.objects.update(full_name="")

    def ask_meanwhile():
        begun.wait(timeout=30)
        return ask(cast.shop, sales, now)

    _, export = all_at_once([erase_slowly, ask_meanwhile])
    assert names(export, now) == [""]
