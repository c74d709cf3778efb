"""Records as JSON text. One text for one record: keys sorted, floats by their shortest repr, UTC datetimes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .errors import CorruptStorageError, InvalidProgressError
from .progress import AIProgress
from .validation import checked_stored

__all__ = [
    "fields_from_text",
    "fields_to_text",
    "from_microseconds",
    "metadata_from_text",
    "metadata_to_text",
    "record_from_document",
    "record_to_document",
    "to_microseconds",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Made once: json.dumps with arguments would make an encoder a call.
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def metadata_to_text(metadata: Mapping[str, Any]) -> str:
    """Return metadata as canonical JSON: equal values of equal types give equal text."""
    return _encode(metadata) if metadata else "{}"


def metadata_from_text(text: str | bytes) -> dict[str, Any]:
    """Return what `metadata_to_text` was given.

    Raises:
        CorruptStorageError: the text is no JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CorruptStorageError(f"stored metadata is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise CorruptStorageError(f"stored metadata is a JSON {type(value).__name__}, not an object")
    return value


def fields_to_text(record: AIProgress) -> str:
    """Return the record's fields as JSON, without its name and stamps."""
    # Put together by hand, in half the time of an encoder: this is in the path of every save. A checked record
    # holds plain finite floats and ints, whose repr is JSON, and a datetime's text needs no escapes.
    return (
        f'{{"accuracy":{_scalar(record.accuracy)}'
        f',"cross_validation_score":{_scalar(record.cross_validation_score)}'
        f',"metadata":{metadata_to_text(record.metadata)}'
        f',"mse":{record.mse!r}'
        f',"training_end":{_quoted(record.training_end)}'
        f',"training_samples":{_scalar(record.training_samples)}'
        f',"training_start":{_quoted(record.training_start)}}}'
    )


def fields_from_text(
    text: str | bytes, *, model_name: str, version: int, created_at: datetime, updated_at: datetime
) -> AIProgress:
    """Return the record of which `fields_to_text` made the text, with the given name and stamps.

    Raises:
        CorruptStorageError: the text is no such record.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CorruptStorageError(f"model {model_name!r}: the stored record is no JSON: {error}") from error
    return _record(document, model_name, version, created_at, updated_at)


def record_to_document(record: AIProgress) -> dict[str, Any]:
    """Return the whole record, stamps included, as what JSON can say."""
    return {
        "model_name": record.model_name,
        "training_start": _moment_to_text(record.training_start),
        "training_end": _moment_to_text(record.training_end),
        "accuracy": record.accuracy,
        "mse": record.mse,
        "training_samples": record.training_samples,
        "cross_validation_score": record.cross_validation_score,
        "metadata": dict(record.metadata),
        "version": record.version,
        "created_at": _moment_to_text(record.created_at),
        "updated_at": _moment_to_text(record.updated_at),
    }


def record_from_document(document: Any) -> AIProgress:
    """Return the record that `record_to_document` was given, with every rule checked: anybody may edit a file.

    Raises:
        CorruptStorageError: the document is no such record.
    """
    try:
        name, version = document["model_name"], document["version"]
        created_at = datetime.fromisoformat(document["created_at"])
        updated_at = datetime.fromisoformat(document["updated_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStorageError(f"a stored record lacks its name or stamps: {error!r}") from error
    record = _record(document, name, version, created_at, updated_at)
    try:
        return checked_stored(record)
    except InvalidProgressError as error:
        raise CorruptStorageError(f"model {name!r}: the stored record breaks a rule: {error}") from error


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970 of an aware datetime, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the datetime in UTC; the inverse of `to_microseconds`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _record(
    document: Any, model_name: str, version: int, created_at: datetime, updated_at: datetime
) -> AIProgress:
    try:
        return AIProgress(
            model_name=model_name,
            mse=document["mse"],
            accuracy=document["accuracy"],
            cross_validation_score=document["cross_validation_score"],
            training_samples=document["training_samples"],
            training_start=_moment_from_text(document["training_start"]),
            training_end=_moment_from_text(document["training_end"]),
            metadata=document["metadata"],
            version=version,
            created_at=created_at,
            updated_at=updated_at,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptStorageError(
            f"model {model_name!r}: the stored record lacks a field: {error!r}"
        ) from error


def _scalar(value: float | None) -> str:
    return "null" if value is None else repr(value)


def _quoted(moment: datetime | None) -> str:
    return "null" if moment is None else f'"{moment.isoformat()}"'


def _moment_to_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment_from_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
