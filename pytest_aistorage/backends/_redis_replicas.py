"""Waiting for replicas: who must have a write before it is acknowledged."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Replicas"]


class Replicas(NamedTuple):
    """Who must have a write before it is acknowledged.

    Attributes:
        number: of replicas.
        fsynced: in their append-only files, and in the master's, on the disk (WAITAOF); else in their memory (WAIT).
    """

    number: int
    fsynced: bool

    def command(self, milliseconds: int) -> tuple[Any, ...]:
        """What waits so long for them; 0 would be forever."""
        if self.fsynced:
            return ("WAITAOF", 1, self.number, max(1, milliseconds))
        return ("WAIT", self.number, max(1, milliseconds))

    def missing(self, reply: Any) -> str | None:
        """Say who did not confirm in time, by the command's reply; None if all did."""
        if isinstance(reply, Exception):
            return f"whether replicas have it is not known: {reply}"
        local, number = reply if self.fsynced else (1, reply)
        if number < self.number:
            return f"{number} of {self.number} replicas have confirmed it in time"
        return None if local else "it is not in the append-only file yet"
