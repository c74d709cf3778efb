"""Two storages written as one: the old one is believed until the new one is, and what the other lacks is noted."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

from ..capabilities import Capability
from ..errors import (
    AIStorageError,
    ConfigurationError,
    InvalidProgressError,
    OutcomeUnknownError,
    StorageUnavailableError,
    VersionConflictError,
)
from ..progress import AIProgress, ProgressQuery
from ..storage import DEFAULT_TIMEOUT, AIStorage, Change, ChangeRaised
from .differences import is_same
from .journal import Journal, Pending, Step

__all__ = ["DualWriteStorage"]

T = TypeVar("T")

_BACKLOG = 100
"""Copies of earlier writes that one write makes up for."""

_TRIES = 5
"""How often a copy is tried while somebody else writes the same model."""

_FIRST_REST, _LONGEST_REST = 1.0, 30.0
"""Seconds for which a storage that failed gets no copies: each might wait for its timeout."""

_NOTHING_WRITTEN = (VersionConflictError, InvalidProgressError, ChangeRaised)


class DualWriteStorage(AIStorage):
    """Writes to an old storage and to a new one, and reads from the old one: the guide's dual write.

    The old one is believed: its acknowledgement is the storage's, its versions are, and a read is a read of it. The
    new one gets a copy of each record after that. Where the copy fails, the write is acknowledged all the same, and
    the model stays noted in the journal, to which it was added before anything was written: a client that is killed
    between the two leaves it there. Later writes, and `repair`, make the copies that are missing.

    Every operation holds the journal's lock, so that two clients don't lose each other's updates, be the old storage
    a file. All clients must share the journal's disk.

    Args:
        old: what is believed.
        new: what gets copies.
        journal: the path of the journal; by default beside the file of an old `FileStorage`, with ``.cutover`` behind
            its name.
        timeout: seconds to wait for the lock.

    Both storages are the caller's, and `close` closes neither.

    Raises:
        ConfigurationError: no storages, or no journal where the old storage is no file.
    """

    type: ClassVar[str] = "dual-write"

    def __init__(
        self,
        old: AIStorage,
        new: AIStorage,
        *,
        journal: str | Path | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        for name, storage in (("old", old), ("new", new)):
            if not isinstance(storage, AIStorage):
                raise ConfigurationError(f"{name}: must be an AIStorage, not {type(storage).__name__}")
        if journal is None:
            if old.type != "file":
                raise ConfigurationError("journal: must be given where the old storage is no file")
            journal = f"{old._location()}.cutover"
        self._old, self._new = old, new
        self._journal = Journal(Path(journal), timeout=timeout)
        self._rest, self._rests_until = 0.0, 0.0
        self._name = uuid.uuid4().hex
        self.capabilities = (old.capabilities & new.capabilities) - {Capability.EXPIRY}
        self._most_at_once = new._most_at_once

    # -- what is not there yet ------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many models have no copy of their last change yet.

        Raises:
            StorageUnavailableError: the journal can't be read.
        """
        with self._journal.locked():
            return self._journal.pending_count()

    @property
    def last_failure(self) -> str | None:
        """Why a copy is missing; None: none is, or nobody could say.

        Raises:
            StorageUnavailableError: as for `pending`.
        """
        with self._journal.locked():
            return self._journal.reason()

    def repair(self) -> int:
        """Make the copies that are missing, also where the other storage has failed just now.

        Returns:
            How many are missing still: the storage that gets the copies does not answer.

        Raises:
            StorageUnavailableError: the journal, or the storage that is believed, can't be reached.
        """
        self._rests_until = 0.0
        while True:
            with self._journal.locked():
                leader, follower = self._roles(self._step())
                before = self._journal.pending_count()
                if not before or follower is None:
                    return 0
                self._copy(leader, follower, self._journal.pending(_BACKLOG))
                after = self._journal.pending_count()
            if after >= before or not after:
                return after

    # -- who is believed ------------------------------------------------------------------------------------

    def _step(self) -> Step:
        return Step.DUAL_WRITE

    def _roles(self, step: Step) -> tuple[AIStorage, AIStorage | None]:
        """The storage that is believed, and the one that gets copies."""
        if step is Step.NOT_BEGUN:
            return self._old, None
        if step is Step.RETIRED:
            return self._new, None
        return (self._new, self._old) if step.reads_new else (self._old, self._new)

    def _settled(self) -> Step | None:
        """The step, where it is known without the lock that reads, or reads and writes, go to the new storage."""
        return None

    def _before_write(self, step: Step) -> Step:
        """Called under the lock before both are written; returns the step, which may have to be an earlier one."""
        return step

    def _after_write(self) -> Mapping[str, str]:
        """What to note when both were written."""
        return {}

    def _takes_batches(self, follower: AIStorage) -> bool:
        """Whether copies can go there without their versions: no write whose outcome is unknown can come late."""
        return False

    def _read(self, read: Callable[[AIStorage], T]) -> T:
        if self._settled() is None:
            with self._journal.locked():
                leader, _ = self._roles(self._step())
                if leader is self._old:
                    return read(leader)
        return read(self._new)

    def _write(self, names: Sequence[str], write: Callable[[AIStorage], T], *, deletes: bool = False) -> T:
        if self._settled() is Step.RETIRED:
            return write(self._new)
        with self._journal.locked():
            step = self._step()
            leader, follower = self._roles(step)
            if follower is None:
                return write(leader)
            step = self._before_write(step)
            noted = self._journal.note(names, deleted=deletes and step is Step.DUAL_WRITE)
            try:
                result = write(leader)
            except _NOTHING_WRITTEN:
                self._journal.done(noted)
                raise
            finally:
                # Whatever came of it: the old storage is as this client left it.
                self._note(**self._after_write())
            self._mirror(leader, follower, names)
            return result

    def _note(self, **state: str) -> None:
        if state:
            self._journal.put(**state)

    # -- the copies -----------------------------------------------------------------------------------------

    def _mirror(self, leader: AIStorage, follower: AIStorage, names: Sequence[str]) -> None:
        """Make the copies of a write, and of some before it; what can't be made stays noted, nothing is raised."""
        if time.monotonic() < self._rests_until:
            return
        with contextlib.suppress(AIStorageError):
            if self._noted_rest()[0] > 0:
                return
            own = self._journal.pending_of(names)
            self._copy(leader, follower, {**own, **self._journal.pending(_BACKLOG)})

    def _noted_rest(self) -> tuple[float, float]:
        """For how many seconds another client wants no copies tried, and how long it rests altogether.

        While a copy waits for its timeout, everybody waits for the lock: one client at a time is enough.
        """
        name, until, rest = (self._journal.get("rest") or " 0 0").split(" ")
        left = float(until) - time.time()
        if name == self._name or left > _LONGEST_REST:  # a clock was set back
            return 0.0, 0.0
        return left, float(rest)

    def _copy(self, leader: AIStorage, follower: AIStorage, pending: Pending) -> None:
        names = list(pending)
        records = _several(leader, names)
        done: list[str] = []
        try:
            there = _several(follower, names)
            if self._takes_batches(follower):
                changed = [
                    record
                    for record, copy in zip(records, there, strict=True)
                    if record is not None and (copy is None or not is_same(record, copy))
                ]
                follower.save_many(changed)
                there = [record or copy for record, copy in zip(records, there, strict=True)]
            for name, record, copy in zip(names, records, there, strict=True):
                try:
                    self._copy_one(follower, name, record, copy, unknown=pending[name])
                except OutcomeUnknownError as error:
                    self._journal.failed([name], str(error), unknown=True)
                    raise
                except StorageUnavailableError:
                    raise
                except AIStorageError as error:  # of this model alone: the others must not wait for it
                    told = f"model {name!r}: {type(error).__name__}: {error}"
                    self._journal.failed([name], told, unknown=False)
                else:
                    done.append(name)
        except AIStorageError as error:
            self._rest = min(max(_FIRST_REST, 2 * self._rest, 2 * self._noted_rest()[1]), _LONGEST_REST)
            self._rests_until = time.monotonic() + self._rest
            self._journal.put(rest=f"{self._name} {time.time() + self._rest} {self._rest}")
            rest = [name for name in names if name not in set(done)]
            self._journal.failed(rest, f"{type(error).__name__}: {error}", unknown=False)
        else:
            self._rest = 0.0
            if self._journal.get("rest"):
                self._journal.put(rest="")
        finally:
            # Only who has written the old storage knows how it was left: a note of how it is now would hide who else
            # has written it since.
            self._journal.done(done, **(self._after_write() if follower is self._old else {}))

    @staticmethod
    def _copy_one(
        follower: AIStorage, name: str, record: AIProgress | None, copy: AIProgress | None, *, unknown: bool
    ) -> None:
        for _ in range(_TRIES):
            # By its version, so that a write whose outcome is unknown can't take effect behind this one; and also
            # where the copy is equal, if there is such a write.
            version = 0 if copy is None else copy.version
            with contextlib.suppress(VersionConflictError):
                if record is None:
                    if copy is not None:
                        follower.delete_progress(name, expected_version=version)
                    return
                if unknown or copy is None or not is_same(record, copy):
                    follower.save_progress(record, expected_version=version)
                return
            copy = follower.get_progress(name)
        raise StorageUnavailableError(f"model {name!r}: somebody else writes it to {follower!r}")

    # -- hooks: the storages' public methods are called, which translate what their drivers raise ---------------

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        return self._write(
            [record.model_name], lambda storage: storage.save_progress(record, expected_version=expected)
        )

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        names = [record.model_name for record in records]
        return self._write(names, lambda storage: storage.save_many(records))

    def _update(self, model_name: str, change: Change) -> AIProgress:
        return self._write([model_name], lambda storage: storage.update_progress(model_name, change))

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        return self._write(
            [model_name],
            lambda storage: storage.delete_progress(model_name, expected_version=expected),
            deletes=True,
        )

    def _get(self, model_name: str) -> AIProgress | None:
        return self._read(lambda storage: storage.get_progress(model_name))

    def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
        return self._read(lambda storage: _several(storage, model_names))

    def _load(self) -> list[AIProgress]:
        return self._read(lambda storage: storage.load_progress())

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        # A listing of a file is read when it is asked for, under the lock; others go on by themselves.
        return self._read(lambda storage: storage.iter_progress(batch_size=batch_size))

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        return self._read(lambda storage: storage.query_progress(query))

    def _count(self) -> int:
        return self._read(lambda storage: _asked(storage, storage._count))

    def _server(self) -> str:
        return self._read(lambda storage: _asked(storage, storage._server))

    def _ping(self) -> None:
        self._read(lambda storage: _asked(storage, storage._ping))

    def _location(self) -> str:
        return f"{self._old._location()} -> {self._new._location()}"

    def _close(self) -> None:
        self._journal.close()


def _asked(storage: AIStorage, hook: Callable[[], T]) -> T:
    """What a hook without a public method of its own says, with its driver's errors translated."""
    with storage._operation():
        return hook()


def _several(storage: AIStorage, names: list[str]) -> list[AIProgress | None]:
    return _asked(storage, lambda: storage._get_many(names))
