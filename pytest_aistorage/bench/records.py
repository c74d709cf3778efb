"""The records that are saved and read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..progress import AIProgress

__all__ = ["SHAPES", "compact", "realistic", "small"]

_START = datetime(2025, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)


def small(model_name: str, number: int = 0) -> AIProgress:
    """A record with a name and a mean squared error."""
    return AIProgress(model_name=model_name, mse=0.5 + number % 1000 / 1e4)


def compact(model_name: str, number: int = 0) -> AIProgress:
    """Four measures and four settings of a training: what an experiment tracker is given as eight values."""
    return AIProgress(
        model_name=model_name,
        mse=0.0123 + number % 1000 / 1e6,
        accuracy=0.9471,
        cross_validation_score=0.9312,
        training_samples=128_000 + number % 1000,
        metadata={"optimizer": "adamw", "learning_rate": 0.00025, "batch_size": 256, "epochs": 40},
    )


def realistic(model_name: str, number: int = 0) -> AIProgress:
    """A record with every field, and metadata of ten keys of all types, one list and one object among them."""
    return AIProgress(
        model_name=model_name,
        mse=0.0123 + number % 1000 / 1e6,
        accuracy=0.9471,
        cross_validation_score=0.9312,
        training_samples=128_000 + number % 1000,
        training_start=_START,
        training_end=_START + timedelta(hours=3, minutes=12),
        metadata={
            "architecture": "transformer-encoder",
            "optimizer": "adamw",
            "learning_rate": 0.00025,
            "batch_size": 256,
            "epochs": 40,
            "early_stopping": True,
            "parent_run": None,
            "layers": [512, 512, 256, 128],
            "dataset": {"name": "orders-2025", "split": "train", "rows": 128_000},
            "git_commit": "4f0c9a1e7bd24c1f8f6b1e0d5a3c2b1a09f8e7d6",
        },
    )


SHAPES = {"small": small, "realistic": realistic}
"""The records by name."""
