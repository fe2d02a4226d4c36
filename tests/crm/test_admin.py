"""The ground floor in the staff console: people, businesses, keys, customers, texts, tasks."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from crm import consent, limits
from crm.api_keys import issue_key, recognise
from crm.enums import ConsentSource, KeyKind, MessageStatus, Meter, Role, TaskReason
from crm.models import (
    Activity,
    ApiKey,
    AuditEvent,
    Business,
    Consent,
    Conversation,
    Customer,
    CustomerMerge,
    IdempotencyKey,
    Membership,
    Message,
    PhoneNumber,
    Task,
    User,
)
from crm.scoping import every_business
from crm.services import add_customer, add_task, receive_text
from tests.console import add_of, choose, confirm, errors_of, list_of, page_of, told

PASSWORD = "correct horse battery"


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


@pytest.fixture
def helper(client, db) -> User:
    """Staff with rights on people and customers, but no superuser."""
    user = User.objects.create_user("helper@example.com", PASSWORD, is_staff=True)
    names = [f"{what}_{table}" for what in ("view", "add", "change") for table in ("user", "customer", "message")]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    return user


def ann(cast, now: datetime | None = None, **fields) -> Customer:
    return add_customer(
        business=cast.shop,
        fields={"name": "Ann Ames", "phone": "+15551234501"} | fields,
        actor=None,
        now=now or timezone.now(),
    )


# --- People ----------------------------------------------------------------------------------------------------------


def test_a_user_is_added_by_e_mail_in_small_letters(console, sue):
    form = {
        "email": "Dora@Example.COM",
        "name": "Dora",
        "usable_password": "true",
        "password1": "a long pass phrase",
        "password2": "a long pass phrase",
    }
    assert console.post(add_of(User), form).status_code == 302
    dora = User.objects.get(email="dora@example.com")
    assert dora.check_password("a long pass phrase")
    event = AuditEvent.objects.get()
    assert (event.actor, event.action) == (sue, "user added")
    assert "a long pass phrase" not in str(event.changes)


def test_an_address_that_signs_in_already_is_refused_however_it_is_written(console, cast):
    form = {
        "email": "ALICE@example.com",
        "usable_password": "true",
        "password1": "a long pass phrase",
        "password2": "a long pass phrase",
    }
    assert errors_of(console.post(add_of(User), form)) == ["User with this E-mail address already exists."]


def test_a_new_password_leaves_a_trace_that_does_not_tell_it(console, cast, sue):
    address = reverse("admin:auth_user_password_change", args=[cast.bob.pk])
    console.post(
        address, {"usable_password": "true", "password1": "a long pass phrase", "password2": "a long pass phrase"}
    )
    cast.bob.refresh_from_db()
    assert cast.bob.check_password("a long pass phrase")
    event = AuditEvent.objects.get()
    assert (event.actor, event.changes) == (sue, {"password": ["", "(hidden)"]})


def test_switching_a_person_off_leaves_from_and_to(console, cast):
    console.post(page_of(cast.bob), {"email": "bob@example.com", "name": "Bob Burns", "is_active": ""})
    cast.bob.refresh_from_db()
    assert cast.bob.is_active is False
    assert AuditEvent.objects.get().changes == {"is_active": ["yes", "no"]}


def test_staff_who_are_no_superusers_hand_out_no_rights(client, helper, cast):
    client.post(
        page_of(helper),
        {"email": "helper@example.com", "name": "", "is_active": "on", "is_superuser": "on", "is_staff": "on"},
    )
    helper.refresh_from_db()
    assert helper.is_superuser is False
    client.post(page_of(cast.bob), {"email": "bob@example.com", "name": "Bob", "is_active": "on", "is_staff": "on"})
    cast.bob.refresh_from_db()
    assert (cast.bob.is_staff, cast.bob.name) == (False, "Bob")


def test_staff_who_are_no_superusers_cannot_take_over_one(client, helper, sue):
    assert client.post(page_of(sue), {"email": "helper2@example.com", "is_active": "on"}).status_code == 403
    address = reverse("admin:auth_user_password_change", args=[sue.pk])
    assert (
        client.post(address, {"password1": "a long pass phrase", "password2": "a long pass phrase"}).status_code == 403
    )
    sue.refresh_from_db()
    assert (sue.email, sue.check_password(PASSWORD)) == ("sue@example.com", True)


def test_a_person_who_recorded_consent_can_still_be_looked_at_and_not_deleted(console, cast):
    consent.grant(
        business=cast.shop,
        phone="+15551234501",
        source=ConsentSource.STAFF,
        words="Sure",
        now=timezone.now(),
        recorded_by=cast.bob,
    )
    assert console.get(page_of(cast.bob)).status_code == 200
    assert console.post(page_of(cast.bob).replace("change", "delete"), {"post": "yes"}).status_code == 403


# --- Businesses ------------------------------------------------------------------------------------------------------


def business_form(**changes: str) -> dict[str, str]:
    empty = {
        f"{inline}-{name}": "0" for inline in ("memberships", "numbers") for name in ("TOTAL_FORMS", "INITIAL_FORMS")
    }
    return {
        "name": "Alice Plumbing",
        "trade": "plumbing",
        "time_zone": "America/Chicago",
        "region": "US",
        "language": "en",
        "open_intake": "on",
        "owner_phone": "+15552009001",
        "sms_daily_cap_cents": "2000",
        "llm_daily_cap_cents": "200",
        "scheduling_rules-TOTAL_FORMS": "0",
        "scheduling_rules-INITIAL_FORMS": "0",
        **empty,
        **changes,
    }


def test_suspending_asks_for_a_reason_and_keeps_it(console, cast, sue):
    asked = choose(console, "suspend", cast.shop)
    assert "It keeps its data, answers nobody and sends nothing." in asked.content.decode()
    again = confirm(console, "suspend", cast.shop, reason="  ")
    assert again.context["form"].errors == {"reason": ["This field is required."]}
    cast.shop.refresh_from_db()
    assert cast.shop.status == "ACTIVE"

    assert told(confirm(console, "suspend", cast.shop, reason="Unpaid since May")) == ["1 now suspended."]
    cast.shop.refresh_from_db()
    assert cast.shop.status == "SUSPENDED"
    event = AuditEvent.objects.get()
    assert (event.actor, event.business, event.reason, event.changes) == (
        sue,
        cast.shop,
        "Unpaid since May",
        {"status": ["ACTIVE", "SUSPENDED"]},
    )

    assert told(confirm(console, "reactivate", cast.shop, cast.next_door, reason="Paid")) == [
        "1 now active. 1 had been before."
    ]


def test_a_business_changes_with_a_trace_and_keeps_its_short_name(console, cast):
    console.post(page_of(cast.shop), business_form(trade="plumbing and heating", slug="renamed"))
    cast.shop.refresh_from_db()
    assert (cast.shop.slug, cast.shop.trade) == ("alice", "plumbing and heating")
    event = AuditEvent.objects.get()
    assert (event.target, event.changes) == ("business alice", {"trade": ["plumbing", "plumbing and heating"]})


def with_members(*emails: str) -> dict[str, str]:
    rows = {f"memberships-{n}-email": email for n, email in enumerate(emails)}
    return business_form(
        **rows,
        **{f"memberships-{n}-role": "viewer" for n, _ in enumerate(emails)},
        **{"memberships-TOTAL_FORMS": str(len(emails))},
    )


def test_a_member_is_added_by_e_mail(console, cast):
    console.post(page_of(cast.shop), with_members("Charlie@example.com"))
    assert Membership.objects.get(business=cast.shop, user=cast.charlie).role == Role.VIEWER
    assert AuditEvent.objects.get().changes == {
        "membership charlie@example.com · Viewer · Alice Plumbing": ["", "added"]
    }


@pytest.mark.parametrize(
    ("emails", "sentence"),
    [
        (["nobody@example.com"], "Nobody signs in with nobody@example.com. Add them under Users first."),
        (["bob@example.com"], "This person already belongs to the business."),
        (["charlie@example.com", "charlie@example.com"], "charlie@example.com is listed twice. One line per person."),
    ],
)
def test_a_member_who_cannot_be_added_is_refused_with_a_sentence(console, cast, emails, sentence):
    before = Membership.objects.count()
    response = console.post(page_of(cast.shop), with_members(*emails))
    assert response.status_code == 200
    assert sentence in response.content.decode()
    assert Membership.objects.count() == before


def test_a_number_is_written_as_usual_and_kept_as_one_dials_it(console, cast):
    console.post(add_of(PhoneNumber), {"business": str(cast.shop.pk), "e164": "(555) 200-7777", "label": "Second line"})
    assert PhoneNumber.objects.get(e164="+15552007777").business == cast.shop


def test_a_number_of_the_shop_next_door_stays_there(console, cast):
    response = console.post(add_of(PhoneNumber), {"business": str(cast.shop.pk), "e164": "555 200 0002"})
    assert errors_of(response) == ["Phone number with this Number already exists."]
    assert PhoneNumber.objects.get(e164="+15552000002").business == cast.next_door


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_works(console, cast, sue):
    response = console.post(add_of(ApiKey), {"business": str(cast.shop.pk), "kind": "api", "label": "Web form"})
    secret = response.context["secret"]
    key = recognise(secret, now=timezone.now())
    assert (key.business, key.label) == (cast.shop, "Web form")
    assert (
        response.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
        or "no-store" in response.headers["Cache-Control"]
    )
    assert [(event.actor, event.action) for event in AuditEvent.objects.all()] == [(sue, "key issued")]
    for address in (page_of(key), list_of(ApiKey), page_of(AuditEvent.objects.get()), "/admin/"):
        assert secret not in console.get(address).content.decode()


def test_a_key_of_the_wrong_kind_is_refused(console, cast):
    response = console.post(add_of(ApiKey), {"business": str(cast.shop.pk), "kind": "admin", "label": ""})
    assert errors_of(response) == ["A platform admin key belongs to no business; every other key belongs to one."]
    assert not ApiKey.objects.exists()


def test_a_key_is_replaced_and_the_old_one_stops(console, cast):
    old = issue_key(business=cast.shop, kind=KeyKind.API, now=timezone.now())
    assert "It stops working at once." in choose(console, "rotate", old.row).content.decode()
    assert recognise(old.secret, now=timezone.now()) == old.row

    secret = confirm(console, "rotate", old.row).context["secret"]

    assert recognise(old.secret, now=timezone.now()) is None
    assert recognise(secret, now=timezone.now()).business == cast.shop


def test_only_one_key_is_replaced_at_a_time(console, cast):
    keys = [issue_key(business=cast.shop, kind=KeyKind.API, now=timezone.now()).row for _ in range(2)]
    assert told(choose(console, "rotate", *keys)) == ["Choose one key: the new one is shown once."]
    assert ApiKey.objects.filter(revoked_at__isnull=True).count() == 2


def test_a_revoked_key_stays_revoked(console, cast, sue):
    key = issue_key(business=cast.shop, kind=KeyKind.API, now=timezone.now())
    assert told(confirm(console, "revoke", key.row)) == ["1 revoked."]
    assert recognise(key.secret, now=timezone.now()) is None
    assert told(confirm(console, "revoke", key.row)) == ["0 of 1 revoked."]
    assert told(confirm(console, "rotate", key.row)) == ["This key is revoked already; issue a new one."]
    assert AuditEvent.objects.filter(actor=sue, action="key revoked").count() == 1


# --- Customers -------------------------------------------------------------------------------------------------------


def customer_form(**changes: str) -> dict[str, str]:
    return {"name": "Ann Ames", "phone": "+15551234501", "email": "", "address": "", "notes": "", "tags": ""} | changes


def test_a_customer_is_written_down_by_hand(console, cast, sue):
    console.post(
        add_of(Customer), {"business": str(cast.shop.pk), **customer_form(phone="(555) 123-4599", tags="vip, annual")}
    )
    customer = Customer.objects.get()
    assert (customer.phone, customer.phone_raw, customer.tags) == ("+15551234599", "(555) 123-4599", ["vip", "annual"])
    assert Activity.objects.get().text == "Added by hand."
    assert (AuditEvent.objects.get().actor, AuditEvent.objects.get().action) == (sue, "customer added")


def test_an_edited_customer_leaves_a_note_for_the_owner_and_a_line_in_the_audit(console, cast, sue):
    customer = ann(cast)
    console.post(page_of(customer), customer_form(address="12 Oak St", phone="555-123-4501"))
    customer.refresh_from_db()
    assert (customer.address, customer.phone) == ("12 Oak St", "+15551234501")
    assert Activity.objects.filter(verb="edited").get().text == "Edited: address."
    assert AuditEvent.objects.get().changes == {"address": ["", "12 Oak St"]}


def test_a_number_that_is_on_file_is_refused_and_nothing_changes(console, cast):
    customer = ann(cast)
    ann(cast, name="Ben", phone="+15551234502")
    response = console.post(page_of(customer), customer_form(name="Anna", phone="(555) 123-4502"))
    assert response.status_code == 200
    assert errors_of(response) == ["A customer with this phone number is already on file."]
    assert 'value="Anna"' in response.content.decode()
    customer.refresh_from_db()
    assert (customer.name, customer.phone) == ("Ann Ames", "+15551234501")
    assert not AuditEvent.objects.exists()


def test_a_number_that_is_none_says_how_to_write_it(console, cast):
    response = console.post(page_of(ann(cast)), customer_form(phone="call me"))
    assert errors_of(response) == [
        "Phone number: 'call me' is not a phone number we can reach. Write it like (555) 123-4567 or +15551234567."
    ]


def test_an_opt_out_told_to_staff_is_recorded_with_its_words(console, cast, sue):
    customer, nobody = ann(cast), ann(cast, name="No Phone", phone=None)
    assert told(confirm(console, "record_an_opt_out", customer, nobody, words="Told me on the phone")) == [
        "No Phone: There is no phone number on file for this customer.",
        "1 opted out.",
    ]
    line = Consent.objects.get()
    assert (line.action, line.source, line.words, line.recorded_by) == ("revoke", "staff", "Told me on the phone", sue)
    assert AuditEvent.objects.get().action == "opt-out recorded"
    assert "No: opted out on" in console.get(page_of(customer)).content.decode()


def test_two_rows_of_one_person_are_merged_after_a_look_and_taken_apart_again(console, cast, sue):
    now = timezone.now()
    got = receive_text(
        business=cast.shop, phone="+15551234501", our_number="+15552000001", body="Hi", provider_sid="SM1", now=now
    )
    twin = ann(cast, name="Ann Ames", phone="+15551234502", email="ann@example.com")

    asked = choose(console, "merge_two", got.customer, twin).content.decode()
    assert "1 conversation, 1 message" in asked
    assert "ann@example.com" in asked
    assert not CustomerMerge.objects.exists()

    done = confirm(console, "merge_two", got.customer, twin, keep=str(twin.pk))

    merge = CustomerMerge.objects.get()
    assert (merge.kept, merge.dropped) == (twin, got.customer)
    assert page_of(merge) in told(done)[0]
    assert Message.objects.get().customer == twin
    assert AuditEvent.objects.get().action == "customers merged"

    assert told(confirm(console, "undo", merge)) == ["(555) 123-4501 and Ann Ames are two customers again."]
    assert Message.objects.get().customer == got.customer
    assert told(confirm(console, "undo", merge)) == ["This merge was undone already."]
    assert list(AuditEvent.objects.order_by("at").values_list("action", flat=True)) == [
        "customers merged",
        "merge undone",
    ]


def test_one_three_or_two_of_different_shops_are_not_merged(console, cast):
    one, two, three = ann(cast), ann(cast, phone="+15551234502"), ann(cast, phone="+15551234503")
    theirs = add_customer(business=cast.next_door, fields={"name": "Ann"}, actor=None, now=timezone.now())
    for rows in ((one,), (one, two, three), (one, theirs)):
        assert told(choose(console, "merge_two", *rows)) == ["Choose exactly two customers of the same business."]
    assert not CustomerMerge.objects.exists()


def test_the_ledger_is_read_and_never_written(console, cast):
    line = consent.grant(
        business=cast.shop, phone="+15551234501", source=ConsentSource.TEXT, words="Hi", now=timezone.now()
    )
    assert console.get(page_of(line)).status_code == 200
    assert console.post(page_of(line), {"words": "Never said"}).status_code == 403
    assert console.post(page_of(line).replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert console.get(add_of(Consent)).status_code == 403
    assert Consent.objects.get().words == "Hi"


# --- Texts -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def failed(cast) -> Message:
    """A text from staff that did not arrive, to somebody who is awake and wants texts."""
    now = timezone.now()
    got = receive_text(
        business=cast.shop, phone="+15551234501", our_number="+15552000001", body="Hi", provider_sid="SM1", now=now
    )
    consent.grant(business=cast.shop, phone="+15551234501", source=ConsentSource.TEXT, words="Hi", now=now)
    return Message.objects.create(
        business=cast.shop,
        conversation=got.conversation,
        customer=got.customer,
        direction="outbound",
        author="staff",
        body="We are on our way",
        to_number="+15551234501",
        from_number="+15552000001",
        status="failed",
        error="The phone was switched off or out of reach.",
        error_code="30003",
        provider_sid="SM" + "9" * 32,
        attempts=1,
        created_at=now,
        due_at=now,
        sent_at=now,
    )


def test_a_text_that_failed_goes_back_to_the_outbox_once(console, failed, sue):
    assert "they get it twice" in choose(console, "send_again", failed).content.decode()
    assert told(confirm(console, "send_again", failed)) == ["1 on the way again."]

    failed.refresh_from_db()
    assert (failed.status, failed.provider_sid, failed.error, failed.attempts) == (MessageStatus.QUEUED, "", "", 0)
    assert failed.due_at <= timezone.now()
    event = AuditEvent.objects.get()
    assert (event.actor, event.action, event.business) == (sue, "text sent again", failed.business)
    assert event.changes["status"] == ["failed", "queued"]
    assert event.changes["provider_sid"] == ["SM" + "9" * 32, ""]
    assert Activity.objects.get(actor=sue).text == "Sue had a text sent again: “We are on our way”"

    refused = told(confirm(console, "send_again", failed))
    assert refused == [f"{failed}: Only a text that failed, or that is not known to have arrived, can be sent again."]
    assert AuditEvent.objects.count() == 1


def test_a_text_is_not_sent_again_to_somebody_who_opted_out(console, failed):
    consent.revoke(
        business=failed.business, phone="+15551234501", source=ConsentSource.TEXT, words="stop", now=timezone.now()
    )
    said = told(confirm(console, "send_again", failed))
    assert len(said) == 1
    assert said[0].startswith(f"{failed}: Can't send: opted out on ")
    failed.refresh_from_db()
    assert failed.status == MessageStatus.FAILED
    assert not AuditEvent.objects.exists()


def test_a_text_sent_again_comes_out_of_todays_budget(console, failed):
    now = timezone.now()
    shop = failed.business
    limits.spend(business=shop, meter=Meter.SMS, micros=limits.cap_micros(shop, Meter.SMS), now=now)
    assert told(confirm(console, "send_again", failed)) == [
        f"{failed}: Can't send: today's budget for texts is used up."
    ]
    failed.refresh_from_db()
    assert failed.status == MessageStatus.FAILED


def test_a_message_is_read_and_never_written(console, failed):
    assert console.post(page_of(failed), {"body": "Something else"}).status_code == 403
    assert console.get(add_of(Message)).status_code == 403


def test_who_may_only_look_at_texts_sends_none_again(client, helper, failed):
    helper.user_permissions.remove(*Permission.objects.filter(codename="change_message"))
    response = confirm(client, "send_again", failed)
    assert response.status_code == 200
    failed.refresh_from_db()
    assert failed.status == MessageStatus.FAILED


def test_a_conversation_is_shown_as_its_thread(console, failed):
    page = console.get(page_of(Conversation.objects.get())).content.decode()
    assert page.index(">Hi<") < page.index("We are on our way")
    assert "The phone was switched off or out of reach." in page


# --- Tasks -----------------------------------------------------------------------------------------------------------


def test_a_task_is_done_and_opened_again(console, cast, sue):
    task = add_task(
        business=cast.shop, customer=ann(cast), reason=TaskReason.ASKED_A_PERSON, title="Call Ann", now=timezone.now()
    )
    assert told(choose(console, "finish", task)) == ["1 done."]
    task.refresh_from_db()
    assert task.done_by == sue
    assert told(choose(console, "finish", task)) == ["Call Ann: that was so already."]
    assert told(choose(console, "reopen", task)) == ["1 open again."]
    task.refresh_from_db()
    assert task.done_at is None
    assert list(AuditEvent.objects.order_by("at").values_list("action", flat=True)) == [
        "task done",
        "task opened again",
    ]


def test_a_task_that_is_on_the_list_again_is_not_opened_twice(console, cast):
    customer, now = ann(cast), timezone.now()
    task = add_task(business=cast.shop, customer=customer, reason=TaskReason.ASKED_A_PERSON, title="Call Ann", now=now)
    Task.objects.filter(pk=task.pk).update(done_at=now)
    add_task(business=cast.shop, customer=customer, reason=TaskReason.ASKED_A_PERSON, title="Call Ann again", now=now)
    assert told(choose(console, "reopen", task)) == ["Call Ann: The same thing is on the list again already."]
    assert not AuditEvent.objects.exists()


def test_answers_older_than_they_are_kept_are_not_listed(console, cast):
    IdempotencyKey.objects.create(business=cast.shop, scope="jobs", key="young", fingerprint="f")
    old = IdempotencyKey.objects.create(business=cast.shop, scope="jobs", key="old", fingerprint="f")
    IdempotencyKey.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=31))
    assert [row.key for row in console.get(list_of(IdempotencyKey)).context["cl"].result_list] == ["young"]


def test_the_businesses_page_leads_to_its_rows(console, cast):
    page = console.get(page_of(cast.shop)).content.decode()
    for model in (Customer, Conversation, Message, Task, ApiKey, AuditEvent):
        assert f'href="{list_of(model)}?of=alice"' in page
    assert Business.objects.count() == 2
