"""Figures, written into the pages that show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_aistorage.bench.figures import Column, Report, Row

__all__ = ["write_figures"]


def write_figures(pages: Sequence[Path], reports: Sequence[Report], machine: str) -> None:
    """Replace the figures of the benchmarks that were run; those of the others stay.

    Args:
        pages: each with a pair of comments ``<!-- figures of NAME -->`` and ``<!-- end of NAME -->`` for each
            benchmark that it shows.
        reports: what was measured.
        machine: where and when, in one line.

    Raises:
        ValueError: no page has such comments for one of them.
    """
    texts = {page: page.read_text("utf-8") for page in pages}
    for report in reports:
        begin, end = f"<!-- figures of {report.name} -->", f"<!-- end of {report.name} -->"
        found = False
        for page, text in texts.items():
            before, begins, rest = text.partition(begin)
            _, ends, after = rest.partition(end)
            if begins and ends:
                texts[page] = f"{before}{begin}\n{_section(report, machine)}\n{end}{after}"
                found = True
        if not found:
            raise ValueError(f"{', '.join(map(str, pages))}: no {begin} with {end} behind it")
    for page, text in texts.items():
        page.write_text(text, "utf-8")


def _section(report: Report, machine: str) -> str:
    headings = [
        *report.labels,
        *(f"{column.name} ({column.unit})" if column.unit else column.name for column in report.columns),
    ]
    rules = "".join(" ---: |" if column.unit else " --- |" for column in report.columns)
    lines = [
        f"Measured {machine}.",
        "",
        f"| {' | '.join(headings)} |",
        f"|{' --- |' * len(report.labels)}{rules}",
    ]
    for row in report.rows:
        cells = [*row.labels, *(_cell(row, column) for column in report.columns)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in (*report.servers, *report.notes))])


def _cell(row: Row, column: Column) -> str:
    text, goal = row.text(column), row.goals.get(column.name)
    if goal is None:
        return text
    return f"**{text}** (goal missed: {goal})" if column.name in row.missed else f"{text} ({goal})"
