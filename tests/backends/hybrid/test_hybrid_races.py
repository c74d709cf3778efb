"""Clients race on a hybrid store while its cache is killed, and while half of them are cut off from it."""

from __future__ import annotations

import functools

import pytest
from two_ways import Read, open_by_process

from pytest_aistorage.races import ClientPool, Faults, run_race
from pytest_aistorage.races.timeline import describe

SECONDS = 3.0


@pytest.fixture(scope="module")
def pool():
    """Six clients for all races."""
    with ClientPool() as clients:
        yield clients


@pytest.mark.parametrize("kinds", [("kill",), ("partition", "pause", "delay")], ids="-".join)
def test_no_read_is_stale(pool, postgres_server, private_redis_server, kinds):
    """Some order explains what the clients were told, and nothing acknowledged is lost."""
    url, cache = postgres_server.create_database(), private_redis_server.create_database()
    opener = functools.partial(open_by_process, url, cache, private_redis_server.direct(cache))
    faults = Faults(target=private_redis_server, kinds=kinds, pause=(0.3, 1.0), lasting=(0.2, 0.8))
    result = run_race(
        opener,
        Read("resnet"),
        processes=6,
        operations=10**9,
        seconds=SECONDS,
        pool=pool,
        faults=faults,
    )
    assert result.check, describe(result.check, result.history)
    assert result.balance.lost == 0
    assert result.balance.acknowledged > 0
    assert len(result.history.faults) > 0
    assert set(result.balance.errors) <= {"VersionConflictError"}, str(result.balance)
