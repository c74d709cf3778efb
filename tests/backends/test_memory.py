"""What is special to the memory storage: names, the injected clock, the default time to live."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    ConfigurationError,
    MemoryStorage,
    UnsupportedOperationError,
    open_storage,
)

_M = AIProgress(model_name="m", mse=0.5)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2024, 5, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time at which it stands."""
        return self.now


def test_private_stores_are_apart() -> None:
    """Each memory:// is a store of its own."""
    with open_storage("memory://") as one, open_storage("memory://") as other:
        one.save_progress(_M)
        assert other.get_progress("m") is None


def test_named_store_lives_as_long_as_a_client() -> None:
    """A name is shared inside the process, and gone with its last client."""
    one, other = open_storage("memory://shared-name"), open_storage("memory://shared-name")
    one.save_progress(_M)
    one.close()
    one.close()
    assert other.get_progress("m") is not None
    other.close()
    with open_storage("memory://shared-name") as reopened:
        assert reopened.get_progress("m") is None


def test_record_expires_by_the_injected_clock() -> None:
    """A record is there until its time is over, and gone at that very moment."""
    clock = Clock()
    with MemoryStorage(clock=clock) as storage:
        storage.save_progress(_M, ttl=timedelta(seconds=10))
        clock.now += timedelta(seconds=10) - timedelta(microseconds=1)
        assert storage.get_progress("m") is not None
        clock.now += timedelta(microseconds=1)
        assert storage.get_progress("m") is None
        assert storage.load_progress() == []
        assert storage.get_storage_info().model_count == 0
        assert storage.save_progress(_M).version == 3, "the expiry takes version 2"


def test_default_time_to_live_is_that_of_every_way_to_save() -> None:
    """What gives no time to live gets the storage's own, in batches and updates of new models, too."""
    clock = Clock()
    with open_storage("memory://?ttl=10", clock=clock) as storage:
        storage.save_progress(_M)
        storage.save_many([AIProgress(model_name="batch", mse=0.5)])
        storage.update_progress("new", lambda _: AIProgress(model_name="new", mse=0.5))
        storage.save_progress(AIProgress(model_name="longer", mse=0.5), ttl=timedelta(hours=1))
        clock.now += timedelta(seconds=10)
        assert [record.model_name for record in storage.load_progress()] == ["longer"]


def test_update_keeps_the_end_of_a_life() -> None:
    """An update neither lengthens nor shortens the time to live."""
    clock = Clock()
    with MemoryStorage(clock=clock) as storage:
        storage.save_progress(_M, ttl=timedelta(seconds=10))
        clock.now += timedelta(seconds=9)
        storage.update_progress("m", lambda current: current or _M)
        assert storage.get_progress("m") is not None
        clock.now += timedelta(seconds=1)
        assert storage.get_progress("m") is None


def test_clock_that_is_set_back_does_not_make_records_older() -> None:
    """updated_at never decreases, whatever the clock does."""
    clock = Clock()
    with MemoryStorage(clock=clock) as storage:
        first = storage.save_progress(_M)
        clock.now -= timedelta(hours=1)
        assert storage.save_progress(_M).updated_at == first.updated_at


@pytest.mark.parametrize("options", [{"ttl": 10}, {"ttl": timedelta(0)}, {"clock": "noon"}, {"name": "x"}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    """What is no time to live or no clock raises ConfigurationError."""
    with pytest.raises(ConfigurationError):
        open_storage("memory://", **options)


def test_misspelt_option_in_the_url_is_refused() -> None:
    """What no driver takes is an option that nobody knows."""
    with pytest.raises(ConfigurationError, match="tll"):
        open_storage("memory://?tll=10")


def test_reader_is_not_held_up_by_an_iteration() -> None:
    """Between two records of an iteration no lock is held."""
    with MemoryStorage() as storage:
        storage.save_many(AIProgress(model_name=f"m{index}", mse=0.5) for index in range(4))
        records = storage.iter_progress(batch_size=2)
        next(records)
        writer = threading.Thread(target=storage.save_progress, args=(_M,))
        writer.start()
        writer.join(10)
        assert not writer.is_alive()
        assert [record.model_name for record in records] == ["m1", "m2", "m3"]


def test_a_change_that_uses_the_storage_is_refused() -> None:
    """It would wait for its own lock for ever; now it is told, and the storage goes on."""
    with MemoryStorage() as storage:
        with pytest.raises(UnsupportedOperationError, match="must not use the storage"):
            storage.update_progress("m", lambda current: storage.save_progress(_M))
        assert storage.get_progress("m") is None
        assert storage.save_progress(_M).version == 1


def test_names_keep_their_case() -> None:
    """memory://Foo and memory://foo are two stores, as MemoryStorage("Foo") and MemoryStorage("foo") are."""
    with (
        open_storage("memory://Foo") as one,
        open_storage("memory://foo") as other,
        MemoryStorage("Foo") as same,
    ):
        one.save_progress(_M)
        assert other.get_progress("m") is None
        assert same.get_progress("m") is not None
