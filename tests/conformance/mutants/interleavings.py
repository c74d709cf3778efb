"""Faults that show when two clients overlap, as real small storages have them."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from pytest_aistorage import AIProgress, VersionConflictError
from pytest_aistorage.validation import checked_batch, checked_progress

from .delegating import turns_red
from .small import NEVER, Change, DictStorage, FileOfJSON, SQLiteStorage, Versioned, document

_LOST = "interrupted_update_loses_no_update"
_TWICE = "interrupted_save_takes_a_version_of_its_own"
_WINNERS = "one_of_two_overlapping_compare_and_sets_wins"
_REBORN = "compare_and_set_is_not_fooled_by_a_model_reborn_meanwhile"
_DELETE = "overlapping_delete_is_not_lost"
_READ = "overlapping_read_is_neither_torn_nor_stale"
_OTHER = "overlapping_write_of_another_model_is_not_undone"
_BATCH = "interrupted_batch_is_never_seen_by_half"
_LISTING = "interrupted_listing_is_of_one_moment"


# -- a dictionary -------------------------------------------------------------------------------------------


@turns_red(_LOST, _TWICE, _WINNERS, _DELETE, _BATCH)
class NoLock(DictStorage):
    """A dictionary without a lock: the interpreter is taken for one."""

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()


@turns_red(_LOST, _TWICE)
class LocksOnlyTheWrite(DictStorage):
    """The lock is taken when the new record is ready."""

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def write(self, name: str, state: Versioned) -> None:
        with self.lock:
            super().write(name, state)


@turns_red(_LOST, _TWICE)
class LocksReadAndWriteApart(DictStorage):
    """Each step is under the lock, and between the two anybody may come."""

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def read(self, name: str) -> Versioned:
        with self.lock:
            return super().read(name)

    def write(self, name: str, state: Versioned) -> None:
        with self.lock:
            super().write(name, state)


@turns_red(_LOST, _TWICE, _DELETE)
class LockOfTheClient(DictStorage):
    """Each client has a lock of its own for the store that they share."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.lock = threading.Lock()


@turns_red(_TWICE)
class VersionsInTheClass(DictStorage):
    """The versions are counted beside the records, under no lock."""

    versions: ClassVar[dict[str, int]] = {}

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        given = self.versions.get(progress.model_name, 0) + 1
        saved = super().save_progress(progress, **options)
        self.versions[progress.model_name] = given
        with self.lock:
            numbered = dataclasses.replace(saved, version=given)
            self.models[progress.model_name] = Versioned(given, numbered)
        return numbered


@turns_red(_WINNERS)
class ComparesBeforeTheLock(DictStorage):
    """The version is compared, then the lock is taken, then the record is set."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        self.expect(progress.model_name, expected_version, self.read(progress.model_name))
        return super().save_progress(progress, **options)


@turns_red(_REBORN)
class ComparesWithTheAge(DictStorage):
    """A lock-free compare-and-set that takes the record's own count for the version: a reborn one counts anew."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        version = super().delete_progress(model_name, expected_version=expected_version)
        self.models.pop(model_name, None)
        return version


@turns_red(_LOST)
class RetriesOnTheStaleCopy(DictStorage):
    """An update that meets another version tries again, with the record that it read at first."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        first = self.read(model_name)
        changed = change(first.record)
        while True:
            with self.lock:
                now = self.read(model_name)
                if now.version == first.version:
                    after = self.stamped(checked_progress(changed), now)
                    self.write(model_name, after)
                    return after.record
            first = dataclasses.replace(first, version=now.version)


@turns_red(_DELETE)
class ChecksThenDeletes(DictStorage):
    """Whether there is a record is asked first; a moment later one is removed."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        with self.lock:
            before = self.read(model_name)
        self.expect(model_name, expected_version, before)
        if before.record is None:
            return None
        with self.lock:
            self.write(model_name, Versioned(before.version + 1))
        return before.version + 1


@turns_red(_DELETE)
class DeletedOutsideOfTheTransaction(DictStorage):
    """The version is taken under the lock; the record goes after it."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        with self.lock:
            before = self.read(model_name)
            self.expect(model_name, expected_version, before)
            if before.record is None:
                return None
            self.write(model_name, Versioned(before.version + 1, before.record))
        self.write(model_name, Versioned(before.version + 1))
        return before.version + 1


@turns_red(_READ)
class ReadsVersionAndRecordApart(DictStorage):
    """Two looks at the store for one get."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        record = self.read(model_name).record
        if record is None:
            return None
        return dataclasses.replace(record, version=self.read(model_name).version)


@turns_red(_READ)
class WritesFieldByField(DictStorage):
    """The new values come one after the other; readers take no lock."""

    def write(self, name: str, state: Versioned) -> None:
        before = self.models.get(name, NEVER)
        if before.record is not None and state.record is not None:
            half = dataclasses.replace(before.record, mse=state.record.mse)
            self.models[name] = Versioned(before.version, half)
        self.models[name] = state

    def get_progress(self, model_name: str) -> AIProgress | None:
        return self.read(model_name).record


@turns_red(_READ)
class RemovesBeforeItWrites(DictStorage):
    """The old record goes, the new one comes; a reader in between finds none."""

    def write(self, name: str, state: Versioned) -> None:
        self.models.pop(name, None)
        super().write(name, state)

    def get_progress(self, model_name: str) -> AIProgress | None:
        return self.read(model_name).record


