"""Records in a Redis or Valkey that Redis Sentinels watch over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .. import config
from ..capabilities import Capability
from ..errors import ConfigurationError
from ..passwords import Passwords
from ._redis_failover import FailoverStorage
from ._redis_replicas import Replicas
from ._redis_sentinel import SentinelLink

__all__ = ["RedisSentinelStorage"]


class RedisSentinelStorage(FailoverStorage):
    """Records on the master that Redis Sentinels know by a name; after a failover, on its successor.

    Each operation is one script or one command on one server, so a batch is atomic and a listing one moment's.
    The sentinels are asked when the master does not answer or says that it is none any more; each new connection
    and each read makes sure that it is one. Meanwhile operations wait; after ``timeout`` they end with
    `StorageUnavailableError`, and nothing was written. A write that was sent and whose reply was lost is never sent
    again: `OutcomeUnknownError`.

    A master that is cut off from its sentinels goes on taking writes until it learns that another has taken over, and
    then drops them: that is what ``wait`` and the server's ``min-replicas-to-write`` are for.

    Args:
        url: ``redis+sentinel://user:password@host:26379,host:26379/name/0``: the sentinels, the name that they know
            the master by, and its database; user and password are the master's. With TLS ``rediss+sentinel://`` and
            the ``ssl_…`` parameters of `RedisStorage`, for both. Also ``valkey+sentinel://`` and
            ``valkeys+sentinel://``. Parameters ``sentinel_username`` and ``sentinel_password``: the sentinels' own.
            Each option below can stand in its query.
        prefix: begins every key, ``"ai_progress:"`` by default.
        ttl: the time to live of a save that gives none; in the URL in seconds.
        timeout: seconds that one operation may take, 5 by default. A failover takes longer than the sentinels'
            ``down-after-milliseconds``; an operation that is to outlast it needs more than that.
        max_connections: threads beyond so many wait for one another; 50 by default.
        wait: how many replicas must have a write before it is acknowledged; see `RedisStorage`.
        wait_aof: the same, fsynced.
        password_provider: of the master's user; see `RedisStorage`.

    Raises:
        ConfigurationError: a URL or an option that can't be right. From the first operation: no sentinel knows the
            name, the server's settings let it drop any key, or it does not know ``WAITAOF``.
    """

    schemes: ClassVar[tuple[str, ...]] = (
        "redis+sentinel",
        "rediss+sentinel",
        "valkey+sentinel",
        "valkeys+sentinel",
    )

    def _routes(
        self,
        url: config.StorageURL,
        *,
        timeout: float,
        max_connections: int,
        replicas: Replicas | None,
        passwords: Passwords,
    ) -> SentinelLink:
        service, _, database = url.path.strip("/").partition("/")
        if not service:
            raise ConfigurationError(
                f"{url.scheme}:// URL: the master's name is missing: {url.scheme}://host:26379/name/0"
            )
        if not (database or "0").isdecimal():
            raise ConfigurationError(f"{url.scheme}:// URL: a Redis database is a number, not {database!r}")
        return SentinelLink(
            url.without("sentinel_username", "sentinel_password"),
            service,
            path=f"/{int(database or 0)}",
            credentials=(url.query.get("sentinel_username"), url.query.get("sentinel_password")),
            timeout=timeout,
            max_connections=max_connections,
            replicas=replicas,
            passwords=passwords,
        )

    def _begin(self, link: Any, options: Mapping[str, Any]) -> None:
        super()._begin(link, options)
        self.capabilities = frozenset(
            {
                Capability.SHARED_BETWEEN_PROCESSES,
                Capability.SURVIVES_CLOSE,
                Capability.SURVIVES_CLIENT_CRASH,
                Capability.ATOMIC_BATCH,
                Capability.SNAPSHOT_LISTING,
                Capability.EXPIRY,
            }
        )
