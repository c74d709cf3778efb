"""`AsyncAIStorage`: what it does beside awaiting, under asyncio and Trio."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    AsyncAIStorage,
    Capability,
    ConfigurationError,
    CorruptStorageError,
    InvalidProgressError,
    ProgressQuery,
    StorageUnavailableError,
    VersionConflictError,
    open_async_storage,
)

PATIENCE = 60.0


def record(name: str, mse: float = 1.0, **metadata: Any) -> AIProgress:
    """A record of this model."""
    return AIProgress(model_name=name, mse=mse, metadata=metadata)


def doubled(current: AIProgress | None) -> AIProgress:
    """Change a record that is there."""
    assert current is not None
    return dataclasses.replace(current, mse=2 * current.mse)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis", "mysql", "hybrid", "redis-fake")
def test_each_operation(async_ai_storage: AsyncAIStorage, ai_storage: AIStorage, backend: str) -> None:
    """What one method writes another reads, and so does a client that does not await."""

    async def use() -> None:
        storage = async_ai_storage
        saved = await storage.save_progress(record("a"), expected_version=0)
        assert (saved.version, saved.mse) == (1, 1.0)
        assert [one.version for one in await storage.save_many([record("c"), record("b")])] == [1, 1]
        assert await storage.get_progress("a") == saved == ai_storage.get_progress("a")
        assert await storage.get_progress("nobody") is None
        assert (await storage.update_progress("a", doubled)).mse == 2.0
        listed = await storage.load_progress()
        assert [one.model_name for one in listed] == ["a", "b", "c"]
        assert [one async for one in storage.iter_progress(batch_size=2)] == listed
        assert await storage.query_progress(ProgressQuery(max_mse=1.0)) == listed[1:]
        assert await storage.delete_progress("a", expected_version=2) == 3
        assert await storage.health_check()
        info = await storage.get_storage_info()
        assert (info.type, info.model_count) == (storage.type, 2) == (ai_storage.type, 2)
        assert info.capabilities == storage.capabilities
        if Capability.EXPIRY in storage.capabilities:
            await storage.save_progress(record("b"), ttl=timedelta(hours=1))
            assert await storage.expire_now("b")
            assert await storage.get_progress("b") is None

    anyio.run(use, backend=backend)


@pytest.mark.ai_storage("memory", "sqlite", "postgres", "redis")
def test_errors_are_those_of_the_storage(async_ai_storage: AsyncAIStorage) -> None:
    """The same types with the same fields; the caller's own exception comes out as it is."""

    class Mine(Exception):
        pass

    def refuse(current: AIProgress | None) -> AIProgress:
        raise Mine

    async def use() -> None:
        storage = async_ai_storage
        await storage.save_progress(record("m"))
        with pytest.raises(VersionConflictError) as conflict:
            await storage.save_progress(record("m"), expected_version=7)
        assert (conflict.value.expected, conflict.value.actual) == (7, 1)
        with pytest.raises(InvalidProgressError) as invalid:
            await storage.save_progress(record("m", float("nan")))
        assert invalid.value.field == "mse"
        with pytest.raises(InvalidProgressError):
            storage.iter_progress(batch_size=0)
        with pytest.raises(Mine):
            await storage.update_progress("m", refuse)
        found = await storage.get_progress("m")
        assert found is not None
        assert found.version == 1

    asyncio.run(use())


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "mysql", "redis", "hybrid")
def test_many_at_once(async_ai_storage: AsyncAIStorage) -> None:
    """Each task gets its own model's record, with metadata of its own, whatever was done together with it."""

    async def use() -> None:
        # Forty, three times each, that differ by case, by an accent or by a space at the end.
        names = [f"{'mMmö'[n % 4]}{n // 4 % 10}{' ' if n % 4 == 2 else ''}" for n in range(120)]
        saved = await asyncio.gather(
            *(async_ai_storage.save_progress(record(name, at=at)) for at, name in enumerate(names))
        )
        assert [one.model_name for one in saved] == names
        for name in names:
            assert sorted(one.version for one in saved if one.model_name == name) == [1, 2, 3]
        found = await asyncio.gather(*(async_ai_storage.get_progress(name) for name in [*names, "nobody"]))
        assert found.pop() is None
        last = {one.model_name: one for one in saved if one.version == 3}
        for name, one in zip(names, found, strict=True):
            assert one == last[name]
            assert one is not None
            assert isinstance(one.metadata, dict)
            one.metadata.clear()  # another task's must not be the same

    asyncio.run(use())


