"""The street side and a buyer's account, as people use them: pages, forms, refusals, files."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from crm.enums import Role
from crm.models import AuditEvent, Business, Membership, SecurityEvent, User
from crm.models.business import check_time_zone
from crm.scoping import every_business, only
from crm.services import add_member
from marketplace.allocation import Criterion
from marketplace.enums import BuyerStatus, DeliveryStatus, GoneBecause, KnownFrom, Terms
from marketplace.forms_account import LARGEST_PASTE, ZONES
from marketplace.marks import mark_of
from marketplace.models import Buyer, Invoice, KnownPhone, KnownUpload, RecallNotice, WebhookDelivery
from marketplace.services import books, buyers, invoices, known, purchases, recalls, webhooks
from marketplace.views.front import FOR_ONE_ADDRESS
from tests.marketplace.stock import a_buyer, an_item, items, start_prices
from tests.pages import page, signed_in, viewer_of, words_of

PASSWORD = "correct horse battery"
FORM = {
    "company": "Dawn Mortgage", "contact_name": "Dana Dole", "email": "dana@example.com", "phone": "(555) 010-4444",
    "time_zone": "America/Denver", "password": PASSWORD,
}  # fmt: skip
SIGN_UP, SENT = "/buyers/sign-up/", "/buyers/sent/"


@pytest.fixture(autouse=True)
def _at_nine(now):
    with time_machine.travel(now, tick=False):
        yield


@pytest.fixture
def posting(django_capture_on_commit_callbacks):
    """Post, and let what was to happen after the commit happen."""

    def post(client, address, data=None, **options):
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(address, data or {}, **options)

    return post


def counts():
    return User.objects.count(), Business.objects.count(), Membership.objects.count(), Buyer.objects.count()


def link_in(letter):
    return re.search(r"http://testserver(/buyers/verify/\S+)$", letter.body, re.MULTILINE)[1]


# --- The street side ---------------------------------------------------------------------------------------------------


def test_a_stranger_signs_up_confirms_and_stands_in_the_shop(db, client, posting):
    assert "Open an account" in words_of(client.get(reverse("login")))
    answer = posting(client, SIGN_UP, FORM)
    assert (answer.status_code, answer["Location"]) == (302, SENT)
    assert "A mail is on its way to dana@example.com" in words_of(client.get(SENT))
    buyer = Buyer.objects.get()
    assert (buyer.phone, buyer.business.time_zone, buyer.status) == (
        "+15550104444",
        "America/Denver",
        BuyerStatus.PENDING,
    )
    sign_in = {"username": "Dana@example.com", "password": PASSWORD}
    assert "Please enter a correct" in words_of(client.post(reverse("login"), sign_in))

    link = link_in(mail.outbox[0])
    shown = words_of(client.get(link))
    assert "dana@example.com It was given for the account of Dawn Mortgage, by Dana Dole." in shown
    buyer.refresh_from_db()
    assert buyer.email_verified_at is None  # a mail scanner has looked

    confirmed = client.post(link)
    assert "We look at your account now" in words_of(confirmed)
    buyer.refresh_from_db()
    assert buyer.email_verified_at == timezone.now()
    way_in = re.search(r'href="(/accounts/login/\?next=[^"]+)"', confirmed.content.decode())[1]
    answer = client.post(way_in, sign_in)
    assert answer["Location"] == "/app/dawn-mortgage/buy/"
    assert client.get("/app/dawn-mortgage/buy/account/").status_code == 200
    assert client.get("/app/dawn-mortgage/", follow=True).status_code == 200
    again = client.post(link, follow=True)
    assert "dana@example.com was confirmed already." in words_of(again)


def test_the_page_says_the_same_of_an_address_that_is_known(cast, posting):
    before = counts()
    answers = {}
    for email in ("alice@example.com", "dana@example.com"):
        client = Client()
        answer = posting(client, SIGN_UP, FORM | {"email": email})
        shown = words_of(client.get(SENT)).replace(email, "…")
        answers[email] = (answer.status_code, answer["Location"], shown)
        assert len(mail.outbox) == len(answers)
    assert answers["alice@example.com"] == answers["dana@example.com"]
    assert [letter.subject for letter in mail.outbox] == ["You have an account already", "Confirm your e-mail address"]
    assert counts() == tuple(number + 1 for number in before)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("phone", "12", "Phone number: '12' is not a phone number we can reach."),
        ("email", "dana", "This is not an e-mail address. Write it like jane@example.com."),
        ("company", " ", "Tell us the company that buys."),
        ("contact_name", "", "Tell us your name."),
        ("password", "short", "This password is too short. It must contain at least 10 characters."),
        ("password", "dawnmortgage", "The password is too similar to the name."),
        ("time_zone", "Mars/Base", "Select a valid choice."),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nobody_is_made(db, client, posting, field, value, sentence):
    answer = posting(client, SIGN_UP, FORM | {field: value})
    assert answer.status_code == 422
    assert sentence in words_of(answer)
    assert (counts(), mail.outbox) == ((0, 0, 0, 0), [])


def test_every_time_zone_on_offer_is_one_we_know():
    for zone in [name for _, group in ZONES for name, _ in group]:
        check_time_zone(zone)


def test_one_address_is_tried_so_often_and_one_sender_too(db, client, posting, monkeypatch):
    monkeypatch.setattr("marketplace.views.front.FROM_ONE_SENDER", FOR_ONE_ADDRESS + 3)
    for _ in range(FOR_ONE_ADDRESS):
        assert posting(client, SIGN_UP, FORM).status_code == 302
    answer = posting(client, SIGN_UP, FORM)
    assert answer.status_code == 429
    assert "Wait an hour, then try again." in words_of(answer)
    for _ in range(2):  # the sixth was from this sender too
        assert client.post(SIGN_UP, {}).status_code == 422
    before = counts()
    assert posting(client, SIGN_UP, FORM | {"email": "new@example.com"}).status_code == 429
    assert counts() == before
    assert SecurityEvent.objects.get().count == 2
    assert posting(client, SIGN_UP, FORM | {"email": "new@example.com"}, REMOTE_ADDR="10.9.8.7").status_code == 302


def test_another_link_is_sent_to_those_who_wait_and_the_page_tells_nobody(cast, client, posting):
    a_buyer(cast.shop, email_verified_at=None)
    said = []
    for email in ("alice@example.com", "nobody@example.com"):
        shown = words_of(posting(client, SENT, {"email": email}, follow=True))
        assert f"If an account waits for {email}, another link is on its way." in shown
        said.append(shown.replace(email, "…"))
    assert said[0] == said[1]
    assert [letter.to for letter in mail.outbox] == [["alice@example.com"]]
    assert posting(client, SENT, {"email": "?"}).status_code == 422
    for _ in range(FOR_ONE_ADDRESS - 1):
        posting(client, SENT, {"email": "nobody@example.com"})
    assert posting(client, SENT, {"email": "nobody@example.com"}).status_code == 429


@pytest.mark.parametrize(
    ("debug", "backend", "is_shown"),
    [(True, "console", True), (False, "console", False), (True, "smtp", False), (False, "smtp", False)],
)
def test_the_link_is_shown_only_on_somebodys_own_machine(db, client, posting, settings, debug, backend, is_shown):
    posting(client, SIGN_UP, FORM)  # with the mail server of the tests
    settings.DEBUG = debug
    settings.EMAIL_BACKEND = f"django.core.mail.backends.{backend}.EmailBackend"
    client.post(SIGN_UP, FORM | {"email": "own@example.com"})
    shown = client.get(SENT).content.decode()
    assert ("/buyers/verify/" in shown) == is_shown
    assert ("printed in the terminal" in shown) == (backend == "console")
    client.post(SIGN_UP, FORM)  # known: there is no link to show, and none of before
    assert "/buyers/verify/" not in client.get(SENT).content.decode()


def test_a_link_that_does_not_work_says_so_and_leads_to_a_new_one(cast, client):
    buyer = a_buyer(cast.shop, email_verified_at=None)
    link = buyers.verification_link(buyer=buyer, now=timezone.now() - timedelta(days=3), site="http://testserver")
    for method in (client.get, client.post):
        answer = method(link)
        assert answer.status_code == 410
        assert "This link is too old: it worked for two days. Tell us your address" in words_of(answer)
        assert 'value="alice@example.com"' in answer.content.decode()
        answer = method("/buyers/verify/nonsense/")
        assert answer.status_code == 410
        assert "This link is not one of ours, or a part of it is missing." in words_of(answer)
    buyer.refresh_from_db()
    assert buyer.email_verified_at is None


def test_a_member_who_confirms_while_signed_in_lands_on_the_account(cast, alice):
    buyer = a_buyer(cast.shop, email_verified_at=None)
    link = buyers.verification_link(buyer=buyer, now=timezone.now(), site="http://testserver")
    assert "alice@example.com is confirmed." in words_of(alice.post(link, follow=True))
    charlie = signed_in(cast.charlie)
    assert "Confirmed already" in words_of(charlie.post(link))


# --- The account -------------------------------------------------------------------------------------------------------


@pytest.fixture
def alice(cast):
    return signed_in(cast.alice)


@pytest.fixture
def shop(cast):
    a_buyer(cast.shop)
    start_prices()
    return cast.shop


def test_a_business_without_an_account_is_led_to_ask(cast, alice, posting):
    assert alice.get(page("marketplace:account"))["Location"] == page("marketplace:ask")
    assert alice.post(page("marketplace:heard"))["Location"] == page("marketplace:ask")
    shown = alice.get(page("marketplace:ask")).content.decode()
    assert 'value="alice@example.com"' in shown
    assert 'value="Alice Ames"' in shown
    form = {"contact_name": "Alice", "email": "alice@example.com", "phone": "(555) 200-9001"}
    assert posting(alice, page("marketplace:ask"), form | {"phone": "1"}).status_code == 422
    assert not Buyer.objects.exists()
    answer = posting(alice, page("marketplace:ask"), form, follow=True)
    assert "Confirm alice@example.com We sent a link to this address." in words_of(answer)
    assert "after that we look at your account" in words_of(answer)
    assert [letter.subject for letter in mail.outbox] == ["Confirm your e-mail address"]
    assert posting(alice, page("marketplace:ask"), form)["Location"] == page("marketplace:account")  # the second click
    assert Buyer.objects.count() == 1


def test_staff_of_a_business_cannot_ask_for_it(cast):
    bob = signed_in(cast.bob)
    for answer in (bob.get(page("marketplace:ask")), bob.post(page("marketplace:ask"), {})):
        assert answer.status_code == 403
        assert "Only an owner or admin of Alice Plumbing can do this." in words_of(answer)
    assert not Buyer.objects.exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"status": "pending"}, "We are looking at your account You can look around already."),
        ({"email_verified_at": None}, "Confirm alice@example.com We sent a link to this address."),
        ({"status": "suspended"}, "This account is suspended Unpaid since May. You cannot buy for now."),
        ({"status": "closed"}, "This account is closed Unpaid since May. You can read everything"),
    ],
)
def test_the_account_says_how_it_stands_and_what_comes_next(cast, alice, now, fields, sentence):
    a_buyer(cast.shop, **fields)
    AuditEvent.objects.create(
        business=cast.shop, actor_text="staff", action="buyer suspended", target="buyer:alice", reason="Unpaid since May.",
        at=now,
    )  # fmt: skip
    assert sentence in words_of(alice.get(page("marketplace:account")))


def money_moves(shop, now):
    """Ten purchases of $8 on ten days, a payment of $30 and a goodwill of $5; the balance is −$45."""
    items(10, days=240)
    with only(shop):
        for day in range(10):
            purchases.buy_by_criteria(
                business=shop,
                criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)],
                by="Alice",
                now=now - timedelta(days=20 - day),
            )
        books.record_payment(
            business=shop, amount=Decimal("30.00"), reference="BANK 1", actor=None, now=now - timedelta(days=5)
        )
        books.adjust(business=shop, amount=Decimal("5.00"), text="Goodwill", actor=None, now=now - timedelta(days=4))


def statement_in(answer):
    rows = re.findall(
        r'rowheader"[^>]*>(?:<a[^>]*>)?([^<]+)<.*?Amount"[^>]*>([^<]+)<.*?after"[^>]*>([^<]+)<', answer, re.DOTALL
    )
    return [(text, amount, balance) for text, amount, balance in rows]


def test_the_statement_shows_every_movement_with_the_balance_after_it(shop, alice, now, monkeypatch):
    monkeypatch.setattr("marketplace.views.account.STATEMENT", 5)
    money_moves(shop, now)
    answer = alice.get(page("marketplace:account"))
    assert "You owe $45.00" in words_of(answer)
    lines = statement_in(answer.content.decode())
    assert [(amount, after) for _, amount, after in lines] == [
        ("+$5.00", "−$45.00"), ("+$30.00", "−$50.00"), ("−$8.00", "−$80.00"), ("−$8.00", "−$72.00"), ("−$8.00", "−$64.00"),
    ]  # fmt: skip
    assert [text for text, _, _ in lines[:2]] == ["Goodwill", "Payment BANK 1"]
    purchase = re.search(r'href="(/app/alice/buy/purchases/[0-9a-f-]{36}/)"', answer.content.decode())
    assert purchase is not None
    while older := re.search(r'href="(\?after=[^"#]+)#statement"', answer.content.decode()):
        answer = alice.get(page("marketplace:account") + older[1])
        lines += statement_in(answer.content.decode())
    assert [after for _, _, after in lines[4:]] == [
        "−$64.00", "−$56.00", "−$48.00", "−$40.00", "−$32.00", "−$24.00", "−$16.00", "−$8.00",
    ]  # fmt: skip
    assert alice.get(page("marketplace:account", after="nonsense")).status_code == 400


def test_a_wallet_says_what_can_be_spent(cast, alice, now):
    a_buyer(cast.shop, terms=Terms.PREPAID, credit_limit=Decimal("50.00"))
    with only(cast.shop):
        books.top_up(business=cast.shop, amount=Decimal("200.00"), reference="W-1", actor=None, now=now)
    shown = words_of(alice.get(page("marketplace:account")))
    assert "Balance $200.00 Paid ahead." in shown
    assert "Can be spent $250.00 Balance and $50.00 of credit." in shown
    assert "Open invoices" not in shown


def test_the_pages_cost_the_same_however_much_there_is(shop, alice, now, django_assert_max_num_queries):
    money_moves(shop, now)
    invoices.issue_due(now=now)
    recall_two(shop, now)
    for name, most in [
        ("account", 16), ("invoices", 10), ("recalls", 9), ("known", 9), ("webhook", 8), ("account_settings", 7),
    ]:  # fmt: skip
        with django_assert_max_num_queries(most):
            assert alice.get(page(f"marketplace:{name}")).status_code == 200


def test_settings_change_and_a_new_address_has_to_be_confirmed(shop, alice, posting):
    form = {"contact_name": "Alice Ames", "email": "new@example.com", "phone": "(555) 200-9001"}
    shown = words_of(posting(alice, page("marketplace:account_settings"), form, follow=True))
    assert "Saved." in shown
    assert "Open the link we sent to new@example.com. You can buy again after that." in shown
    assert "after that you can buy again" in shown
    buyer = Buyer.objects.get()
    assert (buyer.email, buyer.email_verified_at, buyer.into_leads, buyer.phone) == (
        "new@example.com", None, False, "+15552009001",
    )  # fmt: skip
    assert [letter.to for letter in mail.outbox] == [["alice@example.com"], ["new@example.com"]]
    shown = words_of(posting(alice, page("marketplace:send_link"), follow=True))
    assert "We sent one a moment ago." in shown
    assert len(mail.outbox) == 2
    wrong = posting(alice, page("marketplace:account_settings"), form | {"phone": "no"})
    assert wrong.status_code == 422
    assert Buyer.objects.get().phone == "+15552009001"


# --- Who may do what ---------------------------------------------------------------------------------------------------

READING = ["account", "invoices", "recalls", "recalls_csv", "known", "webhook"]
STAFF_MAY = ["heard", "send_link", "upload_known", "try_webhook"]
MANAGERS_MAY = ["account_settings", "clear_known", "set_webhook", "remove_webhook"]


def state(business):
    with only(business):
        return (
            Buyer.objects.filter(business=business).values().get(),
            list(KnownPhone.objects.values_list("mark", "source")),
            list(RecallNotice.objects.values_list("acknowledged_at", flat=True)),
            WebhookDelivery.objects.count(),
        )


def test_viewers_read_and_change_nothing(shop, now):
    recall_two(shop, now)
    vera = signed_in(viewer_of(shop))
    before = state(shop)
    for name in READING:
        assert vera.get(page(f"marketplace:{name}")).status_code == 200, name
    for name in STAFF_MAY + MANAGERS_MAY:
        answer = vera.post(page(f"marketplace:{name}"), {"notice": first_notice(shop)})
        assert answer.status_code == 403, name
        assert "You may read here, not change things." in words_of(answer)
    assert state(shop) == before
    assert "Taken off our lists" not in words_of(vera.get(page("marketplace:recalls")))


def test_staff_confirm_recalls_and_leave_the_settings_alone(shop, cast, now):
    recall_two(shop, now)
    bob = signed_in(cast.bob)
    before = state(shop)
    for name in MANAGERS_MAY:
        answer = bob.post(page(f"marketplace:{name}"), {"url": "http://127.0.0.1:1/"})
        assert answer.status_code == 403, name
        assert "Only an owner or admin of Alice Plumbing can do this." in words_of(answer)
    assert state(shop) == before
    bob.post(page("marketplace:heard"), {"notice": first_notice(shop)})
    assert [heard is None for heard in state(shop)[2]].count(False) == 1
    assert 'href="/app/alice/buy/account/settings/"' not in bob.get(page("marketplace:account")).content.decode()


def test_a_closed_account_is_read_and_its_recalls_are_still_confirmed(shop, alice, now):
    recall_two(shop, now)
    buyers.close(business=shop, reason="At your request.", actor=None, now=now)
    before = state(shop)
    for name in READING:
        assert alice.get(page(f"marketplace:{name}")).status_code == 200, name
    for name in ["upload_known", "try_webhook", *MANAGERS_MAY]:
        answer = alice.post(page(f"marketplace:{name}"), {"pasted": "+15550101234", "url": "http://127.0.0.1:1/"})
        assert answer.status_code == 403, name
        assert "This account is closed: you can read everything, and nothing can be changed." in words_of(answer)
    assert state(shop) == before
    alice.post(page("marketplace:heard"), {"notice": first_notice(shop)})
    assert [heard is None for heard in state(shop)[2]].count(False) == 1


def test_the_neighbour_sees_and_changes_nothing(shop, cast, now):
    money_moves(shop, now)
    recall_two(shop, now)
    invoices.issue_due(now=now)
    a_buyer(cast.next_door)
    charlie = signed_in(cast.charlie)
    with only(shop):
        invoice, notice = Invoice.objects.get(), RecallNotice.objects.first()
        delivery = WebhookDelivery.objects.create(
            business=shop, event="recall.created", about="x", payload={}, status=DeliveryStatus.FAILED, next_at=now,
            created_at=now,
        )  # fmt: skip
    before = state(shop)
    for name in READING + STAFF_MAY + MANAGERS_MAY:
        assert charlie.get(page(f"marketplace:{name}")).status_code in (404, 405), name
        assert charlie.post(page(f"marketplace:{name}")).status_code in (404, 405), name
    for name in ("invoice", "invoice_pdf", "invoice_csv"):
        assert charlie.get(page(f"marketplace:{name}", invoice.pk, slug="charlie")).status_code == 404
    assert charlie.post(page("marketplace:send_again", delivery.pk, slug="charlie")).status_code == 404
    answer = charlie.post(page("marketplace:heard", slug="charlie"), {"notice": str(notice.pk)}, follow=True)
    assert "This was confirmed already." in words_of(answer)
    assert state(shop) == before
    for name in READING:
        shown = b"".join(charlie.get(page(f"marketplace:{name}", slug="charlie")))
        for secret in (str(invoice), str(notice.pk), "Moore", "Goodwill"):
            assert secret.encode() not in shown, (name, secret)


# --- Invoices ----------------------------------------------------------------------------------------------------------


def test_an_invoice_is_read_and_taken_away_as_pdf_and_csv(shop, alice, now, settings):
    settings.SELLER_NAME, settings.SELLER_LINES = "Lead House LLC", ("1 Main St",)
    money_moves(shop, now - timedelta(days=20))
    (invoice,) = invoices.issue_due(now=now - timedelta(days=15))
    listed = words_of(alice.get(page("marketplace:invoices")))
    assert "Invoices 1 invoice" in listed
    assert f"{invoice} Oct 9 – Oct 31, 2026 Nov 17, 2026 Past due $45.00" in listed
    shown = words_of(alice.get(page("marketplace:invoice", invoice.pk)))
    assert "Total $45.00 Status Past due Due Nov 17, 2026 For Oct 9 – Oct 31, 2026" in shown
    assert f"Name {invoice} with your payment." in shown
    pdf = alice.get(page("marketplace:invoice_pdf", invoice.pk))
    assert (pdf["Content-Type"], pdf["Content-Disposition"]) == (
        "application/pdf",
        f'attachment; filename="{invoice}.pdf"',
    )
    assert pdf.content.startswith(b"%PDF-")
    text = alice.get(page("marketplace:invoice_csv", invoice.pk))
    assert text["Content-Type"] == "text/csv; charset=utf-8"
    rows = csv.DictReader(io.StringIO(text.content.decode()))
    assert sum(Decimal(row["Amount (USD)"]) for row in rows) == Decimal("45.00")
    with only(shop):
        invoices.mark_paid(invoice=invoice, reference="BANK 2", actor=None, now=now)
    assert "Status Paid on Nov 18, 2026" in words_of(alice.get(page("marketplace:invoice", invoice.pk)))


def test_what_is_not_invoiced_yet_is_told(shop, alice, now):
    money_moves(shop, now)
    shown = words_of(alice.get(page("marketplace:invoices")))
    assert "Not invoiced yet $45.00 It comes at the beginning of next month." in shown
    assert "No invoices yet" in shown


# --- Recalls -----------------------------------------------------------------------------------------------------------


def recall_two(shop, now):
    """John Moore opted out yesterday; somebody else was erased today."""
    told, erased = (an_item(days=200 + n).lead for n in range(2))
    with only(shop):
        purchases.buy_by_criteria(
            business=shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 2)], by="Alice", now=now - timedelta(days=3)
        )
    recalls.forget(phone=told.phone, because=GoneBecause.OPTED_OUT, told_by="test", now=now - timedelta(days=1))
    recalls.forget(phone=erased.phone, because=GoneBecause.ERASED, told_by="test", now=now)


def first_notice(shop):
    with only(shop):
        return str(RecallNotice.objects.order_by("created_at").values_list("pk", flat=True).first())


def test_recalls_say_whom_to_take_off_the_lists_and_why(shop, alice, now):
    start = words_of(alice.get(page("marketplace:recalls")))
    assert "Nobody was recalled" in start
    recall_two(shop, now)
    shown = words_of(alice.get(page("marketplace:recalls")))
    assert "Recalls 2 to confirm" in shown
    assert "John Moore Opted out Nov 17, 2026 (504) 666-" in shown
    assert "Do not call or text them, and take them off your lists." in shown
    assert "Erased Erased on request Nov 18, 2026 This person asked to be erased." in shown
    assert shown.count("John Moore") == 2  # the name, and on the button; the erased one has none
    assert "Recalls to confirm 2 People to take off your lists." in words_of(alice.get(page("marketplace:account")))


def test_recalls_are_confirmed_one_by_one_or_all_of_a_page(shop, alice, now):
    recall_two(shop, now)
    shown = alice.get(page("marketplace:recalls")).content.decode()
    everybody = re.findall(r'name="notice" value="([^"]+)"', shown)[:2]
    one = alice.post(page("marketplace:heard"), {"notice": everybody[:1]}, follow=True)
    assert "Noted: 1 recall confirmed." in words_of(one)
    again = alice.post(page("marketplace:heard"), {"notice": everybody}, follow=True)
    assert "Noted: 1 recall confirmed." in words_of(again)
    assert "Nothing to confirm" in words_of(again)
    with only(shop):
        heard = list(RecallNotice.objects.values_list("acknowledged_by", "acknowledged_at"))
    assert heard == [("alice@example.com", now)] * 2
    assert "Off your lists alice@example.com" in words_of(alice.get(page("marketplace:recalls", show="all")))
    assert alice.post(page("marketplace:heard"), {"notice": "nonsense"}).status_code == 404


def test_recalls_come_as_a_file_since_a_day(shop, alice, now):
    recall_two(shop, now)

    def rows(**query):
        answer = alice.get(page("marketplace:recalls_csv", **query))
        return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))

    assert [row["Reason"] for row in rows()] == ["opted_out", "erased"]
    assert [row["Reason"] for row in rows(since="2026-11-18")] == ["erased"]
    assert len(rows(since="2026-13-45")) == 2  # no such day: all of them
    answer = alice.get(page("marketplace:recalls_csv", since="2026-11-18"))
    assert answer["Content-Disposition"] == 'attachment; filename="recalls-since-2026-11-18.csv"'


# --- People they have --------------------------------------------------------------------------------------------------


def test_a_list_is_taken_in_as_a_file_or_pasted_and_told_row_by_row(shop, alice):
    file = SimpleUploadedFile("ours.csv", b"phone\n+15550101234\n(555) 010-1235\nnonsense 12345\n", "text/csv")
    shown = words_of(alice.post(page("marketplace:upload_known"), {"file": file}, follow=True))
    assert "Took in 2 new people." in shown
    assert "1 not taken in. Row 4: neither a phone number nor a SHA-256 of one." in shown
    assert "From your lists 2 People you told us of" in shown
    shown = words_of(
        alice.post(page("marketplace:upload_known"), {"pasted": "+15550101234\n+15550101236"}, follow=True)
    )
    assert "Took in 1 new person; 1 you had already." in shown
    with only(shop):
        assert set(KnownPhone.objects.values_list("mark", flat=True)) == {
            mark_of(f"+1555010123{digit}") for digit in (4, 5, 6)
        }  # fmt: skip
        assert list(KnownUpload.objects.values_list("name", "uploaded_by__email")) == [
            ("Pasted", "alice@example.com"), ("ours.csv", "alice@example.com"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({}, "Choose a file or paste some numbers."),
        ({"pasted": "\n \n"}, "Choose a file or paste some numbers."),
        ({"file": b""}, "There is nothing in this file."),
        ({"pasted": "x" * (LARGEST_PASTE + 1)}, "This is too much to paste. Send it as a file."),
    ],
)
def test_a_list_of_nothing_is_refused(shop, alice, form, sentence):
    if "file" in form:
        form = {"file": SimpleUploadedFile("empty.csv", form["file"])}
    answer = alice.post(page("marketplace:upload_known"), form)
    assert answer.status_code == 422
    assert sentence in words_of(answer)
    with only(shop):
        assert (KnownPhone.objects.count(), KnownUpload.objects.count()) == (0, 0)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(shop, alice, monkeypatch):
    monkeypatch.setattr("marketplace.forms_account.LARGEST_FILE", 1_000_000)
    answer = alice.post(page("marketplace:upload_known"), {"file": SimpleUploadedFile("big.csv", b"1" * 1_000_001)})
    assert answer.status_code == 422
    assert "This file is too large: at most 1 MB fit. Split it." in words_of(answer)


def test_clearing_asks_once_and_forgets_only_what_was_uploaded(shop, alice, now):
    an_item()
    with only(shop):
        purchases.buy_by_criteria(business=shop, criteria=[Criterion("Gold", "MONTH_6_TO_8", 1)], by="Alice", now=now)
        known.upload(business=shop, file=io.BytesIO(b"+15550101234\n"), name="x", actor=None, now=now)
    assert "Clear the 1 person of your lists?" in words_of(alice.get(page("marketplace:clear_known")))
    with only(shop):
        assert KnownPhone.objects.count() == 2
    shown = words_of(alice.post(page("marketplace:clear_known"), follow=True))
    assert "1 person cleared. You may be sold them again." in shown
    with only(shop):
        assert list(KnownPhone.objects.values_list("source", flat=True)) == [KnownFrom.BOUGHT]


# --- Webhook -----------------------------------------------------------------------------------------------------------


def test_the_secret_is_shown_once_and_kept_by_no_cache(shop, alice):
    answer = alice.post(page("marketplace:set_webhook"), {"url": "http://127.0.0.1:1/recalls"})
    secret = re.search(r"fd_hook_[\w-]+", answer.content.decode())[0]
    assert "no-store" in answer["Cache-Control"]
    shown = alice.get(page("marketplace:webhook")).content.decode()
    assert 'value="http://127.0.0.1:1/recalls"' in shown
    assert secret not in shown
    again = alice.post(page("marketplace:set_webhook"), {"url": "http://127.0.0.1:1/recalls"}).content.decode()
    assert secret not in again
    assert "fd_hook_" in again


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "Write the address that receives our messages."),
        ("ftp://example.com/", "This is not an address. Write it like https://example.com/recalls."),
        ("http://10.0.0.1/", "The address has to begin with https://."),
        ("https://10.0.0.1/", "This address leads into a private network, where we do not go."),
    ],
)
def test_an_address_we_would_not_call_is_refused(shop, alice, url, sentence):
    answer = alice.post(page("marketplace:set_webhook"), {"url": url})
    assert answer.status_code == 422
    assert sentence in words_of(answer)
    assert Buyer.objects.get().webhook_url == ""


def test_a_test_message_is_sent_and_sent_again(shop, alice, now):
    assert "Set an address first." in words_of(alice.post(page("marketplace:try_webhook"), follow=True))
    with only(shop):
        assert not WebhookDelivery.objects.exists()
        webhooks.set_webhook(business=shop, url="http://127.0.0.1:1/recalls", actor=None, now=now)
    answer = alice.post(page("marketplace:try_webhook"), follow=True)
    assert "A test is on its way." in words_of(answer)
    assert 'hx-trigger="every 3s"' in answer.content.decode()
    with only(shop):
        delivery = WebhookDelivery.objects.get()
        assert (delivery.event, delivery.payload["event"], delivery.status) == (
            "webhook.test",
            "webhook.test",
            "waiting",
        )
        WebhookDelivery.objects.update(status=DeliveryStatus.FAILED, attempts=16, error="It answered 500.")
    answer = alice.get(page("marketplace:webhook"))
    assert "Given up" in words_of(answer)
    assert "It answered 500. 16 tries." in words_of(answer)
    assert "every 3s" not in answer.content.decode()
    assert json.dumps(delivery.payload["id"]) in words_of(answer)
    shown = words_of(alice.post(page("marketplace:send_again", delivery.pk), follow=True))
    assert "It is sent again, with the same delivery number." in shown
    shown = words_of(alice.post(page("marketplace:send_again", delivery.pk), follow=True))
    assert "It is about to be sent. Look again in a few minutes." in shown
    with only(shop):
        assert WebhookDelivery.objects.get().attempts == 0


def test_removing_the_webhook_asks_once(shop, alice, now):
    webhooks.set_webhook(business=shop, url="http://127.0.0.1:1/recalls", actor=None, now=now)
    assert "Send nothing to 127.0.0.1 any more?" in words_of(alice.get(page("marketplace:remove_webhook")))
    assert Buyer.objects.get().webhook_url == "http://127.0.0.1:1/recalls"
    shown = words_of(alice.post(page("marketplace:remove_webhook"), follow=True))
    assert "Removed. Recalls still appear on the page Recalls." in shown
    assert Buyer.objects.get().webhook_url == ""


def test_an_admin_may_do_what_the_owner_may(shop, cast):
    add_member(business=shop, user=cast.bob, role=Role.ADMIN)
    assert signed_in(cast.bob).get(page("marketplace:account_settings")).status_code == 200
    with every_business():
        assert not WebhookDelivery.objects.exists()
