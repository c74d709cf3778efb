"""``aistorage durability``: what SIGKILL and a loss of power take of what was acknowledged, setting by setting."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import ServerUnavailableError
from ._servers import SERVERS, provider_option, server_options, specs_of

if TYPE_CHECKING:
    from rich.text import Text

    from ..races.durability import Durability, Loss, Setting

__all__ = ["command"]

_WORDS = {"kill": "SIGKILL", "power": "power loss"}


@click.command("durability")
@click.option(
    "--backend",
    "names",
    multiple=True,
    metavar="NAME",
    help="Measure this one: redis, postgres, mysql, a server's version after an @ (postgres@17, redis@valkey-8, "
    "mysql@mariadb-11.8), sqlite or file. May be repeated.  [default: all that can be had]",
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Crashes of each kind."
)
@click.option(
    "--writers", type=click.IntRange(min=1), default=4, show_default=True, help="Processes that write."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the moments of the crashes.")
@provider_option(("process", "embedded", "container"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    runs: int,
    writers: int,
    seed: int,
    providers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure what a crash and a loss of power take of what was acknowledged.

    For each durable setting, and for those that lose: processes write as fast as they can, the server gets SIGKILL at
    a moment drawn by the seed, or loses its power, and is started again. A loss of power is simulated: after SIGKILL
    each file is put back to what was in it at its last fsync (Linux; not in a container).

    The exit status is 0 if nothing was lost that a setting promises to keep. It is 1 otherwise, also if a backend
    that was named can't be had.
    """
    started = time.monotonic()
    measured, unavailable = _measured(_settings(names), providers, runs=runs, writers=writers, seed=seed)
    elapsed = time.monotonic() - started
    as_declared = all(one.as_declared for one in measured) and not (names and unavailable)
    if as_json:
        click.echo(json.dumps(_document(measured, unavailable, as_declared=as_declared), indent=2))
    else:
        _print(measured, unavailable, elapsed, as_declared=as_declared)
    ctx.exit(0 if as_declared else 1)


def _settings(names: Sequence[str]) -> list[Setting]:
    """The settings of the backends that are named; of all, where none is."""
    from ..races.durability import SETTINGS

    backends = list(dict.fromkeys(setting.backend for setting in SETTINGS))
    found = []
    for name in dict.fromkeys(names or backends):
        base = name.partition("@")[0]
        if base in SERVERS:
            specs_of([name])
        elif name not in backends:
            raise click.BadParameter(f"no backend is called {name!r}; known are {', '.join(backends)}")
        found += [
            dataclasses.replace(setting, backend=name) for setting in SETTINGS if setting.backend == base
        ]
    return found


def _measured(
    settings: Sequence[Setting], providers: tuple[str, ...], *, runs: int, writers: int, seed: int
) -> tuple[list[Durability], dict[str, ServerUnavailableError]]:
    from ..races import ClientPool
    from ..races.durability import HARMS, measure
    from ..servers.run_directory import RunDirectory
    from ._display import progress_bar

    progress = progress_bar()
    measured: list[Durability] = []
    unavailable: dict[str, ServerUnavailableError] = {}
    each = runs * len(HARMS)
    specs = specs_of(
        [setting.backend for setting in settings if setting.backend.partition("@")[0] in SERVERS]
    )
    with RunDirectory() as directory, ClientPool() as pool, progress:
        options = server_options(directory.path, specs, providers, {})
        task = progress.add_task("", total=len(settings) * each)
        for number, setting in enumerate(settings):
            progress.update(task, completed=number * each, description=f"{setting.backend}, {setting.name}")
            if setting.backend in unavailable:
                continue
            try:
                measured.append(
                    measure(
                        setting,
                        options,
                        pool=pool,
                        runs=runs,
                        writers=writers,
                        seed=seed,
                        progress=lambda *_: progress.advance(task),
                    )
                )
            except ServerUnavailableError as error:
                unavailable[setting.backend] = error
    return measured, unavailable


def _print(
    measured: Sequence[Durability],
    unavailable: Mapping[str, ServerUnavailableError],
    elapsed: float,
    *,
    as_declared: bool,
) -> None:
    from rich.text import Text

    from . import _display

    console = _display.console()
    table = _display.table("How many acknowledged saves were lost?")
    table.add_column("setting", overflow="fold")
    table.add_column("must\nsurvive", no_wrap=True)
    for word in _WORDS.values():
        table.add_column(word, justify="right", no_wrap=True)
    version = ""
    for one in measured:
        if one.version != version:
            table.add_row(Text(one.version, style="bold"))
            version = one.version
        table.add_row(f"  {one.setting.name}", _promise(one.setting), *(_cell(one, harm) for harm in _WORDS))
    console.print(table)
    console.print()
    for line in dict.fromkeys(_details(measured)):
        console.print(line, soft_wrap=True)
    _display.print_unavailable(console, unavailable)
    said = (
        "Nothing was lost that is promised to be kept"
        if as_declared
        else "Not everything came out as promised"
    )
    _display.print_verdict(console, said, elapsed, good=as_declared)


def _promise(setting: Setting) -> str:
    if len(setting.keeps) == len(_WORDS):
        return "both"
    return "".join(_WORDS[harm] for harm in setting.keeps) or "–"


def _cell(one: Durability, harm: Any) -> Text:
    from rich.text import Text

    losses = one.losses.get(harm)
    if losses is None:
        return Text("not shown", style="dim")
    lost, of = _sum(losses)
    style = "green" if not lost else "bold red" if harm in one.setting.keeps else "red"
    return Text(f"{lost:,} of {of:,}", style=style)


def _sum(losses: Sequence[Loss]) -> tuple[int, int]:
    return sum(loss.lost for loss in losses), sum(loss.acknowledged for loss in losses)


def _details(measured: Sequence[Durability]) -> list[str]:
    """A line for each store that could not be read any more, and for what was not shown."""
    lines = []
    for one in measured:
        for harm, losses in one.losses.items():
            unreadable = [loss.unreadable for loss in losses if loss.unreadable is not None]
            if unreadable:
                lines.append(
                    f"{one.setting.backend}, {one.setting.name}: after {len(unreadable)} of {len(losses)} times "
                    f"{_WORDS[harm]} it can't be read: {unreadable[0]}"
                )
        for harm, reason in one.not_shown.items():
            lines.append(f"{_WORDS[harm]}: {reason}")
    return lines


def _document(
    measured: Sequence[Durability], unavailable: Mapping[str, ServerUnavailableError], *, as_declared: bool
) -> dict[str, Any]:
    from ._display import document_unavailable

    return {
        "as_declared": as_declared,
        "settings": [
            {
                "backend": one.setting.backend,
                "name": one.setting.name,
                "version": one.version,
                "keeps": sorted(one.setting.keeps),
                "as_declared": one.as_declared,
                "losses": {
                    harm: [{**dataclasses.asdict(loss), "lost": loss.lost} for loss in losses]
                    for harm, losses in one.losses.items()
                },
                "not_shown": dict(one.not_shown),
            }
            for one in measured
        ],
        "unavailable": document_unavailable(unavailable),
    }
