"""Stores that are crashed on purpose, by SIGKILL or by a loss of power, while clients write to them."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Self

from ..errors import UnsupportedOperationError
from ..progress import AIProgress
from ..registry import open_storage
from ..servers.base import ServerOptions, ServerSpec
from ..servers.power import WatchedDirectory
from ..servers.resolve import private_server
from ..servers.server import PrivateServer
from ..storage import AIStorage
from .clients import Client

__all__ = ["FileVictim", "Harm", "ServedVictim", "ServerVictim", "Victim"]

Harm = Literal["kill", "power"]
"""SIGKILL, or a loss of power."""

_SETTLED = "settled-before"


class Victim(ABC):
    """A store that can be crashed. A context manager.

    Attributes:
        opener: opens one more client; picklable, and to be called in a process of the client's own.
        version: of the server or library: ``"PostgreSQL 17.2"``.
        is_whole: whether it may be crashed once more; one that could not be read afterwards may not.
    """

    opener: Callable[[], AIStorage]
    version: str
    is_whole: bool = True

    @abstractmethod
    def crash(self, harm: Harm, clients: Sequence[Client]) -> None:
        """Do it, under the hands of the clients, which are ended by it or right after it.

        Raises:
            UnsupportedOperationError: it can't lose its power.
        """

    @abstractmethod
    def restart(self) -> None:
        """Start it again on what is left.

        Raises:
            ServerUnavailableError: it does not start on that.
        """

    def kept(self, model_names: Iterable[str]) -> dict[str, int]:
        """Return the version that is stored of each model, 0 of those that are not there.

        Raises:
            AIStorageError: it can't be read.
        """
        with closing(self._open()) as storage:
            found = {name: storage.get_progress(name) for name in model_names}
        return {name: 0 if record is None else record.version for name, record in found.items()}

    @abstractmethod
    def _open(self) -> AIStorage:
        """Open a client in this process."""

    @abstractmethod
    def close(self) -> None:
        """End it, and remove it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class ServedVictim(Victim):
    """A store of which a private server is crashed, which a subclass starts."""

    _server: PrivateServer

    def crash(self, harm: Harm, clients: Sequence[Client]) -> None:
        """Crash the server; then the clients are ended."""
        if harm == "power":
            self._server.cut_power()
        else:
            self._server.kill()
        for client in clients:
            client.end()

    def restart(self) -> None:
        """Start the server again."""
        self._server.restart()

    def _open(self) -> AIStorage:
        return self.opener()

    def close(self) -> None:
        """End the server, and remove its data."""
        self._server.close()


class ServerVictim(ServedVictim):
    """A store on a private server.

    Args:
        spec: of the server.
        options: where it may come from.
        settings: of the server, over those by which nothing acknowledged is lost.
        storage: options of the storage.
        power: whether it is to be able to lose its power.

    Raises:
        ServerUnavailableError: there is no such server.
        UnsupportedOperationError: its power can't be cut.
    """

    def __init__(
        self,
        spec: ServerSpec,
        options: ServerOptions,
        settings: Mapping[str, str],
        storage: Mapping[str, Any],
        *,
        power: bool,
    ) -> None:
        self._server = private_server(spec, options, settings=settings, power=power)
        try:
            self.version = self._server.version
            # Not through the proxy, which runs in this process: it would slow down those who write.
            url = self._server.direct(self._server.create_database())
            self.opener = functools.partial(open_storage, url, **storage)
            with closing(self.opener()) as first:
                first.save_progress(AIProgress(model_name=_SETTLED, mse=0.0))
            # What was made once, long before, is on the disk: of a table that is gone nobody could tell what it had.
            self._server.restart()
            if power:
                self._server.fsyncs.sync()
        except BaseException:
            self._server.close()
            raise


class FileVictim(Victim):
    """A store without a server: what crashes is its clients.

    Args:
        directory: an empty one.
        opener: opens a client of the store in it; picklable.
        version: the library's.
        power: whether it is to be able to lose its power.

    Raises:
        UnsupportedOperationError: its power can't be cut.
    """

    def __init__(
        self, directory: Path, opener: Callable[[], AIStorage], version: str, *, power: bool
    ) -> None:
        self.version = version
        self.opener = self._plain = opener
        with closing(opener()) as first:
            first.save_progress(AIProgress(model_name=_SETTLED, mse=0.0))
        self._directory = WatchedDirectory(directory) if power else None
        if self._directory is not None:
            self.opener = self._directory.joining(self.opener)

    def crash(self, harm: Harm, clients: Sequence[Client]) -> None:
        """End the clients, and with the power what they have not fsynced."""

        def kill() -> None:
            for client in clients:
                client.end()

        if harm == "kill":
            kill()
        elif self._directory is None:
            raise UnsupportedOperationError("it was not made as one that can lose its power")
        else:
            self._directory.cut_power(kill)

    def restart(self) -> None:
        """Nothing: the next client opens it."""

    def kept(self, model_names: Iterable[str]) -> dict[str, int]:
        """As `Victim.kept`."""
        found = super().kept(model_names)
        # This process has not joined: whatever it did on the way (SQLite copies its log back) was seen by nobody.
        if self._directory is not None:
            self._directory.fsyncs.sync()
        return found

    def _open(self) -> AIStorage:
        return self._plain()

    def close(self) -> None:
        """Watch it no more."""
        if self._directory is not None:
            self._directory.close()
