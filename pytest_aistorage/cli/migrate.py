"""``aistorage migrate``: a hand-written JSON file into a storage, and what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AIStorageError, ConfigurationError
from ._findings import Findings, byte_bar

if TYPE_CHECKING:
    from ..migration.migrating import MigrationReport

__all__ = ["command"]

_STOPPED = 3
"""The exit status of a migration that could not go on."""


@click.command("migrate")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("url", envvar="DATABASE_URL")
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be written, and what differs.")
@click.option(
    "--verify", is_flag=True, help="Read the file once more in the end, and compare what is stored."
)
@click.option("--skip-invalid", is_flag=True, help="Leave out what can't be taken, and save the rest.")
@click.option(
    "--duplicates",
    type=click.Choice(("refuse", "first", "last")),
    default="refuse",
    show_default=True,
    help="Of a model that comes several times, save the first or the last record; refuse takes none of them.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every problem and every difference into this file, as JSON.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 100_000),
    default=2000,
    show_default=True,
    help="Records to save at a time.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86400),
    default=60.0,
    show_default=True,
    help="Seconds that one batch may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    url: str,
    dry_run: bool,
    verify: bool,
    skip_invalid: bool,
    duplicates: str,
    report_path: Path | None,
    batch_size: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Save the records of a JSON file in a storage.

    FILE is a list of records, an object by model name, or JSON Lines; keys in camelCase or snake_case. It is only
    read. URL is where to, as for open_storage; DATABASE_URL, where it is left out. What is stored there is never
    overwritten. Run it again to take up a migration that was interrupted: what is there already is passed over.

    The exit status is 0 if every record of the file is stored; 1 if one is not, because it can't be taken or because
    another record of its model is there; 2 for a command that can't be right; 3 if the file or the storage failed on
    the way.
    """
    __tracebackhide__ = True
    from ..migration.migrating import migrate_file
    from ..registry import open_storage

    findings = Findings(report_path, file)
    try:
        with open_storage(url, timeout=timeout) as storage, findings, byte_bar() as bar:
            task = bar.add_task("", total=None, records=0)

            def show(phase: str, done: int, size: int, records: int) -> None:
                bar.update(task, description=phase, completed=done, total=size, records=records)

            report = migrate_file(
                file,
                storage,
                dry_run=dry_run,
                verify=verify,
                skip_invalid=skip_invalid,
                duplicates=duplicates,  # type: ignore[arg-type]  # click lets nothing else in
                batch_size=batch_size,
                progress=show,
                found=findings.add,
            )
            location = storage.get_storage_info().location if not report.refused else ""
            findings.finish({"file": str(file), "storage": location, **document(report)})
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None
    except AIStorageError as error:
        click.echo(f"Error: {error}", err=True)
        click.echo("What was saved stays: run the same command again to go on.", err=True)
        ctx.exit(_STOPPED)
    if as_json:
        click.echo(json.dumps({"file": str(file), "storage": location, **document(report)}))
    else:
        findings.print()
        click.echo(told(report))
    ctx.exit(0 if report else 1)


def document(report: MigrationReport) -> dict[str, object]:
    """Return the counts as what JSON can say."""
    names = (
        *(
            "records",
            "added",
            "equal",
            "different",
            "missing",
            "invalid",
            "damaged",
            "duplicates",
            "superseded",
        ),
        *("verified", "refused", "dry_run"),
    )
    return {"complete": bool(report), **{name: getattr(report, name) for name in names}}


def told(report: MigrationReport) -> str:
    """Return the counts in words."""
    if report.refused:
        wrong = report.invalid + report.damaged + report.duplicates
        return (
            f"Nothing was written: {wrong} of {report.records} records can't be taken. "
            "Mend the file, or leave these out with --skip-invalid."
        )
    saved = "would be saved" if report.dry_run else "saved"
    parts = [f"{report.records} records: {report.added} {saved}", f"{report.equal} there already"]
    for count, words in (
        (report.different, "differ from what is stored, and were left"),
        (report.missing, "missing"),
        (report.invalid + report.damaged + report.duplicates, "left out"),
        (report.superseded, "superseded"),
    ):
        if count:
            parts.append(f"{count} {words}")
    if report.verified is not None:
        parts.append(f"{report.verified} compared and equal")
    return f"{', '.join(parts)}."
