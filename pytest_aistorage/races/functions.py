"""An application's functions in every order of their storage calls, on one store that is emptied in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from ..capabilities import Capability
from ..progress import AIProgress
from .calls import StorageCalls
from .clients import ClientPool
from .controller import LockProbe, Run, Scenario, run_schedule
from .errors import RaceError
from .exploration import Bound, Exploration, explore
from .given import pickled, refuse_idle
from .invariants import name_of, violated
from .judging import linearizable
from .schedule import KILLED, Schedule, Step
from .schedule_history import Recording, named_in
from .seams import Seams
from .stress import check_shared

__all__ = ["explore_functions"]

Function = Callable[[Any], Any]
"""An application's function: given a storage, it does something with it."""


def explore_functions(
    opener: Callable[[], Any],
    steps: Sequence[Function],
    *,
    setup: Function | None = None,
    invariant: Function | None = None,
    threads: bool | None = None,
    bound: Bound | int | None = None,
    kills: bool = False,
    replay: Schedule | str | None = None,
    pool: ClientPool | None = None,
    seams: Seams | None = None,
    probe: LockProbe | None = None,
    may_raise: tuple[type[Exception], ...] = (),
) -> Exploration:
    """Run functions in every order of their storage calls, each by a client of its own.

    Before each schedule **every model of the store is deleted** (`AIStorage.load_progress`,
    `AIStorage.delete_progress`), and `setup` is run: so each begins in the same state. What the functions do with
    anything but the storage that they are given must not differ from one schedule to the next either.

    Args:
        opener: opens one more client of the store; picklable, where clients are processes.
        steps: the functions, one for each client; importable by name, where clients are processes.
        setup: is given an empty storage before each schedule.
        invariant: is given a storage after each schedule; it raises AssertionError, or returns False or what is wrong
            in words, where something is not as it must be. None: what the clients were told, and what is left, must
            be linearizable.
        threads: whether clients are threads of this process; None: where the storage does not declare
            `Capability.SHARED_BETWEEN_PROCESSES`.
        bound: how far to go; see `explore`.
        kills: also kill a client at each of its stops; see `explore`.
        replay: run this schedule only.
        pool: where clients come from; None: one of its own.
        seams: where clients are stopped; None: `StorageCalls`.
        probe: how a wait for a lock is recognized.
        may_raise: what a function may raise; anything else that it raises is a failure.

    Raises:
        NotSharedError: a client does not see what another wrote.
        RaceError: a function can't be given to another process, or calling it would do nothing; or the store can't
            be emptied.
        ConfigurationError, StuckError: as for `explore`.
    """
    __tracebackhide__ = True  # what opener is given may be a URL with its password
    if pool is None:
        with ClientPool() as own:
            return explore_functions(
                opener,
                steps,
                setup=setup,
                invariant=invariant,
                threads=threads,
                bound=bound,
                kills=kills,
                replay=replay,
                pool=own,
                seams=seams,
                probe=probe,
                may_raise=may_raise,
            )
    if not steps:
        raise RaceError("nothing to explore: no function was given")
    refuse_idle((*steps, setup, invariant))
    with closing(opener()) as observer:
        stage = _Stage(opener, observer, tuple(steps), setup, threads, seams or StorageCalls(), probe)
        clients = pool.clients(len(steps), threads=stage.threads)
        for client in clients:
            client.open(opener)
        check_shared(clients, observer)
        if replay is None:
            # What is done once and never again must be no part of a schedule; and which models there will be.
            stage.learn(run_schedule(stage.scenario(), Schedule(()), pool))
        judge = _Judge(stage, invariant, may_raise)
        return explore(stage.scenario, judge, pool, bound=bound, kills=kills, replay=replay)


class _Stage:
    """The store, brought back to the same state before each schedule."""

    def __init__(
        self,
        opener: Callable[[], Any],
        observer: Any,
        steps: tuple[Function, ...],
        setup: Function | None,
        threads: bool | None,
        seams: Seams,
        probe: LockProbe | None,
    ) -> None:
        declared: frozenset[Capability] = getattr(observer, "capabilities", frozenset())
        self.threads = Capability.SHARED_BETWEEN_PROCESSES not in declared if threads is None else threads
        if seams.needs_process and self.threads:
            raise RaceError(f"{type(seams).__name__} need clients that are processes")
        if not self.threads:
            for (
                step
            ) in steps:  # now, while it has a name; a client is given it with what belongs to its schedule
                pickled(step, name_of(step))
        self.steps = steps
        self.observer = observer
        self._opener = opener
        self._setup = setup
        self._seams = seams
        self._probe = probe
        self._reused = Capability.VERSIONS_NEVER_REUSED not in declared
        self._known: set[str] = set()

    def scenario(self) -> Scenario:
        """Empty the store, and set it up."""
        recording = Recording(self.observer, len(self.steps), self._emptied(), reused=self._reused)
        if self._setup is not None:
            self._setup(recording.storage)
        return Scenario(
            opener=self._opener,
            operations=tuple(map(_Unanswered, self.steps)),
            seams=self._seams,
            threads=self.threads,
            probe=self._probe,
            recording=recording,
        )

    def learn(self, run: Run) -> None:
        """Note which models a schedule was about."""
        self._known |= named_in(run.history or ())

    def _emptied(self) -> dict[str, int]:
        """Delete all models; return the versions that this took.

        Raises:
            RaceError: it can't be done.
        """
        storage = self.observer
        try:
            there = {record.model_name for record in storage.load_progress()}
            gone = set() if self._reused else self._known - there
            for name in gone:
                # Deleted by the schedule before, at a version that perhaps nobody was told: this shows it.
                storage.save_progress(AIProgress(model_name=name, mse=0.0))
            taken = {name: storage.delete_progress(name) or 0 for name in sorted(there | gone)}
        except Exception as error:
            raise RaceError(
                f"the store can't be emptied for the next schedule: {type(error).__name__}: {error}"
            ) from error
        return {} if self._reused else taken


class _Unanswered:
    """A function of which nobody wants to know what it returns, which may be nothing that can be sent."""

    def __init__(self, step: Function) -> None:
        self._step = step

    def __call__(self, storage: Any) -> None:
        self._step(storage)


class _Judge:
    """What is wrong with a run: a function raised, the invariant does not hold, or the history is impossible."""

    def __init__(
        self, stage: _Stage, invariant: Function | None, may_raise: tuple[type[Exception], ...]
    ) -> None:
        self._stage = stage
        self._invariant = invariant
        self._may_raise = may_raise

    def __call__(self, run: Run) -> str | None:
        self._stage.learn(run)
        for number, outcome in enumerate(run.outcomes):
            who = f"P{number + 1} ({name_of(self._stage.steps[number])})"
            if outcome.error is not None and not isinstance(outcome.error, self._may_raise):
                return f"{who} raised {type(outcome.error).__name__}: {outcome.error}"
            if outcome.kind == "died" and Step(number, KILLED) not in run.schedule.steps:
                return f"{who} died"
        return (
            linearizable(run) if self._invariant is None else violated(self._invariant, self._stage.observer)
        )
