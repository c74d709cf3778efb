"""The ledger of a race: what was acknowledged, compared with what was kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Attempt", "Balance", "balance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One operation of one client, as the client saw it.

    Attributes:
        client: its number, from 0.
        operation: ``"save"``, ``"update"``, ...
        model_name: the model.
        called: when it was called, in nanoseconds of the machine's monotonic clock, the same for all processes.
        returned: when it returned or raised.
        outcome: ``ok``: acknowledged; ``failed``: it had no effect; ``unknown``: it may have taken effect.
        version: the version that was acknowledged.
        error: the name of the error's type.
    """

    client: int
    operation: str
    model_name: str
    called: int
    returned: int
    outcome: Literal["ok", "failed", "unknown"]
    version: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Acknowledged against kept, over all models of a race.

    Attributes:
        attempted: operations that were tried.
        acknowledged: those that returned.
        kept: acknowledged ones whose effect is in what is stored now.
        duplicates: versions of one model that were acknowledged more than once.
        unknown: operations whose acknowledgement was lost.
        errors: how many failed or are unknown, by the name of the error's type.
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
        """Acknowledged operations whose effect is gone."""
        return self.acknowledged - self.kept

    def __str__(self) -> str:
        parts = [
            f"{self.acknowledged} of {self.attempted} acknowledged",
            f"{self.kept} kept",
            f"{self.lost} lost",
        ]
        if self.duplicates:
            parts.append(f"{self.duplicates} versions acknowledged more than once")
        parts += [f"{number} x {name}" for name, number in sorted(self.errors.items())]
        if self.unreadable:
            parts.append("what is stored can't be read")
        return ", ".join(parts)


def balance(
    attempts: Iterable[Attempt], steps_kept: Mapping[str, int], unreadable: str | None = None
) -> Balance:
    """Compare what was acknowledged with what is stored.

    Each effective change makes the model's version one higher, so the version that is stored counts the changes
    that what is stored was made by. What was acknowledged beyond that number is lost; the count is a lower
    bound where an operation that is unknown or failed took effect all the same.

    Args:
        attempts: every operation of the race. The models did not exist before.
        steps_kept: for each model, by how many changes its stored record was made; 0 where it is absent.
        unreadable: why nothing can be read, if so.
    """
    everything = list(attempts)
    acknowledged: Counter[str] = Counter()
    versions: Counter[tuple[str, int]] = Counter()
    errors: Counter[str] = Counter()
    for attempt in everything:
        if attempt.outcome == "ok":
            acknowledged[attempt.model_name] += 1
            if attempt.version is not None:
                versions[attempt.model_name, attempt.version] += 1
        else:
            errors[attempt.error or "error"] += 1
    return Balance(
        attempted=len(everything),
        acknowledged=acknowledged.total(),
        kept=sum(min(number, steps_kept.get(model, 0)) for model, number in acknowledged.items()),
        duplicates=sum(1 for number in versions.values() if number > 1),
        unknown=sum(1 for attempt in everything if attempt.outcome == "unknown"),
        errors=dict(errors),
        unreadable=unreadable,
    )
