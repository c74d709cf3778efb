"""The judge that needs none: what the clients of a run were told must fit one order of their operations."""

from __future__ import annotations

from ..capabilities import Capability
from .checker import Verdict, check_linearizable
from .controller import Run
from .errors import RaceError
from .history import Operation
from .timeline import describe

__all__ = ["linearizable"]


def linearizable(run: Run) -> str | None:
    """Say why a run's history is not linearizable; None: it is.

    A listing counts as one moment, and a batch, where the storage declares `Capability.SNAPSHOT_LISTING` and
    `Capability.ATOMIC_BATCH`. An operation that raised what is no conflict is told as well: nothing was done to the
    storage that would explain it. Out of budget is never a pass.

    Args:
        run: of a scenario with a `Recording`.

    Raises:
        RaceError: nothing was recorded.
    """
    if run.history is None:
        raise RaceError(f"{run.schedule}: nothing was recorded; the scenario has no recording")
    check = check_linearizable(
        run.history,
        snapshot_listing=Capability.SNAPSHOT_LISTING in run.capabilities,
        atomic_batch=Capability.ATOMIC_BATCH in run.capabilities,
    )
    if check.verdict is not Verdict.LINEARIZABLE:
        return describe(check, run.history)
    for operation in run.history:
        if _is_unexplained(operation):
            return f"P{operation.process}: {operation.kind} {operation.model_name} raised {operation.error}"
    return None


def _is_unexplained(operation: Operation) -> bool:
    if operation.error is None or operation.actual is not None:
        return False
    # A change that raises, and bad input, are the caller's matter: it failed as it should.
    return (
        operation.kind in ("get", "load")
        or operation.outcome == "unknown"
        or operation.error in ("CorruptStorageError", "StorageUnavailableError")
    )
