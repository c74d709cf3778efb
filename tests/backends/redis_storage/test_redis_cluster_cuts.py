"""A write to a Redis Cluster whose connection fails: it takes effect once, or its outcome is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cutting import CuttingRelay
from real_cluster import PATIENCE, ClusterNode, info, until
from real_redis import plus_one, progress

from pytest_aistorage import AIProgress, OutcomeUnknownError, RedisClusterStorage, StorageUnavailableError


@pytest.fixture(scope="module")
def node(program: str) -> Iterator[ClusterNode]:
    """The only node of a cluster."""
    started = ClusterNode(program)
    started.say("CLUSTER ADDSLOTSRANGE", 0, 16383)
    until(lambda: info(started, "CLUSTER INFO")["cluster_state"] == "ok", "the cluster is whole")
    yield started
    started.close()


def versions_of(node: ClusterNode, name: str) -> list[int]:
    """The version of a model, read around the storage; none where it has no record."""
    with node.client() as client:
        keys = [key for key in client.scan_iter(count=1000) if key.endswith(f"record:{name}".encode())]
        return [int(client.get(key).split()[0]) for key in keys]


def keep_name(current: AIProgress | None) -> AIProgress:
    """Change a record that is there."""
    assert current is not None
    return plus_one(current)


@pytest.mark.parametrize("write", ["save", "update", "delete", "batch"])
def test_a_write_takes_effect_once_or_is_unknown(node: ClusterNode, write: str) -> None:
    """A RST before, in the middle of, and behind every message: connecting anew is followed, a lost reply is not."""
    writes: dict[str, Any] = {
        "save": lambda storage, name: storage.save_progress(progress(name)),
        "update": lambda storage, name: storage.update_progress(name, keep_name),
        "delete": lambda storage, name: storage.delete_progress(name),
        "batch": lambda storage, name: storage.save_many([progress(name)]),
    }
    with CuttingRelay(f"redis+cluster://127.0.0.1:{node.port}") as relay:
        # All clients are led through the relay, whatever they learn of the cluster.
        node.say("CONFIG SET", "cluster-announce-port", int(relay.url.rpartition(":")[2]))
        with RedisClusterStorage(relay.url, timeout=PATIENCE) as storage:
            told = set()
            messages, at = 1, 0
            while at < messages:
                for action in ("reset", "reset in the middle"):
                    name = f"{write} {at} {action}"
                    storage.save_progress(progress(name))
                    relay.arm(at, action)
                    try:
                        writes[write](storage, name)
                    except OutcomeUnknownError:
                        outcome = "unknown"
                    except StorageUnavailableError:
                        outcome = "failed"
                    else:
                        outcome = "ok"
                    messages = max(messages, min(relay.passed, 12))
                    relay.arm()
                    told.add(outcome)
                    kept = versions_of(node, name)
                    before, after = [1], ([] if write == "delete" else [2])
                    assert kept in {"ok": [after], "failed": [before], "unknown": [before, after]}[outcome]
                at += 1
    assert "unknown" in told
