"""Storages with one planted fault each, by the anomaly that comes of it; and what to do with them so that it does.

`Sound` has none. Each has a moment, `_gap`, at which something else happens in the middle of an operation: so two
operations overlap in one thread, in the same way each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import struct
from collections.abc import Callable, Sequence
from typing import Any

from pytest_aistorage import AIProgress, CorruptStorageError, OutcomeUnknownError, VersionConflictError
from pytest_aistorage.races.history import Fault, History
from pytest_aistorage.races.recording import RecordingStorage


def record(model: str, mse: float, samples: int = 0) -> AIProgress:
    """A record that is told from others by its mse."""
    return AIProgress(model_name=model, mse=mse, training_samples=samples)


class Sound:
    """Keeps records in a dictionary, and its promises."""

    def __init__(self) -> None:
        self.records: dict[str, AIProgress] = {}
        self.versions: dict[str, int] = {}
        self.meanwhile: Callable[[], Any] | None = None

    def _gap(self) -> None:
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()

    def _current(self, model: str) -> int:
        return self.records[model].version if model in self.records else 0

    def _put(self, progress: AIProgress) -> AIProgress:
        version = self.versions[progress.model_name] = self.versions.get(progress.model_name, 0) + 1
        saved = self.records[progress.model_name] = dataclasses.replace(progress, version=version)
        return saved

    def _check(self, model: str, expected: int | None) -> None:
        if expected not in (None, self._current(model)):
            raise VersionConflictError(model, expected, self._current(model))

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        self._gap()
        self._check(progress.model_name, expected_version)
        return self._put(progress)

    def update_progress(self, model_name: str, change: Callable[[Any], AIProgress]) -> AIProgress:
        """Update it."""
        self._gap()
        return self._put(change(self.records.get(model_name)))

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        """Delete it."""
        self._gap()
        self._check(model_name, expected_version)
        if self.records.pop(model_name, None) is None:
            return None
        self.versions[model_name] += 1
        return self.versions[model_name]

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Get it."""
        return self.records.get(model_name)

    def load_progress(self) -> list[AIProgress]:
        """List all."""
        return [self.records[name] for name in sorted(self.records)]

    def save_many(self, progresses: Sequence[AIProgress]) -> list[AIProgress]:
        """Save a batch."""
        self._gap()
        return [self._put(progress) for progress in progresses]

    def kill(self) -> None:
        """Be killed, and started again."""


class ChecksThenWrites(Sound):
    """Two writers find the same version, and both make the next one of it."""

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        self._check(progress.model_name, expected_version)
        version = self.versions.get(progress.model_name, 0) + 1
        self._gap()
        self.versions[progress.model_name] = version
        saved = self.records[progress.model_name] = dataclasses.replace(progress, version=version)
        return saved


class LaggingReplica(Sound):
    """Reads are answered by a replica that was copied at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.replica: dict[str, AIProgress] | None = None

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Get it."""
        if self.replica is None:
            self.replica = dict(self.records)
        return self.replica.get(model_name)


class TakesTurnsWithReplica(Sound):
    """The replica learns of a save at its end; the first read meanwhile asks the leader, the second the replica."""

    def __init__(self) -> None:
        super().__init__()
        self.replica: dict[str, AIProgress] = {}
        self.reads = 0

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        saved = self._put(progress)
        self._gap()
        self.replica[progress.model_name] = saved
        return saved

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Get it."""
        self.reads += 1
        return (self.records if self.reads % 2 else self.replica).get(model_name)


class CachesValuesForGood(Sound):
    """The version is fresh, and the value is the first that was ever read."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, AIProgress] = {}

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Get it."""
        found = self.records[model_name]
        return dataclasses.replace(self.cache.setdefault(model_name, found), version=found.version)


class RoundsTo32Bits(Sound):
    """A float comes back as one that nobody wrote."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Get it."""
        found = self.records[model_name]
        return dataclasses.replace(found, mse=struct.unpack("f", struct.pack("f", found.mse))[0])


