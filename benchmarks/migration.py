"""How fast `aistorage migrate` is, and how much memory it takes: a file into each backend, in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_aistorage import ServerUnavailableError
from pytest_aistorage.bench.figures import Column, Goal, Report, Row
from pytest_aistorage.bench.settings import Settings

__all__ = ["MEMORY", "RATE", "run"]

RATE = Goal(20_000, "a million records into PostgreSQL within 50 s, on two processors", at_least=True)
"""Records a second, of the whole command."""

MEMORY = Goal(200, "memory is bounded, whatever the length of the file")
"""Megabytes resident, at the most."""

_RECORDS = {"postgres": 1_000_000}
_FEWER = 50_000
_QUICK = 5_000
_SECONDS = 3600

# Not in this process: what it holds would be counted with it, and so would the processor time of its threads.
_PROGRAM = """
import json, resource, sys, time
from pytest_aistorage import open_storage
from pytest_aistorage.migration import migrate_file

begun, phases = time.perf_counter(), {}
def progress(phase, *_):
    phases[phase] = time.perf_counter() - begun

with open_storage(sys.argv[2], timeout=60) as storage:
    report = migrate_file(sys.argv[1], storage, progress=progress)
    assert report and report.added == report.records, report
    whole = time.perf_counter() - begun
unit = 1024 if sys.platform == "darwin" else 1  # bytes there, kilobytes elsewhere
print(json.dumps({
    "records": report.records,
    "whole": whole,
    "check": phases["check"],
    "processor": time.process_time(),
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / unit,
}))
"""


def run(settings: Settings) -> Report:
    """Measure all backends."""
    report = Report(
        name="migration",
        title="A JSON file into a storage",
        labels=("backend",),
        columns=[
            Column("records", "records", 0),
            Column("check", "s", 1),
            Column("write", "s", 1),
            Column("rate", "records/s", 0),
            Column("of writing", "records/s", 0),
            Column("processor", "µs/record", 1),
            Column("memory", "MB", 0),
        ],
        method=(
            "migrate_file in a process of its own, from a file of a list of records in camelCase with ten keys, into "
            "an empty store; a server is a private one, with durable settings, its data on a disk.",
            "rate: of everything, the check of the whole file before the first write included; of writing: without "
            "it. processor: what the migrating process took. memory: the most that was resident.",
        ),
    )
    for backend in settings.backends:
        if backend in ("memory", "file"):  # gone with the process; written whole for each batch
            continue
        records = _QUICK if settings.quick else _RECORDS.get(backend, _FEWER)
        settings.say(f"migration: {records} records into {backend}")
        try:
            _measure(settings, backend, records, report)
        except ServerUnavailableError as error:
            report.notes.append(str(error))
    return report


def _measure(settings: Settings, backend: str, records: int, report: Report) -> None:
    store = settings.stores.durable(backend)
    path = settings.stores.directory / f"migration-{records}.json"
    if not path.exists():
        _write(path, records)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path), store.url],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    writing = told["whole"] - told["check"]
    report.rows.append(
        Row(
            labels=(backend,),
            figures={
                "records": told["records"],
                "check": told["check"],
                "write": writing,
                "rate": told["records"] / told["whole"],
                "of writing": told["records"] / writing,
                "processor": told["processor"] / told["records"] * 1e6,
                "memory": told["memory"],
            },
            goals={"memory": MEMORY, **({"rate": RATE} if backend == "postgres" else {})},
        )
    )
    report.servers.append(f"{backend}: {store.server}; {store.promise.settings}")


def _write(path: Path, records: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n")
        for number in range(records):
            record = {
                "modelName": f"model-{number:07}",
                "trainingStart": "2026-01-31T12:00:00.000Z",
                "trainingEnd": None,
                "accuracy": 1 - 1 / (number + 2),
                "mse": 1 / (number + 1),
                "trainingSamples": number % 100_000,
                "crossValidationScore": 0.9,
                "metadata": {"epochs": number % 50, "optimizer": "adam"},
                "learningRate": 0.001,
                "createdAt": "2026-01-31T12:00:00.000Z",
            }
            file.write(f"{',' if number else ''}{json.dumps(record)}\n")
        file.write("]\n")
