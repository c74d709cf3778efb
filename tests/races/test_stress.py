"""The stress run: 1000 concurrent saves, and what is made of storages that lose some."""

from __future__ import annotations

import functools
import itertools

import pytest
from race_machine import KEEPING
from race_stores import (
    FlockStorage,
    PrivateStorage,
    RenameStorage,
    SlowToWakeStorage,
    UnlockedMemoryStorage,
    die,
    pid,
)

from pytest_aistorage import AIProgress, ConfigurationError, open_storage
from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.races import (
    BatchesUnderReads,
    Churn,
    Counter,
    DistinctModels,
    History,
    ListingUnderWrites,
    NotSharedError,
    Operation,
    RaceError,
    RaceResult,
    Register,
    SameModel,
    balance,
    run_race,
)
from pytest_aistorage.races.timeline import describe


class Deadly(SameModel):
    """A client that is ended in the middle of the race."""

    __slots__ = ()

    def act(self, storage, client, random):
        """End this process."""
        die(storage)


@pytest.mark.parametrize("name", KEEPING)
def test_a_thousand_concurrent_saves_of_one_model(pool, subject_of, name):
    """From 8 processes, or threads of memory: version 1000, and no version was given twice."""
    subject = subject_of(name)
    store = subject.fresh()
    model = subject.model()
    result = run_race(store.opener, SameModel(model), processes=8, operations=1000, pool=pool)
    assert (result.clients, result.processes) == (8, not subject.threads)
    assert (result.balance.acknowledged, result.balance.lost, result.balance.duplicates) == (1000, 0, 0)
    assert sorted(one.version for one in result.history if one.kind == "save") == list(range(1, 1001))
    assert subject.observer(store).get_progress(model).version == 1000
    assert {one.process for one in result.history} == set(range(9))  # one more reads what was kept
    assert result.check, result.check


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("workload", [DistinctModels, Counter])
def test_no_other_workload_loses_either(pool, subject_of, name, workload):
    """Models of their own, and one counter that all count up."""
    subject = subject_of(name)
    result = run_race(subject.fresh().opener, workload(subject.model()), operations=160, pool=pool)
    assert (result.balance.acknowledged, result.balance.kept, result.balance.duplicates) == (160, 160, 0)
    assert result.check, result.check


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("workload", [Register, Churn, ListingUnderWrites, BatchesUnderReads])
def test_histories_of_mixed_operations_are_linearizable(pool, subject_of, name, workload):
    """Compare-and-set, deletes, listings and batches: some order explains all that 8 clients were told."""
    subject = subject_of(name)
    result = run_race(subject.fresh().opener, workload(subject.model()), operations=320, pool=pool)
    assert result.check, describe(result.check, result.history)
    assert (result.balance.lost, result.balance.duplicates, result.failures) == (0, 0, ())
    assert set(result.balance.errors) <= {"VersionConflictError"}


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_several_threads_in_each_process(pool, subject_of, name):
    """Each thread is a client of its own; memory has them all in this process."""
    subject = subject_of(name)
    result = run_race(
        subject.fresh().opener, SameModel(subject.model()), processes=2, threads=3, operations=100, pool=pool
    )
    assert (result.clients, result.balance.kept) == (6, 100)
    assert {one.process for one in result.history} == set(range(7))


def test_operations_are_in_order_and_overlap(pool, subject_of):
    """Times are of one clock for all processes: each is called before it returns, and they do overlap."""
    subject = subject_of("sqlite")
    result = run_race(subject.fresh().opener, SameModel(subject.model()), operations=200, pool=pool)
    operations = result.history.operations
    calls = [one.called for one in operations]
    assert calls == sorted(calls)
    assert all(one.called < one.returned for one in operations)
    assert any(a.process != b.process and b.called < a.returned for a, b in itertools.pairwise(operations))


@pytest.mark.parametrize("storage", [FileStorage, RenameStorage])
@pytest.mark.parametrize("workload", [SameModel, DistinctModels, Counter])
def test_a_whole_file_store_loses(pool, tmp_path, storage, workload):
    """Updates of one model, and of models that nobody else writes."""
    opener = functools.partial(storage, tmp_path / "metrics.json")
    result = run_race(opener, workload(), operations=800, pool=pool)
    assert result.processes
    assert result.balance.lost > 0
    assert result.balance.acknowledged == result.balance.kept + result.balance.lost


def test_a_whole_file_store_under_a_lock_loses_nothing(pool, tmp_path):
    """It is the lock that matters, and not the file."""
    opener = functools.partial(FlockStorage, tmp_path / "metrics.json")
    result = run_race(opener, Counter(), operations=400, pool=pool)
    assert (result.balance.acknowledged, result.balance.kept, result.balance.duplicates) == (400, 400, 0)


