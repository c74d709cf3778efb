"""A Redis store that one command empties."""

from __future__ import annotations

import re
import socket
from typing import Any

import redis

from .. import config
from ..backends._redis_pool import pool_from_url
from ..backends.redis import RedisStorage
from ..registry import open_storage
from ..servers.server import Server
from ..storage import DEFAULT_TIMEOUT, AIStorage
from .opener import StoreOpener
from .stores import Store

__all__ = ["RedisStore"]

_TIMEOUT = 30.0
_SCAN_COUNT = 1000
_MAX_CONNECTIONS = 50


class RedisStore(Store):
    """A logical database of a server that this run started, or the keys with a prefix on somebody else's.

    Its client is kept, and so is a connection on which one command empties it before each test. Only a
    logical database is flushed; from a foreign server, the keys with our prefix are unlinked.

    Args:
        name: the backend's.
        server: where to create the database.
        keep: whether the server outlives the run, so that the database has to be dropped.
    """

    def __init__(self, name: str, server: Server, *, keep: bool) -> None:
        self._server = server
        self._url = server.create_database()
        self._drops = keep or not server.owned
        parts = config.StorageURL.parse(self._url)
        self._prefix = parts.query.get("prefix")
        pool = pool_from_url(
            parts.without("prefix"), timeout=DEFAULT_TIMEOUT, max_connections=_MAX_CONNECTIONS
        )
        self._client: Any = redis.Redis(connection_pool=pool)
        self._flusher = None if self._prefix is not None else _Flusher(parts)
        self._opener = StoreOpener(self._url, open_storage, backend=name, kept=self._open)

    def begin(self) -> None:
        """Send the command; the answer can wait."""
        if self._flusher is not None:
            self._flusher.begin()

    def renew(self) -> StoreOpener:
        """Empty it by one command on a connection that nobody else uses."""
        if self._flusher is not None:
            self._flusher.finish()
        else:
            self._unlink(str(self._prefix))
        return self._opener

    def settle(self) -> None:
        """Nothing: it is emptied before the next test."""

    def close(self) -> None:
        """Give up the connections, and the database where it would stay."""
        if self._flusher is not None:
            self._flusher.close()
        self._client.close()
        self._client.connection_pool.disconnect()
        if self._drops:
            self._server.drop_database(self._url)

    def _open(self) -> AIStorage:
        return RedisStorage(redis=self._client, prefix=self._prefix)

    def _unlink(self, prefix: str) -> None:
        pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", prefix) + "*"
        keys = list(self._client.scan_iter(pattern, count=_SCAN_COUNT))
        for start in range(0, len(keys), _SCAN_COUNT):
            self._client.unlink(*keys[start : start + _SCAN_COUNT])


class _Flusher:
    """Sends FLUSHDB to a server that this run started, on a socket of its own.

    Not by the driver: its way to one command and one reply takes longer than the server's.

    Args:
        url: the logical database's.
    """

    def __init__(self, url: config.StorageURL) -> None:
        self._url = url
        self._socket: socket.socket | None = None
        self._is_pending = False

    def begin(self) -> None:
        """Send the command, without waiting for the answer."""
        try:
            if self._is_pending:
                self._receive()
            self._send()
        except OSError:
            self.close()  # then `finish` sends it on a new connection

    def finish(self) -> None:
        """Wait for the answer; send the command first, if that is still to be done.

        Raises:
            OSError: the server can't be reached.
            RuntimeError: it refuses.
        """
        try:
            if not self._is_pending:
                self._send()
            self._receive()
        except OSError:
            # A test may have closed all connections of the server; the second time ours is a new one.
            self.close()
            self._send()
            self._receive()

    def close(self) -> None:
        """Close the connection."""
        self._is_pending = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self) -> None:
        if self._socket is None:
            self._socket = self._connected()
        self._socket.sendall(b"FLUSHDB\r\n")
        self._is_pending = True

    def _receive(self) -> None:
        self._is_pending = False
        assert self._socket is not None  # `_send` came before
        _expect_ok(self._socket)

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(
            (self._url.host or "localhost", self._url.port or 6379), _TIMEOUT
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        commands = [f"SELECT {self._url.path.strip('/') or 0}"]
        if self._url.password:
            commands.insert(0, f"AUTH {self._url.password}")  # made by this package: it needs no quoting
        for command in commands:
            connection.sendall(f"{command}\r\n".encode())
            _expect_ok(connection)
        return connection


def _expect_ok(connection: socket.socket) -> None:
    answer = b""
    while not answer.endswith(b"\r\n"):
        received = connection.recv(512)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        answer += received
    if answer != b"+OK\r\n":
        raise RuntimeError(
            f"the test database could not be emptied: {answer.decode(errors='replace').strip()}"
        )
