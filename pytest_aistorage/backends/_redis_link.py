"""The way to a Redis server: one exchange at a time, and what its failure means."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from .. import config
from .._interruption import Call, check, cut, watched
from ..errors import (
    AIStorageError,
    ConfigurationError,
    CorruptStorageError,
    OutcomeUnknownError,
    StorageUnavailableError,
)
from ._redis_pool import Credentials, ProviderFailed
from ._redis_replicas import Replicas
from ._redis_scripts import CONFLICT, CORRUPT, Script
from ._redis_settings import contradiction, parsed_info

try:
    import redis
except ImportError as missing:
    raise config.missing_extra("redis", "redis", "redis") from missing

__all__ = ["Link", "code_of", "is_lost", "packed", "reply_of", "without_password"]

# Errors in the server's own words: it has read the command and did not run it. The driver derives some of
# them from ConnectionError.
_REFUSALS: Final = (
    redis.ResponseError,
    redis.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.BusyLoadingError,
)

# What the settings of a server have been compared with, by the pool that leads to it: a storage that is opened
# over a client that was in use before must not ask again.
_verified: weakref.WeakKeyDictionary[Any, frozenset[Any]] = weakref.WeakKeyDictionary()
_verified_lock = threading.Lock()


class Link:
    """Sends commands over a pool, each once, and says of a failure whether the command may have taken effect.

    It works one level below the driver's client, which sends a command again where it sees fit, and raises
    the same `redis.ConnectionError` for a command that was never sent and for one whose reply was lost.

    Args:
        pool: of the driver; not closed by this class.
        timeout: seconds that one operation may take.
        durability: one of `_redis_settings.DURABILITIES`; what the server's settings must not contradict. None: it
            keeps no records, and its settings don't matter.
        replicas: who must have a write before it is acknowledged; None: the server alone.
    """

    def __init__(
        self, pool: Any, timeout: float, durability: str | None, replicas: Replicas | None = None
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._promised = (durability, replicas)
        self._replicas = replicas
        self._is_verified = durability is None

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
        return self.answer(self.ask((command,), self.deadline() if deadline is None else deadline)[0])

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
            OutcomeUnknownError: the reply of a writing script was lost, or replicas did not confirm it in time.
            StorageUnavailableError, CorruptStorageError, ConfigurationError: as for `read`; nothing was
                written.
        """
        end = self.deadline() if deadline is None else deadline
        return self.answer(self.call(script, keys, arguments, end, writing=writing))

    def ask(self, commands: tuple[tuple[Any, ...], ...], end: float) -> list[Any]:
        """Send commands that change nothing in one go; return the replies, each refusal as an exception.

        Raises:
            StorageUnavailableError, ConfigurationError: as for `read`.
        """
        if not self._is_verified:
            self._verify(end)
        return self._exchange(commands, end, writing=False)

    def call(
        self, script: Script, keys: int, arguments: tuple[Any, ...], end: float, *, writing: bool
    ) -> Any:
        """Run a script as `run` does; return its reply, a refusal as an exception: it did not run."""
        if not self._is_verified:
            self._verify(end)
        then = self._confirmation(end) if writing and self._replicas is not None else None
        known = ("EVALSHA", script.sha, keys, *arguments)
        reply, *confirmed = self._exchange((known,), end, writing=writing, then=then)
        if isinstance(reply, redis.exceptions.NoScriptError):
            # A restart or SCRIPT FLUSH: the server did not run it, so this is no second time.
            whole = ("EVAL", script.text, keys, *arguments)
            reply, *confirmed = self._exchange((whole,), end, writing=writing, then=then)
        if confirmed:
            assert self._replicas is not None
            if (missing := self._replicas.missing(confirmed[0])) is not None:
                raise OutcomeUnknownError(
                    f"{self.location()}: written, and gone if this server fails now: {missing}"
                )
        return reply

    def _confirmation(self, end: float) -> Callable[[Any], tuple[Any, ...] | None]:
        """What is sent behind a script's reply: it waits for the replicas, if anything was written."""
        replicas = self._replicas
        assert replicas is not None

        def command(reply: Any) -> tuple[Any, ...] | None:
            if not _has_written(reply):
                return None
            # Less than there is, so that the answer still comes in time: a server looks ten times a second (hz).
            left = end - time.monotonic()
            return replicas.command(int(max(left / 2, left - 0.25) * 1000))

        return command

    def answer(self, reply: Any) -> Any:
        """Return a reply; raise what a refusal means.

        Raises:
            StorageUnavailableError, CorruptStorageError: the server refused; nothing was written.
        """
        if isinstance(reply, Exception):
            raise self._failure(reply, writing=False) from self._cause(reply)
        return reply

    def info(self) -> dict[str, str]:
        """Return what the server says of itself; nothing where it refuses to (INFO is a "dangerous" command).

        Raises:
            StorageUnavailableError, ConfigurationError: as for `read`.
        """
        return parsed_info(self.ask((("INFO", "server"),), self.deadline())[0])

    def ping(self) -> None:
        """Ask for a sign of life; errors as `read`."""
        self.read("PING")

    def disconnect(self) -> None:
        """Close the pool's connections."""
        self._pool.disconnect()

    def translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
        """Turn an error of the driver into one of ours; None for what is no driver's error.

        Args:
            error: the driver's.
            writing: whether a write was sent in full and its reply not read.
        """
        if isinstance(error, ProviderFailed):
            return error.failure
        if not isinstance(error, (redis.RedisError, OSError)):
            return None
        said = f"{self.location()}: {without_password(str(error) or type(error).__name__, self._pool)}"
        if "WRONGTYPE" in said:
            return CorruptStorageError(said)
        if code_of(error) in ("MOVED", "ASK", "CROSSSLOT"):
            return ConfigurationError(f"{said}; this is a node of a Redis Cluster: redis+cluster://")
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

    def _exchange(
        self,
        commands: tuple[tuple[Any, ...], ...],
        end: float,
        *,
        writing: bool,
        then: Callable[[Any], tuple[Any, ...] | None] | None = None,
    ) -> list[Any]:
        """Send commands over one connection in one go; return the replies, each refusal as an exception.

        Args:
            commands: their words.
            end: when the time is up.
            writing: whether a lost reply leaves the outcome unknown.
            then: says by the first reply what else is sent over the same connection, whose reply comes last.
        """
        again = not writing
        while True:
            connection, limited, sending, sent = None, None, False, False
            call: Call | None = None
            try:
                connection = self._pool.get_connection()
                # The driver has no public way to its socket.
                call = watched(functools.partial(cut, getattr(connection, "_sock", None)))
                limited = self._limit(connection, end)
                sending = True
                for command in commands:
                    connection.send_packed_command(packed(command))
                # Not before the last byte is the operating system's: the server runs no command that it has
                # not got whole, so a broken connection up to here means that nothing took effect.
                sent = True
                replies = [reply_of(connection) for _ in commands]
                if then is not None and (further := then(replies[0])) is not None:
                    connection.send_packed_command(packed(further))
                    replies.append(reply_of(connection))
                return replies
            except BaseException as error:
                if connection is not None:
                    # A reply that nobody read, after an interrupt say, would be taken for the next command's.
                    connection.disconnect()
                if not isinstance(error, Exception) or isinstance(error, AIStorageError):
                    raise
                lost = isinstance(error, redis.ConnectionError) and not isinstance(error, _REFUSALS)
                check()
                if again and sent and lost:
                    again = False
                    continue
                # A TimeoutError may also be the application's: a signal's handler raises it in the midst of sending
                # or just behind it.
                may_be_there = sent or (sending and not isinstance(error, redis.ConnectionError))
                raise self._failure(error, writing=writing and may_be_there) from self._cause(error)
            finally:
                if connection is not None:
                    if call is not None and not call.unwatch():
                        connection.disconnect()
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

    def _failure(self, error: Exception, *, writing: bool) -> Exception:
        return self.translate(error, writing=writing) or error

    def _cause(self, error: Exception) -> BaseException | None:
        """The error to chain; None if its text shows the password, as by a server that does not know AUTH."""
        if isinstance(error, ProviderFailed):
            return error.failure.__cause__
        text = str(error)
        return error if without_password(text, self._pool) == text else None

    # -- what the server's settings say ---------------------------------------------------------------------

    def _verify(self, end: float) -> None:
        """Compare the server's settings with what the storage declares: once a pool and durability.

        Raises:
            ConfigurationError: they contradict it, or the durability can't be verified.
        """
        durability, replicas = self._promised
        assert durability is not None
        known = _verified.get(self._pool, frozenset())
        if self._promised not in known:
            commands: tuple[tuple[Any, ...], ...] = (("INFO",),)
            if replicas is not None:
                commands += (replicas._replace(number=0).command(1),)  # may be unknown, or refused
            if durability != "none":
                commands += (("CONFIG", "GET", "*appendfsync*"),)
            info, *others = self._exchange(commands, end, writing=False)
            refusal = others.pop(0) if replicas is not None else None
            found = contradiction(durability, info, *others)
            if found is None and isinstance(refusal, Exception):
                if parsed_info(info).get("role") == "slave":
                    return  # it has no replicas to wait for, takes no write either, and may be a master next time
                found = f"it can't be asked to wait for replicas: {refusal}"
            if found is not None:
                raise ConfigurationError(f"{self.location()}: {found}")
            with _verified_lock:
                known = _verified.get(self._pool, frozenset())
                _verified[self._pool] = known | {("none", None), self._promised}
        self._is_verified = True


