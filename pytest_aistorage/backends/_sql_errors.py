"""What a driver's error means, told from its code and not from its words."""

from __future__ import annotations

import enum
import sqlite3
from typing import Any

from ._schema import Flavour

__all__ = [
    "Failure",
    "failure_of",
    "failure_of_commit",
    "is_already_there",
    "is_driver_error",
    "without_frames",
]


class Failure(enum.Enum):
    """What became of a statement that failed."""

    BUSY = "others held a lock; it did not take effect and may be tried again"
    LOST = "the connection broke; it may have taken effect if it could by itself"
    NO_TABLE = "a table is missing; it did not take effect"
    MISMATCH = "the tables are not as this version makes them"
    DENIED = "the user may not do that"
    CORRUPT = "the database says of itself that it is damaged"
    REFUSED = "the server refused; it did not take effect"


_POSTGRES = {
    "40001": Failure.BUSY,  # serialization_failure
    "40P01": Failure.BUSY,  # deadlock_detected
    "55P03": Failure.BUSY,  # lock_not_available
    "3F000": Failure.NO_TABLE,  # invalid_schema_name
    "42P01": Failure.NO_TABLE,
    "42703": Failure.MISMATCH,  # undefined_column
    "42P10": Failure.MISMATCH,  # ON CONFLICT without a matching unique index
    "42804": Failure.MISMATCH,  # datatype_mismatch
    "42501": Failure.DENIED,
    "40003": Failure.LOST,  # statement_completion_unknown
    "XX001": Failure.CORRUPT,  # data_corrupted
    "XX002": Failure.CORRUPT,  # index_corrupted
}
# The server, or a pooler in front of it, ends the connection with these: what was sent may have been carried out.
_POSTGRES_ENDS = ("FATAL", "PANIC")
# The class of connection exceptions: PgBouncer's words for a server that it lost, for one.
_POSTGRES_CONNECTION = "08"

_MYSQL = {
    1205: Failure.BUSY,  # lock wait timeout
    1213: Failure.BUSY,  # deadlock
    1020: Failure.BUSY,  # MariaDB: record has changed since last read (innodb_snapshot_isolation)
    3572: Failure.BUSY,  # NOWAIT
    1146: Failure.NO_TABLE,
    1054: Failure.MISMATCH,  # unknown column
    1136: Failure.MISMATCH,  # column count
    1044: Failure.DENIED,
    1142: Failure.DENIED,
    1143: Failure.DENIED,
    1227: Failure.DENIED,
    1053: Failure.LOST,  # shutdown in progress
    1927: Failure.LOST,  # MariaDB: connection was killed
    4031: Failure.LOST,  # disconnected because of inactivity
    0: Failure.LOST,  # PyMySQL's own, of a closed connection
}

# The client library's own numbers; also those of a proxy such as MaxScale or ProxySQL that lost its server.
_MYSQL_CLIENT = range(2000, 3000)

_SQLITE = {
    sqlite3.SQLITE_BUSY: Failure.BUSY,
    sqlite3.SQLITE_LOCKED: Failure.BUSY,
    sqlite3.SQLITE_SCHEMA: Failure.BUSY,  # others changed it while the statement was prepared
    sqlite3.SQLITE_CORRUPT: Failure.CORRUPT,
    sqlite3.SQLITE_NOTADB: Failure.CORRUPT,
    sqlite3.SQLITE_IOERR: Failure.LOST,
    sqlite3.SQLITE_PERM: Failure.DENIED,
    sqlite3.SQLITE_AUTH: Failure.DENIED,
}


def failure_of(error: Exception, flavour: Flavour) -> Failure:
    """Say what a driver's error means for the statement that met it."""
    if isinstance(error, OSError):
        return Failure.LOST
    if flavour == "postgresql":
        return _of_postgres(error)
    if flavour == "sqlite":
        return _of_sqlite(error)
    number = error.args[0] if error.args else None
    # Without a number it is PyMySQL that could not make sense of what it read.
    if not isinstance(number, int) or number in _MYSQL_CLIENT:
        return Failure.LOST
    return _MYSQL.get(number, Failure.REFUSED)


def failure_of_commit(failure: Failure, flavour: Flavour) -> Failure:
    """Say what a failure means that met a COMMIT.

    PostgreSQL and SQLite answer with an error only where nothing was committed. MySQL and MariaDB do so also where
    the transaction may stand in a log already ("Got error … during COMMIT", an error of the binary log).
    """
    if failure is Failure.REFUSED and flavour in ("mysql", "mariadb"):
        return Failure.LOST
    return failure


def is_driver_error(error: BaseException) -> bool:
    """Say whether an exception is one of PEP 249's, of whichever driver."""
    return any(base.__name__ == "Error" and base.__module__ in _DRIVERS for base in type(error).__mro__)


def is_already_there(error: BaseException) -> bool:
    """Say whether a CREATE met what another client had just created."""
    state = getattr(error, "sqlstate", None)
    number = error.args[0] if error.args else None
    return (
        state
        in ("42P07", "42710", "23505")  # table; object; PostgreSQL's own catalogue, when two create at once
        or number in (1050, 1061)
        or (isinstance(error, sqlite3.OperationalError) and "already exists" in str(error))
    )


_DRIVERS = frozenset({"psycopg", "psycopg.errors", "sqlite3", "pymysql.err"})


def _of_postgres(error: Any) -> Failure:
    state = getattr(error, "sqlstate", None)
    # Without a SQLSTATE no server has spoken: the connection is gone, or timed out.
    if not isinstance(state, str) or state.startswith(_POSTGRES_CONNECTION):
        return Failure.LOST
    if error.diag.severity_nonlocalized in _POSTGRES_ENDS:
        return Failure.LOST
    return _POSTGRES.get(state, Failure.REFUSED)


def _of_sqlite(error: Exception) -> Failure:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # A closed connection, "Cannot operate on a closed database": nothing was done.
        return Failure.REFUSED
    primary = code & 0xFF  # the other bits say more precisely what happened
    # SQLITE_SCHEMA: it looked for a table while another client made it.
    if primary in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA):
        if "no such table" in str(error):
            return Failure.NO_TABLE
        if "has no column" in str(error) or "no such column" in str(error) or "ON CONFLICT" in str(error):
            return Failure.MISMATCH
    return _SQLITE.get(primary, Failure.REFUSED)


def without_frames(error: BaseException) -> BaseException:
    """Return a connection's error without its frames, and those of what led to it.

    They have the password among their arguments, which pytest and others print.
    """
    chain: BaseException | None = error
    while chain is not None:
        chain.__traceback__ = None
        chain = chain.__cause__ or chain.__context__
    return error
