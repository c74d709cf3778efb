"""A relay before a server that fails at a chosen message: the moments of an operation, one by one."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Literal, Self
from urllib.parse import urlsplit

from pytest_aistorage.servers.base import with_parts

Action = Literal["reset", "reset in the middle", "silence", "silence after", "call", "answer"]
_NO_LINGER = struct.pack("ii", 1, 0)


class CuttingRelay:
    """Counts the messages of all connections, in both directions, and fails at the one that it is told to.

    A message is what one side sends before the other one answers, as far as a read gets it.

    ``reset``
        it is not delivered, and both sides get a RST;
    ``reset in the middle``
        half of it is delivered before;
    ``silence``
        nothing passes any more, on any connection, until `heal` delivers it;
    ``silence after``
        the same, but this one is still delivered;
    ``call``
        it is delivered, and `called` is run before the next of its direction passes;
    ``answer``
        `answer` is delivered instead of it, and the connection ends.

    Args:
        url: of the server.
        called: for ``call``.
        answer: for ``answer``.

    Attributes:
        url: leads through the relay.
        passed: how many messages have been met since `arm`.
    """

    def __init__(self, url: str, called: Callable[[], None] = lambda: None, answer: bytes = b"") -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._target = (parts.hostname, parts.port)
        self._called = called
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        netloc = f"{parts.netloc.rpartition(':')[0]}:{self._listener.getsockname()[1]}"
        self.url = with_parts(url, netloc=netloc)
        self.passed = 0
        self._at = -1
        self._action: Action = "reset"
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def arm(self, at: int = -1, action: Action = "reset") -> None:
        """Begin to count, and fail at the message of this number, from 0; -1: at none."""
        with self._lock:
            self.passed, self._at, self._action = 0, at, action

    def heal(self) -> None:
        """End a silence."""
        self._flowing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        self.heal()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(30)  # it may begin some more
        self._listener.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._flowing.wait()
                try:
                    server = socket.create_connection(self._target, 30)
                except OSError:
                    _reset_when_closed(client)
                    client.close()
                    continue
                server.settimeout(None)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [client, server]
                link = _Link(client, server)
                for source, receiver in ((client, server), (server, client)):
                    self._threads.append(threading.Thread(target=self._carry, args=(link, source, receiver)))
                for thread in self._threads[-2:]:
                    thread.start()

    def _carry(self, link: _Link, source: socket.socket, receiver: socket.socket) -> None:
        try:
            self._deliver(link, source, receiver)
        except OSError:
            link.reset()
        finally:
            link.leave()

    def _deliver(self, link: _Link, source: socket.socket, receiver: socket.socket) -> None:
        while data := source.recv(1 << 20):
            self._flowing.wait()
            with self._lock:
                number, self.passed = self.passed, self.passed + 1
                action = self._action if number == self._at else None
                if action in ("silence", "silence after"):
                    self._flowing.clear()
            if action == "silence":
                self._flowing.wait()
            if action in ("reset", "reset in the middle"):
                if action == "reset in the middle":
                    receiver.sendall(data[: len(data) // 2])
                link.reset()
                return
            if action == "answer":
                receiver.sendall(self._answer)
                receiver.shutdown(socket.SHUT_RDWR)
                source.shutdown(socket.SHUT_RDWR)
                return
            receiver.sendall(data)
            if action == "call":
                self._called()
        self._flowing.wait()
        if not link.is_reset:
            receiver.shutdown(socket.SHUT_WR)


class _Link:
    """A client's connection and the one to the server: each is read by one thread, and closed by the last to leave.

    A thread that waits for a socket which another one closes may go on to wait for a new one that has been given the
    same number, and keeps the old one from being reset as long.

    Attributes:
        is_reset: both ends get a RST when it is closed.
    """

    def __init__(self, *ends: socket.socket) -> None:
        self._ends = ends
        self._users = len(ends)
        self._lock = threading.Lock()
        self.is_reset = False

    def reset(self) -> None:
        """Have both threads leave."""
        self.is_reset = True
        for end in self._ends:
            with contextlib.suppress(OSError):  # the other side was faster
                _reset_when_closed(end)
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads

    def leave(self) -> None:
        """One thread uses it no more."""
        with self._lock:
            self._users -= 1
            if not self._users:
                for end in self._ends:
                    end.close()


def _reset_when_closed(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
