"""The words with which a contract test says that it was skipped for a reason of its own: each reason begins with one.

A test that was skipped without one should have run, and is not passed: a server was missing, say.
"""

from __future__ import annotations

__all__ = ["DEVIATION", "EXCUSES", "INCONCLUSIVE", "NOT_APPLICABLE", "excuse_in", "excused"]

NOT_APPLICABLE = "not applicable"
INCONCLUSIVE = "inconclusive"
DEVIATION = "deviation"

EXCUSES = (NOT_APPLICABLE, INCONCLUSIVE, DEVIATION)
"""All of them, by which skipped tests are counted."""


def excused(excuse: str, reason: str) -> str:
    """Return what to skip a test with.

    Args:
        excuse: one of `EXCUSES`.
        reason: why.
    """
    return f"{excuse}: {reason}"


def excuse_in(text: str) -> tuple[str, str] | None:
    """Return the excuse and the reason of which `excused` made a text; None: it made none of it."""
    excuse, separator, reason = text.partition(": ")
    return (excuse, reason) if separator and excuse in EXCUSES else None
