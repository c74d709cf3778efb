"""The cache of a hybrid storage: leased copies of what a database holds, and the announcements of writes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Final

from .. import _interruption as interruption
from .. import codec
from ..errors import OutcomeUnknownError, StorageUnavailableError
from ..progress import AIProgress
from . import _cache_scripts as scripts
from ._cache_link import CacheDown, CacheLink, Command
from ._cache_routes import RoutedCacheLink
from ._cache_table import CacheTable, Seen
from ._redis_records import decoded
from ._reigns import BELIEVED, Reigns

__all__ = ["Cache", "Claim", "Write"]

_ABSENT: Final = b"-"
_REMEMBERED: Final = 30 * 86400 * 1000
"""Milliseconds for which the cache remembers since when it has been complete."""

_HELD_BACK: Final = 0.05
"""Seconds for which a reader waits for another one's filling, before it reads the database itself."""

_CUT_OFF: Final = 10.0
"""Seconds, at least, for which a client lets all others know that it writes without the cache."""

_TRIES: Final = 5
"""Announcements to a server that has to begin its reign. More are needed only where two servers claim the same place,
each with clients of its own; whoever does not get through goes on without the cache."""

_DRIFT: Final = 1.05
"""How much longer than a lease its end is waited for: the cache's clock may be slower than ours."""


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """The right of one client to fill one value, once."""

    model_name: str
    token: str
    process: str


class Write:
    """A write that all readers of the cache know of, or before which there is nothing to be read there."""

    def __init__(self, cache: Cache, model_names: Sequence[str]) -> None:
        self._cache = cache
        self._model_names = model_names
        self._token = secrets.token_hex(8)
        self._renew_from = 0.0

    def announce(self) -> None:
        """See to it that no value of these models is read from the cache, and none filled, until the write ends.

        Where the cache does not answer, this waits until all leases have ended.

        Raises:
            StorageUnavailableError: neither the cache nor the database answers.
        """
        began = time.monotonic()
        if self._cache.block(self._model_names, self._token):
            self._renew_from = began + self._cache.span / 4
        else:
            self._renew_from = self._cache.write_alone()

    def renew(self) -> bool:
        """See to it that there is time enough left for the database to carry the write out.

        Returns:
            False: there is not, and the cache does not answer; the write is to be announced anew.
        """
        if (now := time.monotonic()) < self._renew_from:
            return True
        if not self._cache.block(self._model_names, self._token):
            return False
        self._renew_from = now + self._cache.span / 4
        return True

    def end(self) -> None:
        """Let the models be cached again. A write of unknown outcome is not ended: its span is."""
        self._cache.unblock(self._model_names, self._token)


