"""A health check is over in time, whatever the server does, and costs no thread for each caller."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from asking import PATIENCE

from pytest_aistorage import AIProgress, AIStorage, ConfigurationError, StorageUnavailableError, open_storage
from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.health import Health, HealthProbe

LONG = 600.0
"""Seconds that a storage waits: much longer than any test."""
SHORT = 0.3
"""Seconds that a check may take where nothing comes."""


class Deaf(MemoryStorage):
    """Answers a ping when it is let, and knows nothing of connections that could be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.pings: list[int] = []

    def _ping(self) -> None:
        self.pings.append(threading.get_ident())
        assert self.answers.wait(PATIENCE)


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    """A storage that does not answer; the threads that ask it end with the test."""
    with Deaf() as storage:
        yield storage
        storage.answers.set()


def health_threads() -> list[threading.Thread]:
    """The threads in which checks wait."""
    return [thread for thread in threading.enumerate() if thread.name == "aistorage-health"]


def until(probe: HealthProbe, healthy: bool) -> Health:
    """Check until it is as it should be; fail if it never is."""
    end = time.monotonic() + PATIENCE
    while (found := probe.check()).healthy is not healthy:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def test_what_a_check_finds() -> None:
    """How many models there are, and how long the answer took; what may be told to anybody is the guide's JSON."""
    with open_storage("memory://") as storage:
        storage.save_progress(AIProgress(model_name="resnet", mse=0.12))
        found = HealthProbe(storage, timeout=PATIENCE).check()
    assert (found.healthy, found.storage_type, found.model_count, found.pending_writes) == (
        True,
        "memory",
        1,
        0,
    )
    assert found.latency is not None
    assert (found.degraded, found.reason) == (None, None)
    document = dict(found.as_document())
    moment = document.pop("timestamp")
    assert (moment[-5], moment[-1], len(moment)) == (".", "Z", len("2026-11-23T13:01:42.679Z"))
    assert document == {"healthy": True, "storage_type": "memory", "model_count": 1, "degraded": False}


def test_closed_storage_is_unhealthy() -> None:
    """And says so."""
    storage = open_storage("memory://")
    storage.close()
    found = HealthProbe(storage, timeout=PATIENCE).check()
    assert (found.healthy, found.model_count) == (False, None)
    assert "closed" in str(found.reason)


@pytest.mark.parametrize("loop", ["no loop", "asyncio", "trio"])
def test_no_answer_is_told_in_time(loop: str, deaf: Deaf) -> None:
    """Though the storage itself would wait for much longer; and the answer that comes too late is nobody's."""
    probe = HealthProbe(deaf, timeout=SHORT)
    started = time.monotonic()
    if loop == "no loop":
        found = probe.check()
    elif loop == "asyncio":
        found = asyncio.run(probe.check_async())
    else:
        found = trio.run(probe.check_async)
    assert SHORT - 0.01 < time.monotonic() - started < PATIENCE / 2
    assert (found.healthy, found.reason) == (False, "no answer within 0.3 s")
    deaf.answers.set()
    assert until(probe, True).model_count == 0


