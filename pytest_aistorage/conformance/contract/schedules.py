"""Two clients by every schedule with one preemption, judged by the sequential specification."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from ... import model
from ...capabilities import Capability
from ...errors import UnsupportedOperationError
from ...progress import AIProgress
from ...races.clients import Client
from ...races.controller import Scenario, run_schedule
from ...races.enumeration import schedules
from ...races.errors import RaceError
from ...races.interruptions import Coverage, Interruption, interrupt, interruptions, rehearse
from ...races.lines import Place, own_code
from ...races.outcomes import Outcome
from ...races.pool import clients_of, shared_pool
from ...races.schedule import WAITS, Schedule
from ...races.seams import FileSeams
from ..effort import active
from ..files import touched_file
from ..steps import Call, Steps, Told, described, explain, outline, shown
from .clients import Clients

__all__ = ["Case", "Race", "Violation", "narrowed", "nothing", "races", "record", "state_of"]


_BEYOND = 1 << 40  # a place that no operation comes to: the first client runs to its end


def record(model_name: str, mse: float, samples: int | None = None) -> AIProgress:
    """Return a record that can be told from others by its mse."""
    return AIProgress(model_name=model_name, mse=mse, training_samples=samples)


def nothing(*names: str) -> list[model.Operation]:
    """What was done before, where the models are new."""
    return []


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """What two clients do at once, on models that nobody else uses. Versions are given as if the first were 1.

    Attributes:
        first: the operation of the client that is interrupted, given the names of the models.
        second: those of the other, one after the other.
        before: saves that were done before both; `nothing`: the models are new.
        models: how many models.
    """

    first: Callable[..., model.Operation]
    second: Callable[..., Sequence[model.Operation]]
    before: Callable[..., Sequence[model.Operation]] = lambda *names: [
        model.Save(record(name, 0.5, 0)) for name in names
    ]
    models: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """A schedule that no order of its operations explains.

    Attributes:
        schedule: its name.
        placement: what the clients were, in words.
        where: where the first was interrupted; None where the schedule says all.
        before: what was told of the operations before.
        calls: of the two clients, and of the one who looked afterwards.
        why: what contradicts each order.
    """

    schedule: str
    placement: str
    where: str | None
    before: tuple[Told, ...]
    calls: tuple[Call, ...]
    why: tuple[str, ...]

    def text(self, anomaly: str) -> str:
        """Return all of it, to be read by the storage's author."""
        lines = [
            f"{anomaly}: two clients, {self.placement}",
            f"  schedule: {self.schedule}",
            f"  replay: this test with --ai-storage-replay={self.schedule}",
        ]
        if self.where:
            lines.append(f"  P1 was interrupted at {self.where}")
        lines += [f"  before: {_sentence(told)}" for told in self.before]
        for call in self.calls:
            who = f"P{call.client + 1}" if call.client < 2 else "then"
            lines.append(f"  {who}: {_sentence(call.told)}")
        lines.append("  no order of these operations explains that:")
        return "\n".join([*lines, *(f"    {why}" for why in self.why)])

    def facts(self, anomaly: str) -> dict[str, Any]:
        """Return it as plain values, for the report."""
        return {
            "anomaly": anomaly,
            "schedule": self.schedule,
            "steps": [
                {
                    "client": f"P{call.client + 1}" if call.client < 2 else "then",
                    "label": _sentence(call.told),
                    "start": call.called,
                    "end": call.returned,
                }
                for call in self.calls
            ],
            "why": "; ".join(self.why),
        }


def _sentence(told: Told) -> str:
    return f"{described(told.operation)} -> {told.error or shown(told.result)}"


def narrowed(told: Told, names: Sequence[str]) -> Told:
    """Return what was told without the models of other cases."""
    if not isinstance(told.result, model.Listed):
        return told
    ours = [one for one in told.result.records if getattr(one, "model_name", names[0]) in names]
    return dataclasses.replace(told, result=model.Listed(tuple(ours)))


