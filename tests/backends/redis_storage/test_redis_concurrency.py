"""Many clients of one Redis."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from real_redis import HOUR, Server, plus_one, progress

from pytest_aistorage._failpoints import armed
from pytest_aistorage.backends.redis import RedisStorage
from pytest_aistorage.errors import (
    StorageUnavailableError,
)
from pytest_aistorage.progress import AIProgress


def _count(open_one: Callable[[], RedisStorage], barrier: Any, times: int) -> None:
    with open_one() as storage:
        storage.health_check()
        barrier.wait()
        for _ in range(times):
            storage.update_progress("m", plus_one)


def test_eight_processes_count_exactly(shared: Server, storage: RedisStorage, prefix: str) -> None:
    """No update is lost, and every version was given once."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    open_one = functools.partial(RedisStorage, shared.url, prefix=prefix, timeout=60)
    processes = [context.Process(target=_count, args=(open_one, barrier, 25)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    result = storage.get_progress("m")
    assert result is not None
    assert (result.training_samples, result.version) == (200, 200)


def test_threads_share_one_storage(shared: Server, prefix: str) -> None:
    """More threads than connections: they wait for one another and count exactly."""
    with RedisStorage(f"{shared.url}?max_connections=3&timeout=60", prefix=prefix) as storage:
        barrier = threading.Barrier(12)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                barrier.wait()
                for _ in range(10):
                    storage.update_progress("m", plus_one)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        result = storage.get_progress("m")
        assert result is not None
        assert result.training_samples == 120


@pytest.mark.parametrize("other", ["saves", "deletes", "expires", "replaces", "creates"])
def test_an_update_that_lost_runs_again(
    shared: Server, storage: RedisStorage, prefix: str, other: str
) -> None:
    """What another client does between read and write is seen by the second run of the change."""
    if other != "creates":
        storage.save_progress(progress(training_samples=10), ttl=HOUR)
    seen: list[int | None] = []

    def change(current: AIProgress | None) -> AIProgress:
        seen.append(None if current is None else current.training_samples)
        return plus_one(current)

    with RedisStorage(shared.url, prefix=prefix) as rival:

        def interfere(_: str) -> None:
            if len(seen) > 1:
                return
            with contextlib.ExitStack() as stack:
                stack.enter_context(armed(lambda _: None))  # the rival's own failpoints
                if other in ("deletes", "replaces"):
                    rival.delete_progress("m")
                if other == "expires":
                    rival.expire_now("m")
                if other in ("saves", "replaces", "creates"):
                    rival.save_progress(progress(training_samples=20))

        with armed(interfere, ("before_write",)):
            result = storage.update_progress("m", change)
    first = None if other == "creates" else 10
    again = None if other in ("deletes", "expires") else 20
    assert seen == [first, again]
    assert result.training_samples == (again or 0) + 1


def test_an_update_gives_up_in_time(shared: Server, storage: RedisStorage, prefix: str) -> None:
    """Where others always come first, the update ends in time, and wrote nothing."""
    with RedisStorage(shared.url, prefix=prefix, timeout=0.2) as rival:
        rival.health_check()

        def come_first(_: str) -> None:
            with armed(lambda _: None):
                storage.save_progress(progress(training_samples=5))

        started = time.monotonic()
        with (
            armed(come_first, ("before_write",)),
            pytest.raises(StorageUnavailableError),
        ):
            rival.update_progress("m", plus_one)
        assert time.monotonic() - started < 4
    result = storage.get_progress("m")
    assert result is not None
    assert result.training_samples == 5


def test_what_change_raises_comes_through(storage: RedisStorage) -> None:
    """The caller's own exception, even one of the driver's types, and nothing is written."""

    def change(_: AIProgress | None) -> AIProgress:
        raise redis.ConnectionError("mine")

    with pytest.raises(redis.ConnectionError, match="mine"):
        storage.update_progress("m", change)
    assert storage.get_progress("m") is None
