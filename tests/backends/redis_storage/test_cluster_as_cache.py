"""A Redis Cluster as the cache of a hybrid: nobody reads what is stale while its replicas take over."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_readers import Read, open_hybrid
from real_cluster import Cluster, cluster_of, until
from real_redis import program_of, progress

from pytest_aistorage import ConfigurationError, HybridStorage, open_storage
from pytest_aistorage.backends._cache_routes import RoutedCacheLink
from pytest_aistorage.backends._redis_cluster import partition_of, slot_of, tags
from pytest_aistorage.backends._redis_pool import pool_from_url
from pytest_aistorage.config import StorageURL
from pytest_aistorage.races import ClientPool, run_race
from pytest_aistorage.races.timeline import describe

SECONDS = 4.0
LONG = 60.0

CONTRACT = """
import functools
from uuid import uuid4

import pytest

from pytest_aistorage import open_storage
from pytest_aistorage.conformance.contract import (
    batches, compare_and_set, sequences, sharing, updates
)


class TestHybrid(
    batches.BatchContract,
    compare_and_set.CompareAndSetContract,
    sequences.SequenceContract,
    sharing.SharingContract,
    updates.UpdateContract,
):
    @pytest.fixture
    def ai_storage_opener(self, tmp_path):
        cache = f"{URL}?prefix=c-{uuid4().hex}:"
        return functools.partial(open_storage, f"sqlite:///{tmp_path}/hybrid.db", cache=cache)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster whose masters change."""
    program = program_of("redis")
    if program is None:
        pytest.skip("no redis-server on this machine: install it")
    with cluster_of(program) as started:
        yield started


def cached(storage: Any, name: str) -> bool:
    """Whether the model's record is read from the cache, the second time."""
    storage.get_progress(name)
    return isinstance(storage._cache.get(name), tuple)


def test_models_are_cached_on_all_masters(cluster: Cluster, tmp_path: Any) -> None:
    """Each with all of its keys in the slot of its partition; a batch goes to several nodes."""
    names = [f"m{number}" for number in range(30)]
    with open_storage(
        f"sqlite:///{tmp_path}/x.db", cache=f"{cluster.url}?prefix=mine:", lease=LONG
    ) as storage:
        assert isinstance(storage, HybridStorage)
        storage.save_many(progress(name) for name in names)
        assert all(cached(storage, name) for name in names)
        assert storage.degraded is None
        assert ", cached by Redis" in storage.get_storage_info().server
        storage.save_many(progress(name) for name in names)
        assert not any(isinstance(storage._cache.get(name), tuple) for name in names)
    for master in cluster.masters:
        with master.client() as client:
            found = [key.decode() for key in client.scan_iter("mine:*", count=1000)]
        assert found
        assert {slot_of(key) for key in found} <= {slot_of(f"{{{tag}}}") for tag in tags()}


def test_a_replica_that_takes_over_is_not_believed(cluster: Cluster, tmp_path: Any) -> None:
    """It may lack the last announcements: nothing is filled there before all writes of before are over."""
    name = next(n for n in (f"m{i}" for i in range(1000)) if cluster.owner(slot(n)) is cluster.masters[0])
    url = f"sqlite:///{tmp_path}/x.db"
    with (
        open_storage(url, cache=cluster.url, lease=LONG) as writer,
        open_storage(url, cache=cluster.url, lease=LONG) as reader,
    ):
        writer.save_progress(progress(name))
        assert cached(reader, name)
        cluster.replicas[0].say("CLUSTER", "FAILOVER", "TAKEOVER")
        until(lambda: cluster.owner(slot(name)) is cluster.replicas[0], "the replica has taken over")
        until(cluster.is_whole, "all know it")
        assert not cached(reader, name)
        reader.get_progress(name)
        assert reader.get_progress(name) == writer.get_progress(name)
        cluster.masters[0].say("CLUSTER", "FAILOVER", "TAKEOVER")
        until(lambda: cluster.owner(slot(name)) is cluster.masters[0], "the master is back")
        until(cluster.is_whole, "all know it")
        assert not cached(reader, name)  # its copies are back with it, of another history


def slot(model_name: str) -> int:
    """The slot of a model's keys."""
    return slot_of(f"{{{tags()[partition_of(model_name)]}}}")


class OneMaster:
    """A cluster as one client sees it that is on one side of a network which is cut in two."""

    def __init__(self, url: str) -> None:
        self._pool = pool_from_url(StorageURL.parse(url), timeout=10, max_connections=4)

    def deadline(self) -> float:
        """There is time enough."""
        return time.monotonic() + 10

    def _owner(self, key: Any, end: float) -> tuple[str, int]:
        return "master", 1

    def _link_to(self, address: Any) -> OneMaster:
        return self

    def _doubt(self) -> None:
        """There is no other."""

    def disconnect(self) -> None:
        """Close the connections."""
        self._pool.disconnect()


