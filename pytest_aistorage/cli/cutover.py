"""``aistorage cutover``: from a JSON file to another storage in four steps, while the application runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import AIStorageError, ConfigurationError, CutoverStepError
from ._findings import Findings

if TYPE_CHECKING:
    from ..migration.cutover import Cutover
    from ..migration.differences import Consistency

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

_STOPPED = 3
"""The exit status of a step that could not be finished; take it again."""


@click.group("cutover")
def command() -> None:
    """Move a running application from its JSON file to another storage.

    The application opens cutover:///path/training_metrics.json?to=URL before the first step, and follows each of
    them without a change or a restart: dual-write, verify, switch, retire. FILE is in the form that FileStorage
    writes; URL is the new storage, or DATABASE_URL where it is left out. Each step can be killed at any moment, and
    taken again.

    The exit status is 0 if the step was taken, 1 if differences are in its way, 2 for a step that is not next or a
    command that can't be right, 3 if a storage failed on the way.
    """


def _step(function: F) -> F:
    """Give a command FILE and URL."""
    function = click.argument("url", envvar="DATABASE_URL")(function)
    return click.argument("file", type=click.Path(dir_okay=False, path_type=Path))(function)


_report = click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every difference into this file, as JSON.",
)


@contextlib.contextmanager
def _taking(file: Path, url: str) -> Iterator[Cutover]:
    __tracebackhide__ = True
    from ..migration.cutover import Cutover

    try:
        with Cutover(file, url) as cutover:
            yield cutover
    except (ConfigurationError, CutoverStepError) as error:
        raise click.UsageError(str(error)) from None
    except AIStorageError as error:
        click.echo(f"Error: {error}", err=True)
        click.get_current_context().exit(_STOPPED)


def _in_the_way(findings: Findings, counts: Consistency, file: Path, said: str) -> None:
    """Tell the differences, and end with the status 1."""
    findings.finish(
        {
            "file": str(file),
            "equal": counts.equal,
            "different": counts.different,
            "missing": counts.missing,
            "extra": counts.extra,
        }
    )
    findings.print()
    if said:
        click.echo(said)
        click.get_current_context().exit(1)


def _words(counts: Consistency) -> str:
    return (
        f"{counts.equal} equal, {counts.different} different, {counts.missing} missing in the new storage, "
        f"{counts.extra} only there"
    )


@command.command("status")
@_step
def status(file: Path, url: str) -> None:
    """Say how far it has come."""
    with _taking(file, url) as cutover:
        now = cutover.status()
    click.echo(f"{now.step.value}; {now.pending} models without a copy of their last change")
    if now.last_failure:
        click.echo(f"  {now.last_failure}")


@command.command("dual-write")
@_step
@_report
def dual_write(file: Path, url: str, report_path: Path | None) -> None:
    """1. Write both; copy what the file has to the new storage."""
    with Findings(report_path, file) as findings, _taking(file, url) as cutover:
        counts = cutover.dual_write(findings.add)
        refused = "Nothing was changed: the new storage holds what the file doesn't." if not counts else ""
        _in_the_way(findings, counts, file, refused)
        click.echo(
            f"Both are written, the file is read; {counts.equal} records are in the new storage. Next: verify."
        )


@command.command("verify")
@_step
@_report
@click.option("--repair", is_flag=True, help="Make the new storage as the file is, where it differs.")
def verify(file: Path, url: str, report_path: Path | None, repair: bool) -> None:
    """2. Compare the new storage with the file, value by value."""
    with Findings(report_path, file) as findings, _taking(file, url) as cutover:
        counts = cutover.verify(findings.add, repair=repair)
        wrong = "" if counts or repair else f"{_words(counts)}. With --repair the file's values are taken."
        _in_the_way(findings, counts, file, wrong)
        click.echo(f"{_words(counts)}{', and repaired' if not counts else ''}. Next: switch.")


@command.command("switch")
@_step
def switch(file: Path, url: str) -> None:
    """3. Read the new storage; write both."""
    with _taking(file, url) as cutover:
        cutover.switch()
    click.echo("The new storage is read; both are written. Next: retire.")


@command.command("retire")
@_step
@_report
@click.option("--accept-differences", is_flag=True, help="Retire the file, whatever only the file has.")
def retire(file: Path, url: str, report_path: Path | None, accept_differences: bool) -> None:
    """4. Use the file no more; print the command that removes it."""
    with Findings(report_path, file) as findings, _taking(file, url) as cutover:
        removal = cutover.retire(findings.add, accept_differences=accept_differences)
        findings.finish({"file": str(file)})
        findings.print()
        if removal is None:
            click.echo(
                "The file is still written: it has what the new storage lacks. See --accept-differences."
            )
            click.get_current_context().exit(1)
    click.echo(
        "The file is used no more. Give the application the new storage's URL; then remove it, if you want:"
    )
    click.echo(f"  {removal}")