def is_lost(error: StorageUnavailableError) -> bool:
    """Whether the server could not be reached or is not ready, so that another, or a later try, may do better."""
    cause = error.__cause__
    if isinstance(cause, redis.BusyLoadingError):
        return True
    return isinstance(cause, (redis.ConnectionError, redis.TimeoutError, OSError)) and not isinstance(
        cause, _REFUSALS
    )


def code_of(refusal: Exception) -> str:
    """Return the word by which a server's error begins, whether or not the driver has a class for it."""
    return _CODES.get(type(refusal).__name__) or str(refusal).partition(" ")[0]


# Of drivers whose errors leave it out.
_CODES: Final = {
    "MovedError": "MOVED",
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "BusyLoadingError": "LOADING",
    "ReadOnlyError": "READONLY",
    "ClusterCrossSlotError": "CROSSSLOT",
}


def _has_written(reply: Any) -> bool:
    """Whether a script that may write did, by its reply."""
    if not reply or isinstance(reply, Exception):
        return False
    return not (isinstance(reply, bytes) and reply.startswith((CONFLICT, CORRUPT)))


def packed(command: tuple[Any, ...]) -> list[bytes]:
    """The command as it goes over the line.

    Always UTF-8, whatever encoding a client that was handed in was made for; and in half the time that the driver
    takes, which counts in the path of every save.
    """
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        data = word if type(word) is bytes else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return [b"".join(parts)]


def reply_of(connection: Any) -> Any:
    """Return the next reply on a connection, undecoded; a refusal as the exception."""
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as refusal:
        return refusal


def without_password(text: str, pool: Any) -> str:
    """Return a text in which the password of a pool's connections does not stand."""
    if isinstance(provider := pool.connection_kwargs.get("credential_provider"), Credentials):
        return provider.hide(text)
    password = pool.connection_kwargs.get("password")
    return text.replace(password, "***") if isinstance(password, str) and password else text
