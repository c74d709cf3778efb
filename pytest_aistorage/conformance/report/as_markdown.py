"""A report as Markdown, as GitHub shows it: for a pull request or a job's summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .judging import GUARANTEES, counts, standing_of, verdict_of
from .results import Backend, Report, Status, TestResult, Violation
from .wording import (
    VERDICT_SIGNS,
    about,
    cell,
    counted,
    description,
    milliseconds,
    reasons,
    rung,
    settings_of,
    unshown,
)

__all__ = ["report_to_markdown"]


def report_to_markdown(report: Report) -> str:
    """Return a report as Markdown text that ends with a line feed."""
    blocks = [
        "# Conformance report",
        f"{settings_of(report)}, pytest-aistorage {report.package}, {report.python}, {report.platform}, "
        f"{report.created}",
        *(_sections(report) if report.backends else ["No contract test ran."]),
    ]
    return "\n\n".join(blocks) + "\n"


def _sections(report: Report) -> Iterator[str]:
    yield "\n".join(_verdict(backend) for backend in report.backends)
    yield "## Guarantees"
    names = [escaped(backend.name) for backend in report.backends]
    yield table(
        ["guarantee", *names],
        ([name, *(_cell(backend, name) for backend in report.backends)] for name in GUARANTEES),
    )
    yield "## Tests"
    yield table(
        ["backend", *Status],
        ([name, *map(str, counts(one).values())] for name, one in zip(names, report.backends, strict=True)),
    )
    failed = [
        (backend, test)
        for backend in report.backends
        for test in backend.tests
        if test.status is Status.FAILED
    ]
    if failed:
        yield "## Failures"
        for backend, test in failed:
            yield from _failure(backend, test)
    rows = [
        [escaped(backend.name), status, escaped(reason), " ".join(f"`{name}`" for name in names)]
        for backend in report.backends
        for status, reason, names in reasons(backend)
    ]
    if rows:
        yield "## Neither passed nor failed"
        yield table(["backend", "status", "reason", "tests"], rows)
    if latencies := list(_latencies(report)):
        yield "## Latencies"
        yield table(["operation", "backend", "measured", "p50", "p99"], latencies)


def escaped(text: str) -> str:
    """Return a text that means itself, in one line: no markup, no HTML, no end of a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&])", r"\\\1", " ".join(text.split()))


def fenced(text: str) -> str:
    """Return a text as a block that nothing in it can end."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    names = list(heading)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(backend: Backend) -> str:
    verdict = verdict_of(backend)
    what = description(backend)
    named = f"**{escaped(backend.name)}**" + (f" ({escaped(what)})" if what else "")
    reached, missing = rung(backend)
    line = f"- {VERDICT_SIGNS[verdict]} {named}: **{verdict}**, {reached}"
    return "\n".join([line, *(f"  - {note}" for note in (missing, unshown(backend)) if note)])


def _cell(backend: Backend, guarantee: str) -> str:
    number = counted(backend, guarantee)
    return cell(standing_of(backend, guarantee)) + (f" ({number})" if number else "")


def _failure(backend: Backend, test: TestResult) -> Iterator[str]:
    yield f"### `{test.name}` on {escaped(backend.name)}"
    yield f"{about(test)}"
    yield fenced(test.message)
    if test.violation is not None:
        yield fenced(_history(test.violation))


def _history(violation: Violation) -> str:
    lines = [violation.anomaly]
    for step in sorted(violation.steps, key=lambda step: step.start):
        end = "never returned" if step.end is None else f"{step.end:g}"
        lines.append(f"  {step.client:<4} {step.start:g} to {end}  {step.label}")
    lines.append(f"why: {violation.why}")
    if violation.schedule is not None:
        lines.append(f"schedule: {violation.schedule}")
    return "\n".join(lines)


def _latencies(report: Report) -> Iterator[list[str]]:
    found = [
        (operation, backend.name, one)
        for backend in report.backends
        for test in backend.tests
        for operation, one in test.latencies.items()
    ]
    for operation, name, one in sorted(found, key=lambda row: row[0]):
        yield [
            escaped(operation),
            escaped(name),
            str(one.count),
            milliseconds(one.p50),
            milliseconds(one.p99),
        ]
