"""A client's part in a stress run: it does its share of the workload, and writes down everything that it was told."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from ..errors import AIStorageError
from ..storage import AIStorage
from .history import Operation
from .recording import RecordingStorage
from .workloads import Workload

__all__ = ["Failure", "Share", "Told", "work"]

# Seconds between two tries of an operation that failed; at random up to it, so that clients don't march in step,
# and twice as long after each failure: who asks a server that is down a thousand times a second fills the history.
_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Failure:
    """What was raised by the code that raced, and not by the storage.

    Attributes:
        client: the client's number, from 0.
        error: the error's type and message.
        trace: the traceback as text.
    """

    client: int
    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class Told:
    """What some clients were told, and what their own code raised."""

    operations: list[Operation]
    failures: list[Failure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What the clients of one process do.

    Attributes:
        opener: opens one more client, for each thread beyond the first.
        workload: what they do.
        first: the number of the first of them.
        times: how often each of them does it; there are as many as threads.
        seconds: after how many none begins again; None: only the number counts.
        tries: how often one that failed is tried.
        seed: of what is random.
    """

    opener: Callable[[], Any] = field(repr=False)  # a URL with its password may be in it
    workload: Workload
    first: int
    times: tuple[int, ...]
    seconds: float | None
    tries: int
    seed: int


def work(storage: AIStorage, share: Share) -> Told:
    """Do one process's share; each thread beyond the first opens a client of its own.

    Args:
        storage: the first thread's.
        share: what is to be done.
    """
    racers = [_Racer(share, number) for number in range(len(share.times))]
    others = [threading.Thread(target=racer.race_alone) for racer in racers[1:]]
    for other in others:
        other.start()
    racers[0].race(storage)
    for other in others:
        other.join()
    told = Told([], [])
    for racer in racers:
        if racer.broken is not None:
            raise racer.broken
        told.operations.extend(racer.operations)
        told.failures.extend(racer.failures)
    return told


class _Racer:
    """One client."""

    def __init__(self, share: Share, number: int) -> None:
        self._share = share
        self._client = share.first + number
        self._times = share.times[number]
        self.operations: list[Operation] = []
        self.failures: list[Failure] = []
        self.broken: Exception | None = None

    def race_alone(self) -> None:
        """Open a client, and race with it."""
        try:
            with closing(self._share.opener()) as storage:
                self.race(storage)
        except Exception as error:  # the thread's own; whoever waits for it raises it
            self.broken = error

    def race(self, storage: AIStorage) -> None:
        """Do the workload again and again."""
        share = self._share
        random = Random(f"{share.seed}/{self._client}")
        # In histories clients are called P1, P2, …
        recorder = RecordingStorage(storage, self._client + 1)
        self.operations = recorder.operations
        end = None if share.seconds is None else time.monotonic() + share.seconds
        done = 0
        while done < self._times and (end is None or time.monotonic() < end):
            self._do(recorder, random)
            done += 1

    def _do(self, recorder: RecordingStorage, random: Random) -> None:
        longest = _PAUSE
        for _ in range(self._share.tries):
            before = len(recorder.operations)
            try:
                self._share.workload.act(cast(AIStorage, recorder), self._client, random)
                return
            except (Exception, SystemExit) as error:  # the recorder has it, or it is the workload's own
                if error is not recorder.raised and not isinstance(error, AIStorageError):
                    self.failures.append(
                        Failure(self._client, f"{type(error).__name__}: {error}", traceback.format_exc())
                    )
                    return
                # What may have taken effect is not done twice.
                if any(
                    one.outcome != "failed" and one.kind not in ("get", "load")
                    for one in recorder.operations[before:]
                ):
                    return
            time.sleep(random.uniform(0, longest))
            longest = min(2 * longest, _LONGEST_PAUSE)
