"""How fast the checker is: on generated histories, and beside Porcupine where Go and its source are at hand.

``python -m benchmarks.checker [--porcupine SOURCE]``, SOURCE being a checkout of github.com/anishathalye/porcupine.
It prints clients, keys, operations, verdict, time and memory; Porcupine has one processor, as we have.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
from rich.console import Console
from rich.table import Table

from pytest_aistorage.races import History, Operation, check_linearizable

__all__ = ["generated", "main"]

_PEER = Path(__file__).parent / "porcupine" / "main.go"
_ROUNDS = 5

CASES = (
    # clients, keys, operations, versions, what is wrong
    (3, 1, 10_000, True, None),
    (10, 1, 10_000, True, None),
    (30, 10, 100_000, True, None),
    (30, 10, 100_000, True, "stale read"),
    (30, 1, 10_000, True, "lost update"),
    (3, 1, 2_000, False, None),
    (10, 10, 10_000, False, None),
    (4, 1, 400, False, "deletes"),
)
"""What checker.md states speeds for, and one of each tier."""


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


def _simulated(
    clients: int, keys: int, operations: int, versions: bool, deletes: bool, random: Random
) -> Iterator[Operation]:
    state: list[tuple[int, str | None]] = [(0, None)] * keys
    under_way: list[list[object] | None] = [None] * clients
    begun = now = 0
    while begun < operations or any(under_way):
        now += random.randint(1, 1000)
        number = random.randrange(clients)
        one = under_way[number]
        if one is None:
            if begun < operations:
                begun += 1
                under_way[number] = [now, random.randrange(keys), random.random(), None]
            continue
        called, key, draw, told = one
        assert isinstance(key, int)
        assert isinstance(called, int)
        if told is None:
            version, value = state[key]
            if draw < 0.4:  # type: ignore[operator]
                state[key] = (version + 1, f"{number}-{now}")
                one[3] = ("save", *state[key])
            elif draw < 0.5 and deletes and value is not None:  # type: ignore[operator]
                state[key] = (version + 1, None)
                one[3] = ("delete", *state[key])
            else:
                one[3] = ("get", version if value is not None else 0, value)
            continue
        kind, version, value = told  # type: ignore[misc]
        shown = version if versions or version == 0 else None
        yield Operation(number, kind, f"model-{key}", called, now, version=shown, value=value)
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


def _ours(history: History) -> tuple[str, float, float]:
    durations = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        check = check_linearizable(history)
        durations.append(time.perf_counter() - started)
    tracemalloc.start()
    check_linearizable(history)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    told = check.violation.anomaly if check.violation is not None else check.verdict.value
    return told, statistics.median(durations), memory / 1e6


def _built(source: Path, place: Path) -> Path:
    """Build the peer."""
    shutil.copy(_PEER, place)
    module = "github.com/anishathalye/porcupine"
    (place / "go.mod").write_text(
        f"module peer\n\ngo 1.16\n\nrequire {module} v0.0.0\n\nreplace {module} => {source.resolve()}\n"
    )
    subprocess.run(["go", "build", "-o", "peer", "."], cwd=place, check=True)
    return place / "peer"


def _theirs(peer: Path, history: History, place: Path) -> tuple[str, float]:
    path = place / "history.jsonl"
    history.dump(path)
    told, durations = "", []
    for _ in range(_ROUNDS):
        done = subprocess.run([peer, path], capture_output=True, text=True, check=True)
        told, seconds, _ = done.stdout.split()
        durations.append(float(seconds))
        if durations[-1] > 20:
            break
    return told, statistics.median(durations)


@click.command()
@click.option("--porcupine", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def main(porcupine: Path | None, json_file: Path | None) -> None:
    """Measure the checker, beside Porcupine if its source is given."""
    table = Table(title="check_linearizable")
    for heading in (
        "clients",
        "keys",
        "operations",
        "versions",
        "planted",
        "verdict",
        "s",
        "MB",
        "peer",
        "peer s",
        "×",
    ):
        table.add_column(heading, justify="right")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        peer = None if porcupine is None else _built(porcupine, place)
        for clients, keys, operations, versions, fault in CASES:
            history = generated(clients, keys, operations, versions=versions, fault=fault)
            told, seconds, memory = _ours(history)
            row = [
                clients,
                keys,
                len(history),
                versions,
                fault or "–",
                told,
                round(seconds, 4),
                round(memory, 1),
            ]
            if peer is not None:
                verdict, theirs = _theirs(peer, history, place)
                row += [verdict, round(theirs, 4), round(seconds / theirs, 3)]
            rows.append(row)
            table.add_row(*map(str, row))
    Console(width=130).print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
