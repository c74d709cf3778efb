"""Reads around the package's own backends: out of the file, or by the server's own client."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..config import StorageURL
from ..storage import DEFAULT_TIMEOUT

__all__ = ["raw_reader"]

_Read = Callable[[str], Mapping[str, Any] | None]

_COLUMNS = (
    "model_name",
    "mse",
    "accuracy",
    "cross_validation_score",
    "training_samples",
    "training_start",
    "training_end",
    "metadata",
    "version",
    "created_at",
    "updated_at",
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM ai_progress WHERE model_name = "
_MOMENTS = ("training_start", "training_end", "created_at", "updated_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def raw_reader(url: str) -> AbstractContextManager[_Read | None]:
    """What reads a store of one of the package's own backends, for the length of a ``with`` block.

    Args:
        url: of the store.

    Returns:
        A context manager of a `RawReader`; of None where nothing leads around the storage, as in memory.
    """
    parts = StorageURL.parse(url).without("cache")  # a hybrid's truth is its database
    reader = _READERS.get(parts.scheme.partition("+")[0])
    return contextlib.nullcontext() if reader is None else reader(parts)


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: row[name] for name in _COLUMNS}
    fields.update((name, _moment(row[name])) for name in _MOMENTS)
    if isinstance(fields["metadata"], str):
        fields["metadata"] = json.loads(fields["metadata"])
    return fields


def _moment(stored: Any) -> datetime | None:
    """A stored moment, which is UTC and need not say so."""
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return None if stored is None else stored.replace(tzinfo=UTC)


@contextlib.contextmanager
def _file(url: StorageURL) -> Iterator[_Read]:
    path = Path(url.path)

    def read(model_name: str) -> dict[str, Any] | None:
        documents = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return next((_fields(one) for one in documents if one["model_name"] == model_name), None)

    yield read


@contextlib.contextmanager
def _sqlite(url: StorageURL) -> Iterator[_Read]:
    path = url.path[1:]

    def read(model_name: str) -> dict[str, Any] | None:
        if not Path(path).exists():
            return None
        with contextlib.closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ai_progress'").fetchone():
                return None
            row = connection.execute(f"{_SELECT}?", (model_name,)).fetchone()
        return None if row is None else _fields(row)

    yield read


@contextlib.contextmanager
def _server(url: StorageURL) -> Iterator[_Read]:
    from ..backends._engines import engine_from_url

    engine = engine_from_url(url, timeout=DEFAULT_TIMEOUT, pool_size=1, max_overflow=0)
    try:
        with contextlib.closing(engine.raw_connection()) as connection:

            def read(model_name: str) -> dict[str, Any] | None:
                with contextlib.closing(connection.cursor()) as cursor:
                    cursor.execute(f"{_SELECT}%s", (model_name,))
                    row = cursor.fetchone()
                return None if row is None else _fields(dict(zip(_COLUMNS, row, strict=True)))

            yield read
    finally:
        engine.dispose()


@contextlib.contextmanager
def _redis(url: StorageURL) -> Iterator[_Read]:
    import redis

    from ..backends._redis_pool import pool_from_url

    prefix = url.query.get("prefix", "ai_progress:")
    pool = pool_from_url(url.without("prefix"), timeout=DEFAULT_TIMEOUT, max_connections=1)
    client: Any = redis.Redis(connection_pool=pool)

    def read(model_name: str) -> dict[str, Any] | None:
        stored = client.get(f"{prefix}record:{model_name}")
        if stored is None:
            return None
        version, created, updated, text = stored.decode().split(" ", 3)
        stamps = {
            "version": int(version),
            "created_at": _EPOCH + timedelta(microseconds=int(created)),
            "updated_at": _EPOCH + timedelta(microseconds=int(updated)),
        }
        return _fields({"model_name": model_name, **json.loads(text), **stamps})

    try:
        yield read
    finally:
        pool.disconnect()


_READERS = {
    "file": _file,
    "sqlite": _sqlite,
    **dict.fromkeys(("postgresql", "mysql", "mariadb"), _server),
    **dict.fromkeys(("redis", "rediss", "valkey", "valkeys", "unix"), _redis),
}
