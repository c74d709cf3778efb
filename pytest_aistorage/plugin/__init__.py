"""The pytest plugin: its hooks. Nothing else is imported before a test needs it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from . import fixtures as _fixtures
from .choice import set_active
from .fixtures import *  # noqa: F403  # pytest looks for fixtures among a plugin's names
from .options import MARKERS, add_options
from .state import drop_state, set_state, state_of
from .valkey import stand_in

_PARAMETRIZED = ("ai_storage_opener", "ai_storage_factory")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options, and see that a plugin which the extra ``embedded`` brings along costs nothing."""
    add_options(parser)
    stand_in(pluginmanager)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, and declare the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    set_state(config)
    if hasattr(config, "workerinput"):
        return  # the controller writes the reports
    if config.option.ai_storage_report:
        from .conformance import check_paths

        check_paths(config)
    if config.option.ai_storage_compare:
        from .compared import read_earlier

        read_earlier(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give up the servers and stores."""
    drop_state(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test its backends."""
    if "ai_storage_opener" in metafunc.fixturenames or "ai_storage_factory" in metafunc.fixturenames:
        from .collection import parametrize

        parametrize(metafunc, _PARAMETRIZED, _fixtures.__name__)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what was generated for a backend that is filtered out, or can't meet what the test requires.

    Where the contract was imported, its tests are recorded.
    """
    if state_of(config).excluded:
        from .collection import deselect

        deselect(config, items)
    if "pytest_aistorage.conformance.contract" in sys.modules:
        from .conformance import recorder_of

        recorder_of(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to empty the store of the test, while pytest prepares its fixtures."""
    callspec = getattr(item, "callspec", None)
    set_active(None if callspec is None else callspec.params.get("ai_storage_opener"))


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Start the servers that the tests need, and say which they are."""
    if config.option.collectonly or not any(_needs_server(item) for item in items):
        return []
    from .report import started_servers

    return started_servers(state_of(config), items)


def _needs_server(item: Any) -> bool:
    names = getattr(item, "fixturenames", ())
    return any(name in names for name in (*_PARAMETRIZED, "postgres_server", "redis_server", "mysql_server"))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send a worker's record to the controller; in the controller, see that what is required has run."""
    state = state_of(session.config)
    if state.run is not None or state.workers is not None or state.settings.required:
        from .ending import finish

        finish(session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what did not run and why, and with pytest-xdist also on which servers the tests ran."""
    state = state_of(config)
    if state.run is not None or state.workers is not None or state.settings.required:
        from .ending import write_summary

        write_summary(terminalreporter, config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the run's directory, so that all workers share its servers."""
    from .conformance import recorder_of
    from .ending import prepare_worker

    prepare_worker(node)
    recorder_of(node.config)  # a controller collects nothing itself


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take a worker's record."""
    from .ending import worker_is_done

    worker_is_done(node)
