"""What a hybrid's read and write cost beside a plain Redis and a plain database, on the same servers in one run."""

from __future__ import annotations

import contextlib

from ..errors import ServerUnavailableError
from .figures import Column, Goal, Report, Row
from .placement import apart
from .records import realistic
from .rounds import contest
from .settings import Settings

__all__ = ["READ", "WRITE", "run"]

READ = Goal(1.3, "a hybrid's read takes at most 1.3 times what a plain Redis' takes")
WRITE = Goal(1.2, "a write-through takes at most 1.2 times what the plain database's write takes")

_MODELS = 100


def run(settings: Settings) -> Report:
    """Measure both ratios, on a database that fsyncs."""
    report = Report(
        name="hybrid",
        title="The hybrid, beside a plain Redis and a plain database",
        labels=("operation", "beside"),
        columns=[
            Column("hybrid p50", "ms"),
            Column("hybrid p99", "ms"),
            Column("plain p50", "ms"),
            Column("plain p99", "ms"),
            Column("ratio", "×", 2),
        ],
        method=(
            "Rounds of calls by each in turn, on databases of the same server, which fsyncs at each commit, and of "
            "the same Redis, which has no append-only file, unless they are given by URL; the ratio is the median of "
            "the rounds' ratios of medians. "
            f"Reads are of {_MODELS} models, of which each is read from the database again once a second.",
        ),
    )
    if "hybrid" in settings.backends:
        settings.say("hybrid: beside Redis and PostgreSQL")
        try:
            _measure(settings, report)
        except ServerUnavailableError as error:
            report.notes.append(str(error))
    return report


def _measure(settings: Settings, report: Report) -> None:
    _beside(settings, report, "postgres", ("redis", "postgres"))
    if "mysql" in settings.backends:
        settings.say("hybrid: beside Redis and MySQL")
        try:
            _beside(settings, report, "mysql", ("mysql",))
        except ServerUnavailableError as error:
            report.notes.append(str(error))
    (read,) = (row for row in report.rows if row.labels[0] == "read")
    for write in report.rows:
        if write is not read and write.missed:
            more = write.figures["hybrid p50"] - write.figures["plain p50"]
            reads = more / read.figures["plain p50"]
            report.notes.append(
                f"write-through, {write.labels[1]}: it adds {more:.3f} ms to a write, {reads:.1f} reads "
                "of the plain Redis: it is announced in the cache first, which counts less where commits are slow"
            )


def _beside(settings: Settings, report: Report, database: str, others: tuple[str, ...]) -> None:
    """Measure a hybrid on a kind of database, beside what stands alone."""
    hybrid = settings.stores.cached(database)
    stores = {"hybrid": hybrid}
    for other in others:
        stores[other] = settings.stores.cache() if other == "redis" else settings.stores.durable(other)
    names = [f"model-{number}" for number in range(_MODELS)]
    records = [realistic(name, number) for number, name in enumerate(names)]
    with contextlib.ExitStack() as exits:
        placed = exits.enter_context(apart(hybrid.processes))
        opened = {name: exits.enter_context(store.open()) for name, store in stores.items()}
        for storage in opened.values():
            storage.save_progress(records[0])  # makes the tables
            storage.save_many(records)
        report.servers.append(f"{hybrid.server}; {hybrid.promise.settings}; {placed}")
        for beside in others:
            operation, goal = ("read", READ) if beside == "redis" else ("write-through", WRITE)
            contestants = {
                name: (
                    (lambda call, get=opened[name].get_progress: get(names[call % _MODELS]))
                    if operation == "read"
                    else (lambda call, save=opened[name].save_progress: save(records[call % _MODELS]))
                )
                for name in ("hybrid", beside)
            }
            result = contest(contestants, rounds=settings.rounds(31), calls=200, budget=settings.budget)
            figures = {
                f"{who} p{percent}": result.samples[name].percentile(percent)
                for who, name in (("hybrid", "hybrid"), ("plain", beside))
                for percent in (50, 99)
            }
            figures["ratio"] = result.ratio("hybrid", beside)
            report.rows.append(
                Row(labels=(operation, f"plain {beside}"), figures=figures, goals={"ratio": goal})
            )
