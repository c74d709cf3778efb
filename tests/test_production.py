"""The guide's doors: a storage by its type, and the one that a process takes from its environment."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    AIStorageError,
    Capability,
    ConfigurationError,
    CorruptStorageError,
    ProductionAIStorage,
    StorageUnavailableError,
    get_ai_storage,
    open_storage,
    production,
)

RESNET = AIProgress(model_name="resnet", mse=0.12, accuracy=0.93)
SECRET = "hunter2"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment that says nothing of storages, a working directory of the test's own, and no storage open."""
    production._of_this_process.close()
    for name in list(os.environ):
        if name.startswith("AI_STORAGE_") or name in (
            "APP_ENV",
            "NODE_ENV",
            "CI",
            "DATABASE_URL",
            "REDIS_URL",
        ):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield monkeypatch
    production._of_this_process.close()


# -- ProductionAIStorage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("memory", {}),
        ("memory", {"name": "sha?red/ü", "ttl": timedelta(hours=1)}),
        ("file", {}),
        ("file", {"path": None}),
        ("file", {"path": Path("metrics.json")}),
        ("file", {"path": "my metrics#1.json", "timeout": 3}),
        ("database", {"connection_string": "sqlite:///training.db", "pool_size": 2}),
        ("database", {"connectionString": "sqlite:///training.db", "poolSize": 2}),
    ],
)
@pytest.mark.usefixtures("environment")
def test_type_picks_the_storage(kind: str, options: dict[str, Any]) -> None:
    """Its type, capabilities and records are those of the storage behind it."""
    given = dict(options)
    with ProductionAIStorage(type=kind, options=options) as storage:
        assert (storage.type, options) == (kind, given)
        saved = storage.save_progress(RESNET)
        assert storage.get_progress("resnet") == saved
        assert (Capability.LINEARIZABLE in storage.capabilities) == (kind != "file")
    with pytest.raises(StorageUnavailableError, match="closed"):
        storage.load_progress()


@pytest.mark.ai_storage("postgres", "mysql", "redis")
def test_servers_by_url(ai_storage_url: str, ai_storage: AIStorage) -> None:
    """The guide's own two lines, on real servers."""
    if ai_storage.type == "database":
        opened = ProductionAIStorage(type="database", options={"connectionString": ai_storage_url})
    else:
        opened = ProductionAIStorage(type="redis", options={"redisUrl": ai_storage_url})
    with opened as storage:
        saved = storage.save_progress(RESNET)
        assert ai_storage.load_progress() == [saved]
        assert storage.health_check()
        assert storage.get_storage_info().server == ai_storage.get_storage_info().server


def test_every_operation_reaches_the_storage_behind() -> None:
    """Each of the contract's, with what it was given; also expiry, by the default that the storage behind has."""
    with ProductionAIStorage("memory", {"ttl": timedelta(hours=1)}) as storage:
        saved = storage.save_many([RESNET, AIProgress(model_name="bert", mse=0.5)])
        assert [record.version for record in saved] == [1, 1]
        assert (
            list(storage.iter_progress())
            == storage.load_progress()
            == sorted(saved, key=lambda r: r.model_name)
        )
        assert (
            storage.update_progress("bert", lambda now: AIProgress(model_name="bert", mse=0.4)).version == 2
        )
        assert storage.delete_progress("bert", expected_version=2) == 3
        assert storage.expire_now("resnet")
        assert storage.get_storage_info().model_count == 0


