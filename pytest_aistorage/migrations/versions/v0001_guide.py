"""The guide's own table, ``ai_progress`` without ``version``: what its reader has.

Nothing makes it: a database without tables gets those of the newest version at once.
"""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: it is there already, or the tables of a later version are made instead."""