@contextmanager
def races(clients: Clients) -> Iterator[list[Race]]:
    """The ways in which two clients of the store can race: as threads, and as processes where it is shared."""
    shared = Capability.SHARED_BETWEEN_PROCESSES in clients.capabilities
    with clients_of(clients.opener, 2, observers=1) as (one, other, observer):
        found = [Race(clients, (one, other), observer, processes=False)]
        if not shared:
            yield found
            return
        try:
            with clients_of(clients.opener, 2, processes=True) as pair:
                yield [*found, Race(clients, pair, observer, processes=True)]
        except UnsupportedOperationError:  # no processes on this system: the threads are what there is
            yield found


class Race:
    """Two clients of a store, and one who looks.

    Args:
        clients: of the test.
        pair: those that race.
        observer: a client that is a thread of this process.
        processes: whether the two are processes of their own.

    Attributes:
        coverage: how many schedules there were.
        placement: what the two clients are, in words.
        processes: whether they are processes.
    """

    def __init__(
        self, clients: Clients, pair: Sequence[Client], observer: Client, *, processes: bool
    ) -> None:
        self.coverage = Coverage()
        self._clients = clients
        self._pair = list(pair)
        self._observer = observer
        self.processes = processes
        self.placement = (
            "each in a process of its own"
            if processes
            else "threads of one process, each with a client of its own"
        )
        self._own = own_code(clients.first)
        self._reused = Capability.VERSIONS_NEVER_REUSED not in clients.capabilities

    def violations(self, case: Case, *, everywhere: bool = False) -> Iterator[Violation]:
        """Run the schedules of a case; yield those that nothing explains.

        Args:
            case: what to do.
            everywhere: at every place, and not only at as many as the effort allows.
        """
        budget = None if everywhere else active()[0].interruptions
        yield from self._by_lines(case, budget)
        if self.processes:
            yield from self._by_files(case, budget)

    def replayed(self, case: Case, name: str) -> Iterator[Violation]:
        """Run one schedule of a case by its name; yield it, if nothing explains what comes of it.

        Args:
            case: what to do.
            name: as of `Violation.schedule`.
        """
        self.coverage.complete = False
        schedule = Schedule.parse(name)
        stopped = [int(step.label[4:]) for step in schedule if re.fullmatch("line[0-9]+", step.label)]
        if stopped or {step.label for step in schedule} <= {"run", WAITS}:
            yield from self._by_lines(case, None, stopped[0] if stopped else _BEYOND)
        elif self.processes:
            yield from self._by_files(case, None, schedule)

    def _by_lines(self, case: Case, budget: int | None, only: int | None = None) -> Iterator[Violation]:
        names = self.names(case)
        for _ in range(2):  # what is done once and never again must be no part of it
            trial = _Trial(self, case, names)
            places = rehearse(self._pair[0], trial.first, self._own)
            trial.clean()
        judged: list[Violation | None] = []

        def run(place: int) -> tuple[Interruption, object]:
            trial = _Trial(self, case, names)
            done = interrupt(self._pair, self._own, trial.first, trial.second, place)
            violation, what = trial.judged(done.schedule, done.outcomes, done.overlapped, _at(done, places))
            judged.append(violation)
            return done, what

        if only is not None:
            run(only)
            self.coverage.schedules += 1
            yield from (violation for violation in judged if violation is not None)
            return
        for _ in interruptions(places, budget, run, self.coverage):
            if (violation := judged[-1]) is not None:
                yield violation

    def _by_files(self, case: Case, budget: int | None, only: Schedule | None = None) -> Iterator[Violation]:
        names = self.names(case)
        trial = _Trial(self, case, names)
        path = touched_file(self._pair[0], trial.first)
        trial.clean()
        if path is None:
            return
        trials: list[_Trial] = []

        def scenario() -> Scenario:
            trials.append(_Trial(self, case, names))
            return Scenario(
                opener=self._clients.opener,
                operations=(trials[-1].first, trials[-1].second),
                seams=FileSeams(path),
            )

        pool = shared_pool()
        runs = schedules(scenario, pool) if only is None else iter([run_schedule(scenario(), only, pool)])
        for number, run in enumerate(runs, 1):
            self.coverage.schedules += 1
            violation, _ = trials[-1].judged(run.schedule, run.outcomes, True, None)
            if violation is not None:
                yield violation
            if number == budget:
                self.coverage.complete = False
                return

    def names(self, case: Case) -> list[str] | None:
        """The models of a case, the same for all of its schedules; None: each has new ones.

        The store must not grow from one schedule to the next: where one operation touches all that there is, it
        would have ever more places.
        """
        reused = case.before is not nothing
        return [self._clients.new_name() for _ in range(case.models)] if reused else None

    def look(self, operations: Sequence[model.Operation]) -> list[Told]:
        """Let the observer do something, and return what it was told.

        Raises:
            StuckError: it was told nothing in time.
        """
        outcome = self._observer.call(Steps(tuple(operations)))
        if outcome.kind != "ok":
            raise RaceError(f"the observer {outcome.kind}") from outcome.error
        told: list[Told] = outcome.value
        return told


