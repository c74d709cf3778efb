"""Seams between the calls of a storage."""

from __future__ import annotations

import functools

import pytest
import steps_of_applications as steps

from pytest_aistorage.races import Scenario, StorageCalls, run_schedule, schedules
from pytest_aistorage.registry import open_storage


@pytest.fixture
def opener(tmp_path):
    """Opens a client of a SQLite store, which processes share."""
    made = functools.partial(open_storage, f"sqlite:///{tmp_path}/progress.db")
    with made() as storage:
        steps.start(storage)
    return made


@pytest.fixture(params=[False, True], ids=["processes", "threads"])
def counting(request, opener):
    """Two clients that count one model up, by a get and a save each."""
    return Scenario(
        opener=opener,
        operations=(steps.count_in_two_steps, steps.count_in_two_steps),
        seams=StorageCalls(),
        threads=request.param,
    )


def named(run):
    """The schedule's name."""
    return str(run.schedule)


def test_functions_are_interleaved_at_their_calls(pool, counting):
    """Two functions of two calls each have six schedules, by these names, as processes and as threads."""
    assert [named(run) for run in schedules(lambda: counting, pool)] == [
        "P1:get,P1:save,P2:get,P2:save",
        "P2:get,P2:save,P1:get,P1:save",
        "P1:get,P2:get,P2:save,P1:save",
        "P2:get,P1:get,P1:save,P2:save",
        "P1:get,P2:get,P1:save,P2:save",
        "P2:get,P1:get,P2:save,P1:save",
    ]


def test_a_schedule_decides_what_is_lost(pool, opener, counting):
    """One after the other both are counted; both reading first, one is lost: every time."""
    with opener() as observer:
        for name, gained in [
            ("P1:get,P1:save,P2:get,P2:save", 2),
            ("P1:get,P2:get,P2:save,P1:save", 1),
        ] * 5:
            before = observer.get_progress(steps.MODEL).training_samples
            assert named(run_schedule(counting, name, pool)) == name
            assert observer.get_progress(steps.MODEL).training_samples == before + gained


def test_every_method_is_a_step(pool, opener):
    """Each call has its method's name; health checks are none, and nobody closes the client."""
    scenario = Scenario(opener=opener, operations=(steps.call_everything,), seams=StorageCalls())
    for _ in range(2):
        run = run_schedule(scenario, "P1:save", pool)
        labels = [step.label for step in run.schedule]
        assert labels == [
            *("save", "save-many", "get", "update", "query", "iter", "iter", "iter", "load", "delete")
        ]
        assert run.outcomes[0].value == ["bert", "resnet"]


def test_a_record_that_is_iterated_is_a_step(pool, opener):
    """Whoever deletes between two records is seen by the iteration."""
    scenario = Scenario(
        opener=opener, operations=(steps.names_one_by_one, steps.delete_vit), seams=StorageCalls()
    )
    with opener() as observer:
        observer.save_progress(steps.AIProgress(model_name="vit", mse=0.5))
        run = run_schedule(scenario, "P1:iter,P2:delete,P1:iter", pool)
        assert named(run) == "P1:iter,P2:delete,P1:iter"
        assert run.outcomes[0].value == ["resnet"]


def test_an_application_lock_is_waited_for(pool, opener, tmp_path):
    """A client behind a lock of the application's own is passed over, and nothing is lost."""
    locked = functools.partial(steps.count_under_a_lock, path=str(tmp_path / "lock"))
    scenario = Scenario(opener=opener, operations=(locked, locked), seams=StorageCalls())
    run = run_schedule(scenario, "P1:get,P2:get,P2:save,P1:save", pool)
    assert [outcome.kind for outcome in run.outcomes] == ["ok", "ok"]
    with opener() as observer:
        assert observer.get_progress(steps.MODEL).training_samples == 2


def test_a_storage_that_is_none_of_ours():
    """Its methods are announced by their own names; what is no method is passed on as it is."""
    seen = []
    watch = type("Watch", (), {"before": staticmethod(seen.append)})
    storage = steps.PlainStorage()
    stopping = StorageCalls().around(storage, watch)
    assert stopping.read_epoch("a") == 1
    assert list(stopping.iter_progress()) == ["a"]
    assert stopping.records is storage.records
    assert seen == ["read-epoch", "iter", "iter"]
    with pytest.raises(AttributeError):
        stopping.nothing_like_it  # noqa: B018
