"""An echo server, and a client of it, for tests of what stands between the two."""

from __future__ import annotations

import contextlib
import socket
import threading

from server_checks import PATIENCE

from pytest_aistorage.servers.proxy import TCPProxy

SILENCE = 0.1
"""Seconds in which what must not come does not come. It may be too short to tell, but never makes a test fail."""

NO_LINGER = b"\1\0\0\0\0\0\0\0"
"""For SO_LINGER: closing resets the connection."""


class EchoServer:
    """Sends back what it gets; at the end of that, ``bye`` and its own end."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.connections: list[socket.socket] = []
        self.endings: list[str] = []
        self.received = bytearray()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                self._threads.append(threading.Thread(target=self._echo, args=(connection,)))
                self._threads[-1].start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(1 << 16):
                self.received += data
                connection.sendall(data)
            self.endings.append("end")
            connection.sendall(b"bye")
        except ConnectionResetError:
            self.endings.append("reset")
        except OSError:
            self.endings.append("closed here")
        finally:
            connection.close()

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._accepting.join(PATIENCE)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a connection of the echo server never ended"


def connect(proxy: TCPProxy) -> socket.socket:
    """A connection to the proxy, which waits for nothing longer than the tests' patience."""
    return socket.create_connection((proxy.host, proxy.port), PATIENCE)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send, and read as much back."""
    connection.sendall(data)
    return receive(connection, len(data))


def ask(proxy: TCPProxy, data: bytes) -> bytes:
    """The same on a connection of its own."""
    with connect(proxy) as connection:
        return exchange(connection, data)


def receive(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes, or until the end."""
    found = b""
    while len(found) < size and (data := connection.recv(size - len(found))):
        found += data
    return found


def stays_silent(connection: socket.socket) -> bool:
    """Whether nothing comes."""
    connection.settimeout(SILENCE)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False
