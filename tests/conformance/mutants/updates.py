"""Faults in updates and batches."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, ClassVar

from pytest_aistorage import AIProgress, InvalidProgressError, StorageUnavailableError

from .delegating import Change, Delegating, turns_red


@turns_red("change_of_an_absent_model_gets_none")
class ChangeOfNothingGetsABlank(Delegating):
    """The change of a new model gets an empty record."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        if not callable(change):
            return super().update_progress(model_name, change)
        return super().update_progress(
            model_name, lambda current: change(current or AIProgress(model_name=model_name, mse=0.0))
        )


@turns_red("change_of_an_absent_model_gets_none", by=(StorageUnavailableError,))
class UpdateNeedsARecord(Delegating):
    """An update of what is not there is an error."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        if callable(change) and self.inner.get_progress(model_name) is None:
            raise StorageUnavailableError(f"no model {model_name!r}")
        return super().update_progress(model_name, change)


@turns_red("exception_of_change_propagates_unchanged")
class WrapsTheExceptionOfChange(Delegating):
    """What the change raises is taken for an error of the storage."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except (LookupError, OSError, ValueError) as error:
            raise StorageUnavailableError(str(error)) from error


@turns_red("exception_of_change_propagates_unchanged")
class SwallowsTheExceptionOfChange(Delegating):
    """What the change raises leaves the record as it is, and nobody hears of it."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except LookupError:
            return self.inner.get_progress(model_name) or AIProgress(model_name=model_name, mse=0.0)


@turns_red("exception_of_change_propagates_unchanged")
class TouchesWhenChangeRaises(Delegating):
    """The version is counted up before the change runs, and stays counted."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except LookupError:
            if (current := self.inner.get_progress(model_name)) is not None:
                self.inner.save_progress(current)
            raise


@turns_red("base_exception_of_change_propagates")
class SwallowsBaseExceptions(Delegating):
    """A bare except."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except Exception:
            raise
        except BaseException:
            return self.inner.save_progress(AIProgress(model_name=model_name, mse=0.0))


@turns_red("failed_change_holds_no_lock", by=(StorageUnavailableError,))
class KeepsTheLockWhenChangeRaises(Delegating):
    """The transaction of a failed update stays open, and with it the lock of the row."""

    _locks: ClassVar[dict[str, threading.Lock]] = defaultdict(threading.Lock)

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        if self._locks[self.url].locked():
            raise StorageUnavailableError("the record is locked by a transaction that never ends")
        return super().save_progress(progress, **options)

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        self._locks[self.url].acquire(timeout=1)
        result = super().update_progress(model_name, change)
        self._locks[self.url].release()
        return result


@turns_red("result_that_is_no_record_is_refused")
class NoneLeavesTheRecord(Delegating):
    """A change that returns None is taken to say "leave it"."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        def changed(current: AIProgress | None) -> AIProgress:
            result: AIProgress | None = change(current)
            return result or current or AIProgress(model_name=model_name, mse=0.0)

        return super().update_progress(model_name, changed if callable(change) else change)


@turns_red("result_of_another_model_is_refused")
class ChangeRenames(Delegating):
    """A change that returns another model's record saves that one."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except InvalidProgressError as error:
            if error.field != "model_name" or not isinstance(error.value, str) or not error.value:
                raise
            return self.inner.save_progress(AIProgress(model_name=error.value, mse=0.0))


@turns_red("invalid_result_is_refused")
class ResultOfChangeUnchecked(Delegating):
    """What a change returns is stored as far as it goes."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except InvalidProgressError as error:
            if error.field != "accuracy":
                raise
            return self.inner.save_progress(AIProgress(model_name=model_name, mse=0.0))


@turns_red("batch_is_stored_whole")
class HalfABatch(Delegating):
    """The second half of a batch is acknowledged only."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        saved = super().save_many(progresses)
        for record in saved[len(saved) // 2 + 1 :]:
            self.inner.delete_progress(record.model_name)
        return saved


@turns_red("batch_results_keep_the_order_of_the_input")
class BatchResultsSorted(Delegating):
    """The results come in the order in which the rows were locked."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        return sorted(super().save_many(progresses), key=lambda record: record.model_name)


@turns_red("empty_batch_is_nothing", by=(StorageUnavailableError,))
class EmptyBatchFails(Delegating):
    """INSERT … VALUES without a row is no SQL."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        saved = super().save_many(progresses)
        if not saved:
            raise StorageUnavailableError("syntax error at end of input")
        return saved


@turns_red("batch_may_be_any_iterable", by=(TypeError,))
class BatchNeedsALength(Delegating):
    """The batch is counted before it is read."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, Iterable):
            len(progresses)  # type: ignore[arg-type]  # the fault
        return super().save_many(progresses)


@turns_red("batch_may_be_any_iterable")
class BatchReadsItsInputTwice(Delegating):
    """A generator is used up by the check, and nothing is left to be stored."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, Iterable):
            for _ in progresses:
                pass
        return super().save_many(progresses)


@turns_red("batch_with_a_model_twice_is_refused")
class LastOfTwoWins(Delegating):
    """A batch is a dict by model name."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
            return super().save_many(progresses)
        batch = list(progresses)
        if not all(isinstance(p, AIProgress) for p in batch):
            return super().save_many(batch)
        return super().save_many({p.model_name: p for p in batch}.values())


@turns_red("batch_with_a_bad_record_is_refused")
class SavesWhatIsGood(Delegating):
    """The good records of a batch are stored, and then it is refused."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        try:
            batch = list(progresses)
            return super().save_many(batch)
        except InvalidProgressError:
            for progress in batch:
                try:
                    self.inner.save_progress(progress)
                except InvalidProgressError:
                    continue
            raise


@turns_red("batch_must_be_iterable")
class AnythingIsABatch(Delegating):
    """A single record is taken for a batch of one, and None for an empty one."""

    def save_many(self, progresses: Any) -> list[AIProgress]:
        if progresses is None:
            return []
        return super().save_many([progresses] if isinstance(progresses, AIProgress) else progresses)


@turns_red("nobody_sees_a_part_of_a_batch")
class BatchOneByOne(Delegating):
    """A batch is a loop of saves."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        saved = []
        for progress in progresses:
            saved.append(self.inner.save_progress(progress))
            time.sleep(0.0005)  # as long as a round trip
        return saved


@turns_red("batches_count_versions_like_saves", "every_change_takes_the_next_version")
class BatchReplaces(Delegating):
    """A batch deletes the rows and inserts them anew."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
            return super().save_many(progresses)
        batch = list(progresses)
        for progress in batch:
            if (
                isinstance(progress, AIProgress)
                and isinstance(progress.model_name, str)
                and progress.model_name
            ):
                self.inner.delete_progress(progress.model_name)
        return super().save_many(batch)


@turns_red("batch_is_stored_whole")
class BatchInsertsOnly(Delegating):
    """ON CONFLICT DO NOTHING: a batch leaves known models as they were."""

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
            return super().save_many(progresses)
        known = {record.model_name: record for record in self.inner.load_progress()}
        saved = super().save_many(progresses)
        for record in saved:
            if record.model_name in known:
                self.inner.save_progress(known[record.model_name])
        return [dataclasses.replace(record) for record in saved]
