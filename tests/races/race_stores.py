"""Storages to race on, importable by other processes: file stores that know nothing of races, and broken ones."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.capabilities import Capability
from pytest_aistorage.errors import StorageUnavailableError
from pytest_aistorage.progress import AIProgress
from pytest_aistorage.storage import AIStorage


class RenameStorage(FileStorage):
    """The whole file is written beside the old one and renamed: never torn, and yet it loses updates."""

    def _write(self, records: Any) -> None:
        real = self._path
        unfinished = self._path = real.with_name(f"{real.name}.{os.getpid()}")
        try:
            super()._write(records)
        finally:
            self._path = real
        os.replace(unfinished, real)


class FsyncStorage(RenameStorage):
    """The same, and the new file is on the disk before it takes the old one's name."""

    def _write(self, records: Any) -> None:
        real = self._path
        unfinished = self._path = real.with_name(f"{real.name}.{os.getpid()}")
        try:
            FileStorage._write(self, records)
        finally:
            self._path = real
        with open(unfinished) as file:
            os.fsync(file.fileno())
        os.replace(unfinished, real)


class SlowToWakeStorage(MemoryStorage):
    """Each client's first save, get and listing come too soon for it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._asleep = {"save", "get", "load"}

    def _wake(self, call: str) -> None:
        if call in self._asleep:
            self._asleep.remove(call)
            raise StorageUnavailableError(f"{call}: too soon")

    def _save(self, *arguments: Any) -> AIProgress:
        self._wake("save")
        return super()._save(*arguments)

    def _get(self, *arguments: Any) -> AIProgress | None:
        self._wake("get")
        return super()._get(*arguments)

    def load_progress(self) -> list[AIProgress]:
        """Refuse the first time."""
        self._wake("load")
        return super().load_progress()


class FlockStorage(RenameStorage):
    """The same under one lock from the read to the write: loses nothing."""

    @contextlib.contextmanager
    def _locked(self) -> Any:
        with open(f"{self._path}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _save(self, *arguments: Any) -> AIProgress:
        with self._locked():
            return super()._save(*arguments)

    def _update(self, *arguments: Any) -> AIProgress:
        with self._locked():
            return super()._update(*arguments)


class LockfStorage(FlockStorage):
    """The same with a POSIX record lock."""

    @contextlib.contextmanager
    def _locked(self) -> Any:
        with open(f"{self._path}.lock", "w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            yield


class UnlockedMemoryStorage(MemoryStorage):
    """A planted lost update: the store's lock locks nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._store.lock = contextlib.nullcontext()  # type: ignore[assignment]


class BoastingFileStorage(FileStorage):
    """The naive file, which declares what it can't keep."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.capabilities |= {Capability.LINEARIZABLE, Capability.SURVIVES_CLIENT_CRASH}


class ModestStorage(MemoryStorage):
    """A memory storage that declares nothing, and loses nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.capabilities = frozenset()


class PrivateStorage(MemoryStorage):
    """Says that it is shared between processes, where every client has a store of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities |= {Capability.SHARED_BETWEEN_PROCESSES}


def append(storage: AIStorage, path: str, word: str) -> None:
    """Read a file by one library function and write it by another: no storage of ours has a part in it."""
    file = Path(path)
    file.write_text(json.dumps([*json.loads(file.read_text()), word]))


def write_by_descriptor(storage: AIStorage, path: str, word: str) -> None:
    """Truncate and write without Python's file objects."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, word.encode())
    os.close(descriptor)


def die(storage: AIStorage) -> None:
    """End the process that one is in, as the kernel would for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def raise_key_error(storage: AIStorage) -> None:
    """Fail with what is no error of the package."""
    raise KeyError("resnet")


def raise_what_cannot_be_pickled(storage: AIStorage) -> None:
    """Fail with an error that holds a function."""
    raise ValueError(lambda: None)


def return_a_function(storage: AIStorage) -> Callable[[], None]:
    """Return what can't be pickled."""
    return lambda: None


def pid(storage: AIStorage) -> int:
    """Return the process."""
    return os.getpid()