def test_what_waits_together_is_done_together(tmp_path: Path) -> None:
    """While the only thread is busy, gets and saves gather; then they are one statement and one commit."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(current: AIProgress | None) -> AIProgress:
        busy.set()
        assert go_on.wait(PATIENCE)
        return doubled(current)

    async def use() -> tuple[int, int]:
        url = f"sqlite:///{tmp_path}/m.db"
        async with open_async_storage(url, max_concurrency=1) as storage:
            runs = _count_runs(storage.storage)
            await storage.save_progress(record("held"))
            held = asyncio.create_task(storage.update_progress("held", hold))
            while not busy.is_set():
                await asyncio.sleep(0.001)
            begun = len(runs)
            saves = [asyncio.create_task(storage.save_progress(record(f"m{n}"))) for n in range(32)]
            await asyncio.sleep(0)
            go_on.set()
            assert [one.version for one in await asyncio.gather(*saves)] == [1] * 32
            assert (await held).mse == 2.0
            return begun, len(runs)

    begun, ended = asyncio.run(use())
    assert ended - begun == 1


def _count_runs(storage: Any) -> list[str]:
    """Note each transaction of a database storage from now on."""
    runs: list[str] = []
    run = storage._executor.run

    def counted(*given: Any, **options: Any) -> Any:
        runs.append("run")
        return run(*given, **options)

    storage._executor.run = counted
    return runs


def test_a_file_is_taken_once_for_all_that_wait(tmp_path: Path) -> None:
    """Each get and each save would read all of it, and each save write all of it."""
    busy, go_on = threading.Event(), threading.Event()
    runs: list[str] = []

    def hold(current: AIProgress | None) -> AIProgress:
        busy.set()
        assert go_on.wait(PATIENCE)
        runs.clear()
        return record("held")

    def counted(storage: Any, name: str) -> None:
        method = getattr(storage, name)

        def count(*given: Any) -> Any:
            runs.append(name)
            return method(*given)

        setattr(storage, name, count)

    async def use() -> None:
        async with open_async_storage(f"file://{tmp_path}/training_metrics.json") as storage:
            counted(storage.storage, "_read")
            counted(storage.storage, "_write")
            held = asyncio.create_task(storage.update_progress("held", hold))
            while not busy.is_set():
                await asyncio.sleep(0.001)
            saves = [asyncio.create_task(storage.save_progress(record(f"m{n}"))) for n in range(8)]
            await asyncio.sleep(0)
            gets = [asyncio.create_task(storage.get_progress("m1")) for _ in range(8)]
            await asyncio.sleep(0)
            go_on.set()
            assert [one.version for one in await asyncio.gather(*saves)] == [1] * 8
            first, *others = await asyncio.gather(*gets)
            assert first is not None
            assert isinstance(first.metadata, dict)
            first.metadata["changed"] = True  # another task's must not be the same
            assert [one and one.metadata for one in others] == [{}] * 7
            await held

    asyncio.run(use())
    assert runs == ["_write", "_read", "_write", "_read"]


def test_writes_of_one_file_wait_for_each_other_and_for_nothing_else(tmp_path: Path) -> None:
    """SQLite lets one write at a time: the others don't take the threads in which gets could run."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(current: AIProgress | None) -> AIProgress:
        busy.set()
        assert go_on.wait(PATIENCE)
        return record("held")

    async def use() -> None:
        url = f"sqlite:///{tmp_path}/m.db"
        async with asyncio.timeout(PATIENCE), open_async_storage(url, max_concurrency=2) as storage:
            await storage.save_progress(record("m"))
            held = asyncio.create_task(storage.update_progress("held", hold))
            while not busy.is_set():
                await asyncio.sleep(0.001)
            later = [asyncio.create_task(storage.update_progress("m", doubled)) for _ in range(3)]
            await asyncio.sleep(0)
            found = await storage.get_progress("m")
            assert found is not None
            assert found.version == 1
            assert not any(one.done() for one in (held, *later))
            go_on.set()
            assert [one.version for one in await asyncio.gather(held, *later)] == [1, 2, 3, 4]

    try:
        asyncio.run(use())
    finally:
        go_on.set()


@pytest.mark.ai_storage("sqlite", "postgres")
def test_what_cannot_be_read_is_ones_own_trouble(async_ai_storage: AsyncAIStorage, ai_storage: Any) -> None:
    """Of several gets that were done together only the one fails whose record can't be read."""

    def spoil(session: Any, sql: Any) -> None:
        table = sql.tables.progress.name
        session._driver.execute(f"UPDATE {table} SET mse = -1, metadata = '[]' WHERE model_name = 'm1'")

    async def use() -> list[Any]:
        await async_ai_storage.save_many([record(f"m{number}") for number in range(3)])
        ai_storage._executor.run(spoil, writing=True)
        gets = [async_ai_storage.get_progress(f"m{number}") for number in range(3)]
        return await asyncio.gather(*gets, return_exceptions=True)

    first, second, third = asyncio.run(use())
    assert (first.model_name, third.model_name) == ("m0", "m2")
    assert isinstance(second, CorruptStorageError)


