"""How an operation ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .history import Operation

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one client's operation.

    Attributes:
        kind: ``ok``; ``failed``: it had no effect; ``unknown``: its acknowledgement was lost, it may have taken
            effect; ``died``: the client ended before it said anything.
        value: what the operation returned.
        error: what it raised.
        operations: what it did with its storage, where that is recorded.
    """

    kind: Literal["ok", "failed", "unknown", "died"]
    value: Any = None
    error: Exception | None = None
    operations: tuple[Operation, ...] = ()
