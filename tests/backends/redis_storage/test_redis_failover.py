"""A master of a Redis Cluster that is killed, and what the replica that takes over has.

How much a failover loses without ``wait`` depends on the moment of the kill. What is asserted here holds at any
moment; the loss is shown on a replica that was cut off before.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
from real_cluster import PATIENCE, Cluster, ClusterNode, cluster_of, fail_over, info, until
from real_redis import progress

from pytest_aistorage import OutcomeUnknownError, RedisClusterStorage
from pytest_aistorage.backends._redis_cluster import partition_of, slot_of, tags


@pytest.fixture
def cluster(program: str) -> Iterator[Cluster]:
    """A cluster of which the test kills a master."""
    with cluster_of(program) as started:
        yield started


def models_of(cluster: Cluster, master: ClusterNode, number: int) -> list[str]:
    """Names of models that a master keeps."""
    served = (
        name
        for name in (f"m{i}" for i in range(10_000))
        if cluster.owner(slot_of(f"{{{tags()[partition_of(name)]}}}")) is master
    )
    return [next(served) for _ in range(number)]


def test_a_save_that_a_replica_has_confirmed_survives_its_master(cluster: Cluster, prefix: str) -> None:
    """With ``wait=1`` nothing acknowledged is lost; four clients that write all the time go on with the replica."""
    names = models_of(cluster, cluster.masters[0], 4)
    acknowledged: dict[str, list[int]] = {name: [] for name in names}
    failures: list[BaseException] = []
    some = threading.Semaphore(0)
    done = threading.Event()

    def write(name: str) -> None:
        try:
            with RedisClusterStorage(cluster.url, prefix=prefix, timeout=PATIENCE, wait=1) as storage:
                while not done.is_set():
                    with contextlib.suppress(OutcomeUnknownError):  # may be there or not: nobody was told
                        acknowledged[name].append(storage.save_progress(progress(name)).version)
                    some.release()
        except BaseException as error:
            failures.append(error)
            some.release()

    writers = [threading.Thread(target=write, args=(name,)) for name in names]
    for writer in writers:
        writer.start()
    try:
        for _ in range(100):
            assert some.acquire(timeout=PATIENCE)
        fail_over(cluster, cluster.masters[0], cluster.replicas[0])
        cluster.masters[
            0
        ].start()  # as the successor's replica: somebody has to confirm what is saved from now on
        before = {name: len(given) for name, given in acknowledged.items()}
        until(
            lambda: bool(failures) or all(len(acknowledged[name]) > before[name] for name in names),
            "all go on with the replica",
        )
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert failures == []
    with RedisClusterStorage(cluster.url, prefix=prefix, timeout=PATIENCE) as storage:
        for name, given in acknowledged.items():
            kept = storage.get_progress(name)
            assert kept is not None
            assert kept.version >= given[-1]
            # A version that was given again would mean that a save which came before it was lost.
            assert given == sorted(set(given))


def test_without_replicas_a_failover_loses_what_was_acknowledged(cluster: Cluster, prefix: str) -> None:
    """A replica that is cut off takes over: what it did not get is gone; ``wait`` would have said so."""
    master, replica = cluster.masters[1], cluster.replicas[1]
    lost, told = models_of(cluster, master, 2)
    replica.say("CONFIG SET", "cluster-replica-validity-factor", 0)  # it takes over, however old its data are
    # It can't connect again: the master refuses a password that it does not know.
    replica.say("CONFIG SET", "masterauth", "wrong")
    replica.say("CLIENT KILL", "TYPE", "master")
    until(
        lambda: (
            info(replica, "INFO replication")["master_link_status"] == "down"
            and info(master, "INFO replication")["connected_slaves"] == "0"
        ),
        "the replica is cut off",
    )
    with RedisClusterStorage(cluster.url, prefix=prefix, timeout=PATIENCE) as storage:
        assert storage.save_progress(progress(lost)).version == 1
        with (
            RedisClusterStorage(cluster.url, prefix=prefix, timeout=2, wait=1) as careful,
            pytest.raises(OutcomeUnknownError, match="0 of 1 replicas"),
        ):
            careful.save_progress(progress(told))
        assert storage.get_progress(told) is not None  # it is there, and nobody promised that it stays
        fail_over(cluster, master, replica)
        assert storage.get_progress(lost) is None
        assert storage.save_progress(progress(lost)).version == 1, "a version is given twice"
        assert storage.get_progress(told) is None
