"""Listings and batches: what has to hold at one moment for several models at once.

Versions order the mutations of each model, so a listing that is one moment says of each model how far it had come.
Its moment lies after every call up to what it saw, and before every return from what it did not see; a listing for
which no such moment is left has mixed two, and so have two listings of which each is ahead of the other on some
model. A batch is one moment likewise, and a listing sees all of it or nothing.

Moments bind each other: where one has to lie narrows where others can, so the narrowing is repeated. It finds no
violation where there is none; it can miss one that shows only when moments that could each lie in several places are
tried out together (in random histories of up to eight operations 2 of 12 000 violations; one to three of a hundred
where batches and deletes of unknown outcome are among them).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from ..history import NEVER, Operation, Part
from .result import Witness, unique

__all__ = ["check_moments", "split"]

_ROUNDS = 6


def split(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """Return the operations on each model, a listing as reads and a batch as saves of its models.

    Args:
        operations: of a whole history.
    """
    found: dict[str, list[Operation]] = {}
    listings = []
    for operation in operations:
        kind = operation[1]
        if kind == "load":
            if operation[5] == "ok":
                listings.append(operation)
        elif kind == "save_many":
            for part in operation[12]:
                one = operation._replace(
                    kind="save", model_name=part.model_name, version=part.version, value=part.value, parts=()
                )
                found.setdefault(part.model_name, []).append(one)
        else:
            name = operation[2]
            if name in found:
                found[name].append(operation)
            else:
                found[name] = [operation]
    for listing in listings:
        for part in listing.parts:
            found.setdefault(part.model_name, [])
    for listing in listings:
        seen = {part.model_name: part for part in listing.parts}
        for name, others in found.items():
            found_there = seen.get(name, Part(name, 0))
            version, value = found_there.version, found_there.value
            others.append(
                listing._replace(kind="get", model_name=name, version=version, value=value, parts=())
            )
    return found


@dataclass(slots=True)
class _Line:
    """The versions of one model in order, with what binds a moment behind or before each.

    Attributes:
        calls: by version, the latest call of anything up to its mutation; index 0: nothing was there.
        callers: whose it is.
        returns: by version, the least return of anything from its mutation on; one more than there are versions.
        returners: whose it is.
        deletes: the versions that are deletes, and 0, in order.
    """

    calls: list[int]
    callers: list[Operation | None]
    returns: list[int]
    returners: list[Operation | None]
    deletes: list[int]

    def index(self, version: int | None, low: int, high: int) -> int | None:
        """How far the model had come at a moment between two times; None: that can't be told."""
        if version:
            return version if version < len(self.calls) else None
        fitting = [
            absent
            for absent in self.deletes
            if self.calls[absent] <= high and self.returns[absent + 1] >= low
        ]
        if not fitting:  # any will show that no moment is left
            return self.deletes[-1]
        return fitting[0] if len(fitting) == 1 else None


def _line(operations: Sequence[Operation]) -> _Line:
    """The line of a model whose operations are linearizable."""
    writers: dict[int, Operation] = {}
    reads: dict[int, list[Operation]] = {}
    absent: list[Operation] = []
    maybe: list[Operation] = []
    for operation in operations:
        version = operation.version if operation.outcome == "ok" else operation.actual
        if operation.outcome == "unknown" and operation.kind == "delete":
            maybe.append(operation)
        if version is None or operation.outcome == "unknown":
            continue
        if version == 0:
            absent.append(operation)
        elif operation.kind == "get" or operation.outcome == "failed":
            reads.setdefault(version, []).append(operation)
        else:
            writers[version] = operation
    line = _drawn(writers, reads, maybe)
    # Reads that found nothing bind the moments around them too, where it is clear which absence they saw.
    for operation in absent:
        returned = NEVER if operation.returned is None else operation.returned
        if (index := line.index(0, operation.called, returned)) is not None:
            reads.setdefault(index, []).append(operation)
    return _drawn(writers, reads, maybe) if absent else line


