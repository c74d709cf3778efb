"""All schedules of some clients, judged one by one; the first that fails is replayed and made as short as can be."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import ConfigurationError
from .clients import ClientPool
from .controller import Run, Scenario, run_schedule
from .enumeration import enumerate_schedules
from .judging import linearizable
from .schedule import WAITS, Schedule, Step

__all__ = ["MOST_PREEMPTIONS", "MOST_SCHEDULES", "Bound", "Exploration", "Judge", "Shrunk", "explore"]

MOST_SCHEDULES = 2000
"""Schedules after which an exploration is cut off, where nobody has set another bound."""

MOST_PREEMPTIONS = 2
"""Preemptions in a schedule of three clients and more, where nobody has set another bound."""

_SHRINKING = 200  # runs that a schedule may be shortened by

Judge = Callable[[Run], str | None]
"""Says what is wrong with a run; None: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How far an exploration goes.

    Attributes:
        preemptions: how many a schedule may have; None: any number.
        schedules: after how many to stop, those with fewer preemptions first; None: never.
        kills: how many clients of one schedule are killed, where clients are killed at all.

    Raises:
        ConfigurationError: no schedule would be left, or no client to be killed.
    """

    preemptions: int | None = None
    schedules: int | None = None
    kills: int = 1

    def __post_init__(self) -> None:
        cut = 1 if self.schedules is None else self.schedules
        if (self.preemptions or 0) < 0 or cut < 1 or self.kills < 1:
            raise ConfigurationError(f"within {self} there is nothing to explore")

    @classmethod
    def usual(cls, clients: int) -> Bound:
        """Return the bound where none was set: none on the preemptions of two clients, and a cut in any case."""
        return cls(preemptions=None if clients < 3 else MOST_PREEMPTIONS, schedules=MOST_SCHEDULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """The shortest name found of a schedule that fails; what it leaves open goes on by itself.

    Attributes:
        schedule: the name.
        whole: all of its steps.
        what: what was wrong when it was run.
    """

    schedule: str
    whole: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What came of all schedules. True where none has failed.

    Attributes:
        clients: how many took part.
        granularity: what a step was.
        schedules: how many schedules were run, those with a kill among them.
        killing: in how many of them a client was killed.
        failing: how many of all failed.
        serial: how many of these had neither a preemption nor a kill: one client after the other.
        bound: how far it was to go; None: one schedule was replayed by its name.
        complete: whether all schedules within the bound on preemptions were run.
        preemptions: up to how many preemptions all schedules were run.
        astray: how many did not go as planned, because waits for locks were recognized at other moments.
        unkillable: whether clients were to be killed, and are threads.
        example: the name of the first schedule that failed.
        what: what was wrong there.
        reproduced: whether it failed again when it was run by its name; None: nothing has failed.
        shrunk: a shorter schedule that fails; None: there is none, or nothing was reproduced.
    """

    clients: int
    granularity: str
    schedules: int
    killing: int = 0
    failing: int = 0
    serial: int = 0
    bound: Bound | None = None
    complete: bool = True
    preemptions: int | None = None
    astray: int = 0
    unkillable: bool = False
    example: str | None = None
    what: str | None = None
    reproduced: bool | None = None
    shrunk: Shrunk | None = None

    def __bool__(self) -> bool:
        return not self.failing

    @property
    def replay(self) -> str | None:
        """The schedule to be replayed: the shortest that is known to fail."""
        return self.shrunk.schedule if self.shrunk is not None else self.example

    @property
    def claim(self) -> str:
        """What was shown, and no more than that."""
        if self.bound is None:
            return f"{'violation' if self.failing else 'no violation'} in the one schedule that was replayed"
        only = self._is_all and self.schedules == 1
        number = f"{'all ' * self._is_all}{self.schedules} schedule{'s' * (self.schedules != 1)}"
        number = f"{'the only schedule' if only else number} of {_clients(self.clients)}"
        limits = "" if self._is_all else f" ({self._limits})"
        where = f"{number}{limits} at the granularity of {self.granularity}"
        if not self.failing:
            said = f"no violation in {where}"
        else:
            said = f"{where} fails" if only else f"{self.failing} of {where} fail"
        if self.killing:
            said += f"; a client was killed by SIGKILL in {self.killing} of the schedules"
        if self.unkillable:
            said += "; none was killed, since they are threads of one process"
        if self.astray:
            said += f"; {self.astray} could not be steered as planned, because locks were waited for at other moments"
        return said

    @property
    def _is_all(self) -> bool:
        return bool(self.bound and self.bound.preemptions is None and self.complete and not self.astray)

    @property
    def _limits(self) -> str:
        assert self.bound is not None
        if self.complete and self.bound.preemptions is None:
            return "all that could be steered"
        if self.complete:
            return f"all with at most {_preemptions(self.bound.preemptions or 0)}"
        if self.preemptions is None:
            return "cut off there, not exhaustive"
        return (
            f"cut off there, not exhaustive; all with at most {_preemptions(self.preemptions)} are among them"
        )

    def text(self, test: str | None = None, *, name: str = "") -> str:
        """Say what came of it, for an assertion's message.

        Args:
            test: the test's node id, by which pytest runs the schedule again.
            name: of the storage.
        """
        claim = self.claim[0].upper() + self.claim[1:] + "."
        lines = [f"{name}: {claim}" if name else claim]
        if not self.failing:
            return lines[0]
        if self.serial:
            lines.append(
                f"{self.serial} of these fail although the clients run one after the other: it takes no race."
            )
        lines.append(f"Schedule: {self.example}")
        if not self.reproduced:
            lines.append(
                "Not reproduced: run again by this name it did not fail. The clients are not deterministic."
            )
        what = self.what or ""
        if self.shrunk is not None:
            rest = f" (and so on: {self.shrunk.whole})" * (self.shrunk.schedule != self.shrunk.whole)
            lines.append(f"Shrunk:   {self.shrunk.schedule}{rest}")
            what = self.shrunk.what
        lines.append(what)
        if test is not None:
            lines.append(f"Replay: pytest {shlex.quote(test)} --ai-storage-replay={self.replay}")
        return "\n".join(lines)


