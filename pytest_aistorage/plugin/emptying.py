"""How a database is emptied: what PostgreSQL and MySQL have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from fnmatch import fnmatchcase

from ..backends._schema import SCHEMA_TABLE

__all__ = ["OWN_TABLES", "PATIENCE", "DatabaseGoneError", "Emptier"]

OWN_TABLES = ("ai_progress", "ai_progress_versions")

PATIENCE = 0.5
"""Seconds that somebody else's transaction may take to end by itself, before its connection is closed."""


class DatabaseGoneError(Exception):
    """A test has dropped the database."""


class Emptier(ABC):
    """Empties every table of one database of ours, over a connection that is kept.

    Args:
        url: the database's.
        kept_tables: patterns of names of tables to leave alone.
        create_tables: creates the storage's own tables.
    """

    def __init__(self, url: str, kept_tables: tuple[str, ...], create_tables: Callable[[], None]) -> None:
        self._url = url
        self._kept_tables = kept_tables
        self._create_tables = create_tables

    def begin(self) -> None:  # noqa: B027  # not every driver can send without waiting
        """Send the message, if that can be done without waiting for the answer; `empty` or `begin` follows."""

    @abstractmethod
    def empty(self) -> None:
        """Empty the tables, and see that the storage's own are there and as they were.

        Raises:
            DatabaseGoneError: a test has dropped the database.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def _is_kept(self, table: str) -> bool:
        # What it holds is no record, and the same for every test.
        return table == SCHEMA_TABLE or any(
            fnmatchcase(table.lower(), pattern.lower()) for pattern in self._kept_tables
        )
