"""A Redis that is killed, stopped, cut off, or damaged."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from real_redis import SECRET, Proxy, Server, plus_one, progress

from pytest_aistorage.backends.redis import RedisStorage
from pytest_aistorage.errors import (
    AIStorageError,
    CorruptStorageError,
    OutcomeUnknownError,
    StorageUnavailableError,
)


def test_a_killed_server_loses_no_acknowledged_write(private: Callable[..., Server]) -> None:
    """kill -9 in the middle of writes: typed errors; after the restart the same storage goes on, nothing is lost."""
    server = private("--appendonly", "yes", "--appendfsync", "no")
    with RedisStorage(server.url, durability="append-only", timeout=60) as storage:
        acknowledged = [0] * 4
        failures: list[BaseException] = []
        enough = threading.Semaphore(0)

        def write(index: int) -> None:
            try:
                while True:
                    acknowledged[index] = storage.save_progress(progress(f"m{index}")).version
                    enough.release()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            assert enough.acquire(timeout=30)
        server.kill()
        for thread in threads:
            thread.join()
        assert {type(failure) for failure in failures} <= {OutcomeUnknownError, StorageUnavailableError}
        with pytest.raises(StorageUnavailableError):
            storage.get_progress("m0")
        with pytest.raises(StorageUnavailableError):
            storage.save_progress(progress("m0"))
        assert not storage.health_check()
        server.start()
        assert storage.health_check()
        for index, version in enumerate(acknowledged):
            kept = storage.get_progress(f"m{index}")
            assert kept is not None
            # One more may have been carried out without its acknowledgement.
            assert version <= kept.version <= version + 1
        assert storage.save_progress(progress("m0")).version > acknowledged[0]


def test_a_paused_server_fails_within_the_timeout(private: Callable[..., Server]) -> None:
    """A read is unavailable, a write that was sent is of unknown outcome, neither waits longer than told."""
    server = private()
    with RedisStorage(server.url, timeout=0.5) as storage:
        storage.save_progress(progress())
        server.pause()
        try:
            calls: list[tuple[Callable[[], Any], type[AIStorageError]]] = [
                (lambda: storage.save_progress(progress()), OutcomeUnknownError),
                (lambda: storage.delete_progress("m"), StorageUnavailableError),  # has to connect anew
                (lambda: storage.get_progress("m"), StorageUnavailableError),
                (lambda: storage.load_progress(), StorageUnavailableError),
                (lambda: storage.update_progress("m", plus_one), StorageUnavailableError),
            ]
            for call, expected in calls:
                started = time.monotonic()
                with pytest.raises(expected):
                    call()
                assert time.monotonic() - started < 4
            assert not storage.health_check()
        finally:
            server.resume()
        assert storage.health_check()
        # What was in the server's queue when the client gave up was carried out after all: unknown it was.
        assert storage.save_progress(progress()).version == 3


def test_a_write_whose_reply_is_lost_is_unknown_and_not_repeated(
    storage: RedisStorage, proxy: Proxy, prefix: str
) -> None:
    """It took effect once: no layer sends a write again by itself."""
    with RedisStorage(f"unix://{proxy.path}", prefix=prefix) as cut:
        assert cut.health_check()
        for write in (
            lambda: cut.save_progress(progress()),
            lambda: cut.save_many([progress()]),
            lambda: cut.update_progress("m", plus_one),
            lambda: cut.delete_progress("m"),
        ):
            before = storage.get_progress("m")
            cut.save_progress(progress("other"))  # lets the server know the script, so that EVALSHA succeeds
            storage.save_many([progress("other")])
            storage.delete_progress("other")
            proxy.cut_after = b"EVALSHA"
            with pytest.raises(OutcomeUnknownError):
                write()
            after = storage.get_progress("m")
            assert (after.version if after else 4) == (before.version if before else 0) + 1
    assert proxy.cuts == 4


def test_a_read_is_sent_again_once(storage: RedisStorage, proxy: Proxy, prefix: str) -> None:
    """A connection lost while reading costs nobody anything."""
    saved = storage.save_progress(progress())
    with RedisStorage(f"unix://{proxy.path}", prefix=prefix) as cut:
        assert cut.health_check()
        proxy.cut_after = b"GET"
        assert cut.get_progress("m") == saved
    assert proxy.cuts == 1


def test_a_client_that_is_handed_in_does_not_repeat_writes(
    storage: RedisStorage, proxy: Proxy, prefix: str
) -> None:
    """redis-py's clients retry by default; the storage goes around that."""
    storage.save_progress(progress())
    with redis.Redis(unix_socket_path=str(proxy.path)) as client:
        with RedisStorage(redis=client, prefix=prefix) as cut:
            assert cut.health_check()
            proxy.cut_after = b"EVALSHA"
            with pytest.raises(OutcomeUnknownError):
                cut.save_progress(progress())
        result = storage.get_progress("m")
        assert result is not None
        assert result.version == 2
        assert client.ping()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """Nothing was written, and the error says so, for a socket as for a port and a name."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        urls = [
            f"unix://{tmp_path}/none",
            f"redis://:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/0",
            f"valkey://:{SECRET}@no-such-host.invalid/0",
        ]
        for url in urls:
            with RedisStorage(url, timeout=5) as storage:
                with pytest.raises(StorageUnavailableError) as caught:
                    storage.save_progress(progress())
                assert SECRET not in "".join(traceback.format_exception(caught.value))
                assert not storage.health_check()


@pytest.mark.parametrize("settings", [("--requirepass", "right"), ("--rename-command", "AUTH", "gone"), ()])
def test_a_wrong_password_is_not_shown(private: Callable[..., Server], settings: tuple[str, ...]) -> None:
    """Not by an error, its causes, or a repr; also where the server repeats it, not knowing AUTH."""
    server = private(*settings)
    with RedisStorage(f"unix://user:{SECRET}@{server.socket}") as storage:
        calls: list[Callable[[], Any]] = [
            lambda: storage.save_progress(progress()),
            lambda: storage.get_progress("m"),
        ]
        for call in calls:
            with pytest.raises(StorageUnavailableError) as caught:
                call()
            assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert SECRET not in repr(storage)
        assert SECRET not in str(storage.capabilities)


def test_no_password_where_one_is_needed(private: Callable[..., Server]) -> None:
    """The server's refusal is typed, and nothing was written."""
    server = private("--requirepass", SECRET)
    with RedisStorage(server.url) as storage, pytest.raises(StorageUnavailableError, match="uthentication"):
        storage.save_progress(progress())
    with RedisStorage(f"unix://:{SECRET}@{server.socket}") as storage:
        storage.save_progress(progress())
        assert SECRET not in storage.get_storage_info().location


