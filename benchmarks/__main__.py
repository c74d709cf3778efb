"""``python -m benchmarks [NAME...]``: measure, print tables, say which goals are missed."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import click
from rich.console import Console

from pytest_aistorage.bench import MEASURED
from pytest_aistorage.bench.as_text import details_of, table_of
from pytest_aistorage.bench.figures import Report
from pytest_aistorage.bench.growth_plot import growth_svg
from pytest_aistorage.bench.machine import Machine
from pytest_aistorage.bench.settings import BACKENDS
from pytest_aistorage.bench.stores import Stores

from .page import write_figures
from .settings import DevelopersSettings

NAMES = (*MEASURED, "async", "scale", "isolation", "startup", "checker", "migration")
_MODULES = {"async": "awaiting"}  # a word that Python keeps for itself


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
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the growth into this SVG file."
)
@click.option(
    "--docs",
    "pages",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the figures into this page, where it has a place for them; repeatable.",
)
def main(
    names: tuple[str, ...],
    quick: bool,
    backends: tuple[str, ...],
    servers: str,
    porcupine: Path | None,
    json_path: Path | None,
    plot: Path | None,
    pages: tuple[Path, ...],
) -> None:
    """Measure what NAMEs say (all, if none is given): table, hybrid, peers, operations, growth, async,
    scale, isolation, startup, checker, migration.

    The exit status is 1 if a goal is missed.
    """
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    aside = Console(stderr=True, highlight=False, markup=False)
    reports: list[Report] = []
    before = Machine.now()
    with Stores(tuple(servers.split(","))) as stores:
        settings = DevelopersSettings(
            stores=stores,
            say=lambda what: aside.print(f"{what} …", style="dim"),
            quick=quick,
            backends=backends or BACKENDS,
            porcupine=porcupine,
        )
        for name in names or NAMES:
            place = "pytest_aistorage.bench" if name in MEASURED else __package__
            report: Report = importlib.import_module(f"{place}.{_MODULES.get(name, name)}").run(settings)
            console.print(table_of(report))
            for detail in details_of(report):
                console.print(detail)
            for line in (*report.servers, *report.notes, *report.method):
                console.print(f"  {line}")
            console.print()
            reports.append(report)
    after = Machine.now()
    console.print(before.line(after))
    if (warning := before.busy(after)) is not None:
        console.print(warning, style="yellow")
    missed = [line for report in reports for line in report.missed]
    if json_path is not None:
        document = {
            "machine": before.document(),
            "load afterwards": after.load,
            "quick": quick,
            "reports": [report.document() for report in reports],
        }
        json_path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if pages:
        write_figures(pages, reports, before.line(after))
    for report in reports:
        if plot is not None and report.name == "growth":
            plot.write_text(growth_svg(report, alone=True) + "\n", "utf-8")
    for line in missed:
        console.print(f"missed {line}", style="red")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
