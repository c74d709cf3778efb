"""Operations that races are made of: plain functions, so that they can be pickled."""

from __future__ import annotations

import dataclasses

from ..progress import AIProgress
from ..storage import AIStorage

__all__ = ["CountUp", "count_up", "get", "save"]


@dataclasses.dataclass(frozen=True, slots=True)
class CountUp:
    """A change for ``update_progress``: one more in ``training_samples``; everything else stays.

    Attributes:
        model_name: the model.
    """

    model_name: str

    def __call__(self, current: AIProgress | None) -> AIProgress:
        """Return the record with one more."""
        if current is None:
            return AIProgress(model_name=self.model_name, mse=0.5, training_samples=1)
        return dataclasses.replace(current, training_samples=(current.training_samples or 0) + 1)

    def __str__(self) -> str:
        return "training_samples + 1"


def save(storage: AIStorage, model_name: str, mse: float) -> AIProgress:
    """Save a record of this model."""
    return storage.save_progress(AIProgress(model_name=model_name, mse=mse, training_samples=0))


def get(storage: AIStorage, model_name: str) -> AIProgress | None:
    """Get the model's record."""
    return storage.get_progress(model_name)


def count_up(storage: AIStorage, model_name: str) -> AIProgress:
    """Add one to the model's ``training_samples``, as one read-modify-write."""
    return storage.update_progress(model_name, CountUp(model_name))
