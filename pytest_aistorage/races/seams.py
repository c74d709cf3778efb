"""Where a client can be stopped: audit events of a file-based storage, or failpoints inside a backend.

A seams object is a description and can be pickled; a client watches by it for the length of one operation.
"""

from __future__ import annotations

import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import Any, Protocol

from .. import _failpoints
from .history import Operation

__all__ = ["LOCK_LIMIT", "Failpoints", "FileSeams", "Pause", "Seams", "Watch"]

LOCK_LIMIT = 0.05
"""Seconds after which a client that has not finished its step, and all the while neither ran nor waited for a
processor or a disk, is taken to wait for a lock, where nobody can be asked. Nothing but a lock makes it idle for
longer than moments: it is connected before its schedule begins. A mistake does no harm to what is shown: the client
goes on when it can, and the recorded schedule says ``waits`` for what was slow."""


class Pause(Protocol):
    """What a watch tells its client's controller."""

    def stop(self, did: str | None, told: tuple[Operation, ...] = ()) -> object:
        """Stand still until the next step is granted.

        Args:
            did: the label of the step that ends here; None where there was none yet.
            told: what was recorded so far, where something records.

        Returns:
            What was said with the grant; None: nothing.
        """

    def wait(self) -> None:
        """Say that a lock is held by another client; return when it may be free."""


class Watch(Protocol):
    """One operation of one client, being watched."""

    def last(self) -> str:
        """Return the label of the step in which the operation ended."""


class Seams(ABC):
    """How the operations of a storage are cut into steps."""

    granularity: str = "places in their code"
    """What the steps are, in words: an exploration says by it what it has tried."""

    starts_stopped: bool
    """Whether a client stands still before its operation begins: needed where the first seam lies behind
    something that others can see."""

    needs_process: bool
    """Whether each client must be a process of its own."""

    lock_limit: float = LOCK_LIMIT
    """Seconds of idleness after which a client is taken to wait for a lock; see `LOCK_LIMIT`."""

    @abstractmethod
    def watching(self, pause: Pause) -> AbstractContextManager[Watch]:
        """Watch what this thread does, and stop it at each seam, for the length of a ``with`` block."""

    def around(self, storage: Any, watch: Any) -> Any:
        """Return what the client is given in place of its storage; the storage itself, unless seams lie around it.

        Args:
            storage: the client's.
            watch: what `watching` gave.
        """
        return storage

    def told(self, watch: Any) -> tuple[Operation, ...]:
        """Return what was recorded of the client so far; nothing, unless the seams record."""
        return ()


# -- failpoints ---------------------------------------------------------------------------------------------


class Failpoints(Seams):
    """The failpoints of this package's backends: ``after_read``, ``before_write``, ``before_commit``.

    The steps are ``read``, ``write``, ``commit``; ``prepare`` for what precedes a write that read nothing, and
    ``retry`` where a write met a newer version and read again. Between ``after_read`` and ``before_write``
    only the client's own computing lies, which no other client can see: no stop is made there.
    """

    granularity = "reads, writes and commits"
    starts_stopped = True
    needs_process = False

    @contextmanager
    def watching(self, pause: Pause) -> Iterator[Watch]:
        """Arm the failpoints for this thread."""
        watch = _FailpointWatch(pause)
        thread = threading.get_ident()
        with _watching_failpoints_lock:
            if not _watching_failpoints:
                _armed.enter_context(_failpoints.armed(_reach))
            _watching_failpoints[thread] = watch
        try:
            yield watch
        finally:
            with _watching_failpoints_lock:
                del _watching_failpoints[thread]
                if not _watching_failpoints:
                    _armed.close()


class _FailpointWatch:
    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._reached = ""

    def reach(self, name: str) -> None:
        before, self._reached = self._reached, name
        if name == "before_write":
            if before != "after_read":
                self._pause.stop("prepare")
        elif name == "after_read":
            self._pause.stop("retry" if before == "before_write" else "read")
        else:
            self._pause.stop("write")

    def last(self) -> str:
        return {"after_read": "return", "before_write": "write", "before_commit": "commit"}.get(
            self._reached, "run"
        )


# Armed once for all clients that are threads of this process: each failpoint finds its thread's watch.
_watching_failpoints: dict[int, _FailpointWatch] = {}
_watching_failpoints_lock = threading.Lock()
_armed = ExitStack()


