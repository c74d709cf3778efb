"""The storage: a plain class with the contract's methods. It inherits from nothing, and need not."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from .documents import Documents

__all__ = ["DirectoryStorage", "factory"]

Change = Callable[[AIProgress | None], AIProgress]


class DirectoryStorage:
    """A JSON file for each model, in one directory.

    A model's document is ``{"version": last version, "record": record or null}``. It stays when the record is
    deleted, so that a model which comes back goes on counting.

    Args:
        path: the directory; it comes into being when it is first used.
    """

    type = "directory"
    schemes = ("directory",)
    capabilities = frozenset(Capability) - {Capability.EXPIRY, Capability.SERVER_SIDE_QUERY}

    def __init__(self, path: str | Path) -> None:
        self._documents = Documents(Path(path))
        self._closed = False

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open ``directory:///absolute/path``.

        Raises:
            ConfigurationError: no such URL, or an option.
        """
        parts = urlsplit(url)
        if parts.scheme != "directory" or parts.netloc or len(parts.path) < 2:
            raise ConfigurationError("the URL is directory:///absolute/path")
        if options:
            raise ConfigurationError(f"unknown option {min(options)!r}")
        return cls(unquote(parts.path))

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Return the URL of a directory that does not exist yet."""
        return f"directory://{quote(str((tmp_path / 'store').absolute()))}"

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        """Insert or replace one record."""
        record, expected = checked_progress(progress), checked_expected_version(expected_version)
        if checked_ttl(ttl) is not None:
            raise UnsupportedOperationError("ttl needs EXPIRY, which this storage does not declare")
        with self._operation():
            document = self._documents.get(record.model_name)
            _check(record.model_name, document, expected)
            return self._put([_stamped(record, document)])[0]

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        """Save a batch, all or nothing."""
        records = checked_batch(progresses)
        with self._operation():
            return self._put([_stamped(record, self._documents.get(record.model_name)) for record in records])

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        """Read, change and write under one lock."""
        name = checked_name(model_name)
        if not callable(change):
            raise InvalidProgressError("change", change, "must be callable")
        raised: BaseException
        try:
            with self._operation():
                document = self._documents.get(name)
                result: Any = _called(change, _record(document))
                if not isinstance(result, AIProgress):
                    raise InvalidProgressError("change", result, "must return an AIProgress")
                if result.model_name != name:
                    raise InvalidProgressError("model_name", result.model_name, f"must stay {name!r}")
                return self._put([_stamped(checked_progress(result), document)])[0]
        except _ChangeRaised as carrier:
            raised = carrier.original
        # Outside of the except clause, so that the caller sees their own exception without our context.
        raise raised

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        """Delete one record; its version stays."""
        name, expected = checked_name(model_name), checked_expected_version(expected_version)
        with self._operation():
            document = self._documents.get(name)
            _check(name, document, expected)
            if _record(document) is None:
                return None
            version = int(document["version"]) + 1
            self._documents.put({name: {"version": version, "record": None}})
            return version

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Return one record."""
        name = checked_name(model_name)
        with self._operation():
            return _record(self._documents.get(name))

    def load_progress(self) -> list[AIProgress]:
        """Return all records, of one moment."""
        with self._operation():
            records = [record for record in map(_record, self._documents.all()) if record is not None]
        return sorted(records, key=lambda record: record.model_name)

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        """Yield the models that are there now, a batch at a time, but for those that are gone by their turn."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InvalidProgressError("batch_size", batch_size, "must be an int from 1 up")
        with self._operation():
            names = sorted(
                record.model_name for record in map(_record, self._documents.all()) if record is not None
            )
        return self._iterated(names, batch_size)

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        """Return the records that match."""
        return run_query(checked_query(query), self.load_progress())

    def health_check(self) -> bool:
        """Say whether the directory can be used. Without the lock: a client that was stopped may hold it for long."""
        place = self._documents.path
        while not place.exists():
            place = place.parent
        return not self._closed and place.is_dir() and os.access(place, os.R_OK | os.W_OK | os.X_OK)

    def get_storage_info(self) -> StorageInfo:
        """Describe the storage."""
        started = time.perf_counter()
        with self._operation():
            latency = time.perf_counter() - started
            count = sum(document["record"] is not None for document in self._documents.all())
        return StorageInfo(
            type=self.type,
            model_count=count,
            server="JSON files",
            location=str(self._documents.path),
            latency=latency,
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
        return f"<DirectoryStorage {self._documents.path}>"

    def _iterated(self, names: Sequence[str], batch_size: int) -> Iterator[AIProgress]:
        for first in range(0, len(names), batch_size):
            with self._operation():
                found = [_record(self._documents.get(name)) for name in names[first : first + batch_size]]
            yield from (record for record in found if record is not None)

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """One operation at a time, none when closed; and no error of the operating system gets out."""
        if self._closed:
            raise StorageUnavailableError(f"{self!r} is closed")
        try:
            with self._documents.locked():
                yield
        except OSError as error:
            raise StorageUnavailableError(f"{self._documents.path}: {error.strerror or error}") from error

    def _put(self, records: list[AIProgress]) -> list[AIProgress]:
        self._documents.put(
            {
                record.model_name: {"version": record.version, "record": record_to_document(record)}
                for record in records
            }
        )
        return records


class _ChangeRaised(BaseException):
    """Carries what a change raised past the handlers of our own errors: the caller's OSError is none of ours."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(original)
        self.original = original


def _called(change: Change, current: AIProgress | None) -> AIProgress:
    try:
        return change(current)
    except BaseException as error:
        raise _ChangeRaised(error) from None


def _record(document: dict[str, Any]) -> AIProgress | None:
    found = document.get("record")
    return None if found is None else record_from_document(found)


def _check(name: str, document: dict[str, Any], expected: int | None) -> None:
    actual = document["version"] if document.get("record") is not None else 0
    if expected is not None and expected != actual:
        raise VersionConflictError(name, expected, actual)


def _stamped(record: AIProgress, document: dict[str, Any]) -> AIProgress:
    """The record as the successor of what a document holds."""
    version, before, now = document.get("version", 0) + 1, _record(document), datetime.now(UTC)
    if before is None or before.created_at is None or before.updated_at is None:
        return stamped(record, version, now, now)
    # A clock that is set back must not make the record look older.
    return stamped(record, version, before.created_at, max(now, before.updated_at))


def factory(store_id: str) -> DirectoryStorage:
    """Open the store of that id, for ``aistorage conformance aistorage_directory:factory``."""
    return DirectoryStorage(Path(tempfile.gettempdir()) / store_id)
