"""Two reports, and what has changed between them."""

from __future__ import annotations

import dataclasses

import pytest
from sample_report import backend, full, report, result

from pytest_aistorage.conformance.report import Report, Status, differences, worsened


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
    newer = dataclasses.replace(report(backend(result("test_b"), name="a")), spec="1.1", effort="quick")
    assert differences(old, newer) == [
        "spec: 1.0 -> 1.1",
        "effort: normal -> quick",
        "a: test_a: passed -> not there",
        "a: test_b: not there -> passed",
    ]


def _linearizable(status: Status, *, declared: bool = True) -> Report:
    """A report of a storage whose test of that guarantee, or of its lack, came out so."""
    if declared:
        return report(full(linearizable=status))
    return report(backend(result("test_lack", status, unless="linearizable")))


@pytest.mark.parametrize(
    ("was", "now", "line"),
    [
        (Status.PASSED, Status.FAILED, "kept -> broken"),
        (Status.PASSED, Status.SKIPPED, "kept -> not shown"),
        (Status.SKIPPED, Status.FAILED, "not shown -> broken"),
        (Status.FAILED, Status.PASSED, None),
        (Status.FAILED, Status.FAILED, None),
        (Status.SKIPPED, Status.PASSED, None),
    ],
)
def test_what_is_worse(was: Status, now: Status, line: str | None) -> None:
    """What was kept and is not, and what is broken and was not."""
    found = worsened(_linearizable(was), _linearizable(now))
    assert found == ([] if line is None else [f"sample: linearizable: {line}"])


def test_what_is_not_worse() -> None:
    """A loss that was shown is no loss of a guarantee; to declare no more what was kept is."""
    found = worsened(_linearizable(Status.SKIPPED), _linearizable(Status.PASSED, declared=False))
    assert "sample: versions-never-reused: kept -> not declared" in found
    assert not any("linearizable" in line for line in found)
    before, now = (_linearizable(status, declared=False) for status in (Status.INCONCLUSIVE, Status.PASSED))
    assert differences(before, now)
    assert worsened(before, now) == []
    assert worsened(report(backend(name="other")), now) == []