def _clients(number: int) -> str:
    return f"{number} client{'s' * (number != 1)}"


def _preemptions(number: int) -> str:
    return f"{number} preemption{'s' * (number != 1)}" if number else "no preemption"


def explore(
    scenarios: Callable[[], Scenario],
    judge: Judge = linearizable,
    pool: ClientPool | None = None,
    *,
    bound: Bound | int | None = None,
    kills: bool = False,
    replay: Schedule | str | None = None,
) -> Exploration:
    """Run all schedules up to a bound, and judge each.

    Args:
        scenarios: makes the scenario anew, with a fresh store (or the same state of it) each time.
        judge: says what is wrong with a run; by default its history must be linearizable, for which scenarios need
            a `Recording`.
        pool: where clients come from; None: one of its own.
        bound: how far to go, or how many preemptions a schedule may have; None: `Bound.usual`, all schedules of two
            clients and those of more with two preemptions.
        kills: also kill a client by SIGKILL, at each seam of each schedule within the bound; the others go on.
            Clients that are threads can't be killed, and the result says so.
        replay: run this schedule only.

    Raises:
        ConfigurationError: the schedule to be replayed has a step of a client that there is not; or nothing is wrong
            with it, and a step of it never came: a name that has grown stale shows nothing.
        StuckError: a client said nothing in time, or all wait for each other.
        RaceError: a client can't load what it is to do.
    """
    if pool is None:
        with ClientPool() as own:
            return explore(scenarios, judge, own, bound=bound, kills=kills, replay=replay)
    if isinstance(bound, int):
        bound = Bound(preemptions=bound, schedules=MOST_SCHEDULES)
    return _Explorer(scenarios, judge, pool).explored(bound, kills, replay)


