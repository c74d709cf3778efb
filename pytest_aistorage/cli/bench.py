"""``aistorage bench``: what storages cost here, beside what one would use instead, and what of it is proven."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bench import MEASURED
from ..errors import AIStorageError
from ._servers import SERVERS, provider_option, url_option

if TYPE_CHECKING:
    from ..bench.outcome import Outcome

__all__ = ["command"]

_BUDGET, _QUICK_BUDGET = 3.0, 0.3
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


def _parsed_backends(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    from ..bench.settings import BACKENDS

    for name in given:
        if name not in BACKENDS:
            raise click.BadParameter(f"no backend is called {name!r}; known are {', '.join(BACKENDS)}")
    return tuple(dict.fromkeys(given))


@click.command("bench")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    callback=_parsed_backends,
    help="Measure this one: postgres, redis, hybrid, sqlite, mysql, memory, file. May be repeated.  "
    "[default: all that can be had]",
)
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(MEASURED),
    help="table: the guide's; hybrid: beside its parts; peers: beside MLflow and Optuna; operations: beside the "
    "raw drivers; growth: the more models there are. May be repeated.  [default: all]",
)
@click.option("--quick", is_flag=True, help="Less of everything, in a minute: see whether it works.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0.0),
    help=f"Seconds after which a cell begins no further round.  [default: {_BUDGET:g}; quick: {_QUICK_BUDGET:g}]",
)
@provider_option(("process", "embedded"))
@url_option
@click.option("--json", "json_path", type=_FILE, help="Write every figure to this file.")
@click.option("--html", "html_path", type=_FILE, help="Write it as a page that needs nothing else.")
@click.option("--plot", "plot_path", type=_FILE, help="Write the growth as an SVG file.")
@click.pass_context
def command(
    ctx: click.Context,
    backends: tuple[str, ...],
    names: tuple[str, ...],
    quick: bool,
    budget: float | None,
    providers: tuple[str, ...],
    urls: dict[str, str],
    json_path: Path | None,
    html_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Measure what a save and a get cost on each storage, and prove what each keeps.

    The guide's performance table, as it comes out here; the hybrid beside a plain Redis and a plain database;
    MLflow's and Optuna's storages on the same servers, where they are installed; the raw drivers; and stores of 10
    to 100 000 models. Servers are started for it, with durable settings; one that is given by --url is
    used as it is, and only databases that are created for it are touched there.

    The exit status is 1 if a storage lost what it promises to keep, or a backend that was named can't be had. A
    figure above its goal is said, and no failure: how fast a machine is proves nothing.
    """
    from ..bench.outcome import measured
    from ..bench.settings import BACKENDS, Settings
    from ..bench.stores import Stores

    if unknown := [name for name in urls if name not in SERVERS]:
        raise click.BadParameter(f"no version goes here: {unknown[0]}", param_hint="--url")
    if plot_path is not None and names and "growth" not in names:
        raise click.UsageError("--plot shows the growth, which --only leaves out")
    started = time.monotonic()
    wanted = tuple(name for name in BACKENDS if name in (backends or BACKENDS))
    try:
        with _progress() as say, Stores(providers, urls) as stores:
            settings = Settings(
                stores=stores,
                say=say,
                quick=quick,
                backends=wanted,
                budget=budget if budget is not None else _QUICK_BUDGET if quick else _BUDGET,
            )
            outcome = measured(settings, [name for name in MEASURED if name in (names or MEASURED)])
    except AIStorageError as error:
        raise click.ClickException(str(error)) from None
    lacking = _lacking(outcome, backends)
    _print(outcome, time.monotonic() - started, lacking)
    _write(outcome, json_path, html_path, plot_path)
    ctx.exit(1 if outcome.broken or lacking else 0)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield what is told of what is being measured: a line that changes on a terminal, lines elsewhere."""
    from rich.console import Console
    from rich.text import Text

    aside = Console(stderr=True, highlight=False, markup=False)
    began = time.monotonic()

    def said(what: str) -> Text:
        return Text(f"{time.monotonic() - began:4.0f} s  {what}", style="dim")

    if not sys.stderr.isatty():
        yield lambda what: aside.print(said(what))
        return
    with aside.status(said("begin")) as status:
        yield lambda what: status.update(said(what))


def _lacking(outcome: Outcome, backends: tuple[str, ...]) -> list[str]:
    """The backends that were named, and of which nothing was measured."""
    found = {
        part.partition(",")[0] for report in outcome.reports for row in report.rows for part in row.labels[:2]
    }
    if any(report.name == "hybrid" and report.rows for report in outcome.reports):
        found.add("hybrid")
    shown = {report.name for report in outcome.reports}
    told = [name for name in backends if name not in found]
    # Peers are beside databases only, and those are not told by their names.
    return told if shown & {"table", "operations"} else []


def _print(outcome: Outcome, elapsed: float, lacking: list[str]) -> None:
    from rich.text import Text

    from ..bench.as_text import details_of, table_of
    from . import _display

    console = _display.console()
    for report in outcome.reports:
        if report.rows:
            console.print(table_of(report))
            for detail in details_of(report):
                console.print(detail, soft_wrap=True)
            console.print()
    for line in outcome.notes:
        console.print(Text(line, style="yellow"), soft_wrap=True)
    for line in outcome.missed:
        console.print(Text.assemble(("goal missed: ", "bold"), line), soft_wrap=True)
    if (busy := outcome.before.busy(outcome.after)) is not None:
        console.print(Text(busy, style="yellow"), soft_wrap=True)
    console.print(f"Measured {outcome.before.line(outcome.after)}.", soft_wrap=True)
    for line in outcome.broken:
        console.print(Text(line, style="bold red"), soft_wrap=True)
    if outcome.broken:
        said = "A storage lost what it promises to keep"
    elif lacking:
        said = f"Not measured, though named: {', '.join(lacking)}"
    else:
        said = "Nothing was lost that is promised to be kept"
    _display.print_verdict(console, said, elapsed, good=not (outcome.broken or lacking))


def _write(outcome: Outcome, json_path: Path | None, html_path: Path | None, plot_path: Path | None) -> None:
    from ..bench.as_html import page_of
    from ..bench.growth_plot import growth_svg
    from ..races.page import write_whole

    written: list[tuple[Path, Callable[[], str]]] = []
    if json_path is not None:
        written.append((json_path, lambda: _json(outcome.document())))
    if html_path is not None:
        written.append((html_path, lambda: page_of(outcome)))
    if plot_path is not None:
        (growth,) = (report for report in outcome.reports if report.name == "growth")
        written.append((plot_path, lambda: growth_svg(growth, alone=True) + "\n"))
    for path, text in written:
        try:
            write_whole(path, text())
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
