"""What a violation is called: the names of the literature, told by what the counterexample has in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..history import Fault, History, Operation
from .result import Witness

__all__ = ["ANOMALIES", "anomaly_of", "mixed_of", "offender_of"]

ANOMALIES = (
    "lost update",
    "duplicate version",
    "stale read",
    "non-monotonic read",
    "value came back",
    "phantom read",
    "intermediate read",
    "torn read",
    "resurrection",
    "vanished record",
    "spurious conflict",
    "cross-key rollback",
    "durability loss",
    "took effect twice",
    "stale cache",
    "torn batch",
)
"""Where several fit, the first; but what is known of a fault, a cache or another model's change goes before that."""


def anomaly_of(
    witness: Witness, history: History, those: Sequence[Operation], faults: Sequence[Fault]
) -> str:
    """Name a violation.

    Args:
        witness: what was found.
        history: the whole.
        those: the operations on its model.
        faults: what was done to the storage while the witness took place.
    """
    rule, operations = witness.rule, witness.operations
    if rule == "batch":
        return "torn batch"
    if rule == "snapshot":
        return "torn read"
    if rule == "torn":
        return "durability loss" if _crash_before(operations[-1], history.faults) else "torn read"
    if rule == "spurious":
        return "spurious conflict"
    if rule == "duplicate":
        return _duplicate(operations)
    if rule == "gap":
        return "took effect twice"
    if rule == "base":
        return _base(operations, those)
    if rule == "delete":
        return "resurrection"
    if rule == "value":
        return _value(operations[-1], witness, those)
    return _late(witness, history, those, faults)


def offender_of(witness: Witness) -> Operation | None:
    """Return the operation that is at odds with the others; None: a search does not say which."""
    first, *others = witness.operations
    if witness.rule == "search":
        return None
    if witness.rule == "order" and any(_wrote(other, first) for other in others):
        return first
    return _reader(witness)


def _duplicate(operations: Sequence[Operation]) -> str:
    if all(operation.kind == "delete" for operation in operations):
        return "duplicate version"
    conditional = any(
        operation.base is not None or operation.consumed is not None for operation in operations
    )
    return "lost update" if conditional else "duplicate version"


def _base(operations: Sequence[Operation], those: Sequence[Operation]) -> str:
    """A change on a condition that did not hold when it took its version: what came between is overwritten."""
    offender = operations[-1]
    if offender.kind == "delete" and offender.base is None:
        return "resurrection"
    if offender.base == 0 or (offender.base or 0) < (offender.version or 0) - 1:
        return "lost update"
    return "phantom read"


def _value(reader: Operation, witness: Witness, those: Sequence[Operation]) -> str:
    got = reader.value if reader.kind == "get" else reader.consumed
    writers = [operation for operation in those if operation.kind != "get" and operation.value is not None]
    wrote = [operation for operation in writers if operation.value == got]
    if any(operation.outcome != "failed" for operation in wrote):
        one = next(operation for operation in wrote if operation.outcome != "failed")
        if reader.version is not None and one.version is not None and one.version < reader.version:
            return "value came back"
        return "took effect twice" if one.version != reader.version else "phantom read"
    mixed = mixed_of(got, writers)
    if mixed:
        return "intermediate read" if any(operation.kind == "update" for operation in mixed) else "torn read"
    return "phantom read"


def mixed_of(got: Any, writers: Sequence[Operation]) -> list[Operation]:
    """The writes of which a value that nobody wrote has a part each; empty if that is not what it is."""
    if not isinstance(got, dict) or not got:
        return []
    used: list[Operation] = []
    for key, value in got.items():
        those = [
            operation
            for operation in writers
            if isinstance(operation.value, dict) and key in operation.value and operation.value[key] == value
        ]
        if not those:
            return []
        if not any(operation is one for operation in those for one in used):
            used.append(those[-1])
    return used


