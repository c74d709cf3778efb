"""From a fixture's request to what it hands out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import ServerUnavailableError, UnsupportedOperationError
from ..storage import AIStorage
from .choice import Choice, active
from .names import server_name
from .opener import StoreOpener
from .state import state_of

if TYPE_CHECKING:
    from ..conformance import RawReader
    from ..servers.server import PrivateServer, Server
    from .factory import StoreFactory
    from .stores import Store

__all__ = ["factory", "fresh", "opened", "private", "raw", "shared", "url_of"]


def fresh() -> tuple[Store, StoreOpener]:
    """The store of the backend of the test that is being set up, made fresh, and its opener."""
    choice = active.choice
    if choice is None:
        raise _no_choice("ai_storage_opener")
    run = choice.state.needed_run()
    try:
        store = run.store(choice.name)
        opener = store.renew()
    except ServerUnavailableError as error:
        run.unavailable(choice.name, error)
    run.record.used[choice.name] += 1
    return store, opener


def opened(opener: Callable[[], AIStorage]) -> AIStorage:
    """A storage of the opener, whoever supplied it."""
    storage = opener.open_kept() if isinstance(opener, StoreOpener) else opener()
    choice = active.choice
    if choice is not None and (missing := choice.requires - storage.capabilities):
        storage.close()
        names = ", ".join(sorted(one.name for one in missing))
        pytest.skip(f"needs {names}, which {storage!r} does not declare")
    return storage


def url_of(opener: Any) -> str:
    """The URL of an opener's store."""
    try:
        url = opener.url
    except AttributeError:
        raise UnsupportedOperationError(
            f"{opener!r}, which overrides ai_storage_opener, has no attribute url: override ai_storage_url, too"
        ) from None
    except UnsupportedOperationError as error:
        pytest.skip(str(error))
    return str(url)


def raw(opener: Any) -> AbstractContextManager[RawReader | None]:
    """Reads of a built-in backend's store; None: nothing leads around another's, nor around a fake."""
    from ..conformance.raw_readers import raw_reader
    from .names import is_built_in

    if not isinstance(opener, StoreOpener) or opener.store_id is None or not is_built_in(opener.backend):
        return nullcontext()
    return raw_reader(opener.url)


def factory(request: pytest.FixtureRequest) -> StoreFactory:
    """The factory of a backend."""
    from .factory import StoreFactory

    choice = getattr(request, "param", None)
    if not isinstance(choice, Choice):
        raise _no_choice("ai_storage_factory")
    name, run = choice.name, choice.state.needed_run()
    try:
        made = StoreFactory(run, name)
    except ServerUnavailableError as error:
        run.unavailable(name, error)
    run.record.used[name] += 1
    return made


def shared(request: pytest.FixtureRequest, kind: str) -> Server:
    """The run's server of a kind."""
    state = state_of(request.config)
    run = state.needed_run()
    name = server_name(state.settings.only or state.settings.backends, kind)
    try:
        server: Server = run.server(name)
    except ServerUnavailableError as error:
        run.unavailable(name, error)
    run.record.used[name] += 1
    return server


@contextmanager
def private(request: pytest.FixtureRequest, kind: str) -> Iterator[PrivateServer]:
    """A server of the test's own."""
    from ..servers.base import ServerSpec
    from ..servers.resolve import private_server

    state = state_of(request.config)
    run = state.needed_run()
    name = server_name(state.settings.only or state.settings.backends, kind)
    try:
        server = private_server(ServerSpec.parse(name), run.server_options, **_server_options(request))
    except ServerUnavailableError as error:
        run.unavailable(name, error)
    except UnsupportedOperationError as error:
        pytest.skip(str(error))
    run.record.used[name] += 1
    with server:
        yield server


def _server_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the test's marker says about its private servers; nothing without one."""
    marker = request.node.get_closest_marker("ai_storage_server")
    if marker is None:
        return {}
    unknown = set(marker.kwargs) - {"durable", "settings", "power"}
    if marker.args or unknown:
        raise pytest.UsageError(
            "@pytest.mark.ai_storage_server takes durable=, settings= and power=, not "
            f"{', '.join([*map(repr, marker.args), *sorted(unknown)])}"
        )
    return dict(marker.kwargs)


def _no_choice(fixture: str) -> pytest.UsageError:
    return pytest.UsageError(
        f"{fixture} was asked for by getfixturevalue() or by a unittest.TestCase, which can't be run once a "
        "backend: name it among a test function's arguments, or by @pytest.mark.usefixtures"
    )
