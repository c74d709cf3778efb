"""Whether a database has the tables that this package writes to, asked once, before the first operation."""

from __future__ import annotations

from ..errors import ConfigurationError
from ._connections import Row, Session
from ._schema import SCHEMA_VERSION, SCHEMA_VERSIONS
from ._sql_errors import Failure, failure_of, is_driver_error
from ._statements import Statement, Statements

__all__ = ["check_schema"]

_UPGRADE = "upgrade it: aistorage schema --upgrade URL"


def check_schema(session: Session, sql: Statements, where: str) -> None:
    """Compare the schema's version with this package's.

    A database without tables is left as it is: the first operation makes them. One with tables but without a
    version, which a clean-up may have deleted, is judged by its columns.

    Args:
        session: where to ask.
        sql: this package's statements.
        where: the URL without secrets, for messages.

    Raises:
        ConfigurationError: the schema is older or newer, or the user may not read its version.
        Exception: the driver's, for anything else.
    """
    failure, rows = _asked(session, sql.schema_version, sql)
    if failure is Failure.DENIED:
        raise ConfigurationError(f"{where}: the user may not read the schema's version ({failure.value})")
    if failure is Failure.MISMATCH:
        raise ConfigurationError(
            f"{where}: the table {sql.tables.schema.name} is not the one of this package"
        )
    if not rows:
        failure, _ = _asked(session, sql.shape, sql)
        if failure is Failure.MISMATCH:
            raise ConfigurationError(
                f"{where}: its table ai_progress has no schema version and not all columns of version "
                f"{SCHEMA_VERSION}; if it is the guide's, {_UPGRADE}"
            )
        return
    found = sorted(str(row[0]) for row in rows)
    if found == [SCHEMA_VERSION]:
        return
    if len(found) == 1 and found[0] in SCHEMA_VERSIONS:
        raise ConfigurationError(
            f"{where}: its schema is version {found[0]}, this package needs {SCHEMA_VERSION}; {_UPGRADE}"
        )
    raise ConfigurationError(
        f"{where}: its schema is version {', '.join(found)[:80]}, which this package does not know "
        f"(it knows up to {SCHEMA_VERSION}); install a newer pytest-aistorage"
    )


def _asked(session: Session, statement: Statement, sql: Statements) -> tuple[Failure | None, list[Row]]:
    """Return the rows, or why there are none, where that says something of the tables."""
    try:
        return None, session.rows(statement, {})
    except Exception as error:
        if not is_driver_error(error):
            raise
        failure = failure_of(error, sql.flavour)
        if failure not in (Failure.NO_TABLE, Failure.MISMATCH, Failure.DENIED):
            raise
        return failure, []
