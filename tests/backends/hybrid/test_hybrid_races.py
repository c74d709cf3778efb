"""Clients race on a hybrid store while its cache is killed, and while half of them are cut off from it."""

from __future__ import annotations

import functools

import pytest
from two_ways import Read, Whole, open_behind, open_by_process

from pytest_aistorage import open_storage
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


def test_no_read_is_stale_while_the_cache_lives_that_is_written_first(
    pool, postgres_server, private_redis_server
):
    """Some order explains what the clients were told, though half of them are cut off; nothing of it is lost."""
    url, cache = postgres_server.create_database(), private_redis_server.create_database()
    opener = functools.partial(open_behind, url, cache, private_redis_server.direct(cache))
    faults = Faults(
        target=private_redis_server,
        kinds=("partition", "pause", "delay"),
        pause=(0.3, 1.0),
        lasting=(0.2, 0.8),
    )
    result = run_race(
        opener, Read("resnet"), processes=6, operations=10**9, seconds=SECONDS, pool=pool, faults=faults
    )
    assert result.check, describe(result.check, result.history)
    assert result.balance.lost == 0
    assert result.balance.acknowledged > 0
    assert len(result.history.faults) > 0
    assert set(result.balance.errors) <= {"VersionConflictError", "OutcomeUnknownError"}, str(result.balance)


@pytest.mark.ai_storage_server(settings={"appendonly": "no"})
def test_what_a_dead_cache_leaves_in_the_database_is_of_one_moment(
    pool, postgres_server, private_redis_server
):
    """The cache is killed again and again while batches are written: half of none is kept, no version comes twice."""
    url, cache = postgres_server.create_database(), private_redis_server.create_database()
    opener = functools.partial(open_behind, url, cache, cache)
    faults = Faults(target=private_redis_server, kinds=("kill",), pause=(0.3, 1.0), lasting=(0.1, 0.3))
    result = run_race(
        opener, Whole("batch"), processes=6, operations=10**9, seconds=SECONDS, pool=pool, faults=faults
    )
    given = [
        (part.model_name, part.version)
        for one in result.history
        if (one.kind, one.outcome) == ("save_many", "ok")
        for part in one.parts
    ]
    assert len(set(given)) == len(given) > 0
    assert len(result.history.faults) > 0
    with open_storage(url) as database:
        kept = database.load_progress()
    assert [record.model_name for record in kept] == ["batch-1", "batch-2", "batch-3"]
    assert len({(record.mse, record.version) for record in kept}) == 1
