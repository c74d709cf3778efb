"""How long a session takes to start: the servers, and pytest with the plugin that nobody uses."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_aistorage import ServerUnavailableError
from pytest_aistorage.bench.figures import Column, Goal, Report, Row
from pytest_aistorage.bench.settings import Settings
from pytest_aistorage.servers import ServerOptions, ServerSpec, shared_server

from .environments import environment, installed

__all__ = ["COLLECT_GOAL", "SERVER_GOALS", "run"]

SERVER_GOALS = {
    "postgres": Goal(150, "a session on PostgreSQL starts within 150 ms, on a warm cache"),
    "redis": Goal(50, "a session on Redis starts within 50 ms"),
}
"""Milliseconds until the first query is answered."""

COLLECT_GOAL = Goal(10, "a plugin that is installed and not used costs nothing that anybody notices")
"""Milliseconds more."""

_PEERS = ("hypothesis", "pytest-redis", "pytest-postgresql")
_PROVIDERS = ("process", "embedded")
_PLUGIN = "pytest-aistorage"
_OFF = "pytest-aistorage, -p no:aistorage"
_MORE = "more than without"


def run(settings: Settings) -> Report:
    """Measure servers and collection."""
    report = Report(
        name="startup",
        title="The start of a session",
        labels=("what", "of"),
        columns=[Column("median", "ms", 1), Column("best", "ms", 1), Column(_MORE, "ms", 1)],
        method=(
            "Servers: from shared_server() in a fresh run directory until the first query is answered, the "
            "drivers imported, the cache warm; processes and wheels in turn.",
            "Collection: pytest --collect-only -q in an empty directory, as a process of its own, by turns in "
            "environments that hold pytest and one plugin with all that it requires; what it takes more is the "
            "median of the rounds' differences from pytest alone, or from what stands beside it.",
        ),
    )
    for kind, goal in SERVER_GOALS.items():
        if kind in settings.backends:
            _servers(settings, kind, goal, report)
    _collection(settings, report)
    return report


def _servers(settings: Settings, kind: str, goal: Goal, report: Report) -> None:
    durations: dict[str, list[float]] = {provider: [] for provider in _PROVIDERS}
    spec = ServerSpec.parse(kind)
    for number in range(settings.rounds(15) + 1):
        for provider in _PROVIDERS:
            if number == 0:
                settings.say(f"startup: {kind}: {provider}")
            elif not durations[provider] and number > 1:
                continue
            run_dir = settings.stores.directory / f"start-{kind}-{provider}-{number}"
            options = ServerOptions(run_dir=run_dir, providers={kind: (provider,)})
            try:
                started = time.perf_counter()
                with shared_server(spec, options) as server:
                    _first_query(server.url)
                    took = (time.perf_counter() - started) * 1e3
                    version = server.version
            except ServerUnavailableError as error:
                report.notes.append(str(error))
                continue
            if number == 0:  # it may have filled the cache and imported the driver
                report.servers.append(f"{provider}: {version}")
            else:
                durations[provider].append(took)
    for provider, found in durations.items():
        if found:
            figures = {"median": statistics.median(found), "best": min(found)}
            labels = (f"{kind} server until its first query", provider)
            report.rows.append(Row(labels=labels, figures=figures, goals={"median": goal}))


def _first_query(url: str) -> None:
    if url.startswith("redis"):
        import redis

        client = redis.Redis.from_url(url)
        client.ping()
        client.close()
    else:
        import psycopg

        with psycopg.connect(url) as connection:
            connection.execute("SELECT 1").fetchone()


def _collection(settings: Settings, report: Report) -> None:
    place = settings.stores.directory / "collection"
    empty = place / "empty"
    empty.mkdir(parents=True)
    environments: dict[str, Mapping[str, str]] = {}
    for name in ("pytest", _PLUGIN, f"{_PLUGIN}[all]", *_PEERS):
        if installed(name.partition("[")[0]):
            path = environment(place / name, ["pytest", name])
            environments[name] = {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": ""}
        else:
            report.notes.append(f"{name} is not installed")
    commands: dict[str, Callable[[], None]] = {
        name: _collect(empty, ["-S"], [], env) for name, env in environments.items()
    }
    commands[_OFF] = _collect(empty, ["-S"], ["-p", "no:aistorage"], environments[_PLUGIN])
    settings.say("startup: pytest --collect-only")
    durations: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        command()  # compiles what is not yet compiled, and fails early
    order = list(commands)
    for _ in range(settings.rounds(31)):
        for name in order:
            started = time.perf_counter()
            commands[name]()
            durations[name].append((time.perf_counter() - started) * 1e3)
        order.reverse()
    goals = {_MORE: COLLECT_GOAL}
    report.rows.append(_row("pytest", durations["pytest"]))
    report.rows.append(_row(_PLUGIN, durations[_PLUGIN], durations["pytest"], goals))
    report.rows.append(_row(f"{_PLUGIN}, beside {_OFF}", durations[_PLUGIN], durations[_OFF], goals))
    for name in (_OFF, *environments):
        if name not in ("pytest", _PLUGIN):
            report.rows.append(_row(name, durations[name], durations["pytest"]))


def _row(
    name: str, found: list[float], base: list[float] | None = None, goals: Mapping[str, Goal] | None = None
) -> Row:
    figures = {"median": statistics.median(found), "best": min(found)}
    if base is not None:
        figures[_MORE] = statistics.median(one - other for one, other in zip(found, base, strict=True))
    return Row(labels=("pytest --collect-only", name), figures=figures, goals=goals or {})


def _collect(
    directory: Path, python: list[str], options: list[str], env: Mapping[str, str]
) -> Callable[[], None]:
    command = [sys.executable, *python, "-m", "pytest", "--collect-only", "-q", *options]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))
    }

    def collect() -> None:
        done = subprocess.run(
            command, cwd=directory, env={**inherited, **env}, capture_output=True, text=True, check=False
        )
        if done.returncode != 5:  # no tests collected
            raise RuntimeError(
                f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}"
            )

    return collect
