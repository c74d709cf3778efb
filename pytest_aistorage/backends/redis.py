"""Records in Redis or Valkey: one server, atomic by Lua scripts."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import quote

from .. import _interruption as interruption
from .. import codec, config, queries
from .._failpoints import reach
from ..capabilities import Capability
from ..errors import (
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    StorageUnavailableError,
)
from ..passwords import OPTION, PasswordProvider, Passwords, checked_provider
from ..progress import AIProgress, ProgressQuery
from ..storage import DEFAULT_TIMEOUT, AIStorage, Change
from . import _redis_scripts as scripts
from ._redis_link import Link
from ._redis_pool import pool_from_url, pool_of
from ._redis_records import Keyspace, conflict, decoded, milliseconds, stamped_by
from ._redis_replicas import Replicas
from ._redis_routes import RoutedLink
from ._redis_settings import APPEND_ONLY, DURABILITIES, FSYNC_ALWAYS, product

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["MAX_CONNECTIONS", "RedisStorage", "replicas_of"]

_PREFIX: Final = "ai_progress:"
MAX_CONNECTIONS: Final = 50
"""To one server, unless it is said otherwise."""

# Seconds before the second try of an update that lost to another; doubled with each further one.
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05

# ZRANGEBYLEX takes a batch size as a signed 64-bit number; nobody has more models than this.
_MOST_NAMES: Final = 2**31


def _durability(name: str, value: object) -> str:
    if value not in DURABILITIES:
        raise ConfigurationError(f"option {name}: must be one of {', '.join(DURABILITIES)}")
    return str(value)


def _prefix(name: str, value: object) -> str:
    prefix = config.text(name, value)
    if not prefix.isprintable():  # also a lone surrogate, which has no UTF-8
        raise ConfigurationError(f"option {name}: must be printable")
    return prefix


_OPTIONS: Final[config.OptionChecks] = {
    "prefix": _prefix,
    "ttl": config.time_to_live,
    "timeout": config.seconds,
    "max_connections": config.positive_int,
    "durability": _durability,
    "wait": config.count,
    "wait_aof": config.count,
    OPTION: checked_provider,
}


class RedisStorage(AIStorage):
    """Records in Redis 7 and later or Valkey, on one server.

    Every operation is one script or one command, so it is linearizable, and a batch or a listing is one
    moment's. Time stamps and expiry go by the server's clock. While a script runs, the server does nothing
    else: a batch of 10 000 records or a listing of 100 000 takes it some tenths of a second.

    Opening connects nowhere. The first operation asks the server for its settings, once for each client.

    Args:
        url: ``redis://user:password@host:6379/0``, ``rediss://``, ``valkey://``, ``valkeys://`` or
            ``unix:///path.sock?db=0``. Each option below can stand in its query; what is given here wins.
            With TLS also ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile`` and the like, as redis-py says.
        redis: a `redis.Redis` instead of a URL; used and never closed. How it connects is its own matter,
            retries and time-outs of that included.
        prefix: begins every key, ``"ai_progress:"`` by default.
        ttl: the time to live of a save that gives none; in the URL in seconds.
        timeout: seconds that one operation may wait for the server, 5 by default.
        max_connections: threads beyond so many wait for one another; 50 by default.
        durability: what the server's settings promise, declared as a capability and verified with the first
            operation: ``"none"`` (default); ``"append-only"``, survival of a crash of the server, which takes
            ``appendonly yes`` and ``appendfsync`` ``always`` or ``no``, for ``everysec`` holds writes back that
            it has acknowledged while an fsync is slow; ``"appendfsync-always"``, survival of a loss of power.
        wait: how many replicas must have a write in their memory before it is acknowledged (``WAIT``). If fewer
            confirm it in time, `OutcomeUnknownError` says that it may be gone after a failover. An acknowledged
            write survives the loss of the server if one of those replicas takes over with what it has. That is
            certain where all of the replicas have confirmed and none of them restarts empty, and otherwise likely:
            of several replicas the one that has the most is preferred, not guaranteed. Nobody takes anything back:
            a write that was not confirmed can already be read.
        wait_aof: the same, and the write is fsynced in their append-only files and in the server's (``WAITAOF``:
            Redis 7.2, Valkey; with ``appendonly yes``). With 0 in the server's alone.
        password_provider: returns the password, and is asked with each new connection: one that is rotated, a token
            that expires. A callable without arguments, or text: ``file:PATH``, ``aws-elasticache:NAME``; see
            `passwords`. What it raises is the cause of a `StorageUnavailableError`.

    Raises:
        ConfigurationError: a URL or an option that can't be right. From the first operation: the server's
            settings contradict the durability, or let it drop any key when memory runs short.
    """

    type: ClassVar[str] = "redis"
    schemes: ClassVar[tuple[str, ...]] = ("redis", "rediss", "valkey", "valkeys", "unix")
    url_options: ClassVar[config.OptionChecks] = _OPTIONS

    def __init__(
        self,
        url: str | None = None,
        *,
        redis: Redis | None = None,
        prefix: str | None = None,
        ttl: timedelta | None = None,
        timeout: float | None = None,
        max_connections: int | None = None,
        durability: str | None = None,
        wait: int | None = None,
        wait_aof: int | None = None,
        password_provider: PasswordProvider | str | None = None,
    ) -> None:
        given = {
            "prefix": prefix,
            "ttl": ttl,
            "timeout": timeout,
            "max_connections": max_connections,
            "durability": durability,
            "wait": wait,
            "wait_aof": wait_aof,
            OPTION: password_provider,
        }
        __tracebackhide__ = True  # as in from_url
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if redis is None:
            if url is None:
                raise ConfigurationError("a Redis storage needs a URL or a client")
            parts, options = config.option_of(config.StorageURL.parse(url), options, _OPTIONS)
            if parts.scheme not in self.schemes:
                raise ConfigurationError(
                    f"no Redis URL: {parts.scheme}://; known are {', '.join(self.schemes)}"
                )
        else:
            if url is not None:
                raise ConfigurationError("a Redis storage takes a URL or a client, not both")
            for name in ("max_connections", OPTION):
                if given[name] is not None:
                    raise ConfigurationError(f"option {name}: the client that is handed in has its own")
            options = {name: _OPTIONS[name](name, value) for name, value in options.items()}
        seconds: float = options.get("timeout", DEFAULT_TIMEOUT)
        promised: str = options.get("durability", "none")
        if redis is None:
            pool = pool_from_url(
                parts,
                timeout=seconds,
                max_connections=options.get("max_connections", MAX_CONNECTIONS),
                passwords=Passwords(parts, options.get(OPTION)),
            )
        else:
            pool = pool_of(redis)
        self._begin(Link(pool, seconds, promised, replicas_of(options)), options)
        self._owns_link = redis is None
        self.capabilities = _CAPABILITIES[promised]

    def _begin(self, link: Link | RoutedLink, options: Mapping[str, Any]) -> None:
        """Take over a link, and what the options say of records and keys."""
        self._link: Link | RoutedLink = link
        self._owns_link = True
        self._default_ttl = options.get("ttl")
        self._prefix: str = options.get("prefix", _PREFIX)
        self._keys = Keyspace(self._prefix)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open the storage that a URL names; see the class for URLs and options.

        Args:
            url: where it is.
            options: the class's, and ``redis``, a client that is used instead of connecting by the URL.

        Raises:
            ConfigurationError: a URL or an option that can't be right.
        """
        client = options.pop("redis", None)
        __tracebackhide__ = True  # pytest would print the URL, with its password
        # An unknown keyword is an error of this package, not a TypeError.
        config.option_of(config.StorageURL.parse(url), options, _OPTIONS)
        return cls(url, **options) if client is None else cls(redis=client, **options)

    @classmethod
    def fresh_url(cls, tmp_path: Path) -> str:
        """Refuse: no empty store comes without a server.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            "a fresh Redis store needs a server: hand in its URL with a prefix of its own, redis://host/0?prefix=mine:"
        )

    # -- hooks ----------------------------------------------------------------------------------------------

    def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
        fields = codec.fields_to_text(record)
        reach("before_write")
        reply = self._written(record.model_name, fields, expected, milliseconds(ttl))
        if reply.startswith(scripts.CONFLICT):
            raise conflict(record.model_name, expected, reply)
        return stamped_by(record, *reply.split())

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        arguments: list[Any] = [self._keys.record, self._keys.version, milliseconds(ttl)]
        for record in records:
            arguments += (record.model_name, codec.fields_to_text(record))
        reach("before_write")
        reply = self._link.run(scripts.BATCH, 2, self._keys.index, self._keys.expiring, *arguments)
        stamps = iter(self._readable(reply).split())
        return [stamped_by(*found) for found in zip(records, stamps, stamps, stamps, strict=True)]

    def _get(self, model_name: str) -> AIProgress | None:
        value = self._link.read("GET", self._keyspace(model_name).record + model_name)
        reach("after_read")
        return None if value is None else decoded(model_name, value)

    def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
        if not isinstance(self._link, Link):  # several nodes, each with its own models
            return super()._get_many(model_names)
        commands = tuple(("GET", self._keys.record + name) for name in model_names)
        replies = self._link.ask(commands, self._link.deadline())
        reach("after_read")
        values = [self._link.answer(reply) for reply in replies]
        return [
            None if value is None else decoded(name, value)
            for name, value in zip(model_names, values, strict=True)
        ]

    def _load(self) -> list[AIProgress]:
        return self._page("-", "+", -1)[0]

    def _iter(self, batch_size: int) -> Iterator[AIProgress]:
        return self._pages("-", "+", min(batch_size, _MOST_NAMES))

    def _query(self, query: ProgressQuery) -> list[AIProgress]:
        # No byte of UTF-8 is 0xff: it stands behind every name that begins with the prefix.
        least, greatest = b"-", b"+"
        if query.name_prefix:
            least, greatest = f"[{query.name_prefix}".encode(), f"({query.name_prefix}".encode() + b"\xff"
        return queries.run_query(query, self._pages(least, greatest, 1000))

    def _update(self, model_name: str, change: Change) -> AIProgress:
        deadline = self._link.deadline()
        pause = _FIRST_PAUSE
        while True:
            value = self._link.read("GET", self._keyspace(model_name).record + model_name, deadline=deadline)
            current = None if value is None else decoded(model_name, value)
            reach("after_read")
            started = time.monotonic()
            result = change(current)
            deadline += time.monotonic() - started  # the time limit is on waiting for the server
            fields = codec.fields_to_text(result)
            reach("before_write")
            # No version is given twice: the same version is the same record, with the same time to live.
            expected = 0 if current is None else current.version
            lifetime = milliseconds(self._default_ttl) if current is None else scripts.KEEP_TTL
            reply = self._written(model_name, fields, expected, lifetime, deadline)
            if not reply.startswith(scripts.CONFLICT):
                return stamped_by(result, *reply.split())
            # Up to the pause at random, so that those who lost together don't meet again.
            wait = random.uniform(0, pause)
            if time.monotonic() + wait >= deadline:
                raise StorageUnavailableError(
                    f"{self._location()}: model {model_name!r}: others kept writing until the time was up"
                )
            interruption.pause(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _delete(self, model_name: str, expected: int | None) -> int | None:
        reach("before_write")
        reply = self._link.run(
            scripts.DELETE,
            4,
            *self._keyspace(model_name).of(model_name),
            model_name,
            "" if expected is None else expected,
        )
        if reply is None:
            return None
        if self._readable(reply).startswith(scripts.CONFLICT):
            raise conflict(model_name, expected, reply)
        return int(reply)

    def _count(self) -> int:
        return int(
            self._link.run(
                scripts.COUNT, 2, self._keys.index, self._keys.expiring, self._keys.record, writing=False
            )
        )

    def _expire(self, model_name: str) -> bool:
        keys = self._keyspace(model_name)
        return bool(self._link.run(scripts.EXPIRE, 2, keys.record + model_name, keys.expiring, model_name))

    def _ping(self) -> None:
        self._link.ping()

    def _close(self) -> None:
        if self._owns_link:
            self._link.disconnect()

    def _location(self) -> str:
        where = self._link.location()
        if self._prefix == _PREFIX:
            return where
        return f"{where}{'&' if '?' in where else '?'}prefix={quote(self._prefix, safe=':')}"

    def _server(self) -> str:
        return product(self._link.info())

    def _translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        return self._link.translate(error, writing=writing)

    # -- inside ---------------------------------------------------------------------------------------------

    def _keyspace(self, model_name: str) -> Keyspace:
        return self._keys

    def _written(
        self, name: str, fields: str, expected: int | None, ttl: int | str, deadline: float | None = None
    ) -> bytes:
        """Run the script of a save; return the stamps, or the version that it met instead."""
        wanted = _wanted(expected)
        keys = self._keyspace(name).of(name)
        return self._readable(
            self._link.run(scripts.SAVE, 4, *keys, name, fields, wanted, ttl, deadline=deadline)
        )

    def _readable(self, reply: bytes) -> bytes:
        if reply.startswith(scripts.CORRUPT):
            key = reply[1:].decode(errors="replace")
            raise CorruptStorageError(f"{self._location()}: key {key!r} was not written by this package")
        return reply

    def _page(
        self, least: str | bytes, greatest: str | bytes, size: int
    ) -> tuple[list[AIProgress], int, bytes]:
        """The records of one moment, how many names that took, and the last of the names."""
        reply = self._link.run(
            scripts.PAGE, 1, self._keys.index, self._keys.record, least, greatest, size, writing=False
        )
        return self._understood(reply)

    def _understood(self, reply: Any) -> tuple[list[AIProgress], int, bytes]:
        """What a page's script said."""
        met, last, *chunks = reply
        records = []
        for chunk in chunks:
            parts = iter(chunk.split(b"\0"))
            try:
                records += [decoded(name.decode(), value) for name, value in zip(parts, parts, strict=True)]
            except ValueError as error:
                raise CorruptStorageError(f"{self._location()}: a name or a value holds a NUL") from error
        return records, met, last

    def _pages(self, least: str | bytes, greatest: str | bytes, size: int) -> Iterator[AIProgress]:
        while True:
            records, met, last = self._page(least, greatest, size)
            yield from records
            if met < size:
                return
            least = b"(" + last


