"""The stress run: many clients at once, from a common start, and the ledger of what they were told."""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Literal

from ..capabilities import Capability
from ..errors import CorruptStorageError, OutcomeUnknownError
from ..storage import AIStorage
from . import operations as plain
from .clients import Client, ClientPool
from .errors import NotSharedError, RaceError
from .ledger import Attempt, Balance, balance
from .seams import Pause, Seams, Watch
from .workloads import Workload

__all__ = ["RaceResult", "StartLine", "check_shared", "run_race"]

# Seconds between two tries of an operation that failed; at random up to it, so that clients don't march in step.
_LONGEST_PAUSE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """What a stress run came to.

    Attributes:
        attempts: every operation, by the time of its call.
        balance: acknowledged against kept.
        elapsed: seconds from the start to the last client's end.
        clients: how many there were.
        processes: whether they were spread over processes; otherwise they were threads of one.
    """

    attempts: tuple[Attempt, ...]
    balance: Balance
    elapsed: float
    clients: int
    processes: bool


def run_race(
    opener: Callable[[], AIStorage],
    workload: Workload,
    *,
    processes: int = 8,
    threads: int = 1,
    operations: int = 1000,
    tries: int = 5,
    seed: int = 0,
    time_limit: float = 120.0,
    pool: ClientPool | None = None,
    shared: bool | None = None,
) -> RaceResult:
    """Let many clients work on one store at once, and compare what they were told with what was kept.

    Each client opens the storage itself. First each is shown to see what another wrote; then all start
    together. A storage that does not declare `Capability.SHARED_BETWEEN_PROCESSES` has all its clients in
    threads of this process.

    Args:
        opener: opens one more client of the store; picklable, where clients are processes. The store must
            outlive its clients: a shared ``memory://name`` needs one client that stays open.
        workload: what each client does; its models must not exist yet.
        processes: how many.
        threads: how many in each of the processes, with a client each.
        operations: how many in all.
        tries: how often one that fails is tried before it is given up, as applications do; each try counts.
        seed: of what is random about the workload.
        time_limit: seconds after which a client is given up.
        pool: where clients come from; None: one of its own.
        shared: whether the store is shared between processes; None: as its storages declare.

    Raises:
        NotSharedError: a client does not see what another wrote.
        StuckError: a client was not ready in time.
        RaceError: a client died.
    """
    if pool is None:
        with ClientPool() as own:
            return run_race(
                opener,
                workload,
                processes=processes,
                threads=threads,
                operations=operations,
                tries=tries,
                seed=seed,
                time_limit=time_limit,
                pool=own,
                shared=shared,
            )
    with closing(opener()) as observer:
        if shared is None:
            shared = Capability.SHARED_BETWEEN_PROCESSES in observer.capabilities
        if not shared:
            processes, threads = processes * threads, 1
        clients = pool.clients(processes, threads=not shared)
        try:
            for client in clients:
                client.open(opener)
            check_shared(clients, observer)
            total = processes * threads
            for number, client in enumerate(clients):
                work = functools.partial(
                    _work,
                    opener=opener,
                    workload=workload,
                    first=number * threads,
                    shares=tuple(_share(operations, total, number * threads + n) for n in range(threads)),
                    tries=tries,
                    seed=seed,
                )
                client.send("call", client.packed((work, StartLine())))
            for client in clients:
                if client.answer()[0] != "stop":
                    raise RaceError("a client ended before the race began")
            started = time.monotonic()
            for client in clients:
                client.send("go")
            attempts: list[Attempt] = []
            for client in clients:
                outcome = client.answer(time_limit)[2]
                if outcome.kind != "ok":
                    raise RaceError(f"a client {outcome.kind}") from outcome.error
                attempts += outcome.value
            elapsed = time.monotonic() - started
        except BaseException:
            # The others go on racing, and would answer whoever uses them next.
            for client in clients:
                client.end()
            raise
        found = _balance(attempts, workload, total, observer)
    attempts.sort(key=lambda attempt: attempt.called)
    return RaceResult(
        attempts=tuple(attempts), balance=found, elapsed=elapsed, clients=total, processes=shared
    )


def check_shared(clients: list[Client], observer: AIStorage) -> None:
    """Make sure that the clients race for one store: each sees what the one before it wrote, and so do we.

    Raises:
        NotSharedError: one does not.
    """
    nonce = secrets.token_hex(4)
    for number, client in enumerate(clients):
        name = f"is-it-shared-{nonce}-{number}"
        saved = client.call(functools.partial(plain.save, model_name=name, mse=0.0))
        if saved.kind != "ok":
            raise RaceError(f"client {number + 1} can't write: {saved.error}") from saved.error
        reader = clients[(number + 1) % len(clients)]
        seen = reader.call(functools.partial(plain.get, model_name=name))
        if seen.value != saved.value or observer.get_progress(name) != saved.value:
            raise NotSharedError(
                f"client {(number + 1) % len(clients) + 1} does not see what client {number + 1} wrote"
            )


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


def _work(
    storage: AIStorage,
    opener: Callable[[], AIStorage],
    workload: Workload,
    first: int,
    shares: tuple[int, ...],
    tries: int,
    seed: int,
) -> list[Attempt]:
    """What one process does: its threads' work, and all that they were told."""
    if len(shares) == 1:
        return _repeat(storage, workload, first, shares[0], tries, seed)
    found: list[list[Attempt]] = [[] for _ in shares]

    def work(number: int) -> None:
        with closing(opener()) as own:
            found[number] = _repeat(own, workload, first + number, shares[number], tries, seed)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(len(shares))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [attempt for attempts in found for attempt in attempts]


def _repeat(
    storage: AIStorage, workload: Workload, client: int, times: int, tries: int, seed: int
) -> list[Attempt]:
    random = Random(f"{seed}/{client}")
    attempts = []
    for _ in range(times):
        for _ in range(tries):
            attempts.append(_attempt(storage, workload, client, random))
            if attempts[-1].outcome != "failed":  # what may have taken effect is not done twice
                break
            time.sleep(random.uniform(0, _LONGEST_PAUSE))
    return attempts


def _attempt(storage: AIStorage, workload: Workload, client: int, random: Random) -> Attempt:
    version = error = None
    outcome: Literal["ok", "failed", "unknown"] = "ok"
    called = time.monotonic_ns()
    try:
        version = workload.act(storage, client, random).version
    except Exception as raised:  # whatever it is: an error that is none of ours is counted by its name
        outcome = "unknown" if isinstance(raised, OutcomeUnknownError) else "failed"
        error = type(raised).__name__
    return Attempt(
        client=client,
        operation=workload.operation,
        model_name=workload.model_of(client),
        called=called,
        returned=time.monotonic_ns(),
        outcome=outcome,
        version=version,
        error=error,
    )


def _balance(attempts: list[Attempt], workload: Workload, clients: int, observer: AIStorage) -> Balance:
    try:
        records = [observer.get_progress(model) for model in workload.models(clients)]
    except CorruptStorageError as error:
        return balance(attempts, {}, str(error))
    return balance(attempts, workload.changes(record for record in records if record is not None))
