"""The SQL of a database storage, written in SQLAlchemy Core and compiled once for each flavour.

Compiled once, because compiling and SQLAlchemy's own execution cost as much as the round trip to a local
server; the statements run on the driver's connection, with the driver's own parameters.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import ColumnElement

from .. import codec
from ..progress import ProgressQuery
from ._schema import Flavour, Tables

__all__ = ["FIELDS", "Statement", "Statements", "metadata_parameter", "shared_statements"]

FIELDS = (
    "model_name",
    "mse",
    "accuracy",
    "cross_validation_score",
    "training_samples",
    "training_start",
    "training_end",
    "metadata",
)
"""The columns that a save gives; the storage adds version and moments."""

# Written out: a constant as a parameter would have to be given at every execution.
_ONE: ColumnElement[int] = sa.literal_column("1", sa.Integer())

_SOME = tuple(f"model_name_{number}" for number in range(16))
"""Parameters of a get of several models; more of them are got in turns, and fewer by naming one repeatedly."""

Parameters = Mapping[str, Any] | Sequence[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """SQL text in the driver's parameter style, and the order of its parameters."""

    sql: str
    positions: tuple[str, ...] | None = None
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters of the dialect's own, such as the OFFSET that SQLite's LIMIT is written with."""

    def parameters(self, given: Mapping[str, Any]) -> Parameters:
        """Return the parameters as the driver wants them: by name, or in order."""
        if self.fixed:
            given = {**self.fixed, **given}
        return given if self.positions is None else [given[name] for name in self.positions]


class Statements:
    """Every statement of a database storage in one flavour.

    Args:
        flavour: whose SQL to write.
        dialect: SQLAlchemy's, already initialized by a first connection.
    """

    def __init__(self, flavour: Flavour, dialect: sa.Dialect) -> None:
        self.flavour = flavour
        self.tables = Tables(flavour)
        self._dialect = dialect
        self._queries: dict[tuple[Any, ...], Statement] = {}
        progress, versions = self.tables.progress, self.tables.versions
        this = progress.c.model_name == sa.bindparam("model_name")
        this_version = versions.c.model_name == sa.bindparam("model_name")

        # Metadata as text: psycopg would decode JSONB by whatever loader the application set.
        self._columns = [
            sa.cast(column, sa.Text()).label("metadata")
            if column.name == "metadata" and flavour == "postgresql"
            else column
            for column in (progress.c[name] for name in (*FIELDS, "version", "created_at", "updated_at"))
        ]
        listing = sa.select(*self._columns).order_by(progress.c.model_name)
        self.get = self.compiled(sa.select(*self._columns).where(this))
        # Of several models at once: the others have no arrays, and take so many names.
        names: Any = sa.bindparam("model_names", type_=postgresql.ARRAY(sa.Text()))
        some: list[Any] = [sa.bindparam(name) for name in _SOME]
        named = progress.c.model_name
        among = named == sa.any_(names) if flavour == "postgresql" else named.in_(some)
        self._several = self.compiled(sa.select(*self._columns).where(among))
        self.load = self.compiled(listing)
        self.page = self.compiled(
            listing.where(progress.c.model_name > sa.bindparam("last")).limit(sa.bindparam("batch_size"))
        )
        self.schema_version = self.compiled(sa.select(self.tables.schema.c.version_num))
        # Fails where the table or a column is missing, and finds nothing.
        self.shape = self.compiled(sa.select(*self._columns).where(sa.false()))
        self.count = self.compiled(sa.select(sa.func.count()).select_from(progress))
        self.encoding = Statement("SHOW server_encoding")  # PostgreSQL's
        self.ping = self.compiled(sa.select(sa.literal_column("1")))

        self.stored_version = self.compiled(sa.select(progress.c.version).where(this))
        self.next_version = self.compiled(
            sa.update(versions).where(this_version).values(version=versions.c.version + _ONE)
        )
        self.last_version = self.compiled(sa.select(versions.c.version).where(this_version))
        self.delete = self.compiled(sa.delete(progress).where(this))
        self.lock = self.compiled(self._upserted_version(0, versions.c.version))
        self.bump = self.compiled(self._upserted_version(1, versions.c.version + _ONE))
        self.put = self.compiled(self._put())
        self.stamps = self.compiled(
            sa.select(progress.c.version, progress.c.created_at, progress.c.updated_at).where(this)
        )
        # One statement, one round trip, atomic by itself.
        self.save = self.compiled(self._save()) if flavour == "postgresql" else None

    def several(self, model_names: Sequence[str]) -> Iterator[tuple[Statement, dict[str, Any]]]:
        """Yield statements that together get these models, in any order, with their parameters."""
        if self.flavour == "postgresql":
            yield self._several, {"model_names": model_names}
            return
        for begin in range(0, len(model_names), len(_SOME)):
            some = model_names[begin : begin + len(_SOME)]
            yield self._several, {**dict.fromkeys(_SOME, some[0]), **dict(zip(_SOME, some, strict=False))}

    def query(self, query: ProgressQuery) -> tuple[Statement, dict[str, Any]]:
        """Return the statement for a query, and its parameters.

        Metadata narrows what is returned and may leave too much: the caller compares it exactly.
        """
        conditions, parameters = self._conditions(query)
        shape = (
            tuple(sorted(parameters)),
            query.order_by,
            query.after is not None and _value_of(query) is None,
        )
        statement = self._queries.get(shape)
        if statement is None:
            field = query.order_by.removeprefix("-")
            column = self.tables.progress.c[field]
            order: list[Any] = [column.desc() if query.order_by.startswith("-") else column.asc()]
            if column.nullable:
                order.insert(0, column.is_(None))
            if field != "model_name":
                order.append(self.tables.progress.c.model_name)
            select = sa.select(*self._columns).where(*conditions).order_by(*order)
            if query.limit is not None:
                select = select.limit(sa.bindparam("limit"))
            statement = self._queries[shape] = self.compiled(select)
        return statement, parameters

    def _conditions(self, query: ProgressQuery) -> tuple[list[ColumnElement[bool]], dict[str, Any]]:
        columns = self.tables.progress.c
        conditions: list[ColumnElement[bool]] = []
        parameters: dict[str, Any] = {}
        if query.limit is not None:
            parameters["limit"] = query.limit
        if query.name_prefix:
            # A range instead of LIKE: it needs no escapes and uses the index.
            conditions.append(columns.model_name >= sa.bindparam("prefix"))
            parameters["prefix"] = query.name_prefix
            if (end := _behind_prefix(query.name_prefix)) is not None:
                conditions.append(columns.model_name < sa.bindparam("prefix_end"))
                parameters["prefix_end"] = end
        for name, column, bound in (
            ("min_accuracy", columns.accuracy, query.min_accuracy),
            ("min_samples", columns.training_samples, query.min_training_samples),
            ("updated_since", columns.updated_at, query.updated_since),
        ):
            if bound is not None:
                # Not typed by the column: a bound may lie beyond a 32-bit column's range.
                kind = sa.BigInteger() if name == "min_samples" else column.type
                conditions.append(column >= sa.bindparam(name, type_=kind))
                parameters[name] = bound
        if query.max_mse is not None:
            conditions.append(columns.mse <= sa.bindparam("max_mse"))
            parameters["max_mse"] = query.max_mse
        if query.metadata:
            conditions.extend(self._metadata_conditions(query.metadata, parameters))
        if query.after is not None:
            conditions.append(self._behind(query, parameters))
        return conditions, parameters

    def _metadata_conditions(
        self, wanted: Mapping[str, Any], parameters: dict[str, Any]
    ) -> list[ColumnElement[bool]]:
        column = self.tables.progress.c.metadata
        if self.flavour == "postgresql":
            parameters["metadata"] = metadata_parameter("postgresql", wanted)
            return [column.op("@>")(sa.cast(sa.bindparam("metadata", type_=sa.Text()), postgresql.JSONB))]
        # The text is canonical, so an equal value stands in it letter by letter behind its key.
        conditions: list[ColumnElement[bool]] = []
        for index, (key, value) in enumerate(sorted(wanted.items())):
            parameters[f"fragment_{index}"] = codec.metadata_to_text({key: value})[1:-1]
            conditions.append(
                sa.func.instr(column, sa.bindparam(f"fragment_{index}", type_=sa.Text())) >= _ONE
            )
        return conditions

    def _behind(self, query: ProgressQuery, parameters: dict[str, Any]) -> ColumnElement[bool]:
        assert query.after is not None
        columns = self.tables.progress.c
        field, descending = query.order_by.removeprefix("-"), query.order_by.startswith("-")
        column = columns[field]
        parameters["after_name"] = query.after.model_name
        if field == "model_name":
            name: ColumnElement[str] = sa.bindparam("after_name")
            return sa.and_(column < name if descending else column > name)
        later_name = columns.model_name > sa.bindparam("after_name")
        if _value_of(query) is None:
            return sa.and_(column.is_(None), later_name)
        parameters["after_value"] = _value_of(query)
        bound = sa.bindparam("after_value", type_=column.type)
        behind = sa.or_(
            column < bound if descending else column > bound, sa.and_(column == bound, later_name)
        )
        return sa.or_(behind, column.is_(None)) if column.nullable else behind

    def _upserted_version(self, first: int, following: ColumnElement[int]) -> Any:
        """Insert or update the version's row. Either way the row is locked until the transaction ends."""
        versions = self.tables.versions
        given: dict[str, Any] = {
            "model_name": sa.bindparam("model_name"),
            "version": sa.literal_column(str(first)),
        }
        if self.flavour in ("mysql", "mariadb"):
            return mysql.insert(versions).values(**given).on_duplicate_key_update(version=following)
        insert = postgresql.insert if self.flavour == "postgresql" else sqlite.insert
        return (
            insert(versions)
            .values(**given)
            .on_conflict_do_update(index_elements=[versions.c.model_name], set_={"version": following})
            .returning(versions.c.version)
        )

    def _put(self) -> Any:
        """Write the record under the version that `bump` or `lock` gave out in the same transaction."""
        progress = self.tables.progress
        values: dict[str, Any] = {name: self._field(name) for name in FIELDS}
        values["version"] = sa.bindparam("version")
        values["created_at"] = values["updated_at"] = self._now()
        returned = (progress.c.version, progress.c.created_at, progress.c.updated_at)
        if self.flavour in ("mysql", "mariadb"):
            put = mysql.insert(progress).values(**values)
            return put.on_duplicate_key_update(
                # MySQL assigns from left to right, and GREATEST reads the old updated_at.
                updated_at=sa.func.greatest(progress.c.updated_at, put.inserted.updated_at),
                **{name: put.inserted[name] for name in (*FIELDS[1:], "version")},
            )
        if self.flavour == "postgresql":
            return _replacing(
                postgresql.insert(progress).values(**values), progress, sa.func.greatest
            ).returning(*returned)
        return _replacing(sqlite.insert(progress).values(**values), progress, sa.func.max).returning(
            *returned
        )

    def _save(self) -> Any:
        """PostgreSQL's: the version's row is locked and counted up in a CTE, from which the record is written.

        Safe under READ COMMITTED: ON CONFLICT DO UPDATE waits for the row's lock and then sees the row as it is.
        """
        progress, versions = self.tables.progress, self.tables.versions
        following = (
            postgresql.insert(versions)
            .values(model_name=sa.bindparam("model_name"), version=sa.literal_column("1"))
            .on_conflict_do_update(
                index_elements=[versions.c.model_name], set_={"version": versions.c.version + _ONE}
            )
            .returning(versions.c.version, self._now().label("moment"))
            .cte("following")
        )
        source = sa.select(
            *(self._field(name).label(name) for name in FIELDS),
            following.c.version,
            following.c.moment.label("created_at"),
            following.c.moment.label("updated_at"),
        )
        save = postgresql.insert(progress).from_select(
            [*FIELDS, "version", "created_at", "updated_at"], source
        )
        return _replacing(save, progress, sa.func.greatest).returning(
            progress.c.version, progress.c.created_at, progress.c.updated_at
        )

    def _field(self, name: str) -> ColumnElement[Any]:
        if name == "metadata" and self.flavour == "postgresql":
            return sa.cast(sa.bindparam("metadata", type_=sa.Text()), postgresql.JSONB)
        return sa.bindparam(name, type_=self.tables.progress.c[name].type)

    def _now(self) -> ColumnElement[Any]:
        if self.flavour == "postgresql":
            # clock_timestamp: now() would be the transaction's start, before it waited for the lock.
            return sa.func.timezone(
                sa.literal_column("'UTC'"),
                sa.func.clock_timestamp(),
                type_=self.tables.progress.c.updated_at.type,
            )
        if self.flavour == "sqlite":
            return sa.bindparam("now", type_=sa.Text())  # the client's clock: there is no other
        return sa.func.utc_timestamp(sa.literal_column("6"))

    def compiled(self, statement: ClauseElement) -> Statement:
        """Return a statement as the driver takes it."""
        compiled = statement.compile(dialect=self._dialect)
        positions = getattr(compiled, "positiontup", None)
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        return Statement(str(compiled), None if positions is None else tuple(positions), fixed)


