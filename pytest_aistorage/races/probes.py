"""Asking a server whether a client waits for a lock, instead of waiting to see."""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
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
    if scheme in ("redis", "rediss", "valkey", "valkeys", "unix"):
        return _NoLocks()
    return None


class _NoLocks:
    """Every command and script of Redis runs alone: a client that takes long is only slow."""

    def waiting(self) -> int | None:
        return 0

    def close(self) -> None:
        pass


class _ServerProbe(ABC):
    """One connection of its own. A server that can't be asked, or not by this user, is not asked again."""

    def __init__(self, url: str) -> None:
        self._url = StorageURL.parse(url).without("timeout", "pool_size", "max_overflow", "cache")
        self._connection: Any = None
        self._given_up = False

    def waiting(self) -> int | None:
        if self._given_up:
            return None
        try:
            if self._connection is None:
                self._connection = self._connect()
            return self._count()
        except Exception:  # a driver's; the time limit decides instead
            self._given_up = True
            self.close()
            return None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # a driver's, of a connection that is gone already
                connection.close()

    @abstractmethod
    def _connect(self) -> Any: ...

    @abstractmethod
    def _count(self) -> int: ...


class _Postgres(_ServerProbe):
    """By ``pg_blocking_pids``."""

    def _connect(self) -> Any:
        import psycopg

        rendered = self._url.render()
        return psycopg.connect("postgresql" + rendered[rendered.index(":") :], autocommit=True)

    def _count(self) -> int:
        row = self._connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
        ).fetchone()
        return int(row[0])


class _MySQL(_ServerProbe):
    """By InnoDB's monitor: its tables are cached, and its counter of waits falls only when the waiter has woken."""

    def _connect(self) -> Any:
        import pymysql

        return pymysql.connect(
            host=self._url.host or "localhost",
            port=self._url.port or 3306,
            user=self._url.username,
            password=self._url.password or "",
            database=self._url.path[1:],
            unix_socket=self._url.query.get("unix_socket"),
        )

    def _count(self) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW ENGINE INNODB STATUS")
            waiting = {int(thread) for thread in _WAITING_THREAD.findall(cursor.fetchone()[2])}
            if not waiting:
                return 0
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE()")
            return len(waiting & {int(thread) for (thread,) in cursor.fetchall()})


# "LOCK WAIT 2 lock struct(s), heap size 1128, 1 row lock(s)", and on the next line or a later one of the same
# transaction "MariaDB thread id 7, OS thread handle ...".
_WAITING_THREAD = re.compile(r"^LOCK WAIT (?:(?!^---TRANSACTION)[\s\S])*?^\w+ thread id (\d+)", re.MULTILINE)
