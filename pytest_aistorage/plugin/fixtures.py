"""The fixtures. Nothing is imported here before one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..aio import AsyncAIStorage
    from ..conformance import Crashable, RawReader
    from ..races.racing import Racing
    from ..servers.server import PrivateServer, Server
    from ..storage import AIStorage
    from .factory import StoreFactory

__all__ = [
    "ai_storage",
    "ai_storage_crashable",
    "ai_storage_factory",
    "ai_storage_opener",
    "ai_storage_race",
    "ai_storage_raw",
    "ai_storage_url",
    "async_ai_storage",
    "mysql_server",
    "postgres_server",
    "private_mysql_server",
    "private_postgres_server",
    "private_redis_server",
    "redis_server",
]


@pytest.fixture
def ai_storage_opener() -> Iterator[Callable[[], AIStorage]]:
    """A picklable callable; each call opens one more client of the same fresh store, here or in another process.

    Whoever has a storage of their own overrides this fixture, and nothing else.
    """
    from .access import fresh

    store, opener = fresh()
    yield opener
    store.settle()


@pytest.fixture
def ai_storage(ai_storage_opener: Callable[[], AIStorage]) -> Iterator[AIStorage]:
    """An empty storage, on one backend after the other; closed after the test."""
    from .access import opened

    storage = opened(ai_storage_opener)
    yield storage
    storage.close()


@pytest.fixture
def async_ai_storage(ai_storage_opener: Callable[[], AIStorage]) -> Iterator[AsyncAIStorage]:
    """The same as ``ai_storage``, to be awaited: in tests of pytest-asyncio and of AnyIO, on any of their loops.

    No asynchronous fixture, so neither plugin is needed to collect it; it opens nothing before it is used.
    """
    from ..aio import AsyncAIStorage
    from .access import opened

    storage = AsyncAIStorage(opened(ai_storage_opener))
    yield storage
    storage.close_and_wait()


@pytest.fixture
def ai_storage_url(ai_storage_opener: Any) -> str:
    """The URL of the test's store, for an application's settings. ``memory://…`` leads to it in this process only."""
    from .access import url_of

    return url_of(ai_storage_opener)


@pytest.fixture
def ai_storage_raw(ai_storage_opener: Any) -> Iterator[RawReader | None]:
    """Reads a model of the test's store around the storage; None: there is no way.

    Whoever has a storage of their own, and a way, overrides this fixture.
    """
    from .access import raw

    with raw(ai_storage_opener) as reader:
        yield reader


@pytest.fixture
def ai_storage_crashable(
    request: pytest.FixtureRequest, ai_storage_opener: Any
) -> Iterator[Crashable | None]:
    """A fresh store on a server of the test's own, of the kind and version of the test's backend; None: it has none.

    ``opener()``, ``kill()``, ``restart()``. Whoever has a storage of their own, with a server, overrides it.
    """
    from .crashable import crashable_store

    with crashable_store(request.config, ai_storage_opener) as crashable:
        yield crashable


@pytest.fixture
def ai_storage_race(
    request: pytest.FixtureRequest, ai_storage_opener: Callable[[], Any], tmp_path: Path
) -> Racing:
    """Races your functions, or a workload, on a fresh store: ``ai_storage_race(step)`` at full speed and checked.

    ``ai_storage_race.explore(step, step)`` runs them in every order of their storage calls.
    """
    from .racing import racing

    return racing(request, ai_storage_opener, tmp_path)


@pytest.fixture(scope="session")
def ai_storage_factory(request: pytest.FixtureRequest) -> StoreFactory:
    """Gives an empty storage of its own at each call; of session scope, as Hypothesis's ``@given`` needs it."""
    from .access import factory

    return factory(request)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Server:
    """The run's PostgreSQL: ``url``, ``version``, ``provider``, ``create_database()``."""
    from .access import shared

    return shared(request, "postgres")


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Server:
    """The run's Redis or Valkey: ``url``, ``version``, ``provider``, ``create_database()``."""
    from .access import shared

    return shared(request, "redis")


@pytest.fixture(scope="session")
def mysql_server(request: pytest.FixtureRequest) -> Server:
    """The run's MySQL or MariaDB: ``url``, ``version``, ``provider``, ``create_database()``."""
    from .access import shared

    return shared(request, "mysql")


@pytest.fixture
def private_postgres_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A PostgreSQL of the test's own, with durable settings: ``kill()``, ``pause()``, ``partition()``, …"""
    from .access import private

    with private(request, "postgres") as server:
        yield server


@pytest.fixture
def private_redis_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A Redis or Valkey of the test's own, with an append-only file: ``kill()``, ``pause()``, ``partition()``, …"""
    from .access import private

    with private(request, "redis") as server:
        yield server


@pytest.fixture
def private_mysql_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A MySQL or MariaDB of the test's own, with durable settings: ``kill()``, ``pause()``, ``partition()``, …"""
    from .access import private

    with private(request, "mysql") as server:
        yield server
