"""``python -m benchmarks [NAME...]``: measure, print tables, say which goals are missed."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .figures import Column, Report, Row
from .page import write_figures
from .settings import BACKENDS, Settings
from .stores import Stores

NAMES = ("operations", "growth", "table", "isolation", "startup", "checker")


def shown(report: Report) -> Table:
    """Return the table of a report; a goal stands beside its figure."""
    table = Table(title=report.title, title_justify="left")
    for label in report.labels:
        table.add_column(label)
    for column in report.columns:
        table.add_column(f"{column.name} ({column.unit})", justify="right")
    before: str | None = None
    for row in report.rows:
        if before not in (None, row.labels[0]):
            table.add_section()
        before = row.labels[0]
        table.add_row(*map(escape, row.labels), *(_cell(row, column) for column in report.columns))
    return table


def _cell(row: Row, column: Column) -> str:
    figure, goal = row.figures.get(column.name), row.goals.get(column.name)
    text = "–" if figure is None else f"{figure:.{column.digits}f}"
    if goal is None:
        return text
    colour = "red" if column.name in row.missed else "green"
    return f"[{colour}]{text} (≤ {goal.most:g})[/{colour}]"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": [round(one, 2) for one in load],
        "measured": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Few rounds: to see whether it works, not how fast it is.")
@click.option(
    "--backend", "backends", multiple=True, type=click.Choice(BACKENDS), help="Only this; repeatable."
)
@click.option("--servers", default="process,embedded", help="Where servers come from, in order.")
@click.option(
    "--porcupine",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A checkout of github.com/anishathalye/porcupine, to measure the checker beside; it takes Go.",
)
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures."
)
@click.option(
    "--docs",
    "page",
    type=click.Path(exists=True, path_type=Path),
    help="Write the figures into docs/benchmarks.md.",
)
def main(
    names: tuple[str, ...],
    quick: bool,
    backends: tuple[str, ...],
    servers: str,
    porcupine: Path | None,
    json_path: Path | None,
    page: Path | None,
) -> None:
    """Measure what NAMEs say (all, if none is given): operations, growth, table, isolation, startup,
    checker.

    The exit status is 1 if a goal is missed.
    """
    console = Console(width=None if sys.stdout.isatty() else 140)
    reports: list[Report] = []
    before = machine()
    console.print(", ".join(f"{name} {value}" for name, value in before.items()), highlight=False)
    with Stores(tuple(servers.split(","))) as stores:
        settings = Settings(stores=stores, quick=quick, backends=backends or BACKENDS, porcupine=porcupine)
        for name in names or NAMES:
            report: Report = importlib.import_module(f"{__package__}.{name}").run(settings)
            console.print(shown(report), highlight=False)
            for line in (*report.servers, *report.unmeasured, *report.method):
                console.print(f"  {escape(line)}", highlight=False)
            console.print()
            reports.append(report)
    after = machine()
    busy = max([*before["load"][:1], *after["load"][:1]], default=0.0)
    if busy > (os.cpu_count() or 1):
        warning = f"the machine had other work (load {busy:g}): measure again when it is quiet"
        console.print(f"[yellow]{warning}[/yellow]", highlight=False)
    missed = [line for report in reports for line in report.missed]
    if json_path is not None:
        document = {
            "machine": before,
            "load afterwards": after["load"],
            "quick": quick,
            "reports": [report.document() for report in reports],
        }
        json_path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if page is not None:
        write_figures(page, reports, {**before, "load afterwards": next(iter(after["load"]), 0.0)})
    for line in missed:
        console.print(f"[red]missed[/red] {line}", highlight=False)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
