"""The way to a cache of several servers, a Redis Cluster: each exchange goes to the master of its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from ..errors import StorageUnavailableError
from ._cache_link import CacheDown, CacheLink, Command, Redirected
from ._redis_routes import Address, RoutedLink

__all__ = ["RoutedCacheLink"]

T = TypeVar("T")

_ANY: Final = "any"
_PAUSE: Final = 0.005


class RoutedCacheLink:
    """Does what `CacheLink` does, with several servers. What is redirected is sent there, for a short time.

    Args:
        routes: who is responsible; for its topology alone.
    """

    def __init__(self, routes: RoutedLink, *, evicts: bool) -> None:
        self._routes = routes
        self._evicts = evicts
        self._links: dict[Address, CacheLink] = {}
        self.trouble: str | None = None

    def exchange(
        self, commands: Callable[[str], Sequence[Command]], place: str = "", *, once: bool = False
    ) -> list[Any]:
        """Send commands to the master of a place; errors as `CacheLink.exchange`.

        Args:
            commands: as for `CacheLink.exchange`.
            place: the hash tag of all their keys.
            once: as for `CacheLink.exchange`.
        """
        return self._done(place, lambda link: link.exchange(commands, once=once))

    def send(self, commands: Callable[[str], Sequence[Command]], place: str = "") -> None:
        """Send commands, and wait for no reply; errors as `CacheLink.send`."""
        self._done(place, lambda link: link.send(commands))

    def server(self) -> str:
        """Say what answers: product and version; errors as `CacheLink.server`."""
        return self._done(_ANY, lambda link: link.server())

    def ask_anew(self) -> None:
        """Forget what the servers called themselves: they may have been replicas meanwhile."""
        for link in list(self._links.values()):
            link.ask_anew()

    def close(self) -> None:
        """Close all connections."""
        for link in list(self._links.values()):
            link.close()
        self._routes.disconnect()

    def _done(self, place: str, send: Callable[[CacheLink], T]) -> T:
        end = self._routes.deadline()
        key = f"{{{place}}}"
        while True:
            try:
                address = self._routes._owner(key, end)
                done = send(self._link_to(address))
            except Redirected as redirected:
                found = self._routes._redirected(redirected.refusal, key, address)
                if found is False or time.monotonic() + _PAUSE > end:
                    self.trouble = str(redirected.refusal)
                    raise CacheDown(self.trouble) from None
                # A slot that is on its way is waited for: its keys may be in both places.
                time.sleep(_PAUSE)
            except StorageUnavailableError as error:  # no node tells who is responsible
                self.trouble = str(error)
                raise CacheDown(self.trouble) from None
            except CacheDown as down:
                self._routes._doubt()
                self.trouble = str(down)
                raise
            else:
                self.trouble = None
                return done

    def _link_to(self, address: Address) -> CacheLink:
        link = self._links.get(address)
        if link is None:
            pool = self._routes._link_to(address)._pool
            link = self._links.setdefault(address, CacheLink(pool, evicts=self._evicts, of_several=True))
        return link
