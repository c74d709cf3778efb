"""Can this storage be tested at all? If not, one line says what is missing, with the author's own traceback."""

from __future__ import annotations

import functools
import importlib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

import pytest_aistorage

from ..conformance.factories import Supplied, capability, find_factory, is_reference, open_store, search_path
from ..conformance.preflight import preflight
from ..errors import ConfigurationError
from ..plugin.names import check_name, is_built_in
from ..registry import ENTRY_POINT_GROUP, backend_class

__all__ = ["CannotTest", "check"]

# Frames of files below these are no code of the author's.
_OURS = (str(Path(pytest_aistorage.__file__).parent), str(Path(importlib.__file__).parent), "<frozen ")
_CLASS_METHODS = ("from_url", "fresh_url")


class CannotTest(click.ClickException):
    """The storage can't be tested; the exit status is 2."""

    exit_code = 2


def check(backend: str, capabilities: Sequence[str], directory: Path) -> None:
    """Open a store, and see that it is one.

    Args:
        backend: ``package.module:factory``, or a name.
        capabilities: what the storage declares; empty: what its author or its instances say.
        directory: for a store of a registered backend.

    Raises:
        CannotTest: it is none.
    """
    if "://" in backend:
        raise CannotTest(
            "a URL names one store, and every test needs a fresh one: give the name of a backend, with --url for a "
            "server of yours, or package.module:factory"
        )
    try:
        named = list(map(capability, capabilities)) or None
        if not is_reference(backend) and (problem := check_name(backend)):
            raise ConfigurationError(f"{problem}; package.module:factory leads to what is not registered")
        opener, supplied = _opener(backend, named, directory)
    except ConfigurationError as error:
        raise CannotTest(str(error) + _traceback_of(error.__cause__)) from None
    if opener is None:
        return
    try:
        problems = preflight(opener, supplied.capabilities) or _unknown(supplied)
    except Exception as error:
        said = f"{backend}: opening a store raised {type(error).__name__}: {error}"
        raise CannotTest(said + _traceback_of(error)) from None
    finally:
        if supplied.drop is not None and isinstance(opener, functools.partial):
            supplied.drop(opener.args[-1])
    if problems:
        raise CannotTest(f"{backend}: " + "\n  ".join(problems))


def _opener(
    backend: str, named: Sequence[object] | None, directory: Path
) -> tuple[Callable[[], Any] | None, Supplied]:
    """What opens a store of its own, if the author has to prove something, and what the author supplies."""
    if is_reference(backend):
        supplied = Supplied.by(find_factory(backend), named)
        return functools.partial(open_store, backend, search_path(), "preflight"), supplied
    if is_built_in(backend):
        return None, Supplied()
    cls: Any = backend_class(backend)
    if missing := [name for name in _CLASS_METHODS if not callable(getattr(cls, name, None))]:
        raise ConfigurationError(
            f"{backend}: what it registers in {ENTRY_POINT_GROUP}, {cls!r}, has no {' and no '.join(missing)}"
        )
    store = directory / "preflight"
    store.mkdir()
    return _Registered(cls, store), Supplied.by(cls, named)


class _Registered:
    """Opens a client of one store of a registered backend."""

    def __init__(self, cls: Any, directory: Path) -> None:
        self._cls = cls
        self._directory = directory
        self._url: str | None = None

    def __call__(self) -> Any:
        if self._url is None:
            self._url = self._cls.fresh_url(self._directory)
        return self._cls.from_url(self._url)


def _unknown(supplied: Supplied) -> list[str]:
    """What is wrong with the deviations."""
    if not supplied.deviations:
        return []
    from ..conformance.contract import contract_tests
    from ..conformance.contract.deviations import check_reasons

    try:
        check_reasons("factory", supplied.deviations, contract_tests())
    except TypeError as error:
        return [str(error)]
    return []


def _traceback_of(error: BaseException | None) -> str:
    """The traceback of what the author's code raised, without the way to it; nothing, where it raised nothing."""
    if error is None:
        return ""
    told = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = told
    while part is not None:
        part.stack = traceback.StackSummary.from_list(
            [frame for frame in part.stack if not frame.filename.startswith(_OURS)]
        )
        part = part.__cause__ or part.__context__
    return "\n" + "".join(told.format()).rstrip()
