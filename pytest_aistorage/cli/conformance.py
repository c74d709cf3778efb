"""``aistorage conformance``: the conformance suite, on a storage that somebody else wrote."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._candidate import CannotTest, check
from ._servers import QUICKEST_FIRST, provider_option, url_option

if TYPE_CHECKING:
    from ._suite import Suite

__all__ = ["command"]

_MOST_PROCESSES = 4  # more have too few tests each to make up for their start


@click.command("conformance")
@click.argument("backend")
@click.option(
    "--effort",
    type=click.Choice(["quick", "normal", "thorough"]),
    default="normal",
    show_default=True,
    help="How hard to try: examples, sequences, races, kills.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn by chance.")
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Run so many times, each with the next seed, and stop at the first that is not green.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="FILE",
    help="Write the report to FILE.json, FILE.md or FILE.html; of several runs, the last one's. May be repeated.",
)
@click.option(
    "--compare",
    "earlier",
    metavar="FILE.json",
    help="Say what differs from an earlier report. A guarantee that stands worse is a failure.",
)
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    metavar="NAME",
    help="What the storage declares, such as linearizable, whatever its instances say. May be repeated.",
)
@click.option(
    "-k", "expression", metavar="EXPRESSION", help="Run only the tests that this matches, as in pytest."
)
@click.option(
    "-n",
    "processes",
    metavar="N",
    help="Run in N processes by pytest-xdist, 0: in one. Without it as many as there are processors, up to 4, where "
    "pytest-xdist is installed.",
)
@provider_option(QUICKEST_FIRST)
@url_option
@click.argument("pytest_arguments", metavar="[-- PYTEST_ARGUMENTS]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    backend: str,
    effort: str,
    seed: int,
    runs: int,
    reports: tuple[str, ...],
    earlier: str | None,
    capabilities: tuple[str, ...],
    expression: str | None,
    processes: str | None,
    providers: tuple[str, ...],
    urls: dict[str, str],
    pytest_arguments: tuple[str, ...],
) -> None:
    """Run the conformance suite on a storage.

    BACKEND is package.module:factory, a callable factory(store_id: str) that returns an open storage, and for the
    same id the same store; or the name of a backend that is registered or built in, such as sqlite or postgres@17.
    Modules are looked for in the current directory, too. What stands behind -- goes to pytest.

    The directory for temporary files is one that is removed in the end; it lies in memory where the machine has
    a place for that and TMPDIR names no other, so that a storage which syncs its files is not slowed down.

    The exit status is 0 if tests ran and all of them passed, 1 if not, and 2 if the storage could not be tested
    at all. With --compare it is 1 also if a guarantee was kept and is not, or is broken and was not; whatever else
    differs is only said.
    """
    _need("hypothesis", "the conformance suite needs Hypothesis: pip install 'pytest-aistorage[conformance]'")
    from ..plugin.names import is_built_in
    from ._suite import Suite, environment, quickest_place

    arguments = [f"--ai-storage-effort={effort}", f"--ai-storage-servers={'+'.join(providers)}"]
    arguments += [f"--ai-storage-report={path}" for path in reports]
    arguments += [f"--ai-storage-capability={name}" for name in capabilities]
    if earlier is not None:
        if expression is not None:
            raise click.UsageError("--compare is about a whole run: leave out -k")
        arguments.append(f"--ai-storage-compare={earlier}")
    if expression is not None:
        arguments += ["-k", expression]
    if processes is not None:
        _need("xdist", "-n needs pytest-xdist: pip install pytest-xdist")
        arguments += ["-p", "xdist.plugin", "-n", processes]
    elif (
        expression is None
        and not {"--pdb", "--trace", "-s"} & set(pytest_arguments)  # which want the terminal
        and importlib.util.find_spec("xdist") is not None
    ):
        arguments += ["-p", "xdist.plugin", "-n", "auto", f"--maxprocesses={_MOST_PROCESSES}"]
    own = not is_built_in(backend)
    with (
        tempfile.TemporaryDirectory(prefix="aistorage-suite-", dir=quickest_place()) as name,
        environment(Path(name), stores=own),
    ):
        if not own:  # SQLite's file, and the naive one
            arguments.append(f"--basetemp={Path(name) / 'files'}")
        check(backend, capabilities, Path(name))
        suite = Suite(backend, Path(name), [*arguments, *pytest_arguments], urls)
        status = _run_once(suite, seed) if runs == 1 else _run_often(suite, range(seed, seed + runs))
    ctx.exit(status)


def _need(module: str, remedy: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise CannotTest(remedy)


def _run_once(suite: Suite, seed: int) -> int:
    result = suite.run(seed)
    for name in result.failed:
        click.secho(f"failed: {name}", fg="red")
    click.echo(f"{suite.backend}: {result.summary}, seed {seed}, {result.seconds:.1f} s")
    if result.complaint is not None:
        click.secho(result.complaint, fg="red", err=True)
    return result.status


def _run_often(suite: Suite, seeds: Sequence[int]) -> int:
    for number, seed in enumerate(seeds):
        result = suite.run(seed, quiet=True)
        if result.status:
            click.echo(result.output, nl=False)
        click.echo(f"run {number + 1} of {len(seeds)}, seed {seed}: {result.summary}, {result.seconds:.1f} s")
        if result.status:
            said = f"{number} of {len(seeds)} runs were green; the one with --seed {seed} was not."
            click.secho(
                said if result.complaint is None else f"{said} {result.complaint}", fg="red", err=True
            )
            return result.status
    click.secho(f"{len(seeds)} of {len(seeds)} runs were green, seeds {seeds[0]} to {seeds[-1]}.", fg="green")
    return 0
