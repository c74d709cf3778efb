"""An application with a bug, as source for the tests of inner runs."""

__all__ = ["APPLICATION"]

APPLICATION = """
import dataclasses
from pytest_aistorage import AIProgress


def start(storage):
    storage.save_progress(AIProgress(model_name="m", mse=1.0, training_samples=0))


def count(storage):
    now = storage.get_progress("m")
    storage.save_progress(dataclasses.replace(now, training_samples=now.training_samples + 1))


def both(storage):
    assert storage.get_progress("m").training_samples == 2
"""
"""Two clients that count lose an update; `both` says so."""
