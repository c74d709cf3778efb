"""The words for operations and violations, which the text and the picture of a history share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .checker.result import Check, Violation
from .history import History, Operation
from .ledger import Balance

__all__ = [
    "detail_of",
    "duration",
    "extent_of",
    "label_of",
    "losses_of",
    "mark_of",
    "meanwhile_of",
    "nearest",
    "numbers_of",
    "seen_by",
    "shows_values",
    "span_of",
]

_LONGEST = 24  # letters of a value
_CHANGES = ("save", "update", "delete")

_MARKS = {
    "duplicate version": "same version",
    "stale read": "was replaced",
    "non-monotonic read": "went back",
    "value came back": "was replaced",
    "phantom read": "nobody had written it",
    "intermediate read": "half of an update",
    "torn read": "torn",
    "resurrection": "was deleted",
    "vanished record": "was there",
    "spurious conflict": "no conflict",
    "cross-key rollback": "rolled back",
    "durability loss": "lost",
    "took effect twice": "once too often",
    "stale cache": "was replaced",
    "torn batch": "part of a batch",
}
"""What is said beside the offending operation. Of a lost update it depends on how it was lost."""


def numbers_of(history: History) -> dict[int, int]:
    """Number the operations by their places in the history, from 1; by their identity, since values need no hash."""
    return {id(operation): number for number, operation in enumerate(history.operations, 1)}


def extent_of(check: Check) -> str:
    """Say how much was checked: ``200 operations on 1 model``."""
    return f"{check.operations} operations on {check.models} model{'s' * (check.models != 1)}"


def meanwhile_of(violation: Violation) -> str:
    """Say what was done to the storage during a violation: ``Meanwhile: kill of server.``; empty: nothing."""
    faults = ", ".join(f"{fault.kind} of {fault.target}" for fault in violation.faults)
    return f"Meanwhile: {faults}." if faults else ""


def detail_of(violation: Violation, history: History) -> str:
    """Say more than the anomaly's name does: ``version 9 acknowledged twice``; empty where there is no more."""
    offender = violation.offender
    if offender is None or mark_of(violation, offender) != "same version":
        return ""
    times = sum(
        1
        for operation in history.operations
        if operation.version == offender.version
        and operation.model_name == offender.model_name
        and operation.outcome == "ok"
        and operation.kind in _CHANGES
    )
    # A batch may be the other one; of it the history has no operation on the model.
    return f"version {offender.version} acknowledged {'twice' if times <= 2 else f'{times} times'}"


def mark_of(violation: Violation, operation: Operation) -> str:
    """Return what stands beside the operation that is at odds with the others: ``same version``; else nothing."""
    if operation is not violation.offender:
        return ""
    if violation.anomaly != "lost update":
        return _MARKS[violation.anomaly]
    if any(
        other is not operation and other.outcome == "ok" and other.version == operation.version
        for other in violation.operations
        if other.kind != "get" and other.version is not None
    ):
        return "same version"
    if operation.base is not None and operation.version:
        return f"v{operation.version - 1} is lost"
    return "from the same value"


def shows_values(violation: Violation) -> bool:
    """Whether the values are the point of it, and not the versions."""
    return violation.anomaly in ("value came back", "phantom read", "intermediate read", "torn read")


def losses_of(history: History, balance: Balance | None = None) -> list[str]:
    """Say how much of it there is in the whole run: what is nought is left out.

    Args:
        history: the run. An acknowledged change that shares its version with another one is lost, or the other is:
            without a balance, that is the least that is known.
        balance: what was acknowledged and what was kept.
    """
    versions: Counter[tuple[str, int]] = Counter()
    kinds = set()
    unknown = 0
    for operation in history.operations:
        if operation.outcome == "unknown":
            unknown += 1
        elif operation.outcome == "ok" and operation.version and operation.kind in _CHANGES:
            versions[operation.model_name, operation.version] += 1
            kinds.add(operation.kind)
    word = "save" if kinds == {"save"} else "change"
    twice = sum(1 for number in versions.values() if number > 1)
    found = []
    if twice:
        found.append(f"{twice} version{'s' * (twice != 1)} acknowledged more than once")
    if balance is not None:
        if balance.lost:
            found.append(f"{balance.lost} acknowledged {word}{'s' * (balance.lost != 1)} lost")
        if balance.unreadable:
            found.append("what is stored can't be read")
    elif twice:
        lost = sum(number - 1 for number in versions.values())
        found.append(f"at least {lost} acknowledged {word}{'s' * (lost != 1)} lost")
    if unknown:
        found.append(f"{unknown} of unknown outcome")
    return found