def test_a_memory_without_its_lock_is_caught(pool, monkeypatch):
    """The planted lost update, between threads that change hands between any two instructions."""
    import sys

    before = sys.getswitchinterval()
    opener = functools.partial(UnlockedMemoryStorage, "stressed")
    try:
        sys.setswitchinterval(1e-6)
        with opener():
            result = run_race(opener, Counter(), processes=8, operations=8000, pool=pool)
    finally:
        sys.setswitchinterval(before)
    assert not result.processes
    assert result.balance.lost > 0


def test_clients_that_do_not_share_a_store_do_not_race(pool):
    """A race of strangers is an error, and no pass."""
    with pytest.raises(NotSharedError, match="does not see what client 1 wrote"):
        run_race(PrivateStorage, SameModel(), operations=10, pool=pool)


def test_a_storage_that_is_slow_to_wake_is_raced_on(pool):
    """What can't be reached before the race is tried again: only what races is measured by the storage's patience."""
    with SlowToWakeStorage("slow"):
        result = run_race(functools.partial(SlowToWakeStorage, "slow"), SameModel(), operations=40, pool=pool)
    assert result.balance.acknowledged == 40
    assert result.check, result.check


def test_a_client_that_dies_breaks_the_race_off(pool, tmp_path):
    """What was not done was not shown."""
    opener = functools.partial(FileStorage, tmp_path / "m.json")
    with pytest.raises(RaceError, match="died"):
        run_race(opener, Deadly(), operations=8, pool=pool)
    for client in pool.clients(8):  # neither the dead one nor those that went on without it
        client.open(opener)
        assert client.call(pid).kind == "ok"


def test_a_race_of_its_own_pool(tmp_path):
    """Without a pool it starts one, and ends it."""
    opener = functools.partial(FlockStorage, tmp_path / "metrics.json")
    result = run_race(opener, SameModel(), processes=2, operations=20)
    assert result.balance.kept == 20


def test_operations_that_overlap_are_counted():
    """Each that is called while one of another client is under way; a client's own don't count."""

    def result(*spans):
        history = History([Operation(p, "save", "m", called, returned) for p, called, returned in spans])
        return RaceResult(
            history=history, balance=balance([], {}), elapsed=1.0, clients=2, processes=True
        ).overlapping

    assert result((1, 0, 1), (2, 2, 3), (1, 4, 5)) == 0
    assert result((1, 0, 3), (2, 2, 9), (2, 4, 5), (1, 6, 7)) == 2
    assert result((1, 0, None), (1, 1, 2), (2, 8, 9)) == 1


def test_threads_change_hands(pool, subject_of):
    """In memory an operation takes microseconds, and yet the clients' operations overlap."""
    subject = subject_of("memory")
    result = run_race(subject.fresh().opener, SameModel(subject.model()), operations=800, pool=pool)
    assert result.overlapping > 40


@pytest.mark.parametrize(
    "numbers", [{"processes": -1}, {"threads": 0}, {"operations": 0}], ids=lambda numbers: "".join(numbers)
)
def test_a_race_of_nobody_is_refused(tmp_path, numbers):
    """It would show nothing."""
    with pytest.raises(ConfigurationError, match="is none"):
        run_race(functools.partial(FileStorage, tmp_path / "m.json"), SameModel(), **numbers)


def test_models_that_were_there_before_are_refused(pool, subject_of):
    """Their history has no beginning, so that nothing could be said about them; others are left out of listings."""
    subject = subject_of("memory")
    store, model = subject.fresh(), subject.model()
    subject.observer(store).save_progress(AIProgress(model_name=model, mse=0.5))
    assert run_race(store.opener, ListingUnderWrites(subject.model()), operations=40, pool=pool).check
    with pytest.raises(RaceError, match="was there before the race"):
        run_race(store.opener, SameModel(model), operations=4, pool=pool)


class Undeclared:
    """Any object with the methods will do, and this one declares nothing."""

    def __init__(self, storage):
        self._storage = storage

    def __getattr__(self, name):
        if name in ("capabilities", "type"):
            raise AttributeError(name)
        return getattr(self._storage, name)


def test_a_storage_that_declares_nothing(pool):
    """It is raced as threads, and promises nothing of listings and batches."""
    with open_storage("memory://undeclared") as kept:
        result = run_race(
            lambda: Undeclared(open_storage("memory://undeclared")), SameModel(), operations=40, pool=pool
        )
        assert kept.get_progress("race").version == 40
    assert (result.processes, result.capabilities) == (False, frozenset())
    assert result.check
