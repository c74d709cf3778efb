"""Three ways to lose data, by chosen schedules: lost update, torn read, crash half-way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import AIStorageError
from ..progress import AIProgress
from ..storage import AIStorage
from . import operations
from .clients import ClientPool
from .controller import Run, run_schedule, schedules
from .schedule import KILLED, Schedule, Step
from .subjects import Subject

__all__ = [
    "CRASH_BYSTANDERS",
    "LOST_UPDATE",
    "Finding",
    "crash_half_way",
    "lost_update",
    "torn_read",
]

LOST_UPDATE = "P1:read,P2:read,P2:write,P1:write"
"""Both read, both write. Where a lock or a compare-and-set is in the way, another schedule comes of it."""

CRASH_BYSTANDERS = 3
"""Models that were saved and acknowledged before a client crashes while saving one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of some schedules.

    Attributes:
        schedules: how many there were; for a crash, seams at which a client was killed.
        lost: in how many of them something that was acknowledged was lost, or nonsense was read.
        example: the name of the first of these schedules, by which it can be run again.
        what: what was seen there, in words.
    """

    schedules: int
    lost: int
    example: str | None = None
    what: str | None = None


class _Tally:
    def __init__(self) -> None:
        self._schedules = self._lost = 0
        self._example: str | None = None
        self._what: str | None = None

    def add(self, schedule: Schedule, violation: str | None) -> None:
        self._schedules += 1
        if violation is not None:
            self._lost += 1
            if self._example is None:
                self._example, self._what = str(schedule), violation

    def finding(self) -> Finding:
        return Finding(schedules=self._schedules, lost=self._lost, example=self._example, what=self._what)


def lost_update(subject: Subject, pool: ClientPool, *, schedule: str | None = LOST_UPDATE) -> Finding:
    """Let two clients count one model up by `AIStorage.update_progress`.

    Args:
        subject: the backend.
        pool: where clients come from.
        schedule: the one to run; None: all there are, of two updates and of an update beside a save.

    Returns:
        Lost are schedules in which fewer changes were kept than acknowledged.
    """
    tally = _Tally()

    def count(model: str) -> Callable[[AIStorage], AIProgress]:
        return functools.partial(operations.count_up, model_name=model)

    def save(model: str) -> Callable[[AIStorage], AIProgress]:
        return functools.partial(operations.save, model_name=model, mse=0.25)

    for second in (count,) if schedule is not None else (count, save):
        store, model = subject.fresh(), subject.model()

        def scenario(second: Callable[[str], Callable[[AIStorage], AIProgress]] = second):  # type: ignore[no-untyped-def]
            nonlocal store, model
            store, model = subject.fresh(), subject.model()
            return subject.scenario(store, count(model), second(model))

        runs = (
            [run_schedule(scenario(), schedule, pool)] if schedule is not None else schedules(scenario, pool)
        )
        for run in runs:
            tally.add(run.schedule, _missing_update(run, subject.observer(store), model))
    return tally.finding()


def _missing_update(run: Run, observer: AIStorage, model: str) -> str | None:
    acknowledged = sorted(outcome.value.version for outcome in run.outcomes if outcome.kind == "ok")
    for number, outcome in enumerate(run.outcomes):
        if outcome.kind != "ok":
            return f"P{number + 1} failed: {type(outcome.error).__name__}"
    try:
        kept = observer.get_progress(model)
    except AIStorageError as error:
        return f"{len(acknowledged)} acknowledged, then {type(error).__name__}"
    version = 0 if kept is None else kept.version
    if acknowledged != list(range(1, len(run.outcomes) + 1)) or version != len(acknowledged):
        versions = " and ".join(f"version {number}" for number in acknowledged)
        return f"{versions} acknowledged, version {version} kept"
    return None


def torn_read(subject: Subject, pool: ClientPool) -> Finding:
    """Let one client get a model while another saves it, in every order.

    Args:
        subject: the backend.
        pool: where clients come from.

    Returns:
        Lost are schedules in which the reader saw neither the old record nor the new one.
    """
    tally = _Tally()
    old: AIProgress | None = None

    def scenario():  # type: ignore[no-untyped-def]
        nonlocal old
        store, model = subject.fresh(), subject.model()
        old = operations.save(subject.observer(store), model, 0.5)
        return subject.scenario(
            store,
            functools.partial(operations.save, model_name=model, mse=0.25),
            functools.partial(operations.get, model_name=model),
        )

    for run in schedules(scenario, pool):
        written, read = run.outcomes
        violation = None
        if read.kind != "ok":
            violation = f"the reader got {type(read.error).__name__}"
        elif read.value is None:
            violation = "the reader found no record"
        elif read.value not in (old, written.value):
            violation = "the reader got a record that nobody wrote"
        tally.add(run.schedule, violation)
    return tally.finding()


def crash_half_way(subject: Subject, pool: ClientPool) -> Finding | None:
    """Kill a client by SIGKILL at each seam of a save and of an update.

    Args:
        subject: the backend.
        pool: where clients come from.

    Returns:
        Lost are crashes after which an acknowledged record is gone or can't be read, or nobody can write the
        model any more. None where clients are threads: none of them can crash alone.
    """
    if subject.threads:
        return None
    tally = _Tally()
    for operation in (functools.partial(operations.save, mse=0.25), operations.count_up):
        seams = 1  # the first run through tells how many there are
        for seam in range(1_000):
            if seam >= seams:
                break
            store = subject.fresh()
            names = [subject.model() for _ in range(CRASH_BYSTANDERS)]
            before = [operations.save(subject.observer(store), name, 0.5) for name in names]
            scenario = subject.scenario(store, functools.partial(operation, model_name=names[0]))
            if not seam:
                whole = run_schedule(scenario, Schedule(()), pool).schedule.steps
                seams = len(whole)
                before[0] = subject.observer(store).get_progress(names[0]) or before[0]
            run = run_schedule(scenario, Schedule((*whole[:seam], Step(0, KILLED))), pool)
            tally.add(run.schedule, _missing_after_crash(before, subject.observer(store)))
    return tally.finding()


def _missing_after_crash(before: list[AIProgress], observer: AIStorage) -> str | None:
    try:
        after = [observer.get_progress(record.model_name) for record in before]
    except AIStorageError as error:
        return f"{type(error).__name__}: all {len(before)} acknowledged records are gone"
    gone = sum(1 for old, new in zip(before, after, strict=True) if new is None or new.version < old.version)
    if gone:
        return f"{gone} of {len(before)} acknowledged records are gone"
    if after[1:] != before[1:]:
        return "a record that nobody touched has changed"
    try:
        again = operations.save(observer, before[0].model_name, 0.125)
    except AIStorageError as error:
        return f"the model can't be written any more: {type(error).__name__}"
    if after[0] is None or again.version != after[0].version + 1:
        return f"the next save took version {again.version}"
    return None
