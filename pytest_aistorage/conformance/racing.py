"""Clients that race each other, as threads or processes: started at a barrier, each with a client of its own.

It imports neither pytest nor Hypothesis, so that a process of a race starts quickly.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..progress import AIProgress
from ..races.clients import Client
from ..races.errors import StuckError
from ..races.stress import StartLine
from ..storage import AIStorage
from .pool import shared_pool

__all__ = ["Increment", "Outcome", "check_sight", "race_of_processes", "race_of_threads"]

Opener = Callable[[], AbstractContextManager[AIStorage]]
Racer = Callable[[AIStorage, int], Any]
"""Gets a client of its own and the racer's number; picklable for a race of processes."""

_PATIENCE = 60.0  # seconds for a racer to start, or to come back


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one racer.

    Attributes:
        returned: what it returned.
        error: the repr of what it raised; None: nothing.
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
        progress = AIProgress(model_name=self.model_name, mse=0.5, metadata={"sight": self.sight})
        if self.way == "save":
            return storage.save_progress(progress)

        def change(current: AIProgress | None) -> AIProgress:
            assert current is not None
            return dataclasses.replace(current, training_samples=(current.training_samples or 0) + 1)

        return storage.update_progress(self.model_name, change)


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
    barrier = threading.Barrier(racers)
    outcomes: list[Outcome] = [_LATE] * racers

    def run(number: int) -> None:
        outcomes[number] = _raced(opener, racer, number, lambda: barrier.wait(_PATIENCE))

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    return list(outcomes)


def race_of_processes(opener: Opener, racer: Racer, racers: int) -> list[Outcome]:
    """Let processes race, each with a client of its own; all of them open it at once.

    Args:
        opener: opens a client; picklable.
        racer: what each of them does; picklable.
        racers: how many.
    """
    if not hasattr(os, "fork"):
        return _race_of_spawned(opener, racer, racers)
    clients = shared_pool().clients(racers)
    try:
        opened = _told(clients, "open", [client.packed(opener) for client in clients])
        if any(outcome.error is not None for outcome in opened):
            return opened
        for number, client in enumerate(clients):
            client.send("call", client.packed((_Numbered(racer, number), StartLine())))
        for client in clients:
            client.answer(_PATIENCE)  # it stands at the line
        return _told(clients, "go", [None] * racers)
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


def _race_of_spawned(opener: Opener, racer: Racer, racers: int) -> list[Outcome]:
    """The same where nothing can be forked: by new interpreters, which takes seconds."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(racers), context.Queue()
    processes = [
        context.Process(target=_race_in_process, args=(opener, racer, number, barrier, results), daemon=True)
        for number in range(racers)
    ]
    for process in processes:
        process.start()
    outcomes = [_LATE] * racers
    try:
        for _ in processes:
            number, outcome = results.get(timeout=_PATIENCE)
            outcomes[number] = outcome
    except queue.Empty:
        pass  # the outcomes say who did not come back
    for process in processes:
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
    return outcomes


def _race_in_process(opener: Opener, racer: Racer, number: int, barrier: Any, results: Any) -> None:
    results.put((number, _raced(opener, racer, number, lambda: barrier.wait(_PATIENCE))))


def _opened(opener: Opener) -> AbstractContextManager[AIStorage]:
    """A client that is closed in the end, also one that is no context manager itself."""
    client: Any = opener()
    return client if hasattr(client, "__enter__") else contextlib.closing(client)


def _raced(opener: Opener, racer: Racer, number: int, wait: Callable[[], Any]) -> Outcome:
    try:
        with _opened(opener) as storage:
            storage.get_progress("warm-up")  # connecting is no part of the race
            wait()
            return Outcome(returned=racer(storage, number))
    except Exception as error:
        return Outcome(error=_said(error))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
