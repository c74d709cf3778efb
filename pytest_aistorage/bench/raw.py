"""The raw drivers, doing what the storages have them do: the same statements with the same parameters.

What a raw operation includes: sending the statements over a connection that is kept open, with parameters that
were made beforehand, and fetching the rows or the reply as the driver gives them. What it does not include, and
the storage does: checking the record, encoding metadata and moments, a pool that several threads share, limits
on how long to wait, and making a record out of the reply.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .. import codec
from ..backends.database import DatabaseStorage
from ..progress import AIProgress
from ..storage import AIStorage

if TYPE_CHECKING:
    from ..backends.redis import RedisStorage

__all__ = ["Raw", "raw_of"]


class Raw(Protocol):
    """A kept connection of a raw driver."""

    driver: str
    """What it is, in words."""

    def getter(self, name: str) -> Callable[[], object]:
        """Return what reads a model's row."""

    def saver(self, record: AIProgress) -> Callable[[], object]:
        """Return what saves a record, all parameters made."""

    def close(self) -> None:
        """Close the connection."""


def raw_of(url: str, storage: AIStorage) -> Raw | None:
    """Connect a raw driver to a storage's store; None where there is no driver.

    Args:
        url: of the store.
        storage: a client of it that has been used, so that its statements are compiled.
    """
    if storage.type == "redis":
        return _RawRedis(url, cast("RedisStorage", storage))
    if not isinstance(storage, DatabaseStorage):
        return None
    scheme = urlsplit(url).scheme
    if scheme == "postgresql":
        return _RawPostgres(url, storage)
    return _RawSQLite(url, storage) if scheme == "sqlite" else _RawMySQL(url, storage)


def _statements(storage: DatabaseStorage) -> Any:
    """The SQL that the storage itself sends: no copy that could come to differ."""
    return storage._executor.prepared.sql


class _RawPostgres:
    driver = "psycopg, a kept autocommit connection"

    def __init__(self, url: str, storage: DatabaseStorage) -> None:
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)
        self._sql = _statements(storage)

    def getter(self, name: str) -> Callable[[], object]:
        execute, sql, given = self._connection.execute, self._sql.get.sql, {"model_name": name}
        return lambda: execute(sql, given).fetchall()

    def saver(self, record: AIProgress) -> Callable[[], object]:
        from ..backends._rows import parameters

        execute, sql, given = self._connection.execute, self._sql.save.sql, parameters("postgresql", record)
        return lambda: execute(sql, given).fetchall()

    def close(self) -> None:
        self._connection.close()


class _RawRedis:
    driver = "redis-py, a kept client"

    def __init__(self, url: str, storage: RedisStorage) -> None:
        import redis

        parts = urlsplit(url)
        # On a server of somebody else the storage's keys have a prefix, of which redis-py knows nothing.
        query = urlencode([one for one in parse_qsl(parts.query) if one[0] != "prefix"])
        self._client = redis.Redis.from_url(parts._replace(query=query).geturl())
        self._storage = storage

    def getter(self, name: str) -> Callable[[], object]:
        get, key = self._client.get, self._storage._keys.record + name
        return lambda: get(key)

    def saver(self, record: AIProgress) -> Callable[[], object]:
        from ..backends._redis_scripts import SAVE

        name, keys = record.model_name, self._storage._keys.of(record.model_name)
        arguments = (*keys, name, codec.fields_to_text(record), "", "")
        evalsha, sha = self._client.evalsha, SAVE.sha
        return lambda: evalsha(sha, 4, *arguments)

    def close(self) -> None:
        self._client.close()


class _RawSQLite:
    driver = "sqlite3, a kept connection with the same PRAGMAs"

    def __init__(self, url: str, storage: DatabaseStorage) -> None:
        path = unquote(urlsplit(url).path)[1:]
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._sql = _statements(storage)

    def getter(self, name: str) -> Callable[[], object]:
        execute, statement = self._connection.execute, self._sql.get
        given = statement.parameters({"model_name": name})
        return lambda: execute(statement.sql, given).fetchall()

    def saver(self, record: AIProgress) -> Callable[[], object]:
        from ..backends._rows import parameter, parameters

        execute, bump, put = self._connection.execute, self._sql.bump, self._sql.put
        given = parameters("sqlite", record)
        given["now"] = parameter("sqlite", record.training_start) or "2025-03-01 08:00:00.000000"
        bumped = bump.parameters(given)

        def save() -> object:
            execute("BEGIN IMMEDIATE")
            given["version"] = execute(bump.sql, bumped).fetchall()[0][0]
            rows = execute(put.sql, put.parameters(given)).fetchall()
            execute("COMMIT")
            return rows

        return save

    def close(self) -> None:
        self._connection.close()


class _RawMySQL:
    driver = "PyMySQL, a kept autocommit connection"

    def __init__(self, url: str, storage: DatabaseStorage) -> None:
        import pymysql

        parts = urlsplit(url)
        self._connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path[1:],
            charset="utf8mb4",
            autocommit=True,
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        )
        self._cursor = self._connection.cursor()
        self._sql = _statements(storage)

    def _rows(self, sql: str, given: Any) -> Any:
        self._cursor.execute(sql, given)
        return self._cursor.fetchall()

    def getter(self, name: str) -> Callable[[], object]:
        statement = self._sql.get
        given = statement.parameters({"model_name": name})
        return lambda: self._rows(statement.sql, given)

    def saver(self, record: AIProgress) -> Callable[[], object]:
        from ..backends._rows import parameters

        sql, execute = self._sql, self._cursor.execute
        given = parameters(sql.flavour, record)
        bumped, this, stamps = (one.parameters(given) for one in (sql.bump, sql.last_version, sql.stamps))

        def save() -> object:
            self._connection.begin()
            execute(sql.bump.sql, bumped)
            given["version"] = self._rows(sql.last_version.sql, this)[0][0]
            execute(sql.put.sql, sql.put.parameters(given))
            rows = self._rows(sql.stamps.sql, stamps)
            self._connection.commit()
            return rows

        return save

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()
