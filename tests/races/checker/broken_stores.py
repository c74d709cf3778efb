"""Storages with one planted fault each. What is done with them so that it shows: `acts_on_stores`.

`Sound` has none. Each has a moment, `_gap`, at which something else happens in the middle of an operation: so two
operations overlap in one thread, in the same way each time.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Sequence
from typing import Any

from pytest_aistorage import AIProgress, CorruptStorageError, OutcomeUnknownError, VersionConflictError


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
