"""What a server's settings take back of a declared durability is told, where the storage is asked to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_aistorage import AIProgress, Capability, ConfigurationError, DatabaseStorage
from pytest_aistorage.servers import PrivateServer

_M = AIProgress(model_name="m", mse=0.5)


def _opened(url: str, durability: str) -> DatabaseStorage:
    return DatabaseStorage(f"{url}{'&' if '?' in url else '?'}durability={durability}")


def test_settings_that_lose_writes_are_refused_on_postgres(private_postgres_server: PrivateServer) -> None:
    """A durable server passes; the same one loses acknowledged writes for a role with synchronous_commit off."""
    url = private_postgres_server.create_database()
    with _opened(url, "verified") as storage:
        assert Capability.SURVIVES_POWER_LOSS in storage.capabilities
        assert storage.save_progress(_M).version == 1
        with storage._engine.connect() as connection:
            connection.exec_driver_sql("ALTER ROLE postgres SET synchronous_commit = off")
    with (
        _opened(url, "verified") as storage,
        pytest.raises(ConfigurationError, match="synchronous_commit is off"),
    ):
        storage.save_progress(_M)
    with _opened(url, "declared") as storage:
        assert storage.save_progress(_M).version == 2


def test_settings_that_lose_writes_are_refused_on_mysql(private_mysql_server: PrivateServer) -> None:
    """InnoDB that writes its log once a second."""
    url = private_mysql_server.create_database()
    with _opened(url, "verified") as storage:
        assert storage.save_progress(_M).version == 1
        with storage._engine.connect() as connection:
            connection.exec_driver_sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    with (
        _opened(url, "verified") as storage,
        pytest.raises(ConfigurationError, match="innodb_flush_log_at_trx_commit is 2"),
    ):
        storage.save_progress(_M)


def test_sqlite_is_opened_durably(tmp_path: Path) -> None:
    """This package sets it so itself."""
    with _opened(DatabaseStorage.fresh_url(tmp_path), "verified") as storage:
        assert storage.save_progress(_M).version == 1
