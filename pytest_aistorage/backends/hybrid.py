"""Records in a database, with copies in a Redis or Valkey from which they are read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from .. import config
from ..capabilities import Capability
from ..errors import ConfigurationError
from ..passwords import PasswordProvider, checked_provider
from ..progress import AIProgress, ProgressQuery
from ..storage import AIStorage, Change
from ._behind import Epochs
from ._behind_table import BehindTable
from ._cache import Cache
from ._cache_link import CacheDown, CacheLink
from ._cache_opening import open_cache
from ._cache_table import CacheTable
from ._reigns import Reigns
from ._write_behind import WriteBehind
from ._write_through import WriteThrough
from .database import DatabaseStorage

if TYPE_CHECKING:
    import sqlalchemy as sa
    from redis import Redis

__all__ = ["HybridStorage"]

T = TypeVar("T")

_LEASE = 1.0
_LEASE_BEHIND = 5.0
_FLUSH_INTERVAL = 0.1
_MAX_DIRTY = 1000
_CACHE_TIMEOUT = 0.5


def _lease(name: str, value: object) -> float:
    return 0.0 if value in (0, "0") else config.seconds(name, value)


_THROUGH, _BEHIND = "write-through", "write-behind"


def _write_policy(name: str, value: object) -> str:
    if value not in (_THROUGH, _BEHIND):
        raise ConfigurationError(f"option {name}: must be one of {_THROUGH}, {_BEHIND}")
    return str(value)


_OPTIONS: config.OptionChecks = {
    "cache": config.text,
    "write_policy": _write_policy,
    "lease": _lease,
    "cache_timeout": config.seconds,
    "flush_interval": config.seconds,
    "max_dirty": config.positive_int,
    "cache_password_provider": checked_provider,
}
_LOST = frozenset({Capability.LINEARIZABLE, Capability.SURVIVES_SERVER_CRASH, Capability.SURVIVES_POWER_LOSS})
_LOST_WITH_THE_CACHE = "what is acknowledged and not yet in the database is lost with the cache"


class HybridStorage(AIStorage):
    """Records in a database, and in a cache, from which `get_progress` reads.

    **write-through**, the default: the database is the only truth, and the cache holds copies. A save is acknowledged
    when it is in the database. Before it is written it is announced in the cache, which removes the copy; so no read
    ever returns what is older than an acknowledged save, whoever else writes, and also while the cache is killed,
    loses its data, or comes back with old data from its disk. A copy is read for no longer than its lease. A client
    that can't reach the cache tells the others so by the database, waits until all leases have ended, and then writes
    without it.

    **write-behind**: a save is acknowledged when it is in the cache, and a thread takes it to the database, all that
    is not there in one transaction, every ``flush_interval``. What was acknowledged since is lost with the cache,
    unless that has an append-only file. `Capability.LINEARIZABLE`, `SURVIVES_SERVER_CRASH` and `SURVIVES_POWER_LOSS`
    are not declared. As long as the cache lives, no read or listing is older than an acknowledged save, also while a
    client is cut off from it; and no version is ever given twice. All clients of a store must have the same policy,
    and nobody else may write its tables.

    Without the cache everything goes on with the database; `degraded` says why. Without the database, what is
    cached can be read until its lease ends, and written behind; all else raises `StorageUnavailableError`. Listings
    and queries always read the database, to which what is behind is written first.

    What is assumed: the clocks of a client and of the cache run at nearly the same speed, and the cache's is not set
    back; a client does not stand still for longer than three times its timeout between announcing a write and
    sending it to the database.

    Args:
        url: of the database: ``postgresql://…``, ``mysql://…``, ``mariadb://…`` or ``sqlite:///…``. Each option below
            can stand in its query.
        cache: URL of the cache: ``redis://…``, ``rediss://…``, ``valkey://…``, ``valkeys://…`` or ``unix://…``; with
            write-through also a Cluster, ``redis+cluster://…``, and what Sentinels watch, ``redis+sentinel://…``.
            ``?prefix=`` in it begins every key, ``ai_progress:`` by default.
        db: a SQLAlchemy engine instead of the URL; never closed.
        redis: a `redis.Redis` instead of the cache's URL; never closed.
        write_policy: ``"write-through"``, the default, or ``"write-behind"``.
        lease: seconds that the cache may be read after the database was last asked, 1 by default, 5 with
            write-behind. It is what a client waits that can't reach the cache, once; and how long the cache does
            without the database. 0: a copy is read for a minute, nobody waits, and `Capability.LINEARIZABLE` is not
            declared; not with write-behind.
        cache_timeout: seconds that one exchange with the cache may take before the database is asked, 0.5 by default.
        flush_interval: with write-behind, seconds between two flushes, 0.1 by default.
        max_dirty: with write-behind, the models whose last change may be missing in the database, 1000 by default.
            Beyond them, who saves writes them to the database first.
        timeout: seconds that one exchange with the database may take, 5 by default.
        pool_size: connections to the database kept open, 5 by default.
        max_overflow: connections opened beyond those for a while; 10 by default.
        replica: the database's, as `DatabaseStorage` has it.
        durability: the database's, as `DatabaseStorage` has it.
        password_provider: the database's, as `DatabaseStorage` has it.
        cache_password_provider: the cache's, as `RedisStorage` has it; also ``?password_provider=`` in its URL.

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
        write_policy: str | None = None,
        lease: float | None = None,
        cache_timeout: float | None = None,
        flush_interval: float | None = None,
        max_dirty: int | None = None,
        timeout: float | None = None,
        pool_size: int | None = None,
        max_overflow: int | None = None,
        replica: str | None = None,
        durability: str | None = None,
        password_provider: PasswordProvider | str | None = None,
        cache_password_provider: PasswordProvider | str | None = None,
    ) -> None:
        __tracebackhide__ = True  # the URLs' passwords
        given = {
            "cache": cache,
            "write_policy": write_policy,
            "lease": lease,
            "cache_timeout": cache_timeout,
            "flush_interval": flush_interval,
            "max_dirty": max_dirty,
            "cache_password_provider": cache_password_provider,
        }
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
        behind = options.get("write_policy") == _BEHIND
        leased: float = options.get("lease", _LEASE_BEHIND if behind else _LEASE)
        cache_provider = options.get("cache_password_provider")
        if redis is not None and cache_provider is not None:
            raise ConfigurationError(
                "option cache_password_provider: the client that is handed in has its own way to connect"
            )
        access = open_cache(
            cache,
            redis,
            timeout=options.get("cache_timeout", _CACHE_TIMEOUT),
            evicts=not leased,
            provider=cache_provider,
        )
        self._access = access
        self._link = access.link
        self._database = DatabaseStorage(
            url,
            db=db,
            timeout=timeout,
            pool_size=pool_size,
            max_overflow=max_overflow,
            replica=replica,
            durability=durability,
            password_provider=password_provider,
        )
        executor = self._database._executor
        shared = CacheTable(executor)
        self._policy: WriteThrough | WriteBehind
        self.capabilities = self._database.capabilities
        if behind:
            if not leased:
                raise ConfigurationError(f"option lease: {_BEHIND} needs one")
            if not isinstance(access.link, CacheLink):
                raise ConfigurationError(
                    f"option cache: {_BEHIND} takes one Redis server (redis://…): a replica that takes over may not "
                    "have what was acknowledged, and nobody would know"
                )
            self._policy = WriteBehind(
                Epochs(
                    access.link,
                    BehindTable(executor),
                    shared,
                    prefix=access.prefix,
                    lease=leased,
                    timeout=executor.timeout,
                ),
                self._database,
                interval=options.get("flush_interval", _FLUSH_INTERVAL),
                max_dirty=options.get("max_dirty", _MAX_DIRTY),
            )
            self.withheld = dict.fromkeys(_LOST, _LOST_WITH_THE_CACHE)
            self.capabilities -= _LOST
            return
        # One try may begin when the time is nearly up; then there is its answer, and a connection before it.
        span = 3 * executor.timeout + 1
        reigns = None if access.place_of is None else Reigns(executor, access.place_of)
        self._cache = Cache(self._link, shared, prefix=access.prefix, lease=leased, span=span, reigns=reigns)
        self._policy = WriteThrough(self._cache, self._database)
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
        return self._policy.trouble or self._link.trouble

    @property
    def pending_writes(self) -> int:
        """How many models the database has not got the last change of; 0 with write-through.

        Raises:
            StorageUnavailableError: neither the cache nor the database answers.
        """
        return self._policy.pending

    def flush(self, timeout: float | None = None) -> int:
        """Write to the database what only the cache has; with write-through there is nothing.

        Args:
            timeout: seconds for which it is tried; the storage's own by default.

        Returns:
            How many models the database has not got the last change of; -1: that is not known.
        """
        return self._policy.flush(self._database._executor.timeout if timeout is None else timeout)

    # -- hooks ----------------------------------------------------------------------------------------------

    def _get(self, model_name: str) -> AIProgress | None:
        return self._policy.get(model_name)

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        return self._policy.save(record, expected)

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        return self._policy.save_many(records)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        return self._policy.delete(model_name, expected)

    def _update(self, model_name: str, change: Change) -> AIProgress:
        return self._policy.update(model_name, change)

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        self._policy.sync()
        yield from self._database._iter(batch_size)

    def _load(self) -> list[AIProgress]:
        self._policy.sync()
        return self._database._load()

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        self._policy.sync()
        return self._database._query(query)

    def _count(self) -> int:
        self._policy.sync()
        return self._database._count()

    def _server(self) -> str:
        try:
            cache = f"cached by {self._link.server()}"
        except CacheDown as down:
            cache = f"degraded: its cache does not answer ({down})"
        return f"{self._database._server()}, {cache}"

    def _ping(self) -> None:
        self._database._ping()

    def _close(self) -> None:
        self._policy.close(self._database._executor.timeout)
        self._database.close()
        self._access.close()

    def _location(self) -> str:
        return f"{self._database._location()} with cache {self._access.location}"
