"""The test files whose isolation is measured, written by each way to isolate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["WAYS", "Way", "write_tests"]

TIMER = """\
import json, os, time
import pytest

durations = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    started = time.perf_counter()
    try:
        return (yield)
    finally:
        durations.append(time.perf_counter() - started)


def pytest_sessionfinish(session):
    with open(os.environ["AISTORAGE_BENCH_DURATIONS"], "w") as file:
        json.dump(durations, file)
"""
"""A plugin of the generated tests: everything that pytest does for one test, from set-up to the last report."""

_PSYCOPG = '''\
import psycopg, pytest

CREATE = """CREATE TABLE IF NOT EXISTS measured (model_name text PRIMARY KEY, mse double precision);
CREATE TABLE IF NOT EXISTS versions (model_name text PRIMARY KEY, version bigint)"""


@pytest.fixture(scope="session")
def connection():
    with psycopg.connect("{postgres}", autocommit=True) as connection:
        connection.execute(CREATE)
        yield connection
'''
_PSYCOPG_ACT = """\
def act(connection):
    connection.execute(
        "INSERT INTO measured VALUES (%s, %s) ON CONFLICT (model_name) DO UPDATE SET mse = EXCLUDED.mse",
        ("model", 0.5),
    )
    assert connection.execute("SELECT mse FROM measured WHERE model_name = %s", ("model",)).fetchone()
"""
_REDIS = """\
import pytest, redis


@pytest.fixture(scope="session")
def client():
    with redis.Redis.from_url("{redis}") as client:
        yield client
"""
_REDIS_ACT = """\
def act(client):
    client.set("model", "0.5")
    assert client.get("model")
"""
_STORAGE_ACT = """\
from pytest_aistorage import AIProgress

RECORD = AIProgress(model_name="model", mse=0.5)


def act(storage):
    storage.save_progress(RECORD)
    assert storage.get_progress("model")
"""
_KEPT_STORAGE = """\
import pytest
from pytest_aistorage import open_storage


@pytest.fixture(scope="session")
def kept():
    with open_storage("{url}") as storage:
        yield storage
"""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to isolate tests.

    Attributes:
        name: in words.
        backend: ``postgres`` or ``redis``; empty for the empty test.
        fixture: the tests' argument.
        conftest: what provides the fixture, with ``{postgres}`` and ``{redis}`` for the servers' URLs.
        act: defines ``act``, which saves and reads once.
        floor: the way whose tests do the same and isolate nothing; None for a floor.
        slow: so slow that a run has fewer tests.
        marks: lines at the head of the test file.
    """

    name: str
    backend: str
    fixture: str = ""
    conftest: str = ""
    act: str = "def act():\n    pass\n"
    floor: str | None = None
    slow: bool = False
    marks: str = ""


def _ours(backend: str) -> Way:
    return Way(
        f"ai_storage on {backend}",
        backend,
        "ai_storage",
        act=_STORAGE_ACT,
        floor=f"a storage kept open on {backend}",
        marks=f'import pytest\n\npytestmark = pytest.mark.ai_storage("{backend}")\n',
    )


def _kept(backend: str) -> Way:
    conftest = _KEPT_STORAGE.replace("{url}", f"{{{backend}}}")
    return Way(f"a storage kept open on {backend}", backend, "kept", conftest, _STORAGE_ACT)


WAYS = (
    Way("an empty test", ""),
    _kept("postgres"),
    _ours("postgres"),
    Way("a psycopg connection kept open", "postgres", "connection", _PSYCOPG, _PSYCOPG_ACT),
    Way(
        "by hand: DELETE on a kept connection",
        "postgres",
        "isolated",
        _PSYCOPG
        + """

@pytest.fixture
def isolated(connection):
    connection.execute("DELETE FROM measured; DELETE FROM versions")
    return connection
""",
        _PSYCOPG_ACT,
        floor="a psycopg connection kept open",
    ),
    Way(
        "pytest-postgresql",
        "postgres",
        "postgresql",
        """\
from pytest_postgresql import factories


def load(**given):
    import psycopg

    given.pop("autocommit", None)
    with psycopg.connect(**given) as connection:
        connection.execute("CREATE TABLE measured (model_name text PRIMARY KEY, mse double precision)")


measured_noproc = factories.postgresql_noproc(
    host="{postgres.host}", port={postgres.port}, user="postgres", password="{postgres.password}", load=[load]
)
postgresql = factories.postgresql("measured_noproc")
""",
        _PSYCOPG_ACT,
        floor="a psycopg connection kept open",
        slow=True,
    ),
    _kept("redis"),
    _ours("redis"),
    Way("a redis-py client kept open", "redis", "client", _REDIS, _REDIS_ACT),
    Way(
        "by hand: FLUSHDB on a kept client",
        "redis",
        "isolated",
        _REDIS
        + """

@pytest.fixture
def isolated(client):
    client.flushdb()
    return client
""",
        _REDIS_ACT,
        floor="a redis-py client kept open",
    ),
    Way(
        "pytest-redis",
        "redis",
        "redisdb",
        """\
from pytest_redis import factories

measured_noproc = factories.redis_noproc(host="{redis.host}", port={redis.port}, password="{redis.password}")
redisdb = factories.redisdb("measured_noproc")
""",
        _REDIS_ACT,
        floor="a redis-py client kept open",
    ),
)
"""All ways, floors before those that stand on them."""


def write_tests(directory: Path, way: Way, tests: int, acts: bool, urls: Mapping[str, str]) -> None:
    """Write a directory of tests.

    Args:
        directory: is made.
        way: how they are isolated.
        tests: how many.
        acts: whether a test saves and reads once; otherwise it does nothing.
        urls: of the servers' databases, by backend.
    """
    directory.mkdir(parents=True)
    conftest = way.conftest
    for backend, url in urls.items():
        parts = urlsplit(url)
        conftest = conftest.replace(f"{{{backend}}}", url)
        for name in ("host", "port", "password"):
            value = parts.hostname if name == "host" else getattr(parts, name)
            conftest = conftest.replace(f"{{{backend}.{name}}}", str(value))
    (directory / "bench_timer.py").write_text(TIMER)
    (directory / "conftest.py").write_text(conftest)
    (directory / "pytest.ini").write_text("[pytest]\n")
    body = f"act({way.fixture})" if acts else "pass"
    functions = [f"def test_{number:03}({way.fixture}):\n    {body}\n" for number in range(tests)]
    (directory / "test_isolation.py").write_text("\n\n".join([way.marks, way.act, *functions]))
