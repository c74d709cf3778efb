"""Batches of unknown outcome of which a part was seen: they took effect, and so all of them must have.

Their client was killed, or cut off, and nobody acknowledged their versions. Where the value of one part was seen, and
on the model of another one each version that is known was acknowledged to somebody else, that part comes behind all
of these, if it is there at all. Who saw one of these after the first part was seen has seen half a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..history import Operation, Part
from .result import Witness, unique
from .values import identity

__all__ = ["half_seen"]


def half_seen(
    operations: Sequence[Operation], models: Mapping[str, Sequence[Operation]], *, snapshot: bool
) -> Witness | None:
    """Find a batch of unknown outcome of which a part was seen, and another one surely was not there.

    Args:
        operations: of a whole history.
        models: the operations on each model; each model's alone were found linearizable.
        snapshot: whether a listing is one moment.
    """
    loads = [one for one in operations if snapshot and one.kind == "load" and one.outcome == "ok"]
    behind: dict[str, bool] = {}
    for batch in operations:
        if batch.kind != "save_many" or batch.outcome != "unknown" or len(batch.parts) < 2:
            continue
        for part in batch.parts:
            if part.model_name not in behind:
                behind[part.model_name] = _is_behind_all(models.get(part.model_name, ()))
        missing = [part for part in batch.parts if behind[part.model_name]]
        if not missing:
            continue
        for part in batch.parts:
            seers = _seers(batch, part, models.get(part.model_name, ()))
            for other in missing:
                if other is not part and seers:
                    found = _contradiction(batch, part, other, seers, models[other.model_name], loads)
                    if found is not None:
                        return found
    return None


def _version_of(operation: Operation) -> int | None:
    return operation.actual if operation.outcome == "failed" else operation.version


def _is_this(batch: Operation, operation: Operation) -> bool:
    return (operation.process, operation.called, operation.outcome) == (
        batch.process,
        batch.called,
        "unknown",
    )


def _is_behind_all(those: Sequence[Operation]) -> bool:
    """Whether all versions of a model that anybody knows of were acknowledged: others come behind them."""
    known = {version for one in those if one.outcome != "unknown" and (version := _version_of(one))}
    acknowledged = {one.version for one in those if one.outcome == "ok" and one.kind != "get" and one.version}
    if any(one.outcome == "ok" and one.version is None for one in those):
        return False
    # What was deleted by somebody who does not know is not there either, whatever came before.
    deleted = any(one.kind == "delete" and one.outcome == "unknown" for one in those)
    return len(acknowledged) == max(known, default=0) and not deleted


def _seers(batch: Operation, part: Part, those: Sequence[Operation]) -> list[Operation]:
    """Who saw a part, or what came after it; nobody, where another one may have written the same."""
    tag = identity(part.value)
    writers = [
        one
        for one in those
        if one.kind in ("save", "update") and one.outcome != "failed" and not _is_this(batch, one)
    ]
    if part.value is None or any(one.value is None or identity(one.value) == tag for one in writers):
        return []
    versions = [
        one.version
        for one in those
        if one.kind == "get" and one.outcome == "ok" and one.version and identity(one.value) == tag
    ]
    if not versions:
        return []
    return [one for one in those if one.outcome != "unknown" and (_version_of(one) or 0) >= min(versions)]


def _contradiction(
    batch: Operation,
    part: Part,
    other: Part,
    seers: Sequence[Operation],
    those: Sequence[Operation],
    loads: Sequence[Operation],
) -> Witness | None:
    why = f"of one batch {part.model_name} was seen, and {other.model_name} was not there"
    least = min(_version_of(one) or 0 for one in seers)
    for load in loads:
        if any(seen.model_name == part.model_name and (seen.version or 0) >= least for seen in load.parts):
            return Witness(rule="batch", operations=(batch, load), why=why)
    known = [one for one in those if one.outcome != "unknown" and _version_of(one) is not None]
    first = min(
        (one for one in seers if one.returned is not None), key=lambda one: one.returned or 0, default=None
    )
    late = max(known, key=lambda one: one.called, default=None)
    if first is None or late is None or first.returned is None or late.called <= first.returned:
        return None
    return Witness(rule="batch", operations=unique((batch, first, late)), why=why)
