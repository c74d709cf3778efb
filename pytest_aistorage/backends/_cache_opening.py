"""From a URL or a client to the way to a hybrid's cache: one server, a Redis Cluster, or what Sentinels watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .. import config
from ..errors import ConfigurationError
from ..passwords import OPTION, PasswordProvider, Passwords, checked_provider
from ._cache_link import CacheLink
from ._cache_routes import RoutedCacheLink
from ._redis_cluster import partition_of, tags
from ._redis_failover import FailoverStorage
from ._redis_pool import pool_from_url, pool_of
from .redis_cluster import RedisClusterStorage
from .redis_sentinel import RedisSentinelStorage

__all__ = ["CacheAccess", "open_cache"]

_SINGLE: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
_SEVERAL: Final[tuple[type[FailoverStorage], ...]] = (RedisClusterStorage, RedisSentinelStorage)
_PREFIX: Final = "ai_progress:"
_MAX_CONNECTIONS: Final = 50
_ONE_PLACE: Final = "0"


class CacheAccess(NamedTuple):
    """A cache that is opened, and connects with its first use.

    Attributes:
        link: the way to it.
        prefix: begins every key.
        location: where it is, without any password.
        place_of: the hash tag of a model's keys, where a server may take another one's place; None: there is one.
        close: closes what was opened.
    """

    link: CacheLink | RoutedCacheLink
    prefix: str
    location: str
    place_of: Callable[[str], str] | None
    close: Callable[[], None]


def open_cache(
    url: str | None,
    client: Any,
    *,
    timeout: float,
    evicts: bool,
    provider: PasswordProvider | str | None = None,
) -> CacheAccess:
    """Open the cache that a URL names, or that a client leads to.

    Args:
        url: of the cache, or None.
        client: a `redis.Redis` instead; never closed.
        timeout: seconds that one exchange may take.
        evicts: whether a cache is taken that drops keys when its memory runs short.
        provider: of passwords; wins over the URL's.

    Raises:
        ConfigurationError: a URL that can't be right, or of no cache.
    """
    __tracebackhide__ = True  # the URL's password
    if url is None:
        link = CacheLink(pool_of(client), evicts=evicts)
        return CacheAccess(link, _PREFIX, "a client that was handed in", None, link.close)
    said = {} if provider is None else {OPTION: provider}
    where, options = config.option_of(
        config.StorageURL.parse(url), said, {"prefix": config.text, OPTION: checked_provider}
    )
    prefix = options.get("prefix", _PREFIX)
    provider = options.get(OPTION)
    for storage in _SEVERAL:
        if where.scheme in storage.schemes:
            opened = storage(
                where.render(),
                prefix=prefix,
                timeout=timeout,
                max_connections=_MAX_CONNECTIONS,
                password_provider=provider,
            )
            routed = RoutedCacheLink(opened._link, evicts=evicts)  # type: ignore[arg-type]  # as FailoverStorage says
            place_of = _partition if storage is RedisClusterStorage else _anywhere
            return CacheAccess(routed, prefix, opened._link.location(), place_of, routed.close)
    if where.scheme not in _SINGLE:
        known = [*_SINGLE, *(scheme for storage in _SEVERAL for scheme in storage.schemes)]
        raise ConfigurationError(
            f"option cache: no Redis URL: {where.scheme}://; known are {', '.join(known)}"
        )
    pool = pool_from_url(
        where, timeout=timeout, max_connections=_MAX_CONNECTIONS, passwords=Passwords(where, provider)
    )
    link = CacheLink(pool, evicts=evicts)

    def close() -> None:
        link.close()
        pool.disconnect()

    return CacheAccess(link, prefix, str(where), None, close)


def _partition(model_name: str) -> str:
    return tags()[partition_of(model_name)]


def _anywhere(model_name: str) -> str:
    return _ONE_PLACE
