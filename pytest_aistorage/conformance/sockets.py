"""Whether a storage talks to a server, found out by watching it.

It imports neither pytest nor Hypothesis: a process of a race imports it as well.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import Any

__all__ = ["Sockets"]


class Sockets:
    """An operation that returns how many sockets its process has or connects, beside the one that commands it.

    Both are counted: a driver in C says nothing of what it connects, and keeps it open; one in Python need not keep
    it open, but is heard. For a process of its own.
    """

    def __call__(self, storage: Any) -> int:
        """Let the storage read something, and count."""
        global _hooked
        if not _hooked:  # an audit hook can't be removed
            _hooked = True
            sys.addaudithook(_audit)
        _connected.clear()
        storage.get_progress("nobody")
        number = len(_connected)
        for descriptor in range(256):
            try:
                number += stat.S_ISSOCK(os.fstat(descriptor).st_mode)
            except OSError:
                continue
        return number - 1


_hooked = False
_connected: list[str] = []


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        _connected.append(event)