def test_close() -> None:
    """It closes the storage that it was given, once; what comes later says so, and the check says no."""

    async def use() -> None:
        storage = open_async_storage("memory://")
        await storage.save_progress(record("m"))
        await storage.close()
        await storage.close()
        later: list[Callable[[], Any]] = [
            lambda: storage.get_progress("m"),
            lambda: storage.save_progress(record("m")),
            storage.load_progress,
            storage.get_storage_info,
        ]
        for call in later:
            with pytest.raises(StorageUnavailableError, match="closed"):
                await call()
        with pytest.raises(StorageUnavailableError, match="closed"):
            storage.iter_progress()
        assert not await storage.health_check()
        assert storage.storage._closed
        other = open_async_storage("memory://")
        other.storage.close()
        assert not await other.health_check()

    asyncio.run(use())


def test_wrong_arguments() -> None:
    """What is no storage, or no number of operations, is refused at once."""
    with pytest.raises(ConfigurationError, match="storage: must be an AIStorage, not str"):
        AsyncAIStorage("memory://")  # type: ignore[arg-type]
    for wrong in (0, True, "2"):
        with pytest.raises(ConfigurationError, match="max_concurrency"):
            open_async_storage("memory://", max_concurrency=wrong)  # type: ignore[arg-type]


@pytest.mark.ai_storage("sqlite", "postgres", "redis")
def test_several_event_loops_at_once(async_ai_storage: AsyncAIStorage) -> None:
    """Loops of asyncio and Trio in several threads use one storage; each task hears of its own operation."""
    wrong: list[object] = []

    async def use(name: str) -> None:
        for number in range(20):
            saved = await async_ai_storage.save_progress(record(name, float(number)))
            if (found := await async_ai_storage.get_progress(name)) != saved:
                wrong.append(found)

    def run(name: str, backend: str) -> None:
        try:
            anyio.run(use, name, backend=backend)
        except BaseException as error:
            wrong.append(error)

    threads = [
        threading.Thread(target=run, args=(f"m{number}", backend))
        for number, backend in enumerate(["asyncio", "trio", "asyncio", "trio"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert wrong == []


def test_the_tasks_context_is_that_of_change(tmp_path: Path) -> None:
    """What a task has set, for a log line say, is there where its ``change`` runs."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    async def use() -> AIProgress:
        user.set("ada")
        async with open_async_storage(f"sqlite:///{tmp_path}/m.db") as storage:
            return await storage.update_progress("m", lambda current: record("m", by=user.get()))

    assert asyncio.run(use()).metadata == {"by": "ada"}


def test_threads_go_when_it_is_closed(tmp_path: Path) -> None:
    """Many storages, one after the other, leave no thread behind."""
    before = set(threading.enumerate())

    async def use() -> None:
        for number in range(5):
            async with open_async_storage(f"sqlite:///{tmp_path}/{number}.db") as storage:
                await asyncio.gather(*(storage.update_progress(f"m{n}", _new(f"m{n}")) for n in range(5)))

    asyncio.run(use())
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def _new(name: str) -> Callable[[AIProgress | None], AIProgress]:
    return lambda current: record(name)


def test_a_loop_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    """A loop may end while an operation is under way; the next loop uses the same storage."""
    storage = open_async_storage(f"sqlite:///{tmp_path}/m.db")
    busy, go_on = threading.Event(), threading.Event()

    def hold(current: AIProgress | None) -> AIProgress:
        busy.set()
        assert go_on.wait(PATIENCE)
        return record("held")

    async def leave() -> None:
        task = asyncio.create_task(storage.update_progress("held", hold))
        while not busy.is_set():
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(leave())
    go_on.set()

    async def use() -> AIProgress | None:
        await storage.save_progress(record("m"))
        return await storage.get_progress("m")

    found = asyncio.run(use())
    assert found is not None
    assert found.version == 1
    storage.close_and_wait()


def test_trio_ends_a_wait(private_redis_server: Any) -> None:
    """Under Trio a cancel scope ends an operation whose server does not answer, and the storage goes on."""

    async def use() -> None:
        async with open_async_storage(private_redis_server.create_database(), timeout=PATIENCE) as storage:
            await storage.save_progress(record("m"))
            for act in (storage.get_progress("m"), storage.save_progress(record("m", 2.0))):
                private_redis_server.pause()
                with trio.move_on_after(0.1) as scope:
                    await act
                assert scope.cancelled_caught
                private_redis_server.resume()
                found = await storage.get_progress("m")
                assert found is not None
            saved = await storage.save_progress(record("m", 3.0))
            assert saved.version in (2, 3)  # nobody knows what became of the one before
            assert await storage.get_progress("m") == saved

    trio.run(use)


async def _names(records: AsyncIterator[AIProgress]) -> list[str]:
    return [one.model_name async for one in records]


@pytest.mark.ai_storage("sqlite", "postgres", "redis")
def test_iterations_side_by_side(async_ai_storage: AsyncAIStorage) -> None:
    """Two iterations at once each yield every model once."""

    async def use() -> list[list[str]]:
        await async_ai_storage.save_many([record(f"m{number:03}") for number in range(25)])
        iterations = (_names(async_ai_storage.iter_progress(batch_size=size)) for size in (1, 10))
        return await asyncio.gather(*iterations)

    one, other = asyncio.run(use())
    assert one == other == [f"m{number:03}" for number in range(25)]
