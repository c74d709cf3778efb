"""What is declared durable loses nothing; the settings that lose do lose: shown, not hoped for, and measured."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from race_machine import SERVERS, required
from race_stores import FsyncStorage, RenameStorage

from pytest_aistorage import AIProgress, AIStorage, Capability, open_storage
from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.errors import AIStorageError, ServerUnavailableError
from pytest_aistorage.races import ClientPool
from pytest_aistorage.races.durability import SETTINGS, Setting, measure
from pytest_aistorage.races.victims import FileVictim, Harm
from pytest_aistorage.races.writing import Writing, acknowledged
from pytest_aistorage.servers.base import ServerOptions, ServerSpec
from pytest_aistorage.servers.power import Fsyncs
from pytest_aistorage.servers.resolve import private_server
from pytest_aistorage.servers.run_directory import RunDirectory
from pytest_aistorage.servers.server import PrivateServer
from pytest_aistorage.servers.supervisor.fsyncs import unsupported

pytestmark = pytest.mark.skipif(unsupported() is not None, reason=f"power can't be cut here: {unsupported()}")

PATIENCE = 30.0
DURABLE = [setting for setting in SETTINGS if setting.keeps == {"kill", "power"}]


@pytest.fixture(scope="session")
def options() -> Iterator[ServerOptions]:
    """Servers whose power can be cut."""
    with RunDirectory() as directory:
        yield ServerOptions(run_dir=directory.path, providers=dict.fromkeys(SERVERS, ("process", "embedded")))


Start = Callable[..., PrivateServer]


@pytest.fixture
def start(options: ServerOptions) -> Iterator[Start]:
    """Start servers with given settings."""
    started: list[PrivateServer] = []

    def start(kind: str, **settings: str) -> PrivateServer:
        try:
            started.append(private_server(ServerSpec.parse(kind), options, settings=settings, power=True))
        except ServerUnavailableError as error:
            if required(kind):
                pytest.fail(str(error))
            pytest.skip(str(error))
        return started[-1]

    yield start
    for server in started:
        server.close()


def save(storage: AIStorage) -> int:
    """One save; returns the version that was acknowledged."""
    return storage.save_progress(AIProgress(model_name="m", mse=0.5)).version


def kept(storage: AIStorage) -> int:
    """The version that is stored."""
    found = storage.get_progress("m")
    return 0 if found is None else found.version


def settled(server: PrivateServer) -> AIStorage:
    """A storage whose tables are on the disk."""
    storage = open_storage(server.create_database())
    storage.save_progress(AIProgress(model_name="another", mse=0.5))
    server.restart()
    server.fsyncs.sync()
    storage.get_progress("another")  # it is connected again
    return storage


def held(fsyncs: Fsyncs) -> None:
    """Wait for an fsync to be held."""
    deadline = time.monotonic() + PATIENCE
    while not fsyncs.count().held:
        assert time.monotonic() < deadline, f"no fsync within {PATIENCE:g} s"
        time.sleep(0.002)


# --- what is declared durable


def test_settings_say_what_storages_declare() -> None:
    """Of Redis, whose storage is told by an option what its server promises; the others' servers are as they come."""
    for setting in SETTINGS:
        if setting.backend != "redis":
            continue
        with open_storage("redis://localhost", **setting.storage) as storage:
            declared = storage.capabilities
        assert ("kill" in setting.keeps) is (Capability.SURVIVES_SERVER_CRASH in declared)
        assert ("power" in setting.keeps) is (Capability.SURVIVES_POWER_LOSS in declared)


@pytest.mark.parametrize(
    "setting", [one for one in DURABLE if one.backend != "sqlite"], ids=lambda one: one.backend
)
def test_durable_servers_lose_nothing_at_any_fsync(setting: Setting, start: Start) -> None:
    """Power is lost at one fsync after the other, while a client saves on and on."""
    server = start(setting.backend, **setting.settings)
    storage = settled(server)
    versions = [0]

    def save_until_it_fails() -> None:
        try:
            while True:
                versions.append(save(storage))
        except AIStorageError:
            return

    with closing(storage):
        for after in range(3):
            server.fsyncs.hold(after=after)
            saving = threading.Thread(target=save_until_it_fails)
            saving.start()
            held(server.fsyncs)
            server.cut_power()
            saving.join()
            server.restart()
            assert kept(storage) in (versions[-1], versions[-1] + 1)
            versions.append(kept(storage))


def test_sqlite_loses_nothing_at_any_fsync(tmp_path: Path, pool: ClientPool) -> None:
    """Neither of a save, nor of those that make the file and copy the log back into it."""
    opener = functools.partial(open_storage, f"sqlite:///{tmp_path / 'training.db'}")
    version = 0
    with FileVictim(tmp_path, opener, "", power=True) as victim:
        directory = victim._directory
        assert directory is not None
        for after in (*range(6), 40):
            notes = tmp_path.with_name(f"notes-{after}")
            (client,) = pool.clients(1)
            client.open(victim.opener)
            directory.fsyncs.hold(after=after)
            client.send("call", client.packed((Writing("m", str(notes)), None)))
            held(directory.fsyncs)
            victim.crash("power", [client])
            version = max([version, *acknowledged(str(notes))])
            found = victim.kept("m")["m"]
            assert found in (version, version + 1)
            version = found


# --- settings that lose


def test_redis_without_a_log_loses_all_by_sigkill(start: Start) -> None:
    """It keeps everything in its own memory."""
    server = start("redis", appendonly="no")
    with open_storage(server.create_database()) as storage:
        assert save(storage) == 1
        server.kill()
        server.restart()
        assert kept(storage) == 0


