"""Clients and servers that are killed: what was acknowledged stays, and the others go on."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ... import model
from ...capabilities import Capability
from ...errors import AIStorageError, OutcomeUnknownError, StorageUnavailableError, UnsupportedOperationError
from ...races.clients import Client
from ...races.errors import StuckError
from ...races.pool import clients_of, shared_pool
from ...races.writing import Writing, acknowledged
from ..effort import active
from ..hosting import Hosted
from ..sockets import Sockets
from ..steps import Steps, Told
from .clients import Clients, ContractBase, inapplicable, inconclusive, requires
from .elsewhere import has_server
from .hooks import Crashable
from .killing import BATCH_CRASHES, CRASHES, PATIENCE, Crash, crashes, reading, writing_on
from .schedules import record

__all__ = ["CrashContract"]

_SURVIVES = (Capability.SURVIVES_CLIENT_CRASH, Capability.SHARED_BETWEEN_PROCESSES)
_POWER_LOSSES = 3
_RESTART = 60.0  # seconds for a client to get on after its server has come back


class CrashContract(ContractBase):
    """SIGKILL to clients at each place of their operations and at random moments, and to the server."""

    area = "crashes"

    @requires(*_SURVIVES)
    def test_killed_client_leaves_everything_readable(self, clients: Clients) -> None:
        """After a client was killed in a save, an update or a delete, all that was acknowledged can be read."""
        _check(clients, "acknowledged records lost with a killed client", CRASHES, reading)

    @requires(*_SURVIVES)
    def test_killed_client_leaves_no_lock_behind(self, clients: Clients) -> None:
        """After a client was killed in a save, others write on, and take the next versions."""
        _check(
            clients, "others can't write after a client was killed", CRASHES[:1], writing_on, must_answer=True
        )

    @requires(*_SURVIVES, Capability.ATOMIC_BATCH)
    def test_killed_client_leaves_its_batch_whole_or_absent(self, clients: Clients) -> None:
        """After a client was killed in save_many, all of the batch is there or nothing of it."""
        _check(clients, "half a batch left by a killed client", BATCH_CRASHES, reading)

    @requires(*_SURVIVES)
    def test_killed_writer_loses_nothing_acknowledged(self, clients: Clients) -> None:
        """A client that writes on and on is killed at a random moment: its last acknowledged save is kept."""
        effort, seed = active()
        with tempfile.TemporaryDirectory() as directory, _processes(clients) as opened:
            for number in range(effort.kills):
                dice = random.Random(f"{seed}/{number}")
                writing = Writing(clients.new_name(), str(Path(directory) / str(number)))
                _kill(opened(), writing, dice)
                with clients_of(clients.opener, 0, observers=1) as (observer,):
                    _check_kept(observer, writing, f"kill {number + 1} of a writing client, seed {seed}")

    @requires(Capability.SURVIVES_SERVER_CRASH)
    def test_killed_server_loses_nothing_acknowledged(
        self, clients: Clients, ai_storage_crashable: Crashable | None
    ) -> None:
        """The server is killed under load and started again: what was acknowledged is there.

        Where the storage has none, it is the process that its library runs in.
        """
        with _crashable(clients, ai_storage_crashable) as crashable:
            _crash_server(crashable, _check_acknowledged)

    @requires(Capability.SURVIVES_SERVER_CRASH)
    def test_client_outlives_its_server(
        self, clients: Clients, ai_storage_crashable: Crashable | None
    ) -> None:
        """While the server is down, clients are told so by our errors; afterwards they work as they are."""
        if ai_storage_crashable is None:
            if has_server(clients):
                _rests_on_the_declaration("no server may be killed here")
            inapplicable("the storage has no server that a client could outlive")
        _crash_server(ai_storage_crashable, _check_errors)

    @requires(Capability.SURVIVES_POWER_LOSS)
    def test_power_loss_loses_nothing_acknowledged(
        self, clients: Clients, ai_storage_crashable: Crashable | None
    ) -> None:
        """The power is lost under load, and all that was not fsynced with it: what was acknowledged is there.

        Where the storage has no server, it is the process that its library runs in which loses it, and the files of
        the directory that the opener's attribute ``directory`` names.
        """
        with _powered(clients, ai_storage_crashable) as (crashable, cut):
            for _ in range(_POWER_LOSSES):
                check = functools.partial(_check_acknowledged, done="the power was lost")
                _crash_server(crashable, check, cut)


def _check(
    clients: Clients,
    anomaly: str,
    cases: Sequence[Crash],
    after: Callable[..., Sequence[model.Operation]],
    *,
    must_answer: bool = False,
) -> None:
    killed = 0
    try:
        for violation in crashes(clients, cases, after, must_answer=must_answer):
            killed += 1
            if violation is not None:
                clients.facts["violation"] = violation.facts(anomaly)
                pytest.fail(violation.text(anomaly), pytrace=False)
    except UnsupportedOperationError as error:
        inconclusive(str(error))
    clients.facts["kills"] = killed


# -- at random ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _processes(clients: Clients) -> Any:
    """Gives a process of its own that has the store open, each time it is asked."""
    with contextlib.ExitStack() as stack:

        def opened() -> Client:
            (client,) = stack.enter_context(clients_of(clients.opener, 1, processes=True))
            return client

        try:
            yield opened
        except UnsupportedOperationError as error:
            inconclusive(str(error))


def _kill(client: Client, writing: Writing, dice: random.Random) -> None:
    """Let a client write, and kill it after some writes, wherever it then is."""
    client.send("call", client.packed((writing, None)))
    wanted = dice.randint(1, 20)
    deadline = time.monotonic() + _RESTART
    while len(acknowledged(writing.notes)) < wanted:
        if client.channel.poll(0.001):
            outcome = client.answer()[2]
            pytest.fail(f"a client that writes alone {outcome.kind}: {outcome.error!r}", pytrace=False)
        if time.monotonic() > deadline:
            pytest.fail(
                f"a client that writes alone made no {wanted} writes in {_RESTART:g} s", pytrace=False
            )
    time.sleep(dice.uniform(0, 0.003))
    client.end()


def _check_kept(observer: Client, writing: Writing, done: str) -> None:
    last = acknowledged(writing.notes)[-1]
    operations = (model.Get(writing.model_name), model.Save(record(writing.model_name, 0.25)))
    observer.send("call", observer.packed((Steps(operations), None)))
    try:
        found, saved = observer.answer(PATIENCE)[2].value
    except StuckError:
        pytest.fail(f"{done}: another client said nothing for {PATIENCE:g} s afterwards", pytrace=False)
    kept = _version(found)
    if found.error or kept not in (last, last + 1):
        pytest.fail(
            f"{done}: version {last} was acknowledged, and one more may have been written; "
            f"stored is {found.error or f'version {kept}'}",
            pytrace=False,
        )
    if _version(saved) != kept + 1:
        pytest.fail(
            f"{done}: stored is version {kept}, the next save took {saved.error or f'version {_version(saved)}'}",
            pytrace=False,
        )


def _version(told: Told) -> int:
    record = getattr(told.result, "record", None)
    return 0 if record is None else int(record.version)


# -- a server -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _crashable(clients: Clients, supplied: Crashable | None) -> Iterator[Crashable]:
    """What may be killed: what was supplied, or the process that hosts a storage without a server."""
    if supplied is not None:
        yield supplied
        return
    try:
        hosted = Hosted(clients.opener, shared_pool())
    except Exception as error:  # whatever pickle or the opener says
        why = f"the store can't be opened by a process that may be killed ({type(error).__name__}: {error})"
        _rests_on_the_declaration(why)
    with hosted:
        if hosted.call(Sockets()):
            _rests_on_the_declaration("no server may be killed here")
        yield hosted


@contextlib.contextmanager
def _powered(clients: Clients, supplied: Crashable | None) -> Iterator[tuple[Crashable, Callable[[], None]]]:
    """What may lose its power, and what cuts it."""
    directory = getattr(clients.opener, "directory", None)
    if supplied is None and directory is not None:
        # Who has a file open while it is put back to what it was would take part in what comes then.
        clients.close()
        try:
            hosted = Hosted(clients.opener, shared_pool(), directory)
        except Exception as error:  # whatever pickle or the opener says
            _power_rests_on_the_declaration(
                f"no process can host the store ({type(error).__name__}: {error})"
            )
        with hosted:
            yield hosted, functools.partial(_cut, hosted.cut_power, directory)
    elif supplied is None or not hasattr(supplied, "cut_power"):
        _power_rests_on_the_declaration("nothing is supplied whose power may be cut")
    else:
        yield supplied, functools.partial(_cut, supplied.cut_power, None)


def _cut(cut_power: Callable[[], None], directory: Path | None) -> None:
    if directory is not None and not any(path.is_file() for path in Path(directory).rglob("*")):
        _power_rests_on_the_declaration(f"the store has no file in {directory}")
    try:
        cut_power()
    except UnsupportedOperationError as error:
        _power_rests_on_the_declaration(str(error))


def _power_rests_on_the_declaration(why: str) -> NoReturn:
    inconclusive(
        f"{why}, so SURVIVES_POWER_LOSS rests on the declaration; supply the fixture ai_storage_crashable, with a "
        "method cut_power, or, of a store without a server, an opener whose attribute directory names its own"
    )


def _rests_on_the_declaration(why: str) -> NoReturn:
    inconclusive(
        f"{why}, so SURVIVES_SERVER_CRASH rests on the declaration; supply the fixture ai_storage_crashable"
    )


class Writer:
    """Saves one model over and over in a thread, with one client that stays open.

    Args:
        crashable: whose store.
        model_name: the model.

    Attributes:
        versions: that were acknowledged, in order.
        errors: what it met meanwhile.
    """

    def __init__(self, crashable: Crashable, model_name: str) -> None:
        self.model_name = model_name
        self.versions: list[int] = []
        self.errors: list[Exception] = []
        self._storage = crashable.opener()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.versions.append(self._storage.save_progress(record(self.model_name, 0.5)).version)
            except Exception as error:  # whatever it is: the test says which may be
                self.errors.append(error)
                self._ended.wait(0.02)

    def wait(self, more: int) -> None:
        """Wait until so many more saves were acknowledged; fail if they never are."""
        wanted = len(self.versions) + more
        deadline = time.monotonic() + _RESTART
        while len(self.versions) < wanted:
            if time.monotonic() > deadline:
                pytest.fail(
                    f"a client that was open before the server was killed got no save acknowledged within "
                    f"{_RESTART:g} s of its restart; last error: {self.errors[-1:]}",
                    pytrace=False,
                )
            time.sleep(0.005)

    def end(self) -> None:
        """Stop, and close the client."""
        self._ended.set()
        self._thread.join(PATIENCE)
        with contextlib.suppress(AIStorageError):
            self._storage.close()


def _crash_server(
    crashable: Crashable,
    check: Callable[[Crashable, Sequence[Writer]], None],
    crash: Callable[[], None] | None = None,
) -> None:
    writers = [Writer(crashable, f"writer-{number}") for number in range(2)]
    try:
        for writer in writers:
            writer.wait(5)
        (crash or crashable.kill)()
        time.sleep(0.1)  # so that some meet a server that is down
        crashable.restart()
        for writer in writers:
            writer.wait(3)
    finally:
        for writer in writers:
            writer.end()
    check(crashable, writers)


def _check_acknowledged(
    crashable: Crashable, writers: Sequence[Writer], done: str = "the server was killed"
) -> None:
    storage = crashable.opener()
    try:
        for writer in writers:
            versions = writer.versions
            for before, after in itertools.pairwise(versions):
                if after <= before:
                    pytest.fail(
                        f"{done}: version {before} of {writer.model_name!r} had been acknowledged, "
                        f"and afterwards a save took version {after}",
                        pytrace=False,
                    )
            kept = storage.get_progress(writer.model_name)
            if kept is None or kept.version < versions[-1]:
                pytest.fail(
                    f"{done}: version {versions[-1]} of {writer.model_name!r} had been acknowledged, stored is "
                    f"{kept!r}",
                    pytrace=False,
                )
    finally:
        storage.close()


def _check_errors(crashable: Crashable, writers: Sequence[Writer]) -> None:
    for writer in writers:
        for error in writer.errors:
            if not isinstance(error, (StorageUnavailableError, OutcomeUnknownError)):
                pytest.fail(
                    "while the server is down a save raises StorageUnavailableError or OutcomeUnknownError, got "
                    f"{type(error).__name__}: {error}",
                    pytrace=False,
                )
