"""Functions of an application that race, importable by other processes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

from pytest_aistorage import AIProgress


def start(storage: Any) -> None:
    """Begin with no epoch."""
    storage.save_progress(AIProgress(model_name="resnet", mse=1.0, training_samples=0))


def count_badly(storage: Any) -> None:
    """Read, and save what was computed: what others saved in between is overwritten."""
    storage.save_progress(one_more(storage.get_progress("resnet")))


def count(storage: Any) -> None:
    """The same as one read-modify-write."""
    storage.update_progress("resnet", one_more)


def one_more(now: AIProgress) -> AIProgress:
    """One epoch more."""
    return dataclasses.replace(now, training_samples=(now.training_samples or 0) + 1)


def fail(storage: Any) -> None:
    """Raise what has nothing to do with the storage."""
    raise KeyError("learning rate")


def counted(number: int, storage: Any) -> None:
    """All are counted."""
    samples = storage.get_progress("resnet").training_samples
    assert samples == number, f"{samples} of {number} were counted"


def is_even(storage: Any) -> bool:
    """Say so in one word."""
    return storage.get_progress("resnet").training_samples % 2 == 0


def leave(storage: Any) -> None:
    """End the program, or try to."""
    sys.exit("no epochs left")


async def count_later(storage: Any) -> None:
    """Nothing runs when this is called."""
    count(storage)


def count_in_pieces(storage: Any) -> Iterator[None]:
    """Nothing runs when this is called, either."""
    count(storage)
    yield


def count_and_keep(storage: Any) -> Any:
    """Return what can't be sent to another process."""
    count(storage)
    return lambda: storage
