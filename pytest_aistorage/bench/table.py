"""The guide's performance table, measured: how long a write and a read take, and what is proven of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ServerUnavailableError
from ..races.durability import Setting
from ..races.victims import Harm
from .disk import Disk, measured
from .figures import Column, Goal, Report, Row, Shown
from .proving import Prover, gone_with_process
from .records import realistic
from .rounds import contest
from .settings import Settings
from .stores import Store

__all__ = ["CONCURRENT", "GUIDE", "PERSISTENT", "run"]

_WHY = "the guide's performance table"
GUIDE: Mapping[str, tuple[float, float]] = {
    "file": (10.0, 5.0),
    "memory": (0.1, 0.1),
    "database": (2.0, 1.0),
    "redis": (0.3, 0.2),
    "hybrid": (0.3, 0.2),
}
"""Milliseconds of a write and of a read, by storage type."""

CONCURRENT, PERSISTENT = "concurrent-safe", "persistent"
"""The columns of what is proven."""

_MODELS = 100
_BOTH: frozenset[Harm] = frozenset({"kill", "power"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A row of the table.

    Attributes:
        kind: the guide's storage type.
        backend: what it is measured on.
        variant: what tells it from other rows of the backend.
        settings: of the server.
        options: of the storage.
        keeps: by what nothing may be lost of what was acknowledged.
        goals: the operations that the guide's figures are a goal for.
    """

    kind: str
    backend: str
    variant: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    keeps: frozenset[Harm] = _BOTH
    goals: tuple[str, ...] = ("write", "read")

    @property
    def name(self) -> str:
        return f"{self.backend}, {self.variant}" if self.variant else self.backend


_NONE: frozenset[Harm] = frozenset()
_BEHIND = "in the cache's memory, later in the database"
_CASES = (
    # It reads and writes all models each time, and is shown as what it is.
    _Case(kind="file", backend="file", keeps=_NONE, goals=()),
    _Case(kind="memory", backend="memory", keeps=_NONE),
    _Case(kind="database", backend="sqlite"),
    _Case(kind="database", backend="postgres"),
    _Case(kind="database", backend="mysql"),
    _Case(kind="redis", backend="redis", variant="appendfsync always"),
    _Case(
        kind="redis",
        backend="redis",
        variant="appendfsync everysec",
        settings={"appendfsync": "everysec"},
        keeps=_NONE,
    ),
    _Case(
        kind="redis",
        backend="redis",
        variant="appendonly no",
        settings={"appendonly": "no"},
        keeps=_NONE,
    ),
    # Its write is its database's, which the guide gives 2 ms: the 0.3 ms are those of a write-behind.
    _Case(kind="hybrid", backend="hybrid", variant="write-through", goals=("read",)),
    _Case(
        kind="hybrid",
        backend="hybrid",
        variant="write-behind",
        options={"write_policy": "write-behind"},
        keeps=_NONE,
    ),
)


def run(settings: Settings) -> Report:
    """Measure every row that a backend is there for, and prove what its other columns say."""
    report = Report(
        name="table",
        title=f"The guide's performance table, measured with {_MODELS} models",
        labels=("storage", "backend", "durability"),
        columns=[
            Column("write p50", "ms"),
            Column("write p99", "ms"),
            Column("guide's write", "ms", 1, below="write p50", short="guide"),
            Column("read p50", "ms"),
            Column("read p99", "ms"),
            Column("guide's read", "ms", 1, below="read p50", short="guide"),
            Column(CONCURRENT, ""),
            Column(PERSISTENT, ""),
        ],
        method=(
            "One client, one call after the other, each a realistic record of a model chosen in turn; p50 and "
            "p99 of all calls of all rounds. The goal is the guide's figure, for the p50. The file is shown as "
            "what it is: it reads and writes all models each time, and has no goal. Nor has the hybrid's "
            "write-through, which is acknowledged by its database: the guide's 0.3 ms can only be a write-behind.",
            "Servers are private ones with durable settings, unless the row says otherwise, and keep their data "
            "on a disk.",
            "Concurrent-safe: all schedules of two clients, and a race of several, on each backend. Persistent: what "
            "of the acknowledged saves of four clients is left after SIGKILL of the server (of the clients, where "
            "there is none), and after a loss of power, with the settings of the row; of a write-behind, after "
            "SIGKILL of its cache, which has no append-only file.",
        ),
    )
    disk = measured(settings.stores.directory, settings.rounds(500, 50))
    report.servers.append(str(disk))
    with Prover(settings) as prover:
        for case in _CASES:
            if case.backend not in settings.backends:
                continue
            try:
                _measure(settings, case, prover, disk, report)
            except ServerUnavailableError as error:
                report.notes.append(str(error))
    return report


