"""Customers, threads and tasks: remembered, merged and taken apart again, handed from one to another."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from crm import consent
from crm.enums import Author, ConsentSource, MessageKind, TaskReason
from crm.messaging import CannotSend
from crm.models import Activity, AuditEvent, Business, Consent, Conversation, Customer, CustomerMerge, Message, Task
from crm.scoping import every_business, only
from crm.services import (
    Refused,
    add_business,
    add_task,
    find_customer,
    finish_task,
    hand_back,
    mark_answered,
    merge_customers,
    receive_text,
    record_opt_out,
    remember_customer,
    reopen_task,
    reply_as_staff,
    set_status,
    take_over,
    tell_customer,
    undo_merge,
    update_customer,
)
from tests.conftest import NOW, open_shop
from tests.crowd import all_at_once
from tests.furnish import Furnished

JANE, JIM, JOE = "+15551230001", "+15551230002", "+15551230003"


@pytest.fixture
def shop(db):
    business = open_shop("alice", name="Alice Plumbing", number="+15552000001", owner_phone="+15552009001")
    with only(business):
        yield business


@pytest.fixture
def alice(django_user_model):
    return django_user_model.objects.create(email="alice@example.com", name="Alice Ames")


def customer(business: Business, phone: str | None = JANE, **fields: object) -> Customer:
    return Customer.objects.create(business=business, phone=phone, **fields)


def told() -> list[str]:
    return list(Activity.objects.order_by("id").values_list("text", flat=True))


def texted(business: Business, phone: str = JANE, body: str = "hi", n: int = 1) -> Conversation:
    consent.grant_if_silent(business=business, phone=phone, source=ConsentSource.TEXT, words=body, now=NOW)
    return receive_text(
        business=business, phone=phone, our_number="+15552000001", body=body, provider_sid=f"SM{n}", now=NOW
    ).conversation


# --- Remembering ------------------------------------------------------------------------------------------------------


def test_a_number_is_one_customer_and_what_is_known_is_never_overwritten(shop):
    first, is_new = remember_customer(business=shop, phone=JANE, raw="(555) 123-0001")
    assert (is_new, first.name, first.phone_raw) == (True, "", "(555) 123-0001")
    again, is_new = remember_customer(business=shop, phone=JANE, name="Jane Doe", address="12 Elm St")
    assert (again.pk, is_new, again.name, again.address) == (first.pk, False, "Jane Doe", "12 Elm St")
    remember_customer(business=shop, phone=JANE, name="J. D.", raw="5551230001", address="elsewhere")
    assert list(Customer.objects.values_list("name", "address", "phone_raw")) == [
        ("Jane Doe", "12 Elm St", "(555) 123-0001")
    ]


def test_the_same_number_at_another_business_is_another_customer(shop):
    next_door = open_shop("charlie", name="Charlie Cooling", number="+15552000002")
    ours, _ = remember_customer(business=shop, phone=JANE, name="Jane Doe")
    with only(next_door):
        theirs, is_new = remember_customer(business=next_door, phone=JANE)
    assert (is_new, theirs.pk == ours.pk, theirs.name) == (True, False, "")


def test_sixteen_first_knocks_at_once_are_one_customer(transactional_db):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001")

    def knock() -> tuple[object, bool]:
        with only(shop):
            found, is_new = remember_customer(business=shop, phone=JANE, name="Jane Doe")
            return found.pk, is_new

    knocks = all_at_once([knock] * 16)
    assert len({pk for pk, _ in knocks}) == 1
    assert sorted(is_new for _, is_new in knocks) == [False] * 15 + [True]


def test_an_edit_is_told_and_a_number_that_is_taken_refused(shop, alice):
    jane = customer(shop, JANE, name="Jane Doe")
    customer(shop, JIM)
    update_customer(customer=jane, changes={"email": "jane@example.com", "name": "Jane Doe"}, actor=alice, now=NOW)
    update_customer(customer=jane, changes={"name": "Jane Doe"}, actor=alice, now=NOW)
    with pytest.raises(Refused, match="A customer with this phone number is already on file."):
        update_customer(customer=jane, changes={"phone": JIM}, actor=alice, now=NOW)
    jane.refresh_from_db()
    assert (jane.email, jane.phone, told()) == ("jane@example.com", JANE, ["Edited: email."])


# --- Merging ----------------------------------------------------------------------------------------------------------


def test_a_merge_moves_every_table_that_points_at_customers_and_undo_restores_them(shop, alice):
    """Also tables that do not exist yet: the rows are made for whatever points at a customer today."""
    house = Furnished(shop)
    kept, dropped = customer(shop, JANE, name="Jane Doe"), customer(shop, JIM, email="jim@example.com")
    pointing = [r for r in Customer._meta.related_objects if r.related_model not in (Customer, CustomerMerge)]
    assert len(pointing) >= 7
    rows = {r: [house.another(r.related_model, **{r.field.name: who}) for who in (kept, dropped)] for r in pointing}

    def owners() -> dict[str, list[object]]:
        return {
            r.related_model._meta.label: [
                getattr(r.related_model._default_manager.get(pk=row.pk), r.field.attname) for row in made
            ]
            for r, made in rows.items()
        }

    before = owners()
    assert all(pair == [kept.pk, dropped.pk] for pair in before.values())

    merge = merge_customers(kept=kept, dropped=dropped, actor=alice, now=NOW)

    # What may not be there twice stays: both have an open task for the same reason and an open offer.
    stays = {"crm.Task", "leads.Proposal"}
    assert {label for label, pair in owners().items() if pair == [kept.pk, kept.pk]} == set(before) - stays
    assert {label for label, pair in owners().items() if pair == [kept.pk, dropped.pk]} == stays
    kept.refresh_from_db()
    dropped.refresh_from_db()
    assert (kept.email, dropped.merged_into_id, merge.merged_by) == ("jim@example.com", kept.pk, alice)
    assert find_customer(business=shop, phone=JIM) == kept

    undo_merge(merge=merge, actor=alice, now=NOW)

    assert owners() == before
    kept.refresh_from_db()
    dropped.refresh_from_db()
    assert (kept.email, dropped.email, dropped.merged_into_id) == ("", "jim@example.com", None)
    assert find_customer(business=shop, phone=JIM) == dropped
    assert told()[-2:] == ["Merged with (555) 123-0002.", "Merge with (555) 123-0002 undone."]


def test_tasks_that_do_not_stand_against_each_other_move(shop, alice):
    kept, dropped = customer(shop, JANE), customer(shop, JIM)
    for who, reason in [
        (kept, TaskReason.WANTS_CANCEL),
        (dropped, TaskReason.WANTS_CANCEL),
        (dropped, TaskReason.NO_CAPACITY),
    ]:
        add_task(business=shop, customer=who, reason=reason, title=f"Call {who}.", now=NOW)
    merge_customers(kept=kept, dropped=dropped, actor=alice, now=NOW)
    assert sorted(Task.objects.filter(customer=kept).values_list("reason", flat=True)) == [
        "no_capacity",
        "wants_cancel",
    ]
    assert Task.objects.get(customer=dropped).reason == "wants_cancel"


def test_a_customer_without_a_number_gets_the_one_of_the_merged(shop, alice):
    """Somebody typed in by hand turns out to be the one who texts: from then on they can be texted."""
    kept, dropped = (
        customer(shop, None, name="Jane Doe"),
        remember_customer(business=shop, phone=JANE, raw="555-123-0001")[0],
    )
    texted(shop, JANE)
    merge = merge_customers(kept=kept, dropped=dropped, actor=alice, now=NOW)
    kept.refresh_from_db()
    assert (kept.phone, kept.phone_raw, find_customer(business=shop, phone=JANE)) == (JANE, "555-123-0001", kept)
    assert tell_customer(customer=kept, body="Hello.", kind=MessageKind.CHAT, now=NOW).to_number == JANE

    undo_merge(merge=merge, actor=alice, now=NOW)

    kept.refresh_from_db()
    dropped.refresh_from_db()
    assert (kept.phone, kept.phone_raw, dropped.phone, dropped.phone_raw) == (None, "", JANE, "555-123-0001")


def test_what_came_in_since_the_merge_stays_with_the_kept_one(shop, alice):
    kept, dropped = customer(shop, JANE), customer(shop, JIM, name="Jim Roe")
    merge = merge_customers(kept=kept, dropped=dropped, actor=alice, now=NOW)
    thread = texted(shop, JIM)
    kept.refresh_from_db()
    update_customer(customer=kept, changes={"name": "James Roe"}, actor=alice, now=NOW)
    undo_merge(merge=merge, actor=alice, now=NOW)
    kept.refresh_from_db()
    thread.refresh_from_db()
    assert (kept.name, thread.customer_id) == ("James Roe", kept.pk)


def test_a_number_leads_through_two_merges_to_the_one_who_was_kept(shop, alice):
    jane, jim, joe = customer(shop, JANE), customer(shop, JIM), customer(shop, JOE)
    first = merge_customers(kept=jim, dropped=jane, actor=alice, now=NOW)
    second = merge_customers(kept=joe, dropped=jim, actor=alice, now=NOW)
    assert find_customer(business=shop, phone=JANE) == joe
    assert remember_customer(business=shop, phone=JANE) == (joe, False)
    with pytest.raises(Refused, match="The two have been merged with a third customer since. Undo that first."):
        undo_merge(merge=first, actor=alice, now=NOW)
    first.refresh_from_db()
    assert first.undone_at is None
    undo_merge(merge=second, actor=alice, now=NOW)
    undo_merge(merge=first, actor=alice, now=NOW)
    assert [find_customer(business=shop, phone=phone) for phone in (JANE, JIM, JOE)] == [jane, jim, joe]


def test_merges_that_make_no_sense_are_refused_and_change_nothing(shop, alice):
    next_door = open_shop("charlie", name="Charlie Cooling", number="+15552000002")
    jane, jim, joe = customer(shop, JANE), customer(shop, JIM), customer(shop, JOE)
    with every_business():
        stranger = customer(next_door, JANE)
    merge = merge_customers(kept=jane, dropped=jim, actor=alice, now=NOW)
    two, again = "Choose two different customers of the same business.", "One of the two has been merged already."
    for kept, dropped, sentence in [
        (jane, jane, two),
        (jane, stranger, two),
        (stranger, jane, two),
        (jane, jim, again),
        (jim, joe, again),
        (joe, jim, again),
    ]:
        with pytest.raises(Refused, match=sentence):
            merge_customers(kept=kept, dropped=dropped, actor=alice, now=NOW)
    undo_merge(merge=merge, actor=alice, now=NOW)
    with pytest.raises(Refused, match="This merge was undone already."):
        undo_merge(merge=merge, actor=alice, now=NOW)
    assert (CustomerMerge.objects.count(), len(told())) == (1, 2)


def test_an_undo_that_something_new_stands_against_is_refused_whole(shop, alice):
    kept, dropped = customer(shop, None, name="Jane Doe"), customer(shop, JANE)
    merge = merge_customers(kept=kept, dropped=dropped, actor=alice, now=NOW)
    kept.refresh_from_db()
    update_customer(customer=kept, changes={"phone": JIM}, actor=alice, now=NOW)
    customer(shop, JANE, name="Somebody else now")
    with pytest.raises(Refused, match="This merge cannot be undone any more: what came in since stands in the way."):
        undo_merge(merge=merge, actor=alice, now=NOW)
    merge.refresh_from_db()
    dropped.refresh_from_db()
    assert (merge.undone_at, dropped.merged_into_id) == (None, kept.pk)


# --- Threads ----------------------------------------------------------------------------------------------------------


def test_a_text_is_kept_with_its_thread_and_waits_for_an_answer(shop):
    thread = texted(shop, JANE, "need a plumber")
    later = receive_text(
        business=shop,
        phone=JANE,
        our_number="+15552000001",
        body="hello?",
        provider_sid="SM2",
        now=NOW + timedelta(minutes=5),
    ).conversation
    assert (later.pk, later.waiting_since, later.last_words, later.last_inbound_at) == (
        thread.pk,
        NOW,
        "hello?",
        NOW + timedelta(minutes=5),
    )
    assert list(Message.objects.order_by("id").values_list("body", "status")) == [
        ("need a plumber", "received"),
        ("hello?", "received"),
    ]


def test_sixteen_first_texts_at_once_are_one_thread(transactional_db):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001")

    def text(n: int) -> object:
        with only(shop):
            return texted(shop, JANE, n=n).pk

    threads = all_at_once([lambda n=n: text(n) for n in range(16)])
    assert len(set(threads)) == 1
    with every_business():
        assert (Conversation.objects.count(), Message.objects.count(), Customer.objects.count()) == (1, 16, 1)


def test_whoever_writes_takes_the_conversation_over(shop, alice):
    thread = texted(shop)
    message = reply_as_staff(conversation=thread, body="On our way.", user=alice, now=NOW)
    thread.refresh_from_db()
    assert (message.author, message.sent_by, thread.human, thread.human_until) == (
        Author.STAFF,
        alice,
        alice,
        NOW + timedelta(hours=2),
    )
    assert thread.waiting_since is None
    hand_back(conversation=thread, user=alice, now=NOW)
    thread.refresh_from_db()
    assert thread.human_answers(NOW) is False
    take_over(conversation=thread, user=alice, now=NOW)
    assert thread.human_answers(NOW + timedelta(minutes=119)) is True
    assert thread.human_answers(NOW + timedelta(minutes=120)) is False
    assert told() == ["Alice handed the conversation back to the assistant.", "Alice took over the conversation."]


def test_a_refused_reply_changes_nothing(shop, alice):
    thread = texted(shop)
    consent.revoke(business=shop, phone=JANE, source=ConsentSource.TEXT, words="stop", now=NOW + timedelta(seconds=1))
    with pytest.raises(CannotSend, match="Can't send: opted out on Nov 18 by text"):
        reply_as_staff(conversation=thread, body="On our way.", user=alice, now=NOW)
    thread.refresh_from_db()
    assert (thread.human, thread.waiting_since, Message.objects.filter(direction="outbound").count()) == (None, NOW, 0)


def test_what_cannot_be_texted_stands_on_the_timeline(shop):
    silent = customer(shop, None, name="Jane Doe")
    assert tell_customer(customer=silent, body="Hello.", kind=MessageKind.CHAT, now=NOW) is None
    stranger = customer(shop, JIM)
    assert tell_customer(customer=stranger, body="Hello.", kind=MessageKind.CHAT, now=NOW) is None
    assert told() == [
        "There is no phone number on file for this customer. “Hello.”",
        "Can't send: they have not agreed to texts, and nothing is on record from this number. “Hello.”",
    ]
    assert Message.objects.count() == 0


def test_a_thread_marked_as_answered_waits_no_longer(shop, alice):
    thread = texted(shop)
    mark_answered(conversation=thread, user=alice, now=NOW)
    thread.refresh_from_db()
    assert (thread.waiting_since, told()) == (None, ["Alice marked the conversation as answered."])


def test_an_opt_out_told_to_a_person_counts(shop, alice):
    jane = customer(shop, JANE)
    record_opt_out(business=shop, customer=jane, words="no more texts, she said", user=alice, now=NOW)
    line = Consent.objects.get()
    assert (line.action, line.source, line.words, line.recorded_by) == (
        "revoke",
        "staff",
        "no more texts, she said",
        alice,
    )
    with pytest.raises(Refused, match="There is no phone number on file for this customer."):
        record_opt_out(business=shop, customer=customer(shop, None), words="", user=alice, now=NOW)


# --- Tasks ------------------------------------------------------------------------------------------------------------


def test_an_open_task_is_renewed_and_not_doubled(shop):
    jane = customer(shop, JANE)
    first = add_task(business=shop, customer=jane, reason=TaskReason.WANTS_CANCEL, title="Call Jane.", now=NOW)
    later = NOW + timedelta(hours=1)
    again = add_task(business=shop, customer=jane, reason=TaskReason.WANTS_CANCEL, title="Call Jane again.", now=later)
    other = add_task(business=shop, customer=jane, reason=TaskReason.NO_CAPACITY, title="Find her a time.", now=NOW)
    assert (again.pk, again.title, again.due_at, again.created_at, other.pk == first.pk) == (
        first.pk,
        "Call Jane again.",
        later,
        NOW,
        False,
    )
    assert told() == ["Call Jane.", "Find her a time."]


def test_what_people_plan_themselves_may_be_several_things_for_one_person(shop, alice):
    jane, june = customer(shop, JANE), customer(shop, JIM)
    plan = [
        ("Call Jane.", "lead:1", 1),
        ("Write to Jane.", "lead:1", 1),
        ("Call Jane.", "lead:1", 2),
        ("Call Jane.", "lead:2", 1),
    ]
    for title, about, hours in plan * 2:
        due = NOW + timedelta(hours=hours)
        add_task(
            business=shop, customer=jane, reason=TaskReason.FOLLOW_UP, title=title, now=NOW, about=about, due_at=due
        )
    assert Task.objects.count() == len(plan)
    assert told() == [title for title, _, _ in plan]
    merge_customers(kept=june, dropped=jane, actor=alice, now=NOW)
    assert Task.objects.filter(customer=june).count() == len(plan)


def test_a_task_is_done_once_and_can_be_opened_again(shop, alice):
    jane = customer(shop, JANE)
    task = add_task(business=shop, customer=jane, reason=TaskReason.WANTS_CANCEL, title="Call Jane.", now=NOW)
    assert [finish_task(task=task, user=alice, now=NOW) for _ in range(2)] == [True, False]
    task.refresh_from_db()
    assert (task.done_at, task.done_by) == (NOW, alice)
    reopen_task(task=task, user=alice, now=NOW)
    task.refresh_from_db()
    assert (task.done_at, task.done_by) == (None, None)
    assert told() == ["Call Jane.", "Done: Call Jane.", "Open again: Call Jane."]


def test_a_task_that_is_on_the_list_again_cannot_be_opened_twice(shop, alice):
    jane = customer(shop, JANE)
    done = add_task(business=shop, customer=jane, reason=TaskReason.WANTS_CANCEL, title="Call Jane.", now=NOW)
    finish_task(task=done, user=alice, now=NOW)
    add_task(business=shop, customer=jane, reason=TaskReason.WANTS_CANCEL, title="Call Jane.", now=NOW)
    with pytest.raises(Refused, match="The same thing is on the list again already."):
        reopen_task(task=done, user=alice, now=NOW)
    assert Task.objects.filter(done_at__isnull=True).count() == 1


def test_sixteen_who_ask_for_the_same_thing_at_once_add_one_task(transactional_db):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001")
    with every_business():
        jane = customer(shop, JANE)

    def ask() -> object:
        with only(shop):
            return add_task(
                business=shop, customer=jane, reason=TaskReason.WANTS_CANCEL, title="Call Jane.", now=NOW
            ).pk

    assert len(set(all_at_once([ask] * 16))) == 1
    with every_business():
        assert (Task.objects.count(), Activity.objects.count()) == (1, 1)


# --- Businesses -------------------------------------------------------------------------------------------------------


def test_a_business_is_checked_field_by_field(db):
    with pytest.raises(ValidationError) as refusal:
        add_business(slug="Not A Slug", name="", zone="Mars/Olympus", owner_phone="12")
    assert refusal.value.message_dict == {
        "slug": ["Use small letters, digits, - and _ only."],
        "name": ["This field cannot be blank."],
        "time_zone": ["“Mars/Olympus” is not a time zone we know. Write it like America/Chicago."],
        "owner_phone": ["“12” is not a full phone number. Write it like +15551234567."],
    }
    assert Business.objects.count() == 0


def test_suspending_is_audited_once(shop, alice):
    next_door = open_shop("charlie", name="Charlie Cooling", number="+15552000002")
    both = [shop, next_door]
    assert set_status(businesses=both, status="SUSPENDED", actor=alice, reason="unpaid", now=NOW) == 2
    assert set_status(businesses=both, status="SUSPENDED", actor=alice, reason="unpaid", now=NOW) == 0
    assert set(Business.objects.values_list("status", flat=True)) == {"SUSPENDED"}
    assert list(AuditEvent.objects.order_by("target").values_list("target", "changes", "reason")) == [
        ("business alice", {"status": ["ACTIVE", "SUSPENDED"]}, "unpaid"),
        ("business charlie", {"status": ["ACTIVE", "SUSPENDED"]}, "unpaid"),
    ]
