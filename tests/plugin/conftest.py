"""Runs of pytest inside of the tests, with servers out of binaries."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from pytest_aistorage import backends, plugin, servers
from pytest_aistorage.errors import ServerUnavailableError
from pytest_aistorage.plugin.state import state_of
from pytest_aistorage.servers.base import ServerOptions, ServerSpec
from pytest_aistorage.servers.resolve import survey

# What an inner run in this process imports is forgotten after it, and would be there twice when this process
# imports it, too. So it is imported here.
for _name in (
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.mysql.pymysql",
    "fakeredis",
    "hypothesis",
):
    import_module(_name)
for _package in (backends, plugin, servers):
    for _module in iter_modules(_package.__path__, f"{_package.__name__}."):
        import_module(_module.name)

LOCAL = ("process", "embedded")
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the outer run reaches the inner one."""
    for name in list(os.environ):
        if name.startswith("AI_STORAGE_") or name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(pytester: pytest.Pytester, clean_environment: None) -> Run:
    """Run pytest in this process on the files that a test has written."""

    def run(*arguments: str, subprocess: bool = False) -> pytest.RunResult:
        given = ["-p", "no:cacheprovider", f"--ai-storage-servers={'+'.join(LOCAL)}", *arguments]
        if subprocess:
            return pytester.runpytest_subprocess(*given, timeout=120)
        return pytester.runpytest_inprocess(*given)

    return run


def _need(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    options = ServerOptions(run_dir=tmp_path / "run", providers={kind: LOCAL})
    offers = survey(ServerSpec.parse(kind), options)
    if not any(offer.available for offer in offers):
        # The same policy as everywhere: a failure where the backend is required.
        state_of(request.config).needed_run().unavailable(
            kind,
            ServerUnavailableError(
                kind,
                [f"{offer.provider}: {offer.detail}" for offer in offers],
                "; ".join(offer.remedy for offer in offers if offer.remedy),
            ),
        )


@pytest.fixture
def local_postgres(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """PostgreSQL can be started out of binaries."""
    _need(request, tmp_path, "postgres")


@pytest.fixture
def local_redis(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Redis can be started out of binaries."""
    _need(request, tmp_path, "redis")


@pytest.fixture
def local_mysql(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """MySQL or MariaDB can be started out of binaries."""
    _need(request, tmp_path, "mysql")
