"""Tier C: exact search, for what the other tiers leave open.

Wing and Gong's search (1993) with Lowe's cache (2017) of what was linearized and the state that this led to. The set
is kept as the first operation not yet linearized and the bits behind it, so that its width is the overlap of the
operations and not their number; those of unknown outcome, which never end, have bits of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..history import NEVER, Operation
from .result import Witness
from .values import identity

__all__ = ["Budget", "search"]

_PER_STEP = 8  # operations of unknown outcome that are tried in a step; a thousand of them make it a long one
_ABSENT = -1
_ANY = -2  # what somebody wrote who did not say what
_UNREAD = -3  # what was perhaps written, and surely read by nobody


class Budget:
    """Steps that a check may take; models take turns under one budget.

    Args:
        steps: how many in all.
    """

    def __init__(self, steps: int) -> None:
        self.left = steps


def search(
    operations: Sequence[Operation], budget: Budget, start: tuple[int, Any] | None = None
) -> Witness | bool | None:
    """Look for an order of the operations on one model that explains them.

    Args:
        operations: on one model, in any order.
        budget: is used up.
        start: version and value of the record that is there before them; None: there is none, of version 0.

    Returns:
        None: linearizable; a witness: not; False: the budget ran out.
    """
    return _Search(operations, start).run(budget)


class _Search:
    def __init__(self, operations: Sequence[Operation], start: tuple[int, Any] | None) -> None:
        effective = [
            operation
            for operation in operations
            if operation.outcome == "ok"
            or (operation.outcome == "unknown" and operation.kind != "get")
            or (operation.outcome == "failed" and operation.actual is not None)
        ]
        effective.sort(key=lambda operation: operation.called)
        self.certain = [operation for operation in effective if operation.outcome != "unknown"]
        self.maybe = [operation for operation in effective if operation.outcome == "unknown"]
        self.values: dict[str, int] = {}
        self.start = (0, _ABSENT) if start is None else (start[0], self._value(start[1]))

    def _value(self, value: Any) -> int:
        """A small number for a value, the same for equal ones of equal type."""
        return self.values.setdefault(identity(value), len(self.values))

    def _written(self, operation: Operation) -> int:
        return _ANY if operation.value is None else self._value(operation.value)

    def run(self, budget: Budget) -> Witness | bool | None:
        certain, maybe = self.certain, self.maybe
        calls = [operation.called for operation in certain]
        returns = [NEVER if operation.returned is None else operation.returned for operation in certain]
        count = len(certain)
        written = [self._written(operation) for operation in certain]
        # What nobody read is not told apart, so that those who perhaps wrote it are twins: else each of them is tried
        # wherever any could have come.
        read = {
            self._value(seen)
            for operation in (*certain, *maybe)
            for seen in (operation.value if operation.kind == "get" else None, operation.consumed)
            if seen is not None
        }
        written_maybe = [one if one in read or one == _ANY else _UNREAD for one in map(self._written, maybe)]
        version, value = self.start
        twins = self._twins(written_maybe)
        # A version that somebody was told to have taken is taken by nobody else.
        taken = {
            operation.version
            for operation in certain
            if operation.version and operation.kind in ("save", "update", "delete")
        }
        # A configuration: first operation not linearized, bits of those behind it, bits of the unknown ones, state.
        # The bit behind those of the unknown ones is that of nobody, and set from the beginning.
        nobody = 1 << len(maybe)
        stack = [(0, 0, nobody, version, value)]
        seen = {stack[0]}
        furthest = (-1, 0, 0, version, value)
        while stack:
            if budget.left <= 0:
                return False
            budget.left -= 1
            configuration = stack.pop()
            first, bits, used, version, value = configuration
            if first >= count:
                return None
            if first + bits.bit_count() > furthest[0]:
                furthest = (first + bits.bit_count(), first, bits, version, value)
            tried = 0
            # Whatever comes next must have been called before every operation that is left returned.
            limit, position, mask = NEVER, first, bits
            candidates = []
            while position < count and calls[position] <= limit:
                if not mask & 1:
                    candidates.append(position)
                    if returns[position] < limit:
                        limit = returns[position]
                position += 1
                mask >>= 1
            for candidate in reversed(candidates):
                if calls[candidate] > limit:
                    continue
                after = self._after(certain[candidate], written[candidate], version, value)
                if after is None:
                    continue
                new_first, new_bits = first, bits | 1 << (candidate - first)
                while new_bits & 1:
                    new_bits >>= 1
                    new_first += 1
                new = (new_first, new_bits, used, *after)
                if new not in seen:
                    seen.add(new)
                    stack.append(new)
            for number, operation in enumerate(() if version + 1 in taken else maybe):
                if operation.called > limit:
                    break
                tried += 1
                # Of those that would do the same, the one that was called first could do it wherever another can.
                if used >> number & 1 or not used >> twins[number] & 1:
                    continue
                after = self._after(operation, written_maybe[number], version, value)
                if after is None or after == (version, value):
                    continue
                new = (first, bits, used | 1 << number, *after)
                if new not in seen:
                    seen.add(new)
                    stack.append(new)
                    tried += _PER_STEP
            budget.left -= tried // _PER_STEP
        return self._stuck(furthest)

    def _twins(self, written: Sequence[int]) -> list[int]:
        """For each operation of unknown outcome the last one before it that would do the same; or else nobody."""
        last: dict[tuple[Any, ...], int] = {}
        twins = []
        for number, operation in enumerate(self.maybe):
            consumed = None if operation.consumed is None else self._value(operation.consumed)
            what = (operation.kind == "delete", written[number], operation.base, consumed)
            twins.append(last.get(what, len(self.maybe)))
            last[what] = number
        return twins

    def _after(self, operation: Operation, written: int, version: int, value: int) -> tuple[int, int] | None:
        """The state after an operation took place in a state; None: it can't have been told what it was told."""
        present = value != _ABSENT
        current = version if present else 0
        kind, outcome, told, base = operation.kind, operation.outcome, operation.version, operation.base
        if outcome == "failed":
            return (version, value) if operation.actual == current and base != current else None
        if kind == "get" or (kind == "delete" and not base and told == 0 and outcome == "ok"):
            if told == 0 or (told is None and operation.value is None):
                return None if present else (version, value)
            if not present or (told is not None and told != current):
                return None
            return (version, value) if _ANY in (written, value) or written == value else None
        if base is not None and base != current:
            return None
        if operation.consumed is not None and (
            not present or value not in (_ANY, self._value(operation.consumed))
        ):
            return None
        if kind == "delete" and not present:
            # Without versions, one that found nothing looks like one that did.
            return (version, value) if told is None else None
        if told is not None and outcome == "ok" and told != version + 1:
            return None
        return version + 1, _ABSENT if kind == "delete" else written

    def _stuck(self, furthest: tuple[int, int, int, int, int]) -> Witness:
        """Where the longest order ends: the operations that could have come next, and can't."""
        _, first, bits, _, _ = furthest
        left = [
            operation for position, operation in enumerate(self.certain[first:]) if not bits >> position & 1
        ]
        limit = min(NEVER if one.returned is None else one.returned for one in left)
        blocked = tuple(operation for operation in left if operation.called <= limit)
        return Witness(
            rule="search",
            operations=blocked,
            why="no order of the operations explains what they were told",
        )
