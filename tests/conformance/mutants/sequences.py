"""Faults that only a sequence of operations shows: each needs two clients, or three steps, or a return."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar

from pytest_aistorage import AIProgress, Capability, ProgressQuery, VersionConflictError

from .delegating import Change, Delegating, turns_red

_ANY_SEQUENCE = "any_sequence_of_operations_agrees_with_the_specification"


@turns_red(_ANY_SEQUENCE)
class CacheOfOneClient(Delegating):
    """A cache that only the client's own writes invalidate: another's writes are not seen after a read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._cache: dict[str, AIProgress | None] = {}

    def get_progress(self, model_name: str) -> AIProgress | None:
        if model_name not in self._cache:
            self._cache[model_name] = super().get_progress(model_name)
        return self._cache[model_name]

    def kept(self, record: AIProgress) -> AIProgress:
        self._cache.pop(record.model_name, None)
        return record

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        self._cache.pop(model_name, None)
        return super().delete_progress(model_name, **options)

    def expire_now(self, model_name: str) -> bool:
        self._cache.pop(model_name, None)
        return super().expire_now(model_name)


@turns_red(_ANY_SEQUENCE)
class CacheMissesDeletes(Delegating):
    """A cache that every save refreshes and no delete by another client empties."""

    _stores: ClassVar[dict[str, dict[str, AIProgress]]] = defaultdict(dict)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._deleted: set[str] = set()

    def get_progress(self, model_name: str) -> AIProgress | None:
        found = super().get_progress(model_name)
        cache = self._stores[self.url]
        if found is not None:
            cache[model_name] = found
            self._deleted.discard(model_name)
        return found or (None if model_name in self._deleted else cache.get(model_name))

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        self._deleted.add(model_name)
        return version


class SharedMemory(Delegating):
    """Remembers for all clients of a store."""

    _stores: ClassVar[dict[str, dict[str, AIProgress]]] = defaultdict(dict)

    @property
    def gone(self) -> dict[str, AIProgress]:
        """The records as they were when they were deleted."""
        return self._stores[f"{type(self).__name__} {self.url}"]

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        before = self.inner.get_progress(model_name)
        version = super().delete_progress(model_name, **options)
        if before is not None:
            self.gone[model_name] = before
        return version


@turns_red(_ANY_SEQUENCE)
class RebornWithItsOldMetadata(SharedMemory):
    """A delete marks the row, and a save that gives no metadata finds the old in it."""

    def kept(self, record: AIProgress) -> AIProgress:
        old = self.gone.pop(record.model_name, None)
        if old is not None and not record.metadata:
            return dataclasses.replace(record, metadata=old.metadata)
        return record


@turns_red(_ANY_SEQUENCE)
class UpdateMeetsTheDeleted(Delegating):
    """The change gets the record that this client read last, where another has deleted it since."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._read: dict[str, AIProgress] = {}

    def shown(self, record: AIProgress) -> AIProgress:
        self._read[record.model_name] = record
        return record

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        self._read.pop(model_name, None)
        return super().delete_progress(model_name, **options)

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        last = self._read.get(model_name)
        return super().update_progress(model_name, lambda current: change(current or last))


@turns_red(_ANY_SEQUENCE)
class ZeroCreatesOnceMore(SharedMemory):
    """expected_version=0 is compared with a tombstone that a later save does not take away."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        if expected_version == 0 and progress.model_name in self.gone:
            expected_version = None
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red(_ANY_SEQUENCE)
class OldVersionMatchesAfterRebirth(SharedMemory):
    """A compare-and-set takes the version before the delete for the reborn record's."""

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, **options: Any
    ) -> AIProgress:
        before = self.gone.get(progress.model_name)
        current = self.inner.get_progress(progress.model_name)
        if before is not None and current is not None and expected_version == before.version:
            expected_version = current.version
        return super().save_progress(progress, expected_version=expected_version, **options)


@turns_red(_ANY_SEQUENCE)
class BatchRevivesCreatedAt(SharedMemory):
    """created_at of a record that comes back by a batch is the old one's; a save gives a new one."""

    _revived: ClassVar[dict[tuple[str, str], datetime | None]] = {}

    def shown(self, record: AIProgress) -> AIProgress:
        created = self._revived.get((self.url, record.model_name), record.created_at)
        return dataclasses.replace(record, created_at=created)

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        batch = list(progresses)
        for progress in batch:
            name = getattr(progress, "model_name", "")
            if name in self.gone and self.inner.get_progress(name) is None:
                self._revived[self.url, name] = self.gone[name].created_at
        return super().save_many(batch)

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        self._revived.pop((self.url, model_name), None)
        return version