def _late(witness: Witness, history: History, those: Sequence[Operation], faults: Sequence[Fault]) -> str:
    """Something was seen that must have been over, or not seen that must have been there."""
    first, *others = witness.operations
    if witness.rule == "order" and any(_wrote(other, first) for other in others):
        return "phantom read"  # it saw what was written only later
    reader = _reader(witness)
    if any(fault.kind in _CRASHES for fault in faults):
        return "durability loss"
    if reader.source == "cache":
        return "stale cache"
    overwriter = _newest_before(reader, those)
    if overwriter is not None and _rolled_back(overwriter, reader, history, those):
        return "cross-key rollback"
    if _is_absent(reader):
        return "vanished record"
    if overwriter is not None and overwriter.kind == "delete":
        return "resurrection"
    if overwriter is None:
        return "non-monotonic read"
    return "stale read"


_CRASHES = ("kill", "crash", "restart", "power loss")


def _crash_before(operation: Operation, faults: Sequence[Fault]) -> bool:
    return any(
        fault.kind in _CRASHES and fault.at < (operation.returned or operation.called) for fault in faults
    )


def _reader(witness: Witness) -> Operation:
    """The operation that saw too little."""
    if witness.rule == "order":
        versions = [_seen(operation) for operation in witness.operations]
        if all(version is not None for version in versions) and len(versions) == 2:
            # The one that was called last, with the lower version.
            return min(witness.operations, key=lambda operation: (_seen(operation) or 0, -operation.called))
        reads = [operation for operation in witness.operations if operation.kind == "get"]
        return max(reads or witness.operations, key=lambda operation: operation.called)
    return witness.operations[-1]


def _wrote(writer: Operation, reader: Operation) -> bool:
    if writer.kind == "get" or reader.returned is None or writer.called <= reader.returned:
        return False
    if _seen(reader) is not None:
        return _seen(reader) == _seen(writer)
    return reader.kind == "get" and reader.value == writer.value


def _seen(operation: Operation) -> int | None:
    return operation.actual if operation.outcome == "failed" else operation.version


def _is_absent(operation: Operation) -> bool:
    return _seen(operation) == 0


def _newest_before(reader: Operation, those: Sequence[Operation]) -> Operation | None:
    """The newest change that was acknowledged before a read was called, and that is newer than what it saw."""
    seen = _seen(reader)
    found = [
        operation
        for operation in those
        if operation.kind != "get"
        and operation.outcome == "ok"
        and operation.version != 0
        and operation.returned is not None
        and operation.returned < reader.called
        and (seen is None or operation.version is None or operation.version > seen)
        and (seen is not None or operation.value != reader.value)
    ]
    return max(found, key=lambda operation: (operation.version or 0, operation.called)) if found else None


def _rolled_back(lost: Operation, reader: Operation, history: History, those: Sequence[Operation]) -> bool:
    """Whether nobody saw a change again once it was over, and a change of another model can have undone it.

    That one was under way when the change returned, and had begun when what was read was still there to be copied.
    """
    assert lost.returned is not None
    for operation in those:
        version = _seen(operation)
        if operation is lost or operation.called < lost.called:
            continue
        if (version is not None and lost.version is not None and version >= lost.version) or (
            version is None and operation.kind == "get" and operation.value == lost.value
        ):
            return False
    replaced = _replaced_at(reader, lost, those)
    return any(
        operation.model_name
        and operation.model_name != lost.model_name
        and operation.kind in ("save", "update", "delete")
        and operation.outcome == "ok"
        and operation.called <= replaced
        and operation.returned is not None
        and operation.returned >= lost.returned
        for operation in history.operations
    )


def _replaced_at(reader: Operation, lost: Operation, those: Sequence[Operation]) -> int:
    """When what was read had surely been replaced: the first return of a change to a later version."""
    seen = _seen(reader)
    returns = [
        operation.returned
        for operation in those
        if operation.kind != "get"
        and operation.outcome == "ok"
        and operation.returned is not None
        and seen is not None
        and operation.version is not None
        and operation.version > seen
    ]
    return min([*returns, lost.returned or lost.called])
