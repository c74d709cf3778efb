"""A hybrid store: tables that are emptied, and a cache that is."""

from __future__ import annotations

from urllib.parse import quote

from ..registry import open_storage
from .opener import StoreOpener
from .stores import Store

__all__ = ["HybridStore", "with_cache"]


class HybridStore(Store):
    """A database's store and a Redis' store, one the cache of the other.

    Each test opens its own storages: one that outlived its test would know the store by a name that went with the
    tables' rows.

    Args:
        database: the store of the database.
        cache: the store of the Redis.
    """

    def __init__(self, database: Store, cache: Store) -> None:
        self._database = database
        self._cache = cache

    def begin(self) -> None:
        """Begin to empty both."""
        self._database.begin()
        self._cache.begin()

    def renew(self) -> StoreOpener:
        """Empty both."""
        url = with_cache(self._database.renew().url, self._cache.renew().url)
        return StoreOpener(url, open_storage, backend="hybrid")

    def settle(self) -> None:
        """Give up what only the last test needed."""
        self._database.settle()
        self._cache.settle()

    def close(self) -> None:
        """Give both up."""
        self._database.close()
        self._cache.close()


def with_cache(url: str, cache: str) -> str:
    """Return the URL of a database with that of its cache in it."""
    return f"{url}{'&' if '?' in url else '?'}cache={quote(cache, safe='')}"
