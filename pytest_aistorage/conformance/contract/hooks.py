"""What the author of a storage may supply beyond an opener: raw reads, and a server that can be killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ...storage import AIStorage

__all__ = ["Crashable", "Powered", "RawReader"]

RawReader = Callable[[str], Mapping[str, Any] | None]
"""Returns what is stored of a model, read around the storage: by the server's own client, or out of the file.

Fields by the names of `AIProgress`, as many as can be read plainly; None: there is no record of that name.
"""


class Crashable(Protocol):
    """A fresh store on a server of the test's own, with the settings for which durability is declared."""

    def opener(self) -> AIStorage:
        """Open one more client of the store."""

    def kill(self) -> None:
        """End the server by SIGKILL; return when it is gone."""

    def restart(self) -> None:
        """Start it again on what it has stored; return when it answers."""


class Powered(Crashable, Protocol):
    """A `Crashable` that can lose its power: optional."""

    def cut_power(self) -> None:
        """End the server by SIGKILL, and take from its files what was not fsynced, before `restart`.

        `PrivateServer.cut_power` does so.

        Raises:
            UnsupportedOperationError: it can't be done here; the reason is reported.
        """
