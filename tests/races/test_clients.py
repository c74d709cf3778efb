"""Clients: processes that outlive nothing, and whose death is an outcome."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import race_stores

from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.races import ClientPool, Failpoints, RaceError, Scenario, StuckError, run_schedule
from pytest_aistorage.races import controller as controller_module
from pytest_aistorage.registry import open_storage

ROOT = Path(__file__).parents[2]


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def eventually(condition, what):
    """Wait, at most 30 s, for what another process brings about."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def run(pool, *operations):
    """Run operations on clients of a memory of their own, one after the other."""
    return run_schedule(
        Scenario(opener=MemoryStorage, operations=operations, seams=Failpoints()), "P1:run", pool
    )


def test_clients_are_used_again(pool):
    """The same processes serve one schedule after another; each client is one of its own."""
    first = [outcome.value for outcome in run(pool, race_stores.pid, race_stores.pid).outcomes]
    assert [outcome.value for outcome in run(pool, race_stores.pid, race_stores.pid).outcomes] == first
    assert len({os.getpid(), *first}) == 3


def test_a_client_that_dies_is_an_outcome(pool):
    """It is no hang, the other client goes on, and the next schedule has a new client."""
    died, alive = run(pool, race_stores.die, race_stores.pid).outcomes
    assert (died.kind, alive.kind) == ("died", "ok")
    assert [outcome.kind for outcome in run(pool, race_stores.pid, race_stores.pid).outcomes] == ["ok", "ok"]


def test_a_foreign_exception_is_an_outcome(pool):
    """What an operation raises comes back with its type, or at least with its name."""
    failed = run(pool, race_stores.raise_key_error).outcomes[0]
    assert (failed.kind, type(failed.error), failed.error.args) == ("failed", KeyError, ("resnet",))
    failed = run(pool, race_stores.raise_what_cannot_be_pickled).outcomes[0]
    assert str(failed.error).startswith("ValueError: ")
    failed = run(pool, race_stores.return_a_function).outcomes[0]
    assert "no result to send" in str(failed.error)


def test_an_opener_that_fails_raises_here(pool):
    """The error is the opener's own, and the client can be used again."""
    client = pool.clients(1)[0]
    with pytest.raises(ConfigurationError, match="unknown option"):
        client.open(functools.partial(open_storage, "memory://", flavour="vanilla"))
    client.open(MemoryStorage)
    assert client.call(race_stores.pid).value == client.pid


def test_what_lives_in_main_is_refused_in_words(pool, monkeypatch):
    """Another process can't import it."""
    monkeypatch.setattr(race_stores.pid, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "pid", race_stores.pid, raising=False)
    with pytest.raises(RaceError, match="lives in __main__"):
        pool.clients(1)[0].call(race_stores.pid)


def test_a_client_that_says_nothing_is_given_up(pool, monkeypatch):
    """Every wait has an end, and the next schedule has new clients."""
    client = pool.clients(1)[0]
    client.open(MemoryStorage)
    client.send("call", client.packed((functools.partial(_sleep, seconds=60), None)))
    with pytest.raises(StuckError, match=r"said nothing for 0\.05 s"):
        client.answer(0.05)
    assert not client.alive
    eventually(lambda: gone(client.pid), "the client goes on")
    assert pool.clients(1)[0] is not client


def _sleep(storage, seconds):
    time.sleep(seconds)


def test_clients_that_wait_for_each_other_are_given_up(pool, monkeypatch):
    """A deadlock that nobody ends is an error and no hang."""
    monkeypatch.setattr(controller_module, "PATIENCE", 0.1)
    name = "never-free"
    with MemoryStorage(name) as observer:
        scenario = Scenario(
            opener=functools.partial(MemoryStorage, name),
            operations=(_lock_and_go, _lock_and_go),
            seams=Failpoints(),
            threads=True,
        )
        _held.acquire()
        try:
            with pytest.raises(StuckError):
                run_schedule(scenario, "P1:run,P2:run", pool)
        finally:
            _held.release()
        assert observer.health_check()


_held = threading.Lock()


def _lock_and_go(storage):
    with _held:
        return None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_controller_is_killed(tmp_path, how):
    """The nursery and all clients end with the process that they work for, however that ends."""
    script = tmp_path / "controller.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            sys.path.insert(0, sys.argv[1])
            import race_stores
            from pytest_aistorage.backends.memory import MemoryStorage
            from pytest_aistorage.races import ClientPool
            pool = ClientPool()
            clients = pool.clients(3)
            clients[0].open(MemoryStorage)
            clients[0].call(race_stores.pid)
            print(pool._nursery[0].pid, *(client.pid for client in clients), flush=True)
            time.sleep(60)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 4
    process.send_signal(how)
    process.wait(30)
    process.stdout.close()
    for pid in pids:
        eventually(functools.partial(gone, pid), f"process {pid} is still there")


def test_closing_ends_all_and_may_be_repeated():
    """After close() no process is left; a pool that was never used has none."""
    with ClientPool() as clients:
        pids = [client.pid for client in clients.clients(2)]
    clients.close()
    for pid in pids:
        eventually(functools.partial(gone, pid), f"process {pid} is still there")
    ClientPool().close()
