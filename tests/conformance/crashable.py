"""Servers of our own backends that may be killed.

PostgreSQL, MySQL and Redis: a private server with durable settings. SQLite has no server: its library runs in the
client, so what can crash is the process that the library runs in. `Hosted` puts one client into such a process and
passes its methods on; to kill it shows what SIGKILL in the middle of SQLite's own work does to the file, and no more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self

import pytest

from pytest_aistorage import OutcomeUnknownError, StorageUnavailableError, open_storage
from pytest_aistorage.plugin.state import state_of
from pytest_aistorage.races.clients import ClientPool
from pytest_aistorage.servers.base import ServerSpec
from pytest_aistorage.servers.resolve import private_server
from pytest_aistorage.servers.server import PrivateServer

SERVERS = ("postgres", "mysql", "mariadb", "redis", "valkey")


class OfServer:
    """A store on a server of the test's own."""

    def __init__(self, server: PrivateServer) -> None:
        self._server = server
        self._url = server.create_database()

    def opener(self) -> Any:
        """Open one more client."""
        return open_storage(self._url)

    def kill(self) -> None:
        """End the server by SIGKILL."""
        self._server.kill()

    def restart(self) -> None:
        """Start it again."""
        self._server.restart()


class _Call:
    """One method of a storage with its arguments: what a process is asked to do. Picklable."""

    def __init__(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._method, self._arguments, self._options = method, arguments, options

    def __call__(self, storage: Any) -> Any:
        return getattr(storage, self._method)(*self._arguments, **self._options)


class Hosted:
    """A store whose library runs in one process, which may be killed. A context manager.

    Args:
        opener: opens a client of the store; picklable.
    """

    def __init__(self, opener: Callable[[], Any]) -> None:
        self._opener = opener
        self._pool = ClientPool()
        self._turn = threading.Lock()
        self._process: Any = None
        self.restart()

    def opener(self) -> HostedStorage:
        """Return one more client."""
        return HostedStorage(self)

    def kill(self) -> None:
        """End the process by SIGKILL, whatever it is doing."""
        os.kill(self._process.pid, signal.SIGKILL)
        with self._turn:
            self._process.end()
            self._process = None

    def restart(self) -> None:
        """Start another one."""
        with self._turn:
            (process,) = self._pool.clients(1)
            process.open(self._opener)
            self._process = process

    def call(self, call: _Call) -> Any:
        """Let the process do something."""
        with self._turn:
            if self._process is None:
                self.report_down()
            outcome = self._process.call(call)
        if outcome.kind == "died":
            self.report_lost()
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def report_down(self) -> NoReturn:
        """Say that there is no process."""
        raise StorageUnavailableError("the process that hosts the storage is down")

    def report_lost(self) -> NoReturn:
        """Say that an acknowledgement was lost."""
        raise OutcomeUnknownError("the process that hosts the storage died")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.close()
        self._pool.close()


class HostedStorage:
    """One client of a hosted store: each method is done in the process that may be killed."""

    def __init__(self, host: Hosted) -> None:
        self._host = host

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self._host.call(_Call(method, arguments, options))

    def close(self) -> None:
        """Nothing: the process is the host's."""


@contextlib.contextmanager
def crashable_of(request: pytest.FixtureRequest, opener: Any) -> Iterator[OfServer | Hosted | None]:
    """A fresh store of the backend of a test, on a server that may be killed; None: the backend has none."""
    name = opener.backend
    if name.partition("@")[0] in SERVERS:
        spec, options = ServerSpec.parse(name), state_of(request.config).needed_run().server_options
        if options.url_of(spec) is not None:  # somebody else's server is not killed
            yield None
            return
        with private_server(spec, options) as server:
            yield OfServer(server)
    elif name == "sqlite":
        with Hosted(opener) as host:
            yield host
    else:
        yield None
