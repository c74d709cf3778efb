"""A get and a save beside the raw driver that does the same statements with the same parameters."""

from __future__ import annotations

import contextlib

from ..errors import ServerUnavailableError
from ..progress import AIProgress
from ..storage import AIStorage
from .figures import Column, Goal, Report, Row
from .placement import apart
from .raw import Raw, raw_of
from .records import SHAPES
from .rounds import Contest, Operation, contest
from .settings import Settings

__all__ = ["GOALS", "run"]

GOALS = {
    backend: Goal(1.5, "a get or a save takes at most 1.5 times what the raw driver takes")
    for backend in ("postgres", "redis")
}
"""By backend, for the ratio. The others are shown for information."""

_MODELS = 100
_CALLS = {"file": 5}


def run(settings: Settings) -> Report:
    """Measure all backends but the hybrid."""
    report = Report(
        name="operations",
        title="A get and a save, beside the raw driver",
        labels=("backend", "operation", "record"),
        columns=[Column("storage", "ms"), Column("raw", "ms"), Column("ratio", "×", 2)],
        method=(
            "Rounds of calls by the storage and by the raw driver in turn, in one process, each on a connection "
            "of its own to the same server; the ratio is the median of the rounds' ratios of medians.",
            "Raw: the statements that the storage compiled, with parameters made beforehand, on a kept "
            "connection; rows and replies as the driver gives them. The storage also checks the record, "
            "encodes it, takes a connection out of a pool, and makes a record of the reply.",
            "The servers synchronize nothing to a disk: waiting for one would hide what the storage adds.",
        ),
    )
    for backend in settings.backends:
        if backend == "hybrid":  # it has no driver of its own, and a benchmark of its own
            continue
        settings.say(f"operations: {backend}")
        try:
            _measure(settings, backend, report)
        except ServerUnavailableError as error:
            report.notes.append(str(error))
    return report


def _measure(settings: Settings, backend: str, report: Report) -> None:
    store = settings.stores.volatile(backend)
    goals = {"ratio": GOALS[backend]} if backend in GOALS else {}
    with contextlib.ExitStack() as exits:
        placed = exits.enter_context(apart(store.processes))
        storage = exits.enter_context(store.open())
        storage.save_progress(SHAPES["small"]("small-0"))  # makes the tables; Redis knows the script
        for shape, make in SHAPES.items():
            names = [f"{shape}-{number}" for number in range(_MODELS)]
            storage.save_many([make(name) for name in names])
        raw = raw_of(store.url, storage)
        if raw is not None:
            exits.callback(raw.close)
        driver = "no driver" if raw is None else raw.driver
        report.servers.append(f"{backend}: {store.server}; {store.promise.settings}; raw: {driver}; {placed}")
        for operation in ("get", "save"):
            for shape, make in SHAPES.items():
                records = [make(f"{shape}-{number}", number) for number in range(_MODELS)]
                contestants = {"storage": _storage(storage, operation, records)}
                if raw is not None:
                    contestants["raw"] = _raw(raw, operation, records)
                result = contest(
                    contestants,
                    rounds=settings.rounds(61),
                    calls=_CALLS.get(backend, 50 if settings.quick else 100),
                    budget=settings.budget,
                )
                report.rows.append(_row((backend, operation, shape), result, goals))


def _storage(storage: AIStorage, operation: str, records: list[AIProgress]) -> Operation:
    if operation == "get":
        names = [record.model_name for record in records]
        return lambda call: storage.get_progress(names[call % _MODELS])
    return lambda call: storage.save_progress(records[call % _MODELS])


def _raw(raw: Raw, operation: str, records: list[AIProgress]) -> Operation:
    if operation == "get":
        prepared = [raw.getter(record.model_name) for record in records]
    else:
        prepared = [raw.saver(record) for record in records]
    return lambda call: prepared[call % _MODELS]()


def _row(labels: tuple[str, ...], result: Contest, goals: dict[str, Goal]) -> Row:
    figures = {name: samples.median for name, samples in result.samples.items()}
    if "raw" in figures:
        figures["ratio"] = result.ratio("storage", "raw")
    return Row(labels=labels, figures=figures, goals=goals)
