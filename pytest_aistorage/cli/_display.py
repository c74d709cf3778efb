"""What ``prove`` and ``durability`` show alike: a bar while they run, a table, what could not be had, a verdict."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import ServerUnavailableError

__all__ = ["console", "document_unavailable", "print_unavailable", "print_verdict", "progress_bar", "table"]

# Columns of a table. A narrower terminal wraps its lines; the table would drop columns.
_LEAST_WIDTH = 80


def console() -> Console:
    """Return what prints to the standard output, with words taken as they are, wide enough for a table."""
    found = Console(highlight=False, markup=False)
    found.width = max(found.width, _LEAST_WIDTH)
    return found


def progress_bar() -> Progress:
    """Return a bar on the standard error, which is gone at the end; none where nobody looks."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def table(title: str) -> Table:
    """Return a table without columns, so narrow that what is measured fits into 80."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title=title, title_style="bold")


def print_unavailable(console: Console, unavailable: Mapping[str, ServerUnavailableError]) -> None:
    """Print for each backend that could not be had why not, and what to do about it.

    Args:
        console: where to.
        unavailable: by the backend's name.
    """
    for name, error in unavailable.items():
        reasons = "; ".join(error.reasons)
        console.print(Text(f"{name} could not be had here: {reasons}.", style="yellow"), soft_wrap=True)
        console.print(Text(f"  {error.remedy}"), soft_wrap=True)


def document_unavailable(unavailable: Mapping[str, ServerUnavailableError]) -> list[dict[str, Any]]:
    """Return what `print_unavailable` prints as what JSON can say."""
    return [
        {"name": name, "reasons": list(error.reasons), "remedy": error.remedy}
        for name, error in unavailable.items()
    ]


def print_verdict(console: Console, said: str, elapsed: float, *, good: bool) -> None:
    """Print the last line.

    Args:
        console: where to.
        said: the verdict, without a full stop.
        elapsed: seconds, of everything.
        good: whether it is what should have come out.
    """
    style = "bold green" if good else "bold red"
    console.print(Text(f"{said} ({elapsed:.1f} s).", style=style), soft_wrap=True)
