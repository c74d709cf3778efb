"""The threads of `AsyncAIStorage`, and the way of a result from a thread to the task that waits for it.

A call costs two changes of thread and nothing else: results that are there when the event loop looks are handed over
together, and a thread that has work left does not sleep in between.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ._interruption import Call, Interrupted, carried_out
from .errors import ConfigurationError, StorageUnavailableError

__all__ = ["Job", "Outcome", "Workers", "outcome"]

_IDLE = 10.0
"""Seconds after which a thread without work ends."""

_NO_THREAD = "the system gives no thread to carry it out in"


class Workers:
    """Threads that come with the work and go without it. They don't keep the process from ending.

    What a thread does next is settled under one lock: it takes what waits, or it lines up for what comes. Whoever
    brings a job hands it to one of those, and no other thread can get at it. So a thread that has waited in vain
    knows that nobody counts on it. In a common queue a busy thread may take what an idle one was woken for, and
    that one then waits for ever.

    Args:
        most: threads at once; what comes beyond waits.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._jobs: collections.deque[Callable[[], None]] = collections.deque()
        self._idle: list[_Place] = []
        self._count = 0
        self._is_dismissed = False

    def dismiss(self) -> None:
        """Let each thread end when no work is left. What comes all the same is still done."""
        with self._lock:
            self._is_dismissed = True
            self._count -= len(self._idle)
            while self._idle:
                self._idle.pop().hand(None)

    def submit(self, job: Callable[[], None], *, urgent: bool = False) -> None:
        """Have a job done, which must not raise.

        Args:
            job: called in one of the threads.
            urgent: does not wait for a thread, whatever the others are busy with.

        Raises:
            StorageUnavailableError: the system gives no thread, and there is none yet.
        """
        with self._lock:
            if self._idle:
                self._idle.pop().hand(job)  # the last one to come: those that are not needed end some day
            elif urgent:
                try:
                    threading.Thread(target=job, name="aistorage-urgent", daemon=True).start()
                except RuntimeError as error:
                    raise StorageUnavailableError(_NO_THREAD) from error
            elif self._count >= self._most or not self._begin(job):
                self._jobs.append(job)

    def _begin(self, job: Callable[[], None]) -> bool:
        """Do a job in a new thread; False: there can't be one, and another will come to it."""
        thread = threading.Thread(
            target=self._work, args=(_Place(job),), name="aistorage-worker", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            if not self._count:
                raise StorageUnavailableError(_NO_THREAD) from error
            return False
        self._count += 1
        return True

    def _work(self, place: _Place) -> None:
        while (job := place.taken()) is not None:
            job()
            # Nothing that the job holds may live on until the next one comes.
            del job
            with self._lock:
                if self._jobs:
                    place.job = self._jobs.popleft()
                    continue
                if self._is_dismissed:
                    self._count -= 1
                    return
                self._idle.append(place)
            if not place.handed.acquire(timeout=_IDLE):
                with self._lock:
                    if place in self._idle:
                        self._idle.remove(place)
                        self._count -= 1
                        return
                place.handed.acquire()  # somebody was just handing it something


class _Place:
    """Where one thread waits, and what it was given there.

    Args:
        job: what it does first.
    """

    __slots__ = ("handed", "job")

    def __init__(self, job: Callable[[], None]) -> None:
        self.job: Callable[[], None] | None = job
        self.handed = threading.Lock()
        self.handed.acquire()

    def hand(self, job: Callable[[], None] | None) -> None:
        """Give the thread that waits here a job; None lets it end."""
        self.job = job
        self.handed.release()

    def taken(self) -> Callable[[], None] | None:
        """Return the job, and keep it no longer."""
        job, self.job = self.job, None
        return job


class Outcome:
    """What became of a call. Made and waited for in a task of an event loop, told by any thread."""

    __slots__ = ("_loop", "_seen", "error", "value")

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self._seen: Any = loop.flag()
        self.value: Any = None
        self.error: BaseException | None = None

    def tell(self, value: Any, error: BaseException | None = None) -> None:
        """Let the task go on with a value, or with an error."""
        self.value, self.error = value, error
        self._loop.post(self)

    async def result(self) -> Any:
        """Wait, and return the value or raise the error."""
        await self._loop.wait(self._seen)
        error = self.error
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error  # its traceback leads here

    def show(self) -> None:
        """Wake the task; in the event loop's thread."""
        self._loop.wake(self._seen)


class _Loop:
    """Hands results over to an event loop: all that are there when it looks.

    Args:
        key: the loop, or what stands for it.
    """

    def __init__(self, key: Any) -> None:
        # Weakly: `_loops` keeps this for as long as the key is there.
        self._key = weakref.ref(key)
        self._posted: collections.deque[Outcome] = collections.deque()
        self._is_called = False

    def post(self, one: Outcome) -> None:
        self._posted.append(one)
        if not self._is_called:
            self._is_called = True
            key = self._key()
            try:
                if key is not None:
                    self.call(key, self._deliver)
            except RuntimeError:  # the loop is closed, and nobody waits any more
                self._is_called = False

    def _deliver(self) -> None:
        # Before the first look: what comes behind the last one calls again.
        self._is_called = False
        while self._posted:
            self._posted.popleft().show()

    def call(self, key: Any, function: Callable[[], None]) -> None:
        """Let the loop's thread call a function soon."""
        raise NotImplementedError

    def flag(self) -> Any:
        """Return what one task waits for."""
        raise NotImplementedError

    async def wait(self, flag: Any) -> None:
        """Wait until the flag is raised."""
        raise NotImplementedError

    def wake(self, flag: Any) -> None:
        """Raise the flag."""
        raise NotImplementedError


class _AsyncioLoop(_Loop):
    def call(self, key: Any, function: Callable[[], None]) -> None:
        key.call_soon_threadsafe(function)

    def flag(self) -> Any:
        return asyncio.get_running_loop().create_future()

    async def wait(self, flag: Any) -> None:
        await flag

    def wake(self, flag: Any) -> None:
        if not flag.done():  # the task was cancelled
            flag.set_result(None)


class _OtherLoop(_Loop):
    """Trio's, by way of AnyIO."""

    def call(self, key: Any, function: Callable[[], None]) -> None:
        key.run_sync_soon(function)

    def flag(self) -> Any:
        import anyio

        return anyio.Event()

    async def wait(self, flag: Any) -> None:
        await flag.wait()

    def wake(self, flag: Any) -> None:
        flag.set()


_loops: weakref.WeakKeyDictionary[Any, _Loop] = weakref.WeakKeyDictionary()


def outcome() -> Outcome:
    """Return what the running task of the running event loop can wait for.

    Raises:
        RuntimeError: no event loop runs here.
        ConfigurationError: it is not asyncio's, and AnyIO is not installed.
    """
    # By the task: under Trio's guest mode there is a loop of asyncio, with none of its tasks running.
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if task is None:
        return Outcome(_other_loop())
    loop = task.get_loop()
    if (known := _loops.get(loop)) is None:
        known = _loops[loop] = _AsyncioLoop(loop)
    return Outcome(known)


def _other_loop() -> _Loop:
    try:
        import anyio.lowlevel as lowlevel
    except ImportError as missing:
        raise ConfigurationError(
            "an event loop other than asyncio's needs anyio, which is not installed: "
            "pip install 'pytest-aistorage[async]'"
        ) from missing
    token = lowlevel.current_token().native_token
    if (known := _loops.get(token)) is None:
        known = _loops[token] = _OtherLoop(token)
    return known


class Job:
    """One function to be called in a thread for one task, in the task's context.

    Args:
        function: without arguments.
        interruptible: whether it ends when the task is cancelled; otherwise only the waiting does.
    """

    __slots__ = ("_context", "_function", "_interruptible", "_outcome", "call")

    def __init__(self, function: Callable[[], Any], *, interruptible: bool = True) -> None:
        self._interruptible = interruptible
        self._function = function
        self._outcome = outcome()
        self._context = contextvars.copy_context()
        self.call = Call()

    def __call__(self) -> None:
        """Call it, in a thread."""
        if self.call.is_over:
            return
        try:
            with carried_out(self.call):
                value = self._context.run(self._function)
        except Interrupted:
            return  # nobody waits
        except BaseException as error:
            self._outcome.tell(None, error)
        else:
            self._outcome.tell(value)

    async def result(self) -> Any:
        """Wait for what it returns or raises; whoever is cancelled while waiting ends the call."""
        try:
            return await self._outcome.result()
        except BaseException:
            if self._interruptible:
                self.call.interrupt()  # of no effect if it is done
            raise
