"""JSON documents in a directory, one a file: read and replaced under one lock, each whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_aistorage import CorruptStorageError, OutcomeUnknownError

__all__ = ["Documents"]

_LOCK = "lock"
_JOURNAL = "journal"
_UNFINISHED = "unfinished"


class Documents:
    """A document for each model, in files that are named by the hash of its name: any name is a file's name then.

    Every method but `locked` is to be called under the lock.

    Args:
        path: the directory; it comes into being when it is first used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, and complete the batch of a client that died in it.

        The operating system releases the lock when the process dies. It belongs to the opened file, and each call
        opens the file anew: so it holds off this process's threads as well as other processes.
        """
        if not self.path.is_dir():
            self.path.mkdir(parents=True, exist_ok=True)
            _sync(self.path.parent)
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if (self.path / _JOURNAL).exists():
                self._complete()
            yield
        finally:
            os.close(descriptor)

    def get(self, name: str) -> dict[str, Any]:
        """Return a model's document; empty where there is none.

        Raises:
            CorruptStorageError: the file holds no JSON object.
        """
        return self._read(self._file(name), name)

    def all(self) -> Iterator[dict[str, Any]]:
        """Yield all documents, one at a time, in no order."""
        for file in self.path.glob("*.json"):
            yield self._read(file, file.name)

    def put(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace documents by model name, all or none of them. They survive a loss of power when this returns.

        Raises:
            OutcomeUnknownError: they may have been replaced.
            OSError: they were not.
        """
        if len(documents) == 1:
            ((name, document),) = documents.items()
            self._replace(self._file(name), document)
        elif documents:
            # Who is killed behind this line has written the batch: whoever comes next completes it.
            self._replace(self.path / _JOURNAL, documents)
        try:
            _sync(self.path)
            if len(documents) > 1:
                self._complete()
        except OSError as error:
            raise OutcomeUnknownError(f"{self.path}: {error.strerror or error}") from error

    def _complete(self) -> None:
        """Write what the journal says, over what a client may have written of it, and remove it."""
        journal = self.path / _JOURNAL
        for name, document in self._read(journal, "journal").items():
            self._replace(self._file(name), document)
        _sync(self.path)
        journal.unlink()
        # Or a loss of power would bring it back, over what is written later.
        _sync(self.path)

    def _file(self, name: str) -> Path:
        return self.path / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def _read(self, file: Path, what: str) -> dict[str, Any]:
        try:
            document = json.loads(file.read_bytes())
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise CorruptStorageError(f"{self.path}: {what!r}: no JSON: {error}") from error
        if not isinstance(document, dict):
            raise CorruptStorageError(f"{self.path}: {what!r}: no JSON object")
        return document

    def _replace(self, file: Path, document: Mapping[str, Any]) -> None:
        # One name for all that is unfinished: only who has the lock writes, and who died left it to be overwritten.
        unfinished = self.path / _UNFINISHED
        with open(unfinished, "w", encoding="utf-8") as stream:
            json.dump(document, stream, ensure_ascii=False, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())  # the bytes, before a name leads to them
        os.replace(unfinished, file)


def _sync(directory: Path) -> None:
    """Let the names of the files in a directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
