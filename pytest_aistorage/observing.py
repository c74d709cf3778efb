"""A wrapper that lets something look on at every operation of a storage: what metrics and spans are made by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import ClassVar, Final

from .errors import (
    AIStorageError,
    CorruptStorageError,
    InvalidProgressError,
    OutcomeUnknownError,
    StorageUnavailableError,
    UnsupportedOperationError,
    VersionConflictError,
)
from .progress import AIProgress, ProgressQuery
from .storage import Change, ChangeRaised
from .wrapper import WrapperStorage

__all__ = ["OPERATIONS", "STATUSES", "Observation", "ObservedStorage", "status_of"]

OPERATIONS: Final = MappingProxyType(
    {
        "save": "`AIStorage.save_progress`",
        "save_many": "`AIStorage.save_many`",
        "add_many": "a batch of a migration: what is there already is left alone",
        "get": "`AIStorage.get_progress`",
        "load": "`AIStorage.load_progress`",
        "iter": "`AIStorage.iter_progress`, from its first record to its last",
        "update": "`AIStorage.update_progress`",
        "delete": "`AIStorage.delete_progress`",
        "query": "`AIStorage.query_progress`",
        "expire": "`AIStorage.expire_now`",
        "ping": "`AIStorage.health_check`, and once in `AIStorage.get_storage_info`",
        "count": "`AIStorage.get_storage_info`",
    }
)
"""Every operation's name, and which method it is of."""

STATUSES: Final = MappingProxyType(
    {
        "success": "it was done",
        "conflict": "a compare-and-set met another version, and wrote nothing; the caller tries again",
        "refused": "the caller's error, or what its `change` raised; nothing was written",
        "unavailable": "the storage could not be reached or gave up; nothing was written",
        "unknown": "the acknowledgement of a write was lost",
        "corrupt": "what is stored could not be read",
        "cancelled": "the task that waited was cancelled, a health check was late, or the program was interrupted",
        "error": "anything else: a bug, here or in a backend",
    }
)
"""Every way in which an operation ends, and what it means."""

_STATUS_OF: Final = (
    (VersionConflictError, "conflict"),
    ((InvalidProgressError, UnsupportedOperationError, ChangeRaised), "refused"),
    (StorageUnavailableError, "unavailable"),
    (OutcomeUnknownError, "unknown"),
    (CorruptStorageError, "corrupt"),
    (Exception, "error"),
)


def status_of(error: BaseException | None) -> str:
    """Return which of `STATUSES` an operation has that raised this; None: it raised nothing."""
    if error is None:
        return "success"
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), "cancelled")


class Observation(ABC):
    """What is entered before an operation and left behind it.

    An error of the driver is translated here, so that what looks on sees it as the caller will.

    Args:
        storage: the wrapper.
        operation: one of `OPERATIONS`.
        writing: whether it writes.
        count: how many operations are done as one.
        shared: of several, the error that is that of each; after another one, each is done again by itself.
    """

    __slots__ = ("_shared", "_storage", "_writing", "count", "operation")

    def __init__(
        self,
        storage: ObservedStorage,
        operation: str,
        writing: bool = False,
        count: int = 1,
        shared: type[Exception] = Exception,
    ) -> None:
        self._storage = storage
        self._writing = writing
        self._shared = shared
        self.operation = operation
        self.count = count

    @abstractmethod
    def begin(self) -> None:
        """The operation begins."""

    @abstractmethod
    def pause(self) -> None:
        """An iteration has given a record away."""

    @abstractmethod
    def resume(self) -> None:
        """An iteration is asked for the next record, or for no more."""

    @abstractmethod
    def end(self, status: str, error: BaseException | None, *, repeated: bool) -> None:
        """The operation has ended.

        Args:
            status: one of `STATUSES`.
            error: as the caller will see it.
            repeated: whether each of several operations is now done again, by itself.
        """

    def __enter__(self) -> None:
        self.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.end("success", None, repeated=False)
            return
        translated = None
        if isinstance(error, Exception) and not isinstance(error, AIStorageError):
            translated = self._storage._translate(error, writing=self._writing)
        seen = translated or error
        repeated = isinstance(seen, Exception) and not isinstance(seen, self._shared)
        self.end(
            status_of(seen), seen.original if isinstance(seen, ChangeRaised) else seen, repeated=repeated
        )
        if translated is not None:
            raise translated from error


class ObservedStorage(WrapperStorage):
    """Passes every operation on, and lets a class of observations look on: a subclass names it as ``_observation``.

    What is refused by the checks of the arguments was no operation, and is not seen. Saves of several tasks that
    `AsyncAIStorage` does as one are one operation each, and so are such gets.
    """

    _observation: ClassVar[type[Observation]]

    def _observed(
        self,
        operation: str,
        writing: bool = False,
        count: int = 1,
        shared: type[Exception] = Exception,
    ) -> Observation:
        return self._observation(self, operation, writing, count, shared)

    # -- hooks ----------------------------------------------------------------------------------------------

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        with self._observed("save", True):
            return self._storage._save(record, expected, ttl)

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        with self._observed("save_many", True):
            return self._storage._save_many(records, ttl)

    def _save_each(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        with self._observed("save", True, len(records), OutcomeUnknownError):
            return self._storage._save_each(records, ttl)

    def _add_many(self, records: list[AIProgress], ttl: timedelta | None) -> set[str]:
        with self._observed("add_many", True):
            return self._storage._add_many(records, ttl)

    def _get(self, model_name: str) -> AIProgress | None:
        with self._observed("get"):
            return self._storage._get(model_name)

    def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
        with self._observed("get", False, len(model_names), StorageUnavailableError):
            return self._storage._get_many(model_names)

    def _load(self) -> list[AIProgress]:
        with self._observed("load"):
            return self._storage._load()

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        # Seen as a whole: its observation is left while the caller has a record in hand.
        return _seen(self._storage._iter(batch_size), self._observed("iter"))

    def _update(self, model_name: str, change: Change) -> AIProgress:
        with self._observed("update", True):
            return self._storage._update(model_name, change)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        with self._observed("delete", True):
            return self._storage._delete(model_name, expected)

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        with self._observed("query"):
            return self._storage._query(query)

    def _count(self) -> int:
        with self._observed("count"):
            return self._storage._count()

    def _expire(self, model_name: str) -> bool:
        with self._observed("expire", True):
            return self._storage._expire(model_name)

    def _ping(self) -> None:
        with self._observed("ping"):
            self._storage._ping()


def _seen(records: Iterator[AIProgress], observation: Observation) -> Iterator[AIProgress]:
    """Pass records on; what takes time is to get at the next one, not what the caller does with it."""
    with observation:
        try:
            for record in records:
                observation.pause()
                yield record
                observation.resume()
        except GeneratorExit:  # whoever needs no more has got what he wanted
            observation.resume()
            return
