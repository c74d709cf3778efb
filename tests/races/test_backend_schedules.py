"""Schedules of the backends that keep what they promise: locks are recognized, and nothing is lost."""

from __future__ import annotations

import functools

import pytest
from race_machine import KEEPING
from race_stores import UnlockedMemoryStorage

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.races import Failpoints, Scenario, demonstrations, run_schedule, schedules
from pytest_aistorage.races.operations import count_up, save
from pytest_aistorage.races.subjects import Store, Subject

LOST_UPDATE = demonstrations.LOST_UPDATE

# What the schedule that loses an update of the file comes to.
COMES_TO = {
    "memory": "P1:read,P2:waits,P1:write,P2:read,P2:write",
    "sqlite": "P1:read,P2:waits,P1:write,P1:commit,P2:read,P2:write,P2:commit",
    "postgres": "P1:read,P2:waits,P1:write,P1:commit,P2:read,P2:write,P2:commit",
    "mysql": "P1:read,P2:waits,P1:write,P1:commit,P2:read,P2:write,P2:commit",
    "redis": "P1:read,P2:read,P2:write,P1:retry,P1:write",
}


def count_twice(subject):
    """Two clients that count one model up, and the store."""
    store, model = subject.fresh(), subject.model()
    count = functools.partial(count_up, model_name=model)
    return store, model, subject.scenario(store, count, count)


@pytest.mark.parametrize("name", KEEPING)
def test_the_schedule_that_loses_an_update_of_the_file(pool, subject_of, name):
    """Both updates are kept: version 2, counter 2; and the schedule says who waited for whom."""
    subject = subject_of(name)
    for _ in range(5):
        store, model, scenario = count_twice(subject)
        run = run_schedule(scenario, LOST_UPDATE, pool)
        assert str(run.schedule) == COMES_TO[name]
        assert sorted(outcome.value.version for outcome in run.outcomes) == [1, 2]
        kept = subject.observer(store).get_progress(model)
        assert (kept.version, kept.training_samples) == (2, 2)


@pytest.mark.parametrize("name", KEEPING)
def test_every_schedule_is_repeated_by_its_name(pool, subject_of, name):
    """Running a schedule by the name that was recorded leads to the same schedule."""
    subject = subject_of(name)
    found = list(schedules(lambda: count_twice(subject)[2], pool))
    assert len({str(run.schedule) for run in found}) == len(found) > 1
    for run in found:
        assert str(run_schedule(count_twice(subject)[2], run.schedule, pool).schedule) == str(run.schedule)


@pytest.mark.parametrize("name", KEEPING)
def test_nothing_is_lost_in_any_schedule(pool, subject_of, name):
    """No violation in all schedules of two clients at this granularity, and after SIGKILL at any seam."""
    subject = subject_of(name)
    for demonstrate in (demonstrations.lost_update, demonstrations.torn_read, demonstrations.crash_half_way):
        found = demonstrate(subject, pool)
        if found is None:
            assert name == "memory"
            continue
        assert found.schedules > 3
        assert (found.lost, found.example, found.what) == (0, None, None)


@pytest.mark.parametrize("name", ["postgres", "mysql", "sqlite"])
def test_a_crash_gives_the_row_lock_back(pool, subject_of, name):
    """The client that waited for the lock of one that was killed goes on, and does not see its change."""
    subject = subject_of(name)
    store, model, scenario = count_twice(subject)
    run = run_schedule(scenario, "P1:read,P1:write,P2:read,P1:killed", pool)
    assert str(run.schedule) == "P1:read,P1:write,P2:waits,P1:killed,P2:read,P2:write,P2:commit"
    assert run.outcomes[1].value.training_samples == 1
    assert subject.observer(store).get_progress(model) == run.outcomes[1].value


def test_three_clients_of_a_database(pool, subject_of):
    """Two wait behind one; every schedule of three ends, and none loses."""
    subject = subject_of("postgres")
    models = []

    def scenario():
        models.append(subject.model())
        return subject.scenario(
            subject.fresh(),
            *[functools.partial(save, model_name=models[-1], mse=0.5)] * 2,
            functools.partial(count_up, model_name=models[-1]),
        )

    for run in schedules(scenario, pool):
        assert sorted(outcome.value.version for outcome in run.outcomes) == [1, 2, 3]
    assert len(models) > 20


def test_a_memory_without_its_lock_is_caught(pool):
    """The planted lost update is found by the named schedule, and among all schedules."""
    opener = functools.partial(UnlockedMemoryStorage, "broken")
    store = Store(opener, Failpoints())
    with Subject("broken", lambda: store) as subject:
        found = demonstrations.lost_update(subject, pool, schedule=LOST_UPDATE)
        assert (found.lost, found.example) == (1, LOST_UPDATE)
        assert found.what == "version 2 counted from 0, not from 1"
        assert demonstrations.lost_update(subject, pool).lost > 0


def test_a_step_of_nobody_is_refused(pool, subject_of):
    """A schedule may name only the clients that there are."""
    with pytest.raises(ConfigurationError, match="P3:read is of no client"):
        run_schedule(count_twice(subject_of("memory"))[2], "P3:read", pool)


def test_threads_have_failpoints_of_their_own(pool):
    """The failpoints of clients that are threads don't stop anybody else of the process."""
    opener = functools.partial(UnlockedMemoryStorage, "beside")
    with opener() as observer:
        operations = (functools.partial(save, model_name="m", mse=0.5),)
        scenario = Scenario(opener=opener, operations=operations, seams=Failpoints(), threads=True)
        save(observer, "m", 0.5)
        assert str(run_schedule(scenario, "P1:prepare", pool).schedule) == "P1:prepare,P1:write"
        assert save(observer, "m", 0.5).version == 3
