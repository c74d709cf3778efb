"""How a call in one thread is ended by another: its connection is cut, and what it does next raises `Interrupted`.

`AsyncAIStorage` runs calls in threads, and nobody can stop a thread that waits for a server. But the connection that
it waits on can be cut from outside. So a backend says what its call waits on (`Call.watch`), and asks before it tries
again or rests (`check`, `pause`). Outside of such a call all of this costs one look-up.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["Call", "Interrupted", "carried_out", "check", "current_call", "cut", "pause", "watched"]


class Interrupted(BaseException):
    """The call is over: nobody waits for it any more.

    No `Exception`, as KeyboardInterrupt is none: whoever meets it closes the connection and goes.
    """


class Call:
    """A call that runs in one thread and may be ended by another."""

    __slots__ = ("_asked", "_cuts", "_lock", "_woken", "retires")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._cuts: list[Callable[[], None]] = []
        self._woken: threading.Event | None = None
        self.retires = False
        """Whether its connection is to be closed when it is done, because somebody else left it in the midst."""

    @property
    def is_over(self) -> bool:
        """Whether it was told to end."""
        return self._asked

    def interrupt(self) -> None:
        """Cut what it waits on, and let it end. Does not wait for that."""
        with self._lock:
            self._asked = True
            for cut_off in self._cuts:
                cut_off()
            if self._woken is not None:
                self._woken.set()

    def check(self) -> None:
        """Raise if it was told to end.

        Raises:
            Interrupted: it was.
        """
        if self._asked:
            raise Interrupted

    def watch(self, cut_off: Callable[[], None]) -> None:
        """Let it be ended by this function from now on, which is called in another thread and must not wait.

        Raises:
            Interrupted: it was told to end before.
        """
        with self._lock:
            self.check()
            self._cuts.append(cut_off)

    def unwatch(self) -> bool:
        """Undo the last `watch`: what was waited on is about to become somebody else's.

        Returns:
            Whether that is in order; False: it was cut, or shall not be used again.
        """
        with self._lock:
            self._cuts.pop()
            return not (self._asked or self.retires)

    def pause(self, seconds: float) -> None:
        """Wait, or until it is told to end.

        Raises:
            Interrupted: it was.
        """
        with self._lock:
            self.check()
            self._woken = self._woken or threading.Event()
        self._woken.wait(seconds)
        self.check()


class _Local(threading.local):
    call: Call | None = None


_local = _Local()


def current_call() -> Call | None:
    """The call that this thread carries out; None: nobody could end it."""
    return _local.call


@contextlib.contextmanager
def carried_out(call: Call) -> Iterator[None]:
    """Make a call this thread's for the length of a ``with`` block."""
    before, _local.call = _local.call, call
    try:
        yield
    finally:
        _local.call = before


def check() -> None:
    """Raise if this thread's call was told to end; for what is about to try again.

    Raises:
        Interrupted: it was.
    """
    if _local.call is not None:
        _local.call.check()


def pause(seconds: float) -> None:
    """Sleep; where the call can be told to end, no longer than until then.

    Raises:
        Interrupted: it was.
    """
    if _local.call is None:
        time.sleep(seconds)
    else:
        _local.call.pause(seconds)


def watched(cut_off: Callable[[], None]) -> Call | None:
    """Let this thread's call, if there is one, be ended by a function; return the call, for `Call.unwatch`.

    Raises:
        Interrupted: it was told to end before.
    """
    call = _local.call
    if call is not None:
        call.watch(cut_off)
    return call


def cut(endpoint: object) -> None:
    """Shut a connection down, so that whoever waits on it, in any thread, learns that it is over.

    Args:
        endpoint: its socket; nothing happens to anything else, such as what a fake has instead.
    """
    if isinstance(endpoint, socket.socket):
        with contextlib.suppress(OSError):  # closed by now, by either side
            # The plain one's: that of an encrypted socket forgets the encryption in the midst of another's read.
            socket.socket.shutdown(endpoint, socket.SHUT_RDWR)
