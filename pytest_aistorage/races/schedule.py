"""The name of an interleaving, ``P1:read,P2:read,P2:write,P1:write``: read from text and written as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ConfigurationError

__all__ = ["KILLED", "WAITS", "Schedule", "Step"]

WAITS = "waits"
"""The label of a step that did not get past a lock which another client holds."""

KILLED = "killed"
"""The label of a client's end by SIGKILL, at the seam where it stood."""

_STEP = re.compile(r"P([1-9][0-9]*):([a-z][a-z0-9-]*)")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one client: all that it does from one stop to the next.

    Attributes:
        client: the client's number, from 0; it is called P1.
        label: what the step did: ``read``, ``truncate``, ``write``, ``commit``, ...; `WAITS` and `KILLED`.
    """

    client: int
    label: str

    def __str__(self) -> str:
        return f"P{self.client + 1}:{self.label}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of several clients in the order in which they are granted."""

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule's name.

        Args:
            text: steps joined by commas: ``P1:read,P2:waits,P1:write,P2:killed``.

        Raises:
            ConfigurationError: naming the step that can't be read.
        """
        steps = []
        for part in text.split(","):
            found = _STEP.fullmatch(part.strip())
            if found is None:
                raise ConfigurationError(f"schedule: {part.strip()!r} is no step such as P1:read")
            steps.append(Step(int(found[1]) - 1, found[2]))
        return cls(tuple(steps))

    def __str__(self) -> str:
        return ",".join(map(str, self.steps))

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)
