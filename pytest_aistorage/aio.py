"""The contract for tasks of an event loop: the same methods, to be awaited."""

from __future__ import annotations

import functools
import itertools
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast, final

from ._combining import Combiner
from ._workers import Job, Workers
from .capabilities import Capability
from .errors import ConfigurationError, OutcomeUnknownError, StorageUnavailableError
from .progress import AIProgress, ProgressQuery, StorageInfo
from .registry import open_storage
from .storage import DEFAULT_BATCH_SIZE, AIStorage, Change
from .validation import (
    checked_batch,
    checked_batch_size,
    checked_expected_version,
    checked_name,
    checked_progress,
)
from .wrapper import WrapperStorage

__all__ = ["AsyncAIStorage", "open_async_storage"]

T = TypeVar("T")

_AT_A_TIME: Final = 1000
"""Records of an iteration that one visit to a thread fetches at most."""


@final
class AsyncAIStorage:
    """A storage whose operations are awaited, over any `AIStorage`: the same methods, arguments, results and errors.

    Under asyncio, and under Trio with AnyIO. The operations run in threads, so the event loop never waits for a
    server, a disk or a lock; except those on one model in memory, which take less time than a thread would. Gets that
    wait at the same time are sent as one message, and saves, where the storage declares
    `Capability.ATOMIC_BATCH`, committed as one batch; a file is read or written once for all of them.

    A task that is cancelled while it waits is cancelled at once. A write is then of unknown outcome: it may have
    taken effect, it may not, and it may take effect a moment later. Its connection is cut, in the midst of whatever
    it does, and never used again, so no late answer reaches another operation; PostgreSQL and MySQL are told to
    stop the statement, so that no lock or transaction stays behind. A backend of a third party that knows nothing of
    that finishes the operation in its thread, and nobody hears of it.

    May be used by several event loops at once, and anew after a fork.

    Args:
        storage: whose operations to run; `close` closes it.
        max_concurrency: operations that may be under way at once, each with a thread and a connection; default: as
            many connections as the backend keeps open. What comes beyond waits.
        combine: False has each get and save done by itself. Then a save never waits for a lock on another's model.

    Attributes:
        storage: what was given.

    Raises:
        ConfigurationError: no `AIStorage`, or an option that can't be right.
    """

    def __init__(
        self, storage: AIStorage, *, max_concurrency: int | None = None, combine: bool = True
    ) -> None:
        if not isinstance(storage, AIStorage):
            raise ConfigurationError(f"storage: must be an AIStorage, not {type(storage).__name__}")
        if max_concurrency is not None and (
            isinstance(max_concurrency, bool) or not isinstance(max_concurrency, int) or max_concurrency < 1
        ):
            raise ConfigurationError("option max_concurrency: must be an int from 1 up")
        self.storage = storage
        self._most = max_concurrency or storage._most_at_once
        self._combines = combine
        self._closed = False
        self._begin()
        _storages.add(self)

    def _begin(self) -> None:
        """Make what belongs to this process alone."""
        storage = self.storage
        self._workers = self._writers = Workers(self._most)
        if storage._one_writer and self._most > 1:
            # Waiting for each other in threads they would sleep past their turn, and take all of the threads.
            self._workers, self._writers = Workers(self._most - 1), Workers(1)
        self._gets = self._saves = None
        if self._combines and _gets_together(storage):
            self._gets = Combiner(self._workers, self._get_together, storage.get_progress, _is_of_the_server)
        if (together := storage._saves_together) is None:
            together = Capability.ATOMIC_BATCH in storage.capabilities
        if self._combines and together:
            self._saves = Combiner(self._writers, self._save_together, self._save_alone, _is_unknown)

    # -- the contract ---------------------------------------------------------------------------------------

    @property
    def type(self) -> str:
        """The backend's name, as `AIStorage.type`."""
        return self.storage.type

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the storage promises, as `AIStorage.capabilities`."""
        return self.storage.capabilities

    async def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        """Insert the record, or replace the one of this model; see `AIStorage.save_progress`."""
        record = checked_progress(progress)
        expected = checked_expected_version(expected_version)
        lifetime = self.storage._checked_ttl(ttl)

        def save() -> AIProgress:
            with self.storage._operation(writing=True):
                return self.storage._save(record, expected, lifetime)

        if (now := self._at_once()) is not None:
            with now:
                return save()
        if self._saves is not None and expected is None and ttl is None:
            return cast(AIProgress, await self._saves.result(record.model_name, record))
        return await self._carried_out(save, writing=True)

    async def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        """Save a batch; see `AIStorage.save_many`."""
        records = checked_batch(progresses)
        return await self._carried_out(functools.partial(self.storage.save_many, records), writing=True)

    async def get_progress(self, model_name: str) -> AIProgress | None:
        """Return the model's record, or None where there is none; see `AIStorage.get_progress`."""
        name = checked_name(model_name)
        if (now := self._at_once()) is not None:
            with now:
                return self.storage.get_progress(name)
        if self._gets is not None:
            # The place in the queue is the key: the same model may be read twice at once.
            return cast("AIProgress | None", await self._gets.result(object(), name))
        return await self._carried_out(functools.partial(self.storage.get_progress, name))

    async def load_progress(self) -> list[AIProgress]:
        """Return all records by model name; see `AIStorage.load_progress`."""
        return await self._carried_out(self.storage.load_progress)

    def iter_progress(self, *, batch_size: int = DEFAULT_BATCH_SIZE) -> AsyncIterator[AIProgress]:
        """Yield all records by model name, for ``async for``; see `AIStorage.iter_progress`."""
        size = checked_batch_size(batch_size)
        self._check_open()
        return self._iterated(size)

    async def _iterated(self, size: int) -> AsyncIterator[AIProgress]:
        begin = functools.partial(self.storage.iter_progress, batch_size=size)
        records = await self._carried_out(begin)
        at_a_time = min(size, _AT_A_TIME)
        while True:
            some = await self._carried_out(lambda: list(itertools.islice(records, at_a_time)))
            for record in some:
                yield record
            if len(some) < at_a_time:
                return

    async def update_progress(self, model_name: str, change: Change) -> AIProgress:
        """Replace the record by ``change(record)`` as one atomic step; see `AIStorage.update_progress`.

        ``change`` is no coroutine function: it runs in a thread, while the model is locked; in memory in the event
        loop's own.
        """
        if (now := self._at_once()) is not None:
            with now:
                return self.storage.update_progress(model_name, change)
        update = functools.partial(self.storage.update_progress, model_name, change)
        return await self._carried_out(update, writing=True)

    async def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        """Delete the model's record; return the version that took, see `AIStorage.delete_progress`."""
        delete = functools.partial(
            self.storage.delete_progress, model_name, expected_version=expected_version
        )
        if (now := self._at_once()) is not None:
            with now:
                return delete()
        return await self._carried_out(delete, writing=True)

    async def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        """Return the records that match; see `AIStorage.query_progress`."""
        return await self._carried_out(functools.partial(self.storage.query_progress, query))

    async def expire_now(self, model_name: str) -> bool:
        """Let the record expire at once; see `AIStorage.expire_now`."""
        return await self._carried_out(functools.partial(self.storage.expire_now, model_name), writing=True)

    async def health_check(self) -> bool:
        """Say whether the storage answers. Waits for no other operation; see `AIStorage.health_check`."""
        if self._closed or self.storage._closed:
            return False
        try:
            return await self._carried_out(self.storage.health_check, urgent=True)
        except StorageUnavailableError:  # there is no thread
            return False

    async def get_storage_info(self) -> StorageInfo:
        """Describe the storage; see `AIStorage.get_storage_info`."""
        return await self._carried_out(self.storage.get_storage_info)

    async def close(self) -> None:
        """Close the storage; every later operation raises `StorageUnavailableError`. Idempotent.

        Operations under way end as they do when a storage is closed beside them. A close that is cancelled goes on.
        """
        if not self._closed:
            job = Job(self.storage.close, interruptible=False)
            self._workers.submit(job, urgent=True)
            self._closed = True
            self._dismiss()
            await job.result()

    def close_and_wait(self) -> None:
        """Close the storage as `close` does, for where no event loop runs (any more). It waits for the server."""
        if not self._closed:
            self._closed = True
            self._dismiss()
            self.storage.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: Any, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.storage!r}>"

    # -- inside ---------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed or self.storage._closed:
            raise StorageUnavailableError(f"{self!r}: the storage is closed")

    def _at_once(self) -> AbstractContextManager[object] | None:
        self._check_open()
        return self.storage._at_once()

    def _dismiss(self) -> None:
        self._workers.dismiss()
        self._writers.dismiss()

    async def _carried_out(
        self, function: Callable[[], T], *, writing: bool = False, urgent: bool = False
    ) -> T:
        self._check_open()
        job = Job(function)
        (self._writers if writing else self._workers).submit(job, urgent=urgent)
        return cast(T, await job.result())

    def _get_together(self, names: list[str]) -> list[AIProgress | None]:
        with self.storage._operation():
            return self.storage._get_many(names)

    def _save_together(self, records: list[AIProgress]) -> list[AIProgress]:
        with self.storage._operation(writing=True):
            return self.storage._save_each(records, self.storage._default_ttl)

    def _save_alone(self, record: AIProgress) -> AIProgress:
        with self.storage._operation(writing=True):
            return self.storage._save(record, None, self.storage._default_ttl)


