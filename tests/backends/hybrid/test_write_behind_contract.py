"""The contract of a hybrid that writes behind: the parts in which it goes its own way, with little effort.

All of it with any effort: ``aistorage conformance``, or a class like this one that inherits from `AIStorageContract`.
"""

from __future__ import annotations

import os

CONTRACT = """
import functools
from uuid import uuid4

import pytest

from pytest_aistorage import open_storage
from pytest_aistorage.conformance.contract import (
    batches, compare_and_set, listings, sequences, sharing, undeclared, updates, versions
)


class TestWriteBehind(
    batches.BatchContract,
    compare_and_set.CompareAndSetContract,
    listings.ListingContract,
    sequences.SequenceContract,
    sharing.SharingContract,
    undeclared.UndeclaredContract,
    updates.UpdateContract,
    versions.VersionContract,
):
    @pytest.fixture
    def ai_storage_opener(self, tmp_path):
        cache = f"{CACHE}?prefix=c-{uuid4().hex}:"
        return functools.partial(
            open_storage, f"sqlite:///{tmp_path}/hybrid.db", cache=cache, write_policy="write-behind"
        )
"""


def test_a_hybrid_that_writes_behind_keeps_the_contract(pytester, monkeypatch, redis_server):
    """What it declares is kept; what it does not declare it says why, and it is shown to be lost elsewhere."""
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "AI_STORAGE_"))]:
        monkeypatch.delenv(name)  # what this run was told is not meant for that one
    pytester.makepyfile(test_behind=f"CACHE = {redis_server.create_database()!r}\n{CONTRACT}")
    result = pytester.runpytest_subprocess("--ai-storage-effort=quick", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed", "skipped"}
    assert outcomes["passed"] > 60
