"""The naive JSON file: read all, change, write all. It loses data, and is kept as the thing proven wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

from .. import codec, config
from .._failpoints import reach
from ..capabilities import Capability
from ..errors import (
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    OutcomeUnknownError,
    StorageUnavailableError,
    VersionConflictError,
)
from ..progress import AIProgress, stamped
from ..storage import AIStorage, Change

__all__ = ["FileStorage"]

_Documents = dict[str, AIProgress]


class FileStorage(AIStorage):
    """All records in one JSON file, ``training_metrics.json``, as applications write it by hand.

    Every write reads the whole file, changes it in memory and writes the whole file again, in place and under
    no lock. So two writers lose each other's updates, a reader meets half a file, and a crash while writing
    destroys every record. It is here as the source of a migration, the fallback of a single developer, and the
    thing that the other backends are compared with. It does not grow locks.

    Args:
        path: the file; it comes into being with the first save.
    """

    type: ClassVar[str] = "file"
    schemes: ClassVar[tuple[str, ...]] = ("file",)
    url_options: ClassVar[config.OptionChecks] = {"timeout": config.seconds}
    _most_at_once = 1  # each operation takes the whole file; two would gain nothing and meet half of it
    _saves_together = True  # also a single one writes the whole file, or leaves it torn

    def __init__(self, path: str | Path) -> None:
        self.capabilities = frozenset({Capability.SHARED_BETWEEN_PROCESSES, Capability.SURVIVES_CLOSE})
        self._path = Path(path)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open ``file:///absolute/path.json``.

        Raises:
            ConfigurationError: a host, no path, or an unknown option.
        """
        parts, _ = config.option_of(config.StorageURL.parse(url), options, cls.url_options)
        config.nothing_left(parts)
        if parts.host not in (None, "localhost") or not parts.path.startswith("/") or parts.path == "/":
            raise ConfigurationError("a file URL is file:///absolute/path/training_metrics.json")
        path = parts.path
        if path[2:3] == ":":  # file:///C:/metrics.json
            path = path[1:]
        return cls(path)

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Return the URL of a file that does not exist yet."""
        path = (tmp_path / "training_metrics.json").absolute().as_posix()
        return f"file://{quote(path if path.startswith('/') else '/' + path)}"

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        records = self._read()
        reach("after_read")
        current = records.get(record.model_name)
        _check(record.model_name, expected, current)
        saved = records[record.model_name] = _stamped(record, current)
        self._write(records)
        return saved

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        stored = self._read()
        reach("after_read")
        saved = [_stamped(record, stored.get(record.model_name)) for record in records]
        stored.update((record.model_name, record) for record in saved)
        self._write(stored)
        return saved

    def _get(self, model_name: str) -> AIProgress | None:
        found = self._read().get(model_name)
        reach("after_read")
        return found

    def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
        records = self._read()
        reach("after_read")
        # A record for each who asks, for its metadata can be changed.
        return [copy.deepcopy(records.get(name)) for name in model_names]

    def _add_many(self, records: list[AIProgress], ttl: timedelta | None) -> set[str]:
        stored = self._read()
        reach("after_read")
        absent = [record for record in records if record.model_name not in stored]
        if absent:
            stored.update((record.model_name, _stamped(record, None)) for record in absent)
            self._write(stored)
        return {record.model_name for record in absent}

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        records = self._read()
        return iter([records[name] for name in sorted(records)])

    def _update(self, model_name: str, change: Change) -> AIProgress:
        records = self._read()
        reach("after_read")
        current = records.get(model_name)
        saved = records[model_name] = _stamped(change(current), current)
        self._write(records)
        return saved

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        records = self._read()
        reach("after_read")
        current = records.pop(model_name, None)
        _check(model_name, expected, current)
        if current is None:
            return None
        self._write(records)
        return current.version + 1

    def _count(self) -> int:
        return len(self._read())

    def _ping(self) -> None:
        self._read()

    def _close(self) -> None:
        pass

    def _location(self) -> str:
        return str(self._path)

    def _translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        if isinstance(error, OSError):
            return StorageUnavailableError(f"{self._path}: {error.strerror or error}")
        return None

    def _read(self) -> _Documents:
        try:
            with open(self._path, encoding="utf-8") as file:
                documents = json.load(file)
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or brackets without an end
            raise CorruptStorageError(f"{self._path}: no JSON: {error}") from error
        if not isinstance(documents, list):
            raise CorruptStorageError(
                f"{self._path}: a JSON {type(documents).__name__} where a list should be"
            )
        return {record.model_name: record for record in map(codec.record_from_document, documents)}

    def _write(self, records: _Documents) -> None:
        documents = [codec.record_to_document(records[name]) for name in sorted(records)]
        reach("before_write")
        opened = open(self._path, "w", encoding="utf-8")  # noqa: SIM115  # what fails behind it is another matter
        try:
            with opened as file:
                reach("before_commit")  # the file is empty now, and stays so if the client ends here
                json.dump(documents, file, indent=2)
        except OSError as error:
            raise OutcomeUnknownError(
                f"{self._path}: {error.strerror or error}, when the file had been emptied to be written anew"
            ) from error


def _check(model_name: str, expected: int | None, current: AIProgress | None) -> None:
    actual = 0 if current is None else current.version
    if expected is not None and expected != actual:
        raise VersionConflictError(model_name, expected, actual)


def _stamped(record: AIProgress, current: AIProgress | None) -> AIProgress:
    now = datetime.now(UTC)
    if current is None:
        return stamped(record, 1, now, now)
    assert current.created_at is not None  # the codec refuses a stored record without stamps
    assert current.updated_at is not None
    return stamped(record, current.version + 1, current.created_at, max(now, current.updated_at))
