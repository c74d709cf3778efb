"""Which backends there are to race on, and which of them must not be missing."""

from __future__ import annotations

import os

SERVERS = ("postgres", "redis", "mysql")
KEEPING = ("memory", "sqlite", *SERVERS)
"""The backends that must not lose anything."""


def required(spec: str) -> bool:
    """Whether a server that is missing is a failure here."""
    named = [name.strip() for name in os.environ.get("AI_STORAGE_REQUIRE", "").split(",")]
    return spec in named or ("CI" in os.environ and spec in ("postgres", "redis"))
