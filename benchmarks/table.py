"""The guide's performance table, measured: how long a write and a read take, and what survives."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping

from pytest_aistorage import ServerUnavailableError

from .figures import Column, Goal, Report, Row
from .records import realistic
from .rounds import contest, percentile
from .settings import Settings
from .stores import Store, filesystem

__all__ = ["GUIDE", "run"]

_WHY = "the guide's performance table"
GUIDE: Mapping[str, tuple[float, float]] = {
    "file": (10.0, 5.0),
    "memory": (0.1, 0.1),
    "database": (2.0, 1.0),
    "redis": (0.3, 0.2),
}
"""Milliseconds of a write and of a read, by storage type."""

_MODELS = 100
_ROWS: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("file", "file", "", {}),
    ("memory", "memory", "", {}),
    ("database", "sqlite", "", {}),
    ("database", "postgres", "", {}),
    ("database", "mysql", "", {}),
    ("redis", "redis", "appendfsync always", {}),
    ("redis", "redis", "appendfsync everysec", {"appendfsync": "everysec"}),
    ("redis", "redis", "no append-only file", {"appendonly": "no"}),
)


def run(settings: Settings) -> Report:
    """Measure every row that a backend is there for."""
    report = Report(
        name="table",
        title=f"The guide's performance table, measured with {_MODELS} models",
        labels=("storage", "backend", "durability"),
        columns=[
            Column("write p50", "ms"),
            Column("write p99", "ms"),
            Column("guide's write", "ms", 1),
            Column("read p50", "ms"),
            Column("read p99", "ms"),
            Column("guide's read", "ms", 1),
        ],
        method=(
            "One client, one call after the other, each a realistic record of a model chosen in turn; p50 and "
            "p99 of all calls of all rounds. The goal is the guide's figure, for the p50. The file is shown as "
            "what it is: it reads and writes all models each time, and has no goal.",
            "Servers are private ones with durable settings, unless the row says otherwise, and keep their data "
            "on a disk.",
        ),
    )
    report.servers.append(_disk(settings))
    for kind, backend, variant, server_settings in _ROWS:
        if backend not in settings.backends:
            continue
        settings.say(f"table: {backend} {variant}")
        try:
            with _store(settings, backend, server_settings) as store:
                _measure(settings, (kind, backend, store.durability), store, report)
                line = f"{backend}: {store.server}"
                if line not in report.servers and store.server != "none":
                    report.servers.append(line)
        except ServerUnavailableError as error:
            report.unmeasured.append(str(error))
    return report


@contextlib.contextmanager
def _store(settings: Settings, backend: str, server_settings: Mapping[str, str]) -> Iterator[Store]:
    if backend in ("postgres", "mysql", "redis"):
        with settings.stores.durable(backend, server_settings) as store:
            yield store
    else:
        yield settings.stores.volatile(backend)


def _measure(settings: Settings, labels: tuple[str, str, str], store: Store, report: Report) -> None:
    names = [f"model-{number}" for number in range(_MODELS)]
    records = [realistic(name, number) for number, name in enumerate(names)]
    with store.open() as storage:
        storage.save_many(records)
        result = contest(
            {
                "write": lambda call: storage.save_progress(records[call % _MODELS]),
                "read": lambda call: storage.get_progress(names[call % _MODELS]),
            },
            rounds=settings.rounds(11),
            calls=50 if settings.quick or labels[0] == "file" else 500,
        )
    figures: dict[str, float] = {}
    goals: dict[str, Goal] = {}
    for operation, guide in zip(("write", "read"), GUIDE[labels[0]], strict=True):
        samples = result.samples[operation]
        figures[f"{operation} p50"] = samples.percentile(50)
        figures[f"{operation} p99"] = samples.percentile(99)
        figures[f"guide's {operation}"] = guide
        if labels[0] != "file":
            goals[f"{operation} p50"] = Goal(guide, _WHY)
    report.rows.append(Row(labels=labels, figures=figures, goals=goals))


def _disk(settings: Settings) -> str:
    """What a synchronized write of a few hundred bytes takes here: no durable write can be quicker."""
    with tempfile.TemporaryFile(dir=settings.stores.directory) as file:
        durations = []
        for _ in range(50 if settings.quick else 500):
            os.write(file.fileno(), b"x" * 500)
            started = time.perf_counter()
            (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(file.fileno())
            durations.append((time.perf_counter() - started) * 1e3)
    where = filesystem(settings.stores.directory)
    return (
        f"fdatasync {where}: p50 {percentile(durations, 50):.3f} ms, p99 {percentile(durations, 99):.3f} ms"
    )
