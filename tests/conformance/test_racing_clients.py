"""Races that a test judges itself: each racer has a client of its own, and what becomes of it is told."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import AIProgress, AIStorage, open_storage
from pytest_aistorage.conformance.racing import Increment, Outcome, race_of_processes, race_of_threads

Race = Callable[..., list[Outcome]]


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


@pytest.mark.parametrize("race", [race_of_processes, race_of_threads])
def test_racers_change_one_model(opener: Any, race: Race) -> None:
    """Each change is in the store, and each has a version of its own."""
    with opener() as storage:
        storage.save_progress(AIProgress(model_name="m", mse=0.5, metadata={"sight": "x"}))
        outcomes = race(opener, Increment("m", "x", 5, "update"), 3)
        assert sorted(version for one in outcomes for version in one.returned) == list(range(2, 17))
        assert storage.get_progress("m").training_samples == 15


def test_each_has_a_process_of_its_own(opener: Any) -> None:
    """And its number."""
    returned = [outcome.returned for outcome in race_of_processes(opener, _own_process, 3)]
    assert [number for number, _ in returned] == [0, 1, 2]
    assert len({os.getpid(), *(process for _, process in returned)}) == 4


@pytest.mark.parametrize("race", [race_of_processes, race_of_threads])
def test_error_of_one_is_told(opener: Any, race: Race) -> None:
    """The others go on."""
    outcomes = race(opener, _third_fails, 3)
    assert outcomes == [Outcome(returned=0), Outcome(returned=1), Outcome(error="LookupError: the third")]


@pytest.mark.parametrize("race", [race_of_processes, race_of_threads])
def test_store_that_can_not_be_opened(race: Race) -> None:
    """Each says why."""
    outcomes = race(functools.partial(open_storage, "nowhere://x"), _own_process, 2)
    assert len(outcomes) == 2
    assert all(outcome.error.startswith("ConfigurationError: ") for outcome in outcomes)


def test_one_that_dies_is_told(opener: Any) -> None:
    """And the next race takes another in its place."""
    assert race_of_processes(opener, _dies, 2) == [Outcome(error="died")] * 2
    assert [outcome.error for outcome in race_of_processes(opener, _own_process, 2)] == [None, None]
