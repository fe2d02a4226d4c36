"""An installation of before the pipeline: its leads get their stages, counts and outcomes, and nobody is alarmed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from booking.models import Appointment
from crm.enums import Author, Direction, MessageStatus
from crm.keys import uuid7
from crm.models import Business, Customer, Message
from crm.scoping import every_business
from leads.models import Lead, StageChange
from leads.services import watching
from tests.conftest import NOW, open_shop
from tests.furnish import Furnished

AGO = timedelta(hours=1)


def migrate_to(name: str) -> None:
    MigrationExecutor(connection).migrate([("leads", name)])


@pytest.fixture
def newest(transactional_db: None) -> Iterator[str]:
    """The tables of leads are as they were before; whatever happens, they are up to date afterwards."""
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("leads")[0][1]
    migrate_to("0003_bought")
    yield newest
    migrate_to(newest)


def put_down(
    shop: Business, customer: Customer, *, answered_at: datetime | None, job: Appointment | None = None
) -> object:
    """A lead as it was kept then."""
    pk = uuid7()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO leads_lead (id, business_id, customer_id, source, event_id, status, asked_for, notes, created_at,"
            " first_touch_at, appointment_id) VALUES (%s, %s, %s, 'form', '', 'new', '', '', %s, %s, %s)",
            [pk, shop.pk, customer.pk, NOW - AGO, answered_at, job and job.pk],
        )
    return pk


def test_the_leads_of_before_are_taken_along(newest):
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001", owner_phone="+15552009001")
    with every_business():
        done = Furnished(shop).another(Appointment, status="COMPLETED")
        people = [Customer.objects.create(business=shop, name=name) for name in ("New", "Answered", "Done")]
        for customer in people[1:]:
            Message.objects.create(
                business=shop, customer=customer, direction=Direction.OUTBOUND, author=Author.STAFF, body="Hello",
                to_number="+15550100001", status=MessageStatus.SENT, created_at=NOW - AGO / 2,
            )  # fmt: skip
        fresh = put_down(shop, people[0], answered_at=None)
        answered = put_down(shop, people[1], answered_at=NOW - AGO / 2)
        won = put_down(shop, people[2], answered_at=NOW - AGO / 2, job=done)

        migrate_to(newest)

        leads = {lead.pk: lead for lead in Lead.objects.all()}
        stands = {pk: (lead.stage, lead.outcome, lead.activity_count, lead.closed_at) for pk, lead in leads.items()}
        assert stands == {
            fresh: ("new", "", 0, None),
            answered: ("contacted", "", 1, None),
            won: ("contacted", "won", 1, done.ends_at),
        }
        assert leads[answered].last_activity_at == NOW - AGO / 2
        assert [leads[pk].rescore_at is None for pk in (fresh, answered, won)] == [False, False, True]
        assert len({lead.number for lead in leads.values()}) == 3
        moves = {row.lead_id: (row.old, row.new, row.at) for row in StageChange.objects.all()}
        assert moves == dict.fromkeys((answered, won), ("new", "contacted", NOW - AGO / 2))
    assert watching.tell_late(now=NOW) == 0, "they waited before somebody asked to be told"
