"""A store without a server, in a process that may be killed.

The library of such a store runs in its clients, so what can crash is the process that the library runs in. One
client is put into such a process, and its methods are passed on: to kill it shows what SIGKILL in the middle of the
library's own work does to what is stored, and no more.

It imports neither pytest nor Hypothesis: the process imports it as well.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, Self

from ..errors import OutcomeUnknownError, StorageUnavailableError, UnsupportedOperationError
from ..races.clients import ClientPool
from ..servers.power import WatchedDirectory

__all__ = ["Hosted"]


class _Call:
    """One method of a storage with its arguments: what the process is asked to do. Picklable."""

    def __init__(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._method, self._arguments, self._options = method, arguments, options

    def __call__(self, storage: Any) -> Any:
        return getattr(storage, self._method)(*self._arguments, **self._options)


class Hosted:
    """A store whose library runs in one process, which may be killed. A context manager; a `Crashable`.

    Args:
        opener: opens a client of the store; picklable.
        pool: where the process comes from, of which nobody else may take one meanwhile; None: one of its own.
        directory: of the store's own; None: its power can't be cut.

    Raises:
        UnsupportedOperationError: this system has no process to host it.
        Exception: the opener can't be pickled, or what it raised in the process.
    """

    def __init__(
        self, opener: Callable[[], Any], pool: ClientPool | None = None, directory: Path | None = None
    ) -> None:
        self._opener = opener
        self._ending = ExitStack()
        self._directory = directory
        self._watched: WatchedDirectory | None = None
        self._pool = self._ending.enter_context(ClientPool()) if pool is None else pool
        self._turn = threading.Lock()
        self._process: Any = None
        with self._ending:  # unless the process has opened the store
            if directory is not None:
                self._watched = self._ending.enter_context(WatchedDirectory(directory))
                self._opener = self._watched.joining(opener)
            self.restart()
            self._ending = self._ending.pop_all()

    def opener(self) -> Any:
        """Return one more client; its methods are those of a storage, but for what can't be sent, an iterator say."""
        return _HostedStorage(self)

    def kill(self) -> None:
        """End the process by SIGKILL, whatever it is doing."""
        os.kill(self._process.pid, signal.SIGKILL)
        with self._turn:
            self._process.end()
            self._process = None

    def cut_power(self) -> None:
        """End the process by SIGKILL, and take from the files in the directory what it has not fsynced.

        Raises:
            UnsupportedOperationError: no directory was given, or it can't be done with these files.
        """
        if self._watched is None:
            raise UnsupportedOperationError("it is not known in which directory the store has its files")
        self._watched.cut_power(self.kill)

    def restart(self) -> None:
        """Start another one."""
        with self._turn:
            (process,) = self._pool.clients(1)
            process.open(self._opener)
            self._process = process

    def call(self, call: Callable[[Any], Any]) -> Any:
        """Let the process do something with its storage.

        Args:
            call: picklable.

        Raises:
            StorageUnavailableError: there is no process.
            OutcomeUnknownError: it was killed meanwhile.
            Exception: what the storage raised.
        """
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
        with self._ending:
            if self._process is not None:
                self._process.close()
                if self._watched is not None:
                    self._process.end()  # its fsyncs fail from now on


class _HostedStorage:
    """One client of a hosted store: each method is done in the process that may be killed."""

    def __init__(self, host: Hosted) -> None:
        self._host = host

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self._host.call(_Call(method, arguments, options))

    def close(self) -> None:
        """Nothing: the process is the host's."""
