"""Clients write to a Redis Cluster whose masters are killed, one after the other.

For some seconds in an ordinary run, and for as long as ``SOAK_SECONDS`` says.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator

import pytest
from real_cluster import Cluster, ClusterNode, cluster_of, fail_over, until

from pytest_aistorage import open_storage
from pytest_aistorage.races import Counter, DistinctModels, Faults, SameModel, Workload, run_race

SECONDS = float(os.environ.get("SOAK_SECONDS", "6"))
SEED = int(os.environ.get("SOAK_SEED", "0"))
LONGEST = 30.0

TOLD = {"StorageUnavailableError", "OutcomeUnknownError", "VersionConflictError"}


class Masters:
    """Kills one master after the other. In turn, its replica takes over, and it comes back itself.

    Args:
        cluster: whose.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._turns = itertools.count()
        self._killed: tuple[ClusterNode, ClusterNode] | None = None
        self.failovers = self.returns = 0

    def kill(self) -> None:
        """SIGKILL a master."""
        until(self._cluster.is_whole, "each master has its replica")
        number = next(self._turns) // 2 % 3
        pair = (self._cluster.masters[number], self._cluster.replicas[number])
        master, replica = pair if pair[0].role() == "master" else pair[::-1]
        self._killed = (master, replica)
        master.kill()

    def restart(self) -> None:
        """Let the replica take over and the killed one be its replica; every second time, only start it."""
        assert self._killed is not None
        master, replica = self._killed
        if self.failovers > self.returns:
            self.returns += 1
        else:
            self.failovers += 1
            fail_over(self._cluster, master, replica)
        master.start()
        until(self._cluster.is_whole, "the cluster is whole")


@pytest.fixture
def cluster(program: str) -> Iterator[Cluster]:
    """A cluster that writes to the disk before it answers."""
    with cluster_of(program, "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.mark.parametrize("program", ["redis"], indirect=True)
def test_nothing_acknowledged_is_lost_with_a_killed_master(cluster: Cluster, prefix: str) -> None:
    """With ``wait=1`` and an append-only file, whether its replica takes over or it comes back itself."""
    opener = functools.partial(open_storage, cluster.url, prefix=prefix, timeout=2, wait=1)
    masters = Masters(cluster)
    faults = Faults(target=masters, kinds=("kill",), pause=(0.5, 1.5), lasting=(0.1, 0.5))  # type: ignore[arg-type]
    kinds: tuple[type[Workload], ...] = (Counter, DistinctModels, SameModel)
    rounds = max(1, round(SECONDS / LONGEST))
    acknowledged, told = 0, []
    for number in range(rounds):
        workload = kinds[number % len(kinds)]
        result = run_race(
            opener,
            workload(f"{workload.__name__}-{number}"),
            processes=6,
            operations=10**9,
            seconds=SECONDS / rounds,
            seed=SEED + number,
            faults=faults,
        )
        told.append(f"{workload.__name__}: {result.balance}, {len(result.history.faults)} faults")
        assert (result.balance.lost, result.balance.duplicates) == (0, 0), told[-1]
        assert result.failures == ()
        assert set(result.balance.errors) <= TOLD, told[-1]
        assert result.history.faults
        acknowledged += result.balance.acknowledged
    assert acknowledged > 0
    assert masters.failovers >= masters.returns
    print("\n".join(told), f"{masters.failovers} failovers, {masters.returns} returns", sep="\n")
