"""From a fixture's request to what it hands out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import ServerUnavailableError, UnsupportedOperationError
from ..storage import AIStorage
from .opener import StoreOpener
from .selection import Choice, required_capabilities
from .state import state_of

if TYPE_CHECKING:
    from ..servers.server import PrivateServer, Server
    from .factory import StoreFactory

__all__ = ["factory", "fresh_opener", "opened", "private", "shared", "url_of"]


def fresh_opener(request: pytest.FixtureRequest) -> StoreOpener:
    """The opener of the store of the test's backend, made fresh."""
    name = _choice(request).name
    run = state_of(request.config).needed_run()
    try:
        store = run.store(name)
        opener = store.renew()
    except ServerUnavailableError as error:
        run.unavailable(name, error)
    if store.needs_settling:
        request.addfinalizer(store.settle)
    run.record.used[name] += 1
    return opener


def opened(request: pytest.FixtureRequest, opener: Callable[[], AIStorage]) -> AIStorage:
    """A storage of the opener, whoever supplied it; closed after the test."""
    storage = opener.open_kept() if isinstance(opener, StoreOpener) else opener()
    request.addfinalizer(storage.close)
    if markers := list(request.node.iter_markers("ai_storage")):
        missing = required_capabilities(markers) - getattr(storage, "capabilities", frozenset())
        if missing and not (isinstance(opener, StoreOpener) and opener.simulated):
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


def factory(request: pytest.FixtureRequest) -> StoreFactory:
    """The factory of a backend."""
    from .factory import StoreFactory

    name = _choice(request).name
    run = state_of(request.config).needed_run()
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


def server_name(selected: tuple[str, ...], kind: str) -> str:
    """Which server a fixture means: the first of its kind that is selected, such as ``postgres@17``."""
    return next((name for name in selected if name.partition("@")[0] == kind), kind)


@contextmanager
def private(request: pytest.FixtureRequest, kind: str) -> Iterator[PrivateServer]:
    """A server of the test's own."""
    from ..servers.base import ServerSpec
    from ..servers.resolve import private_server

    state = state_of(request.config)
    run = state.needed_run()
    name = server_name(state.settings.only or state.settings.backends, kind)
    try:
        server = private_server(ServerSpec.parse(name), run.server_options)
    except ServerUnavailableError as error:
        run.unavailable(name, error)
    run.record.used[name] += 1
    with server:
        yield server


def _choice(request: pytest.FixtureRequest) -> Choice:
    choice = getattr(request, "param", None)
    if not isinstance(choice, Choice):
        raise pytest.UsageError(
            f"{request.fixturename} was asked for by getfixturevalue(), which can't choose a backend: "
            "name it among the test's arguments, or by @pytest.mark.usefixtures"
        )
    return choice
