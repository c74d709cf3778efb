"""From a URL or a name to a storage."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import (
    AIProgress,
    ConfigurationError,
    DatabaseStorage,
    FileStorage,
    MemoryStorage,
    RedisStorage,
    open_storage,
    registry,
)
from pytest_aistorage.registry import backend_class, backend_names


class ThirdParty(MemoryStorage):
    """A backend that somebody else registers."""

    schemes = ("third-party",)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entry points: one that works, and one whose module is not there."""
    group = registry.ENTRY_POINT_GROUP
    found = [importlib.metadata.EntryPoint("third", f"{__name__}:ThirdParty", group)]

    def entry_points(*, group: str, name: str | None = None) -> list[importlib.metadata.EntryPoint]:
        return [entry for entry in found if entry.group == group and name in (None, entry.name)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://", MemoryStorage),
        ("file:///tmp/none/metrics.json", FileStorage),
        ("sqlite:////tmp/none/metrics.db", DatabaseStorage),
        ("postgresql://localhost:1/db", DatabaseStorage),
        ("postgres://localhost:1/db", DatabaseStorage),
        ("postgresql+psycopg://localhost:1/db", DatabaseStorage),
        ("mysql://localhost:1/db", DatabaseStorage),
        ("mariadb://localhost:1/db", DatabaseStorage),
        ("redis://localhost:1/0", RedisStorage),
        ("rediss://localhost:1/0", RedisStorage),
        ("valkey://localhost:1/0", RedisStorage),
        ("unix:///tmp/none.sock", RedisStorage),
        ("MEMORY://", MemoryStorage),
    ],
)
def test_scheme_picks_the_backend_and_nothing_connects(url: str, expected: type) -> None:
    """Opening is lazy: a server that is not there is no error yet."""
    with open_storage(url) as storage:
        assert type(storage) is expected


@pytest.mark.parametrize("url", ["unknown://x", "http://host", "postgresql+asyncpg://host/db", "memory"])
def test_unknown_scheme_is_refused_at_once(url: str) -> None:
    """A URL that no backend knows raises ConfigurationError."""
    with pytest.raises(ConfigurationError):
        open_storage(url)


@pytest.mark.parametrize(
    "url",
    ["memory://", "file:///tmp/none/m.json", "sqlite:////tmp/none/m.db", "postgresql://h/db", "redis://h/0"],
)
def test_options_are_checked_at_once(url: str) -> None:
    """Every backend knows `timeout`, and refuses what it doesn't know."""
    open_storage(url, timeout=3).close()
    for options in ({"timeout": 0}, {"unknown": 1}):
        wrong: dict[str, Any] = options
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            open_storage(url, **wrong)


@pytest.mark.usefixtures("registered")
def test_registered_backend_is_found_by_name_and_scheme() -> None:
    """An entry point makes a backend of its own known."""
    assert "third" in backend_names()
    assert backend_class("third").__name__ == "ThirdParty"  # type: ignore[attr-defined]  # a class
    with open_storage("third-party://x") as storage:
        assert storage.save_progress(AIProgress(model_name="m", mse=0.5)).version == 1


def test_unknown_backend_names_the_known() -> None:
    """The message says which backends there are."""
    with pytest.raises(ConfigurationError, match="memory, file, database, redis"):
        backend_class("unknown")


@pytest.mark.parametrize("name", ["memory", "file", "database"])
def test_fresh_urls_lead_to_empty_stores(name: str, tmp_path: Path) -> None:
    """fresh_url gives a store of its own, empty at first."""
    url = backend_class(name).fresh_url(tmp_path)
    with open_storage(url) as storage:
        assert storage.load_progress() == []
        storage.save_progress(AIProgress(model_name="m", mse=0.5))
        with open_storage(url) as other:
            assert [record.model_name for record in other.load_progress()] == ["m"]


def test_package_imports_no_driver() -> None:
    """Importing the package, and the names of its errors and records, loads no driver and no test framework."""
    code = (
        "import sys, pytest_aistorage as a; a.AIProgress, a.AIStorage, a.open_storage, a.StorageUnavailableError; "
        "a.open_storage('memory://').close(); "
        "heavy = {'sqlalchemy', 'psycopg', 'pymysql', 'redis', 'pytest', 'hypothesis'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
