"""What the user is told: which servers, and what did not run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import ServerUnavailableError
from .choice import Choice
from .names import SERVER_KINDS, server_name, servers_of

if TYPE_CHECKING:
    import pytest

    from .run import Record
    from .state import State

__all__ = ["server_line", "started_servers", "summary_lines"]

_SERVER_FIXTURES = {f"{kind}_server": kind for kind in SERVER_KINDS}


def started_servers(state: State, items: Iterable[pytest.Item]) -> list[str]:
    """Start the servers that the collected tests need, and say which they are.

    A server that can't be had is no error here: it is one of each test that needs it.
    """
    names = dict.fromkeys(name for item in items for name in _servers_of(state, item))
    if not names:
        return []
    run = state.needed_run()
    for name in names:
        try:
            run.server(name)
        except ServerUnavailableError:
            continue
    return [line] if (line := server_line(run.record)) else []


def _servers_of(state: State, item: Any) -> Iterable[str]:
    callspec = getattr(item, "callspec", None)
    if callspec is not None:
        for value in callspec.params.values():
            if isinstance(value, Choice):
                yield from servers_of(value.name, state.settings.only or state.settings.backends)
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in _SERVER_FIXTURES:
            yield server_name(state.settings.only or state.settings.backends, _SERVER_FIXTURES[fixture])


def server_line(record: Record) -> str:
    """One line with the servers: what was asked for, what it is, and where it came from. No URLs."""
    found = [
        f"{spec}: {version} ({provider})" for spec, (version, provider) in sorted(record.servers.items())
    ]
    if "redis-fake" in record.used:
        found.append("redis-fake: fakeredis (simulated)")
    return f"aistorage: {', '.join(found)}" if found else ""


def summary_lines(record: Record, *, with_servers: bool) -> list[str]:
    """The lines at the end of a run."""
    lines = [line] if with_servers and (line := server_line(record)) else []
    for name, (reason, count) in sorted(record.missing.items()):
        lines.append(f"aistorage: {count} test{'s' if count > 1 else ''} not run on {name}: {reason}")
    return lines


def unmet_line(unmet: list[str]) -> str:
    """The error of a run in which a required backend took no part."""
    return f"aistorage: ERROR: required, but no test ran on {', '.join(unmet)}"
