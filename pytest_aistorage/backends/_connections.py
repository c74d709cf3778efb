"""Connections of a database storage: out of SQLAlchemy's pool, with the drivers' own execution."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from .._interruption import cut
from ..errors import ConfigurationError
from ._schema import Flavour
from ._statements import Statement

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection

__all__ = ["Row", "Session", "flavour_of", "open_session"]

Row = tuple[Any, ...]

_FAREWELL = 1.0
"""Seconds in which a server must take the message that a statement is called off."""


def flavour_of(engine: sa.Engine) -> Flavour:
    """Say whose SQL an engine speaks; for MySQL's and MariaDB's, after its first connection.

    Raises:
        ConfigurationError: a database or driver that this package does not know.
    """
    name, driver = engine.dialect.name, engine.dialect.driver
    if (name, driver) in (("sqlite", "pysqlite"), ("postgresql", "psycopg")):
        return "sqlite" if name == "sqlite" else "postgresql"
    if name in ("mysql", "mariadb") and driver == "pymysql":
        return "mariadb" if getattr(engine.dialect, "is_mariadb", False) else "mysql"
    raise ConfigurationError(
        f"an engine for {name}+{driver} can't be used: "
        "sqlite+pysqlite, postgresql+psycopg, mysql+pymysql and mariadb+pymysql can"
    )


class Session(Protocol):
    """One connection of the pool for the length of one operation."""

    def rows(self, statement: Statement, parameters: Mapping[str, Any]) -> list[Row]:
        """Execute a statement and fetch what it returns."""

    def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        """Execute a statement that returns nothing; return how many rows it changed."""

    def many(self, statement: Statement, parameters: list[Mapping[str, Any]]) -> list[Row]:
        """Execute a statement once for each of the parameters; return the first row of each."""

    def begin(self) -> None:
        """Begin a transaction that writes."""

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def is_stale(self) -> bool:
        """Say whether the server has closed the connection while nobody used it."""

    def release(self) -> None:
        """Give the connection back to the pool."""

    def discard(self) -> None:
        """Close the connection instead of giving it back: it broke, or what it still does is not known."""

    def cutter(self) -> Callable[[], None]:
        """Return what lets an operation fail that waits on this connection; for other threads, it does not wait."""

    def call_off(self, engine: sa.Engine) -> None:
        """Have the server stop what a connection that was cut had it do: it may wait for a lock, and hold others."""


def open_session(engine: sa.Engine) -> Session:
    """Take a connection out of the pool; one that its server has closed meanwhile is replaced.

    Raises:
        Exception: the driver's, if it can't connect.
    """
    while True:
        connection = engine.pool.connect()
        driver: Any = connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            return _SQLiteSession(connection, driver)
        if not _is_stale(_descriptor(driver)):
            break
        connection.invalidate()
    if hasattr(driver, "pgconn"):
        return _PsycopgSession(connection, driver)
    return _PyMySQLSession(connection, driver)


def _descriptor(driver: Any) -> int:
    return int(driver.fileno() if hasattr(driver, "fileno") else driver._sock.fileno())


def _is_stale(descriptor: int) -> bool:
    """Say whether an idle connection has something to read: nothing is due, so it is the server's farewell."""
    if sys.platform == "win32":  # no poll() there, and no limit to select()'s descriptors either
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class _Pooled:
    """What all sessions share: the connection goes back to the pool, or is closed."""

    def __init__(self, connection: PoolProxiedConnection, driver: Any) -> None:
        self._connection = connection
        self._driver = driver
        self._use()

    def _use(self) -> None:
        """Take the connection out of the transactions that a driver begins by itself."""

    def _restore(self) -> None:
        """Undo `_use`, for the other users of an engine that is not ours."""

    def is_stale(self) -> bool:
        return _is_stale(_descriptor(self._driver))

    def release(self) -> None:
        self._restore()
        self._connection.close()

    def discard(self) -> None:
        self._connection.invalidate()
        self._connection.close()

    def call_off(self, engine: sa.Engine) -> None:
        """Do nothing: it ends by itself."""


