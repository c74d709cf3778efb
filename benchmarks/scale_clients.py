"""Processes that use one store at once, as an application's workers do."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from threading import BrokenBarrierError
from typing import Any, Final

from pytest_aistorage import open_storage
from pytest_aistorage.bench.records import realistic

__all__ = ["Clients", "Work", "clients_of"]

_PATIENCE: Final = 300.0
"""Seconds for which one waits for the others; more only where something hangs."""

_barriers: dict[int, Any] = {}


@dataclass(slots=True)
class Work:
    """What clients did in the given time.

    Attributes:
        reads: seconds that each took.
        writes: the same.
    """

    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)

    def add(self, other: Work) -> None:
        """Count another client's work with this."""
        self.reads += other.reads
        self.writes += other.writes


class Clients:
    """Worker processes that are there already when it begins."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def run(self, number: int, url: str, models: Sequence[str], *, seconds: float, write_every: int) -> Work:
        """Let so many clients read and write models at random, all at once, for so many seconds.

        Args:
            number: of clients; one of those that the pool was made for.
            url: of the store.
            models: their names; there must be a record of each.
            seconds: that it takes.
            write_every: one of so many operations is a write.
        """
        jobs = [
            self._pool.submit(_work, number, url, list(models), seconds, write_every, seed)
            for seed in range(number)
        ]
        done = Work()
        for job in jobs:
            done.add(job.result(_PATIENCE))
        return done


@contextlib.contextmanager
def clients_of(numbers: Sequence[int]) -> Iterator[Clients]:
    """Start as many processes as the greatest of the numbers says."""
    context = multiprocessing.get_context("spawn")
    barriers = {number: context.Barrier(number) for number in numbers}
    with ProcessPoolExecutor(
        max(numbers), mp_context=context, initializer=_meet_at, initargs=(barriers,)
    ) as pool:
        yield Clients(pool)


def _meet_at(barriers: Mapping[int, Any]) -> None:
    _barriers.update(barriers)


def _work(number: int, url: str, models: list[str], seconds: float, write_every: int, seed: int) -> Work:
    chosen = random.Random(seed)
    work = Work()
    try:
        with open_storage(url) as storage:
            storage.get_progress(models[0])  # connects
            # Each of them waits here, so that no process takes the work of two.
            _barriers[number].wait(_PATIENCE)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                name = chosen.choice(models)
                if chosen.randrange(write_every):
                    work.reads.append(_timed(lambda: storage.get_progress(name)))  # noqa: B023  # called at once
                else:
                    record = realistic(name, seed)
                    work.writes.append(_timed(lambda: storage.save_progress(record)))  # noqa: B023
    except BrokenBarrierError:
        raise TimeoutError("another client did not come") from None
    except BaseException:
        _barriers[number].abort()
        raise
    return work


def _timed(operation: Callable[[], object]) -> float:
    started = time.perf_counter()
    operation()
    return time.perf_counter() - started
