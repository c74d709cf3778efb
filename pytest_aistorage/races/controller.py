"""The controller: grants one step of one client at a time, so that an interleaving is chosen and not hoped for."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Protocol

from ..capabilities import Capability
from ..errors import ConfigurationError
from ..storage import AIStorage
from .clients import PATIENCE, Client, ClientPool
from .errors import RaceError, StuckError
from .history import Fault, History
from .history import Operation as Told
from .outcomes import Outcome
from .schedule import KILLED, WAITS, Schedule, Step
from .schedule_history import Recorded, Recording
from .seams import LOCK_LIMIT, Seams

__all__ = [
    "Chooser",
    "LockProbe",
    "Operation",
    "Race",
    "Run",
    "Scenario",
    "run_chosen",
    "run_schedule",
]

_GLANCE = 0.002
"""Seconds between two looks at whether a client waits."""

Operation = Callable[[AIStorage], Any]
"""What one client does with its storage; picklable, where clients are processes."""


class LockProbe(Protocol):
    """Asks a server how many clients of a store wait for a lock now."""

    def waiting(self) -> int | None:
        """Return how many; None where it can't be told, so that `Seams.lock_limit` decides."""

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
        probe: how a wait for a lock is recognized; None: by the `Seams.lock_limit`.
        recording: takes down what the clients do, and reads what is left; None: there is no history.
    """

    opener: Callable[[], AIStorage]
    operations: tuple[Operation, ...]
    seams: Seams | tuple[Seams, ...]
    threads: bool = False
    probe: LockProbe | None = None
    recording: Recording | None = None

    def seams_of(self, client: int) -> Seams:
        """Return where a client can be stopped."""
        seams = self.seams[client] if isinstance(self.seams, tuple) else self.seams
        return seams if self.recording is None else Recorded(seams, client + 1)


@dataclass(frozen=True, slots=True)
class Run:
    """One schedule, and what became of it.

    Attributes:
        schedule: what was done, in order; `run_schedule` does it again by this name.
        outcomes: of each client's operation.
        history: what the clients did with the storage and what was left, where the scenario has a recording.
        capabilities: what the storage declares, where the scenario has a recording.
    """

    schedule: Schedule
    outcomes: tuple[Outcome, ...]
    history: History | None = None
    capabilities: frozenset[Capability] = frozenset()


class Chooser(Protocol):
    """Decides how a race goes on."""

    def choose(self, race: Race) -> tuple[int, bool]:
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
    return Race(scenario, pool).run(_Following(wanted))


def run_chosen(scenario: Scenario, chooser: Chooser, pool: ClientPool) -> Run:
    """Run clients in the order that somebody chooses, step by step; see `run_schedule`."""
    return Race(scenario, pool).run(chooser)


class _Following:
    """Does what a schedule says, as far as locks let it."""

    def __init__(self, schedule: Schedule) -> None:
        self._steps = list(schedule)
        self._next = 0
        self._seen: dict[int, int] = {}
        self._waits = {step.client for step in schedule if step.label == WAITS}

    def choose(self, race: Race) -> tuple[int, bool]:
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

    def _done(self, step: Step, race: Race) -> bool:
        """Whether the client has done such a step since the last that was looked for."""
        labels = race.labels[step.client]
        for position in range(self._seen.get(step.client, 0), len(labels)):
            if labels[position] == step.label:
                self._seen[step.client] = position + 1
                return True
        return step.client in race.outcomes


class Race:
    """The state of one run.

    Attributes:
        stopped: the clients that can be granted a step.
        labels: of the steps that each client has done.
        outcomes: of the clients that have ended.
    """

    def __init__(self, scenario: Scenario, pool: ClientPool) -> None:
        self._scenario = scenario
        numbers = range(len(scenario.operations))
        self._lock_limit = max((scenario.seams_of(n).lock_limit for n in numbers), default=LOCK_LIMIT)
        self._clients: list[Client] = pool.clients(len(scenario.operations), threads=scenario.threads)
        self._steps: list[Step] = []
        self._told: list[tuple[Told, ...]] = [() for _ in self._clients]
        self._kills: list[Fault] = []
        self.labels: list[list[str]] = [[] for _ in self._clients]
        self.stopped: set[int] = set()
        self.waiting: dict[int, bool] = {}
        """Clients behind a lock, and whether they wait to be told when to try again."""
        self.outcomes: dict[int, Outcome] = {}

    def run(self, chooser: Chooser) -> Run:
        """Run it to its end; see `run_schedule`."""
        scenario = self._scenario
        for client in self._clients:
            client.open(scenario.opener)
        try:
            for number, operation in enumerate(scenario.operations):
                client = self._clients[number]
                client.send("call", client.packed((operation, scenario.seams_of(number))))
                self._await_step(number)
                begun = self.outcomes.get(number)
                if begun is not None and isinstance(begun.error, RaceError):
                    raise begun.error
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
        outcomes = tuple(self.outcomes[number] for number in range(len(self._clients)))
        run = Run(Schedule(tuple(self._steps)), outcomes)
        if scenario.recording is None:
            return run
        return dataclasses.replace(
            run,
            history=scenario.recording.finished([one for told in self._told for one in told], self._kills),
            capabilities=scenario.recording.capabilities,
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
        self.stopped.discard(number)
        self._clients[number].send("go")
        self._await_step(number)

    def _await_step(self, number: int) -> None:
        client = self._clients[number]
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
        if not self.stopped and not self.waiting:
            return False  # nobody is left who could hold one
        # Looked at before the server is asked: whoever has got its lock by then is not among those it counts.
        behind = self._behind()
        others = len(behind) - len(wait([self._clients[n].channel for n in behind], 0))
        known = self._scenario.probe.waiting() if self._scenario.probe else None
        if known is None:
            return idle > self._lock_limit
        return known > others

    def _behind(self) -> list[int]:
        """The clients that wait for a lock and will not be told when they have it."""
        return [number for number, told in self.waiting.items() if not told]

    def _settle(self) -> None:
        """Find out which of the waiting clients has got its lock by the step that was just taken."""
        for number in list(self.waiting):
            if self.waiting[number]:
                self._retry(number)
        behind = self._behind()
        deadline = time.monotonic() + PATIENCE
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
        self._kills.append(Fault("kill", time.monotonic_ns(), f"P{number + 1}"))
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
            self._told[number] = message[2]
        else:
            self.outcomes[number] = message[2]
            if message[2].kind != "died":  # else that is known which it told at its last stop
                self._told[number] = message[2].operations
        if message[1]:
            self._record(number, message[1])

    def _record(self, number: int, label: str) -> None:
        self._steps.append(Step(number, label))
        self.labels[number].append(label)
