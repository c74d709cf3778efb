"""Which file a storage keeps its records in, found out by watching it.

It imports neither pytest nor Hypothesis: a process of a race imports it as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from ..races.clients import Client

__all__ = ["touched_file"]


class _Watched:
    """An operation that returns the file that it reads and writes; None: there is no such file.

    Args:
        operation: what to do; picklable.
    """

    def __init__(self, operation: Callable[[Any], Any]) -> None:
        self._operation = operation

    def __call__(self, storage: Any) -> str | None:
        """Do it."""
        global _hooked
        if not _hooked:
            _hooked = True
            sys.addaudithook(_audit)
        _read.clear()
        _written.clear()
        _watching.append(True)
        try:
            self._operation(storage)
        finally:
            _watching.clear()
        both = [path for path in _read if path in _written]
        return both[0] if len(both) == 1 else None


_hooked = False
_watching: list[bool] = []
_read: dict[str, None] = {}
_written: dict[str, None] = {}


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open" and isinstance(args[0], (str, bytes)) and isinstance(args[2], int):
        writes = args[2] & (os.O_WRONLY | os.O_RDWR)
        (_written if writes else _read)[os.path.abspath(os.fsdecode(args[0]))] = None
    elif event == "os.rename":
        _written[os.path.abspath(os.fsdecode(args[1]))] = None


def touched_file(client: Client, operation: Callable[[Any], Any]) -> str | None:
    """Return the one file that an operation both reads and writes; None: there is none, or more than one.

    Args:
        client: a process of its own: an audit hook can't be removed.
        operation: done once.
    """
    found: str | None = client.call(_Watched(operation)).value
    return found
