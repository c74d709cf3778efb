"""One JSON document on disk: read and replaced under a lock, whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_aistorage import CorruptStorageError, StorageUnavailableError

__all__ = ["Document"]


class Document:
    """A JSON object in a file.

    Args:
        path: the file. The lock lies beside it, as ``.lock``, and stays.
        timeout: seconds to wait for the lock.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._lock = path.with_name(f"{path.name}.lock")
        self._timeout = timeout

    @contextlib.contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock, which spans from reading to writing.

        The operating system releases it when the process dies. It belongs to the opened file, and each call opens
        the file anew: so it holds off the threads of this process as well as other processes.

        Args:
            shared: let other readers in.

        Raises:
            StorageUnavailableError: others held it for the whole timeout.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = time.monotonic() + self._timeout
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                    break
                if time.monotonic() > deadline:
                    raise StorageUnavailableError(f"{self.path}: locked by others for {self._timeout:g} s")
                time.sleep(0.0005)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> dict[str, Any]:
        """Return the document, or an empty one where there is no file; under the lock.

        Raises:
            CorruptStorageError: the file holds something else.
        """
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise CorruptStorageError(f"{self.path}: no JSON: {error}") from error
        if not isinstance(document, dict):
            raise CorruptStorageError(
                f"{self.path}: a JSON {type(document).__name__} where an object should be"
            )
        return document

    def replace(self, document: dict[str, Any]) -> None:
        """Put a document in the place of the old one; under the lock.

        Who is killed on the way leaves the old document or the new one, and perhaps a temporary file. When this
        returns, the new one survives a loss of power.
        """
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        # In the same directory, or it could not be renamed; of a name of its own, or two writers would share it.
        descriptor, unfinished = tempfile.mkstemp(prefix=f".{self.path.name}-", dir=self.path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # the bytes, before the name leads to them
            os.replace(unfinished, self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(unfinished)
            raise
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the name
        finally:
            os.close(directory)
