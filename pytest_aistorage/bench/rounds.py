"""Timing: rounds of several contestants in turn, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Contest", "Operation", "Samples", "Turn", "contest", "contest_of_turns", "percentile", "timed"]

Operation = Callable[[int], object]
"""Does the thing once; gets the number of the call, which never comes twice for one contestant."""

Turn = Callable[[Sequence[int]], list[float]]
"""Does the thing once for each number of a call; returns how many seconds each took."""

_LEAST_ROUNDS = 3


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that at least so many per cent of all do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(slots=True)
class Samples:
    """The durations of one contestant's calls in seconds, by round."""

    rounds: list[list[float]] = field(default_factory=list)

    @property
    def medians(self) -> list[float]:
        """Of each round."""
        return [statistics.median(samples) for samples in self.rounds]

    @property
    def median(self) -> float:
        """The median of the rounds' medians, in milliseconds."""
        return statistics.median(self.medians) * 1e3

    def percentile(self, percent: float) -> float:
        """Of all calls of all rounds, in milliseconds."""
        return percentile([sample for samples in self.rounds for sample in samples], percent) * 1e3


@dataclass(slots=True)
class Contest:
    """The samples of each contestant."""

    samples: Mapping[str, Samples]

    def ratio(self, name: str, base: str) -> float:
        """The median, over the rounds, of one contestant's median divided by another's in the same round."""
        pairs = zip(self.samples[name].medians, self.samples[base].medians, strict=True)
        return statistics.median(one / other for one, other in pairs)


def contest(
    contestants: Mapping[str, Operation],
    *,
    rounds: int,
    calls: int | Mapping[str, int],
    warm_up: int | None = None,
    budget: float | None = None,
) -> Contest:
    """Let each contestant make `calls` calls a round, in turn; every second round in reverse order.

    Args:
        contestants: by name.
        rounds: how many.
        calls: of each contestant in each round, each timed by itself; or by the contestant's name.
        warm_up: calls of each beforehand that don't count; by default as many as in half a round, and at least one.
        budget: seconds after which no further round begins; the first three are always made, if asked for.
    """
    turns = {name: timed(operation) for name, operation in contestants.items()}
    return contest_of_turns(turns, rounds=rounds, calls=calls, warm_up=warm_up, budget=budget)


def contest_of_turns(
    contestants: Mapping[str, Turn],
    *,
    rounds: int,
    calls: int | Mapping[str, int],
    warm_up: int | None = None,
    budget: float | None = None,
) -> Contest:
    """The same of those who time their calls themselves, such as in an event loop; see `contest`."""
    number_of = dict.fromkeys(contestants, calls) if isinstance(calls, int) else calls
    samples = {name: Samples() for name in contestants}
    numbers = dict.fromkeys(contestants, 0)
    started_at = time.monotonic()

    def turn(name: str, count: int) -> list[float]:
        number = numbers[name]
        numbers[name] += count
        return contestants[name](range(number, number + count))

    for name in contestants:
        turn(name, max(1, number_of[name] // 2) if warm_up is None else warm_up)
    order = list(contestants)
    with _without_collections():
        for done in range(rounds):
            if budget is not None and done >= _LEAST_ROUNDS and time.monotonic() - started_at > budget:
                break
            for name in order:
                gc.collect()
                samples[name].rounds.append(turn(name, number_of[name]))
            order.reverse()
    return Contest(samples)


def timed(operation: Operation) -> Turn:
    """Return the turn of who makes one call of the operation after the other, each timed by itself."""
    clock = time.perf_counter

    def turn(numbers: Sequence[int]) -> list[float]:
        durations: list[float] = []
        for number in numbers:
            started = clock()
            operation(number)
            durations.append(clock() - started)
        return durations

    return turn


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Collect garbage only when told: in the middle it would be charged to whoever happened to trigger it.

    What is there already is left out of the collections in between, which would take seconds with large libraries.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
