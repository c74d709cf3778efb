"""The storage: a plain class with the contract's methods. It inherits from nothing, and need not."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from pytest_aistorage import (
    AIProgress,
    Capability,
    ConfigurationError,
    InvalidProgressError,
    OutcomeUnknownError,
    ProgressQuery,
    StorageInfo,
    StorageUnavailableError,
    UnsupportedOperationError,
    VersionConflictError,
)
from pytest_aistorage.codec import record_from_document, record_to_document
from pytest_aistorage.progress import stamped
from pytest_aistorage.queries import run_query
from pytest_aistorage.validation import (
    checked_batch,
    checked_expected_version,
    checked_name,
    checked_progress,
    checked_query,
    checked_ttl,
)

from .document import Document

__all__ = ["LockedFileStorage", "factory"]


class LockedFileStorage:
    """All records in one JSON file.

    The document is ``{"records": {name: record}, "versions": {name: last version}}``. The versions outlive their
    records, so that a model which comes back after its delete goes on counting.

    Args:
        path: the file; it comes into being with the first save.
        timeout: seconds that an operation waits for others.
    """

    type = "lockedfile"
    schemes = ("lockedfile",)
    capabilities = frozenset(
        {
            Capability.SHARED_BETWEEN_PROCESSES,
            Capability.SURVIVES_CLOSE,
            Capability.SURVIVES_CLIENT_CRASH,
            Capability.SURVIVES_POWER_LOSS,
            Capability.LINEARIZABLE,
            Capability.VERSIONS_NEVER_REUSED,
            Capability.ATOMIC_BATCH,
            Capability.SNAPSHOT_LISTING,
        }
    )

    def __init__(self, path: str | Path, *, timeout: float = 5.0) -> None:
        self._document = Document(Path(path), timeout)
        self._closed = False

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open ``lockedfile:///absolute/path.json``.

        Raises:
            ConfigurationError: no such URL, or an unknown option.
        """
        parts = urlsplit(url)
        if parts.scheme != "lockedfile" or parts.netloc or len(parts.path) < 2:
            raise ConfigurationError("the URL is lockedfile:///absolute/path.json")
        if unknown := set(options) - {"timeout"}:
            raise ConfigurationError(f"unknown option {min(unknown)!r}; there is timeout")
        return cls(unquote(parts.path), **options)

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Return the URL of a file that does not exist yet."""
        return f"lockedfile://{quote(str((tmp_path / 'progress.json').absolute()))}"

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        """Insert or replace one record."""
        record, expected = checked_progress(progress), checked_expected_version(expected_version)
        if checked_ttl(ttl) is not None:
            raise UnsupportedOperationError("ttl needs EXPIRY, which this storage does not declare")
        with self._changing() as document:
            _check(document, record.model_name, expected)
            return _put(document, record)

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        """Save a batch: one replacement of the file, so all or nothing."""
        records = checked_batch(progresses)
        with self._changing() as document:
            return [_put(document, record) for record in records]

    def update_progress(
        self, model_name: str, change: Callable[[AIProgress | None], AIProgress]
    ) -> AIProgress:
        """Read, change and write under one lock."""
        name = checked_name(model_name)
        if not callable(change):
            raise InvalidProgressError("change", change, "must be callable")
        with self._changing() as document:
            result: Any = _called(change, _get(document, name))
            if not isinstance(result, AIProgress):
                raise InvalidProgressError("change", result, "must return an AIProgress")
            if result.model_name != name:
                raise InvalidProgressError("model_name", result.model_name, f"must stay {name!r}")
            return _put(document, checked_progress(result))

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        """Delete one record; its version stays."""
        name, expected = checked_name(model_name), checked_expected_version(expected_version)
        with self._changing() as document:
            _check(document, name, expected)
            if document["records"].pop(name, None) is None:
                return None
            document["versions"][name] += 1
            return int(document["versions"][name])

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Return one record."""
        name = checked_name(model_name)
        return _get(self._read(), name)

    def load_progress(self) -> list[AIProgress]:
        """Return all records, of one moment."""
        records = self._read()["records"]
        return [record_from_document(records[name]) for name in sorted(records)]

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        """Yield all records, of the moment of the call: the file is read whole either way."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InvalidProgressError("batch_size", batch_size, "must be an int from 1 up")
        return iter(self.load_progress())

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        """Return the records that match."""
        return run_query(checked_query(query), self.load_progress())

    def health_check(self) -> bool:
        """Say whether the file can be read."""
        try:
            self._read()
        except Exception:
            return False
        return True

    def get_storage_info(self) -> StorageInfo:
        """Describe the storage."""
        started = time.perf_counter()
        records = self._read()["records"]
        return StorageInfo(
            type=self.type,
            model_count=len(records),
            server="JSON file",
            location=str(self._document.path),
            latency=time.perf_counter() - started,
            capabilities=self.capabilities,
        )

    def close(self) -> None:
        """Refuse to work from now on; nothing is open between operations."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LockedFileStorage {self._document.path}>"

    def _read(self) -> dict[str, Any]:
        with self._operation(), self._document.locked(shared=True):
            return _complete(self._document.read())

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The document, for the block to change; written when the block ends without an exception."""
        with self._operation(), self._document.locked():
            document = _complete(self._document.read())
            yield document
            try:
                self._document.replace(document)
            except OSError as error:
                # The file may have been replaced, and only its directory not been synced.
                raise OutcomeUnknownError(f"{self._document.path}: {error.strerror or error}") from error

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """Let no error of the operating system out; but let through what a change raised, whatever it is."""
        if self._closed:
            raise StorageUnavailableError(f"{self!r} is closed")
        try:
            yield
        except _ChangeRaised as carrier:
            raised = carrier.original
        except OSError as error:
            raise StorageUnavailableError(f"{self._document.path}: {error.strerror or error}") from error
        else:
            return
        raise raised


class _ChangeRaised(BaseException):
    """Carries what a change raised past the handlers of our own errors."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(original)
        self.original = original


def _called(change: Callable[[AIProgress | None], AIProgress], current: AIProgress | None) -> AIProgress:
    try:
        return change(current)
    except BaseException as error:
        raise _ChangeRaised(error) from None


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    return {"records": document.get("records", {}), "versions": document.get("versions", {})}


def _get(document: dict[str, Any], name: str) -> AIProgress | None:
    found = document["records"].get(name)
    return None if found is None else record_from_document(found)


def _check(document: dict[str, Any], name: str, expected: int | None) -> None:
    actual = document["versions"][name] if name in document["records"] else 0
    if expected is not None and expected != actual:
        raise VersionConflictError(name, expected, actual)


def _put(document: dict[str, Any], record: AIProgress) -> AIProgress:
    name, now = record.model_name, datetime.now(UTC)
    version = document["versions"].get(name, 0) + 1
    before = _get(document, name)
    created_at = now if before is None else before.created_at
    # A clock that is set back must not make the record look older.
    updated_at = now if before is None else max(now, before.updated_at)
    saved = stamped(record, version, created_at, updated_at)
    document["records"][name] = record_to_document(saved)
    document["versions"][name] = version
    return saved


def factory(store_id: str) -> LockedFileStorage:
    """Open the store of that id, for ``aistorage conformance aistorage_lockedfile:factory``."""
    return LockedFileStorage(Path(tempfile.gettempdir()) / f"{store_id}.json")
