"""An `AIStorage` each of whose operations is awaited in an event loop, so that it can be held to the contract."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from pytest_aistorage import AIProgress, AIStorage, ProgressQuery, open_async_storage
from pytest_aistorage.storage import Change

__all__ = ["Blocking", "open_blocking"]

T = TypeVar("T")


class _Loop:
    """One event loop for a process, in a thread; a forked child gets its own."""

    def __init__(self) -> None:
        self._owner = 0
        self._lock = threading.Lock()

    def result(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for it here."""
        if self._owner != os.getpid():
            with self._lock:
                if self._owner != os.getpid():
                    self._loop = asyncio.new_event_loop()
                    threading.Thread(target=self._loop.run_forever, daemon=True).start()
                    self._owner = os.getpid()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


_loop = _Loop()


class Blocking(AIStorage):
    """Hooks that await.

    Args:
        url: of the storage.
    """

    type = "blocking"

    def __init__(self, url: str) -> None:
        self._storage = open_async_storage(url)
        self.capabilities = self._storage.capabilities

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        return _loop.result(self._storage.save_progress(record, expected_version=expected, ttl=ttl))

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        return _loop.result(self._storage.save_many(records))

    def _get(self, model_name: str) -> AIProgress | None:
        return _loop.result(self._storage.get_progress(model_name))

    def _load(self) -> list[AIProgress]:
        return _loop.result(self._storage.load_progress())

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        records = self._storage.iter_progress(batch_size=batch_size).__aiter__()

        async def following() -> AIProgress | None:
            return await anext(records, None)

        while (record := _loop.result(following())) is not None:
            yield record

    def _update(self, model_name: str, change: Change) -> AIProgress:
        return _loop.result(self._storage.update_progress(model_name, change))

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        return _loop.result(self._storage.delete_progress(model_name, expected_version=expected))

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        return _loop.result(self._storage.query_progress(query))

    def _expire(self, model_name: str) -> bool:
        return _loop.result(self._storage.expire_now(model_name))

    def _count(self) -> int:
        return _loop.result(self._storage.get_storage_info()).model_count

    def _ping(self) -> None:
        assert _loop.result(self._storage.health_check())

    def _close(self) -> None:
        _loop.result(self._storage.close())

    def _location(self) -> str:
        return self._storage.storage._location()


def open_blocking(url: str) -> AIStorage:
    """Open one; picklable, for clients in other processes."""
    return Blocking(url)
