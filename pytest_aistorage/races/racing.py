"""Racing in one call: an application's functions, or a workload, on a test's store; a failure says what went wrong.

`Racing` is what the fixture ``ai_storage_race`` hands out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..capabilities import Capability
from .clients import ClientPool
from .errors import RaceError
from .exploration import Bound, Exploration
from .functions import explore_functions
from .given import refuse_idle
from .invariants import violated
from .page import write_page
from .stress import Injector, RaceResult, run_race
from .timeline import describe
from .workloads import Functions, Workload

__all__ = ["Racing"]

Step = Callable[[Any], Any]
"""An application's function: given a storage, it does something with it."""


class Racing:
    """Races on one store.

    Args:
        opener: opens one more client of the store; picklable, where clients are processes.
        pool: where clients come from.
        directory: where to write the history and the timeline of a race that failed.
        name: of the storage, for messages.
        seed: of what is random.
        replay: the schedule that `explore` runs instead of all; None: all.
        test: the test's node id, by which pytest runs it again.
    """

    def __init__(
        self,
        opener: Callable[[], Any],
        pool: ClientPool,
        directory: Path,
        *,
        name: str = "",
        seed: int = 0,
        replay: str | None = None,
        test: str | None = None,
    ) -> None:
        self._opener = opener
        self._pool = pool
        self._directory = directory
        self._name = name
        self._seed = seed
        self._replay = replay
        self._test = test
        self._races = 0

    def __call__(
        self,
        *work: Workload | Step,
        processes: int = 4,
        threads: int = 1,
        operations: int = 200,
        seconds: float | None = None,
        setup: Step | None = None,
        invariant: Step | None = None,
        faults: Injector | None = None,
        seed: int | None = None,
        time_limit: float = 120.0,
    ) -> RaceResult:
        """Let clients loose on the store at once; check what they were told, and what they left.

        The history must be linearizable, nothing acknowledged may be lost, nothing may be raised but the errors of
        `AIStorage`, and the invariant must hold.

        Args:
            work: a workload; or functions of your own, which are given a storage: client n calls the n-th one, again
                and again. At a module's top level, where clients are processes.
            processes: how many; 0: the clients are threads of this process. So they are also where the storage does
                not declare `Capability.SHARED_BETWEEN_PROCESSES`.
            threads: how many in each process, with a client each.
            operations: how often the work is done, by all clients together.
            seconds: after how many no client begins again; then `operations` is only the most that is done.
            setup: is given a storage before the race.
            invariant: is given a storage after the race; it raises AssertionError, or returns False, where something
                is not as it must be.
            faults: what is done to the server meanwhile.
            seed: of what is random; None: the run's.
            time_limit: seconds, beyond `seconds`, after which a client is given up.

        Returns:
            The history, the balance and the check.

        Raises:
            AssertionError: what was found, with the timeline; the history is written beside it.
            NotSharedError: a client does not see what another wrote.
            RaceError: the race could not be run.
        """
        __tracebackhide__ = True
        workload = _workload(work)
        refuse_idle([invariant])
        result = run_race(
            self._opener,
            workload,
            processes=processes,
            threads=threads,
            operations=operations,
            seconds=seconds,
            seed=self._seed if seed is None else seed,
            time_limit=time_limit,
            pool=self._pool,
            faults=faults,
            setup=setup,
        )
        self._races += 1
        if problem := self._problem(result, invariant):
            raise AssertionError(problem)
        return result

    def explore(
        self,
        *steps: Step,
        setup: Step | None = None,
        invariant: Step | None = None,
        bound: Bound | None = None,
        kills: bool = False,
    ) -> Exploration:
        """Run your functions in every order of their storage calls, each function by a client of its own.

        Between two schedules every model of the store is deleted and `setup` is run again.

        Args:
            steps: two functions or more.
            setup: is given an empty storage before each schedule.
            invariant: is given a storage after each schedule; it raises AssertionError, or returns False, where
                something is not as it must be. None: only the storage itself is judged, by its history.
            bound: how far to go; None: all schedules of two clients, those with two preemptions of more.
            kills: whether a client is also killed at each of its stops; needs clients that are processes.

        Returns:
            How many schedules there were.

        Raises:
            AssertionError: one of them fails; the message has the shortest that was found, by the name of which it is
                run again: ``pytest --ai-storage-replay=…``.
            RaceError: they could not be run.
        """
        __tracebackhide__ = True
        found = explore_functions(
            self._opener,
            steps,
            setup=setup,
            invariant=invariant,
            bound=bound,
            kills=kills,
            replay=self._replay,
            pool=self._pool,
        )
        if found.failing:
            raise AssertionError(found.text(self._test))
        return found

    # -- what is wrong --------------------------------------------------------------------------------------

    def _problem(self, result: RaceResult, invariant: Step | None) -> str | None:
        """Say what is wrong with a race, in the order of how much it explains; None: nothing is."""
        balance = result.balance
        if result.failures:
            first = result.failures[0]
            problem = (
                f"{len(result.failures)} times the code that raced raised something of its own; first "
                f"P{first.client + 1}: {first.error}\n{first.trace}"
            )
        elif not result.check:
            problem = describe(result.check, result.history, name=self._name, balance=balance)
            if Capability.LINEARIZABLE not in result.capabilities:
                problem += (
                    f"\n{self._name or 'The storage'} does not declare LINEARIZABLE. To race only on storages that "
                    "do: @pytest.mark.ai_storage(requires={Capability.LINEARIZABLE})"
                )
        elif not balance.is_whole:
            problem = f"{self._name}: {balance}"
        elif invariant is not None and (wrong := self._violated(invariant)):
            problem = (
                f"{wrong}\nThe storage kept its promises ({describe(result.check, result.history)}; {balance}), so "
                "it is the code that raced which does not fit together. ai_storage_race.explore() finds the "
                "shortest order of its storage calls that shows it."
            )
        else:
            return None
        return self._told(result, problem)

    def _violated(self, invariant: Step) -> str | None:
        with contextlib.closing(self._opener()) as storage:
            return violated(invariant, storage)

    def _told(self, result: RaceResult, problem: str) -> str:
        """Add who raced, and where history and timeline were written."""
        self._directory.mkdir(parents=True, exist_ok=True)
        history = self._directory / f"race-{self._races}.jsonl"
        page = history.with_suffix(".html")
        result.history.dump(history)
        write_page(page, result.check, result.history, name=self._name, balance=result.balance)
        kind = "processes" if result.processes else "threads"
        return (
            f"{problem}\n{result.clients} clients as {kind}, {result.elapsed:.2f} s, seed {result.seed}\n"
            f"Timeline: {page.as_uri()}\nHistory: aistorage check {history}"
        )


def _workload(work: Sequence[Workload | Step]) -> Workload:
    """The workload that was given, or one of the functions that were.

    Raises:
        RaceError: it is neither.
    """
    if len(work) == 1 and isinstance(work[0], Workload):
        return work[0]
    functions = tuple(step for step in work if not isinstance(step, Workload) and callable(step))
    if not work or len(functions) != len(work):
        raise RaceError(f"a race is of one workload, or of functions, not of {work!r}")
    return Functions(steps=functions)