class Cache:
    """Leased copies of records, in one Redis for all clients of a store.

    What holds: when the database commits a write of a model, no value of it can be read from the cache, and none
    that was read before can appear there later. So a value that is read is what the database holds at that moment.
    A write is announced first (`Write`), which removes the value, and keeps others from filling one until it
    ends. Who can't announce makes a mark in the database, which keeps everybody from filling, and waits one lease.
    The method is that of Gray and Cheriton (Leases, 1989) with the lease-get of memcached at Facebook (Nishtala and
    others, 2013) against fills that come late.

    Args:
        link: the way to the cache.
        table: what the clients tell each other by the database.
        prefix: begins every key.
        lease: seconds that a value may be read after the moment at which its reading began; 0: a minute, and nobody
            waits for its end.
        span: seconds within which a write has ended, one way or the other, after it was announced.
        reigns: where one of several servers holds a place: which. Keys of a place have one hash tag. None: there is
            one server, which nobody takes the place of.
    """

    def __init__(
        self,
        link: CacheLink | RoutedCacheLink,
        table: CacheTable,
        *,
        prefix: str,
        lease: float,
        span: float,
        reigns: Reigns | None = None,
    ) -> None:
        self._link = link
        self._prefix = prefix
        self._table = table
        self._waits = lease > 0
        self._lease = lease or 60.0
        self.span = span
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._mark = _Mark()
        self._reigns = reigns

    # -- reading --------------------------------------------------------------------------------------------

    def get(self, model_name: str) -> tuple[AIProgress | None] | Claim | None:
        """Look a model up.

        Returns:
            The record, or None for an absent model, in a tuple; or a claim: read the database, then `fill`; or None:
            read the database, there is nothing to fill.

        Raises:
            StorageUnavailableError: it is the first use, and the database does not answer.
            ConfigurationError: the cache can't be used safely.
        """
        with contextlib.suppress(CacheDown):
            store = self._registered().store
            value = self._link.exchange(
                lambda process: [("GET", self._key(store, process, "value", model_name))],
                self._place(model_name),
            )[0]
            if value is not None:
                return (_read(model_name, value),)
            return self._claimed(store, model_name)
        return None

    def fill(self, claim: Claim, record: AIProgress | None) -> None:
        """Use a claim: put into the cache what was read in the database after the claim was given.

        Nothing is filled if the lease is over, a write was announced meanwhile, or some client is cut off.

        Raises:
            StorageUnavailableError: the database does not answer.
        """
        seen = self._table.seen()
        registered = self._registered()
        if seen.store != registered.store:  # the table was emptied, and is another's now
            with self._lock:
                self._seen = None
            self.give_back(claim)
            return
        value = _ABSENT if record is None else _text(record)
        cut_off = seen.cut_off and self._waits
        if cut_off or not self._reigns_long(claim, seen):
            value = b""
        self._fill(claim, registered.store, value, seen.span)

    def _reigns_long(self, claim: Claim, seen: Seen) -> bool:
        """Whether all writes that were announced to another server than this one are over."""
        if self._reigns is None:
            return True
        place = self._place(claim.model_name)
        reign = self._reigns.of(place)
        if reign is None or reign.name != claim.process:
            self._link.ask_anew()
            self._reigns.begin(place, claim.process)
            if reign is None:
                self._complete(seen.store, place)
            return False
        # The record was read up to one lease ago.
        return reign.age > seen.span + seen.lease + BELIEVED

    def _complete(self, store: str, place: str = "") -> None:
        """Tell the cache that it has missed no announcement: nobody can have made any."""
        with contextlib.suppress(CacheDown):
            self._link.exchange(
                lambda process: [
                    ("SET", self._key(store, process, "epoch", place=place), 0, "PX", _REMEMBERED)
                ],
                place,
            )

    def give_back(self, claim: Claim) -> None:
        """Give a claim back unused, so that another client may fill."""
        self._fill(claim, self._registered().store, b"", 0.0)

    def _fill(self, claim: Claim, store: str, value: bytes, span: float) -> None:
        place = self._place(claim.model_name)

        def fill(process: str) -> list[Command]:
            if process != claim.process:
                raise CacheDown("the claim was another server's")
            keys = [self._key(store, process, kind, claim.model_name) for kind in ("value", "fill")]
            epoch = self._key(store, process, "epoch", place=place)
            return [(scripts.FILL, 3, *keys, epoch, claim.token, value, _ms(span))]

        with contextlib.suppress(CacheDown):
            self._link.exchange(fill, place)

    def _claimed(self, store: str, model_name: str) -> tuple[AIProgress | None] | Claim | None:
        token = secrets.token_hex(8)
        patience = time.monotonic() + _HELD_BACK
        pause = 0.001

        place = self._place(model_name)
        asked = ""

        def claim(process: str) -> list[Command]:
            nonlocal asked
            asked = process
            keys = [self._key(store, process, kind, model_name) for kind in ("value", "fill", "block")]
            epoch = self._key(store, process, "epoch", place=place)
            return [(scripts.CLAIM, 4, *keys, epoch, token, _ms(self._lease), _REMEMBERED)]

        while True:
            reply = self._link.exchange(claim, place)[0]
            if isinstance(reply, bytes):
                return (_read(model_name, reply),)
            if reply == scripts.GRANTED:
                return Claim(model_name, token, asked)
            if reply == scripts.BLOCKED or time.monotonic() + pause > patience:
                return None
            interruption.pause(pause)
            pause *= 2

    # -- writing --------------------------------------------------------------------------------------------

    def block(self, model_names: Sequence[str], token: str) -> bool:
        """Announce a write of these models in the cache.

        Returns:
            Whether it is announced; False: the cache does not answer.
        """
        placed = self._placed(model_names)
        with contextlib.suppress(CacheDown):
            for _ in range(_TRIES):
                # All of them once more where one took its time: what was announced first may be over by then.
                done = [self._block(place, names, token) for place, names in placed.items()]
                if all(done):
                    return True
        return False

    def _block(self, place: str, model_names: Sequence[str], token: str) -> bool:
        """Announce a write of the models of one place; False: it may have to be announced to another server."""
        registered = self._registered()
        asked = ""

        def block(process: str) -> list[Command]:
            nonlocal asked
            asked = process
            keys = [
                self._key(registered.store, process, kind, name)
                for name in model_names
                for kind in ("value", "fill", "block")
            ]
            return [(scripts.BLOCK, len(keys), *keys, token, _ms(self.span))]

        self._link.exchange(block, place)
        if self._reigns is None or self._reigns.is_believed(place, asked):
            return True
        reign = self._reigns.of(place)
        if reign is None:
            self._complete(registered.store, place)
        elif reign.name != asked:
            self._link.ask_anew()
            self._link.exchange(block, place)
        return self._reigns.confirm(place, asked, registered.lease if self._waits else 0.0)

    def unblock(self, model_names: Sequence[str], token: str) -> None:
        """Let models be cached again; where that fails, they will be when the write's span is over."""
        store = self._registered().store

        for place, names in self._placed(model_names).items():

            def unblock(process: str, names: Sequence[str] = names) -> list[Command]:
                return [("ZREM", self._key(store, process, "block", name), token) for name in names]

            with contextlib.suppress(CacheDown):
                self._link.send(unblock, place)

    def write_alone(self) -> float:
        """Keep everybody from filling, and wait until what was filled before is gone.

        Returns:
            Until when, by the monotonic clock, a write may be begun.

        Raises:
            StorageUnavailableError: the database does not answer.
        """
        if not self._waits:
            return math.inf
        with self._lock:
            now = time.monotonic()
            lasting = max(_CUT_OFF, 4 * self.span)
            mark = self._mark if self._mark.process == os.getpid() else _Mark()
            if now > mark.until - 2 * self.span:
                try:
                    self._table.mark(mark.client, lasting)
                except OutcomeUnknownError as error:
                    raise StorageUnavailableError(f"nothing was written: {error}") from error
                free_from = mark.free_from
                if now > mark.until:
                    free_from = time.monotonic() + self._table.seen().lease * _DRIFT
                mark = self._mark = _Mark(mark.client, mark.process, now + lasting, free_from)
        while (left := mark.free_from - time.monotonic()) > 0:
            interruption.pause(left)
        return mark.until - 2 * self.span

    def forget(self) -> None:
        """Take back what this client told the others.

        Raises:
            StorageUnavailableError, OutcomeUnknownError: the database does not answer; then it ends by itself.
        """
        with self._lock:
            mark, self._mark = self._mark, _Mark()
            if mark.process == os.getpid() and time.monotonic() < mark.until:
                self._table.clear(mark.client)

    # -- inside ---------------------------------------------------------------------------------------------

    def _place(self, model_name: str) -> str:
        """The hash tag of a model's keys; empty: there is one server."""
        return "" if self._reigns is None else self._reigns.place_of(model_name)

    def _placed(self, model_names: Sequence[str]) -> dict[str, list[str]]:
        placed: dict[str, list[str]] = {}
        for name in model_names:
            placed.setdefault(self._place(name), []).append(name)
        return placed

    def _key(
        self, store: str, process: str, kind: str, model_name: str = "", *, place: str | None = None
    ) -> str:
        tag = self._place(model_name) if place is None else place
        prefix = f"{self._prefix}{{{tag}}}" if tag else self._prefix
        return f"{prefix}cache:{store}:{process}:{kind}:{model_name}"

    def _registered(self) -> Seen:
        if (seen := self._seen) is not None:
            return seen
        with self._lock:
            if self._seen is None:
                self._table.prepare()
                if self._reigns is not None:
                    self._reigns.prepare()
                if not (name := self._table.seen().store):
                    name = secrets.token_hex(8)
                    if self._reigns is None:
                        self._complete(name)
                self._table.register(name, self._lease, self.span)
                self._seen = self._table.seen()
            return self._seen


@dataclasses.dataclass(frozen=True, slots=True)
class _Mark:
    """What a client that is cut off has told the others. A forked child makes its own.

    Attributes:
        client: by what name.
        process: the id of the process that told it.
        until: until when it holds, by the monotonic clock.
        free_from: from when on nothing can be read that was filled before.
    """

    client: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    process: int = dataclasses.field(default_factory=os.getpid)
    until: float = 0.0
    free_from: float = 0.0


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(record: AIProgress) -> bytes:
    assert record.created_at is not None  # what is stored has stamps
    assert record.updated_at is not None
    created, updated = codec.to_microseconds(record.created_at), codec.to_microseconds(record.updated_at)
    return f"{record.version} {created} {updated} {codec.fields_to_text(record)}".encode()


def _read(model_name: str, value: bytes) -> AIProgress | None:
    return None if value == _ABSENT else decoded(model_name, value)