_shared: dict[tuple[object, ...], Statements] = {}


def shared_statements(flavour: Flavour, dialect: sa.Dialect) -> Statements:
    """Return the statements for a server, compiled once in a process: that takes as long as 20 reads.

    Args:
        flavour: whose SQL to write.
        dialect: as SQLAlchemy makes it, without an application's own settings, and initialized.
    """
    server = (
        flavour,
        type(dialect),
        dialect.server_version_info,
        # What the server's settings change in SQL: ANSI_QUOTES, NO_BACKSLASH_ESCAPES, standard_conforming_strings.
        dialect.identifier_preparer.initial_quote,
        getattr(dialect, "_backslash_escapes", None),
    )
    # Two threads may both compile them: one's are kept.
    return _shared.get(server) or _shared.setdefault(server, Statements(flavour, dialect))


def _replacing(insert: Any, progress: sa.Table, latest: Any) -> Any:
    """The upsert's other half: everything but created_at is replaced, and updated_at never decreases."""
    return insert.on_conflict_do_update(
        index_elements=[progress.c.model_name],
        set_={
            **{name: insert.excluded[name] for name in (*FIELDS[1:], "version")},
            "updated_at": latest(progress.c.updated_at, insert.excluded.updated_at),
        },
    )


def _value_of(query: ProgressQuery) -> Any:
    return getattr(query.after, query.order_by.removeprefix("-"))


def _behind_prefix(prefix: str) -> str | None:
    """Return the least text that is behind every text with this prefix; None where there is none."""
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if 0xD800 <= following <= 0xDFFF:  # surrogates are no characters
        following = 0xE000
    return stem[:-1] + chr(following)


# At the beginning of a number, and signed as Python writes it: a commit's hash may hold "1e7".
_EXPONENT = re.compile(r"[:,\[]-?\d[\d.]*e[+-]")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e[+-]?\d+')


def metadata_parameter(flavour: Flavour, metadata: Mapping[str, Any]) -> str:
    """Return metadata as the text to store.

    JSONB keeps numbers as decimals: it gives ``1e16`` back as ``10000000000000000``, an int. Written with a
    fraction, ``10000000000000000.0``, it stays a float.
    """
    text = codec.metadata_to_text(metadata)
    if flavour != "postgresql" or not _EXPONENT.search(text):
        return text
    return _TOKENS.sub(_positional, text)


def _positional(token: re.Match[str]) -> str:
    if token[0][0] == '"':
        return token[0]
    written = format(Decimal(token[0]), "f")
    return written if "." in written else f"{written}.0"