def _wanted(expected: int | None) -> int | str:
    return "" if expected is None else expected


def replicas_of(options: Mapping[str, Any]) -> Replicas | None:
    """Return what the options ``wait`` and ``wait_aof`` ask for.

    Raises:
        ConfigurationError: both are given.
    """
    if "wait_aof" in options:
        if "wait" in options:
            raise ConfigurationError("option wait: wait_aof stands for it; give one of them")
        return Replicas(options["wait_aof"], fsynced=True)
    return Replicas(options["wait"], fsynced=False) if options.get("wait") else None


_ALWAYS: Final = frozenset(
    {
        Capability.SHARED_BETWEEN_PROCESSES,
        Capability.SURVIVES_CLOSE,
        Capability.SURVIVES_CLIENT_CRASH,
        Capability.LINEARIZABLE,
        Capability.VERSIONS_NEVER_REUSED,
        Capability.ATOMIC_BATCH,
        Capability.SNAPSHOT_LISTING,
        Capability.EXPIRY,
    }
)

_CAPABILITIES: Final = {
    "none": _ALWAYS,
    APPEND_ONLY: _ALWAYS | {Capability.SURVIVES_SERVER_CRASH},
    FSYNC_ALWAYS: _ALWAYS | {Capability.SURVIVES_SERVER_CRASH, Capability.SURVIVES_POWER_LOSS},
}
