"""Faults while clients race on real servers: what is ambiguous is recorded as unknown, and no violation is found."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from pytest_aistorage import AIProgress, AIStorage, AIStorageError, ConfigurationError, open_storage
from pytest_aistorage._failpoints import armed
from pytest_aistorage.races import FAULTS, Fault, Faults, History, Operation, Verdict, check_linearizable
from pytest_aistorage.races.recording import RecordingStorage
from pytest_aistorage.servers import PrivateServer

KINDS = ("redis", "postgres", "mysql")
CLIENTS = 4
MODELS = ("a", "b")
TIMEOUT = 0.2
"""Seconds after which a client gives up: less than most faults last."""
SECONDS = 1.0
"""How long a race takes at least; it goes on until there was something to be told."""
ENOUGH = 20
"""Acknowledged writes that there must be."""
OBSERVER = CLIENTS + 1

# What begins a fault in a history, and what ends it.
ENDS = {"kill": "restart", "stop": "restart", "pause": "resume", "partition": "heal", "delay": "heal"}


class Recorder:
    """A server that only writes down what is done to it.

    Args:
        failing: the method that raises.
    """

    def __init__(self, failing: str = "") -> None:
        self.done: list[tuple[Any, ...]] = []
        self._failing = failing

    def __getattr__(self, name: str) -> Callable[..., None]:
        def do(*arguments: Any) -> None:
            self.done.append((name, *arguments))
            if name == self._failing:
                raise RuntimeError(f"{name} failed")

        return do


def quick(target: Any, **options: Any) -> Faults:
    """Faults without any waiting to speak of."""
    return Faults(target=target, pause=(0.0, 0.001), lasting=(0.0, 0.001), **options)


# -- what is drawn, done and told ---------------------------------------------------------------------------


def test_a_seed_draws_the_same_faults() -> None:
    """Kinds, pauses and lengths are the seed's; each kind comes once before any comes again; all within bounds."""
    faults = Faults(target=Recorder(), pause=(1, 2), lasting=(3, 4), delay=(5, 6))
    first = list(itertools.islice(faults.plan(7), 70))
    assert first == list(itertools.islice(faults.plan(7), 70))
    assert first != list(itertools.islice(faults.plan(8), 70))
    for start in range(0, 70, len(FAULTS)):
        assert {one.kind for one in first[start : start + len(FAULTS)]} == set(FAULTS)
    assert all(1 <= one.pause <= 2 and 3 <= one.lasting <= 4 and 5 <= one.delay <= 6 for one in first)


def test_every_fault_is_done_ended_and_noted() -> None:
    """Each kind by its calls on the server; its beginning and its end in the list, in order of time, none open."""
    server = Recorder()
    with quick(server, delay=(0.25, 0.25)).running(1) as injected:
        wait_until(lambda: len({call[0] for call in server.done}) == 8 and len(injected) > 40)
    calls = {
        ("kill",): ("restart",),
        ("pause",): ("resume",),
        ("partition",): ("heal",),
        ("partition", "from server"): ("heal",),
        ("delay", 0.25): ("heal",),
    }
    begun = None
    for call in server.done:
        assert begun is None or call == calls[begun]
        begun = call if begun is None and call in calls else None
    assert begun is None, "the last fault was not ended"
    assert [fault.at for fault in injected] == sorted(fault.at for fault in injected)
    assert {(one.kind, one.target) for one in injected} == {
        *((kind, "server") for kind in ("kill", "stop", "restart", "pause", "resume", "partition", "heal")),
        *(("reset", "server"), ("delay", "server"), ("partition", "the answers"), ("heal", "the answers")),
    }
    open_ends: list[Fault] = []
    for one in injected:
        if open_ends:
            begin = open_ends.pop()
            assert (one.kind, one.target) == (ENDS[begin.kind], begin.target)
        elif one.kind in ENDS:
            open_ends.append(one)
    assert not open_ends


def test_the_end_of_the_block_ends_the_fault_at_once() -> None:
    """A fault that was to last an hour is over when the block is; no thread stays."""
    server = Recorder()
    faults = Faults(target=server, kinds=("pause",), pause=(0, 0), lasting=(3600, 3600))
    with faults.running(0) as injected:
        wait_until(lambda: bool(server.done))
    assert server.done == [("pause",), ("resume",)]
    assert [one.kind for one in injected] == ["pause", "resume"]
    assert not any(thread.name == "faults" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("failing", "undone"), [("kill", "restart"), ("resume", "resume"), ("reset", "reset")]
)
def test_an_injection_that_fails_is_told(failing: str, undone: str) -> None:
    """At the block's end, as it was raised; the fault was ended nonetheless."""
    server = Recorder(failing)
    with (
        pytest.raises(RuntimeError, match=f"^{failing} failed$"),
        quick(server, kinds=({"resume": "pause"}.get(failing, failing),)).running(0),
    ):
        wait_until(lambda: (undone,) in server.done)
    assert server.done[-1] == (undone,)


def test_the_error_of_the_block_comes_first() -> None:
    """If both fail, the block's error is raised, with a note of the other."""
    server = Recorder("reset")

    def race() -> None:
        with quick(server, kinds=("reset",)).running(0):
            wait_until(lambda: bool(server.done))
            raise KeyError("the block's")

    with pytest.raises(KeyError, match="the block's") as caught:
        race()
    assert "RuntimeError: reset failed" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": ()},
        {"kinds": ("kil",)},
        {"pause": (2, 1)},
        {"lasting": (-1, 1)},
        {"delay": (0, float("inf"))},
    ],
)
def test_faults_that_can_not_be(wrong: dict[str, Any]) -> None:
    """Refused when they are described, not in the middle of a race."""
    with pytest.raises(ConfigurationError):
        Faults(target=Recorder(), **wrong)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait at most half a minute for what a thread brings about."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# -- on real servers ----------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> PrivateServer:
    """A durable server of this test's own, of each kind."""
    found: PrivateServer = request.getfixturevalue(f"private_{request.param}_server")
    return found


