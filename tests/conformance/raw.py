"""Reads around our own backends: by the server's own client, or out of the file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pytest_aistorage import UnsupportedOperationError
from pytest_aistorage.conformance.contract import RawReader

__all__ = ["raw_reader"]

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


@contextlib.contextmanager
def raw_reader(opener: Any) -> Iterator[RawReader | None]:
    """Give what reads a store of ours; None where nothing leads around it, as in memory.

    Args:
        opener: the test's ``ai_storage_opener``.
    """
    try:
        url = opener.url
    except UnsupportedOperationError:  # a fake, in this process
        url = "memory://"
    readers = {
        "file": _file,
        "sqlite": _sqlite,
        "postgresql": _postgres,
        "mysql": _mysql,
        "mariadb": _mysql,
        "redis": _redis,
        "valkey": _redis,
    }
    reader = readers.get(urlsplit(url).scheme.partition("+")[0])
    if reader is None:
        yield None
    else:
        with reader(url) as raw:
            yield raw


def _moment(stored: Any) -> datetime | None:
    """A stored moment, which is UTC and need not say so."""
    if isinstance(stored, str):
        stored = datetime.fromisoformat(stored)
    return None if stored is None else stored.replace(tzinfo=UTC)


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: row[name] for name in _COLUMNS}
    fields.update((name, _moment(row[name])) for name in _MOMENTS)
    if isinstance(fields["metadata"], str):
        fields["metadata"] = json.loads(fields["metadata"])
    return fields


@contextlib.contextmanager
def _file(url: str) -> Iterator[RawReader]:
    path = Path(unquote(urlsplit(url).path))

    def read(model_name: str) -> dict[str, Any] | None:
        documents = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return next((_fields(one) for one in documents if one["model_name"] == model_name), None)

    yield read


@contextlib.contextmanager
def _sqlite(url: str) -> Iterator[RawReader]:
    path = unquote(urlsplit(url).path)[1:]

    def read(model_name: str) -> dict[str, Any] | None:
        if not Path(path).exists():
            return None
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ai_progress'").fetchone():
                return None
            row = connection.execute(f"{_SELECT}?", (model_name,)).fetchone()
        return None if row is None else _fields(row)

    yield read


@contextlib.contextmanager
def _postgres(url: str) -> Iterator[RawReader]:
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:

        def read(model_name: str) -> dict[str, Any] | None:
            row = connection.execute(f"{_SELECT}%s", (model_name,)).fetchone()
            return None if row is None else _fields(row)

        yield read


@contextlib.contextmanager
def _mysql(url: str) -> Iterator[RawReader]:
    import pymysql
    from pymysql.cursors import DictCursor

    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname or "localhost",
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.strip("/"),
        charset="utf8mb4",
        autocommit=True,
        cursorclass=DictCursor,
    )
    with contextlib.closing(connection):

        def read(model_name: str) -> dict[str, Any] | None:
            with connection.cursor() as cursor:
                cursor.execute(f"{_SELECT}%s", (model_name,))
                row = cursor.fetchone()
            return None if row is None else _fields(row)

        yield read


@contextlib.contextmanager
def _redis(url: str) -> Iterator[RawReader]:
    import redis

    parts = urlsplit(url)
    query = dict(one.split("=", 1) for one in parts.query.split("&") if one)
    prefix = unquote(query.pop("prefix", "ai_progress:"))
    plain = parts._replace(scheme="redis", query="&".join(f"{name}={value}" for name, value in query.items()))
    with contextlib.closing(redis.Redis.from_url(plain.geturl())) as client:

        def read(model_name: str) -> dict[str, Any] | None:
            stored = client.get(f"{prefix}record:{model_name}")
            if stored is None:
                return None
            version, created, updated, text = stored.decode().split(" ", 3)
            epoch = datetime(1970, 1, 1, tzinfo=UTC)
            stamps = {
                "version": int(version),
                "created_at": epoch + timedelta(microseconds=int(created)),
                "updated_at": epoch + timedelta(microseconds=int(updated)),
            }
            return _fields({"model_name": model_name, **json.loads(text), **stamps})

        yield read
