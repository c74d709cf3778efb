"""Records as applications write them by hand, in camelCase or snake_case, made into `AIProgress`, each checked."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..config import snake_case
from ..errors import CorruptStorageError, InvalidProgressError
from ..progress import GIVEN_FIELDS, STAMPS, AIProgress
from ..validation import checked_progress
from .stream import Item, JSONFile

__all__ = ["Entry", "entries", "read_records"]

_MOMENTS = ("training_start", "training_end")


@dataclass(frozen=True, slots=True)
class Entry:
    """What was read at one place of a file: a record, or why there is none.

    Attributes:
        item: the place.
        record: checked; None where there is a problem.
        problem: an `InvalidProgressError`, or what is wrong with the text.
    """

    item: Item
    record: AIProgress | None
    problem: InvalidProgressError | str | None = None


def read_records(path: str | Path) -> list[AIProgress]:
    """Read the records of a JSON file, in the file's order, each checked.

    The file holds a list of records, an object of records by model name, one record, or a record on each line
    (JSON Lines); their keys are in camelCase or snake_case, moments in ISO 8601 with a time zone. Keys that are no
    field's go to ``metadata``. ``version``, ``created_at`` and ``updated_at`` are left out where they are a count and
    moments: they are the business of the storage that keeps the records.

    Args:
        path: the file.

    Raises:
        StorageUnavailableError: the file can't be read.
        CorruptStorageError: it is no JSON, or a record breaks a rule; the message names the file, and the record by
            its place and model. The cause of a broken rule is its `InvalidProgressError`.
    """
    place = Path(path)
    records: list[AIProgress] = []
    places: dict[str, Item] = {}
    with JSONFile(place) as file:
        for entry in entries(file):
            item, record, problem = entry.item, entry.record, entry.problem
            if record is None:
                cause = problem if isinstance(problem, InvalidProgressError) else None
                raise CorruptStorageError(f"{place}: {item.place}: {problem}") from cause
            if (before := places.setdefault(record.model_name, item)) is not item:
                raise CorruptStorageError(f"{place}: {item.place}: {same_model(item, before)}")
            records.append(record)
    return records


def same_model(item: Item, before: Item) -> str:
    """Say that a model comes twice in a file."""
    if item.name is None:
        return f"the same model as {before.place}"
    return f"the key {item.name!r} comes twice, the same model as {before.place}"


def entries(file: JSONFile) -> Iterator[Entry]:
    """Yield what a file has at each place, in its order; a record that breaks a rule with that rule's error."""
    for item in file:
        if item.problem is not None:
            yield Entry(item, None, item.problem)
            continue
        try:
            record = record_of(item.name, item.value)
        except InvalidProgressError as error:
            yield Entry(item, None, error)
        else:
            yield Entry(item, record)


def record_of(name: str | None, value: Any) -> AIProgress:
    """Return the record that a JSON object is.

    Args:
        name: the model's, where the object stands under it; else it must be in there.
        value: the object.

    Raises:
        InvalidProgressError: no object, or one that breaks a rule of a record.
    """
    if not isinstance(value, dict):
        raise InvalidProgressError("record", value, "must be a JSON object")
    fields: dict[str, Any] = {} if name is None else {"model_name": name}
    others: dict[str, Any] = {}
    for key, found in value.items():
        field = _field_of(key)
        if field in STAMPS:
            if _is_stamp(field, found):
                continue
            field = None
        target, key = (others, key) if field is None else (fields, field)
        if key in target and _differ(target[key], found):
            raise InvalidProgressError(field or key, found, f"is told twice, before as {target[key]!r}")
        target[key] = found
    for field in ("model_name", "mse"):
        if field not in fields:
            raise InvalidProgressError(field, None, "must be there")
    for field in _MOMENTS:
        if isinstance(text := fields.get(field), str):
            fields[field] = _moment(field, text)
    if others:
        fields["metadata"] = _joined(fields.get("metadata"), others)
    elif fields.get("metadata", 0) is None:
        del fields["metadata"]
    return checked_progress(AIProgress(**fields))


@functools.lru_cache(maxsize=1024)
def _field_of(key: str) -> str | None:
    """The field or stamp that a key is the name of; None: it is none's."""
    name = snake_case(key)
    return name if name in GIVEN_FIELDS or name in STAMPS else None


def _moment(field: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidProgressError(field, text, "must be a moment in ISO 8601") from None


def _is_stamp(field: str, value: Any) -> bool:
    """Whether a storage may have written this; "resnet-2.1" is an application's version, and is kept."""
    if value is None:
        return True
    if field == "version":
        return type(value) is int
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _differ(one: Any, other: Any) -> bool:
    """Whether two values of JSON differ, in their types as well: 1 is neither True nor 1.0."""
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def _joined(metadata: Any, others: dict[str, Any]) -> Any:
    if metadata is None:
        return others
    if not isinstance(metadata, dict):
        raise InvalidProgressError("metadata", metadata, "must be a JSON object")
    for key in others:
        if key in metadata and _differ(metadata[key], others[key]):
            raise InvalidProgressError(
                "metadata", others[key], f"is told twice, before as {metadata[key]!r}", (key,)
            )
    return {**metadata, **others}
