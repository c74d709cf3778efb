"""Losses of power: of directories, and of private servers."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server_checks import ROOT, eventually, nothing_left, offered, processes_of

from pytest_aistorage.errors import UnsupportedOperationError
from pytest_aistorage.servers import PrivateServer, ServerOptions, ServerSpec, private_server
from pytest_aistorage.servers.power import WatchedDirectory
from pytest_aistorage.servers.supervisor import fsyncs

needs_power = pytest.mark.skipif(
    fsyncs.unsupported() is not None, reason=f"power can't be cut here: {fsyncs.unsupported()}"
)
WORKER = Path(__file__).with_name("power_worker.py")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedDirectory]:
    """An empty directory whose power can be cut."""
    (tmp_path / "disk").mkdir()
    with WatchedDirectory(tmp_path / "disk") as directory:
        yield directory


class Worker:
    """A process that has joined."""

    def __init__(self, directory: WatchedDirectory, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), directory._inbox, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def begin(self, line: str) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def done(self) -> str:
        """Wait until it has done it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def do(self, *lines: str) -> None:
        """Have it done."""
        for line in lines:
            self.begin(line)
            assert self.done() == line.partition(" ")[0]

    def kill(self) -> None:
        """SIGKILL; it is gone afterwards."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The worker's file."""
    return tmp_path / "disk" / "file"


@pytest.fixture
def worker(watched: WatchedDirectory, path: Path) -> Iterator[Worker]:
    """A process that has joined."""
    process = Worker(watched, path)
    yield process
    process.kill()


# --- directories


@needs_power
@pytest.mark.parametrize("call", ["fsync", "fdatasync", "sync"])
def test_what_was_fsynced_is_kept(call: str, watched: WatchedDirectory, worker: Worker, path: Path) -> None:
    """By whichever call; what was written after it is not."""
    worker.do("write one", call, "write two")
    assert watched.fsyncs.count() == (1, 0)
    assert path.read_text() == "two"
    watched.cut_power(worker.kill)
    assert path.read_text() == "one"


@needs_power
def test_what_was_written_to_a_mapping_is_kept_by_msync(
    watched: WatchedDirectory, worker: Worker, path: Path
) -> None:
    """It makes durable what the file is mapped at."""
    worker.do("map one", "write two")
    watched.cut_power(worker.kill)
    assert path.read_bytes().rstrip(b"\0") == b"one"


@needs_power
def test_nothing_is_kept_without_fsync(watched: WatchedDirectory, worker: Worker, path: Path) -> None:
    """SIGKILL alone keeps it, for the operating system has it."""
    worker.do("write one")
    worker.kill()
    assert path.read_text() == "one"
    watched.cut_power(lambda: None)
    assert path.read_text() == ""


@needs_power
def test_replacing_a_file_without_fsync_empties_it(
    watched: WatchedDirectory, worker: Worker, path: Path
) -> None:
    """The old one is gone, and nothing of the new one is on the disk."""
    worker.do("write one", "fsync", "replace two")
    watched.cut_power(worker.kill)
    assert path.read_text() == ""


@needs_power
def test_an_fsync_is_held_before_it_is_done(watched: WatchedDirectory, worker: Worker, path: Path) -> None:
    """The caller stands still at the chosen one; released, it goes on, and what it had written is durable."""
    watched.fsyncs.hold(after=1)
    worker.do("write one", "fsync", "write two")
    worker.begin("fsync")
    eventually(lambda: watched.fsyncs.count() == (1, 1), "the second fsync is held")
    watched.fsyncs.release()
    assert worker.done() == "fsync"
    watched.fsyncs.hold()
    worker.do("write six")
    worker.begin("fsync")
    eventually(lambda: watched.fsyncs.count() == (2, 1), "the third fsync is held")
    watched.cut_power(worker.kill)
    assert path.read_text() == "two"
    assert watched.fsyncs.count() == (2, 0)


