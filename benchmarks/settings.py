"""How much is measured, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from .stores import Stores

__all__ = ["BACKENDS", "Settings"]

BACKENDS = ("postgres", "redis", "sqlite", "mysql", "memory", "file")
"""All that can be measured, in the order of the tables."""


@dataclass(slots=True, kw_only=True)
class Settings:
    """What every benchmark gets.

    Attributes:
        stores: gives out stores and servers.
        quick: fewer rounds, fewer models: to see whether it works, not how fast it is.
        backends: which of `BACKENDS` to measure.
        porcupine: a checkout of Porcupine's source, to measure the checker beside; None: there is none.
        console: for a word on what is being done.
    """

    stores: Stores
    quick: bool = False
    backends: tuple[str, ...] = BACKENDS
    porcupine: Path | None = None
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def rounds(self, usual: int, quick: int = 3) -> int:
        """How many rounds to make."""
        return quick if self.quick else usual

    def say(self, what: str) -> None:
        """Tell what is being measured now."""
        self.console.print(f"[dim]{what} …[/dim]", highlight=False)