def state_of(before: Sequence[Told]) -> model.State:
    """Return the state of the specification after saves, with the versions that they were told."""
    state = model.EMPTY
    for told in before:
        if isinstance(told.result, model.Saved):
            saved = dataclasses.replace(told.result.record, created_at=None, updated_at=None)
            state = state.replaced(saved.model_name, model.ModelState(saved.version, saved))
    return state


class _Trial:
    """One schedule's models, from what is saved before it to what is looked at afterwards."""

    def __init__(self, race: Race, case: Case, names: list[str] | None) -> None:
        self._race = race
        self._fresh = names is None
        self._names = names or [race._clients.new_name() for _ in range(case.models)]
        before = case.before(*self._names)
        self._before = tuple(race.look(before)) if before else ()
        for told in self._before:
            if not isinstance(told.result, model.Saved) or not isinstance(told.result.record, AIProgress):
                pytest.fail(f"before the race: {_sentence(told)}", pytrace=False)
        self._state = state_of(self._before)
        self._bases = {name: self._state[name].version for name in self._names}
        self.first = Steps((self._shifted(case.first(*self._names)),))
        self.second = Steps(tuple(map(self._shifted, case.second(*self._names))))

    def _shifted(self, operation: model.Operation) -> model.Operation:
        """The operation with the version that it expects, where cases are written as if they began at version 1."""
        expected = getattr(operation, "expected_version", None)
        if not expected or not isinstance(operation, (model.Save, model.Delete)):
            return operation
        version = expected - 1 + self._bases[operation.model_name]
        return dataclasses.replace(operation, expected_version=version)

    def judged(
        self, schedule: Schedule, outcomes: Sequence[Outcome], overlapped: bool, where: str | None
    ) -> tuple[Violation | None, object]:
        """Return the violation, if what came of a schedule is one; and what came of it, to be compared."""
        calls = []
        for client, outcome in enumerate(outcomes):
            if outcome.kind != "ok":
                raise RaceError(f"P{client + 1} {outcome.kind} after {schedule}") from outcome.error
            for number, told in enumerate(outcome.value):
                # The interrupted one's single operation spans all of the other's, unless it had ended before.
                start = 0 if client == 0 else 2 * number + (1 if overlapped else 2)
                end = 2 * len(self.second.operations) + 1 if client == 0 and overlapped else start + 1
                calls.append(Call(client, narrowed(told, self._names), start, end))
        looks: list[model.Operation] = [*(model.Get(name) for name in self._names), model.Load()]
        end = max(call.returned for call in calls) + 1
        for number, told in enumerate(self._race.look(looks)):
            calls.append(Call(2, narrowed(told, self._names), end + 2 * number, end + 2 * number + 1))
        why = [
            f"{_sentence(call.told)} by P{call.client + 1}" for call in calls if call.told.effect == "broken"
        ]
        why = why or explain(calls, self._state, reused=self._race._reused)
        self.clean()
        what = [outline(call.told, self._bases) for call in calls]
        if not why:
            return None, what
        placement = self._race.placement
        return Violation(str(schedule), placement, where, self._before, tuple(calls), tuple(why)), what

    def clean(self) -> None:
        """Leave nothing behind of models that are not used again."""
        if self._fresh:
            self._race.look([model.Delete(name) for name in self._names])


def _at(done: Interruption, places: Sequence[Place]) -> str | None:
    """Where the first client was interrupted, in words."""
    stopped = [
        int(step.label.removeprefix("line")) for step in done.schedule if step.label.startswith("line")
    ]
    return str(places[stopped[0] - 1]) if stopped and stopped[0] <= len(places) else None
