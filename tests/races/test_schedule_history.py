"""What the clients of one schedule did, as a history."""

from __future__ import annotations

import functools

import pytest
import steps_of_applications as steps

from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.progress import AIProgress
from pytest_aistorage.races import Failpoints, Recording, Scenario, StorageCalls, run_schedule
from pytest_aistorage.races.schedule_history import named_in
from pytest_aistorage.registry import open_storage


@pytest.fixture
def opener(tmp_path):
    """Opens a client of a SQLite store, which processes share."""
    return functools.partial(open_storage, f"sqlite:///{tmp_path}/progress.db")


def told(history):
    """Each operation in a few words."""
    return [
        (one.process, one.kind, one.outcome, one.version, one.returned is not None)
        for one in history
        if one.kind != "load"
    ]


def test_clients_and_observer_are_recorded(pool, opener):
    """What was done before, what each client did, and the reads afterwards, in the order of their calls."""
    with opener() as observer:
        recording = Recording(observer, 2)
        steps.start(recording.storage)
        scenario = Scenario(
            opener=opener,
            operations=(steps.count_in_two_steps, steps.only_get),
            seams=StorageCalls(),
            recording=recording,
        )
        run = run_schedule(scenario, "P1:get,P2:get,P1:save", pool)
    assert told(run.history) == [
        (3, "save", "ok", 1, True),
        (1, "get", "ok", 1, True),
        (2, "get", "ok", 1, True),
        (1, "save", "ok", 2, True),
        (3, "get", "ok", 2, True),
    ]
    assert run.capabilities == observer.capabilities
    assert run.outcomes[1].value.version == 1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("P1:killed", []),
        ("P1:read,P1:killed", []),
        ("P1:read,P1:write,P1:killed", [(1, "get", "ok", 1, True), (1, "save", "unknown", None, False)]),
    ],
)
def test_what_a_killed_client_did_is_known(pool, opener, schedule, expected):
    """What it was told is kept; the write that it was in may have taken effect; a read of nobody is left out."""
    with opener() as observer:
        recording = Recording(observer, 1)
        steps.start(recording.storage)
        scenario = Scenario(
            opener=opener, operations=(steps.count_in_two_steps,), seams=Failpoints(), recording=recording
        )
        run = run_schedule(scenario, schedule, pool)
    assert [one for one in told(run.history) if one[0] == 1] == expected
    assert [(fault.kind, fault.target) for fault in run.history.faults] == [("kill", "P1")]


def test_versions_begin_at_one_again():
    """A model that was deleted before has gone on counting: in the history it begins anew."""
    observer = MemoryStorage()
    steps.start(observer)
    taken = observer.delete_progress(steps.MODEL)
    recording = Recording(observer, 0, {steps.MODEL: taken})
    steps.start(recording.storage)
    recording.storage.delete_progress(steps.MODEL)
    recording.storage.save_many([AIProgress(model_name=steps.MODEL, mse=1.0)])
    history = recording.finished([])
    assert [one.version or [part.version for part in one.parts] for one in history] == [1, 2, [3], 3, [3]]


def test_an_offset_that_cannot_be_is_dropped():
    """The storage has begun anew by itself: its versions are taken as they are."""
    recording = Recording(MemoryStorage(), 0, {steps.MODEL: 7})
    steps.start(recording.storage)
    assert [one.version for one in recording.finished([]) if one.kind != "load"] == [1, 1]


def test_listings_are_of_the_models_in_question():
    """What else is in the store is nobody's matter here."""
    observer = MemoryStorage()
    observer.save_progress(AIProgress(model_name="bystander", mse=0.5))
    recording = Recording(observer, 0)
    steps.start(recording.storage)
    history = recording.finished([])
    assert named_in(history) == {steps.MODEL}
    assert [part.model_name for one in history for part in one.parts] == [steps.MODEL]


def test_versions_that_are_reused_tell_nothing():
    """Where a delete lets a model begin at version 1 again, histories with a delete go by their values."""
    recording = Recording(MemoryStorage(), 0, reused=True)
    steps.start(recording.storage)
    assert [one.version for one in recording.finished([]) if one.kind != "load"] == [1, 1]
    recording.storage.delete_progress(steps.MODEL)
    assert {one.version for one in recording.finished([]) if one.kind != "load"} == {None, 0}


def test_what_the_observer_meets_is_recorded():
    """A storage that can't be read any more is no end of the recording."""
    observer = MemoryStorage()
    recording = Recording(observer, 0)
    steps.start(recording.storage)
    observer.close()
    assert [one.error for one in recording.finished([])] == [None, *["StorageUnavailableError"] * 2]
