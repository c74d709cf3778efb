"""Named places in the backends at which a race controller can hold a client, or end it.

Unarmed they cost one dict look-up. The names are the seams of an exhaustive schedule:
``after_read``, ``before_write`` and ``before_commit``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["NAMES", "armed", "reach"]

NAMES = ("after_read", "before_write", "before_commit")

_armed: dict[str, Callable[[str], None]] = {}


def reach(name: str) -> None:
    """Call what is armed at this failpoint, if anything is."""
    if _armed and (action := _armed.get(name)) is not None:
        action(name)


@contextmanager
def armed(action: Callable[[str], None], names: tuple[str, ...] = NAMES) -> Iterator[None]:
    """Arm failpoints for the length of a ``with`` block, in this process and all of its threads.

    Args:
        action: called with the failpoint's name each time one is reached.
        names: which failpoints.
    """
    before = dict(_armed)
    _armed.update(dict.fromkeys(names, action))
    try:
        yield
    finally:
        _armed.clear()
        _armed.update(before)
