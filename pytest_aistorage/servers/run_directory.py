"""A private directory for what the processes of a run share; gone with the run, however that ends."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_aistorage.servers.supervisor.files import make_base, remove_tree

__all__ = ["RunDirectory"]


class RunDirectory:
    """Made by the process that begins a run (under pytest-xdist: the controller), which tells the others its path.

    If that process is killed, the next supervisor that starts or ends on this machine removes it.

    Attributes:
        path: the directory; only this user can enter it.
    """

    def __init__(self) -> None:
        base, alive = make_base(tempfile.gettempdir(), traversable=False)
        self.path = Path(base)
        self._alive = alive
        self._pid = os.getpid()
        if hasattr(os, "register_at_fork"):
            # A child that outlives us would make the directory look used.
            os.register_at_fork(after_in_child=self._forget)

    def close(self) -> None:
        """Remove it; a forked child leaves that to its parent."""
        if self._alive >= 0 and os.getpid() == self._pid:
            os.close(self._alive)
            self._alive = -1
            remove_tree(str(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _forget(self) -> None:
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
