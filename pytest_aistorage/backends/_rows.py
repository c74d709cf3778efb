"""Between a record and the columns of its row, as the drivers take and give them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .. import codec, progress
from ..errors import CorruptStorageError
from ..progress import AIProgress
from ._connections import Row
from ._schema import Flavour
from ._statements import metadata_parameter

__all__ = ["parameter", "parameters", "record_of", "stamped"]


def parameters(flavour: Flavour, record: AIProgress) -> dict[str, Any]:
    """Return a record's columns, by name; the stamps apart."""
    # Field by field: a loop over their names takes twice as long, in the path of every save.
    return {
        "model_name": record.model_name,
        "mse": record.mse,
        "accuracy": record.accuracy,
        "cross_validation_score": record.cross_validation_score,
        "training_samples": record.training_samples,
        "training_start": parameter(flavour, record.training_start),
        "training_end": parameter(flavour, record.training_end),
        "metadata": metadata_parameter(flavour, record.metadata),
    }


def parameter(flavour: Flavour, value: Any) -> Any:
    """Return a value as the driver takes it: moments in UTC without a zone, and as text for SQLite."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None)
        return value.isoformat(" ", "microseconds") if flavour == "sqlite" else value
    return value


def record_of(row: Row) -> AIProgress:
    """Return the record of a row: the columns of `FIELDS`, version, created_at and updated_at.

    Raises:
        CorruptStorageError: a column can't be read.
    """
    try:
        return AIProgress(
            model_name=row[0],
            mse=row[1],
            accuracy=row[2],
            cross_validation_score=row[3],
            training_samples=row[4],
            training_start=_optional_moment(row[5]),
            training_end=_optional_moment(row[6]),
            metadata=codec.metadata_from_text(row[7]),
            version=row[8],
            created_at=_moment(row[9]),
            updated_at=_moment(row[10]),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise CorruptStorageError(f"model {row[0]!r}: a stored column can't be read: {error}") from error


def stamped(record: AIProgress, stamps: Row) -> AIProgress:
    """Return the record with version, created_at and updated_at as the server returned them."""
    version, created_at, updated_at = stamps
    return progress.stamped(record, version, _moment(created_at), _moment(updated_at))


def _optional_moment(stored: Any) -> datetime | None:
    return None if stored is None else _moment(stored)


def _moment(stored: Any) -> datetime:
    """The stored moment, which is UTC and does not say so."""
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return stored.replace(tzinfo=UTC)  # type: ignore[no-any-return]  # a datetime, whatever the driver
