"""The time to live in Redis."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from real_redis import HOUR, Server, plus_one, progress

from pytest_aistorage.backends.redis import RedisStorage


def test_time_to_live(shared: Server, raw: Any, prefix: str) -> None:
    """The default holds where none is given, an update keeps it, a save without a default lifts it."""

    def left() -> int:
        return int(raw.pttl(f"{prefix}record:m"))

    with RedisStorage(f"{shared.url}?ttl=60", prefix=prefix) as storage:
        storage.save_progress(progress())
        assert 0 < left() <= 60_000
        storage.save_progress(progress(), ttl=timedelta(days=1))
        assert 60_000 < left() <= 86_400_000
        storage.update_progress("m", plus_one)
        assert 60_000 < left() <= 86_400_000
        storage.delete_progress("m")
        storage.update_progress("m", plus_one)
        assert 0 < left() <= 60_000
    with RedisStorage(shared.url, prefix=prefix) as storage:
        storage.save_progress(progress())
        assert left() == -1


def test_expired_records_are_neither_listed_nor_counted(storage: RedisStorage, raw: Any, prefix: str) -> None:
    """Whether they expired by Redis' clock or by hand, and whether or not they were to live forever."""
    storage.save_many([progress("forever"), progress("by hand")])
    kept = storage.save_progress(progress("kept"), ttl=HOUR)
    storage.save_progress(progress("by clock"), ttl=HOUR)
    raw.pexpireat(f"{prefix}record:by clock", 1)
    assert storage.expire_now("by hand")
    names = ["forever", kept.model_name]
    assert [record.model_name for record in storage.load_progress()] == names
    assert [record.model_name for record in storage.iter_progress(batch_size=1)] == names
    assert storage.get_storage_info().model_count == 2


def test_expired_models_leave_the_index(storage: RedisStorage, raw: Any, prefix: str) -> None:
    """Saves with a time to live sweep up behind them, and the versions stay right."""
    storage.save_many(progress(f"{i}") for i in range(8))
    for i in range(8):
        storage.expire_now(f"{i}")
    assert raw.zcard(f"{prefix}index") == 8
    for _ in range(2):
        storage.save_progress(progress("new"), ttl=HOUR)
    assert raw.zcard(f"{prefix}index") == 1
    assert raw.zcard(f"{prefix}expiring") == 1
    assert storage.save_progress(progress("3")).version == 3
