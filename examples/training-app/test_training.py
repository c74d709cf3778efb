"""The application's tests: one worker, then two in every order, then many at full speed."""

from __future__ import annotations

from functools import partial

import pytest
from training import record_epoch, record_epoch_atomically, start

from pytest_aistorage import Capability

WAYS = [record_epoch, record_epoch_atomically]


def two_epochs_are_counted(storage):
    """What must hold after two workers, whoever came first."""
    found = storage.get_progress("resnet")
    assert found.metadata["epochs"] == 2, f"{found.metadata['epochs']} of 2 epochs were counted"
    assert found.mse == 0.25


@pytest.mark.parametrize("record", WAYS)
def test_one_worker(ai_storage, record):
    """One after the other nothing is lost, so this test finds nothing."""
    start(ai_storage)
    record(ai_storage, 0.5)
    record(ai_storage, 0.25)
    two_epochs_are_counted(ai_storage)


@pytest.mark.parametrize("record", WAYS)
@pytest.mark.ai_storage(requires={Capability.LINEARIZABLE})
def test_two_workers_in_every_order(ai_storage_race, record):
    """All orders of two workers' storage calls: always the same ones, so the bug is found on every run."""
    ai_storage_race.explore(
        partial(record, mse=0.5), partial(record, mse=0.25), setup=start, invariant=two_epochs_are_counted
    )


def every_epoch_is_counted(epochs, storage):
    """What must hold after many."""
    found = storage.get_progress("resnet")
    assert found.metadata["epochs"] == epochs, f"{found.metadata['epochs']} of {epochs} epochs were counted"


@pytest.mark.ai_storage(requires={Capability.LINEARIZABLE})
def test_many_workers_at_full_speed(ai_storage_race):
    """Eight processes, each with a client of its own."""
    ai_storage_race(
        partial(record_epoch_atomically, mse=0.5),
        processes=8,
        operations=200,
        setup=start,
        invariant=partial(every_epoch_is_counted, 200),
    )
