"""From a witness to what is shown: the fewest operations that violate on their own, named."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..history import Fault, History, Operation
from .anomalies import anomaly_of, mixed_of, offender_of
from .result import Violation, Witness, unique
from .search import Budget, search
from .snapshots import check_moments
from .tags import check_tags, is_tagged
from .values import identity
from .versions import check_versions, is_versioned

__all__ = ["violation_of"]

_STEPS = 20_000
_LARGEST = (
    400  # operations that a search's witness is cut down from; of more, the last ones before it got stuck
)


def violation_of(
    name: str, witness: Witness, history: History, models: Mapping[str, Sequence[Operation]]
) -> Violation:
    """Name a violation, and make it small.

    Args:
        name: the model; empty where several are concerned.
        witness: what was found.
        history: the whole.
        models: the operations on each model.
    """
    those: Sequence[Operation] = models.get(name, ())
    # A tier may have changed an operation of unknown outcome for its own use; what is shown is what was recorded.
    recorded = {(operation.process, operation.called, operation.model_name): operation for operation in those}
    shown = {
        id(one): recorded.get((one.process, one.called, one.model_name), one) for one in _all_of(witness)
    }
    certificate = unique(shown[id(operation)] for operation in witness.operations)
    known = [shown[id(operation)] for operation in witness.known]
    chosen = list(unique([*certificate, *known, *_started_from(witness, those)]))
    context = chosen[len(certificate) :]
    operations: Sequence[Operation]
    if witness.rule in ("torn", "spurious"):
        operations, verified, model = chosen, True, name or "(listing)"
    elif not name:
        operations, verified = chosen, check_moments(chosen, snapshot=True, atomic=True) is not None
        operations = chosen if verified else list(history.operations)
        model = ", ".join(_models_of(chosen))
    elif witness.rule == "search":
        operations, verified = _cut_down(those, witness.operations)
        model = name
    else:
        operations, verified = _smallest(chosen, those)
        model = name
    operations = sorted(operations, key=lambda operation: operation.called)
    faults = _between(history.faults, operations if verified else witness.operations)
    named = witness if witness.rule != "search" else _found_in(operations) or witness
    return Violation(
        anomaly=anomaly_of(named, history, those, faults),
        model_name=model,
        operations=tuple(operations),
        context=tuple(one for one in context if any(one is operation for operation in operations)),
        offender=_found_among(operations, offender_of(named)),
        base=_base(operations) if verified and name else None,
        verified=verified,
        why=named.why,
        faults=tuple(faults),
    )


def _started_from(witness: Witness, those: Sequence[Operation]) -> Sequence[Operation]:
    """What the certificate does not need, and its reader does: the common base, or the writes that got mixed."""
    writers = [operation for operation in those if operation.kind != "get" and operation.outcome != "failed"]
    if witness.rule == "value":
        reader = witness.operations[-1]
        return mixed_of(reader.value if reader.kind == "get" else reader.consumed, writers)
    if witness.rule != "duplicate" or witness.known:
        return ()
    version = witness.operations[0].version or 0
    return [operation for operation in writers if version > 1 and operation.version == version - 1][:1]


def _found_among(operations: Sequence[Operation], wanted: Operation | None) -> Operation | None:
    """The operation as it is shown: a tier may have changed it for its own use."""
    return next(
        (
            one
            for one in operations
            if wanted is not None
            and (one.process, one.called, one.kind) == (wanted.process, wanted.called, wanted.kind)
        ),
        None,
    )


def _models_of(operations: Sequence[Operation]) -> list[str]:
    found = [part.model_name for operation in operations for part in operation.parts]
    return sorted({*found, *(operation.model_name for operation in operations if operation.model_name)})


def _all_of(witness: Witness) -> tuple[Operation, ...]:
    return (*witness.operations, *witness.known)


def _smallest(chosen: list[Operation], those: Sequence[Operation]) -> tuple[Sequence[Operation], bool]:
    """The certificate and the writers of what it saw; if need be with what it started from; or else everything."""
    for operations in (chosen, _with_bases(chosen, those)):
        if _violates(operations):
            return operations, True
    return those, False


def _with_bases(chosen: Sequence[Operation], those: Sequence[Operation]) -> list[Operation]:
    wanted = {operation.base for operation in chosen if operation.base}
    values = [
        value for operation in chosen for value in (operation.consumed, operation.value) if value is not None
    ]
    writers = [
        operation
        for operation in those
        if operation.kind != "get"
        and operation.outcome != "failed"
        and (operation.version in wanted or operation.value in values)
    ]
    return list(unique([*chosen, *writers]))


def _violates(operations: Sequence[Operation]) -> bool:
    if is_versioned(operations):
        return isinstance(check_versions(_closer(operations), partial=True), Witness)
    if is_tagged(operations):
        return isinstance(check_tags(operations), Witness)
    return isinstance(search(operations, Budget(_STEPS)), Witness)


def _closer(operations: Sequence[Operation]) -> list[Operation]:
    """Return a part of a history with its versions closer together: of those in between that it lacks one is left."""
    known = sorted(
        {number for one in operations for number in (one.version, one.base, one.actual) if number is not None}
    )
    numbers: dict[int | None, int | None] = {None: None}
    for before, version in itertools.pairwise([0, *known]):
        if version <= 0 or before < 0:
            numbers[version] = min(version, 2)
        else:
            numbers[version] = (numbers.get(before) or 0) + min(version - before, 2)
    return [
        one._replace(version=numbers[one.version], base=numbers[one.base], actual=numbers[one.actual])
        for one in operations
    ]


def _cut_down(those: Sequence[Operation], blocked: Sequence[Operation]) -> tuple[Sequence[Operation], bool]:
    """Leave out one operation after the other, as long as what is left is still a violation.

    What is left must violate because the whole does. So a write goes only together with who saw it, and a delete
    with who saw nothing: without it they would violate for another reason. Where there are versions neither goes
    at all: the ones after it would have passed one over.
    """
    left = sorted(those, key=lambda operation: operation.called)
    is_versioned = any(operation.version or operation.base for operation in left)
    if len(left) > _LARGEST:
        if is_versioned:
            return left, True
        fewer = _around(left, blocked)
        if not isinstance(search(fewer, Budget(_STEPS)), Witness):
            return left, True
        left = fewer
    for operation in reversed(list(left)):
        if is_versioned and not _is_read(operation):
            continue
        gone = [operation]
        if operation.kind == "delete" and not _is_read(operation):
            gone += [one for one in left if _saw_nothing(one)]
        fewer = _without(left, gone)
        if fewer and isinstance(search(fewer, Budget(_STEPS)), Witness):
            left = fewer
    return left, True


def _is_read(operation: Operation) -> bool:
    """Whether an operation left everything as it was."""
    return (
        operation.kind == "get"
        or operation.outcome == "failed"
        or (operation.kind == "delete" and operation.outcome == "ok" and operation.version == 0)
    )


def _saw_nothing(operation: Operation) -> bool:
    found = operation.actual if operation.outcome == "failed" else operation.version
    if operation.kind == "get":
        return found == 0 or operation.value is None
    return found == 0 or operation.base == 0


def _around(left: Sequence[Operation], blocked: Sequence[Operation]) -> list[Operation]:
    """The last operations up to where an order got stuck, and every delete that may have come among them."""
    limit = max(operation.called for operation in blocked)
    chosen = [operation for operation in left if operation.called <= limit][-_LARGEST:]
    begin = chosen[0].called
    inside = {id(operation) for operation in chosen}
    gone = [
        operation
        for operation in left
        if id(operation) not in inside and not _may_delete_between(operation, begin, limit)
    ]
    return _without(left, gone)


def _may_delete_between(operation: Operation, begin: int, end: int) -> bool:
    is_open = operation.outcome == "unknown" or operation.returned is None
    return (
        operation.kind == "delete"
        and operation.called <= end
        and (is_open or (operation.returned or 0) >= begin)
    )


def _without(operations: Sequence[Operation], gone: Sequence[Operation]) -> list[Operation]:
    """Leave operations out, and with the writes whoever saw what they wrote, and so on."""
    left = list(operations)
    while gone:
        out = {id(operation) for operation in gone}
        values = {
            identity(operation.value)
            for operation in gone
            if not _is_read(operation) and operation.value is not None
        }
        left = [operation for operation in left if id(operation) not in out]
        gone = [
            operation
            for operation in left
            for seen in (operation.value if operation.kind == "get" else operation.consumed,)
            if values and seen is not None and identity(seen) in values
        ]
    return left


def _found_in(operations: Sequence[Operation]) -> Witness | None:
    """What a tier that gives a reason says of a small violation."""
    if is_versioned(operations):
        found = check_versions(operations, partial=True)
        return found if isinstance(found, Witness) else None
    return check_tags(operations) if is_tagged(operations) else None


def _base(operations: Sequence[Operation]) -> int | None:
    """The version from which the counterexample starts, where versions are known."""
    versions = [
        operation.version for operation in operations if operation.kind != "get" and operation.version
    ]
    return min(versions) - 1 if versions else None


def _between(faults: Sequence[Fault], operations: Sequence[Operation]) -> list[Fault]:
    begin = min(operation.called for operation in operations)
    end = max(operation.returned or operation.called for operation in operations)
    return [fault for fault in faults if begin <= fault.at <= end]