def _drawn(
    writers: Mapping[int, Operation], reads: Mapping[int, Sequence[Operation]], maybe: Sequence[Operation]
) -> _Line:
    last = max([0, *writers, *reads])
    calls: list[int] = []
    callers: list[Operation | None] = []
    latest = -NEVER
    setter: Operation | None = None
    for version in range(last + 1):
        writer = writers.get(version)
        if writer is not None and writer.called > latest:
            latest, setter = writer.called, writer
        calls.append(latest)
        callers.append(setter)
        for read in reads.get(version, ()):
            if read.called > latest:
                latest, setter = read.called, read
    returns = [NEVER] * (last + 2)
    returners: list[Operation | None] = [None] * (last + 2)
    least = NEVER
    first: Operation | None = None
    for version in range(last, -1, -1):
        writer = writers.get(version)
        for operation in (*reads.get(version, ()), *(() if writer is None else (writer,))):
            if operation.returned is not None and operation.returned < least:
                least, first = operation.returned, operation
        returns[version], returners[version] = least, first
    deletes = [0]
    for version in range(1, last + 1):
        writer = writers.get(version)
        # What nobody acknowledged may be a delete of unknown outcome.
        if writer.kind == "delete" if writer is not None else bool(maybe):
            deletes.append(version)
    if maybe:  # or it came behind all that is known
        first_call = min(operation.called for operation in maybe)
        calls.append(max(latest, first_call))
        callers.append(None)
        returns.append(NEVER)
        returners.append(None)
        deletes.append(last + 1)
    return _Line(calls, callers, returns, returners, deletes)


def check_moments(operations: Sequence[Operation], *, snapshot: bool, atomic: bool) -> Witness | None:
    """Check that each listing, and each batch, is one moment.

    Args:
        operations: of a whole history; each model's alone were found linearizable.
        snapshot: listings are to be one moment.
        atomic: batches are to be one moment.
    """
    several = [
        operation
        for operation in operations
        if operation.outcome == "ok"
        and ((snapshot and operation.kind == "load") or (atomic and operation.kind == "save_many"))
        and all(part.version is not None for part in operation.parts)
    ]
    chosen = {id(operation) for operation in several}
    others = [operation for operation in operations if id(operation) not in chosen]
    # What it was before its moment was narrowed, to be shown.
    originals = dict(enumerate(several))
    for _ in range(_ROUNDS):
        models = split([*others, *several])
        lines = {name: _line(found) for name, found in models.items()}
        batches = [operation for operation in several if operation.kind == "save_many"]
        sorted_batches = _Batches(batches)
        placed: list[tuple[Operation, dict[str, int]]] = []
        narrowed = False
        for number, operation in enumerate(several):
            window = _window(operation, lines)
            if operation.kind == "load":
                placed.append((originals[number], window.indexes))
                if (torn := sorted_batches.torn_by(originals[number], window.indexes)) is not None:
                    return torn
            if window.low > window.high:
                shown = (window.upper, window.lower, originals[number])
                return Witness(
                    rule="snapshot" if operation.kind == "load" else "batch",
                    operations=unique(shown),
                    why="it saw one change and not another that was over before the one began"
                    if operation.kind == "load"
                    else "a part of it was seen while another part was not there",
                )
            if window.low > operation.called or window.high < (operation.returned or NEVER):
                several[number] = operation._replace(
                    called=window.low, returned=None if window.high == NEVER else window.high
                )
                narrowed = True
        if (found := _incomparable(placed) or _crossed(batches)) is not None:
            return found
        if not narrowed:
            break
    return None


@dataclass(slots=True)
class _Window:
    """When an operation on several models can have taken place, and how far each of them had come."""

    low: int
    high: int
    lower: Operation | None
    upper: Operation | None
    indexes: dict[str, int]


def _window(operation: Operation, lines: Mapping[str, _Line]) -> _Window:
    seen = {part.model_name: part.version for part in operation.parts}
    high = NEVER if operation.returned is None else operation.returned
    window = _Window(operation.called, high, None, None, {})
    is_listing = operation.kind == "load"
    changed = True
    while changed:
        changed = False
        for name in lines if is_listing else seen:
            if name in window.indexes:
                continue
            line = lines[name]
            index = line.index(seen.get(name, 0), window.low, window.high)
            if index is None:
                continue
            window.indexes[name] = index
            changed = True
            if line.calls[index] > window.low:
                window.low, window.lower = line.calls[index], line.callers[index]
            # A batch is itself what begins the version; a listing comes before the next one.
            behind = index + 1 if is_listing else index
            if line.returns[behind] < window.high:
                window.high, window.upper = line.returns[behind], line.returners[behind]
    return window


