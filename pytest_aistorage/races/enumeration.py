"""Every schedule of some clients, those with the fewest preemptions first.

A preemption is a step of another client where the one before could have gone on. Most violations need one or two of
them (Musuvathi and Qadeer, 2007), so whoever stops early has seen the likely ones, and the first to fail is simple.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .clients import ClientPool
from .controller import Race, Run, Scenario, run_chosen

__all__ = ["Enumerated", "enumerate_schedules", "schedules"]

_TRIES = 5
"""How often a schedule is tried whose choices don't fit, because a wait for a lock was recognized too late."""


class _Choice(NamedTuple):
    client: int
    kill: bool = False


@dataclass(frozen=True, slots=True)
class Enumerated:
    """One of all schedules.

    Attributes:
        run: what became of it.
        preemptions: how often a client was stopped for another that could have gone on.
        kills: how many clients were killed.
        steered: whether all choices could be made as they had been planned.
    """

    run: Run
    preemptions: int
    kills: int
    steered: bool


def schedules(scenarios: Callable[[], Scenario], pool: ClientPool) -> Iterator[Run]:
    """Run every schedule that there is, each on a store of its own, and yield what became of it.

    The clients must be deterministic: the same grants lead to the same stops. Those with the fewest preemptions come
    first.

    Args:
        scenarios: makes the scenario anew, with a fresh store (or a fresh model) each time.
        pool: where clients come from.

    Raises:
        StuckError: as for `run_schedule`.
    """
    for found in enumerate_schedules(scenarios, pool):
        yield found.run


def enumerate_schedules(
    scenarios: Callable[[], Scenario],
    pool: ClientPool,
    *,
    preemptions: int | None = None,
    kills: int = 0,
) -> Iterator[Enumerated]:
    """Run every schedule up to a bound, each of them once.

    Args:
        scenarios: makes the scenario anew, with a fresh store (or a fresh model) each time.
        pool: where clients come from.
        preemptions: how many a schedule may have; None: any number.
        kills: how many clients of a schedule are killed, at most; schedules without come first. Clients must be
            processes of their own, then.

    Raises:
        StuckError: as for `run_schedule`.
    """
    # The beginning of a schedule stands for all that go on from there as they like. Its run goes on without any
    # preemption, and each other choice that it could have made behind the beginning is the beginning of others:
    # so each schedule is the run of exactly one beginning.
    waiting: list[tuple[int, int, int, tuple[_Choice, ...]]] = [(0, 0, 0, ())]
    order = 0
    while waiting:
        killed, switched, _, beginning = heapq.heappop(waiting)
        for _ in range(_TRIES):
            search = _Search(beginning)
            run = run_chosen(scenarios(), search, pool)
            if search.steered:
                break
        yield Enumerated(run, switched, killed, search.steered)
        for depth in range(len(beginning), len(search.taken)):
            for choice, cost in search.options[depth]:
                more_killed, more_switched = killed + choice.kill, switched + cost
                if more_killed > kills or (preemptions is not None and more_switched > preemptions):
                    continue
                order += 1
                heapq.heappush(waiting, (more_killed, more_switched, order, (*search.taken[:depth], choice)))


class _Search:
    """Makes the choices of a beginning, then lets each client go on as far as it can.

    Attributes:
        taken: what was chosen, step by step.
        options: what could have been chosen instead, each with the preemptions that it would have cost.
        steered: whether the choices of the beginning could all be made.
    """

    def __init__(self, beginning: tuple[_Choice, ...]) -> None:
        self._beginning = beginning
        self._current: int | None = None
        self.taken: list[_Choice] = []
        self.options: list[list[tuple[_Choice, int]]] = []
        self.steered = True

    def choose(self, race: Race) -> tuple[int, bool]:
        ready = race.ready()
        going_on = self._current in ready
        choice = _Choice(self._current if going_on and self._current is not None else ready[0])
        if len(self.taken) < len(self._beginning):
            wanted = self._beginning[len(self.taken)]
            if wanted.client in ready:
                choice = wanted
            else:
                self.steered = False
        self.options.append(
            [
                (option, int(going_on and not option.kill and option.client != self._current))
                for client in ready
                for option in (_Choice(client), _Choice(client, kill=True))
                if option != choice
            ]
        )
        self.taken.append(choice)
        if not choice.kill:
            self._current = choice.client
        return choice
