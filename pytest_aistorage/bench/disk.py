"""What a synchronized write takes on a disk: no durable write can be quicker."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .promises import filesystem
from .rounds import percentile

__all__ = ["Disk", "measured"]

_BYTES = 500


@dataclass(frozen=True, slots=True)
class Disk:
    """How long an fdatasync takes after a few hundred bytes were appended to a file.

    Attributes:
        where: what lies under the file, in words.
        p50: milliseconds.
        p99: milliseconds.
    """

    where: str
    p50: float
    p99: float

    def __str__(self) -> str:
        return f"fdatasync {self.where}: p50 {self.p50:.3f} ms, p99 {self.p99:.3f} ms"


def measured(directory: Path, calls: int) -> Disk:
    """Measure the disk under a directory.

    Args:
        directory: where a temporary file can be made.
        calls: how many.
    """
    sync = os.fdatasync if hasattr(os, "fdatasync") else os.fsync
    durations = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(calls):
            os.write(file.fileno(), b"x" * _BYTES)
            started = time.perf_counter()
            sync(file.fileno())
            durations.append((time.perf_counter() - started) * 1e3)
    return Disk(filesystem(directory), percentile(durations, 50), percentile(durations, 99))
