"""Sessions that rest between operations: nobody waits for one in vain, and none outlives its storage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa

from pytest_aistorage import AIProgress, DatabaseStorage


def _storage(tmp_path: Path, *, pool_size: int, max_overflow: int) -> DatabaseStorage:
    url = DatabaseStorage.fresh_url(tmp_path)
    return DatabaseStorage(url, pool_size=pool_size, max_overflow=max_overflow, timeout=30)


def _checked_out(storage: DatabaseStorage) -> int:
    pool = storage._engine.pool
    assert isinstance(pool, sa.QueuePool)
    return pool.checkedout()


def test_a_session_rests_until_the_storage_is_closed(tmp_path: Path) -> None:
    """One operation after another uses the same session; close() gives it back."""
    storage = _storage(tmp_path, pool_size=2, max_overflow=1)
    for _ in range(5):
        storage.save_progress(AIProgress(model_name="model", mse=0.5))
    assert _checked_out(storage) == 1
    storage.close()
    assert _checked_out(storage) == 0


def test_more_threads_than_connections_all_get_their_turn(tmp_path: Path) -> None:
    """A thread that waits for the pool is given a connection that another one has done with."""
    with _storage(tmp_path, pool_size=1, max_overflow=1) as storage, ThreadPoolExecutor(8) as threads:

        def save(number: int) -> int:
            return storage.save_progress(AIProgress(model_name=f"model-{number % 8}", mse=0.5)).version

        versions = list(threads.map(save, range(400)))
        assert sorted(versions) == sorted([*range(1, 51)] * 8)
        assert _checked_out(storage) <= 1


def test_without_overflow_no_session_rests(tmp_path: Path) -> None:
    """A pool that can't grow needs every connection back: who waits for one waits at the pool."""
    with _storage(tmp_path, pool_size=1, max_overflow=0) as storage, ThreadPoolExecutor(4) as threads:
        names = [f"model-{number}" for number in range(40)]
        list(threads.map(lambda name: storage.save_progress(AIProgress(model_name=name, mse=0.5)), names))
        assert _checked_out(storage) == 0


def test_no_session_of_an_engine_that_was_handed_in_rests(tmp_path: Path) -> None:
    """Others use its pool as well."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shared.db'}", poolclass=sa.QueuePool)
    with DatabaseStorage(db=engine) as storage:
        storage.save_progress(AIProgress(model_name="model", mse=0.5))
        assert _checked_out(storage) == 0
    engine.dispose()
