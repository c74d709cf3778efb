"""A wrapper around a storage that writes down every operation: what a history is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Self

from ..capabilities import Capability
from ..codec import record_to_document
from ..errors import AIStorageError, InvalidProgressError, OutcomeUnknownError, VersionConflictError
from ..progress import GIVEN_FIELDS, AIProgress, ProgressQuery, StorageInfo
from ..validation import checked_progress
from .history import Operation, Part

__all__ = ["RecordingStorage", "value_of"]

Change = Callable[[AIProgress | None], AIProgress]


def value_of(record: AIProgress | None) -> dict[str, Any] | None:
    """Return what a record says, without its name and stamps, as plain JSON; fields that are not set are left out."""
    if record is None:
        return None
    return {
        name: _plain(value)
        for name, value in record_to_document(record).items()
        if name in GIVEN_FIELDS and name != "model_name" and value is not None and value != {}
    }


def _stored_value_of(progress: AIProgress) -> dict[str, Any] | None:
    """What a record will say when it is read; None: it will be refused.

    A read of what was given as ``mse=1``, or by the local time, finds ``1.0``, and UTC.
    """
    try:
        return value_of(checked_progress(progress))
    except InvalidProgressError:
        return None


def _plain(value: Any) -> Any:
    """A copy: the record is its reader's, who may change the lists in its metadata."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


class RecordingStorage:
    """Passes everything on to a storage, and writes it down in `operations`.

    It is one client: not to be used by several threads at once. An error that is none of the contract's, and
    `OutcomeUnknownError`, leave the outcome of a write unknown: what may have taken effect is never written down as
    failed.

    Args:
        storage: any object with the methods of `AIStorage`. Where it has an attribute ``answered_from``, that is
            taken to say where its last read was answered from: ``cache``, ``database``.
        process: the number of the client in the history; no other has it.

    Attributes:
        operations: what was done so far, in order.
        raised: the last error that the storage raised.
    """

    def __init__(self, storage: Any, process: int) -> None:
        self.storage = storage
        self.process = process
        self.operations: list[Operation] = []
        self.raised: BaseException | None = None
        self._pending: _Note | None = None

    def so_far(self) -> tuple[Operation, ...]:
        """Return what was done, and last the write that is under way: should its client die now, it may have taken
        effect or not. A read of which nobody is told is left out, and an update that has not said what to write."""
        note = self._pending
        if note is None or not (note.fields.get("value") or note.fields.get("parts") or note.is_delete()):
            return tuple(self.operations)
        return (*self.operations, Operation(**{**note.fields, "returned": None, "outcome": "unknown"}))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the storage declares; one that is none of ours may declare nothing."""
        found: frozenset[Capability] = getattr(self.storage, "capabilities", frozenset())
        return found

    @property
    def type(self) -> str:
        """The storage's."""
        found: str = self.storage.type
        return found

    # -- what is recorded -----------------------------------------------------------------------------------

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        """See `AIStorage.save_progress`."""
        options: dict[str, Any] = {} if ttl is None else {"ttl": ttl}
        if expected_version is not None:
            options["expected_version"] = expected_version
        with _Note(self, "save", progress.model_name) as note:
            note.fields.update(base=expected_version, value=_stored_value_of(progress))
            saved: AIProgress = self.storage.save_progress(progress, **options)
            note.fields["version"] = saved.version
        return saved

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        """See `AIStorage.update_progress`."""
        with _Note(self, "update", model_name) as note:

            def noted(current: AIProgress | None) -> AIProgress:
                # Of several tries the last one counts.
                note.fields["base"] = 0 if current is None else current.version
                try:
                    changed = change(current)
                except BaseException as error:
                    note.raised = error
                    raise
                if isinstance(changed, AIProgress):
                    note.fields["value"] = _stored_value_of(changed)
                return changed

            saved: AIProgress = self.storage.update_progress(model_name, noted)
            note.fields["version"] = saved.version
        return saved

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        """See `AIStorage.delete_progress`."""
        options = {} if expected_version is None else {"expected_version": expected_version}
        with _Note(self, "delete", model_name) as note:
            note.fields["base"] = expected_version
            version: int | None = self.storage.delete_progress(model_name, **options)
            note.fields["version"] = version or 0
            if version is None and expected_version == 0:
                note.fields["base"] = None  # it asked for nothing to be there, and so it was: a read
        return version

    def get_progress(self, model_name: str) -> AIProgress | None:
        """See `AIStorage.get_progress`."""
        with _Note(self, "get", model_name) as note:
            record: AIProgress | None = self.storage.get_progress(model_name)
            note.fields.update(version=0 if record is None else record.version, value=value_of(record))
            note.fields["source"] = getattr(self.storage, "answered_from", None)
        return record

    def load_progress(self) -> list[AIProgress]:
        """See `AIStorage.load_progress`."""
        with _Note(self, "load", "") as note:
            records: list[AIProgress] = self.storage.load_progress()
            note.fields["parts"] = _parts(records)
        return records

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        """See `AIStorage.save_many`."""
        given = list(progresses)
        with _Note(self, "save_many", "") as note:
            note.fields["parts"] = tuple(Part(one.model_name, None, _stored_value_of(one)) for one in given)
            records: list[AIProgress] = self.storage.save_many(given)
            note.fields["parts"] = _parts(records)
        return records

    # -- what is not ----------------------------------------------------------------------------------------

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        """See `AIStorage.iter_progress`; it is no one operation, and not recorded."""
        found: Iterator[AIProgress] = self.storage.iter_progress(batch_size=batch_size)
        return found

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        """See `AIStorage.query_progress`; not recorded."""
        found: list[AIProgress] = self.storage.query_progress(query)
        return found

    def health_check(self) -> bool:
        """See `AIStorage.health_check`; not recorded."""
        found: bool = self.storage.health_check()
        return found

    def get_storage_info(self) -> StorageInfo:
        """See `AIStorage.get_storage_info`; not recorded."""
        found: StorageInfo = self.storage.get_storage_info()
        return found

    def close(self) -> None:
        """Close the storage."""
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _parts(records: Iterable[AIProgress]) -> tuple[Part, ...]:
    return tuple(Part(record.model_name, record.version, value_of(record)) for record in records)


class _Note:
    """One operation while it takes place."""

    def __init__(self, recorder: RecordingStorage, kind: str, model_name: str) -> None:
        self._recorder = recorder
        self.raised: BaseException | None = None  # by the change of an update: then nothing is written
        self.fields: dict[str, Any] = {
            "process": recorder.process,
            "kind": kind,
            "model_name": model_name,
            "called": time.monotonic_ns(),
        }

    def is_delete(self) -> bool:
        return bool(self.fields["kind"] == "delete")

    def __enter__(self) -> Self:
        self._recorder._pending = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        fields = self.fields
        fields["returned"] = time.monotonic_ns()
        self._recorder._pending = None
        if error is not None:
            if error is not self.raised:
                self._recorder.raised = error
            fields["error"] = type(error).__name__
            fields["outcome"] = "failed"
            if isinstance(error, VersionConflictError):
                fields["actual"] = error.actual
            elif error is not self.raised and (
                not isinstance(error, AIStorageError) or isinstance(error, OutcomeUnknownError)
            ):
                fields["outcome"] = "unknown"
        self._recorder.operations.append(Operation(**fields))
