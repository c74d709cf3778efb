"""Whether a storage answers, asked within a time limit, by any number of callers at once."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from . import config
from ._shared_calls import Flight, SharedCall
from ._workers import outcome
from .errors import AIStorageError, ConfigurationError
from .storage import AIStorage

__all__ = ["DEFAULT_TIMEOUT", "Health", "HealthProbe"]

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = 1.5
"""Seconds. Less than 2, so that a storage that is back is seen within 2 s: a check may begin just before that."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a check found.

    Attributes:
        healthy: whether the storage answered in time.
        storage_type: the backend's name.
        model_count: how many models there are; None: that could not be had in time, or was not asked for.
        pending_writes: how many models only the cache of a hybrid has the last change of; None: likewise.
        timestamp: when the check ended, aware, UTC.
        latency: seconds that the answer took; None: there was none.
        degraded: why a hybrid goes by its database alone; None: it doesn't.
        reason: why the storage is not healthy, without any secret; None: it is.
    """

    healthy: bool
    storage_type: str
    timestamp: datetime
    model_count: int | None = None
    pending_writes: int | None = None
    latency: float | None = None
    degraded: str | None = None
    reason: str | None = None

    def as_document(self) -> Mapping[str, Any]:
        """Return what an endpoint may tell anybody: the guide's four values, and whether a hybrid is degraded.

        Reasons name hosts; they are for the log.
        """
        moment = self.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "healthy": self.healthy,
            "storage_type": self.storage_type,
            "model_count": self.model_count,
            "timestamp": moment,
            "degraded": self.degraded is not None,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    """What became of a ping: how long it took, or why there was no answer."""

    latency: float | None = None
    reason: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Contents:
    """What a storage that answers holds; None: it could not say."""

    model_count: int | None = None
    pending_writes: int | None = None


class HealthProbe:
    """Asks a storage whether it answers, for as many callers as there are, with one ping at a time.

    A check that gets no answer within its timeout is over, whatever the storage's own timeout is: the connection that
    it waits on is cut, and the next check goes by another. So a server that is killed, stopped or cut off is told of
    in time, its return is seen at once, and callers don't pile up threads. A change is logged.

    What can't be cut, such as a connection that is only being made, keeps its thread for as long as the storage's own
    timeout lets it. After eight such threads no further check is begun until one ends.

    May be used by any thread and any event loop, and anew after a fork.

    Args:
        storage: whom to ask; never closed.
        timeout: seconds that a check may take.

    Raises:
        ConfigurationError: no `AIStorage`, or no time in seconds.
    """

    def __init__(self, storage: AIStorage, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        if not isinstance(storage, AIStorage):
            raise ConfigurationError(f"storage: must be an AIStorage, not {type(storage).__name__}")
        self.storage = storage
        self.timeout = config.seconds("timeout", timeout)
        self._pings = SharedCall(self._ping, self.timeout)
        self._counts = SharedCall(self._count, self.timeout)
        self._begin_anew()
        _probes.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._told: tuple[bool, bool] | None = None

    def check(self, *, counting: bool = True) -> Health:
        """Ask, and wait for the answer no longer than the timeout. Never raises.

        Args:
            counting: whether to count the models as well, which takes long where there are many.
        """
        deadline = time.monotonic() + self.timeout
        flight = self._pings.flight()
        answer = None
        if flight is not None:
            answer = self._pings.result(flight, deadline)
        contents = None
        if counting and (count := self._counted(answer)) is not None:
            contents = self._counts.result(count, deadline)
        return self._health(flight, answer, contents)

    async def check_async(self, *, counting: bool = True) -> Health:
        """Ask as `check` does, in a task of an event loop: asyncio's or, with AnyIO, Trio's."""
        deadline = time.monotonic() + self.timeout
        flight = self._pings.flight()
        answer = None
        if flight is not None:
            answer = await _awaited(self._pings, flight, deadline)
        contents = None
        if counting and (count := self._counted(answer)) is not None:
            contents = await _awaited(self._counts, count, deadline)
        return self._health(flight, answer, contents)

    # -- inside ---------------------------------------------------------------------------------------------

    def _counted(self, answer: _Answer | None) -> Flight[_Contents] | None:
        """Begin to count what a storage holds that has answered; None: it has not, or there is no thread."""
        return self._counts.flight() if answer is not None and answer.reason is None else None

    def _ping(self) -> _Answer:
        started = time.perf_counter()
        try:
            with self.storage._operation():
                self.storage._ping()
        except AIStorageError as error:
            return _Answer(reason=str(error))
        except Exception as error:  # whatever it is, the storage does not answer; and it may hold a secret
            return _Answer(reason=type(error).__name__)
        return _Answer(latency=time.perf_counter() - started)

    def _count(self) -> _Contents:
        # In this order: a hybrid that writes behind writes what is pending before it counts.
        pending = models = None
        try:
            pending = int(getattr(self.storage, "pending_writes", 0))
            models = self.storage.get_storage_info().model_count
        except Exception as error:  # it has just answered a ping, and a count is no sign of health
            _log.debug("%s: the models could not be counted: %s", self.storage.type, type(error).__name__)
        return _Contents(models, pending)

    def _health(
        self, flight: Flight[_Answer] | None, answer: _Answer | None, contents: _Contents | None
    ) -> Health:
        if answer is None:
            said = f"no answer within {self.timeout:g} s"
            answer = _Answer(reason=said if flight is not None else f"{said}, nor to the checks before")
        found = contents or _Contents()
        health = Health(
            healthy=answer.reason is None,
            storage_type=self.storage.type,
            model_count=found.model_count,
            pending_writes=found.pending_writes,
            timestamp=datetime.now(UTC),
            latency=answer.latency,
            degraded=getattr(self.storage, "degraded", None),
            reason=answer.reason,
        )
        self._tell(health)
        return health

    def _tell(self, health: Health) -> None:
        """Log what has changed."""
        state = (health.healthy, health.degraded is not None)
        with self._lock:
            if state == self._told:
                return
            self._told = state
        if not health.healthy:
            _log.error("%s: unhealthy: %s", health.storage_type, health.reason)
        elif health.degraded is not None:
            _log.warning("%s: healthy, degraded: %s", health.storage_type, health.degraded)
        else:
            _log.info("%s: healthy", health.storage_type)


async def _awaited(shared: SharedCall[T], flight: Flight[T], deadline: float) -> T | None:
    """As `SharedCall.result`, without holding the event loop up."""
    import anyio

    ended = outcome()
    flight.future.add_done_callback(lambda _: ended.tell(None))
    with anyio.move_on_after(min(deadline, flight.deadline) - time.monotonic()):
        await ended.result()
    if flight.future.done() and not flight.future.cancelled():
        return flight.future.result()
    shared.settle(flight)
    return None


# -- after fork() -------------------------------------------------------------------------------------------

_probes: weakref.WeakSet[HealthProbe] = weakref.WeakSet()


def _begin_anew() -> None:
    for probe in list(_probes):
        probe._pings.begin_anew()
        probe._counts.begin_anew()
        probe._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
