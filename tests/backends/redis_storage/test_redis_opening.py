"""Opening a Redis storage: URLs, options, clients that are handed in."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from real_redis import SECRET, Server, plus_one, progress

from pytest_aistorage.backends.redis import RedisStorage
from pytest_aistorage.errors import (
    AIStorageError,
    ConfigurationError,
    StorageUnavailableError,
)
from pytest_aistorage.progress import ProgressQuery


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoding": "latin-1"},
        {"decode_responses": True},
        {"protocol": 3},
        {"protocol": 3, "decode_responses": True},
    ],
)
def test_a_client_that_is_handed_in_is_used_and_not_closed(
    private: Callable[..., Server], options: dict[str, Any]
) -> None:
    """Whatever it was made for: another encoding, replies as text, or the newer protocol."""
    server = private("--appendonly", "yes", "--appendfsync", "always")
    with server.client(**options) as client:
        with RedisStorage(redis=client, durability="appendfsync-always") as storage:
            saved = storage.save_progress(progress("ä"))
            assert storage.get_progress("ä") == saved
            assert storage.load_progress() == [saved]
            assert storage.get_storage_info().server.split()[0] in ("Redis", "Valkey")
            assert storage.delete_progress("ä") == 2
        with pytest.raises(StorageUnavailableError, match="closed"):
            storage.get_progress("ä")
        assert client.ping()


def test_databases_and_prefixes_are_apart(shared: Server, prefix: str) -> None:
    """What is saved under one prefix or database is not seen under another."""
    with (
        RedisStorage(shared.url, prefix=prefix) as one,
        RedisStorage(f"{shared.url}?db=3&prefix={prefix}") as two,
        RedisStorage(f"{shared.url}?prefix={prefix}other:") as three,
    ):
        one.save_progress(progress())
        assert two.get_progress("m") is None
        assert three.load_progress() == []
        assert two.get_storage_info().location == f"unix://{shared.socket}?db=3&prefix={prefix}"


def test_it_says_what_it_talks_to(storage: RedisStorage, raw: Any, shared: Server) -> None:
    """The product and version of the server, not of what it is compatible with."""
    said = raw.info("server")
    name = "valkey" if "valkey_version" in said else "redis"
    info = storage.get_storage_info()
    assert info.server == f"{name.capitalize()} {said[f'{name}_version']}"
    assert (info.type, info.model_count) == ("redis", 0)
    assert info.latency > 0
    assert repr(storage).startswith(f"<RedisStorage unix://{shared.socket}?db=0&prefix=t-")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://localhost", {}),
        ("redis://localhost/x", {}),
        ("redis://localhost/1?db=1", {}),
        ("redis://localhost/-1", {}),
        ("redis://localhost:0x1", {}),
        (f"redis://{'a' * 64}.example", {}),
        ("redis://localhost?timeout=0", {}),
        ("redis://localhost?timeout=soon", {}),
        ("redis://localhost?ttl=0", {}),
        ("redis://localhost?max_connections=0", {}),
        ("redis://localhost?durability=some", {}),
        ("redis://localhost?decode_responses=true", {}),
        ("redis://localhost?ssl_cert_reqs=none", {}),
        ("rediss://localhost?ssl_cert_reqs=bogus", {}),
        ("rediss://localhost?ssl_check_hostname=perhaps", {}),
        ("unix://tmp/redis.sock", {}),
        ("unix:///", {}),
        ("redis://localhost", {"prefix": ""}),
        ("redis://localhost", {"prefix": "\ud800"}),
        ("redis://localhost", {"ttl": 5}),
        ("redis://localhost", {"unknown": 1}),
    ],
)
def test_a_url_or_option_that_can_not_be_right(url: str, options: dict[str, Any]) -> None:
    """Refused when it is opened, long before a server is needed, and without the password."""
    secret = url.replace("://localhost", f"://user:{SECRET}@localhost")
    with pytest.raises(ConfigurationError) as caught:
        RedisStorage.from_url(secret, **options)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "redundant", [{"url": "redis://localhost"}, {"max_connections": 3}, {"redis": object()}]
)
def test_a_client_and_what_does_not_go_with_it(redundant: dict[str, Any]) -> None:
    """A client has its own address and pool; anything else is no client; and one of the two is needed."""
    with pytest.raises(ConfigurationError):
        RedisStorage(**({"redis": redis.Redis()} | redundant))
    with pytest.raises(ConfigurationError):
        RedisStorage()


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("redis://", "redis://localhost:6379/0"),
        (f"valkey://user:{SECRET}@[::1]:7000/2?ttl=5", "redis://[::1]:7000/2"),
        (f"valkeys://:{SECRET}@h?ssl_password={SECRET}&ssl_check_hostname=no", "rediss://h:6379/0"),
        (f"unix:///run/r.sock?db=1&password={SECRET}", "unix:///run/r.sock?db=1"),
        (f"redis://h?prefix=a%20ä:&client_name=x&timeout={1.5}", "redis://h:6379/0?prefix=a%20%C3%A4:"),
    ],
)
def test_the_location_holds_no_secret(url: str, location: str) -> None:
    """Where the server is, and the prefix, and nothing else of the URL."""
    storage = RedisStorage(url)
    assert repr(storage) == f"<RedisStorage {location}>"


def test_a_fresh_store_needs_a_server(tmp_path: Path) -> None:
    """The message says what to hand in."""
    with pytest.raises(ConfigurationError, match="prefix"):
        RedisStorage.fresh_url(tmp_path)


def test_no_driver_error_escapes(private: Callable[..., Server]) -> None:
    """Every operation on a dead server raises one of ours."""
    server = private()
    with RedisStorage(server.url) as storage:
        storage.save_progress(progress())
        server.kill()
        for operation in (
            lambda: storage.save_progress(progress()),
            lambda: storage.save_many([progress()]),
            lambda: storage.get_progress("m"),
            storage.load_progress,
            lambda: list(storage.iter_progress()),
            lambda: storage.update_progress("m", plus_one),
            lambda: storage.delete_progress("m"),
            lambda: storage.query_progress(ProgressQuery()),
            lambda: storage.expire_now("m"),
            storage.get_storage_info,
        ):
            with pytest.raises(AIStorageError) as caught:
                operation()
            assert isinstance(caught.value, StorageUnavailableError)
