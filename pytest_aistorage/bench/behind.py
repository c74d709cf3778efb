"""A hybrid whose cache is crashed: until the database has it, the cache holds what was acknowledged."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ..errors import UnsupportedOperationError
from ..races.clients import Client
from ..races.victims import Harm, ServedVictim
from ..registry import open_storage
from ..servers.base import ServerOptions, ServerSpec
from ..servers.resolve import private_server

__all__ = ["CacheVictim"]


class CacheVictim(ServedVictim):
    """A hybrid over a database that goes on, with a cache of its own, without an append-only file, that is killed.

    Args:
        database: its URL.
        options: of the hybrid storage.
        servers: where the cache may come from.

    Raises:
        ServerUnavailableError: there is no such server.
    """

    def __init__(self, database: str, options: Mapping[str, str], servers: ServerOptions) -> None:
        self._server = private_server(ServerSpec.parse("redis"), servers, settings={"appendonly": "no"})
        self.version = self._server.version
        # Not through the proxy, which runs in this process: it would slow down those who write.
        cache = self._server.direct(self._server.create_database())
        self.opener = functools.partial(open_storage, database, cache=cache, **options)

    def crash(self, harm: Harm, clients: Sequence[Client]) -> None:
        """Kill the cache; then the clients are ended.

        Raises:
            UnsupportedOperationError: what is in a server's memory is gone by SIGKILL already.
        """
        if harm != "kill":
            raise UnsupportedOperationError("a cache without an append-only file has no more to lose")
        super().crash(harm, clients)
