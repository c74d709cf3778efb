"""Records in a database, with copies in a Redis or Valkey from which they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from .. import config
from ..capabilities import Capability
from ..errors import AIStorageError, ConfigurationError, OutcomeUnknownError, StorageUnavailableError
from ..progress import AIProgress, ProgressQuery
from ..storage import AIStorage, Change, ChangeRaised
from ._cache import Cache, Claim, Write
from ._cache_link import CacheDown, CacheLink
from ._cache_table import CacheTable
from ._redis_pool import pool_from_url, pool_of
from .database import DatabaseStorage

if TYPE_CHECKING:
    import sqlalchemy as sa
    from redis import Redis

__all__ = ["HybridStorage"]

T = TypeVar("T")

_PREFIX = "ai_progress:"
_LEASE = 1.0
_CACHE_TIMEOUT = 0.5
_MAX_CONNECTIONS = 50
_TRIES = 3
"""Of an update whose `change` takes longer than its announcement lasts, while the cache does not answer."""


_CACHES = ("redis", "rediss", "valkey", "valkeys", "unix")


def _lease(name: str, value: object) -> float:
    return 0.0 if value in (0, "0") else config.seconds(name, value)


_OPTIONS: config.OptionChecks = {
    "cache": config.text,
    "lease": _lease,
    "cache_timeout": config.seconds,
}


class HybridStorage(AIStorage):
    """Records in a database, the only truth, and copies of them in a cache, from which `get_progress` reads.

    A save is acknowledged when it is in the database. Before it is written it is announced in the cache, which
    removes the copy; so no read ever returns what is older than an acknowledged save, whoever else writes, and also
    while the cache is killed, loses its data, or comes back with old data from its disk. A copy is read for no
    longer than its lease. A client that can't reach the cache tells the others so by the database, waits until all
    leases have ended, and then writes without it.

    Without the cache everything goes on with the database; `degraded` says why. Without the database, what is
    cached can be read until its lease ends; all else raises `StorageUnavailableError`. Listings and queries always
    read the database.

    What is assumed: the clocks of a client and of the cache run at nearly the same speed, and the cache's is not set
    back; a client does not stand still for longer than three times its timeout between announcing a write and
    sending it to the database.

    Args:
        url: of the database: ``postgresql://…``, ``mysql://…``, ``mariadb://…`` or ``sqlite:///…``. Each option below
            can stand in its query.
        cache: URL of the cache: ``redis://…``, ``rediss://…``, ``valkey://…``, ``valkeys://…`` or ``unix://…``;
            ``?prefix=`` in it begins every key, ``ai_progress:`` by default.
        db: a SQLAlchemy engine instead of the URL; never closed.
        redis: a `redis.Redis` instead of the cache's URL; never closed.
        lease: seconds that a copy may be read after its reading from the database began, 1 by default. It is what a
            client waits that can't reach the cache, once; and how long reads go on without the database. 0: a copy
            is read for a minute, nobody waits, and `Capability.LINEARIZABLE` is not declared.
        cache_timeout: seconds that one exchange with the cache may take before the database is asked, 0.5 by default.
        timeout: seconds that one exchange with the database may take, 5 by default.
        pool_size: connections to the database kept open, 5 by default.
        max_overflow: connections opened beyond those for a while; 10 by default.
        replica: the database's, as `DatabaseStorage` has it.
        durability: the database's, as `DatabaseStorage` has it.

    Raises:
        ConfigurationError: a URL or an option that can't be right, a driver that is missing. From the first use:
            the cache may drop keys when its memory runs short, or does not tell its run_id.
    """

    type: ClassVar[str] = "hybrid"
    schemes: ClassVar[tuple[str, ...]] = ()
    url_options: ClassVar[config.OptionChecks] = {**DatabaseStorage.url_options, **_OPTIONS}

    def __init__(
        self,
        url: str | None = None,
        cache: str | None = None,
        *,
        db: sa.Engine | None = None,
        redis: Redis | None = None,
        lease: float | None = None,
        cache_timeout: float | None = None,
        timeout: float | None = None,
        pool_size: int | None = None,
        max_overflow: int | None = None,
        replica: str | None = None,
        durability: str | None = None,
    ) -> None:
        __tracebackhide__ = True  # the URLs' passwords
        given = {"cache": cache, "lease": lease, "cache_timeout": cache_timeout}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if url is not None:
            parts, options = config.option_of(config.StorageURL.parse(url), options, _OPTIONS)
            url = parts.render()
        else:
            options = {name: _OPTIONS[name](name, value) for name, value in options.items()}
        cache = options.get("cache")
        if (cache is None) == (redis is None):
            raise ConfigurationError(
                "a hybrid storage needs either a cache's URL or a Redis client (redis=…)"
            )
        self._pool = pool = None
        if cache is not None:
            where, keys = config.option_of(config.StorageURL.parse(cache), {}, {"prefix": config.text})
            if where.scheme not in _CACHES:
                raise ConfigurationError(f"option cache: no Redis URL: {where.scheme}://")
            self._pool = pool = pool_from_url(
                where, timeout=options.get("cache_timeout", _CACHE_TIMEOUT), max_connections=_MAX_CONNECTIONS
            )
            self._cache_location = str(where)
        else:
            pool = pool_of(redis)
            keys = {}
            self._cache_location = "a client that was handed in"
        self._database = DatabaseStorage(
            url,
            db=db,
            timeout=timeout,
            pool_size=pool_size,
            max_overflow=max_overflow,
            replica=replica,
            durability=durability,
        )
        leased: float = options.get("lease", _LEASE)
        executor = self._database._executor
        self._link = CacheLink(pool, evicts=not leased)
        self._cache = Cache(
            self._link,
            CacheTable(executor),
            prefix=keys.get("prefix", _PREFIX),
            lease=leased,
            # One try may begin when the time is nearly up; then there is its answer, and a connection before it.
            span=3 * executor.timeout + 1,
        )
        self.capabilities = self._database.capabilities
        if not leased:
            self.capabilities -= {Capability.LINEARIZABLE}

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open the database that the URL names with the cache of the option ``cache``.

        Args:
            url: of the database.
            options: the class's.

        Raises:
            ConfigurationError: as the class does, or an unknown option.
        """
        __tracebackhide__ = True  # pytest would print the URL, with its password
        engine, client = options.pop("db", None), options.pop("redis", None)
        # An unknown keyword is an error of this package, not a TypeError.
        config.option_of(config.StorageURL.parse(url), options, cls.url_options)
        if client is not None:
            options.pop("cache", None)
        return cls(url if engine is None else None, db=engine, redis=client, **options)

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Refuse: no empty store comes without two servers.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            "a fresh hybrid store needs two servers: hand in a database's URL and ?cache=redis://…"
        )

    @property
    def degraded(self) -> str | None:
        """Why reads and writes go to the database alone; None: they don't, as far as is known."""
        return self._cache.trouble

    # -- hooks ----------------------------------------------------------------------------------------------

    def _get(self, model_name: str) -> AIProgress | None:
        found = self._cache.get(model_name)
        if isinstance(found, tuple):
            return found[0]
        if found is None:
            return self._database._get(model_name)
        return self._filled(found)

    def _filled(self, claim: Claim) -> AIProgress | None:
        try:
            record = self._database._get(claim.model_name)
        except BaseException:
            self._cache.give_back(claim)
            raise
        try:
            self._cache.fill(claim, record)
        except StorageUnavailableError:  # the database went away behind the answer, which is as good as ever
            self._cache.give_back(claim)
        return record

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        with self._writing([record.model_name]):
            return self._database._save(record, expected, ttl)

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        with self._writing([record.model_name for record in records]):
            return self._database._save_many(records, ttl)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        with self._writing([model_name]):
            return self._database._delete(model_name, expected)

    def _update(self, model_name: str, change: Change) -> AIProgress:
        for _ in range(_TRIES):
            with contextlib.suppress(_Late), self._writing([model_name]) as write:
                return self._database._update(model_name, _in_time(change, write))
        raise StorageUnavailableError(
            f"{self._location()}: model {model_name!r}: change takes longer than others can be kept from the cache"
        )

    @contextlib.contextmanager
    def _writing(self, model_names: Sequence[str]) -> Iterator[Write]:
        """Announce a write for the length of a ``with`` block; one of unknown outcome stays announced."""
        write = Write(self._cache, model_names)
        write.announce()
        try:
            yield write
        except OutcomeUnknownError:
            raise
        except (AIStorageError, ChangeRaised):  # nothing of it can still take effect
            write.end()
            raise
        write.end()

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        return self._database._iter(batch_size)

    def _load(self) -> list[AIProgress]:
        return self._database._load()

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        return self._database._query(query)

    def _count(self) -> int:
        return self._database._count()

    def _server(self) -> str:
        try:
            cache = f"cached by {self._cache.server()}"
        except CacheDown as down:
            cache = f"degraded: its cache does not answer ({down})"
        return f"{self._database._server()}, {cache}"

    def _ping(self) -> None:
        self._database._ping()

    def _close(self) -> None:
        with contextlib.suppress(StorageUnavailableError, OutcomeUnknownError):  # it ends by itself
            self._cache.forget()
        self._database.close()
        self._link.close()
        if self._pool is not None:
            self._pool.disconnect()

    def _location(self) -> str:
        return f"{self._database._location()} with cache {self._cache_location}"


class _Late(ChangeRaised):
    """`change` took so long that the announcement of its write may be over before the write is."""

    def __init__(self) -> None:
        super().__init__(self)


def _in_time(change: Change, write: Write) -> Change:
    def changed(current: AIProgress | None) -> AIProgress:
        result = change(current)
        if not write.renew():
            raise _Late
        return result

    return changed
