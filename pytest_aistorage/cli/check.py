"""``aistorage check``: judge a history that was recorded, here or elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..races.checker import Check

__all__ = ["command"]


@click.command("check")
@click.argument("history", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--snapshot/--no-snapshot",
    default=True,
    help="Whether a listing has to show one moment.  [default: it has to]",
)
@click.option(
    "--atomic/--no-atomic",
    default=True,
    help="Whether a batch has to take effect at one moment.  [default: it has to]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=None,
    help="Budget of the search, where versions and values don't decide.  [default: 2,000,000]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with timelines to look around in.",
)
@click.pass_context
def command(
    ctx: click.Context,
    history: Path,
    snapshot: bool,
    atomic: bool,
    steps: int | None,
    as_json: bool,
    page: Path | None,
) -> None:
    """Say whether a recorded history is linearizable, and what is wrong with it.

    HISTORY is a file of JSON Lines: an operation on each line, as the documentation describes. The exit status is 0
    if it is linearizable, 1 if it is not, 2 if it can't be read, 3 if the budget ran out: that is no pass.
    """
    from ..races.checker import STEPS, Verdict, check_linearizable
    from ..races.history import History
    from ..races.timeline import describe

    try:
        recorded = History.load(history)
    except (ConfigurationError, OSError, UnicodeDecodeError) as error:
        raise click.UsageError(str(error)) from error
    if not len(recorded):
        raise click.UsageError(f"{history} has no operation in it: nothing to check")
    check = check_linearizable(
        recorded,
        snapshot_listing=snapshot,
        atomic_batch=atomic,
        steps=STEPS if steps is None else steps,
    )
    if page is not None:
        from ..races.page import write_page

        try:
            write_page(page, check, recorded, name=history.name)
        except OSError as error:
            raise click.UsageError(f"the page can't be written: {error}") from error
    if as_json:
        click.echo(json.dumps(_document(check), indent=2, default=repr))
    else:
        click.echo(describe(check, recorded, name=history.name, page=page))
    ctx.exit({Verdict.LINEARIZABLE: 0, Verdict.VIOLATION: 1, Verdict.UNKNOWN: 3}[check.verdict])


def _document(check: Check) -> dict[str, object]:
    return {
        "verdict": check.verdict.value,
        "operations": check.operations,
        "models": check.models,
        "undecided": list(check.undecided),
        "violations": [
            {
                "anomaly": violation.anomaly,
                "model_name": violation.model_name,
                "why": violation.why,
                "verified": violation.verified,
                "operations": [operation._asdict() for operation in violation.operations],
            }
            for violation in check.violations
        ],
    }
