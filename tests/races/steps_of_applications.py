"""Functions of an application, one client each, importable by other processes; and storages that they are given."""

from __future__ import annotations

import dataclasses
import fcntl
import os
from collections.abc import Iterator
from typing import Any

from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.capabilities import Capability
from pytest_aistorage.progress import AIProgress, ProgressQuery
from pytest_aistorage.storage import AIStorage

MODEL = "resnet"


def start(storage: Any) -> None:
    """Save a counter at 0."""
    storage.save_progress(AIProgress(model_name=MODEL, mse=0.5, training_samples=0))


def one_more(current: AIProgress | None) -> AIProgress:
    """The record, counted up."""
    if current is None:
        return AIProgress(model_name=MODEL, mse=0.5, training_samples=1)
    return dataclasses.replace(current, training_samples=(current.training_samples or 0) + 1)


def count_in_two_steps(storage: Any) -> None:
    """Count up by a get and a save: the planted lost update."""
    storage.save_progress(one_more(storage.get_progress(MODEL)))


def count_in_one_step(storage: Any) -> None:
    """Count up by one read-modify-write."""
    storage.update_progress(MODEL, one_more)


def count_if_unchanged(storage: Any) -> None:
    """Count up by a compare-and-set, once: the second of two that overlap raises VersionConflictError."""
    current = storage.get_progress(MODEL)
    storage.save_progress(one_more(current), expected_version=current.version)


def count_under_a_lock(storage: Any, path: str) -> None:
    """Count up by a get and a save, under a lock of the application's own."""
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        count_in_two_steps(storage)


def delete_and_save(storage: Any) -> None:
    """Delete the model, and begin anew."""
    storage.delete_progress(MODEL)
    start(storage)


def save_and_delete(storage: Any) -> None:
    """Leave nothing."""
    start(storage)
    storage.delete_progress(MODEL)


def only_get(storage: Any) -> AIProgress | None:
    """Get the model."""
    return storage.get_progress(MODEL)


def call_everything(storage: Any) -> list[str]:
    """Call each method once; two models are there in the end."""
    start(storage)
    storage.save_many([AIProgress(model_name="bert", mse=0.5)])
    storage.get_progress(MODEL)
    storage.update_progress(MODEL, one_more)
    storage.query_progress(ProgressQuery(limit=1))
    storage.health_check()
    names = [record.model_name for record in storage.iter_progress()]
    storage.load_progress()
    storage.delete_progress(MODEL)
    with storage:
        storage.close()
    return names


def names_one_by_one(storage: Any) -> list[str]:
    """List the models, each fetched for itself."""
    return [record.model_name for record in storage.iter_progress(batch_size=1)]


def delete_vit(storage: Any) -> None:
    """Delete another model."""
    storage.delete_progress("vit")


def get_three_times(storage: Any) -> None:
    """Get the model three times."""
    for _ in range(3):
        storage.get_progress(MODEL)


def raise_key_error(storage: Any) -> None:
    """Fail with what is no storage's error."""
    storage.get_progress(MODEL)
    raise KeyError("epoch")


def kill_oneself(storage: Any) -> None:
    """End as by the kernel's hand."""
    storage.get_progress(MODEL)
    os.kill(os.getpid(), 9)


def counted_twice(storage: Any) -> None:
    """Both were counted."""
    kept = storage.get_progress(MODEL).training_samples
    assert kept == 2, f"{kept} of 2 kept"


class StaleMemoryStorage(MemoryStorage):
    """A planted stale read: what another client has written last is not seen yet, but what was there before it."""

    def _get(self, model_name: str) -> AIProgress | None:
        writer, before = _last_writes.get(model_name, (self, None))
        return super()._get(model_name) if writer is self or before is None else before

    def _save(self, *arguments: Any) -> AIProgress:
        _last_writes[arguments[0].model_name] = self, super()._get(arguments[0].model_name)
        return super()._save(*arguments)


_last_writes: dict[str, tuple[AIStorage, AIProgress | None]] = {}


class ForgetfulMemoryStorage(MemoryStorage):
    """Begins at version 1 again where a model is saved after a delete, and says so."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.capabilities -= {Capability.VERSIONS_NEVER_REUSED}

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        version = super()._delete(model_name, expected)
        if version is not None:
            del self._store.slots[model_name]
        return version


class PlainStorage:
    """No storage of ours, and no version: a dictionary behind methods of its own choosing."""

    def __init__(self) -> None:
        self.records = {"a": 1}

    def read_epoch(self, name: str) -> int | None:
        """Return a record."""
        return self.records.get(name)

    def iter_progress(self) -> Iterator[str]:
        """Yield the names."""
        yield from self.records
