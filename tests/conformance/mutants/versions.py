"""Faults in versions, moments, compare-and-set and deletes."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pytest_aistorage import AIProgress, VersionConflictError

from .delegating import Change, Delegating, turns_red


@turns_red("first_version_is_one", "every_change_takes_the_next_version")
class VersionsFromZero(Delegating):
    """Counts from 0."""

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, version=record.version - 1)


@turns_red("every_change_takes_the_next_version")
class UpdateTakesTwoVersions(Delegating):
    """An update is a delete and an insert."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        super().update_progress(model_name, change)
        return super().update_progress(model_name, change)


@turns_red("reads_take_no_version")
class ReadsTouch(Delegating):
    """A get writes the time of the last access."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        record = super().get_progress(model_name)
        return record and self.inner.save_progress(record)


@turns_red("models_count_versions_apart")
class OneCounterForAll(Delegating):
    """One sequence for all models."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        for other in self.inner.load_progress():
            if other.model_name != saved.model_name:
                self.inner.save_progress(other)
        return saved


@turns_red("stamps_in_the_input_are_ignored")
class TakesTheInputsVersion(Delegating):
    """The version is the caller's."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        return dataclasses.replace(saved, version=progress.version or saved.version)


@turns_red("delete_takes_the_next_version")
class DeleteReturnsTheOldVersion(Delegating):
    """A delete reports the version of the record that it deleted."""

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        return None if version is None else version - 1


@turns_red("versions_go_on_after_a_delete", "reborn_model_is_not_taken_for_the_old_one")
class VersionsRestart(Delegating):
    """The version lives in the record, and goes with it."""

    _counted: ClassVar[dict[tuple[str, str], int]] = defaultdict(int)

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(
            record, version=record.version - self._counted[self.url, record.model_name]
        )

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if expected_version:
            expected_version += self._counted[self.url, progress.model_name]
        return super().save_progress(progress, expected_version=expected_version, **options)

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        if version is None:
            return None
        before = self._counted[self.url, model_name]
        self._counted[self.url, model_name] = version
        return version - before


@turns_red("versions_go_on_after_a_delete_and_close")
class VersionsOfTheDeletedInMemory(VersionsRestart):
    """The versions of deleted models are kept by the client, and go with it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._last: dict[tuple[str, str], int] = {}

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = Delegating.delete_progress(self, model_name, **options)
        if version is not None:
            self._last[self.url, model_name] = version
        return version

    def close(self) -> None:
        super().close()
        self._counted.update(self._last)


@turns_red("created_at_stays")
class CreatedAtMoves(Delegating):
    """INSERT OR REPLACE: every save makes a new row."""

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, created_at=record.updated_at)


@turns_red("created_at_is_new_after_a_delete")
class CreatedAtOutlivesTheRecord(Delegating):
    """A delete only hides the row."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._created: dict[str, datetime | None] = {}

    def shown(self, record: AIProgress) -> AIProgress:
        created = self._created.setdefault(record.model_name, record.created_at)
        return dataclasses.replace(record, created_at=created)


@turns_red("updated_at_moves_on")
class UpdatedAtStays(Delegating):
    """updated_at has a default, and no trigger."""

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, updated_at=record.created_at)


@turns_red("updated_at_never_decreases")
class UpdatedAtGoesBack(Delegating):
    """Clients with clocks of their own."""

    def shown(self, record: AIProgress) -> AIProgress:
        assert record.updated_at is not None
        off = timedelta(seconds=record.version % 3)
        return dataclasses.replace(record, updated_at=record.updated_at - off)


@turns_red("moments_are_now_in_utc")
class LocalMoments(Delegating):
    """The server's local time is taken for UTC."""

    def shown(self, record: AIProgress) -> AIProgress:
        assert record.updated_at is not None
        return dataclasses.replace(record, updated_at=record.updated_at + timedelta(hours=2))


@turns_red("matching_version_saves", by=(VersionConflictError,))
class AlwaysConflicts(Delegating):
    """The version is compared with the one after it."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if expected_version:
            expected_version += 1
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red(
    "other_version_conflicts", "absent_model_conflicts", "deleted_model_conflicts", "clients_take_turns"
)
class IgnoresTheVersion(Delegating):
    """A compare-and-set that only sets."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        return super().save_progress(progress, **options)


