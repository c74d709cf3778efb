"""From the JSON files that applications write by hand to a storage."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from . import codec
from .config import snake_case
from .errors import (
    CorruptStorageError,
    InvalidProgressError,
    StorageUnavailableError,
    VersionConflictError,
)
from .progress import GIVEN_FIELDS, STAMPS, AIProgress
from .storage import AIStorage
from .validation import checked_progress

__all__ = ["import_records", "read_records"]

_MOMENTS = ("training_start", "training_end")


def read_records(path: str | Path) -> list[AIProgress]:
    """Read the records of a JSON file, in the file's order, each checked.

    The file holds a list of records, an object of records by model name, or one record; their keys are in
    camelCase or snake_case, moments in ISO 8601 with a time zone. Keys that are no field's go to ``metadata``.
    Versions and the like are left out: they are the business of the storage that keeps the records.

    Args:
        path: the file.

    Raises:
        StorageUnavailableError: the file can't be read.
        CorruptStorageError: it is no JSON, or a record breaks a rule; the message names the file, and the record by
            its place and model. The cause of a broken rule is its `InvalidProgressError`.
    """
    place = Path(path)
    try:
        document = json.loads(place.read_bytes(), object_pairs_hook=_object)
    except OSError as error:
        raise StorageUnavailableError(f"{place}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or brackets without an end
        raise CorruptStorageError(f"{place}: no JSON: {error}") from error
    records: list[AIProgress] = []
    places: dict[str, str] = {}
    for where, name, item in _items(place, document):
        try:
            record = _record(name, item)
        except InvalidProgressError as error:
            raise CorruptStorageError(f"{place}: {where}: {error}") from error
        if (before := places.setdefault(record.model_name, where)) is not where:
            raise CorruptStorageError(f"{place}: {where}: the same model as {before}")
        records.append(record)
    return records


def import_records(storage: AIStorage, records: Iterable[AIProgress]) -> int:
    """Save records that the storage does not hold yet; what it holds is never overwritten.

    A record that is there already, equal but for its stamps, is passed over, so an import that was interrupted is
    taken up by importing again. Each record is saved by itself, with ``expected_version=0``.

    Returns:
        How many records were saved.

    Raises:
        VersionConflictError: another record of a model is there. Nothing was written, unless somebody else wrote it
            meanwhile.
        StorageUnavailableError, OutcomeUnknownError: as for `AIStorage.save_progress`; the records before were saved.
    """
    missing = [record for record in records if not _is_there(storage, record)]
    saved = 0
    for record in missing:
        try:
            storage.save_progress(record, expected_version=0)
        except VersionConflictError:
            if not _is_there(storage, record):
                raise
        else:
            saved += 1
    return saved


def _is_there(storage: AIStorage, record: AIProgress) -> bool:
    found = storage.get_progress(record.model_name)
    if found is None:
        return False
    # As text, in which 1 is not True.
    if codec.fields_to_text(found) != codec.fields_to_text(checked_progress(record)):
        raise VersionConflictError(record.model_name, 0, found.version)
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refused where a key comes twice: json would keep the last and drop the others."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} comes twice in one object")
        found[key] = value
    return found


def _items(place: Path, document: Any) -> list[tuple[str, str | None, Any]]:
    """Each record's place in words, the model's name where it is a key, and the record as it stands there."""
    if isinstance(document, list):
        return [(f"record {number}", None, item) for number, item in enumerate(document, 1)]
    if not isinstance(document, dict):
        raise CorruptStorageError(
            f"{place}: a JSON {type(document).__name__} where a list or an object should be"
        )
    if "mse" in document and not isinstance(document["mse"], dict):
        return [("record 1", None, document)]  # the record itself, where there is but one model
    return [
        (f"record {number}, {name!r}", name, item) for number, (name, item) in enumerate(document.items(), 1)
    ]


def _record(name: str | None, item: Any) -> AIProgress:
    if not isinstance(item, dict):
        raise InvalidProgressError("record", item, "must be a JSON object")
    fields: dict[str, Any] = {} if name is None else {"model_name": name}
    others: dict[str, Any] = {}
    for key, value in item.items():
        field = snake_case(key)
        if field in STAMPS:
            continue
        target, key = (fields, field) if field in GIVEN_FIELDS else (others, key)
        if key in target and target[key] != value:
            raise InvalidProgressError(field, value, f"is told twice, before as {target[key]!r}")
        target[key] = value
    for field in ("model_name", "mse"):
        if field not in fields:
            raise InvalidProgressError(field, None, "must be there")
    for field in _MOMENTS:
        if isinstance(text := fields.get(field), str):
            fields[field] = _moment(field, text)
    fields["metadata"] = _joined(fields.get("metadata"), others)
    return checked_progress(AIProgress(**fields))


def _moment(field: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidProgressError(field, text, "must be a moment in ISO 8601") from None


def _joined(metadata: Any, others: dict[str, Any]) -> Any:
    if metadata is None or not others:
        return others if metadata is None else metadata
    if not isinstance(metadata, dict):
        raise InvalidProgressError("metadata", metadata, "must be a JSON object")
    for key in others:
        if key in metadata and metadata[key] != others[key]:
            raise InvalidProgressError(
                "metadata", others[key], f"is told twice, before as {metadata[key]!r}", (key,)
            )
    return {**metadata, **others}
