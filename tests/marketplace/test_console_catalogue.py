"""The staff console of the catalogue: the shelf, leads and what happened to them, files, and people never sold."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from crm import consent
from crm.enums import ConsentSource
from crm.models import AuditEvent, Heartbeat, User
from crm.scoping import every_business, only
from crm.services import Refused
from marketplace import lead_log, marks, tasks
from marketplace.admin import shelf
from marketplace.admin.ingest import say_size
from marketplace.enums import ClosedBecause, ExportProfile, GoneBecause, IngestStatus, ReturnReason
from marketplace.models import (
    AgedLead,
    GonePerson,
    IngestProblem,
    IngestRun,
    InventoryItem,
    PricingRule,
    Recall,
    RecallNotice,
    Stock,
    WebhookDelivery,
)
from marketplace.services import exports, ingest, inventory, purchases, recalls, returns, withdrawals
from tests.conftest import NOW
from tests.console import choose, confirm, list_of, page_of, told
from tests.crowd import all_at_once, until_somebody_waits
from tests.marketplace.lead_files import a_row, csv_bytes
from tests.marketplace.stock import a_buyer, a_lead, a_phone, an_item, items, start_prices
from tests.pages import words_of

pytestmark = pytest.mark.django_db
SHELF = "/admin/marketplace/stock/"
UPLOAD = "/admin/marketplace/ingestrun/add/"
ADD = "/admin/marketplace/goneperson/add/"


@pytest.fixture(autouse=True)
def _stage(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(tasks, "wake", lambda task: woken.append(task.name))
    woken.clear()
    with every_business():
        yield


woken: list[str] = []


@pytest.fixture
def sue(db) -> User:
    return User.objects.create_superuser("sue@example.com", "correct horse battery", name="Sue Staff")


@pytest.fixture
def console(client, sue):
    client.force_login(sue, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def now():
    """The console looks at the real clock."""
    return timezone.now()


def somebody_who_may(*permissions: str) -> Client:
    """A member of staff with these permissions only."""
    user = User.objects.create_user("stan@example.com", "correct horse battery", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def listed(client, model, **params) -> list[object]:
    return list(client.get(list_of(model), params).context["cl"].result_list)


def buy(shop, *items, now) -> None:
    with only(shop):
        purchases.buy_items(business=shop, item_ids=[item.pk for item in items], by="Alice Ames", now=now)


# --- The shelf ---------------------------------------------------------------------------------------------------------


def test_the_shelf_counts_every_class_age_and_state_and_each_number_leads_to_its_items(console, now):
    start_prices(now)
    items(3, now=now)
    items(2, now=now, days=100, state="TX", classification="Silver")
    items(1, now=now, days=800, state="TX")
    an_item(now=now - timedelta(days=80))  # rolled over for the last time when it was 200 days old; now it is 280

    found = console.get(SHELF).context["sheets"]

    assert [(sheet.classification, sheet.total) for sheet in found] == [("Gold", 4), ("Silver", 2)]
    gold = found[0]
    assert [(column.label, column.price, column.total) for column in gold.columns] == [
        ("3–5", "$10", 0), ("6–8", "$8", 3), ("9–11", "$6", 0), ("12–23", "$5", 0), ("24+", "$4", 1),
    ]  # fmt: skip
    assert [(row.state, [spot.count for spot in row.spots], row.total) for row in gold.rows] == [
        ("LA", [0, 3, 0, 0, 0], 3), ("TX", [0, 0, 0, 0, 1], 1),
    ]  # fmt: skip
    assert [spot.shade for spot in gold.rows[0].spots] == [0, shelf.SHADES, 0, 0, 0]
    for sheet in found:
        for spot in (spot for row in sheet.rows for spot in row.spots if spot.count):
            assert console.get(spot.url).context["cl"].result_count == spot.count, spot.label


def test_an_empty_shelf_says_what_to_do(console):
    page = console.get(SHELF)
    assert "Nothing is for sale" in words_of(page)
    assert 'href="/admin/marketplace/ingestrun/add/"' in page.content.decode()
    assert "Never rolled over yet." in words_of(page)


def test_the_shelf_names_what_stands_there_without_a_price(console, now):
    start_prices(now)
    PricingRule.objects.filter(classification="Gold", age_bucket="MONTH_6_TO_8").delete()
    an_item(now=now)
    said = words_of(console.get(SHELF))
    assert "No price is set for Gold, 6 to 8 months. Nobody can buy these until there is one." in said


def test_roll_over_now_moves_what_has_aged_and_is_audited(console, sue, now):
    old = an_item(now=now - timedelta(days=80))
    response = console.post(f"{SHELF}roll-over/", follow=True)
    assert told(response) == ["Rolled over: 1 item put on the shelf, 1 grown out of their age."]
    old.refresh_from_db()
    assert old.closed_because == ClosedBecause.AGED_OUT
    event = AuditEvent.objects.get(action="rolled over")
    assert (event.actor, event.changes) == (sue, {"put on the shelf": 1, "closed": 1})
    assert "Last rolled over 0 minutes ago" in words_of(response)


def test_a_roll_over_that_takes_long_goes_on_in_the_background(console, sue, monkeypatch):
    def slowly(*, now):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO marketplace_rolledover (id, until) VALUES (1, now())")
            cursor.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr(inventory, "roll_over", slowly)
    monkeypatch.setattr(shelf, "PATIENCE", 50)
    response = console.post(f"{SHELF}roll-over/", follow=True)
    assert told(response) == [
        "This takes longer than a page may wait. It goes on in the background; look again in a few minutes."
    ]
    assert woken == ["marketplace.tasks.roll_over"]
    assert AuditEvent.objects.get().action == "roll-over asked for"
    assert "Never rolled over yet." in words_of(response)  # what was begun is undone


def test_counting_again_finds_where_the_stock_is_wrong(console, now):
    an_item(now=now)
    assert told(console.post(f"{SHELF}count/", follow=True)) == ["Counted item by item: the stock and the shelf agree."]
    Stock.objects.create(classification="Gold", age_bucket="MONTH_6_TO_8", state="LA", county="Caddo", available=4)
    assert told(console.post(f"{SHELF}count/", follow=True)) == [
        "Gold MONTH_6_TO_8 in Caddo, LA: the stock says 5, the shelf holds 1."
    ]


def test_who_only_looks_at_the_shelf_cannot_move_it(now):
    an_item(now=now)
    stan = somebody_who_may("view_stock")
    page = stan.get(SHELF)
    assert page.context["sheets"][0].rows[0].spots[1].url == ""  # nor may he see the items
    assert "Roll over now" not in words_of(page)
    assert stan.post(f"{SHELF}roll-over/").status_code == 403
    assert stan.post(f"{SHELF}count/").status_code == 403
    assert stan.get(list_of(InventoryItem)).status_code == 403
    assert not AuditEvent.objects.exists()


def test_a_link_alone_does_not_roll_over(console):
    assert console.get(f"{SHELF}roll-over/").status_code == 405
    assert not AuditEvent.objects.exists()


# --- Items ---------------------------------------------------------------------------------------------------------------


def test_items_are_found_by_what_became_of_them(console, cast, now):
    start_prices(now)
    a_buyer(cast.shop)
    young, old, sold, withdrawn, gone, grown = items(6, now=now)
    InventoryItem.objects.filter(pk=old.pk).update(called_in_at=now - timedelta(days=260))
    InventoryItem.objects.filter(pk=grown.pk).update(called_in_at=now - timedelta(days=300))
    buy(cast.shop, sold, now=now)
    withdrawals.withdraw(lead_id=withdrawn.lead_id, reason="Broken", actor=None, now=now)
    recalls.forget(phone=gone.lead.phone, because=GoneBecause.OPTED_OUT, told_by="", now=now)

    assert listed(console, InventoryItem, status="sold") == [sold]
    assert listed(console, InventoryItem, status="withdrawn") == [withdrawn]
    assert listed(console, InventoryItem, status="opted_out") == [gone]
    assert listed(console, InventoryItem, status="erased") == []
    assert set(listed(console, InventoryItem, status="for_sale")) == {young, old}
    cell = {"status": "for_sale", "class": "Gold", "bucket": "MONTH_6_TO_8", "state": "LA"}
    assert listed(console, InventoryItem, **cell) == [old, young]  # as they are sold: the oldest first
    assert listed(console, InventoryItem, **(cell | {"state": "TX"})) == []
    assert listed(console, InventoryItem, q=str(sold.lead_id)) == [sold]
    said = words_of(console.get(page_of(grown)))
    assert "Has grown out of this age; the next roll-over closes it" in said
    assert "Sold to Alice Plumbing for $8.00 ( P-" in words_of(console.get(page_of(sold)))
    alone = console.get(list_of(InventoryItem), {"state": "LA"}, follow=True)
    assert alone.redirect_chain == [("?state=LA&status=for_sale", 302)]  # which the page then says
    assert set(alone.context["cl"].result_list) == {young, old}


def test_leads_are_found_by_age_by_the_shelf_and_by_number(console, now):
    phone = a_phone()
    young, here = a_lead(now=now, days=10), a_lead(now=now)
    there = an_item(a_lead(now=now, days=400, state="TX", phone=phone)).lead

    assert listed(console, AgedLead, bucket="young") == [young]
    assert listed(console, AgedLead, bucket="MONTH_6_TO_8") == [here]
    assert listed(console, AgedLead, bucket="MONTH_12_TO_23", **{"class": "Gold"}) == [there]
    assert listed(console, AgedLead, state="TX") == [there]
    assert listed(console, AgedLead, q=f"({phone[2:5]}) {phone[5:8]}-{phone[8:]}") == [there]
    assert listed(console, AgedLead, q=str(here.pk)) == [here]
    assert listed(console, AgedLead, q="John Moore") == []


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (IngestRun, "No file has been loaded yet."),
        (AgedLead, "There are no leads yet. They come in with files."),
        (InventoryItem, "Nothing has stood on the shelf yet."),
        (GonePerson, "Nobody is blocked yet: no opt-outs, no erasures."),
        (Recall, "No lead has been called back yet."),
        (RecallNotice, "No buyer had to be told of a recall yet."),
        (WebhookDelivery, "No message was sent yet. Buyers name an address for them on their own pages."),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_empty_list_says_why_and_an_empty_search_leads_back(console, model, sentence):
    assert sentence in words_of(console.get(list_of(model)))
    assert "Nothing fits. Show all" in words_of(console.get(list_of(model), {"q": "nobody"}))


# --- Withdrawing ---------------------------------------------------------------------------------------------------------


def test_a_lead_is_withdrawn_at_every_age_until_it_is_put_back(console, sue, now):
    lead = an_item(now=now).lead
    asked = choose(console, "withdraw", lead)
    assert "Nobody can buy it any more, at no age, until it is put back." in words_of(asked)
    assert lead.items.get().closed_at is None

    assert told(confirm(console, "withdraw", lead, reason="Wrong names")) == ["1 withdrawn from sale."]
    item = lead.items.get()
    assert item.closed_because == ClosedBecause.WITHDRAWN
    event = AuditEvent.objects.get(action="lead withdrawn")
    assert (event.actor, event.target, event.reason) == (sue, f"lead:{lead.pk}", "Wrong names")

    later = now + timedelta(days=90)
    assert inventory.roll_over(now=later) == inventory.Rolled(created=0, closed=0)
    assert withdrawals.put_back(lead_id=lead.pk, reason="Mended", actor=sue, now=later) is True
    assert list(lead.items.order_by("created_at").values_list("age_bucket", "closed_because")) == [
        ("MONTH_6_TO_8", ClosedBecause.AGED_OUT),
        ("MONTH_9_TO_11", ""),
    ]


def test_a_withdrawn_item_is_put_back_as_it_was(console, sue, now):
    item = an_item(now=now)
    confirm(console, "withdraw", item, reason="A doubt")
    assert told(confirm(console, "put_back", item, reason="No doubt")) == ["1 put back."]
    item.refresh_from_db()
    assert (item.closed_at, item.closed_because) == (None, "")
    assert inventory.miscounted() == []
    assert list(AuditEvent.objects.order_by("at").values_list("action", "reason")) == [
        ("lead withdrawn", "A doubt"),
        ("lead put back", "No doubt"),
    ]


def test_what_was_sold_is_not_withdrawn_and_what_was_not_withdrawn_is_not_put_back(console, cast, now):
    start_prices(now)
    a_buyer(cast.shop)
    sold, there = items(2, now=now)
    buy(cast.shop, sold, now=now)
    assert told(confirm(console, "withdraw", sold, there, reason="Why not")) == [
        f"{sold}: It is not for sale, so there is nothing to withdraw.",
        "1 withdrawn from sale.",
    ]
    assert told(confirm(console, "put_back", sold, reason="Why not")) == [f"{sold}: It was not withdrawn."]
    sold.refresh_from_db()
    assert (sold.closed_at, AuditEvent.objects.count()) == (None, 1)


def test_nobody_is_withdrawn_without_a_reason(now):
    item = an_item(now=now)
    with pytest.raises(Refused, match="Say why, in a sentence for whoever asks later."):
        withdrawals.withdraw(lead_id=item.lead_id, reason=" ", actor=None, now=now)
    item.refresh_from_db()
    assert item.closed_at is None


@pytest.mark.parametrize("how", ["here", "with a business", "erased"])
def test_who_has_gone_meanwhile_is_not_put_back(cast, now, how):
    lead = an_item(now=now).lead
    withdrawals.withdraw(lead_id=lead.pk, reason="A doubt", actor=None, now=now)
    if how == "with a business":
        consent.revoke(business=cast.shop, phone=lead.phone, source=ConsentSource.TEXT, words="stop", now=now)
    else:
        because = GoneBecause.ERASED if how == "erased" else GoneBecause.OPTED_OUT
        recalls.forget(phone=lead.phone, because=because, told_by="", now=now)
    with pytest.raises(Refused, match="This person has opted out or was erased since then, so it stays off the shelf."):
        withdrawals.put_back(lead_id=lead.pk, reason="Please", actor=None, now=now)
    assert lead.items.get().closed_because == ClosedBecause.WITHDRAWN


def test_a_lead_that_was_sold_at_its_present_age_comes_back_at_the_next(console, cast, now):
    start_prices(now)
    a_buyer(cast.shop)
    lead = a_lead(now=now)
    withdrawals.withdraw(lead_id=an_item(lead, now=now - timedelta(days=80)).lead_id, reason="x", actor=None, now=now)
    present = an_item(lead, now=now)
    buy(cast.shop, present, now=now)
    assert told(confirm(console, "put_back", lead, reason="y")) == [
        f"{lead}: it was sold at its present age; it is for sale again at the next one.",
        "1 put back.",
    ]
    assert inventory.roll_over(now=now + timedelta(days=90)).created == 1


@pytest.mark.django_db(transaction=True)
def test_withdrawing_waits_for_whoever_is_buying_at_that_moment(cast, now):
    start_prices(now)
    a_buyer(cast.shop)
    item = an_item(now=now)
    taken = threading.Event()

    def buying() -> str:
        with only(cast.shop), transaction.atomic():
            purchases.buy_items(business=cast.shop, item_ids=[item.pk], by="", now=now)
            taken.set()
            until_somebody_waits()
        return "bought"

    def withdrawing() -> str:
        taken.wait(timeout=30)
        try:
            withdrawals.withdraw(lead_id=item.lead_id, reason="A doubt", actor=None, now=now)
        except Refused as refusal:
            return str(refusal)
        return "withdrawn"

    assert all_at_once([buying, withdrawing]) == ["bought", "It is not for sale, so there is nothing to withdraw."]
    item.refresh_from_db()
    assert (item.sold_at, item.closed_at) == (now, None)


# --- One lead ------------------------------------------------------------------------------------------------------------


def test_the_log_tells_every_step_of_a_lead_in_order(console, cast, sue):
    start_prices(NOW)
    a_buyer(cast.shop)
    run = IngestRun.objects.create(name="la.csv", sha256="0" * 64, size=1, started_by=sue, created_at=NOW)
    hour = timedelta(hours=1)
    lead = a_lead(days=170, run=run)
    item = an_item(lead)
    withdrawals.withdraw(lead_id=lead.pk, reason="A doubt", actor=sue, now=NOW + hour)
    withdrawals.put_back(lead_id=lead.pk, reason="No doubt", actor=sue, now=NOW + 2 * hour)
    inventory.roll_over(now=NOW + timedelta(days=20))
    day = NOW + timedelta(days=21)
    with only(cast.shop):
        item = lead.items.get(age_bucket="MONTH_6_TO_8")
        quote = purchases.quote_items(business=cast.shop, item_ids=[item.pk], now=day)
        bought = purchases.buy_quote(business=cast.shop, quote_id=quote.pk, by="Alice", now=day + hour / 6)
        export = exports.ready_or_build(
            business=cast.shop, profile=ExportProfile.CSV, by="Alice Ames", sale_ids=bought.sale_ids, now=day + hour
        )
        exports.opened(export=export, by="Alice Ames", request_sender="", now=day + 2 * hour).close()
        row = returns.ask(
            business=cast.shop, sale_id=bought.sale_ids[0], reason=ReturnReason.OTHER, note="Rude", by="Alice",
            now=day + 3 * hour,
        )  # fmt: skip
        returns.decline(row=row, actor=sue, decision="Being rude is no reason.", now=day + 4 * hour)
    phone = lead.phone
    recalls.forget(phone=phone, because=GoneBecause.ERASED, told_by="", now=day + 5 * hour)
    notice = RecallNotice.objects.get()
    recalls.acknowledge(business=cast.shop, notice_ids=[notice.pk], by="Alice Ames", now=day + 6 * hour)
    lead.refresh_from_db()

    told_steps = [f"{step.text} {step.business}" if step.business else step.text for step in lead_log.read(lead).steps]

    assert told_steps == [
        "Called in from Caddo, LA",
        "Came in with la.csv",
        "Put on the shelf, “3 to 5 months”",
        "Withdrawn from sale",
        "Put back on the shelf",
        "Grew out of “3 to 5 months” unsold",
        "Put on the shelf, “6 to 8 months”",
        "Quoted to Alice Plumbing",
        f"Sold for $8.00 ({bought.purchase}) to Alice Plumbing",
        "Put into a file of Alice Plumbing",
        "Downloaded by Alice Ames of Alice Plumbing",
        "Returned (Something else) by Alice Plumbing",
        "Return declined",
        "The file was withdrawn from Alice Plumbing",
        "Called back: erased on request",
        "The recall was told to Alice Plumbing",
        "Emptied of everything that said who it was",
        "The recall was confirmed by Alice Plumbing",
    ]
    page = console.get(page_of(lead))
    said = words_of(page)
    assert "sue@example.com: No doubt" in said
    assert "The price by the rule of " in said
    assert "Being rude is no reason." in said
    assert f'href="/admin/marketplace/ingestrun/{run.pk}/change/"' in page.content.decode()
    assert page.content.decode().count('<span class="quiet">erased</span>') == 17  # of 25 columns
    assert (phone in page.content.decode(), "John" in said) == (False, False)


def test_the_log_tells_of_replacements_on_both_sides(cast):
    start_prices(NOW)
    a_buyer(cast.shop)
    given_back, instead = items(2)
    with only(cast.shop):
        bought = purchases.buy_items(business=cast.shop, item_ids=[given_back.pk], by="", now=NOW)
        row = returns.ask(
            business=cast.shop, sale_id=bought.sale_ids[0], reason=ReturnReason.OTHER, note="", by="", now=NOW
        )
        returns.accept(row=row, actor=cast.alice, decision="Sorry.", now=NOW + timedelta(hours=1))
    steps = lead_log.read(given_back.lead).steps
    assert (steps[-1].text, steps[-1].about) == ("Return accepted, replaced by another lead", instead.lead)
    came = lead_log.read(instead.lead).steps[-2:]
    assert [(step.text, step.detail) for step in came] == [
        (
            f"Sold for $0.00 ({bought.purchase}) to",
            "6 to 8 months. No charge: it came in place of a lead that was returned.",
        ),
        ("Given in place of a returned lead to", ""),
    ]
    assert came[1].about == given_back.lead


def test_a_price_that_was_quoted_before_it_changed_is_explained(cast):
    start_prices(NOW)
    a_buyer(cast.shop)
    item = an_item()
    with only(cast.shop):
        quote = purchases.quote_items(business=cast.shop, item_ids=[item.pk], now=NOW)
        PricingRule.objects.filter(classification="Gold", age_bucket="MONTH_6_TO_8").update(price=Decimal("9.00"))
        purchases.buy_quote(business=cast.shop, quote_id=quote.pk, by="", now=NOW)
    sold = lead_log.read(item.lead).steps[-1]
    assert sold.detail == "6 to 8 months. The price of the quote; another one was in force when it was bought."


def test_a_page_offers_what_can_be_done_with_this_lead(console, now):
    def offered(lead: AgedLead) -> list[str]:
        return [name for name, _ in console.get(page_of(lead)).context["staff_actions"]]

    lead = an_item(now=now).lead
    assert offered(lead) == ["withdraw", "opt_out", "erase"]
    withdrawals.withdraw(lead_id=lead.pk, reason="x", actor=None, now=now)
    assert offered(lead) == ["put_back", "opt_out", "erase"]
    assert offered(a_lead(now=now, days=10, phone="")) == []
    assert "Too young to sell" in words_of(console.get(page_of(a_lead(now=now, days=10))))


# --- Somebody goes -------------------------------------------------------------------------------------------------------


def test_erasing_a_person_names_the_consequences_first(console, cast, sue, now):
    start_prices(now)
    a_buyer(cast.shop)
    a_buyer(cast.next_door)
    phone = a_phone()
    first, second = an_item(now=now, phone=phone), an_item(now=now, phone=phone, days=400)
    an_item(now=now)  # somebody else
    buy(cast.shop, first, now=now)
    buy(cast.next_door, second, now=now)
    an_item(now=now, phone=phone, days=100)

    asked = words_of(choose(console, "erase", first.lead))
    assert "3 leads have this number, 1 for sale. 2 sales to 2 buyers will be recalled." in asked
    assert "This cannot be undone." in asked
    assert AgedLead.objects.filter(erased_at__isnull=False).count() == 0

    response = confirm(console, "erase", first.lead)
    assert told(response) == ["3 leads called back: 1 taken off the shelf, 2 sales recalled."]
    assert AgedLead.objects.filter(erased_at__isnull=False, full_name="", phone="").count() == 3
    event = AuditEvent.objects.get(action="person erased")
    assert (event.actor, event.target) == (sue, f"the number ending in {phone[-4:]}")
    assert "Erased" in words_of(console.get(list_of(AgedLead)))
    lead = AgedLead.objects.get(pk=first.lead_id)
    assert told(confirm(console, "erase", lead)) == [f"{lead}: it was erased before."]


def test_a_lead_without_a_number_cannot_be_forgotten_by_it(console, now):
    lead = a_lead(now=now, phone="")
    assert told(confirm(console, "opt_out", lead)) == [
        f"{lead}: it has no phone number by which to know the person again."
    ]
    assert not GonePerson.objects.exists()


def test_an_opt_out_told_to_staff_takes_the_person_off_the_shelf(console, sue, now):
    item = an_item(now=now)
    said = told(confirm(console, "opt_out", item.lead))
    assert said == ["1 lead called back: 1 taken off the shelf, 0 sales recalled."]
    item.refresh_from_db()
    assert item.closed_because == ClosedBecause.OPTED_OUT
    assert AuditEvent.objects.get(action="person opted out").actor == sue
    assert AgedLead.objects.get().full_name == "John Moore"


def test_who_may_not_forget_people_is_not_offered_it(now):
    lead = an_item(now=now).lead
    stan = somebody_who_may("view_agedlead", "change_agedlead", "view_goneperson")
    assert [name for name, _ in stan.get(page_of(lead)).context["staff_actions"]] == ["withdraw"]
    confirm(stan, "erase", lead)
    assert stan.get(ADD).status_code == 403
    assert stan.post("/admin/marketplace/goneperson/upload/").status_code == 403
    lead.refresh_from_db()
    assert (lead.erased_at, GonePerson.objects.count()) == (None, 0)


def test_who_may_not_see_leads_sees_no_numbers(now):
    lead = an_item(now=now).lead
    stan = somebody_who_may("view_inventoryitem", "view_goneperson")
    assert stan.get(page_of(lead)).status_code == 403
    for address in (list_of(InventoryItem), page_of(lead.items.get())):
        page = stan.get(address).content.decode()
        assert (lead.phone in page, "John Moore" in page) == (False, False)
    answer = stan.post("/admin/marketplace/goneperson/look-up/", {"who": lead.phone})
    assert "Leads with this number" not in words_of(answer)


# --- Files ---------------------------------------------------------------------------------------------------------------


GOOD, BAD = a_row(1), a_row(2, call_in_date="yesterday")


def upload(client, content: bytes = csv_bytes([GOOD, BAD]), name: str = "la.csv", **data: str):
    return client.post(UPLOAD, {"file": SimpleUploadedFile(name, content), **data}, follow=True)


def test_a_file_is_uploaded_read_put_right_and_uploaded_again(console, sue, now):
    page = upload(console)
    run = IngestRun.objects.get()
    assert (run.status, run.started_by, run.total_rows) == (IngestStatus.WAITING, sue, 2)
    assert page.redirect_chain == [(page_of(run), 302)]
    assert woken == ["marketplace.tasks.ingest_files"]
    assert "0 of about 2 rows, 0%" in words_of(page)
    assert "No worker has been heard of for a minute." in words_of(page)
    Heartbeat.objects.create(name="worker", at=timezone.now())
    assert "You can leave this page; it goes on by itself." in words_of(console.get(page_of(run)))
    event = AuditEvent.objects.get(action="file of leads uploaded")
    assert (event.actor, event.changes) == (sue, {"rows": ["", "2"], "only tried out": ["", "no"]})

    assert tasks.ingest_files() == 1
    page = console.get(page_of(run))
    said = words_of(page)
    assert "Done 2 rows read in " in said
    assert "Loaded 1 1 Gold, 0 Silver" in said
    assert "1 row not taken" in said
    assert [(problem.number, problem.text) for problem in page.context["problems"]] == [
        (3, IngestProblem.objects.get().problem)
    ]
    assert "“yesterday” is not a date" in said
    assert "Borrower Phone (318) 555-0123" in said

    download = console.get(page.context["problems_url"])
    assert download["Content-Disposition"] == 'attachment; filename="to-put-right-la.csv"'
    assert AuditEvent.objects.get(action="rows not taken downloaded").actor == sue
    mended = b"".join(download.streaming_content).decode().replace("yesterday", GOOD["Call In Date"])
    upload(console, mended.encode(), "to-put-right-la.csv")
    tasks.ingest_files()
    assert AgedLead.objects.count() == 2
    assert console.get(SHELF).context["total"] == 2
    assert listed(console, AgedLead, run__id__exact=str(run.pk)) == [run.leads.get()]


def test_the_page_that_watches_is_loaded_anew_when_the_file_has_ended(console):
    upload(console)
    run = IngestRun.objects.get()
    watching = {"headers": {"HX-Request": "true"}}
    assert "HX-Refresh" not in console.get(page_of(run), **watching)
    tasks.ingest_files()
    assert console.get(page_of(run), **watching)["HX-Refresh"] == "true"
    assert "HX-Refresh" not in console.get(page_of(run))


def test_the_same_file_again_is_told_with_who_loaded_it(console):
    upload(console)
    first = IngestRun.objects.get()
    tasks.ingest_files()
    again = upload(console, name="again.csv")
    assert "This very file was loaded on" in words_of(again)
    assert "by sue@example.com. Nothing new will come of it." in words_of(again)
    tasks.ingest_files()
    assert AgedLead.objects.count() == 1
    assert "This very file" not in words_of(console.get(page_of(first)))  # nothing had been loaded before the first


def test_a_try_keeps_nothing_but_its_result(console):
    upload(console, dry_run="on")
    tasks.ingest_files()
    run = IngestRun.objects.get()
    said = words_of(console.get(page_of(run)))
    assert "Only tried out: nothing of it is kept." in said
    assert "Would be loaded 1" in said
    assert "The leads that came in" not in said
    assert AgedLead.objects.count() == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The submitted file is empty."),
        (None, "This field is required."),
        (b"x" * 300, "This file is larger than 200 bytes. Split it and upload the parts, or load it"),
        (b"x" * 20_000, "This file is larger than 200 bytes. Split it and upload the parts, or load it"),
    ],
    ids=["empty", "none", "a little too large", "far too large"],
)
def test_what_is_no_file_or_too_much_of_one_is_refused_on_the_form(console, settings, content, sentence):
    settings.INGEST_MAX_BYTES = 200
    answer = console.post(UPLOAD) if content is None else upload(console, content)
    assert answer.context["form"].errors["file"][0].startswith(sentence)
    assert (IngestRun.objects.count(), woken, AuditEvent.objects.count()) == (0, [], 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04 a workbook", "This is an Excel workbook, not a CSV file."),
        (b"Name,State\nAnn,LA\n", "CSV missing required columns: Call In Date"),
    ],
    ids=["a workbook", "headings"],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(console, content, sentence):
    said = words_of(upload(console, content))
    assert f"Refused {sentence}" in said
    assert (AgedLead.objects.count(), woken) == (0, [])


def test_a_file_goes_to_disk_and_not_into_memory(console, monkeypatch):
    seen = []
    begin = ingest.begin
    monkeypatch.setattr(ingest, "begin", lambda **given: seen.append(type(given["source"])) or begin(**given))
    upload(console)
    assert seen == [TemporaryUploadedFile]


def test_an_upload_needs_the_token_of_the_page(sue):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(sue, backend="django.contrib.auth.backends.ModelBackend")
    assert upload(strict).status_code == 403
    assert not IngestRun.objects.exists()
    token = strict.get(UPLOAD).cookies["csrftoken"].value
    assert upload(strict, csrfmiddlewaretoken=token).status_code == 200
    assert IngestRun.objects.count() == 1


def test_who_may_only_look_at_files_loads_and_stops_none(now):
    run = IngestRun.objects.create(name="la.csv", sha256="0" * 64, size=1, created_at=now)
    stan = somebody_who_may("view_ingestrun")
    assert stan.get(UPLOAD).status_code == 403
    assert upload(stan).status_code == 403
    page = stan.get(page_of(run))
    assert (page.context["may_stop"], page.context["may_load"]) == (False, False)
    confirm(stan, "stop", run)
    run.refresh_from_db()
    assert run.status == IngestStatus.WAITING
    assert Client().get(f"/admin/marketplace/ingestrun/{run.pk}/problems.csv").status_code == 302
    somebody = User.objects.create_user("nina@example.com", "x", is_staff=True)
    nina = Client()
    nina.force_login(somebody, backend="django.contrib.auth.backends.ModelBackend")
    assert nina.get(page_of(run)).status_code == 403
    assert nina.get(f"/admin/marketplace/ingestrun/{run.pk}/problems.csv").status_code == 403


def test_reading_is_stopped_after_asking_once(console, sue):
    upload(console)
    run = IngestRun.objects.get()
    assert listed(console, IngestRun, state="unfinished") == [run]
    assert "What was loaded stays." in words_of(choose(console, "stop", run))
    assert told(confirm(console, "stop", run)) == ["1 stopped."]
    assert tasks.ingest_files() == 0
    assert (listed(console, IngestRun, state="unfinished"), listed(console, IngestRun, state="stopped")) == ([], [run])
    assert "Stopped after 0 of about 2 rows." in words_of(console.get(page_of(run)))
    event = AuditEvent.objects.get(action="file stopped")
    assert (event.actor, event.changes) == (sue, {"status": ["waiting", "stopped"]})
    assert told(confirm(console, "stop", run)) == ["la.csv: that was so already."]


def test_a_million_problems_are_paged_by_their_rows(console, now):
    run = IngestRun.objects.create(
        name="la.csv", sha256="0" * 64, size=1, status="done", done_rows=60, failed=60, created_at=now, finished_at=now
    )
    IngestProblem.objects.bulk_create(
        IngestProblem(run=run, row_number=n, kind="failed", problem=f"Wrong {n}", row={}) for n in range(2, 62)
    )
    first = console.get(page_of(run))
    assert ([p.number for p in first.context["problems"]], first.context["after"]) == (list(range(2, 52)), 51)
    second = console.get(page_of(run), {"after": "51"})
    assert ([p.number for p in second.context["problems"]], second.context["after"]) == (list(range(52, 62)), None)
    assert "From the first" in words_of(second)
    for nonsense in ("x", "-1", "9" * 30, "²"):
        assert console.get(page_of(run), {"after": nonsense}).context["problems"][0].number == 2


@pytest.mark.parametrize(
    ("count", "words"), [(812, "812 bytes"), (766_200, "766 KB"), (812_345_678, "812.3 MB"), (2_000_000_000, "2.0 GB")]
)
def test_a_size_is_said_as_one_says_it(count, words):
    assert say_size(count) == words


# --- People never sold -----------------------------------------------------------------------------------------------------


def test_somebody_is_added_after_a_look_at_the_consequences(console, sue, now):
    item = an_item(now=now, phone="+15045550199")
    asked = console.post(ADD, {"phone": "(504) 555-0199", "because": "erased"})
    assert "(504) 555-0199: erased on request?" in words_of(asked)
    assert "1 lead has this number, 1 for sale. Nobody has bought them." in words_of(asked)
    assert not GonePerson.objects.exists()

    sure = {"phone": "+15045550199", "because": "erased", "confirmed": "Erase"}
    assert told(console.post(ADD, sure, follow=True)) == [
        "1 lead called back: 1 taken off the shelf, 0 sales recalled."
    ]
    item.lead.refresh_from_db()
    assert item.lead.phone == ""
    row = GonePerson.objects.get(mark=marks.mark_of("+15045550199"))
    assert (row.because, row.told_by) == (GoneBecause.ERASED, "sue@example.com")
    assert AuditEvent.objects.get().actor == sue
    page = console.get(list_of(GonePerson))
    assert page.context["cl"].result_count == 1  # and not the mark of nobody beside it
    assert "5550199" not in page.content.decode()
    assert listed(console, GonePerson, q="504-555-0199") == [row]
    assert listed(console, GonePerson, q=hashlib.sha256(b"+15045550199").hexdigest()) == [row]
    assert listed(console, GonePerson, q="504-555-0198") == []


def test_what_is_no_number_is_refused_with_what_was_typed(console):
    answer = console.post(ADD, {"phone": "12", "because": "erased", "confirmed": "Erase"})
    assert "Phone number: '12'" in answer.context["form"].errors["phone"][0]
    assert not GonePerson.objects.exists()


def test_a_list_of_people_is_taken_in_with_its_counts(console, sue, now):
    item = an_item(now=now)
    known = a_phone()
    recalls.forget(phone=known, because=GoneBecause.OPTED_OUT, told_by="", now=now)
    hashed = hashlib.sha256(b"+15045550197").hexdigest()
    content = f"phone\n{item.lead.phone}\n{hashed}\n{known}\nnobody 12345\n".encode()
    data = {"because": "opted_out", "told_by": "DROP list of November", "sure": "on"}
    where = "/admin/marketplace/goneperson/upload/"

    answer = console.post(where, {"file": SimpleUploadedFile("drop.csv", content), **data})

    said = words_of(answer)
    assert "4 rows read: 2 new, 1 known before, 1 refused." in said
    assert "1 lead called back: 1 taken off the shelf, 0 sales recalled." in said
    assert "Row 5: neither a phone number nor a SHA-256 of one." in said
    item.refresh_from_db()
    assert item.closed_because == ClosedBecause.OPTED_OUT
    assert AuditEvent.objects.get(action="list of people forgotten").actor == sue
    unsure = {"file": SimpleUploadedFile("drop.csv", b"504-555-0111\n"), **data, "sure": ""}
    assert console.post(where, unsure).context["form"].errors == {"sure": ["This field is required."]}
    assert GonePerson.objects.filter(mark=marks.mark_of("+15045550111")).count() == 0


def test_a_list_that_is_too_long_for_a_page_is_refused(console, monkeypatch):
    monkeypatch.setattr("marketplace.admin.people.LARGEST_LIST", 10)
    data = {"because": "opted_out", "told_by": "x", "sure": "on", "file": SimpleUploadedFile("a.csv", b"5" * 11)}
    answer = console.post("/admin/marketplace/goneperson/upload/", data)
    assert answer.context["form"].errors == {"file": ["This list is larger than 0 MB. Split it and upload the parts."]}


def test_a_look_up_says_whether_somebody_is_blocked_and_why(console, cast, now):
    lead = a_lead(now=now)

    def look(who: str) -> str:
        return words_of(console.post(reverse("admin:marketplace_goneperson_look_up"), {"who": who}))

    assert "Not blocked." in look(lead.phone)
    assert str(lead) in look(lead.phone)
    consent.revoke(business=cast.shop, phone=lead.phone, source=ConsentSource.TEXT, words="stop", now=now)
    assert "Blocked." in look(lead.phone)
    assert "Opted out with Alice Plumbing on " in look(lead.phone)
    recalls.hear_opt_outs(now=now)
    assert "Opted out on " in look(lead.phone)
    assert "Blocked." in look(hashlib.sha256(lead.phone.encode()).hexdigest())
    assert "No lead of ours has this number." in look("(504) 555-0000")


# --- Recalls -----------------------------------------------------------------------------------------------------------------


def test_staff_see_who_has_not_heard_and_send_a_message_again(console, cast, sue, now):
    start_prices(now)
    a_buyer(cast.shop, webhook_url="https://alice.example/hook")
    a_buyer(cast.next_door)
    phone = a_phone()
    ours, theirs = an_item(now=now, phone=phone), an_item(now=now, phone=phone, days=400)
    buy(cast.shop, ours, now=now)
    buy(cast.next_door, theirs, now=now)
    recalls.forget(phone=phone, because=GoneBecause.OPTED_OUT, told_by="", now=now)
    heard = RecallNotice.objects.get(business=cast.next_door)
    recalls.acknowledge(business=cast.next_door, notice_ids=[heard.pk], by="Charlie", now=now)

    unheard = RecallNotice.objects.get(business=cast.shop)
    assert listed(console, RecallNotice, heard="no") == [unheard]
    assert listed(console, RecallNotice, heard="yes") == [heard]
    assert listed(console, RecallNotice, heard="late") == []
    RecallNotice.objects.update(created_at=now - timedelta(days=4))
    assert listed(console, RecallNotice, heard="late") == [unheard]
    assert listed(console, RecallNotice, q=str(unheard.recall_id)) == [unheard]
    assert listed(console, RecallNotice, q=str(unheard.sale_id)) == [unheard]
    delivery = WebhookDelivery.objects.get()
    assert page_of(delivery) in console.get(page_of(unheard)).content.decode()

    WebhookDelivery.objects.update(status="failed", attempts=16, error="It answered 500.")
    assert listed(console, WebhookDelivery, status__exact="failed") == [delivery]
    assert told(choose(console, "send_again", delivery)) == ["1 on the way again."]
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.error) == ("waiting", 0, "")
    event = AuditEvent.objects.get(action="message sent again")
    assert (event.actor, event.business, event.changes) == (sue, cast.shop, {"status": ["failed", "waiting"]})
    assert told(choose(console, "send_again", delivery)) == [
        f"{delivery}: It is about to be sent. Look again in a few minutes."
    ]