class WritesFieldByField(Sound):
    """Between two fields somebody may read."""

    def _put(self, progress: AIProgress) -> AIProgress:
        model = progress.model_name
        if model not in self.records:
            return super()._put(progress)
        version = self.versions[model] = self.versions[model] + 1
        self.records[model] = dataclasses.replace(self.records[model], mse=progress.mse, version=version)
        self._gap()
        self.records[model] = dataclasses.replace(progress, version=version)
        return self.records[model]

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        return self._put(progress)

    def update_progress(self, model_name: str, change: Callable[[Any], AIProgress]) -> AIProgress:
        """Update it."""
        return self._put(change(self.records.get(model_name)))


class TruncatesThenWrites(Sound):
    """Between emptying and writing nothing can be read."""

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        self.truncated = True
        self._gap()
        self.truncated = False
        return self._put(progress)

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Get it."""
        if getattr(self, "truncated", False):
            raise CorruptStorageError("no JSON")
        return self.records.get(model_name)


class DeletesFromTheLeaderOnly(LaggingReplica):
    """The replica has what was deleted."""


class LosesSaves(Sound):
    """A save is acknowledged, and forgotten."""

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        saved = self._put(progress)
        del self.records[progress.model_name]
        return saved


class ConflictsWithItself(Sound):
    """Every save on a condition is refused, though the version that it met is the one that was asked for."""

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        if expected_version:
            raise VersionConflictError(progress.model_name, expected_version, expected_version)
        return self._put(progress)


class WritesTheWholeStore(Sound):
    """Reads everything, changes one model, writes everything: what others wrote meanwhile is undone."""

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        everything, versions = dict(self.records), dict(self.versions)
        self._gap()
        self.records, self.versions = everything, versions
        return self._put(progress)


class WritesLater(Sound):
    """What was acknowledged is in memory only, until a kill."""

    def __init__(self) -> None:
        super().__init__()
        self.disk: dict[str, AIProgress] | None = None

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        saved = super().save_progress(progress)
        if self.disk is None:
            self.disk = dict(self.records)
        return saved

    def kill(self) -> None:
        """Be killed, and started again."""
        self.records = dict(self.disk or {})


class RetriesOnItsOwn(Sound):
    """Whoever's acknowledgement is lost has the save sent again, behind everybody's back."""

    def save_progress(self, progress: AIProgress, *, expected_version: int | None = None) -> AIProgress:
        """Save it."""
        saved = self._put(progress)
        if saved.version == 2:
            self._put(progress)
            raise OutcomeUnknownError("the acknowledgement was lost")
        return saved


class NeverInvalidates(Sound):
    """A cache in front that is filled once; it says where a read was answered from."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, AIProgress] = {}
        self.answered_from: str | None = None

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Get it."""
        self.answered_from = "cache" if model_name in self.cache else "database"
        return self.cache.setdefault(model_name, self.records[model_name])


class SavesOneByOne(Sound):
    """Between two records of a batch somebody may read."""

    def save_many(self, progresses: Sequence[AIProgress]) -> list[AIProgress]:
        """Save a batch."""
        first = self._put(progresses[0])
        self._gap()
        return [first, *map(self._put, progresses[1:])]


# -- what is done with them ---------------------------------------------------------------------------------


class Stage:
    """Three clients of a store, and the history of what they are told."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.one, self.two, self.three = (RecordingStorage(store, number) for number in (1, 2, 3))
        self.faults: list[Fault] = []

    def history(self) -> History:
        """All that they were told."""
        clients = (self.one, self.two, self.three)
        return History([one for client in clients for one in client.operations], self.faults)


def race_of_conditional_saves(stage: Stage) -> None:
    """Two save on the condition of the same version."""
    stage.one.save_progress(record("m", 0.5))

    def other() -> None:
        stage.two.save_progress(record("m", 0.25), expected_version=1)

    stage.store.meanwhile = other
    with contextlib.suppress(VersionConflictError):
        stage.three.save_progress(record("m", 0.125), expected_version=1)


def race_of_saves(stage: Stage) -> None:
    """Two save."""
    stage.one.save_progress(record("m", 0.5))
    stage.store.meanwhile = lambda: stage.two.save_progress(record("m", 0.25))
    stage.three.save_progress(record("m", 0.125))


def save_and_read(stage: Stage) -> None:
    """A second save, and a read before and after."""
    stage.one.save_progress(record("m", 0.5))
    stage.three.get_progress("m")
    stage.two.save_progress(record("m", 0.1))
    stage.three.get_progress("m")


