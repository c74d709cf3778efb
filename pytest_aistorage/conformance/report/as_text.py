"""A report for the terminal: the matrix of backends and guarantees, the counts, and a line a verdict."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .judging import GUARANTEES, Standing, Verdict, counts, standing_of, verdict_of
from .results import Backend, Report, Status
from .wording import VERDICT_SIGNS, cell, description, rung, settings_of, unshown

__all__ = ["report_to_text"]

_STYLES = {
    Standing.KEPT: "green",
    Standing.BROKEN: "bold red",
    Standing.NOT_SHOWN: "yellow",
    Standing.LOSS_SHOWN: "magenta",
    Standing.INCONCLUSIVE: "yellow",
    Standing.NOT_DECLARED: "dim",
}
_VERDICTS = {Verdict.PASSED: "bold green", Verdict.FAILED: "bold red", Verdict.INCOMPLETE: "bold yellow"}
_HEADINGS = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.SKIPPED: "skipped",
    Status.INCONCLUSIVE: "inconcl.",
    Status.DEVIATION: "deviates",
    Status.NOT_APPLICABLE: "n/a",
}
_GAP = 2


def report_to_text(report: Report, *, width: int = 80, colour: bool = False) -> str:
    """Return a report as text, a matrix below another where the backends do not fit side by side.

    Args:
        report: what to show.
        width: of the terminal, in columns.
        colour: whether to use its escape sequences.
    """
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        highlight=False,
    )
    console.print(Text(f"{settings_of(report)}, pytest-aistorage {report.package}"), soft_wrap=True)
    for backends in _side_by_side(report.backends, width):
        console.print()
        console.print(_matrix(backends))
    console.print()
    for line in _counts(report.backends, width):
        console.print(line, soft_wrap=True)
    console.print()
    for backend in report.backends:
        console.print(_verdict(backend), soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _cells(backend: Backend) -> list[Text]:
    standings = (standing_of(backend, name) for name in GUARANTEES)
    return [Text(cell(standing), style=_STYLES[standing]) for standing in standings]


def _side_by_side(backends: Sequence[Backend], width: int) -> Iterator[list[Backend]]:
    """Cut the backends into groups whose columns fit into a width."""
    label = max(map(len, GUARANTEES))
    group: list[Backend] = []
    used = label
    for backend in backends:
        column = _GAP + max(len(backend.name), *(text.cell_len for text in _cells(backend)))
        if group and used + column > width:
            yield group
            group, used = [], label
        group.append(backend)
        used += column
    if group:
        yield group


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False)


def _matrix(backends: Sequence[Backend]) -> Table:
    table = _table()
    table.add_column("guarantee", no_wrap=True)
    for backend in backends:
        table.add_column(backend.name, overflow="fold")
    rows = zip(GUARANTEES, *map(_cells, backends), strict=True)
    for name, *cells in rows:
        table.add_row(name, *cells)
    return table


def _counts(backends: Sequence[Backend], width: int) -> Iterator[Text]:
    """Tests by status, a line a backend; a name that leaves no room for its numbers stands above them."""
    headings = [" " * _GAP + _HEADINGS[status] for status in Status]
    room = width - sum(map(len, headings))
    names = ["tests", *(backend.name for backend in backends)]
    label = max((cell_len(name) for name in names if cell_len(name) <= room), default=len(names[0]))
    yield Text(set_cell_size("tests", label) + "".join(headings), style="bold")
    yield Text("─" * (label + sum(map(len, headings))))
    for backend in backends:
        numbers = "".join(
            f"{number:{len(heading)}}"
            for number, heading in zip(counts(backend).values(), headings, strict=True)
        )
        if cell_len(backend.name) <= label:
            yield Text(set_cell_size(backend.name, label) + numbers)
        else:
            yield Text(backend.name)
            yield Text(" " * label + numbers)


def _verdict(backend: Backend) -> Text:
    verdict = verdict_of(backend)
    about = description(backend)
    reached, missing = rung(backend)
    notes = [note for note in (missing, unshown(backend)) if note]
    return Text.assemble(
        (f"{VERDICT_SIGNS[verdict]} {backend.name}", "bold"),
        f" ({about})" if about else "",
        ": ",
        (str(verdict), _VERDICTS[verdict]),
        f", {reached}",
        *((f"\n  {note}", "dim") for note in notes),
    )
