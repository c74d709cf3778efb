"""Losses of power: fsyncs are counted and held, and what was never fsynced is taken away.

For a server its supervisor does that; here is the owner's end. For a store without a server, whose library runs in
its clients, a `WatchedDirectory` does, which the processes of the clients join.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from pytest_aistorage.errors import UnsupportedOperationError
from pytest_aistorage.servers.base import ServerSpec
from pytest_aistorage.servers.supervisor.fsyncs import give_away, unsupported
from pytest_aistorage.servers.supervisor.trouble import FailedError
from pytest_aistorage.servers.supervisor.watcher import Watcher

__all__ = ["FsyncCount", "Fsyncs", "WatchedDirectory", "providers_with_power", "require_power"]

_BOOT = "import sys; sys.path.append(sys.argv[1]); from supervisor.watcher import main; main()"


class FsyncCount(NamedTuple):
    """How many fsyncs there were; `fdatasync`, `sync`, `syncfs` and `msync` count as well.

    Attributes:
        passed: from the beginning.
        held: those that stand still now.
    """

    passed: int
    held: int


class Fsyncs:
    """The fsyncs of a server whose power can be cut, or of the processes that have joined a `WatchedDirectory`.

    Args:
        command: has the process that they pass through do something.
    """

    def __init__(self, command: Callable[..., Any]) -> None:
        self._command = command

    def hold(self, after: int = 0) -> None:
        """Let so many more fsyncs pass, and hold those that come then: each stands still before it is done.

        That is a disk that takes its time, and a way to lose power at the very fsync that one wants. Whoever waits
        for an fsync waits until `release`, also a server that is stopped in order; after a loss of power none is
        held any more.

        Args:
            after: how many.
        """
        self._command("hold", after=after)

    def release(self) -> None:
        """Let the fsyncs that are held pass, and all that follow."""
        self._command("release")

    def sync(self) -> None:
        """Take for durable what is in the files now, as if the operating system had written it all meanwhile."""
        self._command("sync")

    def count(self) -> FsyncCount:
        """Return how many have passed, and how many are held."""
        return FsyncCount(*self._command("count"))


class WatchedDirectory:
    """A directory whose files lose what was not fsynced, when its power is cut. A context manager.

    What is in it already is durable. Only the fsyncs of processes that `join` it are seen.

    Args:
        directory: it; the files may be anywhere below.

    Attributes:
        fsyncs: of the processes that have joined.
        pid: of the process that watches it.

    Raises:
        UnsupportedOperationError: this system can't do it.
    """

    def __init__(self, directory: Path) -> None:
        require_power(str(directory))
        self._ending = ExitStack()
        with self._ending:  # unless it is all there
            place = tempfile.mkdtemp(prefix="aispower")  # the process removes it
            self._inbox = os.path.join(place, "inbox")
            control, its_control = socket.socketpair()
            self._watcher = Watcher(control)
            self._ending.callback(self._watcher.close)
            with its_control, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
                inbox.bind(self._inbox)
                given = [its_control.fileno(), inbox.fileno()]
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _BOOT, str(Path(__file__).parent), str(directory)]
                    + [str(descriptor) for descriptor in given],
                    pass_fds=given,
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C is ours to handle
                )
            self.pid = process.pid
            self._ending.callback(process.wait)
            self._ending.callback(self._watcher.close)  # at which it ends
            self.fsyncs = Fsyncs(self._command)
            self.fsyncs.sync()
            self._ending = self._ending.pop_all()

    def joining(self, opener: Callable[[], Any]) -> Callable[[], Any]:
        """Return an opener that lets the process in which it is first called join, and then opens.

        Args:
            opener: picklable, if the one returned is to be. Its process must have one thread then.
        """
        return functools.partial(_joined, self._inbox, opener)

    def cut_power(self, kill: Callable[[], object]) -> None:
        """Do what `PrivateServer.cut_power` does.

        Args:
            kill: ends all processes that have joined, by SIGKILL; they are gone when it returns.

        Raises:
            UnsupportedOperationError: a file was written to in a way in which its fsyncs can't be seen.
        """
        self._command("hold", after=0)
        kill()
        self._command("cut")

    def close(self) -> None:
        """Watch no more. Processes that have joined get an error at their next fsync."""
        self._ending.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _command(self, name: str, **arguments: Any) -> Any:
        try:
            return self._watcher.command(name, **arguments)
        except FailedError as error:
            raise UnsupportedOperationError(str(error)) from error


_joined_inboxes: set[str] = set()


def _joined(inbox: str, opener: Callable[[], Any]) -> Any:
    if inbox not in _joined_inboxes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.connect(inbox)
            give_away(way)
        _joined_inboxes.add(inbox)
    return opener()


def require_power(what: str) -> None:
    """Make sure that power can be cut on this system.

    Args:
        what: whose.

    Raises:
        UnsupportedOperationError: it can't, with the reason.
    """
    reason = unsupported()
    if reason is not None:
        raise UnsupportedOperationError(f"the power of {what} can't be cut here: {reason}")


def providers_with_power(spec: ServerSpec, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return those providers whose servers' power can be cut.

    Args:
        spec: what is wanted.
        order: which providers may be used.

    Raises:
        UnsupportedOperationError: there is none, or the system can't do it.
    """
    require_power(str(spec))
    able = tuple(provider for provider in order if provider in ("process", "embedded"))
    if not able:
        raise UnsupportedOperationError(
            f"the power of {spec} can't be cut: only that of a server whose processes are started here can, and it "
            f"is to come by {' or '.join(order)}; allow the provider process or embedded, too"
        )
    return able
