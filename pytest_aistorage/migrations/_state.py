"""Which tables a database has, and which version of the schema that is."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from ..backends._connections import flavour_of
from ..backends._schema import GUIDE_COLUMNS, SCHEMA_TABLE, SCHEMA_VERSION, SCHEMA_VERSIONS, Tables
from ..errors import ConfigurationError

__all__ = ["LOCK_SECONDS", "SchemaState", "adopt", "lock_out_others", "release_others", "state_of"]

LOCK_SECONDS = 5
"""How long others' locks are waited for."""
_PATIENCE = 300  # seconds, for another upgrade of the same database
_LOCK_NAME = "pytest-aistorage"  # and a hash of the database's name: 64 characters at most
_LOCK_NUMBER = 0x61695F70726F67  # "ai_prog", in the one name space of a database's advisory locks


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaState:
    """What was found in a database.

    Attributes:
        version: one of `SCHEMA_VERSIONS`, a newer one's name, or None where there are no tables.
        recorded: whether the database says so itself; otherwise its columns do.
    """

    version: str | None
    recorded: bool

    @property
    def is_newer(self) -> bool:
        """Whether a later version of this package made it."""
        return self.version is not None and self.version not in SCHEMA_VERSIONS

    def __str__(self) -> str:
        if self.version is None:
            return "no tables"
        if self.is_newer:
            return f"{self.version}, which is newer than this package's {SCHEMA_VERSION}"
        kind = "the guide's table" if self.version == SCHEMA_VERSIONS[0] else "current"
        return f"{self.version} ({kind}{'' if self.recorded else '; not recorded'})"


def state_of(connection: sa.Connection) -> SchemaState:
    """Look at the tables.

    Raises:
        ConfigurationError: there is a table ``ai_progress`` of another making.
    """
    inspector = sa.inspect(connection)
    if inspector.has_table(SCHEMA_TABLE):
        versions = connection.execute(sa.text(f"SELECT version_num FROM {SCHEMA_TABLE}")).scalars().all()
        if versions:
            return SchemaState(str(max(versions)), recorded=True)
    if not inspector.has_table("ai_progress"):
        return SchemaState(None, recorded=False)
    columns = {column["name"] for column in inspector.get_columns("ai_progress")}
    missing = sorted(set(GUIDE_COLUMNS) - columns)
    if missing:
        raise ConfigurationError(
            f"the table ai_progress is neither the guide's nor this package's: it has no column {missing[0]}"
        )
    ours = "version" in columns and inspector.has_table("ai_progress_versions")
    if "version" in columns and not ours:
        raise ConfigurationError(
            "the table ai_progress has a column version, but there is no table ai_progress_versions"
        )
    return SchemaState(SCHEMA_VERSION if ours else SCHEMA_VERSIONS[0], recorded=False)


def adopt(connection: sa.Connection) -> None:
    """Record the version of what is there; make this package's tables where there are none.

    Raises:
        ConfigurationError: the schema is newer than this package, or of another making.
    """
    state = state_of(connection)
    if state.is_newer:
        raise ConfigurationError(f"the schema is version {state}; install a newer pytest-aistorage")
    if state.recorded:
        return
    tables = Tables(flavour_of(connection.engine))
    if state.version is None:
        tables.metadata.create_all(connection)
    else:
        tables.schema.create(connection, checkfirst=True)
        connection.execute(sa.delete(tables.schema))  # what it is created with
        connection.execute(sa.insert(tables.schema).values(version_num=state.version))


def lock_out_others(connection: sa.Connection) -> None:
    """Wait for other upgrades of this database to end, and limit how long locks on its tables are waited for.

    Raises:
        ConfigurationError: another upgrade takes longer than one statement may.
    """
    name = connection.dialect.name
    if name == "postgresql":
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})"))
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    elif name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        got = connection.execute(
            sa.text(f"SELECT GET_LOCK(CONCAT(:name, ' ', LEFT(SHA2(DATABASE(), 256), 40)), {_PATIENCE})"),
            {"name": _LOCK_NAME},
        ).scalar_one()
        if got != 1:
            raise ConfigurationError("another upgrade of this database is still running")
        connection.execute(sa.text(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}"))


def release_others(connection: sa.Connection) -> None:
    """Let the next upgrade begin, where the end of the transaction does not."""
    if connection.dialect.name not in ("postgresql", "sqlite"):
        connection.execute(
            sa.text("SELECT RELEASE_LOCK(CONCAT(:name, ' ', LEFT(SHA2(DATABASE(), 256), 40)))"),
            {"name": _LOCK_NAME},
        )
