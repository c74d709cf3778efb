"""What Alembic runs: the connection, the lock, and which version the tables have to begin with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from pytest_aistorage.backends._schema import SCHEMA_TABLE
from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.migrations._connection import connected
from pytest_aistorage.migrations._state import adopt, lock_out_others, release_others


def run(connection: sa.Connection) -> None:
    """Run the migrations that are due, in one transaction where the product can."""
    try:
        lock_out_others(connection)
        adopt(connection)
        context.configure(
            connection=connection,
            version_table=SCHEMA_TABLE,
            time_zone=context.config.attributes.get("time_zone", "UTC"),
        )
        with context.begin_transaction():
            context.run_migrations()
        release_others(connection)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def main() -> None:
    """Take the connection of `upgrade`, or make one by the URL in the operator's own ``alembic.ini``."""
    given = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    url = context.config.get_main_option("sqlalchemy.url")
    if context.is_offline_mode() or not url:
        raise ConfigurationError(
            "the migrations look at the tables: they need a connection, by sqlalchemy.url in alembic.ini"
        )
    with connected(url, 600.0) as connection:
        run(connection)


main()
