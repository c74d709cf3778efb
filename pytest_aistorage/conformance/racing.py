"""Clients that do something of a test's own at once, as threads or processes: what each returned, or raised.

The stress run does a workload, and judges the history; here it is the test that judges. It imports neither pytest nor
Hypothesis: a process of a race imports it as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ..progress import AIProgress
from ..races.clients import Client
from ..races.errors import StuckError
from ..races.operations import count_up
from ..races.pool import shared_pool
from ..races.stress import StartLine
from ..storage import AIStorage

__all__ = ["Increment", "Outcome", "check_sight", "race_of_processes", "race_of_threads"]

Opener = Callable[[], AIStorage]
Racer = Callable[[AIStorage, int], Any]
"""Gets a client of its own and the racer's number; picklable for a race of processes."""

_PATIENCE = 60.0  # seconds for a racer to start, or to come back


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one racer.

    Attributes:
        returned: what it returned.
        error: the type and message of what it raised, or ``died``; None: nothing.
    """

    returned: Any = None
    error: str | None = None


_LATE = Outcome(error="did not come back")


@dataclasses.dataclass(frozen=True, slots=True)
class Increment:
    """A racer that changes one model time after time, and returns the versions that it got.

    Attributes:
        model_name: the model; it must exist, with the metadata ``{"sight": sight}``.
        sight: what shows that the racer sees what was written before the race.
        times: how often.
        way: ``"save"``, or ``"update"``, which counts the training samples up by one.
    """

    model_name: str
    sight: str
    times: int
    way: str

    def __call__(self, storage: AIStorage, number: int) -> list[int]:
        """Change the model; see the class."""
        check_sight(storage, self.model_name, self.sight)
        return [self._change(storage).version for _ in range(self.times)]

    def _change(self, storage: AIStorage) -> AIProgress:
        if self.way == "update":
            return count_up(storage, self.model_name)
        return storage.save_progress(
            AIProgress(model_name=self.model_name, mse=0.5, metadata={"sight": self.sight})
        )


def check_sight(storage: AIStorage, model_name: str, sight: str) -> None:
    """Fail unless a racer sees the record ``{"sight": sight}`` that was saved before the race.

    A race of clients of different stores would prove nothing.
    """
    seen = storage.get_progress(model_name)
    if seen is None or seen.metadata.get("sight") != sight:
        raise AssertionError(f"a racer does not see what was saved before the race; it sees {seen!r}")


def race_of_threads(opener: Opener, racer: Racer, racers: int) -> list[Outcome]:
    """Let threads race, each with a client of its own.

    Args:
        opener: opens a client.
        racer: what each of them does.
        racers: how many.
    """
    return _race(shared_pool().clients(racers, threads=True), opener, racer)


def race_of_processes(opener: Opener, racer: Racer, racers: int) -> list[Outcome]:
    """Let processes race, each with a client of its own; all of them open it at once.

    Args:
        opener: opens a client; picklable.
        racer: what each of them does; picklable.
        racers: how many.

    Raises:
        UnsupportedOperationError: processes can't be had on this system.
    """
    return _race(shared_pool().clients(racers), opener, racer)


def _race(clients: Sequence[Client], opener: Opener, racer: Racer) -> list[Outcome]:
    try:
        opened = _told(clients, "open", [client.packed(opener) for client in clients])
        if any(outcome.error is not None for outcome in opened):
            return opened
        for number, client in enumerate(clients):
            client.send("call", client.packed((_Numbered(racer, number), StartLine())))
        for client in clients:
            client.answer(_PATIENCE)  # it stands at the line
        return _told(clients, "go", [None] * len(clients))
    finally:
        for client in clients:
            if client.alive:
                with contextlib.suppress(Exception):  # what the race found is the news, not what came of it
                    client.close()


@dataclasses.dataclass(frozen=True, slots=True)
class _Numbered:
    """A racer with its number. Picklable if the racer is."""

    racer: Racer
    number: int

    def __call__(self, storage: AIStorage) -> Any:
        return self.racer(storage, self.number)


def _told(clients: Sequence[Client], command: str, arguments: Sequence[object]) -> list[Outcome]:
    """Give all clients a command at once, and wait for what becomes of it."""
    for client, argument in zip(clients, arguments, strict=True):
        client.send(command, argument)
    outcomes = []
    for client in clients:
        try:
            outcome = client.answer(_PATIENCE)[2]
        except StuckError:
            outcomes.append(_LATE)
            continue
        error = outcome.error
        if outcome.kind == "ok":
            outcomes.append(Outcome(returned=outcome.value))
        else:
            outcomes.append(Outcome(error=outcome.kind if error is None else _said(error)))
    return outcomes


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