def test_callers_share_a_ping(deaf: Deaf, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at once, in threads and in event loops: one thread asks the storage."""
    probe = HealthProbe(deaf, timeout=PATIENCE)
    found: list[Health] = []
    flights: list[object] = []
    begun = probe._pings.flight

    def flight() -> object:
        found_flight = begun()
        flights.append(found_flight)
        return found_flight

    monkeypatch.setattr(probe._pings, "flight", flight)

    async def ask_thrice() -> None:
        found.extend(await asyncio.gather(*(probe.check_async() for _ in range(3))))

    callers = [threading.Thread(target=lambda: found.append(probe.check())) for _ in range(20)]
    callers += [threading.Thread(target=asyncio.run, args=(ask_thrice(),))]
    for caller in callers:
        caller.start()
    end = time.monotonic() + PATIENCE
    while len(flights) < 23 or not deaf.pings:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(set(flights)) == len(deaf.pings) == 1
    deaf.answers.set()
    for caller in callers:
        caller.join(PATIENCE)
    assert [one.healthy for one in found] == [True] * 23


def test_storage_that_can_not_be_interrupted_gets_few_threads(deaf: Deaf) -> None:
    """Then no more pings are begun, and each check says so, until one of them ends."""
    probe = HealthProbe(deaf, timeout=0.05)
    found = [probe.check() for _ in range(30)]
    assert not any(one.healthy for one in found)
    assert found[-1].reason == "no answer within 0.05 s, nor to the checks before"
    end = time.monotonic() + PATIENCE
    while len(deaf.pings) < 8:  # a thread begins when it may
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not probe.check().healthy
    assert len(set(deaf.pings)) == len(deaf.pings) == 8
    deaf.answers.set()
    patient = HealthProbe(deaf, timeout=PATIENCE)
    assert until(patient, True).healthy
    assert until(probe, True).healthy


def test_slow_count_is_no_bad_health() -> None:
    """What answers a ping is healthy, though nobody could say in time how many models there are."""
    counted = threading.Event()

    class Many(MemoryStorage):
        def _count(self) -> int:
            assert counted.wait(PATIENCE)
            return 10**9

    with Many() as storage:
        found = HealthProbe(storage, timeout=SHORT).check()
        assert (found.healthy, found.model_count) == (True, None)
        counted.set()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StorageUnavailableError("redis://:***@host: no"), "redis://:***@host: no"),
        (ValueError("hunter2"), "ValueError"),
    ],
)
def test_reason_shows_no_secret(error: Exception, said: str) -> None:
    """The message of an error that is none of ours may hold anything, so only its class is named."""

    class Broken(MemoryStorage):
        def _ping(self) -> None:
            raise error

    with Broken() as storage:
        assert HealthProbe(storage, timeout=PATIENCE).check().reason == said


def test_changes_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A line when the health changes, none when it stays; with the reason."""

    class Failing(MemoryStorage):
        error: Exception | None = None
        degraded: str | None = None

        def _ping(self) -> None:
            if self.error is not None:
                raise self.error

    caplog.set_level(logging.INFO, logger="pytest_aistorage.health")
    with Failing() as storage:
        probe = HealthProbe(storage, timeout=PATIENCE)
        for error, degraded in [
            (None, None),
            (StorageUnavailableError("no server"), None),
            (None, "no cache"),
            (None, None),
        ]:
            storage.error, storage.degraded = error, degraded
            probe.check()
            probe.check()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "memory: healthy"),
        ("ERROR", "memory: unhealthy: no server"),
        ("WARNING", "memory: healthy, degraded: no cache"),
        ("INFO", "memory: healthy"),
    ]


@pytest.mark.parametrize("timeout", [0, -1, True, "soon", float("nan")])
def test_timeout_is_checked(timeout: Any) -> None:
    """It is seconds, above 0."""
    with (
        open_storage("memory://") as storage,
        pytest.raises(ConfigurationError, match="timeout: must be seconds"),
    ):
        HealthProbe(storage, timeout=timeout)


def test_only_a_storage_is_probed() -> None:
    """Anything else is named by its type."""
    with pytest.raises(ConfigurationError, match="must be an AIStorage, not str"):
        HealthProbe("memory://")  # type: ignore[arg-type]


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="needs os.fork, which Windows lacks; run on Linux or macOS"
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_asks_anew(deaf: Deaf) -> None:
    """A check that was under way is the parent's, and so is a lock that was held."""
    probe = HealthProbe(deaf, timeout=SHORT)
    assert not probe.check().healthy
    with probe._pings._lock:
        child = os.fork()
        if not child:
            signal.alarm(int(PATIENCE))  # it may wait for the lock, or for a thread that it has not got
            deaf.answers.set()
            healthy = HealthProbe.check(probe).healthy
            os._exit(0 if healthy else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("harm", "cure"), [("kill", "restart"), ("pause", "resume"), ("partition", "heal")], ids=lambda name: name
)
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_server_that_goes_and_returns(
    kind: str, harm: str, cure: str, request: pytest.FixtureRequest
) -> None:
    """It is told of in the check's time, though the storage would wait for minutes; and no thread stays behind."""
    server = request.getfixturevalue(f"private_{kind}_server")
    storage: AIStorage
    with open_storage(server.create_database(), timeout=LONG) as storage:
        patient = HealthProbe(storage, timeout=PATIENCE)
        assert until(patient, True).model_count == 0
        probe = HealthProbe(storage, timeout=SHORT)
        getattr(server, harm)()
        started = time.monotonic()
        found = probe.check()
        assert time.monotonic() - started < PATIENCE / 2
        assert not found.healthy
        end = time.monotonic() + PATIENCE
        while health_threads():  # its connection is cut, while the server is still away
            assert time.monotonic() < end, health_threads()
            time.sleep(0.01)
        getattr(server, cure)()
        assert until(patient, True).model_count == 0
