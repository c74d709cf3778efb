"""From the guide's table to this package's: ``version``, names compared exactly, moments in UTC, 64-bit floats.

There is no way back: versions that clients hold would come to mean other records.
"""

from __future__ import annotations

from alembic import context, op

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.migrations import _guide_mysql, _guide_postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Convert the table where it is, under a lock, after a look at every record."""
    connection = op.get_bind()
    time_zone = str(context.get_context().opts.get("time_zone", "UTC"))
    if connection.dialect.name == "postgresql":
        _guide_postgresql.convert(connection, time_zone)
    elif connection.dialect.name in ("mysql", "mariadb"):
        _guide_mysql.convert(connection, time_zone)
    else:
        raise ConfigurationError(
            "the guide's table is converted on PostgreSQL, MySQL and MariaDB; save its records anew instead"
        )
