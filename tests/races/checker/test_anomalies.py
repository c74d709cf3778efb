"""Each anomaly is told by its name, on the least history that shows it."""

from __future__ import annotations

import pytest

from pytest_aistorage.races import Fault, History, Operation, Part, Verdict, check_linearizable
from pytest_aistorage.races.checker.anomalies import ANOMALIES

FIRST = Operation(1, "save", "m", 0, 1, version=1, value="old")
"""What everything starts from."""

_OLD, _NEW, _HALF = {"x": 1, "y": 1}, {"x": 2, "y": 2}, {"x": 2, "y": 1}


def _save(process, called, returned, version, value, model="m", base=None):
    return Operation(process, "save", model, called, returned, version=version, value=value, base=base)


def _get(process, called, returned, version, value=None, model="m", source=None):
    return Operation(process, "get", model, called, returned, version=version, value=value, source=source)


LEAST = {
    "lost update": [FIRST, _save(2, 2, 5, 2, "a", base=1), _save(3, 3, 6, 2, "b", base=1)],
    "duplicate version": [FIRST, _save(2, 2, 5, 2, "a"), _save(3, 3, 6, 2, "b")],
    "stale read": [FIRST, _save(2, 2, 3, 2, "new"), _get(3, 4, 5, 1, "old")],
    "non-monotonic read": [
        FIRST,
        _save(2, 2, 20, 2, "new"),
        _get(3, 4, 5, 2, "new"),
        _get(3, 6, 7, 1, "old"),
    ],
    "value came back": [FIRST, _save(2, 2, 3, 2, "new"), _get(3, 4, 5, 2, "old")],
    "phantom read": [FIRST, _get(3, 4, 5, 1, "nobody's")],
    "intermediate read": [
        _save(1, 0, 1, 1, _OLD),
        Operation(2, "update", "m", 2, 9, version=2, base=1, value=_NEW),
        _get(3, 4, 5, 1, _HALF),
    ],
    "torn read": [_save(1, 0, 1, 1, _OLD), _save(2, 2, 9, 2, _NEW), _get(3, 4, 5, 1, _HALF)],
    "resurrection": [
        FIRST,
        Operation(2, "delete", "m", 2, 3, version=2),
        _get(3, 4, 5, 1, "old"),
    ],
    "vanished record": [FIRST, _get(3, 4, 5, 0)],
    "spurious conflict": [FIRST, Operation(2, "save", "m", 2, 3, "failed", base=1, actual=1, value="new")],
    "cross-key rollback": [
        FIRST,
        _save(2, 2, 9, 1, "other", model="n"),
        _save(3, 3, 4, 2, "new"),
        _get(1, 10, 11, 1, "old"),
    ],
    "durability loss": [FIRST, _save(2, 2, 3, 2, "new"), _get(3, 10, 11, 1, "old")],
    "took effect twice": [
        FIRST,
        Operation(2, "save", "m", 2, 3, "unknown", value="new"),
        _get(3, 4, 5, 3, "new"),
    ],
    "stale cache": [FIRST, _save(2, 2, 3, 2, "new"), _get(3, 4, 5, 1, "old", source="cache")],
    "torn batch": [
        Operation(1, "save_many", "", 0, 9, parts=(Part("m", 1, "a"), Part("n", 1, "a"))),
        Operation(2, "load", "", 3, 4, parts=(Part("m", 1, "a"),)),
    ],
}

FAULTS = {"durability loss": [Fault("kill", 6)]}


@pytest.mark.parametrize("name", ANOMALIES)
def test_anomaly_is_told_by_its_name(name):
    """The least history of each anomaly in the list has its name and no other."""
    found = check_linearizable(History(LEAST[name], FAULTS.get(name, ())))
    assert found.verdict is Verdict.VIOLATION
    assert not found
    assert found.violation.anomaly == name, found.violation


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        (
            "stale read",
            [
                Operation(1, "save", "m", 0, 1, value="old"),
                Operation(2, "save", "m", 2, 3, value="new"),
                Operation(3, "get", "m", 4, 5, value="old"),
            ],
        ),
        (
            "lost update",
            [
                Operation(1, "save", "m", 0, 1, value="old"),
                Operation(2, "update", "m", 2, 5, value="a", consumed="old"),
                Operation(3, "update", "m", 3, 6, value="b", consumed="old"),
            ],
        ),
        (
            "resurrection",
            [
                Operation(1, "save", "m", 0, 1, value="old"),
                Operation(2, "delete", "m", 2, 3),
                Operation(3, "get", "m", 4, 5, value="old"),
            ],
        ),
        (
            "vanished record",
            [Operation(1, "save", "m", 0, 1, value="old"), Operation(3, "get", "m", 4, 5, version=0)],
        ),
    ],
)
def test_anomaly_without_versions(name, operations):
    """A storage that has no versions is told by the values."""
    found = check_linearizable(History(operations))
    assert found.violation is not None
    assert found.violation.anomaly == name


@pytest.mark.parametrize("tier", ["tags", "search"])
@pytest.mark.parametrize(
    ("written", "read"), [(1, "1"), ("1", 1), (1, 1.0), (1, True), ("[]", []), ([1], ["1"])]
)
def test_value_of_another_type_is_another_value(written, read, tier):
    """What was read is what nobody wrote, though it looks the same as text or compares equal in Python."""
    operations = [Operation(1, "save", "m", 0, 1, value=written), Operation(2, "get", "m", 2, 3, value=read)]
    if tier == "search":
        operations.append(Operation(1, "delete", "m", 4, 5))
    found = check_linearizable(History(operations))
    assert found.tiers[tier] == 1
    assert found.verdict is Verdict.VIOLATION


def test_unreadable_is_torn_or_lost():
    """A read that met what can't be read is a torn read; after a kill, a loss of durability."""
    unreadable = Operation(3, "get", "m", 4, 5, "failed", error="CorruptStorageError")
    found = [check_linearizable(History([FIRST, unreadable], faults)) for faults in ((), [Fault("kill", 3)])]
    assert [check.violation.anomaly for check in found] == ["torn read", "durability loss"]


def test_budget_that_runs_out_is_no_pass():
    """Without steps, what only a search can tell is unknown, and unknown is not true."""
    operations = [Operation(n, "delete", "m", 0, 9) for n in range(3)] + [_save(4, 0, 9, None, "a")]
    assert check_linearizable(History(operations)).verdict is Verdict.LINEARIZABLE
    found = check_linearizable(History(operations), steps=0)
    assert (found.verdict, found.undecided, bool(found)) == (Verdict.UNKNOWN, ["m"], False)


def test_listing_need_not_be_one_moment():
    """Where a storage does not declare that listings are snapshots, and batches atomic, parts are no violation."""
    history = History(LEAST["torn batch"])
    assert check_linearizable(history, snapshot_listing=False, atomic_batch=False)
    assert not check_linearizable(history, atomic_batch=True)