def test_engine_that_is_handed_in_is_used_and_not_closed(tmp_path: Path) -> None:
    """The guide's `db`."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'training.db'}")
    with ProductionAIStorage("database", {"db": engine, "timeout": 3}) as storage:
        storage.save_progress(RESNET)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT model_name FROM ai_progress")).scalar() == "resnet"
    engine.dispose()


def test_client_that_is_handed_in_is_used_and_not_closed(redis_server: Any) -> None:
    """The guide's `redis`."""
    client = redis.Redis.from_url(redis_server.create_database())
    with ProductionAIStorage("redis", {"redis": client, "prefix": "mine:"}) as storage:
        storage.save_progress(RESNET)
    assert client.keys("mine:record:*") == [b"mine:record:resnet"]
    client.close()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("postgres", {}, "type: .*memory, file, database, redis, hybrid.*'postgres'"),
        ("database", {"connection_string": f"redis://:{SECRET}@h/0"}, "option connection_string: redis://"),
        ("redis", {"redis_url": f"postgresql://u:{SECRET}@h/db"}, "option redis_url: postgresql://"),
        ("database", {"connection_string": None, "timeout": 3}, "DATABASE_URL"),
        ("redis", {}, "REDIS_URL"),
        ("hybrid", {"redis_url": f"redis://:{SECRET}@h/0"}, "connection_string or db"),
        ("hybrid", {"connection_string": f"postgresql://u:{SECRET}@h/db"}, "redis_url or redis"),
        ("database", {"connection_string": "sqlite:///x", "connectionString": "sqlite:///y"}, "given twice"),
        ("database", {"connection_string": f"mysql://u:{SECRET}@h/db", "db": object()}, "only one of them"),
        ("database", {"db": "engine"}, "option db: must be a SQLAlchemy Engine"),
        ("redis", {"redis": "client"}, "option redis: must be a redis.Redis"),
        ("database", {"connection_string": f"postgresql://u:{SECRET}@h/db", "poolsize": 1}, "'poolsize'"),
        ("memory", {"connection_string": f"postgresql://u:{SECRET}@h/db"}, "'connection_string'"),
        ("file", {"path": f"x{SECRET}", "ttl": 3}, "'ttl'"),
        ("file", {"path": 3}, "option path"),
        ("memory", {"name": 3}, "option name"),
        ("memory", ["name"], "options: must be a mapping, not list"),
    ],
)
@pytest.mark.usefixtures("environment")
def test_bad_options_are_refused_at_once(kind: str, options: dict[str, Any], message: str) -> None:
    """By what is wrong with them, and without the password that stands in one of them."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        ProductionAIStorage(type=kind, options=options)
    assert SECRET not in str(caught.value)


def test_address_comes_from_the_environment_where_none_is_given(environment: pytest.MonkeyPatch) -> None:
    """The guide's `new ProductionAIStorage({ type: 'database' })`; what is given wins over the variables."""
    environment.setenv("DATABASE_URL", "sqlite:///training.db")
    environment.setenv("AI_STORAGE_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="AI_STORAGE_TIMEOUT"):
        ProductionAIStorage(type="database")
    environment.setenv("AI_STORAGE_TIMEOUT", "4")
    with ProductionAIStorage(type="database", options={"timeout": 3}) as storage:
        storage.save_progress(RESNET)
    with open_storage("sqlite:///training.db") as same:
        assert len(same.load_progress()) == 1
    environment.setenv("AI_STORAGE_PATH", "mine.json")
    with ProductionAIStorage(type="file") as file:
        file.save_progress(RESNET)
    assert Path("mine.json").exists()


def test_migrate_from_file(tmp_path: Path) -> None:
    """The guide's one-time migration; a malformed file writes nothing."""
    path = tmp_path / "training_metrics.json"
    path.write_text('[{"modelName": "resnet", "mse": 0.12}, {"modelName": "bert", "mse": 0.5}]')
    with ProductionAIStorage("database", {"connection_string": f"sqlite:///{tmp_path / 'x.db'}"}) as storage:
        assert storage.migrate_from_file(path) == 2
        assert storage.migrate_from_file(str(path)) == 0
        path.write_text('[{"modelName": "gpt", "mse": 0.1}, {"modelName": "vit", "mse": "low"}]')
        with pytest.raises(CorruptStorageError, match="record 2: mse"):
            storage.migrate_from_file(path)
        assert [record.model_name for record in storage.load_progress()] == ["bert", "resnet"]


# -- get_ai_storage ---------------------------------------------------------------------------------------------


def test_all_threads_get_the_same_storage(environment: pytest.MonkeyPatch) -> None:
    """Also those that ask for it at once; closed, it is opened anew, by what the environment says then."""
    environment.setenv("CI", "true")
    barrier = threading.Barrier(8)

    def ask(_number: int) -> ProductionAIStorage:
        barrier.wait(60)
        return get_ai_storage()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(set(map(id, found))) == 1
    assert found[0].type == "memory"
    found[0].close()
    environment.setenv("APP_ENV", "production")
    environment.setenv("DATABASE_URL", "sqlite:///training.db")
    with get_ai_storage() as storage:
        assert storage.type == "database"
        assert get_ai_storage() is storage


def test_bad_environment_leaves_no_storage_behind(environment: pytest.MonkeyPatch) -> None:
    """The next call asks the environment again."""
    environment.setenv("NODE_ENV", "production")
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        get_ai_storage()
    environment.setenv("NODE_ENV", "test")
    with get_ai_storage() as storage:
        assert storage.type == "file"


def _in_child(records: Any, parents: int, closed: Any) -> None:
    storage = get_ai_storage()
    close = storage._storage._close

    def closing() -> None:
        close()
        closed.put(True)

    storage._storage._close = closing  # type: ignore[method-assign]  # to see whether it is called
    names = [record.model_name for record in storage.load_progress()]
    records.put((storage.type, id(storage) == parents, names, storage.health_check()))


@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: no fork() on Windows")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # multi-threaded, under pytest-xdist
@pytest.mark.parametrize("kind", ["memory", "database"])
def test_forked_child_has_a_storage_of_its_own(environment: pytest.MonkeyPatch, kind: str) -> None:
    """Of a database another one, closed when the child ends; of memory its copy of the records."""
    environment.setenv("AI_STORAGE_TYPE", kind)
    environment.setenv("DATABASE_URL", "sqlite:///training.db")
    context = multiprocessing.get_context("fork")
    with get_ai_storage() as storage:
        storage.save_progress(RESNET)
        records, closed = context.SimpleQueue(), context.SimpleQueue()
        child = context.Process(target=_in_child, args=(records, id(storage), closed))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert records.get() == (kind, kind == "memory", ["resnet"], True)
        if kind == "database":
            assert closed.get()
        assert get_ai_storage() is storage
        assert len(storage.load_progress()) == 1


def test_storage_is_closed_when_the_process_ends(tmp_path: Path) -> None:
    """Whoever writes behind gets to write what is left."""
    code = (
        "from pytest_aistorage import get_ai_storage\n"
        "storage = get_ai_storage()._storage\n"
        "storage._close = lambda: print('closed')\n"
    )
    environ = {**os.environ, "AI_STORAGE_TYPE": "memory"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "closed\n"


# -- secrets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("database", {"connection_string": f"postgres://user:{SECRET}@127.0.0.1:1/db?timeout=2"}),
        ("database", {"connection_string": f"mysql://user:{SECRET}@127.0.0.1:1/db?timeout=2"}),
        ("redis", {"redis_url": f"redis://user:{SECRET}@127.0.0.1:1/0?timeout=2"}),
        ("redis", {"redis_url": f"rediss://:{SECRET}@127.0.0.1:1/0?timeout=2"}),
    ],
)
def test_no_password_in_reprs_errors_and_logs(
    kind: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor in what the drivers log, however much they are asked to, when a server can't be reached."""
    caplog.set_level(logging.DEBUG)
    for name in ("sqlalchemy", "sqlalchemy.pool", "sqlalchemy.engine", "psycopg", "redis", "pymysql"):
        caplog.set_level(logging.DEBUG, logger=name)
    with ProductionAIStorage(kind, options) as storage:
        assert not storage.health_check()
        with pytest.raises(AIStorageError) as caught:
            storage.save_progress(RESNET)
        texts = [repr(storage), str(storage), storage._location(), caplog.text]
    error: BaseException | None = caught.value
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    assert SECRET not in "\n".join(texts)
