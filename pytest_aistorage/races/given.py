"""What an application gives to be raced: refused where a call would do nothing, or another process can't have it."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable, Iterable
from typing import Any

from .errors import RaceError
from .invariants import name_of

__all__ = ["pickled", "refuse_idle"]


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


def pickled(thing: object, name: str) -> bytes:
    """Return an object as another process can be given it.

    Args:
        thing: what it is to have.
        name: of the thing, for the error.

    Raises:
        RaceError: it can't be given it.
    """
    __tracebackhide__ = True  # the arguments of what opens a storage are its URL, with its password
    try:
        found = pickle.dumps(thing)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RaceError(
            f"{name} can't be given to another process ({error}): define it at the top level of a module, or let "
            "clients be threads"
        ) from error
    if b"__main__" in found:
        raise RaceError(f"{name} lives in __main__, which another process can't import: move it to a module")
    return found


def _unwrapped(function: Any) -> Any:
    """What runs in the end: of a partial call the function, of an object its ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isfunction(function) or inspect.ismethod(function):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - the method itself is wanted
