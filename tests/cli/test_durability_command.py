"""``aistorage durability``."""

from __future__ import annotations

import json
import os

import pytest

from pytest_aistorage.races.durability import SETTINGS
from pytest_aistorage.servers.supervisor.fsyncs import unsupported

needs_power = pytest.mark.skipif(
    unsupported() is not None, reason=f"power can't be cut here: {unsupported()}"
)


@needs_power
def test_losses_of_a_server(aistorage):
    """Each setting of Redis, by both: what it promises is kept, and what was lost is counted."""
    done = aistorage("durability", "--backend", "redis", "--runs", "1", "--json")
    found = json.loads(done.stdout)
    if found["unavailable"]:
        refused = found["unavailable"][0]
        said = f"{'; '.join(refused['reasons'])}. {refused['remedy']}"
        required = "redis" in os.environ.get("AI_STORAGE_REQUIRE", "").split(",") or "CI" in os.environ
        (pytest.fail if required else pytest.skip)(said)
    assert done.returncode == 0, done.stdout
    assert found["as_declared"]
    settings = {setting["name"]: setting for setting in found["settings"]}
    assert list(settings) == [setting.name for setting in SETTINGS if setting.backend == "redis"]
    for name, lost in {
        "appendfsync always": (False, False),
        "appendfsync no": (False, True),
        "appendonly no": (True, True),
    }.items():
        losses = settings[name]["losses"]
        assert tuple(losses[harm][0]["lost"] > 0 for harm in ("kill", "power")) == lost
        assert all(loss["acknowledged"] > 0 for runs in losses.values() for loss in runs)


@needs_power
def test_table_of_a_library(aistorage):
    """What has no server crashes with its clients; the table fits into 80 columns, and the verdict stands below."""
    done = aistorage("durability", "--backend", "sqlite", "--backend", "file", "--runs", "1", COLUMNS="60")
    assert done.returncode == 0, done.stdout
    table = done.stdout.partition("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 80
    (sqlite,) = (line for line in table.splitlines() if "synchronous FULL" in line)
    assert sqlite.split()[2:5] == ["both", "0", "of"]
    assert "Nothing was lost that is promised to be kept" in done.stdout


def test_backend_that_is_not_there(aistorage):
    """The reasons, and status 1, for what was named had to be shown; a name that nobody knows is said."""
    done = aistorage("durability", "--backend", "redis@1.2", "--servers", "process", "--runs", "1")
    assert done.returncode == 1
    assert "redis@1.2 could not be had here: process: " in done.stdout
    unknown = aistorage("durability", "--backend", "oracle")
    assert unknown.returncode == 2
    assert "no backend is called 'oracle'; known are redis, postgres, mysql, sqlite, file" in unknown.stderr
