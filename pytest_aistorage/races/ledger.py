"""The ledger of a race: what was acknowledged, compared with what was kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .history import Operation

__all__ = ["Balance", "balance"]

_CHANGES = ("save", "update", "delete", "save_many")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Acknowledged against kept, over all models of a race.

    Attributes:
        attempted: changes that were tried; those of a batch count one by one, reads don't.
        acknowledged: those that returned, and had something to change.
        kept: acknowledged ones whose effect is in what is stored now.
        duplicates: versions of one model that were acknowledged more than once.
        unknown: changes whose acknowledgement was lost.
        errors: how many operations failed or are unknown, reads too, by the name of the error's type.
        unreadable: why what is stored can't be read; then nothing is kept.
    """

    attempted: int
    acknowledged: int
    kept: int
    duplicates: int
    unknown: int
    errors: Mapping[str, int] = field(default_factory=dict)
    unreadable: str | None = None

    @property
    def lost(self) -> int:
        """Acknowledged changes whose effect is gone."""
        return self.acknowledged - self.kept

    @property
    def is_whole(self) -> bool:
        """Whether all that is stored can be read, nothing is lost, and no version was acknowledged twice."""
        return not (self.lost or self.duplicates or self.unreadable)

    def __str__(self) -> str:
        parts = [
            f"{self.acknowledged} of {self.attempted} acknowledged",
            f"{self.kept} kept",
            f"{self.lost} lost",
        ]
        if self.duplicates:
            versions = "version" if self.duplicates == 1 else "versions"
            parts.append(f"{self.duplicates} {versions} acknowledged more than once")
        parts += [f"{number} x {name}" for name, number in sorted(self.errors.items())]
        if self.unreadable:
            parts.append("what is stored can't be read")
        return ", ".join(parts)


def balance(
    operations: Iterable[Operation], steps_kept: Mapping[str, int | None], unreadable: str | None = None
) -> Balance:
    """Compare what was acknowledged with what is stored.

    Each effective change makes the model's version one higher, so the version that is stored counts the changes
    that what is stored was made by. What was acknowledged beyond that number is lost; the count is a lower
    bound where an operation that is unknown or failed took effect all the same.

    Args:
        operations: every operation of the race. The models did not exist before.
        steps_kept: for each model, by how many changes its stored record was made; None (or no entry) where it is
            absent: then it is kept if a delete that was the newest change, or of unknown outcome, explains it.
        unreadable: why nothing can be read, if so.
    """
    changes: dict[str, list[Operation]] = defaultdict(list)
    errors: Counter[str] = Counter()
    attempted = unknown = 0
    for operation in operations:
        if operation.outcome != "ok":
            errors[operation.error or "error"] += 1
        for change in _changes(operation):
            attempted += 1
            if change.outcome == "unknown":
                unknown += 1
            changes[change.model_name].append(change)
    acknowledged = kept = duplicates = 0
    for model, those in changes.items():
        told = [change for change in those if change.outcome == "ok" and change.version != 0]
        acknowledged += len(told)
        versions = Counter(change.version for change in told if change.version is not None)
        duplicates += sum(1 for number in versions.values() if number > 1)
        if unreadable is None:
            steps = steps_kept.get(model)
            kept += min(len(told), _deleted(those) if steps is None else steps)
    return Balance(
        attempted=attempted,
        acknowledged=acknowledged,
        kept=kept,
        duplicates=duplicates,
        unknown=unknown,
        errors=dict(errors),
        unreadable=unreadable,
    )


def _changes(operation: Operation) -> Iterator[Operation]:
    """The changes of single models that an operation consists of."""
    if operation.kind not in _CHANGES:
        return
    if operation.kind != "save_many":
        yield operation
        return
    for part in operation.parts:
        yield operation._replace(model_name=part.model_name, version=part.version, parts=())


def _deleted(changes: Iterable[Operation]) -> int:
    """By how many changes a model came to be absent, as far as a delete explains it."""
    newest: Operation | None = None
    for change in changes:
        if change.kind == "delete" and change.outcome == "unknown":
            return 1 << 62  # it may have been the newest
        if (
            change.outcome == "ok"
            and change.version
            and (newest is None or change.version > (newest.version or 0))
        ):
            newest = change
    return (newest.version or 0) if newest is not None and newest.kind == "delete" else 0
