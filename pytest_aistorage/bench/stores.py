"""Where is stored what is measured: servers of our own, started when they are first needed, and files."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from ..errors import ServerUnavailableError
from ..registry import open_storage
from ..servers.base import ServerOptions, ServerSpec
from ..servers.resolve import private_server, shared_server
from ..servers.server import PrivateServer, Server
from ..storage import AIStorage
from .promises import IN_MEMORY, IN_PLACE, WAL, Promise, filesystem, promise_of

__all__ = ["SERVERS", "Store", "Stores"]

SERVERS = ("postgres", "mysql", "redis")
"""The backends that are a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An empty store.

    Attributes:
        url: for `open_storage`, with all options.
        server: product and version.
        promise: when what was acknowledged is on a disk.
        processes: URLs of the servers behind it that are processes on this machine, started for this.
    """

    url: str
    server: str
    promise: Promise
    processes: tuple[str, ...] = ()

    def open(self) -> AIStorage:
        """Open a client."""
        return open_storage(self.url)

    def having(self, **options: str) -> Store:
        """Return the same store, opened with more options."""
        query = urlencode(options)
        return replace(self, url=f"{self.url}{'&' if '?' in self.url else '?'}{query}")


class Stores:
    """Gives out stores. Use it as a context manager: servers and files go with it.

    Args:
        providers: where servers may come from, in order. A container's network is measured with it.
        urls: servers to use, by their kind. Only databases that are created for this are touched there, and their
            settings stay as they are.
    """

    def __init__(
        self, providers: tuple[str, ...] = ("process", "embedded"), urls: Mapping[str, str] | None = None
    ) -> None:
        self._exits = contextlib.ExitStack()
        self._urls = dict(urls or {})
        self.providers = providers
        self.directory = Path(tempfile.mkdtemp(prefix="aistorage-bench-"))
        """On a disk, as far as the system's temporary directory is."""
        self._exits.callback(shutil.rmtree, self.directory, ignore_errors=True)
        # Entered by the servers' unprivileged user, where that is not this one.
        self.directory.chmod(0o711)
        self._shared: dict[str, Server] = {}
        self._private: dict[tuple[str, frozenset[tuple[str, str]]], PrivateServer] = {}

    def __enter__(self) -> Stores:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the servers, remove the files, and drop what was created on servers of others."""
        self._exits.close()

    def foreign(self, kind: str) -> bool:
        """Whether the server of a kind is one of somebody else's, given by its URL."""
        return kind in self._urls

    def options(self, name: str, *, on_disk: bool = False) -> ServerOptions:
        """Options under which a server is started that no other name shares.

        Args:
            name: of the group of servers.
            on_disk: whether their data go to a disk, also where a memory file system would be quicker.
        """
        # A kind that was named by its URL gets that server or none: another one would not be what was asked about.
        order = {kind: ("url",) if kind in self._urls else self._own_providers() for kind in SERVERS}
        return ServerOptions(
            run_dir=self.directory / name,
            providers=order,
            urls=self._urls,
            data_dir=Path(tempfile.gettempdir()) if on_disk else None,
        )

    def _own_providers(self) -> tuple[str, ...]:
        return tuple(provider for provider in self.providers if provider != "url") or ("url",)

    def server(self, kind: str) -> Server:
        """The server of a kind, as the plugin starts it for tests: nothing is synchronized to a disk.

        Raises:
            ServerUnavailableError: there is none to be had.
        """
        if kind not in self._shared:
            spec = ServerSpec.parse(kind)
            self._shared[kind] = self._exits.enter_context(shared_server(spec, self.options("shared")))
        return self._shared[kind]

    def volatile(self, backend: str) -> Store:
        """An empty store of a backend; those with a server have it as the plugin starts it for tests.

        Raises:
            ServerUnavailableError: there is none to be had.
        """
        if backend in SERVERS:
            return self._store(self.server(backend))
        if backend == "hybrid":
            return _hybrid(self.volatile("postgres"), self.volatile("redis"))
        return self._local(backend)

    def durable(self, backend: str, settings: Mapping[str, str] | None = None) -> Store:
        """An empty store on a private server with durable settings, whose data lie on a disk.

        Args:
            backend: a hybrid's cache has no append-only file: its database keeps what was acknowledged.
            settings: more settings, in the server's own words.

        Raises:
            ServerUnavailableError: there is none to be had, or it is somebody else's and has other settings.
        """
        if backend == "hybrid":
            return self.cached("postgres")
        if backend not in SERVERS:
            return self._local(backend)
        if backend in self._urls:
            if settings:
                wanted = ", ".join(f"{name} {value}" for name, value in settings.items())
                raise ServerUnavailableError(
                    backend,
                    [f"the server is somebody else's, and is not set to {wanted}"],
                    "leave out its --url",
                )
            return self._store(self.server(backend))
        key = backend, frozenset((settings or {}).items())
        if key not in self._private:
            server = private_server(
                ServerSpec.parse(backend), self.options("private", on_disk=True), settings=settings
            )
            self._private[key] = self._exits.enter_context(server)
        return self._store(self._private[key])

    def cached(self, database: str) -> Store:
        """An empty hybrid on a database of this kind, as `durable` has it.

        Raises:
            ServerUnavailableError: one of its servers is not to be had.
        """
        return _hybrid(self.durable(database), self.cache())

    def cache(self) -> Store:
        """An empty Redis as a hybrid's cache: without an append-only file, unless it is somebody else's and has one.

        Raises:
            ServerUnavailableError: there is none to be had.
        """
        return self.durable("redis", None if self.foreign("redis") else {"appendonly": "no"})

    def _store(self, server: Server) -> Store:
        url = server.create_database()
        if not server.owned:
            self._exits.callback(server.drop_database, url)
        local = server.provider in ("process", "embedded")
        admin = server.url
        if isinstance(server, PrivateServer):
            # The proxy in front of it runs in this process, and would be measured with it.
            url, admin = server.direct(url), server.direct_url
        return Store(
            url=url,
            server=server.version,
            promise=promise_of(admin, local=local),
            processes=(admin,) if local else (),
        )

    def _local(self, backend: str) -> Store:
        name = secrets.token_hex(4)
        place = f"{self.directory.as_posix()}/{name}"
        if backend == "memory":
            return Store(url=f"memory://{name}", server="none", promise=IN_MEMORY)
        if backend == "file":
            return Store(url=f"file://{place}.json", server="none", promise=IN_PLACE)
        if backend == "sqlite":
            promise = replace(WAL, settings=f"{WAL.settings}, {filesystem(self.directory)}")
            return Store(
                url=f"sqlite:///{place}.db", server=f"SQLite {sqlite3.sqlite_version}", promise=promise
            )
        raise ServerUnavailableError(backend, ["no benchmark knows this backend"], "")


def _hybrid(database: Store, cache: Store) -> Store:
    cached = database.having(cache=cache.url)
    return replace(
        cached,
        server=f"{database.server}, cached by {cache.server}",
        promise=Promise(
            database.promise.words, f"{database.promise.settings}; cache: {cache.promise.settings}"
        ),
        processes=(*database.processes, *cache.processes),
    )
