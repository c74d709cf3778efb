"""What is called proven: it was promised, it was tried, and it held."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pytest_aistorage.bench.proving import Prover, gone_with_process
from pytest_aistorage.bench.settings import Settings
from pytest_aistorage.bench.stores import Stores
from pytest_aistorage.races.durability import Setting
from pytest_aistorage.races.victims import Harm
from pytest_aistorage.servers.supervisor.fsyncs import unsupported

BOTH: frozenset[Harm] = frozenset({"kill", "power"})


def test_races(quick: Settings) -> None:
    """A memory is proven, with what was tried; the file loses, and breaks no promise by it."""
    with Prover(quick) as prover:
        memory = prover.concurrent("memory", lambda: quick.stores.volatile("memory"))
        file = prover.concurrent("file", lambda: quick.stores.volatile("file"))
        again = prover.concurrent("memory", lambda: pytest.fail("raced twice"))
    assert (memory.good, memory.words, memory.promised) == (True, "proven", True)
    assert any(part.endswith("schedules lost") and part.startswith("0 of ") for part in memory.parts)
    assert again is memory
    assert (file.good, file.words, file.broken) == (False, "loss shown", False)


@pytest.mark.skipif(unsupported() is not None, reason=f"power can't be cut here: {unsupported()}")
def test_crashes(quick: Settings) -> None:
    """SQLite keeps all by both; the file loses it, which is a broken promise only if one is made for it."""
    with Prover(quick) as prover:
        sqlite = prover.persistent(Setting(backend="sqlite", name="", keeps=BOTH))
        claimed = prover.persistent(Setting(backend="file", name="", keeps=BOTH, writers=1))
        honest = prover.persistent(Setting(backend="file", name="", writers=1))
    assert (sqlite.good, sqlite.words) == (True, "proven")
    assert [part.rpartition(" by ")[2] for part in sqlite.parts] == ["SIGKILL", "power loss"]
    assert all(part.startswith("0 of ") and not part.startswith("0 of 0 ") for part in sqlite.parts)
    assert (claimed.good, claimed.broken) == (False, True)
    assert (honest.good, honest.broken) == (False, False)


def test_crash_of_a_cache(quick: Settings, tmp_path: Path) -> None:
    """What only the cache had is lost with it, and counted; a write-through has it in the database."""
    database = f"sqlite:///{(tmp_path / 'records.db').as_posix()}"
    behind = {"write_policy": "write-behind", "flush_interval": "60", "lease": "1"}
    with Prover(quick) as prover:
        lost = prover.behind(database, behind)
        kept = prover.behind(database, {"lease": "1"})
    if lost.words == "not shown":
        pytest.skip("; ".join(lost.parts))
    (counted,) = lost.parts
    assert (lost.good, lost.broken) == (False, False)
    assert int(counted.split()[0]) > 0
    assert counted.endswith(" by SIGKILL of the cache")
    (counted,) = kept.parts
    assert (kept.good, counted.split()[0]) == (None, "0")
    assert int(counted.split()[2]) > 0


def test_memory_is_gone_with_its_last_client() -> None:
    """All of it, which is shown and not said."""
    shown = gone_with_process("test_memory_is_gone")
    assert (shown.good, list(shown.parts), shown.broken) == (False, ["100 of 100 by closing"], False)


def test_what_can_not_be_had_is_not_shown() -> None:
    """A server of somebody else is not crashed, and what is not there is told; neither counts as proven."""
    with Stores(("process",), {"redis": "redis://127.0.0.1:1/0"}) as stores:
        settings = Settings(stores=stores, quick=True)
        with Prover(settings) as prover:
            theirs = prover.persistent(Setting(backend="redis", name="", keeps=BOTH))
            behind = prover.behind("sqlite:///x.db", {})
            absent = prover.concurrent("redis", lambda: stores.volatile("redis"))
    for shown in (theirs, behind, absent):
        assert (shown.good, shown.words) == (None, "not shown")
    assert theirs.parts == behind.parts == ["a server of somebody else is not crashed"]
    assert absent.parts[0].startswith("url: ")
    assert dataclasses.replace(theirs, promised=True).broken is False
