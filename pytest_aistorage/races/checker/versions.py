"""Tier A: every completed operation carries its version. Linear in the number of operations, and exact.

Versions force the order of the mutations of a model, so nothing is searched for. The groups are, in this order,
the mutation that took version 1, the reads of version 1, the mutation that took version 2, and so on. If nothing
in a group returned before something in an earlier group was called, ordering by group and then by call respects
real time; otherwise real time contradicts the versions, and two operations show it.

Reads that found nothing carry no version. Each period in which the model exists, from a first write to a delete,
forbids them: see `_absent`. Putting each period's first write at the least return from there on, and its delete
at the latest call up to there, shrinks what all periods forbid at once, so that the tests are independent.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from ..history import NEVER, Operation
from .result import Witness

__all__ = ["UNDECIDED", "check_versions", "is_versioned"]

UNDECIDED = object()
"""Operations of unknown outcome fit in more than one way: a search has to tell."""

_NOTHING = -NEVER


def is_versioned(operations: Sequence[Operation]) -> bool:
    """Whether every completed operation on a model carries its version."""
    return all(not (operation[5] == "ok" and operation[6] is None) for operation in operations)


def check_versions(operations: Sequence[Operation], *, partial: bool = False) -> Witness | object | None:
    """Check the operations on one model.

    Args:
        operations: on one model, in any order; `is_versioned`.
        partial: they are a part of a history, so versions that nobody took are somebody else's.

    Returns:
        None: linearizable; a witness of a violation; or `UNDECIDED`.
    """
    writers: dict[int, Operation] = {}
    reads: dict[int, list[Operation]] = {}
    absent: list[Operation] = []
    pending: list[Operation] = []
    last = 0
    # Positions instead of names: this loop sees every operation.
    for operation in operations:
        _, kind, _, _, _, outcome, version, base, _, _, actual, _, _, _ = operation
        if outcome == "ok":
            assert version is not None  # is_versioned
            if version <= 0:
                if version < 0 and kind == "get":
                    return _nobody_wrote([operation], version)
                if version < 0 or kind in ("save", "update"):
                    return Witness(
                        rule="duplicate",
                        operations=(operation,),
                        why=f"it was acknowledged with version {version}",
                    )
                if kind == "delete" and base:
                    return Witness(
                        rule="base",
                        operations=(operation,),
                        why=f"nothing was there, and it was not refused, which asked for version {base}",
                    )
                absent.append(operation)
                continue
            if kind == "get":
                if version in reads:
                    reads[version].append(operation)
                else:
                    reads[version] = [operation]
            elif version in writers:
                return _duplicate(writers[version], operation)
            else:
                writers[version] = operation
            if version > last:
                last = version
        elif outcome == "unknown":
            if kind != "get":
                # It may take effect after its client has given up.
                pending.append(operation._replace(returned=None))
        elif actual is not None:
            if actual == base:
                return Witness(
                    rule="spurious",
                    operations=(operation,),
                    why=f"it was refused because the version was {actual}, which is what it asked for",
                )
            if actual == 0:
                absent.append(operation)
            else:
                reads.setdefault(actual, []).append(operation)
                last = max(last, actual)
    if len(writers) < last:
        filled = _fill(writers, reads, pending, last, partial)
        if filled is not None:
            return filled
    return _sweep(writers, reads, absent, pending, last)


def _duplicate(one: Operation, other: Operation) -> Witness:
    first, second = sorted((one, other), key=lambda operation: operation.called)
    started = ""
    if first.base is not None and first.base == second.base:
        started = f"both started from {f'v{first.base}' if first.base else 'nothing'}; "
    return Witness(
        rule="duplicate",
        operations=(first, second),
        why=f"{started}no order of the two gives v{one.version} to both",
    )


# -- versions that nobody acknowledged ------------------------------------------------------------------------


def _fill(
    writers: dict[int, Operation],
    reads: dict[int, list[Operation]],
    pending: list[Operation],
    last: int,
    partial: bool,
) -> Witness | object | None:
    """Give the versions that nobody acknowledged to operations of unknown outcome."""
    if last - len(writers) > len(pending) and not partial:
        # Not listed: where versions are times, say, there are more than fit into memory.
        read = [version for version in reads if version not in writers]
        first = next(version for version in itertools.count(1) if version not in writers)
        return _gap([min(read)] if read else [first], reads, writers, pending)
    gaps = [version for version in range(1, last + 1) if version not in writers]
    left = sorted(pending, key=lambda operation: operation.called)
    for version in reversed(gaps[:]):  # an update of unknown outcome tells what the version before it was
        values = [read[8] for read in reads.get(version, ()) if read[1] == "get" and read[8] is not None]
        after = writers.get(version + 1)
        if after is not None and after.consumed is not None:
            values.append(after.consumed)
        if not values:
            continue
        fitting = [operation for operation in left if _fits(operation, version, values[0])]
        if partial and len(fitting) != 1:
            continue
        if not fitting:
            found = [read for read in reads.get(version, ()) if read.value is not None]
            return _nobody_wrote([*found, *([] if after is None else [after])], version)
        if len(fitting) > 1:
            return UNDECIDED
        writers[version] = fitting[0]._replace(version=version)
        left.remove(fitting[0])
        gaps.remove(version)
    if partial:
        return None
    if gaps and any(operation.kind == "delete" or operation.base is not None for operation in left):
        return UNDECIDED
    # The earliest calls to the earliest versions: a filler must have been called before anything behind it
    # returned, and that limit rises with the version.
    for version, operation in zip(gaps, left, strict=False):
        writers[version] = operation._replace(version=version)
    pending[:] = left[len(gaps) :]
    return _gap(gaps[len(left) :], reads, writers, pending) if len(left) < len(gaps) else None


def _fits(operation: Operation, version: int, value: Any) -> bool:
    """Whether an operation of unknown outcome can have written a version with this value."""
    if operation.kind == "delete" or operation.base not in (None, 0, version - 1):
        return False
    return operation.value is None or operation.value == value


def _nobody_wrote(found: Sequence[Operation], version: int) -> Witness:
    return Witness(
        rule="value",
        operations=(found[0],),
        why=f"nobody wrote what was read as version {version}",
    )


def _gap(
    gaps: Sequence[int],
    reads: dict[int, list[Operation]],
    writers: dict[int, Operation],
    pending: Sequence[Operation],
) -> Witness:
    """A version that was read, or passed over, and that nobody can have written."""
    for version in gaps:
        if version in reads:
            return _nobody_wrote(reads[version], version)
    version = gaps[0]
    after = writers[min(number for number in writers if number > version)]
    before = writers.get(version - 1)
    said = f"; {len(pending)} of unknown outcome are too few" if pending else ""
    return Witness(
        rule="gap",
        operations=(after,) if before is None else (before, after),
        why=f"version {version} was passed over, and nobody took it{said}",
    )


# -- order ----------------------------------------------------------------------------------------------------


def _sweep(
    writers: dict[int, Operation],
    reads: dict[int, list[Operation]],
    absent: list[Operation],
    pending: list[Operation],
    last: int,
) -> Witness | object | None:
    latest, setter = _NOTHING, None  # the latest call among all earlier groups, and whose it is
    present: bool | None = False  # None: what was cut out may have created or deleted it
    beginnings: list[int] = []
    endings: dict[int, int] = {}  # by the version of a delete: the latest call up to it
    least_returns = [NEVER] * (last + 2)
    for version in range(1, last + 1):
        writer = writers.get(version)
        if writer is None:
            present = None
        else:
            _, kind, _, called, returned, _, _, base, _value, consumed, _, _, _, _ = writer
            if kind == "delete":
                if present is False:
                    return _deleted_nothing(writer, writers.get(version - 1))
                if base is not None and base != version - 1:
                    return _wrong_base(writer, version, present, writers)
                present = False
            else:
                if base is not None and present is not None and base != (version - 1 if present else 0):
                    return _wrong_base(writer, version, present, writers)
                if base is not None and present is None and base not in (0, version - 1):
                    return _wrong_base(writer, version, present, writers)
                if present is not True:
                    if present is False or base == 0:
                        beginnings.append(version)
                    present = True
                before = None if consumed is None else writers.get(version - 1)
                if before is not None and before.kind != "delete" and before.value not in (None, consumed):
                    return _wrong_value(writer, before, version - 1, writers)
            if returned is not None:
                if returned < latest:
                    return _against_time(writer, setter, writers)
                least_returns[version] = returned
            if called > latest:
                latest, setter = called, writer
            if kind == "delete":
                endings[version] = latest
        found = reads.get(version)
        if found is None:
            continue
        if writer is not None and kind == "delete":
            return Witness(
                rule="delete",
                operations=(writer, found[0]),
                why=f"version {version} is that of the delete, and there was a record with it",
            )
        newest, newest_read = latest, setter
        least = least_returns[version]
        for read in found:
            called, returned = read[3], read[4]
            if returned is not None:
                if returned < latest:
                    return _against_time(read, setter, writers)
                if returned < least:
                    least = returned
            if called > newest:
                newest, newest_read = called, read
            if (
                writer is not None
                and read[8] != writer[8]
                and read[8] is not None
                and read[1] == "get"
                and writer[8] is not None
            ):
                return _wrong_value(read, writer, version, writers)
        least_returns[version] = least
        latest, setter = newest, newest_read
    if absent:
        # A delete of unknown outcome can only come behind all of these: each of them has its version.
        deletes = [
            operation.called
            for operation in pending
            if operation.kind == "delete" and (operation.base is None or operation.base >= last)
        ]
        if any(operation.kind == "delete" and (operation.base or 0) > last for operation in pending):
            return UNDECIDED
        end = max(latest, min(deletes)) if deletes else NEVER
        return _absent(absent, beginnings, endings, least_returns, writers, reads, end)
    return None


def _against_time(late: Operation, setter: Any, writers: dict[int, Operation]) -> Witness:
    """An operation that returned before something was called whose version is lower."""
    seen = _version_of(late)
    known = [writers[version] for version in (seen,) if version in writers]
    below = _version_of(setter)
    if below in writers:
        known.append(writers[below])
    why = f"version {seen} was there, and after that version {below}"
    if seen == below:
        why = f"version {seen} was there before it was written"
    return Witness(rule="order", operations=(late, setter), known=tuple(known), why=why)


def _version_of(operation: Operation) -> int:
    found = operation.actual if operation.outcome == "failed" else operation.version
    return found or 0


def _wrong_base(
    writer: Operation, version: int, present: bool | None, writers: dict[int, Operation]
) -> Witness:
    before = writers.get(version - 1)
    was = "nothing was there" if present is False else f"version {version - 1} was there"
    return Witness(
        rule="base",
        operations=(writer,) if before is None else (before, writer),
        known=tuple(writers[one] for one in (writer.base,) if one in writers and one != version - 1),
        why=f"it started from version {writer.base} and took version {version}, before which {was}",
    )


def _wrong_value(
    reader: Operation, writer: Operation, version: int, writers: dict[int, Operation]
) -> Witness:
    got = reader.value if reader.kind == "get" else reader.consumed
    others = tuple(other for other in writers.values() if other.value == got and other is not writer)
    return Witness(
        rule="value",
        operations=(writer, reader),
        known=others[:1],
        why=f"version {version} is {writer.value!r}, and {got!r} was read",
    )


def _deleted_nothing(writer: Operation, before: Operation | None) -> Witness:
    return Witness(
        rule="base",
        operations=(writer,) if before is None else (before, writer),
        why=f"the delete took version {writer.version}, and nothing was there",
    )


def _absent(
    absent: Sequence[Operation],
    beginnings: list[int],
    endings: dict[int, int],
    least_returns: list[int],
    writers: dict[int, Operation],
    reads: dict[int, list[Operation]],
    open_end: int,
) -> Witness | None:
    """Check reads that found nothing against the periods in which there was something.

    A read lies behind a period's first write if it was called after anything from that write on had returned, and
    before its delete if it returned before something up to that delete was called. Both at once is a violation.
    """
    if not beginnings:
        return None
    from_there = list(itertools.accumulate(reversed(least_returns), min))
    from_there.reverse()
    deletes = list(endings)
    ends = {begin: _end_after(begin, deletes) for begin in beginnings}
    begun = [from_there[begin] for begin in beginnings]
    over = [open_end if (end := ends[begin]) is None else endings[end] for begin in beginnings]
    for read in absent:
        # The last period that had surely begun: of those before it none ended later.
        number = bisect_left(begun, read[3]) - 1
        returned = read[4]
        if number < 0 or returned is None or returned >= over[number]:
            continue
        begin, end = beginnings[number], ends[beginnings[number]]
        known = [writers[begin]]
        if end is not None:
            known.append(writers[end])
        seen = _first_return(begin, writers, reads)
        return Witness(
            rule="absent",
            operations=(seen, read),
            known=tuple(known),
            why=f"version {_version_of(seen)} was there, nobody had deleted it, and it was not found",
        )
    return None


def _end_after(begin: int, deletes: list[int]) -> int | None:
    number = bisect_left(deletes, begin)
    return deletes[number] if number < len(deletes) else None


def _first_return(begin: int, writers: dict[int, Operation], reads: dict[int, list[Operation]]) -> Operation:
    """The operation whose return shows that the period had begun."""
    found: Operation | None = None
    for version in range(begin, max([*writers, *reads]) + 1):
        for operation in (*([writers[version]] if version in writers else []), *reads.get(version, ())):
            if operation.returned is not None and (
                found is None or operation.returned < (found.returned or 0)
            ):
                found = operation
    assert found is not None
    return found
