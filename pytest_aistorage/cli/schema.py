"""``aistorage schema``: the tables printed, a database's version told, and its tables upgraded."""

from __future__ import annotations

import click

from ..errors import AIStorageError

__all__ = ["command"]


@click.command("schema")
@click.option(
    "--dialect",
    type=click.Choice(("sqlite", "postgresql", "mysql", "mariadb")),
    help="Whose SQL to print.",
)
@click.option("--current", metavar="URL", help="Say which version of the schema a database has.")
@click.option("--upgrade", metavar="URL", help="Bring a database's tables up to this package.")
@click.option(
    "--time-zone",
    default="UTC",
    show_default=True,
    help="With --upgrade of the guide's table on PostgreSQL: what its TIMESTAMPs without a zone meant.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86400),
    default=600.0,
    show_default=True,
    help="With --upgrade: seconds that one statement may take.",
)
def command(
    dialect: str | None, current: str | None, upgrade: str | None, time_zone: str, timeout: float
) -> None:
    """Print the SQL that creates the tables, or upgrade those of a database.

    A database storage creates its tables by itself where it may; --dialect is for those who run their migrations
    themselves. --upgrade runs Alembic's migrations (extra "migrations"): from the guide's own table, or from an
    older version of this package. With an operator's own Alembic: script_location = pytest_aistorage:migrations.
    """
    if sum(given is not None for given in (dialect, current, upgrade)) != 1:
        raise click.UsageError("give one of --dialect, --current and --upgrade")
    if dialect is not None:
        from ..backends._schema import FLAVOURS, create_statements

        flavour = next(flavour for flavour in FLAVOURS if flavour == dialect)
        click.echo(create_statements(flavour), nl=False)
        return

    from .. import migrations

    try:
        if current is not None:
            click.echo(migrations.current(current))
            return
        assert upgrade is not None  # one of the three
        found = migrations.upgrade(upgrade, time_zone=time_zone, timeout=timeout)
        click.echo(f"{found} -> {migrations.current(upgrade)}")
    except AIStorageError as error:
        raise click.ClickException(str(error)) from None
