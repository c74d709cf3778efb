"""What a Redis storage declares, and the settings that contradict it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from real_redis import SECRET, Server, progress

from pytest_aistorage.backends.redis import RedisStorage
from pytest_aistorage.capabilities import Capability
from pytest_aistorage.errors import (
    ConfigurationError,
    OutcomeUnknownError,
    VersionConflictError,
)


def test_capabilities_follow_the_durability() -> None:
    """Only what was opened for is declared."""
    crash, power = Capability.SURVIVES_SERVER_CRASH, Capability.SURVIVES_POWER_LOSS
    for durability, declared in [
        ("none", set()),
        ("append-only", {crash}),
        ("appendfsync-always", {crash, power}),
    ]:
        storage = RedisStorage("redis://localhost", durability=durability)
        assert storage.capabilities & {crash, power} == declared
        assert {Capability.LINEARIZABLE, Capability.VERSIONS_NEVER_REUSED} <= storage.capabilities
    assert not RedisStorage("redis://localhost").capabilities & {crash, power}


def test_settings_that_contradict_the_durability(private: Callable[..., Server]) -> None:
    """An error at the first operation, until the server is set right; nothing is written before."""
    server = private()
    with server.client() as raw:
        with RedisStorage(server.url, durability="append-only") as storage:
            with pytest.raises(ConfigurationError, match="append-only file"):
                storage.save_progress(progress())
            assert raw.dbsize() == 0
            assert not storage.health_check()
            raw.config_set("appendonly", "yes")
            with pytest.raises(ConfigurationError, match="everysec"):
                storage.save_progress(progress())
            raw.config_set("appendfsync", "no")
            storage.save_progress(progress())
        with RedisStorage(f"{server.url}?durability=appendfsync-always") as storage:
            with pytest.raises(ConfigurationError, match="appendfsync is no"):
                storage.save_progress(progress())
            raw.config_set("appendfsync", "always")
            raw.config_set("no-appendfsync-on-rewrite", "yes")
            with pytest.raises(ConfigurationError, match="no-appendfsync-on-rewrite"):
                storage.get_progress("m")
            raw.config_set("no-appendfsync-on-rewrite", "no")
            assert storage.save_progress(progress()).version == 2


def test_durability_that_can_not_be_verified(private: Callable[..., Server]) -> None:
    """A user who may not ask can't be promised anything, and can work without the promise."""
    server = private("--appendonly", "yes", "--appendfsync", "always")
    with server.client() as raw:
        raw.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all", "-config", "-info")
        url = f"unix://app:{SECRET}@{server.socket}"
        for durability in ("append-only", "appendfsync-always"):
            with (
                RedisStorage(url, durability=durability) as storage,
                pytest.raises(ConfigurationError, match="can't be verified"),
            ):
                storage.save_progress(progress())
        with RedisStorage(url) as storage:
            assert storage.save_progress(progress()).version == 1
            assert storage.get_storage_info().server == "Redis (of a version that it does not tell)"
        raw.execute_command("ACL", "SETUSER", "app", "+info")
        with RedisStorage(url, durability="appendfsync-always") as storage:
            with pytest.raises(ConfigurationError, match="CONFIG GET"):
                storage.save_progress(progress())
            raw.execute_command("ACL", "SETUSER", "app", "+config|get")
            assert storage.save_progress(progress()).version == 2


def test_eviction_of_any_key_contradicts_versions(private: Callable[..., Server]) -> None:
    """allkeys-* may drop the versions; volatile-* can't, for they have no time to live."""
    server = private("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with server.client() as raw, RedisStorage(server.url) as storage:
        with pytest.raises(ConfigurationError, match="maxmemory-policy allkeys-lru"):
            storage.get_progress("m")
        raw.config_set("maxmemory-policy", "volatile-lru")
        assert storage.get_progress("m") is None


def test_the_settings_are_asked_for_once_a_client(shared: Server, raw: Any, prefix: str) -> None:
    """A storage for every test over one client must cost next to nothing."""

    def asked() -> int:
        return int(raw.info("commandstats").get("cmdstat_info", {"calls": 0})["calls"])

    with shared.client() as client:
        RedisStorage(redis=client, prefix=prefix).save_progress(progress())
        before = asked()
        for _ in range(3):
            RedisStorage(redis=client, prefix=prefix).save_progress(progress())
        assert asked() == before + 1  # the call of asked() itself


def knows_waitaof(server: Server) -> bool:
    """Redis has it from 7.2 on."""
    with server.client() as raw:
        try:
            raw.execute_command("WAITAOF", 0, 0, 1)
        except redis.ResponseError:
            return False
    return True


def test_a_save_waits_for_the_append_only_file(private: Callable[..., Server]) -> None:
    """``wait_aof`` where the server knows WAITAOF and has such a file; else an error before anything is written."""
    server, without = private("--appendonly", "yes", "--appendfsync", "everysec"), private()
    with RedisStorage(f"{server.url}?wait_aof=0", timeout=60) as storage:
        if knows_waitaof(server):
            assert storage.save_progress(progress()).version == 1
            assert storage.delete_progress("m") == 2
        else:
            with pytest.raises(ConfigurationError, match="unknown command"):
                storage.save_progress(progress())
    with RedisStorage(f"{without.url}?wait_aof=0") as storage:
        with pytest.raises(ConfigurationError, match=r"appendonly|unknown command"):
            storage.save_progress(progress())
        with without.client() as raw:
            assert raw.dbsize() == 0


@pytest.mark.parametrize("option", ["wait", "wait_aof"])
def test_replicas_that_are_not_there_leave_the_outcome_unknown(
    private: Callable[..., Server], option: str
) -> None:
    """The write is there, and the error says that nobody else has it. What writes nothing waits for nobody."""
    server = private("--appendonly", "yes", "--appendfsync", "always")
    with RedisStorage(server.url, timeout=60) as storage:
        storage.save_progress(progress("other"))
    with RedisStorage(f"{server.url}?{option}=1", timeout=1) as storage:
        if option == "wait_aof" and not knows_waitaof(server):
            with pytest.raises(ConfigurationError, match="unknown command"):
                storage.save_progress(progress())
            return
        with pytest.raises(OutcomeUnknownError, match="0 of 1 replicas"):
            storage.save_progress(progress())
        assert storage.get_progress("m") is not None
        assert storage.delete_progress("nobody") is None
        with pytest.raises(VersionConflictError):
            storage.save_progress(progress("other"), expected_version=7)
