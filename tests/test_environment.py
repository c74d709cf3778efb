"""The environment as a settings object: the guide's table, options by variables, and no secret shown."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest

from pytest_aistorage import ConfigurationError, StorageConfig, get_storage_config

SECRET = "hunter2"
DATABASE = f"postgres://user:{SECRET}@db.example:5432/imf"  # as Heroku writes it
REDIS = f"rediss://:{SECRET}@cache.example:6380/0"
BOTH = {"connection_string": DATABASE, "redis_url": REDIS}
URLS = {"DATABASE_URL": DATABASE, "REDIS_URL": REDIS}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, StorageConfig("file")),
        ({"CI": "true"}, StorageConfig("memory")),
        ({"CI": "false"}, StorageConfig("file")),
        ({"NODE_ENV": "development", **URLS}, StorageConfig("file")),
        ({"NODE_ENV": "production", **URLS}, StorageConfig("hybrid", BOTH)),
        ({"NODE_ENV": "production", "CI": "true", **URLS}, StorageConfig("hybrid", BOTH)),
        (
            {"NODE_ENV": "production", "DATABASE_URL": DATABASE},
            StorageConfig("database", {"connection_string": DATABASE}),
        ),
        # The names by which production goes: none of them may end at the JSON file.
        ({"APP_ENV": "prod", **URLS}, StorageConfig("hybrid", BOTH)),
        ({"AI_STORAGE_ENV": "Production", **URLS}, StorageConfig("hybrid", BOTH)),
        # The first that is set is the environment's name; empty is not set.
        ({"AI_STORAGE_ENV": "test", "NODE_ENV": "production", **URLS}, StorageConfig("file")),
        ({"APP_ENV": "test", "NODE_ENV": "production", **URLS}, StorageConfig("file")),
        (
            {"AI_STORAGE_ENV": "", "APP_ENV": " ", "NODE_ENV": "production", **URLS},
            StorageConfig("hybrid", BOTH),
        ),
        (
            {"NODE_ENV": "production", "DATABASE_URL": DATABASE, "REDIS_URL": ""},
            StorageConfig("database", {"connection_string": DATABASE}),
        ),
        # Our own names win.
        (
            {"NODE_ENV": "production", "DATABASE_URL": "sqlite:///x.db", "AI_STORAGE_DATABASE_URL": DATABASE},
            StorageConfig("database", {"connection_string": DATABASE}),
        ),
        (
            {"AI_STORAGE_TYPE": "redis", "REDIS_URL": "redis://x", "AI_STORAGE_REDIS_URL": REDIS},
            StorageConfig("redis", {"redis_url": REDIS}),
        ),
        ({"AI_STORAGE_TYPE": "memory", "NODE_ENV": "production"}, StorageConfig("memory")),
        ({"AI_STORAGE_PATH": "/data/m.json"}, StorageConfig("file", {"path": "/data/m.json"})),
    ],
)
def test_environment_picks_the_storage(environ: dict[str, str], expected: StorageConfig) -> None:
    """The guide's table, row by row, and what is before it."""
    assert get_storage_config(environ) == expected


