"""Small storages as third parties write them, without a line of the package's: a dictionary, a JSON file, SQLite.

They keep all that they declare. The mutants of races and crashes are made of them.
"""

# ruff: noqa: D102 -- the contract says what the methods are for

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from pytest_aistorage import (
    AIProgress,
    Capability,
    ProgressQuery,
    StorageInfo,
    UnsupportedOperationError,
    VersionConflictError,
)
from pytest_aistorage.queries import run_query
from pytest_aistorage.validation import checked_batch, checked_progress

__all__ = ["DictStorage", "FileOfJSON", "SQLiteStorage", "Small", "Versioned", "document"]

Change = Callable[[AIProgress | None], AIProgress]


@dataclasses.dataclass(frozen=True)
class Versioned:
    """A model's last version, and its record if there is one."""

    version: int = 0
    record: AIProgress | None = None

    @property
    def actual(self) -> int:
        return 0 if self.record is None else self.version


NEVER = Versioned()


class Small:
    """The contract over four steps of a store: `exclusive`, `read`, `write` and `read_all`."""

    type = "small"
    scheme: ClassVar[str] = "sqlite"
    capabilities: frozenset[Capability]

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        """Keep all others out, in the block."""
        raise NotImplementedError

    def read(self, name: str) -> Versioned:
        raise NotImplementedError

    def write(self, name: str, state: Versioned) -> None:
        raise NotImplementedError

    def read_all(self) -> dict[str, Versioned]:
        raise NotImplementedError

    def save_progress(
        self, progress: AIProgress, *, expected_version: int | None = None, ttl: timedelta | None = None
    ) -> AIProgress:
        progress = checked_progress(progress)
        self.without(ttl)
        with self.exclusive():
            before = self.read(progress.model_name)
            self.expect(progress.model_name, expected_version, before)
            after = self.stamped(progress, before)
            self.write(progress.model_name, after)
        return after.record

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        batch = checked_batch(progresses)
        with self.exclusive():
            saved = []
            for progress in batch:
                after = self.stamped(progress, self.read(progress.model_name))
                self.write(progress.model_name, after)
                saved.append(after.record)
        return saved

    def get_progress(self, model_name: str) -> AIProgress | None:
        with self.exclusive():
            return self.read(model_name).record

    def load_progress(self) -> list[AIProgress]:
        with self.exclusive():
            found = self.read_all()
        return [found[name].record for name in sorted(found) if found[name].record is not None]

    def iter_progress(self, *, batch_size: int = 1000) -> Iterator[AIProgress]:
        return iter(self.load_progress())

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        with self.exclusive():
            before = self.read(model_name)
            after = self.stamped(checked_progress(change(before.record)), before)
            self.write(model_name, after)
        return after.record

    def delete_progress(self, model_name: str, *, expected_version: int | None = None) -> int | None:
        with self.exclusive():
            before = self.read(model_name)
            self.expect(model_name, expected_version, before)
            if before.record is None:
                return None
            self.write(model_name, Versioned(before.version + 1))
        return before.version + 1

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        return list(run_query(query, self.load_progress()))

    def health_check(self) -> bool:
        return True

    def get_storage_info(self) -> StorageInfo:
        return StorageInfo(
            type=self.type,
            model_count=len(self.load_progress()),
            server="",
            location="",
            latency=timedelta(0),
            capabilities=self.capabilities,
        )

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def without(ttl: timedelta | None) -> None:
        if ttl is not None:
            raise UnsupportedOperationError("ttl")

    @staticmethod
    def expect(name: str, expected: int | None, before: Versioned) -> None:
        if expected is not None and expected != before.actual:
            raise VersionConflictError(name, expected, before.actual)

    @staticmethod
    def stamped(progress: AIProgress, before: Versioned) -> Versioned:
        now = datetime.now(UTC)
        created = before.record.created_at if before.record else now
        version = before.version + 1
        record = dataclasses.replace(progress, version=version, created_at=created, updated_at=now)
        return Versioned(version, record)


_PROMISES = frozenset(
    {
        Capability.LINEARIZABLE,
        Capability.VERSIONS_NEVER_REUSED,
        Capability.ATOMIC_BATCH,
        Capability.SNAPSHOT_LISTING,
    }
)
_KEPT = frozenset(
    {Capability.SHARED_BETWEEN_PROCESSES, Capability.SURVIVES_CLOSE, Capability.SURVIVES_CLIENT_CRASH}
)