@turns_red("other_version_conflicts")
class OlderVersionsOnly(Delegating):
    """A compare-and-set with <= instead of =: a version from the future matches."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        try:
            return super().save_progress(progress, expected_version=expected_version, **options)
        except VersionConflictError as conflict:
            if conflict.expected < conflict.actual:
                raise
            return super().save_progress(progress, **options)


@turns_red("other_version_conflicts")
class WritesBeforeItConflicts(Delegating):
    """The conflict is raised after the record was written."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        try:
            return super().save_progress(progress, expected_version=expected_version, **options)
        except VersionConflictError:
            super().save_progress(progress, **options)
            raise


@turns_red("zero_creates", by=(VersionConflictError,))
class ZeroIsNoVersion(Delegating):
    """expected_version=0 is compared with the version that a new model would get."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if expected_version == 0:
            raise VersionConflictError(progress.model_name, 0, 1)
        return super().save_progress(progress, expected_version=expected_version, **options)


class RemembersDeletes(Delegating):
    """Knows the version that each delete took."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.deleted: dict[str, int] = {}

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        if version is not None:
            self.deleted[model_name] = version
        return version


@turns_red("zero_creates_after_a_delete", by=(VersionConflictError,))
class TombstoneBlocksCreation(RemembersDeletes):
    """expected_version=0 means "was never there"."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if expected_version == 0 and progress.model_name in self.deleted:
            raise VersionConflictError(progress.model_name, 0, self.deleted[progress.model_name])
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red("deleted_model_conflicts")
class TombstoneMatches(RemembersDeletes):
    """The version that a delete took is taken for a record's."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if expected_version is not None and expected_version == self.deleted.get(progress.model_name):
            expected_version = 0
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red("absent_model_conflicts")
class AbsentMatchesAnything(Delegating):
    """UPDATE … WHERE version = …, and an INSERT where that met no row."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if self.inner.get_progress(progress.model_name) is None:
            expected_version = None
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red("conflict_takes_no_version")
class ConflictTakesAVersion(Delegating):
    """The version is counted up before it is compared."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        try:
            return super().save_progress(progress, **options)
        except VersionConflictError:
            if (current := self.inner.get_progress(progress.model_name)) is not None:
                self.inner.save_progress(current)
            raise


@turns_red("delete_removes_the_record")
class LosesDeletes(Delegating):
    """A delete is acknowledged, and undone."""

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        record = self.inner.get_progress(model_name)
        version = super().delete_progress(model_name, **options)
        if record is not None:
            self.inner.save_progress(record)
        return version


@turns_red("delete_removes_the_record")
class ListsTheDeleted(RemembersDeletes):
    """The index keeps the name of a deleted model."""

    def load_progress(self) -> list[AIProgress]:
        gone = [AIProgress(model_name=name, mse=0.0) for name in self.deleted]
        return sorted([*super().load_progress(), *gone], key=lambda record: record.model_name)


@turns_red("delete_of_nothing_returns_none")
class DeleteOfNothingReturnsZero(Delegating):
    """A delete returns a count of rows."""

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        return super().delete_progress(model_name, **options) or 0


@turns_red("delete_of_nothing_takes_no_version")
class DeleteOfNothingCounts(Delegating):
    """A delete counts the version up before it looks."""

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        if version is None:
            self.inner.save_progress(AIProgress(model_name=model_name, mse=0.0))
            self.inner.delete_progress(model_name)
        return version


@turns_red("delete_with_matching_version")
class DeleteWithAVersionDoesNothing(Delegating):
    """A delete with a version reports success, and matches no row."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        record = self.inner.get_progress(model_name)
        if expected_version and record is not None and record.version == expected_version:
            return expected_version + 1
        return super().delete_progress(model_name, expected_version=expected_version)


@turns_red("delete_with_other_version_conflicts", "delete_of_nothing_with_a_version_conflicts")
class DeleteIgnoresTheVersion(Delegating):
    """A delete that does not compare."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        return super().delete_progress(model_name)


@turns_red("other_version_conflicts", "conflict_names_a_record_that_can_be_read")
class ConflictReportsAnother(Delegating):
    """The conflict reports the version that the save would have taken."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        try:
            return super().save_progress(progress, **options)
        except VersionConflictError as conflict:
            raise VersionConflictError(
                conflict.model_name, conflict.expected, conflict.actual + 1
            ) from conflict
