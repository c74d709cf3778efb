"""One client is interrupted by another at each place of its operation: all schedules with one preemption.

``P1:line12,P2:run,P1:run``: the first client goes up to its 12th place, the second does all that it has to do, the
first goes on. Where the second has to wait for a lock, the first goes on place by place until it has given the lock
back: ``P1:line12,P2:waits,P1:line31,P2:run,P1:run``. At each place in between the second would have waited,
too, so these are done as well.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..storage import AIStorage
from .clients import PATIENCE, Client
from .errors import RaceError, StuckError
from .lines import LineSeams, Place, Rehearsal
from .outcomes import Outcome
from .schedule import WAITS, Schedule, Step
from .stress import StartLine

__all__ = ["Coverage", "Interruption", "crash", "interrupt", "interruptions", "rehearse", "worth_trying"]

Operation = Callable[[AIStorage], Any]

_LIMIT = 0.01
"""Seconds of idleness after which a client is taken to wait for a lock. Shorter than the controller's limit, since
there is one such wait for each lock; a mistake makes one schedule less telling and nothing wrong."""

_GLANCE = 0.001

_FALSE_ALARMS = 3
"""So often may a waiting client stir without getting on: then it looks by itself from time to time whether its lock
is free, and nobody can see when it would have got it."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """One schedule of two clients, and what became of it.

    Attributes:
        schedule: what was done, in order.
        outcomes: of the first client's operation and of the second's.
        overlapped: whether the first had not ended when the second began.
        waited: whether the second had to wait.
        released: the place up to which it waited; None: it did not wait, or that can't be told.
    """

    schedule: Schedule
    outcomes: tuple[Outcome, Outcome]
    overlapped: bool
    waited: bool = False
    released: int | None = None


@dataclass(slots=True)
class Coverage:
    """How much of what there is was done.

    Attributes:
        places: how many there are.
        schedules: how many were run.
        complete: whether each place in the code was tried, the first and the last time that the operation comes
            there, or is known to be under a lock for which the other waits.
    """

    places: int = 0
    schedules: int = 0
    complete: bool = True


def rehearse(client: Client, operation: Operation, own: tuple[str, ...]) -> tuple[Place, ...]:
    """Let a client do an operation once; return the places that it came to.

    Raises:
        RaceError: the client died, or the operation failed.
    """
    outcome = client.call(Rehearsal(operation, own))
    if outcome.kind != "ok":
        raise RaceError(f"the operation {outcome.kind} when nobody disturbed it") from outcome.error
    places: tuple[Place, ...] = outcome.value[1]
    return places


def interrupt(
    clients: Sequence[Client], own: tuple[str, ...], first: Operation, second: Operation, place: int
) -> Interruption:
    """Run one schedule: the second client comes in when the first has come to a place.

    Args:
        clients: two, with the store open.
        own: the storage's own code; see `lines.own_code`.
        first: what the first client does.
        second: what the second does.
        place: the number of the place; where the first has ended before it, the second comes after it.

    Raises:
        StuckError: a client said nothing in time, or each waits for the other.
    """
    run = _Run(clients)
    try:
        return run.run((first, LineSeams(own)), (second, StartLine()), place)
    except BaseException:
        for client in clients:  # in the middle of something
            client.end()
        raise


def crash(client: Client, own: tuple[str, ...], operation: Operation, place: int) -> Outcome:
    """Kill a client by SIGKILL when its operation has come to a place.

    Args:
        client: a process of its own, with the store open.
        own: the storage's own code; see `lines.own_code`.
        operation: what it does.
        place: the number of the place; where the operation has ended before it, nobody is killed.

    Returns:
        How the operation ended: it ``died``, or what it came to.
    """
    client.send("call", client.packed((operation, LineSeams(own))))
    if (message := client.answer())[0] != "stop":
        raise RaceError(f"a client did not begin: {message[2]}") from message[2].error
    client.send("go", place)
    message = client.answer()
    if message[0] == "stop":
        client.end()
        return Outcome("died")
    outcome: Outcome = message[2]
    return outcome


class _Run:
    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = clients
        self._steps: list[Step] = []
        self._outcomes: dict[int, Outcome] = {}
        self._stirs = False
        """Whether the one that did not arrive stirs by itself, or sleeps until a time has passed."""

    def run(self, first: object, second: object, place: int) -> Interruption:
        one, other = self._clients
        for client, work in ((one, first), (other, second)):
            client.send("call", client.packed(work))
            if (message := client.answer())[0] != "stop":
                raise RaceError(f"a client did not begin: {message[2]}") from message[2].error
        self._go(0, place)
        overlapped = 0 not in self._outcomes
        other.send("go")
        waited, released = False, None
        if not self._arrives(1):
            if not overlapped:
                self._take(1, other.answer())
            else:
                waited = True
                self._steps.append(Step(1, WAITS))
                released = self._go_until_released(place)
        for number in (0, 1):
            if number not in self._outcomes:
                if number == 0:
                    one.send("go", 0)
                self._take(number, self._clients[number].answer())
        return Interruption(
            Schedule(tuple(self._steps)), (self._outcomes[0], self._outcomes[1]), overlapped, waited, released
        )

    def _go(self, number: int, place: int) -> None:
        self._clients[number].send("go", place)
        self._take(number, self._clients[number].answer())

    def _take(self, number: int, message: tuple[Any, ...]) -> None:
        if message[0] == "done":
            self._outcomes[number] = message[2]
        if message[1]:
            self._steps.append(Step(number, message[1]))

    def _arrives(self, number: int) -> bool:
        """Wait until a client has ended, or has been idle for so long that it must wait for a lock."""
        client = self._clients[number]
        started = time.monotonic()
        idle_since: float | None = None
        asleep: int | None = None
        stirred = 0
        while not client.channel.poll(_GLANCE):
            now = time.monotonic()
            if client.is_busy():
                idle_since = None
                stirred = 0
            else:
                before, asleep = asleep, client.pulse()
                # A driver may look up once while it waits for its server. Who stirs again and again looks for the
                # lock by itself, or waits for the interpreter's.
                again = idle_since is not None and before != asleep and stirred < _FALSE_ALARMS
                stirred += again
                if idle_since is None or again:
                    idle_since, slept = now, False
                slept |= client.is_sleeping()
                if now - idle_since > _LIMIT:
                    self._stirs = slept or stirred == _FALSE_ALARMS
                    return False
            if now - started > PATIENCE:
                raise StuckError(f"P{number + 1} said nothing for {PATIENCE:g} s")
        self._take(number, client.answer())
        return True

    def _go_until_released(self, place: int) -> int | None:
        """Let the first client go on place by place until the second has got its lock and has ended."""
        waiting = self._clients[1]
        # One that sleeps for a time looks at the lock by itself: how far the first would come meanwhile is chance,
        # and places behind the lock's end must not be taken for places under it.
        asleep, alarms = waiting.pulse(), 0
        recorded = len(self._steps)
        while alarms < _FALSE_ALARMS and asleep is not None and not (self._stirs or waiting.is_sleeping()):
            place += 1
            del self._steps[recorded:]  # of the places that change nothing, only the last is told
            self._go(0, place)
            if waiting.pulse() != asleep or waiting.channel.poll(0):
                if self._arrives(1):
                    return place
                asleep = waiting.pulse()
                alarms += 1
            if 0 in self._outcomes:
                return place
        return None


# -- which places -------------------------------------------------------------------------------------------

_RELEASING = frozenset(
    {"__exit__", "commit", "flock", "lockf", "release", "remove", "rename", "replace", "rollback", "unlink"}
)

_WRITING = _RELEASING | {
    *("close", "dump", "execute", "executemany", "executescript", "flush", "fsync", "link", "open", "send"),
    *("sendall", "truncate", "unlock", "write", "write_bytes", "write_text", "writelines"),
}
_TELLING = _WRITING | {
    *("acquire", "connect", "fetchall", "fetchone", "read", "read_bytes", "read_text", "readline", "recv"),
}
"""Names of functions beside which it may matter who comes in; a hint and no more, where not all can be tried."""


def worth_trying(places: Sequence[Place], budget: int | None) -> list[int]:
    """Return the numbers of places to try.

    Args:
        places: of the operation, in order.
        budget: how many; None: all that differ.

    Returns:
        Of each place in the code the first and the last time that the operation comes there: what lies between
        is a loop's. Where that is more than the budget: the ends, and about half of the others beside calls that
        may write or release something, or else read or lock; the other half evenly spread.
    """
    if budget is not None and len(places) <= budget:
        return list(range(1, len(places) + 1))
    first: dict[tuple[str, int, str], int] = {}
    last: dict[tuple[str, int, str], int] = {}
    for number, place in enumerate(places, 1):
        where = place.file, place.line, place.call
        first.setdefault(where, number)
        last[where] = number
    chosen = sorted({*first.values(), *last.values()})
    if budget is None or len(chosen) <= budget:
        return chosen
    kept = {1, len(places)}
    for names in (_WRITING, _TELLING):
        telling = [n for n in chosen if n not in kept and _is_among(names, places[n - 1])]
        kept.update(_spread(telling, max(0, budget * 5 // 8 - len(kept))))
    kept.update(_spread(range(1, len(places) + 1), max(1, budget - len(kept))))
    return sorted(kept)


def _is_among(names: Set[str], place: Place) -> bool:
    return place.after in names or place.call in names


def _spread(numbers: Sequence[int], budget: int) -> list[int]:
    if len(numbers) <= budget:
        return list(numbers)
    return [numbers[(2 * index + 1) * len(numbers) // (2 * budget)] for index in range(budget)]


def interruptions(
    places: Sequence[Place],
    budget: int | None,
    run: Callable[[int], tuple[Interruption, object]],
    coverage: Coverage,
) -> Iterator[Interruption]:
    """Run the schedules of one operation that are worth it, and yield what became of them.

    Beside those of `worth_trying`, the exact places are found at which something else begins to come of it: an
    operation that takes effect at one moment has one of them, and others have theirs around what goes wrong.

    Args:
        places: of the operation, in order.
        budget: at how many of them the other client is let in to begin with; None: at all.
        run: runs the schedule of a place, on a model or store of its own; returns also what came of it, as
            something that equals what came of others that ended alike.
        coverage: counts what was done.
    """
    search = _Search(places, worth_trying(places, budget))
    coverage.places += len(places)
    for number in search.numbers():
        found, what = run(number)
        search.note(number, found, what)
        coverage.schedules += 1
        yield found
    coverage.complete &= search.complete


class _Search:
    def __init__(self, places: Sequence[Place], chosen: Sequence[int]) -> None:
        self._places = places
        self._chosen = chosen
        self._releasing = [n for n in worth_trying(places, None) if places[n - 1].after in _RELEASING]
        self._came: dict[int, object] = {}
        self._polled: set[int] = set()
        """Places at which the other waited for a lock, by looking from time to time whether it is free."""
        self._locked: list[tuple[int, int]] = []
        """From where to where the other would have waited all the while."""

    @property
    def complete(self) -> bool:
        """Whether each was tried that differs, or is known to be under a lock for which the other waits."""
        return all(
            number in self._came or self._is_locked(number) for number in worth_trying(self._places, None)
        )

    def note(self, number: int, found: Interruption, what: object) -> None:
        """Note what came of letting the other in at a place."""
        self._came[number] = ("waited",) if found.waited else what
        if found.waited and found.released is None:
            self._polled.add(number)
        elif found.released is not None:
            self._locked.append((number, found.released - 1))

    def numbers(self) -> Iterator[int]:
        """Yield one place after the other; what came of it is noted before the next is asked for."""
        # In order: where a lock begins, the first place shows where it ends.
        for number in self._chosen:
            if self._polled:
                break
            if not self._is_locked(number):
                yield number
        if self._chosen and self._chosen[-1] not in self._came and not self._is_locked(self._chosen[-1]):
            yield self._chosen[-1]
        spans = list(pairwise(sorted(self._came)))
        while spans:
            low, high = spans.pop()
            middle = self._between(low, high)
            if middle is not None:
                yield middle
                spans += [(middle, high), (low, middle)]

    def _between(self, low: int, high: int) -> int | None:
        """The place to try between two that were tried; None: nothing new is to be expected there."""
        chosen = self._chosen[bisect_right(self._chosen, low) : bisect_left(self._chosen, high)]
        candidates: Sequence[int]
        if low in self._polled and high in self._polled:
            # Taken for one lock, unless it is given back on the way.
            candidates = [number for number in self._releasing if low < number < high]
        elif self._came[low] == self._came[high]:
            candidates = chosen
        elif low in self._polled or high in self._polled:
            # To wait takes time: the lock's end is looked for beside what may read, write or lock.
            candidates = [
                n for n in range(low + 1, high) if n in chosen or _is_among(_TELLING, self._places[n - 1])
            ]
        else:
            candidates = range(low + 1, high)
        candidates = [number for number in candidates if not self._is_locked(number)]
        return candidates[len(candidates) // 2] if candidates else None

    def _is_locked(self, number: int) -> bool:
        return any(low <= number <= high for low, high in self._locked)
