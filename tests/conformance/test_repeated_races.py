"""Races of many clients in which none met another show nothing, and are run again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_aistorage import Capability, MemoryStorage
from pytest_aistorage.conformance.contract import Clients, stress

COUNT = stress.StressContract().test_racing_updates_are_all_counted


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of races; the third is the first in which operations overlap."""
    models: list[str] = []

    def checked(clients: Clients, workload: stress.Counter) -> SimpleNamespace:
        models.append(workload.prefix)
        return SimpleNamespace(overlapping=len(models) // 3, balance="all kept")

    monkeypatch.setattr(stress, "_checked", checked)
    return models


def test_race_is_run_until_operations_overlap(raced: list[str]) -> None:
    """On a model of its own each time."""
    with Clients(lambda: MemoryStorage("again"), frozenset({Capability.LINEARIZABLE})) as clients:
        COUNT(clients)
    assert len(set(raced)) == len(raced) == 3


def test_race_without_overlap_is_inconclusive(raced: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """After some races nobody has raced."""
    monkeypatch.setattr(stress, "_RACES", 2)
    with (
        Clients(lambda: MemoryStorage("never"), frozenset({Capability.LINEARIZABLE})) as clients,
        pytest.raises(pytest.skip.Exception, match="inconclusive: no two operations overlapped in 2 races"),
    ):
        COUNT(clients)
