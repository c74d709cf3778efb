"""A sequence of operations in words: one numbered line an operation, with the client's letter and the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ..errors import VersionConflictError
from ..progress import GIVEN_FIELDS, STAMPS, AIProgress, ProgressQuery
from ..queries import same_json
from .equality import same_value

__all__ = [
    "ALL",
    "Narrative",
    "differences",
    "said_batch",
    "said_error",
    "said_given",
    "said_listing",
    "said_name",
    "said_place",
    "said_query",
    "said_record",
    "said_version",
    "said_versions",
]

ALL = (*GIVEN_FIELDS, *STAMPS)
"""The fields of a record."""

_DEFAULTS = AIProgress(model_name="", mse=0.0)
_LONGEST_NAME = 40


class Narrative:
    """What was done so far.

    Args:
        prefix: what all names of the sequence begin with; it is left out of the words.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Add an operation."""
        self.lines.append(line)

    def told(self, verdict: Iterable[str]) -> str:
        """Return the whole sequence.

        Args:
            verdict: what was expected and what came, in lines.
        """
        width = len(str(len(self.lines)))
        lines = [f"  {number:>{width}} {line}" for number, line in enumerate(self.lines, 1)]
        text = "\n".join([*lines, *(f"  {line}" for line in verdict)])
        return text.replace(self._prefix, "") if self._prefix else text


def said_name(name: str) -> str:
    """Return a model's name; a long one by its beginning and its length."""
    if len(name) <= _LONGEST_NAME:
        return repr(name)
    return f"{name[: _LONGEST_NAME // 4]!r}… ({len(name)} characters)"


def said_given(fields: Mapping[str, Any]) -> str:
    """Return fields as arguments; moments as ISO 8601 has them."""
    order = sorted(fields, key=lambda field: (*ALL, *fields).index(field))
    return ", ".join(f"{field}={_said_value(fields[field])}" for field in order)


def said_batch(batch: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Return names and fields of some records."""
    return ", ".join(f"{said_name(name)} {said_given(fields)}" for name, fields in batch)


def said_record(record: object) -> str:
    """Return a record by its version and what differs from an empty one; other things by their repr."""
    if not isinstance(record, AIProgress):
        return repr(record)
    fields = {"mse": record.mse}
    for field in GIVEN_FIELDS[2:]:
        if not same_json(getattr(record, field), getattr(_DEFAULTS, field)):
            fields[field] = getattr(record, field)
    return f"{said_name(record.model_name)} v{record.version}, {said_given(fields)}"


def said_version(record: object) -> str:
    """Return a record's version."""
    return f"v{record.version}" if isinstance(record, AIProgress) else repr(record)


def said_versions(records: object) -> str:
    """Return the versions of a list of records."""
    return ", ".join(map(said_version, records)) if isinstance(records, list) else repr(records)


def said_place(record: object) -> str:
    """Return a record's name and version."""
    if not isinstance(record, AIProgress):
        return repr(record)
    return f"{said_name(record.model_name)} v{record.version}"


def said_listing(records: object) -> str:
    """Return the names and versions of records."""
    if not isinstance(records, Iterable):
        return repr(records)
    return f"[{', '.join(map(said_place, records))}]"


def said_query(query: ProgressQuery) -> str:
    """Return what a query asks for, as arguments."""
    defaults = ProgressQuery()
    given = {field.name: getattr(query, field.name) for field in dataclasses.fields(query)}
    asked = {name: value for name, value in given.items() if value != getattr(defaults, name)}
    if (after := asked.pop("after", None)) is None:
        return said_given(asked)
    return ", ".join([*filter(None, [said_given(asked)]), f"after={said_place(after)}"])


def said_error(error: BaseException) -> str:
    """Return an error by its type, and what matters of its text."""
    if isinstance(error, VersionConflictError):
        return f"VersionConflictError(expected={error.expected}, actual={error.actual})"
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def differences(wanted: AIProgress, got: AIProgress, fields: Iterable[str]) -> list[str]:
    """Say in which of the fields a record differs from the wanted one, types included; one line each."""
    lines = []
    for field in fields:
        expected, actual = getattr(wanted, field), getattr(got, field)
        if not same_value(expected, actual):
            expected, actual = _said_value(expected), _said_value(actual)
            lines.append(f"{field} of {said_name(wanted.model_name)}: expected {expected}, got {actual}")
    return lines


def _said_value(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, str):
        return said_name(value)  # a prefix of names may be as long as they are
    return repr(value)
