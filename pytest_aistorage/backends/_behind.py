"""The epochs of a cache that is written first: who may answer from it, and who takes its place when it is lost."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from ..errors import OutcomeUnknownError, StorageUnavailableError
from . import _behind_scripts as scripts
from ._behind_table import BehindTable, Change, Fenced, State
from ._cache_link import CacheDown, CacheLink, Command
from ._cache_table import CacheTable
from ._redis_records import decoded

__all__ = ["KEPT", "Epoch", "Epochs"]

T = TypeVar("T")

_DRIFT: Final = 1.05
"""How much longer than a lease its end is waited for: the cache's clock may be slower than ours."""

_GRACE: Final = 1.0
"""Seconds, beyond a lease, that clients which reach the cache have for writing down what is in it."""

_CUT_OFF: Final = 10.0
"""Seconds for which a client that can't reach the cache keeps the others from it, unless it says so again."""

_LOOK_AGAIN: Final = 0.1
"""Seconds for which a client goes by the database before it looks whether the cache is to be had again."""

_PAUSE: Final = 0.02
_DAY: Final = 86_400_000
KEPT: Final = 60_000
"""Milliseconds for which the cache keeps a copy of what the database has."""


class _Over(Exception):
    """The epoch is being closed, or its process has ended: nobody answers from it."""


class Epoch(NamedTuple):
    """The time from the cache's becoming the place to which is written until it is given up.

    Attributes:
        name: begins with the `run_id` of the process that it is of.
        prefix: begins its keys.
        era: as `State.era`.
    """

    name: str
    prefix: str
    era: int

    def key(self, kind: str, model_name: str = "") -> str:
        """Return a key of it; see `_behind_scripts`."""
        return f"{self.prefix}{kind}:{model_name}"


