"""Records in this process: private to one storage, or shared by name inside the process."""

from __future__ import annotations

import dataclasses
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import unquote
from uuid import uuid4

from .. import codec, config
from .._failpoints import reach
from ..capabilities import Capability
from ..errors import ConfigurationError, UnsupportedOperationError, VersionConflictError
from ..progress import AIProgress
from ..storage import AIStorage, Change

__all__ = ["MemoryStorage"]

Clock = Callable[[], datetime]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclasses.dataclass(slots=True)
class _Slot:
    """What is kept of one model, dead or alive: a version outlives its record."""

    version: int = 0
    record: AIProgress | None = None
    expires_at: datetime | None = None


class _Lock:
    """Holds off other threads, and refuses the thread that holds it already.

    Only a `change` that uses its own storage does that; it would wait for itself for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.changing = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self.changing:
            self._lock.release()
            raise UnsupportedOperationError("update_progress: change must not use the storage")

    def __exit__(self, *_error: object) -> None:
        self._lock.release()

    def held_if_free(self) -> _Held | None:
        """Take it unless another thread has it, until the end of the ``with`` block of what is returned."""
        return _Held(self._lock) if self._lock.acquire(blocking=False) else None

    def renew(self) -> None:
        """Take it away from a thread that is not there, after a fork."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock, self.changing = threading.RLock(), False


class _Held:
    """A lock that is taken already, for a ``with`` block to release."""

    __slots__ = ("_lock",)

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        self._lock.release()


class _Store:
    """The records behind one name, and the lock under which every operation runs."""

    def __init__(self) -> None:
        self.lock = _Lock()
        self.slots: dict[str, _Slot] = {}
        self.clients = 0
        _stores.add(self)


_stores: weakref.WeakSet[_Store] = weakref.WeakSet()
_shared: dict[str, _Store] = {}
_shared_lock = threading.Lock()


