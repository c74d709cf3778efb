"""What three clients do with a store, so that what is wrong with it shows in their history."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from pytest_aistorage import AIProgress, CorruptStorageError, OutcomeUnknownError, VersionConflictError
from pytest_aistorage.races.history import Fault, History
from pytest_aistorage.races.recording import RecordingStorage


def record(model: str, mse: float, samples: int = 0) -> AIProgress:
    """A record that is told from others by its mse."""
    return AIProgress(model_name=model, mse=mse, training_samples=samples)


class Stage:
    """Three clients of a store, and the history of what they are told."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.one, self.two, self.three = (RecordingStorage(store, number) for number in (1, 2, 3))
        self.faults: list[Fault] = []

    def history(self) -> History:
        """All that they were told."""
        clients = (self.one, self.two, self.three)
        return History([one for client in clients for one in client.operations], self.faults)


def race_of_conditional_saves(stage: Stage) -> None:
    """Two save on the condition of the same version."""
    stage.one.save_progress(record("m", 0.5))

    def other() -> None:
        stage.two.save_progress(record("m", 0.25), expected_version=1)

    stage.store.meanwhile = other
    with contextlib.suppress(VersionConflictError):
        stage.three.save_progress(record("m", 0.125), expected_version=1)


def race_of_saves(stage: Stage) -> None:
    """Two save."""
    stage.one.save_progress(record("m", 0.5))
    stage.store.meanwhile = lambda: stage.two.save_progress(record("m", 0.25))
    stage.three.save_progress(record("m", 0.125))


def save_and_read(stage: Stage) -> None:
    """A second save, and a read before and after."""
    stage.one.save_progress(record("m", 0.5))
    stage.three.get_progress("m")
    stage.two.save_progress(record("m", 0.1))
    stage.three.get_progress("m")


def read_twice_meanwhile(stage: Stage) -> None:
    """Two reads while somebody saves."""
    stage.one.save_progress(record("m", 0.5))
    stage.store.meanwhile = lambda: [stage.three.get_progress("m") for _ in range(2)]
    stage.two.save_progress(record("m", 0.25))


def read_during_an_update(stage: Stage) -> None:
    """A read while somebody updates two fields."""
    stage.one.save_progress(record("m", 0.5, 1))
    stage.store.meanwhile = lambda: stage.three.get_progress("m")
    stage.two.update_progress("m", lambda now: dataclasses.replace(now, mse=0.25, training_samples=2))


def read_during_a_save(stage: Stage) -> None:
    """A read while somebody saves two fields."""
    stage.one.save_progress(record("m", 0.5, 1))

    def read() -> None:
        with contextlib.suppress(CorruptStorageError):
            stage.three.get_progress("m")

    stage.store.meanwhile = read
    stage.two.save_progress(record("m", 0.25, 2))


def delete_and_read(stage: Stage) -> None:
    """A read after a delete."""
    stage.one.save_progress(record("m", 0.5))
    stage.three.get_progress("m")
    stage.two.delete_progress("m")
    stage.three.get_progress("m")


def save_on_a_condition(stage: Stage) -> None:
    """A save on the condition of the version that is there."""
    stage.one.save_progress(record("m", 0.5))
    with contextlib.suppress(VersionConflictError):
        stage.two.save_progress(record("m", 0.25), expected_version=1)


def race_of_two_models(stage: Stage) -> None:
    """One model is saved while another is, and read afterwards."""
    stage.one.save_progress(record("m", 0.5))
    stage.store.meanwhile = lambda: stage.two.save_progress(record("m", 0.25))
    stage.three.save_progress(record("n", 0.125))
    stage.one.get_progress("m")


def kill_and_read(stage: Stage) -> None:
    """A read after the store was killed."""
    stage.one.save_progress(record("m", 0.5))
    returned = stage.two.save_progress(record("m", 0.25))
    assert returned.version == 2
    moment = stage.two.operations[-1].returned
    assert moment is not None
    stage.store.kill()
    stage.faults.append(Fault("kill", moment + 1))
    stage.three.get_progress("m")


def save_whose_answer_is_lost(stage: Stage) -> None:
    """A save of unknown outcome, and a read."""
    stage.one.save_progress(record("m", 0.5))
    with contextlib.suppress(OutcomeUnknownError):
        stage.two.save_progress(record("m", 0.25))
    stage.three.get_progress("m")


def list_during_a_batch(stage: Stage) -> None:
    """A listing while somebody saves a batch."""
    stage.store.meanwhile = stage.two.load_progress
    stage.one.save_many([record("m", 0.5), record("n", 0.25)])
