"""The controller: grants one step of one client at a time, so that an interleaving is chosen and not hoped for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Protocol

from ..errors import ConfigurationError
from ..storage import AIStorage
from .clients import PATIENCE, Client, ClientPool
from .errors import StuckError
from .outcomes import Outcome
from .schedule import KILLED, WAITS, Schedule, Step
from .seams import Seams

__all__ = ["LOCK_LIMIT", "LockProbe", "Operation", "Run", "Scenario", "run_schedule", "schedules"]

LOCK_LIMIT = 0.05
"""Seconds after which a client that has not finished its step, and all the while neither ran nor waited for a
processor or a disk, is taken to wait for a lock, where nobody can be asked. Nothing but a lock makes it idle for
longer than moments: it is connected before its schedule begins. A mistake does no harm to what is shown: the client
goes on when it can, and the recorded schedule says ``waits`` for what was slow."""

_GLANCE = 0.002
"""Seconds between two looks at whether a client waits."""

Operation = Callable[[AIStorage], Any]
"""What one client does with its storage; picklable, where clients are processes."""


class LockProbe(Protocol):
    """Asks a server how many clients of a store wait for a lock now."""

    def waiting(self) -> int | None:
        """Return how many; None where it can't be told, so that `LOCK_LIMIT` decides."""

    def close(self) -> None:
        """Give up the connection to the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is scheduled: some clients of one store, with one operation each.

    Attributes:
        opener: opens one more client of the store; picklable, where clients are processes.
        operations: the first client's, the second's, ...
        seams: where the clients can be stopped; a tuple: where the first can, the second, ...
        threads: whether the clients are threads of this process.
        probe: how a wait for a lock is recognized; None: by `LOCK_LIMIT`.
    """

    opener: Callable[[], AIStorage]
    operations: tuple[Operation, ...]
    seams: Seams | tuple[Seams, ...]
    threads: bool = False
    probe: LockProbe | None = None

    def seams_of(self, client: int) -> Seams:
        """Return where a client can be stopped."""
        return self.seams[client] if isinstance(self.seams, tuple) else self.seams


@dataclass(frozen=True, slots=True)
class Run:
    """One schedule, and what became of it.

    Attributes:
        schedule: what was done, in order; `run_schedule` does it again by this name.
        outcomes: of each client's operation.
    """

    schedule: Schedule
    outcomes: tuple[Outcome, ...]


class _Chooser(Protocol):
    def choose(self, race: _Race) -> tuple[int, bool]:
        """Return the client whose step is granted next, and whether it is killed instead."""


def run_schedule(scenario: Scenario, schedule: Schedule | str, pool: ClientPool) -> Run:
    """Run clients in the order that a schedule says, as far as locks let them.

    A step ``P1:read`` lets the client run until it has done a step of that label, or has ended. A step of a
    client that waits for a lock is passed over; what the schedule leaves open is run to its end, the first
    client first. A schedule that a `Run` has recorded is repeated step by step: there, a step after
    ``P2:waits`` is the moment at which the client got its lock.

    Args:
        scenario: the store and the operations.
        schedule: or its name.
        pool: where clients come from.

    Raises:
        ConfigurationError: the schedule has a step of a client that the scenario has not, or can't be read.
        StuckError: a client said nothing in time, or all wait for each other.
    """
    wanted = Schedule.parse(schedule) if isinstance(schedule, str) else schedule
    for step in wanted:
        if step.client >= len(scenario.operations):
            raise ConfigurationError(
                f"schedule: {step} is of no client; there are {len(scenario.operations)}"
            )
    return _Race(scenario, pool).run(_Following(wanted))


def schedules(scenarios: Callable[[], Scenario], pool: ClientPool) -> Iterator[Run]:
    """Run every schedule that there is, each on a store of its own, and yield what became of it.

    The clients must be deterministic: the same grants lead to the same stops. The first schedule lets the first
    client run through; the others follow by changing the last choice that has an alternative left.

    Args:
        scenarios: makes the scenario anew, with a fresh store (or a fresh model) each time.
        pool: where clients come from.

    Raises:
        StuckError: as for `run_schedule`.
    """
    prefix: list[int] = []
    while True:
        search = _Searching(prefix)
        yield _Race(scenarios(), pool).run(search)
        for depth in reversed(range(len(search.taken))):
            later = [client for client in search.ready[depth] if client > search.taken[depth]]
            if later:
                prefix = [*search.taken[:depth], later[0]]
                break
        else:
            return


class _Searching:
    """Takes the choices of a prefix, then always the first client that can go on."""

    def __init__(self, prefix: Sequence[int]) -> None:
        self._prefix = prefix
        self.taken: list[int] = []
        self.ready: list[list[int]] = []

    def choose(self, race: _Race) -> tuple[int, bool]:
        ready = race.ready()
        depth = len(self.taken)
        wanted = self._prefix[depth] if depth < len(self._prefix) else 0
        # A prefix may not fit, where a lock's wait was recognized earlier or later than before. Never a client
        # before the wanted one then, whose schedules are done: so the search ends.
        client = min((client for client in ready if client >= wanted), default=ready[-1])
        self.taken.append(client)
        self.ready.append(ready)
        return client, False