def _accepted(case: _Case) -> bool:
    """Whether the hybrid, whose server is there, knows the options of a row."""
    if not case.options:
        return True
    from ..backends.hybrid import HybridStorage  # imports a driver, which need not be installed

    return set(case.options) <= set(HybridStorage.url_options)


def _measure(settings: Settings, case: _Case, prover: Prover, disk: Disk, report: Report) -> None:
    settings.say(f"table: {case.name}")
    store = settings.stores.durable(case.backend, case.settings)
    if not _accepted(case):
        return
    store = store.having(**case.options)
    figures = _figures(settings, case, store)
    goals = {
        f"{operation} p50": Goal(guide, _WHY)
        for operation, guide in zip(("write", "read"), GUIDE[case.kind], strict=True)
        if operation in case.goals
    }
    settings.say(f"table: {case.name}: races")
    raced = f"{case.backend} {case.options}" if case.options else case.backend
    empty = settings.stores.volatile
    shown = {CONCURRENT: prover.concurrent(raced, lambda: empty(case.backend).having(**case.options))}
    settings.say(f"table: {case.name}: crashes")
    shown[PERSISTENT] = _persistent(settings, case, prover)
    promised = _BEHIND if case.options else store.promise.words
    labels = case.kind, case.variant or case.backend, promised
    report.rows.append(row := Row(labels=labels, figures=figures, goals=goals, shown=shown))
    if "write p50" in row.missed and "fsync at each" in promised:
        report.notes.append(
            f"{case.name}: each write waits for the disk, where a bare fdatasync takes {disk.p50:.3f} ms"
        )
    line = f"{case.backend}: {store.server}"
    if store.server != "none" and line not in report.servers:
        report.servers.append(line)
    report.servers.append(f"{case.name}: {store.promise.settings}")


def _figures(settings: Settings, case: _Case, store: Store) -> dict[str, float]:
    names = [f"model-{number}" for number in range(_MODELS)]
    records = [realistic(name, number) for number, name in enumerate(names)]
    few = settings.quick or case.kind == "file"
    with store.open() as storage:
        storage.save_progress(records[0])  # makes the tables
        storage.save_many(records)
        result = contest(
            {
                "write": lambda call: storage.save_progress(records[call % _MODELS]),
                "read": lambda call: storage.get_progress(names[call % _MODELS]),
            },
            rounds=settings.rounds(11),
            # A hybrid reads a model from its database first after each write of it: that is no median.
            calls={"write": 50 if few else 500, "read": 50 if case.kind == "file" else 500},
            budget=settings.budget,
        )
    figures: dict[str, float] = {}
    for operation, guide in zip(("write", "read"), GUIDE[case.kind], strict=True):
        samples = result.samples[operation]
        figures[f"{operation} p50"] = samples.percentile(50)
        figures[f"{operation} p99"] = samples.percentile(99)
        figures[f"guide's {operation}"] = guide
    return figures


def _persistent(settings: Settings, case: _Case, prover: Prover) -> Shown:
    if case.backend == "memory":
        return gone_with_process("persistence")
    if case.options:
        # Its cache holds what it has acknowledged, until the database has it as well.
        return prover.behind(settings.stores.volatile("postgres").url, case.options)
    storage, backend = {}, case.backend
    if backend == "hybrid":
        # What is crashed is what has to keep the records.
        backend, storage["cache"] = "postgres", settings.stores.volatile("redis").url
    return prover.persistent(
        Setting(
            backend=backend,
            name=case.variant,
            settings=case.settings,
            storage=storage,
            keeps=case.keeps,
            writers=1 if case.kind == "file" else None,
        )
    )