@turns_red(_LISTING)
class ListsOneByOne(DictStorage):
    """The names under the lock, then each record by itself."""

    def load_progress(self) -> list[AIProgress]:
        with self.lock:
            names = sorted(self.models)
        found = [self.get_progress(name) for name in names]
        return [record for record in found if record is not None]


@turns_red(_LISTING)
class IteratesOverTheLiveStore(DictStorage):
    """The listing goes through the dictionary while others change it."""

    def load_progress(self) -> list[AIProgress]:
        found = []
        for state in self.models.values():
            if state.record is not None:
                found.append(state.record)
        return sorted(found, key=lambda record: record.model_name)


@turns_red(_BATCH)
class SavesTheBatchOneByOne(DictStorage):
    """A batch is a loop over saves."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        return [self.save_progress(progress) for progress in checked_batch(progresses)]


# -- a file -------------------------------------------------------------------------------------------------


@turns_red(_LOST, _TWICE, _WINNERS, _DELETE, _OTHER)
class RenamesUnderNoLock(FileOfJSON):
    """Written beside and renamed, so never torn; and yet two writers lose each other's changes."""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        yield


@turns_red(_OTHER, _LOST)
class FlockAroundTheWrite(FileOfJSON):
    """The lock begins after the file was read."""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        yield

    def write_all(self, models: dict[str, Versioned]) -> None:
        with super().exclusive():
            super().write_all(models)


@turns_red(_READ)
class WrittenInPlace(FileOfJSON):
    """Under a lock that readers don't take; the file is emptied before it is written."""

    def write_all(self, models: dict[str, Versioned]) -> None:
        text = json.dumps({name: document(state) for name, state in models.items()})
        with open(self.path, "w") as file:
            file.write(text)

    def get_progress(self, model_name: str) -> AIProgress | None:
        return self.read(model_name).record


@turns_red(_LOST)
class LockOfTheProcess(FileOfJSON):
    """A lock that threads share and other processes know nothing of."""

    one: ClassVar[Any] = threading.RLock()

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return self.one


@turns_red(_LOST)
class LockfForThreads(FileOfJSON):
    """A POSIX lock belongs to the process, so its threads don't keep each other out."""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        with open(f"{self.path}.lock", "w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            yield


@turns_red(_OTHER, _LOST)
class TemporaryNameShared(RenamesUnderNoLock):
    """All writers have one temporary file, and no lock."""

    def write_all(self, models: dict[str, Versioned]) -> None:
        finished = self.path
        self.path = finished.with_suffix(".tmp")
        try:
            super().write_all(models)
        finally:
            self.path = finished
        finished.with_suffix(".tmp").replace(finished)


@turns_red(_OTHER)
class ReadModifyWriteInOneLine(RenamesUnderNoLock):
    """Read, change and write in one expression, under a lock that is not held."""

    def write(self, name: str, state: Versioned) -> None:
        one = FileOfJSON.__new__(FileOfJSON)
        one.path = self.path.with_suffix(".one")
        one.write_all({name: state})
        document = json.loads(one.path.read_text())
        if not self.path.exists():
            self.path.write_text("{}")
        self.path.write_text(json.dumps(json.loads(self.path.read_text()) | document))


# -- a database ---------------------------------------------------------------------------------------------


@turns_red(_LOST, _TWICE, _DELETE)
class TwoTransactions(SQLiteStorage):
    """SELECT and INSERT are transactions of their own."""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        with self.turn:
            yield


@turns_red(_LOST, _WINNERS)
class ReadsBeforeTheTransaction(SQLiteStorage):
    """The version is read, then the transaction begins."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        before = self.read(progress.model_name)
        self.expect(progress.model_name, expected_version, before)
        after = self.stamped(progress, before)
        with self.exclusive():
            self.write(progress.model_name, after)
        return after.record

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        return self.save_progress(change(self.read(model_name).record))


@turns_red(_LOST)
class BeginsWithoutItsLock(SQLiteStorage):
    """BEGIN without IMMEDIATE: two that have read both want to write, and the driver's error gets out."""

    begin = "BEGIN"


@turns_red(_BATCH)
class TransactionPerRecord(SQLiteStorage):
    """A batch is as many transactions as records."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        return [self.save_progress(progress) for progress in checked_batch(progresses)]


@turns_red(_LISTING)
class PagesTheListing(SQLiteStorage):
    """A listing fetches page by page, each a transaction of its own."""

    def load_progress(self) -> list[AIProgress]:
        found: list[AIProgress] = []
        while True:
            after = found[-1].model_name if found else ""
            rows = self.connection.execute(
                "SELECT name FROM models WHERE name > ? AND document IS NOT NULL ORDER BY name LIMIT 1",
                (after,),
            ).fetchall()
            if not rows:
                return found
            record = self.get_progress(rows[0][0])
            if record is not None:
                found.append(record)


@turns_red(_WINNERS)
class SwallowsTheConflict(SQLiteStorage):
    """A compare-and-set whose UPDATE met no row reports success, with the version that it would have had."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if expected_version is None:
            return super().save_progress(progress, **options)
        before = self.read(progress.model_name)
        self.expect(progress.model_name, expected_version, before)
        try:
            return super().save_progress(progress, expected_version=expected_version, **options)
        except VersionConflictError:
            return self.stamped(progress, before).record
