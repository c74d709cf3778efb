"""What can go wrong with a race itself; a storage that loses data is no error but a result."""

from __future__ import annotations

from ..errors import AIStorageError

__all__ = ["NotSharedError", "RaceError", "StuckError"]


class RaceError(AIStorageError):
    """The race could not be run, so nothing was shown."""


class NotSharedError(RaceError):
    """One client does not see what another wrote: they don't race at all."""


class StuckError(RaceError):
    """A client said nothing within the time limit, or all wait for each other; it was ended."""
