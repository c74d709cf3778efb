"""An iteration that goes on while others write."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import State
from ..progress import AIProgress
from .comparison import Comparison
from .narrative import ALL, differences, said_name, said_place, said_record

__all__ = ["Iteration"]


class Iteration:
    """What ``iter_progress`` gives, and what it may give: see `AIStorage.iter_progress`.

    Args:
        comparison: what it is part of.
        letter: the client.
        records: what the client returned.
        state: what is stored now.

    Attributes:
        ended: whether there was nothing more to take.
    """

    def __init__(
        self, comparison: Comparison, letter: str, records: Iterator[AIProgress], state: State
    ) -> None:
        self.letter = letter
        self._comparison = comparison
        self._label = f"the iteration of {len(comparison.narrative.lines)}"
        self._records = records
        # By name, what was stored since it began; None stands for nothing.
        self._stored: dict[str, list[AIProgress | None]] = {
            name: [state.record] for name, state in state.models.items()
        }
        self._yielded: list[str] = []
        self.ended = False

    def changed(self, model_name: str, record: AIProgress | None) -> None:
        """Take note of a write that took place meanwhile."""
        self._stored.setdefault(model_name, [None]).append(record)

    def go_on(self, most: int) -> None:
        """Take the next records and check them.

        Args:
            most: how many to take at most.
        """
        said = f"next {most} of {self._label}"
        for record in self._comparison.done(self.letter, said, lambda: self._taken(most), self._said):
            self._check(record)
        if self.ended:
            for name in sorted(self._stored):
                if None not in self._stored[name] and name not in self._yielded:
                    self._comparison.fail(
                        f"{said_name(name)}, which was there throughout", "the end without it"
                    )

    def _taken(self, most: int) -> list[object]:
        taken: list[object] = []
        while len(taken) < most:
            try:
                taken.append(next(self._records))
            except StopIteration:
                self.ended = True
                break
        return taken

    def _said(self, taken: list[object]) -> str:
        return ", ".join([*map(said_place, taken), *(["end"] if self.ended else [])])

    def _check(self, record: object) -> None:
        fail = self._comparison.fail
        if not isinstance(record, AIProgress) or record.model_name not in self._stored:
            fail(f"only models that were there since {self._label} began", said_record(record))
        name = record.model_name
        if self._yielded and name <= self._yielded[-1]:
            fail(f"a name behind {said_name(self._yielded[-1])}", said_name(name))
        stored = [one for one in self._stored[name] if one is not None]
        if not any(not differences(one, record, ALL) for one in stored):
            due = " or ".join(map(said_record, stored)) or f"nothing of {said_name(name)}"
            fail(f"{due}: what was stored since {self._label} began", said_record(record))
        self._yielded.append(name)
