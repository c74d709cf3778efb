"""Does a save, a get or a listing take longer the more models there are?"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable

from ..errors import ServerUnavailableError
from ..progress import AIProgress
from ..storage import AIStorage
from .figures import Column, Goal, Report, Row
from .placement import apart
from .records import realistic
from .rounds import Operation, contest
from .settings import Settings

__all__ = ["BOUND", "GOAL", "OPERATIONS", "QUICK_SIZES", "SIZES", "heading", "run"]

GOAL = Goal(
    1.5,
    "flat: from the smallest to the largest store at most half as much again; a scan would take as many times as "
    "long as there are more models",
)
"""For the ratio of the largest to the smallest store, of every backend but the file."""

SIZES = (10, 100, 1_000, 10_000, 100_000)
QUICK_SIZES = (10, 100, 1_000)
OPERATIONS = ("get", "save", "listing")

BOUND = 1.0
"""Seconds that one operation may take; a backend is not shown with more models than that."""

_BATCH = 1000


def run(settings: Settings) -> Report:
    """Measure all backends but the hybrid: its writes are its database's, and its reads the cache's."""
    sizes = QUICK_SIZES if settings.quick else SIZES
    report = Report(
        name="growth",
        title="A get, a save and a listing, the more models there are",
        labels=("backend", "operation"),
        columns=[*(Column(heading(size), "ms") for size in sizes), Column("growth", "×", 2)],
        method=(
            "Stores of each size beside each other, filled beforehand; rounds of calls to each in turn. A get is of "
            "any model, a save of one of up to 2000 that lie evenly among all, chosen at random; a listing reads all "
            "models. Growth: the median of the rounds' ratios, largest to smallest.",
            f"Where one operation takes longer than {BOUND:g} s a backend gets no more models.",
            "The servers synchronize nothing to a disk; SQLite does, as it always does.",
        ),
    )
    for backend in settings.backends:
        if backend == "hybrid":
            continue
        try:
            _measure(settings, backend, sizes, report)
        except ServerUnavailableError as error:
            report.notes.append(str(error))
    return report


def heading(size: int) -> str:
    """Return the name of the column of stores with so many models."""
    return f"{size:,} models".replace(",", " ")


def _measure(settings: Settings, backend: str, sizes: tuple[int, ...], report: Report) -> None:
    with contextlib.ExitStack() as exits:
        opened: dict[int, tuple[AIStorage, list[str]]] = {}
        for size in sizes:
            settings.say(f"growth: {backend}: {size:,} models")
            store = settings.stores.volatile(backend)
            storage = exits.enter_context(store.open())
            names = [f"model-{number:06}" for number in range(size)]
            # The file writes everything again with each batch.
            batch = size if backend == "file" else _BATCH
            storage.save_progress(realistic(names[0]))  # makes the tables
            for first in range(0, size, batch):
                storage.save_many([realistic(name) for name in names[first : first + batch]])
            if (took := _longest(storage, names)) > BOUND and opened:
                report.notes.append(
                    f"{backend}: one operation takes {took:.1f} s with {size:,} models: no more of them are measured"
                )
                break
            opened[size] = storage, names
        placed = exits.enter_context(apart(store.processes))
        report.servers.append(f"{backend}: {store.server}; {store.promise.settings}; {placed}")
        for operation in OPERATIONS:
            settings.say(f"growth: {backend}: {operation}")
            report.rows.append(_row(settings, backend, operation, opened, report))


def _longest(storage: AIStorage, names: list[str]) -> float:
    """The seconds that one get or one save takes."""
    started = time.perf_counter()
    storage.get_progress(names[-1])
    between = time.perf_counter()
    storage.save_progress(realistic(names[-1]))
    return max(between - started, time.perf_counter() - between)


def _row(
    settings: Settings,
    backend: str,
    operation: str,
    opened: dict[int, tuple[AIStorage, list[str]]],
    report: Report,
) -> Row:
    sizes = list(opened)
    result = contest(
        {str(size): _operation(operation, *opened[size]) for size in sizes},
        rounds=settings.rounds(5 if operation == "listing" else 21),
        calls={str(size): _calls(settings, backend, operation, size) for size in sizes},
        budget=settings.budget,
    )
    figures = {heading(size): result.samples[str(size)].median for size in sizes}
    if len(sizes) > 1:
        figures["growth"] = result.ratio(str(sizes[-1]), str(sizes[0]))
    spread = [statistics.quantiles(samples.medians, n=4) for samples in result.samples.values()]
    report.details[f"{backend} {operation}: quartiles of the rounds' medians, in s"] = spread
    # A listing has to read what it lists; a file reads all of itself each time, and is shown as what it is.
    goals = {} if backend == "file" or operation == "listing" else {"growth": GOAL}
    return Row(labels=(backend, operation), figures=figures, goals=goals)


def _calls(settings: Settings, backend: str, operation: str, size: int) -> int:
    if backend == "file":
        return 1  # a call takes as long as there are models
    if operation == "listing":
        return max(1, 1000 // size)
    return 30 if settings.quick else 100


def _operation(operation: str, storage: AIStorage, names: list[str]) -> Operation:
    choose = random.Random(7).randrange
    if operation == "listing":
        listing: Callable[[], list[AIProgress]] = storage.load_progress
        return lambda call: listing()
    if operation == "get":
        get: Callable[[str], object] = storage.get_progress
        return lambda call: get(names[choose(len(names))])
    # Made beforehand, so that a call is nothing but the save.
    records = [realistic(name, number) for number, name in enumerate(names[:: max(1, len(names) // 2000)])]
    save = storage.save_progress
    return lambda call: save(records[choose(len(records))])
