"""Stores to be measured: with which settings, on whose server, and what is left of them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from pytest_aistorage import AIProgress, ServerUnavailableError, open_storage
from pytest_aistorage.bench.stores import Stores
from pytest_aistorage.servers.kinds import KINDS
from pytest_aistorage.servers.server import Server


def test_stores_without_a_server() -> None:
    """Each is empty and says when what it acknowledged is on a disk; nothing is left of them."""
    with Stores() as stores:
        told = {}
        for backend in ("memory", "file", "sqlite"):
            store = stores.durable(backend)
            told[backend] = store.promise.words
            with store.open() as storage:
                assert storage.load_progress() == []
                storage.save_progress(AIProgress(model_name="m", mse=0.5))
        directory = stores.directory
        with pytest.raises(ServerUnavailableError, match="knows this backend"):
            stores.volatile("oracle")
    assert told == {
        "memory": "process memory",
        "file": "written in place, no fsync",
        "sqlite": "fsync at each commit",
    }
    assert not directory.exists()


def test_a_server_of_somebody_else_is_left_as_it_was(postgres_server: Server) -> None:
    """Its settings are used as they are and told; databases made for it are dropped; other settings are refused."""
    with Stores(("process",), {"postgres": postgres_server.create_database()}) as stores:
        store = stores.durable("postgres")
        assert store.promise.words == "no fsync"  # as the tests' servers are
        assert store.processes == ()  # nobody moves its processes
        with store.open() as storage:
            storage.save_progress(AIProgress(model_name="m", mse=0.5))
        with pytest.raises(ServerUnavailableError, match="is not set to fsync on"):
            stores.durable("postgres", {"fsync": "on"})
    with pytest.raises(Exception, match="does not exist"):
        KINDS["postgres"].version(store.url, 5.0)


def test_hybrid_is_one_url(redis_server: Server) -> None:
    """The cache and more options stand in it, so that any process can open it."""
    with Stores() as stores:
        cached = stores.durable("sqlite").having(cache=redis_server.create_database())
        with cached.open() as mine, open_storage(cached.url) as yours:
            assert mine.type == "hybrid"
            mine.save_progress(AIProgress(model_name="m", mse=0.5))
            assert yours.get_progress("m") == mine.get_progress("m")
        assert urlsplit(cached.having(lease="0").url).query.endswith("&lease=0")


def test_durable_servers_are_asked_what_they_do(redis_server: Server) -> None:
    """A private one is started once for each group of settings, on a disk, and is reached without a proxy."""
    provider = redis_server.provider
    if provider not in ("process", "embedded"):
        provider = "embedded"
    with Stores((provider,)) as stores:
        always, again = stores.durable("redis"), stores.durable("redis")
        never = stores.durable("redis", {"appendonly": "no"})
        assert always.promise.words == "append-only file, fsync at each write"
        assert "appendfsync=always, on disk" in always.promise.settings
        assert never.promise.words == "no append-only file: server memory"
        assert urlsplit(always.url).netloc == urlsplit(again.url).netloc != urlsplit(never.url).netloc
        assert always.url != again.url
        (process,) = always.processes
        assert urlsplit(process).netloc == urlsplit(always.url).netloc
