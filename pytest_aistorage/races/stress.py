"""The stress run: many clients at once, from a common start, and the history of what they were told."""

from __future__ import annotations

import contextlib
import functools
import math
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

from ..capabilities import Capability
from ..errors import ConfigurationError, CorruptStorageError, StorageUnavailableError
from ..storage import AIStorage
from . import operations as plain
from .checker import Check, check_linearizable
from .clients import PATIENCE, Client, ClientPool
from .errors import NotSharedError, RaceError
from .given import refuse_idle
from .history import Fault, History, Operation
from .ledger import Balance, balance
from .racers import Failure, Share, work
from .recording import RecordingStorage
from .seams import Pause, Seams, Watch
from .workloads import Workload

__all__ = ["Injector", "RaceResult", "StartLine", "check_shared", "run_race"]

T = TypeVar("T")

_SWITCH = 2e-5  # seconds

_OBSERVER = 0
"""The number of the client in a history that reads what was kept; the racing ones are 1, 2, …"""


class Injector(Protocol):
    """Does harm to a server while clients race; `races.faults.Faults` is one."""

    def running(self, seed: int) -> AbstractContextManager[Sequence[Fault]]:
        """Inject for the length of a ``with`` block, and have everything mended at its end.

        Args:
            seed: of what is random.

        Returns:
            What was done; it is complete at the block's end.
        """


@dataclass(frozen=True, kw_only=True)
class RaceResult:
    """What a stress run came to.

    Attributes:
        history: every operation of every client, by the time of its call; before them what process 0
            set up, afterwards it reads each model.
        balance: acknowledged against kept.
        elapsed: seconds from the start to the last client's end.
        clients: how many there were.
        processes: whether they were spread over processes; otherwise they were threads of one.
        capabilities: what the storage declares.
        seed: of what was random.
        failures: what was raised by the code that raced, and not by the storage.
    """

    history: History
    balance: Balance
    elapsed: float
    clients: int
    processes: bool
    capabilities: frozenset[Capability] = frozenset()
    seed: int = 0
    failures: Sequence[Failure] = field(default=())

    @cached_property
    def check(self) -> Check:
        """What `check_linearizable` says of the history; listings and batches are held to what is declared."""
        return check_linearizable(
            self.history,
            snapshot_listing=Capability.SNAPSHOT_LISTING in self.capabilities,
            atomic_batch=Capability.ATOMIC_BATCH in self.capabilities,
        )

    @cached_property
    def overlapping(self) -> int:
        """How many operations were called while one of another client was under way; 0: nobody raced."""
        found, process = 0, -1
        latest = other = -1.0  # the latest return of any client but `process`
        for one in self.history:
            until = other if one.process == process else latest
            found += one.called < until
            returned = math.inf if one.returned is None else one.returned
            if one.process == process:
                latest = max(latest, returned)
            elif returned > latest:
                latest, process, other = returned, one.process, latest
            else:
                other = max(other, returned)
        return found


