"""How long the checker takes for generated histories, and beside Porcupine where Go and its source are at hand."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pytest_aistorage.bench.figures import Column, Goal, Report, Row
from pytest_aistorage.races import History, Operation, check_linearizable

from .settings import DevelopersSettings

__all__ = ["CASES", "SECONDS", "Case", "generated", "run"]

_PEER = Path(__file__).parent / "porcupine" / "main.go"
_MODULE = "github.com/anishathalye/porcupine"
_MOST = 100_000  # operations, for which the time has a goal
_PATIENCE = 20.0
"""Seconds; where the peer takes longer, it is not asked again."""

SECONDS = Goal(0.3, "100 000 operations are judged before anybody wonders what takes so long")
"""For the time of the largest history."""

FEW = Goal(1.0, "versions force the order, so with up to 3 clients a key nothing that a search does is saved")
MANY = Goal(0.1, "at 10 clients a key and more a search tries orders, and versions still force one")
SEARCHED = Goal(5.0, "where there are neither versions nor zones it is Python against Go, at the same search")
"""For the time as a multiple of Porcupine's, by what decides."""


@dataclass(frozen=True, slots=True)
class Case:
    """A history to be generated.

    Attributes:
        clients: that have one operation under way each.
        keys: models.
        operations: how many.
        versions: whether the store tells versions; otherwise what was written tells reads apart.
        fault: ``stale read`` or ``lost update``, planted; ``deletes``: deletes among the operations, which leaves
            a history without versions to the search; None: none.
        goal: for the time as a multiple of Porcupine's.
    """

    clients: int
    keys: int
    operations: int
    versions: bool = True
    fault: str | None = None
    goal: Goal | None = None


CASES = (
    Case(3, 1, 10_000, goal=FEW),
    Case(10, 1, 10_000, goal=MANY),
    Case(30, 10, 100_000, goal=FEW),
    Case(30, 10, 100_000, fault="stale read", goal=FEW),
    Case(30, 1, 10_000, fault="lost update", goal=MANY),
    Case(3, 1, 2_000, versions=False),
    Case(10, 10, 10_000, versions=False),
    Case(4, 1, 400, versions=False, fault="deletes", goal=SEARCHED),
)
"""One of each tier, with few and with many clients a key."""


def run(settings: DevelopersSettings) -> Report:
    """Measure the checker, beside Porcupine if its source is given."""
    report = Report(
        name="checker",
        title="check_linearizable on generated histories",
        labels=("clients", "keys", "operations", "known by", "planted", "verdict", "peer"),
        columns=[
            Column("time", "s", 4),
            Column("memory", "MB", 1),
            Column("peer", "s", 4),
            Column("ratio", "×", 3),
        ],
        method=(
            "Clients of a store that takes one operation after the other, simulated with a fixed seed; what is "
            "planted lies near the end. A write is known by its version, or by its value alone. Time and ratio: "
            "the medians of rounds of the one and the other in turn. Memory: the most that the checker held at once "
            "beside the history, measured in a round of its own. The peer is Porcupine, with one processor, as we "
            "have, and a Hash of the state; its checking alone is timed.",
        ),
    )
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        peer = None
        if settings.porcupine is None:
            report.notes.append(
                f"the peer, Porcupine: it takes Go, and --porcupine with a checkout of {_MODULE}"
            )
        else:
            peer = _built(settings.porcupine, place)
        for number, case in enumerate(CASES, 1):
            settings.say(f"checker: history {number} of {len(CASES)}")
            report.rows.append(_measured(settings, case, peer, place))
    return report


def _measured(settings: DevelopersSettings, case: Case, peer: Path | None, place: Path) -> Row:
    operations = case.operations // 10 if settings.quick else case.operations
    history = generated(case.clients, case.keys, operations, versions=case.versions, fault=case.fault)
    path = place / "history.jsonl"
    if peer is not None:
        history.dump(path)
    ours: list[float] = []
    theirs: list[float] = []
    verdict, told = "", "–"
    for _ in range(settings.rounds(5 if operations == _MOST else 15, 1)):
        verdict, seconds = _checked(history)
        ours.append(seconds)
        if peer is not None and max(theirs, default=0.0) <= _PATIENCE:
            told, seconds = _asked(peer, path)
            theirs.append(seconds)
    figures, goals = {"time": statistics.median(ours), "memory": _memory(history)}, {}
    if operations == _MOST:
        goals["time"] = SECONDS
    if theirs:
        figures["peer"] = statistics.median(theirs)
        figures["ratio"] = statistics.median(one / other for one, other in zip(ours, theirs, strict=False))
        if case.goal is not None:
            goals["ratio"] = case.goal
    numbers = (case.clients, case.keys, len(history))
    known_by = "versions" if case.versions else "values"
    return Row(
        labels=(*map(str, numbers), known_by, case.fault or "–", verdict, told), figures=figures, goals=goals
    )