def open_async_storage(
    url: str, *, max_concurrency: int | None = None, combine: bool = True, **options: Any
) -> AsyncAIStorage:
    """Open the storage that a URL names, for ``async with``; see `open_storage` for URLs and options.

    Imports the backend's driver, and connects nowhere.

    Args:
        url: where the storage is. A password in it is never shown again.
        max_concurrency: as `AsyncAIStorage` has it.
        combine: as `AsyncAIStorage` has it.
        options: the backend's.

    Raises:
        ConfigurationError: as `open_storage` and `AsyncAIStorage` do.
    """
    __tracebackhide__ = True  # pytest would print the URL, with its password
    return AsyncAIStorage(open_storage(url, **options), max_concurrency=max_concurrency, combine=combine)


def _has_own(storage: AIStorage, hook: str, of: str) -> bool:
    """Whether a hook was written for what another one does here, and not for what a subclass has replaced."""
    homes = [next(base for base in type(storage).__mro__ if name in vars(base)) for name in (hook, of)]
    return homes[0] is homes[1]


def _gets_together(storage: AIStorage) -> bool:
    """Whether a storage has a way of its own to get several: a wrapper has what it is wrapped around."""
    while _has_own(storage, "_get_many", "_get"):
        if not isinstance(storage, WrapperStorage):
            return True
        storage = storage._storage
    return False


def _is_of_the_server(error: BaseException) -> bool:
    """Whether an error of several gets is that of each: a record that can't be read is only its own."""
    return isinstance(error, StorageUnavailableError)


def _is_unknown(error: BaseException) -> bool:
    """Whether an error of several saves is that of each: otherwise none was written, and it may be one's own lock."""
    return isinstance(error, OutcomeUnknownError)


# -- after fork() -------------------------------------------------------------------------------------------

_storages: weakref.WeakSet[AsyncAIStorage] = weakref.WeakSet()


def _begin_anew() -> None:
    """In a forked child: its threads are the parent's, and any lock may have been held."""
    for storage in list(_storages):
        storage._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