def _check_took_place(wanted: Schedule, run: Schedule) -> None:
    """Fail if a step of the one schedule is not in the other; waits for locks come and go.

    Raises:
        ConfigurationError: naming the step.
    """
    left = Counter(run.steps)
    for step in wanted:
        if step.label == WAITS:
            continue
        left[step] -= 1
        if left[step] < 0:
            raise ConfigurationError(
                f"schedule {wanted}: its step {step} never came; what took place is {run}, and nothing is wrong there"
            )


class _Explorer:
    def __init__(self, scenarios: Callable[[], Scenario], judge: Judge, pool: ClientPool) -> None:
        self._scenarios = scenarios
        self._judge = judge
        self._pool = pool

    def explored(self, bound: Bound | None, kills: bool, replay: Schedule | str | None) -> Exploration:
        last = self._scenarios()
        clients, granularity = len(last.operations), last.seams_of(0).granularity
        if replay is not None:
            run = run_schedule(last, replay, self._pool)
            what = self._judge(run)
            if what is None:
                _check_took_place(Schedule.parse(str(replay)), run.schedule)
            return Exploration(
                clients=clients,
                granularity=granularity,
                schedules=1,
                failing=int(what is not None),
                example=None if what is None else str(replay),
                what=what,
                reproduced=None if what is None else True,
            )
        bound = bound or Bound.usual(clients)
        schedules = killing = failing = serial = astray = 0
        first: tuple[Run, str] | None = None
        complete, deepest = True, (0, 0)
        ready: list[Scenario] = [last]
        for found in enumerate_schedules(
            lambda: ready.pop() if ready else self._scenarios(),
            self._pool,
            preemptions=bound.preemptions,
            kills=bound.kills if kills and not last.threads else 0,
        ):
            if schedules == bound.schedules:
                complete, deepest = False, (found.kills, found.preemptions)
                break
            schedules += 1
            killing += found.kills > 0
            astray += not found.steered
            what = self._judge(found.run)
            if what is not None:
                failing += 1
                serial += not found.kills and not found.preemptions
                first = first or (found.run, what)
        # Those with a kill come after all the others, which were complete then.
        reached = deepest[1] - 1 if not complete and not deepest[0] else -1
        reproduced, shrunk = self._replayed(first[0].schedule) if first is not None else (None, None)
        return Exploration(
            clients=clients,
            granularity=granularity,
            schedules=schedules,
            killing=killing,
            failing=failing,
            serial=serial,
            bound=bound,
            complete=complete,
            preemptions=reached if reached >= 0 else None,
            astray=astray,
            unkillable=kills and last.threads,
            example=None if first is None else str(first[0].schedule),
            what=None if first is None else first[1],
            reproduced=reproduced,
            shrunk=shrunk,
        )

    # -- what fails -----------------------------------------------------------------------------------------

    def _wrong(self, steps: Sequence[Step]) -> Shrunk | None:
        """What comes of these steps, if it is a failure."""
        schedule = Schedule(tuple(steps))
        run = run_schedule(self._scenarios(), schedule, self._pool)
        what = self._judge(run)
        return None if what is None else Shrunk(schedule=str(schedule), whole=str(run.schedule), what=what)

    def _replayed(self, schedule: Schedule) -> tuple[bool, Shrunk | None]:
        """Whether a schedule fails again, and what is left of it by leaving out what it does not take."""
        if self._wrong(schedule.steps) is None:
            return False, None
        left = list(schedule.steps)
        shrunk: Shrunk | None = None
        runs = 0
        # What comes of itself in the end need not be said: so the shortest beginning that fails.
        for length in range(1, len(left)):
            runs += 1
            if (found := self._wrong(left[:length])) is not None:
                left, shrunk = left[:length], found
                break
        # A step lets its client run until it was done: those before it need not be said where nobody comes between.
        position = len(left)
        while position and runs < _SHRINKING and len(left) > 1:
            position -= 1
            runs += 1
            fewer = left[:position] + left[position + 1 :]
            if (found := self._wrong(fewer)) is not None:
                left, shrunk = fewer, found
                position = min(len(left), position + 1)
        return True, shrunk