def run_race(
    opener: Callable[[], Any],
    workload: Workload,
    *,
    processes: int = 8,
    threads: int = 1,
    operations: int = 1000,
    seconds: float | None = None,
    tries: int = 5,
    seed: int = 0,
    time_limit: float = 120.0,
    pool: ClientPool | None = None,
    shared: bool | None = None,
    faults: Injector | None = None,
    setup: Callable[[Any], object] | None = None,
) -> RaceResult:
    """Let many clients work on one store at once, and write down what they were told.

    Each client opens the storage itself. First each is shown to see what another wrote; then all start
    together. A storage that does not declare `Capability.SHARED_BETWEEN_PROCESSES` has all its clients in
    threads of this process.

    Args:
        opener: opens one more client of the store; picklable, where clients are processes. The store must
            outlive its clients: a shared ``memory://name`` needs one client that stays open.
        workload: what each client does; its models must not exist yet. Others may: they are left out of what
            listings are recorded to have shown.
        processes: how many; 0: the clients are threads of this process.
        threads: how many in each of the processes, with a client each.
        operations: how often the workload is done in all.
        seconds: after how many no client begins again; then `operations` is only the most that is done.
        tries: how often one that fails is tried before it is given up, as applications do; each try is recorded.
        seed: of what is random about the workload and the faults.
        time_limit: seconds, beyond `seconds`, after which a client is given up.
        pool: where clients come from; None: one of its own.
        shared: whether the store is shared between processes; None: as its storages declare.
        faults: what is done to the server meanwhile.
        setup: is given a storage before the race; what it writes belongs to the history.

    Raises:
        NotSharedError: a client does not see what another wrote.
        StuckError: a client was not ready in time.
        RaceError: a client died, what it is to do can't be given to another process, the setup would do nothing, or a
            client worked on a model that was there before: such a history has no beginning.
        ConfigurationError: there are no clients, or no operations.
    """
    __tracebackhide__ = True  # what opener is given may be a URL with its password
    if processes < 0 or threads < 1 or operations < 1:
        raise ConfigurationError(
            f"a race of {processes} processes, {threads} threads and {operations} operations is none"
        )
    refuse_idle([setup])
    if pool is None:
        with ClientPool() as own:
            return run_race(
                opener,
                workload,
                processes=processes,
                threads=threads,
                operations=operations,
                seconds=seconds,
                tries=tries,
                seed=seed,
                time_limit=time_limit,
                pool=own,
                shared=shared,
                faults=faults,
                setup=setup,
            )
    with closing(opener()) as observer:
        declared: frozenset[Capability] = getattr(observer, "capabilities", frozenset())
        if shared is None:
            shared = Capability.SHARED_BETWEEN_PROCESSES in declared
        if not shared or not processes:
            shared, processes, threads = False, max(1, processes) * threads, 1
        clients = pool.clients(processes, threads=not shared)
        before = {record.model_name for record in _patiently(observer.load_progress)}
        recorder = RecordingStorage(observer, _OBSERVER)
        if setup is not None:
            setup(recorder)
        told = _raced(
            clients,
            observer,
            [
                Share(
                    opener=opener,
                    workload=workload,
                    first=number * threads,
                    times=tuple(
                        _share(operations, processes * threads, number * threads + n) for n in range(threads)
                    ),
                    seconds=seconds,
                    tries=tries,
                    seed=seed,
                )
                for number in range(processes)
            ],
            time_limit + (seconds or 0.0),
            faults,
        )
        done = _without([*recorder.operations, *told.operations], before)
        recorder.operations.clear()
        found = _kept(done, workload, recorder)
        return RaceResult(
            history=History([*done, *recorder.operations], told.injected),
            balance=found,
            elapsed=told.elapsed,
            clients=processes * threads,
            processes=shared,
            capabilities=declared,
            seed=seed,
            failures=tuple(told.failures),
        )


@dataclass(slots=True)
class _Told:
    operations: list[Operation] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    injected: Sequence[Fault] = ()
    elapsed: float = 0.0


def _raced(
    clients: list[Client], observer: Any, shares: list[Share], time_limit: float, faults: Injector | None
) -> _Told:
    """Start all clients together, and collect what they were told."""
    told = _Told()
    try:
        for client, share in zip(clients, shares, strict=True):
            client.open(share.opener)
        check_shared(clients, observer)
        for client, share in zip(clients, shares, strict=True):
            client.send("call", client.packed((functools.partial(work, share=share), StartLine())))
        for client in clients:
            kind, _, *rest = client.answer()
            if kind != "stop":
                raise RaceError("a client ended before the race began") from (rest[0].error if rest else None)
        injecting: AbstractContextManager[Sequence[Fault]] = (
            contextlib.nullcontext([]) if faults is None else faults.running(shares[0].seed)
        )
        started = time.monotonic()
        with injecting as told.injected, _changing_hands():
            for client in clients:
                client.send("go")
            for client in clients:
                outcome = client.answer(time_limit)[2]
                if outcome.kind != "ok":
                    raise RaceError(f"a client {outcome.kind}: {outcome.error}") from outcome.error
                told.operations += outcome.value.operations
                told.failures += outcome.value.failures
        told.elapsed = time.monotonic() - started
    except BaseException:
        # The others go on racing, and would answer whoever uses them next.
        for client in clients:
            client.end()
        raise
    told.operations.sort(key=lambda operation: operation.called)
    return told