def test_redis_that_never_fsyncs_loses_by_power(start: Start) -> None:
    """``appendfsync no`` leaves it to the operating system, which SIGKILL does not touch."""
    server = start("redis", appendfsync="no")
    with open_storage(server.create_database(), durability="append-only") as storage:
        assert save(storage) == 1
        server.kill()
        server.restart()
        assert kept(storage) == 1
        assert save(storage) == 2
        server.cut_power()
        server.restart()
        assert kept(storage) == 0


def test_redis_that_fsyncs_each_second_loses_that_second_by_power(start: Start) -> None:
    """What was acknowledged after the last fsync is gone; that fsync is waited for, the next one is held."""
    server = start("redis", appendfsync="everysec")
    with open_storage(server.create_database()) as storage:
        before = server.fsyncs.count().passed
        assert save(storage) == 1
        deadline = time.monotonic() + PATIENCE
        while server.fsyncs.count().passed == before:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        server.fsyncs.hold()
        assert save(storage) == 2
        server.cut_power()
        server.restart()
        assert kept(storage) == 1


def test_redis_that_fsyncs_each_second_may_lose_by_sigkill_too(start: Start) -> None:
    """While an fsync takes its time, Redis keeps back what it acknowledges, in its own memory, for up to two seconds.

    A machine that stalls for these two seconds between save and kill would let Redis write, so it is tried thrice.
    """
    server = start("redis", appendfsync="everysec")
    with open_storage(server.create_database()) as storage:
        for _ in range(3):
            server.fsyncs.hold()
            first = save(storage)
            held(server.fsyncs)
            assert save(storage) == first + 1
            server.kill()
            server.fsyncs.release()
            server.restart()
            if kept(storage) == first:
                return
    pytest.fail("nothing was lost")


def test_postgres_that_does_not_wait_for_its_log_loses_by_sigkill(start: Start) -> None:
    """``synchronous_commit = off``: the commit is in the server's memory until its WAL writer has come along."""
    server = start("postgres", synchronous_commit="off")
    with closing(settled(server)) as storage:
        import psycopg

        with psycopg.connect(server.url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
            ).fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGSTOP)
        assert save(storage) == 1
        server.kill()
        server.restart()
        assert kept(storage) == 0


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("postgres", {"synchronous_commit": "off"}),
        ("postgres", {"fsync": "off"}),
        ("mysql", {"innodb-flush-log-at-trx-commit": "2"}),
        ("mysql", {"innodb-flush-log-at-trx-commit": "0"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "=".join(*value.items()),
)
def test_databases_that_do_not_wait_for_the_disk_lose_by_power(
    kind: str, settings: dict[str, str], start: Start
) -> None:
    """A save is acknowledged while the disk does nothing."""
    server = start(kind, **settings)
    with closing(settled(server)) as storage:
        server.fsyncs.hold()
        assert save(storage) == 1
        server.cut_power()
        server.restart()
        assert kept(storage) == 0


def test_mysql_that_does_not_write_its_log_loses_by_sigkill(start: Start) -> None:
    """``innodb_flush_log_at_trx_commit = 0``: once a second a thread writes the log, which an fsync holds up."""
    server = start("mysql", **{"innodb-flush-log-at-trx-commit": "0"})
    with closing(settled(server)) as storage:
        server.fsyncs.hold()
        first = save(storage)
        held(server.fsyncs)
        second = save(storage)
        server.kill()
        server.fsyncs.release()
        server.restart()
        assert (first, second) == (1, 2)
        assert kept(storage) <= 1


@pytest.mark.parametrize(("store", "kept"), [(FileStorage, b""), (RenameStorage, b""), (FsyncStorage, None)])
def test_the_file_is_empty_after_a_loss_of_power(
    store: type[FileStorage], kept: bytes | None, tmp_path: Path, pool: ClientPool
) -> None:
    """Of all models; renaming a new file over the old one helps as little, unless the new one is fsynced before."""
    path = tmp_path / "training_metrics.json"
    with FileVictim(tmp_path, functools.partial(store, path), "", power=True) as victim:
        path.unlink()  # what was there before the power could be cut is durable
        (client,) = pool.clients(1)
        client.open(victim.opener)
        assert client.call(save).value == 1
        written = path.read_bytes()
        victim.crash("power", [client])
    assert written
    assert path.read_bytes() == (written if kept is None else kept)


# --- the measurement


@pytest.mark.parametrize(
    ("name", "lost"),
    [("appendfsync always", set()), ("appendfsync no", {"power"}), ("appendonly no", {"kill", "power"})],
)
def test_losses_are_measured(
    name: str, lost: set[Harm], options: ServerOptions, pool: ClientPool, start: Start
) -> None:
    """What the settings of Redis lose by either, of all that was acknowledged under load."""
    start("redis").close()  # skips where there is none
    (setting,) = (one for one in SETTINGS if one.name == name)
    told: list[tuple[Harm, int]] = []
    found = measure(
        setting,
        options,
        pool=pool,
        runs=1,
        writers=2,
        moments=(0.1, 0.2),
        progress=lambda *what: told.append(what),
    )
    assert found.as_declared
    assert told == [("kill", 1), ("power", 1)]
    for harm, (loss,) in found.losses.items():
        assert loss.acknowledged > 0
        assert loss.lost == (loss.acknowledged if harm in lost else 0)
        assert loss.unreadable is None


def test_a_loss_of_what_must_be_kept_is_told(options: ServerOptions, pool: ClientPool, start: Start) -> None:
    """The verdict is about what the setting promises."""
    start("redis").close()  # skips where there is none
    setting = Setting(
        backend="redis", name="wrongly declared", settings={"appendonly": "no"}, keeps=frozenset({"kill"})
    )
    found = measure(setting, options, pool=pool, runs=1, writers=1, moments=(0.1, 0.2), harms=["kill"])
    assert not found.as_declared
