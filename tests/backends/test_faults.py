"""Storages whose server is killed, stopped, or not there: what was acknowledged is kept, what went wrong is said."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    ConfigurationError,
    OutcomeUnknownError,
    StorageUnavailableError,
    open_storage,
)
from pytest_aistorage.servers import PrivateServer

KINDS = ("postgres", "mysql", "redis")
TIMEOUT = 2.0
WRITERS = 4


@pytest.fixture(params=KINDS)
def private(request: pytest.FixtureRequest) -> PrivateServer:
    """A durable server of this test's own, of each kind."""
    server: PrivateServer = request.getfixturevalue(f"private_{request.param}_server")
    return server


@pytest.fixture
def storage(private: PrivateServer) -> Iterator[AIStorage]:
    """A storage on the private server, declared as durable as the server is."""
    durability = {"durability": "appendfsync-always"} if private.kind == "redis" else {}
    with open_storage(private.create_database(), timeout=TIMEOUT, **durability) as opened:
        opened.save_progress(AIProgress(model_name="before", mse=1.0))
        yield opened


class Writers:
    """Threads that save, each to a model of its own, and keep what was acknowledged and what was raised."""

    def __init__(self, storage: AIStorage) -> None:
        self.acknowledged = [0] * WRITERS
        self.sent = [0] * WRITERS
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(storage, n)) for n in range(WRITERS)]

    def _write(self, storage: AIStorage, number: int) -> None:
        while not self._stop.is_set():
            self.sent[number] += 1
            try:
                record = AIProgress(model_name=f"model-{number}", mse=float(self.sent[number]))
                self.acknowledged[number] = max(
                    self.acknowledged[number], int(storage.save_progress(record).mse)
                )
            except BaseException as error:
                self.errors.append(error)
                return

    def start_until(self, enough: Callable[[], bool]) -> None:
        """Start them all and wait until there is enough."""
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + 60
        while not enough():
            assert time.monotonic() < deadline, "the writers got nowhere"
            self._stop.wait(0.001)

    def join(self) -> None:
        """Wait until each has ended, by an error or because it was told to."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a writer hangs"

    def stop(self) -> None:
        """Tell them to end."""
        self._stop.set()
        self.join()


def test_a_killed_server_loses_no_acknowledged_save(private: PrivateServer, storage: AIStorage) -> None:
    """SIGKILL in the middle of writes: typed errors, every acknowledged save kept, and no need to open again."""
    writers = Writers(storage)
    writers.start_until(lambda: all(count >= 20 for count in writers.acknowledged))
    private.kill()
    writers.join()
    assert writers.errors
    assert {type(error) for error in writers.errors} <= {StorageUnavailableError, OutcomeUnknownError}
    assert not storage.health_check()
    with pytest.raises(StorageUnavailableError):
        storage.get_progress("before")

    private.restart()
    for number, (acknowledged, sent) in enumerate(zip(writers.acknowledged, writers.sent, strict=True)):
        kept = storage.get_progress(f"model-{number}")
        # The last one sent may have taken effect without being acknowledged: its outcome is unknown.
        assert kept is not None
        assert acknowledged <= kept.mse <= sent
    assert storage.health_check()
    assert storage.save_progress(AIProgress(model_name="before", mse=2.0)).version == 2


def test_an_idle_connection_of_before_a_restart_is_not_used(
    private: PrivateServer, storage: AIStorage
) -> None:
    """A restart between two operations goes unnoticed: the pooled connection is replaced, for a write as well."""
    private.kill()
    private.restart()
    assert storage.save_progress(AIProgress(model_name="before", mse=2.0)).version == 2


def test_a_stopped_server_is_given_up_in_time(private: PrivateServer, storage: AIStorage) -> None:
    """SIGSTOP: a read is unavailable, a write's outcome unknown, both within the timeout; then it goes on."""
    private.pause()
    try:
        for operation, errors in (
            (lambda: storage.get_progress("before"), (StorageUnavailableError,)),
            (
                lambda: storage.save_progress(AIProgress(model_name="before", mse=2.0)),
                (StorageUnavailableError, OutcomeUnknownError),
            ),
        ):
            started = time.monotonic()
            with pytest.raises(errors):
                operation()
            # Twice the timeout and a second guard against hanging; a read is tried on a second connection.
            assert time.monotonic() - started < 2 * TIMEOUT + 1
        started = time.monotonic()
        assert not storage.health_check()
        assert time.monotonic() - started < 2 * TIMEOUT + 1
    finally:
        private.resume()
    # The write that was given up may have been carried out when the server went on.
    kept = storage.get_progress("before")
    assert kept is not None
    assert kept.version in (1, 2)


def test_a_wrong_password_is_told_without_showing_it(private: PrivateServer) -> None:
    """A server that refuses the password gives a typed error, in which no password stands."""
    secret = "s3cret-wr0ng"
    url = private.create_database()
    scheme, rest = url.split("://", 1)
    address = rest.rpartition("@")[2]
    user = {"postgres": "postgres", "mysql": "nobody", "redis": "nobody"}[private.kind]
    wrong = f"{scheme}://{user}:{secret}@{address}"
    with open_storage(wrong, timeout=TIMEOUT) as refused:
        assert secret not in repr(refused)
        assert not refused.health_check()
        with pytest.raises((StorageUnavailableError, ConfigurationError)) as caught:
            refused.save_progress(AIProgress(model_name="a", mse=1.0))
    error: BaseException | None = caught.value
    while error is not None:
        assert secret not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb", "redis", "valkey"])
def test_a_dead_server_is_told_in_time(scheme: str) -> None:
    """A port where nobody listens gives a typed error at once, for reads, writes and health alike."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"{scheme}://user:s3cret@127.0.0.1:{port}/{'0' if scheme in ('redis', 'valkey') else 'db'}"
    with open_storage(url, timeout=TIMEOUT) as dead:
        started = time.monotonic()
        for operation in (
            lambda: dead.get_progress("a"),
            lambda: dead.save_progress(AIProgress(model_name="a", mse=1.0)),
            dead.get_storage_info,
        ):
            with pytest.raises(StorageUnavailableError) as caught:
                operation()
            assert "s3cret" not in str(caught.value)
        assert not dead.health_check()
        assert time.monotonic() - started < 4 * TIMEOUT
