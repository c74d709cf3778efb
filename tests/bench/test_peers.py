"""A peer beside ours: the ratio, and the reason where it is too small. The peers' own tests are in ``peers/``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_aistorage import AIProgress
from pytest_aistorage.bench.peers import measuring
from pytest_aistorage.bench.peers.peer import Work
from pytest_aistorage.bench.settings import Settings


class FakePeer:
    """A dictionary, which no database can beat."""

    name = "Dictionary 1.0"

    def __init__(self, url: str, records: Sequence[AIProgress], directory: Path) -> None:
        assert directory.is_dir()
        self.kept = {record.model_name: record for record in records}
        self.closed = False
        names = list(self.kept)
        self.works = (
            Work(equals="save", does="put", call=lambda call: self.kept.update(x=records[0])),
            Work(
                equals="get",
                does="look up",
                call=lambda call: names[call % 2],
                quick_because="it is no database",
            ),
        )

    def close(self) -> None:
        """Note it."""
        self.closed = True


def test_a_peer_that_is_quicker(monkeypatch: pytest.MonkeyPatch, quick: Settings) -> None:
    """Both goals are missed, and told with a reason: what the raw driver takes, or what spares the peer its work."""
    opened: list[FakePeer] = []

    def opening(url: str, records: Sequence[AIProgress], directory: Path) -> FakePeer:
        opened.append(FakePeer(url, records, directory))
        return opened[0]

    match = measuring.Match(
        product="Dictionary", module="json", backend="sqlite", where="memory", open=opening
    )
    monkeypatch.setattr(measuring, "MATCHES", (match, dataclasses.replace(match, backend="postgres")))
    report = measuring.run(dataclasses.replace(quick, backends=("sqlite",)))
    assert [row.labels for row in report.rows] == [
        ("Dictionary 1.0", "memory", "save: put"),
        ("Dictionary 1.0", "memory", "get: look up"),
    ]
    for row in report.rows:
        assert set(row.figures) == {column.name for column in report.columns}
        assert row.figures["times as fast"] < 1
        assert row.missed == ["times as fast"]
    save, get = report.notes
    assert "Dictionary 1.0, memory, save: put: the raw driver takes" in save
    assert get.endswith("get: look up: it is no database")
    assert opened[0].closed


def test_without_peers_one_line_says_what_would_bring_them(
    monkeypatch: pytest.MonkeyPatch, quick: Settings
) -> None:
    """And nothing is imported, nothing measured."""
    monkeypatch.setattr(measuring, "installed", lambda module: False)
    report = measuring.run(quick)
    assert report.rows == []
    (line,) = report.notes
    assert line == "MLflow and Optuna would be measured beside ours: pip install 'pytest-aistorage[bench]'"
