"""The wall between two businesses stands in Postgres, for every table, also for those that are still to come."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, models, transaction

from crm.scoping import every_business
from tests.conftest import open_shop
from tests.furnish import Furnished, belongs_to_a_business, our_models, tenant_keys

WALLS = """
    SELECT child.relname, parent.relname,
           (SELECT array_agg(attname::text ORDER BY ord) FROM unnest(c.conkey) WITH ORDINALITY AS k(num, ord)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num),
           (SELECT array_agg(attname::text ORDER BY ord) FROM unnest(c.confkey) WITH ORDINALITY AS k(num, ord)
            JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num)
    FROM pg_constraint c JOIN pg_class child ON child.oid = c.conrelid JOIN pg_class parent ON parent.oid = c.confrelid
    WHERE c.contype = 'f' AND c.convalidated AND NOT c.condeferrable AND array_length(c.conkey, 1) = 2
"""


def test_every_key_inside_a_business_has_its_wall_in_postgres(db):
    with connection.cursor() as cursor:
        cursor.execute(WALLS)
        standing = {(child, parent, *map(tuple, columns)) for child, parent, *columns in cursor.fetchall()}
    wanted = {
        (
            key.model._meta.db_table,
            key.related_model._meta.db_table,
            ("business_id", key.column),
            ("business_id", key.related_model._meta.pk.column),
        )
        for key in tenant_keys()
    }
    assert len(wanted) >= 19
    assert wanted - standing == set()


def test_every_key_between_rows_of_businesses_stays_inside_one():
    """A plain ForeignKey from one tenant table to another would be a door in the wall."""
    doors = [
        f"{field.model._meta.label}.{field.name}"
        for model in our_models()
        if belongs_to_a_business(model)
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey)
        and field not in tenant_keys()
        and belongs_to_a_business(field.related_model)
    ]
    assert doors == []


def _let_evidence_be_changed() -> None:
    """Some tables refuse every UPDATE before a wall is reached; behind that guard their walls stand all the same."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname ~ 'append_only$|adds_up$'")
        for table, trigger in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")


@pytest.mark.django_db
def test_postgres_refuses_every_row_that_mixes_two_businesses():
    _let_evidence_be_changed()
    ours = Furnished(open_shop("alice", name="Alice Plumbing", number="+15552000001"))
    theirs = Furnished(open_shop("charlie", name="Charlie Cooling", number="+15552000002"))
    tried = 0
    for key in tenant_keys():
        row, foreign = ours.row(key.model), theirs.row(key.related_model)
        own = ours.another(key.related_model)
        table, pk = connection.ops.quote_name(key.model._meta.db_table), key.model._meta.pk.column
        change = f'UPDATE {table} SET "{key.column}" = %s WHERE "{pk}" = %s'  # noqa: S608 - names of our own tables
        with connection.cursor() as cursor:
            with pytest.raises(IntegrityError, match=f"{key.column}_wall"), transaction.atomic():
                cursor.execute(change, [foreign.pk, row.pk])
            cursor.execute(change, [own.pk, row.pk])  # one of their own is welcome
            assert cursor.rowcount == 1
        tried += 1
    assert tried == len(tenant_keys()) >= 19


@pytest.mark.django_db
def test_a_row_cannot_change_its_business_while_others_point_at_it():
    ours = Furnished(open_shop("alice", name="Alice Plumbing", number="+15552000001"))
    theirs = open_shop("charlie", name="Charlie Cooling", number="+15552000002")
    for parent in {key.related_model for key in tenant_keys()}:
        child = next(key for key in tenant_keys() if key.related_model is parent and key.model is not parent)
        ours.row(child.model)
        with every_business(), pytest.raises(IntegrityError), transaction.atomic():
            parent._default_manager.filter(pk=getattr(ours.row(child.model), child.attname)).update(business=theirs)
