"""What a check comes to: a verdict, and where it is a violation, the few operations that show it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..history import Fault, Operation

__all__ = ["Check", "Verdict", "Violation", "Witness", "unique"]


def unique(operations: Iterable[Operation | None]) -> tuple[Operation, ...]:
    """Return each operation once, in the order of its first occurrence; told by identity: values need no hash."""
    return tuple({id(one): one for one in operations if one is not None}.values())


class Verdict(enum.Enum):
    """Whether a history is linearizable."""

    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    UNKNOWN = "unknown"
    """The budget ran out. It is no pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What a tier of the checker has found, before it is named and cut down.

    Attributes:
        rule: which rule is broken: ``order``, ``duplicate``, ``base``, ``gap``, ``value``, ``spurious``,
            ``absent``, ``delete``, ``torn``, ``snapshot``, ``batch``, ``search``.
        operations: the certificate, the offender last.
        why: in words.
        known: further operations that the words speak of: the writers of what was read.
    """

    rule: str
    operations: tuple[Operation, ...]
    why: str
    known: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A violation, named and as small as it could be made.

    Attributes:
        anomaly: its name, such as ``lost update``.
        model_name: the model; empty where several are concerned.
        operations: the counterexample, by the time of their calls.
        context: those of them that only say from where the others started.
        offender: the one of them that is at odds with the others; None: it can't be told.
        base: the version before them, where it is known: the counterexample starts from there.
        verified: whether these operations alone are a violation; otherwise they are the model's whole history.
        why: one sentence.
        faults: what was done to the storage between them.
    """

    anomaly: str
    model_name: str
    operations: tuple[Operation, ...]
    context: tuple[Operation, ...] = ()
    offender: Operation | None = None
    base: int | None = None
    verified: bool = True
    why: str = ""
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of checking a history.

    Attributes:
        verdict: of the whole history: a violation on one model is one of the whole, and so is an unknown.
        violations: one for each model that has one, and for listings and batches; the plainest first.
        operations: how many were checked.
        models: how many models they are on.
        undecided: the models for which the budget ran out.
        tiers: how many models were decided by which tier: ``versions``, ``tags``, ``search``.
    """

    verdict: Verdict
    violations: Sequence[Violation] = ()
    operations: int = 0
    models: int = 0
    undecided: Sequence[str] = ()
    tiers: Mapping[str, int] = field(default_factory=dict)

    @property
    def violation(self) -> Violation | None:
        """The first violation."""
        return self.violations[0] if self.violations else None

    def __bool__(self) -> bool:
        """True only for LINEARIZABLE, so that ``assert check_linearizable(history)`` means what it says."""
        return self.verdict is Verdict.LINEARIZABLE
