"""The contract on a Redis Cluster: the parts in which it goes its own way, with little effort.

All of it with any effort: ``aistorage conformance``, or a class like this one that inherits from `AIStorageContract`.
"""

from __future__ import annotations

import os

import pytest
from real_cluster import cluster_of
from real_redis import program_of

CONTRACT = """
import functools
from uuid import uuid4

import pytest

from pytest_aistorage import open_storage
from pytest_aistorage.conformance.contract import (
    batches, compare_and_set, expiry, listings, sequences, sharing, undeclared, updates, versions
)


class TestRedisCluster(
    batches.BatchContract,
    compare_and_set.CompareAndSetContract,
    expiry.ExpiryContract,
    listings.ListingContract,
    sequences.SequenceContract,
    sharing.SharingContract,
    undeclared.UndeclaredContract,
    updates.UpdateContract,
    versions.VersionContract,
):
    @pytest.fixture
    def ai_storage_opener(self):
        return functools.partial(open_storage, f"{URL}?prefix=c-{uuid4().hex}:")
"""


def test_a_cluster_keeps_the_contract(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it declares is kept; what it does not declare is tested as undeclared."""
    program = program_of("redis")
    if program is None:
        pytest.skip("no redis-server on this machine: install it")
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "AI_STORAGE_"))]:
        monkeypatch.delenv(name)  # what this run was told is not meant for that one
    with cluster_of(program) as cluster:
        pytester.makepyfile(test_cluster=f"URL = {cluster.url!r}\n{CONTRACT}")
        result = pytester.runpytest_subprocess("--ai-storage-effort=quick", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed", "skipped"}
    assert outcomes["passed"] > 70
