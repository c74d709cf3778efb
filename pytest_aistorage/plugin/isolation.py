"""Stores on servers: one of the run's own databases, emptied before each test, or a new one for each test."""

from __future__ import annotations

import copy
from typing import Any

from .. import config
from ..backends._connections import flavour_of
from ..backends._engines import engine_from_url
from ..backends._schema import Tables
from ..backends.database import DatabaseStorage
from ..registry import open_storage
from ..servers.server import Server
from ..storage import DEFAULT_TIMEOUT, AIStorage
from .emptying import DatabaseGoneError, Emptier
from .opener import StoreOpener
from .stores import Store

__all__ = ["DatabasePerTestStore", "SQLStore", "server_store"]


def server_store(
    name: str, server: Server, isolation: str, kept_tables: tuple[str, ...], *, keep: bool
) -> Store:
    """The store of a backend with a server."""
    if isolation == "database":
        return DatabasePerTestStore(name, server)
    if server.kind == "redis":
        from .redis_store import RedisStore

        return RedisStore(name, server, keep=keep)
    return SQLStore(name, server, kept_tables, keep=keep)


class DatabasePerTestStore(Store):
    """A database of its own for each test, dropped after it. Slow, and nothing at all is shared.

    Args:
        name: the backend's.
        server: where to create the databases.
    """

    def __init__(self, name: str, server: Server) -> None:
        self._name = name
        self._server = server
        self._url: str | None = None

    def renew(self) -> StoreOpener:
        """Create a database."""
        self.settle()
        self._url = self._server.create_database()
        return StoreOpener(self._url, open_storage, backend=self._name)

    def settle(self) -> None:
        """Drop it, whoever is still connected."""
        if self._url is not None:
            url, self._url = self._url, None
            self._server.drop_database(url)


class SQLStore(Store):
    """A database whose tables are emptied by one message before each test, the application's own tables too.

    The storages of the tests share one engine, which stays, with its connections.

    Args:
        name: the backend's.
        server: where to create the database.
        kept_tables: patterns of the names of tables that stay as they are.
        keep: whether the server outlives the run, so that the database has to be dropped.
    """

    def __init__(self, name: str, server: Server, kept_tables: tuple[str, ...], *, keep: bool) -> None:
        self._name = name
        self._server = server
        self._kept_tables = kept_tables
        self._drops = keep or not server.owned
        self._start()

    def begin(self) -> None:
        """Send the message; the answer can wait."""
        self._emptier.begin()

    def renew(self) -> StoreOpener:
        """Empty the tables; create ours again, or the database, where a test took them away or changed them."""
        try:
            self._emptier.empty()
        except DatabaseGoneError:
            self.close()
            self._start()
            self._emptier.empty()
        return self._opener

    def settle(self) -> None:
        """Nothing: it is emptied before the next test."""

    def close(self) -> None:
        """Give up the connections, and the database where it would stay."""
        self._stop()
        if self._drops:
            self._server.drop_database(self._url)

    def _start(self) -> None:
        self._url = self._server.create_database()
        self._engine = engine_from_url(
            config.StorageURL.parse(self._url), timeout=DEFAULT_TIMEOUT, pool_size=5, max_overflow=10
        )
        self._emptier = _emptier(self._server.kind, self._url, self._kept_tables, self._create_tables)
        self._prototype = DatabaseStorage(db=self._engine)
        self._opener = StoreOpener(self._url, open_storage, backend=self._name, kept=self._open)

    def _stop(self) -> None:
        self._emptier.close()
        self._engine.dispose()

    def _open(self) -> AIStorage:
        # A copy has the same engine, which is not the storage's to close; to read the URL again would take
        # longer than all else here.
        return copy.copy(self._prototype)

    def _create_tables(self) -> None:
        with self._engine.connect():
            pass  # only a connection tells MariaDB from MySQL
        Tables(flavour_of(self._engine)).metadata.create_all(self._engine)


def _emptier(kind: str, url: str, kept_tables: tuple[str, ...], create_tables: Any) -> Emptier:
    if kind == "postgres":
        from .empty_postgres import PostgresEmptier

        return PostgresEmptier(url, kept_tables, create_tables)
    from .empty_mysql import MySQLEmptier

    return MySQLEmptier(url, kept_tables, create_tables)
