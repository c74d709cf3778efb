"""Clients that are killed by SIGKILL in the middle of an operation, and what the others find then."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ... import model
from ...capabilities import Capability
from ...races.clients import Client
from ...races.controller import Scenario, run_schedule
from ...races.errors import RaceError, StuckError
from ...races.interruptions import crash, rehearse, worth_trying
from ...races.lines import Place, own_code
from ...races.operations import CountUp
from ...races.pool import clients_of, shared_pool
from ...races.schedule import KILLED, Schedule, Step
from ...races.seams import FileSeams
from ..effort import active
from ..files import touched_file
from ..steps import Call, Steps, Told, explain
from .clients import Clients
from .schedules import Violation, narrowed, record, state_of

__all__ = ["BATCH_CRASHES", "CRASHES", "PATIENCE", "Crash", "crashes", "reading", "writing_on"]

PATIENCE = 15.0
"""Seconds after which a client that nobody disturbs, but for one that was killed, is taken to wait for good."""


@dataclasses.dataclass(frozen=True, slots=True)
class Crash:
    """What a client is killed in, on models of which each was saved once before.

    Attributes:
        operation: given the names of the models.
        models: how many it is about; one more is there that it does not touch.
    """

    operation: Callable[..., model.Operation]
    models: int = 1


CRASHES = (
    Crash(lambda name: model.Save(record(name, 0.25, 7))),
    Crash(lambda name: model.Update(name, CountUp(name))),
    Crash(model.Delete),
)
BATCH_CRASHES = (
    Crash(
        lambda *names: model.SaveMany(tuple(record(name, 0.25, 7) for name in names)),
        models=3,
    ),
)


def reading(*names: str) -> list[model.Operation]:
    """What somebody does afterwards who only reads."""
    return [*map(model.Get, names), model.Load()]


def writing_on(*names: str) -> list[model.Operation]:
    """What somebody does afterwards who goes on writing."""
    return [model.Save(record(names[0], 0.125)), model.Update(names[-1], CountUp(names[-1]))]


def crashes(
    clients: Clients,
    cases: Sequence[Crash],
    after: Callable[..., Sequence[model.Operation]] = reading,
    *,
    everywhere: bool = False,
    must_answer: bool = False,
) -> Iterator[Violation | None]:
    """Kill a client at one place of an operation after the other; yield what is wrong then, or None.

    Args:
        clients: of the test.
        cases: in what they are killed.
        after: what another client does afterwards, given the names of all models.
        everywhere: at every place, and not only at as many as the effort allows.
        must_answer: whether it is wrong that the other client's operations fail, even without any effect.
    """
    with clients_of(clients.opener, 0, observers=1) as (observer,):
        for case in cases:
            names = [clients.new_name() for _ in range(case.models + 1)]
            killing = _Killing(clients, observer, case, names, after, must_answer)
            # Each place costs a process; a save is what is done most.
            share = 8 if case is cases[0] else 5
            yield from killing.found(None if everywhere else active()[0].interruptions * share // 8)


class _Killing:
    """Kills in one operation."""

    def __init__(
        self,
        clients: Clients,
        observer: Client,
        case: Crash,
        names: Sequence[str],
        after: Callable[..., Sequence[model.Operation]],
        must_answer: bool,
    ) -> None:
        self._clients = clients
        self._observer = observer
        self._names = names
        self._operation = case.operation(*names[:-1])
        self._after = after(*names)
        self._must_answer = must_answer
        self._own = own_code(clients.first)

    def found(self, budget: int | None) -> Iterator[Violation | None]:
        """Kill at the seams of a file, and at places of the code."""
        yield from self._at_files()
        places = self._rehearsed()
        # From the end: what is half done is done late.
        for number in reversed(worth_trying(places, budget)):
            before = self._saved()
            with self._victim() as victim:
                outcome = crash(victim, self._own, Steps((self._operation,)), number)
            if outcome.kind != "ok":  # otherwise it came to its end before this place
                schedule = f"P1:line{number},P1:killed"
                yield self._judged(before, schedule, str(places[number - 1]))

    def _at_files(self) -> Iterator[Violation | None]:
        """Between opening, truncating, writing and renaming, of which one line may do several."""
        self._saved()
        operation = Steps((self._operation,))
        with self._victim() as victim:
            path = touched_file(victim, operation)
        if path is None:
            return
        scenario = Scenario(opener=self._clients.opener, operations=(operation,), seams=FileSeams(path))
        self._saved()
        whole = run_schedule(scenario, Schedule(()), shared_pool()).schedule.steps
        for seam in range(len(whole)):
            before = self._saved()
            run = run_schedule(scenario, Schedule((*whole[:seam], Step(0, KILLED))), shared_pool())
            if run.outcomes[0].kind != "ok":
                yield self._judged(before, str(run.schedule), None)

    def _rehearsed(self) -> Sequence[Place]:
        with self._victim() as victim:
            for _ in range(2):  # what is done once and never again must be no part of it
                self._saved()
                places = rehearse(victim, Steps((self._operation,)), self._own)
        return places

    @contextmanager
    def _victim(self) -> Iterator[Client]:
        with clients_of(self._clients.opener, 1, processes=True) as (victim,):
            yield victim

    def _saved(self) -> list[Told]:
        told = self._looked([model.Save(record(name, 0.5, 0)) for name in self._names])
        for one in told:
            if not isinstance(one.result, model.Saved):
                raise RaceError(f"a save before the crash: {one.error}")
        return told

    def _looked(self, operations: Sequence[model.Operation]) -> list[Told]:
        self._observer.send("call", self._observer.packed((Steps(tuple(operations)), None)))
        outcome = self._observer.answer(PATIENCE)[2]
        if outcome.kind != "ok":
            raise RaceError(f"the other client {outcome.kind}") from outcome.error
        told: list[Told] = outcome.value
        return told

    def _judged(self, before: Sequence[Told], schedule: str, where: str | None) -> Violation | None:
        declared = self._clients.capabilities
        parts = _parts(self._operation, Capability.ATOMIC_BATCH in declared)
        # What it had sent may arrive behind what the other client did: it never returned.
        end = 2 * len(self._after) + 2
        calls = [Call(0, Told(part, None, "killed by SIGKILL", "unknown"), 0, end) for part in parts]
        why: list[str] = []
        try:
            seen = self._looked(self._after)
        except StuckError:
            why = [f"another client said nothing for {PATIENCE:g} s afterwards"]
        else:
            calls += [
                Call(2, narrowed(told, self._names), 2 * turn, 2 * turn + 1)
                for turn, told in enumerate(seen, 1)
            ]
            why = [
                f"another client met {told.error}"
                for told in seen
                if told.effect == "broken" or (self._must_answer and told.result is None)
            ] or explain(calls, state_of(before), reused=Capability.VERSIONS_NEVER_REUSED not in declared)
        if not why:
            return None
        return Violation(
            schedule=schedule,
            placement="P1 is a process that is killed by SIGKILL in the middle of its operation",
            where=where,
            before=tuple(before),
            calls=tuple(calls),
            why=tuple(why),
        )


def _parts(operation: model.Operation, whole: bool) -> Sequence[model.Operation]:
    """A batch that is not atomic may have been done in part."""
    if isinstance(operation, model.SaveMany) and not whole:
        return [model.Save(progress) for progress in operation.progresses]
    return [operation]
