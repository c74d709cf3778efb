"""Private servers whose network fails: what storages meet, within their time limit, and that they go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from server_checks import eventually

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    ConfigurationError,
    OutcomeUnknownError,
    StorageUnavailableError,
    UnsupportedOperationError,
    open_storage,
)
from pytest_aistorage.servers import PrivateServer, Server

KINDS = ("postgres", "mysql", "redis")
TIMEOUT = 1.0
# A read is tried on a second connection, and PostgreSQL's driver takes whole seconds, at least 2, to connect.
MOST = 2 * TIMEOUT + 2 + 2
BEFORE = AIProgress(model_name="m", mse=1.0)
AFTER = AIProgress(model_name="m", mse=2.0)


@pytest.fixture(params=KINDS)
def private(request: pytest.FixtureRequest) -> PrivateServer:
    """A durable server of this test's own, of each kind."""
    server: PrivateServer = request.getfixturevalue(f"private_{request.param}_server")
    return server


@pytest.fixture
def url(private: PrivateServer) -> str:
    """A database on it, behind the proxy."""
    return private.create_database()


@pytest.fixture
def storage(url: str) -> Iterator[AIStorage]:
    """A storage with a short time limit that has been used: its connection is open."""
    with open_storage(url, timeout=TIMEOUT) as opened:
        assert opened.save_progress(BEFORE).version == 1
        yield opened


@pytest.fixture
def observer(private: PrivateServer, url: str) -> Iterator[AIStorage]:
    """A storage on the same database that the network's faults don't reach."""
    with open_storage(private.direct(url)) as opened:
        yield opened


def within(seconds: float, operation: Callable[[], Any], *errors: type[Exception]) -> Exception:
    """The error of an operation that must fail in time."""
    started = time.monotonic()
    with pytest.raises(errors) as caught:
        operation()
    assert time.monotonic() - started < seconds
    return caught.value


def test_a_partition_is_met_in_time_and_healed(
    private: PrivateServer, storage: AIStorage, observer: AIStorage
) -> None:
    """Reads are unavailable, writes unavailable or unknown, health is bad; after heal the same storage works."""
    private.partition()
    within(MOST, lambda: storage.get_progress("m"), StorageUnavailableError)
    error = within(MOST, lambda: storage.save_progress(AFTER), StorageUnavailableError, OutcomeUnknownError)
    started = time.monotonic()
    assert not storage.health_check()
    assert time.monotonic() - started < MOST
    assert observer.get_progress("m") is not None  # by the direct way all is well
    private.heal()
    record = storage.get_progress("m")
    assert record is not None
    if isinstance(error, StorageUnavailableError):
        assert record.version == 1
    assert storage.health_check()
    assert storage.save_progress(BEFORE).version in (2, 3)


def test_a_write_whose_answer_is_cut_took_effect_and_is_unknown(
    private: PrivateServer, storage: AIStorage, observer: AIStorage
) -> None:
    """PostgreSQL and Redis write by one message: it arrives, its answer does not. MySQL can't even begin."""
    private.partition("from server")
    if private.kind == "mysql":
        within(MOST, lambda: storage.save_progress(AFTER), StorageUnavailableError)
    else:
        within(MOST, lambda: storage.save_progress(AFTER), OutcomeUnknownError)
    eventually(
        lambda: (observer.get_progress("m") or BEFORE).version == (1 if private.kind == "mysql" else 2),
        "the outcome",
    )
    private.heal()
    assert storage.get_progress("m") == observer.get_progress("m")


def test_a_write_held_back_takes_effect_after_heal(
    private: PrivateServer, storage: AIStorage, observer: AIStorage
) -> None:
    """Given up by its client, it is delivered late: it was rightly unknown."""
    private.partition()
    error = within(MOST, lambda: storage.save_progress(AFTER), StorageUnavailableError, OutcomeUnknownError)
    assert (observer.get_progress("m") or AFTER).version == 1
    private.heal()
    if isinstance(error, OutcomeUnknownError):
        eventually(lambda: (observer.get_progress("m") or BEFORE).version == 2, "the late write")
    else:
        assert private.kind == "mysql"  # which never got as far as its COMMIT


def test_a_reset_is_got_over(private: PrivateServer, storage: AIStorage) -> None:
    """Idle connections that were reset are replaced without a word, for a read as for a write."""
    private.reset()
    assert storage.get_progress("m") is not None
    private.reset()
    assert storage.save_progress(AFTER).version == 2


def test_a_delay_is_waited_for(private: PrivateServer, storage: AIStorage) -> None:
    """Operations take that much longer, and succeed; after heal they are quick again."""
    private.delay(0.1)
    started = time.monotonic()
    assert storage.get_progress("m") is not None
    assert time.monotonic() - started >= 0.2
    private.heal()
    started = time.monotonic()
    for _ in range(50):
        storage.get_progress("m")
    assert time.monotonic() - started < 50 * 0.2


def test_a_delay_beyond_the_time_limit(private: PrivateServer, storage: AIStorage) -> None:
    """What is too late is as good as lost, and nothing of it is taken for the next answer."""
    private.delay(TIMEOUT)
    within(MOST, lambda: storage.get_progress("m"), StorageUnavailableError)
    private.heal()
    for number in range(20):
        saved = storage.save_progress(AIProgress(model_name=f"m{number}", mse=float(number)))
        assert storage.get_progress(f"m{number}") == saved


def test_the_url_survives_kill_and_restart(private: PrivateServer, storage: AIStorage, url: str) -> None:
    """While it is down, connections are refused, as by the server itself; then the same URL leads to it again."""
    private.kill()
    started = time.monotonic()
    within(MOST, lambda: storage.get_progress("m"), StorageUnavailableError)
    with open_storage(url, timeout=30.0) as patient:
        within(10.0, lambda: patient.save_progress(AFTER), StorageUnavailableError)
    assert time.monotonic() - started < 20.0
    private.restart()
    assert storage.save_progress(AFTER).version == 2
    private.partition()
    private.kill()
    private.restart()
    within(MOST, lambda: storage.get_progress("m"), StorageUnavailableError)
    private.heal()
    assert storage.save_progress(AFTER).version >= 3


def test_databases_can_be_made_and_dropped_meanwhile(private: PrivateServer) -> None:
    """Administration goes around the proxy; what it makes leads through it, and is known again by either URL."""
    private.partition()
    first, second = private.create_database(), private.create_database()
    assert first.split("@")[1].split("/")[0] == private.url.split("@")[1].split("/")[0]
    assert private.direct(first) != first
    private.drop_database(first)
    private.drop_database(second)
    with pytest.raises(ConfigurationError):
        private.drop_database(private.direct(first).replace("127.0.0.1", "127.0.0.2"))
    private.heal()


def test_no_such_fault(private: PrivateServer) -> None:
    """A direction or a delay that is none is refused at once."""
    with pytest.raises(ConfigurationError):
        private.partition("sideways")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        private.delay(-1)


@pytest.mark.parametrize("fault", ["partition", "heal", "reset", "delay"])
def test_a_shared_server_refuses(redis_server: Server, fault: str) -> None:
    """Others use it; the message names the fixture that has a server of one's own."""
    arguments = (0.1,) if fault == "delay" else ()
    with pytest.raises(UnsupportedOperationError, match="private_redis_server"):
        getattr(redis_server, fault)(*arguments)
