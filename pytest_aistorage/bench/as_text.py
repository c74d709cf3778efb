"""Reports as tables for a terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from .figures import Column, Report, Row, Shown

__all__ = ["details_of", "table_of"]

_STYLES = {True: "green", False: "red", None: "yellow"}
_MOST_LABELS = 30
"""Columns that labels may take; beyond, they stand below each other."""


def table_of(report: Report) -> Table:
    """Return the table of a report; below a figure stands its goal. What was counted is told by `details_of`.

    Args:
        report: to be shown.
    """
    table = Table(
        min_width=min(len(report.title), 80),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        title=report.title,
        title_justify="left",
        title_style="bold",
    )
    widths = (max(map(len, labels)) for labels in zip(*(row.labels for row in report.rows), strict=True))
    stacked = sum(widths) > _MOST_LABELS
    headings = [" / ".join(report.labels[:-1])] if stacked else report.labels
    for number, label in enumerate(headings):
        table.add_column(
            label,
            overflow="fold",
            style="" if number or stacked else "bold",
            min_width=24 if stacked else None,
            max_width=34,
        )
    for column in report.main_columns:
        if column.unit:
            table.add_column(f"{_wrapped(column.name)}\n({column.unit})", justify="right", no_wrap=True)
        else:
            table.add_column(column.name.replace("-", "-\n"), max_width=12)
    before: str | None = None
    for row in report.rows:
        if before not in (None, row.labels[0]):
            table.add_section()
        labels = [_stacked(row)] if stacked else _grouped(row, before)
        before = row.labels[0]
        table.add_row(*labels, *(_cell(report, row, column) for column in report.main_columns))
    return table


def details_of(report: Report) -> Iterator[Text]:
    """Yield a line for each row of which something was tried: what was counted.

    Args:
        report: to be shown.
    """
    for row in report.rows:
        told = [f"{name}: {shown.counts}" for name, shown in row.shown.items() if shown.parts]
        if told:
            yield Text.assemble((f"{_name(row)}: ", "bold"), "; ".join(told))


def _wrapped(heading: str) -> str:
    """A word a line, as a column of figures is narrow; a number keeps its thousands."""
    return re.sub(r" (?!\d)", "\n", heading)


def _name(row: Row) -> str:
    return ", ".join(dict.fromkeys(row.labels[:-1]))


def _stacked(row: Row) -> Text:
    return Text.assemble((_name(row), "bold"), (f"\n{row.labels[-1]}", "not bold dim"))


def _grouped(row: Row, before: str | None) -> list[Text]:
    """The labels; the name of a group stands at its first row only."""
    return [Text("" if before == row.labels[0] else row.labels[0]), *map(Text, row.labels[1:])]


def _cell(report: Report, row: Row, column: Column) -> Text:
    if not column.unit:
        return _shown(row.shown.get(column.name))
    figure, below = row.text(column), report.small_print(row, column)
    style = "dim" if figure == "–" else ""
    if column.name in row.goals:
        style = "red" if column.name in row.missed else "green"
    small = below if column.name in row.goals else below.replace(" ", "\n")
    return Text.assemble((figure, style), (f"\n{small}" if small else "", "dim"))


def _shown(shown: Shown | None) -> Text:
    if shown is None:
        return Text("–", style="dim")
    sign = {True: "✓ ", False: "✗ ", None: ""}[shown.good]
    return Text(f"{sign}{shown.words}", style=_STYLES[shown.good])