@needs_power
def test_several_processes_share_a_directory(watched: WatchedDirectory, worker: Worker, path: Path) -> None:
    """Each one's fsync counts for what all have written to the file."""
    other = Worker(watched, path)
    worker.do("write one")
    other.do("fsync")
    worker.do("write two")
    watched.cut_power(lambda: (worker.kill(), other.kill()))
    assert path.read_text() == "one"


@needs_power
def test_writes_that_need_no_fsync_are_not_judged(watched: WatchedDirectory, worker: Worker) -> None:
    """Who writes with O_SYNC would seem to lose what he keeps: that is an error instead."""
    worker.do("O_SYNC")
    with pytest.raises(UnsupportedOperationError, match="O_SYNC"):
        watched.cut_power(worker.kill)


@needs_power
def test_a_watcher_goes_with_its_owner(tmp_path: Path) -> None:
    """SIGKILL to the owner leaves no process behind, nor the place where others reach it."""
    code = (
        "import sys, time; from pathlib import Path; from pytest_aistorage.servers.power import WatchedDirectory;"
        "w = WatchedDirectory(Path(sys.argv[1])); print(w.pid, w._inbox, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert owner.stdout is not None
    pid, inbox = owner.stdout.readline().split()
    watcher = Path("/proc") / pid
    assert watcher.exists()
    assert Path(inbox).exists()
    owner.kill()
    owner.communicate()
    eventually(
        lambda: not watcher.exists() or "Z (zombie)" in (watcher / "status").read_text(), "it has ended"
    )
    assert not Path(inbox).parent.exists()


def test_systems_that_can_not_do_it_say_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: ServerOptions
) -> None:
    """A directory and a server are refused alike, before anything is started."""
    monkeypatch.setattr(fsyncs.sys, "platform", "darwin")
    with pytest.raises(UnsupportedOperationError, match="takes Linux, and this is darwin"):
        WatchedDirectory(tmp_path)
    with pytest.raises(UnsupportedOperationError, match="takes Linux, and this is darwin"):
        private_server(ServerSpec.parse("redis"), options, power=True)


# --- servers

SERVERS = [
    ("redis", "process"),
    ("redis", "embedded"),
    ("postgres", "process"),
    ("postgres", "embedded"),
    ("mysql", "process"),
]
Start = Callable[..., PrivateServer]


@pytest.fixture
def start(options: ServerOptions) -> Iterator[Start]:
    """Start servers whose power can be cut."""
    started: list[PrivateServer] = []

    def start(spec: str, provider: str = "process", **settings: str) -> PrivateServer:
        offered(spec, provider, options)
        chosen = dataclasses.replace(options, providers={ServerSpec.parse(spec).kind: (provider,)})
        started.append(private_server(ServerSpec.parse(spec), chosen, power=True, settings=settings))
        return started[-1]

    yield start
    for server in started:
        server.close()
    eventually(lambda: nothing_left(options), f"all is gone, but {processes_of(options.run_dir)}")


class Counter:
    """A value on a server that is counted up, and how far it was acknowledged."""

    def __init__(self, server: PrivateServer) -> None:
        self._server = server
        self._url = server.create_database()
        self.acknowledged = 0
        if server.kind != "redis":
            self._run("CREATE TABLE counter (value INTEGER PRIMARY KEY)")

    def _run(self, statement: str) -> Any:
        if self._server.kind == "postgres":
            import psycopg

            with psycopg.connect(self._url, autocommit=True) as connection:
                cursor = connection.execute(statement)
                return cursor.fetchone() if cursor.description else None
        from pytest_aistorage.servers import mysql

        with mysql._connect(self._url) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    def count_up(self) -> None:
        """Add one, and have it acknowledged."""
        value = self.acknowledged + 1
        if self._server.kind == "redis":
            self._redis("SET", "counter", value)
        else:
            self._run(f"INSERT INTO counter VALUES ({value})")
        self.acknowledged = value

    def kept(self) -> int:
        """What is stored."""
        if self._server.kind == "redis":
            return int(self._redis("GET", "counter") or 0)
        return int(self._run("SELECT COALESCE(MAX(value), 0) FROM counter")[0])

    def _redis(self, *command: Any) -> Any:
        import redis

        with redis.Redis.from_url(self._url) as client:
            return client.execute_command(*command)

    def count_until_it_fails(self) -> threading.Thread:
        """In a thread."""

        def run() -> None:
            try:
                while True:
                    self.count_up()
            except Exception:  # of three drivers: the server is gone
                return

        thread = threading.Thread(target=run)
        thread.start()
        return thread