class _Batches:
    """Batches by the models that are in them, so that a listing need not be held against each of them.

    Of those with the same models a listing sees the first so many on each of them, and on each as many; each is
    looked at only where the numbers differ, or where two have their models in different orders.

    Args:
        batches: all of them.
    """

    def __init__(self, batches: Sequence[Operation]) -> None:
        self._groups: dict[tuple[str, ...], list[Operation]] = {}
        for batch in batches:
            names = tuple(sorted(part.model_name for part in batch.parts))
            self._groups.setdefault(names, []).append(batch)
        self._versions = {
            names: {
                name: sorted(
                    part.version or 0 for batch in group for part in batch.parts if part.model_name == name
                )
                for name in names
            }
            for names, group in self._groups.items()
        }
        self._crossed = {names for names, group in self._groups.items() if not _is_in_one_order(group)}

    def torn_by(self, listing: Operation, indexes: Mapping[str, int]) -> Witness | None:
        """The batch of which a listing saw a part.

        Args:
            listing: what saw it.
            indexes: how far each model had come in it, where that is known.
        """
        for names, versions in self._versions.items():
            seen = {bisect_right(versions[name], indexes[name]) for name in names if name in indexes}
            if len(seen) > 1 or names in self._crossed:
                for batch in self._groups[names]:
                    if (torn := _torn(batch, listing, indexes)) is not None:
                        return torn
        return None


def _name_of(part: Part) -> str:
    return part.model_name


def _is_in_one_order(group: Sequence[Operation]) -> bool:
    versions = sorted([part.version or 0 for part in sorted(batch.parts, key=_name_of)] for batch in group)
    return all(
        all(one < other for one, other in zip(before, after, strict=True))
        for before, after in itertools.pairwise(versions)
    )


def _torn(batch: Operation, listing: Operation, indexes: Mapping[str, int]) -> Witness | None:
    inside = {
        part.model_name: indexes[part.model_name] >= (part.version or 0)
        for part in batch.parts
        if part.model_name in indexes
    }
    if len(set(inside.values())) < 2:
        return None
    there = ", ".join(name for name, is_seen in inside.items() if is_seen)
    missing = ", ".join(name for name, is_seen in inside.items() if not is_seen)
    return Witness(
        rule="batch",
        operations=(batch, listing),
        why=f"of one batch it saw {there} and not {missing}",
    )


def _incomparable(placed: Sequence[tuple[Operation, dict[str, int]]]) -> Witness | None:
    """Two listings of which each is ahead of the other."""
    if not placed:
        return None
    common = set.intersection(*(set(indexes) for _, indexes in placed))
    ordered = sorted(placed, key=lambda pair: sum(pair[1][name] for name in common))
    for (one, before), (other, after) in itertools.pairwise(ordered):
        shared = before.keys() & after.keys()
        ahead = [name for name in shared if before[name] > after[name]]
        behind = [name for name in shared if before[name] < after[name]]
        if ahead and behind:
            return Witness(
                rule="snapshot",
                operations=(one, other),
                why=f"each is ahead of the other: on {min(ahead)}, and on {min(behind)}",
            )
    return None


def _crossed(batches: Sequence[Operation]) -> Witness | None:
    """Batches that their models have in orders that contradict each other."""
    order: dict[str, list[tuple[int, int]]] = {}
    for number, batch in enumerate(batches):
        for part in batch.parts:
            order.setdefault(part.model_name, []).append((part.version or 0, number))
    before: dict[tuple[int, int], str] = {}
    for name, found in order.items():
        found.sort()
        for (_, one), (_, other) in itertools.pairwise(found):
            if (other, one) in before:
                return Witness(
                    rule="batch",
                    operations=(batches[one], batches[other]),
                    why=f"on {name} the one came first, on {before[other, one]} the other",
                )
            before[one, other] = name
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for one, other in before:
        sorter.add(other, one)
    try:
        sorter.prepare()
    except CycleError as error:
        circle: list[int] = error.args[1]
        names = ", ".join(dict.fromkeys(before[pair] for pair in itertools.pairwise(circle)))
        return Witness(
            rule="batch",
            operations=tuple(batches[number] for number in circle[:-1]),
            why=f"by the versions on {names} each came before the next, and the last before the first",
        )
    return None