def test_a_replica_refuses_writes(private: Callable[..., Server]) -> None:
    """READONLY means that nothing was written."""
    server = private("--replicaof", "127.0.0.1", "1")
    with RedisStorage(server.url) as storage, pytest.raises(StorageUnavailableError):
        storage.save_progress(progress())


@pytest.mark.parametrize("damage", ["foreign type", "no stamps", "no json", "nul"])
def test_what_can_not_be_read_is_corrupt(storage: RedisStorage, raw: Any, prefix: str, damage: str) -> None:
    """A key of a foreign type or with foreign content is an error of its own, on every way to read it."""
    storage.save_progress(progress())
    key = f"{prefix}record:m"
    value = raw.get(key)
    if damage == "foreign type":
        raw.delete(key)
        raw.hset(key, "a", "b")
    else:
        broken = {"no stamps": b"1 2 {}", "no json": value[:-1], "nul": value[:-1] + b"\0"}
        raw.set(key, broken[damage])
    reads: list[Callable[[], Any]] = [
        lambda: storage.get_progress("m"),
        storage.load_progress,
        lambda: list(storage.iter_progress()),
        lambda: storage.update_progress("m", plus_one),
    ]
    if damage in ("foreign type", "no stamps"):
        reads += [lambda: storage.save_progress(progress()), lambda: storage.delete_progress("m")]
    for read in reads:
        with pytest.raises(CorruptStorageError):
            read()


def test_scripts_that_the_server_forgot(storage: RedisStorage, raw: Any) -> None:
    """SCRIPT FLUSH costs one round trip more, and no write."""
    for operation in (
        lambda: storage.save_progress(progress()),
        lambda: storage.save_many([progress()]),
        lambda: storage.update_progress("m", plus_one),
        storage.load_progress,
        storage.get_storage_info,
        lambda: storage.delete_progress("m"),
    ):
        operation()
        raw.script_flush()
        operation()
    assert storage.save_progress(progress()).version == 8
