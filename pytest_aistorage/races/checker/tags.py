"""Tier B: no versions, but every write has a value of its own. O(n log n), and exact where nothing is deleted.

Gibbons and Korach's zones (1997), extended by read-modify-writes: an update belongs to the chain of the value that it
was given, so that two updates of one value are a lost update. A chain takes place in one piece: its first write, the
reads of it, the first update, the reads of that, and so on; inside it the order is forced, and checked as versions
are. Its zone is f, the least return, and s, the greatest call. Chain A must come before chain B if something in A
returned before something in B was called, that is if f_A < s_B. Two chains conflict exactly if f_A < s_B and
f_B < s_A, and without such a pair there is an order of all.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..history import NEVER, Operation
from .result import Witness, unique
from .values import identity

__all__ = ["check_tags", "is_tagged"]


def is_tagged(operations: Sequence[Operation]) -> bool:
    """Whether the operations on one model are told apart only by what they wrote, and nothing is deleted."""
    written: set[str] = set()
    for operation in operations:
        if operation.version and operation.outcome == "ok":
            return False  # some have versions, which values alone would not hold them to
        if operation.outcome == "failed":
            if operation.actual is not None:
                return False
            continue
        if operation.kind == "delete":
            return False
        if operation.kind == "get":
            if operation.value is None and operation.version != 0 and operation.outcome == "ok":
                return False
            continue
        if operation.value is None or (operation.base is not None and operation.base != 0):
            return False
        if operation.kind == "update" and (operation.consumed is None) == (operation.base is None):
            return False
        tag = identity(operation.value)
        if tag in written:
            return False
        written.add(tag)
    return True


@dataclass(slots=True)
class _Link:
    """One value: who wrote it, who read it, and the update that was given it."""

    writer: Operation | None
    reads: list[Operation] = field(default_factory=list)
    next: _Link | None = None


@dataclass(slots=True)
class _Chain:
    """A chain's zone, and the operations that set its ends."""

    root: Operation | None
    first_return: int
    last_call: int
    returned: Operation | None
    called: Operation | None


def check_tags(operations: Sequence[Operation]) -> Witness | None:
    """Check the operations on one model.

    Args:
        operations: on one model, in any order; `is_tagged`.

    Returns:
        None: linearizable; or a witness of a violation.
    """
    nothing = _Link(writer=None)
    links: dict[str, _Link] = {}
    for operation in operations:
        if operation.kind != "get" and operation.outcome != "failed":
            if operation.outcome == "unknown":
                operation = operation._replace(returned=None)
            links[identity(operation.value)] = _Link(writer=operation)
    for operation in operations:
        if operation.outcome != "ok" or operation.kind != "get":
            continue
        link = nothing if operation.version == 0 else links.get(identity(operation.value))
        if link is None:
            return Witness(
                rule="value", operations=(operation,), why=f"nobody wrote {operation.value!r}, which was read"
            )
        link.reads.append(operation)
    # What is of unknown outcome took effect if what it wrote was seen, and is left out otherwise.
    roots = [nothing]
    seen = _seen(links)
    for tag, link in links.items():
        writer = link.writer
        assert writer is not None
        if tag not in seen:
            continue
        if writer.kind != "update" and writer.base is None:
            roots.append(link)
            continue
        before = nothing if writer.base == 0 else links.get(identity(writer.consumed))
        if before is None:
            return Witness(
                rule="value",
                operations=(writer,),
                why=f"nobody wrote {writer.consumed!r}, which it was given",
            )
        if before.next is not None:
            other = before.next.writer
            assert other is not None
            first, second = sorted((other, writer), key=lambda operation: operation.called)
            return Witness(
                rule="duplicate",
                operations=(first, second),
                known=() if before.writer is None else (before.writer,),
                why="both were given the same value",
            )
        before.next = link
    chains = []
    for root in roots:
        chain = _swept(root)
        if isinstance(chain, Witness):
            return chain
        chains.append(chain)
    if (lost := _in_a_circle(roots, links)) is not None:
        return lost
    return _conflict(chains)


def _seen(links: dict[str, _Link]) -> set[str]:
    """The values that somebody read, or was given by an update that is itself certain to have taken effect."""
    seen: set[str] = set()
    waiting = [
        tag
        for tag, link in links.items()
        if link.reads or (link.writer is not None and link.writer.outcome == "ok")
    ]
    while waiting:
        tag = waiting.pop()
        if tag not in seen and tag in links:
            seen.add(tag)
            writer = links[tag].writer
            if writer is not None and writer.consumed is not None:
                waiting.append(identity(writer.consumed))
    return seen


def _in_a_circle(roots: Sequence[_Link], links: dict[str, _Link]) -> Witness | None:
    """Updates that were given each other's values: none of them can have been first."""
    reached = set()
    for root in roots:
        link: _Link | None = root
        while link is not None:
            reached.add(id(link))
            link = link.next
    for link in links.values():
        writer = link.writer
        if link.next is not None and id(link) not in reached and writer is not None:
            assert link.next.writer is not None
            return Witness(
                rule="value",
                operations=(writer, link.next.writer),
                why="they were given each other's values, and none can have been first",
            )
    return None


def _swept(root: _Link) -> _Chain | Witness:
    """Check the order inside a chain, and find its zone."""
    chain = _Chain(root.writer, NEVER, -NEVER, None, None)
    if root.writer is None:
        chain.first_return = -NEVER  # nothing was there from the beginning
    latest, setter = -NEVER, None
    link: _Link | None = root
    while link is not None:
        for group in ([] if link.writer is None else [link.writer], link.reads):
            newest, newest_setter = latest, setter
            for operation in group:
                called, returned = operation.called, operation.returned
                if returned is not None:
                    if returned < latest:
                        assert setter is not None
                        return Witness(
                            rule="order",
                            operations=(operation, setter),
                            known=tuple(one for one in (link.writer,) if one is not None),
                            why="the one saw what the other had replaced already",
                        )
                    if returned < chain.first_return:
                        chain.first_return, chain.returned = returned, operation
                if called > newest:
                    newest, newest_setter = called, operation
            latest, setter = newest, newest_setter
        link = link.next
    chain.last_call, chain.called = latest, setter
    return chain


def _conflict(chains: Sequence[_Chain]) -> Witness | None:
    """Two chains of which each would have to come before the other."""
    forward = sorted(
        (chain for chain in chains if chain.first_return < chain.last_call),
        key=lambda chain: chain.first_return,
    )
    for one, other in itertools.pairwise(forward):
        if other.first_return < one.last_call:
            return _both_first(one, other)
    begins = [chain.first_return for chain in forward]
    for chain in chains:
        if chain.first_return < chain.last_call:
            continue
        number = bisect_left(begins, chain.last_call) - 1
        if number >= 0 and forward[number].last_call > chain.first_return:
            return _both_first(forward[number], chain)
    return None


def _both_first(one: _Chain, other: _Chain) -> Witness:
    operations = unique((one.returned, other.called, other.returned, one.called))
    known = unique((one.root, other.root))
    return Witness(
        rule="order",
        operations=operations,
        known=known,
        why="what the one wrote was seen both before and after what the other wrote",
    )
