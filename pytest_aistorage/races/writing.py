"""A client that writes until it is killed, and notes each acknowledgement where its death does not reach it.

It imports neither pytest nor Hypothesis: a process of a race imports it as well.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from ..progress import AIProgress

__all__ = ["Writing", "acknowledged"]


@dataclasses.dataclass(frozen=True, slots=True)
class Writing:
    """Save one model again and again, for ever. Picklable.

    Attributes:
        model_name: the model.
        notes: the file in which each version that was acknowledged is noted at once, a line each.
    """

    model_name: str
    notes: str

    def __call__(self, storage: Any) -> None:
        """Do it."""
        notes = os.open(self.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while True:
                saved = storage.save_progress(AIProgress(model_name=self.model_name, mse=0.5))
                # What a process has written outlives it: the kernel has it.
                os.write(notes, f"{saved.version}\n".encode())
        finally:
            os.close(notes)


def acknowledged(notes: str) -> list[int]:
    """Return the versions that were noted."""
    try:
        with open(notes, encoding="ascii") as file:
            return [int(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []
