"""Faults of one way in or out: the other ways are sound."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import copy
import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from pytest_aistorage import AIProgress, ProgressQuery, StorageUnavailableError, VersionConflictError

from .delegating import Change, Delegating, turns_red

# -- out ----------------------------------------------------------------------------------------------------


class OneWayOut(Delegating):
    """Shows records wrongly by one operation only."""

    way: ClassVar[str] = ""

    def wrong(self, record: AIProgress) -> AIProgress:
        """What the operation returns instead."""
        return record

    def _out(self, way: str, record: AIProgress) -> AIProgress:
        return self.wrong(record) if way == self.way else record

    def get_progress(self, model_name: str) -> AIProgress | None:
        record = super().get_progress(model_name)
        return None if record is None else self._out("get", record)

    def load_progress(self) -> list[AIProgress]:
        return [self._out("load", record) for record in super().load_progress()]

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        return (self._out("iterate", record) for record in super().iter_progress(batch_size=batch_size))

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        return [self._out("query", record) for record in super().query_progress(query)]

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        if not callable(change):
            return super().update_progress(model_name, change)
        return self._out(
            "update",
            super().update_progress(
                model_name,
                lambda current: change(None if current is None else self._out("change", current)),
            ),
        )


@turns_red("listings_return_records_exactly", "save_replaces_every_field")
class LoadTakesZeroForNone(OneWayOut):
    """``row.accuracy or None``, in load_progress."""

    way = "load"

    def wrong(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, accuracy=record.accuracy or None)


@turns_red("listings_return_records_exactly")
class IterationStampsTwiceTheSame(OneWayOut):
    """An iteration shows updated_at for created_at."""

    way = "iterate"

    def wrong(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, created_at=record.updated_at)


@turns_red("any_record_goes_every_way", "save_replaces_every_field")
class UpdateReturnsNoScore(OneWayOut):
    """What an update returns is put together by hand, without the score."""

    way = "update"

    def wrong(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, cross_validation_score=None)


@turns_red("any_record_goes_every_way", "moments_come_back_in_utc_to_the_microsecond")
class ChangeGetsMilliseconds(OneWayOut):
    """The record that a change is given comes out of JavaScript."""

    way = "change"

    def wrong(self, record: AIProgress) -> AIProgress:
        start = record.training_start
        if start is None:
            return record
        return dataclasses.replace(
            record, training_start=start.replace(microsecond=start.microsecond // 1000 * 1000)
        )


@turns_red("metadata_keeps_types", "listings_return_records_exactly")
class QueryDropsNulls(OneWayOut):
    """Metadata loses its nulls where a query builds it."""

    way = "query"

    def wrong(self, record: AIProgress) -> AIProgress:
        kept = {key: value for key, value in record.metadata.items() if value is not None}
        return dataclasses.replace(record, metadata=kept)


@turns_red("listings_return_records_exactly")
class IterationReusesItsMetadata(Delegating):
    """One dictionary for all the records of an iteration."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        shared: dict[str, Any] = {}
        for record in super().iter_progress(batch_size=batch_size):
            shared.clear()
            shared.update(record.metadata)
            yield dataclasses.replace(record, metadata=shared)


@turns_red("changing_a_returned_list_does_not_reach_the_store")
class LoadGivesItsCache(Delegating):
    """The list that load_progress returns is the one that it keeps."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._versions: list[tuple[str, int]] = []
        self._cache: list[AIProgress] = []

    def load_progress(self) -> list[AIProgress]:
        records = super().load_progress()
        versions = [(record.model_name, record.version) for record in records]
        if versions != self._versions:
            self._versions, self._cache = versions, records
        return self._cache


# -- in -----------------------------------------------------------------------------------------------------


class OneWayIn(Delegating):
    """Keeps records wrongly by one operation only; knows what was there before."""

    way: ClassVar[str] = ""

    def wrong(self, record: AIProgress, before: AIProgress | None) -> AIProgress:
        """What the operation stores instead."""
        return record

    def _in(self, way: str, progress: Any) -> Any:
        if way != self.way or not isinstance(progress, AIProgress):
            return progress
        try:
            before = self.inner.get_progress(progress.model_name)
        except Exception:
            return progress  # a bad name, which the good storage refuses
        return self.wrong(progress, before)

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        return super().save_progress(self._in("save", progress), **options)

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
            return super().save_many(progresses)
        return super().save_many([self._in("batch", progress) for progress in progresses])

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        if not callable(change) or self.way != "update":
            return super().update_progress(model_name, change)

        def changed(current: AIProgress | None) -> Any:
            before = copy.deepcopy(current)
            result = change(current)
            return self.wrong(result, before) if isinstance(result, AIProgress) else result

        return super().update_progress(model_name, changed)


@turns_red("metadata_is_replaced_not_merged", "any_record_goes_every_way")
class BatchMergesMetadata(OneWayIn):
    """jsonb ``||`` in the statement of a batch."""

    way = "batch"

    def wrong(self, record: AIProgress, before: AIProgress | None) -> AIProgress:
        if before is None or not isinstance(record.metadata, dict):
            return record
        return dataclasses.replace(record, metadata={**before.metadata, **record.metadata})


@turns_red("save_replaces_every_field", "any_record_goes_every_way")
class UpdateCoalesces(OneWayIn):
    """COALESCE: an update can't take a value away."""

    way = "update"

    def wrong(self, record: AIProgress, before: AIProgress | None) -> AIProgress:
        if before is None or record.training_samples is not None:
            return record
        return dataclasses.replace(record, training_samples=before.training_samples)


