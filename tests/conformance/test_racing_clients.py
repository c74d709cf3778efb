"""Races of processes: out of the suite's pool, or where nothing can be forked by new interpreters."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import AIProgress, AIStorage, open_storage
from pytest_aistorage.conformance.racing import Increment, Outcome, race_of_processes


def _own_process(storage: AIStorage, number: int) -> tuple[int, int]:
    return number, os.getpid()


def _third_fails(storage: AIStorage, number: int) -> int:
    if number == 2:
        raise LookupError("the third")
    return number


def _dies(storage: AIStorage, number: int) -> None:
    os._exit(3)


@pytest.fixture
def opener(tmp_path: Path) -> Any:
    """Opens a client of a fresh store in a file."""
    return functools.partial(open_storage, f"sqlite:///{tmp_path}/race.db")


@pytest.fixture(params=["pool", "spawned"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the processes come from."""
    if request.param == "spawned":
        monkeypatch.delattr(os, "fork")
    return request.param


def test_processes_change_one_model(opener: Any, way: str) -> None:
    """Each change is in the store, and each has a version of its own."""
    with opener() as storage:
        storage.save_progress(AIProgress(model_name="m", mse=0.5, metadata={"sight": "x"}))
        outcomes = race_of_processes(opener, Increment("m", "x", 5, "update"), 3)
        assert sorted(version for one in outcomes for version in one.returned) == list(range(2, 17))
        assert storage.get_progress("m").training_samples == 15


def test_each_has_a_process_of_its_own(opener: Any, way: str) -> None:
    """And its number."""
    returned = [outcome.returned for outcome in race_of_processes(opener, _own_process, 3)]
    assert [number for number, _ in returned] == [0, 1, 2]
    assert len({os.getpid(), *(process for _, process in returned)}) == 4


def test_error_of_one_is_told(opener: Any, way: str) -> None:
    """The others go on."""
    outcomes = race_of_processes(opener, _third_fails, 3)
    assert outcomes == [Outcome(returned=0), Outcome(returned=1), Outcome(error="LookupError: the third")]


def test_store_that_can_not_be_opened(way: str) -> None:
    """Each says why."""
    outcomes = race_of_processes(functools.partial(open_storage, "nowhere://x"), _own_process, 1)
    assert outcomes[0].error.startswith("ConfigurationError: ")


def test_one_that_dies_is_told(opener: Any) -> None:
    """And the next race takes another in its place."""
    assert race_of_processes(opener, _dies, 2) == [Outcome(error="died")] * 2
    assert [outcome.error for outcome in race_of_processes(opener, _own_process, 2)] == [None, None]
