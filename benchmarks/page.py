"""The figures of the documentation's page: written by a run, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .figures import Column, Report, Row

__all__ = ["write_figures"]


def write_figures(page: Path, reports: Sequence[Report], machine: Mapping[str, Any]) -> None:
    """Replace the figures of the benchmarks that were run; those of the others stay.

    Args:
        page: with a pair of comments ``<!-- figures of NAME -->`` and ``<!-- end of NAME -->`` for each benchmark.
        reports: what was measured.
        machine: where and when.

    Raises:
        ValueError: the page has no such comments.
    """
    text = page.read_text("utf-8")
    for report in reports:
        begin, end = f"<!-- figures of {report.name} -->", f"<!-- end of {report.name} -->"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise ValueError(f"{page} has no {begin} with {end} behind it")
        text = f"{before}{begin}\n{_section(report, machine)}\n{end}{after}"
    page.write_text(text, "utf-8")


def _section(report: Report, machine: Mapping[str, Any]) -> str:
    headings = [*report.labels, *(f"{column.name} ({column.unit})" for column in report.columns)]
    lines = [
        f"Measured {machine['measured']}: {machine['system']}, {machine['cpus']} processors, "
        f"Python {machine['python']}, load {machine['load'][0]:g} before and {machine['load afterwards']:g} after.",
        "",
        f"| {' | '.join(headings)} |",
        f"|{' --- |' * len(report.labels)}{' ---: |' * len(report.columns)}",
    ]
    for row in report.rows:
        cells = [*row.labels, *(_cell(row, column) for column in report.columns)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in (*report.servers, *report.unmeasured))])


def _cell(row: Row, column: Column) -> str:
    figure, goal = row.figures.get(column.name), row.goals.get(column.name)
    if figure is None:
        return "–"
    text = f"{figure:.{column.digits}f}"
    if goal is None:
        return text
    return (
        f"**{text}** (goal missed: ≤ {goal.most:g})"
        if column.name in row.missed
        else f"{text} (≤ {goal.most:g})"
    )
