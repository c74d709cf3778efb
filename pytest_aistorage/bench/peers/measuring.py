"""Rounds of a peer's work and of ours in turn, on the same server with the same settings."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ...errors import ServerUnavailableError
from ...progress import AIProgress
from ...storage import AIStorage
from ..disk import Disk, measured
from ..figures import Column, Goal, Report, Row
from ..placement import apart
from ..raw import Raw, raw_of
from ..records import compact
from ..rounds import Operation, contest
from ..settings import Settings
from ..stores import Store
from . import of_mlflow, of_optuna
from .peer import EXTRA, Peer, Work, installed

__all__ = ["GOAL", "MATCHES", "Match", "run"]

GOAL = Goal(10.0, "a save or a get is at least ten times as fast as the nearest equal work", at_least=True)

_MODELS, _QUICK_MODELS = 100, 20
_CALLS, _QUICK_CALLS = 60, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A peer on one backend.

    Attributes:
        product: as in a table.
        module: what has to be installed.
        backend: ours, and where the peer's own database is.
        where: the peer's storage, as in a table.
        open: opens the peer on the URL of an empty database.
    """

    product: str
    module: str
    backend: str
    where: str
    open: Callable[[str, Sequence[AIProgress], Path], Peer]


MATCHES = (
    Match(
        product="MLflow",
        module="mlflow",
        backend="sqlite",
        where="SQLite",
        open=lambda url, records, place: of_mlflow.MLflow(url, records, place),
    ),
    Match(
        product="MLflow",
        module="mlflow",
        backend="postgres",
        where="PostgreSQL",
        open=lambda url, records, place: of_mlflow.MLflow(url, records, place),
    ),
    Match(
        product="Optuna",
        module="optuna",
        backend="sqlite",
        where="SQLite",
        open=lambda url, records, place: of_optuna.Optuna(url, records, place),
    ),
    Match(
        product="Optuna",
        module="optuna",
        backend="postgres",
        where="PostgreSQL",
        open=lambda url, records, place: of_optuna.Optuna(url, records, place),
    ),
    Match(
        product="Optuna",
        module="optuna",
        backend="sqlite",
        where="journal file",
        open=lambda url, records, place: of_optuna.Optuna(None, records, place),
    ),
)
"""All there are."""


def run(settings: Settings) -> Report:
    """Measure all peers that are installed, on the backends that are wanted."""
    models = _QUICK_MODELS if settings.quick else _MODELS
    report = Report(
        name="peers",
        title="A save and a get, beside the nearest work of what one would use instead",
        labels=("product", "on", "its nearest work"),
        columns=[
            Column("its p50", "ms"),
            Column("its p99", "ms"),
            Column("ours p50", "ms"),
            Column("ours p99", "ms"),
            Column("raw p50", "ms"),
            Column("times as fast", "×", 1),
        ],
        method=(
            "Rounds of the peer's calls and of ours in turn, in one process, on databases of one server that fsyncs "
            f"at each commit, with {models} models, runs or trials on either side; the ratio is the median of the "
            "rounds' ratios of medians. A record has four measures and four settings. SQLite keeps a write-ahead log "
            "on both sides, as ours always does and theirs is told to here: without it their writes would take "
            "longer. Beside Optuna's journal stands our SQLite. Raw: what our save or get takes by the raw driver "
            "alone, on the same server: nothing there is quicker.",
            *of_mlflow.WORDS,
            *of_optuna.WORDS,
        ),
    )
    missing = [match.product for match in MATCHES if not installed(match.module)]
    if missing:
        names = " and ".join(dict.fromkeys(missing))
        report.notes.append(f"{names} would be measured beside ours: {EXTRA}")
    disk = measured(settings.stores.directory, settings.rounds(200, 50))
    report.servers.append(str(disk))
    for match in MATCHES:
        if match.backend not in settings.backends or match.product in missing:
            continue
        settings.say(f"peers: {match.product} on {match.where}")
        try:
            _measure(settings, match, models, disk, report)
        except ServerUnavailableError as error:
            report.notes.append(str(error))
        except ImportError as error:
            report.notes.append(f"{match.product} on {match.where}: {error}")
    return report


def _measure(settings: Settings, match: Match, models: int, disk: Disk, report: Report) -> None:
    records = [compact(f"model-{number}", number) for number in range(models)]
    theirs, ours = settings.stores.durable(match.backend), settings.stores.durable(match.backend)
    place = settings.stores.directory / f"{match.product}-{match.where}".replace(" ", "-")
    place.mkdir()
    if match.backend == "sqlite":
        _write_ahead(theirs)
    with contextlib.ExitStack() as exits:
        peer = match.open(theirs.url, records, place)
        exits.callback(peer.close)
        storage = exits.enter_context(ours.open())
        storage.save_progress(records[0])  # makes the tables
        storage.save_many(records)
        raw = raw_of(ours.url, storage)
        assert raw is not None  # a peer stands beside a database
        exits.callback(raw.close)
        placed = exits.enter_context(apart(ours.processes))
        report.servers.append(
            f"{peer.name} on {match.where}: beside {ours.server}; {ours.promise.settings}; {placed}"
        )
        for work in peer.works:
            row = _row(settings, (peer.name, match.where), work, storage, raw, records)
            report.rows.append(row)
            if row.missed:
                report.notes.append(f"{', '.join(row.labels)}: {_reason(row, work, disk)}")


def _row(
    settings: Settings,
    labels: tuple[str, str],
    work: Work,
    storage: AIStorage,
    raw: Raw,
    records: list[AIProgress],
) -> Row:
    names, get, save = [record.model_name for record in records], storage.get_progress, storage.save_progress
    if work.equals == "get":
        prepared = [raw.getter(name) for name in names]
    else:
        prepared = [raw.saver(record) for record in records]
    contestants: dict[str, Operation] = {
        "its": work.call,
        "ours": (lambda call: get(names[call % len(names)]))
        if work.equals == "get"
        else (lambda call: save(records[call % len(records)])),
        "raw": lambda call: prepared[call % len(prepared)](),
    }
    calls = _QUICK_CALLS if settings.quick else _CALLS
    result = contest(
        contestants,
        rounds=settings.rounds(15),
        calls={"its": min(work.calls, calls), "ours": calls, "raw": calls},
        budget=settings.budget,
    )
    figures = {
        f"{who} p{percent}": result.samples[who].percentile(percent)
        for who in contestants
        for percent in (50, 99)
        if (who, percent) != ("raw", 99)
    }
    figures["times as fast"] = result.ratio("its", "ours")
    return Row(
        labels=(*labels, f"{work.equals}: {work.does}"), figures=figures, goals={"times as fast": GOAL}
    )


def _reason(row: Row, work: Work, disk: Disk) -> str:
    """Why the goal is missed, as far as this run knows."""
    if work.quick_because:
        return work.quick_because
    its, ours, raw = (row.figures[f"{who} p50"] for who in ("its", "ours", "raw"))
    said = (
        f"the raw driver takes {raw:.3f} ms for what ours does in {ours:.3f}, "
        f"so {its / raw:.1f} × is the most to be had"
    )
    if work.equals == "save" and disk.p50 > raw / 4:
        said += f"; one fdatasync, for which both wait, takes {disk.p50:.3f} ms alone"
    return said


def _write_ahead(store: Store) -> None:
    """Make an empty SQLite database one with a write-ahead log, whoever opens it."""
    with contextlib.closing(sqlite3.connect(unquote(urlsplit(store.url).path)[1:])) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
