"""Operations that races are made of: plain functions, so that they can be pickled."""

from __future__ import annotations

import dataclasses

from ..progress import AIProgress
from ..storage import AIStorage

__all__ = ["count_up", "get", "save"]


def save(storage: AIStorage, model_name: str, mse: float) -> AIProgress:
    """Save a record of this model."""
    return storage.save_progress(AIProgress(model_name=model_name, mse=mse, training_samples=0))


def get(storage: AIStorage, model_name: str) -> AIProgress | None:
    """Get the model's record."""
    return storage.get_progress(model_name)


def count_up(storage: AIStorage, model_name: str) -> AIProgress:
    """Add one to the model's ``training_samples``, as one read-modify-write."""

    def one_more(current: AIProgress | None) -> AIProgress:
        if current is None:
            return AIProgress(model_name=model_name, mse=0.5, training_samples=1)
        return dataclasses.replace(current, training_samples=(current.training_samples or 0) + 1)

    return storage.update_progress(model_name, one_more)
