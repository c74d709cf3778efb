"""A broken storage of every anomaly in the list is told by that anomaly's name; a sound one is never blamed."""

from __future__ import annotations

import pytest
from broken_stores import BROKEN, Sound, Stage

from pytest_aistorage.races import Verdict, check_linearizable
from pytest_aistorage.races.checker.anomalies import ANOMALIES


def test_there_is_a_broken_storage_of_every_anomaly():
    """None of the list is left out."""
    assert {name.partition(",")[0] for name in BROKEN} == set(ANOMALIES)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_storage_is_told_by_its_anomaly(name):
    """What its clients are told is a violation, and is called what it is."""
    store, act = BROKEN[name]
    stage = Stage(store())
    act(stage)
    found = check_linearizable(stage.history())
    assert found.verdict is Verdict.VIOLATION
    assert found.violation.anomaly == name.partition(",")[0], found.violation


@pytest.mark.parametrize("act", dict.fromkeys(act for _, act in BROKEN.values()))
def test_sound_storage_is_not_blamed(act):
    """The same operations on a storage without a fault have an order that explains them."""
    stage = Stage(Sound())
    act(stage)
    assert check_linearizable(stage.history()), check_linearizable(stage.history())
