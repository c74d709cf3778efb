"""A small training application: it records each epoch, and keeps the best error. One of its two ways has a bug."""

from __future__ import annotations

from dataclasses import replace

from pytest_aistorage import AIProgress, AIStorage


def start(storage: AIStorage, model_name: str = "resnet") -> None:
    """Begin a training: no epoch yet."""
    storage.save_progress(AIProgress(model_name=model_name, mse=1.0, metadata={"epochs": 0}))


def record_epoch(storage: AIStorage, mse: float, model_name: str = "resnet") -> None:
    """Count an epoch. The bug: what another worker records between the read and the save is overwritten."""
    now = storage.get_progress(model_name)
    assert now is not None, "the training was not started"
    storage.save_progress(after_epoch(now, mse))


def record_epoch_atomically(storage: AIStorage, mse: float, model_name: str = "resnet") -> None:
    """Count an epoch, as one read-modify-write."""

    def change(now: AIProgress | None) -> AIProgress:
        assert now is not None, "the training was not started"
        return after_epoch(now, mse)

    storage.update_progress(model_name, change)


def after_epoch(now: AIProgress, mse: float) -> AIProgress:
    """The record with one more epoch in it."""
    return replace(now, mse=min(now.mse, mse), metadata={"epochs": now.metadata["epochs"] + 1})
