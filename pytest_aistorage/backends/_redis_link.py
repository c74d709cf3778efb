"""The way to a Redis server: connections out of a URL, one exchange at a time, and what its failure means."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any, Final

from .. import config
from ..errors import (
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from ._redis_scripts import Script
from ._redis_settings import contradiction, parsed_info

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as missing:
    raise config.missing_extra("redis", "redis", "redis") from missing

__all__ = ["Link", "pool_from_url", "pool_of"]

_TLS_PARAMETERS: Final = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
    }
)
_YES_OR_NO: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


# -- from a URL to a pool ----------------------------------------------------------------------------------


def pool_from_url(
    url: config.StorageURL, *, timeout: float, max_connections: int
) -> redis.BlockingConnectionPool:
    """Return a pool of connections, none of which is open yet.

    Args:
        url: without the storage's own options.
        timeout: seconds, for each of: a free connection, connecting, sending, the reply.
        max_connections: threads beyond so many wait for one another.

    Raises:
        ConfigurationError: a part of the URL that can't be right.
    """
    tls, unix = url.scheme in ("rediss", "valkeys"), url.scheme == "unix"
    known = {"db", "client_name"} | (_TLS_PARAMETERS if tls else set())
    if unix:
        known |= {"password", "username"}  # as redis-py takes them, beside unix://user:password@/path.sock
    if unknown := sorted(set(url.query) - known):
        raise ConfigurationError(
            f"{url.scheme}:// URL: unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )
    options: dict[str, Any] = dict(url.query)
    options["db"] = _database(url, unix=unix)
    if url.username or url.password:
        options |= {"username": url.username or None, "password": url.password}
    kind: type[Any]
    if unix:
        if url.host is not None or not url.path.strip("/"):
            raise ConfigurationError("a unix URL is unix:///absolute/path.sock?db=0, with three slashes")
        kind = redis.UnixDomainSocketConnection
        options["path"] = url.path
    else:
        kind = redis.SSLConnection if tls else redis.Connection
        options |= {"host": _host(url), "port": 6379 if url.port is None else url.port}
        if (checked := options.get("ssl_check_hostname")) is not None:
            if (flag := _YES_OR_NO.get(checked.lower())) is None:
                raise ConfigurationError("parameter ssl_check_hostname: must be true or false")
            options["ssl_check_hostname"] = flag
    options |= {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # A write that is sent again by the driver may take effect twice.
        "retry": Retry(NoBackoff(), 0),
        # RESP 3 would bring a server's notifications into the replies, and nothing that is needed here.
        "protocol": 2,
    }
    try:
        kind(**options)  # checks the TLS options; connects nowhere
    except (redis.RedisError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{url.scheme}:// URL: {error}") from error
    return redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]  # the driver's, without annotations
        max_connections=max_connections, timeout=timeout, connection_class=kind, **options
    )


def pool_of(client: Any) -> Any:
    """Return the pool of a client that the caller handed in.

    Raises:
        ConfigurationError: no synchronous client of one server, or one that caches replies.
    """
    if not isinstance(client, redis.Redis):
        raise ConfigurationError(f"option redis: must be a redis.Redis, not {type(client).__name__}")
    if getattr(client.connection_pool, "cache", None) is not None:
        raise ConfigurationError("option redis: a client that caches replies may return what is outdated")
    return client.connection_pool


def _database(url: config.StorageURL, *, unix: bool) -> int:
    path = "" if unix else url.path.strip("/")
    given = url.query.get("db")
    if path and given is not None:
        raise ConfigurationError(f"{url.scheme}:// URL: the database stands in the path and in ?db=")
    number = path or given or "0"
    if not (number.isascii() and number.isdigit()):
        raise ConfigurationError(f"{url.scheme}:// URL: a Redis database is a number, not {number!r}")
    return int(number)


def _host(url: config.StorageURL) -> str:
    host = url.host or "localhost"
    try:
        host.encode("idna")  # what the resolver will do, with an error that is no OSError
    except UnicodeError:
        raise ConfigurationError(f"{url.scheme}:// URL: its host is no host name") from None
    return host


# -- exchanges ---------------------------------------------------------------------------------------------

# Errors in the server's own words: it has read the command and did not run it. The driver derives some of
# them from ConnectionError.
_REFUSALS: Final = (
    redis.ResponseError,
    redis.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.BusyLoadingError,
)

# Which durability the settings of a server have been compared with, by the pool that leads to it: a storage
# that is opened over a client that was in use before must not ask again.
_verified: weakref.WeakKeyDictionary[Any, frozenset[str]] = weakref.WeakKeyDictionary()
_verified_lock = threading.Lock()


class Link:
    """Sends commands over a pool, each once, and says of a failure whether the command may have taken effect.

    It works one level below the driver's client, which sends a command again where it sees fit, and raises
    the same `redis.ConnectionError` for a command that was never sent and for one whose reply was lost.

    Args:
        pool: of the driver; not closed by this class.
        timeout: seconds that one operation may take.
        durability: one of `_redis_settings.DURABILITIES`; what the server's settings must not contradict.
    """

    def __init__(self, pool: Any, timeout: float, durability: str) -> None:
        self._pool = pool
        self._timeout = timeout
        self._durability = durability
        self._is_verified = False

    def deadline(self) -> float:
        """Return when an operation that begins now has to end, by the monotonic clock."""
        return time.monotonic() + self._timeout

    def read(self, *command: Any, deadline: float | None = None) -> Any:
        """Send a command that changes nothing. After a lost connection it is sent once more.

        Args:
            command: its words.
            deadline: as `deadline` gave it; default: one of its own.

        Raises:
            StorageUnavailableError: the server can't be reached, or refuses.
            CorruptStorageError: a key of the store has a foreign type.
            ConfigurationError: the server's settings contradict what the storage declares.
        """
        end = self.deadline() if deadline is None else deadline
        if not self._is_verified:
            self._verify(end)
        return self._answer(self._exchange((command,), end, writing=False)[0])

    def run(
        self, script: Script, keys: int, *arguments: Any, writing: bool = True, deadline: float | None = None
    ) -> Any:
        """Run a script, by its digest if the server still knows it: one round trip.

        Args:
            script: of `_redis_scripts`.
            keys: how many of the arguments are keys.
            arguments: the keys, then the script's own arguments.
            writing: whether a lost reply leaves the outcome unknown.
            deadline: as for `read`.

        Raises:
            OutcomeUnknownError: the reply of a writing script was lost.
            StorageUnavailableError, CorruptStorageError, ConfigurationError: as for `read`; nothing was
                written.
        """
        end = self.deadline() if deadline is None else deadline
        if not self._is_verified:
            self._verify(end)
        reply = self._exchange((("EVALSHA", script.sha, keys, *arguments),), end, writing=writing)[0]
        if isinstance(reply, redis.exceptions.NoScriptError):
            # A restart or SCRIPT FLUSH: the server did not run it, so this is no second time.
            reply = self._exchange((("EVAL", script.text, keys, *arguments),), end, writing=writing)[0]
        return self._answer(reply)

    def info(self) -> dict[str, str]:
        """Return what the server says of itself; nothing where it refuses to (INFO is a "dangerous" command).

        Raises:
            StorageUnavailableError, ConfigurationError: as for `read`.
        """
        end = self.deadline()
        if not self._is_verified:
            self._verify(end)
        return parsed_info(self._exchange((("INFO", "server"),), end, writing=False)[0])

    def translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        """Turn an error of the driver into one of ours; None for what is no driver's error.

        Args:
            error: the driver's.
            writing: whether a write was sent in full and its reply not read.
        """
        if not isinstance(error, (redis.RedisError, OSError)):
            return None
        said = f"{self.location()}: {self._without_password(str(error) or type(error).__name__)}"
        if "WRONGTYPE" in said:
            return CorruptStorageError(said)
        if not writing or isinstance(error, _REFUSALS) or "max number of clients reached" in said:
            return StorageUnavailableError(said)
        return OutcomeUnknownError(f"a write was sent and its reply was lost: {said}")

    def location(self) -> str:
        """Return where the server is, as a URL without user or password."""
        options: Mapping[str, Any] = self._pool.connection_kwargs
        database = options.get("db") or 0
        if (path := options.get("path")) is not None:
            return f"unix://{path}?db={database}"
        kind = getattr(self._pool, "connection_class", None)
        scheme = "rediss" if isinstance(kind, type) and issubclass(kind, redis.SSLConnection) else "redis"
        # A pool of Redis Sentinel knows the service by name, and asks for its host each time it connects.
        host = str(options.get("host") or getattr(self._pool, "service_name", None) or "localhost")
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{options.get('port') or 6379}/{database}"

    def _exchange(self, commands: tuple[tuple[Any, ...], ...], end: float, *, writing: bool) -> list[Any]:
        """Send commands over one connection in one go; return the replies, each refusal as an exception."""
        again = not writing
        while True:
            connection, limited, sending, sent = None, None, False, False
            try:
                connection = self._pool.get_connection()
                limited = self._limit(connection, end)
                sending = True
                for command in commands:
                    connection.send_packed_command(_packed(command))
                # Not before the last byte is the operating system's: the server runs no command that it has
                # not got whole, so a broken connection up to here means that nothing took effect.
                sent = True
                return [_reply(connection) for _ in commands]
            except BaseException as error:
                if connection is not None:
                    # A reply that nobody read, after an interrupt say, would be taken for the next command's.
                    connection.disconnect()
                if not isinstance(error, Exception) or isinstance(error, AIStorageError):
                    raise
                lost = isinstance(error, redis.ConnectionError) and not isinstance(error, _REFUSALS)
                if again and sent and lost:
                    again = False
                    continue
                # A TimeoutError may also be the application's: a signal's handler raises it in the midst of sending
                # or just behind it.
                may_be_there = sent or (sending and not isinstance(error, redis.ConnectionError))
                raise self._failure(error, writing=writing and may_be_there) from self._cause(error)
            finally:
                if connection is not None:
                    if limited is not None:
                        with contextlib.suppress(OSError):  # closed by now
                            limited.settimeout(connection.socket_timeout)
                    self._pool.release(connection)

    def _limit(self, connection: Any, end: float) -> socket.socket | None:
        """Let the connection wait no longer than until the deadline; return the socket if that changed it."""
        left = end - time.monotonic()
        if left <= 0:
            raise StorageUnavailableError(
                f"{self.location()}: the time of {self._timeout:g} s was up before the command was sent"
            )
        usual = connection.socket_timeout
        if usual is not None and left > 0.98 * usual:
            return None  # by far the most common: nobody else waited for this connection
        # The driver has no public way to it. Without a socket that we know (fakeredis), its own limit holds.
        found = getattr(connection, "_sock", None)
        if not isinstance(found, socket.socket):
            return None
        found.settimeout(left)
        return found

    def _answer(self, reply: Any) -> Any:
        if isinstance(reply, Exception):
            raise self._failure(reply, writing=False) from self._cause(reply)
        return reply

    def _failure(self, error: Exception, *, writing: bool) -> Exception:
        return self.translate(error, writing=writing) or error

    def _cause(self, error: Exception) -> Exception | None:
        """The error to chain; None if its text shows the password, as by a server that does not know AUTH."""
        text = str(error)
        return error if self._without_password(text) == text else None

    def _without_password(self, text: str) -> str:
        password = self._pool.connection_kwargs.get("password")
        return text.replace(password, "***") if isinstance(password, str) and password else text

    # -- what the server's settings say ---------------------------------------------------------------------

    def _verify(self, end: float) -> None:
        """Compare the server's settings with what the storage declares: once a pool and durability.

        Raises:
            ConfigurationError: they contradict it, or the durability can't be verified.
        """
        known = _verified.get(self._pool, frozenset())
        if self._durability not in known:
            commands: tuple[tuple[str, ...], ...] = (("INFO",),)
            if self._durability != "none":
                commands += (("CONFIG", "GET", "*appendfsync*"),)
            info, *settings = self._exchange(commands, end, writing=False)
            if (found := contradiction(self._durability, info, *settings)) is not None:
                raise ConfigurationError(f"{self.location()}: {found}")
            with _verified_lock:
                _verified[self._pool] = _verified.get(self._pool, frozenset()) | {"none", self._durability}
        self._is_verified = True


def _packed(command: tuple[Any, ...]) -> list[bytes]:
    """The command as it goes over the line.

    Always UTF-8, whatever encoding a client that was handed in was made for; and in half the time that the driver
    takes, which counts in the path of every save.
    """
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        data = word if type(word) is bytes else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return [b"".join(parts)]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as refusal:
        return refusal
