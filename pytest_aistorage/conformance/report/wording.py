"""The words and signs that all forms of a report share. A sign never stands without its word."""

from __future__ import annotations

from collections.abc import Iterable

from .judging import (
    GUARANTEES,
    Standing,
    Verdict,
    evidence,
    level_of,
    next_level,
    obstacles,
    standing_of,
)
from .results import Backend, Report, Status, TestResult

__all__ = [
    "SIGNS",
    "STATUS_SIGNS",
    "VERDICT_SIGNS",
    "about",
    "cell",
    "conditions_of",
    "counted",
    "description",
    "milliseconds",
    "reasons",
    "rung",
    "settings_of",
    "unshown",
]

SIGNS = {
    Standing.KEPT: "✓",
    Standing.BROKEN: "✗",
    Standing.NOT_SHOWN: "?",
    Standing.LOSS_SHOWN: "↯",
    Standing.INCONCLUSIVE: "~",
    Standing.NOT_DECLARED: "–",
}
STATUS_SIGNS = {
    Status.PASSED: "✓",
    Status.FAILED: "✗",
    Status.SKIPPED: "?",
    Status.INCONCLUSIVE: "~",
    Status.DEVIATION: "!",
    Status.NOT_APPLICABLE: "–",
}
VERDICT_SIGNS = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.INCOMPLETE: "?"}


def counted(backend: Backend, guarantee: str) -> str:
    """Return how many of a guarantee's tests that apply have passed: ``11 of 12``; empty: none applies."""
    if standing_of(backend, guarantee) is Standing.NOT_DECLARED:
        return ""  # "not declared, 2 of 2" would be read as two tests that it kept
    found = evidence(backend, guarantee)
    passed = sum(test.status is Status.PASSED for test in found)
    return f"{passed} of {len(found)}" if found else ""


def cell(standing: Standing) -> str:
    """Return a cell of the matrix: sign and word."""
    return f"{SIGNS[standing]} {standing}"


def description(backend: Backend) -> str:
    """Return what a backend is: its server, and where that came from."""
    parts: Iterable[str | None] = (
        backend.server if backend.server not in (None, backend.name) else None,
        backend.provider,
        "simulated: no evidence for a guarantee" if backend.simulated else None,
    )
    return ", ".join(part for part in parts if part)


def rung(backend: Backend) -> tuple[str, str]:
    """Return the level that a backend has reached, and what the next needs; empty above the last."""
    level, above = level_of(backend), next_level(backend)
    reached = f"level {level.number} ({level.name})"
    if above is None:
        return reached, ""
    missing = (f"{', '.join(names)} ({standing})" for standing, names in obstacles(backend).items())
    return reached, f"level {above.number} ({above.name}) needs {'; '.join(missing)}"


def unshown(backend: Backend) -> str:
    """Return a sentence about what is declared and was not shown; empty: there is no such guarantee."""
    names = [
        name
        for name in GUARANTEES
        if name in (backend.declared or ()) and standing_of(backend, name) is Standing.NOT_SHOWN
    ]
    return f"declared and not shown: {', '.join(names)}" if names else ""


def settings_of(report: Report) -> str:
    """Return what makes a run repeatable, in one line."""
    return f"spec {report.spec}, effort {report.effort}, seed {report.seed}"


def reasons(backend: Backend) -> list[tuple[Status, str, list[str]]]:
    """Return why tests neither passed nor failed nor were out of place: status, reason, the tests' names."""
    found: dict[tuple[Status, str], list[str]] = {}
    for test in backend.tests:
        if test.status in (Status.SKIPPED, Status.INCONCLUSIVE, Status.DEVIATION):
            found.setdefault((test.status, test.message), []).append(test.name)
    return [(status, reason, names) for (status, reason), names in found.items()]


def conditions_of(test: TestResult) -> list[str]:
    """Return on which storages a test applies: the guarantees that it requires, or the one that must be lacking."""
    lacking = [] if test.unless is None else [f"without {test.unless}"]
    return [*test.requires, *lacking]


def about(test: TestResult) -> str:
    """Return what a test is about, and on which storages it applies."""
    return ", ".join(part for part in (test.area, *conditions_of(test)) if part)


def milliseconds(value: float) -> str:
    """Return a latency in three figures and its unit."""
    if value < 1:
        return f"{value * 1000:.3g} µs"
    if value < 1000:
        return f"{value:.3g} ms"
    return f"{value / 1000:.3g} s"
