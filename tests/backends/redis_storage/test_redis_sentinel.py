"""Records on a master that a real Redis Sentinel watches over."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from real_cluster import PATIENCE, Node, Sentinel, free_ports, info, until
from real_redis import SECRET, plus_one, progress

from pytest_aistorage import (
    Capability,
    ConfigurationError,
    HybridStorage,
    OutcomeUnknownError,
    RedisSentinelStorage,
    StorageUnavailableError,
    open_storage,
)


class Watched(NamedTuple):
    """A master, its replica, and who watches them."""

    master: Node
    replica: Node
    sentinel: Sentinel

    @property
    def url(self) -> str:
        """The first of the sentinels is not there."""
        return f"redis+sentinel://127.0.0.1:{free_ports(1)[0]},127.0.0.1:{self.sentinel.port}/training/0"

    def command(self, *words: object) -> None:
        """Tell the sentinel something."""
        with self.sentinel.client() as client:
            client.execute_command("SENTINEL", *words)

    def fails_over(self) -> bool:
        """Have master and replica change roles; False: the sentinel does not see its way to it yet."""
        try:
            self.command("FAILOVER", "training")
        except redis.ResponseError:
            return False
        return True


@pytest.fixture
def watched(program: str) -> Iterator[Watched]:
    """One master, one replica that has caught up, one sentinel that knows both."""
    master = Node(program)
    replica = Node(program, "--replicaof", f"127.0.0.1 {master.port}")
    sentinel = Sentinel(program, master)
    until(
        lambda: info(replica, "INFO replication")["master_link_status"] == "up", "the replica has caught up"
    )
    until(lambda: "slaves=1" in info(sentinel, "INFO sentinel")["master0"], "the sentinel knows the replica")
    yield Watched(master, replica, sentinel)
    for node in (sentinel, replica, master):
        node.close()


def test_the_successor_of_a_killed_master_is_found(watched: Watched, prefix: str) -> None:
    """What a replica had confirmed is there; an operation that waits for the failover goes on with the replica."""
    with RedisSentinelStorage(watched.url, prefix=prefix, timeout=PATIENCE, wait=1) as storage:
        saved = storage.save_progress(progress())
        assert storage.save_many([progress("a"), progress("b")]) == storage.load_progress()[:2]
        watched.master.kill()
        watched.command("SET", "training", "down-after-milliseconds", 100)
        assert storage.get_progress("m") == saved
        assert watched.replica.role() == "master"
    with RedisSentinelStorage(watched.url, prefix=prefix, timeout=PATIENCE) as storage:
        assert storage.update_progress("m", plus_one).version == 2


def test_a_master_that_was_demoted_answers_nothing(watched: Watched, prefix: str) -> None:
    """A failover while all are alive: neither reads nor writes go to who is a replica now."""
    with RedisSentinelStorage(watched.url, prefix=prefix, timeout=PATIENCE) as storage:
        with RedisSentinelStorage(watched.url, prefix=prefix, timeout=PATIENCE, wait=1) as careful:
            careful.save_progress(progress())
        assert storage.get_progress("m") is not None
        until(watched.fails_over, "the sentinel has asked the replica whether it is fit")
        until(lambda: watched.master.role() == "slave", "the master is a replica")
        with watched.replica.client() as client, watched.master.client() as demoted:
            # What it would answer is outdated, for it gets no more from the new master.
            demoted.config_set("masterauth", "wrong")
            demoted.execute_command("CLIENT KILL", "TYPE", "master")
            until(
                lambda: info(watched.master, "INFO replication")["master_link_status"] == "down",
                "the old master is cut off",
            )
            (key,) = client.keys(f"{prefix}record:m")
            client.set(key, client.get(key).replace(b"1", b"7", 1))
            assert demoted.get(key).startswith(b"1 ")
        found = storage.get_progress("m")
        assert found is not None
        assert found.version == 7
        assert [record.version for record in storage.load_progress()] == [7]
        assert storage.save_progress(progress()).version == 8


def test_a_stopped_master_leaves_the_outcome_unknown(watched: Watched, prefix: str) -> None:
    """The write is not sent to its successor as well."""
    with RedisSentinelStorage(watched.url, prefix=prefix, timeout=0.5) as storage:
        storage.save_progress(progress())
        watched.master.pause()
        try:
            with pytest.raises(OutcomeUnknownError):
                storage.save_progress(progress())
            with pytest.raises(StorageUnavailableError):
                storage.get_progress("m")
            assert not storage.health_check()
        finally:
            watched.master.resume()
    with RedisSentinelStorage(watched.url, prefix=prefix, timeout=PATIENCE) as storage:
        assert storage.save_progress(progress()).version == 3


def test_what_it_says_of_itself(watched: Watched, prefix: str) -> None:
    """Where the sentinels are and what the master is called; a name that they don't know is an error."""
    with open_storage(f"{watched.url}?prefix={prefix}") as storage:
        assert isinstance(storage, RedisSentinelStorage)
        assert storage.health_check()
        info = storage.get_storage_info()
        assert info.location == f"{repr(storage).split()[1][:-1]}"
        assert info.location.endswith(f"127.0.0.1:{watched.sentinel.port}/training/0?prefix={prefix}")
        assert {Capability.ATOMIC_BATCH, Capability.SNAPSHOT_LISTING} <= info.capabilities
        assert not {Capability.LINEARIZABLE, Capability.VERSIONS_NEVER_REUSED} & info.capabilities
    with (
        open_storage(f"redis+sentinel://127.0.0.1:{watched.sentinel.port}/other") as storage,
        pytest.raises(ConfigurationError, match="'other'"),
    ):
        storage.get_progress("m")


def test_no_sentinel_that_answers() -> None:
    """The error says so at once, and shows no password."""
    one, other = free_ports(2)
    url = f"valkey+sentinel://u:{SECRET}@127.0.0.1:{one},127.0.0.1:{other}/training/0?sentinel_password={SECRET}"
    with open_storage(url) as storage:
        assert not storage.health_check()
        with pytest.raises(StorageUnavailableError, match="no sentinel answers") as caught:
            storage.save_progress(progress())
        assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(storage)


@pytest.mark.parametrize("rest", ["", "/", "/training/x", "/training?db=1", "/training?durability=none"])
def test_what_can_not_be_right_is_refused_when_it_is_opened(rest: str) -> None:
    """No name, no number, a parameter that it does not know."""
    with pytest.raises(ConfigurationError):
        open_storage(f"redis+sentinel://localhost{rest}")


def test_a_hybrid_follows_its_cache_to_the_successor(watched: Watched, tmp_path: Path) -> None:
    """What a replica that takes over has is not believed; writes and reads go on."""
    with open_storage(f"sqlite:///{tmp_path}/x.db", cache=watched.url, lease=1.0) as storage:
        assert isinstance(storage, HybridStorage)
        storage.save_progress(progress())
        storage.get_progress("m")
        assert isinstance(storage._cache.get("m"), tuple)
        watched.master.kill()
        watched.command("SET", "training", "down-after-milliseconds", 100)
        until(lambda: watched.replica.role() == "master", "the replica takes over")
        saved = storage.save_progress(progress())
        assert saved.version == 2
        assert storage.get_progress("m") == saved
        assert not isinstance(storage._cache.get("m"), tuple)
        until(lambda: storage.get_progress("m") == saved and storage.degraded is None, "it is cached there")
