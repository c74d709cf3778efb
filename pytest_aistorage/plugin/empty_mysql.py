"""Emptying a MySQL or MariaDB database: one message with a DELETE for each table."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pymysql
from pymysql.constants import CLIENT

from .. import config
from .emptying import OWN_TABLES, PATIENCE, DatabaseGoneError, Emptier

__all__ = ["MySQLEmptier"]

_LOCK_WAIT, _DEADLOCK, _NO_DATABASE, _NO_DATABASE_CHOSEN, _NO_SUCH_THREAD = 1205, 1213, 1049, 1046, 1094
_ATTEMPTS = 6
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
_TLS = ("ca", "cert", "key")


class MySQLEmptier(Emptier):
    """One message and one answer a test.

    AUTO_INCREMENT goes on counting: to set it back is a change of the table, which takes longer than all else.
    """

    def __init__(self, url: str, kept_tables: tuple[str, ...], create_tables: Callable[[], None]) -> None:
        super().__init__(url, kept_tables, create_tables)
        self._connection: Any = None
        self._shape: list[str] = []
        self._connect()
        self._prepare()

    def empty(self) -> None:
        """See `Emptier.empty`."""
        for attempt in range(_ATTEMPTS):
            try:
                listed, shape = self._execute(self._message)
            except pymysql.MySQLError as error:
                if attempt == _ATTEMPTS - 1:
                    raise
                self._recover(error)
                continue
            if listed == self._listed and shape == self._shape:
                return
            # The tables that came are emptied in the next round.
            self._prepare()
        raise RuntimeError("the test database could not be emptied: its tables keep changing")

    def close(self) -> None:
        """Close the connection."""
        if self._connection.open:
            self._connection.close()

    def _recover(self, error: pymysql.MySQLError) -> None:
        code = error.args[0] if error.args else None
        if code == _LOCK_WAIT:
            self._end_others()
        elif code in (_NO_DATABASE, _NO_DATABASE_CHOSEN):
            raise DatabaseGoneError from error
        elif code != _DEADLOCK:
            if not self._connection.open or isinstance(
                error, (pymysql.OperationalError, pymysql.InterfaceError)
            ):
                self._connect()
            self._prepare()

    def _connect(self) -> None:
        if self._connection is not None and self._connection.open:
            self._connection.close()
        target = config.StorageURL.parse(self._url)
        query = dict(parse_qsl(self._url.partition("?")[2]))
        options: dict[str, Any] = {"unix_socket": query["unix_socket"]} if "unix_socket" in query else {}
        if tls := {name: query[f"ssl_{name}"] for name in _TLS if f"ssl_{name}" in query}:
            options["ssl"] = tls
        wait = max(1, round(PATIENCE))
        self._database = target.path.lstrip("/")
        try:
            self._connection = pymysql.connect(
                host=target.host or "localhost",
                port=target.port or 3306,
                user=target.username or "root",
                password=target.password or "",
                database=self._database,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=10,
                client_flag=CLIENT.MULTI_STATEMENTS,
                init_command=f"SET SESSION foreign_key_checks = 0, innodb_lock_wait_timeout = {wait}, "
                f"lock_wait_timeout = {wait}",
                **options,
            )
        except pymysql.MySQLError as error:
            if error.args and error.args[0] == _NO_DATABASE:
                raise DatabaseGoneError from error
            raise

    def _prepare(self) -> None:
        """List the tables, put the storage's own right, and compose the message."""
        for _ in range(3):
            tables = self._tables()
            own = [name for name in OWN_TABLES if name in tables]
            if len(own) == len(OWN_TABLES) and [self._create_statement(name) for name in own] == self._shape:
                break
            if own and self._shape:
                for name in own:
                    self._patiently(f"DROP TABLE IF EXISTS `{name}`")
            self._create_tables()
            self._shape = [self._create_statement(name) for name in OWN_TABLES]
        self._listed = self._names("SHOW TABLES")
        deletes = [f"DELETE FROM {_quoted(name)}" for name in tables if not self._is_kept(name)]
        shapes = [f"SHOW CREATE TABLE {_quoted(name)}" for name in OWN_TABLES]
        self._message = "; ".join([*deletes, *shapes, "SHOW TABLES"])

    def _execute(self, message: str) -> tuple[list[str], list[str]]:
        """Send the message; return the names of all tables, and what creates the storage's own."""
        results: list[Any] = []
        with self._connection.cursor() as cursor:
            cursor.execute(message)
            while True:
                results.append(cursor.fetchall() if cursor.description else None)
                if not cursor.nextset():
                    break
        rows = [result for result in results if result is not None]
        return [row[0] for row in rows[-1]], [_without_counter(result[0][1]) for result in rows[:-1]]

    def _patiently(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement)
            except pymysql.OperationalError as error:
                if error.args[0] != _LOCK_WAIT:
                    raise
                self._end_others()
                cursor.execute(statement)

    def _end_others(self) -> None:
        """Close the connections of others to this database: one of them holds what we wait for."""
        own = self._connection.thread_id()
        query = "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> %s"
        deadline = time.monotonic() + PATIENCE
        with self._connection.cursor() as cursor:
            while cursor.execute(query, (self._database, own)) and time.monotonic() < deadline:
                for (thread,) in cursor.fetchall():
                    try:
                        cursor.execute(f"KILL {int(thread)}")
                    except pymysql.MySQLError as error:
                        if error.args[0] != _NO_SUCH_THREAD:
                            raise
                time.sleep(0.005)

    def _tables(self) -> list[str]:
        return self._names("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")

    def _create_statement(self, name: str) -> str:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SHOW CREATE TABLE {_quoted(name)}")
            return _without_counter(cursor.fetchone()[1])

    def _names(self, statement: str) -> list[str]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return [row[0] for row in cursor.fetchall()]


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _without_counter(statement: str) -> str:
    return _COUNTER.sub("", statement)
