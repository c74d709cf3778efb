"""One call at a time, in a thread of its own, whose result goes to all who ask for it meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from typing import Final, Generic, TypeVar

from ._interruption import Call, Interrupted, carried_out

__all__ = ["Flight", "SharedCall"]

T = TypeVar("T")

_MOST_STUCK: Final = 8
"""Calls that were given up and have not ended, beyond which no further one is begun."""


class Flight(Generic[T]):
    """A call that is under way.

    Attributes:
        deadline: when it is given up, by the monotonic clock.
        future: of its result.
    """

    def __init__(self, function: Callable[[], T], timeout: float) -> None:
        self.deadline = time.monotonic() + timeout
        self.future: Future[T] = Future()
        self._function = function
        self._call = Call()
        self._thread = threading.Thread(target=self._run, name="aistorage-health", daemon=True)

    @property
    def is_stuck(self) -> bool:
        """Whether its thread has not ended."""
        return self._thread.is_alive()

    def begin(self) -> None:
        """Start its thread.

        Raises:
            RuntimeError: the system gives none.
        """
        self._thread.start()

    def give_up(self) -> None:
        """Let nobody wait for it, and cut the connection that it waits on. Does not wait."""
        self.future.cancel()
        self._call.interrupt()

    def _run(self) -> None:
        with contextlib.suppress(Interrupted), carried_out(self._call):
            result = self._function()
            if self.future.set_running_or_notify_cancel():
                self.future.set_result(result)


class SharedCall(Generic[T]):
    """Calls a function that may never return, for any number of callers, and never in more than a few threads.

    A call that takes too long is given up: the connection it waits on is cut, and the next caller begins another one.
    Where that is of no avail, because a storage knows nothing of it, a few are let be, and then no more are begun
    until one of them ends.

    Args:
        function: must not raise.
        timeout: seconds after which a call is given up.
    """

    def __init__(self, function: Callable[[], T], timeout: float) -> None:
        self._function = function
        self._timeout = timeout
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: threads are the parent's, and the lock may have been held."""
        self._lock = threading.Lock()
        self._current: Flight[T] | None = None
        self._stuck: list[Flight[T]] = []

    def flight(self) -> Flight[T] | None:
        """Return the call that is under way, or else a new one; None: too many don't end, or there is no thread."""
        with self._lock:
            current = self._current
            if current is not None and not current.future.done():
                if time.monotonic() < current.deadline:
                    return current
                self._give_up(current)
            self._stuck = [one for one in self._stuck if one.is_stuck]
            if len(self._stuck) >= _MOST_STUCK:
                return None
            new = Flight(self._function, self._timeout)
            try:
                new.begin()
            except RuntimeError:
                return None
            self._current = new
            return new

    def result(self, flight: Flight[T], deadline: float) -> T | None:
        """Wait for a call's result, no longer than until its deadline or this one, by the monotonic clock.

        Returns:
            The result; None: it did not come.
        """
        with contextlib.suppress(NotYet, CancelledError):  # another caller may give it up
            return flight.future.result(max(0.0, min(deadline, flight.deadline) - time.monotonic()))
        self.settle(flight)
        return None

    def settle(self, flight: Flight[T]) -> None:
        """Give a call up, if its time is over."""
        if time.monotonic() >= flight.deadline:
            with self._lock:
                if self._current is flight and not flight.future.done():
                    self._give_up(flight)

    def _give_up(self, flight: Flight[T]) -> None:
        self._current = None
        self._stuck.append(flight)
        flight.give_up()
