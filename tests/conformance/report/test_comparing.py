"""Two reports, and what has changed between them."""

from __future__ import annotations

import dataclasses

from sample_report import backend, full, report, result

from pytest_aistorage.conformance.report import Status, differences


def test_same_reports_differ_in_nothing() -> None:
    """Times and messages are not compared."""
    slower = [dataclasses.replace(test, seconds=9.0, message="other") for test in full().tests]
    other = dataclasses.replace(full(), tests=tuple(slower))
    assert differences(report(full()), report(other)) == []


def test_regression_is_told() -> None:
    """The verdict, the level, the guarantee, and the test."""
    assert differences(report(full()), report(full(linearizable=Status.FAILED))) == [
        "sample: verdict: passed -> failed",
        "sample: level: 4 (complete) -> 1 (core)",
        "sample: linearizable: kept -> broken",
        "sample: test_linearizable: passed -> failed",
    ]


def test_backends_come_and_go() -> None:
    """So do tests, of another specification."""
    old, new = report(backend(result("test_a"), name="a")), report(backend(result("test_b"), name="b"))
    assert differences(old, new) == ["a: no longer there", "b: new: passed, level 1 (core)"]
    newer = dataclasses.replace(report(backend(result("test_b"), name="a")), spec="1.1")
    assert differences(old, newer) == [
        "spec: 1.0 -> 1.1",
        "a: test_a: passed -> not there",
        "a: test_b: not there -> passed",
    ]
