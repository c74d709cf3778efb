"""A store of a built-in backend on a server of the test's own, which may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..capabilities import Capability
from ..conformance.excuses import INCONCLUSIVE, excused
from ..errors import ServerUnavailableError, UnsupportedOperationError
from ..registry import open_storage
from ..servers.base import ServerSpec
from ..servers.power import providers_with_power
from ..servers.resolve import private_server
from ..servers.server import PrivateServer
from ..storage import AIStorage
from .hybrid_store import with_cache
from .names import declared, servers_of
from .opener import StoreOpener
from .state import state_of

__all__ = ["CrashableStore", "crashable_store"]


class CrashableStore:
    """A fresh store on a private server.

    Args:
        server: whose it is; the caller closes it.
        power_stays: why the server's power can't be cut; None: it can, if that is what it was started for.
        cache: the URL of its cache, which stays; None: it has none.
    """

    def __init__(
        self, server: PrivateServer, power_stays: str | None = None, cache: str | None = None
    ) -> None:
        self._server = server
        self._power_stays = power_stays
        url = server.create_database()
        self._url = url if cache is None else with_cache(url, cache)

    def opener(self) -> AIStorage:
        """Open one more client of the store."""
        return open_storage(self._url)

    def kill(self) -> None:
        """End the server by SIGKILL; return when it is gone."""
        self._server.kill()

    def cut_power(self) -> None:
        """Cut the server's power; return when it is off.

        Raises:
            UnsupportedOperationError: it can't be cut.
        """
        if self._power_stays is not None:
            raise UnsupportedOperationError(self._power_stays)
        self._server.cut_power()

    def restart(self) -> None:
        """Start it again on what it has stored; return when it answers."""
        self._server.restart()


@contextmanager
def crashable_store(config: pytest.Config, opener: object) -> Iterator[CrashableStore | None]:
    """A store of the backend of a test, on a server that nobody else uses; None: the backend has none of ours.

    Its settings are durable where the backend declares to survive a crash of its server. The server of a test that
    was given by URL is somebody else's: it is not killed, nor is another one taken for it.

    Args:
        config: of the run.
        opener: the test's ``ai_storage_opener``.
    """
    backend = opener.backend if isinstance(opener, StoreOpener) else ""
    state = state_of(config)
    needed = servers_of(backend, state.settings.only or state.settings.backends)
    if not needed:
        yield None
        return
    run, named, backend = state.needed_run(), backend, needed[0]
    spec, options = ServerSpec.parse(backend), run.server_options
    if "url" in options.providers_of(spec) and options.url_of(spec) is not None:
        why = f"the {backend} server was given by URL, and somebody else's is not killed"
        pytest.skip(excused(INCONCLUSIVE, why))
    capabilities = declared(named) or frozenset()
    durable = Capability.SURVIVES_SERVER_CRASH in capabilities
    power_stays = _power_stays(config, backend) if Capability.SURVIVES_POWER_LOSS in capabilities else None
    try:
        server = private_server(
            spec,
            options,
            durable=durable,
            power=power_stays is None and Capability.SURVIVES_POWER_LOSS in capabilities,
        )
    except ServerUnavailableError as error:
        pytest.skip(excused(INCONCLUSIVE, f"there is no server to kill: {' '.join(str(error).split())}"))
    with server:
        cache = run.server(needed[1]) if needed[1:] else None
        yield CrashableStore(server, power_stays, None if cache is None else cache.create_database())


def _power_stays(config: pytest.Config, backend: str) -> str | None:
    """Why the power of a server like that of the tests can't be cut; None: it can.

    For a container's, no server out of other binaries is taken instead: it may be of another version.
    """
    provider = state_of(config).needed_run().server(backend).provider
    try:
        providers_with_power(ServerSpec.parse(backend), (provider,))
    except UnsupportedOperationError as error:
        return str(error)
    return None
