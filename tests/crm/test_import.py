"""Customers from a file and into one: looked at first, taken whole or not at all, and told in the audit."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from crm import resources
from crm.models import Activity, AuditEvent, Business, Customer, User
from crm.resources import Csv, Json, Tsv, UnreadableFile, quote, unquote
from crm.scoping import every_business
from crm.services import add_customer, merge_customers
from tests.console import told

IMPORT, PROCESS, EXPORT = (
    "/admin/crm/customer/import/",
    "/admin/crm/customer/process_import/",
    "/admin/crm/customer/export/",
)


@pytest.fixture(autouse=True)
def _no_scope():
    with every_business():
        yield


@pytest.fixture
def sue(db) -> User:
    return User.objects.create_superuser("sue@example.com", "correct horse battery", name="Sue Staff")


@pytest.fixture
def console(client, sue):
    client.force_login(sue)
    return client


def upload(console, business: Business, content: str | bytes, name: str = "customers.csv"):
    """The first step: look at a file."""
    data = content.encode() if isinstance(content, str) else content
    return console.post(
        IMPORT,
        {"business": str(business.pk), "import_file": SimpleUploadedFile(name, data), "resource": "0", "format": "0"},
    )


def confirm(console, preview):
    """The second: take it."""
    form = preview.context["confirm_form"]
    return console.post(PROCESS, {name: form[name].value() for name in form.fields}, follow=True)


def shown(preview) -> list[tuple]:
    """Rows of the preview: number, what becomes of it, and the cells that change."""
    return [
        (row.number, row.import_type, [after for before, after in row.cells if before != after])
        for row in preview.context["result"].rows
    ]


def wrong(preview) -> list[tuple[int, list[str]]]:
    return [(row["number"], row["sentences"]) for row in preview.context["wrong_rows"]]


def on_file(business: Business) -> list[tuple]:
    return list(
        Customer.objects.filter(business=business)
        .order_by("pk")
        .values_list("name", "phone", "email", "address", "notes", "tags")
    )


def ann(business: Business, **fields) -> Customer:
    return add_customer(
        business=business, fields={"name": "Ann Ames", "phone": "+15551234501"} | fields, actor=None, now=timezone.now()
    )


FILE = """\
Name,Phone Number,E-mail,Address,Notes,Tags,Favourite colour
Ben Burns,(555) 123-4502,ben@example.com,12 Oak St,Dog,"vip, annual",blue
Dora,,,,,,
"""


def test_a_preview_shows_what_would_change_and_writes_nothing(console, cast):
    preview = upload(console, cast.shop, FILE)
    assert shown(preview) == [
        (2, "new", ["Ben Burns", "+15551234502", "ben@example.com", "12 Oak St", "Dog", "vip, annual"]),
        (3, "new", ["Dora"]),
    ]
    page = preview.content.decode()
    assert "Nothing has been written yet." in page
    assert "Import into Alice Plumbing" in page
    assert on_file(cast.shop) == []
    assert not Activity.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_confirmed_file_is_taken_and_leaves_a_trace(console, cast, sue):
    response = confirm(console, upload(console, cast.shop, FILE, name="spring list.csv"))
    assert told(response) == ["Imported: 2 new, 0 updated, 0 as they were."]
    assert on_file(cast.shop) == [
        ("Ben Burns", "+15551234502", "ben@example.com", "12 Oak St", "Dog", ["vip", "annual"]),
        ("Dora", None, "", "", "", []),
    ]
    assert Customer.objects.get(name="Ben Burns").phone_raw == "(555) 123-4502"
    event = AuditEvent.objects.get()
    assert (event.actor, event.business, event.action) == (sue, cast.shop, "customers imported")
    assert event.changes == {"file": ["", "spring list.csv"], "new": ["", "2"], "update": ["", "0"], "skip": ["", "0"]}
    assert {note.text for note in Activity.objects.all()} == {"Added from spring list.csv."}
    assert on_file(cast.next_door) == []


def test_the_same_file_again_changes_nothing(console, cast):
    confirm(console, upload(console, cast.shop, FILE))
    before = on_file(cast.shop)
    response = confirm(console, upload(console, cast.shop, FILE))
    assert told(response) == ["Imported: 0 new, 0 updated, 2 as they were."]
    assert on_file(cast.shop) == before
    assert Activity.objects.count() == 2


def test_a_known_number_updates_and_an_empty_cell_leaves_what_is_on_file(console, cast):
    ann(cast.shop, address="Old Road 1", notes="Gate code 4", tags=["vip"])
    preview = upload(console, cast.shop, "name,phone,address,notes\n,555-123-4501,New Road 2,\n")
    assert shown(preview) == [(2, "update", ["New Road 2"])]
    assert "<del>Old Road 1</del> <ins>New Road 2</ins>" in preview.content.decode()
    confirm(console, preview)
    assert on_file(cast.shop) == [("Ann Ames", "+15551234501", "", "New Road 2", "Gate code 4", ["vip"])]
    assert Activity.objects.filter(verb="edited").get().text == "Edited from customers.csv: address."


def test_a_number_twice_in_one_file_is_one_customer_with_the_last_word(console, cast):
    rows = "name,phone\nAnn,+15551234501\nA. Ames,(555) 123-4501\nAnn Ames,5551234501\n"
    confirm(console, upload(console, cast.shop, rows))
    assert on_file(cast.shop) == [("Ann Ames", "+15551234501", "", "", "", [])]


def test_a_known_number_twice_in_one_file_is_updated_to_the_last_word(console, cast):
    ann(cast.shop)
    rows = "name,phone\nAnna,+15551234501\nAnn B. Ames,(555) 123-4501\n"
    response = confirm(console, upload(console, cast.shop, rows))
    assert told(response) == ["Imported: 0 new, 2 updated, 0 as they were."]
    assert on_file(cast.shop) == [("Ann B. Ames", "+15551234501", "", "", "", [])]


def test_a_number_that_was_merged_leads_to_the_customer_that_was_kept(console, cast):
    kept, dropped = ann(cast.shop), ann(cast.shop, name="A. Ames", phone="+15551234502")
    merge_customers(kept=kept, dropped=dropped, actor=None, now=timezone.now())
    confirm(console, upload(console, cast.shop, "phone,address\n+15551234502,12 Oak St\n"))
    kept.refresh_from_db()
    assert (kept.phone, kept.address) == ("+15551234501", "12 Oak St")
    assert Customer.objects.count() == 2


def test_the_same_number_next_door_is_another_customer(console, cast):
    theirs = ann(cast.next_door, name="Ann Next")
    confirm(console, upload(console, cast.shop, "name,phone\nAnn Ames,+15551234501\n"))
    theirs.refresh_from_db()
    assert theirs.name == "Ann Next"
    assert on_file(cast.shop) == [("Ann Ames", "+15551234501", "", "", "", [])]


def test_numbers_are_read_as_people_write_them_where_the_business_is(console, cast):
    Business.objects.filter(pk=cast.shop.pk).update(region="GB")
    confirm(console, upload(console, cast.shop, "name,phone\nNora,020 7946 0018\n"))
    assert on_file(cast.shop) == [("Nora", "+442079460018", "", "", "", [])]


def test_bad_rows_are_named_by_the_number_a_spreadsheet_shows(console, cast):
    lines = [
        "name,phone,email,tags",
        "Ann,+15551234501,,",
        "Ben,12,,",
        "",
        f"Cleo,,no address,{'x' * 41}",
        ",,,  ",
        f"{'D' * 121},,,",
    ]
    preview = upload(console, cast.shop, "\n".join(lines))
    assert wrong(preview) == [
        (3, ["Phone number: '12' is not a phone number we can reach. Write it like (555) 123-4567 or +15551234567."]),
        (
            5,
            [
                "Email: Enter a valid email address.",
                "Tags: Item 1 in the array did not validate: Ensure this value has at most 40 characters (it has 41).",
            ],
        ),
        (7, ["Name: Ensure this value has at most 120 characters (it has 121)."]),
    ]
    page = preview.content.decode()
    assert "Nothing has been imported" in page
    assert "<strong>Row 3:</strong>" in page
    assert "confirm_form" not in preview.context
    assert on_file(cast.shop) == []


def test_a_row_that_says_nobody_is_refused(console, cast):
    assert wrong(upload(console, cast.shop, "name,phone,address\n,,12 Oak St\n")) == [
        (2, ["Write at least a name, a phone number or an e-mail address."])
    ]


def test_a_row_that_went_bad_since_the_preview_stops_the_whole_file(console, cast):
    preview = upload(console, cast.shop, "name,phone\nBen,5551234502\nAnn,5551234501\n")
    Business.objects.filter(pk=cast.shop.pk).update(region="NO")  # where numbers have eight digits
    response = confirm(console, preview)
    assert told(response) == ["Nothing was imported: something has changed since the preview. Look at it again."]
    assert on_file(cast.shop) == []
    assert not AuditEvent.objects.exists()


def test_a_customer_added_at_the_same_moment_stops_the_file_with_a_sentence(console, cast, monkeypatch):
    preview = upload(console, cast.shop, "name,phone\nBen,+15551234502\nAnn,+15551234501\n")
    read = resources.CustomerResource.before_import

    def then_somebody_else_is_quicker(self, dataset, **kwargs):
        read(self, dataset, **kwargs)
        ann(cast.shop)

    monkeypatch.setattr(resources.CustomerResource, "before_import", then_somebody_else_is_quicker)
    response = confirm(console, preview)
    assert told(response) == [
        "Nothing was imported. Meanwhile somebody added a customer with one of these phone numbers. Upload it again."
    ]
    assert not Customer.objects.filter(name="Ben").exists()
    assert not AuditEvent.objects.exists()


def test_a_file_is_confirmed_once(console, cast):
    preview = upload(console, cast.shop, FILE)
    confirm(console, preview)
    response = confirm(console, preview)
    assert told(response) == [
        "The file is no longer here: it was imported already, or an hour has passed. Upload it again."
    ]
    assert len(on_file(cast.shop)) == 2


def test_a_preview_whose_file_redis_lost_says_so(console, cast):
    preview = upload(console, cast.shop, FILE)
    cache.clear()
    assert told(confirm(console, preview)) == [
        "The file is no longer here: it was imported already, or an hour has passed. Upload it again."
    ]
    assert on_file(cast.shop) == []


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (
            "shoe size\n43\n",
            "a.csv",
            "The first row has to name the columns. These are read: name, phone, email, address, notes, tags.",
        ),
        ("name,phone,mobile\nAnn,1,2\n", "a.csv", "Two columns are read as “phone”. Rename one of them."),
        ("name\n", "a.csv", "There is no row below the heading."),
        ("", "a.csv", "The submitted file is empty."),
        (
            "name\nZoë\n".encode("latin-1"),
            "a.csv",
            "This file is not text in UTF-8. In a spreadsheet, save it as “CSV UTF-8”.",
        ),
        (
            b"PK\x03\x04",
            "a.xlsx",
            "Choose a .csv, .tsv or .json file. A spreadsheet saves one by “Save as… CSV UTF-8”.",
        ),
        ('{"name": "Ann"}', "a.json", 'Write a list of objects, like [{"name": "Ann", "phone": "(555) 123-4567"}].'),
        (
            "name\n" + "Ann\n" * 10_001,
            "a.csv",
            "This file has 10,001 rows. Up to 10,000 fit in one import: split it into parts.",
        ),
    ],
    ids=["headings", "twice", "no rows", "empty", "encoding", "kind", "json", "too long"],
)
def test_a_file_that_cannot_be_read_is_refused_with_what_to_do(console, cast, content, name, sentence):
    response = upload(console, cast.shop, content, name)
    assert response.context["form"].errors == {"import_file": [sentence]}
    assert on_file(cast.shop) == []


def test_a_file_that_is_too_big_is_not_even_opened(console, cast, monkeypatch):
    monkeypatch.setattr("crm.admin.files.MAX_BYTES", 10)
    response = upload(console, cast.shop, FILE)
    assert response.context["form"].errors == {
        "import_file": ["This file is larger than 0 MB. Split it, and import the parts."]
    }


def test_an_import_says_whose_customers_they_are(console, cast):
    response = console.post(IMPORT, {"import_file": SimpleUploadedFile("a.csv", FILE.encode()), "resource": "0"})
    assert response.context["form"].errors == {"business": ["This field is required."]}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("name;phone\nAnn Ames;+15551234501\n", "a.csv"),
        ('\ufeffname,phone\r\n"Ann Ames",+15551234501\r\n', "a.csv"),
        ("name\tphone\nAnn Ames\t+15551234501\n", "a.tsv"),
        ('[{"name": "Ann Ames", "phone": "+15551234501"}]', "a.json"),
        ("name,phone\n'Ann Ames,'+15551234501\n".replace("'Ann", "Ann"), "a.csv"),
    ],
    ids=["semicolons", "byte order mark", "tabs", "json", "quoted number"],
)
def test_the_usual_kinds_of_file_are_read(console, cast, content, name):
    confirm(console, upload(console, cast.shop, content, name))
    assert on_file(cast.shop) == [("Ann Ames", "+15551234501", "", "", "", [])]


def test_a_large_file_takes_as_many_statements_as_a_small_one(cast, sue):
    def statements(count: int) -> int:
        rows = "".join(f"Customer {n},+1555{2_000_000 + n}\n" for n in range(count))
        dataset = Csv().create_dataset("name,phone\n" + rows)
        with CaptureQueriesContext(connection) as captured:
            result = resources.CustomerResource(business=cast.shop).import_data(
                dataset, dry_run=True, user=sue, file_name="a.csv"
            )
        assert result.totals["new"] == count
        return len(captured)

    assert statements(900) == statements(3)


def test_who_may_only_look_imports_nothing(client, cast):
    viewer = User.objects.create_user("viewer@example.com", "correct horse battery", is_staff=True)
    client.force_login(viewer)
    assert upload(client, cast.shop, FILE).status_code == 403
    assert client.post(PROCESS, {}).status_code == 403
    assert client.get(EXPORT).status_code == 403


# --- Export ----------------------------------------------------------------------------------------------------------

EVIL = ["=1+1", "+15551234567", "-5", "@x", "\t=1", '"a";=1', "'=1", "+1-1", "plain", "two\nlines", "", "ü, ñ"]


def download(console, business: Business, kind: str = "0", query: str = ""):
    return console.post(EXPORT + query, {"business": str(business.pk), "format": kind})


def test_a_formula_leaves_as_text_and_a_number_as_it_is(console, cast, sue):
    ann(cast.shop, name="=HYPERLINK(1)", notes="@SUM(1)", address="-5 Oak St")
    response = download(console, cast.shop)
    rows = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert rows == [
        {
            "name": "'=HYPERLINK(1)",
            "phone": "+15551234501",
            "email": "",
            "address": "'-5 Oak St",
            "notes": "'@SUM(1)",
            "tags": "",
        }
    ]
    event = AuditEvent.objects.get()
    assert (event.actor, event.action, event.target) == (sue, "customers exported", "customers of alice")
    assert event.changes == {
        "file": ["", f"customers-alice-{timezone.now():%Y-%m-%d}.csv"],
        "rows": ["", "1"],
        "filter": ["", ""],
    }
    assert response.headers["Content-Disposition"] == f'attachment; filename="{event.changes["file"][1]}"'


def test_an_export_holds_one_business_and_nobody_twice(console, cast):
    kept, dropped = ann(cast.shop), ann(cast.shop, name="A. Ames", phone="+15551234502")
    merge_customers(kept=kept, dropped=dropped, actor=None, now=timezone.now())
    ann(cast.next_door, name="Ann Next")
    assert [row["name"] for row in json.loads(download(console, cast.shop, "2").content)] == ["Ann Ames"]


def test_an_export_is_the_list_as_it_is_filtered(console, cast):
    ann(cast.shop)
    ann(cast.shop, name="Ben Burns", phone="+15551234502")
    assert [row["name"] for row in json.loads(download(console, cast.shop, "2", "?q=ben").content)] == ["Ben Burns"]
    assert AuditEvent.objects.get().changes["filter"] == ["", "q=ben"]


def test_an_export_that_is_too_long_says_what_to_do(console, cast, monkeypatch):
    monkeypatch.setattr("crm.admin.files.MAX_EXPORT", 1)
    ann(cast.shop)
    ann(cast.shop, phone="+15551234502")
    response = download(console, cast.shop)
    assert response.context["form"].non_field_errors() == [
        "These are more than 1 customers. Narrow the list with a search or a filter first."
    ]
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(("kind", "name"), [("0", "a.csv"), ("1", "a.tsv"), ("2", "a.json")])
def test_what_was_exported_comes_back_the_same(console, cast, kind, name):
    for n, value in enumerate(EVIL):
        ann(cast.shop, name=f"Customer {n}", phone=f"+1555123{4500 + n}", notes=value, tags=["vip", "annual"])
    content = download(console, cast.shop, kind).content
    preview = upload(console, cast.next_door, content, name)
    assert preview.context["result"].totals["new"] == len(EVIL)
    confirm(console, preview)
    assert sorted(on_file(cast.next_door)) == sorted(on_file(cast.shop))


@given(st.text())
def test_a_quoted_cell_is_no_formula_and_comes_back_as_it_was(cell):
    written = quote(cell)
    assert written[:1] not in set("=-@\t\r\n")
    assert not written.startswith("+") or written == cell
    assert unquote(written) == (cell if written != cell else cell.strip())


@pytest.mark.parametrize("kind", [Csv, Tsv, Json])
def test_a_cell_no_database_can_hold_loses_that_character(kind):
    dataset = kind().create_dataset('[{"name": "A\\u0000nn"}]' if kind is Json else "name\nA\x00nn\n")
    assert dataset.dict[0]["name"] == "Ann"


def test_a_file_that_is_no_longer_there_is_told(cast):
    with pytest.raises(UnreadableFile, match="no longer here"):
        Csv().create_dataset(None)
