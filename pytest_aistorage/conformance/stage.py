"""Where sequences are performed: one store for all of them, and names of its own for each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from ..capabilities import Capability
from ..storage import AIStorage
from .agreement import Agreement, RawReader
from .comparison import Disagreement
from .player import Operation, Player

__all__ = ["Failure", "Performance", "Stage"]

_LONGEST = 255


@dataclasses.dataclass(frozen=True)
class Failure:
    """A sequence that disagreed with the specification.

    Attributes:
        names: of its models.
        operations: up to the one that failed.
        lines: how many lines its words take.
        message: the words.
    """

    names: tuple[str, ...]
    operations: tuple[Operation, ...]
    lines: int
    message: str


class Stage:
    """One store, on which sequences are performed one after another.

    Args:
        opener: opens one more client of the store.
        capabilities: what the storage declares.
        raw: reads around the storage; None: there is no way.

    Attributes:
        capabilities: the same.
        failure: the shortest sequence that disagreed so far.
        operations: how many have been done, all sequences together.
    """

    _numbers = itertools.count()  # one for all: a store may be used by several runs

    def __init__(
        self,
        opener: Callable[[], AIStorage],
        capabilities: frozenset[Capability],
        raw: RawReader | None = None,
    ) -> None:
        self._opener = opener
        self._raw = raw
        self.left: set[str] = set()
        self.capabilities = capabilities
        self.failure: Failure | None = None
        self.operations = 0

    def agreement(self) -> tuple[str, Agreement]:
        """Return a new agreement, and what its names are to begin with.

        No two have a name in common: what a sequence does must not depend on what others left in the store, or
        it would not fail again when it is repeated, or made smaller.
        """
        prefix = f"{next(self._numbers):06}-"
        return prefix, Agreement(self._opener, self.capabilities, prefix, self._raw)


class Performance:
    """One sequence on a stage.

    Args:
        stage: where it takes place.
        names: of its models.
    """

    def __init__(self, stage: Stage, names: Sequence[str]) -> None:
        self._stage = stage
        self._names = tuple(names)
        prefix, self._agreement = stage.agreement()
        self._full_names = [(prefix + name)[:_LONGEST] for name in names]
        self._player = Player(self._agreement, stage.capabilities, self._full_names)
        self.failure: Failure | None = None

    def begin(self) -> None:
        """Open the clients on an empty store, which counts as an operation."""
        self._stage.operations += 1
        left, self._stage.left = self._stage.left, set(self._full_names)
        self._agreement.begin(left)

    def play(self, operation: Operation) -> None:
        """Do an operation.

        Raises:
            Disagreement: it ended otherwise than the specification says.
        """
        self._stage.operations += 1
        self._noting(lambda: self._player.play(operation))

    def end(self) -> None:
        """Compare what all clients see, unless something failed before; close them in any case.

        Raises:
            Disagreement: one of them sees something else than the specification says.
        """
        try:
            if self.failure is None and self._agreement.open:
                self._noting(self._agreement.end)
        finally:
            self._agreement.close()

    def _noting(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Disagreement as error:
            lines = len(self._agreement.narrative.lines)
            self.failure = Failure(self._names, tuple(self._player.played), lines, str(error))
            if self._stage.failure is None:
                self._stage.failure = self.failure
            raise
