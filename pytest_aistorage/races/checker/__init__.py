"""Is a history linearizable? And if not: which few operations show it, and what is that called?

Keys are checked apart, since linearizability is local (Herlihy and Wing, 1990). Three tiers: where every completed
operation carries its version, order is forced and nothing is searched (`versions`); where writes are told apart by
their values and nothing is deleted, zones decide (`tags`); what these leave open is searched under a budget
(`search`). Listings and batches are checked across keys (`snapshots`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..history import History, Operation
from .counterexample import violation_of
from .halves import half_seen
from .result import Check, Verdict, Violation, Witness
from .search import Budget, search
from .snapshots import check_moments, split
from .tags import check_tags, is_tagged
from .versions import UNDECIDED, check_versions, is_versioned

__all__ = ["STEPS", "Check", "Verdict", "Violation", "check_linearizable"]

STEPS = 2_000_000
"""Steps that searches may take, all models together: some seconds."""

_SLICE = 20_000


def check_linearizable(
    history: History, *, snapshot_listing: bool = True, atomic_batch: bool = True, steps: int = STEPS
) -> Check:
    """Check whether there is an order of all operations, each between its call and its return, that explains them.

    Args:
        history: what was recorded.
        snapshot_listing: a listing is to be one moment; otherwise each of its records is read apart.
        atomic_batch: a batch is to be one moment; otherwise each of its records is saved apart.
        steps: how many the searches may take, where versions and values don't decide. Out of them the verdict is
            UNKNOWN, which is never a pass.

    Returns:
        The verdict, with a small counterexample for each model that has a violation.
    """
    operations = history.operations
    compound = any(operation[12] or operation[1] == "load" for operation in operations)
    models = split(operations)
    tiers = {"versions": 0, "tags": 0, "search": 0}
    found: list[tuple[str, Witness]] = []
    open_models: list[str] = []
    for name, those in models.items():
        if is_versioned(those):
            witness = check_versions(those)
            if witness is UNDECIDED:
                open_models.append(name)
                continue
            tiers["versions"] += 1
        elif is_tagged(those):
            witness = check_tags(those)
            tiers["tags"] += 1
        else:
            open_models.append(name)
            continue
        if isinstance(witness, Witness):
            found.append((name, witness))
    tiers["search"] = len(open_models)
    found += _unreadable(operations)
    undecided = _searched(open_models, models, steps, found)
    if not found and compound and (snapshot_listing or atomic_batch):
        witness = check_moments(operations, snapshot=snapshot_listing, atomic=atomic_batch)
        if witness is None and atomic_batch:
            witness = half_seen(operations, models, snapshot=snapshot_listing)
        if witness is not None:
            found.append(("", witness))
    violations = [violation_of(name, witness, history, models) for name, witness in found]
    violations.sort(key=lambda violation: (len(violation.operations), violation.model_name))
    verdict = Verdict.VIOLATION if violations else Verdict.UNKNOWN if undecided else Verdict.LINEARIZABLE
    return Check(
        verdict=verdict,
        violations=violations,
        operations=len(operations),
        models=len(models),
        undecided=undecided,
        tiers=tiers,
    )


def _unreadable(operations: Sequence[Operation]) -> list[tuple[str, Witness]]:
    """Reads that met what can't be read: whatever they saw, it was at no moment what somebody had written."""
    first: dict[str, Operation] = {}
    for operation in operations:
        if (
            operation[11] == "CorruptStorageError"
            and operation[5] == "failed"
            and operation[1] in ("get", "load")
        ):
            first.setdefault(operation[2], operation)
    return [
        (name, Witness(rule="torn", operations=(operation,), why="what is stored could not be read"))
        for name, operation in first.items()
    ]


def _searched(
    names: Sequence[str],
    models: dict[str, list[Operation]],
    steps: int,
    found: list[tuple[str, Witness]],
) -> list[str]:
    """Search the models in turns, ever longer ones, until all are decided or the steps are used up."""
    waiting = list(names)
    share = _SLICE
    while waiting and steps > 0:
        still = []
        for name in waiting:
            budget = Budget(min(share, steps))
            given = budget.left
            witness = search(models[name], budget)
            steps -= given - budget.left
            if witness is False:
                still.append(name)
            elif isinstance(witness, Witness):
                found.append((name, witness))
            if steps <= 0:
                still += waiting[waiting.index(name) + 1 :]
                break
        waiting = still
        share *= 4
    return waiting