@pytest.fixture
def url(server: PrivateServer) -> str:
    """An empty database on it, its tables made."""
    made = server.create_database()
    with open_storage(server.direct(made)) as storage:
        assert storage.load_progress() == []
    return made


def act(client: RecordingStorage, random: Random, number: int) -> None:
    """One operation; every write writes a value of its own."""
    name = random.choice(MODELS)
    record = AIProgress(model_name=name, mse=float(client.process * 1_000_000 + number))
    kind = random.choice(("save", "save", "set", "update", "delete", "batch", "get", "get", "load"))
    if kind == "save":
        client.save_progress(record)
    elif kind == "set":
        current = client.get_progress(name)
        client.save_progress(record, expected_version=0 if current is None else current.version)
    elif kind == "update":
        client.update_progress(
            name, lambda current: record if current is None else dataclasses.replace(current, mse=record.mse)
        )
    elif kind == "delete":
        client.delete_progress(name)
    elif kind == "batch":
        client.save_many([dataclasses.replace(record, model_name=one) for one in MODELS])
    elif kind == "get":
        client.get_progress(name)
    else:
        client.load_progress()


def raced(
    url: str, faults: Faults, seed: int
) -> tuple[list[RecordingStorage], list[Fault], list[BaseException]]:
    """Let clients loose on the store, each in a thread, while faults are injected."""
    clients = [RecordingStorage(open_storage(url, timeout=TIMEOUT), number + 1) for number in range(CLIENTS)]
    strange: list[BaseException] = []
    enough = threading.Event()

    def work(client: RecordingStorage) -> None:
        random = Random(f"{seed}/{client.process}")
        for number in itertools.count():
            if enough.is_set():
                return
            try:
                act(client, random, number)
            except AIStorageError:
                # An application waits before it tries again; a history of refusals would say nothing.
                enough.wait(0.01)
            except BaseException as error:
                strange.append(error)
                return
            enough.wait(0.001)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    with faults.running(seed) as injected:
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        wait_until(lambda: bool(strange) or (len(injected) > 2 and acknowledged(clients) >= ENOUGH))
        enough.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
    return clients, injected, strange


def acknowledged(clients: list[RecordingStorage]) -> int:
    """How many writes were acknowledged so far."""
    told = (one for client in clients for one in list(client.operations))
    return sum(one.outcome == "ok" and one.kind not in ("get", "load") for one in told)


def read_at_last(server: PrivateServer, url: str) -> list[Operation]:
    """Read every model around all faults."""
    with RecordingStorage(open_storage(server.direct(url)), OBSERVER) as observer:
        for name in MODELS:
            observer.get_progress(name)
        return observer.operations


@pytest.mark.parametrize("kind", FAULTS)
def test_no_fault_makes_a_violation(server: PrivateServer, url: str, kind: str) -> None:
    """Under each kind of fault: only the contract's errors, and a history that has an order, to the last read."""
    faults = Faults(target=server, kinds=(kind,), pause=(0.1, 0.4), lasting=(0.2, 0.4), delay=(0.01, 0.1))
    clients, injected, strange = raced(url, faults, seed=len(kind))
    assert not strange
    history = History(
        [*(one for client in clients for one in client.operations), *read_at_last(server, url)], injected
    )
    found = check_linearizable(history, snapshot_listing=True, atomic_batch=True)
    assert found.verdict is Verdict.LINEARIZABLE, found.violations
    for client in clients:
        wait_until(client.storage.health_check)  # the same storages go on, with nothing opened anew
        client.close()


class LyingStorage(RecordingStorage):
    """Planted: records what is unknown as failed."""

    def told(self) -> list[Operation]:
        """What it would have written down."""
        return [
            one._replace(outcome="failed") if one.outcome == "unknown" else one for one in self.operations
        ]


def write_with_the_answer_cut(server: PrivateServer, client: RecordingStorage) -> None:
    """Save, and lose the acknowledgement: the network is cut when there is but the last message to send."""

    def cut(_: str) -> None:
        server.partition("from server")

    # MySQL's write takes several round trips, of which only the last one, COMMIT, can be ambiguous.
    name = "before_commit" if server.kind == "mysql" else "before_write"
    with armed(cut, (name,)), pytest.raises(AIStorageError):
        client.save_progress(AIProgress(model_name="a", mse=2.0))


def test_a_lost_acknowledgement_is_recorded_as_unknown(server: PrivateServer, url: str) -> None:
    """The write took effect; as unknown it makes no violation, and as failed it would be one that the check finds."""
    with LyingStorage(open_storage(url, timeout=5 * TIMEOUT), 1) as client:
        client.save_progress(AIProgress(model_name="a", mse=1.0))
        write_with_the_answer_cut(server, client)
        assert [one.outcome for one in client.operations] == ["ok", "unknown"]
        # It is on its way, or carried out already.
        with open_storage(server.direct(url)) as storage:
            wait_until(lambda: version_of(storage) == 2)
        after = read_at_last(server, url)
        server.heal()
        client.get_progress("a")
        assert client.operations[-1].version == 2
        assert check_linearizable(History([*client.operations, *after])).verdict is Verdict.LINEARIZABLE
        lied = check_linearizable(History([*client.told(), *after]))
        assert lied.verdict is Verdict.VIOLATION
        assert [one.model_name for one in lied.violations] == ["a"]


def version_of(storage: AIStorage) -> int:
    """The version of model ``a``."""
    record = storage.get_progress("a")
    return 0 if record is None else record.version