@turns_red("save_replaces_every_field")
class KeepsTheBetterScore(OneWayIn):
    """GREATEST: a save can't make the accuracy worse."""

    way = "save"

    def wrong(self, record: AIProgress, before: AIProgress | None) -> AIProgress:
        new, old = record.accuracy, None if before is None else before.accuracy
        if not isinstance(new, float) or old is None:
            return record
        return dataclasses.replace(record, accuracy=max(new, old))


@turns_red("result_of_change_is_stored_not_its_argument")
class StoresWhatChangeWasGiven(Delegating):
    """A change that alters its argument is taken to mean that."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        if not callable(change):
            return super().update_progress(model_name, change)

        def changed(current: AIProgress | None) -> AIProgress:
            before = copy.deepcopy(current)
            result: AIProgress = change(current)
            return result if current is None or before == current else current

        return super().update_progress(model_name, changed)


@turns_red("any_record_goes_every_way")
class TakesMetadataApart(Delegating):
    """The caller's own dictionary is emptied while it is written."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        if isinstance(progress.metadata, dict):
            progress.metadata.clear()
        return saved


@turns_red("any_query_agrees_with_the_specification")
class TakesTheQueryApart(Delegating):
    """The conditions on metadata are popped one by one: asked again, the query asks for less."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        found = super().query_progress(query)
        if isinstance(query.metadata, dict):
            query.metadata.clear()
        return found


# -- keys and names -----------------------------------------------------------------------------------------


def _keys(change: Callable[[str], str | None]) -> Callable[[Delegating, AIProgress], AIProgress]:
    def kept(self: Delegating, record: AIProgress) -> AIProgress:
        metadata = {new: value for key, value in record.metadata.items() if (new := change(key)) is not None}
        return dataclasses.replace(record, metadata=metadata)

    return kept


@turns_red("metadata_keeps_every_key")
class KeysCutAt64(Delegating):
    """A column of 64 characters for the key."""

    kept = _keys(lambda key: key[:64])


@turns_red("metadata_keeps_every_key")
class PrivateKeysDropped(Delegating):
    """Keys that begin with an underscore are the store's own."""

    kept = _keys(lambda key: None if key.startswith("_") else key)


@turns_red("metadata_keeps_every_key")
class DotsInKeysReplaced(Delegating):
    """Old document stores know no dots in keys."""

    kept = _keys(lambda key: key.replace(".", "\uff0e"))


@turns_red("delete_takes_exactly_that_name")
class DeletesByPattern(Delegating):
    """Redis' KEYS, or GLOB: the name is a pattern."""

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        taken = super().delete_progress(model_name, expected_version=expected_version)
        if taken is not None:
            for record in self.inner.load_progress():
                if fnmatch.fnmatchcase(record.model_name, model_name):
                    self.inner.delete_progress(record.model_name)
        return taken


# -- what a change raises -----------------------------------------------------------------------------------


@turns_red("exception_of_change_propagates_unchanged")
class RetriesTheConflictOfChange(Delegating):
    """A conflict that the change raises is taken for the storage's own, and tried again until it gives up."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        for _ in range(3):
            try:
                return super().update_progress(model_name, change)
            except VersionConflictError:
                continue
        raise StorageUnavailableError("too many others write")


@turns_red("exception_of_change_propagates_unchanged")
class GivesTheExceptionACause(Delegating):
    """The same object comes out, with a cause from inside."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except LookupError as error:
            raise error from RuntimeError("rolled back")


@turns_red("base_exception_of_change_propagates")
class InterruptIsUnavailable(Delegating):
    """Ctrl-C in a change is taken for a lost connection."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        try:
            return super().update_progress(model_name, change)
        except KeyboardInterrupt as error:
            raise StorageUnavailableError("interrupted") from error


@turns_red("other_client_sees_every_change")
class QueriesAReplica(Delegating):
    """Queries show what was there before the last save of another client."""

    _before: ClassVar[dict[tuple[str, str], tuple[object, AIProgress | None]]] = {}

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        before = self.inner.get_progress(progress.model_name)
        saved = super().save_progress(progress, **options)
        self._before[self.url, saved.model_name] = (self, before)
        return saved

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        shown = []
        for record in super().query_progress(query):
            writer, before = self._before.get((self.url, record.model_name), (self, None))
            shown.append(record if writer is self or before is None else before)
        return shown
