"""A report as JSON, and back. The keys have a fixed order; docs/conformance-report.md describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .judging import GUARANTEES, counts, level_of, standing_of, verdict_of
from .results import Backend, Latencies, Report, Status, Step, TestResult, Violation

__all__ = ["SCHEMA", "report_from_json", "report_to_json"]

SCHEMA = "pytest-aistorage/conformance-report/1"
"""The form of the document, as its key ``schema`` says."""


def report_to_json(report: Report) -> str:
    """Return a report as JSON text that ends with a line feed."""
    document = {
        "schema": SCHEMA,
        "spec": report.spec,
        "package": report.package,
        "python": report.python,
        "platform": report.platform,
        "effort": report.effort,
        "seed": report.seed,
        "created": report.created,
        "backends": [_backend(backend) for backend in report.backends],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def report_from_json(text: str) -> Report:
    """Read a report back. What follows from the results (counts, guarantees, level, verdict) is judged anew.

    Raises:
        ValueError: the text is no report.
    """
    document = json.loads(text)
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise ValueError(f"no conformance report: its schema must be {SCHEMA!r}")
    try:
        return Report(
            **{name: document[name] for name in ("spec", "package", "python", "platform", "effort", "seed")},
            created=document["created"],
            backends=tuple(_read_backend(one) for one in document["backends"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no conformance report: {type(error).__name__}: {error}") from error


def _backend(backend: Backend) -> dict[str, Any]:
    level = level_of(backend)
    return {
        "name": backend.name,
        "type": backend.type,
        "server": backend.server,
        "provider": backend.provider,
        "simulated": backend.simulated,
        "verdict": verdict_of(backend).value,
        "level": {"number": level.number, "name": level.name},
        "declared": None if backend.declared is None else list(backend.declared),
        "counts": {status.value: number for status, number in counts(backend).items()},
        "guarantees": {name: standing_of(backend, name).value for name in GUARANTEES},
        "tests": [_test(test) for test in backend.tests],
    }


def _test(test: TestResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": test.name,
        "area": test.area,
        "status": test.status.value,
        "requires": list(test.requires),
        "unless": test.unless,
        "evidence_for": None if test.evidence_for is None else list(test.evidence_for),
        "message": test.message,
        "seconds": round(test.seconds, 6),
        "violation": None if test.violation is None else _violation(test.violation),
        "latencies": {
            operation: {
                "count": one.count,
                "p50": one.p50,
                "p99": one.p99,
                "samples": list(one.samples),
            }
            for operation, one in sorted(test.latencies.items())
        },
    }
    return found


def _violation(violation: Violation) -> dict[str, Any]:
    return {
        "anomaly": violation.anomaly,
        "why": violation.why,
        "schedule": violation.schedule,
        "steps": [
            {"client": step.client, "label": step.label, "start": step.start, "end": step.end}
            for step in violation.steps
        ],
    }


def _read_backend(found: Mapping[str, Any]) -> Backend:
    return Backend(
        name=found["name"],
        type=found["type"],
        server=found["server"],
        provider=found["provider"],
        simulated=found["simulated"],
        declared=None if found["declared"] is None else tuple(found["declared"]),
        tests=tuple(_read_test(one) for one in found["tests"]),
    )


def _read_test(found: Mapping[str, Any]) -> TestResult:
    violation, about = found["violation"], found["evidence_for"]
    return TestResult(
        name=found["name"],
        area=found["area"],
        status=Status(found["status"]),
        requires=tuple(found["requires"]),
        unless=found["unless"],
        evidence_for=None if about is None else tuple(about),
        message=found["message"],
        seconds=found["seconds"],
        violation=None if violation is None else _read_violation(violation),
        latencies={operation: _read_latencies(one) for operation, one in found["latencies"].items()},
    )


def _read_violation(found: Mapping[str, Any]) -> Violation:
    steps = tuple(
        Step(client=one["client"], label=one["label"], start=one["start"], end=one["end"])
        for one in found["steps"]
    )
    return Violation(anomaly=found["anomaly"], why=found["why"], schedule=found["schedule"], steps=steps)


def _read_latencies(found: Mapping[str, Any]) -> Latencies:
    return Latencies(
        count=found["count"], p50=found["p50"], p99=found["p99"], samples=tuple(found["samples"])
    )
