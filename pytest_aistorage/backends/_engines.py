"""Engines of a database storage: SQLAlchemy's dialects and pool, and each driver's arguments."""

from __future__ import annotations

import importlib
import inspect
import sqlite3
import time
import weakref
from typing import Any

import sqlalchemy as sa

from .. import config
from ..errors import ConfigurationError
from ..passwords import OPTION, Passwords

__all__ = ["engine_from_url", "is_ours"]

_DRIVERS = {
    "sqlite": ("sqlite+pysqlite", "sqlite3", "sqlite"),
    "postgresql": ("postgresql+psycopg", "psycopg", "postgres"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgres"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mysql+pymysql", "pymysql", "mysql"),
}

# What was made here, as opposed to an application's own engine, whose dialect may be configured in any way.
_ours: weakref.WeakSet[sa.Engine] = weakref.WeakSet()

# The server gives up shortly before the client does: what the server ends has a known outcome.
_SERVER_SHARE = 0.9


def engine_from_url(
    url: config.StorageURL,
    *,
    timeout: float,
    pool_size: int,
    max_overflow: int,
    passwords: Passwords | None = None,
) -> sa.Engine:
    """Make an engine whose connections never wait longer than ``timeout``; nothing connects yet.

    Args:
        url: without the storage's own options.
        timeout: seconds, for each exchange with the server.
        pool_size: connections kept open.
        max_overflow: connections opened beyond those.
        passwords: asked with each new connection, where they change; default: the URL's own.

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
        if passwords is not None and passwords.changing:
            raise ConfigurationError(f"option {OPTION}: SQLite has no password")
        return _noted(_sqlite_engine(target, options))
    if module == "psycopg":
        return _noted(_postgres_engine(target, options, timeout, passwords))
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
    return _noted(_mysql_engine(target, options, limits, timeout, passwords))


def is_ours(engine: sa.Engine) -> bool:
    """Say whether an engine was made by `engine_from_url`: equal servers then get equal SQL."""
    return engine in _ours


def _noted(engine: sa.Engine) -> sa.Engine:
    _ours.add(engine)
    return engine


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

        from ._pymysql import TLS_PARAMETERS

        known = frozenset(inspect.signature(pymysql.connections.Connection.__init__).parameters)
        known |= TLS_PARAMETERS
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


def _postgres_engine(
    target: sa.URL, options: dict[str, Any], timeout: float, passwords: Passwords | None
) -> sa.Engine:
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
        if passwords is not None and passwords.changing:
            arguments["password"] = passwords.current()
        connection = TimedConnection.connect(autocommit=True, **arguments)
        connection.time_limit = timeout
        return connection

    engine = sa.create_engine(target, creator=connect, **options)
    return engine


def _mysql_engine(
    target: sa.URL,
    options: dict[str, Any],
    limits: dict[str, Any],
    timeout: float,
    passwords: Passwords | None,
) -> sa.Engine:
    from ._pymysql import TLS_PARAMETERS, Connection, tls_context

    tls = {name: str(value) for name, value in target.query.items() if name in TLS_PARAMETERS}
    target = target.difference_update_query(TLS_PARAMETERS)
    tls_context(tls)  # what can't be read is told now

    def connect() -> Connection:
        _, arguments = engine.dialect.create_connect_args(target)
        arguments = {**arguments, **limits, **tls_context(tls)}
        if passwords is not None and passwords.changing:
            arguments["password"] = passwords.current().encode()
        connection = Connection(**arguments)
        connection.limit_statements(timeout * _SERVER_SHARE)
        return connection

    engine = sa.create_engine(target, creator=connect, **options)
    return engine
