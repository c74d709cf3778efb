"""Every pair of operations of two clients, in all schedules, on every backend that must not lose anything."""

from __future__ import annotations

import pairs
import pytest
from race_machine import KEEPING

from pytest_aistorage.races import Bound, explore

BACKENDS = (*KEEPING, "redis@valkey")
READING = (pairs.get, pairs.load, pairs.query, pairs.iterate)
WRITING = tuple(one for one in pairs.ON_WHAT_IS_THERE if one not in READING)


def seconds_of(first, operations):
    """The operations that come after one, and itself: each pair once, since both orders are explored."""
    return operations[operations.index(first) :]


@pytest.mark.parametrize("first", WRITING, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", BACKENDS)
def test_a_pair_on_models_that_are_there(pool, subject_of, name, first):
    """No violation in all schedules of a write beside each other operation, on two models that are there."""
    subject = subject_of(name)
    for second in seconds_of(first, (*WRITING, *READING)):
        found = explored(subject, pool, (first, second), there=True)
        assert found.schedules > 1
        assert found.bound.preemptions is None
        assert found.complete


@pytest.mark.parametrize("first", pairs.ON_NOTHING, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", BACKENDS)
def test_a_pair_on_models_that_are_not_there(pool, subject_of, name, first):
    """No violation in all schedules of two writes, where nothing was saved before."""
    subject = subject_of(name)
    for second in seconds_of(first, pairs.ON_NOTHING):
        assert explored(subject, pool, (first, second), there=False).complete


@pytest.mark.parametrize("name", BACKENDS)
def test_three_operations(pool, subject_of, name):
    """No violation in the schedules of three clients with one preemption: writes beside a delete, and batches."""
    subject = subject_of(name)
    for three in (
        (pairs.save_if, pairs.delete, pairs.update),
        (pairs.save_many, pairs.save_many, pairs.load),
    ):
        found = explored(subject, pool, three, there=True, bound=Bound(preemptions=1))
        assert found.schedules > 6
        assert found.complete


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "memory"])
def test_a_client_is_killed_beside_another(pool, subject_of, name):
    """No violation in all schedules of two clients of which one is killed at one of its seams."""
    found = explored(subject_of(name), pool, (pairs.update, pairs.update), there=True, kills=True)
    assert found.killing > 6
    assert found.complete


def explored(subject, pool, operations, *, there, bound=None, kills=False):
    """Explore, and fail with what is wrong."""
    stage = pairs.Stage(subject, operations, there=there)
    found = explore(stage.scenario, stage.judge, pool, bound=bound, kills=kills)
    assert found, found.text()
    if len(operations) == 2:  # which of two that wait for SQLite's lock gets it is left to chance
        assert found.astray == 0
    return found
