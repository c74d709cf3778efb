"""``aistorage prove``: the JSON file loses data, and the others don't, on whatever this machine offers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AIStorageError, ServerUnavailableError
from ._servers import QUICKEST_FIRST, provider_option, url_option

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..progress import AIProgress
    from ..races import ClientPool
    from ..races.proof import Evidence, Proof
    from ._machine import Machine, Wanted

__all__ = ["command"]


@click.command("prove")
@click.option(
    "--backend",
    "names",
    multiple=True,
    metavar="NAME",
    help="Prove this one: file, memory, sqlite, postgres, redis, mysql, a server's version after an @ "
    "(postgres@17, redis@valkey-8, mysql@mariadb-11.8), or a registered backend. May be repeated.  "
    "[default: all that can be had]",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How often what must lose has to lose.",
)
@click.option(
    "--operations",
    type=click.IntRange(min=50),
    default=400,
    show_default=True,
    help="Saves of one model in the stress run, by 8 clients.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the stress run.")
@click.option("--quick", is_flag=True, help="Fewer runs and operations, and no containers.")
@click.option(
    "--containers/--no-containers", default=True, help="Show what a container's restart does.  [default: yes]"
)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Begin each store of the backend file with the records of this one. It is only read.",
)
@provider_option(QUICKEST_FIRST)
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    runs: int,
    operations: int,
    seed: int,
    quick: bool,
    containers: bool,
    file: Path | None,
    providers: tuple[str, ...],
    urls: dict[str, str],
    as_json: bool,
) -> None:
    """Show that the JSON file loses data, and that the other backends don't.

    Two clients are led through chosen interleavings, one step at a time; a client is killed half-way; eight
    clients race; a container is replaced. Whatever a backend declares is compared with what happens.

    The exit status is 0 if everything came out as declared: nothing was lost that is promised to be kept, and
    what is not promised was lost every time. It is 1 otherwise, also if a backend that was named can't be had.
    """
    from ._display import console, progress_bar
    from ._machine import DEFAULT, Machine, wanted
    from ._report import document, print_report

    backends = wanted(names or DEFAULT)
    records = [] if file is None else _records_of(file)
    if quick:
        runs, operations, containers = min(runs, 5), min(operations, 200), False
    started = time.monotonic()
    prover = _Prover(progress_bar(), runs=runs, operations=operations, seed=seed, containers=containers)
    with Machine(backends, providers, urls, records) as machine:
        proofs, unavailable = prover.prove(machine, backends)
    elapsed = time.monotonic() - started
    # Skipped is never passed: what was asked for by name had to be shown.
    as_declared = all(proof.as_declared for proof in proofs) and not (names and unavailable)
    if as_json:
        click.echo(json.dumps(document(proofs, unavailable, elapsed, as_declared=as_declared), indent=2))
    else:
        print_report(console(), proofs, unavailable, elapsed, as_declared=as_declared)
    ctx.exit(0 if as_declared else 1)


def _records_of(file: Path) -> list[AIProgress]:
    from ..migration import read_records

    try:
        return read_records(file)
    except AIStorageError as error:
        raise click.BadParameter(str(error), param_hint="--file") from error


class _Prover:
    """Runs everything, and moves the progress bar."""

    def __init__(
        self, progress: Progress, *, runs: int, operations: int, seed: int, containers: bool
    ) -> None:
        self._progress = progress
        self._runs = runs
        self._operations = operations
        self._seed = seed
        self._containers = containers

    def prove(
        self, machine: Machine, backends: list[Wanted]
    ) -> tuple[list[Proof], dict[str, ServerUnavailableError]]:
        from ..races import ClientPool
        from ..races.proof import DEMONSTRATIONS
        from ._machine import Background

        proofs: dict[str, Proof] = {}
        unavailable: dict[str, ServerUnavailableError] = {}
        # Most of it is waiting for the engine, so it goes on beside the rest.
        restarts = {b.name: Background(work) for b in backends if (work := self._restart(machine, b))}
        with self._progress as progress, ClientPool() as pool:
            pool.start()
            steps = len(DEMONSTRATIONS) - 1
            task = progress.add_task("", total=len(backends) * steps + len(restarts))
            for number, backend in enumerate(backends):
                progress.update(task, description=f"{backend.name}: start", completed=number * steps)
                try:
                    proofs[backend.name] = self._prove_one(machine, backend, pool, task)
                except ServerUnavailableError as error:
                    unavailable[backend.name] = error
            progress.update(task, completed=len(backends) * steps)
            for name, restart in restarts.items():
                if name in proofs:
                    progress.update(task, description=f"{name}: container restart")
                    evidence = restart.result()
                    proofs[name].evidence[evidence.name] = evidence
                progress.update(task, advance=1)
        return list(proofs.values()), unavailable

    def _prove_one(self, machine: Machine, backend: Wanted, pool: ClientPool, task: TaskID) -> Proof:
        from ..races.proof import prove

        def report(demonstration: str) -> None:
            self._progress.update(task, advance=1, description=f"{backend.name}: {demonstration}")

        subject, provider = machine.subject(backend)
        with subject:
            return prove(
                subject,
                pool,
                provider=provider,
                runs=self._runs,
                operations=self._operations,
                seed=self._seed,
                progress=report,
            )

    def _restart(self, machine: Machine, backend: Wanted) -> Callable[[], Evidence] | None:
        """What shows a container's restart for this backend, if anything does."""
        from ..races import containers

        if not self._containers:
            return None
        if backend.name == "file":
            return containers.file_in_container
        if backend.spec is not None and backend.spec.kind == "postgres":
            return partial(containers.postgres_in_container, machine.options, backend.spec)
        return None
