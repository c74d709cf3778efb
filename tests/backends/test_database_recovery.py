"""Point-in-time recovery, by the very scripts that docs/database.md shows: back to before a bad write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Clusters

from pytest_aistorage import AIProgress, DatabaseStorage, VersionConflictError

PAGE = Path(__file__).parents[2] / "docs" / "database.md"
_SETTINGS = "fsync = off\nmax_connections = 30\nshared_buffers = 8MB\n"


@pytest.fixture
def clusters() -> Iterator[Clusters]:
    """A place for the server; whatever still runs at the end is stopped."""
    made = Clusters()
    yield made
    made.close()


def shown(title: str, backup: Path) -> str:
    """A block of the page, with the directory for backups that is used here."""
    found = re.findall(rf'```\w+ title="{re.escape(title)}"\n(.*?)```', PAGE.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1, title
    assert "/backup" in found[0] or title == "after.sql"
    return str(found[0]).replace("/backup", str(backup))


def test_a_bad_write_is_undone(clusters: Clusters) -> None:
    """Saves before and after a base backup, then a DELETE of everything: all of them are back, and none later."""
    backup = clusters.directory / "backup"
    clusters.run("mkdir", "-p", str(backup / "wal"))
    data = clusters.create("data", _SETTINGS + shown("archive.conf", backup))
    url = clusters.url(data)
    with DatabaseStorage(url) as storage:
        before = storage.save_many(AIProgress(model_name=f"before {n}", mse=0.5) for n in range(20))
    clusters.run("bash", "-c", shown("backup.sh", backup), env={"DATABASE_URL": url})
    with DatabaseStorage(url) as storage:
        after = [storage.save_progress(AIProgress(model_name=f"after {n}", mse=0.25)) for n in range(20)]
        with storage._engine.connect() as connection:
            moment = connection.exec_driver_sql("SELECT clock_timestamp()::text").scalar_one()
            assert connection.exec_driver_sql("DELETE FROM ai_progress").rowcount == 40
        later = storage.save_progress(AIProgress(model_name="after 0", mse=0.75))
        assert (later.version, len(storage.load_progress())) == (2, 1)
    clusters.run("bash", "-c", shown("restore.sh", backup), "restore.sh", moment, env={"PGDATA": str(data)})
    clusters.start(data)
    with DatabaseStorage(url, timeout=60) as storage:
        _wait_for_promotion(storage)
        by_name = {record.model_name: record for record in storage.load_progress()}
        assert by_name == {record.model_name: record for record in (*before, *after)}
        with storage._engine.connect() as connection:
            connection.exec_driver_sql(shown("after.sql", backup))
        # A client that remembers what it saved after that moment is told, and version 2 is not given again.
        with pytest.raises(VersionConflictError):
            storage.save_progress(later, expected_version=later.version)
        assert storage.save_progress(later).version > later.version


def _wait_for_promotion(storage: DatabaseStorage) -> None:
    import time

    deadline = time.monotonic() + 60
    with storage._engine.connect() as connection:
        while connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
            assert time.monotonic() < deadline, "the recovery does not end"
            time.sleep(0.05)