def read_twice_meanwhile(stage: Stage) -> None:
    """Two reads while somebody saves."""
    stage.one.save_progress(record("m", 0.5))
    stage.store.meanwhile = lambda: [stage.three.get_progress("m") for _ in range(2)]
    stage.two.save_progress(record("m", 0.25))


def read_during_an_update(stage: Stage) -> None:
    """A read while somebody updates two fields."""
    stage.one.save_progress(record("m", 0.5, 1))
    stage.store.meanwhile = lambda: stage.three.get_progress("m")
    stage.two.update_progress("m", lambda now: dataclasses.replace(now, mse=0.25, training_samples=2))


def read_during_a_save(stage: Stage) -> None:
    """A read while somebody saves two fields."""
    stage.one.save_progress(record("m", 0.5, 1))

    def read() -> None:
        with contextlib.suppress(CorruptStorageError):
            stage.three.get_progress("m")

    stage.store.meanwhile = read
    stage.two.save_progress(record("m", 0.25, 2))


def delete_and_read(stage: Stage) -> None:
    """A read after a delete."""
    stage.one.save_progress(record("m", 0.5))
    stage.three.get_progress("m")
    stage.two.delete_progress("m")
    stage.three.get_progress("m")


def save_on_a_condition(stage: Stage) -> None:
    """A save on the condition of the version that is there."""
    stage.one.save_progress(record("m", 0.5))
    with contextlib.suppress(VersionConflictError):
        stage.two.save_progress(record("m", 0.25), expected_version=1)


def race_of_two_models(stage: Stage) -> None:
    """One model is saved while another is, and read afterwards."""
    stage.one.save_progress(record("m", 0.5))
    stage.store.meanwhile = lambda: stage.two.save_progress(record("m", 0.25))
    stage.three.save_progress(record("n", 0.125))
    stage.one.get_progress("m")


def kill_and_read(stage: Stage) -> None:
    """A read after the store was killed."""
    stage.one.save_progress(record("m", 0.5))
    returned = stage.two.save_progress(record("m", 0.25))
    assert returned.version == 2
    moment = stage.two.operations[-1].returned
    assert moment is not None
    stage.store.kill()
    stage.faults.append(Fault("kill", moment + 1))
    stage.three.get_progress("m")


def save_whose_answer_is_lost(stage: Stage) -> None:
    """A save of unknown outcome, and a read."""
    stage.one.save_progress(record("m", 0.5))
    with contextlib.suppress(OutcomeUnknownError):
        stage.two.save_progress(record("m", 0.25))
    stage.three.get_progress("m")


def list_during_a_batch(stage: Stage) -> None:
    """A listing while somebody saves a batch."""
    stage.store.meanwhile = stage.two.load_progress
    stage.one.save_many([record("m", 0.5), record("n", 0.25)])


BROKEN: dict[str, tuple[Callable[[], Any], Callable[[Stage], None]]] = {
    "lost update": (ChecksThenWrites, race_of_conditional_saves),
    "duplicate version": (ChecksThenWrites, race_of_saves),
    "stale read": (LaggingReplica, save_and_read),
    "non-monotonic read": (TakesTurnsWithReplica, read_twice_meanwhile),
    "value came back": (CachesValuesForGood, save_and_read),
    "phantom read": (RoundsTo32Bits, save_and_read),
    "intermediate read": (WritesFieldByField, read_during_an_update),
    "torn read": (WritesFieldByField, read_during_a_save),
    "torn read, unreadable": (TruncatesThenWrites, read_during_a_save),
    "resurrection": (DeletesFromTheLeaderOnly, delete_and_read),
    "vanished record": (LosesSaves, save_and_read),
    "spurious conflict": (ConflictsWithItself, save_on_a_condition),
    "cross-key rollback": (WritesTheWholeStore, race_of_two_models),
    "durability loss": (WritesLater, kill_and_read),
    "took effect twice": (RetriesOnItsOwn, save_whose_answer_is_lost),
    "stale cache": (NeverInvalidates, save_and_read),
    "torn batch": (SavesOneByOne, list_during_a_batch),
}
"""By anomaly: a store that has it, and what shows it."""
