"""Faults that show when a client or a server is killed, or when many race."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from pytest_aistorage import AIProgress, StorageUnavailableError
from pytest_aistorage.conformance.hosting import Hosted

from . import interleavings
from .delegating import Delegating, turns_red
from .small import NEVER, Change, DictStorage, FileOfJSON, SQLiteStorage, Versioned, document

_READABLE = "killed_client_leaves_everything_readable"
_LOCK = "killed_client_leaves_no_lock_behind"
_BATCH = "killed_client_leaves_its_batch_whole_or_absent"
_WRITER = "killed_writer_loses_nothing_acknowledged"
_SERVER = "killed_server_loses_nothing_acknowledged"
_ERRORS = "client_outlives_its_server"
_POWER = "power_loss_loses_nothing_acknowledged"

turns_red(_READABLE)(interleavings.WrittenInPlace)
turns_red(_BATCH)(interleavings.TransactionPerRecord)


# -- a client -----------------------------------------------------------------------------------------------


@turns_red(_LOCK)
class LockFileLeftBehind(FileOfJSON):
    """The lock is a file that exists; whoever dies leaves it there, and the others wait for it for ever."""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        while True:
            try:
                os.close(os.open(f"{self.path}.held", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                time.sleep(0.001)
        try:
            yield
        finally:
            os.unlink(f"{self.path}.held")


@turns_red(_LOCK)
class GivesUpOnTheLockFile(FileOfJSON):
    """The same, with an error after a while instead of the wait."""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        for _ in range(200):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(f"{self.path}.held", os.O_CREAT | os.O_EXCL))
                break
            time.sleep(0.001)
        else:
            raise StorageUnavailableError("the lock is held")
        try:
            yield
        finally:
            os.unlink(f"{self.path}.held")


@turns_red(_LOCK)
class TemporaryFileMustBeNew(FileOfJSON):
    """The unfinished file of one that died is in the way of the next."""

    def write_all(self, models: dict[str, Versioned]) -> None:
        unfinished = self.path.with_suffix(".tmp")
        with open(unfinished, "x") as file:
            json.dump({name: document(state) for name, state in models.items()}, file)
        unfinished.replace(self.path)


@turns_red(_LOCK)
class BusyMark(SQLiteStorage):
    """Who writes marks the store as busy, in a transaction of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        with self.turn:
            self.connection.execute("CREATE TABLE IF NOT EXISTS busy (who INTEGER PRIMARY KEY)")

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        with self.exclusive():
            if self.connection.execute("SELECT who FROM busy").fetchone():
                raise StorageUnavailableError("somebody else is writing")
            self.connection.execute("INSERT INTO busy VALUES (1)")
        try:
            return super().save_progress(progress, **options)
        finally:
            with self.exclusive():
                self.connection.execute("DELETE FROM busy")


@turns_red(_READABLE)
class RemovesTheOldFileFirst(FileOfJSON):
    """The old file is removed, then the new one takes its name."""

    def write_all(self, models: dict[str, Versioned]) -> None:
        unfinished = self.path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps({name: document(state) for name, state in models.items()}))
        self.path.unlink(missing_ok=True)
        unfinished.rename(self.path)


@turns_red(_READABLE)
class VersionsInAFileOfTheirOwn(FileOfJSON):
    """Records and versions are two files, written one after the other."""

    def read_all(self) -> dict[str, Versioned]:
        found = super().read_all()
        with contextlib.suppress(FileNotFoundError):
            versions = json.loads(self.path.with_suffix(".versions").read_text())
            return {
                name: Versioned(versions.get(name, state.version), state.record)
                for name, state in found.items()
            }
        return found

    def write_all(self, models: dict[str, Versioned]) -> None:
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({name: state.version for name, state in models.items()}))
        unfinished.replace(self.path.with_suffix(".versions"))
        super().write_all(models)

    def get_progress(self, model_name: str) -> AIProgress | None:
        with self.exclusive():
            state = self.read(model_name)
        if state.record is not None and state.record.version != state.version:
            raise ValueError(f"{model_name}: the files don't fit")
        return state.record