class _Following:
    """Does what a schedule says, as far as locks let it."""

    def __init__(self, schedule: Schedule) -> None:
        self._steps = list(schedule)
        self._next = 0
        self._seen: dict[int, int] = {}
        self._waits = {step.client for step in schedule if step.label == WAITS}

    def choose(self, race: _Race) -> tuple[int, bool]:
        while self._next < len(self._steps):
            step = self._steps[self._next]
            if step.label == KILLED:
                self._next += 1
                if step.client not in race.outcomes:
                    return step.client, True
                continue
            if self._done(step, race):
                self._next += 1
                continue
            if step.client in race.stopped:
                return step.client, False
            if step.client in race.waiting and step.client in self._waits and step.label != WAITS:
                race.await_one([step.client])
                continue
            self._next += 1
        return race.ready()[0], False

    def _done(self, step: Step, race: _Race) -> bool:
        """Whether the client has done such a step since the last that was looked for."""
        labels = race.labels[step.client]
        for position in range(self._seen.get(step.client, 0), len(labels)):
            if labels[position] == step.label:
                self._seen[step.client] = position + 1
                return True
        return step.client in race.outcomes


class _Race:
    """The state of one run."""

    def __init__(self, scenario: Scenario, pool: ClientPool) -> None:
        self._scenario = scenario
        self._clients: list[Client] = pool.clients(len(scenario.operations), threads=scenario.threads)
        self._steps: list[Step] = []
        self.labels: list[list[str]] = [[] for _ in self._clients]
        self.stopped: set[int] = set()
        self.waiting: dict[int, bool] = {}
        """Clients behind a lock, and whether they wait to be told when to try again."""
        self.outcomes: dict[int, Outcome] = {}

    def run(self, chooser: _Chooser) -> Run:
        scenario = self._scenario
        for client in self._clients:
            client.open(scenario.opener)
        try:
            for number, operation in enumerate(scenario.operations):
                client = self._clients[number]
                client.send("call", client.packed((operation, scenario.seams_of(number))))
                self._take(number, client.answer())
            while len(self.outcomes) < len(self._clients):
                if not self.stopped:
                    self.await_one(list(self.waiting))
                    continue
                number, kill = chooser.choose(self)
                if kill:
                    self._kill(number)
                else:
                    self._grant(number)
                self._settle()
        except BaseException:
            for client in self._clients:  # in the middle of something, each of them
                client.end()
            raise
        return Run(
            Schedule(tuple(self._steps)), tuple(self.outcomes[number] for number in range(len(self._clients)))
        )

    def ready(self) -> list[int]:
        """The clients that can be granted a step."""
        return sorted(self.stopped)

    def await_one(self, numbers: list[int]) -> None:
        """Wait until one of these clients, which wait for a lock, has got it.

        Raises:
            StuckError: none did in time.
        """
        for number in numbers:
            if self.waiting[number]:
                self._retry(number)
                if number not in self.waiting:
                    return
        channels = {self._clients[n].channel: n for n in numbers if n in self.waiting and not self.waiting[n]}
        arrived: list[Any] = wait(list(channels), PATIENCE) if channels else []
        if not arrived:
            raise StuckError(
                f"after {Schedule(tuple(self._steps)) or 'the start'}: all clients wait for a lock"
            )
        for channel in arrived:
            self._take(channels[channel], self._clients[channels[channel]].answer())

    def _grant(self, number: int) -> None:
        """Let a client take its next step, up to its next stop, its end, or a lock that another holds."""
        client = self._clients[number]
        self.stopped.discard(number)
        client.send("go")
        started = idle_since = time.monotonic()
        while not client.channel.poll(_GLANCE):
            now = time.monotonic()
            if client.is_busy():
                idle_since = now
            if self._is_waiting(now - idle_since):
                self.waiting[number] = False
                self._record(number, WAITS)
                return
            if now - started > PATIENCE:
                raise StuckError(f"P{number + 1} said nothing for {PATIENCE:g} s")
        self._take(number, client.answer())

    def _is_waiting(self, idle: float) -> bool:
        """Whether the client that was granted a step, and has not finished it, waits for a lock."""
        if len(self.outcomes) + 1 == len(self._clients):
            return False  # nobody is left who could hold one
        known = self._scenario.probe.waiting() if self._scenario.probe else None
        if known is None:
            return idle > LOCK_LIMIT
        return known > sum(1 for told in self.waiting.values() if not told)

    def _settle(self) -> None:
        """Find out which of the waiting clients has got its lock by the step that was just taken."""
        for number in list(self.waiting):
            if self.waiting[number]:
                self._retry(number)
        behind = [number for number, told in self.waiting.items() if not told]
        deadline = time.monotonic() + LOCK_LIMIT
        while behind:
            known = self._scenario.probe.waiting() if self._scenario.probe else None
            arrived = wait([self._clients[n].channel for n in behind], 0)
            for number in behind:
                if self._clients[number].channel in arrived:
                    self._take(number, self._clients[number].answer())
            behind = [number for number in behind if number in self.waiting]
            if known is None:
                return  # who still waits is asked again when nobody else can go on
            if known >= len(behind) or time.monotonic() > deadline:
                return
            time.sleep(_GLANCE)

    def _retry(self, number: int) -> None:
        client = self._clients[number]
        client.send("retry")
        message = client.answer()
        if message[0] != "wait":
            self._take(number, message)

    def _kill(self, number: int) -> None:
        self._clients[number].end()
        self.stopped.discard(number)
        self.waiting.pop(number, None)
        self._record(number, KILLED)
        self.outcomes[number] = Outcome("died")

    def _take(self, number: int, message: tuple[Any, ...]) -> None:
        """Note what a client says."""
        kind = message[0]
        if kind == "wait":
            self.waiting[number] = True
            self._record(number, WAITS)
            return
        self.waiting.pop(number, None)
        if kind == "stop":
            self.stopped.add(number)
        else:
            self.outcomes[number] = message[2]
        if message[1]:
            self._record(number, message[1])

    def _record(self, number: int, label: str) -> None:
        self._steps.append(Step(number, label))
        self.labels[number].append(label)
