"""The functions that an application gives to be raced: refused where a call of them would do nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .errors import RaceError
from .invariants import name_of

__all__ = ["refuse_idle"]


def refuse_idle(functions: Iterable[Callable[[Any], Any] | None]) -> None:
    """Make sure that calling these functions runs them: a race in which nothing was done has shown nothing.

    Args:
        functions: steps, a setup, an invariant; None: there is none.

    Raises:
        RaceError: one of them is no function, but a class, say; or it is an ``async`` function or a generator, of
            which nothing runs when it is called.
    """
    for function in functions:
        if function is None:
            continue
        if not callable(function) or isinstance(function, type):
            raise RaceError(f"{function!r} is no function that can be given a storage")
        inner = _unwrapped(function)
        if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
            raise RaceError(
                f"{name_of(function)} is async: called, it would not run; give a function that runs it, such as "
                "by asyncio.run"
            )
        if inspect.isgeneratorfunction(inner):
            raise RaceError(f"{name_of(function)} is a generator: called, it would not run; let it not yield")


def _unwrapped(function: Any) -> Any:
    """What runs in the end: of a partial call the function, of an object its ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isfunction(function) or inspect.ismethod(function):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - the method itself is wanted
