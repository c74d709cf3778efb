"""The contract of a storage: public methods that check and translate, and the hooks that a backend writes."""

from __future__ import annotations

import builtins
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType
from typing import Any, ClassVar, Self, final

from . import queries
from .capabilities import Capability
from .config import OptionChecks
from .errors import (
    AIStorageError,
    InvalidProgressError,
    StorageUnavailableError,
    UnsupportedOperationError,
    VersionConflictError,
)
from .progress import AIProgress, ProgressQuery, StorageInfo
from .validation import (
    checked_batch,
    checked_batch_size,
    checked_expected_version,
    checked_name,
    checked_progress,
    checked_query,
    checked_ttl,
)

__all__ = ["DEFAULT_BATCH_SIZE", "DEFAULT_TIMEOUT", "AIStorage", "Change", "ChangeRaised"]

Change = Callable[[AIProgress | None], AIProgress]
"""What `AIStorage.update_progress` applies: the current record, or None, to the new one."""

DEFAULT_TIMEOUT = 5.0
"""Seconds that one operation may wait for its server."""

DEFAULT_BATCH_SIZE = 1000
"""Records that `AIStorage.iter_progress` fetches at a time."""


class ChangeRaised(BaseException):
    """Carries what `change` raised past the backend, which must not take it for an error of its own.

    No `Exception`, so that no backend's ``except Exception`` meets it; its transaction is to be rolled back.
    """

    def __init__(self, original: BaseException) -> None:
        super().__init__(original)
        self.original = original


class _Operation:
    """Lets nothing but our own errors out. A class, because a generator's frame would cost every call as much."""

    __slots__ = ("_storage", "_writing")

    def __init__(self, storage: AIStorage, writing: bool) -> None:
        self._storage = storage
        self._writing = writing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, AIStorageError):
            return
        translated = self._storage._translate(error, writing=self._writing)
        if translated is not None:
            raise translated from error


