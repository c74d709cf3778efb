"""The way to the master that Redis Sentinels know by name, whichever server that is by now."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Final

from .. import config
from ..errors import ConfigurationError, StorageUnavailableError
from ..passwords import Passwords
from ._redis_link import Link, code_of
from ._redis_pool import pool_from_url
from ._redis_replicas import Replicas
from ._redis_routes import Address, RoutedLink
from ._redis_scripts import Script

try:
    import redis
except ImportError as missing:
    raise config.missing_extra("redis", "redis", "redis") from missing

__all__ = ["SentinelLink"]

_PORT: Final = 26379

# Connections to each sentinel: it is asked once a failover.
_SENTINEL_CONNECTIONS: Final = 4


class SentinelLink(RoutedLink):
    """Sends all commands to one master, and asks the sentinels for it anew when it is none any more.

    Args:
        url: of the sentinels, without the storage's own options; user and password are the master's.
        service: what they call the master.
        path: the database of the master, ``"/0"``.
        credentials: user and password of the sentinels; each None where there is none.
        timeout: as for `RoutedLink`, and so are the others.
        max_connections: to the master.
        replicas: who must have a write before it is acknowledged; None: the master alone.
        passwords: of the master's user; the sentinels have those in `credentials`.
    """

    def __init__(
        self,
        url: config.StorageURL,
        service: str,
        *,
        path: str,
        credentials: tuple[str | None, str | None],
        timeout: float,
        max_connections: int,
        replicas: Replicas | None,
        passwords: Passwords,
    ) -> None:
        super().__init__(
            url,
            path=path,
            timeout=timeout,
            max_connections=max_connections,
            replicas=replicas,
            passwords=passwords,
        )
        self._service = service
        self._database = path
        user, password = credentials
        self._sentinel_url = dataclasses.replace(self._node_url, username=user, password=password, path="")
        self._sentinels: dict[Address, Link] = {}
        self._master: Address | None = None

    def read(self, *command: Any, deadline: float | None = None) -> Any:
        """Send a command that changes nothing; errors as `Link.read`. What a replica answers is no answer."""
        end = self.deadline() if deadline is None else deadline

        def attempt(link: Link) -> Any:
            reply, role = link.ask((command, ("ROLE",)), end)
            return _of_a_master(reply, role)

        return self._follow(command[1], attempt, end)

    def run(
        self, script: Script, keys: int, *arguments: Any, writing: bool = True, deadline: float | None = None
    ) -> Any:
        """Run a script; arguments and errors as `Link.run`. What a replica answers is no answer."""
        end = self.deadline() if deadline is None else deadline

        def attempt(link: Link) -> Any:
            reply = link.call(script, keys, arguments, end, writing=writing)
            # A replica refuses what writes.
            return reply if writing else _of_a_master(reply, link.ask((("ROLE",),), end)[0])

        return self._follow(arguments[0], attempt, end)

    def location(self) -> str:
        """Return where the sentinels are, and what they call the master; no user, no password."""
        shown = dataclasses.replace(
            self._url, username=None, password=None, path=f"/{self._service}{self._database}", query={}
        )
        return shown.render()

    def disconnect(self) -> None:
        """Close all connections."""
        super().disconnect()
        for sentinel in list(self._sentinels.values()):
            sentinel.disconnect()

    # -- what differs ---------------------------------------------------------------------------------------

    def _default_port(self) -> int:
        return _PORT

    def _greeting(self) -> Callable[[Any], None]:
        return _greet_a_master

    def _owner(self, key: Any, end: float) -> Address:
        master = self._master
        return self._found(end) if master is None else master

    def _responsible(self, end: float) -> list[Link]:
        return [self._link_to(self._owner("", end))]

    def _doubt(self) -> None:
        self._master = None

    def _redirected(self, refusal: Exception, key: Any, asked: Address) -> Address | bool:
        if code_of(refusal) not in ("READONLY", "MASTERDOWN", "LOADING"):
            return False
        self._doubt()
        return True

    # -- inside ---------------------------------------------------------------------------------------------

    def _found(self, end: float) -> Address:
        """Ask the sentinels one after the other; the first that answers next time comes first."""
        failure: StorageUnavailableError | None = None
        unknown = False
        for address in dict.fromkeys([*self._sentinels, *self._seeds()]):
            share = time.monotonic() + max(0.1, (end - time.monotonic()) / 2)
            command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            sentinel = self._sentinel(address)
            try:
                reply = sentinel.answer(sentinel.ask((command,), min(end, share))[0])
            except StorageUnavailableError as error:
                failure = error
                # Behind the others.
                self._sentinels[address] = self._sentinels.pop(address, sentinel)
                continue
            if reply is None:
                unknown = True
                continue
            host, port = reply
            self._master = host.decode(), int(port)
            return self._master
        if unknown:
            raise ConfigurationError(f"{self.location()}: the sentinels know no master {self._service!r}")
        raise StorageUnavailableError(f"{self.location()}: no sentinel answers; at last: {failure}")

    def _sentinel(self, address: Address) -> Link:
        link = self._sentinels.get(address)
        if link is None:
            pool = pool_from_url(
                dataclasses.replace(self._sentinel_url, host=address[0], port=address[1]),
                timeout=self._timeout,
                max_connections=_SENTINEL_CONNECTIONS,
                connect_timeout=self._timeout / 4,
            )
            link = self._sentinels.setdefault(address, Link(pool, self._timeout, None))
        return link


def _of_a_master(reply: Any, role: Any) -> Any:
    """The reply, if the server was still a master behind it; else the error by which a replica refuses a write."""
    if isinstance(reply, Exception):
        return reply
    if isinstance(role, Exception):
        return role
    return reply if role[0] in (b"master", "master") else redis.ReadOnlyError("it is a replica now")


def _greet_a_master(connection: Any) -> None:
    """Greet as the driver does, then refuse what is no master.

    A master that was demoted answers reads with what is outdated, and it does not say so.
    """
    connection.on_connect()
    connection.send_command("ROLE")
    role = connection.read_response()[0]
    if role not in (b"master", "master"):
        raise redis.ConnectionError("it is a replica now")
