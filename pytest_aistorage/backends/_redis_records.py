"""Where a model is kept in Redis, and how what is kept becomes a record."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from .. import codec
from ..errors import CorruptStorageError, VersionConflictError
from ..progress import AIProgress, stamped
from ._redis_scripts import CONFLICT

__all__ = ["Keyspace", "conflict", "decoded", "milliseconds", "stamped_by"]

_MILLISECOND: Final = timedelta(milliseconds=1)


class Keyspace:
    """The keys that begin with a prefix; see `_redis_scripts` for what is in them.

    Attributes:
        record: begins the key of a record; the model's name follows.
        version: begins the key of a version.
        index: the key of the index.
        expiring: the key of what expires.
    """

    __slots__ = ("expiring", "index", "record", "version")

    def __init__(self, prefix: str) -> None:
        self.record = f"{prefix}record:"
        self.version = f"{prefix}version:"
        self.index = f"{prefix}index"
        self.expiring = f"{prefix}expiring"

    def of(self, model_name: str) -> tuple[str, str, str, str]:
        """Return all keys that a change of the model touches, as the scripts take them."""
        return self.record + model_name, self.version + model_name, self.index, self.expiring


def conflict(model_name: str, expected: int | None, reply: bytes) -> VersionConflictError:
    """Return the error for a script's reply that it met another version."""
    assert expected is not None  # no script compares versions unless it is told to
    return VersionConflictError(model_name, expected, int(reply.removeprefix(CONFLICT)))


def milliseconds(ttl: timedelta | None) -> int | str:
    """Return the time to live as the scripts take it, rounded up: no record expires before its time."""
    return "" if ttl is None else -(-ttl // _MILLISECOND)


def stamped_by(record: AIProgress, version: bytes, created: bytes, updated: bytes) -> AIProgress:
    """Return the record with the stamps that a script gave it."""
    moments = codec.from_microseconds(int(created)), codec.from_microseconds(int(updated))
    return stamped(record, int(version), *moments)


def decoded(model_name: str, value: bytes) -> AIProgress:
    """Return the record that a key's value holds.

    Raises:
        CorruptStorageError: it holds none.
    """
    try:
        version, created, updated, fields = value.split(b" ", 3)
        stamps = int(version), codec.from_microseconds(int(created)), codec.from_microseconds(int(updated))
    except (ValueError, OverflowError) as error:
        raise CorruptStorageError(f"model {model_name!r}: the stored record has no stamps") from error
    return codec.fields_from_text(
        fields, model_name=model_name, version=stamps[0], created_at=stamps[1], updated_at=stamps[2]
    )
