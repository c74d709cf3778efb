"""Asking a server whether a client waits for a lock, instead of waiting to see."""

from __future__ import annotations

from typing import Any

from ..config import StorageURL
from .controller import LockProbe

__all__ = ["probe_for"]


def probe_for(url: str) -> LockProbe | None:
    """Return how to recognize a wait for a lock in the store that a URL names; None where nobody can be asked.

    Args:
        url: of a store that nobody else uses meanwhile: others who wait there would be taken for a client.
    """
    scheme = StorageURL.parse(url).scheme.partition("+")[0]
    if scheme in ("postgresql", "postgres"):
        return _Postgres(url)
    if scheme in ("mysql", "mariadb"):
        return _MySQL(url)
    return None


class _Postgres:
    """By ``pg_blocking_pids``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def waiting(self) -> int | None:
        if self._connection is None:
            import psycopg

            parts = StorageURL.parse(self._url).without("timeout", "pool_size", "max_overflow").render()
            self._connection = psycopg.connect("postgresql" + parts[parts.index(":") :], autocommit=True)
        row = self._connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
        ).fetchone()
        return int(row[0])


class _MySQL:
    """By the server's own counter of the row locks that are waited for now; InnoDB's tables lag behind."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def waiting(self) -> int | None:
        if self._connection is None:
            import pymysql

            parts = StorageURL.parse(self._url)
            self._connection = pymysql.connect(
                host=parts.host or "localhost",
                port=parts.port or 3306,
                user=parts.username,
                password=parts.password or "",
                unix_socket=parts.query.get("unix_socket"),
            )
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
            row = cursor.fetchone()
        return None if row is None else int(row[1])
