"""Where the benchmarks store: servers of their own, started when they are first needed, and files."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from pytest_aistorage import AIStorage, ServerUnavailableError, open_storage
from pytest_aistorage.servers import Server, ServerOptions, ServerSpec, private_server, shared_server

__all__ = ["SERVERS", "Store", "Stores"]

SERVERS = ("postgres", "mysql", "redis")
"""The backends that need a server."""

_MEMORY_FILE_SYSTEM = "/dev/shm"


@dataclass(frozen=True, slots=True)
class Store:
    """An empty store.

    Attributes:
        url: for `open_storage`.
        server: product and version.
        durability: the settings that decide what survives, as the server reports them.
    """

    url: str
    server: str
    durability: str

    def open(self, **options: Any) -> AIStorage:
        """Open a client."""
        return open_storage(self.url, **options)


class Stores:
    """Gives out stores. Use it as a context manager: servers and files go with it.

    Args:
        providers: where servers may come from, in order; never by URL or in a container, whose network would
            be measured with it.
    """

    def __init__(self, providers: tuple[str, ...] = ("process", "embedded")) -> None:
        self._exits = contextlib.ExitStack()
        self.providers = providers
        self.directory = Path(tempfile.mkdtemp(prefix="aistorage-bench-"))
        """On a disk, as far as the system's temporary directory is."""
        self._exits.callback(shutil.rmtree, self.directory, ignore_errors=True)
        # Entered by the servers' unprivileged user, where that is not this one.
        self.directory.chmod(0o711)
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Stores:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def options(self, name: str) -> ServerOptions:
        """Options under which a server is started that no other name shares."""
        run_dir = self.directory / name
        return ServerOptions(run_dir=run_dir, providers=dict.fromkeys(SERVERS, self.providers))

    def server(self, kind: str) -> Server:
        """The server of a kind, as the plugin starts it for tests: nothing is synchronized to a disk.

        Raises:
            ServerUnavailableError: there is none to be had.
        """
        if kind not in self._servers:
            options = self.options("shared")
            self._servers[kind] = self._exits.enter_context(shared_server(ServerSpec.parse(kind), options))
        return self._servers[kind]

    def volatile(self, backend: str) -> Store:
        """An empty store of a backend; those with a server have it as the plugin starts it for tests.

        Raises:
            ServerUnavailableError: there is none to be had.
        """
        if backend in SERVERS:
            server = self.server(backend)
            return Store(server.create_database(), server.version, durability(server.url))
        name = secrets.token_hex(4)
        if backend == "memory":
            return Store(f"memory://{name}", "none", "none: gone with the process")
        if backend == "file":
            url = f"file://{self.directory.as_posix()}/{name}.json"
            return Store(url, "none", "none: written in place, not synchronized")
        if backend == "sqlite":
            url = f"sqlite:///{self.directory.as_posix()}/{name}.db"
            where = filesystem(self.directory)
            return Store(
                url, f"SQLite {sqlite3.sqlite_version}", f"journal_mode=WAL, synchronous=FULL, {where}"
            )
        raise ServerUnavailableError(backend, ["no benchmark knows this backend"], "")

    @contextlib.contextmanager
    def durable(self, kind: str, settings: Mapping[str, str] | None = None) -> Iterator[Store]:
        """An empty store on a private server with durable settings, whose data lies on a disk.

        Args:
            kind: of the server.
            settings: more settings, in the server's own words.
        """
        # The provider takes a memory file system where there is one, which is right for tests and nothing else.
        place = mock.patch("pytest_aistorage.servers.process._root", return_value=tempfile.gettempdir())
        with place:
            server = private_server(ServerSpec.parse(kind), self.options("private"), settings=settings)
        with server:
            yield Store(server.create_database(), server.version, durability(server.url))


def filesystem(path: Path | str) -> str:
    """Say what lies under a path, as far as it can be told."""
    return "in memory" if str(path).startswith(_MEMORY_FILE_SYSTEM) else "on disk"


def durability(url: str) -> str:
    """Ask a server for the settings that decide what survives a crash.

    Args:
        url: of its administrator.
    """
    scheme = urlsplit(url).scheme
    if scheme == "redis":
        import redis

        client = redis.Redis.from_url(url, decode_responses=True)
        with contextlib.closing(client):
            found: dict[str, str] = client.config_get("append*", "dir")  # type: ignore[assignment]
        if found["appendonly"] != "yes":
            return "appendonly=no"
        return f"appendonly=yes, appendfsync={found['appendfsync']}, {filesystem(found['dir'])}"
    if scheme == "postgresql":
        import psycopg

        names = ("fsync", "synchronous_commit", "full_page_writes")
        with psycopg.connect(url) as connection:
            values = [connection.execute(f"SHOW {name}").fetchone() for name in (*names, "data_directory")]
        said = [f"{name}={value[0]}" for name, value in zip(names, values, strict=False) if value]
        return ", ".join([*said, filesystem(values[-1][0] if values[-1] else "")])
    import pymysql

    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname, port=parts.port or 3306, user=parts.username, password=parts.password or ""
    )
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@datadir")
        flush, doublewrite, place = cursor.fetchone()
    return f"innodb_flush_log_at_trx_commit={flush}, innodb_doublewrite={doublewrite}, {filesystem(place)}"
