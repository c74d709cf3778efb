"""Faults injected into a server while clients race on it: when, which and how long are drawn from a seed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from ..errors import ConfigurationError
from ..servers.proxy import Direction
from .history import Fault

__all__ = ["FAULTS", "Faults", "PlannedFault", "Target"]

FAULTS = ("kill", "restart", "pause", "partition", "cut answers", "reset", "delay")
"""The kinds of faults: SIGKILL and a restart; an orderly restart; SIGSTOP and SIGCONT; nothing passes; what clients
send arrives and the answers are lost; RST to all connections; all that is sent arrives later."""


class Target(Protocol):
    """What can be done to a server; `PrivateServer` can all of it."""

    def kill(self) -> None:
        """End it without warning."""

    def restart(self) -> None:
        """Start it, after an orderly stop where it runs; returns when it answers."""

    def pause(self) -> None:
        """Let it do nothing until `resume`."""

    def resume(self) -> None:
        """Let it go on."""

    def partition(self, direction: Direction = "both") -> None:
        """Let nothing pass until `heal`."""

    def heal(self) -> None:
        """End `partition` and `delay`."""

    def reset(self) -> None:
        """Break all connections."""

    def delay(self, seconds: float) -> None:
        """Deliver everything that much later until `heal`."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault as the seed has it.

    Attributes:
        kind: one of `FAULTS`.
        pause: seconds before it.
        lasting: seconds from its beginning to its end; a restart and a reset last as long as they take.
        delay: seconds by which all is delivered later, of a delay.
    """

    kind: str
    pause: float
    lasting: float
    delay: float


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Which faults a server has during a race, how often, and how long.

    Every kind comes once before any comes again, in an order that the seed draws. For clients to notice that nothing
    is answered, a fault has to outlast the time limit of their storage: open it with a short one
    (``timeout=0.2``), or give longer times here. Kills and resets are noticed at once.

    Args:
        target: the server, a `PrivateServer` such as the fixture ``private_redis_server``. The clients' storages must
            lead to its ``url``, not around its proxy.
        kinds: which of `FAULTS`.
        pause: the least and the most seconds between two faults.
        lasting: the least and the most seconds that a fault lasts.
        delay: the least and the most seconds by which a delay delivers later, in each direction.

    Raises:
        ConfigurationError: no kind, one that there is not, or seconds that are no range.
    """

    target: Target
    kinds: tuple[str, ...] = FAULTS
    pause: tuple[float, float] = (0.05, 0.3)
    lasting: tuple[float, float] = (0.05, 0.5)
    delay: tuple[float, float] = (0.001, 0.05)

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in FAULTS]
        if unknown or not self.kinds:
            said = f"no kind of fault {unknown[0]!r}" if unknown else "no kind of fault is given"
            raise ConfigurationError(f"{said}; there are {', '.join(FAULTS)}")
        for name in ("pause", "lasting", "delay"):
            least, most = getattr(self, name)
            if not 0.0 <= least <= most < math.inf:
                raise ConfigurationError(
                    f"{name} of faults: the least and the most seconds, not {getattr(self, name)!r}"
                )

    def plan(self, seed: int) -> Iterator[PlannedFault]:
        """Yield the faults that a seed draws, without end; the same seed draws the same."""
        random = Random(f"faults/{seed}")
        while True:
            for kind in random.sample(self.kinds, len(self.kinds)):
                yield PlannedFault(
                    kind,
                    random.uniform(*self.pause),
                    random.uniform(*self.lasting),
                    random.uniform(*self.delay),
                )

    @contextmanager
    def running(self, seed: int) -> Iterator[list[Fault]]:
        """Inject faults, from a thread, for the length of a ``with`` block.

        At the block's end the fault of the moment is ended at once: the server runs, and its network is whole. When
        each fault comes depends on the machine, too: the seed draws the pauses between them, not the moments.

        Args:
            seed: draws what `plan` says.

        Returns:
            What was done, complete at the block's end: each fault as its beginning, by `time.monotonic_ns` just
            before, and its end, just after. A kill ends by ``restart``, an orderly restart is ``stop`` and
            ``restart``, a pause ends by ``resume``, a partition and a delay by ``heal``; what cuts only the answers
            is a partition of ``the answers``; a reset is one moment.

        Raises:
            Exception: whatever the injection met, at the block's end; if the block itself raised, as a note to that.
        """
        done: list[Fault] = []
        injection = _Injection(self.target, self.plan(seed), done)
        injection.start()
        try:
            yield done
        except BaseException as error:
            failure = injection.stop()
            if failure is not None:
                error.add_note(f"The injection of faults failed as well: {type(failure).__name__}: {failure}")
            raise
        failure = injection.stop()
        if failure is not None:
            raise failure


class _Injection:
    """The thread that injects.

    Args:
        target: the server.
        plan: what to do to it.
        done: gets what was done.
    """

    def __init__(self, target: Target, plan: Iterator[PlannedFault], done: list[Fault]) -> None:
        self._target = target
        self._plan = plan
        self._done = done
        self._enough = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
        self.start = self._thread.start

    def stop(self) -> BaseException | None:
        """End the fault of the moment, wait until that is done, and return what went wrong."""
        self._enough.set()
        self._thread.join()
        return self._failure

    def _run(self) -> None:
        try:
            for fault in self._plan:
                if self._enough.wait(fault.pause):
                    return
                self._inject(fault)
        except BaseException as error:
            self._failure = error

    def _inject(self, fault: PlannedFault) -> None:
        target = self._target
        if fault.kind == "reset":
            self._note("reset")
            target.reset()
        elif fault.kind == "restart":
            self._note("stop")
            target.restart()
            self._note("restart")
        elif fault.kind == "kill":
            self._last(fault, "kill", target.kill, "restart", target.restart)
        elif fault.kind == "pause":
            self._last(fault, "pause", target.pause, "resume", target.resume)
        elif fault.kind == "delay":
            self._last(fault, "delay", lambda: target.delay(fault.delay), "heal", target.heal)
        elif fault.kind == "partition":
            self._last(fault, "partition", target.partition, "heal", target.heal)
        else:
            self._last(
                fault,
                "partition",
                lambda: target.partition("from server"),
                "heal",
                target.heal,
                "the answers",
            )

    def _last(
        self,
        fault: PlannedFault,
        name: str,
        begin: Callable[[], Any],
        end_name: str,
        end: Callable[[], Any],
        what: str = "server",
    ) -> None:
        self._note(name, what)
        try:
            begin()
            self._enough.wait(fault.lasting)
        finally:
            # Also where the beginning failed: it may have taken effect in part.
            end()
            self._note(end_name, what)

    def _note(self, kind: str, target: str = "server") -> None:
        self._done.append(Fault(kind, time.monotonic_ns(), target))
