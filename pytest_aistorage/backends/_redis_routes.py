"""The way to several Redis nodes: each command goes to the one that is responsible, whichever that is by now."""

from __future__ import annotations

import dataclasses
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

from .. import _interruption as interruption
from .. import config
from ..errors import AIStorageError, OutcomeUnknownError, StorageUnavailableError
from ..passwords import Passwords
from ._redis_link import Link, is_lost
from ._redis_pool import pool_from_url
from ._redis_replicas import Replicas
from ._redis_scripts import Script

__all__ = ["Address", "RoutedLink"]

Address = tuple[str, int]
"""Host and port of a node."""

# Seconds before a node is asked again that was not ready, or another instead; doubled with each further time.
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.1

# The part of an operation's time that connecting to one node may take, so that others can still be tried.
_CONNECTING: Final = 0.25


class RoutedLink(ABC):
    """Does what `Link` does, with several nodes.

    What surely did not take effect is sent again, to whoever is responsible then, until the time is up: a node
    that could not be reached, one that sends elsewhere, one that is not ready. A write that was sent and whose
    reply was lost is never sent again.

    Args:
        url: without the storage's own options; its hosts are those to begin with.
        path: of the URL of each node, behind its host.
        timeout: seconds that one operation may take.
        max_connections: to each node; threads beyond so many wait for one another.
        replicas: who must have a write before it is acknowledged; None: the node alone.
        passwords: what each node's connections are opened with.
    """

    def __init__(
        self,
        url: config.StorageURL,
        *,
        path: str,
        timeout: float,
        max_connections: int,
        replicas: Replicas | None,
        passwords: Passwords,
    ) -> None:
        self._url = url
        self._passwords = passwords
        self._timeout = timeout
        self._node_url = dataclasses.replace(
            url, scheme=url.scheme.partition("+")[0], path=path, more_hosts=()
        )
        self._max_connections = max_connections
        self._replicas = replicas
        self._links: dict[Address, Link] = {}
        self._link_to(next(self._seeds()))  # says what is wrong with the URL; connects nowhere

    def deadline(self) -> float:
        """Return when an operation that begins now has to end, by the monotonic clock."""
        return time.monotonic() + self._timeout

    def read(self, *command: Any, deadline: float | None = None) -> Any:
        """Send a command that changes nothing, and whose second word is a key; errors as `Link.read`."""
        end = self.deadline() if deadline is None else deadline
        return self._follow(command[1], lambda link: link.ask((command,), end)[0], end, alone=command)

    def run(
        self, script: Script, keys: int, *arguments: Any, writing: bool = True, deadline: float | None = None
    ) -> Any:
        """Run a script where its first key is; arguments and errors as `Link.run`."""
        end = self.deadline() if deadline is None else deadline
        return self._follow(
            arguments[0], lambda link: link.call(script, keys, arguments, end, writing=writing), end
        )

    def ping(self) -> None:
        """Ask every node that is responsible for something for a sign of life.

        Raises:
            StorageUnavailableError: one does not answer.
        """
        end = self.deadline()
        for link in self._responsible(end):
            link.answer(link.ask((("PING",),), end)[0])

    def info(self) -> dict[str, str]:
        """Return what one of the nodes says of itself; errors as `Link.info`."""
        return next(iter(self._responsible(self.deadline()))).info()

    def translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        """Say that an error is none of ours to translate: a node's own link has done that."""
        return None

    def location(self) -> str:
        """Return where the nodes are, as a URL without user, password or options."""
        return dataclasses.replace(self._url, username=None, password=None, query={}).render()

    def disconnect(self) -> None:
        """Close all connections."""
        for link in list(self._links.values()):
            link.disconnect()

    # -- what differs ---------------------------------------------------------------------------------------

    @abstractmethod
    def _owner(self, key: Any, end: float) -> Address:
        """The node that is responsible for a key."""

    @abstractmethod
    def _responsible(self, end: float) -> list[Link]:
        """All nodes that are responsible for something."""

    @abstractmethod
    def _doubt(self) -> None:
        """Find out anew who is responsible before the next command: somebody did not answer."""

    @abstractmethod
    def _redirected(self, refusal: Exception, key: Any, asked: Address) -> Address | bool:
        """Learn from a refusal. An address: ask there, this once; True: try again; False: it is final."""

    # -- inside ---------------------------------------------------------------------------------------------

    def _seeds(self) -> Iterator[Address]:
        """The URL's hosts."""
        default = self._default_port()
        yield self._url.host or "localhost", self._url.port or default
        for host, port in self._url.more_hosts:
            yield host, port or default

    def _default_port(self) -> int:
        return 6379

    def _greeting(self) -> Callable[[Any], None] | None:
        """What greets a node on a new connection; None: the driver."""
        return None

    def _link_to(self, address: Address) -> Link:
        link = self._links.get(address)
        if link is None:
            pool = pool_from_url(
                dataclasses.replace(self._node_url, host=address[0], port=address[1]),
                timeout=self._timeout,
                max_connections=self._max_connections,
                connect_timeout=self._timeout * _CONNECTING,
                on_connect=self._greeting(),
                passwords=self._passwords,
            )
            # Of two threads that meet here, one throws away a pool without connections.
            link = self._links.setdefault(address, Link(pool, self._timeout, "none", self._replicas))
        return link

    def _follow(
        self, key: Any, attempt: Callable[[Link], Any], end: float, *, alone: tuple[Any, ...] | None = None
    ) -> Any:
        """Try it where the key is, as long as it surely had no effect and there is time.

        Args:
            key: says who is responsible.
            attempt: returns the reply, a refusal as an exception.
            end: when the time is up.
            alone: a reading command of this one key, which a node may be asked for that is about to get it.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                address = self._owner(key, end)
                link = self._link_to(address)
                reply = attempt(link)
                if not isinstance(reply, Exception):
                    return reply
                found = self._redirected(reply, key, address)
                if found is not True and found is not False and alone is not None:
                    link = self._link_to(found)
                    _, reply = link.ask((("ASKING",), alone), end)
                    if not isinstance(reply, Exception):
                        return reply
                    found = self._redirected(reply, key, found)
                if found is False:
                    return link.answer(reply)
                problem: Exception = reply
            except OutcomeUnknownError:
                self._doubt()
                raise
            except StorageUnavailableError as error:
                if not is_lost(error):
                    raise
                self._doubt()
                problem = error
            # Up to the pause at random: those who wait for one slot don't all come back at once.
            wait = random.uniform(pause / 2, pause)
            if time.monotonic() + wait >= end:
                raise StorageUnavailableError(
                    f"{self.location()}: the time of {self._timeout:g} s was up; at last: {problem}"
                ) from problem
            interruption.pause(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)
