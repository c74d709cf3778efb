"""A write whose connection fails at any moment: what raises StorageUnavailableError never took effect.

Each operation is run again and again, and cut at its first message, its second, and so on; what became of it is read
around the cut. An error that says "not written" of a write that was is worse than any other: it is done again, twice.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
import redis
import sqlalchemy as sa
from cutting import Action, CuttingRelay

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    OutcomeUnknownError,
    StorageUnavailableError,
    open_storage,
)
from pytest_aistorage.backends.database import DatabaseStorage
from pytest_aistorage.servers import PrivateServer, Server
from pytest_aistorage.servers import mysql as mysql_kind

KINDS = ("postgres", "mysql", "redis")
PATIENCE = 30.0
SHORT = 0.2
"""Seconds that a storage waits where nothing comes."""
LONG = 10.0
"""Seconds that it waits where something does."""
NEW = 2.0
"""The ``mse`` that every write writes; before, it is 1.0."""

Write = Callable[[AIStorage, str], object]


def twice(current: AIProgress | None) -> AIProgress:
    """Change a record that is there."""
    assert current is not None
    return dataclasses.replace(current, mse=2 * current.mse)


def written(model_name: str) -> AIProgress:
    """What a write writes."""
    return AIProgress(model_name=model_name, mse=NEW)


WRITES: dict[str, Write] = {
    "save": lambda storage, name: storage.save_progress(written(name)),
    "compare and set": lambda storage, name: storage.save_progress(written(name), expected_version=1),
    "update": lambda storage, name: storage.update_progress(name, twice),
    "delete": lambda storage, name: storage.delete_progress(name),
    "batch": lambda storage, name: storage.save_many([written(name), written(f"{name} beside")]),
}


class Store:
    """A database of the test's own, seen without any fault, and how many clients are at it.

    Args:
        kind: of the server.
        url: of the database, without a relay.
    """

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.observer = open_storage(url)
        self._counter = self._connected()
        self._numbers = itertools.count()

    def new_model(self) -> str:
        """A model with a record as it is before a write."""
        name = f"m{next(self._numbers)}"
        assert self.observer.save_progress(AIProgress(model_name=name, mse=1.0)).version == 1
        return name

    def has_taken_effect(self, write: str, name: str) -> bool:
        """Whether a write did anything to a model; all of it, if anything."""
        record, beside = self.observer.get_progress(name), self.observer.get_progress(f"{name} beside")
        if write == "delete":
            return record is None
        assert record is not None
        assert (record.version, record.mse) in ((1, 1.0), (2, NEW))
        if write == "batch":
            assert (beside is not None) == (record.version == 2), "half a batch"
        return record.version == 2

    def wait_for_quiet(self, clients: int) -> None:
        """Wait until the server has done with the clients that have gone: it may be at their last words still."""
        deadline = time.monotonic() + PATIENCE
        while self._clients() > clients:
            assert time.monotonic() < deadline, "a session that nobody uses does not end"

    def _clients(self) -> int:
        if self.kind == "redis":
            database = str(self._counter.connection_pool.connection_kwargs["db"])
            return sum(one["db"] == database for one in self._counter.client_list()) - 1
        with self._counter.cursor() as cursor:
            cursor.execute(_OTHERS[self.kind])
            return int(cursor.fetchone()[0])

    def _connected(self) -> Any:
        if self.kind == "redis":
            return redis.Redis.from_url(self.url)
        if self.kind == "mysql":
            return mysql_kind._connect(self.url)
        import psycopg

        return psycopg.connect(self.url, autocommit=True)

    def close(self) -> None:
        """Close its own connections."""
        self.observer.close()
        self._counter.close()


_OTHERS = {
    "postgres": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}
"""How many sessions there are on this database but one's own."""


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty database on the run's server of each kind."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    url = server.create_database()
    found = Store(request.param, url)
    yield found
    found.close()
    server.drop_database(url)


def outcome_of(write: Write, storage: AIStorage, name: str) -> str:
    """What a client is told; any other error fails the test."""
    try:
        write(storage, name)
    except StorageUnavailableError:
        return "failed"
    except OutcomeUnknownError:
        return "unknown"
    return "ok"


def messages_of(relay: CuttingRelay, storage: AIStorage, write: Write, store: Store) -> int:
    """How many messages a write takes, on a connection that has done the same before."""
    for _ in range(2):
        relay.arm()
        write(storage, store.new_model())
    return relay.passed


