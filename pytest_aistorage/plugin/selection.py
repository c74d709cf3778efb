"""Which backends a test runs on: ini file, marker, command line, and what the backends declare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ..capabilities import Capability
from .choice import Choice
from .names import check_name, class_capabilities, declared
from .options import stands_for
from .state import State

__all__ = ["choices", "is_ours", "required_capabilities", "unmet_by_class"]


def choices(markers: list[pytest.Mark], state: State) -> list[Choice]:
    """The parameters of a test, given its markers, the closest first.

    Raises:
        ValueError: a marker is wrong; the text says how.
    """
    settings = state.settings
    named = next((mark.args for mark in markers if mark.args), None)
    requires = required_capabilities(markers)
    if named is None:
        candidates = [(name, True) for name in settings.only or settings.backends]
    else:
        for name in named:
            if problem := check_name(name):
                raise ValueError(f"@pytest.mark.ai_storage: {problem}")
        candidates = [pair for name in dict.fromkeys(named) for pair in _filtered(name, settings.only)]
    wanted: dict[str, bool] = {}
    for name, is_wanted in candidates:
        wanted[name] = wanted.get(name, False) or is_wanted
    return [_choice(name, state, is_wanted, requires) for name, is_wanted in wanted.items()]


def _filtered(name: str, only: tuple[str, ...]) -> list[tuple[str, bool]]:
    """What remains of a marker's name: itself, a version of it that the command line asks for, or nothing."""
    if not only:
        return [(name, True)]
    found = [(name, True)] if any(stands_for(one, name) for one in only) else []
    found += [(one, True) for one in only if one != name and stands_for(name, one)]
    return found or [(name, False)]


def _choice(name: str, state: State, wanted: bool, requires: frozenset[Capability]) -> Choice:
    if not wanted:
        return Choice(name, state, excluded=True)
    if not requires:
        return Choice(name, state)
    known = declared(name)
    if known is None:
        return Choice(name, state, requires=requires)
    return Choice(name, state, excluded=not requires <= known)


def required_capabilities(markers: Iterable[pytest.Mark]) -> frozenset[Capability]:
    """What all markers of a test require together.

    Raises:
        ValueError: one of them requires what is no capability, or has an unknown argument.
    """
    requires: set[Capability] = set()
    for mark in markers:
        if unknown := sorted(set(mark.kwargs) - {"requires"}):
            raise ValueError(f"@pytest.mark.ai_storage: unknown argument {unknown[0]!r}; there is requires")
        given = mark.kwargs.get("requires", ())
        if isinstance(given, str) or not isinstance(given, Iterable):
            given = [given]
        for one in given:
            if not isinstance(one, Capability):
                raise ValueError(f"@pytest.mark.ai_storage: requires={{Capability.…}}, got {one!r}")
            requires.add(one)
    return frozenset(requires)


def is_ours(metafunc: pytest.Metafunc, fixture: str, module: str) -> bool:
    """Whether the fixture that a test gets comes, in the end, from this plugin.

    A module or class can put a fixture of the same name in front of ours; ours takes part only if that one
    asks for it.
    """
    # No public way leads from a test to the definitions of its fixtures. Without it, ours takes part.
    definitions: Any = getattr(metafunc, "_arg2fixturedefs", {}).get(fixture)
    if definitions is None:
        return True
    for definition in reversed(definitions):
        if getattr(definition.func, "__module__", None) == module:
            return True
        if fixture not in definition.argnames:
            return False
    return False


def unmet_by_class(metafunc: pytest.Metafunc, markers: list[pytest.Mark]) -> bool:
    """Whether the test's class, which brings an opener of its own, says that it can't meet `requires`."""
    known = class_capabilities(metafunc.cls)
    return known is not None and not required_capabilities(markers) <= known