class AIStorage(ABC):
    """One record of training progress a model, kept by a backend.

    Every public method is final: it checks its arguments, calls one hook of the backend, and lets nothing but
    `AIStorageError` out. A backend writes the hooks. A storage is a context manager and safe to be used by
    several threads: each operation takes a connection of its own.

    Attributes:
        type: the backend's name: ``"memory"``, ``"file"``, ``"database"``, ``"redis"``, ...
        capabilities: what this instance promises; see `Capability`.
    """

    type: ClassVar[str]
    schemes: ClassVar[tuple[str, ...]] = ()
    """The URL schemes that `open_storage` gives to this backend."""

    url_options: ClassVar[OptionChecks] = {}
    """The options that ``from_url`` also takes out of a URL's query, as text, each with its check."""

    capabilities: frozenset[Capability]
    _closed = False
    _most_at_once: int = 8
    """Operations of `AsyncAIStorage` that may be under way at once: each has a thread and a connection."""
    _one_writer: bool = False
    """Whether every write waits for every other one, so that `AsyncAIStorage` had better let them queue."""
    _saves_together: bool | None = None
    """Whether saves that wait at once are done by `_save_each`; by default, with `Capability.ATOMIC_BATCH`."""
    _default_ttl: timedelta | None = None

    # -- the contract ---------------------------------------------------------------------------------------

    @final
    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        """Insert the record, or replace the one of this model. Atomic, given `Capability.LINEARIZABLE`.

        Args:
            progress: the record; its stamps are ignored.
            expected_version: save only if this is the stored version; 0: only if the model does not exist.
            ttl: expire the record after this time; default: the storage's own default.

        Returns:
            The record as it is stored, with its stamps.

        Raises:
            InvalidProgressError: a field or argument breaks its rule; nothing was written.
            VersionConflictError: another version is stored; nothing was written.
            UnsupportedOperationError: ``ttl`` was given and `Capability.EXPIRY` is not declared.
            StorageUnavailableError: the storage can't be reached; nothing was written.
            OutcomeUnknownError: the acknowledgement was lost; the record may have been saved.
        """
        record = checked_progress(progress)
        expected = checked_expected_version(expected_version)
        lifetime = self._checked_ttl(ttl)
        with self._operation(writing=True):
            return self._save(record, expected, lifetime)

    @final
    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        """Save a batch. All or nothing, given `Capability.ATOMIC_BATCH`; one after another without it.

        Args:
            progresses: the records, each model at most once.

        Returns:
            The records as they are stored, in the order of the input.

        Raises:
            InvalidProgressError: a record breaks a rule, or a model comes twice; nothing was written.
            StorageUnavailableError, OutcomeUnknownError: as for `save_progress`.
        """
        records = checked_batch(progresses)
        with self._operation(writing=True):
            return self._save_many(records, self._default_ttl) if records else []

    @final
    def get_progress(self, model_name: str) -> AIProgress | None:
        """Return the model's record, or None where there is none.

        Raises:
            InvalidProgressError: the name breaks its rule.
            CorruptStorageError: what is stored can't be read.
            StorageUnavailableError: the storage can't be reached.
        """
        name = checked_name(model_name)
        with self._operation():
            return self._get(name)

    @final
    def load_progress(self) -> list[AIProgress]:
        """Return all records by model name, in code point order; one moment's, given `Capability.SNAPSHOT_LISTING`.

        Raises:
            CorruptStorageError, StorageUnavailableError: as for `get_progress`.
        """
        with self._operation():
            return self._load()

    @final
    def iter_progress(self, *, batch_size: int = DEFAULT_BATCH_SIZE) -> Iterator[AIProgress]:
        """Yield all records by model name, in bounded memory.

        A model that is there throughout is yielded exactly once, whatever others write meanwhile. No
        transaction stays open between batches.

        Args:
            batch_size: how many records to fetch at a time.

        Raises:
            InvalidProgressError: ``batch_size`` is no int from 1 up. At the call, not at the first record.
            CorruptStorageError, StorageUnavailableError: as for `get_progress`, while iterating.
        """
        size = checked_batch_size(batch_size)
        with self._operation():
            records = self._iter(size)
        return self._guarded(records)

    @final
    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        """Replace the record by ``change(record)`` as one atomic step, given `Capability.LINEARIZABLE`.

        The time to live stays as it was.

        Args:
            model_name: the model.
            change: gets the current record, or None where there is none, and returns the new one. It may run
                several times; it must be pure and must not use the storage.

        Returns:
            The record as it is stored, with its stamps.

        Raises:
            InvalidProgressError: ``change`` returned no record, one of another model, or one that breaks a
                rule; nothing was written.
            Exception: whatever ``change`` raised, unchanged; nothing was written.
            StorageUnavailableError: the storage can't be reached, or too many others wrote; nothing was written.
            OutcomeUnknownError: the acknowledgement was lost.
        """
        name = checked_name(model_name)
        if not callable(change):
            raise InvalidProgressError("change", change, "must be callable")

        def checked_change(current: AIProgress | None) -> AIProgress:
            try:
                return _checked_result(name, change(current))
            except BaseException as error:
                raise ChangeRaised(error) from None

        raised: BaseException
        try:
            with self._operation(writing=True):
                return self._update(name, checked_change)
        except ChangeRaised as carrier:
            raised = carrier.original
        # Outside of the except clause, so that the caller sees its own exception without our context.
        raise raised

    @final
    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        """Delete the model's record.

        Args:
            model_name: the model.
            expected_version: delete only if this is the stored version.

        Returns:
            The version that the delete took; None where there was no record.

        Raises:
            InvalidProgressError: an argument breaks its rule.
            VersionConflictError: another version is stored, or none and ``expected_version`` is above 0.
            StorageUnavailableError, OutcomeUnknownError: as for `save_progress`.
        """
        name = checked_name(model_name)
        expected = checked_expected_version(expected_version)
        with self._operation(writing=True):
            return self._delete(name, expected)

    @final
    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        """Return the records that match, in the order and number that the query asks for.

        Raises:
            InvalidProgressError: a bound has the wrong type, or ``order_by`` names no scalar field.
            CorruptStorageError, StorageUnavailableError: as for `get_progress`.
        """
        wanted = checked_query(query)
        with self._operation():
            return [] if wanted.limit == 0 else self._query(wanted)

    @final
    def expire_now(self, model_name: str) -> bool:
        """Let the record expire at once, so that a test need not sleep.

        Returns:
            Whether there was a record to expire.

        Raises:
            UnsupportedOperationError: `Capability.EXPIRY` is not declared.
        """
        name = checked_name(model_name)
        self._need(Capability.EXPIRY, "expire_now")
        with self._operation(writing=True):
            return self._expire(name)

    @final
    def health_check(self) -> bool:
        """Say whether the storage answers. Never raises; takes no longer than the storage's timeout."""
        try:
            with self._operation():
                self._ping()
        except Exception:  # whatever it is, the storage does not answer
            return False
        return True

    @final
    def get_storage_info(self) -> StorageInfo:
        """Describe the storage, with the latency of one ping.

        Raises:
            StorageUnavailableError: the storage can't be reached.
        """
        with self._operation():
            started = time.perf_counter()
            self._ping()
            latency = time.perf_counter() - started
            return StorageInfo(
                type=self.type,
                model_count=self._count(),
                server=self._server(),
                location=self._location(),
                latency=latency,
                capabilities=self.capabilities,
            )

    @final
    def close(self) -> None:
        """Give back what the storage opened. Idempotent; every later operation raises `StorageUnavailableError`."""
        if not self._closed:
            self._closed = True
            self._close()

    @final
    def __enter__(self) -> Self:
        return self

    @final
    def __exit__(
        self,
        kind: builtins.type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._location()}{' (closed)' if self._closed else ''}>"

    # -- the hooks of a backend -----------------------------------------------------------------------------
    # Arguments are checked already. A hook may raise AIStorageError; anything else goes to `_translate`.

    @abstractmethod
    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress: ...

    @abstractmethod
    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]: ...

    @abstractmethod
    def _get(self, model_name: str) -> AIProgress | None: ...

    @abstractmethod
    def _iter(self, batch_size: int) -> Iterator[AIProgress]: ...

    @abstractmethod
    def _update(self, model_name: str, change: Change) -> AIProgress:
        """``change`` is already checked: what it returns is a valid record of this model."""

    @abstractmethod
    def _delete(self, model_name: str, expected: int | None) -> int | None: ...

    @abstractmethod
    def _ping(self) -> None:
        """Ask the server for a sign of life; raise where there is none."""

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _location(self) -> str:
        """The URL or path, without any password."""

    def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
        """The records of several models, each read at a moment of its own; for reads that wait at the same time."""
        return [self._get(name) for name in model_names]

    def _add_many(self, records: list[AIProgress], ttl: timedelta | None) -> set[str]:
        """Save those records whose models are absent, each as by ``expected_version=0``; for migrations.

        Returns:
            The names of those that were saved. Where an error comes in between, some may have been.
        """
        added: set[str] = set()
        for record in records:
            with contextlib.suppress(VersionConflictError):
                self._save(record, 0, ttl)
                added.add(record.model_name)
        return added

    def _save_each(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        """The saves of several callers at once, as `_save_many` does them; each is an operation of its own."""
        return self._save_many(records, ttl)

    def _at_once(self) -> AbstractContextManager[object] | None:
        """Make an operation on one model a matter of no waiting, for the length of a ``with`` block.

        Returns:
            None where it can't: a file, a server or a lock may be waited for.
        """
        return None

    def _load(self) -> list[AIProgress]:
        return list(self._iter(DEFAULT_BATCH_SIZE))

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        return queries.run_query(query, self._iter(DEFAULT_BATCH_SIZE))

    def _count(self) -> int:
        return sum(1 for _ in self._iter(DEFAULT_BATCH_SIZE))

    def _server(self) -> str:
        return self.type

    def _expire(self, model_name: str) -> bool:
        raise NotImplementedError(f"{type(self).__name__} declares EXPIRY and has no _expire")

    def _translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        """Turn a driver's error into one of ours; None for what is no driver's error.

        Args:
            error: what a hook raised.
            writing: whether the operation writes, so that its outcome may be unknown.
        """
        return None

    # -- inside ---------------------------------------------------------------------------------------------

    def _need(self, capability: Capability, what: str) -> None:
        if capability not in self.capabilities:
            raise UnsupportedOperationError(f"{what} needs {capability}, which {self!r} does not declare")

    def _checked_ttl(self, ttl: timedelta | None) -> timedelta | None:
        if ttl is None:
            return self._default_ttl
        lifetime = checked_ttl(ttl)
        self._need(Capability.EXPIRY, "ttl")
        return lifetime

    def _operation(self, *, writing: bool = False) -> _Operation:
        if self._closed:
            raise StorageUnavailableError(f"{self!r}: the storage is closed")
        return _Operation(self, writing)

    def _guarded(self, records: Iterator[AIProgress]) -> Iterator[AIProgress]:
        while True:
            with self._operation():
                try:
                    record = next(records)
                except StopIteration:
                    return
            yield record


def _checked_result(model_name: str, result: Any) -> AIProgress:
    """What `change` returned, checked."""
    if not isinstance(result, AIProgress):
        raise InvalidProgressError("change", result, "must return an AIProgress")
    if result.model_name != model_name:
        raise InvalidProgressError(
            "model_name", result.model_name, f"change must keep the model's name {model_name!r}"
        )
    return checked_progress(result)
