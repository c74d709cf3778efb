"""One connection through the proxy: two pipes, of which each carries one direction in order."""

from __future__ import annotations

import contextlib
import enum
import errno
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Connection", "Pipe", "Rules"]

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_CHUNK = 1 << 16
# What one direction holds before it stops reading: as much as a kernel's buffers do.
_MOST_HELD = 4 << 20
_NO_LINGER = struct.pack("ii", 1, 0)
_CONNECTING = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)


class End(enum.Enum):
    """How a direction ended; it travels behind the last byte."""

    ORDERLY = "the sender has closed its half"
    RESET = "the sender has reset the connection"


@dataclass(slots=True)
class Rules:
    """What holds for all connections of a proxy. Used by its thread only.

    Attributes:
        upward: whether what clients send passes.
        downward: whether what the server sends passes.
        delay: seconds.
        waiting: the pipes whose next bytes are not due yet.
    """

    upward: bool = True
    downward: bool = True
    delay: float = 0.0
    waiting: set[Pipe] = field(default_factory=set)

    @property
    def is_partitioned(self) -> bool:
        """Whether anything is cut."""
        return not (self.upward and self.downward)

    def due_in(self) -> float | None:
        """Seconds until something has to be delivered; None: nothing is waiting."""
        if not self.waiting:
            return None
        return max(0.0, min(pipe.held[0][0] for pipe in self.waiting) - time.monotonic())

    def due(self) -> Iterable[Pipe]:
        """The pipes whose next bytes are due now."""
        if not self.waiting:
            return ()
        now = time.monotonic()
        return [pipe for pipe in self.waiting if pipe.held[0][0] <= now]


class Pipe:
    """One direction of a connection.

    Attributes:
        connection: whose it is.
        upward: whether it leads from the client to the server.
        held: what was read and not delivered, each with when it is due.
        size: how many bytes that is.
        ended: the source has no more.
        finished: the end was delivered, or nothing can be delivered any more.
        broken: the receiver is gone; what else it sent may yet be read from the other pipe.
    """

    __slots__ = ("broken", "connection", "ended", "finished", "held", "size", "upward")

    def __init__(self, connection: Connection, *, upward: bool) -> None:
        self.connection = connection
        self.upward = upward
        self.held: deque[tuple[float, memoryview | End]] = deque()
        self.size = 0
        self.ended = self.finished = self.broken = False