@needs_power
@pytest.mark.parametrize(("spec", "provider"), SERVERS)
def test_a_durable_server_keeps_what_it_acknowledged(spec: str, provider: str, start: Start) -> None:
    """At whichever fsync the power is lost: before the first, and after one or two more of them."""
    server = start(spec, provider)
    counter = Counter(server)
    for after in range(3):
        server.fsyncs.hold(after=after)
        counting = counter.count_until_it_fails()
        eventually(lambda: server.fsyncs.count().held > 0, "an fsync is held")
        server.cut_power()
        counting.join()
        server.restart()
        # One more may have been made durable by an fsync that did not return any more.
        assert counter.kept() in (counter.acknowledged, counter.acknowledged + 1)
        counter.acknowledged = counter.kept()


@needs_power
@pytest.mark.parametrize(("spec", "provider"), SERVERS)
def test_an_acknowledgement_waits_for_the_fsync(spec: str, provider: str, start: Start) -> None:
    """While the disk takes its time nothing is acknowledged; then it is."""
    server = start(spec, provider)
    counter = Counter(server)
    counter.count_up()
    server.fsyncs.hold()
    counting = threading.Thread(target=counter.count_up)
    counting.start()
    eventually(lambda: server.fsyncs.count().held > 0, "an fsync is held")
    assert counter.acknowledged == 1
    server.fsyncs.release()
    counting.join()
    assert counter.acknowledged == 2


@needs_power
def test_what_the_operating_system_had_not_written_goes_with_the_power(start: Start) -> None:
    """SIGKILL and a restart keep it; the same SIGKILL and a loss of power before the restart don't."""
    server = start("redis", appendfsync="no")
    counter = Counter(server)
    counter.count_up()
    server.kill()
    server.restart()
    assert counter.kept() == 1
    server.kill()
    server.cut_power()
    server.restart()
    assert counter.kept() == 0


@needs_power
def test_what_was_synced_is_not_lost(start: Start) -> None:
    """As after the half minute in which the operating system writes by itself."""
    server = start("redis", appendfsync="no")
    counter = Counter(server)
    counter.count_up()
    server.fsyncs.sync()
    counter.count_up()
    server.cut_power()
    server.restart()
    assert (counter.acknowledged, counter.kept()) == (2, 1)


@needs_power
def test_only_servers_that_were_asked_for_it_pay(options: ServerOptions, start: Start) -> None:
    """No filter lies on the system calls of another private server, and it says how to have one."""
    offered("redis", "process", options)
    chosen = dataclasses.replace(options, providers={"redis": ("process",)})

    def filters(server: PrivateServer) -> int:
        assert server.data_dir is not None
        pid = (server.data_dir.parent / "server.pid").read_text().split()[0]
        return Path(f"/proc/{pid}/status").read_text().count("Seccomp_filters:\t1")

    with private_server(ServerSpec.parse("redis"), chosen) as server:
        assert filters(server) == 0
        with pytest.raises(UnsupportedOperationError, match="power=True"):
            server.cut_power()
        with pytest.raises(UnsupportedOperationError, match="power=True"):
            server.fsyncs.hold()
    assert filters(start("redis")) == 1


@needs_power
def test_servers_that_are_not_processes_of_ours_are_refused(options: ServerOptions) -> None:
    """The engine starts a container's processes: the remedy is another provider."""
    chosen = dataclasses.replace(options, providers={"redis": ("url", "container")})
    with pytest.raises(
        UnsupportedOperationError, match="url or container; allow the provider process or embedded"
    ):
        private_server(ServerSpec.parse("redis"), chosen, power=True)
