"""Engines and connections of a database storage: SQLAlchemy's dialects and pool, the drivers' own execution."""

from __future__ import annotations

import importlib
import inspect
import select
import sqlite3
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa

from .. import config
from ..errors import ConfigurationError
from ._schema import Flavour
from ._statements import Statement

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection

__all__ = ["Row", "Session", "engine_from_url", "flavour_of", "open_session"]

Row = tuple[Any, ...]

_DRIVERS = {
    "sqlite": ("sqlite+pysqlite", "sqlite3", "sqlite"),
    "postgresql": ("postgresql+psycopg", "psycopg", "postgres"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgres"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mysql+pymysql", "pymysql", "mysql"),
}

# The server gives up shortly before the client does: what the server ends has a known outcome.
_SERVER_SHARE = 0.9


def engine_from_url(
    url: config.StorageURL, *, timeout: float, pool_size: int, max_overflow: int
) -> sa.Engine:
    """Make an engine whose connections never wait longer than ``timeout``; nothing connects yet.

    Raises:
        ConfigurationError: the driver is missing or unknown, or the URL names no database.
    """
    scheme, _, driver = url.scheme.partition("+")
    drivername, module, extra = _DRIVERS[scheme]
    if driver and driver != drivername.partition("+")[2]:
        raise ConfigurationError(
            f"{url.scheme}://: the driver for {scheme} is {drivername.partition('+')[2]}"
        )
    try:
        importlib.import_module(module)
    except ImportError:
        raise config.missing_extra(scheme, module, extra) from None
    database = url.path[1:]
    if scheme == "sqlite" and (url.host or not database or database == ":memory:"):
        raise ConfigurationError(
            "a SQLite URL names a file: sqlite:///relative.db or sqlite:////absolute.db "
            "(for records in memory there is memory://)"
        )
    if scheme != "sqlite" and not database:
        raise ConfigurationError(f"{url}: names no database")
    _check_parameters(scheme, url)
    target = sa.URL.create(
        drivername,
        username=url.username,
        password=url.password,
        host=url.host,
        port=url.port,
        database=database,
        query=dict(url.query),
    )
    pool = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": timeout}
    # A connection comes back with its transaction ended; a rollback of nothing would be a round trip.
    options: dict[str, Any] = {**pool, "pool_use_lifo": True, "pool_reset_on_return": None}
    if scheme == "sqlite":
        return _sqlite_engine(target, options)
    if module == "psycopg":
        return _postgres_engine(target, options, timeout)
    limits: dict[str, Any] = {
        "connect_timeout": max(1, round(timeout)),
        "read_timeout": timeout,
        "write_timeout": timeout,
        "charset": "utf8mb4",
        "autocommit": True,
        # READ COMMITTED: no gap locks, which deadlock writers of different models.
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    }
    if url.password is not None:
        limits["password"] = url.password.encode()  # PyMySQL takes a str for Latin-1
    return _mysql_engine(target, options, limits)


# SQLite's own, of a "file:" URI: https://www.sqlite.org/uri.html
_SQLITE_PARAMETERS = frozenset({"uri", "mode", "cache", "immutable", "vfs", "nolock", "psow", "modeof"})


def _check_parameters(scheme: str, url: config.StorageURL) -> None:
    """Refuse what the driver does not know, now and not at the first use.

    Raises:
        ConfigurationError: naming the parameter; never its value.
    """
    if scheme == "sqlite":
        known = _SQLITE_PARAMETERS
    elif scheme in ("postgresql", "postgres"):
        import psycopg

        known = frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())
    else:
        import pymysql

        # SQLAlchemy gathers ssl_ca and the like into one argument of PyMySQL's.
        names = inspect.signature(pymysql.connections.Connection.__init__).parameters
        known = frozenset(names) | {
            "ssl_ca",
            "ssl_cert",
            "ssl_key",
            "ssl_capath",
            "ssl_cipher",
            "ssl_check_hostname",
        }
    unknown = sorted(set(url.query) - known)
    if unknown:
        raise ConfigurationError(f"{scheme}: unknown parameter {unknown[0]!r}")
    timeout = url.query.get("connect_timeout")
    if timeout is not None:
        config.seconds("connect_timeout", timeout)


def _sqlite_engine(target: sa.URL, options: dict[str, Any]) -> sa.Engine:
    # A short wait inside SQLite, whose waits grow to 100 ms; beyond it the caller tries again at random
    # moments, so that of many writers none starves.
    arguments = {"timeout": 0.05, "isolation_level": None, "check_same_thread": False}
    engine = sa.create_engine(target, connect_args=arguments, poolclass=sa.QueuePool, **options)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for attempt in range(100):
        try:
            # Readers don't block the writer; FULL because only an fsync at every commit survives a power loss.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            return
        except sqlite3.OperationalError as error:
            # Two first connections switch the file to WAL at once: one of them is told to wait.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == 99:
                raise
            time.sleep(0.01)


def _postgres_engine(target: sa.URL, options: dict[str, Any], timeout: float) -> sa.Engine:
    from ._psycopg import TimedConnection

    server_limit = int(timeout * _SERVER_SHARE * 1000)

    def connect() -> TimedConnection:
        _, arguments = engine.dialect.create_connect_args(target)
        settings = f"-c statement_timeout={server_limit} -c lock_timeout={server_limit}"
        given = arguments.pop("options", None)
        arguments["options"] = f"{given} {settings}" if given else settings
        arguments.setdefault("connect_timeout", max(2, round(timeout)))
        arguments.setdefault("application_name", "pytest-aistorage")
        arguments.pop("context", None)
        connection = TimedConnection.connect(autocommit=True, **arguments)
        connection.time_limit = timeout
        return connection

    engine = sa.create_engine(target, creator=connect, **options)
    return engine


def _mysql_engine(target: sa.URL, options: dict[str, Any], limits: dict[str, Any]) -> sa.Engine:
    from ._pymysql import Connection

    def connect() -> Connection:
        _, arguments = engine.dialect.create_connect_args(target)
        return Connection(**{**arguments, **limits})

    engine = sa.create_engine(target, creator=connect, **options)
    return engine


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


class _PsycopgSession(_Pooled):
    _was_manual = False

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
