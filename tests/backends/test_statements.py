"""The SQL of database storages is compiled once for equal servers, and apart for those that differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from pytest_aistorage.backends._statements import Statements, shared_statements
from pytest_aistorage.backends.database import DatabaseStorage


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[Statements]:
    compiled: list[Statements] = []
    begin = Statements.__init__

    def counted(self: Statements, *arguments: object) -> None:
        compiled.append(self)
        begin(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Statements, "__init__", counted)
    return compiled


def test_equal_servers_share_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second storage on the same kind of server compiles nothing."""
    with DatabaseStorage(f"sqlite:///{tmp_path}/first.db") as storage:
        storage.get_progress("m")
    compiled = _counted(monkeypatch)
    with DatabaseStorage(f"sqlite:///{tmp_path}/second.db") as storage:
        assert storage.get_progress("m") is None
    assert compiled == []


def test_an_applications_engine_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that the application made may have a dialect of any settings: nothing is shared with it."""
    with DatabaseStorage(f"sqlite:///{tmp_path}/first.db") as storage:
        storage.get_progress("m")
    compiled = _counted(monkeypatch)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/second.db")
    with DatabaseStorage(db=engine) as storage:
        assert storage.get_progress("m") is None
    engine.dispose()
    assert len(compiled) == 1


def test_servers_that_quote_differently_share_nothing() -> None:
    """Under ANSI_QUOTES, or another version, a server gets SQL of its own."""
    usual, ansi, newer = MySQLDialect_pymysql(), MySQLDialect_pymysql(), MySQLDialect_pymysql()
    for dialect in (usual, ansi):
        dialect.server_version_info = (8, 0, 40)
    newer.server_version_info = (9, 1, 0)
    ansi.identifier_preparer = ansi.preparer(ansi, server_ansiquotes=True)
    kept = [shared_statements("mysql", dialect) for dialect in (usual, ansi, newer)]
    assert len({id(statements) for statements in kept}) == 3
    assert shared_statements("mysql", usual) is kept[0]
    assert shared_statements("sqlite", sqlite_dialect()) not in kept
