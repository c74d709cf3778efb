"""Listings from a streaming replica: none is older than an acknowledged save, and a replica may come and go."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from clusters import Clusters
from ways_to_list import names_by_each_way

from pytest_aistorage import (
    AIProgress,
    Capability,
    ConfigurationError,
    DatabaseStorage,
    open_storage,
)
from pytest_aistorage.backends import _replica

_SETTINGS = "fsync = off\nmax_connections = 30\nshared_buffers = 8MB\n"


@dataclasses.dataclass
class Pair:
    """A primary, and its streaming replica.

    Attributes:
        clusters: where both are.
        primary: the data directory of the one.
        standby: that of the other.
    """

    clusters: Clusters
    primary: Path
    standby: Path

    @property
    def url(self) -> str:
        """The primary's URL, with the replica's as an option."""
        replica = quote(self.clusters.url(self.standby), safe="")
        return f"{self.clusters.url(self.primary)}?replica={replica}"

    def answer(self, storage: DatabaseStorage, statement: str, *, on_primary: bool = False) -> object:
        """What one of the two says, over the storage's own connections."""
        engine = storage._engine if on_primary else storage._replica_engine
        with engine.connect() as connection:
            return connection.exec_driver_sql(statement).scalar_one()


@pytest.fixture
def clusters() -> Iterator[Clusters]:
    """A place for both; whatever still runs at the end is stopped."""
    made = Clusters()
    yield made
    made.close()


@pytest.fixture
def pair(clusters: Clusters, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A replica that `pg_basebackup -R` has made."""
    monkeypatch.setattr(_replica, "REST", 0.0)
    primary = clusters.create("primary", _SETTINGS)
    standby = clusters.directory / "standby"
    clusters.run("pg_basebackup", "-d", clusters.url(primary), "-D", str(standby), "-R", "-c", "fast")
    clusters.start(standby)
    return Pair(clusters, primary, standby)


def test_every_listing_shows_what_was_saved_before(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Fifty times: a save, and at once a listing, which the replica answers; it has caught up each time."""
    with DatabaseStorage(pair.url, timeout=60) as storage:
        assert {Capability.LINEARIZABLE, Capability.SNAPSHOT_LISTING} <= storage.capabilities
        for number in range(50):
            storage.save_progress(AIProgress(model_name=f"m{number:02}", mse=0.5))
            assert len(storage.load_progress()) == number + 1
        expected = [f"m{number:02}" for number in range(50)]
        assert names_by_each_way(storage) == [expected] * 3
        assert pair.answer(storage, "SELECT pg_is_in_recovery()") is True
    # Whenever it is not the replica that reads, that is said.
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_replica_that_is_behind_or_down_is_passed_over(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Its replay is paused, it is stopped, it comes back, it is promoted: no listing is old, and none fails."""
    with DatabaseStorage(pair.url, timeout=8) as storage:
        storage.save_progress(AIProgress(model_name="a", mse=0.5))
        pair.answer(storage, "SELECT 1 FROM pg_wal_replay_pause()")
        storage.save_progress(AIProgress(model_name="b", mse=0.5))
        assert names_by_each_way(storage) == [["a", "b"]] * 3
        assert caplog.text.count("is too far behind") == 3
        pair.answer(storage, "SELECT 1 FROM pg_wal_replay_resume()")
        pair.clusters.stop(pair.standby)
        storage.save_progress(AIProgress(model_name="c", mse=0.5))
        assert names_by_each_way(storage) == [["a", "b", "c"]] * 3
        pair.clusters.start(pair.standby)
        caplog.clear()
        assert len(storage.load_progress()) == 3
        pair.clusters.run("pg_ctl", "promote", "-w", "-D", str(pair.standby))
        with open_storage(pair.clusters.url(pair.standby)) as astray:
            astray.save_progress(AIProgress(model_name="stray", mse=0.5))
        assert names_by_each_way(storage) == [["a", "b", "c"]] * 3
        assert "is no replica of" in caplog.text
        password = storage._engine.url.password or storage._replica_engine.url.password
        assert isinstance(password, str)
        assert password not in caplog.text


def test_a_replica_is_of_the_same_kind_and_its_password_is_not_shown(tmp_path: Path) -> None:
    """Checked at once; the URL in the option is redacted as the other is."""
    for url, replica in (
        (DatabaseStorage.fresh_url(tmp_path), "postgresql://u:hidden@h/db"),
        ("postgresql://h/db", "mysql://u:hidden@h/db"),
        ("mysql://h/db", "postgresql://u:hidden@h/db"),
        ("postgresql://h/db", "sqlite:///hidden.db"),
    ):
        with pytest.raises(ConfigurationError, match="option replica") as raised:
            DatabaseStorage(url, replica=replica)
        assert "hidden" not in str(raised.value)
    from pytest_aistorage import config

    nested = quote("postgresql://u:hidden@h/db", safe="")
    assert "hidden" not in config.redact(f"postgresql://h/db?replica={nested}")
