"""A hybrid storage that is written in its cache first, and the thread that takes that to the database."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from .. import codec
from .._failpoints import reach
from ..errors import AIStorageError, OutcomeUnknownError, StorageUnavailableError, VersionConflictError
from ..progress import AIProgress
from ..storage import Change
from . import _behind_scripts as scripts
from ._behind import KEPT, Epoch, Epochs
from ._behind_table import GAP, FencedExecutor
from ._redis_records import decoded, stamped_by
from .database import DatabaseStorage

__all__ = ["WriteBehind"]

_log = logging.getLogger("pytest_aistorage")

_CLAIM: Final = 10_000
"""Milliseconds within which what is read in the database must have got into the cache."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
_IDLE: Final = 5.0
"""Seconds without a write after which the flusher ends; the next write starts another."""


class WriteBehind:
    """Saves, reads and deletes in the cache; what it has not got is read in the database once.

    Args:
        epochs: where the truth is.
        database: behind the cache.
        interval: seconds between two flushes while there is something to write.
        max_dirty: models whose last change is not in the database; beyond them, who saves writes them first.
    """

    def __init__(self, epochs: Epochs, database: DatabaseStorage, *, interval: float, max_dirty: int) -> None:
        self._epochs = epochs
        self._database = database
        self._max_dirty = max_dirty
        self._flusher = _Flusher(self, interval)
        epochs.found_dirty = self._flusher.wake
        self.trouble: str | None = None
        """Why the last flush failed; None: it did not."""

    # -- operations -----------------------------------------------------------------------------------------

    def get(self, model_name: str) -> AIProgress | None:
        """Return the model's record."""
        return self._epochs.run(
            lambda epoch: _record_of(model_name, self._read(epoch, model_name)),
            lambda: self._directly()._get(model_name),
        )

    def save(self, record: AIProgress, expected: int | None) -> AIProgress:
        """Save one record; it is acknowledged by the cache."""
        return self._epochs.run(
            lambda epoch: self._saved(epoch, [record], expected)[0],
            lambda: self._directly(record.model_name)._save(record, expected, None),
        )

    def save_many(self, records: list[AIProgress]) -> list[AIProgress]:
        """Save a batch in one step."""
        return self._epochs.run(
            lambda epoch: self._saved(epoch, records, None),
            lambda: self._directly(*(r.model_name for r in records))._save_many(records, None),
        )

    def update(self, model_name: str, change: Change) -> AIProgress:
        """Compare and set until nobody came between."""
        return self._epochs.run(
            lambda epoch: self._updated(epoch, model_name, change),
            lambda: self._directly(model_name)._update(model_name, change),
        )

    def delete(self, model_name: str, expected: int | None) -> int | None:
        """Delete; the cache remembers it until the database knows."""

        def delete(epoch: Epoch) -> int | None:
            reply = self._write(epoch, [(model_name, "", expected)])
            return None if reply is None else int(reply)

        return self._epochs.run(delete, lambda: self._directly(model_name)._delete(model_name, expected))

    def sync(self) -> None:
        """See to it that the database has every write that was acknowledged before."""
        self._epochs.run(self._epochs.flush, lambda: self._directly()._executor.run(lambda session, sql: 0))

    # -- writing behind -------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many models the database has not got the last change of."""
        return self._epochs.run(self._epochs.pending, lambda: 0)

    def flush(self, timeout: float) -> int:
        """Write all to the database, trying for so many seconds; return how many models are left, -1: unknown."""
        end = time.monotonic() + timeout
        while True:
            try:
                self.sync()
                return self.pending
            except AIStorageError as error:
                self.trouble = str(error)
                if time.monotonic() > end:
                    break
                time.sleep(_LONGEST_PAUSE)
        with contextlib.suppress(AIStorageError):
            return self.pending
        return -1

    def close(self, timeout: float) -> None:
        """End the flusher, and write what is left."""
        self._flusher.stop()
        if self._flusher.was_used and (left := self.flush(timeout)):
            _log.warning(
                "closed with %s not in the database; whoever opens the storage next writes what the cache still has",
                "the last changes of an unknown number of models"
                if left < 0
                else f"the last changes of {left} models",
            )
        with contextlib.suppress(StorageUnavailableError, OutcomeUnknownError):
            self._epochs.close()

    def flush_in_turn(self) -> bool:
        """Flush, and keep the lease; return whether there is more to be written. For the flusher."""

        def flush(epoch: Epoch) -> int:
            self._epochs.renew_in_time(epoch)
            return self._epochs.flush(epoch)

        try:
            left = self._epochs.run(flush, lambda: 0)
        except AIStorageError as error:
            self.trouble = str(error)
            return True
        self.trouble = None
        return left > 0

    # -- inside ---------------------------------------------------------------------------------------------

    def _directly(self, *model_names: str) -> DatabaseStorage:
        """The database, in transactions that fail where an epoch is open."""
        database = copy.copy(self._database)
        fenced: Any = FencedExecutor(self._database._executor, self._epochs.table, model_names)
        database._executor = fenced
        return database

    def _read(self, epoch: Epoch, model_name: str) -> bytes:
        keys = (epoch.key("lease"), epoch.key("model", model_name), epoch.key("claim", model_name))
        end = time.monotonic() + self._database._executor.timeout
        while True:
            reply: bytes = self._epochs.ask(epoch, (scripts.READ, 3, *keys, secrets.token_hex(8), _CLAIM))
            if not reply.startswith(scripts.MISSING):
                reach("after_read")
                return reply
            self._load(epoch, [model_name], reply, end)

    def _load(self, epoch: Epoch, names: Sequence[str], missing: bytes, end: float) -> None:
        """Put models into the cache, by the claims that a script gave out."""
        if time.monotonic() > end:
            raise StorageUnavailableError(
                "others kept writing what was read in the database until the time was up"
            )
        words = missing[1:].decode().split()
        places, claims = [int(word) for word in words[::2]], words[1::2]
        wanted = [names[place] for place in places]
        for name, claim, text in zip(wanted, claims, self._epochs.table.load(wanted, epoch.era), strict=True):
            keys = (epoch.key("model", name), epoch.key("claim", name))
            self._epochs.ask(epoch, (scripts.FILL, 2, *keys, claim, text, KEPT))

    def _saved(self, epoch: Epoch, records: list[AIProgress], expected: int | None) -> list[AIProgress]:
        reply = self._write(epoch, [(r.model_name, codec.fields_to_text(r), expected) for r in records])
        assert reply is not None  # only a delete may find nothing
        stamps = iter(reply.split())
        return [stamped_by(*found) for found in zip(records, stamps, stamps, stamps, strict=True)]

    def _write(self, epoch: Epoch, changes: Sequence[tuple[str, str, int | None]]) -> bytes | None:
        """Run the script of a change; return its stamps; None: there was nothing to delete."""
        names = [name for name, _, _ in changes]
        keys = [epoch.key("lease"), epoch.key("dirty")]
        given: list[Any] = []
        for name, fields, expected in changes:
            keys += (epoch.key("model", name), epoch.key("claim", name))
            given += (name, fields, "" if expected is None else expected)
        end = time.monotonic() + self._database._executor.timeout
        reach("before_write")
        while True:
            arguments = (secrets.token_hex(8), _CLAIM, self._max_dirty, GAP, *given)
            reply: bytes = self._epochs.ask(epoch, (scripts.WRITE, len(keys), *keys, *arguments), once=True)
            if reply.startswith(b"V"):
                self._flusher.wake()
                return reply[1:]
            if reply == scripts.NOTHING:
                return None
            if reply.startswith(scripts.CONFLICT):
                expected = changes[0][2]
                assert expected is not None  # no script compares versions unless it is told to
                raise VersionConflictError(names[0], expected, int(reply[1:]))
            if reply == scripts.FULL:
                self._epochs.flush(epoch)
                if time.monotonic() > end:
                    raise StorageUnavailableError(
                        f"more than {self._max_dirty} models are waiting for the database"
                    )
            else:
                self._load(epoch, names, reply, end)

    def _updated(self, epoch: Epoch, model_name: str, change: Change) -> AIProgress:
        end = time.monotonic() + self._database._executor.timeout
        pause = _FIRST_PAUSE
        while True:
            current = _record_of(model_name, self._read(epoch, model_name))
            started = time.monotonic()
            result = change(current)
            end += time.monotonic() - started  # the time limit is on waiting for the servers
            # No version is given twice: the same version is the same record.
            with contextlib.suppress(VersionConflictError):
                return self._saved(epoch, [result], 0 if current is None else current.version)[0]
            wait = random.uniform(0, pause)
            if time.monotonic() + wait >= end:
                raise StorageUnavailableError(
                    f"model {model_name!r}: others kept writing until the time was up"
                )
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _record_of(model_name: str, text: bytes) -> AIProgress | None:
    rest = text.partition(b" ")[2]
    return None if rest == b"-" else decoded(model_name, rest)


class _Flusher:
    """A thread that flushes at intervals while there is something to write. A forked child has one of its own."""

    def __init__(self, behind: WriteBehind, interval: float) -> None:
        self._behind = behind
        self._interval = interval
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._stopped = threading.Event()
        self.was_used = False

    def wake(self) -> None:
        """There is something to write."""
        if self._process != os.getpid():
            self._begin()
        if self._work.is_set():
            return
        with self._lock:
            self.was_used = True
            self._work.set()
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="aistorage-flusher", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread, as soon as it has done what it is doing."""
        if self._process != os.getpid():
            return
        self._stopped.set()
        with self._lock:
            thread = self._thread
            self._work.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._work.wait(_IDLE):
                with self._lock:
                    if not self._work.is_set():
                        self._thread = None
                        return
            if self._stopped.wait(self._interval):
                return
            self._work.clear()
            if self._behind.flush_in_turn():
                self._work.set()