def test_the_process_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument it is `os.environ`, as it is now."""
    for name in ("AI_STORAGE_ENV", "APP_ENV", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NODE_ENV", "production")
    monkeypatch.setenv("DATABASE_URL", f"{DATABASE}\n")  # a secret out of a file ends in a newline
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert get_storage_config() == StorageConfig("database", {"connection_string": DATABASE})


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"NODE_ENV": "production"}, "DATABASE_URL"),
        ({"NODE_ENV": "production", "REDIS_URL": REDIS}, "DATABASE_URL"),
        (
            {"NODE_ENV": "production", "DATABASE_URL": REDIS},
            "DATABASE_URL: rediss://.*of redis, not of database",
        ),
        (
            {"NODE_ENV": "production", **URLS, "AI_STORAGE_REDIS_URL": DATABASE},
            "AI_STORAGE_REDIS_URL: postgres://",
        ),
        (
            {"NODE_ENV": "production", "DATABASE_URL": f"jdbc:postgresql://h/{SECRET}"},
            "DATABASE_URL: jdbc://",
        ),
        ({"NODE_ENV": "production", "DATABASE_URL": SECRET}, "DATABASE_URL: .*scheme"),
        ({"NODE_ENV": "production", "DATABASE_URL": f"mysql://u:{SECRET}/x@h/db"}, "DATABASE_URL: "),
        ({"AI_STORAGE_TYPE": "postgres"}, "AI_STORAGE_TYPE: .*'postgres'"),
        ({"AI_STORAGE_TYPE": "redis"}, "REDIS_URL"),
        ({"AI_STORAGE_TYPE": "memory", "AI_STORAGE_TTL": "soon"}, "AI_STORAGE_TTL: .*'soon'"),
        ({"AI_STORAGE_TIMOUT": "3"}, "AI_STORAGE_TIMOUT.*AI_STORAGE_TIMEOUT"),
    ],
)
def test_bad_environment_is_refused_naming_the_variable(environ: dict[str, str], named: str) -> None:
    """Production never falls back to the file, swapped URLs are noticed, and no message shows a secret."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        get_storage_config(environ)
    assert SECRET not in f"{caught.value!s}{caught.value!r}"
    assert caught.value.__cause__ is None


def test_options_come_from_variables_and_are_checked() -> None:
    """AI_STORAGE_ and an option's name; options of other storages and foreign names are left alone."""
    environ = {
        "AI_STORAGE_TYPE": "memory",
        "AI_STORAGE_TTL": "60",
        "AI_STORAGE_TIMEOUT": "2.5",
        "AI_STORAGE_POOL_SIZE": "7",  # a database's
        "AI_STORAGE_REQUIRE": "redis",  # the plugin's
        "AI_STORAGE_URL_POSTGRES": "postgresql://h/db",
        "AI_STORAGE_SERVICE_HOST": "10.0.0.1",  # set by Kubernetes, for a service called ai-storage
        "AI_STORAGE_PORT_80_TCP": "tcp://10.0.0.1:80",
    }
    assert get_storage_config(environ).options == {"ttl": timedelta(minutes=1), "timeout": 2.5}


def test_options_are_those_of_what_the_address_leads_to() -> None:
    """A database with a cache in its URL is a hybrid, a cluster has no durability to demand."""
    hybrid = "sqlite:///x.db?cache=redis%3A%2F%2Fh%2F0"
    environ = {"AI_STORAGE_TYPE": "database", "DATABASE_URL": hybrid, "AI_STORAGE_LEASE": "2"}
    assert get_storage_config(environ).options == {"connection_string": hybrid, "lease": 2.0}
    cluster = "redis+cluster://h:7000"
    environ = {"AI_STORAGE_TYPE": "redis", "REDIS_URL": cluster, "AI_STORAGE_DURABILITY": "none"}
    assert get_storage_config(environ).options == {"redis_url": cluster}


def test_config_shows_no_secret() -> None:
    """Not in its own repr, nor in that of its options; what it holds is whole, also after pickling."""
    config = StorageConfig(
        "hybrid", {**BOTH, "password": SECRET, "timeout": 3.0, "db": object(), "prefix": "a:"}
    )
    for text in (
        repr(config),
        str(config),
        f"{config}",
        repr(config.options),
        str([config.options["redis_url"]]),
    ):
        assert SECRET not in text
    assert "'postgres://user:***@db.example:5432/imf'" in repr(config)
    assert "timeout': 3.0" in repr(config)
    assert "'<object>'" in repr(config)
    whole: Any = pickle.loads(pickle.dumps(StorageConfig("hybrid", BOTH)))
    assert whole == StorageConfig("hybrid", BOTH)
    assert whole.options["connection_string"] == DATABASE
    assert SECRET not in repr(whole.options)


def test_config_is_frozen_and_hashable() -> None:
    """A setting that changes after it was read is a setting that nobody can find."""
    given = dict(BOTH)
    config = StorageConfig("hybrid", given)
    given.clear()
    assert config.options == BOTH
    assert hash(config) == hash(StorageConfig("hybrid"))
    with pytest.raises(AttributeError):
        config.type = "file"  # type: ignore[misc]  # that is what is tested
