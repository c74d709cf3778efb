"""Reports as tables for a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from .figures import Column, Report, Row, Shown

__all__ = ["table_of"]

_STYLES = {True: "green", False: "red", None: "yellow"}


def table_of(report: Report) -> Table:
    """Return the table of a report; below a figure stands its goal.

    Args:
        report: to be shown.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        title=report.title,
        title_justify="left",
        title_style="bold",
    )
    for number, label in enumerate(report.labels):
        table.add_column(label, overflow="fold", style="bold" if not number else "", vertical="top")
    for column in report.columns:
        heading = f"{column.name}\n({column.unit})" if column.unit else column.name
        table.add_column(heading, justify="right" if column.unit else "left", vertical="top")
    before: str | None = None
    for row in report.rows:
        if before not in (None, row.labels[0]):
            table.add_section()
        # The name of a group stands at its first row only.
        first = "" if before == row.labels[0] else row.labels[0]
        before = row.labels[0]
        labels = map(Text, (first, *row.labels[1:]))
        table.add_row(*labels, *(_cell(row, column) for column in report.columns))
    return table


def _cell(row: Row, column: Column) -> Text:
    if not column.unit:
        return _shown(row.shown.get(column.name))
    figure, goal = row.text(column), row.goals.get(column.name)
    if goal is None:
        return Text(figure, style="dim" if figure == "–" else "")
    style = "red" if column.name in row.missed else "green"
    return Text.assemble((figure, style), (f"\n{goal}", "dim"))


def _shown(shown: Shown | None) -> Text:
    if shown is None:
        return Text("–", style="dim")
    sign = {True: "✓ ", False: "✗ ", None: ""}[shown.good]
    text = Text(f"{sign}{shown.words}", style=_STYLES[shown.good])
    for part in shown.counts.split(", ") if shown.counts else ():
        text.append(f"\n{part}", style="dim")
    return text