class MemoryStorage(AIStorage):
    """Records in this process, gone with it.

    ``memory://`` is private to one storage; ``memory://name`` is shared by every storage of this process that
    opens the same name, and gone with the last of them. Every operation runs under one lock, so it is
    linearizable between threads.

    Args:
        name: what to share the records by; None: they are private.
        ttl: the time to live of a save that gives none.
        clock: the current time, aware; expiry and stamps are counted by it.
    """

    type: ClassVar[str] = "memory"
    schemes: ClassVar[tuple[str, ...]] = ("memory",)
    url_options: ClassVar[config.OptionChecks] = {
        "ttl": config.time_to_live,
        "timeout": config.seconds,
    }

    def __init__(
        self, name: str | None = None, *, ttl: timedelta | None = None, clock: Clock = _utc_now
    ) -> None:
        self.capabilities = frozenset(
            {
                Capability.LINEARIZABLE,
                Capability.VERSIONS_NEVER_REUSED,
                Capability.ATOMIC_BATCH,
                Capability.SNAPSHOT_LISTING,
                Capability.EXPIRY,
            }
        )
        self._default_ttl = config.time_to_live("ttl", ttl)
        self._clock = clock
        self._name = name
        if name is None:
            self._store = _Store()
        else:
            with _shared_lock:
                self._store = _shared.setdefault(name, _Store())
                self._store.clients += 1

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open ``memory://`` or ``memory://name``.

        Args:
            url: ``?ttl=`` gives the default time to live in seconds.
            options: ``ttl``, ``clock``.

        Raises:
            ConfigurationError: an unknown option.
        """
        parts, given = config.option_of(
            config.StorageURL.parse(url),
            options,
            {**cls.url_options, "clock": _checked_clock},
        )
        config.nothing_left(parts)
        given.pop("timeout", None)  # nothing here waits for a server
        # Not the host, which is lower case: "Foo" and "foo" are two names.
        name = unquote(url.partition("://")[2].partition("?")[0]).strip("/")
        return cls(name or None, **given)

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Return the URL of an empty store of its own."""
        return f"memory://fresh-{uuid4().hex}"

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        reach("before_write")
        with self._store.lock:
            now = self._clock()
            slot = self._slot(record.model_name, now)
            _check(record.model_name, expected, slot)
            return _written(slot, record, now, None if ttl is None else now + ttl)

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        reach("before_write")
        with self._store.lock:
            now = self._clock()
            expires_at = None if ttl is None else now + ttl
            return [_written(self._slot(r.model_name, now), r, now, expires_at) for r in records]

    def _get(self, model_name: str) -> AIProgress | None:
        with self._store.lock:
            found = self._alive(model_name, self._clock())
        reach("after_read")
        return None if found is None else _copy(found)

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        last = ""
        while True:
            with self._store.lock:
                names = sorted(name for name in self._store.slots if name > last)
                now = self._clock()
                batch = []
                for name in names:
                    if (record := self._alive(name, now)) is not None:
                        batch.append(_copy(record))
                        if len(batch) == batch_size:
                            break
            yield from batch
            if len(batch) < batch_size:
                return
            last = batch[-1].model_name

    def _load(self) -> list[AIProgress]:
        with self._store.lock:
            now = self._clock()
            alive = [self._alive(name, now) for name in sorted(self._store.slots)]
            return [_copy(record) for record in alive if record is not None]

    def _update(self, model_name: str, change: Change) -> AIProgress:
        with self._store.lock:
            now = self._clock()
            slot = self._slot(model_name, now)
            current = None if slot.record is None else _copy(slot.record)
            reach("after_read")
            self._store.lock.changing = True
            try:
                result = change(current)
            finally:
                self._store.lock.changing = False
            reach("before_write")
            if slot.record is not None:
                expires_at = slot.expires_at
            else:
                expires_at = None if self._default_ttl is None else now + self._default_ttl
            return _written(slot, result, self._clock(), expires_at)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        reach("before_write")
        with self._store.lock:
            slot = self._slot(model_name, self._clock())
            _check(model_name, expected, slot)
            if slot.record is None:
                return None
            slot.version += 1
            slot.record = slot.expires_at = None
            return slot.version

    def _at_once(self) -> AbstractContextManager[object] | None:
        return self._store.lock.held_if_free()

    def _count(self) -> int:
        with self._store.lock:
            now = self._clock()
            return sum(1 for name in self._store.slots if self._alive(name, now) is not None)

    def _expire(self, model_name: str) -> bool:
        with self._store.lock:
            now = self._clock()
            if self._alive(model_name, now) is None:
                return False
            self._store.slots[model_name].expires_at = now
            return True

    def _ping(self) -> None:
        pass

    def _close(self) -> None:
        if self._name is not None:
            with _shared_lock:
                self._store.clients -= 1
                if not self._store.clients:
                    _shared.pop(self._name, None)

    def _location(self) -> str:
        return f"memory://{self._name or ''}"

    def _alive(self, model_name: str, now: datetime) -> AIProgress | None:
        slot = self._store.slots.get(model_name)
        if slot is None or (slot.expires_at is not None and slot.expires_at <= now):
            return None
        return slot.record

    def _slot(self, model_name: str, now: datetime) -> _Slot:
        """The slot that a mutation is about to change. An expiry takes its version here, and not before."""
        slot = self._store.slots.setdefault(model_name, _Slot())
        if slot.expires_at is not None and slot.expires_at <= now:
            slot.version += 1
            slot.record = slot.expires_at = None
        return slot


def _checked_clock(name: str, value: object) -> Clock:
    if not callable(value):
        raise ConfigurationError(f"option {name}: must be callable")
    return value


def _check(model_name: str, expected: int | None, slot: _Slot) -> None:
    actual = slot.version if slot.record is not None else 0
    if expected is not None and expected != actual:
        raise VersionConflictError(model_name, expected, actual)


def _written(slot: _Slot, record: AIProgress, now: datetime, expires_at: datetime | None) -> AIProgress:
    before = slot.record
    slot.version += 1
    slot.record = dataclasses.replace(
        record,
        version=slot.version,
        created_at=now if before is None else before.created_at,
        # A clock that is set back must not make a record look older than it was.
        updated_at=now if before is None or before.updated_at is None else max(now, before.updated_at),
    )
    slot.expires_at = expires_at
    return _copy(slot.record)


def _copy(record: AIProgress) -> AIProgress:
    """The record with metadata of its own: the caller's changes to it must not reach what is stored."""
    if not record.metadata:
        return dataclasses.replace(record, metadata={})
    return dataclasses.replace(
        record, metadata=codec.metadata_from_text(codec.metadata_to_text(record.metadata))
    )


# -- after fork() -------------------------------------------------------------------------------------------


def _renew_locks() -> None:
    """In a forked child, which has a copy of the records: another of the parent's threads may have held any lock."""
    global _shared_lock
    _shared_lock = threading.Lock()
    for store in list(_stores):
        store.lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
