"""How much is measured, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .stores import Stores

__all__ = ["BACKENDS", "Settings"]

BACKENDS = ("postgres", "redis", "hybrid", "sqlite", "mysql", "memory", "file")
"""All that can be measured, in the order of the tables."""


@dataclass(slots=True, kw_only=True)
class Settings:
    """What every benchmark gets.

    Attributes:
        stores: gives out stores and servers.
        say: is told what is being measured now.
        quick: fewer rounds, fewer models: to see whether it works, not how fast it is.
        backends: which of `BACKENDS` to measure.
        budget: seconds that one cell may take; None: as long as its rounds take.
        peers: whether to measure other products beside, as far as they are installed.
    """

    stores: Stores
    say: Callable[[str], None] = lambda what: None
    quick: bool = False
    backends: tuple[str, ...] = BACKENDS
    budget: float | None = None
    peers: bool = True

    def rounds(self, usual: int, quick: int = 3) -> int:
        """How many rounds to make."""
        return quick if self.quick else usual
