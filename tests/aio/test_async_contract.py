"""The contract, held by what is awaited: the parts in which several operations meet, with little effort."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CONTRACT = """
import functools
from uuid import uuid4

import psycopg
import pytest
from blocking import open_blocking

from pytest_aistorage.conformance.contract import batches, compare_and_set, expiry, sharing, updates, versions


class TestAwaited(
    batches.BatchContract,
    compare_and_set.CompareAndSetContract,
    expiry.ExpiryContract,
    sharing.SharingContract,
    updates.UpdateContract,
    versions.VersionContract,
):
    @pytest.fixture
    def ai_storage_opener(self, tmp_path):
        if URL.startswith("postgresql:"):
            with psycopg.connect(URL, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")
        url = URL.format(path=tmp_path, name=uuid4().hex)
        return functools.partial(open_blocking, url)
"""


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "redis"])
def test_what_is_awaited_keeps_the_contract(
    kind: str, request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the storage declares is kept by `AsyncAIStorage` over it, between threads and between processes."""
    if kind in ("redis", "postgres"):
        url = request.getfixturevalue(f"{kind}_server").create_database()
        if kind == "redis":
            url += "?prefix={name}:"
    else:
        url = {"memory": "memory://{name}", "sqlite": "sqlite:///{path}/m.db"}[kind]
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "AI_STORAGE_"))]:
        monkeypatch.delenv(name)  # what this run was told is not meant for that one
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    pytester.makepyfile(test_awaited=f"URL = {url!r}\n{CONTRACT}")
    result = pytester.runpytest_subprocess("--ai-storage-effort=quick", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "skipped"}
    assert outcomes["passed"] > 30
