"""A storage around another: what every wrapper shares, so that it adds one thing and takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import cast

from .errors import AIStorageError, ConfigurationError
from .progress import AIProgress, ProgressQuery
from .storage import AIStorage, Change, _Operation

__all__ = ["WrapperStorage"]


class WrapperStorage(AIStorage):
    """Passes every operation on; of the type and with the capabilities of the storage behind it.

    Arguments are checked before a hook is called, so it is hooks that are called here. When the storage behind it is
    closed, so is this one.

    Args:
        storage: what it is wrapped around; `close` closes it.

    Raises:
        ConfigurationError: no `AIStorage`.
    """

    def __init__(self, storage: AIStorage) -> None:
        if not isinstance(storage, AIStorage):
            raise ConfigurationError(f"storage: must be an AIStorage, not {type(storage).__name__}")
        self._storage = storage
        self._behind: tuple[AIStorage, ...] = (storage,)
        if isinstance(storage, WrapperStorage):
            self._behind += storage._behind
        # Of the class in general and of the instance here: a wrapper is of the type of what it wraps.
        self.type = storage.type  # type: ignore[misc]
        self.capabilities = storage.capabilities
        self._most_at_once, self._one_writer = storage._most_at_once, storage._one_writer
        self._saves_together = storage._saves_together
        self._default_ttl = storage._default_ttl

    @property
    def degraded(self) -> str | None:
        """Why a hybrid storage goes by its database alone; None: it doesn't, as far as is known, or is no hybrid."""
        return cast("str | None", getattr(self._storage, "degraded", None))

    @property
    def pending_writes(self) -> int:
        """How many models only the cache of a hybrid has the last change of; 0 where nothing is written behind.

        Raises:
            StorageUnavailableError: neither the cache nor the database answers.
        """
        return cast(int, getattr(self._storage, "pending_writes", 0))

    def flush(self, timeout: float | None = None) -> int:
        """Write to the database what only the cache of a hybrid has; elsewhere there is nothing to do.

        Args:
            timeout: seconds for which it is tried; the storage's own by default.

        Returns:
            How many models the database has not got the last change of; -1: that is not known.
        """
        flush = getattr(self._storage, "flush", None)
        return 0 if flush is None else cast(int, flush(timeout))

    # -- hooks ----------------------------------------------------------------------------------------------

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        return self._storage._save(record, expected, ttl)

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        return self._storage._save_many(records, ttl)

    def _save_each(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        return self._storage._save_each(records, ttl)

    def _get(self, model_name: str) -> AIProgress | None:
        return self._storage._get(model_name)

    def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
        return self._storage._get_many(model_names)

    def _add_many(self, records: list[AIProgress], ttl: timedelta | None) -> set[str]:
        return self._storage._add_many(records, ttl)

    def _at_once(self) -> AbstractContextManager[object] | None:
        return self._storage._at_once()

    def _load(self) -> list[AIProgress]:
        return self._storage._load()

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        return self._storage._iter(batch_size)

    def _update(self, model_name: str, change: Change) -> AIProgress:
        return self._storage._update(model_name, change)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        return self._storage._delete(model_name, expected)

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        return self._storage._query(query)

    def _count(self) -> int:
        return self._storage._count()

    def _expire(self, model_name: str) -> bool:
        return self._storage._expire(model_name)

    def _server(self) -> str:
        return self._storage._server()

    def _ping(self) -> None:
        self._storage._ping()

    def _location(self) -> str:
        return self._storage._location()

    def _translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        return self._storage._translate(error, writing=writing)

    def _close(self) -> None:
        self._storage.close()

    # -- inside ---------------------------------------------------------------------------------------------

    def _operation(self, *, writing: bool = False) -> _Operation:
        # Hooks don't ask whether their storage is closed: a database's would connect anew, for nobody to close.
        if self._closed:
            return super()._operation()  # which says so
        for storage in self._behind:
            if storage._closed:
                return storage._operation()
        return _Operation(self, writing)
