"""What goes wrong with a server; apart from the probes, which are imported late."""

from __future__ import annotations

__all__ = ["FailedError", "NotReadyError"]


class FailedError(Exception):
    """The server did not start, or did not do what it was told; the text says why."""


class NotReadyError(Exception):
    """The server does not answer yet, or not as it should."""
