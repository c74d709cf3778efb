"""The schema's versions, as Alembic migrations: what brings a database's tables up to this package.

For those who run their migrations themselves there is ``script_location = pytest_aistorage:migrations``; for all
others `upgrade`, which `aistorage schema --upgrade` calls. Needs the extra ``migrations``.
"""

from __future__ import annotations

import logging
import threading

from ..backends._schema import SCHEMA_VERSION
from ..errors import ConfigurationError
from ._connection import connected
from ._state import SchemaState, state_of

__all__ = ["SchemaState", "current", "upgrade"]


def current(url: str, *, timeout: float = 5.0) -> SchemaState:
    """Say which version of the schema a database has; nothing is changed.

    Args:
        url: of a database storage.
        timeout: seconds that one exchange with the server may take.

    Raises:
        ConfigurationError: a URL that can't be read, or a table that is neither the guide's nor this package's.
        StorageUnavailableError: the database can't be reached.
    """
    with connected(url, timeout) as connection:
        return state_of(connection)


def upgrade(url: str, *, time_zone: str = "UTC", timeout: float = 600.0) -> SchemaState:
    """Bring a database's tables to this package's version; make them where there are none.

    Several may do so at once: the first does the work, and the others find it done. On PostgreSQL and SQLite it is
    one transaction. MySQL and MariaDB end a transaction at each ``ALTER TABLE``: what a crash interrupts is finished
    by the next call, and until then no storage of this package opens the database.

    Args:
        url: of a database storage.
        time_zone: what PostgreSQL's columns without a zone meant in the guide's table, ``"Europe/Berlin"`` say.
            (MySQL's TIMESTAMP has no such doubt.)
        timeout: seconds that one statement may take; a table is rewritten in one. Others' locks are waited for
            five seconds at most, since whoever comes after waits behind this.

    Returns:
        The state that was found before.

    Raises:
        ConfigurationError: the extra is missing, the schema is newer than this package, the table is not the
            guide's, or the user may not change tables.
        CorruptStorageError: records that break this package's rules, by name; nothing was changed.
        StorageUnavailableError: the database can't be reached, or others hold a lock.
    """
    try:
        from alembic import command
        from alembic.config import Config
    except ImportError:
        raise ConfigurationError(
            "aistorage schema --upgrade needs Alembic, which is not installed: "
            "pip install 'pytest-aistorage[migrations]'"
        ) from None
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with connected(url, timeout) as connection:
        found = state_of(connection)
        connection.rollback()
        settings = Config(attributes={"connection": connection, "time_zone": time_zone})
        settings.set_main_option("script_location", "pytest_aistorage:migrations")
        settings.set_main_option("path_separator", "os")
        with _alembic:
            command.upgrade(settings, SCHEMA_VERSION)
    return found


# Alembic's context is the whole process's, whichever thread it was made in.
_alembic = threading.Lock()
