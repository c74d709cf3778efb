"""The tables of a database storage: the guide's, column by column, plus ``version``; and the versions' own.

Which tables a database has is told by the schema's version, in a table that Alembic keeps too.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

__all__ = [
    "FLAVOURS",
    "GUIDE_COLUMNS",
    "SCHEMA_TABLE",
    "SCHEMA_VERSION",
    "SCHEMA_VERSIONS",
    "SECONDS_NOW",
    "Flavour",
    "Tables",
    "create_statements",
]

Flavour = Literal["sqlite", "postgresql", "mysql", "mariadb"]
FLAVOURS: tuple[Flavour, ...] = ("sqlite", "postgresql", "mysql", "mariadb")

SECONDS_NOW: dict[Flavour, str] = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())",
    "mysql": "UNIX_TIMESTAMP(NOW(6))",
    "mariadb": "UNIX_TIMESTAMP(NOW(6))",
}
"""SQL for the server's time, in seconds since 1970: what clients agree on by the database goes by one clock."""

SCHEMA_VERSIONS = ("0001", "0002")
"""Every version of the schema, oldest first: the guide's own table, and these tables. Alembic's revisions."""
SCHEMA_VERSION = SCHEMA_VERSIONS[-1]
SCHEMA_TABLE = "ai_progress_schema"
"""Not Alembic's usual ``alembic_version``, which may be the application's own in the same database."""
GUIDE_COLUMNS = (
    "id",
    "model_name",
    "training_start",
    "training_end",
    "accuracy",
    "mse",
    "training_samples",
    "cross_validation_score",
    "metadata",
    "created_at",
    "updated_at",
)
"""The columns of the guide's table, which are those of `Tables.progress` but for ``version``."""

# Names are compared exactly and ordered by code point. Every default breaks one of the two: PostgreSQL orders
# by the database's locale; MySQL folds case and accents; utf8mb4_bin folds trailing spaces.
_EXACT_COLLATION: dict[Flavour, str] = {
    "sqlite": "BINARY",
    "postgresql": "C",
    "mysql": "utf8mb4_0900_bin",
    "mariadb": "utf8mb4_nopad_bin",
}


class Tables:
    """The tables in one flavour of SQL.

    ``ai_progress_versions`` has a row for every model that was ever saved, and its row is the lock under which
    a model is changed. It outlives the record, so that a model which comes back gets a version never used.
    ``ai_progress_schema`` has one row, the schema's version, written when that table is created.
    """

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.metadata = sa.MetaData()
        name, moment, integer64 = _name(flavour), _moment(flavour), _integer64(flavour)
        self.progress = sa.Table(
            "ai_progress",
            self.metadata,
            # 64 bits, where the guide has SERIAL: an upsert draws a number even if it updates, so that 32
            # bits would run out after two thousand million saves.
            sa.Column("id", integer64, primary_key=True, autoincrement=True),
            sa.Column("model_name", name, nullable=False, unique=True),
            sa.Column("training_start", moment),
            sa.Column("training_end", moment),
            sa.Column("accuracy", sa.Double()),
            sa.Column("mse", sa.Double(), nullable=False),
            sa.Column("training_samples", sa.Integer()),
            sa.Column("cross_validation_score", sa.Double()),
            sa.Column("metadata", _json(flavour), nullable=False),
            sa.Column("version", integer64, nullable=False),
            sa.Column("created_at", moment, nullable=False),
            sa.Column("updated_at", moment, nullable=False),
            **_TABLE_OPTIONS,
        )
        sa.Index("idx_ai_progress_created_at", self.progress.c.created_at.desc())
        self.versions = sa.Table(
            "ai_progress_versions",
            self.metadata,
            sa.Column("model_name", name, primary_key=True),
            sa.Column("version", integer64, nullable=False),
            **_TABLE_OPTIONS,
        )
        self.schema = sa.Table(
            SCHEMA_TABLE,
            self.metadata,
            sa.Column("version_num", sa.String(32), primary_key=True),
            **_TABLE_OPTIONS,
        )
        sa.event.listen(self.schema, "after_create", _stamp)


_STAMP = f"INSERT INTO {SCHEMA_TABLE} (version_num) VALUES ('{SCHEMA_VERSION}')"


def _stamp(_table: sa.Table, connection: sa.Connection, **_: Any) -> None:
    connection.execute(sa.text(_STAMP))


_TABLE_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}


def create_statements(flavour: Flavour) -> str:
    """Return the SQL that creates the tables, for those who run their migrations themselves."""
    dialect = sa.make_url(f"{'mysql' if flavour == 'mariadb' else flavour}://").get_dialect()()
    tables = Tables(flavour)
    statements: list[str] = []
    for table in tables.metadata.sorted_tables:
        statements.append(str(sa.schema.CreateTable(table).compile(dialect=dialect)).strip())
        statements.extend(
            str(sa.schema.CreateIndex(index).compile(dialect=dialect)) for index in table.indexes
        )
    statements.append(_STAMP)
    return "".join(f"{statement};\n" for statement in statements)


def _name(flavour: Flavour) -> TypeEngine[str]:
    if flavour in ("mysql", "mariadb"):
        return mysql.VARCHAR(255, charset="utf8mb4", collation=_EXACT_COLLATION[flavour])
    return sa.String(255, collation=_EXACT_COLLATION[flavour])


def _moment(flavour: Flavour) -> TypeEngine[Any]:
    # Always UTC, without a zone: a column with one would be converted by the session's time zone, which takes
    # 9999-12-31 out of the range. MySQL's TIMESTAMP ends in 2038; SQLite has text.
    if flavour in ("mysql", "mariadb"):
        return mysql.DATETIME(fsp=6)
    return sa.Text() if flavour == "sqlite" else postgresql.TIMESTAMP(precision=6)


def _integer64(flavour: Flavour) -> TypeEngine[int]:
    # SQLite numbers rows by itself only where the type is spelled INTEGER; it has 64 bits there.
    return sa.Integer() if flavour == "sqlite" else sa.BigInteger()


def _json(flavour: Flavour) -> TypeEngine[Any]:
    if flavour == "postgresql":
        return postgresql.JSONB()
    if flavour == "sqlite":
        return sa.Text()
    # Text, compared byte by byte: MySQL's JSON would turn large integers into floats.
    return mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")