class Connection:
    """A client's connection and the one to the server that belongs to it.

    Args:
        client: just accepted.
        target: host and port of the server.
        rules: of the proxy.
        selector: of the proxy.
        among: the proxy's connections, which it joins and leaves.
    """

    def __init__(
        self,
        client: socket.socket,
        target: tuple[str, int],
        rules: Rules,
        selector: selectors.BaseSelector,
        among: set[Connection],
    ) -> None:
        self._client = client
        self._server: socket.socket | None = None
        self._connected = False
        self._target = target
        self._addresses: deque[tuple[socket.AddressFamily, tuple[str, int]]] | None = None
        self._rules = rules
        self._selector = selector
        self._among = among
        self._interest: dict[socket.socket, int] = {}
        self.up, self.down = Pipe(self, upward=True), Pipe(self, upward=False)
        _prepare(client)
        among.add(self)
        self.go_on()

    # -- what the proxy wants of it -------------------------------------------------------------------------

    def go_on(self) -> None:
        """Do what the rules allow now."""
        if self not in self._among:
            return
        if not self._connected:
            if self._server is None and self._rules.upward:
                self._connect()
            return
        for pipe in (self.up, self.down):
            self.pass_on(pipe)

    def pass_on(self, pipe: Pipe) -> None:
        """Deliver what a pipe holds, as far as it is due, allowed and accepted."""
        receiver = self._server if pipe.upward else self._client
        if self not in self._among or not self._connected or receiver is None:
            return
        self._rules.waiting.discard(pipe)
        while pipe.held and self._passes(pipe):
            due, content = pipe.held[0]
            if due and due > time.monotonic():
                self._rules.waiting.add(pipe)
                break
            if isinstance(content, End):
                self._end(pipe, receiver, content)
                return
            sent = self._send(pipe, receiver, content)
            if sent < 0:
                return
            pipe.size -= sent
            if sent < len(content):
                pipe.held[0] = (0.0, content[sent:])
                break
            pipe.held.popleft()
        self._watch()

    def abort(self) -> None:
        """Break it by a RST to both ends."""
        for one in (self._client, self._server):
            if one is not None:
                with contextlib.suppress(OSError):  # it is gone already
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.close()

    def close(self) -> None:
        """Close both ends; the kernel still delivers what it was given."""
        if self not in self._among:
            return
        self._among.discard(self)
        self._rules.waiting -= {self.up, self.down}
        for one in (self._client, self._server):
            if one is not None:
                self._want(one, 0)
                one.close()

    def forget(self) -> None:
        """Close a forked child's copies, and touch nothing that is the parent's."""
        for one in (self._client, self._server):
            if one is not None:
                one.close()

    # -- inside ---------------------------------------------------------------------------------------------

    def _passes(self, pipe: Pipe) -> bool:
        return self._rules.upward if pipe.upward else self._rules.downward

    def _connect(self) -> None:
        """Begin to connect to the next address of the server; without one, the client's connection is reset."""
        if self._addresses is None:
            try:
                found = socket.getaddrinfo(*self._target, type=socket.SOCK_STREAM)
            except OSError:
                found = []
            self._addresses = deque((family, address) for family, _, _, _, address in found)  # type: ignore[misc]
        while self._addresses:
            family, address = self._addresses.popleft()
            server = self._server = socket.socket(family, socket.SOCK_STREAM)
            _prepare(server)
            failed = server.connect_ex(address)
            if not failed:
                self._begin()
                return
            if failed in _CONNECTING:
                self._want(server, _WRITE)
                return
            server.close()
        self._server = None
        self.abort()

    def _begin(self) -> None:
        self._connected = True
        self.go_on()

    def _on_event(self, end: socket.socket, events: int) -> None:
        if self not in self._among:
            return  # closed by an event before this one
        if not self._connected:
            self._on_connected()
            return
        from_client = end is self._client
        if events & _READ:
            self._read(self.up if from_client else self.down)
        if events & _WRITE:
            self.pass_on(self.down if from_client else self.up)

    def _on_connected(self) -> None:
        server = self._server
        assert server is not None
        if server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._want(server, 0)
            server.close()
            self._connect()
        else:
            self._begin()

    def _read(self, pipe: Pipe) -> None:
        source, receiver = (self._client, self._server) if pipe.upward else (self._server, self._client)
        assert source is not None
        assert receiver is not None
        try:
            data = source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._hold(pipe, End.RESET)
            return
        if not data:
            # After a failed send the receiver's last words were read to their end: now its reset counts.
            other = self.down if pipe.upward else self.up
            self._hold(pipe, End.RESET if other.broken else End.ORDERLY)
            return
        if pipe.held or self._rules.delay:
            self._hold(pipe, memoryview(data))
            return
        sent = self._send(pipe, receiver, data)
        if 0 <= sent < len(data):
            self._hold(pipe, memoryview(data)[sent:])

    def _hold(self, pipe: Pipe, content: memoryview | End) -> None:
        due = time.monotonic() + self._rules.delay if self._rules.delay else 0.0
        # A shorter delay than before must not let anything overtake.
        pipe.held.append((max(due, pipe.held[-1][0]) if pipe.held else due, content))
        if isinstance(content, End):
            pipe.ended = True
        else:
            pipe.size += len(content)
        self.pass_on(pipe)

    def _send(self, pipe: Pipe, receiver: socket.socket, data: bytes | memoryview) -> int:
        """Send; return how many bytes were taken, -1 where the receiver is gone."""
        try:
            return receiver.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            pipe.broken = pipe.ended = pipe.finished = True
            pipe.held.clear()
            self._rules.waiting.discard(pipe)
            other = self.down if pipe.upward else self.up
            if other.ended and not other.held:
                self.abort()
            else:
                self._watch()
            return -1

    def _end(self, pipe: Pipe, receiver: socket.socket, end: End) -> None:
        pipe.held.clear()
        pipe.finished = True
        if end is End.RESET:
            self.abort()
            return
        with contextlib.suppress(OSError):  # the receiver is gone: its own end tells
            receiver.shutdown(socket.SHUT_WR)
        if self.up.finished and self.down.finished:
            if self.up.broken or self.down.broken:
                self.abort()
            else:
                self.close()
        else:
            self._watch()

    def _watch(self) -> None:
        """Ask for the events that can be used: an end whose news must not pass is not listened to at all."""
        server = self._server
        assert server is not None
        self._want(self._client, self._events(self.up, self.down))
        self._want(server, self._events(self.down, self.up))

    def _events(self, incoming: Pipe, outgoing: Pipe) -> int:
        reads = not incoming.ended and incoming.size < _MOST_HELD and self._passes(incoming)
        writes = outgoing.held and outgoing not in self._rules.waiting and self._passes(outgoing)
        return (_READ if reads else 0) | (_WRITE if writes else 0)

    def _want(self, end: socket.socket, events: int) -> None:
        current = self._interest.get(end, 0)
        if events == current:
            return
        self._interest[end] = events
        if not events:
            self._selector.unregister(end)
        elif current:
            self._selector.modify(end, events, lambda found: self._on_event(end, found))
        else:
            self._selector.register(end, events, lambda found: self._on_event(end, found))


def _prepare(end: socket.socket) -> None:
    end.setblocking(False)
    with contextlib.suppress(OSError):  # reset before it was accepted
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