class DictStorage(Small):
    """A dictionary of this process under one lock."""

    scheme = "memory"
    capabilities = _PROMISES | {Capability.SURVIVES_CLOSE}  # the dictionary stays as long as the process
    stores: ClassVar[dict[str, tuple[threading.Lock, dict[str, Versioned]]]] = {}

    def __init__(self, url: str) -> None:
        self.lock, self.models = self.stores.setdefault(url, (threading.Lock(), {}))

    def exclusive(self) -> contextlib.AbstractContextManager[Any]:
        return self.lock

    def read(self, name: str) -> Versioned:
        return self.models.get(name, NEVER)

    def write(self, name: str, state: Versioned) -> None:
        self.models[name] = state

    def read_all(self) -> dict[str, Versioned]:
        return dict(self.models)


class FileOfJSON(Small):
    """One JSON file, written beside itself and renamed, under a lock that the kernel takes back from the dead."""

    capabilities = _PROMISES | _KEPT

    def __init__(self, url: str) -> None:
        self.path = Path(url.partition("://")[2] + ".json")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        with open(f"{self.path}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self, name: str) -> Versioned:
        return self.read_all().get(name, NEVER)

    def read_all(self) -> dict[str, Versioned]:
        try:
            documents = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        return {name: _state(document) for name, document in documents.items()}

    def write(self, name: str, state: Versioned) -> None:
        self.write_all({**self.read_all(), name: state})

    def write_all(self, models: dict[str, Versioned]) -> None:
        unfinished = self.path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        unfinished.write_text(json.dumps({name: document(state) for name, state in models.items()}))
        unfinished.replace(self.path)

    def save_many(self, progresses: Iterable[AIProgress]) -> list[AIProgress]:
        batch = checked_batch(progresses)
        with self.exclusive():
            models = self.read_all()
            for progress in batch:
                models[progress.model_name] = self.stamped(progress, models.get(progress.model_name, NEVER))
            self.write_all(models)
        return [models[progress.model_name].record for progress in batch]


class SQLiteStorage(Small):
    """One table; every operation is one transaction that begins with its lock."""

    capabilities = _PROMISES | _KEPT
    begin = "BEGIN IMMEDIATE"

    def __init__(self, url: str) -> None:
        self.path = url.partition("://")[2] + ".small"
        self.connection = sqlite3.connect(
            self.path, isolation_level=None, timeout=10, check_same_thread=False
        )
        self.turn = threading.RLock()
        with self.turn:
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY, version INTEGER, document TEXT)"
            )

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        with self.turn:
            self.connection.execute(self.begin)
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def read(self, name: str) -> Versioned:
        row = self.connection.execute(
            "SELECT version, document FROM models WHERE name = ?", (name,)
        ).fetchone()
        return NEVER if row is None else Versioned(row[0], _record(row[1]))

    def write(self, name: str, state: Versioned) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO models VALUES (?, ?, ?)",
            (name, state.version, _text(state.record)),
        )

    def read_all(self) -> dict[str, Versioned]:
        rows = self.connection.execute("SELECT name, version, document FROM models").fetchall()
        return {name: Versioned(version, _record(text)) for name, version, text in rows}

    def close(self) -> None:
        with self.turn:
            self.connection.close()


def _state(document: dict[str, Any]) -> Versioned:
    return Versioned(document["version"], _record(document["record"]))


def document(state: Versioned) -> dict[str, Any]:
    """What stands for a model in the file."""
    return {"version": state.version, "record": _text(state.record)}


def _text(record: AIProgress | None) -> str | None:
    if record is None:
        return None
    return json.dumps(
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in (
                (field.name, getattr(record, field.name)) for field in dataclasses.fields(record)
            )
        },
        default=dict,
    )


def _record(text: str | None) -> AIProgress | None:
    if text is None:
        return None
    fields = json.loads(text)
    for name in ("training_start", "training_end", "created_at", "updated_at"):
        if fields[name] is not None:
            fields[name] = datetime.fromisoformat(fields[name])
    return AIProgress(**fields)
