"""Emptying a PostgreSQL database: one call of a function that is generated from the catalogue."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus

from .. import config
from .emptying import OWN_TABLES, PATIENCE, DatabaseGoneError, Emptier

__all__ = ["PostgresEmptier"]

_CALL = b"SELECT pg_temp.aistorage_empty()"

# What the function returns.
_DONE, _CHANGED, _BUSY = b"0", b"1", b"2"

_LOCK_TIMEOUT, _NO_DATABASE, _DEADLOCK = "55P03", "3D000", "40P01"
_ATTEMPTS = 6

# Beyond these sizes, in bytes, TRUNCATE: it takes milliseconds, but DELETE leaves dead rows, which nobody
# vacuums here and every later test would have to scan.
_LARGE, _LARGE_TOASTED = 256 * 1024, 4 * 1024 * 1024

# Tables of extensions (PostGIS's reference systems) hold what belongs to the extension.
_MEMBER = """
    EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
            AND d.objid = c.oid AND d.deptype = 'e')"""
_OTHER_SCHEMA = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
_RELATIONS = f"""
    SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.reltoastrelid::int8
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'S', 'm') AND {_OTHER_SCHEMA} AND NOT {_MEMBER} ORDER BY c.oid"""
_REFERENCES = """
    SELECT conrelid::int8, confrelid::int8 FROM pg_catalog.pg_constraint
    WHERE contype = 'f' AND conrelid <> confrelid"""
_SEQUENCES = """
    SELECT s.seqrelid::int8, s.seqstart, d.refobjid::int8 FROM pg_catalog.pg_sequence s
    LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = s.seqrelid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')"""

# A number that changes with a column, an index, a trigger or a policy of the storage's own tables.
_SHAPE = """
    (SELECT coalesce(sum(hashtext(attname::text)::int8 + atttypid::int8 * 31 + attnotnull::int), 0)
     FROM pg_catalog.pg_attribute WHERE attrelid IN ({oids}) AND attnum > 0)
    + (SELECT count(*) * 1000003 FROM pg_catalog.pg_index WHERE indrelid IN ({oids}))
    + (SELECT coalesce(sum(relhastriggers::int * 7 + relrowsecurity::int * 3), 0)
       FROM pg_catalog.pg_class WHERE oid IN ({oids}))"""

# Transactions of others that have written: what they wrote is not there yet to be deleted, and would be in the
# next test. The first condition is cheap, and false where nobody on the server is in the middle of a write.
_WRITERS = """
    txid_snapshot_xmin(txid_current_snapshot()) <> txid_snapshot_xmax(txid_current_snapshot())
    AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datname = current_database()
                AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL)"""