@pytest.fixture
def two_sides(tmp_path: Any, redis_server: Any, private_redis_server: Any) -> Iterator[Any]:
    """Open clients of one hybrid, each of which takes another server for the master; with a lease of 1.5 s."""
    opened = []

    def on(side: int) -> Any:
        server = (redis_server, private_redis_server)[side]
        storage: Any = open_storage(
            f"sqlite:///{tmp_path}/x.db", cache="redis+cluster://unused:1", lease=1.5, timeout=1
        )
        opened.append(storage)
        way: Any = OneMaster(urls.setdefault(side, server.create_database()))
        storage._link = storage._cache._link = RoutedCacheLink(way, evicts=False)
        return storage

    urls: dict[int, str] = {}
    yield on
    for storage in opened:
        storage._cache._link.close()
        storage.close()


def test_a_writer_on_the_other_side_waits_until_copies_on_this_one_are_over(two_sides: Any) -> None:
    """Two masters at once: the second announces nothing that the first would know of."""
    reader, writer = two_sides(0), two_sides(1)
    reader.save_progress(progress("m"))
    assert cached(reader, "m")
    began = time.monotonic()
    reader.get_progress("m")
    saved = writer.save_progress(progress("m"))
    assert time.monotonic() - began >= 1.5
    assert reader.get_progress("m") == saved
    assert not cached(reader, "m")  # this side has had its time; to have it again takes long


def test_a_writer_that_meets_another_master_waits(two_sides: Any) -> None:
    """What it has just been told of one server says nothing of the one that takes over from it."""
    reader, writer, other = two_sides(0), two_sides(0), two_sides(1)
    writer.save_progress(progress("m"))
    assert cached(reader, "m")
    writer._link, other._link = other._link, writer._link
    writer._cache._link, other._cache._link = other._cache._link, writer._cache._link
    began = time.monotonic()
    reader.get_progress("m")
    saved = writer.save_progress(progress("m"))
    assert time.monotonic() - began >= 1.5
    assert reader.get_progress("m") == saved


def test_readers_alone_let_a_master_reign(cluster: Cluster, tmp_path: Any) -> None:
    """A store that nobody has written through this cache is cached all the same, at once."""
    url = f"sqlite:///{tmp_path}/x.db"
    with open_storage(url) as database:
        database.save_progress(progress("m"))
    with open_storage(url, cache=cluster.url, lease=LONG) as storage:
        storage.get_progress("m")  # lets it reign
        assert cached(storage, "m")


def test_a_writer_asks_again_who_reigns(two_sides: Any) -> None:
    """What it knew a moment ago has ended: another server has begun to reign, where copies may be filled by now."""
    writer, other = two_sides(0), two_sides(1)
    writer.save_progress(progress("m"))
    other.save_progress(progress("m"))
    began = time.monotonic()
    saved = writer.save_progress(progress("m"))
    assert time.monotonic() - began >= 1.5  # it had to begin a reign anew, and wait
    assert other.get_progress("m") == saved


def test_a_cluster_keeps_the_contract_as_a_cache(
    cluster: Cluster, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hybrid declares is kept over it, linearizable too."""
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "AI_STORAGE_"))]:
        monkeypatch.delenv(name)  # what this run was told is not meant for that one
    pytester.makepyfile(test_cache=f"URL = {cluster.url!r}\n{CONTRACT}")
    result = pytester.runpytest_subprocess("--ai-storage-effort=quick", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "skipped"}
    assert outcomes["passed"] > 40


def test_no_read_is_stale_while_masters_change(cluster: Cluster, postgres_server: Any) -> None:
    """Six clients read and write while replicas take over and masters stand still or are killed."""
    for node in cluster.nodes:
        node.say("CONFIG SET", "cluster-node-timeout", 500)
    opener = functools.partial(open_hybrid, postgres_server.create_database(), cluster.url)
    done = threading.Event()
    faults = []
    chance = random.Random(7)

    def disturb() -> None:
        while not done.wait(chance.uniform(0.1, 0.6)):
            one = chance.randrange(3)
            pair = [cluster.masters[one], cluster.replicas[one]]
            replica = next((node for node in pair if node.role() == "slave"), None)
            if replica is not None and chance.random() < 0.7:
                replica.say("CLUSTER", "FAILOVER", chance.choice(("FORCE", "TAKEOVER")))
                faults.append("failover")
            elif replica is not None:
                master = pair[1 - pair.index(replica)]
                master.kill()
                done.wait(chance.uniform(0.2, 1.5))
                master.start()
                faults.append("kill")

    with ClientPool() as pool:
        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            result = run_race(
                opener, Read("resnet"), processes=6, operations=10**9, seconds=SECONDS, pool=pool
            )
        finally:
            done.set()
            thread.join()
    assert result.check, describe(result.check, result.history)
    assert result.balance.lost == 0
    assert result.balance.acknowledged > 0
    assert faults
    assert set(result.balance.errors) <= {"VersionConflictError"}, str(result.balance)


def test_write_behind_takes_one_server() -> None:
    """What a failover loses would be lost unnoticed; the error names what can be used."""
    for url in ("redis+cluster://h:1", "redis+sentinel://h/name"):
        with pytest.raises(ConfigurationError, match=r"write-behind takes one Redis server"):
            open_storage("sqlite:///x.db", cache=url, write_policy="write-behind")
