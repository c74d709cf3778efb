"""Reports as they come out of a run, with figures that were made up."""

from __future__ import annotations

from pytest_aistorage.bench.figures import Column, Goal, Report, Row, Shown
from pytest_aistorage.bench.growth import heading
from pytest_aistorage.bench.machine import Machine
from pytest_aistorage.bench.outcome import Outcome

__all__ = ["outcome"]

HOSTILE = "</td><script>alert(1)</script> & \u202e"


def _table() -> Report:
    return Report(
        name="table",
        title="The guide's table",
        labels=("storage", "backend", "durability"),
        columns=[
            Column("write p50", "ms"),
            Column("guide's write", "ms", 1, below="write p50", short="guide"),
            Column("concurrent-safe", ""),
            Column("persistent", ""),
        ],
        rows=[
            Row(
                labels=("file", "file", HOSTILE),
                figures={"write p50": 4.5, "guide's write": 10.0},
                shown={"persistent": Shown(good=False, words="loss shown", parts=["7 of 9 by SIGKILL"])},
            ),
            Row(
                labels=("redis", "appendfsync everysec", "append-only file, fsync each second"),
                figures={"write p50": 0.4, "guide's write": 0.3},
                goals={"write p50": Goal(0.3, "the guide")},
                shown={
                    "concurrent-safe": Shown(good=True, words="proven", parts=["0 of 5 lost"], promised=True),
                    "persistent": Shown(
                        good=False, words="loss shown", parts=["1 of 2 by power loss"], promised=True
                    ),
                },
            ),
        ],
        servers=["redis: Redis 7.0.15"],
        method=["One client."],
        notes=["no mysql server: none"],
    )


def _growth() -> Report:
    sizes = (10, 100, 1_000)
    return Report(
        name="growth",
        title="The more models there are",
        labels=("backend", "operation"),
        columns=[*(Column(heading(size), "ms") for size in sizes), Column("growth", "×", 2)],
        rows=[
            Row(
                labels=(backend, operation),
                figures={
                    **{heading(size): 0.1 + size * slope for size in sizes[:most]},
                    "growth": 1.0,
                },
            )
            for backend, slope, most in (("postgres", 0.0, 3), ("redis", 1e-6, 3), ("file", 0.1, 2))
            for operation in ("get", "save", "listing")
        ],
    )


def outcome() -> Outcome:
    """A run with a goal that is missed, a promise that is broken, a label that is hostile, and no mysql."""
    machine = Machine(system="Linux x86_64", python="3.13.0", cpus=2, load=0.5, measured="today")
    busy = Machine(system="Linux x86_64", python="3.13.0", cpus=2, load=7.5, measured="later")
    return Outcome(reports=[_table(), _growth()], before=machine, after=busy, version="0.1", quick=True)
