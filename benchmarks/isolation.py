"""What it costs a test to be isolated: this package, its peers, and what one would write by hand."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from pytest_aistorage import ServerUnavailableError
from pytest_aistorage.bench.figures import Column, Goal, Report, Row
from pytest_aistorage.bench.settings import Settings

from .environments import installed
from .isolation_tests import WAYS, Way, write_tests

__all__ = ["GOALS", "run"]

GOALS = {
    "postgres": Goal(0.3, "hardly more than the DELETE itself, on a connection that is kept"),
    "redis": Goal(0.1, "hardly more than the FLUSHDB itself, on a client that is kept"),
}
"""Milliseconds a test, by backend, for ``ai_storage``."""

_TESTS = 200
_TESTS_WHEN_SLOW = 30
_NOT_COUNTED = 10
"""The first tests of a run: they start the session's fixtures, and prepare statements."""

_IDLE, _ACTING, _ABOVE_FLOOR = "idle: above empty", "save + get: above empty", "save + get: above kept"


def run(settings: Settings) -> Report:
    """Measure all ways on all backends."""
    report = Report(
        name="isolation",
        title="Isolation, a test",
        labels=("backend", "way"),
        columns=[Column(name, "ms") for name in (_IDLE, _ACTING, _ABOVE_FLOOR)],
        method=(
            f"Files of {_TESTS} tests ({_TESTS_WHEN_SLOW} for pytest-postgresql), each run by python -m pytest "
            "-p no:cacheprovider -q in a process of its own, all ways in turn. A test's time is everything that "
            f"pytest does for it; the first {_NOT_COUNTED} of a run don't count. Figures: the median, over the "
            "rounds, of the differences of the medians of two runs of the same round.",
            "idle: the test uses the fixture and does nothing. save + get: it saves and reads once; above "
            "empty, that is counted as well; above kept, the same test with a storage, connection or client "
            "that is kept open and never emptied has been subtracted, so that what is left is the isolation.",
            "The peers and what is written by hand use one server, started with the same binaries and settings "
            "as the one that ai_storage starts for itself, handed in as postgresql_noproc and redis_noproc: as "
            "root, pytest-postgresql can start none. It has no disk to wait for, to their advantage.",
        ),
    )
    urls: dict[str, str] = {}
    for backend in ("postgres", "redis"):
        if backend in settings.backends:
            try:
                store = settings.stores.volatile(backend)
            except ServerUnavailableError as error:
                report.notes.append(str(error))
                continue
            urls[backend] = store.url
            report.servers.append(f"{backend}: {store.server}; {store.promise.settings}")
    ways = [way for way in WAYS if not way.backend or way.backend in urls]
    for name in ("pytest-postgresql", "pytest-redis"):
        if not installed(name):
            ways = [way for way in ways if way.name != name]
            report.notes.append(f"{name} is not installed")
    medians = _rounds(settings, ways, urls)
    empty = medians["an empty test", False]
    report.details["an empty test, ms"] = statistics.median(empty)
    report.details["medians of a test, ms, by way and round"] = {
        f"{name}{', save + get' if acts else ''}": found for (name, acts), found in medians.items()
    }
    for way in ways[1:]:
        figures = {
            _IDLE: _difference(medians[way.name, False], empty),
            _ACTING: _difference(medians[way.name, True], empty),
        }
        goals = {}
        if way.floor is not None:
            figures[_ABOVE_FLOOR] = _difference(medians[way.name, True], medians[way.floor, True])
        if way.fixture == "ai_storage":
            goals = {_IDLE: GOALS[way.backend], _ABOVE_FLOOR: GOALS[way.backend]}
        report.rows.append(Row(labels=(way.backend, way.name), figures=figures, goals=goals))
    return report


def _difference(one: list[float], other: list[float]) -> float:
    return statistics.median(first - second for first, second in zip(one, other, strict=True))


def _rounds(settings: Settings, ways: list[Way], urls: dict[str, str]) -> dict[tuple[str, bool], list[float]]:
    place = settings.stores.directory / "isolation"
    runs: dict[tuple[str, bool], Path] = {}
    for number, way in enumerate(ways):
        for acts in (False, True):
            if acts and not way.backend:
                continue
            tests = _TESTS_WHEN_SLOW if way.slow else _TESTS
            directory = runs[way.name, acts] = place / f"{number:02}{'-acts' if acts else ''}"
            write_tests(directory, way, tests, acts, urls)
    medians: dict[tuple[str, bool], list[float]] = {key: [] for key in runs}
    order = list(runs)
    rounds = settings.rounds(9, quick=1)
    for number in range(rounds):
        settings.say(f"isolation: round {number + 1} of {rounds}")
        for key in order:
            medians[key].append(_run(settings, runs[key]))
        order.reverse()
    return medians


def _run(settings: Settings, directory: Path) -> float:
    """Run a directory's tests; return the median duration of one in milliseconds."""
    result = directory / "durations.json"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    providers = f"--ai-storage-servers={'+'.join(settings.stores.providers)}"
    strict = ("--ai-storage-strict",)  # skipped tests would be quick
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "bench_timer", "-q"]
    done = subprocess.run(
        [*command, providers, *strict],
        cwd=directory,
        env={**inherited, "AISTORAGE_BENCH_DURATIONS": str(result)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the tests of {directory} failed: {done.stdout}{done.stderr}")
    durations: list[float] = json.loads(result.read_text())
    return statistics.median(durations[_NOT_COUNTED:]) * 1e3
