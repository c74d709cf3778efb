"""Records of models that a database has never had, many at a time: what a migration writes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement

from .._failpoints import reach
from ..progress import AIProgress
from ._connections import Session
from ._execution import Executor
from ._statements import FIELDS, Statement, Statements, metadata_parameter

__all__ = ["add_many"]


Put = Callable[[Session, Statements, AIProgress], AIProgress]
"""Saves a record under its next version, within a transaction."""


def add_many(executor: Executor, records: list[AIProgress], put: Put) -> set[str]:
    """Save the records whose models are absent; on PostgreSQL those whose models were never there.

    Atomic: one statement on PostgreSQL, one transaction elsewhere.

    Args:
        executor: of the database.
        records: each model once.
        put: how one record is saved where there is no statement for all.

    Returns:
        The names of the models that were saved.
    """
    if executor.prepared.sql.save is not None:
        return executor.run(functools.partial(_add_at_once, records), writing=True)
    return executor.run(functools.partial(_add_each, records, put), writing=True, transaction=True)


def _add_at_once(records: list[AIProgress], session: Session, sql: Statements) -> set[str]:
    given = f"[{','.join(map(_as_json, records))}]"
    reach("before_write")
    return {row[0] for row in session.rows(_statement(sql), {"records": given})}


def _as_json(record: AIProgress) -> str:
    """A record as one text: psycopg makes an array's values in Python, one by one, in three times as long."""
    return (
        f'{{"model_name":{_quoted(record.model_name)}'
        f',"mse":{record.mse!r}'
        f',"accuracy":{_number(record.accuracy)}'
        f',"cross_validation_score":{_number(record.cross_validation_score)}'
        f',"training_samples":{_number(record.training_samples)}'
        f',"training_start":{_moment(record.training_start)}'
        f',"training_end":{_moment(record.training_end)}'
        f',"metadata":{metadata_parameter("postgresql", record.metadata)}}}'
    )


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)


def _moment(value: datetime | None) -> str:
    # A checked record's are in UTC.
    return "null" if value is None else f'"{value.replace(tzinfo=None).isoformat()}"'


def _add_each(records: list[AIProgress], put: Put, session: Session, sql: Statements) -> set[str]:
    added = set()
    reach("before_write")
    # In one order, whatever the caller's, so that two batches don't wait for each other.
    for record in sorted(records, key=lambda record: record.model_name):
        this = {"model_name": record.model_name}
        if sql.flavour != "sqlite":  # there BEGIN IMMEDIATE has locked the whole database
            session.execute(sql.lock, this)
        if not session.rows(sql.stored_version, this):
            put(session, sql, record)
            added.add(record.model_name)
    return added


@functools.lru_cache(maxsize=8)
def _statement(sql: Statements) -> Statement:
    """The records as one text of JSON; a version for each name that has none; the records of these.

    A model that is there, or was once, has its row of versions, which lets nobody else in: ON CONFLICT DO NOTHING
    waits for whoever is about to insert it, and leaves it out. No temporary table: a pooler between transactions has
    none to keep.
    """
    progress, versions = sql.tables.progress, sql.tables.versions
    columns = [sa.column(name, _type(progress.c[name])) for name in FIELDS]
    text = sa.cast(sa.bindparam("records", type_=sa.Text()), postgresql.JSON)
    table = (
        sa.func.json_to_recordset(text).table_valued(*columns, name="given").render_derived(with_types=True)
    )
    # In the order of the names: two migrations at once don't wait for each other.
    given = sa.select(table).order_by(sa.collate(table.c.model_name, "C")).cte("given")
    first: ColumnElement[int] = sa.literal_column("1", sa.BigInteger())
    added = (
        postgresql.insert(versions)
        .from_select(["model_name", "version"], sa.select(given.c.model_name, first))
        .on_conflict_do_nothing()
        .returning(
            versions.c.model_name,
            sa.func.timezone(sa.literal_column("'UTC'"), sa.func.clock_timestamp()).label("moment"),
        )
        .cte("added")
    )
    source = sa.select(
        *(given.c[name] for name in FIELDS), first, added.c.moment, added.c.moment.label("updated_at")
    ).select_from(given.join(added, added.c.model_name == given.c.model_name))
    insert = postgresql.insert(progress).from_select([*FIELDS, "version", "created_at", "updated_at"], source)
    return sql.compiled(insert.returning(progress.c.model_name))


def _type(column: sa.Column[Any]) -> Any:
    """Without its collation, which the columns of a function don't have."""
    return sa.Text() if column.name == "model_name" else column.type
