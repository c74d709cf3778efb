"""What awaiting costs: `AsyncAIStorage` beside the storage itself, one by one and 32 at once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pytest_aistorage import AIProgress, AIStorage, AsyncAIStorage, ServerUnavailableError
from pytest_aistorage.bench.figures import Column, Goal, Report, Row
from pytest_aistorage.bench.placement import apart
from pytest_aistorage.bench.records import realistic
from pytest_aistorage.bench.rounds import Turn, contest_of_turns, timed
from pytest_aistorage.bench.settings import Settings

__all__ = ["ONE", "TOGETHER", "run"]

ONE = Goal(2.0, "an operation that is awaited takes at most twice as long")
TOGETHER = Goal(1.0, "operations at once take less time in total than one after another")

_AT_ONCE = 32
_CALLS = {"file": 5}
_GROUPS = {"file": 1}

_WHY_NOT_TOGETHER = {
    "memory": "nothing waits there, so 32 tasks have nothing to do meanwhile, and take their own time",
    "sqlite": "it waits only for the disk at a commit, of which each update has its own; the tasks take their time",
    "file": "each takes the processor for all of the file, and gains nothing by the others; tasks take their time",
}
"""By backend: what stands in the way where operations at once take longer than one after another."""

Act = Callable[[int], object]
"""An operation on the model of that number, by a storage."""
AsyncAct = Callable[[int], Awaitable[object]]
"""The same, to be awaited."""


def run(settings: Settings) -> Report:
    """Measure all backends."""
    together, ratio = f"{_AT_ONCE} at once", f"{_AT_ONCE}: ratio"
    report = Report(
        name="async",
        title="Awaited, beside the same storage without an event loop",
        labels=("backend", "operation"),
        columns=[
            Column("sync", "ms"),
            Column("async", "ms"),
            Column("ratio", "×", 2),
            Column(f"{_AT_ONCE} sync", "ms", 2),
            Column(together, "ms", 2),
            Column(ratio, "×", 2),
        ],
        method=(
            "Rounds of calls by the one and the other in turn, in one process, each with a client of its own on the "
            "same store; the ratio is the median of the rounds' ratios of medians. The records are realistic.",
            f"{_AT_ONCE} sync: so many operations on as many models, one after another; {together}: the same "
            "operations by as many tasks of one event loop of asyncio, until the last one is done.",
            "The servers synchronize nothing to a disk: waiting for one would hide what awaiting adds.",
        ),
    )
    for backend in settings.backends:
        settings.say(f"async: {backend}")
        try:
            _measure(settings, backend, report, together, ratio)
        except ServerUnavailableError as error:
            report.notes.append(str(error))
    return report


def _measure(settings: Settings, backend: str, report: Report, together: str, ratio: str) -> None:
    store = settings.stores.volatile(backend)
    names = [f"model-{number:02}" for number in range(_AT_ONCE)]
    records = [realistic(name, number) for number, name in enumerate(names)]
    with contextlib.ExitStack() as exits:
        placed = exits.enter_context(apart(store.processes))
        runner = exits.enter_context(asyncio.Runner())
        storage = exits.enter_context(store.open())
        awaited = AsyncAIStorage(store.open())
        exits.callback(awaited.close_and_wait)
        storage.save_progress(records[0])  # makes the tables
        storage.save_many(records)
        report.servers.append(f"{backend}: {store.server}; {store.promise.settings}; {placed}")
        hop = _hop(settings, runner, awaited)
        sync_acts = _acts(storage, records)
        for operation, act in _acts(awaited, records).items():
            calls = _CALLS.get(backend, 50 if settings.quick else 100)
            one = contest_of_turns(
                {"sync": timed(sync_acts[operation]), "async": _awaited(runner, act)},
                rounds=settings.rounds(21),
                calls=calls,
                budget=settings.budget,
            )
            many = contest_of_turns(
                {"sync": _one_after_another(sync_acts[operation]), "async": _at_once(runner, act)},
                rounds=settings.rounds(21),
                calls=_GROUPS.get(backend, 3 if settings.quick else 5),
                budget=settings.budget,
            )
            figures = {
                "sync": one.samples["sync"].median,
                "async": one.samples["async"].median,
                "ratio": one.ratio("async", "sync"),
                f"{_AT_ONCE} sync": many.samples["sync"].median,
                together: many.samples["async"].median,
                ratio: many.ratio("async", "sync"),
            }
            row = Row(labels=(backend, operation), figures=figures, goals={"ratio": ONE, ratio: TOGETHER})
            report.rows.append(row)
            if "ratio" in row.missed:
                report.notes.append(
                    f"{backend}, {operation}: to a thread and back takes {hop:.3f} ms, the operation itself "
                    f"{figures['sync']:.3f}"
                )
            if ratio in row.missed and backend in _WHY_NOT_TOGETHER:
                report.notes.append(f"{backend}, {operation}, {together}: {_WHY_NOT_TOGETHER[backend]}")


def _hop(settings: Settings, runner: asyncio.Runner, storage: AsyncAIStorage) -> float:
    """How long it takes to have nothing done in a thread, in milliseconds."""
    act = _awaited(runner, lambda _: storage._carried_out(lambda: None))
    return contest_of_turns({"hop": act}, rounds=settings.rounds(21), calls=100).samples["hop"].median


def _changed(current: AIProgress | None) -> AIProgress:
    assert current is not None
    return dataclasses.replace(current, mse=current.mse / 2)


def _acts(
    storage: AIStorage | AsyncAIStorage, records: Sequence[AIProgress]
) -> Mapping[str, Callable[[int], Any]]:
    """By its name, what does an operation on the models in turn; by an asynchronous storage, to be awaited."""
    count = len(records)
    return {
        "get": lambda call: storage.get_progress(records[call % count].model_name),
        "save": lambda call: storage.save_progress(records[call % count]),
        "update": lambda call: storage.update_progress(records[call % count].model_name, _changed),
        f"load {count}": lambda call: storage.load_progress(),
    }


def _one_after_another(act: Act) -> Turn:
    def all_models(_: int) -> None:
        for model in range(_AT_ONCE):
            act(model)

    return timed(all_models)


def _at_once(runner: asyncio.Runner, act: AsyncAct) -> Turn:
    return _awaited(runner, lambda _: asyncio.gather(*(act(model) for model in range(_AT_ONCE))))


def _awaited(runner: asyncio.Runner, act: AsyncAct) -> Turn:
    """As `timed`, in an event loop."""
    clock = time.perf_counter

    async def turn(numbers: Sequence[int]) -> list[float]:
        durations: list[float] = []
        for number in numbers:
            started = clock()
            await act(number)
            durations.append(clock() - started)
        return durations

    return lambda numbers: runner.run(turn(numbers))
