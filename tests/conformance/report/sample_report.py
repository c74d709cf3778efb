"""Reports made by hand, small enough to be read."""

from __future__ import annotations

from typing import Any

from pytest_aistorage.conformance.report import (
    SPEC,
    Backend,
    Latencies,
    Report,
    Status,
    Step,
    TestResult,
    Violation,
)
from pytest_aistorage.conformance.report.judging import GUARANTEES

__all__ = ["backend", "full", "report", "result", "violation"]

HOSTILE = '<script>alert("1")</script> & | `x` *y* </pre>'
"""What a storage may say."""


def result(name: str = "test_one", status: Status = Status.PASSED, **given: Any) -> TestResult:
    """A result; of a core test, unless ``requires`` or ``unless`` is given."""
    return TestResult(**{"name": name, "area": "records", "status": status} | given)


def backend(*tests: TestResult, declared: tuple[str, ...] | None = (), **given: Any) -> Backend:
    """A backend with these tests."""
    return Backend(**{"name": "sample", "tests": tests, "declared": declared} | given)


def full(**statuses: Status) -> Backend:
    """A backend that declares everything, with a test for each guarantee, passed unless said otherwise.

    Args:
        statuses: by the guarantee's name, with underscores.
    """
    tests = [result(status=statuses.get("core", Status.PASSED))]
    for name in GUARANTEES[1:]:
        status = statuses.get(name.replace("-", "_"), Status.PASSED)
        tests.append(result(f"test_{name.replace('-', '_')}", status, requires=(name,)))
    return backend(*tests, declared=tuple(sorted(GUARANTEES[1:])))


def violation(**given: Any) -> Violation:
    """Two clients that save one version, a third that never came back."""
    steps = (
        Step(client="P1", label="save -> v9", start=0.31, end=0.61),
        Step(client="P3", label="save -> v9", start=0.4, end=0.55),
        Step(client="P2", label="delete -> ?", start=0.5, end=None),
    )
    return Violation(
        **{"anomaly": "lost update", "why": "both are v9", "schedule": "P1:read,P3:write", "steps": steps}
        | given
    )


def report(*backends: Backend) -> Report:
    """A report of these backends; of one with a result of every kind, if none is given."""
    return Report(
        spec=SPEC,
        package="0.1.0",
        python="CPython 3.13.0",
        platform="Linux 6.1 x86_64",
        effort="normal",
        seed=7,
        created="2026-01-02T03:04:05+00:00",
        backends=backends or (_every_kind(),),
    )


def _every_kind() -> Backend:
    latencies = {"save": Latencies(count=3, p50=0.5, p99=2.0, samples=(0.25, 0.5, 2.0))}
    return backend(
        result("test_kept", seconds=0.25),
        result("test_measured", area="latency", latencies=latencies),
        result(
            "test_lost", Status.FAILED, message=HOSTILE, requires=("linearizable",), violation=violation()
        ),
        result("test_late", Status.SKIPPED, message="no server"),
        result("test_unclear", Status.INCONCLUSIVE, message="no overlap", unless="snapshot-listing"),
        result("test_other", Status.DEVIATION, message="counted lazily"),
        result(
            *("test_away", Status.NOT_APPLICABLE),
            message="not declared",
            requires=("expiry",),
            evidence_for=(),
        ),
        name="postgres@17",
        declared=("linearizable", "survives-close"),
        type="database",
        server="PostgreSQL 17.2",
        provider="embedded",
    )
