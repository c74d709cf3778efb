"""What Redis Cluster and Redis Sentinel have in common: a replica may take over from a server."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from .. import config
from ..capabilities import Capability
from ..errors import ConfigurationError
from ..passwords import OPTION, PasswordProvider, Passwords
from ..storage import DEFAULT_TIMEOUT
from ._redis_replicas import Replicas
from ._redis_routes import RoutedLink
from .redis import MAX_CONNECTIONS, RedisStorage, replicas_of

__all__ = ["FailoverStorage"]

_AFTER_A_FAILOVER: Final = "a failover loses what the replica that takes over had not got yet"


class FailoverStorage(RedisStorage):
    """Records on a server that a replica may take over from, by itself.

    Replication is asynchronous, so a failover loses what was acknowledged and had not arrived: no such storage
    declares to be linearizable, never to give a version twice, or to survive the crash of a server. ``wait`` makes it
    unlikely, or impossible; see there. Otherwise each operation on one model is atomic, and on a server that stays
    as safe as on one without replicas.
    """

    url_options: ClassVar[config.OptionChecks] = {
        name: check for name, check in RedisStorage.url_options.items() if name != "durability"
    }
    withheld: ClassVar[Mapping[Capability, str]] = MappingProxyType(
        {
            Capability.LINEARIZABLE: _AFTER_A_FAILOVER,
            Capability.VERSIONS_NEVER_REUSED: f"{_AFTER_A_FAILOVER}, versions too",
        }
    )

    def __init__(
        self,
        url: str,
        *,
        prefix: str | None = None,
        ttl: timedelta | None = None,
        timeout: float | None = None,
        max_connections: int | None = None,
        wait: int | None = None,
        wait_aof: int | None = None,
        password_provider: PasswordProvider | str | None = None,
    ) -> None:
        __tracebackhide__ = True  # pytest would print the URL, with its password
        given = {
            "prefix": prefix,
            "ttl": ttl,
            "timeout": timeout,
            "max_connections": max_connections,
            "wait": wait,
            "wait_aof": wait_aof,
            OPTION: password_provider,
        }
        known = {name: value for name, value in given.items() if value is not None}
        parts, options = config.option_of(config.StorageURL.parse(url), known, self.url_options)
        if parts.scheme not in self.schemes:
            raise ConfigurationError(
                f"no URL of this kind: {parts.scheme}://; known are {', '.join(self.schemes)}"
            )
        link = self._routes(
            parts,
            timeout=options.get("timeout", DEFAULT_TIMEOUT),
            max_connections=options.get("max_connections", MAX_CONNECTIONS),
            replicas=replicas_of(options),
            passwords=Passwords(parts, options.get(OPTION)),
        )
        self._begin(link, options)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open the storage that a URL names; see the class for URLs and options.

        Args:
            url: where it is.
            options: the class's.

        Raises:
            ConfigurationError: a URL or an option that can't be right.
        """
        __tracebackhide__ = True
        # An unknown keyword is an error of this package, not a TypeError.
        config.option_of(config.StorageURL.parse(url), options, cls.url_options)
        return cls(url, **options)

    @abstractmethod
    def _routes(
        self,
        url: config.StorageURL,
        *,
        timeout: float,
        max_connections: int,
        replicas: Replicas | None,
        passwords: Passwords,
    ) -> RoutedLink:
        """The way to the nodes that a URL names; it is checked here."""