class Cutter:
    """Cuts writes of one kind, and holds what each of them came to against what its client was told.

    Args:
        store: where it writes.
        write: one of `WRITES`.
        timeout: seconds that the client waits.
    """

    def __init__(self, store: Store, write: str, timeout: float) -> None:
        self._store, self._write, self._do = store, write, WRITES[write]
        self._relay = CuttingRelay(store.url)
        with open_storage(self._relay.url, timeout=LONG) as storage:
            self.messages = messages_of(self._relay, storage, self._do, store)
        self._storage = open_storage(self._relay.url, timeout=timeout)
        self._go_on()
        # PostgreSQL's driver sends a batch without waiting for answers: those come in one message or in several.
        self.is_steady = (store.kind, write) != ("postgres", "batch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._storage.close()
        self._relay.close()

    def cut(self, at: int, action: Action) -> tuple[str, bool]:
        """Cut a write at one message; return what the client was told and whether it took effect."""
        store, name = self._store, self._store.new_model()
        self._relay.arm(at, action)
        told = outcome_of(self._do, self._storage, name)
        self._relay.arm()
        self._relay.heal()
        self._go_on()
        store.wait_for_quiet(clients=2)  # the observer, and this one
        took_effect = store.has_taken_effect(self._write, name)
        assert told != "failed" or not took_effect, f"{self._write}: {action} at {at}: it did take effect"
        assert told != "ok" or took_effect, f"{self._write}: {action} at {at}: acknowledged and lost"
        return told, took_effect

    def _go_on(self) -> None:
        """Use the same storage: it works again, and takes no late answer for that of its next operation."""
        for attempt in itertools.count(1):
            name = self._store.new_model()
            try:
                self._do(self._storage, name)
                assert self._store.has_taken_effect(self._write, name)
                assert self._storage.get_progress(name) == self._store.observer.get_progress(name)
                return
            except (StorageUnavailableError, OutcomeUnknownError):
                # A short time limit on a busy machine, or an unwitting user of the connection that was cut.
                assert attempt < 20, "the storage does not get over the cut"


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_failed_took_no_effect(store: Store, write: str) -> None:
    """A RST before, in the middle of, and behind every message, of the requests and of the answers."""
    with Cutter(store, write, LONG) as cutter:
        for at in range(cutter.messages):
            cutter.cut(at, "reset")
            cutter.cut(at, "reset in the middle")
        if cutter.is_steady:
            # Its last message is an answer. What that acknowledges took effect, and the client can't know.
            assert cutter.cut(cutter.messages - 1, "reset") == ("unknown", True)


@pytest.mark.parametrize("write", ["save", "update", "batch"])
def test_a_write_that_nobody_answered(store: Store, write: str) -> None:
    """Silence at each of the last messages: what is held back is delivered when the client has long given up."""
    with Cutter(store, write, SHORT) as cutter:
        for at in range(max(0, cutter.messages - 4), cutter.messages):
            cutter.cut(at, "silence")
            cutter.cut(at, "silence after")
        if cutter.is_steady:
            # Given up before the last request had arrived, and carried out later. Several tries, because on a busy
            # machine the time limit may be over before the last message.
            assert any(cutter.cut(cutter.messages - 2, "silence") == ("unknown", True) for _ in range(10))


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_killed_at_any_moment(request: pytest.FixtureRequest, kind: str) -> None:
    """SIGKILL just after each of an update's last messages was delivered."""
    server: PrivateServer = request.getfixturevalue(f"private_{kind}_server")
    store = Store(kind, server.direct(server.create_database()))
    with CuttingRelay(store.url) as relay, open_storage(relay.url) as storage:
        messages = messages_of(relay, storage, WRITES["update"], store)
    for at in range(max(0, messages - 4), messages):
        name = store.new_model()
        with CuttingRelay(store.url, server.kill) as relay, open_storage(relay.url, timeout=LONG) as storage:
            WRITES["update"](storage, store.new_model())
            relay.arm(at, "call")
            told = outcome_of(WRITES["update"], storage, name)
        server.restart()
        took_effect = store.has_taken_effect("update", name)
        assert told != "failed" or not took_effect, f"killed after message {at}: it did take effect"
        assert told != "ok" or took_effect, f"killed after message {at}: acknowledged and lost"
    store.close()


# -- what stands between, and what has been lost ------------------------------------------------------------


def postgres_error(severity: str, state: str) -> bytes:
    """An ErrorResponse of PostgreSQL's protocol."""
    fields = b"".join(
        code + text.encode() + b"\0"
        for code, text in ((b"S", severity), (b"V", severity), (b"C", state), (b"M", "planted"))
    )
    return b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0"


def mysql_error(number: int) -> bytes:
    """An ERR packet of MySQL's protocol, as the answer to a command."""
    body = b"\xff" + number.to_bytes(2, "little") + b"#HY000planted"
    return len(body).to_bytes(3, "little") + b"\1" + body


AMBIGUOUS = [
    pytest.param("postgres", postgres_error("FATAL", "08P01"), id="pgbouncer lost its server"),
    pytest.param("postgres", postgres_error("ERROR", "08006"), id="postgres connection failure"),
    pytest.param("postgres", postgres_error("ERROR", "40003"), id="postgres completion unknown"),
    pytest.param("postgres", postgres_error("FATAL", "57P01"), id="postgres terminated"),
    pytest.param("postgres", postgres_error("PANIC", "58030"), id="postgres could not fsync its log"),
    pytest.param("mysql", mysql_error(1180), id="mysql error during COMMIT"),
    pytest.param("mysql", mysql_error(1026), id="mysql error writing the log"),
    pytest.param("mysql", mysql_error(1317), id="mysql interrupted in COMMIT"),
    pytest.param("mysql", mysql_error(2013), id="proxysql lost its server"),
    pytest.param("mysql", mysql_error(2003), id="maxscale lost its server"),
]


@pytest.mark.parametrize("write", ["save", "update"])
@pytest.mark.parametrize(("kind", "answer"), AMBIGUOUS)
def test_an_error_that_leaves_a_commit_open(
    request: pytest.FixtureRequest, kind: str, answer: bytes, write: str
) -> None:
    """The write is carried out, and its answer replaced by what a dying server, or a pooler before it, says then."""
    server: Server = request.getfixturevalue(f"{kind}_server")
    store = Store(kind, server.create_database())
    name = store.new_model()
    with CuttingRelay(store.url, answer=answer) as relay, open_storage(relay.url) as storage:
        messages = messages_of(relay, storage, WRITES[write], store)
        relay.arm(messages - 1, "answer")
        with pytest.raises(OutcomeUnknownError):
            WRITES[write](storage, name)
        assert store.has_taken_effect(write, name)
    store.close()


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_an_engine_of_the_application(request: pytest.FixtureRequest, kind: str) -> None:
    """Handed in, it needs more messages, before a write and after: none of them makes an acknowledged write fail."""
    server: Server = request.getfixturevalue(f"{kind}_server")
    store = Store(kind, server.create_database())
    driver = {"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}[kind]
    messages, at, found = 1, 0, set()
    while at < messages:
        name = store.new_model()
        with CuttingRelay(store.url) as relay:
            engine = sa.create_engine(f"{driver}://{relay.url.partition('://')[2]}")
            with DatabaseStorage(db=engine) as storage:
                messages = messages_of(relay, storage, WRITES["save"], store)
                relay.arm(at)
                told = outcome_of(WRITES["save"], storage, name)
                found.add(told)
                relay.arm()
                assert storage.save_progress(written("after")) == storage.get_progress("after")
            engine.dispose()
        store.wait_for_quiet(clients=1)
        took_effect = store.has_taken_effect("save", name)
        assert told != "failed" or not took_effect, f"message {at}: it did take effect"
        assert told != "ok" or took_effect, f"message {at}: acknowledged and lost"
        at += 1
    assert "unknown" in found
    store.close()


def test_an_alarm_in_the_midst_of_sending(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's handler that raises TimeoutError when all was sent, and the driver has not said so yet."""
    store = Store("redis", redis_server.create_database())
    name = store.new_model()
    send = redis.Connection.send_packed_command

    def send_and_be_interrupted(self: Any, command: Any, **options: Any) -> None:
        send(self, command, **options)
        raise TimeoutError("an alarm's handler")

    with open_storage(store.url) as storage:
        assert storage.health_check()
        monkeypatch.setattr(redis.Connection, "send_packed_command", send_and_be_interrupted)
        with pytest.raises(OutcomeUnknownError):
            WRITES["save"](storage, name)
        monkeypatch.undo()
    store.wait_for_quiet(clients=1)
    assert store.has_taken_effect("save", name)
    store.close()
