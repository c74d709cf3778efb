"""Faults that only several clients see."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from pytest_aistorage import AIProgress, VersionConflictError

from .delegating import Change, Delegating, turns_red
from .small import FileOfJSON, Versioned

# Between a read and a write, as long as a round trip: wide enough for every other client to come between.
_GAP = 0.002


@turns_red("other_client_sees_every_change", "racing_reads_and_conditional_saves_are_linearizable")
class StaleReads(Delegating):
    """A client answers out of its own cache."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._cache: dict[str, AIProgress | None] = {}

    def kept(self, record: AIProgress) -> AIProgress:
        self._cache.pop(record.model_name, None)
        return record

    def get_progress(self, model_name: str) -> AIProgress | None:
        if model_name not in self._cache:
            self._cache[model_name] = super().get_progress(model_name)
        return self._cache[model_name]


@turns_red("clients_take_turns")
class CountsVersionsByItself(Delegating):
    """Each client counts the versions that it gave out, as if it were alone."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._given: dict[str, int] = {}

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        version = self._given[saved.model_name] = self._given.get(saved.model_name, 0) + 1
        return dataclasses.replace(saved, version=version)


@turns_red("threads_saving_one_model_take_distinct_versions")
class VersionReadBeforeTheWrite(Delegating):
    """SELECT version, and then INSERT with one more."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        before = self.inner.get_progress(progress.model_name)
        time.sleep(_GAP)
        saved = super().save_progress(progress, **options)
        return dataclasses.replace(saved, version=before.version + 1 if before else 1)


@turns_red("threads_updating_one_model_lose_no_update", "processes_changing_one_model_lose_nothing")
class LosesUpdates(Delegating):
    """Read, change, write, and nothing in between keeps others out."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        current = self.inner.get_progress(model_name)
        result = change(current)
        time.sleep(_GAP)
        return self.inner.save_progress(result)


@turns_red("other_process_sees_the_store")
class StoreOfTheProcess(Delegating):
    """Every process has a store of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url}-{os.getpid()}")


@turns_red("one_of_many_creates")
class ChecksThenSaves(Delegating):
    """A compare-and-set in two steps."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        current = self.inner.get_progress(progress.model_name)
        actual = 0 if current is None else current.version
        if expected_version is not None and expected_version != actual:
            raise VersionConflictError(progress.model_name, expected_version, actual)
        time.sleep(_GAP)
        return super().save_progress(progress, **options)


@turns_red("threads_share_one_client")
class OneStatementAtATime(Delegating):
    """The client keeps what it is about to do in an attribute, which other threads overwrite."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        self._saving = progress
        time.sleep(_GAP)
        return super().save_progress(self._saving, **options)


@turns_red("writers_of_different_models_lose_nothing")
class WritesTheWholeStore(Delegating):
    """Read all, change one, write all: the others' changes are undone."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        others = [r for r in self.inner.load_progress() if r.model_name != progress.model_name]
        time.sleep(_GAP)
        return self.inner.save_many([*others, progress])[-1]


@turns_red("racing_saves_and_deletes_are_linearizable")
class CountsDeletesByItself(Delegating):
    """A delete reports the version after the one that it read before."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        before = self.inner.get_progress(model_name)
        time.sleep(_GAP)
        deleted = super().delete_progress(model_name, expected_version=expected_version)
        return before.version + 1 if before and deleted else deleted


@turns_red("racing_listings_show_one_moment")
class ListsOneByOne(Delegating):
    """The names first, and then each record as it is by then."""

    def load_progress(self) -> list[AIProgress]:
        found = []
        for name in [record.model_name for record in self.inner.load_progress()]:
            time.sleep(_GAP)
            found.append(self.inner.get_progress(name))
        return [record for record in found if record is not None]


@turns_red("racing_batches_are_seen_whole")
class SavesOneByOne(Delegating):
    """A batch is a loop, which others come between."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        saved = []
        for progress in progresses:
            saved.append(self.inner.save_progress(progress))
            time.sleep(_GAP)
        return saved


@turns_red("interrupted_update_loses_no_update")
class WritesAgainBehindAPolledLock(FileOfJSON):
    """Who waits for the lock looks from time to time; what was written under it is written once more after it."""

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        with open(f"{self.path}.lock", "w") as lock:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.05)
            yield

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        after = super().update_progress(model_name, change)
        self.write(model_name, Versioned(after.version, after))
        return after
