"""Operations of several tasks that wait at the same time, done as one: a round trip and a commit for all of them."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ._interruption import Call, Interrupted, carried_out
from ._workers import Outcome, Workers, outcome

__all__ = ["Combiner"]

_MOST = 100
"""Operations in one: what the others have to wait for has to stay short."""

Results = Sequence[Any]


class _Member:
    """One operation of one task."""

    __slots__ = ("argument", "batch", "key", "outcome")

    def __init__(self, key: Hashable, argument: Any) -> None:
        self.key = key
        self.argument = argument
        self.outcome: Outcome = outcome()
        self.batch: _Batch | None = None


class _Batch:
    """Members that are under way together."""

    __slots__ = ("call", "left", "members")

    def __init__(self, members: list[_Member]) -> None:
        self.members = members
        self.left = 0
        self.call = Call()


class Combiner:
    """Does at once what waits for a thread.

    A single operation waits for nobody: it begins as soon as a thread is free. Those that come until then begin with
    it. A member that is cancelled leaves the others to it, and the connection is closed behind them; when all have
    gone, it is cut.

    Args:
        workers: whose threads to use.
        together: does several, and returns as many results; what it raises holds for all.
        alone: does one; called for each where `together` failed and the failure may be that of one.
        is_everybodys: whether an error of `together` is to be told to all, without trying each alone.
    """

    def __init__(
        self,
        workers: Workers,
        together: Callable[[list[Any]], Results],
        alone: Callable[[Any], Any],
        is_everybodys: Callable[[BaseException], bool],
    ) -> None:
        self._workers = workers
        self._together = together
        self._alone = alone
        self._is_everybodys = is_everybodys
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Member] = collections.deque()
        self._is_called = False

    async def result(self, key: Hashable, argument: Any) -> Any:
        """Have an operation done; return its result or raise its error.

        Args:
            key: no two operations of the same key are done at once.
            argument: of `together` and `alone`.
        """
        member = _Member(key, argument)
        with self._lock:
            if not self._is_called:
                self._workers.submit(self._carry_out)
                self._is_called = True
            self._waiting.append(member)
        try:
            return await member.outcome.result()
        except BaseException:
            self._leave(member)  # of no effect if it is done
            raise

    def _leave(self, member: _Member) -> None:
        with self._lock:
            if member.batch is None:
                if member in self._waiting:
                    self._waiting.remove(member)
                return
            batch = member.batch
            batch.left += 1
            batch.call.retires = True
            if batch.left == len(batch.members):
                batch.call.interrupt()

    def _carry_out(self) -> None:
        """Do what waits; in a thread."""
        with self._lock:
            batch = self._next()
            self._is_called = bool(self._waiting)
            if self._is_called:
                self._workers.submit(self._carry_out)
        if not batch.members:
            return
        try:
            with carried_out(batch.call):
                self._settle(batch)
        except Interrupted:
            pass  # nobody waits

    def _next(self) -> _Batch:
        taken: dict[Hashable, _Member] = {}
        later: list[_Member] = []
        while self._waiting and len(taken) < _MOST:
            member = self._waiting.popleft()
            if member.key in taken:
                later.append(member)
            else:
                taken[member.key] = member
        self._waiting.extendleft(reversed(later))
        batch = _Batch(list(taken.values()))
        for member in batch.members:
            member.batch = batch
        return batch

    def _settle(self, batch: _Batch) -> None:
        members = batch.members
        if len(members) > 1:
            try:
                results = self._together([member.argument for member in members])
                told = list(zip(members, results, strict=True))
            except Interrupted:
                raise
            except BaseException as error:
                if self._is_everybodys(error):
                    for member in members:
                        member.outcome.tell(None, _again(error))
                    return
            else:
                for member, result in told:
                    member.outcome.tell(result)
                return
        for member in members:
            try:
                result = self._alone(member.argument)
            except Interrupted:
                raise
            except BaseException as error:
                member.outcome.tell(None, error)
            else:
                member.outcome.tell(result)


def _again(error: BaseException) -> BaseException:
    """The same error for one more task: each adds its own frames to the traceback of what it raises."""
    try:
        copy = type(error)(*error.args)
    except Exception:  # a class of somebody else's, which takes other arguments
        return error
    copy.__cause__ = error
    return copy
