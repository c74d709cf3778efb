"""The proof: what each backend declares, beside what was shown of it."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..capabilities import Capability
from ..errors import AIStorageError
from . import demonstrations
from .clients import ClientPool
from .demonstrations import Finding
from .ledger import Balance
from .stress import run_race
from .subjects import Subject
from .workloads import Counter, DistinctModels, SameModel, Workload

__all__ = ["DEMONSTRATIONS", "Evidence", "Proof", "Verdict", "prove"]

DEMONSTRATIONS = ("lost update", "torn read", "crash half-way", "stress", "container restart")
"""In the order in which they are run and shown."""


class Verdict(enum.Enum):
    """Whether what was shown is what is declared."""

    AS_DECLARED = "as declared"
    CONTRADICTED = "contradicts the declaration"
    INCONCLUSIVE = "inconclusive"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one demonstration came to.

    Attributes:
        name: one of `DEMONSTRATIONS`.
        promised: whether the storage declares the guarantee; then nothing may be lost, and otherwise it must be.
        lost: how many cases lost something; of a stress run, acknowledged operations that are gone.
        of: how many cases there were; of a stress run, acknowledged operations.
        unit: of what: ``"schedules"``, ``"runs"``, ``"seams"``, ``"operations"``.
        verdict: whether that is what is declared.
        example: the name of a schedule that lost something.
        what: what was seen there; or why nothing was shown.
        balances: of a stress run, by workload.
    """

    name: str
    promised: bool
    lost: int = 0
    of: int = 0
    unit: str = "schedules"
    verdict: Verdict
    example: str | None = None
    what: str | None = None
    balances: dict[str, Balance] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Proof:
    """All that was shown of one backend.

    Attributes:
        name: the backend's.
        server: product and version.
        provider: where the server came from; None where there is none.
        capabilities: what it declares.
        evidence: by the demonstration's name.
        elapsed: seconds.
        problem: why the proof broke off, if it did.
    """

    name: str
    server: str
    provider: str | None
    capabilities: frozenset[Capability]
    evidence: dict[str, Evidence] = field(default_factory=dict)
    elapsed: float = 0.0
    problem: str | None = None

    @property
    def as_declared(self) -> bool:
        """Whether everything came out as declared: nothing that was promised is left open."""
        return self.problem is None and all(
            evidence.verdict is Verdict.AS_DECLARED
            or evidence.verdict is Verdict.NOT_SHOWN
            or (evidence.verdict is Verdict.INCONCLUSIVE and not evidence.promised)
            for evidence in self.evidence.values()
        )


def prove(
    subject: Subject,
    pool: ClientPool,
    *,
    provider: str | None = None,
    runs: int = 20,
    operations: int = 1000,
    processes: int = 8,
    seed: int = 0,
    progress: Callable[[str], None] = lambda name: None,
) -> Proof:
    """Run the demonstrations on one backend; that of the container's restart is not among them.

    Where a guarantee is declared, every schedule of two clients is run once and none may lose anything. Where
    it is not, one schedule that must lose is run so many times, and must lose each time.

    Args:
        subject: the backend, entered.
        pool: where clients come from.
        provider: where the server came from.
        runs: how often a schedule that must lose is run.
        operations: of the stress run on one model; a fifth of it on each of the other workloads.
        processes: of the stress run.
        seed: of the stress run.
        progress: called with the name of each demonstration before it begins.
    """
    info = subject.observer(subject.fresh()).get_storage_info()
    proof = Proof(name=subject.name, server=info.server, provider=provider, capabilities=info.capabilities)
    started = time.monotonic()
    linearizable = Capability.LINEARIZABLE in info.capabilities
    survives = Capability.SURVIVES_CLIENT_CRASH in info.capabilities
    steps: list[tuple[str, Callable[[], Evidence]]] = [
        ("lost update", lambda: _lost_update(subject, pool, linearizable, runs)),
        ("torn read", lambda: _torn_read(subject, pool, linearizable, runs)),
        ("crash half-way", lambda: _crash(subject, pool, survives, runs)),
        ("stress", lambda: _stress(subject, pool, linearizable, operations, processes, seed)),
    ]
    try:
        for name, step in steps:
            progress(name)
            proof.evidence[name] = step()
    except AIStorageError as error:
        proof.problem = f"{name}: {type(error).__name__}: {error}"
    proof.elapsed = time.monotonic() - started
    return proof