class _PsycopgSession(_Pooled):
    _was_manual = False
    _line: socket.socket | None = None
    _cancellation: Any = None

    def _use(self) -> None:
        if not self._driver.autocommit:
            self._was_manual = True
            self._driver.autocommit = True

    def _restore(self) -> None:
        if self._was_manual:
            self._driver.autocommit = False

    def rows(self, statement: Statement, parameters: Mapping[str, Any]) -> list[Row]:
        fetched: list[Row] = self._driver.execute(statement.sql, statement.parameters(parameters)).fetchall()
        return fetched

    def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        return int(self._driver.execute(statement.sql, statement.parameters(parameters)).rowcount)

    def many(self, statement: Statement, parameters: list[Mapping[str, Any]]) -> list[Row]:
        with self._driver.cursor() as cursor:
            cursor.executemany(statement.sql, parameters, returning=True)
            found = []
            while True:
                found.append(cursor.fetchone())
                if not cursor.nextset():
                    return found

    def begin(self) -> None:
        self._driver.execute("BEGIN")

    def commit(self) -> None:
        self._driver.execute("COMMIT")

    def rollback(self) -> None:
        self._driver.execute("ROLLBACK")

    def cutter(self) -> Callable[[], None]:
        if self._line is None:
            # A duplicate: the driver may close its own at any moment, and the number may be another socket's then.
            self._line = socket.fromfd(self._driver.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        return self._cut

    def _cut(self) -> None:
        from ._psycopg import cancellation_of

        self._cancellation = cancellation_of(self._driver)
        cut(self._line)

    def call_off(self, engine: sa.Engine) -> None:
        if (cancellation := self._cancellation) is not None:
            from ._psycopg import cancel

            _begin(lambda: cancel(cancellation, _FAREWELL))

    def release(self) -> None:
        self._drop_line()
        super().release()

    def discard(self) -> None:
        self._drop_line()
        super().discard()

    def _drop_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class _PositionalSession(_Pooled):
    def rows(self, statement: Statement, parameters: Mapping[str, Any]) -> list[Row]:
        cursor = self._driver.cursor()
        cursor.execute(statement.sql, statement.parameters(parameters))
        fetched = list(cursor.fetchall())
        cursor.close()
        return fetched

    def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        cursor = self._driver.cursor()
        cursor.execute(statement.sql, statement.parameters(parameters))
        changed = int(cursor.rowcount)
        cursor.close()
        return changed

    def many(self, statement: Statement, parameters: list[Mapping[str, Any]]) -> list[Row]:
        return [self.rows(statement, one)[0] for one in parameters]


class _SQLiteSession(_PositionalSession):
    def is_stale(self) -> bool:
        return False

    def _use(self) -> None:
        self._level = self._driver.isolation_level
        if self._level is not None:
            self._driver.isolation_level = None

    def _restore(self) -> None:
        if self._level is not None:
            self._driver.isolation_level = self._level

    def begin(self) -> None:
        # IMMEDIATE takes the writer's lock at once: a transaction that read first could not get it later.
        self._driver.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._driver.execute("COMMIT")

    def rollback(self) -> None:
        if self._driver.in_transaction:
            self._driver.execute("ROLLBACK")

    def cutter(self) -> Callable[[], None]:
        return self._interrupt

    def _interrupt(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # closed by now
            self._driver.interrupt()


class _PyMySQLSession(_PositionalSession):
    def _use(self) -> None:
        self._was_manual = not self._driver.get_autocommit()
        if self._was_manual:
            self._driver.autocommit(True)

    def _restore(self) -> None:
        if self._was_manual:
            self._driver.autocommit(False)

    def begin(self) -> None:
        self._driver.begin()

    def commit(self) -> None:
        self._driver.commit()

    def rollback(self) -> None:
        self._driver.rollback()

    def cutter(self) -> Callable[[], None]:
        return functools.partial(cut, self._driver._sock)

    def call_off(self, engine: sa.Engine) -> None:
        number = self._driver.thread_id()

        def kill() -> None:
            # Any error: it has ended, the pool has no connection to spare, or the server does not answer.
            with contextlib.suppress(Exception):
                connection = engine.raw_connection()
                try:
                    connection.cursor().execute(f"KILL CONNECTION {number:d}")
                finally:
                    connection.close()

        _begin(kill)


def _begin(work: Callable[[], None]) -> None:
    """Do what may take its time, and has no result, in a thread of its own."""
    threading.Thread(target=work, name="aistorage-farewell", daemon=True).start()
