"""Faults that only a read around the storage shows: each storage answers as if nothing were wrong."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from pytest_aistorage import AIProgress, VersionConflictError

from .delegating import Change, Delegating, turns_red


class Buffered(Delegating):
    """Keeps writes in the process, and lets the store have them before anything else is done."""

    _pending: ClassVar[dict[str, list[Callable[[], Any]]]] = defaultdict(list)

    def flush(self) -> None:
        """Write what is pending."""
        pending, self._pending[self.url] = self._pending[self.url], []
        for write in pending:
            write()

    def get_progress(self, model_name: str) -> AIProgress | None:
        self.flush()
        return super().get_progress(model_name)

    def load_progress(self) -> list[AIProgress]:
        self.flush()
        return super().load_progress()

    def iter_progress(self, **options: Any) -> Any:
        self.flush()
        return super().iter_progress(**options)

    def query_progress(self, query: Any) -> list[AIProgress]:
        self.flush()
        return super().query_progress(query)

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        self.flush()
        return super().save_progress(progress, **options)

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        self.flush()
        return super().save_many(progresses)

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        self.flush()
        return super().update_progress(model_name, change)

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        self.flush()
        return super().delete_progress(model_name, **options)

    def expire_now(self, model_name: str) -> bool:
        self.flush()
        return super().expire_now(model_name)

    def close(self) -> None:
        self.flush()
        super().close()

    def back(self, before: AIProgress | None, saved: AIProgress) -> None:
        """Let the store look as it did, until the next flush."""
        name = saved.model_name
        if before is None:
            self.inner.delete_progress(name)
        else:
            self.inner.save_progress(before)
        self._pending[self.url].append(lambda: self.inner.save_progress(saved))


@turns_red(
    "saved_record_is_stored_when_the_save_returns",
    "any_record_is_stored_as_it_was_given",
    "any_sequence_of_writes_is_stored_as_acknowledged",
)
class WriteBehind(Buffered):
    """A save is acknowledged out of a buffer."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        self.flush()
        before = self.inner.get_progress(progress.model_name)
        saved = super().save_progress(progress, **options)
        self.back(before, saved)
        return saved


@turns_red("update_is_stored_when_it_returns")
class UpdatesAreWrittenBehind(Buffered):
    """An update is acknowledged out of a buffer; a save is not."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        self.flush()
        before = self.inner.get_progress(model_name)
        saved = super().update_progress(model_name, change)
        self.back(before, saved)
        return saved


@turns_red("batch_is_stored_when_it_returns")
class LastOfTheBatchIsWrittenBehind(Buffered):
    """A batch is written in parts, and its rest with the next operation."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        self.flush()
        saved = super().save_many(progresses)
        if len(saved) > 3:
            self.back(None, saved[-1])
        return saved


@turns_red("delete_leaves_no_record_behind", "any_sequence_of_writes_is_stored_as_acknowledged")
class DeletesAreWrittenBehind(Buffered):
    """A delete is acknowledged, and the row goes with the next operation."""

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        self.flush()
        before = self.inner.get_progress(model_name)
        version = super().delete_progress(model_name, **options)
        if version is not None and before is not None:
            self.inner.save_progress(before)
            self._pending[self.url].append(lambda: self.inner.delete_progress(model_name))
        return version


@turns_red("delete_leaves_no_record_behind")
class DeletesWhatLooksAlike(Buffered):
    """DELETE … WHERE LOWER(model_name) = …; a cache answers for the others until the store is asked again."""

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        for other in self.inner.load_progress():
            if other.model_name.casefold() == model_name.casefold():
                self.inner.delete_progress(other.model_name)
                self._pending[self.url].append(lambda kept=other: self.inner.save_progress(kept))
        return version


@turns_red("refused_write_leaves_what_is_stored")
class ConflictIsFoundTooLate(Buffered):
    """The row is written before its version is compared, and mended with the next operation."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        self.flush()
        before = self.inner.get_progress(progress.model_name)
        try:
            return super().save_progress(progress, **options)
        except VersionConflictError:
            if before is not None:
                self.inner.save_progress(progress)
                self._pending[self.url].append(lambda: self.inner.save_progress(before))
            raise


@turns_red("any_record_is_stored_as_it_was_given", "saved_record_is_stored_when_the_save_returns")
class KeepsMetadataInTheClient(Delegating):
    """What the column can't hold stays in the process, which hands it out again."""

    _metadata: ClassVar[dict[tuple[str, str], Any]] = {}

    def kept(self, record: AIProgress) -> AIProgress:
        self._metadata[self.url, record.model_name] = record.metadata
        return dataclasses.replace(record, metadata={})

    def shown(self, record: AIProgress) -> AIProgress:
        metadata = self._metadata.get((self.url, record.model_name), {})
        return dataclasses.replace(record, metadata=metadata)
