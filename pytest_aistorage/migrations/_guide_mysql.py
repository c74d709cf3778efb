"""The guide's table becomes this package's on MySQL and MariaDB: in steps, each of which may be done again."""

from __future__ import annotations

import struct
from typing import Any

import sqlalchemy as sa

from .. import codec
from ..backends._connections import flavour_of
from ..errors import ConfigurationError
from ._guide_records import check_records

__all__ = ["convert", "shortest_float32"]

_COLLATIONS = {"mysql": "utf8mb4_0900_bin", "mariadb": "utf8mb4_nopad_bin"}
_FLOATS = ("accuracy", "mse", "cross_validation_score")
_WAS_FLOAT = "from FLOAT"  # a column's comment, while its values are being made exact
_AT_ONCE = 1000


def convert(connection: sa.Connection, time_zone: str) -> None:
    """Convert the table. Who reads or writes it meanwhile waits, and then finds another table.

    ``LOCK TABLES`` keeps others away; an ``ALTER TABLE`` is atomic, and the rest is undone by nobody but done again.

    Args:
        connection: which the locks belong to.
        time_zone: must be UTC: a TIMESTAMP is a moment, and a DATETIME is taken for one in UTC.

    Raises:
        CorruptStorageError: records that break this package's rules; nothing was changed.
        ConfigurationError: another time zone.
    """
    if time_zone != "UTC":
        raise ConfigurationError("a time zone is PostgreSQL's matter: MySQL's TIMESTAMP knows its moment")

    def run(statement: str) -> None:
        connection.execute(sa.text(statement))

    name = f"VARCHAR(255) CHARACTER SET utf8mb4 COLLATE {_COLLATIONS[flavour_of(connection.engine)]}"
    options = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    run(
        f"CREATE TABLE IF NOT EXISTS ai_progress_versions (model_name {name} NOT NULL PRIMARY KEY, "
        f"version BIGINT NOT NULL) {options}"
    )
    run("SET SESSION time_zone = '+00:00'")
    connection.commit()
    run("LOCK TABLES ai_progress WRITE, ai_progress_versions WRITE")
    try:
        columns = {column["name"]: column for column in sa.inspect(connection).get_columns("ai_progress")}
        if "version" not in columns:
            check_records(connection)
            run(f"ALTER TABLE ai_progress {', '.join(_first_changes(columns, name))}")
        _rewrite_rows(connection)
        run(f"ALTER TABLE ai_progress {', '.join(_last_changes(connection))}")
        run("INSERT IGNORE INTO ai_progress_versions SELECT model_name, version FROM ai_progress")
        connection.commit()
    finally:
        run("UNLOCK TABLES")


def _first_changes(columns: Any, name: str) -> list[str]:
    # No NOT NULL yet, and no ON UPDATE any more: the rows are about to be updated.
    return [
        "MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
        f"MODIFY model_name {name} NOT NULL",
        *(
            f"MODIFY {moment} DATETIME(6) NULL"
            for moment in ("training_start", "training_end", "created_at", "updated_at")
        ),
        *(
            f"MODIFY {number} DOUBLE NULL"
            + (f" COMMENT '{_WAS_FLOAT}'" if str(columns[number]["type"]).upper() == "FLOAT" else "")
            for number in _FLOATS
        ),
        "MODIFY training_samples INTEGER NULL",
        "MODIFY metadata LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL",
        # Without a default afterwards: a writer that knows nothing of versions fails instead of confusing them.
        "ADD COLUMN version BIGINT NOT NULL DEFAULT 1 AFTER metadata",
        "ENGINE=InnoDB",
    ]


def _last_changes(connection: sa.Connection) -> list[str]:
    inspector = sa.inspect(connection)
    indexes = {index["name"] for index in inspector.get_indexes("ai_progress")}
    indexes |= {str(constraint["name"]) for constraint in inspector.get_unique_constraints("ai_progress")}
    changes = [
        "MODIFY metadata LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
        "MODIFY version BIGINT NOT NULL",
        "MODIFY created_at DATETIME(6) NOT NULL",
        "MODIFY updated_at DATETIME(6) NOT NULL",
        "MODIFY mse DOUBLE NOT NULL",
        *(f"MODIFY {number} DOUBLE NULL" for number in ("accuracy", "cross_validation_score")),
    ]
    # SERIAL makes a second index of the primary key, and the guide one of the names, which are unique already.
    changes += [f"DROP INDEX {index}" for index in ("id", "idx_ai_progress_model_name") if index in indexes]
    if "idx_ai_progress_created_at" not in indexes:
        changes.append("ADD INDEX idx_ai_progress_created_at (created_at DESC)")
    return changes


def _rewrite_rows(connection: sa.Connection) -> None:
    """Write metadata in the canonical text that queries look for, and floats as they were meant."""
    columns = sa.inspect(connection).get_columns("ai_progress")
    floats = [column["name"] for column in columns if column.get("comment") == _WAS_FLOAT]
    names = ["metadata", *floats]
    select = sa.text(
        f"SELECT id, {', '.join(names)} FROM ai_progress WHERE id > :last ORDER BY id LIMIT {_AT_ONCE}"
    )
    update = sa.text(
        f"UPDATE ai_progress SET {', '.join(f'{name} = :{name}' for name in names)} WHERE id = :id"
    )
    last = -(2**63)
    while True:
        rows = connection.execute(select, {"last": last}).mappings().all()
        changed = [new for row in rows if (new := _rewritten(dict(row), floats)) != row]
        if changed:
            connection.execute(update, changed)
        if len(rows) < _AT_ONCE:
            break
        last = rows[-1]["id"]
    moment = "UTC_TIMESTAMP(6)"
    connection.execute(
        sa.text(
            f"UPDATE ai_progress SET created_at = COALESCE(created_at, updated_at, {moment}) "
            "WHERE created_at IS NULL"
        )
    )
    connection.execute(sa.text("UPDATE ai_progress SET updated_at = created_at WHERE updated_at IS NULL"))
    connection.commit()


def _rewritten(row: dict[str, Any], floats: list[str]) -> dict[str, Any]:
    text = row["metadata"]
    metadata = {} if text in (None, "null") else codec.metadata_from_text(text)
    exact = {name: row[name] if row[name] is None else shortest_float32(row[name]) for name in floats}
    return {**row, "metadata": codec.metadata_to_text(metadata), **exact}


def shortest_float32(value: float) -> float:
    """Return what was most likely written into a 32-bit column: 0.93, where 0.9300000071525574 was kept.

    Written into such a column again it gives the same 32 bits, so nothing is lost.
    """
    try:
        kept = struct.pack("f", value)
    except OverflowError:
        return value
    if struct.unpack("f", kept)[0] != value:
        return value
    shorter = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((number for number in shorter if struct.pack("f", number) == kept), value)
