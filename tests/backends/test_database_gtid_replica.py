"""Listings from a replica of MariaDB that follows by GTIDs: none is older than an acknowledged save."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pymysql
import pytest
from ways_to_list import names_by_each_way

from pytest_aistorage import AIProgress, Capability, DatabaseStorage, ServerUnavailableError
from pytest_aistorage.backends import _replica
from pytest_aistorage.servers.base import ServerOptions, ServerSpec
from pytest_aistorage.servers.resolve import private_server
from pytest_aistorage.servers.server import PrivateServer

_PROVIDERS = ("process",)


def tell(server: PrivateServer, *statements: str) -> None:
    """Have a server carry statements out."""
    own = urlsplit(server.url)
    with contextlib.closing(
        pymysql.connect(host=own.hostname, port=own.port or 0, user="root", password=own.password or "")
    ) as connection:
        for statement in statements:
            connection.cursor().execute(statement)


class Pair:
    """A primary and a replica of it.

    Args:
        primary: the one, with a binary log.
        replica: the other, without one.
    """

    def __init__(self, primary: PrivateServer, replica: PrivateServer) -> None:
        self.primary, self.replica = primary, replica
        tell(primary, "RESET MASTER")  # how it got its own password is not for the replica to repeat
        self._url = primary.create_database()
        source = urlsplit(self._url)
        tell(
            replica,
            f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {source.port}, master_user = 'root', "
            f"master_password = '{source.password}', master_use_gtid = slave_pos",
            "START SLAVE",
            "SET GLOBAL read_only = ON",
        )

    @property
    def url(self) -> str:
        """The primary's URL, with the replica's as an option."""
        own = urlsplit(self.replica.url)
        replica = own._replace(path=urlsplit(self._url).path).geturl()
        return f"{self._url}?replica={quote(replica, safe='')}"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Both, on ports of their own."""
    monkeypatch.setattr(_replica, "REST", 0.0)
    with contextlib.ExitStack() as stack:
        servers = []
        for settings in ({"log-bin": "binlog", "server-id": "1"}, {"server-id": "2"}):
            options = ServerOptions(run_dir=tmp_path, providers={"mysql": _PROVIDERS})
            try:
                server = private_server(ServerSpec.parse("mysql"), options, durable=False, settings=settings)
            except ServerUnavailableError as error:
                pytest.skip(str(error))
            servers.append(stack.enter_context(server))
        yield Pair(*servers)


def test_listings_show_what_was_saved_before(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """The replica answers, and has caught up each time."""
    with DatabaseStorage(pair.url, timeout=60) as storage:
        assert {Capability.LINEARIZABLE, Capability.SNAPSHOT_LISTING} <= storage.capabilities
        for number in range(30):
            storage.save_progress(AIProgress(model_name=f"m{number:02}", mse=0.5))
            assert len(storage.load_progress()) == number + 1
        assert names_by_each_way(storage) == [[f"m{number:02}" for number in range(30)]] * 3
        before = _reads_of(storage)
        storage.load_progress()
        assert _reads_of(storage) > before
    # Whenever it is not the replica that reads, that is said.
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def _reads_of(storage: DatabaseStorage) -> int:
    """How many rows the replica has handed out."""
    with storage._replica_engine.connect() as connection:
        return int(connection.exec_driver_sql("SHOW GLOBAL STATUS LIKE 'Rows_sent'").one()[1])


def test_a_replica_that_can_not_answer_is_passed_over(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """It stands still, goes on, is killed, comes back, is promoted: no listing is old, and none fails."""
    with DatabaseStorage(pair.url, timeout=8) as storage:
        storage.save_progress(AIProgress(model_name="a", mse=0.5))
        assert names_by_each_way(storage) == [["a"]] * 3
        tell(pair.replica, "STOP SLAVE SQL_THREAD")
        storage.save_progress(AIProgress(model_name="b", mse=0.5))
        assert names_by_each_way(storage) == [["a", "b"]] * 3
        assert caplog.text.count("is too far behind") == 3
        tell(pair.replica, "START SLAVE")
        pair.replica.kill()
        storage.save_progress(AIProgress(model_name="c", mse=0.5))
        assert names_by_each_way(storage) == [["a", "b", "c"]] * 3
        pair.replica.restart()
        caplog.clear()
        # Started without read_only, as one that was promoted, it may have records of its own.
        assert names_by_each_way(storage) == [["a", "b", "c"]] * 3
        assert caplog.text.count("is no replica of") == 3


def test_a_primary_without_a_binary_log_is_read_itself(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can say how far a replica of it would be."""
    with DatabaseStorage(pair.replica.create_database(), replica=f"{pair.primary.url}none") as storage:
        assert storage.load_progress() == []
    assert "has no binary log with GTIDs to follow" in caplog.text