def _reach(name: str) -> None:
    watch = _watching_failpoints.get(threading.get_ident())
    if watch is not None:
        watch.reach(name)


# -- files --------------------------------------------------------------------------------------------------


class FileSeams(Seams):
    """What a storage does to one file, seen by Python's audit hooks. The storage needs to know nothing of it.

    The steps are ``read`` (the file is opened for reading, and read), ``truncate`` (it is opened for writing
    and so emptied), ``write`` (something is written into it, or another file is renamed to its name) and
    ``lock`` (``fcntl.flock`` and ``fcntl.lockf``, of whichever file). What a client reads or writes through
    one open file is one step.

    Args:
        path: the file.
    """

    granularity = "file events"
    starts_stopped = False
    needs_process = True  # an audit hook can't be removed, and whose file it is can't be told between threads

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)

    @contextmanager
    def watching(self, pause: Pause) -> Iterator[Watch]:
        """Arm the audit hook for this thread."""
        global _watching_file, _hooked
        if not _hooked:
            _hooked = True
            sys.addaudithook(_audit)
        _watching_file = watch = _FileWatch(self.path, pause)
        try:
            yield watch
        finally:
            _watching_file = None
            sys.setprofile(None)


class _FileWatch:
    def __init__(self, path: str, pause: Pause) -> None:
        self._path = path
        self._pause = pause
        self._pending: str | None = None
        self._inside = False
        self._thread = threading.get_ident()

    def last(self) -> str:
        return self._pending or "run"

    def on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if self._inside or threading.get_ident() != self._thread:
            return
        self._inside = True  # what the stop itself opens and unpickles is nobody's step
        try:
            if event == "open":
                self._on_open(args[0], args[2])
            elif event == "os.rename":
                if self._is_ours(args[1]):
                    self._stop("write")
            else:
                self._on_lock(event, args)
        finally:
            self._inside = False

    def _is_ours(self, path: object) -> bool:
        return (
            isinstance(path, (str, bytes, os.PathLike)) and os.path.abspath(os.fsdecode(path)) == self._path
        )

    def _stop(self, seam: str) -> None:
        did, self._pending = self._pending, seam
        self._pause.stop(did)

    def _on_open(self, path: object, flags: int) -> None:
        if not self._is_ours(path):
            return
        if flags & os.O_TRUNC:
            self._stop("truncate")
            # No audit event follows the truncation, so the profiler looks for the first thing that Python
            # does after it: a call or a return, of which one comes before any write.
            sys.setprofile(self._on_profile)
        elif flags & (os.O_WRONLY | os.O_RDWR):
            self._stop("write")
        else:
            self._stop("read")

    def _on_profile(self, frame: FrameType, event: str, arg: object) -> None:
        if frame.f_code.co_filename == __file__:
            return  # the hook, returning to the open() that is yet to truncate
        try:
            if os.stat(self._path).st_size:
                return  # open() called an `opener` written in Python: not there yet
        except FileNotFoundError:
            return
        sys.setprofile(None)
        self._inside = True
        try:
            self._stop("write")
        finally:
            self._inside = False

    def _on_lock(self, event: str, args: tuple[Any, ...]) -> None:
        import fcntl

        operation = args[1]
        if operation & (fcntl.LOCK_UN | fcntl.LOCK_NB) or not operation & (fcntl.LOCK_EX | fcntl.LOCK_SH):
            return  # one that does not wait is not held up here
        self._stop("lock")
        # Taken here without waiting, so that whether it is free is known at once and not after a time limit.
        # The call that was announced then finds it its own.
        while True:
            try:
                if event == "fcntl.flock":
                    fcntl.flock(args[0], operation | fcntl.LOCK_NB)
                else:
                    fcntl.lockf(args[0], operation | fcntl.LOCK_NB, *(number or 0 for number in args[2:]))
                return
            except (BlockingIOError, PermissionError):
                self._pause.wait()


_EVENTS = frozenset({"open", "os.rename", "fcntl.flock", "fcntl.lockf"})
_watching_file: _FileWatch | None = None
_hooked = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    watch = _watching_file
    if watch is not None and event in _EVENTS:
        watch.on_event(event, args)
