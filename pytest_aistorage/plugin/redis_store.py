"""A Redis store that one command empties."""

from __future__ import annotations

import re
from typing import Any

import redis

from .. import config
from ..backends._redis_link import pool_from_url
from ..backends.redis import RedisStorage
from ..registry import open_storage
from ..servers.server import Server
from ..storage import DEFAULT_TIMEOUT, AIStorage
from .opener import StoreOpener
from .stores import Store

__all__ = ["RedisStore"]

_FLUSHDB = [b"*1\r\n$7\r\nFLUSHDB\r\n"]
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
        self._flusher: Any = pool.make_connection()  # type: ignore[no-untyped-call]  # the driver's
        self._is_pending = False
        self._opener = StoreOpener(self._url, open_storage, backend=name, kept=self._open)

    def begin(self) -> None:
        """Send the command; the answer can wait."""
        if self._prefix is None:
            try:
                if self._is_pending:
                    self._receive()
                self._send()
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                self._is_pending = False  # then `renew` sends it

    def renew(self) -> StoreOpener:
        """Empty it by one command on a connection that nobody else uses."""
        if self._prefix is not None:
            self._unlink(self._prefix)
            return self._opener
        try:
            if not self._is_pending:
                self._send()
            self._receive()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            # A test may have closed all connections of the server; the second time ours is a new one.
            self._flusher.disconnect()
            self._send()
            self._receive()
        return self._opener

    def settle(self) -> None:
        """Nothing: it is emptied before the next test."""

    def close(self) -> None:
        """Give up the connections, and the database where it would stay."""
        self._flusher.disconnect()
        self._client.close()
        self._client.connection_pool.disconnect()
        if self._drops:
            self._server.drop_database(self._url)

    def _open(self) -> AIStorage:
        return RedisStorage(redis=self._client, prefix=self._prefix)

    def _send(self) -> None:
        self._flusher.send_packed_command(_FLUSHDB)
        self._is_pending = True

    def _receive(self) -> None:
        self._is_pending = False
        self._flusher.read_response()

    def _unlink(self, prefix: str) -> None:
        pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", prefix) + "*"
        keys = list(self._client.scan_iter(pattern, count=_SCAN_COUNT))
        for start in range(0, len(keys), _SCAN_COUNT):
            self._client.unlink(*keys[start : start + _SCAN_COUNT])