@turns_red(_READABLE)
class DeletedThenInserted(SQLiteStorage):
    """DELETE and INSERT in two transactions: who dies between them takes the record along."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        with self.exclusive():
            before = self.read(model_name)
            after = self.stamped(change(before.record), before)
            self.write(model_name, Versioned(before.version))
        with self.exclusive():
            self.write(model_name, after)
        return after.record


@turns_red(_BATCH)
class BatchRecordByRecord(FileOfJSON):
    """A batch writes the whole file once for each record, all under one lock."""

    def save_many(self, progresses: Any) -> list[AIProgress]:
        return super(FileOfJSON, self).save_many(progresses)


@turns_red(_WRITER, _SERVER)
class BufferedUntilClose(SQLiteStorage):
    """Saves are acknowledged at once and written when the client closes."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.buffer: dict[str, Versioned] = {}

    def read(self, name: str) -> Versioned:
        return self.buffer.get(name) or super().read(name)

    def write(self, name: str, state: Versioned) -> None:
        self.buffer[name] = state

    def close(self) -> None:
        with self.exclusive():
            for name, state in self.buffer.items():
                super().write(name, state)
        super().close()


@turns_red(_WRITER, _SERVER)
class WritesEveryTenth(SQLiteStorage):
    """A write-behind that commits ten saves at a time, and acknowledges each at once."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.waiting: dict[str, Versioned] = {}
        self.count = 0

    def read(self, name: str) -> Versioned:
        return self.waiting.get(name) or super().read(name)

    def write(self, name: str, state: Versioned) -> None:
        self.waiting[name] = state
        self.count += 1
        if self.count % 10 == 0:
            for waiting, last in self.waiting.items():
                super().write(waiting, last)
            self.waiting.clear()


# -- a server -----------------------------------------------------------------------------------------------


@turns_red(_POWER)
class AcknowledgedBeforeTheDisk(SQLiteStorage):
    """A save is acknowledged when the operating system has it, whose own time it is to write it to the disk."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        with self.turn:
            self.connection.execute("PRAGMA synchronous = OFF")


class _DriversErrors(Hosted):
    """What its clients meet is the driver's."""

    def report_down(self) -> Any:
        raise ConnectionRefusedError("connection refused")

    report_lost = report_down


@turns_red(_ERRORS)
class DriverErrorOfADeadServer(Delegating):
    """While the server is down, the driver's own error gets out."""

    scheme = "sqlite"
    crashable: ClassVar[type[Hosted]] = _DriversErrors


class _NeverAgain(Hosted):
    """Its clients keep the connection that they had."""

    down = False

    def call(self, call: Any) -> Any:
        if self.down:
            self.report_down()
        return super().call(call)

    def kill(self) -> None:
        self.down = True
        super().kill()


@turns_red(_ERRORS)
class NeverConnectsAgain(Delegating):
    """A client whose server was restarted goes on failing until it is opened anew."""

    scheme = "sqlite"
    crashable: ClassVar[type[Hosted]] = _NeverAgain


# -- many at once -------------------------------------------------------------------------------------------


@turns_red("racing_saves_of_one_model_are_all_kept", "racing_updates_are_all_counted")
class SleepsBetweenReadAndWrite(DictStorage):
    """No lock, and the round trip that a network would take."""

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def read(self, name: str) -> Versioned:
        found = self.models.get(name, NEVER)
        time.sleep(0.001)
        return found


@turns_red("racing_saves_of_many_models_are_all_kept")
class CopiesTheWholeStore(DictStorage):
    """A save copies the store, changes the copy, and puts it in the place of what is there by then."""

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def write(self, name: str, state: Versioned) -> None:
        copy = {**self.models, name: state}
        time.sleep(0.001)
        self.models.clear()
        self.models.update(copy)
