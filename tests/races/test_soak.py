"""Every workload on every backend that must not lose anything, while its server suffers faults; a hybrid's cache.

For some seconds in an ordinary run; ``nox -s soak`` gives each backend ten minutes (``SOAK_SECONDS``), and each time
another seed (``SOAK_SEED``).
"""

from __future__ import annotations

import contextlib
import functools
import os

import pytest
from race_machine import SERVERS, required

from pytest_aistorage import ServerUnavailableError, open_storage
from pytest_aistorage.races import (
    BatchesUnderReads,
    Churn,
    Counter,
    DistinctModels,
    Faults,
    ListingUnderWrites,
    Register,
    SameModel,
    run_race,
)
from pytest_aistorage.races.timeline import describe
from pytest_aistorage.servers.base import ServerOptions, ServerSpec
from pytest_aistorage.servers.resolve import private_server

WORKLOADS = (
    SameModel,
    DistinctModels,
    Counter,
    Register,
    Churn,
    ListingUnderWrites,
    BatchesUnderReads,
)
SECONDS = float(os.environ.get("SOAK_SECONDS", "2.5"))
SEED = int(os.environ.get("SOAK_SEED", "0"))
LONGEST = 10.0  # seconds of one race: what memory does in so long is still checked in seconds

TOLD = {"StorageUnavailableError", "OutcomeUnknownError", "VersionConflictError"}
"""What clients may be told while a server is down or cut off, and of a conflict."""


@pytest.fixture
def store(request, tmp_path):
    """The opener of a fresh store of a backend, and what injects faults into its server; None: it has none."""
    name = request.param
    if name == "hybrid":
        with _server("postgres", tmp_path) as database, _server("redis", tmp_path) as cache:
            options = {"cache": cache.create_database(), "cache_timeout": 0.2, "lease": 0.5}
            yield functools.partial(open_storage, database.create_database(), **options), Faults(target=cache)
        return
    if name.partition("@")[0] not in SERVERS:
        url = "memory://soak" if name == "memory" else f"sqlite:///{tmp_path}/soak.db"
        with open_storage(url):
            yield functools.partial(open_storage, url), None
        return
    with _server(name, tmp_path) as server:
        # What cuts a client off must outlast its patience, for it to notice.
        yield functools.partial(open_storage, server.create_database(), timeout=0.3), Faults(target=server)


@contextlib.contextmanager
def _server(name, tmp_path):
    """A server of the test's own, on which faults can be injected."""
    try:
        options = ServerOptions(
            run_dir=tmp_path, providers={ServerSpec.parse(name).kind: ("process", "embedded")}
        )
        server = private_server(ServerSpec.parse(name), options)
    except ServerUnavailableError as error:
        if required(name):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with server:
        yield server


@pytest.mark.parametrize("store", ["memory", "sqlite", *SERVERS, "redis@valkey", "hybrid"], indirect=True)
def test_no_violation_under_faults(pool, store):
    """Some order explains what 8 clients were told, and nothing acknowledged is lost."""
    opener, faults = store
    part = SECONDS / len(WORKLOADS)
    rounds = max(1, round(part / LONGEST))
    told = []
    acknowledged = overlapping = injected = 0
    for number in range(rounds):
        for position, workload in enumerate(WORKLOADS):
            result = run_race(
                opener,
                workload(f"{workload.__name__}-{number}"),
                processes=8,
                operations=10**9,
                seconds=part / rounds,
                seed=SEED + number * len(WORKLOADS) + position,  # with other faults first each time
                pool=pool,
                faults=faults,
            )
            told.append(f"{workload.__name__}: {result.balance}, {len(result.history.faults)} faults")
            assert result.check, describe(result.check, result.history)
            assert (result.balance.lost, result.balance.duplicates) == (0, 0), told[-1]
            assert result.failures == ()
            assert set(result.balance.errors) <= TOLD, told[-1]
            acknowledged += result.balance.acknowledged
            overlapping += result.overlapping
            injected += len(result.history.faults)
    assert acknowledged > 0, told
    assert overlapping > 0
    assert (injected > 0) == (faults is not None)
    print("\n".join(told))  # of a long run one wants to see what it has shown
