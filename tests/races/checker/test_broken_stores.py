"""A broken storage of every anomaly in the list is told by that anomaly's name; a sound one is never blamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import acts_on_stores as acts
import pytest
from broken_stores import (
    CachesValuesForGood,
    ChecksThenWrites,
    ConflictsWithItself,
    DeletesFromTheLeaderOnly,
    LaggingReplica,
    LosesSaves,
    NeverInvalidates,
    RetriesOnItsOwn,
    RoundsTo32Bits,
    SavesOneByOne,
    Sound,
    TakesTurnsWithReplica,
    TruncatesThenWrites,
    WritesFieldByField,
    WritesLater,
    WritesTheWholeStore,
)

from pytest_aistorage.races import Verdict, check_linearizable
from pytest_aistorage.races.checker.anomalies import ANOMALIES

BROKEN: dict[str, tuple[Callable[[], Any], Callable[[acts.Stage], None]]] = {
    "lost update": (ChecksThenWrites, acts.race_of_conditional_saves),
    "duplicate version": (ChecksThenWrites, acts.race_of_saves),
    "stale read": (LaggingReplica, acts.save_and_read),
    "non-monotonic read": (TakesTurnsWithReplica, acts.read_twice_meanwhile),
    "value came back": (CachesValuesForGood, acts.save_and_read),
    "phantom read": (RoundsTo32Bits, acts.save_and_read),
    "intermediate read": (WritesFieldByField, acts.read_during_an_update),
    "torn read": (WritesFieldByField, acts.read_during_a_save),
    "torn read, unreadable": (TruncatesThenWrites, acts.read_during_a_save),
    "resurrection": (DeletesFromTheLeaderOnly, acts.delete_and_read),
    "vanished record": (LosesSaves, acts.save_and_read),
    "spurious conflict": (ConflictsWithItself, acts.save_on_a_condition),
    "cross-key rollback": (WritesTheWholeStore, acts.race_of_two_models),
    "durability loss": (WritesLater, acts.kill_and_read),
    "took effect twice": (RetriesOnItsOwn, acts.save_whose_answer_is_lost),
    "stale cache": (NeverInvalidates, acts.save_and_read),
    "torn batch": (SavesOneByOne, acts.list_during_a_batch),
}
"""By anomaly: a store that has it, and what shows it."""


def test_there_is_a_broken_storage_of_every_anomaly():
    """None of the list is left out."""
    assert {name.partition(",")[0] for name in BROKEN} == set(ANOMALIES)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_storage_is_told_by_its_anomaly(name):
    """What its clients are told is a violation, and is called what it is."""
    store, act = BROKEN[name]
    stage = acts.Stage(store())
    act(stage)
    found = check_linearizable(stage.history())
    assert found.verdict is Verdict.VIOLATION
    assert found.violation.anomaly == name.partition(",")[0], found.violation


@pytest.mark.parametrize("act", dict.fromkeys(act for _, act in BROKEN.values()))
def test_sound_storage_is_not_blamed(act):
    """The same operations on a storage without a fault have an order that explains them."""
    stage = acts.Stage(Sound())
    act(stage)
    assert check_linearizable(stage.history()), check_linearizable(stage.history())