_END = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}"""


class PostgresEmptier(Emptier):
    """One message and one answer a test; no parsing of statements, which are prepared in the function."""

    def __init__(self, url: str, kept_tables: tuple[str, ...], create_tables: Callable[[], None]) -> None:
        super().__init__(url, kept_tables, create_tables)
        self._connection: Any = None
        self._is_pending = False
        self._shape: int | None = None
        self._own: list[int] = []
        self._connect()
        self._prepare()

    def begin(self) -> None:
        """See `Emptier.begin`."""
        if self._is_pending:
            self._answer()
        try:
            self._connection.pgconn.send_query(_CALL)
        except psycopg.OperationalError:
            return  # a broken connection: `empty` finds out what is the matter
        self._is_pending = True

    def empty(self) -> None:
        """See `Emptier.empty`."""
        for _ in range(_ATTEMPTS):
            result = self._answer()
            if result.status == ExecStatus.TUPLES_OK:
                answer = result.get_value(0, 0)
                if answer == _DONE:
                    return
                if answer == _CHANGED:
                    self._prepare()
                else:
                    self._end_writers()
                continue
            state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
            if self._connection.pgconn.status != psycopg.pq.ConnStatus.OK:
                self._connect()
                self._prepare()
            elif state == _LOCK_TIMEOUT:
                self._end("xact_start IS NOT NULL")
            elif state != _DEADLOCK:
                # A table that is gone or was renamed, a foreign key that came: the catalogue says how it is now.
                self._prepare()
        message = result.error_message.decode(errors="replace").strip()
        raise RuntimeError(
            f"the test database could not be emptied: {message or 'others keep writing to it'}"
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _answer(self) -> Any:
        """What the function returned, called now or by `begin`."""
        pgconn = self._connection.pgconn
        if not self._is_pending:
            return pgconn.exec_(_CALL)
        self._is_pending = False
        result = pgconn.get_result()
        while (following := pgconn.get_result()) is not None:
            result = following
        return pgconn.exec_(_CALL) if result is None else result

    def _connect(self) -> None:
        self._is_pending = False
        if self._connection is not None:
            self._connection.close()
        target = config.StorageURL.parse(self._url)
        try:
            self._connection = psycopg.connect(
                dataclasses.replace(target, scheme="postgresql").render(),
                autocommit=True,
                application_name="pytest-aistorage isolation",
                connect_timeout=10,
            )
        except psycopg.OperationalError as error:
            if error.sqlstate == _NO_DATABASE or "does not exist" in str(error):
                raise DatabaseGoneError from error
            raise
        self._connection.execute(f"SET lock_timeout = {int(PATIENCE * 1000)}")
        # TRUNCATE and DROP … CASCADE say what else they took along.
        self._connection.execute("SET client_min_messages = error")
        try:
            # No trigger, foreign key or rule stands in the way of DELETE then; only a superuser may.
            self._connection.execute("SET session_replication_role = replica")
            self._is_superuser = True
        except psycopg.errors.InsufficientPrivilege:
            self._is_superuser = False

    def _prepare(self) -> None:
        """Read the catalogue, put the storage's own tables right, and generate the function."""
        for _ in range(3):
            rows = self._rows(_RELATIONS)
            own = self._own_tables(rows)
            shape = self._shape_of(own)
            if len(own) == len(OWN_TABLES) and shape == self._shape:
                break
            self._replace_own_tables(own)
        newest = self._rows("SELECT max(oid)::int8 FROM pg_catalog.pg_class")[0][0]
        body = [
            sql.SQL("IF (SELECT max(oid) FROM pg_catalog.pg_class) > {}::oid THEN RETURN 1; END IF;").format(
                newest
            ),
            sql.SQL(
                f"IF {_SHAPE.format(oids=', '.join(map(str, own)))} <> {{}} THEN RETURN 1; END IF;"
            ).format(self._shape),
            sql.SQL(f"IF {_WRITERS} THEN RETURN 2; END IF;"),
            *self._statements(rows),
            sql.SQL("RETURN 0;"),
        ]
        self._connection.execute("DROP FUNCTION IF EXISTS pg_temp.aistorage_empty()")
        self._connection.execute(
            sql.SQL("CREATE FUNCTION pg_temp.aistorage_empty() RETURNS int LANGUAGE plpgsql AS {}").format(
                sql.Literal(f"BEGIN {sql.SQL(' ').join(body).as_string(self._connection)} END")
            )
        )

    def _statements(self, rows: list[tuple[Any, ...]]) -> Iterable[sql.Composable]:
        tables = {
            row[0]: (sql.Identifier(row[1], row[2]), row[4])
            for row in rows
            if row[3] == "r" and not self._is_kept(row[2])
        }
        ordered, entangled = self._order(tables)
        if entangled:
            # They refer to each other in a circle, and without a superuser no DELETE can begin anywhere.
            names = sql.SQL(", ").join(tables[oid][0] for oid in entangled)
            any_row = sql.SQL(" OR ").join(
                sql.SQL("EXISTS (SELECT FROM {})").format(tables[oid][0]) for oid in entangled
            )
            yield sql.SQL("IF {} THEN TRUNCATE {} CASCADE; END IF;").format(any_row, names)
        for oid in ordered:
            name, toast = tables[oid]
            large = sql.SQL("pg_relation_size({}::oid::regclass) > {}").format(oid, _LARGE)
            if toast:
                large += sql.SQL(" OR pg_relation_size({}::oid::regclass) > {}").format(toast, _LARGE_TOASTED)
            yield sql.SQL("IF {} THEN TRUNCATE {} CASCADE; ELSE DELETE FROM ONLY {}; END IF;").format(
                large, name, name
            )
        kept = {row[0] for row in rows if row[3] == "r" and row[0] not in tables}
        listed = {row[0] for row in rows if row[3] == "S"}
        for oid, start, owner in self._rows(_SEQUENCES):
            if oid in listed and owner not in kept:
                yield sql.SQL(
                    "IF pg_sequence_last_value({}::oid::regclass) IS NOT NULL "
                    "THEN PERFORM setval({}::oid::regclass, {}, false); END IF;"
                ).format(oid, oid, start)
        for row in rows:
            if row[3] == "m" and not self._is_kept(row[2]):
                yield sql.SQL(
                    "IF pg_relation_size({}::oid::regclass) > 0 THEN REFRESH MATERIALIZED VIEW {}; END IF;"
                ).format(row[0], sql.Identifier(row[1], row[2]))

    def _order(self, tables: Iterable[int]) -> tuple[list[int], list[int]]:
        """The tables in an order in which foreign keys allow DELETE, and those for which there is none."""
        left = list(tables)
        if self._is_superuser:
            return left, []
        references = set(self._rows(_REFERENCES))
        ordered: list[int] = []
        while left:
            # Free are those that nobody who is left refers to.
            free = [oid for oid in left if not any((other, oid) in references for other in left)]
            if not free:
                return ordered, left
            ordered += free
            left = [oid for oid in left if oid not in free]
        return ordered, []

    def _replace_own_tables(self, there: list[int]) -> None:
        """Create the storage's own tables; what a test has made of them goes, under whatever name."""
        for oid in {*there, *self._own}:
            for (name,) in self._rows(
                f"SELECT oid::regclass::text FROM pg_catalog.pg_class WHERE oid = {oid}"
            ):
                self._patiently(f"DROP TABLE {name} CASCADE")
        try:
            self._create_tables()
        except Exception as error:
            if not self._own:
                raise
            # Something that a test has created is in the way: its database is of no more use.
            raise DatabaseGoneError from error
        created = self._own_tables(self._rows(_RELATIONS))
        if len(created) != len(OWN_TABLES):
            raise DatabaseGoneError  # a view of that name, which counts as there
        self._own = created
        self._shape = self._shape_of(self._own)

    def _own_tables(self, relations: list[tuple[Any, ...]]) -> list[int]:
        return [
            row[0] for row in relations if row[2] in OWN_TABLES and row[3] == "r" and self._is_visible(row[0])
        ]

    def _patiently(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except psycopg.errors.LockNotAvailable:
            self._end("xact_start IS NOT NULL")
            self._connection.execute(statement)

    def _is_visible(self, oid: int) -> bool:
        return bool(self._rows(f"SELECT pg_catalog.pg_table_is_visible({oid})")[0][0])

    def _shape_of(self, oids: list[int]) -> int | None:
        if not oids:
            return None
        return int(self._rows(f"SELECT {_SHAPE.format(oids=', '.join(map(str, oids)))}")[0][0])

    def _end_writers(self) -> None:
        """Let open transactions that write end by themselves, for a while; then close their connections."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self._rows(f"SELECT WHERE {_WRITERS}"):
                return
            time.sleep(0.005)
        self._end("backend_xid IS NOT NULL")

    def _end(self, which: str) -> None:
        self._connection.execute(_END.format(which=which))
        deadline = time.monotonic() + PATIENCE
        # A backend ends when it next looks; until then its locks are there.
        while time.monotonic() < deadline and self._rows(
            f"SELECT FROM pg_catalog.pg_stat_activity WHERE datname = current_database() "
            f"AND pid <> pg_backend_pid() AND {which}"
        ):
            time.sleep(0.005)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._connection.execute(statement).fetchall()
        return found