def nearest(violation: Violation, most: int) -> Sequence[Operation]:
    """Return the operations that are shown of a violation, in the order of their calls.

    Where there are too many, they are those around the offending one, most of them before it, and what it saw.
    """
    operations = violation.operations
    if len(operations) <= most:
        return operations
    place = next((n for n, one in enumerate(operations) if one is violation.offender), 0)
    wanted = [place]
    wanted += [
        number
        for number, one in enumerate(operations)
        if any(one is other for other in violation.context)
        or (violation.offender is not None and seen_by(violation.offender, one))
    ]
    # An operation behind the offender is twice as far away as one before it.
    rest = sorted(range(len(operations)), key=lambda n: 2 * (n - place) if n > place else place - n)
    chosen = list(dict.fromkeys([*wanted, *rest]))[:most]
    return [operations[number] for number in sorted(chosen)]


def seen_by(reader: Operation, writer: Operation) -> bool:
    """Whether an operation was told, or started from, what the other one wrote, as far as it can be told apart."""
    if reader is writer or writer.kind in ("get", "load") or writer.outcome == "failed":
        return False
    if reader.kind == "load":
        return any(_same(part.version, part.value, writer, part.model_name) for part in reader.parts)
    if reader.model_name != writer.model_name:
        return writer.kind == "save_many" and any(
            part.model_name == reader.model_name and _is(reader, part.version, part.value)
            for part in writer.parts
        )
    return _is(reader, writer.version, writer.value)


def _is(reader: Operation, version: int | None, value: Any) -> bool:
    """Whether what a reader saw is this version; or where there are no versions, this value."""
    if reader.kind == "get":
        seen, got = reader.version, reader.value
    elif reader.actual is not None:
        seen, got = reader.actual, None
    else:
        seen, got = reader.base, reader.consumed
    if seen is not None and version is not None:
        return seen == version != 0
    return got is not None and got == value


def _same(version: int | None, value: Any, writer: Operation, model_name: str) -> bool:
    parts: Sequence[Any] = writer.parts or (writer,)
    return any(
        part.model_name == model_name
        and (part.version == version if version is not None and part.version else part.value == value)
        for part in parts
    )


def span_of(operations: Sequence[Operation]) -> tuple[int, int]:
    """Return the moments of the first call and of the last return or call, in nanoseconds."""
    begin = min(operation.called for operation in operations)
    return begin, max(
        operation.called if operation.returned is None else operation.returned for operation in operations
    )


def duration(nanoseconds: int) -> str:
    """Return a time in the unit that suits it: ``0.67 ms``, ``0.09 s``."""
    if nanoseconds >= 50_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    return f"{nanoseconds / 1e6:.2f} ms" if nanoseconds >= 10_000 else f"{nanoseconds / 1e3:.2f} µs"


# -- labels ---------------------------------------------------------------------------------------------------


def label_of(operation: Operation, number: int | None = None, *, values: bool = False) -> str:
    """One operation in a few words: ``save if v1 #7 -> v2``, ``get #8 -> nothing``, ``delete #9 -> ?``.

    Args:
        operation: what is said.
        number: its place in its history.
        values: whether records are shown even where their versions are known; text and numbers always are.
    """
    kind = operation.kind
    sign = "" if number is None else f" #{number}"
    if kind in ("save_many", "load") and not operation.model_name:
        return f"{kind}{sign} -> {_told_of_several(operation)}"
    value = operation.value
    shown = value is not None and (values or not isinstance(value, Mapping) or not operation.version)
    said = f" {_short(value)}" if shown else ""
    condition = ""
    if operation.base is not None and kind != "get":
        word = "from" if kind == "update" else "if"
        condition = f" {word} v{operation.base}" if operation.base else f" {word} absent"
    elif operation.consumed is not None:
        condition = f" from {_short(operation.consumed)}"
    if operation.outcome == "failed":
        met = operation.error or "failed"
        if operation.actual is not None:
            met = f"conflict: v{operation.actual}" if operation.actual else "conflict: nothing"
        return f"{kind}{condition}{sign} -> {met}"
    if operation.outcome == "unknown":
        return f"{kind}{condition}{sign}{said} -> ?"
    if operation.version == 0:
        return f"{kind}{condition}{sign} -> nothing"
    if kind == "get":
        told = "" if operation.version is None else f" v{operation.version}"
        if not told and value is None:
            told = " nothing"
        return f"get{sign} ->{told}{said}"
    told = "ok" if operation.version is None else f"v{operation.version}"
    return f"{kind}{condition}{sign}{said} -> {told}"


def _told_of_several(operation: Operation) -> str:
    if operation.outcome != "ok":
        return "?" if operation.outcome == "unknown" else operation.error or "failed"
    if len(operation.parts) > 4:
        return f"{len(operation.parts)} records"
    return (
        ", ".join(
            f"{_short(part.model_name)} v{part.version}"
            if part.version is not None
            else _short(part.model_name)
            for part in operation.parts
        )
        or "nothing"
    )


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        text = " ".join(f"{key}={one}" for key, one in value.items()) or "{}"
    else:
        text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split()) or "''"  # a line feed would break the line
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
