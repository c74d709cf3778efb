"""Three ways to lose data, by chosen schedules: lost update, torn read, crash half-way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AIStorageError
from ..progress import AIProgress
from ..storage import AIStorage
from . import operations
from .clients import ClientPool
from .controller import Run, Scenario, run_schedule
from .enumeration import schedules
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


def lost_update(subject: Subject, pool: ClientPool, *, schedule: str | None = None) -> Finding:
    """Let two clients count one model up by `AIStorage.update_progress`.

    Args:
        subject: the backend.
        pool: where clients come from.
        schedule: the one to run, `LOST_UPDATE` for instance; None: all there are, of two updates and of an
            update beside a save.

    Returns:
        Lost are schedules in which fewer changes were kept than acknowledged, or one failed.
    """
    count, save = operations.count_up, functools.partial(operations.save, mse=0.25)
    tally = _Tally()
    for second in (count,) if schedule is not None else (count, save):
        case = _Case(subject, (count, second))
        for run in case.runs(pool, schedule):
            observer = subject.observer(case.store)
            tally.add(run.schedule, _missing_update(run, observer, case.model, (True, second is count)))
    return tally.finding()


def _missing_update(run: Run, observer: AIStorage, model: str, counting: Sequence[bool]) -> str | None:
    """What is wrong with the outcomes, given which of the operations count up; None if nothing is."""
    for number, outcome in enumerate(run.outcomes):
        if outcome.kind != "ok":
            return f"P{number + 1} failed: {type(outcome.error).__name__}"
    acknowledged = sorted(
        ((outcome.value, counts) for outcome, counts in zip(run.outcomes, counting, strict=True)),
        key=lambda pair: pair[0].version,
    )
    try:
        kept = observer.get_progress(model)
    except AIStorageError as error:
        return f"{len(acknowledged)} acknowledged, then {type(error).__name__}"
    versions = [record.version for record, _ in acknowledged]
    version = 0 if kept is None else kept.version
    if versions != list(range(1, len(versions) + 1)) or version != len(versions):
        said = " and ".join(f"version {number}" for number in versions)
        return f"{said} acknowledged, version {version} kept"
    before = 0
    for record, counts in acknowledged:
        if counts and record.training_samples != before + 1:
            return f"version {record.version} counted from {record.training_samples - 1}, not from {before}"
        before = record.training_samples or 0
    return None if kept == acknowledged[-1][0] else "what is stored is not what was acknowledged last"


def torn_read(subject: Subject, pool: ClientPool, *, schedule: str | None = None) -> Finding:
    """Let one client save a model while another gets it.

    Args:
        subject: the backend.
        pool: where clients come from.
        schedule: the one to run; None: all there are.

    Returns:
        Lost are schedules in which the reader saw neither the old record nor the new one.
    """
    tally = _Tally()
    case = _Case(subject, (functools.partial(operations.save, mse=0.25), operations.get), saved=0.5)
    for run in case.runs(pool, schedule):
        written, read = run.outcomes
        violation = None
        if read.kind != "ok":
            violation = f"the reader got {type(read.error).__name__}"
        elif read.value is None:
            violation = "the reader found no record"
        elif read.value not in (case.before, written.value):
            violation = "the reader got a record that nobody wrote"
        tally.add(run.schedule, violation)
    return tally.finding()


class _Case:
    """Operations on a store and a model that are new in each schedule.

    Args:
        subject: the backend.
        operations: one for each client; each is given ``model_name``.
        saved: the mse of a record that is there before; None: there is none.
    """

    def __init__(
        self, subject: Subject, operations: tuple[Callable[..., Any], ...], saved: float | None = None
    ) -> None:
        self._subject = subject
        self._operations = operations
        self._saved = saved
        self.before: AIProgress | None = None

    def runs(self, pool: ClientPool, schedule: str | None) -> Iterator[Run]:
        """Run one schedule, or all; meanwhile the store and the model are those of the last one."""
        if schedule is not None:
            yield run_schedule(self._scenario(), schedule, pool)
        else:
            yield from schedules(self._scenario, pool)

    def _scenario(self) -> Scenario:
        self.store, self.model = self._subject.fresh(), self._subject.model()
        if self._saved is not None:
            self.before = operations.save(self._subject.observer(self.store), self.model, self._saved)
        clients = [functools.partial(operation, model_name=self.model) for operation in self._operations]
        return self._subject.scenario(self.store, *clients)


def crash_half_way(subject: Subject, pool: ClientPool, *, schedule: str | None = None) -> Finding | None:
    """Kill a client by SIGKILL in the middle of a save or an update.

    Args:
        subject: the backend.
        pool: where clients come from.
        schedule: the one to run, of a save; None: one for each seam of a save, and of an update.

    Returns:
        Lost are crashes after which an acknowledged record is gone or can't be read, or nobody can write the
        model any more. None where clients are threads: none of them can crash alone.
    """
    if subject.threads:
        return None
    save = functools.partial(operations.save, mse=0.25)
    tally = _Tally()
    if schedule is not None:
        tally.add(*_crashed(subject, pool, save, Schedule.parse(schedule)))
        return tally.finding()
    for operation in (save, operations.count_up):
        case = _Case(subject, (operation,), saved=0.5)
        whole = next(case.runs(pool, None)).schedule.steps
        for seam in range(len(whole)):
            crash = Schedule((*whole[:seam], Step(0, KILLED)))
            tally.add(*_crashed(subject, pool, operation, crash))
    return tally.finding()


def _crashed(
    subject: Subject, pool: ClientPool, operation: Callable[..., Any], crash: Schedule
) -> tuple[Schedule, str | None]:
    store = subject.fresh()
    observer = subject.observer(store)
    given = observer.load_progress() if subject.is_filled else []
    before = [operations.save(observer, subject.model(), 0.5) for _ in range(CRASH_BYSTANDERS)]
    before += given
    client = functools.partial(operation, model_name=before[0].model_name)
    run = run_schedule(subject.scenario(store, client), crash, pool)
    return run.schedule, _missing_after_crash(before, observer)


def _missing_after_crash(before: list[AIProgress], observer: AIStorage) -> str | None:
    try:
        if len(before) == CRASH_BYSTANDERS:
            after = [observer.get_progress(record.model_name) for record in before]
        else:  # a file of many records is read at once
            kept = {record.model_name: record for record in observer.load_progress()}
            after = [kept.get(record.model_name) for record in before]
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