def _lost_update(subject: Subject, pool: ClientPool, promised: bool, runs: int) -> Evidence:
    if promised:
        return _kept("lost update", demonstrations.lost_update(subject, pool, schedule=None), "schedules")
    return _must_lose(
        "lost update",
        runs,
        lambda: demonstrations.lost_update(subject, pool, schedule=demonstrations.LOST_UPDATE),
    )


def _torn_read(subject: Subject, pool: ClientPool, promised: bool, runs: int) -> Evidence:
    found = demonstrations.torn_read(subject, pool)
    if promised:
        return _kept("torn read", found, "schedules")
    return _must_lose(
        "torn read", runs, lambda: demonstrations.torn_read(subject, pool, schedule=found.example)
    )


def _crash(subject: Subject, pool: ClientPool, promised: bool, runs: int) -> Evidence:
    name = "crash half-way"
    found = demonstrations.crash_half_way(subject, pool)
    if found is None:
        return Evidence(
            name=name,
            promised=promised,
            verdict=Verdict.NOT_SHOWN,
            what="its clients are threads of one process, of which none can crash alone",
        )
    if promised:
        return _kept(name, found, "seams")

    def again() -> Finding:
        finding = demonstrations.crash_half_way(subject, pool, schedule=found.example)
        assert finding is not None  # it was applicable before
        return finding

    return _must_lose(name, runs, again)


def _kept(name: str, found: Finding, unit: str) -> Evidence:
    """The evidence for a guarantee: every case was tried."""
    return Evidence(
        name=name,
        promised=True,
        lost=found.lost,
        of=found.schedules,
        unit=unit,
        verdict=Verdict.CONTRADICTED if found.lost else Verdict.AS_DECLARED,
        example=found.example,
        what=found.what,
    )


def _must_lose(name: str, runs: int, demonstrate: Callable[[], Finding]) -> Evidence:
    """The evidence for the lack of a guarantee: each time, the data are lost."""
    findings = [demonstrate() for _ in range(runs)]
    losing = [finding for finding in findings if finding.lost]
    return Evidence(
        name=name,
        promised=False,
        lost=len(losing),
        of=runs,
        unit="runs",
        verdict=Verdict.AS_DECLARED if len(losing) == runs else Verdict.CONTRADICTED,
        example=losing[0].example if losing else None,
        what=losing[0].what if losing else None,
    )


def _stress(
    subject: Subject, pool: ClientPool, promised: bool, operations: int, processes: int, seed: int
) -> Evidence:
    balances: dict[str, Balance] = {}
    workloads: tuple[tuple[str, type[Workload], int], ...] = (
        ("same model", SameModel, operations),
        ("distinct models", DistinctModels, operations // 5),
        ("counter", Counter, operations // 5),
    )
    for name, workload, number in workloads:
        store = subject.fresh()
        subject.observer(store)  # it stays open, so that a memory:// lives
        result = run_race(
            store.opener,
            workload(subject.model()),
            processes=processes,
            operations=number,
            seed=seed,
            pool=pool,
        )
        balances[name] = result.balance
    lost = sum(balance.lost for balance in balances.values())
    acknowledged = sum(balance.acknowledged for balance in balances.values())
    duplicates = sum(balance.duplicates for balance in balances.values())
    if lost or duplicates:
        verdict = Verdict.CONTRADICTED if promised else Verdict.AS_DECLARED
    elif promised and acknowledged == sum(number for _, _, number in workloads):
        verdict = Verdict.AS_DECLARED
    else:
        # Operations that failed show nothing of what happens to those that don't; and that a store without
        # the guarantee was lucky once shows nothing either.
        verdict = Verdict.INCONCLUSIVE
    return Evidence(
        name="stress",
        promised=promised,
        lost=lost,
        of=acknowledged,
        unit="operations",
        verdict=verdict,
        what="; ".join(f"{name}: {balance}" for name, balance in balances.items()),
        balances=balances,
    )
