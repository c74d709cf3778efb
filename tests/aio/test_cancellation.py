"""A task that is cancelled while it waits: it goes at once, and nothing of its operation stays on a connection.

The storages' own time limits are far away here, so that whatever ended by them instead would be noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    AsyncAIStorage,
    Capability,
    StorageUnavailableError,
    config,
    open_async_storage,
)
from pytest_aistorage.backends._engines import engine_from_url
from pytest_aistorage.races import History, Operation, Verdict, check_linearizable
from pytest_aistorage.servers import PrivateServer

LIMIT = 120.0
"""Seconds that a storage would wait."""
PATIENCE = 60.0
"""Seconds within which a test has to be through: before any time limit."""

Act = Callable[[AsyncAIStorage], Awaitable[object]]


def record(name: str, mse: float = 1.0) -> AIProgress:
    """A record of this model."""
    return AIProgress(model_name=name, mse=mse)


def raised(current: AIProgress | None) -> AIProgress:
    """Change a record that is there."""
    assert current is not None
    return dataclasses.replace(current, mse=current.mse + 1)


ACTS: dict[str, Act] = {
    "save": lambda storage: storage.save_progress(record("m", 2.0)),
    "compare and set": lambda storage: storage.save_progress(record("m", 2.0), expected_version=1),
    "update": lambda storage: storage.update_progress("m", raised),
    "delete": lambda storage: storage.delete_progress("m"),
    "batch": lambda storage: storage.save_many([record("m", 2.0), record("other")]),
    "get": lambda storage: storage.get_progress("m"),
    "load": lambda storage: storage.load_progress(),
    "health check": lambda storage: storage.health_check(),
}


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task that waits; it must end by that."""
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_server_that_does_not_answer(private: PrivateServer) -> None:
    """Each operation ends at once, its thread is free for the next, and no late answer is taken for another's."""

    async def use() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            open_async_storage(private.create_database(), timeout=LIMIT, max_concurrency=1) as storage,
        ):
            names = [f"n{number}" for number in range(len(ACTS))]
            await storage.save_many([record(name) for name in ["m", *names]])
            for name, act in zip(names, ACTS.values(), strict=True):
                private.pause()
                try:
                    task = asyncio.ensure_future(act(storage))
                    for _ in range(50):  # the loop goes round while the operation waits
                        await asyncio.sleep(0.002)
                    await cancelled(task)
                    while len(storage._workers._idle) != 1:
                        await asyncio.sleep(0.005)
                finally:
                    private.resume()
                found = await storage.get_progress(name)
                assert found is not None
                assert found.model_name == name

    asyncio.run(use())


def test_a_storage_with_an_unreachable_server_closes_at_once(private_postgres_server: PrivateServer) -> None:
    """Also while an operation waits; that one ends when its connection does, or when it is cancelled."""

    async def use() -> None:
        async with asyncio.timeout(PATIENCE):
            storage = open_async_storage(private_postgres_server.create_database(), timeout=LIMIT)
            await storage.save_progress(record("m"))
            private_postgres_server.pause()
            task = asyncio.create_task(storage.save_progress(record("m")))
            await asyncio.sleep(0.1)
            await storage.close()
            with pytest.raises(StorageUnavailableError, match="closed"):
                await storage.get_progress("m")
            await cancelled(task)

    try:
        asyncio.run(use())
    finally:
        private_postgres_server.resume()


# -- what stays on the server --------------------------------------------------------------------------------

_AT_WORK = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND state <> 'idle' AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx",
}
_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


@pytest.fixture(params=["postgres", "mysql", "hybrid"])
def kind(request: pytest.FixtureRequest) -> str:
    """What has a server that keeps locks."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """An empty database on a server of each product."""
    server = "postgres_server" if kind == "hybrid" else f"{kind}_server"
    made: str = request.getfixturevalue(server).create_database()
    return made


@pytest.fixture
def options(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the storage is opened on it."""
    if kind != "hybrid":
        return {}
    return {"cache": request.getfixturevalue("redis_server").create_database()}


@pytest.fixture
def foreign(url: str) -> Iterator[sa.Engine]:
    """The application's own way to the same database."""
    engine = engine_from_url(config.StorageURL.parse(url), timeout=PATIENCE, pool_size=5, max_overflow=0)
    yield engine
    engine.dispose()


