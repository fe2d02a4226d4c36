"""The staff console: every table opens, cheaply; nobody else gets in; nothing secret comes out; changes are traced."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta

import pytest
from axes.models import AccessAttempt, AccessLog
from django.conf import settings as project
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from booking.models import Appointment, BlackoutDate, SchedulingRules, Service, StaffMember, TimeOff, WeeklyHours
from booking.services import Request, book_at
from config.staff import today
from crm import consent
from crm.api_keys import issue_key
from crm.enums import ConsentSource, KeyKind, MessageStatus, Role, SecurityEventKind, TaskReason
from crm.models import (
    Activity,
    ApiKey,
    AuditEvent,
    Business,
    Consent,
    Conversation,
    Customer,
    CustomerMerge,
    Heartbeat,
    IdempotencyKey,
    LlmUsage,
    Message,
    PhoneNumber,
    SecurityEvent,
    Task,
    User,
)
from crm.scoping import every_business
from crm.security import seal, unseal
from crm.services import add_member, add_number, add_task, merge_customers, receive_text
from crm.timeline import note
from leads.models import Lead, PipelineSettings, Proposal
from leads.services.pipeline import Contact
from marketplace.tasks import check_everything
from telephony.models import CarrierSwitches, InboundEvent, SimulatedText, TwilioAccount
from tests.console import add_of, choose, confirm, errors_of, list_of, page_of, told
from tests.leads.console_rows import a_lead, of_the_pipeline
from tests.marketplace import console_rows

TABLES = sorted(admin.site._registry, key=lambda model: model._meta.label)
# CarrierSwitches is one row and its list leads straight to it.
LISTS = [model for model in TABLES if model is not CarrierSwitches]
PASSWORD = "correct horse battery"
SECRET_TOKEN = "the-token-of-a-sub-account"


@pytest.fixture(autouse=True)
def _no_scope():
    with every_business():
        yield


@pytest.fixture
def sue(db) -> User:
    return User.objects.create_superuser("sue@example.com", PASSWORD, name="Sue Staff")


@pytest.fixture
def console(client, sue):
    client.force_login(sue)
    return client


def fill(cast, start: int, count: int) -> dict[type, object]:
    """`count` rows of every table of the console, from number `start`; answers with the last of each."""
    now = timezone.now()
    shop = cast.shop
    rows: dict[type, object] = {}
    for n in range(start, start + count):
        user = User.objects.create_user(f"member{n}@example.com", PASSWORD, name=f"Member {n}")
        add_member(business=shop, user=user, role=Role.STAFF)
        rows[Group] = Group.objects.create(name=f"Support {n}")
        rows[User] = user
        rows[Business] = shop
        rows[PhoneNumber] = add_number(business=shop, raw=f"+1555200{1000 + n}")
        got = receive_text(
            business=shop,
            phone=f"+1555123{4500 + n}",
            our_number="+15552000001",
            body="Hello there",
            provider_sid=f"SM{n:032d}",
            now=now,
        )
        other = Customer.objects.create(business=shop, name=f"Twin {n}", phone=f"+1555777{4500 + n}")
        rows[Customer], rows[Conversation], rows[Message] = got.customer, got.conversation, got.message
        rows[CustomerMerge] = merge_customers(kept=got.customer, dropped=other, actor=user, now=now)
        rows[Consent] = consent.grant(
            business=shop, phone=f"+1555123{4500 + n}", source=ConsentSource.TEXT, words="Hello", now=now
        )
        rows[Activity] = note(business=shop, customer=got.customer, verb="note", text="A note", now=now, actor=user)
        rows[Task] = add_task(
            business=shop, customer=got.customer, reason=TaskReason.ASKED_A_PERSON, title="Call back", now=now
        )
        rows[ApiKey] = issue_key(business=shop, kind=KeyKind.API, now=now, actor=user).row
        rows[AuditEvent] = AuditEvent.objects.order_by("-pk").first()
        rows[IdempotencyKey] = IdempotencyKey.objects.create(
            business=shop,
            scope="jobs",
            key=f"key-{n}",
            fingerprint="f" * 64,
            status=200,
            answer={"secret": "fd_api_shown_once"},
        )
        rows[SecurityEvent] = SecurityEvent.objects.create(
            kind=SecurityEventKind.KEY_INVALID, business=shop, path=f"/jobs/{n}", source="abc", minute=now
        )
        rows[LlmUsage] = LlmUsage.objects.create(
            business=shop, purpose="read", model="m", outcome="ok", cost_micros=1500, at=now
        )
        rows[Heartbeat] = Heartbeat.objects.create(name=f"process {n}", at=now)
        staff = StaffMember.objects.create(business=shop, name=f"Plumber {n}", user=user)
        service = Service.objects.create(business=shop, name=f"Service {n}", duration_minutes=30)
        rows[StaffMember], rows[Service] = staff, service
        rows[SchedulingRules] = SchedulingRules.objects.get(business=shop)
        rows[WeeklyHours] = WeeklyHours.objects.create(
            business=shop, staff=staff, weekday=0, opens=time(8), closes=time(17)
        )
        rows[TimeOff] = TimeOff.objects.create(
            business=shop, staff=staff, starts_at=now, ends_at=now + timedelta(days=1)
        )
        rows[BlackoutDate] = BlackoutDate.objects.create(business=shop, date=date(2027, 1, 1) + timedelta(days=n))
        rows[Appointment] = book_at(
            business=shop,
            request=Request(customer=got.customer, service=service),
            staff=staff,
            starts_at=now + timedelta(days=2),
            now=now,
        )
        asked = Lead.objects.create(
            business=shop,
            customer=got.customer,
            source="text",
            service=service,
            appointment=rows[Appointment],
            created_at=now,
        )
        rows[Proposal] = Proposal.objects.create(
            business=shop,
            lead=asked,
            customer=got.customer,
            appointment=rows[Appointment],
            text="Tue 3 pm?",
            created_at=now,
        )
        rows[InboundEvent] = InboundEvent.objects.create(
            kind="sms",
            sid=f"SM{n:032d}",
            business=shop,
            message=got.message.pk,
            step="receptionist",
            reason="asked",
            received_at=now,
        )
        rows[TwilioAccount] = TwilioAccount.objects.create(
            account_sid=f"AC{n:032d}", business=shop, sealed_token=seal(SECRET_TOKEN)
        )
        rows[SimulatedText] = SimulatedText.objects.create(
            sid=f"SM{n:032d}",
            from_number="+15551234567",
            to_number="+15552000001",
            body="Hi",
            created_at=now,
            arrives_at=now,
        )
        rows[CarrierSwitches] = CarrierSwitches.objects.get_or_create(pk=1)[0]
        rows[AccessAttempt] = AccessAttempt.objects.create(
            username=f"member{n}@example.com",
            ip_address="192.0.2.1",
            user_agent="x",
            failures_since_start=5,
            get_data="",
            post_data="",
        )
        rows[AccessLog] = AccessLog.objects.create(username=f"member{n}@example.com", ip_address="192.0.2.1")
        rows |= of_the_pipeline(shop, user, customer=got.customer, now=now)
        rows |= console_rows.of_the_catalogue(shop, now=now)
        rows |= console_rows.of_the_money(shop, now=now)
    return rows


def queries(console, address: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        response = console.get(address)
    assert response.status_code == 200, address
    return len(captured)


# --- Every table -----------------------------------------------------------------------------------------------------


def test_every_table_has_an_example_in_these_tests(cast):
    assert set(fill(cast, 0, 1)) == set(TABLES)


def test_a_list_takes_as_many_queries_for_three_rows_as_for_one(console, cast):
    """Every list of the console, in one go: furnishing the whole house for each of them takes a minute."""
    fill(cast, 0, 1)
    one = {}
    for model in LISTS:
        console.get(list_of(model))
        one[model._meta.label] = queries(console, list_of(model))
    fill(cast, 1, 2)
    assert {model._meta.label: queries(console, list_of(model)) for model in LISTS} == one
    assert {label: count for label, count in one.items() if count > 6} == {}


def test_a_page_takes_as_many_queries_whatever_else_there_is(console, cast):
    rows = fill(cast, 0, 1)
    before = {}
    for model in TABLES:
        console.get(page_of(rows[model]))
        before[model._meta.label] = queries(console, page_of(rows[model]))
    fill(cast, 1, 2)
    assert {model._meta.label: queries(console, page_of(rows[model])) for model in TABLES} == before
    assert {label: count for label, count in before.items() if count > 14} == {}


def test_a_search_takes_whatever_is_typed(console, cast):
    fill(cast, 0, 1)
    typed = (
        "+15551234500",
        "Ann O'Neil",
        "%",
        "'",
        "\\",
        "192.0.2.1",
        "SM" + "0" * 32,
        str(uuid.uuid4()),
        "fd_api_1",
        "ü",
    )
    for model in LISTS:
        if not admin.site._registry[model].search_fields:
            continue
        for words in typed:
            assert console.get(list_of(model), {"q": words}).status_code == 200, (model, words)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Customer, "+15551234500"),
        (Customer, "4500"),
        (Conversation, "(555) 123-4500"),
        (Message, "+15551234500"),
        (Message, "SM" + "0" * 32),
        (InboundEvent, "SM" + "0" * 32),
        (Task, "+15551234500"),
        (Appointment, "+15551234500"),
        (Lead, "1234500"),
        (Proposal, "4500"),
        (Activity, "4500"),
        (Business, "ali"),
        (Business, "Alice P"),
        (User, "MEMBER0@"),
        (TwilioAccount, "AC0"),
    ],
    ids=lambda value: value if isinstance(value, str) else value._meta.label,
)
def test_a_search_finds_the_row_one_means(console, cast, model, words):
    row = fill(cast, 0, 1)[model]
    found = console.get(list_of(model), {"q": words}).context["cl"].result_list
    assert row in found
    assert model._default_manager.count() >= len(found)


def test_a_pasted_id_finds_its_row(console, cast):
    message = fill(cast, 0, 1)[Message]
    assert list(console.get(list_of(Message), {"q": str(message.pk)}).context["cl"].result_list) == [message]


def test_a_list_narrows_to_one_business(console, cast):
    fill(cast, 0, 1)
    theirs = Customer.objects.create(business=cast.next_door, name="Next Door")
    response = console.get(list_of(Customer), {"of": "charlie"})
    assert list(response.context["cl"].result_list) == [theirs]
    assert "Charlie Cooling" in response.content.decode()

    nobody = console.get(list_of(Customer), {"of": "nobody"})
    assert list(nobody.context["cl"].result_list) == []
    assert "No business is called “nobody”." in nobody.content.decode()


def test_a_long_list_says_about_how_long_it_is(console, cast, monkeypatch):
    fill(cast, 0, 3)
    monkeypatch.setattr("crm.admin.lists.REACH", 2)
    assert "more than 2 leads" in console.get(list_of(Lead)).content.decode()
    assert "more than 2" in console.get(list_of(Lead), {"of": "alice"}).content.decode()
    monkeypatch.setattr("crm.admin.lists._estimated_rows", lambda _model: 1_234_567)
    assert "about 1,230,000 leads" in console.get(list_of(Lead)).content.decode()
    assert (
        "more than 2 leads" in console.get(list_of(Lead), {"of": "alice"}).content.decode()
    )  # an estimate is of the whole table


def test_an_action_takes_the_rows_one_sees_and_never_the_whole_table(console, cast):
    task = fill(cast, 0, 1)[Task]
    response = choose(console, "finish", task, select_across="1")
    assert told(response) == ["Choose the rows on this page. Nothing has been changed."]
    task.refresh_from_db()
    assert task.done_at is None


# --- Who gets in -----------------------------------------------------------------------------------------------------


def test_an_owner_and_a_stranger_are_sent_to_the_sign_in(client, cast):
    for user in (None, cast.alice):
        if user:
            client.force_login(user)
        for model in TABLES:
            response = client.get(list_of(model))
            assert response.status_code == 302, model
            assert response.headers["Location"].startswith("/admin/login/?next="), model


def test_staff_sign_in_by_e_mail_however_it_is_written(client, sue):
    response = client.post("/admin/login/?next=/admin/", {"username": "Sue@Example.com", "password": PASSWORD})
    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")


def test_an_owner_cannot_sign_in_to_the_console(client, cast):
    response = client.post("/admin/login/", {"username": "alice@example.com", "password": PASSWORD})
    assert response.status_code == 200
    assert "_auth_user_id" not in client.session


def test_after_five_wrong_passwords_even_the_right_one_waits(client, sue):
    spellings = ("sue@example.com", "SUE@example.com", "Sue@example.com", "sUe@example.com", "suE@example.com")
    answers = [client.post("/admin/login/", {"username": name, "password": "wrong"}).status_code for name in spellings]
    assert answers == [200, 200, 200, 200, 429]
    assert client.post("/admin/login/", {"username": "sue@example.com", "password": PASSWORD}).status_code == 429


def test_a_locked_out_person_is_let_in_again_with_a_trace(console, cast):
    attempt = fill(cast, 0, 1)[AccessAttempt]
    assert told(choose(console, "let_them_try", attempt)) == ["1 may try again."]
    assert not AccessAttempt.objects.exists()
    event = AuditEvent.objects.get(action="sign-in unlocked")
    assert event.target == "sign-in of member0@example.com from 192.0.2.1"


def test_changing_the_own_password_leaves_a_trace_without_it(console, sue):
    new = "another horse battery"
    console.post("/admin/password_change/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    sue.refresh_from_db()
    assert sue.check_password(new)
    event = AuditEvent.objects.get()
    assert (event.actor, event.action, event.changes) == (sue, "own password changed", {})


# --- Suggestions while one types -------------------------------------------------------------------------------------


def suggest(client, term: str, **more):
    where = {"app_label": "booking", "model_name": "appointment", "field_name": "customer", "term": term}
    return client.get("/admin/autocomplete/", where | more)


def test_suggestions_are_for_staff_only(client, cast):
    for user in (None, cast.alice):
        if user:
            client.force_login(user)
        assert suggest(client, "Twin").status_code == 302


def test_suggestions_say_whose_row_it_is_until_the_business_is_known(console, cast):
    ours = Customer.objects.create(business=cast.shop, name="Ann Ames")
    theirs = Customer.objects.create(business=cast.next_door, name="Ann Next")

    everybody = suggest(console, "ann").json()["results"]
    assert {row["text"] for row in everybody} == {"Ann Ames · Alice Plumbing", "Ann Next · Charlie Cooling"}

    narrowed = suggest(console, "ann", of=str(cast.shop.pk)).json()["results"]
    assert narrowed == [{"id": str(ours.pk), "text": "Ann Ames"}]
    assert str(theirs.pk) not in str(narrowed)


# --- Nothing secret comes out ----------------------------------------------------------------------------------------


def test_no_page_shows_a_key_a_token_or_a_password_hash(console, cast, sue):
    rows = fill(cast, 0, 1)
    secrets = {
        rows[ApiKey].digest,
        SECRET_TOKEN,
        bytes(rows[TwilioAccount].sealed_token).decode(),
        "fd_api_shown_once",
        "the pass phrase 9",
        sue.password.rpartition("$")[2],
        rows[User].password.rpartition("$")[2],
        project.SECRET_KEY,
    }
    console.post(
        reverse("admin:auth_user_password_change", args=[rows[User].pk]),
        {"password1": "the pass phrase 9", "password2": "the pass phrase 9"},
    )
    console.post(page_of(rows[TwilioAccount]), {"business": str(cast.shop.pk), "token": "the pass phrase 9"})
    addresses = ["/admin/", *(list_of(model) for model in TABLES), *(page_of(row) for row in rows.values())]
    addresses += [page_of(event) for event in AuditEvent.objects.all()]
    addresses += [
        page_of(row).replace("/change/", "/history/") for row in (rows[User], rows[TwilioAccount], rows[ApiKey])
    ]
    for address in addresses:
        page = console.get(address, follow=True).content.decode()
        assert [secret for secret in secrets if secret in page] == [], address


# --- The front page --------------------------------------------------------------------------------------------------


def numbers(console) -> dict[str, str]:
    shown = console.get("/admin/").context["today"]
    return {tile.label: tile.value for _, tiles in shown.rows for tile in tiles}


def test_the_front_page_counts_today_and_links_every_number(console, cast):
    now = timezone.now()
    rows = fill(cast, 0, 2)
    sample = rows[Message]

    def text(status: str, **fields) -> Message:
        return Message.objects.create(
            business=cast.shop,
            conversation=sample.conversation,
            customer=sample.customer,
            direction="outbound",
            author="assistant",
            body="Hi",
            to_number="+15551234501",
            status=status,
            **{"created_at": now, **fields},
        )

    text("queued", due_at=now - timedelta(minutes=1))
    text("queued", due_at=now + timedelta(hours=5))
    text("sending", claimed_at=now - timedelta(minutes=3))
    text("sending", claimed_at=now - timedelta(minutes=1))
    text("failed", error="The carrier took the message for spam.")
    text("unknown", error="The carrier could not tell whether it was sent. Call, or write again.")
    text("failed", error="Long ago", created_at=now - timedelta(days=3))
    a_lead(
        cast.shop, cast.alice, now=now - timedelta(minutes=6), contact=Contact(name="Lou")
    )  # the shop next door may take an hour
    PipelineSettings.objects.create(business=cast.next_door, answer_minutes=60)
    a_lead(cast.next_door, cast.charlie, now=now - timedelta(minutes=11), contact=Contact(name="Lou"))

    assert numbers(console) == {
        "Active businesses": "2",
        "Texts received": "2",
        "Texts sent": "6",
        "Booked": "2",
        "Waiting for an answer": "2",
        "Open tasks": "2",
        "Waiting to be sent": "2",
        "Due now": "1",
        "Stuck": "1",
        "Failed or not known": "2",
        "Leads that wait too long": "1",
        "Deals nobody has": "2",
        "Offers not answered today": "2",
        "Not scored in time": "1",
        "Returns to decide": "2",
        "Buyers to approve": "0",
        "Files being read": "0",
        "Recalls unheard for three days": "0",
    }
    shown = console.get("/admin/").context["today"]
    assert [(line.text, line.count) for line in shown.failures] == [
        ("The carrier could not tell whether it was sent. Call, or write again.", 1),
        ("The carrier took the message for spam.", 1),
    ]
    assert [(line.text, line.count) for line in shown.security] == [("Wrong API key", 2)]
    for _, tiles in shown.rows:
        for tile in tiles:
            assert console.get(tile.url).context["cl"].result_count == int(tile.value), tile.label


def test_the_front_page_takes_the_same_few_queries_however_much_there_is(console, cast):
    fill(cast, 0, 1)
    console.get("/admin/")
    one = queries(console, "/admin/")
    fill(cast, 1, 3)
    assert queries(console, "/admin/") == one
    assert one <= 24


def test_a_number_beyond_what_is_counted_is_not_a_lie(cast, monkeypatch):
    fill(cast, 0, 3)
    monkeypatch.setattr(today, "REACH", 2)
    shown = today.look(now=timezone.now())
    assert {tile.label: tile.value for tile in shown.waiting} == {"Waiting for an answer": "2+", "Open tasks": "2+"}


def machine(name: str, now: datetime) -> tuple[str, str]:
    found = next(machine for machine in today.look(now=now).machines if machine.name == name)
    return found.state, found.tone


def test_the_books_are_balanced_or_say_what_is_wrong(cast):
    now = timezone.now()
    assert machine("Books", now) == ("Not added up yet; the worker does it every night.", "warning")
    check_everything()
    assert machine("Books", now + timedelta(hours=5, minutes=1)) == ("Balanced, checked 5\xa0hours ago", "success")
    Heartbeat.objects.filter(name="marketplace.books").update(detail="alice: the balance is $1.00, …")
    assert machine("Books", now) == ("alice: the balance is $1.00, …", "danger")


def test_the_worker_is_alive_or_was_seen_last_or_never(cast):
    now = timezone.now()
    assert machine("Worker", now) == ("Never seen. Start it with the worker and beat lines of the Procfile.", "danger")
    Heartbeat.objects.create(name="worker", at=now - timedelta(seconds=20), detail="box-1")
    assert machine("Worker", now) == ("Alive on box-1", "success")
    assert machine("Worker", now + timedelta(minutes=3)) == (
        "Last seen 3\xa0minutes ago. Texts wait until it is back.",
        "danger",
    )


def test_the_front_page_stands_while_redis_is_away(console, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    page = console.get("/admin/")
    assert page.status_code == 200
    assert "Away. Texts still leave, found by the next look instead of at once." in page.content.decode()


def test_the_front_page_says_what_the_language_model_cost_today(cast):
    now = timezone.now()
    fill(cast, 0, 2)
    LlmUsage.objects.create(business=cast.shop, purpose="read", model="m", outcome="ok", cost_micros=None, at=now)
    state, _ = machine("Language model", now)
    assert state == "Off, no key is set; the rules answer. 3 calls today, $0.00 and 1 of unknown price."


# --- The calendar ----------------------------------------------------------------------------------------------------


def test_an_appointment_is_cancelled_by_the_service_after_asking_once(console, cast, sue):
    appointment = fill(cast, 0, 1)[Appointment]
    asked = choose(console, "cancel", appointment)
    assert "The customer is not told by this" in asked.content.decode()
    appointment.refresh_from_db()
    assert appointment.status == "SCHEDULED"

    assert told(confirm(console, "cancel", appointment)) == ["1 cancelled."]

    appointment.refresh_from_db()
    assert appointment.status == "CANCELLED"
    event = AuditEvent.objects.get(action="appointment cancelled")
    assert (event.actor, event.business, event.changes) == (sue, cast.shop, {"status": ["SCHEDULED", "CANCELLED"]})
    assert Activity.objects.filter(verb="cancelled", actor=sue).count() == 1


def test_each_refusal_is_told_and_holds_nobody_up(console, cast):
    first = fill(cast, 0, 1)[Appointment]
    second = fill(cast, 1, 1)[Appointment]
    Appointment.objects.filter(pk=first.pk).update(
        starts_at=timezone.now() - timedelta(hours=2), ends_at=timezone.now() - timedelta(hours=1)
    )
    first.refresh_from_db()

    said = told(choose(console, "complete", first, second))

    assert said == [f"{second}: This appointment is still to come.", "1 done."]
    assert list(AuditEvent.objects.filter(action="appointment completed").values_list("changes", flat=True)) == [
        {"status": ["SCHEDULED", "COMPLETED"]}
    ]
    second.refresh_from_db()
    assert second.status == "SCHEDULED"


def test_an_action_on_a_page_comes_back_to_the_page(console, cast):
    appointment = fill(cast, 0, 1)[Appointment]
    response = console.post(
        list_of(Appointment),
        {"action": "confirm", "index": "0", "_selected_action": str(appointment.pk), "back": page_of(appointment)},
    )
    assert response.headers["Location"] == page_of(appointment)
    elsewhere = console.post(
        list_of(Appointment),
        {"action": "confirm", "index": "0", "_selected_action": str(appointment.pk), "back": "https://evil.example/"},
    )
    assert elsewhere.headers["Location"] == list_of(Appointment)


def booking_form(cast, **changes) -> dict[str, str]:
    customer = Customer.objects.filter(business=cast.shop).first() or Customer.objects.create(
        business=cast.shop, name="Ann"
    )
    day = (timezone.now() + timedelta(days=3)).date().isoformat()
    return {
        "business": str(cast.shop.pk),
        "customer": str(customer.pk),
        "service": str(Service.objects.filter(business=cast.shop).first().pk),
        "staff": str(StaffMember.objects.filter(business=cast.shop).first().pk),
        "starts_at_0": day,
        "starts_at_1": "09:00",
        "address": "",
        "notes": "",
    } | changes


def test_a_job_is_booked_on_the_clock_of_the_business(console, cast, sue):
    response = console.post(add_of(Appointment), booking_form(cast))
    assert response.status_code == 302
    appointment = Appointment.objects.get()
    assert appointment.starts_at.astimezone(cast.shop.zone).hour == 9
    assert (appointment.status, appointment.source) == ("SCHEDULED", "staff")
    event = AuditEvent.objects.get(action="appointment added")
    assert (event.actor, event.business) == (sue, cast.shop)
    assert (
        "09:00" in console.get(page_of(appointment)).content.decode()
        or "9 a.m." in console.get(page_of(appointment)).content.decode()
    )


def test_a_taken_time_is_refused_with_a_sentence_and_what_was_typed_stays(console, cast):
    console.post(add_of(Appointment), booking_form(cast))
    response = console.post(add_of(Appointment), booking_form(cast, notes="Bring the long ladder"))
    assert response.status_code == 200
    assert errors_of(response) == ["That time was just taken."]
    assert "Bring the long ladder" in response.content.decode()
    assert Appointment.objects.count() == 1


@pytest.mark.parametrize("field", ["customer", "service", "staff"])
def test_a_neighbours_row_is_refused_with_a_sentence(console, cast, field):
    neighbours = {
        "customer": Customer.objects.create(business=cast.next_door, name="Nora Next"),
        "service": Service.objects.filter(business=cast.next_door).first(),
        "staff": StaffMember.objects.filter(business=cast.next_door).first(),
    }
    response = console.post(add_of(Appointment), booking_form(cast, **{field: str(neighbours[field].pk)}))
    assert response.status_code == 200
    assert errors_of(response) == [f"“{neighbours[field]}” belongs to another business. Choose one of Alice Plumbing."]
    assert Appointment.objects.count() == 0


def test_a_neighbours_staff_cannot_be_put_on_existing_hours(console, cast):
    hours = fill(cast, 0, 1)[WeeklyHours]
    before = hours.staff
    theirs = StaffMember.objects.filter(business=cast.next_door).first()
    response = console.post(
        page_of(hours), {"staff": str(theirs.pk), "weekday": "0", "opens": "08:00", "closes": "17:00"}
    )
    assert response.status_code == 200
    assert errors_of(response) == ["Select a valid choice. That choice is not one of the available choices."]
    hours.refresh_from_db()
    assert hours.staff == before


def test_a_handwritten_id_is_an_error_of_the_form_and_not_of_the_server(console, cast):
    response = console.post(add_of(Appointment), booking_form(cast, customer="not-an-id"))
    assert response.status_code == 200
    assert len(errors_of(response)) == 1
    assert console.get(add_of(Appointment), {"customer": "not-an-id"}).status_code == 200


def test_a_name_that_is_there_already_is_refused_also_where_the_business_is_fixed(console, cast):
    first, second = Service.objects.filter(business=cast.shop).order_by("name")[:2]
    response = console.post(
        page_of(second), {"name": first.name.upper(), "duration_minutes": "60", "aliases": "", "is_active": "on"}
    )
    assert response.status_code == 200
    assert errors_of(response) == ["A service with this name exists already."]


def test_a_change_leaves_from_and_to(console, cast, sue):
    service = Service.objects.filter(business=cast.shop, name="Plumbing").get()
    console.post(
        page_of(service),
        {"name": "Plumbing", "duration_minutes": "90", "aliases": "plumber,leak,clogged drain", "is_active": ""},
    )
    event = AuditEvent.objects.get(action="service changed")
    assert event.changes == {"duration_minutes": ["60", "90"], "is_active": ["yes", "no"]}
    assert (event.actor, event.business, event.target) == (sue, cast.shop, f"service Plumbing ({service.pk})")


def test_saving_without_a_change_leaves_no_trace(console, cast):
    service = Service.objects.filter(business=cast.shop, name="Plumbing").get()
    console.post(
        page_of(service),
        {"name": "Plumbing", "duration_minutes": "60", "aliases": "plumber,leak,clogged drain", "is_active": "on"},
    )
    assert not AuditEvent.objects.exists()


def test_what_others_need_is_not_deleted_and_the_page_says_what_to_do(console, cast):
    service = fill(cast, 0, 1)[Service]
    response = console.post(page_of(service).replace("/change/", "/delete/"), {"post": "yes"}, follow=True)
    why = f"“{service}” stays, because appointments and leads still need it."
    assert told(response) == [f"{why} Take the tick from “Is active” to take it off the list."]
    assert Service.objects.filter(pk=service.pk).exists()


def test_what_nobody_needs_is_deleted_with_a_trace(console, cast, sue):
    closed = fill(cast, 0, 1)[BlackoutDate]
    console.post(page_of(closed).replace("/change/", "/delete/"), {"post": "yes"})
    assert not BlackoutDate.objects.exists()
    event = AuditEvent.objects.get(action="blackout date deleted")
    assert (event.actor, event.business) == (sue, cast.shop)


def test_history_is_not_deleted_by_anybody(console, cast):
    rows = fill(cast, 0, 1)
    for model in (
        Customer, Conversation, Message, Appointment, Lead, Business, User, InboundEvent, AuditEvent, Activity, ApiKey
    ):  # fmt: skip
        row = rows[model]
        assert console.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403, model
        assert choose(console, "delete_selected", row).status_code == 200, model
        assert model._default_manager.filter(pk=row.pk).exists(), model


def test_time_off_is_written_on_the_clock_of_the_business(console, cast):
    staff = StaffMember.objects.filter(business=cast.shop).first()
    form = {
        "business": str(cast.shop.pk),
        "staff": str(staff.pk),
        "starts_at_0": "2027-02-01",
        "starts_at_1": "08:00",
        "ends_at_0": "2027-02-01",
        "ends_at_1": "12:00",
        "reason": "Dentist",
    }
    assert console.post(add_of(TimeOff), form).status_code == 302
    off = TimeOff.objects.get()
    assert off.starts_at.isoformat() == "2027-02-01T14:00:00+00:00"  # eight in Chicago
    assert 'value="08:00:00"' in console.get(page_of(off)).content.decode()


def test_opening_hours_that_end_before_they_begin_are_refused(console, cast):
    form = {"business": str(cast.shop.pk), "staff": "", "weekday": "6", "opens": "17:00", "closes": "08:00"}
    response = console.post(add_of(WeeklyHours), form)
    assert errors_of(response) == ["This is before it opens. 00:00 means midnight at the end of the day."]
    assert console.post(add_of(WeeklyHours), form | {"closes": "00:00"}).status_code == 302


# --- The switchboard -------------------------------------------------------------------------------------------------


def test_a_token_goes_in_sealed_and_is_replaced_only_by_a_new_one(console, cast):
    sid = "AC" + "1" * 32
    console.post(add_of(TwilioAccount), {"account_sid": sid, "business": str(cast.shop.pk), "token": SECRET_TOKEN})
    account = TwilioAccount.objects.get(pk=sid)
    assert unseal(account.sealed_token) == SECRET_TOKEN

    console.post(page_of(account), {"token": ""})
    account.refresh_from_db()
    assert unseal(account.sealed_token) == SECRET_TOKEN

    console.post(page_of(account), {"token": "a newer token"})
    account.refresh_from_db()
    assert unseal(account.sealed_token) == "a newer token"
    assert [event.changes for event in AuditEvent.objects.filter(action="twilio account changed")] == [
        {"token": ["", "(hidden)"]}
    ]


def test_an_account_without_a_token_is_refused(console, cast):
    response = console.post(
        add_of(TwilioAccount), {"account_sid": "AC" + "1" * 32, "business": str(cast.shop.pk), "token": ""}
    )
    assert errors_of(response) == ["This field is required."]
    assert not TwilioAccount.objects.exists()


def test_the_demo_carriers_weather_is_one_page(console, db):
    response = console.get(list_of(CarrierSwitches))
    assert response.headers["Location"] == "/admin/telephony/carrierswitches/1/change/"
    console.post(
        "/admin/telephony/carrierswitches/1/change/",
        {"delay_seconds": "5", "lose_percent": "0", "duplicate_percent": "0", "fail": "on"},
    )
    assert CarrierSwitches.objects.values_list("fail", "delay_seconds").get() == (True, 5)
    assert AuditEvent.objects.get().changes == {"fail": ["no", "yes"], "delay_seconds": ["0", "5"]}


def test_a_stuck_text_is_on_the_list_the_front_page_links_to(console, cast):
    message = fill(cast, 0, 1)[Message]
    Message.objects.filter(pk=message.pk).update(
        status=MessageStatus.SENDING, claimed_at=timezone.now() - timedelta(minutes=5)
    )
    assert list(console.get(list_of(Message), {"state": "stuck"}).context["cl"].result_list) == [message]
    assert list(console.get(list_of(Message), {"state": "due"}).context["cl"].result_list) == []
