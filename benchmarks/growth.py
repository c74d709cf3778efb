"""Does a save or a get take longer the more models there are?"""

from __future__ import annotations

import contextlib
import random
import statistics
from collections.abc import Callable

from pytest_aistorage import AIStorage, ServerUnavailableError

from .figures import Column, Goal, Report, Row
from .placement import apart
from .records import realistic
from .rounds import Operation, contest
from .settings import Settings
from .stores import SERVERS

__all__ = ["GOAL", "run"]

GOAL = Goal(
    1.5, "flat: from 10 to 100 000 models at most half as much again; a scan would take 10 000 times as long"
)
"""For the ratio of the largest to the smallest store, of every backend but the file."""

_SIZES = (10, 1_000, 100_000)
_FILE_SIZES = (10, 1_000, 10_000)
_QUICK_SIZES, _QUICK_FILE_SIZES = (10, 100, 1_000), (10, 100, 500)
_BATCH = 1000


def run(settings: Settings) -> Report:
    """Measure all backends."""
    sizes, file_sizes = (_QUICK_SIZES, _QUICK_FILE_SIZES) if settings.quick else (_SIZES, _FILE_SIZES)
    report = Report(
        name="growth",
        title="A save and a get, the more models there are",
        labels=("backend", "operation"),
        columns=[
            *(Column(_heading(size), "ms") for size in (*file_sizes, sizes[-1])),
            Column("growth", "×", 2),
        ],
        method=(
            "Stores of each size beside each other, filled beforehand; rounds of calls to each in turn. A get is of "
            "any model, a save of one of up to 2000 that lie evenly among all, chosen at random. Growth: the median "
            "of the rounds' ratios, largest to smallest.",
            "The servers synchronize nothing to a disk; SQLite does, as it always does.",
        ),
    )
    for backend in settings.backends:
        try:
            _measure(settings, backend, file_sizes if backend == "file" else sizes, report)
        except ServerUnavailableError as error:
            report.unmeasured.append(str(error))
    return report


def _measure(settings: Settings, backend: str, sizes: tuple[int, ...], report: Report) -> None:
    with contextlib.ExitStack() as exits:
        opened: dict[int, tuple[AIStorage, list[str]]] = {}
        stores = {size: settings.stores.volatile(backend) for size in sizes}
        for size, store in stores.items():
            settings.say(f"growth: {backend}: {size} models")
            storage = exits.enter_context(store.open())
            names = [f"model-{number:06}" for number in range(size)]
            for first in range(0, size, _BATCH):
                storage.save_many([realistic(name) for name in names[first : first + _BATCH]])
            opened[size] = storage, names
        store = stores[sizes[0]]
        server = settings.stores.server(backend).url if backend in SERVERS else None
        placed = exits.enter_context(apart(server))
        report.servers.append(f"{backend}: {store.server}; {store.durability}; {placed}")
        for operation in ("get", "save"):
            result = contest(
                {str(size): _operation(operation, *opened[size]) for size in sizes},
                rounds=settings.rounds(21),
                calls=_calls(settings, backend),
            )
            figures = {_heading(size): result.samples[str(size)].median for size in sizes}
            figures["growth"] = result.ratio(str(sizes[-1]), str(sizes[0]))
            goals = {} if backend == "file" else {"growth": GOAL}
            report.rows.append(Row(labels=(backend, operation), figures=figures, goals=goals))
            spread = [statistics.quantiles(samples.medians, n=4) for samples in result.samples.values()]
            report.details[f"{backend} {operation}: quartiles of the rounds' medians, in s"] = spread


def _heading(size: int) -> str:
    return f"{size:,} models".replace(",", " ")


def _calls(settings: Settings, backend: str) -> int:
    if backend == "file":
        return 1  # a call takes as long as there are models
    return 30 if settings.quick else 100


def _operation(operation: str, storage: AIStorage, names: list[str]) -> Operation:
    choose = random.Random(7).randrange
    if operation == "get":
        get: Callable[[str], object] = storage.get_progress
        return lambda call: get(names[choose(len(names))])
    # Made beforehand, so that a call is nothing but the save.
    records = [realistic(name, number) for number, name in enumerate(names[:: max(1, len(names) // 2000)])]
    save = storage.save_progress
    return lambda call: save(records[choose(len(records))])
