"""The guide's hybrid storage, through its doors: a database and a Redis, by their URLs or handed in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from pytest_aistorage import (
    AIProgress,
    ConfigurationError,
    ProductionAIStorage,
    StorageConfig,
    get_ai_storage,
    get_storage_config,
    open_storage,
)

RESNET = AIProgress(model_name="resnet", mse=0.12, accuracy=0.93)


@pytest.fixture
def urls(postgres_server: Any, redis_server: Any) -> dict[str, str]:
    """An empty database and an empty Redis, as the guide's environment names them."""
    return {"DATABASE_URL": postgres_server.create_database(), "REDIS_URL": redis_server.create_database()}


@pytest.fixture
def client(urls: dict[str, str]) -> Iterator[redis.Redis]:
    """The application's own client of that Redis."""
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        yield client


def test_hybrid_by_urls(urls: dict[str, str], client: redis.Redis) -> None:
    """What is acknowledged is in the database, and what is read is then in the cache, under the prefix."""
    options = {
        "connectionString": urls["DATABASE_URL"],
        "redisUrl": urls["REDIS_URL"],
        "prefix": "imf:",
        "lease": 60,
        "pool_size": 2,
    }
    with ProductionAIStorage(type="hybrid", options=options) as storage:
        saved = storage.save_progress(RESNET)
        assert storage.type == "hybrid"
        assert storage.get_progress("resnet") == saved
        assert storage.degraded is None
        assert client.keys("imf:*resnet*")
        assert not client.keys("ai_progress:*")
        with open_storage(urls["DATABASE_URL"]) as database:
            assert database.load_progress() == [saved]


def test_hybrid_by_connections(urls: dict[str, str], client: redis.Redis) -> None:
    """The guide's own example: `db` and `redis` are the application's, and stay open."""
    engine = sa.create_engine(re.sub("^postgresql:", "postgresql+psycopg:", urls["DATABASE_URL"]))
    with ProductionAIStorage(type="hybrid", options={"db": engine, "redis": client}) as storage:
        saved = storage.save_progress(RESNET)
        assert storage.get_progress("resnet") == saved
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT model_name FROM ai_progress")).scalar() == "resnet"
    assert client.ping()
    engine.dispose()


def test_hybrid_of_both_kinds(urls: dict[str, str], client: redis.Redis) -> None:
    """One by its URL and the other handed in; a prefix has its place in the URL that there isn't then."""
    options = {"connection_string": urls["DATABASE_URL"], "redis": client}
    with ProductionAIStorage(type="hybrid", options=options) as storage:
        assert storage.save_progress(RESNET).version == 1
    with pytest.raises(ConfigurationError, match="option prefix"):
        ProductionAIStorage(type="hybrid", options={**options, "prefix": "imf:"})


def test_production_is_hybrid(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's environment, with options of the database, of the cache and of both together."""
    further = {
        "AI_STORAGE_POOL_SIZE": "2",
        "AI_STORAGE_PREFIX": "imf:",
        "AI_STORAGE_LEASE": "0.5",
        "AI_STORAGE_MAX_CONNECTIONS": "7",  # a Redis storage's, which a cache does not need
    }
    variables = {"NODE_ENV": "production", **urls, **further}
    expected = {"connection_string": urls["DATABASE_URL"], "redis_url": urls["REDIS_URL"]}
    expected |= {"pool_size": 2, "prefix": "imf:", "lease": 0.5}  # type: ignore[dict-item]  # of several types
    assert get_storage_config(variables) == StorageConfig("hybrid", expected)
    for name in ("AI_STORAGE_ENV", "APP_ENV"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with get_ai_storage() as storage:
        assert storage.type == "hybrid"
        assert storage.save_progress(RESNET).version == 1
        assert storage.health_check()


def test_hybrid_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    """Of neither of its servers, when none can be reached."""
    options = {
        "connection_string": "postgresql://u:hunter2@127.0.0.1:1/db?timeout=2",
        "redis_url": "redis://:hunter2@127.0.0.1:1/0",
    }
    caplog.set_level("DEBUG")
    with ProductionAIStorage(type="hybrid", options=options) as storage:
        assert not storage.health_check()
        texts = [repr(storage), str(storage.degraded), caplog.text]
    assert "hunter2" not in "\n".join(texts)
    with open_storage("sqlite:///x.db?cache=redis%3A%2F%2F%3Ahunter2%40127.0.0.1%3A1%2F0") as direct:
        assert "hunter2" not in repr(direct)
