"""The benchmarks run and say what they should; how fast anything is, is no matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not here: run this in a checkout"
)


def measured(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run one benchmark as a command; return what became of it, and its report."""
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments, "--json", str(found)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.is_file(), done.stderr
    (report,) = json.loads(found.read_text("utf-8"))["reports"]
    return done, report


def test_operations_of_the_backends_without_a_server(tmp_path: Path) -> None:
    """The table and the JSON have a row for each backend, operation and record, with figures in milliseconds."""
    done, report = measured(tmp_path, "operations", "--quick", "--backend", "sqlite", "--backend", "memory")
    assert done.returncode == 0, done.stderr
    for heading in ("backend", "operation", "record", "storage", "raw", "(ms)", "ratio", "(×)"):
        assert heading in done.stdout
    rows = {tuple(row["labels"]): row["figures"] for row in report["rows"]}
    assert set(rows) == {
        (backend, operation, record)
        for backend in ("sqlite", "memory")
        for operation in ("get", "save")
        for record in ("small", "realistic")
    }
    for (backend, *_), figures in rows.items():
        assert set(figures) == ({"storage", "raw", "ratio"} if backend == "sqlite" else {"storage"})
        assert all(figure > 0 for figure in figures.values())
    assert any("synchronous=FULL" in line for line in report["servers"])


def test_awaited_and_not(tmp_path: Path) -> None:
    """A row for each backend and operation, one by one and 32 at once; the exit status is that of the goals."""
    done, report = measured(tmp_path, "async", "--quick", "--backend", "memory")
    assert done.returncode == bool(report["missed"]), done.stderr
    assert [row["labels"] for row in report["rows"]] == [
        ["memory", operation] for operation in ("get", "save", "update", "load 32")
    ]
    columns = {column["name"] for column in report["columns"]}
    for row in report["rows"]:
        assert set(row["figures"]) == columns
        assert set(row["goals"]) == {"ratio", "32: ratio"}
        assert row["figures"]["32 at once"] > row["figures"]["async"]


def test_a_migration_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """How long each part of it takes, and how much memory: less than this one's limit, whatever the machine does."""
    done, report = measured(tmp_path, "migration", "--quick", "--backend", "sqlite", "--backend", "memory")
    assert done.returncode == 0, done.stderr
    (row,) = report["rows"]  # what is in memory is gone with that process
    assert row["labels"] == ["sqlite"]
    figures = row["figures"]
    assert figures["records"] == 5000
    assert 0 < figures["rate"] < figures["of writing"]
    assert 10 < figures["memory"] < 200


def test_checker_finds_what_was_planted(tmp_path: Path) -> None:
    """A row for each history, with its verdict, time and memory; the peer stands for what could not be measured."""
    done, report = measured(tmp_path, "checker", "--quick")
    assert done.returncode == 0, done.stderr
    for heading in (*report["labels"], "time", "(s)", "memory", "(MB)"):
        assert heading in done.stdout
    planted, verdict = report["labels"].index("planted"), report["labels"].index("verdict")
    told = [(row["labels"][planted], row["labels"][verdict]) for row in report["rows"]]
    faults = ("stale read", "lost update")
    assert all(said == (fault if fault in faults else "linearizable") for fault, said in told)
    assert {fault for fault, _ in told} == {"–", "deletes", *faults}
    assert all(set(row["figures"]) == {"time", "memory"} for row in report["rows"])
    assert "--porcupine" in report["notes"][0]


def test_scale_counts_what_the_servers_count(tmp_path: Path) -> None:
    """A database alone has a transaction for each operation; the nodes of a cluster share the commands."""
    done, report = measured(tmp_path, "scale", "--quick")
    assert done.returncode == 0, done.stderr
    rows = {row["labels"][0]: row["figures"] for row in report["rows"]}
    assert list(rows) == ["database", "hybrid", "hybrid with a Redis Cluster", "Redis Cluster alone"]
    assert all(row["operations"] > 0 and row["read p50"] > 0 for row in rows.values())
    # What its clients do before they begin is counted as well.
    assert rows["database"]["database"] >= rows["database"]["operations"]
    assert rows["hybrid"]["database"] > 0
    assert rows["hybrid"]["busiest Redis"] == 100
    assert 33 <= rows["Redis Cluster alone"]["busiest Redis"] < 100
    assert "database" not in rows["Redis Cluster alone"]


def test_a_missed_goal_is_said_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is that of the goals, and the line names row, figure and goal."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.__main__ import main
    from pytest_aistorage.bench import operations
    from pytest_aistorage.bench.figures import Goal

    monkeypatch.setitem(operations.GOALS, "sqlite", Goal(0.0, "nothing is that quick"))
    with pytest.raises(SystemExit) as ended:
        main(["operations", "--quick", "--backend", "sqlite"], standalone_mode=False)
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "missed operations: sqlite, get, small: ratio" in said
    assert "goal ≤ 0 ×" in said
