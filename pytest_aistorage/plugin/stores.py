"""Stores that can be made fresh again and again: the ones that need no server."""

from __future__ import annotations

import functools
import itertools
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..conformance.factories import Supplied, find_factory, open_store, search_path
from ..errors import ServerUnavailableError
from ..registry import backend_class, open_storage
from ..storage import AIStorage
from .opener import StoreOpener

__all__ = ["FactoryStore", "FakeRedisStore", "MemoryStore", "PathStore", "Store", "path_store"]


class Store(ABC):
    """One store that tests use one after the other."""

    def begin(self) -> None:  # noqa: B027  # most have nothing to do ahead
        """Begin to empty it, without waiting; `renew` follows, or `begin` again if the test's setup failed."""

    @abstractmethod
    def renew(self) -> StoreOpener:
        """Make it empty, whatever the last test left behind, and return what opens it."""

    @abstractmethod
    def settle(self) -> None:
        """Give up what only the last test needed."""

    def close(self) -> None:
        """Give it up for good."""
        self.settle()


class MemoryStore(Store):
    """A name of its own in this process for each test."""

    def __init__(self) -> None:
        self._anchor: AIStorage | None = None

    def renew(self) -> StoreOpener:
        """A new name, with a client that keeps its records while the test's own clients come and go."""
        from ..backends.memory import MemoryStorage

        url = MemoryStorage.fresh_url(Path())
        self._anchor = open_storage(url)
        return StoreOpener(url, open_storage, backend="memory")

    def settle(self) -> None:
        """Let the records go."""
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None


class PathStore(Store):
    """A directory of its own for each test.

    Args:
        name: the backend's.
        directory: gives the directory in which to make others; asked when the first is needed.
        fresh_url: the URL of an empty store in a directory.
        open_url: opens it; picklable.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        name: str,
        directory: Callable[[], Path],
        fresh_url: Callable[[Path], str],
        open_url: Callable[[str], AIStorage],
    ) -> None:
        self._name = name
        self._directory = directory
        self._fresh_url = fresh_url
        self._open_url = open_url
        self._path: Path | None = None

    def renew(self) -> StoreOpener:
        """A new directory."""
        self.settle()
        self._path = self._directory() / f"{self._name}-{next(self._numbers)}"
        self._path.mkdir()
        return StoreOpener(
            self._fresh_url(self._path), self._open_url, backend=self._name, directory=self._path
        )

    def settle(self) -> None:
        """Remove the directory, as far as an application lets it go."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
        self._path = None


def path_store(name: str, directory: Callable[[], Path]) -> PathStore:
    """The store of ``file``, ``sqlite`` or a registered backend.

    Raises:
        ConfigurationError: the registered backend can't be imported.
    """
    if name in ("file", "sqlite"):
        cls: Any = backend_class("file" if name == "file" else "database")
        return PathStore(name, directory, cls.fresh_url, open_storage)
    cls = backend_class(name)
    return PathStore(name, directory, cls.fresh_url, functools.partial(_open_registered, name))


def _open_registered(name: str, url: str) -> AIStorage:
    # By its name: the scheme would have to be looked for among all that is installed.
    return backend_class(name).from_url(url)


class FactoryStore(Store):
    """What a factory ``package.module:factory`` opens; an id of its own for each test.

    Raises:
        ConfigurationError: the factory can't be imported.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._drop = Supplied.by(find_factory(name)).drop
        self._path = search_path()
        self._id: str | None = None

    def renew(self) -> StoreOpener:
        """A new id: letters and digits, so that it can name a file, a table, a key or a database."""
        self.settle()
        self._id = f"s{uuid4().hex[:15]}"
        opens = functools.partial(open_store, self._name, self._path)
        return StoreOpener(self._id, opens, backend=self._name, by_id=True)

    def settle(self) -> None:
        """Let the factory drop the store, if it can."""
        dropped, self._id = self._id, None
        if dropped is not None and self._drop is not None:
            self._drop(dropped)


class FakeRedisStore(Store):
    """fakeredis: quick, in this process, and no evidence for a guarantee of Redis.

    Raises:
        ServerUnavailableError: fakeredis is not installed, or can't run scripts.
    """

    def __init__(self) -> None:
        try:
            import fakeredis

            import_module("lupa")
        except ImportError as error:
            raise ServerUnavailableError(
                "redis-fake",
                [f"{error.name} is not installed"],
                "Remedy: pip install 'pytest-aistorage[fake]'.",
            ) from error
        self._client: Any = fakeredis.FakeRedis(server=fakeredis.FakeServer())

    def renew(self) -> StoreOpener:
        """Empty it; nobody else has it."""
        self._client.flushall()
        return StoreOpener(None, None, backend="redis-fake", kept=self._open, simulated=True)

    def settle(self) -> None:
        """Nothing: it is emptied before the next test."""

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _open(self) -> AIStorage:
        from ..backends.redis import RedisStorage
        from ..capabilities import Capability

        storage = RedisStorage(redis=self._client)
        storage.capabilities -= {Capability.SHARED_BETWEEN_PROCESSES, Capability.SURVIVES_CLIENT_CRASH}
        return storage
