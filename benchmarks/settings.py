"""How much is measured, and where: what only developers can set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_aistorage.bench.settings import Settings

__all__ = ["DevelopersSettings"]


@dataclass(slots=True, kw_only=True)
class DevelopersSettings(Settings):
    """What every benchmark gets.

    Attributes:
        porcupine: a checkout of Porcupine's source, to measure the checker beside; None: there is none.
    """

    porcupine: Path | None = None