def generated(
    clients: int, keys: int, operations: int, *, versions: bool, fault: str | None, seed: int = 0
) -> History:
    """Simulate clients of a linearizable store, and plant a fault near the end.

    Args:
        clients: that have one operation under way each.
        keys: models.
        operations: how many there will be.
        versions: whether the store tells versions; otherwise what was written tells reads apart.
        fault: ``stale read`` or ``lost update``, planted; ``deletes``: deletes among the operations, which leaves
            a history without versions to the search; None: none.
        seed: of all that is random.
    """
    random = Random(f"{seed}/{clients}/{keys}/{operations}/{fault}")
    found = list(_simulated(clients, keys, operations, versions, fault == "deletes", random))
    if fault in ("stale read", "lost update"):
        _spoil(found, fault)
    return History(found)


@dataclass(slots=True)
class _UnderWay:
    """An operation that a client has called."""

    called: int
    key: int
    draw: float
    told: tuple[str, int, str | None] | None = None


def _simulated(
    clients: int, keys: int, operations: int, versions: bool, deletes: bool, random: Random
) -> Iterator[Operation]:
    state: list[tuple[int, str | None]] = [(0, None)] * keys
    under_way: list[_UnderWay | None] = [None] * clients
    begun = now = 0
    while begun < operations or any(under_way):
        now += random.randint(1, 1000)
        number = random.randrange(clients)
        one = under_way[number]
        if one is None:
            if begun < operations:
                begun += 1
                under_way[number] = _UnderWay(now, random.randrange(keys), random.random())
        elif one.told is None:
            version, value = state[one.key]
            if one.draw < 0.4:
                state[one.key] = version + 1, f"{number}-{now}"
                one.told = ("save", *state[one.key])
            elif one.draw < 0.5 and deletes and value is not None:
                state[one.key] = version + 1, None
                one.told = ("delete", *state[one.key])
            else:
                one.told = ("get", version if value is not None else 0, value)
        else:
            kind, version, value = one.told
            shown = version if versions or version == 0 else None
            yield Operation(number, kind, f"model-{one.key}", one.called, now, version=shown, value=value)
            under_way[number] = None


def _spoil(operations: list[Operation], fault: str) -> None:
    """Let one of the last reads see a version that was replaced long before; or two saves take one version."""
    name = operations[-1].model_name
    writes = [one for one in operations if one.model_name == name and one.kind == "save"]
    early, late = writes[len(writes) // 2], writes[-1]
    end = max(one.returned or 0 for one in operations)
    if fault == "stale read":
        operations.append(
            Operation(99, "get", name, end + 1, end + 2, version=early.version, value=early.value)
        )
    else:
        base = (late.version or 1) - 1
        operations.append(
            Operation(
                99,
                "save",
                name,
                late.called,
                (late.returned or 0) + 1,
                version=late.version,
                base=base,
                value="lost",
            )
        )


def _checked(history: History) -> tuple[str, float]:
    """The verdict, or the anomaly's name, and seconds."""
    started = time.perf_counter()
    check = check_linearizable(history)
    seconds = time.perf_counter() - started
    return check.verdict.value if check.violation is None else check.violation.anomaly, seconds


def _memory(history: History) -> float:
    """The most that a check holds at once, in megabytes."""
    tracemalloc.start()
    check_linearizable(history)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def _built(source: Path, place: Path) -> Path:
    """Build the peer."""
    shutil.copy(_PEER, place)
    (place / "go.mod").write_text(
        f"module peer\n\ngo 1.16\n\nrequire {_MODULE} v0.0.0\n\nreplace {_MODULE} => {source.resolve()}\n"
    )
    subprocess.run(["go", "build", "-o", "peer", "."], cwd=place, check=True)
    return place / "peer"


def _asked(peer: Path, path: Path) -> tuple[str, float]:
    """The peer's verdict, and seconds."""
    done = subprocess.run([peer, path], capture_output=True, text=True, check=True)
    told, seconds, _ = done.stdout.split()
    return told.lower(), float(seconds)
