"""The way to a cache: one exchange at a time, under the name of the process that answers."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis

from .._interruption import Call, check, cut, watched
from ..errors import ConfigurationError
from ._redis_link import code_of, packed, reply_of, without_password
from ._redis_scripts import Script
from ._redis_settings import parsed_info, product

__all__ = ["CacheDown", "CacheLink", "Command", "Redirected"]

Command = tuple[Any, ...]
"""A command's words; a `Script` in the first place is run, with the number of keys behind it."""

# Of a node of a cluster, or of a replica: how it begins to say that another one is to be asked, or later.
_ELSEWHERE: Final = frozenset(
    {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING", "READONLY"}
)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


# In the server's own words: it has read the command and did not run it.
_REFUSALS: Final = (redis.ResponseError, redis.BusyLoadingError)


class CacheDown(Exception):
    """The cache did not answer, or refused. What was sent may have been carried out.

    Args:
        said: why.
        may_have_run: whether commands that must not be sent again had been sent when it stopped answering.
    """

    def __init__(self, said: str | None, *, may_have_run: bool = False) -> None:
        super().__init__(said)
        self.may_have_run = may_have_run


class Redirected(Exception):
    """One server of several is not responsible, or not ready. It has carried nothing out.

    Args:
        refusal: in its own words.
    """

    def __init__(self, refusal: Exception) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class _Line:
    """A connection that rests here between exchanges: taking one out of the pool takes as long as a reply."""

    __slots__ = ("connection", "pending", "process", "sent", "used")

    def __init__(self, connection: Any, process: str) -> None:
        self.connection = connection
        self.process = process
        self.pending = 0
        """Replies that nobody has waited for."""
        self.used = False
        self.sent = False
        """Whether the commands under way have left this process."""


class CacheLink:
    """Sends commands over a pool. After a failure nothing is sent for a moment, which grows with each further one.

    Where a connection has broken while it rested, commands are sent again, unless they must not be.

    Args:
        pool: of the driver; not closed by this class.
        evicts: whether a cache is taken that drops keys when its memory runs short.
        of_several: whether another may take over from the server, which has another name each time it is a master.
    """

    def __init__(self, pool: Any, *, evicts: bool, of_several: bool = False) -> None:
        self._pool = pool
        self._of_several = of_several
        self._evicts = evicts
        self._lines: collections.deque[_Line] = collections.deque()
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._pause = 0.0
        self._closed_until = 0.0
        self._closed = False
        self.trouble: str | None = None

    def exchange(
        self, commands: Callable[[str], Sequence[Command]], place: str = "", *, once: bool = False
    ) -> list[Any]:
        """Send commands in one go; return their replies.

        Args:
            commands: makes them, given the name of the process that will answer: another one after each restart.
            place: of the keys; there is one here.
            once: not again where they may have been carried out: they would do so twice.

        Raises:
            CacheDown: it does not answer, refuses, or has just failed.
            Redirected: it is one of several, and not the one.
            ConfigurationError: it may drop keys when its memory runs short, or does not tell its run_id.
        """
        return self._done(commands, _answered, once=once)

    def send(self, commands: Callable[[str], Sequence[Command]], place: str = "") -> None:
        """Send commands, and wait for no reply.

        Args:
            commands: as for `exchange`, without scripts.
            place: as for `exchange`.

        Raises:
            CacheDown, ConfigurationError: as for `exchange`.
        """
        self._done(commands, _left)

    def server(self) -> str:
        """Say what answers: product and version.

        Raises:
            CacheDown: nothing does.
        """
        return product(parsed_info(self.exchange(lambda process: [("INFO", "server")])[0]))

    def ask_anew(self) -> None:
        """Connect anew for the next exchange, and ask for the name of the process."""
        self._drop_lines()

    def close(self) -> None:
        """Give all connections back to the pool, closed."""
        self._closed = True
        self._drop_lines()

    def _done(
        self,
        commands: Callable[[str], Sequence[Command]],
        carry_out: Callable[[_Line, Sequence[Command]], list[Any]],
        *,
        once: bool = False,
    ) -> list[Any]:
        if self._pause and time.monotonic() < self._closed_until:
            raise CacheDown(self.trouble)
        while True:
            line = None
            call: Call | None = None
            try:
                line = self._line()
                line.sent = False
                call = watched(functools.partial(cut, getattr(line.connection, "_sock", None)))
                replies = carry_out(line, commands(line.process))
            except (redis.RedisError, OSError) as error:
                self._drop(line)
                if self._of_several and code_of(error) in _ELSEWHERE:
                    raise Redirected(error) from None
                check()  # a connection that was cut from this side is no failure of the cache
                may_have_run = line is not None and line.sent and not isinstance(error, _REFUSALS)
                if line is not None and line.used and not (once and may_have_run):
                    self._drop_lines()  # as old as this one, most of them
                    continue
                self._failed(error)
                raise CacheDown(self.trouble, may_have_run=once and may_have_run) from None
            except BaseException:
                # A reply that nobody read would be taken for the next command's.
                self._drop(line)
                raise
            finally:
                is_fit = call is None or call.unwatch()
            line.used = True
            if is_fit:
                self._lines.append(line)
            else:
                self._drop(line)
            if self._closed:
                self._drop_lines()
            if self._pause:
                with self._lock:
                    self._pause, self.trouble = 0.0, None
            return replies

    def _line(self) -> _Line:
        if self._owner != os.getpid():  # a forked child: the parent reads the answers of what it inherited
            self._lines, self._owner = collections.deque(), os.getpid()
        try:
            return self._lines.pop()
        except IndexError:
            pass
        connection = self._pool.get_connection()
        try:
            return _Line(connection, self._process_of(connection))
        except BaseException:
            connection.disconnect()
            self._pool.release(connection)
            raise

    def _drop(self, line: _Line | None) -> None:
        if line is not None:
            line.connection.disconnect()
            self._pool.release(line.connection)

    def _drop_lines(self) -> None:
        while self._lines:
            with contextlib.suppress(IndexError):  # another thread was quicker
                self._drop(self._lines.pop())

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._closed_until = time.monotonic() + self._pause
            self.trouble = without_password(str(error) or type(error).__name__, self._pool)

    def _process_of(self, connection: Any) -> str:
        """The name of the process at the other end, which a connection does not outlive."""
        reply = _sent(connection, [("INFO",)])[0]
        if isinstance(reply, Exception) and not isinstance(reply, redis.exceptions.NoPermissionError):
            raise reply
        said = parsed_info(reply)
        if not self._evicts and said.get("maxmemory", "0") != "0":
            policy = said.get("maxmemory_policy", "noeviction")
            if policy != "noeviction":
                raise ConfigurationError(
                    f"cache: its maxmemory-policy {policy} may drop what announces a write, and a read would be "
                    "stale; use noeviction (a cache of leases is small), or no leases (lease=0)"
                )
        if (name := said.get("run_id")) is None:
            raise ConfigurationError(
                "cache: its INFO does not tell the run_id, without which a restarted cache can't be told from the "
                "one before it; let the user run INFO"
            )
        if not self._of_several:
            return name
        if said.get("role") != "master":
            raise redis.ReadOnlyError("READONLY it is a replica")
        # A process that was a replica meanwhile may have any copies, of any age: it is a master of another history.
        return f"{name[:20]}{said.get('master_replid', '')[:20]}"


def _answered(line: _Line, commands: Sequence[Command]) -> list[Any]:
    replies = _sent(line.connection, [_by_digest(command) for command in commands], line)
    for place, reply in enumerate(replies):
        if isinstance(reply, redis.exceptions.NoScriptError):
            replies[place] = _sent(line.connection, [_by_text(commands[place])])[0]
        if isinstance(replies[place], Exception):
            raise replies[place]
    return replies


def _left(line: _Line, commands: Sequence[Command]) -> list[Any]:
    line.connection.send_packed_command([piece for command in commands for piece in packed(command)])
    line.pending += len(commands)
    return []


def _by_digest(command: Command) -> Command:
    head = command[0]
    return ("EVALSHA", head.sha, *command[1:]) if isinstance(head, Script) else command


def _by_text(command: Command) -> Command:
    return ("EVAL", command[0].text, *command[1:])


def _sent(connection: Any, commands: Sequence[Command], line: _Line | None = None) -> list[Any]:
    connection.send_packed_command([piece for command in commands for piece in packed(command)])
    if line is not None:
        line.sent = True
    while line is not None and line.pending:
        line.pending -= 1
        reply_of(connection)
    return [reply_of(connection) for _ in commands]
