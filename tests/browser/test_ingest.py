"""Staff load a file of leads in a real browser: what is wrong with it comes back, is put right, and stands on the shelf."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from crm.models import Heartbeat, User
from marketplace import tasks
from marketplace.services import ingest
from tests.marketplace.lead_files import a_row, csv_bytes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_file_is_loaded_and_its_bad_row_put_right(sit_down, settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(tasks, "wake", lambda task: None)  # the test is the worker
    User.objects.create_superuser("sue@example.com", "correct horse battery", name="Sue Staff")
    Heartbeat.objects.create(name="worker", at=timezone.now() + timedelta(minutes=1))
    desk = sit_down(width=360)
    page = desk.page
    desk.open("/admin/login/?next=/admin/marketplace/ingestrun/")
    page.get_by_label("E-mail address").fill("sue@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Load a file").click()

    rows = [a_row(1), a_row(2, call_in_date="last spring"), a_row(3, state="TX")]
    page.get_by_label("File").set_input_files({"name": "la.csv", "mimeType": "text/csv", "buffer": csv_bytes(rows)})
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="la.csv", level=1)).to_be_visible()
    expect(page.get_by_text("0 of about 3 rows, 0%")).to_be_visible()
    assert not desk.scrolls_sideways

    now = timezone.now()
    run = ingest.take_waiting(now=now)
    ingest.work_on(run=run, clock=timezone.now, until=now, stretch=1)  # as if the worker had to stop after one row
    expect(page.get_by_text("1 of about 3 rows, 33%")).to_be_visible()
    assert page.get_by_role("progressbar").get_attribute("value") == "33"
    tasks.ingest_files()
    expect(page.get_by_text(re.compile("3 rows read in"))).to_be_visible()

    problem = page.get_by_text("“last spring” is not a date")
    problem.click()
    expect(page.get_by_text("(318) 555-0123")).to_be_visible()
    assert not desk.scrolls_sideways
    with page.expect_download() as download:
        page.get_by_role("link", name="Download it as a file").click()
    handed_back = download.value.path().read_text()
    assert download.value.suggested_filename == "to-put-right-la.csv"

    page.get_by_role("link", name="Load another file").click()
    mended = handed_back.replace("last spring", "03-31-2025 09:30:00").encode()
    page.get_by_label("File").set_input_files({"name": "mended.csv", "mimeType": "text/csv", "buffer": mended})
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_text("0 of about 1 rows, 0%")).to_be_visible()
    tasks.ingest_files()
    page.reload()
    expect(page.get_by_text("Every row could be read.")).to_be_visible()

    page.get_by_role("link", name="The shelf", exact=True).click()
    expect(page.get_by_text(re.compile("3 for sale at "))).to_be_visible()
    page.get_by_role("link", name=re.compile(r"^1 Gold, .*, TX$")).click()
    expect(page.get_by_role("link", name="Caddo, TX")).to_be_visible()
    assert desk.complaints == []