async def until(engine: sa.Engine, query: dict[str, str], count: int) -> None:
    """Wait until the server counts this many."""
    with engine.connect() as connection:
        while connection.exec_driver_sql(query[engine.dialect.name]).scalar_one() != count:
            await asyncio.sleep(0.12)  # InnoDB renews its table ten times a second at most


@pytest.mark.parametrize("act", ["save", "update", "batch", "delete"])
def test_no_lock_and_no_transaction_stay(
    url: str, options: dict[str, Any], foreign: sa.Engine, act: str
) -> None:
    """A write that waits for another's lock is called off on the server, too, and takes no effect when it is free."""

    async def use() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            open_async_storage(url, timeout=LIMIT, max_concurrency=1, **options) as storage,
        ):
            await storage.save_many([record("m"), record("n")])
            with foreign.connect() as holder:
                for step in ("BEGIN", "SELECT * FROM ai_progress_versions WHERE model_name = 'm' FOR UPDATE"):
                    holder.exec_driver_sql(step)
                task = asyncio.ensure_future(ACTS[act](storage))
                await until(foreign, _WAITING, 1)
                await cancelled(task)
                await until(foreign, _AT_WORK, 1)  # the holder
                saved = await storage.save_progress(record("n"))  # neither thread nor lock is taken
                assert saved.version == 2
                holder.exec_driver_sql("ROLLBACK")
            found = await storage.get_progress("m")
            assert found is not None
            assert (found.version, found.mse) == (1, 1.0)

    asyncio.run(use())


@pytest.mark.parametrize("act", ["save", "update", "batch", "delete"])
def test_a_write_that_waits_for_another_process(tmp_path: Path, act: str) -> None:
    """Of SQLite, where no server keeps the lock: it ends as well, its thread is free, and it never takes effect."""

    async def use() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            open_async_storage(f"sqlite:///{tmp_path}/m.db", timeout=LIMIT, max_concurrency=1) as storage,
        ):
            await storage.save_progress(record("m"))
            with contextlib.closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as holder:
                holder.execute("BEGIN IMMEDIATE")
                task = asyncio.ensure_future(ACTS[act](storage))
                await asyncio.sleep(0.1)
                await cancelled(task)
                found = await storage.get_progress("m")  # by the only thread
                holder.execute("ROLLBACK")
            assert found is not None
            assert await storage.load_progress() == [found]
            assert found.version == 1
            saved = await storage.save_progress(record("m"))
            assert saved.version == 2

    asyncio.run(use())


# -- those who wait together ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["save", "get"])
def test_one_of_several(private: PrivateServer, kind: str) -> None:
    """Whoever is cancelled goes, and the others get what is theirs; when the last goes, the connection is cut."""
    names = [f"m{number}" for number in range(6)]

    async def use() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            open_async_storage(private.create_database(), timeout=LIMIT, max_concurrency=1) as storage,
        ):

            def begin() -> list[asyncio.Task[AIProgress | None]]:
                if kind == "save":
                    return [asyncio.create_task(storage.save_progress(record(name, 2.0))) for name in names]
                return [asyncio.create_task(storage.get_progress(name)) for name in names]

            await storage.save_many([record(name) for name in names])
            private.pause()
            try:
                tasks = begin()
                await asyncio.sleep(0.1)
                for task in tasks[::2]:
                    await cancelled(task)
            finally:
                private.resume()
            for name, one in zip(names[1::2], await asyncio.gather(*tasks[1::2]), strict=True):
                assert one is not None
                assert one.model_name == name
            private.pause()
            try:
                tasks = begin()
                await asyncio.sleep(0.1)
                for task in tasks:
                    await cancelled(task)
            finally:
                private.resume()
            assert [one.model_name for one in await storage.load_progress()] == names

    asyncio.run(use())


def test_what_has_not_begun_never_does() -> None:
    """A write that still waits for a thread has no effect at all when it is cancelled."""
    busy, go_on = threading.Event(), threading.Event()

    class Slow(_Memory):
        def _delete(self, model_name: str, expected: int | None) -> int | None:
            busy.set()
            assert go_on.wait(PATIENCE)
            return None

    async def use() -> None:
        async with AsyncAIStorage(Slow(), max_concurrency=1) as storage:
            held = asyncio.create_task(storage.delete_progress("held"))
            while not busy.is_set():
                await asyncio.sleep(0.001)
            writes = [
                asyncio.create_task(storage.save_progress(record("m"))),
                asyncio.create_task(storage.save_progress(record("m"), expected_version=0)),
            ]
            await asyncio.sleep(0)
            for write in writes:
                await cancelled(write)
            go_on.set()
            await held
            assert await storage.get_progress("m") is None

    asyncio.run(use())


