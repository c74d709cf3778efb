"""A TCP proxy of our own: what a network does to connections, done on purpose, in front of any server.

Many connections are served by one thread of this process. Bytes pass as they are, so TLS does, too.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Literal, Self, cast, get_args
from urllib.parse import parse_qs, urlsplit

from pytest_aistorage.errors import ConfigurationError, UnsupportedOperationError
from pytest_aistorage.servers._proxy_connection import Connection, Rules
from pytest_aistorage.servers.base import redacted, with_parts

__all__ = ["Direction", "TCPProxy"]

Direction = Literal["both", "from server", "from client"]
"""What a partition cuts: everything, only what the server sends, only what the client sends."""

_BACKLOG = 1024
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306}
_PORTS |= dict.fromkeys(("redis", "rediss", "valkey", "valkeys"), 6379)
# By these a URL leads to where its host and port don't say.
_ELSEWHERE = ("host", "hostaddr", "port", "service", "unix_socket")


class TCPProxy:
    """Passes connections on to a server, until it is told to disturb them. A context manager.

    It listens on the loopback interface as soon as it is made; the server need not be there yet. Where that can't
    be reached, the client's connection is reset. A round trip takes some 30 µs longer than without it (a GET of
    Redis 65 µs instead of 40), and more while other threads of this process keep the interpreter busy.

    Methods may be called by any thread, and have taken effect when they return. A forked child has no part in it:
    the child's copies are closed, and its methods raise `UnsupportedOperationError` there. (Python 3.12 and later
    warn of a fork of a process with threads, such as the one of a proxy.)

    Args:
        host: of the server.
        port: of the server.

    Attributes:
        host: where clients connect to, ``"127.0.0.1"``.
        port: where clients connect to; the same until it is closed.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = "127.0.0.1"
        self._target = (host, port)
        self._target_url: str | None = None
        self._welcomes = True
        self._rules = Rules()
        self._connections: set[Connection] = set()
        self._tasks: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._tasks_lock = threading.Lock()
        self._state: Literal["open", "closed", "forked"] = "open"
        # Keeps the port while nobody listens there: connections are refused, and no other program gets it.
        self._holder = _bound(self.host, 0)
        self.port: int = self._holder.getsockname()[1]
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakeup = socket.socketpair()
        self._waker.setblocking(False)
        self._wakeup.setblocking(False)
        self._selector.register(self._waker, selectors.EVENT_READ, self._drain)
        self._listen()
        self._thread = threading.Thread(target=self._run, name=f"tcp-proxy-{self.port}", daemon=True)
        _proxies.add(self)
        self._thread.start()

    @classmethod
    def before(cls, url: str) -> Self:
        """Make a proxy in front of the server of a URL; `url` then leads through it.

        Raises:
            ConfigurationError: the URL names no single host: a Unix socket, a cluster, several servers.
        """
        proxy = cls(*_address(url))
        proxy._target_url = url
        return proxy

    @property
    def url(self) -> str:
        """The URL that `before` was given, leading through the proxy.

        Raises:
            UnsupportedOperationError: it was made by host and port.
        """
        if self._target_url is None:
            raise UnsupportedOperationError(
                "this proxy was made by host and port: TCPProxy.before(url) has a url"
            )
        return self.through(self._target_url)

    def through(self, url: str) -> str:
        """Return a URL of the server with the proxy's address instead of its own; all else stays.

        Where a certificate's name is checked, it must be valid for ``127.0.0.1``, or for ``localhost`` where the URL
        says that.

        Raises:
            ConfigurationError: as for `before`.
        """
        host, _ = _address(url)
        userinfo, at, _ = urlsplit(url).netloc.rpartition("@")
        # A certificate is for a name: that of this machine is kept.
        name = host if host == "localhost" else self.host
        return with_parts(url, netloc=f"{userinfo}{at}{name}:{self.port}")

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def __repr__(self) -> str:
        host, port = self._target
        return f"<TCPProxy {self.host}:{self.port} -> {host}:{port}>"

    # -- what it does to connections ------------------------------------------------------------------------

    def partition(self, direction: Direction = "both") -> None:
        """Let nothing pass until `heal`: connections stay open, and new ones are accepted and not answered.

        What was sent is held back, as by a network that drops packets, and delivered after `heal`, even if its
        sender has given up meanwhile: so a write whose sender timed out may yet take effect.

        Args:
            direction: ``"both"``; ``"from server"``: what clients send arrives and is carried out, the answers are
                lost; ``"from client"``: what clients send does not arrive.

        Raises:
            ConfigurationError: no such direction.
        """
        if direction not in get_args(Direction):
            raise ConfigurationError(
                f"no direction {direction!r} of a partition; there are {', '.join(get_args(Direction))}"
            )

        def cut() -> None:
            self._rules.upward = direction == "from server"
            self._rules.downward = direction == "from client"
            self._listen()
            self._apply()

        self._do(cut)

    def heal(self) -> None:
        """End `partition` and `delay`: what was held back is delivered, and everything passes."""

        def heal() -> None:
            self._rules.upward = self._rules.downward = True
            self._rules.delay = 0.0
            self._listen()
            self._apply()

        self._do(heal)

    def reset(self) -> None:
        """Break all connections by a RST to both of their ends, and lose what was under way; new ones are welcome."""

        def reset() -> None:
            self._accept()  # those that wait to be accepted are connections, too
            for connection in list(self._connections):
                connection.abort()

        self._do(reset)

    def delay(self, seconds: float) -> None:
        """Deliver all that is sent from now on that much later, in both directions and in order, until `heal`.

        Args:
            seconds: of one direction, so that a round trip takes twice as much longer; 0: no delay.

        Raises:
            ConfigurationError: no number from 0 up.
        """
        if not 0.0 <= seconds < float("inf"):
            raise ConfigurationError(f"a delay is a number of seconds from 0 up, not {seconds!r}")

        def slow_down() -> None:
            self._rules.delay = seconds

        self._do(slow_down)

    def refuse(self) -> None:
        """Refuse new connections until `accept`, as a machine does where no server listens; the others stay.

        During a partition they are neither refused nor answered.
        """
        self._do(lambda: self._welcome(False))

    def accept(self) -> None:
        """Take new connections again, after `refuse`."""
        self._do(lambda: self._welcome(True))

    def close(self) -> None:
        """Close all connections and give the port back. Idempotent."""
        if self._state == "open":
            with contextlib.suppress(UnsupportedOperationError):  # another thread was quicker
                self._do(self._end)
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- the thread -----------------------------------------------------------------------------------------

    def _do(self, task: Callable[[], None]) -> None:
        """Have the thread do something, and wait until it is done."""
        done: Future[None] = Future()
        with self._tasks_lock:
            if self._state != "open":
                reason = "belongs to the parent process" if self._state == "forked" else "is closed"
                raise UnsupportedOperationError(f"{self!r} {reason}")
            self._tasks.append((task, done))
            # Under the lock: the task may be to end, and the thread may be awake already.
            with contextlib.suppress(BlockingIOError):  # full of wake-up calls, so it will wake up
                self._wakeup.send(b"\0")
        done.result()

    def _run(self) -> None:
        try:
            while self._state == "open":
                for key, events in self._selector.select(self._rules.due_in()):
                    cast("Callable[[int], None]", key.data)(events)
                for pipe in self._rules.due():
                    pipe.connection.pass_on(pipe)
                while self._tasks:
                    task, done = self._tasks.popleft()
                    try:
                        task()
                    except BaseException as error:
                        done.set_exception(error)
                        raise
                    done.set_result(None)
        finally:
            self._end()

    def _end(self) -> None:
        with self._tasks_lock:
            self._state = "closed"
            unheard = list(self._tasks)
            self._tasks.clear()
        for _, done in unheard:
            done.set_exception(UnsupportedOperationError(f"{self!r} is closed"))
        for connection in list(self._connections):
            connection.close()
        self._close_own()

    def _close_own(self) -> None:
        self._selector.close()
        for own in (self._listener, self._holder, self._waker, self._wakeup):
            if own is not None:
                own.close()

    def _drain(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._waker.recv(4096):
                pass

    def _welcome(self, welcomes: bool) -> None:
        self._welcomes = welcomes
        self._listen()

    def _listen(self) -> None:
        """Begin to listen, or end it. A partitioned network can't refuse anything, so there we listen."""
        wanted = self._welcomes or self._rules.is_partitioned
        if wanted and self._listener is None:
            self._listener = _bound(self.host, self.port)
            self._listener.setblocking(False)
            self._listener.listen(_BACKLOG)
            self._selector.register(self._listener, selectors.EVENT_READ, lambda _: self._accept())
        elif not wanted and self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        if self._listener is None:
            return
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # none is left, or it has gone again
                return
            Connection(client, self._target, self._rules, self._selector, self._connections)

    def _apply(self) -> None:
        for connection in list(self._connections):
            connection.go_on()


def _bound(host: str, port: int) -> socket.socket:
    """A socket at an address that another of ours may be bound to."""
    found = socket.socket()
    if sys.platform != "win32":
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform != "linux":  # there the former is for old connections only
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        found.bind((host, port))
    except BaseException:
        found.close()
        raise
    return found


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    scheme, _, variant = parts.scheme.partition("+")
    port = _PORTS.get(scheme) if port is None else port
    query = parse_qs(parts.query)
    if (
        not host
        or "," in host
        or port is None
        or variant == "cluster"
        or any(name in query for name in _ELSEWHERE)
    ):
        raise ConfigurationError(
            f"{redacted(url)} names no host and port of one server: no proxy can stand before it"
        )
    return host, port


# -- after fork() -------------------------------------------------------------------------------------------

_proxies: weakref.WeakSet[TCPProxy] = weakref.WeakSet()


def _forget_after_fork() -> None:
    """Close the child's copies: they would keep the port, and connections open that the parent closes."""
    for proxy in list(_proxies):
        if proxy._state != "open":
            continue
        proxy._state = "forked"
        proxy._tasks_lock = threading.Lock()  # a thread that is not here may have held the other one
        # Nothing is taken out of the selector: on Linux that would be the parent's as well.
        for connection in list(proxy._connections):
            connection.forget()
        proxy._close_own()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
