"""The guide's table becomes this package's on PostgreSQL: in one transaction, in which nobody else sees the table."""

from __future__ import annotations

import zoneinfo
from typing import Any

import sqlalchemy as sa

from ..errors import ConfigurationError
from ._guide_records import check_records

__all__ = ["convert"]

_OPTIONAL_MOMENTS = ("training_start", "training_end")


def convert(connection: sa.Connection, time_zone: str) -> None:
    """Convert the table. Who writes to it meanwhile waits, and then finds another table.

    Args:
        connection: in a transaction, which the caller ends.
        time_zone: what moments in columns without a zone meant.

    Raises:
        CorruptStorageError: records that break this package's rules; the caller rolls back.
        ConfigurationError: no such time zone.
    """
    if time_zone not in zoneinfo.available_timezones():
        raise ConfigurationError(f"there is no time zone {time_zone!r}")

    def run(statement: str) -> None:
        connection.execute(sa.text(statement))

    run("LOCK TABLE ai_progress IN ACCESS EXCLUSIVE MODE")
    run("SET LOCAL datestyle = 'ISO'")
    run("SET LOCAL timezone = 'UTC'")
    check_records(connection)
    moments = {
        column["name"]: _in_utc(column, time_zone)
        for column in sa.inspect(connection).get_columns("ai_progress")
        if isinstance(column["type"], sa.DateTime)
    }
    created = f"COALESCE({moments['created_at']}, {moments['updated_at']}, now() AT TIME ZONE 'UTC')"
    updated = f"COALESCE({moments['updated_at']}, {moments['created_at']}, now() AT TIME ZONE 'UTC')"
    changes = [
        *(f"ALTER COLUMN {name} DROP DEFAULT" for name in ("metadata", "created_at", "updated_at")),
        "ALTER COLUMN id TYPE BIGINT",
        'ALTER COLUMN model_name TYPE VARCHAR(255) COLLATE "C"',
        *(f"ALTER COLUMN {name} TYPE TIMESTAMP(6) USING {moments[name]}" for name in _OPTIONAL_MOMENTS),
        *(
            f"ALTER COLUMN {name} TYPE DOUBLE PRECISION"
            for name in ("accuracy", "mse", "cross_validation_score")
        ),
        "ALTER COLUMN training_samples TYPE INTEGER",
        "ALTER COLUMN metadata TYPE JSONB USING COALESCE(NULLIF(metadata::jsonb, 'null'), '{}')",
        "ALTER COLUMN metadata SET NOT NULL",
        f"ALTER COLUMN created_at TYPE TIMESTAMP(6) USING {created}",
        "ALTER COLUMN created_at SET NOT NULL",
        f"ALTER COLUMN updated_at TYPE TIMESTAMP(6) USING {updated}",
        "ALTER COLUMN updated_at SET NOT NULL",
        # Without a default afterwards: a writer that knows nothing of versions fails instead of confusing them.
        "ADD COLUMN version BIGINT NOT NULL DEFAULT 1",
    ]
    run(f"ALTER TABLE ai_progress {', '.join(changes)}")
    run("ALTER TABLE ai_progress ALTER COLUMN version DROP DEFAULT")
    sequence = connection.execute(sa.text("SELECT pg_get_serial_sequence('ai_progress', 'id')")).scalar_one()
    if sequence is not None:
        run(f"ALTER SEQUENCE {sequence} AS BIGINT")
    run("DROP INDEX IF EXISTS idx_ai_progress_model_name")  # the unique constraint has one already
    run("CREATE INDEX IF NOT EXISTS idx_ai_progress_created_at ON ai_progress (created_at DESC)")
    run(
        'CREATE TABLE ai_progress_versions (model_name VARCHAR(255) COLLATE "C" PRIMARY KEY, '
        "version BIGINT NOT NULL)"
    )
    run("INSERT INTO ai_progress_versions SELECT model_name, version FROM ai_progress")


def _in_utc(column: Any, time_zone: str) -> str:
    """An expression: the column's moment in UTC, without a zone."""
    name = column["name"]
    if column["type"].timezone:
        return f"({name} AT TIME ZONE 'UTC')"
    return f"({name} AT TIME ZONE '{time_zone}' AT TIME ZONE 'UTC')"
