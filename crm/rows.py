"""Single rows by hand-written SQL, for the paths a customer waits on.

A text or a booking touches some twenty rows. Django's query builder spends more time composing each of those statements
than Postgres spends on it (measured by `make bench`), and the statements never change; so they are composed once per
model here and run as they are. Nothing else is different: the same tables, constraints, walls and model objects. Callers
say the business in every WHERE.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any, TypeVar

from django.db import connection, models

Row = TypeVar("Row", bound=models.Model)


def insert(row: models.Model, *, unless_conflict: bool = False) -> bool:
    """INSERT one row. With `unless_conflict`, False when a unique or exclusion constraint stands against it: nothing is
    written then and the transaction goes on, with no savepoint. A concurrent twin is waited for.

    What the database fills in itself (`db_default`) stands in the row afterwards.
    """
    sql, read, filled = _insertion(type(row), unless_conflict)
    cursor = execute(sql, read(row))
    written: bool = cursor.rowcount == 1
    if written:
        row._state.adding, row._state.db = False, connection.alias
        if filled:
            for name, value in zip(filled, cursor.fetchone(), strict=True):
                setattr(row, name, value)
    return written


def update(row: models.Model, *fields: str) -> None:
    """UPDATE the named fields of one row, by primary key."""
    sql, read = _updating(type(row), fields)
    execute(sql, [*read(row), row.pk])


def insert_and_update(row: models.Model, changed: models.Model, *fields: str) -> None:
    """INSERT one row and UPDATE the named fields of another, by primary key, in one trip to the database."""
    insertion, read, filled = _insertion(type(row), False)
    assert not filled
    change, read_changed = _updating(type(changed), fields)
    execute(f"WITH made AS ({insertion}) {change}", [*read(row), *read_changed(changed), changed.pk])
    row._state.adding, row._state.db = False, connection.alias


def first(
    model: type[Row], where: str, parameters: Sequence[Any], *, order: str = "", lock: bool = False
) -> Row | None:
    """The first row `where` finds, in `order`. `lock`: FOR NO KEY UPDATE, which lets others still refer to the row."""
    found = fetch(model, where + (f" ORDER BY {order}" if order else "") + " LIMIT 1", parameters, lock=lock)
    return found[0] if found else None


def fetch(model: type[Row], where: str, parameters: Sequence[Any], *, lock: bool = False) -> list[Row]:
    """All rows `where` finds (it may end in ORDER BY and LIMIT)."""
    select, names, wrapped = _selection(model)
    found = execute(f"{select} WHERE {where}{' FOR NO KEY UPDATE' if lock else ''}", parameters).fetchall()
    made = [model.from_db(connection.alias, names, values) for values in found]
    for field in wrapped:
        for row in made:
            setattr(row, field.attname, field.from_db_value(getattr(row, field.attname), None, connection))
    return made


def first_with(model: type[Row], relation: str, where: str, parameters: Sequence[Any]) -> Row | None:
    """The first row `where` finds, and what its foreign key `relation` leads to, in one statement."""
    sql, count = _joined_selection(model, relation)
    values = execute(f"{sql} WHERE {where} LIMIT 1", parameters).fetchone()
    if values is None:
        return None
    _, names, wrapped = _selection(model)
    parent: Any = model._meta.get_field(relation).related_model
    _, parent_names, parent_wrapped = _selection(parent)
    assert not wrapped
    assert not parent_wrapped
    row = model.from_db(connection.alias, names, values[:count])
    found = values[count] is not None
    setattr(row, relation, parent.from_db(connection.alias, parent_names, values[count:]) if found else None)
    return row


def execute(sql: str, parameters: Sequence[Any] | dict[str, Any]) -> Any:
    """Run one statement and return its cursor; read it before the next call, which uses the same one.

    Django makes a new cursor for every statement. Kept for as long as the connection lives, it saves a tenth of the work
    of a booking. Query counting and the guards of a broken transaction sit in Django's wrapper and stay.
    """
    connection.ensure_connection()
    kept = getattr(connection, "_rows_cursor", None)
    if kept is None or kept[0] is not connection.connection or kept[1] != connection.queries_logged or kept[2].closed:
        kept = (connection.connection, connection.queries_logged, connection.cursor())
        connection._rows_cursor = kept  # type: ignore[attr-defined]
    cursor = kept[2]
    cursor.execute(sql, parameters)
    return cursor


@functools.cache
def _insertion(
    model: type[models.Model], unless_conflict: bool
) -> tuple[str, Callable[[models.Model], list[Any]], list[str]]:
    fields = [field for field in model._meta.concrete_fields if not field.has_db_default()]
    filled = [field for field in model._meta.concrete_fields if field.has_db_default()]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    conflict = " ON CONFLICT DO NOTHING" if unless_conflict else ""
    sql = f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({", ".join(["%s"] * len(fields))}){conflict}'
    if filled:
        sql += " RETURNING " + ", ".join(f'"{field.column}"' for field in filled)
    return sql, _reader(fields), [field.attname for field in filled]


@functools.cache
def _updating(model: type[models.Model], names: tuple[str, ...]) -> tuple[str, Callable[[models.Model], list[Any]]]:
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    changes = ", ".join(f'"{field.column}" = %s' for field in fields)
    pk = model._meta.pk.column
    return f'UPDATE "{model._meta.db_table}" SET {changes} WHERE "{pk}" = %s', _reader(fields)


@functools.cache
def _selection(model: type[models.Model]) -> tuple[str, list[str], list[Any]]:
    fields = model._meta.concrete_fields
    wrapped = [field for field in fields if hasattr(field, "from_db_value")]  # as JSON, which comes as text
    columns = ", ".join(f'"{field.column}"' for field in fields)
    return f'SELECT {columns} FROM "{model._meta.db_table}"', [field.attname for field in fields], wrapped


@functools.cache
def _joined_selection(model: type[models.Model], relation: str) -> tuple[str, int]:
    """The parent's primary key is its first column, and NULL where there is no parent."""
    key: Any = model._meta.get_field(relation)
    table, parent = model._meta.db_table, key.related_model._meta
    assert parent.concrete_fields[0].primary_key
    columns = [f'"{table}"."{field.column}"' for field in model._meta.concrete_fields]
    theirs = [f'"{parent.db_table}"."{field.column}"' for field in parent.concrete_fields]
    join = f'LEFT JOIN "{parent.db_table}" ON "{parent.db_table}"."{parent.pk.column}" = "{table}"."{key.column}"'
    return f'SELECT {", ".join(columns + theirs)} FROM "{table}" {join}', len(columns)


def _reader(fields: Sequence[Any]) -> Callable[[models.Model], list[Any]]:
    """Reads the values of `fields` as psycopg takes them."""
    getters: list[Callable[[Any], Any]] = []
    for field in fields:
        get = attrgetter(field.attname)
        if getattr(field, "auto_now_add", False) or isinstance(field, models.JSONField):
            getters.append(functools.partial(_prepared, field))
        else:
            getters.append(get)

    def read(row: models.Model) -> list[Any]:
        return [value.value if isinstance(value, Enum) else value for value in (get(row) for get in getters)]

    return read


def _prepared(field: Any, row: models.Model) -> Any:
    """For fields that set or wrap their value when saved."""
    return field.get_db_prep_save(field.pre_save(row, add=row._state.adding), connection)
