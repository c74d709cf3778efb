"""What one run has opened: its directory, its servers, its stores; and what it could not have."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ..conformance.factories import is_reference
from ..errors import ServerUnavailableError
from ..servers.base import ServerOptions, ServerSpec
from ..servers.supervisor.lease import lock_shared, try_exclusive
from .names import servers_of
from .options import Settings, stands_for
from .stores import FactoryStore, FakeRedisStore, MemoryStore, Store, path_store

__all__ = ["Record", "Run", "RunDirectory"]

_PREFIX = "aistorage-run-"
_LEASE = "run.lease"
# Seconds after which a directory without a lease file is no run that is just starting.
_ABANDONED = 3600.0


@dataclass(slots=True)
class Record:
    """What is to be reported in the end; a worker of pytest-xdist sends it to the controller.

    Attributes:
        servers: by spec, the server's version and provider.
        used: how many tests got a store, or a server, by the backend's name.
        missing: by the backend's name, why its server could not be had, and how many tests that concerned.
    """

    servers: dict[str, tuple[str, str]] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)
    missing: dict[str, tuple[str, int]] = field(default_factory=dict)

    def as_plain(self) -> dict[str, Any]:
        """As lists, dicts and texts."""
        return {
            "servers": {spec: list(found) for spec, found in self.servers.items()},
            "used": dict(self.used),
            "missing": {name: list(found) for name, found in self.missing.items()},
        }

    def add(self, plain: dict[str, Any]) -> None:
        """Add what `as_plain` of another gave."""
        for spec, (version, provider) in plain["servers"].items():
            self.servers[spec] = (version, provider)
        self.used.update(plain["used"])
        for name, (reason, count) in plain["missing"].items():
            self.missing[name] = (reason, self.missing.get(name, ("", 0))[1] + count)

    def unmet(self, required: tuple[str, ...]) -> list[str]:
        """The required names on which no test ran."""
        return [wanted for wanted in required if not any(stands_for(wanted, name) for name in self.used)]


class RunDirectory:
    """A private directory of the run, removed at its end; after a kill, by the next run."""

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        _sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lease = os.open(self.path / _LEASE, os.O_RDWR | os.O_CREAT, 0o600)
        lock_shared(self._lease)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        os.close(self._lease)
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                continue
            try:
                lease = os.open(path / _LEASE, os.O_RDWR)
            except FileNotFoundError:
                if time.time() - status.st_mtime > _ABANDONED:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            try:
                if try_exclusive(lease):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lease)


class Run:
    """The servers and stores of one process of a run; each is started or opened when a test first needs it.

    Args:
        settings: the options.
        given_directory: the run's directory, where a controller has made it.
    """

    def __init__(self, settings: Settings, given_directory: Path | None = None) -> None:
        self.settings = settings
        self.record = Record()
        self._given_directory = given_directory
        self._own_directory: RunDirectory | None = None
        self._stores_directory: Path | None = None
        self._servers: dict[str, Any] = {}
        self._stores: dict[str, Store] = {}
        self._failed: dict[str, ServerUnavailableError] = {}
        self._others: list[Store] = []

    @property
    def directory(self) -> Path:
        """The run's directory, the same for all workers of one machine."""
        if self._given_directory is not None:
            return self._given_directory
        if self._own_directory is None:
            self._own_directory = RunDirectory()
        return self._own_directory.path

    @property
    def server_options(self) -> ServerOptions:
        """What the servers layer needs to know."""
        return ServerOptions(
            run_dir=self.directory,
            providers=self.settings.providers,
            urls=self.settings.urls,
            keep=self.settings.keep,
        )

    def server(self, name: str) -> Any:
        """The run's shared server for a spec, ``postgres@17``.

        Raises:
            ServerUnavailableError: it can't be had; found out once.
        """
        if name in self._failed:
            raise self._failed[name]
        if name not in self._servers:
            from ..servers.resolve import shared_server

            try:
                server = shared_server(ServerSpec.parse(name), self.server_options)
            except ServerUnavailableError as error:
                self._failed[name] = self._with_remedy(error)
                raise self._failed[name] from error
            self._servers[name] = server
            self.record.servers[name] = (server.version, server.provider)
        return self._servers[name]

    def store(self, name: str) -> Store:
        """The store of which the tests of a backend take turns.

        Raises:
            ServerUnavailableError: its server can't be had.
        """
        found = self._stores.get(name)
        if found is None:
            found = self._stores[name] = self._new(name)
        return found

    def opened_store(self, name: str) -> Store | None:
        """The same, if it is open already."""
        return self._stores.get(name)

    def another_store(self, name: str) -> Store:
        """One more store of a backend; the run closes it in the end.

        Raises:
            ServerUnavailableError: its server can't be had.
        """
        store = self._new(name)
        self._others.append(store)
        return store

    def unavailable(self, name: str, error: ServerUnavailableError) -> NoReturn:
        """Skip the test, or fail it where the backend is required; with all reasons and the remedy in one line."""
        reason = " ".join(str(error).split())
        self.record.missing[name] = (reason, self.record.missing.get(name, ("", 0))[1] + 1)
        if self.settings.must_run(name):
            # Without a context, which would tell the same line twice more.
            raise pytest.fail.Exception(f"{name} is required: {reason}", pytrace=False) from None
        pytest.skip(reason)

    def close(self) -> None:
        """Close everything; a server ends with the last process of the run."""
        for closable in [*self._stores.values(), *self._others, *self._servers.values()]:
            closable.close()
        for mapping in (self._stores, self._servers):
            mapping.clear()
        self._others.clear()
        if self._stores_directory is not None:
            shutil.rmtree(self._stores_directory, ignore_errors=True)
        if self._own_directory is not None:
            self._own_directory.remove()
            self._own_directory = None

    def _new(self, name: str) -> Store:
        if name == "memory":
            return MemoryStore()
        if name == "redis-fake":
            return FakeRedisStore()
        if is_reference(name):
            return FactoryStore(name)
        needed = servers_of(name, self.settings.only or self.settings.backends)
        if not needed:
            return path_store(name, self._directory_of_stores)
        for server in needed:
            self.server(server)
        if len(needed) == 1:
            return self._on_server(name)
        from .hybrid_store import HybridStore

        return HybridStore(*map(self._on_server, needed))

    def _on_server(self, name: str) -> Store:
        from .isolation import server_store

        settings = self.settings
        return server_store(
            name, self.server(name), settings.isolation, settings.kept_tables, keep=settings.keep
        )

    def _with_remedy(self, error: ServerUnavailableError) -> ServerUnavailableError:
        """The error of a run that may use servers by URL only and has none, with what to do about it."""
        kind = error.wanted.partition("@")[0]
        if self.server_options.url_of(ServerSpec.parse(error.wanted)) is not None or len(error.reasons) > 1:
            return error
        if not error.reasons[0].startswith("url:"):
            return error
        remedy = f"Remedy: give --ai-storage-url={kind}=URL, or allow more with --ai-storage-servers=auto."
        return ServerUnavailableError(error.wanted, error.reasons, remedy)

    def _directory_of_stores(self) -> Path:
        if self._stores_directory is None:
            self._stores_directory = Path(tempfile.mkdtemp(prefix="stores-", dir=self.directory))
        return self._stores_directory
