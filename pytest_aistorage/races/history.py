"""Recorded histories: what every client called, when, and what it was told; and their text form, JSON Lines.

One line is one operation or one fault, an object with the fields of `Operation` or `Fault` that are not at their
default; the first line may be ``{"history": 1}``. Histories of other programs can be checked when they are written
this way: all that is needed is ``process``, ``kind``, ``model_name``, ``called``, ``returned``, ``outcome``, and
what was written or read, as ``version``, as ``value``, or both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigurationError

__all__ = ["KINDS", "NEVER", "OUTCOMES", "Fault", "History", "Operation", "Part"]

KINDS = ("save", "update", "delete", "get", "save_many", "load")
OUTCOMES = ("ok", "failed", "unknown")
FORMAT = 1

NEVER = 1 << 200
"""Later than whatever a clock tells. Where times are compared it stands for a return that never came."""


class Part(NamedTuple):
    """One record of a batch or a listing.

    Attributes:
        model_name: the model.
        version: what was acknowledged or read; None: the storage has no versions.
        value: what was written or read.
    """

    model_name: str
    version: int | None = None
    value: Any = None


class Operation(NamedTuple):
    """One operation of one client: its call, its return, and what it was told.

    A tuple, because a history may have a hundred thousand of them.

    Attributes:
        process: the client; it has one operation at a time.
        kind: one of `KINDS`.
        model_name: the model; empty for a batch and a listing.
        called: when it was called, in nanoseconds of a clock that all processes share.
        returned: when it returned or raised; None: it never did.
        outcome: ``ok``; ``failed``: it had no effect; ``unknown``: it may have had one, at any time after its call.
        version: what was acknowledged, or read: 0 where nothing was there. None: the storage has no versions.
        base: the version that the change was made on the condition of: the ``expected_version`` of a save or a
            delete, the version that an update was given, 0: that nothing was there. None: there was no condition.
        value: what was written or read, anything that can be compared and is JSON; best unique for each write.
            An update's is what it wrote.
        consumed: the value that an update was given, where there are no versions.
        actual: of a conflict, the version that was met, 0: nothing was there. It makes a failed operation a read.
        error: the name of the error's type.
        parts: the records of a batch or a listing.
        source: where a read was answered from, if it is known: ``cache``, ``database``.
    """

    process: int
    kind: str
    model_name: str
    called: int
    returned: int | None
    outcome: str = "ok"
    version: int | None = None
    base: int | None = None
    value: Any = None
    consumed: Any = None
    actual: int | None = None
    error: str | None = None
    parts: tuple[Part, ...] = ()
    source: str | None = None


class Fault(NamedTuple):
    """Something that was done to the storage during a race.

    Attributes:
        kind: ``kill``, ``restart``, ``pause``, ``partition``, …
        at: when, by the clock of the operations.
        target: what it was done to.
    """

    kind: str
    at: int
    target: str = "server"


class History:
    """The operations of a race, and the faults during it.

    Args:
        operations: in any order.
        faults: in any order.

    Raises:
        ConfigurationError: an operation is of no known kind or outcome, or returned before it was called.
    """

    def __init__(self, operations: Iterable[Operation], faults: Iterable[Fault] = ()) -> None:
        self.operations = list(operations)
        self.faults = sorted(faults, key=lambda fault: fault.at)
        for number, operation in enumerate(self.operations, 1):
            if operation[1] not in KINDS or operation[5] not in OUTCOMES:
                raise ConfigurationError(
                    f"operation {number}: kind {operation.kind!r} and outcome {operation.outcome!r}; there are "
                    f"{', '.join(KINDS)} and {', '.join(OUTCOMES)}"
                )
            if operation[4] is not None and operation[4] < operation[3]:
                raise ConfigurationError(f"operation {number} returned before it was called: {operation}")

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __repr__(self) -> str:
        return f"<History of {len(self.operations)} operations>"

    # -- text -----------------------------------------------------------------------------------------------

    def dump(self, path: Path) -> None:
        """Write it as JSON Lines."""
        # A lone surrogate, which a name may have, is written as JSON would escape it.
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps({"history": FORMAT}) + "\n")
            for line in self._lines():
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")

    def _lines(self) -> Iterator[dict[str, Any]]:
        for fault in self.faults:
            yield {"fault": fault.kind, "at": fault.at, "target": fault.target}
        for operation in self.operations:
            line = {
                field: value
                for field, value in zip(Operation._fields, operation, strict=True)
                if value != Operation._field_defaults.get(field, _REQUIRED)
            }
            if operation.parts:
                line["parts"] = [list(part) for part in operation.parts]
            yield line

    @classmethod
    def load(cls, path: Path) -> History:
        """Read it from JSON Lines.

        Raises:
            ConfigurationError: naming the file, the line and what is wrong with it.
            OSError: the file can't be read.
        """
        operations: list[Operation] = []
        faults: list[Fault] = []
        with path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    try:
                        _read(text, operations, faults)
                    except (ValueError, TypeError, RecursionError) as error:
                        raise ConfigurationError(f"{path}, line {number}: {error}") from error
        try:
            return cls(operations, faults)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error


_REQUIRED = object()
_INTEGERS = ("process", "called", "returned", "version", "base", "actual")
_VERSIONS = ("version", "base", "actual")
_WORDS = ("kind", "model_name", "outcome", "error", "source")
_SEVERAL = ("save_many", "load")


def _read(text: str, operations: list[Operation], faults: list[Fault]) -> None:
    line = json.loads(text, parse_constant=_refuse)
    if not isinstance(line, dict):
        raise ValueError(f"an object is expected, not {text.strip()[:60]!r}")
    if "history" in line:
        if line["history"] != FORMAT:
            raise ValueError(f"format {line['history']!r} is not known; this is {FORMAT}")
    elif "fault" in line:
        faults.append(Fault(str(line["fault"]), _integer(line, "at"), str(line.get("target", "server"))))
    else:
        operations.append(_operation(line))


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is no JSON: it would not even be equal to itself")


def _operation(line: Mapping[str, Any]) -> Operation:
    if unknown := sorted(set(line) - set(Operation._fields)):
        raise ValueError(f"no operation has a field {unknown[0]!r}")
    if missing := [name for name in ("process", "kind", "called") if name not in line]:
        raise ValueError(f"{missing[0]} is missing")
    given = {"model_name": "", "returned": None, **line}
    for name in _INTEGERS:
        if given.get(name) is not None:
            given[name] = _integer(given, name)
    for name in _VERSIONS:
        _check_version(name, given.get(name))
    for name in _WORDS:
        if name in line and not (isinstance(line[name], str) or (line[name] is None and name in _WORDS[3:])):
            raise ValueError(f"{name} must be a string, not {line[name]!r}")
    if given["kind"] not in _SEVERAL and not given["model_name"]:
        raise ValueError("model_name is missing")
    if "parts" in given:
        given["parts"] = _parts(given["parts"])
    return Operation(**given)


def _parts(given: object) -> tuple[Part, ...]:
    if not isinstance(given, list):
        raise ValueError(f"parts must be a list, not {given!r}")
    parts = []
    for one in given:
        if not isinstance(one, list) or not 1 <= len(one) <= 3 or not (isinstance(one[0], str) and one[0]):
            raise ValueError(f"a part must be [model_name, version, value], not {one!r}")
        part = Part(*one)
        if part.version is not None:
            _check_version("version", _integer(part._asdict(), "version"))
        parts.append(part)
    if len({part.model_name for part in parts}) < len(parts):
        raise ValueError("parts has a model twice")
    return tuple(parts)


def _check_version(name: str, version: int | None) -> None:
    if version is not None and version < 0:
        raise ValueError(f"{name} must not be negative, but is {version}")


def _integer(line: Mapping[str, Any], name: str) -> int:
    value = line.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer, not {value!r}")
    if not -(2**63) <= value < 2**63:  # nanoseconds in a float would overflow, far beyond any clock
        raise ValueError(f"{name} must be a 64-bit integer")
    return value
