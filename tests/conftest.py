"""The cast and the stage.

Alice owns the plumbing shop, Bob works for her, Charlie owns the shop next door and must see nothing of hers.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

import pytest
from django.apps import apps
from django.core.cache import cache
from django.db import connection
from django_scopes import scopes_disabled
from psycopg import ClientCursor

from booking import setup
from crm.enums import Role
from crm.models import Business, User
from crm.services import add_business, add_member, add_number

# A Wednesday, 9:00 in Chicago: inside everybody's hours and nobody's quiet ones.
NOW = datetime(2026, 11, 18, 15, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Cast:
    shop: Business  # Alice's; +1 555 200 0001, two plumbers, Monday to Friday 8 to 5 in Chicago
    next_door: Business  # Charlie's; +1 555 200 0002
    alice: User
    bob: User
    charlie: User


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Autovacuum looks at a table in the middle of a test's transaction, finds it empty, and has the planner believe so:
    a statement then takes seconds instead of milliseconds. No table here lives long enough to need it."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP"
            " EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', name); END LOOP; END $$"
        )


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def cast(db: None) -> Cast:
    """Made once with the services, and then put back row by row: it is what most tests begin with."""
    if not _KEPT:
        before = _everything()
        made = _engage()
        _KEPT.append((made, _as_inserts(before, _everything())))
    else:
        with connection.cursor() as cursor:
            cursor.execute(_KEPT[0][1])
    return deepcopy(_KEPT[0][0])


_KEPT: list[tuple[Cast, str]] = []


def _everything() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of ours, by table."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - names of our own tables
            found[table] = cursor.fetchall()
    return found


def _as_inserts(before: dict[str, list[tuple[Any, ...]]], after: dict[str, list[tuple[Any, ...]]]) -> str:
    """One script that makes what is new in `after`. Foreign keys are looked at when a transaction ends, so any order does."""
    connection.ensure_connection()
    cursor = ClientCursor(connection.connection)
    return ";".join(
        cursor.mogrify(f'INSERT INTO "{table}" VALUES ({", ".join(["%s"] * len(row))})', row)  # noqa: S608 - as above
        for table, rows in after.items()
        for row in rows
        if row not in before[table]
    )


def _engage() -> Cast:
    shop = open_shop("alice", name="Alice Plumbing", number="+15552000001", owner_phone="+15552009001")
    next_door = open_shop("charlie", name="Charlie Cooling", number="+15552000002", owner_phone="+15552009002")
    alice = User.objects.create_user("alice@example.com", "correct horse battery", name="Alice Ames")
    bob = User.objects.create_user("bob@example.com", "correct horse battery", name="Bob Burns")
    charlie = User.objects.create_user("charlie@example.com", "correct horse battery", name="Charlie Cole")
    add_member(business=shop, user=alice, role=Role.OWNER)
    add_member(business=shop, user=bob, role=Role.STAFF)
    add_member(business=next_door, user=charlie, role=Role.OWNER)
    return Cast(shop=shop, next_door=next_door, alice=alice, bob=bob, charlie=charlie)


def open_shop(
    slug: str, *, name: str, number: str, owner_phone: str = "", staff: int = 2, **fields: object
) -> Business:
    """A business that can be booked, in Chicago, with open intake."""
    business = add_business(
        slug=slug,
        name=name,
        zone="America/Chicago",
        open_intake=True,
        owner_phone=owner_phone,
        trade="plumbing",
        **fields,
    )
    add_number(business=business, raw=number)
    with scopes_disabled():
        setup.set_rules(business)
        setup.add_services(business, setup.STARTER_SERVICES)
        setup.add_staff(business, [f"{name.split()[0]} {n}" for n in range(1, staff + 1)])
        setup.set_hours(business, [(day, time(8), time(17)) for day in setup.WEEKDAYS])
    return business