@turns_red(_ANY_SEQUENCE)
class PagesByNumber(Delegating):
    """`after` becomes an offset, looked up in the listing: a place that was deleted is the beginning."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        if query.after is not None and self.inner.get_progress(query.after.model_name) is None:
            query = dataclasses.replace(query, after=None)
        return super().query_progress(query)


@turns_red(_ANY_SEQUENCE)
class PagesByTheCurrentValue(Delegating):
    """`after` is looked up by its name: a place that was changed meanwhile is another place."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        if query.after is not None:
            current = self.inner.get_progress(query.after.model_name)
            query = dataclasses.replace(query, after=current or query.after)
        return super().query_progress(query)


@turns_red(_ANY_SEQUENCE)
class IterationByOffset(Delegating):
    """LIMIT and OFFSET: a delete meanwhile moves all that follow, and one is skipped."""

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        self.inner.iter_progress(batch_size=batch_size)  # checks the batch size

        def pages() -> Iterator[AIProgress]:
            offset = 0
            while page := self.load_progress()[offset : offset + batch_size]:
                yield from page
                offset += batch_size

        return pages()


@turns_red(_ANY_SEQUENCE)
class CountOfTheClient(Delegating):
    """Each client counts the models that it saved and deleted itself."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._count = self.inner.get_storage_info().model_count

    def get_storage_info(self) -> Any:
        return dataclasses.replace(super().get_storage_info(), model_count=self._count)

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        self._count = len(self.inner.load_progress())
        return saved

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        self._count = len(self.inner.load_progress())
        return version


@turns_red(_ANY_SEQUENCE)
class VersionsOfTheClient(Delegating):
    """Each client goes on counting from the version that it saw last."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._seen: dict[str, int] = {}

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        version = self._seen[saved.model_name] = self._seen.get(saved.model_name, saved.version - 1) + 1
        return dataclasses.replace(saved, version=version)


@turns_red(_ANY_SEQUENCE)
class ConflictForgetsTheRecord(Delegating):
    """A delete that conflicts has already removed the name from the index: the record is not listed any more."""

    _hidden: ClassVar[dict[str, set[str]]] = defaultdict(set)

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        try:
            return super().delete_progress(model_name, **options)
        except VersionConflictError:
            self._hidden[self.url].add(model_name)
            raise

    def kept(self, record: AIProgress) -> AIProgress:
        self._hidden[self.url].discard(record.model_name)
        return record

    def load_progress(self) -> list[AIProgress]:
        return [r for r in super().load_progress() if r.model_name not in self._hidden[self.url]]


@turns_red(_ANY_SEQUENCE)
class KeepsWhatItWasGiven(Delegating):
    """The client's cache holds the caller's own metadata, which the caller goes on using."""

    _given: ClassVar[dict[tuple[str, str, int], Any]] = {}

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        self._given[self.url, saved.model_name, saved.version] = progress.metadata
        return saved

    def get_progress(self, model_name: str) -> AIProgress | None:
        found = super().get_progress(model_name)
        if found is None:
            return None
        given = self._given.get((self.url, model_name, found.version), found.metadata)
        return dataclasses.replace(found, metadata=given)


@turns_red(_ANY_SEQUENCE)
class CloseClosesTheNewest(Delegating):
    """Clients share a pool, and the second close of one takes the connection from the others."""

    _open: ClassVar[dict[str, list[Any]]] = defaultdict(list)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._open[url].append(self)

    def close(self) -> None:
        clients = self._open[self.url]
        if self in clients:
            clients.remove(self)
            if len(clients) >= 3:
                clients[-1].inner.close()
        super().close()


@turns_red(_ANY_SEQUENCE)
class ExpiryRestartsVersions(Delegating):
    """Versions outlive a delete, and not an expiry."""

    _counted: ClassVar[dict[tuple[str, str], int]] = defaultdict(int)

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(
            record, version=record.version - self._counted[self.url, record.model_name]
        )

    def expire_now(self, model_name: str) -> bool:
        before = self.inner.get_progress(model_name)
        expired = super().expire_now(model_name)
        if before is not None:
            self._counted[self.url, model_name] = before.version + 1
        return expired


@turns_red(_ANY_SEQUENCE)
class RestartsButSaysOtherwise(Delegating):
    """Needs no VERSIONS_NEVER_REUSED to be wrong: a reborn record begins with version 0."""

    _counted: ClassVar[dict[tuple[str, str], int]] = defaultdict(int)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.capabilities -= {Capability.VERSIONS_NEVER_REUSED}

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(
            record, version=record.version - self._counted[self.url, record.model_name]
        )

    def delete_progress(self, model_name: str, **options: Any) -> int | None:
        version = super().delete_progress(model_name, **options)
        if version is None:
            return None
        before = self._counted[self.url, model_name]
        self._counted[self.url, model_name] = version + 1
        return version - before
