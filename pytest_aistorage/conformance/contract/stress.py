"""Many clients at once, at full speed: what they were told is checked, and compared with what was kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ...capabilities import Capability
from ...errors import UnsupportedOperationError
from ...races.checker import Verdict
from ...races.pool import shared_pool
from ...races.stress import RaceResult, run_race
from ...races.timeline import describe
from ...races.workloads import (
    BatchesUnderReads,
    Churn,
    Counter,
    DistinctModels,
    ListingUnderWrites,
    Register,
    SameModel,
    Workload,
)
from ..effort import active
from .clients import Clients, ContractBase, inconclusive, requires

__all__ = ["StressContract"]


class StressContract(ContractBase):
    """Clients as processes where the store is shared between them, otherwise as threads."""

    area = "races"

    @requires(Capability.LINEARIZABLE)
    def test_racing_saves_of_one_model_are_all_kept(self, clients: Clients) -> None:
        """Of many clients that save one model each acknowledged save has taken a version of its own."""
        _check(clients, SameModel)

    @requires(Capability.LINEARIZABLE)
    def test_racing_updates_are_all_counted(self, clients: Clients) -> None:
        """Of many clients that count one model up each acknowledged update is in the count."""
        _check(clients, Counter)

    @requires(Capability.LINEARIZABLE)
    def test_racing_saves_of_many_models_are_all_kept(self, clients: Clients) -> None:
        """Of many clients that save a model each all acknowledged saves are kept."""
        _check(clients, DistinctModels)

    @requires(Capability.LINEARIZABLE)
    def test_racing_reads_and_conditional_saves_are_linearizable(self, clients: Clients) -> None:
        """Some order explains what many clients were told that read models and save on the condition of that."""
        _check(clients, Register)

    @requires(Capability.LINEARIZABLE, Capability.VERSIONS_NEVER_REUSED)
    def test_racing_saves_and_deletes_are_linearizable(self, clients: Clients) -> None:
        """Some order explains what many clients were told that save, delete and get models."""
        _check(clients, Churn)

    @requires(
        Capability.LINEARIZABLE,
        Capability.SNAPSHOT_LISTING,
        Capability.VERSIONS_NEVER_REUSED,  # it deletes: versions that come again would be taken for lost updates
        evidence_for=(Capability.LINEARIZABLE, Capability.SNAPSHOT_LISTING),
    )
    def test_racing_listings_show_one_moment(self, clients: Clients) -> None:
        """Each listing of many clients that list while others save and delete was true at one moment."""
        _check(clients, ListingUnderWrites)

    @requires(Capability.LINEARIZABLE, Capability.ATOMIC_BATCH)
    def test_racing_batches_are_seen_whole(self, clients: Clients) -> None:
        """Nobody of many clients that read while others save batches has seen a part of one."""
        _check(clients, BatchesUnderReads)


_RACES = 10  # at most, until operations overlap: on a busy machine one thread may be through before the next begins


def _check(clients: Clients, workload: Callable[[str], Workload]) -> None:
    """Race until operations have overlapped; fail if no order explains them, or something is lost."""
    for _ in range(_RACES):
        result = _checked(clients, workload(clients.new_name()))
        if result.overlapping:
            return
    inconclusive(f"no two operations overlapped in {_RACES} races, so nothing was raced: {result.balance}")


def _checked(clients: Clients, workload: Workload) -> RaceResult:
    effort, seed = active()
    shared = Capability.SHARED_BETWEEN_PROCESSES in clients.capabilities
    try:
        result: RaceResult = run_race(
            clients.opener,
            workload,
            processes=effort.racers,
            operations=effort.operations,
            seconds=effort.racing,
            seed=seed,
            pool=shared_pool(),
            shared=shared,
        )
    except UnsupportedOperationError as error:
        inconclusive(str(error))
    balance = result.balance
    clients.facts["balance"] = str(balance)
    raced = f"{result.clients} clients as {'processes' if shared else 'threads'}, seed {seed}: {balance}"
    if result.check.verdict is Verdict.VIOLATION:
        pytest.fail(f"{describe(result.check, result.history)}\n{raced}", pytrace=False)
    if not balance.is_whole:
        pytest.fail(raced + (f"\n  {balance.unreadable}" if balance.unreadable else ""), pytrace=False)
    if result.failures:
        first = result.failures[0]
        pytest.fail(f"{raced}\n  P{first.client + 1}: {first.error}\n{first.trace}", pytrace=False)
    if result.check.verdict is Verdict.UNKNOWN:
        inconclusive(f"{describe(result.check, result.history)}; {raced}")
    answered = sum(1 for one in result.history if one.outcome == "ok" or one.actual is not None)
    if answered <= len(result.history) // 2:
        inconclusive(
            f"of {len(result.history)} operations {answered} were answered, which shows little: {balance}"
        )
    return result