def test_a_storage_that_cannot_be_interrupted() -> None:
    """Its operation ends in its thread, nobody hears of it, and the task has gone long before."""
    busy, go_on, done = threading.Event(), threading.Event(), threading.Event()

    class Slow(_Memory):
        def _save(self, progress: AIProgress, expected: int | None, ttl: Any) -> AIProgress:
            busy.set()
            assert go_on.wait(PATIENCE)
            try:
                return super()._save(progress, expected, ttl)
            finally:
                done.set()

    async def use() -> None:
        async with AsyncAIStorage(Slow()) as storage:
            task = asyncio.create_task(storage.save_progress(record("m")))
            while not busy.is_set():
                await asyncio.sleep(0.001)
            await cancelled(task)
            assert not done.is_set()
            go_on.set()
            assert await asyncio.to_thread(done.wait, PATIENCE)
            assert await storage.get_progress("m") is not None

    asyncio.run(use())


class _Memory(AIStorage):
    """A third party's storage: a dictionary, and no idea of interruptions."""

    type = "memory of a third party"

    def __init__(self) -> None:
        self.capabilities = frozenset({Capability.LINEARIZABLE})
        self._records: dict[str, AIProgress] = {}

    def _save(self, progress: AIProgress, expected: int | None, ttl: Any) -> AIProgress:
        self._records[progress.model_name] = dataclasses.replace(progress, version=1)
        return self._records[progress.model_name]

    def _save_many(self, records: list[AIProgress], ttl: Any) -> list[AIProgress]:
        return [self._save(one, None, ttl) for one in records]

    def _get(self, model_name: str) -> AIProgress | None:
        return self._records.get(model_name)

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        return iter(list(self._records.values()))

    def _update(self, model_name: str, change: Any) -> AIProgress:
        return self._save(change(self._get(model_name)), None, None)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        return None

    def _ping(self) -> None: ...

    def _close(self) -> None: ...

    def _location(self) -> str:
        return "here"


# -- a history ----------------------------------------------------------------------------------------------


@pytest.mark.ai_storage("sqlite", "postgres", "redis", "mysql", "hybrid")
def test_a_race_of_tasks_of_which_many_are_cancelled(async_ai_storage: AsyncAIStorage) -> None:
    """With each cancelled write of unknown outcome, the history is linearizable, and nobody gets another's answer."""
    random_ = random.Random(5)
    operations: list[Operation] = []

    async def client(number: int) -> None:
        for turn in range(40):
            name = f"m{random_.randrange(3)}"
            kind = random_.choice(["save", "save", "update", "get"])
            value = float(1000 * number + turn)
            called = time.monotonic_ns()
            ends = asyncio.timeout(random_.choice([None, None, 0.0005, 0.002]))
            base: list[int] = []
            try:
                async with ends:
                    found = await _act(async_ai_storage, kind, name, value, base)
            except TimeoutError:
                if kind != "get":
                    # The client is a new one: its cancelled operation may still be under way.
                    operations.append(
                        Operation(1000 + len(operations), kind, name, called, None, "unknown", value=value)
                    )
                continue
            assert found is None or found.model_name == name
            operations.append(
                Operation(
                    number,
                    kind,
                    name,
                    called,
                    time.monotonic_ns(),
                    version=0 if found is None else found.version,
                    base=base[-1] if base else None,
                    value=None if found is None else found.mse,
                )
            )

    async def race() -> None:
        async with asyncio.timeout(PATIENCE):
            await async_ai_storage.health_check()
            await asyncio.gather(*(client(number) for number in range(8)))

    asyncio.run(race())
    check = check_linearizable(History(operations))
    assert check.verdict is Verdict.LINEARIZABLE, check
    assert sum(operation.outcome == "ok" for operation in operations) > 50


async def _act(
    storage: AsyncAIStorage, kind: str, name: str, value: float, base: list[int]
) -> AIProgress | None:
    if kind == "save":
        return await storage.save_progress(record(name, value))
    if kind == "get":
        return await storage.get_progress(name)

    def change(current: AIProgress | None) -> AIProgress:
        base.append(0 if current is None else current.version)
        return record(name, value)

    return await storage.update_progress(name, change)