class Epochs:
    """Finds out where the truth is, and runs operations there: in the cache, or in the database.

    Args:
        link: the way to the cache.
        table: what the clients agree on.
        shared: what the clients of a cache tell each other by the database.
        prefix: begins every key.
        lease: seconds that the cache answers without the database's confirmation.
        timeout: seconds that one exchange with the database may take.
    """

    def __init__(
        self,
        link: CacheLink,
        table: BehindTable,
        shared: CacheTable,
        *,
        prefix: str,
        lease: float,
        timeout: float,
    ) -> None:
        self.link = link
        self.table = table
        self._shared = shared
        self._prefix = prefix
        self.lease = lease
        self._patience = lease * _DRIFT + _GRACE + timeout
        self.found_dirty: Callable[[], None] = lambda: None
        """Called when there is something to write, whoever left it."""
        self._store: str | None = None
        self._open: Epoch | None = None
        self._renewed = 0.0
        self._by_database_until = 0.0
        self._begin()
        _known.add(self)

    def _begin(self) -> None:
        """What a forked child has of its own: no lock that a thread holds which it hasn't got, and no mark."""
        self._client = secrets.token_hex(8)
        self._marked_until = 0.0
        self._closing: dict[str, float] = {}
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._inherited_by = os.getpid()

    # -- where the truth is ---------------------------------------------------------------------------------

    def run(self, in_cache: Callable[[Epoch], T], in_database: Callable[[], T]) -> T:
        """Run an operation where the truth is.

        Args:
            in_cache: in an epoch.
            in_database: while none is open; raises `Fenced` where one is.

        Raises:
            OutcomeUnknownError: the cache did not answer what was sent to it.
            StorageUnavailableError: neither of them answers in time.
        """
        end = time.monotonic() + self._patience
        while True:
            epoch = None
            try:
                epoch = self._open or self._found(end)
                return in_database() if epoch is None else in_cache(epoch)
            except CacheDown as down:
                self._leave(epoch)
                if down.may_have_run:
                    raise OutcomeUnknownError(
                        f"a write was sent to the cache and its reply was lost: {down}"
                    ) from None
                problem: Exception = down
            except _Over as over:
                self._leave(epoch)
                problem = over
            except Fenced as fenced:
                self._by_database_until = 0.0
                problem = fenced
            if time.monotonic() > end:
                raise StorageUnavailableError(f"the time was up; at last: {problem!r}") from problem

    def ask(self, epoch: Epoch, command: Command, *, once: bool = False, end: float | None = None) -> Any:
        """Send a command of an epoch to its process; where there is no lease, get one and send it again.

        Raises:
            CacheDown: the cache does not answer.
            StorageUnavailableError: the database does not answer, without which there is no lease.
        """
        process = epoch.name.partition(".")[0]

        def commands(answering: str) -> list[Command]:
            if answering != process:
                raise _Over
            return [command]

        end = time.monotonic() + self._patience if end is None else end
        while (reply := self.link.exchange(commands, once=once)[0]) == scripts.NO_LEASE:
            self.renew(epoch)
            if time.monotonic() > end:
                raise StorageUnavailableError("the cache's lease ends before it can be used")
        return reply

    def renew(self, epoch: Epoch) -> None:
        """Let the cache answer for one lease from now on; see to what a client may have left there.

        Raises:
            StorageUnavailableError: the database does not answer.
        """
        key, token = epoch.key("renew", self._client), secrets.token_hex(8)
        keys = (epoch.key("lease"), epoch.key("over"), epoch.key("dirty"))
        self.ask(epoch, ("SET", key, token, "PX", round(self.lease * 1000)))
        state = self.table.state()
        if state.epoch != epoch.name or state.is_closing:
            raise _Over
        dirty = int(self.ask(epoch, (scripts.RENEW, 4, key, *keys, token)))
        if dirty < 0 and self.ask(epoch, ("EXISTS", epoch.key("over"))):
            raise _Over
        self._renewed = time.monotonic()
        if dirty > 0:
            self.found_dirty()

    def renew_in_time(self, epoch: Epoch) -> None:
        """Renew the lease before it ends; errors as `renew`."""
        if time.monotonic() - self._renewed > self.lease / 3:
            self.renew(epoch)

    def flush(self, epoch: Epoch, *, leased: bool = True) -> int:
        """Write to the database what it has not got, all of it as it is at one moment.

        Args:
            epoch: of which.
            leased: False: also where the cache answers nobody any more.

        Returns:
            How many models have been changed meanwhile.

        Raises:
            CacheDown, StorageUnavailableError: as for the others.
        """
        with self._flushing:
            keys = [epoch.key(kind) for kind in ("lease", "dirty", "seq")]
            number, *taken = self.ask(epoch, (scripts.TAKE, 3, *keys, epoch.key("model"), int(not leased)))
            if not number:
                return 0
            changes = _changes(taken)
            try:
                self.table.flush(epoch.name, number, changes)
            except Fenced:
                raise _Over from None
            done = [word for change in changes for word in (change.model_name, change.last)]
            return int(self.ask(epoch, (scripts.ACK, 1, keys[1], epoch.key("model"), KEPT, *done)))

    def pending(self, epoch: Epoch) -> int:
        """Return how many models the database has not got the last change of."""
        return int(self.ask(epoch, ("HLEN", epoch.key("dirty"))))

    def close(self) -> None:
        """Take back what this client told the others.

        Raises:
            StorageUnavailableError, OutcomeUnknownError: the database does not answer; then it ends by itself.
        """
        with self._lock:
            self._unmark()

    # -- inside ---------------------------------------------------------------------------------------------

    def _leave(self, epoch: Epoch | None) -> None:
        if epoch is not None and self._open is epoch:
            self._open = None

    def _found(self, end: float) -> Epoch | None:
        """Join the epoch that is open, or open one. None: go by the database for a moment."""
        if time.monotonic() < self._by_database_until:
            return None
        with self._lock:
            if self._open is not None:
                return self._open
            if self._store is None:
                self._store = self._named()
            while True:
                state = self.table.state()
                process = self._process()
                epoch = self._of(state)
                if process is None:
                    self._mark()  # before the epoch is closed, or others would open the next one at once
                if state.is_closing:
                    self._help_closing(epoch, process)
                    if time.monotonic() > end:
                        raise StorageUnavailableError("the cache was lost, and its lease has yet to end")
                elif not state.epoch:
                    if process is not None and not self._is_kept_from_it():
                        self._open_one(process, state.era)
                        continue
                    self._by_database_until = time.monotonic() + _LOOK_AGAIN
                    return None
                elif process is None or not epoch.name.startswith(f"{process}."):
                    self.table.begin_closing(epoch.name)
                else:
                    self._unmark()
                    with contextlib.suppress(CacheDown, _Over):
                        self.renew(epoch)
                        self._open = epoch
                        return epoch

    def _named(self) -> str:
        self.table.prepare()
        self._shared.prepare()
        self._shared.register(secrets.token_hex(8), 0.0, 0.0)
        return self._shared.seen().store

    def _of(self, state: State) -> Epoch:
        return Epoch(state.epoch, self._prefix_of(state.epoch), state.era)

    def _prefix_of(self, epoch: str) -> str:
        return f"{self._prefix}behind:{self._store}:{epoch}:"

    def _process(self) -> str | None:
        """The process that the cache runs as; None: it does not answer."""
        found: list[str] = []

        def ping(process: str) -> list[Command]:
            found[:] = [process]
            return [("PING",)]

        with contextlib.suppress(CacheDown):
            self.link.exchange(ping)
            return found[0]
        return None

    def _help_closing(self, epoch: Epoch, process: str | None) -> None:
        """Write down what is in the cache, if it can be reached; give it up when its leases have ended."""
        if process is not None and epoch.name.startswith(f"{process}."):
            with contextlib.suppress(CacheDown, _Over):
                self.ask(epoch, (scripts.OVER, 2, epoch.key("lease"), epoch.key("over"), _DAY))
                while self.flush(epoch, leased=False):
                    pass
                self.table.finish_closing(epoch.name, complete=True)
                self.ask(epoch, ("HDEL", self._registry, epoch.name))
                return
        since = self._closing.setdefault(epoch.name, time.monotonic())
        if time.monotonic() - since > self.lease * _DRIFT + _GRACE:
            self.table.finish_closing(epoch.name, complete=False)
            del self._closing[epoch.name]
        else:
            time.sleep(_PAUSE)

    @property
    def _registry(self) -> str:
        return f"{self._prefix}behind:{self._store}:epochs"

    def _open_one(self, process: str, era: int) -> None:
        """Open an epoch, unless another client is quicker; take over what earlier ones have left in the cache."""
        name = f"{process}.{secrets.token_hex(8)}"
        epoch = Epoch(name, self._prefix_of(name), era)
        with contextlib.suppress(CacheDown, _Over):
            found = self.ask(epoch, ("HGETALL", self._registry))
            before = [
                Epoch(text.decode(), self._prefix_of(text.decode()), int(era_of))
                for text, era_of in zip(found[::2], found[1::2], strict=True)
            ]
            left = [(one.era, change) for one in before for change in self._left(epoch, one)]
            self.ask(epoch, ("HSET", self._registry, name, era))
            if self.table.open(name, left):
                for one in before:
                    self.ask(epoch, ("UNLINK", one.key("dirty"), one.key("seq"), one.key("lease")))
                    self.ask(epoch, ("HDEL", self._registry, one.name))

    def _left(self, epoch: Epoch, before: Epoch) -> list[Change]:
        keys = [before.key(kind) for kind in ("lease", "dirty", "seq")]
        return _changes(self.ask(epoch, (scripts.TAKE, 3, *keys, before.key("model"), 1))[1:])

    def _is_kept_from_it(self) -> bool:
        """Whether some client can't reach the cache, so that all go by the database."""
        self._unmark()
        return self._shared.seen().cut_off

    def _mark(self) -> None:
        if time.monotonic() > self._marked_until - _CUT_OFF / 2:
            self._shared.mark(self._client, _CUT_OFF)
            self._marked_until = time.monotonic() + _CUT_OFF

    def _unmark(self) -> None:
        if self._marked_until:
            self._shared.clear(self._client)
            self._marked_until = 0.0


def _changes(taken: Sequence[bytes]) -> list[Change]:
    words = iter(taken)
    found = []
    for name, base, text in zip(words, words, words, strict=True):
        last, _, rest = text.partition(b" ")
        model_name = name.decode()
        record = None if rest == b"-" else decoded(model_name, rest)
        found.append(Change(model_name, int(base), int(last), record))
    return found


_known: weakref.WeakSet[Epochs] = weakref.WeakSet()


def _begin_in_the_child() -> None:
    for epochs in _known:
        epochs._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_the_child)
