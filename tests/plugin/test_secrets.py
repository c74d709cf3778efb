"""What pytest prints of a failure has no password in it: it shows the arguments of the frames that it shows."""

from __future__ import annotations

import pytest

SUITE = """
import os
from pytest_aistorage import open_storage


def test_use():
    open_storage(os.environ["APP_STORAGE"]).get_progress("resnet")
"""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:HUNTER2@127.0.0.1:1/db",
        "mysql://user:HUNTER2@127.0.0.1:1/db",
        "redis://user:HUNTER2@127.0.0.1:1/0",
        "rediss://user:HUNTER2@127.0.0.1:1/0",
        "postgresql://user:HUNTER2@host:99999999/db",
        "postgresql://user:HUNTER2@host/db?nosuchoption=1",
        "mysql://user:HUNTER2@host/",
        "redis://user:HUNTER2@host/x",
        "nosuch://user:HUNTER2@host/db",
    ],
)
def test_failure_shows_no_password(pytester, run, monkeypatch, url):
    """Whether the server is down or the URL is wrong, and however long the traceback."""
    monkeypatch.setenv("APP_STORAGE", url)
    pytester.makepyfile(test_app=SUITE)
    result = run("--tb=long")
    result.assert_outcomes(failed=1)
    assert "HUNTER2" not in result.stdout.str()


DOORS = """
import os
import pytest
from pytest_aistorage import ProductionAIStorage, get_ai_storage, get_storage_config


def test_environment():
    with get_ai_storage() as storage:
        storage.get_progress("resnet")


def test_configuration():
    config = get_storage_config()
    options = dict(config.options)
    assert config is None, options


def test_options():
    options = {"connectionString": os.environ["DATABASE_URL"], "redis": os.environ["OTHER"]}
    ProductionAIStorage(type="database", options=options)
"""


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "postgres://user:HUNTER2@127.0.0.1:1/db"},
        {"DATABASE_URL": "redis://user:HUNTER2@127.0.0.1:1/0"},
        {"DATABASE_URL": "mysql://user:HUNTER2/x@127.0.0.1:1/db"},
        {"DATABASE_URL": "mysql://user:HUNTER2@127.0.0.1:1/db", "AI_STORAGE_TIMOUT": "3"},
        {"DATABASE_URL": "mysql://user:HUNTER2@127.0.0.1:1/db", "AI_STORAGE_POOL_SIZE": "many"},
    ],
)
def test_failure_behind_the_guides_doors_shows_no_password(pytester, run, monkeypatch, variables):
    """Neither the environment nor the options are printed with a traceback, as long as it may be."""
    monkeypatch.setenv("NODE_ENV", "production")
    monkeypatch.setenv("OTHER", "redis://:HUNTER2@127.0.0.1:1/0")
    monkeypatch.delenv("REDIS_URL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(test_app=DOORS)
    result = run("--tb=long")
    result.assert_outcomes(failed=3)
    assert "HUNTER2" not in result.stdout.str()
