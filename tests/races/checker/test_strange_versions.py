"""Versions that no storage should give are judged in no time, and in bounds of memory."""

from __future__ import annotations

import pytest

from pytest_aistorage.races import History, Operation, check_linearizable

TIME = 1_770_000_000_000_000_000
"""A version that is a time in nanoseconds, as histories of others may have."""


def _op(kind, called, version, value=None, process=1, base=None):
    return Operation(process, kind, "m", called, called + 1, version=version, value=value, base=base)


@pytest.mark.parametrize(
    ("operations", "anomaly"),
    [
        ([_op("save", 0, TIME, "a")], "took effect twice"),
        ([_op("get", 0, TIME, "a")], "phantom read"),
        ([_op("save", 0, 1, "a"), _op("save", 2, TIME, "b")], "took effect twice"),
        ([_op("save", 0, 1, "a"), _op("get", 2, TIME, "x", 2)], "phantom read"),
        ([_op("save", 0, -1, "a")], "duplicate version"),
        ([_op("save", 0, 1, "a"), _op("get", 2, -1, "x", 2)], "phantom read"),
    ],
)
def test_strange_versions(operations, anomaly):
    """A gap of any width, and a version below nothing, are violations."""
    assert check_linearizable(History(operations)).violation.anomaly == anomaly


def test_a_gap_is_as_wide_in_what_is_shown():
    """What is shown is what was told, however closely it was looked at."""
    operations = [_op("save", 0, 1, "a"), _op("save", 2, TIME, "b"), _op("save", 4, TIME, "c", 2)]
    violation = check_linearizable(History(operations)).violation
    assert {one.version for one in violation.operations} <= {1, TIME}
