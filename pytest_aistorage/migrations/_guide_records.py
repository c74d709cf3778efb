"""The records of the guide's table, looked at one by one before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from .. import codec
from ..errors import CorruptStorageError, InvalidProgressError
from ..progress import AIProgress
from ..validation import checked_progress

__all__ = ["check_records"]

_SHOWN = 5
_AT_ONCE = 1000
_NUMBERS = ("accuracy", "mse", "training_samples", "cross_validation_score")
_MOMENTS = ("training_start", "training_end", "created_at", "updated_at")


def check_records(connection: sa.Connection) -> None:
    """See that every record is one that this package can keep.

    Raises:
        CorruptStorageError: naming the first few that are not, the field, and why.
    """
    faults: list[str] = []
    count = 0
    for row in _rows(connection):
        fault = _fault(row)
        if fault is not None:
            count += 1
            if count <= _SHOWN:
                faults.append(fault)
    if count:
        more = f" (and {count - _SHOWN} more)" if count > _SHOWN else ""
        raise CorruptStorageError(
            f"the table ai_progress was left as it is: {count} of its records can't be kept: "
            f"{'; '.join(faults)}{more}"
        )


def _rows(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    # As texts: a driver can't read an infinite moment, or one before Christ.
    kind = "TEXT" if connection.dialect.name == "postgresql" else "CHAR"
    texts = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name in (*_MOMENTS, "metadata"))
    select = sa.text(
        f"SELECT id, model_name, {', '.join(_NUMBERS)}, {texts} FROM ai_progress "
        f"WHERE id > :last ORDER BY id LIMIT {_AT_ONCE}"
    )
    last = -(2**63)
    while True:
        rows = connection.execute(select, {"last": last}).mappings().all()
        yield from map(dict, rows)
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1]["id"]


def _fault(row: dict[str, Any]) -> str | None:
    """Say why a record can't be kept; None where it can."""
    name = row["model_name"]
    field = ""
    try:
        moments: dict[str, datetime | None] = {}
        for field in _MOMENTS:
            moments[field] = _moment(row[field])
        field = "metadata"
        metadata = codec.metadata_from_text(row["metadata"]) if row["metadata"] not in (None, "null") else {}
        record = AIProgress(
            model_name=name,
            **{number: row[number] for number in _NUMBERS},
            training_start=moments["training_start"],
            training_end=moments["training_end"],
            metadata=metadata,
        )
        checked_progress(record)
        for field in ("created_at", "updated_at"):
            moment = moments[field]
            if moment is not None and moment.year < 1000:
                raise ValueError("must lie in the years 1000 to 9999")
    except InvalidProgressError as error:
        return f"model {name!r}: {error}"
    except (ValueError, CorruptStorageError) as error:
        return f"model {name!r}: {field}: {error}"
    return None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
