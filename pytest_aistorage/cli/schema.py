"""``aistorage schema``: the tables, for those who run their migrations themselves."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("schema")
@click.option(
    "--dialect",
    type=click.Choice(("sqlite", "postgresql", "mysql", "mariadb")),
    required=True,
    help="Whose SQL to write.",
)
def command(dialect: str) -> None:
    """Print the SQL that creates the tables.

    A database storage creates them by itself where it may; this is for those who run their migrations
    themselves.
    """
    from ..backends._schema import FLAVOURS, create_statements

    flavour = next(flavour for flavour in FLAVOURS if flavour == dialect)
    click.echo(create_statements(flavour), nl=False)
