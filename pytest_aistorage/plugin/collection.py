"""While tests are collected: their parameters, and those that are deselected."""

from __future__ import annotations

from typing import Any

import pytest

from .choice import Choice
from .selection import choices, is_ours, unmet_by_class
from .state import state_of

__all__ = ["deselect", "parametrize"]


def parametrize(metafunc: pytest.Metafunc, fixtures: tuple[str, ...], module: str) -> None:
    """Give a test its backends, unless it brings an opener of its own.

    Args:
        metafunc: the test.
        fixtures: the fixtures that take a backend.
        module: where ours are defined.
    """
    markers = list(metafunc.definition.iter_markers("ai_storage"))
    state = state_of(metafunc.config)
    names = [name for name in fixtures if name in metafunc.fixturenames and is_ours(metafunc, name, module)]
    try:
        if not names:
            if unmet_by_class(metafunc, markers):
                state.excluded = True
                state.excluded_functions.add((metafunc.cls, metafunc.function))
            return
        found = choices(markers, state)
    except ValueError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from None
    state.excluded = state.excluded or any(choice.excluded for choice in found)
    # Together, so that a test which asks for both gets the same backend twice, and not each with each.
    metafunc.parametrize(
        ",".join(names),
        [(choice,) * len(names) if len(names) > 1 else choice for choice in found],
        ids=[choice.name for choice in found],
        indirect=True,
    )


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out the tests that are not to run on a backend, so that they count as deselected."""
    functions = state_of(config).excluded_functions
    excluded = [item for item in items if _is_excluded(item, functions)]
    if excluded:
        config.hook.pytest_deselected(items=excluded)
        gone = set(excluded)
        items[:] = [item for item in items if item not in gone]


def _is_excluded(item: Any, functions: set[tuple[type | None, object]]) -> bool:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and any(
        isinstance(value, Choice) and value.excluded for value in callspec.params.values()
    ):
        return True
    if not functions:
        return False
    # A method is looked up anew for each test; what stays is the function in it.
    function = getattr(item, "function", None)
    return (getattr(item, "cls", None), getattr(function, "__func__", function)) in functions
