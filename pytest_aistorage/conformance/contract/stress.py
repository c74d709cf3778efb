"""Many clients at once, at a machine's full speed: what was acknowledged is compared with what was kept."""

from __future__ import annotations

import pytest

from ...capabilities import Capability
from ...errors import UnsupportedOperationError
from ...races.stress import RaceResult, run_race
from ...races.workloads import Counter, DistinctModels, SameModel, Workload
from ..effort import active
from ..pool import shared_pool
from .clients import Clients, ContractBase, inconclusive, requires

__all__ = ["StressContract"]


class StressContract(ContractBase):
    """Clients as processes where the store is shared between them, otherwise as threads."""

    area = "races"

    @requires(Capability.LINEARIZABLE)
    def test_racing_saves_of_one_model_are_all_kept(self, clients: Clients) -> None:
        """Of many clients that save one model each acknowledged save has taken a version of its own."""
        _check(clients, SameModel(clients.new_name()), 2)

    @requires(Capability.LINEARIZABLE)
    def test_racing_updates_are_all_counted(self, clients: Clients) -> None:
        """Of many clients that count one model up each acknowledged update is in the count."""
        _check(clients, Counter(clients.new_name()), 4)

    @requires(Capability.LINEARIZABLE)
    def test_racing_saves_of_many_models_are_all_kept(self, clients: Clients) -> None:
        """Of many clients that save a model each all acknowledged saves are kept."""
        _check(clients, DistinctModels(clients.new_name()), 4)


def _check(clients: Clients, workload: Workload, part: int) -> None:
    """Run a part of the effort's operations; fail if something is lost."""
    effort, seed = active()
    shared = Capability.SHARED_BETWEEN_PROCESSES in clients.capabilities
    try:
        result: RaceResult = run_race(
            clients.opener,
            workload,
            processes=effort.racers,
            operations=effort.operations // part,
            seed=seed,
            pool=shared_pool(),
            shared=shared,
        )
    except UnsupportedOperationError as error:
        inconclusive(str(error))
    balance = result.balance
    clients.facts["balance"] = str(balance)
    if balance.lost or balance.duplicates or balance.unreadable:
        pytest.fail(
            f"{result.clients} clients as {'processes' if shared else 'threads'}, seed {seed}: {balance}"
            + (f"\n  {balance.unreadable}" if balance.unreadable else ""),
            pytrace=False,
        )
    if balance.acknowledged < effort.operations // part:
        inconclusive(
            f"of {effort.operations // part} operations only {balance.acknowledged} were acknowledged after 5 "
            f"tries each, which shows little: {balance}"
        )