def check_shared(clients: list[Client], observer: AIStorage) -> None:
    """Make sure that the clients race for one store: each sees what the one before it wrote, and so do we.

    Raises:
        NotSharedError: one does not.
    """
    nonce = secrets.token_hex(4)
    for number, client in enumerate(clients):
        name = f"is-it-shared-{nonce}-{number}"
        next_one = (number + 1) % len(clients)
        save = functools.partial(plain.save, model_name=name, mse=0.0)
        get = functools.partial(plain.get, model_name=name)
        try:
            saved = _patiently(functools.partial(client.result, save))
        except Exception as error:  # a storage's own
            raise RaceError(f"client {number + 1} can't write: {error}") from error
        try:
            seen = _patiently(functools.partial(clients[next_one].result, get))
        except Exception as error:  # a storage's own
            raise RaceError(f"client {next_one + 1} can't read: {error}") from error
        if seen != saved or _patiently(functools.partial(observer.get_progress, name)) != saved:
            raise NotSharedError(f"client {next_one + 1} does not see what client {number + 1} wrote")
        _patiently(functools.partial(observer.delete_progress, name))  # listings are to show what raced


def _patiently(attempt: Callable[[], T]) -> T:
    """Do what is no part of a race, again while the storage can't be reached.

    A storage's own patience may be shorter than a busy machine keeps it waiting, or a server takes to restart.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except StorageUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def _changing_hands() -> Iterator[None]:
    """Let threads of this process change hands often: in the usual 5 ms each would be through before the next."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class StartLine(Seams):
    """One stop only, before the operation begins: the barrier of a stress run."""

    starts_stopped = True
    needs_process = False

    @contextmanager
    def watching(self, pause: Pause) -> Iterator[Watch]:
        """Watch nothing."""
        yield self

    def last(self) -> str:
        """Return the only step's label."""
        return "run"


def _share(operations: int, clients: int, number: int) -> int:
    return operations // clients + (number < operations % clients)


def _without(operations: Iterable[Operation], before: set[str]) -> list[Operation]:
    """Leave out of listings what was there before the race, and nobody worked on.

    Raises:
        RaceError: somebody did.
    """
    found = []
    for one in operations:
        if one.kind == "load":
            one = one._replace(parts=tuple(part for part in one.parts if part.model_name not in before))
        elif known := before.intersection([one.model_name, *(part.model_name for part in one.parts)]):
            raise RaceError(
                f"model {min(known)!r} was there before the race, so that its history has no beginning: race on "
                "models that are new, or delete it first"
            )
        found.append(one)
    return found


def _kept(operations: Sequence[Operation], workload: Workload, recorder: RecordingStorage) -> Balance:
    """Read what was kept of the models that were raced on; the reads are recorded."""
    steps: dict[str, int | None] = {}
    unreadable = None
    for model in _touched(operations):
        try:
            record = _patiently(functools.partial(recorder.get_progress, model))
        except CorruptStorageError as error:
            unreadable = str(error)
            break
        steps[model] = None if record is None else workload.changes(record)
    return balance(operations, steps, unreadable)


def _touched(operations: Iterable[Operation]) -> list[str]:
    names = dict.fromkeys(
        name
        for one in operations
        for name in ([part.model_name for part in one.parts] if one.parts else [one.model_name])
        if name
    )
    return list(names)
